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
from embedkit.kernels import candidates_numpy, exact
from embedkit.kernels.exact import Doubles, Floats, Integers, TopK

if TYPE_CHECKING:
    import torch

    from embedkit.kernels import shared_words, sketch

Device: TypeAlias = Literal["auto", "numpy", "cpu", "cuda", "mps"]
Method: TypeAlias = Literal["3cosadd", "3cosmul"]
Pairs: TypeAlias = Iterator[tuple[Integers, Integers]]
Score: TypeAlias = Callable[[Integers, Integers], Doubles]

DEVICES: tuple[Device, ...] = ("auto", "numpy", "cpu", "cuda", "mps")
METHODS: tuple[Method, ...] = ("3cosadd", "3cosmul")

# Multiplications from which "auto" imports torch to look for a GPU: importing costs some seconds, and this is about
# two minutes of them on one core (some 16 G a second).
_WORTH_TORCH = 2e12
# Multiplications from which loading (the first time, compiling) the numba kernels pays: about two seconds of them.
_WORTH_NUMBA = 3e10
_WORTH_LOADED = 1e8  # once they are loaded: some milliseconds, so that starting threads does not matter
# The same of single queries, which take the time to read the rows: seventeen queries of 400,000 rows of 300 numbers.
_WORTH_SKETCH = 2e9
_FEW = 4  # queries that are answered one by one
_FEW_ROWS = 1000  # whose unit vectors are made by themselves


