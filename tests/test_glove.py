"""GloVe: the cost of the formula, the same from text and counts, and what it refuses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

import embedkit
from embedkit import Corpus, Embedding
from embedkit.errors import BadInput, NotFitted, TrainingDiverged, UnknownWord
from embedkit.evaluation import evaluate_analogies
from embedkit.kernels import glove as kernel
from embedkit.progress import Progress
from embedkit.text import EncodedCorpus
from embedkit.text.kingdom import kingdom, kingdom_questions
from embedkit.words import Cooccurrence, GloVe

COUNTING: dict[str, Any] = {"window": 8, "min_count": 3}


def trainer(**parameters: Any) -> GloVe:
    return GloVe(**{"vector_size": 16, "epochs": 3, "x_max": 10, "random_state": 7, **COUNTING, **parameters})


@pytest.fixture(scope="module")
def text() -> EncodedCorpus:
    return kingdom(3000).encode()


@pytest.fixture(scope="module")
def counts(text: EncodedCorpus) -> Cooccurrence:
    return Cooccurrence.count(text, **COUNTING)


def losses(glove: GloVe) -> list[float]:
    return [entry["loss"] for entry in glove.history_]


# -- what it is made from ----------------------------------------------------------------------------------------------


def test_a_corpus_its_encoding_its_file_and_its_counts_give_the_same(
    text: EncodedCorpus, counts: Cooccurrence, tmp_path: Path
) -> None:
    text.save(tmp_path / "text")
    counts.save(tmp_path / "counts")
    sources = [
        kingdom(3000),
        text,
        embedkit.load(tmp_path / "text"),
        counts,
        Cooccurrence.load(tmp_path / "counts"),
        Cooccurrence.count(text, memory="1kB", **COUNTING),
    ]
    made = [trainer().fit(source) for source in sources]
    for other in made[1:]:
        assert other.embedding_ == made[0].embedding_
        assert losses(other) == losses(made[0])
    assert made[0].embedding_.columns["count"].tolist() == counts.vocabulary.counts.tolist()


@pytest.mark.parametrize(
    "counting",
    [{"window": 2}, {"min_count": 40}, {"max_final_vocab": 50}, {"symmetric": False}, {"distance_weighting": False}],
    ids=str,
)
def test_counting_is_that_of_the_parameters(counting: dict[str, Any], text: EncodedCorpus) -> None:
    from_text = trainer(**counting).fit_transform(text)
    from_counts = trainer().fit_transform(Cooccurrence.count(text, **{**COUNTING, **counting}))
    assert from_text == from_counts
    assert from_text != trainer().fit_transform(text)


@pytest.mark.parametrize("thing", [[["a", "b"]], "a b", None], ids=["list", "string", "none"])
def test_what_is_neither_text_nor_counts_is_refused(thing: Any) -> None:
    with pytest.raises(BadInput, match=r"made from an embedkit\.Corpus or a Cooccurrence, not from a"):
        trainer().fit(thing)


def test_too_few_words_are_refused() -> None:
    with pytest.raises(BadInput, match="0 of 0 words reach min_count=3"):
        trainer().fit(Corpus([]))
    with pytest.raises(BadInput, match="0 of 2 words reach min_count=3"):
        trainer().fit(Corpus([["a", "b"]]))


@pytest.mark.parametrize("documents", [[["a"]], [["a", "a"]], [["a", "b"]], [["a"], ["b"], ["a", "b", "c"]]], ids=str)
def test_tiny_texts_will_do(documents: list[list[str]]) -> None:
    glove = trainer(min_count=1).fit(Corpus(documents))
    assert len(glove.embedding_) == len({word for document in documents for word in document})
    assert np.isfinite(glove.embedding_.vectors).all()
    assert all((entry["loss"] is None) == (entry["counts"] == 0) for entry in glove.history_)


# -- what it learns ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("x_max", "alpha"), [(10, 0.75), (2, 0.5), (1e9, 0.0), (0.5, 10)])
def test_the_cost_of_an_epoch_without_steps_is_that_of_the_formula(
    counts: Cooccurrence, x_max: float, alpha: float
) -> None:
    glove = trainer(eta=1e-9, epochs=1, x_max=x_max, alpha=alpha).fit(counts)
    start, entries = kernel.new_vectors(len(counts.vocabulary), 16, 7), counts.matrix.tocoo()
    product = np.einsum("ij,ij->i", start.rows[entries.row], start.columns[entries.col].astype(float))
    miss = product + start.row_biases[entries.row] + start.column_biases[entries.col] - np.log(entries.data)
    expected = np.mean(0.5 * np.minimum(1, (entries.data / x_max) ** alpha) * miss**2)
    assert losses(glove) == [pytest.approx(expected, rel=1e-5)]


def test_the_cost_falls_on_the_kingdom(counts: Cooccurrence) -> None:
    glove = trainer(epochs=10).fit(counts)
    assert [entry["epoch"] for entry in glove.history_] == list(range(1, 11))
    assert all(later < earlier for earlier, later in zip(losses(glove), losses(glove)[1:], strict=False))
    assert losses(glove)[-1] < 0.2 * losses(glove)[0]
    for entry in glove.history_:
        assert set(entry) == {"epoch", "loss", "counts", "seconds", "counts_per_second"}
        assert (type(entry["loss"]), entry["counts"]) == (float, counts.matrix.nnz)
        assert entry["counts_per_second"] == pytest.approx(counts.matrix.nnz / entry["seconds"])


def test_the_kingdoms_analogies_are_learnt() -> None:
    # Not all of them: most pairs of the kingdom's words never meet, and GloVe takes no notice of counts of zero.
    glove = trainer(vector_size=32, epochs=10, x_max=100, distance_weighting=False, workers=2)
    assert evaluate_analogies(glove.fit_transform(kingdom(40_000)), kingdom_questions()).total.accuracy > 0.7


def test_the_same_seed_gives_the_same_bits_with_any_number_of_workers(counts: Cooccurrence) -> None:
    made = [trainer(workers=workers).fit(counts) for workers in (1, 1, 2, 3, 8, 20)]
    for other in made[1:]:
        assert other.embedding_ == made[0].embedding_
        assert losses(other) == losses(made[0])
    assert trainer(random_state=8).fit_transform(counts) != made[0].embedding_


def test_without_a_seed_one_is_drawn_and_recorded_and_repeats_the_run(counts: Cooccurrence) -> None:
    glove = trainer(random_state=None)
    first, second = glove.fit_transform(counts), glove.fit_transform(counts)
    assert first != second
    assert glove.random_state is None
    assert trainer(random_state=first.provenance["parameters"]["random_state"]).fit_transform(counts) == first


@pytest.mark.parametrize("changed", [{"x_max": 1}, {"alpha": 0.5}, {"eta": 0.01}, {"epochs": 2}], ids=str)
def test_every_parameter_does_something(changed: dict[str, Any], counts: Cooccurrence) -> None:
    assert trainer(**changed).fit_transform(counts) != trainer().fit_transform(counts)
    assert len(trainer(epochs=2).fit(counts).history_) == 2


def test_context_is_added_or_dropped(counts: Cooccurrence) -> None:
    added, dropped = (trainer(context=context).fit(counts) for context in ("add", "drop"))
    assert losses(added) == losses(dropped)
    symmetric = added.embedding_.vectors - dropped.embedding_.vectors  # the vectors as contexts
    assert np.abs(symmetric).mean() == pytest.approx(np.abs(dropped.embedding_.vectors).mean(), rel=0.2)


@pytest.mark.parametrize("size", [1, 5, 16, 17])
def test_vectors_have_the_size_asked_for(size: int, counts: Cooccurrence) -> None:
    assert trainer(vector_size=size, epochs=1).fit_transform(counts).vectors.shape == (len(counts.vocabulary), size)


def test_provenance_tells_parameters_counts_and_history(counts: Cooccurrence) -> None:
    glove = trainer().fit(counts)
    about = json.loads(json.dumps(glove.embedding_.provenance, allow_nan=False))
    assert about["made_by"] == "GloVe"
    assert about["parameters"] == glove.get_params()
    assert about["counts"] == counts.provenance
    assert about["history"] == glove.history_
    assert "stopped_early" not in about
    assert "entries" not in counts.provenance


def test_vectors_that_are_not_finite_are_refused(counts: Cooccurrence, monkeypatch: pytest.MonkeyPatch) -> None:
    glove = trainer()
    before = glove.fit_transform(counts)
    real = kernel.new_vectors

    def broken(*arguments: Any) -> kernel.Vectors:
        vectors = real(*arguments)
        vectors.rows[3, 2] = np.nan
        return vectors

    monkeypatch.setattr(kernel, "new_vectors", broken)
    with pytest.raises(TrainingDiverged, match=r"in epoch 1 at eta=0\.05: lower it"):
        glove.fit(counts)
    assert glove.embedding_ is before


# -- progress and stopping ---------------------------------------------------------------------------------------------


def test_progress_rises_to_the_total(counts: Cooccurrence) -> None:
    events: list[Progress] = []
    glove = trainer(workers=2).fit(counts, callback=events.append)
    for epoch in (1, 2, 3):
        mine = [event for event in events if event.epoch == epoch]
        assert [event.done for event in mine] == sorted({event.done for event in mine})
        assert mine[-1].done == counts.matrix.nnz
        assert mine[-1].loss == losses(glove)[epoch - 1]
    assert {(event.total, event.epochs, event.unit) for event in events} == {(counts.matrix.nnz, 3, "counts")}
    assert trainer().fit_transform(counts) == glove.embedding_  # a callback changes no vector


def test_a_callback_that_returns_true_stops_with_what_was_learnt(counts: Cooccurrence) -> None:
    glove = trainer().fit(counts, callback=lambda event: event.epoch == 2)
    assert glove.embedding_.provenance["stopped_early"] is True
    assert [entry["epoch"] for entry in glove.history_] == [1, 2]
    assert 0 < glove.history_[1]["counts"] < counts.matrix.nnz
    assert glove.embedding_ != trainer(epochs=1).fit_transform(counts)
    with pytest.raises(BadInput, match="came to its end"):
        glove.resume(counts)


# -- what is refused ---------------------------------------------------------------------------------------------------

WHOLE = ("vector_size", "window", "min_count", "epochs", "workers")
BAD: list[tuple[str, Any]] = [
    *[(name, value) for name in WHOLE for value in (0, -1, 2.0, "2", None, True)],
    *[(name, value) for name in ("symmetric", "distance_weighting") for value in (2, None, "no")],
    *[(name, value) for name in ("x_max", "eta") for value in (0, -1, math.nan, math.inf, "1", None)],
    *[("alpha", value) for value in (-1, math.nan, math.inf, "1", None)],
    *[("context", value) for value in ("sum", None, "")],
    *[("random_state", value) for value in (-1, 2**32, 1.0, "1")],
    ("memory", "lots"),
]
MORE: list[tuple[str, Any]] = [("memory", None), ("memory", math.nan), ("max_final_vocab", "a")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *BAD,
        *MORE,
    ],
)
def test_a_bad_parameter_is_refused_by_name(name: str, value: Any, text: EncodedCorpus) -> None:
    with pytest.raises(BadInput, match=name):
        trainer(**{name: value}).fit(text)


@pytest.mark.parametrize(
    "verb",
    [lambda glove: glove.transform(["a"]), lambda glove: glove.resume(Corpus([["a"]]))],
    ids=["transform", "resume"],
)
def test_before_fit_it_says_so(verb: Callable[[GloVe], Any]) -> None:
    with pytest.raises(NotFitted, match="GloVe is not fitted yet: call fit first"):
        verb(trainer())


# -- the verbs ---------------------------------------------------------------------------------------------------------


def test_transform_gives_the_words_in_the_order_asked(counts: Cooccurrence) -> None:
    glove = trainer().fit(counts)
    some = glove.transform(["queen", "king"])
    assert isinstance(some, Embedding)
    assert list(some) == ["queen", "king"]
    assert np.array_equal(some.vectors, glove.embedding_[["queen", "king"]])
    with pytest.raises(UnknownWord) as caught:
        glove.transform(["king", "qeen", "x"])
    assert caught.value.missing == ("qeen", "x")


def test_it_is_cloned_and_shown_by_its_parameters(counts: Cooccurrence) -> None:
    glove = trainer(context="drop").fit(counts)
    copy = clone(glove)
    assert copy.get_params() == glove.get_params()
    assert not hasattr(copy, "embedding_")
    assert repr(GloVe()) == "GloVe()"
    assert repr(GloVe(eta=0.1, window=15, workers=2)) == "GloVe(eta=0.1, workers=2)"
    assert glove.set_params(eta=0.2).eta == 0.2
