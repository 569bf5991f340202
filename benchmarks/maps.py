"""Maps of MNIST and of word vectors: UMAP against umap-learn, and against openTSNE and pacmap where they are installed.

Every run is a process of its own, the ways take turns, and compilation is left out by a small map before the clock
starts, except with --cold, which measures whole programs, `embedkit project` among them, in fresh processes with an
empty compile cache, by default on 1,000 and 5,000 rows. Quality is trustworthiness and continuity at 15 neighbours of
sampled points (ranks among all rows), and a 10-nearest-neighbour classifier in the map, five folds. MNIST comes from
the folder of real data ($EMBEDKIT_DATA, else ../shared/data); word vectors are those that ship. Run from the root:

    python -m benchmarks.maps [--rows 70000] [--seeds 3] [--ways embedkit,umap-learn] [--data mnist|words]
    python -m benchmarks.maps --cold [--rows 1000] [--seeds 3] [--data mnist|words]
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.report import write

DATA = Path(os.environ.get("EMBEDKIT_DATA", Path(__file__).parents[2] / "shared" / "data"))
WAYS = {
    "embedkit": ("embedkit", "UMAP(random_state)"),
    "embedkit, 1 thread": ("embedkit", "UMAP(random_state, n_jobs=1)"),
    "umap-learn": ("umap", "UMAP(random_state), which means one thread"),
    "umap-learn, no seed": ("umap", "UMAP(): all threads"),
    "openTSNE": ("openTSNE", "TSNE(random_state) of 50 principal components"),
    "pacmap": ("pacmap", "PaCMAP(random_state)"),
}
OWN = [str(Path(sys.executable).with_name("embedkit")), "project", "{folder}/rows.npy", "-o", "{folder}/map.csv",
       "--method", "umap", "--seed", "{seed}"]  # fmt: skip
THEIRS = """
import sys
import numpy, umap
places = umap.UMAP(random_state=int(sys.argv[2])).fit_transform(numpy.load(sys.argv[1] + "/rows.npy"))
numpy.savetxt(sys.argv[1] + "/map.csv", places, delimiter=",")
"""
PROGRAMS = {
    "umap-learn": [sys.executable, "-c", THEIRS, "{folder}", "{seed}"],
    "embedkit project": OWN,
    "embedkit project --no-report": [*OWN, "--no-report"],
}
JUDGED = 2000  # points whose neighbourhoods are looked at

Floats = npt.NDArray[np.float32]


def rows_of(data: str, n: int) -> tuple[Floats, npt.NDArray[Any] | None]:
    """The first rows, and their classes where there are some. MNIST's 10,000 test images come first."""
    from embedkit import read

    if data == "words":
        from embedkit.pretrained import PATH

        return np.array(read(PATH).vectors[:n], dtype=np.float32), None
    parts, classes = [], []
    for name in ("t10k", "train"):
        images = read(DATA / "mnist" / f"{name}-images-idx3-ubyte.gz")
        parts.append(np.asarray(images.vectors, dtype=np.float32))
        classes.append(np.asarray(images.columns["class"]))
    return np.concatenate(parts)[:n], np.concatenate(classes)[:n]


def fit(way: str, rows: Floats, seed: int) -> Floats:
    """A map by one of the ways."""
    if way.startswith("embedkit"):
        from embedkit import UMAP

        return np.asarray(UMAP(random_state=seed, n_jobs=1 if way.endswith("1 thread") else -1).fit(rows).embedding_)
    if way.startswith("umap-learn"):
        import umap

        return np.asarray(umap.UMAP(random_state=None if way.endswith("no seed") else seed).fit(rows).embedding_)
    if way == "openTSNE":
        from sklearn.decomposition import PCA

        small = PCA(50, random_state=seed).fit_transform(rows)
        return np.asarray(importlib.import_module(way).TSNE(random_state=seed, n_jobs=os.cpu_count()).fit(small))
    return np.asarray(importlib.import_module(way).PaCMAP(random_state=seed).fit_transform(rows))


def resident(what: str) -> float:
    """MB of this process in memory, now ("VmRSS") or at the most ("VmHWM"); Linux tells."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(what)) / 1024


def worker(way: str, data: str, n: int, seed: int, out: str) -> None:
    """Fit in this process, save the map, and print what it took as JSON."""
    import warnings

    warnings.simplefilter("ignore")
    rows, _ = rows_of(data, n)
    fit(way, rows[: min(n, 9000)], 0)  # enough rows for approximate neighbours, where many will need them
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the most memory in use so far is forgotten
    wall, cpu = time.perf_counter(), time.process_time()
    places = fit(way, rows, seed)
    took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    took["memory"] = resident("VmHWM") - before
    np.save(out, places)
    print(json.dumps(took))


def run(way: str, data: str, n: int, seed: int, folder: Path) -> tuple[dict[str, float], Floats]:
    """What a process of its own took, and its map."""
    out = folder / "map.npy"
    command = [sys.executable, "-m", "benchmarks.maps", "--worker", way, "--data", data, "--rows", str(n)]
    command += ["--first-seed", str(seed), "--out", str(out)]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(ran.stdout.splitlines()[-1]), np.load(out)


def judge(rows: Floats, classes: npt.NDArray[Any] | None) -> Callable[[Floats], dict[str, float]]:
    """A judge of maps of these rows: the same sampled points for all."""
    from sklearn.model_selection import cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    n, k = len(rows), 15
    asked = np.sort(np.random.default_rng(0).choice(n, min(n, JUDGED), replace=False))
    ranks = ranks_of(rows, asked)
    scale = 2 / (len(asked) * k * (2 * n - 3 * k - 1))

    def of(places: Floats) -> dict[str, float]:
        in_map = ranks_of(places, asked)
        trust = 1 - scale * np.maximum(ranks - k, 0)[(in_map >= 1) & (in_map <= k)].sum()
        continuity = 1 - scale * np.maximum(in_map - k, 0)[(ranks >= 1) & (ranks <= k)].sum()
        found = {"trust": float(trust), "continuity": float(continuity)}
        if classes is not None:
            found["kNN"] = float(cross_val_score(KNeighborsClassifier(10), places, classes, cv=5).mean())
        return found

    return of


def ranks_of(rows: npt.NDArray[Any], asked: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Rank of every row by its distance from each asked one, itself 0: (asked, n)."""
    wide = rows.astype(np.float64)
    wide -= wide.mean(axis=0)
    squares = (wide * wide).sum(axis=1)
    ranks = np.empty((len(asked), len(rows)), dtype=np.int32)
    for place, row in enumerate(asked):
        distances = squares - 2 * (wide @ wide[row])
        distances[row] = -np.inf
        ranks[place, np.argsort(distances, kind="stable")] = np.arange(len(rows))
    return ranks


