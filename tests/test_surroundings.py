"""The program where little works: nothing writable, no home, streams closed, a full disk, hardly any memory."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import embedkit
from embedkit import Embedding
from embedkit.kernels import compiled as compiling

PROGRAM = [sys.executable, "-P", "-m", "embedkit.cli"]
Run = Callable[..., Any]


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def program(*args: str, before: str = "", after: str = "", environment: dict[str, str] | None = None) -> Ended:
    """Run the program by a shell, which does something before, and something with its streams."""
    ran = subprocess.run(
        ["sh", "-c", f'{before} exec "$0" "$@" {after}', *PROGRAM, *args],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300, env=environment,
        start_new_session=True,  # without a terminal
    )  # fmt: skip
    return Ended(ran.returncode, ran.stdout, ran.stderr)


def is_a_line(text: str) -> bool:
    return text.startswith("embedkit: ") and text.count("\n") == 1 and text[:-1].isprintable()


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with some vectors, a text and questions."""
    folder = tmp_path_factory.mktemp("here")
    rows = np.random.default_rng(0).normal(size=(60, 3))
    Embedding(["naïve", "b", *(f"w{i}" for i in range(58))], rows).save(folder / "v")
    (folder / "text").write_text("the naïve king\nthe queen\n" * 50, encoding="utf-8")
    (folder / "questions").write_text(": some\n" + "naïve b w1 w2\n" * 3, encoding="utf-8")
    return folder


# -- nothing writable --------------------------------------------------------------------------------------------------


def test_where_nothing_can_be_written(here: Path) -> None:
    # A mount is read-only for root too, whom permissions do not stop.
    unshare = ["unshare", *(["--user", "--map-root-user"] if os.geteuid() else []), "--mount"]
    script = textwrap.dedent("""
        mount --make-rprivate / && mount --bind / /mnt && mount -o remount,ro,bind /mnt || exit 77
        mount --bind /proc /mnt/proc && mount --bind /dev /mnt/dev && mount -t tmpfs -o ro none /mnt/dev/shm || exit 77
        cd "$1" && shift && exec chroot /mnt sh -c 'cd "$0" && exec "$@"' "$PWD" "$@"
    """)
    environment = {key: value for key, value in os.environ.items() if key not in ("EMBEDKIT_CACHE", "EMBEDKIT_DATA")}

    def there(*args: str) -> Ended:
        try:
            ran = subprocess.run(
                [*unshare, "sh", "-c", script, "sh", str(here), *PROGRAM, *args], stdin=subprocess.DEVNULL,
                capture_output=True, text=True, check=False, env=environment, timeout=300,
            )  # fmt: skip
        except OSError:
            pytest.skip("there is no unshare to make a read-only system with")
        if ran.returncode == 77 or "unshare:" in ran.stderr:
            pytest.skip("this user may not make a read-only system")
        return Ended(ran.returncode, ran.stdout, ran.stderr)

    answer = there("similar", "b", "-m", "v")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.count("\n") == 11
    refused = {
        ("convert", "v", "v.csv"): "v.csv: cannot be written: Read-only file system",
        ("project", "v", "-o", "map.csv"): "map.csv: cannot be written: Read-only file system",
        ("corpus", "info", "text"): "cannot hold the encoded corpus: No usable temporary directory found in",
        ("fetch", "text8", "--yes"): "cannot be made for the cache: Read-only file system; set EMBEDKIT_CACHE",
    }
    for args, reason in refused.items():
        ended = there(*args)
        assert ended.code == 4, args
        assert reason in ended.err, args
        assert is_a_line(ended.err.splitlines(keepends=True)[-1]), args
        assert "Traceback" not in ended.err, args


OUTPUTS = {
    "project": ("project", "v", "--no-report", "-o"),
    "picture": ("project", "v", "--no-report", "-o", "map.csv", "--png"),
    "page": ("project", "v", "--no-report", "-o", "map.csv", "--html"),
    "convert": ("convert", "v", "--format", "csv"),
    "encode a text": ("corpus", "encode", "text", "-o"),
    "train": ("train", "word2vec", "text", "--min-count", "1", "-o"),
    "train a model": ("train", "autoencoder", "v", "-o"),
}


