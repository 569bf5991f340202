"""Accuracy on analogy questions, by section, with coverage and intervals, with and without the inputs as answers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.errors import BadFile, BadInput
from embedkit.evaluation.intervals import (
    LEVEL,
    REPLICATES,
    AnalogyIntervals,
    Interval,
    RandomState,
    analogy_interval,
    with_interval,
)
from embedkit.files.lines import numbered_lines
from embedkit.kernels.exact import Integers
from embedkit.search.engine import Device, Engine, Method

if TYPE_CHECKING:
    import pandas as pd

Rules: TypeAlias = Literal["gensim", "cased"]
RULES: tuple[Rules, ...] = ("gensim", "cased")

NOT_COVERED, WRONG, RIGHT = -1, 0, 1
_GENSIM_TOPN = 5


class Question(NamedTuple):
    """``a - b + c = answer``, as in king - man + woman = queen."""

    a: str
    b: str
    c: str
    answer: str


class Section(NamedTuple):
    """How one section of questions went: counts of questions."""

    section: str
    questions: int
    covered: int
    correct: int
    correct_with_inputs: int

    @property
    def accuracy(self) -> float:
        """Share of the covered questions answered right, the inputs being no answers; NaN if none is covered."""
        return self.correct / self.covered if self.covered else float("nan")

    @property
    def accuracy_with_inputs(self) -> float:
        """The same where the inputs may be answers."""
        return self.correct_with_inputs / self.covered if self.covered else float("nan")


@dataclass(frozen=True, eq=False)
class AnalogyReport:
    """What `evaluate_analogies` measured.

    Attributes
    ----------
    sections
        A `Section` each, in the order of the file.
    verdicts
        Of every question in order: 1 right, 0 wrong, -1 not covered; int8.
    verdicts_with_inputs
        The same where the inputs may be answers.
    rules, method, vocabulary, device
        How it was measured: the rules, the method, how many of the first rows were searched, and on what.
    pairs
        Of every question in order its two word pairs (b, a) and (c, answer), numbered, (q, 2) int64; -1 where the
        question is not covered. Intervals are drawn from these.
    """

    sections: tuple[Section, ...]
    verdicts: npt.NDArray[np.int8]
    verdicts_with_inputs: npt.NDArray[np.int8]
    rules: Rules
    method: Method
    vocabulary: int
    device: str
    pairs: Integers

    @property
    def total(self) -> Section:
        """All sections together."""
        counts = np.array([section[1:] for section in self.sections], dtype=np.int64).reshape(-1, 4).sum(axis=0)
        return Section("total", *counts.tolist())

    @property
    def macro_accuracy(self) -> float:
        """Mean of the accuracies of the sections that have covered questions; NaN if none has."""
        shares = [section.accuracy for section in self.sections if section.covered]
        return sum(shares) / len(shares) if shares else float("nan")

    def intervals(
        self, replicates: int = REPLICATES, level: float = LEVEL, random_state: RandomState = 0
    ) -> AnalogyIntervals:
        """Intervals of the total's accuracy and of `macro_accuracy`, the inputs being no answers.

        By drawing word pairs within sections; see `embedkit.evaluation.analogy_interval`.
        """
        sections = np.repeat(np.arange(len(self.sections)), [section.questions for section in self.sections])
        return analogy_interval(
            sections, self.pairs, self.verdicts, replicates=replicates, level=level, random_state=random_state
        )

    @cached_property
    def _intervals(self) -> AnalogyIntervals:
        return self.intervals()

    @property
    def interval(self) -> Interval:
        """95 % interval of the total's accuracy; drawn when first asked for, and always the same."""
        return self._intervals.accuracy

    @property
    def macro_interval(self) -> Interval:
        """The same of `macro_accuracy`."""
        return self._intervals.macro

    def __iter__(self) -> Iterator[Section]:
        yield from self.sections
        yield self.total

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame with a row a section and one for the total."""
        import pandas as pd

        rows = [(*section, section.accuracy, section.accuracy_with_inputs) for section in self]
        return pd.DataFrame(rows, columns=[*Section._fields, "accuracy", "accuracy_with_inputs"])

    def __repr__(self) -> str:
        t = self.total
        share = with_interval(t.accuracy, self.interval, ".1%")
        return f"AnalogyReport({t.correct} of {t.covered} covered questions right ({share}), {t.questions} asked)"


def read_questions(path: str | os.PathLike[str]) -> dict[str, list[Question]]:
    """Read questions in the layout of word2vec's questions-words.txt.

    A line ``: NAME`` begins a section; the others hold four words ``a b c d`` that mean b - a + c = d. This is the one
    place where that order is turned into embedkit's ``a - b + c``.

    Parameters
    ----------
    path
        A UTF-8 text file.

    Returns
    -------
    dict of str to list of Question
        By section, in the order of the file; questions before the first section are in one named ``""``.

    Raises
    ------
    BadFile
        It cannot be read, is not UTF-8, has a line that is not four words, or no question at all.
    """
    sections: dict[str, list[Question]] = {}
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


def evaluate_analogies(
    embedding: Embedding,
    questions: Mapping[str, Sequence[tuple[str, str, str, str]]],
    *,
    restrict: int | None = None,
    method: Method = "3cosadd",
    rules: Rules = "gensim",
    device: Device = "auto",
) -> AnalogyReport:
    """Answer all questions, in one batched exact search, and count.

    Parameters
    ----------
    embedding
        Vectors to measure, most frequent word first.
    questions
        By section, as `read_questions` gives them: tuples (a, b, c, answer) with a - b + c = answer.
    restrict
        Search, and count as known, only the first so many rows; `None` for all.
    method
        See `embedkit.Search.analogies`.
    rules
        ``"gensim"``: as gensim's ``evaluate_word_analogies``: capitals are ignored, the first of several rows that
        differ in them counts; of the five best rows without the inputs, the first that is no case variant of an input
        is the answer. ``"cased"``: words are taken exactly as written.
    device
        See `embedkit.Search`.

    Returns
    -------
    AnalogyReport
        A question is covered if all its four words are known; the others are in none of the accuracies.

    Raises
    ------
    BadInput
        `restrict` is less than one, or `rules` is unknown.
    """
    if rules not in RULES:
        raise BadInput(f"rules are one of {', '.join(RULES)}, not '{rules}'")
    if restrict is not None and (not isinstance(restrict, int | np.integer) or restrict < 1):
        raise BadInput(f"restrict must be 1 or more, or None, not {restrict}")
    vocabulary = embedding if restrict is None else embedding.head(restrict)
    flat = [question for section in questions.values() for question in section]
    for number, question in enumerate(flat):
        if len(question) != 4:
            raise BadInput(f"question {number} has {len(question)} words, expected four: a, b, c, answer")
    canon, terms = _resolve(vocabulary, flat, rules)
    covered = (terms >= 0).all(axis=1)
    asked = terms[covered]
    engine = Engine(vocabulary, device)
    found, used = engine.analogies(asked[:, :3], _GENSIM_TOPN if rules == "gensim" else 1, method)
    verdicts = np.full((2, len(terms)), NOT_COVERED, dtype=np.int8)
    verdicts[0, covered] = _is_right(found.rows, asked, canon)
    # With the inputs let in, the best answer is the best of the others or one of the three.
    candidates = np.sort(np.concatenate([found.rows[:, :1], asked[:, :3]], axis=1), axis=1)
    scores = engine.analogy_scores(asked[:, :3], candidates, method)
    best = np.take_along_axis(candidates, np.argmax(scores, axis=1)[:, None], axis=1)[:, 0]
    verdicts[1, covered] = (canon[best] == canon[asked[:, 3]]) & np.isfinite(scores).any(axis=1)
    sections = []
    start = 0
    for name, members in questions.items():
        without, with_inputs = verdicts[:, start : start + len(members)]
        known = int((without >= 0).sum())
        sections.append(Section(name, len(members), known, int((without > 0).sum()), int((with_inputs > 0).sum())))
        start += len(members)
    pairs = _pairs(terms, len(vocabulary))
    return AnalogyReport(tuple(sections), verdicts[0], verdicts[1], rules, method, len(vocabulary), used, pairs)


def _pairs(terms: Integers, n: int) -> Integers:
    """The word pairs (b, a) and (c, answer) of each question, numbered: (q, 2), -1 where a word is unknown."""
    a, b, c, answer = terms.T
    # By rows, not as written: what the rules take for one word is one.
    _, numbers = np.unique(np.stack([b * n + a, c * n + answer], axis=1), return_inverse=True)
    pairs: Integers = numbers.reshape(-1, 2).astype(np.int64)
    pairs[(terms < 0).any(axis=1)] = -1
    return pairs


def _resolve(
    vocabulary: Embedding, questions: Sequence[tuple[str, str, str, str]], rules: Rules
) -> tuple[Integers, Integers]:
    """Which row stands for each row (the first written alike), and the four rows of each question (-1: unknown)."""
    if rules == "cased":
        rows = vocabulary.rows([word for question in questions for word in question], missing="mark")
        return np.arange(len(vocabulary) + 1, dtype=np.int64), rows.reshape(-1, 4)
    # All at once: no capital letter depends on the labels around it, and none is a line feed.
    capitals = "\n".join(vocabulary).upper().split("\n") if len(vocabulary) else []
    first = dict(zip(reversed(capitals), range(len(capitals) - 1, -1, -1), strict=True))
    # One more at the end, so that row -1 (no answer) stands for itself and equals nothing.
    canon = np.array([*map(first.__getitem__, capitals), -1], dtype=np.int64)
    found = [first.get(word.upper(), -1) for question in questions for word in question]
    return canon, np.array(found, dtype=np.int64).reshape(-1, 4)


def _is_right(rows: Integers, asked: Integers, canon: Integers) -> npt.NDArray[np.bool_]:
    """Whether the answer is the expected one.

    `rows` (m, k) are the best answers without the inputs, -1 where there are no more. The answer is the first of them
    that is no case variant of an input, or else the last.
    """
    inputs, expected = asked[:, :3], asked[:, 3]
    fresh = (rows >= 0) & (canon[rows][:, :, None] != canon[inputs][:, None, :]).all(axis=2)
    last = np.maximum((rows >= 0).sum(axis=1) - 1, 0)
    place = np.where(fresh.any(axis=1), np.argmax(fresh, axis=1), last)
    answers = rows[np.arange(len(rows)), place]
    right: npt.NDArray[np.bool_] = (answers >= 0) & (canon[answers] == canon[expected])
    return right
