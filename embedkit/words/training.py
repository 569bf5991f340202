"""The loop that the trainers run in: spans of work on threads, what is told of them, checkpoints, interruption.

An epoch is so many units (chunks of text, segments of counts), worked through in spans. Threads work on spans side by
side; they are accounted for in their order, so that at any moment everything before a `Position` is done. Before a
checkpoint is written all threads come to rest: the tables are then those of that position and of no other.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput
from embedkit.files.checkpoints import Checkpoints as Checkpoints
from embedkit.files.checkpoints import noted_signals, obey
from embedkit.progress import Callback, Progress

Doubles = npt.NDArray[np.float64]
Work = Callable[[int, int, int], Doubles]  # epoch, first unit, last unit: sums to be added up
Entry = Callable[[Doubles], dict[str, Any]]


class Position(NamedTuple):
    """How far a training is: whole epochs, and units of the one under way."""

    epoch: int
    unit: int


@dataclass
class Run:
    """A training under way, or at its end; what of it must be kept to go on.

    Attributes
    ----------
    position
        Up to where everything is done.
    units
        How many units an epoch has.
    sums
        What was added up in the epoch under way.
    seconds
        What that took.
    history
        The epochs that are done.
    stopped
        Whether a callback ended it.
    """

    position: Position = field(default_factory=lambda: Position(0, 0))
    units: int = 0
    sums: list[float] = field(default_factory=list)
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    stopped: bool = False

    @classmethod
    def from_json(cls, record: dict[str, Any], epochs: int, sums: int) -> Run:
        """What ``asdict`` made of one, checked.

        Parameters
        ----------
        record
            From a file.
        epochs, sums
            How many epochs there can be, and how many sums.

        Raises
        ------
        BadInput
            It makes no sense.
        """
        run = cls(**{**record, "position": Position(*record["position"])})
        whole = all(type(n) is int and n >= 0 for n in (*run.position, run.units))
        if not whole or run.position.epoch > epochs or run.position.unit > run.units:
            raise BadInput("how far the training is, its file does not say rightly")
        if len(run.history) < run.position.epoch or (run.position.unit and len(run.sums) != sums):
            raise BadInput("how far the training is, its file does not say rightly")
        if not all(isinstance(entry, dict) for entry in run.history):
            raise BadInput("its history is none")
        if not all(type(n) in (int, float) for n in (*run.sums, run.seconds)):
            raise BadInput("its sums are no numbers")
        return run


def train(
    run: Run,
    work: Work,
    entry: Entry,
    *,
    units: int,
    span: int,
    epochs: int,
    workers: int,
    unit: str,
    size: int,
    callback: Callback | None,
    checkpoints: Checkpoints | None = None,
) -> None:
    """Work through all epochs, from where `run` stands.

    Parameters
    ----------
    run
        Is kept up to date, whatever happens.
    work
        Called by the threads with an epoch and a span of units, from 0; what it returns is added up.
    entry
        What the history says of an epoch with these sums; ``loss`` is shown as it goes.
    units, span
        Units in an epoch, and how many a thread takes at a time.
    epochs, workers
        How many epochs and threads.
    unit, size
        What is counted for those who watch, and how many there are in an epoch.
    callback
        Called with a `Progress` after each span; if it returns true, the training ends there.
    checkpoints
        When to write them; one is written too when SIGINT or SIGTERM arrives (in the main thread), or a callback raises
        an exception.

    Raises
    ------
    KeyboardInterrupt, SystemExit
        The signal, once the checkpoint is written.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="embedkit") as pool, noted_signals(checkpoints) as received:
        run.units = units
        told = partial(_tell, callback=callback, epochs=epochs, units=units, unit=unit, size=size, entry=entry)
        if checkpoints is not None:
            checkpoints.now(run)  # that it cannot be written is better found out now
        try:
            while run.position.epoch < epochs and not run.stopped:
                _epoch(run, pool, work, entry, units, span, workers, unit, size, told, checkpoints, received)
        except _WorkFailed as error:  # the tables are of no position: the last checkpoint stays
            raise error.reason from None
        except BaseException:
            if checkpoints is not None:
                checkpoints.now(run)
            raise


class _WorkFailed(Exception):
    """A thread raised an exception."""

    def __init__(self, reason: BaseException) -> None:
        self.reason = reason


def _tell(
    run: Run, *, callback: Callback | None, epochs: int, units: int, unit: str, size: int, entry: Entry
) -> None:  # fmt: skip
    if callback is None:
        return
    loss = entry(np.array(run.sums)).get("loss")
    done = size * run.position.unit // units
    shown = float("nan") if loss is None else loss
    run.stopped = bool(callback(Progress(run.position.epoch + 1, epochs, done, size, unit, shown, run.seconds)))


def _epoch(
    run: Run, pool: ThreadPoolExecutor, work: Work, entry: Entry, units: int, span: int, workers: int, unit: str,
    size: int, told: Callable[[Run], None], checkpoints: Checkpoints | None, received: list[int],
) -> None:  # fmt: skip
    begin = time.perf_counter() - run.seconds
    while run.position.unit < units and not run.stopped:
        shown = run.position
        with contextlib.closing(_accounted(run, pool, work, units, span, workers)) as accounted:
            for _ in accounted:
                run.seconds = time.perf_counter() - begin
                told(run)
                shown = run.position
                if run.stopped or received or (checkpoints is not None and checkpoints.due()):
                    break
        if run.position != shown and not run.stopped:  # what was still under way has come to its end
            run.seconds = time.perf_counter() - begin
            told(run)
        obey(received)
        if checkpoints is not None and checkpoints.due():
            checkpoints.now(run)
            obey(received)
    run.seconds = time.perf_counter() - begin
    speed = size * run.position.unit / max(units, 1) / run.seconds if run.seconds else 0.0
    about = {**entry(np.array(run.sums)), "seconds": run.seconds, f"{unit}_per_second": speed}
    run.history.append({"epoch": run.position.epoch + 1, **about})
    run.position, run.sums, run.seconds = Position(run.position.epoch + 1, 0), [], 0.0


def _accounted(run: Run, pool: ThreadPoolExecutor, work: Work, units: int, span: int, workers: int) -> Generator[None]:
    """Have spans worked on, and account for them in order; when this ends, for whatever reason, none is under way."""
    waiting: deque[tuple[int, Future[Doubles]]] = deque()
    epoch, next_ = run.position

    def account() -> None:
        last, future = waiting.popleft()
        try:
            sums = future.result().tolist()
        except BaseException as error:
            for _, other in waiting:
                other.cancel()
            wait([other for _, other in waiting])
            waiting.clear()
            raise _WorkFailed(error) from error
        run.sums = [a + b for a, b in zip(run.sums or [0.0] * len(sums), sums, strict=True)]
        run.position = Position(epoch, last)

    try:
        while next_ < units or waiting:
            while next_ < units and len(waiting) < workers + 1:
                last = min(units, next_ + span)
                waiting.append((last, pool.submit(work, epoch, next_, last)))
                next_ = last
            account()
            yield
    finally:
        while waiting and waiting[-1][1].cancel():
            waiting.pop()
        while waiting:
            account()
