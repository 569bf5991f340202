"""The running best of each query, while the vocabulary is worked through in tiles; see `embedkit.kernels.exact`.

A score is looked at only if it can be among the best: first whole blocks are compared with the worst of the best that
are kept, and after the first tiles hardly any block passes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from embedkit.kernels.compiled import compiled
from embedkit.kernels.exact import Floats, Integers

Int32s = npt.NDArray[np.int32]
Part = TypeVar("Part")

NOTHING = -9.0  # below any score
NEVER = -99.0  # what stands for the products of a row that is no answer; its scores are below `NOTHING`
TILE = 1024  # rows of the vocabulary worked on together
WIDTH = 64  # of their scores, those that are looked at together


def empty(m: int, size: int) -> tuple[Floats, Int32s]:
    """Scores and rows of the `size` best of `m` queries, both (m, size), before anything is found."""
    return np.full((m, size), NOTHING, dtype=np.float32), np.full((m, size), -1, dtype=np.int32)


def threads() -> int:
    """How many threads work: as many as the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(work: Callable[[int], Part]) -> list[Part]:
    """What `work(0)`, `work(1)`, ... give, a thread for each processor; matrix products in them have one thread."""
    number = threads()
    with threadpool_limits(1, "blas"):
        if number == 1:
            return [work(0)]
        with ThreadPoolExecutor(number) as pool:
            return list(pool.map(work, range(number)))


@compiled
def keep(best: Floats, rows: Int32s, q: int, score: np.float32, row: int, skip: Integers) -> None:
    """Put `row` among the best of query `q` if its score is better than the last of them and `skip` does not name it.

    Of equal scores the one that came first stays before the others.
    """
    place = best.shape[1] - 1
    if not score > best[q, place]:
        return
    for s in range(skip.shape[1]):
        if skip[q, s] == row:
            return
    while place > 0 and score > best[q, place - 1]:
        best[q, place] = best[q, place - 1]
        rows[q, place] = rows[q, place - 1]
        place -= 1
    best[q, place] = score
    rows[q, place] = row


@compiled
def block_maxima(row: Floats, maxima: Floats) -> None:
    """The largest of each `WIDTH` of the `TILE` numbers of `row`, (TILE // WIDTH,)."""
    # A maximum of floats is not vectorised, one of integers is: bit patterns, those of negative numbers turned round,
    # are in the order of the numbers.
    turn = np.int32(0x7FFFFFFF)
    for block in range(TILE // WIDTH):
        largest = np.int32(-2147483648)
        for t in range(WIDTH):
            bits = np.float32(row[block * WIDTH + t]).view(np.int32)
            largest = max(largest, np.int32(bits ^ ((bits >> np.int32(31)) & turn)))
        maxima[block] = np.int32(largest ^ ((largest >> np.int32(31)) & turn)).view(np.float32)
