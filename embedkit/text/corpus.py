"""A corpus: documents of tokens that can be read again and again."""

from __future__ import annotations

import copy
import os
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

import numpy as np

from embedkit.errors import BadFile, BadInput
from embedkit.progress import Callback
from embedkit.text.sources import Document, Unit, describe, documents, files_at
from embedkit.text.tokens import Normalisation, Numbers, Tokenizer, as_tokenizer, description

if TYPE_CHECKING:
    import pandas as pd

    from embedkit.text.encoded import EncodedCorpus

_PART = 2**20  # bytes of a stream taken at a time
_REMEMBERED = 2**18  # tokens whose normal form is kept at hand


class Corpus:
    """Documents of tokens, read from the start at every pass.

    Parameters
    ----------
    source
        One of

        - a `pathlib.Path`, or a list of them: UTF-8 text files, plain or packed by gzip, bzip2 or xz, or folders of
          such files; files of JSON objects, one a line, are known by their first line;
        - a list of documents, or anything else that can be iterated again and again, such as a column of a DataFrame;
        - a function without arguments that gives a fresh iterable of documents at each call.

        A document is a string, which `tokenize` splits, or a list of tokens, which are taken as they are. Empty
        documents are left out.
    tokenize
        ``"whitespace"``, ``"words"`` (Unicode words without punctuation), ``"characters"`` (3-grams), one of
        `embedkit.text.tokens`, or any function from a string to a list of tokens.
    lowercase, fold_accents, numbers
        What is done to every token; see `embedkit.text.tokens.Normalisation`.
    unit
        What of a text file is a document: a ``"line"``, a ``"paragraph"`` (lines up to an empty one), the ``"file"``.
    field
        Where a JSON object has its text, or its list of tokens; `None` reads every file as plain text.

    Raises
    ------
    BadInput
        `source` is a plain string (text or path? say which) or can be read only once, as a generator; or an option is
        not one of those named here.

    Examples
    --------
    >>> corpus = Corpus(["the king rules", "the queen rules"])
    >>> list(corpus)
    [['the', 'king', 'rules'], ['the', 'queen', 'rules']]
    >>> list(Corpus(["The king's naïve, aged 3.5!"], tokenize="words", lowercase=True))
    [['the', "king's", 'naïve', 'aged', '3.5']]
    """

    def __init__(
        self,
        source: Path | Sequence[Path] | Iterable[Document] | Callable[[], Iterable[Document]],
        *,
        tokenize: str | Tokenizer = "whitespace",
        lowercase: bool = False,
        fold_accents: bool = False,
        numbers: Numbers = "keep",
        unit: Unit = "line",
        field: str | None = "text",
    ) -> None:
        self.tokenize = as_tokenizer(tokenize)
        self.normalise = Normalisation(lowercase, fold_accents, numbers)
        if unit not in ("line", "paragraph", "file"):
            raise BadInput(f"unit is 'line', 'paragraph' or 'file', not {unit!r}")
        self.unit, self.field = unit, field
        self._places: tuple[Path, ...] = ()
        self._picks: tuple[_Pick, ...] = ()
        self._spool: _Spool | None = None
        self._once: Iterable[Document] | None = None
        if isinstance(source, str | bytes):
            raise BadInput("a plain string is not a corpus: for a file write Corpus.from_file(path), for text a list")
        if isinstance(source, os.PathLike):
            self._places = (Path(source),)
        elif callable(source):
            self._made: Callable[[], Iterable[Document]] = source
        elif isinstance(source, Iterator):
            raise BadInput(
                "an iterator can be read only once, training reads many times: pass a function that makes it"
            )
        elif not isinstance(source, Iterable):
            raise BadInput(f"a corpus is made of paths, documents or a function that gives them, not {source!r:.60}")
        elif isinstance(source, Sequence) and source and all(isinstance(item, os.PathLike) for item in source):
            self._places = tuple(Path(cast(Path, item)) for item in source)
        else:
            given = cast(Iterable[Document], source)
            self._made = lambda: given

    @classmethod
    def from_file(cls, *places: str | os.PathLike[str], **options: Any) -> Self:
        """Files by name: UTF-8 text or JSON lines, plain or packed, each line a document.

        Parameters
        ----------
        *places
            Files, folders, or patterns (``"texts/*.txt"``), read one after another.
        **options
            As for the class.

        Raises
        ------
        BadFile
            There is no such file, or it cannot be read more than once. (Bad UTF-8 or a cut packed file is found, and
            named by line, when the corpus is read.)
        """
        if not places:
            raise BadInput("no file given")
        files = [path for place in places for path in files_at(place)]
        for path in files:
            if not os.access(path, os.R_OK):
                raise BadFile(path, "cannot be read: Permission denied")
        return cls(files, **options)

    @classmethod
    def from_stream(cls, stream: BinaryIO, **options: Any) -> Self:
        """What comes from a pipe, such as ``sys.stdin.buffer``: kept in a temporary file, to be read again.

        Parameters
        ----------
        stream
            Bytes of a text file, read to their end now; plain or packed.
        **options
            As for the class.

        Raises
        ------
        BadInput
            An option makes no sense.
        BadFile
            The stream cannot be kept, for there is no room.
        """
        try:
            descriptor, name = tempfile.mkstemp(prefix="embedkit-corpus-")
        except OSError as error:
            place = error.filename or "the temporary folder"
            raise BadFile(place, f"cannot hold what comes from a stream: {error.strerror or error}") from error
        try:
            with os.fdopen(descriptor, "wb") as copy_of_it:
                corpus = cls(Path(name), **options)
                while part := stream.read(_PART):
                    _write(copy_of_it, part, name)
        except BaseException:
            Path(name).unlink()
            raise
        # Copies made by `head` and `sample` hold the same spool; the file goes with the last of them.
        corpus._spool = _Spool()
        weakref.finalize(corpus._spool, Path(name).unlink, missing_ok=True)
        return corpus

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, column: str, **options: Any) -> Self:
        """The texts in one column of a DataFrame, a row a document.

        Parameters
        ----------
        frame
            n rows.
        column
            The column with the texts, or with lists of tokens.
        **options
            As for the class.

        Raises
        ------
        BadInput
            There is no such column, or a text is missing (named by row).
        """
        if list(frame.columns).count(column) != 1:
            found = "several columns" if column in frame.columns else "no column"
            raise BadInput(f"{found} {column!r} in the table; it has: {list(frame.columns)}")
        texts = frame[column]
        if texts.hasnans:
            row = int(np.flatnonzero(texts.isna())[0])
            raise BadInput(f"row {row} ('{texts.index[row]}') has no text in column {column!r}: fill or drop it first")
        return cls(texts.tolist(), **options)

    @classmethod
    def named(cls, name: str, *, part: str | None = None, **options: Any) -> Self:
        """A corpus from the shelf, such as ``"text8"``; see ``embedkit corpora list``.

        Parameters
        ----------
        name
            Its name; ``"kingdom"`` is made on the spot, others must have been fetched (``embedkit fetch NAME``).
        part
            One part of a corpus that has several, such as ``"a"`` of enwiki15.
        **options
            As for the class.

        Raises
        ------
        BadInput
            There is no such corpus, or it has not been fetched.
        """
        if name == "kingdom":
            from embedkit.text.kingdom import kingdom

            return cls(kingdom(), **options)
        from embedkit.shelf import corpus_files

        return cls(corpus_files(name, part), **options)

    # -- reading ---------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[list[str]]:
        normal = lru_cache(_REMEMBERED)(self.normalise) if self.normalise else None
        for number, document in enumerate(self._documents()):
            if isinstance(document, str):
                tokens = self._tokens(document)
            elif isinstance(document, Sequence) and all(isinstance(token, str) for token in document):
                tokens = list(document)
            else:
                raise BadInput(f"document {number} is neither a string nor a list of strings: {document!r:.60}")
            if normal is not None:
                tokens = [token for token in map(normal, tokens) if token]
            if tokens:
                yield tokens

    def split(self, text: str) -> list[str]:
        """The tokens of `text`, as those of a document would be."""
        tokens = self._tokens(text)
        return [token for token in map(self.normalise, tokens) if token] if self.normalise else tokens

    def _documents(self) -> Iterator[Document]:
        found: Iterable[Document]
        if self._places:
            found = (document for path in self.files() for document in documents(path, self.unit, self.field))
        else:
            found = self._checked(self._made())
        for pick in self._picks:
            found = pick(found)
        return iter(found)

    def _checked(self, made: Any) -> Iterable[Document]:
        if isinstance(made, str | bytes):
            raise BadInput("the function gave a string instead of an iterable of documents")
        if not isinstance(made, Iterable):
            raise BadInput(f"the function gave {made!r:.60} instead of an iterable of documents")
        if isinstance(made, Iterator):
            # A function that hands out the same generator twice would make every pass but the first silently empty.
            if made is self._once:
                raise BadInput("the function gave the same iterator twice: it must make a fresh one at each call")
            self._once = made
        return made

    def _tokens(self, document: str) -> list[str]:
        tokens = self.tokenize(document)
        if description(self.tokenize) is None and not (
            isinstance(tokens, list) and all(isinstance(token, str) for token in tokens)
        ):
            raise BadInput(f"tokenize gave {tokens!r:.60}, expected a list of strings")
        return tokens

    def files(self) -> list[Path]:
        """The files it is read from, in order; none for documents in memory."""
        return [path for place in self._places for path in files_at(place)]

    # -- parts of it -----------------------------------------------------------------------------------------------

    def head(self, n: int) -> Self:
        """The first `n` documents (before empty ones are left out).

        Raises
        ------
        BadInput
            `n` is less than 0.
        """
        if n < 0:
            raise BadInput(f"head takes a number of documents of 0 or more, not {n}")
        return self._picked(_Pick("head", int(n)))

    def sample(self, share: float, random_state: int = 0) -> Self:
        """About this `share` of the documents, the same ones at every pass.

        Parameters
        ----------
        share
            From 0 to 1: the probability of each document.
        random_state
            Seed.

        Raises
        ------
        BadInput
            `share` is not from 0 to 1.
        """
        if not 0 <= share <= 1:
            raise BadInput(f"sample takes a share from 0 to 1, not {share}")
        return self._picked(_Pick("sample", float(share), int(random_state)))

    def _picked(self, pick: _Pick) -> Self:
        part = copy.copy(self)
        part._picks = (*self._picks, pick)
        return part

    # -- as numbers --------------------------------------------------------------------------------------------------

    def encode(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        cache: bool = True,
        callback: Callback | None = None,
    ) -> EncodedCorpus:
        """Count its words and write it as word ids, in one pass; see `embedkit.text.encoding.encode`.

        Parameters
        ----------
        path
            Where to keep the result, to be opened by `embedkit.load`. `None`: a temporary file, or the cache.
        cache
            Without a `path`, keep the result for files in the cache folder, and take it from there the next time: if
            neither the content of the files nor an option has changed. Not for a tokenizer that is your own function,
            which could do anything.
        callback
            Called with a `Progress` now and then.

        Raises
        ------
        BadFile, BadInput
            What reading the corpus may raise; a word that is longer than 64 KiB or holds NUL; a full disk.
        """
        from embedkit.text.encoding import encode

        return encode(self, path, cache=cache, callback=callback)

    # -- what it says of itself ----------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """What it is made of, for provenance: for files name, size in bytes and SHA-256 (no folders), and the options.

        Options that are as usual are left out.
        """
        if not self._places:
            about: dict[str, Any] = {"documents": "in memory or made by a function"}
        else:
            about = {"files": [describe(path) for path in self.files()]}
            if self._spool is not None:
                about["files"][0]["name"] = "a stream"
            usual = {"unit": (self.unit, "line"), "field": (self.field, "text")}
            about.update({name: value for name, (value, default) in usual.items() if value != default})
        if self.tokenize is not str.split:
            about.update(description(self.tokenize) or {"tokenize": "a function of the user's"})
        for name in ("lowercase", "fold_accents", "numbers"):
            if getattr(self.normalise, name) not in (False, "keep"):
                about[name] = getattr(self.normalise, name)
        if self._picks:
            about["picked"] = [pick.describe() for pick in self._picks]
        return about

    def __repr__(self) -> str:
        names = "a stream" if self._spool is not None else ", ".join(path.name for path in self._places)
        return f"Corpus({names or 'documents'})"


def _write(target: BinaryIO, part: bytes, name: str) -> None:
    try:
        target.write(part)
    except OSError as error:
        raise BadFile(name, f"cannot be written: {error.strerror or error}") from error


class _Spool:
    """What the temporary file of a stream lives as long as."""


class _Pick:
    """A choice of documents."""

    def __init__(self, verb: str, amount: float, random_state: int = 0) -> None:
        self.verb, self.amount, self.random_state = verb, amount, random_state

    def __call__(self, found: Iterable[Document]) -> Iterable[Document]:
        if self.verb == "head":
            return islice(found, int(self.amount))
        draw = np.random.default_rng(self.random_state).random
        return (document for document in found if draw() < self.amount)

    def describe(self) -> dict[str, Any]:
        seed = {"random_state": self.random_state} if self.verb == "sample" else {}
        return {"verb": self.verb, "amount": self.amount, **seed}
