"""UMAP (McInnes, Healy & Melville 2018, arXiv:1802.03426): a map that keeps near rows near."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, final

import numpy as np
import numpy.typing as npt
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from embedkit.embedder import Embedder
from embedkit.embedding import Embedding
from embedkit.errors import BadInput
from embedkit.manifold import searching
from embedkit.manifold.devices import device_for
from embedkit.manifold.umap_rows import check_distances, constant, keep_places, of_kind, without_doubles
from embedkit.manifold.umap_settings import checked, plain
from embedkit.manifold.umap_steps import mapped, taken_in
from embedkit.progress import Callback
from embedkit.rows import check_finite_rows, check_kind, relabel

if TYPE_CHECKING:
    from embedkit.manifold.faithfulness import Faithfulness

Floats = npt.NDArray[np.float32]
Layout = Literal["parallel", "umap-learn"]

_LEAST = 4  # rows: each then has two neighbours to speak of
_SOMETIMES = ("embedding_list_", "unique_inverse_", "rad_orig_", "rad_emb_")


@final
class UMAP(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, Embedder[Any]):  # type: ignore[misc]  # scikit-learn has no types
    """Lay rows out in few dimensions so that neighbours stay neighbours; labels stay.

    Parameters have umap-learn's names, defaults and meaning. A seed gives the same map bit for bit on any number of
    threads, and costs none of them. Up to 8,192 rows (4,096 where the metric is not Euclidean, cosine or correlation)
    neighbours are exact, beyond that pynndescent's, or exact by a GPU.

    Parameters
    ----------
    n_neighbors
        How many neighbours, the row itself included, a row is laid out by: few show detail, many the whole.
    n_components
        Dimensions of the map.
    metric, metric_kwds
        The distance between rows: a name of umap-learn's or pynndescent's, ``"precomputed"`` (rows are distances of all
        from all, or a sparse matrix of those from the nearest) or a function that numba can compile; and its own
        parameters.
    output_metric, output_metric_kwds
        The distance in the map; others than ``"euclidean"`` are umap-learn's affair (see `layout`).
    n_epochs
        How often all edges are gone through; `None`: 500 up to 10,000 rows, else 200. A list: the maps after so many
        epochs are kept in `embedding_list_`.
    learning_rate
        Of the first epoch.
    init
        Where the layout begins: ``"spectral"``, ``"tswspectral"``, ``"pca"``, ``"random"`` or an (n, c) array.
    min_dist, spread
        How near points may lie, and how far clusters spread; they set `a` and `b`.
    low_memory
        Passed on to pynndescent.
    n_jobs
        Threads; -1 for one a processor. They change nothing but the time it takes.
    set_op_mix_ratio
        1 keeps an edge that either of its rows wants, 0 only those that both do.
    local_connectivity
        How many nearest neighbours belong fully to a row.
    repulsion_strength, negative_sample_rate
        How strongly rows that are no neighbours repel, and how many are drawn for each attraction.
    a, b
        The curve of the map's distances itself.
    random_state
        Seed; `None` draws one.
    angular_rp_forest
        Passed on to pynndescent, which heeds it for metrics that are functions.
    target_n_neighbors, target_metric, target_metric_kwds, target_weight
        How `y` is heeded: how many neighbours, by which distance (``"categorical"`` for classes), how much (0 to 1).
    transform_seed
        Seed of `transform`.
    force_approximation_algorithm
        Find neighbours by pynndescent however few rows there are.
    unique
        Lay rows that are the same out as one.
    densmap, dens_lambda, dens_frac, dens_var_shift, output_dens
        densMAP (Narayan, Berger & Cho 2021), which umap-learn lays out; with `output_dens` the local radii are in
        `rad_orig_` and `rad_emb_`.
    disconnection_distance
        Rows so far from each other are no neighbours; `None`: for bounded metrics their largest distance.
    precomputed_knn
        Neighbours that are known: rows and distances, (n, at least n_neighbors) each, as of another fit's
        `knn_indices_` and `knn_dists_`. A third element is ignored.
    layout
        ``"parallel"``: our own, vertex by vertex, on all threads, seeded or not. ``"umap-learn"``: theirs, where a seed
        means one thread. What ours does not do (`densmap`, `output_dens`, another `output_metric`) is laid out by
        theirs, with a warning; `layout_` tells.
    device
        What finds neighbours and lays out: ``"numpy"``, numpy and numba on the processor; or torch on ``"cpu"``,
        ``"cuda"``, ``"cuda:1"`` ..., where neighbours are exact however many rows there are, and a seed gives the same
        map bit for bit on that device. ``"auto"`` takes a CUDA GPU, if there is one, for more than 8,192 rows, else
        ``"numpy"``. Neighbours of sparse rows, or by other metrics than Euclidean, cosine and correlation, are found on
        the processor all the same, with a warning if a device of torch's was asked for; `neighbours_` tells.

    Attributes
    ----------
    embedding_ : ndarray of shape (n, n_components), float32
        The map. A row that has no neighbour at all, which only `disconnection_distance` can bring about, is NaN.
    graph_ : scipy.sparse.csr_matrix of shape (n, n), float32
        How strongly rows belong together.
    knn_indices_, knn_dists_ : ndarray of shape (n, n_neighbors_)
        Each row's neighbours, itself first, and their distances; -1 and infinity where there is none.
    n_neighbors_ : int
        How many were used: fewer than asked for where there are too few rows.
    a_, b_ : float
        The curve.
    n_epochs_ : int
        How many epochs were asked for.
    layout_ : {"parallel", "umap-learn"}
        Which layout it is.
    neighbours_ : str
        How neighbours were found: ``"exact"``, ``"exact (torch on cuda)"``, ``"approximate (pynndescent)"``,
        ``"given"``, or ``"umap-learn's"``.
    device_ : str
        What laid them out: ``"numpy"``, or a device of torch's.
    embedding_list_ : list of ndarray
        Where `n_epochs` is a list.
    unique_inverse_ : ndarray of shape (n,)
        With `unique`: which of the rows in `graph_` each row is.
    rad_orig_, rad_emb_ : ndarray of shape (n,)
        With `output_dens`: logarithms of the local radii in the rows and in the map.
    n_features_in_ : int
        Width of the rows seen in `fit`.

    Notes
    -----
    A new point is transformed by itself: the same alone or in any batch, in any order, on any number of threads. Its
    neighbours are looked for among all rows. A row that `fit` has seen gets the place it has in `embedding_`.
    There is no `inverse_transform`: a map has no way back that deserves the name. Ctrl-C ends a fit after the epoch
    under way; nothing is kept of it, so that it cannot be gone on with, and an earlier fit stays as it was.

    Examples
    --------
    >>> import numpy as np
    >>> from embedkit import UMAP, Embedding
    >>> rows = np.random.default_rng(0).normal(size=(60, 5))
    >>> map_ = UMAP(n_neighbors=5, n_epochs=20, random_state=0).fit_transform(Embedding(None, rows))
    >>> map_
    Embedding(60 x 2)
    """

    def __init__(
        self,
        n_neighbors: int = 15,
        n_components: int = 2,
        *,
        metric: str | Callable[..., float] = "euclidean",
        metric_kwds: Mapping[str, Any] | None = None,
        output_metric: str | Callable[..., Any] = "euclidean",
        output_metric_kwds: Mapping[str, Any] | None = None,
        n_epochs: int | list[int] | None = None,
        learning_rate: float = 1.0,
        init: str | npt.ArrayLike = "spectral",
        min_dist: float = 0.1,
        spread: float = 1.0,
        low_memory: bool = True,
        n_jobs: int = -1,
        set_op_mix_ratio: float = 1.0,
        local_connectivity: float = 1.0,
        repulsion_strength: float = 1.0,
        negative_sample_rate: int = 5,
        a: float | None = None,
        b: float | None = None,
        random_state: int | np.random.RandomState | None = None,
        angular_rp_forest: bool = False,
        target_n_neighbors: int = -1,
        target_metric: str = "categorical",
        target_metric_kwds: Mapping[str, Any] | None = None,
        target_weight: float = 0.5,
        transform_seed: int = 42,
        force_approximation_algorithm: bool = False,
        unique: bool = False,
        densmap: bool = False,
        dens_lambda: float = 2.0,
        dens_frac: float = 0.3,
        dens_var_shift: float = 0.1,
        output_dens: bool = False,
        disconnection_distance: float | None = None,
        precomputed_knn: tuple[Any, ...] = (None, None, None),
        layout: Layout = "parallel",
        device: str = "auto",
    ) -> None:
        self.n_neighbors = n_neighbors
        self.n_components = n_components
        self.metric = metric
        self.metric_kwds = metric_kwds
        self.output_metric = output_metric
        self.output_metric_kwds = output_metric_kwds
        self.n_epochs = n_epochs
        self.learning_rate = learning_rate
        self.init = init
        self.min_dist = min_dist
        self.spread = spread
        self.low_memory = low_memory
        self.n_jobs = n_jobs
        self.set_op_mix_ratio = set_op_mix_ratio
        self.local_connectivity = local_connectivity
        self.repulsion_strength = repulsion_strength
        self.negative_sample_rate = negative_sample_rate
        self.a = a
        self.b = b
        self.random_state = random_state
        self.angular_rp_forest = angular_rp_forest
        self.target_n_neighbors = target_n_neighbors
        self.target_metric = target_metric
        self.target_metric_kwds = target_metric_kwds
        self.target_weight = target_weight
        self.transform_seed = transform_seed
        self.force_approximation_algorithm = force_approximation_algorithm
        self.unique = unique
        self.densmap = densmap
        self.dens_lambda = dens_lambda
        self.dens_frac = dens_frac
        self.dens_var_shift = dens_var_shift
        self.output_dens = output_dens
        self.disconnection_distance = disconnection_distance
        self.precomputed_knn = precomputed_knn
        self.layout = layout
        self.device = device

    def fit(self, X: Any, y: Any = None, *, callback: Callback | None = None) -> Self:  # noqa: N803  # scikit-learn's name
        """Lay rows out.

        Parameters
        ----------
        X
            (n, d) rows: Embedding, DataFrame, array (it may be memory-mapped) or scipy sparse matrix; finite. With
            ``metric="precomputed"`` (n, n) distances; sparse ones store at least n_neighbors - 1 of each row from
            others, and what they do not store is no neighbour.
        y
            Classes (-1: not known), or target values for another `target_metric`, one a row; `None` heeds none.
        callback
            Told how far it is: first of the rows whose neighbours are found, then of the epochs. What it returns ends
            the layout, if it is true. umap-learn's layout tells nothing.

        Raises
        ------
        BadInput
            A parameter, or rows that cannot be laid out: not finite, too few, or all the same.
        """
        settings = checked(self.get_params(deep=False))
        rows = self._rows(X, reset=True)
        n = rows.shape[0]
        if not settings.precomputed and constant(rows):
            raise BadInput(f"all {n} rows are the same: there is nothing to lay out")
        inverse = None
        if self.unique:
            rows, inverse = without_doubles(rows)
            y = None if y is None else np.asarray(y)[np.unique(inverse, return_index=True)[1]]
        if rows.shape[0] < _LEAST:
            raise BadInput(f"{rows.shape[0]} of the {n} rows are distinct: at least {_LEAST} are needed")
        rng = check_random_state(self.random_state)
        k, curve, epochs = settings.neighbours_of(rows.shape[0]), settings.curve(), settings.epochs(rows.shape[0])
        layout, device, near, found = mapped(rows, y, settings, k, curve, epochs, rng, callback)
        alone = np.diff(found["graph_"].indptr) == 0
        if alone.any():
            what = f"{alone.sum()} rows (first: {np.flatnonzero(alone)[0]}) have no neighbours nearer than"
            if isinstance(X, Embedding):
                raise BadInput(f"{what} disconnection_distance: drop them or raise it")
            warnings.warn(f"{what} disconnection_distance: they are NaN in the map", stacklevel=2)
            found["embedding_"][alone] = np.nan

        for name in _SOMETIMES:
            if name in vars(self):
                delattr(self, name)
        self._places = np.empty((n, 0), dtype=np.float32) if settings.precomputed else rows
        self._searched, self._map = near.searched, found["embedding_"]
        self.n_neighbors_, (self.a_, self.b_), self.n_epochs_, self.layout_ = k, curve, epochs, layout
        (self.knn_indices_, self.knn_dists_), self.neighbours_, self.device_ = near.knn, near.how, device
        if inverse is not None:
            self.unique_inverse_ = inverse
        for name, value in found.items():
            if inverse is not None and name != "graph_":
                value = [places[inverse] for places in value] if isinstance(value, list) else value[inverse]
            setattr(self, name, value)
        self._n_features_out = self.embedding_.shape[1]
        return self

    def fit_transform(self, X: Any, y: Any = None, *, callback: Callback | None = None) -> Any:  # noqa: N803
        """`fit`, and the map: (n, n_components); labelled if `X` is.

        Parameters
        ----------
        X, y, callback
            See `fit`.
        """
        self.fit(X, y, callback=callback)
        return self._labelled(X, self.embedding_)

    def transform(self, X: Any) -> Any:  # noqa: N803
        """Places of rows in the map, each on its own.

        As in umap-learn a new point begins among its neighbours, and is moved by their attraction and the repulsion of
        others, while the map stays.

        Parameters
        ----------
        X
            (m, d) rows, as wide as those of `fit`. With ``metric="precomputed"`` (m, n) distances from the rows of
            `fit`; sparse ones store at least n_neighbors of each row.

        Returns
        -------
        Embedding, DataFrame or ndarray
            (m, n_components); labelled if `X` is.

        Raises
        ------
        BadInput
            A row is not finite, or has no neighbour; or the map is densMAP's, which cannot take new points in.
        """
        check_is_fitted(self)
        if self.densmap:
            raise BadInput("densMAP cannot take new points in: its densities are those of the rows it was fitted to")
        rows = self._rows(X, reset=False)
        settings = checked(self.get_params(deep=False))
        if self._searched is None:
            self._searched = (
                searching.Known() if settings.precomputed
                else searching.searcher(
                    self._places, self.metric, settings.metric_kwds, device_for(self.device, len(self._map))
                )
            )  # fmt: skip
        rows = rows if settings.precomputed else of_kind(rows, self._places)
        found = self._searched.nearest(rows, self.n_neighbors_, n_jobs=searching.threads(self.n_jobs))
        knn = searching.as_knn(found)
        mean = float(np.mean(self.knn_dists_, where=np.isfinite(self.knn_dists_), dtype=np.float64))
        places = taken_in(knn, self._map, mean, self.a_, self.b_, settings)
        keep_places(places, rows, knn, None if settings.precomputed else self._places, self._map)
        return self._labelled(X, places)

    def report(self, X: Any, **how: Any) -> Faithfulness:  # noqa: N803
        """How far the map can be trusted: `X` are the rows of `fit`; see `embedkit.manifold.faithfulness`.

        Raises
        ------
        BadInput
            `X` is a sparse matrix of distances, which has not all of them; or as for `faithfulness`.
        """
        from embedkit.manifold.faithfulness import faithfulness

        check_is_fitted(self)
        if self._is_precomputed() and hasattr(X, "tocsr"):
            raise BadInput("a report needs all distances, not a sparse matrix of some")
        return faithfulness(X, self.embedding_, metric=self.metric, **how)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model as one file of arrays and JSON, all or nothing; `embedkit.load` opens it.

        What is loaded transforms as this does, bit for bit; it has no `embedding_list_`, radii or `precomputed_knn`.

        Parameters
        ----------
        path
            The file; ``.safetensors`` is the usual ending.

        Raises
        ------
        BadInput
            The metric is a function: no file can hold it.
        BadFile
            The file cannot be written.
        """
        from embedkit.manifold.umap_file import save

        check_is_fitted(self)
        save(self, path)

    def _is_precomputed(self) -> bool:
        return isinstance(self.metric, str) and self.metric == "precomputed"

    def _rows(self, X: Any, *, reset: bool) -> Any:  # noqa: N803
        least = {"ensure_min_samples": _LEAST} if reset else {}
        check_kind(X)
        with np.errstate(over="ignore"):  # what float32 cannot hold is refused by name right after
            rows = validate_data(
                self, X, reset=reset, dtype=np.float32, order="C", accept_sparse="csr", ensure_all_finite=False, **least
            )
        if isinstance(rows, np.ndarray):
            check_finite_rows(rows, X)
        else:
            if not rows.has_canonical_format:
                rows, stored = rows.copy(), rows.nnz
                rows.sum_duplicates()
                if rows.nnz < stored and self._is_precomputed():
                    raise BadInput("the sparse matrix has two distances of the same pair")
            check_finite_rows(rows.data.reshape(-1, 1), None)
        if self._is_precomputed():
            check_distances(rows, fitting=reset)
        return rows

    def _labelled(self, X: Any, places: Floats) -> Any:  # noqa: N803
        how = {"neighbours": self.neighbours_, "layout": f"{self.layout_} on {self.device_}"}
        made = {"made_by": "UMAP", "parameters": plain(self.get_params(deep=False)), **how}
        wanted = getattr(self, "_sklearn_output_config", {}).get("transform", get_config()["transform_output"])
        return relabel(X, places, self.get_feature_names_out(), made, wanted)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.pairwise = self._is_precomputed()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
