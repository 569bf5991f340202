"""Categorisation: whether words of a category lie together (Almuhareb & Poesio 2005; Baroni & Lenci 2011, W11-2501)."""

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
from embedkit.evaluation.intervals import AnalogyIntervals, Interval, mean_interval, with_interval
from embedkit.evaluation.resampling import LEVEL, REPLICATES, RandomState
from embedkit.files.lines import numbered_lines
from embedkit.kernels.exact import Integers

if TYPE_CHECKING:
    import pandas as pd

_STARTS = 10  # of k-means; the tightest clusters are kept
_NOT_COVERED = -1


class CategoryWord(NamedTuple):
    """A word and the category that it belongs to."""

    word: str
    category: str


class CategoryFigures(NamedTuple):
    """How one category went: words, covered, and how many of them are in a cluster in which theirs is most frequent."""

    category: str
    words: int
    covered: int
    correct: int
    accuracy: float


@dataclass(frozen=True, eq=False)
class CategoryReport:
    """What `evaluate_categories` measured.

    Attributes
    ----------
    words
        All of them, in order.
    clusters
        Of every word its cluster, by number; -1 where it is not covered; int64.
    correct
        Of every word whether its category is the most frequent of its cluster (the first in the alphabet of several).
    ignore_case, vocabulary, random_state
        How it was measured: whether capitals were ignored, how many words were known, and the seed of k-means.
    name
        Of the set.
    """

    words: tuple[CategoryWord, ...]
    clusters: Integers
    correct: np.ndarray[tuple[int], np.dtype[np.bool_]]
    ignore_case: bool
    vocabulary: int
    random_state: int
    name: str = ""

    @property
    def covered(self) -> int:
        """How many words are known."""
        return int((self.clusters >= 0).sum())

    @property
    def purity(self) -> float:
        """Share of the covered words that are of the most frequent category of their cluster; NaN if there is none."""
        return float(self.correct.sum()) / self.covered if self.covered else math.nan

    @property
    def purity_of_all(self) -> float:
        """Share of all words, those not covered counting as wrong."""
        return float(self.correct.sum()) / len(self.words) if self.words else math.nan

    @property
    def figures(self) -> list[CategoryFigures]:
        """Of each category, in the order of the set."""
        names = np.array([word.category for word in self.words], dtype=object)
        found = []
        for category in dict.fromkeys(names.tolist()):
            here = names == category
            covered, correct = int((self.clusters[here] >= 0).sum()), int(self.correct[here].sum())
            share = correct / covered if covered else math.nan
            found.append(CategoryFigures(category, int(here.sum()), covered, correct, share))
        return found

    @property
    def macro_accuracy(self) -> float:
        """Mean over the categories of the share of their covered words that are correct."""
        shares = [figures.accuracy for figures in self.figures if figures.covered]
        return sum(shares) / len(shares) if shares else math.nan

    def intervals(
        self, replicates: int = REPLICATES, level: float = LEVEL, random_state: RandomState = 0
    ) -> AnalogyIntervals:
        """Intervals of `purity` and `macro_accuracy` for other words of these categories in the clusters found.

        By drawing words within categories; see `embedkit.evaluation.mean_interval`. The words are not clustered anew.
        """
        covered = self.clusters >= 0
        _, groups = np.unique([word.category for word in self.words], return_inverse=True)
        return mean_interval(
            groups[covered], self.correct[covered], replicates=replicates, level=level, random_state=random_state
        )

    @cached_property
    def interval(self) -> Interval:
        """95 % interval of `purity`; drawn when first asked for, and always the same."""
        return self.intervals().accuracy

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame with a row a category."""
        import pandas as pd

        return pd.DataFrame(self.figures, columns=CategoryFigures._fields)

    def __repr__(self) -> str:
        name = f"{self.name!r}, " if self.name else ""
        return (
            f"CategoryReport({name}purity {with_interval(self.purity, self.interval, '.1%')}, "
            f"{self.covered} of {len(self.words)} words covered)"
        )


def read_categories(path: str | os.PathLike[str]) -> list[CategoryWord]:
    """Read words with their categories, as AP, BLESS and their kin are passed on: lines ``word<TAB>category``.

    Fields may be separated by spaces where a line has no tab. Lines that begin with ``#`` are comments. A word may be
    in several categories.

    Parameters
    ----------
    path
        A UTF-8 text file.

    Returns
    -------
    list of CategoryWord
        In the order of the file.

    Raises
    ------
    BadFile
        It cannot be read, is not UTF-8, has a line that is not a word and its category or comes twice, or no word.
    """
    words: dict[CategoryWord, None] = {}
    for number, text in numbered_lines(path):
        line = text.rstrip()
        if not line or line.startswith("#"):
            continue
        fields = [field.strip() for field in line.split("\t")] if "\t" in line else line.split()
        if len(fields) != 2 or not all(fields):
            raise BadFile(path, "expected a word and its category, separated by a tab or spaces", f"line {number}")
        word = CategoryWord(*fields)
        if word in words:
            raise BadFile(path, f"has '{word.word}' in '{word.category}' a second time", f"line {number}")
        words[word] = None
    if not words:
        raise BadFile(path, "holds no words: expected lines of a word and its category")
    return list(words)


def evaluate_categories(
    embedding: Embedding,
    words: Sequence[tuple[str, str]],
    *,
    restrict: int | None = None,
    ignore_case: bool = True,
    random_state: int = 0,
    name: str = "",
) -> CategoryReport:
    """Cluster words by k-means into as many clusters as they have categories, and count how pure those are.

    Purity (Manning, Raghavan & Schütze 2008, Introduction to Information Retrieval, eq. 16.1) is the share of the words
    that are of the most frequent category of their cluster. Clusters are of unit vectors, the best of ten starts.

    Parameters
    ----------
    embedding
        Vectors to measure.
    words
        As `read_categories` gives them: (word, category).
    restrict
        Count as known only the first so many rows; `None` for all.
    ignore_case
        Ignore capitals: the first of several rows that differ in them counts.
    random_state
        Seed of the starts.
    name
        Of the set, for the report.

    Returns
    -------
    CategoryReport
        Words that are not known are in no cluster. Categories without a known word make none.

    Raises
    ------
    BadInput
        `restrict` is less than one, or a word is not given with its category.
    """
    vocabulary = lookup.head(embedding, restrict)
    for number, word in enumerate(words):
        if len(word) != 2 or not all(isinstance(part, str) for part in word):
            raise BadInput(f"word {number} must be a word and its category")
    rows = lookup.find(vocabulary, [word for word, _ in words], ignore_case)
    known = np.flatnonzero(rows >= 0)
    clusters = np.full(len(words), _NOT_COVERED, dtype=np.int64)
    correct = np.zeros(len(words), dtype=np.bool_)
    if len(known):
        names, category = np.unique([words[i][1] for i in known.tolist()], return_inverse=True)
        units, place = lookup.units_of(vocabulary, rows[known])
        clusters[known] = _clustered(units[place].astype(np.float64), len(names), random_state)
        counts = np.zeros((len(names), len(names)), dtype=np.int64)
        np.add.at(counts, (clusters[known], category), 1)
        correct[known] = counts.argmax(axis=1)[clusters[known]] == category
    given = tuple(CategoryWord(*word) for word in words)
    return CategoryReport(given, clusters, correct, ignore_case, len(vocabulary), random_state, name)


def _clustered(points: np.ndarray[tuple[int, int], np.dtype[np.float64]], k: int, random_state: int) -> Integers:
    """The cluster of each point, from 0 to k - 1."""
    from sklearn.cluster import KMeans

    distinct = len(np.unique(points, axis=0))  # more clusters than that there cannot be
    found: Integers = KMeans(min(k, distinct), n_init=_STARTS, random_state=random_state).fit_predict(points)
    return found.astype(np.int64)
