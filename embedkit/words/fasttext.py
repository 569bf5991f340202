"""fastText: word vectors made of those of character n-grams, which so answer words never seen.

Bojanowski, Grave, Joulin & Mikolov 2017, Enriching Word Vectors with Subword Information, arXiv:1607.04606.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Literal, Self, final

import numpy as np
import numpy.typing as npt

from embedkit.embedder import Embedder
from embedkit.embedding import Embedding
from embedkit.errors import BadFile, BadInput, TrainingDiverged
from embedkit.files.store import Tensors, write_tensors
from embedkit.labels import Labels
from embedkit.progress import Callback
from embedkit.text import Corpus, EncodedCorpus
from embedkit.words.checks import check_choice, check_flag, check_number, check_whole, seed_of

_LARGEST = float(np.finfo(np.float32).max)
_ALPHA = 0.025


@final
class FastText(Embedder[Corpus | EncodedCorpus]):
    """Train word vectors with fastText, by gensim's engine.

    A word is the sum of a row of its own and of those of its character n-grams, divided by their number; a word that
    was never seen is the mean of the rows of its n-grams. Parameters have gensim's names, defaults and meaning, except
    for `workers`, whose default makes a seed repeatable.

    Where gensim gives unknown words the random numbers of n-grams that no word of the training has, these are left out
    here: such n-grams say nothing. A word all of whose n-grams are known gets gensim's vector.

    Parameters
    ----------
    vector_size
        Dimensions of a vector.
    window
        Largest distance between a word and the words it predicts (skip-gram) or is predicted from (CBOW).
    min_count
        Words seen less often are ignored.
    sg
        1 for skip-gram, 0 for CBOW.
    hs
        1 for hierarchical softmax (give ``negative=0`` with it to use nothing else).
    negative
        Negative samples a positive one; 0 for none.
    ns_exponent
        Negative samples are drawn in proportion to count to this power.
    cbow_mean
        CBOW: 1 averages the context vectors, 0 adds them up.
    sample
        Frequent words are randomly dropped above this share of the corpus; 0 drops none.
    alpha, min_alpha
        Learning rate at the start (`None`: .025, gensim's) and at the end; it falls linearly.
    epochs
        Passes over the corpus.
    max_vocab_size
        Prune rare words while counting so that at most this many are held at a time; `None` holds all.
    max_final_vocab
        Raise `min_count` so that at most about this many words remain; `None` keeps all.
    shrink_windows
        Draw the window of each word from 1 to `window` (as word2vec does), instead of always using all of it.
    min_n, max_n
        Fewest and most characters of an n-gram, the marks of a word's beginning and end among them. With `max_n` below
        `min_n` there are none, and fastText is word2vec.
    bucket
        N-grams are told apart by a hash of so many values. While it trains gensim holds a row for each: 2,000,000 rows
        of 100 dimensions are 0.8 GB.
    workers
        Threads. With 1 (the default) a seed gives the same vectors bit for bit on the same machine and versions; with
        more, threads race and every run differs a little.
    random_state
        Seed, 0 to 2^32 - 1; `None` draws one and records it.

    Attributes
    ----------
    embedding_ : Embedding
        The vectors of the words of the vocabulary, most frequent first, with the column ``count``.
    history_ : list of dict
        An entry an epoch: ``epoch``, ``loss`` (`None`: gensim computes none for fastText), ``words`` (how many were
        trained on, after subsampling), ``alpha`` at its end, ``seconds``, ``words_per_second``.

    Examples
    --------
    >>> from embedkit import Corpus
    >>> from embedkit.words.fasttext import FastText
    >>> corpus = Corpus([["the", "king", "and", "the", "kings"]] * 100)
    >>> trainer = FastText(vector_size=8, bucket=1000, random_state=1).fit(corpus)
    >>> trainer.embedding_
    Embedding(4 x 8, columns=['count'])
    >>> trainer.transform(["king", "kingly"], missing="subword")
    Embedding(2 x 8, columns=['count'])
    """

    def __init__(
        self,
        *,
        vector_size: int = 100,
        window: int = 5,
        min_count: int = 5,
        sg: int = 0,
        hs: int = 0,
        negative: int = 5,
        ns_exponent: float = 0.75,
        cbow_mean: int = 1,
        sample: float = 1e-3,
        alpha: float | None = None,
        min_alpha: float = 1e-4,
        epochs: int = 5,
        max_vocab_size: int | None = None,
        max_final_vocab: int | None = None,
        shrink_windows: bool = True,
        min_n: int = 3,
        max_n: int = 6,
        bucket: int = 2_000_000,
        workers: int = 1,
        random_state: int | None = None,
    ) -> None:
        self.vector_size = vector_size
        self.window = window
        self.min_count = min_count
        self.sg = sg
        self.hs = hs
        self.negative = negative
        self.ns_exponent = ns_exponent
        self.cbow_mean = cbow_mean
        self.sample = sample
        self.alpha = alpha
        self.min_alpha = min_alpha
        self.epochs = epochs
        self.max_vocab_size = max_vocab_size
        self.max_final_vocab = max_final_vocab
        self.shrink_windows = shrink_windows
        self.min_n = min_n
        self.max_n = max_n
        self.bucket = bucket
        self.workers = workers
        self.random_state = random_state

    def fit(self, corpus: Corpus | EncodedCorpus, /, *, callback: Callback | None = None) -> Self:
        """Train on `corpus`, which gensim reads at every epoch.

        Parameters
        ----------
        corpus
            What to train on; windows never cross its documents.
        callback
            Called with a `Progress` some times a second; if it returns true the training ends there, with what has been
            learned; an exception that it raises ends it without.

        Raises
        ------
        BadInput
            A parameter makes no sense, or no word reaches `min_count`.
        TrainingDiverged
            The vectors are not finite.
        """
        used = self._checked()
        if not isinstance(corpus, Corpus | EncodedCorpus):
            raise BadInput(f"FastText is trained on an embedkit.Corpus, not on a {type(corpus).__name__}")
        from embedkit.words.gensim_engine import VERSION, train

        trained = train(corpus, used, callback)
        assert trained.subwords is not None  # noqa: S101  # gensim's fastText has them
        buckets, rows = trained.subwords
        if not (np.isfinite(trained.vectors).all() and np.isfinite(rows).all()):
            raise TrainingDiverged(f"the vectors are not finite after training at alpha={used['alpha']}: lower it")
        about = corpus.describe() if isinstance(corpus, Corpus) else corpus.provenance.get("corpus", {})
        provenance = {
            "made_by": "FastText",
            "engine": VERSION,
            "parameters": used,
            "repeatable": used["workers"] == 1,
            "corpus": {**about, "documents": trained.documents, "tokens": trained.tokens},
            "history": trained.history,
        }
        columns = {"count": trained.counts}
        self._take(Embedding(trained.words, trained.vectors, columns=columns, provenance=provenance), buckets, rows)
        return self

    def transform(self, labels: Iterable[str], /, *, missing: Literal["error", "subword"] = "error") -> Embedding:
        """The Embedding of `labels`, in their order.

        Parameters
        ----------
        labels
            Distinct words.
        missing
            What to do about words that were not learned: ``"error"`` raises, ``"subword"`` composes them of their
            n-grams, see `vectors_for`.

        Raises
        ------
        UnknownWord
            Naming every label that was not learned, or of whose n-grams none was.
        NotFitted
            `fit` comes first.
        """
        check_choice("missing", missing, ("error", "subword"))
        embedding: Embedding = self._fitted("embedding_")
        wanted = labels if isinstance(labels, str) else list(labels)
        return self.vectors_for(wanted) if missing == "subword" else embedding.take(embedding.rows(wanted))

    def fit_transform(self, corpus: Corpus | EncodedCorpus, /, *, callback: Callback | None = None) -> Embedding:
        """Train on `corpus` and give the resulting Embedding."""
        return self.fit(corpus, callback=callback).embedding_

    def vectors_for(self, words: Iterable[str], /) -> Embedding:
        """The Embedding of any words: those not learned are composed of their n-grams, and have a count of 0.

        Parameters
        ----------
        words
            m distinct words.

        Returns
        -------
        Embedding
            m rows, with the column ``count``. A composed row is the mean of the rows of those n-grams of the word that
            a word of the training has.

        Raises
        ------
        UnknownWord
            Naming every word that was not learned and of whose n-grams none was.
        NotFitted
            `fit` comes first.
        """
        learned: Embedding = self._fitted("embedding_")
        wanted = words if isinstance(words, str) else list(words)
        rows = learned.rows(wanted, missing="mark")
        vectors = np.empty((len(rows), learned.width), dtype=np.float32)
        vectors[rows >= 0] = learned.vectors[rows[rows >= 0]]
        counts = np.where(rows >= 0, learned.columns["count"][rows], 0)
        unknown = np.flatnonzero(rows < 0)
        composed, known = self._composed([wanted[i] for i in unknown])
        if not known.all():
            raise learned.labels.unknown(wanted[i] for i in unknown[~known])
        vectors[unknown] = composed
        step = {"verb": "vectors_for", "rows": len(rows), "composed": len(unknown)}
        provenance = {**learned.provenance, "then": [step]}
        return Embedding(wanted, vectors, columns={"count": counts}, provenance=provenance)

    def extended(self, words: Iterable[str], /) -> Embedding:
        """`embedding_` with those of `words` after it that were not learned: to be asked with, not to be answers.

        Search it with ``restrict=len(trainer.embedding_)``.

        Parameters
        ----------
        words
            Any words.

        Raises
        ------
        UnknownWord, NotFitted
            As for `vectors_for`.
        """
        learned: Embedding = self._fitted("embedding_")
        wanted = list(dict.fromkeys(words))
        new = [word for word, row in zip(wanted, learned.rows(wanted, missing="mark"), strict=True) if row < 0]
        return learned.concat(self.vectors_for(new)) if new else learned

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write words, n-grams and parameters to one checksummed file, which `embedkit.load` opens.

        It has nothing that a training could go on with.

        Raises
        ------
        BadFile
            The file cannot be written.
        NotFitted
            `fit` comes first.
        """
        learned: Embedding = self._fitted("embedding_")
        tensors = {
            "buckets": self._buckets,
            "label_offsets": learned.labels.offsets,
            "counts": learned.columns["count"],
            "vectors": learned.vectors,
            "ngrams": self._ngrams,
            "labels": np.frombuffer(learned.labels.blob, dtype=np.uint8),
        }
        write_tensors(tensors, {"class": "FastText", "provenance": learned.provenance}, path)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _take(self, embedding: Embedding, buckets: npt.NDArray[np.int64], rows: npt.NDArray[np.float32]) -> None:
        self.embedding_ = embedding
        self.history_: list[dict[str, Any]] = embedding.provenance["history"]
        self._used: dict[str, Any] = embedding.provenance["parameters"]
        self._buckets, self._ngrams = buckets, rows

    def _composed(self, words: list[str]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Vectors of words from their n-grams, (m, d), and whether there are any, (m,)."""
        vectors = np.zeros((len(words), self._ngrams.shape[1]), dtype=np.float32)
        known = np.zeros(len(words), dtype=np.bool_)
        used = self._used
        if not words or not len(self._buckets) or used["max_n"] < used["min_n"]:
            return vectors, known
        from gensim.models.fasttext import ft_ngram_hashes

        for i, word in enumerate(words):
            if not _is_unicode(word):
                continue
            hashes = np.array(ft_ngram_hashes(word, used["min_n"], used["max_n"], used["bucket"]), dtype=np.int64)
            places = np.searchsorted(self._buckets, hashes).clip(max=len(self._buckets) - 1)
            there = places[self._buckets[places] == hashes]
            if len(there):
                vectors[i], known[i] = self._ngrams[there].mean(axis=0, dtype=np.float64), True
        return vectors, known

    def _checked(self) -> dict[str, Any]:
        """The parameters as the engine gets them, checked; `None` replaced by what is used instead."""
        for name in ("vector_size", "window", "min_count", "epochs", "workers", "min_n", "bucket"):
            check_whole(name, getattr(self, name), 1)
        for name in ("negative", "max_n"):
            check_whole(name, getattr(self, name), 0)
        for name in ("max_vocab_size", "max_final_vocab"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), 1)
        for name in ("sg", "hs", "cbow_mean", "shrink_windows"):
            check_flag(name, getattr(self, name))
        if not self.hs and not self.negative:
            raise BadInput("nothing to train with: give negative=5, or hs=1")
        alpha = _ALPHA if self.alpha is None else self.alpha
        check_number("alpha", alpha, 0, 1)
        check_number("min_alpha", self.min_alpha, 0, 1)
        if alpha == 0 or self.min_alpha > alpha:
            raise BadInput(f"0 <= min_alpha <= alpha, 0 < alpha is needed, not {self.min_alpha} and {self.alpha}")
        check_number("sample", self.sample, 0, _LARGEST)
        check_number("ns_exponent", self.ns_exponent, -5, 5)
        return {**self.get_params(), "alpha": alpha, "random_state": seed_of(self.random_state)}


def _is_unicode(word: str) -> bool:
    try:
        word.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate, which gensim would stumble over
        return False
    return True


def from_tensors(tensors: Tensors, path: str | os.PathLike[str], *, verify: bool) -> FastText:
    """The trainer that the arrays of a file make, which errors call `path`; `verify` looks at every value."""
    arrays, about = tensors
    try:
        labels = Labels.from_blob(arrays["labels"].tobytes(), arrays["label_offsets"])
        trainer = FastText(**about["provenance"]["parameters"])
        used = trainer._checked()
        buckets, rows = arrays["buckets"], arrays["ngrams"]
        shapes = {
            "counts": (np.int64, (len(labels),)),
            "vectors": (np.float32, (len(labels), used["vector_size"])),
            "buckets": (np.int64, (len(buckets),)),
            "ngrams": (np.float32, (len(buckets), used["vector_size"])),
        }
        for name, (dtype, shape) in shapes.items():
            if arrays[name].dtype != dtype or arrays[name].shape != shape:
                found = f"{arrays[name].dtype} of shape {arrays[name].shape}"
                raise BadInput(f"'{name}' is {found}, expected {np.dtype(dtype)} of {shape}")
        if len(buckets) and (buckets[0] < 0 or buckets[-1] >= used["bucket"] or (np.diff(buckets) <= 0).any()):
            raise BadInput(f"'buckets' are not rising numbers below {used['bucket']}")
        if verify:
            labels.check_distinct()
            if not (np.isfinite(arrays["vectors"]).all() and np.isfinite(rows).all()):
                raise BadInput("it holds a number that is not finite")
        embedding = Embedding.from_stored(
            labels, arrays["vectors"], columns={"count": arrays["counts"]}, provenance=about["provenance"]
        )
        trainer._take(embedding, buckets, rows)
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        if isinstance(error, BadInput):
            raise BadFile(path, str(error)) from None
        raise BadFile(path, f"embedkit's metadata is not what was expected ({error})", "header") from None
    return trainer
