"""The exact rank of a given row among all; see `embedkit.kernels.exact`."""

from __future__ import annotations

import numpy as np

from embedkit.kernels.exact import Doubles, Floats, Integers, cosine_scores, tolerance

_SCORES_AT_ONCE = 1 << 23  # float32 values held at a time: 32 MB


def ranks_by_cosine(units: Floats, queries: Doubles, targets: Integers, skip: Integers, dead: Integers) -> Integers:
    """Rank, from 1, of one row for each query: how many rows come before it, by score descending, then row ascending.

    Parameters
    ----------
    units
        (n, d) float32 unit rows.
    queries
        (m, d) float64 unit queries.
    targets
        (m,) int64 rows, none of them in `dead` or in its line of `skip`.
    skip
        (m, s) int64 rows that are not counted for that query; -1 for none.
    dead
        (z,) int64 rows that are never counted.

    Returns
    -------
    ndarray of shape (m,), int64
    """
    every = np.arange(len(queries))
    aim = cosine_scores(units, queries, every, targets)
    slack = 2 * tolerance(units.shape[1])
    ranks = np.empty(len(queries), dtype=np.int64)
    step = max(1, _SCORES_AT_ONCE // max(len(units), 1))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        scores = queries[part].astype(np.float32) @ units.T
        scores[:, dead] = -np.inf
        query, place = np.nonzero(skip[part] >= 0)
        scores[query, skip[part][query, place]] = -np.inf
        # Beyond doubt float32 decides; within it, the exact scores do.
        high, low = (aim[part] + slack)[:, None], (aim[part] - slack)[:, None]
        ranks[part] = 1 + (scores > high).sum(axis=1)
        query, row = np.nonzero((scores >= low) & (scores <= high))
        close = cosine_scores(units, queries, query + start, row)
        goal = aim[query + start]
        before = (close > goal) | ((close == goal) & (row < targets[query + start]))
        np.add.at(ranks, query[before] + start, 1)
    return ranks
