"""CPU and wall time of a cold process: the light commands against ``python -c "import numpy, click"``.

Run from the root: python -m benchmarks.cold_start
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.report import write

ROUNDS = 25
PROGRAM = str(Path(sys.executable).with_name("embedkit"))
BASE = 'python -c "import numpy, click"'
COMMANDS = {
    BASE: [sys.executable, "-c", "import numpy, click"],
    # numpy starts a thread a core when it is imported; the program's light commands do without.
    f"OPENBLAS_NUM_THREADS=1 {BASE}": ["env", "OPENBLAS_NUM_THREADS=1", sys.executable, "-c", "import numpy, click"],
    "embedkit analogy king man woman": [PROGRAM, "analogy", "king", "man", "woman"],
    "embedkit similar king": [PROGRAM, "similar", "king"],
    "embedkit --help": [PROGRAM, "--help"],
}


def measure(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """CPU seconds (user and system) and wall seconds of one run."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def main() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "EMBEDKIT_VECTORS"}
    load = os.getloadavg()
    for command in COMMANDS.values():  # byte code compiled, files in the page cache
        measure(command, environment)
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, command in COMMANDS.items():
            runs[name].append(measure(command, environment))
    lines = ["| command | CPU s | wall s | CPU, times the first (median of rounds; min to max) |", "|---|---|---|---|"]
    for name, measured in runs.items():
        ratios = [mine[0] / base[0] for mine, base in zip(measured, runs[BASE], strict=True)]
        cpu, wall = (statistics.median(column) for column in zip(*measured, strict=True))
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        lines.append(f"| `{name}` | {cpu:.3f} | {wall:.3f} | {spread} |")
    body = f"{ROUNDS} rounds, the commands one after another in each; medians.\n\n" + "\n".join(lines)
    write("cold_start", "Cold start", "python -m benchmarks.cold_start", ["numpy", "click", "embedkit"], load, body)


if __name__ == "__main__":
    main()
