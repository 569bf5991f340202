"""Micro-kernels on rows of float32 tables, as explicit vector instructions.

Nearly all of the arithmetic of word2vec and GloVe is of two kinds: inner products of one row with many rows, and a
weighted sum of many rows added to one row. Compilers make little of loops over a hundred floats; written as vectors of
16 floats they run near the processor's limit. The vectors are LLVM's own, so that they become AVX-512, AVX2 or NEON
instructions as the processor has them.

A table of n rows is flat, its rows `width` floats apart, where `width` is the dimension rounded up to a multiple of 16
(`padded_width`) and the padding is zero; `new_table` makes one. A row is named by the index of its first float. The
width must be known when a kernel is compiled, so it is passed as `width_of(dimension)`: a tuple with one element for
each 16 floats, whose length is part of its type.

The functions here can be called in compiled functions only. They check nothing: whoever calls them sees to it that the
rows are there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from embedkit.kernels.compiled import Function, compiled_with

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Width: TypeAlias = tuple[int, ...]
Place: TypeAlias = int | np.int64  # of a row; one type where it is compiled

LANES = 16  # floats in a vector
_LINE = 4 * LANES  # bytes of a vector, and of a line of the cache
_ACCUMULATORS = 20  # vectors summed up at once in `add_rows`; with 32 registers some are left for the rest

_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, LANES)

# A product and the sum it goes into may be fused, and that is all. Were sums reordered or quotients estimated, then the
# last bits would depend on how the compiler treats a loop; but the same function is compiled several times, as part of
# others, and which copy is called depends on what was compiled or loaded before. NaN stays NaN: training may diverge.
_FUSED = ("contract",)
# ... except where there is one way only, in whole vectors.
_ESTIMATED = ("contract", "arcp", "afn")


def trained(function: Function) -> Function:
    """`function` compiled so that it gives the same bits whatever else is compiled, with NaN and infinity kept.

    Nothing but a product and a sum is fused. So that the compiler can make vectors of a loop, each round must work on
    elements of its own: sum by columns, not over the loop.

    Parameters
    ----------
    function
        A function of arrays and numbers.
    """
    return compiled_with(function, fastmath=set(_FUSED), error_model="numpy")


def padded_width(dimension: int) -> int:
    """`dimension` rounded up to whole vectors."""
    return -(-dimension // LANES) * LANES


def width_of(dimension: int) -> Width:
    """What tells a kernel the width of its tables: a tuple of `padded_width(dimension) / 16` zeros."""
    return (0,) * (padded_width(dimension) // LANES)


def new_table(n_rows: int, dimension: int) -> Floats:
    """Zeros of shape (n_rows, padded_width(dimension)), float32; see `new_array`."""
    width = padded_width(dimension)
    return new_array(n_rows * width, np.float32).reshape(n_rows, width)


def copied_table(table: Floats) -> Floats:
    """A table with the same rows."""
    copy = new_array(table.size, np.float32).reshape(table.shape)
    copy[:] = table
    return copy


def padded_table(rows: Floats) -> Floats:
    """A table of rows that are not padded, or those of a table."""
    n, dimension = rows.shape
    table = new_table(n, dimension)
    table[:, :dimension] = rows
    return table


def packed_table(table: Floats, dimension: int) -> Floats:
    """The rows of a table without padding, shape (n, dimension), moved together in its own memory, which is lost."""
    n, width = table.shape
    packed = table.reshape(-1)[: n * dimension].reshape(n, dimension)
    for start in range(0, n if width > dimension else 0, 1024):
        packed[start : start + 1024] = table[start : start + 1024, :dimension]  # numpy sees to it that they overlap
    return packed


def new_array(size: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Zeros of shape (size,), starting at a line of the cache."""
    item = np.dtype(dtype).itemsize
    room = np.zeros(size * item + _LINE, dtype=np.uint8)
    start = -room.ctypes.data % _LINE
    return room[start : start + size * item].view(dtype)


def _const(value: int) -> ir.Constant:
    return ir.Constant(_INT64, value)


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """Pointer to element `index` of an array."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


def _declared(module: Any, kind: Any, name: str) -> Any:
    """A function of LLVM's."""
    declare: Any = cgutils.get_or_insert_function
    return declare(module, kind, name)


def _load(builder: Any, row: Any, part: int) -> Any:
    """Vector number `part` of the row that starts at the pointer `row`."""
    place = builder.bitcast(builder.gep(row, [_const(LANES * part)]), _VECTOR.as_pointer())
    return builder.load(place, align=4)


