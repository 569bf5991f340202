r"""word2vec in plain torch, for GPUs: skip-gram and CBOW with negative sampling, thousands of words a step.

The objective is that of `embedkit.kernels.skipgram` and `embedkit.kernels.cbow` (Mikolov et al. 2013, arXiv:1301.3781
and arXiv:1310.4546), and so is the sharing of negatives: a block of B consecutive words has S of them, each with the
weight K/S for every pair of which it is not the other word, so that the expected gradient is that of K negatives a pair
(after Ji et al. 2016, arXiv:1604.04661). What differs is the shape of the work. Many blocks are taken in one *step*,
all of their gradients where it begins, by products of batches of matrices: a block of inputs with all words that any of
them may reach and with its negatives, of which a mask leaves what lies in the window of each word and in its document.
That computes some six times the products that are needed, in far less time than picking out the others would take.

A step of thousands of words uses frequent rows hundreds of times, and the sum of so many gradients, all taken at the
same place, leads far beyond where it should and diverges. So each row's step is bounded: gradients are added up as long
as they weigh no more than a *cap*, beyond which the row moves by the cap times their mean. `plan` chooses the largest
step for which this costs little, by how often each word comes up.

Random numbers are counted and not remembered, as in `embedkit.kernels.sampling`: they are hashes of (seed, epoch,
position in the text), made on the device in integers, so that every device draws the same, a training can go on at any
chunk, and neighbouring chunks agree about the words between them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import softplus

from embedkit.errors import BadInput
from embedkit.kernels.candidates_torch import full_precision
from embedkit.kernels.hashes_torch import FIRST, GOLDEN, SECOND, mixed, shifted, signed

Doubles: TypeAlias = npt.NDArray[np.float64]

LOSS, PAIRS, WORDS, RAW_WORDS = range(4)  # places in the sums that training adds to

_BLOCK = 32  # words that share negatives
_CAP, _USUAL_ALPHA = 120.0, {True: 0.03, False: 0.05}  # gradients a row adds up in a step at the usual learning rate
_SHARED_CAP = 40.0  # gradients that a shared negative gets from its own block
_SHARED_BY_CBOW = 4  # ... and negatives that a block of CBOW has for each of K
_SMALLEST, _LARGEST = 128, 2**14  # words in a step
_LOST, _STEPS = 0.1, 200  # share of the gradients that may lie beyond the caps, with at least so many steps an epoch;
_ENOUGH = 80  # ... with so many times the gradients of a word, any share: frequent words learn all that they can
_CHUNKS = 8  # steps in a chunk, about
_BEYOND = 8  # times the window: how far words around a chunk are looked for

_MASK = 2**64 - 1
_KEEP, _WINDOW = -1, -2  # streams of an epoch; those of chunks are numbered from 0


class Tables(NamedTuple):
    """What is learned: input and output rows, both (words, d) float32."""

    inputs: Tensor
    outputs: Tensor


class Text(NamedTuple):
    """A corpus on the device: `ids` (tokens,) int32; `ends` (documents,) int64, where each document ends."""

    ids: Tensor
    ends: Tensor


class Draws(NamedTuple):
    """How words are drawn: `keep` (words,) int64 thresholds; `alias` (words, 2) int64, from `sampling`; `seed`."""

    keep: Tensor
    alias: Tensor
    seed: int


class Plan(NamedTuple):
    """The shape of the work.

    `sg`, skip-gram and not CBOW; `window`, `shrink`, `negative` (K) and `mean` as in word2vec; `shared`, negatives of a
    block of `block` words; `step`, words worked on at once; `chunk`, tokens of the text, dropped ones included, between
    two points at which a training can be broken off; `cap`, how many gradients a row adds up in a step.
    """

    sg: bool
    window: int
    shrink: bool
    negative: int
    shared: int
    step: int
    chunk: int
    cap: float
    mean: bool = True
    block: int = _BLOCK


class _Chunk(NamedTuple):
    """The kept words of a chunk and around it, on the device.

    `words`, `documents` and `windows` (size,) int64; `begin` and `end`, between which the chunk's own words lie.
    """

    words: Tensor
    documents: Tensor
    windows: Tensor
    begin: int
    end: int


def device_of(name: str | None) -> str:
    """The device that `name` means, which `None` and ``"auto"`` leave open: CUDA where there is one.

    Raises
    ------
    BadInput
        It is none of ``"cpu"``, ``"cuda"`` and ``"cuda:N"``, or this machine does not have it.
    """
    available = torch.cuda.is_available()
    if name in (None, "auto"):
        return "cuda" if available else "cpu"
    kind, _, number = str(name).partition(":")
    if name != "cpu" and (kind != "cuda" or (":" in str(name) and not number.isdecimal())):
        raise BadInput(f"device is one of auto, cpu, cuda, cuda:0, cuda:1, ..., not {name!r}")
    if kind == "cuda" and (not available or (number and int(number) >= torch.cuda.device_count())):
        raise BadInput(f"this machine has no device '{name}': torch sees {torch.cuda.device_count()} CUDA devices")
    return str(name)


def named(device: str) -> str:
    """What is said of a device: its name, and torch's version."""
    return f"torch {torch.__version__} on {torch.cuda.get_device_name(device) if device != 'cpu' else device}"


