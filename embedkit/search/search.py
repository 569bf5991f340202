"""Exact search in an Embedding: nearest neighbours, analogies and expressions, by label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.errors import BadInput
from embedkit.kernels import exact
from embedkit.kernels.exact import Doubles, Integers, TopK
from embedkit.search import expression, restricted
from embedkit.search.engine import Device, Engine, Method, unit_queries
from embedkit.search.neighbours import Neighbours

Missing: TypeAlias = Literal["error", "skip", "nan"]
MISSING: tuple[Missing, ...] = ("error", "skip", "nan")

_SIZES = {2: "two", 3: "three: a b c for a - b + c"}


class Search:
    """An Embedding made ready to be searched.

    Scores are cosines between float32 unit rows, computed in float64; answers are exact, and the same to the last digit
    alone or in a batch and on every device (see `embedkit.kernels.exact`). They come by score descending, then row
    ascending. Rows of zeros are never an answer, and a query of zeros has none.

    What the queries have in common:

    - ``restrict=n``: only the first n rows (the most frequent words) may be answers; what is asked with may be any row.
    - ``missing=``: what becomes of a query with unknown labels. ``"error"`` raises `UnknownWord`, which names them all
      with near spellings; ``"skip"`` leaves that query out of the table or array of results; ``"nan"`` keeps its place,
      with no label and NaN for a number. A table of neighbours names the unknown labels in both.
    - ``ignore_case=True``: a label in other capitals is taken where the exact one is unknown.

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
        self.embedding = embedding
        self._engine = Engine(embedding, device)
        self._first: Engine | None = None

    def similar(
        self,
        labels: Iterable[str],
        k: int = 10,
        *,
        exclude_inputs: bool = True,
        restrict: int | None = None,
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
        restrict, missing, ignore_case
            See the class.

        Raises
        ------
        UnknownWord
            Naming every unknown label, with near spellings.
        """
        wanted = labels if isinstance(labels, str) else list(labels)
        rows, unknown = self._rows(wanted, missing, ignore_case)
        known = rows >= 0
        queries = np.zeros((len(rows), self.embedding.width))
        queries[known] = self._engine.unit_of(rows[known])
        engine = self._within(restrict)
        skip = _barred(rows[:, None], engine, exclude_inputs)
        return self._neighbours(list(wanted), *engine.nearest(queries, k, skip), unknown, missing)

    def nearest(self, vectors: npt.ArrayLike, k: int = 10, *, restrict: int | None = None) -> Neighbours:
        """The `k` rows nearest to each of `vectors`, by cosine.

        Parameters
        ----------
        vectors
            Shape (m, d), or (d,) for one; finite.
        k
            How many answers each.
        restrict
            See the class.

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
        return self._neighbours(names, *self._within(restrict).nearest(queries, k, skip), (), "error")

    def analogies(
        self,
        questions: Iterable[Sequence[str]],
        k: int = 10,
        *,
        method: Method = "3cosadd",
        exclude_inputs: bool = True,
        restrict: int | None = None,
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
        restrict, missing, ignore_case
            See the class.

        Raises
        ------
        UnknownWord
            Naming every unknown label, with near spellings.
        BadInput
            A question that is not three labels.
        """
        asked = _questions(questions, 3, "question")
        flat = [word for question in asked for word in question]
        rows, unknown = self._rows(flat, missing, ignore_case)
        names = [f"{a} - {b} + {c}" for a, b, c in asked]
        engine, terms = self._within(restrict), rows.reshape(-1, 3)
        if (terms < engine.n).all():
            found = engine.analogies(terms, k, method, exclude_inputs)
        else:
            found = restricted.analogies(self._engine, engine, terms, k, method, exclude_inputs)
        return self._neighbours(names, *found, unknown, missing)

    def solve(
        self,
        expressions: Iterable[str],
        k: int = 10,
        *,
        unit: bool = True,
        exclude_inputs: bool = True,
        restrict: int | None = None,
        missing: Missing = "error",
        ignore_case: bool = False,
    ) -> Neighbours:
        """The `k` rows nearest to what each expression comes to, by cosine.

        Parameters
        ----------
        expressions
            m of them, such as ``"king - man + woman"``, ``"mean(paris, rome) - 0.5*france"`` or
            ``"project(nurse, she - he)"``; the grammar is that of `embedkit.search.expression`.
        k
            How many answers each.
        unit
            Compute with rows of length 1, as `analogies` does (which then agrees to the last digit), or with the
            vectors as they are.
        exclude_inputs
            Whether the labels of an expression are no answers to it.
        restrict, missing, ignore_case
            See the class.

        Raises
        ------
        UnknownWord
            Naming every unknown label, with near spellings.
        BadInput
            An expression that cannot be read, naming the character.
        """
        texts = list(_listed(expressions))
        queries, terms, unknown = self._combined(texts, unit, missing, ignore_case)
        engine = self._within(restrict)
        skip = _barred(terms, engine, exclude_inputs)
        return self._neighbours(texts, *engine.nearest(queries, k, skip), unknown, missing)

    def combine(self, expressions: Iterable[str], *, unit: bool = True, ignore_case: bool = False) -> Doubles:
        """The vectors that expressions come to, shape (m, d), float64; see `solve`.

        Raises
        ------
        UnknownWord, BadInput
            As for `solve`.
        """
        return self._combined(list(_listed(expressions)), unit, "error", ignore_case)[0]

    def similarity(
        self, pairs: Iterable[Sequence[str]], *, missing: Missing = "error", ignore_case: bool = False
    ) -> Doubles:
        """Cosine of the two labels of each pair, shape (m,), float64; 0 where one has a vector of zeros.

        Parameters
        ----------
        pairs
            m pairs of labels.
        missing, ignore_case
            See the class.

        Raises
        ------
        UnknownWord
            Naming every unknown label, with near spellings.
        BadInput
            A pair that is not two labels.
        """
        asked = _questions(pairs, 2, "pair")
        rows, _ = self._rows([label for pair in asked for label in pair], missing, ignore_case)
        first, second = rows.reshape(-1, 2).T
        cosines = np.where((first >= 0) & (second >= 0), 0.0, np.nan)
        known = np.flatnonzero(
            ~np.isnan(cosines) & ~np.isin(first, self._engine.dead) & ~np.isin(second, self._engine.dead)
        )
        every = np.arange(len(known))
        units = self._engine.unit_of(np.concatenate([first[known], second[known]]))
        cosines[known] = exact.cosine_scores(units, units, every, len(known) + every)
        return cosines[~np.isnan(cosines)] if missing == "skip" else cosines

    def odd_one_out(
        self, groups: Iterable[Sequence[str]], *, missing: Missing = "error", ignore_case: bool = False
    ) -> list[str | None]:
        """The label of each group that belongs least: of the lowest cosine with the mean of the group's unit rows.

        Parameters
        ----------
        groups
            Lists of two labels or more.
        missing, ignore_case
            See the class; a group with an unknown label has `None` with ``missing="nan"``.

        Raises
        ------
        UnknownWord
            Naming every unknown label of all groups, with near spellings.
        BadInput
            A group of less than two labels.
        """
        asked = [list(group) for group in _listed(groups)]
        for number, group in enumerate(asked):
            if len(group) < 2:
                raise BadInput(f"group {number} has {len(group)} labels: of less than two none is odd")
        rows, _ = self._rows([label for group in asked for label in group], missing, ignore_case)
        odd: list[str | None] = []
        start = 0
        for group in asked:
            part = rows[start : start + len(group)]
            start += len(group)
            if (part >= 0).all():
                units = self._engine.unit_of(part).astype(np.float64)
                odd.append(group[int(np.argmin(units @ units.mean(axis=0)))])
            elif missing == "nan":
                odd.append(None)
        return odd

    def rank_of(
        self,
        expressions: Iterable[str],
        labels: Iterable[str],
        *,
        unit: bool = True,
        exclude_inputs: bool = True,
        restrict: int | None = None,
        missing: Missing = "error",
        ignore_case: bool = False,
    ) -> npt.NDArray[Any]:
        """The rank, from 1, that each label has among the answers to its expression.

        Parameters
        ----------
        expressions
            m expressions; see `solve`.
        labels
            m labels, one to each expression.
        unit, exclude_inputs
            As for `solve`.
        restrict, missing, ignore_case
            See the class.

        Returns
        -------
        ndarray of shape (m,), int64; float64 with ``missing="nan"``
            0 where the label can be no answer: it is one of the inputs, or not among the first `restrict` rows, or its
            vector or the query is zeros.

        Raises
        ------
        UnknownWord, BadInput
            As for `solve`; and if there are not as many labels as expressions.
        """
        texts, targets = list(_listed(expressions)), list(_listed(labels))
        if len(texts) != len(targets):
            raise BadInput(f"{len(texts)} expressions for {len(targets)} labels: there must be one each")
        queries, terms, _ = self._combined(texts, unit, missing, ignore_case)
        rows, _ = self._rows(targets, missing, ignore_case)
        engine = self._within(restrict)
        skip = _barred(terms, engine, exclude_inputs)
        barred = (skip == rows[:, None]).any(axis=1) | np.isin(rows, engine.dead) | (rows >= engine.n)
        asked = np.flatnonzero((queries != 0).any(axis=1) & ~barred & (rows >= 0))
        ranks = np.zeros(len(texts), dtype=np.int64)
        if len(asked):
            from embedkit.kernels.ranks import ranks_by_cosine

            ranks[asked] = ranks_by_cosine(
                engine.units, unit_queries(queries[asked]), rows[asked], skip[asked], engine.dead
            )
        if missing == "error":
            return ranks
        known = (rows >= 0) & (terms >= 0).any(axis=1)
        return ranks[known] if missing == "skip" else np.where(known, ranks, np.nan)

    # -- how it is done ------------------------------------------------------------------------------------------

    def _rows(self, labels: Iterable[str], missing: Missing, ignore_case: bool) -> tuple[Integers, tuple[str, ...]]:
        if missing not in MISSING:
            raise BadInput(f"missing is one of {', '.join(MISSING)}, not '{missing}'")
        rows = self.embedding.rows(labels, ignore_case=ignore_case, missing="error" if missing == "error" else "mark")
        unknown = dict.fromkeys(label for label, row in zip(labels, rows.tolist(), strict=True) if row < 0)
        return rows, tuple(unknown)

    def _within(self, restrict: int | None) -> Engine:
        """The engine of the rows that may be answers."""
        if restrict is None:
            return self._engine
        if not isinstance(restrict, int | np.integer) or isinstance(restrict, bool) or restrict < 1:
            raise BadInput(f"restrict must be a whole number of 1 or more, or None, not {restrict!r}")
        if restrict >= len(self.embedding):
            return self._engine
        if self._first is None or self._first.n != restrict:
            self._first = Engine(self.embedding.head(int(restrict)), self._engine.device)
        return self._first

    def _combined(
        self, texts: list[str], unit: bool, missing: Missing, ignore_case: bool
    ) -> tuple[Doubles, Integers, tuple[str, ...]]:
        """What expressions come to, (m, d); the rows of their labels, (m, most labels of one) with -1; unknown ones."""
        nodes = [expression.parse(text) for text in texts]
        labels = [list(dict.fromkeys(expression.labels_of(node))) for node in nodes]
        flat = [label for some in labels for label in some]
        rows, unknown = self._rows(flat, missing, ignore_case)
        queries = np.zeros((len(texts), self.embedding.width))
        terms = np.full((len(texts), max(map(len, labels), default=0)), -1, dtype=np.int64)
        alike: dict[
            object, tuple[list[int], list[list[int]]]
        ] = {}  # shape -> which expressions, and rows of their labels
        start = 0
        for i, (node, some) in enumerate(zip(nodes, labels, strict=True)):
            part = rows[start : start + len(some)]
            start += len(some)
            if (part >= 0).all():
                terms[i, : len(some)] = part
                row_of = dict(zip(some, part.tolist(), strict=True))
                members, leaves = alike.setdefault(expression.shape(node), ([], []))
                members.append(i)
                leaves.append([row_of[label] for label in expression.labels_of(node)])
        for members, leaves in alike.values():
            known = np.array(leaves, dtype=np.int64)
            vectors = self._engine.unit_of(known) if unit else self.embedding.vectors[known]
            queries[members] = expression.evaluate_many([nodes[i] for i in members], vectors.astype(np.float64))
        return queries, terms, unknown

    def _neighbours(
        self, names: list[str], found: TopK, device: str, unknown: tuple[str, ...], missing: Missing
    ) -> Neighbours:
        return Neighbours(names, found.rows, found.scores, self.embedding.labels, unknown, device, missing == "nan")


def _barred(terms: Integers, engine: Engine, exclude_inputs: bool) -> Integers:
    """Of the rows of the labels that were asked with, (m, s), those that are no answers though they could be; or -1."""
    return np.where(terms < engine.n, terms, -1) if exclude_inputs else terms[:, :0]


def _listed(things: Iterable[Any]) -> Iterable[Any]:
    """`things`, unless it is a single string."""
    if isinstance(things, str):
        raise BadInput(f"expected a list, not the string '{things[:60]}': write [...]")
    return things


def _questions(questions: Iterable[Sequence[str]], size: int, name: str) -> list[tuple[str, ...]]:
    """`questions` as tuples of `size` labels each."""
    asked = [(question,) if isinstance(question, str) else tuple(question) for question in _listed(questions)]
    for number, question in enumerate(asked):
        if len(question) != size:
            raise BadInput(f"{name} {number} has {len(question)} words, expected {_SIZES[size]}")
    return asked
