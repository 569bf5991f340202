"""Outlier detection: the layout of 8-8-8, and the compactness of its authors written out."""

from __future__ import annotations

import math
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedkit import Embedding
from embedkit.errors import BadFile, BadInput
from embedkit.evaluation import OutlierGroup, evaluate_outliers, mean_interval, read_outliers


def test_the_layout_is_read(tmp_path: Path) -> None:
    (tmp_path / "birds.txt").write_text("owl\neagle\nheron\n\nbee\nairplane\n")
    (tmp_path / "cats.txt").write_text("\ufeffTiger\r\nSnow leopard\r\n\r\n\r\ndog\r\n\r\n")
    birds = OutlierGroup("birds", ("owl", "eagle", "heron"), ("bee", "airplane"))
    assert read_outliers(tmp_path) == [birds, OutlierGroup("cats", ("Tiger", "Snow leopard"), ("dog",))]
    assert read_outliers(tmp_path / "birds.txt") == [birds]


@pytest.mark.parametrize("text", ["", "owl\n", "owl\neagle\n", "owl\n\nbee\n", "owl\neagle\n\nbee\n\nant\n"])
def test_what_is_no_group_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "birds.txt").write_text(text)
    with pytest.raises(BadFile, match="expected two words or more") as caught:
        read_outliers(tmp_path)
    assert caught.value.path == str(tmp_path / "birds.txt")


def test_an_empty_or_absent_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="holds no groups"):
        read_outliers(tmp_path)
    with pytest.raises(BadFile, match="No such file"):
        read_outliers(tmp_path / "absent")


def compactness(cosines: dict[tuple[int, int], float], words: list[int]) -> float:
    """Mean similarity of all ordered pairs of `words` (eq. 1 of the paper, up to its constant)."""
    pairs = list(permutations(range(len(words)), 2))
    return sum(cosines[words[i], words[j]] for i, j in pairs) / max(len(pairs), 1)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_positions_are_those_by_compactness(seed: int) -> None:
    rng = np.random.default_rng(seed)
    embedding = Embedding(None, rng.normal(size=(12, 3)))
    unit = embedding.vectors.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    cosines = {(i, j): float(unit[i] @ unit[j]) for i in range(12) for j in range(12)}
    numbers = rng.permutation(15).tolist()
    cluster, odd = numbers[:5], numbers[5:9]
    report = evaluate_outliers(embedding, [OutlierGroup("g", tuple(map(str, cluster)), tuple(map(str, odd)))])
    known = [i for i in cluster if i < 12]
    expected = []
    for outlier in odd:
        if outlier >= 12 or len(known) < 2:
            expected.append(math.nan)
            continue
        words = [*known, outlier]
        # The set is the more compact without a word, the less that one belongs.
        without = {w: compactness(cosines, [other for other in words if other != w]) for w in words}
        expected.append(sum(without[w] < without[outlier] for w in known) / len(known))
    np.testing.assert_array_equal(report.positions, expected)
    covered = [p for p in expected if not math.isnan(p)]
    assert report.covered == len(covered)
    if covered:
        assert report.accuracy == pytest.approx(sum(p == 1 for p in covered) / len(covered))
        assert report.opp == pytest.approx(sum(covered) / len(covered))
        assert report.accuracy_of_all == pytest.approx(sum(p == 1 for p in covered) / 4)


def test_a_tie_is_no_detection() -> None:
    embedding = Embedding(["a", "b", "c"], np.ones((3, 2)))
    report = evaluate_outliers(embedding, [OutlierGroup("g", ("a", "b"), ("c",))])
    assert report.positions.tolist() == [0]
    zeros = Embedding(["a", "b", "o"], [[1.0, 0.0], [1.0, 0.1], [0.0, 0.0]])
    assert evaluate_outliers(zeros, [OutlierGroup("g", ("a", "b"), ("o",))]).accuracy == 1


def test_a_report_tells_of_coverage_and_rules() -> None:
    embedding = Embedding(
        ["Owl", "eagle", "heron", "bee", "car"], np.array([[1, 0], [1, 0.1], [1, 0.2], [0, 1], [1, 0.05]])
    )
    groups = [
        OutlierGroup("birds", ("owl", "eagle", "heron", "stork"), ("bee", "car", "ant")),
        OutlierGroup("none", ("x", "owl"), ("bee",)),
    ]
    report = evaluate_outliers(embedding, groups, name="set")
    assert report.figures[0] == ("birds", 3, 2, 1, 4, 3, 0.5, report.figures[0].opp)
    assert report.figures[1][:6] == ("none", 1, 0, 0, 2, 1)
    assert (report.accuracy, report.accuracy_of_all, report.macro_accuracy) == (0.5, 0.25, 0.5)
    assert report.to_frame()["group"].tolist() == ["birds", "none"]
    assert repr(report) == f"OutlierReport('set', accuracy 50.0%, OPP {report.opp:.1%}, 2 of 4 outliers covered)"
    assert evaluate_outliers(embedding, groups, ignore_case=False).figures[0].cluster_known == 2
    assert evaluate_outliers(embedding, groups, restrict=3).covered == 0
    assert evaluate_outliers(embedding, groups, restrict=4).covered == 1
    assert math.isnan(evaluate_outliers(embedding, []).accuracy)
    for group in (OutlierGroup("g", ("a",), ("b",)), OutlierGroup("g", ("a", "b"), ())):
        with pytest.raises(BadInput, match="group 'g' must have two words or more, and an outlier or more"):
            evaluate_outliers(embedding, [group])


def test_intervals_draw_outliers_within_groups(rng: np.random.Generator) -> None:
    embedding = Embedding(None, rng.normal(size=(60, 4)))
    words = list(embedding)
    groups = [OutlierGroup(str(g), tuple(words[g * 10 : g * 10 + 4]), tuple(words[40:])) for g in range(4)]
    report = evaluate_outliers(embedding, groups)
    expected = mean_interval(report.groups, report.positions == 1, random_state=7)
    assert report.intervals(random_state=7) == expected
    assert report.interval.low <= report.accuracy <= report.interval.high
