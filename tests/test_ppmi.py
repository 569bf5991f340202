"""PPMI against dense matrices of numpy."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.base import clone

from embedkit import Corpus
from embedkit.errors import BadInput, EmbedkitError, NotFitted, UnknownWord
from embedkit.evaluation import evaluate_analogies
from embedkit.text import EncodedCorpus
from embedkit.text.kingdom import kingdom, kingdom_questions
from embedkit.words import PPMI, Cooccurrence

Doubles = npt.NDArray[np.float64]
COUNTING: dict[str, Any] = {"window": 4, "min_count": 3}


def trainer(**parameters: Any) -> PPMI:
    return PPMI(**{"vector_size": 10, "random_state": 7, **COUNTING, **parameters})


@pytest.fixture(scope="module")
def text() -> EncodedCorpus:
    return kingdom(2000).encode()


def dense_ppmi(counts: Doubles, smoothing: float, negative: float) -> Doubles:
    """As Levy, Goldberg & Dagan (2015) define it: eq. 3 with the smoothed P(c) of section 3.1."""
    joint = counts / counts.sum()
    words, contexts = counts.sum(axis=1) / counts.sum(), counts.sum(axis=0) ** smoothing
    with np.errstate(divide="ignore"):
        ratio = np.log(joint / np.outer(words, contexts / contexts.sum()))
    ppmi: Doubles = np.maximum(0, ratio - np.log(negative))
    return ppmi


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("smoothing", "negative"), [(0.75, 1), (1, 1), (0.75, 5), (0, 1), (0.5, 0.5)])
@pytest.mark.parametrize("exponent", [0, 0.5, 1])
def test_vectors_are_those_of_the_dense_matrix(
    rng: np.random.Generator, symmetric: bool, smoothing: float, negative: float, exponent: float
) -> None:
    # Each word is near those that are like it, and a few that are not.
    starts = rng.integers(0, 60, 400)
    documents = [[f"w{(start + step) % 60}" for step in rng.integers(0, 9, 8)] for start in starts]
    counts = Cooccurrence.count(Corpus(documents), symmetric=symmetric, **COUNTING)
    ppmi = trainer(context_smoothing=smoothing, negative=negative, eigenvalue_exponent=exponent).fit(counts)
    matrix = dense_ppmi(counts.matrix.toarray(), smoothing, negative)
    left, values, _ = np.linalg.svd(matrix)
    np.testing.assert_allclose(ppmi.singular_values_, values[:10], rtol=1e-9)
    assert values[9] - values[10] > 1e-6  # or which dimensions are kept would be left to chance
    found = ppmi.embedding_.vectors.astype(float)
    # Signs are free, and so is the basis of equal singular values: their products are not.
    expected = left[:, :10] * values[:10] ** exponent
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-4 * np.abs(expected).max() ** 2)
    apart = np.diff(values[:11], prepend=np.inf) < -1e-3 * values[0]
    alone = apart[:10] & apart[1:]
    assert alone.any()
    np.testing.assert_allclose(np.abs(found[:, alone]), np.abs(expected[:, alone]), atol=1e-4 * np.abs(expected).max())


def test_singular_values_fall_and_the_largest_entry_of_each_dimension_is_positive(text: EncodedCorpus) -> None:
    ppmi = trainer().fit(text)
    assert ppmi.singular_values_.shape == (10,)
    assert (np.diff(ppmi.singular_values_) <= 0).all()
    vectors = ppmi.embedding_.vectors
    assert (vectors[np.abs(vectors).argmax(axis=0), np.arange(10)] > 0).all()


def test_the_seed_decides_nothing_but_rounding_and_repeats_every_bit(text: EncodedCorpus) -> None:
    first, again, other = (trainer(random_state=seed).fit_transform(text) for seed in (1, 1, 2))
    assert first == again
    np.testing.assert_allclose(np.abs(first.vectors), np.abs(other.vectors), atol=1e-4)
    assert trainer(workers=3).fit_transform(text) == trainer().fit_transform(text)
    drawn = trainer(random_state=None).fit_transform(text)
    assert trainer(random_state=drawn.provenance["parameters"]["random_state"]).fit_transform(text) == drawn


def test_a_corpus_its_encoding_and_its_counts_give_the_same(text: EncodedCorpus) -> None:
    made = [trainer().fit_transform(data) for data in (kingdom(2000), text, Cooccurrence.count(text, **COUNTING))]
    assert made[0] == made[1] == made[2]
    assert made[0] == trainer(memory="1kB").fit_transform(text)


@pytest.mark.parametrize(
    "counting",
    [{"window": 2}, {"min_count": 30}, {"max_final_vocab": 50}, {"symmetric": False}, {"distance_weighting": False}],
    ids=str,
)
def test_counting_is_that_of_the_parameters(counting: dict[str, Any], text: EncodedCorpus) -> None:
    from_text = trainer(**counting).fit_transform(text)
    assert from_text == trainer().fit_transform(Cooccurrence.count(text, **{**COUNTING, **counting}))
    assert from_text != trainer().fit_transform(text)


def test_the_kingdoms_analogies_are_learnt() -> None:
    made = PPMI(vector_size=50, window=8, random_state=1, distance_weighting=False).fit_transform(kingdom(20_000))
    assert evaluate_analogies(made, kingdom_questions()).total.accuracy > 0.95


def test_what_it_makes_has_counts_and_a_provenance(text: EncodedCorpus) -> None:
    ppmi = trainer().fit(text)
    assert ppmi.embedding_.columns["count"].tolist() == text.vocabulary.prune(3).counts.tolist()
    about = json.loads(json.dumps(ppmi.embedding_.provenance, allow_nan=False))
    assert (about["made_by"], about["parameters"]) == ("PPMI", ppmi.get_params())
    assert about["counts"]["parameters"]["window"] == 4


# -- what is refused ---------------------------------------------------------------------------------------------------

BAD: list[tuple[str, Any]] = [
    *[(name, value) for name in ("vector_size", "window", "min_count", "workers") for value in (0, -1, 2.0, "2", None)],
    *[(name, value) for name in ("symmetric", "distance_weighting") for value in (2, None, "no")],
    *[("context_smoothing", value) for value in (-0.1, 1.1, math.nan, "1", None)],
    *[("negative", value) for value in (0, -1, math.nan, math.inf, "1", None)],
    *[("eigenvalue_exponent", value) for value in (-0.1, 1.1, math.nan, None)],
    *[("random_state", value) for value in (-1, 2**32, 1.0, "1")],
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_parameter_is_refused_by_name(name: str, value: Any, text: EncodedCorpus) -> None:
    with pytest.raises(BadInput, match=name):
        trainer(**{name: value}).fit(text)


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([], "0 of 0 words reach min_count=1"),
        ([["a"]], "1 words have at most 0 dimensions"),
        ([["a", "b", "c"]], "3 words have at most 2 dimensions, not vector_size=10"),
    ],
)
def test_more_dimensions_than_words_are_refused(documents: list[list[str]], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        trainer(min_count=1).fit(Corpus(documents))


@pytest.mark.parametrize("parameters", [{}, {"negative": 1e6}], ids=str)
def test_a_matrix_of_zeros_is_refused(parameters: dict[str, Any]) -> None:
    documents = [["a", "b"], ["c", "d"]] if parameters else [["a"], ["b"], ["c"], ["d"]]
    with pytest.raises(EmbedkitError):
        trainer(vector_size=2, min_count=1, **parameters).fit(Corpus(documents))


@pytest.mark.parametrize("thing", [[["a", "b"]], "a b", None], ids=["list", "string", "none"])
def test_what_is_neither_text_nor_counts_is_refused(thing: Any) -> None:
    with pytest.raises(BadInput, match=r"made from an embedkit\.Corpus or a Cooccurrence, not from a"):
        trainer().fit(thing)


def test_a_failed_fit_leaves_the_earlier_one_alone(text: EncodedCorpus) -> None:
    ppmi = trainer().fit(text)
    before, values = ppmi.embedding_, ppmi.singular_values_
    with pytest.raises(BadInput):
        ppmi.fit(Corpus([["a", "b"]] * 3))
    assert ppmi.embedding_ is before
    assert ppmi.singular_values_ is values


# -- the verbs ---------------------------------------------------------------------------------------------------------


def test_transform_gives_the_words_in_the_order_asked(text: EncodedCorpus) -> None:
    ppmi = trainer()
    with pytest.raises(NotFitted, match="PPMI is not fitted yet"):
        ppmi.transform(["king"])
    made = ppmi.fit_transform(text)
    assert ppmi.transform(["queen", "king"]) == made.take(made.rows(["queen", "king"]))
    with pytest.raises(UnknownWord) as caught:
        ppmi.transform(["king", "qeen"])
    assert caught.value.missing == ("qeen",)


def test_it_is_cloned_and_shown_by_its_parameters(text: EncodedCorpus) -> None:
    ppmi = trainer(negative=5).fit(text)
    copy = clone(ppmi)
    assert copy.get_params() == ppmi.get_params()
    assert not hasattr(copy, "embedding_")
    assert repr(PPMI()) == "PPMI()"
    assert repr(PPMI(negative=5, window=5)) == "PPMI(negative=5)"
