"""A corpus: documents of tokens that can be read again and again."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

from embedkit.errors import BadFile, BadInput

Document: TypeAlias = str | Sequence[str]
Tokenizer: TypeAlias = Callable[[str], list[str]]

_GZIP = b"\x1f\x8b"
_LONGEST_LINE = 2**28  # bytes; text8 is a single line of 10^8


class Corpus:
    """Documents of tokens, read from the start at every pass.

    Parameters
    ----------
    source
        One of

        - a `pathlib.Path`, or a list of them: UTF-8 text files, gzip-compressed or not, one document a line;
        - a list of documents;
        - a function without arguments that gives a fresh iterable of documents at each call.

        A document is a string, which `tokenize` splits, or a list of tokens, which is taken as it is.
        Empty documents are left out.
    tokenize
        Splits a string into tokens; by default at whitespace.

    Raises
    ------
    BadInput
        `source` is a plain string (text or path? say which) or can be read only once, as a generator.

    Examples
    --------
    >>> corpus = Corpus(["the king rules", "the queen rules"])
    >>> list(corpus)
    [['the', 'king', 'rules'], ['the', 'queen', 'rules']]
    >>> list(Corpus(["A Rose"], tokenize=lambda text: text.lower().split()))
    [['a', 'rose']]
    """

    def __init__(
        self,
        source: Path | Sequence[Path] | Sequence[Document] | Callable[[], Iterable[Document]],
        *,
        tokenize: Tokenizer = str.split,
    ) -> None:
        self.tokenize = tokenize
        self._paths: tuple[Path, ...] = ()
        if isinstance(source, str | bytes):
            raise BadInput("a plain string is not a corpus: for a file write Corpus.from_file(path), for text a list")
        if isinstance(source, os.PathLike):
            self._paths = (Path(source),)
        elif callable(source):
            self._documents: Callable[[], Iterable[Document]] = source
        elif isinstance(source, Iterator):
            raise BadInput(
                "an iterator can be read only once, training reads many times: pass a function that makes it"
            )
        elif not isinstance(source, Iterable):
            raise BadInput(f"a corpus is made of paths, documents or a function that gives them, not {source!r:.60}")
        elif isinstance(source, Sequence) and source and all(isinstance(item, os.PathLike) for item in source):
            self._paths = tuple(Path(cast(Path, item)) for item in source)
        else:
            documents = cast(Iterable[Document], source)
            self._documents = lambda: documents
        if self._paths:
            self._documents = lambda: (line for path in self._paths for line in _lines(path))
        self._once: Iterable[Document] | None = None

    @classmethod
    def from_file(cls, *paths: str | os.PathLike[str], tokenize: Tokenizer = str.split) -> Corpus:
        """UTF-8 text files, gzip-compressed or not (found out from their content), one document a line.

        Parameters
        ----------
        *paths
            One file or several, read one after another.
        tokenize
            Splits a line into tokens.

        Raises
        ------
        BadFile
            A file does not exist or cannot be read. (Bad UTF-8 or a cut gzip file is found, and named by line, when
            the corpus is read.)
        """
        if not paths:
            raise BadInput("no file given")
        for path in paths:
            with _open(Path(path)):
                pass
        return cls([Path(path) for path in paths], tokenize=tokenize)

    def __iter__(self) -> Iterator[list[str]]:
        documents = self._documents()
        if isinstance(documents, str | bytes):
            raise BadInput("the function gave a string instead of an iterable of documents")
        if not isinstance(documents, Iterable):
            raise BadInput(f"the function gave {documents!r:.60} instead of an iterable of documents")
        if isinstance(documents, Iterator):
            # A function that hands out the same generator twice would make every pass but the first silently empty.
            if documents is self._once:
                raise BadInput("the function gave the same iterator twice: it must make a fresh one at each call")
            self._once = documents
        for number, document in enumerate(documents):
            if isinstance(document, str):
                tokens = self._tokens(document)
            elif isinstance(document, Sequence) and all(isinstance(token, str) for token in document):
                tokens = list(document)
            else:
                raise BadInput(f"document {number} is neither a string nor a list of strings: {document!r:.60}")
            if tokens:
                yield tokens

    def _tokens(self, document: str) -> list[str]:
        tokens = self.tokenize(document)
        if self.tokenize is not str.split and not (
            isinstance(tokens, list) and all(isinstance(token, str) for token in tokens)
        ):
            raise BadInput(f"tokenize gave {tokens!r:.60}, expected a list of strings")
        return tokens

    def describe(self) -> dict[str, Any]:
        """What it is made of, for provenance: for files name, size in bytes and SHA-256 (no folders)."""
        if not self._paths:
            return {"documents": "in memory or made by a function"}
        return {"files": [_card(path) for path in self._paths]}

    def __repr__(self) -> str:
        return f"Corpus({', '.join(path.name for path in self._paths) or 'documents'})"


def _card(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        return {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256}
    except OSError as error:
        raise BadFile(path, f"cannot be read: {error.strerror or error}") from error


def _open(path: Path) -> BinaryIO:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadFile(path, "is not a regular file: a corpus is read many times, a pipe only once")
        with path.open("rb") as stream:
            packed = stream.read(len(_GZIP)) == _GZIP
        return cast(BinaryIO, gzip.open(path)) if packed else path.open("rb")
    except OSError as error:
        raise BadFile(path, f"cannot be read: {error.strerror or error}") from error


def _lines(path: Path) -> Iterator[str]:
    number = 0
    try:
        with _open(path) as stream:
            while line := stream.readline(_LONGEST_LINE + 1):
                number += 1
                if len(line) > _LONGEST_LINE:
                    raise BadFile(path, f"is longer than {_LONGEST_LINE >> 20} MiB", f"line {number}")
                if number == 1:  # a byte-order mark is no part of the first word
                    line = line.removeprefix(b"\xef\xbb\xbf")
                yield line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"is not valid UTF-8 at byte {error.start} of the line: convert the file first"
        raise BadFile(path, reason, f"line {number}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadFile(path, f"the gzip data is cut or damaged ({error})", f"after line {number}") from None
