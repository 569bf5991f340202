"""A corpus as numbers: int32 word ids, memory-mapped, and the vocabulary they belong to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadFile, BadInput
from embedkit.files.store import Tensors, read_tensors, write_tensors
from embedkit.labels import Labels
from embedkit.text.vocabulary import Vocabulary

_BLOCK = 1 << 20  # tokens looked at together


class EncodedCorpus:
    """A corpus as word ids, which `Corpus.encode` makes and `embedkit.load` opens; iterating gives its documents.

    Parameters
    ----------
    ids
        The tokens of all documents one after another, int32, shape (t,): row numbers in `vocabulary`. Since that is
        ordered by frequency, leaving out rare words is leaving out large ids.
    ends
        Where each document ends in `ids`, int64, shape (n,), rising; no document is empty.
    vocabulary
        The words.
    provenance
        What it was made from and how.

    Examples
    --------
    >>> from embedkit import Corpus
    >>> encoded = Corpus(["the king rules", "the queen rules"]).encode()
    >>> encoded.ids.tolist(), encoded.ends.tolist(), list(encoded.vocabulary)
    ([0, 2, 1, 0, 3, 1], [3, 6], ['the', 'rules', 'king', 'queen'])
    >>> list(encoded)
    [['the', 'king', 'rules'], ['the', 'queen', 'rules']]
    """

    def __init__(
        self,
        ids: npt.NDArray[np.int32],
        ends: npt.NDArray[np.int64],
        vocabulary: Vocabulary,
        provenance: Mapping[str, Any],
    ) -> None:
        self.ids, self.ends, self.vocabulary = ids, ends, vocabulary
        self._provenance = dict(provenance)

    @property
    def provenance(self) -> dict[str, Any]:
        """What it was made from and how; a copy."""
        return deepcopy(self._provenance)

    @property
    def tokens(self) -> int:
        """How many tokens it has."""
        return len(self.ids)

    @property
    def documents(self) -> int:
        """How many documents it has."""
        return len(self.ends)

    def __iter__(self) -> Iterator[list[str]]:
        words = list(self.vocabulary)
        start = 0
        for end in self.ends.tolist():
            yield [words[i] for i in self.ids[start:end].tolist()]
            start = end

    def __repr__(self) -> str:
        return f"EncodedCorpus({self.documents:,} documents, {self.tokens:,} tokens, {len(self.vocabulary):,} words)"

    def statistics(self) -> dict[str, int | float]:
        """Its size in numbers.

        Returns
        -------
        dict
            ``documents``, ``tokens``, ``words`` (distinct ones), ``words_seen_once``, ``words_seen_5_times`` (or more),
            ``tokens_of_these`` (the share of all tokens that they make), ``longest_document`` and ``median_document``
            in tokens.
        """
        counts = self.vocabulary.counts
        lengths = np.diff(self.ends, prepend=0)
        kept = self.vocabulary.prune(min_count=5)
        return {
            "documents": self.documents,
            "tokens": self.tokens,
            "words": len(counts),
            "words_seen_once": int((counts == 1).sum()),
            "words_seen_5_times": len(kept),
            "tokens_of_these": kept.total / self.tokens if self.tokens else 0.0,
            "longest_document": int(lengths.max(initial=0)),
            "median_document": float(np.median(lengths)) if len(lengths) else 0.0,
        }

    def fingerprint(self) -> str:
        """SHA-256 of its words, documents and tokens, in hexadecimal digits."""
        digest = hashlib.sha256(self.vocabulary.words.blob)
        for array in (self.ends, self.ids):
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
        return digest.hexdigest()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to one checksummed safetensors file (see `embedkit.files.store`), all or nothing.

        Raises
        ------
        BadFile
            The file cannot be written.
        """
        words = self.vocabulary.words
        tensors: dict[str, npt.NDArray[Any]] = {  # the widest first, so that all are aligned
            "ends": self.ends,
            "label_offsets": words.offsets,
            "counts": self.vocabulary.counts,
            "ids": self.ids,
            "labels": np.frombuffer(words.blob, dtype=np.uint8),
        }
        write_tensors(tensors, {"class": "EncodedCorpus", "provenance": self._provenance}, path)


def load_encoded(path: str | os.PathLike[str], *, verify: bool | None = None) -> EncodedCorpus:
    """Open what `EncodedCorpus.save` wrote; `verify` compares the checksums of files of any size."""
    return from_tensors(read_tensors(path, verify=verify), path, verify=False)


def from_tensors(tensors: Tensors, path: str | os.PathLike[str], *, verify: bool) -> EncodedCorpus:
    """The corpus that the arrays of a file make, which errors call `path`; `verify` looks at every id."""
    arrays, about = tensors
    try:
        ids, ends, counts = (arrays[name] for name in ("ids", "ends", "counts"))
        for name, dtype in (("ids", np.int32), ("ends", np.int64), ("counts", np.int64)):
            if arrays[name].dtype != dtype or arrays[name].ndim != 1:
                raise BadInput(f"'{name}' is {arrays[name].dtype} of {arrays[name].ndim} dimensions")
        vocabulary = Vocabulary(Labels.from_blob(arrays["labels"].tobytes(), arrays["label_offsets"]), counts)
        provenance = about.get("provenance")
        if about.get("class") != "EncodedCorpus" or not isinstance(provenance, dict):
            raise BadInput("embedkit's metadata is not what was expected")
        last = int(ends[-1]) if len(ends) else 0
        if vocabulary.total != len(ids) or last != len(ids) or (np.diff(ends, prepend=0) < 1).any():
            raise BadInput("the words, documents and tokens it holds do not fit together")
        if verify:
            vocabulary.words.check_distinct()
            seen = np.zeros(len(vocabulary), dtype=np.int64)
            for start in range(0, len(ids), _BLOCK):
                block = ids[start : start + _BLOCK]
                if block.min() < 0 or block.max() >= len(vocabulary):
                    raise BadInput(f"a token between {start} and {start + len(block)} is no word of the vocabulary")
                seen += np.bincount(block, minlength=len(vocabulary))
            if not np.array_equal(seen, counts):
                raise BadInput("its counts are not those of its tokens")
    except KeyError as error:
        raise BadFile(path, f"its part {error} is missing") from None
    except BadInput as error:
        raise BadFile(path, str(error)) from None
    return EncodedCorpus(ids, ends, vocabulary, provenance)
