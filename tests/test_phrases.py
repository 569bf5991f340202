"""Phrases: what is joined, why, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from gensim.models.phrases import Phrases as GensimPhrases

from embedkit import Corpus
from embedkit.errors import BadInput, NotFitted
from embedkit.text.phrases import Phrases

TEXTS = ["new york is big", "we saw new york", "a new idea", "the york minster", "duke of york and of kent"] * 5


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus(TEXTS)


@pytest.mark.parametrize(("scoring", "threshold"), [("default", 0.1), ("default", 1.0), ("npmi", 0.2), ("npmi", 0.9)])
@pytest.mark.parametrize("connectors", [(), ("of", "and")])
def test_they_are_gensims(corpus: Corpus, scoring: Any, threshold: float, connectors: tuple[str, ...]) -> None:
    ours = Phrases(min_count=2, threshold=threshold, scoring=scoring, connector_words=connectors).fit(corpus)
    theirs = GensimPhrases(
        list(corpus), 2, threshold, delimiter="_", scoring=scoring, connector_words=frozenset(connectors)
    )
    assert ours.phrases_ == theirs.export_phrases()
    assert list(ours.transform(corpus)) == [theirs[tokens] for tokens in corpus]


def test_they_are_listed_from_the_best(corpus: Corpus) -> None:
    scores = list(Phrases(min_count=1, threshold=0.1).fit(corpus).phrases_.values())
    assert len(scores) > 3
    assert scores == sorted(scores, reverse=True)


def test_the_joined_corpus_can_be_read_again_and_joined_again(corpus: Corpus) -> None:
    joined = Phrases(min_count=5, threshold=0.1).fit(corpus).transform(corpus)
    assert list(joined) == list(joined)
    assert next(iter(joined)) == ["new_york", "is", "big"]
    assert "new_york" in Phrases().fit(joined)._model.vocab


@pytest.mark.parametrize(
    ("words", "joined", "reason"),
    [
        (("new", "york"), True, "'new' was seen 15 times, 'york' 20, together 10: score"),
        (("new", "idea"), False, "together 5: score 0 is not above 0.1"),
        (("york", "new"), False, "'york' was seen 20 times, 'new' 15, together 0"),
        (("old", "york"), False, "'old' was seen 0 times"),
        (("duke", "of", "york"), False, "together 5: score 0"),
        (("of", "york"), False, "neither begins nor ends with a connector word"),
    ],
)
def test_every_verdict_is_explained(corpus: Corpus, words: tuple[str, ...], joined: bool, reason: str) -> None:
    phrases = Phrases(min_count=5, threshold=0.1, connector_words=["of"]).fit(corpus)
    told = phrases.explain(*words)
    assert told.joined is joined
    assert reason in told.reason
    assert told.reason.startswith("joined: " if joined else "not joined: ")
    assert ("_".join(words) in phrases.phrases_) is joined


def test_npmi_says_what_is_too_rare(corpus: Corpus) -> None:
    phrases = Phrases(min_count=6, threshold=0.1, scoring="npmi").fit(corpus)
    told = phrases.explain("new", "idea")
    assert told.score is None
    assert "fewer than min_count=6" in told.reason


@pytest.mark.parametrize("words", [(), ("york",), ("new", "big", "york")])
def test_what_is_no_pair_is_refused(corpus: Corpus, words: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match="a phrase is two words"):
        Phrases().fit(corpus).explain(*words)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"scoring": "magic"}, "scoring is"),
        ({"min_count": 0}, "min_count"),
        ({"threshold": float("nan")}, "threshold"),
        ({"scoring": "npmi", "threshold": 10.0}, "between -1 and 1"),
        ({"delimiter": ""}, "delimiter"),
        ({"delimiter": "a b"}, "delimiter"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(corpus: Corpus, parameters: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        Phrases(**parameters).fit(corpus)


def test_an_empty_corpus_is_refused() -> None:
    with pytest.raises(BadInput, match="no documents"):
        Phrases().fit(Corpus([]))


def test_fit_comes_first(corpus: Corpus) -> None:
    with pytest.raises(NotFitted):
        Phrases().explain("new", "york")
    with pytest.raises(NotFitted):
        Phrases().transform(corpus)
