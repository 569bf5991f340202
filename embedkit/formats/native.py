r"""An Embedding in embedkit's own file: one safetensors file (see `embedkit.files.store`) with these tensors.

=================  ===================================  =======================================================
``vectors``        F32, F16 or I8, shape (n, d)         the matrix
``scales``         F32, shape (n,)                      only with I8: row i is ``scales[i] * vectors[i]``
``norms``          F64, shape (n,)                      Euclidean length of each decoded row
``labels``         U8                                   UTF-8, a line feed before the first and after each
``label_offsets``  I64, shape (n + 1,)                  where each label starts in ``labels``, and its length
``column/NAME``    as it is, shape (n,)                 a column of numbers or booleans
``text/NAME``      U8                                   a column of strings: UTF-8, one after another
``ends/NAME``      I64, shape (n,)                      ... and where each of them ends
=================  ===================================  =======================================================

The description holds the provenance and the order of the columns.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.checks import as_texts, check_nothing
from embedkit.embedding import Embedding
from embedkit.errors import BadFile, BadInput
from embedkit.files.store import Tensors, read_tensors, write_tensors
from embedkit.labels import Labels

# What a file may hold, and where the function `from_tensors` is that makes it of one.
_HOMES = {
    "AdversarialAutoencoder": "embedkit.latent.model_file",
    "AnomalyDetector": "embedkit.latent.detector_file",
    "Autoencoder": "embedkit.latent.model_file",
    "Embedding": __name__,
    "EncodedCorpus": "embedkit.text.encoded",
    "EncoderClassifier": "embedkit.latent.classifier_file",
    "Ensemble": "embedkit.words.ensemble",
    "FastText": "embedkit.words.fasttext",
    "GAN": "embedkit.latent.model_file",
    "GloVe": "embedkit.words.glove",
    "VAE": "embedkit.latent.model_file",
    "UMAP": "embedkit.manifold.umap_file",
    "Word2Vec": "embedkit.words.model_file",
}


def save(embedding: Embedding, path: str | os.PathLike[str]) -> None:
    """Write `embedding` to `path`, all or nothing, in the storage it has.

    Parameters
    ----------
    embedding
        What to save; to save it smaller, ``embedding.save(path, storage="int8")``.
    path
        The file; ``.safetensors`` is the usual ending. An existing file is replaced, and stays whole until then.

    Raises
    ------
    BadFile
        The file cannot be written.
    """
    tensors: dict[str, npt.NDArray[Any]] = {"vectors": embedding._stored}
    if embedding._scales is not None:
        tensors["scales"] = embedding._scales
    tensors["norms"] = embedding.norms
    tensors["labels"] = np.frombuffer(embedding.labels.blob, dtype=np.uint8)
    tensors["label_offsets"] = embedding.labels.offsets
    for name, values in embedding.columns.items():
        if values.dtype.kind == "U":
            texts = [text.encode("utf-8") for text in values.tolist()]
            tensors[f"text/{name}"] = np.frombuffer(b"".join(texts), dtype=np.uint8)
            tensors[f"ends/{name}"] = np.cumsum([len(text) for text in texts], dtype=np.int64)
        else:
            tensors[f"column/{name}"] = values
    about = {
        "class": "Embedding",
        "columns": list(embedding.columns),
        "provenance": embedding.provenance,
    }
    # The widest values first: each tensor is then aligned to its own size without gaps, which the format forbids.
    order = sorted(tensors, key=lambda name: -tensors[name].dtype.itemsize)
    write_tensors({name: tensors[name] for name in order}, about, path)


def load(path: str | os.PathLike[str], *, verify: bool | None = None) -> Any:
    """Open a file that embedkit saved, memory-mapped: milliseconds for gigabytes.

    Parameters
    ----------
    path
        The file.
    verify
        Read every byte and compare checksums, and check values and labels one by one. `None` compares the checksums of
        files up to 64 MB. The header and the labels are always verified.

    Returns
    -------
    Embedding, EncodedCorpus
        What was saved. The matrix lies in the file until it is used.

    Raises
    ------
    BadFile
        It cannot be read, is no embedkit file, is cut or damaged, or was written by a later version.
    """
    tensors = read_tensors(path, verify=verify)
    kind = tensors.about.get("class")
    if not isinstance(kind, str) or kind not in _HOMES:
        raise BadFile(path, f"holds a {kind!r:.40}, which this version of embedkit does not know")
    return importlib.import_module(_HOMES[kind]).from_tensors(tensors, path, verify=bool(verify))


def load_embedding(path: str | os.PathLike[str], *, verify: bool | None = None) -> Embedding:
    """As `load`, for an Embedding, or what a trainer that was saved has learned so far."""
    found = load(path, verify=verify)
    embedding = getattr(found, "embedding_", getattr(found, "embedding", found))
    if not isinstance(embedding, Embedding):
        raise BadFile(path, f"holds a {type(found).__name__}, vectors were expected")
    return embedding


def from_tensors(tensors: Tensors, path: str | os.PathLike[str], *, verify: bool) -> Embedding:
    """The Embedding that the arrays of a file make, which errors call `path`."""
    arrays, about = tensors
    if about.get("class") != "Embedding":
        raise BadFile(path, f"holds a {about.get('class')!r:.40}, an Embedding was expected")
    names, provenance = about.get("columns"), about.get("provenance")
    if not isinstance(provenance, dict) or not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise BadFile(path, "embedkit's metadata is not what was expected", "header")
    try:
        labels = Labels.from_blob(arrays["labels"].tobytes(), arrays["label_offsets"])
        stored = arrays["vectors"]
        n = len(labels)
        if stored.ndim != 2 or len(stored) != n or stored.shape[1] == 0:
            raise BadInput(f"{n} labels for vectors of shape {stored.shape}")
        check_nothing(*stored.shape)
        if stored.dtype not in (np.float32, np.float16, np.int8):
            raise BadInput(f"vectors are {stored.dtype}, expected float32, float16 or int8")
        scales = _lengths(arrays, "scales", np.float32, n) if stored.dtype == np.int8 else None
        norms = _lengths(arrays, "norms", np.float64, n)
        embedding = Embedding.from_stored(
            labels, stored, scales=scales, norms=norms,
            columns={name: _column(arrays, name, n) for name in names}, provenance=provenance,
        )  # fmt: skip
        if verify:
            labels.check_distinct()
            afresh = Embedding(labels, embedding.vectors)  # refuses what is not finite
            wrong = np.flatnonzero(~np.isclose(afresh.norms, norms, rtol=1e-9, atol=0))
            if len(wrong):
                raise BadInput(f"the stored norm of row {wrong[0]} is not the length of its vector")
    except KeyError as error:
        raise BadFile(path, f"its part {error} is missing") from None
    except BadInput as error:
        raise BadFile(path, str(error)) from None
    return embedding


def _of(arrays: Mapping[str, npt.NDArray[Any]], name: str, dtype: npt.DTypeLike, n: int) -> npt.NDArray[Any]:
    array = arrays[name]
    if array.dtype != dtype or array.shape != (n,):
        raise BadInput(f"'{name}' is {array.dtype} of shape {array.shape}, expected {np.dtype(dtype)} of ({n},)")
    return array


def _lengths(arrays: Mapping[str, npt.NDArray[Any]], name: str, dtype: npt.DTypeLike, n: int) -> npt.NDArray[Any]:
    array = _of(arrays, name, dtype, n)
    if not ((array >= 0) & (array < np.inf)).all():
        raise BadInput(f"'{name}' holds a value that is negative or not finite")
    return array


def _column(arrays: Mapping[str, npt.NDArray[Any]], name: str, n: int) -> npt.NDArray[Any]:
    if f"text/{name}" not in arrays:
        column = arrays[f"column/{name}"]
        return _of(arrays, f"column/{name}", column.dtype, n)
    data, ends = arrays[f"text/{name}"].tobytes(), _of(arrays, f"ends/{name}", np.int64, n)
    starts = np.concatenate([[0], ends[:-1]]) if n else ends
    if n and (np.any(starts > ends) or ends[-1] != len(data)):
        raise BadInput(f"the texts of column '{name}' do not fit their ends")
    if b"\0" in data:
        raise BadInput(f"column '{name}' holds a NUL character")
    try:
        texts = [data[a:b].decode("utf-8") for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
    except UnicodeDecodeError:
        raise BadInput(f"column '{name}' is not valid UTF-8") from None
    return as_texts(name, texts)
