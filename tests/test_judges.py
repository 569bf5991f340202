"""Judges of samples: distances between Gaussians, shares of classes, sharpness."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy import linalg
from scipy.ndimage import gaussian_filter, laplace

from embedkit import images
from embedkit.errors import BadInput
from embedkit.latent.judges import Judge, frechet_distance, gaussian_distance, judge_samples, sharpness, train_judge


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits() -> images.Images:
    return images.named("digits")


@pytest.fixture(scope="module")
def halves(digits: images.Images) -> tuple[images.Images, images.Images]:
    return digits.take(np.arange(0, 1797, 2)), digits.take(np.arange(1, 1797, 2))


@pytest.fixture(scope="module")
def judge(halves: tuple[images.Images, images.Images]) -> Judge:
    return train_judge(halves[0], random_state=1, epochs=40)


# -- distances ---------------------------------------------------------------------------------------------------------


def test_the_distance_of_independent_gaussians(rng: np.random.Generator) -> None:
    """With diagonal covariances it is that of the means and of the standard deviations."""
    means, deviations = rng.normal(size=(2, 6)), rng.uniform(0, 2, size=(2, 6))
    deviations[0, 2] = deviations[1, 3] = 0
    covariances = [np.diag(deviation**2) for deviation in deviations]
    expected = np.square(means[0] - means[1]).sum() + np.square(deviations[0] - deviations[1]).sum()
    assert gaussian_distance(means[0], covariances[0], means[1], covariances[1]) == pytest.approx(expected, rel=1e-12)


def test_the_distance_of_gaussians_that_share_no_axes(rng: np.random.Generator) -> None:
    """The trace of a 2 x 2 matrix's root is sqrt(trace + 2 sqrt(determinant)); more dimensions by scipy's root."""
    one, two = (values @ values.T for values in rng.normal(size=(2, 2, 2)))
    product = one @ two
    root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = np.trace(one) + np.trace(two) - 2 * root
    assert gaussian_distance(np.zeros(2), one, np.zeros(2), two) == pytest.approx(expected, rel=1e-9)
    one, two = (values @ values.T for values in rng.normal(size=(2, 9, 30)))
    expected = np.trace(one) + np.trace(two) - 2 * np.trace(linalg.sqrtm(one @ two).real)
    assert gaussian_distance(np.zeros(9), one, np.zeros(9), two) == pytest.approx(expected, rel=1e-9)


def test_the_distance_of_features(rng: np.random.Generator) -> None:
    a = rng.normal(size=(500, 5))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + 3) == pytest.approx(5 * 9, rel=1e-9)
    turned = linalg.qr(rng.normal(size=(5, 5)))[0]
    b = rng.normal(size=(400, 5)) @ rng.normal(size=(5, 5))
    assert frechet_distance(a @ turned, b @ turned) == pytest.approx(frechet_distance(a, b), rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b), rel=1e-9)


def test_features_on_a_plane_have_a_distance(rng: np.random.Generator) -> None:
    """Dead units have no variance."""
    a, b = rng.normal(size=(100, 8)), rng.normal(size=(100, 8))
    a[:, 3:], b[:, 3:] = 0, 0
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(a[:, :3], b[:, :3]), rel=1e-9)


def test_features_that_have_no_distance() -> None:
    with pytest.raises(BadInput, match="at least 2"):
        frechet_distance(np.zeros((1, 3)), np.zeros((5, 3)))
    with pytest.raises(BadInput, match="features are"):
        frechet_distance(np.zeros((5, 2)), np.zeros((5, 3)))
    with pytest.raises(BadInput, match="not finite"):
        frechet_distance(np.full((5, 3), np.nan), np.zeros((5, 3)))


def test_sharpness_is_the_variance_of_the_laplacian(digits: images.Images) -> None:
    pictures = digits.pixels[:20] / 255
    expected = [laplace(picture)[1:-1, 1:-1].var() for picture in pictures]
    np.testing.assert_allclose(sharpness(pictures), expected, rtol=1e-10)
    np.testing.assert_allclose(sharpness(np.stack([pictures, pictures], axis=1)), expected, rtol=1e-10)
    blurred = np.stack([gaussian_filter(picture, 0.8) for picture in pictures])
    assert (sharpness(blurred) < 0.5 * sharpness(pictures)).all()
    assert sharpness(np.ones((1, 5, 5))).item() == 0
    with pytest.raises(BadInput, match="3 x 3"):
        sharpness(np.zeros((4, 2, 9)))


# -- judges ------------------------------------------------------------------------------------------------------------


def test_a_judge_knows_classes(judge: Judge, halves: tuple[images.Images, images.Images]) -> None:
    classes = halves[1].classes
    assert classes is not None
    assert judge.accuracy(halves[1], classes) > 0.9
    features, shares = judge.look(halves[1])
    assert features.shape == (898, 84)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert not any(parameter.requires_grad for parameter in judge.net.parameters())
    floats = judge.look(halves[1].pixels.astype(np.float32) / 255)
    np.testing.assert_allclose(floats[0], features, atol=1e-5)


def test_a_seed_makes_the_same_judge(halves: tuple[images.Images, images.Images]) -> None:
    state = torch.random.get_rng_state()
    one, two, other = (train_judge(halves[0], random_state=seed, epochs=1).look(halves[1])[0] for seed in (3, 3, 4))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_verdicts_tell_real_pictures_from_spoilt_ones(
    judge: Judge, halves: tuple[images.Images, images.Images], rng: np.random.Generator
) -> None:
    real = halves[1]
    (good,) = judge_samples([judge], real, halves[0])
    noisy = np.clip(halves[0].pixels / 255 + 0.4 * rng.normal(size=halves[0].pixels.shape), 0, 1)
    (bad,) = judge_samples([judge], real, noisy)
    (worst,) = judge_samples([judge], real, rng.random((898, 8, 8)))
    assert good.distance < 0.1 * bad.distance < 0.1 * worst.distance
    assert good.confidence > bad.confidence
    assert good.present == 10
    assert good.variation < 0.05
    assert good.judge == judge.seed == 1


def test_verdicts_see_a_collapse(judge: Judge, halves: tuple[images.Images, images.Images]) -> None:
    real = halves[1]
    said = judge.classes[judge.look(real)[1].argmax(axis=1)]
    (one,) = judge_samples([judge], real, real.take(said == 3))
    assert one.present == one.shares[3] == 1
    assert one.variation == pytest.approx(1 - (said == 3).mean())
    (two,) = judge_samples([judge], real, real.take(np.isin(said, (3, 4))))
    assert two.present == 2
    assert two.variation == pytest.approx(1 - np.isin(said, (3, 4)).mean())
    assert one.distance > two.distance > 0
    (same,) = judge_samples([judge], real, real)
    assert same.variation == 0
    assert same.distance == pytest.approx(0, abs=1e-6)


def test_pictures_that_no_judge_learns(halves: tuple[images.Images, images.Images]) -> None:
    pixels = halves[0].pixels
    with pytest.raises(BadInput, match="learns classes"):
        train_judge(pixels, random_state=0)
    with pytest.raises(BadInput, match="5 classes for 899 pictures"):
        train_judge(pixels, np.arange(5), random_state=0)
    with pytest.raises(BadInput, match="at least two"):
        train_judge(pixels, np.zeros(899), random_state=0)
    with pytest.raises(BadInput, match="4 x 4"):
        train_judge(pixels[:, :3], halves[0].classes, random_state=0)
