"""To and from gensim's KeyedVectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.errors import BadInput


def to_gensim(embedding: Embedding) -> Any:
    """A `gensim.models.KeyedVectors` with the same keys, vectors, and columns as vector attributes.

    Parameters
    ----------
    embedding
        n labels x d dimensions; the vectors are copied, since gensim may change its own.
    """
    from gensim.models import KeyedVectors

    keyed = KeyedVectors(embedding.width)
    keyed.add_vectors(list(embedding), np.array(embedding.vectors))
    for name, values in embedding.columns.items():
        # gensim keeps attributes as numpy arrays, strings as objects.
        keyed.expandos[name] = np.array(values, dtype=object if values.dtype.kind == "U" else values.dtype)
    return keyed


def from_gensim(vectors: Any) -> Embedding:
    """An Embedding with the keys, vectors and vector attributes of a `gensim.models.KeyedVectors`.

    Raises
    ------
    BadInput
        `vectors` is something else (for a model, give its ``.wv``).
    """
    from gensim.models import KeyedVectors

    if not isinstance(vectors, KeyedVectors):
        raise BadInput(f"expected gensim KeyedVectors, not {type(vectors).__name__}: for a model give its .wv")
    n = len(vectors.index_to_key)
    columns = {
        name: values
        for name, values in vectors.expandos.items()
        if np.shape(values) == (n,) and not _of_training(name, np.asarray(values))
    }
    return Embedding(
        vectors.index_to_key, np.array(vectors.vectors[:n]), columns=columns, provenance={"made_by": "from_gensim"}
    )


def _of_training(name: str, values: npt.NDArray[Any]) -> bool:
    """Whether it is a table that training left behind: Huffman codes and paths (arrays), sampling thresholds."""
    if values.dtype.kind == "O":
        return not all(isinstance(value, str) for value in values.tolist())
    return name == "sample_int" and values.dtype == np.uint32
