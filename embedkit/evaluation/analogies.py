"""Accuracy on analogy questions, by section, with coverage and intervals, with and without the inputs as answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.errors import BadInput
from embedkit.evaluation import lookup
from embedkit.evaluation.intervals import AnalogyIntervals, Interval, analogy_interval, with_interval
from embedkit.evaluation.resampling import LEVEL, REPLICATES, RandomState
from embedkit.kernels.exact import Integers
from embedkit.search.engine import Device, Engine, Method, unit_queries

if TYPE_CHECKING:
    import pandas as pd

Rules: TypeAlias = Literal["gensim", "cased"]
RULES: tuple[Rules, ...] = ("gensim", "cased")

NOT_COVERED, WRONG, RIGHT = -1, 0, 1
_GENSIM_TOPN = 5
_RANKED_AT_ONCE = 4096  # questions


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

    @property
    def accuracy_of_all(self) -> float:
        """Share of all questions, those not covered counting as wrong; NaN if there is none."""
        return self.correct / self.questions if self.questions else float("nan")


class RankFigures(NamedTuple):
    """Where the expected answer stands: mean of one over its rank, and its median rank (infinite: it can be none)."""

    mrr: float
    median: float


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
    ranks
        If asked for, of every question in order: the rank, from 1, of the best of the right answers among all that can
        be answers, which are no input and no case variant of one; 0 where none of the right ones can be, -1 where the
        question is not covered; int64. `None` otherwise.
    name
        Of the set of questions.
    """

    sections: tuple[Section, ...]
    verdicts: npt.NDArray[np.int8]
    verdicts_with_inputs: npt.NDArray[np.int8]
    rules: Rules
    method: Method
    vocabulary: int
    device: str
    pairs: Integers
    ranks: Integers | None = None
    name: str = ""

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

    def rank_figures(self) -> list[RankFigures]:
        """Of each section's covered questions, then of all; NaN where none is covered.

        Raises
        ------
        BadInput
            Ranks were not asked for.
        """
        if self.ranks is None:
            raise BadInput("ranks were not asked for: evaluate_analogies(..., ranks=True)")
        ends = np.cumsum([section.questions for section in self.sections])
        return [_rank_figures(part) for part in (*np.split(self.ranks, ends)[:-1], self.ranks)]

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

        shares = ("accuracy", "accuracy_with_inputs", "accuracy_of_all")
        rows: list[tuple[Any, ...]] = [(*section, *(getattr(section, share) for share in shares)) for section in self]
        columns = [*Section._fields, *shares]
        if self.ranks is not None:
            rows = [(*row, *figures) for row, figures in zip(rows, self.rank_figures(), strict=True)]
            columns += ["mrr", "median_rank"]
        return pd.DataFrame(rows, columns=columns)

    def __repr__(self) -> str:
        t = self.total
        share = with_interval(t.accuracy, self.interval, ".1%")
        return f"AnalogyReport({t.correct} of {t.covered} covered questions right ({share}), {t.questions} asked)"


