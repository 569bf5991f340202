"""The program, loaded from its entry point as the console script loads it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedkit
from embedkit import Embedding

GOLDEN = Path(__file__).parent / "golden"


Run = Callable[..., Any]


def golden(name: str, text: str) -> None:
    """Compare with a file; EMBEDKIT_REGOLD=1 writes it anew, for a person to read before committing."""
    path = GOLDEN / name
    if os.environ.get("EMBEDKIT_REGOLD"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def program(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The program as a process of its own."""
    command = [sys.executable, "-P", "-W", "error", "-m", "embedkit.cli", *args]
    settings: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 120, "check": False, **options}
    ran: subprocess.CompletedProcess[str] = subprocess.run(command, **settings)
    return ran


# -- analogy and similar ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["table", "csv", "tsv", "json", "jsonl"])
def test_analogy_in_every_format(run: Run, style: str) -> None:
    ran = run("analogy", "king", "man", "woman", "--with-inputs", "-k", "2", "--format", style)
    assert (ran.code, ran.err) == (0, "")
    golden(f"analogy.{style}", ran.out)


@pytest.mark.parametrize("style", ["table", "csv", "tsv", "json", "jsonl"])
def test_similar_in_every_format(run: Run, style: str) -> None:
    ran = run("similar", "king", "woman", "-k", "2", "--format", style)
    assert (ran.code, ran.err) == (0, "")
    golden(f"similar.{style}", ran.out)


def test_analogy_excludes_the_inputs_unless_told_otherwise(run: Run) -> None:
    assert [row["label"] for row in json.loads(run("analogy", "king", "man", "woman", "--format", "json").out)] == [
        "queen"
    ]
    assert "woman" in run("analogy", "king", "man", "woman", "--with-inputs").out


def test_analogies_from_standard_input_and_from_a_file_are_the_same(run: Run, tmp_path: Path) -> None:
    text = "king man woman\n\nqueen woman man\n"
    (tmp_path / "questions.txt").write_text(text)
    from_stdin = run("analogy", "-", "--format", "csv", "-k", "1", stdin=text)
    from_file = run("analogy", "-i", "questions.txt", "--format", "csv", "-k", "1")
    assert from_stdin == from_file
    assert [line.split(",")[2] for line in from_stdin.out.splitlines()[1:]] == ["queen", "king"]


def test_words_with_spaces_are_separated_by_tabs(run: Run, tmp_path: Path) -> None:
    Embedding(["new york", "usa", "france", "paris"], [[1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1]]).save("v")
    ran = run("analogy", "-", "-m", "v", "--format", "jsonl", "-k", "1", stdin="new york\tusa\tfrance\n")
    assert json.loads(ran.out)["label"] == "paris"
    assert json.loads(run("similar", "-", "-m", "v", "-k", "1", "--format", "jsonl", stdin="new york\n").out)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_every_device_answers_the_same(run: Run, device: str) -> None:
    ran = run("analogy", "king", "man", "woman", "--device", device)
    assert (ran.code, ran.out) == (0, run("analogy", "king", "man", "woman").out)


def test_unknown_words_are_all_named_the_rest_answered_and_the_exit_code_is_3(run: Run) -> None:
    ran = run("analogy", "-", "--format", "csv", "-k", "1", stdin="king man woman\nqeen man foo\nqueen woman man\n")
    assert ran.code == 3
    assert [line.split(",")[2] for line in ran.out.splitlines()[1:]] == ["queen", "king"]
    assert ran.err == "embedkit: unknown word 'qeen' (near: queen)\nembedkit: unknown word 'foo'\n"
    assert run("similar", "king", "nobody").code == 3


def test_lines_of_another_length_are_named_the_rest_answered_and_the_exit_code_is_4(run: Run) -> None:
    ran = run("analogy", "-", "--format", "csv", stdin="king man woman\nking man\n")
    assert ran.code == 4
    assert "queen" in ran.out
    assert ran.err == "embedkit: line 2: expected 3 words, found 2\n"


def test_what_stands_before_a_damaged_line_is_answered(run: Run) -> None:
    ran = run("analogy", "-", "--format", "csv", stdin=b"king man woman\n\xff\xfe king man\n")
    assert ran.code == 4
    assert "queen" in ran.out
    assert "line 2: is not valid UTF-8" in ran.err


def test_ignoring_case(run: Run) -> None:
    assert run("analogy", "King", "MAN", "woman").code == 3
    assert "queen" in run("analogy", "King", "MAN", "woman", "--ignore-case").out


def test_more_lines_than_a_batch(run: Run) -> None:
    ran = run("analogy", "-", "-k", "1", "--format", "csv", stdin="king man woman\n" * 5000)
    assert ran.out.splitlines()[1:] == [ran.out.splitlines()[1]] * 5000


def test_hostile_labels_cannot_reach_the_terminal(run: Run) -> None:
    evil = "\x1b[31m\u202eevil\x9b"
    Embedding([evil, "b"], [[1, 0], [1, 1]]).save("v")
    table = run("similar", "b", "-m", "v").out
    assert not set(table) & set("\x1b\u202e\x9b")
    assert r"\x1b[31m\u202eevil\x9b" in table
    # The lossless formats give it back exactly.
    assert json.loads(run("similar", "b", "-m", "v", "--format", "json").out)[0]["label"] == evil


