"""Embeddings as JSON, a list a column: ``{"label": [...], "kind": [...], "x": [...], "y": [...]}``."""

from __future__ import annotations

import json
import math
import os
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.checks import as_texts
from embedkit.embedding import Embedding
from embedkit.errors import BadFile, BadInput, printable
from embedkit.files.atomic import replacing
from embedkit.files.opening import opened
from embedkit.formats.collecting import about_file
from embedkit.formats.frame import dimension_names
from embedkit.formats.table_roles import own_width

MAGIC = b'{"label": ['
_MOST_LISTS = 100_000  # more than a file has columns; texts hold brackets too
_STRING, _NESTED = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL), re.compile(rb"[\[,]\s*+[\[{]")
_INFINITE = "1e999"  # which every reader of JSON takes for infinity, as JSON itself has none


def write_json(embedding: Embedding, path: str | os.PathLike[str]) -> None:
    """Write one object with a list a column: labels, columns, dimensions, in this order; a missing number is null.

    Numbers have the fewest digits that read back as the same bits; characters that JSON need not escape are UTF-8.
    """
    vectors = embedding.vectors.T
    with replacing(path) as stream:
        stream.write(b'{"label": ' + _text(list(embedding)))
        for name, values in embedding.columns.items():
            stream.write(b",\n" + _text(name) + b": " + _values(values))
        for name, numbers in zip(dimension_names(embedding.width), vectors, strict=True):
            stream.write(b",\n" + _text(name) + b": [" + ", ".join(numbers.astype(np.str_).tolist()).encode() + b"]")
        stream.write(b"}\n")


def _text(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _values(values: npt.NDArray[Any]) -> bytes:
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return _text(values.tolist())
    return ("[" + ", ".join(map(_number, values.tolist())) + "]").encode()


def _number(value: float) -> str:
    if math.isinf(value):
        return _INFINITE if value > 0 else f"-{_INFINITE}"
    return "null" if value != value else repr(value)


def read_json(path: str | os.PathLike[str], *, limit: int | None = None) -> Embedding:
    """Read what `write_json` wrote.

    Parameters
    ----------
    path
        The file.
    limit
        Only the first so many rows.

    Raises
    ------
    BadFile
        It is no such object, is cut, has a name twice or lists of different lengths, values of different kinds in one
        list, or dimensions that are not called x, y, z or d0, d1, ...
    """
    with opened(path) as stream:
        text = stream.read()
    # Lists of empty lists would take twenty times the memory of their text. Looked for only where there are many.
    if text.count(b"[") + text.count(b"{") > _MOST_LISTS and _NESTED.search(_STRING.sub(b'""', text)):
        raise BadFile(path, "is no JSON that can be read: a list or an object stands in a list")
    try:
        parsed = json.loads(text.decode("utf-8"), object_pairs_hook=_distinct, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BadFile(path, f"is no JSON that can be read: {str(error).partition(chr(10))[0]}") from None
    if not isinstance(parsed, dict) or next(iter(parsed), None) != "label":
        raise BadFile(path, "an object with a list a column was expected, 'label' first")
    for name, values in parsed.items():
        if not isinstance(values, list) or len(values) != len(parsed["label"]):
            raise BadFile(path, f"'{printable(name[:40])}' is no list of {len(parsed['label'])} values, as 'label' is")
    names = list(parsed)
    width = own_width(names)
    if not width:
        raise BadFile(path, "has no dimensions, which are called x, y, z or d0, d1, ... and come last")
    split = len(names) - width
    try:
        columns = {name: _column(name, parsed[name][:limit]) for name in names[1:]}
        matrix = np.empty((len(parsed["label"][:limit]), width), dtype=np.float32)
        with np.errstate(over="ignore"):  # refused by name below
            for place, name in enumerate(names[split:]):
                if columns[name].dtype.kind not in "iuf":
                    raise BadInput(f"'{name}' is a dimension and holds no numbers")
                matrix[:, place] = columns[name]
        if not all(isinstance(label, str) for label in parsed["label"]):
            raise BadInput("'label' holds something else than texts")
        made: dict[str, Any] = {"made_by": "read", "file": about_file(path, whole=limit is None), "format": "json"}
        if limit is not None:
            made["limit"] = int(limit)
        kept = {name: columns[name] for name in names[1:split]}
        return Embedding(parsed["label"][:limit], matrix, columns=kept, provenance=made)
    except BadFile:
        raise
    except BadInput as error:
        raise BadFile(path, str(error)) from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name is there twice")
    return made


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _column(name: str, values: list[Any]) -> npt.NDArray[Any]:
    kinds = {type(value) for value in values}
    if kinds <= {float, int, type(None)} and (kinds != {int} and kinds):
        try:
            return np.array([math.nan if value is None else float(value) for value in values])
        except OverflowError:
            raise BadInput(f"'{printable(name[:40])}' holds a number beyond 64 bits") from None
    if len(kinds) > 1 or not kinds <= {bool, int, str}:
        raise BadInput(f"'{printable(name[:40])}' holds values of different kinds")
    if kinds == {str}:
        return as_texts(name, values)
    made = np.array(values) if values else np.empty(0)
    if made.dtype.kind == "O":
        raise BadInput(f"'{printable(name[:40])}' holds a number beyond 64 bits")
    return made
