"""One stream of events about a running training, which feeds the bar, the log and a callback alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Progress:
    """How far a training has come.

    Attributes
    ----------
    epoch, epochs
        The epoch under way, from 1, of how many.
    done, total
        Units worked through in this epoch, and how many it has; 0 where that is not known.
    unit
        What is counted (``"words"``).
    loss
        Mean loss of this epoch so far; NaN before the first, or where nothing is trained.
    seconds
        Time this epoch has taken so far.
    """

    epoch: int
    epochs: int
    done: int
    total: int
    unit: str
    loss: float
    seconds: float


# What it returns ends the training, if it is true.
Callback: TypeAlias = Callable[[Progress], object]


def bar(description: str) -> Callback:
    """A callback that draws a progress bar on stderr, one line an epoch; nothing where stderr is no terminal.

    Parameters
    ----------
    description
        What stands before the bar.
    """
    from tqdm import tqdm

    current: tqdm[Any] | None = None
    epoch = 0

    def draw(event: Progress) -> None:
        nonlocal current, epoch
        if current is None or event.epoch != epoch:
            if current is not None:
                current.close()
            epoch = event.epoch
            text = description if event.epochs == 1 else f"{description} {event.epoch}/{event.epochs}"
            current = tqdm(total=event.total or None, desc=text, unit=f" {event.unit}", unit_scale=True, disable=None)
        if event.loss == event.loss:
            current.set_postfix(loss=f"{event.loss:.4f}", refresh=False)
        current.update(event.done - current.n)
        if 0 < event.total <= event.done:
            current.close()

    return draw


def each_epoch(say: Callable[[str], None]) -> Callback:
    """A callback that gives `say` one line at the end of each epoch: its loss, its seconds and its speed.

    Parameters
    ----------
    say
        Takes a line of text: ``logging.getLogger("my").info``, ``print``, ...

    Examples
    --------
    >>> tell = each_epoch(print)
    >>> tell(Progress(epoch=1, epochs=5, done=50, total=100, unit="words", loss=2.0, seconds=1.0))
    >>> tell(Progress(epoch=1, epochs=5, done=100, total=100, unit="words", loss=1.5, seconds=2.0))
    epoch 1/5: loss 1.5000, 2.0 s, 50 words/s
    """

    def tell(event: Progress) -> None:
        if 0 < event.total <= event.done:
            speed = f"{event.done / event.seconds:,.0f} {event.unit}/s"
            loss = f"loss {event.loss:.4f}, " if event.loss == event.loss else ""
            say(f"epoch {event.epoch}/{event.epochs}: {loss}{event.seconds:.1f} s, {speed}")

    return tell
