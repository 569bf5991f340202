r"""Labels: an immutable sequence of distinct strings that finds a row by name without building a dictionary first.

All labels live in one UTF-8 blob, each between two line feeds (which no label may hold), so looking one up is a
single `bytes.find` for ``\n label \n``: some 0.2 ms on average for 50,000 words. A dictionary costs as much as about
seventy such scans (14 ms there), so it is built once that many have been asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput, UnknownWord, printable

_SCANS_WORTH_A_DICTIONARY = 70
_NEAR_SPELLINGS_FOR = 100  # missing words an error looks up near spellings for; each costs some milliseconds
_LONGEST_SPELLING = 64  # bytes; longer labels are not words that one mistypes

IntArray = npt.NDArray[np.int64]


class Labels(Sequence[str]):
    """Distinct strings in a fixed order, found by name.

    Parameters
    ----------
    labels
        The labels. Anything that is not a string is stringified (5 becomes ``"5"``); `None` and NaN are refused.

    Raises
    ------
    BadInput
        A label is missing, repeated, not valid Unicode, or holds NUL or a line break.

    Examples
    --------
    >>> labels = Labels(["king", "queen", "woman"])
    >>> len(labels), labels[1], "man" in labels, labels.find("woman")
    (3, 'queen', False, 2)
    """

    __slots__ = ("_blob", "_folded", "_index", "_offsets", "_scans")

    def __init__(self, labels: Iterable[object]) -> None:
        blob, offsets = _pack(labels)
        self._set(blob, offsets)

    @classmethod
    def from_blob(cls, blob: bytes, offsets: IntArray) -> Labels:
        """Labels stored as `blob`, with the byte offset of each label (and of the end) in `offsets`.

        Raises
        ------
        BadInput
            The two do not fit together, or a label holds what no label may. Repeated labels are not looked for here:
            that needs a dictionary (see `check_distinct`).
        """
        ends = np.asarray(offsets)
        if (
            ends.ndim != 1
            or ends.dtype != np.int64
            or len(ends) == 0
            or blob[:1] != b"\n"
            or ends[0] != 1
            or ends[-1] != len(blob)
        ):
            raise BadInput("the label offsets do not match the label bytes")
        breaks = np.flatnonzero(np.frombuffer(blob, dtype=np.uint8) == 10)
        if not np.array_equal(breaks + 1, ends):
            raise BadInput("the label offsets do not match the label bytes")
        if b"\0" in blob or b"\r" in blob:
            raise BadInput("a label holds a NUL character or a line break, which no label may")
        try:
            blob.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadInput(f"labels are not valid UTF-8 at byte {error.start} of the label bytes") from None
        self = cls.__new__(cls)
        self._set(blob, ends)
        return self

    def _set(self, blob: bytes, offsets: IntArray) -> None:
        self._blob, self._offsets = blob, offsets.view()
        self._offsets.flags.writeable = False
        self._index: dict[str, int] | None = None
        self._folded: dict[str, int] | None = None
        self._scans = 0

    @property
    def blob(self) -> bytes:
        """All labels as UTF-8, a line feed before the first and after each."""
        return self._blob

    @property
    def offsets(self) -> IntArray:
        """Byte offset in `blob` at which each label starts, then the length of `blob`; shape (n + 1,)."""
        return self._offsets

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, item: int) -> str: ...
    @overload
    def __getitem__(self, item: slice) -> Labels: ...
    def __getitem__(self, item: int | slice) -> str | Labels:
        if isinstance(item, slice):
            return self.take(np.arange(len(self), dtype=np.int64)[item])
        row = range(len(self))[item]  # negative rows and IndexError as for any sequence
        return self._blob[self._offsets[row] : self._offsets[row + 1] - 1].decode("utf-8")

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def _all(self) -> list[str]:
        return self._blob[1:-1].decode("utf-8").split("\n") if len(self) else []

    def __contains__(self, label: object) -> bool:
        return isinstance(label, str) and self.find(label) >= 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Labels) and self._blob == other._blob

    __hash__ = None  # type: ignore[assignment]  # like any container compared by content

    def __repr__(self) -> str:
        shown = ", ".join(repr(label) for label in self[:3])
        return f"Labels([{shown}{', ...' if len(self) > 3 else ''}], n={len(self)})"

    def take(self, rows: npt.ArrayLike) -> Labels:
        """The labels at `rows` (integers, shape (m,)), in that order; a row given twice is refused."""
        if len(self) <= np.size(rows):
            everything = self._all()
            return Labels([everything[row] for row in np.asarray(rows, dtype=np.int64).tolist()])
        return Labels([self[row] for row in np.asarray(rows, dtype=np.int64).tolist()])

    def find(self, label: str) -> int:
        """Row of `label`, or -1."""
        if self._index is not None:
            return self._index.get(label, -1)
        try:
            key = label.encode("utf-8")
        except UnicodeEncodeError:
            return -1
        if b"\n" in key:
            return -1
        self._scans += 1
        if self._scans > _SCANS_WORTH_A_DICTIONARY:
            return self._dictionary().get(label, -1)
        place = self._blob.find(b"\n" + key + b"\n")
        return -1 if place < 0 else int(np.searchsorted(self._offsets, place + 1))

    def find_folded(self, label: str) -> int:
        """Row of `label`, else of the first label equal to it when case is ignored, or -1."""
        row = self.find(label)
        if row < 0:
            if self._folded is None:
                self._folded = {}
                for i, other in enumerate(self):
                    self._folded.setdefault(other.casefold(), i)
            row = self._folded.get(label.casefold(), -1)
        return row

    def rows(self, labels: Iterable[str], *, ignore_case: bool = False) -> IntArray:
        """Row of each of `labels`, -1 where there is none (in other capitals, with `ignore_case`); shape (m,)."""
        if isinstance(labels, str):
            raise BadInput(f"expected a list of labels, not the string '{printable(labels)}': write [label]")
        wanted = list(labels)
        for label in wanted:
            if not isinstance(label, str):
                raise BadInput(f"labels are strings, not {type(label).__name__}: {label!r}")
        if self._index is None and self._scans + len(wanted) > _SCANS_WORTH_A_DICTIONARY:
            self._dictionary()
        find = self.find_folded if ignore_case else self.find
        return np.fromiter(map(find, wanted), dtype=np.int64, count=len(wanted))

    def unknown(self, missing: Iterable[str]) -> UnknownWord:
        """The error that names every one of `missing`, with near spellings."""
        words = list(dict.fromkeys(missing))
        return UnknownWord(words, {word: self.near(word) for word in words[:_NEAR_SPELLINGS_FOR]})

    def check_distinct(self) -> None:
        """Refuse repeated labels, naming the first and its rows."""
        self._dictionary()

    def _dictionary(self) -> dict[str, int]:
        if self._index is None:
            everything = self._all()
            index = dict(zip(everything, range(len(everything)), strict=True))
            if len(index) != len(everything):
                _refuse_duplicates(everything)
            self._index = index
        return self._index

    def near(self, word: str, count: int = 3) -> list[str]:
        """At most `count` labels spelled nearly like `word`: nearest first, then those that begin alike, then by row.

        Near is an optimal string alignment distance (insertions, deletions, substitutions and swaps of neighbours;
        Damerau 1964) of at most 1, for words over 5 bytes at most 2; over UTF-8 bytes, a to z in either case alike. A
        label that differs in capitals only, of whatever script, is among them.
        """
        query = word.encode("utf-8", "replace").lower()
        reach = 1 if len(query) <= 5 else 2
        lengths = np.diff(self._offsets) - 1
        if not 0 < len(query) <= _LONGEST_SPELLING:
            return []
        rows = np.flatnonzero(np.abs(lengths - len(query)) <= reach)
        letters = self._letters(rows, lengths[rows])
        distances = _alignment_distances(query, letters, lengths[rows])
        begins_otherwise = (letters[:1] != query[0]).any(axis=0)
        order = np.lexsort((rows, begins_otherwise, distances))
        best = rows[order[distances[order] <= reach]].tolist()
        folded = self.find_folded(word)
        if folded >= 0 and folded not in best:
            best.insert(0, folded)
        return [self[row] for row in best[:count]]

    def _letters(self, rows: IntArray, lengths: IntArray) -> npt.NDArray[np.uint8]:
        """Lower-cased bytes of the labels at `rows`, one column a label, padded with zeros."""
        data = np.frombuffer(self._blob, dtype=np.uint8)
        position = np.arange(int(lengths.max(initial=0)), dtype=np.int64)[:, None]
        letters: npt.NDArray[np.uint8] = data[np.minimum(self._offsets[rows] + position, len(data) - 1)]
        letters[(letters >= 65) & (letters <= 90)] += 32
        letters[position >= lengths] = 0
        return letters


def _alignment_distances(query: bytes, letters: npt.NDArray[np.uint8], lengths: IntArray) -> npt.NDArray[np.uint8]:
    """Optimal string alignment distance of `query` to every column of `letters`, all columns at once."""
    height, n = letters.shape
    before = np.zeros((height + 1, n), dtype=np.uint8)
    last = np.repeat(np.arange(height + 1, dtype=np.uint8)[:, None], n, axis=1)
    for i, letter in enumerate(query, start=1):
        row = np.empty_like(last)
        row[0] = i
        differs = letters != letter
        for j in range(1, height + 1):
            row[j] = np.minimum(np.minimum(last[j], row[j - 1]) + 1, last[j - 1] + differs[j - 1])
            if i > 1 and j > 1:
                swapped = (letters[j - 1] == query[i - 2]) & (letters[j - 2] == letter)
                np.minimum(row[j], before[j - 2] + 1, out=row[j], where=swapped)
        before, last = last, row
    distances: npt.NDArray[np.uint8] = last[lengths, np.arange(n)]
    return distances


def _pack(labels: Iterable[object]) -> tuple[bytes, IntArray]:
    if isinstance(labels, str | bytes):
        raise BadInput(f"labels must be a list of strings, not one {type(labels).__name__}")
    words = [label if isinstance(label, str) else _stringify(label, row) for row, label in enumerate(labels)]
    text = "\n".join(words)
    if words and (text.count("\n") != len(words) - 1 or "\r" in text or "\0" in text):
        row, word = next((row, word) for row, word in enumerate(words) if any(c in word for c in "\0\n\r"))
        what = "a NUL character" if "\0" in word else "a line break"
        raise BadInput(f"label '{printable(word[:80])}' (row {row}) holds {what}, which no label may")
    if len(set(words)) != len(words):
        _refuse_duplicates(words)
    try:
        blob = f"\n{text}\n".encode() if words else b"\n"
    except UnicodeEncodeError:
        row = next(row for row, word in enumerate(words) if not _encodable(word))
        raise BadInput(f"label '{printable(words[row])}' (row {row}) is not valid Unicode: lone surrogate") from None
    return blob, np.flatnonzero(np.frombuffer(blob, dtype=np.uint8) == 10) + 1


def _stringify(label: object, row: int) -> str:
    try:
        missing = label is None or bool(label != label)
    except (TypeError, ValueError):  # pandas' NA compares to itself; of an array it cannot be said
        missing = True
    if missing:
        raise BadInput(f"row {row} has no label (it is {label!s:.60})")
    if isinstance(label, bytes):
        raise BadInput(f"the label of row {row} is bytes, not text: decode it first")
    return str(label)


def _encodable(word: str) -> bool:
    try:
        word.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _refuse_duplicates(words: Sequence[str]) -> None:
    seen: dict[str, int] = {}
    for row, word in enumerate(words):
        if word in seen:
            where = f"rows {seen[word]} and {row}"
            raise BadInput(f"label '{printable(word)}' is there twice, in {where}: labels must be distinct")
        seen[word] = row
