"""Critics: codes matched to a prior by one, reconstructions judged by one, and what they minimise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from embedkit.latent.base import State
from embedkit.latent.codes import CodesMixin, How
from embedkit.latent.data import Kind
from embedkit.latent.nets import Maker, encoder
from embedkit.latent.objectives import squared_error
from embedkit.latent.training import Batch, Parts, Player, Schedule
from embedkit.parameters import check_number

_BETAS = (0.5, 0.99)  # of a critic: what it is to tell apart moves, so that a long memory misleads
_NORMAL = 1024  # draws from the prior that held-out codes are compared with


def critic_loss(real: Tensor, made: Tensor) -> Tensor:
    """What a critic minimises: the hinge loss (Lim & Ye 2017, arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957).

    Parameters
    ----------
    real, made
        Its scores of real rows and of made ones, (b,) each: it wants the former above 1 and the latter below -1.
    """
    return functional.relu(1 - real.float()).mean() + functional.relu(1 + made.float()).mean()


def maker_loss(made: Tensor) -> Tensor:
    """What those minimise whose rows a critic scores with `made`, (b,)."""
    return -made.float().mean()


def gradient_penalty(critic: nn.Module, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of real rows, (b,), and the mean squared length of their gradients by the rows.

    The R1 penalty, without which (or a critic of bounded slope) the game circles instead of coming to rest (Mescheder
    et al. 2018, arXiv:1801.04406). In float32 also where products are in bfloat16.
    """
    with torch.autocast(rows.device.type, enabled=False):
        rows = rows.detach().float().requires_grad_(True)
        scores = critic(rows)
        (slopes,) = torch.autograd.grad(scores.sum(), rows, create_graph=True)
        return scores, slopes.square().flatten(1).sum(dim=1).mean()


def reconstruction_critic(
    critic: nn.Module, weight: float
) -> tuple[Callable[[Tensor, Batch], Tensor], Player]:  # fmt: skip
    """A critic that tells reconstructions from rows, as a part of an autoencoder's loss.

    Larsen et al. 2016, arXiv:1512.09300, have it beside a likelihood; here it stands beside the squared error, whose
    blur it sees through.

    Parameters
    ----------
    critic
        Rows to one number each, (b,); its slope is bounded by spectral norm (``Maker.critic(spectral=True)``).
    weight
        Of its judgement.

    Returns
    -------
    term : callable
        Takes the reconstruction, (b, *shape), with its gradients, and the batch; gives what is added to the loss.
    player : Player
        The critic's own turn. It finds the rows in the batch, and in ``kept["reconstruction"]`` what was made of them.
    """

    def term(made: Tensor, batch: Batch) -> Tensor:
        return weight * maker_loss(critic(made))

    def loss(batch: Batch) -> Parts:
        scores = critic(torch.cat([batch.rows, batch.kept["reconstruction"].to(batch.rows.dtype)]))
        real, made = scores.chunk(2)
        return {"critic": critic_loss(real, made)}

    return term, Player("critic", {"critic": critic}, loss, minimises="critic", betas=_BETAS, weight_decay=0.0)


def energy_distance(a: Tensor, b: Tensor) -> Tensor:
    """Squared energy distance of the distributions that rows of `a`, (n, d), and `b`, (m, d), are drawn from.

    ``2 E|x - y| - E|x - x'| - E|y - y'|`` without the pairs of a row with itself, so that its mean is 0 where the
    distributions are the same (Szekely & Rizzo 2013, J. Statistical Planning and Inference 143); n and m of at least 2.
    """
    n, m = len(a), len(b)
    across = torch.cdist(a, b).mean()
    within = torch.pdist(a).mean() if n > 1 else across.new_zeros(())
    other = torch.pdist(b).mean() if m > 1 else across.new_zeros(())
    return 2 * across - within - other


