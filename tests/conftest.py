"""Fixtures that several test files use."""

from __future__ import annotations

import errno
import io
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

# Two processes of tests have a core each; libraries that start a thread a core would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from embedkit import Embedding, load
from embedkit.errors import BadFile

T = TypeVar("T")


class Ran(NamedTuple):
    code: int
    out: str
    err: str


# A busy machine is slow now and then; that is no failure.
settings.register_profile("embedkit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("embedkit")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data: $EMBEDKIT_DATA, by default ../shared/data beside the checkout."""
    given = os.environ.get("EMBEDKIT_DATA")
    folder = Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        if given:
            pytest.fail(f"EMBEDKIT_DATA is set to {given}, which is no folder")
        pytest.skip("real data is absent: set EMBEDKIT_DATA to the folder that holds corpus/ and eval/")
    return folder


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test looks into, or leaves anything in, the cache of whoever runs it."""
    monkeypatch.setenv("EMBEDKIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def royals() -> Embedding:
    """Four words whose analogies are exact: two axes of meaning, and one that only 'king' and 'queen' share."""
    return Embedding(
        ["king", "queen", "man", "woman"],
        [[1, 1, 0], [1, 0, 1], [0, 1, 0], [0, 0, 1]],
        columns={"count": [40, 30, 20, 10], "kind": ["royal", "royal", "common", "common"]},
        provenance={"made_by": "hand"},
    )


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, royals: Embedding, tmp_path: Path
) -> Callable[..., Ran]:
    """Run the program on the royals, in this process."""
    (entry,) = entry_points(group="console_scripts", name="embedkit")
    main: Callable[[list[str]], int] = entry.load()
    royals.save(tmp_path / "royals.safetensors")
    monkeypatch.setenv("EMBEDKIT_VECTORS", str(tmp_path / "royals.safetensors"))
    monkeypatch.chdir(tmp_path)

    def run(*args: str, stdin: str | bytes = "") -> Ran:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
        capsys.readouterr()
        code = main(list(args))
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def within() -> Callable[[float, Callable[[], T]], T]:
    """What a function gives or raises, in a thread; fails if that takes longer. For what once waited for ever."""

    def within(seconds: float, work: Callable[[], T]) -> T:
        results: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(work())
            except BaseException as error:  # noqa: BLE001  # raised again below
                errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(seconds)
        if errors:
            raise errors[0]
        if not results:
            pytest.fail(f"it hangs: no end after {seconds} seconds")
        return results[0]

    return within


# -- a disk that fails -------------------------------------------------------------------------------------------------


class Faults:
    """Lets the first N calls that touch the disk pass and fails all later ones, as a full disk does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
        self.allowed, self.seen = allowed, 0
        for name in ("open", "fchmod", "fsync", "replace", "posix_fallocate", "mkdir"):
            monkeypatch.setattr(os, name, self.guarded(getattr(os, name)))
        monkeypatch.setattr(os, "fdopen", lambda descriptor, _mode: Unbuffered(FaultyFile(self, descriptor)))

    def step(self) -> None:
        self.seen += 1
        if self.seen > self.allowed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def guarded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            self.step()
            return function(*args, **named)

        return call


class FaultyFile(io.FileIO):
    """A raw file whose writes count, and put only half of what they are given before they fail."""

    def __init__(self, faults: Faults, descriptor: int) -> None:
        super().__init__(descriptor, "wb")
        self.faults = faults

    def write(self, data: Any) -> int:
        part = bytes(data)
        try:
            self.faults.step()
        except OSError:
            super().write(part[: len(part) // 2])
            raise
        return super().write(part)


class Unbuffered(io.BufferedWriter):
    """A buffer so small that nearly every write reaches the file."""

    def __init__(self, raw: io.FileIO) -> None:
        super().__init__(raw, buffer_size=1)


@pytest.fixture
def failing_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], AbstractContextManager[None]]:
    """Of what is done inside, the first so many calls that touch the disk pass, and all later ones fail."""

    @contextmanager
    def fail_after(allowed: int) -> Iterator[None]:
        with monkeypatch.context() as patch:
            Faults(patch, allowed)
            yield

    return fail_after


# -- training that is killed -------------------------------------------------------------------------------------------

# Runs the script once, up to where `train` is defined, and calls it in a fork of itself for each line it is given: a
# process that only has to be forked trains at once, so that hardly a kill hits imports and compilation.
_TRAINER = """
import os, signal, sys, time
script = {}
exec(sys.argv[1], script)
print("ready", flush=True)
for line in sys.stdin:
    seconds, folder = line.rstrip("\\n").split(" ", 1)
    pid = os.fork()
    if pid == 0:
        script["train"](folder)
        os._exit(0)
    if seconds != "never":
        time.sleep(float(seconds))
        os.kill(pid, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Kills:
    """Trains a script's model while killing it (SIGKILL) at random moments.

    The script defines ``train(folder)``, which trains with the checkpoint ``folder/checkpoint``, or goes on with it
    where there is one, and saves what it has made as ``folder/done``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []

    def __call__(self, script: str, kills: int, *, longest: float, seed: int = 0) -> Path:
        """The file that a training saved at last that had been killed so many times.

        Parameters
        ----------
        script
            Source of the script.
        kills
            How often it is killed after its first checkpoint. Where it comes to its end before, what is there is taken
            away, and it begins anew.
        longest
            Seconds after which it is killed at the latest.
        seed
            Of the moments.
        """
        draw = random.Random(seed)  # noqa: S311  # not for secrets
        process = subprocess.Popen(
            [sys.executable, "-c", _TRAINER, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.processes.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", "the script fails"
        checkpoint, done, killed = self.folder / "checkpoint", self.folder / "done", 0
        while True:
            seconds = "never" if killed == kills else str(draw.random() * longest)
            process.stdin.write(f"{seconds} {self.folder}\n")
            process.stdin.flush()
            code = int(process.stdout.readline())
            assert code in (0, -signal.SIGKILL), f"training ends with {code}"
            if code == -signal.SIGKILL:
                killed += checkpoint.exists()
            elif killed == kills:
                return done
            else:
                checkpoint.unlink(missing_ok=True)
                done.unlink(missing_ok=True)

    def end(self) -> None:
        """End the processes."""
        for process in self.processes:
            process.kill()
            process.communicate()


@pytest.fixture
def through_kills(tmp_path: Path) -> Iterator[Kills]:
    """Train a script's model while killing it at random moments; for trainers of every kind."""
    kills = Kills(tmp_path)
    yield kills
    kills.end()


@pytest.fixture(scope="session")
def refused() -> Callable[..., bool]:
    """What tells of a file whether it is refused as it should be."""

    def refused(path: Path, verify: bool | None = None) -> bool:
        """Whether loading raises BadFile with the path in its message; any other error comes through."""
        try:
            load(path, verify=verify)
        except BadFile as error:
            caught = error
        else:
            return False
        assert str(caught).startswith(str(path))
        assert caught.path == str(path)
        assert caught.reason
        return True

    return refused