class Engine:
    """The rows of an Embedding on a device, answering in row numbers.

    Parameters
    ----------
    embedding
        Where to search.
    device
        See `embedkit.Search`.

    Attributes
    ----------
    n, d : int
        How many rows there are, and how wide they are.
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
        self.embedding, self.device = embedding, device
        self.n, self.d = embedding.shape
        self.dead: Integers = np.flatnonzero(embedding.norms == 0)
        self._units: Floats | None = None
        self._on_device: dict[str, torch.Tensor] = {}
        self._alone = 0.0  # multiplications done for single queries
        self._inverse: Floats | None = None
        self._sketch: sketch.Sketch | None = None

    @property
    def units(self) -> Floats:
        """All unit rows, (n, d) float32; made when first asked for, which takes as much memory as the rows."""
        if self._units is None:
            self._units = self.embedding.unit.vectors
        return self._units

    def unit_of(self, rows: Integers) -> Floats:
        """The unit vectors of some rows, of any shape, (..., d) float32; the same bits as in `units`."""
        if self._units is not None or rows.size > _FEW_ROWS:
            return self.units[rows]
        needed, place = np.unique(rows, return_inverse=True)
        vectors: Floats = self.embedding.take(needed).unit.vectors[place.reshape(rows.shape)]
        return vectors

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
            What computed the candidates; see `embedkit.search.Neighbours`.
        """
        k = self._k(k)
        asked = np.flatnonzero((queries != 0).any(axis=1))
        unit = unit_queries(queries[asked])
        pairs, device = self._by_cosine(unit, k, skip[asked])
        return self._ranked(pairs, self._cosines(unit), asked, len(queries), k), device

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

        def direct(part: Integers) -> tuple[Pairs, str]:
            if product:
                device = self._device(len(part))
                pairs: Pairs = self._kernel(device).by_product(self._at(device), wanted[part], k, skip[part], self.dead)
            else:
                pairs, device = self._by_cosine(unit[part], k, skip[part])
            return ((part[query], row) for query, row in pairs), device

        def score(query: Integers, row: Integers) -> Doubles:
            return exact.multiplied_scores(self.units, wanted, query, row)

        if self._worth_sharing(wanted, product):
            shared, device = self._by_shared_words(wanted, k, skip, product)
            rest, _ = direct(shared.unsure)
            pairs: Pairs = chain([(shared.query, shared.row)], rest)
        else:
            pairs, device = direct(np.arange(len(asked)))
        return self._ranked(pairs, score if product else self._cosines(unit), asked, len(terms), k), device

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
            scores[query, place] = self._cosines(queries)(query, rows[query, place])
        return scores

    # -- how it is done ------------------------------------------------------------------------------------------

    def _questions(self, terms: Integers, method: Method) -> tuple[Doubles, npt.NDArray[np.bool_]]:
        """A - b + c of each question, (m, d), and which of them can be answered."""
        answerable: npt.NDArray[np.bool_] = np.all(terms >= 0, axis=1)
        queries = np.zeros((len(terms), self.d))
        a, b, c = (self.unit_of(terms[answerable, j]).astype(np.float64) for j in range(3))
        queries[answerable] = a - b + c
        if method == "3cosmul":
            # A row of zeros has no direction, so neither has a product of angles with it.
            answerable &= ~np.isin(terms, self.dead).any(axis=1)
        else:
            answerable &= (queries != 0).any(axis=1)
        return queries, answerable

    def _cosines(self, queries: Doubles) -> Score:
        """What scores pairs of `queries` and rows exactly."""

        def score(query: Integers, row: Integers) -> Doubles:
            if self._units is not None or len(row) > _FEW_ROWS:
                return exact.cosine_scores(self.units, queries, query, row)
            return exact.cosine_scores(self.unit_of(row), queries, query, np.arange(len(row)))

        return score

    def _by_cosine(self, unit: Doubles, k: int, skip: Integers) -> tuple[Pairs, str]:
        """Candidates for unit queries, and what finds them."""
        device, single = self._device(len(unit)), unit.astype(np.float32)
        if device != "numpy":
            return self._kernel(device).by_cosine(self._at(device), single, k, skip, self.dead), device
        if 0 < len(unit) <= _FEW:
            return self._alone_by_cosine(single, k, skip)
        if self._worth_numba(len(unit)):
            from embedkit.kernels import fused

            return fused.by_cosine(self.units, single, k, skip, self.dead), "numba"
        return self._kernel(device).by_cosine(self.units, single, k, skip, self.dead), device

    def _alone_by_cosine(self, queries: Floats, k: int, skip: Integers) -> tuple[Pairs, str]:
        """Candidates for a few queries, read from the rows as they are: no unit rows are made for them."""
        if self._inverse is None:
            norms = self.embedding.norms
            # Products with longer or shorter rows might overflow or vanish; smaller storage has to be decoded anyhow.
            plain = ((norms == 0) | ((norms > 1e-30) & (norms < 1e30))).all() and self.embedding.storage == "float32"
            inverse = np.divide(1, norms, out=np.zeros(self.n), where=norms > 0) if plain else norms > 0
            self._inverse = inverse.astype(np.float32)
            self._rows = self.embedding.vectors if plain else self.units
        rows, inverse = self._rows, self._inverse
        self._alone += float(len(queries)) * rows.size
        if self._alone >= _WORTH_SKETCH:
            from embedkit.kernels import sketch

            if self._sketch is None:
                self._sketch = sketch.sketched(rows, inverse)
            found = [
                sketch.by_sketch(self._sketch, rows, inverse, query, k, some, self.dead)
                for query, some in zip(queries, skip, strict=True)
            ]
            if all(one is not None for one in found):
                named = [(np.full(len(one), i), one) for i, one in enumerate(found) if one is not None]
                return iter(named), "numba, sketch"
        return candidates_numpy.by_cosine(rows, queries, k, skip, self.dead, inverse), "numpy"

    def _by_shared_words(
        self, terms: Integers, k: int, skip: Integers, multiply: bool
    ) -> tuple[shared_words.Shared, str]:
        device = self._device(len(terms))
        if device == "numpy":
            from embedkit.kernels import shared_words

            found = shared_words.candidates(self.units, terms, k, skip, self.dead, multiply=multiply)
            return found, "numba, shared words"
        from embedkit.kernels import shared_words_torch

        found = shared_words_torch.candidates(self._at(device), terms, k, skip, self.dead, multiply=multiply)
        return found, f"{device}, shared words"

    def _ranked(self, pairs: Pairs, score: Score, asked: Integers, m: int, k: int) -> TopK:
        """Candidates scored exactly and ranked; `asked` are the places of the queries among all `m`."""
        out = TopK(np.full((m, k), -1, dtype=np.int64), np.full((m, k), np.nan))
        for query, row in pairs if self.n else ():
            present, place = np.unique(query, return_inverse=True)
            best = exact.rank(place, row, score(query, row), len(present), k)
            out.rows[asked[present]], out.scores[asked[present]] = best
        return out

    def _worth_sharing(self, terms: Integers, product: bool) -> bool:
        """Whether to compute the products of the distinct words once, instead of those of every question."""
        # For 3CosMul three products a question are computed anyhow.
        return self._worth_numba(len(terms)) and (product or 2 * len(np.unique(terms)) <= len(terms))

    def _worth_numba(self, queries: int) -> bool:
        loaded = "embedkit.kernels.running_best" in sys.modules
        return float(queries) * self.n * self.d >= (_WORTH_LOADED if loaded else _WORTH_NUMBA)

    def _k(self, k: int) -> int:
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise BadInput(f"k must be a whole number of 1 or more, not {k!r}")
        return min(int(k), max(self.n, 1))

    def _device(self, queries: int) -> str:
        if self.device != "auto":
            return self.device
        work = float(queries) * self.n * self.d
        if "torch" in sys.modules or work >= _WORTH_TORCH:
            import torch

            if torch.cuda.is_available():
                return "cuda"
        return "numpy"

    def _kernel(self, device: str) -> Any:
        if device == "numpy":
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
