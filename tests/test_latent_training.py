"""The loop that latent models train in: players, batches, rates, validation, divergence, signals and going on."""

from __future__ import annotations

import copy
import itertools
import math
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import nn

from embedkit.errors import BadInput, TrainingDiverged
from embedkit.files.checkpoints import Checkpoints
from embedkit.latent.players import Schedule, noise_seed, precision_for, rate_at
from embedkit.latent.rows import Rows
from embedkit.latent.training import Batch, Parts, Player, Settings, Training, ema_update
from embedkit.progress import Progress

N, WIDTH = 70, 3


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def some_rows(n: int = N) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(n, WIDTH)).astype(np.float32))


def linear(seed: int = 0, width: int = WIDTH) -> nn.Linear:
    net = nn.Linear(WIDTH, width)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
    return net


def error(net: nn.Module, batch: Batch) -> torch.Tensor:
    noise: torch.Tensor = net(batch.rows + 0.1 * batch.normal(*batch.rows.shape)) - batch.rows
    return noise.square().mean()


def a_training(net: nn.Module | None = None, **settings: Any) -> Training:
    """One player that moves a linear map towards the identity, with noise."""
    mine = net or linear()
    player = Player("mover", {"net": mine}, lambda batch: {"loss": error(mine, batch)})
    return Training([player], Settings(**{"seed": 3, "epochs": 3, "batch_size": 16, "learning_rate": 0.05, **settings}))


def judge_of(training: Training) -> Callable[[Batch], Parts]:
    net = training.nets["net"]
    return lambda batch: {"loss": error(net, batch)}


def bits(training: Training) -> list[bytes]:
    return [value.numpy().tobytes() for value in training.weights().values()]


def told(training: Training) -> list[dict[str, Any]]:
    return [{k: v for k, v in entry.items() if "second" not in k} for entry in training.run.history]


# -- right -------------------------------------------------------------------------------------------------------------


def test_a_step_is_that_of_adamw_on_the_rows_and_rates_it_says() -> None:
    """An oracle in numpy: Loshchilov & Hutter's AdamW, on the mean squared error of a linear map."""
    values, net = some_rows(), linear()
    seen: list[torch.Tensor] = []

    def loss(batch: Batch) -> Parts:
        seen.append(batch.rows.clone())
        return {"loss": (net(batch.rows) - 1).square().mean()}

    weight, bias = (p.detach().double().numpy().copy() for p in net.parameters())
    settings = Settings(seed=1, epochs=2, batch_size=16, learning_rate=0.02, weight_decay=0.1, schedule="cosine")
    training = Training([Player("p", {"net": net}, loss)], settings)
    training.go(Rows.of(values))
    steps = len(seen)
    first = [np.zeros_like(weight), np.zeros_like(bias)]
    second = [np.zeros_like(weight), np.zeros_like(bias)]
    for t, rows in enumerate(seen):
        x = rows.double().numpy()
        gradient = 2 * (x @ weight.T + bias - 1) / (len(x) * WIDTH)
        rate = 0.02 * (1 + math.cos(math.pi * t / steps)) / 2
        for number, (place, slope) in enumerate(((weight, gradient.T @ x), (bias, gradient.sum(axis=0)))):
            first[number] = 0.9 * first[number] + 0.1 * slope
            second[number] = 0.999 * second[number] + 0.001 * slope**2
            place *= 1 - rate * 0.1
            up, down = first[number] / (1 - 0.9 ** (t + 1)), second[number] / (1 - 0.999 ** (t + 1))
            place -= rate * up / (np.sqrt(down) + 1e-8)
    assert steps == 8  # 4 batches of 16 rows; the last 6 are less than half a batch
    np.testing.assert_allclose(net.weight.detach().numpy(), weight, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(net.bias.detach().numpy(), bias, rtol=1e-4, atol=1e-6)


def test_one_cycle_is_torchs() -> None:
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.3, total_steps=50, pct_start=0.1)
    for step in range(50):
        assert rate_at("one-cycle", 0.3, step, 50) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        if step < 49:
            schedule.step()


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 1000])
def test_rates_are_positive_and_at_most_the_peak(steps: int) -> None:
    for schedule, step in itertools.product(get_args(Schedule), range(steps)):
        assert 0 < rate_at(schedule, 0.5, step, steps) <= 0.5
    assert {rate_at("constant", 0.5, step, steps) for step in range(steps)} == {0.5}