@final
class AdversarialAutoencoder(CodesMixin):
    """Learn short codes from which rows can be made again, and which are distributed as the standard normal.

    An autoencoder whose encoder also has to deceive a critic, which tells codes from draws of the prior (Makhzani et
    al. 2015, arXiv:1511.05644). A row has one code, not a cloud of them as in a `VAE`, so that reconstructions are
    sharper; and codes drawn from the prior are decoded to rows like those of `fit`. A seed gives the same weights bit
    for bit on the same machine and versions, with as many threads.

    Parameters
    ----------
    n_components
        Numbers in a code.
    adversarial
        Weight of the critic's judgement of codes beside the mean squared error: the more, the better codes are matched,
        and the worse are reconstructions.
    gamma
        Weight of the critic's R1 penalty (Mescheder et al. 2018, arXiv:1801.04406); 0 for none.
    architecture, hidden, channels
        Of the nets; as for `Autoencoder`. The critic of the codes is dense, with two layers as wide as the last of
        `hidden`.
    encoder, decoder
        Your own torch modules; as for `Autoencoder`.
    scaling, image_shape
        What rows are; as for `Autoencoder`.
    epochs, batch_size, learning_rate, schedule, weight_decay, clip, validation, patience, precision
        How to train; as for `Autoencoder`. The held-out loss is the mean squared error and, weighed by `adversarial`,
        the energy distance of codes and prior: no critic has a part in it, so that epochs can be compared.
    device, n_jobs, random_state
        Where, with how many threads, and the seed; as for `Autoencoder`.

    Attributes
    ----------
    encoder_, decoder_, critic_ : torch.nn.Module
        From rows in model units to codes, and back; from codes to scores, higher for those like the prior's.
    kind_ : Kind
        What rows are.
    history_ : list of dict
        An entry an epoch: ``epoch``, ``loss``, ``squared_error``, ``verdict`` (minus the mean score of the codes),
        ``critic`` (what it minimises), ``penalty``; of held-out rows ``validation_loss``, ``validation_squared_error``,
        ``validation_mismatch`` (the energy distance); ``learning_rate``, ``seconds``, ``samples``,
        ``samples_per_second``.
    best_epoch_, validation_rows_, codes_, device_, n_features_in_, feature_names_in_
        As of `Autoencoder`.

    Examples
    --------
    >>> from embedkit import images
    >>> digits = images.named("digits").head(500)
    >>> model = AdversarialAutoencoder(n_components=8, epochs=3, n_jobs=1, random_state=0).fit(digits)
    >>> model.transform(digits)
    Embedding(500 x 8, columns=['class'])
    >>> model.sample(5, random_state=0).shape
    (5, 8, 8)
    """

    _priors: tuple[How, ...] = ("prior", "gmm")

    def __init__(
        self,
        n_components: int = 10,
        *,
        adversarial: float = 0.003,
        gamma: float = 1.0,
        architecture: Literal["auto", "dense", "conv"] = "auto",
        hidden: Sequence[int] = (512, 256),
        channels: Sequence[int] | None = None,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        scaling: Literal["auto", "pixels", "standard", "none"] = "auto",
        image_shape: tuple[int, ...] | None = None,
        epochs: int = 20,
        batch_size: int = 128,
        learning_rate: float = 2e-3,
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
        self.adversarial = adversarial
        self.gamma = gamma
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
        check_number("adversarial", self.adversarial, 0, 1e6)
        check_number("gamma", self.gamma, 0, 1e6)

    def _nets(self, used: Mapping[str, Any], kind: Kind, make: Maker) -> dict[str, nn.Module]:
        width, wide = used["n_components"], used["hidden"][-1:] * 2
        critic = encoder((width,), 1, wide, None, nn.LeakyReLU(0.2))
        return {
            "encoder": make.encoder(width),
            "decoder": make.decoder(width),
            "critic": nn.Sequential(make.initialised(critic), nn.Flatten(0)),
        }

    def _players(self, used: Mapping[str, Any], nets: Mapping[str, nn.Module], kind: Kind) -> list[Player]:
        encode, decode, critic = nets["encoder"], nets["decoder"], nets["critic"]
        weight, gamma = used["adversarial"], used["gamma"]

        def loss(batch: Batch) -> Parts:
            codes = encode(batch.rows)
            error, verdict = squared_error(decode(codes), batch.rows), maker_loss(critic(codes))
            batch.kept["codes"] = codes.detach().float()
            return {"loss": error + weight * verdict, "squared_error": error, "verdict": verdict}

        def critic_turn(batch: Batch) -> Parts:
            codes = batch.kept["codes"]
            real, penalty = gradient_penalty(critic, batch.normal(*codes.shape))
            return {"critic": critic_loss(real, critic(codes)) + gamma / 2 * penalty, "penalty": penalty}

        return [
            Player("autoencoder", {"encoder": encode, "decoder": decode}, loss),
            Player("critic", {"critic": critic}, critic_turn, "critic", betas=_BETAS, weight_decay=0.0),
        ]

    def _judge(
        self, used: Mapping[str, Any], nets: Mapping[str, nn.Module], kind: Kind
    ) -> Callable[[Batch], Parts] | None:
        def judged(batch: Batch) -> Parts:
            codes = nets["encoder"](batch.rows)
            error = squared_error(nets["decoder"](codes), batch.rows)
            mismatch = energy_distance(codes.float(), batch.normal(_NORMAL, codes.shape[1]))
            return {"loss": error + used["adversarial"] * mismatch, "squared_error": error, "mismatch": mismatch}

        return judged

    def _scores(self, rows: Tensor) -> Tensor:
        return self._error_scores(rows)

    def _quantiles(self, state: State, unit: int, n: int) -> npt.NDArray[np.float32]:
        shares = torch.arange(n, dtype=torch.float64).add(0.5).div(n)
        found: npt.NDArray[np.float32] = torch.special.ndtri(shares).float().numpy()
        return found

    def _centre(self, state: State) -> npt.NDArray[np.float32]:
        return np.zeros(self._width, np.float32)
