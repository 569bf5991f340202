"""Vocabulary and word ids of 100 MB of text, against gensim's build_vocab, which counts only.

The text is enwiki15-a from the folder of real data ($EMBEDKIT_DATA, else ../shared/data). Run from the root:
python -m benchmarks.encode_text
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from gensim.models import Word2Vec
from gensim.models.word2vec import LineSentence

from benchmarks.report import Stopwatch, write
from embedkit import Corpus
from embedkit.files.opening import opened

DATA = Path(os.environ.get("EMBEDKIT_DATA", Path(__file__).parents[2] / "shared" / "data"))
ROUNDS = 5


def main() -> None:
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain, small, stored = folder / "text.txt", folder / "small.txt", folder / "encoded.safetensors"
        with opened(DATA / "corpus" / "enwiki15-a.txt.gz") as source, plain.open("wb") as target:
            shutil.copyfileobj(source, target)
        small.write_text("a b\nc\n")
        with Stopwatch() as first:
            Corpus(small).encode(folder / "small.safetensors")
        packed = DATA / "corpus" / "enwiki15-a.txt.gz"
        ways: dict[str, Callable[[], object]] = {
            "embedkit, encode to a file": lambda: Corpus(plain).encode(stored),
            "embedkit, the same from the gzip file": lambda: Corpus(packed).encode(stored),
            "embedkit, words in small letters": lambda: Corpus(plain, tokenize="words", lowercase=True).encode(stored),
            "gensim build_vocab(corpus_file), 1 thread": lambda: Word2Vec(workers=1).build_vocab(
                corpus_file=str(plain)
            ),
            "gensim build_vocab(LineSentence)": lambda: Word2Vec(workers=1).build_vocab(LineSentence(str(plain))),
        }
        times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, body in ways.items():
                with Stopwatch() as watch:
                    body()
                times[way].append((watch.cpu, watch.wall))
        encoded = Corpus(plain).encode(stored)
        counted = Counter(plain.read_text(encoding="utf-8").split())
        same = dict(zip(encoded.vocabulary, encoded.vocabulary.counts.tolist(), strict=True)) == counted
    ours = [cpu for cpu, _ in times["embedkit, encode to a file"]]
    lines = ["| | CPU s, median (least to most) | wall s, median | CPU, times embedkit's |", "|---|---|---|---|"]
    for way, pairs in times.items():
        cpu, wall = zip(*pairs, strict=True)
        ratio = statistics.median(theirs / our for theirs, our in zip(cpu, ours, strict=True))
        spread = f"{statistics.median(cpu):.2f} ({min(cpu):.2f} to {max(cpu):.2f})"
        lines.append(f"| {way} | {spread} | {statistics.median(wall):.2f} | {ratio:.2f} |")
    body_text = (
        f"{encoded!r}; {ROUNDS} interleaved rounds, medians. The first call in a process also loads or compiles the "
        f"kernel: {first.cpu:.2f} CPU s here.\n\n" + "\n".join(lines)
        + f"\n\nCounts equal to those of collections.Counter: {same}."
    )  # fmt: skip
    write("encode_text", "Encoding 100 MB of text", "python -m benchmarks.encode_text",
          ["numpy", "numba", "gensim", "embedkit"], load, body_text)  # fmt: skip


if __name__ == "__main__":
    main()
