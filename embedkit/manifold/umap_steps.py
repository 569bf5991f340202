"""The steps of UMAP: neighbours, graph, start and layout, and taking new points in."""

from __future__ import annotations

import time
import warnings
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput
from embedkit.kernels.neighbours import BY_PRODUCTS
from embedkit.kernels.umap_layout import Curve, Edges, keys_of, lay_out, settle
from embedkit.manifold import searching
from embedkit.manifold.devices import device_for
from embedkit.manifold.graph import fuzzy_graph, supervised
from embedkit.manifold.searching import Knn, Searcher
from embedkit.manifold.starts import start
from embedkit.manifold.umap_learn import laid_out_by_umap_learn
from embedkit.manifold.umap_settings import Settings
from embedkit.progress import Callback, Progress

Floats = npt.NDArray[np.float32]

_SEEDS = 2**31 - 1


class Mapped(NamedTuple):
    """What becomes of rows: which layout it was, what computed it, the neighbours, the fitted attributes by name."""

    layout: Literal["parallel", "umap-learn"]
    device: str
    near: Found
    found: dict[str, Any]


def mapped(
    rows: Any, y: Any, settings: Settings, k: int, curve: tuple[float, float], epochs: int,
    rng: np.random.RandomState, callback: Callback | None,
) -> Mapped:  # fmt: skip
    """What `embedkit.UMAP.fit` makes of rows, with a warning if it is not quite what was asked for.

    Parameters
    ----------
    rows, y, callback
        As in `embedkit.UMAP.fit`.
    settings
        UMAP's.
    k
        How many neighbours a row has, itself included.
    curve, epochs
        a and b, and how many epochs there are.
    rng
        What is drawn is drawn from this.
    """
    given, seed = settings.given, int(rng.randint(_SEEDS))
    if given["layout"] == "umap-learn" or settings.only_theirs:
        if given["layout"] != "umap-learn":
            warnings.warn(
                f"the parallel layout has no {settings.only_theirs}: umap-learn lays it out (layout_='umap-learn'), "
                "on one thread if random_state is set",
                stacklevel=3,
            )
        found, knn = laid_out_by_umap_learn(rows, y, settings, k)
        theirs = None if knn is None else Found(knn, None, "umap-learn's")
        near = theirs or neighbours(rows, settings, k, seed, "numpy", callback)
        return Mapped("umap-learn", "numpy", near, found)
    device = device_for(given["device"], rows.shape[0])
    near = neighbours(rows, settings, k, seed, device, callback)
    asked = device == given["device"] != "numpy" and not given["force_approximation_algorithm"]
    if asked and near.how not in ("given", _by_torch(device)):
        warnings.warn(
            f"neighbours were {near.how}, found on the processor: torch finds those of dense rows, by the metrics "
            f"{', '.join(BY_PRODUCTS)}",
            stacklevel=3,
        )
    return Mapped("parallel", device, near, laid_out(rows, y, near.knn, settings, curve, epochs, rng, device, callback))


def _by_torch(device: str) -> str:
    return f"exact (torch on {device})"


class Found(NamedTuple):
    """Neighbours; what found them, if it can find those of other rows too; and how, in words."""

    knn: Knn
    searched: Searcher | None
    how: str


def neighbours(rows: Any, settings: Settings, k: int, seed: int, device: str, callback: Callback | None) -> Found:
    """The `k` neighbours of each row.

    Parameters
    ----------
    rows
        (n, d), or distances if the settings say so.
    settings
        UMAP's.
    k
        How many, the row itself included.
    seed
        Where they are not exact.
    device
        ``"numpy"``, or a device of torch's.
    callback
        As in `embedkit.UMAP.fit`.
    """
    given, n, begun = settings.given, rows.shape[0], time.perf_counter()
    metric, searched, approximate = given["metric"], None, given["force_approximation_algorithm"]
    by_torch = device != "numpy" and searching.on_devices(rows, metric) and not approximate

    def step(done: int) -> None:
        if callback is not None:
            callback(Progress(1, 2, done, n, "rows", float("nan"), time.perf_counter() - begun))

    if settings.known is not None:
        knn, how = settings.known_of(n, k), "given"
    elif settings.precomputed:
        knn, how = searching.as_knn(searching.nearest_known(rows, k, 0)), "given"
    elif by_torch or searching.is_exact(n, metric, approximate):
        searched = searching.searcher(rows, metric, settings.metric_kwds, device)
        how = _by_torch(device) if by_torch else "exact"
        knn = searching.as_knn(searched.nearest(None, k, n_jobs=searching.threads(given["n_jobs"]), step=step))
    else:
        knn = searching.approximate(
            rows, k, metric, settings.metric_kwds, seed=seed,
            angular=given["angular_rp_forest"], low_memory=given["low_memory"],
        )  # fmt: skip
        how = "approximate (pynndescent)"
    step(n)
    far = knn.distances >= searching.farthest(metric, given["disconnection_distance"])
    knn.rows[far], knn.distances[far] = -1, np.inf
    return Found(knn, searched, how)


