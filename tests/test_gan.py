"""Generative adversarial networks: what they learn, make, and keep."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

import embedkit
from embedkit import GAN, Embedding, images
from embedkit.errors import BadFile, BadInput
from embedkit.latent.gan import arcs
from embedkit.latent.judges import judge_samples, train_judge
from embedkit.latent.training import Batch
from embedkit.progress import Progress


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits() -> images.Images:
    return images.named("digits").head(300)


@pytest.fixture(scope="module")
def fitted(digits: images.Images) -> GAN:
    return GAN(8, epochs=2, random_state=1, n_jobs=1).fit(digits)


def table() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    mixed = draw.normal(size=(400, 2)) @ np.array([[2.0, 1.0, 0.0], [0.0, 1.0, -0.5]]) + [5, -3, 0]
    return pd.DataFrame(mixed, columns=["a", "b", "c"])


def weights(model: GAN) -> dict[str, torch.Tensor]:
    nets = {"generator": model.generator_, "critic": model.critic_, "average": model.average_}
    return {f"{name}.{key}": value for name, net in nets.items() for key, value in net.state_dict().items()}


@parametrize_with_checks([GAN(2, hidden=(8,), epochs=1, n_jobs=1)])  # type: ignore[untyped-decorator]  # no types
def test_scikit_learns_own_checks_pass(estimator: Any, check: Any) -> None:
    check(estimator)


# -- what it learns ----------------------------------------------------------------------------------------------------


def test_samples_of_a_table_have_its_mean_and_covariance() -> None:
    rows = table()
    model = GAN(4, epochs=30, random_state=0, n_jobs=1).fit(rows)
    made = model.sample(2000, random_state=0)
    scale = rows.to_numpy().std(axis=0)
    assert np.abs((made.mean(axis=0) - rows.to_numpy().mean(axis=0)) / scale).max() < 0.25
    np.testing.assert_allclose(np.corrcoef(made.T), np.corrcoef(rows.to_numpy().T), atol=0.2)
    np.testing.assert_allclose(made.std(axis=0) / scale, 1, atol=0.3)
    untrained = GAN(4, epochs=0, random_state=0).fit(rows).sample(2000, random_state=0)
    assert np.abs(untrained.std(axis=0) / scale - 1).max() > 0.5


def test_both_modes_of_a_mixture_are_made() -> None:
    """A generator that has collapsed makes one."""
    draw = np.random.default_rng(0)
    side = np.where(np.arange(500) % 4 == 0, -4.0, 4.0)
    rows = np.stack([side, -side], axis=1) + draw.normal(size=(500, 2)) * 0.3
    made = GAN(4, epochs=40, scaling="standard", random_state=0, n_jobs=1).fit(rows).sample(1000, random_state=0)
    assert 0.1 < (made[:, 0] < 0).mean() < 0.45
    assert (np.abs(made[:, 0]) > 2).mean() > 0.8


def test_the_history_tells_of_both_players(fitted: GAN) -> None:
    assert [entry["epoch"] for entry in fitted.history_] == [1, 2]
    for entry in fitted.history_:
        parts = {"critic", "gap", "penalty", "generator"}
        others = {"epoch", "learning_rate", "seconds", "samples", "samples_per_second"}
        assert set(entry) == parts | others
        assert all(math.isfinite(entry[name]) for name in parts)
        assert entry["penalty"] > 0


def test_without_a_penalty_none_is_told_of(digits: images.Images) -> None:
    model = GAN(8, gamma=0.0, spectral=True, epochs=1, random_state=1, n_jobs=1).fit(digits)
    assert "penalty" not in model.history_[0]


def test_the_average_follows_the_generator(digits: images.Images) -> None:
    """One step: min(decay, (1 + 0) / (10 + 0)) of what it was, the rest of what the generator has become."""
    start = GAN(8, epochs=0, random_state=1).fit(digits)
    for decay, kept in ((0.999, 0.1), (0.05, 0.05)):
        model = GAN(8, decay=decay, epochs=1, batch_size=300, random_state=1, n_jobs=1).fit(digits)
        old = dict(start.average_.named_parameters())
        new = dict(model.generator_.named_parameters())
        for name, value in model.average_.named_parameters():
            assert not torch.equal(new[name], old[name])
            torch.testing.assert_close(value, kept * old[name] + (1 - kept) * new[name])
        for (_, mine), (_, its) in zip(model.average_.named_buffers(), model.generator_.named_buffers(), strict=True):
            assert torch.equal(mine, its)


def test_the_critic_has_no_batch_norm_and_its_slope_is_bounded_if_wanted(fitted: GAN, digits: images.Images) -> None:
    assert not [layer for layer in fitted.critic_.modules() if isinstance(layer, nn.BatchNorm2d)]
    model = GAN(8, spectral=True, gamma=0.0, epochs=2, random_state=1, n_jobs=1).fit(digits)
    for layer in model.critic_.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            largest = torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item()
            assert largest == pytest.approx(1, abs=0.15)


def test_nets_of_larger_pictures_mirror_each_other() -> None:
    pictures = np.random.default_rng(0).random((20, 28, 28), dtype=np.float32)
    model = GAN(4, epochs=1, random_state=0, n_jobs=1).fit(pictures)
    down = [(net.in_channels, net.out_channels) for net in model.critic_.modules() if isinstance(net, nn.Conv2d)]
    up = [
        (net.in_channels, net.out_channels) for net in model.average_.modules() if isinstance(net, nn.ConvTranspose2d)
    ]
    assert down == [(1, 32), (32, 64)]
    assert up == [(64, 32), (32, 1)]
    assert [net.out_features for net in model.critic_.modules() if isinstance(net, nn.Linear)] == [256, 1]
    assert [net.out_features for net in model.average_.modules() if isinstance(net, nn.Linear)] == [64 * 7 * 7]
    norms = [net.num_features for net in model.average_.modules() if isinstance(net, nn.BatchNorm2d)]
    assert norms == [64, 32]
    said = GAN(4, channels=(5,), epochs=0, random_state=0).fit(pictures)
    assert [net.out_channels for net in said.critic_.modules() if isinstance(net, nn.Conv2d)] == [5]


def test_the_penalty_is_paid_every_eighth_step(fitted: GAN) -> None:
    used = {**fitted.get_params(), "gamma": 2.0}
    critic = next(player for player in fitted._players(used, fitted._state.nets, fitted.kind_))
    rows = torch.rand(6, *fitted.kind_.shape)

    def parts(step: int) -> Any:
        return critic.loss(Batch(rows.clone(), torch.arange(6), 0, step, 0.0, torch.Generator().manual_seed(3)))

    paid, unpaid = parts(8), parts(9)
    assert "penalty" not in unpaid
    assert unpaid["total"].item() == pytest.approx(unpaid["critic"].item())
    assert paid["critic"].item() == pytest.approx(unpaid["critic"].item(), rel=1e-5)
    expected = paid["critic"] + 8 * 2.0 / 2 * paid["penalty"]
    assert paid["total"].item() == pytest.approx(expected.item(), rel=1e-5)


# -- what it makes -----------------------------------------------------------------------------------------------------


def test_it_has_no_transform_and_no_likelihood(fitted: GAN) -> None:
    for verb in ("transform", "fit_transform", "reconstruct", "score_samples"):
        assert not hasattr(fitted, verb)


def test_samples_have_the_form_of_the_rows(fitted: GAN, digits: images.Images) -> None:
    made = fitted.sample(7, random_state=0)
    assert made.shape == (7, 8, 8)
    assert made.dtype == np.float32
    assert made.min() >= 0
    assert made.max() <= 1
    colours = np.random.default_rng(0).random((40, 3, 9, 6), dtype=np.float32)
    assert GAN(3, epochs=1, random_state=0, n_jobs=1).fit(colours).sample(2).shape == (2, 3, 9, 6)
    flat = Embedding(None, digits.pixels.reshape(300, 64) / 255)
    assert GAN(3, epochs=1, random_state=0, image_shape=(8, 8), n_jobs=1).fit(flat).sample(2).shape == (2, 64)


def test_a_seed_repeats_samples_and_more_begin_with_fewer(fitted: GAN) -> None:
    many = fitted.sample(300, random_state=4)
    assert np.array_equal(fitted.sample(300, random_state=4), many)
    assert np.array_equal(fitted.sample(5, random_state=4), many[:5])
    assert not np.array_equal(fitted.sample(5, random_state=5), many[:5])
    assert np.array_equal(fitted.inverse_transform(fitted.sample_codes(5, random_state=4)), many[:5])


def test_latent_points_are_standard_normal(fitted: GAN) -> None:
    points = fitted.sample_codes(20_000, random_state=0)
    assert points.shape == (20_000, 8)
    np.testing.assert_allclose(np.cov(points.T), np.eye(8), atol=0.05)


def test_samples_are_made_by_the_average(fitted: GAN) -> None:
    points = fitted.sample_codes(4, random_state=0)
    expected = fitted.average_(torch.from_numpy(points)).numpy()[:, 0]
    np.testing.assert_allclose(fitted.inverse_transform(points), expected, atol=1e-6)


def test_interpolation_begins_and_ends_with_its_points(fitted: GAN) -> None:
    a, b = fitted.sample_codes(3, random_state=0), fitted.sample_codes(3, random_state=1)
    way = fitted.interpolate(a, b, 6)
    assert way.shape == (3, 6, 8, 8)
    np.testing.assert_allclose(way[:, 0], fitted.inverse_transform(a), atol=1e-5)
    np.testing.assert_allclose(way[:, -1], fitted.inverse_transform(b), atol=1e-5)


def test_arcs_keep_their_length_and_turn_evenly() -> None:
    draw = np.random.default_rng(0)
    ends = draw.normal(size=(2, 5, 7)).astype(np.float32)
    a, b = ends / np.linalg.norm(ends, axis=2, keepdims=True)
    points = arcs(a, 3 * b, 9)
    np.testing.assert_allclose(np.linalg.norm(points, axis=2), np.tile(np.linspace(1, 3, 9), (5, 1)), rtol=1e-5)
    unit = points / np.linalg.norm(points, axis=2, keepdims=True)
    angles = np.arccos(np.clip((unit[:, 1:] * unit[:, :-1]).sum(axis=2), -1, 1))
    np.testing.assert_allclose(angles, angles[:, :1] * np.ones(8), atol=1e-3)
    np.testing.assert_allclose(points[:, 0], a, atol=1e-6)
    np.testing.assert_allclose(points[:, -1], 3 * b, atol=1e-6)


@pytest.mark.parametrize("a", [[1.0, 0.0], [-2.0, 0.0], [0.0, 0.0]])
def test_where_there_is_no_arc_there_is_a_line(a: list[float]) -> None:
    first, last = np.array([a], np.float32), np.array([[2.0, 0.0]], np.float32)
    np.testing.assert_allclose(arcs(first, last, 3)[0, 1], (first[0] + last[0]) / 2, atol=1e-6)


@pytest.mark.slow
def test_all_ten_digits_are_made(data: Path) -> None:
    train = images.read(data / "mnist" / "train-images-idx3-ubyte.gz").head(20_000)
    real = images.read(data / "mnist" / "t10k-images-idx3-ubyte.gz")
    judge = train_judge(train, random_state=0, epochs=6)
    model = GAN(epochs=4, random_state=0, n_jobs=1).fit(train)
    (verdict,) = judge_samples([judge], real, model.sample(5000, random_state=0))
    untrained = GAN(epochs=0, random_state=0, n_jobs=1).fit(train).sample(5000, random_state=0)
    assert verdict.present == 10
    assert verdict.variation <= 0.2
    assert verdict.distance < 0.2 * judge_samples([judge], real, untrained)[0].distance


# -- keeping and going on ----------------------------------------------------------------------------------------------


def test_it_is_saved_and_loaded(fitted: GAN, tmp_path: Path) -> None:
    fitted.save(tmp_path / "gan")
    again = embedkit.load(tmp_path / "gan", verify=True)
    assert isinstance(again, GAN)
    assert again.get_params() == {**fitted.get_params(), "hidden": [256, 256]}
    assert np.array_equal(again.sample(5, random_state=0), fitted.sample(5, random_state=0))
    assert again.history_ == fitted.history_
    ours = weights(fitted)
    assert all(torch.equal(value, ours[name]) for name, value in weights(again).items())


@pytest.mark.parametrize("spectral", [False, True])
def test_a_training_that_is_broken_off_goes_on_with_the_same_bits(
    digits: images.Images, tmp_path: Path, spectral: bool
) -> None:
    def model() -> GAN:
        return GAN(8, epochs=3, spectral=spectral, random_state=1, n_jobs=1)

    class Killed(Exception):
        pass

    whole = weights(model().fit(digits))
    calls = 0

    def kill(event: Progress) -> None:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise Killed

    with pytest.raises(Killed):
        model().fit(digits, callback=kill, checkpoint=tmp_path / "state")
    half = embedkit.load(tmp_path / "state")
    assert any(not torch.equal(value, whole[name]) for name, value in weights(half).items())
    resumed = weights(half.resume(digits))
    assert all(torch.equal(value, whole[name]) for name, value in resumed.items())


def test_a_seed_gives_the_same_weights_and_leaves_the_global_generator_alone(digits: images.Images) -> None:
    state = torch.random.get_rng_state()
    one, two = (GAN(8, epochs=1, random_state=3, n_jobs=1).fit(digits) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    ours = weights(one)
    assert all(torch.equal(value, ours[name]) for name, value in weights(two).items())


def test_own_nets_are_copied_and_come_back_by_restore(tmp_path: Path) -> None:
    rows = table()

    def nets() -> dict[str, Any]:
        return {
            "generator": nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)),
            "critic": nn.Sequential(nn.Linear(3, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1), nn.Flatten(0)),
        }

    mine = nets()
    before = [value.clone() for value in mine["generator"].parameters()]
    model = GAN(4, epochs=2, random_state=0, n_jobs=1, **mine).fit(rows)
    assert all(torch.equal(*pair) for pair in zip(before, mine["generator"].parameters(), strict=True))
    model.save(tmp_path / "own")
    with pytest.raises(BadFile, match="generator"):
        embedkit.load(tmp_path / "own")
    again = GAN(4, epochs=2, n_jobs=1, **nets()).restore(tmp_path / "own")
    assert np.array_equal(again.sample(3, random_state=0), model.sample(3, random_state=0))


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 0}, "n_components"),
        ({"gamma": -1}, "gamma"),
        ({"decay": 1.5}, "decay"),
        ({"spectral": "yes"}, "spectral"),
        ({"generator": nn.Linear(8, 5)}, "generator gives"),
        ({"critic": nn.Flatten()}, "critic gives"),
        ({"channels": (8, 8, 8, 8)}, "halved"),
    ],
)
def test_parameters_that_make_no_sense(digits: images.Images, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        GAN(**{"n_components": 8, "epochs": 1, **parameters}).fit(digits)


def test_points_that_do_not_fit(fitted: GAN) -> None:
    with pytest.raises(BadInput, match=r"expected \(n, 8\)"):
        fitted.inverse_transform(np.zeros((2, 7)))
    with pytest.raises(ValueError, match="NaN"):
        fitted.inverse_transform(np.full((2, 8), np.nan))
    with pytest.raises(BadInput, match="as many on both sides"):
        fitted.interpolate(np.ones((2, 8)), np.ones((3, 8)))
    with pytest.raises(BadInput, match="n must be"):
        fitted.sample(0)
    with pytest.raises(ValueError, match="not fitted"):
        GAN().sample(1)
