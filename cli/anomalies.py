"""`embedkit anomalies`: rows that are unlike the others, with a stated rate of false alarms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import numpy.typing as npt
from click.core import ParameterSource

from embedkit.errors import BadInput, printable
from embedkit.files.atomic import check_place
from embedkit.formats.named_columns import NAMED_FORMATS, NamedFormat, write_named
from embedkit.labels import Labels

from .completion import data_sets
from .latent_data import (
    DATA_PARAMETERS,
    Data,
    classes_of,
    data_options,
    model_options,
    open_data,
    open_model,
    rows_as_pictures,
)
from .latent_files import checked_png, checked_table_format, png_option, stream_or_file

if TYPE_CHECKING:
    from embedkit.latent.anomalies import AnomalyDetector
    from embedkit.latent.findings import Findings

METHODS = {"autoencoder": "Autoencoder", "vae": "VAE", "aae": "AdversarialAutoencoder", "pca": "PCA"}
_LEARNING = ("normal", "method", "measure", "false_alarms", "calibration", "save")
_NOISE = 0.3  # of the denoising autoencoder that is the default
_SHOWN = 5  # of the worst, on stderr


@click.command(short_help="Find rows that are unlike the others.")
@click.argument("data", shell_complete=data_sets)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path),
              help="Table to write: .csv, .tsv, .parquet, .jsonl; - for CSV on stdout.")  # fmt: skip
@click.option(
    "--format", "chosen", type=click.Choice(NAMED_FORMATS), default=None, help="Format, if the ending says none."
)
@png_option("the scores with the threshold, and the worst rows")
@click.option("--normal", default=None, metavar="DATA", shell_complete=data_sets,
              help="Rows to learn from what is normal; by default DATA.")  # fmt: skip
@click.option("--method", type=click.Choice(list(METHODS)), default="autoencoder", help="What is trained.")
@click.option("--model", default=None, type=click.Path(path_type=Path), help="A model that is trained, instead; or a "
              "detector from --save, by which DATA is scored and nothing learned.")  # fmt: skip
@click.option("--save", default=None, type=click.Path(path_type=Path),
              help="Keep the detector, its threshold and baselines with it, for --model.")  # fmt: skip
@click.option("--save-model", default=None, type=click.Path(path_type=Path), help="Keep the model alone, for --model.")
@click.option("--dims", "n_components", default=None, type=click.IntRange(min=1),
              help="Numbers in a code.  [default: 32, or half the columns]")  # fmt: skip
@click.option("--epochs", default=None, type=click.IntRange(min=1), help="Passes over the rows.  [default: the "
              "model's own]")  # fmt: skip
@click.option("--measure", type=click.Choice(["auto", "error", "smoothed", "scaled", "own"]), default="auto",
              help="What errors count: as they are, smoothed over pictures, over what is usual in a column, or the "
              "model's own score.")  # fmt: skip
@click.option("--false-alarms", default=0.05, help="Share of normal rows that may be called anomalies.")
@click.option("--calibration", default=0.2, help="Share of the normal rows that is held out to set the threshold.")
@click.option("--guilty", default=3, type=click.IntRange(min=0), help="Columns to name that add most to a score.")
@click.option("--truth", default=None, metavar="COLUMN[=VALUE]", help="Where anomalies are known (a column, or a "
              "file of them): measure how well they are told. Needs --normal.")  # fmt: skip
@click.option("--seed", "random_state", default=0, help="Seed.")
@model_options
@data_options
@click.pass_context
def anomalies(ctx: click.Context, /, data: str, output: Path, chosen: NamedFormat | None, png: Path | None,
              normal: str | None, truth: str | None, guilty: int, **given: Any) -> None:  # fmt: skip
    """Score the rows of DATA, say which are anomalies, and which columns are guilty.

    A model learns what rows have in common; what it reconstructs badly is unlike the others. The threshold is set on
    rows that it did not learn from. Principal components and nearest neighbours stand beside, in the same table.

    DATA is a table (CSV, TSV, Parquet), a folder or a file of pictures, vectors in any format, - for standard input, or
    a name: digits, mnist, ...

    \b
    embedkit anomalies data.csv --method pca -o scores.csv
    embedkit anomalies data.csv --epochs 20 --png scores.png -o scores.csv
    embedkit anomalies data.csv --normal normal.csv --method pca -o scores.csv
    embedkit anomalies data.csv --method pca --save kept.safetensors -o s.csv
    """  # noqa: D301  # click's sign for lines that stay
    chosen = checked_table_format(output, chosen)
    checked_png(png)
    for place in (given["save"], given["save_model"]):
        if place is not None:
            check_place(place)
    if given["model"] is not None and (given["n_components"] or given["epochs"] or given["save_model"]):
        raise click.UsageError("--dims, --epochs and --save-model are for training, and --model is trained")
    if given["method"] == "pca" and (given["epochs"] or given["save_model"]):
        raise click.UsageError("--epochs and --save-model are for models that are trained, not for pca")
    reading: dict[str, Any] = {name: given.pop(name) for name in DATA_PARAMETERS}
    model: Any = None
    if given["model"] is not None:
        model = open_model(given["model"], given["device"], given["n_jobs"], detector=True)
    saved = hasattr(model, "offset_")  # a detector
    if saved:
        _refuse_learning(ctx)
    elif truth is not None and normal is None:
        raise click.UsageError("--truth needs --normal DATA: rows that were learned from tell nothing")
    reading |= {"seed": given["random_state"], "model": model}
    known = None if truth is None else truth.partition("=")
    rows = open_data(data, **reading, kept=_kept(known))
    learned = rows if normal is None else open_data(normal, **_alike(reading, rows))
    detector = model if saved else _detector(model, learned, given).fit(learned.rows)
    if given["save_model"] is not None:
        detector.model_.save(given["save_model"])
    if given["save"] is not None:
        detector.save(given["save"])
    found = detector.examine(rows.rows, n_guilty=guilty)
    if rows.names is not None:
        found = replace(found, features=rows.names)
    _write(found, rows, output, chosen)
    marked = None if known is None else _marked(rows, known[0], known[2] if known[1] else None)
    if png is not None:
        _draw(found, detector, rows, marked, png)
    _tell(found, detector, output, alone=learned is rows and not saved)
    if marked is not None:
        _tell_report(detector, rows, marked)
    if given["save_model"] is not None:
        click.echo(f"wrote the model to {given['save_model']}: --model takes it", err=True)
    if given["save"] is not None:
        click.echo(f"wrote the detector to {given['save']}: --model takes it", err=True)


def _refuse_learning(ctx: click.Context) -> None:
    """Refuse options of what a detector that was saved has learned already."""
    for name in _LEARNING:
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(
                f"{option} is for learning what is normal, and the detector in --model has learned it"
            )


def _kept(known: tuple[str, str, str] | None) -> str | None:
    """The column of the truth, which is not to be learned from."""
    return None if known is None or known[0] == "class" else known[0]


def _alike(reading: dict[str, Any], rows: Data) -> dict[str, Any]:
    """How to read the normal rows: the same columns as those to be scored, all of them."""
    same = {**reading, "top": None, "sample": None}
    if hasattr(rows.rows, "iloc"):
        same["features"] = tuple(rows.rows.columns)
    return same


def _detector(model: Any, learned: Data, given: dict[str, Any]) -> AnomalyDetector:
    import embedkit
    from embedkit.latent.anomalies import AnomalyDetector

    seed, method = given["random_state"], given["method"]
    if model is None:
        width = int(np.prod(np.shape(getattr(learned.rows, "pixels", learned.rows))[1:]))
        size = {"n_components": given["n_components"] or min(32, max(width // 2, 1))}
        if method == "pca":
            model = embedkit.PCA(size["n_components"], random_state=seed)
        else:
            how = {"noise": _NOISE} if method == "autoencoder" else {}
            how |= {} if given["epochs"] is None else {"epochs": given["epochs"]}
            kind = getattr(embedkit, METHODS[method])
            model = kind(**size, **how, device=given["device"], n_jobs=given["n_jobs"], random_state=seed)
            click.echo(f"training {METHODS[method]} on {learned}", err=True)
    return AnomalyDetector(
        model, measure=given["measure"], false_alarms=given["false_alarms"], calibration=given["calibration"],
        prefit=given["model"] is not None, random_state=seed,
    )  # fmt: skip


def _write(found: Findings, rows: Data, output: Path, chosen: NamedFormat) -> None:
    frame = found.to_frame()
    twice = set(rows.columns) & set(frame.columns)
    if twice:
        raise BadInput(f"there is a column '{printable(min(twice))}' already, which the scores have too: rename it")
    scores = {name: frame[name].to_numpy() for name in frame.columns}
    write_named(rows.labels or Labels(found.labels), {**rows.columns, **scores}, stream_or_file(output), chosen)


def _marked(rows: Data, column: str, value: str | None) -> npt.NDArray[np.bool_]:
    """Which rows are known to be anomalies."""
    values = classes_of(rows, column)
    if value is not None:
        marked: npt.NDArray[np.bool_] = values.astype(str) == value
    elif values.dtype.kind == "U":
        raise BadInput(f"'{printable(column)}' holds text: say --truth {printable(column)}=VALUE of anomalies")
    else:
        marked = values != 0
    if marked.all() or not marked.any():
        raise BadInput(f"{int(marked.sum())} of {len(marked)} rows are known as anomalies: there must be some of each")
    return marked


def _draw(
    found: Findings, detector: AnomalyDetector, rows: Data, marked: npt.NDArray[np.bool_] | None, png: Path
) -> None:  # fmt: skip
    from embedkit.plots import anomaly_histogram, save_figure

    pictures = rows_as_pictures(detector.model_, rows)
    save_figure(anomaly_histogram(found, anomalous=marked, pictures=pictures), png)


def _tell(found: Findings, detector: AnomalyDetector, output: Path, *, alone: bool) -> None:
    """Say what was found, on stderr; `alone` if what is normal was learned from the same rows."""
    low, high = detector.false_alarm_interval_
    click.echo(
        f"{int(found.anomalous.sum()):,} of {len(found):,} rows are anomalies; of normal ones "
        f"{found.false_alarm_rate:.1%} are expected to be called so (this threshold: {low:.1%} to {high:.1%})",
        err=True,
    )
    if found.anomalous.any():
        agree = []
        for name, values in found.p_values.items():
            if name != "model":
                agree.append(f"{name} {int((values[found.anomalous] <= found.false_alarm_rate).sum()):,}")
        click.echo(f"of these the baselines call so: {', '.join(agree)}", err=True)
    for row in found.worst(_SHOWN).tolist():
        click.echo(f"  {_described(found, row)}", err=True)
    if alone:
        click.echo(
            "what is normal was learned from these rows: those learned from look more normal than new ones will "
            "(--normal DATA takes others)",
            err=True,
        )
    if str(output) != "-":
        click.echo(f"wrote the scores of {len(found):,} rows to {output}", err=True)


def _described(found: Findings, row: int) -> str:
    pairs = zip(found.guilty[row].tolist(), found.shares[row].tolist(), strict=True)
    guilty = ", ".join(f"{printable(found.features[j])} {share:.0%}" for j, share in pairs)
    score, p_value = found.scores["model"][row], found.p_values["model"][row]
    told = f"{printable(found.labels[row])}: score {score:.4g}, p {p_value:.3g}"
    return f"{told}; {guilty}" if guilty else told


def _tell_report(detector: AnomalyDetector, rows: Data, marked: npt.NDArray[np.bool_]) -> None:
    report = detector.report(rows.rows, marked)
    click.echo(f"{report.anomalous:,} known anomalies among {report.normal:,} normal rows:", err=True)
    for one in report.figures:
        click.echo(
            f"  {one.method}: AUROC {one.auroc:.3f} [{one.low:.3f}, {one.high:.3f}], detected {one.detected:.1%} at "
            f"{one.false_alarms:.1%} false alarms",
            err=True,
        )
