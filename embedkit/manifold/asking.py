"""Points asked for their neighbours in several spaces, each ranked against all others: what `faithfulness` measures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput

Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Metric: TypeAlias = str | Callable[..., float]
Measures: TypeAlias = dict[tuple[str, int], Doubles]

_AT_ONCE = 1 << 24  # distances held at a time, 128 MB in each space
_TILE = 1 << 22  # values of rows made double at a time
_DIRECT = 3  # dimensions up to which differences are taken one by one, which is exact for equal rows


class Asked(NamedTuple):
    """What is asked.

    Attributes
    ----------
    rows
        (m,) points.
    k
        Neighbours for trustworthiness and continuity.
    kept
        Numbers of neighbours that may be the same.
    codes
        (n,) classes from 0, or None.
    voters
        How many neighbours vote on a class.
    """

    rows: Integers
    k: int
    kept: Sequence[int]
    codes: Integers | None
    voters: int


class Answers(NamedTuple):
    """(m,) values of each measure: for the original space those of classes, for each map all."""

    original: Measures
    maps: list[Measures]


class Space:
    """Rows between which distances are measured.

    Parameters
    ----------
    rows
        (n, d) array, or a sparse matrix.
    metric
        ``"euclidean"``, ``"cosine"``, ``"precomputed"``, another of scikit-learn's, or a function of two rows.

    Attributes
    ----------
    values
        The rows; for cosine at length 1.
    """

    def __init__(self, rows: Any, metric: Metric = "euclidean") -> None:
        self.metric, self.sparse = metric, hasattr(rows, "tocsr")
        self.values = rows
        if metric == "cosine":
            from sklearn.preprocessing import normalize

            self.values = normalize(rows)
        if not self._own:
            return
        # Around their mean, distances lose the fewest digits.
        self._mean = self.values.mean(axis=0, dtype=np.float64) if metric == "euclidean" else 0.0
        self._squares = np.concatenate(
            [np.einsum("ij,ij->i", tile, tile) for _, tile in self._tiles()] or [np.empty(0)]
        )

    @property
    def _own(self) -> bool:
        return not self.sparse and self.metric in ("euclidean", "cosine")

    def _tiles(self) -> Iterator[tuple[slice, Doubles]]:
        n, d = self.values.shape
        step = max(1, _TILE // max(d, 1))
        for start in range(0, n, step):
            part = slice(start, min(start + step, n))
            yield part, self.values[part].astype(np.float64) - self._mean

    def distances(self, rows: Integers) -> Doubles:
        """Distances from each of `rows`, (b,), to all, shape (b, n)."""
        if self.metric == "precomputed":
            return np.array(self.values[rows], dtype=np.float64)
        if not self._own:
            from sklearn.metrics import pairwise_distances

            try:
                found = pairwise_distances(self.values[rows], self.values, metric=self.metric)
            except (ValueError, TypeError) as error:  # it knows no such metric, or not for sparse rows
                raise BadInput(f"distances cannot be measured by metric {self.metric!r:.40}: {error}") from None
            return np.asarray(found, dtype=np.float64)
        out = np.empty((len(rows), len(self.values)))
        if self.metric == "euclidean" and self.values.shape[1] <= _DIRECT:
            out[:] = 0
            for column in self.values.T.astype(np.float64):
                out += (column[rows, None] - column) ** 2
            return np.sqrt(out, out=out)
        points = self.values[rows].astype(np.float64) - self._mean
        for part, tile in self._tiles():
            np.matmul(points, tile.T, out=out[:, part])
        if self.metric == "cosine":
            return np.subtract(1, out, out=out)
        out *= -2
        out += self._squares
        out += self._squares[rows, None]
        np.maximum(out, 0, out=out)
        return np.sqrt(out, out=out)

    def nearest(self, k: int) -> Integers:
        """The k nearest others of each row, in no order, shape (n, k)."""
        n = self.values.shape[0]
        found = np.empty((n, k), dtype=np.int64)
        step = max(1, _AT_ONCE // n)
        for start in range(0, n, step):
            rows = np.arange(start, min(start + step, n))
            distances = self.distances(rows)
            distances[np.arange(len(rows)), rows] = np.inf
            found[rows] = np.argpartition(distances, k - 1, axis=1)[:, :k]
        return found


def ask(spaces: Sequence[Space], asked: Asked, n_jobs: int) -> Answers:
    """Answer for every asked point.

    Parameters
    ----------
    spaces
        The original one, then the maps of it.
    asked
        What is asked.
    n_jobs
        Threads; -1 for one a processor.
    """
    m, n = len(asked.rows), spaces[0].values.shape[0]
    answers = Answers(_empty(asked, m, only_classes=True), [_empty(asked, m) for _ in spaces[1:]])
    step = max(1, min(_AT_ONCE // n, m))
    with ThreadPoolExecutor(os.cpu_count() if n_jobs == -1 else n_jobs) as pool:
        for start in range(0, m, step):
            rows = asked.rows[start : start + step]
            blocks = [space.distances(rows) for space in spaces]

            def answer(i: int, start: int = start, rows: Integers = rows, blocks: list[Doubles] = blocks) -> None:
                _answer([block[i] for block in blocks], int(rows[i]), asked, answers, start + i)

            list(pool.map(answer, range(len(rows))))
    return answers


def _empty(asked: Asked, m: int, *, only_classes: bool = False) -> Measures:
    names: list[tuple[str, int]] = []
    if not only_classes:
        names += [("trustworthiness", asked.k), ("continuity", asked.k), *(("neighbours kept", k) for k in asked.kept)]
        names.append(("distance rank correlation", 0))
    if asked.codes is not None:
        names += [("class of neighbours", asked.voters), ("silhouette", 0)]
    return {name: np.empty(m) for name in names}


def _answer(distances: Sequence[Doubles], point: int, asked: Asked, answers: Answers, place: int) -> None:
    n, k = len(distances[0]), asked.k
    whole = 2 / (k * (2 * n - 3 * k - 1))
    before = _ranked(distances[0], point)
    if asked.codes is not None:
        _classes(answers.original, place, distances[0], before.order, point, asked.codes, asked.voters)
    for far, measures in zip(distances[1:], answers.maps, strict=True):
        after = _ranked(far, point)
        strangers = before.ranks[after.order[1 : k + 1]]
        measures["trustworthiness", k][place] = 1 - whole * np.maximum(strangers - k, 0).sum()
        lost = after.ranks[before.order[1 : k + 1]]
        measures["continuity", k][place] = 1 - whole * np.maximum(lost - k, 0).sum()
        for count in asked.kept:
            same = before.ranks[after.order[1 : count + 1]] <= count
            measures["neighbours kept", count][place] = same.mean()
        measures["distance rank correlation", 0][place] = _correlation(before, after)
        if asked.codes is not None:
            _classes(measures, place, far, after.order, point, asked.codes, asked.voters)


class _Ranked(NamedTuple):
    """Rows by distance, the point itself first; the place of each in that order; whether any are equally far."""

    order: Integers
    ranks: Integers
    distances: Doubles
    tied: bool


def _ranked(distances: Doubles, point: int) -> _Ranked:
    distances[point] = -np.inf
    order = np.argsort(distances)
    along = distances[order]
    tied = bool((along[1:] == along[:-1]).any())
    if tied:  # ties go to the lower row, which the faster sort does not see to
        order = np.argsort(distances, kind="stable")
        along = distances[order]
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    return _Ranked(order, ranks, along, tied)


def _correlation(a: _Ranked, b: _Ranked) -> float:
    """Spearman's correlation of the distances to all others; NaN where all are equally far."""
    m = len(a.ranks) - 1
    if not (a.tied or b.tied):
        differences = (a.ranks - b.ranks).astype(np.float64)
        return float(1 - 6 * (differences @ differences) / (m * (m * m - 1.0)))
    x, y = (_middle_ranks(one) for one in (a, b))
    x, y = x - x.mean(), y - y.mean()
    spread = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / spread) if spread > 0 else np.nan


