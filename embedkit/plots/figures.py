"""Figures of matplotlib without its global state: made, given back, and saved whole."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput, printable
from embedkit.files.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Kind = TypeVar("_Kind", bound="Figure")

ENDINGS = {".png": "png", ".svg": "svg", ".pdf": "pdf", ".jpg": "jpg", ".jpeg": "jpg", ".webp": "webp"}


class Theme(NamedTuple):
    """Colours of what is no data."""

    paper: str
    ink: str
    faint: str


LIGHT = Theme("#ffffff", "#1d2430", "#8b94a3")
DARK = Theme("#12161d", "#e6e9ef", "#79828f")


def new_figure(kind: type[_Kind], size: tuple[float, float], theme: Theme, **axes: Any) -> tuple[_Kind, Axes]:
    """A figure with one frame, of `size` in inches; it belongs to nobody and is never shown by itself."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = kind(figsize=size, facecolor=theme.paper)
    FigureCanvasAgg(figure)
    frame = figure.add_subplot(facecolor=theme.paper, **axes)
    return figure, frame


def set_limits(frame: Any, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> None:
    """Show from `low` to `high`, (2,) each, and as much more as makes one unit equally long along both axes."""
    box, size = frame.get_position(), frame.figure.get_size_inches()
    inches = np.array([box.width * size[0], box.height * size[1]])
    unit = float(((high - low) / inches).max())
    middle, half = (low + high) / 2, unit * inches / 2
    frame.set_xlim(middle[0] - half[0], middle[0] + half[0])
    frame.set_ylim(middle[1] - half[1], middle[1] + half[1])
    frame.set_aspect("equal", adjustable="datalim")


def text_of(label: object) -> str:
    """A label as text that a picture can hold: what does not print is escaped."""
    return printable(str(label))


def save_figure(figure: Figure, path: str | os.PathLike[str], *, dpi: int = 150) -> None:
    """Save a figure, all or nothing; the same figure gives the same bytes.

    Parameters
    ----------
    figure
        Of matplotlib.
    path
        The file; its ending says the format: .png, .svg, .pdf, .jpg or .webp.
    dpi
        Pixels an inch, for formats of pixels.

    Raises
    ------
    BadInput
        The ending says another format or none.
    BadFile
        The file cannot be written.

    Warns
    -----
    UserWarning
        The font lacks some of the characters; they are drawn as boxes.
    """
    format_ = picture_format(path)
    # What would differ from run to run: dates, and names that SVG gives its parts.
    when = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(format_)
    from matplotlib import rc_context

    held = io.BytesIO()
    with warnings.catch_warnings(record=True) as caught, rc_context({"svg.hashsalt": "embedkit"}):
        warnings.simplefilter("always")
        figure.savefig(held, format=format_, dpi=dpi, facecolor=figure.get_facecolor(), metadata=when)
    lacking = {str(warning.message) for warning in caught if "missing from font" in str(warning.message)}
    if lacking:
        text = f"the font lacks {len(lacking)} of the characters, which are drawn as boxes"
        warnings.warn(text, UserWarning, stacklevel=2)
    with replacing(path) as stream:
        stream.write(held.getvalue())


def picture_format(path: str | os.PathLike[str]) -> str:
    """The format that the ending of a picture's name says.

    Raises
    ------
    BadInput
        It says none.
    """
    ending = PurePath(path).suffix.lower()
    if ending not in ENDINGS:
        raise BadInput(f"{printable(str(path))} does not end as pictures do: {', '.join(ENDINGS)}")
    return ENDINGS[ending]
