"""The nets of latent models: dense ones for rows, convolutional ones for pictures of any size, from a few numbers.

Weights are drawn from a generator of their own: nothing here touches torch's global one.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from embedkit.errors import BadInput
from embedkit.latent.data import Kind

_SMALLEST = 8  # pictures are halved until their shorter side has at most so many pixels
_FORGET = 0.02  # of the thresholds of winners, in each step
_FIRST, _MOST = 16, 128  # channels of the first and of the widest convolution, where they are not said


class Maker:
    """Makes the nets of one model.

    Parameters
    ----------
    used
        The model's parameters: ``architecture``, ``hidden``, ``channels``, ``encoder``, ``decoder``.
    kind
        Of the rows.
    seed
        Of the weights.
    """

    def __init__(self, used: Mapping[str, Any], kind: Kind, seed: int) -> None:
        self.used, self.kind = used, kind
        self.generator = torch.Generator().manual_seed(seed)

    def encoder(self, width: int) -> nn.Module:
        """Rows to `width` numbers each: the user's own net, or a new one."""
        own = self.used.get("encoder")
        if own is not None:
            return own_net(own, "encoder", torch.zeros(2, *self.kind.shape), (2, width))
        return self.initialised(encoder(self.kind.shape, width, *self.sizes()))

    def decoder(self, width: int) -> Decoder:
        """`width` numbers to a row each."""
        own = self.used.get("decoder")
        if own is not None:
            net = own_net(own, "decoder", torch.zeros(2, width), (2, *self.kind.shape))
        else:
            net = self.initialised(decoder(self.kind.shape, width, *self.sizes()))
        return Decoder(net, self.kind)

    def critic(self, *, spectral: bool = False) -> nn.Module:
        """Rows to one number each, shape (b,); without batch norm, with `spectral` norm on every layer if wanted."""
        hidden, channels = self.sizes()
        net = self.initialised(encoder(self.kind.shape, 1, hidden, channels, nn.LeakyReLU(0.2)))
        if spectral:
            self.spectral(net)
        return nn.Sequential(net, nn.Flatten(0))

    def spectral(self, net: nn.Module) -> None:
        """Divide each layer's weights by their largest singular value (Miyato et al. 2018, arXiv:1802.05957)."""
        for layer in [m for m in net.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]:
            # The vectors of its power iteration are drawn from the global generator: given back, then drawn anew.
            with torch.random.fork_rng(devices=[]):
                spectral_norm(layer)
            norm = cast(Any, layer).parametrizations.weight[0]
            for vector in (norm._u, norm._v):
                vector.normal_(generator=self.generator)
                vector.div_(vector.norm())

    def initialised(self, net: nn.Module) -> nn.Module:
        """`net` with new weights from this maker's generator (torch's own defaults for each kind of layer)."""
        for layer in net.modules():
            initialise(layer, self.generator)
        return net

    def fewest_weights(self) -> int:
        """How many numbers the weights of whatever net it makes are at least; known without making one."""
        hidden, channels = self.sizes()
        if channels is None:
            sizes, found = [self.kind.size, *hidden], 0
        else:
            found = 16 * sum(a * b for a, b in itertools.pairwise([self.kind.shape[0], *channels]))  # kernels of 4 x 4
            height, across = (side >> len(channels) for side in self.kind.shape[1:])
            sizes = [channels[-1] * height * across, *hidden[-1:]]
        return found + sum(a * b for a, b in itertools.pairwise(sizes))

    def sizes(self) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
        """Widths of dense layers and channels; `None` for the latter if the net is to be dense."""
        hidden, shape = tuple(self.used["hidden"]), self.kind.shape
        architecture = self.used["architecture"]
        can = len(shape) == 3 and min(shape[1:]) >= 4
        if architecture == "conv" and not can:
            raise BadInput(f"rows of shape {shape} are no pictures of at least 4 x 4: architecture='conv' cannot be")
        if architecture == "dense" or not can:
            return hidden, None
        return hidden, channels_for(shape, self.used["channels"])


def channels_for(shape: tuple[int, ...], wanted: Sequence[int] | None) -> tuple[int, ...]:
    """Channels of the convolutions for pictures of `shape` (c, h, w), each of which halves them."""
    side = min(shape[1:])
    if wanted is not None:
        if side >> len(wanted) < 1:
            raise BadInput(f"pictures of {shape[1]} x {shape[2]} cannot be halved {len(wanted)} times: fewer channels")
        return tuple(wanted)
    chosen = [_FIRST]
    while side >> len(chosen) > _SMALLEST:
        chosen.append(min(_MOST, 2 * chosen[-1]))
    return tuple(chosen)


def encoder(
    shape: tuple[int, ...], width: int, hidden: Sequence[int], channels: Sequence[int] | None,
    activation: nn.Module | None = None,
) -> nn.Sequential:  # fmt: skip
    """A net from rows of `shape` to `width` numbers.

    Parameters
    ----------
    shape, width
        Of what goes in and what comes out.
    hidden
        Widths of the dense layers; a convolutional net has only the last of them.
    channels
        Of the convolutions; `None` for a dense net.
    activation
        Between the layers; SiLU by default.
    """
    act = activation or nn.SiLU()
    layers: list[nn.Module] = []
    if channels is None:
        sizes = [math.prod(shape), *hidden]
        layers.append(nn.Flatten())
    else:
        before, height, across = shape
        for after in channels:
            layers += [nn.Conv2d(before, after, 4, 2, 1), copy.deepcopy(act)]
            before, height, across = after, height // 2, across // 2
        layers.append(nn.Flatten())
        sizes = [before * height * across, *hidden[-1:]]
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), copy.deepcopy(act)]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], width))


