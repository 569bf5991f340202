"""How far an accuracy or a correlation may be off: percentile intervals of bootstrap replicates.

What is drawn, and why, is told in `embedkit.evaluation.resampling`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput
from embedkit.evaluation import resampling
from embedkit.evaluation.resampling import LEVEL, REPLICATES, RandomState
from embedkit.kernels.exact import Doubles

FEWEST = 3  # word pairs below which no interval is given: two say next to nothing of how pairs differ


class Interval(NamedTuple):
    """From `low` to `high`; NaN and NaN where there is too little to tell from.

    Examples
    --------
    >>> f"{Interval(0.6212, 0.6781):.1%}, {Interval(0.31, 0.4267):.3f}"
    '[62.1, 67.8], [0.310, 0.427]'
    """

    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there is one."""
        return not math.isnan(self.low)

    def __format__(self, spec: str) -> str:
        """Both ends in brackets, each by the format of a number; per cent go without their sign."""
        return f"[{format(self.low, spec).rstrip('%')}, {format(self.high, spec).rstrip('%')}]"

    def __str__(self) -> str:
        return format(self, "")


UNKNOWN = Interval(math.nan, math.nan)


class AnalogyIntervals(NamedTuple):
    """Of the accuracy on all that is covered together, and of the mean of the relations' (groups') accuracies."""

    accuracy: Interval
    macro: Interval


class CorrelationIntervals(NamedTuple):
    """Of Spearman's and of Pearson's correlation."""

    spearman: Interval
    pearson: Interval


def with_interval(value: float, interval: Interval, spec: str) -> str:
    """A figure as text with its interval, where there is one: ``65.0% [62.1, 67.8]``; ``-`` for NaN."""
    if math.isnan(value):
        return "-"
    return f"{format(value, spec)} {format(interval, spec)}" if interval.known else format(value, spec)


def analogy_interval(
    relations: npt.ArrayLike,
    pairs: npt.ArrayLike,
    verdicts: npt.ArrayLike,
    *,
    replicates: int = REPLICATES,
    level: float = LEVEL,
    random_state: RandomState = 0,
) -> AnalogyIntervals:
    """Intervals of the accuracy on analogy questions, by drawing word pairs within relations.

    In a replicate as many word pairs of each relation are drawn as it has, with replacement. Where pair p came w[p]
    times, a question of the pairs p and q counts w[p] w[q] times; the accuracy is the sum of the right over the sum of
    the covered. Relations are kept as they are: the interval is for other words, not for other relations.

    Parameters
    ----------
    relations
        (q,) whole numbers: the relation of each question.
    pairs
        (q, 2) whole numbers: its two word pairs, x1:y1 and x2:y2 in x1:y1 :: x2:y2. What is numbered alike is one pair
        within a relation; relations are drawn apart.
    verdicts
        (q,) 1 right, 0 wrong, -1 not covered. What is not covered has no part in any of this: a pair counts as one of
        its relation if it is in a covered question.
    replicates
        How often to draw.
    level
        Share of the replicates between the ends of an interval.
    random_state
        Seed, or numpy's Generator. A seed gives the same intervals again, on the same machine and versions.

    Returns
    -------
    AnalogyIntervals
        Unknown where fewer than three word pairs are covered. Where all answers are right, or all wrong, every
        replicate is too, and the interval has no width: a percentile bootstrap cannot tell what it has not seen.

    Raises
    ------
    BadInput
        Shapes that do not go together, or `replicates`, `level` or `random_state` out of range.
    """
    generator = resampling.checked(replicates, level, random_state)
    relation, crossed, verdict = np.asarray(relations), np.asarray(pairs), np.asarray(verdicts)
    if verdict.ndim != 1 or relation.shape != verdict.shape or crossed.shape != (len(verdict), 2):
        raise BadInput(
            "a relation, two word pairs and a verdict a question are needed, not shapes "
            f"{relation.shape}, {crossed.shape} and {verdict.shape}"
        )
    accuracy, macro, distinct = resampling.accuracies(relation, crossed, verdict[None], replicates, generator)
    if distinct < FEWEST:
        return AnalogyIntervals(UNKNOWN, UNKNOWN)
    return AnalogyIntervals(percentiles(accuracy[0], level), percentiles(macro[0], level))


def correlation_interval(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    replicates: int = REPLICATES,
    level: float = LEVEL,
    random_state: RandomState = 0,
) -> CorrelationIntervals:
    """Intervals of Spearman's and Pearson's correlation, by drawing the pairs (x, y).

    Parameters
    ----------
    x, y
        (n,) finite numbers each; for a set of word pairs their scores and their cosines. Equal numbers share the mean
        of their ranks.
    replicates, level, random_state
        As for `analogy_interval`.

    Returns
    -------
    CorrelationIntervals
        Unknown for fewer than three pairs, or where x or y is constant. Replicates that draw a constant are left out.

    Raises
    ------
    BadInput
        `x` and `y` are not equally many finite numbers, or `replicates`, `level` or `random_state` is out of range.
    """
    generator = resampling.checked(replicates, level, random_state)
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise BadInput(f"x and y must be equally many numbers, not of shapes {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise BadInput("x and y must be finite numbers")
    if len(a) < FEWEST:
        return CorrelationIntervals(UNKNOWN, UNKNOWN)
    spearman, pearson = resampling.correlations(a, b[None], replicates, generator)
    return CorrelationIntervals(percentiles(spearman[0], level), percentiles(pearson[0], level))


def mean_interval(
    groups: npt.ArrayLike,
    values: npt.ArrayLike,
    *,
    replicates: int = REPLICATES,
    level: float = LEVEL,
    random_state: RandomState = 0,
) -> AnalogyIntervals:
    """Intervals of a mean, and of the mean of the groups' means, by drawing within groups.

    Parameters
    ----------
    groups
        (n,) whole numbers: which values belong together.
    values
        (n,) finite numbers, such as 1 for right and 0 for wrong.
    replicates, level, random_state
        As for `analogy_interval`.

    Returns
    -------
    AnalogyIntervals
        Of the mean of all values, and of the mean of the groups' means (`embedkit.evaluation.resampling.means`);
        unknown for fewer than three values.

    Raises
    ------
    BadInput
        `groups` and `values` are not equally many finite numbers, or `replicates`, `level` or `random_state` is out of
        range.
    """
    generator = resampling.checked(replicates, level, random_state)
    group, value = np.asarray(groups), np.asarray(values, dtype=np.float64)
    if group.ndim != 1 or group.shape != value.shape or not np.isfinite(value).all():
        raise BadInput(f"a group and a finite value each are needed, not shapes {group.shape} and {value.shape}")
    if len(value) < FEWEST:
        return AnalogyIntervals(UNKNOWN, UNKNOWN)
    micro, macro = resampling.means(group, value, replicates, generator)
    return AnalogyIntervals(percentiles(micro, level), percentiles(macro, level))


def percentiles(values: Doubles, level: float) -> Interval:
    """The middle of `values` (replicates,); replicates without a value are left out."""
    some = values[~np.isnan(values)]
    if not len(some):
        return UNKNOWN
    low, high = np.quantile(some, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Interval(low, high)
