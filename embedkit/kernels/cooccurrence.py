"""Counting which words occur near each other, row by row through an inverted index.

The counts are those of Stanford's GloVe (Pennington, Socher & Manning 2014): each pair of words at most `window` apart
in the same document adds 1, or 1 / distance. Instead of collecting pairs and sorting them, the places of each word are
listed first; then one word after another sweeps the windows of its places into one row of sums, one for each word of
the vocabulary. Rows do not depend on each other: threads share them out, nothing is merged, and a table larger than the
memory is counted some rows at a time. Sums are in float64.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from embedkit.kernels.sampling import Int32s, Text
from embedkit.kernels.simd import Integers, trained

Doubles: TypeAlias = npt.NDArray[np.float64]

_BETWEEN = -1  # what stands between documents
_AT_LEAST = 1 << 20  # entries that a thread makes room for at a time
_ROWS = 256  # rows that a thread takes at a time
_SCAN = 64  # a row is read off the sums if it has more than a 64th of all words, else its words are sorted


class Counts(NamedTuple):
    """Rows of a sparse table: entries ``starts[i]`` ... ``starts[i + 1] - 1`` are those of row i.

    `starts` (rows + 1,) int64; `columns` (entries,) int32, ascending within a row; `values` (entries,) float64.
    """

    starts: Integers
    columns: Int32s
    values: Doubles


def stream_of(text: Text, n_words: int) -> Int32s:
    """The text without words whose rank is `n_words` or more, with -1 before, between and after documents.

    Four bytes a word, made once for any number of `count_rows`.
    """
    room = np.empty(len(text.ids) + len(text.ends) + 1, dtype=np.int32)
    return room[: _fill_stream(np.ascontiguousarray(text.ids), np.ascontiguousarray(text.ends), n_words, room)]


@trained
def _fill_stream(ids: Int32s, ends: Integers, n_words: int, room: Int32s) -> int:
    room[0] = _BETWEEN
    size, position = 1, 0
    for end in ends:
        for place in range(position, end):
            if 0 <= ids[place] < n_words:
                room[size] = ids[place]
                size += 1
        position = end
        room[size] = _BETWEEN
        size += 1
    return size


def count_rows(
    stream: Int32s,
    n_words: int,
    window: int,
    *,
    first: int = 0,
    last: int | None = None,
    symmetric: bool = True,
    weighted: bool = True,
    workers: int = 1,
) -> Counts:
    """Co-occurrence counts of the words `first` ... `last` - 1 with all words.

    Parameters
    ----------
    stream
        From `stream_of`.
    n_words, window
        As in GloVe.
    first, last
        The rows; by default all. Memory is needed for their entries, twice, and for the places of their words.
    symmetric
        Count words on both sides; else, as Stanford's program does, only where the word of the row comes first.
    weighted
        Add 1 / distance, not 1.
    workers
        Threads. The result does not depend on them.
    """
    last = n_words if last is None else last
    starts = np.zeros(last - first + 1, dtype=np.int64)
    _count_words(stream, first, last, starts)
    places = np.empty(starts[-1], dtype=np.int64)
    _list_places(stream, first, last, starts.copy(), places)
    weights = np.zeros(window + 1)
    weights[1:] = 1 / np.arange(1, window + 1) if weighted else 1
    sizes = np.zeros(last - first, dtype=np.int64)

    def work(begin: int) -> tuple[Int32s, Doubles]:
        end = min(begin + _ROWS, last - first)
        most = np.minimum(np.diff(starts[begin : end + 1]) * 2 * window, n_words)
        parts = []
        row = begin
        while row < end:
            room = max(min(_AT_LEAST, int(most[row - begin :].sum())), int(most[row - begin]))
            columns, values = np.empty(room, dtype=np.int32), np.empty(room)
            row, used = _sweep(stream, starts, places, row, end, most[row - begin :], weights, symmetric, n_words,
                               columns, values, sizes)  # fmt: skip
            parts.append((columns[:used].copy(), values[:used].copy()))
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    with ThreadPoolExecutor(workers) as pool:
        parts = list(pool.map(work, range(0, last - first, _ROWS)))
    row_starts = np.zeros(last - first + 1, dtype=np.int64)
    np.cumsum(sizes, out=row_starts[1:])
    columns = np.concatenate([part[0] for part in parts]) if parts else np.empty(0, dtype=np.int32)
    values = np.concatenate([part[1] for part in parts]) if parts else np.empty(0)
    return Counts(row_starts, columns, values)


@trained
def _count_words(stream: Int32s, first: int, last: int, starts: Integers) -> None:
    """Let `starts` be where the places of each word begin, if they are listed word by word."""
    for word in stream:
        if first <= word < last:
            starts[word - first + 1] += 1
    for row in range(last - first):
        starts[row + 1] += starts[row]


@trained
def _list_places(stream: Int32s, first: int, last: int, ends: Integers, places: Integers) -> None:
    """List the places of each word; `ends` begin as where a word's places begin."""
    for place in range(len(stream)):
        word = stream[place]
        if first <= word < last:
            places[ends[word - first]] = place
            ends[word - first] += 1


@trained
def _sweep(
    stream: Int32s,
    starts: Integers,
    places: Integers,
    row: int,
    end: int,
    most: Integers,
    weights: Doubles,
    symmetric: bool,
    n_words: int,
    columns: Int32s,
    values: Doubles,
    sizes: Integers,
) -> tuple[int, int]:
    """Count the rows from `row` on while there is room; the next row, and how many entries were written."""
    window = len(weights) - 1
    sums, seen = np.zeros(n_words), np.empty(n_words, dtype=np.int32)
    used, begin = 0, row
    while row < end and used + most[row - begin] <= len(columns):
        n_seen = 0
        for at in range(starts[row], starts[row + 1]):
            place = places[at]
            for side in range(0 if symmetric else 1, 2):
                direction = 2 * side - 1
                for distance in range(1, window + 1):
                    word = stream[place + direction * distance]
                    if word == _BETWEEN:
                        break
                    if sums[word] == 0:
                        seen[n_seen] = word
                        n_seen += 1
                    sums[word] += weights[distance]
        if n_seen * _SCAN > n_words:
            n_seen = 0
            for word in range(n_words):
                if sums[word] > 0:
                    seen[n_seen] = word
                    n_seen += 1
        else:
            seen[:n_seen].sort()
        for k in range(n_seen):
            columns[used + k], values[used + k] = seen[k], sums[seen[k]]
            sums[seen[k]] = 0
        sizes[row] = n_seen
        used += n_seen
        row += 1
    return row, used
