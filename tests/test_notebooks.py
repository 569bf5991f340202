"""Notebooks run from end to end, what they show is no older than they are, and exercises tell right from wrong."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
EXERCISES = sorted((FOLDER / "exercises").glob("*.ipynb"))
SOLUTIONS = sorted((FOLDER / "exercises" / "solutions").glob("*.md"))

MOST_BYTES = 1_000_000
MOST_OF_A_PICTURE = 250_000  # in base64
SECONDS = 45.0  # of a processor, for a whole notebook in its light setting
_MACHINE = re.compile(r"/(?:home|root|tmp|Users|work|mnt|var/folders)/|[A-Z]:\\\\?Users")
_DATED = re.compile(r"\bheavy\b.*\b20\d\d-\d\d-\d\d\b")
_LINK = re.compile(r"\]\(([^)#\s]+)")

Cell = dict[str, Any]


def stem(path: Path) -> str:
    return path.stem


def cells(path: Path) -> list[Cell]:
    found: list[Cell] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return found


def code_cells(path: Path) -> list[Cell]:
    return [cell for cell in cells(path) if cell["cell_type"] == "code"]


def source(cell: Cell) -> str:
    return "".join(cell["source"])


def texts(cell: Cell) -> Iterator[str]:
    """What a cell and its outputs hold as text; pictures left out, whose letters may spell anything."""
    yield source(cell)
    for output in cell.get("outputs", []):
        yield "".join(output.get("text", ""))
        for kind, data in output.get("data", {}).items():
            if not kind.startswith("image/"):
                yield "".join(data) if isinstance(data, list | str) else json.dumps(data)


def kinds(outputs: list[Any]) -> set[str]:
    """What kinds of output there are: ``stdout``, ``image/png text/plain`` ..."""
    return {
        output.get("name") or " ".join(sorted(output.get("data", {output["output_type"]: ""}))) for output in outputs
    }


@pytest.fixture
def light(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, the light setting, and nothing of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in ("EMBEDKIT_DATA", "EMBEDKIT_VECTORS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EMBEDKIT_NOTEBOOKS", "light")
    monkeypatch.setenv("EMBEDKIT_OFFLINE", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / ".ipython"))
    return tmp_path


def test_the_notebooks_are_there() -> None:
    names = ["01-words", "02-MNISTAutoencoder", "03-MNISTVAE", "04-maps", "05-your-own-data"]
    assert [path.stem for path in NOTEBOOKS] == names
    assert [path.stem for path in EXERCISES] == [path.stem for path in SOLUTIONS] == names[:3]


# -- what is committed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", NOTEBOOKS + EXERCISES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_notebook_is_valid_small_and_of_no_machine(path: Path) -> None:
    import nbformat

    nbformat.validate(nbformat.read(path, as_version=4))  # type: ignore[no-untyped-call]
    assert path.stat().st_size < MOST_BYTES
    assert all(set(cell["metadata"]) <= {"tags"} for cell in cells(path)), "metadata of whoever ran it"
    for cell in cells(path):
        for text in texts(cell):
            assert not _MACHINE.search(text), text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_what_a_notebook_shows_is_of_one_heavy_run_and_dated(path: Path) -> None:
    shown = code_cells(path)
    assert [cell["execution_count"] for cell in shown] == list(range(1, len(shown) + 1))
    outputs = [output for cell in shown for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    said = "\n".join("".join(output.get("text", "")) for output in outputs)
    assert _DATED.search(said), "no output says 'heavy' and the date"
    pictures = ["".join(output.get("data", {}).get("image/png", "")) for output in outputs]
    assert any(pictures)
    assert max(map(len, pictures)) < MOST_OF_A_PICTURE


@pytest.mark.parametrize("path", NOTEBOOKS + EXERCISES + SOLUTIONS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_links_lead_somewhere(path: Path) -> None:
    pages = [path.read_text(encoding="utf-8")]
    if path.suffix == ".ipynb":
        pages = [source(cell) for cell in cells(path) if cell["cell_type"] == "markdown"]
    for target in _LINK.findall("\n".join(pages)):
        if "://" not in target:
            assert (path.parent / target).exists(), target


# -- run -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_a_notebook_runs_from_end_to_end(path: Path, light: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    before = [kinds(cell["outputs"]) for cell in notebook.cells if cell["cell_type"] == "code"]
    # The kernel is asked at its end what it took: that does not depend on what else the machine does.
    asked = nbformat.v4.new_code_cell("import time\nprint(time.process_time())")  # type: ignore[no-untyped-call]
    notebook.cells.append(asked)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(light)}}
    ).execute()  # fails where a cell does
    *ran, last = [cell for cell in notebook.cells if cell["cell_type"] == "code"]
    for cell, committed in zip(ran, before, strict=True):
        given = kinds(cell["outputs"])
        assert "stderr" not in given, f"{source(cell)}\n{cell['outputs']}"
        assert given == committed, f"its outputs are of another version; run it again:\n{source(cell)}"
    assert float(last["outputs"][0]["text"]) < SECONDS


# -- exercises -------------------------------------------------------------------------------------------------------
#
# A gap is a cell to be filled, the cell after it checks what was filled in. The solutions hold, under the id of each
# gap, a right source for it and wrong ones. Cells are plain Python, and run here without a kernel.


class Answer(NamedTuple):
    """What can be filled into a gap."""

    right: str
    wrong: list[str]


def answers(path: Path) -> dict[str, Answer]:
    """The answers of an exercise's solutions, by gap."""
    text = (path.parent / "solutions" / f"{path.stem}.md").read_text(encoding="utf-8")
    found: dict[str, Answer] = {}
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        name, _, body = section.partition("\n")
        blocks = re.findall(r"^```python( wrong)?\n(.*?)^```$", body, re.DOTALL | re.MULTILINE)
        (right,) = [block for wrong, block in blocks if not wrong]
        assert name.strip() not in found, f"two sections are called {name}"
        found[name.strip()] = Answer(right, [block for wrong, block in blocks if wrong])
    return found


