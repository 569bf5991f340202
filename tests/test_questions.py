"""Layouts of analogy questions beside Google's, several right answers, and ranks of the expected one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedkit import Embedding
from embedkit.errors import BadFile, BadInput
from embedkit.evaluation import Question, evaluate_analogies, read_questions
from embedkit.evaluation.analogies import NOT_COVERED, RIGHT, WRONG, Rules


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# -- MSR ---------------------------------------------------------------------------------------------------------------


def test_msr_has_questions_and_answers_line_by_line(tmp_path: Path) -> None:
    write(tmp_path / "w.answers", "JJ_JJR rougher\nJJR_JJ rough\n\nJJ_JJR older\n")
    path = write(tmp_path / "w.questions", "good better rough\nbetter good rougher\n\ngood better old\n")
    assert read_questions(path) == {
        "JJ_JJR": [Question("better", "good", "rough", "rougher"), Question("better", "good", "old", "older")],
        "JJR_JJ": [Question("good", "better", "rougher", "rough")],
    }


def test_msr_is_the_same_in_both_layouts(data: Path) -> None:
    folder = data / "eval" / "msr"
    if not folder.exists():
        pytest.skip(f"{folder} is absent")
    original, converted = (
        read_questions(folder / name) for name in ("word_relationship.questions", "msr-analogies.txt")
    )
    assert sum(map(len, original.values())) == 8000
    assert sorted(q for section in original.values() for q in section) == sorted(
        q for section in converted.values() for q in section
    )


@pytest.mark.parametrize(
    ("questions", "answers", "file", "message"),
    [
        ("a b\n", "R c\n", "questions", "line 1: expected three words a b c, found 2 words"),
        ("a b c\n", "R\n", "answers", "line 1: expected a section and an answer, found 1 words"),
        ("a b c\na b c\n", "R d\n", "answers", "has 1 answers for the 2 questions of w.questions"),
        ("\n", "\n", "questions", "holds no questions"),
    ],
)
def test_broken_msr_files_are_named(questions: str, answers: str, file: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "w.questions", questions)
    write(tmp_path / "w.answers", answers)
    with pytest.raises(BadFile) as caught:
        read_questions(path)
    assert message in str(caught.value)
    assert caught.value.path == str(tmp_path / f"w.{file}")


def test_msr_questions_without_answers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"w\.answers: cannot be read"):
        read_questions(write(tmp_path / "w.questions", "a b c\n"))


# -- BATS --------------------------------------------------------------------------------------------------------------


def bats(folder: Path) -> Path:
    write(folder / "BATS" / "2_Lexical" / "L01 [hypernyms].txt", "cat\tfeline/animal\n\ndog\tcanine\n")
    write(folder / "BATS" / "1_Inflection" / "I01 [noun - plural].txt", "cat\tcats\ndog dogs\nman\tmen\n")
    write(folder / "BATS" / "readme.md", "not a section\n")
    return folder / "BATS"


def test_bats_crosses_the_pairs_of_each_file(tmp_path: Path) -> None:
    questions = read_questions(bats(tmp_path))
    assert list(questions) == ["I01 [noun - plural]", "L01 [hypernyms]"]
    assert [len(section) for section in questions.values()] == [6, 2]
    assert questions["L01 [hypernyms]"] == [
        Question("feline", "cat", "dog", "canine"),
        Question("canine", "dog", "cat", "feline", ("animal",)),
    ]
    assert questions["I01 [noun - plural]"][0] == Question("cats", "cat", "dog", "dogs")


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write(tmp_path / folder / "x.txt", "cat\tcats\ndog\tdogs\n")
    assert list(read_questions(tmp_path)) == ["a/x", "b/x"]


@pytest.mark.parametrize("line", ["cat", "cat\t", "\tcats", "cat\tcats/", "cat cats more", "cat\tcats\tmore"])
def test_a_line_of_bats_that_is_no_pair_is_named(line: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.txt", f"dog\tdogs\n{line}\n")
    with pytest.raises(BadFile, match="expected a word, a tab, and its answers") as caught:
        read_questions(tmp_path)
    assert (caught.value.path, caught.value.place) == (str(path), "line 2")


@pytest.mark.parametrize("text", [None, "", "cat\tcats\n"])
def test_a_folder_without_questions_is_refused(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        write(tmp_path / "x.txt", text)
    with pytest.raises(BadFile, match="holds no questions"):
        read_questions(tmp_path)


# -- several right answers ---------------------------------------------------------------------------------------------


def test_any_of_the_answers_is_right(royals: Embedding) -> None:
    questions = {
        "": [
            Question("king", "man", "woman", "queen", ("empress",)),
            Question("king", "man", "woman", "empress", ("queen",)),
            Question("king", "man", "woman", "empress", ("lady", "man")),
            Question("king", "man", "woman", "empress", ("lady",)),
            Question("king", "man", "woman", "empress"),
        ]
    }
    report = evaluate_analogies(royals, questions)
    assert report.verdicts.tolist() == [RIGHT, RIGHT, WRONG, NOT_COVERED, NOT_COVERED]
    # A pair is told by the first of its answers that is known.
    assert report.pairs[0].tolist() == report.pairs[1].tolist() != report.pairs[2].tolist()
    assert report.pairs[3].tolist() == [-1, -1]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_one_of_several_is_right_where_one_alone_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = [f"w{i}" for i in range(12)]
    embedding = Embedding(words, rng.normal(size=(12, 3)))
    asked = [[f"w{i}" for i in row] for row in rng.integers(0, 14, (20, 6))]
    several = evaluate_analogies(embedding, {"": [(*q[:4], tuple(q[4:])) for q in asked]}, ranks=True)
    alone = [evaluate_analogies(embedding, {"": [(*q[:3], q[i]) for q in asked]}, ranks=True) for i in (3, 4, 5)]
    assert several.verdicts.tolist() == np.max([one.verdicts for one in alone], axis=0).tolist()
    assert several.verdicts_with_inputs.tolist() == np.max([one.verdicts_with_inputs for one in alone], axis=0).tolist()
    ranks = np.array([one.ranks for one in alone])
    best = np.where(ranks > 0, ranks, 99).min(axis=0)
    assert several.ranks is not None
    assert several.ranks.tolist() == np.where(best < 99, best, ranks.max(axis=0)).tolist()


# -- ranks -------------------------------------------------------------------------------------------------------------


def expected_ranks(embedding: Embedding, questions: list[Question], rules: Rules) -> list[int]:
    """Written out: all rows in order, without what is written like an input; the first that is an answer."""
    upper = (lambda word: word.upper()) if rules == "gensim" else str
    first: dict[str, int] = {}
    for row, label in enumerate(embedding):
        first.setdefault(upper(label), row)
    unit: npt.NDArray[Any] = embedding.unit.vectors.astype(np.float64)
    ranks = []
    for q in questions:
        answers = {upper(word) for word in (q.answer, *q.also)}
        if not all(upper(word) in first for word in q[:3]) or not answers & set(first):
            ranks.append(NOT_COVERED)
            continue
        a, b, c = (first[upper(word)] for word in q[:3])
        order = np.argsort(-(unit @ (unit[a] - unit[b] + unit[c])), kind="stable").tolist()
        fresh = [upper(embedding.labels[row]) for row in order]
        fresh = [word for word in fresh if word not in {upper(w) for w in q[:3]}]
        ranks.append(next((place for place, word in enumerate(fresh, 1) if word in answers), 0))
    return ranks


@pytest.mark.parametrize("rules", ["gensim", "cased"])
def test_ranks_are_those_of_all_rows_in_order(rules: Rules, rng: np.random.Generator) -> None:
    words = [f"w{i}" for i in range(30)]
    labels = [*words, *(word.upper() for word in words[:20])]
    order = rng.permutation(len(labels))
    embedding = Embedding([labels[i] for i in order], rng.normal(size=(50, 4)))
    asked = [[f"w{i}" for i in row] for row in rng.integers(0, 32, (200, 5))]
    questions = [Question(a, b, c, d, (e,)) for a, b, c, d, e in asked]
    report = evaluate_analogies(embedding, {"": questions}, rules=rules, ranks=True)
    assert report.ranks is not None
    assert report.ranks.tolist() == expected_ranks(embedding, questions, rules)
    assert (report.ranks == 0).any()
    assert ((report.ranks == 1) <= (report.verdicts == RIGHT)).all()
    places = report.ranks[report.ranks >= 0].astype(float)
    places[places == 0] = np.inf
    (_, total) = report.rank_figures()
    assert total.mrr == pytest.approx((1 / places).mean())
    assert total.median == np.sort(places)[(len(places) - 1) // 2]


def test_ranks_in_a_frame(royals: Embedding) -> None:
    questions = {
        "s": [Question("king", "man", "woman", "queen"), Question("king", "man", "woman", "king")],
        "t": [Question("king", "man", "woman", "x")],
    }
    report = evaluate_analogies(royals, questions, ranks=True, name="set")
    assert report.name == "set"
    assert report.ranks is not None
    assert report.ranks.tolist() == [1, 0, -1]
    frame = report.to_frame()[["section", "accuracy_of_all", "mrr", "median_rank"]]
    nan = float("nan")
    expected = pd.DataFrame(
        [("s", 0.5, 0.5, 1.0), ("t", 0.0, nan, nan), ("total", 1 / 3, 0.5, 1.0)], columns=list(frame.columns)
    )
    pd.testing.assert_frame_equal(frame, expected)
    with pytest.raises(BadInput, match="ranks were not asked for"):
        evaluate_analogies(royals, questions).rank_figures()


def test_ranks_are_told_for_one_method_only(royals: Embedding) -> None:
    with pytest.raises(BadInput, match="ranks are told for method '3cosadd', not for '3cosmul'"):
        evaluate_analogies(royals, {}, method="3cosmul", ranks=True)
