"""`embedkit units`: the unit of a code that tells each class best, and what the same search finds without learning."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput, printable
from embedkit.formats.named_columns import NAMED_FORMATS, NamedFormat, write_named
from embedkit.labels import Labels

from .completion import data_sets
from .latent_data import Data, classes_of, data_options, model_options, open_data, open_model, rows_as_pictures
from .latent_files import checked_png, checked_table_format
from .output import Printer, format_option

if TYPE_CHECKING:
    from embedkit.latent.units import UnitReport

Array = npt.NDArray[Any]
_WITH_PARTS = ("mnist", "fashion-mnist")
_CLASS = "class"


def _picture(name: str, what: str) -> Callable[[Any], Any]:
    return click.option(name, default=None, type=click.Path(path_type=Path), help=f"Draw {what}: .png, .svg, .pdf.")


@click.command(short_help="Find the units of a latent model that tell classes.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", shell_complete=data_sets)
@click.option("--labels", default=_CLASS, metavar="COLUMN|FILE", help="The class of each row: a column, or a file "
              "(IDX, .npy, or text with one a line).")  # fmt: skip
@click.option("--test", default=None, metavar="DATA", shell_complete=data_sets,
              help="Rows to judge by; by default the test part of mnist and fashion-mnist, else a share of "
              "DATA.")  # fmt: skip
@click.option("--test-labels", default=None, metavar="COLUMN|FILE", help="Their classes.  [default: as --labels]")
@click.option("--test-share", default=0.3, type=click.FloatRange(0, 1, min_open=True, max_open=True),
              help="Share of DATA that is kept to judge by, where there is no --test.")  # fmt: skip
@click.option("--controls/--no-controls", default=True, help="Make the same search where nothing was learned.")
@click.option("--all", "everything", is_flag=True, help="Give the units of controls, and linear probes, too.")
@click.option("-o", "--output", default=None, type=click.Path(path_type=Path),
              help=f"Write the rows to a table ({', '.join(NAMED_FORMATS)}), instead of printing them.")  # fmt: skip
@format_option
@_picture("--png", "the units: activations, thresholds, and what excites them most")
@_picture("--comparison", "the model, the controls and the ceiling with intervals")
@_picture("--stimuli", "the optimal stimulus of each unit beside what excites it most (of pictures)")
@_picture("--invariance", "how the units survive shifts, turns and scaling (of pictures)")
@click.option("--seed", default=0, help="Seed of the split, of random weights and of intervals.")
@model_options
@data_options
def units(model: Path, data: str, labels: str, test: str | None, test_labels: str | None, test_share: float,
          controls: bool, everything: bool, output: Path | None, style: str, png: Path | None, comparison: Path | None,
          stimuli: Path | None, invariance: Path | None, seed: int, device: str, n_jobs: int | None,
          **reading: Any) -> None:  # fmt: skip
    """Find, for each class, the unit of MODEL's code that tells it best from the others.

    Unit, side and threshold are chosen on one part of DATA and judged on another, by balanced accuracy: 1/2 is a
    guess. The same search is made of as many raw inputs, units with random weights, and principal components; a linear
    probe of all units together is the ceiling (Le et al. 2011, arXiv:1112.6209).

    DATA is a table (CSV, TSV, Parquet), a folder or a file of pictures, vectors in any format, - for standard input, or
    a name: digits, mnist, ...

    \b
    embedkit units model.safetensors data.csv --labels class
    embedkit units pictures.safetensors digits --labels class --png units.png
    """  # noqa: D301  # click's sign for lines that stay
    chosen = None if output is None else checked_table_format(output, None)
    for picture in (png, comparison, stimuli, invariance):
        checked_png(picture)
    coder = open_model(model, device, n_jobs)
    if (stimuli is not None or invariance is not None) and not coder.kind_.image:
        raise click.UsageError("--stimuli and --invariance are for models of pictures")
    rows, classes, test_rows, test_classes = _split(
        coder, data, labels, test, test_labels, test_share, seed, reading
    )  # fmt: skip
    report = _report(coder, rows, classes, test_rows, test_classes, controls, seed)
    _write(report, everything, output, chosen, style)
    if png is not None:
        _draw_units(report, coder, test_rows, test_classes, png)
    if comparison is not None:
        from embedkit.plots import save_figure, unit_comparison

        save_figure(unit_comparison(report), comparison)
    if stimuli is not None:
        _draw_stimuli(report, coder, test_rows, seed, stimuli)
    if invariance is not None:
        _draw_invariance(report, coder, test_rows, test_classes, invariance)
    _tell(report, rows, test_rows, output)
    if test_rows.about is rows.about:
        click.echo("both are of DATA, which the model may have been trained on: --test takes other rows", err=True)


def _split(
    coder: Any, data: str, labels: str, test: str | None, test_labels: str | None, share: float, seed: int,
    reading: dict[str, Any],
) -> tuple[Data, Array, Data, Array]:  # fmt: skip
    """Rows to choose on and rows to judge by, with their classes."""
    by_name = data in _WITH_PARTS and reading["part"] == "train" and not Path(data).exists()
    if test is None and by_name:
        test, test_part = data, "test"
    else:
        test_part = reading["part"]
    rows, classes = _classed(data, labels, {**reading, "seed": seed, "model": coder})
    if test is not None:
        other = {**reading, "part": test_part, "top": None, "sample": None, "seed": seed, "model": coder}
        return rows, classes, *_classed(test, test_labels or labels, other)
    if test_labels is not None:
        raise click.UsageError("--test-labels go with --test")
    judged = _drawn(classes, share, seed)
    parts = [np.flatnonzero(~judged), np.flatnonzero(judged)]
    return rows.take(parts[0]), classes[parts[0]], rows.take(parts[1]), classes[parts[1]]


def _classed(name: str, labels: str, reading: dict[str, Any]) -> tuple[Data, Array]:
    """The rows of a source with their classes, which are drawn together."""
    drawn, seed = reading["sample"], reading["seed"]
    kept = None if labels == _CLASS or Path(labels).is_file() else labels
    rows = open_data(name, **{**reading, "sample": None}, kept=kept)
    classes = classes_of(rows, labels)
    if drawn is not None and drawn < len(rows):
        numbers = np.sort(np.random.default_rng(seed).permutation(len(rows))[:drawn])
        return rows.take(numbers), classes[numbers]
    return rows, classes


def _drawn(classes: Array, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Which rows to judge by: that share of each class, at least one, and not all."""
    judged = np.zeros(len(classes), dtype=np.bool_)
    generator = np.random.default_rng(seed)
    for name in np.unique(classes):
        members = generator.permutation(np.flatnonzero(classes == name))
        if len(members) < 2:
            raise BadInput(f"class {printable(str(name))} has one row: to choose a unit and to judge it takes two")
        judged[members[: min(max(round(share * len(members)), 1), len(members) - 1)]] = True
    return judged


