"""The cards of the shelf: what each data set is, whose it is, and how its files are known to be the right ones."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from embedkit.errors import BadFile, BadInput

KINDS = ("corpus", "vectors", "images", "questions", "pairs")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_FENCE = "+++\n"


@dataclass(frozen=True)
class FileEntry:
    """One file of a data set, or an archive that files are taken from.

    Attributes
    ----------
    name
        What it is called in the cache.
    urls
        Where it is published, the official address first; empty if it is made from another file, or not public.
    bytes
        Its size; None where nobody publishes it.
    sha256, sha1, md5
        Its checksums in hexadecimal; empty where not published.
    path
        Where it lies under $EMBEDKIT_DATA; by default ``<data set>/<name>``.
    source
        Name of the download that it is made from.
    member
        What to take from the source if that is a zip archive: a member's name, or a pattern of such names.
    convert
        How to make it from the source: "" (the member as it is), "tagged-texts" or "unix-lines".
    part
        Short name of a part of a corpus (``"a"``).
    extra
        Whether it is left out unless asked for.
    """

    name: str
    urls: tuple[str, ...] = ()
    bytes: int | None = None
    sha256: str = ""
    sha1: str = ""
    md5: str = ""
    path: str = ""
    source: str = ""
    member: str = ""
    convert: str = ""
    part: str = ""
    extra: bool = False


@dataclass(frozen=True)
class Card:
    """What is known of a data set.

    Attributes
    ----------
    name, title, kind
        What it is called, in short and in full, and one of `KINDS`.
    licence, licence_url
        What its authors allow, and where that is written (empty where it is not).
    homepage, citation, how
        Where it comes from, what to cite, and how to get it, in words.
    files, sources
        Its files in reading order, and the downloads that some of them are made from.
    alternatives
        Whether one file is enough to have it: the same vectors in several sizes, say.
    notes
        What else a reader should know.
    """

    name: str
    title: str
    kind: str
    licence: str
    licence_url: str
    homepage: str
    citation: str
    how: str
    files: tuple[FileEntry, ...] = ()
    sources: tuple[FileEntry, ...] = ()
    alternatives: bool = False
    notes: str = ""

    def choose(self, files: Sequence[str] | None = None) -> tuple[FileEntry, ...]:
        """The files called `files` (by name or part), or those that one gets without asking for any.

        Raises
        ------
        BadInput
            The data set has no such file.
        """
        if files is None:
            return tuple(entry for entry in self.files if not entry.extra)
        by_name = {key: entry for entry in self.files for key in (entry.name, entry.part) if key}
        for file in files:
            if file not in by_name:
                raise BadInput(f"'{self.name}' has no file '{file}', only {', '.join(e.name for e in self.files)}")
        return tuple(by_name[file] for file in files)

    def source(self, entry: FileEntry) -> FileEntry:
        """The download that `entry` is made from."""
        return next(source for source in self.sources if source.name == entry.source)

    def downloads(self, entries: Iterable[FileEntry]) -> tuple[FileEntry, ...]:
        """What has to be downloaded for `entries`, each once; those without an address are not among them."""
        found = (self.source(entry) if entry.source else entry for entry in entries)
        return tuple(dict.fromkeys(entry for entry in found if entry.urls))


def shelf() -> Traversable:
    """The folder of the cards."""
    return resources.files("embedkit.corpora")


def names() -> list[str]:
    """The names of all data sets on the shelf, sorted.

    Examples
    --------
    >>> "text8" in names()
    True
    """
    return sorted(folder.name for folder in shelf().iterdir() if (folder / "card.md").is_file())


def card(name: str) -> Card:
    """The card of the data set called `name`.

    Raises
    ------
    BadInput
        No data set is called so; the message names those that are spelled nearly the same.
    BadFile
        The card is damaged.

    Examples
    --------
    >>> card("mnist").kind
    'images'
    """
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name.lower(), known, cutoff=0.5)
        hint = f" (near: {', '.join(near)})" if near else ""
        raise BadInput(f"no data set is called '{name}'{hint}: `embedkit corpora list` shows them all")
    path = shelf() / name / "card.md"
    return parse(path.read_text(encoding="utf-8"), str(path))


def parse(text: str, path: str) -> Card:
    """The card written as `text`: TOML between two lines of ``+++``, then prose.

    Parameters
    ----------
    text
        Content of a card.md.
    path
        Its name, for errors.

    Raises
    ------
    BadFile
        Something is missing, misspelled or of the wrong kind.
    """
    before, _, rest = text.partition(_FENCE)
    front, fence, notes = rest.partition(_FENCE)
    if before or not fence:
        raise BadFile(path, "is no card: expected TOML between two lines of +++")
    try:
        facts: dict[str, Any] = tomllib.loads(front)
        for group in ("files", "sources"):
            facts[group] = tuple(_entry(table) for table in facts.get(group, ()))
        found = Card(notes=notes.strip(), **facts)
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise BadFile(path, f"is no card: {error}") from error
    sources = {entry.name for entry in found.sources}
    for entry in (*found.files, *found.sources):
        if not NAME.fullmatch(entry.name):
            raise BadFile(path, f"'{entry.name}' is no name for a file: letters, digits, dots, dashes and underscores")
        if entry.source and entry.source not in sources:
            raise BadFile(path, f"'{entry.name}' is made from '{entry.source}', which is not among the sources")
    if found.kind not in KINDS:
        raise BadFile(path, f"kind is '{found.kind}', expected one of {', '.join(KINDS)}")
    return found


def _entry(table: dict[str, Any]) -> FileEntry:
    values: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in table.items()}
    return FileEntry(**values)


def size_text(count: int) -> str:
    """A number of bytes for people.

    Examples
    --------
    >>> size_text(543), size_text(31_344_016), size_text(862_182_613)
    ('543 bytes', '31.3 MB', '862.2 MB')
    """
    for unit, power in (("GB", 9), ("MB", 6), ("kB", 3)):
        if count >= 10**power:
            return f"{count / 10**power:.1f} {unit}"
    return f"{count} bytes"


def total_size(entries: Iterable[FileEntry]) -> int | None:
    """Bytes of `entries` together; None if there are none, or a size is not known."""
    sizes = [entry.bytes for entry in entries]
    return sum(size or 0 for size in sizes) if sizes and None not in sizes else None
