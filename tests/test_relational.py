"""Relational similarity: the layout of SemEval-2012 Task 2, and figures against loops."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from embedkit import Embedding
from embedkit.errors import BadFile, BadInput
from embedkit.evaluation import MaxDiff, Relation, WordPair, evaluate_relational, read_relations

QUESTIONS = """Here is a made-up relation.

Consider these pairs, which are good examples:

man:king
woman:queen

Write more of them:
"""
RATINGS = '# made by hand\n50.0 "boy:prince"\n-12.5 "dog:cat"\n0.0 "man:queen"\n'
ANSWERS = (
    "pair1\tpair2\tpair3\tpair4\tleast\tmost\trelation\n"
    'boy:prince\tdog:cat\tman:queen\ta:b\tdog:cat\tboy:prince\t"1a"\n'
    'boy:prince\tdog:cat\tman:queen\ta:b\ta:b\tboy:prince\t"1a"\n'
    '"dog:cat"\t"boy:prince"\t"man:queen"\t"a:b"\t"a:b"\t"dog:cat"\t"1a"\n'
    'boy:prince\tdog:cat\tman:queen\ta:b\tman:queen\tdog:cat\t"1a"\n'
    'boy:prince\tdog:cat\tman:queen\ta:b\ta:b\tboy:prince\t"1a"\n'
    'boy:prince\tdog:cat\tman:queen\ta:b\tdog:cat\tboy:prince\t"1a"\n'
)


def layout(folder: Path, name: str = "1a", answers: str | None = ANSWERS) -> Path:
    for part, text in (("Phase1Questions", QUESTIONS), ("GoldRatings", RATINGS), ("Phase2Answers", answers)):
        if text is not None:
            (folder / part).mkdir(parents=True, exist_ok=True)
            (folder / part / f"{part}-{name}.txt").write_text(text)
    return folder


def test_the_layout_is_read(tmp_path: Path) -> None:
    for name in ("10b", "2a", "1a"):
        layout(tmp_path, name, answers=ANSWERS if name == "1a" else None)
    relations = read_relations(tmp_path)
    assert [relation.name for relation in relations] == ["1a", "2a", "10b"]
    pairs = (WordPair("boy", "prince", 50.0), WordPair("dog", "cat", -12.5), WordPair("man", "queen", 0.0))
    four = (("boy", "prince"), ("dog", "cat"), ("man", "queen"), ("a", "b"))
    # The least illustrative is a draw of two; four pairs in another order are another question.
    questions = (
        MaxDiff(four, (("dog", "cat"), ("a", "b")), (("boy", "prince"),)),
        MaxDiff((four[1], four[0], *four[2:]), (("a", "b"),), (("dog", "cat"),)),
    )
    assert relations[0] == Relation("1a", (("man", "king"), ("woman", "queen")), pairs, questions)
    assert relations[1].questions == ()


@pytest.mark.parametrize(
    ("part", "text", "message"),
    [
        ("GoldRatings", '50.0 "boy:prince"\nhalf "a:b"\n', "line 2: expected a finite number and a pair"),
        ("GoldRatings", "50.0 boy prince\n", "line 1: expected a finite number and a pair"),
        ("GoldRatings", 'inf "a:b"\n', "line 1: expected a finite number and a pair"),
        ("Phase1Questions", "nothing here: really\n", "holds no prototypes"),
        ("Phase2Answers", "header\na:b\tc:d\te:f\tg:h\ta:b\n", "line 2: expected four pairs"),
        ("Phase2Answers", "header\n\na:b\tc:d\te:f\tg:h\ta:b\tx:y\n", "line 3: expected four pairs"),
    ],
)
def test_broken_files_are_named(part: str, text: str, message: str, tmp_path: Path) -> None:
    layout(tmp_path)
    path = tmp_path / part / f"{part}-1a.txt"
    path.write_text(text)
    with pytest.raises(BadFile, match=message) as caught:
        read_relations(tmp_path)
    assert caught.value.path == str(path)


def test_platinum_ratings_stand_in_for_gold_ones(tmp_path: Path) -> None:
    layout(tmp_path)
    platinum = tmp_path / "PlatinumRatings-1a.txt"
    platinum.write_text('1.0 "a:b"\n')
    assert len(read_relations(tmp_path)[0].pairs) == 3
    (tmp_path / "GoldRatings" / "GoldRatings-1a.txt").unlink()
    assert read_relations(tmp_path)[0].pairs == (WordPair("a", "b", 1.0),)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="is not a folder"):
        read_relations(tmp_path / "absent")
    with pytest.raises(BadFile, match="holds no relations"):
        read_relations(tmp_path)
    layout(tmp_path)
    (tmp_path / "Phase1Questions" / "Phase1Questions-1a.txt").unlink()
    with pytest.raises(BadFile, match=r"holds no Phase1Questions-1a\.txt"):
        read_relations(tmp_path)


def by_loops(embedding: Embedding, relation: Relation) -> dict[tuple[str, str], float]:
    """Mean cosine with the offsets of the known prototypes."""
    rows = {word.upper(): row for row, word in reversed(list(enumerate(embedding)))}
    unit = embedding.unit.vectors.astype(np.float64)

    def offset(x: str, y: str) -> npt.NDArray[Any] | None:
        if x.upper() not in rows or y.upper() not in rows:
            return None
        return np.asarray(unit[rows[y.upper()]] - unit[rows[x.upper()]])

    scores = {}
    for pair in relation.pairs:
        mine = offset(pair.a, pair.b)
        others = [o for x, y in relation.prototypes if (o := offset(x, y)) is not None]
        if mine is None or not others:
            scores[pair.a, pair.b] = math.nan
            continue
        lengths = [float(np.linalg.norm(mine) * np.linalg.norm(o)) for o in others]
        cosines = [float(mine @ o) / n if n > 0 else 0.0 for o, n in zip(others, lengths, strict=True)]
        scores[pair.a, pair.b] = sum(cosines) / len(cosines)
    return scores


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_figures_are_those_of_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = [f"w{i}" if rng.random() < 0.5 else f"W{i}" for i in range(14)]
    embedding = Embedding(labels, rng.normal(size=(14, 3)))

    def pair() -> tuple[str, str]:
        x, y = rng.integers(0, 16, 2).tolist()
        return f"w{x}", f"w{y}"

    relations = []
    for name in ("1a", "2b"):
        pairs = {pair(): float(rng.integers(0, 5)) for _ in range(12)}
        asked = list(pairs)
        questions = tuple(
            MaxDiff(tuple(asked[i] for i in four), (asked[four[0]], asked[four[2]]), (asked[four[1]],))
            for four in (rng.permutation(len(asked))[:4].tolist() for _ in range(8))
        )
        scored = tuple(WordPair(*words, score) for words, score in pairs.items())
        relations.append(Relation(name, (pair(), pair(), pair()), scored, questions))
    report = evaluate_relational(embedding, relations)
    spearmans, maxdiffs = [], []
    for relation, figures, found in zip(relations, report.figures, report.scores, strict=True):
        expected = by_loops(embedding, relation)
        np.testing.assert_allclose(found, list(expected.values()), rtol=0, atol=1e-6)
        known = np.isfinite(found)
        gold = np.array([p.score for p in relation.pairs])
        assert (figures.pairs, figures.covered) == (len(gold), known.sum())
        if known.sum() > 2 and np.ptp(gold[known]) and np.ptp(found[known]):
            assert figures.spearman == pytest.approx(stats.spearmanr(gold[known], found[known]).statistic)
            assert figures.spearman_of_all == pytest.approx(stats.spearmanr(gold, np.nan_to_num(found)).statistic)
            spearmans.append(figures.spearman)
        shares = []
        for question in relation.questions:
            scores = [dict(zip(expected, found.tolist(), strict=True))[p] for p in question.pairs]
            if not any(map(math.isnan, scores)):
                ends = question.pairs[scores.index(min(scores))], question.pairs[scores.index(max(scores))]
                shares.append(((ends[0] in question.least) + (ends[1] in question.most)) / 2)
        if shares:
            assert figures.maxdiff == pytest.approx(sum(shares) / len(shares))
            maxdiffs.append(figures.maxdiff)
        else:
            assert math.isnan(figures.maxdiff)
    if spearmans:
        assert report.spearman == pytest.approx(sum(spearmans) / len(spearmans))
        low, high = report.intervals(200)
        assert -1 <= low <= high <= 1
        wider = report.intervals(200, 0.99)
        assert wider.low <= low <= high <= wider.high
    if maxdiffs:
        assert report.maxdiff == pytest.approx(sum(maxdiffs) / len(maxdiffs))


def test_a_report_tells_of_coverage_and_rules() -> None:
    embedding = Embedding(
        ["man", "KING", "boy", "prince", "dog"], np.array([[1, 0], [1, 1], [0, 1], [0.2, 1.5], [2, 1]])
    )
    pairs = (WordPair("boy", "prince", 3), WordPair("dog", "man", 1), WordPair("dog", "cat", 0))
    relations = [Relation("1a", (("man", "king"),), pairs)]
    report = evaluate_relational(embedding, relations, name="set")
    assert (report.pairs, report.covered, report.vocabulary, report.ignore_case) == (3, 2, 5, True)
    assert not report.interval.known
    assert repr(report) == "RelationalReport('set', mean Spearman - of 1 relations, 2 of 3 pairs covered)"
    assert report.to_frame().columns.tolist() == [
        "relation", "pairs", "covered", "spearman", "spearman_of_all", "maxdiff",
    ]  # fmt: skip
    assert evaluate_relational(embedding, relations, ignore_case=False).covered == 0
    assert evaluate_relational(embedding, relations, restrict=4).covered == 1
    assert math.isnan(evaluate_relational(embedding, []).spearman)
    assert not evaluate_relational(embedding, []).interval.known
    with pytest.raises(BadInput, match="relation '1a' has no prototypes"):
        evaluate_relational(embedding, [Relation("1a", (), pairs)])
