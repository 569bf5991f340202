"""Critics: of codes (the adversarial autoencoder), of reconstructions (the discriminator as a loss)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

import embedkit
from embedkit import AdversarialAutoencoder, Autoencoder, images
from embedkit.errors import BadInput
from embedkit.latent.adversarial import (
    critic_loss,
    energy_distance,
    gradient_penalty,
    maker_loss,
    reconstruction_critic,
)
from embedkit.latent.data import Kind
from embedkit.latent.nets import Maker
from embedkit.latent.rows import Rows
from embedkit.latent.training import Batch, Parts, Player, Settings, Training
from embedkit.progress import Progress


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits() -> images.Images:
    return images.named("digits").head(400)


def matched(weight: float, digits: images.Images) -> AdversarialAutoencoder:
    model = AdversarialAutoencoder(
        4, adversarial=weight, epochs=20, batch_size=32, hidden=(32,), random_state=1, n_jobs=1
    )  # fmt: skip
    return model.fit(digits)


@pytest.fixture(scope="module")
def fitted(digits: images.Images) -> AdversarialAutoencoder:
    return matched(0.01, digits)


def weights(model: Any) -> dict[str, torch.Tensor]:
    nets = {"encoder": model.encoder_, "decoder": model.decoder_, "critic": model.critic_}
    return {f"{name}.{key}": value for name, net in nets.items() for key, value in net.state_dict().items()}


def mismatch(codes: Any) -> float:
    """Squared energy distance from the standard normal."""
    normal = torch.randn(2000, codes.shape[1], generator=torch.Generator().manual_seed(0))
    return energy_distance(torch.as_tensor(codes), normal).item()


@parametrize_with_checks([AdversarialAutoencoder(2, hidden=(8,), epochs=1, n_jobs=1)])  # type: ignore[untyped-decorator]  # no types
def test_scikit_learns_own_checks_pass(estimator: Any, check: Any) -> None:
    check(estimator)


# -- losses ------------------------------------------------------------------------------------------------------------


def test_hinge_losses(rng: np.random.Generator) -> None:
    real, made = rng.normal(size=(2, 50)) * 2
    expected = np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + made).mean()
    scores = [torch.from_numpy(values).float() for values in (real, made)]
    assert critic_loss(*scores).item() == pytest.approx(expected, rel=1e-5)
    assert maker_loss(scores[1]).item() == pytest.approx(-made.mean(), rel=1e-5)


class Quadratic(nn.Module):
    """Scores a row x by x'Ax / 2, whose gradient is (A + A')x / 2."""

    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.einsum("ni,ij,nj->n", rows, self.matrix, rows) / 2


def test_the_penalty_is_the_mean_squared_slope(rng: np.random.Generator) -> None:
    matrix, rows = rng.normal(size=(4, 4)), rng.normal(size=(30, 4))
    critic = Quadratic(torch.from_numpy(matrix).float())
    scores, penalty = gradient_penalty(critic, torch.from_numpy(rows).float())
    np.testing.assert_allclose(scores.detach(), np.einsum("ni,ij,nj->n", rows, matrix, rows) / 2, rtol=1e-4, atol=1e-5)
    slopes = rows @ (matrix + matrix.T) / 2
    assert penalty.item() == pytest.approx(np.square(slopes).sum(axis=1).mean(), rel=1e-5)
    penalty.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
    assert critic.matrix.grad is not None
    symmetric = (matrix + matrix.T) / 2
    expected = 2 * symmetric @ rows.T @ rows / len(rows)
    np.testing.assert_allclose(critic.matrix.grad, (expected + expected.T) / 2, rtol=1e-4, atol=1e-5)


def test_the_penalty_is_of_float32_where_products_are_not() -> None:
    critic = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))
    with torch.autocast("cpu", torch.bfloat16):
        scores, penalty = gradient_penalty(critic, torch.ones(2, 3))
    assert scores.dtype == penalty.dtype == torch.float32
    weight = critic.get_parameter("0.weight")
    assert penalty.item() == pytest.approx(weight.square().sum().item(), rel=1e-6)


def test_energy_distance(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(20, 3)), rng.normal(size=(31, 3)) + 0.5

    def mean(x: Any, y: Any, pairs: Any) -> float:
        return float(np.mean([np.linalg.norm(x[i] - y[j]) for i, j in pairs]))

    expected = (
        2 * mean(a, b, [(i, j) for i in range(20) for j in range(31)])
        - mean(a, a, [(i, j) for i in range(20) for j in range(i)])
        - mean(b, b, [(i, j) for i in range(31) for j in range(i)])
    )
    assert energy_distance(torch.from_numpy(a), torch.from_numpy(b)).item() == pytest.approx(expected)


def test_energy_distance_is_nothing_between_draws_of_one_distribution() -> None:
    draw = torch.Generator().manual_seed(0)
    same = [energy_distance(*torch.randn(2, 200, 3, generator=draw)).item() for _ in range(40)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(40)
    shifted = energy_distance(torch.randn(200, 3, generator=draw), torch.randn(200, 3, generator=draw) + 1).item()
    assert shifted > 10 * np.max(same)


# -- the discriminator as a loss ---------------------------------------------------------------------------------------


def batch_of(rows: torch.Tensor) -> Batch:
    return Batch(rows, torch.arange(len(rows)), 0, 0, 0.0, torch.Generator().manual_seed(0))


def test_what_a_critic_adds_to_a_loss() -> None:
    critic = nn.Sequential(nn.Flatten(), nn.Linear(4, 1), nn.Flatten(0))
    term, player = reconstruction_critic(critic, 0.25)
    rows, made = torch.randn(2, 6, 4).unbind()
    made.requires_grad_(True)
    batch = batch_of(rows)
    found = term(made, batch)
    assert found.item() == pytest.approx(-0.25 * critic(made).mean().item(), rel=1e-5)
    found.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
    slope = critic.get_parameter("1.weight")
    torch.testing.assert_close(made.grad, -0.25 * slope.expand(6, 4) / 6)
    batch.kept["reconstruction"] = made.detach()
    parts = player.loss(batch)
    assert list(player.nets.values()) == [critic]
    assert parts[player.minimises].item() == pytest.approx(critic_loss(critic(rows), critic(made)).item(), rel=1e-5)


def test_a_critic_moves_what_it_judges_towards_the_rows() -> None:
    """A maker of one number a row has nothing but the critic to tell it what rows are."""
    rows = torch.full((200, 1), 3.0) + 0.1 * torch.randn(200, 1, generator=torch.Generator().manual_seed(0))
    maker = nn.Linear(1, 1)
    nn.init.zeros_(maker.weight)
    nn.init.zeros_(maker.bias)
    critic = nn.Sequential(nn.Linear(1, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1), nn.Flatten(0))
    make = Maker({}, Kind((1,), (1,), "none"), seed=1)
    make.spectral(make.initialised(critic))
    term, player = reconstruction_critic(critic, 1.0)

    def loss(batch: Batch) -> Parts:
        made = maker(torch.zeros_like(batch.rows))
        batch.kept["reconstruction"] = made.detach()
        return {"loss": term(made, batch)}

    settings = Settings(seed=0, epochs=60, batch_size=50, learning_rate=0.05, schedule="cosine")
    Training([Player("maker", {"maker": maker}, loss), player], settings).go(Rows.of(rows))
    assert maker.bias.item() == pytest.approx(3, abs=0.6)


def test_an_autoencoder_with_a_critic(digits: images.Images, tmp_path: Path) -> None:
    def model(weight: float) -> Autoencoder:
        return Autoencoder(4, adversarial=weight, epochs=4, hidden=(64,), random_state=1, n_jobs=1)

    plain, judged = model(0.0).fit(digits), model(0.01).fit(digits)
    assert "critic" not in plain.history_[0]
    assert {"squared_error", "verdict", "critic"} <= set(judged.history_[0])
    last = judged.history_[-1]
    assert last["loss"] == pytest.approx(last["squared_error"] + last["verdict"], rel=1e-4)
    assert last["validation_loss"] < judged.history_[0]["validation_loss"]
    assert not np.array_equal(plain.transform(digits.pixels), judged.transform(digits.pixels))
    judged.save(tmp_path / "judged")
    again = embedkit.load(tmp_path / "judged")
    ours = weights(judged)
    assert all(torch.equal(value, ours[name]) for name, value in weights(again).items())


# -- the adversarial autoencoder ---------------------------------------------------------------------------------------


def test_codes_are_matched_to_the_prior(fitted: AdversarialAutoencoder, digits: images.Images) -> None:
    free = matched(0.0, digits)
    ours, theirs = fitted.transform(digits.pixels), free.transform(digits.pixels)
    assert mismatch(ours) < 0.5 * mismatch(theirs)
    assert mismatch(ours) < 0.7
    assert np.abs(ours.mean(axis=0)).max() < 1
    assert 0.5 < ours.std() < 1.5


def test_reconstructions_are_better_than_the_mean(fitted: AdversarialAutoencoder, digits: images.Images) -> None:
    pixels = digits.pixels / 255
    error = np.square(fitted.reconstruct(digits) - pixels).mean()
    assert error < 0.9 * pixels.var(axis=0).mean()
    np.testing.assert_allclose(
        fitted.score_samples(digits), -np.square(fitted.reconstruct(digits) - pixels).mean(axis=(1, 2)), rtol=1e-4
    )


def test_samples_come_from_the_prior_by_default(fitted: AdversarialAutoencoder) -> None:
    codes = fitted.sample_codes(5000, random_state=0)
    np.testing.assert_allclose(np.cov(codes.T), np.eye(4), atol=0.1)
    assert np.array_equal(fitted.sample(5, "prior", random_state=0), fitted.sample(5, random_state=0))
    assert fitted.sample(5, "gmm", random_state=0).shape == (5, 8, 8)
    with pytest.raises(BadInput, match="how is one of"):
        fitted.sample(5, "posterior")  # type: ignore[arg-type]


def test_the_lattice_lies_at_quantiles_of_the_prior(fitted: AdversarialAutoencoder) -> None:
    quartiles = np.array([-1.15035, -0.31864, 0.31864, 1.15035])  # of the standard normal at 1/8, 3/8, 5/8, 7/8
    codes = np.zeros((4, 4, 4))
    codes[:, :, 2], codes[:, :, 0] = quartiles[None, :], quartiles[::-1, None]
    expected = fitted.inverse_transform(codes.reshape(16, 4)).reshape(4, 4, 8, 8)
    np.testing.assert_allclose(fitted.lattice(4, (2, 0)), expected, atol=1e-4)


def test_the_history_tells_of_all_parts(fitted: AdversarialAutoencoder) -> None:
    last = fitted.history_[-1]
    assert {"loss", "squared_error", "verdict", "critic", "penalty"} <= set(last)
    assert last["loss"] == pytest.approx(last["squared_error"] + 0.01 * last["verdict"], rel=1e-4)
    held_out = last["validation_squared_error"] + 0.01 * last["validation_mismatch"]
    assert last["validation_loss"] == pytest.approx(held_out, rel=1e-6)
    assert last["validation_mismatch"] < fitted.history_[0]["validation_mismatch"]


def test_it_is_saved_and_loaded(fitted: AdversarialAutoencoder, digits: images.Images, tmp_path: Path) -> None:
    fitted.save(tmp_path / "aae")
    again = embedkit.load(tmp_path / "aae", verify=True)
    assert isinstance(again, AdversarialAutoencoder)
    assert np.array_equal(again.transform(digits.pixels), fitted.transform(digits.pixels))
    assert np.array_equal(again.sample(3, random_state=0), fitted.sample(3, random_state=0))


def test_a_training_that_is_broken_off_goes_on_with_the_same_bits(digits: images.Images, tmp_path: Path) -> None:
    def model() -> AdversarialAutoencoder:
        return AdversarialAutoencoder(4, epochs=3, hidden=(32,), random_state=1, n_jobs=1)

    class Killed(Exception):
        pass

    whole, calls = weights(model().fit(digits)), 0

    def kill(event: Progress) -> None:
        nonlocal calls
        calls += 1
        if calls == 7:
            raise Killed

    with pytest.raises(Killed):
        model().fit(digits, callback=kill, checkpoint=tmp_path / "state")
    resumed = weights(embedkit.load(tmp_path / "state").resume(digits))
    assert all(torch.equal(value, whole[name]) for name, value in resumed.items())


@pytest.mark.parametrize(
    ("parameters", "message"), [({"adversarial": -1}, "adversarial"), ({"gamma": "much"}, "gamma")]
)
def test_parameters_that_make_no_sense(digits: images.Images, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        AdversarialAutoencoder(4, epochs=1, **parameters).fit(digits)
