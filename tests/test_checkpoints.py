"""Word trainers broken off by signals, errors, full disks and kill -9, which go on as if nothing had happened."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import embedkit
from embedkit import Corpus, Embedding, Word2Vec
from embedkit.errors import BadFile, BadInput, NotFitted
from embedkit.files.store import read_tensors, write_tensors
from embedkit.progress import Progress
from embedkit.text import EncodedCorpus
from embedkit.text.kingdom import kingdom
from embedkit.words import Cooccurrence, GloVe, block_engine

Trainer = Any  # what has fit, resume, embedding_ and history_


class Boom(Exception):
    pass


class Case(NamedTuple):
    """A trainer, as source, with whose parameters training is repeatable."""

    source: str

    def make(self, **parameters: Any) -> Trainer:
        trainer: Trainer = eval(self.source, {"Word2Vec": Word2Vec, "GloVe": GloVe})  # noqa: S307  # of this file
        return trainer.set_params(**parameters)


SAME = "vector_size=16, epochs=3, random_state=1"
CASES = {
    "skipgram": Case(f"Word2Vec(sg=1, {SAME})"),
    "cbow": Case(f"Word2Vec(sg=0, {SAME})"),
    "deterministic": Case(f"Word2Vec(sg=1, workers=2, deterministic=True, {SAME})"),
    "glove": Case(f"GloVe(window=8, x_max=10, workers=2, {SAME})"),
}
# Which of them fail, and when, is left to chance; to be taken away with the bug.
every = pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case,
            id=name,
        )
        for name, case in CASES.items()
    ],
)
word2vec, glove = CASES["skipgram"], CASES["glove"]
FEW = 8  # chunks that a thread takes at a time here, so that a small text has many spans; whole rounds


@pytest.fixture(autouse=True)
def _small_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_engine, "_SPAN", FEW)


@pytest.fixture(scope="module")
def text() -> EncodedCorpus:
    return kingdom(5000).encode()


@pytest.fixture(scope="module")
def wholes(text: EncodedCorpus) -> Callable[[Case], Trainer]:
    """A trainer that was never broken off."""
    made: dict[Case, Trainer] = {}

    def whole(case: Case) -> Trainer:
        if case not in made:
            made[case] = case.make().fit(text)
        return made[case]

    return whole


def at(event: int, act: Callable[[], object]) -> Callable[[Progress], object]:
    """A callback that does something at an event, counted from 1."""
    seen = 0

    def callback(_: Progress) -> object:
        nonlocal seen
        seen += 1
        return act() if seen == event else None

    return callback


def fail() -> None:
    raise Boom


def broken_off(case: Case, text: Any, path: Path, event: int = 3, **parameters: Any) -> Trainer:
    """What is loaded from the checkpoint of a training that ended at an event."""
    with pytest.raises(Boom):
        case.make(**parameters).fit(text, callback=at(event, fail), checkpoint=path)
    return embedkit.load(path)


def bits(embedding: Embedding) -> bytes:
    return embedding.vectors.tobytes()


def told(trainer: Trainer) -> list[dict[str, Any]]:
    """The history without what the clock says."""
    return [{name: value for name, value in entry.items() if "second" not in name} for entry in trainer.history_]


# -- going on ----------------------------------------------------------------------------------------------------------


@every
def test_going_on_from_any_event_is_as_if_never_broken_off(
    case: Case, text: EncodedCorpus, wholes: Callable[[Case], Trainer], tmp_path: Path
) -> None:
    events: list[Progress] = []
    whole = wholes(case)
    case.make().fit(text, callback=events.append)
    assert len(events) >= 6
    for event in {1, 2, len(events) // 2, len(events) - 1, len(events)}:
        trainer = broken_off(case, text, tmp_path / "checkpoint", event)
        assert trainer.resume(text) is trainer
        assert bits(trainer.embedding_) == bits(whole.embedding_), f"event {event}"
        assert told(trainer) == told(whole), f"event {event}"
        assert all(type(entry["loss"]) is float and entry["seconds"] > 0 for entry in trainer.history_)
        assert trainer.embedding_.columns["count"].tolist() == whole.embedding_.columns["count"].tolist()
        assert "unfinished" not in trainer.embedding_.provenance


@every
def test_it_may_be_broken_off_again_and_again(
    case: Case, text: EncodedCorpus, wholes: Callable[[Case], Trainer], tmp_path: Path
) -> None:
    path, times = tmp_path / "checkpoint", 0
    trainer = broken_off(case, text, path, 2)
    while True:
        try:
            trainer.resume(text, callback=at(2, fail), checkpoint=path)
        except Boom:
            trainer, times = embedkit.load(path), times + 1
        else:
            break
    assert times >= 2
    assert bits(trainer.embedding_) == bits(wholes(case).embedding_)
    assert told(trainer) == told(wholes(case))


@every
def test_writing_checkpoints_all_the_time_changes_nothing(
    case: Case, text: EncodedCorpus, wholes: Callable[[Case], Trainer], tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint"
    trainer = case.make().fit(text, checkpoint=path, checkpoint_every=1e-9)
    assert bits(trainer.embedding_) == bits(wholes(case).embedding_)
    assert told(trainer) == told(wholes(case))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert bits(embedkit.load(path, verify=True).resume(text).embedding_) == bits(trainer.embedding_)


@every
def test_a_checkpoint_opens_as_what_was_learned_so_far(case: Case, text: EncodedCorpus, tmp_path: Path) -> None:
    trainer = broken_off(case, text, tmp_path / "checkpoint", 5)
    assert type(trainer) is type(case.make())
    assert {**case.make().get_params(), "alpha": 0, "engine": 0} == {**trainer.get_params(), "alpha": 0, "engine": 0}
    assert list(trainer.embedding_) == list(case.make(epochs=1).fit(text).embedding_)
    assert trainer.embedding_.width == 16
    assert trainer.transform(["king"]).vectors.any()
    epoch, unit = trainer.embedding_.provenance["unfinished"]
    assert (epoch, unit) > (0, 0)
    assert len(trainer.history_) == epoch
    json.dumps(trainer.embedding_.provenance, allow_nan=False)


@every
def test_the_corpus_may_be_read_from_a_file_and_encoded_again(
    case: Case, text: EncodedCorpus, wholes: Callable[[Case], Trainer], tmp_path: Path
) -> None:
    trainer = broken_off(case, kingdom(5000), tmp_path / "checkpoint")
    text.save(tmp_path / "text")
    assert bits(trainer.resume(embedkit.load(tmp_path / "text")).embedding_) == bits(wholes(case).embedding_)


def test_a_deterministic_training_may_go_on_with_other_threads(text: EncodedCorpus, tmp_path: Path) -> None:
    case = CASES["deterministic"]
    results = {bits(broken_off(case, text, tmp_path / "c", 2, workers=n).resume(text).embedding_) for n in (1, 2, 3, 8)}
    assert len(results) == 1


def test_what_is_saved_unfinished_can_be_gone_on_with(text: EncodedCorpus, tmp_path: Path) -> None:
    broken_off(word2vec, text, tmp_path / "checkpoint").save(tmp_path / "again")
    trainer = embedkit.load(tmp_path / "again").resume(text)
    assert bits(trainer.embedding_) == bits(word2vec.make().fit(text).embedding_)


# -- what is refused ---------------------------------------------------------------------------------------------------


@every
def test_another_corpus_is_refused(case: Case, text: EncodedCorpus, tmp_path: Path) -> None:
    documents = [list(document) for document in text]
    others = {
        "shorter": kingdom(4999),
        "other words": kingdom(5000, random_state=2),
        "renamed": Corpus([[word.replace("king", "kong") for word in document] for document in documents]),
    }
    for name, other in others.items():
        trainer = broken_off(case, text, tmp_path / "checkpoint")
        with pytest.raises(BadInput, match="the training was broken off on"):
            pytest.fail(f"{name}: {trainer.resume(other)}")
        assert bits(trainer.resume(text).embedding_)  # the right one still does


@pytest.mark.parametrize(
    ("case", "name", "value"),
    [
        pytest.param(word2vec, "window", 2, id="word2vec window"),
        pytest.param(word2vec, "vector_size", 32, id="word2vec vector_size"),
        pytest.param(word2vec, "epochs", 9, id="word2vec epochs"),
        pytest.param(word2vec, "random_state", 2, id="word2vec random_state"),
        pytest.param(glove, "eta", 0.5, id="glove eta"),
        pytest.param(glove, "distance_weighting", False, id="glove distance_weighting"),
        pytest.param(glove, "epochs", 9, id="glove epochs"),
    ],
)
def test_other_parameters_are_refused(case: Case, name: str, value: Any, text: EncodedCorpus, tmp_path: Path) -> None:
    trainer = broken_off(case, text, tmp_path / "checkpoint")
    with pytest.raises(BadInput, match=name):
        trainer.set_params(**{name: value}).resume(text)


def test_other_counts_of_the_same_words_are_refused(text: EncodedCorpus, tmp_path: Path) -> None:
    weighted, plain = (Cooccurrence.count(text, window=8, distance_weighting=flag) for flag in (True, False))
    trainer = broken_off(glove, weighted, tmp_path / "checkpoint")
    with pytest.raises(BadInput, match="not the counts"):
        trainer.resume(plain)


@every
def test_a_training_that_came_to_its_end_is_refused(case: Case, text: EncodedCorpus) -> None:
    with pytest.raises(BadInput, match="came to its end"):
        case.make().fit(text).resume(text)


@every
def test_a_checkpoint_of_a_training_that_was_stopped_is_refused(
    case: Case, text: EncodedCorpus, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint"
    stopped = case.make().fit(text, callback=at(3, lambda: True), checkpoint=path, checkpoint_every=1e-9)
    assert stopped.embedding_.provenance["stopped_early"] is True
    trainer = embedkit.load(path)
    assert trainer.embedding_.provenance["stopped_early"] is True
    with pytest.raises(BadInput, match="came to its end"):
        trainer.resume(text)


@every
def test_without_a_fit_there_is_nothing_to_go_on_with(case: Case, text: EncodedCorpus) -> None:
    with pytest.raises(NotFitted):
        case.make().resume(text)


@pytest.mark.parametrize("thing", [[["a", "b"]], "a b", None], ids=["list", "string", "none"])
@every
def test_what_is_no_corpus_is_refused(case: Case, thing: Any, text: EncodedCorpus, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="Corpus"):
        broken_off(case, text, tmp_path / "checkpoint").resume(thing)


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
@every
def test_a_time_between_checkpoints_that_makes_no_sense_is_refused(
    case: Case, seconds: float, text: EncodedCorpus, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="more than 0"):
        case.make().fit(text, checkpoint=tmp_path / "checkpoint", checkpoint_every=seconds)
    assert list(tmp_path.iterdir()) == []


def test_gensim_writes_no_checkpoints(text: EncodedCorpus, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no checkpoints: take engine='numba'"):
        word2vec.make(engine="gensim").fit(text, checkpoint=tmp_path / "checkpoint")
    trainer = word2vec.make(engine="gensim", epochs=1).fit(text)
    for verb, data in ((trainer.resume, text), (trainer.partial_fit, text), (trainer.save, tmp_path / "model")):
        with pytest.raises(BadInput, match="gensim"):
            verb(data)


# -- an earlier fit is left alone --------------------------------------------------------------------------------------


@every
def test_vectors_that_were_taken_before_going_on_do_not_change(case: Case, text: EncodedCorpus, tmp_path: Path) -> None:
    trainer = broken_off(case, text, tmp_path / "checkpoint")
    taken = trainer.embedding_
    before, norms = bits(taken), taken.norms.tolist()
    trainer.resume(text)
    assert bits(taken) == before
    assert taken.norms.tolist() == norms


@every
def test_a_resume_that_fails_leaves_the_trainer_as_it_was_and_can_be_tried_again(
    case: Case, text: EncodedCorpus, wholes: Callable[[Case], Trainer], tmp_path: Path
) -> None:
    trainer = broken_off(case, text, tmp_path / "checkpoint")
    taken, before, history = trainer.embedding_, bits(trainer.embedding_), list(trainer.history_)
    with pytest.raises(Boom):
        trainer.resume(text, callback=at(5, fail))
    assert trainer.embedding_ is taken
    assert (bits(taken), trainer.history_) == (before, history)
    assert bits(trainer.resume(text).embedding_) == bits(wholes(case).embedding_)


@every
def test_a_resume_that_fails_can_be_tried_again(
    case: Case, text: EncodedCorpus, wholes: Callable[[Case], Trainer], tmp_path: Path
) -> None:
    trainer = broken_off(case, text, tmp_path / "checkpoint")
    with pytest.raises(Boom):
        trainer.resume(text, callback=at(5, fail))
    assert bits(trainer.resume(text).embedding_) == bits(wholes(case).embedding_)
    assert told(trainer) == told(wholes(case))


@pytest.mark.parametrize("error", [Boom(), KeyboardInterrupt(), SystemExit(3)], ids=repr)
@every
def test_a_fit_that_fails_leaves_the_earlier_one_alone(case: Case, error: BaseException, text: EncodedCorpus) -> None:
    trainer = case.make(epochs=1).fit(text)
    before, kept, history = trainer.embedding_, bits(trainer.embedding_), list(trainer.history_)

    def throw() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        trainer.set_params(epochs=3).fit(kingdom(3000), callback=at(2, throw))
    assert caught.value is error
    assert trainer.embedding_ is before
    assert (bits(before), trainer.history_) == (kept, history)


# -- disks -------------------------------------------------------------------------------------------------------------


@every
def test_a_disk_that_is_full_leaves_the_last_checkpoint_whole(
    case: Case, text: EncodedCorpus, wholes: Callable[[Case], Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, writes, real = tmp_path / "checkpoint", 0, os.fsync

    def full_at_the_third(descriptor: int) -> None:
        nonlocal writes
        writes += 1
        if writes > 4:  # two a checkpoint: the file, and its folder
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full_at_the_third)
        with pytest.raises(BadFile, match="No space left on device") as caught:
            case.make().fit(text, checkpoint=path, checkpoint_every=1e-9)
    assert caught.value.path == str(path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert bits(embedkit.load(path, verify=True).resume(text).embedding_) == bits(wholes(case).embedding_)


@pytest.mark.parametrize("place", ["absent/checkpoint", ".", "file/checkpoint", "nul\0"])
@every
def test_a_checkpoint_that_cannot_be_written_is_told(
    case: Case, place: str, text: EncodedCorpus, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    trainer = case.make()
    with pytest.raises(BadFile, match="cannot be written"):
        trainer.fit(text, checkpoint=f"{tmp_path}/{place}", checkpoint_every=1e-9)
    assert not hasattr(trainer, "embedding_")


@every
def test_a_checkpoint_that_can_never_be_written_is_told_before_training(
    case: Case, text: EncodedCorpus, tmp_path: Path
) -> None:
    events: list[Progress] = []
    with pytest.raises(BadFile, match="cannot be written"):
        case.make().fit(text, checkpoint=tmp_path / "absent" / "checkpoint", callback=events.append)
    assert events == []


@pytest.mark.parametrize("number", [np.int64, np.int32])
@pytest.mark.parametrize(
    "case",
    [
        word2vec,
        pytest.param(
            glove,
        ),
    ],
    ids=["word2vec", "glove"],
)
def test_numbers_of_numpy_do_as_parameters(
    case: Case, number: Callable[[int], Any], text: EncodedCorpus, wholes: Callable[[Case], Trainer], tmp_path: Path
) -> None:
    trainer = broken_off(case, text, tmp_path / "c", vector_size=number(16), random_state=number(1), epochs=number(3))
    assert bits(trainer.resume(text).embedding_) == bits(wholes(case).embedding_)


# -- signals, in a process of its own ----------------------------------------------------------------------------------


def script(case: Case) -> str:
    """The source of a function that trains in a folder, or goes on there; see `through_kills` of conftest.py."""
    return textwrap.dedent(f"""
        from pathlib import Path
        import embedkit
        from embedkit import Word2Vec
        from embedkit.text.kingdom import kingdom
        from embedkit.words import GloVe, block_engine

        block_engine._SPAN = {FEW}
        text = kingdom(5000).encode()
        make = lambda: {case.source}
        make().set_params(epochs=1).fit(text)  # so that everything is compiled

        def train(folder, epochs=3, callback=None):
            path = Path(folder, "checkpoint")
            trainer = embedkit.load(path) if path.exists() else make().set_params(epochs=epochs)
            go_on = trainer.resume if path.exists() else trainer.fit
            go_on(text, checkpoint=path, checkpoint_every=0.005, callback=callback)
            trainer.embedding_.save(Path(folder, "done"))
        """)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("case", [CASES["skipgram"], glove], ids=["skipgram", "glove"])
def test_a_signal_ends_the_process_with_a_checkpoint_to_go_on_with(
    case: Case, number: int, code: int, text: EncodedCorpus, wholes: Callable[[Case], Trainer], tmp_path: Path
) -> None:
    # Without checkpoints on a timer, so that the one that is found is the signal's.
    source = script(case).replace("checkpoint_every=0.005", "checkpoint_every=1e9") + textwrap.dedent(f"""
        import time
        def slowly(event):
            print(event.epoch, event.done, flush=True)
            time.sleep(0.05)
        train({str(tmp_path)!r}, callback=slowly)
        """)
    process = subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        for _ in range(4):
            assert process.stdout.readline()
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code, errors
    assert ("KeyboardInterrupt" in errors) == (number == signal.SIGINT)
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint"]
    trainer = embedkit.load(tmp_path / "checkpoint", verify=True)
    assert trainer.embedding_.provenance["unfinished"] != [3, 0]
    assert bits(trainer.resume(text).embedding_) == bits(wholes(case).embedding_)


@every
def test_control_c_without_checkpoints_ends_the_training(case: Case, text: EncodedCorpus) -> None:
    trainer, threads = case.make(epochs=10_000), threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(text, callback=at(3, lambda: os.kill(os.getpid(), signal.SIGINT)))
    assert not hasattr(trainer, "embedding_")
    assert threading.active_count() == threads


@every
def test_in_a_thread_a_training_with_checkpoints_leaves_signals_alone(
    case: Case, text: EncodedCorpus, wholes: Callable[[Case], Trainer], tmp_path: Path
) -> None:
    trainer, handlers = case.make(), []
    during = at(3, lambda: handlers.append(signal.getsignal(signal.SIGTERM)))
    thread = threading.Thread(
        target=lambda: trainer.fit(text, callback=during, checkpoint=tmp_path / "c", checkpoint_every=1e-9)
    )
    thread.start()
    thread.join(60)
    assert handlers == [signal.getsignal(signal.SIGTERM)]
    assert bits(trainer.embedding_) == bits(wholes(case).embedding_)
    assert (tmp_path / "c").exists()


# -- kill -9 -----------------------------------------------------------------------------------------------------------


def kill(kills: int, case: Case, through_kills: Callable[..., Path], text: EncodedCorpus) -> None:
    epochs = 40 if case is glove else 12  # some tenths of a second
    source = script(case).replace("epochs=3, callback", f"epochs={epochs}, callback")
    made = embedkit.load(through_kills(source, kills, longest=0.15), verify=True)
    whole = case.make(epochs=epochs).fit(text)
    assert bits(made) == bits(whole.embedding_)
    losses = [[entry["loss"] for entry in history] for history in (made.provenance["history"], whole.history_)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == epochs


@every
def test_killed_some_times_it_ends_as_if_never_killed(
    case: Case, through_kills: Callable[..., Path], text: EncodedCorpus
) -> None:
    kill(3, case, through_kills, text)


@pytest.mark.slow
@every
def test_killed_twenty_times_it_ends_as_if_never_killed(
    case: Case, through_kills: Callable[..., Path], text: EncodedCorpus
) -> None:
    kill(20, case, through_kills, text)


# -- damaged files -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["word2vec", "glove"])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A checkpoint of some kilobytes."""
    case = word2vec if request.param == "word2vec" else glove
    broken_off(case, Corpus([["a", "b"]] * 5), tmp_path / "small", 1)
    return tmp_path / "small"


places = pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.slow)])


def refused(path: Path, verify: bool | None = None) -> bool:
    """Whether it is refused as a bad file; any other error comes through."""
    try:
        embedkit.load(path, verify=verify)
    except BadFile as error:
        named = error.path
    else:
        return False
    assert named == str(path)
    return True


@places
def test_a_flipped_byte_is_found(small: Path, step: int) -> None:
    whole = small.read_bytes()
    for place in range(0, len(whole), step):
        small.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        assert refused(small), f"byte {place} of {len(whole)}"


@places
def test_a_cut_is_found(small: Path, step: int) -> None:
    whole = small.read_bytes()
    for length in range(0, len(whole), step):
        small.write_bytes(whole[:length])
        assert refused(small, False), f"cut to {length} of {len(whole)} bytes"


Change = Callable[[dict[str, Any], dict[str, Any]], object]  # of arrays and of the description


def described(*path: str, value: Any) -> Change:
    def change(_: dict[str, Any], about: dict[str, Any]) -> None:
        for name in path[:-1]:
            about = about[name]
        about[path[-1]] = value

    return change


def array(name: str, made: Callable[[Any], Any]) -> Change:
    def change(arrays: dict[str, Any], _: dict[str, Any]) -> None:
        name_here = name if name in arrays else {"inputs": "rows", "outputs": "columns"}[name]
        arrays[name_here] = made(np.array(arrays[name_here]))

    return change