def evaluate_analogies(
    embedding: Embedding,
    questions: Mapping[str, Sequence[tuple[Any, ...]]],
    *,
    restrict: int | None = None,
    method: Method = "3cosadd",
    rules: Rules = "gensim",
    device: Device = "auto",
    ranks: bool = False,
    name: str = "",
) -> AnalogyReport:
    """Answer all questions, in one batched exact search, and count.

    Parameters
    ----------
    embedding
        Vectors to measure, most frequent word first.
    questions
        By section, as `embedkit.evaluation.read_questions` gives them: tuples (a, b, c, answer) with a - b + c =
        answer, and, if there are, a fifth that holds other right answers.
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
    ranks
        Also tell at which rank the expected answer stands, for ``method="3cosadd"``. This looks at every word for every
        question, and takes many times as long.
    name
        Of the set, for the report.

    Returns
    -------
    AnalogyReport
        A question is covered if its first three words are known, and one of its answers; the others are in none of the
        accuracies, but for that of all.

    Raises
    ------
    BadInput
        `restrict` is less than one, `rules` is unknown, a question is not four words, or ranks are asked for with
        another method.
    """
    if rules not in RULES:
        raise BadInput(f"rules are one of {', '.join(RULES)}, not '{rules}'")
    if ranks and method != "3cosadd":
        raise BadInput(f"ranks are told for method '3cosadd', not for '{method}'")
    vocabulary = lookup.head(embedding, restrict)
    flat = [question for section in questions.values() for question in section]
    for number, question in enumerate(flat):
        if len(question) not in (4, 5):
            raise BadInput(f"question {number} has {len(question)} words, expected four: a, b, c, answer")
    canon, terms, answers = _resolve(vocabulary, flat, rules)
    covered: npt.NDArray[np.bool_] = np.all(terms >= 0, axis=1) & np.any(answers >= 0, axis=1)
    asked, expected = terms[covered], answers[covered]
    engine = Engine(vocabulary, device)
    found, used = engine.analogies(asked, _how_many(asked, canon) if rules == "gensim" else 1, method)
    verdicts = np.full((2, len(terms)), NOT_COVERED, dtype=np.int8)
    verdicts[0, covered] = _is_right(found.rows, asked, expected, canon)
    # With the inputs let in, the best answer is the best of the others or one of the three; of equals the lowest row.
    candidates = np.concatenate([found.rows[:, :1], asked], axis=1)
    scores = np.concatenate([found.scores[:, :1], engine.analogy_scores(asked, asked, method)], axis=1)
    scores[np.isnan(scores)] = -np.inf
    order = np.argsort(candidates, axis=1)
    candidates, scores = (np.take_along_axis(x, order, axis=1) for x in (candidates, scores))
    best = np.take_along_axis(candidates, np.argmax(scores, axis=1)[:, None], axis=1)
    verdicts[1, covered] = (canon[best] == expected).any(axis=1) & np.isfinite(scores).any(axis=1)
    ranked = None
    if ranks:
        ranked = np.full(len(terms), NOT_COVERED, dtype=np.int64)
        ranked[covered] = _ranks(engine, asked, expected, canon)
    sections = []
    start = 0
    for section, members in questions.items():
        without, with_inputs = verdicts[:, start : start + len(members)]
        known = int((without >= 0).sum())
        sections.append(Section(section, len(members), known, int((without > 0).sum()), int((with_inputs > 0).sum())))
        start += len(members)
    pairs = _pairs(terms, answers, covered, len(vocabulary))
    return AnalogyReport(
        tuple(sections), verdicts[0], verdicts[1], rules, method, len(vocabulary), used, pairs, ranked, name
    )


def _pairs(terms: Integers, answers: Integers, covered: npt.NDArray[np.bool_], n: int) -> Integers:
    """The word pairs (b, a) and (c, answer) of each question, numbered: (q, 2), -1 where it is not covered."""
    a, b, c = terms.T
    # By rows, not as written: what the rules take for one word is one. Of several answers the first that is known.
    first = np.take_along_axis(answers, np.argmax(answers >= 0, axis=1)[:, None], axis=1)[:, 0] if len(answers) else a
    _, numbers = np.unique(np.stack([b * n + a, c * n + first], axis=1), return_inverse=True)
    pairs: Integers = numbers.reshape(-1, 2).astype(np.int64)
    pairs[~covered] = -1
    return pairs


def _resolve(
    vocabulary: Embedding, questions: Sequence[tuple[Any, ...]], rules: Rules
) -> tuple[Integers, Integers, Integers]:
    """Which row stands for each row; of each question its three rows and its answers' rows.

    Shapes (n + 1,), (q, 3) and (q, most answers to one); -1 for what is unknown, or not there. For rows written like a
    word of a question the first of them stands, if capitals are ignored; any other row stands for itself.
    """
    texts = [(*question[:4], *(question[4] if len(question) == 5 else ())) for question in questions]
    flat = [word for words in texts for word in words]
    # One more at the end, so that row -1 (no answer) stands for itself and equals nothing.
    canon = np.append(np.arange(len(vocabulary), dtype=np.int64), -1)
    if rules == "cased":
        rows = vocabulary.rows(flat, missing="mark")
    else:
        like, firsts, first = lookup.alike(vocabulary, flat)
        canon[like] = firsts  # of the others none is ever compared with
        rows = np.array([first[word] for word in flat], dtype=np.int64)
    table = np.full((len(texts), max(map(len, texts), default=4)), -1, dtype=np.int64)
    sizes = np.array([len(words) for words in texts], dtype=np.int64)
    table[np.arange(table.shape[1]) < sizes[:, None]] = rows
    return canon, table[:, :3], table[:, 3:]


