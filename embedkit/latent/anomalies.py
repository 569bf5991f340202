"""Anomalies: rows that a model of the normal ones reconstructs badly, beside baselines that often do as well.

What an autoencoder keeps is what its rows have in common; what is unlike them comes back changed. Whether that is worth
a net is for the data to say: principal components, a Gaussian and the nearest neighbours are always fitted beside.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Self, final, get_args

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils.validation import check_is_fitted

from embedkit.embedding import Embedding
from embedkit.errors import BadInput
from embedkit.kernels.exact import Doubles, Integers
from embedkit.latent.baselines import Neighbours, fit_components, flat_rows, names_of_features, take_rows, validated
from embedkit.latent.counting import Counting
from embedkit.latent.data import Kind, array_of, is_frame, is_images
from embedkit.latent.findings import AnomalyReport, Findings, findings, report
from embedkit.rows import relabel

Measure = Literal["auto", "error", "smoothed", "scaled", "own"]

OWN = "model"
BASELINES = ("pca", "ppca", "knn")
_BLOCK = 8192  # rows scored at a time
_BATCH, _STEPS = 128, 1000  # of the default model's training
_SMOOTHING = 1 / 28  # of a picture's shorter side


@final
class AnomalyDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Find rows that are unlike those it was fitted to, with a stated rate of false alarms.

    Part of the rows is held out when the model is fitted, and their scores set the threshold. If m are held out and a
    row is called an anomaly when it scores below the k-th lowest of them, a new normal row is called one with a
    probability of at most k / (m + 1), whatever the model and the data are (split conformal prediction: Vovk,
    Gammerman and Shafer 2005, Algorithmic Learning in a Random World, ch. 4); k is the largest for which that is no
    more than `false_alarms`.

    Parameters
    ----------
    model
        What is fitted to the rows and then scores them: an `embedkit.latent.Autoencoder` or any other latent model
        that decodes, or a scikit-learn estimator, which gets the rows flat and standardised (pixels from 0 to 1), with
        `inverse_transform`, as PCA has, or `score_samples`. `None` takes a dense denoising
        `embedkit.latent.Autoencoder` of at most 32 units.
    measure
        What a row's errors, the differences between it and its reconstruction, count. ``"error"``: their mean square,
        with a minus. ``"smoothed"``: the same after the picture of the errors is blurred, so that a stroke which is
        slightly moved, too much on one side and too little on the other, counts little against one that is missing;
        over what is usual for pictures of that contrast, since there is more to be missed where there is more to see.
        ``"scaled"``: each feature's squared error over what it usually is on the rows fitted, so that a small change
        where nothing ever changes counts. ``"own"``: the model's `score_samples`. ``"auto"``: smoothed for pictures,
        scaled for other rows, own for a model that does not decode.
    smoothing
        Standard deviation of the blur in pixels; `None` takes a 28th of the shorter side.
    false_alarms
        The rate of normal rows that may be called anomalies, between 0 and 1.
    calibration
        Share of the rows that is held out to set the threshold.
    prefit
        The model is fitted already, to other rows: only the threshold and the baselines are learned. A scikit-learn
        estimator then gets rows flat, in their own units.
    n_components
        Of the PCA baselines; `None` takes 32, or as many as leave one direction over.
    n_neighbours
        Of the nearest-neighbour baseline.
    random_state
        Seed of the split, and of a model made for `None`.

    Attributes
    ----------
    model_
        The fitted model.
    offset_ : float
        The threshold: ``decision_function`` is ``score_samples`` less this.
    false_alarm_rate_ : float
        k / (m + 1), which holds on average over new draws of everything. With fewer than ``1 / false_alarms - 1`` rows
        held out it is more than was asked for: 1 / (m + 1).
    false_alarm_interval_ : tuple of float
        Where, with 95 % probability, the rate of *this* threshold lies (a beta distribution with k and m + 1 - k).
    calibration_rows_ : ndarray of int
        The rows that were held out.
    calibration_scores_ : ndarray of shape (m,)
        Their scores, lowest first.
    n_features_in_ : int
        How many numbers a row has.

    Examples
    --------
    >>> from embedkit import PCA
    >>> rows = np.random.default_rng(0).normal(size=(500, 6)) @ np.diag([5, 4, 3, 0.2, 0.1, 0.1])
    >>> detector = AnomalyDetector(PCA(3), false_alarms=0.02).fit(rows)
    >>> odd = np.array([[0, 0, 0, 0, 3, 0]])
    >>> detector.predict(odd).tolist(), int(detector.contributions(odd).argmax())
    ([-1], 4)
    """

    def __init__(
        self,
        model: Any = None,
        *,
        measure: Measure = "auto",
        smoothing: float | None = None,
        false_alarms: float = 0.05,
        calibration: float = 0.2,
        prefit: bool = False,
        n_components: int | None = None,
        n_neighbours: int = 5,
        random_state: int | None = 0,
    ) -> None:
        self.model = model
        self.measure = measure
        self.smoothing = smoothing
        self.false_alarms = false_alarms
        self.calibration = calibration
        self.prefit = prefit
        self.n_components = n_components
        self.n_neighbours = n_neighbours
        self.random_state = random_state

    def __sklearn_clone__(self) -> Self:
        """A copy that is not fitted; a model that was fitted before (`prefit`) is shared with it."""
        parameters = self.get_params(deep=False)
        kept = {"model"} if self.prefit else set()
        return type(self)(**{name: one if name in kept else clone(one, safe=False) for name, one in parameters.items()})

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803  # scikit-learn's name
        """Learn what is normal.

        Parameters
        ----------
        X
            Rows nearly all of which are normal: Embedding, DataFrame, `embedkit.images.Images`, or an array of shape
            (n, ...); finite.
        y
            Ignored.

        Raises
        ------
        BadInput
            Parameters out of range, fewer than four rows, or a number that is not finite (named by row and column).
        """
        self._check_parameters()
        rows = validated(self, X, reset=True, least=2)
        n = len(array_of(rows))
        held = max(round(n * self.calibration), 1)
        if n - held < 2:
            raise BadInput(f"{n} sample(s) are too few to fit a model and set a threshold: give 4 or more")
        order = np.random.default_rng(self.random_state).permutation(n)
        self.calibration_rows_ = np.sort(order[:held])
        part = take_rows(rows, np.sort(order[held:]))
        held_out = take_rows(rows, self.calibration_rows_)
        # What is normal is learned of the part only: the rows held out must be as new as any to come.
        self._kind = _kind_of(part)
        values = self._kind.flat(part).astype(np.float64)
        model = self.model
        if model is None:
            model = default_model(*values.shape, scaling=self._kind.scaling, random_state=self.random_state)
        self.model_ = model if self.prefit else clone(model).fit(part if _is_latent(model) else values)
        self._decide_score()
        self._components = fit_components(values, self.n_components)
        self._neighbours = Neighbours(values, self.n_neighbours, self.random_state or 0)
        by_row: dict[str, list[Doubles]] = {}
        by_feature: dict[str, Doubles] = {}
        for block in _blocks(part):
            for name, squares in self._squares(block, (OWN, "pca")).items():
                by_row.setdefault(name, []).append(squares.mean(axis=1))
                by_feature[name] = by_feature.get(name, 0.0) + squares.sum(axis=0) / len(values)
        self._usual = {
            name: self._counting.usual(np.concatenate(some), by_feature[name], values) for name, some in by_row.items()
        }
        scores = self._scores(held_out, (OWN, *BASELINES))[0]
        rank = max(math.floor(self.false_alarms * (held + 1) + 1e-9), 1)
        self._set_threshold({name: np.sort(one) for name, one in scores.items()}, rank)
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what was learned to `path`, all or nothing; `embedkit.load` opens it, and it scores with the same bits.

        Besides the model and the threshold, the file holds the rows, at most 20,000, that the nearest neighbours are
        searched among: mind it where rows are confidential.

        Parameters
        ----------
        path
            The file.

        Raises
        ------
        BadInput
            The model is neither a latent one without nets of your own nor principal components.
        BadFile
            The file cannot be written.
        """
        from embedkit.latent.detector_file import save

        check_is_fitted(self)
        save(self, path)

    # -- scikit-learn's verbs of an outlier detector --------------------------------------------------------------

    def score_samples(self, X: Any) -> Doubles:  # noqa: N803
        """How normal rows are, (n,): higher is more normal.

        Raises
        ------
        BadInput
            Rows are not as those of `fit`.
        """
        check_is_fitted(self)
        return self._scores(validated(self, X, reset=False), (OWN,))[0][OWN]

    def decision_function(self, X: Any) -> Doubles:  # noqa: N803
        """`score_samples` less the threshold, (n,): below 0 a row is an anomaly."""
        found: Doubles = self.score_samples(X) - self.offset_
        return found

    def predict(self, X: Any) -> Integers:  # noqa: N803
        """-1 for anomalies, 1 for the others, (n,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    # -- what is more ------------------------------------------------------------------------------------------------

    def p_values(self, X: Any) -> Doubles:  # noqa: N803
        """How rare a score as low is among normal rows, (n,): 1 and how many of those held out have it, over m + 1.

        A normal row has one of p or less with a probability of at most p; `predict` calls anomalies what has one of
        `false_alarm_rate_` or less.
        """
        scores = self.score_samples(X)
        return _p_values(self._held[OWN], scores)

    def contributions(self, X: Any) -> Any:  # noqa: N803
        """What each feature adds to a row's score: the guilty columns.

        Returns
        -------
        Embedding, DataFrame or ndarray
            (n, d), labelled if `X` is, 0 or more; a row's sum is minus its score.

        Raises
        ------
        BadInput
            The score is the model's own, which does not fall into parts.
        """
        check_is_fitted(self)
        rows = validated(self, X, reset=False)
        parts = self._scores(rows, (OWN,))[1]
        if parts is None:
            raise BadInput(
                "the score is the model's own, which has no parts: use measure='error', 'smoothed' or 'scaled'"
            )
        made = {"made_by": "AnomalyDetector.contributions", "measure": self._how}
        if is_images(X):
            columns = {} if X.classes is None else {"class": X.classes}
            return Embedding(X.labels, parts, columns=columns, provenance={**made, "from": dict(X.provenance)})
        return relabel(X, parts, names_of_features(rows), made)

    def baseline_scores(self, X: Any) -> dict[str, Doubles]:  # noqa: N803
        """How normal rows are to each baseline, (n,) each.

        ``"pca"``: what principal components leave over, counted as the model's errors are; ``"ppca"``: the log
        likelihood of probabilistic PCA in nats; ``"knn"``: minus the mean distance to the nearest rows fitted (of at
        most 20,000). All in the units that `model` is fitted in.
        """
        check_is_fitted(self)
        return self._scores(validated(self, X, reset=False), BASELINES)[0]

    def examine(self, X: Any, *, n_guilty: int = 3) -> Findings:  # noqa: N803
        """Everything there is to say of rows: scores, p-values, verdicts, guilty columns, and what the baselines say.

        Parameters
        ----------
        X
            Rows.
        n_guilty
            How many columns to name of each row, the guiltiest first; none where the score is the model's own.

        Returns
        -------
        Findings
            Of all n rows.

        Raises
        ------
        BadInput
            Rows are not as those of `fit`.
        """
        check_is_fitted(self)
        rows = validated(self, X, reset=False)
        scores, parts = self._scores(rows, (OWN, *BASELINES))
        p_values = {name: _p_values(self._held[name], one) for name, one in scores.items()}
        return findings(X, scores, p_values, self.offset_, self.false_alarm_rate_, parts, n_guilty)

    def report(
        self,
        X: Any,  # noqa: N803
        anomalous: npt.ArrayLike,
        *,
        replicates: int = 1000,
        random_state: int = 0,
    ) -> AnomalyReport:
        """How well the model and the baselines tell anomalies that are known, with intervals.

        Parameters
        ----------
        X
            Rows that had no part in `fit`.
        anomalous
            Which of them are anomalies, (n,) booleans; some are and some are not.
        replicates, random_state
            Of the bootstrap, which draws normal rows and anomalies apart, the same for all.

        Raises
        ------
        BadInput
            Rows are not as those of `fit`, or `anomalous` is not one boolean a row, some true and some not.
        """
        check_is_fitted(self)
        rows = validated(self, X, reset=False)
        truth, n = np.asarray(anomalous), len(array_of(rows))
        if truth.dtype != np.bool_ or truth.shape != (n,) or truth.all() or not truth.any():
            raise BadInput(f"anomalous is one boolean a row, some true and some not, not {truth.dtype} {truth.shape}")
        scores = self._scores(rows, (OWN, *BASELINES))[0]
        offsets = {name: float(held[self._k - 1]) for name, held in self._held.items()}
        return report(scores, offsets, truth, self.false_alarm_rate_, replicates, random_state)

    # -- how ---------------------------------------------------------------------------------------------------------

    def _check_parameters(self) -> None:
        for name in ("false_alarms", "calibration"):
            value = getattr(self, name)
            if not isinstance(value, int | float | np.floating) or not 0 < value < 1:
                raise BadInput(f"{name} is a share between 0 and 1, such as 0.05, not {value!r}")
        if self.measure not in get_args(Measure):
            raise BadInput(f"measure is one of {', '.join(get_args(Measure))}, not {self.measure!r}")
        if self.smoothing is not None and not self.smoothing >= 0:
            raise BadInput(f"smoothing is a number of pixels, 0 or more, not {self.smoothing!r}")
        if self.prefit and self.model is None:
            raise BadInput("prefit=True needs a model that is fitted")
        for name in ("n_components", "n_neighbours"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int | np.integer) or value < 1):
                raise BadInput(f"{name} must be a whole number, 1 or more, not {value!r}")

    def _decide_score(self) -> None:
        shape = self._kind.shape
        if hasattr(self.model_, "kind_"):
            shape = self.model_.kind_.shape  # told by image_shape=
        picture = len(shape) == 3
        decodes = hasattr(self.model_, "inverse_transform")
        how = self.measure
        if how == "auto":
            how = ("smoothed" if picture else "scaled") if decodes else "own"
        if how != "own" and not decodes:
            raise BadInput(f"{type(self.model_).__name__} does not decode: its score is 'own', not '{how}'")
        if how == "smoothed" and not picture:
            raise BadInput(f"only errors of pictures can be smoothed, not those of rows of shape {shape}")
        sigma = min(shape[1:]) * _SMOOTHING if picture and self.smoothing is None else self.smoothing
        self._how = how
        # The components of a model that is scored in its own way are counted as they usually are.
        self._counting = Counting("error" if how == "own" else how, shape, float(sigma or 0))

    def _set_threshold(self, held: dict[str, Doubles], rank: int) -> None:
        """Have the threshold at the score of that rank, from 1, of (m,) scores held out, the lowest first."""
        self._held, self._k = held, rank
        self.calibration_scores_ = held[OWN]
        m = len(self.calibration_scores_)
        self.offset_ = float(self.calibration_scores_[rank - 1])
        self.false_alarm_rate_ = rank / (m + 1)
        self.false_alarm_interval_ = _beta_interval(rank, m + 1 - rank)

    def _scores(self, rows: Any, wanted: Sequence[str]) -> tuple[dict[str, Doubles], Doubles | None]:
        """How normal rows are by the methods wanted, and the parts of the model's score, (n, d), if it has any."""
        found: dict[str, list[Doubles]] = {name: [] for name in wanted}
        parts = []
        for block in _blocks(rows):
            counted = self._squares(block, wanted)
            for name, squares in counted.items():
                squares /= self._usual[name].of(self._flat(block)) * squares.shape[1]
                found[name].append(-squares.sum(axis=1))
            if OWN in counted:
                parts.append(counted[OWN])
            elif OWN in wanted:
                found[OWN].append(np.asarray(self.model_.score_samples(self._given(block)), dtype=np.float64))
            if "ppca" in wanted or "knn" in wanted:
                values = self._flat(block)
                found["ppca"].append(self._components.log_likelihood(values))
                found["knn"].append(-self._neighbours.distance(values))
        return {name: np.concatenate(some) for name, some in found.items()}, np.concatenate(parts) if parts else None

    def _squares(self, rows: Any, wanted: Sequence[str]) -> dict[str, Doubles]:
        """Squared errors of the model, if it decodes, and of the components, (n, d), before they are divided."""
        residuals = {}
        if "pca" in wanted:
            residuals["pca"] = self._components.residual(self._flat(rows))
        if OWN in wanted and self._how != "own":
            model, given = self.model_, self._given(rows)
            back = np.asarray(model.inverse_transform(model.transform(given)))
            if hasattr(model, "kind_"):
                back, given = (model.kind_.flat(one).astype(np.float64) for one in (back, given))
            residuals[OWN] = back - np.asarray(given, dtype=np.float64)
        return {name: self._counting.squares(residual) for name, residual in residuals.items()}

    def _flat(self, rows: Any) -> Doubles:
        return self._kind.flat(rows).astype(np.float64)

    def _given(self, rows: Any) -> Any:
        """Rows as the model was fitted to them."""
        if _is_latent(self.model_):
            return rows
        if self.prefit:  # with names, if it knows them: scikit-learn warns otherwise
            return rows if is_frame(rows) and hasattr(self.model_, "feature_names_in_") else flat_rows(rows)
        return self._flat(rows)


