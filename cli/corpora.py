"""`embedkit corpora list` and `embedkit corpora show`: what is on the shelf."""

from __future__ import annotations

import sys
from typing import Any

import click

from embedkit import shelf
from embedkit.shelf.cards import Card, FileEntry, size_text, total_size
from embedkit.shelf.checking import KINDS
from embedkit.shelf.locating import at_hand

from .completion import names
from .output import Printer, format_option


@click.group(short_help="Show the shelf: corpora, vectors, images and questions by name.")
def corpora() -> None:
    """Show the shelf: named corpora, vectors, images, analogy questions and word pairs.

    Each has a card: where it comes from, its licence, size and checksums. `embedkit fetch NAME` gets it.

    \b
    embedkit corpora list
    """  # noqa: D301  # click's sign for lines that stay


@corpora.command("list", short_help="List all data sets.")
@format_option
def list_(style: str) -> None:
    """List all data sets, with the size of their download and whether they are here.

    \b
    embedkit corpora list
    """  # noqa: D301  # click's sign for lines that stay
    print_shelf(style)


@corpora.command(short_help="Show the card of a data set.")
@click.argument("name", shell_complete=names(files=False))
@format_option
def show(name: str, style: str) -> None:
    """Show the card of the data set NAME: source, licence, files, checksums, and where they lie if they are here.

    \b
    embedkit corpora show mnist
    """  # noqa: D301  # click's sign for lines that stay
    card = shelf.card(name)
    facts: list[tuple[str, Any]] = [
        ("name", card.name),
        ("title", card.title),
        ("kind", card.kind),
        ("licence", card.licence),
        ("licence_url", card.licence_url or None),
        ("homepage", card.homepage or None),
        ("citation", card.citation),
        ("how to get it", card.how),
        ("download", _size(total_size(card.downloads(card.choose())), style)),
    ]
    here = at_hand(card)
    for entry in card.files:
        before = f"files.{entry.name}"
        facts += _known(entry, before)
        if entry.source:
            facts += _known(card.source(entry), f"{before}.archive")
        facts.append((f"{before}.path", str(here[entry.name]) if entry.name in here else None))
    printer = Printer(["fact", "value"], style)
    printer.print(facts)
    printer.close()
    if style == "table":
        sys.stdout.write(f"\n{card.notes}\n")


def _known(entry: FileEntry, before: str) -> list[tuple[str, Any]]:
    """Size, checksums and address, as far as they are published."""
    checks = [(f"{before}.{kind}", getattr(entry, kind)) for kind in KINDS if getattr(entry, kind)]
    urls = [(f"{before}.from", url) for url in entry.urls[:1]]
    return [(f"{before}.bytes", entry.bytes), *(checks or [(f"{before}.checksum", "not published")]), *urls]


def print_shelf(style: str) -> None:
    """All data sets as rows, the sizes in words where people read them."""
    printer = Printer(["name", "kind", "size", "licence", "here"], style)
    printer.print(_row(shelf.card(name), style) for name in shelf.names())
    printer.close()


def _row(card: Card, style: str) -> tuple[Any, ...]:
    here = at_hand(card, verify=False)
    wanted = card.choose()
    complete = bool(here) and (card.alternatives or all(entry.name in here for entry in wanted))
    size = _size(total_size(card.downloads(wanted)), style)
    answer = ("yes" if complete else "no") if card.files else None  # what is generated is neither
    return card.name, card.kind, size, card.licence, answer


def _size(count: int | None, style: str) -> int | str | None:
    return size_text(count) if count is not None and style == "table" else count
