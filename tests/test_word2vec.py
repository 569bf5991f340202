"""Word2Vec: gensim's own vectors bit for bit, the loss it loses, and errors that reach the caller."""

from __future__ import annotations

import functools
import io
import itertools
import json
import math
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import gensim
import numpy as np
import pytest
from sklearn.base import clone

from embedkit import Corpus, Embedding, Word2Vec, progress
from embedkit.errors import BadInput, NotFitted, TrainingDiverged, UnknownWord
from embedkit.progress import Progress
from embedkit.words import gensim_engine

T = TypeVar("T")


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
    return Word2Vec(**{**small, **parameters})


def within(seconds: float, work: Callable[[], T]) -> T:
    """What `work` gives or raises; it fails if that takes longer. For what once waited for ever."""
    outcome: list[tuple[T | None, BaseException | None]] = []

    def run() -> None:
        try:
            outcome.append((work(), None))
        except BaseException as error:  # noqa: BLE001  # raised again below
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        pytest.fail(f"it hangs: no end after {seconds} seconds")
    result, error = outcome[0]
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


# -- the vectors are gensim's ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sg", [0, 1])
@pytest.mark.parametrize(
    "objective", [{"hs": 0, "negative": 5}, {"hs": 1, "negative": 0}, {"hs": 1, "negative": 3}], ids=str
)
def test_the_vectors_are_those_of_gensim_bit_for_bit(sg: int, objective: dict[str, int]) -> None:
    # More than one job of 10,000 words, and subsampling, so that the order of jobs and all random draws count.
    documents = texts(2000)
    same: dict[str, Any] = {
        "vector_size": 12,
        "window": 3,
        "min_count": 2,
        "sg": sg,
        "epochs": 2,
        "sample": 1e-2,
        **objective,
    }
    model = gensim.models.Word2Vec(documents, seed=7, workers=1, **same)
    embedding = Word2Vec(random_state=7, **same).fit_transform(Corpus(documents))
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
    same = {"vector_size": 8, "min_count": 1, "epochs": 1, **parameters}
    model = gensim.models.Word2Vec(documents, seed=3, workers=1, **same)
    embedding = Word2Vec(random_state=3, **same).fit_transform(Corpus(documents))
    plain = Word2Vec(vector_size=8, min_count=1, epochs=1, random_state=3).fit_transform(Corpus(documents))
    assert list(embedding) == model.wv.index_to_key
    assert embedding.vectors.tobytes() == model.wv.vectors.tobytes()
    assert embedding != plain  # the parameter did something


def test_defaults_are_those_of_gensim_but_for_the_workers() -> None:
    import inspect

    gensims = {name: p.default for name, p in inspect.signature(gensim.models.Word2Vec.__init__).parameters.items()}
    ours = Word2Vec().get_params()
    assert ours.pop("random_state") is None
    assert ours.pop("workers") == 1
    assert ours.pop("alpha") is None
    assert gensims["alpha"] == gensim_parameters(Word2Vec(min_count=1))["alpha"]
    assert ours == {name: gensims[name] for name in ours}


def gensim_parameters(word2vec: Word2Vec) -> dict[str, Any]:
    parameters: dict[str, Any] = word2vec.fit_transform(Corpus(texts(40))).provenance["parameters"]
    return parameters


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    corpus = Corpus(texts())
    first, second, other = (trainer(random_state=seed).fit_transform(corpus) for seed in (5, 5, 6))
    assert first.vectors.tobytes() == second.vectors.tobytes()
    assert first.vectors.tobytes() != other.vectors.tobytes()


def test_fitting_again_starts_anew() -> None:
    corpus = Corpus(texts())
    word2vec = trainer()
    first = word2vec.fit_transform(corpus)
    assert word2vec.fit_transform(corpus) == first
    assert len(word2vec.history_) == 2


def test_without_a_seed_one_is_drawn_and_recorded_and_repeats_the_run() -> None:
    corpus = Corpus(texts())
    word2vec = trainer(random_state=None)
    first = word2vec.fit_transform(corpus)
    second = word2vec.fit_transform(corpus)
    seeds = [run.provenance["parameters"]["random_state"] for run in (first, second)]
    assert word2vec.random_state is None  # parameters are never written to
    assert seeds[0] != seeds[1]
    assert first != second
    assert trainer(random_state=seeds[0]).fit_transform(corpus).vectors.tobytes() == first.vectors.tobytes()


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_the_smallest_and_the_largest_seed_do(seed: int) -> None:
    assert len(trainer(random_state=seed, epochs=1).fit_transform(Corpus(texts(20)))) > 0