def test_every_row_comes_once_an_epoch_in_an_order_of_its_own() -> None:
    orders: dict[int, list[int]] = {}
    net = linear()

    def loss(batch: Batch) -> Parts:
        orders.setdefault(batch.epoch, []).extend(batch.index.tolist())
        assert torch.equal(batch.rows, values[batch.index])
        return {"loss": error(net, batch)}

    values = some_rows(64)
    Training([Player("p", {"net": net}, loss)], Settings(seed=1, epochs=3, batch_size=16)).go(Rows.of(values))
    assert all(sorted(order) == list(range(64)) for order in orders.values())
    assert len({tuple(order) for order in orders.values()}) == 3


@pytest.mark.parametrize(("n", "size", "batches"), [(64, 16, 4), (71, 16, 4), (72, 16, 5), (3, 16, 1), (16, 16, 1)])
def test_a_last_batch_that_is_less_than_half_full_is_left_out(n: int, size: int, batches: int) -> None:
    rows = Rows.of(some_rows(n))
    assert rows.steps(size) == batches == len(list(rows.batches(0, 0, size)))


def test_loss_parts_are_means_over_rows() -> None:
    net = linear()

    def loss(batch: Batch) -> Parts:
        return {"loss": error(net, batch), "first": batch.rows[:, 0].mean(), "columns": batch.rows.mean(dim=0)}

    values = some_rows(72)  # batches of 16, 16, 16, 16, 8
    training = Training([Player("p", {"net": net}, loss)], Settings(seed=1, epochs=1, batch_size=16))
    training.go(Rows.of(values))
    (entry,) = training.run.history
    assert entry["first"] == pytest.approx(float(values[:, 0].double().mean()), rel=1e-5)
    assert entry["columns"] == pytest.approx(values.double().mean(dim=0).tolist(), rel=1e-5)
    assert entry["samples"] == 72
    assert entry["samples_per_second"] == pytest.approx(72 / entry["seconds"])


def test_gradients_are_clipped() -> None:
    net, moved = linear(), list[float]()
    player = Player("p", {"net": net}, lambda batch: {"loss": 1e6 * error(net, batch)}, clip=1e-3,
                    after=lambda _: moved.append(_length(net)))  # fmt: skip
    Training([player], Settings(seed=1, epochs=1, batch_size=16)).go(Rows.of(some_rows()))
    assert moved
    assert max(moved) <= 1e-3 * (1 + 1e-5)


def _length(net: nn.Module) -> float:
    return math.sqrt(sum(float(p.grad.square().sum()) for p in net.parameters() if p.grad is not None))


# -- several players ---------------------------------------------------------------------------------------------------


def test_each_player_moves_its_own_nets_only_and_gradients_pass_through_the_others() -> None:
    generator, critic = linear(0), linear(1, 1)
    order: list[str] = []

    def make(batch: Batch) -> Parts:
        order.append("maker")
        made = generator(batch.rows)
        batch.kept["made"] = made.detach()
        assert not any(p.requires_grad for p in critic.parameters())
        return {"loss": -critic(made).mean()}

    def judge(batch: Batch) -> Parts:
        order.append("critic")
        assert not any(p.requires_grad for p in generator.parameters())
        return {"critic": critic(batch.kept["made"]).mean() - critic(batch.rows).mean() + _length_of(critic)}

    before = [copy.deepcopy(net.state_dict()) for net in (generator, critic)]
    players = [Player("maker", {"generator": generator}, make),
               Player("critic", {"critic": critic}, judge, minimises="critic", every=2)]  # fmt: skip
    training = Training(players, Settings(seed=1, epochs=1, batch_size=16))
    training.go(Rows.of(some_rows(64)))
    assert order == ["maker", "critic", "maker", "maker", "critic", "maker"]
    assert all(not torch.equal(net.state_dict()[k], old[k])
               for net, old in zip((generator, critic), before, strict=True) for k in old)  # fmt: skip
    assert set(training.run.history[0]) >= {"loss", "critic"}


