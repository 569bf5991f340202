"""What a second thread brings to training skip-gram, and what it costs that the result does not depend on threads.

One thread, two that race (Hogwild), and ``deterministic=True`` with one and two, on a slice of enwiki15-b from the
folder of real data; in turns. Run from the root: python -m benchmarks.threads [MEGABYTES] [ROUNDS]
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import Stopwatch, write
from benchmarks.training import EPOCHS, judge, slice_of_text
from embedkit import Corpus, Word2Vec

WAYS: dict[str, dict[str, Any]] = {
    "1 thread": {"workers": 1},
    "2 threads that race": {"workers": 2},
    "deterministic, 1 thread": {"workers": 1, "deterministic": True},
    "deterministic, 2 threads": {"workers": 2, "deterministic": True},
}


def main() -> None:
    load = os.getloadavg()
    size = int(float(sys.argv[1]) * 1e6) if len(sys.argv) > 1 else 40_000_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    quality = judge()
    wall: dict[str, list[float]] = {way: [] for way in WAYS}
    cpu: dict[str, list[float]] = {way: [] for way in WAYS}
    good: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        slice_of_text(Path(name) / "text.txt", size)
        corpus = Corpus(Path(name) / "text.txt").encode(Path(name) / "encoded.safetensors")
        for parameters in WAYS.values():
            Word2Vec(sg=1, epochs=1, **parameters).fit(corpus)  # compiles
        for seed in range(rounds):
            for way, parameters in WAYS.items():
                with Stopwatch() as watch:
                    vectors = Word2Vec(sg=1, epochs=EPOCHS, random_state=seed, **parameters).fit_transform(corpus)
                wall[way].append(watch.wall / EPOCHS)
                cpu[way].append(watch.cpu / EPOCHS)
                good[way].append(quality(vectors))
                print(way, seed, wall[way][-1], cpu[way][-1], good[way][-1], flush=True)
    first = next(iter(WAYS))
    lines = [
        "| | wall s an epoch | of one thread's | CPU s an epoch | analogies, % | WordSim-353 |",
        "|---|---|---|---|---|---|",
    ]
    for way in WAYS:
        share = statistics.median(mine / one for mine, one in zip(wall[way], wall[first], strict=True))
        analogies, similarity = (statistics.mean(column) for column in zip(*good[way], strict=True))
        lines.append(
            f"| {way} | {statistics.median(wall[way]):.2f} | {share:.2f} | {statistics.median(cpu[way]):.2f} "
            f"| {100 * analogies:.1f} | {similarity:.3f} |"
        )
    body = (
        f"The first {size / 1e6:g} MB of enwiki15-b ({corpus.tokens:,} tokens), 100 dimensions, window 5, 5 negative "
        f"samples, {EPOCHS} epochs; {rounds} interleaved rounds, each with its seed: medians of the times, means of "
        "the rest.\n\n" + "\n".join(lines)
    )
    write("threads", "Threads of word2vec", "python -m benchmarks.threads", ["numpy", "numba", "embedkit"], load, body)


if __name__ == "__main__":
    main()
