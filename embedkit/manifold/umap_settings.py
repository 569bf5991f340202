"""UMAP's parameters, checked."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput
from embedkit.manifold.devices import check_device
from embedkit.manifold.searching import Knn, itself_first
from embedkit.parameters import check_choice, check_number, check_whole

_STARTS = ("spectral", "tswspectral", "pca", "random")
_MOST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Settings:
    """What follows from UMAP's parameters.

    Attributes
    ----------
    given
        The parameters.
    metric_kwds, target_kwds
        The metrics' own parameters; empty where there are none.
    precomputed
        Rows are distances.
    known
        Neighbours that are known, and their distances; `None` if they are not.
    only_theirs
        What of this only umap-learn lays out, in words; empty if nothing.
    listed
        Epochs whose maps are kept; empty if none.
    """

    given: Mapping[str, Any]
    metric_kwds: dict[str, Any]
    target_kwds: dict[str, Any]
    precomputed: bool
    known: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None
    only_theirs: str
    listed: frozenset[int]

    def neighbours_of(self, n: int) -> int:
        """How many neighbours can be used of `n` rows; warns if that is fewer than were asked for."""
        asked = int(self.given["n_neighbors"])
        if asked < n:
            return asked
        warnings.warn(f"n_neighbors={asked} is too many for {n} rows: {n - 1} are used", stacklevel=3)
        return n - 1

    def epochs(self, n: int) -> int:
        """How many epochs `n` rows are laid out in."""
        given = self.given["n_epochs"]
        if self.listed:
            return max(self.listed)
        if given is not None:
            return int(given)
        return (500 if n <= 10_000 else 200) + (200 if self.given["densmap"] else 0)

    def curve(self) -> tuple[float, float]:
        """The a and b that are given, or those that `min_dist` and `spread` ask for."""
        a, b = self.given["a"], self.given["b"]
        return (float(a), float(b)) if a is not None and b is not None else fitted_curve(
            self.given["spread"], self.given["min_dist"]
        )  # fmt: skip

    def known_of(self, n: int, k: int) -> Knn:
        """The `k` nearest neighbours of `n` rows that are known."""
        assert self.known is not None  # noqa: S101  # asked for only if there are
        rows, distances = self.known
        if rows.shape[0] != n or rows.shape[1] < k:
            raise BadInput(
                f"precomputed_knn has shape {rows.shape}, expected {n} rows with at least {k} neighbours each"
            )
        if (rows >= n).any():
            raise BadInput(f"precomputed_knn names row {rows.max()} of {n} rows")
        first = itself_first(rows, distances)
        return Knn(np.ascontiguousarray(first.rows[:, :k]), np.ascontiguousarray(first.distances[:, :k]))


def plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """UMAP's parameters as JSON can hold them; arrays and functions by what they are."""
    made: dict[str, Any] = {}
    for name, value in given.items():
        if name == "precomputed_knn":
            made[name] = value is not None and value[0] is not None
        elif isinstance(value, Integral):
            made[name] = int(value)
        elif value is None or isinstance(value, bool | str | float | list | Mapping):
            made[name] = dict(value) if isinstance(value, Mapping) else value
        elif callable(value):
            made[name] = getattr(value, "__name__", "a function")
        else:
            made[name] = f"array {np.shape(value)}" if name == "init" else str(value)
    return made


def fitted_curve(spread: float, min_dist: float) -> tuple[float, float]:
    """The a and b that bring 1 / (1 + a x^2b) nearest to a plateau up to `min_dist` and an exponential fall from there.

    Least squares at 300 places up to three times `spread`, as umap-learn does it.
    """
    from scipy.optimize import curve_fit

    x = np.linspace(0, spread * 3, 300)
    y = np.where(x < min_dist, 1.0, np.exp(-(x - min_dist) / spread))
    (a, b), _ = curve_fit(lambda x, a, b: 1 / (1 + a * x ** (2 * b)), x, y)
    return float(a), float(b)


