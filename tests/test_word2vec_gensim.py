"""Word2Vec by gensim: gensim's own vectors bit for bit, the loss it loses, errors it swallows."""

from __future__ import annotations

import functools
import inspect
import math
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import gensim
import numpy as np
import pytest

from embedkit import Corpus, Word2Vec
from embedkit.errors import BadInput, TrainingDiverged
from embedkit.progress import Progress
from embedkit.words import gensim_engine


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
    small = {"vector_size": 12, "window": 3, "min_count": 1, "epochs": 2, "sample": 0, "random_state": 7}
    return Word2Vec(**{**small, "engine": "gensim", **parameters})


# -- the vectors are gensim's ------------------------------------------------------------------------------------------

OBJECTIVES: list[dict[str, Any]] = [{"hs": 0, "negative": 5}, {"hs": 1, "negative": 0}, {"hs": 1, "negative": 3}]


@pytest.mark.parametrize("sg", [0, 1])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_the_vectors_are_those_of_gensim_bit_for_bit(sg: int, objective: dict[str, Any]) -> None:
    # More than one job of 10,000 words, and subsampling, so that the order of jobs and all random draws count.
    documents = texts(2000)
    same: dict[str, Any] = {"vector_size": 12, "window": 3, "min_count": 2, "sg": sg, "epochs": 2, "sample": 1e-2}
    model = gensim.models.Word2Vec(documents, seed=7, workers=1, **same, **objective)
    embedding = Word2Vec(random_state=7, engine="gensim", **same, **objective).fit_transform(Corpus(documents))
    assert list(embedding) == model.wv.index_to_key
    assert embedding.vectors.tobytes() == model.wv.vectors.tobytes()


@pytest.mark.parametrize(
    "parameters",
    [
        {"alpha": 0.1, "min_alpha": 0.01},
        {"cbow_mean": 0},
        {"ns_exponent": 0.0},
        {"shrink_windows": False},
        {"max_final_vocab": 10},
        {"max_vocab_size": 20},
    ],
    ids=str,
)
def test_every_parameter_means_what_it_means_to_gensim(parameters: dict[str, Any]) -> None:
    documents = texts()
    same: dict[str, Any] = {"vector_size": 8, "min_count": 1, "epochs": 1}
    model = gensim.models.Word2Vec(documents, seed=3, workers=1, **same, **parameters)
    embedding, plain = (
        Word2Vec(random_state=3, engine="gensim", **same, **changed).fit_transform(Corpus(documents))
        for changed in (parameters, {})
    )
    assert list(embedding) == model.wv.index_to_key
    assert embedding.vectors.tobytes() == model.wv.vectors.tobytes()
    assert embedding != plain  # the parameter did something


def test_defaults_are_those_of_gensim_but_for_the_workers() -> None:
    gensims = {name: p.default for name, p in inspect.signature(gensim.models.Word2Vec.__init__).parameters.items()}
    defaults = Word2Vec().get_params()
    shared = {name: defaults[name] for name in defaults if name in gensims}
    assert shared == {**{name: gensims[name] for name in shared}, "workers": 1, "alpha": None}
    made = Word2Vec(min_count=1, engine="gensim").fit_transform(Corpus(texts(40)))
    assert made.provenance["parameters"]["alpha"] == gensims["alpha"]
    assert made.provenance["engine"] == f"gensim {gensim.__version__}"


@pytest.mark.parametrize("document", [10_001, 25_000])
def test_long_documents_are_trained_in_full(document: int) -> None:
    # gensim itself reads the first 10,000 tokens only, which shows that the limit is still there to be worked around.
    words = [f"w{i}" for i in np.random.default_rng(0).integers(0, 30, document)]
    model = gensim.models.Word2Vec(min_count=1, vector_size=4, sample=0, workers=1)
    model.build_vocab([words])
    assert model.train([words], total_examples=1, epochs=1)[0] == gensim_engine.LONGEST_TEXT
    word2vec = trainer(vector_size=4, epochs=2).fit(Corpus([words]))
    assert [entry["words"] for entry in word2vec.history_] == [document, document]
    assert word2vec.embedding_.provenance["corpus"]["documents"] == 1


# -- loss --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sg", [0, 1])
def test_the_loss_of_hierarchical_softmax_falls(sg: int) -> None:
    alphabet = [[chr(ord("a") + (start + step) % 26) for step in range(15)] for start in range(26)] * 20
    word2vec = trainer(sg=sg, window=1, epochs=6, alpha=0.05, hs=1, negative=0).fit(Corpus(alphabet))
    losses = [entry["loss"] for entry in word2vec.history_]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("documents", [50, 2000], ids=["one job", "three jobs"])
@pytest.mark.parametrize("sg", [0, 1])
@pytest.mark.parametrize("objective", OBJECTIVES[:2], ids=str)
def test_the_loss_is_that_of_gensim_where_gensim_counts_right(
    documents: int, sg: int, objective: dict[str, Any]
) -> None:
    # In one epoch so small that gensim's float32 sum loses little.
    same: dict[str, Any] = {"vector_size": 12, "window": 3, "min_count": 1, "sample": 0, "epochs": 1, "sg": sg}
    model = gensim.models.Word2Vec(texts(documents), seed=7, workers=1, compute_loss=True, **same, **objective)
    (entry,) = trainer(**same, **objective).fit(Corpus(texts(documents))).history_
    assert entry["loss"] * entry["words"] == pytest.approx(model.get_latest_training_loss(), rel=1e-3)


