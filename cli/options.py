"""Options and arguments that several commands share."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from embedkit import Embedding
from embedkit.errors import BadFile, printable
from embedkit.formats.reading import read
from embedkit.search.engine import DEVICES

_Function = TypeVar("_Function", bound=Callable[..., Any])


def vectors_option(function: _Function) -> _Function:
    """``-m/--vectors FILE``: which vectors; `open_vectors` opens them."""
    return click.option(
        "-m",
        "--vectors",
        envvar="EMBEDKIT_VECTORS",
        type=click.Path(path_type=Path),
        help="File of vectors, of any format that convert reads; by default $EMBEDKIT_VECTORS, else the vectors that "
        "ship with embedkit.",
    )(function)


def device_option(function: _Function) -> _Function:
    """``--device``: what computes."""
    return click.option(
        "--device",
        type=click.Choice(DEVICES),
        default="auto",
        help="What computes: numpy, or torch on a CPU or GPU; auto takes a GPU for large batches.",
    )(function)


def ignore_case_option(function: _Function) -> _Function:
    """``--ignore-case``: other capitals will do."""
    return click.option(
        "--ignore-case", is_flag=True, help="Take a word in other capitals where the exact one is unknown."
    )(function)


def open_vectors(path: Path | None) -> Embedding:
    """The vectors at `path`, or the shipped ones."""
    if path is not None:
        return read_vectors(path)
    from embedkit import pretrained

    return pretrained.load()


def read_vectors(path: Path, **how: Any) -> Embedding:
    """The vectors in a file of any format (see `embedkit.read`), what it warns of being said on stderr."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            made = read(path, **how)
        except BadFile as error:
            from .hints import helped

            raise helped(error, path, "vectors") from error
    for warning in caught:
        if warning.category is UserWarning:
            click.echo(f"embedkit: warning: {printable(str(warning.message))}", err=True)
    return made
