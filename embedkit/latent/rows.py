"""Rows to train on, a batch at a time: held as one tensor, or streamed from a memory map in shuffled windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

_WINDOW, _CHUNK = 2**26, 2**20  # bytes that are shuffled together, and that are read in one go

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """The rows of one step."""

    index: torch.Tensor  # their numbers
    rows: torch.Tensor  # (b, *shape), float32, in model units, on the device


class Rows:
    """Rows to train on, a batch at a time, in an order that depends on the seed and the epoch only.

    Parameters
    ----------
    values
        A tensor on the device (float32 in model units, or uint8 pixels), or a memory map.
    chosen
        Numbers of those to be used, rising; `None` for all.
    device
        Where batches are wanted.
    convert
        Makes float32 tensors in model units of a memory map's rows; the default is for rows that are such already.
    """

    def __init__(
        self,
        values: torch.Tensor | Array,
        chosen: npt.NDArray[np.int64] | None,
        device: str,
        convert: Callable[[Array], torch.Tensor] = torch.from_numpy,
    ) -> None:
        self.values, self.chosen, self.device, self.convert = values, chosen, device, convert

    @classmethod
    def of(cls, values: torch.Tensor) -> Rows:
        """Rows that are a tensor in model units already, (n, *shape), float32."""
        return cls(values, None, str(values.device))

    def __len__(self) -> int:
        return len(self.values) if self.chosen is None else len(self.chosen)

    @property
    def streamed(self) -> bool:
        """Whether they stay in their file."""
        return not isinstance(self.values, torch.Tensor)

    def steps(self, size: int) -> int:
        """Batches in an epoch; a last one that is less than half full is left out, other rows each time."""
        full, rest = divmod(len(self), size)
        return full + (2 * rest >= size or not full) if len(self) else 0

    def batches(self, seed: int, epoch: int, size: int, first: int = 0) -> Generator[Turn]:
        """The batches of an epoch, from number `first` on.

        Parameters
        ----------
        seed, epoch
            What the order depends on.
        size
            Rows in a batch.
        first
            The number of the first that is wanted.
        """
        draw = np.random.default_rng((seed, epoch))
        if self.streamed:
            yield from self._stream(draw, size, first)
            return
        order = draw.permutation(len(self))
        numbers = torch.from_numpy(order if self.chosen is None else self.chosen[order]).to(self.device)
        for step in range(first, self.steps(size)):
            index = numbers[step * size : (step + 1) * size]
            yield Turn(index, self._held(index))

    def in_order(self, size: int) -> Iterator[Turn]:
        """All rows in the order they have."""
        for start in range(0, len(self), size):
            numbers = np.arange(start, min(start + size, len(self)))
            numbers = numbers if self.chosen is None else self.chosen[numbers]
            index = torch.from_numpy(numbers)
            rows = self._read(numbers) if self.streamed else self._held(index.to(self.device))
            yield Turn(index, rows.to(self.device))

    def _held(self, index: torch.Tensor) -> torch.Tensor:
        rows = torch.index_select(torch.as_tensor(self.values), 0, index)
        return rows.to(torch.float32).mul_(1 / 255) if rows.dtype == torch.uint8 else rows

    def _read(self, numbers: npt.NDArray[np.int64]) -> torch.Tensor:
        values = self.values
        whole = len(numbers) and numbers[-1] - numbers[0] == len(numbers) - 1
        rows = values[numbers[0] : numbers[-1] + 1] if whole else values[numbers]
        return self.convert(np.asarray(rows))

    def _stream(self, draw: np.random.Generator, size: int, first: int) -> Generator[Turn]:
        """Chunks in any order, as many as fit a window are read and shuffled together; the last, shorter one last."""
        n, width = len(self), 4 * math.prod(self.values.shape[1:])
        chunk = size * max(1, _CHUNK // (width * size))
        window = chunk * max(4, _WINDOW // (width * chunk))  # rows; whole batches, so that none lies in two windows
        starts = draw.permutation(n // chunk) * chunk
        starts = np.append(starts, n // chunk * chunk) if n % chunk else starts
        steps = self.steps(size)
        for begin in range(0, n, window):
            mine = starts[begin // chunk : (begin + window) // chunk]
            positions = np.concatenate([np.arange(start, min(start + chunk, n)) for start in mine])
            order = draw.permutation(len(positions))  # drawn for the windows that are passed over, too
            if -(-(begin + len(positions)) // size) <= first:
                continue
            numbers = positions if self.chosen is None else self.chosen[positions]
            ends = np.cumsum([min(start + chunk, n) - start for start in mine])
            parts = [self._read(part) for part in np.split(numbers, ends[:-1])]
            rows = torch.cat(parts)
            for step in range(max(first, begin // size), min(steps, -(-(begin + len(positions)) // size))):
                places = torch.from_numpy(order[step * size - begin : (step + 1) * size - begin])
                index = torch.from_numpy(numbers)[places]
                yield Turn(index, rows[places].to(self.device))
