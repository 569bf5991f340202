r"""Vectors as text: a line a word, its numbers after it.

===============  ===================================================================================================
word2vec text    a header ``count dimensions``, then the lines (https://code.google.com/archive/p/word2vec/)
fastText .vec    the same (https://fasttext.cc/docs/en/english-vectors.html)
GloVe            the lines alone (https://nlp.stanford.edu/projects/glove/)
===============  ===================================================================================================

Fields are separated by one space, or by one tab. A word may hold spaces, as some of GloVe's do (``. . .``): numbers
are counted from the right, and there are as many as the header says, or else as the first line has. The last part of
such a word must not look like a number, which a line with a number too many would. A first line of two whole numbers
is a header, always; what is taken for one must agree with the file. A number is what C's ``strtof`` takes in decimal
(``-1.5e-3``, ``+1``, ``.5``, ``5.``); ``nan``, ``inf``, hexadecimal and underscores are refused, as is what float32
cannot hold. Lines end in LF or CR LF; empty lines may stand at the end only.
"""

from __future__ import annotations

import os
import re
import warnings
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.errors import BadFile, printable
from embedkit.files.opening import opened, packed
from embedkit.formats.collecting import Dtype, Duplicates, Errors, Floats, Rows, check_choices
from embedkit.formats.table_roles import LABEL_NAMES

LONGEST_LINE, LONGEST_WORD = 2**20, 2**16  # bytes; as in embedkit.kernels.parse_text, which costs an import
HEAD = 2 * LONGEST_LINE + 2**16  # bytes from the start that tell what a file is: its first two lines
_BLOCK = 2**22
_COMPILED_FROM = 200_000  # values; for fewer, plain Python takes less time than importing numba
_BOM = b"\xef\xbb\xbf"

