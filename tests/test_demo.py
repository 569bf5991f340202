"""`embedkit demo`: real commands, shown as they are typed, in a folder that one can go on with."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import embedkit

(ENTRY,) = entry_points(group="console_scripts", name="embedkit")
MAIN: Callable[[list[str]], int] = ENTRY.load()
SHOWN = re.compile(r"^\$ (embedkit .*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a demo, and all that it printed."""
    import contextlib
    import io

    folder = tmp_path_factory.mktemp("demo") / "kingdom"
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        # Vectors of the user's own must not get between.
        patch.setenv("EMBEDKIT_VECTORS", str(folder / "absent"))
        patch.setenv("EMBEDKIT_OFFLINE", "1")
        here = Path.cwd()
        assert MAIN(["demo", "-o", str(folder)]) == 0
        assert Path.cwd() == here
        assert os.environ["EMBEDKIT_VECTORS"] == str(folder / "absent")
    return folder, out.getvalue()


def test_it_trains_asks_evaluates_and_maps(walk: tuple[Path, str]) -> None:
    folder, text = walk
    asked = [command.split()[1] for command in SHOWN.findall(text)]
    assert asked == ["corpus", "train", "analogy", "analogy", "evaluate", "project"]
    assert f"$ cd {folder}\n$ unset EMBEDKIT_VECTORS\n" in text
    assert text.count("Notice: ") == len(asked)
    assert {path.name for path in folder.iterdir()} == {
        "kingdom.txt", "questions.txt", "kingdom.safetensors", "map.csv", "map.report.json", "map.html",
    }  # fmt: skip
    assert str(folder / "map.html") in text


def test_what_it_tells_to_notice_is_there(walk: tuple[Path, str]) -> None:
    text = walk[1]
    assert re.search(r"words +454$", text, re.MULTILINE)
    losses = [float(loss) for loss in re.findall(r"epoch \d/5: loss ([\d.]+)", text)]
    assert losses == sorted(losses, reverse=True)
    assert len(losses) == 5
    own, shipped = re.findall(r"^   1  (\S+) +([\d.]+)\n   2  (\S+) +([\d.]+)$", text, re.MULTILINE)
    assert own[0] == "queen"
    assert float(own[1]) > 0.95 > float(own[3]) + 0.05
    assert (shipped[0], shipped[2]) == ("king", "queen")
    (right,) = re.findall(r"(\d+) of 354 covered questions right", text)
    assert int(right) >= 345
    near = re.search(r"neighbours kept@5 +([\d.]+) +([\d.]+)", text)
    far = re.search(r"distance rank correlation +(-?[\d.]+) +([\d.]+)", text)
    assert near
    assert far
    assert float(near[1]) > float(near[2])  # the islands are real
    assert float(far[1]) < float(far[2]) / 2  # their places mean nothing


def test_its_commands_typed_by_hand_give_what_it_shows(
    walk: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands that are quick, in another folder with the same text."""
    folder, text = walk
    monkeypatch.delenv("EMBEDKIT_VECTORS", raising=False)
    monkeypatch.chdir(tmp_path)
    for name in ("kingdom.txt", "questions.txt", "kingdom.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    commands = SHOWN.findall(text)
    for command in commands:
        if command.split()[1] in ("corpus", "analogy", "evaluate"):
            assert MAIN(shlex.split(command)[1:]) == 0
            shown = capsys.readouterr()
            assert f"$ {command}\n{shown.out}{shown.err}" in text


def test_one_can_go_on_with_its_files(walk: tuple[Path, str]) -> None:
    folder = walk[0]
    vectors = embedkit.load(folder / "kingdom.safetensors")
    assert vectors.similar("queen", k=1).best != ["queen"]
    assert embedkit.read(folder / "map.csv").shape == (454, 2)
    page = (folder / "map.html").read_text(encoding="utf-8")
    assert "UMAP of 454 rows" in page
    assert len((folder / "kingdom.txt").read_text().splitlines()) == 10_000


def test_it_writes_into_no_folder_that_holds_something(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert MAIN(["demo", "-o", str(tmp_path)]) == 4
    assert "is not empty" in capsys.readouterr().err
    assert MAIN(["demo", "-o", str(tmp_path / "thesis.txt")]) == 4
    assert "name another" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_step_that_fails_ends_it_with_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = sys.modules[f"{MAIN.__module__}.demo"]
    monkeypatch.setattr(module, "STEPS", (module.Step("a", "embedkit similar nosuchword", "b"), *module.STEPS[1:]))
    assert MAIN(["demo", "-o", str(tmp_path / "new")]) == 3
    shown = capsys.readouterr().out
    assert "unknown word 'nosuchword'" in shown
    assert "Notice" not in shown


@pytest.mark.slow
def test_it_takes_less_than_a_minute_where_nothing_was_compiled_yet(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cold"), "EMBEDKIT_OFFLINE": "1"}
    start = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "embedkit.cli", "demo"], env={**environment, "TMPDIR": str(tmp_path)},
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    assert time.perf_counter() - start < 60
    (page,) = tmp_path.glob("embedkit-demo-*/map.html")
    assert str(page) in ran.stdout
