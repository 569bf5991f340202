"""word2vec in torch: its definition in plain numpy, its promises, and the quality of the other engines."""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from embedkit import Corpus, Embedding, Search, Word2Vec
from embedkit.errors import BadInput, TrainingDiverged
from embedkit.evaluation import evaluate_analogies, read_questions
from embedkit.kernels import word2vec_torch as kernel
from embedkit.kernels.sampling import alias_table, keep_thresholds
from embedkit.kernels.word2vec_torch import LOSS, PAIRS, RAW_WORDS, WORDS, Draws, Plan, Tables, Text
from embedkit.progress import Callback, Progress
from embedkit.text import EncodedCorpus
from embedkit.text.kingdom import kingdom, kingdom_questions
from embedkit.words import block_engine, torch_engine
from embedkit.words.block_engine import Model
from embedkit.words.training import Checkpoints, Run

Doubles = npt.NDArray[np.float64]

MODELS = pytest.mark.parametrize("sg", [True, False], ids=["skip-gram", "CBOW"])
DIMENSION = 16
SMALL = Plan(sg=True, window=3, shrink=True, negative=2, shared=8, step=128, chunk=512, cap=1e9, block=16)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with kernel.settings(1, "cpu"):
        yield


def text_of(*documents: list[int]) -> Text:
    ids = np.array([word for document in documents for word in document], dtype=np.int32)
    ends = np.cumsum([len(document) for document in documents], dtype=np.int64)
    return Text(kernel.on_device(ids, "cpu"), kernel.on_device(ends, "cpu"))


def random_text(n_words: int, n: int = 5000, documents: int = 40) -> Text:
    """Zipf's words in documents of random lengths."""
    rng = np.random.default_rng(0)
    ids = rng.choice(n_words, size=n, p=(p := 1 / np.arange(1, n_words + 1)) / p.sum())
    ends = np.append(np.sort(rng.choice(np.arange(1, n), size=documents - 1, replace=False)), n)
    return Text(kernel.on_device(ids.astype(np.int32), "cpu"), kernel.on_device(ends, "cpu"))


def draws_for(n_words: int, seed: int = 1, keep: float = 1.0) -> Draws:
    weights = 1 / np.arange(1.0, n_words + 1) ** 0.75
    thresholds = keep_thresholds(np.full(n_words, keep))
    return Draws(kernel.on_device(thresholds, "cpu"), kernel.on_device(alias_table(weights), "cpu"), seed)


def random_tables(n_words: int, scale: float = 0.5) -> Tables:
    rng = np.random.default_rng(0)
    return Tables(
        *(torch.tensor(rng.standard_normal((n_words, DIMENSION)) * scale, dtype=torch.float32) for _ in range(2))
    )


def train(tables: Tables, text: Text, draws: Draws, plan: Plan, rate: float = 0.025, epoch: int = 0) -> Doubles:
    last = kernel.n_chunks(text, plan)
    return kernel.train_chunks(tables, text, draws, plan, alphas=(rate, rate), epoch=epoch, first=0, last=last)


# -- the definition ----------------------------------------------------------------------------------------------------


def log_sigmoid(x: Doubles | float) -> Any:
    return -np.log1p(np.exp(-np.asarray(x)))


def of_one(x: Doubles, outputs: Doubles, chances: Doubles, word: int, negative: int) -> tuple[float, Doubles, Doubles]:
    """Loss, and steps of x and of all output rows, where x predicts `word` and meets so many negatives."""
    expected = negative * np.where(np.arange(len(chances)) == word, 0, chances)
    expected = np.append(expected, 1.0)
    rows, signs = np.vstack([outputs, outputs[word]]), np.append(-np.ones(len(outputs)), 1.0)
    loss = -expected @ log_sigmoid(signs * (rows @ x))
    pull = expected * signs * np.exp(log_sigmoid(-signs * (rows @ x)))
    up = np.outer(pull[:-1], x)
    up[word] += pull[-1] * x
    return float(loss), pull @ rows, up


