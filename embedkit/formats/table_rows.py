"""Embeddings as tables of text: the one writer of CSV and TSV.

Everything but numbers stands in quotation marks, those in it doubled (RFC 4180), so that no word is taken for a missing
value or a number; each coordinate has the fewest digits that read back as the same float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.formats.frame import check_names, dimension_names
from embedkit.formats.text_rows import write_rows
from embedkit.labels import Labels

_CHUNK = 4096  # rows written at a time
# What spreadsheets take for the beginning of a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def write_table(stream: BinaryIO, embedding: Embedding, separator: str, *, safe_text: bool = False) -> None:
    r"""Write a header and a line a row: label, columns, dimensions.

    Parameters
    ----------
    stream
        Where to.
    embedding
        n rows.
    separator
        A comma or a tab.
    safe_text
        Put an apostrophe before each text (labels, columns of text, names) that a spreadsheet would take for a formula:
        one that begins with ``=``, ``+``, ``-``, ``@``, a tab or a line break. What is read back has it too.

    Raises
    ------
    BadInput
        A column is called as a dimension is, or ``label``; or two labels or names would be the same with apostrophes.
    """
    check_names(embedding)
    safe = _safe if safe_text else None
    columns = list(embedding.columns)
    names = ["label", *(map(safe, columns) if safe else columns), *dimension_names(embedding.width)]
    labels = embedding.labels
    if safe_text and any(map(_is_formula, labels)):
        labels = Labels(map(_safe, labels))  # refuses two that become one
    stream.write((separator.join(map(_quoted, names)) + "\n").encode())
    kept = [_cells_of(values, safe) for values in embedding.columns.values()]

    def prefixes(rows: slice) -> bytes:
        first = _quoted_labels(labels, rows, separator)
        if not kept:
            return first.encode()
        others = zip(*(cells(rows) for cells in kept), strict=True)
        # The last NUL makes an empty piece, which zip leaves out.
        lines = map("".join, zip(first.split("\0"), map(separator.join, others), strict=False))
        return (f"{separator}\0".join(lines) + f"{separator}\0").encode()

    write_rows(stream, embedding, separator.encode(), prefixes)


def write_columns(
    stream: BinaryIO,
    labels: Labels,
    columns: Mapping[str, npt.NDArray[np.generic]],
    separator: str,
    *,
    safe_text: bool = False,
) -> None:
    """Write a header and a line a row, of labels and columns with names; as `write_table`, without dimensions.

    Parameters
    ----------
    stream
        Where to.
    labels
        n labels.
    columns
        At least one, each of n values: text, numbers or booleans (see `embedkit.checks.as_columns`).
    separator, safe_text
        As there.

    Raises
    ------
    BadInput
        Two labels would be the same with apostrophes.
    """
    safe = _safe if safe_text else None
    if safe_text and any(map(_is_formula, labels)):
        labels = Labels(map(_safe, labels))
    names = ["label", *(map(safe, columns) if safe else columns)]
    stream.write((separator.join(map(_quoted, names)) + "\n").encode())
    cells = [_cells_of(values, safe) for values in columns.values()]
    for start in range(0, len(labels), _CHUNK):
        rows = slice(start, min(start + _CHUNK, len(labels)))
        others = map(separator.join, zip(*(some(rows) for some in cells), strict=True))
        lines = zip(_quoted_labels(labels, rows, separator).split("\0"), others, strict=False)
        stream.write(("\n".join(map("".join, lines)) + "\n").encode())


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _quoted_labels(labels: Labels, rows: slice, separator: str) -> str:
    """Some labels in quotation marks, each with a separator and a NUL after it: at once, as none holds a line break."""
    part = labels.blob[labels.offsets[rows.start] : labels.offsets[rows.stop] - 1].decode()
    return '"' + part.replace('"', '""').replace("\n", f'"{separator}\0"') + f'"{separator}\0'


def _cells_of(values: npt.NDArray[np.generic], safe: Callable[[str], str] | None) -> Callable[[slice], list[str]]:
    """What gives some values of a column as cells."""

    def texts(rows: slice) -> list[str]:
        held = values[rows].tolist()
        joined = "\0".join(held if safe is None else map(safe, held))  # no text holds a NUL
        return ('"' + joined.replace('"', '""').replace("\0", '"\0"') + '"').split("\0")

    if values.dtype.kind == "U":
        return texts
    if values.dtype.kind == "f":
        # repr has the fewest digits that read back as the same float64; NaN is a missing value.
        return lambda rows: ['""' if x != x else repr(x) for x in values[rows].tolist()]
    return lambda rows: list(map(str, values[rows].tolist()))


def _is_formula(text: str) -> bool:
    return text.startswith(_FORMULA)


def _safe(text: str) -> str:
    return f"'{text}" if _is_formula(text) else text
