"""Downloads over https that can be cut, stalled, redirected and lied to: resumed, checked, and only then named."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, TypeAlias
from urllib.parse import urlsplit

from embedkit.errors import BadFile
from embedkit.files.atomic import replacing
from embedkit.shelf import connecting
from embedkit.shelf.cards import FileEntry, size_text
from embedkit.shelf.checking import (
    checksum_kind,
    digests,
    free_bytes,
    kinds_needed,
    problem,
    record,
    record_path,
    recorded,
)
from embedkit.shelf.connecting import Again, Beyond, Final, allowed, asked, is_local, reason

Progress: TypeAlias = Callable[[str, int, int | None], None]

SLOWEST = 256  # bytes a second, over twice the silence that ends a try: a server that drips is a stalled one
TRIES = 4  # at one address, without getting anywhere
BACK_OFF = 1.0  # seconds before the second try; doubled before each further one
UNSTATED = 16 * 10**9  # bytes; the limit where neither the card nor the server tells a size
_HEADWAY = 2**20  # bytes; a try that brought so many does not count
_CHUNK = 2**18
_PAGE = re.compile(rb"\s*(<!doctype html|<html)", re.IGNORECASE)


def download(entry: FileEntry, target: Path, progress: Progress | None = None) -> None:
    """Download `entry` to `target`, which appears only when it is complete and checked.

    What has come so far is kept in ``<target>.part`` and the next call goes on from there, if the server still has the
    same file. Where no SHA-256 is published, the one of the first download is kept in ``<target>.sha256``, and a later
    download has to have it too.

    Parameters
    ----------
    entry
        What to download; its addresses are tried in turn.
    target
        Where it shall be. The caller holds its lock.
    progress
        Told the name, the bytes so far and the bytes in all (None if not known).

    Raises
    ------
    BadFile
        No address gave the right file; the message says what each did. Or the disk is full, or cannot be written.
    """
    known = recorded(target)
    if known and not entry.sha256:
        entry = replace(entry, sha256=known)
    failures = []
    for url in entry.urls:
        try:
            _download_from(url, entry, target, progress)
            return
        except Final as error:
            failures.append(str(error) if len(entry.urls) == 1 else f"{urlsplit(url).hostname}: {error}")
    kept = _size(_part(target))
    advice = "get it another way and give it by --from-file"
    if kept:
        advice = f"{size_text(kept)} are kept, the same command goes on from there; or {advice}"
    elif known:
        advice = f"if that file was published anew, delete {record_path(target)}; or {advice}"
    raise BadFile(entry.urls[0], f"cannot be fetched: {'; '.join(failures)}; {advice}")


def _download_from(url: str, entry: FileEntry, target: Path, progress: Progress | None) -> None:
    if not allowed(url, local=is_local(url)):
        raise Final("is not an https address")
    part = _part(target)
    tries = 0
    while True:
        before = _size(part)
        try:
            if not before or before != (entry.bytes or _read_note(part).get("total")):
                # Else it is complete, and the process was killed before it was checked.
                _receive(url, entry, part, progress)
            wrong = _publish(entry, part, target)
            if not wrong:
                return
            if not before:
                raise Final(wrong)
            # The beginning may be of another version than the rest: once more, all of it. It counts as a try.
            raise Again(wrong)
        except Again as error:
            tries = 1 if _size(part) >= before + _HEADWAY else tries + 1
            if tries >= TRIES:
                raise Final(f"{error} ({tries} tries)") from error
            time.sleep(BACK_OFF * 2 ** (tries - 1))


def _publish(entry: FileEntry, part: Path, target: Path) -> str:
    """Name the part if it is `entry`; else remove it and tell what is wrong."""
    checks = digests(part, kinds_needed(entry))
    wrong = problem(entry, _size(part), checks)
    if wrong:
        _forget(part)
        return f"what came {wrong}"
    with _disk(part):
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        if not entry.sha256:
            record(target, checks["sha256"])
        part.replace(target)
        _note_path(part).unlink(missing_ok=True)
    return ""


def _receive(url: str, entry: FileEntry, part: Path, progress: Progress | None) -> None:
    """One request: what it brings is added to the part, or starts it anew."""
    note = _read_note(part)
    if note.get("url") != url:  # what another server said of its copy says nothing of this one's
        note = {}
    headers = _resume_headers(entry, part, note)
    have = _size(part)
    with _answer(url, headers, part) as response:
        start, total = _promised(response, entry, have, note, part)
        limit = total or entry.bytes or UNSTATED
        free = free_bytes(part.parent)
        if limit != UNSTATED and free is not None and free < limit - start:
            missing = f"{size_text(limit - start)} are needed, {size_text(free)} are free"
            raise BadFile(part.parent, f"has no room for {entry.name}: {missing}; set EMBEDKIT_CACHE to another folder")
        with _disk(part):
            stream = os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666), "wb", buffering=0)
        with stream:
            with _disk(part):
                stream.truncate(start)
                stream.seek(start)
            if start == 0:  # after the old part is gone: it must never stand beside the note of another
                _write_note(part, url, total, response)
            got = start
            for piece in _pieces(response):
                if got == 0 and _PAGE.match(piece):
                    _forget(part)
                    raise Final("sent a web page instead of the file")
                if got + len(piece) > limit:
                    _forget(part)
                    raise Final(f"sent more than the {limit:,} bytes that it should have")
                with _disk(part):
                    view = memoryview(piece)
                    while view:
                        view = view[stream.write(view) :]
                got += len(piece)
                if progress is not None:
                    progress(entry.name, got, total or entry.bytes)
    expected = total or entry.bytes or 1  # nothing at all is no file, whatever nobody promised
    if got < expected:
        raise Again(f"broke off after {got:,} of {expected:,} bytes" if got else "sent nothing")


@contextlib.contextmanager
def _answer(url: str, headers: dict[str, str], part: Path) -> Iterator[http.client.HTTPResponse]:
    try:
        with asked(url, headers) as response:
            yield response
    except Beyond:  # the part is not a beginning of what the server has
        _forget(part)
        raise


def _resume_headers(entry: FileEntry, part: Path, note: dict[str, Any]) -> dict[str, str]:
    """Headers that ask for what is missing; forgets a part that could not be continued safely."""
    have = _size(part)
    if not have:
        return {}
    etag, date = note.get("etag") or "", note.get("date") or ""
    validator = etag if etag and not etag.startswith("W/") else date
    complete = entry.bytes or note.get("total") or have + 1
    # Without a checksum only the server can say whether its file is still the one that the part is of.
    if have >= complete or not (validator or checksum_kind(entry)):
        _forget(part)
        return {}
    headers = {"Range": f"bytes={have}-"}
    if validator:
        headers["If-Range"] = validator
    return headers


def _promised(
    response: http.client.HTTPResponse, entry: FileEntry, have: int, note: dict[str, Any], part: Path
) -> tuple[int, int | None]:
    """Where what the server sends begins and how long the whole file is, by its own words."""
    if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise Final("sent a web page instead of the file")
    length = response.headers.get("Content-Length", "")
    start, total = 0, int(length) if length.isdecimal() and len(length) < 19 and not response.chunked else None
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", response.headers.get("Content-Range", ""))
        etag = response.headers.get("ETag")
        moved = etag and note.get("etag") and etag != note["etag"]
        if not have or found is None or int(found[1]) != have or int(found[2]) + 1 != int(found[3]) or moved:
            _forget(part)
            raise Again("sent another piece of the file than was asked for")
        start, total = have, int(found[3])
    elif response.status != 200:
        raise Final(f"answered {response.status} {response.reason}")
    if entry.bytes is not None and total is not None and total != entry.bytes:
        raise Final(f"offers {total:,} bytes, expected {entry.bytes:,}")
    return start, total


def _pieces(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The body as it arrives, until it ends or stalls."""
    since, seen = time.monotonic(), 0
    while True:
        try:
            piece = response.read1(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise Again(reason(error)) from error
        if not piece:
            return
        yield piece
        seen += len(piece)
        now = time.monotonic()
        if now - since > 2 * connecting.SILENCE:
            if seen < SLOWEST * (now - since):
                raise Again(f"only {seen:,} bytes came in {now - since:.0f} s")
            since, seen = now, 0


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _note_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_note(part: Path) -> dict[str, Any]:
    """What the server said of the file when the part was begun; nothing if that is lost or damaged."""
    try:
        note = json.loads(_note_path(part).read_bytes()[: 2**16])
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _write_note(part: Path, url: str, total: int | None, response: http.client.HTTPResponse) -> None:
    tags = {"etag": response.headers.get("ETag", ""), "date": response.headers.get("Last-Modified", "")}
    # What could not be sent back in a header is no tag.
    tags = {name: value if value.isascii() and value.isprintable() else "" for name, value in tags.items()}
    with replacing(_note_path(part)) as stream:
        stream.write(json.dumps({"url": url, "total": total, **tags}).encode())


def _forget(part: Path) -> None:
    with _disk(part):
        part.unlink(missing_ok=True)
        _note_path(part).unlink(missing_ok=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Errors of the disk, which are OSErrors as those of the network are, told apart from them."""
    try:
        yield
    except OSError as error:
        _no_room(path, error)


def _no_room(path: Path, error: OSError) -> NoReturn:
    advice = "make room or set EMBEDKIT_CACHE to another folder, then the same command goes on from here"
    raise BadFile(path, f"cannot be written: {error.strerror or error}; {advice}") from error
