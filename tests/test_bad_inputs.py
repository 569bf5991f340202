"""Files that are wrong, one a row: each ends in one line that names the file, the place, what is wrong.

Every family of formats is read in one process of its own, which measures how long each file takes and by how much the
memory grows; this file is also the program that it runs.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
import os
import re
import resource
import struct
import subprocess
import sys
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

SECONDS, MEBIBYTES = 5.0, 200.0  # no bad file may cost more
_MOST = 2**32  # bytes, beyond which memory is refused, so that what a fault takes is not taken from others

Build = bytes | Callable[[Path], object]
Arrays = dict[str, npt.NDArray[Any]]


class Bad(NamedTuple):
    """A file that is wrong, or, where no words are expected, one that is right and must be read.

    Attributes
    ----------
    reader
        What reads it, one of `READERS`.
    name
        What the file is called.
    build
        Its bytes, or what makes it at a path.
    words
        What the message must say; empty for a file that is right.
    place
        Where in the file the message must say that it is.
    error
        The class of the error, by name.
    named
        The file that must be named, where it is not the one that was read.
    """

    reader: str
    name: str
    build: Build
    words: str = ""
    place: str = ""
    error: str = "BadFile"
    named: str = ""


# -- what files are made of --------------------------------------------------------------------------------------------


def repeated(start: bytes, part: bytes, times: int, end: bytes = b"") -> Callable[[Path], None]:
    """A file of `start`, then a part again and again; held by nobody but the disk."""

    def build(path: Path) -> None:
        many = part * max(1, 2**20 // len(part))
        with path.open("wb") as stream:
            stream.write(start)
            for _ in range(times * len(part) // len(many)):
                stream.write(many)
            stream.write(end)

    return build


def bomb(start: bytes, part: bytes) -> Callable[[Path], object]:
    """Some 60 kB of gzip that unpack to 64 MB."""
    return lambda path: path.write_bytes(gzip.compress(start) + gzip.compress(part * (2**22 // len(part))) * 16)


def greedy_xz(content: bytes) -> bytes:
    """A .xz file that asks for 4 GB of memory to unpack it: its header says that the dictionary is so large."""
    data = bytearray(lzma.compress(content, preset=0))
    header = slice(12, 12 + 4 * data[12])  # of the one block, after the header of the stream; then its checksum
    assert data[14] == lzma.FILTER_LZMA2
    data[16] = 40  # the code of 4 GiB
    data[header.stop : header.stop + 4] = struct.pack("<I", zlib.crc32(data[header]))
    return bytes(data)


def hole(start: bytes, size: int) -> Callable[[Path], None]:
    """`start`, and zeros that take no place on the disk."""

    def build(path: Path) -> None:
        path.write_bytes(start)
        os.truncate(path, size)

    return build


def files(**contents: bytes) -> Callable[[Path], None]:
    """A folder of files, ``__`` standing for a dot in their names, and ``_in_`` for a slash."""

    def build(path: Path) -> None:
        for name, content in contents.items():
            file = path / name.replace("_in_", "/").replace("__", ".")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)

    return build


def beside(content: bytes, ending: str, other: bytes) -> Callable[[Path], None]:
    """A file with another one beside it."""

    def build(path: Path) -> None:
        path.write_bytes(content)
        path.with_suffix(ending).write_bytes(other)

    return build


def npy(descr: str, shape: object, data: bytes = b"", header: str = "") -> bytes:
    """A .npy file whose header says what it is told to."""
    text = header or f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n" + data


def array(values: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(values, **options), allow_pickle=True)
    return stream.getvalue()


def npz(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


LABELS, MATRIX = array(["a", "b"]), array(np.eye(2, dtype=np.float32))


def locked_npz() -> bytes:
    """The archive of two arrays, each member marked as encrypted, as `zip -e` marks it."""
    data = bytearray(npz(labels=LABELS, vectors=MATRIX))
    for magic, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(magic)
        while at >= 0:
            data[at + flags] |= 1
            at = data.find(magic, at + 4)
    return bytes(data)


def idx(code: int, sizes: tuple[int, ...], data: bytes) -> bytes:
    return bytes([0, 0, code, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + data


def png(width: int = 2, height: int = 2) -> bytes:
    """A grey picture whose header may say more than it holds."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0\x10\x20\0\x30\x40")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def fasttext(
    dim: int = 2, size: int = 2, nlabels: int = 0, bucket: int = 3, quantised: int = 0, value: float = 0.5,
    ngrams: tuple[int, int] = (3, 6), words: tuple[bytes, ...] = (b"king", b"queen"), end: bytes = b"",
) -> bytes:  # fmt: skip
    """A fastText model, told to lie where it is."""
    floats = struct.pack("<2f", value, 1.0)
    return b"".join([
        struct.pack("<2i", 793712314, 12),
        struct.pack("<12id", dim, 5, 5, 1, 5, 1, 1, 2, bucket, *ngrams, 100, 1e-4),
        struct.pack("<3i2q", size, size, nlabels, 10, -1),
        *(word + b"\0" + struct.pack("<qb", 5, 0) for word in words),
        struct.pack("<?2q", quantised, len(words) + bucket, dim), floats * (len(words) + bucket),
        struct.pack("<?2q", 0, len(words), dim), floats * len(words), end,
    ])  # fmt: skip


def binary(count: int, width: int, *records: tuple[bytes, tuple[float, ...]], end: bytes = b"\n") -> bytes:
    rows = [word + b" " + struct.pack(f"<{len(values)}f", *values) + end for word, values in records]
    return b"%d %d\n" % (count, width) + b"".join(rows)


KING, QUEEN = (b"king", (0.5, 1.0)), (b"queen", (0.25, 2.0))


def parquet(path: Path) -> None:
    import pandas as pd

    pd.DataFrame({"label": ["a", "b"], "x": [1.0, 2.0]}).to_parquet(path)


