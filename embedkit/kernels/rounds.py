"""Training by several threads that gives the same bits every time, whatever their number and speed.

Chunks of text are taken in *rounds* of a fixed number of shards. In a round every shard copies the rows that its chunks
need, trains on its copies alone as one thread would, and notes by how much each has changed. When all are done, the
changes are added to the tables shard by shard, each row by one thread only. So a shard sees what others have learnt
with a delay of one round, and the result depends on the number of shards, but not on that of threads.

Rows of rare words are used a few times in a round, and their changes are added up, as if one thread had made them after
each other. Frequent words are used by all shards again and again, each of which moves them towards much the same place:
the sum of many such moves would go far beyond it, and training would diverge. So rows that are used often move by the
mean of the changes, and those in between by something in between.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from embedkit.kernels.sampling import Draws, Int32s, Plan, Text, Work, n_chunks, new_work
from embedkit.kernels.simd import (
    LANES,
    Floats,
    Integers,
    Width,
    add_row,
    copy_row,
    new_array,
    new_table,
    prefetch,
    trained,
    width_of,
)

Flags: TypeAlias = npt.NDArray[np.uint8]
Doubles: TypeAlias = npt.NDArray[np.float64]

NewScratch: TypeAlias = Callable[[Plan, int], Any]

LARGEST_BLOCK = 64  # words; more do not fit into the fastest cache
_AHEAD = 8  # rows that are being fetched while one is copied
_TOGETHER = 64  # words after each other that one thread adds the changes of: whole lines of the cache, even of counts
_FEW = 8  # uses of a row in a round up to which all changes are added up
ROUND = 2  # chunks a shard trains on in a round
SHARDS = 4  # chunks trained on side by side where the result must not depend on the number of threads

# Places in the sums that training adds to.
LOSS, PAIRS, WORDS, RAW_WORDS = range(4)


class Copies(NamedTuple):
    """Copies of some rows of a table, flat.

    `rows` (room x width,) float32; `words` (room,) int32, of which they are; `slots` (words,) int32, where each word's
    copy is, -1 for none; `uses` (room,) int32, how often each is used; `size` (1,) int64, how many there are.
    """

    rows: Floats
    words: Int32s
    slots: Int32s
    uses: Int32s
    size: Integers


def new_copies(room: int, n_words: int, dimension: int) -> Copies:
    """Room for copies of `room` rows."""
    room = min(room, n_words)
    words, slots, uses = (new_array(n, np.int32) for n in (room, n_words, room))
    slots[:] = -1
    return Copies(new_table(room, dimension).reshape(-1), words, slots, uses, new_array(1, np.int64))


@trained
def _places(words: Int32s, first: int, last: int, copies: Copies, rows: Integers, step: int) -> None:
    """Give the words ``words[first:last]`` places among the copies, and write these into `rows`."""
    for k in range(first, last):
        word = words[k]
        slot = np.int64(copies.slots[word])
        if slot < 0:
            slot = copies.size[0]
            copies.size[0] += 1
            copies.slots[word] = slot
            copies.words[slot] = word
            copies.uses[slot] = 0
        copies.uses[slot] += 1
        rows[k] = slot * step


@trained
def _copy(table: Floats, copies: Copies, first: int, width: Width) -> None:
    """Copy the rows of the words that have a place from `first` on."""
    step = 16 * len(width)
    size = copies.size[0]
    for slot in range(first, size):
        if slot + _AHEAD < size:
            prefetch(table, np.int64(copies.words[slot + _AHEAD]) * step, width)
        copy_row(copies.rows, slot * step, table, np.int64(copies.words[slot]) * step, width)


@trained
def copy_chunk(
    inputs: Floats, outputs: Floats, plan: Plan, words: int, size: int, work: Work, input_copies: Copies,
    output_copies: Copies, width: Width,
) -> None:  # fmt: skip
    """Copy the rows that a chunk of `words` words, with context `size`, needs, and write their places into `work`."""
    step = 16 * len(width)
    known_inputs, known_outputs = input_copies.size[0], output_copies.size[0]
    _places(work.buffer.words, 0, size, input_copies, work.input_rows, step)
    _places(work.buffer.words, 0, size, output_copies, work.output_rows, step)
    per_block = (plan.window + plan.reach - 1) // plan.reach * plan.shared
    for number in range((words + plan.block - 1) // plan.block):
        first = number * per_block
        last = first + (work.windows[number] + plan.reach - 1) // plan.reach * plan.shared
        _places(work.negatives, first, last, output_copies, work.negative_rows, step)
    _copy(inputs, input_copies, known_inputs, width)
    _copy(outputs, output_copies, known_outputs, width)


@trained
def take_differences(table: Floats, copies: Copies, width: Width) -> None:
    """Let the copies be what has changed in them, and forget where they are."""
    step = 16 * len(width)
    size = copies.size[0]
    for slot in range(size):
        if slot + _AHEAD < size:
            prefetch(table, np.int64(copies.words[slot + _AHEAD]) * step, width)
        source = np.int64(copies.words[slot]) * step
        add_row(copies.rows, slot * step, table, source, np.float32(-1), width)
        copies.slots[copies.words[slot]] = -1


@trained
def count_changes(copies: Copies, changes: Int32s, part: int, parts: int) -> None:
    """Count in `changes` (words, 2) the shards that have changed each word of one part, and how often they used it."""
    for slot in range(copies.size[0]):
        word = copies.words[slot]
        if (word // _TOGETHER) % parts == part:
            changes[word, 0] += 1
            changes[word, 1] += copies.uses[slot]


@trained
def add_differences(table: Floats, copies: Copies, changes: Int32s, part: int, parts: int, width: Width) -> None:
    """Add what has changed to the rows of the words of one part."""
    step = 16 * len(width)
    size = copies.size[0]
    for slot in range(size):
        word = np.int64(copies.words[slot])
        if slot + _AHEAD < size:
            prefetch(table, np.int64(copies.words[slot + _AHEAD]) * step, width)
        if (word // _TOGETHER) % parts == part:
            mean, few = np.float32(1) / np.float32(changes[word, 0]), np.float32(_FEW) / np.float32(changes[word, 1])
            share = max(mean, min(np.float32(1), few))
            add_row(table, word * step, copies.rows, slot * step, np.float32(share), width)


@trained
def forget_changes(copies: Copies, changes: Int32s, part: int, parts: int) -> None:
    """Let the counts of the words of one part be zero."""
    for slot in range(copies.size[0]):
        word = copies.words[slot]
        if (word // _TOGETHER) % parts == part:
            changes[word] = 0


def in_rounds(
    train: Callable[[int, int, int, int], None],
    gather: Callable[[int, int], None],
    *,
    first: int,
    last: int,
    shards: int,
    workers: int,
    stop: Flags,
) -> int:
    """Train on the chunks `first` ... `last` - 1 in rounds.

    Parameters
    ----------
    train
        Called with the worker, the shard, and its first and last chunk.
    gather
        Called with the worker and the number of shards that had chunks, when all have been trained.
    first, last
        The chunks.
    shards, workers
        Shards a round, and threads.
    stop
        (1,) uint8; training ends before the next round once it is not 0.

    Returns
    -------
    int
        The chunk to go on with.
    """
    workers = min(workers, shards)
    on: list[bool] = [True]

    def decide() -> None:
        on[0] = not stop[0]  # by one thread, for all

    ready, trained_all = threading.Barrier(workers, decide), threading.Barrier(workers)

    def work(worker: int) -> int:
        chunk = first
        try:
            while chunk < last:
                ready.wait()
                if not on[0]:
                    break
                stop_at = min(chunk + shards * ROUND, last)
                starts = range(chunk, stop_at, ROUND)
                for shard in range(worker, len(starts), workers):
                    train(worker, shard, starts[shard], min(starts[shard] + ROUND, stop_at))
                trained_all.wait()
                gather(worker, len(starts))
                chunk = stop_at
        except threading.BrokenBarrierError:
            return chunk  # another worker failed, and will say why
        except BaseException:
            ready.abort()
            trained_all.abort()
            raise
        return chunk

    with ThreadPoolExecutor(workers) as pool:
        return max(pool.map(work, range(workers)), default=first)


class Trainer:
    """One kind of training, as functions of arrays.

    Parameters
    ----------
    chunks
        Compiled: trains on some chunks after each other; see `embedkit.kernels.skipgram`.
    shard
        Compiled: the same with copies of the rows, which become what has changed.
    new_scratch
        Makes the memory of one thread, for a plan and a dimension.
    """

    def __init__(self, chunks: Callable[..., int], shard: Callable[..., None], new_scratch: NewScratch) -> None:
        self._chunks, self._shard, self._new_scratch = chunks, shard, new_scratch

    def train_chunks(
        self,
        inputs: Floats,
        outputs: Floats,
        text: Text,
        draws: Draws,
        plan: Plan,
        *,
        alphas: tuple[float, float],
        epoch: int,
        first: int,
        last: int,
        stop: Flags,
        sums: Doubles,
    ) -> int:
        """Train on the chunks `first` ... `last` - 1 of one epoch, one after another.

        Parameters
        ----------
        inputs, outputs
            (words, width) float32 tables from `embedkit.kernels.simd.new_table`; changed in place.
        text
            What to train on.
        draws, plan
            How.
        alphas
            The learning rate where the epoch begins and where it ends; linear in between.
        epoch
            Its number, for the random numbers.
        first, last
            Which of the `n_chunks` of `text`.
        stop
            (1,) uint8; training ends before the next chunk once it is not 0.
        sums
            (4,) float64, to which are added: the loss, the pairs, the words trained and the words of the text read.

        Returns
        -------
        int
            The chunk to go on with: `last`, or an earlier one if training was stopped.
        """
        ready = _Prepared(inputs, outputs, text, draws, plan, alphas, epoch)
        last = min(last, ready.chunks_in_text)
        if first >= last:
            return first
        work, scratch = new_work(plan), self._new_scratch(plan, ready.dimension)
        return self._chunks(*ready.arguments, first, last, work, scratch, stop, sums, *ready.widths)

    def train_rounds(
        self,
        inputs: Floats,
        outputs: Floats,
        text: Text,
        draws: Draws,
        plan: Plan,
        *,
        alphas: tuple[float, float],
        epoch: int,
        first: int,
        last: int,
        stop: Flags,
        sums: Doubles,
        shards: int = SHARDS,
        workers: int = 1,
    ) -> int:
        """Train on the chunks `first` ... `last` - 1 of one epoch in rounds.

        The result depends on `shards` but not on `workers`. To go on as if nothing had happened, go on with the chunk
        given back.

        Parameters
        ----------
        inputs, outputs
            (words, width) float32 tables from `embedkit.kernels.simd.new_table`; changed in place.
        text
            What to train on.
        draws, plan
            How.
        alphas
            The learning rate where the epoch begins and where it ends; linear in between.
        epoch
            Its number, for the random numbers.
        first, last
            Which of the `n_chunks` of `text`.
        stop
            (1,) uint8; training ends before the next round once it is not 0.
        sums
            (4,) float64, to which are added: the loss, the pairs, the words trained and the words of the text read.
        shards
            How many parts of a round are trained on side by side.
        workers
            Threads; more than `shards` are of no use.

        Returns
        -------
        int
            The chunk to go on with: `last`, or an earlier one if training was stopped.
        """
        ready = _Prepared(inputs, outputs, text, draws, plan, alphas, epoch)
        last, workers = min(last, ready.chunks_in_text), min(workers, shards)
        if first >= last:
            return first
        works = [new_work(plan) for _ in range(workers)]
        scratches = [self._new_scratch(plan, ready.dimension) for _ in range(workers)]
        room = ROUND * len(works[0].input_rows)
        rooms = room, room + ROUND * len(works[0].negatives)
        changes = np.zeros((2, ready.n_words, 2), dtype=np.int32)
        copies = [[new_copies(n, ready.n_words, ready.dimension) for n in rooms] for _ in range(shards)]
        parts = np.zeros((shards, len(sums)))  # added up in their order: float64 sums depend on it

        def one(worker: int, shard: int, begin: int, end: int) -> None:
            mine = works[worker], scratches[worker], *copies[shard], parts[shard]
            self._shard(*ready.arguments, begin, end, *mine, *ready.widths)

        def gather(worker: int, used: int) -> None:
            for number, table in enumerate(ready.arguments[:2]):
                changed = [copies[shard][number] for shard in range(used)]
                for part in changed:
                    count_changes(part, changes[number], worker, workers)
                for part in changed:
                    add_differences(table, part, changes[number], worker, workers, ready.widths[1])
                for part in changed:
                    forget_changes(part, changes[number], worker, workers)

        done = in_rounds(one, gather, first=first, last=last, shards=shards, workers=workers, stop=stop)
        sums += parts.sum(axis=0)
        return done


class _Prepared:
    """A training that is about to begin: arguments checked, and in the form that compiled functions want."""

    def __init__(
        self, inputs: Floats, outputs: Floats, text: Text, draws: Draws, plan: Plan, alphas: tuple[float, float],
        epoch: int,
    ) -> None:  # fmt: skip
        shape = (len(draws.keep), inputs.shape[1])
        # Compiled code would read or write beyond the end of what does not fit.
        for table in (inputs, outputs):
            if table.shape != shape or table.dtype != np.float32 or not table.flags.c_contiguous or shape[1] % LANES:
                raise ValueError(f"tables must be float32 from new_table, of one row for each of {shape[0]} words")
        if draws.alias.shape != (shape[0], 2):
            raise ValueError(f"the alias table must be of the same {shape[0]} words, not {draws.alias.shape}")
        if (text.ends[-1] if len(text.ends) else 0) != len(text.ids):
            raise ValueError("the last document must end where the text ends")
        if not 1 <= plan.block <= LARGEST_BLOCK or plan.shared < 8 or plan.shared % 8:
            raise ValueError(f"blocks must be of 1 ... {LARGEST_BLOCK} words, shared negatives a multiple of 8: {plan}")
        if plan.window < 1 or plan.reach < 1 or plan.negative < 0:
            raise ValueError(f"window and reach must be 1 or more, negative 0 or more: {plan}")
        self.chunks_in_text = n_chunks(text)
        self.n_words, self.dimension = shape
        alpha, slope = float(alphas[0]), float(alphas[1] - alphas[0]) / max(self.chunks_in_text, 1)
        # Arrays that can be written to and others are two types to numba: read-only views spare a second compilation.
        fixed = Text(_read_only(text.ids), _read_only(text.ends))
        self.arguments = (inputs.reshape(-1), outputs.reshape(-1), fixed, draws, plan, alpha, slope, epoch)
        self.widths = width_of(plan.block), width_of(self.dimension)


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view = array.view()
    view.setflags(write=False)
    return view
