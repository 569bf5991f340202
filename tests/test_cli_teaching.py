"""The program teaches itself: what it says without a command, the examples in its help, completion, helpful errors."""

from __future__ import annotations

import io
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pytest

from embedkit import Embedding, pretrained

(ENTRY,) = entry_points(group="console_scripts", name="embedkit")
MAIN: Callable[[list[str]], int] = ENTRY.load()
PROGRAM: click.Group = sys.modules[MAIN.__module__].program


def commands(group: click.Command = PROGRAM, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, group
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            yield from commands(command, (*path, name))


COMMANDS = dict(commands())


def examples(text: str) -> list[str]:
    """The command lines in a text: those that stand alone on their lines."""
    return [line.strip() for line in text.splitlines() if line.strip().startswith("embedkit ")]


EXAMPLES = list(dict.fromkeys(line for command in COMMANDS.values() for line in examples(command.help)))
# These train for seconds, or work on 1,797 pictures.
LONG = {
    "embedkit train autoencoder digits --noise 0.3 -o pictures.safetensors",
    "embedkit train vae digits --dims 20 --epochs 10 -o pictures.safetensors",
    "embedkit project digits --method umap -o map.csv --html map.html",
    "embedkit units pictures.safetensors digits --labels class --png units.png",
}
ELSEWHERE = {"embedkit demo": "test_demo", "embedkit doctor": "test_doctor"}  # where these are run


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


# -- the folder that the examples run in -------------------------------------------------------------------------------

QUESTIONS = ": family\nman king woman queen\n: capitals\nparis france rome italy\nrome italy berlin germany\n"
PAIRS = "king queen 9\nman woman 8\nparis france 7\nking italy 2\nqueen rome 2\nwoman germany 1\n"
RELATION = '# made up\n50.0 "man:king"\n40.0 "woman:queen"\n-10.0 "paris:king"\n'
CATEGORIES = "king people\nqueen people\nman people\nwoman people\nparis places\nfrance places\nrome places\n"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples take for granted, by the names that they call it."""
    from embedkit.text.kingdom import kingdom

    folder = tmp_path_factory.mktemp("prepared")
    rng = np.random.default_rng(0)
    text = "".join(" ".join(document) + "\n" for document in kingdom(1500))
    (folder / "text.txt").write_text(text)
    (folder / "texts").mkdir()
    (folder / "texts" / "one.txt").write_text("The King and the Queen\n" * 5)
    (folder / "texts" / "two.txt").write_text("A man and a woman.\n" * 5)
    for name, seed in (("data.csv", 1), ("normal.csv", 2)):
        draw = np.random.default_rng(seed)
        lines = ["name,class,height,weight,length,speed"]
        for row in range(80):
            numbers = draw.normal(size=4) + 4 * (row % 2)
            lines.append(f"row {row},{'cat' if row % 2 else 'dog'},{','.join(f'{value:.3f}' for value in numbers)}")
        (folder / name).write_text("\n".join(lines) + "\n")
    asked = set((QUESTIONS + PAIRS + CATEGORIES).replace(":", " ").split())
    shipped = pretrained.load()
    some = shipped.take([row for row, word in enumerate(shipped.labels) if row < 500 or word in asked])
    some.save(folder / "vectors.safetensors")
    noise = 0.05 * rng.normal(size=some.shape)
    for name, factor in (("old", 0), ("new", 1), ("other-seed", -1)):
        Embedding(some.labels, some.vectors + factor * noise, columns=some.columns).save(folder / f"{name}.safetensors")
    lines = [
        " ".join([word, *map(str, row)]) for word, row in zip(some.labels, some.vectors[:20].tolist(), strict=False)
    ]
    (folder / "vectors.txt").write_text("\n".join(lines) + "\n")
    (folder / "questions.txt").write_text("king man woman\nparis france italy\n")
    (folder / "questions-words.txt").write_text(QUESTIONS)
    (folder / "pairs.txt").write_text(PAIRS)
    (folder / "categories.txt").write_text(CATEGORIES)
    (folder / "outliers").mkdir()
    (folder / "outliers" / "people.txt").write_text("king\nqueen\nman\nwoman\n\nparis\nitaly\n")
    (folder / "relations").mkdir()
    (folder / "relations" / "Phase1Questions-1a.txt").write_text("x\n\nman:king\nwoman:queen\n")
    (folder / "relations" / "GoldRatings-1a.txt").write_text(RELATION)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in (
            "train autoencoder data.csv --dims 2 --epochs 3 --hidden 8 --seed 0 -o model.safetensors",
            "train vae digits --top 300 --dims 4 --epochs 2 --hidden 32 --architecture dense -o pictures.safetensors",
            "encode model.safetensors data.csv -o codes.csv",
            "project data.csv --columns class -o map.csv --no-report",
        ):
            assert MAIN(command.split()) == 0, command
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command line, with < and >, in this process and a folder of its own."""
    monkeypatch.delenv("EMBEDKIT_VECTORS", raising=False)
    monkeypatch.setenv("EMBEDKIT_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> Ran:
        words = shlex.split(line)
        assert words.pop(0) == "embedkit"
        files: dict[str, str] = {}
        for sign in ("<", ">"):
            if sign in words:
                at = words.index(sign)
                files[sign] = words[at + 1]
                del words[at : at + 2]
        given = Path(files["<"]).read_bytes() if "<" in files else b""
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), encoding="utf-8"))
        capsys.readouterr()
        code = MAIN(words)
        captured = capsys.readouterr()
        if ">" in files:
            Path(files[">"]).write_text(captured.out)
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def workplace(prepared: Path, tmp_path: Path) -> Path:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    return tmp_path


