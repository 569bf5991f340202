"""Files opened whatever packs them: plain, gzip, bzip2 or xz, known by their first bytes."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import stat
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from embedkit.errors import BadFile

_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
# Text packs to a quarter, repetitive tables to a fiftieth. What unpacks further than this is made to fill a disk.
_BOMB_RATIO, _BOMB_BYTES = 200, 2**26
_BUFFER = 2**18


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a regular file for reading, unpacked on the way.

    Parameters
    ----------
    path
        The file: plain, or packed by gzip, bzip2 or xz, which is found out from its content.

    Yields
    ------
    binary stream
        What goes wrong while it is read is a `BadFile` too.

    Raises
    ------
    BadFile
        It cannot be read, is a folder, pipe or device, is cut or damaged inside its packing, or unpacks to more than
        200 times its size (and more than 64 MiB), as only what is made to fill memory does.
    """
    raw = _open(path)
    try:
        start = raw.peek(8)
        kind = next((name for magic, name in _PACKED.items() if start.startswith(magic)), None)
        if kind is None:
            yield cast(BinaryIO, raw)
        else:
            with io.BufferedReader(_Unpacked(raw, kind, path), _BUFFER) as stream:
                yield cast(BinaryIO, stream)
    finally:
        raw.close()


def packed(path: str | os.PathLike[str]) -> bool:
    """Whether the file is packed by gzip, bzip2 or xz."""
    with contextlib.closing(_open(path)) as raw:
        start = raw.peek(8)
        return any(start.startswith(magic) for magic in _PACKED)


def _open(path: str | os.PathLike[str]) -> io.BufferedReader:
    try:
        # Looked at before opening: a pipe would make us wait.
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
            raise BadFile(path, "is not a regular file")
        return io.BufferedReader(io.FileIO(path), _BUFFER)
    except OSError as error:
        raise BadFile(path, f"cannot be read: {error.strerror or error}") from error
    except BadFile:
        raise
    except ValueError as error:  # NUL or a lone surrogate in the path
        raise BadFile(path, f"cannot be read: {error}") from error


class _Unpacked(io.RawIOBase):
    """The unpacked bytes, with errors that name the file, and an end to what unpacks without end."""

    def __init__(self, raw: io.BufferedReader, kind: str, path: str | os.PathLike[str]) -> None:
        self._raw, self._kind, self._path = raw, kind, path
        unpack: Any = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}[kind]
        self._stream: BinaryIO = unpack(raw)
        self._given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # of all buffers, BufferedReader gives this one
        try:
            data = self._stream.read(len(buffer))
        except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
            reason = f"its {self._kind} data is cut or damaged ({error})"
            raise BadFile(self._path, reason, f"after byte {self._given} of its content") from None
        buffer[: len(data)] = data
        self._given += len(data)
        if self._given > _BOMB_BYTES and self._given > _BOMB_RATIO * self._raw.tell():
            reason = f"unpacks to more than {_BOMB_RATIO} times its size: unpack it yourself if that is meant"
            raise BadFile(self._path, reason, f"after byte {self._given} of its content")
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()
