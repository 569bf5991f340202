"""What latent models minimise, as functions of tensors: sums over the dimensions of a row, means over the rows."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_LOG_2PI = math.log(2 * math.pi)


def squared_error(made: Tensor, rows: Tensor) -> Tensor:
    """Mean squared error over everything."""
    return functional.mse_loss(made.float(), rows)


def squared_errors(made: Tensor, rows: Tensor) -> Tensor:
    """Mean squared error of each row, (b,)."""
    return (made.float() - rows).square().flatten(1).mean(dim=1)


def bernoulli_log_likelihood(raw: Tensor, rows: Tensor) -> Tensor:
    """Log-probability of each row of 0s and 1s, (b,), in nats, for independent coins.

    For values in between it is the mean over coins with these probabilities.

    Parameters
    ----------
    raw
        Logits, (b, ...).
    rows
        (b, ...).
    """
    losses = functional.binary_cross_entropy_with_logits(raw.float(), rows, reduction="none")
    return -losses.flatten(1).sum(dim=1)


def gaussian_log_likelihood(made: Tensor, rows: Tensor, deviation: Tensor | float) -> Tensor:
    """Log-density of each row, (b,), in nats, around `made`, (b, ...), with one standard deviation for all values."""
    log = torch.log(torch.as_tensor(deviation, dtype=torch.float32, device=rows.device))
    scaled = ((made.float() - rows) * torch.exp(-log)).flatten(1)
    return -0.5 * scaled.square().sum(dim=1) - scaled.shape[1] * (log + 0.5 * _LOG_2PI)


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of each component of each code from the standard normal, (b, z), in nats.

    Kingma & Welling 2014, arXiv:1312.6114, appendix B.
    """
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp())


def importance_weights(log_likelihood: Tensor, codes: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log of p(row, code) / q(code | row) for codes drawn from q, (k,).

    Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519, equation 8: the logarithm of the mean of its exponentials
    over k codes bounds the log-likelihood from below, the more tightly the larger k.

    Parameters
    ----------
    log_likelihood
        log p(row | code), (k,).
    codes
        (k, z).
    mean, log_variance
        Of q, (z,) or (k, z).
    """
    prior = codes.square().sum(dim=1)
    standard = (codes - mean).square() * torch.exp(-log_variance)
    posterior = (standard + log_variance).sum(dim=1)
    return log_likelihood - 0.5 * (prior - posterior)


def corrupted(rows: Tensor, noise: float, how: str, generator: torch.Generator) -> Tensor:
    """Rows with noise for a denoising autoencoder (Vincent et al. 2010, JMLR 11).

    Parameters
    ----------
    rows
        (b, ...).
    noise
        Standard deviation of what is added (``"gaussian"``), or the share of values that become 0 (``"masking"``).
    how
        Which of the two.
    generator
        Of the noise.
    """
    if how == "masking":
        kept = torch.rand(rows.shape, generator=generator, device=rows.device) >= noise
        return rows * kept
    return rows + noise * torch.randn(rows.shape, generator=generator, device=rows.device)
