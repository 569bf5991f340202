"""What the documents say is true: commands, outputs and code in them are run."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_the_readme_has_exactly_two_set_up_commands() -> None:
    first, second = (block.strip() for block in blocks(README, "sh"))
    for command in (first, second):
        assert "\n" not in command
        assert command.startswith("python3 -m venv ")
        assert "-c constraints.txt" in command
    assert first.endswith("embedkit analogy king man woman")
    assert second.endswith("-m pytest")


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the examples can run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EMBEDKIT_VECTORS", raising=False)
    return tmp_path


def transcripts(text: str) -> list[tuple[str, str]]:
    """Commands after a $ in console blocks, each with the output that stands below it."""
    return [
        (command, shown)
        for block in blocks(text, "console")
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    ]


def test_the_readme_s_examples_give_what_they_show(example: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    ran = transcripts(README)
    assert len(ran) >= 4
    for command, shown in ran:
        done = subprocess.run(
            ["bash", "-c", command], env=environment, capture_output=True, text=True, check=False, cwd=example
        )
        assert done.stdout + done.stderr == shown, command


def test_the_readme_s_python_runs(example: Path) -> None:
    tests = doctest.DocTestParser().get_doctest("\n".join(blocks(README, "python")), {}, "README", "README.md", 0)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    runner.run(tests)
    assert runner.summarize(verbose=False).attempted > 5
    assert runner.summarize(verbose=False).failed == 0


def test_links_in_the_documents_lead_somewhere() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "embedkit/pretrained/card.md"):
        path = ROOT / name
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{name}: {target}"


def test_every_command_that_the_card_shows_exists() -> None:
    """The card's commands take an hour: here their options are read, not obeyed."""
    card = (ROOT / "embedkit/pretrained/card.md").read_text(encoding="utf-8")
    (command,) = (block for block in blocks(card, "sh") if "train word2vec" in block)
    words = shlex.split(command.replace("\\\n", " "))
    help_text = subprocess.run(
        [sys.executable, "-P", "-m", "embedkit.cli", *words[1:3], "--help"], capture_output=True, text=True, check=True
    ).stdout
    options = [word for word in words if word.startswith("--")]
    assert options
    assert all(option in help_text for option in options)


NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_and_hold_no_paths_of_a_machine(path: Path, example: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|tmp|Users)/", text)
    notebook = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(example)}}
    ).execute()


def test_there_is_a_notebook() -> None:
    assert NOTEBOOKS