@contextlib.contextmanager
def settings(workers: int, device: str) -> Iterator[None]:
    """Let torch use so many threads, and whole float32 in products, as long as it lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(workers)
    try:
        with full_precision(torch.device(device)):
            yield
    finally:
        torch.set_num_threads(before)


def on_device(array: npt.NDArray[np.generic], device: str) -> Tensor:
    """A copy of `array` on the device; uint32, of which torch knows little, as int64."""
    plain = array.astype(np.int64) if array.dtype == np.uint32 else array
    return torch.tensor(np.asarray(plain), device=device)


def tables_of(inputs: npt.NDArray[np.float32], outputs: npt.NDArray[np.float32], device: str) -> Tables:
    """The tables on the device: on the CPU these arrays themselves, elsewhere copies (see `take_back`)."""
    tables = (torch.from_numpy(table) for table in (inputs, outputs))
    return Tables(*(table if device == "cpu" else table.to(device) for table in tables))


def take_back(tables: Tables, inputs: npt.NDArray[np.float32], outputs: npt.NDArray[np.float32]) -> None:
    """Write what was learned into the arrays that the tables were made of."""
    for table, array in zip(tables, (inputs, outputs), strict=True):
        if table.device.type != "cpu":
            array[:] = table.cpu().numpy()


def plan(
    window: int,
    negative: int,
    *,
    sg: bool,
    kept: Doubles,
    noise: Doubles,
    shrink: bool = True,
    mean: bool = True,
    alpha: float = 0.03,
    shared: int | None = None,
) -> Plan:
    """How to work so that no row takes too long a step, and steps are as large as that allows.

    Parameters
    ----------
    window, negative, sg, shrink, mean
        As in word2vec.
    kept
        (words,) how often each word is expected to be kept in an epoch.
    noise
        (words,) how likely each word is drawn as a negative, adding up to 1.
    alpha
        The largest learning rate; the cap is in inverse proportion to it.
    shared
        How many negatives a block shares, instead of the usual number.
    """
    cap = _CAP * min(1.0, _USUAL_ALPHA[sg] / alpha) if alpha > 0 else _CAP
    neighbours = window + 1 if shrink else 2 * window
    total = max(float(kept.sum()), 1.0)
    share = kept / total
    # How many gradients a row collects for each word of a step, if each document is longer than the window.
    inputs = share * (neighbours if sg or mean else 1) * (1 + negative)
    outputs = (share + negative * noise) * (neighbours if sg else 1)
    step = _SMALLEST
    while 2 * step <= min(_LARGEST, total / _STEPS):
        lost = max(_beyond(mass * 2 * step, cap) for mass in (inputs, outputs))
        if lost > _LOST and 2 * step > total / (_ENOUGH * neighbours * (1 + negative)):
            break
        step *= 2
    usual = _BLOCK * neighbours * negative / _SHARED_CAP if sg else _SHARED_BY_CBOW * negative
    wanted = shared or min(512.0, usual)
    return Plan(sg, window, shrink, negative, max(8, 8 * int(np.ceil(wanted / 8))), step, _CHUNKS * step, cap, mean)


def _beyond(mass: Doubles, cap: float) -> float:
    """The share of all gradients that lies beyond the cap."""
    return float(np.maximum(mass - cap, 0).sum() / max(mass.sum(), 1e-300))


def n_chunks(text: Text, plan: Plan) -> int:
    """How many chunks a text has."""
    return -(-len(text.ids) // plan.chunk)


def train_chunks(
    tables: Tables,
    text: Text,
    draws: Draws,
    plan: Plan,
    *,
    alphas: tuple[float, float],
    epoch: int,
    first: int,
    last: int,
) -> Doubles:
    """Train on the chunks `first` ... `last` - 1 of an epoch.

    Parameters
    ----------
    tables
        Are written to.
    text, draws, plan
        What to train on, and how.
    alphas
        The learning rate at the beginning and the end of the whole epoch, between which it falls linearly.
    epoch, first, last
        Which epoch, and which of its chunks.

    Returns
    -------
    ndarray of shape (4,), float64
        The loss, in nats, before each step; pairs (CBOW: words with a neighbour); words; words with dropped ones.
    """
    sums = torch.zeros(4, dtype=torch.float64, device=text.ids.device)
    n, slope = max(len(text.ids), 1), alphas[1] - alphas[0]
    train = _skipgram if plan.sg else _cbow
    for chunk in range(first, min(last, n_chunks(text, plan))):
        start, stop = chunk * plan.chunk, min((chunk + 1) * plan.chunk, len(text.ids))
        read = _read(text, draws, plan, epoch, start, stop)
        key = _stream(draws.seed, epoch, chunk)
        for begin in range(read.begin, read.end, plan.step):
            end = min(begin + plan.step, read.end)
            done = (begin - read.begin) / (read.end - read.begin)
            rate = alphas[0] + slope * (start + done * (stop - start)) / n
            blocks = -(-(end - begin) // plan.block)
            drawn = _negatives(draws, key, (begin - read.begin) * plan.shared, (blocks, plan.shared))
            train(tables, read, plan, begin, end, drawn, rate, sums)
        sums[WORDS] += read.end - read.begin
        sums[RAW_WORDS] += stop - start
    found: Doubles = sums.cpu().numpy()
    return found


# -- random numbers ----------------------------------------------------------------------------------------------------


def _mixed(x: int) -> int:
    """SplitMix64's hash (Steele, Lea & Flood 2014) of 64 bits."""
    x = ((x ^ (x >> 30)) * FIRST) & _MASK
    x = ((x ^ (x >> 27)) * SECOND) & _MASK
    return x ^ (x >> 31)


def _stream(seed: int, epoch: int, number: int) -> int:
    """Where the random numbers of (seed, epoch, number) begin."""
    state = _mixed((seed + GOLDEN) & _MASK)
    for part in (epoch, number):
        state = _mixed(((state ^ (part & _MASK)) + GOLDEN) & _MASK)
    return state


def _random(key: int, numbers: Tensor) -> Tensor:
    """64 random bits each, int64: the hashes of the so manieth numbers of a stream."""
    return mixed(numbers * signed(GOLDEN) + signed(key))


def _negatives(draws: Draws, key: int, first: int, shape: tuple[int, int]) -> Tensor:
    """Words drawn from the alias table, int64."""
    numbers = torch.arange(first, first + shape[0] * shape[1], device=draws.alias.device).view(shape)
    bits = _random(key, numbers)
    word = (shifted(bits, 32) * len(draws.alias)) >> 32
    own, other = draws.alias[word].unbind(-1)
    return torch.where((bits & (2**32 - 1)) < own, word, other)


def _read(text: Text, draws: Draws, plan: Plan, epoch: int, start: int, stop: int) -> _Chunk:
    """The kept words of a chunk, with those around it; rare words, which have no row, are left out first."""
    device, room = text.ids.device, _BEYOND * plan.window
    low, high = max(0, start - room), min(len(text.ids), stop + room)
    ids, places = text.ids[low:high].long(), torch.arange(low, high, device=device)
    bits = shifted(_random(_stream(draws.seed, epoch, _KEEP), places), 32)
    known = ids < len(draws.keep)
    places = places[known & (bits <= draws.keep[torch.where(known, ids, 0)])]
    begin, end = torch.searchsorted(places, torch.tensor([start, stop], device=device)).tolist()
    if plan.shrink:
        drawn = shifted(_random(_stream(draws.seed, epoch, _WINDOW), places), 32)
        windows = 1 + ((drawn * plan.window) >> 32)
    else:
        windows = torch.full_like(places, plan.window)
    return _Chunk(ids[places - low], torch.searchsorted(text.ends, places, right=True), windows, begin, end)


# -- a step ------------------------------------------------------------------------------------------------------------


def _around(chunk: _Chunk, plan: Plan, begin: int, end: int) -> tuple[Tensor, Tensor, Tensor]:
    """The words of the blocks of a step, (n, B); those around each block, (n, C); and who has whom, (n, B, C).

    The last is 1 where a word lies in the window of another, and in its document.
    """
    device, size = chunk.words.device, len(chunk.words)
    starts = torch.arange(begin, end, plan.block, device=device)[:, None]
    reach = torch.arange(plan.block + 2 * plan.window, device=device)
    centres = starts + reach[: plan.block]
    others = starts + reach - plan.window
    distance = (reach - plan.window - reach[: plan.block, None]).abs()
    at, by = centres.clamp(max=size - 1), others.clamp(0, size - 1)
    near = distance <= chunk.windows[at][:, :, None]
    near &= (distance > 0) & (chunk.documents[at][:, :, None] == chunk.documents[by][:, None, :])
    near &= (centres < end)[:, :, None] & ((others >= 0) & (others < size))[:, None, :]
    return chunk.words[at], chunk.words[by], near.float()


