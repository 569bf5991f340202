"""Two Embeddings on the same set: differences as reported alone, and draws that are the same for both."""

from __future__ import annotations

import math
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from embedkit import Embedding
from embedkit.errors import BadInput
from embedkit.evaluation import (
    Question,
    WordPair,
    compare,
    evaluate_analogies,
    evaluate_similarity,
    read_items,
    resampling,
)

Sections = dict[str, list[Question]]


def planted(noise: float, rng: np.random.Generator, pairs: int = 12) -> tuple[Embedding, Sections]:
    """Pairs of two relations, whose offsets are alike but for `noise`, and their questions."""
    labels, vectors, questions = [], [], {}
    for relation in ("one", "two"):
        direction = rng.normal(size=8)
        names = [(f"{relation}{i}", f"{relation}{i}y") for i in range(pairs)]
        for x, y in names:
            start = rng.normal(size=8)
            labels += [x, y]
            vectors += [start, start + direction + noise * rng.normal(size=8)]
        questions[relation] = [Question(y1, x1, x2, y2) for (x1, y1), (x2, y2) in permutations(names, 2)]
    return Embedding(labels, np.array(vectors)), questions


def test_both_are_judged_as_they_are_alone(rng: np.random.Generator) -> None:
    a, questions = planted(0.4, rng)
    b, _ = planted(0.9, rng)
    a, b = a.filter(lambda word: word != "one3"), b.filter(lambda word: word not in ("two1y", "one5"))
    found = compare(a, b, questions, name="planted")
    reports = [evaluate_analogies(one, questions) for one in (a, b)]
    accuracy_both, accuracy_own, macro_both, macro_own = found
    assert (accuracy_own.covered_a, accuracy_own.covered_b) == tuple(report.total.covered for report in reports)
    assert (accuracy_own.a, accuracy_own.b) == tuple(report.total.accuracy for report in reports)
    np.testing.assert_allclose((macro_own.a, macro_own.b), [report.macro_accuracy for report in reports])
    shared = (reports[0].verdicts >= 0) & (reports[1].verdicts >= 0)
    assert accuracy_both.covered_a == accuracy_both.covered_b == macro_both.covered_a == shared.sum()
    assert accuracy_both.a == pytest.approx(reports[0].verdicts[shared].mean())
    assert accuracy_both.b == pytest.approx(reports[1].verdicts[shared].mean())
    for one in found:
        assert one.difference == one.a - one.b
        assert one.interval.low <= one.difference <= one.interval.high
    assert accuracy_both.a_better > 0.9
    assert [(one.figure, one.items) for one in found] == [
        ("accuracy", "both"), ("accuracy", "own"), ("macro accuracy", "both"), ("macro accuracy", "own"),
    ]  # fmt: skip
    assert repr(found).startswith(f"Comparison('planted', accuracy {accuracy_both.a:.3f} and {accuracy_both.b:.3f}")
    frame = found.to_frame()
    assert frame["difference"].tolist() == [one.difference for one in found]
    assert frame["low"].tolist() == [one.interval.low for one in found]


