"""Word pairs with scores: how they are read, and that the correlations are gensim's."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gensim.test.utils import datapath
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from embedkit import Embedding
from embedkit.errors import BadFile, BadInput
from embedkit.evaluation import WordPair, correlation_interval, evaluate_similarity, read_pairs


def write(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


# -- reading -----------------------------------------------------------------------------------------------------------

TIGER = [WordPair("tiger", "cat", 7.35), WordPair("book", "paper", 7.0)]


@pytest.mark.parametrize(
    "text",
    [
        "tiger\tcat\t7.35\nbook\tpaper\t7\n",
        "tiger cat 7.35\nbook paper 7",
        "tiger\tcat\t7.35\r\nbook\tpaper\t7\r\n",
        "\n  tiger   cat 7.35  \n\n\nbook paper +7.0e0\n\n",
        "tiger \t cat\t7.35\t\nbook paper 7\n",
        "\ufefftiger\tcat\t7.35\nbook\tpaper\t7\n",
        "Word 1\tWord 2\tHuman (mean)\ntiger\tcat\t7.35\nbook\tpaper\t7\n",
        "\ufeffword1 word2 similarity\ntiger cat 7.35\nbook paper 7\n",
        "# from somewhere\n# Word 1\tWord 2\n\nword1 word2 score\n# more\ntiger cat 7.35\nbook paper 7\n",
    ],
)
def test_the_layout_is_read_kindly(text: str, tmp_path: Path) -> None:
    assert read_pairs(write(tmp_path / "p.tsv", text)) == TIGER


def test_words_are_kept_as_written_and_may_hold_spaces_between_tabs(tmp_path: Path) -> None:
    pairs = read_pairs(str(write(tmp_path / "p.tsv", "New York\tété\t-0.5\nscore\tscore\t1\n")))
    assert pairs == [("New York", "été", -0.5), ("score", "score", 1.0)]


@pytest.mark.parametrize("line", ["a", "a b", "a b 1 2", "a\tb\t1\t2", "a\t\t1", "\tb\t1", "a b\t1", "a,b,1"])
def test_a_line_that_is_not_three_fields_is_named(line: str, tmp_path: Path) -> None:
    path = write(tmp_path / "p.tsv", f"# comment\na b 1\n\n{line}\na b 2\n")
    with pytest.raises(BadFile, match="expected word, word, score, separated by tabs or spaces, found '") as caught:
        read_pairs(path)
    assert (caught.value.path, caught.value.place) == (str(path), "line 4")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("score", ["nan", "NaN", "inf", "-Infinity", "1e500", "1_0.5", "7,35", "0x1", "--1"])
@pytest.mark.parametrize("before", ["", "a b 1\n"])
def test_a_score_that_is_no_finite_number_is_named(score: str, before: str, tmp_path: Path) -> None:
    path = write(tmp_path / "p.tsv", f"{before}a\tb\t{score}\nc d 2\n")
    with pytest.raises(BadFile, match=f"expected a finite number as score, found '{score}'") as caught:
        read_pairs(path)
    assert caught.value.place == ("line 2" if before else "line 1")


def test_there_is_one_header_at_most(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="line 2: expected a finite number"):
        read_pairs(write(tmp_path / "p.tsv", "word1 word2 score\nword1 word2 score\na b 1\n"))


def test_a_long_bad_line_is_quoted_in_part(tmp_path: Path) -> None:
    for line in ("x" * 10_000, "a b " + "1" * 10_000 + "x"):
        with pytest.raises(BadFile) as caught:
            read_pairs(write(tmp_path / "p.tsv", f"a b 1\n{line}\n"))
        assert len(caught.value.reason) < 150


@pytest.mark.parametrize("text", ["", "\n \n", "# comment\n", "word1 word2 score\n", "\ufeff"])
def test_a_file_without_pairs_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="holds no pairs"):
        read_pairs(write(tmp_path / "p.tsv", text))


def test_bad_utf8_is_named_by_line(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="not valid UTF-8 at byte 2") as caught:
        read_pairs(write(tmp_path / "p.tsv", b"a b 1\nc \xff 2\n"))
    assert caught.value.place == "line 2"


@pytest.mark.parametrize(("name", "reason"), [("missing.tsv", "No such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_named(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=reason):
        read_pairs(tmp_path / name)


word = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1).filter(
    lambda text: not text.startswith(("#", "\ufeff"))
)


@given(st.lists(st.tuples(word, word, st.floats(allow_nan=False, allow_infinity=False)), min_size=1), st.booleans())
def test_what_is_written_is_read(tmp_path_factory: Any, pairs: list[tuple[str, str, float]], tabs: bool) -> None:
    text = "".join(("\t" if tabs else " ").join((a, b, repr(score))) + "\n" for a, b, score in pairs)
    assert read_pairs(write(tmp_path_factory.getbasetemp() / "pairs.tsv", text)) == pairs


@pytest.mark.parametrize(("name", "count"), [("wordsim353", 353), ("simlex999", 999), ("rg65", 65), ("mc30", 30)])
def test_the_usual_sets_are_all_read(name: str, count: int, data: Path) -> None:
    path = data / "eval" / "similarity" / f"{name}.tsv"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    assert len(read_pairs(path)) == count


# -- the same correlations as gensim and scipy -------------------------------------------------------------------------

WORDSIM = Path(datapath("wordsim353.tsv"))


def some_words(rng: np.random.Generator) -> Embedding:
    """Nine in ten of WordSim's words, in mixed capitals and with variants, at random places."""
    words = sorted({word for pair in read_pairs(WORDSIM) for word in pair[:2]})
    kept = [word for word in words if rng.random() < 0.9]
    spelled = [word.upper() if rng.random() < 0.3 else word for word in kept]
    variants = [word.title() for word in kept if rng.random() < 0.3]
    labels = list(dict.fromkeys([*variants, *spelled] if rng.random() < 0.5 else [*spelled, *variants]))
    return Embedding(labels, rng.normal(size=(len(labels), 20)) + 0.2)


