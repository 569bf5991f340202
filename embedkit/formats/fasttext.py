"""fastText's .bin models (https://github.com/facebookresearch/fastText, ``src/fasttext.cc``), loaded by gensim."""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

from embedkit.embedding import Embedding
from embedkit.errors import BadFile, BadInput, printable
from embedkit.files.opening import packed
from embedkit.formats.collecting import about_file

MAGIC = struct.pack("<i", 793712314)
_LONGEST_WORD = 2**16
_MOST_NGRAMS = 2**19  # of one word: gensim makes a list of them


def read_fasttext(path: str | os.PathLike[str], *, limit: int | None = None) -> Embedding:
    """Read the word vectors of a fastText model.

    What is kept: of each word of its vocabulary, most frequent first, the vector that fastText gives for it, composed
    of its own and those of its character n-grams, and its count. The n-grams themselves, with which fastText makes
    vectors of words it has never seen, are not kept, nor what training could go on with.

    Parameters
    ----------
    path
        A model in the format of fastText 0.2 and later, not quantised, not supervised.
    limit
        Keep only the first so many words; the file is read nevertheless.

    Raises
    ------
    BadFile
        It is no such model, or is cut or damaged.
    """
    if packed(path):
        raise BadFile(path, "a packed fastText model cannot be read: unpack it first")
    with Path(path).open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            _check(path, data)
        except struct.error:
            raise BadFile(path, "is cut", f"byte {len(data)}") from None
    from gensim.models.fasttext import load_facebook_vectors

    from embedkit.formats.keyed_vectors import from_gensim

    try:
        embedding = from_gensim(load_facebook_vectors(str(path)))
    except BadInput as error:
        raise BadFile(path, str(error)) from None
    except Exception as error:  # a parameter in the header that it stumbles over, in whatever way
        raise BadFile(path, f"gensim does not load it: {type(error).__name__}: {error}") from error
    made = {"made_by": "read", "file": about_file(path), "format": "fastText binary"}
    kept = embedding if limit is None else embedding.head(limit)
    return Embedding.from_stored(
        kept.labels, kept.vectors, columns=kept.columns,
        provenance=made if limit is None else {**made, "limit": int(limit)},
    )  # fmt: skip


def _check(path: str | os.PathLike[str], data: mmap.mmap) -> None:
    """Walk through the file as its writer did, so that gensim, which trusts it, finds all that it looks for."""
    magic, version, dim, *_ = struct.unpack_from("<4s13i", data)
    bucket, minn, maxn = struct.unpack_from("<3i", data, 4 + 4 * 9)
    at = 8 + 12 * 4 + 8
    if magic != MAGIC or version not in (11, 12) or dim < 1 or bucket < 0:
        raise BadFile(path, "is no fastText model of version 11 or 12", "header")
    size, nwords, nlabels, _tokens, pruned = struct.unpack_from("<3i2q", data, at)
    at += 28
    if nlabels:
        raise BadFile(path, "is a supervised fastText model, which holds classes: word vectors were expected", "header")
    if not 0 <= nwords == size or pruned > 0:
        raise BadFile(path, f"the header says {size} entries, {nwords} words, {pruned} pruned", "header")
    seen = set[bytes]()
    for word in range(size):
        end = data.find(b"\0", at, at + _LONGEST_WORD + 1)
        if end < 0:
            raise BadFile(path, "no end of the word within 64 KiB, or the file is cut", f"word {word + 1} at byte {at}")
        struct.unpack_from("<qb", data, end + 1)
        if bucket and (end - at + 2) * (min(maxn, end - at + 2) - minn + 1) > _MOST_NGRAMS:
            what = f"its {end - at:,} bytes make very many n-grams of {minn} to {maxn} characters"
            raise BadFile(path, what, f"word {word + 1} at byte {at}")
        seen.add(data[at:end])
        if len(seen) <= word:
            shown = printable(data[at:end][:80].decode("utf-8", "backslashreplace"))
            raise BadFile(path, f"'{shown}' is there twice", f"word {word + 1} at byte {at}")
        at = end + 10
    for what, expected in (("input", (size + bucket, dim)), ("output", None)):
        quantised, rows, columns = struct.unpack_from("<?2q", data, at)
        if quantised:
            raise BadFile(path, "is a quantised fastText model (.ftz), which gensim cannot read", f"byte {at}")
        at += 17
        if rows < 0 or columns < 0 or (expected or (rows, dim)) != (rows, columns):
            raise BadFile(path, f"its {what} matrix says {rows} x {columns}", f"byte {at - 16}")
        at += 4 * rows * columns
        if at > len(data):
            raise BadFile(path, f"its {what} matrix ends after byte {at}, the file has {len(data)}: it is cut")
    if at != len(data):
        raise BadFile(path, f"{len(data) - at} bytes follow its end", f"byte {at}")
