"""t-SNE (van der Maaten & Hinton 2008, Visualizing Data using t-SNE), by scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, Self, final

import numpy as np
import numpy.typing as npt
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.manifold import TSNE as _TSNE
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from embedkit.embedder import Embedder
from embedkit.errors import BadInput
from embedkit.rows import check_finite_rows, check_kind, relabel

if TYPE_CHECKING:
    from embedkit.manifold.faithfulness import Faithfulness

_MOST = 1e18  # whose square, times some dimensions, float32 holds


@final
class TSNE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, Embedder[Any]):  # type: ignore[misc]  # scikit-learn has no types
    """Lay rows out so that those likely to be neighbours stay so; labels stay.

    Parameters have scikit-learn's names, defaults and meaning. There is no `transform`: t-SNE places the rows that it
    is fitted to, and no others.

    Parameters
    ----------
    n_components
        Dimensions of the map; the Barnes-Hut method knows up to 3.
    perplexity
        How many neighbours a row has, more or less; below the number of rows.
    early_exaggeration
        How much neighbours attract each other more at first.
    learning_rate
        ``"auto"``: the number of rows over four times `early_exaggeration`, but at least 50.
    max_iter, n_iter_without_progress, min_grad_norm
        When it ends.
    metric, metric_params
        The distance between rows: a name of scipy's, ``"precomputed"`` (rows are distances) or a function.
    init
        ``"pca"``, ``"random"`` or an (n, n_components) array.
    random_state
        Seed.
    method, angle
        ``"barnes_hut"`` with that accuracy, or ``"exact"``.
    n_jobs
        Threads that look for neighbours; -1 for one a processor.

    Attributes
    ----------
    embedding_ : ndarray of shape (n, n_components), float32
        The map.
    kl_divergence_ : float
        What it minimised.
    n_iter_ : int
        After how many iterations it ended.
    learning_rate_ : float
        The learning rate that was used.
    n_features_in_ : int
        Width of the rows seen in `fit`.

    Examples
    --------
    >>> import numpy as np
    >>> from embedkit import TSNE, Embedding
    >>> rows = np.random.default_rng(0).normal(size=(40, 5))
    >>> TSNE(perplexity=5, max_iter=250, random_state=0).fit_transform(Embedding(None, rows))
    Embedding(40 x 2)
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        perplexity: float = 30.0,
        early_exaggeration: float = 12.0,
        learning_rate: float | Literal["auto"] = "auto",
        max_iter: int = 1000,
        n_iter_without_progress: int = 300,
        min_grad_norm: float = 1e-7,
        metric: str | Callable[..., float] = "euclidean",
        metric_params: Mapping[str, Any] | None = None,
        init: str | npt.ArrayLike = "pca",
        random_state: int | np.random.RandomState | None = None,
        method: Literal["barnes_hut", "exact"] = "barnes_hut",
        angle: float = 0.5,
        n_jobs: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.perplexity = perplexity
        self.early_exaggeration = early_exaggeration
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.n_iter_without_progress = n_iter_without_progress
        self.min_grad_norm = min_grad_norm
        self.metric = metric
        self.metric_params = metric_params
        self.init = init
        self.random_state = random_state
        self.method = method
        self.angle = angle
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803  # scikit-learn's name
        """Lay rows out.

        Parameters
        ----------
        X
            (n, d) rows: Embedding, DataFrame, array or scipy sparse matrix; finite. With ``metric="precomputed"``
            (n, n) distances.
        y
            Ignored.

        Raises
        ------
        BadInput
            Rows that are not finite, too few, or all the same, or a parameter that scikit-learn refuses.
        """
        check_kind(X)
        rows = validate_data(
            self,
            X,
            dtype=[np.float32, np.float64],
            order="C",
            accept_sparse="csr",
            ensure_min_samples=2,
            ensure_all_finite=False,
        )
        dense = isinstance(rows, np.ndarray)
        check_finite_rows(rows if dense else rows.data.reshape(-1, 1), X if dense else None, _MOST)
        if dense and not np.ptp(rows, axis=0).any():
            raise BadInput(f"all {len(rows)} rows are the same: there is nothing to lay out")
        if isinstance(self.perplexity, int | float) and self.perplexity >= rows.shape[0]:
            raise BadInput(f"perplexity={self.perplexity:g} must be lower than the number of rows, {rows.shape[0]}")
        self._tsne = _TSNE(**self.get_params(deep=False))
        # The last bits of matrix products depend on the number of BLAS's threads, and t-SNE makes much of them.
        with threadpool_limits(1, user_api="blas"):
            self._tsne.fit(rows)
        for name in ("embedding_", "kl_divergence_", "n_iter_", "learning_rate_"):
            setattr(self, name, getattr(self._tsne, name))
        self._n_features_out = self.embedding_.shape[1]
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Any:  # noqa: N803
        """`fit`, and the map: (n, n_components); labelled if `X` is.

        Parameters
        ----------
        X, y
            See `fit`.
        """
        self.fit(X, y)
        made = {"made_by": "TSNE", "parameters": self._plain_params()}
        wanted = getattr(self, "_sklearn_output_config", {}).get("transform", get_config()["transform_output"])
        return relabel(X, self.embedding_, self.get_feature_names_out(), made, wanted)

    def report(self, X: Any, **how: Any) -> Faithfulness:  # noqa: N803
        """How far the map can be trusted: `X` are the rows of `fit`; see `embedkit.manifold.faithfulness`."""
        from embedkit.manifold.faithfulness import faithfulness

        check_is_fitted(self)
        return faithfulness(X, self.embedding_, metric=self.metric, **how)

    def _plain_params(self) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for name, value in self.get_params(deep=False).items():
            if isinstance(value, Integral):
                plain[name] = int(value)
            elif value is None or isinstance(value, str | float):
                plain[name] = value
            else:
                plain[name] = (
                    dict(value) if isinstance(value, Mapping) else getattr(value, "__name__", repr(type(value)))
                )
        return plain

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.pairwise = isinstance(self.metric, str) and self.metric == "precomputed"
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
