"""Which of two Embeddings is better: both judged by the same questions in the same bootstrap draws."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.evaluation import resampling
from embedkit.evaluation.analogies import Rules, evaluate_analogies
from embedkit.evaluation.intervals import FEWEST, UNKNOWN, Interval, percentiles
from embedkit.evaluation.questions import Sections, read_questions
from embedkit.evaluation.resampling import LEVEL, REPLICATES, RandomState
from embedkit.evaluation.similarity import WordPair, correlations, evaluate_similarity, read_pairs
from embedkit.files.lines import numbered_lines
from embedkit.kernels.exact import Doubles, Integers
from embedkit.search.engine import Device, Method

if TYPE_CHECKING:
    import pandas as pd

_QUESTION = 4  # words


class Difference(NamedTuple):
    """One figure of both Embeddings, and how sure their difference is.

    `figure` says of what; `items` is ``"both"`` (the questions or pairs that both cover) or ``"own"`` (each its own
    covered ones, as they are reported alone). `difference` is that of `a` less that of `b`, with its `interval`;
    `a_better` is the share of the bootstrap's replicates in which `a` is better, of those in which one is.
    """

    figure: str
    items: str
    covered_a: int
    covered_b: int
    a: float
    b: float
    difference: float
    interval: Interval
    a_better: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` found: a `Difference` for each figure, on the items of both and on each one's own.

    Attributes
    ----------
    differences
        In the order accuracy and macro accuracy, or spearman and pearson; each on ``"both"``, then on ``"own"``.
    items
        How many questions or pairs there are.
    name
        Of the set.
    """

    differences: tuple[Difference, ...]
    items: int
    name: str = ""

    def __iter__(self) -> Iterator[Difference]:
        return iter(self.differences)

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame with a row a difference."""
        import pandas as pd

        rows = [(*one[:7], *one.interval, one.a_better) for one in self]
        columns = [*Difference._fields[:7], "low", "high", "a_better"]
        return pd.DataFrame(rows, columns=columns)

    def __repr__(self) -> str:
        name = f"{self.name!r}, " if self.name else ""
        one = self.differences[0]
        return (
            f"Comparison({name}{one.figure} {one.a:.3f} and {one.b:.3f}, difference {one.difference:+.3f} "
            f"{one.interval:+.3f} on the {one.covered_a} of {self.items} that both cover)"
        )


def compare(
    a: Embedding,
    b: Embedding,
    items: Mapping[str, Sequence[tuple[Any, ...]]] | Sequence[tuple[str, str, float]],
    *,
    restrict: int | None = None,
    method: Method = "3cosadd",
    rules: Rules = "gensim",
    device: Device = "auto",
    replicates: int = REPLICATES,
    level: float = LEVEL,
    random_state: RandomState = 0,
    name: str = "",
) -> Comparison:
    """Compare two Embeddings on analogy questions or on word pairs with scores.

    In each replicate the same word pairs are drawn for both (those of questions within their relations, as for
    `embedkit.evaluation.analogy_interval`), so that what is hard for both does not widen the interval of their
    difference: a paired bootstrap. Where pairs are equally hard for both, what is left is chance, which the draws of
    pairs take for a little more than it is (Owen 2007, Ann. Appl. Stat. 1(2)): the interval is then rather too wide.

    Parameters
    ----------
    a, b
        Vectors, most frequent word first.
    items
        Questions by section, as `embedkit.evaluation.read_questions` gives them, or pairs, as
        `embedkit.evaluation.read_pairs` does.
    restrict
        Search, and count as known, only the first so many rows of each; `None` for all.
    method, device
        For questions; see `embedkit.evaluation.evaluate_analogies`.
    rules
        ``"gensim"`` ignores capitals, ``"cased"`` takes words as written.
    replicates, level, random_state
        As for `embedkit.evaluation.analogy_interval`.
    name
        Of the set, for the report.

    Returns
    -------
    Comparison
        Intervals are unknown where fewer than three word pairs are covered.

    Raises
    ------
    BadInput
        As for `embedkit.evaluation.evaluate_analogies` and `embedkit.evaluation.evaluate_similarity`.
    """
    generator = resampling.checked(replicates, level, random_state)
    if isinstance(items, Mapping):
        reports = [
            evaluate_analogies(one, items, restrict=restrict, method=method, rules=rules, device=device)
            for one in (a, b)
        ]
        relation = np.repeat(np.arange(len(items)), [len(members) for members in items.values()])
        crossed = _crossed([question for members in items.values() for question in members], rules)
        verdicts = np.array([report.verdicts for report in reports])

        def accuracies(values: npt.NDArray[Any]) -> tuple[Doubles, Doubles, int]:
            accuracy, macro, distinct = resampling.accuracies(relation, crossed, values, replicates, generator)
            return np.array([_accuracies(relation, one) for one in values]).T, np.array([accuracy, macro]), distinct

        found = _differences(("accuracy", "macro accuracy"), verdicts, verdicts >= 0, -1, accuracies, level)
        return Comparison(found, verdicts.shape[1], name)
    pairs = list(items)
    cosines = np.array(
        [evaluate_similarity(one, pairs, restrict=restrict, ignore_case=rules == "gensim").cosines for one in (a, b)]
    )
    scores = np.array([pair[2] for pair in pairs], dtype=np.float64)

    def correlated(values: Doubles) -> tuple[Doubles, Doubles, int]:
        some = np.isfinite(values).any(axis=0)
        x, ys = scores[some], values[:, some]
        known = np.isfinite(ys)
        here = [correlations(x[known[one]], ys[one, known[one]]) for one in range(2)]
        return np.array(here).T, resampling.correlations(x, ys, replicates, generator), int(known.sum(axis=1).min())

    found = _differences(("spearman", "pearson"), cosines, np.isfinite(cosines), np.nan, correlated, level)
    return Comparison(found, len(pairs), name)


def read_items(path: str | os.PathLike[str]) -> Sections | list[WordPair]:
    """Read what `compare` takes: analogy questions or word pairs, whichever the file holds.

    Parameters
    ----------
    path
        A folder, a file ``NAME.questions``, or a file whose first line that is neither empty nor a comment begins with
        a colon or has four words: questions, for `embedkit.evaluation.read_questions`. Else pairs, for
        `embedkit.evaluation.read_pairs`.

    Raises
    ------
    BadFile
        As for these.
    """
    place = Path(path)
    if not place.is_dir() and place.suffix != ".questions":
        lines = (text.strip() for _, text in numbered_lines(place))
        first = next((line for line in lines if line and not line.startswith("#")), "")
        if "\t" in first or not (first.startswith(":") or len(first.split()) == _QUESTION):
            return read_pairs(place)
    return read_questions(place)


def _differences(
    figures: tuple[str, str],
    values: npt.NDArray[Any],
    covered: npt.NDArray[np.bool_],
    none: float,
    measure: Callable[[npt.NDArray[Any]], tuple[Doubles, Doubles, int]],
    level: float,
) -> tuple[Difference, ...]:
    """`measure` gives, of values (2, n), two figures of both (2, 2), their replicates (2, 2, r), how many were drawn.

    `none` is what stands in `values` where something is not covered.
    """
    found = {}
    for items, kept in (("both", covered & covered.all(axis=0)), ("own", covered)):
        numbers, replicates, distinct = measure(np.where(kept, values, none))
        covered_a, covered_b = kept.sum(axis=1).tolist()
        for figure, (first, second), (x, y) in zip(figures, numbers.tolist(), replicates, strict=True):
            gap = x - y
            known = distinct >= FEWEST
            decided = np.isfinite(gap) & (gap != 0) & known
            found[figure, items] = Difference(
                figure,
                items,
                covered_a,
                covered_b,
                first,
                second,
                first - second,
                percentiles(gap, level) if known else UNKNOWN,
                float((gap[decided] > 0).mean()) if decided.any() else math.nan,
            )
    return tuple(found[figure, items] for figure in figures for items in ("both", "own"))


def _accuracies(relation: Integers, verdict: npt.NDArray[Any]) -> tuple[float, float]:
    """Share of the covered questions that are right, and the mean of the relations' shares."""
    known = verdict >= 0
    if not known.any():
        return math.nan, math.nan
    shares = [float(verdict[known & (relation == name)].mean()) for name in np.unique(relation[known])]
    return float(verdict[known].mean()), sum(shares) / len(shares)


def _crossed(questions: Sequence[tuple[Any, ...]], rules: Rules) -> Integers:
    """The word pairs (b, a) and (c, answer) of each question, (q, 2), numbered by how they are written."""
    numbers: dict[tuple[str, str], int] = {}

    def number(x: str, y: str) -> int:
        pair = (x.upper(), y.upper()) if rules == "gensim" else (x, y)
        return numbers.setdefault(pair, len(numbers))

    pairs = [(number(q[1], q[0]), number(q[2], q[3])) for q in questions]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)
