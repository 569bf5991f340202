"""A map as a picture: points or, where there are very many, their density; labels that do not collide; a legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.errors import BadInput
from embedkit.plots.colours import MOST, REST, SCALE, Classes, as_classes, column, is_classes
from embedkit.plots.figures import DARK, LIGHT, Theme, new_figure, set_limits, text_of
from embedkit.plots.labels import write_beside

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from embedkit.plots.told import MapFigure

DENSE = 30_000  # points beyond which they are counted and not drawn
_ALL_LABELLED = 60  # points up to which each has its label
_PIXELS = 700  # along the wider side of a density


def scatter_map(
    embedding: Embedding,
    *,
    colour: str | None = None,
    notable: Sequence[str] | int | None = None,
    title: str = "",
    caption: str = "",
    size: tuple[float, float] = (8.0, 6.5),
    dark: bool = False,
    density: bool | None = None,
    axes: Axes | None = None,
) -> MapFigure:
    """Draw a map.

    Parameters
    ----------
    embedding
        n points of 2 or 3 dimensions.
    colour
        Column to colour by: classes (texts, booleans, up to 20 distinct whole numbers) get a legend, numbers a scale
        (what is missing or infinite is grey).
    notable
        Labels to write beside their points (which get a ring), or how many from the first row on. By default all where
        there are at most 60, else none. A label that finds no free place is left out.
    title, caption
        Written above and below.
    size
        Width and height in inches. Labels do not collide in a figure of this size; at any resolution.
    dark
        Light on dark.
    density
        Whether to show how many points lie where instead of points; by default beyond 30,000. In a density coloured by
        classes each place has the mixture of their colours, by numbers the mean of those that are known. A map of 3
        dimensions has none.
    axes
        Of a figure of your own, to draw into; for a map of 3 dimensions made with ``projection="3d"``. `size` then says
        nothing, and a legend stands to the right of them: a figure with ``layout="constrained"`` leaves room for it.

    Returns
    -------
    MapFigure
        A `matplotlib.figure.Figure`, made without pyplot: it is in no list of open figures, and ends when you let go of
        it. Its ``left_out`` are the labels that found no free place. With `axes`, the figure that they are of, which
        has them too.

    Raises
    ------
    BadInput
        The map has not 2 or 3 dimensions or no points, there is no such column, a density of 3 dimensions is wanted, or
        `axes` have other dimensions.
    UnknownWord
        A notable label is not in the map.

    Examples
    --------
    >>> emb = Embedding(["a", "b", "c"], [[0, 0], [1, 0], [0, 1]], columns={"kind": ["x", "y", "x"]})
    >>> figure = scatter_map(emb, colour="kind")
    >>> sorted(text.get_text() for text in figure.axes[0].texts), figure.left_out
    (['a', 'b', 'c'], [])
    """
    from embedkit.plots.told import MapFigure

    check_map(embedding)
    values = None if colour is None else column(embedding, colour)
    flat = embedding.width == 2
    dense = len(embedding) > DENSE and flat if density is None else density
    if dense and not flat:
        raise BadInput("a density is of maps of 2 dimensions: this one has 3")
    rows = _notable_rows(embedding, notable)
    theme = DARK if dark else LIGHT
    whole: MapFigure | None = None  # the figure, where it is laid out here
    frame: Any = axes
    if axes is None:
        whole, frame = new_figure(MapFigure, size, theme, **({} if flat else {"projection": "3d"}))
    elif flat is hasattr(axes, "zaxis"):
        raise BadInput(f"a map of {embedding.width} dimensions was given with axes of {5 - embedding.width}")
    else:
        axes.set_facecolor(theme.paper)
    points = embedding.vectors.astype(np.float64)
    classes = as_classes(values) if values is not None and is_classes(values) else None
    _set_up(whole, frame, points, theme, title, caption, legend=values is not None or dense)
    if dense:
        _draw_density(whole, frame, points, values, classes, colour, theme)
    else:
        _draw_points(whole, frame, points, values, classes, colour, theme)
    if classes is not None:
        _legend(whole, frame, classes, colour or "", theme)
    if rows:
        faces: Any = "none" if classes is None else [classes.colours[classes.codes[row]] for row in rows]
        frame.scatter(*points[rows].T, s=24, facecolors=faces, edgecolors=theme.ink, linewidths=0.7, zorder=5)
    seen = _seen(frame, points)
    left_out = write_beside(frame, seen[rows], [embedding.labels[row] for row in rows], theme, under=seen)
    figure: MapFigure = frame.figure.figure  # of a part of a figure, the whole
    figure.left_out = [embedding.labels[rows[j]] for j in left_out]
    return figure


def check_map(embedding: Embedding) -> None:
    """Refuse what is no map."""
    if embedding.width not in (2, 3):
        raise BadInput(f"a picture is of 2 or 3 dimensions, not {embedding.width}: project first, as in PCA(2)")
    if not len(embedding):
        raise BadInput("the map has no points")


def _notable_rows(embedding: Embedding, notable: Sequence[str] | int | None) -> list[int]:
    if notable is None:
        notable = len(embedding) if len(embedding) <= _ALL_LABELLED else 0
    if isinstance(notable, int):
        if notable < 0:
            raise BadInput(f"notable is a list of labels or a number of 0 or more, not {notable}")
        return list(range(min(notable, len(embedding))))
    rows: list[int] = embedding.rows(dict.fromkeys(notable)).tolist()
    return rows


def _set_up(
    figure: Figure | None, frame: Any, points: npt.NDArray[np.float64], theme: Theme, title: str, caption: str, *,
    legend: bool,
) -> None:  # fmt: skip
    if figure is not None:
        lines = caption.count("\n") + 1 if caption else 0
        height = figure.get_size_inches()[1]
        figure.subplots_adjust(
            left=0.02, right=0.8 if legend else 0.98, bottom=0.02 + 0.16 * lines / height, top=0.93 if title else 0.98
        )
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.maximum((high - low) * 0.04, 1e-9 + np.abs(high) * 1e-6)
    frame.set_xticks([])
    frame.set_yticks([])
    if points.shape[1] == 2 and figure is not None:
        set_limits(frame, low - room, high + room)
    elif points.shape[1] == 2:  # how large they will be, only the figure's layout says
        frame.set(xlim=(low[0] - room[0], high[0] + room[0]), ylim=(low[1] - room[1], high[1] + room[1]))
        frame.set_aspect("equal", adjustable="box")
    else:
        frame.set_zticks([])
        frame.set_box_aspect(high - low + 2 * room)
        for axis in (frame.xaxis, frame.yaxis, frame.zaxis):
            axis.pane.set_visible(False)
            axis.line.set_color(theme.faint)
    for spine in frame.spines.values():
        spine.set_color(theme.faint)
        spine.set_linewidth(0.5)
    if title:
        frame.set_title(text_of(title), color=theme.ink, loc="left", fontsize=11, parse_math=False)
    if caption:
        shown = "\n".join(map(text_of, caption.split("\n")))
        style: dict[str, Any] = {"color": theme.faint, "fontsize": 7, "parse_math": False}
        if figure is not None:
            figure.text(0.02, 0.01, shown, va="bottom", **style)
        else:
            frame.annotate(shown, (0, -0.01), xycoords="axes fraction", va="top", **style)


def _draw_points(
    figure: Figure | None,
    frame: Any,
    points: npt.NDArray[np.float64],
    values: npt.NDArray[Any] | None,
    classes: Classes | None,
    name: str | None,
    theme: Theme,
) -> None:
    n = len(points)
    style: dict[str, Any] = {
        "s": float(np.clip(14000 / n, 2.0, 28)),
        "linewidths": 0,
        "alpha": 0.85 if n < 5000 else 0.6,
    }
    if values is None:
        frame.scatter(*points.T, color="#2f7ed8", rasterized=n > 5000, **style)
    elif classes is not None:
        colours = np.array(classes.colours)[classes.codes]
        order = np.argsort(colours != REST, kind="stable")  # the rest lie below
        frame.scatter(*points[order].T, c=colours[order].tolist(), rasterized=n > 5000, **style)
    else:
        numbers = values.astype(np.float64)
        known = np.isfinite(numbers)
        if not known.all():
            frame.scatter(*points[~known].T, color=REST, rasterized=n > 5000, **style)
        drawn = frame.scatter(*points[known].T, c=numbers[known], cmap=SCALE, rasterized=n > 5000, **style)
        _scale(figure, frame, drawn, name or "", theme)


def _draw_density(
    figure: Figure | None,
    frame: Axes,
    points: npt.NDArray[np.float64],
    values: npt.NDArray[Any] | None,
    classes: Classes | None,
    name: str | None,
    theme: Theme,
) -> None:
    """Count the points of each pixel: how many there are is shown by opacity, what they are by colour."""
    from matplotlib.colors import LogNorm, to_rgb

    spans = [frame.get_xlim(), frame.get_ylim()]
    wide, high = (span[1] - span[0] for span in spans)
    bins = [max(2, round(_PIXELS * part / max(wide, high))) for part in (wide, high)]
    cell = np.stack([
        np.clip(((points[:, j] - spans[j][0]) / (spans[j][1] - spans[j][0]) * bins[j]).astype(np.int64), 0, bins[j] - 1)
        for j in (0, 1)
    ])  # fmt: skip
    flat, size = cell[1] * bins[0] + cell[0], bins[0] * bins[1]
    counts = np.bincount(flat, minlength=size).astype(np.float64)
    where: dict[str, Any] = {
        "extent": (*spans[0], *spans[1]),
        "origin": "lower",
        "aspect": "auto",
        "interpolation": "nearest",
    }
    shape = (bins[1], bins[0])
    if values is None:
        image = np.ma.masked_equal(counts, 0).reshape(shape)
        drawn = frame.imshow(image, cmap=SCALE, norm=LogNorm(1, max(float(counts.max()), 2.0)), **where)
        _scale(figure, frame, drawn, "points", theme)
        return
    strength = np.where(counts > 0, 0.35 + 0.65 * np.log1p(counts) / np.log1p(counts.max()), 0)
    if classes is None:
        numbers = values.astype(np.float64)
        known = np.isfinite(numbers)
        sums = np.bincount(flat[known], weights=numbers[known], minlength=size)
        known_counts = np.bincount(flat[known], minlength=size)
        means = np.divide(sums, known_counts, out=np.zeros(size), where=known_counts > 0)
        image = np.ma.masked_where(known_counts == 0, means).reshape(shape)
        drawn = frame.imshow(image, cmap=SCALE, alpha=strength.reshape(shape), **where)
        _scale(figure, frame, drawn, name or "", theme)
        return
    picture = np.zeros((size, 4))
    for code, colour in enumerate(classes.colours):
        part = np.bincount(flat[classes.codes == code], minlength=size)
        picture[:, :3] += part[:, None] * np.array(to_rgb(colour))
    picture[:, :3] /= np.maximum(counts, 1)[:, None]
    picture[:, 3] = strength
    frame.imshow(picture.reshape(*shape, 4), **where)


def _scale(figure: Figure | None, frame: Any, drawn: Any, name: str, theme: Theme) -> None:
    """A scale of colours to the right of the frame."""
    bar: Any
    if figure is not None:
        box = frame.get_position()
        bar = figure.colorbar(drawn, cax=figure.add_axes((0.83, box.y0 + 0.15 * box.height, 0.02, 0.6 * box.height)))
    else:
        bar = frame.figure.colorbar(drawn, ax=frame, shrink=0.6)
    bar.outline.set_visible(False)
    bar.solids.set_alpha(1)
    bar.ax.tick_params(colors=theme.ink, labelsize=7)
    bar.ax.set_title(text_of(name)[:24], color=theme.ink, fontsize=8, loc="left", parse_math=False)


def _legend(figure: Figure | None, frame: Any, classes: Classes, title: str, theme: Theme) -> None:
    from matplotlib.lines import Line2D

    marks = [Line2D([], [], linestyle="", marker="o", markersize=5, color=colour) for colour in classes.colours]
    counts = np.bincount(classes.codes, minlength=len(classes.names))
    names = [f"{text_of(name) or '(empty)'} ({count:,})" for name, count in zip(classes.names, counts, strict=True)]
    names = [name if len(name) <= 26 else f"{name[:23]}…" for name in names]
    home, right = (frame, 1.01) if figure is None else (figure, 0.81)
    drawn = home.legend(
        marks, names, title=text_of(title)[:24], loc="center left", bbox_to_anchor=(right, 0.5), frameon=False,
        fontsize=8 if len(names) <= MOST else 7, title_fontsize=9, labelcolor=theme.ink, alignment="left",
    )  # fmt: skip
    for text in [drawn.get_title(), *drawn.get_texts()]:
        text.set_parse_math(False)
        text.set_color(theme.ink)


def _seen(frame: Any, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Points as the frame lays them flat."""
    if points.shape[1] == 2:
        return points
    from mpl_toolkits.mplot3d import proj3d

    x, y, _ = proj3d.proj_transform(*points.T, frame.get_proj())
    return np.stack([x, y], axis=1)
