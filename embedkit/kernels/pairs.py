"""Distances of rows by any compiled function of two rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit


@njit(nogil=True)  # not kept on disk: it is compiled for each function anew
def measure(
    x: npt.NDArray[np.float32],
    y: npt.NDArray[np.float32],
    function: Callable[..., float],
    arguments: tuple[Any, ...],
    out: npt.NDArray[np.float64],
) -> None:
    """Fill `out`, (p, q), with ``function(x[i], y[j], *arguments)`` of all pairs of (p, d) and (q, d) rows."""
    for i in range(len(x)):
        for j in range(len(y)):
            out[i, j] = function(x[i], y[j], *arguments)
