"""Where the commands of latent models write to, and in which formats."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click

from embedkit import Embedding
from embedkit.errors import BadInput, printable
from embedkit.files.atomic import check_place
from embedkit.formats.named_columns import NAMED_FORMATS, NamedFormat
from embedkit.formats.writing import FORMATS, format_of

_Function = TypeVar("_Function", bound=Callable[..., Any])
_SEPARATORS = {"csv": ",", "tsv": "\t"}
PICTURES = "pictures"


def output_options(*more: str, required: bool = True) -> Callable[[_Function], _Function]:
    """``-o`` and ``--format`` of a command that writes rows, in vectors' formats and `more`."""

    def decorate(function: _Function) -> _Function:
        output = click.option("-o", "--output", required=required, type=click.Path(path_type=Path),
                              help="File to write (its ending says the format); - for CSV on stdout.")  # fmt: skip
        chosen = click.option("--format", "chosen", type=click.Choice([*FORMATS, *more]), default=None,
                              help="Format of the output, if its ending says none.")  # fmt: skip
        return output(chosen(function))

    return decorate


def png_option(what: str) -> Callable[[_Function], _Function]:
    """``--png FILE``: a picture of `what`."""
    return click.option("--png", default=None, type=click.Path(path_type=Path),
                        help=f"Draw {what}: .png, .svg, .pdf.")  # fmt: skip


def checked_png(png: Path | None) -> None:
    """Refuse a picture whose ending says no format, or that cannot be written, before anything is computed."""
    if png is not None:
        from embedkit.plots.figures import picture_format

        picture_format(png)
        check_place(png)


def checked_format(output: Path, chosen: str | None, *, streamed: tuple[str, ...] = ("csv", "tsv")) -> str:
    """The format that rows are to be written in; refuses what stdout does not take, before anything is computed."""
    if str(output) == "-":
        if (chosen or "csv") not in streamed:
            raise click.UsageError(f"stdout takes {' or '.join(streamed)}, not {chosen}")
        return chosen or "csv"
    if chosen is None and output.suffix.lower() == ".jsonl":
        return "jsonl"
    return chosen if chosen in ("jsonl", PICTURES) else format_of(output, chosen)


def write_vectors(made: Embedding, output: Path, chosen: str) -> None:
    """Write rows whose dimensions have no names of their own."""
    if str(output) == "-":
        from embedkit.formats.table_rows import write_table

        write_table(sys.stdout.buffer, made, _SEPARATORS[chosen])
        return
    from embedkit import write

    write(made, output, format=format_of(output, chosen))


def checked_table_format(output: Path, chosen: NamedFormat | None) -> NamedFormat:
    """The format of a table with named columns; refuses what it cannot be, before anything is computed."""
    if str(output) == "-":
        if chosen == "parquet":
            raise click.UsageError("stdout takes csv, tsv or jsonl, not parquet")
        return chosen or "csv"
    name = output.name.removesuffix(".gz").removesuffix(".bz2").removesuffix(".xz")
    ending = name.rpartition(".")[2].lower()
    found: NamedFormat | None = chosen or next((one for one in NAMED_FORMATS if one == ending), None)
    if found is None:
        known = ", ".join(NAMED_FORMATS)
        raise BadInput(f"the ending of {printable(str(output))} does not say a format: say one of {known}")
    return found


def stream_or_file(output: Path) -> BinaryIO | Path:
    """Standard output for ``-``."""
    return sys.stdout.buffer if str(output) == "-" else output
