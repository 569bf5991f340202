"""Candidates for many analogies at once that share their words, in torch on a CPU or a GPU.

The same as `embedkit.kernels.shared_words`, which says how it is done, with `units` a tensor that already lies on its
device. Larger tiles are worked on, and all questions that a tile's memory allows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch

from embedkit.kernels import shared_words
from embedkit.kernels.candidates_torch import full_precision, scores_at_once
from embedkit.kernels.exact import BLOCK, MUL_EPSILON, Integers
from embedkit.kernels.running_best import NEVER, NOTHING

_FIRST = 4096  # rows in the first tile, in which hardly a score can be passed over
_MOST = 1 << 15  # rows in any other tile


class _Questions(NamedTuple):
    """Questions in order, on the device.

    Of each distinct pair of a and b their words, both (p,); of each question its word c and its pair, both (m,), the
    rows that are no answers to it (m, s), and the best scores with their rows so far, both (m, size).
    """

    a: torch.Tensor
    b: torch.Tensor
    c: torch.Tensor
    pair: torch.Tensor
    skip: torch.Tensor
    best: torch.Tensor
    rows: torch.Tensor


def candidates(
    units: torch.Tensor, terms: Integers, k: int, skip: Integers, dead: Integers, *, multiply: bool
) -> shared_words.Shared:
    """See `embedkit.kernels.shared_words.candidates`."""
    asked, device = shared_words.in_order(terms), units.device
    a, b, c = torch.from_numpy(asked.places).to(device, torch.int64)
    new_pair = torch.from_numpy(asked.new_pair).to(device)
    size = (len(terms), shared_words.kept(k, multiply))
    questions = _Questions(
        a[new_pair],
        b[new_pair],
        c,
        new_pair.cumsum(0) - 1,
        torch.from_numpy(skip[asked.order]).to(device),
        torch.full(size, NOTHING, device=device),
        torch.full(size, -1, dtype=torch.int64, device=device),
    )
    words, struck = units[torch.from_numpy(asked.words).to(device)], torch.from_numpy(dead).to(device)
    lowest = torch.ones(len(words), device=device)
    for start, stop in _tiles(len(units), len(words), device):
        products = torch.full((len(words), -(-(stop - start) // BLOCK) * BLOCK), NEVER, device=device)
        part = products[:, : stop - start]
        with full_precision(device):
            part.copy_(words @ units[start:stop].T)
        if multiply:
            part.add_(1).div_(2).clamp_min_(0)  # rounding may have led below; bounds of products may not be
            lowest = torch.minimum(lowest, part.amin(dim=1))
        part[:, struck[(struck >= start) & (struck < stop)] - start] = NEVER
        bounds = products.view(len(words), -1, BLOCK).amax(dim=2)
        step = max(1, scores_at_once(device) // products.shape[1])
        for first in range(0, len(terms), step):
            _look_at(questions, slice(first, min(first + step, len(terms))), products, bounds, start, multiply)
    best, rows, least = (x.cpu().numpy() for x in (questions.best, questions.rows, lowest))
    return shared_words.settled(best, rows, least, asked, k, units.shape[1], multiply)


def _tiles(n: int, words: int, device: torch.device) -> Iterator[tuple[int, int]]:
    """First and last row of each tile; the first tile is small."""
    room = max(BLOCK, scores_at_once(device) // max(words, 1) // BLOCK * BLOCK)
    start = 0
    while start < n:
        stop = min(start + min(room, _MOST if start else _FIRST), n)
        yield start, stop
        start = stop


def _look_at(
    questions: _Questions, some: slice, products: torch.Tensor, bounds: torch.Tensor, start: int, multiply: bool
) -> None:
    """Add the rows of one tile, the first of which is row `start`, to the best of some questions."""
    pair, c = questions.pair[some], questions.c[some]
    first, last = int(pair[0]), int(pair[-1]) + 1
    pair = pair - first
    to_a, to_b = products[questions.a[first:last]], products[questions.b[first:last]]
    both = to_a.div_(to_b.add_(MUL_EPSILON)) if multiply else to_a.sub_(to_b)
    both, blocks = both.view(len(both), -1, BLOCK), products.view(len(products), -1, BLOCK)
    of_pair = both.amax(dim=2)[pair]
    bound = of_pair.mul_(bounds[c]) if multiply else of_pair.add_(bounds[c])
    question, block = torch.nonzero(bound > questions.best[some, -1:], as_tuple=True)
    size = min(questions.best.shape[1], BLOCK)
    step = max(1, scores_at_once(products.device) // (4 * BLOCK))
    for begin in range(0, len(question), step):
        part = slice(begin, begin + step)
        q, j = question[part], block[part]
        scores = both[pair[q], j]
        scores = scores.mul_(blocks[c[q], j]) if multiply else scores.add_(blocks[c[q], j])
        row = start + BLOCK * j
        for skipped in questions.skip[some][q].T:
            place = skipped - row
            inside = torch.nonzero((place >= 0) & (place < BLOCK)).squeeze(1)
            scores[inside, place[inside]] = NEVER
        # No more of a block than are kept of all.
        scores, place = scores.topk(size, dim=1)
        hit, among = torch.nonzero(scores > questions.best[some][q, -1:], as_tuple=True)
        if len(hit):
            _keep(questions, some, q[hit], row[hit] + place[hit, among], scores[hit, among])


def _keep(questions: _Questions, some: slice, query: torch.Tensor, row: torch.Tensor, score: torch.Tensor) -> None:
    """Put scored rows among the best of some questions, `query` (p,) of which they are answers to."""
    order = torch.argsort(score, descending=True)
    order = order[torch.argsort(query[order], stable=True)]
    query, row, score = query[order], row[order], score[order]
    place = torch.arange(len(query), device=query.device) - torch.searchsorted(query, query)
    kept = place < questions.best.shape[1]
    best, rows = torch.full_like(questions.best[some], NOTHING), torch.full_like(questions.rows[some], -1)
    best[query[kept], place[kept]], rows[query[kept], place[kept]] = score[kept], row[kept]
    best, chosen = torch.cat([questions.best[some], best], dim=1).topk(best.shape[1], dim=1)
    questions.rows[some] = torch.cat([questions.rows[some], rows], dim=1).gather(1, chosen)
    questions.best[some] = best
