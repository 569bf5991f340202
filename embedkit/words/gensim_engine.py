"""word2vec and fastText training by gensim, with the parts of it that fail in silence put right.

- gensim reads only the first 10,000 tokens of a text: documents are handed over in pieces of that length.
- Its running loss is one float32 shared by all threads, which stops growing at 2^27 and loses updates: here each job of
  10,000 words has its own (within it gensim still adds in float32), and these are added up in float64.
- Its fastText has no loss at all, and says 0: here it is `None`.
- An exception in the corpus or in a thread leaves its main loop waiting for ever: here it reaches the caller.
- The rows of n-grams that no word of the training has are the random numbers that they began with, which gensim adds to
  the vectors of unknown words: here they are not handed on.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator
from queue import Empty, Queue
from typing import Any, NamedTuple

import gensim
import numpy as np
import numpy.typing as npt
from gensim.models.callbacks import CallbackAny2Vec
from gensim.models.fasttext_inner import train_batch_any
from gensim.models.word2vec_inner import train_batch_cbow, train_batch_sg

from embedkit.errors import BadInput, printable
from embedkit.labels import Labels
from embedkit.progress import Callback, Progress
from embedkit.text import Corpus, EncodedCorpus

VERSION = f"gensim {gensim.__version__}"
_NOT_GENSIMS = ("engine", "device", "deterministic", "shared_negatives")
LONGEST_TEXT = 10_000  # tokens; gensim's MAX_WORDS_IN_BATCH, compiled in
_LONGEST_WORD = 2**16  # bytes, as for files; fastText makes n-grams of all of it


class Subwords(NamedTuple):
    """What fastText has learned of character n-grams: `buckets` (u,) int64, rising; and their rows (u, d) float32."""

    buckets: npt.NDArray[np.int64]
    rows: npt.NDArray[np.float32]


class Trained(NamedTuple):
    """What came out: words with their counts, most frequent first, and their vectors; fastText's n-grams."""

    words: list[str]
    counts: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.float32]
    history: list[dict[str, Any]]
    documents: int
    tokens: int
    stopped: bool
    subwords: Subwords | None = None


def train(corpus: Corpus | EncodedCorpus, parameters: dict[str, Any], callback: Callback | None) -> Trained:
    """Train on `corpus` with gensim.

    Parameters
    ----------
    corpus
        What to train on.
    parameters
        Those of `embedkit.Word2Vec`, or of `embedkit.FastText` (known by its ``bucket``), checked, none of them `None`
        that gensim does not know as such.
    callback
        Called with a `Progress` after every job; if it returns true the training ends there.

    Raises
    ------
    BadInput
        No word reaches `min_count`, or the corpus is empty at a later pass.
    """
    known = {name: value for name, value in parameters.items() if name not in _NOT_GENSIMS}
    make = _FastText if "bucket" in known else _Word2Vec
    model = make(**{("seed" if name == "random_state" else name): value for name, value in known.items()})
    texts = _Texts(corpus)
    model.build_vocab(texts)
    documents = texts.documents
    if len(model.wv) == 0:
        raise BadInput(f"0 of {model.distinct} words reach min_count={parameters['min_count']}: lower it or add text")
    meter = model.meter = _Meter(texts, callback, parameters["epochs"], model.corpus_total_words)
    try:
        model.train(
            texts,
            total_examples=model.corpus_count,
            total_words=model.corpus_total_words,
            epochs=parameters["epochs"],
            compute_loss=True,
            callbacks=[meter],
            report_delay=1e9,
        )
    except BaseException as error:  # Ctrl-C reaches only this thread
        meter.fail(error)
        model.end_threads()
        raise
    if meter.failure is not None:
        raise meter.failure
    counts = np.array([model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key], dtype=np.int64)
    words, tokens = model.wv.index_to_key, model.corpus_total_words
    subwords = _subwords(model.wv) if isinstance(model, _FastText) else None
    return Trained(words, counts, model.wv.vectors, meter.history, documents, tokens, texts.stopped, subwords)


def _subwords(vectors: Any) -> Subwords:
    """Of the n-grams that the words have."""
    used = np.zeros(vectors.bucket, dtype=np.bool_)
    for buckets in vectors.buckets_word:
        used[buckets] = True
    buckets = np.flatnonzero(used)
    return Subwords(buckets, vectors.vectors_ngrams[buckets])


class _Texts:
    """The corpus as gensim wants it: texts of at most 10,000 tokens, again at each pass."""

    def __init__(self, corpus: Corpus | EncodedCorpus) -> None:
        self.corpus = corpus
        self.documents = 0
        self.stopped = False
        self.meter: _Meter | None = None
        self._seen = set[str]()

    def _check(self, tokens: list[str]) -> None:
        """Refuse words that no file can hold, each looked at once."""
        new = set(tokens) - self._seen
        Labels(new)
        for word in new:
            if len(word) > _LONGEST_WORD // 4 and len(word.encode()) > _LONGEST_WORD:
                raise BadInput(f"a word is longer than 64 KiB: '{printable(word[:40])}...'")
        self._seen |= new

    def __iter__(self) -> Iterator[list[str]]:
        self.documents = 0
        try:
            for tokens in self.corpus:
                if self.stopped:
                    return
                self.documents += 1
                if self.meter is None:  # the first pass, in which words are counted
                    self._check(tokens)
                for start in range(0, len(tokens), LONGEST_TEXT):
                    yield tokens[start : start + LONGEST_TEXT]
        except GeneratorExit:
            raise
        except BaseException as error:
            if self.meter is None:
                raise
            # In training this runs in gensim's own thread, where an exception would be printed and the caller wait.
            self.meter.fail(error)