# -- examples ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(path) or "embedkit")
def test_every_command_has_an_example_of_itself(path: tuple[str, ...]) -> None:
    found = examples(COMMANDS[path].help)
    assert found
    assert all(line.startswith(" ".join(["embedkit", *path])) for line in found)
    assert all(len(line) <= 78 for line in found), "click's help is of 80 columns"


def test_the_examples_stand_in_the_help_as_they_are_typed(run: Run) -> None:
    for path, command in COMMANDS.items():
        shown = run(" ".join(["embedkit", *path, "--help"])).out
        assert all(f"  {line}\n" in shown for line in examples(command.help)), path


@pytest.mark.parametrize(
    "line",
    [pytest.param(line, marks=pytest.mark.slow if line in LONG else ()) for line in EXAMPLES],
)
def test_examples_run_and_write_what_they_say(line: str, run: Run, workplace: Path) -> None:
    if line.startswith(tuple(ELSEWHERE)):
        pytest.skip(f"run by {ELSEWHERE[next(name for name in ELSEWHERE if line.startswith(name))]}")
    before = {path: path.stat().st_mtime_ns for path in workplace.rglob("*")}
    ran = run(line)
    if line == "embedkit fetch text8":  # everything but the download itself, which is not for tests
        assert (ran.code, "EMBEDKIT_OFFLINE" in ran.err) == (4, True)
        return
    assert ran.code == 0, ran.err
    words = shlex.split(line)
    options = ("-o", "--png", "--html", ">")
    written = [words[i + 1] for i, word in enumerate(words) if word in options and words[i + 1] != "-"]
    written += words[3:4] if words[1] == "convert" else []
    for name in written:
        path = workplace / name
        assert path.stat().st_size
        assert before.get(path) != path.stat().st_mtime_ns, f"{name} was there before, and is not new"
    assert ran.out or written


# -- without a command -------------------------------------------------------------------------------------------------


def test_the_program_alone_shows_five_commands_to_try(run: Run) -> None:
    ran = run("embedkit")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert len(lines) <= 16
    assert max(map(len, lines)) <= 80
    shown = re.findall(r"^  embedkit (\S+)", ran.out, re.MULTILINE)
    assert len(shown) == len(set(shown)) == 5
    assert all((name,) in COMMANDS for name in shown)


def test_what_it_shows_alone_is_among_the_examples_that_run(run: Run) -> None:
    shown = [re.split(r"  +", line.strip())[0] for line in run("embedkit").out.splitlines() if line.startswith("  emb")]
    assert set(shown) <= set(EXAMPLES)


