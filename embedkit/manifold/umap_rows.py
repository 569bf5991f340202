"""Rows as UMAP takes them: looked at, and found again."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput
from embedkit.manifold.searching import Knn

_AT_ONCE = 1024  # rows looked at together
_ROUNDING = 0.01  # of the largest distance: what a row may be away from itself


def constant(rows: Any) -> bool:
    """Whether all rows, (n, d) dense or sparse, are the same."""
    parts = (rows[at : at + _AT_ONCE] for at in range(0, rows.shape[0], _AT_ONCE))
    if isinstance(rows, np.ndarray):
        return all(bool((part == rows[0]).all()) for part in parts)
    first = rows[:1].toarray()
    return all(bool((part.toarray() == first).all()) for part in parts)


def check_distances(distances: Any, *, fitting: bool) -> None:
    """Refuse what is no matrix of distances, (m, n), dense or sparse; `fitting`: of rows from each other."""
    values = distances if isinstance(distances, np.ndarray) else distances.data
    if (values < 0).any():
        raise BadInput("a distance is negative")
    if not fitting:
        return
    if distances.shape[0] != distances.shape[1]:
        raise BadInput(f'metric="precomputed" takes a square matrix of distances, not one of shape {distances.shape}')
    if not values.any():
        raise BadInput("all distances are 0: there is nothing to lay out")
    own = distances.diagonal()
    if (bad := np.flatnonzero(own > _ROUNDING * values.max())).size:
        raise BadInput(f"row {bad[0]} has distance {own[bad[0]]:g} from itself: are these similarities, not distances?")


def without_doubles(rows: Any) -> tuple[Any, npt.NDArray[np.int64]]:
    """The distinct ones of the rows, and which of them each row is."""
    if isinstance(rows, np.ndarray):
        distinct, inverse = np.unique(rows, axis=0, return_inverse=True)
        return np.ascontiguousarray(distinct), inverse.reshape(-1)
    numbers: dict[tuple[bytes, bytes], int] = {}
    first: list[int] = []
    inverse = np.empty(rows.shape[0], dtype=np.int64)
    for i in range(rows.shape[0]):
        own = slice(rows.indptr[i], rows.indptr[i + 1])
        key = rows.indices[own].tobytes(), rows.data[own].tobytes()
        if key not in numbers:
            numbers[key] = len(first)
            first.append(i)
        inverse[i] = numbers[key]
    return rows[first], inverse


def of_kind(rows: Any, others: Any) -> Any:
    """`rows` as an array or a CSR matrix, whichever the others are."""
    if isinstance(rows, np.ndarray) == isinstance(others, np.ndarray):
        return rows
    if isinstance(others, np.ndarray):
        return rows.toarray()
    from scipy.sparse import csr_matrix

    return csr_matrix(rows)


def keep_places(places: npt.NDArray[np.float32], rows: Any, knn: Knn, fitted: Any, map_: Any) -> None:
    """Give rows that were fitted the place they have: that of the lowest row that is the same.

    Parameters
    ----------
    places
        (m, c) places, which are written to.
    rows
        (m, d) rows.
    knn
        Their neighbours.
    fitted
        (n, d) rows that were fitted; `None` where only distances are known: at distance 0 is then the same.
    map_
        (n, c) their places.
    """
    for j in reversed(range(knn.rows.shape[1])):
        near = np.flatnonzero(knn.distances[:, j] <= knn.distances[:, 0])
        others = knn.rows[near, j]
        same = knn.distances[near, j] == 0 if fitted is None else _same(rows[near], fitted[others])
        places[near[same]] = map_[others[same]]


def _same(x: Any, y: Any) -> npt.NDArray[np.bool_]:
    """Which rows of two matrices of one kind, (p, d), are the same, (p,)."""
    if isinstance(x, np.ndarray):
        return np.asarray((x == y).all(axis=1))
    return np.asarray(np.diff((x != y).tocsr().indptr) == 0)
