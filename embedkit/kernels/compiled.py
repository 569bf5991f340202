"""Compilation of kernels by numba, cached where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be reordered and NaN need not be minded: what is exact is computed elsewhere, and inputs are finite.
_FAST = {"nnan", "ninf", "nsz", "reassoc", "contract", "arcp"}


def compiled(function: Function) -> Function:
    """`function` compiled for threads (no global lock), its sums in any order, and for numbers that are finite.

    It is kept on disk, or only in memory where no folder is writable.

    Parameters
    ----------
    function
        A function of arrays and numbers.
    """
    return compiled_with(function, fastmath=_FAST)


def exactly(function: Function) -> Function:
    """`function` compiled likewise, but with the arithmetic as written: nothing reordered, infinities minded."""
    return compiled_with(function)


def compiled_with(function: Function, **options: Any) -> Function:
    """`function` compiled for threads, with `options` of numba's, and kept on disk where that is possible."""
    try:
        return cast(Function, njit(nogil=True, cache=True, **options)(function))
    except RuntimeError:  # numba finds no folder that it can cache in
        return cast(Function, njit(nogil=True, **options)(function))