class _Meter(CallbackAny2Vec):  # type: ignore[misc]  # gensim has no types
    """Adds up loss and words, tells the callback, and keeps what went wrong in a thread."""

    def __init__(self, texts: _Texts, callback: Callback | None, epochs: int, total: int) -> None:
        self.texts, self.callback, self.epochs, self.total = texts, callback, epochs, total
        texts.meter = self
        self.history: list[dict[str, Any]] = []
        self.failure: BaseException | None = None
        self.lock = threading.Lock()

    def on_epoch_begin(self, model: _Watched) -> None:
        self.loss, self.trained, self.done, self.start = 0.0, 0, 0, time.perf_counter()

    def add(self, loss: float, trained: int, raw: int) -> None:
        """Account for a job; its loss is NaN where there is none."""
        with self.lock:
            self.loss += loss
            self.trained += trained
            self.done += raw
            if self.callback is not None:
                mean = self.loss / self.trained if self.trained else float("nan")
                epoch, seconds = len(self.history) + 1, time.perf_counter() - self.start
                event = Progress(epoch, self.epochs, self.done, self.total, "words", mean, seconds)
                self.texts.stopped = bool(self.callback(event)) or self.texts.stopped

    def fail(self, error: BaseException) -> None:
        self.failure = self.failure or error
        self.texts.stopped = True

    def on_epoch_end(self, model: _Watched) -> None:
        seconds = time.perf_counter() - self.start
        if self.done == 0 and self.texts.stopped:
            return
        if self.done == 0 and self.failure is None:
            self.fail(BadInput(f"the corpus gave no documents in epoch {len(self.history) + 1}: is it re-readable?"))
        self.history.append(
            {
                "epoch": len(self.history) + 1,
                "loss": self.loss / self.trained if self.trained and not math.isnan(self.loss) else None,
                "words": self.trained,
                "alpha": float(model.min_alpha_yet_reached),
                "seconds": seconds,
                "words_per_second": self.done / seconds,
            }
        )


class _LossOfOneJob:
    """The model as one job sees it, with a running loss of its own."""

    def __init__(self, model: _Watched) -> None:
        self._model = model
        self.running_training_loss = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


class _Watched:
    """What both of gensim's models are made to do; stands before them in the order of inheritance."""

    meter: _Meter
    distinct = 0
    min_alpha_yet_reached: float
    raw_vocab: dict[str, int]

    def __init__(self, **parameters: Any) -> None:
        self.workers_at_work: dict[threading.Thread, Queue[Any]] = {}
        super().__init__(**parameters)

    def _worker_loop(self, job_queue: Queue[Any], progress_queue: Queue[Any]) -> None:
        self.workers_at_work[threading.current_thread()] = progress_queue
        super()._worker_loop(job_queue, progress_queue)  # type: ignore[misc]  # of gensim's model

    def end_threads(self) -> None:
        """Let the threads of a training that was broken off come to their end.

        Once the meter has failed they find nothing to do, but to say so they wait for room in a queue that nobody
        reads any more.
        """
        for thread, progress in self.workers_at_work.items():
            while thread.is_alive():
                with contextlib.suppress(Empty):
                    progress.get(timeout=0.01)

    def prepare_vocab(self, *args: Any, **kwargs: Any) -> Any:
        self.distinct = len(self.raw_vocab)
        return super().prepare_vocab(*args, **kwargs)  # type: ignore[misc]  # as above

    def _batch(self, sentences: list[list[str]], alpha: float, inits: Any) -> tuple[int, float]:
        """Train on some texts: how many words were trained on, and the loss."""
        raise NotImplementedError

    def _do_train_job(self, sentences: list[list[str]], alpha: float, inits: Any) -> tuple[int, int]:
        raw = sum(map(len, sentences))
        try:
            if self.meter.texts.stopped:
                return 0, raw
            trained, loss = self._batch(sentences, alpha, inits)
            self.meter.add(loss, trained, raw)
        except BaseException as error:  # noqa: BLE001  # in a thread of gensim's: handed to the caller by `train`
            self.meter.fail(error)
            return 0, raw
        return trained, raw


class _Word2Vec(_Watched, gensim.models.Word2Vec):  # type: ignore[misc]  # gensim has no types
    def _batch(self, sentences: list[list[str]], alpha: float, inits: Any) -> tuple[int, float]:
        work, neu1 = inits
        job = _LossOfOneJob(self)
        if self.sg:
            trained = train_batch_sg(job, sentences, alpha, work, True)
        else:
            trained = train_batch_cbow(job, sentences, alpha, work, neu1, True)
        return trained, float(job.running_training_loss)


class _FastText(_Watched, gensim.models.FastText):  # type: ignore[misc]  # gensim has no types
    def _batch(self, sentences: list[list[str]], alpha: float, inits: Any) -> tuple[int, float]:
        return train_batch_any(self, sentences, alpha, *inits), math.nan
