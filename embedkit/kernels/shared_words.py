r"""Candidates for many analogies at once that share their words; see `embedkit.kernels.exact`.

A set of 20,000 analogy questions holds a few hundred distinct words. The score of a row v for a - b + c is

.. math:: S_{av} - S_{bv} + S_{cv}

where S are the inner products of the *distinct words* with the vocabulary: one small matrix product, and then two
additions a score instead of d multiplications. The same S serve 3CosMul. The vocabulary is worked through in tiles
small enough for the products to stay in the cache; for each question, the running best are kept.

Most additions are saved as well: no score of a block of rows is above the largest :math:`S_a - S_b` of the block plus
its largest :math:`S_c` (rounding keeps this order), and of a hundred blocks only one or two come near the best.

To be exact, some more than the k best are kept. The pairs are complete if the last one kept is worse than the k-th by
more than float32 can err; questions where it is not (a great many ties, mostly) are handed back, to be answered
directly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.kernels.compiled import compiled
from embedkit.kernels.exact import MUL_EPSILON, Floats, Integers, tolerance
from embedkit.kernels.running_best import NEVER, TILE, WIDTH, Int32s, block_maxima, empty, in_threads, keep

_SPARE = 1  # rows kept beyond the k best
_SPARE_OF_PRODUCTS = 4  # for 3CosMul, whose errors are larger
_MOST_WORDS = 4096  # whose products are held at a time: 16 MB a thread
_SMALLEST_DIVISOR = 0.05  # of 3CosMul, down to which errors are bounded here: cos b of -0.9


class Shared(NamedTuple):
    """Pairs `query`, `row` among which are the best of each question, but for those that are `unsure`."""

    query: Integers
    row: Integers
    unsure: Integers


class Sorted(NamedTuple):
    """Questions in an order in which neighbours share a and b.

    `order` (m,) are their numbers, `words` (w,) the distinct rows in them, `places` (3, m) int32 which of these a, b
    and c are, and `new_pair` (m,) tells where a or b differ from those before.
    """

    order: Integers
    words: Integers
    places: Int32s
    new_pair: npt.NDArray[np.bool_]


def candidates(units: Floats, terms: Integers, k: int, skip: Integers, dead: Integers, *, multiply: bool) -> Shared:
    """Pairs (question, row) among which are the `k` best rows of each question a - b + c.

    Parameters
    ----------
    units
        (n, d) float32 unit rows.
    terms
        (m, 3) int64 rows of a, b, c.
    k
        How many are wanted.
    skip
        (m, s) int64 rows that are no answer to that question; -1 for none.
    dead
        (z,) int64 rows of zeros, ascending, which are never an answer; for 3CosMul none of them is in `terms`.
    multiply
        3CosMul instead of 3CosAdd.
    """
    asked = in_order(terms)
    if len(asked.words) > _MOST_WORDS and len(terms) > _MOST_WORDS // 3:
        some = np.array_split(asked.order, -(-len(terms) // (_MOST_WORDS // 3)))
        parts = [candidates(units, terms[part], k, skip[part], dead, multiply=multiply) for part in some]
        named = [[part[found.query], found.row, part[found.unsure]] for part, found in zip(some, parts, strict=True)]
        query, row, unsure = (np.concatenate(column) for column in zip(*named, strict=True))
        return Shared(query, row, np.sort(unsure))
    best, rows, lowest = _scan_all(units, asked, skip[asked.order], kept(k, multiply), dead, multiply)
    return settled(best, rows, lowest, asked, k, units.shape[1], multiply)


def kept(k: int, multiply: bool) -> int:
    """How many rows to keep where the `k` best are wanted."""
    return k + (_SPARE_OF_PRODUCTS if multiply else _SPARE)


def in_order(terms: Integers) -> Sorted:
    """Questions sorted by a, b and c, and their distinct words."""
    order = np.lexsort((terms[:, 2], terms[:, 1], terms[:, 0]))
    words, places = np.unique(terms[order], return_inverse=True)
    numbered: Int32s = np.ascontiguousarray(places.reshape(terms.shape).T, dtype=np.int32)
    new_pair = np.ones(len(order), dtype=np.bool_)
    new_pair[1:] = (terms[order[1:], :2] != terms[order[:-1], :2]).any(axis=1)
    return Sorted(order, words, numbered, new_pair)


def settled(
    best: Floats, rows: npt.NDArray[np.integer], lowest: Floats, asked: Sorted, k: int, d: int, multiply: bool
) -> Shared:
    """The pairs to be scored exactly, of the running `best`, and the questions for which they may not be all.

    Parameters
    ----------
    best, rows
        (m, size) of the questions in order, best first; -1 where there is none.
    lowest
        (w,) the smallest (1 + cos)/2 of each word with any row, for `multiply`.
    asked, k, d, multiply
        The questions, how many answers are wanted, the width of the rows, and how to score.
    """
    # The error of a score: three inner products and a few roundings; for products see the divisor's lower bound.
    error = tolerance(d)
    last = best[:, min(k, best.shape[1]) - 1].astype(np.float64)
    divisor = lowest[asked.places[1]].astype(np.float64)
    if multiply:
        slack = 2 * error * (2 + np.abs(best[:, 0])) / (np.maximum(divisor, _SMALLEST_DIVISOR) - error)
    else:
        slack = np.full(len(last), 2 * 4 * error)
    close = (rows >= 0) & (best >= (last - slack)[:, None])
    # Complete if a row was kept that is too bad, or if there was room for more.
    sure = ~close[:, -1] & (divisor >= _SMALLEST_DIVISOR)
    query, place = np.nonzero(close & sure[:, None])
    return Shared(asked.order[query], rows[query, place].astype(np.int64), np.sort(asked.order[~sure]))


def _scan_all(
    units: Floats, asked: Sorted, skip: Integers, size: int, dead: Integers, multiply: bool
) -> tuple[Floats, Int32s, Floats]:
    """The `size` best scores and rows of each question, and the smallest (1 + cos)/2 of each word with any row."""
    words = units[asked.words]
    starts = iter(range(0, len(units), TILE))

    def work(_: int) -> tuple[Floats, Int32s, Floats]:
        best, rows = empty(len(asked.order), size)
        lowest = np.ones(len(words), dtype=np.float32)
        products, pair = np.empty((len(words), TILE), dtype=np.float32), np.empty(TILE, dtype=np.float32)
        bounds = np.empty((len(words) + 1, TILE // WIDTH), dtype=np.float32)
        for start in starts:  # drawing from one iterator shares the tiles out; `next` holds the lock
            tile = units[start : start + TILE]
            part = products[:, : len(tile)]
            np.matmul(words, tile.T, out=part)
            if multiply:
                _halve(products, len(tile), lowest)
            first, last = np.searchsorted(dead, (start, start + TILE))
            products[:, dead[first:last] - start] = NEVER
            products[:, len(tile) :] = NEVER
            _scan(products, start, best, rows, skip, asked.places, asked.new_pair, pair, bounds, multiply)
        return best, rows, lowest

    parts = in_threads(work)
    best = np.concatenate([part[0] for part in parts], axis=1)
    rows = np.concatenate([part[1] for part in parts], axis=1)
    lowest = np.minimum.reduce([part[2] for part in parts])
    if len(parts) == 1:
        return best, rows, lowest
    place = np.argsort(-best, axis=1, kind="stable")[:, :size]
    return np.take_along_axis(best, place, 1), np.take_along_axis(rows, place, 1), lowest


@compiled
def _halve(products: Floats, n: int, lowest: Floats) -> None:
    """Move the first `n` cosines of each word to 0 ... 1, and note the `lowest` of each word."""
    for word in range(products.shape[0]):
        cosines = products[word]
        least = np.float32(lowest[word]).view(np.int32)  # of numbers above zero, bit patterns are in the same order
        for t in range(n):
            half = (cosines[t] + np.float32(1)) * np.float32(0.5)
            half = (
                half if half > np.float32(0) else np.float32(0)
            )  # rounding may lead below; bounds of products may not
            cosines[t] = half
            least = min(least, np.float32(half).view(np.int32))
        lowest[word] = np.int32(least).view(np.float32)


@compiled
def _scan(
    products: Floats,
    start: int,
    best: Floats,
    rows: Int32s,
    skip: Integers,
    places: Int32s,
    new_pair: npt.NDArray[np.bool_],
    pair: Floats,
    bounds: Floats,
    multiply: bool,
) -> None:
    """Add the rows of one tile to the best of each question.

    `products` (words, TILE) are inner products, for 3CosMul moved to 0 ... 1; their first column is row `start`. `pair`
    (TILE,) holds what the words a and b contribute, which neighbouring questions share, and `bounds` (words + 1,
    blocks) the largest numbers of the blocks of `products` and, at the end, of `pair`.
    """
    size = best.shape[1]
    for word in range(products.shape[0]):
        block_maxima(products[word], bounds[word])
    of_pair = bounds[products.shape[0]]
    for q in range(best.shape[0]):
        if new_pair[q]:
            a, b = products[places[0, q]], products[places[1, q]]
            for t in range(TILE):
                pair[t] = a[t] / (b[t] + np.float32(MUL_EPSILON)) if multiply else a[t] - b[t]
            block_maxima(pair, of_pair)
        of_c = bounds[places[2, q]]
        threshold = best[q, size - 1]
        passed = 0  # counting is vectorised, leaving at the first is not
        for block in range(TILE // WIDTH):
            bound = of_pair[block] * of_c[block] if multiply else of_pair[block] + of_c[block]
            passed += bound > threshold
        if passed == 0:
            continue
        c = products[places[2, q]]
        for block in range(TILE // WIDTH):
            bound = of_pair[block] * of_c[block] if multiply else of_pair[block] + of_c[block]
            if bound > threshold:
                passed = 0
                for t in range(block * WIDTH, block * WIDTH + WIDTH):
                    score = pair[t] * c[t] if multiply else pair[t] + c[t]
                    passed += score > threshold
                if passed == 0:
                    continue
                for t in range(block * WIDTH, block * WIDTH + WIDTH):
                    score = pair[t] * c[t] if multiply else pair[t] + c[t]
                    if score > threshold:
                        keep(best, rows, q, score, start + t, skip)
                        threshold = best[q, size - 1]
