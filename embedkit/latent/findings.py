"""What an anomaly detector found, and how well it does where the anomalies are known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput
from embedkit.kernels.exact import Doubles, Integers
from embedkit.latent.baselines import area_under_roc, labels_of, names_of_features

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Findings:
    """What `AnomalyDetector.examine` says of n rows.

    Attributes
    ----------
    labels
        Of the rows; their numbers where they had none.
    scores
        How normal each row is, (n,), by ``"model"`` and by each baseline; higher is more normal, each in its own units.
    p_values
        The same as the share of normal rows that score as low or lower, (n,), comparable over methods.
    threshold
        Of the model's scores.
    false_alarm_rate
        The rate of normal rows that may fall below it.
    guilty
        (n, g) columns that add most to a row's score, the guiltiest first; g is 0 where the score has no parts.
    shares
        (n, g) their shares of the whole, 0 to 1.
    features
        Names of the columns.
    """

    labels: tuple[str, ...]
    scores: Mapping[str, Doubles]
    p_values: Mapping[str, Doubles]
    threshold: float
    false_alarm_rate: float
    guilty: Integers
    shares: Doubles
    features: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def anomalous(self) -> npt.NDArray[np.bool_]:
        """Which rows score below the threshold, (n,)."""
        return self.scores["model"] < self.threshold

    def worst(self, n: int = 10) -> Integers:
        """Numbers of the n rows that score lowest, the worst first; of equal ones the earlier."""
        return np.argsort(self.scores["model"], kind="stable")[:n]

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame with a row for each row, in order, and its label as index.

        Columns ``anomaly``, ``score``, ``p_value``, ``guilty_1``, ``share_1`` ..., then ``pca``, ``pca_p_value`` ...
        """
        import pandas as pd

        columns: dict[str, Any] = {
            "anomaly": self.anomalous,
            "score": self.scores["model"],
            "p_value": self.p_values["model"],
        }
        names = np.array(self.features, dtype=object)
        for place in range(self.guilty.shape[1]):
            columns[f"guilty_{place + 1}"] = names[self.guilty[:, place]]
            columns[f"share_{place + 1}"] = self.shares[:, place]
        for name in self.scores:
            if name != "model":
                columns[name] = self.scores[name]
                columns[f"{name}_p_value"] = self.p_values[name]
        return pd.DataFrame(columns, index=pd.Index(self.labels, name="label"))

    def __repr__(self) -> str:
        found = int(self.anomalous.sum())
        return f"Findings({found} of {len(self)} rows anomalous; {self.false_alarm_rate:.3g} of normal ones may be)"


def findings(
    rows: Any,
    scores: Mapping[str, Doubles],
    p_values: Mapping[str, Doubles],
    threshold: float,
    false_alarm_rate: float,
    parts: Doubles | None,
    n_guilty: int,
) -> Findings:
    """`Findings` of `rows`, with the columns that weigh most in `parts` (n, d)."""
    n = len(scores["model"])
    known = labels_of(rows)
    names = tuple(names_of_features(rows))
    if n_guilty < 0:
        raise BadInput(f"n_guilty is a number of columns, 0 or more, not {n_guilty}")
    g = 0 if parts is None else min(n_guilty, parts.shape[1])
    guilty, shares = np.zeros((n, g), dtype=np.int64), np.zeros((n, g))
    if parts is not None and g:
        guilty = np.argsort(-parts, axis=1, kind="stable")[:, :g]
        whole = parts.sum(axis=1, keepdims=True)
        shares = np.take_along_axis(parts, guilty, axis=1) / np.where(whole > 0, whole, 1)
    labels = tuple(map(str, range(n))) if known is None else tuple(known)
    return Findings(labels, scores, p_values, threshold, false_alarm_rate, guilty, shares, names)


class MethodFigures(NamedTuple):
    """How one method tells anomalies: `auroc` from `low` to `high`, the chance that a normal row scores higher.

    `precision` is the mean precision over recalls (average precision); `detected` and `false_alarms` are the shares of
    the anomalies and of the normal rows below the threshold. `behind` is the model's AUROC less this one's, from
    `behind_low` to `behind_high`; NaN for the model itself.
    """

    method: str
    auroc: float
    low: float
    high: float
    precision: float
    detected: float
    false_alarms: float
    behind: float
    behind_low: float
    behind_high: float


