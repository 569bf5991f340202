"""`embedkit encode`, `decode` and `generate`: rows to codes, codes to rows, and rows that there never were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from embedkit import Embedding
from embedkit.errors import BadInput
from embedkit.formats.named_columns import NAMED_FORMATS, write_named
from embedkit.formats.picture_files import write_array, write_image_folder
from embedkit.labels import Labels
from embedkit.plots.figures import ENDINGS

from .completion import data_sets
from .latent_data import (
    Data,
    about_model,
    data_options,
    drawable,
    model_options,
    open_data,
    open_model,
)
from .latent_files import (
    PICTURES,
    checked_format,
    checked_png,
    output_options,
    png_option,
    stream_or_file,
    write_vectors,
)
from .sources import warnings_said

_MODEL = click.Path(path_type=Path)
_SHOWN = 100  # pictures in a sheet
_CODED = 10  # pictures with their reconstructions


@click.command(short_help="Turn rows into the codes of a latent model.")
@click.argument("model", type=_MODEL)
@click.argument("data", shell_complete=data_sets)
@output_options()
@png_option("the codes: their first two principal components, if there are more than two")
@click.option("--reconstructions", default=None, type=click.Path(path_type=Path),
              help="Draw the first pictures, what comes back of them, and the difference.")  # fmt: skip
@click.option("--errors", is_flag=True, help="Add a column: the mean squared error of what comes back.")
@click.option("--seed", default=None, type=int, help="Seed of --sample.")
@model_options
@data_options
def encode(model: Path, data: str, output: Path, chosen: str | None, png: Path | None, reconstructions: Path | None,
           errors: bool, seed: int | None, device: str, n_jobs: int | None, **reading: Any) -> None:  # fmt: skip
    """Turn the rows of DATA into codes by MODEL, with their labels and columns.

    DATA is a table (CSV, TSV, Parquet), a folder or a file of pictures, vectors in any format, - for standard input, or
    a name: digits, mnist, ...

    \b
    embedkit encode model.safetensors data.csv -o codes.csv
    embedkit encode model.safetensors - -o - < data.csv > codes.csv
    """  # noqa: D301  # click's sign for lines that stay
    chosen = checked_format(output, chosen)
    checked_png(png)
    checked_png(reconstructions)
    coder = open_model(model, device, n_jobs)
    _check_drawable(coder, reconstructions)
    if png is not None and coder.n_components < 2:
        raise click.UsageError("--png draws codes of two numbers or more")
    rows = open_data(data, **reading, seed=seed, model=coder)
    made = rows.labelled(np.asarray(coder.transform(rows.rows)), about_model(coder, model, "transform"))
    if errors:
        made = _with_errors(made, coder, rows)
    write_vectors(made, output, chosen)
    if png is not None:
        _draw_codes(made, type(coder).__name__, png)
    if reconstructions is not None:
        _draw_reconstructions(coder, rows, reconstructions)
    click.echo(f"encoded {rows} as {coder.n_components} numbers each", err=True)
    if str(output) != "-":
        click.echo(f"next: embedkit project {output} --method umap -o map.csv --html map.html", err=True)


def _with_errors(made: Embedding, coder: Any, data: Data) -> Embedding:
    if "error" in made.columns:
        raise BadInput("there is a column 'error' already, which --errors would make: rename it")
    found = coder.reconstruction_errors(data.rows).mean(axis=1, dtype=np.float64)
    return Embedding(made.labels, made.vectors, columns={**made.columns, "error": found}, provenance=made.provenance)


def _draw_codes(made: Embedding, name: str, png: Path) -> None:
    from embedkit.plots import latent_scatter, save_figure

    colour = next((name for name in ("class", *made.columns) if name in made.columns), None)
    with warnings_said():
        save_figure(latent_scatter(made, colour=colour, title=f"Codes of {len(made):,} rows by {name}"), png)


def _draw_reconstructions(coder: Any, data: Data, png: Path) -> None:
    from embedkit.plots import reconstructions, save_figure

    some = data.take(np.arange(min(_CODED, len(data))))
    kind = coder.kind_
    inputs = np.concatenate([kind.restore(rows) for rows in coder.blocks(some.rows)])
    outputs = np.asarray(coder.reconstruct(some.rows)).reshape(inputs.shape)
    save_figure(reconstructions(drawable(coder, inputs), drawable(coder, outputs)), png)


@click.command(short_help="Turn codes back into pictures or rows of a table.")
@click.argument("model", type=_MODEL)
@click.argument("codes")
@output_options(PICTURES, "jsonl")
@png_option("the pictures, the first hundred of them")
@model_options
def decode(model: Path, codes: str, output: Path, chosen: str | None, png: Path | None, device: str,
           n_jobs: int | None) -> None:  # fmt: skip
    """Turn CODES (a file of vectors or a table as encode writes it, or - for standard input) into rows by MODEL.

    Pictures go to a .npy file of shape (n, height, width) with numbers from 0 to 1, to a folder of .png files (OUTPUT
    without an ending), or flat to any format of vectors. Rows of a table get their columns back, in their own units.

    \b
    embedkit decode model.safetensors codes.csv -o decoded.csv
    """  # noqa: D301  # click's sign for lines that stay
    chosen = _checked_rows_format(output, chosen)
    checked_png(png)
    decoder = open_model(model, device, n_jobs, "inverse_transform")
    _check_drawable(decoder, png)
    given = open_data(codes)
    made = decoder.inverse_transform(np.asarray(given.rows))
    about = about_model(decoder, model, "inverse_transform")
    _write_rows(decoder, made, given, about, output, chosen)
    if png is not None:
        _draw_grid(decoder, made, f"Decoded by {type(decoder).__name__}", png)
    click.echo(f"decoded {len(made):,} codes of {decoder.n_components} numbers{_where(output)}", err=True)


@click.command(short_help="Draw new rows from a latent model.")
@click.argument("model", type=_MODEL)
@click.option("-n", "count", default=64, type=click.IntRange(min=1), help="How many.")
@click.option("--how", type=click.Choice(["prior", "gmm"]), default=None, show_default=False,
              help="Draw codes from the prior, or from a mixture of Gaussians fitted to the codes of the rows that the "
              "model was trained on.  [default: prior where there is one]")  # fmt: skip
@output_options(PICTURES, "jsonl")
@png_option("the pictures, the first hundred of them")
@click.option("--seed", default=None, type=int, help="Seed; drawn and told if not given.")
@model_options
def generate(model: Path, count: int, how: str | None, output: Path, chosen: str | None, png: Path | None,
             seed: int | None, device: str, n_jobs: int | None) -> None:  # fmt: skip
    """Draw new rows from MODEL: pictures, or rows of a table in its own columns and units.

    \b
    embedkit generate pictures.safetensors -n 64 -o samples.npy --png samples.png
    embedkit generate model.safetensors -n 1000 --how gmm -o samples.csv
    """  # noqa: D301  # click's sign for lines that stay
    from embedkit.parameters import seed_of

    chosen = _checked_rows_format(output, chosen)
    checked_png(png)
    maker = open_model(model, device, n_jobs, "sample")
    _check_drawable(maker, png)
    seed = seed_of(seed)
    if how is not None and not hasattr(maker, "transform"):
        raise click.UsageError(f"--how is for models with codes, and a {type(maker).__name__} has none")
    how_given = {} if how is None else {"how": how}
    made = maker.sample(count, **how_given, random_state=seed)
    about = {**about_model(maker, model, "sample"), **how_given, "random_state": seed}
    _write_rows(maker, made, Data(made, None, {}, {}), about, output, chosen)
    if png is not None:
        _draw_grid(maker, made, f"{count:,} samples of {type(maker).__name__}, seed {seed}", png)
    click.echo(f"drew {count:,} rows (seed {seed}){_where(output)}", err=True)


def _check_drawable(model: Any, png: Path | None) -> None:
    if png is not None and not model.kind_.image:
        raise click.UsageError("there are no pictures to draw: this model is of rows of numbers")


def _where(output: Path) -> str:
    return "" if str(output) == "-" else f" to {output}"


def _checked_rows_format(output: Path, chosen: str | None) -> str:
    """The format of rows: a name without an ending is a folder of pictures."""
    if chosen is None and str(output) != "-" and not output.suffix:
        return PICTURES
    if chosen is None and output.suffix.lower() in ENDINGS:
        raise click.UsageError(f"a sheet of pictures is drawn by --png {output}; -o takes rows, .npy, or a folder")
    return checked_format(output, chosen, streamed=("csv", "tsv", "jsonl"))


def _write_rows(
    model: Any, made: npt.NDArray[Any], given: Data, about: dict[str, Any], output: Path, chosen: str
) -> None:  # fmt: skip
    """Write rows that a model made, in the form that suits them."""
    kind = model.kind_
    if chosen == PICTURES:
        if not kind.image or not kind.pixels:
            raise BadInput("a folder is for pictures of pixels, and this model makes other rows: name a file")
        write_image_folder(drawable(model, made), output)
    elif kind.image and chosen == "npy":
        write_array(drawable(model, made), output)
    elif kind.names is not None and chosen in NAMED_FORMATS:
        labels = given.labels or Labels(range(len(made)))
        twice = set(given.columns) & set(kind.names)
        columns = {name: values for name, values in given.columns.items() if name not in twice}
        features = {name: made[:, j] for j, name in enumerate(kind.names)}
        write_named(labels, {**columns, **features}, stream_or_file(output), chosen)
    elif chosen == "jsonl":
        raise BadInput("JSON lines are for rows whose columns have names, and this model's have none: take csv")
    else:
        write_vectors(given.labelled(made.reshape(len(made), -1), about), output, chosen)


def _draw_grid(model: Any, made: npt.NDArray[Any], title: str, png: Path) -> None:
    from embedkit.plots import picture_grid, save_figure

    shown = drawable(model, made[:_SHOWN])
    more = "" if len(made) <= _SHOWN else f", the first {_SHOWN}"
    save_figure(picture_grid(shown, title=title + more), png)
