"""How two spaces differ: whose neighbours changed, and which words moved beyond what chance moves them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.errors import BadInput, printable
from embedkit.evaluation import lookup
from embedkit.evaluation.alignment import align, shared_rows
from embedkit.kernels.exact import Doubles, Integers
from embedkit.labels import Labels
from embedkit.search.engine import Device, Engine

if TYPE_CHECKING:
    import pandas as pd

_BIN = 50  # words whose median distance is the noise floor at their frequency, at least
_BINS = 30  # at most
_NORMAL = 1.4826  # a normal deviation is so many median absolute deviations
_SAME = 1e-6  # distances by rounding alone
_ASKED_AT_ONCE = 4096  # words
_SHOWN = 20  # words in a notebook


class Moved(NamedTuple):
    """One word: how often it was seen, how far it moved, how far chance moves such a word, and what it shares.

    `distance` is one less the cosine after alignment, `expected` the noise floor at that `frequency`, `z` by how many
    of the floor's deviations the distance is above it (both NaN without noise); `overlap` is the share of its
    neighbours that are the same, of all that are its neighbours in one of the two (Jaccard).
    """

    label: str
    frequency: float
    distance: float
    expected: float
    z: float
    overlap: float


@dataclass(frozen=True, eq=False)
class SpaceDiff:
    """What `diff` found, for n shared words. Iterating gives a `Moved` each, the one that moved most first.

    Attributes
    ----------
    labels
        The shared words, in the order of the first Embedding.
    frequencies
        How often each was seen, where it was seen less; or n to 1 where the Embeddings do not say; float64.
    distances, expected, z, overlaps
        (n,) float64 each; see `Moved`.
    k
        How many neighbours were compared.
    counted
        Whether `frequencies` are counts.
    """

    labels: Labels
    frequencies: Doubles
    distances: Doubles
    expected: Doubles
    z: Doubles
    overlaps: Doubles
    k: int
    counted: bool

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[Moved]:
        # Beyond the noise floor where there is one; else by how far.
        key = self.distances if np.isnan(self.z).all() else np.nan_to_num(self.z, nan=-np.inf)
        for row in np.argsort(-key, kind="stable").tolist():
            columns = (self.frequencies, self.distances, self.expected, self.z, self.overlaps)
            yield Moved(self.labels[row], *(float(column[row]) for column in columns))

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame with a row a word, the one that moved most first."""
        import pandas as pd

        return pd.DataFrame(list(self), columns=Moved._fields)

    def __repr__(self) -> str:
        if not len(self):
            return "SpaceDiff(0 shared words)"
        return (
            f"SpaceDiff({len(self)} shared words, mean distance {self.distances.mean():.3f}, "
            f"mean overlap@{self.k} {self.overlaps.mean():.3f})"
        )

    def _repr_html_(self) -> str:
        from html import escape
        from itertools import islice

        head = "".join(f"<th>{name}</th>" for name in Moved._fields)
        body = "".join(
            f"<tr><th>{escape(printable(one.label))}</th>" + "".join(f"<td>{x:.4g}</td>" for x in one[1:]) + "</tr>"
            for one in islice(self, _SHOWN)
        )
        return (
            f"<table><caption>{escape(repr(self))}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )


def diff(
    a: Embedding,
    b: Embedding,
    *,
    noise: Sequence[tuple[Embedding, Embedding]] = (),
    k: int = 10,
    restrict: int | None = None,
    device: Device = "auto",
) -> SpaceDiff:
    """Compare two spaces word by word: neighbours in common, and distance after alignment beyond a noise floor.

    Words that are seen seldom lie anywhere: two trainings on the same text with different seeds, or on its two halves,
    move them far, and they would fill any list of words that moved (Dubossarsky, Weinshall & Grossman 2017, D17-1118).
    Two seeds show the chance of training alone, two halves that of the text as well. So each word's distance is held
    against those that `noise` shows for words seen as often: their median is what is expected, and 1.4826 times their
    median absolute deviation is the unit of `z`.

    Parameters
    ----------
    a, b
        Two Embeddings of the same width, most frequent word first.
    noise
        Pairs of Embeddings that differ by chance only: `a` and another of the same corpus from another seed (or of its
        two halves), `b` and another of its own. All their words together make the floor.
    k
        How many neighbours to compare, among the shared words.
    restrict
        Compare only the first so many rows of each; `None` for all. (Neighbours of n words take n * n products.)
    device
        See `embedkit.Search`.

    Returns
    -------
    SpaceDiff
        Frequencies are those of the column ``count``; where one of the Embeddings has none, the words' places in the
        order stand for them.

    Raises
    ------
    BadInput
        As for `embedkit.evaluation.align`; or a noise pair is the same vectors twice, or shares too few words.
    """
    if not isinstance(k, int | np.integer) or k < 1:
        raise BadInput(f"k must be a whole number of 1 or more, not {k!r}")
    first, second = lookup.head(a, restrict), lookup.head(b, restrict)
    rows = shared_rows(first, second)
    counted = all(_has_counts(one) for pair in ((a, b), *noise) for one in pair)
    distances = 1 - align(first, second).cosines
    counts = _counts(first, second, rows, counted)
    expected, deviation = _floor(counts, noise, restrict, counted)
    z = np.divide(distances - expected, deviation, out=np.full(len(counts), np.nan), where=deviation > 0)
    overlaps = _overlaps(first.take(rows[0]), second.take(rows[1]), int(k), device)
    return SpaceDiff(first.labels.take(rows[0]), counts, distances, expected, z, overlaps, int(k), counted)


def _has_counts(embedding: Embedding) -> bool:
    return "count" in embedding.columns and embedding.columns["count"].dtype.kind in "iuf"


def _counts(a: Embedding, b: Embedding, rows: tuple[Integers, Integers], counted: bool) -> Doubles:
    """How often each shared word was seen, where it was seen less; by its place, last is 1, if that is not known."""
    if counted:
        seen = [one.columns["count"][here].astype(np.float64) for one, here in zip((a, b), rows, strict=True)]
    else:
        seen = [(len(one) - here).astype(np.float64) for one, here in zip((a, b), rows, strict=True)]
    return np.minimum(*seen)


def _floor(
    counts: Doubles, noise: Sequence[tuple[Embedding, Embedding]], restrict: int | None, counted: bool
) -> tuple[Doubles, Doubles]:
    """What distance is expected of words seen that often, and its deviation, both (n,); NaN without noise."""
    if not noise:
        return np.full(len(counts), np.nan), np.full(len(counts), np.nan)
    seen, far = [], []
    for number, pair in enumerate(noise):
        one, other = (lookup.head(member, restrict) for member in pair)
        distances = 1 - align(one, other).cosines
        if distances.max(initial=0) < _SAME:
            raise BadInput(f"noise pair {number} is the same vectors twice: train again with another seed")
        seen.append(_counts(one, other, shared_rows(one, other), counted))
        far.append(distances)
    frequency, distance = np.log1p(np.concatenate(seen)), np.concatenate(far)
    order = np.argsort(frequency, kind="stable")
    bins = np.array_split(order, min(max(len(order) // _BIN, 1), _BINS))
    middles, medians = (np.array([np.median(x[here]) for here in bins]) for x in (frequency, distance))
    spread = [_NORMAL * np.median(np.abs(distance[here] - m)) for here, m in zip(bins, medians, strict=True)]
    at = np.log1p(counts)
    return np.interp(at, middles, medians), np.interp(at, middles, spread)


def _overlaps(a: Embedding, b: Embedding, k: int, device: Device) -> Doubles:
    """Share of the neighbours in common of all neighbours of each row, the same word in both; NaN without any."""
    engines = Engine(a, device), Engine(b, device)
    overlaps = np.full(len(a), np.nan)
    for start in range(0, len(a), _ASKED_AT_ONCE):
        asked = np.arange(start, min(start + _ASKED_AT_ONCE, len(a)))
        found = [one.nearest(one.unit_of(asked).astype(np.float64), k, asked[:, None])[0].rows for one in engines]
        common = _common(*found)
        every = (found[0] >= 0).sum(axis=1) + (found[1] >= 0).sum(axis=1) - common
        np.divide(common, every, out=overlaps[asked[0] : asked[-1] + 1], where=every > 0)
    return overlaps


def _common(x: Integers, y: Integers) -> npt.NDArray[np.int64]:
    """How many rows stand in both lines of `x` and `y`, (m, k) each; -1 is none."""
    both = np.sort(np.concatenate([x, y], axis=1), axis=1)
    common: npt.NDArray[np.int64] = ((both[:, 1:] == both[:, :-1]) & (both[:, 1:] >= 0)).sum(axis=1)
    return common
