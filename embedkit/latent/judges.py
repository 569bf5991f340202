"""How good generated pictures are: frozen classifiers that tell them from real ones, and how sharp they are.

The figures of a judge depend on its weights: the same samples have quite different Frechet distances under two judges.
So several judges of different seeds look at everything, and only figures of one and the same judge are compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from embedkit.errors import BadInput
from embedkit.kernels.word2vec_torch import device_of
from embedkit.latent.data import Kind, array_of, is_images
from embedkit.latent.nets import initialise
from embedkit.latent.training import Batch, Parts, Player, Settings, Training
from embedkit.parameters import check_whole, seed_of

FEATURES = 84
_SMALLEST = 4  # pixels of a side
_PRESENT = 0.1  # a class is there if it has this much of the share that it has among real pictures


class LeNet(nn.Module):
    """Pictures of any size from 4 x 4 to 84 features and scores of classes (after LeCun et al. 1998, Proc. IEEE 86).

    Parameters
    ----------
    shape
        (channels, height, width).
    n_classes
        How many.
    """

    def __init__(self, shape: tuple[int, ...], n_classes: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(shape[0], 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(16 * (shape[1] // 4) * (shape[2] // 4), 120), nn.ReLU(),
            nn.Linear(120, FEATURES), nn.ReLU(),
        )  # fmt: skip
        self.last = nn.Linear(FEATURES, n_classes)

    def forward(self, rows: Tensor) -> Tensor:
        """Scores, (b, n_classes)."""
        made: Tensor = self.last(self.convolutions(rows))
        return made


@dataclass(frozen=True, eq=False)
class Judge:
    """A classifier that is trained no further.

    Attributes
    ----------
    net
        The classifier.
    kind
        What its pictures are.
    classes
        (k,), rising.
    seed
        Which judge it is.
    """

    net: LeNet
    kind: Kind
    classes: npt.NDArray[Any]
    seed: int

    @torch.no_grad()
    def look(self, pictures: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Features, (n, 84), and probabilities of the classes, (n, k).

        Parameters
        ----------
        pictures
            As those that it was trained on: uint8, or floats between 0 and 1.
        """
        features, shares = [], []
        device = next(self.net.parameters()).device
        for n, rows in self.kind.blocks(pictures, str(device)):
            found = self.net.convolutions(rows)[:n]
            features.append(found.double().cpu().numpy())
            shares.append(functional.softmax(self.net.last(found).double(), dim=1).cpu().numpy())
        if not features:
            return np.zeros((0, FEATURES)), np.zeros((0, len(self.classes)))
        return np.concatenate(features), np.concatenate(shares)

    def accuracy(self, pictures: Any, classes: npt.ArrayLike) -> float:
        """Share of `pictures` whose class, one of `classes` (n,) each, it finds."""
        return float(np.mean(self.classes[self.look(pictures)[1].argmax(axis=1)] == np.asarray(classes)))


@dataclass(frozen=True, eq=False)
class Verdict:
    """What one judge says of samples, beside real pictures.

    Attributes
    ----------
    judge
        Its seed. Figures of different judges cannot be compared.
    distance
        Frechet distance of the features of samples and real pictures (0 is best).
    shares
        (k,): how many of the samples are of each class, as a part of all.
    variation
        Total variation between these and the shares among the real pictures as this judge sees them: 0 if they are
        alike, 1 if no class is shared.
    present
        How many classes the samples have: those with at least a tenth of their share among the real pictures.
    confidence
        The mean probability of the class that a sample is taken for.
    """

    judge: int
    distance: float
    shares: npt.NDArray[np.float64]
    variation: float
    present: int
    confidence: float


def train_judge(
    pictures: Any, classes: npt.ArrayLike | None = None, *, random_state: int, epochs: int = 5, device: str = "auto"
) -> Judge:
    """Train a classifier of real pictures.

    Parameters
    ----------
    pictures
        `embedkit.images.Images`, or an array (n, h, w) or (n, channels, h, w): uint8, or floats between 0 and 1.
    classes
        (n,); `None` for those of the Images.
    random_state
        Seed of its weights and of the order of the pictures: what makes it this judge.
    epochs
        How often it sees every picture.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"``.

    Returns
    -------
    Judge
        It has seen the training pictures: what it says of samples is to be told beside what it says of real ones.

    Raises
    ------
    BadInput
        There is not one class for each picture, or fewer than two, or pictures are smaller than 4 x 4.
    """
    check_whole("epochs", epochs, 1)
    if classes is None:
        classes = pictures.classes if is_images(pictures) else None
    if classes is None:
        raise BadInput("a judge learns classes: give those of the pictures")
    known, numbers = np.unique(np.asarray(classes), return_inverse=True)
    if numbers.ndim != 1 or len(numbers) != len(array_of(pictures)):
        raise BadInput(f"{np.size(classes)} classes for {len(array_of(pictures))} pictures: there must be one each")
    if len(known) < 2:
        raise BadInput("a judge tells classes apart: at least two are needed")
    kind = Kind.learned(pictures, "pixels", None)
    if len(kind.shape) != 3 or min(kind.shape[1:]) < _SMALLEST:
        raise BadInput(f"rows of shape {kind.shape} are no pictures of at least {_SMALLEST} x {_SMALLEST}")
    seed = seed_of(random_state)
    where = device_of(device)
    with torch.random.fork_rng(devices=[]):  # torch draws weights as it makes layers; ours are drawn anew
        net = LeNet(kind.shape, len(known))
    generator = torch.Generator().manual_seed(seed)
    for layer in net.modules():
        initialise(layer, generator)
    targets = torch.from_numpy(numbers).to(where)

    def loss(batch: Batch) -> Parts:
        return {"loss": functional.cross_entropy(net(batch.rows), targets[batch.index])}

    settings = Settings(seed=seed, epochs=epochs, learning_rate=2e-3)
    Training([Player("judge", {"judge": net}, loss)], settings, where).go(kind.rows(pictures, where))
    return Judge(net.eval().requires_grad_(False), kind, known, seed)


