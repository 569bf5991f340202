"""Checks of the parameters of embedders."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np

from embedkit.errors import BadInput


def check_whole(name: str, value: Any, least: int, most: int = 2**31 - 1) -> None:
    """Refuse what is no whole number from `least` to `most`."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or not least <= value <= most:
        raise BadInput(f"{name} must be a whole number from {least} to {most}, not {value!r}")


def check_number(name: str, value: Any, least: float, most: float) -> None:
    """Refuse what is no number from `least` to `most`."""
    if not isinstance(value, int | float | np.number) or not least <= value <= most:
        raise BadInput(f"{name} must be a number from {least:g} to {most:g}, not {value!r}")


def check_flag(name: str, value: Any) -> None:
    """Refuse what is neither 0 nor 1."""
    if value not in (0, 1):
        raise BadInput(f"{name} must be 0 or 1, not {value!r}")


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse what is none of `choices`."""
    if value not in choices:
        raise BadInput(f"{name} is one of {', '.join(choices)}, not {value!r}")


def plain(parameters: dict[str, Any]) -> dict[str, Any]:
    """`parameters` with numpy's numbers as Python's, as JSON wants them."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in parameters.items()}


def seed_of(random_state: Any) -> int:
    """The seed itself, checked, or one that is drawn."""
    if random_state is None:
        return secrets.randbits(32)
    check_whole("random_state", random_state, 0, 2**32 - 1)
    return int(random_state)
