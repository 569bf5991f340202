"""What latent models are good for, in pictures: codes, anomalies, classifiers of few labels, compression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.errors import BadInput
from embedkit.plots.colours import PALETTE
from embedkit.plots.figures import DARK, LIGHT, Theme, text_of
from embedkit.plots.pictures import bare, pictures_of, sheet, show, tiled
from embedkit.plots.scatter import scatter_map
from embedkit.plots.training import axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from embedkit.latent.compression import CompressionReport
    from embedkit.latent.efficiency import EfficiencyReport
    from embedkit.latent.findings import Findings

_OURS, _OTHER = PALETTE[0], PALETTE[4]
_BINS = 50


def latent_scatter(
    codes: Any,
    *,
    units: tuple[int, int] | None = None,
    colour: str | None = None,
    title: str = "",
    dark: bool = False,
    axes: Axes | None = None,
) -> Figure:
    """Draw codes as points.

    Parameters
    ----------
    codes
        Embedding, or an array of shape (n, k).
    units
        The two units to draw; `None` for the two principal components, or for the units if there are just two.
    colour
        Column of the Embedding to colour by.
    title, dark
        Written above; light on dark.
    axes
        Of a figure of your own, to draw into; see `scatter_map`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    BadInput
        There are no such units or columns.
    """
    rows = codes if isinstance(codes, Embedding) else Embedding(None, codes)
    values = rows.vectors.astype(np.float64)
    if units is None and rows.width > 2:
        centred = values - values.mean(axis=0)
        _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
        # A sign is free: let the largest part be positive, so that the same codes always look the same.
        plane = directions[:2] * np.sign(directions[np.arange(2), np.abs(directions[:2]).argmax(axis=1)])[:, None]
        share = (lengths[:2] ** 2).sum() / max((lengths**2).sum(), 1e-300)
        flat, told = centred @ plane.T, f"{len(rows):,} codes of {rows.width} units, on two principal components"
        caption = f"the two components hold {share:.0%} of the variance"
    else:
        one, two = (0, 1) if units is None else units
        if not 0 <= min(one, two) <= max(one, two) < rows.width:
            raise BadInput(f"there are the units 0 to {rows.width - 1}, not {one} and {two}")
        flat, told, caption = values[:, [one, two]], f"{len(rows):,} codes: units {one} and {two}", ""
    return scatter_map(
        Embedding(rows.labels, flat, columns=dict(rows.columns)), colour=colour, title=title or told, caption=caption,
        notable=0, dark=dark, axes=axes,
    )  # fmt: skip


def anomaly_histogram(
    findings: Findings,
    *,
    anomalous: npt.ArrayLike | None = None,
    pictures: Any = None,
    n: int = 10,
    title: str = "",
    dark: bool = False,
) -> Figure:
    """Draw how scores are spread, the threshold among them, and the rows that score worst.

    Parameters
    ----------
    findings
        As `embedkit.latent.anomalies.AnomalyDetector.examine` gives them.
    anomalous
        (n,) booleans: which rows truly are anomalies, if that is known.
    pictures
        The rows, if they are pictures: the worst are drawn; else they are named, with the columns that are guilty.
    n
        How many of the worst.
    title, dark
        Written above; light on dark.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    BadInput
        There are no rows, or there is not one picture or truth each.
    """
    if not len(findings):
        raise BadInput("there are no rows to draw")
    truth = None if anomalous is None else np.asarray(anomalous, dtype=bool)
    made = None if pictures is None else pictures_of(pictures)
    for some in (truth, made):
        if some is not None and len(some) != len(findings):
            raise BadInput(f"there are {len(findings)} rows, and {len(some)} pictures or truths")
    theme = DARK if dark else LIGHT
    worst = findings.worst(n)
    told = f"{int(findings.anomalous.sum()):,} of {len(findings):,} rows lie below the threshold"
    figure = sheet((8.5, 5.0), theme, title or told)
    top, bottom = figure.subplots(2, 1, height_ratios=(2.2, 1.6))
    _histogram(top, findings, truth, theme)
    if made is not None:
        _worst_pictures(bottom, findings, worst, made[worst], theme)
    else:
        _worst_names(bottom, findings, worst, theme)
    return figure


def _histogram(frame: Axes, findings: Findings, truth: npt.NDArray[np.bool_] | None, theme: Theme) -> None:
    scores = findings.scores["model"]
    # The few worst would press all others together: they are counted in the first bin.
    low = max(float(scores.min()), float(np.quantile(scores, 0.005)))
    edges = np.linspace(min(low, findings.threshold), float(scores.max()), _BINS + 1)
    held, bins = np.maximum(scores, edges[0]), edges.tolist()
    axes(frame, theme, "score (higher is more normal; the first bar holds all that is lower)",
         "share of the rows" if truth is None else "share of each kind")  # fmt: skip
    kinds = [(np.ones(len(held), dtype=bool), _OURS, "rows")]
    if truth is not None:
        kinds = [(~truth, _OURS, "normal"), (truth, _OTHER, "anomalous")]
    for chosen, colour, name in kinds:
        n = int(chosen.sum())
        frame.hist(held[chosen], bins, weights=np.full(n, 1 / max(n, 1)), color=colour, alpha=0.65,
                   label=f"{n:,} {name}")  # fmt: skip
    rate = findings.false_alarm_rate
    frame.axvline(findings.threshold, color=theme.ink, linewidth=1.2, linestyle=(0, (4, 3)),
                  label=f"threshold: {rate:.1%} false alarms promised")  # fmt: skip
    frame.legend(fontsize=8, frameon=False, labelcolor=theme.ink, loc="lower right", bbox_to_anchor=(1, 1), ncols=3)


def _worst_pictures(
    frame: Axes, findings: Findings, worst: npt.NDArray[np.int64], pictures: npt.NDArray[np.float64], theme: Theme
) -> None:
    show(frame, tiled(pictures, len(pictures), np.nan), theme)
    h, w = pictures.shape[1:3]
    step = w + max(1, round(0.06 * h))
    names = [f"{findings.labels[row][:10]}\n{findings.scores['model'][row]:.3g}" for row in worst]
    frame.set_xticks([step * j + (w - 1) / 2 for j in range(len(worst))], [text_of_lines(name) for name in names])
    frame.tick_params(labelsize=7, length=0, colors=theme.ink)
    frame.set_title("the worst, with their labels and scores", fontsize=9, loc="left", color=theme.ink)


def _worst_names(frame: Axes, findings: Findings, worst: npt.NDArray[np.int64], theme: Theme) -> None:
    bare(frame, theme)
    lines = []
    for row in worst:
        shares = zip(findings.guilty[row], findings.shares[row], strict=True)
        guilty = ", ".join(f"{findings.features[j]} {share:.0%}" for j, share in shares)
        lines.append((findings.labels[row], f"{findings.scores['model'][row]:.3g}", guilty))
    for number, (label, score, guilty) in enumerate(lines):
        y = 1 - (number + 0.5) / max(len(lines), 1)
        for x, text in ((0.0, label), (0.24, score), (0.36, guilty)):
            frame.text(x, y, text_of(text), fontsize=8, va="center", color=theme.ink, parse_math=False,
                       transform=frame.transAxes)  # fmt: skip
    frame.set_title("the worst: label, score, and the columns that are guilty", fontsize=9, loc="left", color=theme.ink)


def text_of_lines(text: str) -> str:
    """As `text_of`, but lines stay lines."""
    return "\n".join(text_of(line).replace("$", r"\$") for line in text.split("\n"))


def efficiency_curve(report: EfficiencyReport, *, title: str = "", dark: bool = False) -> Figure:
    """Draw accuracy by the number of labels, each method with its interval over draws.

    Parameters
    ----------
    report
        As `embedkit.latent.efficiency.label_efficiency` gives it.
    title, dark
        Written above; light on dark.

    Returns
    -------
    matplotlib.figure.Figure
    """
    theme = DARK if dark else LIGHT
    draws = report.accuracies.shape[2]
    figure = sheet((7.0, 4.2), theme, title or f"Accuracy with few labels: mean of {draws} draws, with 95 % intervals")
    frame = figure.subplots()
    axes(frame, theme, "labels", "accuracy on test rows")
    by_method = {name: [one for one in report.figures if one.method == name] for name in report.methods}
    for number, (name, some) in enumerate(by_method.items()):
        place = np.array(report.sizes) * 1.03 ** (number - (len(by_method) - 1) / 2)
        mean = np.array([one.accuracy for one in some])
        ends = [(one.accuracy - max(one.low, 0), min(one.high, 1) - one.accuracy) for one in some]
        spread = np.nan_to_num(np.array(ends).T)  # few draws: Student's interval may leave 0 to 1, accuracy cannot
        colour = PALETTE[number % len(PALETTE)]
        frame.errorbar(place, mean, spread, color=colour, marker="o", markersize=4, linewidth=1.4, capsize=2,
                       label=text_of(name))  # fmt: skip
    frame.set_xscale("log")
    frame.set_xticks(list(report.sizes), [f"{size:,}" for size in report.sizes])
    frame.minorticks_off()
    frame.legend(fontsize=8, frameon=False, labelcolor=theme.ink)
    return figure


def compression_curve(report: CompressionReport, *, title: str = "", dark: bool = False) -> Figure:
    """Draw distortion against bits a row, for each model and size of its code, by whichever rounding is best.

    Parameters
    ----------
    report
        As `embedkit.latent.compression.rate_distortion` gives it.
    title, dark
        Written above; light on dark.

    Returns
    -------
    matplotlib.figure.Figure
    """
    theme = DARK if dark else LIGHT
    figure = sheet((7.0, 4.2), theme, title or "Compression: mean error against length, and up to "
                   "its 90 % quantile")  # fmt: skip
    frame = figure.subplots()
    axes(frame, theme, "bits a row", "mean squared error")
    names = dict.fromkeys((one.model, one.units) for one in report.figures)
    for number, (model, units) in enumerate(names):
        some = _undominated([one for one in report.figures if (one.model, one.units) == (model, units)])
        bits, colour = [one.bits for one in some], PALETTE[number % len(PALETTE)]
        frame.plot(bits, [one.mean for one in some], color=colour, marker="o", markersize=3, linewidth=1.4,
                   label=f"{text_of(model)}, {units} units")  # fmt: skip
        frame.fill_between(bits, [one.mean for one in some], [one.q90 for one in some], color=colour, alpha=0.12, lw=0)
    frame.set_xscale("log", base=2)
    frame.set_yscale("log")
    for axis in (frame.xaxis, frame.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:g}" if axis is frame.yaxis else "")
    frame.tick_params(which="both", labelsize=8)
    frame.legend(fontsize=8, frameon=False, labelcolor=theme.ink)
    return figure


def _undominated(figures: list[Any]) -> list[Any]:
    """Those that no other beats in both bits and error, the fewest bits first."""
    kept: list[Any] = []
    for one in sorted(figures, key=lambda o: (o.bits, o.mean)):
        if not kept or one.mean < kept[-1].mean:
            kept.append(one)
    return kept