def compare(data: str, n: int, seeds: range, ways: list[str]) -> str:
    """Time, memory and quality of each way, seed by seed in turns."""
    rows, classes = rows_of(data, n)
    quality = judge(rows, classes)
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as name:
        for seed in seeds:
            for way in ways:
                took, places = run(way, data, n, seed, Path(name))
                found[way].append({**took, **quality(places)})
                print(way, seed, found[way][-1], flush=True)
    base = found.get("umap-learn", found[ways[0]])
    names = [name for name in ("trust", "continuity", "kNN") if name in base[0]]
    heads = ["wall s", "CPU s", "wall, times umap-learn's", "MB more", *names]
    lines = [f"| | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for way, runs in found.items():
        ratio = statistics.median(mine["wall"] / its["wall"] for mine, its in zip(runs, base, strict=True))
        cells = [f"{statistics.median(run['wall'] for run in runs):.1f}",
                 f"{statistics.median(run['cpu'] for run in runs):.1f}", f"{ratio:.2f}",
                 f"{max(run['memory'] for run in runs):.0f}"]  # fmt: skip
        cells += [f"{statistics.mean(run[name] for run in runs):.4f}" for name in names]
        lines.append(f"| {way} ({WAYS[way][1]}) | {' | '.join(cells)} |")
    return (
        f"{rows.shape[0]:,} x {rows.shape[1]} {data}, {len(seeds)} seeds in turns, each run a warm process of its own; "
        f"times are medians, ratios the median of those of a seed, quality the mean (of {min(n, JUDGED):,} points for "
        "trust and continuity).\n\n" + "\n".join(lines)
    )


def cold(data: str, sizes: list[int], rounds: int) -> str:
    """Whole programs in fresh processes with an empty compile cache: the same .npy in, a CSV out."""
    lines = [
        "| rows | program | wall s | CPU s | wall, times umap-learn's | CPU, times umap-learn's |",
        "|---" * 6 + "|",
    ]
    for n in sizes:
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in PROGRAMS}
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            np.save(folder / "rows.npy", rows_of(data, n)[0])
            for round_ in range(rounds):
                for program, runs in found.items():
                    command = [part.format(folder=folder, seed=round_ + 1) for part in PROGRAMS[program]]
                    runs.append(run_cold(command, folder))
                    written = len((folder / "map.csv").read_text().splitlines())
                    if written not in (n, n + 1):  # one program writes a line of names
                        raise RuntimeError(f"{program} wrote {written} lines for {n} rows")
                    print(n, program, runs[-1], flush=True)
        for program, runs in found.items():
            wall, cpu = (statistics.median(column) for column in zip(*runs, strict=True))
            ratios = [
                statistics.median(mine[j] / its[j] for mine, its in zip(runs, found["umap-learn"], strict=True))
                for j in (0, 1)
            ]
            lines.append(f"| {n:,} | {program} | {wall:.1f} | {cpu:.1f} | {ratios[0]:.2f} | {ratios[1]:.2f} |")
    return (
        f"Whole processes, from the start of Python to the CSV written, {rounds} rounds in turns, with an empty "
        "compile cache each time; `embedkit project` also measures how far the map can be trusted, but with "
        "--no-report. Times are medians, ratios the medians of those of a round.\n\n" + "\n".join(lines)
    )


def run_cold(command: list[str], folder: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a process that finds nothing compiled."""
    empty = tempfile.mkdtemp(dir=folder)
    environment = {**os.environ, "NUMBA_CACHE_DIR": empty, "EMBEDKIT_CACHE": empty}
    (folder / "map.csv").unlink(missing_ok=True)
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", choices=("mnist", "words"), default="mnist")
    parser.add_argument("--ways", default="")
    parser.add_argument("--cold", action="store_true")
    for hidden in ("--worker", "--out"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--first-seed", type=int, default=1, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        worker(given.worker, given.data, given.rows, given.first_seed, given.out)
        return
    load = os.getloadavg()
    command = "python -m benchmarks.maps " + " ".join(sys.argv[1:])
    if given.cold:
        body, name = cold(given.data, [given.rows] if given.rows else [1000, 5000], given.seeds), "maps_cold"
    else:
        wanted = given.ways.split(",") if given.ways else list(WAYS)
        ways = [way for way in wanted if importlib.util.find_spec(WAYS[way][0]) is not None]
        seeds = range(given.first_seed, given.first_seed + given.seeds)
        rows = given.rows or 70_000
        body, name = compare(given.data, rows, seeds, ways), f"maps_{given.data}_{rows}"
    write(name, "Maps", command.strip(), ["numpy", "numba", "umap-learn", "pynndescent", "embedkit"], load, body)


if __name__ == "__main__":
    main()
