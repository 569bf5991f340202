"""Compilation of kernels by numba, cached where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be reordered and NaN need not be minded: what is exact is computed elsewhere, and inputs are finite.
_FAST = {"nnan", "ninf", "nsz", "reassoc", "contract", "arcp"}


def compiled(function: Function) -> Function:
    """`function` compiled for threads (no global lock) and kept on disk, or only in memory where no folder is writable.

    Parameters
    ----------
    function
        A function of arrays and numbers.
    """
    try:
        return cast(Function, njit(nogil=True, fastmath=_FAST, cache=True)(function))
    except RuntimeError:  # numba finds no folder that it can cache in
        return cast(Function, njit(nogil=True, fastmath=_FAST)(function))
