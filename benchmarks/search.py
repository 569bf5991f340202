"""Answering analogies, exactly: embedkit against gensim, numpy, torch, faiss and scikit-learn.

Questions a - b + c, the best answer without the inputs. `crossed` sets cross word pairs within relations, as the Google
set does; in the `distinct` set no word comes twice. Every competitor is warm, has the same threads, and takes turns
with the others; figures are medians over rounds, ratios those of the same round. The slow ones answer a part of the
questions, which their time is counted by. faiss-cpu is wanted beside the packages of embedkit. Run from the root:
python -m benchmarks.search [--sets glove-50 400k-300 1M-300] [--threads 1] [--rounds 5] [--peers gensim numpy ...]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.report import write

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Answer = Callable[[Integers], Integers]

SETS = {"glove-50": (400_000, 50), "400k-300": (400_000, 300), "1M-300": (1_000_000, 300)}
PEERS = ("gensim", "numpy", "torch", "faiss, tuned", "faiss, default", "scikit-learn")
RELATIONS, PAIRS = 14, 37  # 18,648 questions of at most 1,036 words
SIZES = (1, 10, 100, 1000)
DISTINCT = 10_000
WARM = 120  # single questions asked before measuring
MOST = {"gensim": 16, "numpy": 64, "torch": 256, "scikit-learn": 64, "faiss, tuned": 256, "faiss, default": 256}


class Measured(NamedTuple):
    """CPU and wall seconds a question."""

    cpu: float
    wall: float


def vectors(name: str) -> Floats:
    """The vectors of a set: those of GloVe, or numbers of a normal distribution."""
    n, d = SETS[name]
    if name == "glove-50":
        from benchmarks.evaluate_glove import glove

        return glove().vectors
    return np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)


def crossed(n: int, rng: np.random.Generator) -> Integers:
    """Questions of pairs crossed within relations, shuffled, of words among the first tenth."""
    pairs = rng.choice(n // 10, (RELATIONS, PAIRS, 2), replace=False)
    terms = [(b[1], b[0], a[0]) for relation in pairs for b in relation for a in relation if a is not b]
    return rng.permutation(np.array(terms, dtype=np.int64))


def distinct(n: int, rng: np.random.Generator) -> Integers:
    return rng.permutation(n)[: 3 * DISTINCT].reshape(DISTINCT, 3).astype(np.int64)


def competitors(rows: Floats, names: list[str]) -> dict[str, Answer]:
    """What answers questions (m, 3) with rows (m,)."""
    from embedkit import Embedding, Search

    embedding = Embedding(None, rows)
    unit = embedding.unit.vectors
    search = Search(embedding, device="numpy")

    def ours(terms: Integers) -> Integers:
        return search.analogies([tuple(map(str, question)) for question in terms.tolist()], 1).rows[:, 0]

    def queries(terms: Integers) -> Floats:
        made: Floats = unit[terms[:, 0]] - unit[terms[:, 1]] + unit[terms[:, 2]]
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        return made

    def without_inputs(found: npt.NDArray[Any], terms: Integers) -> Integers:
        """The first of `found` (m, 4), best first, that is no input."""
        fresh = (found[:, :, None] != terms[:, None, :]).all(axis=2)
        best: Integers = found[np.arange(len(found)), fresh.argmax(axis=1)].astype(np.int64)
        return best

    makers: dict[str, Callable[[], Answer]] = {
        "gensim": lambda: _gensim(rows),
        "numpy": lambda: lambda terms: without_inputs(_best(queries(terms) @ unit.T), terms),
        "torch": lambda: _torch(unit, queries, without_inputs),
        "faiss, tuned": lambda: _faiss(unit, queries, without_inputs, 20),
        "faiss, default": lambda: _faiss(unit, queries, without_inputs, None),
        "scikit-learn": lambda: _sklearn(unit, queries, without_inputs),
    }
    return {"embedkit": ours, **{name: makers[name]() for name in names}}


def _best(scores: Floats) -> Integers:
    top = np.argpartition(scores, -4, axis=1)[:, -4:]
    order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1)
    return np.take_along_axis(top, order, axis=1)


def _gensim(rows: Floats) -> Answer:
    from gensim.models import KeyedVectors

    keyed = KeyedVectors(rows.shape[1])
    keyed.add_vectors([str(row) for row in range(len(rows))], rows)
    keyed.fill_norms()

    def answer(terms: Integers) -> Integers:
        asked = terms.astype(str).tolist()
        return np.array([int(keyed.most_similar([a, c], [b], topn=1)[0][0]) for a, b, c in asked])

    return answer


def _torch(unit: Floats, queries: Any, without_inputs: Any) -> Answer:
    import torch

    matrix = torch.from_numpy(unit.copy())

    def answer(terms: Integers) -> Integers:
        found: Integers = without_inputs((torch.from_numpy(queries(terms)) @ matrix.T).topk(4).indices.numpy(), terms)
        return found

    return answer


_INDEXES: dict[int, Any] = {}


def _faiss(unit: Floats, queries: Any, without_inputs: Any, threshold: int | None) -> Answer:
    import faiss

    default = faiss.cvar.distance_compute_blas_threshold
    if id(unit) not in _INDEXES:
        _INDEXES.clear()
        _INDEXES[id(unit)] = faiss.IndexFlatIP(unit.shape[1])
        _INDEXES[id(unit)].add(unit)
    index = _INDEXES[id(unit)]

    def answer(terms: Integers) -> Integers:
        faiss.cvar.distance_compute_blas_threshold = default if threshold is None else threshold
        found: Integers = without_inputs(index.search(queries(terms), 4)[1], terms)
        faiss.cvar.distance_compute_blas_threshold = default
        return found

    return answer


def _sklearn(unit: Floats, queries: Any, without_inputs: Any) -> Answer:
    from sklearn.neighbors import NearestNeighbors

    # Of unit rows the nearest by Euclid are those by cosine, which scikit-learn computes faster.
    nearest = NearestNeighbors(n_neighbors=4, algorithm="brute").fit(unit)

    def answer(terms: Integers) -> Integers:
        found: Integers = without_inputs(nearest.kneighbors(queries(terms), return_distance=False), terms)
        return found

    return answer


def timed(answer: Answer, terms: Integers, size: int, most: int) -> tuple[Measured, Integers]:
    """Time a question of batches of `size`, in all at most `most` questions or one batch, and the answers to these."""
    asked = terms[: max(min(len(terms), most), 1)]
    wall, cpu = time.perf_counter(), time.process_time()
    found = [answer(asked[start : start + size]) for start in range(0, len(asked), size)]
    spent = time.process_time() - cpu, time.perf_counter() - wall
    return Measured(*(seconds / len(asked) for seconds in spent)), np.concatenate(found)


def compare(answers: dict[str, Answer], terms: Integers, size: int, rounds: int) -> list[str]:
    """Lines of a table: one competitor each."""
    most = {name: MOST.get(name, len(terms)) for name in answers}
    if size < len(terms):
        most["embedkit"] = max(size, 20)  # so that short runs are measured as well
    runs: dict[str, list[Measured]] = {name: [] for name in answers}
    agreed = dict.fromkeys(answers, 1.0)
    for answer_round in range(rounds + 1):
        ours: Integers = np.empty(0, dtype=np.int64)
        for name, answer in answers.items():
            spent, found = timed(answer, terms, min(size, most[name]), most[name])
            ours = found if name == "embedkit" else ours
            shared = min(len(found), len(ours))
            agreed[name] = float((found[:shared] == ours[:shared]).mean())
            if answer_round:  # the first is to warm up
                runs[name].append(spent)
    lines = []
    for name, measured in runs.items():
        cpu, wall = (1e3 * statistics.median(column) for column in zip(*measured, strict=True))
        ratios = [
            statistics.median(one[i] / mine[i] for one, mine in zip(measured, runs["embedkit"], strict=True))
            for i in (0, 1)
        ]
        lines.append(f"| {name} | {cpu:.4g} | {wall:.4g} | {ratios[0]:.3g} | {ratios[1]:.3g} | {agreed[name]:.1%} |")
    return lines


def memory(rows: Floats) -> str:
    """What single queries allocate beside the Embedding at their peak; the compiler's own memory is not counted."""
    from embedkit import Embedding, Search
    from embedkit.kernels import sketch

    none, ones = np.empty(0, dtype=np.int64), np.ones(100, dtype=np.float32)
    sketch.by_sketch(sketch.sketched(rows[:100], ones), rows[:100], ones, rows[0], 1, none, none)  # loads and compiles
    embedding = Embedding(None, rows)
    embedding.rows(map(str, range(100)))  # the dictionary of labels
    tracemalloc.start()
    search = Search(embedding, device="numpy")
    ways = {search.similar([str(i)], 10).device for i in range(WARM)}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return f"{WARM} single queries ({', '.join(sorted(ways))}) hold {peak / 1e6:.0f} MB beside the Embedding at most."


