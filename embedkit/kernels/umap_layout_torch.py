r"""UMAP's layout in torch, for GPUs: what `embedkit.kernels.umap_layout` does, many vertices at once.

What is worked out for a vertex, and in which order, is the same: its attractions one after the other, then the
repulsions of the vertices drawn for it, while all others stay where they were at the end of the epoch before. The t-th
edges of all vertices that have so many due are taken together, then the next ones. Each vertex gathers what moves it,
and nobody adds to another's place, so that nothing depends on who comes first: no atomic sums, the same bits again. The
map is not bit for bit that of the other kernel, which rounds otherwise, and a layout soon makes much of the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from embedkit.kernels.hashes_torch import GOLDEN, mixed, shifted, signed
from embedkit.kernels.umap_layout import Curve, Edges, Floats
from embedkit.kernels.word2vec_torch import on_device, settings

# What is worked on together: some 300 MB in two dimensions.
_VERTICES_AT_ONCE, _EDGES_AT_ONCE = 1 << 18, 1 << 22
_DRAWS = 16  # of a vertex that are worked out together
_FLUSHED = 256  # draws after which a vertex moves, as in the other kernel
_NEAR, _NOTHING, _LIMIT = 0.001, 1e-12, 4.0
_LOW = 2**32 - 1


class _Due(NamedTuple):
    """Edges due of some vertices, of which those with the most come first.

    `vertices` (m,) int64, their numbers; `counts` (m,) int64, how many edges each has due; `keys` (m,) int64, what
    seeds their draws; `longest`, the largest count; `targets` (edges due,) int64, in the order of vertices; `begins`
    and `turns` (m,) int64, where in it each vertex's own begin, and with which of them it begins.
    """

    vertices: Tensor
    counts: Tensor
    keys: Tensor
    longest: int
    targets: Tensor
    begins: Tensor
    turns: Tensor


class _Graph(NamedTuple):
    """Some vertices' part of the graph on the device: `first` to `last` - 1, and `Edges` of theirs."""

    first: int
    last: int
    starts: Tensor
    targets: Tensor
    rates: Tensor


def lay_out(
    start: Floats,
    edges: Edges,
    curve: Curve,
    *,
    epochs: int,
    learning_rate: float,
    seed: int,
    device: str,
    step: Callable[[int, Floats], object] | None = None,
) -> Floats:
    """Places of the vertices of a graph, (n, d) float32: the same bits for a seed each time, on one device.

    Parameters
    ----------
    start, edges, curve, epochs, learning_rate, seed, step
        See `embedkit.kernels.umap_layout.lay_out`.
    device
        A name of torch's. On ``"cpu"`` it is one thread that works, since torch's bits depend on their number.
    """
    n = len(start)
    with settings(1 if device == "cpu" else torch.get_num_threads(), device), torch.no_grad():
        old = on_device(np.ascontiguousarray(start, dtype=np.float32), device)
        parts = list(_parts(edges, device))
        for epoch in range(1, epochs):
            alpha = float(np.float32(learning_rate * (1 - (epoch - 1) / epochs)))
            new = old.clone()
            for part in parts:
                due = _due(part, epoch, n, seed)
                place = old[due.vertices]
                _attract(place, old, due, alpha, curve)
                _repel(place, old, due, alpha, curve)
                new[due.vertices] = place
            old = new
            if step is not None and step(epoch, _numpy(old)):
                break
        return _numpy(old)


def _numpy(places: Tensor) -> Floats:
    made: Floats = places.cpu().numpy()
    return made


def _parts(edges: Edges, device: str) -> Iterator[_Graph]:
    """The graph cut between vertices into parts that are worked on together; a vertex's edges stay together."""
    n, first = len(edges.starts) - 1, 0
    while first < n:
        fitting = int(np.searchsorted(edges.starts, edges.starts[first] + _EDGES_AT_ONCE, side="right")) - 1
        last = min(n, first + _VERTICES_AT_ONCE, max(first + 1, fitting))
        own = slice(int(edges.starts[first]), int(edges.starts[last]))
        yield _Graph(
            first, last,
            on_device(edges.starts[first : last + 1] - edges.starts[first], device),
            on_device(edges.targets[own].astype(np.int64), device), on_device(edges.rates[own], device),
        )  # fmt: skip
        first = last


