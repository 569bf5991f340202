"""Concept units: thresholds against trying them all, controls of the same size, and what bootstrap says of a gap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedkit import PCA, Embedding, images
from embedkit.errors import BadInput
from embedkit.kernels.thresholds import balanced_accuracies, best_thresholds, decided
from embedkit.latent.units import UnitReport, concept_units

Array = npt.NDArray[Any]

# -- the exact search -------------------------------------------------------------------------------------------------


def tried(values: Array, is_class: Array) -> float:
    """The best balanced accuracy of any threshold and side, by trying every one."""
    points = np.unique(values).astype(np.float64)
    cuts = [-np.inf, *((points[1:] + points[:-1]) / 2)]
    shares = [((values > cut)[is_class].mean() + (values <= cut)[~is_class].mean()) / 2 for cut in cuts]
    return float(max(*shares, *(1 - share for share in shares)))


@given(
    st.integers(2, 40),
    st.integers(2, 4),
    st.integers(1, 6),
    st.sampled_from([np.float32, np.float64, np.uint8, np.int64]),
    st.integers(0, 2**32 - 1),
)
def test_no_threshold_is_better_than_the_one_found(n: int, n_classes: int, spread: int, dtype: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 2**spread, (n, 3)).astype(dtype)  # many ties
    if np.issubdtype(dtype, np.floating):
        values[:, 1] = rng.normal(size=n)
    classes = rng.integers(0, n_classes, n)
    found = best_thresholds(values, classes, n_classes)
    for c in range(n_classes):
        is_class = classes == c
        if is_class.all() or not is_class.any():
            assert np.isnan(found.accuracy[:, c]).all()
            continue
        for unit in range(3):
            assert found.accuracy[unit, c] == pytest.approx(tried(values[:, unit], is_class), abs=1e-12)
        # ... and the threshold and side that are told reach it.
        said = decided(values, found.threshold[:, c], found.sign[:, c])
        reached = balanced_accuracies(said, np.repeat(is_class[:, None], 3, axis=1), np.ones((1, n)))[0]
        np.testing.assert_allclose(reached, found.accuracy[:, c], atol=1e-12)


def test_a_threshold_lies_halfway_and_of_equal_ones_is_the_lowest() -> None:
    values = np.array([[0.0], [1.0], [5.0], [9.0]])
    found = best_thresholds(values, np.array([0, 0, 1, 1]), 2)
    assert found.threshold.tolist() == [[3.0, 3.0]]
    assert found.sign.tolist() == [[-1, 1]]
    assert found.accuracy.tolist() == [[1.0, 1.0]]
    # 1 against 0, 1, 0, 1: cuts after the first and after the third are equally good.
    found = best_thresholds(np.arange(4.0)[:, None], np.array([0, 1, 0, 1]), 2)
    assert found.threshold[0, 1] == 0.5
    assert found.accuracy[0, 1] == 0.75


def test_neighbours_without_a_number_between_them_are_told_apart() -> None:
    low = 1.0
    high = np.nextafter(low, 2)
    found = best_thresholds(np.array([[low], [high]]), np.array([0, 1]), 2)
    assert found.accuracy.tolist() == [[1.0, 1.0]]
    assert decided(np.array([[low], [high]]), found.threshold[0, 1:], found.sign[0, 1:]).ravel().tolist() == [
        False,
        True,
    ]


def test_a_unit_of_one_value_tells_nothing() -> None:
    found = best_thresholds(np.full((6, 1), 2.5), np.array([0, 1] * 3), 2)
    assert found.accuracy.tolist() == [[0.5, 0.5]]
    assert found.threshold.tolist() == [[2.5, 2.5]]


def test_weights_count_rows_as_often_as_they_say(rng: np.random.Generator) -> None:
    truth, said = rng.random((2, 30, 4)) < 0.4
    weights = rng.integers(0, 4, (5, 30)).astype(float)
    found = balanced_accuracies(said, truth, weights)
    for r, counts in enumerate(weights.astype(int)):
        t, s = np.repeat(truth, counts, axis=0), np.repeat(said, counts, axis=0)
        wanted = [(s[t[:, j], j].mean() + (~s[~t[:, j], j]).mean()) / 2 for j in range(4)]
        np.testing.assert_allclose(found[r], wanted)


# -- the report -------------------------------------------------------------------------------------------------------


class Code:
    """A model whose code is given: what is at the row numbers that it is asked for."""

    def __init__(self, codes: Array) -> None:
        self.codes = codes

    def transform(self, rows: Array) -> Array:
        codes: Array = self.codes[np.asarray(rows)[:, 0].astype(int)]
        return codes


def planted(rng: np.random.Generator, n: int = 900) -> tuple[Array, Array, Array]:
    """Row numbers, three classes, and a code whose unit 2 tells class 1 (low), unit 4 class 2 (high); rest noise."""
    classes = np.arange(n) % 3
    codes = rng.normal(size=(n, 6)).astype(np.float32)
    codes[:, 2] -= 4 * (classes == 1)
    codes[:, 4] += 4 * (classes == 2)
    return np.arange(n, dtype=float)[:, None], classes, codes


@pytest.fixture
def report(rng: np.random.Generator) -> UnitReport:
    rows, classes, codes = planted(rng)
    noise = [Code(rng.normal(size=codes.shape)) for _ in range(3)]
    models = {"planted": [Code(codes), Code(codes)], "noise": noise}
    return concept_units(models, rows[:600], classes[:600], rows[600:], classes[600:], controls=["guessing", "pca"])


def test_the_planted_units_are_found_with_their_side(report: UnitReport) -> None:
    _, one, two = report.of("planted")
    assert (one.concept, one.unit, one.sign) == ("1", 2, -1)
    assert (two.concept, two.unit, two.sign) == ("2", 4, 1)
    assert -3 < one.threshold < -1 < 1 < two.threshold < 3
    assert min(one.chosen, one.accuracy, two.chosen, two.accuracy) > 0.95
    assert report.mean("planted") > 0.85 > 0.6 > report.mean("noise") > 0.4


def test_accuracy_is_that_of_the_chosen_unit_on_test_rows_only(rng: np.random.Generator) -> None:
    rows, classes, codes = planted(rng)
    codes[600:, 2] *= -1  # what was learned is wrong there
    report = concept_units(
        Code(codes), rows[:600], classes[:600], rows[600:], classes[600:], controls=[], ceiling=False
    )
    one = report.of("model")[1]
    assert one.unit == 2
    assert one.chosen > 0.95
    is_one, low = classes[600:] == 1, codes[600:, 2] <= one.threshold
    assert one.accuracy == pytest.approx((low[is_one].mean() + (~low[~is_one]).mean()) / 2)
    assert one.accuracy < 0.6


def test_the_probe_on_all_units_is_the_ceiling(report: UnitReport) -> None:
    assert report.mean("linear probe of planted") > report.mean("planted")
    assert report.of("linear probe of planted")[0].unit == -1


def test_a_guess_is_right_half_the_time(report: UnitReport) -> None:
    assert report.mean("guessing") == 0.5
    assert report.interval("guessing") == (0.5, 0.5)


def test_controls_have_as_many_units_as_the_model() -> None:
    digits = images.named("digits").to_embedding()
    classes = digits.columns["class"]
    train, test = digits.head(1200), digits.take(range(1200, 1797))
    model = PCA(5).fit(train)
    report = concept_units({"components": model}, train, classes[:1200], test, classes[1200:], ceiling=False)
    used = {source: {one.unit for one in report.of(source)} for source in report.sources}
    assert max(used["random weights"]) < 5
    assert max(used["pca"]) < 5
    assert len({*used["input"]}) <= 5
    assert max(used["every input"]) >= 5  # 64 of them
    # The PCA control is PCA.
    assert report.mean("pca") == pytest.approx(report.mean("components"))
    assert report.mean("every input") >= report.mean("input")
    # Thresholds of inputs are in the units of the rows, and the decisions are theirs.
    one = report.of("every input")[0]
    said = one.sign * (test.vectors[:, one.unit].astype(float) - one.threshold) > 0
    assert np.array_equal(report.decisions["every input"][0, :, 0], said)


def test_bootstrap_agrees_with_a_plain_one(report: UnitReport) -> None:
    rng = np.random.default_rng(5)
    truth = report.truth
    classes = [np.flatnonzero(truth[:, c]) for c in range(3)]
    gaps = []
    for _ in range(400):
        rows = np.concatenate([rng.choice(some, len(some)) for some in classes])
        means = []
        for source in ("planted", "noise"):
            seeds = report.decisions[source]
            taken = seeds[rng.integers(0, len(seeds), len(seeds))][:, rows]
            t = truth[rows]
            means.append(
                np.mean([[(s[t[:, c], c].mean() + (~s[~t[:, c], c]).mean()) / 2 for c in range(3)] for s in taken])
            )
        gaps.append(means[0] - means[1])
    gap = report.difference("planted", "noise", replicates=2000)
    low, high = np.quantile(gaps, [0.025, 0.975])
    assert gap.difference == pytest.approx(report.mean("planted") - report.mean("noise"))
    assert gap.low == pytest.approx(low, abs=0.01)
    assert gap.high == pytest.approx(high, abs=0.01)
    assert gap.low < gap.difference < gap.high
    assert gap.a_better == 1
    assert report.difference("planted", "noise") == report.difference("planted", "noise")
    assert report.difference("planted", "noise") != report.difference("planted", "noise", random_state=1)


def test_seeds_widen_the_interval(rng: np.random.Generator) -> None:
    rows, classes, codes = planted(rng)
    good, bad = Code(codes), Code(rng.normal(size=codes.shape))
    alike = concept_units({"a": [good] * 4}, rows, classes, rows, classes, controls=[], ceiling=False)
    apart = concept_units({"a": [good, good, bad, bad]}, rows, classes, rows, classes, controls=[], ceiling=False)
    (low, high), (lower, higher) = alike.interval("a"), apart.interval("a")
    assert higher - lower > 3 * (high - low) > 0


def test_to_frame_has_a_row_for_each_unit(report: UnitReport) -> None:
    frame = report.to_frame()
    assert len(frame) == 3 * (2 + 3 + 1 + 1 + 2 + 3)
    assert frame[frame["source"] == "planted"]["unit"].tolist()[1] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": np.zeros(600)}, "two or more classes"),
        ({"test_classes": np.full(300, 7)}, "class 7 of the test rows has no training rows"),
        ({"test_classes": np.zeros(300, int)}, "class 1 of the training rows has no test rows"),
        ({"controls": ["magic"]}, "no control 'magic'; there are: guessing"),
        ({"models": {"pca": PCA()}}, "cannot be called 'pca'"),
        ({"models": {}}, "there must be a fitted model"),
        ({"classes": np.arange(599) % 3}, "599 and 300 classes for 600 and 300 rows"),
        ({"models": Code(np.full((900, 2), np.nan))}, "expected finite numbers"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, Any], message: str, rng: np.random.Generator) -> None:
    rows, classes, codes = planted(rng)
    given: dict[str, Any] = {
        "models": Code(codes), "rows": rows[:600], "classes": classes[:600], "test_rows": rows[600:],
        "test_classes": classes[600:], "controls": [],
    }  # fmt: skip
    with pytest.raises(BadInput, match=message):
        concept_units(**{**given, **change})


def test_unknown_sources_are_refused_with_those_there_are(report: UnitReport) -> None:
    with pytest.raises(BadInput, match="no source 'x' with a seed 0; there are: planted, noise"):
        report.mean("x")
    with pytest.raises(BadInput, match="replicates"):
        report.difference("planted", "noise", replicates=0)


def test_on_mnist_a_component_tells_more_than_a_pixel(data: Path) -> None:
    def part(name: str, n: int) -> Embedding:
        return images.read(data / "mnist" / f"{name}-images-idx3-ubyte.gz").sample(n, random_state=1).to_embedding()

    train, test = part("train", 3000), part("t10k", 1500)
    report = concept_units(
        {"components": PCA(16).fit(train)},
        train, train.columns["class"], test, test.columns["class"], controls=["input", "random weights"], ceiling=False,
    )  # fmt: skip
    assert report.difference("components", "input").low > 0.03
    assert 0.74 < report.mean("components") < 0.84
