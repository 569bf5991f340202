"""Skip-gram and CBOW against their definition in plain numpy, and their promises: repeatable, resumable, stoppable."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest

from embedkit import Embedding
from embedkit.evaluation import evaluate_analogies
from embedkit.kernels import cbow, skipgram
from embedkit.kernels.rounds import LOSS, PAIRS, RAW_WORDS, ROUND, WORDS
from embedkit.kernels.sampling import CHUNK, Draws, Plan, Text, alias_table, keep_thresholds, largest_shares, n_chunks
from embedkit.kernels.simd import Floats, new_table
from embedkit.text.kingdom import kingdom, kingdom_questions
from embedkit.text.vocabulary import keep_probabilities

Doubles = npt.NDArray[np.float64]
Expected = tuple[float, Doubles, Doubles]  # a loss, and steps of inputs and outputs

MODELS = [pytest.param(skipgram, id="skipgram"), pytest.param(cbow, id="cbow")]
DIMENSION = 16  # the tables of most tests, so that few widths are compiled
SMALL = Plan(window=3, shrink=True, negative=2, shared=8, block=16, reach=3)


def text_of(*documents: list[int]) -> Text:
    ids = np.array([word for document in documents for word in document], dtype=np.int32)
    return Text(ids, np.cumsum([len(document) for document in documents], dtype=np.int64))


def random_text(rng: np.random.Generator, n_words: int, n: int = 30 * CHUNK + 123, documents: int = 50) -> Text:
    """Zipf's words in documents of random lengths, the last of which is the longest."""
    ids = rng.choice(n_words, size=n, p=(p := 1 / np.arange(1, n_words + 1)) / p.sum())
    ends = np.append(np.sort(rng.integers(0, n // 2, size=documents - 1)), n)
    return Text(ids.astype(np.int32), ends)


def draws_for(n_words: int, sample: float = 0, seed: int = 1) -> Draws:
    weights = 1 / np.arange(1.0, n_words + 1)
    return Draws(
        keep_thresholds(keep_probabilities(np.ceil(1e6 * weights).astype(int), sample)),
        alias_table(weights**0.75),
        seed,
    )


def random_tables(n_words: int, seed: int = 0, scale: float = 0.5) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    tables = new_table(n_words, DIMENSION), new_table(n_words, DIMENSION)
    for table in tables:
        table += (rng.standard_normal(table.shape) * scale).astype(np.float32)
    return tables


def run(
    model: ModuleType, tables: tuple[Floats, Floats], text: Text, draws: Draws, plan: Plan, *, rate: float = 0.025,
    epochs: int = 1, sums: Doubles | None = None,
) -> Doubles:  # fmt: skip
    """Train with one thread at a constant rate; the sums."""
    sums = np.zeros(4) if sums is None else sums
    for epoch in range(epochs):
        last = model.train_chunks(
            *tables, text, draws, plan, alphas=(rate, rate), epoch=epoch, first=0, last=n_chunks(text),
            stop=np.zeros(1, dtype=np.uint8), sums=sums,
        )  # fmt: skip
        assert last == n_chunks(text)
    return sums


def sigmoid(x: Doubles) -> Doubles:
    return 1 / (1 + np.exp(-x))


def pairs(text: Text, window: int) -> Iterator[tuple[int, int]]:
    """Places (i, j) of words in the same document that are at most `window` apart."""
    start = 0
    for end in text.ends:
        for i, j in itertools.product(range(start, end), repeat=2):
            if i != j and abs(i - j) <= window:
                yield i, j
        start = int(end)


def negative_part(x: Doubles, outputs: Doubles, chances: Doubles, word: int, negative: int) -> Expected:
    """The expected loss of the negatives, and minus its gradients by x and by all output rows."""
    expected = negative * np.where(np.arange(len(chances)) == word, 0, chances)
    sigma = sigmoid(outputs @ x)
    return float(-expected @ np.log(1 - sigma)), -(expected * sigma) @ outputs, -np.outer(expected * sigma, x)


def skipgram_gradient(
    inputs: Doubles, outputs: Doubles, text: Text, chances: Doubles, window: int, shrink: bool, negative: int
) -> Expected:
    """Skip-gram's expected loss and minus its gradients, as defined: pair by pair."""
    loss, up_inputs, up_outputs = 0.0, np.zeros_like(inputs), np.zeros_like(outputs)
    for i, j in pairs(text, window):
        chance = (window - abs(i - j) + 1) / window if shrink else 1.0  # that the window is wide enough
        word, other = int(text.ids[i]), int(text.ids[j])
        x, y = inputs[word], outputs[other]
        miss = 1 - sigmoid(x @ y)
        part, by_x, by_outputs = negative_part(x, outputs, chances, other, negative)
        loss += float(chance * (part - np.log(1 - miss)))
        up_inputs[word] += chance * (miss * y + by_x)
        up_outputs[other] += chance * miss * x
        up_outputs += chance * by_outputs
    return loss, up_inputs, up_outputs


def cbow_gradient(
    inputs: Doubles,
    outputs: Doubles,
    text: Text,
    chances: Doubles,
    window: int,
    shrink: bool,
    negative: int,
    mean: bool,
) -> Expected:
    """CBOW's expected loss and steps, as defined: word by word, each window's width in turn."""
    loss, up_inputs, up_outputs = 0.0, np.zeros_like(inputs), np.zeros_like(outputs)
    widths = range(1, window + 1) if shrink else [window]
    for width in widths:
        around: dict[int, list[int]] = {}
        for i, j in pairs(text, width):
            around.setdefault(i, []).append(int(text.ids[j]))
        for i, context in around.items():
            word = int(text.ids[i])
            h = inputs[context].mean(axis=0) if mean else inputs[context].sum(axis=0)
            miss = 1 - sigmoid(h @ outputs[word])
            part, by_h, by_outputs = negative_part(h, outputs, chances, word, negative)
            step = (miss * outputs[word] + by_h) * (1 if mean else 1 / len(context))
            loss += float(part - np.log(1 - miss)) / len(widths)
            np.add.at(up_inputs, context, step / len(widths))
            up_outputs[word] += miss * h / len(widths)
            up_outputs += by_outputs / len(widths)
    return loss, up_inputs, up_outputs


PLANS = [
    pytest.param(SMALL, id="shrunk windows"),
    pytest.param(SMALL._replace(shrink=False), id="full windows"),
    pytest.param(SMALL._replace(block=32, shared=16, negative=5), id="more negatives"),
    pytest.param(SMALL._replace(reach=1), id="rings"),
    pytest.param(SMALL._replace(reach=2, shrink=False), id="two rings"),
    pytest.param(SMALL._replace(mean=False), id="sum"),
    pytest.param(SMALL._replace(block=3), id="small blocks"),
]


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("model", MODELS)
def test_the_expected_step_is_that_of_the_definition(model: ModuleType, plan: Plan) -> None:
    if (model is cbow and plan.reach < plan.window) or (model is skipgram and not plan.mean):
        pytest.skip("is of the other model")
    # Documents of one word, of two, and of more than a block; words repeat, so that negatives meet neighbours.
    n_words, rate, trials = 6, 1e-3, 1500
    text = text_of([2], [0, 1], [5, 1, 1, 0, 3], [0, 1, 2, 0, 3, 4, 0, 1, 0, 2, 0, 1, 5, 0, 2, 1, 1, 0, 4, 3])
    weights = 1 / np.arange(1.0, n_words + 1) ** 0.75
    inputs, outputs = (table.astype(float) for table in random_tables(n_words))
    arguments = inputs, outputs, text, weights / weights.sum(), plan.window, plan.shrink, plan.negative
    loss, up_inputs, up_outputs = (
        skipgram_gradient(*arguments) if model is skipgram else cbow_gradient(*arguments, plan.mean)
    )
    losses, steps = np.empty(trials), np.empty((trials, 2, n_words, DIMENSION))
    for seed in range(trials):
        tables, sums = random_tables(n_words), np.zeros(4)
        run(model, tables, text, draws_for(n_words, seed=seed), plan, rate=rate, sums=sums)
        losses[seed] = sums[LOSS]
        for side, (table, before) in enumerate(zip(tables, (inputs, outputs), strict=True)):
            steps[seed, side] = (table - before) / rate
    # Five standard errors of the mean, plus what float32 and steps within a text leave: some per cent of a per cent.
    for found, expected in ((losses, np.array(loss)), (steps[:, 0], up_inputs), (steps[:, 1], up_outputs)):
        error = 5 * found.std(axis=0) / np.sqrt(trials) + 5e-3 * np.abs(expected).max()
        assert np.all(np.abs(found.mean(axis=0) - expected) < error)
        assert np.all(error < 0.2 * np.abs(expected).max())  # which is less than leaving out a term would show


@pytest.mark.parametrize("model", MODELS)
def test_counts_are_of_words_and_pairs(model: ModuleType) -> None:
    text = text_of([0, 1, 9, 2], [3], [], [9, 9], [1, 2])  # 9 is rare
    plan = SMALL._replace(shrink=False)
    sums = run(model, random_tables(4), text, draws_for(4), plan)
    assert sums[WORDS] == 6
    assert sums[RAW_WORDS] == len(text.ids)
    assert sums[PAIRS] == (6 + 2 if model is skipgram else 3 + 2)


@pytest.mark.parametrize("model", MODELS)
def test_documents_are_strangers(model: ModuleType) -> None:
    # Words 0 and 1 never share a document: without negatives no step can tell one of the other.
    text = text_of(*[[0, 0], [1, 1]] * 20)
    inputs, outputs = random_tables(2)
    inputs[:] = 0
    inputs[0, 0], inputs[1, 1] = 1, 1
    outputs[:] = 0
    run(model, (inputs, outputs), text, draws_for(2), SMALL._replace(negative=0))
    assert outputs[0, 0] > 0
    assert outputs[1, 1] > 0
    assert outputs[0, 1] == outputs[1, 0] == 0


@pytest.mark.parametrize("documents", [[], [[]], [[0]], [[0], [1], [9]], [[9, 9, 9]]])
@pytest.mark.parametrize("model", MODELS)
def test_texts_without_pairs_change_nothing(model: ModuleType, documents: list[list[int]]) -> None:
    tables, before = random_tables(3), random_tables(3)
    sums = run(model, tables, text_of(*documents), draws_for(3), SMALL)
    assert sums[LOSS] == sums[PAIRS] == 0
    np.testing.assert_array_equal(tables, before)


@pytest.mark.parametrize("model", MODELS)
def test_a_window_may_be_wider_than_documents(model: ModuleType) -> None:
    wide = Plan(window=40, shrink=False, negative=2, shared=8, block=16, reach=40)
    tables = random_tables(3)
    sums = run(model, tables, text_of([0, 1, 2], [1, 2]), draws_for(3), wide)
    assert sums[PAIRS] == (6 + 2 if model is skipgram else 5)
    assert np.isfinite(tables).all()


@pytest.mark.parametrize("model", MODELS)
def test_the_same_seed_gives_the_same_bits_and_another_does_not(rng: np.random.Generator, model: ModuleType) -> None:
    text = random_text(rng, 50)
    results = []
    for seed in (1, 1, 2):
        tables = random_tables(50)
        sums = run(model, tables, text, draws_for(50, sample=0.05, seed=seed), SMALL, epochs=2)
        results.append((np.array(tables), sums))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
    assert (results[0][0] != results[2][0]).any(axis=2).mean() > 0.9


@pytest.mark.parametrize("model", MODELS)
def test_going_on_at_any_chunk_is_as_if_never_stopped(rng: np.random.Generator, model: ModuleType) -> None:
    text, draws = random_text(rng, 50), draws_for(50, sample=0.05)
    alphas, stop = (0.05, 0.01), np.zeros(1, dtype=np.uint8)
    whole = random_tables(50)
    model.train_chunks(
        *whole, text, draws, SMALL, alphas=alphas, epoch=3, first=0, last=n_chunks(text), stop=stop, sums=np.zeros(4)
    )
    parts = random_tables(50)
    for chunk in range(n_chunks(text)):  # stopped at each of them
        done = model.train_chunks(
            *parts, text, draws, SMALL, alphas=alphas, epoch=3, first=chunk, last=chunk + 1, stop=stop, sums=np.zeros(4)
        )
        assert done == chunk + 1
    np.testing.assert_array_equal(whole, parts)


@pytest.mark.parametrize("model", MODELS)
def test_a_raised_flag_stops_training(rng: np.random.Generator, model: ModuleType) -> None:
    text, draws = random_text(rng, 50), draws_for(50)
    for train in (model.train_chunks, model.train_rounds):
        tables, before = random_tables(50), random_tables(50)
        done = train(
            *tables, text, draws, SMALL, alphas=(0.1, 0.1), epoch=0, first=4, last=n_chunks(text),
            stop=np.ones(1, dtype=np.uint8), sums=np.zeros(4),
        )  # fmt: skip
        assert done == 4
        np.testing.assert_array_equal(tables, before)


@pytest.mark.parametrize("model", MODELS)
def test_rounds_give_the_same_bits_on_any_number_of_threads(rng: np.random.Generator, model: ModuleType) -> None:
    text, draws, stop = random_text(rng, 50), draws_for(50, sample=0.05), np.zeros(1, dtype=np.uint8)
    shards = 3
    results = []
    for workers, breaks in ((1, []), (2, []), (3, []), (8, []), (2, [shards * ROUND, 2 * shards * ROUND])):
        tables, sums = random_tables(50), np.zeros(4)
        for first, last in itertools.pairwise([0, *breaks, n_chunks(text)]):
            done = model.train_rounds(
                *tables, text, draws, SMALL, alphas=(0.05, 0.01), epoch=1, first=first, last=last, stop=stop, sums=sums,
                shards=shards, workers=workers,
            )  # fmt: skip
            assert done == last
        results.append((np.array(tables), sums))
    for tables_found, sums in results[1:]:
        np.testing.assert_array_equal(tables_found, results[0][0])
        np.testing.assert_allclose(sums, results[0][1], rtol=1e-12)
    np.testing.assert_array_equal(results[1][1], results[0][1])


@pytest.mark.parametrize("model", MODELS)
def test_one_shard_is_one_thread_but_for_rounding(rng: np.random.Generator, model: ModuleType) -> None:
    text, draws, stop = random_text(rng, 50, n=5 * CHUNK), draws_for(50), np.zeros(1, dtype=np.uint8)
    ends = {"alphas": (0.01, 0.01), "epoch": 0, "first": 0, "last": n_chunks(text), "stop": stop}
    plain, rounds = random_tables(50), random_tables(50)
    model.train_chunks(*plain, text, draws, SMALL, sums=(first := np.zeros(4)), **ends)
    model.train_rounds(*rounds, text, draws, SMALL, sums=(second := np.zeros(4)), shards=1, **ends)
    np.testing.assert_allclose(rounds, plain, atol=1e-4)
    np.testing.assert_allclose(second, first, rtol=1e-5)


def test_an_error_in_a_worker_reaches_the_caller(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("worker broke")

    monkeypatch.setattr("embedkit.kernels.rounds.count_changes", broken)
    with pytest.raises(RuntimeError, match="worker broke"):
        skipgram.train_rounds(
            *random_tables(50), random_text(rng, 50), draws_for(50), SMALL, alphas=(0.1, 0.1), epoch=0, first=0, last=9,
            stop=np.zeros(1, dtype=np.uint8), sums=np.zeros(4), shards=2, workers=2,
        )  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
def test_what_does_not_fit_is_refused(model: ModuleType) -> None:
    text, draws, tables = text_of([0, 1, 2]), draws_for(3), random_tables(3)
    short = text._replace(ends=np.array([2]))
    odd = np.zeros((3, 17), dtype=np.float32)
    cases = [
        (random_tables(4), text, draws, SMALL),
        ((odd, odd), text, draws, SMALL),
        ((tables[0].astype(float), tables[1]), text, draws, SMALL),
        (tables, short, draws, SMALL),
        (tables, text, draws._replace(alias=alias_table(np.ones(4))), SMALL),
        (tables, text, draws, SMALL._replace(block=0)),
        (tables, text, draws, SMALL._replace(block=65)),
        (tables, text, draws, SMALL._replace(window=0)),
        (tables, text, draws, SMALL._replace(shared=0)),
        (tables, text, draws, SMALL._replace(shared=12)),
    ]
    for case in cases:
        with pytest.raises(ValueError, match="must"):
            run(model, case[0], *case[1:])


@pytest.mark.parametrize("model", MODELS)
def test_divergence_can_be_seen(rng: np.random.Generator, model: ModuleType) -> None:
    tables = random_tables(50)
    tables[0][0, 0] = np.nan
    sums = run(model, tables, random_text(rng, 50, n=CHUNK), draws_for(50), SMALL)
    assert np.isnan(sums[LOSS])
    assert not np.isfinite(tables[0]).all()


def test_sigmoids_and_logarithms_are_right_to_1e_5() -> None:
    x = np.concatenate([np.linspace(-30, 30, 6000), [0, -87, 87, -500, 500, 1e30, -1e30]]).astype(np.float32)
    chances, losses = np.empty_like(x), np.empty_like(x)
    skipgram.logistic(x, len(x), chances, losses)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(chances, sigmoid(x.astype(float)), rtol=0, atol=1e-5)
    np.testing.assert_allclose(losses, np.logaddexp(0, x.astype(float)), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "alpha", "mean"),
    [
        pytest.param(skipgram, 0.05, True, id="skipgram"),
        pytest.param(cbow, 0.1, True, id="cbow"),
        pytest.param(cbow, 0.05, False, id="sum", marks=pytest.mark.slow),
    ],
)
def test_the_kingdoms_analogies_are_learnt(model: ModuleType, alpha: float, mean: bool) -> None:
    documents = list(kingdom(10_000))
    words, counts = np.unique([word for document in documents for word in document], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    rank = {str(words[place]): number for number, place in enumerate(order)}
    text = text_of(*[[rank[word] for word in document] for document in documents])
    draws = Draws(keep_thresholds(np.ones(len(order))), alias_table(counts[order] ** 0.75), 1)
    shares = largest_shares(counts, draws.keep, counts**0.75)
    plan = model.plan(8, 5, alpha=alpha, shares=shares)._replace(mean=mean)
    tables = new_table(len(rank), 48), new_table(len(rank), 48)
    tables[0][:] = (np.random.default_rng(0).random(tables[0].shape) - 0.5) / 48
    losses, epochs = [], 10
    for epoch in range(epochs):
        sums, stop = np.zeros(4), np.zeros(1, dtype=np.uint8)
        alphas = alpha * (1 - epoch / epochs), alpha * (1 - (epoch + 1) / epochs)
        model.train_rounds(
            *tables, text, draws, plan, alphas=alphas, epoch=epoch, first=0, last=n_chunks(text), stop=stop, sums=sums,
            shards=2, workers=2,
        )  # fmt: skip
        losses.append(sums[LOSS] / sums[PAIRS])
    assert losses[-1] < 0.95 * losses[0]
    report = evaluate_analogies(Embedding([str(words[place]) for place in order], tables[0]), kingdom_questions())
    assert report.total.accuracy > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("how", ["one thread", "rounds"])
@pytest.mark.parametrize(("n_words", "sample"), [(50, 0), (50, 1e-3), (5000, 0)])
@pytest.mark.parametrize(("window", "negative"), [(2, 2), (5, 5), (8, 5), (10, 10), (2, 20), (15, 5), (15, 20)])
def test_no_setting_diverges(
    model: ModuleType, how: str, n_words: int, sample: float, window: int, negative: int
) -> None:
    # Zipf's words, of which a third are the same throughout a document, so that there is something to be learnt.
    rng = np.random.default_rng(0)
    ids = random_text(rng, n_words, n=60 * CHUNK).ids.reshape(-1, 50).copy()
    topics = rng.random(ids.shape) < 1 / 3
    ids[topics] = ids[np.nonzero(topics)[0], 0]
    text = Text(ids.reshape(-1), np.arange(50, ids.size + 1, 50))
    counts = np.bincount(text.ids, minlength=n_words)
    keep, weights = keep_thresholds(keep_probabilities(counts, sample)), counts**0.75
    draws = Draws(keep, alias_table(weights), 1)
    alpha = 0.03 if model is skipgram else 0.05
    shrink = window < 15
    plan = model.plan(window, negative, shrink=shrink, alpha=alpha, shares=largest_shares(counts, keep, weights))
    tables = new_table(n_words, 64), new_table(n_words, 64)
    tables[0][:] = (rng.random(tables[0].shape) - 0.5) / 64
    ends = {"alphas": (alpha, alpha), "first": 0, "last": n_chunks(text), "stop": np.zeros(1, dtype=np.uint8)}
    train = model.train_chunks if how == "one thread" else model.train_rounds
    losses = []
    for epoch in range(4):
        train(*tables, text, draws, plan, epoch=epoch, sums=np.zeros(4), **ends)
        held = np.zeros(4)
        model.train_chunks(*tables, text, draws, plan, epoch=99, sums=held, **{**ends, "alphas": (0.0, 0.0)})
        losses.append(held[LOSS] / held[PAIRS])
    assert max(np.linalg.norm(table, axis=1).max() for table in tables) < 40
    assert losses[-1] < 1.1 * losses[0]  # a diverging training has been seen to double it
    assert losses[-1] < (1 + negative) * np.log(2)  # what vectors of zeros would give
