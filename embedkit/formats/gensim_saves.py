"""What gensim's own ``save`` wrote: Python pickles, opened only for those who say that they trust the file."""

from __future__ import annotations

import os

from embedkit.embedding import Embedding
from embedkit.errors import BadFile, BadInput
from embedkit.formats.collecting import about_file


def read_gensim(path: str | os.PathLike[str], *, limit: int | None = None, trust: bool = False) -> Embedding:
    """Read vectors, or those of a model, that gensim's ``save`` wrote.

    Parameters
    ----------
    path
        The file; large arrays lie in further files beside it.
    limit
        Keep only the first so many rows; the file is read nevertheless.
    trust
        Say that it comes from somebody you trust. Such files are pickles: opening one runs whatever code its writer put
        in it, with your rights.

    Raises
    ------
    BadFile
        `trust` is False, or it holds no gensim vectors.
    """
    if not trust:
        raise BadFile(path, "is a Python pickle, as gensim's save writes, which can run any code when opened: if you "
                            "know and trust its writer, say trust=True (embedkit convert --trust)")  # fmt: skip
    from gensim.models import KeyedVectors

    from embedkit.formats.keyed_vectors import from_gensim

    try:
        loaded = KeyedVectors.load(str(path))
        embedding = from_gensim(getattr(loaded, "wv", loaded))
    except BadInput as error:
        raise BadFile(path, str(error)) from None
    except Exception as error:  # whatever unpickling runs into
        raise BadFile(path, f"gensim does not load it: {type(error).__name__}: {error}") from error
    made = {"made_by": "read", "file": about_file(path), "format": "gensim save"}
    kept = embedding if limit is None else embedding.head(limit)
    return Embedding.from_stored(
        kept.labels, kept.vectors, columns=kept.columns,
        provenance=made if limit is None else {**made, "limit": int(limit)},
    )  # fmt: skip
