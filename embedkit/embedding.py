"""The one value that flows through embedkit: distinct labels x a float32 matrix, and what is known of each row."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import numpy as np
import numpy.typing as npt

from embedkit.checks import as_columns, as_json, as_matrix, check_finite, chunks
from embedkit.errors import BadInput, printable
from embedkit.labels import IntArray, Labels

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from embedkit.search import Neighbours

FloatArray = npt.NDArray[np.float32]
Storage = Literal["float32", "float16", "int8"]
_Default = TypeVar("_Default")
_MAX = np.finfo(np.float32).max


class Embedding:
    """Labelled vectors: n distinct labels, an (n, d) float32 matrix, columns of n values, and a provenance record.

    An Embedding is a value: nothing changes it, and operations give a new one. Arithmetic on vectors is plain numpy.

    Parameters
    ----------
    labels
        n distinct labels (others than strings are stringified); `None` numbers the rows.
    vectors
        Array of shape (n, d), finite. It is used as it is where it already is float32, so do not write to it
        afterwards. float16 stays float16 in memory and is decoded when read.
    columns
        What is known of each row (``{"count": [...], "class": [...]}``): each n numbers, booleans or strings.
    provenance
        What made this, from what, with which parameters: a dictionary that JSON can hold.

    Raises
    ------
    BadInput
        Wrong shapes, a value that is not finite (named by row and column), a repeated or missing label.

    Examples
    --------
    >>> emb = Embedding(["king", "queen"], [[3.0, 4.0], [0.0, 2.0]], columns={"count": [7, 5]})
    >>> emb["king"]
    array([3., 4.], dtype=float32)
    >>> len(emb), emb.width, "queen" in emb, emb.columns["count"].tolist()
    (2, 2, True, [7, 5])
    >>> emb.unit[["king"]]
    array([[0.6, 0.8]], dtype=float32)
    """

    _stored: npt.NDArray[Any]
    _scales: FloatArray | None
    _norms: npt.NDArray[np.float64] | None
    _labels: Labels
    _columns: dict[str, npt.NDArray[Any]]
    _provenance: dict[str, Any]
    _decoded_all: FloatArray | None
    _unit: Embedding | None

    def __init__(
        self,
        labels: Iterable[object] | None,
        vectors: npt.ArrayLike,
        *,
        columns: Mapping[str, npt.ArrayLike] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        stored = as_matrix(vectors)
        packed = labels if isinstance(labels, Labels) else Labels(range(len(stored)) if labels is None else labels)
        if len(packed) != len(stored):
            raise BadInput(f"{len(packed)} labels for {len(stored)} vectors: there must be one each")
        check_finite(stored, packed)
        self._set(stored, packed, columns=as_columns(columns or {}, len(packed)), provenance=as_json(provenance or {}))

    def _set(
        self,
        stored: npt.NDArray[Any],
        labels: Labels,
        *,
        columns: Mapping[str, npt.NDArray[Any]],
        provenance: Mapping[str, Any],
        scales: FloatArray | None = None,
        norms: npt.NDArray[np.float64] | None = None,
    ) -> Embedding:
        self._stored = _locked(stored)
        self._scales = None if scales is None else _locked(scales)
        self._norms = None if norms is None else _locked(norms)
        self._labels = labels
        self._columns = {name: _locked(values) for name, values in columns.items()}
        self._provenance = dict(provenance)
        self._decoded_all = self._stored if self._stored.dtype == np.float32 else None
        self._unit = None
        return self

    def __getstate__(self) -> dict[str, Any]:
        """What copies and other processes need, without what can be made again."""
        parts = ("stored", "labels", "columns", "provenance", "scales", "norms")
        return {name: getattr(self, f"_{name}") for name in parts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._set(**state)

    def __deepcopy__(self, _memo: object) -> Embedding:
        """Itself: nothing can change it, and copying it for each of many settings would fill the memory."""
        return self

    @classmethod
    def from_stored(
        cls,
        labels: Labels,
        stored: npt.NDArray[Any],
        *,
        scales: FloatArray | None = None,
        norms: npt.NDArray[np.float64] | None = None,
        columns: Mapping[str, npt.NDArray[Any]] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Embedding:
        """Build from checked parts as they lie in a file, without reading them; for readers of files.

        Parameters
        ----------
        labels
            n labels.
        stored
            (n, d) matrix of float32, float16, or int8.
        scales
            (n,) float32, for int8 only: a row's vector is ``scales[row] * stored[row]``.
        norms
            (n,) float64 Euclidean lengths of the decoded rows, where known.
        columns, provenance
            As for the class.
        """
        self = cls.__new__(cls)
        return self._set(stored, labels, columns=columns or {}, provenance=provenance or {}, scales=scales, norms=norms)

    # -- what it holds -------------------------------------------------------------------------------------------

    @property
    def labels(self) -> Labels:
        """The n labels, in row order."""
        return self._labels

    @property
    def columns(self) -> Mapping[str, npt.NDArray[Any]]:
        """What is known of each row: name to array of shape (n,), read-only."""
        return MappingProxyType(self._columns)

    @property
    def provenance(self) -> dict[str, Any]:
        """What made this, from what, with which parameters, and what was done since (``then``); a copy."""
        return deepcopy(self._provenance)

    @property
    def width(self) -> int:
        """Number of dimensions d of a vector."""
        return int(self._stored.shape[1])

    @property
    def storage(self) -> Storage:
        """How the matrix is kept: ``"float32"``, ``"float16"`` or ``"int8"`` (with a scale a row)."""
        name = self._stored.dtype.name
        return "float16" if name == "float16" else "int8" if name == "int8" else "float32"

    @property
    def vectors(self) -> FloatArray:
        """The (n, d) float32 matrix, read-only; decoded once if it is stored smaller."""
        if self._decoded_all is None:
            out = np.empty(self._stored.shape, dtype=np.float32)
            for rows in chunks(len(out)):
                out[rows] = self._decoded(rows)
            self._decoded_all = _locked(out)
        return self._decoded_all

    @property
    def norms(self) -> npt.NDArray[np.float64]:
        """Euclidean length of each row, float64, shape (n,)."""
        if self._norms is None:
            norms = np.empty(len(self), dtype=np.float64)
            for rows in chunks(len(self)):
                wide = self._decoded(rows).astype(np.float64)
                norms[rows] = np.sqrt(np.einsum("ij,ij->i", wide, wide))
            self._norms = _locked(norms)
        return self._norms

    @property
    def unit(self) -> Embedding:
        """The same rows at length 1 (cosine is then a dot product); rows of zeros stay zero. Made once and kept."""
        if self._unit is None:
            self._unit = Embedding.from_stored(
                self._labels, self._unit_rows(), columns=self._columns, provenance=self._then("unit")
            )
        return self._unit

    def _unit_rows(self) -> FloatArray:
        out = np.empty(self._stored.shape, dtype=np.float32)
        norms = self.norms
        # Outside this range a float32 division would overflow or lose digits: those rows go through float64.
        plain = (norms > 1e-30) & (norms < 1e30)
        inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=plain).astype(np.float32)
        for rows in chunks(len(out)):  # in place, while it is in the cache
            out[rows] = self._stored[rows]
            if self._scales is not None:
                out[rows] *= self._scales[rows, None]
            out[rows] *= inverse[rows, None]
        for row in np.flatnonzero(~plain & (norms > 0)):
            out[row] = self._decoded(slice(row, row + 1))[0].astype(np.float64) / norms[row]
        return out

    def _then(self, verb: str, **parameters: Any) -> dict[str, Any]:
        """The provenance after one more step. Steps are listed side by side: nested, they would grow without end."""
        steps = self._provenance.get("then", [])
        if not isinstance(steps, list):  # somebody's own use of the word
            return {"from": self._provenance, "then": [{"verb": verb, **parameters}]}
        return {**self._provenance, "then": [*steps, {"verb": verb, **parameters}]}

    def _decoded(self, rows: slice | IntArray) -> FloatArray:
        """Vectors of `rows` as float32."""
        part: FloatArray = self._stored[rows].astype(np.float32, copy=False)
        return part if self._scales is None else part * self._scales[rows][:, None]

    # -- a mapping from labels to vectors ------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._labels)

    def __iter__(self) -> Iterator[str]:
        return iter(self._labels)

    def __contains__(self, label: object) -> bool:
        return label in self._labels

    @overload
    def __getitem__(self, labels: str) -> FloatArray: ...
    @overload
    def __getitem__(self, labels: Sequence[str]) -> FloatArray: ...
    def __getitem__(self, labels: str | Sequence[str]) -> FloatArray:
        """Vector of one label, shape (d,), or of several, shape (m, d).

        Raises
        ------
        UnknownWord
            Naming every label that is not there, with near spellings.
        """
        if isinstance(labels, int | np.integer | slice):
            raise BadInput("vectors are had by label; by number take rows first, as in emb.take([0, 1])")
        if isinstance(labels, str):
            vector: FloatArray = self._decoded(self.rows([labels]))[0]
            return vector
        return self._decoded(self.rows(labels))

    def get(self, label: str, default: _Default | None = None) -> FloatArray | _Default | None:
        """Vector of `label`, shape (d,), or `default` where it is unknown."""
        row = self._labels.find(label)
        return default if row < 0 else self._decoded(slice(row, row + 1))[0]

    def rows(
        self, labels: Iterable[str], *, ignore_case: bool = False, missing: Literal["error", "mark"] = "error"
    ) -> IntArray:
        """Row number of each label, shape (m,).

        Parameters
        ----------
        labels
            Labels to find.
        ignore_case
            Take a label written in other capitals where the exact one is unknown (the first such row).
        missing
            What to do about unknown labels: ``"error"`` raises, ``"mark"`` gives them row -1.

        Raises
        ------
        UnknownWord
            Naming every label that is not there, with near spellings (``missing="error"``).
        """
        if missing not in ("error", "mark"):
            raise BadInput(f"missing is 'error' or 'mark', not '{missing}'")
        wanted = labels if isinstance(labels, str) else list(labels)
        found = self._labels.rows(wanted, ignore_case=ignore_case)
        if missing == "error" and (found < 0).any():
            raise self._labels.unknown(wanted[i] for i in np.flatnonzero(found < 0))
        return found

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self.vectors, dtype=dtype, copy=copy)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return len(self), self.width

    def __eq__(self, other: object) -> bool:
        """Same labels in the same order, same vectors and columns; provenance is not compared."""
        if not isinstance(other, Embedding):
            return NotImplemented
        return (
            self.shape == other.shape
            and self._labels == other._labels
            and bool(np.array_equal(self.vectors, other.vectors))
            and list(self._columns) == list(other._columns)
            and all(_same(values, other._columns[name]) for name, values in self._columns.items())
        )

    __hash__ = None  # type: ignore[assignment]  # compared by content, as arrays are

    # -- new Embeddings from this one ----------------------------------------------------------------------------

    def take(self, rows: npt.ArrayLike) -> Embedding:
        """The given rows, in that order.

        Parameters
        ----------
        rows
            Integers, shape (m,), each at most once; negative ones count from the end. A boolean mask of shape (n,)
            does as well.

        Raises
        ------
        BadInput
            A row that does not exist or is given twice.
        """
        wanted = np.asarray(rows)
        if wanted.dtype == np.bool_:
            if wanted.shape != (len(self),):
                raise BadInput(f"a mask has one entry a row: expected shape ({len(self)},), got {wanted.shape}")
            wanted = np.flatnonzero(wanted)
        if wanted.ndim != 1 or (wanted.size and not np.issubdtype(wanted.dtype, np.integer)):
            raise BadInput(f"rows are a list of integers, not {wanted.dtype} of shape {wanted.shape}")
        outside = wanted[(wanted < -len(self)) | (wanted >= len(self))]
        if len(outside):
            raise BadInput(f"row {outside[0]} does not exist: there are {len(self)} rows")
        wanted = wanted.astype(np.int64)
        return self._rows_as(wanted, self._labels.take(wanted), self._then("take", rows=len(wanted)))

    def head(self, n: int) -> Embedding:
        """The first `n` rows (the most frequent words, where rows are sorted by frequency), all if there are fewer.

        Raises
        ------
        BadInput
            `n` is less than 0.
        """
        if n < 0:
            raise BadInput(f"head takes a number of rows of 0 or more, not {n}")
        if n >= len(self):
            return self
        return self._rows_as(slice(0, n), self._labels[:n], self._then("head", n=int(n)))

    def filter(self, keep: Callable[[str], bool]) -> Embedding:
        """The rows whose label `keep` says yes to."""
        return self.take(np.fromiter(map(keep, self._labels), dtype=np.bool_, count=len(self)))

    def _rows_as(self, rows: slice | IntArray, labels: Labels, provenance: dict[str, Any]) -> Embedding:
        return Embedding.from_stored(
            labels,
            self._stored[rows],
            scales=None if self._scales is None else self._scales[rows],
            norms=None if self._norms is None else self._norms[rows],
            columns={name: values[rows] for name, values in self._columns.items()},
            provenance=provenance,
        )

    def concat(self, *others: Embedding) -> Embedding:
        """These rows, then those of `others`.

        Raises
        ------
        BadInput
            Widths or column names differ, or a label is in two of them.
        """
        parts = (self, *others)
        for other in others:
            if other.width != self.width:
                raise BadInput(f"cannot put {other.width}-d vectors under {self.width}-d ones")
            if set(other._columns) != set(self._columns):
                raise BadInput(f"columns differ: {sorted(self._columns)} and {sorted(other._columns)}")
            for name, values in self._columns.items():
                if (values.dtype.kind == "U") != (other._columns[name].dtype.kind == "U"):
                    raise BadInput(f"column '{name}' holds text in one and numbers in the other")
        return Embedding(
            [label for part in parts for label in part],
            np.concatenate([part.vectors for part in parts]),
            columns={name: np.concatenate([part._columns[name] for part in parts]) for name in self._columns},
            provenance={"made_by": "concat", "from": [part._provenance for part in parts]},
        )

    def with_vectors(self, vectors: npt.ArrayLike, *, provenance: Mapping[str, Any] | None = None) -> Embedding:
        """The same labels and columns with other vectors, shape (n, any width).

        Parameters
        ----------
        vectors
            A row for each label.
        provenance
            What is known of their making; by default that of these rows, and this step.

        Raises
        ------
        BadInput
            They are not n rows of finite numbers.
        """
        made = provenance if provenance is not None else self._then("with_vectors")
        return Embedding(self._labels, vectors, columns=self._columns, provenance=made)

    def with_storage(self, storage: Storage) -> Embedding:
        """The same rows kept as ``"float32"``, ``"float16"`` (2 bytes a value) or ``"int8"`` (1 byte, a scale a row).

        int8 rounds each row to 255 steps between minus and plus its largest value; float16 to 11 bits.

        Raises
        ------
        BadInput
            A value is too large for float16, or there is no such storage.
        """
        if storage == self.storage:
            return self
        scales: FloatArray | None = None
        if storage == "float16":
            with np.errstate(over="ignore"):
                stored: npt.NDArray[Any] = self.vectors.astype(np.float16)
            check_finite(stored, self._labels, "too large for float16")
        elif storage == "int8":
            largest = np.abs(self.vectors).max(axis=1, initial=0.0)
            # Towards zero for the very largest, which would otherwise decode to infinity.
            scales = np.minimum(largest / np.float32(127), np.nextafter(_MAX / np.float32(127), np.float32(0)))
            # A row of zeros, or of numbers so small that the scale underflows, is stored as zeros.
            steps = np.divide(self.vectors, scales[:, None], out=np.zeros_like(self.vectors), where=scales[:, None] > 0)
            stored = np.clip(np.rint(steps), -127, 127).astype(np.int8)
        elif storage == "float32":
            stored = self.vectors
        else:
            raise BadInput(f"storage is float32, float16 or int8, not '{storage}'")
        made = self._then("with_storage", storage=storage)
        return Embedding.from_stored(self._labels, stored, scales=scales, columns=self._columns, provenance=made)

    # -- doors to other rooms ------------------------------------------------------------------------------------

    def similar(self, labels: str | Sequence[str], k: int = 10) -> Neighbours:
        """The `k` labels nearest to each of `labels` by cosine, without it; see `embedkit.Search.similar`.

        Raises
        ------
        UnknownWord
            Naming every label that is not there.
        BadInput
            `k` is less than 1.
        """
        from embedkit.search import Search

        return Search(self).similar([labels] if isinstance(labels, str) else labels, k)

    def analogy(self, a: str, b: str, c: str, k: int = 10) -> Neighbours:
        """The `k` labels nearest to a - b + c by cosine, without these three; see `embedkit.Search.analogies`.

        Raises
        ------
        UnknownWord
            Naming every label that is not there.
        BadInput
            `k` is less than 1.
        """
        from embedkit.search import Search

        return Search(self).analogies([(a, b, c)], k)

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame: labels in the index, then columns, then dimensions; see `embedkit.formats.frame`."""
        from embedkit.formats.frame import to_frame

        return to_frame(self)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, *, columns: Sequence[str] = ()) -> Embedding:
        """From a DataFrame `frame`: index as labels, `columns` kept as such, all others as dimensions."""
        from embedkit.formats.frame import from_frame

        return from_frame(frame, columns=columns)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write label, columns and dimensions as CSV, all or nothing; see `embedkit.formats.frame.write_csv`."""
        from embedkit.formats.frame import write_csv

        write_csv(self, path)

    def plot(self, **how: Any) -> Any:
        """A matplotlib figure of a map of 2 or 3 dimensions; see `embedkit.plots.scatter_map` for what can be asked."""
        from embedkit.plots import scatter_map

        return scatter_map(self, **how)

    def to_gensim(self) -> Any:
        """A gensim `KeyedVectors` with the same keys, vectors and columns."""
        from embedkit.formats.keyed_vectors import to_gensim

        return to_gensim(self)

    @classmethod
    def from_gensim(cls, vectors: Any) -> Embedding:
        """From a gensim `KeyedVectors` (for a model, its ``.wv``).

        Raises
        ------
        BadInput
            `vectors` is something else.
        """
        from embedkit.formats.keyed_vectors import from_gensim

        return from_gensim(vectors)

    def to_torch(self, *, freeze: bool = True) -> torch.nn.Embedding:
        """A `torch.nn.Embedding` on the CPU whose row i, a copy, is label i; trained only if not `freeze`."""
        from embedkit.formats.torch_module import to_torch

        return to_torch(self, freeze=freeze)

    @classmethod
    def from_torch(cls, module: torch.nn.Embedding, labels: Iterable[object]) -> Embedding:
        """From `module`, a `torch.nn.Embedding`, and the labels of its rows."""
        from embedkit.formats.torch_module import from_torch

        return from_torch(module, labels)

    def save(self, path: str | os.PathLike[str], *, storage: Storage | None = None) -> None:
        """Write the native file, all or nothing; see `embedkit.formats.native.save`."""
        from embedkit.formats.native import save

        save(self if storage is None else self.with_storage(storage), path)

    # -- how it looks --------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        columns = f", columns={list(self._columns)}" if self._columns else ""
        kept = "" if self.storage == "float32" else f", storage={self.storage}"
        return f"Embedding({len(self)} x {self.width}{columns}{kept})"

    def _repr_html_(self) -> str:
        shown = self.head(8)
        width = min(self.width, 6)
        names = [*self._columns, *(str(j) for j in range(width))]
        head = "".join(f"<th>{_html(name)}</th>" for name in ["label", *names])
        body = "".join(
            f"<tr><th>{_html(label)}</th>"
            + "".join(f"<td>{_html(str(values[row]))}</td>" for values in shown._columns.values())
            + "".join(f"<td>{value:.4g}</td>" for value in shown.vectors[row, :width].tolist())
            + "</tr>"
            for row, label in enumerate(shown)
        )
        cut = "" if width == self.width else f" (first {width} dimensions shown)"
        caption = f"<caption>Embedding: {len(self):,} labels × {self.width} dimensions{cut}</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _locked(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A view of `array` that cannot be written through."""
    view = array.view()
    view.flags.writeable = False
    return view


def _same(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f"))


def _html(text: str) -> str:
    from html import escape

    return escape(printable(text))
