"""Concept units in pictures: what tells a concept, what excites a unit, and what it survives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput
from embedkit.plots.colours import PALETTE, REST
from embedkit.plots.figures import DARK, LIGHT, Theme, text_of
from embedkit.plots.pictures import pictures_of, sheet, show, tiled
from embedkit.plots.training import axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from embedkit.latent.responses import Invariance, TopRows
    from embedkit.latent.stimuli import Stimuli
    from embedkit.latent.units import UnitReport

_OURS, _CEILING = PALETTE[0], PALETTE[2]


def unit_comparison(report: UnitReport, *, title: str = "", dark: bool = False) -> Figure:
    """Draw how well single units tell concepts: each model, each control and the ceiling, with intervals.

    Parameters
    ----------
    report
        As `embedkit.latent.units.concept_units` gives it.
    title, dark
        Written above; light on dark.

    Returns
    -------
    matplotlib.figure.Figure
    """
    theme = DARK if dark else LIGHT
    sources = sorted(report.sources, key=report.mean)
    figure = sheet((7.5, 0.9 + 0.34 * len(sources)), theme, title or "Balanced accuracy of the best unit for each "
                   f"concept, mean of {len(report.concepts)} (small: each concept)")  # fmt: skip
    frame = figure.subplots()
    axes(frame, theme, "balanced accuracy on test rows")
    controls = {"guessing", "input", "every input", "random weights", "pca"}
    for place, source in enumerate(sources):
        ceiling = source.startswith("linear probe")
        colour = REST if source in controls else _CEILING if ceiling else _OURS
        each = [one.accuracy for one in report.units if one.source == source]
        frame.plot(each, [place] * len(each), marker="|", linestyle="", markersize=6, color=colour, alpha=0.6)
        low, high = report.interval(source, replicates=400)
        frame.plot([low, high], [place, place], color=colour, linewidth=2.5)
        frame.plot([report.mean(source)], [place], marker="o", markersize=7, color=colour)
    frame.set_yticks(range(len(sources)), [text_of(one) for one in sources], fontsize=9, parse_math=False)
    frame.axvline(0.5, color=theme.faint, linewidth=0.7, linestyle=(0, (2, 3)), zorder=0)
    return figure


def unit_sheet(
    report: UnitReport,
    source: str,
    codes: npt.NDArray[Any],
    classes: npt.ArrayLike,
    pictures: Any = None,
    *,
    seed: int = 0,
    n: int = 8,
    title: str = "",
    dark: bool = False,
) -> Figure:
    """Draw the unit that tells each concept best: activations, threshold, and the pictures that excite it most.

    Parameters
    ----------
    report, source, seed
        As `embedkit.latent.units.concept_units` gives it, and of which model the units are.
    codes, classes
        (n, units) activations of that model on rows, and their classes.
    pictures
        The same rows; `None` leaves out the pictures.
    n
        How many of them.
    title, dark
        Written above; light on dark.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    BadInput
        There is no such source, it has no single units, or numbers of rows differ.
    """
    units = report.of(source, seed)
    values, names = np.asarray(codes, dtype=np.float64), np.asarray(classes).astype(str)
    made = None if pictures is None else pictures_of(pictures)
    if any(unit.unit < 0 for unit in units):
        raise BadInput(f"'{source}' has no single units to draw")
    if len(values) != len(names) or (made is not None and len(made) != len(values)):
        raise BadInput("codes, classes and pictures must be of the same rows")
    theme = DARK if dark else LIGHT
    figure = sheet((9.5 if made is not None else 5.5, 0.6 + 0.85 * len(units)), theme,
                   title or f"The unit of {source} that tells each concept best; what excites it most")  # fmt: skip
    wide = 2 if made is not None else 1
    frames = figure.subplots(len(units), wide, squeeze=False, width_ratios=(1.1, 1.7)[:wide])
    for line, unit in zip(frames, units, strict=True):
        own = values[:, unit.unit]
        _activations(line[0], own, names == unit.concept, unit, theme)
        if made is not None:
            best = np.argsort(-unit.sign * own, kind="stable")[:n]
            show(line[1], tiled(made[best], len(best), np.nan), theme)
    frames[0][0].legend(fontsize=7, frameon=False, labelcolor=theme.ink, loc="upper right", ncols=2, borderaxespad=0)
    frames[-1][0].set_xlabel("activation (line: threshold)", fontsize=8, color=theme.ink)
    return figure


def _activations(frame: Axes, own: npt.NDArray[np.float64], is_concept: Any, unit: Any, theme: Theme) -> None:
    low, high = np.quantile(own, [0.001, 0.999]).tolist()
    bins = np.linspace(low, high if high > low else low + 1, 41).tolist()
    axes(frame, theme)
    for chosen, colour, name in ((~is_concept, REST, "others"), (is_concept, _OURS, "concept")):
        if chosen.any():
            some = own[chosen]
            frame.hist(some, bins, weights=np.full(len(some), 1 / len(some)), color=colour, alpha=0.6, label=name)
    frame.axvline(unit.threshold, color=theme.ink, linewidth=1)
    frame.set_yticks([])
    frame.spines["left"].set_visible(False)
    told = f"{text_of(unit.concept)}\n{_named(unit.unit, unit.sign)}\n{unit.accuracy:.3f}"
    frame.set_ylabel(told, rotation=0, ha="right", va="center", fontsize=8, color=theme.ink, parse_math=False)
    frame.tick_params(labelsize=6)


def stimulus_sheet(
    stimuli: Stimuli, top: TopRows, pictures: Any, *, names: Sequence[object] | None = None, title: str = "",
    dark: bool = False,
) -> Figure:  # fmt: skip
    """Draw the optimal stimulus of each unit beside the pictures that excite it most, with activations.

    Parameters
    ----------
    stimuli
        As `embedkit.latent.stimuli.optimal_stimuli` gives them.
    top
        As `embedkit.latent.responses.top_rows` gives them for the same units.
    pictures
        What `top` was found among.
    names
        Of the units; by default their numbers.
    title, dark
        Written above; light on dark.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    BadInput
        The numbers of units or names differ.
    """
    k = len(stimuli.units)
    if len(top.rows) != k or (names is not None and len(names) != k):
        raise BadInput(f"{k} stimuli, but top rows of {len(top.rows)} units or another number of names")
    best, made = pictures_of(stimuli.inputs), pictures_of(pictures)
    theme = DARK if dark else LIGHT
    n = top.rows.shape[1]
    told = names or [_named(u, s) for u, s in zip(stimuli.units, stimuli.signs, strict=True)]
    figure = sheet((2.6 + 0.72 * n, 0.7 + 0.95 * k), theme,
                   title or "Optimal stimulus of each unit (left), and the pictures that excite it most")  # fmt: skip
    frames = figure.subplots(k, 2, squeeze=False, width_ratios=(1, n))
    for number, (left, right) in enumerate(frames):
        show(left, best[number], theme)
        left.set_ylabel(text_of(told[number]), rotation=0, ha="right", va="center", fontsize=9, color=theme.ink,
                        parse_math=False)  # fmt: skip
        left.set_xlabel(f"{stimuli.activations[number]:.2f}", fontsize=8, color=theme.ink)
        some = made[top.rows[number]]
        show(right, tiled(some, n, np.nan), theme)
        h, w = some.shape[1:3]
        step = w + max(1, round(0.06 * h))
        places = [step * j + (w - 1) / 2 for j in range(n)]
        right.set_xticks(places, [f"{one:.2f}" for one in top.activations[number]])
        right.tick_params(labelsize=8, length=0, colors=theme.ink)
    return figure


def invariance_curves(found: Invariance, *, title: str = "", dark: bool = False) -> Figure:
    """Draw how the response of concept units survives when pictures are moved, one frame for each change.

    Parameters
    ----------
    found
        As `embedkit.latent.responses.invariance` gives it.
    title, dark
        Written above; light on dark.

    Returns
    -------
    matplotlib.figure.Figure
    """
    theme = DARK if dark else LIGHT
    figure = sheet((0.6 + 2.7 * len(found.amounts), 3.2), theme,
                   title or "Balanced accuracy of concept units on changed pictures (heavy: mean)")  # fmt: skip
    frames = np.atleast_1d(figure.subplots(1, len(found.amounts), sharey=True))
    measures = {"turn": "degrees", "scale": "times", "shift right": "pixels", "shift down": "pixels"}
    for frame, (change, amounts) in zip(frames, found.amounts.items(), strict=True):
        first = frame is frames[0]
        axes(frame, theme, f"{change}, {measures[change]}", "balanced accuracy" if first else "")
        order = np.argsort(amounts)
        frame.plot(amounts[order], found.accuracy[change][order], color=_OURS, linewidth=0.8, alpha=0.45)
        frame.plot(amounts[order], found.accuracy[change][order].mean(axis=1), color=theme.ink, linewidth=2)
        frame.axhline(0.5, color=theme.faint, linewidth=0.7, linestyle=(0, (2, 3)))
    return figure


def _named(unit: int, sign: int) -> str:
    """A unit by its number, and whether high or low activations count."""
    return f"unit {unit} {'↑' if sign > 0 else '↓'}"
