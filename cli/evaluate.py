"""`embedkit evaluate`: how good vectors are."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from .options import device_option, open_vectors, vectors_option
from .output import Printer, format_option


@click.group(short_help="Measure how good vectors are.")
def evaluate() -> None:
    """Measure how good vectors are, with coverage and rules stated."""


@evaluate.command(short_help="Accuracy on analogy questions.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--restrict", default=300_000, type=click.IntRange(min=0),
              help="Use only the most frequent so many words; 0 for all.")  # fmt: skip
@click.option("--method", type=click.Choice(["3cosadd", "3cosmul"]), default="3cosadd", help="How to score.")
@click.option("--rules", type=click.Choice(["gensim", "cased"]), default="gensim",
              help="Ignore capitals as gensim does, or take words as written.")  # fmt: skip
@vectors_option
@device_option
@format_option
def analogies(
    file: Path, restrict: int, method: Any, rules: Any, vectors: Path | None, device: Any, style: str
) -> None:
    """Measure accuracy on the analogy questions in FILE, by section.

    FILE has the layout of word2vec's questions-words.txt: lines ': SECTION' and lines of four words. A question is
    covered if all its words are known; accuracy is of the covered ones. It is given with the three inputs left out of
    the possible answers, as is usual, and with them.
    """
    from embedkit.evaluation import evaluate_analogies, read_questions

    questions = read_questions(file)
    report = evaluate_analogies(
        open_vectors(vectors), questions, restrict=restrict or None, method=method, rules=rules, device=device
    )
    header = ["section", "questions", "covered", "correct", "correct_with_inputs", "accuracy", "accuracy_with_inputs"]
    printer = Printer(header, style)
    printer.print([(*section, *map(_share, (section.accuracy, section.accuracy_with_inputs))) for section in report])
    printer.close()
    total = report.total
    click.echo(
        f"{total.correct} of {total.covered} covered questions right ({_percent(total.correct, total.covered)}), "
        f"{_percent(total.correct, total.questions)} of all {total.questions}; "
        f"{report.method}, rules {report.rules}, {report.vocabulary} words, on {report.device}",
        err=True,
    )


def _share(value: float) -> float | None:
    return None if math.isnan(value) else value


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"
