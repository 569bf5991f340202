"""A latent model in one file: its best weights, its last ones, and what it takes to go on with its training.

=======================  ==================  ===========================================================================
``weights/NET.NAME``     as they are         the weights that are used
``last/NET.NAME``        as they are         the last ones, where these are others
``optimizer/...``        F32                 what the optimizers remember, where the training is not at its end
``mean``, ``scale``      F64                 of standardised columns or channels
``held_out``             I64, (rows,)        numbers of the rows that were not trained on
``codes``                F32, (m, z)         codes of some rows
=======================  ==================  ===========================================================================

The description holds the class, the parameters, what rows are, and how far the training is. A class is found by its
name in a list here, never imported by a name in the file; nets are built from the parameters.
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from embedkit.errors import BadFile, BadInput
from embedkit.files.store import Tensors, read_tensors, write_tensors
from embedkit.kernels.word2vec_torch import device_of
from embedkit.latent.base import LatentModel, State
from embedkit.latent.data import SCALINGS, Kind
from embedkit.latent.nets import Maker
from embedkit.latent.training import Run

# What a file may hold, and where it is.
_HOMES = {
    "AdversarialAutoencoder": "embedkit.latent.adversarial",
    "Autoencoder": "embedkit.latent.autoencoder",
    "GAN": "embedkit.latent.gan",
    "VAE": "embedkit.latent.vae",
}
_INFINITE = "infinity"  # JSON has none
_HELD_OUT = ("validation", "patience")


def write(
    name: str, state: State, path: str | os.PathLike[str], last: Mapping[str, Tensor],
    best: Mapping[str, Tensor] | None,
) -> None:  # fmt: skip
    """Write a model to `path`, all or nothing.

    Parameters
    ----------
    name
        Of its class.
    state
        What it knows besides weights.
    path
        The file.
    last, best
        Its last weights, and better ones if there are.
    """
    write_tensors(*_tensors(name, state, last, best), path)


def save(model: LatentModel, path: str | os.PathLike[str]) -> None:
    """Write a fitted model to `path`, all or nothing."""
    write_tensors(*tensors_of(model), path)


def tensors_of(model: LatentModel) -> Tensors:
    """What a file of a fitted model holds: its arrays, the widest values first, and its description."""
    state = model._ready()
    used = {f"{name}.{key}": value for name, net in state.nets.items() for key, value in net.state_dict().items()}
    best = used if state.last is not None else None
    return _tensors(type(model).__name__, state, state.last or used, best)


def _tensors(name: str, state: State, last: Mapping[str, Tensor], best: Mapping[str, Tensor] | None) -> Tensors:
    arrays: dict[str, npt.NDArray[Any]] = {}
    for place, weights in (("weights", best if best is not None else last), ("last", last if best is not None else {})):
        arrays |= {f"{place}/{key}": value.detach().cpu().numpy() for key, value in weights.items()}
    arrays |= {f"optimizer/{key}": value.cpu().numpy() for key, value in state.optimizer.items()}
    kind = state.kind
    arrays |= {"mean": kind.mean, "scale": kind.scale, "held_out": state.held_out, "codes": state.codes}
    run = asdict(state.run)
    run["best_loss"] = run["best_loss"] if np.isfinite(run["best_loss"]) else _INFINITE
    about = {
        "class": name,
        "parameters": state.used,
        "kind": record_of(kind),
        "run": run,
        "fingerprint": state.fingerprint,
    }
    # The widest values first: each tensor is then aligned to its own size without gaps, which the format forbids.
    order = sorted(arrays, key=lambda name: -arrays[name].dtype.itemsize)
    return Tensors({name: arrays[name] for name in order}, about)


def record_of(kind: Kind) -> dict[str, Any]:
    """What rows are, as JSON has it, but for means and deviations."""
    return {"shape": kind.shape, "given": kind.given, "scaling": kind.scaling, "names": kind.names,
            "channels_last": kind.channels_last}  # fmt: skip


def from_tensors(tensors: Tensors, path: str | os.PathLike[str], *, verify: bool) -> LatentModel:
    """The model that the arrays of a file make, which errors call `path`; `verify` looks at every value."""
    name, used = tensors.about.get("class"), tensors.about.get("parameters")
    if name not in _HOMES or not isinstance(used, dict):
        raise BadFile(path, "embedkit's metadata is not what was expected", "header")
    own = [key for key in ("encoder", "decoder", "generator", "critic") if used.get(key) is not None]
    if own:
        how = f"{name}({', '.join(f'{key}=...' for key in own)}).restore(path)"
        raise BadFile(path, f"its {' and '.join(own)} were given by the user, and a file holds no code: {how} opens it")

    def make(cls: type[LatentModel]) -> LatentModel:
        known = inspect.signature(cls).parameters  # not every class holds rows out
        given = {key: value for key, value in used.items() if key in known or key not in _HELD_OUT}
        return cls(**{**given, "device": _there(used.get("device"))})

    return _filled(make, tensors, path, verify=verify)


def restore(model: LatentModel, path: str | os.PathLike[str]) -> None:
    """Have `model`, made with the parameters and nets that the one in the file had, know what that knew."""
    tensors = read_tensors(path)
    found = tensors.about.get("class")
    if found != type(model).__name__:
        raise BadFile(path, f"holds a {found!r:.40}, a {type(model).__name__} was expected")
    _filled(lambda _: model, tensors, path, verify=False)


def _filled(make: Any, tensors: Tensors, path: str | os.PathLike[str], *, verify: bool) -> LatentModel:
    arrays, about = tensors
    try:
        cls = getattr(importlib.import_module(_HOMES[about["class"]]), about["class"])
        used = about["parameters"]
        model: LatentModel = make(cls)
        now = model._checked()
        for key, value in now.items():
            known = used[key]
            if key not in ("random_state", "device", "n_jobs", "precision") and value != known:
                raise BadInput(f"it was made with {key}={known!r}, this model with {value!r}")
        kind = kind_of(about["kind"], arrays)
        maker = Maker({**used, **model._own_nets()}, kind, 0)
        held = sum(array.size for key, array in arrays.items() if key.startswith("weights/"))
        if not model._own_nets() and maker.fewest_weights() > held:  # before nets of any size are made
            raise BadInput(f"its {held:,} weights are fewer than its layers have")
        nets = model._nets(used, kind, maker)
        wanted = {f"{name}.{key}": value for name, net in nets.items() for key, value in net.state_dict().items()}
        _fill(nets, _weights("weights", wanted, arrays, verify=True))
        last = None
        if any(key.startswith("last/") for key in arrays):
            last = _weights("last", wanted, arrays, verify=verify)
        run = _run(about["run"], used["epochs"])
        optimizer = {
            key.removeprefix("optimizer/"): torch.tensor(np.array(value))
            for key, value in arrays.items() if key.startswith("optimizer/")
        }  # fmt: skip
        codes = np.array(arrays["codes"])
        if codes.dtype != np.float32 or codes.ndim != 2 or (codes.size and codes.shape[1] != used["n_components"]):
            raise BadInput(f"'codes' is {codes.dtype} of shape {codes.shape}")
        held_out = np.array(arrays["held_out"])
        if held_out.dtype != np.int64 or held_out.ndim != 1 or (np.diff(held_out) <= 0).any() or (held_out < 0).any():
            raise BadInput("'held_out' are no numbers of rows")
        state = State(used, kind, nets, run, last, optimizer, held_out, str(about["fingerprint"]), codes)
        for net in nets.values():
            net.to(device_of(model.device))
        _put_features(model, kind)
        model._take(state)
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError, RuntimeError) as error:
        if isinstance(error, BadFile):
            raise
        if isinstance(error, BadInput):
            raise BadFile(path, str(error)) from None
        raise BadFile(path, f"embedkit's metadata is not what was expected ({error})", "header") from None
    return model


def _there(device: Any) -> str:
    """The device a model was trained on, if this machine has it."""
    try:
        device_of(device)
    except BadInput:
        return "auto"
    return str(device)


def _put_features(model: LatentModel, kind: Kind) -> None:
    model.n_features_in_ = kind.size
    if kind.names is not None:
        model.feature_names_in_ = np.array(kind.names, dtype=object)


def kind_of(record: Any, arrays: Mapping[str, npt.NDArray[Any]]) -> Kind:
    """What rows are, of its record and the arrays ``mean`` and ``scale`` in a file.

    Raises
    ------
    BadInput
        It makes no sense.
    """
    shape, given = tuple(record["shape"]), tuple(record["given"])
    whole = all(type(size) is int and 0 < size < 2**31 for size in (*shape, *given))
    if not whole or len(shape) not in (1, 3) or len(given) not in (1, 2, 3) or np.prod(shape) != np.prod(given):
        raise BadInput(f"rows of shape {shape}, from {given}, make no sense")
    if record["scaling"] not in SCALINGS[1:] or type(record["channels_last"]) is not bool:
        raise BadInput("how its rows are scaled, its file does not say rightly")
    names = record["names"]
    if names is not None and (len(names) != given[0] or not all(isinstance(name, str) for name in names)):
        raise BadInput(f"{len(names)} names for {given[0]} columns")
    mean, scale = np.array(arrays["mean"]), np.array(arrays["scale"])
    expected = shape[:1] if record["scaling"] == "standard" else None
    for array in (mean, scale):
        fits = expected is None or array.shape == expected
        if array.dtype != np.float64 or not fits or not np.isfinite(array).all():
            raise BadInput("the means and deviations of its columns are not what was expected")
    if (scale <= 0).any():
        raise BadInput("a column's deviation is not above 0")
    return Kind(shape, given, record["scaling"], None if names is None else tuple(names), mean, scale,
                record["channels_last"])  # fmt: skip


def _run(record: Any, epochs: int) -> Run:
    best = record["best_loss"]
    run = Run(**{**record, "best_loss": float("inf") if best == _INFINITE else best})
    whole = all(type(n) is int and n >= 0 for n in (run.epoch, run.step, run.rows, run.best_epoch))
    if not whole or run.epoch > epochs or len(run.history) != run.epoch or run.best_epoch > run.epoch:
        raise BadInput("how far the training is, its file does not say rightly")
    if not all(isinstance(entry, dict) for entry in run.history) or type(run.stopped) is not bool:
        raise BadInput("its history is none")
    if (
        type(run.best_loss) not in (int, float)
        or type(run.seconds) not in (int, float)
        or set(run.sums) != set(run.counts)
    ):
        raise BadInput("its sums are no numbers")
    return run


def _weights(
    place: str, wanted: Mapping[str, Tensor], arrays: Mapping[str, npt.NDArray[Any]], *, verify: bool
) -> dict[str, Tensor]:
    found = {}
    mine = {key.removeprefix(f"{place}/") for key in arrays if key.startswith(f"{place}/")}
    if mine != set(wanted):
        odd = sorted(mine ^ set(wanted))[0]
        raise BadInput(f"its weights are of other nets ('{odd}')")
    for name, value in wanted.items():
        array = arrays[f"{place}/{name}"]
        if array.shape != tuple(value.shape):
            raise BadInput(f"'{name}' has shape {array.shape}, expected {tuple(value.shape)}")
        tensor = torch.tensor(np.array(array))
        if tensor.dtype != value.dtype:
            raise BadInput(f"'{name}' is {array.dtype}, expected {str(value.dtype).removeprefix('torch.')}")
        if verify and tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise BadInput(f"'{name}' holds a number that is not finite")
        found[name] = tensor
    return found


def _fill(nets: Mapping[str, nn.Module], weights: Mapping[str, Tensor]) -> None:
    for name, net in nets.items():
        start = f"{name}."
        mine = {key.removeprefix(start): value for key, value in weights.items() if key.startswith(start)}
        net.load_state_dict(mine)
