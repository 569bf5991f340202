"""What the commands of `embedkit train` share: checkpoints, going on with them, and what is told meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from embedkit.progress import Progress

_Function = TypeVar("_Function", bound=Callable[..., Any])


def together(*options: Callable[[Any], Any]) -> Callable[[_Function], _Function]:
    """Several options as one decorator."""

    def decorate(function: _Function) -> _Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


checkpoint_options = together(
    click.option("--checkpoint", default=None, type=click.Path(path_type=Path),
                 help="File for the state of the training, kept up to date and when it is broken off."),
    click.option("--checkpoint-every", default=300.0, help="Seconds between two checkpoints."),
    click.option("--resume", is_flag=True, help="Go on where --checkpoint left off."),
)  # fmt: skip


def check_resume(checkpoint: Path | None, resume: bool) -> None:
    """Refuse, before anything is read, options that do not go together."""
    if checkpoint is None and resume:
        raise click.UsageError("--resume needs --checkpoint FILE")
    if checkpoint is not None and checkpoint.exists() and not resume:
        raise click.UsageError(f"{checkpoint} is there: add --resume to go on from it, or remove it")


def trained(
    trainer: Any, data: Any, checkpoint: Path | None, every: float | None, resume: bool, free: tuple[str, ...] = ()
) -> Any:
    """The trainer, or that of the checkpoint, trained on `data` while its progress is told.

    Parameters
    ----------
    trainer
        With the parameters that were asked for.
    data
        A corpus, or rows.
    checkpoint, every, resume
        The options of `checkpoint_options`; `every` is `None` for trainers that write none.
    free
        Names of the parameters with which a training may go on differently.
    """
    callback = watch(type(trainer).__name__)
    if every is None:  # it writes no checkpoints
        return trainer.fit(data, callback=callback)
    kept = {"callback": callback, "checkpoint": checkpoint, "checkpoint_every": every}
    try:
        if checkpoint is None or not checkpoint.exists():
            return trainer.fit(data, **kept)
        return _resumed(trainer, checkpoint, free).resume(data, **kept)
    except (KeyboardInterrupt, SystemExit):
        if checkpoint is not None:
            click.echo(f"{checkpoint} holds what was done: the same command with --resume goes on", err=True)
        raise


def _resumed(asked: Any, checkpoint: Path, free: tuple[str, ...]) -> Any:
    """The trainer of the checkpoint, if it is the one that was asked for."""
    from embedkit import load
    from embedkit.errors import BadFile

    found = load(checkpoint)
    if type(found) is not type(asked):
        raise BadFile(checkpoint, f"is the checkpoint of a {type(found).__name__}, not of a {type(asked).__name__}")
    before, usual = found.get_params(), type(asked)().get_params()
    for name, value in asked.get_params().items():
        if name in free:
            found.set_params(**{name: value})
        elif value not in (usual[name], before[name]):
            raise BadFile(checkpoint, f"was made with {name}={before[name]!r}, not {value!r}: leave that option out")
    return found


def watch(name: str) -> Callable[[Progress], None]:
    """A bar on a terminal, and a line an epoch."""
    from embedkit.progress import bar, each_epoch

    draw, tell = bar(name), each_epoch(lambda line: click.echo(line, err=True))

    def callback(event: Progress) -> None:
        draw(event)
        tell(event)

    return callback