REFUSED: dict[str, Change] = {
    "no run": lambda _, about: about.pop("run"),
    "no parameters": lambda _, about: about.pop("parameters"),
    "no counts": lambda arrays, _: arrays.pop("counts"),
    "no words": lambda arrays, _: arrays.pop("labels"),
    "run of lists": described("run", value=["ab"]),
    "run of nothing": described("run", value=None),
    "position too short": described("run", "position", value=[1]),
    "parameters of lists": described("parameters", value=[]),
    "unknown parameter": described("parameters", "nonsense", value=1),
    "width of another": described("parameters", "vector_size", value=32),
    "width as text": described("parameters", "vector_size", value="16"),
    "no width": described("parameters", "vector_size", value=0),
    "table cut": array("inputs", lambda table: table[:-1].copy()),
    "table of doubles": array("inputs", lambda table: table.astype(np.float64)),
    "table of not-a-numbers": array("inputs", lambda table: table * np.float32(np.nan)),
    "other table infinite": array("outputs", lambda table: table + np.float32(np.inf)),
    "counts that rise": array("counts", lambda counts: counts + np.arange(len(counts))),
    "counts cut": array("counts", lambda counts: counts[:-1].copy()),
}
SUBTLE: dict[str, Change] = {
    "run of text": described("run", value="abc"),
    "position before the beginning": described("run", "position", value=[-1, 0]),
    "position of fractions": described("run", "position", value=[0.5, 0]),
    "position beyond the end": described("run", "position", value=[0, 10**9]),
    "history of numbers": described("run", "history", value=5),
    "sums of text": described("run", "sums", value=["x"]),
    "too few sums": described("run", "sums", value=[1.0]),
    "seconds of text": described("run", "seconds", value="x"),
    "no seed": described("parameters", "random_state", value=None),
    "words twice": array("labels", lambda blob: np.where(blob == ord("b"), np.uint8(ord("a")), blob)),
}


@pytest.mark.parametrize(
    "change",
    [
        *(pytest.param(change, id=name) for name, change in REFUSED.items()),
        *(
            pytest.param(
                change,
                id=name,
            )
            for name, change in SUBTLE.items()
        ),
    ],
)
def test_a_file_that_is_whole_but_makes_no_sense_is_refused(small: Path, change: Change) -> None:
    arrays, about = read_tensors(small)
    arrays, about = dict(arrays), {name: value for name, value in about.items() if name not in ("sha256", "schema")}
    change(arrays, about)
    write_tensors(arrays, about, small)
    assert refused(small, verify=True)
