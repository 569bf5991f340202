"""word2vec training by our own kernels: skip-gram and CBOW with negative samples that blocks share.

The arithmetic is in `embedkit.kernels.skipgram` and `embedkit.kernels.cbow`.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput, TrainingDiverged
from embedkit.progress import Callback
from embedkit.text import EncodedCorpus, Vocabulary
from embedkit.text.vocabulary import keep_probabilities, noise_probabilities
from embedkit.words.checks import check_finite_tables
from embedkit.words.training import Checkpoints, Run, train

VERSION = "embedkit, shared negatives in blocks"

_SPAN = 128  # chunks that a thread takes at a time: some tenth of a second; whole rounds of shards


@dataclass
class Model:
    """What is learned, and how far the training is.

    Attributes
    ----------
    vocabulary
        n words.
    inputs, outputs
        A row a word, float32: tables for the kernels, padded with zeros to a multiple of 16, while it is trained, and
        of shape (n, vector_size) at rest.
    run
        How far the training is.
    """

    vocabulary: Vocabulary
    inputs: npt.NDArray[np.float32]
    outputs: npt.NDArray[np.float32]
    run: Run = field(default_factory=Run)

    def put_to_rest(self, vector_size: int) -> None:
        """Take the padding away, in place: what was trained is not held twice."""
        from embedkit.kernels.simd import packed_table

        self.inputs, self.outputs = (packed_table(table, vector_size) for table in (self.inputs, self.outputs))

    def copied(self) -> Model:
        """One that can be trained without changing this one."""
        from embedkit.kernels.simd import padded_table

        return Model(self.vocabulary, padded_table(self.inputs), padded_table(self.outputs), deepcopy(self.run))


def kept(vocabulary: Vocabulary, parameters: Mapping[str, Any]) -> Vocabulary:
    """The words that are trained.

    Raises
    ------
    BadInput
        None reaches ``min_count``.
    """
    pruned = vocabulary.prune(parameters["min_count"], parameters["max_final_vocab"])
    if not len(pruned):
        least = parameters["min_count"]
        raise BadInput(f"0 of {len(vocabulary)} words reach min_count={least}: lower it or add text")
    return pruned


def new_model(vocabulary: Vocabulary, parameters: Mapping[str, Any]) -> Model:
    """A model that has learned nothing: input rows at random within 0.5 / vector_size, output rows of zeros."""
    from embedkit.kernels.simd import new_table

    n, d = len(vocabulary), parameters["vector_size"]
    inputs, outputs = new_table(n, d), new_table(n, d)
    fill_at_random(inputs[:, :d], parameters["random_state"])
    return Model(vocabulary, inputs, outputs)


def fill_at_random(rows: npt.NDArray[np.float32], seed: int) -> None:
    """Fill rows of shape (n, d) with numbers between -0.5 / d and 0.5 / d, as word2vec does."""
    rng = np.random.default_rng(seed)
    for row in rows:  # row by row: the stream does not depend on how many there are
        row[:] = (rng.random(len(row), dtype=np.float32) - np.float32(0.5)) / np.float32(len(row))


def run(
    model: Model,
    corpus: EncodedCorpus,
    counts: npt.NDArray[np.int64],
    parameters: Mapping[str, Any],
    callback: Callback | None,
    checkpoints: Checkpoints | None,
) -> None:
    """Train `model` in place, from where its run stands to its end.

    Parameters
    ----------
    model
        Its rows are those of the first ids of `corpus`; larger ids are left out of the text.
    corpus
        What to train on.
    counts
        How often each of the n words is in it, shape (n,).
    parameters
        Those of `embedkit.Word2Vec`, checked.
    callback, checkpoints
        See `embedkit.words.training.train`.

    Raises
    ------
    TrainingDiverged
        The vectors are no longer finite.
    """
    from embedkit.kernels import cbow, skipgram
    from embedkit.kernels.rounds import LOSS, PAIRS, WORDS
    from embedkit.kernels.sampling import Draws, Text, alias_table, keep_thresholds, largest_shares, n_chunks

    p = parameters
    keep, noise = keep_probabilities(counts, p["sample"]), noise_probabilities(counts, p["ns_exponent"])
    draws = Draws(keep_thresholds(keep), alias_table(noise), p["random_state"])
    kernel: Any = skipgram if p["sg"] else cbow
    window = min(p["window"], int(np.diff(corpus.ends, prepend=0).max(initial=1)))  # no document is wider
    plan = kernel.plan(
        window, p["negative"], shrink=bool(p["shrink_windows"]), alpha=p["alpha"],
        shares=largest_shares(counts, draws.keep, noise), shared=p["shared_negatives"],
        **({} if p["sg"] else {"mean": bool(p["cbow_mean"])}),
    )  # fmt: skip
    text = Text(corpus.ids, corpus.ends)
    never = np.zeros(1, dtype=np.uint8)
    epochs, begin, fall = p["epochs"], p["alpha"], p["alpha"] - p["min_alpha"]

    def work(epoch: int, first: int, last: int) -> npt.NDArray[np.float64]:
        sums = np.zeros(4)
        alphas = (begin - fall * epoch / epochs, begin - fall * (epoch + 1) / epochs)
        common = {"alphas": alphas, "epoch": epoch, "first": first, "last": last, "stop": never, "sums": sums}
        if p["deterministic"]:
            kernel.train_rounds(model.inputs, model.outputs, text, draws, plan, **common, workers=p["workers"])
        else:
            kernel.train_chunks(model.inputs, model.outputs, text, draws, plan, **common)
        if not np.isfinite(sums[LOSS]):
            raise TrainingDiverged(
                f"the loss is no longer finite in epoch {epoch + 1} at alpha={alphas[0]:.4g}: lower alpha"
            )
        return sums

    def entry(sums: npt.NDArray[np.float64]) -> dict[str, Any]:
        pairs = sums[PAIRS] if len(sums) else 0
        alpha = begin - fall * (model.run.position.epoch + 1) / epochs
        return {
            "loss": float(sums[LOSS] / pairs) if pairs else None,
            "words": int(sums[WORDS]) if len(sums) else 0,
            "pairs": int(pairs),
            "alpha": alpha,
        }

    train(
        model.run, work, entry, units=n_chunks(text), span=_SPAN * (p["workers"] if p["deterministic"] else 1),
        epochs=epochs, workers=1 if p["deterministic"] else p["workers"], unit="words", size=corpus.tokens,
        callback=callback, checkpoints=checkpoints,
    )  # fmt: skip
    check_finite_tables((model.inputs, model.outputs), f"alpha={p['alpha']}")


def merged(
    model: Model, corpus: EncodedCorpus, parameters: Mapping[str, Any]
) -> tuple[Model, EncodedCorpus, npt.NDArray[np.int64]]:
    """A model that knows the words of more text too, and that text in its row numbers.

    Parameters
    ----------
    model
        What was learned; it stays as it is.
    corpus
        More text.
    parameters
        Those of `embedkit.Word2Vec`, checked.

    Returns
    -------
    model : Model
        Rows of known words are copies; new words begin as at the start of a training. Its run has not begun.
    corpus : EncodedCorpus
        The text with the ids of these rows.
    counts : ndarray of int64
        How often each word is in this text, shape (n,).
    """
    from embedkit.kernels.simd import new_table

    known = model.vocabulary
    reaching = corpus.vocabulary.prune(parameters["min_count"], parameters["max_final_vocab"])
    new = [word for word in reaching if word not in known.words]
    if not new and not any(word in known.words for word in corpus.vocabulary):
        least = parameters["min_count"]
        raise BadInput(f"0 of {len(corpus.vocabulary)} words reach min_count={least}, and none of them is known")
    words = [*known, *new]
    numbers = {word: number for number, word in enumerate(words)}
    number_of_id = np.array([numbers.get(word, -1) for word in corpus.vocabulary], dtype=np.int64)
    there = number_of_id >= 0
    counts = np.zeros(len(words), dtype=np.int64)
    counts[number_of_id[there]] = corpus.vocabulary.counts[there]
    total = counts.copy()
    total[: len(known)] += known.counts

    order = np.argsort(-total, kind="stable")  # rows are in order of frequency
    row_of_number = np.empty(len(order), dtype=np.int64)
    row_of_number[order] = np.arange(len(order))
    d, rows = parameters["vector_size"], row_of_number[: len(known)]
    inputs, outputs = new_table(len(words), d), new_table(len(words), d)
    inputs[rows, :d], outputs[rows, :d] = model.inputs, model.outputs
    fresh = np.empty((len(new), d), dtype=np.float32)
    fill_at_random(fresh, parameters["random_state"] + len(known))
    inputs[row_of_number[len(known) :], :d] = fresh

    row_of_id = np.where(there, row_of_number[number_of_id], len(words)).astype(np.int32)
    ids = row_of_id[corpus.ids]
    vocabulary = Vocabulary([words[i] for i in order.tolist()], total[order])
    text = EncodedCorpus(ids, corpus.ends, vocabulary, corpus.provenance)
    return Model(vocabulary, inputs, outputs), text, counts[order]
