"""How far an accuracy or a correlation may be off: percentile bootstrap intervals (Efron 1979, Ann. Statist. 7(1)).

What is resampled is what was sampled. The questions of a relation are its word pairs crossed with each other, so one
odd pair makes a whole row of questions wrong: questions drawn one by one would be taken for far more evidence than they
are, and the interval would come out several times too narrow. So word pairs are drawn, within their relations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput
from embedkit.kernels.exact import Doubles, Integers

RandomState: TypeAlias = int | np.random.Generator

FEWEST = 3  # word pairs below which no interval is given: two say next to nothing of how pairs differ
REPLICATES = 2000
LEVEL = 0.95
_AT_ONCE = 1 << 19  # counts drawn at a time: a few megabytes


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
    """Of the accuracy of all covered questions together, and of the mean of the relations' accuracies."""

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
    generator = _checked(replicates, level, random_state)
    relation, crossed, verdict = np.asarray(relations), np.asarray(pairs), np.asarray(verdicts)
    if verdict.ndim != 1 or relation.shape != verdict.shape or crossed.shape != (len(verdict), 2):
        raise BadInput(
            "a relation, two word pairs and a verdict a question are needed, not shapes "
            f"{relation.shape}, {crossed.shape} and {verdict.shape}"
        )
    covered = verdict >= 0
    relation, crossed, verdict = relation[covered], crossed[covered], verdict[covered]
    names = np.unique(relation)
    right, asked = np.zeros((2, len(names), replicates))
    distinct = 0
    for number, name in enumerate(names):
        here = relation == name
        known, members = np.unique(crossed[here], return_inverse=True)
        distinct += len(known)
        for part, counts in _drawn(len(known), replicates, generator):
            right[number, part], asked[number, part] = _sums(counts, members.reshape(-1, 2), verdict[here] > 0)
    if distinct < FEWEST:
        return AnalogyIntervals(UNKNOWN, UNKNOWN)
    shares = _divided(right, asked)
    # A relation of few pairs may lose all its questions in a replicate; the mean is then of the others.
    macro = _divided(np.nansum(shares, axis=0), np.isfinite(shares).sum(axis=0))
    accuracy = _divided(right.sum(axis=0), asked.sum(axis=0))
    return AnalogyIntervals(_percentiles(accuracy, level), _percentiles(macro, level))


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
    generator = _checked(replicates, level, random_state)
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise BadInput(f"x and y must be equally many numbers, not of shapes {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise BadInput("x and y must be finite numbers")
    if len(a) < FEWEST:
        return CorrelationIntervals(UNKNOWN, UNKNOWN)
    found = np.empty((2, replicates))
    for part, counts in _drawn(len(a), replicates, generator):
        found[:, part] = _correlations(counts, a, b)
    return CorrelationIntervals(_percentiles(found[0], level), _percentiles(found[1], level))


def scaled(x: Doubles) -> Doubles:
    """`x` (n,) moved and stretched to a mean of about 0 and a size of about 1, which no correlation feels."""
    # Without this, squares of very large or very small numbers overflow, or differences drown in a large mean. By a
    # power of two, so that numbers which differ still do.
    _, exponent = np.frexp(np.abs(x).max(initial=0))
    small: Doubles = np.ldexp(x, -exponent)
    return small - small.mean() if len(x) else small


def _checked(replicates: int, level: float, random_state: RandomState) -> np.random.Generator:
    if not isinstance(replicates, int | np.integer) or replicates < 1:
        raise BadInput(f"replicates must be 1 or more, not {replicates}")
    if not 0 < level < 1:
        raise BadInput(f"level must be between 0 and 1, such as 0.95, not {level}")
    try:
        return np.random.default_rng(random_state)
    except (TypeError, ValueError):
        raise BadInput(f"random_state must be a whole number, 0 or more, or a Generator, not {random_state}") from None


def _drawn(n: int, replicates: int, generator: np.random.Generator) -> Iterator[tuple[slice, Doubles]]:
    """Some replicates at a time, and how often each of `n` things was drawn in them: (some, n), rows adding up to n."""
    step = max(1, _AT_ONCE // max(n, 1))
    for start in range(0, replicates, step):
        part = slice(start, min(start + step, replicates))
        some = part.stop - start
        things = generator.integers(0, n, (some, n)) + n * np.arange(some)[:, None]
        yield part, np.bincount(things.ravel(), minlength=some * n).reshape(some, n).astype(np.float64)


def _sums(counts: Doubles, crossed: Integers, right: npt.NDArray[np.bool_]) -> tuple[Doubles, Doubles]:
    """How many questions are right and how many are asked in each replicate, both (replicates,).

    ``w^T R w`` and ``w^T C w``, with w a row of `counts` (replicates, m), and R and C (m, m) the right and all the
    questions by their two pairs `crossed` (q, 2). Sparse, since not every set crosses all its pairs; exact, since all
    are whole numbers.
    """
    from scipy import sparse

    m = counts.shape[1]
    weights = np.ascontiguousarray(counts.T)

    def form(chosen: npt.NDArray[np.bool_]) -> Doubles:
        first, second = crossed[chosen].T
        matrix = sparse.coo_array((np.ones(len(first)), (first, second)), shape=(m, m)).tocsr()
        total: Doubles = (weights * (matrix @ weights)).sum(axis=0)
        return total

    return form(right), form(np.ones_like(right))


def _correlations(counts: Doubles, x: Doubles, y: Doubles) -> Doubles:
    """Spearman's and Pearson's correlation where pair i came ``counts[r, i]`` times: (2, replicates)."""
    spearman = _pearson(counts, _ranks(counts, x), _ranks(counts, y))
    pearson = _pearson(counts, scaled(x), scaled(y))
    # Ranks are exact and tell a constant for certain; the differences from a rounded mean do not.
    return np.array([spearman, np.where(np.isnan(spearman), np.nan, pearson)])


def _ranks(counts: Doubles, x: Doubles) -> Doubles:
    """Ranks of `x` (n,) in each replicate, equal numbers sharing the mean of theirs: (replicates, n), from 1 up.

    Without sorting anew: numbers below, plus half of one more than those that are equal.
    """
    values, place = np.unique(x, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(values)))
    equal = np.add.reduceat(counts[:, order], starts, axis=1)
    ranks: Doubles = (np.cumsum(equal, axis=1) - equal + (equal + 1) / 2)[:, place]
    return ranks


def _pearson(counts: Doubles, x: Doubles, y: Doubles) -> Doubles:
    """Pearson's correlation of `x` and `y`, (n,) or (replicates, n), weighted by `counts`; NaN where there is none."""
    n = counts.shape[1]
    dx, dy = (z - (counts * z).sum(axis=1, keepdims=True) / n for z in (x, y))
    wx, wy = counts * dx, counts * dy
    with np.errstate(invalid="ignore", divide="ignore"):
        r: Doubles = (wx * dy).sum(axis=1) / (np.sqrt((wx * dx).sum(axis=1)) * np.sqrt((wy * dy).sum(axis=1)))
    r[~np.isfinite(r)] = np.nan
    return np.clip(r, -1, 1)


def _divided(parts: Doubles, wholes: npt.NDArray[Any]) -> Doubles:
    """``parts / wholes``, NaN where there is no whole."""
    shares: Doubles = np.divide(parts, wholes, out=np.full(parts.shape, np.nan), where=wholes > 0)
    return shares


def _percentiles(values: Doubles, level: float) -> Interval:
    """The middle of `values` (replicates,); replicates without a value are left out."""
    some = values[~np.isnan(values)]
    if not len(some):
        return UNKNOWN
    low, high = np.quantile(some, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Interval(low, high)