# Possessive (++), so that no line, however made, takes more than one pass.
_NUMBER = re.compile(rb"[+-]?+(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?+[0-9]++)?+")
_NOT_FINITE = re.compile(rb"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
# What somebody meant as a number, well-formed or not: 1_000, 0x1p3, 1,5, -nan.
_LIKE_A_NUMBER = re.compile(rb"[+-]?(?:\.?[0-9]|(?:nan|inf|infinity)\Z)", re.IGNORECASE)
_HEADER = re.compile(rb"([+-]?[0-9]+)[ \t]+([+-]?[0-9]+)")


class Layout(NamedTuple):
    """How the lines of a file are to be read.

    Attributes
    ----------
    skip
        Bytes before the first row: byte-order mark and header.
    rows
        Rows that the header announces; `None` without one.
    width
        Numbers in a row.
    separator
        What stands between them.
    first
        The first row, to judge the size of all by.
    """

    skip: int
    rows: int | None
    width: int
    separator: bytes
    first: bytes

    def line(self, row: int) -> str:
        """What to call a row in errors."""
        return f"line {row + 1 + (self.rows is not None)}"


def layout(path: str | os.PathLike[str], head: bytes) -> Layout | None:
    """How to read a file of text vectors, or `None` if it is none.

    Parameters
    ----------
    path
        The file, for errors.
    head
        Its first `HEAD` bytes, or all.

    Raises
    ------
    BadFile
        It begins like text vectors, but its header or first line cannot be right.
    """
    skip = len(_BOM) if head.startswith(_BOM) else 0
    line = _line_at(path, head, skip, "line 1")
    if found := _HEADER.fullmatch(_stripped(line)):
        texts = (found[1], found[2])
        if any(text[:1] in b"+-" or (len(text) > 1 and text[:1] == b"0") or len(text) > 18 for text in texts):
            shown = _shown(_stripped(line))
            raise BadFile(path, f"'{shown}' is no header: two plain whole numbers, count and dimensions", "line 1")
        count, width = map(int, texts)
        if not 0 < 2 * width < LONGEST_LINE:
            raise BadFile(path, f"the header says {width} dimensions, which no line can hold", "line 1")
        skip += len(line)
        first = _line_at(path, head, skip, "line 2")
        separator = b" " if _numbers_in(first, b" ") or not _numbers_in(first, b"\t") else b"\t"
        return Layout(skip, count, width, separator, first)
    for separator in (b" ", b"\t"):
        if width := _numbers_in(line, separator):
            word, *values = _stripped(line, separator).rsplit(separator, width)
            numbered = [b"%d" % j for j in range(width + 1)]
            if word.strip(b'"').decode("latin-1") in LABEL_NAMES and values in (numbered[:-1], numbered[1:]):
                return None  # the heads of numbered columns, as in a table
            if separator == b"\t" and (line[:1] == b'"' or not all(map(_NUMBER.fullmatch, values))):
                return None  # a table, with a quoted word or a name that begins with a digit
            if (_NUMBER.fullmatch(word) or _NOT_FINITE.fullmatch(word)) and not word.lstrip(b"+-").isdigit():
                raise BadFile(path, f"begins with the number '{_shown(word)}', a word was expected", "line 1")
            return Layout(skip, None, width, separator, line)
    return None


def reads_as_row(line: bytes, width: int, separator: bytes) -> bool:
    """Whether a line ends in `width` well-formed numbers after a word."""
    fields = _stripped(line, separator).split(separator)[1:]
    ends = fields[len(fields) - width :] if len(fields) >= width else []
    return bool(ends) and all(_NUMBER.fullmatch(field) or _NOT_FINITE.fullmatch(field) for field in ends)


def read_text(
    path: str | os.PathLike[str],
    *,
    limit: int | None = None,
    dtype: Dtype = "float32",
    errors: Errors = "strict",
    duplicates: Duplicates = "refuse",
) -> Embedding:
    """Read word2vec text, fastText .vec or GloVe text, plain or packed.

    Every value is the float32 that Python makes of its text, bit for bit.

    Parameters
    ----------
    path
        The file.
    limit
        Read only the first so many rows (and not what follows them).
    dtype
        ``"float32"`` or ``"float16"``.
    errors
        ``"strict"`` refuses words that are not UTF-8; ``"replace"`` puts U+FFFD in the place of what cannot be read.
    duplicates
        ``"refuse"`` a word that is there twice, or keep the ``"first"``.

    Returns
    -------
    Embedding
        n words x d dimensions.

    Raises
    ------
    BadFile
        Whatever is wrong with the file, with the line and the column (the first number is column 1).

    Warns
    -----
    UserWarning
        The last line has no line break: the file may have been cut.
    """
    check_choices(limit, dtype, errors, duplicates)
    with opened(path) as stream:
        head = stream.read(HEAD)
        plan = layout(path, head)
        if plan is None:
            raise BadFile(path, "a word and numbers were expected, separated by spaces or tabs", "line 1")
        size = 0 if packed(path) else Path(path).stat().st_size - plan.skip  # 0 for unknown
        if plan.rows is not None and size and plan.rows * (2 * plan.width + 1) - 1 > size:
            least = f"{plan.rows * (2 * plan.width + 1) - 1:,} bytes at least"
            what = f"the header says {plan.rows:,} rows of {plan.width:,} dimensions: {least}, but {size:,} follow it"
            raise BadFile(path, what, "line 1")
        rows = Rows(path, plan.width, dtype=dtype, errors=errors, duplicates=duplicates, place=plan.line)
        lines = _Lines(path, plan, rows, limit, size)
        ended = lines.read(stream, head[plan.skip :])
    if ended and plan.rows not in (None, rows.filled):
        raise BadFile(path, f"the header says {plan.rows:,} rows, the file has {rows.filled:,}", "line 1")
    embedding = rows.embedding("GloVe text" if plan.rows is None else "word2vec text", limit=limit)
    if lines.unfinished:
        reason = "the last line has no line break: the file may have been cut"
        warnings.warn(f"{printable(str(path))}: {reason}", UserWarning, stacklevel=3)
    return embedding


class _Lines:
    """The reading of lines, some megabytes at a time."""

    def __init__(self, path: str | os.PathLike[str], plan: Layout, rows: Rows, limit: int | None, size: int) -> None:
        self._path, self._plan, self._rows, self._limit, self._size = path, plan, rows, limit, size
        self._done = 0  # bytes parsed
        self._blank = False  # nothing but empty lines may follow
        self.unfinished = False  # whether the last line lacks its line break
        # Text packs to about a quarter; it matters for the choice of the way only.
        rows_likely = (size or 4 * Path(path).stat().st_size) // max(len(plan.first), 1)
        self._compiled = plan.width * min(rows_likely, rows_likely if limit is None else limit) >= _COMPILED_FROM
        self._words = np.empty(_BLOCK if self._compiled else 0, dtype=np.uint8)

    def read(self, stream: BufferedReader, start: bytes) -> bool:
        """Read on from `start`; gives whether the end was reached."""
        buffer = bytearray(_BLOCK)
        buffer[: len(start)] = start
        held, more = len(start), True
        while more and self._rows.filled != self._limit:
            with memoryview(buffer) as view:
                while held < len(buffer) and (got := stream.readinto(view[held:])):
                    held += got
            more = held == len(buffer)
            end = buffer.rfind(b"\n", 0, held) + 1
            if not more and buffer[end:held].strip():
                self.unfinished = True
                buffer[held : held + 1] = b"\n"
                end = held = held + 1
            self._parse(buffer, end)
            buffer[: held - end] = buffer[end:held]
            held -= end
            if self._blank:
                self._refuse_after_blank(buffer, 0, held)
                held = 0
            if held > LONGEST_LINE and self._rows.filled != self._limit:
                raise self._wrong(0, "is longer than 1 MiB")
        return not more and self._rows.filled != self._limit

    def _parse(self, buffer: bytearray, end: int) -> None:
        """Parse the lines of ``buffer[:end]``."""
        data = np.frombuffer(buffer, dtype=np.uint8)
        count = int(np.count_nonzero(data[:end] == 10))
        if self._limit is not None:
            count = min(count, self._limit - self._rows.filled)
        # What packs well has many more rows than were likely.
        self._compiled = self._compiled or self._plan.width * (self._rows.filled + count) >= _COMPILED_FROM
        if self._blank:
            self._refuse_after_blank(buffer, 0, end)
        if self._blank or not count:
            return
        vectors = self._rows.room(count, self._expected(count, end))
        words, at, row = bytearray(), 0, 0
        while at < end and row < count and not self._blank:
            if self._compiled:
                at, row = self._parse_compiled(data, at, end, vectors, row, words)
            if at < end and row < count:
                after = buffer.find(b"\n", at) + 1
                line = bytes(buffer[at : after - 1])
                if line.strip():
                    words += self._line(line, row, vectors[row]) + b"\n"
                    at, row = after, row + 1
                else:
                    self._blank = True
        self._rows.add(row, bytes(words))
        self._done += at
        if self._blank:
            self._refuse_after_blank(buffer, at, end)

    def _parse_compiled(
        self, data: npt.NDArray[np.uint8], at: int, end: int, vectors: Floats, row: int, words: bytearray
    ) -> tuple[int, int]:
        from embedkit.kernels.parse_text import POWERS, parse_lines

        if len(self._words) < len(data):
            self._words = np.empty(len(data), dtype=np.uint8)
        at, row, used = parse_lines(data, at, end, self._plan.separator[0], vectors, row, self._words, POWERS)
        words += self._words[:used].data
        return at, row

    def _expected(self, count: int, end: int) -> int:
        """How many rows there will be in all, judged by those so far."""
        if self._limit is not None:
            return 0
        if self._plan.rows is not None and self._size:
            return self._plan.rows
        per_byte = (self._rows.filled + count) / (self._done + end)
        return int(1.01 * per_byte * self._size) + 1

    def _refuse_after_blank(self, buffer: bytearray, at: int, end: int) -> None:
        if buffer[at:end].strip():
            raise self._wrong(0, "is empty, and others follow it")

    def _wrong(self, row: int, reason: str) -> BadFile:
        return BadFile(self._path, reason, self._plan.line(self._rows.filled + row))

    def _line(self, line: bytes, row: int, vector: Floats) -> bytes:
        """Fill `vector` from one line (without its line break) and give its word, whatever the line looks like."""
        width, separator = self._plan.width, self._plan.separator
        if len(line) >= LONGEST_LINE:
            raise self._wrong(row, "is longer than 1 MiB")
        word, *texts = _stripped(line, separator).rsplit(separator, width)
        for j, text in enumerate(texts):
            if not _NUMBER.fullmatch(text):
                found = _numbers_in(line, separator)
                if found < width and j < width - found:
                    raise self._wrong(row, f"has {found} numbers, expected {width} after the word")
                what = "not finite" if _NOT_FINITE.fullmatch(text) else "not a decimal number"
                raise self._wrong(row, f"column {j + 1} is '{_shown(text)}', which is {what}")
        if len(texts) < width:
            raise self._wrong(row, f"has {len(texts)} numbers, expected {width} after the word")
        last = word.rpartition(separator)[2] if separator in word else b"-"
        if not last or _LIKE_A_NUMBER.match(last):
            what = f"'{_shown(last)}' stands before its last {width} numbers" if last else "has two separators in a row"
            raise self._wrong(row, f"{what}: a word and {width} numbers were expected")
        if b"\0" in word or b"\r" in word:
            raise self._wrong(row, "the word holds a NUL character or a carriage return, which no word may")
        if len(word) > LONGEST_WORD:
            raise self._wrong(row, "the word is longer than 64 KiB")
        with np.errstate(over="ignore"):
            vector[:] = [float(text) for text in texts]
        if not np.isfinite(vector).all():
            j = int(np.argmin(np.isfinite(vector)))
            raise self._wrong(row, f"column {j + 1} is '{_shown(texts[j])}', which is too large for float32")
        return word


def _line_at(path: str | os.PathLike[str], head: bytes, start: int, place: str) -> bytes:
    """The line that starts there, with its line break if it has one."""
    end = head.find(b"\n", start) + 1 or len(head)
    if end - start > LONGEST_LINE:
        raise BadFile(path, "is longer than 1 MiB", place)
    return head[start:end]


def _stripped(line: bytes, separator: bytes = b" ") -> bytes:
    """A line without its line break and the separators at its end."""
    return line.removesuffix(b"\n").removesuffix(b"\r").rstrip(b" " + separator)


def _numbers_in(line: bytes, separator: bytes) -> int:
    """How many fields at the end of the line, but for the first of all, look like numbers."""
    fields = _stripped(line, separator).split(separator)[1:]
    return next((j for j, field in enumerate(reversed(fields)) if not _LIKE_A_NUMBER.match(field)), len(fields))


def _shown(text: bytes) -> str:
    """Bytes as part of a message."""
    return printable(text[:40].decode("utf-8", "backslashreplace"))
