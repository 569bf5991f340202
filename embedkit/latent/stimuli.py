"""The input that a unit likes best: gradient ascent on the input, under a norm, with a preference for smooth ones.

As Le, Ranzato et al. (2011, arXiv:1112.6209, section 4.4) do it: the activation is maximised over inputs of one norm.
Without more, a net's favourite picture is often noise of high frequency; here the ascent begins with smooth noise,
follows gradients that are blurred, and pays for differences of neighbouring pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from embedkit.errors import BadInput
from embedkit.kernels.exact import Doubles, Integers
from embedkit.latent.responses import checked_units, top_rows

_STEP, _LAST_STEP = 0.1, 0.01  # length of a step, as a share of the norm
_PROJECTIONS = 20  # rounds of clipping to pixels and stretching to the norm


@dataclass(frozen=True, eq=False)
class Stimuli:
    """What `optimal_stimuli` found for k units.

    Attributes
    ----------
    units, signs
        Which units, and to which side.
    inputs
        (k, ...) the inputs, in the shape and units of the rows of `fit`.
    activations
        (k,) what the units make of them.
    largest
        (k,) the largest activation (the lowest, for a sign of -1) of the rows given.
    spread
        (k,) standard deviations of the units on these rows.
    norms
        (k,) lengths of the inputs in model units.
    """

    units: Integers
    signs: Integers
    inputs: npt.NDArray[Any]
    activations: Doubles
    largest: Doubles
    spread: Doubles
    norms: Doubles

    @property
    def beyond(self) -> Doubles:
        """By how many standard deviations the inputs excite the units more than any of the rows does, (k,)."""
        return self.signs * (self.activations - self.largest) / self.spread


def optimal_stimuli(
    model: Any,
    rows: Any,
    units: Sequence[int],
    signs: Sequence[int] | None = None,
    *,
    norm: float | None = None,
    smoothness: float = 1.0,
    steps: int = 150,
    starts: int = 4,
    random_state: int = 0,
) -> Stimuli:
    """Inputs of one norm that excite units most.

    Parameters
    ----------
    model
        A fitted latent model with an encoder.
    rows
        Rows as it takes them, to compare with.
    units, signs
        Units, and 1 or -1 for each: to which side; `None` for all 1.
    norm
        Euclidean length of the inputs in model units: pixels from 0 (which is where lengths begin, and stay between 0
        and 1), other values from their mean. `None` takes, for each unit, that of the row that excites it most, so
        that both are compared at one length.
    smoothness
        Of pictures only: standard deviation in pixels of the blur of gradients, which is 0 in the end; it also weighs
        the squared differences of neighbouring pixels, as a share of the squared norm, against the activation in
        standard deviations. 0 does without.
    steps
        Of the ascent.
    starts
        How many times it begins: at the strongest of the rows, then at smooth noise. The best end is what counts.
    random_state
        Seed of the noise.

    Returns
    -------
    Stimuli

    Raises
    ------
    BadInput
        The model has no encoder to follow, there is no such unit, or a number is out of range.
    """
    if not hasattr(model, "encoder_"):
        raise BadInput(f"{type(model).__name__} has no net whose gradient could be followed")
    if steps < 1 or starts < 1 or smoothness < 0 or (norm is not None and not norm > 0):
        raise BadInput("steps and starts are 1 or more, smoothness 0 or more, and norm is above 0")
    codes = np.asarray(model.transform(rows), dtype=np.float64)
    wanted, sides = checked_units(units, signs, codes.shape[1])
    best = top_rows(model, rows, units, signs, n=1)
    data: Tensor = model.kind_.tensor(rows)
    first = data[torch.from_numpy(best.rows[:, 0])]
    device = model.device_
    radius = first.flatten(1).norm(dim=1) if norm is None else torch.full((len(wanted),), float(norm))
    if not (radius > 0).all():
        raise BadInput("the row that excites a unit most is all zero: say norm=")
    radius = radius.to(device)
    spread = np.maximum(codes[:, wanted].std(axis=0), 1e-12)
    generator = torch.Generator().manual_seed(random_state)
    noise = torch.randn(starts - 1, *model.kind_.shape, generator=generator)
    noise = _blur(noise, max(smoothness, 1.0)) if model.kind_.image else noise
    if model.kind_.pixels:
        noise = noise.abs()
    # (starts, units, *shape): each unit climbs from its own strongest row, and from the same noise as the others.
    begin = torch.cat([first[None], noise[:, None].expand(-1, len(wanted), *noise.shape[1:])]).to(device)
    sign, scale = (torch.as_tensor(one, dtype=torch.float32, device=device) for one in (sides, spread))
    unit = torch.from_numpy(wanted).to(device)

    def goal(inputs: Tensor) -> tuple[Tensor, Tensor]:
        """What is to be raised, and the activations, (starts, units)."""
        activations = model.encoder_(inputs.flatten(0, 1)).float().reshape(*inputs.shape[:2], -1)
        own = activations.gather(2, unit.expand(len(inputs), -1)[..., None])[..., 0]
        rough = _roughness(inputs) / radius**2 if model.kind_.image else 0.0
        return own * sign / scale - smoothness * rough, own

    inputs = _ascend(goal, begin, radius, steps, smoothness, model.kind_)
    with torch.no_grad():
        score, activations = goal(inputs)
    winner = score.argmax(dim=0)
    every = torch.arange(len(wanted), device=device)
    chosen = inputs[winner, every]
    return Stimuli(
        wanted, sides, model.kind_.restore(chosen), activations[winner, every].double().cpu().numpy(),
        best.activations[:, 0], spread, radius.double().cpu().numpy(),
    )  # fmt: skip


def _ascend(goal: Any, begin: Tensor, radius: Tensor, steps: int, smoothness: float, kind: Any) -> Tensor:
    """Steps along blurred gradients, each followed by a return to the norm; what was best on the way."""
    inputs = _onto(begin, radius, kind.pixels)
    best, best_score = inputs, torch.full(inputs.shape[:2], -torch.inf, device=inputs.device)
    shares = np.linspace(1, 0, steps) if steps > 1 else np.ones(1)
    for share in [*shares.tolist(), None]:
        here = inputs.detach().requires_grad_(True)
        score, _ = goal(here)
        better = score.detach() > best_score
        best_score = torch.where(better, score.detach(), best_score)
        best = torch.where(better[(...,) + (None,) * (here.dim() - 2)], here.detach(), best)
        if share is None:
            break
        (gradient,) = torch.autograd.grad(score.sum(), here)
        if kind.image and smoothness:
            gradient = _blur(gradient.flatten(0, 1), smoothness * share).reshape(here.shape)
        length = gradient.flatten(2).norm(dim=2).clamp_min(1e-20)
        stride = radius * (_LAST_STEP + (_STEP - _LAST_STEP) * share) / length
        moved = here.detach() + gradient * stride[(...,) + (None,) * (here.dim() - 2)]
        inputs = _onto(moved, radius, kind.pixels)
    return best


def _onto(inputs: Tensor, radius: Tensor, pixels: bool) -> Tensor:
    """The inputs at length `radius`, pixels between 0 and 1."""
    if pixels:
        inputs = inputs.clamp(0, 1)
    for _ in range(_PROJECTIONS if pixels else 1):
        length = inputs.flatten(2).norm(dim=2).clamp_min(1e-20)
        inputs = inputs * (radius / length)[(...,) + (None,) * (inputs.dim() - 2)]
        if pixels:
            inputs = inputs.clamp(0, 1)
    return inputs


def _roughness(inputs: Tensor) -> Tensor:
    """Sum of squared differences of neighbouring pixels, over the last three axes."""
    down, right = inputs.diff(dim=-2), inputs.diff(dim=-1)
    rough: Tensor = down.square().sum(dim=(-3, -2, -1)) + right.square().sum(dim=(-3, -2, -1))
    return rough


def _blur(pictures: Tensor, sigma: float) -> Tensor:
    """Pictures (b, c, h, w) after a Gaussian blur; values beyond the edge are those at it."""
    if sigma < 0.1:
        return pictures
    radius = max(1, round(3 * sigma))
    places = torch.arange(-radius, radius + 1, device=pictures.device, dtype=pictures.dtype)
    weights = torch.softmax(-(places**2) / (2 * sigma**2), dim=0)
    b, c, h, w = pictures.shape
    flat = pictures.reshape(b * c, 1, h, w)
    flat = torch.nn.functional.pad(flat, (radius, radius, radius, radius), mode="replicate")
    flat = torch.nn.functional.conv2d(flat, weights.view(1, 1, -1, 1))
    return torch.nn.functional.conv2d(flat, weights.view(1, 1, 1, -1)).reshape(b, c, h, w)
