"""Peak memory of training skip-gram with 100 dimensions for one epoch on enwiki15-a, beside gensim's corpus_file mode.

Each trains in a fresh process, with text that is encoded before and kernels that are compiled before. Two peaks are
told: of all resident pages, which counts libraries and the mapped text, and of anonymous ones, which only the process
can give back. The text comes from the folder of real data. Run from the root: python -m benchmarks.training_memory
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.report import write
from benchmarks.training import slice_of_text
from embedkit import Corpus

_WATCHED = """
import sys, threading, time
peak = 0
def watch():
    global peak
    while True:
        status = open("/proc/self/status").read()
        peak = max(peak, int(status.split("RssAnon:")[1].split()[0]))
        time.sleep(0.02)
threading.Thread(target=watch, daemon=True).start()
{train}
time.sleep(0.1)
status = open("/proc/self/status").read()
print(int(status.split("VmHWM:")[1].split()[0]), peak)
"""
_EMBEDKIT = """
from embedkit import Word2Vec, load
model = Word2Vec(sg=1, vector_size=100, epochs=1, random_state=1).fit(load(sys.argv[1]))
"""
_GENSIM = """
from gensim.models import Word2Vec
model = Word2Vec(corpus_file=sys.argv[1], sg=1, vector_size=100, epochs=1, workers=1)
"""


def peaks(train: str, path: Path) -> tuple[float, float]:
    """Megabytes: of all resident pages, and of anonymous ones."""
    command = [sys.executable, "-c", _WATCHED.format(train=train), str(path)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(told[0]) / 1000, int(told[1]) / 1000


def main() -> None:
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as name:
        text, encoded = Path(name) / "a.txt", Path(name) / "a.safetensors"
        slice_of_text(text, 10**9, "a")
        Corpus(text).encode(encoded)
        peaks(_EMBEDKIT, encoded)  # compiles
        lines = ["| | peak resident, MB | of it anonymous, MB |", "|---|---|---|"]
        for who, train, path in (("embedkit", _EMBEDKIT, encoded), ("gensim", _GENSIM, text)):
            found = [peaks(train, path) for _ in range(3)]
            resident, anonymous = (max(column) for column in zip(*found, strict=True))
            lines.append(f"| {who} | {resident:.0f} | {anonymous:.0f} |")
        lines += ["", f"The encoded text, of which all pages are mapped: {encoded.stat().st_size / 1e6:.0f} MB."]
    versions = ["numpy", "numba", "gensim", "embedkit"]
    command = "python -m benchmarks.training_memory"
    write("training_memory", "Memory of word2vec training", command, versions, load, "\n".join(lines))


if __name__ == "__main__":
    main()
