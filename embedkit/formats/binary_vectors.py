r"""Vectors in word2vec's binary format (https://code.google.com/archive/p/word2vec/, ``distance.c`` reads it).

A header line ``count dimensions``, then a record a word: its UTF-8 bytes, one space, its numbers as little-endian
float32. word2vec.c writes a line feed after each record, gensim none: the first record tells, and all must agree.
"""

from __future__ import annotations

import os
import re
from io import BufferedReader
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.errors import BadFile, printable
from embedkit.files.opening import opened, packed
from embedkit.formats.collecting import Dtype, Duplicates, Errors, Floats, Rows, check_choices
from embedkit.formats.text_vectors import LONGEST_WORD, reads_as_row

_HEADER = re.compile(rb"([0-9]{1,18})[ \t]+([0-9]{1,18})[ \t]*\r?\n")
_MOST_DIMENSIONS = 2**20
_BLOCK = 2**22
_COMPILED_FROM = 50_000  # records; for fewer, plain Python takes less time than importing numba
_PEEK = 2**16  # bytes after the header looked at to tell binary from text
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")


def is_binary(head: bytes) -> bool:
    """Whether a file that begins so is word2vec's binary format and not its text format, which begins alike."""
    found = _HEADER.match(head)
    if not found:
        return False
    count, width = int(found[1]), int(found[2])
    rest = head[found.end() :]
    if not count or not width or reads_as_row(rest[: rest.find(b"\n") + 1] or rest, width, b" "):
        return False
    start = rest[:_PEEK]
    return bool(_CONTROL.search(start)) or not _is_text(start) or _fits(rest, count, width)


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True


def _fits(rest: bytes, count: int, width: int) -> bool:
    """Whether `rest` is so many records and nothing else; only ever true of small files."""
    at = 0
    for _ in range(min(count, len(rest))):
        space = rest.find(b" ", at, at + LONGEST_WORD + 1)
        if space < 0:
            return False
        at = space + 1 + 4 * width
        at += rest[at : at + 1] == b"\n"
    return at == len(rest)


def read_binary(
    path: str | os.PathLike[str],
    *,
    limit: int | None = None,
    dtype: Dtype = "float32",
    errors: Errors = "strict",
    duplicates: Duplicates = "refuse",
) -> Embedding:
    """Read word2vec's binary format, plain or packed.

    Parameters
    ----------
    path
        The file.
    limit
        Read only the first so many records (and not what follows them).
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
        Whatever is wrong with the file, with the record (counted from 1) and the column.
    """
    check_choices(limit, dtype, errors, duplicates)
    with opened(path) as stream:
        header = stream.readline(64)
        found = _HEADER.fullmatch(header)
        if not found:
            raise BadFile(path, "a header of two whole numbers was expected: count and dimensions", "line 1")
        count, width = int(found[1]), int(found[2])
        if not 0 < width <= _MOST_DIMENSIONS:
            raise BadFile(
                path, f"the header says {width:,} dimensions, of 1 to {_MOST_DIMENSIONS:,} possible", "line 1"
            )
        least = count * (4 * width + 1)
        known = not packed(path)
        size = Path(path).stat().st_size - len(header)
        if known and least > size:
            what = f"the header says {count:,} records of {width:,} dimensions: {least:,} bytes at least"
            raise BadFile(path, f"{what}, but {size:,} follow it", "line 1")
        rows = Rows(path, width, dtype=dtype, errors=errors, duplicates=duplicates, place=_place)
        wanted = count if limit is None else min(count, limit)
        _Records(path, rows, width, wanted, wanted if known else 0).read(stream, whole=wanted == count)
    return rows.embedding("word2vec binary", limit=limit)


def _place(row: int) -> str:
    return f"record {row + 1}"


