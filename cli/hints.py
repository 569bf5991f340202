"""What to do next, said with errors whose cause can be guessed from what was given."""

from __future__ import annotations

import codecs
import contextlib
import re
from pathlib import Path
from typing import Literal, TypeAlias

import click

from embedkit.errors import BadFile, printable

Wanted: TypeAlias = Literal["vectors", "model", "text"]
Kind: TypeAlias = Literal["folder", "native", "picture", "document", "text", "other"]

_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_DOCUMENTS = (b"%PDF", b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # also those of offices
_LOOKED_AT = 4096  # bytes
_FILE_NAME = re.compile(r"\S+\.(csv|tsv|txt|vec|bin|npy|npz|safetensors|parquet|json|png|jpg|gz|bz2|xz)")
_GLUED = re.compile(r"\w[-+*/]\w")

_HINTS: dict[tuple[Wanted, Kind], str] = {
    ("vectors", "folder"): "a folder of pictures is for embedkit project, train autoencoder and the like",
    ("vectors", "text"): "of a text, embedkit train word2vec {} -o vectors.safetensors makes vectors",
    ("vectors", "document"): "save its text as a plain file, and train vectors on that",
    ("model", "folder"): "MODEL, a file that embedkit train autoencoder writes, comes before DATA",
    ("model", "text"): "MODEL, a file that embedkit train autoencoder writes, comes before DATA",
    ("text", "native"): "it holds vectors or a model, not a text (embedkit info {} tells)",
    ("text", "picture"): "pictures are for embedkit train autoencoder",
    ("text", "document"): "save its text as a plain file, one document a line",
    ("text", "other"): "a plain text in UTF-8 was expected, one document a line",
}


def kind_of(path: Path) -> Kind | None:
    """What a file is by its looks; `None` where that cannot be found out."""
    if path.is_dir():
        return "folder"
    try:
        from embedkit.files.opening import opened

        with opened(path) as stream:
            start = stream.read(_LOOKED_AT)
    except BadFile:
        return None
    if _is_text(start):  # asked first, because a text may begin with BM or GIF8
        return "text"
    if start[8:9] == b"{" and b"\0" in start[:8]:
        return "native"
    return "picture" if start.startswith(_PICTURES) else "document" if start.startswith(_DOCUMENTS) else "other"


def _is_text(start: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return b"\0" not in start


def helped(error: BadFile, path: Path, wanted: Wanted) -> BadFile:
    """`error`, which a file of another kind than `wanted` may have caused, with what to do instead."""
    wrong_kind = error.reason.startswith(("not an embedkit file", "is not a regular file"))
    hint = _HINTS.get((wanted, kind_of(path) or "other")) if wrong_kind else None
    if hint is None:  # it is of the right kind, and damaged
        return error
    reason = error.reason.replace("is not a regular file", f"is a folder, a file of {wanted} was expected")
    return BadFile(error.path, f"{reason}; {hint.format(printable(str(path)))}", error.place)


def check_text(name: str) -> None:
    """Refuse a file that is plainly no text, or a folder whose first file is none.

    Raises
    ------
    BadFile
        It is none; the message says what to do instead.
    """
    path = Path(name)
    if path.is_dir():
        path = next((one for one in sorted(path.rglob("*")) if one.is_file() and one.name[0] != "."), path)
    kind = kind_of(path) if path.is_file() else None
    if kind in ("native", "picture", "document"):
        raise BadFile(path, f"is no text: {_HINTS['text', kind].format(printable(str(path)))}")


def about_word(word: str) -> str:
    """What an unknown word may have been meant for, to be put behind the message; empty where nothing is guessed."""
    command = click.get_current_context(silent=True)
    with contextlib.suppress(OSError, ValueError):
        if Path(word).is_file():
            return "; it is a file: give vectors by -m FILE, questions by -i FILE"
    if _FILE_NAME.fullmatch(word):
        return "; if a file is meant, there is none of that name"
    if command is not None and command.info_name == "expr" and _GLUED.search(word):
        return '; operators have a space before them: "king - man + woman"'
    if " " in word.strip() and command is not None and command.info_name in ("similar", "analogy"):
        return "; words are given one by one, each in quotation marks only if it holds a space itself"
    return ""


class Family(click.Group):
    """A group of commands that tells whoever left the command out what is missing."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that `args` begin with."""
        if self.get_command(ctx, args[0]) is None and Path(args[0]).exists():
            names = ", ".join(self.list_commands(ctx))
            raise click.UsageError(f"'{printable(args[0])}' is a file; before it comes a command: {names}", ctx)
        return super().resolve_command(ctx, args)