def _how_many(asked: Integers, canon: Integers) -> int:
    """How many of the best answers gensim's rule can come to look at: one more than the inputs have case variants."""
    alike = np.bincount(canon[:-1], minlength=1)[canon[asked]] - 1 if len(asked) else np.zeros((1, 3), np.int64)
    return min(_GENSIM_TOPN, 1 + int(alike.sum(axis=1).max()))


def _is_right(rows: Integers, asked: Integers, expected: Integers, canon: Integers) -> npt.NDArray[np.bool_]:
    """Whether the answer is one of the expected ones.

    `rows` (m, k) are the best answers without the inputs, -1 where there are no more. The answer is the first of them
    that is no case variant of an input, or else the last.
    """
    fresh = (rows >= 0) & (canon[rows][:, :, None] != canon[asked][:, None, :]).all(axis=2)
    last = np.maximum((rows >= 0).sum(axis=1) - 1, 0)
    place = np.where(fresh.any(axis=1), np.argmax(fresh, axis=1), last)
    answers = rows[np.arange(len(rows)), place]
    right: npt.NDArray[np.bool_] = (answers >= 0) & (canon[answers][:, None] == expected).any(axis=1)
    return right


def _ranks(engine: Engine, asked: Integers, expected: Integers, canon: Integers) -> Integers:
    """The rank of the best right answer to each question, (m,), 0 where none can be one; see `AnalogyReport.ranks`."""
    from embedkit.kernels.ranks import ranks_by_cosine

    ranks = np.zeros(len(asked), dtype=np.int64)
    for start in range(0, len(asked), _RANKED_AT_ONCE):
        part = slice(start, start + _RANKED_AT_ONCE)
        terms = asked[part]
        barred, targets = _alike(canon, terms), _alike(canon, expected[part])
        targets[(canon[targets][:, :, None] == canon[terms][:, None, :]).any(axis=2)] = -1
        targets.sort(axis=1)  # among equals the lower row is the better
        scores = engine.analogy_scores(terms, targets)
        possible = np.flatnonzero(np.isfinite(scores).any(axis=1))
        best = targets[possible, np.argmax(scores[possible], axis=1)]
        a, b, c = engine.units[terms[possible]].astype(np.float64).transpose(1, 0, 2)
        queries = unit_queries(a - b + c)
        ranks[start + possible] = ranks_by_cosine(engine.units, queries, best, barred[possible], engine.dead)
    return ranks


def _alike(canon: Integers, rows: Integers) -> Integers:
    """All rows that are written like one of `rows` (m, s), (m, s times the most alike); -1 for none."""
    order = np.argsort(canon[:-1], kind="stable")
    kinds = canon[order]
    starts, ends = np.searchsorted(kinds, rows, "left"), np.searchsorted(kinds, rows, "right")
    width = int((ends - starts).max(initial=0))
    places = starts[:, :, None] + np.arange(width)
    found = np.where(places < ends[:, :, None], order[np.minimum(places, len(order) - 1)], -1)
    return found.reshape(len(rows), -1)


def _rank_figures(ranks: Integers) -> RankFigures:
    known = ranks[ranks >= 0]
    if not len(known):
        return RankFigures(float("nan"), float("nan"))
    places = np.where(known > 0, known, np.inf)
    return RankFigures(float(np.mean(1 / places)), float(np.quantile(places, 0.5, method="lower")))
