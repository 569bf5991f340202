"""Principal components (Pearson 1901; Hotelling 1933), by scikit-learn."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Literal, Self, final

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.decomposition import PCA as _PCA
from sklearn.utils.validation import check_is_fitted, validate_data

from embedkit.embedder import Embedder
from embedkit.rows import check_finite_rows, relabel


@final
class PCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, Embedder[Any]):  # type: ignore[misc]  # scikit-learn has no types
    """Project rows on their directions of largest variance; labels stay.

    Computed in float64, because float32 eigenvectors fail on constant columns.

    Parameters
    ----------
    n_components
        Dimensions of the result; a number below 1 asks for as many as explain that share of the variance; `None`
        keeps all.
    whiten
        Scale each component to variance 1.
    svd_solver
        scikit-learn's ``"auto"``, ``"full"``, ``"covariance_eigh"``, ``"arpack"`` or ``"randomized"``.
    random_state
        Seed of the randomised solver.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, d)
        The directions, largest variance first.
    explained_variance_, explained_variance_ratio_ : ndarray of shape (n_components,)
        Variance along each, and its share of all.
    mean_ : ndarray of shape (d,)
        The mean that is taken off.
    n_features_in_ : int
        Width d of the rows seen in `fit`.

    Examples
    --------
    >>> from embedkit import Embedding, PCA
    >>> emb = Embedding(["a", "b", "c"], [[0, 0, 1], [1, 1, 1], [2, 2, 1]], columns={"count": [3, 2, 1]})
    >>> PCA(n_components=1).fit_transform(emb)
    Embedding(3 x 1, columns=['count'])
    """

    def __init__(
        self,
        n_components: int | float | None = 2,
        *,
        whiten: bool = False,
        svd_solver: Literal["auto", "full", "covariance_eigh", "arpack", "randomized"] = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_components = n_components
        self.whiten = whiten
        self.svd_solver = svd_solver
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803  # scikit-learn's name
        """Find the directions.

        Parameters
        ----------
        X
            (n, d) rows: Embedding, DataFrame or array; finite.
        y
            Ignored.
        """
        rows = validate_data(self, X, dtype=np.float64, ensure_min_samples=2, ensure_all_finite=False)
        check_finite_rows(rows, X)
        self._pca = _PCA(
            self.n_components, whiten=self.whiten, svd_solver=self.svd_solver, random_state=self.random_state
        )
        with np.errstate(invalid="ignore"):  # rows that are all the same: no variance, of which nothing is a share
            self._pca.fit(rows)
        for name in ("components_", "explained_variance_", "mean_"):
            setattr(self, name, getattr(self._pca, name))
        self.explained_variance_ratio_ = np.nan_to_num(self._pca.explained_variance_ratio_)
        self._n_features_out = len(self._pca.components_)
        return self

    def transform(self, X: Any) -> Any:  # noqa: N803
        """Coordinates of rows along the directions.

        Parameters
        ----------
        X
            (n, d) rows, as wide as those of `fit`.

        Returns
        -------
        Embedding, DataFrame or ndarray
            (n, n_components); labelled if `X` is.
        """
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, reset=False, ensure_all_finite=False)
        check_finite_rows(rows, X)
        made = {"made_by": "PCA", "parameters": self._plain_params()}
        wanted = getattr(self, "_sklearn_output_config", {}).get("transform", get_config()["transform_output"])
        return relabel(X, self._pca.transform(rows), self.get_feature_names_out(), made, wanted)

    def inverse_transform(self, X: Any) -> Any:  # noqa: N803
        """Rows in the original space whose coordinates are `X`, (n, n_components); labelled if `X` is."""
        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", [f"x{j}" for j in range(self.n_features_in_)])
        made = {"made_by": "PCA.inverse_transform", "parameters": self._plain_params()}
        return relabel(X, self._pca.inverse_transform(np.asarray(X, dtype=np.float64)), names, made)

    def _plain_params(self) -> dict[str, Any]:
        seed = self.random_state
        return {**self.get_params(), "random_state": seed if seed is None or isinstance(seed, Integral) else str(seed)}
