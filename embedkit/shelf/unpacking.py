"""Files made from downloads: one named member of a zip archive, or a text rewritten once. Nothing else is unpacked."""

from __future__ import annotations

import contextlib
import fnmatch
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TypeAlias

from embedkit.errors import BadFile
from embedkit.files.atomic import replacing
from embedkit.files.opening import opened
from embedkit.shelf.cards import FileEntry, size_text
from embedkit.shelf.checking import Digests, free_bytes, kinds_needed, problem, record

_Pieces: TypeAlias = Generator[bytes, None, None]

_CHUNK = 2**20
# Where the card knows no size: text packs to a quarter, so this is nothing that one would want unpacked.
_BOMB_RATIO = 200
_MANY = 100_000  # members; a table of contents longer than this is made to fill memory
_FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)


def make(entry: FileEntry, source: Path, target: Path) -> None:
    """Make `entry` from the download `source`; `target` appears only when it is complete and checked.

    The name of `target` is the caller's and never comes from the archive.

    Parameters
    ----------
    entry
        What to make, and how: see `FileEntry`.
    source
        A zip archive, or a text file.
    target
        Where it shall be.

    Raises
    ------
    BadFile
        The member is not there, is there twice, is encrypted, damaged or longer than it should be; or what came out is
        not what the card says.
    """
    pieces = _WAYS[entry.convert](entry, source)
    limit = entry.bytes if entry.bytes is not None else _BOMB_RATIO * source.stat().st_size
    free = free_bytes(target.parent)
    if entry.bytes is not None and free is not None and free < entry.bytes:
        room = f"{size_text(entry.bytes)} are needed, {size_text(free)} are free"
        raise BadFile(target.parent, f"has no room for {entry.name}: {room}; set EMBEDKIT_CACHE to another folder")
    seen = Digests(kinds_needed(entry))
    with contextlib.closing(pieces), replacing(target) as stream:
        for piece in pieces:
            seen.add(piece)
            if seen.size > limit:
                raise BadFile(source, f"unpacks to more than {limit:,} bytes, expected no more for {entry.name}")
            stream.write(piece)
        wrong = problem(entry, seen.size, seen.values())
        if wrong:
            raise BadFile(source, f"what was made of it {wrong}")
    if not entry.sha256:
        record(target, seen.values()["sha256"])


def _member(entry: FileEntry, source: Path) -> _Pieces:
    """The bytes of one member."""

    def matches(name: str) -> bool:
        return name == entry.member

    with _members(source, entry.member, matches) as (archive, found):
        if len(found) > 1:
            raise BadFile(source, f"holds '{entry.member}' {len(found)} times")
        if entry.bytes is not None and found[0].file_size != entry.bytes:
            said = f"holds '{entry.member}' of {found[0].file_size:,} bytes"
            raise BadFile(source, f"{said}, expected {entry.bytes:,}")
        yield from _bytes(archive, found[0], source)


def _tagged_texts(entry: FileEntry, source: Path) -> _Pieces:
    """Texts of ``word/tag`` tokens as lines of plain words: one text a line, ordered by the names of the members."""

    def matches(name: str) -> bool:
        return fnmatch.fnmatchcase(name, entry.member)

    with _members(source, entry.member, matches) as (archive, found):
        for info in sorted(found, key=lambda info: info.filename):
            limit = entry.bytes or _BOMB_RATIO * source.stat().st_size
            text = bytearray()
            for piece in _bytes(archive, info, source):
                text += piece
                if len(text) > limit:
                    raise BadFile(source, f"'{info.filename}' unpacks to more than {limit:,} bytes")
            # The tag follows the last slash: "1/2" is a word with one of its own. A token without any is a word.
            words = (token.rpartition(b"/")[0] or token for token in bytes(text).split())
            yield b" ".join(words) + b"\n"


def _unix_lines(entry: FileEntry, source: Path) -> _Pieces:
    """A text with line feeds only."""
    with opened(source) as stream:
        for line in iter(lambda: stream.readline(_CHUNK), b""):
            yield line.removesuffix(b"\r\n") + b"\n" if line.endswith(b"\r\n") else line


_WAYS: dict[str, Callable[[FileEntry, Path], _Pieces]] = {
    "": _member,
    "tagged-texts": _tagged_texts,
    "unix-lines": _unix_lines,
}


@contextlib.contextmanager
def _members(
    source: Path, wanted: str, matches: Callable[[str], bool]
) -> Iterator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """The open archive and the members that match."""
    try:
        archive = zipfile.ZipFile(source)
    except _FAULTS as error:
        raise BadFile(source, f"is no zip archive, or a damaged one ({error})") from error
    with archive:
        if len(archive.filelist) > _MANY:
            raise BadFile(source, f"holds {len(archive.filelist):,} members, expected {_MANY:,} at most")
        found = [info for info in archive.filelist if matches(info.filename)]
        if not found:
            raise BadFile(source, f"does not hold '{wanted}'")
        yield archive, found


def _bytes(archive: zipfile.ZipFile, info: zipfile.ZipInfo, source: Path) -> Iterator[bytes]:
    if info.flag_bits & 1:
        raise BadFile(source, f"'{info.filename}' is encrypted")
    try:
        with archive.open(info) as stream:
            while piece := stream.read(_CHUNK):
                yield piece
    except _FAULTS as error:
        raise BadFile(source, f"'{info.filename}' is damaged ({error})") from error
