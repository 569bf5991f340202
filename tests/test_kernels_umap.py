"""UMAP's kernels against plain numpy: neighbours, strengths, layout, new points."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial.distance import cdist

from embedkit.kernels.fuzzy_set import strengths
from embedkit.kernels.neighbours import Nearest, Space, nearest_by, nearest_in
from embedkit.kernels.umap_layout import Curve, Edges, _power, keys_of, lay_out, settle
from embedkit.kernels.umap_layout_torch import lay_out as lay_out_by_torch

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
METRICS = ("euclidean", "cosine", "correlation")
CURVE = Curve(1.577, 0.895, 1.0, 5)
LAYOUTS = pytest.mark.parametrize("lay", [lay_out, partial(lay_out_by_torch, device="cpu")], ids=["numba", "torch"])


# -- neighbours -------------------------------------------------------------------------------------------------------


def rows_of(rng: np.random.Generator, n: int = 300, d: int = 20) -> Floats:
    return rng.normal(size=(n, d)).astype(np.float32)


def oracle(rows: Floats, queries: Floats, k: int, metric: str, *, itself: bool = False) -> Nearest:
    """All distances in float64, sorted by distance, then row."""
    x, y = queries.astype(np.float64), rows.astype(np.float64)
    if metric == "correlation":
        x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    if metric != "euclidean":
        a, b = np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)
        x, y = (m / np.where(length > 0, length, 1)[:, None] for m, length in ((x, a), (y, b)))
    distances = np.sqrt(((x[:, None] - y[None]) ** 2).sum(axis=2))
    if metric != "euclidean":
        distances = distances**2 / 2
        distances[(a == 0)[:, None] != (b == 0)] = 1
    if itself:
        np.fill_diagonal(distances, -1)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return Nearest(order, np.maximum(np.take_along_axis(distances, order, 1), 0))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("shape", [(300, 20), (50, 1), (7, 200), (600, 3)])
def test_the_nearest_are_found(metric: str, shape: tuple[int, int], rng: np.random.Generator) -> None:
    if metric == "correlation" and shape[1] == 1:
        pytest.skip("a single number has no correlation")
    rows = rows_of(rng, *shape)
    found, expected = Space(rows, metric).nearest(None, 6), oracle(rows, rows, 6, metric, itself=True)
    np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-9, atol=1e-12)
    if metric == "euclidean":
        assert np.array_equal(found.rows, expected.rows)
    assert np.array_equal(found.rows[:, 0], np.arange(len(rows)))


@pytest.mark.parametrize("metric", METRICS)
def test_the_nearest_of_other_rows_are_found(metric: str, rng: np.random.Generator) -> None:
    rows, queries = rows_of(rng), rows_of(rng, 40)
    found, expected = Space(rows, metric).nearest(queries, 5), oracle(rows, queries, 5, metric)
    assert np.array_equal(found.rows, expected.rows)
    np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_doubles_are_ordered_by_row_after_the_row_itself(metric: str, rng: np.random.Generator) -> None:
    rows = rows_of(rng, 30)[[0, 1, 2, 3, 4] * 8]
    found = Space(rows, metric).nearest(None, 4)
    assert found.rows[:5].tolist() == [[i, i + 5, i + 10, i + 15] for i in range(5)]
    assert found.rows[7].tolist() == [7, 2, 12, 17]
    assert (found.distances == 0).all()


@pytest.mark.parametrize("metric", ["cosine", "correlation"])
def test_rows_without_direction_are_near_their_like_only(metric: str, rng: np.random.Generator) -> None:
    rows = rows_of(rng, 40)
    rows[[3, 17, 20]] = 0 if metric == "cosine" else 2.5
    found = Space(rows, metric).nearest(None, 5)
    assert set(found.rows[3, :3]) == {3, 17, 20}
    assert found.distances[3].tolist() == [0, 0, 0, 1, 1]
    expected = oracle(rows, rows, 5, metric, itself=True)
    np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-9, atol=1e-12)


def test_clusters_far_from_each_other_are_told_apart_inside(rng: np.random.Generator) -> None:
    """float32 products would see nothing but the distance of the clusters."""
    rows = rng.normal(size=(1500, 4)).astype(np.float32)
    rows[:700] += np.float32(3e5)
    rows = rows.astype(np.float32)
    found, expected = Space(rows, "euclidean").nearest(None, 5), oracle(rows, rows, 5, "euclidean", itself=True)
    assert np.array_equal(found.rows, expected.rows)
    np.testing.assert_allclose(found.distances, expected.distances)


@pytest.mark.parametrize("metric", METRICS)
def test_a_query_has_the_same_neighbours_alone_and_in_any_batch(metric: str, rng: np.random.Generator) -> None:
    space, queries = Space(rows_of(rng, 700, 33), metric), rows_of(rng, 300, 33)
    together = space.nearest(queries, 7)
    for threads in (2, 4):
        again = space.nearest(queries, 7, n_jobs=threads)
        assert again.distances.tobytes() == together.distances.tobytes()
        assert np.array_equal(again.rows, together.rows)
    order = rng.permutation(300)
    assert space.nearest(queries[order], 7).distances.tobytes() == together.distances[order].tobytes()
    for i in (0, 17, 299):
        assert space.nearest(queries[i : i + 1], 7).distances.tobytes() == together.distances[i : i + 1].tobytes()


def test_distances_of_any_kind_are_ranked(rng: np.random.Generator) -> None:
    rows = rows_of(rng, 500, 6)
    measure: Callable[..., Any] = lambda x, y: cdist(x, y, "cityblock")  # noqa: E731
    found = nearest_by(measure, rows, None, 4, n_jobs=2)
    distances = np.abs(rows[:, None].astype(np.float64) - rows[None]).sum(axis=2)
    np.fill_diagonal(distances, -1)
    assert np.array_equal(found.rows, np.argsort(distances, axis=1, kind="stable")[:, :4])


def test_ties_go_to_the_lower_row() -> None:
    found = nearest_in(np.array([[2.0, 1.0, 1.0, 1.0], [0.0, 0.0, 5.0, 0.0]]), 2)
    assert found.rows.tolist() == [[1, 2], [0, 1]]
    assert nearest_in(np.array([[0.0, 0.0, 0.0]]), 2, first=2).rows.tolist() == [[2, 0]]


# -- strengths --------------------------------------------------------------------------------------------------------


def test_strengths_add_up_to_the_logarithm_of_the_number_of_neighbours(rng: np.random.Generator) -> None:
    distances = np.sort(rng.uniform(1, 3, size=(50, 15)), axis=1).astype(np.float32)
    distances[:, 0] = 0
    found = strengths(distances, target=15)
    np.testing.assert_allclose(found.strengths[:, 1:].sum(axis=1), np.log2(15), atol=1e-4)
    np.testing.assert_allclose(found.rhos, distances[:, 1])
    expected = np.exp(-np.maximum(0, distances - found.rhos[:, None]) / found.sigmas[:, None])
    np.testing.assert_allclose(found.strengths, expected, rtol=1e-5)


def test_local_connectivity_is_how_many_neighbours_belong_fully() -> None:
    distances = np.array([[0, 1, 2, 3, 4, 5, 6, 7]], dtype=np.float32)
    assert strengths(distances, target=8, connectivity=2).rhos[0] == 2
    assert strengths(distances, target=8, connectivity=1.5).rhos[0] == 1.5
    assert strengths(distances, target=8, connectivity=0.5).rhos[0] == 0.5
    assert strengths(distances, target=8, connectivity=0).rhos[0] == 0
    assert strengths(distances, target=8, connectivity=20).rhos[0] == 7


def test_a_row_depends_on_itself_only(rng: np.random.Generator) -> None:
    distances = np.sort(rng.uniform(0, 3, size=(50, 9)), axis=1).astype(np.float32)
    together = strengths(distances, target=9, mean=1.0)
    alone = strengths(distances[7:8], target=9, mean=1.0)
    assert together.strengths[7:8].tobytes() == alone.strengths.tobytes()


def test_what_is_no_neighbour_has_no_strength() -> None:
    distances = np.array([[0, 1, 2, np.inf], [0, np.inf, np.inf, np.inf], [np.inf] * 4], dtype=np.float32)
    found = strengths(distances, target=4)
    assert (found.strengths[np.isinf(distances)] == 0).all()
    assert np.isfinite(found.strengths).all()
    assert found.strengths[0, 1] == 1


# -- layout -----------------------------------------------------------------------------------------------------------


def test_powers_are_right_to_four_digits() -> None:
    for b in (0.3, 0.895, 1.0, 1.93):
        x = np.exp(np.linspace(np.log(1e-12), np.log(1e12), 4001)).astype(np.float32)
        found = np.array([_power(value, np.float32(b)) for value in x])
        np.testing.assert_allclose(found, x.astype(np.float64) ** b, rtol=1e-4)


def random_graph(rng: np.random.Generator, n: int, degree: int) -> Edges:
    pairs = {(int(i), int(j)) for i in range(n) for j in rng.choice(n, degree, replace=False) if i != j}
    pairs |= {(j, i) for i, j in pairs}
    rates = {tuple(sorted(pair)): rng.uniform(0.05, 1) for pair in sorted(pairs)}
    top = max(rates.values())
    ordered = sorted(pairs)
    starts = np.searchsorted([i for i, _ in ordered], np.arange(n + 1)).astype(np.int64)
    values = np.array([rates[tuple(sorted(pair))] / top for pair in ordered], dtype=np.float32)
    return Edges(starts, np.array([j for _, j in ordered], dtype=np.int32), values)


def hashed(x: int) -> int:
    mask = 2**64 - 1
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return x ^ (x >> 31)


def drawn(seed: int, epoch: int, i: int, count: int, n: int) -> int:
    mask = 2**32 - 1
    key = hashed((seed + 0x9E3779B97F4A7C15 * (epoch * n + i)) % 2**64)
    h = ((key & mask) + 0x9E3779B9 * count) & mask
    h = ((h ^ (h >> 16)) * 0x7FEB352D) & mask
    h = ((h ^ (h >> 15)) * 0x846CA68B) & mask
    return (((h ^ (h >> 16)) ^ (key >> 32)) * n) >> 32


def slowly(start: Floats, edges: Edges, curve: Curve, epochs: int, rate: float, seed: int) -> Doubles:
    """The layout as the module describes it, a vertex, an edge and a number at a time in float64."""
    a, b, repulsion, negatives = curve
    old = start.astype(np.float64)
    n = len(old)
    for epoch in range(1, epochs):
        alpha, new = rate * (1 - (epoch - 1) / epochs), old.copy()
        for i in range(n):
            first, last = int(edges.starts[i]), int(edges.starts[i + 1])
            turn = (hashed(hashed((seed + 0x9E3779B97F4A7C15 * (epoch * n + i)) % 2**64)) >> 32) * (last - first) >> 32
            due = [
                e for e in (*range(first + turn, last), *range(first, first + turn))
                if int(edges.rates[e] * np.float32(epoch)) > int(edges.rates[e] * np.float32(epoch - 1))
            ]  # fmt: skip
            for e in due:
                for _ in range(2):
                    gap = new[i] - old[edges.targets[e]]
                    s = (gap**2).sum() + 1e-12
                    new[i] += alpha * np.clip(-2 * a * b * s ** (b - 1) / (1 + a * s**b) * gap, -4, 4)
            force = np.zeros(old.shape[1])
            for count in range(len(due) * negatives):
                gap = new[i] - old[drawn(seed, epoch, i, count, n)]
                s = (gap**2).sum() + 1e-12
                force += np.clip(2 * repulsion * b / ((0.001 + s) * (1 + a * s**b)) * gap, -4, 4)
            new[i] += alpha * force
        old = new
    return old


@LAYOUTS
@pytest.mark.parametrize("d", [1, 2, 3, 6])
def test_the_layout_is_the_one_described(lay: Any, d: int, rng: np.random.Generator) -> None:
    graph = random_graph(rng, 37, 4)
    start = rng.uniform(0, 10, size=(37, d)).astype(np.float32)
    found = lay(start, graph, CURVE, epochs=6, learning_rate=0.05, seed=11)
    expected = slowly(start, graph, CURVE, 6, 0.05, 11)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=5e-3)
    assert np.abs(found - start).max() > 0.1


@LAYOUTS
def test_many_repulsions_are_all_counted(lay: Any, rng: np.random.Generator) -> None:
    """More than are worked out at once, so that the vertex moves in between."""
    graph, start = random_graph(rng, 40, 6), rng.uniform(0, 10, size=(40, 2)).astype(np.float32)
    curve = Curve(1.577, 0.895, 0.7, 20)
    found = lay(start, graph, curve, epochs=2, learning_rate=0.001, seed=2**40)
    np.testing.assert_allclose(found, slowly(start, graph, curve, 2, 0.001, 2**40), atol=1e-3)


@pytest.mark.parametrize("d", [2, 3])
def test_the_bits_do_not_depend_on_the_number_of_threads(d: int, rng: np.random.Generator) -> None:
    graph = random_graph(rng, 5000, 4)
    start = rng.uniform(0, 10, size=(5000, d)).astype(np.float32)
    one, two, four = (
        lay_out(start, graph, CURVE, epochs=12, learning_rate=1.0, seed=3, n_jobs=n_jobs) for n_jobs in (1, 2, 4)
    )
    assert one.tobytes() == two.tobytes() == four.tobytes()
    assert lay_out(start, graph, CURVE, epochs=12, learning_rate=1.0, seed=4).tobytes() != one.tobytes()
    assert np.isfinite(one).all()


@LAYOUTS
def test_what_is_given_stays_as_it_is(lay: Any, rng: np.random.Generator) -> None:
    graph, start = random_graph(rng, 30, 3), rng.uniform(0, 10, size=(30, 2)).astype(np.float32)
    before = start.copy(), graph.rates.copy()
    assert np.array_equal(lay(start, graph, CURVE, epochs=1, learning_rate=1.0, seed=0), start)
    lay(start, graph, CURVE, epochs=5, learning_rate=1.0, seed=0)
    assert np.array_equal(before[0], start)
    assert np.array_equal(before[1], graph.rates)


@LAYOUTS
def test_points_at_one_place_and_a_graph_without_edges_do_no_harm(lay: Any) -> None:
    none = Edges(np.zeros(6, dtype=np.int64), np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32))
    start = np.ones((5, 2), dtype=np.float32)
    assert np.array_equal(lay(start, none, CURVE, epochs=9, learning_rate=1.0, seed=0), start)
    pair = Edges(np.array([0, 1, 2]), np.array([1, 0], dtype=np.int32), np.ones(2, dtype=np.float32))
    assert np.isfinite(lay(start[:2], pair, CURVE, epochs=9, learning_rate=1.0, seed=0)).all()


@LAYOUTS
def test_a_layout_can_be_watched_and_ended(lay: Any, rng: np.random.Generator) -> None:
    graph, start = random_graph(rng, 30, 3), rng.uniform(0, 10, size=(30, 2)).astype(np.float32)
    seen = []

    def step(epoch: int, places: Floats) -> bool:
        seen.append((epoch, places.copy()))
        return epoch == 4

    found = lay(start, graph, CURVE, epochs=50, learning_rate=1.0, seed=0, step=step)
    assert [epoch for epoch, _ in seen] == [1, 2, 3, 4]
    assert np.array_equal(seen[-1][1], found)


# -- new points -------------------------------------------------------------------------------------------------------


def test_new_points_go_where_their_neighbours_are_each_on_its_own(rng: np.random.Generator) -> None:
    among = np.concatenate([rng.normal(size=(100, 2)), rng.normal(size=(100, 2)) + 20]).astype(np.float32)
    targets = np.stack([rng.choice(100, 5, replace=False) + 100 * (i % 2) for i in range(130)]).astype(np.int32)
    weights = rng.uniform(0.1, 1, size=(130, 5)).astype(np.float32)
    start = np.full((130, 2), 10, dtype=np.float32)
    keys = keys_of(targets, weights, 7)
    assert len(set(keys.tolist())) == 130

    def settled(rows: Any, n_jobs: int = 1) -> Floats:
        return settle(
            start[rows], among, targets[rows], weights[rows], keys[rows], CURVE,
            epochs=100, learning_rate=0.25, n_jobs=n_jobs,
        )  # fmt: skip

    together = settled(slice(None))
    # They began half way between the two clusters.
    assert (np.linalg.norm(together[::2], axis=1) < 0.9 * np.linalg.norm(start[0])).all()
    assert (np.linalg.norm(together[1::2] - 20, axis=1) < 0.9 * np.linalg.norm(start[0])).all()
    assert settled(slice(None), 3).tobytes() == together.tobytes()
    order = rng.permutation(130)
    assert settled(order).tobytes() == together[order].tobytes()
    assert settled(slice(99, 100)).tobytes() == together[99:100].tobytes()


def test_a_new_point_without_repulsion_follows_the_gradient() -> None:
    among = np.array([[0, 0], [4, 0]], dtype=np.float32)
    start, one = np.array([[1.0, 0.5]], dtype=np.float32), np.ones((1, 1), dtype=np.float32)
    curve = Curve(1.577, 0.895, 1.0, 0)
    found = settle(start, among, np.array([[1]], dtype=np.int32), one, np.zeros(1, dtype=np.uint64), curve,
                   epochs=3, learning_rate=0.5)  # fmt: skip
    place = start[0].astype(np.float64)
    for epoch in (1, 2):
        gap = place - among[1]
        s = (gap**2).sum()
        force = -2 * curve.a * curve.b * s ** (curve.b - 1) / (1 + curve.a * s**curve.b) * gap
        place = place + 0.5 * (1 - (epoch - 1) / 3) * np.clip(force, -4, 4)
    np.testing.assert_allclose(found[0], place, rtol=1e-4)
