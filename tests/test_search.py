"""Search and its kernels: exact answers, the same alone and in batches and on every device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embedkit import Embedding, Search
from embedkit.errors import UnknownWord
from embedkit.kernels import candidates_numpy, candidates_torch, exact, shared_words, shared_words_torch
from embedkit.kernels.candidates_torch import full_precision
from embedkit.search import Neighbours
from embedkit.search import engine as engine_module
from embedkit.search.engine import Device, Engine, Method

Doubles = npt.NDArray[np.float64]
DEVICES: list[Device] = ["numpy", "cpu"]
METHODS: list[Method] = ["3cosadd", "3cosmul"]

# -- what is right: plain float64 over all rows -----------------------------------------------------------------------


def cosines(embedding: Embedding, query: npt.ArrayLike) -> Doubles:
    """Cosine of `query` with every row; minus infinity where there is none, which is never an answer."""
    rows, q = embedding.unit.vectors.astype(np.float64), np.asarray(query, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(q)
    scores = np.full(len(rows), -np.inf)
    np.divide(rows @ q, lengths, out=scores, where=lengths > 0)
    return scores


def three_cos_add(embedding: Embedding, a: int, b: int, c: int) -> Doubles:
    unit = embedding.unit.vectors.astype(np.float64)
    return cosines(embedding, unit[a] - unit[b] + unit[c])


def three_cos_mul(embedding: Embedding, a: int, b: int, c: int) -> Doubles:
    unit = embedding.unit.vectors
    to_a, to_b, to_c = ((1 + np.clip(cosines(embedding, unit[row]), -1, 1)) / 2 for row in (a, b, c))
    scores: Doubles = to_a * to_c / (to_b + 1e-6)
    zero = np.linalg.norm(unit, axis=1) == 0
    scores[zero | zero[[a, b, c]].any()] = -np.inf
    return scores


ORACLES: dict[Method, Callable[[Embedding, int, int, int], Doubles]] = {
    "3cosadd": three_cos_add,
    "3cosmul": three_cos_mul,
}


def check(
    embedding: Embedding,
    found: Neighbours,
    query: int,
    scores: Doubles,
    k: int,
    barred: list[int],
    slack: float = 1e-12,
) -> None:
    """The answers to one query are the best by `scores`, without the `barred` rows, and in the promised order.

    `scores` are right but for the last digits, so what ties within `slack` may stand in either order; but what is
    reported must be ordered by what is reported, and rows that are the same vector must go by their number.
    """
    allowed = scores.copy()
    allowed[barred] = -np.inf
    possible = np.flatnonzero(allowed > -np.inf)
    rows, reported = found.rows[query], found.scores[query]
    n_answers = min(k, len(possible))
    assert (rows[n_answers:] == -1).all()
    assert np.isnan(reported[n_answers:]).all()
    rows, reported = rows[:n_answers], reported[:n_answers]
    assert set(rows.tolist()) <= set(possible.tolist())
    assert len(set(rows.tolist())) == n_answers
    assert np.allclose(reported, allowed[rows], rtol=1e-9, atol=slack)
    assert np.array_equal(np.lexsort((rows, -reported)), np.arange(n_answers))
    left_out = np.setdiff1d(possible, rows)
    if len(left_out):
        last = rows[-1]
        assert allowed[left_out].max() <= reported[-1] + slack + 1e-9 * abs(reported[-1])
        unit = embedding.unit.vectors
        assert (left_out[(unit[left_out] == unit[last]).all(axis=1)] > last).all()


# Cosines are right to the last digits of float64, 3CosMul divides them by as little as its epsilon of 1e-6.
SLACK: dict[Method, float] = {"3cosadd": 1e-12, "3cosmul": 1e-9}

# -- what is searched -------------------------------------------------------------------------------------------------


def normal(n: int, d: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    return rng.normal(size=(n, d))


def small_integers(n: int, d: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    return rng.integers(-1, 2, size=(n, d))


def few_distinct(n: int, d: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    return rng.normal(size=(5, d))[rng.integers(0, 5, n)]


def all_the_same(n: int, d: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    return np.repeat(rng.normal(size=(1, d)), n, axis=0)


def pairs_of_opposites(n: int, d: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    half = rng.normal(size=((n + 1) // 2, d))
    return np.concatenate([half, -half])[:n]


def on_one_side(n: int, d: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    # All but the first: questions with it have only negative scores.
    rows = 1 + 0.3 * rng.normal(size=(n, d))
    rows[0] *= -1
    return rows


def close_together(n: int, d: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    # Cosines that float32 cannot tell apart: the products alone would choose wrongly.
    return 1 + 1e-4 * rng.normal(size=(n, d))


def some_zeros(n: int, d: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    return rng.normal(size=(n, d)) * (rng.random((n, 1)) < 0.6)


def zeros(n: int, d: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    return np.zeros((n, d))


def tiny(n: int, d: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    return 1e-38 * rng.normal(size=(n, d))


def huge(n: int, d: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    return 3e38 * rng.uniform(-1, 1, size=(n, d))


def of_all_lengths(n: int, d: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    return rng.uniform(-1, 1, size=(n, d)) * 10.0 ** rng.uniform(-38, 38, size=(n, 1))


KINDS = [
    normal,
    small_integers,
    few_distinct,
    all_the_same,
    pairs_of_opposites,
    on_one_side,
    close_together,
    some_zeros,
    zeros,
    tiny,
    huge,
    of_all_lengths,
]
Kind = Callable[[int, int, np.random.Generator], npt.NDArray[Any]]

# The kernels look at blocks of 64 from 256 rows a wanted answer on.
CASES = [(kind, n) for kind in KINDS for n in (1, 5, 63, 64, 255, 256, 1000)]
CASES += [(kind, 5000) for kind in (normal, few_distinct, close_together, pairs_of_opposites)]
cases = pytest.mark.parametrize(("kind", "n"), CASES, ids=[f"{kind.__name__}-{n}" for kind, n in CASES])


def made(kind: Kind, n: int, d: int = 6) -> Embedding:
    return Embedding(None, kind(n, d, np.random.default_rng(n)))


def how_many(n: int) -> list[int]:
    return [1, 3, n, n + 5] if n <= 1000 else [1, 3, 30]


def same(a: Neighbours, b: Neighbours) -> bool:
    """Bit for bit."""
    return a.rows.tobytes() == b.rows.tobytes() and a.scores.tobytes() == b.scores.tobytes()


@cases
def test_similar_finds_the_best_rows(kind: Kind, n: int) -> None:
    embedding = made(kind, n)
    asked = list(range(min(n, 6)))
    for k in how_many(n):
        for exclude in (True, False):
            numpys, torchs = (
                Search(embedding, device=device).similar(map(str, asked), k, exclude_inputs=exclude)
                for device in DEVICES
            )
            assert same(numpys, torchs)
            for row in asked:
                check(
                    embedding, numpys, row, cosines(embedding, embedding.unit.vectors[row]), k, [row] if exclude else []
                )


@cases
def test_nearest_finds_the_best_rows(kind: Kind, n: int, rng: np.random.Generator) -> None:
    embedding = made(kind, n)
    queries = np.concatenate([rng.normal(size=(3, 6)), rng.integers(-1, 2, size=(2, 6)), np.zeros((1, 6))])
    for k in how_many(n):
        numpys, torchs = (Search(embedding, device=device).nearest(queries, k) for device in DEVICES)
        assert same(numpys, torchs)
        for number, query in enumerate(queries):
            check(embedding, numpys, number, cosines(embedding, query), k, [])


@pytest.mark.parametrize("method", METHODS)
@cases
def test_analogies_finds_the_best_rows(kind: Kind, n: int, method: Method, rng: np.random.Generator) -> None:
    embedding = made(kind, n)
    # Of all shapes: a == c, a == b, and all three the same.
    terms = np.concatenate([rng.integers(0, n, size=(4, 3)), [[0, n - 1, 0], [n // 2, n // 2, 0], [0, 0, 0]]])
    questions = [tuple(map(str, question)) for question in terms]
    for k in how_many(n):
        for exclude in (True, False):
            numpys, torchs = (
                Search(embedding, device=device).analogies(questions, k, method=method, exclude_inputs=exclude)
                for device in DEVICES
            )
            assert same(numpys, torchs)
            for number, (a, b, c) in enumerate(terms):
                check(
                    embedding,
                    numpys,
                    number,
                    ORACLES[method](embedding, a, b, c),
                    k,
                    [a, b, c] if exclude else [],
                    SLACK[method],
                )


def whatever_the_work(_: Engine, terms: npt.NDArray[np.int64], product: bool) -> bool:
    """For `Engine._worth_sharing`: the products of distinct words are shared wherever they can be."""
    return len(terms) > 0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("n", [1, 5, 1100])  # tiles are of 1024 rows
def test_questions_that_share_words_are_answered_as_if_they_did_not(
    kind: Kind, n: int, method: Method, device: Device, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedding = made(kind, n)
    some = rng.integers(0, n, 12)
    terms = np.concatenate([rng.choice(some, (30, 3)), [[0, n - 1, 0], [n // 2, n // 2, 0], [0, 0, 0]]])
    questions = [tuple(map(str, question)) for question in terms]
    ways = [(k, exclude) for k in [1, 3, min(n, 70) + 5] for exclude in (True, False)]

    def ask(device: Device) -> list[Neighbours]:
        search = Search(embedding, device=device)
        return [search.analogies(questions, k, method=method, exclude_inputs=exclude) for k, exclude in ways]

    direct = ask("numpy")
    monkeypatch.setattr(Engine, "_worth_sharing", whatever_the_work)
    shared = ask(device)
    assert not any(", shared words" in found.device for found in direct)
    if kind is not zeros and not (n == 1 and kind is some_zeros):
        assert {found.device for found in shared} == {f"{'numba' if device == 'numpy' else device}, shared words"}
    assert all(same(a, b) for a, b in zip(direct, shared, strict=True))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", METHODS)
def test_shared_words_settle_nearly_all_questions(method: Method, device: Device, rng: np.random.Generator) -> None:
    # Else the way of shared words would be tested above by what it hands back.
    units = np.array(Embedding(None, rng.normal(size=(9000, 50))).unit.vectors)
    units[[700, 5000]] = 0
    terms, dead, multiply = rng.integers(0, 20, (300, 3)), np.array([700, 5000]), method == "3cosmul"
    if device == "numpy":
        found = shared_words.candidates(units, terms, 5, terms, dead, multiply=multiply)
    else:
        found = shared_words_torch.candidates(torch.from_numpy(units), terms, 5, terms, dead, multiply=multiply)
    assert len(found.unsure) <= 15
    assert set(found.query.tolist()) == set(range(300)) - set(found.unsure.tolist())
    assert not (found.row[:, None] == terms[found.query]).any()
    assert not np.isin(found.row, dead).any()
    assert np.bincount(found.query).max() < 5 + 8


@pytest.mark.parametrize("method", METHODS)
def test_many_distinct_words_are_shared_in_parts(
    method: Method, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedding = Embedding(None, rng.normal(size=(500, 8)))
    questions = [tuple(map(str, question)) for question in rng.integers(0, 500, (200, 3))]
    direct = Search(embedding, device="numpy").analogies(questions, 3, method=method)
    monkeypatch.setattr(Engine, "_worth_sharing", whatever_the_work)
    monkeypatch.setattr(shared_words, "_MOST_WORDS", 60)
    assert same(Search(embedding, device="numpy").analogies(questions, 3, method=method), direct)


@pytest.mark.parametrize("method", METHODS)
def test_shared_words_in_torch_keep_to_their_memory(
    method: Method, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedding = Embedding(None, np.repeat(rng.normal(size=(450, 6)), 2, axis=0))
    questions = [tuple(map(str, question)) for question in rng.integers(0, 40, (90, 3))]
    direct = Search(embedding, device="numpy").analogies(questions, 3, method=method)
    monkeypatch.setattr(Engine, "_worth_sharing", whatever_the_work)
    for held in (100, 10_000):
        monkeypatch.setattr(candidates_torch, "_SCORES_AT_ONCE", {"cpu": held})
        assert same(Search(embedding, device="cpu").analogies(questions, 3, method=method), direct)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("unknown", "zero", "fewest", "way"),
    [(False, False, 6, ", shared words"), (True, False, 6, ", shared words"), (False, True, 6, ", shared words"),
     (False, False, 300, "")],
    ids=["shared words", "unknown words among them", "a row of zeros", "hardly any shared word"],
)  # fmt: skip
def test_words_are_shared_where_that_pays(
    unknown: bool, zero: bool, fewest: int, way: str, device: Device, rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    vectors = rng.normal(size=(700, 8))
    vectors[-1] *= not zero
    embedding = Embedding(None, vectors)
    terms = rng.choice(fewest, (100, 3), replace=fewest < 300)
    questions = [["?" if unknown and number == 7 else str(row) for row in term] for number, term in enumerate(terms)]
    direct = Search(embedding, device=device).analogies(questions, 4, missing="skip")
    for worth in ("_WORTH_NUMBA", "_WORTH_LOADED"):
        monkeypatch.setattr(engine_module, worth, 100 * vectors.size - 10 * vectors.size)
    found = Search(embedding, device=device).analogies(questions, 4, missing="skip")
    assert (direct.device, found.device) == (device, ("numba" if device == "numpy" else device) + way)
    assert same(direct, found)


@cases
def test_queries_are_answered_alike_on_every_way(
    kind: Kind, n: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedding = made(kind, n, 20)
    terms = rng.integers(0, n, (8, 3))
    queries = np.concatenate([rng.normal(size=(3, 20)), embedding.unit.vectors[terms[:, 0]], np.zeros((1, 20))])
    questions = [tuple(map(str, question)) for question in terms]

    def ask(embedding: Embedding, size: int) -> list[Neighbours]:
        search = Search(embedding, device="numpy")
        parts = [slice(start, start + size) for start in range(0, 12, size)]
        return [
            asked
            for k in ([1, min(n, 70) + 5] if n < 5000 else [1, 10])
            for part in parts
            for asked in (
                search.nearest(queries[part], k),
                search.similar([a for a, _, _ in questions[part]], k),
                search.analogies(questions[part], k),
            )
        ]

    def ways(found: list[Neighbours]) -> set[str]:
        return {one.device for one in found if len(one)}

    whole = ask(embedding, 12)
    monkeypatch.setattr(engine_module, "_WORTH_NUMBA", 0)
    monkeypatch.setattr(engine_module, "_WORTH_LOADED", 0)
    monkeypatch.setattr(Engine, "_worth_sharing", lambda *_: False)
    fused = ask(embedding, 12)
    assert all(same(a, b) for a, b in zip(whole, fused, strict=True))
    # New: no unit rows have been made of it.
    alone = ask(made(kind, n, 20), 1)
    monkeypatch.setattr(engine_module, "_WORTH_SKETCH", 0)
    sketched = ask(made(kind, n, 20), 1)
    assert all(same(a, b) for a, b in zip(alone, sketched, strict=True))
    for start, batch in zip((0, 36), (whole[:3], whole[3:]), strict=True):
        for number in range(12):
            for one, many in zip(alone[start + 3 * number : start + 3 * number + 3], batch, strict=True):
                if len(one.rows):
                    assert one.rows.tobytes() == many.rows[number].tobytes()
                    assert one.scores.tobytes() == many.scores[number].tobytes()
    assert ways(whole) | ways(alone) <= {"numpy"}
    if kind is normal and n == 5000:
        assert ways(fused) == {"numba"}
        assert ways(sketched) == {"numba, sketch"}


def test_single_queries_read_a_sketch_once_there_are_many(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedding = Embedding(None, rng.normal(size=(3000, 30)))
    monkeypatch.setattr(engine_module, "_WORTH_SKETCH", 5 * 3000 * 30)
    search = Search(embedding, device="numpy")
    found = [search.similar([str(i)], 3) for i in range(8)]
    assert [one.device for one in found] == ["numpy"] * 4 + ["numba, sketch"] * 4
    assert search._engine._units is None
    batch = search.similar(map(str, range(8)), 3)
    assert [one.rows[0].tolist() for one in found] == batch.rows.tolist()


@pytest.mark.parametrize("d", [1, 2, 50, 300, 2000])
def test_any_width_will_do(d: int, rng: np.random.Generator) -> None:
    embedding = Embedding(None, rng.normal(size=(600, d)))
    queries = rng.normal(size=(4, d))
    found = Search(embedding, device="numpy").nearest(queries, 2)
    for number, query in enumerate(queries):
        check(embedding, found, number, cosines(embedding, query), 2, [])


def test_scores_are_the_cosines_of_the_vectors_themselves(rng: np.random.Generator) -> None:
    # The oracle above starts from unit rows; this one does not.
    vectors = rng.normal(size=(50, 8)) * 10.0 ** rng.uniform(-30, 30, size=(50, 1))
    embedding = Embedding(None, vectors)
    exactly = embedding.vectors.astype(np.float64)
    exactly /= np.linalg.norm(exactly, axis=1, keepdims=True)
    found = Search(embedding).similar(embedding, k=50)
    expected = np.take_along_axis(exactly @ exactly.T, found.rows[:, :-1], axis=1)
    assert np.allclose(found.scores[:, :-1], expected, rtol=0, atol=1e-6)
    assert (np.abs(found.scores[:, :-1]) <= 1).all()


def test_no_cosine_is_beyond_one(rng: np.random.Generator) -> None:
    # Rows of one direction and of its opposite: rounding would put some of them past one.
    vectors = rng.normal(size=(200, 30))
    embedding = Embedding(None, np.concatenate([vectors, 3 * vectors, -vectors]))
    scores = Search(embedding, device="numpy").similar(embedding, k=600, exclude_inputs=False).scores
    assert scores.max() == 1
    assert scores.min() == -1
    assert np.allclose(scores[:400, 1], 1)  # the other of the same direction


def test_the_royals(royals: Embedding) -> None:
    for method in METHODS:
        for device in DEVICES:
            found = Search(royals, device=device).analogies([("king", "man", "woman")], method=method)
            assert found.best == ["queen"]
    assert royals.analogy("king", "man", "woman", k=1).best == ["queen"]
    assert royals.similar("king", k=1).best == ["man"]


def test_inputs_may_be_answers(royals: Embedding) -> None:
    search = Search(royals)
    assert search.similar(["king"], k=1, exclude_inputs=False).best == ["king"]
    questions = [("king", "queen", "queen"), ("man", "woman", "woman")]
    assert search.analogies(questions, k=1, exclude_inputs=False).best == ["king", "man"]
    assert search.analogies(questions, k=1).best == ["man", "king"]


def test_a_score_of_three_cos_mul_by_hand(royals: Embedding) -> None:
    (found,) = Search(royals).analogies([("king", "man", "woman")], k=1, method="3cosmul")
    half, root = (1 + 0.5) / 2, (1 + 1 / np.sqrt(2)) / 2
    assert found.score == pytest.approx(half * root / (0.5 + 1e-6), rel=1e-6)


def test_three_cos_mul_with_rows_opposite_to_b() -> None:
    # Both are as far from b as can be, so their divisor is the epsilon alone; which is nearer to a and c decides.
    embedding = Embedding(["a", "b", "c", "x", "y"], [[1.0, 1.0], [1.0, 0.0], [-1.0, 2.0], [-3.0, 0.0001], [-1.0, 0.0]])
    found = Search(embedding).analogies([("a", "b", "c")], k=2, method="3cosmul")
    expected = three_cos_mul(embedding, 0, 1, 2)
    assert expected[3:].min() > 1e4
    assert [embedding.labels[row] for row in np.argsort(-expected)[:2]] == [neighbour.label for neighbour in found]


@pytest.mark.parametrize("device", DEVICES)
def test_many_rows_opposite_to_b_are_told_apart(
    device: Device, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Divisors from 1e-6 on, where the errors of float32 products are larger than the divisor.
    b = rng.normal(size=8)
    rows = np.concatenate(
        [rng.normal(size=(3, 8)), -b + rng.normal(size=(1000, 8)) * np.logspace(-8, -2, 1000)[:, None]]
    )
    rows[1] = b
    embedding = Embedding(None, rows)
    for k in (1, 3, 40):
        found = Search(embedding, device=device).analogies([("0", "1", "2")], k, method="3cosmul")
        check(embedding, found, 0, three_cos_mul(embedding, 0, 1, 2), k, [0, 1, 2], SLACK["3cosmul"])
        if device == "numpy":
            monkeypatch.setattr(Engine, "_worth_sharing", whatever_the_work)
            shared = Search(embedding, device="numpy").analogies([("0", "1", "2")], k, method="3cosmul")
            monkeypatch.undo()
            assert same(found, shared)


# -- rows and queries without a direction -----------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
def test_rows_of_zeros_are_no_answer_and_have_none(device: Device) -> None:
    embedding = Embedding(["o", "a", "b", "null"], [[0, 0], [1, 0], [-1, 0], [0, 0]])
    search = Search(embedding, device=device)
    assert [(n.query, n.label) for n in search.similar(embedding, k=4)] == [("a", "b"), ("b", "a")]
    assert search.similar(["o", "a"], k=4).best == [None, "b"]
    assert len(search.nearest([[0.0, 0.0]])) == 0
    assert [neighbour.label for neighbour in search.nearest([2.0, 0.0])] == ["a", "b"]


@pytest.mark.parametrize("device", DEVICES)
def test_a_question_that_cancels_out_has_no_answers(device: Device) -> None:
    embedding = Embedding(["zero", "a", "minus a", "b"], [[0, 0], [1, 0], [-2, 0], [1, 1]])
    search = Search(embedding, device=device)
    found = search.analogies([("a", "zero", "minus a"), ("a", "b", "zero"), ("a", "a", "zero")], k=2)
    assert found.best == [None, "minus a", None]


def test_three_cos_mul_has_no_answer_where_a_term_is_zero() -> None:
    embedding = Embedding(["zero", "a", "b", "c"], [[0, 0], [1, 0], [-2, 1], [1, 1]])
    found = Search(embedding).analogies([("a", "zero", "b"), ("a", "b", "zero"), ("a", "b", "a")], method="3cosmul")
    assert found.best == [None, None, "c"]


@pytest.mark.parametrize("device", DEVICES)
def test_an_empty_embedding_has_no_answers(device: Device) -> None:
    search = Search(Embedding([], np.zeros((0, 3))), device=device)
    assert search.nearest(np.ones((2, 3))).best == [None, None]
    assert search.similar(["a"], missing="skip").unknown == ("a",)
    for method in METHODS:
        assert search.analogies([("a", "b", "c")], method=method, missing="skip").best == [None]
    with pytest.raises(UnknownWord):
        search.similar(["a"])


def test_no_queries_give_no_answers(royals: Embedding) -> None:
    search = Search(royals)
    for found in (search.similar([]), search.nearest(np.zeros((0, 3))), search.analogies([])):
        assert (len(found), found.best, list(found)) == (0, [], [])
        assert found.rows.shape[0] == 0


# -- alone, in a batch, with more or fewer answers --------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", ["similar", "nearest", *METHODS])
def test_a_batch_gives_what_single_queries_give_in_any_order(method: str, device: Device) -> None:
    rng = np.random.default_rng(3)
    embedding = Embedding(None, np.repeat(rng.normal(size=(700, 20)), 2, axis=0))
    search = Search(embedding, device=device)
    m, k = 60, 5
    queries: Any = rng.integers(0, len(embedding), (m, 3))

    def ask(some: npt.NDArray[np.int64]) -> Neighbours:
        if method == "nearest":
            return search.nearest(embedding.vectors[some].sum(axis=1), k)
        if method == "similar":
            return search.similar([str(row) for row in some[:, 0]], k)
        questions = [tuple(map(str, question)) for question in some]
        return search.analogies(questions, k, method="3cosmul" if method == "3cosmul" else "3cosadd")

    batch = ask(queries)
    order = rng.permutation(m)
    shuffled = ask(queries[order])
    assert shuffled.rows.tobytes() == batch.rows[order].tobytes()
    assert shuffled.scores.tobytes() == batch.scores[order].tobytes()
    for number in range(m):
        alone = ask(queries[number : number + 1])
        assert alone.rows.tobytes() == batch.rows[number].tobytes()
        assert alone.scores.tobytes() == batch.scores[number].tobytes()


@pytest.mark.parametrize(
    "arrange", [np.asfortranarray, lambda x: np.repeat(x, 2, axis=1)[:, ::2], lambda x: x[:, ::-1].copy()[:, ::-1]]
)
def test_how_the_queries_lie_in_memory_does_not_matter(
    arrange: Callable[[npt.NDArray[Any]], npt.NDArray[Any]], rng: np.random.Generator
) -> None:
    search = Search(Embedding(None, rng.normal(size=(500, 50))), device="numpy")
    queries = rng.normal(size=(40, 50))
    assert same(search.nearest(arrange(queries), 5), search.nearest(queries, 5))


tied_rows = hnp.arrays(np.int8, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.integers(-2, 2))


@settings(max_examples=60)
@given(rows=tied_rows, n=st.sampled_from([1, 7, 64, 300, 700]), k=st.integers(1, 9), data=st.data())
def test_fewer_answers_are_the_first_of_more(rows: npt.NDArray[Any], n: int, k: int, data: st.DataObject) -> None:
    # Few distinct rows again and again: nearly everything ties.
    embedding = Embedding(None, np.resize(rows, (n, rows.shape[1])))
    device = data.draw(st.sampled_from(DEVICES))
    search = Search(embedding, device=device)
    query = data.draw(hnp.arrays(np.int8, rows.shape[1], elements=st.integers(-2, 2)))
    questions = [tuple(str(data.draw(st.integers(0, n - 1))) for _ in range(3))]
    asks: list[Callable[[int], Neighbours]] = [
        lambda k: search.nearest(query, k),
        lambda k: search.similar(questions[0], k),
        lambda k: search.analogies(questions, k),
        lambda k: search.analogies(questions, k, method="3cosmul"),
    ]
    for ask in asks:
        fewer, more = ask(k), ask(k + 1)
        width = fewer.rows.shape[1]
        assert width == min(k, n)
        assert np.array_equal(fewer.rows, more.rows[:, :width])
        assert np.array_equal(fewer.scores, more.scores[:, :width], equal_nan=True)
    check(embedding, asks[0](k), 0, cosines(embedding, query), k, [])


@settings(max_examples=60)
@given(rows=tied_rows, n=st.sampled_from([5, 64, 300]), k=st.integers(1, 9), exclude=st.booleans(), data=st.data())
def test_the_best_rows_are_found_among_ties(
    rows: npt.NDArray[Any], n: int, k: int, exclude: bool, data: st.DataObject
) -> None:
    embedding = Embedding(None, np.resize(rows, (n, rows.shape[1])))
    a, b, c = (data.draw(st.integers(0, n - 1)) for _ in range(3))
    for method, oracle in ORACLES.items():
        found = [
            Search(embedding, device=device).analogies(
                [(str(a), str(b), str(c))], k, method=method, exclude_inputs=exclude
            )
            for device in DEVICES
        ]
        assert same(*found)
        scores = oracle(embedding, a, b, c)
        if method == "3cosadd":
            unit = embedding.unit.vectors.astype(np.float64)
            length = np.linalg.norm(unit[a] - unit[b] + unit[c])
            if 0 < length < 1e-6:
                continue  # what is left of the query is rounding, which has no right direction
        check(embedding, found[0], 0, scores, k, [a, b, c] if exclude else [], SLACK[method])


def test_work_in_many_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    embedding = Embedding(None, np.repeat(rng.normal(size=(300, 6)), 2, axis=0))
    terms = rng.integers(0, 600, (50, 3))
    terms[[7, 20]] = -1  # unknown words leave gaps
    questions = [[str(row) for row in question] for question in terms]

    def ask(device: Device) -> list[Neighbours]:
        search = Search(embedding, device=device)
        return [
            search.similar([question[0] for question in questions], 3, missing="skip"),
            *(search.analogies(questions, 3, method=method, missing="skip") for method in METHODS),
        ]

    whole = {device: ask(device) for device in DEVICES}
    monkeypatch.setattr(candidates_numpy, "_SCORES_AT_ONCE", 10_000)
    monkeypatch.setattr(candidates_torch, "_SCORES_AT_ONCE", {"cpu": 10_000})
    monkeypatch.setattr(exact, "_NUMBERS_AT_ONCE", 42)
    assert len(list(candidates_numpy._spans(48, 600))) == 3
    assert len(list(candidates_torch._spans(48, 5 * 600, torch.device("cpu")))) == 16
    for device in DEVICES:
        assert all(same(a, b) for a, b in zip(whole[device], ask(device), strict=True))


def test_a_piece_may_be_smaller_than_one_query(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    embedding = Embedding(None, rng.normal(size=(100, 4)))
    whole = Search(embedding).similar(embedding, 3)
    monkeypatch.setattr(candidates_numpy, "_SCORES_AT_ONCE", 10)
    assert same(Search(embedding).similar(embedding, 3), whole)


# -- kernels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 3, 50, 300, 1000])
def test_float32_products_stay_within_the_tolerance(d: int, rng: np.random.Generator) -> None:
    rows = rng.normal(size=(400, d))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    single = rows.astype(np.float32)
    error = np.abs((single @ single.T).astype(np.float64) - rows @ rows.T)
    assert error.max() <= exact.tolerance(d)


@pytest.mark.parametrize("n", [3, 64, 255, 256, 2000])
@pytest.mark.parametrize("k", [1, 2, 7])
def test_the_candidates_of_both_kernels_hold_the_best_rows_but_not_all(
    n: int, k: int, rng: np.random.Generator
) -> None:
    units = np.asarray(Embedding(None, rng.normal(size=(n, 16))).unit.vectors)
    none = np.empty((5, 0), dtype=np.int64)
    dead = np.array([0], dtype=np.int64)
    best = np.argsort(-(units[:5].astype(np.float64) @ units.T)[:, 1:], axis=1)[:, :k] + 1
    queries = units[:5].copy()[: min(5, n)]
    for found in (
        candidates_numpy.by_cosine(units, queries, k, none[: len(queries)], dead),
        candidates_torch.by_cosine(torch.from_numpy(units.copy()), queries, k, none[: len(queries)], dead),
    ):
        pairs = {(int(q), int(r)) for query, row in found for q, r in zip(query, row, strict=True)}
        wanted = {(q, int(r)) for q in range(len(queries)) for r in best[q]}
        assert wanted <= pairs
        assert not any(row == 0 for _, row in pairs)
        assert len(pairs) <= len(wanted) + 5  # random scores lie far apart: hardly more than is wanted


def test_rank_orders_by_score_and_then_by_row() -> None:
    query = np.array([2, 0, 0, 0, 2, 0])
    row = np.array([5, 9, 3, 7, 4, 1])
    scores = np.array([0.5, 0.25, 0.5, 0.5, 0.5, -1.0])
    rows, best = exact.rank(query, row, scores, 3, 3)
    assert rows.tolist() == [[3, 7, 9], [-1, -1, -1], [4, 5, -1]]
    assert np.array_equal(best[0], [0.5, 0.5, 0.25])
    assert np.isnan(best[1]).all()
    assert np.array_equal(best[2], [0.5, 0.5, np.nan], equal_nan=True)


# -- torch's own settings ---------------------------------------------------------------------------------------------


@pytest.fixture
def _torch_as_it_was() -> Iterator[None]:
    """Puts back what a test changes in torch for the whole process."""
    before = torch.get_float32_matmul_precision()
    mkldnn: Any = torch.backends.mkldnn  # its types lack what is new
    backends = [torch.backends.cuda.matmul, mkldnn.matmul]
    precisions = [backend.fp32_precision for backend in backends]
    yield
    for backend, precision in zip(backends, precisions, strict=True):
        backend.fp32_precision = precision
    torch.set_float32_matmul_precision(before)
    for backend, precision in zip(backends, precisions, strict=True):
        backend.fp32_precision = precision


@pytest.mark.usefixtures("_torch_as_it_was")
@pytest.mark.parametrize("setting", ["highest", "high", "medium"])
def test_full_precision_gives_back_the_setting_of_the_user(setting: str, royals: Embedding) -> None:
    torch.set_float32_matmul_precision(setting)
    before = precisions()
    with full_precision(torch.device("cpu")):
        mkldnn: Any = torch.backends.mkldnn
        assert torch.backends.cuda.matmul.fp32_precision == mkldnn.matmul.fp32_precision == "ieee"
    assert precisions() == before
    with contextlib.suppress(ZeroDivisionError), full_precision(torch.device("cpu")):
        raise ZeroDivisionError
    Search(royals, device="cpu").similar(["king"])
    assert (precisions(), torch.get_float32_matmul_precision()) == (before, setting)


def precisions() -> tuple[Any, ...]:
    mkldnn: Any = torch.backends.mkldnn
    return torch.backends.cuda.matmul.allow_tf32, mkldnn.matmul.fp32_precision


@pytest.mark.usefixtures("_torch_as_it_was")
def test_tf32_allowed_on_the_gpu_is_not_spread_to_the_cpu(royals: Embedding) -> None:
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = True
    before = precisions()
    Search(royals, device="cpu").similar(["king"])
    assert precisions() == before


@pytest.mark.usefixtures("_torch_as_it_was")
@pytest.mark.parametrize("backend", ["cuda", "mkldnn"])
@pytest.mark.parametrize(
    "precision",
    [
        pytest.param(
            "tf32",
        ),
        "ieee",
    ],
)
def test_precision_may_be_set_by_the_new_way_of_torch(backend: str, precision: str, royals: Embedding) -> None:
    settings_of = getattr(torch.backends, backend).matmul
    settings_of.fp32_precision = precision
    assert Search(royals, device="cpu").similar(["king"], k=1).best == ["man"]
    assert settings_of.fp32_precision == precision


def test_autocast_does_not_change_the_answers(rng: np.random.Generator) -> None:
    embedding = Embedding(None, rng.normal(size=(2000, 50)))
    expected = Search(embedding, device="numpy").similar(embedding.head(300), 10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = Search(embedding, device="cpu").similar(embedding.head(300), 10)
    assert same(found, expected)


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("n", [1, 1100, 50_000])
def test_a_gpu_shares_words_as_the_cpu_does(
    kind: Kind, n: int, method: Method, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedding = made(kind, n, 64)
    questions = [tuple(map(str, question)) for question in rng.choice(rng.integers(0, n, 40), (300, 3))]
    direct = [Search(embedding, device="numpy").analogies(questions, k, method=method) for k in (1, 10)]
    monkeypatch.setattr(Engine, "_worth_sharing", whatever_the_work)
    shared = [Search(embedding, device="cuda").analogies(questions, k, method=method) for k in (1, 10)]
    assert all(same(a, b) for a, b in zip(direct, shared, strict=True))
    if kind is normal:
        assert {found.device for found in shared} == {"cuda, shared words"}


@pytest.mark.gpu
def test_shared_words_on_a_gpu_keep_to_their_memory(rng: np.random.Generator) -> None:
    units = np.array(Embedding(None, rng.normal(size=(200_000, 100))).unit.vectors)
    terms = rng.integers(0, 800, (20_000, 3))
    on_gpu = torch.from_numpy(units).to("cuda")
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    none = np.empty(0, dtype=np.int64)
    found = shared_words_torch.candidates(on_gpu, terms, 5, terms, none, multiply=False)
    assert len(found.unsure) <= 200
    assert torch.cuda.max_memory_allocated() - before < 12 * 2**30


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("n", [1, 255, 1000, 50_000])
def test_a_gpu_gives_what_the_cpu_gives(kind: Kind, n: int, rng: np.random.Generator) -> None:
    embedding = made(kind, n, 64)
    terms = rng.integers(0, n, (20, 3))
    questions = [tuple(map(str, question)) for question in terms]
    for k in (1, 10):
        cpu, gpu = (
            [
                search.similar([a for a, _, _ in questions], k),
                search.nearest(embedding.vectors[terms].astype(np.float64).sum(axis=1), k),
                *(search.analogies(questions, k, method=method) for method in METHODS),
            ]
            for search in (Search(embedding, device="numpy"), Search(embedding, device="cuda"))
        )
        assert all(same(a, b) for a, b in zip(cpu, gpu, strict=True))
        assert {found.device for found in gpu} == {"cuda"}


# -- storage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_smaller_storage_is_searched_as_what_it_decodes_to(
    storage: Literal["float16", "int8"], device: Device, rng: np.random.Generator
) -> None:
    small = Embedding(None, rng.normal(size=(300, 12))).with_storage(storage)
    plain = Embedding(None, np.array(small.vectors))
    for method in METHODS:
        questions = [("1", "2", "3"), ("4", "5", "6")]
        found = Search(small, device=device).analogies(questions, 5, method=method)
        assert same(found, Search(plain, device=device).analogies(questions, 5, method=method))
    assert same(Search(small, device=device).similar(small, 5), Search(plain, device=device).similar(plain, 5))


def test_large_float16_values_do_not_overflow() -> None:
    small = Embedding(["a", "b", "c"], np.array([[6e4, 6e4], [6e4, 5e4], [-6e4, 6e4]], dtype=np.float16))
    (best,) = Search(small).similar(["a"], 1)
    assert best.label == "b"
    assert best.score == pytest.approx(11 / np.sqrt(2 * 61), rel=1e-3)
