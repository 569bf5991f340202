"""Where and when a figure was measured, and writing it down."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

RESULTS = Path(__file__).parent / "results"


class Stopwatch:
    """Wall and CPU seconds of a block, as cells of a table."""

    def __enter__(self) -> Self:
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *error: object) -> None:
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu

    def __str__(self) -> str:
        return f"{self.wall:.1f} | {self.cpu:.1f}"


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def processor() -> str:
    """Name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def write(name: str, title: str, command: str, packages: Sequence[str], load: Sequence[float], body: str) -> None:
    """Print a report, and keep it as results/NAME.md.

    Parameters
    ----------
    name, title
        Of the report.
    command
        How to measure it again.
    packages
        Distributions whose versions matter.
    load
        The load averages (1 and 5 minutes) just before measuring.
    body
        What was found, in Markdown.
    """
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in packages)
    where = f"{processor()}, {os.cpu_count()} cores; Python {platform.python_version()}, {versions}"
    load_text = f"load {load[0]:.2f} (1 min), {load[1]:.2f} (5 min) before the run"
    text = f"# {title}\n\n`{command}`\n\n{datetime.date.today()}; {where}; {load_text}.\n\n{body}\n"
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
