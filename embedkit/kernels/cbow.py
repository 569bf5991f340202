r"""CBOW with negative sampling, in blocks that share their negative samples.

CBOW (Mikolov et al. 2013, arXiv:1301.3781) predicts a word from the words around it. With h the mean (or the sum) of
the input rows of the m words in its window and y its own output row, a step is taken down the gradient of

.. math:: -\log \sigma(h \cdot y) - \sum_{k=1}^K \log \sigma(-h \cdot y_{n_k})

(arXiv:1310.4546, eq. 4, with h in place of an input row), where a negative that is the word itself is left out. As
in `embedkit.kernels.skipgram`, B consecutive words share one draw of the window's width and S negatives, each with the
weight K/S, so that the expected gradient by h and by the output rows is that of CBOW with K negatives; and all
gradients of a block are taken where it began.

What is done with the gradient by h follows word2vec and gensim, whose learning rates one would expect to work: each of
the m words takes *all* of it if h is the mean (the true gradient would be 1/m of that), and 1/m of it if h is the sum.

The loss is the objective above, in nats, summed over the words that have a neighbour, which are counted as pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from embedkit.kernels.marks import add_marks, at_most, clear_marks, new_marks
from embedkit.kernels.rounds import (
    LOSS,
    PAIRS,
    RAW_WORDS,
    WORDS,
    Copies,
    Doubles,
    Flags,
    Trainer,
    copy_chunk,
    take_differences,
)
from embedkit.kernels.sampling import Draws, Plan, Text, Work, draw_chunk, place_rows, words_in_chunk
from embedkit.kernels.simd import (
    Floats,
    Integers,
    Width,
    add_row,
    add_rows,
    clear_row,
    dot,
    new_array,
    new_table,
    padded_width,
    prefetch,
    products,
    trained,
    transpose,
)
from embedkit.kernels.skipgram import MOST_AT_ALL, logistic

_BLOCK = 32  # words that are worked on together, where nothing stands against it
_SHARED_PER_NEGATIVE = 4
# How many gradients a row may add up at the usual learning rate.
ALPHA = 0.05  # the usual learning rate
_MOST_OF_INPUT, _MOST_OF_OUTPUT = 60, 40


def plan(
    window: int,
    negative: int,
    *,
    shrink: bool = True,
    alpha: float = 0.05,
    shares: tuple[float, float] = (0.0, 0.0),
    shared: int | None = None,
    mean: bool = True,
) -> Plan:
    """How to work so that no row takes too long a step; see `embedkit.kernels.skipgram.plan`.

    Parameters
    ----------
    window, negative, shrink, alpha, shares, shared
        As there. There are no rings: a context is one row.
    mean
        Whether a context is the mean of its rows, or their sum.
    """
    slack = min(1.0, ALPHA / alpha) if alpha > 0 else 1.0
    neighbours = window + 1 if shrink else 2 * window
    text, draws = shares
    # An input adds up what the words around it have found, up to a block's; the most frequent word does so often.
    bounds = [_BLOCK, slack * _MOST_OF_OUTPUT / max(draws * negative + text, 1e-9)]
    bounds.append(slack * _MOST_OF_INPUT / max(text * neighbours * (negative + 1), 1e-9))
    if neighbours * (negative + 1) > slack * _MOST_OF_INPUT:
        bounds.append(slack * _MOST_OF_INPUT / (negative + 1))
    wanted = shared or min(_SHARED_PER_NEGATIVE * negative, 64)
    return Plan(window, shrink, negative, max(8, -(-wanted // 8) * 8), max(1, int(min(bounds))), window, mean)


class Scratch(NamedTuple):
    """Memory of one thread, all by the words of a block.

    `contexts`, what the words are predicted from, as rows and as `columns`; `errors`, the steps of these; where the
    rows of both are; the rows and shares of one context; and the numbers of words with themselves and with negatives.
    """

    contexts: Floats
    columns: Floats
    errors: Floats
    own_rows: Integers
    rows: Integers
    shares: Floats
    sizes: Integers
    own_products: Floats
    own_chances: Floats
    own_losses: Floats
    negative_products: Floats
    negative_chances: Floats
    negative_losses: Floats
    loss_columns: Floats
    weights: Floats
    marks: Integers


def new_scratch(plan: Plan, dimension: int) -> Scratch:
    """Memory for one thread."""
    block = plan.block
    lanes = padded_width(block)
    contexts = new_table(lanes, dimension)
    most = max(2 * plan.window, lanes)

    def numbers(n: int) -> Floats:
        return new_table(1, n).reshape(-1)

    own_rows = new_array(lanes, np.int64)
    own_rows[:] = np.arange(lanes) * contexts.shape[1]
    return Scratch(
        contexts=contexts.reshape(-1),
        columns=numbers(contexts.size),
        errors=numbers(contexts.size),
        own_rows=own_rows,
        rows=new_array(most, np.int64),
        shares=numbers(most),
        sizes=new_array(lanes, np.int64),
        own_products=numbers(lanes),
        own_chances=numbers(lanes),
        own_losses=numbers(lanes),
        negative_products=numbers(plan.shared * lanes),
        negative_chances=numbers(plan.shared * lanes),
        negative_losses=numbers(plan.shared * lanes),
        loss_columns=numbers(lanes),
        weights=numbers(lanes),
        marks=new_marks(),
    )


@trained
def _train_block(
    inputs: Floats,
    outputs: Floats,
    plan: Plan,
    work: Work,
    begin: int,
    end: int,
    window: int,
    negatives: int,
    rate: np.float32,
    scratch: Scratch,
    block: Width,
    width: Width,
    sums: Doubles,
) -> None:
    """One step for the words at `begin` ... `end`."""
    step, size = 16 * len(width), 16 * len(block)
    n, shared = end - begin, plan.shared
    first, last = work.buffer.first, work.buffer.last
    contexts, rows, sizes, marks = scratch.contexts, scratch.rows, scratch.sizes, scratch.marks

    words = 0
    for i in range(n):
        centre, m = begin + i, 0
        for j in range(max(first[centre], centre - window), min(last[centre], centre + window + 1)):
            if j != centre:
                rows[m] = work.input_rows[j]
                m += 1
        sizes[i] = m
        words += m > 0
        share = np.float32(1) / np.float32(m) if plan.mean and m > 0 else np.float32(1)
        for k in range(m):
            scratch.shares[k] = share
        clear_row(contexts, i * step, width)
        add_rows(contexts, i * step, inputs, rows, 0, scratch.shares, 0, 1, m, width)
    if words == 0:
        return
    transpose(contexts, scratch.columns, block, width)

    for i in range(n):
        scratch.own_products[i] = dot(contexts, i * step, outputs, work.output_rows[begin + i], width)
    products(scratch.columns, outputs, work.negative_rows, negatives, shared, scratch.negative_products, block, width)
    logistic(scratch.own_products, size, scratch.own_chances, scratch.own_losses)
    logistic(scratch.negative_products, shared * size, scratch.negative_chances, scratch.negative_losses)

    loss_columns = scratch.loss_columns
    for i in range(n):
        known = np.float32(sizes[i] > 0)
        loss_columns[i] = known * (scratch.own_losses[i] - scratch.own_products[i])
        scratch.own_chances[i] = known * rate * (np.float32(1) - scratch.own_chances[i])
    most = np.float32(MOST_AT_ALL * ALPHA / max(float(rate) * (1 + plan.negative), 1e-9))
    add_marks(marks, work.output_rows, begin, end)
    for i in range(n):
        # See `embedkit.kernels.skipgram`: a word that comes again and again.
        if at_most(marks, work.output_rows[begin + i]) * sizes[i] > most:
            times = 0
            for k in range(n):
                times += work.output_rows[begin + k] == work.output_rows[begin + i]
            if times * sizes[i] > most:
                share = most / np.float32(times * sizes[i])
                scratch.own_chances[i] *= share
                for s in range(shared):
                    scratch.negative_chances[s * size + i] *= share
    weight = np.float32(plan.negative) / np.float32(shared)
    for i in range(size):
        scratch.weights[i] = weight if i < n and sizes[i] > 0 else np.float32(0)
    for s in range(shared):
        at = s * size
        for i in range(size):
            loss_columns[i] += scratch.weights[i] * scratch.negative_losses[at + i]
            scratch.negative_chances[at + i] *= -rate * scratch.weights[i]
    for s in range(shared):
        # A negative that is the word itself is left out there.
        row = work.negative_rows[negatives + s]
        if at_most(marks, row) > 0:
            for i in range(n):
                if work.output_rows[begin + i] == row:
                    at = s * size + i
                    loss_columns[i] -= scratch.weights[i] * scratch.negative_losses[at]
                    scratch.negative_chances[at] = 0
    clear_marks(marks, work.output_rows, begin, end)
    for i in range(n):
        sums[LOSS] += loss_columns[i]
    sums[PAIRS] += words

    for i in range(n):
        clear_row(scratch.errors, i * step, width)
        add_row(scratch.errors, i * step, outputs, work.output_rows[begin + i], scratch.own_chances[i], width)
        add_rows(
            scratch.errors, i * step, outputs, work.negative_rows, negatives, scratch.negative_chances, i, size, shared,
            width,
        )  # fmt: skip
        scratch.shares[i] = np.float32(1) if plan.mean else np.float32(1) / np.float32(max(sizes[i], 1))
    for s in range(shared):
        row = work.negative_rows[negatives + s]
        add_rows(outputs, row, contexts, scratch.own_rows, 0, scratch.negative_chances, s * size, 1, n, width)
    for i in range(n):
        add_row(outputs, work.output_rows[begin + i], contexts, i * step, scratch.own_chances[i], width)
    for j in range(max(first[begin], begin - window), min(last[end - 1], end + window)):
        # The words that j helps to predict: those of its document near it, but not itself.
        left, right = max(0, first[j] - begin, j - begin - window), min(n, last[j] - begin, j - begin + window + 1)
        gap = min(max(j - begin, left), right)
        target = work.input_rows[j]
        add_rows(inputs, target, scratch.errors, scratch.own_rows, left, scratch.shares, left, 1, gap - left, width)
        after = gap + 1 if gap == j - begin else gap
        if right > after:
            add_rows(
                inputs, target, scratch.errors, scratch.own_rows, after, scratch.shares, after, 1, right - after, width
            )


@trained
def _train_words(
    inputs: Floats,
    outputs: Floats,
    plan: Plan,
    work: Work,
    begin: int,
    end: int,
    size: int,
    rate: np.float32,
    scratch: Scratch,
    block: Width,
    width: Width,
    sums: Doubles,
) -> None:
    """One step for each block of a chunk whose rows are known."""
    for number in range((end - begin + plan.block - 1) // plan.block):
        start = begin + number * plan.block
        stop = min(end, start + plan.block)
        for place in range(stop, min(stop + plan.block, end)):
            prefetch(outputs, work.output_rows[place], width)
        for place in range(stop, min(stop + plan.block + plan.window, size)):
            prefetch(inputs, work.input_rows[place], width)
        negatives = number * plan.shared
        if stop < end:
            for place in range(negatives + plan.shared, negatives + 2 * plan.shared):
                prefetch(outputs, work.negative_rows[place], width)
        window = work.windows[number]
        _train_block(inputs, outputs, plan, work, start, stop, window, negatives, rate, scratch, block, width, sums)


@trained
def _train_chunks(
    inputs: Floats,
    outputs: Floats,
    text: Text,
    draws: Draws,
    plan: Plan,
    alpha: float,
    slope: float,
    epoch: int,
    first: int,
    last: int,
    work: Work,
    scratch: Scratch,
    stop: Flags,
    sums: Doubles,
    block: Width,
    width: Width,
) -> int:
    for chunk in range(first, last):
        if stop[0]:
            return chunk
        begin, end, size = draw_chunk(text, draws, plan, epoch, chunk, work)
        place_rows(work, size, 16 * len(width))
        rate = np.float32(alpha + slope * chunk)
        _train_words(inputs, outputs, plan, work, begin, end, size, rate, scratch, block, width, sums)
        sums[WORDS] += end - begin
        sums[RAW_WORDS] += words_in_chunk(text, chunk)
    return last


@trained
def _train_shard(
    inputs: Floats,
    outputs: Floats,
    text: Text,
    draws: Draws,
    plan: Plan,
    alpha: float,
    slope: float,
    epoch: int,
    first: int,
    last: int,
    work: Work,
    scratch: Scratch,
    input_copies: Copies,
    output_copies: Copies,
    sums: Doubles,
    block: Width,
    width: Width,
) -> None:
    """Train on some chunks with copies of their rows, which become what has changed."""
    input_copies.size[0], output_copies.size[0] = 0, 0
    for chunk in range(first, last):
        begin, end, size = draw_chunk(text, draws, plan, epoch, chunk, work)
        copy_chunk(inputs, outputs, plan, end - begin, size, work, input_copies, output_copies, width)
        rate = np.float32(alpha + slope * chunk)
        _train_words(
            input_copies.rows, output_copies.rows, plan, work, begin, end, size, rate, scratch, block, width, sums
        )
        sums[WORDS] += end - begin
        sums[RAW_WORDS] += words_in_chunk(text, chunk)
    take_differences(inputs, input_copies, width)
    take_differences(outputs, output_copies, width)


# numba keeps nothing on disk that was given a function to call: so these two are as in `embedkit.kernels.skipgram`.
_TRAINER = Trainer(_train_chunks, _train_shard, new_scratch)
train_chunks, train_rounds = _TRAINER.train_chunks, _TRAINER.train_rounds