def _middle_ranks(one: _Ranked) -> Doubles:
    """Ranks from 1 of all others, rows equally far sharing the mean of theirs, in the order of rows."""
    along = one.distances[1:]
    starts = np.flatnonzero(np.concatenate([[True], along[1:] != along[:-1]]))
    ends = np.append(starts[1:], len(along))
    shared = np.repeat((starts + ends + 1) / 2, ends - starts)
    out = np.empty(len(one.order))
    out[one.order[1:]] = shared
    return np.delete(out, one.order[0])


def _classes(
    measures: Measures, place: int, distances: Doubles, order: Integers, point: int, codes: Integers, voters: int
) -> None:
    nearest = codes[order[1 : voters + 1]]
    votes = np.bincount(nearest)[nearest]
    measures["class of neighbours", voters][place] = nearest[votes.argmax()] == codes[point]
    distances[point] = 0
    sums, sizes = np.bincount(codes, weights=distances), np.bincount(codes)
    own = codes[point]
    if sizes[own] == 1:
        measures["silhouette", 0][place] = 0
        return
    within = sums[own] / (sizes[own] - 1)
    means = sums / sizes
    means[own] = np.inf
    nearest_other = means.min()
    largest = max(within, nearest_other)
    measures["silhouette", 0][place] = (nearest_other - within) / largest if largest > 0 else 0