def defined(
    inputs: Doubles, outputs: Doubles, documents: list[list[int]], chances: Doubles, plan: Plan
) -> tuple[float, Doubles, Doubles]:
    """The expected loss and steps of word2vec, word by word and width by width, as the papers have them."""
    loss, ups = 0.0, (np.zeros_like(inputs), np.zeros_like(outputs))
    widths = range(1, plan.window + 1) if plan.shrink else [plan.window]
    for width, document in itertools.product(widths, documents):
        for i, word in enumerate(document):
            context = document[max(0, i - width) : i] + document[i + 1 : i + 1 + width]
            if plan.sg:
                for other in context:
                    part, up_x, up = of_one(inputs[word], outputs, chances, other, plan.negative)
                    loss += part
                    ups[0][word] += up_x
                    ups[1][:] += up
            elif context:
                h = inputs[context].mean(axis=0) if plan.mean else inputs[context].sum(axis=0)
                part, up_h, up = of_one(h, outputs, chances, word, plan.negative)
                loss += part
                np.add.at(ups[0], context, up_h if plan.mean else up_h / len(context))
                ups[1][:] += up
    return loss / len(widths), ups[0] / len(widths), ups[1] / len(widths)


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(SMALL, id="shrunk windows"),
        pytest.param(SMALL._replace(shrink=False), id="full windows"),
        pytest.param(SMALL._replace(block=32, shared=16, negative=5), id="more negatives"),
        pytest.param(SMALL._replace(window=30, shrink=False), id="windows beyond documents and blocks"),
        pytest.param(SMALL._replace(negative=0), id="no negatives"),
        pytest.param(SMALL._replace(sg=False), id="CBOW"),
        pytest.param(SMALL._replace(sg=False, mean=False, shrink=False, negative=5, shared=24), id="CBOW, sums"),
    ],
)
def test_the_expected_step_is_that_of_the_definition(plan: Plan) -> None:
    # Documents of one word, of two, and of more than a block; words repeat, so that negatives meet neighbours.
    documents = [[2], [0, 1], [5, 1, 1, 0, 3], [0, 1, 2, 0, 3, 4, 0, 1, 0, 2, 0, 1, 5, 0, 2, 1, 1, 0, 4, 3]]
    n_words, copies, trials = 6, 60, 25
    text = text_of(*documents * copies)
    plan = plan._replace(step=2**14, chunk=2**14)  # all in one step: each gradient is taken where it began
    inputs, outputs = (table.numpy().astype(float) for table in random_tables(n_words))
    weights = 1 / np.arange(1.0, n_words + 1) ** 0.75
    loss, *ups = defined(inputs, outputs, documents, weights / weights.sum(), plan)
    losses, steps = np.empty(trials), np.empty((trials, 2, n_words, DIMENSION))
    for seed in range(trials):
        tables = random_tables(n_words)
        losses[seed] = train(tables, text, draws_for(n_words, seed), plan, rate=1e-3)[LOSS] / copies
        for side, before in enumerate((inputs, outputs)):
            steps[seed, side] = (tables[side].numpy() - before) / 1e-3 / copies
    for found, expected in ((losses, np.array(loss)), (steps[:, 0], ups[0]), (steps[:, 1], ups[1])):
        # Five standard errors of the mean, and what float32 leaves.
        error = 5 * found.std(axis=0, ddof=1) / np.sqrt(trials) + 1e-3 * np.abs(expected).max()
        assert np.all(np.abs(found.mean(axis=0) - expected) < error)
        assert np.all(error < 0.1 * np.abs(expected).max())  # far less than leaving out a term would show


@MODELS
def test_counts_are_of_words_and_pairs(sg: bool) -> None:
    text = text_of([0, 1, 9, 2], [3], [9, 9], [1, 2])  # 9 is rare: it is left out before windows are made
    sums = train(random_tables(4), text, draws_for(4), SMALL._replace(sg=sg, shrink=False))
    assert sums[[WORDS, RAW_WORDS]].tolist() == [6, 9]
    assert sums[PAIRS] == (6 + 2 if sg else 3 + 2)


@MODELS
def test_documents_are_strangers(sg: bool) -> None:
    # Words 0 and 1 never share a document: without negatives no step can tell one of the other.
    text = text_of(*[[0, 0], [1, 1]] * 300)
    tables = Tables(torch.zeros(2, DIMENSION), torch.zeros(2, DIMENSION))
    tables.inputs[0, 0] = tables.inputs[1, 1] = 1
    train(tables, text, draws_for(2), SMALL._replace(sg=sg, negative=0))
    assert tables.outputs[0, 0] > 0
    assert tables.outputs[1, 1] > 0
    assert tables.outputs[0, 1] == tables.outputs[1, 0] == 0


