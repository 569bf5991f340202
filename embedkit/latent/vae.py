"""Variational autoencoders (Kingma & Welling 2014, arXiv:1312.6114; Rezende, Mohamed & Wierstra 2014)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from embedkit.errors import BadInput
from embedkit.latent.base import State
from embedkit.latent.codes import CodesMixin, How
from embedkit.latent.data import Kind
from embedkit.latent.nets import Decoder, GaussianEncoder, Maker
from embedkit.latent.objectives import (
    bernoulli_log_likelihood,
    gaussian_log_likelihood,
    importance_weights,
    kl_to_standard_normal,
)
from embedkit.latent.training import Batch, Means, Parts, Player, Schedule
from embedkit.parameters import check_choice, check_number, check_whole

_ACTIVE = 0.01  # variance of a component's mean above which it is active (Burda et al. 2016, appendix C)
_DRAWS = 8  # codes a row for `elbo` and `score_samples`
_DECODED = 2048  # codes decoded together
_LIKELIHOODS = ("auto", "bernoulli", "gaussian")


class Likelihood(nn.Module):
    """How probable rows are, given what the decoder says.

    Parameters
    ----------
    kind
        Of the rows.
    how
        ``"bernoulli"`` or ``"gaussian"``.
    deviation
        Standard deviation of the latter; `None` learns one for all values.
    """

    def __init__(self, kind: Kind, how: str, deviation: float | None) -> None:
        super().__init__()
        self.bernoulli, self.pixels = how == "bernoulli", kind.pixels
        start = torch.tensor(float(np.log(deviation if deviation is not None else 1.0)))
        if deviation is None and not self.bernoulli:
            self.log_deviation: Tensor = nn.Parameter(start)
        else:
            self.register_buffer("log_deviation", start)

    def forward(self, raw: Tensor, rows: Tensor) -> Tensor:
        """Log-probability (Bernoulli) or log-density of each row, (b,), in nats and model units."""
        if self.bernoulli:
            return bernoulli_log_likelihood(raw, rows)
        made = torch.sigmoid(raw) if self.pixels else raw
        return gaussian_log_likelihood(made, rows, self.log_deviation.exp())


@final
class VAE(CodesMixin):
    """Learn codes that are distributed as the standard normal, so that new rows can be drawn.

    What it maximises is the evidence lower bound: the mean log-likelihood of a row under codes drawn from its
    posterior, less `beta` times the Kullback-Leibler divergence of that from the standard normal. Both are in nats,
    summed over dimensions and averaged over rows. A seed gives the same weights bit for bit on the same machine and
    versions, with as many threads.

    Parameters
    ----------
    n_components
        Numbers in a code.
    likelihood
        ``"bernoulli"``: pixels are probabilities of coins, tossed anew for every batch (grey pixels give no likelihood
        otherwise). ``"gaussian"``. ``"auto"``: Bernoulli for pixels.
    deviation
        Standard deviation of the Gaussian, in model units; `None` learns it.
    beta
        Weight of the divergence (Higgins et al. 2017).
    warmup
        Share of the training in which `beta` rises from 0 (Sonderby et al. 2016, arXiv:1602.02282).
    architecture, hidden, channels
        Of the nets; as for `Autoencoder`.
    encoder, decoder
        Your own torch modules: from (b, *shape) to (b, 2 * n_components), means and then log variances, and from
        (b, n_components) back, before the sigmoid. See `Autoencoder`.
    scaling, image_shape
        What rows are; as for `Autoencoder`.
    epochs, batch_size, learning_rate, schedule, weight_decay, clip, validation, patience, precision
        How to train; as for `Autoencoder`.
    device, n_jobs, random_state
        Where, with how many threads, and the seed; as for `Autoencoder`.

    Attributes
    ----------
    encoder_, decoder_ : torch.nn.Module
        From rows in model units to the means of their codes (``encoder_.moments`` gives log variances, too), and back.
    likelihood_ : torch.nn.Module
        With ``log_deviation`` of the Gaussian.
    kind_ : Kind
        What rows are.
    history_ : list of dict
        An entry an epoch: ``epoch``, ``loss``, ``reconstruction`` (minus the mean log-likelihood), ``kl``,
        ``kl_per_unit``, ``active_units``, ``beta``, all of these but the last for held-out rows as ``validation_...``
        (with the whole `beta`), ``learning_rate``, ``seconds``, ``samples``, ``samples_per_second``.
    active_units_ : int
        Components whose mean varies by more than 0.01 over rows of `fit`.
    best_epoch_, validation_rows_, codes_, device_, n_features_in_, feature_names_in_
        As of `Autoencoder`.

    Examples
    --------
    >>> from embedkit import images
    >>> digits = images.named("digits").head(500)
    >>> model = VAE(n_components=8, epochs=3, n_jobs=1, random_state=0).fit(digits)
    >>> model.sample(5, random_state=0).shape
    (5, 8, 8)
    >>> model.log_likelihood(digits, n_samples=50).shape
    (500,)
    >>> sorted(model.elbo(digits))
    ['kl', 'reconstruction']
    """

    _priors: tuple[How, ...] = ("prior", "gmm")

    def __init__(
        self,
        n_components: int = 20,
        *,
        likelihood: Literal["auto", "bernoulli", "gaussian"] = "auto",
        deviation: float | None = None,
        beta: float = 1.0,
        warmup: float = 0.0,
        architecture: Literal["auto", "dense", "conv"] = "auto",
        hidden: Sequence[int] = (512, 256),
        channels: Sequence[int] | None = None,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        scaling: Literal["auto", "pixels", "standard", "none"] = "auto",
        image_shape: tuple[int, ...] | None = None,
        epochs: int = 20,
        batch_size: int = 128,
        learning_rate: float = 6e-3,
        schedule: Schedule = "one-cycle",
        weight_decay: float = 0.0,
        clip: float | None = None,
        validation: float = 0.1,
        patience: int | None = None,
        precision: Literal["float32", "bfloat16", "auto"] = "float32",
        device: str = "auto",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_components = n_components
        self.likelihood = likelihood
        self.deviation = deviation
        self.beta = beta
        self.warmup = warmup
        self.architecture = architecture
        self.hidden = hidden
        self.channels = channels
        self.encoder = encoder
        self.decoder = decoder
        self.scaling = scaling
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.clip = clip
        self.validation = validation
        self.patience = patience
        self.precision = precision
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _check(self) -> None:
        check_choice("likelihood", self.likelihood, _LIKELIHOODS)
        check_number("beta", self.beta, 0, 1e6)
        check_number("warmup", self.warmup, 0, 1)
        if self.deviation is not None:
            check_number("deviation", self.deviation, 1e-6, 1e6)

    def _nets(self, used: Mapping[str, Any], kind: Kind, make: Maker) -> dict[str, nn.Module]:
        how = used["likelihood"]
        if how == "auto":
            how = "bernoulli" if kind.pixels else "gaussian"
        if how == "bernoulli" and not kind.pixels:
            raise BadInput("likelihood='bernoulli' is of values between 0 and 1: say likelihood='gaussian'")
        width = used["n_components"]
        return {
            "encoder": GaussianEncoder(make.encoder(2 * width)),
            "decoder": make.decoder(width),
            "likelihood": Likelihood(kind, how, used["deviation"]),
        }

    def _players(self, used: Mapping[str, Any], nets: Mapping[str, nn.Module], kind: Kind) -> list[Player]:
        beta, warmup = used["beta"], used["warmup"]

        def loss(batch: Batch) -> Parts:
            now = beta * min(1.0, batch.share / warmup) if warmup else beta
            return {**_bound(nets, batch, now), "beta": torch.tensor(now, device=batch.rows.device)}

        return [Player("vae", nets, loss)]

    def _judge(
        self, used: Mapping[str, Any], nets: Mapping[str, nn.Module], kind: Kind
    ) -> Callable[[Batch], Parts] | None:
        return lambda batch: _bound(nets, batch, used["beta"])

    def _entry(self, means: Means) -> Means:
        mean, square = np.array(means.pop("mean")), np.array(means.pop("square"))
        return {**means, "active_units": int((square - mean**2 > _ACTIVE).sum())}

    def _learned(self, state: State, data: Any) -> None:
        super()._learned(state, data)
        self.active_units_ = int((state.codes.var(axis=0) > _ACTIVE).sum())

    def _take(self, state: State) -> None:
        super()._take(state)
        if len(state.codes):
            self.active_units_ = int((state.codes.var(axis=0) > _ACTIVE).sum())

    # -- how probable rows are -----------------------------------------------------------------------------------------

    def elbo(self, X: Any, *, n_samples: int = _DRAWS) -> dict[str, npt.NDArray[np.float64]]:  # noqa: N803
        """The evidence lower bound's two parts for each row, in nats: it is minus their sum.

        Parameters
        ----------
        X
            Rows. Of grey pixels, the mean over coins with these probabilities is taken.
        n_samples
            Codes drawn for a row; the same draws serve all rows.

        Returns
        -------
        dict
            ``"reconstruction"`` and ``"kl"``, (n,) each.
        """
        self._ready()
        check_whole("n_samples", n_samples, 1)
        made = self._through(lambda rows: self._parts(rows, n_samples), self._validated(X, reset=False), np.float64)
        return {"reconstruction": made[:, 0], "kl": made[:, 1]}

    def log_likelihood(
        self, X: Any, n_samples: int = 200, *, binarise: bool = True, random_state: int = 0  # noqa: N803
    ) -> npt.NDArray[np.float64]:  # fmt: skip
        """Log-likelihood of each row, (n,), in nats, estimated by importance sampling.

        The logarithm of the mean weight of `n_samples` codes drawn from the row's posterior: on average below the true
        one, the less the more codes (Burda et al. 2016, arXiv:1509.00519, equation 8). A standard error over rows
        tells of the rows, not of this.

        Parameters
        ----------
        X
            Rows.
        n_samples
            Codes a row.
        binarise
            Of a Bernoulli model: whether grey pixels become 0 or 1, by one toss that depends on `random_state` and the
            row's place. (Grey pixels have no likelihood under coins.)
        random_state
            Seed.
        """
        self._ready()
        check_whole("n_samples", n_samples, 1)
        data = self._validated(X, reset=False)
        generator = torch.Generator().manual_seed(random_state)
        found = []
        with torch.no_grad(), self._threads():
            for n, rows in self.kind_.blocks(data, self.device_):
                if binarise and self.likelihood_.bernoulli:
                    coins = torch.rand(rows[:n].shape, generator=generator).to(rows.device)
                    rows[:n] = (coins < rows[:n]).float()
                moments = self.encoder_.moments(rows)
                for row, mean, log_variance in zip(rows[:n], *moments, strict=False):
                    found.append(self._weighed(row, mean, log_variance, n_samples, generator))
        return np.array(found)

    def _weighed(
        self, row: Tensor, mean: Tensor, log_variance: Tensor, n_samples: int, generator: torch.Generator
    ) -> float:
        """The logarithm of the mean importance weight of a row."""
        parts = []
        for start in range(0, n_samples, _DECODED):
            n = min(_DECODED, n_samples - start)
            noise = torch.randn((n, len(mean)), generator=generator).to(row.device)
            codes = mean + noise * torch.exp(0.5 * log_variance)
            likelihood = self.likelihood_(self.decoder_.raw(codes), row.expand(n, *row.shape))
            parts.append(importance_weights(likelihood, codes, mean, log_variance).double())
        return float(torch.logsumexp(torch.cat(parts), 0)) - math.log(n_samples)

    def _parts(self, rows: Tensor, n_samples: int) -> Tensor:
        """Minus the log-likelihood and the divergence of each row, (b, 2)."""
        mean, log_variance = self.encoder_.moments(rows)
        generator = torch.Generator().manual_seed(0)
        total = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
        for _ in range(n_samples):
            noise = torch.randn((1, mean.shape[1]), generator=generator).to(rows.device)  # the same for all rows
            raw = self.decoder_.raw(mean + noise * torch.exp(0.5 * log_variance))
            total -= self.likelihood_(raw, rows).double()
        divergence = kl_to_standard_normal(mean, log_variance).sum(dim=1).double()
        return torch.stack([total / n_samples, divergence], dim=1)

    def _scores(self, rows: Tensor) -> Tensor:
        return -self._parts(rows, _DRAWS).sum(dim=1)

    def _quantiles(self, state: State, unit: int, n: int) -> npt.NDArray[np.float32]:
        shares = torch.arange(n, dtype=torch.float64).add(0.5).div(n)
        found: npt.NDArray[np.float32] = torch.special.ndtri(shares).float().numpy()
        return found

    def _centre(self, state: State) -> npt.NDArray[np.float32]:
        return np.zeros(self._width, np.float32)


def _bound(nets: Mapping[str, nn.Module], batch: Batch, beta: float) -> Parts:
    """The parts of the bound for a batch, one code a row; pixels are tossed where the likelihood is of coins."""
    encoder, decoder = cast(GaussianEncoder, nets["encoder"]), cast(Decoder, nets["decoder"])
    likelihood = cast(Likelihood, nets["likelihood"])
    rows = batch.rows
    if likelihood.bernoulli:
        rows = (batch.uniform(*rows.shape) < rows).float()
    mean, log_variance = encoder.moments(rows)
    codes = mean + batch.normal(*mean.shape) * torch.exp(0.5 * log_variance)
    reconstruction = -likelihood(decoder.raw(codes), rows).mean()
    per_unit = kl_to_standard_normal(mean, log_variance).mean(dim=0)
    kl = per_unit.sum()
    return {
        "loss": reconstruction + beta * kl,
        "reconstruction": reconstruction,
        "kl": kl,
        "kl_per_unit": per_unit,
        "mean": mean.mean(dim=0),
        "square": mean.square().mean(dim=0),
    }
