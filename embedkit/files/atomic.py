"""Writing a file so that a reader only ever sees the old one or the whole new one."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from embedkit.errors import BadFile

_STREAMS = ("/dev/std", "/dev/fd/", "/proc/")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of `path` when the block ends well.

    The bytes go to a fresh file beside it (never an existing one), are flushed to the disk, and only then renamed over
    `path`, which keeps its permissions; then the folder is flushed. If anything fails, or the process is killed, the
    old file stays as it was. A symbolic link is followed; a pipe or device is written to directly.

    Parameters
    ----------
    path
        Where the file shall be.

    Raises
    ------
    BadFile
        The folder does not exist, the disk is full, permission is missing: whatever the system said.
    """
    with _told(path):
        target = _to_replace(path)
        if target is None:
            with Path(path).open("ab") as stream:
                yield stream
            return
        with _beside(target) as (stream, temporary):
            yield stream
            to_disk(stream)
            stream.close()
            os.replace(temporary, target)  # noqa: PTH105  # the one call whose atomicity is the point
        _flush_folder(target.parent)


def check_place(path: str | os.PathLike[str]) -> None:
    """Refuse a place where no file can be made now, before hours of work are done for it.

    Raises
    ------
    BadFile
        As from `replacing`.
    """
    with _told(path):
        target = _to_replace(path)
        if target is not None:
            with _beside(target):
                pass


@contextlib.contextmanager
def _told(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise BadFile(path, f"cannot be written: {error.strerror or error}") from error


def _to_replace(path: str | os.PathLike[str]) -> Path | None:
    """The file that is replaced, links followed; `None` for what is written to as it is."""
    try:
        target = Path(os.path.realpath(path))
    except ValueError as error:  # NUL or a lone surrogate
        raise BadFile(path, f"cannot be written: {error}") from error
    if target.is_dir():
        raise BadFile(path, "cannot be written: it is a folder")
    # /dev/stdout may lead to a regular file that others write to as well: it must not be replaced.
    direct = os.fspath(path).startswith(_STREAMS) or (target.exists() and not target.is_file())
    return None if direct else target


def to_disk(stream: BinaryIO) -> None:
    """Have all that was written to `stream` on the disk, before another file that belongs to it takes its place."""
    stream.flush()
    if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):  # pipes cannot
        os.fsync(stream.fileno())


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[tuple[BinaryIO, Path]]:
    # O_EXCL: never follow or reuse what somebody else put there.
    temporary = target.with_name(f".{secrets.token_hex(8)}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if target.exists():
                os.fchmod(descriptor, stat.S_IMODE(target.stat().st_mode))
            yield stream, temporary
    finally:
        temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    # Some folders cannot be read, and some file systems cannot flush one; the file itself is on the disk and in place.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
