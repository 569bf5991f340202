"""`embedkit evaluate`: how good vectors are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from embedkit import shelf
from embedkit.errors import BadFile
from embedkit.search.engine import METHODS

from .completion import names
from .gates import Figure, Minimum, check_names, judge, min_option
from .hints import Family
from .options import device_option, open_vectors, vectors_option
from .output import Printer, format_option

if TYPE_CHECKING:
    from embedkit.evaluation import AnalogyReport

_Function = TypeVar("_Function", bound=Callable[..., Any])

_RESTRICT = 300_000  # as gensim's evaluate_word_analogies does

files_argument = click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path),
                                shell_complete=names("questions", "pairs"))  # fmt: skip
rules_option = click.option(
    "--rules",
    type=click.Choice(["gensim", "cased"]),
    default="gensim",
    help="Ignore capitals as gensim does, or take words as written.",
)
method_option = click.option("--method", type=click.Choice(METHODS), default="3cosadd", help="How to score.")


def restrict_option(default: int | None) -> Callable[[_Function], _Function]:
    """``--restrict``: the cut of the vocabulary."""
    return click.option(
        "--restrict",
        default=default,
        type=click.IntRange(min=0),
        help="Use only the most frequent so many words; 0 for all.",
    )


@click.group(cls=Family, short_help="Measure how good vectors are.")
def evaluate() -> None:
    """Measure how good vectors are, with coverage and rules stated.

    FILE is a file or a folder, or, where there is none of that name, a set from the shelf: questions-words, wordsim-353
    and others (embedkit corpora list).

    \b
    embedkit evaluate analogies questions-words.txt
    """  # noqa: D301  # click's sign for lines that stay


@evaluate.command(short_help="Correlation with human judgements of similarity.")
@files_argument
@min_option("Spearman correlation")
@restrict_option(0)
@rules_option
@vectors_option
@format_option
def similarity(files: tuple[Path, ...], minima: tuple[Minimum, ...], restrict: int, rules: str, vectors: Path | None,
               style: str) -> int:  # fmt: skip
    """Correlate the cosines of the word pairs in each FILE with the scores that people gave them.

    A line of FILE is a word, another, and a score, separated by tabs or spaces; the first may be a header. A pair is
    covered if both its words are known; the correlations are of the covered ones, but for spearman_of_all, where the
    others have a cosine of 0. The 95% intervals are from drawing pairs anew, with replacement.

    \b
    embedkit evaluate similarity pairs.txt
    embedkit evaluate similarity pairs.txt -m vectors.safetensors --min 0.3
    """  # noqa: D301  # click's sign for lines that stay
    from embedkit.evaluation import evaluate_similarity, read_pairs

    sets = [(name, path, read_pairs(path)) for name, path in _sets(files)]
    check_names(minima, (name for name, *_ in sets))
    embedding = open_vectors(vectors)
    reports = [
        evaluate_similarity(embedding, pairs, restrict=restrict or None, ignore_case=rules == "gensim", name=name)
        for name, _, pairs in sets
    ]
    header = ["set", "pairs", "covered", "spearman", "spearman_low", "spearman_high", "pearson", "pearson_low",
              "pearson_high", "spearman_of_all"]  # fmt: skip
    _print(
        header,
        [
            (
                r.name,
                len(r.pairs),
                r.covered,
                r.spearman,
                *r.interval,
                r.pearson,
                *r.pearson_interval,
                r.spearman_of_all,
            )
            for r in reports
        ],
        style,
    )
    _say(f"{_capitals(rules)}, {reports[0].vocabulary} words; intervals are of 95%, by drawing word pairs")
    figures = [Figure(name, str(path), r.spearman) for (name, path, _), r in zip(sets, reports, strict=True)]
    return judge("Spearman correlation", figures, minima)


@evaluate.command(short_help="Accuracy on analogy questions.")
@files_argument
@restrict_option(_RESTRICT)
@method_option
@rules_option
@click.option("--ranks", is_flag=True, help="Also tell at which rank the expected answer stands; takes far longer.")
@min_option("Accuracy of the covered questions")
@vectors_option
@device_option
@format_option
def analogies(files: tuple[Path, ...], restrict: int, method: Any, rules: Any, ranks: bool,
              minima: tuple[Minimum, ...], vectors: Path | None, device: Any, style: str) -> int:  # fmt: skip
    """Measure accuracy on the analogy questions in each FILE, by section.

    FILE has the layout of word2vec's questions-words.txt (lines ': SECTION' and lines of four words), or is the
    NAME.questions of MSR with its NAME.answers beside it, or a folder in the layout of BATS. A question is covered if
    all its words are known, and one of its answers; accuracy is of the covered ones, but for accuracy_of_all. It is
    given with the three inputs left out of the possible answers, as is usual, and with them. The last line, on standard
    error, has its 95% interval in brackets, from drawing the word pairs of each section anew, with replacement.

    \b
    embedkit evaluate analogies questions-words.txt -m vectors.safetensors
    """  # noqa: D301  # click's sign for lines that stay
    from embedkit.evaluation import evaluate_analogies, read_questions
    from embedkit.evaluation.intervals import with_interval

    sets = [(name, path, read_questions(path)) for name, path in _sets(files)]
    check_names(minima, _names((name, questions) for name, _, questions in sets))
    embedding = open_vectors(vectors)
    header = ["set", "section", "questions", "covered", "correct", "correct_with_inputs", "accuracy",
              "accuracy_with_inputs", "accuracy_of_all", *(["mrr", "median_rank"] if ranks else [])]  # fmt: skip
    rows, lines, figures = [], [], []
    for name, path, questions in sets:
        report = evaluate_analogies(
            embedding, questions, restrict=restrict or None, method=method, rules=rules, device=device, ranks=ranks,
            name=name,
        )  # fmt: skip
        places = report.rank_figures() if ranks else [()] * (len(report.sections) + 1)
        for section, place in zip(report, places, strict=True):
            shares = (section.accuracy, section.accuracy_with_inputs, section.accuracy_of_all)
            rows.append((name, *section, *shares, *place))
        total = report.total
        sections = sum(section.covered > 0 for section in report.sections)
        lines.append(
            f"{total.correct} of {total.covered} covered questions right "
            f"({with_interval(total.accuracy, report.interval, '.1%')}), "
            f"{_percent(total.accuracy_of_all)} of all {total.questions}; "
            f"mean of {sections} section{'s' * (sections != 1)} "
            f"{with_interval(report.macro_accuracy, report.macro_interval, '.1%')}; {_mrr(report)}"
            f"{report.method}, rules {report.rules}, {report.vocabulary} words, on {report.device}"
        )
        figures.append(Figure(name, str(path), total.accuracy))
        figures += [Figure(name, f"{path}, {s.section}", s.accuracy, s.section) for s in report.sections if s.section]
    _print(header, rows, style)
    _say_each(sets, lines)
    return judge("accuracy of the covered questions", figures, minima)


@evaluate.command(short_help="Degrees of relational similarity.")
@files_argument
@restrict_option(0)
@rules_option
@min_option("Mean Spearman correlation")
@vectors_option
@format_option
def relational(files: tuple[Path, ...], restrict: int, rules: str, minima: tuple[Minimum, ...], vectors: Path | None,
               style: str) -> int:  # fmt: skip
    """Compare how typical word pairs are of a relation by their offsets with how typical people find them.

    FILE is a folder in the layout of SemEval-2012 Task 2: Phase1Questions-1a.txt, GoldRatings-1a.txt and, for the
    MaxDiff accuracy, Phase2Answers-1a.txt of every relation. A pair is covered if both its words are known. The last
    line has the 95% interval of the mean correlation, from drawing the pairs of each relation anew.

    \b
    embedkit evaluate relational relations
    """  # noqa: D301  # click's sign for lines that stay
    from embedkit.evaluation import evaluate_relational, read_relations
    from embedkit.evaluation.intervals import with_interval

    sets = [(name, path, read_relations(path)) for name, path in _sets(files)]
    check_names(minima, _names((name, [relation.name for relation in relations]) for name, _, relations in sets))
    embedding = open_vectors(vectors)
    rows, lines, figures = [], [], []
    for name, path, relations in sets:
        report = evaluate_relational(
            embedding, relations, restrict=restrict or None, ignore_case=rules == "gensim", name=name
        )
        rows += [(name, *one) for one in report.figures]
        means = (report.spearman, report.spearman_of_all, report.maxdiff)
        rows.append((name, "mean", report.pairs, report.covered, *means))
        lines.append(
            f"mean Spearman {with_interval(report.spearman, report.interval, '.3f')} of {len(report.figures)} relations"
            f"; {_capitals(rules)}, {report.vocabulary} words"
        )
        figures.append(Figure(name, str(path), report.spearman))
        figures += [Figure(name, f"{path}, {one.relation}", one.spearman, one.relation) for one in report.figures]
    _print(["set", "relation", "pairs", "covered", "spearman", "spearman_of_all", "maxdiff"], rows, style)
    _say_each(sets, lines)
    return judge("Spearman correlation", figures, minima)


@evaluate.command(short_help="Find the word that does not belong.")
@files_argument
@restrict_option(0)
@rules_option
@min_option("Accuracy of the covered outliers")
@vectors_option
@format_option
def outliers(files: tuple[Path, ...], restrict: int, rules: str, minima: tuple[Minimum, ...], vectors: Path | None,
             style: str) -> int:  # fmt: skip
    """Measure how often the word that does not belong to a group is the one that fits it worst.

    FILE is a folder in the layout of 8-8-8, or one of its files: the words of a group, one a line, an empty line, its
    outliers. An outlier is covered if it is known, and two words of its group; unknown words of a group are left out.
    opp is the mean position of the outliers, from 0 to 1. The last line has the 95% interval of the accuracy, for other
    outliers of the same groups.

    \b
    embedkit evaluate outliers outliers
    """  # noqa: D301  # click's sign for lines that stay
    from embedkit.evaluation import evaluate_outliers, read_outliers
    from embedkit.evaluation.intervals import with_interval

    sets = [(name, path, read_outliers(path)) for name, path in _sets(files)]
    check_names(minima, _names((name, [group.name for group in groups]) for name, _, groups in sets))
    embedding = open_vectors(vectors)
    rows: list[tuple[Any, ...]] = []
    lines, figures = [], []
    for name, path, groups in sets:
        report = evaluate_outliers(
            embedding, groups, restrict=restrict or None, ignore_case=rules == "gensim", name=name
        )
        rows += [(name, *one) for one in report.figures]
        counts = [(f.outliers, f.covered, f.detected, f.cluster, f.cluster_known) for f in report.figures]
        sums = [sum(column) for column in zip(*counts, strict=True)]
        rows.append((name, "total", *sums, report.accuracy, report.opp))
        lines.append(
            f"{sums[2]} of {report.covered} covered outliers detected "
            f"({with_interval(report.accuracy, report.interval, '.1%')}), {_percent(report.accuracy_of_all)} of all "
            f"{sums[0]}; mean of groups {_percent(report.macro_accuracy)}; {_capitals(rules)}, {report.vocabulary} "
            "words"
        )
        figures.append(Figure(name, str(path), report.accuracy))
        figures += [Figure(name, f"{path}, {one.group}", one.accuracy, one.group) for one in report.figures]
    header = ["set", "group", "outliers", "covered", "detected", "cluster", "cluster_known", "accuracy", "opp"]
    _print(header, rows, style)
    _say_each(sets, lines)
    return judge("accuracy of the covered outliers", figures, minima)


@evaluate.command(short_help="Purity of clusters of words.")
@files_argument
@restrict_option(0)
@rules_option
@click.option("--seed", default=0, type=click.IntRange(min=0), help="Seed of the starts of k-means.")
@min_option("Purity")
@vectors_option
@format_option
def categories(files: tuple[Path, ...], restrict: int, rules: str, seed: int, minima: tuple[Minimum, ...],
               vectors: Path | None, style: str) -> int:  # fmt: skip
    """Cluster the words in each FILE into as many clusters as they have categories, and measure how pure those are.

    A line of FILE is a word and its category, separated by a tab or spaces. Purity is the share of the known words that
    are of the most frequent category of their cluster. The last line has its 95% interval, for other words of these
    categories in the clusters that were found.

    \b
    embedkit evaluate categories categories.txt
    """  # noqa: D301  # click's sign for lines that stay
    from embedkit.evaluation import evaluate_categories, read_categories
    from embedkit.evaluation.intervals import with_interval

    sets = [(name, path, read_categories(path)) for name, path in _sets(files)]
    check_names(minima, _names((name, [word.category for word in words]) for name, _, words in sets))
    embedding = open_vectors(vectors)
    rows, lines, figures = [], [], []
    for name, path, words in sets:
        report = evaluate_categories(
            embedding, words, restrict=restrict or None, ignore_case=rules == "gensim", random_state=seed, name=name
        )
        rows += [(name, *one) for one in report.figures]
        correct = int(report.correct.sum())
        rows.append((name, "total", len(report.words), report.covered, correct, report.purity))
        lines.append(
            f"purity {with_interval(report.purity, report.interval, '.1%')} of {report.covered} covered words, "
            f"{_percent(report.purity_of_all)} of all {len(report.words)}; mean of categories "
            f"{_percent(report.macro_accuracy)}; k-means seed {seed}, {_capitals(rules)}, {report.vocabulary} words"
        )
        figures.append(Figure(name, str(path), report.purity))
        figures += [Figure(name, f"{path}, {one.category}", one.accuracy, one.category) for one in report.figures]
    _print(["set", "category", "words", "covered", "correct", "purity"], rows, style)
    _say_each(sets, lines)
    return judge("purity", figures, minima)


@evaluate.command(short_help="Which of two files of vectors is better.")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@files_argument
@click.option("--restrict", type=click.IntRange(min=0),
              help=f"Use only the most frequent so many words of each; 0 for all. [default: {_RESTRICT} for questions, "
              "0 for pairs]")  # fmt: skip
@method_option
@rules_option
@device_option
@format_option
def compare(a: Path, b: Path, files: tuple[Path, ...], restrict: int | None, method: Any, rules: Any, device: Any,
            style: str) -> int:  # fmt: skip
    """Compare the vectors A and B on the analogy questions or word pairs in each FILE.

    Both are judged by the same word pairs in every draw of the bootstrap. Lines "both" are of the questions or pairs
    that both cover, lines "own" of those that each covers by itself. difference is that of A less that of B, with the
    ends of its 95% interval; a_better is the share of the draws in which A is better.

    \b
    embedkit evaluate compare old.safetensors new.safetensors questions-words.txt
    """  # noqa: D301  # click's sign for lines that stay
    from embedkit.evaluation import compare as compare_both
    from embedkit.evaluation import read_items

    sets = [(name, path, read_items(path)) for name, path in _sets(files)]
    first, second = open_vectors(a), open_vectors(b)
    rows = []
    for name, _, items in sets:
        cut = restrict if restrict is not None else _RESTRICT if isinstance(items, dict) else 0
        found = compare_both(
            first, second, items, restrict=cut or None, method=method, rules=rules, device=device, name=name
        )
        rows += [(name, *one[:7], *one.interval, one.a_better) for one in found]
    header = ["set", "figure", "items", "covered_a", "covered_b", "a", "b", "difference", "low", "high", "a_better"]
    _print(header, rows, style)
    _say(f"a is {a}, b is {b}; {_capitals(rules)}; intervals are of 95%, by drawing the same word pairs for both")
    return 0


def _sets(files: Iterable[Path]) -> list[tuple[str, Path]]:
    """Files with their names: those that were given, or those of the shelf."""
    found = []
    for file in files:
        if not file.exists() and file.name == str(file) and "." not in file.name and str(file) not in shelf.names():
            raise BadFile(file, "cannot be read: there is no such file, nor a set on the shelf (embedkit corpora list)")
        if file.exists() or str(file) not in shelf.names():
            found.append((file.name if file.is_dir() else file.stem, file))
            continue
        usual = [entry.name for entry in shelf.card(str(file)).choose()]
        located = shelf.locate(str(file), usual)
        found += [(str(file) if len(located) == 1 else path.stem, path) for path in located.values()]
    return found


def _names(sets: Iterable[tuple[str, Iterable[str]]]) -> list[str]:
    """The names of sets, then of their sections."""
    named = [(name, list(sections)) for name, sections in sets]
    return [*(name for name, _ in named), *(section for _, sections in named for section in sections if section)]


def _print(header: Sequence[str], rows: Iterable[Sequence[Any]], style: str) -> None:
    printer = Printer(header, style)
    printer.print([tuple(_plain(value) for value in row) for row in rows])
    printer.close()


def _say_each(sets: Sequence[tuple[str, Path, Any]], lines: Sequence[str]) -> None:
    for (name, *_), line in zip(sets, lines, strict=True):
        _say(line if len(lines) == 1 else f"{name}: {line}")


def _say(line: str) -> None:
    click.echo(line, err=True)


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1%}"


def _mrr(report: AnalogyReport) -> str:
    return "" if report.ranks is None else f"mean reciprocal rank {report.rank_figures()[-1].mrr:.3f}; "


def _capitals(rules: str) -> str:
    return "capitals ignored" if rules == "gensim" else "words taken as written"
