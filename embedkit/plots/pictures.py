"""Many pictures in one: reconstructions, samples, lattices, strips, filters.

Pictures are arrays of shape (..., h, w), (..., c, h, w) or (..., h, w, c) with c of 1 or 3, or Images;
bytes go from 0 to 255, other numbers from 0 to 1 unless they lie outside, which is then scaled to fit.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput
from embedkit.plots.figures import DARK, LIGHT, Theme, text_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Pixels = npt.NDArray[np.float64]

DIFFERENCE = "RdBu_r"  # red for too much, blue for too little: told apart by all but a few
_LETTERS = 12.5  # of a title, in an inch
_INCH = 0.75  # of a small picture
_GAP = 0.06  # between two, as a share of their height


def pictures_of(data: Any, leading: int = 1) -> Pixels:
    """`data` as numbers from 0 to 1, (..., h, w) or (..., h, w, 3), with so many axes before.

    Raises
    ------
    BadInput
        They are no pictures, or not finite.
    """
    values = np.asarray(getattr(data, "pixels", data))
    if values.dtype.kind not in "biuf" or values.ndim not in (leading + 2, leading + 3) or 0 in values.shape:
        raise BadInput(
            f"pictures have {leading} axes before (h, w), (c, h, w) or (h, w, c); not {values.dtype} of {values.shape}"
        )
    made: Pixels = values.astype(np.float64) / (255 if values.dtype == np.uint8 else 1)
    if not np.isfinite(made).all():
        raise BadInput("a picture holds a number that is not finite")
    if made.ndim == leading + 3:
        if made.shape[leading] in (1, 3):
            made = np.moveaxis(made, leading, -1)
        if made.shape[-1] not in (1, 3):
            raise BadInput(f"pictures are grey or of three colours, not of {made.shape[-1]} channels")
        made = made[..., 0] if made.shape[-1] == 1 else made
    low, high = made.min(), made.max()
    return made if low >= 0 and high <= 1 else (made - low) / (high - low or 1)


def tiled(pictures: Pixels, columns: int, empty: float) -> Pixels:
    """(n, h, w) or (n, h, w, 3) pictures as one, row by row, with gaps of the value `empty` between them."""
    n, h, w = pictures.shape[:3]
    rows = -(-n // columns)
    gap = max(1, round(_GAP * h))
    whole = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap, *pictures.shape[3:]), empty)
    for number, picture in enumerate(pictures):
        top, left = number // columns * (h + gap), number % columns * (w + gap)
        whole[top : top + h, left : left + w] = picture
    return whole


def sheet(size: tuple[float, float], theme: Theme, title: str) -> Figure:
    """An empty figure with a title, whose frames find their places by themselves."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from embedkit.plots.told import ShownFigure

    figure = ShownFigure(figsize=size, facecolor=theme.paper, layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        lines = textwrap.wrap(text_of(title), max(12, int(size[0] * _LETTERS)))
        figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=11, color=theme.ink, parse_math=False)
    return figure


def bare(frame: Axes, theme: Theme) -> None:
    """Take off ticks and lines."""
    frame.set_facecolor(theme.paper)
    frame.set_xticks([])
    frame.set_yticks([])
    for spine in frame.spines.values():
        spine.set_visible(False)


