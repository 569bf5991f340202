"""Candidates for many queries at once: products of a tile, and the best of them before they leave the cache.

See `embedkit.kernels.exact` and, for what else numba is used for here, `embedkit.kernels.shared_words`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from embedkit.kernels import candidates_numpy
from embedkit.kernels.compiled import compiled
from embedkit.kernels.exact import Floats, Integers, tolerance
from embedkit.kernels.running_best import NEVER, TILE, WIDTH, Int32s, empty, in_threads, keep, threads

_QUERIES = 512  # whose products with a tile are computed at a time: 2 MB, as much as a cache near the processor holds
_SPARE = 2  # rows kept beyond the k best


def by_cosine(
    units: Floats, queries: Floats, k: int, skip: Integers, dead: Integers
) -> Iterator[tuple[Integers, Integers]]:
    """See `embedkit.kernels.candidates_numpy.by_cosine`; `dead` is ascending."""
    best, rows = _scan_all(units, queries, k + _SPARE, skip, dead)
    slack = np.float32(2 * tolerance(units.shape[1]))
    kept = (rows >= 0) & (best >= best[:, k - 1 : k] - slack)
    # Complete if a row was kept that is too bad, or if there was room for more.
    unsure = np.flatnonzero(kept[:, -1])
    kept[unsure] = False
    query, place = np.nonzero(kept)
    yield query, rows[query, place].astype(np.int64)
    for query, row in candidates_numpy.by_cosine(units, queries[unsure], k, skip[unsure], dead):
        yield unsure[query], row


def _scan_all(units: Floats, queries: Floats, size: int, skip: Integers, dead: Integers) -> tuple[Floats, Int32s]:
    """The `size` best scores and rows of each query by float32 products, both (m, size)."""
    best, rows = empty(len(queries), size)
    step = min(_QUERIES, max(1, -(-len(queries) // threads())))
    starts = iter(range(0, len(queries), step))

    def work(_: int) -> None:
        products = np.empty((step, TILE), dtype=np.float32)
        for first in starts:  # drawing from one iterator shares the queries out; `next` holds the lock
            some = slice(first, first + step)
            asked = queries[some]
            for start in range(0, len(units), TILE):
                tile = units[start : start + TILE]
                np.matmul(asked, tile.T, out=products[: len(asked), : len(tile)])
                low, high = np.searchsorted(dead, (start, start + TILE))
                products[:, dead[low:high] - start] = NEVER
                products[:, len(tile) :] = NEVER
                _scan(products, start, best[some], rows[some], skip[some])

    in_threads(work)
    return best, rows


@compiled
def _scan(products: Floats, start: int, best: Floats, rows: Int32s, skip: Integers) -> None:
    """Add the rows of one tile, the first of which is row `start`, to the best of each query."""
    size = best.shape[1]
    for q in range(best.shape[0]):
        scores = products[q]
        threshold = best[q, size - 1]
        passed = 0  # counting is vectorised, leaving at the first is not
        for t in range(TILE):
            passed += scores[t] > threshold
        if passed == 0:
            continue
        for block in range(TILE // WIDTH):
            passed = 0
            for t in range(block * WIDTH, block * WIDTH + WIDTH):
                passed += scores[t] > threshold
            if passed == 0:
                continue
            for t in range(block * WIDTH, block * WIDTH + WIDTH):
                if scores[t] > threshold:
                    keep(best, rows, q, scores[t], start + t, skip)
                    threshold = best[q, size - 1]
