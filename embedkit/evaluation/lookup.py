"""Which rows the words of a set stand for: capitals, unknown words, and the cut of the vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.errors import BadInput
from embedkit.kernels.exact import Doubles, Integers, cosine_scores


def head(embedding: Embedding, restrict: int | None) -> Embedding:
    """The first `restrict` rows, all for `None`: what is outside is no answer, and not known.

    Raises
    ------
    BadInput
        `restrict` is not a whole number of 1 or more.
    """
    if restrict is None:
        return embedding
    if not isinstance(restrict, int | np.integer) or isinstance(restrict, bool) or restrict < 1:
        raise BadInput(f"restrict must be 1 or more, or None, not {restrict}")
    return embedding.head(int(restrict))


def alike(embedding: Embedding, words: Iterable[str]) -> tuple[list[int], list[int], dict[str, int]]:
    """The rows whose labels are written like one of `words` if capitals are ignored.

    Returns
    -------
    list of int
        These rows, ascending.
    list of int
        Of each of them the first row that is written like it.
    dict of str to int
        Of each word, as it is given, that first row; -1 where there is none.
    """
    capitals = {word: word.upper() for word in set(words)}
    wanted = set(capitals.values())
    # All at once: no capital letter depends on the labels around it, and none is a line feed.
    upper = embedding.labels.blob[1:-1].decode().upper().split("\n") if len(embedding) else []
    rows = [row for row, label in enumerate(upper) if label in wanted]
    first = {upper[row]: row for row in reversed(rows)}
    return rows, [first[upper[row]] for row in rows], {word: first.get(big, -1) for word, big in capitals.items()}


def find(embedding: Embedding, words: Sequence[str], ignore_case: bool) -> Integers:
    """The row of each word, (m,), -1 where there is none; of several that differ in capitals the first."""
    if not ignore_case:
        return embedding.rows(words, missing="mark")
    _, _, first = alike(embedding, words)
    return np.array([first[word] for word in words], dtype=np.int64)


def units_of(embedding: Embedding, rows: Integers) -> tuple[npt.NDArray[np.float32], Integers]:
    """Unit vectors of the distinct `rows`, none of them -1, and for each of `rows` which of these it is."""
    # Of the rows that are asked for only: an Embedding of millions need not be normalised for some hundred words.
    needed, place = np.unique(rows, return_inverse=True)
    return embedding.take(needed).unit.vectors, place.reshape(rows.shape)


def cosines(embedding: Embedding, rows: Integers) -> Doubles:
    """Cosine of the two rows of each pair (m, 2), in float64; 0 with a row of zeros."""
    units, place = units_of(embedding, rows)
    alive: npt.NDArray[np.bool_] = np.all(np.any(units, axis=1)[place], axis=1)
    found = np.zeros(len(rows))
    found[alive] = cosine_scores(units, units, place[alive, 0], place[alive, 1])
    return found
