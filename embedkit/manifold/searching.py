"""Which rows are near which, by any of umap-learn's metrics: exactly, or by pynndescent where there are many rows."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput
from embedkit.kernels.neighbours import (
    ANGULAR,
    BY_PRODUCTS,
    Doubles,
    Measure,
    Nearest,
    Space,
    nearest_by,
    nearest_in,
    nearest_stored,
)

Step = Callable[[int], object]

# Up to so many rows every pair is looked at: measured at 784 dimensions, and where nothing has to be compiled.
EXACT_BY_PRODUCTS, EXACT_BY_PAIRS = 8192, 4096

_AT_ONCE = 1 << 22  # known distances that are looked at together

# umap-learn's names of metrics, and scipy's.
_SCIPYS = {
    "manhattan": "cityblock", "l1": "cityblock", "taxicab": "cityblock", "chebyshev": "chebyshev",
    "linf": "chebyshev", "linfty": "chebyshev", "linfinity": "chebyshev", "canberra": "canberra",
    "braycurtis": "braycurtis", "minkowski": "minkowski", "hamming": "hamming", "sqeuclidean": "sqeuclidean",
}  # fmt: skip
# What umap-learn takes for no neighbour at all: the largest distance of bounded metrics.
_FARTHEST = {"correlation": 2.0, "cosine": 2.0, "hellinger": 1.0, "jaccard": 1.0, "dice": 1.0}
_OF_LABELS = ("categorical", "count", "hierarchical_categorical", "ordinal", "string", "myers")


class Searcher(Protocol):
    """Rows that can be asked for neighbours; exact, and each query's answer is its own."""

    def nearest(self, queries: Any, k: int, *, n_jobs: int = 1, step: Step | None = None) -> Nearest:
        """The `k` nearest rows of each query; `None` asks for the rows themselves (see `Space.nearest`)."""


class Knn(NamedTuple):
    """Neighbours of n rows: `rows` (n, k) int32, -1 where there is none; `distances` (n, k) float32, infinite there."""

    rows: npt.NDArray[np.int32]
    distances: npt.NDArray[np.float32]


def as_knn(found: Nearest) -> Knn:
    """What was found, as UMAP keeps it."""
    return Knn(found.rows.astype(np.int32), found.distances.astype(np.float32))


def farthest(metric: Any, given: float | None) -> float:
    """UMAP's ``disconnection_distance``: from there on rows are no neighbours."""
    if given is not None:
        return float(given)
    return _FARTHEST.get(metric, np.inf) if isinstance(metric, str) else np.inf


def threads(n_jobs: int) -> int:
    """How many threads `n_jobs` asks for; -1 for one a processor that this process may use."""
    if n_jobs > 0:
        return n_jobs
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_exact(n: int, metric: Any, approximate: bool) -> bool:
    """Whether the neighbours of `n` rows are found by looking at all pairs."""
    by_products = isinstance(metric, str) and metric in BY_PRODUCTS
    return not approximate and n <= (EXACT_BY_PRODUCTS if by_products else EXACT_BY_PAIRS)


def on_devices(rows: Any, metric: Any) -> bool:
    """Whether neighbours of such rows by such distances can be found by torch."""
    return isinstance(rows, np.ndarray) and isinstance(metric, str) and metric in BY_PRODUCTS


def searcher(rows: Any, metric: Any, keywords: Mapping[str, Any], device: str = "numpy") -> Searcher:
    """What finds the exact neighbours among `rows`.

    Parameters
    ----------
    rows
        (n, d) float32: an array or scipy's CSR matrix.
    metric
        A name of umap-learn's or pynndescent's, or a function of two rows compiled by numba.
    keywords
        The metric's own parameters, in their order.
    device
        ``"numpy"``, or a device of torch's, which is taken where it can be (see `on_devices`).

    Raises
    ------
    BadInput
        There is no such metric.
    """
    if device != "numpy" and on_devices(rows, metric):
        from embedkit.kernels.neighbours_torch import TorchSpace

        return TorchSpace(rows, metric, device)
    sparse = not isinstance(rows, np.ndarray)
    if isinstance(metric, str) and metric in BY_PRODUCTS:
        return _SparseSpace(rows, metric) if sparse else Space(rows, metric)
    if isinstance(metric, str) and metric in _SCIPYS:
        return _Pairs(rows, _by_scipy(_SCIPYS[metric], keywords))
    return _Pairs(rows, _by_function(_function(metric), tuple(keywords.values())))


