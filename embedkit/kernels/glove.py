r"""GloVe: a weighted least-squares fit of the logarithms of co-occurrence counts, by AdaGrad.

Pennington, Socher & Manning (2014, GloVe: Global Vectors for Word Representation, eq. 8): over all counts
:math:`X_{ij} > 0`,

.. math:: J = \tfrac 1 2 \sum_{ij} f(X_{ij}) d_{ij}^2, \quad
          d_{ij} = w_i \cdot \tilde w_j + b_i + \tilde b_j - \log X_{ij}, \quad f(x) = \min(1, (x / x_{max})^\alpha)

is made small with steps of AdaGrad (Duchi, Hazan & Singer 2011) for one count at a time, as in Stanford's program: its
gradients are cut at ± 100, the sums of their squares begin at 1, and the cost is the mean of
:math:`\tfrac 1 2 f(X_{ij}) d_{ij}^2` over the counts, each taken just before its step.

The order of the counts is what is ours. It must be shuffled, but if every count came at random, four rows would have to
be fetched from slow memory for each. So counts are trained in *segments*: up to 64 counts of the same row, in random
order of columns; the segments are shuffled in each epoch. The row of the segment stays in the fastest cache.

The result does not depend on the number of threads. Words are dealt to P parts at random, which cuts the table into
P x P tiles. In each of P turns, P tiles are trained that have no row and no column in common (stratified SGD: Gemulla,
Nijkamp, Haas & Sismanis 2011, Large-Scale Matrix Factorization with Distributed Stochastic Gradient Descent), so that
threads that share out these tiles never touch the same number.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from embedkit.kernels.cooccurrence import Counts
from embedkit.kernels.sampling import Int32s, advanced, below, mixed, stream
from embedkit.kernels.simd import Floats, Integers, Width, adagrad, dot, new_table, prefetch, trained, width_of

Doubles: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.uint8]

PARTS = 8  # into which rows and columns are dealt, and the most threads that are of use
SEGMENT = 64  # counts of one row that are trained after each other
GRADIENT_LIMIT = 100.0  # of each element, as in Stanford's program
_AHEAD = 4  # columns that are being fetched while one is trained


class Vectors(NamedTuple):
    """What is trained, and AdaGrad's sums of squares.

    `rows`, `columns` (words, width) float32 tables w and w~, `row_biases` and `column_biases` (words,) float32, and the
    same again with `_squares`.
    """

    rows: Floats
    columns: Floats
    row_biases: Floats
    column_biases: Floats
    rows_squares: Floats
    columns_squares: Floats
    row_biases_squares: Floats
    column_biases_squares: Floats


class Segments(NamedTuple):
    """Counts in the order of training, from `arrange`.

    Of each count `columns` int32, `logs` float32, the logarithm, and `weights` float32, f of it. Of each segment `rows`
    int32 and `starts` int64, of which there is one more. `tiles` (PARTS * PARTS + 1,) int64: the segments with which
    each tile begins, tile by tile along its rows.
    """

    columns: Int32s
    logs: Floats
    weights: Floats
    rows: Int32s
    starts: Integers
    tiles: Integers


def new_vectors(n_words: int, dimension: int, seed: int) -> Vectors:
    """Vectors and biases between ± 1 / (2 dimension), sums of squares of 1, as in Stanford's program."""
    rng = np.random.default_rng(seed)
    tables, biases = [new_table(n_words, dimension) for _ in range(4)], []
    for table in tables[:2]:
        table[:, :dimension] = (rng.random((n_words, dimension), dtype=np.float32) - 0.5) / dimension
        biases.append((rng.random(n_words, dtype=np.float32) - 0.5) / np.float32(dimension))
    for squares in tables[2:]:
        squares += 1
    ones = [np.ones(n_words, dtype=np.float32) for _ in range(2)]
    return Vectors(*tables[:2], *biases, *tables[2:], *ones)


def arrange(counts: Counts, *, x_max: float, alpha: float, seed: int) -> Segments:
    """Put counts into the order of training.

    Parameters
    ----------
    counts
        Of all rows: as many as there are words.
    x_max, alpha
        Of the weight f.
    seed
        Of the parts and the order within rows.
    """
    n_words = len(counts.starts) - 1
    parts = np.random.default_rng(seed).permutation(n_words) % PARTS
    sizes = np.zeros((PARTS, PARTS), dtype=np.int64)  # segments of each tile
    entries = np.zeros((PARTS, PARTS), dtype=np.int64)
    _measure(counts, parts, sizes, entries)
    tiles = np.zeros(PARTS * PARTS + 1, dtype=np.int64)
    np.cumsum(sizes.reshape(-1), out=tiles[1:])
    first_entries = np.cumsum(entries.reshape(-1)) - entries.reshape(-1)
    n = len(counts.columns)
    columns, logs = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.float32)
    rows, starts = np.empty(tiles[-1], dtype=np.int32), np.empty(tiles[-1] + 1, dtype=np.int64)
    starts[-1] = n
    _deal(counts, parts, seed, tiles[:-1].copy(), first_entries, columns, logs, rows, starts)
    weights = np.minimum(np.exp(alpha * (logs - np.log(x_max))), 1).astype(np.float32)
    return Segments(columns, logs, weights, rows, starts, tiles)


