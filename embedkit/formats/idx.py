"""IDX files, the arrays of MNIST: two zeros, a type code, the number of dimensions, their sizes, and the values.

The format is described at the end of http://yann.lecun.com/exdb/mnist/ (sizes and values are big-endian).
"""

from __future__ import annotations

import math
import os
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadFile
from embedkit.files.opening import opened, packed

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_DIMENSIONS = 8  # the header could say 255, and numpy ends at 64; files have one to four
_BOMB_RATIO, _BOMB_BYTES = 200, 2**26  # what unpacks further is not unpacked anyway
_CHUNK = 2**20  # values looked at together


def read_idx(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """The array in an IDX file, plain or packed by gzip, bzip2 or xz.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    ndarray
        Read-only, of the shape and type in the file: uint8, int8, or big-endian int16, int32, float32 or float64. Of a
        plain file it is memory-mapped: nothing is read until it is used.

    Raises
    ------
    BadFile
        It cannot be read or is no IDX file, its values do not fill the sizes in its header or go on after them (both
        found before memory is taken), or a floating-point value is not finite.
    """
    with opened(path) as stream:
        start = stream.read(4)
        if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _TYPES:
            raise BadFile(path, f"is no IDX file: it begins with {start.hex(' ') or 'nothing'}", "byte 0")
        if not 1 <= start[3] <= _MOST_DIMENSIONS:
            reason = f"says it has {start[3]} dimensions, expected 1 to {_MOST_DIMENSIONS}"
            raise BadFile(path, reason, "byte 3")
        sizes = stream.read(4 * start[3])
        if len(sizes) < 4 * start[3]:
            raise BadFile(path, "ends inside its header", f"byte {4 + len(sizes)}")
        shape = tuple(int(size) for size in np.frombuffer(sizes, dtype=">u4"))
        dtype = np.dtype(_TYPES[start[2]])
        size = math.prod(shape) * dtype.itemsize
        # numpy holds no array that would be too large if its empty axes were not empty.
        if not size and math.prod(max(axis, 1) for axis in shape) * dtype.itemsize >= 2**63:
            raise BadFile(path, f"says it holds values of shape {shape}, more than any file can", "header")
        offset = 4 + len(sizes)
        if packed(path):
            array = _unpacked(stream, path, shape, dtype, offset, size)
        else:
            _check_size(path, shape, offset, size, Path(path).stat().st_size - offset)
            array = np.zeros(shape, dtype) if not size else np.memmap(stream, dtype, "r", offset, shape)
    if dtype.kind == "f":
        _check_finite(array.reshape(-1), path)
    array.flags.writeable = False
    return array


def _unpacked(
    stream: BufferedReader,
    path: str | os.PathLike[str],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    offset: int,
    size: int,
) -> npt.NDArray[Any]:
    if size > _BOMB_BYTES and size > _BOMB_RATIO * Path(path).stat().st_size:
        reason = f"says it holds values of shape {shape}, {size:,} bytes: more than {_BOMB_RATIO} times the file's size"
        raise BadFile(path, reason, "header")
    array = np.empty(math.prod(shape), dtype=dtype)
    view = array.view(np.uint8).data
    found = 0
    while found < size and (step := stream.readinto(view[found : found + _CHUNK])):
        found += step
    _check_size(path, shape, offset, size, found + len(stream.read(1)))
    return array.reshape(shape)


def _check_size(path: str | os.PathLike[str], shape: tuple[int, ...], offset: int, size: int, found: int) -> None:
    if found < size:
        reason = f"is cut: values of shape {shape} take {size:,} bytes, and there are {found:,}"
        raise BadFile(path, reason, f"byte {offset + found}")
    if found > size:
        raise BadFile(path, f"goes on after its values of shape {shape}", f"byte {offset + size}")


def _check_finite(values: npt.NDArray[Any], path: str | os.PathLike[str]) -> None:
    for start in range(0, len(values), _CHUNK):
        finite = np.isfinite(values[start : start + _CHUNK])
        if not finite.all():
            place = start + int(np.flatnonzero(~finite)[0])
            raise BadFile(path, f"value {place} is not finite: {values[place]}", f"value {place}")