@pytest.mark.parametrize("ignore_case", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_correlations_are_those_of_gensim(ignore_case: bool, seed: int) -> None:
    embedding = some_words(np.random.default_rng(seed))
    report = evaluate_similarity(embedding, read_pairs(WORDSIM), ignore_case=ignore_case)
    pearson, spearman, unknown = embedding.to_gensim().evaluate_word_pairs(
        str(WORDSIM), restrict_vocab=None, case_insensitive=ignore_case
    )
    assert report.pearson == pytest.approx(pearson[0], abs=1e-6)
    assert report.spearman == pytest.approx(spearman[0], abs=1e-6)
    assert 100 * (1 - report.covered / len(report.pairs)) == pytest.approx(unknown)
    assert 50 < report.covered < 340


@pytest.mark.parametrize("restrict", [None, 150])
def test_the_cut_and_unknown_pairs_at_zero_are_those_of_gensim(restrict: int | None) -> None:
    embedding = some_words(np.random.default_rng(5))
    report = evaluate_similarity(embedding, read_pairs(WORDSIM), restrict=restrict)
    keyed = embedding.to_gensim()
    pearson, spearman, _ = keyed.evaluate_word_pairs(str(WORDSIM), restrict_vocab=restrict)
    assert (report.pearson, report.spearman) == pytest.approx((pearson[0], spearman[0]), abs=1e-6)
    _, spearman, unknown = keyed.evaluate_word_pairs(str(WORDSIM), restrict_vocab=restrict, dummy4unknown=True)
    assert report.spearman_of_all == pytest.approx(spearman[0], abs=1e-6)
    assert 100 * (1 - report.covered / len(report.pairs)) == pytest.approx(unknown)
    assert report.vocabulary == (restrict or len(embedding))
    with pytest.raises(BadInput, match="restrict must be 1 or more, or None, not 0"):
        evaluate_similarity(embedding, [], restrict=0)


def test_capitals_matter_in_these_tests() -> None:
    embedding = some_words(np.random.default_rng(0))
    ignored, cased = (evaluate_similarity(embedding, read_pairs(WORDSIM), ignore_case=case) for case in (True, False))
    assert ignored.covered > cased.covered + 50
    assert (ignored.ignore_case, cased.ignore_case) == (True, False)


def test_of_words_that_differ_in_case_the_first_counts() -> None:
    embedding = Embedding(["A", "a", "b"], [[1, 0], [0, 1], [1, 0]])
    pairs = [("a", "B", 1.0)]
    assert evaluate_similarity(embedding, pairs).cosines.tolist() == [1]
    assert evaluate_similarity(embedding, [("a", "b", 1.0)], ignore_case=False).cosines.tolist() == [0]
    assert evaluate_similarity(embedding, pairs, ignore_case=False).covered == 0


@given(st.integers(0, 2**32 - 1))
def test_laws(seed: int) -> None:
    rng = np.random.default_rng(seed)
    embedding = Embedding([f"w{i}" for i in range(12)], rng.normal(size=(12, 3)))
    pairs = [(f"w{i}", f"w{j}", float(s)) for i, j, s in rng.integers(0, [15, 15, 5], (30, 3))]
    report = evaluate_similarity(embedding, pairs)
    known = [pair for pair in pairs if pair[0] in embedding and pair[1] in embedding]
    unit = embedding.vectors.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    cosines = [float(unit[int(a[1:])] @ unit[int(b[1:])]) for a, b, _ in known]
    covered = np.isfinite(report.cosines)
    assert report.covered == len(known) == covered.sum()
    np.testing.assert_allclose(report.cosines[covered], cosines, rtol=0, atol=1e-6)
    scores = [score for *_, score in known]
    if len(set(scores)) > 1:
        assert report.spearman == pytest.approx(stats.spearmanr(scores, report.cosines[covered]).statistic, abs=1e-12)
        assert report.pearson == pytest.approx(stats.pearsonr(scores, cosines).statistic, abs=1e-6)
        assert report.intervals(50, 0.9, 3) == correlation_interval(
            scores, report.cosines[covered], replicates=50, level=0.9, random_state=3
        )
    # Neither the order within a pair nor what is not covered matters; a pair has its cosine alone as among others.
    turned = evaluate_similarity(embedding, [(b, a, score) for a, b, score in known])
    assert turned.spearman == report.spearman or math.isnan(turned.spearman)
    assert turned.cosines.tolist() == report.cosines[covered].tolist()
    assert evaluate_similarity(embedding, known[:1]).cosines.tolist() == report.cosines[covered][:1].tolist()


# -- the rest of a report ----------------------------------------------------------------------------------------------

SCORED = [("king", "queen", 8.0), ("king", "man", 7.0), ("king", "emperor", 9.0), ("man", "woman", 1.0)]


def test_pairs_with_unknown_words_are_left_out_and_counted(royals: Embedding) -> None:
    report = evaluate_similarity(royals, SCORED, name="royal")
    assert (report.name, report.covered, len(report.pairs), report.vocabulary) == ("royal", 3, 4, 4)
    np.testing.assert_allclose(report.cosines, [0.5, math.sqrt(0.5), math.nan, 0], rtol=1e-7)
    assert report.spearman == pytest.approx(0.5)
    assert report.intervals().spearman == report.interval
    assert report.intervals().pearson == report.pearson_interval


def test_a_row_of_zeros_has_cosine_0_with_all() -> None:
    embedding = Embedding(["zero", "a", "b"], [[0, 0], [1, 0], [-1, 0]])
    pairs = [("zero", "a", 1.0), ("zero", "zero", 2.0), ("a", "a", 3.0), ("a", "b", 4.0)]
    report = evaluate_similarity(embedding, pairs)
    assert (report.cosines.tolist(), report.covered) == ([0, 0, 1, -1], 4)


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [("x", "y", 1.0)] * 5,
        [("king", "queen", 1.0), ("king", "man", 2.0)],
        [("king", "queen", 1.0), ("king", "man", 1.0), ("king", "woman", 1.0)],
        [("king", "king", 1.0), ("man", "man", 2.0), ("woman", "woman", 3.0)],
    ],
)
def test_too_few_pairs_or_a_constant_give_nan(pairs: list[tuple[str, str, float]], royals: Embedding) -> None:
    report = evaluate_similarity(royals, pairs)
    assert math.isnan(report.spearman)
    assert math.isnan(report.pearson)
    assert not report.interval.known
    assert "Spearman -, Pearson -" in repr(report)


