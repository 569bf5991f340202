"""Tables of columns with names of their own, as files: scores, decoded rows."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, BinaryIO, Literal, get_args

import numpy as np
import numpy.typing as npt

from embedkit.checks import as_columns
from embedkit.errors import BadInput
from embedkit.files.atomic import replacing
from embedkit.formats.table_rows import write_columns
from embedkit.formats.text_rows import packing
from embedkit.labels import Labels

NamedFormat = Literal["csv", "tsv", "parquet", "jsonl"]
NAMED_FORMATS: tuple[NamedFormat, ...] = get_args(NamedFormat)
_SEPARATORS = {"csv": ",", "tsv": "\t"}


def write_named(
    labels: Labels, columns: Mapping[str, npt.ArrayLike], path: str | os.PathLike[str] | BinaryIO, chosen: NamedFormat
) -> None:  # fmt: skip
    """Write labels and columns as a table, all or nothing.

    Parameters
    ----------
    labels
        n of them.
    columns
        At least one: n numbers, booleans or strings each. NaN is a missing value.
    path
        The file (``.csv.gz`` and the like are packed), or a binary stream that is open for writing.
    chosen
        ``"csv"``, ``"tsv"``, ``"parquet"`` or ``"jsonl"``.

    Raises
    ------
    BadInput
        A column is called ``label`` or does not hold n values, there is no such format, or pyarrow is missing.
    BadFile
        The file cannot be written.

    Examples
    --------
    >>> import io
    >>> stream = io.BytesIO()
    >>> write_named(Labels(["a", "b"]), {"score": [0.5, 1.0]}, stream, "csv")
    >>> print(stream.getvalue().decode(), end="")
    "label","score"
    "a",0.5
    "b",1.0
    """
    kept = as_columns(columns, len(labels))
    if "label" in kept:
        raise BadInput("column 'label' has the name of the labels, and a table has each name once: rename it")
    if not kept or chosen not in NAMED_FORMATS:
        raise BadInput(f"a table has columns, and is written as {', '.join(NAMED_FORMATS)}, not as {chosen}")
    if not isinstance(path, str | os.PathLike):
        _write(path, labels, kept, chosen)
        return
    with packing(path) if chosen in _SEPARATORS else replacing(path) as stream:
        _write(stream, labels, kept, chosen)


def _write(stream: BinaryIO, labels: Labels, columns: Mapping[str, npt.NDArray[Any]], chosen: NamedFormat) -> None:
    if chosen in _SEPARATORS:
        write_columns(stream, labels, columns, _SEPARATORS[chosen])
    elif chosen == "jsonl":
        names = ["label", *columns]
        for row in zip(labels, *map(_values, columns.values()), strict=True):
            text = json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False, allow_nan=False)
            stream.write(f"{text}\n".encode())
    else:
        import pandas as pd

        try:
            pd.DataFrame({"label": list(labels), **columns}).to_parquet(stream, engine="pyarrow", index=False)
        except ImportError:
            raise BadInput("to write Parquet install pyarrow: pip install 'embedkit[parquet]'") from None


def _values(column: npt.NDArray[Any]) -> list[Any]:
    """Values as JSON has them: a missing number is null."""
    if column.dtype.kind != "f":
        found: list[Any] = column.tolist()
        return found
    if np.isinf(column).any():
        raise BadInput("JSON has no infinity: write csv")
    return [None if value != value else value for value in column.tolist()]
