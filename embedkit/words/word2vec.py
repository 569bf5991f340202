"""word2vec: skip-gram and CBOW with negative sampling or hierarchical softmax (Mikolov et al. 2013).

Efficient Estimation of Word Representations in Vector Space, arXiv:1301.3781; Distributed Representations of Words and
Phrases and their Compositionality, arXiv:1310.4546.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import Any, Literal, Self, final

import numpy as np
import numpy.typing as npt

from embedkit.embedder import Embedder
from embedkit.embedding import Embedding
from embedkit.errors import BadInput, TrainingDiverged
from embedkit.progress import Callback
from embedkit.text import Corpus, EncodedCorpus
from embedkit.words import torch_engine
from embedkit.words.block_engine import VERSION, Model, kept, merged, new_model, run
from embedkit.words.checks import (
    check_choice,
    check_finite_tables,
    check_flag,
    check_number,
    check_same,
    check_whole,
    plain,
    seed_of,
)
from embedkit.words.torch_engine import Ran
from embedkit.words.training import Checkpoints, Run

Engine = Literal["auto", "numba", "torch", "gensim"]

_LARGEST = float(np.finfo(np.float32).max)
_GENSIM_ALPHA = 0.025
_VERSIONS = {"numba": VERSION, "torch": torch_engine.VERSION}


@final
class Word2Vec(Embedder[Corpus | EncodedCorpus]):
    """Train word vectors with word2vec.

    Parameters have gensim's names, defaults and meaning, except for `workers`, whose default makes a seed repeatable.

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
        1 for hierarchical softmax (give ``negative=0`` with it to use nothing else); by gensim only.
    negative
        Negative samples a positive one; 0 for none.
    ns_exponent
        Negative samples are drawn in proportion to count to this power.
    cbow_mean
        CBOW: 1 averages the context vectors, 0 adds them up.
    sample
        Frequent words are randomly dropped above this share of the corpus; 0 drops none.
    alpha, min_alpha
        Learning rate at the start (`None`: the engine's own, which is recorded) and at the end; it falls linearly.
    epochs
        Passes over the corpus.
    max_vocab_size
        Prune rare words while counting so that at most this many are held at a time; `None` holds all. By gensim only.
    max_final_vocab
        Raise `min_count` so that at most about this many words remain; `None` keeps all.
    shrink_windows
        Draw the window of each word from 1 to `window` (as word2vec does), instead of always using all of it.
    shared_negatives
        How many negative samples the words of a block share (see `embedkit.kernels.skipgram`); `None` chooses by
        `window` and `negative`. Not by gensim.
    engine
        ``"numba"``, our own kernels, several times faster than gensim (benchmarks/results/training.md); ``"torch"``,
        for a GPU; ``"gensim"``; or ``"auto"``: numba, unless a parameter asks for what only gensim does.
    device
        Where torch trains: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` ...; `None` takes a GPU where there is one. For
        ``engine="torch"`` only.
    workers
        Threads. With 1 (the default) a seed gives the same vectors bit for bit on the same machine and versions; with
        more, threads race and every run differs a little, unless `deterministic` is set.
    deterministic
        Have the threads work in rounds whose result depends neither on their number nor on their timing: a seed then
        gives the same vectors bit for bit with any number of workers (but others than without it). Not by gensim.
    random_state
        Seed, 0 to 2^32 - 1; `None` draws one and records it.

    Attributes
    ----------
    embedding_ : Embedding
        The vectors, most frequent word first, with the column ``count``.
    history_ : list of dict
        An entry an epoch: ``epoch``, ``loss``, ``words`` (how many were trained on, after subsampling), ``alpha`` at
        its end, ``seconds``, ``words_per_second``.

        Numba: the loss is the mean over the ``pairs`` of a word and a neighbour (CBOW: over words) of the objective
        with `negative` samples, in nats, added up in float64. gensim: the mean of a word that was trained on, all its
        contexts together, added up in float32 within a job of 10,000 words; gensim leaves out pairs whose score is
        beyond 6 in size, so that it may rise while the vectors get better. It is `None` where subsampling left nothing.

    Examples
    --------
    >>> from embedkit import Corpus, Word2Vec
    >>> corpus = Corpus([["the", "king", "and", "the", "queen"]] * 100)
    >>> trainer = Word2Vec(vector_size=8, epochs=2, random_state=1).fit(corpus)
    >>> trainer.embedding_
    Embedding(4 x 8, columns=['count'])
    >>> len(trainer.history_)
    2
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
        shared_negatives: int | None = None,
        engine: Engine = "auto",
        device: str | None = None,
        workers: int = 1,
        deterministic: bool = False,
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
        self.shared_negatives = shared_negatives
        self.engine = engine
        self.device = device
        self.workers = workers
        self.deterministic = deterministic
        self.random_state = random_state

    def fit(
        self,
        corpus: Corpus | EncodedCorpus,
        /,
        *,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: float = 300.0,
    ) -> Self:
        """Train on `corpus`.

        Parameters
        ----------
        corpus
            What to train on; windows never cross its documents. A `Corpus` is encoded first, which is remembered for
            large files (see `Corpus.encode`); gensim reads it at every epoch instead.
        callback
            Called with a `Progress` some times a second; if it returns true the training ends there, with what has been
            learned; an exception that it raises ends it without. `embedkit.progress.bar` makes one that draws a bar.
        checkpoint
            A file for the state of the training: written every `checkpoint_every` seconds, and when the process
            receives SIGINT or SIGTERM. `embedkit.load` opens it, and `resume` goes on. Not by gensim.
        checkpoint_every
            Seconds.

        Raises
        ------
        BadInput
            A parameter makes no sense, or no word reaches `min_count`.
        TrainingDiverged
            The vectors are no longer finite.
        """
        parameters = self._checked()
        _check_corpus(corpus)
        if parameters["engine"] == "gensim":
            if checkpoint is not None:
                raise BadInput("gensim writes no checkpoints: take engine='numba'")
            return self._fit_by_gensim(corpus, parameters, callback)
        encoded = corpus if isinstance(corpus, EncodedCorpus) else corpus.encode()
        model = new_model(kept(encoded.vocabulary, parameters), parameters)
        about = {**encoded.provenance.get("corpus", {}), "documents": encoded.documents, "tokens": encoded.tokens}
        checkpoints = self._checkpoints(model, encoded, parameters, about, checkpoint, checkpoint_every)
        self._ran = _run(model, encoded, model.vocabulary.counts, parameters, callback, checkpoints)
        self._take(model, parameters, about)
        return self

    def resume(
        self,
        corpus: Corpus | EncodedCorpus,
        /,
        *,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: float = 300.0,
    ) -> Self:
        """Go on with a training that was broken off, after `embedkit.load` of its checkpoint.

        With one worker, or `deterministic`, the result is bit for bit that of a training that was not broken off.

        Parameters
        ----------
        corpus
            The same as before.
        callback, checkpoint, checkpoint_every
            As for `fit`.

        Raises
        ------
        BadInput
            The corpus is another one, or nothing was broken off.
        NotFitted
            There is nothing to go on with.
        """
        model, parameters, about = self._trained()
        _check_corpus(corpus)
        if self._fingerprint is None or model.run.stopped:
            raise BadInput("this training came to its end: partial_fit trains on more text")
        check_same(self.get_params(), parameters)
        encoded = corpus if isinstance(corpus, EncodedCorpus) else corpus.encode()
        if encoded.fingerprint() != self._fingerprint:
            raise BadInput("this is not the corpus that the training was broken off on, or it is read in another way")
        model = model.copied()  # what was learned so far stays as it is if this fails
        checkpoints = self._checkpoints(model, encoded, parameters, about, checkpoint, checkpoint_every)
        self._ran = _run(model, encoded, model.vocabulary.counts, parameters, callback, checkpoints)
        self._take(model, parameters, about)
        return self

    def partial_fit(self, corpus: Corpus | EncodedCorpus, /, *, callback: Callback | None = None) -> Self:
        """Train on more text, for `epochs` passes, with a learning rate that falls from `alpha` again.

        Words that reach `min_count` in the new text alone are added; those known already stay, and go on learning where
        they are in the new text. Counts add up. The first time this is `fit`.

        Parameters
        ----------
        corpus
            The new text.
        callback
            As for `fit`.

        Raises
        ------
        BadInput
            Other parameters than before ask for another model, or the training was gensim's.
        """
        if not hasattr(self, "embedding_"):
            return self.fit(corpus, callback=callback)
        before, parameters, about = self._trained()
        now = {**self._checked(), "random_state": parameters["random_state"]}
        for name in ("vector_size", "sg", "engine"):
            if now[name] != parameters[name]:
                raise BadInput(f"{name} was {parameters[name]!r} and cannot become {now[name]!r} in partial_fit")
        _check_corpus(corpus)
        encoded = corpus if isinstance(corpus, EncodedCorpus) else corpus.encode()
        model, renumbered, counts = merged(before, encoded, now)
        self._ran = _run(model, renumbered, counts, now, callback, None)
        more = {**encoded.provenance.get("corpus", {}), "documents": encoded.documents, "tokens": encoded.tokens}
        model.run.history[:0] = before.run.history
        self._take(model, now, {"parts": [*about.get("parts", [about]), more]})
        return self

    def transform(self, labels: Iterable[str], /) -> Embedding:
        """The Embedding of `labels`, in their order.

        Raises
        ------
        UnknownWord
            Naming every label that was not learned.
        NotFitted
            `fit` comes first.
        """
        embedding: Embedding = self._fitted("embedding_")
        return embedding.take(embedding.rows(labels))

    def fit_transform(self, corpus: Corpus | EncodedCorpus, /, *, callback: Callback | None = None) -> Embedding:
        """Train on `corpus` and give the resulting Embedding."""
        return self.fit(corpus, callback=callback).embedding_

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the whole model to one checksummed file, so that `partial_fit` can go on after `embedkit.load`.

        It is twice as large as the vectors alone, which ``embedding_.save`` writes.

        Raises
        ------
        BadInput
            The training was gensim's, which keeps nothing but the vectors.
        NotFitted
            `fit` comes first.
        """
        from embedkit.words.model_file import save

        save(*self._trained(), self._fingerprint, path)

    # -- inside ----------------------------------------------------------------------------------------------------

    _model: Model | None = None
    _fingerprint: str | None = None
    _ran: Ran | None = None

    def _trained(self) -> tuple[Model, dict[str, Any], dict[str, Any]]:
        self._fitted("embedding_")
        if self._model is None:
            raise BadInput("gensim trained this and keeps nothing to go on with: take engine='numba'")
        return self._model, self._used, self._about

    def _checkpoints(
        self, model: Model, encoded: EncodedCorpus, parameters: dict[str, Any], about: dict[str, Any],
        path: str | os.PathLike[str] | None, every: float,
    ) -> Checkpoints | None:  # fmt: skip
        if path is None:
            return None
        from embedkit.words.model_file import save

        fingerprint = encoded.fingerprint()

        def write(run: Run) -> None:
            check_finite_tables((model.inputs, model.outputs), f"alpha={parameters['alpha']}")
            save(model, parameters, about, fingerprint, path)

        return Checkpoints(write, every, path)

    def _take(self, model: Model, parameters: dict[str, Any], about: dict[str, Any], fingerprint: str = "") -> None:
        """Have what was learned, to its end or, with the `fingerprint` of its corpus, to a position."""
        model.put_to_rest(parameters["vector_size"])
        self._model, self._used, self._about = model, parameters, about
        self._fingerprint = fingerprint or None
        self.history_ = list(model.run.history)
        self.embedding_ = Embedding(
            model.vocabulary.words,
            model.inputs,
            columns={"count": model.vocabulary.counts},
            provenance={
                "made_by": "Word2Vec",
                "engine": self._ran.engine if self._ran else _VERSIONS[parameters["engine"]],
                "parameters": parameters,
                "repeatable": self._ran.repeatable if self._ran else _repeatable(parameters),
                **({"stopped_early": True} if model.run.stopped else {}),
                **({"unfinished": list(model.run.position)} if fingerprint else {}),
                "corpus": about,
                "history": model.run.history,
            },
        )

    def _fit_by_gensim(
        self, corpus: Corpus | EncodedCorpus, parameters: dict[str, Any], callback: Callback | None
    ) -> Self:
        from embedkit.words.gensim_engine import VERSION, train

        trained = train(corpus, parameters, callback)
        if not np.isfinite(trained.vectors).all():
            raise TrainingDiverged(
                f"the vectors are not finite after training at alpha={parameters['alpha']}: lower it"
            )
        self._model, self._fingerprint = None, None
        self.history_ = trained.history
        about = corpus.describe() if isinstance(corpus, Corpus) else corpus.provenance.get("corpus", {})
        self.embedding_ = Embedding(
            trained.words,
            trained.vectors,
            columns={"count": trained.counts},
            provenance={
                "made_by": "Word2Vec",
                "engine": VERSION,
                "parameters": parameters,
                "repeatable": parameters["workers"] == 1,
                **({"stopped_early": True} if trained.stopped else {}),
                "corpus": {**about, "documents": trained.documents, "tokens": trained.tokens},
                "history": trained.history,
            },
        )
        return self

    def _checked(self) -> dict[str, Any]:
        """The parameters as the engine gets them, checked; `None` replaced by what is used instead."""
        for name in ("vector_size", "window", "min_count", "epochs", "workers"):
            check_whole(name, getattr(self, name), 1)
        check_whole("negative", self.negative, 0)
        for name in ("max_vocab_size", "max_final_vocab", "shared_negatives"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), 1)
        for name in ("sg", "hs", "cbow_mean", "shrink_windows", "deterministic"):
            check_flag(name, getattr(self, name))
        check_choice("engine", self.engine, ("auto", "numba", "torch", "gensim"))
        if not self.hs and not self.negative:
            raise BadInput("nothing to train with: give negative=5, or hs=1")
        parameters = self.get_params()
        only_gensim = [f"{name}={getattr(self, name)}" for name in ("hs", "max_vocab_size") if getattr(self, name)]
        only_ours = [name for name in ("deterministic", "shared_negatives") if getattr(self, name)]
        if self.engine == "auto":
            parameters["engine"] = "gensim" if only_gensim else "numba"
        if parameters["engine"] in ("numba", "torch") and only_gensim:
            raise BadInput(f"{only_gensim[0]} is done by gensim only: take engine='gensim'")
        if self.device is not None and parameters["engine"] != "torch":
            raise BadInput("a device is for torch: take engine='torch', or leave it out")
        if parameters["engine"] == "torch" and self.deterministic:
            raise BadInput("deterministic is numba's: with torch a seed repeats on the CPU anyway, and never on a GPU")
        if parameters["engine"] == "gensim" and only_ours:
            raise BadInput(f"gensim has no {only_ours[0]}: leave it out, or take engine='numba'")
        if self.alpha is None:
            parameters["alpha"] = _default_alpha(parameters)
        # Beyond a rate of 1 the vectors may overflow, and gensim's tables are then read at places that do not exist.
        check_number("alpha", parameters["alpha"], 0, 1)
        check_number("min_alpha", self.min_alpha, 0, 1)
        if parameters["alpha"] == 0 or self.min_alpha > parameters["alpha"]:
            raise BadInput(f"0 <= min_alpha <= alpha, 0 < alpha is needed, not {self.min_alpha} and {self.alpha}")
        check_number("sample", self.sample, 0, _LARGEST)
        check_number("ns_exponent", self.ns_exponent, -5, 5)
        parameters["random_state"] = seed_of(self.random_state)
        return plain(parameters)


def _run(
    model: Model, corpus: EncodedCorpus, counts: npt.NDArray[np.int64], parameters: dict[str, Any],
    callback: Callback | None, checkpoints: Checkpoints | None,
) -> Ran:  # fmt: skip
    with checkpoints.named() if checkpoints is not None else contextlib.nullcontext():
        if parameters["engine"] == "torch":
            return torch_engine.run(model, corpus, counts, parameters, callback, checkpoints, parameters["device"])
        run(model, corpus, counts, parameters, callback, checkpoints)
    return Ran(VERSION, _repeatable(parameters))


def _repeatable(parameters: dict[str, Any]) -> bool:
    return bool(parameters["workers"] == 1 or parameters["deterministic"])


def _default_alpha(parameters: dict[str, Any]) -> float:
    if parameters["engine"] == "gensim":
        return _GENSIM_ALPHA
    from embedkit.kernels import cbow, skipgram

    kernel = skipgram if parameters["sg"] else cbow
    return float(kernel.ALPHA)


def _check_corpus(corpus: object) -> None:
    if not isinstance(corpus, Corpus | EncodedCorpus):
        raise BadInput(f"Word2Vec is trained on an embedkit.Corpus, not on a {type(corpus).__name__}")
