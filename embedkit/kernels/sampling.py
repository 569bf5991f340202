"""What word2vec draws: which words stay in the text, how wide a window is, and the negative samples.

Random numbers are counted, not remembered: those of a chunk of text follow from (seed, epoch, chunk), and whether a
word is kept follows from (seed, epoch, position). So a training can go on at any chunk as if it had never stopped,
chunks can be worked on in any order, and neighbouring chunks agree about the words between them. The numbers are
SplitMix64's (Steele, Lea & Flood 2014, Fast Splittable Pseudorandom Number Generators): the n-th one is a hash of n.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from embedkit.kernels.simd import Integers, new_array, trained

Doubles: TypeAlias = npt.NDArray[np.float64]
Int32s: TypeAlias = npt.NDArray[np.int32]
UInt32s: TypeAlias = npt.NDArray[np.uint32]

CHUNK = 1000  # words of the text, dropped ones included, that are worked on together

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST_FACTOR, _SECOND_FACTOR = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31, _32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


class Text(NamedTuple):
    """An encoded corpus: `ids` (n,) int32, ranks of words; `ends` (documents,) int64, where each document ends."""

    ids: Int32s
    ends: Integers


class Draws(NamedTuple):
    """How words are drawn: `keep` from `keep_thresholds`, `alias` from `alias_table`, both one row a word; `seed`."""

    keep: UInt32s
    alias: UInt32s
    seed: int


class Buffer(NamedTuple):
    """The kept words of a chunk and around it: (room,) int32 each.

    `words` are the words; `first` and `last` the places in the buffer where the word's document begins and ends.
    """

    words: Int32s
    first: Int32s
    last: Int32s


def n_chunks(text: Text) -> int:
    """How many chunks a text has."""
    return -(-len(text.ids) // CHUNK)


def new_buffer(window: int) -> Buffer:
    """Room for a chunk and `window` words on each side of it."""
    room = CHUNK + 2 * window
    return Buffer(*(new_array(room, np.int32) for _ in range(3)))


def keep_thresholds(probabilities: Doubles) -> UInt32s:
    """Probabilities of keeping each word, (words,), as thresholds: it is kept if 32 random bits are at most that."""
    thresholds: UInt32s = np.maximum(np.round(probabilities * 2.0**32) - 1, 0).astype(np.uint32)
    return thresholds


def largest_shares(
    counts: npt.NDArray[np.integer], keep: UInt32s, weights: npt.NDArray[np.floating]
) -> tuple[float, float]:
    """The largest share that a word has of the kept text, and of the negatives.

    Parameters
    ----------
    counts
        (words,) how often each word occurs.
    keep
        From `keep_thresholds`.
    weights
        Of `alias_table`.
    """
    kept = counts * (keep + 1.0)
    return float(kept.max() / kept.sum()), float(weights.max() / weights.sum())


def alias_table(weights: npt.NDArray[np.floating]) -> UInt32s:
    """A table that draws words with chances in proportion to `weights` in constant time.

    Walker's alias method as built by Vose (1991, A Linear Algorithm for Generating Random Numbers with a Given
    Distribution): each word has an equal share of the table, of which a part is its own and the rest another word's.

    Parameters
    ----------
    weights
        (words,) not negative, not all zero.

    Returns
    -------
    ndarray of shape (words, 2), uint32
        The own part of the share, in 2^-32, and the other word.
    """
    shares = np.asarray(weights, dtype=np.float64)
    if not (shares.ndim == 1 and np.isfinite(shares).all() and (shares >= 0).all() and shares.sum() > 0):
        raise ValueError("weights must be finite, not negative, and not all zero")
    table = np.empty((len(shares), 2), dtype=np.uint32)
    _fill_alias_table(shares * (len(shares) / shares.sum()), table)
    return table


@trained
def _fill_alias_table(shares: Doubles, table: UInt32s) -> None:
    """`shares` have a mean of 1; they are used up."""
    n = len(shares)
    pile = np.empty(n, dtype=np.int64)  # words with less than a full share from the front, the others from the back
    small, large = 0, n
    for word in range(n):
        table[word, 0], table[word, 1] = _LOW, word  # what remains in the end is full, but for rounding
        if shares[word] < 1.0:
            pile[small] = word
            small += 1
        else:
            large -= 1
            pile[large] = word
    while small > 0 and large < n:
        small -= 1
        word, giver = pile[small], pile[large]
        table[word, 0], table[word, 1] = np.uint32(min(shares[word] * 4294967296.0, 4294967295.0)), giver
        shares[giver] -= 1.0 - shares[word]
        if shares[giver] < 1.0:
            large += 1
            pile[small] = giver
            small += 1


@trained
def mixed(x: np.uint64) -> np.uint64:
    """SplitMix64's hash of 64 bits."""
    x = (x ^ (x >> _30)) * _FIRST_FACTOR
    x = (x ^ (x >> _27)) * _SECOND_FACTOR
    return x ^ (x >> _31)


