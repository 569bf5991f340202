"""Tables as text (CSV, TSV and their kin, RFC 4180): records with their lines, fields, and what is a number."""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.checks import as_texts
from embedkit.errors import BadFile, printable

DELIMITERS = "\t,;|"
_LONGEST = 2**22  # bytes of one row: hundreds of thousands of columns, and still an end to what is no table
_EMPTY = 100_000  # empty lines in a row that are still a table's
_BLOCK = 2**20  # bytes read at a time
_BATCH = 2**22  # characters of the rows converted together

_DIGITS = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_NUMBER = re.compile(rf"[+-]?(?:{_DIGITS}|inf|infinity)", re.IGNORECASE | re.ASCII)
# Zeros in front are part of what a postcode or an article number says: such a column is kept as text.
_KEPT_NUMBER = re.compile(rf"[+-]?(?!0[0-9])(?:{_DIGITS}|inf)", re.ASCII)
_WHOLE = re.compile(r"[+-]?[0-9]{1,20}", re.ASCII)
_MISSING = frozenset({"", "nan", "-nan", "na", "n/a", "null", "none"})
_TRUTH = {"True": True, "False": False, "true": True, "false": False, "TRUE": True, "FALSE": False}


class Record(NamedTuple):
    """One row of a table as text, without its line break, and the line (from 1) on which it begins."""

    line: int
    text: str


def records(stream: BinaryIO, path: str | os.PathLike[str]) -> Iterator[Record]:
    """The rows of a table: lines, joined where a line break stands between quotation marks; a BOM is dropped.

    Parameters
    ----------
    stream
        The table, open for reading bytes.
    path
        What errors call it.

    Yields
    ------
    Record
        Empty lines too.

    Raises
    ------
    BadFile
        Naming the line: it is not UTF-8, holds NUL or a carriage return that ends no line, is longer than 4 MiB, or a
        quotation mark is opened and never closed; or there are very many empty lines.

    Warns
    -----
    UserWarning
        The last line has no line break.
    """
    number, began, size, empty, pending = 0, 0, 0, 0, list[str]()
    for block in _blocks(stream):
        plain_lines = None if pending else _plain_lines(block)
        if plain_lines is not None:
            for text in plain_lines:
                number += 1
                empty = 0 if text else _one_more(empty, number, path)
                yield Record(number, text)
            continue
        for raw in io.BytesIO(block):
            number += 1
            size += len(raw)
            if size > _LONGEST:
                lost = "; is a quotation mark never closed?" if pending else ""
                raise BadFile(
                    path, f"a row longer than 4 MiB is no row of a table{lost}", f"line {began if pending else number}"
                )
            text = _decoded(raw, number, path)
            if number == 1:
                text = text.removeprefix("\ufeff")
            if not pending:
                began = number
            if (text.count('"') % 2 == 1) != bool(pending):
                pending.append(text)  # within quotation marks: the row goes on
                continue
            whole = "".join([*pending, text])
            ending = 2 if whole.endswith("\r\n") else 1 if whole.endswith("\n") else 0
            whole = whole[: len(whole) - ending]
            if "\r" in whole and any("\r" in part for part in whole.split('"')[::2]):
                raise BadFile(path, "a carriage return ends no line here: save it with line feeds", f"line {began}")
            if whole and not ending:
                where = printable(str(path))
                warnings.warn(f"{where}: the last line has no line break: the file may have been cut", stacklevel=2)
            empty = 0 if whole else _one_more(empty, began, path)
            yield Record(began, whole)
            size, pending = 0, []
    if pending:
        raise BadFile(path, "a quotation mark is opened and never closed", f"line {began}")


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    """The bytes, a megabyte or so of whole lines at a time; a line that is too long comes as far as that is known."""
    held = b""
    while part := stream.read(_BLOCK):
        held += part
        end = held.rfind(b"\n") + 1
        if end or len(held) > _LONGEST:
            yield held[: end or len(held)]
            held = held[end or len(held) :]
    if held:
        yield held


def _plain_lines(block: bytes) -> list[str] | None:
    """The lines of a block in which nothing needs a closer look; most are such, and this is five times as fast."""
    block = block.replace(b"\r\n", b"\n")
    if not block.endswith(b"\n") or block.startswith(b"\xef\xbb\xbf") or any(mark in block for mark in b'"\r\0'):
        return None
    try:
        return block.decode("utf-8").split("\n")[:-1]
    except UnicodeDecodeError:
        return None


