r"""UMAP's layout by stochastic gradients, the same bits on any number of threads.

McInnes, Healy & Melville 2018, UMAP, arXiv:1802.03426. Vertices i and j of the map, at squared distance s, attract each
other along an edge by the gradient of :math:`\log(1 / (1 + a s^b))`, and vertices drawn at random repel by that of
:math:`\log(1 - 1 / (1 + a s^b))`; each coordinate of a gradient is clipped to 4.

In an epoch each vertex moves itself only, and reads where the others were at the end of the epoch before, so it does
not matter who moves first. An edge (i, j) of rate r (its weight, the heaviest being 1) is due in the
epochs t where floor(r t) grows; the graph being symmetric, (j, i) is due then too, and umap-learn, in which each of the
two moves both of its ends, moves i twice: so it is attracted twice here. First come all attractions, one after the
other, then the repulsions of the vertices drawn for them, `negatives` for each. Which these are is a hash of (seed,
epoch, vertex, count), and so is the edge that a vertex begins with: were it always the first, the last one would always
have the last word, and small maps would be torn (on scikit-learn's digits the continuity was .965; it is .978 so, and
umap-learn's is .982). Were each attraction followed by its repulsions, continuity would be umap-learn's, but
trustworthiness and the classes of neighbours on MNIST would suffer.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.kernels.compiled import Function, compiled_with

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
UInt64s = npt.NDArray[np.uint64]

_CHUNK = 2048  # vertices that a thread takes at a time
_POINTS = 64  # new points that a thread takes at a time
_LANES = 16  # vertices that are worked on together
_AT_ONCE = 256  # repulsions that are worked out before the vertex moves

_F, _I, _U = np.float32, np.int32, np.uint32
_ZERO, _ONE, _TWO, _LIMIT = _F(0), _F(1), _F(2), _F(4)
_NEAR, _NOTHING = _F(0.001), _F(1e-12)
# log2(1 + t) / t and (2^t - 1) / t for t from 0 to 1: polynomials through Chebyshev's nodes, lowest power first.
_L0, _L1, _L2, _L3, _L4, _L5 = (
    _F(c) for c in (1.44268325, -0.72044237, 0.46930169, -0.30338967, 0.14643361, -0.03459521)
)
_E1, _E2, _E3, _E4 = (_F(c) for c in (0.69313360, 0.24065429, 0.05342158, 0.01277613))
_BIAS, _SHIFT, _FRACTION, _EXPONENT = _I(127), _I(23), _I(0x007FFFFF), _I(0x3F800000)
_LOWEST = _F(-126)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST_FACTOR, _SECOND_FACTOR = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_1, _2 = np.uint64(1), np.uint64(2)
_27, _30, _31, _32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)
_M1, _M2, _STEP = _U(0x7FEB352D), _U(0x846CA68B), _U(0x9E3779B9)
_S15, _S16 = _U(15), _U(16)


class Curve(NamedTuple):
    """UMAP's a and b, its `repulsion_strength` and its `negative_sample_rate`."""

    a: float
    b: float
    repulsion: float
    negatives: int


class Edges(NamedTuple):
    """A graph by rows: `starts` (n + 1,) int64, `targets` int32, `rates` float32, the weights over the heaviest."""

    starts: Integers
    targets: Int32s
    rates: Floats


def _repeatable(function: Function) -> Function:
    """`function` compiled so that its bits depend on its input only: nothing but a product and a sum is fused."""
    return compiled_with(function, fastmath={"contract"}, error_model="numpy")