def test_numbers_of_numpy_do_as_parameters_and_are_recorded() -> None:
    corpus = Corpus(texts(40))
    numpys = trainer(vector_size=np.int64(12), random_state=np.int64(7), sample=np.float32(0))
    assert numpys.fit_transform(corpus) == trainer().fit_transform(corpus)
    assert numpys.embedding_.provenance["parameters"]["random_state"] == 7


# -- what it learns of the words ---------------------------------------------------------------------------------------


def test_counts_are_right_and_sorted() -> None:
    documents = texts()
    embedding = trainer(min_count=50).fit_transform(Corpus(documents))
    counts = embedding.columns["count"]
    flat = [word for document in documents for word in document]
    assert counts.tolist() == [flat.count(word) for word in embedding]
    assert (np.diff(counts) <= 0).all()
    assert set(embedding) == {word for word in flat if flat.count(word) >= 50}
    assert counts.dtype == np.int64


def test_provenance_tells_engine_parameters_corpus_and_history() -> None:
    word2vec = trainer(alpha=None).fit(Corpus([*texts(30), []]))
    provenance = json.loads(json.dumps(dict(word2vec.embedding_.provenance)))
    assert (provenance["made_by"], provenance["engine"]) == ("Word2Vec", f"gensim {gensim.__version__}")
    assert provenance["parameters"] == {**word2vec.get_params(), "alpha": 0.025}
    assert provenance["corpus"]["documents"] == 30
    assert provenance["corpus"]["tokens"] == 30 * 12
    assert provenance["history"] == word2vec.history_
    assert provenance["repeatable"] is True
    assert trainer(workers=2).fit_transform(Corpus(texts(30))).provenance["repeatable"] is False


