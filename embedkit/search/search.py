"""Exact search in an Embedding: nearest neighbours by cosine, and analogies."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.errors import BadInput
from embedkit.kernels import exact
from embedkit.kernels.exact import Doubles, Integers, TopK
from embedkit.search.neighbours import Neighbours

if TYPE_CHECKING:
    import torch

Device: TypeAlias = Literal["auto", "numpy", "cpu", "cuda", "mps"]
Method: TypeAlias = Literal["3cosadd", "3cosmul"]
Missing: TypeAlias = Literal["error", "skip"]
Pairs: TypeAlias = Iterator[tuple[Integers, Integers]]

DEVICES: tuple[Device, ...] = ("auto", "numpy", "cpu", "cuda", "mps")
METHODS: tuple[Method, ...] = ("3cosadd", "3cosmul")

# Multiplications from which "auto" imports torch to look for a GPU: importing costs some seconds, and this is about
# half a minute of them on one core.
_WORTH_TORCH = 2e12
# Multiplications from which loading (the first time, compiling) the numba kernel pays: about a second of them.
_WORTH_NUMBA = 3e10


class Search:
    """An Embedding made ready to be searched.

    Scores are cosines between float32 unit rows, computed in float64; answers are exact, and the same to the last digit
    alone or in a batch and on every device (see `embedkit.kernels.exact`). They come by score descending, then row
    ascending. Rows of zeros are never an answer, and a query of zeros has none.

    Parameters
    ----------
    embedding
        Where to search.
    device
        What computes the matrix products: ``"numpy"``, or torch on ``"cpu"``, ``"cuda"`` or ``"mps"``. ``"auto"`` takes
        a CUDA GPU if torch is already loaded or the batch is large enough to be worth loading it, else numpy.

    Raises
    ------
    BadInput
        An unknown device, or one that this machine does not have.

    Examples
    --------
    >>> from embedkit import Embedding
    >>> emb = Embedding(["king", "queen", "man", "woman"], [[1, 1, 0], [1, 0, 1], [0, 1, 0], [0, 0, 1]])
    >>> search = Search(emb)
    >>> for neighbour in search.analogies([("king", "man", "woman")], k=1):
    ...     print(neighbour.query, "->", neighbour.label, round(neighbour.score, 4))
    king - man + woman -> queen 0.9586
    >>> search.similar(["man"], k=2).to_frame()["label"].tolist()
    ['king', 'queen']
    """

    def __init__(self, embedding: Embedding, *, device: Device = "auto") -> None:
        if device not in DEVICES:
            raise BadInput(f"device is one of {', '.join(DEVICES)}, not '{device}'")
        if device not in ("auto", "numpy"):
            _check_available(device)
        self.embedding = embedding
        self.device = device
        self._units = embedding.unit.vectors
        self._dead: Integers = np.flatnonzero(embedding.norms == 0)
        self._on_device: dict[str, torch.Tensor] = {}

    def similar(
        self,
        labels: Iterable[str],
        k: int = 10,
        *,
        exclude_inputs: bool = True,
        missing: Missing = "error",
        ignore_case: bool = False,
    ) -> Neighbours:
        """The `k` rows nearest to each of `labels`, by cosine.

        Parameters
        ----------
        labels
            m labels.
        k
            How many answers each.
        exclude_inputs
            Whether the label itself is no answer.
        missing
            Unknown labels raise (``"error"``), or are named in the result's ``unknown`` and have no answers
            (``"skip"``).
        ignore_case
            Take a label written in other capitals where the exact one is unknown.

        Raises
        ------
        UnknownWord
            Naming every unknown label, with near spellings.
        """
        wanted = labels if isinstance(labels, str) else list(labels)
        rows, unknown = self._rows(wanted, missing, ignore_case)
        known = rows >= 0
        queries = np.zeros((len(rows), self.embedding.width))
        queries[known] = self._units[rows[known]]
        skip = rows[:, None] if exclude_inputs else np.empty((len(rows), 0), dtype=np.int64)
        return self._neighbours(list(wanted), *self._by_cosine(queries, k, skip), unknown)

    def nearest(self, vectors: npt.ArrayLike, k: int = 10) -> Neighbours:
        """The `k` rows nearest to each of `vectors`, by cosine.

        Parameters
        ----------
        vectors
            Shape (m, d), or (d,) for one; finite.
        k
            How many answers each.

        Raises
        ------
        BadInput
            Another width than the Embedding's, or a value that is not finite.
        """
        try:
            queries = np.atleast_2d(np.asarray(vectors, dtype=np.float64))
        except (TypeError, ValueError):
            raise BadInput("queries are vectors of numbers, all as wide as the Embedding") from None
        if queries.ndim != 2 or queries.shape[1] != self.embedding.width:
            raise BadInput(f"expected vectors of {self.embedding.width} dimensions, got shape {np.shape(vectors)}")
        if not np.isfinite(queries).all():
            query, column = np.argwhere(~np.isfinite(queries))[0]
            raise BadInput(f"query {query}, column {column} is not a finite number")
        names = [f"vector {i}" for i in range(len(queries))]
        skip = np.empty((len(queries), 0), dtype=np.int64)
        return self._neighbours(names, *self._by_cosine(queries, k, skip), ())

    def analogies(
        self,
        questions: Iterable[Sequence[str]],
        k: int = 10,
        *,
        method: Method = "3cosadd",
        exclude_inputs: bool = True,
        missing: Missing = "error",
        ignore_case: bool = False,
    ) -> Neighbours:
        """The `k` best answers to each question ``a - b + c``.

        Parameters
        ----------
        questions
            m triples (a, b, c), as in king - man + woman. (Files of questions ``a b c d`` in the Google layout mean
            b - a + c; `embedkit.evaluation` reads those.)
        k
            How many answers each.
        method
            ``"3cosadd"``: cosine with a - b + c (Mikolov, Yih & Zweig 2013, N13-1090); ``"3cosmul"``: the product
            (1 + cos a)/2 (1 + cos c)/2 / ((1 + cos b)/2 + 1e-6) (Levy & Goldberg 2014, W14-1618, eq. 4).
        exclude_inputs
            Whether a, b and c are no answers. Without this the best answer mostly is one of them.
        missing
            Questions with unknown labels raise (``"error"``), or have no answers and the labels are named in the
            result's ``unknown`` (``"skip"``).
        ignore_case
            Take labels written in other capitals where the exact one is unknown.

        Raises
        ------
        UnknownWord
            Naming every unknown label, with near spellings.
        BadInput
            A question that is not three labels.
        """
        asked = [(question,) if isinstance(question, str) else tuple(question) for question in questions]
        for number, question in enumerate(asked):
            if len(question) != 3:
                raise BadInput(f"question {number} has {len(question)} words, expected three: a b c for a - b + c")
        flat = [word for question in asked for word in question]
        rows, unknown = self._rows(flat, missing, ignore_case)
        names = [f"{a} - {b} + {c}" for a, b, c in asked]
        return self._neighbours(names, *self.solve_rows(rows.reshape(-1, 3), k, method, exclude_inputs), unknown)

    def solve_rows(
        self, terms: Integers, k: int, method: Method = "3cosadd", exclude_inputs: bool = True
    ) -> tuple[TopK, str]:
        """`analogies` on row numbers: for callers that hold them already.

        Parameters
        ----------
        terms
            (m, 3) int64 rows of a, b, c; a question with -1 in it has no answers.
        k, method, exclude_inputs
            As for `analogies`.

        Returns
        -------
        TopK
            Rows and scores, both (m, k).
        str
            The device that was used.
        """
        if method not in METHODS:
            raise BadInput(f"method is one of {', '.join(METHODS)}, not '{method}'")
        k = self._k(k)
        product = method == "3cosmul"
        known: npt.NDArray[np.bool_] = np.all(terms >= 0, axis=1)
        if product:
            # A row of zeros has no direction, so neither has a product of angles with it.
            known &= ~np.isin(terms, self._dead).any(axis=1)
        queries = np.zeros((len(terms), self.embedding.width))
        a, b, c = (self._units[terms[known, j]].astype(np.float64) for j in range(3))
        queries[known] = a - b + c
        if not product:
            known &= (queries != 0).any(axis=1)
        asked = np.flatnonzero(known)
        wanted, unit = terms[asked], _unit(queries[asked])
        skip = wanted if exclude_inputs else wanted[:, :0]
        device = self._device(len(asked))

        def score(query: Integers, row: Integers) -> Doubles:
            if product:
                return exact.multiplied_scores(self._units, wanted, query, row)
            return exact.cosine_scores(self._units, unit, query, row)

        def direct(part: Integers) -> Pairs:
            kernel, units = self._kernel(device), self._at(device)
            if product:
                pairs: Pairs = kernel.by_product(units, wanted[part], k, skip[part], self._dead)
            else:
                pairs = kernel.by_cosine(units, unit[part].astype(np.float32), k, skip[part], self._dead)
            return ((part[query], row) for query, row in pairs)

        if device != "numpy" or not self._worth_sharing(wanted):
            return self._ranked(direct(np.arange(len(asked))), score, asked, len(terms), k), device
        from embedkit.kernels import shared_words

        shared = shared_words.candidates(self._units, wanted, k, skip, multiply=product)
        pairs = chain([(shared.query, shared.row)], direct(shared.unsure))
        return self._ranked(pairs, score, asked, len(terms), k), "numba"

    # -- how it is done ------------------------------------------------------------------------------------------

    def _rows(self, labels: Iterable[str], missing: Missing, ignore_case: bool) -> tuple[Integers, tuple[str, ...]]:
        if missing not in ("error", "skip"):
            raise BadInput(f"missing is 'error' or 'skip', not '{missing}'")
        rows = self.embedding.rows(labels, ignore_case=ignore_case, missing="error" if missing == "error" else "mark")
        unknown = dict.fromkeys(label for label, row in zip(labels, rows.tolist(), strict=True) if row < 0)
        return rows, tuple(unknown)

    def _by_cosine(self, queries: Doubles, k: int, skip: Integers) -> tuple[TopK, str]:
        """The `k` best rows for `queries`, (m, d) float64 of any length; those of zeros have no answers."""
        k = self._k(k)
        asked = np.flatnonzero((queries != 0).any(axis=1))
        unit = _unit(queries[asked])
        device = self._device(len(asked))
        single = unit.astype(np.float32)
        pairs = self._kernel(device).by_cosine(self._at(device), single, k, skip[asked], self._dead)

        def score(query: Integers, row: Integers) -> Doubles:
            return exact.cosine_scores(self._units, unit, query, row)

        return self._ranked(pairs, score, asked, len(queries), k), device

    def _ranked(
        self, pairs: Pairs, score: Callable[[Integers, Integers], Doubles], asked: Integers, m: int, k: int
    ) -> TopK:
        """Candidates scored exactly and ranked; `asked` are the places of the queries among all `m`."""
        out = TopK(np.full((m, k), -1, dtype=np.int64), np.full((m, k), np.nan))
        for query, row in pairs if len(self._units) else ():
            present, place = np.unique(query, return_inverse=True)
            best = exact.rank(place, row, score(query, row), len(present), k)
            out.rows[asked[present]], out.scores[asked[present]] = best
        return out

    def _worth_sharing(self, terms: Integers) -> bool:
        """Whether to compute the products of the distinct words once, instead of those of every question."""
        work = float(len(terms)) * self._units.size
        return work >= _WORTH_NUMBA and len(self._dead) == 0 and 2 * len(np.unique(terms)) <= len(terms)

    def _k(self, k: int) -> int:
        if not isinstance(k, int | np.integer) or k < 1:
            raise BadInput(f"k must be a whole number of 1 or more, not {k!r}")
        return min(int(k), max(len(self.embedding), 1))

    def _neighbours(self, names: list[str], found: TopK, device: str, unknown: tuple[str, ...]) -> Neighbours:
        return Neighbours(names, found.rows, found.scores, self.embedding.labels, unknown, device)

    def _device(self, queries: int) -> str:
        if self.device != "auto":
            return self.device
        work = float(queries) * self._units.size
        if "torch" in sys.modules or work >= _WORTH_TORCH:
            import torch

            if torch.cuda.is_available():
                return "cuda"
        return "numpy"

    def _kernel(self, device: str) -> Any:
        if device == "numpy":
            from embedkit.kernels import candidates_numpy

            return candidates_numpy
        from embedkit.kernels import candidates_torch

        return candidates_torch

    def _at(self, device: str) -> Any:
        if device == "numpy":
            return self._units
        if device not in self._on_device:
            import torch

            # Copied because torch has no read-only tensors, and warns where one is made of a read-only array.
            self._on_device[device] = torch.from_numpy(self._units.copy()).to(device)
        return self._on_device[device]


def _unit(queries: Doubles) -> Doubles:
    """Rows of any length but zero at length 1."""
    scaled = queries / np.abs(queries).max(
        axis=1, initial=0.0, keepdims=True
    )  # so that no square overflows or vanishes
    unit: Doubles = scaled / np.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
    return unit


def _check_available(device: str) -> None:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise BadInput("device 'cuda' is not available: torch finds no CUDA GPU (try 'auto' or 'numpy')")
    if device == "mps" and not torch.backends.mps.is_available():
        raise BadInput("device 'mps' is not available: torch finds no Apple GPU (try 'auto' or 'numpy')")
