"""Models of texts drawn from a text: documents with replacement, as word ids.

What is drawn are the documents of an `EncodedCorpus`, or, where these are too few to be drawn from, pieces of them.
"""

from __future__ import annotations

import hashlib
import inspect
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.embedder import Embedder
from embedkit.embedding import Embedding
from embedkit.errors import BadInput
from embedkit.progress import Callback, Progress
from embedkit.text import Corpus, EncodedCorpus, Vocabulary
from embedkit.text.encoding import room
from embedkit.words.checks import check_whole, seed_of
from embedkit.words.ensemble import Ensemble

PIECE = 1000  # tokens, at least, of a piece of a document that is cut

_ENOUGH = 1000  # documents that are not cut
_FEWEST = 10  # documents, or pieces, that are drawn from
_BLOCK = 2**20  # tokens copied at a time

Integers = npt.NDArray[np.int64]


def bootstrap(
    trainer: Embedder[Any],
    corpus: Corpus | EncodedCorpus,
    n: int = 20,
    *,
    random_state: int | None = None,
    callback: Callback | None = None,
) -> Ensemble:
    """Train on the corpus, and `n` times on as many documents drawn from it with replacement.

    Which documents happen to be in a corpus decides much of what a model says of words that are not frequent (Antoniak
    & Mimno 2018, Evaluating the Stability of Embedding-based Word Similarities, Q18-1008). The models trained on drawn
    documents differ as models of other texts of the same kind would (Efron & Tibshirani 1993, An Introduction to the
    Bootstrap), in what chance does in the training too, since each has a seed of its own.

    A corpus of fewer than 1,000 documents has those of 2,000 tokens and more cut into equal pieces of at least 1,000,
    which are then drawn like documents. What it says is then about other pieces of the same kind, and takes each for
    independent of its neighbours, which flatters.

    Parameters
    ----------
    trainer
        A word trainer; it is not changed, and need not be fitted. Its ``min_count`` and ``max_final_vocab`` decide on
        the whole corpus which words are trained, in every model.
    corpus
        What to train on; read once.
    n
        How many models, 2 or more. 20 tell the spread to about a sixth of itself.
    random_state
        Seed, 0 to 2^32 - 1; `None` takes the trainer's, and draws one where it has none. The model of the whole text is
        then that of the trainer with this seed. The same seed and corpus draw the same documents for any trainer.
    callback
        Called with a `Progress`, in which epochs count through all models. If it returns true no more models are made.

    Returns
    -------
    Ensemble
        Of the models that were finished.

    Raises
    ------
    BadInput
        `trainer` is no word trainer, `n` is too small, there are too few documents to draw from, or the callback ended
        it before two models were finished.
    BadFile
        The disk is full.
    """
    check_whole("n", n, 2)
    parameters = trainer.get_params() if isinstance(trainer, Embedder) else {}
    if "min_count" not in parameters:
        raise BadInput(f"a word trainer is needed, such as Word2Vec(), not a {type(trainer).__name__}")
    if not isinstance(corpus, Corpus | EncodedCorpus):
        raise BadInput(f"an ensemble is trained on an embedkit.Corpus, not on a {type(corpus).__name__}")
    seed = seed_of(parameters["random_state"] if random_state is None else random_state)
    encoded = corpus if isinstance(corpus, EncodedCorpus) else corpus.encode()
    units = units_of(encoded)
    watched = _Watched(callback, n + 1)

    whole = _trained(type(trainer), {**parameters, "random_state": seed}, encoded, watched)
    words = encoded.vocabulary.prune(parameters["min_count"], parameters.get("max_final_vocab"))
    if whole is not None and set(whole) != set(words):  # max_vocab_size, which prunes while it counts
        raise BadInput("the trainer left out words that its min_count and max_final_vocab do not: take others away")
    # Which words there are is decided; a word that came up less often than min_count is still trained.
    fixed: dict[str, Any] = {name: None for name in ("max_final_vocab", "max_vocab_size") if name in parameters}
    done = 0
    while whole is not None and done < n:
        rng = np.random.default_rng([seed, done])
        text = drawn_text(encoded, words, units, rng.integers(len(units.starts), size=len(units.starts)))
        of_its_own = {**parameters, **fixed, "min_count": 1, "random_state": int(rng.integers(2**32))}
        member = _trained(type(trainer), of_its_own, text, watched)
        if member is None:
            break
        if done == 0:
            vectors = room(n * len(whole) * whole.width, np.float32, None).reshape(n, *whole.shape)
            absent = np.ones((n, len(whole)), dtype=np.bool_)
        rows = member.rows(whole.labels, missing="mark")
        absent[done] = rows < 0
        vectors[done, rows >= 0] = member.vectors[rows[rows >= 0]]
        done += 1
    if whole is None or done < 2:
        raise BadInput(f"the callback ended it when {done} of {n} models were finished: at least 2 are needed")
    source = f"{encoded.fingerprint()} {seed} {units.what}"
    provenance = {
        "made_by": "bootstrap",
        "trainer": type(trainer).__name__,
        "parameters": whole.provenance["parameters"],
        "members": done,
        "random_state": seed,
        "drawn": {
            "what": units.what,
            "of": len(units.starts),
            "fingerprint": hashlib.sha256(source.encode()).hexdigest(),
        },
        "corpus": {**encoded.provenance.get("corpus", {}), "documents": encoded.documents, "tokens": encoded.tokens},
    }
    return Ensemble(whole, vectors[:done], absent[:done], provenance)


