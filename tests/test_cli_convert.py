"""`embedkit convert`, and files of other tools given to the other commands."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from embedkit import Embedding, load, read, write


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, royals: Embedding, tmp_path: Path) -> Run:
    """Run the program, in this process, in a folder with the royals in some formats."""
    (entry,) = entry_points(group="console_scripts", name="embedkit")
    main: Callable[[list[str]], int] = entry.load()
    monkeypatch.chdir(tmp_path)
    for name in ("royals.vec", "royals.bin", "royals.csv", "royals.safetensors"):
        write(royals, name)
    write(royals, "royals.txt", format="glove")

    def run(*args: str) -> Ran:
        capsys.readouterr()
        code = main(list(args))
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


def test_convert_and_back(run: Run, royals: Embedding) -> None:
    ran = run("convert", "royals.txt", "out.safetensors")
    assert ran == (0, "", "wrote 4 rows x 3 to out.safetensors (native)\n")
    made = load("out.safetensors")
    assert (list(made), made.vectors.tobytes()) == (list(royals), royals.vectors.tobytes())
    assert made.provenance["file"]["name"] == "royals.txt"
    for source in ("royals.vec", "royals.bin", "royals.csv", "royals.safetensors"):
        for target in ("out.vec", "out.bin", "out.csv", "out.tsv.gz", "out.npz", "out.parquet", "out.safetensors"):
            ran = run("convert", source, target)
            assert (ran.code, ran.out) == (0, "")
            assert read(target).vectors.tobytes() == royals.vectors.tobytes()
    assert run("convert", "royals.csv", "map", "--format", "projector").code == 0
    assert Path("map", "metadata.tsv").read_text().startswith("label\tcount\tkind\n")


def test_options(run: Run, tmp_path: Path) -> None:
    assert run("convert", "royals.vec", "two.safetensors", "--limit", "2", "--storage", "int8").code == 0
    assert (len(load("two.safetensors")), load("two.safetensors").storage) == (2, "int8")
    for storage, name in [("float16", "x.safetensors"), ("float16", "x.npy"), ("float32", "x.safetensors")]:
        assert run("convert", "royals.bin", name, "--storage", storage).code == 0
        assert read(name).storage == storage
    assert run("convert", "x.npy", "y.vec", "--words", "x.words.txt").code == 0
    (tmp_path / "bad").write_bytes(b"a\xff 1\na 2\na 3\n")
    assert run("convert", "bad", "x.vec").code == 4
    assert run("convert", "bad", "x.vec", "--errors", "replace").code == 4
    assert run("convert", "bad", "x.vec", "--errors", "replace", "--duplicates", "first").code == 0
    assert Path("x.vec").read_text() == "2 1\na\ufffd 1.0\na 2.0\n"


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["convert", "royals.vec"], 2, "OUT"),
        (["convert", "royals.vec", "x"], 4, "does not say a format"),
        (["convert", "absent", "x.vec"], 4, "absent: cannot be read"),
        (["convert", "royals.vec", "x.vec", "--storage", "int8"], 2, "--storage int8 does not go with"),
        (["convert", "royals.vec", "x.npy", "--storage", "int8"], 2, "--storage int8 does not go with"),
        (["convert", "royals.vec", "x.vec", "--limit", "0"], 2, "--limit"),
        (["convert", "spaced.safetensors", "x.vec"], 4, "'new york' (row 0) holds a space"),
        (["convert", "saved", "x.vec"], 4, "--trust"),
        (["convert", "cut.vec", "x.vec"], 4, "cut.vec: line 1: the header says 4 rows, the file has 3"),
        (["info", "cut.vec"], 4, "cut.vec: line 1: the header says 4 rows"),
        (["similar", "king", "-m", "cut.vec"], 4, "cut.vec: line 1: the header says 4 rows"),
    ],
)
def test_a_mistake_ends_in_one_clear_line(run: Run, royals: Embedding, args: list[str], code: int, words: str) -> None:
    Embedding(["new york"], [[1.0]]).save("spaced.safetensors")
    royals.to_gensim().save("saved")
    lines = Path("royals.vec").read_text().splitlines(keepends=True)
    Path("cut.vec").write_text("".join(lines[:-1]).replace("1.0", "1.00000"))
    ran = run(*args)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err
    if code == 4:
        assert ran.err.startswith("embedkit: ")
        assert ran.err.count("\n") == 1
    assert not Path("x.vec").exists()


def test_gensim_saves_on_trust(run: Run, royals: Embedding) -> None:
    royals.to_gensim().save("saved")
    assert run("convert", "saved", "x.safetensors", "--trust").code == 0
    assert load("x.safetensors") == royals


def test_other_commands_take_any_file(run: Run) -> None:
    expected = run("similar", "king", "-m", "royals.safetensors", "--format", "csv")
    assert expected.code == 0
    for name in ("royals.vec", "royals.bin", "royals.txt", "royals.csv"):
        assert run("similar", "king", "-m", name, "--format", "csv") == expected
        facts = json.loads(run("info", name, "--format", "json").out)
        named = {row["fact"]: row["value"] for row in facts}
        assert (named["labels"], named["dimensions"]) == (4, 3)
    assert run("info", "royals.vec", "--verify").code == 0
    assert "word2vec text" in run("info", "royals.vec").out


def test_a_warning_is_one_line_on_stderr(run: Run) -> None:
    Path("cut.txt").write_bytes(Path("royals.txt").read_bytes()[:-1])
    ran = run("info", "cut.txt")
    assert ran.code == 0
    assert ran.err == "embedkit: warning: cut.txt: the last line has no line break: the file may have been cut\n"


def test_a_native_file_is_opened_without_heavy_libraries(tmp_path: Path, royals: Embedding) -> None:
    royals.save(tmp_path / "n.safetensors")
    write(royals, tmp_path / "n.vec")
    code = (
        "import sys\n"
        "from importlib.metadata import entry_points\n"
        "(entry,) = entry_points(group='console_scripts', name='embedkit')\n"
        "code = entry.load()(sys.argv[1:])\n"
        "print(code, *sys.modules)\n"
    )
    heavy = {"torch", "gensim", "sklearn", "numba", "pandas", "scipy", "tqdm", "pyarrow"}
    for name in ("n.safetensors", "n.vec"):
        command = [sys.executable, "-P", "-W", "error", "-c", code, "similar", "king", "-m", str(tmp_path / name)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        exit_code, *modules = ran.stdout.splitlines()[-1].split()
        assert exit_code == "0"
        assert not heavy & set(modules)
        assert ("embedkit.formats.text_vectors" in modules) == (name == "n.vec")


def test_large_files_go_through_the_compiled_way(run: Run, rng: np.random.Generator) -> None:
    large = Embedding(None, rng.standard_normal((60_000, 5)).astype(np.float32))
    write(large, "large.vec.gz")
    assert run("convert", "large.vec.gz", "large.safetensors", "--storage", "float16").code == 0
    assert load("large.safetensors") == large.with_storage("float16")
