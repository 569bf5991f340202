"""What a column looks like in a picture: classes with a colour each, or numbers along a scale."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.errors import BadInput, printable

# Told apart on white and on black, the first eight by those who see few colours, too (after Okabe & Ito 2008).
PALETTE = (
    "#2f7ed8", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#a08c00", "#8562c4", "#7a9a3a", "#c2554f",
    "#1aa3a3", "#b07aa1", "#8c6d46", "#4f9d5d", "#e377c2", "#6b7fd7", "#bcbd22", "#d1884f", "#5c8a99", "#a0526d",
)  # fmt: skip
REST = "#999999"
SCALE = "viridis"
MOST = len(PALETTE)


class Classes(NamedTuple):
    """A column as classes.

    Attributes
    ----------
    names
        Of the classes, in the order in which they are shown.
    codes
        (n,) int64, the class of each row.
    colours
        One a class.
    """

    names: list[str]
    codes: npt.NDArray[np.int64]
    colours: list[str]


def column(embedding: Embedding, name: str) -> npt.NDArray[np.generic]:
    """The column called `name`.

    Raises
    ------
    BadInput
        There is none; the message names those that there are.
    """
    if name not in embedding.columns:
        known = ", ".join(map(printable, embedding.columns)) or "none"
        raise BadInput(f"no column '{printable(name)}' to colour by; there are: {known}")
    return embedding.columns[name]


def is_classes(values: npt.NDArray[np.generic]) -> bool:
    """Whether a column is shown as classes: texts, booleans, and whole numbers of which few are distinct."""
    return values.dtype.kind in "bU" or (values.dtype.kind in "iu" and len(np.unique(values)) <= MOST)


def as_classes(values: npt.NDArray[np.generic], most: int = MOST) -> Classes:
    """A column as classes in their natural order; beyond `most`, the small ones together as the rest.

    The empty text is no class: it is shown in the colour of the rest.

    Examples
    --------
    >>> made = as_classes(np.array(["cat", "dog", "cat", "eel"]), most=2)
    >>> made.names, made.codes.tolist(), made.colours[1] == REST
    (['cat', '2 others'], [0, 1, 0, 1], True)
    """
    known, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    names = [str(name) for name in known.tolist()]
    if len(names) > most:
        kept = np.sort(np.argsort(-counts, kind="stable")[: most - 1])
        place = np.full(len(names), most - 1)
        place[kept] = np.arange(most - 1)
        codes = place[codes]
        names = [names[j] for j in kept.tolist()] + [f"{len(names) - most + 1:,} others"]
        colours = [*_colours(names[:-1]), REST]
    else:
        colours = _colours(names)
    return Classes(names, codes.astype(np.int64), colours)


def _colours(names: list[str]) -> list[str]:
    free = iter(PALETTE)
    return [next(free) if name else REST for name in names]