@pytest.mark.parametrize("command", OUTPUTS.values(), ids=OUTPUTS)
def test_outputs_that_cannot_be_are_one_line_and_told_first(
    command: tuple[str, ...], run: Run, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("v", "text"):
        (tmp_path / name).write_bytes((here / name).read_bytes())
    ending = {"--png": "png", "--html": "html"}.get(command[-1], "csv")
    (tmp_path / f"folder.{ending}").mkdir()
    before = sorted(tmp_path.rglob("*"))
    refused = {
        f"folder.{ending}": "it is a folder",
        f"absent/x.{ending}": "No such file or directory",
        f"text/x.{ending}": "Not a directory",
    }

    def work(*_: Any, **__: Any) -> None:
        raise AssertionError("work was done for what cannot be written")

    for name in ("embedkit.PCA.fit", "embedkit.Word2Vec.fit", "embedkit.Autoencoder.fit"):
        monkeypatch.setattr(name, work)
    for place, reason in refused.items():
        ran = run(*command, place)
        assert ran.code == 4
        # A corpus is encoded beside where it shall be, which is then the place that is told.
        assert f"cannot be written: {reason}" in ran.err or "cannot hold the encoded corpus" in ran.err
        assert is_a_line(ran.err.splitlines(keepends=True)[-1])
    assert sorted(tmp_path.rglob("*")) == before


# -- streams -----------------------------------------------------------------------------------------------------------

STREAMING = {
    "help": ("--help",),
    "help of a command": ("train", "word2vec", "--help"),
    "similar": ("similar", "b"),
    "similar as json": ("similar", "b", "--format", "json"),
    "analogies": ("analogy", "-i", "triples", "--format", "csv"),
    "expressions": ("expr", "b - w1", "--format", "jsonl"),
    "info": ("info", "v"),
    "corpora": ("corpora", "list"),
    "text": ("corpus", "info", "text"),
    "phrases": ("corpus", "phrases", "text", "--min-count", "1", "--threshold", "0.1"),
    "evaluation": ("evaluate", "analogies", "questions"),
    "difference": ("diff", "v", "v"),
    "map": ("project", "v", "--no-report", "-o", "-"),
    "anomalies": ("anomalies", "v", "-o", "-"),
}
every_streaming_command = pytest.mark.parametrize("command", STREAMING.values(), ids=STREAMING)


@pytest.fixture
def with_output(run: Run, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Run the program in this process, its standard output being a file or pipe that is open for writing."""
    for path in here.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "triples").write_text("b w1 w2\n" * 3)
    monkeypatch.setenv("EMBEDKIT_VECTORS", str(tmp_path / "v"))

    def run_to(descriptor: int, *args: str) -> Ended:
        with monkeypatch.context() as patch:
            stream = open(descriptor, "w", encoding="utf-8")  # noqa: SIM115  # closed below, as it can be
            # After `run` has set its own; capsys sees the rest.
            real = sys.stdout
            try:
                patch.setattr(sys, "stdout", stream)
                ran = run(*args)
            finally:
                sys.stdout = real
                with contextlib.suppress(OSError):
                    stream.close()
            return Ended(*ran)

    return run_to


@every_streaming_command
def test_a_reader_that_went_away_is_no_failure(command: tuple[str, ...], with_output: Callable[..., Ended]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = with_output(writer, *command)
    assert ended.code == 0
    assert "Broken pipe" not in ended.err
    assert "embedkit:" not in ended.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@every_streaming_command
def test_output_to_a_full_disk_is_one_line(command: tuple[str, ...], with_output: Callable[..., Ended]) -> None:
    ended = with_output(os.open("/dev/full", os.O_WRONLY), *command)
    assert ended.code == 1
    assert ended.err.endswith("embedkit: there is no space left for what was to be written\n")


def test_head_takes_one_line_of_many(here: Path) -> None:
    (here / "words").write_text("b\n" * 3000)
    command = " ".join(["similar", "-m", "v", "-i", "words", "--format", "csv"])
    ran = subprocess.run(
        ["sh", "-c", f'"$@" {command} | head -1', "sh", *PROGRAM], cwd=here, capture_output=True, text=True, check=True,
        timeout=300,
    )  # fmt: skip
    assert (ran.stdout, ran.stderr) == ("query,rank,label,score\n", "")


CLOSED = "embedkit: standard input or output is needed for that, and is closed\n"


def test_streams_that_are_closed(here: Path) -> None:
    vectors = str(here / "v")
    assert program("similar", "b", "-m", vectors, after=">&-") == (1, "", CLOSED)
    read = program("similar", "-", "-m", vectors, after="<&-")
    assert read == (4, "", "embedkit: standard input: cannot be read: Bad file descriptor\n")
    assert program("similar", "nosuchword", "-m", vectors, after="2>&-") == (3, "", "")
    # What is not needed may be closed, and no file gets its number.
    copied = here / "copy.csv"
    assert program("convert", vectors, str(copied), after="<&- >&- 2>&-") == (0, "", "")
    assert embedkit.read(copied) == embedkit.load(vectors)


# -- environment and memory --------------------------------------------------------------------------------------------


def test_without_any_environment(here: Path) -> None:
    for before in ("env -i", "env -i LC_ALL=C HOME=/nonexistent"):
        ended = program("similar", "b", "-m", str(here / "v"), "--format", "csv", before=f"exec {before} true; ")
        assert (ended.code, ended.err) == (0, "")
    ended = program("similar", "b", "-m", str(here / "v"), "--format", "csv", environment={})
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count("\n") == 11


def test_where_only_ascii_is_spoken(here: Path, tmp_path: Path) -> None:
    ascii_only = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "EMBEDKIT_CACHE": str(tmp_path)}
    shown = program("similar", "b", "-m", str(here / "v"), "-k", "59", environment=ascii_only)
    assert (shown.code, shown.err) == (0, "")
    assert r" na\xefve " in shown.out
    written = tmp_path / "copy.csv"
    # Files are UTF-8 wherever they are written and read.
    assert program("convert", str(here / "v"), str(written), environment=ascii_only).code == 0
    assert embedkit.read(written) == embedkit.load(here / "v")
    unknown = program("similar", "naïvité", "-m", str(here / "v"), environment=ascii_only)
    assert unknown.code == 3
    assert is_a_line(unknown.err)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
@pytest.mark.parametrize(("megabytes", "command"), [(60, "similar b -m v"), (150, "project v --method umap -o x.csv")])
def test_hardly_any_memory_is_one_line(megabytes: int, command: str, here: Path) -> None:
    before = f"cd '{here}'; ulimit -v {megabytes * 1024};"
    ended = program(*command.split(), before=before, environment={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    assert ended.code == 1
    # BLAS, if it is who runs out, ends the process with its own line.
    assert ended.err.startswith("embedkit: out of memory: ") or "Memory allocation still failed" in ended.err
    assert ended.err.count("\n") == 1
    assert "unexpected" not in ended.err


# -- compiled kernels --------------------------------------------------------------------------------------------------

KERNEL = """
from embedkit.kernels.compiled import compiled_with

def twice(x):
    return x + x

kernel = compiled_with(twice)
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module with a kernel."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("EMBEDKIT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "package" / "module.py"
    path.parent.mkdir()
    path.write_text(KERNEL)
    return path


def imported(source: Path) -> Any:
    """The kernel, as a new process would have it."""
    spec = importlib.util.spec_from_file_location("a_module_with_a_kernel", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where kept kernels look for it
    spec.loader.exec_module(module)
    return module.kernel


def hits(kernel: Any) -> int:
    return sum(kernel.stats.cache_hits.values())


def kept(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.nb?"))


def test_kernels_are_kept_beside_their_source_or_in_our_folder_or_nowhere(source: Path, tmp_path: Path) -> None:
    assert imported(source)(2) == 4
    again = imported(source)
    assert again(2) == 4
    assert hits(again) == 1
    beside = source.parent / "__pycache__"
    assert len(kept(beside)) == 2
    for path in beside.iterdir():
        path.unlink()
    beside.rmdir()
    beside.write_text("")  # so that nobody, root neither, can make a folder of it
    assert imported(source)(2) == 4
    assert len(kept(tmp_path / "cache" / "kernels")) == 2
    again = imported(source)
    assert again(2) == 4
    assert hits(again) == 1
    for path in sorted((tmp_path / "cache").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (tmp_path / "cache").rmdir()
    (tmp_path / "cache").write_text("")
    assert imported(source)(2) == 4
    assert imported(source)(2.5) == 5


def test_a_disk_that_fills_up_while_a_kernel_is_compiled_does_no_harm(source: Path) -> None:
    kernel = imported(source)
    (source.parent / "__pycache__").rmdir()
    (source.parent / "__pycache__").write_text("")
    assert kernel(2) == 4


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("length", [0, 20])
def test_a_kept_kernel_that_is_cut_is_compiled_again(ending: str, length: int, source: Path) -> None:
    assert imported(source)(2) == 4
    (path,) = source.parent.rglob(f"*.{ending}")
    whole = path.read_bytes()
    path.write_bytes(whole[:length])
    again = imported(source)
    assert again(2) == 4
    assert hits(again) == 0
    again = imported(source)
    assert again(2) == 4
    assert hits(again) == 1


def test_kernels_for_other_types_are_never_mistaken_for_one_another(source: Path) -> None:
    assert imported(source)(2) == 4
    assert imported(source)(2.5) == 5
    files = kept(source.parent)
    assert len(files) == 4
    assert len({next(part for part in path.name.split(".") if len(part) == 16) for path in files}) == 2
    # As if their names were one.
    for ending in (".nbi", ".nbc"):
        one, other = (path for path in files if path.suffix == ending)
        data = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(data)
    assert imported(source)(2) == 4
    assert imported(source)(2.5) == 5


def test_kernels_of_another_version_are_compiled_again(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert imported(source)(2) == 4
    monkeypatch.setattr(compiling, "__version__", "0.0.0")
    again = imported(source)
    assert again(2) == 4
    assert hits(again) == 0


EIGHT = """
import importlib.util, json, os, sys
import numpy as np
import embedkit.kernels.compiled
spec = importlib.util.spec_from_file_location("a_module_with_a_kernel", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
spec.loader.exec_module(module)
asked = [2, 2.5, np.float32(1.5), 2 + 1j]
gate, opened = os.pipe()
children = []
for number in range(8):
    read, write = os.pipe()
    if os.fork() == 0:
        os.close(opened)
        os.read(gate, 1)  # all begin at once, when the other end is closed
        mine = asked[number % 4 :] + asked[: number % 4]
        os.write(write, json.dumps([bool(module.kernel(x) == 2 * x) for x in mine]).encode())
        os._exit(0)
    os.close(write)
    children.append(read)
os.close(opened)
print(json.dumps([json.loads(os.read(child, 1000) or b"null") for child in children]))
"""


def test_eight_processes_with_one_cold_cache_compute_the_same(source: Path) -> None:
    command = [sys.executable, "-c", EIGHT, str(source)]
    for _ in range(2):  # cold, then warm
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert json.loads(ran.stdout) == [[True] * 4] * 8
    again = imported(source)
    assert [again(2), again(2.5), again(2 + 1j)] == [4, 5, 4 + 2j]
    assert hits(again) == 3


TRAIN = """
import sys
from embedkit import GloVe, Word2Vec
from embedkit.text.kingdom import kingdom
text = kingdom(300).encode(cache=False)
size = int(sys.argv[1])
made = [trainer(vector_size=size, epochs=1, random_state=1).fit(text).embedding_ for trainer in (Word2Vec, GloVe)]
print([embedding.vectors.tobytes().hex()[:64] for embedding in made])
"""


@pytest.mark.slow
def test_eight_trainings_with_one_cold_cache_give_what_one_gives(tmp_path: Path) -> None:
    def started(size: int, cache: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / cache)}
        return subprocess.Popen(
            [sys.executable, "-c", TRAIN, str(size)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment,
        )  # fmt: skip

    together = [(size, started(size, "shared")) for size in (8, 24, 8, 24, 40, 8, 24, 40)]
    answers = {(size, process.communicate()) for size, process in together}
    assert {error for _, (_, error) in answers} == {""}
    warm = {(size, started(size, "shared").communicate()) for size in (8, 24, 40)}
    alone = {(size, started(size, f"alone {size}").communicate()) for size in (8, 24, 40)}
    assert answers == warm == alone
