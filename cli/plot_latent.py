"""`embedkit plot model`: what a latent model has learned, in pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from .completion import data_sets
from .latent_data import data_options, drawable, model_options, open_data, open_model
from .latent_files import checked_png

_KINDS = ("lattice", "traversal", "interpolation", "filters", "losses", "kl")
_ROWS = 8  # strips of interpolations
_UNITS = 12  # of a traversal, those that vary most


@click.command("model", short_help="Draw what a latent model has learned.")
@click.argument("kind", metavar="KIND", type=click.Choice(_KINDS))
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", required=False, shell_complete=data_sets)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path),
              help="Picture to write: .png, .svg, .pdf, .jpg, .webp.")  # fmt: skip
@click.option("--units", nargs=2, type=click.IntRange(min=0), default=(0, 1), help="Of a lattice: which two.")
@click.option("--row", default=0, type=click.IntRange(min=0), help="Of a traversal: the row of DATA that is changed.")
@click.option("--seed", default=0, type=click.IntRange(min=0), help="Of interpolations: which rows; of --sample.")
@click.option("--title", default="", help="Written above.")
@click.option("--dark", is_flag=True, help="Light on dark.")
@model_options
@data_options
def draw_model(kind: str, model: Path, data: str | None, output: Path, units: tuple[int, int], row: int, seed: int,
               title: str, dark: bool, device: str, n_jobs: int | None, **reading: Any) -> None:  # fmt: skip
    """Draw what MODEL has learned.

    \b
    lattice        what two units of the code make, from left to right and from bottom to top
    traversal      a row of DATA while one unit after the other is changed
    interpolation  ways between rows of DATA, or between samples of a GAN
    filters        the first layer
    losses         by epoch, with the best one
    kl             of each unit of a variational autoencoder, by epoch

    \b
    embedkit plot model losses model.safetensors -o losses.png
    embedkit plot model lattice pictures.safetensors -o lattice.png
    """  # noqa: D301  # click's sign for lines that stay
    checked_png(output)
    verb = {"lattice": "lattice", "traversal": "traverse"}.get(kind, "sample")
    found = open_model(model, device, n_jobs, verb)
    how: dict[str, Any] = {"title": title, "dark": dark}
    codes = hasattr(found, "transform")
    if kind in ("traversal", "interpolation") and codes and data is None:
        raise click.UsageError(f"{'an' if kind[0] == 'i' else 'a'} {kind} needs DATA")
    rows = None if data is None or not codes else open_data(data, **reading, seed=seed, model=found)
    if kind in ("lattice", "traversal", "interpolation", "filters") and not found.kind_.image:
        raise click.UsageError("there are no pictures to draw: this model is of rows of numbers")
    from embedkit import plots

    if kind == "lattice":
        made = _pictures(found, found.lattice(units=units))
        figure = plots.lattice(made, across=f"unit {units[0]}", up=f"unit {units[1]}", **how)
    elif kind == "traversal" and rows is not None:
        figure = _traversal(found, rows, row, how)
    elif kind == "interpolation":
        figure = _interpolation(found, rows, seed, how)
    elif kind == "filters":
        figure = plots.filters(found, **how)
    elif kind == "losses":
        best = found.best_epoch_ if any("validation_loss" in entry for entry in found.history_) else None
        figure = plots.loss_curves(found.history_, best_epoch=best, **how)
    else:
        figure = plots.kl_per_unit(found.history_, best_epoch=found.best_epoch_, **how)
    plots.save_figure(figure, output)
    click.echo(f"drew {output}", err=True)


def _pictures(model: Any, made: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(m, n, ...) rows as pictures."""
    flat = drawable(model, made.reshape(-1, *made.shape[2:]))
    return flat.reshape(*made.shape[:2], *flat.shape[1:])


def _traversal(model: Any, data: Any, row: int, how: dict[str, Any]) -> Any:
    from embedkit.plots import strips

    if row >= len(data):
        raise click.UsageError(f"--row {row} does not exist: there are {len(data):,} rows")
    spread = model.codes_.std(axis=0)
    chosen = np.sort(np.argsort(-spread, kind="stable")[:_UNITS]).tolist()
    made = _pictures(model, model.traverse(data.take(np.array([row])).rows, n=9, units=chosen))
    most = f"; the {len(chosen)} units that vary most" if len(chosen) < len(spread) else ""
    title = how["title"] or f"Row {row} while one unit is changed{most}"
    return strips(made, names=[f"unit {unit}" for unit in chosen], along="from 2 deviations below the mean to 2 above",
                  **{**how, "title": title})  # fmt: skip


def _interpolation(model: Any, data: Any, seed: int, how: dict[str, Any]) -> Any:
    from embedkit.plots import strips

    if data is None:
        ends = model.sample_codes(2 * _ROWS, random_state=seed)
        first, last, told = ends[:_ROWS], ends[_ROWS:], "samples"
    else:
        n = min(_ROWS, len(data) // 2)
        if not n:
            raise click.UsageError("an interpolation needs two rows")
        drawn = np.random.default_rng(seed).permutation(len(data))[: 2 * n]
        first, last = (data.take(np.sort(part)).rows for part in (drawn[:n], drawn[n:]))
        told = "rows"
    made = _pictures(model, model.interpolate(first, last, n=9))
    return strips(made, **{**how, "title": how["title"] or f"Ways between the codes of two {told}"})
