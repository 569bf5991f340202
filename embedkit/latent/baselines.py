"""What a latent model has to beat: principal components, a Gaussian, the nearest neighbours, random projections.

They take rows as flat float64 numbers, (n, d), and know nothing of training.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import validate_data

from embedkit.embedding import Embedding
from embedkit.errors import BadInput
from embedkit.kernels.exact import Doubles
from embedkit.latent.data import array_of, is_frame, is_images
from embedkit.rows import check_finite_rows

_KEPT = 20_000  # rows that the nearest neighbours are searched among: exact search costs rows x rows
_COMPONENTS = 32
_EXACT = 4000  # rows or columns up to which components are exact, and beyond which by random projections
_TINY = 1e-12


def flat_rows(rows: Any) -> Doubles:
    """Rows of any kind as float64 numbers, (n, d): Embedding, DataFrame, Images or an array of shape (n, ...).

    Bytes (uint8) are pixels and become 0 to 1.

    Raises
    ------
    BadInput
        They are not numbers, there are none, or one is not finite (named by row and column).
    """
    array = array_of(rows)
    if array.dtype.kind not in "biuf" or array.ndim < 2 or array.size == 0:
        raise BadInput(f"rows are numbers of shape (n, features) or (n, h, w), not {array.dtype} of {array.shape}")
    values = array.reshape(len(array), -1).astype(np.float64)
    if array.dtype == np.uint8:
        values /= 255
    check_finite_rows(values, rows)
    return values


def validated(estimator: Any, rows: Any, *, reset: bool, least: int = 1) -> Any:
    """Rows as a model takes them: labelled ones and pictures as they are, others as an array; checked by scikit-learn.

    Parameters
    ----------
    estimator
        Whose ``n_features_in_`` is set if `reset`, else compared with.
    rows, reset
        The rows, and whether they come to `fit`.
    least
        Rows that there have to be.

    Raises
    ------
    ValueError
        They are not such rows; `BadInput`, if a number is not finite, named by row and column.
    """
    if isinstance(rows, Embedding) or is_images(rows) or getattr(rows, "ndim", 2) > 2:
        array = array_of(rows)
        width = math.prod(array.shape[1:])
        if len(array) < least:
            raise BadInput(f"{len(array)} sample(s) were given, a minimum of {least} is required")
        if reset:
            estimator.n_features_in_ = width
            if hasattr(estimator, "feature_names_in_"):
                del estimator.feature_names_in_
        elif width != estimator.n_features_in_:
            raise BadInput(f"rows have {width} features, those of fit had {estimator.n_features_in_}")
        return rows
    if is_frame(rows):
        array_of(rows)  # names what it misses by row and column
    checked = validate_data(
        estimator, rows, dtype="numeric", reset=reset, ensure_all_finite=False, ensure_min_samples=least
    )
    if not is_frame(rows):
        check_finite_rows(checked, rows)
    return rows if is_frame(rows) else checked


def take_rows(rows: Any, numbers: npt.NDArray[np.int64]) -> Any:
    """The rows of those numbers, as what `rows` are."""
    if isinstance(rows, Embedding) or is_images(rows):
        return rows.take(numbers)
    return rows.iloc[numbers] if is_frame(rows) else np.asarray(rows)[numbers]


def names_of_features(rows: Any) -> list[str]:
    """Name of each flat column of `rows`: that of a DataFrame's, ``x0`` ..., or ``pixel ROW,COLUMN``."""
    if is_frame(rows):
        return [str(name) for name in rows.columns]
    shape = array_of(rows).shape[1:]
    if len(shape) == 1:
        return [f"x{j}" for j in range(shape[0])]
    return ["pixel " + ",".join(map(str, place)) for place in np.ndindex(*shape)]


def labels_of(rows: Any) -> list[str] | None:
    """The labels that rows came with, `None` where they had none."""
    if isinstance(rows, Embedding) or is_images(rows):
        return None if rows.labels is None else list(rows.labels)
    return [str(label) for label in rows.index] if is_frame(rows) else None


