"""A small file of every format that embedkit reads, what reads it, and what must be true of whatever is read.

Loaded by the tests that damage such files: `test_sweeps` everywhere, one byte at a time, `test_fuzz` at random.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import embedkit
from embedkit import Corpus, Embedding, images
from embedkit.errors import EmbedkitError
from embedkit.evaluation import read_categories, read_pairs, read_questions
from embedkit.formats.writing import write
from embedkit.text.encoded import EncodedCorpus
from embedkit.words.cooccurrence import Cooccurrence


class Sample(NamedTuple):
    """A file and how it is read.

    Attributes
    ----------
    content
        Its bytes.
    name
        What it is called.
    read
        What reads it.
    sealed
        Whether checksums guard it: what is read of it, whatever was done to it, is what was written.
    cost
        How many times slower than the others it is read, about.
    """

    content: bytes
    name: str
    read: Callable[[Path], Any]
    sealed: bool = False
    cost: int = 1


EMBEDDING = Embedding(
    ["king", "queen", "naïve", "日本"],
    [[0.5, 1.0, -2.0], [0.25, 2.0, 0.0], [1e-3, -1e3, 3.5], [7.0, 8.0, 9.5]],
    columns={"kind": ["royal", "royal", "", "place"], "count": [4, 3, 2, 1], "share": [0.5, np.nan, 1.0, -1.0]},
    provenance={"made_by": "hand"},
)
PLAIN = Embedding(EMBEDDING.labels, EMBEDDING.vectors)


def made(build: Callable[[Path], object], name: str = "x") -> bytes:
    """The bytes of the file that `build` makes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        build(path)
        return path.read_bytes()


def written(name: str, embedding: Embedding = PLAIN, **how: Any) -> bytes:
    return made(lambda path: write(embedding, path, **how), name)


def fasttext() -> bytes:
    """A fastText model of two words, by hand."""
    floats, args = struct.pack("<2f", 0.5, 1.0), (2, 5, 5, 1, 5, 1, 1, 2, 3, 3, 6, 100)
    return b"".join([
        struct.pack("<2i", 793712314, 12), struct.pack("<12id", *args, 1e-4), struct.pack("<3i2q", 2, 2, 0, 10, -1),
        *(word + b"\0" + struct.pack("<qb", 5, 0) for word in (b"king", b"queen")),
        struct.pack("<?2q", 0, 5, 2), floats * 5, struct.pack("<?2q", 0, 2, 2), floats * 2,
    ])  # fmt: skip


def png() -> bytes:
    from PIL import Image

    held = io.BytesIO()
    Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(held, format="PNG")
    return held.getvalue()


def npy(path: Path) -> Embedding:
    path.with_suffix(".words.txt").write_text("\n".join(PLAIN) + "\n", encoding="utf-8")
    return embedkit.read(path)


def picture(path: Path) -> Any:
    """The one picture in the folder of a file, and nothing else in it."""
    return images.read(path.parent)


def documents(path: Path) -> list[list[str]]:
    """Read both ways, which must agree."""
    read = list(Corpus(path))
    encoded = list(Corpus(path).encode(cache=False))
    assert encoded == read
    return read


def vectors(path: Path) -> Any:
    return embedkit.read(path)


def counted(path: Path) -> None:
    Cooccurrence.count(Corpus(["the king rules", "the queen rules"]), min_count=1).save(path)


TEXT = written("x.vec")
CSV = written("x.csv", EMBEDDING)
LINES = "the king rules\nthe naïve queen, 日本\n\nrules\n".encode()
JSON_LINES = b'{"text": "the king", "id": 1}\n{"text": ["a", "\\u65e5"], "id": 2}\n'
IDX = b"\0\0\x08\x03" + struct.pack(">3I", 2, 2, 3) + bytes(range(12))