# -- help is quick -----------------------------------------------------------------------------------------------------

HEAVY = {"torch", "gensim", "umap", "sklearn", "numba", "pandas", "scipy", "tqdm", "matplotlib", "plotly", "PIL"}


def test_no_help_loads_a_heavy_library() -> None:
    """All of them in one new process: what one of them loads would stay loaded."""
    code = f"""
import sys
from importlib.metadata import entry_points
(entry,) = entry_points(group="console_scripts", name="embedkit")
main = entry.load()
for path in {[list(path) for path in COMMANDS]!r}:
    assert main([*path, "--help"]) == 0
    print("loaded", path, sorted({HEAVY!r}.intersection(sys.modules)))
"""
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    told = [line for line in ran.stdout.splitlines() if line.startswith("loaded ")]
    assert len(told) == len(COMMANDS)
    assert all(line.endswith(" []") for line in told), [line for line in told if not line.endswith(" []")]


@pytest.mark.slow
@pytest.mark.parametrize("path", [(), ("train", "word2vec"), ("project",), ("evaluate", "analogies")], ids=" ".join)
def test_help_takes_less_than_a_third_of_a_second(path: tuple[str, ...]) -> None:
    """Of the processor's time: a busy machine lets a process wait."""
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
    code += "used = resource.getrusage(resource.RUSAGE_CHILDREN); print(used.ru_utime + used.ru_stime)"
    command = [sys.executable, "-P", "-m", "embedkit.cli", *path, "--help"]
    used = []
    for _ in range(3):
        ran = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
        used.append(float(ran.stdout))
    assert min(used) < 0.3


# -- completion --------------------------------------------------------------------------------------------------------


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """What a shell would be given for a line whose last word is to be completed."""
    monkeypatch.delenv("EMBEDKIT_VECTORS", raising=False)

    def complete(line: str, shell: str = "bash") -> list[str]:
        last = "" if line.endswith(" ") else line.split(" ")[-1]
        monkeypatch.setenv("_EMBEDKIT_COMPLETE", f"{shell}_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", last if shell == "fish" else str(len(line.split(" ")) - 1))
        capsys.readouterr()
        with pytest.raises(SystemExit, match="0"):
            MAIN([])
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out.split("\n")[:-1] if captured.out != "\n" else []

    return complete


def test_commands_and_options_are_completed(complete: Callable[..., list[str]]) -> None:
    assert complete("embedkit e") == ["plain,expr", "plain,encode", "plain,evaluate"]
    assert complete("embedkit train au") == ["plain,autoencoder"]
    assert complete("embedkit similar --with") == ["plain,--with-inputs"]
    assert complete("embedkit --ver") == ["plain,--version"]
    assert complete("embedkit do", "zsh") == ["plain", "doctor", COMMANDS["doctor",].short_help]


def test_words_are_completed_by_what_they_begin_with_the_frequent_ones_first(
    complete: Callable[..., list[str]],
) -> None:
    shipped = list(pretrained.load().labels)
    wanted = [f"plain,{word}" for word in shipped if word.startswith("que")][:50]
    for line in ("similar que", "analogy king que", "expr que", "plot analogy que"):
        assert complete(f"embedkit {line}") == wanted
    assert wanted[0] == "plain,queen"
    assert complete("embedkit similar ") == [f"plain,{word}" for word in shipped[:50]]
    assert complete("embedkit similar quxqux") == []
    assert complete("embedkit project --words king,quee")[0] == "plain,king,queen"
    assert "plain,queen" in complete("embedkit project king quee")


