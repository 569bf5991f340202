"""When a training writes its checkpoints, and what becomes of the signals that would end it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from embedkit.errors import BadFile, BadInput, TrainingDiverged


class Checkpoints:
    """When to write checkpoints.

    Parameters
    ----------
    write
        Writes one, of the training that it is given.
    every
        Seconds between two of them.
    path
        The file that `write` replaces, for those who are told of it.
    """

    def __init__(self, write: Callable[[Any], None], every: float, path: str | os.PathLike[str] = "") -> None:
        if not every > 0:
            raise BadInput(f"checkpoints are written every so many seconds, more than 0, not {every}")
        self.write, self.every, self.path = write, every, path
        self._last = time.monotonic()
        self._written = False

    def due(self) -> bool:
        """Whether it is time."""
        return time.monotonic() - self._last >= self.every

    def now(self, run: Any) -> None:
        """Write one."""
        try:
            self.write(run)
        except BadFile as error:
            if not self._written:
                raise
            age = time.monotonic() - self._last
            kept = f"the checkpoint of {age:.0f} s before is there still, to go on from with resume"
            raise BadFile(error.path, f"{error.reason}; {kept}", error.place) from error
        self._last = time.monotonic()
        self._written = True

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """Have an error that ends the training say where the last checkpoint is, if there is one."""
        try:
            yield
        except TrainingDiverged as error:
            if self._written and self.path:
                error.args = (f"{error.args[0]}; the last good checkpoint is {os.fspath(self.path)}",)
            raise
        except BaseException as error:
            if self._written and self.path:
                error.add_note(f"embedkit: the last checkpoint is {os.fspath(self.path)}")
            raise


@contextlib.contextmanager
def noted_signals(checkpoints: Checkpoints | None) -> Iterator[list[int]]:
    """Let SIGINT and SIGTERM be noted, so that a training with checkpoints ends at a position.

    The second signal does what it always does.
    """
    received: list[int] = []
    if checkpoints is None or threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def note(number: int, _frame: object) -> None:
        received.append(number)
        restore()

    for number in before:
        signal.signal(number, note)
    try:
        yield received
    finally:
        restore()


def obey(received: list[int]) -> None:
    """End the training if a signal says so; the checkpoint is written on the way out."""
    if received:
        raise KeyboardInterrupt if received[0] == signal.SIGINT else SystemExit(128 + received[0])
