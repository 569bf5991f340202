"""A small table of marks that tells, without looking at all of them, that a row is not among a block's rows.

Blocks compare rows with rows, nearly always to find nothing. A row's mark is a hash of where it begins: a row whose
mark is not set is surely not there; one whose mark is set may be, and is then looked for (Bloom 1970, with one hash).
"""

from __future__ import annotations

import numpy as np

from embedkit.kernels.simd import Integers, new_array, trained

_BITS = 10
_FACTOR, _SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(64 - _BITS)  # Knuth's multiplicative hash


def new_marks() -> Integers:
    """Marks of no row: int64."""
    return new_array(1 << _BITS, np.int64)


@trained
def _mark(row: int) -> np.uint64:
    return (np.uint64(row) * _FACTOR) >> _SHIFT


@trained
def add_marks(marks: Integers, rows: Integers, begin: int, end: int) -> None:
    """Count the rows at `begin` ... `end`."""
    for i in range(begin, end):
        marks[_mark(rows[i])] += 1


@trained
def clear_marks(marks: Integers, rows: Integers, begin: int, end: int) -> None:
    """Forget the rows at `begin` ... `end`, and those that share their marks."""
    for i in range(begin, end):
        marks[_mark(rows[i])] = 0


@trained
def at_most(marks: Integers, row: int) -> int:
    """How many times the row can have been counted: 0 says never."""
    return int(marks[_mark(row)])