def _due(part: _Graph, epoch: int, n: int, seed: int) -> _Due:
    begins, ends = part.starts[:-1], part.starts[1:]
    numbers = torch.arange(part.first, part.last, device=begins.device)
    keys = mixed((numbers + epoch * n) * signed(GOLDEN) + signed(seed))
    turn = begins + ((shifted(mixed(keys), 32) * (ends - begins)) >> 32)
    is_due = (part.rates * epoch).to(torch.int32) > (part.rates * (epoch - 1)).to(torch.int32)
    before = torch.zeros(len(is_due) + 1, dtype=torch.int64, device=begins.device)
    torch.cumsum(is_due, 0, out=before[1:])
    counts = before[ends] - before[begins]
    counts, order = counts.sort(descending=True, stable=True)
    return _Due(
        numbers[order], counts, keys[order], int(counts[0]), part.targets[is_due], before[begins][order],
        (before[turn] - before[begins])[order],
    )  # fmt: skip


def _having(counts: Tensor, most: int, step: int) -> list[int]:
    """How many of the first vertices have more than 0, `step`, 2 `step` ... up to `most`."""
    asked = torch.arange(0, max(most, 1), step, device=counts.device)
    having: list[int] = (len(counts) - torch.searchsorted(counts.flip(0), asked, right=True)).tolist()
    return having


def _attract(place: Tensor, old: Tensor, due: _Due, alpha: float, curve: Curve) -> None:
    """Move the places along the edges that are due, one of each vertex after the other."""
    if not due.longest:
        return
    for t, m in enumerate(_having(due.counts, due.longest, 1)):
        target = due.targets[due.begins[:m] + (due.turns[:m] + t) % due.counts[:m]]
        other, mine = old[target], place[:m]
        for _ in range(2):
            gap = mine - other
            apart = _squares(gap)
            power = apart**curve.b
            factor = (-2 * curve.a * curve.b) * power / (apart * (1 + curve.a * power))
            mine += alpha * (factor[:, None] * gap).clamp_(-_LIMIT, _LIMIT)


def _repel(place: Tensor, old: Tensor, due: _Due, alpha: float, curve: Curve) -> None:
    """Move the places away from vertices that are drawn for each edge that is due."""
    totals, most, n = due.counts * curve.negatives, due.longest * curve.negatives, len(old)
    if not most:
        return
    low, high = due.keys & _LOW, shifted(due.keys, 32)
    force = torch.zeros_like(place)
    for block, m in enumerate(_having(totals, most, _DRAWS)):
        number = torch.arange(block * _DRAWS, (block + 1) * _DRAWS, device=place.device)
        drawn = _drawn(low[:m, None], high[:m, None], number, n)
        gap = place[:m, None] - old[drawn]
        apart = _squares(gap)
        factor = (2 * curve.repulsion * curve.b) / ((_NEAR + apart) * (1 + curve.a * apart**curve.b))
        factor *= number < totals[:m, None]
        force[:m] += (factor[..., None] * gap).clamp_(-_LIMIT, _LIMIT).sum(dim=1)
        if (block + 1) * _DRAWS % _FLUSHED == 0:
            place += alpha * force
            force.zero_()
    place += alpha * force


def _squares(gap: Tensor) -> Tensor:
    """Squared lengths of gaps, (..., d): as much as nothing where there is none."""
    made = gap[..., 0] * gap[..., 0]
    for c in range(1, gap.shape[-1]):
        made += gap[..., c] * gap[..., c]
    return made.add_(_NOTHING)


def _drawn(low: Tensor, high: Tensor, number: Tensor, n: int) -> Tensor:
    """The vertices that are drawn, from the two halves of the vertices' keys and the numbers of the draws."""
    h = (low + number * 0x9E3779B9) & _LOW
    h = ((h ^ (h >> 16)) * 0x7FEB352D) & _LOW
    h = ((h ^ (h >> 15)) * 0x846CA68B) & _LOW
    h = h ^ (h >> 16) ^ high
    return (h * n) >> 32
