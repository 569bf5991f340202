"""Rows of any kind as tensors, and back: what a latent model learns of its input before it trains, and its batches.

Inside a model, rows are float32 tensors in *model units*: pixels between 0 and 1, or columns with mean 0 and standard
deviation 1. Data is held once, uint8 as uint8; a memory map that is larger than `HELD` bytes stays in its file and
is read in windows of contiguous chunks, drawn in an order that depends on the seed and the epoch only.
"""

from __future__ import annotations

import math
import mmap
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from embedkit.embedding import Embedding
from embedkit.errors import BadInput, printable
from embedkit.latent.rows import Rows

HELD = 2**29  # bytes of a memory map up to which it is read into memory for training
_PASS = 2**22  # values that are looked at together in a pass over everything
_BLOCK, _SHORTEST, _LONGEST = 2**18, 16, 256  # values in a block for encoding, and the bounds of its rows
_OVERSHOOT = 2.0  # a "pixel" above this is no pixel between 0 and 1
SCALINGS = ("auto", "pixels", "standard", "none")

Array = npt.NDArray[Any]


def array_of(data: Any) -> Array:
    """The numbers of `data` as an array that is not copied where it need not be; its rows are the first axis.

    Parameters
    ----------
    data
        Array, Embedding, DataFrame, or `embedkit.images.Images`.

    Raises
    ------
    BadInput
        A DataFrame's column holds no numbers, or misses one: named by row and column.
    """
    if isinstance(data, Embedding):
        return data.vectors
    if is_frame(data):
        return _of_frame(data)
    if is_images(data):
        return np.asarray(data.pixels)
    return np.asarray(data)


def is_images(data: Any) -> bool:
    """Whether `data` is an `embedkit.images.Images`."""
    module = sys.modules.get("embedkit.images")  # whoever has one has imported it
    return module is not None and isinstance(data, module.Images)


