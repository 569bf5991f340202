"""Places for labels beside their points such that none lies on another."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.plots.figures import Theme, text_of

Doubles = npt.NDArray[np.float64]

# Right, left, above, below, then the corners: where the label's middle lies as seen from the point.
_SIDES = np.array([(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)], dtype=np.float64)
_RINGS = (1.0, 3.0, 6.0, 10.0)  # distances from the point, in gaps
_CELL = 4.0  # pixels: how finely points under a label are counted


def write_beside(
    frame: Any,
    points: Doubles,
    texts: Sequence[str],
    theme: Theme,
    *,
    under: Doubles,
    font: float = 8.0,
    bold: Collection[int] = (),
) -> list[int]:
    """Write texts beside points of a frame; one that is far from its point gets a line to it.

    Parameters
    ----------
    frame
        Of matplotlib, its limits set.
    points
        (m, 2) data coordinates.
    texts
        m texts, the most important first.
    theme
        Whose ink they have.
    under
        (n, 2) data coordinates of what had better stay visible.
    font
        Size in points.
    bold
        Which of the texts are bold.

    Returns
    -------
    list of int
        Which texts found no place.
    """
    if not len(texts):
        return []
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.patheffects import withStroke
    from matplotlib.text import Text

    figure = frame.figure.figure  # of a part of a figure, the whole
    shown = [text_of(text) for text in texts]
    weights = ["bold" if j in bold else "normal" for j in range(len(shown))]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # said when it is saved
        figure.draw_without_rendering()  # so that the frame is where it will be
        width, height = figure.bbox.size
        # The figure may be of any canvas, and not all can measure.
        renderer = RendererAgg(width, height, figure.dpi)  # type: ignore[no-untyped-call]  # matplotlib's lack
        sizes = np.empty((len(shown), 2))
        for j, text in enumerate(shown):
            drawn = Text(0, 0, text, fontsize=font, fontweight=weights[j], figure=figure, parse_math=False)
            box = drawn.get_window_extent(renderer)
            sizes[j] = box.width + 2, box.height + 1
    pixels = frame.transData.transform(points)
    box = frame.get_window_extent(renderer)
    scale = 72 / figure.dpi
    bounds = (box.x0, box.y0, box.x1, box.y1)
    corners = place(pixels, sizes, bounds, frame.transData.transform(under), gap=0.55 * font / scale)
    for j in np.flatnonzero(~np.isnan(corners[:, 0])).tolist():
        middle = corners[j] + sizes[j] / 2 - pixels[j]
        far = (np.abs(middle) - sizes[j] / 2).max() * scale > font
        line = {"arrowstyle": "-", "color": theme.faint, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2}
        frame.annotate(
            shown[j], points[j], middle * scale, textcoords="offset points", fontsize=font, fontweight=weights[j],
            color=theme.ink, ha="center", va="center", parse_math=False, zorder=6,
            path_effects=[withStroke(linewidth=1.8, foreground=theme.paper)], arrowprops=line if far else None,
        )  # fmt: skip
    return np.flatnonzero(np.isnan(corners[:, 0])).tolist()


def place(
    points: Doubles, sizes: Doubles, bounds: tuple[float, float, float, float], under: Doubles, gap: float = 3.0
) -> Doubles:
    """Where labels go, the first ones choosing first.

    A label takes the place nearest to its point where it lies within the bounds, on no other label and on no other
    labelled point; of equally near ones that with the fewest points under it.

    Parameters
    ----------
    points
        (m, 2) places of the labelled points, in pixels.
    sizes
        (m, 2) widths and heights of the labels, in pixels.
    bounds
        Left, bottom, right and top of the picture.
    under
        (n, 2) places of all points.
    gap
        Pixels between a point and its label, at least.

    Returns
    -------
    ndarray
        (m, 2) lower left corners; NaN for a label that finds no place.

    Examples
    --------
    >>> place(np.array([[5.0, 5.0]]), np.array([[20.0, 8.0]]), (0, 0, 40, 40), np.empty((0, 2))).tolist()
    [[8.0, 1.0]]
    """
    counted = _counts(under, bounds)
    placed = np.empty((0, 4))
    corners = np.full((len(points), 2), np.nan)
    for row, (point, size) in enumerate(zip(points, sizes, strict=True)):
        for ring in _RINGS:
            # The nearer edge of the label is `ring` gaps away; in a corner both edges are, as seen along the diagonal.
            away = _SIDES * (size / 2 + ring * gap * np.where(np.abs(_SIDES).sum(axis=1, keepdims=True) > 1, 0.7, 1))
            low = point + away - size / 2
            boxes = np.concatenate([low, low + size], axis=1)
            free = (
                (boxes[:, 0] >= bounds[0]) & (boxes[:, 1] >= bounds[1])
                & (boxes[:, 2] <= bounds[2]) & (boxes[:, 3] <= bounds[3])
            )  # fmt: skip
            free &= ~_overlaps(boxes, placed).any(axis=1)
            others = np.delete(points, row, axis=0)
            free &= ~_overlaps(boxes, np.concatenate([others, others], axis=1)).any(axis=1)
            if free.any():
                chosen = np.flatnonzero(free)
                best = chosen[np.argmin([_inside(counted, bounds, boxes[j]) for j in chosen.tolist()])]
                corners[row] = low[best]
                placed = np.concatenate([placed, boxes[best : best + 1]])
                break
    return corners


def _overlaps(boxes: Doubles, others: Doubles) -> npt.NDArray[np.bool_]:
    """Whether each of (p, 4) boxes overlaps each of (q, 4): (p, q)."""
    a, b = boxes[:, None], others[None]
    found: npt.NDArray[np.bool_] = (
        (a[..., 0] < b[..., 2]) & (b[..., 0] < a[..., 2]) & (a[..., 1] < b[..., 3]) & (b[..., 1] < a[..., 3])
    )
    return found


def _counts(under: Doubles, bounds: tuple[float, float, float, float]) -> Doubles:
    """Sums of the points left of and below each corner of a grid."""
    left, bottom, right, top = bounds
    cells = [max(1, int(np.ceil((right - left) / _CELL))), max(1, int(np.ceil((top - bottom) / _CELL)))]
    spans = [(left, left + cells[0] * _CELL), (bottom, bottom + cells[1] * _CELL)]
    counts = np.histogram2d(under[:, 0], under[:, 1], bins=cells, range=spans)[0]
    sums = np.zeros((cells[0] + 1, cells[1] + 1))
    sums[1:, 1:] = counts.cumsum(axis=0).cumsum(axis=1)
    return sums


def _inside(sums: Doubles, bounds: tuple[float, float, float, float], box: Doubles) -> float:
    """About how many points lie in a box."""
    shape = np.array(sums.shape) - 1
    low = np.clip(((box[:2] - bounds[:2]) / _CELL).astype(int), 0, shape)
    high = np.clip(np.ceil((box[2:] - bounds[:2]) / _CELL).astype(int), 0, shape)
    return float(sums[high[0], high[1]] - sums[low[0], high[1]] - sums[high[0], low[1]] + sums[low[0], low[1]])