@trained
def stream(seed: int, epoch: int, number: int) -> np.uint64:
    """Where the random numbers of (seed, epoch, number) begin; each time `_GOLDEN` is added, `mixed` gives the next."""
    state = mixed(np.uint64(seed) + _GOLDEN)
    state = mixed((state ^ np.uint64(epoch)) + _GOLDEN)
    return mixed((state ^ np.uint64(number)) + _GOLDEN)


@trained
def advanced(state: np.uint64) -> np.uint64:
    """The state after one more number was taken."""
    return state + _GOLDEN


@trained
def below(random: np.uint64, n: int) -> np.int64:
    """A number 0 ... n - 1 from the upper 32 of 64 random bits."""
    return np.int64(((random >> _32) * np.uint64(n)) >> _32)


@trained
def drawn(alias: UInt32s, random: np.uint64) -> np.int64:
    """A word drawn from an `alias_table` with 64 random bits."""
    word = below(random, alias.shape[0])
    if (random & _LOW) < np.uint64(alias[word, 0]):
        return word
    return np.int64(alias[word, 1])


@trained
def _is_kept(text: Text, keep: UInt32s, key: np.uint64, position: int) -> bool:
    word = np.int64(text.ids[position])
    if word < 0 or word >= keep.shape[0]:
        return False
    return bool((mixed(key + np.uint64(position) * _GOLDEN) >> _32) <= np.uint64(keep[word]))


@trained
def _first_ending_after(ends: Integers, position: int) -> int:
    """The document that holds a position."""
    low, high = 0, ends.shape[0]
    while low < high:
        middle = (low + high) // 2
        if ends[middle] > position:
            high = middle
        else:
            low = middle + 1
    return low


@trained
def read_chunk(text: Text, draws: Draws, window: int, epoch: int, chunk: int, buffer: Buffer) -> tuple[int, int, int]:
    """Fill the buffer with the kept words of a chunk, and with those around it that belong to the same documents.

    A chunk that begins or ends amid a document comes with up to `window` kept words of that document on that side, so
    that nothing is lost at the seam; they are looked for no further than the length of a chunk away.

    Parameters
    ----------
    text, draws
        Words that have no row in `draws` (rare ones) are left out before windows are made, as are those dropped for
        their frequency.
    window
        As in `new_buffer`.
    epoch, chunk
        What to read.
    buffer
        Is filled.

    Returns
    -------
    tuple of three int
        The places in the buffer between which the words of the chunk itself lie, and where the last context ends.
    """
    n_tokens = text.ids.shape[0]
    start, stop = chunk * CHUNK, min((chunk + 1) * CHUNK, n_tokens)
    key = stream(draws.seed, epoch, -1)
    document = _first_ending_after(text.ends, start)

    # Back to the first word of the context before the chunk.
    earliest = max(text.ends[document - 1] if document > 0 else 0, start - CHUNK)
    position, missing = start, window
    while position > earliest and missing > 0:
        position -= 1
        if _is_kept(text, draws.keep, key, position):
            missing -= 1

    size, opened = 0, 0
    begin, end = 0, -1
    limit, missing = min(stop + CHUNK, n_tokens), window
    while position < limit:
        if position == text.ends[document]:
            for place in range(opened, size):
                buffer.last[place] = size
            opened = size
            while text.ends[document] == position:  # documents may be empty
                document += 1
            if position >= stop:
                break
        if position == start:
            begin = size
        if position == stop:
            end = size
        if _is_kept(text, draws.keep, key, position):
            if position >= stop:
                if missing == 0:
                    break
                missing -= 1
            buffer.words[size] = text.ids[position]
            buffer.first[size] = opened
            size += 1
        position += 1
    for place in range(opened, size):
        buffer.last[place] = size
    return begin, size if end < 0 else end, size


