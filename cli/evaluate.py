"""`embedkit evaluate`: how good vectors are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from embedkit.search.engine import METHODS

from . import OK, QUALITY_MISSED, complain
from .options import device_option, open_vectors, vectors_option
from .output import Printer, format_option

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _no_nan(ctx: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    # It passes every comparison with the ends of a range, and would be a gate that nothing can pass.
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is not a number from 0 to 1.")
    return value


def min_option(what: str) -> Callable[[_Function], _Function]:
    """``--min X``: the quality below which the command fails."""
    return click.option(
        "--min",
        "minimum",
        type=click.FloatRange(0, 1),
        callback=_no_nan,
        help=f"{what}, from 0 to 1; otherwise the exit code is {QUALITY_MISSED}.",
    )


@click.group(short_help="Measure how good vectors are.")
def evaluate() -> None:
    """Measure how good vectors are, with coverage and rules stated."""


@evaluate.command(short_help="Correlation with human judgements of similarity.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@min_option("Spearman correlation that every FILE must reach")
@vectors_option
@format_option
def similarity(files: tuple[Path, ...], minimum: float | None, vectors: Path | None, style: str) -> int:
    """Correlate the cosines of the word pairs in each FILE with the scores that people gave them.

    A line of FILE is a word, another, and a score, separated by tabs or spaces; the first may be a header. A pair is
    covered if both its words are known, whatever their capitals; the correlations are of the covered ones. The 95%
    interval of Spearman's is from drawing pairs anew, with replacement.
    """
    from embedkit.evaluation import evaluate_similarity, read_pairs

    sets = [(file.stem, read_pairs(file)) for file in files]
    embedding = open_vectors(vectors)
    reports = [evaluate_similarity(embedding, pairs, name=name) for name, pairs in sets]
    printer = Printer(["set", "pairs", "covered", "spearman", "spearman_low", "spearman_high", "pearson"], style)
    printer.print(
        (r.name, len(r.pairs), r.covered, *map(_share, (r.spearman, *r.interval, r.pearson))) for r in reports
    )
    printer.close()
    click.echo(f"capitals ignored, {len(embedding)} words; intervals are of 95%, by drawing word pairs", err=True)
    return _judge("Spearman correlation", [(f, r.spearman) for f, r in zip(files, reports, strict=True)], minimum)


@evaluate.command(short_help="Accuracy on analogy questions.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--restrict", default=300_000, type=click.IntRange(min=0),
              help="Use only the most frequent so many words; 0 for all.")  # fmt: skip
@click.option("--method", type=click.Choice(METHODS), default="3cosadd", help="How to score.")
@click.option("--rules", type=click.Choice(["gensim", "cased"]), default="gensim",
              help="Ignore capitals as gensim does, or take words as written.")  # fmt: skip
@min_option("Accuracy of the covered questions that must be reached")
@vectors_option
@device_option
@format_option
def analogies(file: Path, restrict: int, method: Any, rules: Any, minimum: float | None, vectors: Path | None,
              device: Any, style: str) -> int:  # fmt: skip
    """Measure accuracy on the analogy questions in FILE, by section.

    FILE has the layout of word2vec's questions-words.txt: lines ': SECTION' and lines of four words. A question is
    covered if all its words are known; accuracy is of the covered ones. It is given with the three inputs left out of
    the possible answers, as is usual, and with them. The last line, on standard error, has its 95% interval in
    brackets, from drawing the word pairs of each section anew, with replacement.
    """
    from embedkit.evaluation import evaluate_analogies, read_questions
    from embedkit.evaluation.intervals import with_interval

    questions = read_questions(file)
    report = evaluate_analogies(
        open_vectors(vectors), questions, restrict=restrict or None, method=method, rules=rules, device=device
    )
    header = ["section", "questions", "covered", "correct", "correct_with_inputs", "accuracy", "accuracy_with_inputs"]
    printer = Printer(header, style)
    printer.print([(*section, *map(_share, (section.accuracy, section.accuracy_with_inputs))) for section in report])
    printer.close()
    total = report.total
    sections = sum(section.covered > 0 for section in report.sections)
    click.echo(
        f"{total.correct} of {total.covered} covered questions right "
        f"({with_interval(total.accuracy, report.interval, '.1%')}), "
        f"{_percent(total.correct, total.questions)} of all {total.questions}; "
        f"mean of {sections} section{'s' * (sections != 1)} "
        f"{with_interval(report.macro_accuracy, report.macro_interval, '.1%')}; "
        f"{report.method}, rules {report.rules}, {report.vocabulary} words, on {report.device}",
        err=True,
    )
    return _judge("accuracy of the covered questions", [(file, total.accuracy)], minimum)


def _judge(what: str, reached: Sequence[tuple[Path, float]], minimum: float | None) -> int:
    """The exit code: whether every file reached the minimum; those that did not are named in one line."""
    if minimum is None:
        return OK
    # Written so that NaN, the figure of nothing covered, has reached nothing.
    missed = [f"{file} {_below(value, minimum)}" for file, value in reached if not value >= minimum]
    return complain(f"quality missed: {what} below {minimum}: {'; '.join(missed)}", QUALITY_MISSED) if missed else OK


def _below(value: float, minimum: float) -> str:
    """`value` as tables show it, or in full where it would read as the minimum that it has missed."""
    if math.isnan(value):
        return "undefined"
    short = f"{value:.4f}"
    return short if float(short) < minimum else repr(value)


def _share(value: float) -> float | None:
    return None if math.isnan(value) else value


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"
