"""Rows that arrive one block after another from a file, made an Embedding: what the readers of vectors share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.errors import BadFile, BadInput, printable
from embedkit.labels import Labels

Dtype = Literal["float32", "float16"]
Errors = Literal["strict", "replace"]
Duplicates = Literal["refuse", "first"]
Floats = npt.NDArray[np.float32]
_COMPILED_FROM = 50_000  # rows; for fewer a dictionary takes less time than importing numba
_CHUNK = 4096  # rows moved at a time


def check_choices(limit: int | None, dtype: str, errors: str, duplicates: str) -> None:
    """Refuse values of the readers' parameters that they do not have."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | np.integer) or limit < 0):
        raise BadInput(f"limit is a number of rows of 0 or more, not {limit!r:.40}")
    for name, value, choices in (
        ("dtype", dtype, ("float32", "float16")),
        ("errors", errors, ("strict", "replace")),
        ("duplicates", duplicates, ("refuse", "first")),
    ):
        if value not in choices:
            raise BadInput(f"{name} is '{choices[0]}' or '{choices[1]}', not {value!r:.40}")


def about_file(path: str | os.PathLike[str], *, whole: bool = True) -> dict[str, Any]:
    """Name (without folders) and size of a file, with the SHA-256 of its bytes where all of them were read."""
    try:
        with Path(path).open("rb") as stream:
            about = {"name": Path(path).name, "bytes": os.fstat(stream.fileno()).st_size}
            return {**about, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()} if whole else about
    except OSError as error:
        raise BadFile(path, f"cannot be read: {error.strerror or error}") from error


