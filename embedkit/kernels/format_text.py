"""Rows of float32 as text: of each number the fewest digits that read back as the same bits.

Candidates of six to nine digits are made by one scaling in double precision, and the first is taken that reads back;
nine always do. Of six digits or fewer, trailing zeros are left out: no two such decimals are one float32. What lies
outside the range where one operation suffices (some 1e-14 to 1e27) is left to the caller.
"""

from __future__ import annotations

import math

import numpy as np

from embedkit.kernels.compiled import exactly
from embedkit.kernels.parse_text import Bytes, Doubles, Floats, Integers

LONGEST = 24  # bytes of a number with the separator after it, at most: a sign, 16 digits, a point and a zero, and it
# Outside of these numbers are written with an exponent; 0.0001 itself, rounded to float32, is not.
SMALL, LARGE = float(np.float32(1e-4)), 1e16
_LF, _ZERO, _POINT, _MINUS, _PLUS, _E = 10, 48, 46, 45, 43, 101
_REACH = 22  # powers of ten that are exact


@exactly
def format_rows(
    prefixes: Bytes, ends: Integers, vectors: Floats, row: int, separator: int, out: Bytes, powers: Doubles
) -> tuple[int, int]:
    """Write rows until they end or one holds a number outside the range.

    Parameters
    ----------
    prefixes, ends
        What stands before the numbers of each row, one after another, and where each ends.
    vectors
        (n, d) finite numbers.
    row
        The first row to write.
    separator
        The byte between numbers; a line feed ends a row.
    out
        Takes the text; long enough.
    powers
        `embedkit.kernels.parse_text.POWERS`.

    Returns
    -------
    tuple of int
        The first row not written, and how many bytes of `out` were.
    """
    at = 0
    while row < len(vectors):
        start = at
        begin = ends[row - 1] if row else 0
        for place in range(begin, ends[row]):
            out[at] = prefixes[place]
            at += 1
        for column in range(vectors.shape[1]):
            after = _number(vectors[row, column], out, at, powers)
            if after < 0:
                return row, start
            out[after] = separator
            at = after + 1
        out[at - 1] = _LF
        row += 1
    return row, at


@exactly
def _number(value: np.float32, out: Bytes, at: int, powers: Doubles) -> int:
    """Write one number at `at` of `out`; gives where it ends, or -1."""
    if value < 0 or (value == 0 and math.copysign(1.0, value) < 0):
        out[at] = _MINUS
        at += 1
    wide = abs(np.float64(value))
    if wide == 0:
        out[at], out[at + 1], out[at + 2] = _ZERO, _POINT, _ZERO
        return at + 3
    mantissa, scale = _shortest(wide, powers)
    if mantissa < 0:
        return -1
    while mantissa % 10 == 0:
        mantissa //= 10
        scale -= 1
    count = 1
    while powers[count] <= mantissa:
        count += 1
    exponent = count - 1 - scale
    if wide < SMALL or wide >= LARGE:
        at = _digits(mantissa, count, 1, out, at)
        out[at], out[at + 1] = _E, _MINUS if exponent < 0 else _PLUS
        out[at + 2], out[at + 3] = _ZERO + abs(exponent) // 10, _ZERO + abs(exponent) % 10
        return at + 4
    if exponent < 0:
        out[at], out[at + 1] = _ZERO, _POINT
        at += 2
        for _ in range(-exponent - 1):
            out[at] = _ZERO
            at += 1
        return _digits(mantissa, count, count, out, at)
    if scale > 0:
        return _digits(mantissa, count, exponent + 1, out, at)
    at = _digits(mantissa, count, count, out, at)
    for _ in range(-scale):
        out[at] = _ZERO
        at += 1
    out[at], out[at + 1] = _POINT, _ZERO
    return at + 2


@exactly
def _shortest(wide: float, powers: Doubles) -> tuple[int | np.int64, int]:
    """Mantissa m and scale s such that ``m / 10**s`` is the shortest decimal for a positive float32; -1 if too far."""
    exponent = math.floor(math.log10(wide))
    single = np.float32(wide)
    for digits in range(6, 10):
        scale = digits - 1 - exponent
        if abs(scale) > _REACH:
            break
        mantissa = np.int64(np.rint(wide * powers[scale] if scale >= 0 else wide / powers[-scale]))
        back = mantissa / powers[scale] if scale >= 0 else mantissa * powers[-scale]
        if np.float32(back) == single:
            return mantissa, scale
    return -1, 0


@exactly
def _digits(mantissa: int | np.int64, count: int, point: int, out: Bytes, at: int) -> int:
    """Write `count` digits with a point after the first `point` of them, unless nothing follows it."""
    place = at + count + (point < count)
    end = place
    for left in range(count, 0, -1):
        if left == point and point < count:
            place -= 1
            out[place] = _POINT
        place -= 1
        out[place] = _ZERO + mantissa % 10
        mantissa //= 10
    return end
