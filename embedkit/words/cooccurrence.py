"""Co-occurrence counts: how often two words stand near each other. What GloVe and PPMI are made from."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadFile, BadInput
from embedkit.files.atomic import replacing
from embedkit.labels import Labels
from embedkit.text import Corpus, EncodedCorpus, Vocabulary
from embedkit.words.checks import check_flag, check_whole

if TYPE_CHECKING:
    import scipy.sparse

# The arrays of a saved file, and what kinds of numbers they hold.
_PARTS = {
    "data": "f",
    "indices": "i",
    "indptr": "i",
    "words": "u",
    "word_offsets": "i",
    "word_counts": "i",
    "about": "u",
}
_ENTRY = 2 * 12  # bytes that counting needs for an entry: a column and a value, twice
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kMGT]?)B?", re.ASCII)
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class Cooccurrence:
    """Counts of words near each other, with the words they belong to.

    Parameters
    ----------
    vocabulary
        n words.
    matrix
        (n, n) sparse matrix: entry (i, j) is how often word j stands near word i, float64.
    provenance
        What it was made from and how.

    Examples
    --------
    >>> from embedkit import Corpus
    >>> counts = Cooccurrence.count(Corpus(["the king rules", "the queen rules"]), min_count=1, window=2)
    >>> list(counts.vocabulary), counts.matrix.toarray()[0].tolist()
    (['the', 'rules', 'king', 'queen'], [0.0, 1.0, 1.0, 1.0])
    """

    def __init__(self, vocabulary: Vocabulary, matrix: Any, provenance: Mapping[str, Any]) -> None:
        import scipy.sparse

        self.vocabulary = vocabulary
        self.matrix: scipy.sparse.csr_matrix = scipy.sparse.csr_matrix(matrix, dtype=np.float64, copy=False)
        n = len(vocabulary)
        if self.matrix.shape != (n, n):
            raise BadInput(f"{n} words for counts of shape {self.matrix.shape}")
        if not ((self.matrix.data > 0) & np.isfinite(self.matrix.data)).all():
            raise BadInput("counts must be positive and finite")
        self._provenance = dict(provenance)

    @property
    def provenance(self) -> dict[str, Any]:
        """What it was made from and how; a copy."""
        return deepcopy(self._provenance)

    def __repr__(self) -> str:
        return f"Cooccurrence({len(self.vocabulary):,} words, {self.matrix.nnz:,} counts)"

    @classmethod
    def count(
        cls,
        corpus: Corpus | EncodedCorpus,
        *,
        window: int = 10,
        min_count: int = 5,
        max_final_vocab: int | None = None,
        symmetric: bool = True,
        distance_weighting: bool = True,
        memory: str | int = "2GB",
        workers: int = 1,
    ) -> Cooccurrence:
        """Count, as Stanford's GloVe does (Pennington, Socher & Manning 2014).

        Parameters
        ----------
        corpus
            What to count in; windows never cross its documents.
        window
            Largest distance between two words that are near each other.
        min_count, max_final_vocab
            Which words to keep; see `Vocabulary.prune`. Others are left out before windows are made.
        symmetric
            Count words on both sides; else only where the word of the row comes first.
        distance_weighting
            Let two words at a distance of d add 1 / d, not 1.
        memory
            About how much memory counting may take, in bytes or as ``"500MB"``; what is more is counted in slices of
            the vocabulary, which are put together on disk.
        workers
            Threads; the result does not depend on them.

        Raises
        ------
        BadInput
            A parameter makes no sense, or no word reaches `min_count`.
        BadFile
            The disk is full.
        """
        import scipy.sparse

        from embedkit.kernels.cooccurrence import stream_of
        from embedkit.kernels.sampling import Text

        if not isinstance(corpus, Corpus | EncodedCorpus):
            raise BadInput(f"words are counted in an embedkit.Corpus, not in a {type(corpus).__name__}")
        for name, value in (("window", window), ("min_count", min_count), ("workers", workers)):
            check_whole(name, value, 1)
        if max_final_vocab is not None:
            check_whole("max_final_vocab", max_final_vocab, 1)
        for name, flag in (("symmetric", symmetric), ("distance_weighting", distance_weighting)):
            check_flag(name, flag)
        budget = bytes_of(memory)
        encoded = corpus if isinstance(corpus, EncodedCorpus) else corpus.encode()
        vocabulary = encoded.vocabulary.prune(min_count, max_final_vocab)
        if not len(vocabulary):
            raise BadInput(f"0 of {len(encoded.vocabulary)} words reach min_count={min_count}: lower it or add text")
        stream = stream_of(Text(encoded.ids, encoded.ends), len(vocabulary))
        reach = min(window, int(np.diff(encoded.ends, prepend=0).max(initial=1)))  # no document is wider
        options = {"symmetric": symmetric, "weighted": distance_weighting, "workers": workers}
        starts, columns, values = _in_slices(stream, vocabulary, reach, budget, options)
        matrix = scipy.sparse.csr_matrix((values, columns, starts), shape=(len(vocabulary),) * 2)
        parameters = {"window": window, "min_count": min_count, "max_final_vocab": max_final_vocab,
                      "symmetric": bool(symmetric), "distance_weighting": bool(distance_weighting)}  # fmt: skip
        about = {**encoded.provenance.get("corpus", {}), "documents": encoded.documents, "tokens": encoded.tokens}
        return cls(vocabulary, matrix, {"made_by": "Cooccurrence.count", "parameters": parameters, "corpus": about})

    def merged(self, other: Cooccurrence) -> Cooccurrence:
        """The counts of two texts together: of all words of either, counted as each of them counted.

        Raises
        ------
        BadInput
            They were counted with other windows or weights.
        """
        mine, theirs = (dict(one.provenance.get("parameters", {})) for one in (self, other))
        for name in ("window", "symmetric", "distance_weighting"):
            if mine.get(name) != theirs.get(name):
                raise BadInput(f"cannot add counts with {name}={mine.get(name)} and {name}={theirs.get(name)}")
        import scipy.sparse

        total: dict[str, int] = {}
        for one in (self, other):
            for word, count in zip(one.vocabulary, one.vocabulary.counts.tolist(), strict=True):
                total[word] = total.get(word, 0) + count
        words = sorted(total, key=lambda word: -total[word])
        row_of = {word: row for row, word in enumerate(words)}
        matrix = scipy.sparse.csr_matrix((len(words), len(words)))
        for one in (self, other):
            rows = np.array([row_of[word] for word in one.vocabulary], dtype=np.int64)
            entries = one.matrix.tocoo()
            matrix += scipy.sparse.csr_matrix(
                (entries.data, (rows[entries.row], rows[entries.col])), shape=matrix.shape
            )
        vocabulary = Vocabulary(words, [total[word] for word in words])
        parts = [one.provenance for one in (self, other)]
        return Cooccurrence(vocabulary, matrix, {"made_by": "merged", "parameters": mine, "from": parts})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an .npz file, all or nothing, that `load` opens, and `scipy.sparse.load_npz` too (without the words).

        Raises
        ------
        BadFile
            The file cannot be written.
        """
        words = self.vocabulary.words
        with replacing(path) as stream:
            np.savez(
                stream,
                format=np.array("csr".encode("ascii")),
                shape=np.array(self.matrix.shape),
                data=self.matrix.data,
                indices=self.matrix.indices,
                indptr=self.matrix.indptr,
                words=np.frombuffer(words.blob, dtype=np.uint8),
                word_offsets=words.offsets,
                word_counts=self.vocabulary.counts,
                about=np.frombuffer(json.dumps(self._provenance).encode("ascii"), dtype=np.uint8),
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Cooccurrence:
        """Open what `save` wrote.

        Raises
        ------
        BadFile
            It cannot be read, is damaged, or is no such file.
        """
        from embedkit.formats.arrays import read_arrays

        def choose(members: Collection[str]) -> tuple[str, ...]:
            missing = [name for name in _PARTS if name not in members]
            if missing:
                raise BadFile(path, f"is no file of co-occurrence counts: its part '{missing[0]}' is missing")
            return tuple(_PARTS)

        arrays = read_arrays(path, choose)
        try:
            for name, kinds in _PARTS.items():
                if arrays[name].dtype.kind not in kinds or arrays[name].ndim != 1:
                    raise BadInput(f"'{name}' is {arrays[name].dtype} of {arrays[name].ndim} dimensions")
            words = Labels.from_blob(arrays["words"].tobytes(), arrays["word_offsets"])
            words.check_distinct()
            about = json.loads(arrays["about"].tobytes())
            if not isinstance(about, dict):
                raise BadInput("its provenance is no record")
            return cls(Vocabulary(words, arrays["word_counts"]), _checked_matrix(arrays, len(words)), about)
        except (BadInput, ValueError) as error:
            raise BadFile(path, f"is no file of co-occurrence counts, or a damaged one ({error})") from None


def _checked_matrix(arrays: Mapping[str, npt.NDArray[Any]], n: int) -> Any:
    import scipy.sparse

    data, columns, starts = arrays["data"], arrays["indices"], arrays["indptr"]
    if len(starts) != n + 1 or starts[0] != 0 or starts[-1] != len(data) or len(columns) != len(data):
        raise BadInput("its counts do not fit their rows and columns")
    if (np.diff(starts) < 0).any() or (len(columns) and not 0 <= columns.min() <= columns.max() < n):
        raise BadInput("a row or column of its counts does not exist")
    within = np.ones(len(columns), dtype=np.bool_)  # columns rise within a row
    within[starts[:-1][starts[:-1] < len(columns)]] = False
    if (np.diff(columns, prepend=-1)[within] <= 0).any():
        raise BadInput("a row of its counts holds a column twice, or out of order")
    return scipy.sparse.csr_matrix((data, columns, starts), shape=(n, n))


def bytes_of(memory: str | int) -> int:
    """A size in bytes: a number, or text such as ``"2GB"`` or ``"500 MB"``.

    Examples
    --------
    >>> bytes_of("1.5GB")
    1500000000

    Raises
    ------
    BadInput
        It is neither.
    """
    match = _SIZE.fullmatch(memory.strip()) if isinstance(memory, str) else None
    size = int(float(match[1]) * _UNITS[match[2]]) if match is not None else memory
    if not isinstance(size, int | np.integer) or size < 1:
        raise BadInput(f"memory is a number of bytes, or text as '2GB', not {memory!r}")
    return int(size)


def _in_slices(
    stream: npt.NDArray[np.int32], vocabulary: Vocabulary, window: int, budget: int, options: dict[str, Any]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Row starts, columns and values of all counts; in files without a name if they need more than the budget."""
    from embedkit.kernels.cooccurrence import count_rows

    n = len(vocabulary)
    most = np.minimum(vocabulary.counts * (2 * window), n) * _ENTRY + vocabulary.counts * 8
    if most.sum() <= budget:
        whole = count_rows(stream, n, window, **options)
        return whole.starts, whole.columns, whole.values
    # Each slice holds as many rows as surely fit, but at least one.
    slices = [0]
    while slices[-1] < n:
        fit = int(np.searchsorted(np.cumsum(most[slices[-1] :]), budget, side="right"))
        slices.append(slices[-1] + max(1, fit))
    sizes = []
    with _no_room_told(), tempfile.TemporaryFile() as columns, tempfile.TemporaryFile() as values:
        for first, last in pairwise(slices):
            part = count_rows(stream, n, window, first=first, last=min(last, n), **options)
            columns.write(part.columns.data)
            values.write(part.values.data)
            sizes.append(np.diff(part.starts))
        starts = np.concatenate([[0], np.cumsum(np.concatenate(sizes))])
        for part_file in (columns, values):
            part_file.flush()
        return starts, _mapped(columns, np.int32, starts[-1]), _mapped(values, np.float64, starts[-1])


@contextlib.contextmanager
def _no_room_told() -> Iterator[None]:
    """What the system says of temporary files, as an error that names their place."""
    try:
        yield
    except OSError as error:
        place = os.environ.get("TMPDIR", "the temporary folder")
        with contextlib.suppress(OSError):  # there is none at all
            place = tempfile.gettempdir()
        raise BadFile(place, f"cannot hold the counts: {error.strerror or error}") from error


def _mapped(stream: Any, dtype: npt.DTypeLike, size: int) -> npt.NDArray[Any]:
    return np.memmap(stream, dtype=dtype, mode="r", shape=(int(size),)) if size else np.empty(0, dtype=dtype)