def laid_out(
    rows: Any, y: Any, knn: Knn, settings: Settings, curve: tuple[float, float], epochs: int,
    rng: np.random.RandomState, device: str, callback: Callback | None,
) -> dict[str, Any]:  # fmt: skip
    """What the parallel layout makes of rows: the fitted attributes by name.

    Parameters
    ----------
    rows, y, callback
        As in `embedkit.UMAP.fit`.
    knn
        The rows' neighbours.
    settings
        UMAP's.
    curve, epochs
        a and b, and how many epochs there are.
    rng
        What is drawn is drawn from this.
    device
        ``"numpy"``, or a device of torch's.
    """
    from threadpoolctl import threadpool_limits

    given = settings.given
    graph = fuzzy_graph(knn, connectivity=given["local_connectivity"], mix=given["set_op_mix_ratio"])
    if y is not None:
        asked = given["target_n_neighbors"]
        graph = supervised(
            graph, y, metric=given["target_metric"], keywords=settings.target_kwds, weight=given["target_weight"],
            k=knn.rows.shape[1] if asked == -1 else asked, seed=int(rng.randint(_SEEDS)),
        )  # fmt: skip
    # The last bits of eigenvectors depend on the number of BLAS's threads.
    with threadpool_limits(1, user_api="blas"):
        places = start(given["init"], graph, None if settings.precomputed else rows, given["n_components"], rng)
    begun = time.perf_counter()
    kept: dict[int, Floats] = {}

    def step(epoch: int, now: Floats) -> object:
        if epoch in settings.listed:
            kept[epoch] = now.copy()
        if callback is None:
            return None
        return callback(Progress(2, 2, epoch, epochs - 1, "epochs", float("nan"), time.perf_counter() - begun))

    what = places, edges(graph, epochs), _curve(curve, settings)
    how: dict[str, Any] = {
        "epochs": epochs, "learning_rate": given["learning_rate"], "seed": int(rng.randint(_SEEDS)), "step": step,
    }  # fmt: skip
    if device == "numpy":
        found = lay_out(*what, **how, n_jobs=searching.threads(given["n_jobs"]))
    else:
        from embedkit.kernels import umap_layout_torch

        found = umap_layout_torch.lay_out(*what, **how, device=device)
    made: dict[str, Any] = {"embedding_": found, "graph_": graph}
    if settings.listed:
        # There is no epoch 0 to move anything, nor is one after the last.
        made["embedding_list_"] = [
            kept.get(epoch, places if epoch == 0 else found) for epoch in sorted(settings.listed)
        ]
    return made


def edges(graph: Any, epochs: int) -> Edges:
    """The edges of scipy's CSR matrix that are due at all in so many epochs."""
    heaviest = graph.data.max(initial=0)
    kept = graph.copy()
    kept.data[kept.data < heaviest / max(1, epochs)] = 0
    kept.eliminate_zeros()
    return Edges(kept.indptr.astype(np.int64), kept.indices.astype(np.int32), kept.data / np.float32(heaviest or 1))


def _curve(curve: tuple[float, float], settings: Settings) -> Curve:
    return Curve(*curve, settings.given["repulsion_strength"], int(settings.given["negative_sample_rate"]))


def taken_in(knn: Knn, map_: Floats, mean: float, a: float, b: float, settings: Settings) -> Floats:
    """Places of new points, each on its own: (m, c).

    Parameters
    ----------
    knn
        Their neighbours among the rows of the map.
    map_
        (n, c).
    mean
        Mean distance of neighbours among the rows of the map.
    a, b
        The curve.
    settings
        UMAP's.

    Raises
    ------
    BadInput
        A point has no neighbour.
    """
    from embedkit.kernels.fuzzy_set import strengths

    given = settings.given
    far = knn.distances >= searching.farthest(given["metric"], given["disconnection_distance"])
    far |= np.isnan(map_[knn.rows, 0])
    distances = np.where(far, np.float32(np.inf), knn.distances)
    weights = strengths(
        distances, target=knn.rows.shape[1], connectivity=max(0.0, given["local_connectivity"] - 1.0), mean=mean
    ).strengths
    if (bad := np.flatnonzero(far.all(axis=1))).size:
        raise BadInput(f"row {bad[0]} has no neighbour nearer than disconnection_distance")
    share = weights / weights.sum(axis=1, dtype=np.float64)[:, None]
    begin = np.zeros((len(knn.rows), map_.shape[1]))
    for j in range(knn.rows.shape[1]):  # one neighbour after the other: a batch adds up as a single row does
        begin += np.where(far[:, j, None], 0, share[:, j, None] * map_[knn.rows[:, j]])
    return settle(
        begin.astype(np.float32), np.nan_to_num(map_), knn.rows, weights,
        keys_of(knn.rows, knn.distances, int(given["transform_seed"])), _curve((a, b), settings),
        epochs=_epochs_for_new(given["n_epochs"]), learning_rate=given["learning_rate"] / 4,
        n_jobs=searching.threads(given["n_jobs"]),
    )  # fmt: skip


def _epochs_for_new(n_epochs: Any) -> int:
    """A third of the epochs, 100 by default, as umap-learn has it, but whatever the size of the batch."""
    if n_epochs is None:
        return 100
    return (max(n_epochs) if isinstance(n_epochs, list | tuple | np.ndarray) else int(n_epochs)) // 3