def default_model(n: int, width: int, **parameters: Any) -> Any:
    """The model that n rows of `width` values are judged by if none is said.

    A dense denoising autoencoder of half as many units as a row has values, 32 at most, that is trained for 20 epochs,
    and for 1,000 steps at least.

    Parameters
    ----------
    n, width
        Of the rows.
    **parameters
        Others of `embedkit.latent.Autoencoder`, or other values of these.
    """
    from embedkit.latent import Autoencoder

    steps = max(n // _BATCH, 1)
    chosen = {
        "n_components": min(32, max(width // 2, 1)),
        "architecture": "dense",
        "noise": 0.5,
        "batch_size": _BATCH,
        "epochs": max(20, -(-_STEPS // steps)),
    }
    return Autoencoder(**{**chosen, **parameters})


def _kind_of(rows: Any) -> Kind:
    """What rows are, as the latent models see it; but columns of numbers from 0 to 1 may leave that range."""
    kind = Kind.learned(rows, "auto", None)
    may_leave = kind.pixels and not kind.image and array_of(rows).dtype.kind == "f"
    return Kind.learned(rows, "none", None) if may_leave else kind


def _is_latent(model: Any) -> bool:
    from embedkit.latent.base import LatentModel

    return isinstance(model, LatentModel)


def _blocks(rows: Any) -> Iterator[Any]:
    n = len(array_of(rows))
    return (take_rows(rows, np.arange(start, min(start + _BLOCK, n))) for start in range(0, n, _BLOCK))


def _p_values(held: Doubles, scores: Doubles) -> Doubles:
    shares: Doubles = (1 + np.searchsorted(held, scores, side="right")) / (len(held) + 1)
    return shares


def _beta_interval(a: int, b: int) -> tuple[float, float]:
    from scipy.stats import beta

    low, high = beta.ppf([0.025, 0.975], a, b).tolist()
    return low, high
