"""What users install: the built distributions, and that nothing is missing from or too much in them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import embedkit

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def run(*command: str | Path, cwd: Path) -> str:
    # A folder on PYTHONPATH would reach into the fresh environment.
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "EMBEDKIT_VECTORS")}
    ran = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sdist/ (and the wheel made from it) and wheel/ (made from the tree), built from a clean copy."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files belong to it cannot be told")
    folder = tmp_path_factory.mktemp("built")
    clean = folder / "clean"
    for name in run("git", "ls-files", "-co", "--exclude-standard", "-z", cwd=ROOT).split("\0"):
        if name and (ROOT / name).is_file():
            (clean / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clean / name)
    build = [sys.executable, "-m", "build", "--no-isolation"]
    # From a registry, and by `pip install .`; a copy of the tree each, so that neither sees the other's files.
    shutil.copytree(clean, folder / "again")
    run(*build, "--outdir", folder / "sdist", cwd=clean)
    run(*build, "--wheel", "--outdir", folder / "wheel", cwd=folder / "again")
    return folder


def contents(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        return {
            name: hashlib.sha256(archive.read(name)).hexdigest()
            for name in archive.namelist()
            if not name.endswith("/RECORD")
        }


def only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


def test_every_package_folder_is_listed(project: dict[str, Any]) -> None:
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "embedkit").rglob("__init__.py")}
    found |= {"embedkit.cli", "embedkit.corpora"}
    assert set(project["tool"]["setuptools"]["packages"]) == found


def test_the_version_is_the_same_everywhere(project: dict[str, Any]) -> None:
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "embedkit.__version__"}
    assert importlib.metadata.version("embedkit") == embedkit.__version__
    assert f"## [{embedkit.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_constraints_pin_every_direct_dependency_to_one_version(project: dict[str, Any]) -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in lines if not line.startswith("#")]
    assert all(pins)  # no local version such as +cpu, no address, no range
    names = {match[1].lower().replace("_", "-") for match in pins if match}
    wanted = project["project"]["dependencies"] + project["project"]["optional-dependencies"]["dev"]
    assert {re.split(r"[<>=]", line)[0].lower() for line in wanted} <= names
    assert "torch==2.13.0" in lines


def test_the_wheel_holds_everything_and_one_top_level_package(built: Path) -> None:
    inside = contents(only(built / "wheel", "*.whl"))
    info = f"embedkit-{embedkit.__version__}.dist-info"
    assert {name.split("/")[0] for name in inside} == {"embedkit", info}
    for folder, home in (
        (ROOT / "embedkit", "embedkit"),
        (ROOT / "cli", "embedkit/cli"),
        (ROOT / "corpora", "embedkit/corpora"),
    ):
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                name = f"{home}/{path.relative_to(folder).as_posix()}"
                assert inside.pop(name, None) == hashlib.sha256(path.read_bytes()).hexdigest(), name
    assert not [name for name in inside if not name.startswith(info)]


def test_the_licences_are_stated(built: Path) -> None:
    with zipfile.ZipFile(only(built / "wheel", "*.whl")) as archive:
        metadata = archive.read(f"embedkit-{embedkit.__version__}.dist-info/METADATA").decode()
        names = archive.namelist()
    assert "License-Expression: BSD-3-Clause AND CC-BY-SA-3.0" in metadata
    assert "Requires-Python: >=3.11" in metadata
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("licenses/embedkit/pretrained/LICENSE-vectors") for name in names)


def test_the_sdist_builds_the_same_wheel(built: Path) -> None:
    from_sdist, from_tree = (contents(only(built / kind, "*.whl")) for kind in ("sdist", "wheel"))
    assert from_sdist == from_tree
    with tarfile.open(only(built / "sdist", "*.tar.gz")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "cli/__init__.py", "corpora/__init__.py"} <= names


def test_the_installed_wheel_answers_with_nothing_but_numpy_and_click(built: Path, tmp_path: Path) -> None:
    """A fresh environment that can import only these two proves that the light commands need no more."""
    fresh = tmp_path / "fresh"
    run(sys.executable, "-m", "venv", "--without-pip", fresh, cwd=tmp_path)
    wheel = only(built / "wheel", "*.whl")
    python = fresh / "bin" / "python"
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", "-q", wheel, cwd=tmp_path
    )
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    for module in ("numpy", "click"):
        source = Path(importlib.import_module(module).__file__ or "").parent
        (site / module).symlink_to(source)
    libraries = Path(importlib.import_module("numpy").__file__ or "").parents[1] / "numpy.libs"
    if libraries.exists():
        (site / "numpy.libs").symlink_to(libraries)
    out = run(fresh / "bin" / "embedkit", "analogy", "king", "man", "woman", cwd=tmp_path)
    assert out.splitlines()[1].split()[1] == "queen"
    assert run(fresh / "bin" / "embedkit", "--version", cwd=tmp_path).strip() == f"embedkit {embedkit.__version__}"
    assert run(python, "-m", "embedkit.cli", "info", cwd=tmp_path).startswith("fact")
