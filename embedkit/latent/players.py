"""What the training loop of latent models knows: players, their batches, and how to train."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

Parts = dict[str, Tensor]
Means = dict[str, Any]  # of parts over many rows: floats, or lists of them

Schedule = Literal["one-cycle", "cosine", "constant"]
SCHEDULES = ("one-cycle", "cosine", "constant")
PRECISIONS = ("float32", "bfloat16", "auto")

_KINDS = (torch.float32, torch.bfloat16)
_WARM, _START, _END = 0.1, 1 / 25, 1e-4  # one-cycle: share of the steps that rise, and where they begin and end


@dataclass(slots=True)
class Batch:
    """What a player gets in a step.

    Attributes
    ----------
    rows
        (b, *shape), float32, on the device; the player's to change.
    index
        (b,): which rows these are.
    epoch, step
        From 0; the steps are counted over the whole training.
    share
        How far the training is, from 0 to 1.
    generator
        On the device, seeded from the seed and the step: the only source of noise.
    kept
        What an earlier player of the same step leaves for a later one.
    """

    rows: Tensor
    index: Tensor
    epoch: int
    step: int
    share: float
    generator: torch.Generator
    kept: dict[str, Tensor] = field(default_factory=dict)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(shape, generator=self.generator, device=self.rows.device)

    def uniform(self, *shape: int) -> Tensor:
        """Numbers between 0 and 1."""
        return torch.rand(shape, generator=self.generator, device=self.rows.device)


@dataclass(frozen=True, eq=False)
class Player:
    """A loss, and the nets that are moved to lessen it.

    Attributes
    ----------
    name
        Of its part of a checkpoint.
    nets
        What it moves, by names that no other player uses.
    loss
        Its parts, each a number or a vector, which the history has the means of.
    minimises
        The name of the part that is lessened.
    learning_rate, weight_decay, clip, schedule
        Its own; `None` for those of the settings.
    betas
        AdamW's.
    every
        It moves in steps that this number divides.
    beside
        Nets that belong to its state without being moved by the loss: averages of weights.
    after
        Called after its step, without gradients.
    """

    name: str
    nets: Mapping[str, nn.Module]
    loss: Callable[[Batch], Parts]
    minimises: str = "loss"
    learning_rate: float | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float | None = None
    clip: float | None = None
    schedule: Schedule | None = None
    every: int = 1
    beside: Mapping[str, nn.Module] = field(default_factory=dict)
    after: Callable[[Batch], None] | None = None


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes
    ----------
    seed
        Of the order of the rows and of all noise.
    epochs, batch_size
        How many.
    learning_rate, schedule
        The largest rate of AdamW, and how it goes: see `rate_at`.
    weight_decay
        AdamW's.
    clip
        Length to which longer gradients are shortened; `None` for any.
    patience
        Epochs without a better held-out loss after which the training ends; `None` goes on to the end.
    precision
        ``"float32"``, ``"bfloat16"`` for products in bfloat16, or ``"auto"``: see `precision_for`.
    """

    seed: int
    epochs: int
    batch_size: int = 128
    learning_rate: float = 1e-3
    schedule: Schedule = "one-cycle"
    weight_decay: float = 0.0
    clip: float | None = None
    patience: int | None = None
    precision: str = "float32"


@dataclass
class Run:
    """How far a training is, and what is known of it.

    Attributes
    ----------
    epoch, step
        Whole epochs that are done, and steps of the one under way.
    sums, counts
        Of the parts over the rows so far in the epoch under way, and over how many rows each.
    rows
        How many rows these are.
    seconds
        What that took.
    history
        The epochs that are done.
    best_epoch, best_loss
        Of the held-out rows; 0 and infinity before the first.
    stopped
        Whether a callback or the held-out loss ended it.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    rows: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = math.inf
    stopped: bool = False


def rate_at(schedule: Schedule, peak: float, step: int, steps: int) -> float:
    """The learning rate of a step.

    ``"constant"`` is the peak throughout; ``"cosine"`` falls from it to 0 along half a cosine; ``"one-cycle"`` rises
    along half a cosine from 1/25 of the peak in the first tenth of the steps, then falls along another to 1/10,000 of
    that beginning (Smith & Topin 2017, arXiv:1708.07120, as torch has it).
    """
    if schedule == "constant":
        return peak
    if schedule == "cosine":
        return peak * (1 + math.cos(math.pi * step / steps)) / 2
    start, end = peak * _START, peak * _START * _END
    rise = _WARM * steps - 1
    if step < rise:
        begin, finish, share = start, peak, step / rise
    else:
        begin, finish, share = peak, end, (step - rise) / max(1.0, steps - 1 - rise)
    return finish + (begin - finish) * (1 + math.cos(math.pi * min(1.0, share))) / 2


def precision_for(wanted: str, device: str) -> str:
    """``"float32"`` or ``"bfloat16"``: what is wanted; of ``"auto"``, the latter where it proves clearly faster.

    A processor may know bfloat16 and still multiply faster in float32, so on a CPU both are timed once a process.
    """
    if wanted != "auto":
        return wanted
    if torch.device(device).type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if _pays() else "float32"


@functools.cache
def _pays() -> bool:
    """Whether the CPU multiplies matrices in bfloat16 in at most two thirds of float32's time."""
    known: Any = torch.cpu
    if not known._is_avx512_supported():  # elsewhere it is emulated
        return False
    pairs = [(torch.ones(128, 768, dtype=kind), torch.ones(512, 768, dtype=kind)) for kind in _KINDS]
    times: list[list[float]] = [[], []]
    for _ in range(12):
        for (rows, weights), taken in zip(pairs, times, strict=True):
            begin = time.perf_counter()
            nn.functional.linear(rows, weights)
            taken.append(time.perf_counter() - begin)
    whole, half = (min(taken) for taken in times)
    return half < whole * 2 / 3


def noise_seed(seed: int, step: int) -> int:
    """The seed of a step's noise: the bits of both, mixed (Steele, Lea & Flood 2014, SplitMix64's finaliser)."""
    x = (seed * 0x9E3779B97F4A7C15 + step * 0xD1B54A32D192ED03 + 0x632BE59BD9B4E019) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return (x ^ (x >> 31)) % 2**32  # of more, the CPU's generator takes no account


def ema_update(target: nn.Module, source: nn.Module, decay: float) -> None:
    """Move the weights of `target` towards those of `source`: ``decay`` of the old, the rest of the new."""
    with torch.no_grad():
        for old, new in zip(target.parameters(), source.parameters(), strict=True):
            old.lerp_(new, 1 - decay)
        for kept, now in zip(target.buffers(), source.buffers(), strict=True):
            kept.copy_(now)
