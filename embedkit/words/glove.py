"""GloVe: word vectors whose products fit the logarithms of co-occurrence counts (Pennington, Socher & Manning 2014).

GloVe: Global Vectors for Word Representation, EMNLP 2014, D14-1162.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import asdict
from typing import Any, Literal, Self, final

import numpy as np
import numpy.typing as npt

from embedkit.embedder import Embedder
from embedkit.embedding import Embedding
from embedkit.errors import BadFile, BadInput, TrainingDiverged
from embedkit.files.store import Tensors, write_tensors
from embedkit.labels import Labels
from embedkit.progress import Callback
from embedkit.text import Corpus, EncodedCorpus, Vocabulary
from embedkit.words.checks import (
    check_choice,
    check_finite_tables,
    check_flag,
    check_number,
    check_same,
    check_whole,
    plain,
    seed_of,
)
from embedkit.words.cooccurrence import Cooccurrence, bytes_of
from embedkit.words.ppmi import counted
from embedkit.words.training import Checkpoints, Run, train


@final
class GloVe(Embedder[Corpus | EncodedCorpus | Cooccurrence]):
    """Train word vectors with GloVe.

    Names, defaults and the cost are those of Stanford's program. A seed gives the same vectors bit for bit on the same
    machine and versions, with any number of workers.

    Parameters
    ----------
    vector_size
        Dimensions of a vector.
    window, min_count, max_final_vocab, symmetric, distance_weighting, memory
        How to count; see `Cooccurrence.count`. Not used where counts are given.
    x_max, alpha
        A count x weighs ``min(1, (x / x_max) ** alpha)``.
    eta
        Learning rate of AdaGrad.
    epochs
        Passes over the counts.
    context
        What a word's vector is: ``"add"`` for the sum of its vectors as word and as context, ``"drop"`` for the first.
    workers
        Threads.
    random_state
        Seed, 0 to 2^32 - 1; `None` draws one and records it.

    Attributes
    ----------
    embedding_ : Embedding
        The vectors, most frequent word first, with the column ``count``.
    history_ : list of dict
        An entry an epoch: ``epoch``, ``loss`` (the mean cost of a count, taken before its step, as Stanford's program
        prints it), ``counts``, ``seconds``, ``counts_per_second``.

    Examples
    --------
    >>> from embedkit.text.kingdom import kingdom
    >>> trainer = GloVe(vector_size=32, window=8, epochs=5, random_state=1).fit(kingdom())
    >>> trainer.embedding_
    Embedding(454 x 32, columns=['count'])
    >>> trainer.history_[-1]["loss"] < trainer.history_[0]["loss"]
    True
    """

    def __init__(
        self,
        *,
        vector_size: int = 100,
        window: int = 15,
        min_count: int = 5,
        max_final_vocab: int | None = None,
        symmetric: bool = True,
        distance_weighting: bool = True,
        x_max: float = 100.0,
        alpha: float = 0.75,
        eta: float = 0.05,
        epochs: int = 25,
        context: Literal["add", "drop"] = "add",
        memory: str | int = "2GB",
        workers: int = 1,
        random_state: int | None = None,
    ) -> None:
        self.vector_size = vector_size
        self.window = window
        self.min_count = min_count
        self.max_final_vocab = max_final_vocab
        self.symmetric = symmetric
        self.distance_weighting = distance_weighting
        self.x_max = x_max
        self.alpha = alpha
        self.eta = eta
        self.epochs = epochs
        self.context = context
        self.memory = memory
        self.workers = workers
        self.random_state = random_state

    def fit(
        self,
        data: Corpus | EncodedCorpus | Cooccurrence,
        /,
        *,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: float = 300.0,
    ) -> Self:
        """Train on a text, or on counts of one.

        Parameters
        ----------
        data
            The text, or its counts.
        callback
            Called with a `Progress` some times an epoch; if it returns true the training ends there, with what has been
            learned; an exception that it raises ends it without.
        checkpoint
            A file for the state of the training: written every `checkpoint_every` seconds, and when the process
            receives SIGINT or SIGTERM. `embedkit.load` opens it, and `resume` goes on.
        checkpoint_every
            Seconds.

        Raises
        ------
        BadInput
            A parameter makes no sense, or no word reaches `min_count`.
        TrainingDiverged
            The vectors are no longer finite.
        """
        from embedkit.kernels.glove import new_vectors

        used = self._checked()
        counts = data if isinstance(data, Cooccurrence) else counted(self, data)
        tables = new_vectors(len(counts.vocabulary), self.vector_size, used["random_state"])
        self._go(_State(counts.vocabulary, tables, Run(), used, counts.provenance), counts, callback, checkpoint,
                 checkpoint_every)  # fmt: skip
        return self

    def resume(
        self,
        data: Corpus | EncodedCorpus | Cooccurrence,
        /,
        *,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: float = 300.0,
    ) -> Self:
        """Go on with a training that was broken off, after `embedkit.load` of its checkpoint.

        The result is bit for bit that of a training that was not broken off.

        Parameters
        ----------
        data
            The same as before.
        callback, checkpoint, checkpoint_every
            As for `fit`.

        Raises
        ------
        BadInput
            The text is another one, or nothing was broken off.
        NotFitted
            There is nothing to go on with.
        """
        self._fitted("embedding_")
        state = self._state
        if state.run.stopped or state.run.position.epoch >= state.used["epochs"]:
            raise BadInput("this training came to its end")
        check_same(self.get_params(), state.used)
        counts = data if isinstance(data, Cooccurrence) else counted(self, data)
        if _fingerprint(counts) != state.fingerprint:
            raise BadInput("these are not the counts that the training was broken off on")
        # What was learned so far stays as it is if this fails.
        self._go(state.copied(), counts, callback, checkpoint, checkpoint_every)
        return self

    def _go(
        self, state: _State, counts: Cooccurrence, callback: Callback | None,
        checkpoint: str | os.PathLike[str] | None, every: float,
    ) -> None:  # fmt: skip
        from embedkit.kernels.cooccurrence import Counts
        from embedkit.kernels.glove import PARTS, arrange, train_turns

        used, matrix = state.used, counts.matrix
        if checkpoint is not None and not state.fingerprint:
            state.fingerprint = _fingerprint(counts)
        table = Counts(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32, copy=False), matrix.data)
        segments = arrange(table, x_max=used["x_max"], alpha=used["alpha"], seed=used["random_state"])
        never = np.zeros(1, dtype=np.uint8)

        def work(epoch: int, first: int, last: int) -> npt.NDArray[np.float64]:
            sums = np.zeros(2)
            train_turns(state.tables, segments, eta=used["eta"], epoch=epoch, first=first, last=last,
                        seed=used["random_state"], stop=never, sums=sums, workers=used["workers"])  # fmt: skip
            if not np.isfinite(sums[0]):
                reason = f"the cost is no longer finite in epoch {epoch + 1} at eta={used['eta']}: lower it"
                raise TrainingDiverged(reason)
            return sums

        def entry(sums: npt.NDArray[np.float64]) -> dict[str, Any]:
            done = len(sums) and sums[1]
            return {"loss": float(sums[0] / sums[1]) if done else None, "counts": int(sums[1]) if done else 0}

        def write(_run: Run) -> None:
            check_finite_tables(state.tables, f"eta={used['eta']}")
            _save(state, checkpoint or "")

        checkpoints = None if checkpoint is None else Checkpoints(write, every, checkpoint)
        with checkpoints.named() if checkpoints is not None else contextlib.nullcontext():
            train(state.run, work, entry, units=PARTS, span=1, epochs=used["epochs"], workers=1, unit="counts",
                  size=matrix.nnz, callback=callback, checkpoints=checkpoints)  # fmt: skip
            check_finite_tables(state.tables, f"eta={used['eta']}")
        self._take(state)

    def _take(self, state: _State) -> None:
        """Have what was learned so far."""
        self._state, used = state, state.used
        rows, columns = (table[:, : used["vector_size"]] for table in state.tables[:2])
        unfinished = not state.run.stopped and state.run.position.epoch < used["epochs"]
        self.history_ = list(state.run.history)
        self.embedding_ = Embedding(
            state.vocabulary.words,
            rows + columns if used["context"] == "add" else rows.copy(),
            columns={"count": state.vocabulary.counts},
            provenance={
                "made_by": "GloVe",
                "parameters": used,
                "repeatable": True,
                **({"stopped_early": True} if state.run.stopped else {}),
                **({"unfinished": list(state.run.position)} if unfinished else {}),
                "counts": state.about,
                "history": state.run.history,
            },
        )

    def transform(self, labels: Iterable[str], /) -> Embedding:
        """The Embedding of `labels`, in their order.

        Raises
        ------
        UnknownWord
            Naming every label that was not learned.
        NotFitted
            `fit` comes first.
        """
        embedding: Embedding = self._fitted("embedding_")
        return embedding.take(embedding.rows(labels))

    def fit_transform(
        self, data: Corpus | EncodedCorpus | Cooccurrence, /, *, callback: Callback | None = None
    ) -> Embedding:
        """Train and give the resulting Embedding."""
        return self.fit(data, callback=callback).embedding_

    def _checked(self) -> dict[str, Any]:
        for name in ("vector_size", "window", "min_count", "epochs", "workers"):
            check_whole(name, getattr(self, name), 1)
        for name in ("symmetric", "distance_weighting"):
            check_flag(name, getattr(self, name))
        check_choice("context", self.context, ("add", "drop"))
        check_number("x_max", self.x_max, 1e-9, 1e18)
        check_number("alpha", self.alpha, 0, 10)
        check_number("eta", self.eta, 1e-9, 10)
        if self.max_final_vocab is not None:
            check_whole("max_final_vocab", self.max_final_vocab, 1)
        bytes_of(self.memory)
        return plain({**self.get_params(), "random_state": seed_of(self.random_state)})


class _State:
    """What is learned, how far, how, and from what."""

    def __init__(
        self, vocabulary: Vocabulary, tables: Any, run: Run, used: dict[str, Any], about: dict[str, Any],
        fingerprint: str = "",
    ) -> None:  # fmt: skip
        self.vocabulary, self.tables, self.run, self.used, self.about = vocabulary, tables, run, used, about
        self.fingerprint = fingerprint  # of the counts, where the training may have to go on with them

    def copied(self) -> _State:
        """One that can be trained without changing this one."""
        from embedkit.kernels.simd import copied_table

        tables = type(self.tables)(*map(copied_table, self.tables))
        return _State(self.vocabulary, tables, deepcopy(self.run), self.used, self.about, self.fingerprint)


def _fingerprint(counts: Cooccurrence) -> str:
    digest = hashlib.sha256(counts.vocabulary.words.blob)
    matrix = counts.matrix
    for array in (matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data):
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()


def _save(state: _State, path: str | os.PathLike[str]) -> None:
    words = state.vocabulary.words
    tensors = {"label_offsets": words.offsets, "counts": state.vocabulary.counts, **state.tables._asdict(),
               "labels": np.frombuffer(words.blob, dtype=np.uint8)}  # fmt: skip
    run = {**asdict(state.run), "position": list(state.run.position)}
    about = {"class": "GloVe", "parameters": state.used, "counts": state.about, "run": run,
             "fingerprint": state.fingerprint}  # fmt: skip
    write_tensors(tensors, about, path)


def from_tensors(tensors: Tensors, path: str | os.PathLike[str], *, verify: bool) -> GloVe:
    """The trainer that the arrays of a checkpoint make, which errors call `path`; `verify` looks at every value."""
    from embedkit.kernels.glove import new_vectors
    from embedkit.kernels.simd import padded_width

    arrays, about = tensors
    try:
        vocabulary = Vocabulary(Labels.from_blob(arrays["labels"].tobytes(), arrays["label_offsets"]), arrays["counts"])
        if verify:
            vocabulary.words.check_distinct()
        used = about["parameters"]
        trainer = GloVe(**used)
        if trainer._checked() != used:
            raise BadInput("its parameters are not those of a training")
        run = Run.from_json(about["run"], used["epochs"], 2)
        if arrays["rows"].shape != (expected := (len(vocabulary), padded_width(used["vector_size"]))):
            raise BadInput(f"'rows' is of shape {arrays['rows'].shape}, expected {expected}")
        tables = new_vectors(len(vocabulary), used["vector_size"], 0)  # copies: training writes into them
        for name, table in tables._asdict().items():
            array = arrays[name]
            if array.dtype != np.float32 or array.shape != table.shape:
                raise BadInput(f"'{name}' is {array.dtype} of shape {array.shape}, expected float32 of {table.shape}")
            if verify and not np.isfinite(array).all():
                raise BadInput(f"'{name}' holds a number that is not finite")
            table[:] = array
        trainer._take(_State(vocabulary, tables, run, used, about["counts"], about["fingerprint"]))
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        if isinstance(error, BadInput):
            raise BadFile(path, str(error)) from None
        raise BadFile(path, f"embedkit's metadata is not what was expected ({error})", "header") from None
    return trainer
