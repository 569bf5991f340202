"""What the documents say is true: their commands and code are run, and give the output that stands there."""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from embedkit import load
from embedkit.pretrained import PATH

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
# Rewrites what documents show as output; read it before you commit it.
REGOLD = bool(os.environ.get("EMBEDKIT_REGOLD"))

_FENCE = re.compile(
    r"(?P<slow><!-- slow -->\n)?^```(?P<language>\S*)[^\n]*\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
_COMMAND = re.compile(r"^\$ (?P<command>.*)\n(?P<shown>(?:(?!\$ ).*\n)*)", re.MULTILINE)
# Languages of blocks: code that is run, what is shown only, and Sphinx's directives.
RUN, SHOWN, DIRECTIVES = {"python", "console"}, {"text", "toml", "sh"}, {"{toctree}", "{literalinclude}", "{eval-rst}"}
# Last digits depend on the processor, and what was trained with them does so a little more.
_NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?")
_TOLERANCE = 0.05


class Block(NamedTuple):
    """A fenced block: its language, its text, where that begins in the page, and whether it takes long."""

    language: str
    text: str
    start: int
    slow: bool


class Wrong(NamedTuple):
    """What gave something else than is shown, from `start` to `end` of the page."""

    code: str
    shown: str
    given: str
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.code}\nshown:\n{self.shown}\ngiven:\n{self.given}"


def blocks(text: str, language: str = "") -> list[Block]:
    return [
        Block(match["language"], match["text"], match.start("text"), bool(match["slow"]))
        for match in _FENCE.finditer(text)
        if language in ("", match["language"])
    ]


class Checker(doctest.OutputChecker):
    """Text as it stands there, numbers with a decimal point nearly so, anything for three dots; spaces count as one."""

    def check_output(self, want: str, got: str, optionflags: int = 0) -> bool:
        parts = re.split(rf"({_NUMBER.pattern}|\.\.\.|\s+)", want.strip())
        pattern = "".join(
            f"({_NUMBER.pattern})"
            if _NUMBER.fullmatch(part)
            else r"[\s\S]*?"
            if part == "..."
            else r"\s+"
            if part.isspace()
            else re.escape(part)
            for part in parts
        )
        match = re.fullmatch(pattern, got.strip())
        shown = [float(part) for part in parts if _NUMBER.fullmatch(part)]
        return match is not None and shown == pytest.approx(
            [float(number) for number in match.groups()], abs=_TOLERANCE, rel=_TOLERANCE
        )


