"""Which column of a table is the label, which are features, which are kept, and which rows can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput, printable
from embedkit.formats.frame import dimension_names

Missing = Literal["error", "drop"]

# What the first column is called where it names rows; no name at all is how pandas writes an index.
LABEL_NAMES = frozenset({"", "label", "word", "token", "name", "id", "key", "index"})


class Roles(NamedTuple):
    """Which columns are what, by position."""

    label: int | None
    candidates: tuple[int, ...]  # the first of these with distinct values is the label, where there is none yet
    features: tuple[int, ...]
    columns: tuple[int, ...]


def choose(
    names: Sequence[str],
    numeric: Sequence[bool],
    *,
    label: str | None,
    columns: Sequence[str] | None,
    features: Sequence[str] | None,
    first_is_label: bool = False,
) -> Roles:
    """Which of the columns `names` is what, by the rules of `read_table`.

    Parameters
    ----------
    names
        Distinct names of all columns.
    numeric
        Which of them hold numbers.
    label, columns, features
        What was asked for.
    first_is_label
        Take the first column as the label, whatever its name, unless it is asked for as something else.

    Raises
    ------
    BadInput
        A name is not there or has two roles, or no column is left to make vectors of.
    """
    for given in (columns, features):
        if isinstance(given, str):
            raise BadInput(f"columns and features are lists of names: write ['{printable(given)}']")
    place = {name: j for j, name in enumerate(names)}
    asked = [*([label] if label is not None else []), *(columns or []), *(features or [])]
    for name in asked:
        if name not in place:
            shown = ", ".join(printable(known) for known in names[:8]) + (", ..." if len(names) > 8 else "")
            raise BadInput(f"no column '{printable(str(name))}' in the table; it has: {shown}")
    named = {place[name] for name in asked}
    if len(named) < len(asked):
        twice = next(name for name in asked if asked.count(name) > 1)
        raise BadInput(f"column '{printable(twice)}' is named twice: it is the label, a feature, or a column")
    first = 0 not in named and (first_is_label or names[0].strip().casefold() in LABEL_NAMES)
    chosen = place[label] if label is not None else 0 if first else None
    rest = [j for j in range(len(names)) if j != chosen and names[j]]  # without a name it is an index that goes unused
    taken = named if columns is None else {place[name] for name in columns}
    if features is not None:
        found = [place[name] for name in features]
    elif (width := own_width(names)) and chosen == 0:
        found = [j for j in rest if j >= len(names) - width and j not in taken]
    else:
        found = [j for j in rest if numeric[j] and j not in taken]
    if not found:
        raise BadInput("no column of numbers to make vectors of; are numbers written with a decimal comma?")
    kept = [j for j in rest if j not in found] if columns is None else [place[name] for name in columns]
    candidates = [] if chosen is not None else [j for j in rest if not numeric[j] and j not in named]
    return Roles(chosen, tuple(candidates), tuple(found), tuple(kept))


def own_width(names: Sequence[str]) -> int:
    """Number of dimensions of the Embedding whose `to_csv` gave this header; 0 if none did."""
    if names[0] != "label":
        return 0
    last = names[-1]
    width = "xyz".index(last) + 1 if last in ("x", "y", "z") else 0
    if last[:1] == "d" and last[1:].isdecimal() and last[1:].isascii() and len(last) < 10:
        width = int(last[1:]) + 1
    return width if 0 < width < len(names) and list(names[-width:]) == dimension_names(width) else 0


def settle(roles: Roles, texts: Mapping[int, Sequence[str]]) -> Roles:
    """The roles with the label chosen among the candidates, now that their values are known."""
    for j in roles.candidates:
        values = texts[j]
        whole = all(values) and not any("\n" in value or "\r" in value for value in values)
        if whole and len(set(values)) == len(values):
            return roles._replace(label=j, columns=tuple(k for k in roles.columns if k != j))
    return roles


def check_missing(missing: str) -> None:
    """Refuse what `missing` may not be."""
    if missing not in ("error", "drop"):
        raise BadInput(f"missing is 'error' or 'drop', not '{missing}'")


def check_names(names: Sequence[str]) -> None:
    """Refuse a name that is there twice, and a column other than the first without a name."""
    seen: dict[str, int] = {}
    for place, name in enumerate(names, start=1):
        if name in seen:
            raise BadInput(f"columns {seen[name]} and {place} are both called '{printable(name)}': rename one")
        if not name and place > 1:
            raise BadInput(f"column {place} has no name (does every line end in a delimiter?)")
        seen[name] = place


def kept_rows(
    matrix: npt.NDArray[np.float32],
    absent: npt.NDArray[np.bool_],
    missing: Missing,
    names: Sequence[str],
    refuse: Callable[[int, str], BadInput],
) -> npt.NDArray[np.bool_]:
    """Which rows have a label and all their values.

    Parameters
    ----------
    matrix
        float32, shape (n, d), NaN where a value is missing.
    absent
        Which rows have no label, shape (n,).
    missing
        Whether to refuse such rows.
    names
        Of the d columns.
    refuse
        Makes the error about a row.

    Returns
    -------
    ndarray
        bool, shape (n,).

    Raises
    ------
    BadInput
        A value is infinite, or is missing and must not be: what `refuse` makes of it.
    """
    finite = np.isfinite(matrix)
    keep: npt.NDArray[np.bool_] = finite.all(axis=1) & ~absent
    for row in np.flatnonzero(~keep).tolist():
        if missing == "error" and absent[row]:
            raise refuse(row, "has no label: fill it, or leave such rows out by missing='drop'")
        for column in np.flatnonzero(~finite[row]).tolist():
            name = printable(names[column])
            if not np.isnan(matrix[row, column]):
                raise refuse(row, f"the value in column '{name}' is infinite or beyond float32")
            if missing == "error":
                raise refuse(row, f"no value in column '{name}': fill it, or leave such rows out by missing='drop'")
    return keep


def provenance(made_by: str, names: Sequence[str], roles: Roles, dropped: int, file: Any = None) -> dict[str, Any]:
    """The record of how a table was read."""
    label = None if roles.label is None else names[roles.label]
    about = {"made_by": made_by, "label": label, "features": len(roles.features), "dropped": dropped}
    return about if file is None else {**about, "file": file}
