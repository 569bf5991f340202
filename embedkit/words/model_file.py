"""A whole word2vec model in one file: to go on after a break, or with more text."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadFile, BadInput
from embedkit.files.store import Tensors, write_tensors
from embedkit.kernels.simd import padded_width
from embedkit.labels import Labels
from embedkit.text import Vocabulary
from embedkit.words.block_engine import Model
from embedkit.words.training import Run
from embedkit.words.word2vec import Word2Vec


def save(
    model: Model,
    parameters: dict[str, Any],
    about: dict[str, Any],
    fingerprint: str | None,
    path: str | os.PathLike[str],
) -> None:
    """Write `model` to `path`, all or nothing.

    Parameters
    ----------
    model
        What was learned, and how far.
    parameters, about
        How, and from what.
    fingerprint
        Of the corpus, where the training goes on; `None` where it came to its end.
    path
        The file.
    """
    words = model.vocabulary.words
    tensors: dict[str, npt.NDArray[Any]] = {
        "label_offsets": words.offsets,
        "counts": model.vocabulary.counts,
        "inputs": model.inputs,
        "outputs": model.outputs,
        "labels": np.frombuffer(words.blob, dtype=np.uint8),
    }
    described = {
        "class": "Word2Vec",
        "parameters": parameters,
        "corpus": about,
        "run": {**asdict(model.run), "position": list(model.run.position)},
        "fingerprint": fingerprint,
    }
    write_tensors(tensors, described, path)


def from_tensors(tensors: Tensors, path: str | os.PathLike[str], *, verify: bool) -> Word2Vec:
    """The trainer that the arrays of a file make, which errors call `path`; `verify` looks at every value."""
    arrays, about = tensors
    try:
        vocabulary = Vocabulary(Labels.from_blob(arrays["labels"].tobytes(), arrays["label_offsets"]), arrays["counts"])
        if verify:
            vocabulary.words.check_distinct()
        parameters = about["parameters"]
        trainer = Word2Vec(**parameters)
        if trainer._checked() != parameters:
            raise BadInput("its parameters are not those of a training")
        run = Run.from_json(about["run"], parameters["epochs"], 4)
        n, d = len(vocabulary), parameters["vector_size"]
        tables = {}
        for name in ("inputs", "outputs"):
            array = arrays[name]
            if array.dtype != np.float32 or array.shape not in ((n, d), (n, padded_width(d))):
                raise BadInput(f"'{name}' is {array.dtype} of shape {array.shape}, expected float32 of {(n, d)}")
            if verify and not np.isfinite(array).all():
                raise BadInput(f"'{name}' holds a number that is not finite")
            tables[name] = np.array(array[:, :d])  # not the file's: it may be replaced
        trainer._take(
            Model(vocabulary, tables["inputs"], tables["outputs"], run),
            parameters,
            about["corpus"],
            about["fingerprint"] or "",
        )
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        if isinstance(error, BadInput):
            raise BadFile(path, str(error)) from None
        raise BadFile(path, f"embedkit's metadata is not what was expected ({error})", "header") from None
    return trainer
