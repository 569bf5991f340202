"""kill -9 at random moments of saving and of training, Ctrl-C, and readers while a file is replaced."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedkit
from embedkit import UMAP, Embedding, Word2Vec
from embedkit.progress import Progress
from embedkit.text.kingdom import kingdom

# -- saving ------------------------------------------------------------------------------------------------------------

# Forks a process that saves two embeddings in turn until it is killed: one of ones and one of twos, their labels too.
_SAVER = """
import os, signal, sys, time
import numpy as np
from embedkit import Embedding
path, rows = sys.argv[1], int(sys.argv[2])
both = [
    Embedding([f"{letter}{i}" for i in range(rows)], np.full((rows, 100), number, np.float32))
    for letter, number in (("a", 1.0), ("b", 2.0))
]
began = time.monotonic()
both[0].save(path)
print(time.monotonic() - began, flush=True)
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        while True:
            for embedding in reversed(both):
                embedding.save(path)
    time.sleep(float(line))
    os.kill(pid, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def kill_saves(folder: Path, rows: int, kills: int) -> tuple[int, int]:
    """How many of so many kills the file was lost or mixed in, and how many came while a new file lay beside it."""
    path, draw, under_way, wrong = folder / "vectors", random.Random(0), 0, 0  # noqa: S311  # not for secrets
    process = subprocess.Popen(
        [sys.executable, "-c", _SAVER, str(path), str(rows)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        longest = 3 * float(process.stdout.readline())
        for _ in range(kills):
            process.stdin.write(f"{draw.random() * longest}\n")
            process.stdin.flush()
            assert int(process.stdout.readline()) == -signal.SIGKILL
            beside = [entry for entry in folder.iterdir() if entry != path]
            assert len(beside) <= 1
            under_way += len(beside)
            try:
                found = embedkit.load(path, verify=True)
                number = {"a": 1.0, "b": 2.0}[found.labels[0][0]]
                whole = found.shape == (rows, 100) and found.labels[-1] == f"{found.labels[0][0]}{rows - 1}"
                wrong += not (whole and found.vectors.min() == found.vectors.max() == number)
            except embedkit.errors.EmbedkitError:
                wrong += 1
            for entry in beside:
                entry.unlink()
    finally:
        process.kill()
        process.communicate()
    return wrong, under_way


def test_a_dozen_kills_lose_and_mix_nothing(tmp_path: Path) -> None:
    wrong, under_way = kill_saves(tmp_path, 2000, 12)
    assert wrong == 0
    assert under_way >= 3


@pytest.mark.slow
def test_two_hundred_kills_of_saves_of_50_megabytes_lose_and_mix_nothing(tmp_path: Path) -> None:
    wrong, under_way = kill_saves(tmp_path, 125_000, 200)
    assert wrong == 0
    assert under_way >= 50


_REPLACER = """
import sys
import numpy as np
from embedkit import Embedding
both = [Embedding(None, np.full((2000, 50), number, np.float32)) for number in (1, 2)]
while True:
    for embedding in both:
        embedding.save(sys.argv[1])
"""


def test_several_readers_of_a_file_that_is_replaced_see_one_or_the_other(tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    Embedding(None, np.full((2000, 50), 1, np.float32)).save(path)
    process = subprocess.Popen([sys.executable, "-c", _REPLACER, str(path)])
    seen: list[set[float]] = []
    end = time.monotonic() + 60

    def read() -> None:
        mine: set[float] = set()
        kept = []
        while len(mine) < 2 and time.monotonic() < end:
            found = embedkit.load(path, verify=True)
            low, high = float(found.vectors.min()), float(found.vectors.max())
            assert low == high
            mine.add(low)
            kept.append((found, low))
        # What was mapped before stays what it was.
        assert all(float(found.vectors[-1, -1]) == number for found, number in kept)
        seen.append(mine)

    try:
        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(90)
    finally:
        process.kill()
        process.wait()
    assert seen == [{1.0, 2.0}] * 4


# -- training ----------------------------------------------------------------------------------------------------------
# Word trainers are killed in test_checkpoints.py, the plain autoencoder in test_latent_files.py; here the others.

LATENT = {
    "vae": "VAE(4, hidden=(32,), epochs=10, batch_size=16, validation=0.1, n_jobs=1, random_state=3)",
    "adversarial": "AdversarialAutoencoder(4, hidden=(32,), epochs=8, batch_size=16, n_jobs=1, random_state=3)",
    "gan": "GAN(4, hidden=(32,), epochs=8, batch_size=16, n_jobs=1, random_state=3)",
}
_TRAINING = """
import os
os.environ["OMP_NUM_THREADS"] = "1"
import numpy as np
import torch
torch.set_num_threads(1)
import embedkit
from embedkit import GAN, VAE, AdversarialAutoencoder
rows = np.random.default_rng(0).normal(size=(1200, 12)).astype(np.float32)
make = lambda: {source}
make().set_params(epochs=0).fit(rows)  # what torch imports for it takes longer than the training

def train(folder):
    checkpoint = f"{{folder}}/checkpoint"
    go_on = dict(checkpoint=checkpoint, checkpoint_every=0.02)
    if os.path.exists(checkpoint):
        model = embedkit.load(checkpoint)
        if model._state.unfinished:
            model.resume(rows, **go_on)
    else:
        model = make().fit(rows, **go_on)
    model.save(f"{{folder}}/done")
"""


def weights(model: Any) -> dict[str, Any]:
    return {f"{name}.{key}": value.numpy() for name, net in model._state.nets.items()
            for key, value in net.state_dict().items()}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", LATENT)
def test_ten_kills_change_nothing(kind: str, through_kills: Callable[..., Path]) -> None:
    source = _TRAINING.format(source=LATENT[kind])
    script: dict[str, Any] = {}
    exec(source, script)  # noqa: S102  # of this file
    whole = weights(script["make"]().fit(script["rows"]))
    done = weights(embedkit.load(through_kills(source, 10, longest=2)))
    assert set(done) == set(whole)
    assert all(np.array_equal(value, whole[name]) for name, value in done.items())


# -- Ctrl-C, and what fails inside -------------------------------------------------------------------------------------


def test_control_c_ends_a_map_at_once_and_leaves_the_earlier_one(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(300, 5))
    model = UMAP(n_neighbors=5, n_epochs=5, n_jobs=2, random_state=0).fit(rows)
    before, threads = model.embedding_.copy(), threading.active_count()
    seen: list[int] = []

    def press(event: Progress) -> None:
        seen.append(event.epoch)
        if event.epoch == 2 and event.done == 3:
            os.kill(os.getpid(), signal.SIGINT)

    model.set_params(n_epochs=100_000)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        model.fit(rows, callback=press)
    assert time.monotonic() - began < 30
    assert len(seen) < 100
    assert np.array_equal(model.embedding_, before)
    assert threading.active_count() == threads


def test_control_c_while_the_program_makes_a_map_is_one_line_and_no_file(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(200, 5)))
    code = textwrap.dedent("""
        import os, signal, sys
        from importlib.metadata import entry_points
        from embedkit.kernels import umap_layout
        real = umap_layout.lay_out
        def pressed(*args, step, **named):
            def then(epoch, places):
                if epoch == 3:
                    os.kill(os.getpid(), signal.SIGINT)
                return step(epoch, places)
            return real(*args, step=then, **named)
        umap_layout.lay_out = pressed
        (entry,) = entry_points(group="console_scripts", name="embedkit")
        sys.exit(entry.load()(["project", "rows.npy", "--method", "umap", "-o", "map.csv", "--png", "map.png"]))
    """)
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert (ran.returncode, ran.stderr.strip().splitlines()[-1]) == (130, "embedkit: interrupted")
    assert "Traceback" not in ran.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.npy"]


@pytest.mark.parametrize("sg", [0, 1])
def test_an_error_in_a_thread_reaches_the_caller_within_seconds(
    sg: int, within: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from embedkit.kernels import cbow, skipgram

    kernel, calls = (skipgram if sg else cbow), 0
    real = kernel.train_chunks

    def fail(*args: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise MemoryError("a thread died")
        return real(*args, **named)

    monkeypatch.setattr(kernel, "train_chunks", fail)
    text = kingdom(500).encode(cache=False)
    trainer = Word2Vec(sg=sg, vector_size=8, epochs=50, workers=4, random_state=1)
    threads = threading.active_count()

    def work() -> None:
        with pytest.raises(MemoryError, match="a thread died") as caught:
            trainer.fit(text, checkpoint=tmp_path / "c")
        assert caught.value.__notes__ == [f"embedkit: the last checkpoint is {tmp_path / 'c'}"]

    within(20, work)
    assert threading.active_count() == threads
    assert len(embedkit.load(tmp_path / "c").resume(text).history_) == 50