@_repeatable
def _power(x: Any, b: Any) -> Any:
    """x^b for x from 1e-12 up to 1e30 and b up to 3, to about 4e-5 of itself; 0 where that is below 2^-126."""
    bits = _F(x).view(np.int32)
    whole = _F((bits >> _SHIFT) - _BIAS)
    t = _I((bits & _FRACTION) | _EXPONENT).view(np.float32) - _ONE
    p = b * (whole + t * (_L0 + t * (_L1 + t * (_L2 + t * (_L3 + t * (_L4 + t * _L5))))))
    p = _F(max(p, _LOWEST))
    floor = _F(np.floor(p))
    t = p - floor
    fraction = _ONE + t * (_E1 + t * (_E2 + t * (_E3 + t * _E4)))
    return fraction * _I((_I(floor) + _BIAS) << _SHIFT).view(np.float32)


@_repeatable
def _clipped(x: Any) -> Any:
    return _F(min(max(x, -_LIMIT), _LIMIT))


@_repeatable
def _mixed(x: Any) -> Any:
    """SplitMix64's finaliser."""
    x = (x ^ (x >> _30)) * _FIRST_FACTOR
    x = (x ^ (x >> _27)) * _SECOND_FACTOR
    return x ^ (x >> _31)


@_repeatable
def _move(
    old: Floats, new: Floats, d: int, starts: Integers, targets: Int32s, rates: Floats, room: int,
    first: int, last: int, epoch: int, alpha: Any, a: Any, b: Any, repulsion: Any, negatives: int, seed: Any,
) -> None:  # fmt: skip
    """Move vertices `first` to `last` - 1 of `old` to `new`, both flat, (n * d,); no vertex has more than `room` edges.

    Some vertices at a time, each one's edges in their order: what is worked out for one never depends on another.
    """
    many, width = np.uint64(len(starts) - 1), np.uint64(d)
    pull, push = -_TWO * a * b, _TWO * repulsion * b
    before, now = _F(epoch - 1), _F(epoch)
    # Each way to make an array, and each type, takes a tenth of a second to compile.
    due, counts, drawn = np.empty(_LANES * room, np.int32), np.empty(_LANES, np.int64), np.empty(_AT_ONCE, np.int32)
    place, other = np.empty(d * _LANES, np.float32), np.empty(d * _LANES, np.float32)
    apart, factor = np.empty(_LANES, np.float32), np.empty(_LANES, np.float32)
    squares, forces = np.empty(_AT_ONCE, np.float32), np.empty(d * _AT_ONCE, np.float32)
    for lane in range(_LANES):
        counts[lane] = 0
    for c in range(d * _LANES):
        place[c], other[c] = _ZERO, _ZERO
    at: Any = 0
    for begin in range(first, last, _LANES):
        lanes = min(_LANES, last - begin)
        longest = 0
        for lane in range(lanes):
            i, at = begin + lane, lane * room
            key = _mixed(seed + _GOLDEN * (np.uint64(epoch) * many + np.uint64(i)))
            turn = starts[i] + np.int64(((_mixed(key) >> _32) * np.uint64(starts[i + 1] - starts[i])) >> _32)
            for e in range(turn, starts[i + 1]):
                due[at] = targets[e]
                at += _I(rates[e] * now) > _I(rates[e] * before)
            for e in range(starts[i], turn):
                due[at] = targets[e]
                at += _I(rates[e] * now) > _I(rates[e] * before)
            counts[lane] = at - lane * room
            longest = max(longest, at - lane * room)
            for c in range(d):
                place[c * _LANES + lane] = old[i * d + c]

        for t in range(longest):
            for lane in range(lanes):
                at = np.int64(due[lane * room + t]) * d if t < counts[lane] else 0
                for c in range(d):
                    other[c * _LANES + lane] = old[at + c]
            for _ in range(2):
                for lane in range(_LANES):
                    apart[lane] = _NOTHING
                for c in range(0, d * _LANES, _LANES):
                    for lane in range(_LANES):
                        gap = place[c + lane] - other[c + lane]
                        apart[lane] += gap * gap
                for lane in range(_LANES):
                    p = _power(apart[lane], b)
                    g = pull * p / (apart[lane] * (_ONE + a * p))
                    factor[lane] = g if t < counts[lane] else _ZERO
                for c in range(0, d * _LANES, _LANES):
                    for lane in range(_LANES):
                        gap = place[c + lane] - other[c + lane]
                        place[c + lane] += alpha * _clipped(factor[lane] * gap)

        for lane in range(lanes):
            i = begin + lane
            key = _mixed(seed + _GOLDEN * (np.uint64(epoch) * many + np.uint64(i)))
            low, high = _U(key & np.uint64(0xFFFFFFFF)), _U(key >> _32)
            total = counts[lane] * negatives
            for start in range(0, total, _AT_ONCE):
                count = min(_AT_ONCE, total - start)
                for k in range(count):
                    h = _U(low + _STEP * _U(start + k))
                    h = _U((h ^ (h >> _S16)) * _M1)
                    h = _U((h ^ (h >> _S15)) * _M2)
                    h = _U(h ^ (h >> _S16) ^ high)
                    drawn[k] = _I((np.uint64(h) * many) >> _32)
                    squares[k] = _NOTHING
                for c in range(d):
                    mine = place[c * _LANES + lane]
                    for k in range(count):
                        gap = mine - old[np.uint64(drawn[k]) * width + np.uint64(c)]
                        forces[c * _AT_ONCE + k] = gap
                        squares[k] += gap * gap
                for k in range(count):
                    s = squares[k]
                    squares[k] = push / ((_NEAR + s) * (_ONE + a * _power(s, b)))
                for c in range(d):
                    for k in range(count):
                        forces[c * _AT_ONCE + k] = _clipped(squares[k] * forces[c * _AT_ONCE + k])
                    force = _ZERO
                    for k in range(count):
                        force += forces[c * _AT_ONCE + k]
                    place[c * _LANES + lane] += alpha * force
            for c in range(d):
                new[i * d + c] = place[c * _LANES + lane]