def checked(given: Mapping[str, Any]) -> Settings:
    """What follows from UMAP's parameters.

    Raises
    ------
    BadInput
        One of them cannot be.
    """
    check_whole("n_neighbors", given["n_neighbors"], 2)
    check_whole("n_components", given["n_components"], 1)
    check_whole("negative_sample_rate", given["negative_sample_rate"], 0, 1_000_000)
    check_whole("transform_seed", given["transform_seed"], 0, 2**32 - 1)
    for name in ("learning_rate", "repulsion_strength", "min_dist", "local_connectivity", "dens_lambda",
                 "dens_var_shift"):  # fmt: skip
        check_number(name, given[name], 0, _MOST)
    for name in ("set_op_mix_ratio", "target_weight", "dens_frac"):
        check_number(name, given[name], 0, 1)
    check_number("spread", given["spread"], 1e-6, _MOST)
    for name in ("a", "b", "disconnection_distance"):
        if given[name] is not None:
            check_number(name, given[name], 0, np.inf)
    if given["min_dist"] > given["spread"]:
        raise BadInput(f"min_dist={given['min_dist']} must not be above spread={given['spread']}")
    if given["target_n_neighbors"] != -1:
        check_whole("target_n_neighbors", given["target_n_neighbors"], 2)
    if given["n_jobs"] != -1:
        check_whole("n_jobs", given["n_jobs"], 1)
    check_choice("layout", given["layout"], ("parallel", "umap-learn"))
    check_device(given["device"])
    if given["layout"] == "umap-learn" and given["device"] not in ("auto", "numpy"):
        raise BadInput(f'umap-learn\'s layout has no devices: device={given["device"]!r} goes with layout="parallel"')
    if isinstance(given["init"], str):
        check_choice("init", given["init"], _STARTS)
    for name in ("metric", "output_metric"):
        if not isinstance(given[name], str) and not callable(given[name]):
            raise BadInput(f"{name} is a name or a function, not {given[name]!r}")
    precomputed = isinstance(given["metric"], str) and given["metric"] == "precomputed"
    if precomputed and given["unique"]:
        raise BadInput("unique cannot be heeded where only distances are known")
    known = _known(given["precomputed_knn"])
    if known is not None and given["unique"]:
        raise BadInput("unique cannot be heeded where neighbours are given (precomputed_knn)")
    return Settings(
        given, dict(given["metric_kwds"] or {}), dict(given["target_metric_kwds"] or {}), precomputed, known,
        _only_theirs(given), _listed(given["n_epochs"]),
    )  # fmt: skip


def _only_theirs(given: Mapping[str, Any]) -> str:
    euclidean = isinstance(given["output_metric"], str) and given["output_metric"] in ("euclidean", "l2")
    parts = [name for name in ("densmap", "output_dens") if given[name]]
    return " and ".join(parts + ([] if euclidean else ["output_metric but the Euclidean"]))


def _listed(n_epochs: Any) -> frozenset[int]:
    if n_epochs is None:
        return frozenset()
    if isinstance(n_epochs, list | tuple | np.ndarray):
        if not len(n_epochs):
            raise BadInput("n_epochs is an empty list")
        for epochs in n_epochs:
            check_whole("each of n_epochs", epochs, 0)
        return frozenset(int(epochs) for epochs in n_epochs)
    check_whole("n_epochs", n_epochs, 0)
    return frozenset()


def _known(given: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
    if given is None or given[0] is None:
        return None
    rows, distances = np.asarray(given[0]), np.asarray(given[1])
    if rows.ndim != 2 or rows.shape != distances.shape or rows.dtype.kind not in "iu":
        raise BadInput(
            f"precomputed_knn must be rows and distances of one shape, (n, k), not {rows.dtype} of {rows.shape} and "
            f"{distances.dtype} of {distances.shape}"
        )
    if (bad := np.argwhere(~(distances >= 0) & (rows >= 0))).size:
        i, j = bad[0]
        raise BadInput(
            f"precomputed_knn: row {i}'s neighbour {rows[i, j]} has distance {distances[i, j]}, not 0 or more"
        )
    ordered = np.sort(rows, axis=1)
    if (bad := np.argwhere((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0))).size:
        raise BadInput(f"precomputed_knn: row {bad[0, 0]} has the same neighbour twice")
    return rows, distances
