"""A classifier that begins with an encoder trained without labels: probes on its codes, or fine-tuning."""

from __future__ import annotations

import contextlib
import copy
import math
import os
from collections.abc import Iterator
from typing import Any, Literal, Self, final

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, check_consistent_length, check_is_fitted, column_or_1d
from torch import Tensor, nn

from embedkit.errors import BadInput
from embedkit.kernels.exact import Doubles
from embedkit.latent.baselines import validated
from embedkit.latent.data import array_of
from embedkit.latent.rows import Rows
from embedkit.latent.training import Batch, Parts, Player, Settings, Training
from embedkit.latent.units import codes_of
from embedkit.parameters import check_choice, check_number, check_whole, seed_of

HEADS = ("linear", "svm", "knn")


@final
class EncoderClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Tell classes by the codes of an encoder that is fitted already.

    Frozen, the codes are what they are, and a head is fitted to them. Fine-tuned, a copy of the encoder is trained
    further together with a linear head, which begins as a logistic regression on the codes, so that the first steps
    do not spoil them (Kumar et al. 2022, arXiv:2202.10054). The encoder that is given never changes, and copies that
    scikit-learn's `clone` makes share it.

    Parameters
    ----------
    encoder
        A fitted latent model, or, for a frozen one, anything fitted that has `transform`.
    head
        On frozen codes, which are standardised first: ``"linear"`` (logistic regression), ``"svm"`` (support vectors
        with an RBF kernel), ``"knn"`` (nearest neighbours, by Euclidean distance). Fine-tuned, it is always linear.
    fine_tune
        Whether to train the encoder further.
    C
        Inverse strength of the penalty of a linear head (that fine-tuning begins with, too) or an SVM.
    n_neighbours
        Of a k-NN head.
    steps, batch_size, learning_rate, weight_decay
        Of fine-tuning: as many steps, rounded up to whole epochs, with a one-cycle schedule of AdamW.
    shift, turn, zoom
        Of fine-tuning on pictures: each time one is seen it is shifted by up to so many pixels, turned by up to so many
        degrees, and zoomed by up to such a share, at random. 0 for none.
    n_jobs
        Threads for torch; `None` leaves its own setting.
    random_state
        Seed of fine-tuning.

    Attributes
    ----------
    classes_ : ndarray
        The classes, sorted.
    head_
        The fitted head: a scikit-learn pipeline; `None` after fine-tuning.
    net_ : torch.nn.Module
        After fine-tuning: from rows in model units to a number for each class; `None` otherwise.
    history_ : list of dict
        Of fine-tuning, an entry an epoch: ``loss`` (cross-entropy, nats), ``learning_rate`` ...; empty otherwise.
    n_features_in_ : int
        How many numbers a row has.

    Examples
    --------
    >>> from embedkit import PCA, images
    >>> digits = images.named("digits").to_embedding()
    >>> train, test = digits.head(300), digits.take(range(300, 1797))
    >>> classifier = EncoderClassifier(PCA(16).fit(digits), head="knn").fit(train, train.columns["class"])
    >>> bool(classifier.score(test, test.columns["class"]) > 0.8)
    True
    """

    def __init__(
        self,
        encoder: Any,
        *,
        head: Literal["linear", "svm", "knn"] = "linear",
        fine_tune: bool = False,
        C: float = 1.0,  # noqa: N803  # scikit-learn's name
        n_neighbours: int = 5,
        steps: int = 300,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.01,
        shift: float = 0.0,
        turn: float = 0.0,
        zoom: float = 0.0,
        n_jobs: int | None = None,
        random_state: int | None = 0,
    ) -> None:
        self.encoder = encoder
        self.head = head
        self.fine_tune = fine_tune
        self.C = C
        self.n_neighbours = n_neighbours
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.shift = shift
        self.turn = turn
        self.zoom = zoom
        self.n_jobs = n_jobs
        self.random_state = random_state

    def __sklearn_clone__(self) -> Self:
        """A copy that is not fitted, with the same encoder, which is."""
        return type(self)(**self.get_params(deep=False))

    def fit(self, X: Any, y: npt.ArrayLike) -> Self:  # noqa: N803  # scikit-learn's name
        """Learn classes.

        Parameters
        ----------
        X
            Rows as the encoder takes them.
        y
            (n,) the class of each; two classes or more.

        Raises
        ------
        BadInput
            Parameters or shapes that make no sense, or an encoder that cannot be fine-tuned.
        """
        self._check()
        rows = validated(self, X, reset=True)
        if y is None:
            raise BadInput("EncoderClassifier requires y to be passed, but the target y is None")
        given = column_or_1d(y, warn=True)
        check_consistent_length(given, array_of(rows))
        assert_all_finite(given, input_name="y")
        check_classification_targets(given)
        self.classes_, numbers = np.unique(given, return_inverse=True)
        if len(self.classes_) < 2:
            raise BadInput(f"a classifier needs two or more classes, y has {len(self.classes_)} class")
        codes = codes_of(self.encoder, rows)
        self.head_: Any = self._fitted_head(codes, numbers)
        self.net_: nn.Module | None = None
        self.history_: list[dict[str, Any]] = []
        if self.fine_tune:
            self._fine_tune(rows, codes, numbers)
            self.head_ = None
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803
        """The class of each row, (n,)."""
        check_is_fitted(self)
        X = validated(self, X, reset=False)  # noqa: N806
        net = self.net_
        numbers = self.head_.predict(self._codes(X)) if net is None else self._logits(net, X).argmax(axis=1)
        classes: npt.NDArray[Any] = self.classes_[numbers]
        return classes

    def predict_proba(self, X: Any) -> Doubles:  # noqa: N803
        """The probability of each class, (n, classes), in the order of `classes_`.

        Raises
        ------
        BadInput
            The head is an SVM, which has none.
        """
        check_is_fitted(self)
        X = validated(self, X, reset=False)  # noqa: N806
        if self.net_ is None:
            if self.head == "svm":
                raise BadInput("an SVM gives no probabilities: use head='linear' or 'knn'")
            probabilities: Doubles = self.head_.predict_proba(self._codes(X))
            return probabilities
        logits = self._logits(self.net_, X)
        odds: Doubles = np.exp(logits - logits.max(axis=1, keepdims=True))
        odds /= odds.sum(axis=1, keepdims=True)
        return odds

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what was learned, and the encoder, to `path`, all or nothing; `embedkit.load` opens it.

        Of a head of nearest neighbours or support vectors, the file holds codes of rows of `fit`.

        Parameters
        ----------
        path
            The file.

        Raises
        ------
        BadInput
            The encoder is neither a latent model without nets of your own nor principal components, or the classes are
            neither numbers nor text.
        BadFile
            The file cannot be written.
        """
        from embedkit.latent.classifier_file import save

        check_is_fitted(self)
        save(self, path)

    # -- how ---------------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        check_choice("head", self.head, HEADS)
        for name in ("n_neighbours", "steps", "batch_size"):
            check_whole(name, getattr(self, name), 1)
        check_number("C", self.C, 1e-12, 1e12)
        check_number("learning_rate", self.learning_rate, 1e-12, 1e6)
        check_number("weight_decay", self.weight_decay, 0, 1e6)
        for name, most in (("shift", 1e4), ("turn", 180), ("zoom", 0.9)):
            check_number(name, getattr(self, name), 0, most)
        if not hasattr(self.encoder, "transform"):
            raise BadInput(f"encoder is a fitted model with transform, not {type(self.encoder).__name__}")
        if self.fine_tune and not hasattr(self.encoder, "encoder_"):
            raise BadInput(f"{type(self.encoder).__name__} has no net to fine-tune, or is not fitted yet")

    def _fitted_head(self, codes: npt.NDArray[Any], numbers: npt.NDArray[np.int64]) -> Any:
        from sklearn.linear_model import LogisticRegression
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        if self.fine_tune or self.head == "linear":
            head = LogisticRegression(C=self.C, max_iter=5000)
        elif self.head == "svm":
            head = SVC(C=self.C)
        else:
            head = KNeighborsClassifier(min(self.n_neighbours, len(codes)))
        return make_pipeline(StandardScaler(), head).fit(codes.astype(np.float64), numbers)

    def _codes(self, rows: Any) -> Doubles:
        return codes_of(self.encoder, rows).astype(np.float64)

    def _fine_tune(self, rows: Any, codes: npt.NDArray[Any], numbers: npt.NDArray[np.int64]) -> None:
        model = self.encoder
        net = nn.Sequential(
            copy.deepcopy(model.encoder_).requires_grad_(True), _as_layer(self.head_, len(self.classes_))
        )
        labels = torch.from_numpy(numbers).to(model.device_)
        kind, moves = model.kind_, (self.shift, self.turn, self.zoom)
        if any(moves) and not kind.image:
            raise BadInput("only pictures can be shifted, turned and zoomed: set shift, turn and zoom to 0")

        def loss(batch: Batch) -> Parts:
            seen = moved(batch, *moves) if any(moves) else batch.rows
            return {"loss": nn.functional.cross_entropy(net(seen).float(), labels[batch.index])}

        held = Rows.of(model.kind_.tensor(rows).to(model.device_))
        epochs = -(-self.steps // held.steps(self.batch_size))
        settings = Settings(
            seed=seed_of(self.random_state),
            epochs=epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
        )
        training = Training([Player("classifier", {"classifier": net}, loss)], settings, model.device_)
        with _threads(self.n_jobs):
            training.go(held)
        self.net_, self.history_ = net.eval().requires_grad_(False), training.run.history

    def _logits(self, net: nn.Module, rows: Any) -> Doubles:
        model = self.encoder
        with torch.no_grad(), _threads(self.n_jobs):
            made = [net(block)[:n].double().cpu().numpy() for n, block in model.kind_.blocks(rows, model.device_)]
        return np.concatenate(made)


def moved(batch: Batch, shift: float, turn: float, zoom: float) -> Tensor:
    """The pictures of a batch, each shifted (pixels), turned (degrees) and zoomed (share) by up to so much at random.

    Between pixels, values are interpolated linearly; from outside come zeros.
    """
    rows = batch.rows
    n, _, h, w = rows.shape
    draws = batch.uniform(n, 4) * 2 - 1
    angle, size = draws[:, 0] * math.radians(turn), 1 + draws[:, 1] * zoom
    cosine, sine = torch.cos(angle) / size, torch.sin(angle) / size
    # In a grid that goes from -1 to 1 each way, a pixel is 2 / w wide, and a turn of an oblong picture is no rotation.
    across, down = draws[:, 2] * (2 * shift / w), draws[:, 3] * (2 * shift / h)
    top = torch.stack([cosine, -sine * (h / w), across], dim=1)
    bottom = torch.stack([sine * (w / h), cosine, down], dim=1)
    grid = nn.functional.affine_grid(torch.stack([top, bottom], dim=1), list(rows.shape), align_corners=False)
    return nn.functional.grid_sample(rows, grid, align_corners=False)


def _as_layer(head: Any, n_classes: int) -> nn.Linear:
    """A logistic regression on standardised codes as one layer on codes."""
    scaler, regression = head[0], head[1]
    weights = np.array(regression.coef_) / scaler.scale_
    biases = regression.intercept_ - weights @ scaler.mean_
    if n_classes == 2:  # one logit for the second class: half of it each way
        weights, biases = np.concatenate([-weights, weights]) / 2, np.concatenate([-biases, biases]) / 2
    layer = nn.Linear(weights.shape[1], n_classes)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights))
        layer.bias.copy_(torch.from_numpy(biases))
    return layer


@contextlib.contextmanager
def _threads(n_jobs: int | None) -> Iterator[None]:
    """Let torch use so many threads as long as it lasts; `None` leaves it alone."""
    before = torch.get_num_threads()
    if n_jobs is not None:
        torch.set_num_threads(n_jobs if n_jobs > 0 else os.cpu_count() or 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