@MODELS
@pytest.mark.parametrize("documents", [[], [[0]], [[0], [1], [9]], [[9, 9, 9]]], ids=str)
def test_texts_without_pairs_change_nothing(sg: bool, documents: list[list[int]]) -> None:
    tables = random_tables(3)
    sums = train(tables, text_of(*documents), draws_for(3), SMALL._replace(sg=sg))
    assert sums[LOSS] == sums[PAIRS] == 0
    assert all(torch.equal(*both) for both in zip(tables, random_tables(3), strict=True))


@MODELS
def test_nothing_is_lost_where_chunks_meet(sg: bool) -> None:
    # Draws follow from positions, so that the pairs are the same ones however the text is cut.
    text, draws = random_text(30), draws_for(30, keep=0.7)
    sums = [
        train(random_tables(30), text, draws, SMALL._replace(sg=sg, chunk=chunk, step=step, block=block))
        for chunk, step, block in ((8192, 8192, 16), (512, 128, 16), (100, 64, 32), (37, 16, 16))
    ]
    assert len({tuple(some[1:]) for some in sums}) == 1
    assert 0.6 < sums[0][WORDS] / sums[0][RAW_WORDS] < 0.8


def test_subsampling_and_windows_are_drawn_as_told() -> None:
    text = text_of([0, 1] * 20_000)
    keep = keep_thresholds(np.array([0.25, 1.0]))
    draws = Draws(kernel.on_device(keep, "cpu"), draws_for(2).alias, 1)
    plan = SMALL._replace(chunk=2**20, window=4)
    first, again, later = (kernel._read(text, draws, plan, epoch, 0, 40_000) for epoch in (0, 0, 1))
    assert torch.equal(first.words, again.words)
    assert not torch.equal(first.words[:1000], later.words[:1000])
    assert int((first.words == 1).sum()) == 20_000
    assert abs(int((first.words == 0).sum()) - 5000) < 5 * 61  # five deviations of a binomial
    assert (np.abs(np.bincount(first.windows.numpy())[1:] - 6250) < 5 * 69).all()


def test_negatives_come_by_their_chances() -> None:
    weights = np.array([5.0, 0.0, 3.0, 1.0, 1.0])
    draws = Draws(torch.empty(0), kernel.on_device(alias_table(weights), "cpu"), 1)
    drawn = kernel._negatives(draws, key=12345, first=7, shape=(500, 100)).numpy()
    counts = np.bincount(drawn.ravel(), minlength=5)
    assert counts[1] == 0
    assert (np.abs(counts - 5000 * weights) < 5 * np.sqrt(5000 * weights) + 1).all()
    assert (kernel._negatives(draws, key=12345, first=107, shape=(1, 100)).numpy() == drawn[1]).all()


def test_no_two_steps_share_their_negatives(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[int, ...]] = []

    def spying(draws: Draws, key: int, first: int, shape: tuple[int, int]) -> torch.Tensor:
        found = negatives(draws, key, first, shape)
        drawn.append(tuple(found[0].tolist()))
        return found

    negatives = kernel._negatives
    monkeypatch.setattr(kernel, "_negatives", spying)
    text, draws = random_text(1000, 2000), draws_for(1000)
    for epoch in (0, 1):
        train(random_tables(1000), text, draws, SMALL, epoch=epoch)
    assert len(set(drawn)) == len(drawn) >= 2 * 2000 / SMALL.step


# -- steps that are not too long ---------------------------------------------------------------------------------------


def test_a_row_moves_by_no_more_than_the_cap_and_rare_rows_by_all() -> None:
    # Word 0 is everywhere, words 1 and 2 meet once; without negatives all can be told by hand.
    text = text_of(*[[0, 0]] * 2000, [1, 2])
    plan = SMALL._replace(negative=0, step=8192, chunk=8192, cap=50)
    before = [table.numpy().astype(float) for table in random_tables(3)]
    tables = random_tables(3)
    train(tables, text, draws_for(3), plan, rate=0.01)
    for own, other, word in ((0, 1, 0), (1, 0, 0)):
        miss = 1 / (1 + np.exp(before[own][word] @ before[other][word]))
        moved = tables[own][word].numpy() - before[own][word]
        np.testing.assert_allclose(moved, 0.01 * 50 * miss * before[other][word], rtol=1e-3, atol=3e-4)
    miss = 1 / (1 + np.exp(before[0][1] @ before[1][2]))
    np.testing.assert_allclose(
        tables.inputs[1].numpy() - before[0][1], 0.01 * miss * before[1][2], rtol=1e-3, atol=1e-6
    )


