"""Vectors as numpy arrays: .npy with its words beside it, .npz with both inside.

The .npy format is described at https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html; an .npz is a zip
archive of such. Headers are read by numpy and checked against the size of the file; arrays of Python objects, which
are pickles, are refused.
"""

from __future__ import annotations

import math
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

import numpy as np
import numpy.lib.format as npy
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.errors import BadFile, BadInput, printable
from embedkit.files.atomic import replacing, to_disk
from embedkit.files.lines import numbered_lines
from embedkit.files.opening import opened, packed
from embedkit.formats.collecting import about_file

Words = str | os.PathLike[str] | Sequence[str]

_HEADERS = {(1, 0): ("<H", npy.read_array_header_1_0), (2, 0): ("<I", npy.read_array_header_2_0)}
_LONGEST_HEADER = 2**16
_LABELS, _VECTORS = ("labels", "words"), ("vectors", "embeddings")
_BOMB_RATIO, _BOMB_BYTES = 200, 2**26  # as for packed text
_ZIP_END, _UNCOUNTED = 22, 2**16 - 1  # bytes of the end without a comment; what it says where there are more
_BOM = b"\xef\xbb\xbf"
_WIDE = 2**28  # bytes of labels, numpy pads each to the longest


class _Header(NamedTuple):
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy(path: str | os.PathLike[str], *, limit: int | None = None, words: Words | None = None) -> Embedding:
    """Memory-map a matrix that `numpy.save` wrote.

    Parameters
    ----------
    path
        The file: (n, d) numbers. float32 and float16 stay in the file until they are used, others are converted.
    limit
        Only the first so many rows.
    words
        The n labels, or a UTF-8 file of them, one a line. By default ``NAME.words.txt`` beside ``NAME.npy``.

    Raises
    ------
    BadFile
        It is no such file, is cut or damaged, holds objects or a value that is not finite (named by row and column), or
        its words are not there or not as many.
    """
    mapped = map_npy(path)
    _check_matrix(path, mapped.shape, mapped.dtype, "header")
    labels = _words_of(path, words)
    if len(labels) != len(mapped):
        raise BadFile(path, f"{len(labels):,} words for {len(mapped):,} vectors: there must be one each")
    made = {"made_by": "read", "file": about_file(path, whole=limit is None), "format": "npy"}
    return _embedding(path, labels[:limit], mapped[:limit], {}, made | _limited(limit))


