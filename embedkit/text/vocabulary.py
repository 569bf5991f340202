"""The distinct words of a corpus with their counts, most frequent first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput
from embedkit.labels import Labels


class Vocabulary:
    """Distinct words and how often each was seen, most frequent first.

    Parameters
    ----------
    words
        n distinct words, the most frequent first.
    counts
        How often each was seen, shape (n,), positive and not rising.

    Raises
    ------
    BadInput
        The two do not fit, or the counts are not in order.

    Examples
    --------
    >>> vocabulary = Vocabulary(["the", "king", "rules"], [4, 2, 1])
    >>> len(vocabulary), vocabulary.total, vocabulary["king"]
    (3, 7, 2)
    >>> list(vocabulary.prune(min_count=2))
    ['the', 'king']
    """

    def __init__(self, words: Iterable[str], counts: npt.ArrayLike) -> None:
        self._words = words if isinstance(words, Labels) else Labels(words)
        self._counts = np.asarray(counts, dtype=np.int64).view()
        if self._counts.shape != (len(self._words),):
            raise BadInput(f"{len(self._words)} words for counts of shape {self._counts.shape}: there must be one each")
        if len(self._counts) and (self._counts[-1] < 1 or (np.diff(self._counts) > 0).any()):
            raise BadInput("counts must be positive and ordered from the most frequent word to the rarest")
        self._counts.flags.writeable = False

    @property
    def words(self) -> Labels:
        """The n words, most frequent first; equally frequent ones in the order of their first appearance."""
        return self._words

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """How often each word was seen, shape (n,), read-only."""
        return self._counts

    @property
    def total(self) -> int:
        """How many tokens these words make."""
        return int(self._counts.sum())

    def __len__(self) -> int:
        return len(self._words)

    def __iter__(self) -> Iterator[str]:
        return iter(self._words)

    def __contains__(self, word: object) -> bool:
        return word in self._words

    def __getitem__(self, word: str) -> int:
        """Count of `word`, 0 if it was not seen."""
        row = self._words.find(word)
        return 0 if row < 0 else int(self._counts[row])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return self._words == other._words and np.array_equal(self._counts, other._counts)

    __hash__ = None  # type: ignore[assignment]  # compared by content

    def __repr__(self) -> str:
        return f"Vocabulary({len(self):,} words, {self.total:,} tokens)"

    def prune(self, min_count: int = 1, max_size: int | None = None) -> Vocabulary:
        """Without the words seen less than `min_count` times.

        The words that stay keep their row numbers.

        Parameters
        ----------
        min_count
            Fewest times that a word must have been seen.
        max_size
            At most this many words: the limit is raised until so few remain, so that equally frequent words stay or go
            together (gensim's ``max_final_vocab``).

        Raises
        ------
        BadInput
            `max_size` is less than 0.
        """
        if max_size is not None and max_size < 0:
            raise BadInput(f"max_size is a number of words of 0 or more, not {max_size}")
        n = self._reaching(min_count)
        if max_size is not None and n > max_size:
            n = self._reaching(int(self._counts[max_size]) + 1)
        return self if n == len(self) else Vocabulary(self._words[:n], self._counts[:n])

    def _reaching(self, count: int) -> int:
        return int(np.searchsorted(-self._counts, -count, side="right"))

    def keep_probabilities(self, sample: float) -> npt.NDArray[np.float64]:
        """The probability with which each occurrence of a word survives subsampling; see `keep_probabilities`."""
        return keep_probabilities(self._counts, sample)

    def noise_probabilities(self, ns_exponent: float = 0.75) -> npt.NDArray[np.float64]:
        """The probability of each word as a negative sample; see `noise_probabilities`."""
        return noise_probabilities(self._counts, ns_exponent)


def keep_probabilities(counts: npt.NDArray[np.integer], sample: float) -> npt.NDArray[np.float64]:
    """The probability with which each occurrence of a word survives subsampling.

    ``min(1, sqrt(s / count) + s / count)``, the formula of word2vec's program, which differs from that of the
    paper (Mikolov et al. 2013, arXiv:1310.4546, eq. 5).

    Parameters
    ----------
    counts
        How often each word was seen, shape (n,).
    sample
        Words that make a larger share of the tokens than this are thinned out: s is that share of all counts. 0 keeps
        everything. From 1 on it is itself a count, as in gensim: s is ``sample * (3 + sqrt(5)) / 2``.

    Returns
    -------
    ndarray of float64
        Shape (n,).
    """
    if not 0 <= sample < np.inf:
        raise BadInput(f"sample is a share from 0 to 1, or a count, not {sample}")
    if sample == 0 or not counts.sum():
        return np.ones(len(counts))
    enough = sample * counts.sum() if sample < 1 else int(sample * (3 + np.sqrt(5)) / 2)
    ratio = enough / np.maximum(counts, 1)
    probabilities: npt.NDArray[np.float64] = np.minimum(1.0, np.sqrt(ratio) + ratio)
    return probabilities


def noise_probabilities(counts: npt.NDArray[np.integer], ns_exponent: float) -> npt.NDArray[np.float64]:
    """The probability of each word as a negative sample, in proportion to ``count ** ns_exponent``.

    Parameters
    ----------
    counts
        How often each word was seen, shape (n,); words never seen are never drawn.
    ns_exponent
        0.75 in word2vec; 0 draws all words alike, a negative one the rare words more often.

    Returns
    -------
    ndarray of float64
        Shape (n,), adding up to 1.
    """
    seen = counts > 0
    # Relative to the largest, so that no exponent overflows.
    logs = ns_exponent * np.log(np.maximum(counts, 1))
    weights = np.where(seen, np.exp(logs - logs[seen].max(initial=-np.inf)), 0.0)
    probabilities: npt.NDArray[np.float64] = weights / weights.sum() if seen.any() else weights
    return probabilities
