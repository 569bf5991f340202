"""How far the text decides what a model says: many models, each trained on documents drawn from the text."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.errors import BadFile, BadInput
from embedkit.files.store import Tensors, write_tensors
from embedkit.labels import Labels
from embedkit.words.checks import check_number, check_whole
from embedkit.words.estimates import AnalogyShare, Difference, Estimates, Similar, Similarity

Doubles = npt.NDArray[np.float64]
_LEVEL = 0.95


class Ensemble:
    """A model of a text, and models of texts drawn from it, which say how far the first can be trusted.

    `embedkit.words.resampling.bootstrap` makes one, `embedkit.load` opens one. What is asked is answered by the model
    of the whole text; the interval around it is from the spread of the others: half its width is Student's t (with one
    degree of freedom less than there are models) times their standard deviation. Cosines are taken to their inverse
    hyperbolic tangents first (Fisher 1915), and back.

    **What an interval covers.** At the level of 95 %, in 95 of 100 cases, the mean answer of models like this one: same
    trainer, other texts of the same size from the same source. One more such model answers within an interval 1.4
    times as wide (``new_text=True``). On texts of the kingdom, with 20 models, these were 94 to 97 of 100. (The middle
    95 % of the models' own answers would hold 80 to 87 of 100 new ones: they tell of chance in the new text, but not in
    this one.) It does not tell of the answer that endless text would give, since small texts make all models wrong in
    the same way; nor of texts of other kinds; nor of several pairs at once.

    Parameters
    ----------
    embedding
        The vectors of the w words, trained on the whole text.
    vectors
        Those of the n other models, float32 of shape (n, w, d); rows of zeros where a word is absent.
    absent
        Where a word did not come up in the text of a model; bool of shape (n, w).
    provenance
        What made it, from what, with which parameters.

    Raises
    ------
    BadInput
        The shapes do not go together, or there are fewer than two models.

    Examples
    --------
    >>> from embedkit import Word2Vec
    >>> from embedkit.text.kingdom import kingdom
    >>> from embedkit.words.resampling import bootstrap
    >>> ensemble = bootstrap(Word2Vec(vector_size=16, epochs=2), kingdom(500), n=3, random_state=1)
    >>> ensemble
    Ensemble(3 models of 357 words, 16 dimensions)
    >>> row, = ensemble.similarity([("king", "queen")])
    >>> row.low < row.similarity < row.high
    True
    """

    def __init__(
        self,
        embedding: Embedding,
        vectors: npt.NDArray[np.float32],
        absent: npt.NDArray[np.bool_],
        provenance: Mapping[str, Any],
    ) -> None:
        if vectors.ndim != 3 or vectors.shape[1:] != embedding.shape or absent.shape != vectors.shape[:2]:
            shapes = f"{vectors.shape} with {absent.shape}"
            raise BadInput(f"models of shape {shapes} for words of shape {embedding.shape}")
        if len(vectors) < 2:
            raise BadInput(f"{len(vectors)} model tells nothing of a spread: at least 2 are needed")
        self.embedding, self.vectors, self.absent = embedding, vectors, absent
        self._provenance = dict(provenance)

    @property
    def labels(self) -> Labels:
        """The w words, the most frequent first."""
        return self.embedding.labels

    @property
    def provenance(self) -> dict[str, Any]:
        """What made it, from what, with which parameters; a copy."""
        return deepcopy(self._provenance)

    def __len__(self) -> int:
        return len(self.vectors)

    def __iter__(self) -> Iterator[Embedding]:
        return (self.member(i) for i in range(len(self)))

    def __repr__(self) -> str:
        return f"Ensemble({len(self)} models of {len(self.labels):,} words, {self.embedding.width} dimensions)"

    def member(self, number: int) -> Embedding:
        """The model of that `number`, from 0: all words; columns ``count`` (in the whole text) and ``absent``."""
        columns = {**self.embedding.columns, "absent": self.absent[number]}
        made = {"made_by": "bootstrap", "member": number, "ensemble": self._provenance}
        return Embedding.from_stored(self.labels, self.vectors[number], columns=columns, provenance=made)

    # -- questions -------------------------------------------------------------------------------------------------

    def similarity(
        self, pairs: Iterable[Sequence[str]], *, level: float = _LEVEL, new_text: bool = False
    ) -> Estimates[Similarity]:
        """The cosine of the two words of each pair, with its interval.

        Parameters
        ----------
        pairs
            m pairs of words.
        level
            How often an interval is to cover what it is for.
        new_text
            Let intervals be for one more model of another text (see the class).

        Returns
        -------
        Estimates
            A row a pair: ``first``, ``second``, ``similarity``, ``low``, ``high``, and in how many ``models`` both
            words are. The interval is NaN where these are fewer than two.

        Raises
        ------
        UnknownWord
            Naming every word that is not there.
        BadInput
            A pair that is not two words, or a `level` that is not between 0 and 1.
        """
        _check_level(level)
        asked, rows = self._pairs(pairs)
        value, spread, models = self._spread(rows)
        low, high = _around(value, _half(spread, models, level, new_text))
        return Estimates(
            Similarity(first, second, *numbers)
            for (first, second), numbers in zip(asked, _rows(np.tanh(value), low, high, models), strict=True)
        )

    def compare(
        self, other: Ensemble, pairs: Iterable[Sequence[str]], *, level: float = _LEVEL
    ) -> Estimates[Difference]:
        """By how much the cosines of pairs are larger here than in another ensemble, with intervals.

        Two ensembles of the same corpus and seed (of two trainers, say) drew the same documents, and are compared model
        by model, which tells smaller differences apart. Others, such as of two corpora, are taken for independent.

        Parameters
        ----------
        other
            The other ensemble, of other words perhaps.
        pairs
            m pairs of words that both have.
        level
            As for `similarity`.

        Returns
        -------
        Estimates
            A row a pair: ``first``, ``second``, ``here``, ``there`` (cosines), ``difference``, ``low``, ``high``, and
            the fewer ``models`` of the two that have both words. An interval without 0 tells them apart, at that level
            for each pair by itself: of 20 pairs that do not differ, one will seem to, at 95 %.

        Raises
        ------
        UnknownWord, BadInput
            As for `similarity`.
        """
        _check_level(level)
        asked, rows = self._pairs(pairs)
        here, there = self._cosines(rows), other._cosines(other._pairs(asked)[1])
        mine, theirs = self._provenance.get("drawn"), other._provenance.get("drawn")
        difference = here[0] - there[0]
        if mine is not None and mine == theirs and len(self) == len(other):
            paired = here[1:] - there[1:]
            models = (~np.isnan(paired)).sum(axis=0)
            spread = _deviation(paired)
        else:
            models = np.minimum(*((~np.isnan(some[1:])).sum(axis=0) for some in (here, there)))
            spread = np.hypot(_deviation(here[1:]), _deviation(there[1:]))
        half = _half(spread, models, level, False)
        columns = _rows(here[0], there[0], difference, difference - half, difference + half, models)
        return Estimates(
            Difference(first, second, *numbers) for (first, second), numbers in zip(asked, columns, strict=True)
        )

    def similar(self, words: str | Sequence[str], k: int = 10, *, level: float = _LEVEL) -> Estimates[Similar]:
        """The `k` words that are nearest to each of `words` over all models.

        They are in the order of their mean cosine in the n models of drawn texts, which is steadier than their order in
        any model; words that are absent from half of these or more are left out.

        Parameters
        ----------
        words
            A word, or several.
        k
            How many answers each.
        level
            As for `similarity`.

        Returns
        -------
        Estimates
            A row an answer: ``query``, ``rank``, ``label``, ``similarity`` (in the model of the whole text), ``low``,
            ``high``, and the ``share`` of the models that have the label among their own `k` nearest.

        Raises
        ------
        UnknownWord
            Naming every word that is not there.
        BadInput
            `k` is less than 1, or `level` is not between 0 and 1.
        """
        check_whole("k", k, 1)
        _check_level(level)
        asked = [words] if isinstance(words, str) else list(words)
        answers: list[Similar] = []
        for word, row in zip(asked, self.embedding.rows(asked).tolist(), strict=True):
            cosines = self._cosines_with(row)
            there = (~np.isnan(cosines)).sum(axis=0)
            with np.errstate(invalid="ignore"):
                means = np.where(2 * there > len(self), np.nansum(cosines, axis=0) / there, -np.inf)
            best = _first(means, k)
            near = Counter(i for each in cosines for i in _first(np.where(np.isnan(each), -np.inf, each), k).tolist())
            found = self.similarity([(word, self.labels[i]) for i in best.tolist()], level=level)
            for rank, (i, one) in enumerate(zip(best.tolist(), found, strict=True), start=1):
                share = near[i] / int((~self.absent[:, row]).sum())
                answers.append(Similar(word, rank, one.second, one.similarity, one.low, one.high, share))
        return Estimates(answers)

    def analogies(
        self, questions: Iterable[Sequence[str]], k: int = 3, *, restrict: int | None = None
    ) -> Estimates[AnalogyShare]:
        """What the models answer to each question ``a - b + c``.

        Parameters
        ----------
        questions
            m triples (a, b, c), as in king - man + woman.
        k
            At most how many answers each: those of the most models.
        restrict
            Only the first so many words may be answers.

        Returns
        -------
        Estimates
            A row an answer: ``query``, ``rank``, ``label``, the ``share`` of the models whose best answer it is,
            whether the model of the ``whole`` text answers so too, and how many ``models`` have a, b and c.

        Raises
        ------
        UnknownWord, BadInput
            As for `embedkit.Search.analogies`.
        """
        from embedkit.search import Search

        check_whole("k", k, 1)
        asked = [(one,) if isinstance(one, str) else tuple(one) for one in questions]
        usual = Search(self.embedding).analogies(asked, 1, restrict=restrict)
        if not asked:
            return Estimates([])
        rows = self.embedding.rows([word for one in asked for word in one]).reshape(-1, 3)
        counters: list[Counter[str | None]] = [Counter() for _ in asked]
        for number, member in enumerate(self):
            able = np.flatnonzero(~self.absent[number][rows].any(axis=1)).tolist()
            best = Search(member).analogies([asked[i] for i in able], 1, restrict=restrict).best if able else []
            for i, answer in zip(able, best, strict=True):
                counters[i][answer] += 1
        answers = []
        for query, said, counter in zip(usual.queries, usual.best, counters, strict=True):
            models = sum(counter.values())
            ordered = sorted(counter.items(), key=lambda one: (-one[1], one[0] != said, str(one[0])))[:k]
            for rank, (label, times) in enumerate(ordered, start=1):
                answers.append(AnalogyShare(query, rank, label, times / models, label == said, models))
        return Estimates(answers)

    # -- how it is done ----------------------------------------------------------------------------------------------

    def _pairs(self, pairs: Iterable[Sequence[str]]) -> tuple[list[tuple[str, str]], npt.NDArray[np.int64]]:
        """Pairs as tuples, and their rows (m, 2)."""
        if isinstance(pairs, str):
            raise BadInput(f"expected a list of pairs, not the string '{pairs[:60]}': write [(first, second)]")
        asked: list[tuple[str, str]] = []
        for number, pair in enumerate(pairs):
            if isinstance(pair, str) or len(pair) != 2:
                raise BadInput(f"pair {number} must be two words, not {pair!r:.60}")
            asked.append((pair[0], pair[1]))
        return asked, self.embedding.rows([word for pair in asked for word in pair]).reshape(-1, 2)

    def _cosines(self, rows: npt.NDArray[np.int64]) -> Doubles:
        """Of pairs (m, 2): (1 + n, m), the model of the whole text first; NaN where a word is absent."""
        flat = rows.ravel()
        units = [
            _units(some[flat]).reshape(len(rows), 2, self.embedding.width)
            for some in (self.embedding.vectors, *self.vectors)
        ]
        cosines: Doubles = np.array([np.einsum("ij,ij->i", one[:, 0], one[:, 1]) for one in units])
        cosines[1:][self.absent[:, rows].any(axis=2)] = np.nan
        return cosines

    def _cosines_with(self, row: int) -> Doubles:
        """Of all words with one, in each of the n models: (n, w), NaN where one is absent, and for the word itself."""
        cosines = np.empty(self.absent.shape)
        for number, vectors in enumerate(self.vectors):
            norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
            products = (vectors @ vectors[row]).astype(np.float64)
            lengths = norms * norms[row]
            cosines[number] = np.divide(products, lengths, out=np.zeros_like(norms), where=lengths > 0)
        cosines[self.absent | self.absent[:, [row]]] = np.nan
        cosines[:, row] = np.nan
        return cosines

    def _spread(self, rows: npt.NDArray[np.int64]) -> tuple[Doubles, Doubles, npt.NDArray[np.int64]]:
        """Of pairs: the value in the model of the whole text, the deviation of the others, and how many these are."""
        cosines = self._cosines(rows)
        bent = np.arctanh(np.clip(cosines, -_NEARLY, _NEARLY))
        return bent[0], _deviation(bent[1:]), (~np.isnan(bent[1:])).sum(axis=0)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one checksummed file, which `embedkit.load` maps into memory.

        Raises
        ------
        BadFile
            The file cannot be written.
        """
        tensors: dict[str, npt.NDArray[Any]] = {
            "label_offsets": self.labels.offsets,
            "counts": self.embedding.columns["count"],
            "whole": self.embedding.vectors,
            "vectors": self.vectors,
            "absent": self.absent,
            "labels": np.frombuffer(self.labels.blob, dtype=np.uint8),
        }
        about = {"class": "Ensemble", "provenance": self._provenance, "whole": self.embedding.provenance}
        write_tensors(tensors, about, path)


