"""Splitting bytes of UTF-8 text at white space, numbering the distinct pieces and counting them, in one pass.

White space is what Python's `str.split` takes for it. Pieces are numbered in the order in which they are first seen and
found again by open addressing with linear probing; where hashes are equal, longer pieces are compared byte by byte. A
text need not be valid UTF-8 to be scanned rightly: the bytes of a white space character are taken away only
whole, so what is left is valid exactly if the text is, and whoever reads the pieces finds out.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.kernels.compiled import compiled

SEPARATOR = -1  # between documents, in the stream of pieces
LONGEST = 1 << 16  # bytes of a piece

# Of each byte: part of a piece, white space, a line feed, or the start of a longer character that may be white space.
_PIECE, _SPACE, _NEWLINE, _LEAD = 0, 1, 2, 3
_KINDS = np.zeros(256, dtype=np.uint8)
_KINDS[[9, 11, 12, 13, 28, 29, 30, 31, 32]] = _SPACE
_KINDS[10] = _NEWLINE
_KINDS[[0xC2, 0xE1, 0xE2, 0xE3]] = _LEAD

_SEED = np.uint64(0x9E3779B97F4A7C15)

# Places in the state: distinct pieces, bytes of them, line feeds since the last piece, whether a document is open,
# why the scan stopped.
_PIECES, _BYTES, _NEWLINES, _OPEN, _STOPPED = range(5)
_DONE, _FULL, _TOO_LONG = range(3)
# What is kept of each distinct piece, side by side so that looking at one is a single line of the cache.
_HASH, _START, _LENGTH, _COUNT = range(4)


@compiled
def _space_length(data: Any, i: int) -> int:
    """Bytes of the white space character of two or three bytes that starts at `i`, else 0; two more can be read."""
    first, second, third = data[i], data[i + 1], data[i + 2]
    if first == 0xC2:
        return 2 if second == 0x85 or second == 0xA0 else 0
    if first == 0xE1:
        return 3 if second == 0x9A and third == 0x80 else 0
    if first == 0xE2 and second == 0x80:
        return 3 if 0x80 <= third <= 0x8A or third == 0xA8 or third == 0xA9 or third == 0xAF else 0
    if first == 0xE2:
        return 3 if second == 0x81 and third == 0x9F else 0
    return 3 if second == 0x80 and third == 0x80 else 0


@compiled
def _mixed(x: Any) -> Any:
    """A one-to-one function of 64 bits that spreads them (the finalizer of splitmix64, Steele et al. 2014, in part)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    return x ^ (x >> np.uint64(27))


@compiled
def _scan(data: Any, stop: int, breaks: int, last: bool, kinds: Any, slots: Any, records: Any, letters: Any, state: Any,
          out: Any) -> Any:  # fmt: skip
    mask = slots.shape[0] - 1
    room = records.shape[0]
    i = 0
    written = 0
    newlines, is_open = state[_NEWLINES], state[_OPEN]
    state[_STOPPED] = _DONE
    while True:
        while i < stop:  # white space
            kind = kinds[data[i]]
            if kind == _SPACE:
                i += 1
            elif kind == _NEWLINE:
                newlines += 1
                i += 1
            elif kind == _LEAD:
                if i + 2 >= stop and not last:
                    stop = i
                    break
                length = _space_length(data, i)
                if length == 0:
                    break
                i += length
            else:
                break
        start = i
        if start >= stop:
            break
        hashed = _SEED
        packed = np.uint64(0)  # up to eight bytes, hashed together
        whole = True
        while i < stop:  # a piece
            byte = data[i]
            kind = kinds[byte]
            if kind != _PIECE:
                if kind != _LEAD:
                    break
                if i + 2 >= stop and not last:
                    whole = False
                    break
                if _space_length(data, i):
                    break
            packed = (packed << np.uint64(8)) | np.uint64(byte)
            i += 1
            if (i - start) & 7 == 0:
                hashed = _mixed(hashed ^ packed)
                packed = np.uint64(0)
        length = i - start
        if length > LONGEST:
            state[_STOPPED] = _TOO_LONG
            break
        if not whole or (i >= stop and not last):
            break
        key = np.int64(_mixed(hashed ^ packed))
        slot = key & mask
        while True:
            piece = slots[slot]
            if piece < 0:
                break
            if records[piece, _HASH] == key and records[piece, _LENGTH] == length:
                # Up to eight bytes the hash is one-to-one, and nothing is left to compare.
                begin = records[piece, _START]
                j = 0 if length > 8 else length
                while j < length and letters[begin + j] == data[start + j]:
                    j += 1
                if j == length:
                    break
            slot = (slot + 1) & mask
        if piece < 0:
            piece = state[_PIECES]
            begin = state[_BYTES]
            if piece >= room or begin + length > letters.shape[0]:
                state[_STOPPED] = _FULL
                break
            slots[slot] = piece
            records[piece, _HASH] = key
            records[piece, _START] = begin
            records[piece, _LENGTH] = length
            records[piece, _COUNT] = 0
            for j in range(length):
                letters[begin + j] = data[start + j]
            state[_PIECES] = piece + 1
            state[_BYTES] = begin + length
        if is_open and newlines >= breaks:
            out[written] = SEPARATOR
            written += 1
        records[piece, _COUNT] += 1
        out[written] = piece
        written += 1
        is_open = 1
        newlines = 0
    state[_NEWLINES], state[_OPEN] = newlines, is_open
    return start, written


