"""Where the texts of a corpus come from: files of plain text or JSON lines, packed or not."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import io
import json
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

from embedkit.errors import BadFile, printable
from embedkit.files.opening import opened

Unit = Literal["line", "paragraph", "file"]
Document: TypeAlias = str | Sequence[str]

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LONGEST_LINE = 100 * 2**20  # bytes; text8 is a single line of 10^8
_STEP = 2**20
_SURROGATE = re.compile("[\ud800-\udfff]")
_UTF16 = "begins as UTF-16 text: convert it to UTF-8"
_NO_TEXT = {b"PK\x03\x04": "is a zip archive: unpack it first", b"\xff\xfe": _UTF16, b"\xfe\xff": _UTF16}


def files_at(place: str | os.PathLike[str]) -> list[Path]:
    """The regular files that `place` stands for, in order of their names.

    Parameters
    ----------
    place
        A file; a folder, for all files in it and the folders below, except hidden ones; or, where there is no such
        file, a pattern with ``*``, ``?``, ``[...]`` (``**`` for any folders).

    Raises
    ------
    BadFile
        There is none, or it is a pipe or device, which can be read only once.
    """
    path = Path(place)
    try:
        mode = path.stat().st_mode  # raises ValueError for what cannot be a path
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError) and glob.has_magic(str(place)):
            # Path.glob takes no absolute patterns.
            found = sorted(Path(name) for name in glob.glob(str(place), recursive=True))  # noqa: PTH207
            if files := [name for name in found if name.is_file()]:
                return files
            raise BadFile(place, "no file has a name of this pattern") from None
        raise BadFile(place, f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if stat.S_ISDIR(mode):
        below = sorted(path.rglob("*"))
        if files := [name for name in below if name.is_file() and not _hidden(name.relative_to(path))]:
            return files
        raise BadFile(place, "is a folder without files")
    if not stat.S_ISREG(mode):
        raise BadFile(place, "is not a regular file: a corpus is read many times, a pipe only once")
    return [path]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def describe(path: Path) -> dict[str, Any]:
    """Name, size in bytes and SHA-256 of the file as it lies there; no folders."""
    try:
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        return {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256}
    except OSError as error:
        raise BadFile(path, f"cannot be read: {error.strerror or error}") from error


@contextlib.contextmanager
def opened_text(path: Path) -> Iterator[io.BufferedReader]:
    """As `opened`; refuses what begins as something else than UTF-8 text begins."""
    with opened(path) as stream:
        start = stream.peek(4)
        for magic, reason in _NO_TEXT.items():
            if start.startswith(magic):
                raise BadFile(path, reason, "byte 0")
        yield stream


def documents(path: Path, unit: Unit, field: str | None) -> Iterator[Document]:
    """The documents of one file.

    Parameters
    ----------
    path
        Text in UTF-8, or one JSON object a line; packed or not.
    unit
        What of a plain text is a document: a line, a paragraph (lines up to an empty one) or the whole file.
    field
        Where the text of a JSON object is. `None`: the file is plain text, whatever it looks like.

    Raises
    ------
    BadFile
        It cannot be read, is cut or damaged, is not valid UTF-8 or holds a NUL, or a line is longer than 100 MiB or no
        JSON object with that field.
    """
    lines = _lines(path)
    if field is not None and is_json(path, field):
        for number, line in lines:
            if line.strip():
                yield _text_of(path, number, line, field)
    elif unit == "line":
        for _, line in lines:
            yield line
    elif unit == "file":
        yield "\n".join(line for _, line in lines)
    else:
        paragraph: list[str] = []
        for _, line in lines:
            if line.strip():
                paragraph.append(line)
            elif paragraph:
                yield "\n".join(paragraph)
                paragraph = []
        yield "\n".join(paragraph)


def is_json(path: Path, field: str | None) -> bool:
    """Whether the first line of the file is a JSON object.

    Raises
    ------
    BadFile
        It is one, but without `field`.
    """
    if field is None:
        return False
    with opened_text(path) as stream:
        first = stream.readline(_STEP).removeprefix(BYTE_ORDER_MARK).lstrip()
        if not first.startswith(b"{"):
            return False
        if not first.endswith(b"\n"):
            first = bytes(_rest(path, stream, first, 1))
    try:
        record = json.loads(first)
    except (ValueError, RecursionError):
        return False
    if field not in record:
        fields = ", ".join(f"'{printable(name)}'" for name in list(record)[:8]) or "none"
        raise BadFile(path, f"holds JSON objects without the field '{printable(field)}' (it has: {fields}): name the "
                            "field that holds the text, or None to read it as plain text", "line 1")  # fmt: skip
    return True


def _text_of(path: Path, number: int, line: str, field: str) -> Document:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadFile(path, f"is not a JSON object: {error}", f"line {number}") from None
    if not isinstance(record, dict) or field not in record:
        raise BadFile(path, f"is not a JSON object with the field '{printable(field)}'", f"line {number}")
    text = record[field]
    if not isinstance(text, str) and not (isinstance(text, list) and all(isinstance(token, str) for token in text)):
        what = f"the field '{printable(field)}' is neither text nor a list of tokens: {text!r:.40}"
        raise BadFile(path, what, f"line {number}")
    # Escapes can say what UTF-8 cannot.
    if "\\u" in line and not all(map(_is_text, [text] if isinstance(text, str) else text)):
        what = f"the field '{printable(field)}' holds a NUL character or is not valid Unicode: {text!r:.40}"
        raise BadFile(path, what, f"line {number}")
    document: Document = text
    return document


def _is_text(text: str) -> bool:
    return "\0" not in text and not _SURROGATE.search(text)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        with opened_text(path) as stream:
            line: bytes | bytearray
            while line := stream.readline(_STEP):
                number += 1
                if len(line) == _STEP and line[-1:] != b"\n":
                    line = _rest(path, stream, line, number)
                if b"\0" in line:
                    raise BadFile(path, "holds a NUL character, which no word may", f"line {number}")
                if len(line) > _STEP:
                    # One of a million spaces is empty too, whatever splits it into words.
                    text = "" if line.isspace() else _decoded(line, number == 1)
                    line = b""
                else:
                    if number == 1:  # a byte-order mark is no part of the first word
                        line = line.removeprefix(BYTE_ORDER_MARK)
                    text = line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
                yield number, text
    except UnicodeDecodeError as error:
        reason = f"is not valid UTF-8 at byte {error.start} of the line: convert the file first"
        raise BadFile(path, reason, f"line {number}") from None


def _decoded(line: bytes | bytearray, first: bool) -> str:
    """A large line without its end and, if it is the first, a byte-order mark; decoded without a copy of its bytes."""
    start = len(BYTE_ORDER_MARK) if first and line.startswith(BYTE_ORDER_MARK) else 0
    end = len(line) - (2 if line.endswith(b"\r\n") else 1 if line.endswith((b"\n", b"\r")) else 0)
    return str(memoryview(line)[start:end], "utf-8")


def _rest(path: Path, stream: BinaryIO, start: bytes, number: int) -> bytearray:
    """A long line, a piece at a time, so that a line without end is given up before it fills the memory."""
    line = bytearray(start)
    while part := stream.readline(_STEP):
        line += part  # parts to be joined would be the line twice
        if len(line) > _LONGEST_LINE:
            raise BadFile(path, f"is longer than {_LONGEST_LINE >> 20} MiB", f"line {number}")
        if part[-1:] == b"\n":
            break
    return line
