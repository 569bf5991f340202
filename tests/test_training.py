"""The loop that trainers run in, with work that is only noted: order, rest at checkpoints, interruption, signals."""

from __future__ import annotations

import copy
import math
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from embedkit.errors import BadInput
from embedkit.progress import Progress
from embedkit.words.training import Checkpoints, Position, Run, train

UNITS, EPOCHS = 12, 3
Unit = tuple[int, int]  # epoch, unit


class Boom(Exception):
    pass


class Job:
    """Notes what was worked on; the sum of unit u of epoch e is a number whose additions do not commute in float64."""

    def __init__(self, at: dict[Unit, Callable[[], object]] | None = None, delays: bool = False) -> None:
        self.at, self.delays = at or {}, delays
        self.done: set[Unit] = set()
        self.working = 0
        self.lock = threading.Lock()

    def work(self, epoch: int, first: int, last: int) -> npt.NDArray[np.float64]:
        with self.lock:
            self.working += 1
        if self.delays:
            time.sleep(random.Random(epoch * UNITS + first).random() * 0.003)  # noqa: S311  # not for secrets
        for unit in range(first, last):
            self.at.get((epoch, unit), bool)()
        with self.lock:
            new = {(epoch, unit) for unit in range(first, last)}
            assert not new & self.done, "a unit is worked on twice"
            self.done |= new
            self.working -= 1
        return np.array([sum(1 / (1 + epoch * UNITS + unit) for unit in range(first, last)), last - first])


def entry(sums: npt.NDArray[np.float64]) -> dict[str, Any]:
    return {"loss": float(sums[0]) if len(sums) else None, "units": int(sums[1]) if len(sums) else 0}


def go(
    job: Job, run: Run | None = None, *, callback: Callable[[Progress], object] | None = None,
    checkpoints: Checkpoints | None = None, workers: int = 1, units: int = UNITS, span: int = 1,
) -> Run:  # fmt: skip
    run = run or Run()
    train(run, job.work, entry, units=units, span=span, epochs=EPOCHS, workers=workers, unit="words", size=100 * units,
          callback=callback, checkpoints=checkpoints)  # fmt: skip
    return run


def before(position: Position) -> set[Unit]:
    return {(e, u) for e in range(EPOCHS) for u in range(UNITS) if (e, u) < tuple(position)}


def told(run: Run) -> list[Any]:
    """The history without what the clock says."""
    return [(entry["epoch"], entry["loss"], entry["units"]) for entry in run.history]


ALL = before(Position(EPOCHS, 0))
every_number_of_workers = pytest.mark.parametrize("workers", [1, 2, 5])


# -- order and sums ----------------------------------------------------------------------------------------------------


@every_number_of_workers
@pytest.mark.parametrize("span", [1, 5, UNITS, 100])
def test_every_unit_is_worked_on_once_and_added_up_in_order(workers: int, span: int) -> None:
    job = Job(delays=True)
    run = go(job, workers=workers, span=span)
    assert job.done == ALL
    assert told(run) == told(go(Job(), span=span))  # to the last bit, whoever was first
    assert run.position == (EPOCHS, 0)
    assert not run.stopped
    for number, line in enumerate(run.history):
        assert (line["epoch"], line["units"]) == (number + 1, UNITS)
        assert line["words_per_second"] == pytest.approx(100 * UNITS / line["seconds"])
    exact = math.fsum(1 / (1 + unit) for unit in range(UNITS))
    assert run.history[0]["loss"] == pytest.approx(exact, rel=1e-15)


def test_threads_work_side_by_side_but_no_more_than_asked_for() -> None:
    meeting = threading.Barrier(3, timeout=30)  # broken unless three are there at once
    job = Job({(0, unit): meeting.wait for unit in range(3)})
    most = 0

    def watch(_: Progress) -> None:
        nonlocal most
        most = max(most, job.working)

    go(job, workers=3, callback=watch)
    assert job.done == ALL
    assert most <= 3


def test_an_epoch_of_nothing_has_an_entry() -> None:
    events: list[Progress] = []
    run = go(Job(), units=0, callback=events.append)
    assert told(run) == [(1, None, 0), (2, None, 0), (3, None, 0)]
    assert all(entry["words_per_second"] == 0 for entry in run.history)
    assert events == []


def test_what_is_at_its_end_is_not_worked_on_again() -> None:
    run = go(Job())
    again = copy.deepcopy(run)
    job = Job()
    go(job, again)
    assert job.done == set()
    assert again == run


# -- progress ----------------------------------------------------------------------------------------------------------


@every_number_of_workers
def test_progress_rises_to_the_total_in_every_epoch(workers: int) -> None:
    events: list[Progress] = []
    run = go(Job(delays=True), workers=workers, span=5, callback=events.append)
    for epoch in range(1, EPOCHS + 1):
        mine = [event for event in events if event.epoch == epoch]
        assert [event.done for event in mine] == [500, 1000, 1200]
        assert mine[-1].loss == run.history[epoch - 1]["loss"]
        assert [event.seconds for event in mine] == sorted(event.seconds for event in mine)
    assert {(event.total, event.epochs, event.unit) for event in events} == {(1200, EPOCHS, "words")}


