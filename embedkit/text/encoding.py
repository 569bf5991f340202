"""A corpus as word ids in one pass, larger than memory if need be.

Files of plain text are scanned by a compiled kernel that splits at white space and numbers the distinct pieces. The
tokenizers of `embedkit.text.tokens` never look beyond white space, so it is enough to tokenize each *distinct* piece:
100 MB of English have some hundred thousand. Everything else goes through `Corpus` document by document, with the same
result. The stream of pieces lies in a temporary file until all counts are known; then it is renumbered by frequency.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadFile, BadInput, EmbedkitError, printable
from embedkit.files.cache import cache_folder, locked
from embedkit.files.opening import bytes_read, opened
from embedkit.progress import Callback, Progress
from embedkit.text.encoded import EncodedCorpus, load_encoded
from embedkit.text.sources import BYTE_ORDER_MARK, documents, is_json, opened_text
from embedkit.text.tokens import description
from embedkit.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from embedkit.text.corpus import Corpus

_VERSION = 1  # of what is in the cache: raised when the same corpus would be encoded otherwise
_BLOCK = 2**22  # bytes of text scanned together, and ids renumbered together
_WORTH_CACHING = 2**20  # bytes; smaller texts are encoded sooner than they are looked up


def encode(
    corpus: Corpus,
    path: str | os.PathLike[str] | None = None,
    *,
    cache: bool = True,
    callback: Callback | None = None,
) -> EncodedCorpus:
    """Count the words of `corpus` and write it as word ids.

    Parameters
    ----------
    corpus
        What to encode.
    path
        Where to keep the result. `None`: in the cache folder if `cache` allows it and the result can be told from
        others by the content of its files, else in a temporary file that goes with the process.
    cache
        See `path`.
    callback
        Called with a `Progress` in bytes of files read (packed ones as packed), or in documents.

    Returns
    -------
    EncodedCorpus
        Memory-mapped.
    """
    if path is not None:
        _encode(corpus, Path(path).parent, callback).save(path)
        return load_encoded(path)
    files = corpus.files()
    own_tokenizer = description(corpus.tokenize) is None
    if not cache or own_tokenizer or sum(file.stat().st_size for file in files) < _WORTH_CACHING:
        return _encode(corpus, None, callback)
    about = corpus.describe()
    # Files are told by their content, whatever they are called.
    content = json.dumps([_VERSION, {**about, "files": [file["sha256"] for file in about["files"]]}], sort_keys=True)
    kept = cache_folder("corpora") / f"{hashlib.sha256(content.encode()).hexdigest()}.safetensors"
    with locked(kept):
        if kept.exists():
            try:
                found = load_encoded(kept, verify=True)
            except EmbedkitError:  # damaged: made again
                kept.unlink()
            else:
                return EncodedCorpus(found.ids, found.ends, found.vocabulary, _provenance(about))
        _encode(corpus, kept.parent, callback).save(kept)
        return load_encoded(kept)


def _provenance(about: dict[str, Any]) -> dict[str, Any]:
    return {"made_by": "encode", "corpus": about}


class _Pieces(NamedTuple):
    """A corpus in pieces.

    Attributes
    ----------
    stream
        Numbers of the pieces, with separators between documents.
    counts
        How often each of the p distinct pieces was seen.
    words
        The distinct tokens that they consist of, in the order of their first appearance.
    tokens
        Numbers of the tokens of all distinct pieces, one piece after another.
    first
        Where in `tokens` each piece begins, shape (p + 1,); empty where each is one token.
    """

    stream: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int64]
    words: list[str]
    tokens: npt.NDArray[np.int32]
    first: npt.NDArray[np.int64]

    @classmethod
    def as_words(cls, stream: npt.NDArray[np.int32], counts: npt.NDArray[np.int64], words: list[str]) -> _Pieces:
        """Pieces that are words already."""
        return cls(stream, counts, words, np.arange(len(words), dtype=np.int32), np.empty(0, dtype=np.int64))

    @classmethod
    def of_tokens(
        cls, stream: npt.NDArray[np.int32], counts: npt.NDArray[np.int64], tokens: Sequence[Sequence[str]]
    ) -> _Pieces:
        """Pieces that consist of `tokens` each."""
        numbers: dict[str, int] = {}
        flat = [numbers.setdefault(token, len(numbers)) for piece in tokens for token in piece]
        first = np.cumsum([0, *map(len, tokens)], dtype=np.int64)
        return cls(stream, counts, list(numbers), np.array(flat, dtype=np.int32), first)


def _encode(corpus: Corpus, folder: Path | None, callback: Callback | None) -> EncodedCorpus:
    files = corpus.files()
    with _Scratch(folder) as scratch:
        pieces = _scanned(corpus, files, scratch, callback) if _scannable(corpus, files) else None
    if pieces is None:
        with _Scratch(folder) as scratch:
            pieces = _read(corpus, scratch, callback)
    return _renumbered(corpus, pieces, folder)


def _scannable(corpus: Corpus, files: Sequence[Path]) -> bool:
    return (
        bool(files)
        and description(corpus.tokenize) is not None
        and not corpus._picks
        and not any(is_json(path, corpus.field) for path in files)
    )


# -- first pass: pieces ------------------------------------------------------------------------------------------------


def _scanned(corpus: Corpus, files: Sequence[Path], scratch: _Scratch, callback: Callback | None) -> _Pieces | None:
    """Plain text; `None` where a piece is so long that only its tokens can tell whether it is in order."""
    from embedkit.kernels.scan_text import PieceTable

    table = PieceTable({"line": 1, "paragraph": 2, "file": 0}[corpus.unit])
    tell = _meter(callback, "bytes", sum(path.stat().st_size for path in files))
    for path in files:
        for stream, too_long in _blocks(table, path, tell):
            if too_long is not None and corpus.tokenize is not str.split:
                return None
            if too_long is not None:
                raise BadFile(path, "a word is longer than 64 KiB", f"after byte {too_long}")
            scratch.write(stream)
        table.end_document()
    if b"\0" in table.letters():
        raise _nul(files)
    try:
        texts = table.texts()
    except UnicodeDecodeError:
        for path in files:  # reading line by line tells where
            for _ in documents(path, "line", None):
                pass
        raise
    stream = scratch.mapped()
    if corpus.tokenize is str.split and not corpus.normalise:
        return _Pieces.as_words(stream, table.counts, texts)
    return _Pieces.of_tokens(stream, table.counts, [corpus.split(text) for text in texts])


def _blocks(table: Any, path: Path, tell: Callable[[int], None]) -> Iterator[tuple[npt.NDArray[np.int32], int | None]]:
    """The pieces of a file, block by block; with the place of a piece that is too long, after which nothing comes."""
    buffer = np.zeros(2 * _BLOCK + 3, dtype=np.uint8)
    left = at = told = 0  # bytes in the buffer; where it starts in the text; bytes of the file told of
    with opened_text(path) as stream:
        last = False
        while not last:
            got = stream.readinto(buffer[left : left + _BLOCK].data)
            last = got == 0
            tell(bytes_read(stream) - told)
            told = bytes_read(stream)
            stop = left + got
            buffer[stop : stop + 3] = 0  # what the kernel may look at beyond the end
            if at == 0 and left == 0 and buffer[:3].tobytes() == BYTE_ORDER_MARK:
                buffer[:3] = 32  # no part of the first word
            pieces, used, too_long = table.scan(buffer, stop, last=last)
            left = stop - used
            at += used
            yield pieces, at if too_long else None
            buffer[:left] = buffer[used:stop]


def _nul(files: Sequence[Path]) -> BadInput:
    for path in files:
        number = 1
        with opened(path) as stream:
            while part := stream.read(_BLOCK):
                if b"\0" in part:
                    number += part[: part.index(0)].count(b"\n")
                    return BadFile(path, "holds a NUL character, which no word may", f"line {number}")
                number += part.count(b"\n")
    return BadInput("a word holds a NUL character")


def _read(corpus: Corpus, scratch: _Scratch, callback: Callback | None) -> _Pieces:
    """Any corpus, document by document: here the pieces are the tokens."""
    from embedkit.kernels.scan_text import SEPARATOR

    numbers: dict[str, int] = {}
    counts = np.zeros(0, dtype=np.int64)
    block: list[int] = []
    tell = _meter(callback, "documents", 0)

    def flush() -> None:
        nonlocal counts
        stream = np.array(block, dtype=np.int32)
        scratch.write(stream)
        seen = np.bincount(stream[stream >= 0], minlength=len(numbers))
        counts = seen + np.pad(counts, (0, len(seen) - len(counts)))
        block.clear()

    documents_in_block = 0
    for tokens in corpus:
        documents_in_block += 1
        block.extend([numbers.setdefault(token, len(numbers)) for token in tokens])
        block.append(SEPARATOR)
        if len(block) > _BLOCK // 4:
            tell(documents_in_block)
            documents_in_block = 0
            flush()
    tell(documents_in_block)
    flush()
    return _Pieces.as_words(scratch.mapped(), counts, list(numbers))


# -- second pass: words by frequency -----------------------------------------------------------------------------------


def _renumbered(corpus: Corpus, pieces: _Pieces, folder: Path | None) -> EncodedCorpus:
    from embedkit.kernels.scan_text import LONGEST, renumber

    stream, seen, words, tokens, first = pieces
    if max(map(len, words), default=0) > LONGEST // 4:
        for word in words:
            if len(word.encode("utf-8", "replace")) > LONGEST:
                raise BadInput(f"a word is longer than 64 KiB: '{printable(word[:40])}...'")
    lengths = np.diff(first) if len(first) else np.ones(len(seen), dtype=np.int64)
    counts = np.zeros(len(words), dtype=np.int64)
    np.add.at(counts, tokens, np.repeat(seen, lengths))
    order = np.argsort(-counts, kind="stable")  # equally frequent words in the order of their first appearance
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    ranked = rank[tokens]
    vocabulary = Vocabulary([words[i] for i in order.tolist()], counts[order])

    ids = room(int(seen @ lengths), np.int32, folder)
    ends = room(int((stream < 0).sum()) + 1, np.int64, folder)
    state = np.zeros(3, dtype=np.int64)
    for start in range(0, len(stream), _BLOCK):
        renumber(stream[start : start + _BLOCK], first, ranked, ids, ends, state)
    written, documents_ended, last_end = state.tolist()
    if written > last_end:
        ends[documents_ended] = written
        documents_ended += 1
    return EncodedCorpus(ids, ends[:documents_ended], vocabulary, _provenance(corpus.describe()))


class _Scratch:
    """A file without a name for the stream of pieces, which goes when nobody looks at it any more.

    Parameters
    ----------
    folder
        Where; `None` for the usual place for temporary files.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        with _disk(folder):
            self._stream = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):  # a full disk has been told of
            self._stream.close()

    def write(self, stream: npt.NDArray[np.int32]) -> None:
        """Add numbers to it."""
        with _disk(self._folder):
            self._stream.write(stream.data)

    def mapped(self) -> npt.NDArray[np.int32]:
        """All of it."""
        with _disk(self._folder):
            self._stream.flush()
            if os.fstat(self._stream.fileno()).st_size == 0:
                return np.empty(0, dtype=np.int32)
            return np.memmap(self._stream, dtype=np.int32, mode="r")


def room(size: int, dtype: npt.DTypeLike, folder: Path | None) -> npt.NDArray[Any]:
    """An array in a file without a name, which goes when the array does."""
    if size == 0:
        return np.empty(0, dtype=dtype)
    with _disk(folder), tempfile.TemporaryFile(dir=folder) as stream:
        os.posix_fallocate(stream.fileno(), 0, size * np.dtype(dtype).itemsize)  # a full disk is found out here
        return np.memmap(stream, dtype=dtype, mode="r+", shape=(size,))


@contextlib.contextmanager
def _disk(folder: Path | None) -> Iterator[None]:
    """What the system says of a temporary file, as an error that names its place."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        try:
            place: object = folder or tempfile.gettempdir()
        except OSError:
            place = "the temporary folder"
        reason = getattr(error, "strerror", None) or error
        raise BadFile(place, f"cannot hold the encoded corpus: {reason}") from error


def _meter(callback: Callback | None, unit: str, total: int) -> Callable[[int], None]:
    start, done = time.perf_counter(), 0

    def tell(more: int) -> None:
        nonlocal done
        done += more
        if callback is not None:
            callback(Progress(1, 1, done, total, unit, float("nan"), time.perf_counter() - start))

    return tell
