"""Arrays with a description in one checksummed safetensors file, memory-mapped when read.

Any safetensors reader opens it. The layout (https://huggingface.co/docs/safetensors, format description) is eight
bytes of header length, a JSON header, and the tensors one after another. The header's ``__metadata__`` holds
``embedkit``: a JSON object with the schema version, the class, what else that class tells of itself, and the SHA-256 of
every tensor; and ``sha256``: that of the header itself with this field zeroed, so that any changed byte is found. The
header and the tensors named ``label...`` are always verified, and everything in files up to 64 MB; beyond that
``verify=True`` reads it all.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
import stat
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadFile, BadInput
from embedkit.files.atomic import replacing

SCHEMA = 1
VERIFIED_AT_LOAD = 64 * 2**20  # bytes; larger files are verified on request
_HEADER_LIMIT = 16 * 2**20
_ZEROES = "0" * 64

_DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "I16": np.int16,
    "I8": np.int8, "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}


def write_tensors(
    tensors: Mapping[str, npt.NDArray[Any]], about: Mapping[str, Any], path: str | os.PathLike[str]
) -> None:
    """Write arrays and a JSON-able description as one checksummed safetensors file, all or nothing.

    Parameters
    ----------
    tensors
        Name to array, in the order in which they shall lie in the file.
    about
        The description, with the name of the ``class``; the schema version and the checksums are added to it.
    path
        The file.
    """
    header: dict[str, Any] = {}
    start = 0
    for name, array in tensors.items():
        if array.dtype not in _NAMES:
            raise BadInput(f"'{name}' has type {array.dtype}, which a safetensors file cannot hold")
        span = [start, start + array.nbytes]
        header[name] = {"dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": span}
        start = span[1]
    checksums = {name: _digest(array) for name, array in tensors.items()}
    described = json.dumps({"schema": SCHEMA, **about, "sha256": checksums}, ensure_ascii=True, allow_nan=False)
    prefix = _header_bytes(header, described)
    if len(prefix) - 8 > _HEADER_LIMIT:
        raise BadInput(f"the provenance and names take {len(prefix):,} bytes, more than {_HEADER_LIMIT >> 20} MiB")
    with replacing(path) as stream:
        stream.write(prefix)
        for array in tensors.values():
            stream.write(_bytes(array))


def _header_bytes(header: Mapping[str, Any], described: str) -> bytes:
    def render(sha256: str) -> bytes:
        text = json.dumps({"__metadata__": {"embedkit": described, "sha256": sha256}, **header}, ensure_ascii=True)
        padded = text.encode("ascii")
        padded += b" " * (-len(padded) % 8)
        return struct.pack("<Q", len(padded)) + padded

    return render(hashlib.sha256(render(_ZEROES)).hexdigest())


def _bytes(array: npt.NDArray[Any]) -> memoryview:
    """The bytes of `array` in C order, without copying where it already lies so."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _digest(array: npt.NDArray[Any]) -> str:
    return hashlib.sha256(_bytes(array)).hexdigest()


class Tensors(NamedTuple):
    """A checked file: its arrays, memory-mapped and read-only, and its description."""

    arrays: dict[str, npt.NDArray[Any]]
    about: dict[str, Any]


def read_tensors(path: str | os.PathLike[str], *, verify: bool | None = None) -> Tensors:
    """Memory-map a file that `write_tensors` wrote, checking it first.

    Parameters
    ----------
    path
        The file.
    verify
        Whether to read every byte and compare checksums; `None` does so up to 64 MB. The header and the tensors whose
        name begins with ``label`` are always verified.

    Raises
    ------
    BadFile
        It cannot be read, is no such file, is cut or damaged, or was written by a later version.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116  # before opening: a pipe would make us wait
            raise BadFile(path, "is not a regular file, so not an embedkit file")
        with Path(path).open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size < 8:
                raise BadFile(path, f"{size} bytes are too few for an embedkit file")
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise BadFile(path, f"cannot be read: {error.strerror or error}") from error
    except BadFile:
        raise
    except ValueError as error:  # NUL or a lone surrogate in the path
        raise BadFile(path, f"cannot be read: {error}") from error
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(_HEADER_LIMIT, size - 8) or data[8:9] != b"{":
        raise BadFile(path, "not an embedkit file (a safetensors header was expected at its start)", "byte 0")
    header, about = _read_header(path, data[: 8 + length])
    arrays = {name: _tensor(path, name, entry, data, 8 + length) for name, entry in header.items()}
    end = 8 + length + sum(array.nbytes for array in arrays.values())
    if end != size:
        raise BadFile(path, f"has {size} bytes, its header describes {end}: it was cut or added to")
    everything = size <= VERIFIED_AT_LOAD if verify is None else verify
    for name, array in arrays.items():
        if (everything or name.startswith("label")) and _digest(array) != about["sha256"].get(name):
            raise BadFile(path, "checksum mismatch: the file is damaged", f"tensor '{name}'")
    return Tensors(arrays, about)


def _read_header(path: object, prefix: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        header = json.loads(prefix[8:])
        metadata = header.pop("__metadata__", None)
        about, sha256 = json.loads(metadata["embedkit"]), metadata["sha256"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise BadFile(path, "not an embedkit file, or its header is damaged (embedkit's metadata was expected)",
                      "header") from None  # fmt: skip
    if not isinstance(sha256, str) or len(sha256) != 64:
        raise BadFile(path, "the header has no checksum: it is damaged", "header")
    # The field stands near the start; only its first occurrence is the header's own.
    zeroed = prefix.replace(sha256.encode("utf-8", "replace"), _ZEROES.encode(), 1)
    if hashlib.sha256(zeroed).hexdigest() != sha256:
        raise BadFile(path, "checksum mismatch: the header is damaged", "header")
    if not isinstance(about, dict) or not isinstance(about.get("sha256"), dict):
        raise BadFile(path, "embedkit's metadata is not what was expected", "header")
    if about.get("schema") != SCHEMA:
        found = about.get("schema")
        what = f"written in schema {found!r:.40}, this version of embedkit reads {SCHEMA}"
        raise BadFile(path, f"{what}: update embedkit" if isinstance(found, int) and found > SCHEMA else what)
    return header, about


def _tensor(path: object, name: str, entry: Any, data: mmap.mmap, origin: int) -> npt.NDArray[Any]:
    try:
        dtype, shape, (start, end) = np.dtype(_DTYPES[entry["dtype"]]), entry["shape"], entry["data_offsets"]
        whole = all(type(n) is int and 0 <= n < 2**63 for n in (*shape, start, end))
        if whole and end > len(data) - origin:
            raise BadFile(path, "it ends beyond the end of the file, which was cut", f"tensor '{name}'")
        if not whole or not start <= end <= len(data) - origin or math.prod(shape) * dtype.itemsize != end - start:
            raise ValueError
        count = (end - start) // dtype.itemsize
        return np.frombuffer(data, dtype=dtype, count=count, offset=origin + start).reshape(shape)
    except BadFile:
        raise
    except (ValueError, TypeError, KeyError):
        raise BadFile(path, "its shape, type and place in the header do not fit", f"tensor '{name}'") from None