def judge_samples(judges: Sequence[Judge], real: Any, samples: Any) -> list[Verdict]:
    """What each judge says of samples.

    The Frechet distance of few samples is too large (by about the number of features over theirs): compare samples of
    one size, and have several thousand. Of real pictures take all, or draw them by a seed (``Images.sample``): a file's
    first ones need not be like the others, and of MNIST's test images the first half are the easier.

    Parameters
    ----------
    judges
        From `train_judge`, with different seeds.
    real
        Pictures that neither the judges nor the generator were trained on.
    samples
        Generated pictures, in the same units.

    Raises
    ------
    BadInput
        Fewer than two of either.
    """
    verdicts = []
    for judge in judges:
        (expected, real_shares), (found, shares) = judge.look(real), judge.look(samples)
        distance = frechet_distance(expected, found)
        theirs, ours = (_shares(each) for each in (real_shares, shares))
        verdicts.append(
            Verdict(
                judge=judge.seed,
                distance=distance,
                shares=ours,
                variation=float(np.abs(ours - theirs).sum() / 2),
                present=int(((ours >= _PRESENT * theirs) & (ours > 0)).sum()),
                confidence=float(shares.max(axis=1).mean()),
            )
        )
    return verdicts


def frechet_distance(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Squared Frechet distance of the Gaussians that have the means and covariances of two sets of features.

    What Heusel et al. 2017, arXiv:1706.08500, call FID, of any features; in float64.

    Parameters
    ----------
    a, b
        (n, d) and (m, d); n and m of at least 2.

    Raises
    ------
    BadInput
        Too few rows, other widths, or a value that is not finite.
    """
    one, two = (np.asarray(features, dtype=np.float64) for features in (a, b))
    if one.ndim != 2 or two.ndim != 2 or one.shape[1] != two.shape[1]:
        raise BadInput(f"features are (n, d) and (m, d), not {one.shape} and {two.shape}")
    if min(len(one), len(two)) < 2:
        raise BadInput(f"{min(len(one), len(two))} rows have no covariance: at least 2 are needed")
    if not (np.isfinite(one).all() and np.isfinite(two).all()):
        raise BadInput("a feature is not finite")
    covariances = (np.atleast_2d(np.cov(features, rowvar=False)) for features in (one, two))
    return gaussian_distance(one.mean(axis=0), next(covariances), two.mean(axis=0), next(covariances))


def gaussian_distance(
    mean_a: npt.NDArray[np.float64], covariance_a: npt.NDArray[np.float64],
    mean_b: npt.NDArray[np.float64], covariance_b: npt.NDArray[np.float64],
) -> float:  # fmt: skip
    """Squared Frechet (2-Wasserstein) distance of two Gaussians.

    ``|m - n|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2)`` (Dowson & Landau 1982, J. Multivariate Analysis 12). The root of
    the symmetric product is exact for singular covariances, too, where that of ``AB`` need not be real.
    """
    values, vectors = np.linalg.eigh(covariance_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    product = root @ covariance_b @ root
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh((product + product.T) / 2), 0)).sum()
    apart = float(np.square(mean_a - mean_b).sum())
    return max(0.0, apart + float(np.trace(covariance_a) + np.trace(covariance_b) - 2 * shared))


def sharpness(pictures: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """How sharp each picture is, (n,): the variance of its Laplacian (Pech-Pacheco et al. 2000, ICPR 15).

    Blurring lowers it; noise raises it, so that it is told beside a distance to real pictures.

    Parameters
    ----------
    pictures
        (n, h, w) or (n, channels, h, w), at least 3 x 3.

    Raises
    ------
    BadInput
        They have another shape.
    """
    values = np.asarray(pictures, dtype=np.float64)
    if values.ndim not in (3, 4) or min(values.shape[-2:]) < 3:
        raise BadInput(f"pictures are (n, h, w) or (n, channels, h, w) of at least 3 x 3, not {values.shape}")
    inner = values[..., 1:-1, 1:-1]
    around = values[..., :-2, 1:-1] + values[..., 2:, 1:-1] + values[..., 1:-1, :-2] + values[..., 1:-1, 2:]
    laplacian = around - 4 * inner
    return np.asarray(laplacian.reshape(len(values), math.prod(values.shape[1:-2]), -1).var(axis=2).mean(axis=1))


def _shares(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    counts = np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1])
    return counts / len(probabilities)