class Player:
    """Runs the blocks of a page in order; names live on from one to the next.

    Commands that are nothing but the program run in this process; those with a pipe, or of another program, in a shell,
    as do all of them where `real`.
    """

    def __init__(self, real: bool = False) -> None:
        self.real = real
        self.names: dict[str, Any] = {}
        (entry,) = entry_points(group="console_scripts", name="embedkit")
        self.main: Callable[[list[str]], int] = entry.load()
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",  # what goes to the two streams comes in the order of a terminal
        }

    def play(self, block: Block) -> Iterator[Wrong]:
        return self.python(block) if block.language == "python" else self.console(block)

    def python(self, block: Block) -> Iterator[Wrong]:
        test = doctest.DocTestParser().get_doctest(block.text, self.names, "", "", 0)
        assert test.examples, f"a block of Python without >>>:\n{block.text}"
        lines = block.text.splitlines(keepends=True)
        for example in test.examples:
            one = doctest.DocTest([example], self.names, "", "", 0, None)
            said = io.StringIO()
            runner = doctest.DocTestRunner(Checker(), verbose=False)
            runner.run(one, out=said.write, clear_globs=False)
            self.names.update(one.globs)
            if runner.failures:
                first = example.lineno + example.source.count("\n")
                start = block.start + len("".join(lines[:first]))
                _, _, given = said.getvalue().partition("Got:\n")
                given = re.sub("^    ", "", given, flags=re.MULTILINE) or said.getvalue()
                yield Wrong(example.source, example.want, given, start, start + len(example.want))

    def console(self, block: Block) -> Iterator[Wrong]:
        assert block.text.startswith("$ "), f"a block of commands without $:\n{block.text}"
        for match in _COMMAND.finditer(block.text):
            command, shown = match["command"], match["shown"]
            given = self.shell(command) if self.real or _needs_a_shell(command) else self.program(command)
            if not Checker().check_output(shown, given):
                start = block.start + match.start("shown")
                yield Wrong(command, shown, given, start, start + len(shown))

    def program(self, command: str) -> str:
        written = io.BytesIO()
        said = io.TextIOWrapper(written, encoding="utf-8", write_through=True)
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            self.main(shlex.split(command)[1:])
        return written.getvalue().decode()

    def shell(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        return done.stdout.decode()


def _needs_a_shell(command: str) -> bool:
    words = shlex.shlex(command, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    return not command.startswith("embedkit ") or "$" in command or bool({"|", "<", ">", ";", "&&"} & set(words))


def play(path: Path, slow: bool = False, real: bool = False) -> None:
    """Run a page's blocks; leave out those that take long, unless `slow`."""
    text = path.read_text(encoding="utf-8")
    player = Player(real)
    wrong = [
        fault
        for block in blocks(text)
        if block.language in RUN and (slow or not block.slow)
        for fault in player.play(block)
    ]
    if wrong and REGOLD:
        for fault in reversed(wrong):
            text = text[: fault.start] + fault.given + text[fault.end :]
        path.write_text(text, encoding="utf-8")
    assert not wrong, "\n\n".join(map(str, wrong))


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the examples can run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EMBEDKIT_VECTORS", raising=False)
    return tmp_path


def _name(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").as_posix()


def _with(language: set[str], slow: bool) -> list[Path]:
    return [
        path
        for path in [README, *PAGES]
        if any(block.language in language and block.slow >= slow for block in blocks(path.read_text(encoding="utf-8")))
    ]


@pytest.mark.usefixtures("example")
@pytest.mark.parametrize("path", _with(RUN, slow=False), ids=_name)
def test_code_and_commands_give_what_is_shown(path: Path) -> None:
    play(path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ImportWarning")  # umap-learn's; Python does not show them
@pytest.mark.usefixtures("example")
@pytest.mark.parametrize("path", _with(RUN, slow=True), ids=_name)
def test_what_takes_longer_gives_what_is_shown_too(path: Path) -> None:
    play(path, slow=True)


@pytest.mark.slow
@pytest.mark.usefixtures("example")
def test_the_readme_s_commands_give_what_they_show_in_a_shell() -> None:
    play(README, slow=True, real=True)


@pytest.mark.parametrize("path", [README, ROOT / "CONTRIBUTING.md", *PAGES], ids=_name)
def test_every_block_is_run_or_known_as_what_is_only_shown(path: Path) -> None:
    for block in blocks(path.read_text(encoding="utf-8")):
        assert block.language in RUN | SHOWN | DIRECTIVES
        # What can be run is not hidden in a block that is not.
        assert block.language != "text" or not re.search(r"^(\$ )?embedkit \w", block.text, re.MULTILINE)
        assert block.language != "sh" or path.name in ("README.md", "CONTRIBUTING.md")


def test_the_readme_has_exactly_two_set_up_commands() -> None:
    first, second = (block.text.strip() for block in blocks(README.read_text(encoding="utf-8"), "sh"))
    for command in (first, second):
        assert "\n" not in command
        assert command.startswith("python3 -m venv ")
        assert "-c constraints.txt" in command
    assert first.endswith("embedkit analogy king man woman")
    assert second.endswith("-m pytest")


def test_the_readme_s_figures_are_those_that_were_measured() -> None:
    row = re.compile(r"^\| (.*) \| .* \| (.*) \| `(python -m [^`]*)` \(\[results\]\((.*)\)\) \|$", re.MULTILINE)
    rows = row.findall(README.read_text(encoding="utf-8"))
    assert len(rows) > 10
    for what, times, command, path in rows:
        results = (ROOT / path).read_text(encoding="utf-8")
        assert f"{command}`" in results
        for figure in re.findall(r"\d+\.\d+", what) + re.findall(r"\d+(?:\.\d+)?", times):
            assert re.search(rf"(?<![\d.]){re.escape(figure)}(?![.\d])", results), f"{figure} is not in {path}"


def test_the_pages_figures_name_the_run_that_gave_them() -> None:
    named = re.compile(r"`(python -m benchmarks[^`]*)`;\s`(benchmarks/results/[^`]*)`")
    found = [pair for page in PAGES for pair in named.findall(page.read_text(encoding="utf-8"))]
    assert len(found) >= 3
    for command, path in found:
        assert f"{command}`" in (ROOT / path).read_text(encoding="utf-8")
    # The table of this page is a part of that file's.
    table = re.search(r"^\| embedkit .*\n(?:\|.*\n)+", (ROOT / "docs/explained/negatives.md").read_text(), re.MULTILINE)
    assert table is not None
    results = (ROOT / "benchmarks/results/training.md").read_text(encoding="utf-8")
    for figure in re.findall(r"[-+]?\d+\.\d+", table[0]):
        assert figure in results, figure


def test_pictures_are_small() -> None:
    pictures = list((ROOT / "docs" / "pictures").iterdir())
    assert pictures
    assert all(path.stat().st_size < 150_000 for path in pictures)


def test_links_in_the_documents_lead_somewhere() -> None:
    documents = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "embedkit/pretrained/card.md"]
    for path in [*(ROOT / name for name in documents), *PAGES]:
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path}: {target}"


def test_the_card_tells_what_the_vectors_were_made_of() -> None:
    """The card's commands take a quarter of an hour: here the names in them are looked up, not obeyed."""
    card = (ROOT / "embedkit/pretrained/card.md").read_text(encoding="utf-8")
    (commands,) = (block.text for block in blocks(card, "sh"))
    trained = re.findall(r"[\w-]+", commands.splitlines()[0].partition("FOLDER")[2])
    searched = (ROOT / "benchmarks/shipped.py").read_text(encoding="utf-8")
    made = (ROOT / "benchmarks/pretrained.py").read_text(encoding="utf-8")
    parts = re.findall(r'"([^"]+)"', made.partition("PARTS = ")[2].partition(")")[0])
    assert trained == parts
    assert all(f'"{name}": Word2Vec(' in searched for name in trained)
    assert [part["made_by"] for part in load(PATH).provenance["parts"]] == ["Word2Vec"] * len(parts)
