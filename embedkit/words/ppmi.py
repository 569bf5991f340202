"""PPMI: word vectors by the singular value decomposition of positive pointwise mutual information.

Levy, Goldberg & Dagan (2015, Improving Distributional Similarity with Lessons Learned from Word Embeddings).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

from embedkit.embedder import Embedder
from embedkit.embedding import Embedding
from embedkit.errors import BadInput
from embedkit.text import Corpus, EncodedCorpus
from embedkit.words.checks import check_flag, check_number, check_whole, plain, seed_of
from embedkit.words.cooccurrence import Cooccurrence


@final
class PPMI(Embedder[Corpus | EncodedCorpus | Cooccurrence]):
    """Make word vectors from co-occurrence counts by linear algebra alone.

    Entry (w, c) of the matrix is ``max(0, log(P(w, c) / (P(w) P(c))) - log(negative))``; its rows are reduced to
    ``U * S ** eigenvalue_exponent`` of the truncated singular value decomposition.

    Parameters
    ----------
    vector_size
        Dimensions of a vector: singular values kept.
    window, min_count, max_final_vocab, symmetric, distance_weighting, memory
        How to count; see `Cooccurrence.count`. Not used where counts are given.
    context_smoothing
        P(c) is in proportion to the count of c to this power; 1 for no smoothing. Smaller values make rare contexts
        weigh less.
    negative
        Shift by the logarithm of this, as skip-gram with so many negative samples does implicitly; 1 for no shift.
    eigenvalue_exponent
        Power of the singular values; 0.5 or 0 do better than 1.
    workers
        Threads that count.
    random_state
        Seed, 0 to 2^32 - 1; `None` draws one and records it.

    Attributes
    ----------
    embedding_ : Embedding
        The vectors, most frequent word first, with the column ``count``.
    singular_values_ : ndarray
        Shape (vector_size,), largest first.

    Examples
    --------
    >>> from embedkit.text.kingdom import kingdom
    >>> vectors = PPMI(vector_size=45, window=8, random_state=1).fit_transform(kingdom())
    >>> vectors.analogy("king", "man", "woman", k=1).best
    ['queen']
    """

    def __init__(
        self,
        *,
        vector_size: int = 100,
        window: int = 5,
        min_count: int = 5,
        max_final_vocab: int | None = None,
        symmetric: bool = True,
        distance_weighting: bool = True,
        context_smoothing: float = 0.75,
        negative: float = 1.0,
        eigenvalue_exponent: float = 0.5,
        memory: str | int = "2GB",
        workers: int = 1,
        random_state: int | None = None,
    ) -> None:
        self.vector_size = vector_size
        self.window = window
        self.min_count = min_count
        self.max_final_vocab = max_final_vocab
        self.symmetric = symmetric
        self.distance_weighting = distance_weighting
        self.context_smoothing = context_smoothing
        self.negative = negative
        self.eigenvalue_exponent = eigenvalue_exponent
        self.memory = memory
        self.workers = workers
        self.random_state = random_state

    def fit(self, data: Corpus | EncodedCorpus | Cooccurrence, /) -> Self:
        """Make vectors from a text, or from counts of one.

        Parameters
        ----------
        data
            The text, or its counts.

        Raises
        ------
        BadInput
            A parameter makes no sense, or there are fewer words than dimensions.
        """
        parameters = self._checked()
        counts = data if isinstance(data, Cooccurrence) else counted(self, data)
        n, d = len(counts.vocabulary), self.vector_size
        if d >= n:
            raise BadInput(f"{n} words have at most {n - 1} dimensions, not vector_size={d}")
        from scipy.sparse.linalg import svds

        matrix = _ppmi(counts.matrix, self.context_smoothing, self.negative)
        if not matrix.nnz:
            raise BadInput("no two words stand together more often than by chance: there is nothing to make vectors of")
        start = np.random.default_rng(parameters["random_state"]).standard_normal(n)
        left, values, _ = svds(matrix, k=d, v0=start, solver="arpack")
        order = np.argsort(-values)
        left, values = left[:, order], values[order]
        # The sign of a singular vector is free: let its largest entry be positive.
        signs = np.sign(left[np.abs(left).argmax(axis=0), np.arange(d)])
        self.singular_values_ = values
        self.embedding_ = Embedding(
            counts.vocabulary.words,
            left * (signs * values**self.eigenvalue_exponent),
            columns={"count": counts.vocabulary.counts},
            provenance={"made_by": "PPMI", "parameters": parameters, "repeatable": True, "counts": counts.provenance},
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

    def fit_transform(self, data: Corpus | EncodedCorpus | Cooccurrence, /) -> Embedding:
        """Make vectors and give the resulting Embedding."""
        return self.fit(data).embedding_

    def _checked(self) -> dict[str, Any]:
        for name in ("vector_size", "window", "min_count", "workers"):
            check_whole(name, getattr(self, name), 1)
        for name in ("symmetric", "distance_weighting"):
            check_flag(name, getattr(self, name))
        check_number("context_smoothing", self.context_smoothing, 0, 1)
        check_number("negative", self.negative, 1e-3, 1e6)
        check_number("eigenvalue_exponent", self.eigenvalue_exponent, 0, 1)
        return plain({**self.get_params(), "random_state": seed_of(self.random_state)})


def counted(trainer: Any, corpus: object) -> Cooccurrence:
    """The counts of `corpus` with the parameters of `trainer`."""
    if not isinstance(corpus, Corpus | EncodedCorpus):
        name = type(trainer).__name__
        raise BadInput(f"{name} is made from an embedkit.Corpus or a Cooccurrence, not from a {type(corpus).__name__}")
    names = ("window", "min_count", "max_final_vocab", "symmetric", "distance_weighting", "memory", "workers")
    return Cooccurrence.count(corpus, **{name: getattr(trainer, name) for name in names})


def _ppmi(counts: Any, smoothing: float, negative: float) -> Any:
    import scipy.sparse

    rows = np.asarray(counts.sum(axis=1)).ravel()
    columns = np.asarray(counts.sum(axis=0)).ravel() ** smoothing
    entries = counts.tocoo()
    row_of, column_of = entries.row, entries.col
    values: npt.NDArray[np.float64]
    values = np.log(entries.data / rows[row_of] / columns[column_of] * columns.sum() / negative)
    positive = values > 0
    return scipy.sparse.csr_matrix((values[positive], (row_of[positive], column_of[positive])), shape=counts.shape)