@pytest.mark.parametrize("factor", [1e-320, 1e-300, 1e300])
def test_scores_of_any_size_are_no_trouble(factor: float, royals: Embedding) -> None:
    pairs = [(a, b, score * factor) for a, b, score in SCORED]
    plain, report = evaluate_similarity(royals, SCORED), evaluate_similarity(royals, pairs)
    assert report.spearman == plain.spearman
    assert report.pearson == pytest.approx(plain.pearson, abs=1e-3)
    assert report.interval == plain.interval


def test_scores_that_hardly_differ_are_no_trouble(royals: Embedding) -> None:
    pairs = [(a, b, 1e9 + score * 1e-6) for a, b, score in SCORED]
    assert evaluate_similarity(royals, pairs).spearman == evaluate_similarity(royals, SCORED).spearman


def test_to_frame_has_a_row_a_pair(royals: Embedding) -> None:
    frame = evaluate_similarity(royals, SCORED[2:]).to_frame()
    expected = pd.DataFrame(
        [("king", "emperor", 9.0, math.nan), ("man", "woman", 1.0, 0.0)], columns=["a", "b", "score", "cosine"]
    )
    pd.testing.assert_frame_equal(frame, expected)
    assert list(evaluate_similarity(royals, []).to_frame().columns) == ["a", "b", "score", "cosine"]


def test_repr_tells_the_correlations_with_their_intervals(royals: Embedding) -> None:
    report = evaluate_similarity(royals, SCORED, name="royal")
    low, high = report.interval
    shown = repr(report)
    assert shown.startswith(f"SimilarityReport('royal', Spearman 0.500 [{low:.3f}, {high:.3f}], Pearson 0.")
    assert shown.endswith("], 3 of 4 pairs covered)")


BAD_PAIRS: list[tuple[Any, str]] = [
    (("a", "b"), "pair 1 must be two words and a score"),
    (("a", 2, 3.0), "pair 1 must be two words and a score"),
    (("a", "b", math.nan), "pair 1 has a score that is not a finite number: nan"),
    (("a", "b", "x"), "pair 1 has a score that is not a finite number: x"),
    (("a", "b", None), "pair 1 has a score that is not a finite number: None"),
]


@pytest.mark.parametrize(("pair", "message"), BAD_PAIRS)
def test_what_is_no_pair_is_refused(pair: Any, message: str, royals: Embedding) -> None:
    with pytest.raises(BadInput, match=message):
        evaluate_similarity(royals, [("king", "man", 1.0), pair])