@MODELS
@pytest.mark.parametrize("n_words", [2, 30, 1000])
def test_the_largest_steps_do_not_diverge(sg: bool, n_words: int) -> None:
    text, plan = random_text(n_words, 20_000), SMALL._replace(sg=sg, window=10, negative=15, shared=64, block=32)
    plan = plan._replace(step=2**14, chunk=2**14)
    for cap, diverges in ((120.0, False), (1e9, True)):
        tables = random_tables(n_words, scale=0.1)
        losses = [train(tables, text, draws_for(n_words), plan._replace(cap=cap), 0.05, epoch) for epoch in range(12)]
        worst = max(some[LOSS] / some[PAIRS] for some in losses)
        assert (worst > 100) == diverges  # at the start a pair costs 16 log 2 = 11


def plan_for(n_words: int, tokens: float, sg: bool, **options: Any) -> Plan:
    chances = 1 / np.arange(101.0, n_words + 101)  # Zipf's, once frequent words have been thinned out
    kept, noise = tokens * chances / chances.sum(), chances**0.75 / (chances**0.75).sum()
    return kernel.plan(**{"window": 5, "negative": 5, **options}, sg=sg, kept=kept, noise=noise)


@MODELS
def test_the_plan_takes_steps_as_large_as_the_text_allows(sg: bool) -> None:
    def step(tokens: float, n_words: int = 50_000, **options: Any) -> int:
        made = plan_for(n_words, tokens, sg, **options)
        assert 128 <= made.step <= 2**14
        assert made.chunk % made.step == made.step % made.block == 0
        return made.step

    assert step(1e9) == 2**14
    assert step(1e4) == 128
    assert step(1e5) > step(1e5, n_words=20)
    assert step(1e7) > step(1e7, negative=20)
    assert step(1e7) > step(1e7, window=15)
    assert [plan_for(100, 1e6, sg, alpha=alpha).cap for alpha in (0.01, 0.03 if sg else 0.05, 0.5)] == [
        120,
        120,
        pytest.approx(120 * (0.03 if sg else 0.05) / 0.5),
    ]
    assert plan_for(100, 1e6, sg, shared=13).shared == 16


# -- the engine --------------------------------------------------------------------------------------------------------


@functools.cache
def text_of_kingdom(documents: int = 10_000) -> EncodedCorpus:
    return kingdom(documents).encode()


def fresh(corpus: EncodedCorpus, **parameters: Any) -> tuple[Model, dict[str, Any]]:
    """A model that has learned nothing, and its parameters."""
    small = {"vector_size": 16, "window": 8, "sample": 0, "min_count": 1, "sg": 1, "epochs": 2, "random_state": 7}
    used = Word2Vec(**{**small, **parameters})._checked()
    return block_engine.new_model(block_engine.kept(corpus.vocabulary, used), used), used


def trained(
    corpus: EncodedCorpus, callback: Callback | None = None, device: str = "cpu", **parameters: Any
) -> tuple[Model, dict[str, Any]]:
    model, used = fresh(corpus, **parameters)
    torch_engine.run(model, corpus, model.vocabulary.counts, used, callback, None, device)
    return model, used


def right(model: Model, used: dict[str, Any]) -> float:
    """The share of the kingdom's analogies that come out."""
    embedding = Embedding(model.vocabulary.words, model.inputs[:, : used["vector_size"]])
    questions = [question for some in kingdom_questions().values() for question in some]
    best = Search(embedding, device="numpy").analogies([question[:3] for question in questions], k=1).best
    return float(np.mean([label == question[3] for label, question in zip(best, questions, strict=True)]))


@pytest.mark.parametrize(("sg", "epochs"), [(1, 5), (0, 8)], ids=["skip-gram", "CBOW"])
def test_the_analogies_of_the_kingdom_come_out(sg: int, epochs: int) -> None:
    model, used = trained(text_of_kingdom(), sg=sg, epochs=epochs, vector_size=32)
    assert right(model, used) > 0.95
    losses = [entry["loss"] for entry in model.run.history]
    assert all(later < earlier for earlier, later in itertools.pairwise(losses))


