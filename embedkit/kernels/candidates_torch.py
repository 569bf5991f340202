"""Candidates for the k best rows by float32 matrix products in torch, on a CPU or a GPU; see `embedkit.kernels.exact`.

The same functions as in `embedkit.kernels.candidates_numpy`, with `units` a tensor that already lies on its device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from embedkit.kernels.exact import BLOCK, MUL_EPSILON, Floats, Integers, tolerance

_SCORES_AT_ONCE = {"cpu": 1 << 24, "mps": 1 << 26}  # float32 values held at a time
_SCORES_AT_ONCE_GPU = 1 << 28  # 1 GB


def by_cosine(
    units: torch.Tensor, queries: Floats, k: int, skip: Integers, dead: Integers
) -> Iterator[tuple[Integers, Integers]]:
    """See `embedkit.kernels.candidates_numpy.by_cosine`."""
    slack = 2 * tolerance(units.shape[1])
    for start, stop in _spans(len(queries), len(units), units.device):
        with full_precision(units.device):
            scores = torch.from_numpy(queries[start:stop]).to(units.device) @ units.T
        _strike(scores, skip[start:stop], dead)
        query, row = _select(scores, scores, k, slack)
        yield query + start, row


def by_product(
    units: torch.Tensor, terms: Integers, k: int, skip: Integers, dead: Integers
) -> Iterator[tuple[Integers, Integers]]:
    """See `embedkit.kernels.candidates_numpy.by_product`."""
    slack = tolerance(units.shape[1]) + 2.0**-22
    for start, stop in _spans(len(terms), 5 * len(units), units.device):
        rows = torch.from_numpy(terms[start:stop]).to(units.device)
        with full_precision(units.device):
            a, b, c = ((1 + units[rows[:, j]] @ units.T) / 2 for j in range(3))
        low = (a - slack).clamp_min(0) * (c - slack).clamp_min(0) / (b + (slack + MUL_EPSILON)) * (1 - 1e-6)
        high = (a + slack) * (c + slack) / ((b - slack).clamp_min(0) + MUL_EPSILON) * (1 + 1e-6)
        _strike(low, skip[start:stop], dead)
        _strike(high, skip[start:stop], dead)
        query, row = _select(low, high, k, 0.0)
        yield query + start, row


@contextlib.contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Products in true float32, even where the user has allowed TF32 or bfloat16 for speed: the bound needs it.

    Parameters
    ----------
    device
        Where the products are computed. The user's settings are given back afterwards.
    """
    with torch.autocast(device.type, enabled=False), contextlib.ExitStack() as stack:
        mkldnn: Any = torch.backends.mkldnn  # its types do not tell of `matmul`
        backends: tuple[Any, ...] = (torch.backends.cuda.matmul, mkldnn.matmul)
        if all(hasattr(backend, "fp32_precision") for backend in backends):
            for backend in backends:
                stack.callback(setattr, backend, "fp32_precision", backend.fp32_precision)
                backend.fp32_precision = "ieee"
        else:  # torch before 2.9
            stack.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
            torch.set_float32_matmul_precision("highest")
        yield


def scores_at_once(device: torch.device) -> int:
    """How many float32 values to hold at a time."""
    return _SCORES_AT_ONCE.get(device.type, _SCORES_AT_ONCE_GPU)


def _spans(m: int, n: int, device: torch.device) -> Iterator[tuple[int, int]]:
    step = max(1, scores_at_once(device) // max(n, 1))
    return ((start, min(start + step, m)) for start in range(0, m, step))


def _strike(scores: torch.Tensor, skip: Integers, dead: Integers) -> None:
    scores[:, torch.from_numpy(dead).to(scores.device)] = -torch.inf
    struck = torch.from_numpy(skip).to(scores.device)
    query, place = torch.nonzero(struck >= 0, as_tuple=True)
    scores[query, struck[query, place]] = -torch.inf


def _select(low: torch.Tensor, high: torch.Tensor, k: int, slack: float) -> tuple[Integers, Integers]:
    m, n = low.shape
    width = n // BLOCK
    if width < 4 * k:
        threshold = low.topk(min(k, n), dim=1).values[:, -1:] - slack
        query, row = torch.nonzero((high >= threshold) & (high > -torch.inf), as_tuple=True)
        return query.cpu().numpy(), row.cpu().numpy()
    lows, highs = (x[:, : BLOCK * width].view(m, BLOCK, width) for x in (low, high))
    low_maxima = lows.amax(dim=1)
    high_maxima = low_maxima if high is low else highs.amax(dim=1)
    threshold = low_maxima.topk(k, dim=1).values[:, -1:] - slack
    block_query, block = torch.nonzero(high_maxima >= threshold, as_tuple=True)
    values = highs[block_query, :, block]
    hit, place = torch.nonzero((values >= threshold[block_query]) & (values > -torch.inf), as_tuple=True)
    tail = high[:, BLOCK * width :]
    tail_query, tail_place = torch.nonzero((tail >= threshold) & (tail > -torch.inf), as_tuple=True)
    query = torch.cat([block_query[hit], tail_query])
    row = torch.cat([place * width + block[hit], tail_place + BLOCK * width])
    return query.cpu().numpy(), row.cpu().numpy()
