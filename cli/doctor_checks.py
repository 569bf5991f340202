"""What `embedkit doctor` tries out, in another process: a library that crashes must not take the report with it."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from embedkit.errors import BadInput

PATIENCE = 300.0  # seconds for one check; on a slow machine, compiling for the first time takes a minute
LIBRARY = "library:"  # before the name of one that is to be imported
_DOCUMENTS = 2_000  # of the kingdom, which a trainer has to learn something from
_LEARNED = 0.2  # share of its analogies; a trainer that has learned nothing gets 1 in 450 right
_FATAL = re.compile(r"Fatal Python error: (.*)")


def examined(names: Sequence[str], patience: float = PATIENCE) -> Iterator[dict[str, Any]]:
    """What came of each check, in the order of `names`: ``name``, ``verdict``, ``seconds``, ``found``.

    The verdict is ``"ok"``, ``"failed"``, or ``"crashed"`` where the process died of it or went on for more than
    `patience` seconds; the others are then run in a new one.
    """
    left = list(names)
    while left:
        with _Child(left, patience) as child:
            for name in list(left):
                start = time.perf_counter()
                answer = child.next()
                left.remove(name)
                if answer is None:
                    seconds = time.perf_counter() - start
                    yield {"name": name, "verdict": "crashed", "seconds": round(seconds, 2), "found": child.end()}
                    break
                yield answer


class _Child:
    """A process that runs checks and writes a line of JSON for each."""

    def __init__(self, names: Sequence[str], patience: float) -> None:
        self._names, self._patience, self._late = names, patience, False

    def __enter__(self) -> _Child:
        self._said = tempfile.TemporaryFile()
        # Its own word on where it crashes, and no modules from the folder that happens to be the current one.
        command = [sys.executable, "-X", "faulthandler", "-P", "-m", "embedkit.cli", "doctor"]
        self._process = subprocess.Popen(
            [*command, *(part for name in self._names for part in ("--check", name))],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._said,
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def next(self) -> dict[str, Any] | None:
        """The next answer; `None` if there is none."""
        stream = self._process.stdout
        assert stream is not None  # noqa: S101  # it was asked for
        timer = threading.Timer(self._patience, self._give_up)
        timer.start()
        try:
            line = stream.readline()
        finally:
            timer.cancel()
        return json.loads(line) if line.endswith(b"\n") else None

    def _give_up(self) -> None:
        self._late = True
        self._process.kill()

    def end(self) -> str:
        """What the process died of."""
        code = self._process.wait()
        if self._late:
            return f"no end after {self._patience:.0f} seconds"
        self._said.seek(0)
        said = self._said.read().decode("utf-8", "replace")
        fatal = _FATAL.search(said)
        last = fatal[1] if fatal else next((line for line in reversed(said.splitlines()) if line.strip()), "")
        return f"the process ended with {code}" + (f": {last.strip()}" if last else "")


def answer(names: Sequence[str]) -> None:
    """Run checks and write what came of them to standard output; in the process that `examined` starts."""
    warnings.simplefilter("ignore")
    # What libraries print must not come between the answers.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as stream:
        os.dup2(2, 1)
        for name in names:
            start = time.perf_counter()
            try:
                found, verdict = _check(name)(), "ok"
            except Exception as error:  # noqa: BLE001  # whatever it is, it is the answer
                found, verdict = f"{type(error).__name__}: {error}".strip(), "failed"
            seconds = round(time.perf_counter() - start, 2)
            stream.write(json.dumps({"name": name, "verdict": verdict, "seconds": seconds, "found": found}) + "\n")
            stream.flush()


# -- libraries and the machine -----------------------------------------------------------------------------------------
# Libraries are imported by name here, because what is looked at is whether they are there at all.


def _check(name: str) -> Callable[[], Any]:
    if name.startswith(LIBRARY):
        return lambda: importlib.import_module(name.removeprefix(LIBRARY)) and None
    return {**FACTS, **ENGINES, **ON_DEVICES}[name]


def _simd() -> dict[str, Any]:
    found: dict[str, Any] = importlib.import_module("numpy").show_config(mode="dicts")["SIMD Extensions"]
    llvm = importlib.import_module("llvmlite.binding")
    return {"llvm": llvm.get_host_cpu_name(), "numpy": " ".join([*found.get("baseline", ()), *found.get("found", ())])}


def _threads() -> dict[str, Any]:
    importlib.import_module("numpy")
    found: dict[str, Any] = {}
    for pool in importlib.import_module("threadpoolctl").threadpool_info():
        found[f"{pool['internal_api']} {pool['version'] or ''}".strip()] = pool["num_threads"]
    found["numba"] = importlib.import_module("numba").config.NUMBA_NUM_THREADS
    found["torch"] = importlib.import_module("torch").get_num_threads()
    return found


def _devices() -> dict[str, Any]:
    torch = importlib.import_module("torch")
    found: dict[str, Any] = {"torch built for": torch.version.cuda or torch.version.hip or "cpu"}
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        about = torch.cuda.get_device_properties(number)
        found[f"cuda:{number}"] = f"{about.name}, {about.total_memory / 2**30:.0f} GiB"
    if torch.backends.mps.is_available():
        found["mps"] = "available"
    return found


def _kernels() -> str | None:
    """Where compiled kernels are kept; `None` if they are not."""
    from embedkit.kernels import glove

    compiled = next(one for one in vars(glove).values() if hasattr(one, "py_func"))
    place: str | None = compiled.stats.cache_path
    return place


def _shipped() -> str:
    from embedkit import pretrained
    from embedkit.formats.native import load_embedding

    vectors = load_embedding(pretrained.PATH, verify=True)
    return f"{len(vectors):,} words x {vectors.width}, all checksums right"


FACTS: dict[str, Callable[[], Any]] = {
    "simd": _simd, "threads": _threads, "devices": _devices, "kernels": _kernels, "shipped vectors": _shipped,
}  # fmt: skip


# -- engines -----------------------------------------------------------------------------------------------------------


def _trained(**parameters: Any) -> str:
    from embedkit import Word2Vec
    from embedkit.evaluation import evaluate_analogies
    from embedkit.text.kingdom import kingdom, kingdom_questions

    trainer = Word2Vec(vector_size=16, window=8, min_count=1, sg=1, sample=0, random_state=1, **parameters)
    vectors = trainer.fit_transform(kingdom(_DOCUMENTS))
    right = evaluate_analogies(vectors, kingdom_questions()).total.accuracy
    return _satisfied(right >= _LEARNED, f"{right:.0%} of the kingdom's analogies right")


def _glove() -> str:
    from embedkit import GloVe
    from embedkit.text.kingdom import kingdom

    trainer = GloVe(vector_size=16, window=8, min_count=1, epochs=15, random_state=1).fit(kingdom(_DOCUMENTS))
    return _fallen([epoch["loss"] for epoch in trainer.history_], 0.5)


def _word2vec(engine: str, **parameters: Any) -> Callable[[], str]:
    return lambda: _trained(engine=engine, **parameters)


def _searched(device: Any, expected: str) -> str:
    from embedkit import Search, pretrained

    vectors = pretrained.load()
    if expected == "numba":
        importlib.import_module("embedkit.kernels.fused")  # the search takes it once it is there
    words = list(vectors.labels[:64])
    search = Search(vectors, device=device)
    found = search.similar(words, k=3)
    queen = search.analogies([("king", "man", "woman")], k=1).best
    # A few are always answered by numpy.
    right = queen == ["queen"] and found.best[:4] == Search(vectors, device="numpy").similar(words[:4], k=3).best
    return _satisfied(right and found.device == expected, f"king - man + woman: {queen[0]}, by {found.device}")


def _search(device: Any, expected: str) -> Callable[[], str]:
    return lambda: _searched(device, expected)


def _clusters() -> Any:
    """(120, 8) numbers: two clusters of 60 rows."""
    import numpy as np

    rows = np.random.default_rng(0).normal(size=(120, 8)).astype(np.float32)
    rows[60:] += 12
    return rows


def _autoencoder() -> str:
    from embedkit import Autoencoder

    model = Autoencoder(2, epochs=50, hidden=(16,), random_state=0, device="cpu").fit(_clusters())
    return _fallen([epoch["loss"] for epoch in model.history_], 0.2)


def _map(kind: str) -> str:
    """Of two clusters that lie apart, a map has two."""
    import numpy as np

    import embedkit

    places = np.asarray(getattr(embedkit, kind)(n_components=2, random_state=0).fit_transform(_clusters()))
    centres = places[:60].mean(axis=0), places[60:].mean(axis=0)
    nearer = [int(np.linalg.norm(place - centres[1]) < np.linalg.norm(place - centres[0])) for place in places]
    right = (nearer.count(0), sum(nearer[60:])) == (60, 60)
    return _satisfied(right, f"{sum(n == (i >= 60) for i, n in enumerate(nearer))} of 120 points in their cluster")


def _fallen(losses: Sequence[float], share: float) -> str:
    return _satisfied(losses[-1] < share * losses[0], f"loss from {losses[0]:.4f} to {losses[-1]:.4f}")


def _satisfied(right: bool, told: str) -> str:
    if not right:
        raise BadInput(f"it runs, but the result is wrong: {told}")
    return told


ENGINES: dict[str, Callable[[], Any]] = {
    "search by numpy": _search("numpy", "numpy"),
    "search by numba": _search("numpy", "numba"),
    "search by torch": _search("cpu", "cpu"),
    "PCA": lambda: _map("PCA"),
    "word2vec by numba": _word2vec("numba"),
    "word2vec by torch": _word2vec("torch", device="cpu"),
    "word2vec by gensim": _word2vec("gensim"),
    "GloVe by numba": _glove,
    "autoencoder by torch": _autoencoder,
    "UMAP by numba": lambda: _map("UMAP"),
}
# Only where there is such a device.
ON_DEVICES: dict[str, Callable[[], Any]] = {
    "search by cuda": _search("cuda", "cuda"),
    "word2vec by cuda": _word2vec("torch", device="cuda"),
    "search by mps": _search("mps", "mps"),
}