class Units(NamedTuple):
    """What is drawn: `starts` (u,) and `lengths` (u,) in tokens; `what` they are."""

    starts: Integers
    lengths: Integers
    what: str


def units_of(corpus: EncodedCorpus) -> Units:
    """The documents of a corpus; where there are fewer than a thousand, long ones in pieces of 1,000 tokens and more.

    Raises
    ------
    BadInput
        There is too little text to draw from.
    """
    ends = np.asarray(corpus.ends, dtype=np.int64)
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64) if len(ends) else ends
    what = "documents"
    if len(ends) < _ENOUGH and ((ends - starts) >= 2 * PIECE).any():
        what = f"pieces of documents, of {PIECE} tokens or more"
        pieces = np.maximum((ends - starts) // PIECE, 1)
        document = np.repeat(np.arange(len(ends)), pieces)
        number = np.arange(len(document)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        cuts = [(ends - starts)[document] * (number + step) // pieces[document] for step in (0, 1)]  # of equal lengths
        starts, ends = starts[document] + cuts[0], starts[document] + cuts[1]
    if len(starts) < _FEWEST:
        raise BadInput(
            f"{len(starts)} {what} are too few to draw from: give at least {_FEWEST}, or a text that is longer"
        )
    return Units(starts, ends - starts, what)


def drawn_text(corpus: EncodedCorpus, words: Vocabulary, units: Units, drawn: Integers) -> EncodedCorpus:
    """A corpus of some of the units, one after another.

    Parameters
    ----------
    corpus
        From what.
    words
        The words that matter: the first n of its vocabulary. Others are left out, as trainers would.
    units
        From `units_of`.
    drawn
        Which, in this order; shape (m,).

    Returns
    -------
    EncodedCorpus
        In a temporary file; its vocabulary holds those of the n words that came up, in the order of their counts here.

    Raises
    ------
    BadFile
        The disk is full.
    """
    n = len(words)
    lengths = units.lengths[drawn]
    ids = room(int(lengths.sum()), np.int32, None)
    kept, counts, size = np.zeros(len(drawn), dtype=np.int64), np.zeros(n, dtype=np.int64), 0
    first = 0
    before = np.concatenate([[0], np.cumsum(lengths)])
    while first < len(drawn):
        last = max(first + 1, int(np.searchsorted(before, before[first] + _BLOCK, side="right")) - 1)
        unit = np.repeat(np.arange(first, last), lengths[first:last])
        places = np.arange(before[first], before[last]) - before[unit] + units.starts[drawn[unit]]
        part = corpus.ids[places]
        known = part < n
        kept[first:last] = np.bincount(unit[known] - first, minlength=last - first)
        counts += np.bincount(part[known], minlength=n)
        ids[size : size + int(known.sum())] = part[known]
        size += int(known.sum())
        first = last
    order = np.argsort(-counts, kind="stable")
    row = np.empty(n, dtype=np.int32)
    row[order] = np.arange(n, dtype=np.int32)
    for start in range(0, size, _BLOCK):
        block = slice(start, min(start + _BLOCK, size))
        ids[block] = row[ids[block]]
    there = order[: int((counts > 0).sum())]
    labels = list(words)
    vocabulary = Vocabulary([labels[i] for i in there.tolist()], counts[there])
    return EncodedCorpus(ids[:size], np.cumsum(kept[kept > 0]), vocabulary, corpus.provenance)


def _trained(
    cls: type[Embedder[Any]], parameters: dict[str, Any], text: EncodedCorpus, watched: _Watched
) -> Embedding | None:
    """One model; `None` if the callback ended it."""
    clone: Any = cls(**parameters)
    told = {"callback": watched} if "callback" in inspect.signature(clone.fit).parameters else {}
    embedding: Embedding = clone.fit(text, **told).embedding_
    watched.model += 1
    return None if watched.stopped else embedding


class _Watched:
    """The callback of one model after another."""

    def __init__(self, callback: Callback | None, models: int) -> None:
        self.callback, self.models = callback, models
        self.model, self.stopped = 0, False

    def __call__(self, event: Progress) -> bool:
        if self.callback is not None:
            epoch, epochs = self.model * event.epochs + event.epoch, self.models * event.epochs
            shifted = Progress(epoch, epochs, event.done, event.total, event.unit, event.loss, event.seconds)
            self.stopped = bool(self.callback(shifted)) or self.stopped
        return self.stopped