def map_npy(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Memory-map the numbers that `numpy.save` wrote, of whatever shape.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    BadFile
        It is no such file, is packed, cut or damaged, or holds something else than numbers.
    """
    if packed(path):
        raise BadFile(path, "a packed .npy cannot be memory-mapped: unpack it first")
    with opened(path) as stream:
        header = _read_header(stream, path, "header")
        if header.dtype.kind not in "biuf":
            raise BadFile(path, f"holds {_shape(header)}: an array of numbers was expected", "header")
        start, size = stream.tell(), os.fstat(stream.fileno()).st_size
        if header.bytes != size - start:
            what = f"the header says {_shape(header)}, {header.bytes:,} bytes, but {size - start:,} follow it"
            raise BadFile(path, what, "header")
        if not header.bytes:
            return np.empty(header.shape, header.dtype)
        return np.memmap(stream, header.dtype, "r", start, header.shape, "F" if header.fortran else "C")


def read_npz(path: str | os.PathLike[str], *, limit: int | None = None) -> Embedding:
    """Read an archive of arrays: labels, vectors and columns.

    Parameters
    ----------
    path
        The file, with ``labels`` (or ``words``) of n strings, ``vectors`` (or ``embeddings``) of shape (n, d), and
        ``column/NAME`` of shape (n,).
    limit
        Only the first so many rows.

    Raises
    ------
    BadFile
        It is no such archive, is damaged or encrypted, unpacks to more than 200 times its size, or holds objects or a
        value that is not finite.
    """
    chosen: list[str] = []

    def choose(members: Collection[str]) -> list[str]:
        chosen.extend(name for names in (_LABELS, _VECTORS) for name in names if name in members)
        if len(chosen) < 2:
            found = ", ".join(sorted(members)[:8]) or "nothing"
            raise BadFile(path, f"arrays 'labels' and 'vectors' were expected in it, it holds: {found}")
        return [*chosen, *(name for name in members if name.startswith("column/"))]

    arrays = read_arrays(path, choose)
    labels, vectors = (arrays.pop(name) for name in chosen)
    if labels.ndim != 1 or labels.dtype.kind != "U" or vectors.ndim != 2 or len(labels) != len(vectors):
        what = f"labels of {labels.dtype} and shape {labels.shape}, vectors of shape {vectors.shape}"
        raise BadFile(path, f"{what}: n strings and a matrix of n rows were expected")
    columns = {name.removeprefix("column/"): values[:limit] for name, values in arrays.items()}
    made = {"made_by": "read", "file": about_file(path, whole=limit is None), "format": "npz"}
    return _embedding(path, labels[:limit].tolist(), vectors[:limit], columns, made | _limited(limit))


def read_arrays(
    path: str | os.PathLike[str], choose: Callable[[Collection[str]], Iterable[str]]
) -> dict[str, npt.NDArray[Any]]:
    """Arrays of an .npz archive, each checked against its header and its checksum before it is believed.

    Parameters
    ----------
    path
        The file.
    choose
        Given the names of all arrays, gives those to read.

    Raises
    ------
    BadFile
        It is no such archive, is damaged or encrypted, unpacks to more than 200 times its size, or what was chosen is
        neither numbers nor text.
    """
    try:
        with Path(path).open("rb") as stream, zipfile.ZipFile(stream) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            # Its directory has no checksum; a damaged length in it can hide what follows, which its end counts.
            stream.seek(-min(_ZIP_END, stream.seek(0, os.SEEK_END)), os.SEEK_END)
            end = stream.read()
            count = int.from_bytes(end[10:12], "little") if end.startswith(b"PK\5\6") else _UNCOUNTED
            if count not in (len(archive.infolist()), _UNCOUNTED):
                raise BadFile(path, f"its end says it holds {count} arrays, {len(archive.infolist())} are found")
            wanted = list(choose(members))
            if len(members) < len(archive.infolist()):
                raise BadFile(path, "holds two arrays of one name")
            size = sum(info.file_size for info in members.values())
            if size > _BOMB_BYTES and size > _BOMB_RATIO * Path(path).stat().st_size:
                raise BadFile(path, f"unpacks to more than {_BOMB_RATIO} times its size")
            for name in members.keys() - set(wanted):
                archive.open(members[name]).close()  # a damaged name would let an array go unnoticed: each stands twice
            return {name: _member(path, archive, members[name]) for name in wanted}
    except BadFile:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        raise BadFile(path, f"is no archive that can be read: {error}") from None


def write_npy(embedding: Embedding, path: str | os.PathLike[str]) -> None:
    """Write the matrix as ``NAME.npy`` and the words as ``NAME.words.txt``; columns are left out.

    Both are written in full before either takes its place, but they are two files: a crash in the moment between leaves
    a new one beside an old one. Where that matters, the native file or .npz is one.
    """
    with replacing(path) as stream:
        write_array(stream, _matrix(embedding))
        to_disk(stream)
        with replacing(_beside(path)) as words:
            blob = embedding.labels.blob[1:]
            words.write(_BOM + blob if blob.startswith(_BOM) else blob)  # readers take one away


def write_array(stream: BinaryIO, array: npt.NDArray[Any]) -> None:
    """Write an array as .npy."""
    np.save(_Writing(stream), array)


class _Writing:
    """A stream that is no file to numpy, whose own way of writing to files tells nothing of a full disk."""

    def __init__(self, stream: BinaryIO) -> None:
        self.write = stream.write


def write_npz(embedding: Embedding, path: str | os.PathLike[str]) -> None:
    """Write ``labels``, ``vectors`` and ``column/NAME`` as arrays of one uncompressed archive."""
    texts = np.array(list(embedding), dtype=np.str_)
    parts = {f"column/{name}": values for name, values in embedding.columns.items()}
    with replacing(path) as stream:
        np.savez(stream, labels=texts, vectors=_matrix(embedding), **parts)  # type: ignore[arg-type]  # none is called allow_pickle


def check_npz(embedding: Embedding) -> None:
    """Refuse labels that numpy's arrays of text, which pad each to the longest, would blow up."""
    lengths = np.diff(embedding.labels.offsets)
    size = 4 * len(lengths) * int(lengths.max(initial=0))
    if size > max(_WIDE, 16 * int(lengths.sum())):
        raise BadInput(f"as a numpy array of text the labels would take {size:,} bytes: choose another format")


def _matrix(embedding: Embedding) -> npt.NDArray[Any]:
    return embedding._stored if embedding.storage == "float16" else embedding.vectors


def _limited(limit: int | None) -> dict[str, Any]:
    return {} if limit is None else {"limit": int(limit)}


def _beside(path: str | os.PathLike[str]) -> Path:
    return Path(path).with_suffix(".words.txt")


def _words_of(path: str | os.PathLike[str], words: Words | None) -> list[str]:
    if words is None:
        words = _beside(path)
        if not words.is_file():
            name = printable(words.name)
            raise BadFile(path, f"its words were expected beside it in {name}, one a line (or say words=FILE)")
    if not isinstance(words, str | os.PathLike):
        return list(words)
    return [line for _, line in numbered_lines(words)]


def _embedding(
    path: str | os.PathLike[str],
    labels: Iterable[str],
    vectors: npt.NDArray[Any],
    columns: dict[str, npt.NDArray[Any]],
    made: dict[str, Any],
) -> Embedding:
    try:
        return Embedding(labels, vectors, columns=columns, provenance=made)
    except BadFile:
        raise
    except BadInput as error:
        raise BadFile(path, str(error)) from None


def _read_header(stream: BinaryIO | IO[bytes], path: str | os.PathLike[str], place: str) -> _Header:
    """Read and check what comes before the numbers of an array."""
    try:
        version = npy.read_magic(stream)
        if version not in _HEADERS:
            raise BadFile(path, f"is .npy version {version[0]}.{version[1]}, which embedkit does not read", place)
        code, read = _HEADERS[version]
        raw = stream.read(struct.calcsize(code))
        (length,) = struct.unpack(code, raw)
        if length > _LONGEST_HEADER:
            raise BadFile(path, f"the header says it is {length:,} bytes long, at most {_LONGEST_HEADER:,} are", place)
        stream.seek(-len(raw), os.SEEK_CUR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy tells of files that Python 2 wrote; they read well
            header = _Header(*read(stream))
    except BadFile:
        raise
    except Exception as error:  # numpy evaluates the header as a literal, which fails in many ways
        raise BadFile(path, f"is no .npy file or is damaged: {str(error).partition(chr(10))[0]}", place) from error
    if header.dtype.hasobject:
        raise BadFile(path, "holds Python objects, which can run code when loaded: save numbers or text", place)
    # numpy holds no array that would be too large if its empty axes were not empty.
    if min(header.shape, default=0) < 0 or math.prod(max(size, 1) for size in header.shape) >= 2**63 // max(
        header.dtype.itemsize, 1
    ):
        raise BadFile(path, f"the header says {_shape(header)}", place)
    return header


def _check_matrix(path: str | os.PathLike[str], shape: tuple[int, ...], dtype: np.dtype[Any], place: str) -> None:
    if len(shape) != 2 or dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise BadFile(path, f"holds {dtype} of shape {shape}: a matrix of n rows of numbers was expected", place)


def _shape(header: _Header) -> str:
    return f"{header.dtype} of shape {header.shape}"


def _member(path: str | os.PathLike[str], archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> npt.NDArray[Any]:
    """One array of an archive; its checksum is compared at its end."""
    place = f"array '{printable(info.filename)}'"
    with archive.open(info) as stream:
        header = _read_header(stream, path, place)
        if header.dtype.kind not in "fiubU" or header.bytes != info.file_size - stream.tell():
            what = (
                f"{_shape(header)} does not fit {info.file_size - stream.tell():,} bytes, or is neither number nor text"
            )
            raise BadFile(path, what, place)
        flat = np.empty(math.prod(header.shape), header.dtype)
        view = flat.view(np.uint8).data if flat.nbytes else memoryview(b"")
        held = 0
        while held < len(view):
            part = stream.read(min(2**22, len(view) - held))
            if not part:
                raise BadFile(path, "is cut", place)
            view[held : held + len(part)] = part
            held += len(part)
        stream.read(1)  # reaching the end is what compares the checksum
    return flat.reshape(header.shape, order="F" if header.fortran else "C")
