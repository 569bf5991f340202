"""Analogy questions: how they are read, and that the verdicts are gensim's one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from embedkit import Embedding, Search
from embedkit.errors import BadFile, BadInput
from embedkit.evaluation import AnalogyReport, Question, evaluate_analogies, read_questions
from embedkit.evaluation.analogies import NOT_COVERED, RIGHT, WRONG, Rules
from embedkit.search.engine import Method

QUESTIONS = """: family
man king woman queen
boy girl brother sister

: capital-world
Athens Greece Oslo Norway
"""

Sections = dict[str, list[Question]]


def write(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


# -- reading -----------------------------------------------------------------------------------------------------------


def test_a_line_a_b_c_d_means_b_minus_a_plus_c(tmp_path: Path) -> None:
    questions = read_questions(write(tmp_path / "q.txt", QUESTIONS))
    assert questions["family"][0] == Question(a="king", b="man", c="woman", answer="queen")


def test_sections_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    questions = read_questions(write(tmp_path / "q.txt", QUESTIONS))
    assert list(questions) == ["family", "capital-world"]
    assert [len(section) for section in questions.values()] == [2, 1]
    assert questions["capital-world"] == [Question("Greece", "Athens", "Oslo", "Norway")]


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        ("a b c d\n: s\ne f g h", {"": 1, "s": 1}),
        (": s\na b c d\n: t\na b c d\n: s\ne f g h", {"s": 2, "t": 1}),
        (": empty\n: s\na b c d\n: also empty\n", {"s": 1}),
        (":s\na b c d", {"s": 1}),
        (":   two words  \na b c d", {"two words": 1}),
        (": s\r\na b c d\r\n", {"s": 1}),
        (": s\n\ta   b\tc d  \n\n\n", {"s": 1}),
        ("\ufeff: s\na b c d", {"s": 1}),
        ("\ufeffa b c d", {"": 1}),
    ],
)
def test_the_layout_is_read_kindly(text: str, sections: dict[str, int], tmp_path: Path) -> None:
    questions = read_questions(write(tmp_path / "q.txt", text))
    assert {name: len(members) for name, members in questions.items()} == sections
    assert questions[next(iter(sections))][0] == Question("b", "a", "c", "d")


def test_words_are_kept_as_written(tmp_path: Path) -> None:
    questions = read_questions(str(write(tmp_path / "q.txt", ": s\nAthens été STRASSE ß\n")))
    assert questions["s"] == [Question("été", "Athens", "STRASSE", "ß")]


@pytest.mark.parametrize("line", ["a b c", "a b c d e", "a", "a : b c d"])
def test_a_line_that_is_not_four_words_is_named(line: str, tmp_path: Path) -> None:
    path = write(tmp_path / "q.txt", f": s\na b c d\n\n{line}\na b c d\n")
    with pytest.raises(BadFile, match=f"expected four words a b c d, found {len(line.split())}") as caught:
        read_questions(path)
    assert (caught.value.path, caught.value.place) == (str(path), "line 4")


@pytest.mark.parametrize("text", ["", "\n\n", ": s\n", "\ufeff"])
def test_a_file_without_questions_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="holds no questions"):
        read_questions(write(tmp_path / "q.txt", text))


def test_bad_utf8_is_named_by_line(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="not valid UTF-8 at byte 4") as caught:
        read_questions(write(tmp_path / "q.txt", b": s\na b c d\na b \xff d\n"))
    assert caught.value.place == "line 3"


@pytest.mark.parametrize(("name", "reason"), [("missing.txt", "No such file"), (".", "holds no questions")])
def test_a_file_that_cannot_be_read_is_named(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=reason):
        read_questions(tmp_path / name)


def test_the_questions_of_word2vec_are_all_read(data: Path) -> None:
    path = data / "eval" / "questions-words.txt"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    questions = read_questions(path)
    assert len(questions) == 14
    assert sum(map(len, questions.values())) == 19_544
    assert questions["family"][0] == Question("girl", "boy", "brother", "sister")


# -- the same verdicts as gensim ---------------------------------------------------------------------------------------

Verdicts = dict[str, tuple[list[tuple[str, ...]], list[tuple[str, ...]]]]


def by_gensim(embedding: Embedding, sections: Sections, restrict: int | None, rules: Rules, folder: Path) -> Verdicts:
    """Per section the quadruples that gensim finds right, and those it finds wrong, in order."""
    lines = [
        line
        for name, questions in sections.items()
        for line in (f": {name}", *(f"{q.b} {q.a} {q.c} {q.answer}" for q in questions))
    ]
    path = write(folder / "questions.txt", "\n".join(lines))
    _, judged = embedding.to_gensim().evaluate_word_analogies(
        str(path), restrict_vocab=restrict, case_insensitive=rules == "gensim"
    )
    return {section["section"]: (section["correct"], section["incorrect"]) for section in judged[:-1]}


def by_us(report: AnalogyReport, sections: Sections, rules: Rules) -> Verdicts:
    """The same of a report, from its verdicts."""
    judged: Verdicts = {}
    verdicts = iter(report.verdicts.tolist())
    for name, questions in sections.items():
        right, wrong = judged.setdefault(name, ([], []))
        for q in questions:
            quadruple = (q.b, q.a, q.c, q.answer)
            shown = tuple(word.upper() for word in quadruple) if rules == "gensim" else quadruple
            match next(verdicts):
                case 1:
                    right.append(shown)
                case 0:
                    wrong.append(shown)
    assert next(verdicts, None) is None
    return judged


def ranked(embedding: Embedding, q: Question) -> list[str]:
    """All labels, best answer first, the inputs left out."""
    unit = embedding.unit.vectors.astype(np.float64)
    a, b, c = (embedding.labels.find_folded(word) for word in (q.a, q.b, q.c))
    order = np.argsort(-(unit @ (unit[a] - unit[b] + unit[c])), kind="stable")
    return [embedding.labels[row] for row in order.tolist() if row not in (a, b, c)]


def ask(embedding: Embedding, words: Sequence[str], count: int, rng: np.random.Generator) -> Sections:
    """Random questions in three sections; the expected answer is often one of the best, and sometimes an input."""
    sections: Sections = {"one": [], "two words": [], "three": []}
    for _ in range(count):
        a, b, c, other, unknown = (words[i] for i in rng.integers(0, len(words), 5))
        q = Question(a, b, c, other)
        best = ranked(embedding, q)
        answers = [*best[:5], best[0], best[0], a, b, c, other, f"{unknown}-unknown"]
        answer = answers[rng.integers(0, len(answers))]
        if rng.random() < 0.3:
            answer = answer.swapcase()
        sections[list(sections)[rng.integers(0, 3)]].append(q._replace(answer=answer))
    return sections


def plain_words(n: int, d: int, rng: np.random.Generator) -> Embedding:
    return Embedding([f"word{i}" for i in range(n)], rng.normal(size=(n, d)))


def cased_words(n: int, d: int, rng: np.random.Generator) -> Embedding:
    """Words that are there in up to eight ways of writing (king, King, KING, kING, ...), whose vectors lie together."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words, vectors = [], []
    for _ in range(n):
        base = "".join(letters[i] for i in rng.integers(0, 26, 3))
        ways = ["".join(way) for way in product(*((letter, letter.upper()) for letter in base))]
        centre = rng.normal(size=d)
        for way in rng.choice(ways, rng.integers(1, 9), replace=False):
            words.append(str(way))
            vectors.append(centre + 0.05 * rng.normal(size=d))
    order = rng.permutation(len(words))
    labels = list(dict.fromkeys(words[i] for i in order))
    return Embedding(labels, np.array([vectors[words.index(label)] for label in labels]))


@pytest.mark.parametrize("rules", ["gensim", "cased"])
@pytest.mark.parametrize("restrict", [None, 25])
@pytest.mark.parametrize("d", [2, 5])
@pytest.mark.parametrize("vocabulary", [plain_words, cased_words])
def test_verdicts_are_those_of_gensim(
    vocabulary: Any, d: int, restrict: int | None, rules: Rules, tmp_path: Path, rng: np.random.Generator
) -> None:
    embedding = vocabulary(20, d, rng)
    searched = embedding if restrict is None else embedding.head(restrict)
    sections = ask(searched, list(searched), 600, rng)
    sections["one"].append(Question(embedding.labels[-1], *(embedding.labels[row] for row in range(3))))
    report = evaluate_analogies(embedding, sections, restrict=restrict, rules=rules)
    expected = by_gensim(embedding, sections, restrict, rules, tmp_path)
    assert by_us(report, sections, rules) == expected
    # The comparison means something: many are right, many wrong, some not covered.
    assert 60 < report.total.correct < report.total.covered - 60
    assert report.total.covered < report.total.questions
    for section in report.sections:
        right, wrong = expected[section.section]
        assert (section.correct, section.covered) == (len(right), len(right) + len(wrong))


def test_the_rules_about_case_variants_matter_in_these_tests(rng: np.random.Generator) -> None:
    # Else the comparison with gensim would not have tested them.
    embedding = cased_words(20, 2, rng)
    sections = ask(embedding, list(embedding), 600, rng)
    questions = [q for section in sections.values() for q in section]
    report = evaluate_analogies(embedding, sections)
    by_best_alone = [ranked(embedding, q)[0].upper() == q.answer.upper() for q in questions]
    assert int(((report.verdicts == RIGHT) != by_best_alone)[report.verdicts != NOT_COVERED].sum()) > 50
    # Even the rule for questions whose five best answers are all case variants of an input.
    assert any(
        {word.upper() for word in ranked(embedding, q)[:5]} <= {q.a.upper(), q.b.upper(), q.c.upper()}
        for q in questions
    )


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8])
def test_a_vocabulary_smaller_than_what_the_rules_look_at_agrees_with_gensim(
    n: int, tmp_path: Path, rng: np.random.Generator
) -> None:
    embedding = plain_words(n, 3, rng)
    words = list(embedding)
    questions = [Question(*(words[i] for i in rng.integers(0, n, 4))) for _ in range(40)]
    sections = {"all": questions}
    report = evaluate_analogies(embedding, sections)
    assert by_us(report, sections, "gensim") == by_gensim(embedding, sections, None, "gensim", tmp_path)


def test_case_variants_by_hand() -> None:
    embedding = Embedding(
        ["king", "man", "woman", "WOMAN", "Queen", "queen"],
        [[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.3, 0.0, 1.0], [0.9, 0.0, 1.0], [-1.0, -1.0, -1.0]],
    )
    questions = {"": [Question("king", "man", "woman", "queen")]}
    assert ranked(embedding, questions[""][0])[:2] == ["Queen", "WOMAN"]
    # "Queen" is the best answer, and as good as "queen"; taken as written it is not.
    assert evaluate_analogies(embedding, questions).verdicts.tolist() == [RIGHT]
    assert evaluate_analogies(embedding, questions, rules="cased").verdicts.tolist() == [WRONG]
    # Without "Queen" the best is a case variant of an input: dropped by one rule, an answer by the other.
    fewer = embedding.filter(lambda word: word != "Queen")
    asked = {"": [Question("king", "man", "woman", "queen"), Question("king", "man", "woman", "WOMAN")]}
    assert evaluate_analogies(fewer, asked).verdicts.tolist() == [RIGHT, WRONG]
    assert evaluate_analogies(fewer, asked, rules="cased").verdicts.tolist() == [WRONG, RIGHT]


def test_of_words_that_differ_in_case_the_first_counts() -> None:
    embedding = Embedding(
        ["KING", "king", "man", "woman", "queen", "other"],
        [[1.0, 1.0, 0.0], [0.0, -1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, -1.0, 0.5]],
    )
    questions = {"": [Question("king", "man", "woman", "queen")]}
    assert evaluate_analogies(embedding, questions).verdicts.tolist() == [RIGHT]
    assert evaluate_analogies(embedding, questions, rules="cased").verdicts.tolist() == [WRONG]


# -- the rest of a report ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rules", ["gensim", "cased"])
@pytest.mark.parametrize("method", ["3cosadd", "3cosmul"])
def test_with_inputs_the_best_row_of_all_is_the_answer(rules: Rules, method: Method, rng: np.random.Generator) -> None:
    embedding = plain_words(20, 3, rng)
    sections = ask(embedding, list(embedding), 300, rng)
    report = evaluate_analogies(embedding, sections, rules=rules, method=method)
    questions = [q for section in sections.values() for q in section]
    found = Search(embedding).analogies([q[:3] for q in questions], k=1, method=method, exclude_inputs=False)
    upper = (lambda word: word.upper()) if rules == "gensim" else str
    known = {upper(word) for word in embedding}
    expected = [
        (RIGHT if upper(str(best)) == upper(q.answer) else WRONG) if upper(q.answer) in known else NOT_COVERED
        for best, q in zip(found.best, questions, strict=True)
    ]
    assert report.verdicts_with_inputs.tolist() == expected
    assert expected.count(RIGHT) > 20
    assert [section.correct_with_inputs for section in report.sections] == [
        int((part == RIGHT).sum()) for part in split(report.verdicts_with_inputs, sections)
    ]


def split(verdicts: npt.NDArray[np.int8], sections: Sections) -> list[npt.NDArray[np.int8]]:
    return np.split(verdicts, np.cumsum([len(members) for members in sections.values()])[:-1])


def test_three_cos_mul_excludes_inputs_and_takes_the_best(rng: np.random.Generator) -> None:
    embedding = plain_words(20, 3, rng)
    sections = ask(embedding, list(embedding), 500, rng)
    report = evaluate_analogies(embedding, sections, method="3cosmul", rules="cased")
    questions = [q for section in sections.values() for q in section]
    best = Search(embedding).analogies([q[:3] for q in questions], k=1, method="3cosmul").best
    right = [b == q.answer for b, q in zip(best, questions, strict=True)]
    assert ((report.verdicts == RIGHT) == right).all()
    assert sum(right) > 20
    assert report.method == "3cosmul"


def test_counts_add_up_and_verdicts_go_in_order(rng: np.random.Generator) -> None:
    embedding = plain_words(20, 3, rng)
    sections = ask(embedding, list(embedding), 200, rng)
    report = evaluate_analogies(embedding, sections)
    for section, part, members in zip(report.sections, split(report.verdicts, sections), sections.items(), strict=True):
        assert (section.section, section.questions) == (members[0], len(members[1]))
        assert section.covered == (part != NOT_COVERED).sum()
        assert section.correct == (part == RIGHT).sum()
        assert section.accuracy == section.correct / section.covered
        assert section.accuracy_with_inputs == section.correct_with_inputs / section.covered
    total = report.total
    assert total.section == "total"
    assert list(total)[1:] == [
        sum(counts) for counts in zip(*(section[1:] for section in report.sections), strict=True)
    ]
    assert list(report) == [*report.sections, total]
    assert report.verdicts.dtype == report.verdicts_with_inputs.dtype == np.int8
    covered = report.verdicts != NOT_COVERED
    assert (covered == (report.verdicts_with_inputs != NOT_COVERED)).all()
    # A question alone has the verdict that it has among the others.
    questions = [q for section in sections.values() for q in section]
    for number in (0, 50, 199):
        alone = evaluate_analogies(embedding, {"": [questions[number]]})
        assert alone.verdicts.tolist() == [report.verdicts[number]]


def test_restrict_searches_and_knows_only_the_first_rows(royals: Embedding) -> None:
    questions = {"": [Question("king", "man", "woman", "queen"), Question("king", "queen", "man", "man")]}
    whole = evaluate_analogies(royals, questions)
    assert (whole.verdicts.tolist()[0], whole.vocabulary) == (RIGHT, 4)
    first = evaluate_analogies(royals, questions, restrict=3)
    assert (first.verdicts.tolist()[0], first.vocabulary) == (NOT_COVERED, 3)
    assert first.verdicts[1] != NOT_COVERED
    assert evaluate_analogies(royals, questions, restrict=99).vocabulary == 4


def test_nothing_covered_is_not_an_error(royals: Embedding) -> None:
    report = evaluate_analogies(royals, {"s": [Question("a", "b", "c", "d")], "t": []})
    assert report.verdicts.tolist() == report.verdicts_with_inputs.tolist() == [NOT_COVERED]
    for section in report:
        assert section.covered == section.correct == section.correct_with_inputs == 0
        assert math.isnan(section.accuracy)
        assert math.isnan(section.accuracy_with_inputs)
    assert report.to_frame()["accuracy"].isna().all()
    assert "0 of 0 covered questions right" in repr(report)


def test_an_empty_embedding_covers_nothing() -> None:
    report = evaluate_analogies(Embedding([], np.zeros((0, 2))), {"": [Question("a", "b", "c", "d")]})
    assert (report.total.covered, report.vocabulary) == (0, 0)


def test_a_question_without_direction_is_covered_and_wrong() -> None:
    embedding = Embedding(["zero", "a", "minus a", "d"], [[0, 0], [1, 0], [-1, 0], [1, 1]])
    report = evaluate_analogies(embedding, {"": [Question("a", "zero", "minus a", "d")]})
    assert report.verdicts.tolist() == report.verdicts_with_inputs.tolist() == [WRONG]


@pytest.mark.parametrize(
    "sections",
    [
        pytest.param(
            {},
        ),
        {"s": []},
    ],
)
def test_no_questions_at_all_give_an_empty_report(sections: Sections, royals: Embedding) -> None:
    report = evaluate_analogies(royals, sections)
    assert (report.total.questions, len(report.verdicts)) == (0, 0)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_the_device_that_was_used_is_told(device: Any, royals: Embedding) -> None:
    questions = {"": [Question("king", "man", "woman", "queen")]}
    report = evaluate_analogies(royals, questions, device=device)
    assert (report.device, report.verdicts.tolist()) == (device, [RIGHT])


def test_to_frame_has_a_row_a_section_and_the_total(royals: Embedding) -> None:
    questions = {
        "s": [Question("king", "man", "woman", "queen"), Question("king", "man", "woman", "x")],
        "t": [Question("king", "man", "woman", "man")],
    }
    frame = evaluate_analogies(royals, questions).to_frame()
    columns = ["section", "questions", "covered", "correct", "correct_with_inputs"]
    expected = pd.DataFrame(
        [
            ("s", 2, 1, 1, 1, 1.0, 1.0, 0.5),
            ("t", 1, 1, 0, 0, 0.0, 0.0, 0.0),
            ("total", 3, 2, 1, 1, 0.5, 0.5, 1 / 3),
        ],
        columns=[*columns, "accuracy", "accuracy_with_inputs", "accuracy_of_all"],
    )
    pd.testing.assert_frame_equal(frame, expected)


def test_repr_tells_the_accuracy(royals: Embedding) -> None:
    questions = {"s": [Question("king", "man", "woman", "queen"), Question("king", "man", "woman", "x")]}
    expected = "AnalogyReport(1 of 1 covered questions right (100.0%), 2 asked)"
    assert repr(evaluate_analogies(royals, questions)) == expected


# -- what is refused ---------------------------------------------------------------------------------------------------

ROYAL = {"": [Question("king", "man", "woman", "queen")]}


@pytest.mark.parametrize("rules", ["Gensim", "", None])
def test_unknown_rules_are_refused(rules: Any, royals: Embedding) -> None:
    with pytest.raises(BadInput, match="rules are one of gensim, cased, not"):
        evaluate_analogies(royals, ROYAL, rules=rules)


@pytest.mark.parametrize("restrict", [0, -1])
def test_a_restriction_to_nothing_is_refused(restrict: int, royals: Embedding) -> None:
    with pytest.raises(BadInput, match=f"restrict must be 1 or more, or None, not {restrict}"):
        evaluate_analogies(royals, ROYAL, restrict=restrict)


@pytest.mark.parametrize("restrict", [2.5, "3"])
def test_a_restriction_that_is_no_whole_number_is_refused(restrict: Any, royals: Embedding) -> None:
    with pytest.raises(BadInput, match="restrict"):
        evaluate_analogies(royals, ROYAL, restrict=restrict)


def test_an_unknown_method_or_device_is_refused(royals: Embedding) -> None:
    with pytest.raises(BadInput, match="method is one of"):
        evaluate_analogies(royals, ROYAL, method="best")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="device is one of"):
        evaluate_analogies(royals, ROYAL, device="best")  # type: ignore[arg-type]


@pytest.mark.parametrize("rules", ["gensim", "cased"])
@pytest.mark.parametrize("count", [1, 4])
def test_a_question_of_three_words_is_refused(count: int, rules: Rules, royals: Embedding) -> None:
    # Four of them have as many words as three questions of four.
    questions: Any = {"": [("king", "man", "woman")] * count}
    with pytest.raises(BadInput):
        evaluate_analogies(royals, questions, rules=rules)