class Components(NamedTuple):
    """Principal components: a `mean` (d,), orthonormal `directions` (q, d), and the variances along and across them.

    `variances` (q,) and `noise`, one number for all other directions, are those of probabilistic PCA (Tipping and
    Bishop 1999, J. R. Stat. Soc. B 61(3), eq. 8), by which the likelihood is the largest.
    """

    mean: Doubles
    directions: Doubles
    variances: Doubles
    noise: float

    def residual(self, values: Doubles) -> Doubles:
        """What the components leave over of rows, (n, d)."""
        centred = values - self.mean
        left: Doubles = centred - (centred @ self.directions.T) @ self.directions
        return left

    def log_likelihood(self, values: Doubles) -> Doubles:
        """Log likelihood of rows under probabilistic PCA in nats, (n,)."""
        centred = values - self.mean
        along = centred @ self.directions.T
        across = np.maximum((centred**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        d, q = values.shape[1], len(self.variances)
        distance = (along**2 / self.variances).sum(axis=1) + across / self.noise
        volume = np.log(self.variances).sum() + (d - q) * math.log(self.noise)
        likelihood: Doubles = -(distance + volume + d * math.log(2 * math.pi)) / 2
        return likelihood


def fit_components(values: Doubles, n_components: int | None = None) -> Components:
    """The components of (n, d) finite rows.

    Parameters
    ----------
    values
        The rows.
    n_components
        How many components; `None` takes 32. There is always one direction left over, if there are two.
    """
    from sklearn.decomposition import PCA

    n, d = values.shape
    q = min(_COMPONENTS if n_components is None else n_components, max(min(n - 1, d - 1), 1))
    exact = min(n, d) <= _EXACT
    solver = ("covariance_eigh" if n > d else "full") if exact else "randomized"
    found = PCA(q, svd_solver=solver, random_state=0).fit(values)
    variances = found.explained_variance_
    left = float(values.var(axis=0, ddof=1).sum() - variances.sum())
    # A direction without any variance would make all but a few rows infinitely unlikely.
    noise = max(left / max(d - q, 1), float(variances[0]) * 1e-9, _TINY)
    return Components(found.mean_, found.components_, np.maximum(variances, noise), noise)


class Neighbours:
    """The rows that a row lies nearest to.

    Parameters
    ----------
    values
        (n, d) finite rows; of more than 20,000 as many drawn at random.
    n_neighbours
        How many are looked at.
    seed
        Of the draw.

    Attributes
    ----------
    rows
        Those that are searched among.
    """

    def __init__(self, values: Doubles, n_neighbours: int, seed: int) -> None:
        from sklearn.neighbors import NearestNeighbors

        if len(values) > _KEPT:
            values = values[np.sort(np.random.default_rng(seed).permutation(len(values))[:_KEPT])]
        self.rows = values
        self._index = NearestNeighbors(n_neighbors=min(n_neighbours, len(values)), algorithm="brute").fit(values)

    def distance(self, values: Doubles) -> Doubles:
        """Mean Euclidean distance of rows to their nearest, (n,)."""
        distances: Doubles = self._index.kneighbors(values)[0].mean(axis=1)
        return distances


class Projection(NamedTuple):
    """Random directions, and what rows are along them: what a net of one layer sees before training."""

    mean: Doubles
    directions: Doubles

    def transform(self, rows: Any) -> Doubles:
        """Activations, (n, k)."""
        activations: Doubles = (flat_rows(rows) - self.mean) @ self.directions
        return activations


def random_projection(values: Doubles, n_units: int, seed: int) -> Projection:
    """`n_units` random directions of length 1 through the mean of (n, d) rows."""
    directions = np.random.default_rng(seed).normal(size=(values.shape[1], n_units))
    return Projection(values.mean(axis=0), directions / np.linalg.norm(directions, axis=0))


def untrained(model: Any, rows: Any, seed: int) -> Any:
    """A fitted latent model of the same parameters whose nets have random weights of a seed; `rows` as `fit` had."""
    from sklearn.base import clone

    return clone(model).set_params(epochs=0, random_state=seed, scaling=model.kind_.scaling).fit(rows)


def area_under_roc(normal: npt.ArrayLike, anomalous: npt.ArrayLike) -> float:
    """Chance that a normal row scores higher than an anomalous one, ties counting half; from (n,) and (m,) scores."""
    from scipy.stats import rankdata

    high, low = np.asarray(normal, dtype=np.float64), np.asarray(anomalous, dtype=np.float64)
    if not len(high) or not len(low):
        return math.nan
    ranks = rankdata(np.concatenate([high, low]))[: len(high)]
    return float((ranks.sum() - len(high) * (len(high) + 1) / 2) / (len(high) * len(low)))
