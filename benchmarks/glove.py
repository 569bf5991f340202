"""GloVe on 25 MB of text: cost, speed and quality, against a plain kernel and, where its programs are, Stanford's C.

The text is the beginning of enwiki15-a from the folder of real data ($EMBEDKIT_DATA, else ../shared/data). $GLOVE_BIN
names a folder with Stanford's vocab_count, cooccur, shuffle and glove; nothing of it is in this repository. Run from
the root: python -m benchmarks.glove
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import plain_glove
from benchmarks.report import Stopwatch, cpu_of_children, write
from benchmarks.training import judge, slice_of_text
from embedkit import Cooccurrence, Corpus, Embedding, GloVe, read
from embedkit.kernels.cooccurrence import Counts
from embedkit.kernels.glove import new_vectors

SIZE, EPOCHS, PLAIN_EPOCHS, SEED = 25_000_000, 10, 2, 1
OPTIONS: dict[str, Any] = {"x_max": 10.0, "alpha": 0.75, "eta": 0.05}


def by_stanford(programs: Path, text: Path, folder: Path) -> tuple[float, float, float, Embedding]:
    """CPU seconds for counting and for training, the final cost, and the vectors."""

    def run(name: str, options: str, source: Path, target: str) -> tuple[float, str]:
        before = cpu_of_children()
        with source.open("rb") as stdin, (folder / target).open("wb") as stdout:
            done = subprocess.run([programs / name, *options.split()], stdin=stdin, stdout=stdout,
                                  stderr=subprocess.PIPE, check=True)  # fmt: skip
        return cpu_of_children() - before, done.stderr.decode()

    counting = sum((
        run("vocab_count", "-min-count 5 -verbose 0", text, "vocab.txt")[0],
        run("cooccur", f"-memory 4 -vocab-file {folder}/vocab.txt -window-size 10 -verbose 0", text, "counts.bin")[0],
        run("shuffle", "-memory 4 -verbose 0", folder / "counts.bin", "shuffled.bin")[0],
    ))  # fmt: skip
    options = (f"-save-file {folder}/vectors -threads 1 -input-file {folder}/shuffled.bin -x-max 10 -iter {EPOCHS} "
               f"-vector-size 100 -eta 0.05 -alpha 0.75 -vocab-file {folder}/vocab.txt -binary 0 -model 2 -verbose 2 "
               f"-seed {SEED}")  # fmt: skip
    training, told = run("glove", options, folder / "shuffled.bin", "log.txt")
    costs = re.findall(r"cost: ([0-9.]+)", told)
    vectors = read(folder / "vectors.txt")
    return counting, training, float(costs[-1]), vectors.filter(lambda word: word != "<unk>")


def main() -> None:
    load = os.getloadavg()
    quality = judge()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = folder / "text.txt"
        slice_of_text(text, SIZE, "a")
        with Stopwatch() as encoding:
            corpus = Corpus(text).encode(folder / "encoded.safetensors")
        Cooccurrence.count(Corpus(["a b c"] * 9), window=10)  # compiles
        with Stopwatch() as counting:
            counts = Cooccurrence.count(corpus, window=10)
        tiny = Cooccurrence.count(Corpus(["a b c d"] * 9), window=10)
        GloVe(**OPTIONS, epochs=1, random_state=SEED).fit(tiny)  # compiles
        trainer = GloVe(**OPTIONS, epochs=EPOCHS, random_state=SEED)
        with Stopwatch() as training:
            vectors = trainer.fit_transform(counts)
        n = counts.matrix.nnz
        matrix = counts.matrix
        table = Counts(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data)
        plain_glove.epoch(new_vectors(100, 100, SEED), plain_glove.random_counts(100, 1000), **OPTIONS, seed=SEED)
        plain, seconds = new_vectors(len(corpus.vocabulary.prune(5)), 100, SEED), []
        for epoch in range(PLAIN_EPOCHS):
            begin = time.process_time()
            plain_glove.epoch(plain, table, **OPTIONS, seed=epoch)
            seconds.append(time.process_time() - begin)
        ours = training.cpu / EPOCHS / n * 1e9
        loops = statistics.median(seconds) / n * 1e9
        lines = ["| | counting, CPU s | training, CPU s | ns a count | final cost | analogies, % | WordSim-353 |",
                 "|---|---|---|---|---|---|---|"]  # fmt: skip
        analogies, similarity = quality(vectors)
        cost = trainer.history_[-1]["loss"]
        lines.append(f"| embedkit | {encoding.cpu + counting.cpu:.1f} | {training.cpu:.1f} | {ours:.0f} | {cost:.5f} | "
                     f"{100 * analogies:.1f} | {similarity:.3f} |")  # fmt: skip
        lines.append(f"| plain loops in numba | | | {loops:.0f} | | | |")
        told = f"Plain loops take {loops / ours:.1f} times embedkit's CPU time a count (their compilation left out)."
        programs = os.environ.get("GLOVE_BIN")
        if programs:
            theirs = by_stanford(Path(programs), text, folder)
            analogies, similarity = quality(theirs[3])
            lines.append(f"| Stanford's C, 1 thread | {theirs[0]:.1f} | {theirs[1]:.1f} | "
                         f"{theirs[1] / EPOCHS / n * 1e9:.0f} | {theirs[2]:.5f} | {100 * analogies:.1f} | "
                         f"{similarity:.3f} |")  # fmt: skip
            told += (f" Stanford's C takes {theirs[1] / training.cpu:.1f} times as long to train, and "
                     f"{theirs[0] / (encoding.cpu + counting.cpu):.1f} times to count.")  # fmt: skip
    body = (f"The first {SIZE / 1e6:g} MB of enwiki15-a: {corpus.tokens:,} tokens, {n:,} counts; window 10, 100 "
            f"dimensions, {EPOCHS} epochs, x_max 10, eta 0.05, min_count 5, one thread each. embedkit's training "
            "includes putting the counts in order.\n\n" + "\n".join(lines) + f"\n\n{told}")  # fmt: skip
    write("glove", "GloVe training", "GLOVE_BIN=... python -m benchmarks.glove",
          ["numpy", "numba", "embedkit"], load, body)  # fmt: skip


if __name__ == "__main__":
    main()
