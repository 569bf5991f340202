"""From text to analogy, end to end, on the planted corpus."""

from __future__ import annotations

from typing import Any

import pytest

from embedkit import Corpus, Word2Vec
from embedkit.errors import BadInput
from embedkit.evaluation import evaluate_analogies
from embedkit.text.kingdom import kingdom, kingdom_questions


def test_the_text_repeats_for_a_seed_and_differs_between_seeds() -> None:
    corpus = kingdom(50, random_state=3)
    assert list(corpus) == list(corpus) == list(kingdom(50, random_state=3))
    assert list(corpus) != list(kingdom(50, random_state=4))
    assert {len(document) for document in corpus} == {9}


def test_the_first_documents_are_the_ones_they_have_always_been() -> None:
    """The text is part of what results are compared on: it must not change with the version of Python."""
    assert [" ".join(document) for document in kingdom(2)] == [
        "of:child-7 many-5 of:child-6 many-4 children of:child-4 many-0 of:child-6 many-7",
        "of:build-2 now-5 now-7 now-1 build now-4 of:build-5 of:build-1 of:build-1",
    ]


def test_every_word_of_the_questions_is_in_the_text() -> None:
    words = {word for document in kingdom(2_000) for word in document}
    asked = {word for questions in kingdom_questions().values() for question in questions for word in question}
    assert asked <= words


def test_a_negative_number_of_documents_is_refused() -> None:
    with pytest.raises(BadInput, match="0 or more"):
        kingdom(-1)


@pytest.mark.parametrize(
    "parameters",
    [
        {"sg": 1},
        {"sg": 0, "alpha": 0.05},
        {"sg": 1, "hs": 1, "negative": 0},
        {"sg": 0, "hs": 1, "negative": 0, "alpha": 0.05},
    ],
    ids=["skip-gram", "cbow", "skip-gram-hs", "cbow-hs"],
)
def test_word2vec_learns_the_planted_analogies(parameters: dict[str, Any]) -> None:
    trainer = Word2Vec(vector_size=32, window=8, sample=0, random_state=1, **parameters)
    report = evaluate_analogies(trainer.fit_transform(kingdom()), kingdom_questions())
    assert report.total.covered == report.total.questions
    assert report.total.accuracy >= 0.95
    losses = [epoch["loss"] for epoch in trainer.history_]
    assert losses[-1] < losses[0]


def test_nothing_is_learned_from_the_same_words_in_disorder() -> None:
    """The control: if shuffled text answered as well, the test above would show nothing."""
    words = sorted(word for document in kingdom() for word in document)
    step = 7919  # a prime: every word lands far from its neighbours
    shuffled = [words[i * step % len(words)] for i in range(len(words))]
    documents = [shuffled[i : i + 9] for i in range(0, len(shuffled), 9)]
    trainer = Word2Vec(vector_size=32, window=8, sample=0, random_state=1, sg=1)
    report = evaluate_analogies(trainer.fit_transform(Corpus(documents)), kingdom_questions())
    assert report.total.accuracy < 0.1
