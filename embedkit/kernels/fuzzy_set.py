r"""How strongly rows belong to each other's neighbourhoods: UMAP's local fuzzy sets.

McInnes, Healy & Melville 2018, UMAP, arXiv:1802.03426, algorithms 2 and 3. A row whose nearest neighbour lies at
distance :math:`\rho` belongs to a neighbour at distance d with strength :math:`\exp(-\max(0, d - \rho) / \sigma)`,
where :math:`\sigma` is such that the strengths add up to log2 of the number of neighbours.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.kernels.compiled import exactly

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

_HALVINGS = 64
_NEAR_ENOUGH = 1e-5
_LEAST_SHARE = 1e-3  # of the mean distance: no neighbourhood is narrower


class Strengths(NamedTuple):
    """`strengths` (m, k) float32, `sigmas` and `rhos` (m,) float32."""

    strengths: Floats
    sigmas: Floats
    rhos: Floats


def strengths(distances: Floats, *, target: float, connectivity: float = 1.0, mean: float | None = None) -> Strengths:
    """Strengths of the neighbours of m rows, each row's on its own.

    Parameters
    ----------
    distances
        (m, k) float32, in order; infinite where there is no neighbour.
    target
        The number of neighbours whose log2 the strengths add up to.
    connectivity
        UMAP's ``local_connectivity``: how many neighbours belong fully; between whole numbers rho is interpolated.
    mean
        Mean of all distances, which bounds sigma from below where rho is 0; by default that of the finite `distances`.
    """
    out = Strengths(
        np.zeros(distances.shape, dtype=np.float32),
        np.zeros(len(distances), dtype=np.float32),
        np.zeros(len(distances), dtype=np.float32),
    )
    if mean is None:
        mean = float(np.mean(distances, where=np.isfinite(distances), dtype=np.float64))
    _fill(distances, math.log2(target), float(connectivity), mean, *out)
    return out


@exactly
def _fill(
    distances: Floats, total: float, connectivity: float, mean: float,
    strength: Floats, sigmas: Floats, rhos: Floats,
) -> None:  # fmt: skip
    k = distances.shape[1]
    for i in range(len(distances)):
        row = distances[i]
        apart = 0  # neighbours that are not at the same place, which come last
        present = 0
        own_sum = 0.0
        for j in range(k):
            if row[j] < np.inf:
                present += 1
                own_sum += row[j]
                apart += row[j] > 0
        if present == 0:
            continue
        nearest = present - apart
        rho = 0.0
        whole = int(connectivity)
        part = connectivity - whole
        if apart >= connectivity:
            if whole > 0:
                rho = float(row[nearest + whole - 1])
                if part > _NEAR_ENOUGH:
                    rho += part * (float(row[nearest + whole]) - rho)
            elif apart > 0:
                rho = part * row[nearest]
        elif apart > 0:
            rho = float(row[present - 1])

        low, high, sigma = 0.0, np.inf, 1.0
        for _ in range(_HALVINGS):
            found = 0.0
            # umap-learn leaves the first one out, be it the row itself or, for a new row, the nearest.
            for j in range(1, k):
                gap = row[j] - rho
                found += math.exp(-gap / sigma) if gap > 0 else 1.0
            if abs(found - total) < _NEAR_ENOUGH:
                break
            if found > total:
                high = sigma
                sigma = (low + high) / 2
            else:
                low = sigma
                sigma = sigma * 2 if high == np.inf else (low + high) / 2
        sigma = max(sigma, _LEAST_SHARE * (own_sum / present if rho > 0 else mean))
        sigmas[i], rhos[i] = sigma, rho
        for j in range(k):
            gap = row[j] - rho
            if row[j] == np.inf:
                strength[i, j] = 0
            elif gap <= 0 or sigma == 0:
                strength[i, j] = 1
            else:
                strength[i, j] = math.exp(-gap / sigma)