def test_an_expression_agrees_with_the_analogy(run: Run) -> None:
    by_expression = json.loads(run("expr", "king - man + woman", "--format", "json").out)
    by_analogy = json.loads(run("analogy", "king", "man", "woman", "--format", "json").out)
    assert by_expression == by_analogy
    assert run("expr", "king", "--raw").code == 0


def test_expressions_that_cannot_be_read_are_named_the_rest_answered(run: Run) -> None:
    ran = run("expr", "-", "--format", "csv", "-k", "1", stdin="king - man + woman\nking - \nmean(king, queen)\nfoo\n")
    assert ran.code == 4
    assert len(ran.out.splitlines()) == 3
    assert ran.err == (
        "embedkit: line 2: 'king - ', character 8: expected a label, found the end\nembedkit: unknown word 'foo'\n"
    )
    ran = run("expr", "king man")
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.startswith("embedkit: 'king man', character 6: expected an operator")


# -- info, evaluate, project, train ----------------------------------------------------------------------------------


def test_info(run: Run) -> None:
    golden("info.table", run("info").out)
    facts = {row["fact"]: row["value"] for row in json.loads(run("info", "--verify", "--format", "json").out)}
    assert facts["labels"] == 4
    assert facts["made_by"] == "hand"


def test_evaluate_analogies(run: Run, tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text(": family\nman king woman queen\nman king woman king\n: places\nParis France x y\n")
    ran = run("evaluate", "analogies", "q.txt")
    assert ran.code == 0
    golden("evaluate.table", ran.out)
    assert ran.err == (
        "1 of 2 covered questions right (50.0% [0.0, 100.0]), 33.3% of all 3; mean of 1 section 50.0% [0.0, 100.0]; "
        "3cosadd, rules gensim, 4 words, on numpy\n"
    )


def test_project_writes_label_columns_and_coordinates(run: Run, royals: Embedding) -> None:
    import pandas as pd

    assert run("project", "--method", "pca", "-o", "map.csv").code == 0
    frame = pd.read_csv("map.csv", keep_default_na=False)
    assert list(frame.columns) == ["label", "count", "kind", "x", "y"]
    assert frame["label"].tolist() == list(royals)
    assert frame["count"].tolist() == [40, 30, 20, 10]
    expected = embedkit.PCA().fit_transform(royals).vectors
    assert np.array_equal(frame[["x", "y"]].to_numpy(np.float32), expected)
    assert run("project", "-o", "-").out == Path("map.csv").read_text()


def test_project_some_words_or_the_top(run: Run) -> None:
    assert len(run("project", "-o", "-", "king", "man", "woman").out.splitlines()) == 4
    assert len(run("project", "-o", "-", "--top", "3").out.splitlines()) == 4
    assert run("project", "-o", "-", "king", "nobody").code == 3
    assert run("project", "-o", "-", "--top", "3", "king").code == 2
    ran = run("project", "-o", "-", "--n-components", "4")
    assert (ran.code, "at most 3" in ran.err) == (4, True)


def test_train_then_query(run: Run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the king rules the land\nthe queen rules the land\n" * 50)
    ran = run("train", "word2vec", "text.txt", "-o", "v", "--vector-size", "8", "--epochs", "2", "--seed", "7")
    assert ran.code == 0, ran.err
    assert "wrote 5 words x 8 to v (seed 7)" in ran.err
    assert ran.out == ""
    made = embedkit.load("v")
    assert set(made) == {"the", "king", "queen", "rules", "land"}
    assert made.provenance["parameters"]["random_state"] == 7
    assert made.provenance["corpus"]["files"][0]["name"] == "text.txt"
    assert run("similar", "king", "-m", "v").code == 0


def test_the_trainers_options_are_the_program_s(run: Run) -> None:
    """Same names and defaults, so that what one reads about the class holds for the command."""
    from embedkit import Word2Vec

    shown = run("train", "word2vec", "--help").out.partition("Options:")[2]
    for name, default in Word2Vec().get_params().items():
        option = {"random_state": "--seed", "sg": "--sg", "hs": "--hs"}.get(name, f"--{name.replace('_', '-')}")
        assert option in shown
        if not isinstance(default, bool) and default not in (None, 0, 1):
            block = shown.split(option)[1].split("  --")[0]
            assert re.search(rf"\[default:\s+{re.escape(str(default))}\]", block), (name, default, block)


# -- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["analogy", "king", "man"], 2, "expected three words"),
        (["analogy", "king", "man", "woman", "-i", "x"], 2, "not both"),
        (["similar"], 2, "one word or more"),
        (["nonsense"], 2, "No such command"),
        (["analogy", "king", "man", "woman", "-k", "0"], 2, "0"),
        (["similar", "king", "-m", "absent"], 4, "absent: cannot be read"),
        (["similar", "-i", "absent"], 4, "absent: cannot be read"),
        (["info", "text.txt"], 4, "text.txt: byte 0: not an embedkit file"),
        (["evaluate", "analogies", "text.txt"], 4, "text.txt: line 1: expected four words"),
        (["evaluate", "analogies", "absent"], 4, "absent: cannot be read"),
        (["train", "word2vec", "absent", "-o", "v"], 4, "absent: cannot be read"),
        (["train", "word2vec", "text.txt", "-o", "v"], 4, "0 of 6 words reach min_count=5"),
        (["train", "word2vec", "text.txt", "-o", "v", "--negative", "0"], 4, "nothing to train with"),
        (["project", "-o", "no/such/folder/map.csv"], 4, "cannot be written"),
        (["similar", "king", "--device", "cuda"], 4, "no CUDA GPU"),
    ],
)
def test_a_mistake_ends_in_one_clear_line(run: Run, tmp_path: Path, args: list[str], code: int, words: str) -> None:
    if "cuda" in args:
        import torch

        if torch.cuda.is_available():
            pytest.skip("this machine has the GPU whose absence is tested")
    (tmp_path / "text.txt").write_text("six words that are no questions\n")
    ran = run(*args)
    assert ran.code == code
    assert words in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""
    if code == 4:
        assert ran.err.startswith("embedkit: ")
        assert ran.err.count("\n") == 1