def on_gpu(rows: Floats, sets: dict[str, Integers]) -> list[str]:
    """Lines on a CUDA device: questions a second, and the arithmetic and traffic of products against its limits."""
    import torch

    from embedkit import Embedding, Search

    def seconds(work: Callable[[], object], times: int = 5) -> float:
        work()
        spent = []
        for _ in range(times):
            torch.cuda.synchronize()
            start = time.perf_counter()
            work()
            torch.cuda.synchronize()
            spent.append(time.perf_counter() - start)
        return statistics.median(spent)

    square = torch.randn(8192, 8192, device="cuda")
    flops = 2 * 8192**3 / seconds(lambda: square @ square)
    large = torch.empty(1 << 28, device="cuda")
    traffic = 8 * len(large) / seconds(lambda: large.clone())
    lines = [f"{torch.cuda.get_device_name()}: {flops / 1e12:.0f} TFLOP/s in float32, {traffic / 1e12:.2f} TB/s.", ""]
    lines += ["| questions | a second | products, of the limit | bytes of scores, of the limit |", "|---|---|---|---|"]
    search, numpys = (Search(Embedding(None, rows), device=device) for device in ("cuda", "numpy"))
    for name, terms in sets.items():
        asked = [tuple(map(str, question)) for question in terms.tolist()]
        spent = seconds(partial(search.analogies, asked, 1))
        found = search.analogies(asked, 1)
        same = np.array_equal(found.rows, numpys.analogies(asked, 1).rows)
        products = len(np.unique(terms)) if "shared" in found.device else len(terms)
        lines.append(
            f"| {name} ({len(terms):,}; {found.device}; {'as' if same else 'NOT as'} on the CPU) | "
            f"{len(terms) / spent:,.0f} | {2 * products * rows.size / spent / flops:.1%} | "
            f"{8 * products * len(rows) / spent / traffic:.1%} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), help="questions asked at a time")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    # What is given to all: embedkit has a thread for each processor that the process may use.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.threads])
    from threadpoolctl import threadpool_limits

    load = os.getloadavg()
    parts = []
    with threadpool_limits(given.threads):
        import torch

        torch.set_num_threads(given.threads)
        if any("faiss" in name for name in given.peers):
            import faiss

            faiss.omp_set_num_threads(given.threads)
        for name in given.sets:
            rows, rng = vectors(name), np.random.default_rng(1)
            sets = {"crossed": crossed(len(rows), rng), "distinct": distinct(len(rows), rng)}
            parts += [f"## {name}: {rows.shape[0]:,} x {rows.shape[1]}", "", memory(rows)]
            answers = competitors(rows, given.peers)
            for i in range(WARM):
                answers["embedkit"](sets["crossed"][i : i + 1])
            cases = [*(("crossed", size) for size in given.sizes), ("crossed", len(sets["crossed"])),
                     ("distinct", DISTINCT)]  # fmt: skip
            for kind, size in cases:
                lines = compare(answers, sets[kind], size, given.rounds)
                parts += ["", f"{kind}, {size:,} at a time", "",
                          "| | CPU ms a question | wall ms | times embedkit, CPU | wall | same answers |",
                          "|---|---|---|---|---|---|", *lines]  # fmt: skip
                print("\n".join(parts[-len(lines) - 5 :]), flush=True)
            if torch.cuda.is_available():
                parts += ["", *on_gpu(rows, sets)]
            parts.append("")
    caps = ", ".join(f"{name} ({most})" for name, most in MOST.items() if name in given.peers)
    body = (
        f"{given.threads} thread{'s' if given.threads > 1 else ''} each, {given.rounds} rounds, load "
        f"{os.getloadavg()[0]:.2f} (1 min) after the run. Asked fewer questions, at a time and in all, are {caps}. "
        "faiss is tuned by distance_compute_blas_threshold=20.\n\n" + "\n".join(parts).rstrip()
    )
    packages = ["numpy", "numba", "embedkit", *(["gensim"] if "gensim" in given.peers else []), "torch",
                *(["faiss-cpu"] if any("faiss" in name for name in given.peers) else []),
                *(["scikit-learn"] if "scikit-learn" in given.peers else [])]  # fmt: skip
    name = "search" if given.threads == 1 else f"search_{given.threads}_threads"
    write(name, "Search", f"python -m benchmarks.search --threads {given.threads}", packages, load, body)


if __name__ == "__main__":
    main()