@dataclass(frozen=True, eq=False)
class AnomalyReport:
    """What `AnomalyDetector.report` measured: `MethodFigures` of the model, then of each baseline.

    Attributes
    ----------
    figures
        One a method.
    normal, anomalous
        How many rows there were of each.
    false_alarm_rate
        The rate that the thresholds promise.
    """

    figures: tuple[MethodFigures, ...]
    normal: int
    anomalous: int
    false_alarm_rate: float

    def of(self, method: str) -> MethodFigures:
        """The figures of a method: ``"model"``, ``"pca"``, ``"ppca"`` or ``"knn"``; `BadInput` for another."""
        for one in self.figures:
            if one.method == method:
                return one
        raise BadInput(f"there is no method '{method}'; there are: {', '.join(one.method for one in self.figures)}")

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame with a row a method."""
        import pandas as pd

        return pd.DataFrame(list(self.figures), columns=list(MethodFigures._fields))

    def __repr__(self) -> str:
        told = ", ".join(f"{one.method} {one.auroc:.3f}" for one in self.figures)
        return f"AnomalyReport({self.anomalous} anomalies among {self.normal} normal rows; AUROC {told})"


def report(
    scores: Mapping[str, Doubles],
    offsets: Mapping[str, float],
    truth: npt.NDArray[np.bool_],
    false_alarm_rate: float,
    replicates: int,
    random_state: int,
) -> AnomalyReport:
    """Figures of each method on rows of which `truth` (n,) says whether they are anomalies."""
    if replicates < 1:
        raise BadInput(f"replicates must be 1 or more, not {replicates}")
    weights = _weights(truth, replicates, random_state)
    areas = {name: _areas(one, truth, weights) for name, one in scores.items()}
    figures = []
    for name, one in scores.items():
        area = area_under_roc(one[~truth], one[truth])
        low, high = np.quantile(areas[name], [0.025, 0.975]).tolist()
        behind = (math.nan, math.nan, math.nan)
        if name != "model":
            gap = np.quantile(areas["model"] - areas[name], [0.025, 0.975]).tolist()
            behind = (area_under_roc(scores["model"][~truth], scores["model"][truth]) - area, *gap)
        below = one < offsets[name]
        figures.append(
            MethodFigures(
                name, area, low, high, average_precision(one, truth),
                float(below[truth].mean()), float(below[~truth].mean()), *behind,
            )
        )  # fmt: skip
    return AnomalyReport(tuple(figures), int((~truth).sum()), int(truth.sum()), false_alarm_rate)


def average_precision(scores: Doubles, truth: npt.NDArray[np.bool_]) -> float:
    """Sum over thresholds of the precision there times the recall gained, anomalies being the low scores."""
    order = np.argsort(scores, kind="stable")
    found = np.cumsum(truth[order])
    last = np.append(scores[order][1:] != scores[order][:-1], True)  # ties are taken together
    found, taken = found[last], np.flatnonzero(last) + 1
    gained = np.diff(np.concatenate([[0], found])) / found[-1]
    return float((gained * found / taken).sum())


def _weights(truth: npt.NDArray[np.bool_], replicates: int, seed: int) -> Integers:
    """How often each row is drawn in each replicate, (replicates, n): normal rows and anomalies apart."""
    generator = np.random.default_rng(seed)
    weights = np.empty((replicates, len(truth)), dtype=np.int64)
    for kind in (truth, ~truth):
        n = int(kind.sum())
        weights[:, kind] = generator.multinomial(n, np.full(n, 1 / n), size=replicates)
    return weights


def _areas(scores: Doubles, truth: npt.NDArray[np.bool_], weights: Integers) -> Doubles:
    """Area under the ROC curve in each replicate, (replicates,)."""
    values, place = np.unique(scores, return_inverse=True)
    found = np.empty(len(weights))
    for number, counts in enumerate(weights):
        bad = np.bincount(place, counts * truth, minlength=len(values))
        good = np.bincount(place, counts * ~truth, minlength=len(values))
        below = np.cumsum(bad) - bad
        found[number] = (good * (below + bad / 2)).sum() / (good.sum() * bad.sum())
    return found