SAMPLES: dict[str, Sample] = {
    "native": Sample(made(EMBEDDING.save), "x", embedkit.load, True),
    "native int8": Sample(made(partial(PLAIN.save, storage="int8")), "x", embedkit.load, True),
    "encoded corpus": Sample(made(lambda path: Corpus(["a b a", "b c"]).encode(path)), "x", embedkit.load, True),
    "counts": Sample(made(counted, "x.npz"), "x.npz", Cooccurrence.load, True, 2),
    "word2vec text": Sample(TEXT, "x.vec", vectors),
    "word2vec text, gzip": Sample(gzip.compress(TEXT, mtime=0), "x.vec.gz", vectors, True),
    "word2vec text, bzip2": Sample(bz2.compress(TEXT), "x.vec.bz2", vectors, True),
    "word2vec text, xz": Sample(lzma.compress(TEXT), "x.vec.xz", vectors, True),
    "GloVe text": Sample(written("x.txt", format="glove"), "x.txt", vectors),
    "word2vec binary": Sample(written("x.bin"), "x.bin", vectors),
    "npy": Sample(written("x.npy"), "x.npy", npy),
    "npz": Sample(written("x.npz", EMBEDDING), "x.npz", vectors, True, 2),
    "csv": Sample(CSV, "x.csv", vectors, cost=2),
    "csv, gzip": Sample(gzip.compress(CSV, mtime=0), "x.csv.gz", vectors, True, 2),
    "tsv": Sample(written("x.tsv", EMBEDDING), "x.tsv", vectors, cost=2),
    "json": Sample(written("x.json", EMBEDDING), "x.json", vectors),
    "parquet": Sample(written("x.parquet", PLAIN), "x.parquet", vectors, cost=10),
    "fastText": Sample(fasttext(), "x.bin", vectors, cost=10),
    "idx": Sample(IDX, "x", images.read),
    "idx, gzip": Sample(gzip.compress(IDX, mtime=0), "x.gz", images.read, True),
    "png": Sample(png(), "x.png", picture, cost=2),
    "text": Sample(LINES, "x.txt", documents, cost=10),
    "JSON lines": Sample(JSON_LINES, "x.jsonl", documents, cost=4),
    "questions": Sample(b": capitals\nAthens Greece Paris France\na b c d\n", "x.txt", read_questions),
    "pairs": Sample("king\tqueen\t7.5\nnaïve\tman\t-1e1\n".encode(), "x.txt", read_pairs),
    "categories": Sample(b"# words\ncat\tanimal\noak\tplant\n", "x.txt", read_categories),
}


def same(a: Any, b: Any) -> bool:
    """Whether two things that were read are alike; of Embeddings labels, vectors and columns."""
    if isinstance(a, Embedding):
        return bool(a == b)
    if isinstance(a, EncodedCorpus):
        return bool(a.fingerprint() == b.fingerprint())
    if isinstance(a, Cooccurrence):
        return bool(a.vocabulary == b.vocabulary and (a.matrix != b.matrix).nnz == 0)
    if isinstance(a, images.Images):
        return np.array_equal(a.pixels, b.pixels)
    return bool(a == b)


def check_form(found: Any, folder: Path) -> None:
    """Fail unless what was read has the form that such things have, and can be saved and read again."""
    if isinstance(found, images.Images):
        found = found.to_embedding()
    if isinstance(found, Embedding):
        assert np.isfinite(found.vectors).all()
        assert found.vectors.shape == found.shape == (len(found.labels), found.width)
        assert len(set(found.labels)) == len(found)
        assert not any(mark in label for label in found for mark in "\0\n\r")
        found.save(folder / "again")
        assert embedkit.load(folder / "again", verify=True) == found
    elif isinstance(found, EncodedCorpus):
        found.save(folder / "again")
        assert same(embedkit.load(folder / "again", verify=True), found)
    elif isinstance(found, list | dict):
        assert "\0" not in "".join(texts_in(found)).encode("utf-8").decode("utf-8")


def texts_in(found: Any) -> Iterator[str]:
    """All texts in lists and dictionaries."""
    if isinstance(found, str):
        yield found
    elif isinstance(found, dict):
        yield from texts_in([*found, *found.values()])
    elif isinstance(found, list | tuple):
        for item in found:
            yield from texts_in(item)


def tried(sample: Sample, content: bytes, path: Path) -> Any:
    """What is read of other content; `None` where it is refused, in one line that names the file."""
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*may have been cut")  # which is all that can be said of some cuts
        try:
            return sample.read(path)
        except EmbedkitError as error:
            told = str(error)
    assert told.isprintable(), told
    assert any(name in told for name in (str(path), str(path.parent), path.with_suffix(".words.txt").name)), told
    return None
