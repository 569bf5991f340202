"""Every public name is documented: what it is given, of which shape, what it gives back, and what it refuses."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import embedkit
from embedkit import errors

ROOT = Path(__file__).parents[1]


def _generated() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generated", ROOT / "docs" / "generated.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["generated"] = module  # its NamedTuple looks its module up
    spec.loader.exec_module(module)
    return module


GENERATED = _generated()
PUBLIC = {name: found.value for name, found in GENERATED.public().items()}
ROOMS = ["text", "words", "search", "evaluation", "latent", "manifold", "plots", "formats", "shelf"]
# An array, in an annotation; and a shape, in words: (n, d), (m,), (b, *shape), (n, at least 2).
ARRAY = re.compile(r"\b(ArrayLike|NDArray|ndarray|Doubles|Floats|Integers|FloatArray|IntArray|Int32s)\b")
SHAPE = re.compile(r"\(\w+,[^()]*\)|\bshape\b")
# What means the same everywhere: rows and targets as scikit-learn calls them, a file, what `fit` explains, and what is
# handed on to the function that the docstring names.
UNDERSTOOD = {"self", "cls", "X", "y", "path", "data", "corpus", "callback", "params", "how", "args", "kwargs"}
ERRORS = {name for name, value in vars(errors).items() if inspect.isclass(value)}


def functions() -> Iterator[tuple[str, Any, str]]:
    """Public functions, and methods of public classes with the docstring of their class."""
    for name, value in PUBLIC.items():
        if inspect.isclass(value):
            for member in GENERATED.members(value):
                found = inspect.getattr_static(value, member)
                function = getattr(found, "__func__", found)
                if inspect.isfunction(function):
                    yield f"{name}.{member}", function, inspect.getdoc(value) or ""
        else:
            yield name, value, ""


FUNCTIONS = {name: (function, around) for name, function, around in functions()}
each_function = pytest.mark.parametrize("name", FUNCTIONS)


def documented(name: str) -> tuple[Any, str, str]:
    function, around = FUNCTIONS[name]
    if "." in name and around:  # a method may have its docstring from the class it overrides
        owner = PUBLIC[name.rpartition(".")[0]]
        return function, inspect.getdoc(getattr(owner, function.__name__)) or "", around
    return function, inspect.getdoc(function) or "", around


def test_the_reference_has_every_public_name() -> None:
    for room in ["", *(f".{room}" for room in ROOMS)]:
        module = importlib.import_module(f"embedkit{room}")
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                assert value in PUBLIC.values(), f"embedkit{room}.{name}"
    pages = {f"{path.stem}" for path in (ROOT / "docs" / "reference").glob("*.md")} - {"index"}
    assert pages == set(GENERATED.PAGES)
    index = (ROOT / "docs" / "reference" / "index.md").read_text(encoding="utf-8")
    assert all(re.search(rf"^{page}$", index, re.MULTILINE) for page in pages)


@pytest.mark.parametrize("name", PUBLIC)
def test_each_says_what_it_is_and_names_its_parameters(name: str) -> None:
    value = PUBLIC[name]
    text = inspect.getdoc(value) or ""
    assert re.match(r"[^\n]+[.:?]\s*(\n\n|$)", text) or re.match(r"(?s).+?[.:?]", text), (
        "no sentence that says what it is"
    )
    if inspect.isclass(value) and not issubclass(value, BaseException | tuple):
        for parameter in inspect.signature(value).parameters:
            assert re.search(rf"\b{parameter}\b", text), f"{parameter} is not explained"


@each_function
def test_a_function_explains_its_parameters(name: str) -> None:
    function, text, _ = documented(name)
    assert text
    missing = [
        parameter
        for parameter in inspect.signature(function).parameters
        if parameter not in UNDERSTOOD and not re.search(rf"\b{parameter.removesuffix('s')}s?\b|[Ss]ee `", text)
    ]
    assert not missing


@each_function
def test_arrays_have_their_shape(name: str) -> None:
    function, text, around = documented(name)
    arrays = [key for key, kind in inspect.get_annotations(function).items() if ARRAY.search(str(kind))]
    assert not arrays or SHAPE.search(text) or SHAPE.search(around), f"no shape of {', '.join(arrays)}"


@each_function
def test_what_a_function_refuses_is_said(name: str) -> None:
    function, text, around = documented(name)
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    caught = {
        id(node)
        for tried in ast.walk(tree)
        if isinstance(tried, ast.Try)
        for part in tried.body
        for node in ast.walk(part)
    }
    raised = {
        ast.unparse(node.exc.func if isinstance(node.exc, ast.Call) else node.exc)
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and node.exc is not None and id(node) not in caught
    } & ERRORS
    missing = [error for error in sorted(raised) if not re.search(rf"\b{error}\b|refuse", text + around)]
    assert not missing


def test_the_manual_has_every_command_and_option() -> None:
    manual = GENERATED.manual()
    commands = dict(GENERATED.commands())
    assert len(commands) > 20
    for name, command in commands.items():
        assert re.search(rf"^##+ {re.escape(name)}$", manual, re.MULTILINE)
        section = re.split(r"^##+ ", manual.partition(f"# {name}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
        for parameter in command.params:
            if getattr(parameter, "help", None) and not parameter.hidden:
                assert any(f"{option}" in section for option in parameter.opts), f"{name} {parameter.opts}"


def test_generated_pages_take_their_place() -> None:
    for page in GENERATED.PAGES:
        source = (ROOT / "docs" / "reference" / f"{page}.md").read_text(encoding="utf-8")
        filled = GENERATED.filled_in(f"reference/{page}", source)
        assert GENERATED.HERE in source
        assert GENERATED.HERE not in filled
        assert all(name in filled for name, found in GENERATED.public().items() if found.page == page)
    assert GENERATED.filled_in("index", "# embedkit\n") == "# embedkit\n"


def test_names_in_docstrings_are_found() -> None:
    assert GENERATED.public_name("Embedding") == "embedkit.Embedding"
    assert GENERATED.public_name("embedkit.embedding.Embedding") == "embedkit.Embedding"
    assert GENERATED.public_name("embedkit.search.Search.similar") == "embedkit.Search.similar"
    assert GENERATED.public_name("nonsense") is None
    assert embedkit.__name__ == "embedkit"


@pytest.mark.slow
def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    import subprocess

    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-E", "-q", "-b", "html"]
    done = subprocess.run([*build, ROOT / "docs", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "coming-from" / "gensim.html").read_text(encoding="utf-8")
    assert "side-by-side docutils container" in page
    assert ":::" not in page
    vectors = (tmp_path / "reference" / "vectors.html").read_text(encoding="utf-8")
    assert 'id="embedkit.Embedding.similar"' in vectors
    assert 'id="embedkit-analogy"' in (tmp_path / "manual.html").read_text(encoding="utf-8")
