"""How many labels a classifier needs: accuracy over draws of few labels, with what has to be beaten beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from embedkit.errors import BadInput
from embedkit.kernels.exact import Doubles, Integers
from embedkit.latent.baselines import flat_rows, take_rows, untrained
from embedkit.latent.classify import EncoderClassifier, moved
from embedkit.latent.data import Kind, array_of
from embedkit.latent.training import Batch

if TYPE_CHECKING:
    import pandas as pd

SVM, MOVED_SVM, SCRATCH = "svm on inputs", "svm on moved inputs", "from scratch"
_COPIES = 8
_RATES, _DECAYS = (3e-4, 1e-3, 3e-3), (0.01, 0.1)
_PENALTIES = (0.1, 1.0, 10.0)


class RowsSVM(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Support vectors with an RBF kernel on rows as they are, flat; standardised if they are no pixels.

    Parameters
    ----------
    C
        Inverse strength of the penalty.
    gamma
        Of the kernel, in units of scikit-learn's ``"scale"``.
    copies
        How many times each picture is added once more, moved at random.
    shift, turn, zoom
        By how much: as for `EncoderClassifier`.
    """

    def __init__(
        self,
        C: float = 1.0,  # noqa: N803  # scikit-learn's name
        gamma: float = 1.0,
        *,
        copies: int = 0,
        shift: float = 0.0,
        turn: float = 0.0,
        zoom: float = 0.0,
    ) -> None:
        self.C = C
        self.gamma = gamma
        self.copies = copies
        self.shift = shift
        self.turn = turn
        self.zoom = zoom

    def fit(self, X: Any, y: npt.ArrayLike) -> RowsSVM:  # noqa: N803
        """Learn classes (n,) of rows of any kind.

        Raises
        ------
        BadInput
            Copies are wanted of rows that are no pictures.
        """
        from sklearn.svm import SVC

        values = flat_rows(X)
        pixels = values.min() >= 0 and values.max() <= 1
        if self.copies:
            values = np.concatenate([values, *self._moved(X)])
            y = np.tile(np.asarray(y), self.copies + 1)
        self._mean = np.zeros(values.shape[1]) if pixels else values.mean(axis=0)
        self._scale = np.ones(values.shape[1]) if pixels else np.where(values.std(axis=0) > 0, values.std(axis=0), 1)
        values = (values - self._mean) / self._scale
        gamma = self.gamma / (values.shape[1] * values.var()) if values.var() > 0 else 1.0
        self._svm = SVC(C=self.C, gamma=gamma).fit(values, y)
        self.classes_ = self._svm.classes_
        return self

    def _moved(self, rows: Any) -> list[Doubles]:
        import torch

        kind = Kind.learned(rows, "auto", None)
        if not (kind.image and kind.pixels):
            raise BadInput("copies are of pictures with pixels from 0 to 1 only: set copies to 0")
        pictures, generator = kind.tensor(rows), torch.Generator().manual_seed(0)
        batch = Batch(pictures, torch.arange(len(pictures)), 0, 0, 0.0, generator)
        made = (moved(batch, self.shift, self.turn, self.zoom) for _ in range(self.copies))
        return [one.flatten(1).double().numpy() for one in made]

    def predict(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803
        """The class of each row, (n,)."""
        classes: npt.NDArray[Any] = self._svm.predict((flat_rows(X) - self._mean) / self._scale)
        return classes


class EfficiencyFigures(NamedTuple):
    """Mean accuracy of a method with so many labels, over draws, from `low` to `high` (Student's t, 95 %).

    `chosen` is the setting that was best on the validation rows.
    """

    method: str
    labels: int
    accuracy: float
    low: float
    high: float
    draws: int
    chosen: str


@dataclass(frozen=True, eq=False)
class EfficiencyReport:
    """What `label_efficiency` measured.

    Attributes
    ----------
    methods, sizes
        In order.
    accuracies
        (methods, sizes, draws): the share of test rows that is told right; all methods have the same draws.
    chosen
        Of each method and size, the setting used.
    """

    methods: tuple[str, ...]
    sizes: tuple[int, ...]
    accuracies: Doubles
    chosen: tuple[tuple[str, ...], ...]

    @property
    def figures(self) -> tuple[EfficiencyFigures, ...]:
        """A row for each method and number of labels."""
        return tuple(
            EfficiencyFigures(
                method, size, *mean_interval(self.accuracies[i, j]), self.accuracies.shape[2], self.chosen[i][j]
            )
            for i, method in enumerate(self.methods)
            for j, size in enumerate(self.sizes)
        )

    def difference(self, a: str, b: str, labels: int) -> tuple[float, float, float]:
        """By how much `a` is better than `b` with so many labels: the mean over draws, and its 95 % interval.

        Raises
        ------
        BadInput
            There is no such method, or it was not tried with so many labels.
        """
        for name in (a, b):
            if name not in self.methods:
                raise BadInput(f"there is no method '{name}'; there are: {', '.join(self.methods)}")
        if labels not in self.sizes:
            raise BadInput(f"{labels} labels were not tried, but {', '.join(map(str, self.sizes))}")
        first, second = (self.accuracies[self.methods.index(name), self.sizes.index(labels)] for name in (a, b))
        return mean_interval(first - second)

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame with a row for each method and number of labels."""
        import pandas as pd

        return pd.DataFrame(list(self.figures), columns=list(EfficiencyFigures._fields))

    def __repr__(self) -> str:
        told = "; ".join(
            f"{method} " + ", ".join(f"{one.accuracy:.3f}" for one in self.figures if one.method == method)
            for method in self.methods
        )
        sizes = ", ".join(map(str, self.sizes))
        return f"EfficiencyReport({sizes} labels, {self.accuracies.shape[2]} draws: {told})"


def mean_interval(values: Doubles, level: float = 0.95) -> tuple[float, float, float]:
    """The mean of (n,) values and the ends of its interval by Student's t; without ends for fewer than two."""
    from scipy.stats import t

    mean = float(values.mean())
    if len(values) < 2:
        return mean, math.nan, math.nan
    half = float(t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return mean, mean - half, mean + half


def methods_for(model: Any, rows: Any, **fine_tuning: Any) -> dict[str, list[Any]]:
    """Candidates to compare: what can be made of a fitted model, and what it has to beat, each with its settings.

    ``"frozen, linear"``, ``"frozen, knn"`` and ``"frozen, svm"`` on its codes; ``"svm on inputs"``; and where it has a
    net to fine-tune, ``"fine-tuned"`` and ``"from scratch"``: the same net from random weights, with the same settings
    to choose from and as many steps. If these see moved pictures, so does an SVM: ``"svm on moved inputs"`` has eight
    moved copies of each picture besides.

    Parameters
    ----------
    model
        A fitted model.
    rows
        Some such as it was fitted to.
    **fine_tuning
        For `EncoderClassifier`, of both nets: ``steps=``, ``shift=`` ...
    """
    found: dict[str, list[Any]] = {
        "frozen, linear": [EncoderClassifier(model, C=C) for C in (0.01, *_PENALTIES)],
        "frozen, knn": [EncoderClassifier(model, head="knn", n_neighbours=k) for k in (1, 3, 5)],
        "frozen, svm": [EncoderClassifier(model, head="svm", C=C) for C in (1.0, 10.0, 100.0)],
    }
    if hasattr(model, "encoder_"):
        for name, encoder in (("fine-tuned", model), (SCRATCH, untrained(model, rows, 0))):
            found[name] = [
                EncoderClassifier(encoder, fine_tune=True, learning_rate=rate, weight_decay=decay, **fine_tuning)
                for rate in _RATES
                for decay in _DECAYS
            ]
    found[SVM] = [RowsSVM(C, gamma) for C in (1.0, 10.0) for gamma in (0.5, 1.0, 2.0)]
    moves = {name: fine_tuning[name] for name in ("shift", "turn", "zoom") if fine_tuning.get(name)}
    if moves:
        found[MOVED_SVM] = [RowsSVM(10.0, gamma, copies=_COPIES, **moves) for gamma in (0.5, 1.0, 2.0)]
    return found


def label_efficiency(
    model: Any,
    rows: Any,
    classes: npt.ArrayLike,
    test_rows: Any,
    test_classes: npt.ArrayLike,
    *,
    sizes: Sequence[int] = (100, 1000),
    draws: int = 10,
    methods: Mapping[str, Sequence[Any]] | None = None,
    validation: int = 2000,
    tuning_draws: int = 2,
    random_state: int = 0,
) -> EfficiencyReport:
    """Accuracy with few labels, over draws of which rows are labelled.

    Of each method the setting is chosen first, for each number of labels: by its mean accuracy on validation rows over
    draws of their own. Then it is fitted to each draw, and judged on the test rows. Draws are balanced over classes,
    and the same for all methods; no draw has a validation row. The model itself is fitted without labels, before, and
    may have seen `rows`.

    Parameters
    ----------
    model
        A fitted model. What is made of it, and what it is compared with, says `methods_for`.
    rows, classes
        Where labels are drawn from, and their classes, (n,).
    test_rows, test_classes
        Rows that had no part in anything, and their classes.
    sizes
        Numbers of labels.
    draws
        How many draws of each: ten or more for an interval that means something.
    methods
        Name to the settings to choose from, scikit-learn classifiers that are not fitted; `None` for `methods_for`.
    validation
        How many of `rows` are set aside to choose settings by.
    tuning_draws
        Draws that settings are chosen by.
    random_state
        Seed of the draws.

    Raises
    ------
    BadInput
        There are too few rows, or numbers are out of range.
    """
    truth, test_truth = np.asarray(classes), np.asarray(test_classes)
    n = len(array_of(rows))
    if truth.shape != (n,) or test_truth.shape != (len(array_of(test_rows)),):
        raise BadInput(f"there must be one class a row, not shapes {truth.shape} and {test_truth.shape}")
    if draws < 1 or tuning_draws < 1 or validation < 1 or not sizes:
        raise BadInput("draws, tuning_draws and validation are 1 or more, and there is at least one size")
    candidates = methods_for(model, rows) if methods is None else {name: list(some) for name, some in methods.items()}
    generator = np.random.default_rng(random_state)
    order = generator.permutation(n)
    held, pool = np.sort(order[:validation]), order[validation:]
    held_rows, held_truth = take_rows(rows, held), truth[held]
    accuracies = np.empty((len(candidates), len(sizes), draws))
    chosen: list[list[str]] = [[] for _ in candidates]
    for j, size in enumerate(sizes):
        tuning = [balanced_draw(truth, pool, size, generator) for _ in range(tuning_draws)]
        drawn = [balanced_draw(truth, pool, size, generator) for _ in range(draws)]
        for i, settings in enumerate(candidates.values()):
            best = settings[0]
            if len(settings) > 1:
                means = [_mean_accuracy(one, rows, truth, tuning, held_rows, held_truth) for one in settings]
                best = settings[int(np.argmax(means))]
            chosen[i].append(_told(best, settings))
            accuracies[i, j] = [_accuracy(best, rows, truth, some, test_rows, test_truth) for some in drawn]
    return EfficiencyReport(tuple(candidates), tuple(sizes), accuracies, tuple(map(tuple, chosen)))


def balanced_draw(classes: npt.NDArray[Any], pool: Integers, size: int, generator: np.random.Generator) -> Integers:
    """`size` of the rows in `pool`, as many of each class as can be; which classes have one more is drawn.

    Raises
    ------
    BadInput
        A class has too few, or `size` is below the number of classes.
    """
    names = np.unique(classes)
    if size < len(names):
        raise BadInput(f"{size} labels are fewer than the {len(names)} classes")
    more = generator.permutation(len(names)) < size % len(names)
    parts = []
    for name, extra in zip(names, more, strict=True):
        mine, wanted = pool[classes[pool] == name], size // len(names) + int(extra)
        if len(mine) < wanted:
            raise BadInput(f"class {name} has {len(mine)} rows to draw from, {wanted} are wanted")
        parts.append(generator.choice(mine, wanted, replace=False))
    return np.sort(np.concatenate(parts))


def _accuracy(
    setting: Any, rows: Any, truth: npt.NDArray[Any], drawn: Integers, test: Any, test_truth: npt.NDArray[Any]
) -> float:
    fitted = clone(setting).fit(take_rows(rows, drawn), truth[drawn])
    return float((fitted.predict(test) == test_truth).mean())


def _mean_accuracy(
    setting: Any, rows: Any, truth: npt.NDArray[Any], draws: Sequence[Integers], test: Any, test_truth: npt.NDArray[Any]
) -> float:
    return float(np.mean([_accuracy(setting, rows, truth, drawn, test, test_truth) for drawn in draws]))


def _told(setting: Any, settings: Sequence[Any]) -> str:
    """The parameters in which a setting differs from others."""
    every = [one.get_params(deep=False) for one in settings]
    mine = setting.get_params(deep=False)
    differing = [name for name in mine if len({repr(one.get(name)) for one in every}) > 1]
    return ", ".join(f"{name}={mine[name]!r}" for name in differing)
