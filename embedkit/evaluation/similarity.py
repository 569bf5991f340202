"""Agreement with what people say of how similar words are: correlations, with coverage and intervals."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from embedkit.embedding import Embedding
from embedkit.errors import BadFile, BadInput
from embedkit.evaluation import lookup
from embedkit.evaluation.intervals import (
    FEWEST,
    CorrelationIntervals,
    Interval,
    correlation_interval,
    with_interval,
)
from embedkit.evaluation.resampling import LEVEL, REPLICATES, RandomState, scaled
from embedkit.files.lines import numbered_lines
from embedkit.kernels.exact import Doubles

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 40  # characters of a bad line that a message quotes


class WordPair(NamedTuple):
    """Two words and how similar people find them; more is more similar, the scale does not matter."""

    a: str
    b: str
    score: float


@dataclass(frozen=True, eq=False)
class SimilarityReport:
    """What `evaluate_similarity` measured.

    Attributes
    ----------
    name
        Of the set of pairs.
    pairs
        All of them, in order.
    cosines
        Of each pair; NaN where it is not covered; float64.
    spearman, pearson
        Correlation of scores and cosines over the covered pairs; NaN for fewer than three, or where one is constant.
    ignore_case, vocabulary
        How it was measured: whether capitals were ignored, and how many words were known.
    """

    name: str
    pairs: tuple[WordPair, ...]
    cosines: Doubles
    spearman: float
    pearson: float
    ignore_case: bool
    vocabulary: int

    @property
    def covered(self) -> int:
        """How many pairs have both their words known."""
        return int(np.isfinite(self.cosines).sum())

    @property
    def spearman_of_all(self) -> float:
        """Spearman's correlation over all pairs, those not covered having a cosine of 0, as gensim can count them."""
        scores = np.array([pair.score for pair in self.pairs], dtype=np.float64)
        return correlations(scores, np.nan_to_num(self.cosines))[0]

    def intervals(
        self, replicates: int = REPLICATES, level: float = LEVEL, random_state: RandomState = 0
    ) -> CorrelationIntervals:
        """Intervals of both correlations, by drawing word pairs; see `embedkit.evaluation.correlation_interval`."""
        covered = np.isfinite(self.cosines)
        scores = np.array([pair.score for pair in self.pairs], dtype=np.float64)
        return correlation_interval(
            scores[covered], self.cosines[covered], replicates=replicates, level=level, random_state=random_state
        )

    @cached_property
    def _intervals(self) -> CorrelationIntervals:
        return self.intervals()

    @property
    def interval(self) -> Interval:
        """95 % interval of `spearman`; drawn when first asked for, and always the same."""
        return self._intervals.spearman

    @property
    def pearson_interval(self) -> Interval:
        """The same of `pearson`."""
        return self._intervals.pearson

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame with a row a pair: its words, its score and its cosine."""
        import pandas as pd

        rows = [(*pair, cosine) for pair, cosine in zip(self.pairs, self.cosines.tolist(), strict=True)]
        return pd.DataFrame(rows, columns=[*WordPair._fields, "cosine"])

    def __repr__(self) -> str:
        name = f"{self.name!r}, " if self.name else ""
        return (
            f"SimilarityReport({name}Spearman {with_interval(self.spearman, self.interval, '.3f')}, "
            f"Pearson {with_interval(self.pearson, self.pearson_interval, '.3f')}, "
            f"{self.covered} of {len(self.pairs)} pairs covered)"
        )


def read_pairs(path: str | os.PathLike[str]) -> list[WordPair]:
    """Read word pairs with scores, as WordSim-353 and its kin are passed on.

    A line is ``WORD WORD SCORE``, separated by tabs, or, where it has no tab, by spaces. The first may be a header: a
    name stands in place of the score then. Lines that begin with ``#`` are comments; empty ones are passed over.

    Parameters
    ----------
    path
        A UTF-8 text file.

    Returns
    -------
    list of WordPair
        In the order of the file.

    Raises
    ------
    BadFile
        It cannot be read, is not UTF-8, has a line that is not two words and a finite number, or no pair at all.
    """
    pairs: list[WordPair] = []
    may_be_header = True
    for number, text in numbered_lines(path):
        line = text.rstrip()
        if not line or line.startswith("#"):
            continue
        fields = [field.strip() for field in line.split("\t")] if "\t" in line else line.split()
        if len(fields) != 3 or not all(fields):
            shown = line[:_SHOWN].replace("\t", " ")
            what = f"expected word, word, score, separated by tabs or spaces, found '{shown}'"
            raise BadFile(path, what, f"line {number}")
        score = as_number(fields[2])
        if may_be_header and score is None and fields[2][0].isalpha():
            may_be_header = False
            continue
        may_be_header = False
        if score is None or not math.isfinite(score):
            what = f"expected a finite number as score, found '{fields[2][:_SHOWN]}'"
            raise BadFile(path, what, f"line {number}")
        pairs.append(WordPair(fields[0], fields[1], score))
    if not pairs:
        raise BadFile(path, "holds no pairs: expected lines of word, word, score")
    return pairs


def evaluate_similarity(
    embedding: Embedding,
    pairs: Sequence[tuple[str, str, float]],
    *,
    restrict: int | None = None,
    ignore_case: bool = True,
    name: str = "",
) -> SimilarityReport:
    """Correlate the cosines of word pairs with the scores that people gave them.

    The correlation to report is Spearman's, of ranks, as for WordSim-353 (Finkelstein et al. 2002, ACM TOIS 20(1)) and
    SimLex-999 (Hill et al. 2015, J15-4004): scores are on a scale of their own. Equal ones share the mean of their
    ranks.

    Parameters
    ----------
    embedding
        Vectors to measure.
    pairs
        As `read_pairs` gives them: (word, word, score).
    restrict
        Count as known only the first so many rows; `None` for all.
    ignore_case
        Ignore capitals as gensim's ``evaluate_word_pairs`` does: the first of several rows that differ in them counts.
        Otherwise words are taken exactly as written.
    name
        Of the set, for the report.

    Returns
    -------
    SimilarityReport
        A pair is covered if both its words are known; the others are in none of the correlations. The cosine with a row
        of zeros is 0.

    Raises
    ------
    BadInput
        A pair is not two words and a finite number, or `restrict` is less than one.
    """
    vocabulary = lookup.head(embedding, restrict)
    checked = [_checked(number, pair) for number, pair in enumerate(pairs)]
    words = [word for pair in checked for word in pair[:2]]
    rows = lookup.find(vocabulary, words, ignore_case).reshape(-1, 2)
    covered = (rows >= 0).all(axis=1)
    cosines = np.full(len(checked), np.nan)
    cosines[covered] = lookup.cosines(vocabulary, rows[covered])
    scores = np.array([pair.score for pair in checked], dtype=np.float64)
    spearman, pearson = correlations(scores[covered], cosines[covered])
    return SimilarityReport(name, tuple(checked), cosines, spearman, pearson, ignore_case, len(vocabulary))


def _checked(number: int, pair: tuple[str, str, float]) -> WordPair:
    if len(pair) != 3 or not all(isinstance(word, str) for word in pair[:2]):
        raise BadInput(f"pair {number} must be two words and a score")
    try:
        score = float(pair[2])
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    if not math.isfinite(score):
        raise BadInput(f"pair {number} has a score that is not a finite number: {pair[2]}")
    return WordPair(pair[0], pair[1], score)


def as_number(text: str) -> float | None:
    """The number that `text` spells, if it does."""
    # float() would take 1_0.5 for 10.5, which no table means.
    if "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def correlations(scores: Doubles, cosines: Doubles) -> tuple[float, float]:
    """Spearman's and Pearson's correlation; NaN where they mean nothing, which scipy would warn of."""
    x, y = scaled(scores), scaled(cosines)
    if len(x) < FEWEST or not np.ptp(x) or not np.ptp(y):
        return math.nan, math.nan
    from scipy import stats

    return float(stats.spearmanr(scores, cosines).statistic), float(stats.pearsonr(x, y).statistic)
