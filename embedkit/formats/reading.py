"""One reader for files of vectors, whatever format they are in: their content tells."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Literal

from embedkit.embedding import Embedding
from embedkit.errors import BadFile, BadInput
from embedkit.formats.native import load_embedding

if TYPE_CHECKING:
    from embedkit.formats.arrays import Words
    from embedkit.formats.collecting import Dtype, Duplicates, Errors

Kind = Literal[
    "word2vec binary", "text", "npy", "npz", "fasttext", "pickle", "table", "json", "images", "unknown"
]  # fmt: skip

_KNOWN = "word2vec, fastText, GloVe, .npy, .npz, CSV, TSV, JSON, Parquet, IDX"
_HEADER_LIMIT = 16 * 2**20  # bytes; as in embedkit.files.store


def read(
    path: str | os.PathLike[str],
    *,
    limit: int | None = None,
    dtype: Dtype = "float32",
    errors: Errors = "strict",
    duplicates: Duplicates = "refuse",
    trust: bool = False,
    words: Words | None = None,
) -> Embedding:
    r"""Read vectors from a file of any format that embedkit knows.

    Its content tells which: embedkit's own, word2vec text and binary, fastText .vec and .bin, GloVe text, numpy's .npy
    and .npz, CSV and TSV (`read_table`), JSON as `write` makes it, Parquet, IDX images, gensim's own saves. Text,
    tables, word2vec binary and IDX may be packed by gzip, bzip2 or xz. The name counts in one case only: a first line
    with a comma in a file called .csv is that of a table.

    Parameters
    ----------
    path
        The file.
    limit
        Only the first so many rows.
    dtype
        How values are kept: ``"float32"``, or ``"float16"`` in half the memory. What a native file, .npy or .npz holds
        smaller stays so.
    errors
        In word2vec and GloVe files ``"strict"`` refuses words that are not UTF-8, ``"replace"`` puts U+FFFD in the
        place of what cannot be read; provenance says how many words that were.
    duplicates
        In word2vec and GloVe files, ``"refuse"`` a word that is there twice, or keep the ``"first"``; provenance says
        how many were dropped. `limit` counts rows of the file.
    trust
        Open gensim's own saves, which are Python pickles and can run any code.
    words
        For .npy, the labels or a UTF-8 file of them, one a line; by default ``NAME.words.txt`` beside ``NAME.npy``.

    Returns
    -------
    Embedding
        n labels x d dimensions; provenance says the file's name, size, SHA-256 (if all was read) and format. Native
        files and .npy are memory-mapped; others are read into memory (``embedkit convert`` makes them native once).

    Raises
    ------
    BadFile
        In one line: the file, the place in it, what is wrong, what was expected.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w") as file:
    ...     _ = file.write("king 0.5 1\nqueen 0.25 2\n")
    ...     file.flush()
    ...     emb = read(file.name)
    >>> emb.labels[1], emb["king"].tolist(), emb.provenance["format"]
    ('queen', [0.5, 1.0], 'GloVe text')
    """
    if is_native(path):
        embedding = load_embedding(path)
        embedding = embedding if limit is None else embedding.head(limit)
        return embedding if dtype == "float32" else embedding.with_storage(dtype)
    from embedkit.formats.collecting import check_choices

    check_choices(limit, dtype, errors, duplicates)
    kind = _sniff(path)
    if words is not None and kind != "npy":
        raise BadInput("words go with a .npy file; this one has its own")
    if kind == "text":
        from embedkit.formats.text_vectors import read_text

        return read_text(path, limit=limit, dtype=dtype, errors=errors, duplicates=duplicates)
    if kind == "word2vec binary":
        from embedkit.formats.binary_vectors import read_binary

        return read_binary(path, limit=limit, dtype=dtype, errors=errors, duplicates=duplicates)
    embedding = _read_other(path, kind, limit, trust, words)
    return embedding if dtype == "float32" else embedding.with_storage(dtype)


def _read_other(
    path: str | os.PathLike[str], kind: Kind, limit: int | None, trust: bool, words: Words | None
) -> Embedding:
    if kind == "npy":
        from embedkit.formats.arrays import read_npy

        return read_npy(path, limit=limit, words=words)
    if kind == "npz":
        from embedkit.formats.arrays import read_npz

        return read_npz(path, limit=limit)
    if kind == "fasttext":
        from embedkit.formats.fasttext import read_fasttext

        return read_fasttext(path, limit=limit)
    if kind == "pickle":
        from embedkit.formats.gensim_saves import read_gensim

        return read_gensim(path, limit=limit, trust=trust)
    if kind == "table":
        from embedkit.formats.tables import read_table

        return read_table(path, limit=limit)
    if kind == "json":
        from embedkit.formats.json_columns import read_json

        return read_json(path, limit=limit)
    if kind == "images":
        from embedkit import images

        made: Embedding = images.read(path).to_embedding()
        return made if limit is None else made.head(limit)
    raise BadFile(path, f"not an embedkit file, nor another that embedkit reads vectors from ({_KNOWN})", "byte 0")


def is_native(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as embedkit's own do; False where it cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116  # before opening: a pipe would make us wait
            return False
        with Path(path).open("rb") as stream:
            start = stream.read(9)
    except (OSError, ValueError):
        return False
    return len(start) == 9 and start[8:] == b"{" and struct.unpack("<Q", start[:8])[0] <= _HEADER_LIMIT


def is_table(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a table that `embedkit.formats.tables.read_table` reads: CSV, TSV, Parquet."""
    return not is_native(path) and _sniff(path) == "table"


def _sniff(path: str | os.PathLike[str]) -> Kind:
    """What a file that is not embedkit's own is."""
    from embedkit.files.opening import opened
    from embedkit.formats.binary_vectors import is_binary
    from embedkit.formats.fasttext import MAGIC
    from embedkit.formats.json_columns import MAGIC as JSON
    from embedkit.formats.text_vectors import HEAD, layout

    with opened(path) as stream:
        head = stream.read(HEAD)
    if not head:
        raise BadFile(path, "is empty")
    magics: list[tuple[bytes, Kind]] = [
        (b"\x93NUMPY", "npy"), (b"PK\x03\x04", "npz"), (b"PK\x05\x06", "npz"), (b"PAR1", "table"), (MAGIC, "fasttext"),
        (JSON, "json"),
        (b"\0\0\x08\x03", "images"), (b"\0\0\x08\x01", "images"), *((b"\x80%c" % version, "pickle") for version in
        range(2, 6)),
    ]  # fmt: skip
    for magic, kind in magics:
        if head.startswith(magic):
            return kind
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadFile(path, "begins as UTF-16 text: convert it to UTF-8", "byte 0")
    if is_binary(head):
        return "word2vec binary"
    first = head[: head.find(b"\n") + 1] or head
    if b"\0" in first:
        return "unknown"
    name = PurePath(path).name.lower()
    named_csv = ".csv" in PurePath(name).suffixes and b"," in first
    if not named_csv and layout(path, head) is not None:
        return "text"
    return "table" if any(mark in first for mark in (b",", b"\t", b";", b"|")) else "unknown"
