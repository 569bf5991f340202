"""`embedkit doctor`: what it tells, what it keeps to itself, and that it outlives whatever is broken."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import embedkit
from embedkit.errors import BadInput

(ENTRY,) = entry_points(group="console_scripts", name="embedkit")
MAIN: Callable[[list[str]], int] = ENTRY.load()
doctor: Any = import_module(f"{MAIN.__module__}.doctor")
checks: Any = import_module(f"{MAIN.__module__}.doctor_checks")

BROKEN = {
    "raises": "raise ImportError('libfoo.so.1: cannot open shared object file')",
    "aborts": "import os; print('about to fall over', flush=True); os.abort()",
    "leaves": "import sys; sys.exit(7)",
    "hangs": "import time; time.sleep(60)",
    "prints": "print('hello'); print('{\"name\": \"a lie\"}')",
}


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Libraries that do what libraries should not, in a folder on Python's path."""
    folder = tmp_path / "broken"
    folder.mkdir()
    for name, text in BROKEN.items():
        (folder / f"{name}.py").write_text(text + "\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only some checks: all of them take ten seconds."""
    monkeypatch.setattr(doctor, "ENGINES", {name: checks.ENGINES[name] for name in ("search by numpy",)})
    monkeypatch.setattr(doctor, "FACTS", {name: checks.FACTS[name] for name in ("simd", "shipped vectors")})
    monkeypatch.setattr(doctor, "_requirements", lambda: {"click": ("8.0", None), "numpy": ("2.0", None)})


def report(capsys: pytest.CaptureFixture[str], expected: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert MAIN(["doctor", "--json"]) == expected
    captured = capsys.readouterr()
    assert captured.err == ""
    found: dict[str, Any] = json.loads(captured.out)
    return found


# -- checks in their own process ---------------------------------------------------------------------------------------


def test_what_raises_crashes_leaves_or_prints_is_told_and_the_rest_goes_on(broken: Path) -> None:
    names = ["library:raises", "library:prints", "library:aborts", "library:absent", "library:leaves", "library:json"]
    found = {one["name"].partition(":")[2]: one for one in checks.examined(names)}
    assert {name: one["verdict"] for name, one in found.items()} == {
        "raises": "failed", "prints": "ok", "aborts": "crashed", "absent": "failed", "leaves": "crashed", "json": "ok",
    }  # fmt: skip
    assert found["raises"]["found"] == "ImportError: libfoo.so.1: cannot open shared object file"
    assert found["aborts"]["found"] == "the process ended with -6: Aborted"
    assert found["leaves"]["found"] == "the process ended with 7"
    assert found["absent"]["found"] == "ModuleNotFoundError: No module named 'absent'"


def test_what_hangs_is_given_up(broken: Path) -> None:
    hung, fine = checks.examined(["library:hangs", "library:json"], patience=2.0)
    assert (hung["verdict"], hung["found"]) == ("crashed", "no end after 2 seconds")
    assert fine["verdict"] == "ok"


def test_an_engine_that_computes_nonsense_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.ENGINES["search by torch"]() == "king - man + woman: queen, by cpu"
    monkeypatch.setattr(embedkit.Search, "analogies", lambda self, asked, k: SimpleNamespace(best=["king"]))
    with pytest.raises(BadInput, match="it runs, but the result is wrong: king - man \\+ woman: king"):
        checks.ENGINES["search by torch"]()


# -- the report --------------------------------------------------------------------------------------------------------


def test_the_report_says_what_a_report_of_a_fault_needs(small: None, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys)
    assert found["embedkit"] == embedkit.__version__
    assert found["problems"] == []
    assert ".".join(map(str, sys.version_info[:3])) in found["system"]["python"]
    assert "cores usable" in found["system"]["processor"]
    assert found["machine"]["shipped vectors"] == "35,000 words x 300, all checksums right"
    assert found["machine"]["instructions"]["llvm"]
    assert found["caches"]["data and kernels"]["writable"] is True
    assert [one["name"] for one in found["libraries"]] == ["click", "numpy"]
    assert all(one["verdict"] == "ok" and one["version"] for one in found["libraries"])
    assert [one["verdict"] for one in found["engines"]] == ["ok"]
    assert found["engines"][0]["found"] == "king - man + woman: queen, by numpy"
    assert all(one["seconds"] >= 0 for one in (*found["engines"], *found["libraries"]))


def test_people_read_the_same_as_tables(small: None, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert MAIN(["doctor"]) == 0
    shown = capsys.readouterr().out
    for line in (
        r"embedkit +0\.",
        r"library +version +verdict",
        r"numpy +\d.* ok +",
        r"search by numpy +ok +[\d.]+ +king",
    ):
        assert re.search(f"^{line}", shown, re.MULTILINE), line
    assert re.search(r"\nall that embedkit needs works \(\d+ seconds\)\n$", shown)


def test_secrets_and_the_home_folder_are_kept(
    small: None, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home" / "rumpelstiltskin"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("EMBEDKIT_CACHE", str(home / "cache"))
    monkeypatch.setenv("EMBEDKIT_DATA", f"{home}/data")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2@proxy:3128")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    monkeypatch.setattr(doctor, "_requirements", lambda: {"click": ("8.0", None)})
    found = report(capsys)
    text = json.dumps(found)
    for secret in ("hunter2", "wJalrXUtnFEMI", "rumpelstiltskin", "proxy:3128"):
        assert secret not in text
    assert found["caches"]["data and kernels"]["path"] == "~/cache"
    assert found["environment"]["EMBEDKIT_DATA"] == "~/data"
    assert found["environment"]["proxies"] == "https_proxy set"


def test_the_home_folder_is_not_hidden_in_what_only_begins_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/al")
    hide = doctor._hider()
    assert hide({"a": "in /home/al/x and /home/al: no", "b": [1]}) == {"a": "in ~/x and ~: no", "b": [1]}
    assert hide("/home/alice/x") == "/home/alice/x"
    monkeypatch.setenv("HOME", "/")
    assert doctor._hider()("/usr/lib") == "/usr/lib"


def test_broken_absent_and_old_libraries_are_named_and_the_exit_code_is_1(
    small: None, broken: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (broken / "torch.py").write_text("raise OSError('libtorch_cpu.so: cannot open shared object file')\n")
    monkeypatch.setattr(
        doctor, "ENGINES", {name: checks.ENGINES[name] for name in ("search by torch", "search by numpy")}
    )
    known = {"torch": ("2.0", None), "click": ("9000", None), "nosuchthing": ("0", None), "other": ("0", "for fun")}
    monkeypatch.setattr(doctor, "_requirements", lambda: known)
    found = report(capsys, expected=1)
    verdicts = {one["name"]: one["verdict"] for one in (*found["libraries"], *found["engines"])}
    assert verdicts == {
        "torch": "failed", "click": "too old", "nosuchthing": "absent", "other": "absent", "search by torch": "failed",
        "search by numpy": "ok",
    }  # fmt: skip
    # What is optional is told, and is no problem.
    assert found["problems"] == ["torch", "click", "nosuchthing", "search by torch"]
    assert {one["name"]: one["note"] for one in found["libraries"]}["other"] == "for fun"


def test_a_cache_that_cannot_be_written_to_is_told(
    small: None, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EMBEDKIT_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("EMBEDKIT_OFFLINE", "1")
    monkeypatch.setattr(doctor, "FACTS", {})
    monkeypatch.setattr(doctor, "ENGINES", {})
    found = report(capsys)
    assert found["caches"]["data and kernels"].startswith("cannot be used: ")
    assert found["environment"]["downloads"] == "forbidden by EMBEDKIT_OFFLINE"


def test_all_that_the_package_asks_for_is_looked_at() -> None:
    import tomllib

    about = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [re.split(r"[<>=]", line)[0] for line in about["dependencies"]]
    found = doctor._requirements()
    assert [name for name, (_, optional) in found.items() if optional is None] == sorted(asked)
    assert found["torch"] == ("2.6", None)
    assert [name for name, (_, optional) in found.items() if optional is not None] == ["pyarrow"]


@pytest.mark.slow
def test_everything_works_on_this_machine(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "embedkit.cli", "doctor", "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout
    found = json.loads(ran.stdout)
    names = [one["name"] for one in found["engines"]]
    assert names[: len(checks.ENGINES)] == list(checks.ENGINES)
    assert all(one["verdict"] == "ok" for one in found["engines"])
