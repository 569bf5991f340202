"""VAE: its arithmetic against plain numpy, its bound, its likelihood, its prior."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from embedkit import VAE, images
from embedkit.errors import BadInput
from embedkit.latent import objectives

Doubles = npt.NDArray[np.float64]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits() -> images.Images:
    return images.named("digits").head(400)


@pytest.fixture(scope="module")
def binary(digits: images.Images) -> Any:
    """Pixels that are 0 or 255."""
    return np.where(digits.pixels > 127, 255, 0).astype(np.uint8)


@pytest.fixture(scope="module")
def model(binary: Any) -> VAE:
    return VAE(3, hidden=(32,), epochs=20, batch_size=32, learning_rate=5e-3, n_jobs=1, random_state=0).fit(binary)


@parametrize_with_checks([VAE(n_components=2, hidden=(8,), epochs=2, n_jobs=1)])  # type: ignore[untyped-decorator]
def test_scikit_learns_own_checks_pass(estimator: Any, check: Any) -> None:
    check(estimator)


# -- arithmetic, against numpy -----------------------------------------------------------------------------------------


def tensors(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def test_the_likelihood_of_coins() -> None:
    (raw,) = tensors((4, 2, 3))
    for rows in ((torch.arange(24).reshape(4, 2, 3) % 2).float(), torch.rand(4, 2, 3)):
        p, x = 1 / (1 + np.exp(-raw.double().numpy())), rows.double().numpy()
        expected = (x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=(1, 2))
        np.testing.assert_allclose(objectives.bernoulli_log_likelihood(raw, rows), expected, rtol=1e-5)


def test_the_likelihood_of_a_gaussian() -> None:
    made, rows = tensors((4, 5), (4, 5))
    expected = norm.logpdf(rows.numpy(), made.numpy(), 0.7).sum(axis=1)
    np.testing.assert_allclose(objectives.gaussian_log_likelihood(made, rows, 0.7), expected, rtol=1e-5)


def test_the_divergence_is_that_of_many_draws() -> None:
    mean, log_variance = tensors((2, 3), (2, 3))
    found = objectives.kl_to_standard_normal(mean, log_variance).numpy()
    deviation = np.exp(log_variance.numpy() / 2)
    draws = np.random.default_rng(0).normal(size=(400_000, 2, 3)) * deviation + mean.numpy()
    expected = (norm.logpdf(draws, mean.numpy(), deviation) - norm.logpdf(draws)).mean(axis=0)
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert (objectives.kl_to_standard_normal(torch.zeros(1, 2), torch.zeros(1, 2)) == 0).all()


def test_importance_weights_are_those_of_their_densities() -> None:
    likelihood, codes, mean, log_variance = tensors((6,), (6, 3), (3,), (3,))
    prior = norm.logpdf(codes.numpy()).sum(axis=1)
    posterior = norm.logpdf(codes.numpy(), mean.numpy(), np.exp(log_variance.numpy() / 2)).sum(axis=1)
    found = objectives.importance_weights(likelihood, codes, mean, log_variance)
    np.testing.assert_allclose(found, likelihood.numpy() + prior - posterior, rtol=1e-4, atol=1e-5)


def test_corruptions() -> None:
    rows = torch.ones(400, 50)
    generator = torch.Generator().manual_seed(0)
    added = objectives.corrupted(rows, 0.3, "gaussian", generator) - 1
    assert float(added.std()) == pytest.approx(0.3, rel=0.05)
    masked = objectives.corrupted(rows, 0.3, "masking", generator)
    assert set(masked.flatten().tolist()) == {0.0, 1.0}
    assert float(masked.mean()) == pytest.approx(0.7, abs=0.02)


# -- the bound ---------------------------------------------------------------------------------------------------------


class Linear(nn.Module):
    """An encoder or decoder whose weights are given: so the likelihood is known in closed form."""

    def __init__(self, weight: Doubles, bias: Doubles) -> None:
        super().__init__()
        self.net = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            self.net.weight.copy_(torch.from_numpy(weight))
            self.net.bias.copy_(torch.from_numpy(bias))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.net(rows)
        return made


@pytest.fixture
def factors() -> tuple[VAE, Doubles, Doubles]:
    """A VAE that is a factor model x = W z + b + s e, with its exact posterior; rows, and their log-likelihoods."""
    rng = np.random.default_rng(0)
    weight, bias, s = rng.normal(size=(4, 2)), rng.normal(size=4), 0.5
    rows = rng.normal(size=(300, 2)) @ weight.T + bias + s * rng.normal(size=(300, 4))
    precision = np.eye(2) + weight.T @ weight / s**2
    to_mean = np.linalg.solve(precision, weight.T) / s**2
    log_variances = np.log(np.diag(np.linalg.inv(precision)))  # their correlation it cannot express
    encoder = Linear(np.vstack([to_mean, np.zeros((2, 4))]), np.concatenate([-to_mean @ bias, log_variances]))
    model = VAE(2, encoder=encoder, decoder=Linear(weight, bias), deviation=s, scaling="none", epochs=0, validation=0,
                n_jobs=1, random_state=0).fit(rows)  # fmt: skip
    covariance = weight @ weight.T + s**2 * np.eye(4)
    away = rows - bias
    exact = -0.5 * ((away @ np.linalg.inv(covariance)) * away).sum(axis=1)
    exact -= 0.5 * (np.linalg.slogdet(covariance)[1] + 4 * math.log(2 * math.pi))
    return model, rows, exact


def test_the_log_likelihood_of_a_factor_model_is_the_exact_one(factors: tuple[VAE, Doubles, Doubles]) -> None:
    model, rows, exact = factors
    found = model.log_likelihood(rows, n_samples=2000)
    assert np.abs(found - exact).mean() < 0.05
    assert (found - exact).mean() == pytest.approx(0, abs=0.01)


def test_the_bound_lies_below_and_more_samples_come_nearer(factors: tuple[VAE, Doubles, Doubles]) -> None:
    model, rows, exact = factors
    parts = model.elbo(rows, n_samples=300)
    bound = -(parts["reconstruction"] + parts["kl"]).mean()
    few, many = (model.log_likelihood(rows, n_samples=n).mean() for n in (5, 500))
    assert bound < few < many + 0.02
    assert many == pytest.approx(exact.mean(), abs=0.02)


def test_the_parts_of_the_bound_are_those_of_many_draws(model: VAE, binary: Any) -> None:
    parts = model.elbo(binary[:20], n_samples=100)
    x = (binary[:20] / 255).reshape(20, -1)
    mean, log_variance = (t.double().numpy() for t in model.encoder_.moments(model.kind_.tensor(binary[:20])))
    codes = mean + np.random.default_rng(0).normal(size=(100, 20, 3)) * np.exp(log_variance / 2)
    raw = model.decoder_.raw(torch.from_numpy(codes.reshape(-1, 3).astype(np.float32))).double().numpy()
    raw = raw.reshape(100, 20, -1)
    expected = -(x * raw - np.logaddexp(0, raw)).sum(axis=2).mean(axis=0)
    np.testing.assert_allclose(parts["reconstruction"], expected, rtol=0.05)
    np.testing.assert_allclose(
        parts["kl"], 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1), rtol=1e-4
    )
    scores = model.score_samples(binary[:20])
    default = model.elbo(binary[:20])
    np.testing.assert_allclose(scores, -(default["reconstruction"] + default["kl"]), rtol=1e-6)


def test_the_likelihood_is_a_mean_of_weights(model: VAE, binary: Any) -> None:
    """Against all of it in float64 numpy, with other draws."""
    rows = model.kind_.tensor(binary[:5])
    mean, log_variance = (t.double().numpy() for t in model.encoder_.moments(rows))
    rng = np.random.default_rng(0)
    for row, (m, v) in enumerate(zip(mean, log_variance, strict=True)):
        codes = m + rng.normal(size=(4000, 3)) * np.exp(v / 2)
        raw = model.decoder_.raw(torch.from_numpy(codes.astype(np.float32))).double().numpy().reshape(4000, -1)
        x = rows[row].double().numpy().ravel()
        weights = (x * raw - np.logaddexp(0, raw)).sum(axis=1) + norm.logpdf(codes).sum(axis=1)
        weights -= norm.logpdf(codes, m, np.exp(v / 2)).sum(axis=1)
        found = model.log_likelihood(binary[row : row + 1], n_samples=4000)[0]
        assert found == pytest.approx(logsumexp(weights) - math.log(4000), abs=0.3)


def test_grey_pixels_are_tossed_once(model: VAE, digits: images.Images, binary: Any) -> None:
    a, b = (model.log_likelihood(digits.pixels[:50], n_samples=20, random_state=seed) for seed in (0, 1))
    assert not np.array_equal(a, b)
    assert np.array_equal(a, model.log_likelihood(digits.pixels[:50], n_samples=20))
    plain, tossed = (model.log_likelihood(binary[:50], n_samples=500, binarise=toss) for toss in (False, True))
    np.testing.assert_allclose(plain, tossed, atol=1.5)  # 0s and 1s stay what they are
    grey = model.log_likelihood(digits.pixels[:50], n_samples=200, binarise=False)
    assert abs(grey - model.log_likelihood(digits.pixels[:50], n_samples=200)).max() > 1


# -- training ----------------------------------------------------------------------------------------------------------


def test_the_history_has_the_parts_apart(model: VAE) -> None:
    for entry in model.history_:
        assert entry["loss"] == pytest.approx(entry["reconstruction"] + entry["kl"], rel=1e-6)
        assert sum(entry["kl_per_unit"]) == pytest.approx(entry["kl"], rel=1e-5)
        assert len(entry["validation_kl_per_unit"]) == 3
        assert entry["validation_loss"] == pytest.approx(entry["validation_reconstruction"] + entry["validation_kl"])
        assert 0 <= entry["active_units"] <= 3
        assert entry["beta"] == 1
    assert model.history_[-1]["loss"] < model.history_[0]["loss"] - 5


def test_the_loss_is_the_bound_of_the_rows(model: VAE, binary: Any) -> None:
    """Summed over pixels and averaged over rows, as the history says: on average that of `elbo`."""
    parts = model.elbo(binary[model.validation_rows_], n_samples=200)
    assert model.history_[model.best_epoch_ - 1]["validation_kl"] == pytest.approx(parts["kl"].mean(), rel=1e-4)
    told = model.history_[model.best_epoch_ - 1]["validation_reconstruction"]
    assert told == pytest.approx(parts["reconstruction"].mean(), rel=0.05)


def test_beta_weighs_the_divergence_and_warms_up(binary: Any) -> None:
    def fit(**parameters: Any) -> VAE:
        return VAE(3, hidden=(16,), epochs=10, batch_size=32, n_jobs=1, random_state=0, **parameters).fit(binary)

    much, little = fit(beta=30.0), fit(beta=0.1)
    assert much.history_[-1]["kl"] < 0.1 * little.history_[-1]["kl"]
    assert much.active_units_ == 0 < little.active_units_ == 3
    warm = fit(beta=2.0, warmup=0.5)
    betas = [entry["beta"] for entry in warm.history_]
    assert betas == sorted(betas)
    assert betas[0] == pytest.approx(2 * 0.05 / 0.5, rel=0.15)
    assert betas[-1] == 2
    last = warm.history_[-1]
    assert last["validation_loss"] == pytest.approx(last["validation_reconstruction"] + 2 * last["validation_kl"])


def test_codes_of_means_and_active_units(model: VAE, binary: Any) -> None:
    codes = model.transform(binary)
    np.testing.assert_allclose(codes, model.encoder_.moments(model.kind_.tensor(binary))[0].numpy(), atol=1e-5)
    assert model.active_units_ == int((model.codes_.var(axis=0) > 0.01).sum()) == 3


def test_a_gaussian_learns_its_deviation() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(600, 1)) @ np.array([[3.0, -2.0, 1.0]]) + 0.3 * rng.normal(size=(600, 3))
    model = VAE(1, hidden=(16,), scaling="none", epochs=60, batch_size=32, learning_rate=1e-2, n_jobs=1,
                random_state=0).fit(rows)  # fmt: skip
    assert float(model.likelihood_.log_deviation.exp()) == pytest.approx(0.3, rel=0.25)
    fixed = VAE(1, hidden=(16,), deviation=0.7, epochs=1, n_jobs=1, random_state=0).fit(rows)
    assert float(fixed.likelihood_.log_deviation.exp()) == pytest.approx(0.7)


def test_coins_need_values_between_0_and_1() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(BadInput, match="likelihood='gaussian'"):
        VAE(1, likelihood="bernoulli").fit(rows)
    for wrong in ({"likelihood": "laplace"}, {"beta": -1}, {"warmup": 2}, {"deviation": 0}):
        with pytest.raises(BadInput, match=next(iter(wrong))):
            VAE(1, **wrong).fit(rows)


# -- the prior ---------------------------------------------------------------------------------------------------------


def test_samples_of_the_prior_are_decoded_normal_codes(model: VAE) -> None:
    codes = model.sample_codes(5000, random_state=0)
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=0.06)
    np.testing.assert_allclose(np.cov(codes.T), np.eye(3), atol=0.08)
    assert np.array_equal(
        model.sample(4, random_state=0), model.inverse_transform(model.sample_codes(4, random_state=0))
    )
    mixed = model.sample_codes(5000, "gmm", random_state=0)
    np.testing.assert_allclose(np.cov(mixed.T), np.cov(model.codes_.T), atol=0.15)


def test_a_lattice_lies_at_quantiles_of_the_normal(model: VAE) -> None:
    made = model.lattice(4, units=(0, 2))
    code = np.zeros((1, 3))
    code[0, 0], code[0, 2] = norm.ppf(1 / 8), norm.ppf(7 / 8)
    np.testing.assert_allclose(made[0, 0], model.inverse_transform(code)[0], atol=1e-5)
    code[0, 0], code[0, 2] = norm.ppf(7 / 8), norm.ppf(1 / 8)
    np.testing.assert_allclose(made[3, 3], model.inverse_transform(code)[0], atol=1e-5)
