"""Phrases: pairs of words that stand together so often that they are one (Mikolov et al. 2013, arXiv:1310.4546).

gensim counts and joins; what is ours is the word on why a pair was joined or not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, Self

from embedkit.errors import BadInput, NotFitted, printable
from embedkit.text.corpus import Corpus

Scoring = Literal["default", "npmi"]


class Explanation(NamedTuple):
    """Why a phrase was joined or not.

    Attributes
    ----------
    phrase
        Its words.
    counts
        How often its first and its last word were seen.
    together
        How often the phrase was seen.
    score, threshold
        What its counts come to, and what it must be above; the score is `None` where they come to nothing.
    joined
        Whether it is a phrase.
    reason
        All this in a sentence.
    """

    phrase: tuple[str, ...]
    counts: tuple[int, int]
    together: int
    score: float | None
    threshold: float
    joined: bool
    reason: str


class Phrases:
    """Find phrases in a corpus, and join their words in it.

    Parameters
    ----------
    min_count
        Pairs seen less often are no phrases (with ``"npmi"``), or lose so many from their count (``"default"``).
    threshold
        Score above which a pair is a phrase: 10 is usual for ``"default"``, 0.5 for ``"npmi"``, which lies between -1
        and 1.
    scoring
        ``"default"``: ``(ab - min_count) * distinct / (a * b)``, the paper's, times the number of distinct words and
        pairs as in word2vec's program. ``"npmi"``: normalised pointwise mutual information (Bouma 2009).
    connector_words
        Words that may stand inside a phrase without being counted, such as ``of`` and ``the``.
    delimiter
        What joins the words. A text that already holds it, as in ``new_york``, is counted with the phrase.

    Attributes
    ----------
    phrases_ : dict of str to float
        The phrases, joined, with their scores, highest first.

    Examples
    --------
    >>> corpus = Corpus(["new york is big", "we saw new york", "a new idea", "the york minster"] * 5)
    >>> phrases = Phrases(min_count=5, threshold=0.1).fit(corpus)
    >>> list(phrases.transform(corpus))[0]
    ['new_york', 'is', 'big']
    >>> phrases.explain("new", "idea").reason
    "not joined: 'new' was seen 15 times, 'idea' 5, together 5: score 0 is not above 0.1"
    """

    def __init__(
        self,
        *,
        min_count: int = 5,
        threshold: float = 10.0,
        scoring: Scoring = "default",
        connector_words: Iterable[str] = (),
        delimiter: str = "_",
    ) -> None:
        self.min_count = min_count
        self.threshold = threshold
        self.scoring = scoring
        self.connector_words = connector_words
        self.delimiter = delimiter

    def fit(self, corpus: Corpus) -> Self:
        """Count words and pairs of words.

        Parameters
        ----------
        corpus
            What to count in; pairs never cross its documents.

        Raises
        ------
        BadInput
            A parameter makes no sense, or the corpus is empty.
        """
        if self.scoring not in ("default", "npmi"):
            raise BadInput(f"scoring is 'default' or 'npmi', not {self.scoring!r}")
        if self.min_count < 1 or not math.isfinite(self.threshold):
            raise BadInput("min_count is 1 or more, and threshold a finite number")
        if self.scoring == "npmi" and not -1 <= self.threshold <= 1:
            raise BadInput(f"threshold lies between -1 and 1 for npmi, it is {self.threshold}")
        if not self.delimiter or self.delimiter.split() != [self.delimiter]:
            raise BadInput(f"delimiter is text without white space, not {self.delimiter!r}")
        from gensim.models.phrases import Phrases as Counter

        words = frozenset(self.connector_words)
        self._model = Counter(corpus, self.min_count, self.threshold, delimiter=self.delimiter,
                              scoring=self.scoring, connector_words=words)  # fmt: skip
        if not self._model.corpus_word_count:
            raise BadInput("the corpus holds no documents")
        found = self._model.export_phrases()
        self.phrases_: dict[str, float] = dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
        return self

    def transform(self, corpus: Corpus) -> Corpus:
        """`corpus` with the words of each phrase joined; of two phrases that share a word, the one more to the left.

        For phrases of more words, fit again on the result.
        """
        model = self._fitted()

        def joined() -> Iterator[list[str]]:
            for tokens in corpus:
                yield [token for token, _ in model.analyze_sentence(tokens)]

        return Corpus(joined)

    def explain(self, *words: str) -> Explanation:
        """Why `words`, the first and last with connector words between them, were joined or not.

        Raises
        ------
        BadInput
            Fewer than two words, or words between that are no connectors.
        NotFitted
            `fit` comes first.
        """
        model = self._fitted()
        if len(words) < 2 or any(word not in model.connector_words for word in words[1:-1]):
            raise BadInput("a phrase is two words, with nothing but connector words between them; for a longer one fit "
                           "again on the joined corpus")  # fmt: skip
        first, last = (model.vocab.get(word, 0) for word in (words[0], words[-1]))
        together = model.vocab.get(self.delimiter.join(words), 0)
        a, b = printable(words[0]), printable(words[-1])
        seen = f"'{a}' was seen {first} times, '{b}' {last}, together {together}"
        score = None
        joined = False
        if any(word in model.connector_words for word in (words[0], words[-1])):
            reason = "a phrase neither begins nor ends with a connector word"
        elif not first or not last or not together:
            reason = seen
        else:
            value = model.scoring(worda_count=first, wordb_count=last, bigram_count=together,
                                  len_vocab=len(model.vocab), min_count=model.min_count,
                                  corpus_word_count=model.corpus_word_count)  # fmt: skip
            score = float(value) if math.isfinite(value) else None
            joined = score is not None and score > model.threshold
            if score is None:
                reason = f"{seen}: fewer than min_count={model.min_count}"
            else:
                reason = f"{seen}: score {score:.3g} is {'above' if joined else 'not above'} {model.threshold:g}"
        told = f"{'joined' if joined else 'not joined'}: {reason}"
        return Explanation(words, (first, last), together, score, float(model.threshold), joined, told)

    def _fitted(self) -> Any:
        if not hasattr(self, "_model"):
            raise NotFitted("these Phrases have counted nothing yet: call fit(corpus) first")
        return self._model
