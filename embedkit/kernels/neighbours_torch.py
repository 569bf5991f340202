"""Exact nearest neighbours by torch, on a CPU or a GPU: the answers of `embedkit.kernels.neighbours`, bit for bit.

Products choose candidates by the same bound, which holds in whatever order they are added up. The candidates' distances
are computed one by one in float64 on the device, each number by the same sums and products in the same order as there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from embedkit.kernels.neighbours import ANGULAR, Doubles, Floats, Integers, Nearest, Space, added, turned
from embedkit.kernels.word2vec_torch import on_device, settings

# Beside the rows, which lie on the device twice: scores of queries times rows (16 MB on a CPU, 256 MB on a GPU, and a
# quarter more to compare them), and numbers of pairs times dimensions (8 and 128 MB of float64, some three times).
_SCORES_AT_ONCE = {"cpu": 1 << 22, "cuda": 1 << 26}
_NUMBERS_AT_ONCE = {"cpu": 1 << 20, "cuda": 1 << 24}


class TorchSpace(Space):
    """Rows that lie on a device, to be searched there; see `Space`.

    Parameters
    ----------
    rows, metric
        As for `Space`.
    device
        A name of torch's: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` ...
    """

    def __init__(self, rows: Floats, metric: str, device: str) -> None:
        super().__init__(rows, metric)
        self._device, kind = device, torch.device(device).type
        self._scores_at_once, self._numbers_at_once = _SCORES_AT_ONCE[kind], _NUMBERS_AT_ONCE[kind]
        self._queries_at_once = self._scores_at_once
        self._tensors: dict[str, Tensor] = {}

    def nearest(
        self, queries: Floats | None, k: int, *, n_jobs: int = 1, step: Callable[[int], object] | None = None
    ) -> Nearest:
        """See `Space.nearest`; `n_jobs` are torch's threads on a CPU."""
        workers = n_jobs if self._device == "cpu" else torch.get_num_threads()
        with settings(max(1, workers), self._device), torch.no_grad():
            return super().nearest(queries, k, step=step)  # one block at a time has the device to itself

    def _candidates(
        self, queries: Floats, shift: Doubles, length: Doubles, k: int, *, wide: bool
    ) -> tuple[Integers, Integers]:
        rows, squares = (
            self._at("wide" if wide else "rows", wide),
            self._at("wide squares" if wide else "squares", wide),
        )
        gamma = self._gamma(wide)
        prepared = self._prepared(queries, shift, length, np.float64 if wide else np.float32)
        highest = on_device(prepared, self._device) @ rows.T
        highest *= -2
        highest += squares * (1 + gamma)
        unlike = length == 0
        if unlike.any() and self._unlike.any():
            both = np.ix_(np.flatnonzero(unlike), np.flatnonzero(self._unlike))
            highest[tuple(torch.from_numpy(each).to(self._device) for each in both)] = -2
        limit = highest.topk(k, dim=1, largest=False).values[:, -1]
        limit += on_device(2 * gamma * self._squares_of(prepared), self._device)
        highest -= 2 * gamma * squares  # now the lowest that each may be
        query, row = torch.nonzero(highest <= limit[:, None], as_tuple=True)
        return query.cpu().numpy(), row.cpu().numpy()

    def _apart(self, queries: Floats, shift: Doubles, length: Doubles, query: Integers, row: Integers) -> Doubles:
        asked, rows = on_device(queries, self._device), self._at("given", wide=False)
        scales = [on_device(scale, self._device) for scale in (shift, length)]
        theirs = [self._at(name, wide=True) for name in ("shift", "length")]
        q, r = (torch.from_numpy(each).to(self._device) for each in (query, row))
        found = torch.empty(len(query), dtype=torch.float64, device=self._device)
        at_once = max(1, self._numbers_at_once // queries.shape[1])
        for start in range(0, len(query), at_once):
            part = slice(start, start + at_once)
            x, y = asked[q[part]].double(), rows[r[part]].double()
            if self.metric in ANGULAR:
                x = turned(x, *(scale[q[part]] for scale in scales))
                y = turned(y, *(scale[r[part]] for scale in theirs))
            x -= y
            x *= x
            found[part] = added(x)
        distances: Doubles = found.cpu().numpy()
        return distances

    def _at(self, name: str, wide: bool) -> Tensor:
        """One of the arrays, on the device."""
        if name not in self._tensors:
            rows, squares = self._for_products(wide)
            arrays: dict[str, Any] = {
                "given": self._given, "shift": self._shift, "length": self._length,
                "rows": rows, "squares": squares, "wide": rows, "wide squares": squares,
            }  # fmt: skip
            self._tensors[name] = on_device(arrays[name], self._device)
        return self._tensors[name]