def _store(builder: Any, value: Any, row: Any, part: int) -> None:
    place = builder.bitcast(builder.gep(row, [_const(LANES * part)]), value.type.as_pointer())
    builder.store(value, place, align=4)


def _add(builder: Any, x: Any, y: Any) -> Any:
    return builder.fadd(x, y, flags=_FUSED)


def _multiply(builder: Any, x: Any, y: Any) -> Any:
    return builder.fmul(x, y, flags=_FUSED)


def _multiply_add(builder: Any, x: Any, y: Any, total: Any) -> Any:
    """A sum of a product and `total`; fused where the processor can, as the flags allow."""
    return _add(builder, _multiply(builder, x, y), total)


def _repeat(builder: Any, value: Any) -> Any:
    """A vector of `value` only."""
    vector = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.Constant(_INT32, 0))
    return builder.shuffle_vector(vector, vector, ir.Constant(ir.VectorType(_INT32, LANES), None))


def _pick(builder: Any, x: Any, y: Any, lanes: Sequence[int]) -> Any:
    """Some lanes of x and y, those of y being numbered after those of x."""
    mask = ir.Constant(ir.VectorType(_INT32, len(lanes)), [ir.Constant(_INT32, lane) for lane in lanes])
    return builder.shuffle_vector(x, y, mask)


def _halves_added(builder: Any, x: Any) -> Any:
    half = x.type.count // 2
    return _add(builder, _pick(builder, x, x, range(half)), _pick(builder, x, x, range(half, 2 * half)))


def _sum(builder: Any, x: Any) -> Any:
    """The sum of a vector's lanes."""
    while x.type.count > 1:
        x = _halves_added(builder, x)
    return builder.extract_element(x, ir.Constant(_INT32, 0))


def _four_sums(builder: Any, vectors: Sequence[Any]) -> Any:
    """The sums of the lanes of four vectors, as one vector of four."""

    def interleaved(x: Any, y: Any) -> Any:
        # In each group of four lanes: x0 + x2, y0 + y2, x1 + x3, y1 + y3.
        low = [lane for g in range(0, LANES, 4) for lane in (g, LANES + g, g + 1, LANES + g + 1)]
        high = [lane + 2 for lane in low]
        return _add(builder, _pick(builder, x, y, low), _pick(builder, x, y, high))

    first, second = interleaved(vectors[0], vectors[1]), interleaved(vectors[2], vectors[3])
    low = [lane for g in range(0, LANES, 4) for lane in (g, g + 1, LANES + g, LANES + g + 1)]
    high = [lane for g in range(0, LANES, 4) for lane in (g + 2, g + 3, LANES + g + 2, LANES + g + 3)]
    x = _add(builder, _pick(builder, first, second, low), _pick(builder, first, second, high))
    while x.type.count > 4:
        x = _halves_added(builder, x)
    return x


def _type_dots(
    typing: Any, table: Any, at: Any, others: Any, rows: Any, first: Any, n: Any, out: Any, width: Any
) -> tuple[Any, Callable[..., Any]]:
    parts = width.count

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        x_row = _address(context, builder, kinds[0], args[0], args[1])
        xs = [_load(builder, x_row, part) for part in range(parts)]
        last = builder.sub(args[5], _const(1))
        quads = builder.ashr(builder.add(args[5], _const(3)), _const(2))
        with cgutils.for_range(builder, quads) as loop:
            place = builder.mul(loop.index, _const(4))
            ys = []
            for j in range(4):
                k = builder.add(place, _const(j))
                k = builder.select(builder.icmp_signed("<", k, last), k, last)  # the last row fills up the four
                at = builder.load(_address(context, builder, kinds[3], args[3], builder.add(args[4], k)))
                ys.append(_address(context, builder, kinds[2], args[2], at))
            totals = [_multiply(builder, xs[0], _load(builder, y, 0)) for y in ys]
            for part in range(1, parts):
                totals = [
                    _multiply_add(builder, xs[part], _load(builder, y, part), total)
                    for y, total in zip(ys, totals, strict=True)
                ]
            _store(
                builder,
                _four_sums(builder, totals),
                _address(context, builder, kinds[6], args[6], builder.add(args[4], place)),
                0,
            )
        return context.get_dummy_value()

    return types.void(table, types.int64, others, rows, types.int64, types.int64, out, width), generate


