"""Outlier detection: which word does not belong to the others (Camacho-Collados & Navigli 2016, W16-2508)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from embedkit.embedding import Embedding
from embedkit.errors import BadFile, BadInput
from embedkit.evaluation import lookup
from embedkit.evaluation.intervals import AnalogyIntervals, Interval, mean_interval, with_interval
from embedkit.evaluation.resampling import LEVEL, REPLICATES, RandomState
from embedkit.files.lines import numbered_lines
from embedkit.kernels.exact import Doubles, Integers

if TYPE_CHECKING:
    import pandas as pd

_FEWEST_KNOWN = 2  # words of a cluster: one alone is as far from the outlier as that is from it


class OutlierGroup(NamedTuple):
    """Words that belong together, and outliers, each of which is tried with them."""

    name: str
    cluster: tuple[str, ...]
    outliers: tuple[str, ...]


class GroupFigures(NamedTuple):
    """How one group went: outliers tried, covered and detected, the words of its cluster known, and the figures."""

    group: str
    outliers: int
    covered: int
    detected: int
    cluster: int
    cluster_known: int
    accuracy: float
    opp: float


@dataclass(frozen=True, eq=False)
class OutlierReport:
    """What `evaluate_outliers` measured.

    Attributes
    ----------
    figures
        Of each group.
    groups
        Of every outlier in order the group that it is tried with, by its number; int64.
    positions
        Of every outlier in order: its place among the words of its group by how ill they fit, from 0 to 1, which is
        that of the word that fits worst; NaN where it is not covered; float64.
    ignore_case, vocabulary
        How it was measured: whether capitals were ignored, and how many words were known.
    name
        Of the set.
    """

    figures: tuple[GroupFigures, ...]
    groups: Integers
    positions: Doubles
    ignore_case: bool
    vocabulary: int
    name: str = ""

    @property
    def covered(self) -> int:
        """How many outliers were tried with two words of their cluster or more."""
        return int(np.isfinite(self.positions).sum())

    @property
    def accuracy(self) -> float:
        """Share of the covered outliers that fit worst of all; NaN if none is covered."""
        return _mean(self._known == 1)

    @property
    def accuracy_of_all(self) -> float:
        """Share of all outliers, those not covered counting as not detected."""
        return _mean(self.positions == 1)

    @property
    def opp(self) -> float:
        """Outlier position percentage, as a share: the mean position of the covered outliers."""
        return _mean(self._known)

    @property
    def macro_accuracy(self) -> float:
        """Mean of the accuracies of the groups that have covered outliers."""
        return _mean(np.array([figures.accuracy for figures in self.figures if figures.covered]))

    def intervals(
        self, replicates: int = REPLICATES, level: float = LEVEL, random_state: RandomState = 0
    ) -> AnalogyIntervals:
        """Intervals of `accuracy` and `macro_accuracy` for other outliers of the same clusters, by drawing outliers.

        See `embedkit.evaluation.mean_interval`.
        """
        groups = self.groups[np.isfinite(self.positions)]
        return mean_interval(groups, self._known == 1, replicates=replicates, level=level, random_state=random_state)

    @cached_property
    def interval(self) -> Interval:
        """95 % interval of `accuracy`; drawn when first asked for, and always the same."""
        return self.intervals().accuracy

    @property
    def _known(self) -> Doubles:
        return self.positions[np.isfinite(self.positions)]

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame with a row a group."""
        import pandas as pd

        return pd.DataFrame(list(self.figures), columns=GroupFigures._fields)

    def __repr__(self) -> str:
        name = f"{self.name!r}, " if self.name else ""
        return (
            f"OutlierReport({name}accuracy {with_interval(self.accuracy, self.interval, '.1%')}, OPP {self.opp:.1%}, "
            f"{self.covered} of {len(self.positions)} outliers covered)"
        )