@pytest.mark.parametrize("name", ["v.safetensors", "v.vec", "v.bin", "v.vec.gz", "v.txt"])
def test_words_of_other_files_are_completed(
    complete: Callable[..., list[str]], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from embedkit import write

    path = tmp_path / name
    labels = ["kite", "naïve", "king", "kin", "other"]
    write(Embedding(labels, np.eye(5) + 0.25), path, format="glove" if name == "v.txt" else None)
    assert complete(f"embedkit similar -m {path} ki") == ["plain,kite", "plain,king", "plain,kin"]
    assert complete(f"embedkit similar -m {path} na") == ["plain,naïve"]
    monkeypatch.setenv("EMBEDKIT_VECTORS", str(path))
    assert complete("embedkit similar ki") == ["plain,kite", "plain,king", "plain,kin"]


def test_a_file_of_vectors_cannot_write_commands(complete: Callable[..., list[str]], tmp_path: Path) -> None:
    evil = [
        "a$(reboot)",
        "a;reboot",
        "a`x`",
        "a b",
        "a*",
        "a'x",
        'a"x',
        "a\\x",
        "a\x1b[31m",
        "a\u202eb",
        "a&x",
        "a|x",
        "a>x",
    ]
    Embedding([*evil, "-x", "apple"], np.eye(len(evil) + 2)).save(tmp_path / "v")
    assert complete(f"embedkit similar -m {tmp_path}/v a") == ["plain,apple"]
    assert complete(f"embedkit similar -m {tmp_path}/v ") == ["plain,apple"]


def test_a_file_that_cannot_be_read_has_no_words(complete: Callable[..., list[str]], tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(bytes(range(256)) * 20)
    for name in ("absent", "noise", "."):
        assert complete(f"embedkit similar -m {tmp_path}/{name} ki") == []


def test_names_of_the_shelf_formats_and_files_are_completed(complete: Callable[..., list[str]]) -> None:
    assert complete("embedkit fetch text") == ["plain,text8"]
    assert complete("embedkit corpora show mni") == ["plain,mnist"]
    assert complete("embedkit evaluate similarity words") == ["file,words", "plain,wordsim-353"]
    assert complete("embedkit train word2vec tex") == ["file,tex", "plain,text8"]
    assert complete("embedkit train vae dig") == ["file,dig", "plain,digits"]
    assert complete("embedkit project dig")[:2] == ["file,dig", "plain,digits"]
    assert complete("embedkit similar king --format js") == ["plain,json", "plain,jsonl"]
    assert complete("embedkit train vae digits -o x") == ["file,x"]
    assert complete("embedkit project --method u") == ["plain,umap"]


def test_fish_and_zsh_are_given_what_they_read(complete: Callable[..., list[str]]) -> None:
    assert complete("embedkit similar queen", "fish")[0] == "plain,queen"
    assert complete("embedkit similar queen", "zsh")[:3] == ["plain", "queen", "_"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_of_that_shell_and_says_how_to_install_it(run: Run, shell: str) -> None:
    ran = run(f"embedkit completion {shell}")
    assert (ran.code, ran.err) == (0, "")
    first, second, *script = ran.out.splitlines()
    assert first.startswith("# To install: ")
    assert f"embedkit completion {shell}" in first
    assert second.startswith("#")
    assert any(f"_EMBEDKIT_COMPLETE={shell}_complete" in line for line in script)


def test_bash_completes_by_the_script(tmp_path: Path) -> None:
    """The installed program, asked by a shell as at a terminal; this also shows that nothing heavy is loaded."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    spy = tmp_path / "sitecustomize.py"
    spy.write_text(
        "import atexit, pathlib, sys\n"
        f"loaded = pathlib.Path({str(tmp_path / 'loaded')!r})\n"
        "atexit.register(lambda: loaded.write_text(' '.join(sys.modules)))\n"
    )
    (tmp_path / "embedkit").write_text(
        f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} -P -m embedkit.cli "$@"\n'
    )
    (tmp_path / "embedkit").chmod(0o755)
    script = """
source <(embedkit completion bash)
COMP_WORDS=(embedkit similar quee) COMP_CWORD=2
_embedkit_completion embedkit
printf '%s ' "${COMPREPLY[@]}"
complete -p embedkit
"""
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)}
    ran = subprocess.run([bash, "--norc", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    assert ran.stdout.startswith("queen queens queensland ")
    assert "-F _embedkit_completion embedkit" in ran.stdout
    loaded = {name.partition(".")[0] for name in (tmp_path / "loaded").read_text().split()}
    assert "embedkit" in loaded
    assert not HEAVY & loaded


# -- errors say what to do next ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("analogy king - man + woman", 2, "for other arithmetic: embedkit expr 'king - man + woman'"),
        ("similar vectors.safetensors", 3, "it is a file: give vectors by -m FILE, questions by -i FILE"),
        ("similar absent.csv", 3, "if a file is meant, there is none of that name"),
        ('similar "king queen"', 3, "words are given one by one"),
        ("expr king-man+woman", 3, 'operators have a space before them: "king - man + woman"'),
        ("project absent.csv -o map.csv", 3, "if a file is meant, there is none of that name"),
        ("similar king -m text.txt", 4, "of a text, embedkit train word2vec text.txt -o vectors.safetensors makes"),
        ("similar king -m paper.pdf", 4, "save its text as a plain file"),
        (
            "similar king -m pictures",
            4,
            "pictures: is a folder, a file of vectors was expected; a folder of pictures is",
        ),
        (
            "convert absent.vec vectors.safetensors",
            2,
            "IN comes before OUT: embedkit convert vectors.safetensors absent",
        ),
        ("corpus info pictures", 4, "a.png: is no text: pictures are for embedkit train autoencoder"),
        ("train word2vec pictures -o v", 4, "a.png: is no text: pictures are for embedkit train autoencoder"),
        ("corpus info paper.pdf", 4, "paper.pdf: is no text: save its text as a plain file"),
        (
            "train glove vectors.safetensors -o v",
            4,
            "is no text: it holds vectors or a model, not a text (embedkit info",
        ),
        ("train text.txt -o v", 2, "'text.txt' is a file; before it comes a command: "),
        ("evaluate pairs.txt", 2, "before it comes a command: analogies, categories, "),
        ("train word2vec text.txt", 2, "Missing option '-o' / '--output'. File to write vectors to."),
        ("evaluate similarity absent", 4, "nor a set on the shelf (embedkit corpora list)"),
        ("project data.csv -o map.html", 2, "-o takes the table of the map; ask for this beside it: -o map.csv --html"),
        ("project data.csv -o map.png", 2, "ask for this beside it: -o map.csv --png map.png"),
        ("project text.txt -o map.csv", 4, "embedkit train word2vec text.txt -o vectors.safetensors makes vectors"),
        ("plot map vectors.safetensors -o x.png", 4, "embedkit project vectors.safetensors -o map.csv makes one"),
        (
            "encode data.csv model.safetensors -o c.csv",
            4,
            "MODEL, a file that embedkit train autoencoder writes, comes",
        ),
        ("encode vectors.safetensors data.csv -o c.csv", 4, "holds vectors: an autoencoder, a VAE"),
        ("similar king -m model.safetensors", 4, "holds a Autoencoder, vectors were expected"),
        ("train wordvec text.txt -o v", 2, "word2vec"),
    ],
)
def test_a_mistake_is_answered_by_what_to_do(
    line: str, code: int, words: str, run: Run, prepared: Path, tmp_path: Path
) -> None:
    for name in ("text.txt", "vectors.safetensors", "model.safetensors", "pairs.txt", "data.csv"):
        shutil.copy(prepared / name, tmp_path)
    (tmp_path / "paper.pdf").write_bytes(b"%PDF-1.4\n\xff\xfe\x00\x01\n")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
    before = sorted(tmp_path.rglob("*"))
    ran = run(f"embedkit {line}")
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err
    assert ran.err.startswith("embedkit: ") == (code != 2)
    assert code == 2 or ran.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_of_the_right_kind_that_is_damaged_gets_no_hint(run: Run, tmp_path: Path) -> None:
    """What is said then is where the damage is, and nothing that would lead away from it."""
    (tmp_path / "v.vec").write_text("2 2\nking 1 nan\nqueen 1 2\n")
    assert run("embedkit info v.vec").err == "embedkit: v.vec: line 2: column 2 is 'nan', which is not finite\n"
    (tmp_path / "cars.txt").write_text("BMW is a car\nGIF89 is not\n")
    assert run("embedkit corpus info cars.txt").code == 0  # pictures begin so, too
    assert run("embedkit similar king -m absent").err == "embedkit: absent: cannot be read: No such file or directory\n"
