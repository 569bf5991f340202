"""Concept units: how well one single unit of a code tells a class, and how much of that is chance.

Le, Ranzato et al. (2011, "Building high-level features using large scale unsupervised learning", arXiv:1112.6209) asked
it of the neurons of an autoencoder that never saw a label. For each class the unit, side and threshold that tell it
best are chosen on training rows, and judged on test rows by balanced accuracy: the mean of the share of the class that
is accepted and the share of the others that is not, 1/2 for a guess whatever the classes' sizes.

The best of many units is good even if none means anything. So the same choice is made of as many units of what has
learned no features: raw inputs, the same net with random weights, principal components. A linear probe on all units
together is the ceiling: it says what the code holds, not what one unit does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput
from embedkit.kernels.exact import Doubles, Integers
from embedkit.kernels.thresholds import balanced_accuracies, best_thresholds, decided
from embedkit.latent.baselines import flat_rows, random_projection, untrained

if TYPE_CHECKING:
    import pandas as pd

CONTROLS = ("guessing", "input", "every input", "random weights", "pca")
CEILING = "linear probe"
_REPLICATES_AT_ONCE = 64


class ConceptUnit(NamedTuple):
    """The unit of `source` (fitted with the seed of that number) that tells `concept` best.

    A row is said to be of the concept where ``sign * (activation - threshold) > 0``. `chosen` is the balanced accuracy
    on the training rows, by which it was chosen; `accuracy` that on the test rows. `unit` is -1 where all units
    together decide (the linear probe) or none (guessing).
    """

    source: str
    seed: int
    concept: str
    unit: int
    sign: int
    threshold: float
    chosen: float
    accuracy: float


class UnitDifference(NamedTuple):
    """Mean balanced accuracy of `a` less that of `b`, from `low` to `high`; `a_better` is the share of replicates."""

    a: str
    b: str
    difference: float
    low: float
    high: float
    a_better: float


@dataclass(frozen=True, eq=False)
class UnitReport:
    """What `concept_units` found.

    Attributes
    ----------
    units
        A `ConceptUnit` for each source, seed and concept, in that order.
    concepts
        The C classes.
    sources
        The models, then the controls, then their ceilings (``"linear probe of NAME"``).
    decisions
        For each source its decisions on the test rows, bool, (seeds, n, C).
    truth
        Which test rows are of which concept, bool, (n, C).
    """

    units: tuple[ConceptUnit, ...]
    concepts: tuple[str, ...]
    sources: tuple[str, ...]
    decisions: Mapping[str, npt.NDArray[np.bool_]]
    truth: npt.NDArray[np.bool_]

    def of(self, source: str, seed: int = 0) -> tuple[ConceptUnit, ...]:
        """The units of one source and seed, one a concept.

        Raises
        ------
        BadInput
            There is no such source or seed.
        """
        found = tuple(one for one in self.units if one.source == source and one.seed == seed)
        if not found:
            raise BadInput(f"there is no source '{source}' with a seed {seed}; there are: {', '.join(self.sources)}")
        return found

    def mean(self, source: str) -> float:
        """Mean balanced accuracy of a source on the test rows, over concepts and seeds."""
        self.of(source)
        return float(np.mean([one.accuracy for one in self.units if one.source == source]))

    def interval(
        self, source: str, *, replicates: int = 1000, level: float = 0.95, random_state: int = 0
    ) -> tuple[float, float]:
        """The middle `level` of a source's mean balanced accuracy, by bootstrap; see `difference`."""
        found = self._replicates((source,), replicates, level, random_state)[0]
        low, high = np.nanquantile(found, [(1 - level) / 2, (1 + level) / 2]).tolist()
        return low, high

    def difference(
        self, a: str, b: str, *, replicates: int = 1000, level: float = 0.95, random_state: int = 0
    ) -> UnitDifference:
        """How much better `a` is than `b` in the mean over concepts, by a bootstrap over images and seeds.

        A replicate draws test rows within each class with replacement, the same for both, and of each source as many
        of its seeds as there are, with replacement. With one seed only the rows vary. The thresholds stay as chosen.

        Parameters
        ----------
        a, b
            Sources.
        replicates
            How often to draw.
        level
            Share of the replicates between `low` and `high`.
        random_state
            Seed of the draws.

        Raises
        ------
        BadInput
            An unknown source, or a number out of range.
        """
        first, second = self._replicates((a, b), replicates, level, random_state)
        gap = first - second
        low, high = np.nanquantile(gap, [(1 - level) / 2, (1 + level) / 2]).tolist()
        decided_ones = gap[np.isfinite(gap) & (gap != 0)]
        better = float((decided_ones > 0).mean()) if len(decided_ones) else math.nan
        return UnitDifference(a, b, self.mean(a) - self.mean(b), low, high, better)

    def _replicates(self, sources: Sequence[str], replicates: int, level: float, random_state: int) -> Doubles:
        """Mean balanced accuracy of each source in each replicate, (s, replicates)."""
        if replicates < 1 or not 0 < level < 1:
            raise BadInput(f"replicates must be 1 or more and level between 0 and 1, not {replicates} and {level}")
        for source in sources:
            self.of(source)
        generator = np.random.default_rng(random_state)
        n = len(self.truth)
        classes = [np.flatnonzero(column) for column in self.truth.T]
        found = np.empty((len(sources), replicates))
        for start in range(0, replicates, _REPLICATES_AT_ONCE):
            some = min(_REPLICATES_AT_ONCE, replicates - start)
            weights = np.zeros((some, n))
            for rows in classes:
                drawn = rows[generator.integers(0, len(rows), (some, len(rows)))] + n * np.arange(some)[:, None]
                weights += np.bincount(drawn.ravel(), minlength=some * n).reshape(some, n)
            for number, source in enumerate(sources):
                every = self.decisions[source]
                means = np.stack([balanced_accuracies(one, self.truth, weights).mean(axis=1) for one in every])
                seeds = generator.integers(0, len(every), (len(every), some))
                found[number, start : start + some] = means[seeds, np.arange(some)].mean(axis=0)
        return found

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame with a row for each `ConceptUnit`."""
        import pandas as pd

        return pd.DataFrame(list(self.units), columns=list(ConceptUnit._fields))

    def __repr__(self) -> str:
        means = ", ".join(f"{source} {self.mean(source):.3f}" for source in self.sources)
        return f"UnitReport({len(self.concepts)} concepts, {len(self.truth)} test rows: {means})"


def concept_units(
    models: Any,
    rows: Any,
    classes: npt.ArrayLike,
    test_rows: Any,
    test_classes: npt.ArrayLike,
    *,
    controls: Sequence[str] = CONTROLS,
    ceiling: bool = True,
    random_state: int = 0,
) -> UnitReport:
    """Find the unit that tells each class best, and what the same search finds where nothing was learned.

    Parameters
    ----------
    models
        What has `transform` and is fitted: one; several of different seeds; or ``{name: one or several}``, all with
        codes of any width. The controls have as many units as the first.
    rows, classes
        Training rows as the models take them, and the class of each, (n,): units, sides and thresholds are chosen, and
        the linear probe and the principal components fitted, on these.
    test_rows, test_classes
        Rows that had no part in fitting the models, and their classes; what is reported is measured on these.
    controls
        Of ``"guessing"``; ``"input"``, as many input values as there are units, those that vary most; ``"every
        input"``, all of them, which is more than the models have; ``"random weights"``, the first model's net before
        training, or random projections where it has no net; ``"pca"``, principal components.
    ceiling
        Whether to fit a linear probe (one against the rest, logistic, classes weighted to be equal) on each model's
        codes.
    random_state
        Seed of the random weights; each seed of the first model has its own.

    Returns
    -------
    UnitReport

    Raises
    ------
    BadInput
        Fewer than two classes, a test class that has no training rows, or shapes that do not go together.

    Examples
    --------
    >>> from embedkit import PCA, images
    >>> digits = images.named("digits")
    >>> rows = digits.to_embedding()
    >>> train, test = rows.head(1200), rows.take(range(1200, 1797))
    >>> report = concept_units(
    ...     {"components": PCA(8).fit(train)}, train, train.columns["class"], test, test.columns["class"],
    ...     controls=["guessing"],
    ... )
    >>> report.mean("guessing"), bool(report.mean("components") > 0.75)
    (0.5, True)
    """
    named = _named(models)
    unknown = set(controls) - set(CONTROLS)
    if unknown:
        raise BadInput(f"there is no control '{sorted(unknown)[0]}'; there are: {', '.join(CONTROLS)}")
    concepts, truth, test_truth = _numbered(classes, test_classes)
    first = next(iter(named.values()))
    columns: dict[str, list[tuple[Any, Any]]] = {}
    for name, seeds in named.items():
        columns[name] = [(codes_of(model, rows), codes_of(model, test_rows)) for model in seeds]
    n_units = columns[next(iter(named))][0][0].shape[1]
    ceilings = {f"{CEILING} of {name}": pairs for name, pairs in columns.items()} if ceiling else {}
    needs_input = {"input", "every input", "pca"} & set(controls)
    raw = (flat_rows(rows), flat_rows(test_rows)) if needs_input else (np.empty((0, 0)), np.empty((0, 0)))
    for control in controls:
        if control == "random weights":
            untrained = [_untrained(model, rows, n_units, random_state + i) for i, model in enumerate(first)]
            columns[control] = [(codes_of(model, rows), codes_of(model, test_rows)) for model in untrained]
        elif control != "guessing":
            columns[control] = [_control(control, *raw, n_units)]
    found: list[ConceptUnit] = []
    decisions: dict[str, npt.NDArray[np.bool_]] = {}
    for source, pairs in columns.items():
        chosen = [_chosen(source, seed, *pair, truth, test_truth, concepts) for seed, pair in enumerate(pairs)]
        found += [unit for units, _ in chosen for unit in units]
        decisions[source] = np.stack([one for _, one in chosen])
    if "guessing" in controls:
        decisions["guessing"] = np.zeros((1, *test_truth.shape), dtype=np.bool_)
        found += [ConceptUnit("guessing", 0, concept, -1, 1, math.inf, 0.5, 0.5) for concept in concepts]
    for source, pairs in ceilings.items():
        probed = [_probed(source, seed, *pair, truth, test_truth, concepts) for seed, pair in enumerate(pairs)]
        found += [unit for units, _ in probed for unit in units]
        decisions[source] = np.stack([one for _, one in probed])
    return UnitReport(tuple(found), concepts, tuple(decisions), decisions, test_truth)


def codes_of(model: Any, rows: Any) -> npt.NDArray[Any]:
    """The activations of a model's units, (n, k), as an array whatever `rows` are."""
    codes = np.asarray(model.transform(rows))
    if codes.ndim != 2 or not np.isfinite(codes).all():
        raise BadInput(f"{type(model).__name__}.transform gave {codes.dtype} of shape {codes.shape}, expected finite "
                       "numbers of shape (n, units)")  # fmt: skip
    return codes