class Rows:
    """A matrix that grows at its end, and the words of its rows.

    Parameters
    ----------
    path
        The file that they come from, for errors.
    width
        Dimensions of a row.
    dtype
        How they are kept.
    errors
        What to do about words that are not UTF-8: ``"strict"`` refuses them, ``"replace"`` puts U+FFFD in the place of
        what cannot be read.
    duplicates
        What to do about a word that is there twice: ``"refuse"``, or keep the ``"first"``.
    place
        What to call a row, counted from 0, in errors: ``"line 3"``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        width: int,
        *,
        dtype: Dtype,
        errors: Errors,
        duplicates: Duplicates,
        place: Callable[[int], str],
    ) -> None:
        self._path, self._errors, self._duplicates, self._place = path, errors, duplicates, place
        self._matrix = np.empty((0, width), dtype=dtype)
        self._narrow: Floats | None = None
        self._words = [b"\n"]
        self._replaced = 0
        self.filled = 0

    def room(self, count: int, expected: int) -> Floats:
        """A (count, width) float32 array to fill with the next rows; to be let go of before the next call.

        Parameters
        ----------
        count
            How many rows are wanted.
        expected
            How many there will be in all, as far as one can say.
        """
        needed = self.filled + count
        if needed > len(self._matrix):
            # At least a quarter more than so far: then the total cost of moving stays in proportion.
            size = max(needed, expected, len(self._matrix) + len(self._matrix) // 4)
            if not len(self._matrix):
                self._matrix = np.empty((size, self._matrix.shape[1]), dtype=self._matrix.dtype)  # costs when touched
            else:
                self._matrix.resize((size, self._matrix.shape[1]), refcheck=False)  # in place where the system can
        if self._matrix.dtype == np.float32:
            return self._matrix[self.filled : needed]
        self._narrow = np.empty((count, self._matrix.shape[1]), dtype=np.float32)
        return self._narrow

    def add(self, count: int, words: bytes) -> None:
        """Count the first `count` rows of the room as filled.

        Parameters
        ----------
        count
            How many.
        words
            Their words, a line feed after each.

        Raises
        ------
        BadFile
            A word is not UTF-8, or a value too large for float16.
        """
        if self._narrow is not None:
            with np.errstate(over="ignore"):
                rows = self._narrow[:count].astype(np.float16)
            if not np.isfinite(rows).all():
                row, column = (int(i) for i in np.argwhere(~np.isfinite(rows))[0])
                what = f"column {column + 1} is {self._narrow[row, column]!s}, too large for float16"
                raise BadFile(self._path, what, self._place(self.filled + row))
            self._matrix[self.filled : self.filled + count] = rows
        try:
            words.decode("utf-8")
        except UnicodeDecodeError as error:
            words = self._decoded(words, error)
        self._words.append(words)
        self.filled += count

    def _decoded(self, words: bytes, error: UnicodeDecodeError) -> bytes:
        if self._errors == "strict":
            row = words.count(b"\n", 0, error.start)
            word = words.split(b"\n")[row][:80].decode("utf-8", "backslashreplace")
            reason = f"the word '{word}' is not valid UTF-8 (errors='replace' reads it nevertheless)"
            raise BadFile(self._path, reason, self._place(self.filled + row))
        texts = [word.decode("utf-8", "replace").encode() for word in words.split(b"\n")]
        out = b"\n".join(texts)
        self._replaced += sum(new != old for new, old in zip(texts, words.split(b"\n"), strict=True))
        return out

    def embedding(self, kind: str, *, limit: int | None) -> Embedding:
        """All rows, with their origin.

        Parameters
        ----------
        kind
            What the format is called.
        limit
            How many rows were wanted; `None` if all were read.

        Raises
        ------
        BadFile
            A word is there twice.
        """
        self._matrix.resize((self.filled, self._matrix.shape[1]), refcheck=False)
        blob = b"".join(self._words)
        self._words.clear()
        offsets = np.flatnonzero(np.frombuffer(blob, dtype=np.uint8) == 10) + 1
        new, first = _first_of_each(blob, offsets)
        dropped = self.filled - int(np.count_nonzero(new))
        if dropped and self._duplicates == "refuse":
            second = int(np.argmin(new))
            word = printable(blob[offsets[first] : offsets[first + 1] - 1][:80].decode("utf-8", "replace"))
            where = f"at {self._place(first)} and {self._place(second)}"
            raise BadFile(self._path, f"'{word}' is there twice, {where} (duplicates='first' keeps the first)")
        if dropped:
            words = blob.split(b"\n")[1:-1]
            blob = b"\n" + b"".join(words[row] + b"\n" for row in np.flatnonzero(new).tolist())
            offsets = np.flatnonzero(np.frombuffer(blob, dtype=np.uint8) == 10) + 1
            self._drop(new)
        file = about_file(self._path, whole=limit is None)
        made: dict[str, Any] = {"made_by": "read", "file": file, "format": kind}
        if limit is not None:
            made["limit"] = int(limit)
        if dropped:
            made["duplicates_dropped"] = dropped
        if self._replaced:
            made["words_replaced"] = self._replaced
        try:
            labels = Labels.from_blob(blob, offsets)
        except BadInput as error:
            raise BadFile(self._path, str(error)) from None
        return Embedding.from_stored(labels, self._matrix, provenance=made)

    def _drop(self, new: npt.NDArray[np.bool_]) -> None:
        """Keep the rows that `new` marks, moving them up without a second matrix."""
        at = 0
        for start in range(0, len(new), _CHUNK):
            part = self._matrix[start : start + _CHUNK][new[start : start + _CHUNK]]
            self._matrix[at : at + len(part)] = part
            at += len(part)
        self._matrix.resize((at, self._matrix.shape[1]), refcheck=False)


def _first_of_each(blob: bytes, offsets: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.bool_], int]:
    """Whether each label is new, and the row that the first repeated one was first in (or -1)."""
    n = len(offsets) - 1
    new = np.ones(n, dtype=np.bool_)
    if n >= _COMPILED_FROM:
        from embedkit.kernels.parse_text import repeated

        table = np.full(1 << (2 * n).bit_length(), -1, dtype=np.int32)
        return new, int(repeated(np.frombuffer(blob, dtype=np.uint8), offsets, table, new))
    seen: dict[bytes, int] = {}
    first = -1
    for row, word in enumerate(blob.split(b"\n")[1:-1]):
        earlier = seen.setdefault(word, row)
        if earlier != row:
            new[row] = False
            first = earlier if first < 0 else first
    return new, first
