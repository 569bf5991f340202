"""Whether a file is the one that a card speaks of."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from embedkit.errors import BadFile
from embedkit.files.atomic import replacing
from embedkit.shelf.cards import FileEntry

# The strongest first: it is the one that a message speaks of. The weaker two find damage, not malice.
KINDS = ("sha256", "sha1", "md5")
_CHUNK = 2**20


class Digests:
    """The checksums and the size of bytes that come piece by piece."""

    def __init__(self, kinds: Sequence[str] = KINDS) -> None:
        self._hashes = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
        self.size = 0

    def add(self, piece: bytes) -> None:
        """Take the next piece into account."""
        self.size += len(piece)
        for one in self._hashes.values():
            one.update(piece)

    def values(self) -> dict[str, str]:
        """Kind of checksum to its value so far."""
        return {kind: one.hexdigest() for kind, one in self._hashes.items()}


def digests(path: Path, kinds: Sequence[str] = KINDS) -> dict[str, str]:
    """The checksums of a file.

    Raises
    ------
    BadFile
        It cannot be read.
    """
    result = Digests(kinds)
    try:
        with path.open("rb") as stream:
            while piece := stream.read(_CHUNK):
                result.add(piece)
    except OSError as error:
        raise BadFile(path, f"cannot be read: {error.strerror or error}") from error
    return result.values()


def problem(entry: FileEntry, size: int, checks: Mapping[str, str]) -> str:
    """What tells a file of `size` bytes with the checksums `checks` from `entry`; empty if nothing does."""
    if entry.bytes is not None and size != entry.bytes:
        return f"has {size:,} bytes, expected {entry.bytes:,} for {entry.name}"
    for kind in KINDS:
        expected = getattr(entry, kind)
        if expected and kind in checks and checks[kind] != expected:
            return f"has {kind} {checks[kind]}, expected {expected} for {entry.name}"
    return ""


def checksum_kind(entry: FileEntry) -> str:
    """The strongest kind of checksum that the card has for `entry`; empty if it has none."""
    return next((kind for kind in KINDS if getattr(entry, kind)), "")


def kinds_needed(entry: FileEntry) -> list[str]:
    """The checksums to compute for `entry`: what the card has, and in any case the SHA-256, which is kept and told."""
    return list(dict.fromkeys(["sha256", checksum_kind(entry) or "sha256"]))


def record_path(target: Path) -> Path:
    """Where the checksum is kept that a file without a published one had when it first came."""
    return target.with_name(target.name + ".sha256")


def recorded(target: Path) -> str:
    """The SHA-256 that `target` had when it first came, or nothing."""
    try:
        text = record_path(target).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    digest = text.partition(" ")[0]
    return digest if len(digest) == 64 else ""


def record(target: Path, sha256: str) -> None:
    """Keep the SHA-256 of `target` beside it, in the form that ``sha256sum --check`` reads."""
    with replacing(record_path(target)) as stream:
        stream.write(f"{sha256}  {target.name}\n".encode("ascii"))


def free_bytes(place: Path) -> int | None:
    """How much room the file system of `place` has; None where it does not tell."""
    try:
        status = os.statvfs(place)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize
