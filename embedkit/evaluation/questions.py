"""Analogy questions, and the layouts in which they are passed on: Google's, MSR's and BATS's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import NamedTuple, TypeAlias

from embedkit.errors import BadFile
from embedkit.files.lines import numbered_lines


class Question(NamedTuple):
    """``a - b + c = answer``, as in king - man + woman = queen; `also` are other answers that are as right."""

    a: str
    b: str
    c: str
    answer: str
    also: tuple[str, ...] = ()


Sections: TypeAlias = dict[str, list[Question]]


def read_questions(path: str | os.PathLike[str]) -> Sections:
    """Read analogy questions in one of three layouts, told by what `path` is.

    - A folder has the layout of BATS (Gladkova, Drozd & Matsuoka 2016, N16-2002): each of its ``.txt`` files, in
      whatever folders, is a section of word pairs ``word<TAB>answer/answer/...``. Every pair is crossed with every
      other one; the first answer of a line stands for it where it is what is asked with, any is right where it is
      asked for.
    - A file ``NAME.questions`` has the layout of MSR (Mikolov, Yih & Zweig 2013, N13-1090): lines of three words
      ``a b c``; the file ``NAME.answers`` beside it has the section and the answer d of each, line by line.
    - Any other file has the layout of word2vec's questions-words.txt: a line ``: NAME`` begins a section, the others
      hold four words ``a b c d``.

    ``a b c d`` mean b - a + c = d. This is the one place where that order is turned into embedkit's ``a - b + c``.

    Parameters
    ----------
    path
        UTF-8 text, or a folder of it.

    Returns
    -------
    dict of str to list of Question
        By section, in the order of the file (of a folder, of the files' names); questions before the first section are
        in one named ``""``.

    Raises
    ------
    BadFile
        It cannot be read, is not UTF-8, has a line that does not hold what it should (named by its number), or no
        question at all.
    """
    place = Path(path)
    if place.is_dir():
        return _bats(place)
    return _msr(place) if place.suffix == ".questions" else _google(place)


def _google(path: Path) -> Sections:
    sections: Sections = {}
    section = sections.setdefault("", [])
    for number, text in numbered_lines(path):
        line = text.strip()
        if line.startswith(":"):
            section = sections.setdefault(line[1:].strip(), [])
        elif line:
            words = line.split()
            if len(words) != 4:
                raise BadFile(path, f"expected four words a b c d, found {len(words)}", f"line {number}")
            a, b, c, d = words
            section.append(Question(b, a, c, d))
    if not any(sections.values()):
        raise BadFile(path, "holds no questions: expected lines of four words a b c d, and ': NAME' lines")
    return {name: questions for name, questions in sections.items() if questions}


def _msr(path: Path) -> Sections:
    answers = path.with_suffix(".answers")
    asked, keys = list(_fields(path, 3, "three words a b c")), list(_fields(answers, 2, "a section and an answer"))
    if not asked:
        raise BadFile(path, "holds no questions: expected lines of three words a b c")
    if len(asked) != len(keys):
        raise BadFile(answers, f"has {len(keys)} answers for the {len(asked)} questions of {path.name}")
    sections: Sections = {}
    for (a, b, c), (name, d) in zip(asked, keys, strict=True):
        sections.setdefault(name, []).append(Question(b, a, c, d))
    return sections


def _fields(path: Path, size: int, what: str) -> Iterator[list[str]]:
    """The words of the lines of `path` that are not empty, `size` in each."""
    for number, text in numbered_lines(path):
        words = text.split()
        if words and len(words) != size:
            raise BadFile(path, f"expected {what}, found {len(words)} words", f"line {number}")
        if words:
            yield words


def _bats(folder: Path) -> Sections:
    files = sorted(folder.rglob("*.txt"))
    stems = [file.stem for file in files]
    sections = {}
    for file in files:
        name = file.stem if stems.count(file.stem) == 1 else file.relative_to(folder).with_suffix("").as_posix()
        pairs = list(_bats_pairs(file))
        sections[name] = [
            Question(answers[0], word, other, others[0], tuple(others[1:]))
            for (word, answers), (other, others) in permutations(pairs, 2)
        ]
    if not any(sections.values()):
        raise BadFile(folder, "holds no questions: expected .txt files of lines 'word<TAB>answer/answer'")
    return {name: questions for name, questions in sections.items() if questions}


def _bats_pairs(path: Path) -> Iterator[tuple[str, list[str]]]:
    for number, text in numbered_lines(path):
        if not text.strip():
            continue
        fields = [field.strip() for field in (text.strip().split("\t") if "\t" in text.strip() else text.split())]
        answers = [answer.strip() for answer in fields[1].split("/")] if len(fields) == 2 else []
        if not fields[0] or not answers or not all(answers):
            raise BadFile(path, "expected a word, a tab, and its answers separated by '/'", f"line {number}")
        yield fields[0], list(dict.fromkeys(answers))