def _named(models: Any) -> dict[str, list[Any]]:
    given = models if isinstance(models, Mapping) else {"model": models}
    named = {str(name): list(some) if isinstance(some, list | tuple) else [some] for name, some in given.items()}
    taken = [name for name in named if name in CONTROLS or name.startswith(CEILING)]
    if taken:
        raise BadInput(f"a model cannot be called '{taken[0]}': a control is; call it something else")
    if not named or not all(named.values()):
        raise BadInput("there must be a fitted model, or at least one under each name")
    return named


def _numbered(
    classes: npt.ArrayLike, test_classes: npt.ArrayLike
) -> tuple[tuple[str, ...], Integers, npt.NDArray[np.bool_]]:
    """The concepts by name, the concept of each training row, and which test rows are of which."""
    train, test = np.asarray(classes), np.asarray(test_classes)
    if train.ndim != 1 or test.ndim != 1 or not len(test):
        raise BadInput(f"classes are one a row, for training and test rows, not of shapes {train.shape}, {test.shape}")
    names, numbers = np.unique(train, return_inverse=True)
    if len(names) < 2:
        raise BadInput(f"a unit tells a class from others: two or more classes are needed, not {len(names)}")
    strange = np.setdiff1d(test, names)
    if len(strange):
        raise BadInput(f"class {strange[0]} of the test rows has no training rows")
    missing = np.setdiff1d(names, test)
    if len(missing):
        raise BadInput(f"class {missing[0]} of the training rows has no test rows")
    return tuple(map(str, names.tolist())), numbers.astype(np.int64), test[:, None] == names


