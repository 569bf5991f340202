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
        Units worked through in this epoch, and how many it has.
    unit
        What is counted (``"words"``).
    loss
        Mean loss of this epoch so far; NaN before the first.
    """

    epoch: int
    epochs: int
    done: int
    total: int
    unit: str
    loss: float


Callback: TypeAlias = Callable[[Progress], None]


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
            text = f"{description} {event.epoch}/{event.epochs}"
            current = tqdm(total=event.total, desc=text, unit=f" {event.unit}", unit_scale=True, disable=None)
        current.set_postfix(loss=f"{event.loss:.4f}", refresh=False)
        current.update(event.done - current.n)
        if event.done >= event.total:
            current.close()

    return draw