def test_two_workers_leave_no_word_and_no_loss_out() -> None:
    documents = texts(4000)
    one, two = (trainer(workers=workers, epochs=3).fit(Corpus(documents)) for workers in (1, 2))
    assert [entry["words"] for entry in two.history_] == [sum(map(len, documents))] * 3
    # Threads race, so the vectors differ; but a loss that one of them forgot would be missing a whole job's worth.
    for a, b in zip(one.history_, two.history_, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=0.1)
    assert list(two.embedding_) == list(one.embedding_)


def test_vectors_that_are_not_finite_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # No honest parameters make gensim diverge (it skips what is far off), so its result is replaced.
    real = gensim_engine.train

    def diverging(*arguments: Any) -> gensim_engine.Trained:
        trained = real(*arguments)
        trained.vectors[3, 2] = np.nan
        return trained

    monkeypatch.setattr(gensim_engine, "train", diverging)
    word2vec = trainer()
    with pytest.raises(TrainingDiverged, match=r"alpha=0\.025"):
        word2vec.fit(Corpus(texts(30)))
    assert not hasattr(word2vec, "embedding_")


def test_a_learning_rate_beyond_float32_is_refused() -> None:
    # In a process of its own, because it is one that gensim crashes on.
    code = "from embedkit import *; Word2Vec(min_count=1, engine='gensim', alpha=1e39).fit(Corpus([['a', 'b']] * 20))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 1, f"the interpreter ended with {ran.returncode}"
    assert "BadInput" in ran.stderr.splitlines()[-1]


# -- gensim reads the corpus at every pass: errors reach the caller, and nothing hangs ---------------------------------


class Boom(Exception):
    pass


def breaking(at_pass: int, after: int, error: BaseException) -> Corpus:
    """A corpus that raises `error` after so many documents of that pass (counted from 1)."""
    passes = 0

    def documents() -> Iterator[list[str]]:
        nonlocal passes
        passes += 1
        for number, document in enumerate(texts(3000)):
            if (passes, number) == (at_pass, after):
                raise error
            yield document

    return Corpus(documents)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("after", [0, 1, 2500])
@pytest.mark.parametrize("at_pass", [1, 2, 3])
def test_an_error_in_the_corpus_reaches_the_caller(
    at_pass: int, after: int, workers: int, within: Callable[[float, Callable[[], Any]], Any]
) -> None:
    error = Boom("the disk is gone")
    word2vec = trainer(workers=workers, epochs=3)
    with pytest.raises(Boom) as caught:
        within(60, lambda: word2vec.fit(breaking(at_pass, after, error)))
    assert caught.value is error
    assert not hasattr(word2vec, "embedding_")


def test_after_an_error_the_trainer_can_be_fitted_again() -> None:
    word2vec = trainer()
    with pytest.raises(Boom):
        word2vec.fit(breaking(2, 1, Boom()))
    before = word2vec.fit_transform(Corpus(texts()))
    assert before == trainer().fit_transform(Corpus(texts()))
    with pytest.raises(Boom):
        word2vec.fit(breaking(3, 1, Boom()))
    assert word2vec.embedding_ is before


def test_sys_exit_in_the_corpus_reaches_the_caller(within: Callable[[float, Callable[[], Any]], Any]) -> None:
    with pytest.raises(SystemExit):
        within(60, lambda: trainer().fit(breaking(2, 1, SystemExit(3))))


def test_control_c_stops_the_training_and_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())
    pressed = False

    def press(_: Progress) -> None:
        nonlocal pressed
        if not pressed:
            pressed = True
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trainer(epochs=1000).fit(Corpus(texts(10_000)), callback=press)
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive()


def test_a_corpus_that_is_empty_at_a_later_pass_is_refused(
    within: Callable[[float, Callable[[], Any]], Any],
) -> None:
    passes = 0

    def documents() -> list[list[str]]:
        nonlocal passes
        passes += 1
        return texts(20) if passes < 3 else []

    with pytest.raises(BadInput, match=r"no documents in epoch 2: is it re-readable\?"):
        within(60, lambda: trainer(epochs=3).fit(Corpus(documents)))


def test_an_iterator_given_out_twice_is_refused(within: Callable[[float, Callable[[], Any]], Any]) -> None:
    once = iter(texts(20))
    with pytest.raises(BadInput, match="same iterator twice"):
        within(60, lambda: trainer().fit(Corpus(lambda: once)))


# -- progress ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_comes_after_each_job(workers: int) -> None:
    documents, events = texts(3000), list[Progress]()
    trainer(workers=workers, min_count=2, sample=1e-2).fit(Corpus(documents), callback=events.append)
    for epoch in (1, 2):
        done = [event.done for event in events if event.epoch == epoch]
        assert len(done) >= 4
        assert done == sorted(set(done))
        assert done[-1] == sum(map(len, documents))
    assert all(math.isfinite(event.loss) for event in events)
