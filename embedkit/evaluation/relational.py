"""Relational similarity: how well offsets tell good examples of a relation from poor ones (SemEval-2012 Task 2)."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.errors import BadFile, BadInput
from embedkit.evaluation import lookup, resampling
from embedkit.evaluation.intervals import FEWEST, UNKNOWN, Interval, percentiles, with_interval
from embedkit.evaluation.resampling import LEVEL, REPLICATES, RandomState
from embedkit.evaluation.similarity import WordPair, as_number, correlations
from embedkit.files.lines import numbered_lines
from embedkit.kernels.exact import Doubles

if TYPE_CHECKING:
    import pandas as pd

Pair: TypeAlias = tuple[str, str]

_CHOICES = 4  # pairs of a MaxDiff question
_PAIR = re.compile(r'"?([^\s":]+):([^\s":]+)"?')


class MaxDiff(NamedTuple):
    """Which of four pairs is the least and which the most illustrative one: those most often named, several if tied."""

    pairs: tuple[Pair, ...]
    least: tuple[Pair, ...]
    most: tuple[Pair, ...]


class Relation(NamedTuple):
    """A relation: pairs that are typical of it, pairs with scores of how typical they are, and MaxDiff questions."""

    name: str
    prototypes: tuple[Pair, ...]
    pairs: tuple[WordPair, ...]
    questions: tuple[MaxDiff, ...] = ()


class RelationFigures(NamedTuple):
    """How one relation went: how many pairs it has, how many are covered, and the figures; NaN where there is none."""

    relation: str
    pairs: int
    covered: int
    spearman: float
    spearman_of_all: float
    maxdiff: float


@dataclass(frozen=True, eq=False)
class RelationalReport:
    """What `evaluate_relational` measured.

    Attributes
    ----------
    relations
        What was asked.
    figures
        Of each of them.
    scores
        Of the pairs of each: the mean cosine of their offset with those of the prototypes; NaN where not covered.
    ignore_case, vocabulary
        How it was measured: whether capitals were ignored, and how many words were known.
    name
        Of the set.
    """

    relations: tuple[Relation, ...]
    figures: tuple[RelationFigures, ...]
    scores: tuple[Doubles, ...]
    ignore_case: bool
    vocabulary: int
    name: str = ""

    @property
    def pairs(self) -> int:
        """How many pairs have a gold score, all relations together."""
        return sum(figures.pairs for figures in self.figures)

    @property
    def covered(self) -> int:
        """How many of them are covered."""
        return sum(figures.covered for figures in self.figures)

    @property
    def spearman(self) -> float:
        """Mean over the relations of Spearman's correlation of gold and score; NaN if none has one."""
        return _mean([figures.spearman for figures in self.figures])

    @property
    def spearman_of_all(self) -> float:
        """The same over all pairs, those not covered having a score of 0."""
        return _mean([figures.spearman_of_all for figures in self.figures])

    @property
    def maxdiff(self) -> float:
        """Mean over the relations of the MaxDiff accuracy; NaN if none has covered questions."""
        return _mean([figures.maxdiff for figures in self.figures])

    def intervals(self, replicates: int = REPLICATES, level: float = LEVEL, random_state: RandomState = 0) -> Interval:
        """Interval of `spearman`, by drawing word pairs within relations.

        Spearman's correlation of n pairs is a little low, and that of a replicate, in which pairs tie, still lower. The
        mean of many relations keeps that while its interval narrows, so the replicates are moved to where the estimate
        would lie without it: at the mean of ((n + 1) r - 3 t) / (n - 2), with t Kendall's correlation (from Kruskal
        1958, JASA 53), of the relations. For the parameters see `embedkit.evaluation.analogy_interval`.
        """
        generator = resampling.checked(replicates, level, random_state)
        drawn, centres = [], []
        for relation, scores in zip(self.relations, self.scores, strict=True):
            covered = np.isfinite(scores)
            if covered.sum() >= FEWEST:
                gold = np.array([pair.score for pair in relation.pairs], dtype=np.float64)[covered]
                drawn.append(resampling.correlations(gold, scores[None, covered], replicates, generator)[0, 0])
                centres.append(_unbiased(gold, scores[covered]))
        table = np.array(drawn).reshape(len(drawn), replicates)
        known = np.isfinite(table)
        mean = resampling.divided(np.where(known, table, 0).sum(axis=0), known.sum(axis=0))
        if not np.isfinite(mean).any():
            return UNKNOWN
        low, high = percentiles(mean - np.nanmean(mean) + _mean(centres), level)
        return Interval(max(low, -1.0), min(high, 1.0))

    @cached_property
    def interval(self) -> Interval:
        """95 % interval of `spearman`; drawn when first asked for, and always the same."""
        return self.intervals()

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame with a row a relation."""
        import pandas as pd

        return pd.DataFrame(list(self.figures), columns=RelationFigures._fields)

    def __repr__(self) -> str:
        name = f"{self.name!r}, " if self.name else ""
        return (
            f"RelationalReport({name}mean Spearman {with_interval(self.spearman, self.interval, '.3f')} of "
            f"{len(self.figures)} relations, {self.covered} of {self.pairs} pairs covered)"
        )


def read_relations(folder: str | os.PathLike[str]) -> list[Relation]:
    """Read relations in the layout of SemEval-2012 Task 2 (Jurgens et al. 2012, S12-1047).

    Each relation NAME (``1a`` to ``10i``) has the files

    - ``Phase1Questions-NAME.txt``, in which the lines that are a pair ``word:word`` are its prototypes;
    - ``GoldRatings-NAME.txt``, or, where there is none, ``PlatinumRatings-NAME.txt``: lines ``SCORE "word:word"``,
      comments beginning with ``#``;
    - if there is one, ``Phase2Answers-NAME.txt``: a header, then for each answer of a person a line of four pairs, the
      least and the most illustrative of them, and whatever else, separated by tabs.

    Parameters
    ----------
    folder
        Where they are, in whatever folders below it.

    Returns
    -------
    list of Relation
        By number, then by letter.

    Raises
    ------
    BadFile
        There is no such folder or no relation in it, a file is missing, or a line cannot be read (named by its number).
    """
    place = Path(folder)
    if not place.is_dir():
        raise BadFile(place, "is not a folder: expected the files GoldRatings-1a.txt, Phase1Questions-1a.txt, ...")
    gold: dict[str, Path] = {}
    for kind in ("PlatinumRatings", "GoldRatings"):
        gold |= {file.stem.partition("-")[2]: file for file in sorted(place.rglob(f"{kind}-*.txt"))}
    if not gold:
        raise BadFile(place, "holds no relations: expected files GoldRatings-1a.txt and Phase1Questions-1a.txt")
    relations = []
    for name in sorted(gold, key=_natural):
        first = next(iter(sorted(place.rglob(f"Phase1Questions-{name}.txt"))), None)
        if first is None:
            raise BadFile(place, f"holds no Phase1Questions-{name}.txt, which has the prototypes of relation {name}")
        prototypes = tuple(pair for _, text in numbered_lines(first) if (pair := _pair(text)))
        if not prototypes:
            raise BadFile(first, "holds no prototypes: expected lines word:word")
        answers = next(iter(sorted(place.rglob(f"Phase2Answers-{name}.txt"))), None)
        questions = tuple(_maxdiff(answers)) if answers is not None else ()
        relations.append(Relation(name, prototypes, tuple(_ratings(gold[name])), questions))
    return relations


def evaluate_relational(
    embedding: Embedding,
    relations: Sequence[Relation],
    *,
    restrict: int | None = None,
    ignore_case: bool = True,
    name: str = "",
) -> RelationalReport:
    """Score word pairs by how like those of the prototypes their offsets are, and compare with what people say.

    The score of x:y is the mean of the cosines of y - x, of unit vectors, with the offsets of the prototypes (Zhila et
    al. 2013, N13-1120). The correlation with the gold scores is Spearman's, within each relation. A MaxDiff question is
    half right for the least and half for the most illustrative pair, if it is the one that people named most often, or
    one of several such; of pairs that score alike the first counts.

    Parameters
    ----------
    embedding
        Vectors to measure.
    relations
        As `read_relations` gives them.
    restrict
        Count as known only the first so many rows; `None` for all.
    ignore_case
        Ignore capitals: the first of several rows that differ in them counts.
    name
        Of the set, for the report.

    Returns
    -------
    RelationalReport
        A pair is covered if both its words are known, and both of some prototype. An offset of zeros has the score 0.

    Raises
    ------
    BadInput
        `restrict` is less than one, or a relation has no prototypes.
    """
    vocabulary = lookup.head(embedding, restrict)
    figures, scores = [], []
    for relation in relations:
        if not relation.prototypes:
            raise BadInput(f"relation '{relation.name}' has no prototypes")
        asked = dict.fromkeys((pair.a, pair.b) for pair in relation.pairs)
        asked.update(dict.fromkeys(pair for question in relation.questions for pair in question.pairs))
        scored = _scores(vocabulary, list(asked), relation.prototypes, ignore_case)
        found = np.array([scored[pair.a, pair.b] for pair in relation.pairs], dtype=np.float64)
        gold = np.array([pair.score for pair in relation.pairs], dtype=np.float64)
        covered = np.isfinite(found)
        figures.append(
            RelationFigures(
                relation.name,
                len(gold),
                int(covered.sum()),
                correlations(gold[covered], found[covered])[0],
                correlations(gold, np.nan_to_num(found))[0],
                _mean([share for question in relation.questions if not math.isnan(share := _judged(question, scored))]),
            )
        )
        scores.append(found)
    return RelationalReport(tuple(relations), tuple(figures), tuple(scores), ignore_case, len(vocabulary), name)


def _scores(
    vocabulary: Embedding, asked: Sequence[Pair], prototypes: Sequence[Pair], ignore_case: bool
) -> dict[Pair, float]:
    """The score of each pair; NaN where it is not covered."""
    words = [word for pair in (*asked, *prototypes) for word in pair]
    rows = lookup.find(vocabulary, words, ignore_case).reshape(-1, 2)
    known: npt.NDArray[np.bool_] = np.all(rows >= 0, axis=1)
    units, place = lookup.units_of(vocabulary, rows[known])
    offsets = np.zeros((len(rows), vocabulary.width))
    ends = units.astype(np.float64)[place]
    offsets[known] = ends[:, 1] - ends[:, 0]
    lengths = np.sqrt((offsets * offsets).sum(axis=1, keepdims=True))
    offsets = np.divide(offsets, lengths, out=np.zeros_like(offsets), where=lengths > 0)
    n = len(asked)
    typical = offsets[n:][known[n:]]
    if not len(typical):
        return dict.fromkeys(asked, math.nan)
    mean = np.where(known[:n], offsets[:n] @ typical.mean(axis=0), np.nan)
    return dict(zip(asked, mean.tolist(), strict=True))


def _judged(question: MaxDiff, scored: dict[Pair, float]) -> float:
    """0, 0.5 or 1; NaN where a pair is not covered."""
    scores = np.array([scored[pair] for pair in question.pairs])
    if np.isnan(scores).any():
        return math.nan
    least, most = question.pairs[int(np.argmin(scores))], question.pairs[int(np.argmax(scores))]
    return ((least in question.least) + (most in question.most)) / 2


def _pair(text: str) -> Pair | None:
    found = _PAIR.fullmatch(text.strip())
    return (found[1], found[2]) if found else None


def _ratings(path: Path) -> Iterator[WordPair]:
    for number, text in numbered_lines(path):
        line = text.strip()
        if not line or line.startswith("#"):
            continue
        score, _, rest = line.partition(" ")
        pair, value = _pair(rest), as_number(score)
        if pair is None or value is None or not math.isfinite(value):
            raise BadFile(path, 'expected a finite number and a pair, as in 50.0 "word:word"', f"line {number}")
        yield WordPair(*pair, value)


def _maxdiff(path: Path) -> Iterator[MaxDiff]:
    named: dict[tuple[Pair, ...], tuple[Counter[Pair], Counter[Pair]]] = {}
    for number, text in numbered_lines(path):
        if number == 1 or not text.strip():
            continue
        fields = [_pair(field) for field in text.split("\t")[: _CHOICES + 2]]
        pairs = tuple(pair for pair in fields if pair is not None)
        choices, answers = pairs[:_CHOICES], pairs[_CHOICES:]
        if len(pairs) != _CHOICES + 2 or not set(answers) <= set(choices):
            what = "expected four pairs word:word, then the least and the most illustrative of them, between tabs"
            raise BadFile(path, what, f"line {number}")
        for votes, pair in zip(named.setdefault(choices, (Counter(), Counter())), answers, strict=True):
            votes[pair] += 1
    for choices, (least, most) in named.items():
        yield MaxDiff(choices, _winners(least), _winners(most))


def _winners(votes: Counter[Pair]) -> tuple[Pair, ...]:
    return tuple(pair for pair, count in votes.items() if count == max(votes.values()))


def _unbiased(x: Doubles, y: Doubles) -> float:
    """Estimate without bias of Spearman's correlation where `x` and `y` (n,) were drawn; NaN for a constant."""
    r, n = correlations(x, y)[0], len(x)
    if math.isnan(r):
        return r
    from scipy import stats

    return ((n + 1) * r - 3 * float(stats.kendalltau(x, y).statistic)) / (n - 2)


def _natural(name: str) -> tuple[int, str]:
    digits = re.match(r"\d*", name)
    return (int(digits[0]) if digits and digits[0] else 0, name)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
