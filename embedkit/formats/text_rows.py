"""Rows of an Embedding as lines of text, for the writers of text formats."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.files.atomic import replacing

_PACKERS: dict[str, Callable[[BinaryIO], Any]] = {
    ".gz": lambda stream: gzip.GzipFile("", "wb", 6, stream, mtime=0),
    ".bz2": lambda stream: bz2.BZ2File(stream, "wb"),
    ".xz": lambda stream: lzma.LZMAFile(stream, "wb", preset=3),  # noqa: SIM115  # its caller closes it
}
PACKINGS = tuple(_PACKERS)
LONGEST_NUMBER = 24  # bytes with the separator after it; as in embedkit.kernels.format_text, which costs an import
SMALL, LARGE = np.float32(1e-4), np.float32(1e16)  # as there too
_COMPILED_FROM = 200_000  # values; for fewer, plain Python takes less time than importing numba
_CHUNK = 2**18  # values worked on at a time


@contextlib.contextmanager
def packing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """As `replacing`, packed as the ending of the name says: the same bytes for the same content, whenever written."""
    ending = PurePath(path).suffix.lower()
    with replacing(path) as stream:
        if ending not in PACKINGS:
            yield stream
            return
        with _PACKERS[ending](stream) as packed:
            yield cast(BinaryIO, packed)


def write_rows(stream: BinaryIO, embedding: Embedding, separator: bytes, prefixes: Callable[[slice], bytes]) -> None:
    """Write a line a row: what `prefixes` gives, then the numbers, each in the fewest digits that keep its bits.

    Parameters
    ----------
    stream
        Where to.
    embedding
        n rows.
    separator
        The one byte between numbers.
    prefixes
        What stands before the numbers in each of some rows, one after another, with a NUL after each, which no text
        that is written holds.
    """
    n, width = embedding.shape
    rows = max(1, _CHUNK // width)
    text = _compiled if n * width >= _COMPILED_FROM else _plain
    for start in range(0, n, rows):
        part = slice(start, min(start + rows, n))
        stream.write(text(prefixes(part), embedding._decoded(part), separator))


def _plain(prefixes: bytes, vectors: npt.NDArray[np.float32], separator: bytes) -> bytes:
    between = separator.decode("ascii")
    lines = [between.join(map(decimal, vector)) + "\n" for vector in vectors]
    before = prefixes.split(b"\0")[:-1]
    return b"".join(prefix + line.encode("ascii") for prefix, line in zip(before, lines, strict=True))


def _compiled(prefixes: bytes, vectors: npt.NDArray[np.float32], separator: bytes) -> bytes:
    from embedkit.kernels.format_text import format_rows
    from embedkit.kernels.parse_text import POWERS

    marked = np.frombuffer(prefixes, dtype=np.uint8)
    ends = np.flatnonzero(marked == 0)
    ends -= np.arange(len(ends))  # where they end without the marks
    before = np.frombuffer(prefixes.replace(b"\0", b""), dtype=np.uint8)
    vectors = np.ascontiguousarray(vectors)
    out = np.empty(len(before) + LONGEST_NUMBER * vectors.size, dtype=np.uint8)
    made: list[bytes] = []
    row = 0
    while row < len(vectors):
        row, used = format_rows(before, ends, vectors, row, separator[0], out, POWERS)
        made.append(out[:used].tobytes())
        if row < len(vectors):  # it holds a number that only the library can write exactly
            own = before[ends[row - 1] if row else 0 : ends[row]].tobytes() + b"\0"
            made.append(_plain(own, vectors[row : row + 1], separator))
            row += 1
    return b"".join(made)


def decimal(value: np.float32) -> str:
    """The shortest decimal that reads back as `value`, by numpy's dragon4; always with a point or an exponent."""
    if value == 0 or SMALL <= abs(value) < LARGE:
        return np.format_float_positional(value, trim="0")
    return np.format_float_scientific(value, trim="-", exp_digits=2)