_NEARLY = 1 - 1e-12  # the largest cosine that has an inverse hyperbolic tangent


def _units(vectors: npt.NDArray[np.float32]) -> Doubles:
    wide = vectors.astype(np.float64)
    norms = np.sqrt(np.einsum("ij,ij->i", wide, wide))[:, None]
    units: Doubles = np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 0)
    return units


def _deviation(values: Doubles) -> Doubles:
    """The standard deviation of each column of (n, m), without what is NaN; NaN where fewer than two remain."""
    there = ~np.isnan(values)
    models = there.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(there, values, 0).sum(axis=0) / models
        squares = np.where(there, (values - means) ** 2, 0).sum(axis=0)
        deviations: Doubles = np.sqrt(np.where(models > 1, squares / (models - 1.0), np.nan))
    return deviations


def _half(spread: Doubles, models: npt.NDArray[np.int64], level: float, new_text: bool) -> Doubles:
    """Half the width of intervals."""
    from scipy.special import stdtrit

    half: Doubles = stdtrit(np.maximum(models - 1, 1), (1 + level) / 2) * spread * (np.sqrt(2) if new_text else 1)
    return half


def _around(value: Doubles, half: Doubles) -> tuple[Doubles, Doubles]:
    return np.tanh(value - half), np.tanh(value + half)