def _length_of(net: nn.Module) -> torch.Tensor:
    return torch.stack([p.square().sum() for p in net.parameters()]).sum()


def test_a_player_may_keep_an_average_of_its_weights() -> None:
    net = linear()
    average = copy.deepcopy(net)
    kept = [average.weight.detach().clone()]

    def after(_: Batch) -> None:
        ema_update(average, net, 0.9)
        kept.append(0.9 * kept[-1] + 0.1 * net.weight.detach())

    player = Player("p", {"net": net}, lambda b: {"loss": error(net, b)}, beside={"average": average}, after=after)
    training = Training([player], Settings(seed=1, epochs=1, batch_size=16))
    training.go(Rows.of(some_rows()))
    torch.testing.assert_close(average.weight.detach(), kept[-1])
    assert "average.weight" in training.weights()


def test_two_nets_of_one_name_are_refused() -> None:
    players = [Player(name, {"net": linear()}, lambda _: {}) for name in "ab"]
    with pytest.raises(BadInput, match="one name: net"):
        Training(players, Settings(seed=1, epochs=1))


# -- held-out rows -----------------------------------------------------------------------------------------------------


def test_the_best_weights_are_kept_and_patience_ends_it() -> None:
    net = linear()
    losses = iter([5.0, 3.0, 4.0, 3.5, 1.0])
    weights: list[torch.Tensor] = []

    def judge(_: Batch) -> Parts:
        weights.append(net.weight.detach().clone())
        return {"loss": torch.tensor(next(losses))}

    training = a_training(net, epochs=5, patience=2)
    training.go(Rows.of(some_rows()), held_out=Rows.of(some_rows(5)), judge=judge)
    assert training.run.stopped
    assert [entry["validation_loss"] for entry in training.run.history] == [5.0, 3.0, 4.0, 3.5]
    assert (training.run.best_epoch, training.run.best_loss) == (2, 3.0)
    assert torch.equal(net.weight, weights[-1])
    training.restore_best()
    assert torch.equal(net.weight, weights[1])
    assert not torch.equal(weights[1], weights[-1])


def test_held_out_rows_are_judged_without_gradients_with_the_same_noise_in_eval_mode() -> None:
    net, draws = nn.Sequential(linear(), nn.Dropout(0.0)), list[torch.Tensor]()

    def judge(batch: Batch) -> Parts:
        assert not net.training
        draws.append(batch.uniform(4))
        loss = error(net, batch)
        assert not loss.requires_grad
        return {"loss": loss}

    training = a_training(net)
    training.go(Rows.of(some_rows()), held_out=Rows.of(some_rows(2000)), judge=judge)
    assert len(draws) == 6  # two blocks an epoch
    assert all(torch.equal(a, b) for a, b in zip(draws[:2], draws[2:4], strict=True))
    assert not torch.equal(draws[0], draws[1])
    assert not net.training


# -- noise -------------------------------------------------------------------------------------------------------------


def test_noise_depends_on_seed_and_step_and_nothing_global_is_touched() -> None:
    drawn: list[torch.Tensor] = []
    net = linear()

    def loss(batch: Batch) -> Parts:
        drawn.append(batch.uniform(8))
        return {"loss": error(net, batch)}

    before = torch.get_rng_state()
    Training([Player("p", {"net": net}, loss)], Settings(seed=1, epochs=2, batch_size=16)).go(Rows.of(some_rows()))
    assert torch.equal(torch.get_rng_state(), before)
    assert len({tuple(values.tolist()) for values in drawn}) == len(drawn) == 8
    assert len({noise_seed(seed, step) for seed in range(50) for step in range(-50, 200)}) == 50 * 250


