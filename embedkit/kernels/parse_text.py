r"""Lines of a word and numbers, parsed to float32 as Python's ``float32(float(text))`` would, bit for bit.

A number is the decimal grammar of C's ``strtof``: a sign, digits with or without a point, an exponent. Its digits are
gathered as an integer m, so that the value is m times ten to some power e. Where m is at most 2^53 and e at most 22
both are exact in double precision, and so is what one multiplication or division makes of them (Clinger 1990, "How to
read floating point numbers accurately", https://doi.org/10.1145/93548.93557). Else the product is known to within a
few units in its last place; if everything within reach of it rounds to one float32, that is the answer. A value that
stays in doubt (one in some millions, unless made so), and whatever is not a sound line, is left to the caller.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embedkit.kernels.compiled import exactly

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

LONGEST_LINE, LONGEST_WORD = 2**20, 2**16  # bytes

POWERS: Doubles = np.array([float(f"1e{exponent}") for exponent in range(309)])
_EXACT = 2**53  # integers up to here are doubles
_MANY = 10**17  # an integer from here on takes no further digit: 18 digits fit, and are more than _EXACT
_REACH = 2.0**-49  # relative; conversion, powers, operations and left-out digits err by less together
_LARGEST = float(np.finfo(np.float32).max)
_NUL, _LF, _CR, _SPACE, _PLUS, _MINUS = 0, 10, 13, 32, 43, 45
_POINT, _E, _SMALL_E = 46 - 48, 69 - 48, 101 - 48  # as distances from the digit 0


@exactly
def parse_lines(
    block: Bytes, start: int, end: int, separator: int, vectors: Floats, row: int, words: Bytes, powers: Doubles
) -> tuple[int, int, int]:
    """Parse whole lines until they end, `vectors` is full, or a line needs a closer look.

    Parameters
    ----------
    block
        Bytes; those from `start` to `end` are lines that each end in a line feed.
    start, end
        Where to begin and end.
    separator
        The byte between a word and its numbers, and between those; a word may hold it too.
    vectors
        (n, d): what is filled, from `row` on.
    row
        The first row to fill.
    words
        Takes the words, a line feed after each; as long as the block.
    powers
        `POWERS`.

    Returns
    -------
    tuple of int
        Where the first line starts that was not parsed, the first row not filled, and how many bytes of `words` were.
    """
    used = 0
    line = start
    while line < end and row < vectors.shape[0]:
        at = line
        byte = block[at]
        while byte not in (separator, _LF, _CR, _NUL):
            words[used + at - line] = byte
            at += 1
            byte = block[at]
        after = _numbers(block, at, separator, vectors[row], powers)
        if after < 0 and byte == separator:
            at = _word_end(block, line, separator, vectors.shape[1])
            if at >= 0:
                words[used : used + at - line] = block[line:at]
                after = _numbers(block, at, separator, vectors[row], powers)
        if after < 0 or at - line > LONGEST_WORD or after - line > LONGEST_LINE:
            break
        used += at - line
        words[used] = _LF
        used += 1
        row += 1
        line = after
    return line, row, used


@exactly
def _numbers(block: Bytes, at: int, separator: int, vector: Floats, powers: Doubles) -> int:
    """Fill `vector` from the separator at `at` on; gives where the next line starts, or -1 for a line that is odd."""
    for column in range(len(vector)):
        if block[at] != separator:
            return -1
        at += 1
        negative = block[at] == _MINUS
        if negative or block[at] == _PLUS:
            at += 1
        mantissa, exponent, begin = 0, 0, at
        digit = int(block[at]) - 48
        while 0 <= digit <= 9:
            if mantissa < _MANY:
                mantissa = mantissa * 10 + digit
            else:
                exponent += 1
            at += 1
            digit = int(block[at]) - 48
        digits = at - begin
        if digit == _POINT:
            at += 1
            begin = at
            digit = int(block[at]) - 48
            while 0 <= digit <= 9:
                if mantissa < _MANY:
                    mantissa = mantissa * 10 + digit
                    exponent -= 1
                at += 1
                digit = int(block[at]) - 48
            digits += at - begin
        if digits == 0:
            return -1
        if digit in (_E, _SMALL_E):
            at += 1
            less = block[at] == _MINUS
            if less or block[at] == _PLUS:
                at += 1
            power, begin = 0, at
            digit = int(block[at]) - 48
            while 0 <= digit <= 9:
                power = min(power * 10 + digit, 2**40)  # beyond any number of digits that a line holds
                at += 1
                digit = int(block[at]) - 48
            if at == begin:
                return -1
            exponent += -power if less else power
        if mantissa <= _EXACT and -22 <= exponent <= 22:
            exact = mantissa / powers[-exponent] if exponent < 0 else mantissa * powers[exponent]
            value = np.float32(exact)
        else:
            value = _rounded(mantissa, exponent, powers)
        if not value <= _LARGEST:
            return -1
        vector[column] = -value if negative else value
    while block[at] == _SPACE or block[at] == separator:
        at += 1
    if block[at] == _CR:
        at += 1
    return at + 1 if block[at] == _LF else -1


@exactly
def _rounded(mantissa: int, exponent: int, powers: Doubles) -> np.float32:
    """``mantissa * 10 ** exponent`` as float32, NaN where that is in doubt."""
    if mantissa == 0:
        return np.float32(0)
    if exponent > 308:
        return np.float32(np.inf)
    near = np.float64(mantissa)
    if exponent >= 0:
        near *= powers[exponent]
    else:
        # Two steps reach below the smallest double; what is that small is 0 as float32, however it was rounded.
        near /= powers[min(-exponent, 308)]
        near /= powers[min(max(-exponent - 308, 0), 308)]
    low, high = np.float32(near * (1 - _REACH)), np.float32(near * (1 + _REACH))
    return low if low == high else np.float32(np.nan)


@exactly
def _word_end(block: Bytes, line: int, separator: int, width: int) -> int:
    """Where a word that holds separators ends, if `width` fields follow it; -1 if what precedes those is odd."""
    end = line
    while block[end] != _LF:
        if block[end] == _NUL:
            return -1
        end += 1
    if block[end - 1] == _CR:
        end -= 1
    while end > line and (block[end - 1] == _SPACE or block[end - 1] == separator):
        end -= 1
    for _ in range(width):
        end -= 1
        while end > line and block[end] != separator:
            end -= 1
    if end <= line:
        return -1
    part = end
    for at in range(line, end):
        if block[at] == _CR:
            return -1
        if block[at] == separator:
            part = at + 1
    # A word whose last part could be a number may be a line with a number too many: let the caller see.
    if part >= end:
        return -1
    first = block[part]
    suspect = 48 <= first <= 57 or first in (_PLUS, _MINUS, 46, 73, 78, 105, 110)  # digits . I N i n
    return -1 if suspect else end


@exactly
def repeated(blob: Bytes, offsets: Integers, table: npt.NDArray[np.int32], new: npt.NDArray[np.bool_]) -> int:
    """Mark each label as new or as one that was there before.

    Parameters
    ----------
    blob, offsets
        n labels, a line feed after each; see `embedkit.labels.Labels`.
    table
        A power of two above n of row numbers, all -1.
    new
        (n,), what is filled: whether no row before has the same label.

    Returns
    -------
    int
        The row that the first repeated label was first in, or -1.
    """
    first, mask = -1, len(table) - 1
    for row in range(len(offsets) - 1):
        start, length = offsets[row], offsets[row + 1] - offsets[row]
        mixed = np.uint64(14695981039346656037)  # FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/
        for at in range(start, start + length):
            mixed = (mixed ^ np.uint64(blob[at])) * np.uint64(1099511628211)
        place = np.int64(mixed >> np.uint64(20)) & mask
        new[row] = True
        while table[place] >= 0 and new[row]:
            other = table[place]
            begin = offsets[other]
            same = offsets[other + 1] - begin == length
            at = 0
            while same and at < length:
                same = blob[start + at] == blob[begin + at]
                at += 1
            if same:
                new[row] = False
                if first < 0:
                    first = other
            else:
                place = (place + 1) & mask
        if new[row]:
            table[place] = row
    return first
