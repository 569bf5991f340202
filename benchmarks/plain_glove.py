"""GloVe's training as one would first write it for numba: the reference for the speed of `embedkit.kernels.glove`.

The formula and the arithmetic are the same (float32, AdaGrad, fast-math), but counts come in any random order and each
is trained with plain loops over the dimensions. Run from the root: python -m benchmarks.plain_glove [ENTRIES] gives CPU
nanoseconds a count of both on random counts.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import numpy.typing as npt
from numba import njit

from embedkit.kernels import glove
from embedkit.kernels.cooccurrence import Counts
from embedkit.kernels.glove import Vectors

Floats = npt.NDArray[np.float32]
Int32s = npt.NDArray[np.int32]


def _train(
    vectors: Vectors, rows: Int32s, columns: Int32s, counts: Floats, order: npt.NDArray[np.int64], x_max: float,
    alpha: float, eta: float,
) -> float:  # fmt: skip
    """One step for each count, in the given order; the sum of the costs."""
    w, c, w_squares, c_squares = vectors.rows, vectors.columns, vectors.rows_squares, vectors.columns_squares
    b, d, b_squares, d_squares = (
        vectors.row_biases, vectors.column_biases, vectors.row_biases_squares, vectors.column_biases_squares,
    )  # fmt: skip
    cost, rate, dimension = 0.0, np.float32(eta), w.shape[1]
    for k in order:
        i, j, x = rows[k], columns[k], counts[k]
        product = np.float32(0)
        for t in range(dimension):
            product += w[i, t] * c[j, t]
        difference = product + b[i] + d[j] - np.log(x)
        slope = difference if x > x_max else np.float32((x / x_max) ** alpha) * difference
        cost += 0.5 * slope * difference
        step = slope * rate
        for t in range(dimension):
            for_w, for_c = step * c[j, t], step * w[i, t]
            w[i, t] -= for_w / np.sqrt(w_squares[i, t])
            c[j, t] -= for_c / np.sqrt(c_squares[j, t])
            w_squares[i, t] += for_w * for_w
            c_squares[j, t] += for_c * for_c
        b[i] -= step / np.sqrt(b_squares[i])
        d[j] -= step / np.sqrt(d_squares[j])
        b_squares[i] += step * step
        d_squares[j] += step * step
    return cost


train = njit(nogil=True, fastmath=True)(_train)


def epoch(vectors: Vectors, counts: Counts, *, x_max: float, alpha: float, eta: float, seed: int) -> float:
    """Train on all counts once, in a new random order; the mean cost."""
    rows = np.repeat(np.arange(len(counts.starts) - 1, dtype=np.int32), np.diff(counts.starts))
    order = np.random.default_rng(seed).permutation(len(rows))
    cost = train(vectors, rows, counts.columns, counts.values.astype(np.float32), order, x_max, alpha, eta)
    return float(cost) / len(rows)


def random_counts(n_words: int, entries: int, seed: int = 0) -> Counts:
    """Counts of words whose frequencies are Zipf's, with about as many entries as asked for."""
    rng = np.random.default_rng(seed)
    chances = 1 / np.arange(1, n_words + 1)
    pairs = rng.choice(n_words, size=(2, entries), p=chances / chances.sum())
    cells, values = np.unique(pairs[0] * n_words + pairs[1], return_counts=True)
    starts = np.searchsorted(cells, np.arange(n_words + 1) * n_words)
    return Counts(starts.astype(np.int64), (cells % n_words).astype(np.int32), values.astype(np.float64))


def main() -> None:
    counts = random_counts(30_000, int(sys.argv[1]) if len(sys.argv) > 1 else 8_000_000)
    n, few = len(counts.columns), random_counts(100, 1000)
    options = {"x_max": 10.0, "alpha": 0.75}
    nanoseconds: dict[str, list[float]] = {"plain loops": [], "embedkit": []}
    for compiling in (True, False, False, False):
        used = few if compiling else counts
        plain, ours = (glove.new_vectors(len(used.starts) - 1, 100, 1) for _ in range(2))
        segments = glove.arrange(used, **options, seed=1)
        start = time.process_time()
        epoch(plain, used, **options, eta=0.05, seed=1)
        middle = time.process_time()
        glove.train_turns(ours, segments, eta=0.05, epoch=0, seed=1, stop=np.zeros(1, dtype=np.uint8), sums=np.zeros(2))
        end = time.process_time()
        if not compiling:
            nanoseconds["plain loops"].append((middle - start) / n * 1e9)
            nanoseconds["embedkit"].append((end - middle) / n * 1e9)
    for name, times in nanoseconds.items():
        print(f"{name}: {np.median(times):.0f} ns a count")


if __name__ == "__main__":
    main()