# -- ended from within -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, 4, 6])
def test_a_callback_that_returns_true_ends_it_with_what_was_learned(at: int) -> None:
    events: list[Progress] = []

    def callback(event: Progress) -> bool:
        events.append(event)
        return len(events) == at

    training = a_training()
    training.go(Rows.of(some_rows()), callback=callback)
    assert len(events) == at
    assert training.run.stopped
    assert sum(entry["samples"] for entry in training.run.history) == 16 * at
    assert len(training.run.history) == -(-at // 4)


def test_progress_rises_to_the_total_and_says_the_loss() -> None:
    events: list[Progress] = []
    training = a_training()
    training.go(Rows.of(some_rows()), callback=events.append)
    for epoch in (1, 2, 3):
        mine = [event for event in events if event.epoch == epoch]
        assert [event.done for event in mine] == [16, 32, 48, 64]
        assert mine[-1].total == 64
        assert mine[-1].loss == pytest.approx(training.run.history[epoch - 1]["loss"])
    assert {(event.unit, event.epochs) for event in events} == {("samples", 3)}


def test_a_loss_that_is_not_finite_is_told_with_its_place_and_the_last_good_weights_stay() -> None:
    net = linear()
    good: list[torch.Tensor] = []

    def loss(batch: Batch) -> Parts:
        if batch.step == 4:
            good.append(net.weight.detach().clone())
        return {"loss": error(net, batch) * (math.nan if batch.step == 6 else 1)}

    training = Training([Player("p", {"net": net}, loss)], Settings(seed=1, epochs=3, batch_size=16))
    with pytest.raises(TrainingDiverged, match=r"loss of 'p' is nan in epoch 2, step 6.*the weights of epoch 1") as bad:
        training.go(Rows.of(some_rows()))
    assert (bad.value.epoch, bad.value.step) == (2, 6)
    assert bad.value.learning_rate == rate_at("one-cycle", 1e-3, 6, 12)
    assert torch.equal(net.weight, good[0])
    assert len(training.run.history) == 1


def test_weights_that_are_not_finite_are_found_at_the_end_of_an_epoch() -> None:
    net = linear()

    def after(batch: Batch) -> None:
        if batch.step == 7:
            net.bias.fill_(math.inf)

    player = Player("p", {"net": net}, lambda batch: {"loss": error(net, batch)}, after=after)
    training = Training([player], Settings(seed=1, epochs=3, batch_size=16))
    with pytest.raises(TrainingDiverged, match="a weight is not finite in epoch 2"):
        training.go(Rows.of(some_rows()))
    assert torch.isfinite(net.bias).all()


# -- going on ----------------------------------------------------------------------------------------------------------


class Kept:
    """What a checkpoint would hold."""

    def __init__(self, training: Training) -> None:
        self.run, self.best = copy.deepcopy(training.run), copy.deepcopy(training.best)
        self.weights = training.weights()
        self.optimizers = {key: value.clone() for key, value in training.optimizer_tensors().items()}

    def go_on(self, rows: Rows, held_out: Rows | None) -> Training:
        training = a_training(linear(99))
        training.run, training.best = copy.deepcopy(self.run), self.best
        training.put(self.weights)
        training.put_optimizers(self.optimizers)
        training.go(rows, held_out=held_out, judge=judge_of(training))
        return training


def test_going_on_from_any_step_is_as_if_never_broken_off() -> None:
    rows, held_out, kept = Rows.of(some_rows()), Rows.of(some_rows(20)), list[Kept]()
    whole = a_training()
    checkpoints = Checkpoints(lambda training: kept.append(Kept(training)), 1e-9)
    whole.go(rows, held_out=held_out, judge=judge_of(whole), checkpoints=checkpoints)
    assert len(kept) == 13  # before the first step, and after each
    assert {(k.run.epoch, k.run.step) for k in kept} == {(0, 0), *((e, s) for e in range(3) for s in range(1, 5))}
    plain = a_training()
    plain.go(rows, held_out=held_out, judge=judge_of(plain))
    assert bits(plain) == bits(whole)
    for one in kept:
        again = one.go_on(rows, held_out)
        assert bits(again) == bits(whole)
        assert told(again) == told(whole)
        assert again.best is not None
        assert whole.best is not None
        assert all(torch.equal(again.best[name], value) for name, value in whole.best.items())


SIGNALS = [(signal.SIGINT, KeyboardInterrupt, None), (signal.SIGTERM, SystemExit, 143)]


@pytest.mark.parametrize(("number", "error_", "code"), SIGNALS, ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_it_at_a_checkpoint(number: int, error_: type[BaseException], code: int | None) -> None:
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    kept, training = list[Kept](), a_training()
    player = training.players[0]

    def loss(batch: Batch) -> Parts:
        if batch.step == 5:
            os.kill(os.getpid(), number)
        return player.loss(batch)

    training.players[0] = Player("mover", player.nets, loss)
    with pytest.raises(error_) as caught:
        training.go(Rows.of(some_rows()), checkpoints=Checkpoints(lambda t: kept.append(Kept(t)), 1e9))
    assert getattr(caught.value, "code", None) == code
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert [(k.run.epoch, k.run.step) for k in kept] == [(0, 0), (1, 2)]
    whole = a_training()
    whole.go(Rows.of(some_rows()))
    assert bits(kept[-1].go_on(Rows.of(some_rows()), None)) == bits(whole)


def test_an_exception_in_a_callback_comes_through_after_a_checkpoint_and_one_in_a_loss_without() -> None:
    written: list[int] = []

    def boom(*_: object) -> Any:
        raise ZeroDivisionError

    checkpoints = Checkpoints(lambda training: written.append(training.run.step), 1e9)
    with pytest.raises(ZeroDivisionError):
        a_training().go(Rows.of(some_rows()), callback=boom, checkpoints=checkpoints)
    assert written == [0, 1]
    failing = Training([Player("p", {"net": linear()}, boom)], Settings(seed=1, epochs=1, batch_size=16))
    with pytest.raises(ZeroDivisionError):
        failing.go(Rows.of(some_rows()), checkpoints=checkpoints)
    assert written == [0, 1, 0]


def test_an_optimizer_of_other_nets_is_refused() -> None:
    training = a_training()
    training.go(Rows.of(some_rows()))
    tensors = training.optimizer_tensors()
    other = a_training(nn.Linear(WIDTH, WIDTH + 1))
    with pytest.raises(BadInput, match="other nets"):
        other.put_optimizers(tensors)
    with pytest.raises(BadInput, match="parts are missing"):
        a_training().put_optimizers({k: v for k, v in tensors.items() if not k.endswith("exp_avg")})


# -- precision ---------------------------------------------------------------------------------------------------------


def test_bfloat16_is_used_where_it_is_asked_for() -> None:
    kinds: set[torch.dtype] = set()
    net = linear()

    def loss(batch: Batch) -> Parts:
        made = net(batch.rows)
        kinds.add(made.dtype)
        return {"loss": (made.float() - batch.rows).square().mean()}

    for precision in ("float32", "bfloat16"):
        settings = Settings(seed=1, epochs=1, batch_size=16, precision=precision)
        Training([Player("p", {"net": net}, loss)], settings).go(Rows.of(some_rows()))
    assert kinds == {torch.float32, torch.bfloat16}
    assert net.weight.dtype == torch.float32


def test_automatic_precision_is_one_of_two_and_stays_so() -> None:
    assert precision_for("auto", "cpu") in ("float32", "bfloat16")
    assert precision_for("auto", "cpu") == precision_for("auto", "cpu")
    assert precision_for("bfloat16", "cpu") == "bfloat16"
