"""`embedkit completion`, and what the shell is offered: words of vectors, names of data sets, files."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import click
from click.shell_completion import CompletionItem, get_completion_class

Complete: TypeAlias = Callable[[click.Context, click.Parameter, str], list[Any]]

_SHELLS = ("bash", "zsh", "fish")
_OFFERED = 50  # words, the most frequent ones
_TEXT_READ = 2**22  # bytes of a text file whose words are offered
_BINARY_READ = 2**24  # ... and of word2vec's binary format, which has larger rows
# The shell puts what is chosen into the command line as it is. A word that means something to a shell, or at which one
# would break the line, is not offered: a file of vectors must not write commands.
_HARMLESS = re.compile(r"(?![-.~])(?:[\w.-]|[^\x00-\x7f])+")
_INSTALL = {
    "bash": "echo 'eval \"$(embedkit completion bash)\"' >> ~/.bashrc",
    "zsh": "echo 'eval \"$(embedkit completion zsh)\"' >> ~/.zshrc    (after the line with compinit)",
    "fish": "embedkit completion fish > ~/.config/fish/completions/embedkit.fish",
}


@click.command(short_help="Print the script that completes commands and words.")
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print the script by which SHELL completes commands, options, formats, names of data sets and words.

    Words are those of the vectors that would be asked: of -m FILE where it stands before them, else of
    $EMBEDKIT_VECTORS or the shipped ones; the most frequent first. Words that mean something to a shell are left out.

    \b
    embedkit completion bash
    embedkit completion fish
    """  # noqa: D301  # click's sign for lines that stay
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  # click has these three
    from . import program

    script = kind(program, {}, "embedkit", "_EMBEDKIT_COMPLETE").source()
    if shell == "fish":  # which would sort words, although the frequent ones are meant to come first
        script = script.replace("complete --no-files", "complete --keep-order --no-files")
    click.echo(f"# To install: {_INSTALL[shell]}\n# and open a new terminal.\n{script}", nl=False)


# -- what parameters take ----------------------------------------------------------------------------------------------


def words(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Words of the vectors that the command would ask, the most frequent first."""
    return _beginning_with(ctx.params.get("vectors"), incomplete)


def listed_words(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The same where words are listed with commas between them: the last of them is completed."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{word}" for word in _beginning_with(ctx.params.get("vectors"), last)]


def names(*kinds: str, files: bool = True, more: tuple[str, ...] = ()) -> Complete:
    """Names of data sets on the shelf, and files.

    Parameters
    ----------
    *kinds
        Which data sets (``"corpus"``, ``"vectors"``, ...); by default all.
    files
        Whether a file is taken too; the shell then offers files where no name fits.
    more
        Other names that are taken.
    """

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        from embedkit import shelf

        # First, because bash forgets what it was offered before a file.
        found = [CompletionItem(incomplete, type="file")] if files else []
        known: dict[str, str] = dict.fromkeys(more, "")
        known |= {card.name: card.title for card in map(shelf.card, shelf.names()) if not kinds or card.kind in kinds}
        return [
            *found,
            *(CompletionItem(name, help=known[name] or None) for name in sorted(known) if name.startswith(incomplete)),
        ]

    return complete


# What commands take that read rows: vectors, tables and pictures.
data_sets = names("vectors", "images", more=("digits",))


def source_or_words(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """What a map is made of: first a file, a name or a word, then words."""
    if ctx.params.get(param.name or ""):
        return words(ctx, param, incomplete)
    named = data_sets(ctx, param, incomplete)
    return [*named, *map(CompletionItem, words(ctx, param, incomplete))] if incomplete else named


# -- words -------------------------------------------------------------------------------------------------------------


def _beginning_with(vectors: Path | None, start: str) -> list[str]:
    found: list[str] = []
    # A shell that asks wants no message: what cannot be read has no words to offer.
    with contextlib.suppress(Exception):
        for word in _words_of(vectors, start.encode("utf-8", "surrogateescape")):
            if _HARMLESS.fullmatch(word) and word.isprintable():
                found.append(word)
                if len(found) == _OFFERED:
                    break
    return found


def _words_of(vectors: Path | None, start: bytes) -> Iterator[str]:
    """The words of a file that begin so, in its order; of a large one that is no native file, only of its beginning."""
    from embedkit import pretrained
    from embedkit.formats.reading import is_native

    path = vectors or pretrained.PATH
    if is_native(path):
        from embedkit.files.store import read_tensors

        blob = read_tensors(path, verify=False).arrays["labels"].tobytes()  # labels are verified all the same
        at = blob.find(b"\n" + start)
        while 0 <= at < len(blob) - 1:
            end = blob.index(b"\n", at + 1)
            yield blob[at + 1 : end].decode()
            at = blob.find(b"\n" + start, end)
        return
    for word in _first_words(path):
        if word.startswith(start):
            yield word.decode("utf-8", "ignore")


def _first_words(path: Path) -> Iterator[bytes]:
    """The words at the beginning of a file of vectors in word2vec's formats or GloVe's."""
    from embedkit.files.opening import opened
    from embedkit.formats.binary_vectors import is_binary

    with opened(path) as stream:
        head = stream.read(_TEXT_READ)
        binary = is_binary(head)
        if binary:
            head += stream.read(_BINARY_READ)
    first, _, rest = head.partition(b"\n")
    if binary:
        width = 4 * int(first.split()[1])
        at = 0
        while (space := rest.find(b" ", at)) >= 0:
            yield rest[at:space].lstrip(b"\n")
            at = space + 1 + width
    elif b"\0" not in head:
        header = len(first.split()) == 2
        for line in (rest if header else head).split(b"\n")[:-1]:
            yield line.partition(b" ")[0]