def test_a_paired_interval_is_narrower_where_the_same_is_hard_for_both(rng: np.random.Generator) -> None:
    a, questions = planted(0.8, rng, pairs=20)
    b = a.with_vectors(a.vectors + 0.01 * rng.normal(size=a.shape))
    one = next(iter(compare(a, b, questions)))
    alone = evaluate_analogies(a, questions).interval
    assert one.interval.high - one.interval.low < (alone.high - alone.low) / 2


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_turned_around_the_difference_changes_its_sign(seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = [f"w{i}" for i in range(20)]
    a, b = (Embedding(rng.permutation(words)[:17], rng.normal(size=(17, 3))) for _ in range(2))
    pairs = [(f"w{i}", f"w{j}", float(s)) for i, j, s in rng.integers(0, [20, 20, 6], (30, 3))]
    questions = {"": [tuple(f"w{i}" for i in row) for row in rng.integers(0, 20, (60, 4)).tolist()]}
    for items in (pairs, questions):
        forth, back = compare(a, b, items, replicates=60), compare(b, a, items, replicates=60)
        for x, y in zip(forth, back, strict=True):
            assert (x.a, x.b) == (y.b, y.a) or math.isnan(x.a) or math.isnan(x.b)
            np.testing.assert_allclose(x.interval, (-y.interval.high, -y.interval.low), rtol=0, atol=1e-9)
            np.testing.assert_allclose(x.a_better, 1 - y.a_better)
        same = compare(a, a, items, replicates=20)
        for one in same:
            assert math.isnan(one.a) or one.difference == 0
            assert math.isnan(one.a_better)
            assert not one.interval.known or one.interval == (0, 0)


def test_differences_of_correlations_are_those_of_drawn_pairs(rng: np.random.Generator) -> None:
    words = [f"w{i}" for i in range(15)]
    a, b = Embedding(words[:13], rng.normal(size=(13, 4))), Embedding(words[2:], rng.normal(size=(13, 4)))
    pairs = [WordPair(f"w{i}", f"w{j}", float(s)) for i, j, s in rng.integers(0, [15, 15, 5], (60, 3))]
    found = {(one.figure, one.items): one for one in compare(a, b, pairs, replicates=40, random_state=3)}
    reports = [evaluate_similarity(one, pairs) for one in (a, b)]
    assert found["spearman", "own"].a == reports[0].spearman
    assert found["pearson", "own"].b == reports[1].pearson
    scores = np.array([pair.score for pair in pairs])
    x, y = (report.cosines for report in reports)
    generator = np.random.default_rng(3)
    for items, kept in (("both", np.isfinite(x) & np.isfinite(y)), ("own", np.isfinite(x) | np.isfinite(y))):
        s, cx, cy = scores[kept], x[kept], y[kept]
        gaps = []
        for drawn in generator.integers(0, len(s), (40, len(s))):
            known = [drawn[np.isfinite(c[drawn])] for c in (cx, cy)]
            gaps.append(
                stats.spearmanr(s[known[0]], cx[known[0]]).statistic
                - stats.spearmanr(s[known[1]], cy[known[1]]).statistic
            )
        one = found["spearman", items]
        np.testing.assert_allclose(one.interval, np.quantile(gaps, [0.025, 0.975]), rtol=0, atol=1e-9)
        assert one.a_better == pytest.approx(np.mean(np.array(gaps) > 0))


def test_rules_and_the_cut_hold_for_both() -> None:
    a = Embedding(["King", "man", "woman", "Queen"], [[1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1]])
    b = Embedding(["king", "man", "woman", "queen"], a.vectors)
    questions = {"": [Question("king", "man", "woman", "queen")]}
    assert [one.covered_a for one in compare(a, b, questions)] == [1] * 4
    cased = list(compare(a, b, questions, rules="cased"))
    assert [(one.covered_a, one.covered_b) for one in cased] == [(0, 0), (0, 1)] * 2
    assert math.isnan(cased[0].difference)
    assert not cased[0].interval.known
    assert [one.covered_b for one in compare(a, b, questions, restrict=3)] == [0] * 4
    pairs = [("king", "man", 1.0)]
    assert next(iter(compare(a, b, pairs, rules="cased"))).covered_a == 0
    assert next(iter(compare(a, b, pairs))).covered_a == 1


@pytest.mark.parametrize("items", [{}, {"s": []}, [], [("x", "y", 1.0)], {"": [Question("x", "y", "z", "w")]}])
def test_nothing_to_compare_is_not_an_error(items: Any, royals: Embedding) -> None:
    for one in compare(royals, royals, items, replicates=5):
        assert (one.covered_a, one.covered_b) == (0, 0)
        assert math.isnan(one.difference)
        assert not one.interval.known


def test_what_is_wrong_is_refused(royals: Embedding) -> None:
    with pytest.raises(BadInput, match="replicates must be 1 or more"):
        compare(royals, royals, [], replicates=0)
    with pytest.raises(BadInput, match="expected four"):
        compare(royals, royals, {"": [("a", "b")]})


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (": s\na b c d\n", dict),
        ("\na b c d\n", dict),
        ("a b 1\n", list),
        ("# four words of comment\na b 1\n", list),
        ("word1\tword2\tmean score\na b\tc d\t1\n", list),
        ("New York\tLos Angeles\t3\n", list),
    ],
)
def test_a_file_says_what_it_holds(text: str, kind: type, tmp_path: Path) -> None:
    path = tmp_path / "set.txt"
    path.write_text(text)
    assert isinstance(read_items(path), kind)


def test_folders_and_msr_files_hold_questions(tmp_path: Path) -> None:
    (tmp_path / "w.questions").write_text("a b c\n")
    (tmp_path / "w.answers").write_text("R d\n")
    assert list(read_items(tmp_path / "w.questions")) == ["R"]
    (tmp_path / "x.txt").write_text("cat\tcats\ndog\tdogs\n")
    assert list(read_items(tmp_path)) == ["x"]


@pytest.mark.slow
@pytest.mark.parametrize(("shared", "s"), [(0.3, 0.6), (0.5, 1.0), (0.7, 1.2)])
def test_95_percent_intervals_of_differences_cover_the_truth(shared: float, s: float) -> None:
    """Planted as for one Embedding (tests/test_intervals.py), with effects of pairs that both share in part."""
    rng = np.random.default_rng(22)
    relations, m, simulations = 6, 24, 600
    mu = np.array([np.linspace(-0.6, 1.0, relations), np.linspace(-0.8, 0.9, relations)])
    of_a, of_b = stats.norm.cdf(mu / math.sqrt(2 * s * s + 1)).mean(axis=1).tolist()
    first, second = np.nonzero(~np.eye(m, dtype=bool))
    pairs = np.tile(np.stack([first, second], axis=1), (relations, 1))
    names = np.repeat(np.arange(relations), len(first))
    hits = 0
    for seed in range(simulations):
        common, own = rng.normal(0, s, (2, relations, m)), rng.normal(0, s, (2, 2, relations, m))
        effects = math.sqrt(shared) * common + math.sqrt(1 - shared) * own
        chance = rng.normal(size=(2, relations, len(first)))
        right = mu[:, :, None] + effects[:, 0][:, :, first] + effects[:, 1][:, :, second] + chance > 0
        verdicts = right.reshape(2, -1).astype(np.int8)
        accuracy, _, _ = resampling.accuracies(names, pairs, verdicts, 400, np.random.default_rng(seed))
        low, high = np.quantile(accuracy[0] - accuracy[1], [0.025, 0.975])
        hits += bool(low <= of_a - of_b <= high)
    assert 0.92 <= hits / simulations <= 0.98
