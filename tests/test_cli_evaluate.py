"""`embedkit evaluate`, loaded from its entry point as the console script loads it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

import pytest

from embedkit import Embedding
from embedkit.evaluation import evaluate_similarity, read_pairs


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]

PAIRS = "word1\tword2\tscore\nking\tqueen\t8\nKing\tman\t7\nking\temperor\t9\nman\twoman\t1\n"
QUESTIONS = ": family\nman king woman queen\nman king woman king\n: places\nParis France x y\n"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, royals: Embedding, tmp_path: Path) -> Run:
    """Run the program on the royals, in this process."""
    (entry,) = entry_points(group="console_scripts", name="embedkit")
    main: Callable[[list[str]], int] = entry.load()
    royals.save(tmp_path / "royals.safetensors")
    monkeypatch.setenv("EMBEDKIT_VECTORS", str(tmp_path / "royals.safetensors"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.tsv").write_text(PAIRS)
    (tmp_path / "bad.tsv").write_text("king queen 1\nking man 2\nman woman 3\n")
    (tmp_path / "unknown.tsv").write_text("a b 1\n")
    (tmp_path / "q.txt").write_text(QUESTIONS)

    def run(*args: str) -> Ran:
        capsys.readouterr()
        code = main(["evaluate", *args])
        return Ran(code, *capsys.readouterr())

    return run


# -- similarity --------------------------------------------------------------------------------------------------------


def test_similarity_prints_a_row_a_file(run: Run, royals: Embedding) -> None:
    ran = run("similarity", "good.tsv", "unknown.tsv", "--format", "json")
    assert ran.code == 0
    report = evaluate_similarity(royals, read_pairs("good.tsv"))
    assert json.loads(ran.out) == [
        {
            "set": "good",
            "pairs": 4,
            "covered": 3,
            "spearman": report.spearman,
            "spearman_low": report.interval.low,
            "spearman_high": report.interval.high,
            "pearson": report.pearson,
        },
        {"set": "unknown", "pairs": 1, "covered": 0}
        | dict.fromkeys(["spearman", "spearman_low", "spearman_high", "pearson"]),
    ]
    assert ran.err == "capitals ignored, 4 words; intervals are of 95%, by drawing word pairs\n"


def test_similarity_in_the_other_formats(run: Run) -> None:
    header = ["set", "pairs", "covered", "spearman", "spearman_low", "spearman_high", "pearson"]
    rows = list(csv.reader(io.StringIO(run("similarity", "good.tsv", "unknown.tsv", "--format", "csv").out)))
    assert rows[0] == header
    assert rows[1][:4] == ["good", "4", "3", "0.5"]
    assert rows[2] == ["unknown", "1", "0", "", "", "", ""]
    assert run("similarity", "unknown.tsv").out.split() == [*header, "unknown", "1", "0", "-", "-", "-", "-"]


def test_similarity_of_given_vectors(run: Run, tmp_path: Path) -> None:
    Embedding(["king", "emperor"], [[1, 0], [1, 1]]).save("v")
    assert json.loads(run("similarity", "good.tsv", "-m", "v", "--format", "jsonl").out)["covered"] == 1


def test_a_bad_file_among_good_ones_ends_before_anything_is_printed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.tsv").write_text("king queen 1\nking man nan\n")
    ran = run("similarity", "good.tsv", "broken.tsv")
    assert ran == (4, "", "embedkit: broken.tsv: line 2: expected a finite number as score, found 'nan'\n")
    assert run("similarity", "absent.tsv")[::2] == (
        4,
        "embedkit: absent.tsv: cannot be read: No such file or directory\n",
    )
    assert run("similarity").code == 2


# -- analogies ---------------------------------------------------------------------------------------------------------


def test_the_summary_of_analogies_has_intervals_and_the_mean_of_the_sections(run: Run) -> None:
    ran = run("analogies", "q.txt")
    assert ran.code == 0
    assert re.fullmatch(
        r"1 of 2 covered questions right \(50\.0% \[0\.0, 100\.0\]\), 33\.3% of all 3; "
        r"mean of 1 section 50\.0% \[0\.0, 100\.0\]; 3cosadd, rules gensim, 4 words, on \w+\n",
        ran.err,
    )


def test_the_summary_where_nothing_is_covered(run: Run, tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("a b c d\n")
    ran = run("analogies", "none.txt")
    assert ran.code == 0
    assert ran.err.startswith("0 of 0 covered questions right (-), 0.0% of all 1; mean of 0 sections -; 3cosadd")


# -- the least quality -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("minimum", ["0", "0.5", "0.50"])
def test_what_reaches_the_minimum_passes(run: Run, minimum: str) -> None:
    for args in (["analogies", "q.txt"], ["similarity", "good.tsv", "good.tsv"]):
        plain = run(*args)
        assert run(*args, "--min", minimum) == plain
        assert plain.code == 0


def test_accuracy_below_the_minimum_is_one_line_and_exit_code_5(run: Run) -> None:
    plain = run("analogies", "q.txt")
    ran = run("analogies", "q.txt", "--min", "0.51")
    assert ran.code == 5
    assert ran.out == plain.out
    line = "embedkit: quality missed: accuracy of the covered questions below 0.51: q.txt 0.5000\n"
    assert ran.err == plain.err + line


def test_every_file_below_the_minimum_is_named_in_one_line(run: Run) -> None:
    args = ["similarity", "good.tsv", "bad.tsv", "unknown.tsv"]
    plain = run(*args)
    ran = run(*args, "--min", "0.4")
    assert ran.code == 5
    assert ran.out == plain.out
    line = "embedkit: quality missed: Spearman correlation below 0.4: bad.tsv -0.5000; unknown.tsv undefined\n"
    assert ran.err == plain.err + line


def test_a_figure_just_below_the_minimum_does_not_read_as_reaching_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("man king woman queen\nwoman queen man king\nman king woman king\n")
    assert run("analogies", "q.txt", "--min", "0.6667").err.endswith(f" below 0.6667: q.txt {2 / 3!r}\n")
    assert run("analogies", "q.txt", "--min", "0.6668").err.endswith(" below 0.6668: q.txt 0.6667\n")


@pytest.mark.parametrize("minimum", ["-0.1", "1.1", "nan", "inf", "half"])
@pytest.mark.parametrize("args", [["analogies", "q.txt"], ["similarity", "good.tsv"]])
def test_a_minimum_that_is_not_from_0_to_1_is_wrong_usage(run: Run, args: list[str], minimum: str) -> None:
    ran = run(*args, "--min", minimum)
    assert (ran.code, ran.out) == (2, "")
    assert "--min" in ran.err