def damaged(build: Build, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """A file after a change to its bytes."""

    def made(path: Path) -> None:
        path.write_bytes(build) if isinstance(build, bytes) else build(path)
        path.write_bytes(change(path.read_bytes()))

    return made


def flipped(place: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        at = place % len(data)
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    return change


def royals(path: Path) -> None:
    from embedkit import Embedding

    Embedding(["king", "queen"], [[0.5, 1.0], [0.25, 2.0]], columns={"kind": ["r", "r"], "n": [1, 2]}).save(path)


@cache
def trained(kind: str) -> tuple[Arrays, dict[str, Any]]:
    """The arrays and the description in a file of a model of that kind."""
    import tempfile

    from embedkit.files.store import read_tensors

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        MODELS[kind](path)
        arrays, about = read_tensors(path)
        kept = {name: value for name, value in about.items() if name not in ("sha256", "schema")}
        return {name: np.array(values) for name, values in arrays.items()}, kept


def forged(which: str, changed: Mapping[str, Any] | None = None, **told: Any) -> Callable[[Path], None]:
    """A file of such a model with other parts (None: without), or another description, and right checksums."""

    def build(path: Path) -> None:
        from embedkit.files.store import write_tensors

        arrays, about = trained(which)
        for name, values in (changed or {}).items():
            made = values(arrays[name]) if callable(values) else values
            arrays = {**arrays, name: made} if made is not None else {k: v for k, v in arrays.items() if k != name}
        for name, value in told.items():
            about = {**about, name: {**about[name], **value} if isinstance(value, dict) else value}
        write_tensors(arrays, about, path)

    return build


def without(which: str, name: str) -> Callable[[Path], None]:
    return forged(which, {name: lambda _: None})


def schema(number: int) -> Callable[[Path], None]:
    """A file of a version to come, with right checksums."""

    def build(path: Path) -> None:
        from embedkit.files import store

        now, store.SCHEMA = store.SCHEMA, number
        try:
            royals(path)
        finally:
            store.SCHEMA = now

    return build


def autoencoder(path: Path) -> None:
    from embedkit import Autoencoder

    rows = np.random.default_rng(0).normal(size=(20, 3))
    Autoencoder(2, hidden=(4,), epochs=1, n_jobs=1, random_state=0, device="cpu").fit(rows).save(path)


def checkpoint(path: Path) -> None:
    """Of a training that was broken off, so that optimizers are in it."""
    from embedkit import VAE

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    rows = np.random.default_rng(0).normal(size=(20, 3))
    model = VAE(2, hidden=(4,), epochs=2, batch_size=8, n_jobs=1, random_state=0, device="cpu")
    with contextlib.suppress(KeyboardInterrupt):
        model.fit(rows, callback=stop, checkpoint=path)


def encoded(path: Path) -> None:
    from embedkit import Corpus

    Corpus(["the king rules", "the queen rules"]).encode(path)


def word2vec(path: Path) -> None:
    from embedkit import Corpus, Word2Vec

    Word2Vec(vector_size=4, epochs=1, min_count=1, workers=1, random_state=0).fit(Corpus(["a b c", "a b"])).save(path)


def glove(path: Path) -> None:
    from embedkit import Corpus
    from embedkit.words import GloVe

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    model = GloVe(vector_size=4, epochs=2, min_count=1, random_state=0, workers=1)
    with contextlib.suppress(KeyboardInterrupt):
        model.fit(Corpus(["a b c", "a b"]), callback=stop, checkpoint=path)


def counts(path: Path) -> None:
    from embedkit import Corpus
    from embedkit.words.cooccurrence import Cooccurrence

    Cooccurrence.count(Corpus(["the king rules", "the queen rules"]), min_count=1).save(path)


def umap(path: Path) -> None:
    from embedkit import UMAP

    UMAP(n_neighbors=3, n_epochs=2, random_state=0, n_jobs=1, init="random").fit(
        np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    ).save(path)


MODELS: dict[str, Callable[[Path], None]] = {
    "Embedding": royals, "Autoencoder": autoencoder, "checkpoint": checkpoint, "EncodedCorpus": encoded,
    "Word2Vec": word2vec, "GloVe": glove, "UMAP": umap,
}  # fmt: skip

# A pickle that would make a file, if anything ever opened it: it does nothing else.
PICKLE = b"\x80\x04\x8c\x08builtins\x8c\x04open\x93\x8c\x06ran.it\x8c\x01w\x86R."


def torch_checkpoint(path: Path) -> None:
    """What `torch.save` writes of anything: a zip with a pickle that names a class."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", PICKLE)
        archive.writestr("archive/version", "3\n")


NAN = float("nan")
SPACES = repeated(b"", b" ", 10**8)
FLAG = "\N{REGIONAL INDICATOR SYMBOL LETTER D}".encode()
SHIFT_JIS = "日本語 0.5 1\n".encode("shift_jis")

# -- the table ---------------------------------------------------------------------------------------------------------

TABLE: dict[str, dict[str, Bad]] = {}

read = partial(Bad, "read")
load = partial(Bad, "load")

TABLE["vectors"] = {
    # What is large is parsed by compiled code, which is loaded once.
    "large text": read("x.vec", b"".join(b"w%d 0.5 1\n" % row for row in range(100_001))),
    # word2vec text
    "word2vec text": read("x.vec", b"2 2\nking 0.5 1\nqueen 0.25 2\n"),
    "nothing": read("x.vec", b"", "is empty"),
    "header with a plus": read("x.vec", b"+2 2\nking 0.5 1\nqueen 1 2\n", "'+2 2' is no header", "line 1"),
    "header with leading zeros": read("x.vec", b"02 2\nking 0.5 1\nqueen 1 2\n", "'02 2' is no header", "line 1"),
    "header too low": read("x.vec", b"1 2\nking 0.5 1\nqueen 1 2\n", "says 1 rows, the file has 2", "line 1"),
    "header too high": read("x.vec", b"3 2\nking 0.5 1\nqueen 1 2\n", "says 3 rows, the file has 2", "line 1"),
    "header of no dimensions": read("x.vec", b"2 0\nking\nqueen\n", "0 dimensions", "line 1"),
    "header of 10^9 x 10^9": read("x.vec", b"1000000000 1000000000\nking 0.5\n", "which no line can hold", "line 1"),
    "header of 10^9 rows": read("x.vec", b"1000000000 300\nking 0.5\n", "bytes at least", "line 1"),
    "header of 30 digits": read("x.vec", b"9" * 30 + b" 2\nking 0.5 1\n", "is no header", "line 1"),
    "last row lacks a column": read("x.vec", b"2 2\nking 0.5 1\nqueen 1\n", "has 1 numbers, expected 2", "line 3"),
    "a row has a column too many": read("x.vec", b"2 2\nking 0.5 1 3\nqueen 1 2\n", "before its last 2", "line 2"),
    "cut in a number": read("x.vec", b"2 2\nking 0.5 1\nqueen 0.", "has 1 numbers, expected 2", "line 3"),
    "1e500": read("x.vec", b"1 2\nking 0.5 1e500\n", "column 2 is '1e500', which is too large", "line 2"),
    "-1e39": read("x.vec", b"king -1e39 0.5\n", "column 1 is '-1e39', which is too large", "line 1"),
    "NAN": read("x.vec", b"king 0.5 NAN\n", "column 2 is 'NAN', which is not finite", "line 1"),
    "-inf": read("x.vec", b"a 1 2\nking 0.5 -inf\n", "column 2 is '-inf', which is not finite", "line 2"),
    "1_0.5": read("x.vec", b"a 1 2\nking 1_0.5 1\n", "'1_0.5', which is not a decimal number", "line 2"),
    "hexadecimal": read("x.vec", b"a 1 2\nking 0x1p3 1\n", "'0x1p3', which is not a decimal number", "line 2"),
    "decimal comma": read("x.vec", b"a 1 2\nking 0,5 1\n", "'0,5', which is not a decimal number", "line 2"),
    "a word twice": read("x.vec", b"a 1 2\nb 1 2\na 3 4\n", "'a' is there twice, at line 1 and line 3"),
    "words that differ by a CR": read("x.vec", b"king 1 2\nking\r 3 4\n", "carriage return", "line 2"),
    "NUL in a word": read("x.vec", b"king 1 2\nqu\0en 3 4\n", "NUL", "line 2"),
    "an empty line between": read("x.vec", b"king 1 2\n\nqueen 3 4\n", "is empty, and others follow", "line 2"),
    "two spaces": read("x.vec", b"king 1 2\nqueen  3 4\n", "two separators in a row", "line 2"),
    "Latin-1": read("x.vec", b"king 1 2\nna\xefve 3 4\n", "'na\\xefve' is not valid UTF-8", "line 2"),
    "Shift-JIS": read("x.txt", b"king 0.5 1\n" + SHIFT_JIS, "is not valid UTF-8", "line 2"),
    "UTF-16": read("x.txt", "king 0.5 1\n".encode("utf-16"), "UTF-16", "byte 0"),
    "half an emoji": read("x.vec", b"king 1 2\n" + FLAG[:3] + b" 3 4\n", "is not valid UTF-8", "line 2"),
    "a surrogate": read("x.vec", b"king 1 2\n\xed\xa0\x80 3 4\n", "is not valid UTF-8", "line 2"),
    "100 MB of spaces": read("x.vec", SPACES, "is longer than 1 MiB", "line 1"),
    "100 MB of zeros": read("x.vec", hole(b"king 1 2\n", 10**8), "is longer than 1 MiB", "line 2"),
    "a long word": read("x.vec", b"king 1 2\n" + b"a" * 65537 + b" 1 2\n", "longer than 64 KiB", "line 2"),
    "words without numbers": read("x.txt", b"king\nqueen\n", "not an embedkit file", "byte 0"),
    "a bomb of rows": read("x.vec.gz", bomb(b"", b"king 0.5 1\n"), "unpacks to more than 200 times its size"),
    "a bomb of spaces": read("x.vec.gz", bomb(b"", b" "), "is longer than 1 MiB"),
    "gzip cut": read("x.vec.gz", gzip.compress(b"king 1 2\n")[:-9], "gzip data is cut or damaged"),
    "bzip2 flipped": read("x.bz2", damaged(bz2.compress(b"king 1 2\n"), flipped(-9)), "bzip2 data is cut or damaged"),
    "xz cut": read("x.xz", lzma.compress(b"king 1 2\n")[:-4], "xz data is cut or damaged"),
    "xz that asks for 4 GB": read("x.xz", greedy_xz(b"king 1 2\n"), "xz data is cut or damaged (Memory usage limit"),
    # word2vec binary
    "word2vec binary": read("x.bin", binary(2, 2, KING, QUEEN)),
    "a text file called .bin": read("x.bin", b"2 2\nking 0.5 1\nqueen 0.25 2\n"),
    "a binary file called .txt": read("x.txt", binary(2, 2, KING, QUEEN)),
    "records of 10^9 x 10^9": read("x.bin", binary(10**9, 10**9, KING, QUEEN), "1,048,576 possible", "line 1"),
    "10^9 records": read("x.bin", binary(10**9, 2, KING, QUEEN), "bytes at least", "line 1"),
    "a record too many": read("x.bin", binary(1, 2, KING, QUEEN), "has more after them", "record 2"),
    "a record is missing": read("x.bin", binary(3, 2, KING, QUEEN), "ends inside record 3 of the 3", "record 3"),
    "a record cut": read("x.bin", binary(2, 2, KING, QUEEN)[:-5], "ends inside record 2", "record 2"),
    "NaN in a record": read("x.bin", binary(2, 2, KING, (b"q", (NAN, 1))), "column 1 is nan", "record 2"),
    "infinity in a record": read("x.bin", binary(2, 2, KING, (b"q", (0, np.inf))), "column 2 is inf", "record 2"),
    "no space": read("x.bin", b"1 2\n" + b"\xff" * 70000, "no space within 64 KiB", "record 1"),
    "line feeds now and then": read(
        "x.bin", binary(2, 2, KING) + binary(0, 0, QUEEN, end=b"")[4:], "ends inside record 2", "record 2"
    ),
    "Shift-JIS records": read("x.bin", binary(1, 1, ("語".encode("shift_jis"), (1.5,))), "UTF-8", "record 1"),
    "a record twice": read("x.bin", binary(2, 2, KING, KING), "'king' is there twice, at record 1 and record 2"),
    # .npy and .npz
    "npy": read("x.npy", beside(MATRIX, ".words.txt", b"a\nb\n")),
    "npy of 10^9 x 10^9": read("x.npy", npy("<f4", (10**9, 10**9)), "bytes, but 0 follow it", "header"),
    "npy of nothing x 10^19": read(
        "x.npy", beside(npy("<f8", (0, 10**19)), ".words.txt", b""), "header says", "header"
    ),
    "npy of nothing x 10^17": read("x.npy", beside(npy("<f8", (0, 10**17)), ".words.txt", b""), "dimensions"),
    "npy of a negative size": read("x.npy", npy("<f4", (-1, 2)), "header says", "header"),
    "npy of objects": read("x.npy", array([[{}, []]], dtype=object), "Python objects", "header"),
    "npy of a pickle in records": read(
        "x.npy",
        npy("", 0, header="{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,), }"),
        "Python objects",
        "header",
    ),
    "npy whose header is code": read(
        "x.npy", npy("", 0, header="{'descr': __import__('os').system('true')}"), "no .npy file or is damaged", "header"
    ),
    "npy of a nested header": read("x.npy", npy("", 0, header="(" * 60000), "no .npy file or is damaged", "header"),
    "npy of text": read("x.npy", array([["a"]]), "an array of numbers was expected", "header"),
    "npy of complex numbers": read("x.npy", array([[1j]]), "an array of numbers was expected", "header"),
    "npy cut": read("x.npy", MATRIX[:-1], "16 bytes, but 15 follow it", "header"),
    "npy of a later version": read("x.npy", b"\x93NUMPY\x09\x00" + MATRIX[8:], "version 9.0", "header"),
    "npy of three dimensions": read("x.npy", array(np.zeros((2, 2, 2))), "a matrix of n rows", "header"),
    "npy of NaN": read("x.npy", beside(array([[1, NAN]]), ".words.txt", b"a\n"), "row 0 ('a'), column 1"),
    "npy beyond float32": read("x.npy", beside(array([[1e39]]), ".words.txt", b"a\n"), "row 0 ('a'), column 0"),
    "npy without words": read("x.npy", MATRIX, "were expected beside it in x.words.txt"),
    "npy with a word too few": read("x.npy", beside(MATRIX, ".words.txt", b"a\n"), "1 words for 2 vectors"),
    "npy with a word twice": read("x.npy", beside(MATRIX, ".words.txt", b"a\na\n"), "'a' is there twice"),
    "npy with Shift-JIS words": read(
        "x.npy", beside(MATRIX, ".words.txt", b"a\n\x93\xfa\n"), "not valid UTF-8", "line 2", named="x.words.txt"
    ),
    "npz": read("x.npz", npz(labels=LABELS, vectors=MATRIX)),
    "npz with a password": read("x.npz", locked_npz(), "encrypted"),
    "npz without vectors": read("x.npz", npz(labels=LABELS), "it holds: labels"),
    "npz of objects": read(
        "x.npz", npz(labels=array(["a", {}], dtype=object), vectors=MATRIX), "Python objects", "array 'labels.npy'"
    ),
    "npz whose header lies": read(
        "x.npz", npz(labels=LABELS, vectors=npy("<f4", (10**9, 10**9))), "does not fit", "array 'vectors.npy'"
    ),
    "npz cut": read("x.npz", npz(labels=LABELS, vectors=MATRIX)[:-30], "no archive that can be read"),
    "npz of NaN": read("x.npz", npz(labels=LABELS, vectors=array([[1.0], [NAN]])), "row 1 ('b'), column 0"),
    "npz with a label twice": read("x.npz", npz(labels=array(["a", "a"]), vectors=MATRIX), "'a' is there twice"),
    "npz bomb": read(
        "x.npz",
        lambda path: path.write_bytes(npz(labels=LABELS, vectors=array(np.zeros((2, 2**23))))),
        "more than 200 times its size",
    ),
    "npz of anything else": read("x.zip", torch_checkpoint, "'labels' and 'vectors' were expected"),
    # JSON
    "json": read("x.json", b'{"label": ["a"], "x": [1.5]}'),
    "json of NaN": read("x.json", b'{"label": ["a"], "x": [NaN]}', "NaN is not JSON"),
    "json of infinity": read("x.json", b'{"label": ["a"], "x": [1e999]}', "row 0 ('a'), column 0"),
    "json of 400 digits": read(
        "x.json", b'{"label": ["a", "b"], "x": [1.5, 1' + b"0" * 400 + b"]}", "'x' holds a number"
    ),
    "json of 5000 digits": read("x.json", b'{"label": ["a"], "x": [1' + b"0" * 5000 + b"]}", "no JSON that can be"),
    "json cut": read("x.json", b'{"label": ["a"], "x": [1.5', "no JSON that can be read"),
    "json with a name twice": read("x.json", b'{"label": ["a"], "x": [1], "x": [2]}', "a name is there twice"),
    "json with a value too few": read("x.json", b'{"label": ["a", "b"], "x": [1]}', "'x' is no list of 2 values"),
    "json nested": read("x.json", b'{"label": [' + b"[" * 100000, "no JSON that can be read"),
    "json bomb": read(
        "x.json.gz",
        lambda path: path.write_bytes(gzip.compress(b'{"label": [[]' + b",[]" * (5 * 10**6) + b"]}")),
        "stands in a list",
    ),
    "json of texts as numbers": read("x.json", b'{"label": ["a"], "x": ["1"]}', "'x' is a dimension and holds no"),
    # fastText
    "a pickle": read("x.model", PICKLE, "can run any code when opened"),
    "a checkpoint of torch": read("checkpoint.pt", torch_checkpoint, "'labels' and 'vectors' were expected"),
    "nothing but zeros": read("x", bytes(1000), "not an embedkit file", "byte 0"),
    "random bytes": read("x", bytes(range(128, 256)) * 20, "not an embedkit file", "byte 0"),
}

TABLE["native files"] = {
    "native": load("x", royals),
    "nothing": load("x", b"", "0 bytes are too few"),
    "seven bytes": load("x", b"\0" * 7, "7 bytes are too few"),
    "a header of 2^63 bytes": load("x", struct.pack("<Q", 2**63) + b"{}", "not an embedkit file", "byte 0"),
    "a header of nothing": load("x", struct.pack("<Q", 4) + b"{{{{", "not an embedkit file", "header"),
    "a nested header": load("x", struct.pack("<Q", 10**5) + b'{"a":' * 20000, "not an embedkit file", "header"),
    "somebody else's safetensors": load("x", struct.pack("<Q", 2) + b"{}", "embedkit's metadata was exp", "header"),
    "cut by a byte": load("x", damaged(royals, lambda data: data[:-1]), "which was cut", "tensor "),
    "a byte more": load("x", damaged(royals, lambda data: data + b"\0"), "was cut or added to"),
    "cut in its header": load("x", damaged(royals, lambda data: data[:200]), "not an embedkit file", "byte 0"),
    "a bit of the header": load("x", damaged(royals, flipped(300)), "the header is damaged", "header"),
    "a bit of the vectors": load("x", damaged(royals, flipped(-30)), "checksum mismatch", "tensor "),
    "a later version": load("x", schema(2), "update embedkit"),
    "no vectors": load("x", without("Embedding", "vectors"), "its part 'vectors' is missing"),
    "no labels": load("x", without("Embedding", "labels"), "its part 'labels' is missing"),
    "vectors of another file": load("x", forged("Embedding", {"vectors": lambda v: v[:1]}), "2 labels for vectors of"),
    "vectors of doubles": load("x", forged("Embedding", {"vectors": lambda v: v.astype(np.float64)}), "are float64"),
    "vectors of NaN": load("x", forged("Embedding", {"vectors": lambda v: v * np.float32(NAN)}), "row 0 ('king')"),
    "norms of NaN": load("x", forged("Embedding", {"norms": lambda v: v * NAN}), "'norms' holds a value"),
    "texts that end elsewhere": load("x", forged("Embedding", {"ends/kind": lambda v: v * 9}), "do not fit their ends"),
    "a label with NUL": load(
        "x", forged("Embedding", {"labels": lambda v: np.where(v == 107, 0, v).astype(np.uint8)}), "NUL"
    ),
    "labels that are no UTF-8": load(
        "x", forged("Embedding", {"labels": lambda v: np.where(v == 107, np.uint8(255), v)}), "UTF-8"
    ),
    "a class of somebody's": load("x", forged("Embedding", {}, **{"class": "os.system"}), "holds a 'os.system'"),
    "no columns": load("x", forged("Embedding", columns=["missing"]), "column/missing"),
    # encoded corpora
    "an encoded corpus": load("x", encoded),
    "an encoded corpus cut": load("x", damaged(encoded, lambda data: data[:-4]), "which was cut", "tensor "),
    "an encoded corpus flipped": load("x", damaged(encoded, flipped(-20)), "checksum mismatch", "tensor "),
    "documents beyond the end": load("x", forged("EncodedCorpus", {"ends": lambda v: v + 1}), "do not fit together"),
    "counts that rise": load("x", forged("EncodedCorpus", {"counts": lambda v: v[::-1].copy()}), "ordered"),
    "ids of another width": load("x", forged("EncodedCorpus", {"ids": lambda v: v.astype(np.int64)}), "'ids' is int64"),
    "ids of no word": load("x", forged("EncodedCorpus", {"ids": lambda v: v + 1}), "no word of the vocabulary"),
    "an encoded corpus as vectors": read("x", encoded, "holds a EncodedCorpus, vectors were expected"),
}

TABLE["models"] = {
    "a latent model": load("x", autoencoder),
    "a latent model cut": load("x", damaged(autoencoder, lambda data: data[:-1]), "which was cut", "tensor "),
    "a latent model flipped": load("x", damaged(autoencoder, flipped(-40)), "checksum mismatch", "tensor "),
    "weights missing": load("x", without("Autoencoder", "weights/encoder.1.weight"), "weights are of other nets"),
    "weights of another width": load(
        "x", forged("Autoencoder", {"weights/encoder.1.weight": lambda v: v[:, :1].copy()}), "has shape"
    ),
    "weights of NaN": load(
        "x", forged("Autoencoder", {"weights/encoder.1.weight": lambda v: v * np.float32(NAN)}), "not finite"
    ),
    "weights of more nets": load("x", forged("Autoencoder", {"weights/evil.0": np.zeros(3)}), "of other nets"),
    "a class that is none": load(
        "x", forged("Autoencoder", {}, **{"class": "builtins.eval"}), "holds a 'builtins.eval'"
    ),
    "a net in a file": load("x", forged("Autoencoder", parameters={"encoder": "os.system"}), "a file holds no code"),
    "a parameter that is none": load("x", forged("Autoencoder", parameters={"run": "code"}), "not what was expected"),
    "10^9 units": load("x", forged("Autoencoder", parameters={"hidden": [10**9, 10**9]}), "not 1000000000"),
    "30000 x 30000 units": load(
        "x", forged("Autoencoder", parameters={"hidden": [30000, 30000]}), "fewer than its lay"
    ),
    "10^9 features": load("x", forged("Autoencoder", kind={"shape": [10**9], "given": [10**9]}), "its columns are not"),
    "a fingerprint of nothing": load("x", forged("Autoencoder", run=None), "not what was expected"),
    "a checkpoint": load("x", checkpoint),
    "a checkpoint with a class": load("x", torch_checkpoint, "not an embedkit file", "byte 0"),
    "a checkpoint that is a pickle": load("x", PICKLE, "not an embedkit file", "byte 0"),
    "a checkpoint beyond its end": load("x", forged("checkpoint", run={"epoch": 99}), "how far the training is"),
    "a latent model as vectors": read("x", autoencoder, "holds a Autoencoder, vectors were expected"),
    "a word2vec model": load("x", word2vec),
    "a word2vec model of fractions": load(
        "x", forged("Word2Vec", {"inputs": lambda v: v.astype(np.float64)}), "'inputs' is float64"
    ),
    "a word2vec model of 10^9 dimensions": load("x", forged("Word2Vec", parameters={"vector_size": 10**9}), "of shape"),
    "a word2vec model that runs code": load("x", forged("Word2Vec", parameters={"vector_size": "exec"}), "vector_size"),
    "a GloVe checkpoint": load("x", glove),
    "a GloVe checkpoint of 10^9 dimensions": load("x", forged("GloVe", parameters={"vector_size": 10**9}), "of shape"),
    "a GloVe checkpoint without words": load("x", without("GloVe", "labels"), "labels"),
    "a UMAP": load("x", umap),
    "a UMAP whose neighbours are no rows": load(
        "x", forged("UMAP", {"neighbours": lambda v: v + 99}), "none of the 12"
    ),
    "a UMAP without its map": load("x", without("UMAP", "map"), "its part 'map' is missing"),
    "a UMAP of NaN": load("x", forged("UMAP", {"map": lambda v: v * np.float32(NAN)}), "not finite"),
    "a UMAP flipped": load("x", damaged(umap, flipped(-40)), "checksum mismatch", "tensor "),
    "a UMAP with 10^9 neighbours": load("x", forged("UMAP", facts={"n_neighbors_": 10**9}), "neighbours"),
    "a fastText model": read("x.bin", fasttext()),
    "a fastText model cut": read("x.bin", fasttext()[:-1], "it is cut"),
    "a fastText model cut in its words": read("x.bin", fasttext()[:95], "the file is cut", "word 1 at byte 92"),
    "a fastText model with more": read("x.bin", fasttext(end=b"\0"), "1 bytes follow its end"),
    "a fastText model of 10^9 words": read("x.bin", fasttext(size=10**9), "is there twice", "word 4"),
    "a fastText model of -1 dimensions": read("x.bin", fasttext(dim=-1), "is no fastText model", "header"),
    "a supervised fastText model": read("x.bin", fasttext(nlabels=1), "supervised", "header"),
    "a quantised fastText model": read("x.bin", fasttext(quantised=1), "quantised"),
    "a fastText model of NaN": read("x.bin", fasttext(value=NAN), "is not a finite float32 number"),
    "a fastText model with a word twice": read("x.bin", fasttext(words=(b"a", b"a")), "'a' is there twice", "word 2"),
    "a fastText model of endless n-grams": read(
        "x.bin", fasttext(words=(b"a" * 60000, b"b"), ngrams=(1, 10**6)), "n-grams"
    ),
    "a gensim save without trust": read("x.model", PICKLE, "can run any code when opened"),
    "a gensim save that is garbage": Bad("trusted", "x.model", b"\x80\x04garbage", "gensim does not load it"),
    "a gensim save of something else": Bad("trusted", "x.model", b"\x80\x04K\x01.", "gensim"),
    "counts": Bad("counts", "x.npz", counts),
    "counts cut": Bad("counts", "x.npz", damaged(counts, lambda data: data[:-30]), "no archive that can be read"),
    "counts flipped": Bad(
        "counts", "x.npz", damaged(counts, lambda data: flipped(data.find(b"data.npy") + 200)(data)), "CRC"
    ),
    "counts without words": Bad("counts", "x.npz", npz(labels=LABELS), "part 'data' is missing"),
    "counts with a password": Bad("counts", "x.npz", locked_npz(), "part 'data' is missing"),
    "counts that are a pickle": Bad("counts", "x.npz", PICKLE, "no archive that can be read"),
}

WIDE_CELL = b"name,note,x\n" + b"".join(b"w%d,n,1\n" % row for row in range(20000)) + b"w,%s,1\n" % (b"n" * 10**6)

TABLE["tables"] = {
    "csv": read("x.csv", b"name,x,y\na,1,2\nb,3,4\n"),
    "tsv": read("x.tsv", b"name\tx\ty\na\t1\t2\nb\t3\t4\n"),
    "text among numbers": read(
        "x.csv", b"name,x\na,1\nb,2\nc,oops\n", "column 'x' holds numbers, and here 'oops'", "line 4"
    ),
    "a field too few": read("x.csv", b"name,x,y\na,1,2\nb,3\n", "2 fields where the first line has 3", "line 3"),
    "a field too many": read("x.csv", b"name,x,y\na,1,2\nb,3,4,5\n", "4 fields where the first line has 3", "line 3"),
    "no value": read("x.csv", b"name,x\na,1\nb,\n", "no value in column 'x'", "line 3"),
    "NaN": read("x.csv", b"name,x\na,1\nb,NaN\n", "no value in column 'x'", "line 3"),
    "infinity": read("x.csv", b"name,x\na,1\nb,inf\n", "infinite or beyond float32", "line 3"),
    "1e500": read("x.csv", b"name,x\na,1\nb,1e500\n", "infinite or beyond float32", "line 3"),
    "1_0.5": read("x.csv", b"name,x\na,1\nb,2\nc,1_0.5\n", "and here '1_0.5'", "line 4"),
    "a decimal comma": read("x.csv", b"name;x\na;1\nb;2\nc;1,5\n", "and here '1,5'", "line 4"),
    "a quotation mark never closed": read("x.csv", b'name,x\n"a,1\nb,2\n', "never closed", "line 2"),
    "a quotation mark inside": read("x.csv", b'name,x\na"b"c,1\n', "quotation mark stands inside", "line 2"),
    "a label twice": read("x.csv", b"name,x\na,1\nb,2\na,3\n", "'a' is there twice, on lines 2 and 4", "line 4"),
    "a label with a line break": read("x.csv", b'name,x\n"a\nb",1\n', "holds a line break", "line 2"),
    "no label": read("x.csv", b"name,x\na,1\n,2\n", "label", "line 3"),
    "a name twice": read("x.csv", b"name,x,x\na,1,2\n", "'x'"),
    "a header only": read("x.csv", b"name,kind,x\n", "holds a header and no rows"),
    "NUL": read("x.csv", b"name,x\na,1\nb\0,2\n", "holds a NUL at byte 1 of the line", "line 3"),
    "Shift-JIS": read("x.csv", "name,x\n日本,1\n".encode("shift_jis"), "is not valid UTF-8", "line 2"),
    "UTF-16": read("x.csv", "name,x\na,1\n".encode("utf-16"), "UTF-16", "byte 0"),
    "old line ends": read("x.csv", b"name,x\ra,1\rb,2\r", "carriage return ends no line", "line 1"),
    "half an emoji": read("x.csv", b"name,x\na,1\n" + FLAG[:3] + b",2\n", "is not valid UTF-8", "line 3"),
    "100 MB of spaces": read("x.csv", repeated(b"name,x\n", b" ", 10**8), "longer than 4 MiB", "line 2"),
    "100 MB of line feeds": read("x.csv", repeated(b"name,x\n", b"\n", 10**8), "empty lines in a row"),
    "100 MB in quotation marks": read(
        "x.csv", repeated(b'name,x\n"', b"a\n", 5 * 10**7), "longer than 4 MiB", "line 2"
    ),
    "a bomb of rows": read("x.csv.gz", bomb(b"name,x\n", b"a,1\n"), "unpacks to more than 200 times its size"),
    "one very long text": read("x.csv", WIDE_CELL, "column 'note'"),
    "parquet": read("x.parquet", parquet),
    "parquet cut": read("x.parquet", damaged(parquet, lambda data: data[:-9]), "is damaged or no Parquet file"),
    "parquet without an end": read("x.parquet", b"PAR1", "is damaged or no Parquet file"),
    "parquet whose end lies": read(
        "x.parquet", b"PAR1" + bytes(20) + struct.pack("<I", 2**31 - 1) + b"PAR1", "is damaged or no Parquet file"
    ),
    "parquet of noise": read(
        "x.parquet", damaged(parquet, lambda data: data[:4] + b"\xff" * 50 + data[54:]), "x.parquet"
    ),
}

TABLE["pictures"] = {
    "idx": Bad("pictures", "x", idx(8, (2, 2, 2), bytes(8))),
    "idx whose header lies high": Bad(
        "pictures", "x", idx(8, (3, 2, 2), bytes(8)), "is cut: values of shape", "byte 24"
    ),
    "idx whose header lies low": Bad(
        "pictures", "x", idx(8, (1, 2, 2), bytes(8)), "goes on after its values", "byte 20"
    ),
    "idx of 10^9 pixels": Bad("pictures", "x", idx(8, (10**3, 10**3, 10**3), b""), "is cut: values of", "byte 16"),
    "idx of 10^9 x 10^9 x 10^9": Bad("pictures", "x", idx(8, (10**9,) * 3, b""), "is cut: values of", "byte 16"),
    "idx of nothing x 10^19": Bad("pictures", "x", idx(8, (0, 2**32 - 1, 2**32 - 1), b""), "header", ""),
    "packed idx of 10^9 x 10^9": Bad(
        "pictures", "x.gz", gzip.compress(idx(8, (10**9, 9, 10**9), b"")), "200 times", "header"
    ),
    "packed idx bomb": Bad("pictures", "x.gz", bomb(idx(8, (1, 2, 2), bytes(4)), b"\0"), "goes on after", "byte 20"),
    "idx of an unknown type": Bad("pictures", "x", idx(7, (1, 2, 2), bytes(4)), "is no IDX file", "byte 0"),
    "idx of no dimensions": Bad("pictures", "x", idx(8, (), b""), "says it has 0 dimensions", "byte 3"),
    "idx of 255 dimensions": Bad("pictures", "x", b"\0\0\x08\xff" + bytes(99), "says it has 255 dimensions", "byte 3"),
    "idx cut in its header": Bad("pictures", "x", idx(8, (2, 2, 2), b"")[:10], "ends inside its header", "byte 10"),
    "idx of NaN": Bad("pictures", "x", idx(13, (1,), struct.pack(">f", NAN)), "value 0 is not finite", "value 0"),
    "idx of one dimension": Bad("pictures", "x", idx(8, (4,), bytes(4)), "pixels have the shape"),
    "idx and too few classes": Bad(
        "pictures",
        "a-images-idx3-ubyte",
        lambda path: (
            path.write_bytes(idx(8, (2, 2, 2), bytes(8))),
            path.with_name("a-labels-idx1-ubyte").write_bytes(idx(8, (1,), bytes(1))),
        ),
        "holds 1 classes for the 2 pictures",
        named="a-labels-idx1-ubyte",
    ),
    "nothing": Bad("pictures", "x", b"", "begins with nothing", "byte 0"),
    "text": Bad("pictures", "x.png", b"no picture\n", "is no IDX file", "byte 0"),
    "npy of floats": Bad("pictures", "x.npy", array(np.zeros((1, 2, 2))), "pixels are uint8"),
    "npy of no pixels": Bad("pictures", "x.npy", array(np.zeros((1, 0, 2), np.uint8)), "at least one pixel"),
    "npy of objects": Bad("pictures", "x.npy", array([[[{}]]], dtype=object), "Python objects", "header"),
    "a folder": Bad("pictures", "x", files(a__png=png(), b__png=png())),
    "an empty folder": Bad("pictures", "x", files(readme__txt=b""), "holds no pictures"),
    "a picture cut": Bad("pictures", "x", files(a__png=png(), b__png=png()[:-20]), "damaged", named="x/b.png"),
    "a picture flipped": Bad(
        "pictures", "x", files(a__png=png(), b__png=flipped(45)(png())), "damaged", named="x/b.png"
    ),
    "text called a picture": Bad("pictures", "x", files(a__png=b"text"), "is no picture", named="x/a.png"),
    "a picture of 10^9 x 10^9": Bad("pictures", "x", files(a__png=png(10**9, 10**9)), "x/a.png", named="x/a.png"),
    "a picture of 60000 x 60000": Bad("pictures", "x", files(a__png=png(60000, 60000)), "more pixels", named="x/a.png"),
    "pictures of two sizes": Bad(
        "pictures", "x", files(a__png=png(), b__png=png(2, 1)), "the first is 2 x 2", named="x/b.png"
    ),
    "pictures in and beside folders": Bad(
        "pictures", "x", files(a__png=png(), c_in_b__png=png()), "which is the class"
    ),
    "an svg": Bad(
        "pictures", "x", files(a__png=b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "no picture", named="x/a.png"
    ),
}

ZIP = io.BytesIO()
with zipfile.ZipFile(ZIP, "w") as _archive:
    _archive.writestr("text8", "the king rules")

TABLE["corpora"] = {
    "text": Bad("corpus", "x.txt", b"the king rules\n"),
    "half an emoji at the end": Bad("corpus", "x.txt", b"the king\nrules " + FLAG[:3], "not valid UTF-8", "line 2"),
    "Latin-1": Bad("corpus", "x.txt", b"the na\xefve king\n", "not valid UTF-8 at byte 6", "line 1"),
    "Shift-JIS": Bad("corpus", "x.txt", b"the king\n" + SHIFT_JIS, "not valid UTF-8", "line 2"),
    "UTF-16": Bad("corpus", "x.txt", "the king\n".encode("utf-16"), "UTF-16"),
    "an overlong slash": Bad("corpus", "x.txt", b"\xc0\xaf", "not valid UTF-8", "line 1"),
    "a surrogate": Bad("corpus", "x.txt", b"a \xed\xa0\x80", "not valid UTF-8", "line 1"),
    "NUL": Bad("corpus", "x.txt", b"the king\nthe qu\0een\n", "NUL", "line 2"),
    "NUL, read without encoding": Bad("lines", "x.txt", b"the king\nthe qu\0een\n", "NUL", "line 2"),
    "100 MB of spaces": Bad("corpus", "x.txt", SPACES),
    "100 MB of spaces, read without encoding": Bad("lines", "x.txt", SPACES),
    "200 MB in a line": Bad("lines", "x.txt", hole(b"a ", 2 * 10**8), "longer than 100 MiB", "line 1"),
    "a long word": Bad("corpus", "x.txt", b"a" * 65537, "longer than 64 KiB"),
    "a bomb": Bad("corpus", "x.gz", bomb(b"", b"the king rules\n"), "unpacks to more than 200 times its size"),
    "gzip cut": Bad("corpus", "x.gz", gzip.compress(b"the king rules\n")[:-3], "gzip data is cut or damaged"),
    "gzip flipped": Bad("corpus", "x.gz", damaged(gzip.compress(b"the king rules\n"), flipped(-6)), "cut or damaged"),
    "gzip followed by text": Bad("corpus", "x.gz", gzip.compress(b"the king\n") + b"more", "cut or damaged"),
    "bzip2 cut": Bad("corpus", "x.bz2", bz2.compress(b"the king rules\n")[:-3], "bzip2 data is cut or damaged"),
    "xz flipped": Bad("corpus", "x.xz", damaged(lzma.compress(b"the king\n"), flipped(-30)), "xz data is cut or dama"),
    "a zip archive": Bad("corpus", "x.zip", ZIP.getvalue(), "is a zip archive: unpack it first", "byte 0"),
    "JSON lines with a cut line": Bad(
        "corpus", "x.jsonl", b'{"text": "the king"}\n{"text": "the', "not a JSON ob", "line 2"
    ),
    "JSON lines without the field": Bad("corpus", "x.jsonl", b'{"body": "the king"}\n', "(it has: 'body')", "line 1"),
    "JSON lines of numbers": Bad("corpus", "x.jsonl", b'{"text": "a"}\n{"text": 5}\n', "neither text nor a", "line 2"),
    "JSON lines with a surrogate": Bad("corpus", "x.jsonl", b'{"text": "a \\ud800 b"}\n', "Unicode"),
    "JSON lines, nested": Bad(
        "corpus", "x.jsonl", b'{"text": "a"}\n' + b"[" * 10**5 + b"\n", "not a JSON ob", "line 2"
    ),
    "an empty folder": Bad("corpus", "x", files(__hidden=b"a"), "is a folder without files"),
    "a folder with a bad file": Bad("corpus", "x", files(a=b"fine\n", b=b"\xff\n"), "UTF-8", "line 1", named="x/b"),
    # questions, pairs, categories
    "questions": Bad("questions", "x.txt", b": capitals\nAthens Greece Paris France\n"),
    "a question of three words": Bad("questions", "x.txt", b": a\na b c d\na b c\n", "found 3", "line 3"),
    "no questions": Bad("questions", "x.txt", b": a\n", "holds no questions"),
    "questions in Shift-JIS": Bad("questions", "x.txt", b": a\n" + SHIFT_JIS, "not valid UTF-8", "line 2"),
    "questions that are 100 MB of spaces": Bad("questions", "x.txt", SPACES, "is longer than 1 MiB", "line 1"),
    "questions cut in an emoji": Bad("questions", "x.txt", b"a b c " + FLAG[:2], "not valid UTF-8", "line 1"),
    "questions with NUL": Bad("questions", "x.txt", b"a b c \0d\n", "NUL", "line 1"),
    "questions in UTF-16": Bad("questions", "x.txt", "a b c d\n".encode("utf-16"), "not valid UTF-8", "line 1"),
    "answers that are missing": Bad("questions", "x.questions", b"a b c\n", "cannot be read", named="x.answers"),
    "answers too few": Bad(
        "questions",
        "x.questions",
        beside(b"a b c\nd e f\n", ".answers", b"s d\n"),
        "has 1 answers for the 2",
        named="x.answers",
    ),
    "BATS without answers": Bad("questions", "x", files(a__txt=b"king\n"), "answers", "line 1", named="x/a.txt"),
    "pairs": Bad("pairs", "x.txt", b"king queen 7.5\n"),
    "a pair without a score": Bad("pairs", "x.txt", b"king queen 7.5\nking man\n", "expected word, word", "line 2"),
    "a score of NaN": Bad("pairs", "x.txt", b"a b 1\nking queen nan\n", "a finite number as score", "line 2"),
    "a score of 1e500": Bad("pairs", "x.txt", b"a b 1\nking queen 1e500\n", "a finite number as score", "line 2"),
    "a score of 1_0.5": Bad("pairs", "x.txt", b"a b 1\nking queen 1_0.5\n", "a finite number as score", "line 2"),
    "no pairs": Bad("pairs", "x.txt", b"# nothing\n", "holds no pairs"),
    "a pair with an escape": Bad("pairs", "x.txt", b"a b 1\n\x1b[2J b\n", "\\x1b[2J", "line 2"),
    "categories": Bad("categories", "x.txt", b"cat\tanimal\n"),
    "a word without category": Bad("categories", "x.txt", b"cat\tanimal\ndog\n", "a word and its category", "line 2"),
    "a word twice in a category": Bad("categories", "x.txt", b"cat a\ncat a\n", "a second time", "line 2"),
    "an outlier without a group": Bad("outliers", "x.txt", b"one\n", "two words or more"),
}

TABLE["command line"] = {
    "words": Bad("similar", "x.txt", b"king\nqueen\n"),
    "words in Shift-JIS": Bad("similar", "x.txt", b"king\n" + SHIFT_JIS, "not valid UTF-8", "line 2"),
    "words that are 100 MB of spaces": Bad("similar", "x.txt", SPACES, "is longer than 1 MiB", "line 1"),
    "words in a packed file": Bad("similar", "x.gz", gzip.compress(b"king\n"), "UTF-8", "line 1"),
    "words that are not there": Bad("similar", "x.txt", lambda _: None, "cannot be read: No such file"),
    "a folder of words": Bad("similar", "x", lambda path: path.mkdir(), "cannot be read: Is a directory"),
    "questions of two words": Bad(
        "analogy", "x.txt", b"king man woman\nking man\n", "expected 3 words, found 2", "line 2"
    ),
    "vectors cut": Bad("info", "x.vec", b"2 2\nking 0.5 1\n", "says 2 rows, the file has 1", "line 1"),
    "vectors that are a pickle": Bad("info", "x.model", PICKLE, "can run any code when opened"),
    "an escape in the name": Bad("info", "x\x1b[2J.vec", b"", "is empty", named="x\\x1b[2J.vec"),
}

# -- one family, in a process of its own -------------------------------------------------------------------------------


class Ended(Exception):
    """How the program ended, and what it said."""


def program(*args: str) -> Callable[[Path], object]:
    """The program, with a file at the end of its arguments."""

    def run(path: Path) -> None:
        (entry,) = entry_points(group="console_scripts", name="embedkit")
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = entry.load()([*args, str(path)])
        if code:
            assert code == 4, f"exit {code}: {err.getvalue()}"
            raise Ended(err.getvalue().removesuffix("\n").removeprefix("embedkit: "))

    return run


def vectors_of(path: Path, **how: Any) -> None:
    import embedkit

    embedkit.read(path, **how)


def whole(path: Path) -> None:
    import embedkit

    embedkit.load(path, verify=True)


def pictures(path: Path) -> None:
    from embedkit import images

    images.read(path)


def corpus(path: Path) -> None:
    from embedkit import Corpus

    Corpus.from_file(path).encode(cache=False)


def lines(path: Path) -> None:
    from embedkit import Corpus

    for _ in Corpus.from_file(path):
        pass


def cooccurrences(path: Path) -> None:
    from embedkit.words.cooccurrence import Cooccurrence

    Cooccurrence.load(path)


def evaluated(name: str) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        from embedkit import evaluation

        getattr(evaluation, f"read_{name}")(path)

    return run


READERS: dict[str, Callable[[Path], object]] = {
    "read": vectors_of, "trusted": partial(vectors_of, trust=True), "load": whole, "pictures": pictures,
    "corpus": corpus, "lines": lines, "counts": cooccurrences, "questions": evaluated("questions"),
    "pairs": evaluated("pairs"), "categories": evaluated("categories"), "outliers": evaluated("outliers"),
    "similar": program("similar", "-i"), "analogy": program("analogy", "-i"), "info": program("info"),
}  # fmt: skip


def kilobytes(name: str) -> int:
    found = re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1])


def told_of(case: Bad, path: Path) -> dict[str, Any]:
    """What came of reading a file, and what that cost."""
    kinds: list[str] = []
    message = ""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak of memory begins anew
        before, begun = kilobytes("VmRSS"), time.process_time()
        try:
            READERS[case.reader](path)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is told of
            kinds, message = [cls.__name__ for cls in type(error).__mro__], str(error)
    seconds, mebibytes = time.process_time() - begun, (kilobytes("VmHWM") - before) / 1024
    return {"kinds": kinds, "message": message, "seconds": seconds, "mebibytes": mebibytes}


def main(family: str, folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST, _MOST))
    os.chdir(folder)
    found: dict[str, Any] = {}
    # What is right comes first: what is imported and compiled for it is no cost of what is wrong.
    cases = sorted(enumerate(TABLE[family].items()), key=lambda item: bool(item[1][1].words))
    for number, (title, case) in cases:
        path = folder / str(number) / case.name
        path.parent.mkdir()
        case.build(path) if callable(case.build) else path.write_bytes(case.build)
        found[title] = {"path": str(path), **told_of(case, path)}
    found["ran"] = (folder / "ran.it").exists()
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
else:
    import pytest

    CASES = [(family, title) for family, cases in TABLE.items() for title in cases]

    @pytest.fixture(scope="module")
    def told(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
        """What came of a family's files; each family is read once."""

        @cache
        def of(family: str) -> dict[str, Any]:
            folder = tmp_path_factory.mktemp("bad")
            ran = subprocess.run(
                [sys.executable, __file__, family, str(folder)], capture_output=True, text=True, timeout=300
            )
            assert ran.returncode == 0, ran.stderr[-4000:]
            found: dict[str, Any] = json.loads(ran.stdout)
            return found

        return of

    @pytest.mark.parametrize(("family", "title"), CASES, ids=[" ".join(case) for case in CASES])
    def test_what_is_wrong_is_told_in_one_line_and_costs_little(
        family: str, title: str, told: Callable[[str], dict[str, Any]]
    ) -> None:
        case, came = TABLE[family][title], told(family)[title]
        message = came["message"]
        if not case.words:  # what is right may take its time: kernels are compiled for it where none are cached
            assert not message
            return
        assert came["seconds"] < SECONDS
        assert came["mebibytes"] < MEBIBYTES
        expected = "Ended" if family == "command line" else case.error
        assert came["kinds"][:1] == [expected], message
        assert expected == "Ended" or "EmbedkitError" in came["kinds"]
        assert message.isprintable()
        assert case.words in message
        named = case.named or case.name
        assert named in message
        if case.place:
            assert case.place in message.partition(named)[2]

    @pytest.mark.parametrize("family", TABLE)
    def test_no_file_ran_code(family: str, told: Callable[[str], dict[str, Any]]) -> None:
        assert told(family)["ran"] is False

    def test_the_pickle_would_run_code_if_anything_opened_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import pickle

        monkeypatch.chdir(tmp_path)
        pickle.loads(PICKLE).close()  # noqa: S301
        assert (tmp_path / "ran.it").exists()

    def test_the_table_is_large_enough() -> None:
        assert sum(bool(case.words) for cases in TABLE.values() for case in cases.values()) >= 110
