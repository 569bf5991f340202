"""Rows that keep their labels: what goes into a row embedder labelled comes out labelled."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from embedkit.embedding import Embedding


def relabel(rows: Any, values: Any, names: Sequence[str], provenance: Mapping[str, Any]) -> Any:
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

    Returns
    -------
    Embedding, DataFrame or array
        The same kind as `rows`; `values` as they are if `rows` had no labels.
    """
    if isinstance(rows, Embedding):
        return rows.with_vectors(values, provenance={**provenance, "from": rows.provenance})
    pandas = sys.modules.get("pandas")  # whoever has a DataFrame has imported it
    if pandas is not None and isinstance(rows, pandas.DataFrame):
        return pandas.DataFrame(values, index=rows.index, columns=list(names))
    return values
