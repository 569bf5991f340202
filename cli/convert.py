"""`embedkit convert`: files of vectors from one format to another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embedkit.formats.writing import FORMATS, Format, format_of

from .options import read_vectors


@click.command(short_help="Turn a file of vectors into another format.")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--format", "chosen", type=click.Choice(FORMATS), help="Format of OUT, where its ending does not say it.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many rows.")
@click.option(
    "--storage",
    type=click.Choice(["float32", "float16", "int8"]),
    help="How OUT keeps values (native; .npy and .npz as float16 too).",
)
@click.option(
    "--errors",
    type=click.Choice(["strict", "replace"]),
    default="strict",
    help="Words that are not UTF-8: refuse them, or replace what cannot be read.",
)
@click.option(
    "--duplicates",
    type=click.Choice(["refuse", "first"]),
    default="refuse",
    help="A word that is there twice: refuse it, or keep the first.",
)
@click.option("--trust", is_flag=True, help="Open gensim's own saves: pickles, which can run any code.")
@click.option("--words", type=click.Path(path_type=Path), help="Words of a .npy file, one a line.")
def convert(source: Path, target: Path, chosen: Format | None, storage: Any, **how: Any) -> None:
    """Read the vectors in IN, whatever format they are in, and write them to OUT.

    What IN is, its content tells: embedkit's own, word2vec text or binary, fastText .vec or .bin, GloVe text, .npy,
    .npz, CSV, TSV, JSON, Parquet, IDX images; text may be packed by gzip, bzip2 or xz. What OUT shall be, its ending
    tells (.safetensors, .vec, .bin, .csv, .tsv, .json, .parquet, .npz, .npy; .vec.gz) or --format. A native file
    (.safetensors) opens in milliseconds from then on.

    \b
    embedkit convert vectors.txt vectors.safetensors
    embedkit convert vectors.safetensors vectors.vec.gz --limit 10000
    """  # noqa: D301  # click's sign for lines that stay
    format_ = format_of(target, chosen)
    allowed = {"native": ("float32", "float16", "int8"), "npy": ("float32", "float16"), "npz": ("float32", "float16")}
    if storage is not None and storage not in allowed.get(format_, ()):
        raise click.UsageError(f"--storage {storage} does not go with files in format {format_}")
    if storage == "float16":
        how["dtype"] = "float16"  # half the memory on the way
    if target.is_file() and not source.exists():
        raise click.UsageError(f"there is no file {source}; IN comes before OUT: embedkit convert {target} {source}")
    embedding = read_vectors(source, **how)
    if storage is not None:
        embedding = embedding.with_storage(storage)
    from embedkit import write

    write(embedding, target, format=format_)
    click.echo(f"wrote {len(embedding):,} rows x {embedding.width} to {target} ({format_})", err=True)
