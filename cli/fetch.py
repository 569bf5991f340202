"""`embedkit fetch`: get a data set of the shelf."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from embedkit import shelf
from embedkit.errors import printable
from embedkit.shelf.cards import Card, FileEntry, size_text, total_size
from embedkit.shelf.fetching import downloads, missing, refuse
from embedkit.shelf.locating import folder

from . import FAILURE, OK, complain
from .completion import names
from .corpora import print_shelf
from .output import format_option

if TYPE_CHECKING:
    from embedkit.shelf.downloading import Progress


@click.command(short_help="Get a data set of the shelf: text8, mnist, glove-6b, ...")
@click.argument("name", required=False, shell_complete=names(files=False))
@click.option("--file", "files", multiple=True, metavar="FILE",
              help="Get this file of it rather than the usual ones; may be repeated.")  # fmt: skip
@click.option("--from-file", "given", multiple=True, type=click.Path(path_type=Path), metavar="PATH",
              help="Take a file that you have, checked in the same way; may be repeated.")  # fmt: skip
@click.option("-y", "--yes", is_flag=True, help="Do not ask before downloading.")
@click.option("--list", "listing", is_flag=True, help="List what can be got.")
@format_option
def fetch(name: str | None, files: tuple[str, ...], given: tuple[Path, ...], yes: bool, listing: bool,
          style: str) -> int:  # fmt: skip
    """Get the data set NAME into the cache and print the paths of its files, one a line.

    Its size and licence are shown before anything is downloaded. Every file is checked before it gets its name; a
    download that was broken off goes on from there. The cache is $EMBEDKIT_CACHE, else the user's cache folder.
    EMBEDKIT_OFFLINE=1 forbids downloads; --from-file takes a file that came another way.

    \b
    embedkit fetch --list
    embedkit fetch text8
    """  # noqa: D301  # click's sign for lines that stay
    if listing:
        if name is not None:
            raise click.UsageError("give NAME or --list, not both")
        print_shelf(style)
        return OK
    if name is None:
        raise click.UsageError("expected the NAME of a data set, or --list")
    card = shelf.card(name)
    wanted = card.choose(files or None)
    absent = [] if given else missing(card, wanted)
    refuse(card, absent)
    if ahead := downloads(card, absent):
        _announce(card, ahead)
        if sys.stdin.isatty() and not yes and not click.confirm("Download it?", default=True, err=True):
            return complain("nothing was downloaded", FAILURE)
    with _bars() as progress:
        found = shelf.fetch(name, files=files or None, from_file=given or None, progress=progress, say=_say)
    for path in found.values():
        click.echo(printable(str(path)))
    return OK


def _announce(card: Card, ahead: Sequence[FileEntry]) -> None:
    size = total_size(ahead)
    hosts = dict.fromkeys(str(urlsplit(entry.urls[0]).hostname) for entry in ahead)
    _say(f"{card.title}: {'size not published' if size is None else size_text(size)} from {', '.join(hosts)}")
    _say(f"licence: {card.licence}" + (f" ({card.licence_url})" if card.licence_url else ""))
    _say(f"kept in {folder(card)}")


def _say(line: str) -> None:
    click.echo(printable(line), err=True)


@contextlib.contextmanager
def _bars() -> Iterator[Progress | None]:
    """A progress bar for each file on stderr; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    bars: dict[str, tqdm[Any]] = {}

    def draw(name: str, done: int, total: int | None) -> None:
        if name not in bars:
            bars[name] = tqdm(desc=name, total=total, unit="B", unit_scale=True, initial=done)
        bars[name].update(done - bars[name].n)
        if done == total:
            bars[name].close()

    try:
        yield draw
    finally:
        for bar in bars.values():
            bar.close()
