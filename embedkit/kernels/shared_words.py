r"""Candidates for many analogies at once that share their words; see `embedkit.kernels.exact`.

A set of 20,000 analogy questions holds a few hundred distinct words. The score of a row v for a - b + c is

.. math:: S_{av} - S_{bv} + S_{cv}

where S are the inner products of the *distinct words* with the vocabulary: one small matrix product, and then two
additions a score instead of d multiplications. The same S serve 3CosMul. The vocabulary is worked through in tiles
small enough for the products to stay in the cache; for each question, the running best are kept.

To be exact, some more than the k best are kept. The pairs are complete if the last one kept is worse than the k-th by
more than float32 can err; questions where it is not (a great many ties, mostly) are handed back, to be answered
directly.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from embedkit.kernels.compiled import compiled
from embedkit.kernels.exact import MUL_EPSILON, Floats, Integers, tolerance

_TILE = 512  # rows of the vocabulary worked on together
_SPARE = 4  # rows kept beyond the k best
_SMALLEST_DIVISOR = 0.05  # of 3CosMul, down to which errors are bounded here: cos b of -0.9
_NOTHING = -9.0  # below any score


Int32s = npt.NDArray[np.int32]


class Shared(NamedTuple):
    """Pairs `query`, `row` among which are the best of each question, but for those that are `unsure`."""

    query: Integers
    row: Integers
    unsure: Integers


def candidates(units: Floats, terms: Integers, k: int, skip: Integers, *, multiply: bool) -> Shared:
    """Pairs (question, row) among which are the `k` best rows of each question a - b + c.

    Parameters
    ----------
    units
        (n, d) float32 unit rows, none of zeros.
    terms
        (m, 3) int64 rows of a, b, c.
    k
        How many are wanted.
    skip
        (m, s) int64 rows that are no answer to that question; -1 for none.
    multiply
        3CosMul instead of 3CosAdd.
    """
    order = np.lexsort((terms[:, 2], terms[:, 1], terms[:, 0]))
    words, places = np.unique(terms[order], return_inverse=True)
    numbered: Int32s = np.ascontiguousarray(places.reshape(terms.shape).T, dtype=np.int32)
    new_pair = np.ones(len(order), dtype=np.bool_)
    new_pair[1:] = (terms[order[1:], :2] != terms[order[:-1], :2]).any(axis=1)
    best, rows, unsafe = _scan_all(units, units[words], numbered, new_pair, skip[order], k + _SPARE, multiply)
    # The error of a score: three inner products and a few roundings; for products see the divisor's lower bound.
    error = tolerance(units.shape[1])
    last = best[:, min(k, best.shape[1]) - 1].astype(np.float64)
    if multiply:
        slack = 2 * error * (2 + np.abs(best[:, 0])) / (_SMALLEST_DIVISOR - error)
    else:
        slack = np.full(len(order), 2 * 4 * error)
    kept = (rows >= 0) & (best >= (last - slack)[:, None])
    # Complete if a row was kept that is too bad, or if there was room for more.
    sure = ~kept[:, -1] & ~unsafe[numbered[1]]
    query, place = np.nonzero(kept & sure[:, None])
    return Shared(order[query], rows[query, place].astype(np.int64), np.sort(order[~sure]))


def _scan_all(
    units: Floats,
    words: Floats,
    places: Int32s,
    new_pair: npt.NDArray[np.bool_],
    skip: Integers,
    size: int,
    multiply: bool,
) -> tuple[Floats, Int32s, npt.NDArray[np.bool_]]:
    """The `size` best scores and rows of each question, and which words are too far from some row to divide by."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    starts = iter(range(0, len(units), _TILE))

    def work(_: int) -> tuple[Floats, Int32s, Floats]:
        best = np.full((places.shape[1], size), _NOTHING, dtype=np.float32)
        rows = np.full(best.shape, -1, dtype=np.int32)
        lowest = np.ones(len(words), dtype=np.float32)
        products, pair = np.empty((len(words), _TILE), dtype=np.float32), np.empty(_TILE, dtype=np.float32)
        for start in starts:  # drawing from one iterator shares the tiles out; `next` holds the lock
            tile = units[start : start + _TILE]
            part = products[:, : len(tile)]
            np.matmul(words, tile.T, out=part)
            if multiply:
                part += 1
                part /= 2
                np.minimum(lowest, part.min(axis=1), out=lowest)
            _scan(products, len(tile), start, best, rows, skip, places, new_pair, pair, multiply)
        return best, rows, lowest

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(work, range(threads)))
    best = np.concatenate([part[0] for part in parts], axis=1)
    rows = np.concatenate([part[1] for part in parts], axis=1)
    place = np.argsort(-best, axis=1, kind="stable")[:, :size]
    lowest = np.minimum.reduce([part[2] for part in parts])
    return np.take_along_axis(best, place, 1), np.take_along_axis(rows, place, 1), lowest < _SMALLEST_DIVISOR


@compiled
def _scan(
    products: Floats,
    n: int,
    start: int,
    best: Floats,
    rows: Int32s,
    skip: Integers,
    places: Int32s,
    new_pair: npt.NDArray[np.bool_],
    pair: Floats,
    multiply: bool,
) -> None:
    """Add the rows of one tile to the best of each question.

    `products` (words, tile) are inner products, for 3CosMul moved to 0 ... 1; `n` of their columns count, the first of
    which is row `start`. `pair` holds what the words a and b contribute, which neighbouring questions share.
    """
    size = best.shape[1]
    for q in range(best.shape[0]):
        if new_pair[q]:
            a, b = products[places[0, q]], products[places[1, q]]
            if multiply:
                for t in range(n):
                    pair[t] = a[t] / (b[t] + np.float32(MUL_EPSILON))
            else:
                for t in range(n):
                    pair[t] = a[t] - b[t]
        c = products[places[2, q]]
        # A maximum of floats is not vectorised, one of integers is; their bit patterns are in the same order where they
        # are not negative. Below zero every score is looked at.
        threshold = best[q, size - 1]
        largest = np.int32(-2147483648)
        if multiply:
            for t in range(n):
                largest = max(largest, np.float32(pair[t] * c[t]).view(np.int32))
        else:
            for t in range(n):
                largest = max(largest, np.float32(pair[t] + c[t]).view(np.int32))
        if threshold >= np.float32(0) and largest <= np.float32(threshold).view(np.int32):
            continue
        for t in range(n):
            score = pair[t] * c[t] if multiply else pair[t] + c[t]
            if score > best[q, size - 1]:
                row = start + t
                skipped = False
                for s in range(skip.shape[1]):
                    skipped = skipped or skip[q, s] == row
                if not skipped:
                    place = size - 1
                    while place > 0 and score > best[q, place - 1]:
                        best[q, place] = best[q, place - 1]
                        rows[q, place] = rows[q, place - 1]
                        place -= 1
                    best[q, place] = score
                    rows[q, place] = row
