"""`embedkit evaluate`, loaded from its entry point as the console script loads it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedkit import Embedding
from embedkit.evaluation import evaluate_similarity, read_pairs

Run = Callable[..., Any]

GOLDEN = Path(__file__).parent / "golden"

PAIRS = "word1\tword2\tscore\nking\tqueen\t8\nKing\tman\t7\nking\temperor\t9\nman\twoman\t1\n"
SIMILARITY = ["set", "pairs", "covered", "spearman", "spearman_low", "spearman_high", "pearson", "pearson_low",
              "pearson_high", "spearman_of_all"]  # fmt: skip
QUESTIONS = ": family\nman king woman queen\nman king woman king\n: places\nParis France x y\n"


@pytest.fixture
def run(run: Run, tmp_path: Path) -> Run:
    """`embedkit evaluate` on the royals, beside some files."""
    (tmp_path / "good.tsv").write_text(PAIRS)
    (tmp_path / "bad.tsv").write_text("king queen 1\nking man 2\nman woman 3\n")
    (tmp_path / "unknown.tsv").write_text("a b 1\n")
    (tmp_path / "q.txt").write_text(QUESTIONS)
    return lambda *args: run("evaluate", *args)


def golden(name: str, text: str) -> None:
    """Compare with what is kept in tests/golden; EMBEDKIT_REGOLD=1 writes it anew."""
    if os.environ.get("EMBEDKIT_REGOLD"):
        (GOLDEN / name).write_text(text)
    assert text == (GOLDEN / name).read_text()


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
            "pearson_low": report.pearson_interval.low,
            "pearson_high": report.pearson_interval.high,
            "spearman_of_all": report.spearman_of_all,
        },
        {"set": "unknown", "pairs": 1, "covered": 0} | dict.fromkeys(SIMILARITY[3:]),
    ]
    assert ran.err == "capitals ignored, 4 words; intervals are of 95%, by drawing word pairs\n"


def test_similarity_in_the_other_formats(run: Run) -> None:
    header = SIMILARITY
    rows = list(csv.reader(io.StringIO(run("similarity", "good.tsv", "unknown.tsv", "--format", "csv").out)))
    assert rows[0] == header
    assert rows[1][:4] == ["good", "4", "3", "0.5"]
    assert rows[2] == ["unknown", "1", "0", *[""] * 7]
    assert run("similarity", "unknown.tsv").out.split() == [*header, "unknown", "1", "0", *["-"] * 7]


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


def test_several_sets_of_questions(run: Run, tmp_path: Path) -> None:
    (tmp_path / "r.questions").write_text("man king woman\n")
    (tmp_path / "r.answers").write_text("family queen\n")
    (tmp_path / "bats").mkdir()
    (tmp_path / "bats" / "L01.txt").write_text("man\tking/emperor\nwoman\tempress/queen\n")
    ran = run("analogies", "q.txt", "r.questions", "bats", "--ranks", "--format", "json")
    rows = json.loads(ran.out)
    assert [(row["set"], row["section"]) for row in rows] == [
        ("q", "family"), ("q", "places"), ("q", "total"), ("r", "family"), ("r", "total"), ("bats", "L01"),
        ("bats", "total"),
    ]  # fmt: skip
    # Of the pairs of BATS only man:king can be asked with: the first answer of the other is unknown.
    assert [row["covered"] for row in rows] == [2, 0, 2, 1, 1, 1, 1]
    assert [row["median_rank"] for row in rows] == [1, None, 1, 1, 1, 1, 1]
    assert rows[2]["accuracy_of_all"] == pytest.approx(1 / 3)
    assert [line.split(":")[0] for line in ran.err.splitlines()] == ["q", "r", "bats"]


def test_rules_of_gensim_on_a_cased_vocabulary(run: Run, tmp_path: Path, rng: np.random.Generator) -> None:
    """The program's counts are those of gensim's own evaluate_word_analogies, section by section."""
    stems = [f"{a}{b}" for a in "abcde" for b in "fghij"]
    labels = [way for stem in stems for way in (stem, stem.title(), stem.upper()) if rng.random() < 0.8]
    labels = [labels[i] for i in rng.permutation(len(labels))]
    centre = {stem: rng.normal(size=3) for stem in stems}
    vectors = np.array([centre[label.lower()] + 0.1 * rng.normal(size=3) for label in labels])
    embedding = Embedding(labels, vectors)
    embedding.save("v")
    lines = []
    for section in ("one", "two"):
        lines.append(f": {section}")
        for a, b, c in rng.choice(stems, (150, 3)):
            x, y, z = (next(label for label in labels if label.lower() == word) for word in (b, a, c))
            answers = [one.label for one in embedding.analogy(x, y, z, 6) if one.label]
            lines.append(f"{a.title()} {b} {c.upper()} {rng.choice(answers).swapcase()}")
    (tmp_path / "cased.txt").write_text("\n".join(lines))
    for restrict in ("0", "40"):
        _, sections = embedding.to_gensim().evaluate_word_analogies("cased.txt", restrict_vocab=int(restrict) or None)
        ran = run("analogies", "cased.txt", "-m", "v", "--rules", "gensim", "--restrict", restrict, "--format", "json")
        found = {row["section"]: (row["correct"], row["covered"] - row["correct"]) for row in json.loads(ran.out)}
        for section in sections[:-1]:
            assert found[section["section"]] == (len(section["correct"]), len(section["incorrect"]))
        assert found["total"][0] > 10


def test_a_set_of_the_shelf_is_known_by_its_name(
    run: Run, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDKIT_DATA", str(data))
    monkeypatch.setenv("EMBEDKIT_CACHE", str(tmp_path / "cache"))
    rows = json.loads(run("analogies", "questions-words", "msr", "--format", "json").out)
    assert {(row["set"], row["questions"]) for row in rows if row["section"] == "total"} == {
        ("questions-words", 19_544), ("msr", 8000),
    }  # fmt: skip
    rows = json.loads(run("similarity", "wordsim-353", "mc-30", "--format", "json").out)
    assert [(row["set"], row["pairs"]) for row in rows] == [("wordsim-353", 353), ("mc-30", 30)]
    # What lies here comes first.
    (tmp_path / "mc-30").write_text("king queen 3\n")
    assert json.loads(run("similarity", "mc-30", "--format", "json").out)[0]["pairs"] == 1


def test_a_set_of_the_shelf_that_is_not_here_says_how_to_get_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EMBEDKIT_DATA", raising=False)
    monkeypatch.setenv("EMBEDKIT_CACHE", str(tmp_path / "cache"))
    ran = run("analogies", "questions-words")
    assert (ran.code, ran.out) == (4, "")
    assert "embedkit fetch questions-words" in ran.err


# -- relational, outliers, categories, compare -------------------------------------------------------------------------


@pytest.fixture
def sets(tmp_path: Path) -> None:
    """One set of each kind, in words that the royals know in part."""
    folder = tmp_path / "semeval"
    folder.mkdir()
    (folder / "Phase1Questions-1a.txt").write_text("man:king\n")
    (folder / "GoldRatings-1a.txt").write_text('9 "woman:queen"\n5 "man:woman"\n1 "queen:king"\n7 "cat:dog"\n')
    (folder / "Phase2Answers-1a.txt").write_text(
        "a\tb\tc\td\tleast\tmost\nwoman:queen\tman:woman\tqueen:king\tking:man\tking:man\twoman:queen\n"
    )
    (tmp_path / "people.txt").write_text("man\nwoman\n\nking\ncat\n")
    (tmp_path / "ap.txt").write_text("king\troyal\nqueen\troyal\nman\tcommon\nwoman\tcommon\ncat\tanimal\n")
    Embedding(["king", "queen", "man"], np.array([[1, 1, 0], [1, 0, 1], [0, 1, 0.5]])).save(tmp_path / "other")


KINDS = [
    ("relational", "semeval", "1a"),
    ("outliers", "people.txt", "people"),
    ("categories", "ap.txt", "royal"),
]


@pytest.mark.usefixtures("sets")
@pytest.mark.parametrize(("command", "file", "section"), KINDS)
def test_the_other_sets(run: Run, command: str, file: str, section: str) -> None:
    ran = run(command, file)
    assert ran.code == 0
    golden(f"evaluate_{command}.table", ran.out)
    golden(f"evaluate_{command}.err", ran.err)
    twice = run(command, file, file, "--format", "jsonl", "--rules", "cased", "--restrict", "3")
    assert twice.code == 0
    assert len(twice.out.splitlines()) == 2 * (len(ran.out.splitlines()) - 1)
    assert twice.err.count("words taken as written, 3 words") == 2
    assert run(command, file, "--min", "0").out == ran.out
    name = Path(file).stem
    high = run(command, file, "--min", f"{name}=1", "--min", f"{section}=0")
    assert high.code in (0, 5)
    assert run(command, file, "--min", "nobody=0.5").code == 2
    assert run(command, "absent").code == 4


@pytest.mark.usefixtures("sets")
def test_a_gate_on_the_other_sets(run: Run) -> None:
    ran = run("outliers", "people.txt", "--min", "0.5")
    assert ran.code == 5
    assert ran.err.endswith("quality missed: accuracy of the covered outliers below 0.5: people.txt 0.0000\n")


@pytest.mark.usefixtures("sets")
def test_compare(run: Run) -> None:
    ran = run("compare", "royals.safetensors", "other", "q.txt", "good.tsv")
    assert ran.code == 0
    golden("evaluate_compare.table", ran.out)
    golden("evaluate_compare.err", ran.err)
    cut = json.loads(
        run("compare", "royals.safetensors", "other", "good.tsv", "--restrict", "2", "--format", "json").out
    )
    assert [row["covered_a"] for row in cut] == [1] * 4
    assert run("compare", "royals.safetensors", "absent", "q.txt").code == 4
    assert run("compare", "royals.safetensors", "other").code == 2


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


def test_a_minimum_may_be_for_one_set_or_section(run: Run) -> None:
    assert run("similarity", "good.tsv", "bad.tsv", "--min", "good=0.4").code == 0
    ran = run("similarity", "good.tsv", "bad.tsv", "--min", "good=0.6", "--min", "bad=0.1", "--min", "0")
    assert ran.code == 5
    assert ran.err.endswith(
        "embedkit: quality missed: Spearman correlation below 0.6: good.tsv 0.5000; below 0.1: bad.tsv -0.5000; "
        "below 0.0: bad.tsv -0.5000\n"
    )
    assert run("analogies", "q.txt", "--min", "family=0.5", "--min", "q=0.5").code == 0
    ran = run("analogies", "q.txt", "--min", "family=0.6", "--min", "places=0")
    assert ran.err.endswith(" below 0.6: q.txt, family 0.5000; below 0.0: q.txt, places undefined\n")


def test_a_minimum_for_what_is_not_there_is_wrong_usage(run: Run) -> None:
    ran = run("analogies", "q.txt", "--min", "google=0.4")
    assert (ran.code, ran.out) == (2, "")
    assert "--min: there is no set or section 'google'; there are: q, family, places" in ran.err


@pytest.mark.parametrize("minimum", ["-0.1", "1.1", "nan", "inf", "half", "q=", "q=nan", "q=2", "="])
@pytest.mark.parametrize("args", [["analogies", "q.txt"], ["similarity", "good.tsv"]])
def test_a_minimum_that_is_not_from_0_to_1_is_wrong_usage(run: Run, args: list[str], minimum: str) -> None:
    ran = run(*args, "--min", minimum)
    assert (ran.code, ran.out) == (2, "")
    assert "--min" in ran.err
