r"""Candidates for a single query from a sketch of the rows: 5 bits a number instead of 32.

One query against all rows takes as long as it takes to read them, so to be faster one has to read less. A sketch keeps
of each unit row u the numbers :math:`\hat u_j = s (c_j - 15.5)` with whole :math:`c_j` from 0 to 31, a scale s, and the
length :math:`\rho = |u - \hat u|` of what is lost. A unit query q becomes :math:`\hat q`, whole numbers of 8 bits and a
scale, which loses :math:`\delta = |q - \hat q|`. Inner products of the two are then exact in integers, and

.. math:: |u \cdot q - \hat u \cdot \hat q| \le \rho + (1 + \rho) \delta

(Cauchy and Schwarz, twice). If t is the k-th largest lower bound, no row whose upper bound is below t can be among the
k best. The others, some hundreds or thousands, are looked up in float32, which leaves hardly more than the k best for
`embedkit.kernels.exact`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from embedkit.kernels import candidates_numpy
from embedkit.kernels.compiled import compiled
from embedkit.kernels.exact import Floats, Integers, tolerance

_TOP = 31  # the largest code
_GROUP = (
    64  # numbers whose codes lie together, in 40 bytes: first the upper four bits of all groups, then the last bits
)
_FOUR = 4  # rows whose inner products are computed together
_FINEST = 127  # the largest whole number in a query
_FLUSH = 16  # groups whose products 15 * 127 add up to no more than 16 bits hold
_NEVER = -9.0  # the bounds of what is no answer: below any score
_TOO_MANY = 8  # a sketch that leaves more than one row in so many is of no use

Codes = npt.NDArray[np.uint8]
Shorts = npt.NDArray[np.int16]
Int32s = npt.NDArray[np.int32]
Groups: TypeAlias = tuple[int, ...]  # one element for each group: a length that is known when compiled


class Sketch(NamedTuple):
    """`codes` (bytes,) uint8 of all rows; scales s and `lost`, both (n,) float32: rho, and what float32 may err."""

    codes: Codes
    scales: Floats
    lost: Floats


def sketched(rows: Floats, inverse: Floats) -> Sketch:
    """The sketch of ``rows * inverse[:, None]``.

    Parameters
    ----------
    rows
        (n, d) float32.
    inverse
        (n,) float32: one over the length of each row; 0 for a row of zeros.
    """
    n, d = rows.shape
    groups = len(_groups(d))
    made = Sketch(
        np.zeros(-(-n // _FOUR) * _FOUR * groups * _GROUP * 5 // 8, dtype=np.uint8),
        np.zeros(n, dtype=np.float32),
        np.zeros(n, dtype=np.float32),
    )
    _fill(rows, inverse, groups, *made, 2 * tolerance(d))
    return made


def by_sketch(
    sketch: Sketch, rows: Floats, inverse: Floats, query: Floats, k: int, skip: Integers, dead: Integers
) -> Integers | None:
    """Rows among which are the `k` best for one query by inner product with ``rows * inverse[:, None]``.

    Parameters
    ----------
    sketch, rows, inverse
        What `sketched` gave for what.
    query
        (d,) float32 of length 1.
    k
        How many are wanted.
    skip, dead
        (s,) and (z,) int64 rows that are no answers; -1 in `skip` for none.

    Returns
    -------
    ndarray of shape (p,), int64, or None
        None if the sketch tells too little about these rows.
    """
    n, d = rows.shape
    whole = np.zeros(len(_groups(d)) * _GROUP, dtype=np.int16)
    step = float(np.abs(query).max()) / _FINEST
    whole[:d] = np.rint(query / step)
    delta = float(np.linalg.norm(query - step * whole[:d]))
    low, high = np.empty((2, 1, -(-n // _FOUR) * _FOUR), dtype=np.float32)
    products = low[0].view(np.int32)  # whole numbers first, where the bounds come to stand
    _multiply(sketch.codes, whole, _groups(d), products)
    _bound(products, *sketch, step, int(whole.sum(dtype=np.int64)), delta, low[0], high[0])
    no_answers = np.concatenate([skip[skip >= 0], dead])
    low[0, no_answers] = high[0, no_answers] = low[0, n:] = high[0, n:] = _NEVER
    left = np.empty(n // _TOO_MANY + 1, dtype=np.int64)
    left = left[: _above(high[0], candidates_numpy.kth_largest(low, k)[0], left)]
    if len(left) > n // _TOO_MANY:
        return None
    scores = np.empty(len(left), dtype=np.float32)
    _products(rows, inverse, left, np.ascontiguousarray(query), scores)
    last = np.partition(scores, -k)[-k] if k < len(scores) else -np.inf
    return left[scores >= np.float32(last - 2 * tolerance(d))]


def _groups(d: int) -> Groups:
    return (0,) * -(-d // _GROUP)


@compiled
def _fill(rows: Floats, inverse: Floats, groups: int, codes: Codes, scales: Floats, lost: Floats, error: float) -> None:
    n, d = rows.shape
    for i in range(n):
        largest = np.float32(0)
        for j in range(d):
            largest = max(largest, abs(rows[i, j] * inverse[i]))
        scale = largest * np.float32(2 / _TOP)
        if scale < np.float32(1e-30):
            lost[i] = 2  # nothing is known of it; a row of zeros is no answer anyhow
            continue
        upper = i * groups * (_GROUP * 5 // 8)
        last = upper + groups * (_GROUP // 2)
        squares = 0.0
        for j in range(d):
            number = rows[i, j] * inverse[i]
            code = min(max(int(np.floor(number / scale + np.float32(_TOP / 2 + 0.5))), 0), _TOP)
            difference = float(number) - float(scale) * (code - _TOP / 2)
            squares += difference * difference
            group, place = j // _GROUP, j % _GROUP
            half = place // (_GROUP // 2)
            codes[upper + group * (_GROUP // 2) + place % (_GROUP // 2)] |= np.uint8((code >> 1) << (4 * half))
            codes[last + group * (_GROUP // 8) + place // 8] |= np.uint8((code & 1) << (place % 8))
        scales[i] = scale
        lost[i] = np.sqrt(squares) * (1 + 1e-6) + error


@compiled
def _multiply(codes: Codes, query: Shorts, groups: Groups, products: Int32s) -> None:
    """Inner products of all codes with the query, four rows at a time."""
    size = len(groups) * (_GROUP * 5 // 8)
    for i in range(0, len(products), _FOUR):
        _four_products(codes, i * size, query, groups, products, i)


@compiled
def _bound(
    products: Int32s, codes: Codes, scales: Floats, lost: Floats, step: float, total: int, delta: float, low: Floats,
    high: Floats,
) -> None:  # fmt: skip
    """Lower and upper bounds of the inner products; `step` and `delta` are of the query, `total` is its sum."""
    for i in range(len(scales)):
        # Twice what it is, so that it is whole; both factors are exact in float64.
        product = (2 * np.int64(products[i]) - _TOP * total) * 0.5 * step * scales[i]
        margin = lost[i] + (1 + lost[i]) * delta + 1e-6
        low[i] = product - margin
        high[i] = product + margin


@compiled
def _above(values: Floats, threshold: np.float32, places: Integers) -> int:
    """Put where values are not below the threshold into `places`, as far as it goes; how many these are."""
    filled = 0
    for i in range(len(values)):
        if values[i] >= threshold and values[i] > np.float32(_NEVER) and filled < len(places):
            places[filled] = i
            filled += 1
    return filled


@compiled
def _products(rows: Floats, inverse: Floats, chosen: Integers, query: Floats, scores: Floats) -> None:
    for i in range(len(chosen)):
        row = rows[chosen[i]]
        total = np.float32(0)
        for j in range(len(query)):
            total += row[j] * query[j]
        scores[i] = total * inverse[chosen[i]]


def _type_four_products(
    _typing: Any, codes: Any, at: Any, query: Any, groups: Any, out: Any, place: Any
) -> tuple[Any, Callable[..., Any]]:
    count, half = groups.count, _GROUP // 2
    i1, i8, i16, i32, i64 = (ir.IntType(size) for size in (1, 8, 16, 32, 64))
    shorts, mask = ir.VectorType(i16, half), ir.VectorType(i1, half)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def pointer(array: int, index: Any, kind: Any) -> Any:
            data = context.make_array(signature.args[array])(context, builder, args[array]).data
            return builder.bitcast(builder.gep(data, [index]), kind.as_pointer())

        def load(array: int, index: Any, kind: Any) -> Any:
            return builder.load(pointer(array, index, kind), align=1)

        def repeated(kind: Any, value: int) -> ir.Constant:
            return ir.Constant(kind, [ir.Constant(kind.element, value)] * kind.count)

        def lanes(x: Any, y: Any, chosen: Sequence[int]) -> Any:
            kind = ir.VectorType(i32, len(chosen))
            return builder.shuffle_vector(x, y, ir.Constant(kind, [ir.Constant(i32, lane) for lane in chosen]))

        def widened(x: Any) -> Any:
            """The sum of the halves of a vector of 16 bits, as one of 32 bits."""
            low, high = lanes(x, x, range(half // 2)), lanes(x, x, range(half // 2, half))
            kind = ir.VectorType(i32, half // 2)
            return builder.add(builder.sext(low, kind), builder.sext(high, kind))

        def neighbours_added(x: Any, y: Any, size: int) -> Any:
            """Of x and, behind it, y: the sums of two neighbours each, `size` of them."""
            return builder.add(lanes(x, y, range(0, 2 * size, 2)), lanes(x, y, range(1, 2 * size, 2)))

        wholes = [repeated(ir.VectorType(i32, half // 2), 0)] * _FOUR
        uppers, lasts = [repeated(shorts, 0)] * _FOUR, [repeated(shorts, 0)] * _FOUR
        for group in range(count):
            asked = [load(2, ir.Constant(i64, _GROUP * group + first), shorts) for first in (0, half)]
            for row in range(_FOUR):
                start = builder.add(args[1], ir.Constant(i64, row * count * (_GROUP * 5 // 8)))
                pairs = load(0, builder.add(start, ir.Constant(i64, half * group)), ir.VectorType(i8, half))
                pairs = builder.zext(pairs, shorts)
                codes = [builder.and_(pairs, repeated(shorts, 15)), builder.lshr(pairs, repeated(shorts, 4))]
                for part in (0, 1):
                    uppers[row] = builder.add(uppers[row], builder.mul(codes[part], asked[part]))
                    bit = ir.Constant(i64, half * count + (_GROUP // 8) * group + (half // 8) * part)
                    chosen = builder.bitcast(load(0, builder.add(start, bit), i32), mask)
                    lasts[row] = builder.add(lasts[row], builder.select(chosen, asked[part], repeated(shorts, 0)))
            if group % (_FLUSH // 2) == _FLUSH // 2 - 1 or group == count - 1:
                for row in range(_FOUR):
                    upper = widened(uppers[row])
                    wholes[row] = builder.add(wholes[row], builder.add(builder.add(upper, upper), widened(lasts[row])))
                    uppers[row] = lasts[row] = repeated(shorts, 0)
        pairs = [neighbours_added(wholes[first], wholes[first + 1], half // 2) for first in (0, 2)]
        sums = neighbours_added(pairs[0], pairs[1], half // 2)  # a quarter of it is of each row
        while sums.type.count > _FOUR:
            sums = neighbours_added(sums, sums, sums.type.count // 2)
        builder.store(sums, pointer(4, args[5], sums.type), align=4)
        return context.get_dummy_value()

    return types.void(codes, types.int64, query, groups, out, types.int64), generate


# Inner products of the codes of four rows, from a byte on, with a query; to four places of an array, from one on.
_four_products = cast(Callable[[Codes, int, Shorts, Groups, Int32s, int], None], intrinsic(_type_four_products))