def test_words_of_a_topic_come_to_lie_together() -> None:
    embedding = trainer(epochs=10, sg=1).fit_transform(Corpus(texts(1000)))
    similarity = embedding.unit.vectors @ embedding.unit.vectors.T
    topic = np.array([-1 if int(word[1:]) < 10 else (int(word[1:]) - 10) // 15 for word in embedding])
    one, two = topic == 0, topic == 1
    assert similarity[one][:, one].mean() > similarity[one][:, two].mean() + 0.2


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


def test_the_history_has_an_entry_an_epoch() -> None:
    documents = texts(2000)
    word2vec = trainer(epochs=4).fit(Corpus(documents))
    assert [entry["epoch"] for entry in word2vec.history_] == [1, 2, 3, 4]
    for entry in word2vec.history_:
        assert set(entry) == {"epoch", "loss", "words", "alpha", "seconds", "words_per_second"}
        assert math.isfinite(entry["loss"])
        assert entry["loss"] > 0
        assert entry["words"] == sum(map(len, documents))
        assert entry["seconds"] > 0
        assert entry["words_per_second"] == pytest.approx(entry["words"] / entry["seconds"])
    alphas = [0.025, *(entry["alpha"] for entry in word2vec.history_)]
    assert all(later < earlier for earlier, later in itertools.pairwise(alphas))
    assert alphas[-1] >= 1e-4


@pytest.mark.parametrize("sg", [0, 1])
@pytest.mark.parametrize("objective", [{"hs": 0, "negative": 5}, {"hs": 1, "negative": 0}], ids=str)
def test_the_loss_falls_where_there_is_something_to_learn(sg: int, objective: dict[str, int]) -> None:
    # Each word is followed by the same word always.
    alphabet = [[chr(ord("a") + (start + step) % 26) for step in range(15)] for start in range(26)] * 20
    word2vec = trainer(sg=sg, window=1, epochs=6, alpha=0.05, **objective).fit(Corpus(alphabet))
    losses = [entry["loss"] for entry in word2vec.history_]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("documents", [50, 2000], ids=["one job", "three jobs"])
@pytest.mark.parametrize("sg", [0, 1])
@pytest.mark.parametrize("objective", [{"hs": 0, "negative": 5}, {"hs": 1, "negative": 0}], ids=str)
def test_the_loss_is_that_of_gensim_where_gensim_counts_right(
    documents: int, sg: int, objective: dict[str, int]
) -> None:
    # In one epoch so small that gensim's float32 sum loses little.
    same: dict[str, Any] = {
        "vector_size": 12,
        "window": 3,
        "min_count": 1,
        "sample": 0,
        "epochs": 1,
        "sg": sg,
        **objective,
    }
    model = gensim.models.Word2Vec(texts(documents), seed=7, workers=1, compute_loss=True, **same)
    (entry,) = Word2Vec(random_state=7, **same).fit(Corpus(texts(documents))).history_
    assert entry["loss"] * entry["words"] == pytest.approx(model.get_latest_training_loss(), rel=1e-3)


def test_words_that_subsampling_drops_are_not_counted_as_trained() -> None:
    documents = texts(2000)
    (entry,) = trainer(sample=1e-3, epochs=1).fit(Corpus(documents)).history_
    assert 0 < entry["words"] < 0.9 * sum(map(len, documents))


def test_two_workers_leave_no_word_and_no_loss_out() -> None:
    documents = texts(4000)
    two = within(60, lambda: trainer(workers=2, epochs=3).fit(Corpus(documents)))
    one = trainer(epochs=3).fit(Corpus(documents))
    assert [entry["words"] for entry in two.history_] == [sum(map(len, documents))] * 3
    # Threads race, so the vectors differ; but a loss that one of them forgot would be missing a whole job's worth.
    for a, b in zip(one.history_, two.history_, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=0.1)
    assert list(two.embedding_) == list(one.embedding_)
    assert two.embedding_.columns["count"].tolist() == one.embedding_.columns["count"].tolist()


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


def test_an_epoch_in_which_no_word_is_left_to_train_on_is_no_error() -> None:
    # In so small a corpus subsampling, as it is by default, drops nearly every word.
    word2vec = Word2Vec(vector_size=4, min_count=1, random_state=1).fit(Corpus([["king", "queen"]] * 3))
    assert len(word2vec.embedding_) == 2
    assert min(entry["words"] for entry in word2vec.history_) == 0


# -- errors reach the caller, and nothing hangs ------------------------------------------------------------------------


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
def test_an_error_in_the_corpus_reaches_the_caller(at_pass: int, after: int, workers: int) -> None:
    error = Boom("the disk is gone")
    with pytest.raises(Boom) as caught:
        within(60, lambda: trainer(workers=workers, epochs=3).fit(breaking(at_pass, after, error)))
    assert caught.value is error


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("epoch", [1, 2])
def test_an_error_in_the_callback_stops_the_training_and_reaches_the_caller(epoch: int, workers: int) -> None:
    calls: list[Progress] = []

    def callback(event: Progress) -> None:
        calls.append(event)
        if event.epoch == epoch:
            raise Boom("enough")

    with pytest.raises(Boom, match="enough"):
        within(60, lambda: trainer(workers=workers, epochs=3).fit(Corpus(texts(6000)), callback=callback))
    assert calls[-1].epoch == epoch
    # A job of another thread that was under way may still end.
    assert sum(event.epoch == epoch for event in calls) <= workers


def test_after_an_error_the_trainer_can_be_fitted_again() -> None:
    word2vec = trainer()
    with pytest.raises(Boom):
        word2vec.fit(breaking(2, 1, Boom()))
    assert not hasattr(word2vec, "embedding_")
    assert word2vec.fit_transform(Corpus(texts())) == trainer().fit_transform(Corpus(texts()))


def test_a_failed_fit_leaves_the_earlier_result_alone() -> None:
    word2vec = trainer()
    before = word2vec.fit_transform(Corpus(texts()))
    with pytest.raises(Boom):
        word2vec.fit(breaking(3, 1, Boom()))
    assert word2vec.embedding_ is before


@pytest.mark.parametrize("where", ["callback", "corpus"])
def test_sys_exit_in_the_callback_or_the_corpus_reaches_the_caller(where: str) -> None:
    def leave(_: Progress) -> None:
        sys.exit(3)

    corpus, callback = (Corpus(texts(30)), leave) if where == "callback" else (breaking(2, 1, SystemExit(3)), None)
    with pytest.raises(SystemExit):
        within(60, lambda: trainer().fit(corpus, callback=callback))


def train_until_control_c() -> set[threading.Thread]:
    """Train, press Ctrl-C in the first job; gives the threads that the training had and that are still there."""
    before = set(threading.enumerate())
    pressed = False

    def press(_: Progress) -> None:
        nonlocal pressed
        if not pressed:
            pressed = True
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trainer(epochs=1000).fit(Corpus(texts(10_000)), callback=press)
    return set(threading.enumerate()) - before


def test_control_c_stops_the_training() -> None:
    train_until_control_c()


def test_control_c_leaves_no_thread_behind() -> None:
    for thread in train_until_control_c():
        thread.join(60)
        assert not thread.is_alive()


def test_a_corpus_that_is_empty_at_a_later_pass_is_refused() -> None:
    passes = 0

    def documents() -> list[list[str]]:
        nonlocal passes
        passes += 1
        return texts(20) if passes < 3 else []

    with pytest.raises(BadInput, match=r"no documents in epoch 2: is it re-readable\?"):
        within(60, lambda: trainer(epochs=3).fit(Corpus(documents)))


def test_an_iterator_given_out_twice_is_refused() -> None:
    once = iter(texts(20))
    with pytest.raises(BadInput, match="same iterator twice"):
        within(60, lambda: trainer().fit(Corpus(lambda: once)))


# -- what is refused ---------------------------------------------------------------------------------------------------

BAD: list[tuple[str, Any]] = [
    *[(name, value) for name in ("vector_size", "window", "min_count", "epochs", "workers") for value in (0, -1)],
    *[(name, value) for name in ("vector_size", "window", "min_count", "epochs", "workers") for value in (2.0, "2")],
    *[(name, None) for name in ("vector_size", "window", "min_count", "epochs", "workers", "negative")],
    ("negative", -1),
    ("negative", 0.5),
    *[(name, value) for name in ("sg", "hs", "cbow_mean") for value in (2, -1, None, "1", 0.5)],
    *[("alpha", value) for value in (0, -0.1, math.nan, math.inf, 5e-5)],  # the last is below min_alpha
    *[("min_alpha", value) for value in (-1e-9, math.nan, math.inf, 0.5)],
    *[("sample", value) for value in (-1e-9, math.nan, math.inf)],
    *[("random_state", value) for value in (-1, 2**32, 1.0, "1")],
]

# Not looked at, each with what happens instead.
UNCHECKED: list[tuple[str, Any]] = [
    ("alpha", "fast"),  # TypeError
    ("min_alpha", None),  # TypeError
    ("sample", None),  # TypeError
    ("sample", "a"),  # TypeError
    ("vector_size", True),  # TypeError
    ("window", 2**40),  # OverflowError
    ("ns_exponent", math.nan),  # ValueError: cannot convert float NaN to integer
    ("ns_exponent", "a"),  # ValueError
    ("ns_exponent", 1e9),  # a warning of numpy
    ("max_vocab_size", "a"),  # TypeError
    ("max_vocab_size", -1),  # taken for None
    ("max_vocab_size", 0),  # taken for None
    ("max_final_vocab", "a"),  # TypeError
    ("max_final_vocab", 0),  # "0 of 9 words reach min_count=1", which is not so
    ("shrink_windows", "no"),  # taken for yes
]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *BAD,
        *(
            pytest.param(
                *bad,
            )
            for bad in UNCHECKED
        ),
    ],
)
def test_a_bad_parameter_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(BadInput, match=name):
        trainer(**{name: value}).fit(Corpus(texts(20)))


