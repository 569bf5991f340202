"""Where a fitted model computes, which need not be where it was trained."""

from __future__ import annotations

from torch import nn

from embedkit.kernels.word2vec_torch import device_of
from embedkit.latent.base import LatentModel


def move(model: LatentModel, device: str | None) -> None:
    """Have a fitted model compute elsewhere: its nets are moved, and its parameter `device` stays as it was.

    Parameters
    ----------
    model
        A fitted latent model.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` ...

    Raises
    ------
    BadInput
        This machine does not have it.

    Examples
    --------
    >>> import numpy as np
    >>> from embedkit import Autoencoder
    >>> model = Autoencoder(2, hidden=[4], epochs=0, random_state=0).fit(np.eye(4))
    >>> move(model, "cpu")
    >>> model.device_
    'cpu'
    """
    model.device_ = device_of(device)
    for value in list(vars(model).values()):
        if isinstance(value, nn.Module):
            value.to(model.device_)
