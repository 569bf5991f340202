"""Documents as the mean of their words' vectors, plain or weighted by rarity."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Literal, Self, TypeAlias, final

import numpy as np
import numpy.typing as npt
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from embedkit.embedding import Embedding
from embedkit.errors import BadInput
from embedkit.rows import relabel
from embedkit.text.corpus import Corpus
from embedkit.text.tokens import Tokenizer, as_tokenizer

Weighting: TypeAlias = Literal["mean", "sif"]
WEIGHTINGS: tuple[Weighting, ...] = ("mean", "sif")

Doubles: TypeAlias = npt.NDArray[np.float64]

_DOCUMENTS_AT_ONCE = 1024


@final
class DocumentVectors(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # no types
    """Turn documents into vectors: the mean of their words', plain or by smooth inverse frequency.

    ``"sif"`` (Arora, Liang & Ma 2017, A Simple but Tough-to-Beat Baseline for Sentence Embeddings, ICLR, algorithm 1)
    weights a word of probability p by a / (a + p), divides by the number of words, and takes off what lies along the
    first singular vector of the vectors of the documents seen in `fit`. Probabilities are from the Embedding's column
    ``count``.

    It takes part in scikit-learn's Pipelines and searches. Words that the Embedding does not hold are left out; a
    document without a known word becomes zeros, with a warning.

    Parameters
    ----------
    embedding
        The words' vectors.
    weighting
        ``"mean"`` or ``"sif"``.
    a
        The smoothing of ``"sif"``: the smaller, the less frequent words count. The paper takes 1e-3 to 1e-4.
    tokenize
        What splits a document that is a string: ``"whitespace"``, ``"words"`` or a function; see `embedkit.Corpus`.
    lowercase
        Write tokens in small letters first.

    Attributes
    ----------
    common_component_ : ndarray of shape (d,)
        The direction that is taken off; zeros with ``weighting="mean"``.
    word_weights_ : ndarray of shape (n,)
        The weight of each word of the Embedding.
    n_tokens_, n_unknown_ : int
        How many tokens the documents seen in `fit` have, and how many of them are not known.

    Examples
    --------
    >>> from embedkit import Embedding
    >>> from embedkit.words.documents import DocumentVectors
    >>> emb = Embedding(["good", "bad", "film"], [[2, 0], [-2, 0], [0, 4]], columns={"count": [10, 10, 980]})
    >>> DocumentVectors(emb).fit_transform(["good film", "a bad film"])
    array([[ 1.,  2.],
           [-1.,  2.]])
    >>> DocumentVectors(emb, weighting="sif", a=0.01).fit(["good film"]).word_weights_.round(2)
    array([0.5 , 0.5 , 0.01])
    """

    def __init__(
        self,
        embedding: Embedding,
        *,
        weighting: Weighting = "mean",
        a: float = 1e-3,
        tokenize: str | Tokenizer = "words",
        lowercase: bool = False,
    ) -> None:
        self.embedding = embedding
        self.weighting = weighting
        self.a = a
        self.tokenize = tokenize
        self.lowercase = lowercase

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803  # scikit-learn's name
        """Learn the weights of words and, for ``"sif"``, the direction that documents have in common.

        Parameters
        ----------
        X
            Documents: strings, or lists of tokens, in a list, an array, a column of a DataFrame, a DataFrame of one
            column, or a `embedkit.Corpus` (which leaves empty ones out, and has its own way with tokens).
        y
            Ignored.

        Raises
        ------
        BadInput
            `X` is a single string or holds something else than documents, none at all, or a parameter is out of range;
            with ``"sif"``, the Embedding has no column ``count`` of counts.
        """
        self.word_weights_ = self._weights()
        means, tokens, known = self._means(X)
        if not len(means):
            raise BadInput("no documents to learn from: at least one sample is needed")
        self.n_tokens_, self.n_unknown_ = int(tokens.sum()), int((tokens - known).sum())
        self.common_component_ = np.zeros(means.shape[1])
        if self.weighting == "sif" and means.any():
            # The first right singular vector, as the eigenvector of the largest eigenvalue.
            self.common_component_ = np.linalg.eigh(means.T @ means)[1][:, -1]
        self._n_features_out = means.shape[1]
        return self

    def transform(self, X: Any) -> Any:  # noqa: N803
        """The vectors of documents.

        Parameters
        ----------
        X
            m documents, as for `fit`.

        Returns
        -------
        ndarray of shape (m, d), float64
            A DataFrame with the index of `X` where that is a DataFrame.

        Raises
        ------
        BadInput
            `X` is a single string or holds something else than documents.
        """
        check_is_fitted(self)
        means, _, known = self._means(X)
        empty = int((known == 0).sum())
        if empty:
            warnings.warn(f"{empty} of {len(means)} documents hold no known word: zeros", UserWarning, stacklevel=2)
        means -= np.outer(means @ self.common_component_, self.common_component_)
        wanted = getattr(self, "_sklearn_output_config", {}).get("transform", get_config()["transform_output"])
        return relabel(X, means, self.get_feature_names_out(), {}, wanted)

    def coverage(self, X: Any) -> Doubles:  # noqa: N803
        """Share of the tokens of each document that are known, shape (m,); NaN for a document without tokens."""
        check_is_fitted(self)
        _, tokens, known = self._means(X)
        shares: Doubles = np.divide(known, tokens, out=np.full(len(tokens), np.nan), where=tokens > 0)
        return shares

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags

    # -- how it is done ------------------------------------------------------------------------------------------

    def _weights(self) -> Doubles:
        if not isinstance(self.embedding, Embedding):
            raise BadInput(f"embedding must be an Embedding, not {type(self.embedding).__name__}")
        if self.weighting not in WEIGHTINGS:
            raise BadInput(f"weighting is one of {', '.join(WEIGHTINGS)}, not {self.weighting!r}")
        if self.weighting == "mean":
            return np.ones(len(self.embedding))
        if not self.a > 0 or not np.isfinite(self.a):
            raise BadInput(f"a must be a number above 0, not {self.a!r}")
        counts = self.embedding.columns.get("count")
        if counts is None or counts.dtype.kind not in "iuf" or (counts < 0).any() or not counts.sum() > 0:
            raise BadInput("weighting 'sif' needs how often each word was seen: a column 'count' of the Embedding")
        weights: Doubles = self.a / (self.a + counts / counts.sum(dtype=np.float64))
        return weights

    def _means(self, documents: Any) -> tuple[Doubles, Doubles, Doubles]:
        """The weighted means of documents, (m, d), how many tokens each has, and how many are known, both (m,)."""
        from scipy import sparse

        tokens = list(self._tokens(documents))
        sizes = np.array([len(some) for some in tokens], dtype=np.float64)
        means = np.zeros((len(tokens), self.embedding.width))
        known = np.zeros(len(tokens))
        for start in range(0, len(tokens), _DOCUMENTS_AT_ONCE):
            some = tokens[start : start + _DOCUMENTS_AT_ONCE]
            owner = np.repeat(np.arange(len(some)), [len(one) for one in some])
            rows = self.embedding.rows([token for one in some for token in one], missing="mark")
            owner, rows = owner[rows >= 0], rows[rows >= 0]
            part = slice(start, start + len(some))
            known[part] = np.bincount(owner, minlength=len(some))
            used, place = np.unique(rows, return_inverse=True)
            weights = sparse.csr_array((self.word_weights_[rows], (owner, place)), shape=(len(some), len(used)))
            means[part] = weights @ self.embedding.vectors[used].astype(np.float64)
        return means / np.maximum(known, 1)[:, None], sizes, known

    def _tokens(self, documents: Any) -> Iterator[list[str]]:
        if isinstance(documents, Corpus):
            yield from documents
            return
        if isinstance(documents, str | bytes) or not isinstance(documents, Iterable):
            raise BadInput("documents are a list of texts or of lists of tokens, a column of a table, or a Corpus")
        split = as_tokenizer(self.tokenize)
        for number, document in enumerate(_column(documents)):
            if isinstance(document, str):
                yield self._written(split(document))
                continue
            tokens: list[Any] = list(document) if isinstance(document, Iterable) else [document]
            if not all(isinstance(token, str) for token in tokens):
                raise BadInput(f"document {number} is neither a text nor a list of tokens: {document!r:.60}")
            yield self._written(tokens)

    def _written(self, tokens: list[str]) -> list[str]:
        return [token.lower() for token in tokens] if self.lowercase else tokens


def _column(documents: Iterable[Any]) -> Iterable[Any]:
    """The documents in a table of one column; other things as they are."""
    if getattr(documents, "ndim", 1) != 2:
        return documents
    table = np.asarray(documents, dtype=object)
    if table.shape[1] != 1:
        raise BadInput(f"a table of documents has one column, not {table.shape[1]}")
    column: list[Any] = table[:, 0].tolist()
    return column
