"""The files that TensorFlow's Embedding Projector loads (https://projector.tensorflow.org): vectors and metadata."""

from __future__ import annotations

import os
from pathlib import Path

from embedkit.embedding import Embedding
from embedkit.errors import BadFile, BadInput, printable
from embedkit.files.atomic import replacing, to_disk
from embedkit.formats.text_rows import write_rows


def check_projector(embedding: Embedding) -> None:
    """Refuse labels and columns that lines of tab-separated fields cannot hold."""
    texts = {"label": embedding.labels[:]} | {
        name: values.tolist() for name, values in embedding.columns.items() if values.dtype.kind == "U"
    }
    for name, values in texts.items():
        for row, text in enumerate(values):
            if any(mark in text for mark in "\t\r\n"):
                shown = printable(text[:40])
                raise BadInput(f"row {row}: {name} '{shown}' holds a tab or line break, which projector files cannot")
    if any("\t" in name for name in embedding.columns):
        raise BadInput("the name of a column holds a tab, which projector files cannot")
    if len(embedding.labels) and not embedding.columns and "" in embedding:
        raise BadInput("one of the labels is empty, and a line of metadata with nothing in it is skipped")


def write_projector(embedding: Embedding, folder: str | os.PathLike[str]) -> None:
    """Write ``vectors.tsv`` and ``metadata.tsv`` to a folder, which is made if it is not there.

    The projector takes a first line of metadata for names if, and only if, there are several columns: labels alone are
    written without a header, labels and columns with one.

    Parameters
    ----------
    embedding
        n labels x d dimensions.
    folder
        Where to. Both files are written in full before either takes its place.

    Raises
    ------
    BadInput
        A label or a column holds a tab or a line break.
    BadFile
        The folder cannot be made or written to.
    """
    check_projector(embedding)
    place = Path(folder)
    try:
        place.mkdir(exist_ok=True)
    except (OSError, ValueError) as error:
        raise BadFile(folder, f"cannot be made: {getattr(error, 'strerror', None) or error}") from error
    columns = [list(embedding), *(values.tolist() for values in embedding.columns.values())]
    header = "\t".join(["label", *embedding.columns]) + "\n" if embedding.columns else ""
    with replacing(place / "vectors.tsv") as vectors:
        write_rows(vectors, embedding, b"\t", lambda rows: b"\0" * (rows.stop - rows.start))
        to_disk(vectors)
        with replacing(place / "metadata.tsv") as metadata:
            metadata.write(header.encode())
            metadata.writelines(("\t".join(map(str, row)) + "\n").encode() for row in zip(*columns, strict=True))