def is_gap(cell: Cell) -> bool:
    return "gap" in cell["metadata"].get("tags", [])


def is_check(cell: Cell) -> bool:
    return "check" in cell["metadata"].get("tags", [])


class Played:
    """Cells run one after another, with the same names, as a kernel would."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__"}

    def run(self, cell: Cell, instead: str | None = None) -> None:
        code = compile(source(cell) if instead is None else instead, cell["id"], "exec")
        exec(code, self.names)  # noqa: S102  # our own notebooks

    def refused(self, gap: Cell, check: Cell, filled: str | None = None) -> str:
        """What the check says against what was filled in."""
        self.run(gap, filled)
        with pytest.raises(AssertionError) as caught:
            self.run(check)
        return str(caught.value)


@pytest.fixture
def played(light: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Played]:
    monkeypatch.setenv("MPLBACKEND", "agg")
    yield Played()
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.mark.parametrize("path", EXERCISES, ids=stem)
def test_an_exercise_is_gaps_with_checks_and_solutions(path: Path) -> None:
    found = code_cells(path)
    gaps = [cell["id"] for cell in found if is_gap(cell)]
    assert found[0]["id"] == "setup"
    assert gaps
    assert len({cell["id"] for cell in cells(path)}) == len(cells(path))
    for cell, after in zip(found, [*found[1:], None], strict=True):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        tree = ast.parse(source(cell))  # no magics
        if is_gap(cell):
            assert after is not None
            assert is_check(after)
            assert (cell["id"][:4], after["id"]) == ("gap-", f"check-{cell['id'][4:]}")
        if is_check(cell):
            asserted = [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
            assert asserted
            assert all(node.msg is not None for node in asserted), f"{cell['id']}: an assertion that says nothing"
            assert source(cell).splitlines()[-1].startswith(('print("Right', 'print(f"Right'))
    solved = answers(path)
    assert list(solved) == gaps
    assert all(answer.wrong for answer in solved.values())


@pytest.mark.parametrize("path", EXERCISES, ids=stem)
def test_checks_of_an_empty_exercise_say_what_is_missing(path: Path, played: Played) -> None:
    """Whatever is missing before: nothing but the set-up, the gaps and their checks is run."""
    found = code_cells(path)
    played.run(found[0])
    for gap, check in pairwise(found):
        if is_gap(gap):
            assert re.fullmatch(r"[A-Z].{20,}[.?]", played.refused(gap, check), re.DOTALL), check["id"]


@pytest.mark.parametrize("path", EXERCISES, ids=stem)
def test_checks_take_the_solutions_and_refuse_mistakes(
    path: Path, played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    solved = answers(path)
    found = code_cells(path)
    for number, cell in enumerate(found):
        if is_gap(cell):
            check = found[number + 1]
            empty = played.refused(cell, check)
            for wrong in solved[cell["id"]].wrong:
                said = played.refused(cell, check, wrong)
                assert re.fullmatch(r"[A-Z].{20,}[.?]", said, re.DOTALL), check["id"]
                assert said != empty, f"{check['id']}: what is wrong is not what is missing"
            played.run(cell, solved[cell["id"]].right)
        else:
            played.run(cell)
            if is_check(cell):
                assert "Right" in capsys.readouterr().out
