"""One writer for files of vectors: the name of the file, or what is asked for, says in which format."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import PurePath
from typing import Literal, NamedTuple, get_args

import numpy as np

from embedkit.embedding import Embedding
from embedkit.errors import BadInput, printable
from embedkit.files.atomic import replacing
from embedkit.formats import arrays, projector
from embedkit.formats.frame import check_names
from embedkit.formats.json_columns import write_json
from embedkit.formats.native import save
from embedkit.formats.table_rows import write_table
from embedkit.formats.text_rows import LONGEST_NUMBER, PACKINGS, packing, write_rows
from embedkit.formats.text_vectors import LONGEST_LINE, LONGEST_WORD, layout

Format = Literal[
    "native", "word2vec", "word2vec-binary", "glove", "csv", "tsv", "json", "parquet", "npz", "npy", "projector"
]

FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIXES: dict[str, Format] = {
    ".safetensors": "native", ".vec": "word2vec", ".bin": "word2vec-binary", ".csv": "csv", ".tsv": "tsv",
    ".json": "json",    ".parquet": "parquet", ".npz": "npz", ".npy": "npy",
}  # fmt: skip
_PACKABLE = {"word2vec", "word2vec-binary", "glove", "csv", "tsv"}
_DELIMITED: dict[Format, str] = {"csv": ",", "tsv": "\t"}
_CHUNK = 4096  # rows written at a time
_OTHERS = (b"BZh", b"PAR1", b"PK\x03\x04", b"PK\x05\x06")  # what begins so is taken for another format


def write(
    embedding: Embedding,
    path: str | os.PathLike[str],
    *,
    format: Format | None = None,  # noqa: A002  # what callers write; nothing here formats
    safe_text: bool = False,
) -> None:
    r"""Write vectors to a file, all or nothing.

    ===================  =================  ==========================================================================
    format               endings            what it holds
    ===================  =================  ==========================================================================
    ``native``           ``.safetensors``   everything, in the storage that it has
    ``word2vec``         ``.vec``           text with a header; labels without spaces, no columns
    ``word2vec-binary``  ``.bin``           labels without spaces, float32, no columns
    ``glove``                               text without a header, no columns
    ``csv``, ``tsv``     ``.csv``           labels, columns and dimensions, as ``to_csv`` writes them
    ``json``             ``.json``          the same, a list a column
    ``parquet``          ``.parquet``       the same, by pyarrow
    ``npz``              ``.npz``           labels, columns and vectors as arrays
    ``npy``              ``.npy``           the matrix; labels in ``NAME.words.txt`` beside it, no columns
    ``projector``                           ``vectors.tsv`` and ``metadata.tsv`` in a folder, for TensorFlow's projector
    ===================  =================  ==========================================================================

    The endings ``.gz``, ``.bz2`` and ``.xz`` after these (``.vec.gz``) pack text and word2vec binary. Text formats hold
    each number in the fewest digits that read back as the same bits. Provenance is kept by the native file alone.

    Parameters
    ----------
    embedding
        What to write.
    path
        The file, or the folder of the projector's two. What is there is replaced, and stays whole until then.
    format
        The format, where the ending does not say it or says another.
    safe_text
        In CSV and TSV, put an apostrophe before text that a spreadsheet would take for a formula; see
        `embedkit.formats.table_rows.write_table`.

    Raises
    ------
    BadInput
        The ending says nothing, or the format cannot hold a label (a space in word2vec's): said before anything is
        written.
    BadFile
        The file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> emb = Embedding(["king", "queen"], [[0.5, 1.0], [0.1, 2.0]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(emb, f"{folder}/royals.vec")
    ...     Path(folder, "royals.vec").read_text()
    '2 2\nking 0.5 1.0\nqueen 0.1 2.0\n'
    """
    chosen = format_of(path, format)
    _WRITERS[chosen].check(embedding)
    if safe_text:
        if chosen not in _DELIMITED:
            raise BadInput(f"safe text is for {' and '.join(_DELIMITED)}, which spreadsheets open, not for {chosen}")
        _write_delimited(embedding, path, _DELIMITED[chosen], True)
        return
    _WRITERS[chosen].write(embedding, path)


def format_of(path: str | os.PathLike[str], chosen: str | None = None) -> Format:
    """The format that a file is to be written in: the one asked for, or the one its ending says.

    Raises
    ------
    BadInput
        There is no such format, the ending says none, or the format is not one to pack.
    """
    name = PurePath(path)
    packs = name.suffix.lower() in PACKINGS
    ending = (PurePath(name.stem) if packs else name).suffix.lower()
    if chosen is None:
        if ending not in SUFFIXES:
            known = ", ".join(FORMATS)
            raise BadInput(f"the ending of {printable(str(path))} does not say a format: say one of {known}")
        chosen = SUFFIXES[ending]
    if chosen not in FORMATS:
        raise BadInput(f"format is one of {', '.join(FORMATS)}, not {chosen!r:.40}")
    if packs and chosen not in _PACKABLE:
        raise BadInput(f"{printable(str(path))}: files in format {chosen} are not packed: leave '{name.suffix}' out")
    return chosen


# -- word2vec and GloVe ----------------------------------------------------------------------------------------------


def _check_word2vec(embedding: Embedding) -> None:
    blob = embedding.labels.blob
    if b" " in blob:
        row = int(np.searchsorted(embedding.labels.offsets, blob.find(b" "), side="right")) - 1
        raise BadInput(f"label '{printable(embedding.labels[row][:80])}' (row {row}) holds a space, which a word in "
                       "word2vec's formats cannot: choose another format")  # fmt: skip
    _check_lengths(embedding)


def _check_word2vec_text(embedding: Embedding) -> None:
    _check_word2vec(embedding)
    _check_lines(embedding)


def _check_lengths(embedding: Embedding) -> None:
    lengths = np.diff(embedding.labels.offsets) - 1
    if lengths.max(initial=0) > LONGEST_WORD:
        raise BadInput(f"the label of row {int(lengths.argmax())} is longer than 64 KiB, which readers refuse")


def _check_lines(embedding: Embedding) -> None:
    if embedding.width * LONGEST_NUMBER + LONGEST_WORD > LONGEST_LINE:
        raise BadInput(f"{embedding.width:,} dimensions may not fit a line of 1 MiB: choose another format")


def _check_glove(embedding: Embedding) -> None:
    """Hold every label to what reading gives back: asked of the reader itself, on lines with zeros for numbers."""
    if not len(embedding):
        raise BadInput("GloVe text of no rows does not say how many dimensions there are: choose another format")
    _check_lengths(embedding)
    _check_lines(embedding)
    labels = embedding.labels
    suspects = [0, *(row for row, label in enumerate(labels) if row and " " in label)]
    numbers = b" 0.0" * embedding.width
    for row in suspects:
        word = labels[row].encode()
        try:
            plan = layout("", word + numbers + b"\n")
        except BadInput:
            plan = None
        last = word.rpartition(b" ")[2] if b" " in word else b"-"
        taken = plan is None or plan.rows is not None or plan.width != embedding.width or plan.skip > 0
        if taken or not last or (row == 0 and word.startswith(_OTHERS)):
            raise BadInput(f"label '{printable(labels[row][:80])}' (row {row}) would not be read back from GloVe text, "
                           "which tells words from numbers by their looks: choose another format")  # fmt: skip


def _write_word2vec(embedding: Embedding, path: str | os.PathLike[str]) -> None:
    with packing(path) as stream:
        stream.write(b"%d %d\n" % embedding.shape)
        write_rows(stream, embedding, b" ", lambda rows: _words(embedding, rows))


def _write_glove(embedding: Embedding, path: str | os.PathLike[str]) -> None:
    with packing(path) as stream:
        write_rows(stream, embedding, b" ", lambda rows: _words(embedding, rows))


def _words(embedding: Embedding, rows: slice) -> bytes:
    """The labels of some rows, a space and a NUL after each."""
    blob, offsets = embedding.labels.blob, embedding.labels.offsets
    return blob[offsets[rows.start] : offsets[rows.stop]].replace(b"\n", b" \0")


def _write_word2vec_binary(embedding: Embedding, path: str | os.PathLike[str]) -> None:
    with packing(path) as stream:
        stream.write(b"%d %d\n" % embedding.shape)
        size = 4 * embedding.width
        for start in range(0, len(embedding), _CHUNK):
            rows = slice(start, min(start + _CHUNK, len(embedding)))
            data = embedding._decoded(rows).astype("<f4", copy=False).tobytes()
            words = _words(embedding, rows).split(b"\0")[:-1]
            stream.write(b"".join(word + data[i * size : (i + 1) * size] + b"\n" for i, word in enumerate(words)))


# -- tables ----------------------------------------------------------------------------------------------------------


def _check_parquet(embedding: Embedding) -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise BadInput("Parquet needs pyarrow: pip install 'embedkit[parquet]'")
    check_names(embedding)


def _write_delimited(embedding: Embedding, path: str | os.PathLike[str], separator: str, safe_text: bool) -> None:
    with packing(path) as stream:
        write_table(stream, embedding, separator, safe_text=safe_text)


def _write_parquet(embedding: Embedding, path: str | os.PathLike[str]) -> None:
    from embedkit.formats.frame import to_frame

    with replacing(path) as stream:
        to_frame(embedding).reset_index().to_parquet(stream, engine="pyarrow", index=False)


# -- which is which --------------------------------------------------------------------------------------------------


class _Writer(NamedTuple):
    check: Callable[[Embedding], None]
    write: Callable[[Embedding, str | os.PathLike[str]], None]


def _anything(embedding: Embedding) -> None:
    """It can hold every Embedding."""


_WRITERS: dict[Format, _Writer] = {
    "native": _Writer(_anything, save),
    "word2vec": _Writer(_check_word2vec_text, _write_word2vec),
    "word2vec-binary": _Writer(_check_word2vec, _write_word2vec_binary),
    "glove": _Writer(_check_glove, _write_glove),
    "csv": _Writer(check_names, lambda embedding, path: _write_delimited(embedding, path, ",", False)),
    "tsv": _Writer(check_names, lambda embedding, path: _write_delimited(embedding, path, "\t", False)),
    "json": _Writer(check_names, write_json),
    "parquet": _Writer(_check_parquet, _write_parquet),
    "npz": _Writer(arrays.check_npz, arrays.write_npz),
    "npy": _Writer(_anything, arrays.write_npy),
    "projector": _Writer(projector.check_projector, projector.write_projector),
}