def _untrained(model: Any, rows: Any, n_units: int, seed: int) -> Any:
    """The model's net as it was before training, with other random weights; a random projection without a net."""
    if hasattr(model, "encoder_"):
        return untrained(model, rows, seed)
    return random_projection(flat_rows(rows), n_units, seed)


def _control(control: str, raw: Doubles, test_raw: Doubles, n_units: int) -> tuple[Doubles, Doubles]:
    if control == "pca":
        from sklearn.decomposition import PCA

        components = PCA(min(n_units, *raw.shape), svd_solver="covariance_eigh").fit(raw)
        return components.transform(raw), components.transform(test_raw)
    if control == "every input":
        return raw, test_raw
    widest = np.sort(np.argsort(-raw.var(axis=0), kind="stable")[:n_units])
    return raw[:, widest], test_raw[:, widest]


def _chosen(
    source: str,
    seed: int,
    codes: npt.NDArray[Any],
    test_codes: npt.NDArray[Any],
    truth: Integers,
    test_truth: npt.NDArray[np.bool_],
    concepts: Sequence[str],
) -> tuple[list[ConceptUnit], npt.NDArray[np.bool_]]:
    """The best unit of one model for each concept, and what it says of the test rows, (n, C)."""
    if len(codes) != len(truth) or len(test_codes) != len(test_truth):
        raise BadInput(f"{len(truth)} and {len(test_truth)} classes for {len(codes)} and {len(test_codes)} rows")
    found = best_thresholds(codes, truth, len(concepts))
    every = np.arange(len(concepts))
    units = found.accuracy.argmax(axis=0)
    threshold, sign = found.threshold[units, every], found.sign[units, every]
    decisions = decided(test_codes[:, units], threshold, sign)
    accuracy = balanced_accuracies(decisions, test_truth, np.ones((1, len(test_truth))))[0]
    told = zip(concepts, units, sign, threshold, found.accuracy[units, every], accuracy, strict=True)
    return [
        ConceptUnit(source, seed, concept, int(u), int(s), float(t), float(c), float(a))
        for concept, u, s, t, c, a in told
    ], decisions


def _probed(
    source: str,
    seed: int,
    codes: npt.NDArray[Any],
    test_codes: npt.NDArray[Any],
    truth: Integers,
    test_truth: npt.NDArray[np.bool_],
    concepts: Sequence[str],
) -> tuple[list[ConceptUnit], npt.NDArray[np.bool_]]:
    """As `_chosen`, by all units together: a logistic regression for each concept."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    found, decisions = [], np.zeros_like(test_truth)
    ones = np.ones((1, len(test_truth)))
    for number, concept in enumerate(concepts):
        probe = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000))
        is_concept = truth == number
        said = probe.fit(codes, is_concept).predict(codes)
        decisions[:, number] = probe.predict(test_codes)
        chosen = balanced_accuracies(said[:, None], is_concept[:, None], np.ones((1, len(truth))))[0, 0]
        accuracy = balanced_accuracies(decisions[:, [number]], test_truth[:, [number]], ones)[0, 0]
        found.append(ConceptUnit(source, seed, concept, -1, 1, 0.0, float(chosen), float(accuracy)))
    return found, decisions
