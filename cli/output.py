"""Rows on standard output: as a table for people, or as CSV, TSV, JSON or JSON lines for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

from embedkit.errors import printable

FORMATS = ("table", "csv", "tsv", "json", "jsonl")

_Function = TypeVar("_Function", bound=Callable[..., Any])
Row = Sequence[Any]


def format_option(function: _Function) -> _Function:
    """``--format``: how rows are printed."""
    return click.option("--format", "style", type=click.Choice(FORMATS), default="table", help="How to print.")(
        function
    )


class Printer:
    """Prints batches of rows under one header, in one style.

    Parameters
    ----------
    header
        Names of the values of a row.
    style
        One of `FORMATS`.
    """

    def __init__(self, header: Sequence[str], style: str) -> None:
        self.header, self.style = list(header), style
        self._rows: list[Row] = []
        self._started = False

    def print(self, rows: Iterable[Row]) -> None:
        """Print `rows` now; a table or a JSON array waits for `close`, which knows them all."""
        if self.style in ("table", "json"):
            self._rows.extend(rows)
        elif self.style == "jsonl":
            for row in rows:
                sys.stdout.write(self._json(row) + "\n")
        else:
            import csv

            writer = csv.writer(sys.stdout, delimiter="," if self.style == "csv" else "\t", lineterminator="\n")
            if not self._started:
                writer.writerow(self.header)
            writer.writerows([["" if value is None else value for value in row] for row in rows])
        self._started = True
        sys.stdout.flush()

    def close(self) -> None:
        """Print what waited."""
        if self.style == "json":
            sys.stdout.write("[" + ",\n ".join(map(self._json, self._rows)) + "]\n")
        elif self.style == "table" and self._rows:
            sys.stdout.write(table(self.header, self._rows))

    def _json(self, row: Row) -> str:
        # A surrogate that the operating system smuggled in from bytes that are no UTF-8 could not be printed plain.
        return json.dumps(dict(zip(self.header, row, strict=True)), ensure_ascii=False)


def table(header: Sequence[str], rows: Sequence[Row]) -> str:
    """Columns lined up: text to the left, numbers to the right; nothing in it can move the cursor."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    right = [all(isinstance(row[j], int | float) or row[j] is None for row in rows) for j in range(len(header))]

    def line(values: Sequence[str]) -> str:
        padded = (v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, right, strict=True))
        return "  ".join(padded).rstrip() + "\n"

    return line(header) + "".join(map(line, cells))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else printable(str(value))