def decoder(
    shape: tuple[int, ...], width: int, hidden: Sequence[int], channels: Sequence[int] | None,
    activation: nn.Module | None = None,
) -> nn.Sequential:  # fmt: skip
    """A net from `width` numbers to rows of `shape`: the mirror of `encoder`, whose parameters it has."""
    act = activation or nn.SiLU()
    if channels is None:
        sizes, inner = [width, *reversed(hidden), math.prod(shape)], shape
    else:
        sides = [shape[1:]]
        for _ in channels:
            sides.append((sides[-1][0] // 2, sides[-1][1] // 2))
        inner = (channels[-1], *sides[-1])
        sizes = [width, *hidden[-1:], math.prod(inner)]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), copy.deepcopy(act)]
    if channels is None:
        layers.pop()
        return nn.Sequential(*layers, nn.Unflatten(1, shape))
    layers.append(nn.Unflatten(1, inner))
    outputs = [*reversed(channels[:-1]), shape[0]]
    for before, after, small, large in zip(
        reversed(channels), outputs, reversed(sides[1:]), reversed(sides[:-1]), strict=True
    ):
        odd = (large[0] - 2 * small[0], large[1] - 2 * small[1])
        layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, output_padding=odd), copy.deepcopy(act)]
    layers.pop()
    return nn.Sequential(*layers)


def initialise(layer: nn.Module, generator: torch.Generator) -> None:
    """New weights for one layer: torch's defaults (He et al. 2015, as torch bounds it), from `generator`."""
    if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
        if layer.bias is not None:
            bound = 1 / math.sqrt(layer.weight[0].numel())
            nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm):
        layer.reset_parameters()  # ones and zeros: nothing is drawn


class Decoder(nn.Module):
    """Codes to rows in model units: a net, and a sigmoid where these lie between 0 and 1.

    Parameters
    ----------
    net
        (b, n_components) to (b, *shape).
    kind
        Of the rows.
    """

    def __init__(self, net: nn.Module, kind: Kind) -> None:
        super().__init__()
        self.net, self.pixels, self.shape = net, kind.pixels, kind.shape

    def raw(self, codes: Tensor) -> Tensor:
        """What the net gives, before the sigmoid; (b, *shape), float32."""
        made: Tensor = self.net(codes).float()
        return made

    def forward(self, codes: Tensor) -> Tensor:
        """Rows in model units; (b, *shape)."""
        made = self.raw(codes)
        return torch.sigmoid(made) if self.pixels else made


class Winners(nn.Module):
    """Codes with most components at 0: winner-take-all (Makhzani & Frey 2015, arXiv:1409.2752, section 2).

    In training each component keeps the `share` of the batch's rows on which it is largest, so that none dies.
    Otherwise it keeps what is above the mean of the least values that won lately: a row's code does not depend on
    others.

    Parameters
    ----------
    width
        Components of a code.
    share
        Of the rows.
    """

    threshold: Tensor
    seen: Tensor

    def __init__(self, width: int, share: float) -> None:
        super().__init__()
        self.share = share
        self.register_buffer("threshold", torch.zeros(width))
        self.register_buffer("seen", torch.zeros(()))  # batches

    def forward(self, codes: Tensor) -> Tensor:
        """Codes, (b, width), most of them 0."""
        if not self.training:
            return codes * (codes >= self.threshold)
        keep = max(1, round(self.share * len(codes)))
        least = torch.topk(codes.detach(), keep, dim=0).values[-1]
        self.seen += 1
        self.threshold.lerp_(least.float(), (1 / self.seen).clamp_min(_FORGET))
        return codes * (codes >= least)


class GaussianEncoder(nn.Module):
    """Rows to the mean of their code; `moments` gives its log variance too.

    Parameters
    ----------
    net
        (b, *shape) to (b, 2 * n_components).
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def moments(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance, (b, n_components) each, float32."""
        mean, log_variance = self.net(rows).float().chunk(2, dim=1)
        return mean, log_variance

    def forward(self, rows: Tensor) -> Tensor:
        """The means, (b, n_components)."""
        return self.moments(rows)[0]


def own_net(net: Any, name: str, probe: Tensor, expected: tuple[int, ...]) -> nn.Module:
    """A copy of a user's net, which begins with the weights that it has, after a trial.

    Parameters
    ----------
    net, name
        The net, and the parameter that it was given as.
    probe
        A batch for the trial.
    expected
        The shape of what it has to make of that.

    Raises
    ------
    BadInput
        It is no torch module, or does not fit.
    """
    if not isinstance(net, nn.Module):
        raise BadInput(f"{name} is a torch module or None, not {type(net).__name__}")
    mine: nn.Module = copy.deepcopy(net).float().cpu()
    before = mine.training
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            found = mine.eval()(probe)
        except (RuntimeError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise BadInput(f"{name} cannot take rows of shape {tuple(probe.shape[1:])}: {reason}") from None
    if not isinstance(found, Tensor) or tuple(found.shape) != expected:
        given = tuple(found.shape[1:]) if isinstance(found, Tensor) else type(found).__name__
        raise BadInput(f"{name} gives {given} for a row, expected {expected[1:]}")
    for parameter in mine.parameters():
        parameter.requires_grad_(True)
    return mine.train(before)
