"""What a search finds: a tidy table of query, rank, label and score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from embedkit.errors import printable
from embedkit.kernels.exact import Doubles, Integers
from embedkit.labels import Labels

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 50  # lines in a notebook


class Neighbour(NamedTuple):
    """One answer: to which `query`, at which `rank` (from 1), which `label`, with which `score`.

    Where a query without answers keeps its place, it has rank 1, no label and NaN as score.
    """

    query: str
    rank: int
    label: str | None
    score: float


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The answers to m queries, at most k each, best first. Iterating gives a `Neighbour` each.

    Attributes
    ----------
    queries
        What was asked, in words; m of them.
    rows
        Row numbers of the answers, shape (m, k) int64; -1 where there is none.
    scores
        Their scores, shape (m, k) float64; NaN where there is none.
    labels
        The labels that `rows` point into.
    unknown
        Labels that were asked with and do not exist (unless ``missing="error"``); their queries have no answers.
    device
        What computed the candidates: ``"numpy"``, ``"numba"``, or torch on ``"cpu"``, ``"cuda"``, ``"mps"``; followed
        by ``", shared words"`` where the products of distinct words were shared by many analogies, or by ``", sketch"``
        where single queries read a sketch of the rows.
    keep_empty
        Whether a query without answers keeps its place in the table (with ``missing="nan"``), or is left out of it.
    """

    queries: Sequence[str]
    rows: Integers
    scores: Doubles
    labels: Labels
    unknown: tuple[str, ...] = ()
    device: str = "numpy"
    keep_empty: bool = False

    def __iter__(self) -> Iterator[Neighbour]:
        for query, rows, scores in zip(self.queries, self.rows.tolist(), self.scores.tolist(), strict=True):
            for rank, (row, score) in enumerate(zip(rows, scores, strict=True), start=1):
                if row >= 0:
                    yield Neighbour(query, rank, self.labels[row], score)
                elif rank == 1 and self.keep_empty:
                    yield Neighbour(query, rank, None, score)

    def __len__(self) -> int:
        answers = int((self.rows >= 0).sum())
        return answers + int((self.rows[:, 0] < 0).sum()) if self.keep_empty else answers

    @property
    def best(self) -> list[str | None]:
        """The best answer to each query, `None` where there is none."""
        return [self.labels[row] if row >= 0 else None for row in self.rows[:, 0].tolist()]

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame with the columns query, rank, label, score; a line an answer."""
        import pandas as pd

        return pd.DataFrame(list(self), columns=Neighbour._fields)

    def __repr__(self) -> str:
        return f"Neighbours({len(self.queries)} queries, {len(self)} answers, device={self.device})"

    def _repr_html_(self) -> str:
        from html import escape
        from itertools import islice

        body = "".join(
            f"<tr><td>{escape(printable(query))}</td><td>{rank}</td>"
            f"<th>{'' if label is None else escape(printable(label))}</th>"
            f"<td>{'' if label is None else f'{score:.4f}'}</td></tr>"
            for query, rank, label, score in islice(self, _SHOWN)
        )
        more = f"<caption>first {_SHOWN} of {len(self):,} answers</caption>" if len(self) > _SHOWN else ""
        head = "".join(f"<th>{name}</th>" for name in Neighbour._fields)
        return f"<table>{more}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