@compiled
def _place(slots: Any, records: Any, n: int) -> None:
    """Enter `n` distinct pieces into an empty table."""
    mask = slots.shape[0] - 1
    for piece in range(n):
        slot = records[piece, _HASH] & mask
        while slots[slot] >= 0:
            slot = (slot + 1) & mask
        slots[slot] = piece


class PieceTable:
    """The distinct pieces seen so far, with their counts; it grows as they come.

    Parameters
    ----------
    breaks
        Line feeds between two pieces that make them belong to different documents: 1 for a line a document, 2 for
        paragraphs; 0 is none, however many.
    """

    def __init__(self, breaks: int) -> None:
        self._breaks = breaks or 2**62  # more than there can be, and still far from an overflow
        self._state = np.zeros(5, dtype=np.int64)
        self._records = np.empty((0, 4), dtype=np.int64)
        self._letters = np.empty(0, dtype=np.uint8)
        self._out = np.empty(0, dtype=np.int32)
        self._grow()

    def _grow(self) -> None:
        room = max(1 << 15, 2 * len(self._records))
        records, self._records = self._records, np.empty((room, 4), dtype=np.int64)
        self._records[: len(records)] = records
        letters, self._letters = self._letters, np.empty(max(1 << 19, 2 * len(self._letters)), dtype=np.uint8)
        self._letters[: len(letters)] = letters
        self._slots = np.full(2 * room, -1, dtype=np.int32)
        _place(self._slots, self._records, int(self._state[_PIECES]))

    def scan(self, data: npt.NDArray[np.uint8], stop: int, *, last: bool) -> tuple[npt.NDArray[np.int32], int, bool]:
        """Scan ``data[:stop]``.

        Parameters
        ----------
        data
            Bytes; three more than `stop` must exist.
        stop
            How many of them are text.
        last
            Whether the text ends there; else a piece that ends there may go on and is left for the next call.

        Returns
        -------
        stream : ndarray of int32
            Numbers of the pieces, `SEPARATOR` between documents; valid until the next call.
        used : int
            Bytes that were dealt with.
        too_long : bool
            Whether it stopped there at a piece of more than `LONGEST` bytes.
        """
        if len(self._out) < stop + 1:
            self._out = np.empty(stop + 1, dtype=np.int32)
        used = written = 0
        while True:
            rest, out = data[used:], self._out[written:]
            step, wrote = _scan(rest, stop - used, self._breaks, last, _KINDS, self._slots, self._records,
                                self._letters, self._state, out)  # fmt: skip
            used, written = used + step, written + wrote
            if self._state[_STOPPED] != _FULL:
                return self._out[:written], used, bool(self._state[_STOPPED] == _TOO_LONG)
            self._grow()

    def end_document(self) -> None:
        """What comes next belongs to another document, as at the end of a file."""
        self._state[_NEWLINES] = self._breaks

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """How often each piece was seen, shape (n,)."""
        return self._records[: self._state[_PIECES], _COUNT]

    def letters(self) -> bytes:
        """The bytes of all distinct pieces, one after another."""
        return self._letters[: self._state[_BYTES]].tobytes()

    def texts(self) -> list[str]:
        """The n distinct pieces as text.

        Raises
        ------
        UnicodeDecodeError
            One of them is not valid UTF-8.
        """
        letters = self.letters()
        ends = pairwise([*self._records[: self._state[_PIECES], _START].tolist(), len(letters)])
        if letters.isascii():  # then bytes are characters, and one decoding does for all
            text = letters.decode("ascii")
            return [text[start:end] for start, end in ends]
        return [letters[start:end].decode("utf-8") for start, end in ends]


@compiled
def renumber(stream: Any, first: Any, tokens: Any, ids: Any, ends: Any, state: Any) -> None:
    """Write the tokens of pieces one after another, and where documents end.

    Parameters
    ----------
    stream
        int32, numbers of pieces with `SEPARATOR` between documents.
    first, tokens
        The tokens of piece p are ``tokens[first[p]:first[p + 1]]``, or ``tokens[p]`` alone if `first` is empty;
        (pieces + 1,) int64 and int32.
    ids, ends
        Where to write tokens (int32) and ends of documents (int64); documents without tokens are left out.
    state
        int64: tokens and documents written so far, and where the last document ended; kept up to date.
    """
    n, documents, last = state[0], state[1], state[2]
    one_each = first.shape[0] == 0
    for i in range(stream.shape[0]):
        piece = stream[i]
        if piece == SEPARATOR:
            if n > last:
                ends[documents] = last = n
                documents += 1
        elif one_each:
            ids[n] = tokens[piece]
            n += 1
        else:
            for j in range(first[piece], first[piece + 1]):
                ids[n] = tokens[j]
                n += 1
    state[0], state[1], state[2] = n, documents, last
