"""`embedkit corpus`: look at a text, encode it, find its phrases."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from embedkit.progress import bar

from .hints import Family
from .output import Printer, format_option
from .texts import corpus_options, open_corpus


@click.group(cls=Family, short_help="Look at a text, encode it, find its phrases.")
def corpus() -> None:
    """Look at a text, encode it, find its phrases.

    TEXT is a file, a folder, a pattern ("texts/*.txt"), - for standard input, or a name on the shelf (see embedkit
    corpora list). Files are UTF-8 text or JSON lines, plain or packed by gzip, bzip2 or xz; each line is a document.

    \b
    embedkit corpus info text.txt
    """  # noqa: D301  # click's sign for lines that stay


@corpus.command(short_help="Count documents, tokens and words.")
@corpus_options
@click.option("--top", default=10, type=click.IntRange(min=0), help="How many of the most frequent words to show.")
@format_option
def info(top: int, style: str, **options: Any) -> None:
    """Count the documents, tokens and words of TEXT, and show the most frequent words.

    \b
    embedkit corpus info text.txt
    embedkit corpus info "texts/*.txt" --tokenize words --lowercase
    """  # noqa: D301  # click's sign for lines that stay
    encoded = open_corpus(**options).encode(callback=bar("counting"))
    facts: list[tuple[str, Any]] = list(encoded.statistics().items())
    words = encoded.vocabulary.words[:top]
    if top:
        facts.append(("most_frequent", " ".join(words)))
    printer = Printer(["fact", "value"], style)
    printer.print(facts)
    printer.close()


@corpus.command(short_help="Write a text as word ids, for fast training.")
@corpus_options
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="File to write.")
def encode(output: Path, **options: Any) -> None:
    """Write TEXT as word ids and a vocabulary, in one memory-mapped file that embedkit.load opens.

    \b
    embedkit corpus encode text.txt -o text.safetensors
    """  # noqa: D301  # click's sign for lines that stay
    encoded = open_corpus(**options).encode(output, callback=bar("encoding"))
    words = f"{encoded.tokens:,} tokens of {len(encoded.vocabulary):,} words in {encoded.documents:,} documents"
    click.echo(f"wrote {words} to {output}", err=True)


@corpus.command(short_help="Find words that belong together: new york.")
@corpus_options
@click.option("--min-count", default=5, type=click.IntRange(min=1), help="Ignore pairs seen less often.")
@click.option("--threshold", default=None, type=float, help="Score of a phrase.  [default: 10, for npmi 0.5]")
@click.option("--scoring", type=click.Choice(["default", "npmi"]), default="default", help="How to score a pair.")
@click.option("--connector", "connectors", multiple=True, help="A word that may stand inside a phrase; repeatable.")
@click.option("--top", default=20, type=click.IntRange(min=0), help="How many phrases to show.")
@click.option("--explain", multiple=True, metavar="'WORD WORD'", help="Say why these were joined or not; repeatable.")
@click.option("-o", "--output", default=None, type=click.Path(path_type=Path), help="Write the text, phrases joined.")
@format_option
def phrases(min_count: int, threshold: float | None, scoring: Literal["default", "npmi"], connectors: tuple[str, ...],
            top: int, explain: tuple[str, ...], output: Path | None, style: str, **options: Any) -> None:  # fmt: skip
    """Find words of TEXT that stand together more often than chance would have it, best first.

    \b
    embedkit corpus phrases text.txt -o joined.txt
    embedkit corpus phrases text.txt --explain "king queen"
    """  # noqa: D301  # click's sign for lines that stay
    from embedkit.files.atomic import replacing
    from embedkit.text.phrases import Phrases

    text = open_corpus(**options)
    limit = threshold if threshold is not None else 10.0 if scoring == "default" else 0.5
    found = Phrases(min_count=min_count, threshold=limit, scoring=scoring, connector_words=connectors).fit(text)
    if explain:
        printer = Printer(["phrase", "joined", "score", "reason"], style)
        told = [found.explain(*phrase.split()) for phrase in explain]
        printer.print([(" ".join(one.phrase), "yes" if one.joined else "no", one.score, one.reason) for one in told])
    else:
        printer = Printer(["phrase", "score"], style)
        printer.print(list(found.phrases_.items())[:top])
    printer.close()
    if output is not None:
        with replacing(output) as stream:
            for tokens in found.transform(text):
                stream.write((" ".join(tokens) + "\n").encode())
        click.echo(f"wrote the text with {len(found.phrases_):,} phrases joined to {output}", err=True)
