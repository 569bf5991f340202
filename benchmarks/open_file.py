"""Time to save, open, verify and first use a native file of 400,000 x 300, in each storage.

Run from the root: python -m benchmarks.open_file
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.report import write
from embedkit import Embedding, load
from embedkit.embedding import Storage

N, D, ROUNDS = 400_000, 300, 15
STORAGES: tuple[Storage, ...] = ("float32", "float16", "int8")


def milliseconds(body: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Median wall milliseconds of a call."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        body()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def main() -> None:
    load_before = os.getloadavg()
    values = np.random.default_rng(0).standard_normal((N, D), dtype=np.float32)
    embedding = Embedding([f"word{i}" for i in range(N)], values, columns={"count": np.arange(N)})
    lines = ["| storage | file, MB | save, ms | open, ms | open and read one vector, ms | verify all, ms |"]
    lines.append("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.safetensors"
        for storage in STORAGES:
            stored = embedding.with_storage(storage)
            saving = milliseconds(partial(stored.save, path), 1)
            opening = milliseconds(lambda: load(path))
            reading = milliseconds(lambda: load(path)["word399999"])
            verifying = milliseconds(lambda: load(path, verify=True), 1)
            size = path.stat().st_size / 1e6
            lines.append(f"| {storage} | {size:.0f} | {saving:.0f} | {opening:.1f} | {reading:.1f} | {verifying:.0f} |")
    body = f"{N:,} x {D}; medians of {ROUNDS} (save and verify: one run); the file is in the page cache.\n\n"
    write("open_file", "Opening a native file", "python -m benchmarks.open_file", ["numpy", "embedkit"],
          load_before, body + "\n".join(lines))  # fmt: skip


if __name__ == "__main__":
    main()
