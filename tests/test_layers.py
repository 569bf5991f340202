"""The structure of the source, read from its syntax trees: who may import whom, and what may be nowhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "embedkit").rglob("*.py"), *(ROOT / "cli").rglob("*.py")])

# From the top down; a room imports, at module level, from its own layer or from lower ones.
LAYERS = [
    {"cli"},
    {"plots", "evaluation", "pretrained"},
    {"words", "latent", "manifold", "search", "images"},
    {"formats", "text", "shelf"},
    {"kernels"},
    {"embedding", "embedder", "errors", "checks", "files", "labels", "parameters", "progress", "rows", "__init__"},
]
# Within a layer rooms are strangers, except where the plan says otherwise.
SIBLINGS = {("manifold", "latent")}

# Libraries that only some rooms may name, anywhere in their files.
OWNERS = {
    "gensim": {"words", "formats", "text"},
    "umap": {"manifold"},
    # Beside the row embedders: the digits, k-means for categories, and documents as rows of a Pipeline.
    "sklearn": {"manifold", "latent", "images", "evaluation", "words"},
    "regex": {"text"},
    "platformdirs": {"files"},
    "PIL": {"formats", "plots"},
    "pyarrow": {"formats"},
    "torch": {"kernels", "latent", "search", "formats", "embedding"},
    "pandas": {"formats", "search", "evaluation", "embedding", "rows", "text", "words", "latent", "manifold"},
    "click": {"cli"},
    "matplotlib": {"plots"},
    "plotly": {"plots"},
}


def room(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0] if parts[0] == "cli" else parts[1]


def level(name: str) -> int:
    return next(i for i, layer in enumerate(LAYERS) if name in layer)


def at_module_level(tree: ast.Module) -> Iterator[ast.stmt]:
    for node in tree.body:
        # What only type checkers see costs nothing; what stands in a function is imported when it runs.
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if isinstance(node, ast.Import | ast.ImportFrom) and not typing_only:
            yield node


def modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_import_downwards_only(path: Path) -> None:
    home = room(path)
    for node in at_module_level(ast.parse(path.read_text(encoding="utf-8"))):
        for name in modules(node):
            if not name.startswith("embedkit."):
                continue
            other = name.split(".")[1]
            other = other if any(other in layer for layer in LAYERS) else "__init__"
            if home == "cli" or other == home:
                continue
            down = level(other) > level(home) or level(other) == len(LAYERS) - 1
            assert down or (home, other) in SIBLINGS, f"{home} imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_libraries_are_named_by_their_owners_only(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for name in modules(node):
            library = name.split(".")[0]
            assert room(path) in OWNERS.get(library, {room(path)}), f"{path.name} imports {name}"


# Modules whose files can run code, and calls that do; by the last names of what is called.
PICKLERS = {"pickle", "_pickle", "cPickle", "pickletools", "dill", "cloudpickle", "joblib", "marshal", "shelve", "code",
            "codeop", "runpy", "imp", "yaml", "jsonpickle"}  # fmt: skip
RUNNERS = {"eval", "exec", "compile", "__import__", "execfile", "os.system", "os.popen", "builtins.eval",
           "builtins.exec", "torch.load", "torch.jit.load", "torch.hub.load", "np.load", "numpy.load", "pd.eval",
           "numexpr.evaluate"}  # fmt: skip
# A module is found by a name of ours: a constant, one that begins with our own, or is looked up in a constant list.
OURS = re.compile(r"_HOMES?\[|f?'(embedkit\.|\.)|f'{__name__}\.|'[\w.]+'\Z")
# gensim's own reading, and where it may be: of pickles after the user's word, of others after a look through the file.
TRUSTED = {"KeyedVectors.load": "gensim_saves.py", "load_facebook_vectors": "fasttext.py"}


def dangers(tree: ast.AST, name: str) -> Iterator[str]:
    """What in a source file could run code that a file holds."""
    for node in ast.walk(tree):
        yield from (f"imports {module}" for module in modules(node) if module.split(".")[0] in PICKLERS)
        if isinstance(node, ast.Attribute) and node.attr == "__reduce_ex__":
            yield "reduces"
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in RUNNERS or called.endswith((".read_pickle", ".to_pickle", ".load_state_dict_from_url")):
            yield f"calls {called}"
        for trusted, home in TRUSTED.items():
            if called.endswith(trusted) and name != home:
                yield f"calls {called}"
        if "allow_pickle" in {keyword.arg for keyword in node.keywords}:
            yield "allows pickles"
        first = ast.unparse(node.args[0]) if node.args else ""
        if called.endswith("import_module") and not OURS.match(first):
            yield f"imports {first}"
        named = len(node.args) > 1 and not isinstance(node.args[1], ast.Constant)
        if called == "getattr" and named and first in ("builtins", "__builtins__", "os", "subprocess"):
            yield f"looks into {first}"


# Names that are no file's: the parameter of a function that is called with constants.
HARMLESS = {("searching.py", "imports name"), ("doctor_checks.py", "imports name.removeprefix(LIBRARY)")}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_reads_pickles_or_runs_text_as_code(path: Path) -> None:
    found = {(path.name, danger) for danger in dangers(ast.parse(path.read_text(encoding="utf-8")), path.name)}
    assert not found - HARMLESS


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from pickle import loads", "import torch\ntorch.load(path)", "eval(text)", "exec(text)",
        "import numpy as np\nnp.load(path)", "f(path, allow_pickle=True)", "importlib.import_module(about['class'])",
        "importlib.import_module(name)", "importlib.import_module(f'{name}')", "pd.read_pickle(path)",
        "KeyedVectors.load(path)", "getattr(builtins, name)(x)", "__import__(name)", "from joblib import load",
    ],
)  # fmt: skip
def test_what_runs_code_is_seen(source: str) -> None:
    assert list(dangers(ast.parse(source), "other.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_library_neither_prints_nor_seeds_globally(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in ("print", "np.random.seed", "random.seed", "torch.manual_seed")
