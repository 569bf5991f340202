"""The folder for what can be made or fetched again."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from embedkit.errors import BadFile


def cache_folder(*parts: str) -> Path:
    """``$EMBEDKIT_CACHE``, else the user's cache folder (``~/.cache/embedkit`` on Linux); made if it is not there.

    Parameters
    ----------
    *parts
        Names of folders inside it.

    Raises
    ------
    BadFile
        It cannot be made.
    """
    given = os.environ.get("EMBEDKIT_CACHE")
    if given:
        folder = Path(given)
    else:
        from platformdirs import user_cache_path

        folder = user_cache_path("embedkit")
    folder = folder.joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"cannot be made for the cache: {error.strerror or error}; set EMBEDKIT_CACHE to another folder"
        raise BadFile(folder, reason) from error
    return folder


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of `path` among all processes of this machine; the lock is a file beside it.

    Parameters
    ----------
    path
        What is made or fetched by one process at a time.
    """
    lock = path.with_name(path.name + ".lock")
    with contextlib.ExitStack() as stack:
        try:
            stream = stack.enter_context(lock.open("ab"))
            fcntl.flock(stream, fcntl.LOCK_EX)
        except OSError as error:
            reason = f"cannot be locked: {error.strerror or error}; EMBEDKIT_CACHE names another folder for the cache"
            raise BadFile(lock, reason) from error
        yield  # closing the file lets go of the lock