class Known:
    """Neighbours by distances that are given, for ``metric="precomputed"``: queries are (m, n) distances."""

    def nearest(self, queries: Any, k: int, *, n_jobs: int = 1, step: Step | None = None) -> Nearest:
        """As `Searcher.nearest`, for queries that are not among the rows."""
        return nearest_known(queries, k)


def nearest_known(distances: Any, k: int, first: int | None = None) -> Nearest:
    """The `k` nearest by (m, n) distances.

    Parameters
    ----------
    distances
        An array, or scipy's CSR matrix: what it does not store is not near.
    k, first
        As in `embedkit.kernels.neighbours.nearest_in`.

    Raises
    ------
    BadInput
        A row of a sparse matrix stores too few distances.
    """
    if isinstance(distances, np.ndarray):
        height = max(1, _AT_ONCE // distances.shape[1])
        blocks = [
            nearest_in(distances[at : at + height].astype(np.float64), k, None if first is None else first + at)
            for at in range(0, len(distances), height)
        ]
        return Nearest(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))
    stored, wanted = np.diff(distances.indptr), k
    if first is not None:
        inside = np.arange(distances.shape[0]) + first
        own = np.repeat(inside, stored) == distances.indices
        stored, wanted = stored - np.bincount(np.repeat(inside - first, stored)[own], minlength=len(stored)), k - 1
    if (few := np.flatnonzero(stored < wanted)).size:
        raise BadInput(
            f"row {few[0]} has distances from {stored[few[0]]} other rows, and n_neighbors={k} needs {wanted}: store "
            "more, or lower n_neighbors"
        )
    return nearest_stored(distances.indptr, distances.indices, distances.data, k, first)


class _Pairs:
    def __init__(self, rows: Any, measure: Measure) -> None:
        self._rows, self._measure = rows, measure

    def nearest(self, queries: Any, k: int, *, n_jobs: int = 1, step: Step | None = None) -> Nearest:
        return nearest_by(self._measure, self._rows, queries, k, n_jobs=n_jobs, step=step)


