"""The threshold on one number that best tells a class from all others: exact, by sorting.

A threshold is judged by balanced accuracy, the mean of the share of the class that lies on its side and the share of
the others that lies on the other. With P of the class and N others, of which p and q lie at or below the threshold, it
is 1/2 + (q / N - p / P) / 2 where the class is above, and 1 less that where it is below. So one pass over the sorted
numbers gives every threshold there is, both ways, for all classes at once; in whole numbers, so that ties are ties.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.kernels.exact import Doubles, Integers


class Thresholds(NamedTuple):
    """Of each of k units and C classes, all (k, C): what tells the class best where it is above or below.

    `threshold` float64 with `sign` int64: a row is of the class where ``sign * (value - threshold) > 0`` (for a sign of
    -1 at the threshold itself too). `accuracy` is the balanced accuracy on the rows it was chosen on, 1/2 or more; NaN
    for a class that all rows are of, or none.
    """

    threshold: Doubles
    sign: Integers
    accuracy: Doubles


def best_thresholds(values: npt.NDArray[Any], classes: Integers, n_classes: int) -> Thresholds:
    """The best threshold and side of every unit for every class; of equally good ones the lowest.

    Parameters
    ----------
    values
        (n, k) finite numbers.
    classes
        (n,) from 0 to `n_classes` - 1.
    n_classes
        C.

    Returns
    -------
    Thresholds
        Thresholds lie halfway between two neighbouring values. A unit of one value only tells nothing: its threshold
        is that value, its accuracy 1/2.
    """
    n, k = values.shape
    inside = np.bincount(classes, minlength=n_classes).astype(np.int64)
    outside = n - inside
    member = classes == np.arange(n_classes)[:, None]
    found = Thresholds(np.zeros((k, n_classes)), np.ones((k, n_classes), np.int64), np.full((k, n_classes), 0.5))
    every = np.arange(n_classes)
    for unit in range(k):
        column = np.ascontiguousarray(values[:, unit])
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        cuts = np.flatnonzero(ordered[1:] != ordered[:-1])  # a threshold lies between unequal neighbours only
        if not len(cuts):
            found.threshold[unit] = ordered[0] if n else 0.0
            continue
        below = np.cumsum(member[:, order], axis=1, dtype=np.int64)
        # q P - p N, the excess of the others at or below the threshold, as a whole number; p + q are the rows there.
        excess = inside[:, None] * (cuts + 1) - n * (below if len(cuts) == n - 1 else below[:, cuts])[:, : len(cuts)]
        highest, lowest = excess.argmax(axis=1), excess.argmin(axis=1)
        top, bottom = excess[every, highest], excess[every, lowest]
        above = top >= -bottom
        low = ordered[cuts].astype(np.float64)
        high = ordered[cuts + 1].astype(np.float64)
        middle = low + (high - low) / 2
        middle = np.where(middle < high, middle, low)
        found.threshold[unit] = middle[np.where(above, highest, lowest)]
        found.sign[unit] = np.where(above, 1, -1)
        found.accuracy[unit] += np.maximum(top, -bottom) / np.maximum(inside * outside, 1) / 2
    found.accuracy[:, inside * outside == 0] = np.nan
    return found


def decided(
    values: npt.NDArray[Any], threshold: npt.NDArray[np.float64], sign: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Whether each of `values` (n, m) is on the side of its column's threshold (m,) that `sign` (m,) says."""
    above = values.astype(np.float64) > threshold
    found: npt.NDArray[np.bool_] = above == (sign > 0)
    return found


def balanced_accuracies(decisions: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_], weights: Doubles) -> Doubles:
    """Balanced accuracy of `decisions` (n, m) on `truth` (n, m), once for each row of `weights` (r, n): (r, m).

    Weights say how often a row counts; NaN where a weighting has no rows of a class, or none of the others.
    """
    yes, right_yes = weights @ truth, weights @ (truth & decisions)
    no, right_no = weights @ ~truth, weights @ ~(truth | decisions)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares: Doubles = (right_yes / yes + right_no / no) / 2
    return shares
