"""Candidates for the k best rows by float32 matrix products in numpy; see `embedkit.kernels.exact`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from embedkit.kernels.exact import BLOCK, MUL_EPSILON, Floats, Integers, tolerance

_SCORES_AT_ONCE = 1 << 24  # float32 values held at a time: 64 MB


def by_cosine(
    units: Floats, queries: Floats, k: int, skip: Integers, dead: Integers, inverse: Floats | None = None
) -> Iterator[tuple[Integers, Integers]]:
    """Pairs (query, row) among which are the `k` best rows of each query by inner product.

    Parameters
    ----------
    units
        (n, d) float32 unit rows.
    queries
        (m, d) float32 unit queries.
    k
        How many are wanted.
    skip
        (m, s) int64 rows that are no answer to that query; -1 for none.
    dead
        (z,) int64 rows that are never an answer.
    inverse
        (n,) float32 one over the lengths of the rows, if they are not unit rows.

    Yields
    ------
    tuple of two (p,) int64 arrays
        For some of the queries at a time.
    """
    slack = np.float32(2 * tolerance(units.shape[1]))
    for start, stop in _spans(len(queries), len(units)):
        scores = queries[start:stop] @ units.T
        if inverse is not None:
            scores *= inverse
        _strike(scores, skip[start:stop], dead)
        query, row = _select(scores, scores, k, slack)
        yield query + start, row


def by_product(
    units: Floats, terms: Integers, k: int, skip: Integers, dead: Integers
) -> Iterator[tuple[Integers, Integers]]:
    """The same for 3CosMul of the rows `terms`, (m, 3) int64: a, b, c of each question a - b + c."""
    slack = np.float32(tolerance(units.shape[1]) + 2.0**-22)
    for start, stop in _spans(len(terms), 5 * len(units)):
        a, b, c = (_half(units[terms[start:stop, j]] @ units.T) for j in range(3))
        # Errors of the factors, not of the score, are bounded: a small divisor makes them large. So lower and upper
        # bounds of each score are formed.
        low: Floats = np.maximum(a - slack, 0) * np.maximum(c - slack, 0) / (b + slack + np.float32(MUL_EPSILON))
        high: Floats = (a + slack) * (c + slack) / (np.maximum(b - slack, 0) + np.float32(MUL_EPSILON))
        high *= np.float32(1 + 1e-6)
        low *= np.float32(1 - 1e-6)
        _strike(low, skip[start:stop], dead)
        _strike(high, skip[start:stop], dead)
        query, row = _select(low, high, k, np.float32(0))
        yield query + start, row


def _half(cosines: Floats) -> Floats:
    """Cosines moved to 0 ... 1, in place."""
    cosines += 1
    cosines /= 2
    return cosines


def _spans(m: int, n: int) -> Iterator[tuple[int, int]]:
    step = max(1, _SCORES_AT_ONCE // max(n, 1))
    return ((start, min(start + step, m)) for start in range(0, m, step))


def _strike(scores: Floats, skip: Integers, dead: Integers) -> None:
    scores[:, dead] = -np.inf
    query, place = np.nonzero(skip >= 0)
    scores[query, skip[query, place]] = -np.inf


def _select(low: Floats, high: Floats, k: int, slack: np.float32) -> tuple[Integers, Integers]:
    """Pairs whose `high` is at least the k-th largest `low` of their query, less `slack`."""
    m, n = low.shape
    width = n // BLOCK
    threshold = kth_largest(low, k) - slack
    if width < 4 * k:
        query, row = np.nonzero((high >= threshold[:, None]) & (high > -np.inf))
        return query, row
    highs = high[:, : BLOCK * width].reshape(m, BLOCK, width)
    block_query, block = np.nonzero(highs.max(axis=1) >= threshold[:, None])
    values = highs[block_query, :, block]
    hit, place = np.nonzero((values >= threshold[block_query, None]) & (values > -np.inf))
    tail = high[:, BLOCK * width :]
    tail_query, tail_place = np.nonzero((tail >= threshold[:, None]) & (tail > -np.inf))
    return (
        np.concatenate([block_query[hit], tail_query]),
        np.concatenate([place * width + block[hit], tail_place + BLOCK * width]),
    )


def kth_largest(scores: Floats, k: int) -> Floats:
    """The k-th largest of each row of `scores` (m, n), the smallest where there are fewer; or a little less.

    The maxima of blocks stand in for the scores: k blocks hold at least k scores no smaller than the k-th largest
    maximum, so that is a lower bound of the k-th largest score, and only few blocks reach it.
    """
    m, n = scores.shape
    width = n // BLOCK
    if width >= 4 * k:
        # Block j holds the columns j, j + width, j + 2 width, ...: maxima are then taken over whole rows of memory.
        scores = scores[:, : BLOCK * width].reshape(m, BLOCK, width).max(axis=1)
    place = max(scores.shape[1] - k, 0)
    kth: Floats = np.partition(scores, place, axis=1)[:, place]
    return kth