class _SparseSpace:
    """Sparse rows, by sparse products in float64.

    Squared distances below 1e-12 of the squared lengths are rounding, and count as 0.
    """

    def __init__(self, rows: Any, metric: str) -> None:
        self._metric = metric
        self._given = rows
        self._rows, self._mean, self._square = self._scaled(rows)
        self._columns = self._rows.T.tocsr()

    def _scaled(self, rows: Any) -> tuple[Any, Doubles, Doubles]:
        wide = rows.astype(np.float64)
        d = rows.shape[1]
        mean = np.asarray(wide.sum(axis=1)).ravel() / d if self._metric == "correlation" else np.zeros(rows.shape[0])
        square = np.asarray(wide.multiply(wide).sum(axis=1)).ravel()
        return wide, mean, np.maximum(square - d * mean * mean, 0)

    def nearest(self, queries: Any, k: int, *, n_jobs: int = 1, step: Step | None = None) -> Nearest:
        itself = queries is None
        asked = self._given if itself else queries
        n, m = self._given.shape[0], asked.shape[0]
        found = Nearest(np.empty((m, k), dtype=np.int64), np.empty((m, k)))
        height = max(1, (1 << 22) // n)
        for start in range(0, m, height):
            part = slice(start, start + height)
            block = nearest_in(self._distances(asked[part]), k, start if itself else None)
            found.rows[part], found.distances[part] = block
            if step is not None:
                step(min(start + height, m))
        return found

    def _distances(self, queries: Any) -> Doubles:
        rows, mean, square = self._scaled(queries)
        products = np.asarray((rows @ self._columns).todense())
        products -= rows.shape[1] * mean[:, None] * self._mean
        if self._metric in ANGULAR:
            lengths = np.sqrt(square)[:, None] * np.sqrt(self._square)
            distances = 1 - np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
            distances[(square == 0)[:, None] & (self._square == 0)] = 0
            distances[distances < 1e-12] = 0
            at_most_two: Doubles = np.minimum(distances, 2)
            return at_most_two
        both = square[:, None] + self._square
        squared = both - 2 * products
        squared[squared < 1e-12 * both] = 0
        lengths_apart: Doubles = np.sqrt(squared)
        return lengths_apart


def _by_scipy(name: str, keywords: Mapping[str, Any]) -> Measure:
    from scipy.spatial.distance import cdist

    def measure(x: Doubles, y: Doubles) -> Doubles:
        found: Doubles = cdist(x, y, name, **keywords)
        found[np.isnan(found)] = 0  # Bray-Curtis of two rows of zeros
        return found

    return measure


def _by_function(function: Any, arguments: tuple[Any, ...]) -> Measure:
    from embedkit.kernels.pairs import measure

    def of(x: Doubles, y: Doubles) -> Doubles:
        out = np.empty((len(x), len(y)))
        measure(x.astype(np.float32), y.astype(np.float32), function, arguments, out)
        return out

    return of


def _function(metric: Any) -> Any:
    """A compiled function of two rows."""
    if callable(metric):
        if not hasattr(metric, "py_func"):
            from numba import njit

            return njit(metric)
        return metric
    named = named_metrics()
    if metric not in named:
        raise BadInput(f"there is no metric {metric!r}; there are: {', '.join(sorted(named))}, precomputed")
    return named[metric]


def named_metrics() -> dict[str, Any]:
    """umap-learn's metrics of rows of numbers by name, then pynndescent's."""
    umap_distances = import_umap("umap.distances")
    from pynndescent.distances import named_distances

    both = {**named_distances, **umap_distances.named_distances}
    return {name: function for name, function in both.items() if name not in _OF_LABELS}


def import_umap(name: str) -> Any:
    """A module of umap-learn, without its word on what it lacks."""
    import importlib

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


def approximate(
    rows: Any, k: int, metric: Any, keywords: Mapping[str, Any], *, seed: int, angular: bool, low_memory: bool
) -> Knn:
    """Neighbours by pynndescent as umap-learn asks for them, on one thread: its bits depend on their number.

    Parameters
    ----------
    rows, metric, keywords
        As in `searcher`.
    k
        How many, the row itself included.
    seed
        Of its random projections.
    angular, low_memory
        UMAP's ``angular_rp_forest`` and ``low_memory``.
    """
    from pynndescent import NNDescent
    from pynndescent.distances import named_distances
    from pynndescent.sparse import sparse_named_distances

    if isinstance(metric, str) and not isinstance(rows, np.ndarray) and metric not in sparse_named_distances:
        raise BadInput(f"pynndescent has no metric {metric!r} for sparse rows; make them dense")
    named = metric if isinstance(metric, str) and metric in named_distances else _function(metric)
    n = rows.shape[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, distances = NNDescent(
            rows, n_neighbors=k, metric=named, metric_kwds=dict(keywords), random_state=np.random.RandomState(seed),
            n_trees=min(64, 5 + round(n**0.5 / 20.0)), n_iters=max(5, round(np.log2(n))), max_candidates=60,
            angular_trees=angular, low_memory=low_memory, n_jobs=1, compressed=False,
        ).neighbor_graph  # fmt: skip
    return itself_first(found, distances)


def itself_first(rows: npt.NDArray[Any], distances: npt.NDArray[Any]) -> Knn:
    """Neighbours with each row as its own nearest, whatever became of it among its doubles."""
    n = len(rows)
    rows, distances = rows.astype(np.int32), np.asarray(distances, dtype=np.float32).copy()
    distances[rows < 0] = np.inf
    own = np.arange(n, dtype=np.int32)
    keys = np.where(rows == own[:, None], -1.0, distances)
    order = np.argsort(keys, axis=1, kind="stable")
    rows, distances = np.take_along_axis(rows, order, 1), np.take_along_axis(distances, order, 1)
    missing = np.flatnonzero(rows[:, 0] != own)
    rows[missing, 1:], distances[missing, 1:] = rows[missing, :-1], distances[missing, :-1]
    rows[:, 0], distances[:, 0] = own, 0
    return Knn(rows, distances)
