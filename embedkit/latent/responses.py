"""What a unit responds to: the rows that excite it most, and whether it keeps responding when pictures are moved.

The test of invariance is that of Le, Ranzato et al. (2011, arXiv:1112.6209): pictures are shifted, turned and scaled,
and the unit, its side and its threshold stay as they were chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput
from embedkit.kernels.exact import Doubles, Integers
from embedkit.kernels.thresholds import balanced_accuracies, decided
from embedkit.latent.data import array_of, is_images
from embedkit.latent.units import ConceptUnit, codes_of

if TYPE_CHECKING:
    import pandas as pd

# How much pictures are changed by default: pixels, degrees, and times.
CHANGES: Mapping[str, tuple[float, ...]] = {
    "shift right": (-6, -4, -2, -1, 0, 1, 2, 4, 6),
    "shift down": (-6, -4, -2, -1, 0, 1, 2, 4, 6),
    "turn": (-60, -40, -20, -10, 0, 10, 20, 40, 60),
    "scale": (0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.5),
}
_NOTHING = {"shift right": 0.0, "shift down": 0.0, "turn": 0.0, "scale": 1.0}
_TINY = 1e-300


class TopRows(NamedTuple):
    """The rows that excite some units most: their numbers, (units, n), the strongest first, and activations."""

    rows: Integers
    activations: Doubles


def top_rows(model: Any, rows: Any, units: Sequence[int], signs: Sequence[int] | None = None, *, n: int = 9) -> TopRows:
    """The rows with the highest activation of each unit; with a sign of -1, the lowest.

    Parameters
    ----------
    model
        What has `transform` and is fitted.
    rows
        Rows as it takes them.
    units
        Numbers of units.
    signs
        1 or -1 for each; `None` for all 1.
    n
        How many, or as many as there are. Of equally strong ones the earlier.

    Raises
    ------
    BadInput
        There is no such unit, or there is not one sign each.
    """
    codes = codes_of(model, rows).astype(np.float64)
    wanted, sides = checked_units(units, signs, codes.shape[1])
    if n < 1:
        raise BadInput(f"n is a number of rows, 1 or more, not {n}")
    strength = codes[:, wanted] * sides
    order = np.argsort(-strength, axis=0, kind="stable")[:n].T
    return TopRows(order, np.take_along_axis(codes[:, wanted].T, order, axis=1))


def checked_units(units: Sequence[int], signs: Sequence[int] | None, width: int) -> tuple[Integers, Integers]:
    """Numbers of units and their signs as arrays; refuses those that there are not."""
    wanted = np.asarray(units)
    if wanted.ndim != 1 or not len(wanted) or not np.issubdtype(wanted.dtype, np.integer):
        raise BadInput("units are a list of whole numbers, at least one")
    if wanted.min() < 0 or wanted.max() >= width:
        raise BadInput(
            f"there are the units 0 to {width - 1}, not {wanted.max() if wanted.min() >= 0 else wanted.min()}"
        )
    sides = np.ones(len(wanted), np.int64) if signs is None else np.asarray(signs)
    if sides.shape != wanted.shape or not np.isin(sides, (-1, 1)).all():
        raise BadInput("signs are 1 or -1, one for each unit")
    return wanted.astype(np.int64), sides.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Invariance:
    """What `invariance` measured of C units under each change by m amounts.

    Attributes
    ----------
    units
        The units, one a concept.
    amounts
        Name of the change to its amounts, (m,).
    accuracy
        ... to the balanced accuracy when all pictures are changed so, (m, C).
    accepted
        ... to the share of the concept's pictures that the unit still accepts, (m, C).
    response
        ... to the mean activation on the concept's pictures, in standard deviations from the mean of all unchanged
        pictures, counted towards the unit's side, (m, C).
    """

    units: tuple[ConceptUnit, ...]
    amounts: Mapping[str, Doubles]
    accuracy: Mapping[str, Doubles]
    accepted: Mapping[str, Doubles]
    response: Mapping[str, Doubles]

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame with a row for each change, amount and unit."""
        import pandas as pd

        rows = [
            (change, amount, unit.concept, unit.unit, *(float(kind[change][i, j]) for kind in
             (self.accuracy, self.accepted, self.response)))
            for change, some in self.amounts.items()
            for i, amount in enumerate(some.tolist())
            for j, unit in enumerate(self.units)
        ]  # fmt: skip
        names = ["change", "amount", "concept", "unit", "accuracy", "accepted", "response"]
        return pd.DataFrame(rows, columns=names)


