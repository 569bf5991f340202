"""Vocabulary: what stays, with which probabilities; the same as in gensim."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedkit import Corpus
from embedkit.errors import BadInput
from embedkit.text.vocabulary import Vocabulary

COUNTS = [50, 20, 20, 7, 5, 5, 5, 2, 1, 1]


def made(counts: list[int]) -> Vocabulary:
    return Vocabulary([f"w{number}" for number in range(len(counts))], counts)


@pytest.fixture(scope="module")
def documents() -> list[list[str]]:
    words = [f"w{number}" for number, count in enumerate(COUNTS) for _ in range(count)]
    shuffled = np.random.default_rng(0).permutation(words).tolist()
    return [shuffled[i : i + 9] for i in range(0, len(shuffled), 9)]


def theirs(documents: list[list[str]], **options: Any) -> Any:
    """The word vectors of a gensim model that has built its vocabulary."""
    from gensim.models import Word2Vec

    model = Word2Vec(vector_size=2, workers=1, **options)
    model.build_vocab(documents)
    return model.wv


@pytest.mark.parametrize("min_count", [1, 2, 5, 6, 20, 50])
@pytest.mark.parametrize("max_size", [None, 1, 2, 3, 4, 6, 7, 9, 10, 99])
def test_prune_keeps_what_gensim_keeps(documents: list[list[str]], min_count: int, max_size: int | None) -> None:
    pruned = Corpus(documents).encode().vocabulary.prune(min_count, max_size)
    wv = theirs(documents, min_count=min_count, max_final_vocab=max_size)
    assert {word: pruned[word] for word in pruned} == {w: wv.get_vecattr(w, "count") for w in wv.index_to_key}
    assert pruned.total == sum(wv.get_vecattr(word, "count") for word in wv.index_to_key)


@pytest.mark.parametrize("sample", [1e-5, 1e-3, 0.05, 0.3, 0.9, 1, 3.5, 10])
@pytest.mark.parametrize("min_count", [1, 5])
def test_words_are_kept_with_gensims_probabilities(documents: list[list[str]], sample: float, min_count: int) -> None:
    vocabulary = Corpus(documents).encode().vocabulary.prune(min_count)
    wv = theirs(documents, min_count=min_count, sample=sample)
    expected = [wv.get_vecattr(word, "sample_int") / 2**32 for word in vocabulary]
    found = vocabulary.keep_probabilities(sample)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert sample > 0.01 or found.max() < 1


def test_noise_is_drawn_with_gensims_probabilities(documents: list[list[str]]) -> None:
    from gensim.models import Word2Vec

    for exponent in (-1, 0, 0.75, 5):
        model = Word2Vec(vector_size=2, min_count=1, ns_exponent=exponent)
        model.build_vocab(documents)
        vocabulary = Corpus(documents).encode().vocabulary
        found = np.cumsum(vocabulary.noise_probabilities(exponent))
        place = [vocabulary.words.find(word) for word in model.wv.index_to_key]
        ours = np.cumsum(vocabulary.noise_probabilities(exponent)[place])
        np.testing.assert_allclose(ours, model.cum_table / model.cum_table[-1], atol=1e-6)
        assert found[-1] == pytest.approx(1)


@given(st.lists(st.integers(1, 2**40), min_size=1, max_size=9), st.sampled_from([-1, 0, 0.75, 1, 5, 100]))
def test_noise_probabilities_sum_to_one(counts: list[int], exponent: float) -> None:
    found = made(sorted(counts, reverse=True)).noise_probabilities(exponent)
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()
    assert (np.sign(np.diff(found)) * np.sign(exponent) <= 0).all()


def test_no_exponent_overflows() -> None:
    assert np.isfinite(made([10**6, 1]).noise_probabilities(-60)).all()


@pytest.mark.parametrize("sample", [5e-324, 1e-310])
def test_no_share_is_too_small(sample: float) -> None:
    kept = made([10**6, 1]).keep_probabilities(sample)
    assert ((kept >= 0) & (kept <= 1)).all()


@given(st.lists(st.integers(1, 2**40), max_size=9), st.floats(1e-12, 1))
def test_frequent_words_are_kept_less(counts: list[int], sample: float) -> None:
    vocabulary = made(sorted(counts, reverse=True))
    kept = vocabulary.keep_probabilities(sample)
    assert kept.shape == (len(counts),)
    assert ((kept > 0) & (kept <= 1)).all()
    assert (np.diff(kept) >= 0).all()
    assert (vocabulary.keep_probabilities(0) == 1).all()


@pytest.mark.parametrize("sample", [-0.1, float("nan"), float("inf")])
def test_a_share_lies_between_0_and_1(sample: float) -> None:
    with pytest.raises(BadInput, match="share from 0 to 1"):
        made([1]).keep_probabilities(sample)


@given(st.lists(st.integers(1, 9), max_size=12), st.integers(0, 10), st.none() | st.integers(0, 13))
def test_prune_keeps_rows_and_parts_no_equals(counts: list[int], min_count: int, max_size: int | None) -> None:
    vocabulary = made(sorted(counts, reverse=True))
    pruned = vocabulary.prune(min_count, max_size)
    n = len(pruned)
    assert list(pruned) == list(vocabulary)[:n]
    assert pruned.counts.tolist() == vocabulary.counts[:n].tolist()
    assert max_size is None or n <= max_size
    assert all(count >= min_count for count in pruned.counts.tolist())
    if n < len(vocabulary):  # the next one had to go, by its count or for its equals
        following = int(vocabulary.counts[n])
        assert n == 0 or following < pruned.counts[-1]
        equals = int((vocabulary.counts == following).sum())
        assert following < min_count or (max_size is not None and n + equals > max_size)


@pytest.mark.parametrize("max_size", [-1, -2])
def test_a_size_is_not_negative(max_size: int) -> None:
    with pytest.raises(BadInput):
        made([3, 2, 1]).prune(max_size=max_size)


@pytest.mark.parametrize(
    ("words", "counts", "reason"),
    [
        (["a"], [1, 2], "1 words for counts of shape"),
        (["a"], 1, "1 words for counts of shape"),
        (["a", "b"], [[1, 2]], "counts of shape"),
        (["a", "b"], [1, 2], "ordered from the most frequent"),
        (["a", "b"], [1, 0], "positive"),
        (["a", "b"], [1, -1], "positive"),
        (["a", "a"], [1, 1], "twice"),
    ],
)
def test_words_and_counts_must_fit(words: list[str], counts: Any, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        Vocabulary(words, counts)


def test_a_vocabulary_is_asked_like_a_dictionary() -> None:
    vocabulary = made(COUNTS)
    assert (vocabulary["w0"], vocabulary["w9"], vocabulary["x"]) == (50, 1, 0)
    assert ("w0" in vocabulary, "x" in vocabulary, 5 in vocabulary) == (True, False, False)
    assert (len(vocabulary), vocabulary.total) == (10, sum(COUNTS))
    assert vocabulary == made(COUNTS)
    assert vocabulary != made(COUNTS[:9])
    assert vocabulary != COUNTS
    assert repr(vocabulary) == "Vocabulary(10 words, 116 tokens)"
    with pytest.raises(ValueError, match="read-only"):
        vocabulary.counts[0] = 1


def test_an_empty_vocabulary_works() -> None:
    empty = Vocabulary([], [])
    assert (len(empty), empty.total, list(empty.prune(5, 0))) == (0, 0, [])
    assert empty.noise_probabilities().shape == empty.keep_probabilities(0.1).shape == (0,)
