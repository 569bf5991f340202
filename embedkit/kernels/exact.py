r"""Exact top-k by inner product, whatever computes the products.

Matrix products in float32 differ in their last digits with the library, the device, the number of threads, and even
with how many queries are asked at once. So they are used only to *choose candidates*, by a rule that cannot lose a
right answer; the candidates' scores are then computed anew in float64, one by one, and ranked. The answer is the same
alone or in a batch, on a CPU or a GPU.

The rule: for unit vectors of d dimensions a float32 inner product, added up in any order, is wrong by at most
:math:`\gamma_d = d u / (1 - d u)` with :math:`u = 2^{-24}` (Higham 2002, Accuracy and Stability of Numerical
Algorithms, eq. 3.5). If t is the k-th largest float32 score, k scores are truly at least :math:`t - \gamma`, and no row
whose float32 score is below :math:`t - 2 \gamma` can be among the k best.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MUL_EPSILON = 1e-6  # Levy & Goldberg 2014's epsilon, which keeps 3CosMul from dividing by zero
BLOCK = 64  # scores that share one maximum
_NUMBERS_AT_ONCE = 1 << 16  # of the candidates that are scored at a time: half a megabyte, which stays in the cache


class TopK(NamedTuple):
    """`rows` (m, k) int64 and `scores` (m, k) float64, best first, ties to the lower row; -1 and NaN where none is."""

    rows: Integers
    scores: Doubles


def tolerance(d: int) -> float:
    """Bound on the error of a float32 inner product of unit vectors of `d` dimensions, rounding of both included."""
    u = 2.0**-24
    return (d + 8) * u / (1 - (d + 8) * u)


def cosine_scores(units: Floats, queries: Doubles | Floats, query: Integers, row: Integers) -> Doubles:
    """Cosines of ``queries[query[i]]`` and ``units[row[i]]`` in float64, shape (p,).

    Parameters
    ----------
    units
        (n, d) float32 rows, none of zeros among those asked for. That they are only nearly of length 1 is made up for.
    queries
        (m, d) queries of any length but zero.
    query, row
        (p,) int64 pairs.
    """
    scores = np.empty(len(row), dtype=np.float64)
    step = max(1, _NUMBERS_AT_ONCE // max(units.shape[1], 1))
    for start in range(0, len(row), step):
        part = slice(start, start + step)
        x, y = queries[query[part]].astype(np.float64), units[row[part]].astype(np.float64)
        # A product and a sum along each row, not a matrix product: its order does not depend on the number of rows.
        scores[part] = (x * y).sum(axis=1) / np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    return np.clip(scores, -1, 1, out=scores)


def multiplied_scores(units: Floats, terms: Integers, query: Integers, row: Integers) -> Doubles:
    """3CosMul scores in float64, shape (p,): ``(1 + cos a)/2 (1 + cos c)/2 / ((1 + cos b)/2 + 1e-6)``.

    Parameters
    ----------
    units
        (n, d) float32 rows.
    terms
        (m, 3) int64: rows a, b, c of each question a - b + c.
    query, row
        (p,) int64 pairs.
    """
    a, b, c = ((1 + cosine_scores(units, units, terms[query, j], row)) / 2 for j in range(3))
    return a * c / (b + MUL_EPSILON)


def rank(query: Integers, row: Integers, scores: Doubles, m: int, k: int) -> TopK:
    """The `k` best of the scored pairs of each of `m` queries, by score descending, then row ascending."""
    order = np.lexsort((row, -scores, query))
    query, row, scores = query[order], row[order], scores[order]
    starts = np.searchsorted(query, np.arange(m))
    place = np.arange(len(query)) - starts[query]
    kept = place < k
    out = TopK(np.full((m, k), -1, dtype=np.int64), np.full((m, k), np.nan))
    out.rows[query[kept], place[kept]] = row[kept]
    out.scores[query[kept], place[kept]] = scores[kept]
    return out