def invariance(
    model: Any,
    pictures: Any,
    classes: npt.ArrayLike,
    units: Sequence[ConceptUnit],
    *,
    changes: Mapping[str, Sequence[float]] = CHANGES,
    background: float = 0.0,
) -> Invariance:
    """How the response of units survives shifts, turns and scaling.

    Parameters
    ----------
    model
        The model that the units are of.
    pictures
        `embedkit.images.Images`, or an array of shape (n, h, w) or (n, c, h, w), that had no part in choosing them.
    classes
        The concept of each picture.
    units
        As `UnitReport.of` gives them.
    changes
        Amounts of ``"shift right"``, ``"shift down"`` (pixels), ``"turn"`` (degrees, clockwise) and ``"scale"``.
    background
        What comes in from outside the picture.

    Raises
    ------
    BadInput
        There is no such change, rows are no pictures, or a unit's concept is not among the classes.
    """
    names = np.asarray(classes).astype(str)
    strange = set(changes) - set(_NOTHING)
    if strange:
        raise BadInput(f"there is no change '{sorted(strange)[0]}'; there are: {', '.join(_NOTHING)}")
    concepts = np.array([unit.concept for unit in units])
    if not len(units) or any(unit.unit < 0 for unit in units):
        raise BadInput("units are needed that are single ones: neither a linear probe nor a guess")
    truth = names[:, None] == concepts
    if not truth.any(axis=0).all():
        raise BadInput(f"no picture is of concept '{concepts[~truth.any(axis=0)][0]}'")
    numbers, sign = np.array([unit.unit for unit in units]), np.array([unit.sign for unit in units])
    threshold = np.array([unit.threshold for unit in units])
    still = codes_of(model, pictures)[:, numbers].astype(np.float64)
    mean, deviation = still.mean(axis=0), np.maximum(still.std(axis=0), _TINY)
    found: dict[str, list[Doubles]] = {change: [] for change in changes}
    one = np.ones((1, len(names)))
    for change, amounts in changes.items():
        for amount in amounts:
            moved = changed(pictures, **{change.replace(" ", "_"): amount}, background=background)
            codes = codes_of(model, moved)[:, numbers].astype(np.float64)
            said = decided(codes, threshold, sign)
            shares = (said & truth).sum(axis=0) / truth.sum(axis=0)
            response = ((codes - mean) / deviation * sign * truth).sum(axis=0) / truth.sum(axis=0)
            found[change].append(np.stack([balanced_accuracies(said, truth, one)[0], shares, response]))
    stacked = {change: np.stack(some, axis=1) for change, some in found.items()}
    return Invariance(
        tuple(units),
        {change: np.asarray(amounts, dtype=np.float64) for change, amounts in changes.items()},
        *({change: three[kind] for change, three in stacked.items()} for kind in range(3)),
    )


def changed(
    pictures: Any,
    *,
    shift_right: float = 0.0,
    shift_down: float = 0.0,
    turn: float = 0.0,
    scale: float = 1.0,
    background: float = 0.0,
) -> Any:
    """Pictures turned clockwise by degrees and scaled around their middle, then shifted by pixels.

    Parameters
    ----------
    pictures
        `embedkit.images.Images`, or an array of shape (n, h, w) or (n, c, h, w); what is given is what comes back.
    shift_right, shift_down, turn, scale
        How much.
    background
        What comes in from outside. Between pixels, values are interpolated linearly.
    """
    from scipy.ndimage import affine_transform

    if not scale > 0:
        raise BadInput(f"scale is above 0, not {scale}")
    images, array = is_images(pictures), array_of(pictures)
    if array.ndim not in (3, 4):
        raise BadInput(f"pictures have the shape (n, h, w) or (n, c, h, w), not {array.shape}")
    rows, columns = (1, 2) if array.ndim == 3 or images else (2, 3)
    angle = np.deg2rad(turn)
    # From a place in the new picture to the one it comes from; rows count downwards, so that this turns clockwise.
    back = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    middle = (np.array([array.shape[rows], array.shape[columns]]) - 1) / 2
    matrix, offset = np.eye(array.ndim), np.zeros(array.ndim)
    matrix[np.ix_((rows, columns), (rows, columns))] = back
    offset[[rows, columns]] = middle - back @ (middle + np.array([shift_down, shift_right]))
    whole = array.dtype.kind != "f"
    moved = affine_transform(array.astype(np.float32) if whole else array, matrix, offset, order=1, cval=background)
    moved = np.rint(moved).astype(array.dtype) if whole else moved
    if not images:
        return moved
    return type(pictures)(moved, pictures.classes, pictures.labels, pictures.provenance)