def _rows(*columns: npt.NDArray[Any]) -> Iterator[tuple[Any, ...]]:
    """Columns as rows of Python's numbers."""
    return zip(*(column.tolist() for column in columns), strict=True)


def _first(values: Doubles, k: int) -> npt.NDArray[np.int64]:
    """The places of the `k` largest that are more than minus infinity, the largest first, then the lower place."""
    k = min(k, int((values > -np.inf).sum()))
    if k == 0:
        return np.empty(0, dtype=np.int64)
    least = np.partition(values, len(values) - k)[len(values) - k]
    places = np.flatnonzero(values >= least)
    return places[np.lexsort((places, -values[places]))][:k]


def _check_level(level: float) -> None:
    check_number("level", level, 0, 1)
    if level in (0, 1):
        raise BadInput(f"level must lie between 0 and 1, not be {level}")


def from_tensors(tensors: Tensors, path: str | os.PathLike[str], *, verify: bool) -> Ensemble:
    """The ensemble that the arrays of a file make, which errors call `path`; `verify` looks at every value."""
    arrays, about = tensors
    try:
        labels = Labels.from_blob(arrays["labels"].tobytes(), arrays["label_offsets"])
        whole, counts = arrays["whole"], arrays["counts"]
        for name, dtype in (("whole", np.float32), ("vectors", np.float32), ("counts", np.int64), ("absent", np.bool_)):
            if arrays[name].dtype != dtype:
                raise BadInput(f"'{name}' is {arrays[name].dtype}, expected {np.dtype(dtype)}")
        if whole.ndim != 2 or len(whole) != len(labels) or counts.shape != (len(labels),):
            raise BadInput(f"{len(labels)} words for vectors of shape {whole.shape} and counts of {counts.shape}")
        if verify:
            labels.check_distinct()
            if not all(np.isfinite(some).all() for some in (whole, *arrays["vectors"])):
                raise BadInput("it holds a number that is not finite")
        embedding = Embedding.from_stored(labels, whole, columns={"count": counts}, provenance=dict(about["whole"]))
        return Ensemble(embedding, arrays["vectors"], arrays["absent"], dict(about["provenance"]))
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        if isinstance(error, BadInput):
            raise BadFile(path, str(error)) from None
        raise BadFile(path, f"embedkit's metadata is not what was expected ({error})", "header") from None
