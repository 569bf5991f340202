"""Checks of what an Embedding is made of; each gives what it checked back in its plain form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput, printable
from embedkit.labels import Labels

_CHUNK = 1024  # rows worked on at a time: about a megabyte, so that the work stays in the cache
_MOST_OF_NOTHING = 2**20  # dimensions of no rows at all: a few bytes can claim any number of them
# numpy pads each text to the longest: one long one among many would take all memory.
_WIDE, _WIDER = 2**26, 100  # bytes, and times the characters


def chunks(n: int) -> Iterator[slice]:
    """The rows 0 to n - 1, some at a time."""
    return (slice(start, min(start + _CHUNK, n)) for start in range(0, n, _CHUNK))


def as_matrix(vectors: npt.ArrayLike) -> npt.NDArray[Any]:
    """`vectors` as a C-ordered 2-D matrix of float16 or float32."""
    try:
        array = np.asarray(vectors)
    except ValueError:
        raise BadInput("vectors must be a matrix: rows of different lengths were given") from None
    if array.ndim != 2:
        raise BadInput(f"vectors must be a matrix of shape (n, d), not an array of shape {array.shape}")
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer) or array.dtype == bool):
        raise BadInput(f"vectors must be real numbers, not {array.dtype}")
    if array.shape[1] == 0:
        raise BadInput("vectors must have at least one dimension")
    check_nothing(*array.shape)
    kept = np.float16 if array.dtype == np.float16 else np.float32
    with np.errstate(over="ignore"):  # what overflows to infinity is refused by name right after
        return np.ascontiguousarray(array, dtype=kept)


def check_nothing(n: int, width: int) -> None:
    """Refuse no rows of millions of dimensions, which no memory holds back and every name of a dimension would fill."""
    if not n and width > _MOST_OF_NOTHING:
        raise BadInput(f"no rows of {width:,} dimensions: without rows there are at most {_MOST_OF_NOTHING:,}")


def check_finite(matrix: npt.NDArray[Any], labels: Labels, reason: str = "not a finite float32 number") -> None:
    """Refuse NaN and infinities, naming the first by row, label and column."""
    for rows in chunks(len(matrix)):
        finite = np.isfinite(matrix[rows])
        if not finite.all():
            row, column = (int(i) for i in np.argwhere(~finite)[0])
            row += rows.start
            raise BadInput(
                f"row {row} ('{printable(labels[row])}'), column {column} is {reason}: {matrix[row, column]}"
            )


def as_columns(columns: Mapping[str, npt.ArrayLike], n: int) -> dict[str, npt.NDArray[Any]]:
    """Columns as arrays of numbers, booleans or strings, each of shape (n,)."""
    checked = {}
    for name, values in columns.items():
        if not isinstance(name, str) or not name or not _is_text(name) or any(c in name for c in "\n\r"):
            raise BadInput(f"a column's name is a non-empty string without NUL or line breaks, not {name!r}")
        array = _column(name, values)
        if array.shape != (n,):
            raise BadInput(f"column '{name}' has shape {array.shape}, expected ({n},): one value a row")
        checked[name] = array
    return checked


def _column(name: str, values: npt.ArrayLike) -> npt.NDArray[Any]:
    """A copy of `values` as numbers, booleans or strings that a file can hold."""
    given = values.tolist() if isinstance(values, np.ndarray) and values.dtype == object else values
    if isinstance(given, list | tuple) and given and all(isinstance(item, str) for item in given):
        return _texts(name, given)
    try:
        array = np.array(values)
    except ValueError:
        raise BadInput(f"column '{name}' must hold one value a row, not lists of different lengths") from None
    if array.dtype.kind in "biuf" and array.dtype.itemsize <= 8:
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    # Looked at one by one, since numpy makes text of [nan, "b"] and drops NULs at the end of text.
    items = np.array(values, dtype=object).tolist()
    if array.ndim != 1 or not all(isinstance(item, str) for item in items):
        raise BadInput(f"column '{name}' must hold numbers, booleans or strings, not {array.dtype}")
    return _texts(name, items)


def _texts(name: str, items: Sequence[str]) -> npt.NDArray[np.str_]:
    if not all(map(_is_text, items)):
        raise BadInput(f"column '{name}' holds a NUL character or text that is not valid Unicode")
    return as_texts(name, items)


def as_texts(name: str, items: Sequence[str]) -> npt.NDArray[np.str_]:
    """Texts as an array of shape (n,); refuses those of column `name` that such an array would blow up."""
    longest = max(map(len, items), default=0)
    size = 4 * longest * len(items)
    if size > _WIDE and size > _WIDER * sum(map(len, items)):
        raise BadInput(f"column '{printable(name)}' would take {size:,} bytes, as its longest text has {longest:,} "
                       "characters, and numpy pads all to it: shorten it, or leave the column out")  # fmt: skip
    return np.array(items, dtype=np.str_)


def _is_text(text: str) -> bool:
    try:
        return b"\0" not in text.encode("utf-8")
    except UnicodeEncodeError:
        return False


def as_json(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `provenance` that holds nothing but what JSON can."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(provenance), allow_nan=False, default=_of_numpy))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"provenance must be plain JSON: {error}") from None
    return plain


def _of_numpy(value: Any) -> Any:
    """Numbers of numpy as Python's: parameters often are such."""
    if isinstance(value, np.bool_ | np.integer | np.floating):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not plain")