@pytest.mark.parametrize(
    "parameters",
    [
        {"negative": 15},
        {"window": 2, "epochs": 10},
        {"window": 15},
        {"ns_exponent": 0.5, "shrink_windows": False},
        {"shared_negatives": 64},
        {"sg": 0, "cbow_mean": 0, "epochs": 8},
        {"alpha": 0.1},
    ],
    ids=str,
)
@pytest.mark.slow
def test_the_kingdom_comes_out_at_other_settings(parameters: dict[str, Any]) -> None:
    model, used = trained(text_of_kingdom(), **{"epochs": 5, "vector_size": 32, **parameters})
    assert right(model, used) > 0.95


def test_the_history_is_as_that_of_the_other_engine() -> None:
    corpus = text_of_kingdom(1000)
    model, used = trained(corpus, sample=1e-2, epochs=3)
    other, _ = fresh(corpus, sample=1e-2, epochs=3)
    block_engine.run(other, corpus, other.vocabulary.counts, used, None, None)
    for ours, theirs in zip(model.run.history, other.run.history, strict=True):
        assert set(ours) == set(theirs)
        assert ours["alpha"] == theirs["alpha"]
        assert ours["words"] == pytest.approx(theirs["words"], rel=0.02)
        assert ours["pairs"] == pytest.approx(theirs["pairs"], rel=0.05)
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=0.1)


@MODELS
def test_the_same_seed_gives_the_same_bits_and_another_does_not(sg: bool) -> None:
    corpus = text_of_kingdom(1000)
    first, second, other = (trained(corpus, sg=int(sg), random_state=seed)[0] for seed in (1, 1, 2))
    assert first.inputs.tobytes() == second.inputs.tobytes()
    assert first.outputs.tobytes() == second.outputs.tobytes()
    assert [entry["loss"] for entry in first.run.history] == [entry["loss"] for entry in second.run.history]
    assert first.inputs.tobytes() != other.inputs.tobytes()


class Broken(Exception):
    """What breaks a training off."""


def breaking(after: int) -> Callback:
    """A callback that raises at the event of that number."""
    numbers = itertools.count(1)

    def callback(event: Progress) -> None:
        if next(numbers) == after:
            raise Broken

    return callback


@pytest.mark.parametrize("after", [1, 5, 9, 17])
def test_going_on_after_a_break_is_as_if_there_had_been_none(after: int) -> None:
    corpus = text_of_kingdom(1000)
    whole, used = trained(corpus)
    model, _ = fresh(corpus)
    written: list[Model] = []

    def write(run: Run) -> None:
        written.append(copy.deepcopy(dataclasses.replace(model, run=run)))

    counts = model.vocabulary.counts
    with pytest.raises(Broken):
        torch_engine.run(model, corpus, counts, used, breaking(after), Checkpoints(write, 1e9), "cpu")
    begun = written[-1]  # the first is written before the training
    assert begun.run.position < (2, 0)
    assert begun.run.position != (0, 0)
    torch_engine.run(begun, corpus, counts, used, None, None, "cpu")
    assert begun.inputs.tobytes() == whole.inputs.tobytes()
    assert begun.outputs.tobytes() == whole.outputs.tobytes()
    assert [entry["loss"] for entry in begun.run.history] == [entry["loss"] for entry in whole.run.history]


def test_a_callback_sees_the_progress_and_ends_the_training() -> None:
    corpus = text_of_kingdom(1000)
    events: list[Progress] = []
    trained(corpus, events.append)
    assert len(events) >= 8
    assert {event.total for event in events} == {corpus.tokens}
    assert events[-1].done == corpus.tokens
    assert all(np.isfinite(event.loss) for event in events)
    model, _ = trained(corpus, lambda event: event.epoch == 1 and event.done > 0, epochs=50)
    assert model.run.stopped
    assert len(model.run.history) == 1


def test_rare_words_of_the_corpus_are_left_out() -> None:
    corpus = Corpus([["a", "b", f"rare{i}", "c"] for i in range(300)]).encode()
    model, _ = trained(corpus, min_count=5)
    assert list(model.vocabulary) == ["a", "b", "c"]
    assert model.run.history[0]["words"] == 900


def test_numbers_that_are_not_finite_are_told_of() -> None:
    corpus = text_of_kingdom(1000)
    model, used = fresh(corpus)
    model.inputs[3, 2] = np.inf
    with pytest.raises(TrainingDiverged, match=r"epoch 1 at alpha=0\.04"):
        torch_engine.run(model, corpus, model.vocabulary.counts, used, None, None, "cpu")


def test_it_says_what_it_ran_on() -> None:
    corpus = text_of_kingdom(200)
    model, used = fresh(corpus)
    ran = torch_engine.run(model, corpus, model.vocabulary.counts, used, None, None, "cpu")
    assert ran == (f"{torch_engine.VERSION}: torch {torch.__version__} on cpu", True)