def test_a_learning_rate_beyond_float32_is_refused() -> None:
    # In a process of its own, because it is one that gensim crashes on.
    code = "from embedkit import *; Word2Vec(min_count=1, sample=0, alpha=1e39).fit(Corpus([['a', 'b']] * 20))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 1, f"the interpreter ended with {ran.returncode}"
    assert "BadInput" in ran.stderr.splitlines()[-1]


def test_there_must_be_something_to_train_with() -> None:
    with pytest.raises(BadInput, match="nothing to train with: give negative=5, or hs=1"):
        trainer(hs=0, negative=0).fit(Corpus(texts(20)))


@pytest.mark.parametrize(
    "thing", [[["a", "b"]], "a b", None, iter([["a"]])], ids=["list", "string", "none", "iterator"]
)
def test_what_is_no_corpus_is_refused(thing: Any) -> None:
    with pytest.raises(BadInput, match=r"trained on an embedkit\.Corpus, not on a"):
        trainer().fit(thing)


def test_a_min_count_that_no_word_reaches_is_told_with_the_number_of_words() -> None:
    corpus = Corpus([["a", "b", "c"], ["a"]])
    with pytest.raises(BadInput, match="0 of 3 words reach min_count=3: lower it or add text"):
        trainer(min_count=3).fit(corpus)
    assert list(trainer(min_count=2).fit_transform(corpus)) == ["a"]