def show(frame: Axes, picture: Pixels, theme: Theme) -> None:
    """Draw one picture, or a sheet of them, pixel by pixel."""
    bare(frame, theme)
    masked = np.ma.masked_invalid(picture)
    if picture.ndim == 3:
        solid = np.isfinite(picture).all(axis=2, keepdims=True).astype(float)
        frame.imshow(np.concatenate([np.nan_to_num(picture), solid], axis=2), interpolation="nearest")
        return
    frame.imshow(masked, cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def reconstructions(inputs: Any, outputs: Any, *, title: str = "", n: int = 10, dark: bool = False) -> Figure:
    """Draw pictures, what a model makes of them, and the difference, one above the other.

    Parameters
    ----------
    inputs, outputs
        As many pictures each; the first `n` are drawn. Below each stands its mean squared error.
    title
        By default, what is shown.
    n
        How many.
    dark
        Light on dark.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    BadInput
        They are no pictures, or not alike.
    """
    first, second = pictures_of(inputs), pictures_of(outputs)
    if first.shape != second.shape:
        raise BadInput(f"inputs {first.shape} and outputs {second.shape} are not alike")
    theme = DARK if dark else LIGHT
    first, second = first[:n], second[:n]
    gap = second - first
    errors = (gap**2).reshape(len(gap), -1).mean(axis=1)
    if gap.ndim == 4:
        gap = gap.mean(axis=3)
    figure = sheet(
        (1.9 + _INCH * len(first), 3.3), theme, title or "Input, reconstruction, and reconstruction less input"
    )
    frames = figure.subplots(3, 1)
    for frame, some, name in zip(frames, (first, second, gap), ("input", "output", "difference"), strict=True):
        if name == "difference":
            bare(frame, theme)
            most = float(np.abs(gap).max()) or 1.0
            seen = frame.imshow(tiled(gap, len(gap), np.nan), cmap=DIFFERENCE, vmin=-most, vmax=most)
            bar = figure.colorbar(seen, ax=frames, shrink=0.5, aspect=25, pad=0.01)
            bar.ax.tick_params(labelsize=8, colors=theme.ink)
            bar.set_label("difference", fontsize=8, color=theme.ink)
            bar.outline.set_visible(False)
        else:
            show(frame, tiled(some, len(some), np.nan), theme)
        frame.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9, color=theme.ink)
    height, width = gap.shape[1:3]
    step = width + max(1, round(_GAP * height))
    frames[2].set_xticks([step * j + (width - 1) / 2 for j in range(len(gap))], [f"{one:.4f}" for one in errors])
    frames[2].tick_params(labelsize=7, length=0, colors=theme.faint)
    frames[2].set_xlabel("mean squared error", fontsize=8, color=theme.faint)
    return figure


