"""To and from torch's nn.Embedding."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from embedkit.embedding import Embedding

if TYPE_CHECKING:
    import torch


def to_torch(embedding: Embedding, *, freeze: bool = True) -> torch.nn.Embedding:
    """A `torch.nn.Embedding` whose row i is label i, on the CPU.

    Parameters
    ----------
    embedding
        n labels x d dimensions; the vectors are copied.
    freeze
        Whether the weights are fixed; False lets them train.
    """
    import torch

    weights = torch.from_numpy(np.array(embedding.vectors))
    module = torch.nn.Embedding(len(weights), embedding.width, _weight=weights)
    module.weight.requires_grad = not freeze
    return module


def from_torch(module: torch.nn.Embedding, labels: Iterable[object]) -> Embedding:
    """An Embedding of the weights of `module`, shape (n, d), on any device, with its n `labels`."""
    weights = module.weight.detach().cpu().float().numpy().copy()
    return Embedding(labels, weights, provenance={"made_by": "from_torch"})
