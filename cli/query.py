"""`embedkit analogy`, `embedkit similar` and `embedkit expr`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

import click

from embedkit import Embedding, Search
from embedkit.errors import BadInput
from embedkit.files.lines import numbered_lines
from embedkit.search import Neighbours
from embedkit.search.engine import METHODS

from . import BAD_INPUT, OK, UNKNOWN_WORD, complain
from .completion import words as words_of_vectors
from .hints import about_word
from .options import device_option, ignore_case_option, open_vectors, vectors_option
from .output import Printer, format_option

Question: TypeAlias = list[str]
Line: TypeAlias = tuple[int, Question]

_BATCH = 4096  # lines answered together

k_option = click.option("-k", default=10, type=click.IntRange(min=1), help="How many answers to each question.")
restrict_option = click.option(
    "--restrict", default=None, type=click.IntRange(min=1), help="Answers among the first so many rows only."
)
inputs_option = click.option("--with-inputs", is_flag=True, help="Let the words that were asked with be answers too.")
input_option = click.option(
    "-i", "--input", "batch", type=click.Path(path_type=Path), help="File of questions, one a line; - reads from stdin."
)


@click.command(short_help="Answer A - B + C: king - man + woman.")
@click.argument("words", nargs=-1, metavar="A B C", shell_complete=words_of_vectors)
@input_option
@k_option
@click.option("--method", type=click.Choice(METHODS), default="3cosadd", help="How to score.")
@restrict_option
@inputs_option
@ignore_case_option
@vectors_option
@device_option
@format_option
def analogy(
    words: tuple[str, ...],
    batch: Path | None,
    k: int,
    method: Literal["3cosadd", "3cosmul"],
    restrict: int | None,
    with_inputs: bool,
    ignore_case: bool,
    vectors: Path | None,
    device: Any,
    style: str,
) -> int:
    """Answer A - B + C: what is to C as A is to B.

    Questions can also come from a file (-i FILE) or from standard input (embedkit analogy -), three words a line,
    separated by spaces, or by tabs where words hold spaces. Questions with unknown words are named, the others
    answered, and the exit code is 3.

    \b
    embedkit analogy king man woman
    embedkit analogy paris france italy -k 3 --format csv
    embedkit analogy - -k 1 < questions.txt
    """  # noqa: D301  # click's sign for lines that stay

    def ask(search: Search, asked: Sequence[Question]) -> Neighbours:
        return search.analogies(
            asked,
            k,
            method=method,
            exclude_inputs=not with_inputs,
            missing="skip",
            ignore_case=ignore_case,
            restrict=restrict,
        )

    lines = _questions(words, batch, 3)
    return _answer(
        lines, _three, ask, open_vectors(vectors), device, style, batch, single=batch is None and words != ("-",)
    )


def _three(words: Question) -> None:
    if len(words) != 3:
        raise BadInput(f"expected 3 words, found {len(words)}")


@click.command(short_help="Show the nearest neighbours of words.")
@click.argument("words", nargs=-1, metavar="WORD...", shell_complete=words_of_vectors)
@input_option
@k_option
@restrict_option
@inputs_option
@ignore_case_option
@vectors_option
@device_option
@format_option
def similar(
    words: tuple[str, ...],
    batch: Path | None,
    k: int,
    restrict: int | None,
    with_inputs: bool,
    ignore_case: bool,
    vectors: Path | None,
    device: Any,
    style: str,
) -> int:
    """Show the nearest neighbours of each WORD by cosine.

    Words can also come from a file (-i FILE) or from standard input (embedkit similar -), one a line. Unknown words are
    named, the others answered, and the exit code is 3.

    \b
    embedkit similar paris
    embedkit similar king queen -k 3 -m vectors.safetensors
    """  # noqa: D301  # click's sign for lines that stay

    def ask(search: Search, asked: Sequence[Question]) -> Neighbours:
        flat = [word for question in asked for word in question]
        return search.similar(
            flat, k, exclude_inputs=not with_inputs, missing="skip", ignore_case=ignore_case, restrict=restrict
        )

    lines = _questions(words, batch, 1)
    single = batch is None and len(words) == 1 and words != ("-",)
    return _answer(lines, None, ask, open_vectors(vectors), device, style, batch, single=single)


@click.command(short_help="Compute with words: mean(paris, rome) - france.")
@click.argument("expressions", nargs=-1, metavar="EXPRESSION...", shell_complete=words_of_vectors)
@input_option
@k_option
@restrict_option
@inputs_option
@click.option("--raw", is_flag=True, help="Compute with the vectors as they are, not at length 1.")
@ignore_case_option
@vectors_option
@device_option
@format_option
def expr(
    expressions: tuple[str, ...],
    batch: Path | None,
    k: int,
    restrict: int | None,
    with_inputs: bool,
    raw: bool,
    ignore_case: bool,
    vectors: Path | None,
    device: Any,
    style: str,
) -> int:
    """Show what is nearest to what each EXPRESSION comes to.

    Words are added and subtracted, with factors (0.5*france), in brackets, and by the functions mean(x, y, ...),
    project(x, direction), reject(x, direction) and interpolate(x, y, 0.3). Operators have a space before them; words
    with spaces or brackets stand in "quotation marks". Expressions can also come from a file (-i FILE) or from standard
    input (embedkit expr -), one a line; those that cannot be read are named, the others answered.

    \b
    embedkit expr "king - man + woman"
    embedkit expr "mean(paris, rome, madrid) - 0.5*europe" -k 3
    """  # noqa: D301  # click's sign for lines that stay
    from embedkit.search import expression

    def ask(search: Search, asked: Sequence[Question]) -> Neighbours:
        flat = [text for question in asked for text in question]
        return search.solve(
            flat,
            k,
            unit=not raw,
            exclude_inputs=not with_inputs,
            missing="skip",
            ignore_case=ignore_case,
            restrict=restrict,
        )

    def check(words: Question) -> None:
        expression.parse(words[0])

    lines = _questions(expressions, batch, 1)
    single = batch is None and len(expressions) == 1 and expressions != ("-",)
    return _answer(lines, check, ask, open_vectors(vectors), device, style, batch, single=single)


def _questions(words: tuple[str, ...], batch: Path | None, size: int) -> Iterator[Line]:
    """Questions of `size` words with their numbers, from the command line, a file, or standard input."""
    if batch is not None and words:
        raise click.UsageError("give words or -i FILE, not both")
    if batch is not None or words == ("-",):
        return _read(Path("-") if batch is None else batch, size)
    if not words or (size > 1 and len(words) != size):
        expected = "three words: A B C, for A - B + C" if size == 3 else "one word or more"
        other = "; for other arithmetic: embedkit expr 'king - man + woman'" if size == 3 and len(words) > 3 else ""
        raise click.UsageError(f"expected {expected} (or - for standard input), got {len(words)}{other}")
    return ((number, list(words[start : start + size])) for number, start in enumerate(range(0, len(words), size), 1))


def _read(path: Path, size: int) -> Iterator[Line]:
    stdin = str(path) == "-"
    for number, line in numbered_lines(sys.stdin.buffer if stdin else path, "standard input" if stdin else ""):
        # A tab says that words may hold spaces; a line for one word is that word.
        words = [line] if size == 1 else line.split("\t") if "\t" in line else line.split()
        if any(word.strip() for word in words):
            yield number, words


def _answer(
    lines: Iterable[Line],
    check: Callable[[Question], None] | None,
    ask: Callable[[Search, Sequence[Question]], Neighbours],
    embedding: Embedding,
    device: Any,
    style: str,
    batch: Path | None,
    *,
    single: bool,
) -> int:
    """Answer `lines` in batches, print, and name what could not be answered; gives the exit code.

    `check` raises BadInput for a question that cannot be asked.
    """
    search = Search(embedding, device=device)
    # A person who asks one question needs no column that repeats it.
    short = single and style == "table"
    printer = Printer(["rank", "label", "score"] if short else ["query", "rank", "label", "score"], style)
    code = OK
    where = "" if batch is None or str(batch) == "-" else f"{batch}: "
    lines = iter(lines)
    bad: BadInput | None = None
    while bad is None:
        numbered: list[Line] = []
        try:
            numbered.extend(islice(lines, _BATCH))
        except BadInput as error:  # what came before the damage is answered all the same
            bad = error
        if not numbered and bad is None:
            break
        asked = []
        for number, words in numbered:
            try:
                if check is not None:
                    check(words)
                asked.append(words)
            except BadInput as error:
                code = complain(str(error) if single else f"{where}line {number}: {error}", BAD_INPUT)
        found = ask(search, asked)
        printer.print([tuple(row)[1:] if short else tuple(row) for row in found])
        if found.unknown:
            unknown = embedding.labels.unknown(found.unknown)
            for word in unknown.missing:
                complain(f"unknown word {unknown.describe(word)}{about_word(word)}", UNKNOWN_WORD)
            code = code or UNKNOWN_WORD
    printer.close()
    if bad is not None:
        return complain(str(bad), BAD_INPUT)
    return code
