"""The one loop that latent models train in: players, each a loss and the nets that it moves, take turns at batches.

It knows nothing of models. The order of the rows depends on (seed, epoch), noise on (seed, step), so that a training
that was broken off goes on with the same bits; what a player's loss draws has to come from its batch's generator.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from embedkit.errors import BadInput, TrainingDiverged
from embedkit.files.checkpoints import Checkpoints, noted_signals, obey
from embedkit.latent.players import (
    PRECISIONS,
    SCHEDULES,
    Batch,
    Means,
    Parts,
    Player,
    Run,
    Schedule,
    Settings,
    ema_update,
    noise_seed,
    precision_for,
    rate_at,
)
from embedkit.latent.rows import Rows
from embedkit.progress import Callback, Progress

__all__ = [
    "PRECISIONS",
    "SCHEDULES",
    "Batch",
    "Means",
    "Parts",
    "Player",
    "Run",
    "Schedule",
    "Settings",
    "Training",
    "ema_update",
    "noise_seed",
    "precision_for",
    "rate_at",
]

_TOLD = 50  # an epoch is told of about so many times
_PATIENT = 64  # steps between looks at the losses where looking waits for the device
_JUDGED = 1024  # rows judged together


class Training:
    """Players and what they have learned so far.

    Parameters
    ----------
    players
        Who takes turns, in this order.
    settings
        How.
    device
        Where; the nets are moved there.
    """

    def __init__(self, players: Sequence[Player], settings: Settings, device: str = "cpu") -> None:
        self.players, self.settings, self.device = list(players), settings, device
        self.run = Run()
        self.best: dict[str, Tensor] | None = None
        self.nets: dict[str, nn.Module] = {}
        for player in self.players:
            both = {**player.nets, **player.beside}
            if set(both) & set(self.nets):
                raise BadInput(f"two players have nets of one name: {', '.join(sorted(set(both) & set(self.nets)))}")
            self.nets.update(both)
        for net in self.nets.values():
            net.to(device)
        self._own = [[p for net in player.nets.values() for p in net.parameters()] for player in self.players]
        self.optimizers = [self._optimizer(*pair) for pair in zip(self.players, self._own, strict=True)]
        self._watched: list[tuple[int, float, str, Tensor]] = []
        self._latest = 0, 0.0  # step and learning rate
        self._bf16 = precision_for(settings.precision, device) == "bfloat16"

    def _optimizer(self, player: Player, parameters: list[nn.Parameter]) -> torch.optim.AdamW:
        decay = self.settings.weight_decay if player.weight_decay is None else player.weight_decay
        # Fused: one kernel for all weights.
        return torch.optim.AdamW(parameters, lr=0.0, betas=player.betas, weight_decay=decay, fused=True)

    # -- weights -------------------------------------------------------------------------------------------------------

    def weights(self) -> dict[str, Tensor]:
        """Copies of all weights and buffers, by name of net and weight."""
        return {name: value.detach().clone() for name, value in self._places()}

    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Write weights into the nets."""
        with torch.no_grad():
            for name, value in self._places():
                value.copy_(weights[name])

    def restore_best(self) -> None:
        """Have the weights whose held-out loss was lowest, where one was taken."""
        if self.best is not None:
            self.put(self.best)

    def _places(self) -> Iterator[tuple[str, Tensor]]:
        for name, net in self.nets.items():
            for key, value in net.state_dict(keep_vars=True).items():
                yield f"{name}.{key}", value

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """What the optimizers remember: ``PLAYER/NUMBER/exp_avg`` and the like."""
        found = {}
        for player, optimizer, parameters in zip(self.players, self.optimizers, self._own, strict=True):
            for number, parameter in enumerate(parameters):
                for key, value in optimizer.state.get(parameter, {}).items():
                    found[f"{player.name}/{number}/{key}"] = value
        return found

    def put_optimizers(self, tensors: Mapping[str, Tensor]) -> None:
        """Have the optimizers remember what `optimizer_tensors` gave.

        Raises
        ------
        BadInput
            Shapes are wrong.
        """
        for player, optimizer, parameters in zip(self.players, self.optimizers, self._own, strict=True):
            for number, parameter in enumerate(parameters):
                start = f"{player.name}/{number}/"
                mine = {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}
                if not mine:
                    continue
                if set(mine) != {"step", "exp_avg", "exp_avg_sq"} or mine["step"].dim():
                    raise BadInput(f"of the optimizer of '{player.name}' parts are missing")
                if any(mine[key].shape != parameter.shape for key in ("exp_avg", "exp_avg_sq")):
                    raise BadInput(f"the optimizer of '{player.name}' is of other nets")
                state = optimizer.state[parameter]
                for key, value in mine.items():
                    state[key] = value.to(self.device).clone()

    # -- the loop ------------------------------------------------------------------------------------------------------

    def go(
        self,
        rows: Rows,
        *,
        held_out: Rows | None = None,
        judge: Callable[[Batch], Parts] | None = None,
        entry: Callable[[Means], Means] | None = None,
        callback: Callback | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        """Train from where `run` stands to the end; the nets are in eval mode afterwards.

        Parameters
        ----------
        rows
            To train on.
        held_out, judge
            Rows that are not, and the parts that tell how good the nets are on them, computed without gradients and
            with the same noise in each epoch. The part ``loss`` decides which weights are the best.
        entry
            What the history says of the means of an epoch's parts, or of the judge's.
        callback
            Called with a `Progress` some times an epoch; if it returns true, the training ends there.
        checkpoints
            When to write them; one is written too when SIGINT or SIGTERM arrives (in the main thread), or a callback
            raises an exception.

        Raises
        ------
        TrainingDiverged
            A loss or a weight is not finite. The nets have the weights of the last epoch that was.
        KeyboardInterrupt, SystemExit
            The signal, once the checkpoint is written.
        """
        judged = held_out is not None and len(held_out) and judge is not None
        with noted_signals(checkpoints) as received:
            if checkpoints is not None:
                checkpoints.now(self)  # that it cannot be written is better found out now
            good = self.weights()
            self._thaw(None)
            try:
                while self.run.epoch < self.settings.epochs and not self.run.stopped:
                    self._train_epoch(rows, callback, checkpoints, received)
                    self._end_epoch(rows, (held_out, judge) if judged else None, entry or (lambda means: means))
                    good = self.weights()
            except TrainingDiverged:
                self.put(good)
                raise
            finally:
                for net in self.nets.values():
                    net.eval()

    def _train_epoch(
        self, rows: Rows, callback: Callback | None, checkpoints: Checkpoints | None, received: list[int]
    ) -> None:
        run, settings = self.run, self.settings
        steps = rows.steps(settings.batch_size)
        told = max(1, steps // _TOLD)
        begin = time.perf_counter() - run.seconds
        for net in self.nets.values():
            net.train()
        sums = {name: self._double(value) for name, value in run.sums.items()}
        generator = torch.Generator(self.device)
        turns = rows.batches(settings.seed, run.epoch, settings.batch_size, run.step)
        with contextlib.closing(turns):
            for turn in turns:
                step = run.epoch * steps + run.step
                generator.manual_seed(noise_seed(settings.seed, step))
                share = step / (steps * settings.epochs)
                batch = Batch(turn.rows, turn.index, run.epoch, step, share, generator)
                self._step(batch, steps * settings.epochs, sums)
                run.step, run.rows = run.step + 1, run.rows + len(turn.index)
                at_rest = run.step % told == 0 or run.step == steps
                if not (at_rest and callback) and not received and not (checkpoints is not None and checkpoints.due()):
                    continue
                self._look()
                run.seconds = time.perf_counter() - begin
                run.sums = {name: value.tolist() for name, value in sums.items()}
                self._pause(rows, steps, callback if at_rest else None, checkpoints, received)
                if run.stopped:
                    break
        self._look()
        run.seconds = time.perf_counter() - begin
        run.sums = {name: value.tolist() for name, value in sums.items()}

    def _pause(
        self, rows: Rows, steps: int, callback: Callback | None, checkpoints: Checkpoints | None, received: list[int]
    ) -> None:
        """Tell of the training, and write a checkpoint if it is time or the training is to end."""
        run = self.run
        try:
            if callback is not None:
                shown = self.players[0].minimises
                loss = run.sums[shown] / run.counts[shown] if shown in run.sums else math.nan
                total = steps * self.settings.batch_size if run.step < steps else run.rows
                total = min(total, len(rows)) if run.step < steps else total
                told = Progress(run.epoch + 1, self.settings.epochs, run.rows, total, "samples", loss, run.seconds)
                run.stopped = bool(callback(told))
            obey(received)
        except BaseException:
            if checkpoints is not None:
                checkpoints.now(self)
            raise
        if checkpoints is not None and checkpoints.due():
            checkpoints.now(self)
            obey(received)

    def _step(self, batch: Batch, steps: int, sums: dict[str, Tensor]) -> None:
        settings, several = self.settings, len(self.players) > 1
        for number, (player, optimizer) in enumerate(zip(self.players, self.optimizers, strict=True)):
            if batch.step % player.every:
                continue
            if several:
                self._thaw(number)
            schedule, peak = player.schedule or settings.schedule, player.learning_rate or settings.learning_rate
            rate = rate_at(schedule, peak, batch.step, steps)
            self._latest = batch.step, rate
            if self._bf16:
                with torch.autocast(torch.device(self.device).type, torch.bfloat16):
                    parts = player.loss(batch)
            else:
                parts = player.loss(batch)
            loss = parts[player.minimises].float()
            self._watched.append((batch.step, rate, player.name, loss.detach()))
            if self.device == "cpu" or len(self._watched) >= _PATIENT:
                self._look()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
            clip = settings.clip if player.clip is None else player.clip
            if clip is not None:
                nn.utils.clip_grad_norm_(self._own[number], clip)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            if player.after is not None:
                with torch.no_grad():
                    player.after(batch)
            for name, value in parts.items():
                value = value.detach()
                if name not in sums:
                    sums[name] = torch.zeros(value.shape, dtype=torch.float64, device=self.device)
                sums[name].add_(value, alpha=len(batch.rows))
                self.run.counts[name] = self.run.counts.get(name, 0) + len(batch.rows)

    def _thaw(self, mine: int | None) -> None:
        """Let only the weights of one player require gradients, or those of all."""
        for number, parameters in enumerate(self._own):
            for parameter in parameters:
                parameter.requires_grad_(mine is None or number == mine)

    def _look(self) -> None:
        """Refuse a loss that is not finite, naming the first."""
        watched, self._watched = self._watched, []
        values = [watched[0][3].item()] if len(watched) == 1 else []
        if len(watched) > 1:
            values = torch.stack([loss for *_, loss in watched]).tolist()
        for (step, rate, name, _), value in zip(watched, values, strict=True):
            if not math.isfinite(value):
                self._diverged(f"the loss of '{name}' is {value}", step, rate)

    def check_weights(self) -> None:
        """Refuse weights, and what the nets hold beside them, that are not finite."""
        values = (value for _, value in self._places())
        if not all(bool(torch.isfinite(value).all()) for value in values if value.is_floating_point()):
            self._diverged("a weight is not finite", *self._latest)

    def _diverged(self, what: str, step: int, rate: float) -> None:
        epoch = self.run.epoch + 1
        kept = f"the weights of epoch {epoch - 1} are kept" if epoch > 1 else "nothing was learned"
        message = f"{what} in epoch {epoch}, step {step}, at a learning rate of {rate:.3g} ({kept}): lower it, or clip"
        raise TrainingDiverged(message, epoch=epoch, step=step, learning_rate=rate)

    def _end_epoch(
        self, rows: Rows, judged: tuple[Any, Any] | None, entry: Callable[[Means], Means]
    ) -> None:  # fmt: skip
        run, settings = self.run, self.settings
        steps = rows.steps(settings.batch_size)
        last = run.epoch * steps + run.step - 1
        rate = rate_at(settings.schedule, self.players[0].learning_rate or settings.learning_rate, max(0, last),
                       steps * settings.epochs)  # fmt: skip
        self.check_weights()
        speed = run.rows / run.seconds if run.seconds else 0.0
        told = entry(_means(run.sums, run.counts))
        if judged is not None:
            means = entry(self.judged(*judged))
            told |= {f"validation_{name}": value for name, value in means.items()}
            if not math.isfinite(means["loss"]):
                self._diverged("the held-out loss is not finite", last, rate)
            if means["loss"] < run.best_loss:
                run.best_epoch, run.best_loss = run.epoch + 1, means["loss"]
                self.best = self.weights()
            patient = settings.patience is None or run.epoch + 1 - run.best_epoch < settings.patience
            run.stopped = run.stopped or not patient
        about = {"learning_rate": rate, "seconds": run.seconds, "samples": run.rows, "samples_per_second": speed}
        run.history.append({"epoch": run.epoch + 1, **told, **about})
        run.epoch, run.step, run.sums, run.rows, run.seconds = run.epoch + 1, 0, {}, 0, 0.0
        run.counts = {}

    @torch.no_grad()
    def judged(self, rows: Rows, judge: Callable[[Batch], Parts]) -> Means:
        """The means of what `judge` says of rows, always with the same noise; the nets are in eval mode afterwards."""
        for net in self.nets.values():
            net.eval()
        generator = torch.Generator(self.device)
        sums: dict[str, Tensor] = {}
        for number, turn in enumerate(rows.in_order(_JUDGED)):
            generator.manual_seed(noise_seed(self.settings.seed, -1 - number))
            run = self.run
            for name, value in judge(Batch(turn.rows, turn.index, run.epoch, number, 1.0, generator)).items():
                sums[name] = sums.get(name, 0) + value.double() * len(turn.index)
        return _means({name: value.tolist() for name, value in sums.items()}, dict.fromkeys(sums, len(rows)))

    def _double(self, value: Any) -> Tensor:
        return torch.tensor(value, dtype=torch.float64, device=self.device)


def _means(sums: Mapping[str, Any], counts: Mapping[str, int]) -> Means:
    """Sums divided by the number of rows."""
    return {
        name: [part / counts[name] for part in value] if isinstance(value, list) else value / counts[name]
        for name, value in sums.items()
    }
