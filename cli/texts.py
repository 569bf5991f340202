"""Arguments and options of commands that read a corpus."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from embedkit import Corpus
from embedkit.errors import BadInput

from .completion import names
from .hints import check_text

_Function = TypeVar("_Function", bound=Callable[..., Any])

_OPTIONS = [
    click.argument("texts", nargs=-1, required=True, metavar="TEXT...", shell_complete=names("corpus")),
    click.option("--tokenize", type=click.Choice(["whitespace", "words", "characters"]), default="whitespace",
                 help="Split at white space, into Unicode words without punctuation, or into character 3-grams."),
    click.option("--lowercase", is_flag=True, help="Write every word in small letters."),
    click.option("--fold-accents", is_flag=True, help="Leave accents out: é becomes e."),
    click.option("--numbers", type=click.Choice(["keep", "drop", "mask"]), default="keep",
                 help="Words of digits: keep them, drop them, or write 0 for each digit."),
    click.option("--unit", type=click.Choice(["line", "paragraph", "file"]), default="line",
                 help="What of a text is a document."),
    click.option("--field", default="text", help="Where JSON lines have their text."),
    click.option("--head", default=None, type=click.IntRange(min=0), help="Only the first so many documents."),
    click.option("--share", default=None, type=click.FloatRange(0, 1), help="Only about this share of them."),
]  # fmt: skip


def corpus_options(function: _Function) -> _Function:
    """``TEXT...`` and how to read it; `open_corpus` takes them all."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


CORPUS_PARAMETERS = ("texts", "tokenize", "lowercase", "fold_accents", "numbers", "unit", "field", "head", "share")


def open_corpus(texts: tuple[str, ...], *, head: int | None, share: float | None, **options: Any) -> Corpus:
    """The corpus that the arguments of a command name: files, folders, patterns, ``-``, or one of the shelf."""
    if texts == ("-",):
        corpus = Corpus.from_stream(sys.stdin.buffer, **options)
    elif len(texts) == 1 and not Path(texts[0]).exists() and _on_shelf(texts[0]):
        corpus = Corpus.named(texts[0], **options)
    elif "-" in texts:
        raise click.UsageError("give files or - for standard input, not both")
    else:
        for text in texts:
            check_text(text)
        try:
            corpus = Corpus.from_file(*texts, **options)
        except BadInput as error:
            if len(texts) == 1 and "/" not in texts[0] and "." not in texts[0]:
                raise BadInput(f"{error}; nor is it on the shelf (see embedkit corpora list)") from None
            raise
    if head is not None:
        corpus = corpus.head(head)
    return corpus if share is None else corpus.sample(share)


def _on_shelf(name: str) -> bool:
    from embedkit import shelf

    return name in shelf.names()