@_repeatable
def _settle(
    places: Floats, old: Floats, d: int, targets: Int32s, weights: Floats, keys: UInt64s,
    first: int, last: int, epochs: int, learning_rate: Any, a: Any, b: Any, repulsion: Any, negatives: int,
) -> None:  # fmt: skip
    """Move new points `first` to `last` - 1 of `places`, (m * d,), among `old`, (n * d,), which stay where they are."""
    k = targets.shape[1]
    many, width = np.uint64(len(old) // d), np.uint64(d)
    pull, push = -_TWO * a * b, _TWO * repulsion * b
    gaps = np.empty(d, np.float32)
    for i in range(first, last):
        heaviest = _ZERO
        for j in range(k):
            heaviest = max(heaviest, weights[i, j])
        state = keys[i]
        for epoch in range(1, epochs):
            alpha = learning_rate * (_ONE - _F(epoch - 1) / _F(epochs))
            for j in range(k):
                rate = weights[i, j] / heaviest
                if _I(rate * _F(epoch)) == _I(rate * _F(epoch - 1)):
                    continue
                for sample in range(negatives + 1):
                    at = np.uint64(targets[i, j]) * width
                    if sample:
                        state += _GOLDEN
                        at = ((_mixed(state) >> _32) * many >> _32) * width
                    s = _NOTHING
                    for c in range(d):
                        gaps[c] = places[i * d + c] - old[at + np.uint64(c)]
                        s += gaps[c] * gaps[c]
                    p = _power(s, b)
                    g = push / ((_NEAR + s) * (_ONE + a * p)) if sample else pull * p / (s * (_ONE + a * p))
                    for c in range(d):
                        places[i * d + c] += alpha * _clipped(g * gaps[c])


def settle(
    start: Floats, among: Floats, targets: Int32s, weights: Floats, keys: UInt64s, curve: Curve, *, epochs: int,
    learning_rate: float, n_jobs: int = 1,
) -> Floats:  # fmt: skip
    """Places of new points in a map that stays as it is, each worked out on its own: shape (m, d).

    Parameters
    ----------
    start
        (m, d) places to begin at.
    among
        (n, d) the map.
    targets, weights
        (m, k): the rows of the map that attract each point, and how much.
    keys
        (m,) uint64: what seeds each point's repulsions.
    curve, epochs, learning_rate, n_jobs
        As in `lay_out`.
    """
    m, d = start.shape
    places = np.array(start, dtype=np.float32).reshape(-1)
    old = np.ascontiguousarray(among, dtype=np.float32).reshape(-1)

    def work(first: int) -> None:
        last = min(first + _POINTS, m)
        _settle(places, old, d, targets, weights, keys, first, last, epochs, _F(learning_rate), *_numbers(curve))

    with ThreadPoolExecutor(max(1, n_jobs)) as pool:
        list(pool.map(work, range(0, m, _POINTS)))
    return places.reshape(m, d)


@_repeatable
def _fill_keys(rows: Int32s, distances: Floats, seed: Any, keys: UInt64s) -> None:
    for i in range(len(rows)):
        key = seed
        for j in range(rows.shape[1]):
            key = _mixed(key + _GOLDEN + np.uint64(rows[i, j]))
            key = _mixed(key + _GOLDEN + np.uint64(_F(distances[i, j]).view(np.uint32)))
        keys[i] = key


def keys_of(rows: Int32s, distances: Floats, seed: int) -> UInt64s:
    """A number for each point, (m,) uint64, that follows from its neighbours, their distances and `seed`."""
    keys = np.empty(len(rows), dtype=np.uint64)
    _fill_keys(rows, distances, np.uint64(seed), keys)
    return keys


def lay_out(
    start: Floats,
    edges: Edges,
    curve: Curve,
    *,
    epochs: int,
    learning_rate: float,
    seed: int,
    n_jobs: int = 1,
    step: Callable[[int, Floats], object] | None = None,
) -> Floats:
    """Places of the vertices of a graph, (n, d) float32.

    Parameters
    ----------
    start
        (n, d) places to begin at.
    edges
        The graph; each edge stands there in both directions.
    curve
        Of the forces.
    epochs
        How often all edges are gone through; the first one moves nothing, as in umap-learn.
    learning_rate
        Of the first epoch; it falls to 0 in a line.
    seed
        Of what is drawn, from 0 to 2^64 - 1.
    n_jobs
        Threads.
    step
        Is called after each epoch with its number, from 1, and the places; what it returns ends the layout, if it is
        true.
    """
    n, d = start.shape
    old = np.array(start, dtype=np.float32).reshape(-1)
    new = np.empty_like(old)
    room = int(np.diff(edges.starts).max(initial=0)) + 1
    with ThreadPoolExecutor(max(1, n_jobs)) as pool:
        for epoch in range(1, epochs):
            # umap-learn lets its rate fall after each epoch, so the first that moves anything has the first one.
            alpha = _F(learning_rate * (1 - (epoch - 1) / epochs))
            move = partial(_move_from, old, new, d, edges, room, n, epoch, alpha, _numbers(curve), np.uint64(seed))
            if n_jobs > 1:
                list(pool.map(move, range(0, n, _CHUNK)))
            else:
                move(0, n)
            old, new = new, old
            if step is not None and step(epoch, old.reshape(n, d)):
                break
    return old.reshape(n, d)


def _move_from(
    old: Floats, new: Floats, d: int, edges: Edges, room: int, n: int, epoch: int, alpha: Any,
    numbers: tuple[Any, Any, Any, int], seed: Any, first: int, many: int = _CHUNK,
) -> None:  # fmt: skip
    starts, targets, rates = edges
    last = min(first + many, n)
    _move(old, new, d, starts, targets, rates, room, first, last, epoch, alpha, *numbers, seed)


def _numbers(curve: Curve) -> tuple[Any, Any, Any, int]:
    return _F(curve.a), _F(curve.b), _F(curve.repulsion), int(curve.negatives)
