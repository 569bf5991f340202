"""An embedder as small as one can be: what docs/new-embedder.md explains, and the tests hold to every promise."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from embedkit.embedder import Embedder
from embedkit.parameters import check_whole
from embedkit.rows import check_finite_rows, relabel


@final
class RandomProjection(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, Embedder[Any]):  # type: ignore[misc]  # scikit-learn has no types
    """Project rows on directions drawn at random, which nearly keeps distances (Johnson & Lindenstrauss 1984).

    Parameters
    ----------
    n_components
        Dimensions of the result.
    random_state
        Seed.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, d)
        The directions: normal, of variance 1 / n_components.
    n_features_in_ : int
        Width d of the rows seen in `fit`.

    Examples
    --------
    >>> from embedkit import Embedding
    >>> RandomProjection(n_components=1, random_state=0).fit_transform(Embedding(["a", "b"], [[0, 1], [1, 0]]))
    Embedding(2 x 1)
    """

    def __init__(self, n_components: int = 2, *, random_state: int | np.random.RandomState | None = None) -> None:
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803  # scikit-learn's name
        """Draw directions for rows as wide as those of `X`, (n, d).

        Parameters
        ----------
        X
            (n, d) rows: Embedding, DataFrame or array; finite.
        y
            Ignored.

        Raises
        ------
        BadInput
            `n_components` is not a whole number of 1 or more, or a value is not finite.
        """
        rows = validate_data(self, X, dtype=np.float64, ensure_min_samples=2, ensure_all_finite=False)
        check_finite_rows(rows, X)
        check_whole("n_components", self.n_components, 1)
        normal = check_random_state(self.random_state).standard_normal
        self.components_: npt.NDArray[np.float64] = normal((self.n_components, rows.shape[1])) / np.sqrt(
            self.n_components
        )
        self._n_features_out = self.n_components
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
        # Row by row: the last digits of a matrix product depend on how many rows there are.
        made = np.stack([self.components_ @ row for row in rows])
        seed = self.random_state
        plain = {**self.get_params(), "random_state": seed if seed is None or isinstance(seed, Integral) else str(seed)}
        wanted = getattr(self, "_sklearn_output_config", {}).get("transform", get_config()["transform_output"])
        about = {"made_by": type(self).__name__, "parameters": plain}
        return relabel(X, made, self.get_feature_names_out(), about, wanted)
