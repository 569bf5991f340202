"""Embeddings as pandas DataFrames and CSV tables."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from embedkit.embedding import Embedding
from embedkit.errors import BadInput, printable
from embedkit.files.atomic import replacing

if TYPE_CHECKING:
    import pandas as pd

_MAP_AXES = ("x", "y", "z")


def dimension_names(width: int) -> list[str]:
    """Names of the dimensions in tables: x, y, z for maps (up to three), else d0, d1, ...

    Examples
    --------
    >>> dimension_names(2), dimension_names(4)
    (['x', 'y'], ['d0', 'd1', 'd2', 'd3'])
    """
    return list(_MAP_AXES[:width]) if width <= len(_MAP_AXES) else [f"d{j}" for j in range(width)]


def to_frame(embedding: Embedding) -> pd.DataFrame:
    """A DataFrame with the labels in the index (named ``label``), then the columns, then the dimensions.

    Parameters
    ----------
    embedding
        n labels x d dimensions.

    Returns
    -------
    pandas.DataFrame
        n rows; dimensions are named by `dimension_names`.

    Raises
    ------
    BadInput
        A column has the name of a dimension.
    """
    import pandas as pd

    names = _free_names(embedding)
    index = pd.Index(list(embedding), name="label", dtype=object)
    frame = pd.DataFrame(dict(embedding.columns), index=index)
    return pd.concat([frame, pd.DataFrame(embedding.vectors, index=index, columns=names)], axis=1)


def named_frame(embedding: Embedding, names: Sequence[str]) -> pd.DataFrame:
    """A DataFrame of the dimensions only, float32, which are called `names`, with the labels in the index."""
    import pandas as pd

    index = pd.Index(list(embedding), name="label", dtype=object)
    return pd.DataFrame(embedding.vectors, index=index, columns=list(names))


def _free_names(embedding: Embedding) -> list[str]:
    """Names of the dimensions, which no column may have."""
    names = dimension_names(embedding.width)
    clash = set(names) & set(embedding.columns)
    if clash:
        raise BadInput(f"column '{printable(min(clash))}' has the name of a dimension: rename it")
    return names


def check_names(embedding: Embedding) -> None:
    """Refuse a column that is called as a dimension is, or ``label``: a table has each name once."""
    _free_names(embedding)
    if "label" in embedding.columns:
        raise BadInput("column 'label' has the name of the labels, and a table has each name once: rename it")


def from_frame(frame: pd.DataFrame, *, columns: Sequence[str] = ()) -> Embedding:
    """The reverse: index as labels, `columns` kept as columns, all others as dimensions.

    Parameters
    ----------
    frame
        n rows; its index holds distinct labels (numbers are stringified).
    columns
        Names of the columns that describe rows and are not dimensions.

    Raises
    ------
    BadInput
        A named column does not exist, a dimension is not numeric, or a value is missing (named by row and column).
    """
    import pandas as pd

    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise BadInput(f"no column '{printable(str(missing[0]))}' in the table; it has: {list(frame.columns)}")
    if isinstance(frame.index, pd.MultiIndex):
        raise BadInput("the table's index has several levels: join them into one label first")
    if frame.index.hasnans:
        raise BadInput(f"row {int(np.flatnonzero(frame.index.isna())[0])} has no label")
    dimensions = frame.drop(columns=list(columns))
    for name, dtype in dimensions.dtypes.items():
        real = pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype)
        if not (real or pd.api.types.is_bool_dtype(dtype)):
            raise BadInput(f"column '{printable(str(name))}' is not numeric ({dtype}): name it in `columns`")
    holes = np.argwhere(dimensions.isna().to_numpy())
    if len(holes):
        row, column = (int(i) for i in holes[0])
        label, name = printable(str(frame.index[row])), printable(str(dimensions.columns[column]))
        raise BadInput(f"no value at row {row} ('{label}'), column '{name}': fill or drop it first")
    return Embedding(
        list(frame.index),
        dimensions.to_numpy(dtype=np.float64),
        columns={name: frame[name].to_numpy() for name in columns},
        provenance={"made_by": "from_frame"},
    )


def write_csv(embedding: Embedding, path: str | os.PathLike[str] | BinaryIO, *, safe_text: bool = False) -> None:
    """Write ``label, columns, dimensions`` as CSV (UTF-8, strings quoted), all or nothing.

    Numbers are written so that reading them as float32 gives the same bits. To read words such as ``nan`` or ``null``
    back with pandas, pass ``keep_default_na=False``.

    Parameters
    ----------
    embedding
        What to write.
    path
        The file, or a binary stream that is open for writing.
    safe_text
        Put an apostrophe before text that a spreadsheet would take for a formula; see
        `embedkit.formats.table_rows.write_table`.

    Raises
    ------
    BadFile
        The file cannot be written.
    BadInput
        A column is called as a dimension is, or ``label``.
    """
    from embedkit.formats.table_rows import write_table

    check_names(embedding)
    with replacing(path) if isinstance(path, str | os.PathLike) else contextlib.nullcontext(path) as stream:
        write_table(stream, embedding, ",", safe_text=safe_text)