def _add(table: Tensor, words: Tensor, steps: Tensor, mass: Tensor, cap: float, rate: float) -> None:
    """Move the rows of `words` (m,) along `steps` (m, d), none by more than the cap's worth of what it collects.

    `mass` (m,) is how many gradients are in each of the steps.
    """
    collected = torch.zeros(len(table), device=table.device).index_add_(0, words, mass)
    share = rate * (cap / collected.clamp(min=cap))
    table.index_add_(0, words, steps.mul_(share[words][:, None]))


def _skipgram(
    tables: Tables, chunk: _Chunk, plan: Plan, begin: int, end: int, negatives: Tensor, rate: float, sums: Tensor
) -> None:
    """One step for the words at `begin` ... `end`; `negatives` (blocks, S)."""
    words, others, near = _around(chunk, plan, begin, end)
    pairs = near.sum(-1)
    x = tables.inputs[words]
    targets = torch.cat([others, negatives], 1)
    y = tables.outputs[targets]
    products = torch.bmm(x, y.transpose(1, 2))
    # A negative stands for K/S of one in each pair of which it is not the other word.
    same = torch.bmm(near, (others[:, :, None] == negatives[:, None, :]).float())
    weights = (pairs[:, :, None] - same) * (plan.negative / plan.shared)
    c = others.shape[1]
    sums[LOSS] += (softplus(-products[:, :, :c]) * near).sum(dtype=torch.float64)
    sums[LOSS] += (softplus(products[:, :, c:]) * weights).sum(dtype=torch.float64)
    sums[PAIRS] += pairs.sum(dtype=torch.float64)
    chances = products.sigmoid_()
    pulls = torch.cat([near * (1 - chances[:, :, :c]), -weights * chances[:, :, c:]], 2)
    up_inputs, up_outputs = torch.bmm(pulls, y), torch.bmm(pulls.transpose(1, 2), x)
    mass = torch.cat([near.sum(1), weights.sum(1)], 1)
    _add(tables.inputs, words.flatten(), up_inputs.flatten(0, 1), (1 + plan.negative) * pairs.flatten(), plan.cap, rate)
    _add(tables.outputs, targets.flatten(), up_outputs.flatten(0, 1), mass.flatten(), plan.cap, rate)


def _cbow(
    tables: Tables, chunk: _Chunk, plan: Plan, begin: int, end: int, negatives: Tensor, rate: float, sums: Tensor
) -> None:
    """As `_skipgram`; what is done with the gradient by a context follows word2vec, see `embedkit.kernels.cbow`."""
    words, others, near = _around(chunk, plan, begin, end)
    sizes = near.sum(-1)
    there = (sizes > 0).float()
    shares = near / sizes.clamp(min=1)[:, :, None]
    h = torch.bmm(shares if plan.mean else near, tables.inputs[others])
    own, y = tables.outputs[words], tables.outputs[negatives]
    product, products = (h * own).sum(-1), torch.bmm(h, y.transpose(1, 2))
    weights = there[:, :, None] * (words[:, :, None] != negatives[:, None, :]) * (plan.negative / plan.shared)
    sums[LOSS] += (softplus(-product) * there).sum(dtype=torch.float64)
    sums[LOSS] += (softplus(products) * weights).sum(dtype=torch.float64)
    sums[PAIRS] += there.sum(dtype=torch.float64)
    pull, pulls = there * (1 - product.sigmoid_()), -weights * products.sigmoid_()
    error = pull[:, :, None] * own + torch.bmm(pulls, y)
    taken = (near if plan.mean else shares).transpose(1, 2)  # by whom each word around is seen
    targets = torch.cat([words, negatives], 1)
    up_outputs = torch.cat([pull[:, :, None] * h, torch.bmm(pulls.transpose(1, 2), h)], 1)
    mass = torch.cat([there, weights.sum(1)], 1)
    up_inputs, gathered = torch.bmm(taken, error), (1 + plan.negative) * taken.sum(-1)
    _add(tables.inputs, others.flatten(), up_inputs.flatten(0, 1), gathered.flatten(), plan.cap, rate)
    _add(tables.outputs, targets.flatten(), up_outputs.flatten(0, 1), mass.flatten(), plan.cap, rate)
