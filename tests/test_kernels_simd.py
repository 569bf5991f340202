"""The micro-kernels against plain numpy in float64."""

from __future__ import annotations

import numpy as np
import pytest

from embedkit.kernels import simd
from embedkit.kernels.simd import (
    Floats,
    Integers,
    Width,
    add_rows,
    new_table,
    padded_width,
    prefetch,
    trained,
    width_of,
)

DIMENSIONS = [1, 16, 17, 100, 300, 512]
COUNTS = [0, 1, 2, 3, 4, 5, 7, 8, 33]


@trained
def dots(table: Floats, at: int, others: Floats, rows: Integers, first: int, n: int, out: Floats, width: Width) -> None:
    simd.dots(table, at, others, rows, first, n, out, width)


@trained
def sums(
    table: Floats, at: int, others: Floats, rows: Integers, first_row: int, weights: Floats, first_weight: int,
    stride: int, n: int, width: Width,
) -> None:  # fmt: skip
    prefetch(others, at, width)
    add_rows(table, at, others, rows, first_row, weights, first_weight, stride, n, width)


@trained
def one_row(table: Floats, at: int, others: Floats, row: int, weight: np.float32, width: Width) -> None:
    simd.copy_row(table, at, others, row, width)
    simd.add_row(table, at, others, row, weight, width)


@trained
def cleared(table: Floats, at: int, width: Width) -> None:
    simd.clear_row(table, at, width)


@trained
def dot(table: Floats, at: int, others: Floats, row: int, width: Width) -> np.float32:
    return simd.dot(table, at, others, row, width)


@trained
def block_products(
    table: Floats, columns: Floats, others: Floats, rows: Integers, first_row: int, n: int, out: Floats, block: Width,
    width: Width,
) -> None:  # fmt: skip
    simd.transpose(table, columns, block, width)
    simd.products(columns, others, rows, first_row, n, out, block, width)


@trained
def adagrad(
    x: Floats, xx: Floats, at: int, y: Floats, yy: Floats, row: int, slope: np.float32, rate: np.float32,
    limit: np.float32, width: Width,
) -> None:  # fmt: skip
    simd.adagrad(x, xx, at, y, yy, row, slope, rate, limit, width)


