"""Word2Vec by either engine: what its parameters mean, what it learns, repeats and refuses; training with more text."""

from __future__ import annotations

import functools
import io
import itertools
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from sklearn.base import clone

import embedkit
from embedkit import Corpus, Embedding, Word2Vec, progress
from embedkit.errors import BadInput, NotFitted, TrainingDiverged, UnknownWord
from embedkit.evaluation import evaluate_analogies
from embedkit.kernels import cbow, skipgram
from embedkit.progress import Progress
from embedkit.text import EncodedCorpus
from embedkit.text.kingdom import kingdom, kingdom_questions
from embedkit.text.vocabulary import keep_probabilities, noise_probabilities
from embedkit.words import block_engine, word2vec

FEW = 8  # chunks that a thread takes at a time here, so that a small text has many spans; whole rounds


@functools.cache
def texts(documents: int = 300, words: int = 40, length: int = 12, seed: int = 0) -> list[list[str]]:
    """Documents of two topics with words of their own and some in common, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    shared = words // 4
    own = (words - shared) // 2
    made = []
    for number in range(documents):
        pool = np.r_[np.arange(shared), shared + number % 2 * own + np.arange(own)]
        made.append([f"w{word}" for word in rng.choice(pool, length)])
    return made


def trainer(**parameters: Any) -> Word2Vec:
    small = {"vector_size": 16, "window": 3, "min_count": 1, "epochs": 2, "sample": 0, "sg": 1, "random_state": 7}
    return Word2Vec(**{**small, **parameters})


def losses(trained: Word2Vec) -> list[float]:
    return [entry["loss"] for entry in trained.history_]


def used(trained: Word2Vec) -> dict[str, Any]:
    parameters: dict[str, Any] = trained.embedding_.provenance["parameters"]
    return parameters


@pytest.fixture(autouse=True)
def _small_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_engine, "_SPAN", FEW)


every_engine = pytest.mark.parametrize("engine", ["numba", "gensim"])
both_models = pytest.mark.parametrize("sg", [0, 1], ids=["cbow", "skipgram"])
both_models_bit_for_bit = pytest.mark.parametrize("sg", [0, 1], ids=["cbow", "skipgram"])


# -- which engine ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "engine"),
    [
        ({}, "numba"),
        ({"sg": 1, "deterministic": True, "shared_negatives": 16}, "numba"),
        ({"hs": 1}, "gensim"),
        ({"hs": 1, "negative": 0}, "gensim"),
        ({"max_vocab_size": 1000}, "gensim"),
        ({"engine": "gensim"}, "gensim"),
        ({"engine": "numba"}, "numba"),
    ],
    ids=str,
)
def test_auto_is_numba_unless_only_gensim_will_do(parameters: dict[str, Any], engine: str) -> None:
    word2vec = trainer(**parameters).fit(Corpus(texts(40)))
    assert used(word2vec)["engine"] == engine
    assert word2vec.embedding_.provenance["engine"].startswith("gensim" if engine == "gensim" else "embedkit")
    assert word2vec.engine == parameters.get("engine", "auto")  # parameters are never written to


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"engine": "numba", "hs": 1}, "hs=1 is done by gensim only: take engine='gensim'"),
        ({"engine": "numba", "max_vocab_size": 9}, "max_vocab_size=9 is done by gensim only"),
        ({"engine": "gensim", "deterministic": True}, "gensim has no deterministic"),
        ({"engine": "gensim", "shared_negatives": 8}, "gensim has no shared_negatives"),
        ({"engine": "auto", "hs": 1, "deterministic": True}, "deterministic"),
        ({"engine": "word2vec.c"}, "engine is one of auto, numba,"),
        ({"hs": 0, "negative": 0}, "nothing to train with: give negative=5, or hs=1"),
    ],
    ids=str,
)
def test_what_no_engine_does_is_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        trainer(**parameters).fit(Corpus(texts(20)))


@pytest.mark.parametrize(
    ("parameters", "alpha"),
    [
        ({"sg": 1}, skipgram.ALPHA),
        ({"sg": 0}, cbow.ALPHA),
        ({"engine": "gensim"}, 0.025),
        ({"alpha": 0.01}, 0.01),
    ],
    ids=str,
)
def test_the_learning_rate_that_was_used_is_recorded(parameters: dict[str, Any], alpha: float) -> None:
    word2vec = trainer(**parameters).fit(Corpus(texts(100)))
    assert used(word2vec)["alpha"] == alpha
    assert trainer(**{**parameters, "alpha": alpha}).fit_transform(Corpus(texts(100))) == word2vec.embedding_


# -- it repeats --------------------------------------------------------------------------------------------------------


@every_engine
@both_models_bit_for_bit
def test_the_same_seed_gives_the_same_bits_and_another_does_not(engine: str, sg: int) -> None:
    corpus = Corpus(texts(1000))
    first, second, other = (
        trainer(random_state=seed, engine=engine, sg=sg, sample=1e-2).fit_transform(corpus) for seed in (5, 5, 6)
    )
    assert first.vectors.tobytes() == second.vectors.tobytes()
    assert first.vectors.tobytes() != other.vectors.tobytes()


@both_models_bit_for_bit
def test_words_that_come_again_and_again_do_not_diverge(sg: int, rng: np.random.Generator) -> None:
    """Runs of one word, as leftovers of markup have them, once blew up all vectors."""
    documents = []
    for _ in range(1000):
        document = [f"w{i}" for i in rng.zipf(1.3, 60) if i < 5000]
        if rng.random() < 0.3:
            document[10:10] = [f"again{rng.integers(50)}"] * int(rng.integers(10, 60))
        documents.append(document)
    trained = trainer(sg=sg, vector_size=100, window=8, epochs=3, min_count=2, sample=1e-3).fit(Corpus(documents))
    assert trained.history_[-1]["loss"] < trained.history_[0]["loss"] < 4
    assert trained.embedding_.norms.max() < 20


def test_the_bits_do_not_depend_on_where_memory_lies() -> None:
    text, junk, results = kingdom(1000).encode(), list[bytearray](), set()
    for size in range(1, 4000, 131):
        junk += [bytearray(size), bytearray(7 * size)]
        results.add(trainer(sg=0, epochs=1).fit_transform(text).vectors.tobytes())
    assert len(results) == 1


@both_models_bit_for_bit
def test_deterministic_bits_do_not_depend_on_the_number_of_workers(sg: int) -> None:
    text = kingdom(6000).encode()
    made = [trainer(sg=sg, deterministic=True, workers=workers).fit(text) for workers in (1, 2, 3, 8, 2)]
    for other in made[1:]:
        assert other.embedding_ == made[0].embedding_
        assert losses(other) == pytest.approx(losses(made[0]), rel=1e-12)
    assert made[0].embedding_ != trainer(sg=sg).fit_transform(text)
    assert all(one.embedding_.provenance["repeatable"] is True for one in made)


@every_engine
def test_it_says_whether_a_training_can_be_repeated(engine: str) -> None:
    for workers, repeatable in ((1, True), (2, False)):
        made = trainer(engine=engine, workers=workers).fit_transform(Corpus(texts(30)))
        assert made.provenance["repeatable"] is repeatable


@every_engine
def test_a_corpus_its_encoding_and_its_file_give_the_same(engine: str, tmp_path: Path) -> None:
    text = Corpus(texts()).encode()
    text.save(tmp_path / "text")
    sources = [Corpus(texts()), text, embedkit.load(tmp_path / "text")]
    made = [trainer(engine=engine, min_count=20, sample=1e-2).fit_transform(source) for source in sources]
    assert made[0] == made[1] == made[2]


@every_engine
def test_fitting_again_starts_anew(engine: str) -> None:
    corpus, word2vec = Corpus(texts()), trainer(engine=engine)
    first = word2vec.fit_transform(corpus)
    assert word2vec.fit_transform(corpus) == first
    assert len(word2vec.history_) == 2


@every_engine
def test_without_a_seed_one_is_drawn_and_recorded_and_repeats_the_run(engine: str) -> None:
    corpus, word2vec = Corpus(texts()), trainer(random_state=None, engine=engine)
    first, second = word2vec.fit_transform(corpus), word2vec.fit_transform(corpus)
    seeds = [run.provenance["parameters"]["random_state"] for run in (first, second)]
    assert word2vec.random_state is None
    assert seeds[0] != seeds[1]
    assert first != second
    assert trainer(random_state=seeds[0], engine=engine).fit_transform(corpus) == first


@every_engine
@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_the_smallest_and_the_largest_seed_do(seed: int, engine: str) -> None:
    assert len(trainer(random_state=seed, epochs=1, engine=engine).fit_transform(Corpus(texts(20)))) > 0


@every_engine
def test_numbers_of_numpy_do_as_parameters_and_are_recorded(engine: str) -> None:
    corpus = Corpus(texts(40))
    numpys = trainer(vector_size=np.int64(16), random_state=np.int64(7), sample=np.float32(0), engine=engine)
    assert numpys.fit_transform(corpus) == trainer(engine=engine).fit_transform(corpus)
    assert used(numpys)["random_state"] == 7


# -- what its parameters mean ------------------------------------------------------------------------------------------


@every_engine
def test_counts_are_right_and_sorted(engine: str) -> None:
    embedding = trainer(min_count=50, engine=engine).fit_transform(Corpus(texts()))
    counts = embedding.columns["count"]
    flat = [word for document in texts() for word in document]
    assert counts.tolist() == [flat.count(word) for word in embedding]
    assert (np.diff(counts) <= 0).all()
    assert set(embedding) == {word for word in flat if flat.count(word) >= 50}
    assert counts.dtype == np.int64


@pytest.mark.parametrize("parameters", [{"min_count": 60}, {"max_final_vocab": 10}, {"max_final_vocab": 1000}], ids=str)
def test_both_engines_keep_the_same_words(parameters: dict[str, Any]) -> None:
    numba, gensim = (trainer(engine=e, **parameters).fit_transform(Corpus(texts())) for e in ("numba", "gensim"))
    assert dict(zip(numba, numba.columns["count"], strict=True)) == dict(
        zip(gensim, gensim.columns["count"], strict=True)
    )
    assert 0 < len(numba) <= parameters.get("max_final_vocab", 40)


@pytest.mark.parametrize("window", [1, 3, 7, 40])
@both_models
def test_pairs_are_those_of_the_window(window: int, sg: int) -> None:
    rng = np.random.default_rng(window)
    lengths = [1, 2, 3, 1500, 2500, *rng.integers(1, 60, 300).tolist()]  # two of them longer than a chunk
    corpus = Corpus([[f"w{word}" for word in rng.integers(0, 50, length)] for length in lengths])
    chances = {distance: (window - distance + 1) / window for distance in range(1, window + 1)}
    pairs = {distance: sum(2 * max(0, length - distance) for length in lengths) for distance in chances}
    for shrink in (False, True):
        parameters = {"window": window, "shrink_windows": shrink, "sg": sg, "epochs": 1 + 3 * shrink}
        found = [entry["pairs"] for entry in trainer(**parameters).fit(corpus).history_]
        if not sg:  # the words that have a neighbour
            assert set(found) == {sum(length for length in lengths if length > 1)}
        elif shrink:
            assert np.mean(found) == pytest.approx(sum(pairs[d] * chances[d] for d in chances), rel=0.05)
        else:
            assert found == [sum(pairs.values())]


@every_engine
@pytest.mark.parametrize("sample", [0, 1e-3, 1e-2, 0.5, 20])
def test_as_many_words_are_trained_as_sampling_keeps(engine: str, sample: float) -> None:
    corpus = Corpus(texts(2000))
    counts = corpus.encode().vocabulary.counts
    keep = keep_probabilities(counts, sample)
    expected, spread = (counts * keep).sum(), np.sqrt((counts * keep * (1 - keep)).sum())
    for entry in trainer(sample=sample, engine=engine).fit(corpus).history_:
        assert abs(entry["words"] - expected) <= 5 * spread


@pytest.mark.parametrize("ns_exponent", [0.75, 0, 1, 2, -1])
@pytest.mark.parametrize("negative", [1, 5, 20])
@both_models
def test_the_loss_before_any_step_is_that_of_so_many_negatives(sg: int, negative: int, ns_exponent: float) -> None:
    # All outputs are 0: each negative costs log 2, but for those that are the word itself and are left out.
    rng = np.random.default_rng(0)
    p = 1 / np.arange(1, 21)
    documents = [[f"w{word}" for word in rng.choice(20, 10, p=p / p.sum())] for _ in range(3000)]
    counts = Corpus(documents).encode().vocabulary.counts
    itself = (counts / counts.sum() * noise_probabilities(counts, ns_exponent)).sum()
    changed = {"negative": negative, "ns_exponent": ns_exponent, "window": 9, "shrink_windows": False, "sg": sg}
    word2vec = trainer(alpha=1e-7, min_alpha=0, epochs=1, **changed).fit(Corpus(documents))
    assert losses(word2vec) == [pytest.approx(math.log(2) * (1 + negative * (1 - itself)), rel=0.02)]


def test_the_mean_and_the_sum_of_one_context_word_are_the_same() -> None:
    for length, same in ((2, True), (5, False)):
        corpus = Corpus(texts(length=length))
        mean, total = (trainer(cbow_mean=flag, sg=0).fit_transform(corpus) for flag in (1, 0))
        assert (mean == total) is same


def test_shared_negatives_change_the_draws_but_not_what_is_learned() -> None:
    text = kingdom(5000).encode()
    few, many, most = (trainer(sg=1, shared_negatives=n).fit(text) for n in (None, 64, 256))
    assert few.embedding_ != many.embedding_ != most.embedding_
    assert losses(few) == pytest.approx(losses(many), rel=0.1)
    assert losses(many) == pytest.approx(losses(most), rel=0.1)
    assert trainer(sg=1, shared_negatives=60).fit_transform(text) == many.embedding_  # rounded up to eights


def test_the_learning_rate_falls_linearly() -> None:
    word2vec = trainer(alpha=0.04, min_alpha=0.01, epochs=3).fit(Corpus(texts(50)))
    assert [entry["alpha"] for entry in word2vec.history_] == pytest.approx([0.03, 0.02, 0.01])


@pytest.mark.parametrize("size", [1, 5, 16, 17, 32])
def test_vectors_have_the_size_asked_for(size: int) -> None:
    assert trainer(vector_size=size).fit_transform(Corpus(texts(50))).vectors.shape == (40, size)


@every_engine
def test_provenance_tells_engine_parameters_corpus_and_history(engine: str) -> None:
    word2vec = trainer(alpha=None, engine=engine).fit(Corpus([*texts(30), []]))
    provenance = json.loads(json.dumps(dict(word2vec.embedding_.provenance), allow_nan=False))
    assert provenance["made_by"] == "Word2Vec"
    alpha = skipgram.ALPHA if engine == "numba" else 0.025
    assert provenance["parameters"] == {**word2vec.get_params(), "alpha": alpha}
    assert provenance["corpus"]["documents"] == 30
    assert provenance["corpus"]["tokens"] == 30 * 12
    assert provenance["history"] == word2vec.history_
    assert "stopped_early" not in provenance
    assert "unfinished" not in provenance


# -- what it learns ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [{}, {"workers": 2}, {"workers": 2, "deterministic": True}, {"vector_size": 16, "negative": 10}],
    ids=str,
)
@both_models
def test_the_kingdoms_analogies_are_learnt(sg: int, parameters: dict[str, Any]) -> None:
    parameters = {"vector_size": 32, "window": 8, "epochs": 5, "min_count": 5, "sg": sg, **parameters}
    word2vec = trainer(**parameters).fit(kingdom(20_000))
    assert evaluate_analogies(word2vec.embedding_, kingdom_questions()).total.accuracy > 0.95
    assert losses(word2vec)[-1] < 0.8 * losses(word2vec)[0]


@every_engine
def test_words_of_a_topic_come_to_lie_together(engine: str) -> None:
    embedding = trainer(epochs=10, sg=1, engine=engine).fit_transform(Corpus(texts(1000)))
    similarity = embedding.unit.vectors @ embedding.unit.vectors.T
    topic = np.array([-1 if int(word[1:]) < 10 else (int(word[1:]) - 10) // 15 for word in embedding])
    one, two = topic == 0, topic == 1
    assert similarity[one][:, one].mean() > similarity[one][:, two].mean() + 0.2


@every_engine
@both_models
def test_the_loss_falls_where_there_is_something_to_learn(sg: int, engine: str) -> None:
    # Each word is followed by the same word always.
    alphabet = [[chr(ord("a") + (start + step) % 26) for step in range(15)] for start in range(26)] * 20
    word2vec = trainer(sg=sg, window=1, epochs=6, alpha=0.05, engine=engine).fit(Corpus(alphabet))
    assert losses(word2vec)[-1] < 0.7 * losses(word2vec)[0]


@every_engine
def test_the_history_has_an_entry_an_epoch(engine: str) -> None:
    word2vec = trainer(epochs=4, engine=engine, alpha=0.025).fit(Corpus(texts(2000)))
    assert [entry["epoch"] for entry in word2vec.history_] == [1, 2, 3, 4]
    for entry in word2vec.history_:
        assert set(entry) - {"pairs"} == {"epoch", "loss", "words", "alpha", "seconds", "words_per_second"}
        assert type(entry["loss"]) is float
        assert math.isfinite(entry["loss"])
        assert entry["loss"] > 0
        assert entry["words"] == 24_000
        assert entry["seconds"] > 0
        assert entry["words_per_second"] == pytest.approx(entry["words"] / entry["seconds"])
    alphas = [0.025, *(entry["alpha"] for entry in word2vec.history_)]
    assert all(later < earlier for earlier, later in itertools.pairwise(alphas))
    assert alphas[-1] >= 1e-4 * (1 - 1e-9)


def test_an_epoch_in_which_no_word_is_left_to_train_on_is_no_error() -> None:
    # In so small a corpus subsampling, as it is by default, drops nearly every word.
    for engine in ("numba", "gensim"):
        word2vec = Word2Vec(vector_size=16, min_count=1, random_state=1, engine=engine)
        assert len(word2vec.fit(Corpus([["king", "queen"]] * 3)).embedding_) == 2
        assert min(entry["words"] for entry in word2vec.history_) == 0
        assert any(entry["loss"] is None for entry in word2vec.history_)


TINY: list[list[list[str]]] = [
    [["a"]],
    [["a"] * 10],
    [["a"], ["a"]],
    [["a", "b"]],
    [["a"], ["b"], [], ["a", "b", "c"]],
]


@every_engine
@both_models
@pytest.mark.parametrize("documents", TINY, ids=str)
def test_tiny_corpora_will_do(documents: list[list[str]], sg: int, engine: str) -> None:
    for deterministic in (False, True) if engine == "numba" else (False,):
        word2vec = trainer(sg=sg, engine=engine, window=20, deterministic=deterministic).fit(Corpus(documents))
        assert set(word2vec.embedding_) == {word for document in documents for word in document}
        assert np.isfinite(word2vec.embedding_.vectors).all()
        assert all(loss is None or math.isfinite(loss) for loss in losses(word2vec))


def test_words_without_neighbours_stay_where_they_began() -> None:
    # Within 0.5 / 16, as word2vec begins.
    word2vec = trainer(sg=1).fit(Corpus([[f"w{number}"] for number in range(100)]))
    assert losses(word2vec) == [None, None]
    vectors = word2vec.embedding_.vectors
    assert np.abs(vectors).max() <= 0.5 / 16
    assert vectors.std() == pytest.approx(1 / 16 / np.sqrt(12), rel=0.1)


@both_models
def test_training_that_diverges_is_told_and_leaves_the_earlier_fit_alone(
    sg: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = kingdom(3000).encode()
    diverging = trainer(sg=sg, epochs=3, alpha=0.04, min_alpha=0.01)
    before = diverging.fit_transform(text)
    kept, history = before.vectors.tobytes(), list(diverging.history_)

    def poison(event: Progress) -> None:
        if event.epoch == 2 and made:
            made.pop().inputs[:] = np.inf

    def remember(*given: Any) -> block_engine.Model:
        made.append(real(*given))
        return made[-1]

    made: list[block_engine.Model] = []
    real = block_engine.new_model
    monkeypatch.setattr(word2vec, "new_model", remember)
    with pytest.raises(TrainingDiverged, match=r"in epoch 2 at alpha=0\.03: lower alpha"):
        diverging.fit(text, callback=poison)
    assert diverging.embedding_ is before
    assert (before.vectors.tobytes(), diverging.history_) == (kept, history)


def test_a_learning_rate_that_is_far_too_high_is_told_or_does_no_harm() -> None:
    try:
        made = trainer(sg=1, alpha=1.0, epochs=5).fit_transform(kingdom(3000))
    except TrainingDiverged:
        return
    assert np.isfinite(made.vectors).all()


# -- progress and stopping ---------------------------------------------------------------------------------------------


@every_engine
@pytest.mark.parametrize("workers", [1, 2])
def test_progress_grows_and_reaches_the_total(workers: int, engine: str) -> None:
    documents, events = texts(4000), list[Progress]()
    word2vec = trainer(workers=workers, sample=1e-2, engine=engine).fit(Corpus(documents), callback=events.append)
    assert [event.epoch for event in events] == sorted(event.epoch for event in events)
    for epoch in (1, 2):
        mine = [event for event in events if event.epoch == epoch]
        done = [event.done for event in mine]
        assert len(done) >= 4
        assert done == sorted(set(done))
        assert done[-1] == sum(map(len, documents))
        assert mine[-1].loss == word2vec.history_[epoch - 1]["loss"]
    assert {(event.total, event.epochs, event.unit) for event in events} == {(sum(map(len, documents)), 2, "words")}
    assert all(math.isfinite(event.loss) for event in events)


@every_engine
def test_a_callback_changes_no_vector(engine: str) -> None:
    corpus, word2vec = Corpus(texts(1000)), trainer(engine=engine)
    assert word2vec.fit_transform(corpus, callback=lambda _: None) == word2vec.fit_transform(corpus)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "engine",
    [
        "numba",
        pytest.param(
            "gensim",
        ),
    ],
)
def test_a_callback_that_returns_true_stops_with_what_was_learned(engine: str, workers: int) -> None:
    calls: list[Progress] = []

    def callback(event: Progress) -> bool:
        calls.append(event)
        return event.epoch == 2

    word2vec = trainer(epochs=3, engine=engine, workers=workers).fit(Corpus(texts(5000)), callback=callback)
    assert [entry["epoch"] for entry in word2vec.history_] == [1, 2]
    assert 0 < word2vec.history_[1]["words"] < word2vec.history_[0]["words"]
    assert sum(event.epoch == 2 for event in calls) <= workers
    assert word2vec.embedding_.provenance["stopped_early"] is True
    again = word2vec.set_params(workers=1).fit(Corpus(texts(30)))
    assert "stopped_early" not in again.embedding_.provenance


class Boom(Exception):
    pass


@every_engine
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("error", [Boom("enough"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_an_exception_in_the_callback_reaches_the_caller_and_leaves_the_earlier_fit_alone(
    error: BaseException, workers: int, engine: str
) -> None:
    word2vec = trainer(engine=engine, workers=workers).fit(Corpus(texts(50)))
    before, history, calls = word2vec.embedding_, word2vec.history_, list[Progress]()
    bits = before.vectors.tobytes()

    def callback(event: Progress) -> None:
        calls.append(event)
        if event.epoch == 2:
            raise error

    with pytest.raises(type(error)) as caught:
        word2vec.set_params(epochs=3).fit(Corpus(texts(5000)), callback=callback)
    assert caught.value is error
    assert sum(event.epoch == 2 for event in calls) <= workers
    assert word2vec.embedding_ is before
    assert word2vec.history_ is history
    assert before.vectors.tobytes() == bits


@every_engine
def test_an_exception_in_the_corpus_reaches_the_caller_and_leaves_the_earlier_fit_alone(engine: str) -> None:
    def documents() -> Any:
        yield ["a", "b"]
        raise Boom("the disk is gone")

    word2vec = trainer(engine=engine).fit(Corpus(texts(30)))
    before = word2vec.embedding_
    for verb in (word2vec.fit, word2vec.partial_fit) if engine == "numba" else (word2vec.fit,):
        with pytest.raises(Boom, match="the disk is gone"):
            verb(Corpus(documents))
        assert word2vec.embedding_ is before


@every_engine
def test_control_c_stops_the_training(engine: str) -> None:
    pressed: list[Progress] = []

    def press(event: Progress) -> None:
        if not pressed:
            pressed.append(event)
            os.kill(os.getpid(), signal.SIGINT)

    word2vec = trainer(epochs=1000, engine=engine)
    with pytest.raises(KeyboardInterrupt):
        word2vec.fit(Corpus(texts(10_000)), callback=press)
    assert not hasattr(word2vec, "embedding_")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@every_engine
def test_the_bar_is_drawn_on_a_terminal_a_line_an_epoch(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    word2vec = trainer(epochs=2, engine=engine).fit(Corpus(texts(2000)), callback=progress.bar("toy"))
    # What stays is what was drawn last on each line.
    lines = [line.rsplit("\r", 1)[-1] for line in terminal.getvalue().split("\n")]
    assert len(lines) == 3
    assert lines[2].strip() == ""
    for epoch, line in enumerate(lines[:2], start=1):
        assert line.startswith(f"toy {epoch}/2: 100%")
        assert "24.0k/24.0k" in line
        assert f"loss={losses(word2vec)[epoch - 1]:.4f}" in line


def test_the_bar_is_silent_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    trainer().fit(Corpus(texts(30)), callback=progress.bar("toy"))
    assert pipe.getvalue() == ""


# -- what is refused ---------------------------------------------------------------------------------------------------

WHOLE = ("vector_size", "window", "min_count", "epochs", "workers")
BAD: list[tuple[str, Any]] = [
    *[(name, value) for name in WHOLE for value in (0, -1, 2.0, "2", None, True, 2**40)],
    *[("negative", value) for value in (-1, 0.5, None, True)],
    *[(name, value) for name in ("sg", "hs", "cbow_mean") for value in (2, -1, None, "1", 0.5)],
    *[(name, value) for name in ("shrink_windows", "deterministic") for value in (2, None, "no")],
    *[("alpha", value) for value in (0, -0.1, 1.1, math.nan, math.inf, "fast", 5e-5)],  # the last is below min_alpha
    *[("min_alpha", value) for value in (-1e-9, math.nan, math.inf, 0.5, None)],
    *[("sample", value) for value in (-1e-9, math.nan, math.inf, "a", None)],
    *[("ns_exponent", value) for value in (math.nan, math.inf, 1e9, "a", None)],
    *[("random_state", value) for value in (-1, 2**32, 1.0, "1", True)],
    *[
        (name, value)
        for name in ("max_vocab_size", "max_final_vocab", "shared_negatives")
        for value in (0, -1, "a", 1.5, True)
    ],
    *[("engine", value) for value in ("", None, "GENSIM")],
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_parameter_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(BadInput, match=name):
        trainer(**{name: value}).fit(Corpus(texts(20)))


@pytest.mark.parametrize(
    "thing", [[["a", "b"]], "a b", None, iter([["a"]])], ids=["list", "string", "none", "iterator"]
)
@pytest.mark.parametrize("verb", ["fit", "partial_fit", "fit_transform"])
def test_what_is_no_corpus_is_refused(thing: Any, verb: str) -> None:
    with pytest.raises(BadInput, match=r"trained on an embedkit\.Corpus, not on a"):
        getattr(trainer(), verb)(thing)


@every_engine
def test_a_min_count_that_no_word_reaches_is_told_with_the_number_of_words(engine: str) -> None:
    corpus = Corpus([["a", "b", "c"], ["a"]])
    with pytest.raises(BadInput, match="0 of 3 words reach min_count=3: lower it or add text"):
        trainer(min_count=3, engine=engine).fit(corpus)
    assert list(trainer(min_count=2, engine=engine).fit_transform(corpus)) == ["a"]


@every_engine
@pytest.mark.parametrize("documents", [[], [[]], [[], []]], ids=str)
def test_an_empty_corpus_is_refused(documents: list[list[str]], engine: str) -> None:
    with pytest.raises(BadInput, match="0 of 0 words"):
        trainer(engine=engine).fit(Corpus(documents))


@every_engine
@pytest.mark.parametrize("token", ["line\nfeed", "nul\0", "\ud800"])
def test_a_token_that_can_be_no_label_is_refused(token: str, engine: str) -> None:
    with pytest.raises(BadInput, match=r"label|NUL|Unicode|line"):
        trainer(engine=engine).fit(Corpus([["a", token]]))


# -- more text ---------------------------------------------------------------------------------------------------------


class Parts(NamedTuple):
    """A text, and more text in which some words are new and some are missing."""

    first: EncodedCorpus
    more: EncodedCorpus


@pytest.fixture(scope="module")
def parts() -> Parts:
    first, more = texts(400), [[word.replace("w1", "new") for word in document] for document in texts(300, seed=1)]
    return Parts(Corpus(first).encode(), Corpus(more).encode())


def total(*parts: EncodedCorpus) -> dict[str, int]:
    counts: dict[str, int] = {}
    for part in parts:
        for word, count in zip(part.vocabulary, part.vocabulary.counts.tolist(), strict=True):
            counts[word] = counts.get(word, 0) + count
    return counts


def test_the_first_partial_fit_is_fit(parts: Parts) -> None:
    assert trainer().partial_fit(parts.first).embedding_ == trainer().fit_transform(parts.first)


@both_models
def test_partial_fit_adds_words_and_moves_those_of_the_new_text_alone(parts: Parts, sg: int) -> None:
    word2vec = trainer(sg=sg).fit(parts.first)
    before, bits = word2vec.embedding_, word2vec.embedding_.vectors.tobytes()
    assert word2vec.partial_fit(parts.more) is word2vec
    after = word2vec.embedding_
    counts = after.columns["count"]
    assert dict(zip(after, counts.tolist(), strict=True)) == total(parts.first, parts.more)
    assert (np.diff(counts) <= 0).all()
    there = {word: word in parts.more.vocabulary for word in before}
    assert 0 < sum(there.values()) < len(there)
    for word, moved in there.items():
        assert np.array_equal(after[word], before[word]) is not moved, word
    assert before.vectors.tobytes() == bits
    assert all(np.abs(after[word]).max() > 0 for word in parts.more.vocabulary)


def test_partial_fit_may_be_repeated(parts: Parts) -> None:
    word2vec, again = trainer(), trainer()
    for part in (parts.first, parts.more, parts.first):
        word2vec.partial_fit(part)
        again.partial_fit(part)
    assert word2vec.embedding_ == again.embedding_
    counts = word2vec.embedding_.columns["count"].tolist()
    assert dict(zip(word2vec.embedding_, counts, strict=True)) == total(parts.first, parts.more, parts.first)
    assert len(word2vec.history_) == 6
    about = word2vec.embedding_.provenance
    assert [part["tokens"] for part in about["corpus"]["parts"]] == [4800, 3600, 4800]
    assert about["history"] == word2vec.history_


@both_models
def test_partial_fit_goes_on_from_what_was_learned(sg: int) -> None:
    text = kingdom(5000).encode()
    word2vec = trainer(sg=sg, alpha=0.02).fit(text)
    fresh = losses(word2vec)
    word2vec.partial_fit(text)
    assert losses(word2vec)[:2] == fresh
    assert losses(word2vec)[2] < 0.8 * fresh[0]
    assert losses(word2vec)[3] < fresh[1]


@pytest.mark.parametrize("changed", [{}, {"deterministic": True, "workers": 2}, {"sg": 1, "vector_size": 17}], ids=str)
def test_saving_in_between_changes_nothing(parts: Parts, changed: dict[str, Any], tmp_path: Path) -> None:
    word2vec = trainer(**changed).fit(parts.first)
    word2vec.save(tmp_path / "model")
    loaded = embedkit.load(tmp_path / "model", verify=True)
    assert loaded.embedding_ == word2vec.embedding_
    assert loaded.embedding_.provenance == word2vec.embedding_.provenance
    assert loaded.history_ == word2vec.history_
    assert loaded.partial_fit(parts.more).embedding_ == word2vec.partial_fit(parts.more).embedding_
    word2vec.save(tmp_path / "model")
    again = embedkit.load(tmp_path / "model").partial_fit(parts.first)
    assert again.embedding_ == word2vec.partial_fit(parts.first).embedding_
    assert losses(again) == losses(word2vec)


def test_words_too_rare_in_the_new_text_are_not_added(parts: Parts) -> None:
    word2vec = trainer(min_count=5).fit(parts.first)
    word2vec.partial_fit(Corpus([["w0", "w2", "rare", "often"], *[["w3", "often"]] * 4]))
    assert "often" in word2vec.embedding_
    assert "rare" not in word2vec.embedding_


def test_known_words_learn_from_however_little_text(parts: Parts) -> None:
    word2vec = trainer(min_count=5).fit(parts.first)
    before = word2vec.embedding_
    word2vec.partial_fit(Corpus([["w2", "w3"]] * 2))
    assert list(word2vec.embedding_)
    assert not np.array_equal(word2vec.embedding_["w2"], before["w2"])
    assert np.array_equal(word2vec.embedding_["w9"], before["w9"])


@pytest.mark.parametrize(
    "changed", [{"vector_size": 32}, {"sg": 0}, {"engine": "gensim"}, {"hs": 1}, {"window": 0}], ids=str
)
def test_partial_fit_refuses_what_asks_for_another_model(parts: Parts, changed: dict[str, Any]) -> None:
    word2vec = trainer().fit(parts.first)
    before = word2vec.embedding_
    with pytest.raises(BadInput, match="engine" if "hs" in changed else next(iter(changed))):
        word2vec.set_params(**changed).partial_fit(parts.more)
    assert word2vec.embedding_ is before


def test_a_partial_fit_that_fails_leaves_the_earlier_fit_alone(parts: Parts) -> None:
    def fail(_: Progress) -> None:
        raise Boom

    word2vec = trainer().fit(parts.first)
    before, bits, history = word2vec.embedding_, word2vec.embedding_.vectors.tobytes(), list(word2vec.history_)
    with pytest.raises(Boom):
        word2vec.partial_fit(parts.more, callback=fail)
    with pytest.raises(BadInput, match="0 of 0 words"):
        word2vec.partial_fit(Corpus([]))
    assert word2vec.embedding_ is before
    assert (before.vectors.tobytes(), word2vec.history_) == (bits, history)
    assert word2vec.partial_fit(parts.more).embedding_ == trainer().fit(parts.first).partial_fit(parts.more).embedding_


# -- the verbs ---------------------------------------------------------------------------------------------------------


def test_fit_returns_the_trainer() -> None:
    word2vec = trainer()
    assert word2vec.fit(Corpus(texts(20))) is word2vec


def test_transform_gives_the_words_in_the_order_asked() -> None:
    word2vec = trainer().fit(Corpus(texts()))
    some = word2vec.transform(["w3", "w1"])
    assert isinstance(some, Embedding)
    assert list(some) == ["w3", "w1"]
    assert np.array_equal(some.vectors, word2vec.embedding_[["w3", "w1"]])
    assert some == word2vec.embedding_.take(word2vec.embedding_.rows(["w3", "w1"]))


def test_transform_names_all_unknown_words() -> None:
    with pytest.raises(UnknownWord) as caught:
        trainer().fit(Corpus(texts())).transform(["w1", "qeen", "w2", "kin", "qeen"])
    assert caught.value.missing == ("qeen", "kin")


@pytest.mark.parametrize(
    "verb", [lambda one: one.transform(["a"]), lambda one: one.save("x")], ids=["transform", "save"]
)
def test_before_fit_it_says_so(verb: Callable[[Word2Vec], Any]) -> None:
    with pytest.raises(NotFitted, match="Word2Vec is not fitted yet: call fit first"):
        verb(trainer())


def test_parameters_are_read_and_set_by_name() -> None:
    word2vec = Word2Vec(vector_size=5)
    assert word2vec.get_params()["vector_size"] == 5
    assert word2vec.set_params(window=2, sg=1) is word2vec
    assert (word2vec.window, word2vec.get_params()["sg"]) == (2, 1)
    with pytest.raises(BadInput, match="Word2Vec has no parameter 'size'; it has: vector_size, "):
        word2vec.set_params(size=3)
    with pytest.raises(TypeError):
        Word2Vec(50)  # type: ignore[call-arg]


def test_nothing_is_checked_before_fit() -> None:
    assert Word2Vec(vector_size=-1).vector_size == -1


@every_engine
def test_scikit_learn_can_clone_it(engine: str) -> None:
    word2vec = trainer(sg=1, engine=engine).fit(Corpus(texts(20)))
    copy = clone(word2vec)
    assert copy.get_params() == word2vec.get_params()
    assert not hasattr(copy, "embedding_")


def test_repr_shows_what_differs_from_the_defaults() -> None:
    assert repr(Word2Vec()) == "Word2Vec()"
    assert repr(Word2Vec(sg=1, alpha=0.1, window=5)) == "Word2Vec(sg=1, alpha=0.1)"


@pytest.mark.slow
def test_the_bits_do_not_depend_on_what_was_compiled_when(tmp_path: Path) -> None:
    code = """
import hashlib, sys
from embedkit import Word2Vec
from embedkit.text.kingdom import kingdom
for sg in map(int, sys.argv[1:]):
    vectors = Word2Vec(vector_size=16, sg=sg, random_state=1, epochs=3).fit_transform(kingdom(1000)).vectors
    print(sg, hashlib.sha256(vectors.tobytes()).hexdigest())
"""
    told = []
    # Compiled in one order; the same, but loaded from the disk; and compiled in the other order.
    for cache, order in (("first", ["0", "1"]), ("first", ["0", "1"]), ("second", ["1", "0"])):
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / cache)}
        ran = subprocess.run(
            [sys.executable, "-c", code, *order], env=environment, capture_output=True, text=True, check=True
        )
        told.append(sorted(ran.stdout.splitlines()))
    assert told[0] == told[1] == told[2]
