"""word2vec: skip-gram and CBOW with negative sampling or hierarchical softmax (Mikolov et al. 2013).

Efficient Estimation of Word Representations in Vector Space, arXiv:1301.3781; Distributed Representations of Words and
Phrases and their Compositionality, arXiv:1310.4546. gensim does the arithmetic.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any, Self, final

import numpy as np

from embedkit.embedder import Embedder
from embedkit.embedding import Embedding
from embedkit.errors import BadInput, TrainingDiverged
from embedkit.progress import Callback
from embedkit.text import Corpus

_DEFAULT_ALPHA = 0.025
_LARGEST = float(np.finfo(np.float32).max)


@final
class Word2Vec(Embedder[Corpus]):
    """Train word vectors with word2vec.

    Parameters have gensim's names, defaults and meaning, except for `workers`, whose default makes a seed repeatable.

    Parameters
    ----------
    vector_size
        Dimensions of a vector.
    window
        Largest distance between a word and the words it predicts (skip-gram) or is predicted from (CBOW).
    min_count
        Words seen less often are ignored.
    sg
        1 for skip-gram, 0 for CBOW.
    hs
        1 for hierarchical softmax (give ``negative=0`` with it to use nothing else).
    negative
        Negative samples a positive one; 0 for none.
    ns_exponent
        Negative samples are drawn in proportion to count to this power.
    cbow_mean
        CBOW: 1 averages the context vectors, 0 adds them up.
    sample
        Frequent words are randomly dropped above this share of the corpus; 0 drops none.
    alpha, min_alpha
        Learning rate at the start (`None`: 0.025) and at the end; it falls linearly.
    epochs
        Passes over the corpus.
    max_vocab_size
        Prune rare words while counting so that at most this many are held at a time; `None` holds all.
    max_final_vocab
        Raise `min_count` so that at most about this many words remain; `None` keeps all.
    shrink_windows
        Draw the window of each word from 1 to `window` (as word2vec does), instead of always using all of it.
    workers
        Threads. With 1 (the default) a seed gives the same vectors bit for bit on the same machine and versions; with
        more, threads race and every run differs a little.
    random_state
        Seed, 0 to 2^32 - 1; `None` draws one and records it.

    Attributes
    ----------
    embedding_ : Embedding
        The vectors, most frequent word first, with the column ``count``.
    history_ : list of dict
        An entry an epoch: ``epoch``, ``loss``, ``words`` (how many were trained on, after subsampling), ``alpha`` at
        its end, ``seconds``, ``words_per_second``. The loss is the mean of a word that was trained on, all its contexts
        together, added up in float32 within a job of 10,000 words and in float64 over them; `None` where subsampling
        left no word. gensim leaves out pairs whose score is beyond 6 in size, so that it may rise while the vectors
        get better.

    Examples
    --------
    >>> from embedkit import Corpus, Word2Vec
    >>> corpus = Corpus([["the", "king", "and", "the", "queen"]] * 100)
    >>> trainer = Word2Vec(vector_size=8, epochs=2, random_state=1).fit(corpus)
    >>> trainer.embedding_
    Embedding(4 x 8, columns=['count'])
    >>> len(trainer.history_)
    2
    """

    def __init__(
        self,
        *,
        vector_size: int = 100,
        window: int = 5,
        min_count: int = 5,
        sg: int = 0,
        hs: int = 0,
        negative: int = 5,
        ns_exponent: float = 0.75,
        cbow_mean: int = 1,
        sample: float = 1e-3,
        alpha: float | None = None,
        min_alpha: float = 1e-4,
        epochs: int = 5,
        max_vocab_size: int | None = None,
        max_final_vocab: int | None = None,
        shrink_windows: bool = True,
        workers: int = 1,
        random_state: int | None = None,
    ) -> None:
        self.vector_size = vector_size
        self.window = window
        self.min_count = min_count
        self.sg = sg
        self.hs = hs
        self.negative = negative
        self.ns_exponent = ns_exponent
        self.cbow_mean = cbow_mean
        self.sample = sample
        self.alpha = alpha
        self.min_alpha = min_alpha
        self.epochs = epochs
        self.max_vocab_size = max_vocab_size
        self.max_final_vocab = max_final_vocab
        self.shrink_windows = shrink_windows
        self.workers = workers
        self.random_state = random_state

    def fit(self, corpus: Corpus, /, *, callback: Callback | None = None) -> Self:
        """Train on `corpus`.

        Parameters
        ----------
        corpus
            What to train on; windows never cross its documents.
        callback
            Called with a `Progress` after every job (some 10,000 words); an exception it raises stops the training.
            `embedkit.progress.bar` makes one that draws a bar.

        Raises
        ------
        BadInput
            A parameter makes no sense, or no word reaches `min_count`.
        TrainingDiverged
            The vectors are no longer finite.
        """
        parameters = self._checked()
        if not isinstance(corpus, Corpus):
            raise BadInput(f"Word2Vec is trained on an embedkit.Corpus, not on a {type(corpus).__name__}")
        from embedkit.words.gensim_engine import VERSION, train

        trained = train(corpus, parameters, callback)
        if not np.isfinite(trained.vectors).all():
            raise TrainingDiverged(
                f"the vectors are not finite after training at alpha={parameters['alpha']}: lower it"
            )
        self.history_ = trained.history
        self.embedding_ = Embedding(
            trained.words,
            trained.vectors,
            columns={"count": trained.counts},
            provenance={
                "made_by": "Word2Vec",
                "engine": VERSION,
                "parameters": parameters,
                "repeatable": self.workers == 1,
                "corpus": {**corpus.describe(), "documents": trained.documents, "tokens": trained.tokens},
                "history": trained.history,
            },
        )
        return self

    def transform(self, labels: Iterable[str], /) -> Embedding:
        """The Embedding of `labels`, in their order.

        Raises
        ------
        UnknownWord
            Naming every label that was not learned.
        NotFitted
            `fit` comes first.
        """
        embedding: Embedding = self._fitted("embedding_")
        return embedding.take(embedding.rows(labels))

    def fit_transform(self, corpus: Corpus, /, *, callback: Callback | None = None) -> Embedding:
        """Train on `corpus` and give the resulting Embedding."""
        return self.fit(corpus, callback=callback).embedding_

    def _checked(self) -> dict[str, Any]:
        """The parameters as the engine gets them, checked; `None` replaced by what is used instead."""
        for name in ("vector_size", "window", "min_count", "epochs", "workers"):
            _check_whole(name, getattr(self, name), 1)
        _check_whole("negative", self.negative, 0)
        for name in ("max_vocab_size", "max_final_vocab"):
            if getattr(self, name) is not None:
                _check_whole(name, getattr(self, name), 1)
        for name in ("sg", "hs", "cbow_mean", "shrink_windows"):
            if getattr(self, name) not in (0, 1):
                raise BadInput(f"{name} must be 0 or 1, not {getattr(self, name)!r}")
        if not self.hs and not self.negative:
            raise BadInput("nothing to train with: give negative=5, or hs=1")
        parameters = self.get_params()
        if self.alpha is None:
            parameters["alpha"] = _DEFAULT_ALPHA
        # Beyond a rate of 1 the vectors may overflow, and gensim's tables are then read at places that do not exist.
        _check_number("alpha", parameters["alpha"], 0, 1)
        _check_number("min_alpha", self.min_alpha, 0, 1)
        if parameters["alpha"] == 0 or self.min_alpha > parameters["alpha"]:
            raise BadInput(f"0 <= min_alpha <= alpha, 0 < alpha is needed, not {self.min_alpha} and {self.alpha}")
        _check_number("sample", self.sample, 0, _LARGEST)
        _check_number("ns_exponent", self.ns_exponent, -5, 5)
        if self.random_state is None:
            parameters["random_state"] = secrets.randbits(32)
        else:
            _check_whole("random_state", self.random_state, 0, 2**32 - 1)
        return parameters


def _check_whole(name: str, value: Any, least: int, most: int = 2**31 - 1) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or not least <= value <= most:
        raise BadInput(f"{name} must be a whole number from {least} to {most}, not {value!r}")


def _check_number(name: str, value: Any, least: float, most: float) -> None:
    if not isinstance(value, int | float | np.number) or not least <= value <= most:
        raise BadInput(f"{name} must be a number from {least:g} to {most:g}, not {value!r}")