def _report(
    coder: Any, rows: Data, classes: Array, test_rows: Data, test_classes: Array, controls: bool, seed: int
) -> UnitReport:  # fmt: skip
    from embedkit.latent.units import CONTROLS, concept_units

    name = type(coder).__name__
    searched = CONTROLS if controls else ("guessing",)
    return concept_units({name: coder}, rows.rows, classes, test_rows.rows, test_classes, controls=searched,
                         random_state=seed)  # fmt: skip


def _write(report: UnitReport, everything: bool, output: Path | None, chosen: NamedFormat | None, style: str) -> None:
    wanted = report.sources if everything else report.sources[:1]
    # A guess has no unit and no threshold.
    found = [one for source in wanted for one in report.of(source)]
    header = ["source", "concept", "unit", "sign", "threshold", "chosen", "accuracy"]
    rows = [
        (one.source, one.concept, one.unit, one.sign, one.threshold if math.isfinite(one.threshold) else None,
         one.chosen, one.accuracy)
        for one in found
    ]  # fmt: skip
    if output is None or chosen is None:
        printer = Printer(header, style)
        printer.print(rows)
        printer.close()
        return
    columns: dict[str, Any] = {name: [row[j] for row in rows] for j, name in enumerate(header)}
    columns["threshold"] = [math.nan if value is None else value for value in columns["threshold"]]
    write_named(Labels(range(len(rows))), columns, output, chosen)


def _draw_units(report: UnitReport, coder: Any, rows: Data, classes: Array, png: Path) -> None:
    from embedkit.plots import save_figure, unit_sheet

    codes = np.asarray(coder.transform(rows.rows))
    save_figure(unit_sheet(report, report.sources[0], codes, classes, rows_as_pictures(coder, rows)), png)


def _draw_stimuli(report: UnitReport, coder: Any, rows: Data, seed: int, png: Path) -> None:
    from embedkit.latent.responses import top_rows
    from embedkit.latent.stimuli import optimal_stimuli
    from embedkit.plots import save_figure, stimulus_sheet

    found = report.of(report.sources[0])
    numbers, signs = [one.unit for one in found], [one.sign for one in found]
    best = optimal_stimuli(coder, rows.rows, numbers, signs, random_state=seed)
    top = top_rows(coder, rows.rows, numbers, signs, n=8)
    names = [f"{one.concept}: unit {one.unit} {'↑' if one.sign > 0 else '↓'}" for one in found]
    pictures = rows_as_pictures(coder, rows)
    save_figure(stimulus_sheet(best, top, pictures, names=names), png)
    beyond = best.beyond
    click.echo(
        f"optimal stimuli excite their units {float(beyond.min()):.1f} to {float(beyond.max()):.1f} standard "
        "deviations more than any row does",
        err=True,
    )


def _draw_invariance(report: UnitReport, coder: Any, rows: Data, classes: Array, png: Path) -> None:
    from embedkit.latent.responses import invariance
    from embedkit.plots import invariance_curves, save_figure

    pictures = rows.rows if hasattr(rows.rows, "pixels") else rows_as_pictures(coder, rows)
    save_figure(invariance_curves(invariance(coder, pictures, classes, report.of(report.sources[0]))), png)


def _tell(report: UnitReport, rows: Data, test_rows: Data, output: Path | None) -> None:
    click.echo(f"chosen on {len(rows):,} rows, judged on {len(test_rows):,}; mean balanced accuracy:", err=True)
    for source in report.sources:
        low, high = report.interval(source)
        click.echo(f"  {source}: {report.mean(source):.3f} [{low:.3f}, {high:.3f}]", err=True)
    own, others = report.sources[0], [name for name in ("input", "random weights", "pca") if name in report.sources]
    if others:
        best = max(others, key=report.mean)
        gap = report.difference(own, best)
        click.echo(
            f"{own} less the best control, {best}: {gap.difference:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]", err=True
        )
    if output is not None:
        click.echo(f"wrote {output}", err=True)
