"""word2vec training in torch, on a GPU or, to compare with, on the CPU.

The arithmetic is in `embedkit.kernels.word2vec_torch`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.errors import TrainingDiverged
from embedkit.progress import Callback
from embedkit.text import EncodedCorpus
from embedkit.text.vocabulary import keep_probabilities, noise_probabilities
from embedkit.words.block_engine import Model
from embedkit.words.checks import check_finite_tables
from embedkit.words.training import Checkpoints, Run, train

VERSION = "embedkit, shared negatives in blocks, in torch"

_SPANS = 50  # an epoch is told of about so many times


class Ran(NamedTuple):
    """What trained, in words, and whether its seed gives the same vectors bit for bit."""

    engine: str
    repeatable: bool


def run(
    model: Model,
    corpus: EncodedCorpus,
    counts: npt.NDArray[np.int64],
    parameters: Mapping[str, Any],
    callback: Callback | None,
    checkpoints: Checkpoints | None,
    device: str | None = None,
) -> Ran:
    """Train `model` in place, from where its run stands to its end, as `embedkit.words.block_engine.run` does.

    Parameters
    ----------
    model, corpus, counts, parameters, callback, checkpoints
        As there. ``workers`` is how many threads torch uses on the CPU.
    device
        ``"cpu"``, ``"cuda"``, ``"cuda:1"`` ...; `None` and ``"auto"`` take a CUDA device where there is one.

    Returns
    -------
    Ran
        What trained. On a GPU it is not repeatable: sums of many numbers are taken in any order.

    Raises
    ------
    BadInput
        There is no such device.
    TrainingDiverged
        The vectors are no longer finite.
    """
    from embedkit.kernels import word2vec_torch as kernel
    from embedkit.kernels.sampling import alias_table, keep_thresholds

    p, where = parameters, kernel.device_of(device)
    keep, noise = keep_probabilities(counts, p["sample"]), noise_probabilities(counts, p["ns_exponent"])
    plan = kernel.plan(
        p["window"], p["negative"], sg=bool(p["sg"]), kept=counts * keep, noise=noise, shrink=bool(p["shrink_windows"]),
        mean=bool(p["cbow_mean"]), alpha=p["alpha"], shared=p["shared_negatives"],
    )  # fmt: skip
    epochs, begin, fall = p["epochs"], p["alpha"], p["alpha"] - p["min_alpha"]

    with kernel.settings(p["workers"], where):
        text = kernel.Text(kernel.on_device(corpus.ids, where), kernel.on_device(corpus.ends, where))
        thresholds, aliases = (kernel.on_device(table, where) for table in (keep_thresholds(keep), alias_table(noise)))
        draws = kernel.Draws(thresholds, aliases, p["random_state"])
        tables = kernel.tables_of(model.inputs, model.outputs, where)

        def work(epoch: int, first: int, last: int) -> npt.NDArray[np.float64]:
            alphas = (begin - fall * epoch / epochs, begin - fall * (epoch + 1) / epochs)
            sums = kernel.train_chunks(tables, text, draws, plan, alphas=alphas, epoch=epoch, first=first, last=last)
            if not np.isfinite(sums[kernel.LOSS]):
                raise TrainingDiverged(
                    f"the loss is no longer finite in epoch {epoch + 1} at alpha={alphas[0]:.4g}: lower alpha"
                )
            return sums

        def entry(sums: npt.NDArray[np.float64]) -> dict[str, Any]:
            pairs = sums[kernel.PAIRS] if len(sums) else 0
            return {
                "loss": float(sums[kernel.LOSS] / pairs) if pairs else None,
                "words": int(sums[kernel.WORDS]) if len(sums) else 0,
                "pairs": int(pairs),
                "alpha": begin - fall * (model.run.position.epoch + 1) / epochs,
            }

        def write(so_far: Run) -> None:
            kernel.take_back(tables, model.inputs, model.outputs)
            if checkpoints is not None:
                checkpoints.write(so_far)

        chunks = kernel.n_chunks(text, plan)
        ours = None if checkpoints is None else Checkpoints(write, checkpoints.every, checkpoints.path)
        with ours.named() if ours is not None else contextlib.nullcontext():
            train(
                model.run, work, entry, units=chunks, span=max(1, chunks // _SPANS), epochs=epochs, workers=1,
                unit="words", size=corpus.tokens, callback=callback, checkpoints=ours,
            )  # fmt: skip
            kernel.take_back(tables, model.inputs, model.outputs)
            check_finite_tables((model.inputs, model.outputs), f"alpha={p['alpha']}")
    return Ran(f"{VERSION}: {kernel.named(where)}", where == "cpu")