def test_torch_is_left_as_it_was_found() -> None:
    torch.set_num_threads(2)
    trained(text_of_kingdom(200), workers=1)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "cuda:", "cpu:0", "", "cuda:999", 3])
def test_a_device_that_is_not_there_is_refused(name: Any) -> None:
    with pytest.raises(BadInput, match="device") as error:
        trained(text_of_kingdom(200), device=name)
    assert "\n" not in str(error.value)


def test_without_a_gpu_the_cpu_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert kernel.device_of(None) == kernel.device_of("auto") == kernel.device_of("cpu") == "cpu"
    with pytest.raises(BadInput, match="this machine has no device 'cuda'"):
        kernel.device_of("cuda")


@pytest.mark.slow
@pytest.mark.parametrize("sg", [1, 0])
def test_real_text_is_learned_as_well_as_by_gensim(sg: int, data: Path, tmp_path: Path) -> None:
    import gzip

    with gzip.open(data / "corpus" / "enwiki15-a.txt.gz", "rb") as stream:
        (tmp_path / "text").write_bytes(stream.read(15_000_000).rpartition(b"\n")[0])
    corpus = Corpus.from_file(tmp_path / "text")
    model, used = trained(corpus.encode(), sg=sg, window=5, min_count=5, sample=1e-3, epochs=5, vector_size=32)
    ours = Embedding(model.vocabulary.words, model.inputs[:, : used["vector_size"]])
    gensims = Word2Vec(engine="gensim", sg=sg, vector_size=32, random_state=7).fit_transform(corpus)
    questions = read_questions(data / "eval" / "questions-words.txt")

    def accuracy(embedding: Embedding) -> float:
        return evaluate_analogies(embedding, questions, restrict=30_000).total.accuracy

    assert accuracy(ours) > accuracy(gensims) - 0.01


# -- on a GPU ----------------------------------------------------------------------------------------------------------


def moved(tables: Tables, text: Text, draws: Draws) -> tuple[Tables, Text, Draws]:
    def to(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to("cuda")

    return Tables(*map(to, tables)), Text(*map(to, text)), Draws(to(draws.keep), to(draws.alias), draws.seed)


@pytest.mark.gpu
@MODELS
def test_the_gpu_draws_and_computes_the_same(sg: bool) -> None:
    text, draws, plan = random_text(300), draws_for(300, keep=0.7), SMALL._replace(sg=sg, cap=120)
    tables = random_tables(300)
    on_gpu = moved(random_tables(300), text, draws)
    sums, others = train(tables, text, draws, plan), train(*on_gpu, plan)
    assert sums[1:].tolist() == others[1:].tolist()
    assert others[LOSS] == pytest.approx(sums[LOSS], rel=1e-4)
    for ours, theirs in zip(tables, on_gpu[0], strict=True):
        torch.testing.assert_close(theirs.cpu(), ours, rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize(("sg", "epochs"), [(1, 5), (0, 8)], ids=["skip-gram", "CBOW"])
def test_the_gpu_learns_the_kingdom_as_the_cpu_does(sg: int, epochs: int) -> None:
    runs = {
        device: trained(text_of_kingdom(), device=device, sg=sg, epochs=epochs, vector_size=32)
        for device in ("cpu", "cuda")
    }
    assert right(*runs["cuda"]) > 0.95
    ours, theirs = (runs[device][0].run.history for device in ("cpu", "cuda"))
    for one, other in zip(ours, theirs, strict=True):
        assert other["pairs"] == one["pairs"]
        assert other["loss"] == pytest.approx(one["loss"], rel=0.01)


@pytest.mark.gpu
def test_a_checkpoint_has_what_the_gpu_has_learned() -> None:
    corpus = text_of_kingdom(1000)
    model, used = fresh(corpus)
    before, written = model.inputs.copy(), []

    def write(run: Run) -> None:
        written.append(model.inputs.copy())

    with pytest.raises(Broken):
        torch_engine.run(model, corpus, model.vocabulary.counts, used, breaking(5), Checkpoints(write, 1e9), "cuda")
    assert (written[0] != before).any(axis=1).mean() > 0.9
    torch_engine.run(model, corpus, model.vocabulary.counts, used, None, None, "cuda")
    assert (model.inputs != written[0]).any(axis=1).mean() > 0.9