def test_progress_reaches_the_total_amid_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    started = threading.Event()
    events: list[Progress] = []

    def callback(event: Progress) -> None:
        if event.done == 1000:  # of the unit before the last: wait until the last is under way
            assert started.wait(30)
        events.append(event)

    checkpoints = Checkpoints(lambda _: None, 1e9)
    monkeypatch.setattr(checkpoints, "due", lambda: bool(events) and events[-1].done == 1000)
    go(Job({(0, UNITS - 1): started.set}), callback=callback, checkpoints=checkpoints, workers=2)
    assert max(event.done for event in events if event.epoch == 1) == 1200


# -- ended from within -------------------------------------------------------------------------------------------------


@every_number_of_workers
@pytest.mark.parametrize("at", [1, UNITS, UNITS + 3])
def test_a_callback_that_returns_true_ends_it_with_what_was_done(workers: int, at: int) -> None:
    job, calls = Job(delays=True), 0

    def callback(_: Progress) -> bool:
        nonlocal calls
        calls += 1
        return calls == at

    run = go(job, workers=workers, callback=callback)
    assert run.stopped
    assert calls == at  # not asked again
    assert job.working == 0
    assert at <= len(job.done) <= at + workers
    assert sum(entry["units"] for entry in run.history) == len(job.done)
    assert len(run.history) == (at - 1) // UNITS + 1


@every_number_of_workers
@pytest.mark.parametrize("error", [Boom("enough"), SystemExit(3), KeyboardInterrupt()])
def test_an_exception_in_the_callback_comes_through_with_nothing_under_way(error: BaseException, workers: int) -> None:
    job, run, calls = Job(delays=True), Run(), 0

    def callback(_: Progress) -> None:
        nonlocal calls
        calls += 1
        if calls == UNITS + 3:
            raise error

    with pytest.raises(type(error)) as caught:
        go(job, run, workers=workers, callback=callback)
    assert caught.value is error
    assert job.working == 0
    assert job.done == before(run.position)
    go(job, run, workers=workers)  # and it goes on from there
    assert job.done == ALL
    assert told(run) == told(go(Job()))


@every_number_of_workers
@pytest.mark.parametrize("at", [(0, 0), (1, 5), (2, UNITS - 1)])
def test_an_exception_in_a_thread_comes_through_and_no_more_checkpoints_are_written(at: Unit, workers: int) -> None:
    def fail() -> None:
        raise Boom(f"unit {at}")

    job, written = Job({at: fail}, delays=True), list[Position]()
    threads = threading.active_count()
    with pytest.raises(Boom, match="unit"):
        go(job, workers=workers, checkpoints=Checkpoints(lambda run: written.append(run.position), 1e9))
    assert written == [Position(0, 0)]  # what the tables are now is of no position
    assert at not in job.done
    assert len(job.done) < len(before(Position(*at))) + workers + 1
    assert threading.active_count() == threads


# -- checkpoints -------------------------------------------------------------------------------------------------------


@every_number_of_workers
def test_a_checkpoint_is_of_one_position_and_any_of_them_can_be_gone_on_with(workers: int) -> None:
    job, kept = Job(delays=True), []

    def write(run: Run) -> None:
        time.sleep(0.001)  # threads that were still at work would go on here
        assert job.working == 0
        assert job.done == before(run.position)
        kept.append(copy.deepcopy(run))

    whole = go(job, workers=workers, checkpoints=Checkpoints(write, 1e-9))
    assert len(kept) >= EPOCHS * UNITS // (workers + 2)
    for run in kept:
        rest = Job()
        rest.done = before(run.position)
        assert told(go(rest, run, workers=workers)) == told(whole)
        assert rest.done == ALL


@pytest.mark.parametrize(("every", "due"), [(1e9, False), (1e-9, True)])
def test_a_checkpoint_is_written_before_the_training_and_then_when_they_are_due(every: float, due: bool) -> None:
    written: list[Position] = []
    go(Job(), checkpoints=Checkpoints(lambda run: written.append(run.position), every))
    assert written[0] == Position(0, 0)
    assert (len(written) > EPOCHS) is due
    assert due or len(written) == 1


