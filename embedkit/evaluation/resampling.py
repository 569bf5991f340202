"""The bootstrap's replicates (Efron 1979, Ann. Statist. 7(1)): what is resampled is what was sampled.

The questions of a relation are its word pairs crossed with each other, so one odd pair makes a whole row of questions
wrong: questions drawn one by one would be taken for far more evidence than they are, and the interval would come out
several times too narrow. So word pairs are drawn, within their relations. Where two Embeddings are compared, both are
judged by the same draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput
from embedkit.kernels.exact import Doubles, Integers

RandomState: TypeAlias = int | np.random.Generator

REPLICATES = 2000
LEVEL = 0.95
_AT_ONCE = 1 << 19  # counts drawn at a time: a few megabytes


def checked(replicates: int, level: float, random_state: RandomState) -> np.random.Generator:
    """The generator that `random_state` stands for.

    Raises
    ------
    BadInput
        `replicates`, `level` or `random_state` is out of range.
    """
    if not isinstance(replicates, int | np.integer) or replicates < 1:
        raise BadInput(f"replicates must be 1 or more, not {replicates}")
    if not 0 < level < 1:
        raise BadInput(f"level must be between 0 and 1, such as 0.95, not {level}")
    try:
        return np.random.default_rng(random_state)
    except (TypeError, ValueError):
        raise BadInput(f"random_state must be a whole number, 0 or more, or a Generator, not {random_state}") from None


def accuracies(
    relation: Integers, crossed: Integers, verdicts: npt.NDArray[Any], replicates: int, generator: np.random.Generator
) -> tuple[Doubles, Doubles, int]:
    """Accuracies of s Embeddings on the same questions in each replicate, which draws word pairs within relations.

    Parameters
    ----------
    relation
        (q,) relation of each question.
    crossed
        (q, 2) its two word pairs, numbered.
    verdicts
        (s, q) 1 right, 0 wrong, -1 not covered. A pair is drawn if it is in a question that one of the s covers.
    replicates, generator
        How often to draw, and by what.

    Returns
    -------
    accuracy : ndarray of shape (s, replicates)
        The right of the covered questions, each counted as often as its two pairs were drawn together; NaN where none
        came.
    macro : ndarray of shape (s, replicates)
        The mean of the relations' accuracies. A relation of few pairs may lose all its questions in a replicate; the
        mean is then of the others.
    distinct : int
        How many word pairs there were to draw from.
    """
    covered = (verdicts >= 0).any(axis=0)
    relation, crossed, verdicts = relation[covered], crossed[covered], verdicts[:, covered]
    names = np.unique(relation)
    right, asked = np.zeros((2, len(verdicts), len(names), replicates))
    distinct = 0
    for number, name in enumerate(names):
        here = relation == name
        known, members = np.unique(crossed[here], return_inverse=True)
        distinct += len(known)
        for part, counts in drawn(len(known), replicates, generator):
            for one, verdict in enumerate(verdicts[:, here]):
                right[one, number, part], asked[one, number, part] = _sums(
                    counts, members.reshape(-1, 2)[verdict >= 0], verdict[verdict >= 0] > 0
                )
    shares = divided(right, asked)
    macro = divided(np.nansum(shares, axis=1), np.isfinite(shares).sum(axis=1))
    return divided(right.sum(axis=1), asked.sum(axis=1)), macro, distinct


def correlations(x: Doubles, ys: Doubles, replicates: int, generator: np.random.Generator) -> Doubles:
    """Correlations of `x` with each of s others in each replicate, which draws pairs.

    Parameters
    ----------
    x
        (n,) finite numbers.
    ys
        (s, n) others; NaN where a pair is not covered, which leaves it out of the correlations with that one.
    replicates, generator
        How often to draw, and by what.

    Returns
    -------
    ndarray of shape (2, s, replicates)
        Spearman's, and Pearson's; NaN where a replicate has only a constant.
    """
    found = np.full((2, len(ys), replicates), np.nan)
    if not len(x):
        return found
    covered = np.isfinite(ys)
    for part, counts in drawn(len(x), replicates, generator):
        for one, y in enumerate(ys):
            kept = covered[one]
            found[:, one, part] = _correlations(counts[:, kept], x[kept], y[kept])
    return found


def means(group: Integers, values: Doubles, replicates: int, generator: np.random.Generator) -> tuple[Doubles, Doubles]:
    """Mean of `values` (n,), and mean of the groups' means, in each replicate of a generator's; both (replicates,).

    One less than a group has is drawn from it, which makes the variance of its mean right where groups are small (Rao
    and Wu 1988, JASA 83(401)). A group of one cannot vary.
    """
    totals = np.zeros((2, replicates))
    names, sizes = np.unique(group, return_counts=True)
    for name, size in zip(names, sizes, strict=True):
        here = values[group == name]
        for part, counts in drawn(size, replicates, generator, max(size - 1, 1)):
            mean = counts @ here / max(size - 1, 1)
            totals[0, part] += mean * (size / len(values))
            totals[1, part] += mean / len(names)
    return totals[0], totals[1]


def drawn(
    n: int, replicates: int, generator: np.random.Generator, size: int | None = None
) -> Iterator[tuple[slice, Doubles]]:
    """Some replicates at a time, and how often each of `n` things was drawn in them: (some, n).

    `size` things are drawn in each, `n` by default, with replacement.
    """
    size = n if size is None else size
    step = max(1, _AT_ONCE // max(n, 1))
    for start in range(0, replicates, step):
        part = slice(start, min(start + step, replicates))
        some = part.stop - start
        things = generator.integers(0, n, (some, size)) + n * np.arange(some)[:, None]
        yield part, np.bincount(things.ravel(), minlength=some * n).reshape(some, n).astype(np.float64)


def scaled(x: Doubles) -> Doubles:
    """`x` (n,) moved and stretched to a mean of about 0 and a size of about 1, which no correlation feels."""
    # Without this, squares of very large or very small numbers overflow, or differences drown in a large mean. By a
    # power of two, so that numbers which differ still do.
    _, exponent = np.frexp(np.abs(x).max(initial=0))
    small: Doubles = np.ldexp(x, -exponent)
    return small - small.mean() if len(x) else small


def divided(parts: Doubles, wholes: npt.NDArray[Any]) -> Doubles:
    """``parts / wholes``, NaN where there is no whole."""
    shares: Doubles = np.divide(parts, wholes, out=np.full(parts.shape, np.nan), where=wholes > 0)
    return shares


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
    if not len(x):
        return np.full((2, len(counts)), np.nan)
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
    n = counts.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        dx, dy = (z - (counts * z).sum(axis=1, keepdims=True) / n for z in (x, y))
        wx, wy = counts * dx, counts * dy
        r: Doubles = (wx * dy).sum(axis=1) / (np.sqrt((wx * dx).sum(axis=1)) * np.sqrt((wy * dy).sum(axis=1)))
    r[~np.isfinite(r)] = np.nan
    return np.clip(r, -1, 1)
