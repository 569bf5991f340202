"""Tables of anything (CSV, TSV, Parquet, DataFrames) as rows with labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.errors import BadFile, BadInput, printable
from embedkit.files.opening import opened, packed
from embedkit.formats.collecting import about_file
from embedkit.formats.table_roles import Missing, check_missing, check_names, choose, kept_rows, provenance, settle
from embedkit.formats.text_tables import read_text_table

if TYPE_CHECKING:
    import pandas as pd

_BOMB_RATIO, _BOMB_BYTES = 200, 2**26  # as for packed text: a file that says it holds more is made to fill memory


def read_table(
    path: str | os.PathLike[str],
    *,
    label: str | None = None,
    columns: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    limit: int | None = None,
    missing: Missing = "error",
) -> Embedding:
    r"""Read a table: CSV, TSV (or with semicolons or bars), plain or packed by gzip, bzip2 or xz, or Parquet.

    What a file is, its delimiter, and whether it has a header are found out from its content. Text is UTF-8 (a
    byte-order mark is dropped), quoted as in RFC 4180; empty lines are skipped. The first line is a header unless it
    holds a number; whole numbers are names too where the line begins with nothing or with a name as below, as in
    ``,0,1,2``. Without a header columns are called column1, column2, ... A column is one of numbers if most of its
    first 1,000 values are, or if they are all missing. In a file that leaves numbers unquoted, what is quoted is text.
    Parquet files have types; checksums are compared where they have some.

    Parameters
    ----------
    path
        The file.
    label
        Name of the column that names the rows. By default the first column where it is called label, word, token, name,
        id, key, index or nothing, and is not named in `columns` or `features`; else the first column of text whose
        values are all there, distinct, and without line breaks; else rows are numbered from 0. Labels are taken as they
        are written: ``nan``, ``NA``, ``007``.
    columns
        Names of the columns to keep as such. By default all that are not label or features: those of text (a missing
        text is ``""``), and, where `features` are given, the other numbers too (a missing number is NaN).
    features
        Names of the columns whose numbers make the vectors, in this order. By default all columns of numbers that have
        a name and are not named otherwise. In a file as `Embedding.to_csv` writes it (label, columns, then x[, y[, z]]
        or d0, d1, ...) dimensions and columns are what they were; only a column of nothing but NaN comes back as text.
    limit
        Read only the first so many rows.
    missing
        What to do about a row without a value in a feature, or without a label: ``"error"`` refuses, ``"drop"`` leaves
        the row out; provenance says how many. In a column of numbers an empty field, nan, NA, N/A, null and None (in
        any capitals) are missing values.

    Returns
    -------
    Embedding
        n labels x d float32 features, with the columns: bool, int64 (or uint64), float64 or str. Numbered rows keep
        their number where others are dropped.

    Raises
    ------
    BadFile
        It cannot be read or is no table; a row has too many or too few fields, two columns have one name, a label is
        there twice, a value is missing, is not a number or beyond float32: each named by line and column.
    BadInput
        A column that was asked for does not exist or is given two roles, or `limit` is less than 0.

    Warns
    -----
    UserWarning
        The last line of a text has no line break: it may have been cut.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     _ = file.write("name,kind,weight,height\nrex,dog,30,60\ntom,cat,4,25\n")
    ...     file.flush()
    ...     emb = read_table(file.name)
    >>> emb.labels[0], emb["tom"].tolist(), emb.columns["kind"].tolist()
    ('rex', [4.0, 25.0], ['dog', 'cat'])
    """
    return read_table_named(path, label=label, columns=columns, features=features, limit=limit, missing=missing)[0]


def read_table_named(
    path: str | os.PathLike[str],
    *,
    label: str | None = None,
    columns: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    limit: int | None = None,
    missing: Missing = "error",
) -> tuple[Embedding, list[str]]:
    """As `read_table`; with it the names of the features."""
    if limit is not None and limit < 0:
        raise BadInput(f"limit is a number of rows of 0 or more, not {limit}")
    check_missing(missing)
    if packed(path):
        _unpack_ahead(path)
    with opened(path) as stream:
        try:
            if stream.peek(4)[:4] == b"PAR1":
                frame, about = _parquet_frame(path, limit), about_file(path, whole=limit is None)
                return _of_frame(frame, label, columns, features, missing, "read_table", about)
            return read_text_table(
                stream, path, label=label, columns=columns, features=features, limit=limit, missing=missing
            )
        except BadFile:
            raise
        except BadInput as error:
            raise BadFile(path, str(error)) from None


def _unpack_ahead(path: str | os.PathLike[str]) -> None:
    """Have what unpacks without end refused now, in half a second, and not after minutes of reading its numbers."""
    with opened(path) as stream:
        left = _BOMB_BYTES + 1
        while left > 0 and (part := stream.read(2**20)):
            left -= len(part)


def from_table(
    frame: pd.DataFrame,
    *,
    label: str | None = None,
    columns: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    missing: Missing = "error",
) -> Embedding:
    """A DataFrame, by the rules of `read_table`; where its index is not just numbers from 0, that is the label.

    Parameters
    ----------
    frame
        n rows. Names that are not strings are stringified. Columns of neither numbers nor booleans (dates,
        categories, anything) count as text, and are kept as their text; booleans are kept, not used as features.
    label, columns, features, missing
        As for `read_table`; the index has its own name, or none.

    Returns
    -------
    Embedding
        n labels x d float32 features.

    Raises
    ------
    BadInput
        As `read_table` does, naming row and column.
    """
    return _of_frame(frame, label, columns, features, missing, "from_table", None)[0]


def _of_frame(
    frame: pd.DataFrame,
    label: str | None,
    columns: Sequence[str] | None,
    features: Sequence[str] | None,
    missing: Missing,
    made_by: str,
    file: dict[str, Any] | None,
) -> tuple[Embedding, list[str]]:
    import pandas as pd

    check_missing(missing)
    if isinstance(frame.index, pd.MultiIndex) or isinstance(frame.columns, pd.MultiIndex):
        raise BadInput("the table's index or header has several levels: join them into one first")
    indexed = not (isinstance(frame.index, pd.RangeIndex) and frame.index.name is None)
    names = [str(name) for name in frame.columns]
    parts: list[pd.Series[Any]] = [frame.iloc[:, j] for j in range(len(names))]
    if indexed:
        names.insert(0, "" if frame.index.name is None else str(frame.index.name))
        parts.insert(0, frame.index.to_series())
    check_names(names)
    numeric = [_is_real(part) for part in parts]
    roles = choose(names, numeric, label=label, columns=columns, features=features, first_is_label=indexed)
    if not len(frame):
        raise BadInput("the table has no rows")
    kept = {j: _values(parts[j]) for j in {*roles.columns, *roles.candidates}}
    roles = settle(roles, {j: kept[j].tolist() for j in roles.candidates})
    matrix = np.empty((len(frame), len(roles.features)), dtype=np.float32)
    with np.errstate(over="ignore"):  # what overflows is refused by name below
        for place, j in enumerate(roles.features):
            if not (numeric[j] or pd.api.types.is_bool_dtype(parts[j].dtype)):
                raise BadInput(f"column '{printable(names[j])}' is not numeric ({parts[j].dtype}): no feature")
            matrix[:, place] = parts[j].to_numpy(dtype=np.float64, na_value=np.nan)
    labels = list[Any](range(len(frame))) if roles.label is None else parts[roles.label].tolist()
    absent = np.zeros(len(frame), np.bool_) if roles.label is None else parts[roles.label].isna().to_numpy()

    def refuse(row: int, reason: str) -> BadInput:
        shown = "" if roles.label is None else f" ('{printable(str(labels[row])[:40])}')"
        return BadInput(f"row {row}{shown}: {reason}")

    keep = kept_rows(matrix, absent, missing, [names[j] for j in roles.features], refuse)
    made = Embedding(
        [labels[row] for row in np.flatnonzero(keep).tolist()],
        matrix if keep.all() else matrix[keep],
        columns={names[j]: kept[j][keep] for j in roles.columns},
        provenance=provenance(made_by, names, roles, int((~keep).sum()), file),
    )
    return made, [names[j] for j in roles.features]


def _is_real(values: pd.Series[Any]) -> bool:
    import pandas as pd

    types = pd.api.types
    return types.is_numeric_dtype(values.dtype) and not (
        types.is_bool_dtype(values.dtype) or types.is_complex_dtype(values.dtype)
    )


def _values(series: pd.Series[Any]) -> npt.NDArray[Any]:
    """A column as numbers, booleans or texts; a missing number is NaN, a missing text empty."""
    import pandas as pd

    holes = series.isna().to_numpy()
    if _is_real(series) or (pd.api.types.is_bool_dtype(series.dtype) and not holes.any()):
        return series.to_numpy(dtype=np.float64, na_value=np.nan) if holes.any() else series.to_numpy()
    values = zip(series.tolist(), holes.tolist(), strict=True)
    return np.array(["" if hole else str(value) for value, hole in values], dtype=object)


def _parquet_frame(path: str | os.PathLike[str], limit: int | None) -> pd.DataFrame:
    """The first rows of a Parquet file, after a look at how many it says there are."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise BadFile(path, "to read Parquet install pyarrow: pip install 'embedkit[parquet]'") from None
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            about = file.metadata
            rows = about.num_rows if limit is None else min(limit, about.num_rows)
            size = 4 * rows * about.num_columns
            if size > _BOMB_BYTES and size > _BOMB_RATIO * Path(path).stat().st_size:
                reason = f"says it holds {rows:,} rows of {about.num_columns}, {_BOMB_RATIO} times its size: use limit"
                raise BadFile(path, reason)
            batches, left = list[Any](), rows
            for batch in file.iter_batches(batch_size=min(2**16, max(rows, 1))):
                batches.append(batch.slice(0, left))
                left -= len(batches[-1])
                if left <= 0:
                    break
            table = pa.Table.from_batches(batches, schema=file.schema_arrow)
            table.validate(full=True)  # that texts are UTF-8 would else be found out one by one, later
            frame: pd.DataFrame = table.to_pandas()
            return frame
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, SystemError) as error:
        if isinstance(error, BadFile):
            raise
        raise BadFile(path, f"is damaged or no Parquet file: {str(error).partition(chr(10))[0]}") from None