def _one_more(empty: int, number: int, path: str | os.PathLike[str]) -> int:
    if empty == _EMPTY:
        raise BadFile(path, f"{_EMPTY:,} empty lines in a row are no table", _line(number))
    return empty + 1


def _decoded(raw: bytes, number: int, path: str | os.PathLike[str]) -> str:
    if b"\0" in raw:
        raise BadFile(path, f"holds a NUL at byte {raw.index(0)} of the line: this is no table of text", _line(number))
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"is not valid UTF-8 at byte {error.start} of the line: save it as UTF-8"
        raise BadFile(path, reason, _line(number)) from None


def _line(number: int) -> str:
    return f"line {number}"


def sniff(sample: Sequence[Record]) -> str:
    """The delimiter: tab, comma, semicolon or bar.

    It is the one that cuts most of the rows into as many fields as the first one; of several the one that makes most
    fields, and a comma only if nothing else does as well (it may be in numbers). A comma if there is none.
    """

    def fitness(delimiter: str) -> tuple[float, int, int]:
        counts = [count_fields(record.text, delimiter) for record in sample]
        agree = sum(count == counts[0] for count in counts) if counts[0] > 1 else 0
        return agree, counts[0], -DELIMITERS.replace(",", "").find(delimiter) if delimiter != "," else -9

    best = max(DELIMITERS, key=fitness)
    return best if fitness(best)[0] else ","


def count_fields(text: str, delimiter: str) -> int:
    """How many fields a row has; 0 if its quotation marks are not where they may be.

    A field with quotation marks, delimiters or line breaks in it is enclosed in marks, and those in it are doubled.
    """
    if '"' not in text:
        return text.count(delimiter) + 1
    outside = text.split('"')[::2]  # between the marks; nothing stands between the two of a doubled one
    if (outside[0] and not outside[0].endswith(delimiter)) or (outside[-1] and not outside[-1].startswith(delimiter)):
        return 0
    for part in outside[1:-1]:
        if part and not (part.startswith(delimiter) and part.endswith(delimiter)):
            return 0
    return sum(part.count(delimiter) for part in outside) + 1


def fields(text: str, delimiter: str, last: int | None = None) -> list[str]:
    """The fields of a row (up to number `last`, from 0), still quoted where they are."""
    if '"' not in text:
        return text.split(delimiter) if last is None else text.split(delimiter, last + 1)[: last + 1]
    found, start = list[str](), 0
    while start <= len(text) and (last is None or len(found) <= last):
        end = start
        if text.startswith('"', start):
            end = text.index('"', start + 1) + 1
            while text.startswith('"', end):  # doubled
                end = text.index('"', end + 1) + 1
        end = text.find(delimiter, end)
        end = len(text) if end < 0 else end
        found.append(text[start:end])
        start = end + 1
    return found


def plain(field: str) -> str:
    """A field without the quotation marks around it.

    Examples
    --------
    >>> plain('"5"" pipe"'), plain("pipe")
    ('5" pipe', 'pipe')
    """
    return field[1:-1].replace('""', '"') if field.startswith('"') else field


def is_number(text: str) -> bool:
    """Whether `text` is a number as programs write them (or infinite), not ``1_000``, ``0x1F`` or ``1,5``."""
    return _NUMBER.fullmatch(text.strip()) is not None


def is_missing(text: str) -> bool:
    """Whether `text`, where a number should be, says that there is none: empty, nan, NA, N/A, null or None."""
    return text.strip().lower() in _MISSING


def checked(rows: Iterable[Record], delimiter: str, width: int, path: str | os.PathLike[str]) -> Iterator[Record]:
    """The rows that are not empty, each with `width` fields.

    Raises
    ------
    BadFile
        A row has more or fewer fields, or quotation marks where none may be (named by its line).
    """
    for record in rows:
        if '"' not in record.text and record.text.count(delimiter) == width - 1:
            yield record
            continue
        if not record.text and width > 1:
            continue
        count = count_fields(record.text, delimiter)
        if count == 0:
            reason = (
                'a quotation mark stands inside a field: enclose the field in marks and double it, as in "5"" pipe"'
            )
            raise BadFile(path, reason, _line(record.line))
        if count != width:
            reason = f"{count} field{'s' * (count != 1)} where the first line has {width}"
            raise BadFile(path, reason, _line(record.line))
        yield record