dots: Callable[[Floats, Place, Floats, Integers, Place, Place, Floats, Width], None] = cast(Any, intrinsic(_type_dots))
"""``dots(table, at, others, rows, first, n, out, width)``: inner products of a row with `n` rows.

``out[first + k]`` becomes the product of the row of `table` at `at` and the row of `others` at ``rows[first + k]`` for
k = 0 ... n - 1. `out` needs room for `n` rounded up to a multiple of 4; what lies beyond `n` is undefined.
"""


def _type_add_rows(
    typing: Any,
    table: Any,
    at: Any,
    others: Any,
    rows: Any,
    first_row: Any,
    weights: Any,
    first_weight: Any,
    stride: Any,
    n: Any,
    width: Any,
) -> tuple[Any, Callable[..., Any]]:
    parts = width.count

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        target = _address(context, builder, kinds[0], args[0], args[1])
        reserve: Any = cgutils.alloca_once
        passes = -(-parts // _ACCUMULATORS)
        bounds = [parts * i // passes for i in range(passes + 1)]
        for low, high in pairwise(bounds):
            totals = [reserve(builder, _VECTOR) for _ in range(low, high)]  # LLVM makes them registers
            for part, total in enumerate(totals, low):
                builder.store(_load(builder, target, part), total)
            with cgutils.for_range(builder, args[8]) as loop:
                from_row = builder.add(args[4], loop.index)
                from_weight = builder.add(args[6], builder.mul(args[7], loop.index))
                at = builder.load(_address(context, builder, kinds[3], args[3], from_row))
                row = _address(context, builder, kinds[2], args[2], at)
                weight = _repeat(builder, builder.load(_address(context, builder, kinds[5], args[5], from_weight)))
                for part, total in enumerate(totals, low):
                    value = _multiply_add(builder, weight, _load(builder, row, part), builder.load(total))
                    builder.store(value, total)
            for part, total in enumerate(totals, low):
                _store(builder, builder.load(total), target, part)
        return context.get_dummy_value()

    place = types.int64
    return types.void(table, place, others, rows, place, weights, place, place, place, width), generate


add_rows: Callable[[Floats, Place, Floats, Integers, Place, Floats, Place, int, Place, Width], None] = cast(
    Any, intrinsic(_type_add_rows)
)
"""``add_rows(table, at, others, rows, first_row, weights, first_weight, stride, n, width)``: a sum of rows is added.

To the row of `table` at `at`, add ``weights[first_weight + stride k]`` times the row of `others` at
``rows[first_row + k]`` for k = 0 ... n - 1. The row itself must not be among them.
"""


def _type_transpose(typing: Any, table: Any, out: Any, block: Any, width: Any) -> tuple[Any, Callable[..., Any]]:
    groups, parts = block.count, width.count

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        source, target = (_address(context, builder, kinds[i], args[i], _const(0)) for i in (0, 1))
        for group in range(groups):
            rows = [builder.gep(source, [_const((group * LANES + lane) * parts * LANES)]) for lane in range(LANES)]
            for part in range(parts):
                square = [_load(builder, row, part) for row in rows]
                half = LANES // 2
                while half:  # swap the off-diagonal quarters of all squares of 2 half x 2 half
                    upper = [lane if not lane & half else LANES + lane - half for lane in range(LANES)]
                    lower = [lane + half if not lane & half else LANES + lane for lane in range(LANES)]
                    for i in (i for i in range(LANES) if not i & half):
                        x, y = square[i], square[i + half]
                        square[i], square[i + half] = _pick(builder, x, y, upper), _pick(builder, x, y, lower)
                    half //= 2
                for lane, column in enumerate(square):
                    _store(builder, column, target, (part * LANES + lane) * groups + group)
        return context.get_dummy_value()

    return types.void(table, out, block, width), generate


transpose: Callable[[Floats, Floats, Width, Width], None] = cast(Any, intrinsic(_type_transpose))
"""``transpose(table, out, block, width)``: the first rows of a table, turned into columns.

``out[d * n + i]`` becomes ``table[i * 16 * len(width) + d]`` for i = 0 ... n - 1, where n = 16 len(block).
"""


def _type_products(
    typing: Any, columns: Any, others: Any, rows: Any, first_row: Any, n: Any, out: Any, block: Any, width: Any
) -> tuple[Any, Callable[..., Any]]:
    groups, floats = block.count, width.count * LANES
    tile = max(1, 8 // groups)  # eight sums at a time hide how long an addition takes

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        reserve: Any = cgutils.alloca_once
        kinds = signature.args
        source = _address(context, builder, kinds[0], args[0], _const(0))
        zero = ir.Constant(_VECTOR, [ir.Constant(_FLOAT, 0.0)] * LANES)
        totals = [[reserve(builder, _VECTOR) for _ in range(groups)] for _ in range(tile)]
        with cgutils.for_range(builder, builder.sdiv(args[4], _const(tile))) as tiles:
            first = builder.mul(tiles.index, _const(tile))
            ys = []
            for j in range(tile):
                k = builder.add(builder.add(args[3], first), _const(j))
                at = builder.load(_address(context, builder, kinds[2], args[2], k))
                ys.append(_address(context, builder, kinds[1], args[1], at))
                for total in totals[j]:
                    builder.store(zero, total)
            with cgutils.for_range(builder, _const(floats)) as loop:
                column = builder.gep(source, [builder.mul(loop.index, _const(groups * LANES))])
                xs = [_load(builder, column, group) for group in range(groups)]
                for j in range(tile):
                    y = _repeat(builder, builder.load(builder.gep(ys[j], [loop.index])))
                    for x, total in zip(xs, totals[j], strict=True):
                        builder.store(_multiply_add(builder, x, y, builder.load(total)), total)
            place = builder.mul(first, _const(groups * LANES))
            target = _address(context, builder, kinds[5], args[5], place)
            for j in range(tile):
                for group, total in enumerate(totals[j]):
                    _store(builder, builder.load(total), target, j * groups + group)
        return context.get_dummy_value()

    place = types.int64
    return types.void(columns, others, rows, place, place, out, block, width), generate


products: Callable[[Floats, Floats, Integers, int, int, Floats, Width, Width], None] = cast(
    Any, intrinsic(_type_products)
)
"""``products(columns, others, rows, first_row, n, out, block, width)``: inner products of a block with `n` rows.

For each column i of `columns`, made by `transpose`, ``out[16 len(block) k + i]`` becomes its product with the row of
`others` at ``rows[first_row + k]``, k = 0 ... n - 1. `n` must be a multiple of 8. Cheaper than `dots`, as no vector's
lanes need to be summed.
"""


def _type_copy_row(
    typing: Any, table: Any, at: Any, others: Any, row: Any, width: Any
) -> tuple[Any, Callable[..., Any]]:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = _address(context, builder, signature.args[0], args[0], args[1])
        source = _address(context, builder, signature.args[2], args[2], args[3])
        for part in range(width.count):
            _store(builder, _load(builder, source, part), target, part)
        return context.get_dummy_value()

    return types.void(table, types.int64, others, types.int64, width), generate


copy_row: Callable[[Floats, Place, Floats, Place, Width], None] = cast(Any, intrinsic(_type_copy_row))
"""``copy_row(table, at, others, row, width)``: the row of `table` at `at` becomes that of `others` at `row`."""


def _type_clear_row(typing: Any, table: Any, at: Any, width: Any) -> tuple[Any, Callable[..., Any]]:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = _address(context, builder, signature.args[0], args[0], args[1])
        for part in range(width.count):
            _store(builder, ir.Constant(_VECTOR, [ir.Constant(_FLOAT, 0.0)] * LANES), target, part)
        return context.get_dummy_value()

    return types.void(table, types.int64, width), generate


clear_row: Callable[[Floats, Place, Width], None] = cast(Any, intrinsic(_type_clear_row))
"""``clear_row(table, at, width)``: the row of `table` at `at` becomes zeros."""


def _type_add_row(
    typing: Any, table: Any, at: Any, others: Any, row: Any, weight: Any, width: Any
) -> tuple[Any, Callable[..., Any]]:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = _address(context, builder, signature.args[0], args[0], args[1])
        source = _address(context, builder, signature.args[2], args[2], args[3])
        times = _repeat(builder, args[4])
        for part in range(width.count):
            value = _multiply_add(builder, times, _load(builder, source, part), _load(builder, target, part))
            _store(builder, value, target, part)
        return context.get_dummy_value()

    return types.void(table, types.int64, others, types.int64, types.float32, width), generate


add_row: Callable[[Floats, Place, Floats, Place, np.float32, Width], None] = cast(Any, intrinsic(_type_add_row))
"""``add_row(table, at, others, row, weight, width)``: `weight` times the row of `others` at `row` is added."""


def _type_prefetch(typing: Any, table: Any, at: Any, width: Any) -> tuple[Any, Callable[..., Any]]:
    parts = width.count

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        row = _address(context, builder, signature.args[0], args[0], args[1])
        byte_pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte_pointer, _INT32, _INT32, _INT32])
        fetch = _declared(builder.module, kind, "llvm.prefetch.p0")
        to_read, keep, data = (ir.Constant(_INT32, value) for value in (0, 3, 1))
        for part in range(parts):
            place = builder.bitcast(builder.gep(row, [_const(LANES * part)]), byte_pointer)
            builder.call(fetch, [place, to_read, keep, data])
        return context.get_dummy_value()

    return types.void(table, types.int64, width), generate


prefetch: Callable[[Floats, Place, Width], None] = cast(Any, intrinsic(_type_prefetch))
"""``prefetch(table, at, width)``: begin to bring a row into the cache. It changes nothing else."""


def _type_dot(typing: Any, table: Any, at: Any, others: Any, row: Any, width: Any) -> tuple[Any, Callable[..., Any]]:
    parts = width.count

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x = _address(context, builder, signature.args[0], args[0], args[1])
        y = _address(context, builder, signature.args[2], args[2], args[3])
        totals = [_multiply(builder, _load(builder, x, part), _load(builder, y, part)) for part in range(min(parts, 4))]
        for part in range(4, parts):
            total = totals[part % 4]  # four sums in turn, for an addition takes four cycles to come out
            totals[part % 4] = _multiply_add(builder, _load(builder, x, part), _load(builder, y, part), total)
        while len(totals) > 1:
            totals = [*totals[2:], _add(builder, totals[0], totals[1])]
        return _sum(builder, totals[0])

    return types.float32(table, types.int64, others, types.int64, width), generate


dot: Callable[[Floats, Place, Floats, Place, Width], np.float32] = cast(Any, intrinsic(_type_dot))
"""``dot(table, at, others, row, width)``: inner product of two rows."""


def _type_adagrad(
    typing: Any, table: Any, squares: Any, at: Any, others: Any, other_squares: Any, row: Any, slope: Any,
    rate: Any, limit: Any, width: Any,
) -> tuple[Any, Callable[..., Any]]:  # fmt: skip
    parts = width.count

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        x_row, x_squares = (_address(context, builder, kinds[i], args[i], args[2]) for i in (0, 1))
        y_row, y_squares = (_address(context, builder, kinds[i], args[i], args[5]) for i in (3, 4))
        slope, rate, high = (_repeat(builder, args[i]) for i in (6, 7, 8))
        low = builder.fneg(high)
        kind = ir.FunctionType(_VECTOR, [_VECTOR])
        root = _declared(builder.module, kind, f"llvm.sqrt.v{LANES}f32")

        def step(value: Any, gradient: Any, total: Any) -> tuple[Any, Any]:
            # Written so that a comparison with NaN, which is false, keeps the NaN.
            gradient = builder.select(builder.fcmp_ordered(">", gradient, high), high, gradient)
            gradient = builder.select(builder.fcmp_ordered("<", gradient, low), low, gradient)
            gradient = _multiply(builder, gradient, rate)
            change = builder.fdiv(gradient, builder.call(root, [total], fastmath=_ESTIMATED), flags=_ESTIMATED)
            return builder.fsub(value, change, flags=_FUSED), _multiply_add(builder, gradient, gradient, total)

        for part in range(parts):
            x, xx, y, yy = (_load(builder, place, part) for place in (x_row, x_squares, y_row, y_squares))
            new_x, new_xx = step(x, _multiply(builder, slope, y), xx)
            new_y, new_yy = step(y, _multiply(builder, slope, x), yy)
            for value, place in ((new_x, x_row), (new_xx, x_squares), (new_y, y_row), (new_yy, y_squares)):
                _store(builder, value, place, part)
        return context.get_dummy_value()

    real, place = types.float32, types.int64
    return types.void(table, squares, place, others, other_squares, place, real, real, real, width), generate


adagrad: Callable[[Floats, Floats, Place, Floats, Floats, Place, np.float32, np.float32, np.float32, Width], None] = (
    cast(Any, intrinsic(_type_adagrad))
)
"""``adagrad(table, squares, at, others, other_squares, row, slope, rate, limit, width)``: one step of a pair of rows.

For x, the row of `table` at `at`, and y, the row of `others` at `row`, whose error has the derivative `slope` by their
product: the gradients g, slope y for x and slope x for y, each element cut at ± `limit`, give the steps

    x <- x - rate g / sqrt(squares),    squares <- squares + (rate g)^2

and likewise for y (Duchi, Hazan & Singer 2011, with the rate inside the sum as in Stanford's GloVe).
"""