def is_frame(data: Any) -> bool:
    """Whether `data` is a DataFrame."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(data, pandas.DataFrame)


def _of_frame(frame: Any) -> Array:
    columns = []
    for position, name in enumerate(frame.columns):
        column = frame.iloc[:, position]
        missing = np.flatnonzero(column.isna().to_numpy())
        if len(missing):
            where = f"row {missing[0]} ('{printable(str(frame.index[missing[0]]))}'), column '{printable(str(name))}'"
            raise BadInput(f"{where} is NaN (missing): fill or drop it first")
        try:
            columns.append(column.to_numpy(dtype=np.float64))
        except (TypeError, ValueError):
            raise BadInput(f"column '{printable(str(name))}' holds {column.dtype}, numbers were expected") from None
    return np.stack(columns, axis=1) if columns else np.empty((len(frame), 0))


def passes(array: Array) -> Iterator[tuple[int, Array]]:
    """All rows of `array` some at a time, each time with the number of the first."""
    step = max(1, _PASS // max(1, math.prod(array.shape[1:])))
    for start in range(0, len(array), step):
        yield start, array[start : start + step]


@dataclass(frozen=True, eq=False)
class Kind:
    """What rows are to a model: their shape, and how they become tensors in model units.

    Attributes
    ----------
    shape
        Of a row in the model: (features,), or (channels, height, width).
    given
        Of a row as it came to `fit`: (features,), (height, width), or with the channels first, or last (`Images`).
    scaling
        ``"pixels"``, ``"standard"`` or ``"none"``.
    names
        Of the columns, where they have names.
    mean, scale
        float64, of each column or channel; with ``"standard"`` only.
    channels_last
        Whether `given` has the channels last.
    """

    shape: tuple[int, ...]
    given: tuple[int, ...]
    scaling: str
    names: tuple[str, ...] | None = None
    mean: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    scale: npt.NDArray[np.float64] = field(default_factory=lambda: np.ones(0))
    channels_last: bool = False

    @classmethod
    def learned(cls, data: Any, scaling: str, image_shape: tuple[int, ...] | None) -> Self:
        """What `data` is.

        Parameters
        ----------
        data
            What came to `fit`.
        scaling
            One of `SCALINGS`.
        image_shape
            (h, w) or (c, h, w) if rows of a matrix are pictures.

        Raises
        ------
        BadInput
            Wrong shapes, or a number that is not finite, named by row and column.
        """
        array = array_of(data)
        given, last = tuple(array.shape[1:]), is_images(data) and array.ndim == 4
        shape = _model_shape(given, last, image_shape)
        names = tuple(map(str, data.columns)) if is_frame(data) else None
        low, high = _bounds(array, data)
        if scaling == "auto":
            unit = array.dtype.kind == "f" and low >= 0 and high <= 1
            pixels = not is_frame(data) and (array.dtype.kind == "b" or array.dtype == np.uint8 or unit)
            scaling = "pixels" if pixels else "standard"
        if scaling == "pixels" and array.dtype != np.uint8 and not 0 <= low <= high <= 1:
            raise BadInput(f"pixels are uint8, or lie between 0 and 1, not from {low:g} to {high:g}: say scaling=")
        kind = cls(shape, given, scaling, names, channels_last=last)
        return kind._with_moments(array) if scaling == "standard" else kind

    @property
    def pixels(self) -> bool:
        """Whether values lie between 0 and 1, and decoders so end in a sigmoid."""
        return self.scaling == "pixels"

    @property
    def size(self) -> int:
        """How many values a row has."""
        return math.prod(self.shape)

    @property
    def image(self) -> bool:
        """Whether rows are pictures."""
        return len(self.shape) == 3

    @property
    def block(self) -> int:
        """How many rows go through a net together: always as many, so that each comes out with the same bits."""
        return min(_LONGEST, max(_SHORTEST, 1 << (max(1, _BLOCK // self.size).bit_length() - 1)))

    def _with_moments(self, array: Array) -> Self:
        """With means and standard deviations, in float64; 1 for what is constant."""
        n, total, squares = 0, np.zeros(()), np.zeros(())
        first = self._columns(array[:1].astype(np.float64)).mean(axis=0)  # taken off first: what is left is small
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused by name right after
            for _, rows in passes(array):
                values = self._columns(rows.astype(np.float64)) - first
                n += len(values)
                total, squares = total + values.sum(axis=0), squares + np.square(values).sum(axis=0)
        if not np.isfinite(squares).all():
            column = int(np.argmin(np.isfinite(squares)))
            raise BadInput(f"column {column} spreads too far: the squares of its numbers overflow; scale it first")
        mean = total / n
        deviation = np.sqrt(np.maximum(squares / n - mean**2, 0))
        # What rounding leaves of a constant is no variance.
        constant = deviation <= 1e-12 * np.abs(first) + 1e-300
        scale = np.where(constant, 1.0, deviation)
        return type(self)(self.shape, self.given, self.scaling, self.names, first + mean, scale, self.channels_last)

    def _columns(self, rows: Array) -> Array:
        """`rows` with what has a mean of its own (columns of a table, channels of pictures) as the last axis, flat."""
        if not self.image:
            return rows.reshape(len(rows), -1)
        if self.channels_last:
            return rows.reshape(-1, self.shape[0])
        return rows.reshape(len(rows), self.shape[0], -1).swapaxes(1, 2).reshape(-1, self.shape[0])

    def checked(self, data: Any) -> Array:
        """The numbers of `data`, whose rows must be such as came to `fit`, or those flattened."""
        array = array_of(data)
        if tuple(array.shape[1:]) not in {self.given, (self.size,)} or (len(self.given) > 1 and array.ndim == 1):
            raise BadInput(f"rows of shape {tuple(array.shape[1:])} were given, expected {self.given}")
        if array.dtype.kind not in "biuf":
            raise BadInput(f"rows hold {array.dtype}, numbers were expected")
        return array

    def convert(self, rows: Array, data: Any = None, first: int = 0) -> torch.Tensor:
        """Some rows of a checked array as a new float32 tensor (b, *shape) in model units, on the CPU.

        Parameters
        ----------
        rows
            (b, ...).
        data, first
            What they come from and the number of the first, for errors.

        Raises
        ------
        BadInput
            A number is not finite, or not what the model's units are, named by row and column.
        """
        flat_picture = self.channels_last and rows.ndim == 4
        if self.pixels and rows.dtype == np.uint8:
            made = torch.from_numpy(np.array(rows)).to(torch.float32).mul_(1 / 255)
        else:
            _check_finite(rows, data, first)
            if self.pixels and rows.size and rows.max() > _OVERSHOOT:
                raise BadInput(f"a value of {rows.max():g}: this model's pixels are uint8, or lie between 0 and 1")
            if self.scaling == "standard":
                rows = self._standardised(rows)
            with np.errstate(over="ignore"):  # what overflows to infinity is refused by name right after
                made = torch.from_numpy(np.array(rows, dtype=np.float32))
            _check_range(made, data, first)
        if flat_picture:
            made = made.movedim(3, 1)
        return made.reshape(len(made), *self.shape).contiguous()

    def _standardised(self, rows: Array) -> Array:
        if not self.image:
            return (rows.reshape(len(rows), -1) - self.mean) / self.scale
        axes = (1, 1, -1) if self.channels_last and rows.ndim == 4 else (-1, 1, 1)
        pictures = rows if self.channels_last and rows.ndim == 4 else rows.reshape(len(rows), *self.shape)
        standardised: Array = (pictures - self.mean.reshape(axes)) / self.scale.reshape(axes)
        return standardised

    def restore(self, rows: torch.Tensor) -> Array:
        """Rows in model units, (b, *shape), in the shape and units of what came to `fit`.

        float64 where it was standardised; float32 otherwise, pixels between 0 and 1.
        """
        made: Array = rows.detach().reshape(len(rows), *self.shape).float().cpu().numpy()
        if self.scaling == "standard":
            axes = (-1, 1, 1) if self.image else (-1,)
            made = made.astype(np.float64) * self.scale.reshape(axes) + self.mean.reshape(axes)
        if self.channels_last:
            made = np.moveaxis(made, 1, 3)
        return np.ascontiguousarray(made).reshape(len(made), *self.given)

    def tensor(self, data: Any) -> torch.Tensor:
        """All rows of `data` as one float32 tensor (n, *shape) in model units, on the CPU."""
        array = self.checked(data)
        made = torch.empty(len(array), *self.shape)
        for start, rows in passes(array):
            made[start : start + len(rows)] = self.convert(rows, data, start)
        return made

    def flat(self, data: Any) -> npt.NDArray[np.float32]:
        """All rows of `data` as one float32 matrix (n, size) in model units."""
        made: npt.NDArray[np.float32] = self.tensor(data).reshape(-1, self.size).numpy()
        return made

    def blocks(self, data: Any, device: str) -> Iterator[tuple[int, torch.Tensor]]:
        """All rows some at a time: how many, and a tensor of `block` rows on the device; further ones are zeros."""
        array = self.checked(data)
        for start in range(0, len(array), self.block):
            rows = self.convert(array[start : start + self.block], data, start)
            n = len(rows)
            if n < self.block:
                rows = torch.cat([rows, rows.new_zeros(self.block - n, *self.shape)])
            yield n, rows.to(device)

    def rows(self, data: Any, device: str = "cpu", chosen: npt.NDArray[np.int64] | None = None) -> Rows:
        """`data` as rows to train on.

        Parameters
        ----------
        data
            What came to `fit`.
        device
            Where they are held, unless they are too many.
        chosen
            Numbers of those to be used, rising; `None` for all.
        """
        array = self.checked(data)
        if _mapped(array) and array.nbytes > HELD:
            return Rows(array, chosen, device, self.convert)
        if self.pixels and array.dtype == np.uint8:
            held = torch.from_numpy(array if array.flags.writeable and not self.channels_last else np.array(array))
            held = held.movedim(3, 1) if self.channels_last and held.ndim == 4 else held
            return Rows(held.reshape(len(held), *self.shape).contiguous().to(device), chosen, device)
        plain = array.dtype == np.float32 and self.scaling != "standard" and not self.channels_last
        if plain and array.flags.writeable and array.flags.c_contiguous:
            for start, rows in passes(array):
                self.convert(rows, data, start)  # refuses what it must
            return Rows(torch.from_numpy(array).reshape(-1, *self.shape).to(device), chosen, device)
        return Rows(self.tensor(data).to(device), chosen, device)


def _model_shape(given: tuple[int, ...], last: bool, image_shape: tuple[int, ...] | None) -> tuple[int, ...]:
    if image_shape is not None:
        wanted = tuple(int(size) for size in image_shape)
        shape = (1, *wanted) if len(wanted) == 2 else wanted
        if len(shape) != 3 or min(shape) < 1:
            raise BadInput(f"image_shape is (height, width) or (channels, height, width), not {image_shape!r}")
        if len(given) == 1 and given[0] != math.prod(shape):
            raise BadInput(
                f"rows of {given[0]} values are no pictures of shape {wanted}, which have {math.prod(shape)}"
            )
        if len(given) > 1 and math.prod(given) != math.prod(shape):
            raise BadInput(f"pictures of shape {given} were given, image_shape says {wanted}")
        if len(given) == 1:
            return shape
    if len(given) == 1:
        return given
    if len(given) == 2:
        return (1, *given)
    if len(given) == 3 and last:
        return (given[2], given[0], given[1])
    if len(given) == 3:
        if given[2] in (1, 3, 4) and given[0] > 4:
            raise BadInput(f"pictures of shape {given} seem to have their channels last: give (n, channels, h, w)")
        return given
    raise BadInput(f"rows have the shape (features,), (h, w) or (channels, h, w), not {given}")


def _bounds(array: Array, data: Any) -> tuple[float, float]:
    """The smallest and the largest value, all being finite."""
    low, high = math.inf, -math.inf
    for start, rows in passes(array):
        _check_finite(rows, data, start)
        if rows.size:
            low, high = min(low, float(rows.min())), max(high, float(rows.max()))
    return low, high


def _check_finite(rows: Array, data: Any, first: int) -> None:
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        _refuse(~np.isfinite(rows), rows, data, first, "")


def _check_range(made: torch.Tensor, data: Any, first: int) -> None:
    """Refuse what float32 cannot hold."""
    if not torch.isfinite(made).all():
        values = made.numpy()
        _refuse(~np.isfinite(values), values, data, first, " as float32")


def _refuse(bad: Array, rows: Array, data: Any, first: int, how: str) -> None:
    row, *place = (int(i) for i in np.argwhere(bad)[0])
    what = "NaN" if np.isnan(rows[(row, *place)]) else "infinity"
    row += first
    label = f" ('{printable(str(data.labels[row]))}')" if isinstance(data, Embedding) else ""
    column = str(place[0]) if len(place) == 1 else str(tuple(place))
    if is_frame(data):
        column, label = f"'{printable(str(data.columns[place[0]]))}'", f" ('{printable(str(data.index[row]))}')"
    raise BadInput(f"row {row}{label}, column {column} is {what}{how}: fill or drop it first")


def _mapped(array: Array) -> bool:
    """Whether the values lie in a file."""
    base: Any = array
    while base is not None:
        if isinstance(base, np.memmap | mmap.mmap):
            return True
        base = base.obj if isinstance(base, memoryview) else getattr(base, "base", None)
    return False
