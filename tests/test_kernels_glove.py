"""Co-occurrence counts against five lines of Python, GloVe's steps against the formula, and GloVe's promises."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks import plain_glove
from embedkit import Embedding
from embedkit.evaluation import evaluate_analogies
from embedkit.kernels import glove
from embedkit.kernels.cooccurrence import Counts, count_rows, stream_of
from embedkit.kernels.glove import PARTS, SEGMENT, Vectors
from embedkit.kernels.sampling import Text
from embedkit.text.kingdom import kingdom, kingdom_questions

Doubles = npt.NDArray[np.float64]


def text_of(documents: list[list[int]]) -> Text:
    ids = np.array([word for document in documents for word in document], dtype=np.int32)
    return Text(ids, np.cumsum([len(document) for document in documents], dtype=np.int64))


def counted(documents: list[list[int]], n_words: int, window: int, symmetric: bool, weighted: bool) -> Doubles:
    """What co-occurrence means, word by word."""
    table = np.zeros((n_words, n_words))
    for document in documents:
        kept = [word for word in document if word < n_words]
        for (i, word), (j, other) in itertools.combinations(enumerate(kept), 2):
            if j - i <= window:
                table[word, other] += 1 / (j - i) if weighted else 1
                table[other, word] += symmetric * (1 / (j - i) if weighted else 1)
    return table


def dense(counts: Counts, n_words: int) -> Doubles:
    table = np.zeros((len(counts.starts) - 1, n_words))
    for row, (begin, end) in enumerate(itertools.pairwise(counts.starts)):
        columns = counts.columns[begin:end]
        assert (np.diff(columns) > 0).all()  # ascending, each once
        table[row, columns] = counts.values[begin:end]
    return table


@pytest.fixture
def documents(rng: np.random.Generator) -> list[list[int]]:
    """Of no words, one, some and many; the words above 300 are rare."""
    chances = 1 / np.arange(1, 401)
    lengths = [0, 1, 2, 3, 0, 700, 5, 40, 1200, 1]
    return [rng.choice(400, size=length, p=chances / chances.sum()).tolist() for length in lengths]


@pytest.mark.parametrize("window", [1, 2, 10, 50])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_counts_are_those_of_the_definition(
    documents: list[list[int]], window: int, symmetric: bool, weighted: bool
) -> None:
    stream = stream_of(text_of(documents), 300)
    found = count_rows(stream, 300, window, symmetric=symmetric, weighted=weighted, workers=2)
    assert found.values.all()
    np.testing.assert_allclose(
        dense(found, 300), counted(documents, 300, window, symmetric, weighted), rtol=1e-9, atol=0
    )


def test_slices_of_rows_are_those_of_the_whole(documents: list[list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    stream = stream_of(text_of(documents), 300)
    whole = count_rows(stream, 300, 5)
    assert len(whole.columns) > 5000
    monkeypatch.setattr("embedkit.kernels.cooccurrence._AT_LEAST", 1000)  # so that room runs out amid rows
    bounds = [0, 1, 1, 120, 300]
    parts = [count_rows(stream, 300, 5, first=first, last=last) for first, last in itertools.pairwise(bounds)]
    np.testing.assert_array_equal(np.concatenate([part.columns for part in parts]), whole.columns)
    np.testing.assert_array_equal(np.concatenate([part.values for part in parts]), whole.values)
    sizes = np.concatenate([np.diff(part.starts) for part in parts])
    np.testing.assert_array_equal(sizes, np.diff(whole.starts))


@pytest.mark.parametrize("documents", [[], [[]], [[0]], [[0], [1]], [[9, 9]]])
def test_texts_without_pairs_have_no_counts(documents: list[list[int]]) -> None:
    found = count_rows(stream_of(text_of(documents), 2), 2, 5)
    assert found.starts.tolist() == [0, 0, 0]
    assert len(found.columns) == len(found.values) == 0


def test_documents_are_strangers() -> None:
    found = count_rows(stream_of(text_of([[0, 0], [1, 1], [2]]), 3), 3, 5)
    np.testing.assert_array_equal(dense(found, 3), np.diag([2.0, 2.0, 0.0]))


def some_counts(rng: np.random.Generator, n_words: int = 60, share: float = 0.5) -> Counts:
    table = rng.exponential(6, size=(n_words, n_words)) * (rng.random((n_words, n_words)) < share)
    row, column = np.nonzero(table)
    starts = np.searchsorted(row, np.arange(n_words + 1)).astype(np.int64)
    return Counts(starts, column.astype(np.int32), table[row, column])


def train(
    vectors: Vectors, counts: Counts, *, epochs: int = 1, eta: float = 0.05, seed: int = 1, workers: int = 1,
    x_max: float = 10,
) -> list[float]:  # fmt: skip
    """The mean cost of each epoch."""
    segments, costs = glove.arrange(counts, x_max=x_max, alpha=0.75, seed=seed), []
    for epoch in range(epochs):
        sums, stop = np.zeros(2), np.zeros(1, dtype=np.uint8)
        done = glove.train_turns(
            vectors, segments, eta=eta, epoch=epoch, seed=seed, stop=stop, sums=sums, workers=workers
        )
        assert done == PARTS
        assert sums[1] == len(counts.columns)
        costs.append(sums[0] / sums[1])
    return costs


@pytest.mark.parametrize("count", [0.5, 10.0, 12.0])
@pytest.mark.parametrize("dimension", [5, 16, 100])
def test_a_step_is_that_of_the_formula(count: float, dimension: int) -> None:
    vectors = glove.new_vectors(3, dimension, 0)
    vectors.rows_squares[:] = 2  # so that it is seen which sum divides
    before = Vectors(*(array.astype(float) for array in vectors))
    cost = train(vectors, Counts(np.array([0, 0, 1, 1]), np.array([2], dtype=np.int32), np.array([count])))
    weight = min((count / 10) ** 0.75, 1)
    difference = before.rows[1] @ before.columns[2] + before.row_biases[1] + before.column_biases[2] - np.log(count)
    assert cost[0] == pytest.approx(0.5 * weight * difference**2, rel=1e-5)
    step = 0.05 * weight * difference
    expected = Vectors(*(array.copy() for array in before))
    expected.rows[1] -= step * before.columns[2] / np.sqrt(2)
    expected.columns[2] -= step * before.rows[1]
    expected.row_biases[1] -= step
    expected.column_biases[2] -= step
    expected.rows_squares[1] += (step * before.columns[2]) ** 2
    expected.columns_squares[2] += (step * before.rows[1]) ** 2
    expected.row_biases_squares[1] += step**2
    expected.column_biases_squares[2] += step**2
    for found, wanted, old in zip(vectors, expected, before, strict=True):
        np.testing.assert_allclose(found - old, wanted - old, rtol=1e-2, atol=3e-7)
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)


def test_segments_hold_every_count_once_in_its_tile(rng: np.random.Generator) -> None:
    counts = some_counts(rng, n_words=700, share=0.9)  # rows longer than a segment in each tile
    segments = glove.arrange(counts, x_max=10, alpha=0.75, seed=3)
    lengths = np.diff(segments.starts)
    assert lengths.min() > 0
    assert lengths.max() == SEGMENT
    rows = np.repeat(segments.rows, lengths)
    order = np.lexsort((segments.columns, rows))
    np.testing.assert_array_equal(rows[order], np.repeat(np.arange(700), np.diff(counts.starts)))
    np.testing.assert_array_equal(segments.columns[order], counts.columns)
    np.testing.assert_allclose(segments.logs[order], np.log(counts.values), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(segments.weights[order], np.minimum((counts.values / 10) ** 0.75, 1), rtol=1e-5)
    # Tiles in the same line share rows only, in the same column columns only.
    for side, words in (("row", rows), ("column", segments.columns)):
        homes: dict[int, set[int]] = {}
        for tile, (begin, end) in enumerate(itertools.pairwise(segments.starts[segments.tiles])):
            for word in set(words[begin:end].tolist()):
                homes.setdefault(word, set()).add(tile // PARTS if side == "row" else tile % PARTS)
        assert set(Counter(len(parts) for parts in homes.values())) == {1}


def test_the_result_depends_on_the_seed_and_not_on_the_threads(rng: np.random.Generator) -> None:
    counts = some_counts(rng)
    results = []
    for seed, workers in ((1, 1), (1, 2), (1, 8), (2, 1)):
        vectors = glove.new_vectors(60, 16, 0)
        costs = train(vectors, counts, epochs=3, seed=seed, workers=workers)
        results.append((costs, vectors))
    for costs, vectors in results[1:3]:
        assert costs == results[0][0]
        for found, expected in zip(vectors, results[0][1], strict=True):
            np.testing.assert_array_equal(found, expected)
    assert (results[3][1].rows != results[0][1].rows).any()


def test_going_on_at_any_turn_is_as_if_never_stopped(rng: np.random.Generator) -> None:
    counts = some_counts(rng)
    whole, parts = glove.new_vectors(60, 16, 0), glove.new_vectors(60, 16, 0)
    train(whole, counts, epochs=2)
    segments = glove.arrange(counts, x_max=10, alpha=0.75, seed=1)
    stop, raised = np.zeros(1, dtype=np.uint8), np.ones(1, dtype=np.uint8)
    for epoch, turn in itertools.product(range(2), range(PARTS)):
        for last, flag, done in ((PARTS, raised, turn), (turn + 1, stop, turn + 1)):
            assert done == glove.train_turns(
                parts, segments, eta=0.05, epoch=epoch, first=turn, last=last, seed=1, stop=flag, sums=np.zeros(2)
            )
    for found, expected in zip(parts, whole, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_costs_are_those_of_the_plain_loops(rng: np.random.Generator) -> None:
    counts = some_counts(rng, n_words=100)
    ours, plain = glove.new_vectors(100, 16, 0), glove.new_vectors(100, 16, 0)
    costs = train(ours, counts, epochs=10)
    reference = [plain_glove.epoch(plain, counts, x_max=10, alpha=0.75, eta=0.05, seed=epoch) for epoch in range(10)]
    assert costs[-1] < 0.5 * costs[0]
    np.testing.assert_allclose(costs, reference, rtol=0.03)  # the order differs


def test_divergence_can_be_seen(rng: np.random.Generator) -> None:
    vectors = glove.new_vectors(60, 16, 0)
    vectors.columns[3, 3] = np.nan
    assert np.isnan(train(vectors, some_counts(rng))[0])
    assert not np.isfinite(vectors.rows).all()


def test_counts_without_entries_change_nothing() -> None:
    vectors = glove.new_vectors(2, 16, 0)
    before = vectors.rows.copy()
    segments = glove.arrange(
        Counts(np.zeros(3, dtype=np.int64), np.empty(0, dtype=np.int32), np.empty(0)), x_max=10, alpha=0.75, seed=1
    )
    sums = np.zeros(2)
    glove.train_turns(vectors, segments, eta=0.05, epoch=0, seed=1, stop=np.zeros(1, dtype=np.uint8), sums=sums)
    assert not sums.any()
    np.testing.assert_array_equal(vectors.rows, before)


def test_what_does_not_fit_is_refused(rng: np.random.Generator) -> None:
    counts = some_counts(rng)
    with pytest.raises(ValueError, match="more than 50 words"):
        train(glove.new_vectors(50, 16, 0), counts)
    with pytest.raises(ValueError, match="new_vectors"):
        train(glove.new_vectors(60, 16, 0)._replace(columns=np.zeros((60, 32), dtype=np.float32)), counts)


def test_most_of_the_kingdoms_analogies_are_learnt() -> None:
    # Not all of them: most pairs of the kingdom's words never meet, and GloVe takes no notice of counts of zero.
    documents = list(kingdom(40_000))
    words = [word for word, _ in Counter(word for document in documents for word in document).most_common()]
    rank = {word: number for number, word in enumerate(words)}
    text = text_of([[rank[word] for word in document] for document in documents])
    counts = count_rows(stream_of(text, len(words)), len(words), 8, weighted=False, workers=2)
    vectors = glove.new_vectors(len(words), 64, 1)
    costs = train(vectors, counts, epochs=10, x_max=100, workers=2)
    assert costs[-1] < 0.05 * costs[0]
    report = evaluate_analogies(Embedding(words, vectors.rows + vectors.columns), kingdom_questions())
    assert report.total.accuracy > 0.8
