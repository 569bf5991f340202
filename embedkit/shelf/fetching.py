"""Getting a data set that is not here: downloaded once by one of all processes, or taken from a file of the user's."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embedkit.errors import BadFile, BadInput
from embedkit.files.atomic import replacing
from embedkit.files.cache import cache_folder, locked
from embedkit.shelf import cards
from embedkit.shelf.cards import Card, FileEntry
from embedkit.shelf.checking import (
    Digests,
    checksum_kind,
    digests,
    kinds_needed,
    problem,
    record,
    record_path,
    recorded,
)
from embedkit.shelf.locating import at_hand, folder, locate

if TYPE_CHECKING:
    from embedkit.shelf.downloading import Progress


def fetch(
    name: str,
    *,
    files: Sequence[str] | None = None,
    from_file: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> dict[str, Path]:
    """Get a data set into the cache, unless it is here already.

    Every file is checked (size, and checksum where one is published) before it gets its name. Of several processes
    that ask for the same data set one downloads, and the others wait for it.

    Parameters
    ----------
    name
        Of the data set; `names` lists them.
    files
        Names or parts of the files wanted; by default the usual ones.
    from_file
        One or more files that you have: of the data set, or the archives that it is published in, recognised by their
        content. Nothing is downloaded then.
    progress
        Told the file's name, the bytes so far and the bytes in all (None if not known) as they arrive.
    say
        Told what is done, in lines of text.

    Returns
    -------
    dict
        File name to path.

    Raises
    ------
    BadInput
        There is no such data set or file of it, it is not public, or EMBEDKIT_OFFLINE is set.
    BadFile
        It could not be downloaded, `from_file` is not one of its files, or the cache cannot be written.
    """
    card = cards.card(name)
    wanted = card.choose(files)
    tell = say or (lambda line: None)
    if not card.files:
        raise BadInput(f"'{name}' is not kept in files: {card.how}")
    if from_file is not None:
        given = [from_file] if isinstance(from_file, str | os.PathLike) else list(from_file)
        home = cache_folder("shelf", name)
        with locked(home):
            for path in given:
                _take(card, wanted, Path(path), home, tell)
        rest = missing(card, wanted)
        if rest:
            tell(f"still missing of '{name}': {', '.join(entry.name for entry in rest)}")
        return at_hand(card)
    absent = missing(card, wanted)
    if absent:
        refuse(card, absent)
        home = cache_folder("shelf", name)
        with locked(home):
            # Asked again: another process may have fetched it while this one waited.
            for entry in missing(card, wanted):
                _get(card, entry, home, progress, tell)
            _tidy(card, home, tell)
    return locate(name, files)


def missing(card: Card, wanted: Sequence[FileEntry]) -> list[FileEntry]:
    """Those of `wanted` that are not here."""
    found = at_hand(card)
    return [entry for entry in wanted if entry.name not in found]


def downloads(card: Card, wanted: Sequence[FileEntry]) -> list[FileEntry]:
    """What has to be downloaded for `wanted`: an archive that was kept is not downloaded again."""
    home = folder(card)
    return [entry for entry in card.downloads(wanted) if not (home / entry.name).is_file()]


def refuse(card: Card, wanted: Sequence[FileEntry]) -> None:
    """Raise if `wanted` cannot be downloaded: it is not public, or the user works offline.

    Raises
    ------
    BadInput
        With what to do instead.
    """
    command = f"`embedkit fetch {card.name} --from-file FILE`"
    private = [entry.name for entry in wanted if not card.downloads([entry])]
    if private:
        raise BadInput(f"{', '.join(private)} of '{card.name}' cannot be downloaded: use {command}")
    addresses = [entry.urls[0] for entry in downloads(card, wanted)]
    if addresses and os.environ.get("EMBEDKIT_OFFLINE", "0") not in ("", "0"):
        raise BadInput(
            f"EMBEDKIT_OFFLINE is set, '{card.name}' is not downloaded: "
            f"get {', '.join(addresses)} elsewhere and run {command}"
        )


def _get(card: Card, entry: FileEntry, home: Path, progress: Progress | None, tell: Callable[[str], None]) -> None:
    # Its modules (ssl, http) are only for those who download.
    from embedkit.shelf.downloading import download

    target = home / entry.name
    if not entry.source:
        download(entry, target, progress)
    else:
        source = card.source(entry)
        archive = home / source.name
        if not archive.is_file():
            download(source, archive, progress)
            _tell_checksum(source, archive, tell)
        try:
            _make(entry, archive, target)
        except BadFile as error:
            if error.path == str(archive):  # it would fail for ever: the next call shall download it again
                archive.unlink(missing_ok=True)
                record_path(archive).unlink(missing_ok=True)
            raise
    _tell_checksum(entry, target, tell)


def _make(entry: FileEntry, source: Path, target: Path) -> None:
    from embedkit.shelf.unpacking import make

    make(entry, source, target)


def _tell_checksum(entry: FileEntry, target: Path, tell: Callable[[str], None]) -> None:
    if entry.sha256:
        tell(f"{entry.name}: sha256 as expected")
    elif checksum_kind(entry):
        tell(f"{entry.name}: {checksum_kind(entry)} as expected; sha256 {recorded(target)}")
    else:
        tell(f"{entry.name}: no published checksum; sha256 {recorded(target)}")


def _tidy(card: Card, home: Path, tell: Callable[[str], None]) -> None:
    """Remove the archives of which everything has been taken."""
    for source in card.sources:
        if not (home / source.name).is_file():
            continue
        made = [entry.name for entry in card.files if entry.source == source.name]
        rest = [name for name in made if not (home / name).is_file()]
        if not rest:
            (home / source.name).unlink(missing_ok=True)
            record_path(home / source.name).unlink(missing_ok=True)
        else:
            tell(f"{home / source.name} is kept: {', '.join(rest)} can be taken from it (--file)")


def _take(card: Card, wanted: Sequence[FileEntry], path: Path, home: Path, tell: Callable[[str], None]) -> None:
    """Take the file at `path` for what it is by its content."""
    entry = _recognise(card, path)
    if entry in card.files:
        _copy(entry, path, home / entry.name)
        _tell_checksum(entry, home / entry.name, tell)
        return
    made = [file for file in card.files if file.source == entry.name]
    for file in [file for file in made if file in wanted] or made:
        _make(file, path, home / file.name)
        _tell_checksum(file, home / file.name, tell)


def _recognise(card: Card, path: Path) -> FileEntry:
    try:
        if not path.is_file():
            raise BadFile(path, "is not a regular file" if path.exists() else "cannot be read: No such file")
        size = path.stat().st_size
    except OSError as error:
        raise BadFile(path, f"cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # NUL or a lone surrogate in the path
        raise BadFile(path, f"cannot be read: {error}") from error
    checks = digests(path)
    entries = [*card.files, *card.sources]
    # Its own name first. Another name will do where a checksum says what it is.
    entries.sort(key=lambda entry: entry.name != path.name)
    for entry in entries:
        if not problem(entry, size, checks) and (checksum_kind(entry) or entry.name == path.name):
            return entry
    same_name = [entry for entry in entries if entry.name == path.name]
    if same_name:
        raise BadFile(path, problem(same_name[0], size, checks))
    if len(entries) == 1:
        raise BadFile(path, problem(entries[0], size, checks) or f"is to be called {entries[0].name}")
    expected = ", ".join(entry.name + (f" ({entry.bytes:,} bytes)" if entry.bytes else "") for entry in entries)
    raise BadFile(path, f"is no file of '{card.name}', expected one of {expected}")


def _copy(entry: FileEntry, path: Path, target: Path) -> None:
    if target.is_file() and target.samefile(path):
        return
    seen = Digests(kinds_needed(entry))
    try:
        with path.open("rb") as source, replacing(target) as stream:
            while piece := source.read(2**20):
                seen.add(piece)
                stream.write(piece)
            wrong = problem(entry, seen.size, seen.values())
            if wrong:
                raise BadFile(path, f"{wrong}: it was changed while it was read")
        if not entry.sha256:
            record(target, seen.values()["sha256"])
    except OSError as error:
        raise BadFile(path, f"cannot be read: {error.strerror or error}") from error