def test_an_unexpected_error_is_one_line_and_debug_shows_it_all(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("boom\x1b[0m")

    monkeypatch.setattr("embedkit.search.Search.similar", fail)
    ran = run("similar", "king")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert r"RuntimeError: boom\x1b[0m" in ran.err
    with pytest.raises(RuntimeError, match="boom"):
        run("--debug", "similar", "king")


def test_out_of_memory_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise MemoryError("Unable to allocate 3 TiB")

    monkeypatch.setattr("embedkit.search.Search.similar", fail)
    assert run("similar", "king")[::2] == (1, "embedkit: out of memory: Unable to allocate 3 TiB\n")


# -- as a process ----------------------------------------------------------------------------------------------------

HEAVY = {"torch", "gensim", "umap", "sklearn", "numba", "pandas", "scipy", "tqdm", "matplotlib"}


@pytest.mark.parametrize("args", [["analogy", "king", "man", "woman"], ["--help"], ["similar", "king"], ["--version"]])
def test_light_commands_load_no_heavy_library(args: list[str]) -> None:
    code = (
        "import sys, atexit\n"
        "from importlib.metadata import entry_points\n"
        "(entry,) = entry_points(group='console_scripts', name='embedkit')\n"
        f"code = entry.load()({args!r})\n"
        "print(code, *sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    exit_code, *modules = ran.stdout.splitlines()[-1].split()
    assert exit_code == "0"
    assert not HEAVY & set(modules)


def test_the_shipped_vectors_answer_queen() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "EMBEDKIT_VECTORS"}
    ran = program("analogy", "king", "man", "woman", "--format", "jsonl", "-k", "1", env=environment)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)["label"] == "queen"


def test_version() -> None:
    ran = program("--version")
    assert (ran.returncode, ran.stdout) == (0, f"embedkit {embedkit.__version__}\n")


def test_a_group_without_a_command_shows_its_help_and_the_exit_code_is_2(run: Run) -> None:
    ran = run("train")
    assert (ran.code, ran.out) == (2, "")
    assert "Commands:" in ran.err


def test_every_command_has_help_and_its_line_in_the_overview_is_its_own(run: Run) -> None:
    overview = run("--help").out
    import click

    (entry,) = entry_points(group="console_scripts", name="embedkit")
    group = sys.modules[entry.load().__module__].program
    for name in group.commands or group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command.short_help in overview
        for sub in getattr(command, "commands", {None: command}):
            args = [name, sub] if sub else [name]
            ran = run(*args, "--help")
            assert (ran.code, ran.err) == (0, "")
            assert "Usage: embedkit " + " ".join(args) in ran.out
            assert ran.out.count("-h, --help") == 1


def test_a_closed_pipe_is_silent(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("king\n" * 20_000)
    command = [sys.executable, "-P", "-m", "embedkit.cli", "similar", "-i", str(tmp_path / "words.txt")]
    with subprocess.Popen([*command, "--format", "csv"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


def test_an_interrupt_ends_with_130_and_one_line() -> None:
    command = [sys.executable, "-P", "-u", "-m", "embedkit.cli", "similar", "-", "--format", "csv"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write(b"king\n" * 4096)
        process.stdin.flush()
        process.stdout.readline()  # it runs, and waits for more
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err.strip()) == (130, b"embedkit: interrupted")


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_words_that_the_terminal_s_encoding_lacks_are_escaped(encoding: str, tmp_path: Path) -> None:
    Embedding(["naïve", "b"], [[1, 0], [1, 1]]).save(tmp_path / "v")
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    ran = program("similar", "b", "-m", str(tmp_path / "v"), env=environment, encoding=encoding)
    assert ran.returncode == 0
    assert ("naïve" if encoding == "utf-8" else r"na\xefve") in ran.stdout
