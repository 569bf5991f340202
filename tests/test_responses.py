"""What excites a unit: the strongest rows, pictures that are moved, and optimal stimuli; compression by codes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from embedkit import PCA, images
from embedkit.errors import BadInput
from embedkit.images import Images
from embedkit.latent import VAE, Autoencoder
from embedkit.latent.compression import quantised, rate_distortion
from embedkit.latent.responses import changed, invariance, top_rows
from embedkit.latent.stimuli import _blur, _roughness, optimal_stimuli
from embedkit.latent.units import ConceptUnit

Array = npt.NDArray[Any]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits() -> Images:
    return images.named("digits")


@pytest.fixture(scope="module")
def model(digits: Images) -> Autoencoder:
    return Autoencoder(8, epochs=8, n_jobs=1, random_state=0).fit(digits.head(1000))


class Corner:
    """Two units: the mean of the upper left quarter, and the mean of all."""

    def transform(self, pictures: Any) -> Array:
        array = np.asarray(getattr(pictures, "pixels", pictures), dtype=float)
        h, w = array.shape[1:]
        return np.stack([array[:, : h // 2, : w // 2].mean(axis=(1, 2)), array.mean(axis=(1, 2))], axis=1)


# -- the strongest rows -----------------------------------------------------------------------------------------------


def test_the_strongest_rows_are_found_to_either_side(digits: Images, model: Autoencoder) -> None:
    codes = np.asarray(model.transform(digits).vectors, dtype=float)
    top = top_rows(model, digits, [3, 5], [1, -1], n=4)
    assert np.array_equal(top.rows[0], np.argsort(-codes[:, 3], kind="stable")[:4])
    assert np.array_equal(top.rows[1], np.argsort(codes[:, 5], kind="stable")[:4])
    np.testing.assert_array_equal(top.activations[1], codes[top.rows[1], 5])


@pytest.mark.parametrize(
    ("units", "signs", "n", "message"),
    [
        ([8], None, 3, "there are the units 0 to 7, not 8"),
        ([-1], None, 3, "there are the units 0 to 7, not -1"),
        ([], None, 3, "a list of whole numbers"),
        ([0], [2], 3, "signs are 1 or -1"),
        ([0, 1], [1], 3, "one for each unit"),
        ([0], None, 0, "n is a number of rows"),
    ],
)
def test_units_that_there_are_not_are_refused(
    units: list[int], signs: Any, n: int, message: str, digits: Images, model: Autoencoder
) -> None:
    with pytest.raises(BadInput, match=message):
        top_rows(model, digits, units, signs, n=n)


# -- pictures that are moved ------------------------------------------------------------------------------------------


def test_pictures_are_moved_as_said(rng: np.random.Generator) -> None:
    picture = np.zeros((2, 9, 9))
    picture[:, 4, 6] = 1.0  # two to the right of the middle
    assert np.argwhere(changed(picture, shift_right=1)[0] > 0.5).tolist() == [[4, 7]]
    assert np.argwhere(changed(picture, shift_down=2)[0] > 0.5).tolist() == [[6, 6]]
    assert np.argwhere(changed(picture, turn=90)[0] > 0.5).tolist() == [[6, 4]]  # clockwise: below the middle
    assert changed(picture, scale=2.0)[0, 4, 8] == pytest.approx(1)
    np.testing.assert_allclose(changed(picture), picture)
    assert changed(picture, shift_right=3, background=0.25)[0, 0, 1] == 0.25
    turned_then_shifted = changed(picture, turn=90, shift_right=2)
    assert np.argwhere(turned_then_shifted[0] > 0.5).tolist() == [[6, 6]]
    pictures = rng.random((3, 6, 8))
    np.testing.assert_allclose(changed(pictures, shift_down=0.5)[:, 1:], (pictures[:, 1:] + pictures[:, :-1]) / 2)


def test_moved_pictures_are_what_they_were(digits: Images, rng: np.random.Generator) -> None:
    moved = changed(digits.head(3), shift_right=1)
    assert isinstance(moved, Images)
    assert moved.pixels.dtype == np.uint8
    np.testing.assert_array_equal(moved.pixels[:, :, 1:], digits.pixels[:3, :, :-1])
    assert moved.classes is not None
    channels = rng.random((2, 3, 5, 5))
    np.testing.assert_allclose(changed(channels, shift_down=1)[:, :, 1:], channels[:, :, :-1])
    with pytest.raises(BadInput, match="pictures have the shape"):
        changed(rng.random((3, 4)))
    with pytest.raises(BadInput, match="scale is above 0"):
        changed(channels, scale=0)


def test_invariance_is_measured_at_the_threshold_that_was_chosen(rng: np.random.Generator) -> None:
    pictures = rng.random((60, 8, 8)) * 0.1
    classes = np.arange(60) % 2
    pictures[classes == 1, :4, :4] += 0.8
    unit = ConceptUnit("corner", 0, "1", 0, 1, 0.4, 1.0, 1.0)
    whole = ConceptUnit("corner", 0, "1", 1, 1, 0.15, 1.0, 1.0)
    found = invariance(Corner(), pictures, classes, [unit, whole], changes={"shift right": (0, 4, 8), "turn": (0, 180)})
    assert found.accuracy["shift right"].tolist()[0] == [1.0, 1.0]
    assert found.accuracy["shift right"][1].tolist() == [0.5, 1.0]  # out of the corner, but in the picture
    assert found.accepted["shift right"][1].tolist() == [0.0, 1.0]
    assert found.accuracy["shift right"][2].tolist() == [0.5, 0.5]
    assert found.accuracy["turn"][1].tolist() == [0.5, 1.0]
    codes = Corner().transform(pictures)
    response = ((codes[classes == 1] - codes.mean(axis=0)) / codes.std(axis=0)).mean(axis=0)
    np.testing.assert_allclose(found.response["turn"][0], response)
    frame = found.to_frame()
    assert len(frame) == (3 + 2) * 2
    assert frame["accepted"].iloc[0] == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"changes": {"bend": (1,)}}, "no change 'bend'; there are: shift right"),
        ({"units": []}, "neither a linear probe nor a guess"),
        ({"units": [ConceptUnit("x", 0, "7", 0, 1, 0.0, 1, 1)]}, "no picture is of concept '7'"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, Any], message: str, rng: np.random.Generator) -> None:
    given: dict[str, Any] = {"units": [ConceptUnit("x", 0, "1", 0, 1, 0.0, 1, 1)], **change}
    with pytest.raises(BadInput, match=message):
        invariance(Corner(), rng.random((6, 4, 4)), [0, 1] * 3, **given)


# -- optimal stimuli --------------------------------------------------------------------------------------------------


def test_stimuli_excite_units_more_than_any_row_of_their_length(digits: Images, model: Autoencoder) -> None:
    found = optimal_stimuli(model, digits, [0, 3, 4], [1, -1, 1])
    assert found.inputs.shape == (3, 8, 8)
    assert found.inputs.min() >= 0
    assert found.inputs.max() <= 1
    lengths = np.linalg.norm(found.inputs.reshape(3, -1), axis=1)
    np.testing.assert_allclose(lengths, found.norms, rtol=1e-3)
    # What is said of them is what the model says, and the rows they are compared with are the strongest.
    again = model.transform(found.inputs.astype(np.float32))
    np.testing.assert_allclose(again[[0, 1, 2], [0, 3, 4]], found.activations, rtol=1e-4, atol=1e-4)
    codes = np.asarray(model.transform(digits).vectors)
    np.testing.assert_allclose(found.largest, [codes[:, 0].max(), codes[:, 3].min(), codes[:, 4].max()])
    strongest = digits.pixels[codes[:, 0].argmax()] / 255
    assert found.norms[0] == pytest.approx(np.linalg.norm(strongest), rel=1e-5)
    assert (found.beyond > 0.2).all()


def test_an_own_length_is_kept_and_a_seed_repeats(digits: Images, model: Autoencoder) -> None:
    first, second = (optimal_stimuli(model, digits.head(50), [1], norm=2.0, steps=20) for _ in range(2))
    assert np.array_equal(first.inputs, second.inputs)
    assert np.linalg.norm(first.inputs) == pytest.approx(2.0, rel=1e-3)


def test_smoothness_makes_them_smooth(digits: Images) -> None:
    model = VAE(4, epochs=4, n_jobs=1, random_state=0).fit(digits.head(600))

    def rough(smoothness: float) -> float:
        found = optimal_stimuli(model, digits.head(100), [0, 1], norm=3.0, smoothness=smoothness, random_state=3)
        return float((np.diff(found.inputs, axis=1) ** 2).sum() + (np.diff(found.inputs, axis=2) ** 2).sum())

    assert rough(3.0) < 0.8 * rough(0.0)


def test_rows_that_are_no_pictures_have_stimuli_too(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) * 10 + 50
    model = Autoencoder(2, hidden=(16,), epochs=5, n_jobs=1, random_state=0).fit(rows)
    found = optimal_stimuli(model, rows, [0, 1], steps=60)
    assert found.inputs.shape == (2, 6)
    standardised = (found.inputs - rows.mean(axis=0)) / rows.std(axis=0)
    np.testing.assert_allclose(np.linalg.norm(standardised, axis=1), found.norms, rtol=1e-3)
    assert (found.beyond >= 0).all()


def test_stimuli_need_a_net_and_sense(digits: Images, model: Autoencoder) -> None:
    with pytest.raises(BadInput, match="PCA has no net whose gradient"):
        optimal_stimuli(PCA(2).fit(digits.to_embedding()), digits, [0])
    with pytest.raises(BadInput, match="steps and starts are 1 or more"):
        optimal_stimuli(model, digits, [0], steps=0)
    with pytest.raises(BadInput, match="all zero"):
        optimal_stimuli(model, np.zeros((3, 8, 8), np.uint8), [0])


def test_the_blur_is_a_gaussian_one_that_keeps_means(rng: np.random.Generator) -> None:
    from scipy.ndimage import gaussian_filter

    pictures = rng.random((2, 1, 12, 9)).astype(np.float32)
    found = _blur(torch.from_numpy(pictures), 1.2).numpy()
    wanted = gaussian_filter(pictures, (0, 0, 1.2, 1.2), mode="nearest", radius=(0, 0, 4, 4))
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    flat = torch.ones(1, 1, 4, 4)
    assert float(_roughness(flat)[0]) == 0
    np.testing.assert_allclose(_blur(flat, 2.0), flat, atol=1e-6)


# -- compression ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", ["own", "common"])
def test_rounding_is_to_the_mean_of_each_step(steps: str, rng: np.random.Generator) -> None:
    codes = rng.normal(size=(300, 3)) * [1, 4, 0.5]
    test = rng.normal(size=(50, 3)) * [1, 4, 0.5]
    rounded, bits, fixed = quantised(codes, test, 3, steps)
    total = 0.0
    for unit in range(3):
        low, high = codes[:, unit].min(), codes[:, unit].max()
        span = (codes.max(axis=0) - codes.min(axis=0)).max() if steps == "common" else high - low
        edges = low + span / 8 * np.arange(int(np.ceil((high - low) / span * 8 - 1e-9)) + 1)
        place, asked = (np.clip(np.searchsorted(edges, one[:, unit], "right") - 1, 0, len(edges) - 2)
                        for one in (codes, test))  # fmt: skip
        for step in np.unique(asked):
            inside = codes[place == step, unit]
            wanted = inside.mean() if len(inside) else (edges[step] + edges[step + 1]) / 2
            np.testing.assert_allclose(rounded[asked == step, unit], wanted)
        often = np.bincount(place, minlength=len(edges) - 1) + 1
        total -= np.log2(often / often.sum())[asked].mean()
    assert bits == pytest.approx(total)
    assert bits <= fixed + 0.5
    if steps == "own":
        assert fixed == pytest.approx(9)


def test_more_bits_lose_less_and_components_stand_beside(digits: Images, model: Autoencoder) -> None:
    train, test = digits.head(1000), digits.take(range(1200, 1797))
    report = rate_distortion({"ae": model}, train, test, levels=(1, 3, 6))
    assert {(one.model, one.units) for one in report.figures} == {("ae", 8), ("pca", 8)}
    for name in ("ae", "pca"):
        for steps in ("own", "common"):
            some = [one for one in report.figures if (one.model, one.steps) == (name, steps)]
            assert some[0].mean > some[1].mean > some[2].mean
            assert some[0].bits < some[1].bits < some[2].bits
            assert all(one.median <= one.q90 <= one.q99 for one in some)
        # At many bits what is lost is what the code has lost already.
        assert some[2].mean == pytest.approx(report.unrounded[name, 8], rel=0.05)
    values = train.pixels.reshape(1000, 64) / 255
    _, _, directions = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    seen = test.pixels.reshape(len(test), 64) / 255 - values.mean(axis=0)
    left = seen - seen @ directions[:8].T @ directions[:8]
    assert report.unrounded["pca", 8] == pytest.approx((left**2).mean(), rel=1e-4)
    errors = model.reconstruction_errors(test)
    assert report.unrounded["ae", 8] == pytest.approx(errors.mean(), rel=1e-4)
    best = report.best(25)
    assert best.bits <= 25
    assert best.mean == min(one.mean for one in report.figures if one.bits <= 25)
    assert len(report.to_frame()) == 12
    with pytest.raises(BadInput, match="nothing takes 1 bits"):
        report.best(1)


def test_compression_refuses_what_does_not_decode(digits: Images, model: Autoencoder) -> None:
    with pytest.raises(BadInput, match="does not decode"):
        rate_distortion({"corner": Corner()}, digits.pixels, digits.pixels)
    with pytest.raises(BadInput, match="none called 'pca'"):
        rate_distortion({"pca": model}, digits, digits)
    with pytest.raises(BadInput, match="bits from 1 to 16"):
        rate_distortion({"ae": model}, digits, digits, levels=(0,))
