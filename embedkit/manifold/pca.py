"""Principal components (Pearson 1901; Hotelling 1933), by scikit-learn."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Literal, NamedTuple, Self, final

import numpy as np
import numpy.typing as npt
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.decomposition import PCA as _PCA
from sklearn.utils.validation import check_is_fitted, validate_data

from embedkit.embedder import Embedder
from embedkit.errors import BadInput
from embedkit.rows import check_finite_rows, check_kind, relabel

_MOST = 1e150  # whose squares float64 can add up


@final
class PCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, Embedder[Any]):  # type: ignore[misc]  # scikit-learn has no types
    """Project rows on their directions of largest variance; labels stay.

    Computed in float64, because float32 eigenvectors fail on constant columns. Rows that do not fit into memory can be
    given in batches to `partial_fit`.

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
        check_kind(X)
        rows = validate_data(self, X, dtype=np.float64, ensure_min_samples=2, ensure_all_finite=False)
        check_finite_rows(rows, X, _MOST)
        self._sums: _Sums | None = None
        self._pca = self._new()
        with np.errstate(invalid="ignore"):  # rows that are all the same: no variance, of which nothing is a share
            self._pca.fit(rows)
        return self._found()

    def partial_fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Take more rows in: all rows so far give what `fit` would of them at once, but for rounding.

        Only sums are kept, (d, d) of them in float64, so there may be more rows than fit into memory. The directions
        are found anew after each batch, always exactly (whatever `svd_solver`): give many rows at once.

        Parameters
        ----------
        X
            (n, d) rows; at first at least two, and as many as `n_components`.
        y
            Ignored.

        Raises
        ------
        BadInput
            `fit` came before: it keeps no sums to go on with. Or there are too few rows yet.
        """
        sums: _Sums | None = getattr(self, "_sums", None)
        if sums is None and hasattr(self, "components_"):
            raise BadInput("partial_fit cannot go on where fit ended: begin with partial_fit on a new PCA")
        check_kind(X)
        rows = validate_data(self, X, dtype=np.float64, reset=sums is None, ensure_all_finite=False)
        check_finite_rows(rows, X, _MOST)
        sums = _Sums.of(rows) if sums is None else sums.and_of(rows)
        self._pca = sums.components_for(self._new())
        self._sums = sums
        return self._found()

    def _new(self) -> Any:
        return _PCA(self.n_components, whiten=self.whiten, svd_solver=self.svd_solver, random_state=self.random_state)

    def _found(self) -> Self:
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
        check_kind(X)
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


class _Sums(NamedTuple):
    """What principal components need of n rows: how many, their mean (d,), and the scatter around it (d, d)."""

    n: int
    mean: npt.NDArray[np.float64]
    scatter: npt.NDArray[np.float64]

    @classmethod
    def of(cls, rows: npt.NDArray[np.float64]) -> _Sums:
        mean = rows.mean(axis=0)
        centred = rows - mean
        return cls(len(rows), mean, centred.T @ centred)

    def and_of(self, rows: npt.NDArray[np.float64]) -> _Sums:
        """With more rows (Chan, Golub & LeVeque 1979, Updating Formulae and a Pairwise Algorithm, eq. 2.1)."""
        more = _Sums.of(rows)
        n, apart = self.n + more.n, more.mean - self.mean
        scatter = self.scatter + more.scatter + np.outer(apart, apart) * (self.n * more.n / n)
        return _Sums(n, self.mean + apart * (more.n / n), scatter)

    def components_for(self, pca: Any) -> Any:
        """scikit-learn's `pca` with the components that its own covariance solver finds of all these rows."""
        d, wanted = len(self.mean), pca.n_components
        most = min(self.n, d)
        if wanted is None:
            wanted = most
        share = isinstance(wanted, float) and 0 < wanted < 1
        if not share and not (isinstance(wanted, Integral) and 1 <= int(wanted) <= d):
            raise BadInput(f"n_components={wanted!r} must be a whole number from 1 to {d}, or a share between 0 and 1")
        if self.n < 2 or (not share and wanted > most):
            least = 2 if share else max(2, int(wanted))
            raise BadInput(f"{self.n} rows so far, a minimum of {least} is required: give more rows at once")
        values, vectors = np.linalg.eigh(self.scatter / (self.n - 1))
        values, directions = np.maximum(values[::-1], 0), vectors.T[::-1]
        total = values.sum()
        ratios = values / total if total > 0 else np.zeros(d)
        k = int(np.searchsorted(np.cumsum(ratios), wanted, side="right")) + 1 if share else int(wanted)
        k = min(k, most)
        # As scikit-learn has it: the largest number of a direction is positive.
        largest = directions[np.arange(d), np.abs(directions).argmax(axis=1)]
        pca.components_ = (directions * np.where(largest < 0, -1, 1)[:, None])[:k].copy()
        pca.explained_variance_, pca.explained_variance_ratio_ = values[:k].copy(), ratios[:k].copy()
        pca.mean_, pca.n_components_, pca.n_samples_, pca.n_features_in_ = self.mean.copy(), k, self.n, d
        pca.singular_values_ = np.sqrt(pca.explained_variance_ * (self.n - 1))
        pca.noise_variance_ = float(values[k:most].mean()) if k < most else 0.0
        return pca
