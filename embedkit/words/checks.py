"""Checks of parameters that the trainers share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput, TrainingDiverged
from embedkit.parameters import check_choice, check_flag, check_number, check_whole, plain, seed_of

__all__ = [
    "check_choice",
    "check_finite_tables",
    "check_flag",
    "check_number",
    "check_same",
    "check_whole",
    "plain",
    "seed_of",
]


def check_same(given: dict[str, Any], used: dict[str, Any]) -> None:
    """Refuse parameters that are not those that were used; `None` stands for what was used."""
    for name, value in given.items():
        if value is not None and value != used[name] and not (name == "engine" and value == "auto"):
            raise BadInput(f"the training was broken off with {name}={used[name]!r}: it cannot go on with {value!r}")


def check_finite_tables(tables: Sequence[npt.NDArray[np.float32]], rate: str) -> None:
    """Refuse tables that a training at this rate (``"alpha=0.025"``) has blown up."""
    if not all(np.isfinite(table).all() for table in tables):
        raise TrainingDiverged(f"the vectors are no longer finite at {rate}: lower it")
