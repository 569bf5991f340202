"""``--min``: the quality below which a command fails."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import click

from . import OK, QUALITY_MISSED, complain

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Minimum(NamedTuple):
    """What must be reached: by the set or section `name`, or by every set for `None`."""

    name: str | None
    value: float


class Figure(NamedTuple):
    """What was reached: by the section `section` of the set `name`, or by the whole set for an empty `section`."""

    name: str
    shown: str
    value: float
    section: str = ""


class _MinimumType(click.ParamType):  # type: ignore[type-arg]  # generic in its newest release only
    name = "X | NAME=X"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Minimum:
        name, equals, number = str(value).rpartition("=")
        try:
            reached = float(number)
        except ValueError:
            reached = math.nan
        if not 0 <= reached <= 1:
            self.fail(f"'{number}' is not a number from 0 to 1.", param, ctx)
        return Minimum(name if equals else None, reached)


def min_option(what: str) -> Callable[[_Function], _Function]:
    """``--min X`` and ``--min NAME=X``, as often as wanted."""
    return click.option(
        "--min",
        "minima",
        type=_MinimumType(),
        multiple=True,
        help=f"{what} that every set must reach, from 0 to 1, or that the set or section NAME must; otherwise the exit "
        f"code is {QUALITY_MISSED}.",
    )


def check_names(minima: Sequence[Minimum], names: Iterable[str]) -> None:
    """Refuse a minimum for what is not there: a gate that can only be passed is none."""
    known = dict.fromkeys(names)
    for name, _ in minima:
        if name is not None and name not in known:
            some = ", ".join(list(known)[:10]) + ", ..." * (len(known) > 10)
            raise click.UsageError(f"--min: there is no set or section '{name}'; there are: {some}")


def judge(what: str, figures: Sequence[Figure], minima: Sequence[Minimum]) -> int:
    """The exit code: whether every minimum was reached; what missed one is named, all in one line."""
    parts = []
    for name, minimum in minima:
        wanted = [f for f in figures if (not f.section if name is None else name in (f.section or f.name, f.shown))]
        # Written so that NaN, the figure of nothing covered, has reached nothing.
        missed = [f"{f.shown} {_below(f.value, minimum)}" for f in wanted if not f.value >= minimum]
        if missed:
            parts.append(f"below {minimum}: {'; '.join(missed)}")
    return complain(f"quality missed: {what} {'; '.join(parts)}", QUALITY_MISSED) if parts else OK


def _below(value: float, minimum: float) -> str:
    """`value` as tables show it, or in full where it would read as the minimum that it has missed."""
    if math.isnan(value):
        return "undefined"
    short = f"{value:.4f}"
    return short if float(short) < minimum else repr(value)
