"""Where the files of a data set lie: in the cache, or in the user's own folder of data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from embedkit.errors import BadFile, BadInput
from embedkit.files.cache import cache_folder
from embedkit.shelf import cards
from embedkit.shelf.cards import Card, FileEntry
from embedkit.shelf.checking import checksum_kind, digests, problem


def locate(name: str, files: Sequence[str] | None = None) -> dict[str, Path]:
    """The files of a data set that is at hand, by name.

    They are looked for in the cache (where only checked files get their names) and under the folder $EMBEDKIT_DATA,
    where size and checksum have to be those of the card.

    Parameters
    ----------
    name
        Of the data set.
    files
        Names or parts of the files wanted; by default the usual ones, and whichever others are there too.

    Raises
    ------
    BadInput
        There is no such data set, or it is not here; the message says how to get it.

    Examples
    --------
    >>> locate("mnist")["train-images-idx3-ubyte.gz"]  # doctest: +SKIP
    PosixPath('/home/me/.cache/embedkit/shelf/mnist/train-images-idx3-ubyte.gz')
    """
    card = cards.card(name)
    found = at_hand(card)
    if files is None and card.alternatives and found:
        return found
    wanted = card.choose(files)
    if not wanted or any(entry.name not in found for entry in wanted):
        raise BadInput(_missing(card, wanted, found))
    return found if files is None else {entry.name: found[entry.name] for entry in wanted}


def corpus_files(name: str, part: str | None = None) -> list[Path]:
    """The text files of a corpus on the shelf, in reading order: plain, or packed by gzip.

    Parameters
    ----------
    name
        Of the data set.
    part
        Short name of one part of it, such as ``"a"`` of enwiki15; by default everything but extras.

    Raises
    ------
    BadInput
        It is not a corpus, or not here.
    """
    card = cards.card(name)
    if card.kind != "corpus":
        raise BadInput(f"'{name}' is not a corpus but {card.kind}: {card.title}")
    wanted = card.choose(None if part is None else [part])
    found = locate(name, [entry.name for entry in wanted])
    return [found[entry.name] for entry in wanted]


def at_hand(card: Card, *, verify: bool = True) -> dict[str, Path]:
    """The files of `card` that are here; without `verify` those in $EMBEDKIT_DATA are told by their size alone."""
    found = {}
    for entry in card.files:
        path = _in_cache(card, entry) or _in_data(card, entry, verify=verify)
        if path is not None:
            found[entry.name] = path
    return found


def folder(card: Card) -> Path:
    """Where the cache keeps the files of `card`; it need not be there.

    Raises
    ------
    BadFile
        No cache can be made.
    """
    return cache_folder("shelf") / card.name


def _in_cache(card: Card, entry: FileEntry) -> Path | None:
    try:
        path = folder(card) / entry.name
    except BadFile:  # the data may lie elsewhere
        return None
    return path if path.is_file() and entry.bytes in (None, path.stat().st_size) else None


def _in_data(card: Card, entry: FileEntry, *, verify: bool) -> Path | None:
    path = _data_path(card, entry)
    if path is None or not path.is_file():
        return None
    status = path.stat()
    kind = checksum_kind(entry)
    checks = {}
    if verify and kind and entry.bytes in (None, status.st_size):
        checks = _remembered(path, kind, status.st_size, status.st_mtime_ns)
    return path if not problem(entry, status.st_size, checks) else None


def _data_path(card: Card, entry: FileEntry) -> Path | None:
    given = os.environ.get("EMBEDKIT_DATA")
    return Path(given) / (entry.path or f"{card.name}/{entry.name}") if given else None


@lru_cache(maxsize=256)
def _remembered(path: Path, kind: str, size: int, changed: int) -> dict[str, str]:
    # A file is read once a process: its size and time tell whether it has changed since.
    return digests(path, [kind])


def _missing(card: Card, wanted: Sequence[FileEntry], found: dict[str, Path]) -> str:
    if not card.files:
        return f"'{card.name}' is not kept in files: {card.how}"
    missing = [entry for entry in wanted if entry.name not in found]
    which = f"'{card.name}'"
    if len(missing) < len(card.files):
        which = f"{', '.join(entry.name for entry in missing)} of '{card.name}'"
    wrong = [path for entry in missing if (path := _data_path(card, entry)) is not None and path.is_file()]
    note = f" ({wrong[0]} is not the same file: its size or checksum differs)" if wrong else ""
    asked = "".join(f" --file {entry.name}" for entry in missing if entry.extra)
    command = f"embedkit fetch {card.name}{asked}"
    if not card.downloads(missing):
        return f"{which} is not here{note}: set EMBEDKIT_DATA, or run `{command} --from-file FILE` ({card.licence})"
    size = cards.total_size(card.downloads(missing))
    about = f"{cards.size_text(size)}, {card.licence}" if size else card.licence
    return f"{which} is not here{note}: run `{command}` ({about}), or set EMBEDKIT_DATA"
