"""Tables of text as Embeddings: the form is found out, then rows are converted some at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.errors import BadFile, BadInput, printable
from embedkit.formats import delimited
from embedkit.formats.collecting import about_file
from embedkit.formats.delimited import Record
from embedkit.formats.table_roles import (
    LABEL_NAMES,
    Missing,
    Roles,
    check_names,
    choose,
    kept_rows,
    own_width,
    provenance,
    settle,
)
from embedkit.labels import Labels

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_SAMPLE_ROWS, _SAMPLE_CHARACTERS = 1000, 2**20  # what is looked at to tell numbers from text
_SNIFFED_ROWS = 50


def read_text_table(
    stream: BinaryIO,
    path: str | os.PathLike[str],
    *,
    label: str | None,
    columns: Sequence[str] | None,
    features: Sequence[str] | None,
    limit: int | None,
    missing: Missing,
) -> tuple[Embedding, list[str]]:
    """Read a table of text by the rules of `embedkit.formats.tables.read_table`; with it the names of its features.

    Parameters
    ----------
    stream
        The table, open for reading bytes.
    path
        What errors call it.
    label, columns, features, limit, missing
        As there.
    """
    table = _sniffed(delimited.records(stream, path), path, limit)
    return _embedding(table, label, columns, features, missing)


class _Text(NamedTuple):
    """A table of text whose form is known."""

    path: str | os.PathLike[str]
    delimiter: str
    names: list[str]
    numeric: list[bool]
    quotes_all: bool
    rows: Iterator[Record]
    about: dict[str, Any]


def _sniffed(rows: Iterator[Record], path: str | os.PathLike[str], limit: int | None) -> _Text:
    """Find out the delimiter, the names, and which columns hold numbers."""
    first = next((record for record in rows if record.text), None)
    if first is None:
        raise BadFile(path, "is empty: a table was expected")
    start = [first, *_start_of(rows, _SNIFFED_ROWS)]
    delimiter = delimited.sniff([record for record in start if record.text])
    body = delimited.checked(chain(start, rows), delimiter, delimited.count_fields(first.text, delimiter), path)
    header = next(body)
    cells = delimited.fields(header.text, delimiter)
    names = [delimited.plain(cell) if cell.startswith('"') else cell.strip() for cell in cells]
    if not _is_header(names):
        names = [f"column{place}" for place in range(1, len(names) + 1)]
        body = chain([header], body)
    check_names(names)
    sample = _start_of(body, _SAMPLE_ROWS if limit is None else min(max(limit, 1), _SAMPLE_ROWS))
    if not sample and not own_width(names):  # an Embedding may have no rows
        raise BadFile(path, "holds a header and no rows")
    split = [delimited.fields(record.text, delimiter) for record in sample]
    quotes_all = not any(delimited.is_number(cell) for row in split[:1] for cell in row)
    numeric = [_is_numeric([row[j] for row in split], quotes_all) for j in range(len(names))]
    rest = islice(chain(sample, body), limit)
    return _Text(path, delimiter, names, numeric, quotes_all, rest, about_file(path, whole=limit is None))


def _start_of(rows: Iterator[Record], most: int) -> list[Record]:
    found, size = list[Record](), 0
    for record in islice(rows, most):
        found.append(record)
        size += len(record.text)
        if size > _SAMPLE_CHARACTERS:
            break
    return found


def _is_header(names: Sequence[str]) -> bool:
    numbers = [name for name in names if delimited.is_number(name)]
    if not numbers or own_width(names):
        return True
    counted = all(name.isdecimal() for name in numbers) and len(set(numbers)) == len(numbers)
    return len(names) > 1 and counted and names[0].casefold() in LABEL_NAMES


def _is_numeric(cells: Sequence[str], quotes_all: bool) -> bool:
    texts = [delimited.plain(cell) for cell in cells]
    known = [cell for cell, text in zip(cells, texts, strict=True) if not delimited.is_missing(text)]
    numbers = sum(delimited.is_number(delimited.plain(cell) if quotes_all else cell) for cell in known)
    return 2 * numbers > len(known) or (not known and not all(cell.startswith('"') for cell in cells))


def _embedding(
    table: _Text,
    label: str | None,
    columns: Sequence[str] | None,
    features: Sequence[str] | None,
    missing: Missing,
) -> tuple[Embedding, list[str]]:
    path, delimiter, names = table.path, table.delimiter, table.names
    roles = choose(names, table.numeric, label=label, columns=columns, features=features)
    wanted = {*roles.columns, *roles.candidates, *(() if roles.label is None else (roles.label,))}
    texts: dict[int, list[str]] = {j: [] for j in wanted}
    blocks, lines, places = list[Floats](), list[Ints](), list[Ints]()
    seen = 0
    for batch in delimited.batched(table.rows):
        cells = [delimited.fields(record.text, delimiter, max(wanted)) if wanted else [] for record in batch]
        block = delimited.numbers(batch, delimiter, roles.features, names, path)
        keep = _kept(table, batch, cells, block, roles, missing)
        blocks.append(block if len(keep) == len(block) else block[keep])
        for j, kept in texts.items():
            kept.extend([cells[row][j] for row in keep.tolist()])
        lines.append(np.array([record.line for record in batch])[keep])
        places.append(seen + keep)
        seen += len(batch)
    roles = settle(roles, {j: [delimited.plain(cell) for cell in texts[j]] for j in roles.candidates})
    matrix = _joined(blocks, len(roles.features))
    named: Sequence[object]
    if roles.label is None:
        named = np.concatenate(places).tolist() if places else []
    else:
        named = [delimited.plain(cell) for cell in texts[roles.label]]
    try:
        labels = Labels(named)
    except BadInput:
        _refuse_label(named, np.concatenate(lines).tolist(), path)
        raise
    made = Embedding(
        labels,
        matrix,
        columns={names[j]: delimited.as_column(names[j], texts[j], quotes_all=table.quotes_all) for j in roles.columns},
        provenance=provenance("read_table", names, roles, seen - len(matrix), table.about),
    )
    return made, [names[j] for j in roles.features]


def _kept(
    table: _Text,
    batch: Sequence[Record],
    cells: Sequence[Sequence[str]],
    block: Floats,
    roles: Roles,
    missing: Missing,
) -> Ints:
    """Positions of the rows of a batch that stay."""
    label = roles.label
    absent = np.array([label is not None and not row[label] for row in cells])

    def refuse(row: int, reason: str) -> BadFile:
        shown = "" if label is None else f"'{printable(delimited.plain(cells[row][label])[:40])}': "
        return BadFile(table.path, shown + reason, f"line {batch[row].line}")

    keep = kept_rows(block, absent, missing, [table.names[j] for j in roles.features], refuse)
    return np.flatnonzero(keep)


def _refuse_label(labels: Sequence[object], lines: Sequence[int], path: str | os.PathLike[str]) -> None:
    """Say by line which label is there twice or holds a line break."""
    seen: dict[object, int] = {}
    for label, line in zip(labels, lines, strict=True):
        shown = printable(str(label)[:40])
        if label in seen:
            where = f"on lines {seen[label]} and {line}"
            reason = f"label '{shown}' is there twice, {where}: name another `label`, or keep this one by `columns`"
            raise BadFile(path, reason, f"line {line}")
        if "\n" in str(label) or "\r" in str(label):
            raise BadFile(path, f"label '{shown}' holds a line break, which no label may", f"line {line}")
        seen[label] = line


def _joined(blocks: list[Floats], width: int) -> Floats:
    """The blocks under each other; each is let go as soon as it is copied, so that nothing is held twice."""
    end = sum(map(len, blocks))
    matrix = np.empty((end, width), dtype=np.float32)
    while blocks:
        block = blocks.pop()
        matrix[end - len(block) : end] = block
        end -= len(block)
    return matrix
