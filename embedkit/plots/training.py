"""How a training went: losses by epoch, and what a variational autoencoder makes of its units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from embedkit.errors import BadInput
from embedkit.plots.colours import PALETTE
from embedkit.plots.figures import DARK, LIGHT, Theme, text_of
from embedkit.plots.pictures import sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TRAIN, _HELD_OUT, _BEST = PALETTE[0], PALETTE[4], PALETTE[2]
_NO_PARTS = {
    "epoch", "learning_rate", "seconds", "samples", "samples_per_second",
    "alpha", "words", "words_per_second", "pairs", "counts", "counts_per_second",  # of word trainers
}  # fmt: skip
_NO_LOSSES = {"beta", "active_units"}  # drawn on request
_PREFIX = "validation_"


def loss_curves(
    history: Sequence[Mapping[str, Any]],
    *,
    best_epoch: int | None = None,
    parts: Sequence[str] | None = None,
    units: Mapping[str, str] | None = None,
    title: str = "",
    dark: bool = False,
) -> Figure:
    """Draw every part of the loss by epoch, each in its own frame, with that of the held-out rows.

    Parameters
    ----------
    history
        A model's ``history_``.
    best_epoch
        Is marked: a model's ``best_epoch_``.
    parts
        Which; `None` for all losses.
    units
        Part to what it is in, such as ``{"kl": "nats"}``.
    title, dark
        Written above; light on dark.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    BadInput
        The history is empty, or has no such part.
    """
    if not history:
        raise BadInput("the history is empty: fit the model first")
    known = [name for name, value in history[-1].items() if _is_number(value) and name not in _NO_PARTS]
    shared = [name for name in known if not name.startswith(_PREFIX)]
    shared += [
        n.removeprefix(_PREFIX) for n in known if n.startswith(_PREFIX) and n.removeprefix(_PREFIX) not in shared
    ]
    wanted = [name for name in shared if name not in _NO_LOSSES] if parts is None else list(parts)
    for name in wanted:
        if name not in shared:
            raise BadInput(f"the history has no part '{name}'; there are: {', '.join(shared)}")
    theme = DARK if dark else LIGHT
    columns = min(len(wanted), 3)
    rows = -(-len(wanted) // columns)
    figure = sheet((0.6 + 3.4 * columns, 0.5 + 2.6 * rows), theme, title or "Loss by epoch")
    frames = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for frame in frames[len(wanted) :]:
        frame.set_visible(False)
    for frame, name in zip(frames, wanted, strict=False):
        _curve(frame, history, name, best_epoch, (units or {}).get(name, ""), theme)
    return figure


def _curve(
    frame: Axes, history: Sequence[Mapping[str, Any]], part: str, best: int | None, unit: str, theme: Theme
) -> None:
    axes(frame, theme, "epoch", unit)
    for name, colour, told in ((part, _TRAIN, "training"), (_PREFIX + part, _HELD_OUT, "held out")):
        seen = [(entry["epoch"], entry[name]) for entry in history if _is_number(entry.get(name))]
        if seen:
            marker = "o" if len(seen) <= 30 else ""
            frame.plot(*zip(*seen, strict=True), color=colour, linewidth=1.6, marker=marker, markersize=3, label=told)
            if best is not None and name.startswith(_PREFIX) and best in dict(seen):
                frame.plot([best], [dict(seen)[best]], marker="o", markersize=8, markerfacecolor="none", color=_BEST)
    if best is not None:
        frame.axvline(best, color=_BEST, linewidth=1, linestyle=(0, (4, 3)), label=f"best epoch, {best}", zorder=0)
    frame.set_title(text_of(part.replace("_", " ")), fontsize=10, color=theme.ink, loc="left", parse_math=False)
    whole(frame)
    frame.legend(fontsize=8, frameon=False, labelcolor=theme.ink)


def kl_per_unit(
    history: Sequence[Mapping[str, Any]], *, best_epoch: int | None = None, title: str = "", dark: bool = False
) -> Figure:
    """Draw the Kullback-Leibler divergence of each unit of a variational autoencoder, and its way there.

    Parameters
    ----------
    history
        The ``history_`` of a VAE.
    best_epoch
        Whose bars are drawn; `None` for the last.
    title, dark
        Written above; light on dark.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    BadInput
        The history has no ``kl_per_unit``.
    """
    seen = [(entry["epoch"], entry["kl_per_unit"]) for entry in history if "kl_per_unit" in entry]
    if not seen:
        raise BadInput("the history has no kl_per_unit: this is no variational autoencoder, or it is not fitted")
    theme = DARK if dark else LIGHT
    epochs = [epoch for epoch, _ in seen]
    values = np.array([one for _, one in seen], dtype=np.float64)
    at = epochs.index(best_epoch) if best_epoch in epochs else len(epochs) - 1
    order = np.argsort(-values[at], kind="stable")
    figure = sheet((8.5, 3.3), theme, title or f"Divergence of each unit from the prior: {values[at].sum():.1f} nats "
                   f"together at epoch {epochs[at]}")  # fmt: skip
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    axes(left, theme, "unit, the most telling first", "KL, nats")
    left.bar(range(len(order)), values[at][order], color=_TRAIN, width=0.8)
    shown = range(0, len(order), max(1, math.ceil(len(order) / 20)))
    left.set_xticks(list(shown), [str(order[i]) for i in shown], fontsize=7)
    axes(right, theme, "epoch", "KL of each unit, nats")
    for unit in order:
        right.plot(epochs, values[:, unit], color=_TRAIN, linewidth=0.9, alpha=0.6)
    whole(right)
    return figure


def axes(frame: Axes, theme: Theme, along: str = "", up: str = "") -> None:
    """A quiet frame: two thin lines, small numbers, and what they are of along and up."""
    frame.set_facecolor(theme.paper)
    for side, spine in frame.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.faint)
        spine.set_linewidth(0.7)
    frame.tick_params(labelsize=8, colors=theme.ink, color=theme.faint, width=0.7, length=3)
    frame.set_xlabel(text_of(along), fontsize=9, color=theme.ink, parse_math=False)
    frame.set_ylabel(text_of(up), fontsize=9, color=theme.ink, parse_math=False)


def whole(frame: Axes) -> None:
    """Put ticks at whole numbers only, from left to right."""
    from matplotlib.ticker import MaxNLocator

    frame.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