def batched(rows: Iterable[Record]) -> Iterator[list[Record]]:
    """Rows in lists of some four million characters."""
    batch, size = list[Record](), 0
    for record in rows:
        batch.append(record)
        size += len(record.text) + 50
        if size > _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def numbers(
    batch: Sequence[Record], delimiter: str, wanted: Sequence[int], names: Sequence[str], path: str | os.PathLike[str]
) -> npt.NDArray[np.float32]:
    """The numbers of some columns of some rows.

    Parameters
    ----------
    batch
        m rows that `checked` gave.
    delimiter
        What stands between fields.
    wanted
        Positions of d columns.
    names
        Names of all columns.
    path
        What errors call the table.

    Returns
    -------
    ndarray
        float32, shape (m, d), correctly rounded; NaN where a value is missing, infinity where it is beyond float32.

    Raises
    ------
    BadFile
        A field is text (named by line and column).
    """
    texts = [record.text for record in batch]
    block = _by_numpy(texts, delimiter, wanted)
    if block is None:
        block = _by_numpy([_filled(text, delimiter) for text in texts], delimiter, wanted)
    if block is not None:
        return block
    block = np.empty((len(batch), len(wanted)), dtype=np.float32)
    with np.errstate(over="ignore"):
        for row, record in enumerate(batch):
            cells = fields(record.text, delimiter, max(wanted))
            block[row] = [_number(plain(cells[j]), record.line, names[j], path) for j in wanted]
    return block


def _by_numpy(texts: list[str], delimiter: str, wanted: Sequence[int]) -> npt.NDArray[np.float32] | None:
    """The same by numpy's reader: ten times as fast, and it takes nothing else for a number; None if it stumbles."""
    if not all(texts):  # it would leave out what is empty
        return None
    try:
        block: npt.NDArray[np.float32] = np.loadtxt(
            texts, dtype=np.float32, delimiter=delimiter, comments=None, usecols=wanted, quotechar='"', ndmin=2
        )
    except ValueError:
        return None
    return block if block.shape == (len(texts), len(wanted)) else None


def _filled(text: str, delimiter: str) -> str:
    """A row with nan in its empty fields; what this does to text between quotation marks is seen by nobody."""
    double, single = 2 * delimiter, f"{delimiter}nan{delimiter}"
    text = text.replace(double, single).replace(double, single)
    return f"{'nan' * (not text or text.startswith(delimiter))}{text}{'nan' * text.endswith(delimiter)}"


def _number(text: str, line: int, name: str, path: str | os.PathLike[str]) -> float:
    if is_number(text):
        return float(text.strip())
    if is_missing(text):
        return np.nan
    what = f"column '{printable(name)}' holds numbers, and here '{printable(text[:40])}'"
    reason = f"{what}: correct it, or keep the column by `columns`"
    raise BadFile(path, reason, _line(line))


def as_column(name: str, cells: Sequence[str], *, quotes_all: bool) -> npt.NDArray[np.generic]:
    """What a column that is kept as it is holds: booleans, whole numbers, numbers (NaN for a missing one), or texts.

    Parameters
    ----------
    name
        What errors call it.
    cells
        Its n fields, still quoted where they are.
    quotes_all
        Whether the file quotes numbers too; where it does not, what is quoted is text.

    Returns
    -------
    ndarray
        Shape (n,): bool, int64, uint64, float64 or str.

    Raises
    ------
    BadInput
        One text is so much longer than the others that an array of them would take all memory.
    """
    texts = [plain(cell) for cell in cells]
    bare = quotes_all or not any(cell.startswith('"') and cell != '""' for cell in cells)
    if bare and texts:
        if all(text in _TRUTH for text in texts):
            return np.array([_TRUTH[text] for text in texts])
        if all(_KEPT_NUMBER.fullmatch(text) or is_missing(text) for text in texts) and not all(map(is_missing, texts)):
            if all(_WHOLE.fullmatch(text) for text in texts):
                whole = [int(text) for text in texts]
                for dtype in (np.int64, np.uint64):
                    if np.iinfo(dtype).min <= min(whole) and max(whole) <= np.iinfo(dtype).max:
                        return np.array(whole, dtype=dtype)
            return np.array([np.nan if is_missing(text) else float(text) for text in texts])
    return as_texts(name, texts)