def random_table(rng: np.random.Generator, n: int, dimension: int) -> Floats:
    table = new_table(n, dimension)
    table[:, :dimension] = rng.standard_normal((n, dimension))
    return table


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_tables_are_padded_with_zeros_and_aligned(dimension: int) -> None:
    table = new_table(3, dimension)
    assert table.shape == (3, padded_width(dimension))
    assert not table.any()
    assert 0 <= table.shape[1] - dimension < simd.LANES == table.shape[1] // len(width_of(dimension))
    assert table.ctypes.data % 64 == 0
    assert table.flags.c_contiguous


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_padding_is_taken_away_in_place_and_given_back(rng: np.random.Generator, dimension: int) -> None:
    table = random_table(rng, 2500, dimension)
    before = table.copy()
    packed = simd.packed_table(table, dimension)
    np.testing.assert_array_equal(packed, before[:, :dimension])
    assert packed.flags.c_contiguous
    assert np.shares_memory(packed, table)
    np.testing.assert_array_equal(simd.padded_table(packed), before)


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_products_of_a_row_with_rows(rng: np.random.Generator, dimension: int) -> None:
    x, y = random_table(rng, 4, dimension), random_table(rng, 9, dimension)
    width = padded_width(dimension)
    for n in COUNTS:
        rows = rng.integers(9, size=n + 2)
        out = np.full(2 + -(-n // 4) * 4 + 4, 7, dtype=np.float32)
        dots(x.reshape(-1), 2 * width, y.reshape(-1), rows * width, 2, n, out, width_of(dimension))
        expected = y[rows[2:]].astype(float) @ x[2].astype(float)
        np.testing.assert_allclose(out[2 : 2 + n], expected, rtol=0, atol=1e-6 * dimension)
        assert (out[:2] == 7).all()
        assert (out[-4:] == 7).all()  # nothing beyond the promised room
    expected = float(x[1].astype(float) @ y[8].astype(float))
    product = dot(x.reshape(-1), width, y.reshape(-1), 8 * width, width_of(dimension))
    assert product == pytest.approx(expected, abs=1e-6 * dimension)


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_a_weighted_sum_of_rows_is_added(rng: np.random.Generator, dimension: int) -> None:
    width = padded_width(dimension)
    for n in COUNTS:
        x, y = random_table(rng, 3, dimension), random_table(rng, 9, dimension)
        rows, weights = rng.integers(9, size=n + 5), rng.standard_normal(2 * n + 3).astype(np.float32)
        expected = x.astype(float)
        expected[1] += weights[3::2].astype(float) @ y[rows[1 : 1 + n]].astype(float)
        sums(x.reshape(-1), width, y.reshape(-1), rows * width, 1, weights, 3, 2, n, width_of(dimension))
        np.testing.assert_allclose(x, expected, rtol=0, atol=1e-5)
        assert not x[:, dimension:].any()  # the padding stays zero, neighbouring rows as they were


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_a_row_is_copied_added_and_cleared_and_no_other(rng: np.random.Generator, dimension: int) -> None:
    x, y = (rng.random((3, dimension), dtype=np.float32) for _ in range(2))
    table, others = new_table(3, dimension), new_table(3, dimension)
    table[:, :dimension], others[:, :dimension] = x, y
    flat, size = table.reshape(-1), table.shape[1]
    one_row(flat, size, others.reshape(-1), 2 * size, np.float32(-0.25), width_of(dimension))
    np.testing.assert_allclose(table[1, :dimension], 0.75 * y[2], rtol=1e-6)
    np.testing.assert_array_equal(table[[0, 2], :dimension], x[[0, 2]])
    cleared(flat, size, width_of(dimension))
    assert not table[1].any()
    np.testing.assert_array_equal(table[[0, 2], :dimension], x[[0, 2]])


@pytest.mark.parametrize("dimension", DIMENSIONS)
@pytest.mark.parametrize("block", [16, 32])
def test_products_of_a_block_with_rows(rng: np.random.Generator, dimension: int, block: int) -> None:
    width = padded_width(dimension)
    x, y = random_table(rng, block, dimension), random_table(rng, 9, dimension)
    columns = np.zeros(block * width, dtype=np.float32)
    for n in (0, 8, 24):
        rows, out = rng.integers(9, size=n + 1), np.full((n + 1, block), 7, dtype=np.float32)
        block_products(
            x.reshape(-1),
            columns,
            y.reshape(-1),
            rows * width,
            1,
            n,
            out.reshape(-1),
            width_of(block),
            width_of(dimension),
        )
        expected = y[rows[1:]].astype(float) @ x.T.astype(float)
        np.testing.assert_allclose(out[:n], expected, rtol=0, atol=1e-6 * dimension)
        assert (out[n] == 7).all()
    np.testing.assert_array_equal(columns.reshape(width, block), x.T)


@pytest.mark.parametrize("dimension", DIMENSIONS)
@pytest.mark.parametrize("limit", [0.1, 100.0])
def test_a_step_of_adagrad(rng: np.random.Generator, dimension: int, limit: float) -> None:
    width, slope, rate = padded_width(dimension), np.float32(0.7), np.float32(0.05)
    x, y = random_table(rng, 3, dimension), random_table(rng, 3, dimension)
    xx, yy = 1 + random_table(rng, 3, dimension) ** 2, 1 + random_table(rng, 3, dimension) ** 2
    g = {name: np.clip(0.7 * row.astype(float), -limit, limit) * 0.05 for name, row in (("x", y[2]), ("y", x[1]))}
    new_x, new_y = x[1] - g["x"] / np.sqrt(xx[1]), y[2] - g["y"] / np.sqrt(yy[2])
    new_xx, new_yy = xx[1] + g["x"] ** 2, yy[2] + g["y"] ** 2
    others = x[[0, 2]].copy()
    flat = [table.reshape(-1) for table in (x, xx, y, yy)]
    adagrad(flat[0], flat[1], width, flat[2], flat[3], 2 * width, slope, rate, np.float32(limit), width_of(dimension))
    for found, expected in ((x[1], new_x), (y[2], new_y), (xx[1], new_xx), (yy[2], new_yy)):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(x[[0, 2]], others)


def test_what_is_not_finite_stays_so(rng: np.random.Generator) -> None:
    width = width_of(16)
    for bad in (np.nan, np.inf):
        x, y = random_table(rng, 1, 16), random_table(rng, 1, 16)
        xx, yy = np.ones_like(x), np.ones_like(y)
        y[0, 3] = bad
        rows, weights = np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.float32)
        assert not np.isfinite(dot(x.reshape(-1), 0, y.reshape(-1), 0, width))
        sums(x.reshape(-1), 0, y.reshape(-1), rows, 0, weights, 0, 1, 1, width)
        assert not np.isfinite(x[0, 3])
        assert np.isfinite(x[0, :3]).all()
        one = np.float32(1)
        adagrad(x.reshape(-1), xx.reshape(-1), 0, y.reshape(-1), yy.reshape(-1), 0, one, one, one, width)
        assert not np.isfinite(x[0, 3])
        assert not np.isfinite(y[0, 3])