@trained
def _measure(counts: Counts, parts: Integers, sizes: Integers, entries: Integers) -> None:
    """Count the segments and the entries of each tile."""
    here = np.zeros(PARTS, dtype=np.int64)
    for row in range(len(counts.starts) - 1):
        here[:] = 0
        for k in range(counts.starts[row], counts.starts[row + 1]):
            here[parts[counts.columns[k]]] += 1
        for part in range(PARTS):
            sizes[parts[row], part] += (here[part] + SEGMENT - 1) // SEGMENT
            entries[parts[row], part] += here[part]


@trained
def _deal(
    counts: Counts,
    parts: Integers,
    seed: int,
    segments: Integers,
    first_entries: Integers,
    columns: Int32s,
    logs: Floats,
    rows: Int32s,
    starts: Integers,
) -> None:
    """Write entries tile by tile, those of a row in random order; `segments` and `first_entries` say where to go on."""
    here = np.empty(PARTS, dtype=np.int64)
    for row in range(len(counts.starts) - 1):
        begin, n = counts.starts[row], counts.starts[row + 1] - counts.starts[row]
        order = np.arange(n)
        state = stream(seed, 0, row)
        for k in range(n - 1, 0, -1):
            state = advanced(state)
            other = below(mixed(state), k + 1)
            order[k], order[other] = order[other], order[k]
        here[:] = 0
        for k in order:
            column = counts.columns[begin + k]
            part = parts[column]
            tile = parts[row] * PARTS + part
            if here[part] % SEGMENT == 0:
                rows[segments[tile]] = row
                starts[segments[tile]] = first_entries[tile]
                segments[tile] += 1
            here[part] += 1
            columns[first_entries[tile]] = column
            logs[first_entries[tile]] = np.log(counts.values[begin + k])
            first_entries[tile] += 1


def train_turns(
    vectors: Vectors,
    segments: Segments,
    *,
    eta: float,
    epoch: int,
    first: int = 0,
    last: int = PARTS,
    seed: int,
    stop: Flags,
    sums: Doubles,
    workers: int = 1,
) -> int:
    """Train on all counts once, or in some of the turns of an epoch.

    Parameters
    ----------
    vectors
        Changed in place.
    segments
        From `arrange`.
    eta
        AdaGrad's rate.
    epoch, seed
        For the order of the segments.
    first, last
        The turns, of 0 ... PARTS - 1.
    stop
        (1,) uint8; training ends before the next turn once it is not 0.
    sums
        (2,) float64, to which are added: the cost of each count, and their number.
    workers
        Threads. The result does not depend on them.

    Returns
    -------
    int
        The turn to go on with: `last`, or an earlier one if training was stopped.
    """
    width, n_words = vectors.rows.shape[1], len(vectors.rows)
    for array in vectors:
        shape = (n_words, width) if array.ndim == 2 else (n_words,)
        if array.shape != shape or array.dtype != np.float32 or not array.flags.c_contiguous:
            raise ValueError("vectors must be as from new_vectors")
    if n_words <= max(segments.rows.max(initial=-1), segments.columns.max(initial=-1)):
        raise ValueError(f"the counts are of more than {n_words} words")
    flat = Vectors(*(array.reshape(-1) for array in vectors))
    shift = np.random.default_rng([seed, epoch]).permutation(PARTS)  # which tile of each row comes in which turn

    def work(tile: int) -> float:
        order = np.arange(segments.tiles[tile], segments.tiles[tile + 1])
        np.random.default_rng([seed, epoch, tile]).shuffle(order)
        return _train_segments(flat, segments, order, np.float32(eta), width_of(width))

    with ThreadPoolExecutor(workers) as pool:
        for turn in range(first, last):
            if stop[0]:
                return turn
            tiles = [part * PARTS + (part + int(shift[turn])) % PARTS for part in range(PARTS)]
            costs = list(pool.map(work, tiles))
            sums[0] += sum(costs)
            for tile in tiles:
                begin, end = segments.tiles[tile], segments.tiles[tile + 1]
                sums[1] += segments.starts[end] - segments.starts[begin]
    return last


@trained
def _train_segments(vectors: Vectors, segments: Segments, order: Integers, eta: np.float32, width: Width) -> float:
    """One step for each count of the segments named in `order`; the sum of the costs."""
    step, limit = 16 * len(width), np.float32(GRADIENT_LIMIT)
    cost = 0.0
    for segment in order:
        row = np.int64(segments.rows[segment])
        begin, end = segments.starts[segment], segments.starts[segment + 1]
        at = row * step
        for k in range(begin, end):
            column = np.int64(segments.columns[k])
            if k + _AHEAD < end:
                ahead = np.int64(segments.columns[k + _AHEAD]) * step
                prefetch(vectors.columns, ahead, width)
                prefetch(vectors.columns_squares, ahead, width)
            place = column * step
            product = dot(vectors.rows, at, vectors.columns, place, width)
            difference = product + vectors.row_biases[row] + vectors.column_biases[column] - segments.logs[k]
            slope = segments.weights[k] * difference
            cost += np.float64(0.5) * slope * difference
            adagrad(
                vectors.rows, vectors.rows_squares, at, vectors.columns, vectors.columns_squares, place,
                slope, eta, limit, width,
            )  # fmt: skip
            change = eta * slope
            vectors.row_biases[row] -= change / np.sqrt(vectors.row_biases_squares[row])
            vectors.column_biases[column] -= change / np.sqrt(vectors.column_biases_squares[column])
            vectors.row_biases_squares[row] += change * change
            vectors.column_biases_squares[column] += change * change
    return cost
