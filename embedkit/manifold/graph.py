"""UMAP's fuzzy graph: how strongly rows belong together, from their nearest neighbours and from their classes.

McInnes, Healy & Melville 2018, UMAP, arXiv:1802.03426, section 4. The graphs equal umap-learn's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput
from embedkit.manifold.searching import Knn, import_umap

_UNKNOWN = 1.0  # umap-learn's distance of a class that is not known from any other


def fuzzy_graph(knn: Knn, *, connectivity: float, mix: float) -> Any:
    """The graph of n rows as scipy's CSR matrix, (n, n) float32, symmetric.

    Parameters
    ----------
    knn
        Neighbours of each row, itself among them.
    connectivity, mix
        UMAP's ``local_connectivity`` and ``set_op_mix_ratio``.
    """
    local = _local(knn, connectivity)
    both = local.multiply(local.T)
    union = local + local.T - both
    return _tidy(union if mix == 1.0 else mix * union + (1.0 - mix) * both)


def _local(knn: Knn, connectivity: float) -> Any:
    """How strongly each row's neighbours belong to it, each row on its own."""
    from scipy.sparse import csr_array

    from embedkit.kernels.fuzzy_set import strengths

    n, k = knn.rows.shape
    values = strengths(knn.distances, target=k, connectivity=connectivity).strengths
    kept = (knn.rows >= 0) & (knn.rows != np.arange(n, dtype=np.int32)[:, None]) & (values > 0)
    starts = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    graph = csr_array((values[kept], knn.rows[kept], starts), shape=(n, n))
    graph.sum_duplicates()
    return graph


def _tidy(graph: Any) -> Any:
    from scipy.sparse import csr_matrix

    tidy = csr_matrix(graph, dtype=np.float32)
    tidy.sum_duplicates()
    tidy.eliminate_zeros()
    tidy.sort_indices()
    return tidy


def supervised(
    graph: Any, y: Any, *, metric: Any, keywords: Mapping[str, Any], weight: float, k: int, seed: int
) -> Any:
    """`graph` with what is known of the rows' classes or target values.

    Parameters
    ----------
    graph
        Of `fuzzy_graph`.
    y
        n classes (-1: not known), or target values.
    metric, keywords, weight
        UMAP's ``target_metric``, ``target_metric_kwds`` and ``target_weight``.
    k
        ``target_n_neighbors``, for target values.
    seed
        For target values of more than 4,095 rows, whose neighbours umap-learn finds approximately.
    """
    y = _targets(y, graph.shape[0], metric)
    if metric == "categorical":
        far = 2.5 / (1.0 - weight) if weight < 1.0 else 1.0e12
        return _with_classes(graph, y, far)
    theirs = import_umap("umap.umap_")
    labels = import_umap("umap.distances")
    if metric in labels.DISCRETE_METRICS:
        scale = 2.5 / (1.0 - weight) if weight < 1.0 else 1.0e12
        made = theirs.discrete_metric_simplicial_set_intersection(
            graph, y, metric=metric, metric_kws=labels.get_discrete_params(y, metric), metric_scale=scale
        )
        return _tidy(made)
    from sklearn.metrics import pairwise_distances

    values = y.reshape(len(y), -1).astype(np.float32)
    small = len(values) < 4096
    target_graph = theirs.fuzzy_simplicial_set(
        pairwise_distances(values, metric=metric, **keywords) if small else values,
        k, np.random.RandomState(seed), "precomputed" if small else metric, dict(keywords),
        apply_set_operations=False,
    )[0]  # fmt: skip
    made = theirs.general_simplicial_set_intersection(graph, target_graph, weight)
    return _tidy(theirs.reset_local_connectivity(made))


def _targets(y: Any, n: int, metric: Any) -> npt.NDArray[Any]:
    targets = np.asarray(y)
    if len(targets) != n:
        raise BadInput(f"y has {len(targets)} values for {n} rows: there must be one each")
    if metric != "categorical":
        return targets
    if targets.ndim != 1:
        raise BadInput(f"y must be one class a row, not an array of shape {targets.shape}")
    if targets.dtype.kind == "f" and not np.isfinite(targets).all():
        raise BadInput("y holds NaN or infinity: classes that are not known are -1")
    codes = np.unique(targets, return_inverse=True)[1]
    if targets.dtype.kind in "if":
        codes = np.where(targets == -1, -1, codes)
    return codes


def _with_classes(graph: Any, classes: npt.NDArray[Any], far: float) -> Any:
    """umap-learn's intersection: edges between classes and to what has none weakened, then each row made whole."""
    made = graph.tocoo()
    heads, tails = classes[made.row], classes[made.col]
    unknown = (heads == -1) | (tails == -1)
    factors = np.where(unknown, np.exp(-_UNKNOWN), np.where(heads != tails, np.exp(-far), 1.0))
    made.data = (made.data * factors).astype(np.float32)
    made.eliminate_zeros()
    whole = made.tocsr()
    largest = whole.max(axis=1).toarray().ravel()
    whole.data /= np.repeat(np.where(largest > 0, largest, 1), np.diff(whole.indptr)).astype(np.float32)
    return _tidy(whole + whole.T - whole.multiply(whole.T))
