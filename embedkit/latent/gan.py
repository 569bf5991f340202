"""Generative adversarial networks: rows made from noise, by a net that learns to deceive another."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from embedkit.errors import BadInput
from embedkit.latent.adversarial import critic_loss, gradient_penalty, maker_loss
from embedkit.latent.base import LatentModel
from embedkit.latent.data import Kind, array_of
from embedkit.latent.nets import Decoder, Maker, decoder, encoder, own_net
from embedkit.latent.training import Batch, Means, Parts, Player, Schedule, ema_update
from embedkit.parameters import check_flag, check_number, check_whole, seed_of
from embedkit.rows import check_finite_rows

_BETAS = (0.0, 0.99)  # momentum makes the two nets overshoot each other (Mescheder et al. 2018)
_LAZY = 8  # the penalty is paid in every eighth step, eightfold: it costs as much as a step (Karras et al. 2020)
_STRAIGHT = 1e-6  # sine of an angle below which an arc is a line


@final
class GAN(LatentModel):
    """Learn to make rows like those of `fit` from noise.

    A generator makes rows from latent points drawn from the standard normal; a critic learns to tell them from real
    ones, and the generator to deceive it (Goodfellow et al. 2014, arXiv:1406.2661). Stable by default: hinge loss, R1
    penalty on the critic's slope at real rows (Mescheder et al. 2018, arXiv:1801.04406), or spectral norm (Miyato et
    al. 2018, arXiv:1802.05957); no batch norm in the critic; no momentum; samples are made by an exponential average of
    the generator's weights. There is no encoder and so no `transform`; nor a likelihood. Neither loss tells how good
    samples are: look at them, or have them judged (`embedkit.latent.judges`). A seed gives the same weights bit for bit
    on the same machine and versions, with as many threads.

    Parameters
    ----------
    n_components
        Numbers in a latent point.
    gamma
        Weight of the R1 penalty; 0 for none (then ask for `spectral`).
    spectral
        Whether each of the critic's layers has spectral norm.
    decay
        Of the average of the generator's weights: in step t it keeps min(decay, (1 + t) / (10 + t)) of itself.
    architecture
        ``"conv"`` for convolutional nets, ``"dense"``, or ``"auto"``: convolutional for pictures of at least 4 x 4.
    hidden
        Widths of dense layers of the critic; the generator mirrors them. A convolutional critic has only the last, to
        see how the parts of a picture fit together, and its generator none.
    channels
        Of the critic's convolutions, each of which halves the picture; the generator mirrors them. `None` doubles from
        32 until a side is at most 8.
    generator, critic
        Your own torch modules: from (b, n_components) to (b, *shape) (of pixels, before the sigmoid), and from
        (b, *shape) to (b,). Copies of them are trained, from the weights that they have. See `save` for what a file can
        hold of them.
    scaling, image_shape
        What rows are; as for `Autoencoder`.
    epochs, batch_size
        Passes over the rows, and how many make a step; 0 epochs leave the nets as they were initialised.
    learning_rate, schedule, weight_decay
        Of both nets: the largest rate of AdamW; ``"one-cycle"``, ``"cosine"`` or ``"constant"``; its decay.
    clip
        Length to which longer gradients are shortened.
    precision
        ``"float32"``; ``"bfloat16"``, for products in it; ``"auto"``, for the latter where it proves clearly faster.
    device, n_jobs, random_state
        Where, with how many threads, and the seed; as for `Autoencoder`.

    Attributes
    ----------
    average_, generator_, critic_ : torch.nn.Module
        From latent points to rows in model units: the average that samples are made by, and the generator as the last
        step left it; from rows to scores, the higher the more real.
    kind_ : Kind
        What rows are.
    history_ : list of dict
        An entry an epoch: ``critic`` (its hinge loss), ``gap`` (between the mean scores of real and of made rows),
        ``penalty`` (mean squared slope), ``generator`` (its loss), ``epoch``, ``learning_rate``, ``seconds``,
        ``samples``, ``samples_per_second``.
    device_ : str
        Where the nets are.
    n_features_in_ : int
        Values of a row seen in `fit`.
    feature_names_in_ : ndarray of str
        Columns of the DataFrame seen in `fit`.

    Examples
    --------
    >>> from embedkit import images
    >>> digits = images.named("digits").head(500)
    >>> model = GAN(n_components=8, epochs=2, n_jobs=1, random_state=0).fit(digits)
    >>> model.sample(5, random_state=0).shape
    (5, 8, 8)
    """

    def __init__(
        self,
        n_components: int = 64,
        *,
        gamma: float = 1.0,
        spectral: bool = False,
        decay: float = 0.999,
        architecture: Literal["auto", "dense", "conv"] = "auto",
        hidden: Sequence[int] = (256, 256),
        channels: Sequence[int] | None = None,
        generator: nn.Module | None = None,
        critic: nn.Module | None = None,
        scaling: Literal["auto", "pixels", "standard", "none"] = "auto",
        image_shape: tuple[int, ...] | None = None,
        epochs: int = 10,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        schedule: Schedule = "cosine",
        weight_decay: float = 0.0,
        clip: float | None = None,
        precision: Literal["float32", "bfloat16", "auto"] = "float32",
        device: str = "auto",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_components = n_components
        self.gamma = gamma
        self.spectral = spectral
        self.decay = decay
        self.architecture = architecture
        self.hidden = hidden
        self.channels = channels
        self.generator = generator
        self.critic = critic
        self.scaling = scaling
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.clip = clip
        self.precision = precision
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _check(self) -> None:
        check_number("gamma", self.gamma, 0, 1e6)
        check_flag("spectral", self.spectral)
        check_number("decay", self.decay, 0, 1)

    def _nets(self, used: Mapping[str, Any], kind: Kind, make: Maker) -> dict[str, nn.Module]:
        width, shape = used["n_components"], kind.shape
        hidden, channels = make.sizes()
        if channels is not None and not used["channels"]:
            channels = tuple(2 * count for count in channels)  # twice those of an autoencoder
        own = make.used
        if own.get("generator") is not None:
            net = own_net(own["generator"], "generator", torch.zeros(2, width), (2, *shape))
        else:
            plain = decoder(shape, width, hidden if channels is None else (), channels, nn.ReLU())
            net = make.initialised(plain if channels is None else normalised(plain))
        if own.get("critic") is not None:
            critic = own_net(own["critic"], "critic", torch.zeros(2, *shape), (2,))
        else:
            layers = make.initialised(encoder(shape, 1, hidden, channels, nn.LeakyReLU(0.2)))
            critic = nn.Sequential(layers, nn.Flatten(0))
        if used["spectral"]:
            make.spectral(critic)
        generator = Decoder(net, kind)
        return {"generator": generator, "critic": critic, "average": copy.deepcopy(generator)}

    def _players(self, used: Mapping[str, Any], nets: Mapping[str, nn.Module], kind: Kind) -> list[Player]:
        generator, critic, average = nets["generator"], nets["critic"], nets["average"]
        width, gamma, decay = used["n_components"], used["gamma"], used["decay"]

        def critic_turn(batch: Batch) -> Parts:
            with torch.no_grad():
                made = generator(batch.normal(len(batch.rows), width)).to(batch.rows.dtype)
            if gamma and batch.step % _LAZY == 0:
                real, penalty = gradient_penalty(critic, batch.rows)
                fake = critic(made)
                total = critic_loss(real, fake) + _LAZY * gamma / 2 * penalty
                return {"total": total, **_told(real, fake), "penalty": penalty}
            real, fake = critic(torch.cat([batch.rows, made])).chunk(2)
            return {"total": critic_loss(real, fake), **_told(real, fake)}

        def generator_turn(batch: Batch) -> Parts:
            return {"generator": maker_loss(critic(generator(batch.normal(len(batch.rows), width))))}

        def follow(batch: Batch) -> None:
            ema_update(average, generator, min(decay, (1 + batch.step) / (10 + batch.step)))

        return [
            Player("critic", {"critic": critic}, critic_turn, "total", betas=_BETAS),
            Player("generator", {"generator": generator}, generator_turn, "generator", betas=_BETAS,
                   beside={"average": average}, after=follow),
        ]  # fmt: skip

    def _entry(self, means: Means) -> Means:
        return {name: value for name, value in means.items() if name != "total"}

    # -- new rows ------------------------------------------------------------------------------------------------------

    def sample(self, n: int = 1, *, random_state: int | None = None) -> npt.NDArray[Any]:
        """New rows.

        Parameters
        ----------
        n
            How many.
        random_state
            Seed; `None` draws one.

        Returns
        -------
        ndarray
            (n, ...) in the shape and units of the rows of `fit`; pixels between 0 and 1.
        """
        return self.inverse_transform(self.sample_codes(n, random_state=random_state))

    def sample_codes(self, n: int = 1, *, random_state: int | None = None) -> npt.NDArray[np.float32]:
        """The latent points that `sample` makes rows of, (n, n_components): drawn from the standard normal.

        Parameters
        ----------
        n
            How many.
        random_state
            Seed; `None` draws others each time.

        Raises
        ------
        BadInput
            `n` is less than 1.
        """
        state = self._ready()
        check_whole("n", n, 1)
        shape = (n, state.used["n_components"])
        return np.random.default_rng(seed_of(random_state)).standard_normal(shape, dtype=np.float32)

    def inverse_transform(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803  # scikit-learn's name
        """Rows made of latent points.

        Parameters
        ----------
        X
            (n, n_components) latent points: array, Embedding or DataFrame.

        Returns
        -------
        ndarray
            (n, ...) in the shape and units of the rows of `fit`.

        Raises
        ------
        BadInput
            They have another width, or a number is not finite.
        """
        return self._made(self.average_, self._points(X))

    def interpolate(self, a: Any, b: Any, n: int = 8) -> npt.NDArray[Any]:
        """Rows on the way between latent points.

        The way is an arc, not a line: points drawn from the normal lie near a sphere, and what lies within is rare
        (White 2016, arXiv:1609.04468).

        Parameters
        ----------
        a, b
            (rows, n_components) latent points each, such as `sample_codes` draws.
        n
            Steps, both ends among them.

        Returns
        -------
        ndarray
            (rows, n, ...) in the shape and units of the rows of `fit`.

        Raises
        ------
        BadInput
            `n` is less than 2, points have another width or are not finite, or there are not as many on both sides.
        """
        check_whole("n", n, 2)
        first, last = self._points(a), self._points(b)
        if len(first) != len(last):
            raise BadInput(f"{len(first)} points and {len(last)} points: there must be as many on both sides")
        rows = self._made(self.average_, arcs(first, last, n).reshape(-1, first.shape[1]))
        return rows.reshape(len(first), n, *rows.shape[1:])

    def _points(self, data: Any) -> npt.NDArray[np.float32]:
        width = self._ready().used["n_components"]
        points = np.asarray(array_of(data), dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != width:
            raise BadInput(f"latent points of shape {points.shape} were given, expected (n, {width})")
        check_finite_rows(points, data)
        narrow: npt.NDArray[np.float32] = points.astype(np.float32)
        return narrow


def normalised(net: nn.Sequential) -> nn.Sequential:
    """A generator of pictures with batch norm: of what the first convolution gets, and what each but the last makes.

    Radford et al. 2016, arXiv:1511.06434, have it in both nets; in the generator alone it came to the same distances on
    MNIST in half the steps.
    """
    layers: list[nn.Module] = []
    for layer in net:
        layers.append(layer)
        if isinstance(layer, nn.Unflatten):
            layers.append(nn.BatchNorm2d(layer.unflattened_size[0]))
        elif isinstance(layer, nn.ConvTranspose2d) and layer is not net[-1]:
            layers.append(nn.BatchNorm2d(layer.out_channels))
    return nn.Sequential(*layers)


def arcs(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32], n: int) -> npt.NDArray[np.float32]:
    """`n` points on the arc about the origin from each row of `a`, (m, d), to that of `b`: (m, n, d).

    Directions turn evenly and lengths change evenly; where the two point the same way, or opposite ways, or one is 0,
    it is the straight line.
    """
    start, end = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(start, axis=1), np.linalg.norm(end, axis=1)
    product = np.maximum(lengths[0] * lengths[1], np.finfo(np.float64).tiny)
    angle = np.arccos(np.clip((start * end).sum(axis=1) / product, -1, 1))
    bent = (np.sin(angle) > _STRAIGHT) & (lengths[0] > 0) & (lengths[1] > 0)
    shares = np.linspace(0, 1, n)
    points = start[:, None] * (1 - shares)[:, None] + end[:, None] * shares[:, None]
    for row in np.flatnonzero(bent):
        first, last = start[row] / lengths[0][row], end[row] / lengths[1][row]
        turned = np.outer(np.sin((1 - shares) * angle[row]), first) + np.outer(np.sin(shares * angle[row]), last)
        length = (1 - shares) * lengths[0][row] + shares * lengths[1][row]
        points[row] = turned / np.sin(angle[row]) * length[:, None]
    return points.astype(np.float32)


def _told(real: Tensor, made: Tensor) -> Parts:
    """What the history says of a critic's scores."""
    return {"critic": critic_loss(real, made).detach(), "gap": (real.mean() - made.mean()).detach()}