@pytest.mark.parametrize("min_count", [1, 5])
def test_an_empty_corpus_is_refused(min_count: int) -> None:
    with pytest.raises(BadInput, match="0 of 0 words"):
        within(60, lambda: trainer(min_count=min_count).fit(Corpus([])))


@pytest.mark.parametrize("token", ["line\nfeed", "nul\0", "\ud800"])
def test_a_token_that_can_be_no_label_is_refused(token: str) -> None:
    with pytest.raises(BadInput, match="label"):
        trainer().fit(Corpus([["a", token]]))


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
    assert (
        some.columns["count"][1] == word2vec.embedding_.take([word2vec.embedding_.labels.find("w1")]).columns["count"]
    )


def test_transform_names_all_unknown_words() -> None:
    with pytest.raises(UnknownWord) as caught:
        trainer().fit(Corpus(texts())).transform(["w1", "qeen", "w2", "kin", "qeen"])
    assert caught.value.missing == ("qeen", "kin")


def test_transform_before_fit_is_refused() -> None:
    with pytest.raises(NotFitted, match="Word2Vec is not fitted yet: call fit first"):
        trainer().transform(["a"])


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


def test_scikit_learn_can_clone_it() -> None:
    word2vec = trainer(sg=1).fit(Corpus(texts(20)))
    copy = clone(word2vec)
    assert copy.get_params() == word2vec.get_params()
    assert not hasattr(copy, "embedding_")


def test_repr_shows_what_differs_from_the_defaults() -> None:
    assert repr(Word2Vec()) == "Word2Vec()"
    assert repr(Word2Vec(sg=1, alpha=0.1, window=5)) == "Word2Vec(sg=1, alpha=0.1)"


# -- progress ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_grows_and_reaches_the_total(workers: int) -> None:
    documents = texts(3000)
    total = sum(map(len, documents))
    events: list[Progress] = []
    word2vec = trainer(workers=workers, epochs=2, min_count=2, sample=1e-2).fit(
        Corpus(documents), callback=events.append
    )
    assert [event.epoch for event in events] == sorted(event.epoch for event in events)
    for epoch in (1, 2):
        done = [event.done for event in events if event.epoch == epoch]
        assert len(done) >= 4
        assert done == sorted(set(done))
        assert done[-1] == total
        last = [event for event in events if event.epoch == epoch][-1]
        assert last.loss == word2vec.history_[epoch - 1]["loss"]
    assert {(event.total, event.epochs, event.unit) for event in events} == {(total, 2, "words")}
    assert all(math.isfinite(event.loss) for event in events)


def test_a_callback_changes_no_vector() -> None:
    corpus = Corpus(texts())
    assert trainer().fit_transform(corpus, callback=lambda _: None) == trainer().fit_transform(corpus)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_is_drawn_on_a_terminal_a_line_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    word2vec = trainer(epochs=2).fit(Corpus(texts(2000)), callback=progress.bar("toy"))
    # What stays is what was drawn last on each line.
    lines = [line.rsplit("\r", 1)[-1] for line in terminal.getvalue().split("\n")]
    assert len(lines) == 3
    assert lines[2].strip() == ""
    for epoch, line in enumerate(lines[:2], start=1):
        assert line.startswith(f"toy {epoch}/2: 100%")
        assert "24.0k/24.0k" in line
        assert f"loss={word2vec.history_[epoch - 1]['loss']:.4f}" in line


def test_the_bar_is_silent_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    trainer().fit(Corpus(texts(30)), callback=progress.bar("toy"))
    assert pipe.getvalue() == ""
