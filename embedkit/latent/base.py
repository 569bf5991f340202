"""What all latent models share: to fit, go on, and save; what those with codes share is in `embedkit.latent.codes`."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import math
import os
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from embedkit.embedder import Embedder
from embedkit.embedding import Embedding
from embedkit.errors import BadInput, NotFitted, TrainingDiverged
from embedkit.files.checkpoints import Checkpoints
from embedkit.kernels.word2vec_torch import device_of
from embedkit.latent.data import SCALINGS, Kind, array_of, is_frame, is_images
from embedkit.latent.nets import Maker
from embedkit.latent.training import (
    PRECISIONS,
    SCHEDULES,
    Batch,
    Means,
    Parts,
    Player,
    Run,
    Settings,
    Training,
    precision_for,
)
from embedkit.parameters import check_choice, check_number, check_whole, plain, seed_of
from embedkit.progress import Callback

_HASHED = 2**28  # bytes of data up to which all of it is looked at to know it again; of more, rows here and there
_OWN = ("encoder", "decoder", "generator", "critic")  # parameters that are nets of the user's
_FREE = ("device", "n_jobs", "precision")  # parameters with which a training may go on differently
_WEIGHTS, _ROWS = 1, 2  # streams of random numbers besides the training's


@dataclass
class State:
    """What a model has learned, how far, how, and from what.

    Attributes
    ----------
    used
        The parameters, with a seed, as JSON has them.
    kind, nets, run
        What rows are, the nets with the weights that are used, and how far the training is.
    last
        The last weights, where the nets have better ones.
    optimizer
        What the optimizers remember, where the training is not at its end.
    held_out
        Numbers of the rows that were not trained on.
    fingerprint
        Of the data.
    codes
        Of some of the rows; empty for models without, and where the training is not at its end.
    """

    used: dict[str, Any]
    kind: Kind
    nets: dict[str, nn.Module]
    run: Run
    last: dict[str, Tensor] | None = None
    optimizer: dict[str, Tensor] = field(default_factory=dict)
    held_out: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    fingerprint: str = ""
    codes: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    @property
    def unfinished(self) -> bool:
        """Whether the training can go on."""
        return not self.run.stopped and self.run.epoch < self.used["epochs"]


class LatentModel(BaseEstimator, Embedder[Any]):  # type: ignore[misc]  # scikit-learn has no types
    """A model of rows that is trained by players. A child says which nets and players it has."""

    # -- what a child says ---------------------------------------------------------------------------------------------

    @abstractmethod
    def _nets(self, used: Mapping[str, Any], kind: Kind, make: Maker) -> dict[str, nn.Module]:
        """All nets, by name."""

    @abstractmethod
    def _players(self, used: Mapping[str, Any], nets: Mapping[str, nn.Module], kind: Kind) -> list[Player]:
        """Who moves them."""

    def _check(self) -> None:
        """Refuse the child's own parameters if they make no sense."""

    def _judge(
        self, used: Mapping[str, Any], nets: Mapping[str, nn.Module], kind: Kind
    ) -> Callable[[Batch], Parts] | None:
        """What tells how good the nets are on held-out rows; its part ``loss`` decides which weights are kept."""
        return None

    def _entry(self, means: Means) -> Means:
        """What the history says of the means of an epoch."""
        return means

    def _learned(self, state: State, data: Any) -> None:
        """Add to `state` what is to be known of the rows after training."""

    # -- fitting -------------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,  # noqa: N803  # scikit-learn's name
        y: Any = None,
        *,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: float = 300.0,
    ) -> Self:
        """Train on rows.

        Parameters
        ----------
        X
            Rows: array or memory map of shape (n, features), (n, h, w) or (n, channels, h, w), DataFrame, Embedding or
            `embedkit.images.Images`; n of at least 2.
        y
            Ignored.
        callback
            Called with a `Progress` some times an epoch; if it returns true the training ends there, with what has been
            learned; an exception that it raises ends it without.
        checkpoint
            A file for the state of the training: written every `checkpoint_every` seconds, and when the process
            receives SIGINT or SIGTERM. `embedkit.load` opens it, and `resume` goes on.
        checkpoint_every
            Seconds.

        Raises
        ------
        BadInput
            A parameter makes no sense, or a value is missing or not finite, named by row and column.
        TrainingDiverged
            A loss or a weight is not finite. What was learned up to the epoch before is kept.
        """
        used = self._checked()
        data = self._validated(X, reset=True)
        kind = Kind.learned(data, used["scaling"], used["image_shape"])
        n = len(array_of(data))
        held_out = self._split(n, used)
        with self._threads():
            with torch.random.fork_rng(devices=[]):  # nets that draw from it leave it as it was
                nets = self._nets(used, kind, Maker({**used, **self._own_nets()}, kind, _seed(used, _WEIGHTS)))
            state = State(used, kind, nets, Run(), held_out=held_out)
            self._go(state, self._training(state), data, callback, checkpoint, checkpoint_every)
        return self

    def resume(
        self,
        X: Any,  # noqa: N803
        *,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: float = 300.0,
    ) -> Self:
        """Go on with a training that was broken off, after `embedkit.load` of its checkpoint.

        The weights are bit for bit those of a training that was not broken off, on the same device with as many
        threads.

        Parameters
        ----------
        X
            The same rows as before.
        callback, checkpoint, checkpoint_every
            As for `fit`.

        Raises
        ------
        BadInput
            The rows or the parameters are others, or nothing was broken off.
        NotFitted
            There is nothing to go on with.
        """
        state: State = self._fitted("_state")
        if not state.unfinished:
            raise BadInput("this training came to its end")
        for name, value in self._plain_params().items():
            if value is not None and value != state.used[name] and name not in (*_FREE, *_OWN):
                told = f"the training was broken off with {name}={state.used[name]!r}"
                raise BadInput(f"{told}: it cannot go on with {value!r}")
        data = self._validated(X, reset=False)
        if fingerprint(array_of(data)) != state.fingerprint:
            raise BadInput("these are not the rows that the training was broken off on")
        with self._threads():
            nets = copy.deepcopy(state.nets)  # what was learned so far stays as it is if this fails
            used = {**state.used, "device": self.device}
            again = State(used, state.kind, nets, copy.deepcopy(state.run), held_out=state.held_out,
                          fingerprint=state.fingerprint)  # fmt: skip
            training = self._training(again)
            if state.run.best_epoch:
                training.best = training.weights()
            if state.last is not None:
                training.put(state.last)
            training.put_optimizers(state.optimizer)
            self._go(again, training, data, callback, checkpoint, checkpoint_every)
        return self

    def _training(self, state: State) -> Training:
        used = state.used
        names = ("epochs", "batch_size", "learning_rate", "schedule", "weight_decay", "clip", "patience", "precision")
        settings = Settings(seed=used["random_state"], **{name: used[name] for name in names if name in used})
        players = self._players(used, state.nets, state.kind)
        training = Training(players, settings, device_of(used["device"]))
        training.run = state.run
        return training

    def _go(
        self, state: State, training: Training, data: Any, callback: Callback | None,
        checkpoint: str | os.PathLike[str] | None, every: float,
    ) -> None:  # fmt: skip
        from embedkit.latent.model_file import write

        used, kind = state.used, state.kind
        if checkpoint is not None and not state.fingerprint:
            state.fingerprint = fingerprint(array_of(data))
        chosen = None
        if len(state.held_out):
            chosen = np.setdiff1d(np.arange(len(array_of(data))), state.held_out, assume_unique=True)
        rows = kind.rows(data, training.device, chosen)
        held_out = kind.rows(data, training.device, state.held_out) if len(state.held_out) else None

        def save(training: Training) -> None:
            training.check_weights()
            state.optimizer = training.optimizer_tensors()
            write(type(self).__name__, state, checkpoint or "", training.weights(), training.best)

        checkpoints = None if checkpoint is None else Checkpoints(save, every, checkpoint)
        try:
            with checkpoints.named() if checkpoints is not None else contextlib.nullcontext():
                training.go(rows, held_out=held_out, judge=self._judge(used, state.nets, kind), entry=self._entry,
                            callback=callback, checkpoints=checkpoints)  # fmt: skip
        except TrainingDiverged:
            if training.run.epoch:
                training.run.stopped = True
                self._finish(state, training, data)
            raise
        self._finish(state, training, data)

    def _finish(self, state: State, training: Training, data: Any) -> None:
        state.optimizer, state.last = {}, None
        if training.best is not None and training.run.best_epoch != training.run.epoch:
            state.last = training.weights()
            training.restore_best()
        self._take(state)
        self._learned(state, data)
        self._take(state)

    def _take(self, state: State) -> None:
        """Have what was learned."""
        self._state, run = state, state.run
        self.history_ = list(run.history)
        self.kind_ = state.kind
        self.best_epoch_ = run.best_epoch or run.epoch
        self.validation_rows_ = state.held_out
        self.device_ = str(next((p.device for net in state.nets.values() for p in net.parameters()), "cpu"))
        for name, net in state.nets.items():
            setattr(self, f"{name}_", net.eval().requires_grad_(False))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what was learned to `path`, all or nothing; `embedkit.load` opens it.

        Of nets that were given to the constructor, only the weights can be written: such a model comes back by
        ``restore`` of one that was made with the same nets.

        Parameters
        ----------
        path
            The file.

        Raises
        ------
        BadFile
            It cannot be written.
        """
        from embedkit.latent.model_file import save

        check_is_fitted(self)
        save(self, path)

    def restore(self, path: str | os.PathLike[str]) -> Self:
        """Have what was learned by a model with nets of the user's own, from its file; returns self.

        Parameters
        ----------
        path
            A file that `save`, or a training's checkpoints, wrote. This model has to be made with the same parameters
            and nets.

        Raises
        ------
        BadFile
            It is no such file, or of another class or other nets.
        """
        from embedkit.latent.model_file import restore

        restore(self, path)
        return self

    def _made(self, decoder: nn.Module, codes: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Rows that `decoder` makes of codes, in the shape and units of the input; in blocks of one size."""
        block, made = self.kind_.block, None
        with torch.no_grad(), self._threads():
            for start in range(0, len(codes), block):
                part = torch.from_numpy(codes[start : start + block])
                n = len(part)
                if n < block:
                    part = torch.cat([part, part.new_zeros(block - n, part.shape[1])])
                rows = self.kind_.restore(decoder(part.to(self.device_))[:n])
                if made is None:
                    made = np.empty((len(codes), *rows.shape[1:]), rows.dtype)
                made[start : start + n] = rows
        if made is None:
            raise BadInput("0 codes were given, a minimum of 1 is required")
        return made

    # -- help ----------------------------------------------------------------------------------------------------------

    def _checked(self) -> dict[str, Any]:
        """The parameters as they are used, checked, as JSON has them."""
        for name in ("batch_size", "n_components"):
            if hasattr(self, name):
                check_whole(name, getattr(self, name), 1)
        check_whole("epochs", self.epochs, 0)
        check_number("learning_rate", self.learning_rate, 1e-12, 1e6)
        check_number("weight_decay", self.weight_decay, 0, 1e6)
        for name, choices in (("schedule", SCHEDULES), ("precision", PRECISIONS), ("scaling", SCALINGS),
                              ("architecture", ("auto", "dense", "conv"))):  # fmt: skip
            check_choice(name, getattr(self, name), choices)
        if self.clip is not None:
            check_number("clip", self.clip, 1e-12, 1e12)
        # A model whose loss tells nothing of its worth holds no rows out.
        check_number("validation", getattr(self, "validation", 0.0), 0, 0.9)
        if getattr(self, "patience", None) is not None:
            check_whole("patience", self.patience, 1)
        if self.n_jobs is not None:
            check_whole("n_jobs", self.n_jobs, -1)
        for name in ("hidden", "channels"):
            if getattr(self, name, None) is not None:
                for width in _widths(name, getattr(self, name)):
                    check_whole(f"each of {name}", width, 1, 2**20)
        self._check()
        device = device_of(self.device)
        seed = self.random_state
        if isinstance(seed, np.random.RandomState):
            seed = int(seed.randint(2**31))
        used = {**self._plain_params(), "random_state": seed_of(seed)}
        return {**used, "precision": precision_for(self.precision, device)}

    def _plain_params(self) -> dict[str, Any]:
        """The parameters as JSON has them; of a net, that it is one's own."""
        found = plain(self.get_params(deep=False))
        for name, value in found.items():
            if isinstance(value, nn.Module):
                found[name] = f"own: {type(value).__name__}"
            elif isinstance(value, tuple | list | np.ndarray):
                found[name] = [item.item() if isinstance(item, np.generic) else item for item in value]
            elif isinstance(value, np.random.RandomState):
                found[name] = None
        return found

    def _own_nets(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _OWN if getattr(self, name, None) is not None}

    def _validated(self, X: Any, *, reset: bool) -> Any:  # noqa: N803
        """`X` if it is labelled, else an array of it, checked by scikit-learn where it is a matrix."""
        images = is_images(X)
        if images or (isinstance(X, np.ndarray) and X.ndim > 2):
            shape = np.shape(X.pixels if images else X)
            if shape[0] < 2 and reset:
                raise BadInput(f"{shape[0]} sample(s) were given, a minimum of 2 is required")
            if reset:
                self.n_features_in_ = math.prod(shape[1:])
                if hasattr(self, "feature_names_in_"):
                    del self.feature_names_in_
            return X
        if is_frame(X):
            array_of(X)  # names what it misses by row and column
        if isinstance(X, list | tuple):
            X = np.asarray(X)  # noqa: N806
            if X.ndim > 2:
                return self._validated(X, reset=reset)
        rows = validate_data(self, X, dtype="numeric", reset=reset, ensure_min_samples=2 if reset else 1,
                             ensure_all_finite=False)  # fmt: skip
        return X if isinstance(X, Embedding) or is_frame(X) else rows

    def _split(self, n: int, used: Mapping[str, Any]) -> npt.NDArray[np.int64]:
        """Rows that are held out, drawn by the seed; so that at least two remain."""
        wanted = min(int(used.get("validation", 0) * n), n - 2)
        drawn = np.random.default_rng((used["random_state"], _ROWS)).permutation(n)[: max(0, wanted)]
        return np.sort(drawn).astype(np.int64)

    @contextlib.contextmanager
    def _threads(self) -> Iterator[None]:
        """Let torch use `n_jobs` threads as long as it lasts; `None` leaves it alone."""
        if self.n_jobs is None:
            yield
            return
        before = torch.get_num_threads()
        torch.set_num_threads(self.n_jobs if self.n_jobs > 0 else os.cpu_count() or 1)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def _ready(self) -> State:
        """The state of a fitted model.

        Raises
        ------
        NotFitted
            `fit` comes first.
        """
        check_is_fitted(self)
        if not hasattr(self, "_state"):
            raise NotFitted(f"this {type(self).__name__} is not fitted yet: call fit first")
        state: State = self._state
        return state


def fingerprint(array: npt.NDArray[Any]) -> str:
    """What tells these rows from others: of much data, 4,096 rows and the size are looked at."""
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    step = 1 if array.nbytes <= _HASHED else -(-len(array) // 4096)
    for start in range(0, len(array), 1024 * step):
        digest.update(np.ascontiguousarray(array[start : start + 1024 * step : step]).view(np.uint8).data)
    return digest.hexdigest()


def _widths(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list | tuple | np.ndarray):
        raise BadInput(f"{name} is a list of widths, not {value!r}")
    return list(value)


def _seed(used: Mapping[str, Any], stream: int) -> int:
    return int(np.random.default_rng((used["random_state"], stream)).integers(2**32))
