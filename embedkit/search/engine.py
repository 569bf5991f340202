"""Exact top-k on row numbers: which kernel computes what, on which device. Knows no labels."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.errors import BadInput
from embedkit.kernels import exact
from embedkit.kernels.exact import Doubles, Integers, TopK

if TYPE_CHECKING:
    import torch

Device: TypeAlias = Literal["auto", "numpy", "cpu", "cuda", "mps"]
Method: TypeAlias = Literal["3cosadd", "3cosmul"]
Pairs: TypeAlias = Iterator[tuple[Integers, Integers]]

DEVICES: tuple[Device, ...] = ("auto", "numpy", "cpu", "cuda", "mps")
METHODS: tuple[Method, ...] = ("3cosadd", "3cosmul")

# Multiplications from which "auto" imports torch to look for a GPU: importing costs some seconds, and this is about
# two minutes of them on one core (some 16 G a second).
_WORTH_TORCH = 2e12
# Multiplications from which loading (the first time, compiling) the numba kernel pays: about two seconds of them.
_WORTH_NUMBA = 3e10


class Engine:
    """The unit rows of an Embedding on a device, answering in row numbers.

    Parameters
    ----------
    embedding
        Where to search.
    device
        See `embedkit.Search`.

    Attributes
    ----------
    units : ndarray of shape (n, d), float32
        The unit rows.
    dead : ndarray of shape (z,), int64
        Rows of zeros, which are never an answer.

    Raises
    ------
    BadInput
        An unknown device, or one that this machine does not have.
    """

    def __init__(self, embedding: Embedding, device: Device) -> None:
        if device not in DEVICES:
            raise BadInput(f"device is one of {', '.join(DEVICES)}, not '{device}'")
        if device not in ("auto", "numpy"):
            _check_available(device)
        self.device = device
        self.units = embedding.unit.vectors
        self.dead: Integers = np.flatnonzero(embedding.norms == 0)
        self._on_device: dict[str, torch.Tensor] = {}

    def nearest(self, queries: Doubles, k: int, skip: Integers) -> tuple[TopK, str]:
        """The `k` best rows by cosine.

        Parameters
        ----------
        queries
            (m, d) float64, of any length; those of zeros have no answers.
        k
            How many answers each.
        skip
            (m, s) int64 rows that are no answer to that query; -1 for none.

        Returns
        -------
        TopK
            Rows and scores, both (m, k), or (m, n) where there are fewer than k rows.
        str
            The device that was used.
        """
        k = self._k(k)
        asked = np.flatnonzero((queries != 0).any(axis=1))
        unit = unit_queries(queries[asked])
        device = self._device(len(asked))
        single = unit.astype(np.float32)
        pairs = self._kernel(device).by_cosine(self._at(device), single, k, skip[asked], self.dead)

        def score(query: Integers, row: Integers) -> Doubles:
            return exact.cosine_scores(self.units, unit, query, row)

        return self._ranked(pairs, score, asked, len(queries), k), device

    def analogies(
        self, terms: Integers, k: int, method: Method = "3cosadd", exclude_inputs: bool = True
    ) -> tuple[TopK, str]:
        """The `k` best rows for questions a - b + c.

        Parameters
        ----------
        terms
            (m, 3) int64 rows of a, b, c; a question with -1 in it has no answers.
        k, method, exclude_inputs
            As for `embedkit.Search.analogies`.

        Returns
        -------
        TopK, str
            As for `nearest`.
        """
        if method not in METHODS:
            raise BadInput(f"method is one of {', '.join(METHODS)}, not '{method}'")
        k = self._k(k)
        product = method == "3cosmul"
        queries, answerable = self._questions(terms, method)
        asked = np.flatnonzero(answerable)
        wanted, unit = terms[asked], unit_queries(queries[asked])
        skip = wanted if exclude_inputs else wanted[:, :0]
        device = self._device(len(asked))

        def score(query: Integers, row: Integers) -> Doubles:
            if product:
                return exact.multiplied_scores(self.units, wanted, query, row)
            return exact.cosine_scores(self.units, unit, query, row)

        def direct(part: Integers) -> Pairs:
            kernel, units = self._kernel(device), self._at(device)
            if product:
                pairs: Pairs = kernel.by_product(units, wanted[part], k, skip[part], self.dead)
            else:
                pairs = kernel.by_cosine(units, unit[part].astype(np.float32), k, skip[part], self.dead)
            return ((part[query], row) for query, row in pairs)

        if device != "numpy" or not self._worth_sharing(wanted):
            return self._ranked(direct(np.arange(len(asked))), score, asked, len(terms), k), device
        from embedkit.kernels import shared_words

        shared = shared_words.candidates(self.units, wanted, k, skip, multiply=product)
        pairs = chain([(shared.query, shared.row)], direct(shared.unsure))
        return self._ranked(pairs, score, asked, len(terms), k), "numba"

    def analogy_scores(self, terms: Integers, rows: Integers, method: Method = "3cosadd") -> Doubles:
        """What given rows score as answers to questions a - b + c.

        Parameters
        ----------
        terms
            (m, 3) int64 rows of a, b, c.
        rows
            (m, s) int64 rows; -1 for none.
        method
            As for `embedkit.Search.analogies`.

        Returns
        -------
        ndarray of shape (m, s), float64
            Minus infinity where a row is no answer (-1, or zeros) or the question has none.
        """
        queries, answerable = self._questions(terms, method)
        scores = np.full(rows.shape, -np.inf)
        query, place = np.nonzero((rows >= 0) & ~np.isin(rows, self.dead) & answerable[:, None])
        if method == "3cosmul":
            scores[query, place] = exact.multiplied_scores(self.units, terms, query, rows[query, place])
        else:
            scores[query, place] = exact.cosine_scores(self.units, queries, query, rows[query, place])
        return scores

    # -- how it is done ------------------------------------------------------------------------------------------

    def _questions(self, terms: Integers, method: Method) -> tuple[Doubles, npt.NDArray[np.bool_]]:
        """A - b + c of each question, (m, d), and which of them can be answered."""
        answerable: npt.NDArray[np.bool_] = np.all(terms >= 0, axis=1)
        queries = np.zeros((len(terms), self.units.shape[1]))
        a, b, c = (self.units[terms[answerable, j]].astype(np.float64) for j in range(3))
        queries[answerable] = a - b + c
        if method == "3cosmul":
            # A row of zeros has no direction, so neither has a product of angles with it.
            answerable &= ~np.isin(terms, self.dead).any(axis=1)
        else:
            answerable &= (queries != 0).any(axis=1)
        return queries, answerable

    def _ranked(
        self, pairs: Pairs, score: Callable[[Integers, Integers], Doubles], asked: Integers, m: int, k: int
    ) -> TopK:
        """Candidates scored exactly and ranked; `asked` are the places of the queries among all `m`."""
        out = TopK(np.full((m, k), -1, dtype=np.int64), np.full((m, k), np.nan))
        for query, row in pairs if len(self.units) else ():
            present, place = np.unique(query, return_inverse=True)
            best = exact.rank(place, row, score(query, row), len(present), k)
            out.rows[asked[present]], out.scores[asked[present]] = best
        return out

    def _worth_sharing(self, terms: Integers) -> bool:
        """Whether to compute the products of the distinct words once, instead of those of every question."""
        work = float(len(terms)) * self.units.size
        return work >= _WORTH_NUMBA and len(self.dead) == 0 and 2 * len(np.unique(terms)) <= len(terms)

    def _k(self, k: int) -> int:
        if not isinstance(k, int | np.integer) or k < 1:
            raise BadInput(f"k must be a whole number of 1 or more, not {k!r}")
        return min(int(k), max(len(self.units), 1))

    def _device(self, queries: int) -> str:
        if self.device != "auto":
            return self.device
        work = float(queries) * self.units.size
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
            return self.units
        if device not in self._on_device:
            import torch

            # Copied because torch has no read-only tensors, and warns where one is made of a read-only array.
            self._on_device[device] = torch.from_numpy(self.units.copy()).to(device)
        return self._on_device[device]


def unit_queries(queries: Doubles) -> Doubles:
    """Rows of any length but zero at length 1."""
    # Scaled first, so that no square overflows or vanishes.
    scaled = queries / np.abs(queries).max(axis=1, initial=0.0, keepdims=True)
    unit: Doubles = scaled / np.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
    return unit


def _check_available(device: str) -> None:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise BadInput("device 'cuda' is not available: torch finds no CUDA GPU (try 'auto' or 'numpy')")
    if device == "mps" and not torch.backends.mps.is_available():
        raise BadInput("device 'mps' is not available: torch finds no Apple GPU (try 'auto' or 'numpy')")