class Plan(NamedTuple):
    """The shape of the work; `embedkit.kernels.skipgram.plan` makes one.

    `window`, its widest reach on each side; `shrink`, whether each block draws its own of 1 ... `window`; `negative`,
    negative samples a pair (K); `shared`, samples that stand for them (S); `block`, words worked on at once (B);
    `reach`, distances that are worked on at once; `mean`, whether CBOW's context is a mean and not a sum.
    """

    window: int
    shrink: bool
    negative: int
    shared: int
    block: int
    reach: int
    mean: bool = True

    @property
    def rings(self) -> int:
        """Into how many parts the widest window is cut."""
        return -(-self.window // self.reach)

    @property
    def blocks(self) -> int:
        """How many blocks a chunk may have."""
        return -(-CHUNK // self.block)


class Work(NamedTuple):
    """A chunk ready for training.

    Its words in a `Buffer`; `windows` (blocks,) int32; `negatives` (blocks x rings x shared,) int32, words; and where
    the rows of all of these begin in the tables: `input_rows`, `output_rows` (room,) and `negative_rows`, int64.
    """

    buffer: Buffer
    windows: Int32s
    negatives: Int32s
    input_rows: Integers
    output_rows: Integers
    negative_rows: Integers


def new_work(plan: Plan) -> Work:
    """Room for one chunk."""
    buffer = new_buffer(plan.window)
    n_negatives = plan.blocks * plan.rings * plan.shared
    return Work(
        buffer,
        new_array(plan.blocks, np.int32),
        new_array(n_negatives, np.int32),
        *(new_array(n, np.int64) for n in (len(buffer.words), len(buffer.words), n_negatives)),
    )


@trained
def draw_chunk(text: Text, draws: Draws, plan: Plan, epoch: int, chunk: int, work: Work) -> tuple[int, int, int]:
    """Fill `work` with the words, windows and negatives of a chunk, but for the rows.

    Returns
    -------
    tuple of three int
        As `read_chunk` gives them, and how many words and context the buffer holds.
    """
    begin, end, size = read_chunk(text, draws, plan.window, epoch, chunk, work.buffer)
    state = stream(draws.seed, epoch, chunk)
    rings = (plan.window + plan.reach - 1) // plan.reach
    for block in range((end - begin + plan.block - 1) // plan.block):
        state = advanced(state)
        window = 1 + below(mixed(state), plan.window) if plan.shrink else plan.window
        work.windows[block] = window
        first = block * rings * plan.shared
        for place in range(first, first + (window + plan.reach - 1) // plan.reach * plan.shared):
            state = advanced(state)
            work.negatives[place] = drawn(draws.alias, mixed(state))
    return begin, end, size


@trained
def place_rows(work: Work, size: int, step: int) -> None:
    """Let the rows be those of whole tables, which are `step` floats wide."""
    for place in range(size):
        row = np.int64(work.buffer.words[place]) * step
        work.input_rows[place] = row
        work.output_rows[place] = row
    for place in range(work.negatives.shape[0]):
        work.negative_rows[place] = np.int64(work.negatives[place]) * step


@trained
def words_in_chunk(text: Text, chunk: int) -> int:
    """How many words of the text a chunk has, dropped ones included."""
    return min(CHUNK, len(text.ids) - chunk * CHUNK)
