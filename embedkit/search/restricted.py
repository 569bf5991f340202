"""Analogies with words from outside the rows that may be answers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embedkit.kernels.exact import Integers, TopK
from embedkit.search.engine import Engine, Method

_AT_ONCE = 256  # questions answered together; their outside words compete and are dropped afterwards


def analogies(
    whole: Engine, engine: Engine, terms: Integers, k: int, method: Method, exclude_inputs: bool
) -> tuple[TopK, str]:
    """The `k` best of the first rows for questions a - b + c whose words may be any rows.

    Parameters
    ----------
    whole
        Of all rows.
    engine
        Of the first n of them, the only answers.
    terms
        (m, 3) int64 rows of a, b, c in `whole`; a question with -1 in it has no answers.
    k, method, exclude_inputs
        As for `embedkit.Search.analogies`.

    Returns
    -------
    TopK, str
        As for `embedkit.search.engine.Engine.analogies`.
    """
    n = engine.n
    outside: npt.NDArray[np.bool_] = np.any(terms >= n, axis=1) & np.all(terms >= 0, axis=1)
    found, device = engine.analogies(np.where(outside[:, None], -1, terms), k, method, exclude_inputs)
    others = np.flatnonzero(outside)
    if method == "3cosadd":
        a, b, c = whole.unit_of(terms[others]).astype(np.float64).transpose(1, 0, 2)
        skip = (
            np.where(terms[others] < n, terms[others], -1) if exclude_inputs else np.empty((len(others), 0), np.int64)
        )
        best, device = engine.nearest(a - b + c, k, skip)
        found.rows[others], found.scores[others] = best
        return found, device
    for start in range(0, len(others), _AT_ONCE):
        some = others[start : start + _AT_ONCE]
        extra = np.unique(terms[some][terms[some] >= n])
        wider = Engine(whole.embedding.take(np.concatenate([np.arange(n), extra])), engine.device)
        local = np.where(terms[some] < n, terms[some], n + np.searchsorted(extra, terms[some]))
        best, device = wider.analogies(local, k + len(extra), method, exclude_inputs)
        dropped = (best.rows < 0) | (best.rows >= n)
        order = np.argsort(dropped, axis=1, kind="stable")[:, : found.rows.shape[1]]
        gone = np.take_along_axis(dropped, order, axis=1)
        found.rows[some] = np.where(gone, -1, np.take_along_axis(best.rows, order, axis=1))
        found.scores[some] = np.where(gone, np.nan, np.take_along_axis(best.scores, order, axis=1))
    return found, device