def read_outliers(path: str | os.PathLike[str]) -> list[OutlierGroup]:
    """Read groups in the layout of 8-8-8: a file a group, its words one a line, an empty line, its outliers.

    Parameters
    ----------
    path
        A folder, whose ``.txt`` files are read, or one such file.

    Returns
    -------
    list of OutlierGroup
        In the order of the files' names, which name the groups.

    Raises
    ------
    BadFile
        It cannot be read, holds no group, or a file has not two words or more, an empty line, and an outlier or more.
    """
    place = Path(path)
    files = sorted(place.rglob("*.txt")) if place.is_dir() else [place]
    if not files:
        raise BadFile(place, "holds no groups: expected .txt files of words, an empty line, and outliers")
    return [_group(file) for file in files]


def evaluate_outliers(
    embedding: Embedding,
    groups: Sequence[OutlierGroup],
    *,
    restrict: int | None = None,
    ignore_case: bool = True,
    name: str = "",
) -> OutlierReport:
    """Try each outlier with the words of its cluster, and see whether it is the one that fits worst.

    A word fits as well as its mean cosine with the others is high. (The compactness that a set has without a word, by
    which the authors sort, falls as that mean rises, so the order is theirs.) An outlier that fits as ill as another
    word is not detected.

    Parameters
    ----------
    embedding
        Vectors to measure.
    groups
        As `read_outliers` gives them.
    restrict
        Count as known only the first so many rows; `None` for all.
    ignore_case
        Ignore capitals: the first of several rows that differ in them counts.
    name
        Of the set, for the report.

    Returns
    -------
    OutlierReport
        An outlier is covered if it is known, and two words of its cluster; unknown words of the cluster are left out.

    Raises
    ------
    BadInput
        `restrict` is less than one, or a group has less than two words or no outliers.
    """
    vocabulary = lookup.head(embedding, restrict)
    figures, positions = [], []
    for group in groups:
        if len(group.cluster) < _FEWEST_KNOWN or not group.outliers:
            raise BadInput(f"group '{group.name}' must have two words or more, and an outlier or more")
        rows = lookup.find(vocabulary, [*group.cluster, *group.outliers], ignore_case)
        size = len(group.cluster)
        found = _positions(vocabulary, rows[:size][rows[:size] >= 0], rows[size:])
        positions.append(found)
        known = found[np.isfinite(found)]
        figures.append(
            GroupFigures(
                group.name,
                len(found),
                len(known),
                int((known == 1).sum()),
                size,
                int((rows[:size] >= 0).sum()),
                _mean(known == 1),
                _mean(known),
            )
        )
    numbers = np.repeat(np.arange(len(groups)), [len(group.outliers) for group in groups])
    return OutlierReport(
        tuple(figures), numbers, np.concatenate([np.zeros(0), *positions]), ignore_case, len(vocabulary), name
    )


def _positions(vocabulary: Embedding, cluster: Integers, outliers: Integers) -> Doubles:
    """Position of each outlier, (m,), from 0 to 1; NaN where it is not covered."""
    positions = np.full(len(outliers), np.nan)
    known = np.flatnonzero(outliers >= 0)
    size = len(cluster)
    if size < _FEWEST_KNOWN or not len(known):
        return positions
    rows = np.concatenate([cluster, outliers[known]])
    # Pair by pair and in float64, so that words which are the same vector tie.
    first, second = np.divmod(np.arange(len(rows) * size), size)
    similar = lookup.cosines(vocabulary, np.stack([rows[first], cluster[second]], axis=1)).reshape(-1, size)
    within, across = similar[:size], similar[size:]
    inner = within.sum(axis=1) - np.diagonal(within)
    # With an outlier each word has one more other; the outlier has all the words.
    positions[known] = (inner + across > across.sum(axis=1, keepdims=True)).sum(axis=1) / size
    return positions


def _group(path: Path) -> OutlierGroup:
    parts = list(_parts(path))
    if len(parts) != 2 or len(parts[0]) < _FEWEST_KNOWN:
        raise BadFile(path, "expected two words or more, one a line, an empty line, and an outlier or more")
    return OutlierGroup(path.stem, tuple(parts[0]), tuple(parts[1]))


def _parts(path: Path) -> Iterator[list[str]]:
    """The words between empty lines."""
    words: list[str] = []
    for _, text in numbered_lines(path):
        if text.strip():
            words.append(text.strip())
        elif words:
            yield words
            words = []
    if words:
        yield words


def _mean(values: Doubles) -> float:
    return float(values.mean()) if len(values) else math.nan
