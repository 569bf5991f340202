r"""Exact nearest neighbours among rows, whatever computes the products, alone or in a batch, on any number of threads.

Float32 matrix products only choose candidates, by a bound on their error that cannot lose a right answer; the
candidates' distances are then computed one by one in float64 and ranked. For rows q and a of d dimensions,
:math:`|q - a|^2 = |q|^2 + |a|^2 - 2 q \cdot a`, and what float32 makes of it, added up in any order, is wrong by at
most :math:`\gamma (|q|^2 + |a|^2)` with :math:`\gamma = (d + 16) u / (1 - (d + 16) u)` and :math:`u = 2^{-24}` (Higham
2002, Accuracy and Stability of Numerical Algorithms, eq. 3.5, and a few roundings more). Cosine and correlation
distances are half the squared distance of unit rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
# Distances of some rows, (p, d), from others, (q, d): shape (p, q).
Measure = Callable[[Doubles, Doubles], Doubles]

ANGULAR = ("cosine", "correlation")
BY_PRODUCTS = ("euclidean", "l2", *ANGULAR)

_SCORES_AT_ONCE = 1 << 22  # of queries times rows: 16 MB of float32 a thread
_NUMBERS_AT_ONCE = 1 << 20  # of pairs times dimensions, in float64
_QUERIES_AT_ONCE = 256


class Nearest(NamedTuple):
    """`rows` (m, k) int64 and `distances` (m, k) float64, nearest first, ties to the lower row."""

    rows: Integers
    distances: Doubles


class Space:
    """Rows prepared for being searched by matrix products.

    Parameters
    ----------
    rows
        (n, d) float32, finite.
    metric
        ``"euclidean"``, ``"cosine"`` or ``"correlation"``. As in umap-learn a row of zeros (or for correlation a
        constant one) has distance 0 from its like and 1 from all others.
    """

    def __init__(self, rows: Floats, metric: str) -> None:
        self.metric = "euclidean" if metric == "l2" else metric
        self._given = rows
        # Around their mean products are smaller, and so are their errors.
        self._centre = _mean(rows) if self.metric == "euclidean" else np.zeros(rows.shape[1])
        self._shift, self._length = self._scale(rows)
        self._unlike = self._length == 0
        self._rows = self._prepared(rows, self._shift, self._length)
        self._squares = self._squares_of(self._rows)
        self._wide: tuple[Doubles, Doubles] | None = None
        self._scores_at_once, self._queries_at_once = _SCORES_AT_ONCE, _QUERIES_AT_ONCE

    def nearest(
        self, queries: Floats | None, k: int, *, n_jobs: int = 1, step: Callable[[int], object] | None = None
    ) -> Nearest:
        """The `k` nearest rows of each query.

        Parameters
        ----------
        queries
            (m, d) float32. `None` asks for the rows themselves: each is then its own nearest, before any double.
        k
            How many, at most n.
        n_jobs
            Threads; BLAS itself is held to one, in the whole process, while this runs.
        step
            Is told the number of queries answered, now and then.
        """
        asked = self._given if queries is None else queries
        height = max(1, min(self._queries_at_once, self._scores_at_once // len(self._given)))

        def work(start: int) -> Nearest:
            return self._block(asked[start : start + height], start if queries is None else None, k)

        return _in_blocks(work, len(asked), height, k, n_jobs, step)

    def _block(self, queries: Floats, first: int | None, k: int) -> Nearest:
        shift, length = self._scale(queries)
        query, row = self._candidates(queries, shift, length, k, wide=False)
        if len(query) > len(queries) * (4 * k + 256):
            # The rows are far from their mean, and near each other: float64 tells them apart.
            query, row = self._candidates(queries, shift, length, k, wide=True)
        distances = self._apart(queries, shift, length, query, row)
        if self.metric in ANGULAR:
            distances /= 2
            distances[(length[query] == 0) != self._unlike[row]] = 1
        else:
            np.sqrt(distances, out=distances)
        return _ranked(query, row, distances, len(queries), k, first)

    def _candidates(
        self, queries: Floats, shift: Doubles, length: Doubles, k: int, *, wide: bool
    ) -> tuple[Integers, Integers]:
        """Pairs among which the `k` nearest of each query certainly are; `wide`: by products in float64."""
        rows, squares = self._for_products(wide)
        gamma = self._gamma(wide)
        prepared = self._prepared(queries, shift, length, rows.dtype)
        highest = prepared @ rows.T
        highest *= -2
        highest += squares * (1 + gamma)
        unlike = length == 0
        if unlike.any() and self._unlike.any():
            highest[np.ix_(unlike, self._unlike)] = -2
        limit = np.partition(highest, k - 1, axis=1)[:, k - 1]
        limit += 2 * gamma * self._squares_of(prepared)
        highest -= 2 * gamma * squares  # now the lowest that each may be
        found = np.flatnonzero(highest <= limit[:, None])
        query, row = np.divmod(found, len(rows))
        return query.astype(np.int64, copy=False), row.astype(np.int64, copy=False)

    def _apart(self, queries: Floats, shift: Doubles, length: Doubles, query: Integers, row: Integers) -> Doubles:
        """Squared distances of pairs, one by one in float64."""
        distances = np.empty(len(query))
        at_once = max(1, _NUMBERS_AT_ONCE // queries.shape[1])
        for start in range(0, len(query), at_once):
            q, r = query[start : start + at_once], row[start : start + at_once]
            x, y = queries[q].astype(np.float64), self._given[r].astype(np.float64)
            if self.metric in ANGULAR:
                x = turned(x, shift[q], length[q])
                y = turned(y, self._shift[r], self._length[r])
            x -= y
            x *= x
            distances[start : start + at_once] = added(x)
        return distances

    def _for_products(self, wide: bool) -> tuple[Any, Any]:
        """The rows, prepared in float32 or float64, and their squared lengths."""
        if not wide:
            return self._rows, self._squares
        if self._wide is None:
            rows = self._prepared(self._given, self._shift, self._length, np.float64)
            self._wide = rows, self._squares_of(rows)
        return self._wide

    def _gamma(self, wide: bool) -> Any:
        """How wrong products are at most, of the squared lengths of both rows; of the type of the products."""
        u = (2.0**-53 if wide else 2.0**-24) * (self._given.shape[1] + 16)
        return (np.float64 if wide else np.float32)(u / (1 - u))

    def _scale(self, rows: Floats) -> tuple[Doubles, Doubles]:
        """What is taken off each row, and its length then; only angles need them."""
        shift, length = np.zeros(len(rows)), np.ones(len(rows))
        if self.metric in ANGULAR:
            for part in _parts(rows):
                wide = rows[part].astype(np.float64)
                if self.metric == "correlation":
                    shift[part] = wide.mean(axis=1)
                    wide -= shift[part, None]
                length[part] = np.sqrt((wide * wide).sum(axis=1))
                # What is left of a constant row is rounding.
                length[part][length[part] <= 1e-12 * np.abs(shift[part])] = 0
        return shift, length

    def _prepared(self, rows: Floats, shift: Doubles, length: Doubles, dtype: Any = np.float32) -> Any:
        made = np.empty(rows.shape, dtype=dtype)
        for part in _parts(rows):
            wide = rows[part].astype(np.float64)
            made[part] = turned(wide, shift[part], length[part]) if self.metric in ANGULAR else wide - self._centre
        return made

    def _squares_of(self, rows: Any) -> Any:
        if self.metric in ANGULAR:
            return np.ones(len(rows), dtype=rows.dtype)
        squares = np.empty(len(rows), dtype=rows.dtype)
        for part in _parts(rows):
            wide = rows[part].astype(np.float64)
            squares[part] = (wide * wide).sum(axis=1)
        return squares


def turned(wide: Any, shift: Any, length: Any) -> Any:
    """Rows of float64, (p, d), numpy's or torch's, less `shift` and at length 1, or 0 where that is their `length`."""
    wide -= shift[:, None]
    wide *= (length > 0)[:, None]
    wide /= (length + (length == 0))[:, None]
    return wide


def added(x: Any) -> Any:
    """The sum along each row, (p,), of (p, d) float64 of numpy's or torch's, which is overwritten.

    The second half is added to the first as long as there is one: an order that depends on d alone, so that the bits
    are the same alone, in a batch and on every device.
    """
    d = x.shape[1]
    while d > 1:
        half = (d + 1) // 2
        x[:, : d - half] += x[:, half:d]
        d = half
    return x[:, 0]


def nearest_by(
    measure: Measure, rows: Any, queries: Any, k: int, *, n_jobs: int = 1, step: Callable[[int], object] | None = None
) -> Nearest:
    """The `k` nearest `rows` of each query when distances are measured pair by pair.

    Parameters
    ----------
    measure
        Gives the distances of a block of queries from a block of rows, a pair's whatever the other pairs.
    rows, queries
        (n, d) and (m, d), arrays or scipy's CSR matrices. `None` asks for the rows themselves, as in `Space`.
    k, n_jobs, step
        As in `Space.nearest`.
    """
    asked = rows if queries is None else queries
    n, m = rows.shape[0], asked.shape[0]
    height = max(1, min(_QUERIES_AT_ONCE, _SCORES_AT_ONCE // n))
    width = max(1, _SCORES_AT_ONCE // rows.shape[1])

    def work(start: int) -> Nearest:
        block = _dense(asked[start : start + height])
        columns = [measure(block, _dense(rows[at : at + width])) for at in range(0, n, width)]
        return nearest_in(np.concatenate(columns, axis=1), k, start if queries is None else None)

    return _in_blocks(work, m, height, k, n_jobs, step)


def nearest_in(distances: Doubles, k: int, first: int | None = None) -> Nearest:
    """The `k` nearest when all `distances`, (m, n), are known.

    Parameters
    ----------
    distances
        Of m queries from n rows.
    k
        How many, at most n.
    first
        The first query is this row itself, the next the next; `None` if they are not among the rows.
    """
    limit = np.partition(distances, k - 1, axis=1)[:, k - 1]
    within = distances <= limit[:, None]
    if first is not None:
        within[np.arange(len(distances)), first + np.arange(len(distances))] = True
    query, row = np.nonzero(within)
    return _ranked(query, row, distances[query, row], len(distances), k, first)


def nearest_stored(starts: Integers, rows: Integers, distances: Doubles, k: int, first: int | None = None) -> Nearest:
    """The `k` nearest when some distances are known, as a sparse matrix stores them.

    Parameters
    ----------
    starts, rows, distances
        (m + 1,), (p,) and (p,): from which to which pair each query's own lie, and the pairs' rows and distances. Each
        query has k of them, and a pair comes once.
    k, first
        As in `nearest_in`; a row itself need not be among them, but then k - 1 others must be.
    """
    m = len(starts) - 1
    query = np.repeat(np.arange(m), np.diff(starts))
    if first is not None:
        others = query + first != rows
        query = np.concatenate([query[others], np.arange(m)])
        rows = np.concatenate([rows[others], np.arange(first, first + m)])
        distances = np.concatenate([distances[others], np.zeros(m)])
    return _ranked(query, rows.astype(np.int64), distances.astype(np.float64), m, k, first)


def _ranked(query: Integers, row: Integers, distances: Doubles, m: int, k: int, first: int | None) -> Nearest:
    """The `k` nearest of the pairs of each of `m` queries, by distance, then row; a row itself comes first."""
    keys = distances
    if first is not None:
        itself = query + first == row
        distances[itself] = 0
        keys = np.where(itself, -1.0, distances)
    order = np.lexsort((row, keys, query))
    query = query[order]
    place = np.arange(len(query)) - np.searchsorted(query, np.arange(m))[query]
    kept = order[place < k]
    return Nearest(row[kept].reshape(m, k), distances[kept].reshape(m, k))


def _in_blocks(
    work: Callable[[int], Nearest], m: int, height: int, k: int, n_jobs: int, step: Callable[[int], object] | None
) -> Nearest:
    from threadpoolctl import threadpool_limits

    found = Nearest(np.empty((m, k), dtype=np.int64), np.empty((m, k)))
    starts = range(0, m, height)
    # Each block is one product on one thread, whatever the number of threads: its bits are the same.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(max(1, n_jobs)) as pool:
        for start, block in zip(starts, pool.map(work, starts), strict=True):
            found.rows[start : start + height] = block.rows
            found.distances[start : start + height] = block.distances
            if step is not None:
                step(min(start + height, m))
    return found


def _parts(rows: Any) -> Iterator[slice]:
    height = max(1, _NUMBERS_AT_ONCE // max(1, rows.shape[1]))
    return (slice(start, start + height) for start in range(0, len(rows), height))


def _mean(rows: Floats) -> Doubles:
    total = np.zeros(rows.shape[1])
    for part in _parts(rows):
        total += rows[part].sum(axis=0, dtype=np.float64)
    return total / max(1, len(rows))


def _dense(rows: Any) -> Doubles:
    dense = rows if isinstance(rows, np.ndarray) else rows.toarray()
    return np.ascontiguousarray(dense, dtype=np.float64)
