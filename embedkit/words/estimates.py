"""What an `Ensemble` answers: small tables of estimates with their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, overload

from embedkit.errors import printable

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 50  # lines in a notebook


class Similarity(NamedTuple):
    """The cosine of `first` and `second`, from `low` to `high`; `models` have both words."""

    first: str
    second: str
    similarity: float
    low: float
    high: float
    models: int


class Difference(NamedTuple):
    """Two cosines of `first` and `second`, and their `difference` from `low` to `high`."""

    first: str
    second: str
    here: float
    there: float
    difference: float
    low: float
    high: float
    models: int


class Similar(NamedTuple):
    """`label` is at `rank` (from 1) for `query`; the `share` of models has it among their nearest."""

    query: str
    rank: int
    label: str
    similarity: float
    low: float
    high: float
    share: float


class AnalogyShare(NamedTuple):
    """`label` is the best answer to `query` in this `share` of `models`, and whether the `whole` text says so too."""

    query: str
    rank: int
    label: str | None
    share: float
    whole: bool
    models: int


Row = TypeVar("Row", Similarity, Difference, Similar, AnalogyShare)


class Estimates(Sequence[Row], Generic[Row]):
    """Rows of one kind, in order.

    Examples
    --------
    >>> table = Estimates([Similarity("king", "queen", 0.7, 0.6, 0.8, 20)])
    >>> table
    Estimates(1 rows: first, second, similarity, low, high, models)
    >>> table[0].low
    0.6
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows: tuple[Row, ...] = tuple(rows)

    @overload
    def __getitem__(self, item: int) -> Row: ...
    @overload
    def __getitem__(self, item: slice) -> Estimates[Row]: ...
    def __getitem__(self, item: int | slice) -> Row | Estimates[Row]:
        return Estimates(self._rows[item]) if isinstance(item, slice) else self._rows[item]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Estimates) and self._rows == other._rows

    __hash__ = None  # type: ignore[assignment]  # compared by content

    def _names(self) -> tuple[str, ...]:
        return self._rows[0]._fields if self._rows else ()

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame with a line a row."""
        import pandas as pd

        return pd.DataFrame(list(self._rows), columns=list(self._names()))

    def __repr__(self) -> str:
        return f"Estimates({len(self)} rows: {', '.join(self._names())})"

    def _repr_html_(self) -> str:
        from html import escape

        def cell(value: Any) -> str:
            return f"{value:.4f}" if isinstance(value, float) else escape(printable(str(value)))

        head = "".join(f"<th>{name}</th>" for name in self._names())
        body = "".join(f"<tr>{''.join(f'<td>{cell(value)}</td>' for value in row)}</tr>" for row in self._rows[:_SHOWN])
        more = f"<caption>first {_SHOWN} of {len(self):,} rows</caption>" if len(self) > _SHOWN else ""
        return f"<table>{more}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
