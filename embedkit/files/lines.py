"""Lines of UTF-8 text with their numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

from embedkit.errors import BadFile

_LONGEST = 1 << 20  # bytes of a line; the files read here have a few words in each


def numbered_lines(source: str | os.PathLike[str] | BinaryIO, name: str = "") -> Iterator[tuple[int, str]]:
    """The lines of a text file, each with its number from 1, without its line break and a byte-order mark.

    Parameters
    ----------
    source
        A UTF-8 file, or an open binary stream.
    name
        What to call it in errors, if not by its path.

    Yields
    ------
    tuple of int and str

    Raises
    ------
    BadFile
        It cannot be read, a line is not UTF-8 or holds a NUL, or one is longer than 1 MiB.
    """
    called = name or source
    number = 0
    try:
        with Path(source).open("rb") if isinstance(source, str | os.PathLike) else nullcontext(source) as stream:
            while raw := stream.readline(_LONGEST + 1):
                number += 1
                if len(raw) > _LONGEST:
                    raise BadFile(called, "is longer than 1 MiB", f"line {number}")
                text = raw.decode("utf-8")
                if "\0" in text:
                    raise BadFile(called, "holds a NUL character: text was expected", f"line {number}")
                yield number, (text.removeprefix("\ufeff") if number == 1 else text).rstrip("\r\n")
    except OSError as error:
        raise BadFile(called, f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BadFile(called, f"is not valid UTF-8 at byte {error.start} of the line", f"line {number}") from None
    except BadFile:
        raise
    except ValueError as error:  # NUL or a lone surrogate in the path
        raise BadFile(called, f"cannot be read: {error}") from error