class _Records:
    """The reading of records, some megabytes at a time."""

    def __init__(self, path: str | os.PathLike[str], rows: Rows, width: int, wanted: int, expected: int) -> None:
        self._path, self._rows, self._width = path, rows, width
        self._wanted, self._expected = wanted, expected
        self._break: bool | None = None  # whether a line feed follows each record; not known yet
        self._compiled = wanted >= _COMPILED_FROM
        self._words = np.empty(0, dtype=np.uint8)

    def read(self, stream: BufferedReader, *, whole: bool) -> None:
        """Read the wanted records, and make sure that nothing follows them where they are the `whole` file."""
        buffer = bytearray(max(_BLOCK, 2 * (4 * self._width + LONGEST_WORD + 2)))
        held, more = 0, True
        with memoryview(buffer) as view:
            while more and self._rows.filled < self._wanted:
                while held < len(buffer) and (got := stream.readinto(view[held:])):
                    held += got
                more = held == len(buffer)
                at = self._parse(buffer, held, more=more)
                view[: held - at] = bytes(view[at:held])
                held -= at
        done = self._rows.filled
        if done < self._wanted:
            what = f"the file ends inside record {done + 1} of the {self._wanted:,} that were expected"
            raise BadFile(self._path, what, _place(done))
        if whole and (held or stream.read(1)):
            raise BadFile(self._path, f"the header says {done:,} records, the file has more after them", _place(done))

    def _parse(self, buffer: bytearray, held: int, *, more: bool) -> int:
        """Take the whole records in ``buffer[:held]``; gives where they end."""
        size = 4 * self._width
        count = min(self._wanted - self._rows.filled, held // (size + 1))
        vectors = self._rows.room(count, self._expected)
        # Bytes of the file go where they belong without becoming numbers on the way.
        raw = vectors.view(np.uint8)
        words = bytearray()
        at = row = 0
        while row < count:
            if self._compiled and self._break is not None:
                at, row = self._take_compiled(buffer, at, held, raw, row, words)
            if row == count or (after := self._take(buffer, at, held, raw[row], row, words, more=more)) < 0:
                break
            at, row = after, row + 1
        self._refuse_infinite(vectors[:row])
        self._rows.add(row, bytes(words))
        return at

    def _take_compiled(
        self, buffer: bytearray, at: int, held: int, raw: npt.NDArray[np.uint8], row: int, words: bytearray
    ) -> tuple[int, int]:
        from embedkit.kernels.parse_binary import take_records

        if len(self._words) < len(buffer):
            self._words = np.empty(len(buffer), dtype=np.uint8)
        block = np.frombuffer(buffer, dtype=np.uint8)
        at, row, used = take_records(block, at, held, int(bool(self._break)), raw, row, self._words)
        words += self._words[:used].data
        return at, row

    def _take(
        self, buffer: bytearray, at: int, held: int, raw: npt.NDArray[np.uint8], row: int, words: bytearray, *,
        more: bool,
    ) -> int:  # fmt: skip
        """Take one record, whatever it looks like; gives where it ends, or -1 if it goes on after ``buffer[:held]``."""
        space = buffer.find(b" ", at, min(at + LONGEST_WORD + 1, held))
        if space < 0 and held - at > LONGEST_WORD:
            raise self._wrong(row, "no space within 64 KiB: a word and a space were expected")
        end = space + 1 + len(raw)
        if space < 0 or end > held or (end == held and (more or self._break)):
            return -1
        if self._break is None:
            self._break = end < held and buffer[end] == 10
        if self._break and buffer[end] != 10:
            raise self._wrong(row, "no line feed after it, as there is after the first")
        word = buffer[at:space]
        if any(mark in word for mark in (b"\n", b"\0", b"\r")):
            shown = printable(word[:40].decode("utf-8", "backslashreplace"))
            raise self._wrong(row, f"its word '{shown}' holds a NUL character or a line break, which no word may")
        raw[:] = np.frombuffer(buffer, dtype=np.uint8, count=len(raw), offset=space + 1)
        words += word + b"\n"
        return end + self._break

    def _wrong(self, row: int, reason: str) -> BadFile:
        return BadFile(self._path, reason, _place(self._rows.filled + row))

    def _refuse_infinite(self, vectors: Floats) -> None:
        finite = np.isfinite(vectors)
        if not finite.all():
            row, column = (int(i) for i in np.argwhere(~finite)[0])
            what = f"column {column + 1} is {vectors[row, column]!s}, which is not finite"
            raise self._wrong(row, what)
