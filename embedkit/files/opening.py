"""Files opened whatever packs them: plain, gzip, bzip2 or xz, known by their first bytes."""

from __future__ import annotations

import bz2
import contextlib
import io
import lzma
import os
import stat
import zlib
from collections.abc import Iterator
from typing import Any, cast

from embedkit.errors import BadFile

_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\0"
_BZIP2 = (b"1AY&SY", b"\x17rE8P\x90")  # what follows BZh and a digit, with which a text may begin too
# Text packs to a quarter, repetitive tables to a fiftieth. What unpacks further than this is made to fill a disk.
_BOMB_RATIO, _BOMB_BYTES = 200, 2**24
_BUFFER = 2**18
_XZ_MEMORY = 2**29  # bytes; xz itself makes files that take 65 MiB to unpack, and a header can ask for 4 GiB


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[io.BufferedReader]:
    """Open a regular file for reading, unpacked on the way.

    Parameters
    ----------
    path
        The file: plain, or packed by gzip, bzip2 or xz, which is found out from its content.

    Yields
    ------
    io.BufferedReader
        What goes wrong while it is read is a `BadFile` too.

    Raises
    ------
    BadFile
        It cannot be read, is a folder, pipe or device, is cut or damaged inside its packing or followed by something
        else, or unpacks to more than 200 times its size (and more than 16 MiB), as only what is made to fill memory
        does.
    """
    with _open(path) as raw:
        kind = _kind(raw)
        if kind is None:
            yield raw
        else:
            with io.BufferedReader(_Unpacked(raw, kind, path), _BUFFER) as stream:
                yield cast(io.BufferedReader, stream)


def packed(path: str | os.PathLike[str]) -> bool:
    """Whether the file is packed by gzip, bzip2 or xz."""
    with _open(path) as raw:
        return _kind(raw) is not None


def bytes_read(stream: io.BufferedReader) -> int:
    """How much of its file has been read for what `opened` gave: packed bytes of a packed one."""
    raw = getattr(stream, "raw", None)
    return raw.packed_bytes() if isinstance(raw, _Unpacked) else stream.tell()


def _open(path: str | os.PathLike[str]) -> io.BufferedReader:
    try:
        # Looked at before opening: a pipe would make us wait.
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
            raise BadFile(path, "is not a regular file")
        return io.BufferedReader(_Plain(os.fspath(path)), _BUFFER)
    except OSError as error:
        raise BadFile(path, f"cannot be read: {error.strerror or error}") from error
    except BadFile:
        raise
    except ValueError as error:  # NUL or a lone surrogate in the path
        raise BadFile(path, f"cannot be read: {error}") from error


def _kind(raw: io.BufferedReader) -> str | None:
    start = raw.peek(10)[:10]
    if start.startswith(_GZIP):
        return "gzip"
    if start.startswith(_XZ):
        return "xz"
    if start.startswith(b"BZh") and start[3:4].isdigit():
        # One that was cut here, or has one of these bytes damaged, is still one.
        rest = start[4:]
        if any(sum(a != b for a, b in zip(rest, magic, strict=False)) <= 1 for magic in _BZIP2):
            return "bzip2"
    return None


class _Plain(io.FileIO):
    """The bytes of a file, with errors that name it."""

    def readinto(self, buffer: Any) -> int:
        try:
            return super().readinto(buffer) or 0
        except OSError as error:
            raise BadFile(self.name, f"cannot be read: {error.strerror or error}") from error


class _Unpacked(io.RawIOBase):
    """The unpacked bytes, with errors that name the file, and an end to what unpacks without end.

    Python's own readers of bzip2 and xz take what follows the packed data for its end, whatever it is.
    """

    def __init__(self, raw: io.BufferedReader, kind: str, path: str | os.PathLike[str]) -> None:
        self._raw, self._kind, self._path = raw, kind, path
        self._unpacker: Any = self._new()
        self._waiting = b""  # packed bytes that the unpacker has not been given
        self._given = 0

    def _new(self) -> Any:
        if self._kind == "gzip":
            return _Gzip()
        if self._kind == "bzip2":
            return bz2.BZ2Decompressor()
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def packed_bytes(self) -> int:
        """How many packed bytes have been read."""
        return self._raw.tell() - len(self._waiting)

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._more(len(buffer))
        except (EOFError, zlib.error, lzma.LZMAError, OSError, ValueError) as error:
            if isinstance(error, BadFile):
                raise
            raise self._bad(f"its {self._kind} data is cut or damaged ({error})") from None
        buffer[: len(data)] = data
        self._given += len(data)
        if self._given > _BOMB_BYTES and self._given > _BOMB_RATIO * self._raw.tell():
            raise self._bad(f"unpacks to more than {_BOMB_RATIO} times its size: unpack it yourself if that is meant")
        return len(data)

    def _more(self, size: int) -> bytes:
        """Some unpacked bytes, at most `size`; none at the end."""
        while True:
            if self._unpacker.eof and not self._next_stream():
                return b""
            packed = b""
            if self._unpacker.needs_input:
                packed, self._waiting = self._waiting or self._raw.read1(_BUFFER), b""
                if not packed:
                    raise EOFError("it ends too early")
            data: bytes = self._unpacker.decompress(packed, size)
            if data:
                return data

    def _next_stream(self) -> bool:
        """Whether another packed stream follows; padding with zeros may stand before it."""
        rest = self._unpacker.unused_data
        while not (rest := rest.lstrip(b"\0")):
            rest = self._raw.read1(_BUFFER)
            if not rest:
                return False
        self._waiting, self._unpacker = rest, self._new()
        return True

    def _bad(self, reason: str) -> BadFile:
        return BadFile(self._path, reason, f"after byte {self._given} of its content")


class _Gzip:
    """zlib's unpacker with the face of bzip2's and xz's."""

    def __init__(self) -> None:
        self._unpacker = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._unpacker.eof

    @property
    def unused_data(self) -> bytes:
        return self._unpacker.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._unpacker.unconsumed_tail

    def decompress(self, data: bytes, size: int) -> bytes:
        return self._unpacker.decompress(data or self._unpacker.unconsumed_tail, size)