def test_the_clock_of_checkpoints_begins_anew_after_each(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    checkpoints = Checkpoints(lambda _: None, 60)
    moments = [(1059.0, False), (1060.0, True), (1100.0, True), (1101.0, False), (1159.0, False), (1160.0, True)]
    for now, due in moments:
        assert checkpoints.due() == due
        if now == 1100.0:
            checkpoints.now(Run())


@pytest.mark.parametrize("every", [0, -1, math.nan])
def test_a_time_between_checkpoints_that_makes_no_sense_is_refused(every: float) -> None:
    with pytest.raises(BadInput, match="more than 0"):
        Checkpoints(lambda _: None, every)


def test_a_checkpoint_that_cannot_be_written_ends_the_training_with_the_reason() -> None:
    def write(_: Run) -> None:
        raise Boom("disk full")

    job = Job()
    with pytest.raises(Boom, match="disk full"):
        go(job, checkpoints=Checkpoints(write, 1e-9))
    assert job.working == 0


def test_a_checkpoint_is_written_when_a_callback_raises() -> None:
    written: list[Position] = []

    def callback(_: Progress) -> None:
        raise Boom

    with pytest.raises(Boom):
        go(Job(), callback=callback, checkpoints=Checkpoints(lambda run: written.append(run.position), 1e9))
    assert len(written) == 2
    assert written[0] < written[1]


# -- signals -----------------------------------------------------------------------------------------------------------

SIGNALS = [
    pytest.param(signal.SIGINT, KeyboardInterrupt, None, id="SIGINT"),
    pytest.param(signal.SIGTERM, SystemExit, 143, id="SIGTERM"),
]


@pytest.fixture
def received() -> Iterator[list[int]]:
    """What comes through to handlers that were there before the training."""
    got: list[int] = []
    old = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in old:
        signal.signal(number, lambda number, _: got.append(number))
    yield got
    for number, handler in old.items():
        signal.signal(number, handler)


def press(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "error", "code"), SIGNALS)
@pytest.mark.parametrize("at", [(0, 0), (1, 5), (EPOCHS - 1, UNITS - 1)])
@every_number_of_workers
def test_a_signal_ends_the_training_at_a_checkpoint(
    number: int, error: type[BaseException], code: int | None, at: Unit, workers: int, received: list[int]
) -> None:
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    job, kept = Job({at: press(number)}, delays=True), []
    with pytest.raises(error) as caught:
        go(job, workers=workers, checkpoints=Checkpoints(lambda run: kept.append(copy.deepcopy(run)), 1e9))
    assert getattr(caught.value, "code", None) == code
    assert received == []  # it was noted, the old handler was not called
    _, run = kept  # the first is from before the training
    assert before(run.position) == job.done
    assert len(job.done) <= len(before(Position(*at))) + 2 * workers + 2
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    job.at = {}
    assert told(go(job, run)) == told(go(Job()))


@pytest.mark.parametrize(("number", "error", "code"), SIGNALS)
def test_a_signal_during_the_last_checkpoint_is_not_swallowed(
    number: int, error: type[BaseException], code: int | None, received: list[int]
) -> None:
    def write(run: Run) -> None:
        if run.position == (EPOCHS - 1, UNITS) and not pressed:
            pressed.append(number)
            press(number)()

    pressed: list[int] = []
    with pytest.raises(error) as caught:
        go(Job(), checkpoints=Checkpoints(write, 1e-9))
    assert getattr(caught.value, "code", None) == code
    assert received == []


def test_the_second_signal_does_what_it_always_does(received: list[int]) -> None:
    earlier = signal.getsignal(signal.SIGTERM)

    def twice() -> None:
        press(signal.SIGTERM)()
        deadline = time.monotonic() + 30
        while signal.getsignal(signal.SIGTERM) is not earlier and time.monotonic() < deadline:
            time.sleep(0.001)
        press(signal.SIGTERM)()
        press(signal.SIGINT)()

    written: list[Run] = []
    with pytest.raises(SystemExit):
        go(Job({(1, 3): twice}), checkpoints=Checkpoints(written.append, 1e9))
    assert sorted(received) == [signal.SIGINT, signal.SIGTERM]
    assert len(written) == 2


@pytest.mark.parametrize("how", ["to its end", "stopped", "callback", "thread", "checkpoint"])
def test_handlers_are_as_before_afterwards(how: str, received: list[int]) -> None:
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    during: list[Any] = []

    def fail(*_: object) -> None:
        raise Boom

    def callback(_: Progress) -> bool:
        during.append(signal.getsignal(signal.SIGTERM))
        if how == "callback":
            fail()
        return how == "stopped"

    job = Job({(1, 3): fail} if how == "thread" else {})

    def write(_: Run) -> None:
        if during:  # the first is written before the training
            fail()

    checkpoints = Checkpoints(write, 1e-9) if how == "checkpoint" else Checkpoints(lambda _: None, 1e9)
    if how in ("to its end", "stopped"):
        go(job, callback=callback, checkpoints=checkpoints)
    else:
        with pytest.raises(Boom):
            go(job, callback=callback, checkpoints=checkpoints)
    assert during
    assert handlers[1] not in during
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def test_without_checkpoints_signals_are_left_alone(received: list[int]) -> None:
    job = Job({(1, 3): press(signal.SIGTERM)})
    go(job)
    assert received == [signal.SIGTERM]
    assert job.done == ALL


def test_outside_of_the_main_thread_signals_are_left_alone(received: list[int]) -> None:
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    during: list[Any] = []
    written: list[Run] = []

    def in_thread() -> None:
        go(
            Job(),
            callback=lambda _: during.append((signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))),
            checkpoints=Checkpoints(written.append, 1e-9),
        )

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert set(during) == {handlers}
    assert written
