"""Rows that keep their labels: what goes into a row embedder labelled comes out labelled."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.errors import BadInput, printable


def check_kind(rows: Any) -> None:
    """Refuse dates and times, which numpy and scikit-learn turn into numbers of days or nanoseconds unasked.

    And pictures, which are no rows yet.
    """
    images = sys.modules.get("embedkit.images")  # whoever has some has imported it
    if images is not None and isinstance(rows, images.Images):
        raise BadInput("rows of numbers were expected, not Images: their to_embedding() makes such rows")
    found: Any = getattr(rows, "dtypes", getattr(rows, "dtype", None))
    for dtype in found if hasattr(found, "__iter__") else [found]:
        if getattr(dtype, "kind", None) in ("m", "M"):
            raise BadInput(f"rows hold {dtype}, numbers were expected")


def check_finite_rows(values: npt.NDArray[np.float64], rows: Any, most: float = np.inf) -> None:
    """Refuse NaN and infinities in `values`, (n, d), naming the first by row (and its label in `rows`) and column.

    And what is larger than `most`, whatever its sign, where larger numbers could not be squared and added.
    """
    bad = np.argwhere(~np.isfinite(values) if np.isinf(most) else ~(np.abs(values) <= most))
    if len(bad):
        row, column = (int(i) for i in bad[0])
        label = f" ('{printable(rows.labels[row])}')" if isinstance(rows, Embedding) else ""
        value = values[row, column]
        if np.isfinite(value):
            raise BadInput(f"row {row}{label}, column {column} is {value:g}, beyond {most:g}: scale the rows first")
        what = "NaN" if np.isnan(value) else "infinity"
        raise BadInput(f"row {row}{label}, column {column} is {what}: fill or drop it first")


def relabel(
    rows: Any, values: Any, names: Sequence[str], provenance: Mapping[str, Any], wanted: str = "default"
) -> Any:
    """`values` with the labels that `rows` came with.

    Parameters
    ----------
    rows
        What went in: an Embedding, a DataFrame, or anything else.
    values
        What came of it: an array of shape (n, d).
    names
        Names of the d dimensions, for a DataFrame.
    provenance
        What made it, for an Embedding, which keeps its columns; the provenance of `rows` is added as ``from``.
    wanted
        What scikit-learn's `set_output` asks for. ``"default"`` keeps the kind of `rows`; for ``"pandas"`` an Embedding
        gives a DataFrame with its labels in the index; scikit-learn sees to the rest.

    Returns
    -------
    Embedding, DataFrame or array
        The same kind as `rows`; `values` as they are if `rows` had no labels.
    """
    if isinstance(rows, Embedding) and wanted == "pandas":
        import pandas as pd

        return pd.DataFrame(values, index=pd.Index(list(rows), name="label"), columns=list(names))
    if wanted != "default":
        return values
    if isinstance(rows, Embedding):
        return rows.with_vectors(values, provenance={**provenance, "from": rows.provenance})
    pandas = sys.modules.get("pandas")  # whoever has a DataFrame has imported it
    if pandas is not None and isinstance(rows, pandas.DataFrame):
        return pandas.DataFrame(values, index=rows.index, columns=list(names))
    return values
