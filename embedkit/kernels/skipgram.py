r"""Skip-gram with negative sampling, in blocks that share their negative samples.

Skip-gram (Mikolov et al. 2013, arXiv:1301.3781) with negative sampling (Mikolov et al. 2013, arXiv:1310.4546) gives
each word an input row x and an output row y. For each pair of a word i and a word j in the window around it, K words n
are drawn with chances in proportion to their counts to the power .75, and a step is taken down the gradient of

.. math:: -\log \sigma(x_i \cdot y_j) - \sum_{k=1}^K \log \sigma(-x_i \cdot y_{n_k})

where a negative that happens to be j is left out, as in word2vec. That reads 1 + K rows for each pair, nearly all of
them from slow memory. Ji et al. (2016, arXiv:1604.04661) share the negatives of one window, so that matrix products do
the work. Here the inputs are taken in *blocks* of B consecutive words, which share one draw of the window's width and
one set of S negatives; a block's rows stay in the fastest cache. What is ours is the weight: an input with m words in
its window meets each of these words once, and each of the S shared negatives once, but with the weight K/S for each of
the m pairs of which it is not the word j. S draws with the weight K/S have the expectation of K draws, so that **the
expected gradient is that of skip-gram with K negatives**, for m + S inner products an input instead of m (1 + K). What
is lost is independence: the negatives of neighbouring words are the same.

All gradients of a block are taken where it began, then all its rows are moved: a step of gradient descent on some
hundred pairs at once. Such a step can be too long, and training then diverges, in the worst case all at once. A row's
step grows with the number of pairs that it takes part in: (1 + K) m for an input, B m K / S for a negative, and as much
again each time that a word comes up anew in a block. So a wide window is worked through in *rings* (distances 1 ... r,
then r + 1 ... 2r ...), each with fresh negatives and rows, and `plan` chooses r, B and S such that no number is large.

The loss is the objective above with the sum over negatives as estimated by the shared ones, in nats, where each ring
begins, before its step; it is summed over pairs. Divided by their number it can be compared between epochs and between
settings of the same K. It flatters: rows have just learnt from the text nearby, the more so the wider the window and
the higher the learning rate, so that it may rise a little while the rate falls. A pass with a rate of 0 measures the
fit alone.

Several threads may train on the same tables at once without locks (Recht et al. 2011, Hogwild). See `train_rounds` for
a way to use several threads that gives the same bits every time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
    LANES,
    Floats,
    Integers,
    Width,
    add_rows,
    copy_row,
    dots,
    new_array,
    new_table,
    padded_width,
    prefetch,
    products,
    trained,
    transpose,
)

_BLOCK = 32  # words that are worked on together, where nothing stands against it
ALPHA = 0.04  # the default learning rate
# How many gradients a row may add up at a learning rate of .03: below what has been seen to diverge.
_BOUNDED_AT = 0.03
_MOST_OF_INPUT, _MOST_OF_NEGATIVE = 60, 40
MOST_AT_ALL = 180  # where a word comes many times in a block; what is more is shared out
_LOG2_E = np.float32(np.log2(np.e))
_SMALLEST_EXPONENT = np.float32(-126)


def _fitted(function: Callable[[Doubles], Doubles], degree: int, domain: tuple[float, float]) -> tuple[np.float32, ...]:
    """Coefficients of a polynomial, lowest first."""
    fit = np.polynomial.Chebyshev.interpolate(function, degree, domain)
    return tuple(fit.convert(kind=np.polynomial.Polynomial, domain=(-1, 1)).coef.astype(np.float32))


_POWER = _fitted(np.exp2, 4, (-0.5, 0.5))
_LOG = _fitted(np.log1p, 6, (0, 1))


def plan(
    window: int,
    negative: int,
    *,
    shrink: bool = True,
    alpha: float = 0.025,
    shares: tuple[float, float] = (0.0, 0.0),
    shared: int | None = None,
) -> Plan:
    """How to work so that no row takes too long a step.

    What makes a step long is how many gradients a row adds up before they are taken anew: (1 + K) m for an input with m
    neighbours, B m K / S for a negative, and so many more if a word comes up several times in a block, as it does if
    the vocabulary is small. `plan` chooses the reach of rings, then the block, then the number of shared negatives such
    that these are within bounds.

    Parameters
    ----------
    window, negative, shrink
        As in word2vec; `shrink` for a window of 1 ... `window` words on each side, not always the widest.
    alpha
        The largest learning rate; bounds are in inverse proportion to it.
    shares
        Of the most frequent word: its share of the kept text, and its chance to be drawn as a negative; see
        `embedkit.kernels.sampling.largest_shares`.
    shared
        How many negatives a block shares, instead of the fewest that are safe; rounded up to a multiple of 8.
    """
    slack = min(1.0, _BOUNDED_AT / alpha) if alpha > 0 else 1.0
    of_input, of_negative = slack * _MOST_OF_INPUT, slack * _MOST_OF_NEGATIVE
    if shrink and (window + 1) * (negative + 1) <= of_input:
        reach, neighbours = window, window + 1
    else:
        rings = -(-window // max(1, int(of_input / (2 * negative + 2))))
        reach = -(-window // rings)
        neighbours = 2 * reach
    text, draws = shares
    times = neighbours * max(text * (negative + 1), draws * negative + text)  # that the most frequent word comes up
    block = max(1, min(_BLOCK, int(of_negative / times) if times > 0 else _BLOCK))
    wanted = shared or block * neighbours * negative / of_negative
    return Plan(window, shrink, negative, max(8, -(-math.ceil(wanted) // 8) * 8), block, reach)


class Scratch(NamedTuple):
    """Memory of one thread: a block's inputs, copied, as columns, and where their rows are; and numbers of each pair.

    The numbers of pairs with neighbours are kept input by input in `products`, `chances` and `losses` (beginning at
    ``offsets``), those with negatives in `negative_products` and so on, negative by negative. `steps` are those of the
    neighbours, by neighbour and input; `marks`, of rows that are looked for.
    """

    copies: Floats
    columns: Floats
    copy_rows: Integers
    rows: Integers
    offsets: Integers
    products: Floats
    chances: Floats
    losses: Floats
    weights: Floats
    steps: Floats
    negative_products: Floats
    negative_chances: Floats
    negative_losses: Floats
    loss_columns: Floats
    marks: Integers


def new_scratch(plan: Plan, dimension: int) -> Scratch:
    """Memory for one thread."""
    block = plan.block
    lanes = padded_width(block)
    copies = new_table(lanes, dimension)
    pairs = padded_width(2 * plan.reach * block) + 2 * LANES

    def numbers(n: int) -> Floats:
        return new_table(1, n).reshape(-1)

    copy_rows = new_array(lanes, np.int64)
    copy_rows[:] = np.arange(lanes) * copies.shape[1]
    return Scratch(
        copies=copies.reshape(-1),
        columns=numbers(copies.size),
        copy_rows=copy_rows,
        rows=new_array(pairs, np.int64),
        offsets=new_array(block + 1, np.int64),
        products=numbers(pairs),
        chances=numbers(pairs),
        losses=numbers(pairs),
        weights=numbers(lanes),
        steps=numbers((block + 2 * plan.window) * block),
        negative_products=numbers(plan.shared * lanes),
        negative_chances=numbers(plan.shared * lanes),
        negative_losses=numbers(plan.shared * lanes),
        loss_columns=numbers(lanes),
        marks=new_marks(),
    )


@trained
def logistic(products: Floats, n: int, chances: Floats, losses: Floats) -> None:
    """For the first `n` products x: the chance sigma(x), and the loss log(1 + exp(x)) = -log sigma(-x).

    Both to 1e-5 or better: polynomials, fitted at Chebyshev points, stand for 2^t with t in -1/2 ... 1/2 and for
    log(1 + e) with e in 0 ... 1.
    """
    one = np.float32(1)
    for k in range(n):
        x = products[k]
        magnitude = abs(x)
        exponent = max(-magnitude * _LOG2_E, _SMALLEST_EXPONENT)
        whole = np.int32(exponent - np.float32(0.5))
        t = exponent - np.float32(whole)
        power = _POWER[0] + t * (_POWER[1] + t * (_POWER[2] + t * (_POWER[3] + t * _POWER[4])))
        e = power * np.int32((whole + 127) << 23).view(np.float32)
        inverse = one / (one + e)
        chances[k] = inverse if x >= 0 else e * inverse
        log = _LOG[0] + e * (_LOG[1] + e * (_LOG[2] + e * (_LOG[3] + e * (_LOG[4] + e * (_LOG[5] + e * _LOG[6])))))
        losses[k] = log + np.float32(0.5) * (x + magnitude)  # NaN if x is


@trained
def _train_ring(
    inputs: Floats,
    outputs: Floats,
    plan: Plan,
    work: Work,
    begin: int,
    end: int,
    near: int,
    far: int,
    negatives: int,
    rate: np.float32,
    scratch: Scratch,
    block: Width,
    width: Width,
    sums: Doubles,
) -> None:
    """One step for the words at `begin` ... `end` and their neighbours further away than `near` and up to `far`."""
    step, size = 16 * len(width), 16 * len(block)
    n, shared = end - begin, plan.shared
    first, last, out = work.buffer.first, work.buffer.last, work.output_rows
    low, high = max(first[begin], begin - far), min(last[end - 1], end + far)
    rows, offsets, chances, steps = scratch.rows, scratch.offsets, scratch.chances, scratch.steps
    marks = scratch.marks

    for i in range(n):
        copy_row(scratch.copies, i * step, inputs, work.input_rows[begin + i], width)
    transpose(scratch.copies, scratch.columns, block, width)

    # Inner products: of each input with its neighbours, and of all inputs with all negatives.
    pairs = 0
    for i in range(n):
        centre = begin + i
        offsets[i] = pairs
        for j in range(max(first[centre], centre - far), centre - near):
            rows[pairs] = out[j]
            pairs += 1
        for j in range(centre + near + 1, min(last[centre], centre + far + 1)):
            rows[pairs] = out[j]
            pairs += 1
    offsets[n] = pairs
    if pairs == 0:
        return
    for i in range(n):
        dots(scratch.copies, i * step, outputs, rows, offsets[i], offsets[i + 1] - offsets[i], scratch.products, width)
    products(scratch.columns, outputs, work.negative_rows, negatives, shared, scratch.negative_products, block, width)

    # What they say: the loss, and how far each row must go along each other row.
    logistic(scratch.products, (pairs + 15) // 16 * 16, chances, scratch.losses)
    logistic(scratch.negative_products, shared * size, scratch.negative_chances, scratch.negative_losses)
    loss_columns = scratch.loss_columns
    loss_columns[:] = 0
    for k in range(0, pairs - LANES + 1, LANES):
        for lane in range(LANES):
            loss_columns[lane] += scratch.losses[k + lane] - scratch.products[k + lane]
    for k in range(pairs // LANES * LANES, pairs):
        loss_columns[0] += scratch.losses[k] - scratch.products[k]
    for k in range(pairs):
        chances[k] = rate * (np.float32(1) - chances[k])
    most = np.float32(MOST_AT_ALL * _BOUNDED_AT / max(float(rate) * (1 + plan.negative), 1e-9))
    add_marks(marks, work.input_rows, begin, end)
    for i in range(n):
        # A word that comes again and again, as "na na na na", would be moved by all of its pairs at once.
        m = offsets[i + 1] - offsets[i]
        if at_most(marks, work.input_rows[begin + i]) * m > most:
            times = 0
            for k in range(n):
                times += work.input_rows[begin + k] == work.input_rows[begin + i]
            if times * m > most:
                share = most / np.float32(times * m)
                for k in range(offsets[i], offsets[i + 1]):
                    chances[k] *= share
                for s in range(shared):
                    scratch.negative_chances[s * size + i] *= share
    clear_marks(marks, work.input_rows, begin, end)
    for i in range(size):
        m = offsets[i + 1] - offsets[i] if i < n else 0
        scratch.weights[i] = np.float32(m * plan.negative) / np.float32(shared)
    for s in range(shared):
        at = s * size
        for i in range(size):
            loss_columns[i] += scratch.weights[i] * scratch.negative_losses[at + i]
            scratch.negative_chances[at + i] *= -rate * scratch.weights[i]
    add_marks(marks, out, low, high)
    for s in range(shared):
        # A negative that is somebody's neighbour is left out there.
        row = work.negative_rows[negatives + s]
        if at_most(marks, row) > 0:
            for i in range(n):
                times, m = 0, offsets[i + 1] - offsets[i]
                for k in range(offsets[i], offsets[i + 1]):
                    times += rows[k] == row
                if times > 0:
                    share, at = np.float32(times) / np.float32(m), s * size + i
                    loss_columns[i] -= scratch.weights[i] * share * scratch.negative_losses[at]
                    scratch.negative_chances[at] *= np.float32(1) - share
    clear_marks(marks, out, low, high)
    for i in range(size):
        sums[LOSS] += loss_columns[i]
    sums[PAIRS] += pairs

    # The steps: inputs, then negatives, then neighbours.
    steps[: (high - low) * n] = 0
    for i in range(n):
        centre, k = begin + i, offsets[i]
        target = work.input_rows[centre]
        add_rows(inputs, target, outputs, rows, k, chances, k, 1, offsets[i + 1] - k, width)
        add_rows(
            inputs, target, outputs, work.negative_rows, negatives, scratch.negative_chances, i, size, shared, width
        )
        for j in range(max(first[centre], centre - far), centre - near):
            steps[(j - low) * n + i] = chances[k]
            k += 1
        for j in range(centre + near + 1, min(last[centre], centre + far + 1)):
            steps[(j - low) * n + i] = chances[k]
            k += 1
    for s in range(shared):
        row = work.negative_rows[negatives + s]
        add_rows(outputs, row, scratch.copies, scratch.copy_rows, 0, scratch.negative_chances, s * size, 1, n, width)
    for j in range(low, high):
        # The inputs that j is a neighbour of lie before and after it; if near is 0 they are one run, with a gap of 0.
        left, right = max(0, j - begin - far), min(n, j - begin + far + 1)
        before = right if near == 0 else min(n, j - begin - near)
        after = right if near == 0 else max(left, j - begin + near + 1)
        at = (j - low) * n
        if before > left:
            add_rows(
                outputs, out[j], scratch.copies, scratch.copy_rows, left, steps, at + left, 1, before - left, width
            )
        if right > after:
            add_rows(
                outputs, out[j], scratch.copies, scratch.copy_rows, after, steps, at + after, 1, right - after, width
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
    """One step for each ring of each block of a chunk whose rows are known."""
    all_rings = (plan.window + plan.reach - 1) // plan.reach
    for number in range((end - begin + plan.block - 1) // plan.block):
        start = begin + number * plan.block
        stop = min(end, start + plan.block)
        window = work.windows[number]
        for place in range(stop, min(stop + plan.block, end)):
            prefetch(inputs, work.input_rows[place], width)
        for place in range(stop + window, min(stop + plan.block + plan.window, size)):
            prefetch(outputs, work.output_rows[place], width)
        for ring in range((window + plan.reach - 1) // plan.reach):
            near, far = ring * plan.reach, min(window, (ring + 1) * plan.reach)
            negatives = (number * all_rings + ring) * plan.shared
            next_ = negatives + plan.shared if far < window else (number + 1) * all_rings * plan.shared
            if far < window or stop < end:
                for place in range(next_, next_ + plan.shared):
                    prefetch(outputs, work.negative_rows[place], width)
            _train_ring(
                inputs, outputs, plan, work, start, stop, near, far, negatives, rate, scratch, block, width, sums
            )


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


# numba keeps nothing on disk that was given a function to call: so `_train_chunks` and `_train_shard` stand twice.
_TRAINER = Trainer(_train_chunks, _train_shard, new_scratch)
train_chunks, train_rounds = _TRAINER.train_chunks, _TRAINER.train_rounds
