"""Compilation of kernels by numba, cached where that is possible.

numba's own cache on disk is changed in three ways, so that it can save time and do nothing else. A disk that is full,
or an entry that a crash cut short, is no error: the kernel is compiled. Each combination of types has files of its own:
numba numbers the types of a function as they come, and of two processes that begin with an empty cache one may write
its code under the number of the other's types. And entries of another version of embedkit are not taken: numba looks
only at the file of the kernel itself, not at those of the kernels that it calls.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.core import caching

from embedkit import __version__
from embedkit.errors import BadFile
from embedkit.files.cache import cache_folder

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
    kernel = njit(nogil=True, **options)(function)
    with contextlib.suppress(RuntimeError):  # numba finds no folder that it can cache in
        kernel._cache = _Cache(function)
    return cast(Function, kernel)


# numba tells few of its types, and says `object` of these.
_Compiled: Any = caching.CompileResultCacheImpl
_Kept: Any = caching.FunctionCache
_KeptFiles: Any = caching.IndexDataCacheFile
# Earlier numbas have an underscore before these names.
_LOCATORS = {locator.__name__.lstrip("_"): locator for locator in _Compiled._locator_classes}
_UserWide: Any = _LOCATORS["UserWideCacheLocator"]


class _InOurFolder(_UserWide):  # type: ignore[misc]  # it has no types
    """embedkit's cache folder, for where the one beside the source cannot be written to."""

    def __init__(self, function: Any, source: str) -> None:
        super().__init__(function, source)
        try:
            folder = cache_folder("kernels")
        except BadFile as error:
            raise OSError(str(error)) from error
        self._cache_path = str(folder / self.get_suitable_cache_subpath(source))

    @classmethod
    def from_function(cls, function: Any, source: str) -> _InOurFolder | None:
        """The place, or `None` if it cannot be written to."""
        if not Path(source).exists():
            return None
        with contextlib.suppress(OSError):
            place = cls(function, source)
            place.ensure_cache_path()
            return place
        return None


class _Places(_Compiled):  # type: ignore[misc]
    # Where NUMBA_CACHE_DIR says, beside the source, in our folder.
    _locator_classes = (_LOCATORS["UserProvidedCacheLocator"], _LOCATORS["InTreeCacheLocator"], _InOurFolder)


class _Files:
    """The files of a kernel, those of each combination of types under names of their own.

    Parameters
    ----------
    folder, name, stamp
        Where they are, how their names begin, and what tells whether they are up to date.
    """

    def __init__(self, folder: str, name: str, stamp: Any) -> None:
        self._folder, self._name, self._stamp = folder, name, stamp

    def _of(self, key: Any) -> Any:
        digest = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
        return _KeptFiles(self._folder, f"{self._name}.{digest}", self._stamp)

    def load(self, key: Any) -> Any:
        """What is kept for these types, or `None`."""
        return self._of(key).load(key)

    def save(self, key: Any, data: Any) -> None:
        """Keep it, whatever was there: it may have been damaged."""
        files = self._of(key)
        files.flush()
        files.save(key, data)


class _Cache(_Kept):  # type: ignore[misc]
    _impl_class = _Places

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        stamp = __version__, self._impl.locator.get_source_stamp()
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, stamp)

    def load_overload(self, types: Any, target: Any) -> Any:
        """The compiled kernel for these types, or `None`: what cannot be read is compiled again and replaced."""
        try:
            return super().load_overload(types, target)
        except Exception:  # noqa: BLE001  # whatever reading half a file raises
            return None

    def save_overload(self, types: Any, compiled: Any) -> None:
        """Keep it, if that is possible."""
        with contextlib.suppress(OSError):
            super().save_overload(types, compiled)