def picture_grid(
    pictures: Any,
    *,
    columns: int | None = None,
    captions: Sequence[object] | None = None,
    title: str = "",
    dark: bool = False,
) -> Figure:
    """Draw pictures row by row: samples, or the worst, or the best.

    Parameters
    ----------
    pictures
        n of them.
    columns
        In a row; `None` makes about a square.
    captions
        What is written below each.
    title, dark
        Written above; light on dark.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    BadInput
        They are no pictures, or there is not one caption each.
    """
    made = pictures_of(pictures)
    across = math.ceil(math.sqrt(len(made))) if columns is None else columns
    if across < 1 or (captions is not None and len(captions) != len(made)):
        raise BadInput(f"columns are 1 or more, and captions as many as the {len(made)} pictures")
    theme = DARK if dark else LIGHT
    down, ratio = -(-len(made) // across), made.shape[1] / made.shape[2]
    if captions is None:
        size = (0.3 + _INCH * across, 0.5 + _INCH * ratio * down)
        figure = sheet((max(size[0], 3.0), size[1]), theme, title or f"{len(made)} pictures")
        show(figure.subplots(), tiled(made, across, np.nan), theme)
        return figure
    figure = sheet((max(0.3 + 0.95 * across, 3.0), 0.5 + (0.95 * ratio + 0.25) * down), theme, title)
    frames = np.atleast_1d(figure.subplots(down, across)).ravel()
    for frame in frames[len(made) :]:
        bare(frame, theme)
    for frame, picture, caption in zip(frames, made, captions, strict=False):
        show(frame, picture, theme)
        frame.set_xlabel(text_of(caption), fontsize=7, color=theme.ink, parse_math=False)
    return figure


def lattice(
    pictures: Any, *, across: str = "unit 0", up: str = "unit 1", title: str = "", dark: bool = False
) -> Figure:
    """Draw what a model makes of a lattice of codes, as its ``lattice`` gives it.

    Parameters
    ----------
    pictures
        (m, n) of them, the top line first.
    across, up
        What changes from left to right, and from bottom to top.
    title, dark
        Written above; light on dark.

    Returns
    -------
    matplotlib.figure.Figure
    """
    made = pictures_of(pictures, leading=2)
    theme = DARK if dark else LIGHT
    down, wide = made.shape[:2]
    figure = sheet((1.0 + 0.45 * wide, 1.0 + 0.45 * down * made.shape[2] / made.shape[3]), theme,
                   title or "Decoded lattice of two units, the others at their mean")  # fmt: skip
    frame = figure.subplots()
    show(frame, tiled(made.reshape(-1, *made.shape[2:]), wide, np.nan), theme)
    frame.set_xlabel(f"{text_of(across)}  →", fontsize=9, color=theme.ink, parse_math=False)
    frame.set_ylabel(f"{text_of(up)}  →", fontsize=9, color=theme.ink, parse_math=False)
    return figure


def strips(
    pictures: Any,
    *,
    names: Sequence[object] | None = None,
    along: str = "",
    title: str = "",
    dark: bool = False,
) -> Figure:
    """Draw strips of pictures: interpolations between two, or what happens when one unit changes.

    Parameters
    ----------
    pictures
        (m, n) of them: m strips, as a model's ``interpolate`` and ``traverse`` give them.
    names
        Of the strips, written before them.
    along
        What changes from left to right.
    title, dark
        Written above; light on dark.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    BadInput
        They are no strips of pictures, or there is not one name each.
    """
    made = pictures_of(pictures, leading=2)
    down, wide = made.shape[:2]
    if names is not None and len(names) != down:
        raise BadInput(f"{len(names)} names for {down} strips")
    theme = DARK if dark else LIGHT
    ratio = made.shape[2] / made.shape[3]
    figure = sheet((max(1.2 + 0.62 * wide, 3.5), 0.8 + 0.62 * ratio * down), theme, title or f"{down} strips")
    frame = figure.subplots()
    show(frame, tiled(made.reshape(-1, *made.shape[2:]), wide, np.nan), theme)
    if names is not None:
        height = made.shape[2]
        step = height + max(1, round(_GAP * height))
        places = [step * i + (height - 1) / 2 for i in range(down)]
        frame.set_yticks(places, [text_of(name) for name in names], fontsize=8, color=theme.ink, parse_math=False)
        frame.tick_params(length=0)
    if along:
        frame.set_xlabel(text_of(along), fontsize=9, color=theme.ink, parse_math=False)
    return figure


def filters(weights: Any, *, columns: int | None = None, title: str = "", dark: bool = False) -> Figure:
    """Draw the filters of a first layer, each scaled to its own largest weight; grey is 0.

    Parameters
    ----------
    weights
        (n, c, h, w) or (n, h, w), or a fitted latent model: the weights of its encoder's first layer.
    columns, title, dark
        As for `picture_grid`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    BadInput
        The model's first layer does not look at pictures.
    """
    values = np.asarray(_first_layer(weights) if hasattr(weights, "encoder_") else weights, dtype=np.float64)
    if values.ndim == 4 and values.shape[1] not in (1, 3):
        values = values.reshape(-1, 1, *values.shape[2:])
    if values.ndim not in (3, 4):
        raise BadInput(f"filters have the shape (n, h, w) or (n, c, h, w), not {values.shape}")
    most = np.abs(values).reshape(len(values), -1).max(axis=1).reshape(-1, *(1,) * (values.ndim - 1))
    shown = 0.5 + 0.5 * values / np.where(most > 0, most, 1)
    told = f"{len(shown)} filters of the first layer (black negative, grey 0, white positive; each to its own scale)"
    return picture_grid(shown, columns=columns, title=title or told, dark=dark)


def _first_layer(model: Any) -> npt.NDArray[Any]:
    for layer in model.encoder_.modules():
        weight = getattr(layer, "weight", None)
        if weight is None or weight.dim() not in (2, 4):
            continue
        values: npt.NDArray[Any] = weight.detach().cpu().numpy()
        if values.ndim == 4:
            return values
        if len(model.kind_.shape) == 3 and values.shape[1] == model.kind_.size:
            return values.reshape(len(values), *model.kind_.shape)
        break
    raise BadInput("the first layer of this model's encoder does not look at pictures")
