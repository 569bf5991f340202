"""Latent models in files: saved, damaged, broken off by signals and kill -9, and gone on with as if nothing was."""

from __future__ import annotations

import copy
import math
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from torch import nn

import embedkit
from embedkit import VAE, Autoencoder, Embedding, images
from embedkit.errors import BadFile, BadInput, NotFitted
from embedkit.files.store import read_tensors, write_tensors
from embedkit.formats.native import load_embedding
from embedkit.progress import Progress

Doubles = npt.NDArray[np.float64]
SAME: dict[str, Any] = {"hidden": (16,), "epochs": 4, "batch_size": 16, "validation": 0.2, "n_jobs": 1,
                        "random_state": 1}  # fmt: skip
MODELS: dict[str, Callable[..., Any]] = {
    "dense": lambda **more: Autoencoder(**{"n_components": 2, **SAME, **more}),
    "sparse and noisy": lambda **more: Autoencoder(8, **{**SAME, "noise": 0.3, "sparsity": 0.2, **more}),
    "vae": lambda **more: VAE(2, **{**SAME, "warmup": 0.5, **more}),
}
every = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
dense = MODELS["dense"]


class Boom(Exception):
    pass


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def rows() -> Doubles:
    rng = np.random.default_rng(0)
    made: Doubles = rng.normal(size=(80, 3)) @ rng.normal(size=(3, 6)) + 4
    return made


def bits(model: Any) -> list[bytes]:
    """Of the weights that are used, and of the last ones."""
    state = model._state
    used = [v.numpy().tobytes() for net in state.nets.values() for v in net.state_dict().values()]
    return used + [v.numpy().tobytes() for v in (state.last or {}).values()]


def told(model: Any) -> list[dict[str, Any]]:
    return [{k: v for k, v in entry.items() if "second" not in k} for entry in model.history_]


def fail_at(event: int) -> Callable[[Progress], None]:
    seen = 0

    def callback(_: Progress) -> None:
        nonlocal seen
        seen += 1
        if seen == event:
            raise Boom

    return callback


def broken_off(make: Callable[..., Any], rows: Any, path: Path, event: int = 6) -> Any:
    with pytest.raises(Boom):
        make().fit(rows, callback=fail_at(event), checkpoint=path)
    return embedkit.load(path)


# -- saving ------------------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("kind", ["array", "frame", "embedding", "pictures", "images"])
def test_what_is_saved_comes_back(make: Callable[..., Any], kind: str, rows: Doubles, tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, size=(40, 6, 5), dtype=np.uint8)
    data: Any = {"array": rows, "frame": pd.DataFrame(rows, columns=list("uvwxyz")), "embedding": Embedding(None, rows),
                 "pictures": pictures, "images": images.Images(np.stack([pictures] * 3, axis=3))}[kind]  # fmt: skip
    model = make().fit(data)
    model.save(tmp_path / "model")
    again = embedkit.load(tmp_path / "model", verify=True)
    assert type(again) is type(model)
    assert bits(again) == bits(model)
    assert np.array_equal(np.asarray(again.transform(data)), np.asarray(model.transform(data)))
    assert np.array_equal(np.asarray(again.reconstruct(data)), np.asarray(model.reconstruct(data)))
    assert np.array_equal(again.score_samples(data), model.score_samples(data))
    assert np.array_equal(again.codes_, model.codes_)
    assert np.array_equal(again.sample(3, random_state=0), model.sample(3, random_state=0))
    assert again.history_ == model.history_
    assert again.best_epoch_ == model.best_epoch_
    assert np.array_equal(again.validation_rows_, model.validation_rows_)
    assert again.n_features_in_ == model.n_features_in_
    again.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()
    if kind == "frame":
        assert list(again.feature_names_in_) == list("uvwxyz")
        with pytest.raises(ValueError, match="feature names"):
            again.transform(data.rename(columns={"u": "a"}))
    if make is MODELS["vae"]:
        assert again.active_units_ == model.active_units_


def test_best_and_last_weights_are_kept_apart(rows: Doubles, tmp_path: Path) -> None:
    model = dense(epochs=30, schedule="constant", learning_rate=0.3).fit(rows)
    assert model.best_epoch_ < len(model.history_)
    model.save(tmp_path / "model")
    arrays, about = read_tensors(tmp_path / "model")
    names = [name for name in arrays if name.startswith("weights/")]
    assert {name.replace("weights/", "last/") for name in names} == {n for n in arrays if n.startswith("last/")}
    assert any(not np.array_equal(arrays[n], arrays[n.replace("weights/", "last/")]) for n in names)
    assert not any(name.startswith("optimizer/") for name in arrays)
    assert about["class"] == "Autoencoder"
    again = embedkit.load(tmp_path / "model")
    assert bits(again) == bits(model)


def test_any_reader_of_safetensors_opens_it(rows: Doubles, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    model = dense().fit(rows)
    model.save(tmp_path / "model.safetensors")
    found = load_file(tmp_path / "model.safetensors")
    assert np.array_equal(found["weights/encoder.1.weight"], model.encoder_.state_dict()["1.weight"].numpy())


def test_a_model_is_no_embedding(rows: Doubles, tmp_path: Path) -> None:
    dense().fit(rows).save(tmp_path / "model")
    with pytest.raises(BadFile, match="holds a Autoencoder, vectors were expected"):
        load_embedding(tmp_path / "model")


# -- own nets ----------------------------------------------------------------------------------------------------------


def test_a_model_with_own_nets_comes_back_by_restore_only(rows: Doubles, tmp_path: Path) -> None:
    def make(width: int = 8) -> Autoencoder:
        made: Autoencoder = dense(encoder=nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, 2)))
        return made

    path = tmp_path / "model"
    model = make().fit(rows)
    model.save(path)
    with pytest.raises(BadFile, match=r"its encoder were given.*Autoencoder\(encoder=...\).restore\(path\)"):
        embedkit.load(path)
    again = make()
    assert again.restore(path) is again
    assert bits(again) == bits(model)
    assert np.array_equal(again.transform(rows), model.transform(rows))
    for wrong in (make(9), dense(), MODELS["vae"](), dense(n_components=3, encoder=nn.Linear(6, 3))):
        with pytest.raises(BadFile):
            wrong.restore(path)
        assert not hasattr(wrong, "encoder_")


def test_a_training_of_own_nets_can_be_gone_on_with(rows: Doubles, tmp_path: Path) -> None:
    torch_net = nn.Linear(6, 2)
    whole = dense(encoder=torch_net).fit(rows)
    with pytest.raises(Boom):
        dense(encoder=torch_net).fit(rows, callback=fail_at(6), checkpoint=tmp_path / "c")
    again = dense(encoder=torch_net).restore(tmp_path / "c").resume(rows)
    assert bits(again) == bits(whole)


# -- going on ----------------------------------------------------------------------------------------------------------


@every
def test_going_on_from_any_event_is_as_if_never_broken_off(
    make: Callable[..., Any], rows: Doubles, tmp_path: Path
) -> None:
    events: list[Progress] = []
    whole = make().fit(rows, callback=events.append)
    for event in range(1, len(events) + 1):
        model = broken_off(make, rows, tmp_path / "checkpoint", event)
        assert model.resume(rows) is model
        assert bits(model) == bits(whole), f"event {event}"
        assert told(model) == told(whole)
        assert model.best_epoch_ == whole.best_epoch_
        assert np.array_equal(model.codes_, whole.codes_)
        assert all(entry["seconds"] > 0 for entry in model.history_)


@every
def test_it_may_be_broken_off_again_and_again(make: Callable[..., Any], rows: Doubles, tmp_path: Path) -> None:
    path, whole, times = tmp_path / "checkpoint", make().fit(rows), 0
    model = broken_off(make, rows, path, 2)
    while True:
        try:
            model.resume(rows, callback=fail_at(2), checkpoint=path)
        except Boom:
            model, times = embedkit.load(path), times + 1
        else:
            break
    assert times >= 5
    assert bits(model) == bits(whole)


def test_writing_checkpoints_all_the_time_changes_nothing(rows: Doubles, tmp_path: Path) -> None:
    whole = dense().fit(rows)
    model = dense().fit(rows, checkpoint=tmp_path / "c", checkpoint_every=1e-9)
    assert bits(model) == bits(whole)
    assert [entry.name for entry in tmp_path.iterdir()] == ["c"]
    assert bits(embedkit.load(tmp_path / "c", verify=True).resume(rows)) == bits(whole)


def test_a_checkpoint_opens_as_what_was_learned_so_far(rows: Doubles, tmp_path: Path) -> None:
    model = broken_off(dense, rows, tmp_path / "c", 10)
    assert len(model.history_) == 2
    assert model.transform(rows).shape == (80, 2)
    arrays, _ = read_tensors(tmp_path / "c")
    assert {name.rpartition("/")[2] for name in arrays if name.startswith("optimizer/")} == {
        "step", "exp_avg", "exp_avg_sq"}  # fmt: skip
    with pytest.raises(BadInput, match="resume it first"):
        model.sample(2)


def test_what_is_saved_unfinished_can_be_gone_on_with(rows: Doubles, tmp_path: Path) -> None:
    broken_off(dense, rows, tmp_path / "c").save(tmp_path / "again")
    assert bits(embedkit.load(tmp_path / "again").resume(rows)) == bits(dense().fit(rows))


def test_a_streamed_training_can_be_gone_on_with(
    rows: Doubles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedkit.latent.data.HELD", 100)
    monkeypatch.setattr("embedkit.latent.rows._CHUNK", 400)
    monkeypatch.setattr("embedkit.latent.rows._WINDOW", 800)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    whole = dense().fit(mapped)
    assert bits(broken_off(dense, mapped, tmp_path / "c").resume(mapped)) == bits(whole)


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_other_rows_and_other_parameters_are_refused(rows: Doubles, tmp_path: Path) -> None:
    other = rows.copy()
    other[3, 2] += 1e-9
    model = broken_off(dense, rows, tmp_path / "c")
    for wrong in (other, rows[:-1], rows[::-1]):
        with pytest.raises(BadInput, match="not the rows"):
            model.resume(wrong)
    for name, value in (("learning_rate", 0.5), ("epochs", 9), ("hidden", (8,)), ("noise", 0.5), ("batch_size", 8)):
        again = embedkit.load(tmp_path / "c").set_params(**{name: value})
        with pytest.raises(BadInput, match=f"broken off with {name}="):
            again.resume(rows)
    assert bits(model.resume(rows)) == bits(dense().fit(rows))


def test_a_training_that_came_to_its_end_is_refused(rows: Doubles, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="came to its end"):
        dense().fit(rows).resume(rows)
    dense().fit(rows, callback=lambda event: event.epoch == 2, checkpoint=tmp_path / "c", checkpoint_every=1e-9)
    with pytest.raises(NotFitted):
        dense().resume(rows)


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
def test_a_time_between_checkpoints_that_makes_no_sense_is_refused(
    seconds: float, rows: Doubles, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="more than 0"):
        dense().fit(rows, checkpoint=tmp_path / "c", checkpoint_every=seconds)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_can_never_be_written_is_told_before_training(rows: Doubles, tmp_path: Path) -> None:
    events: list[Progress] = []
    with pytest.raises(BadFile, match="cannot be written"):
        dense().fit(rows, checkpoint=tmp_path / "absent" / "c", callback=events.append)
    assert events == []


def test_a_resume_that_fails_leaves_the_model_as_it_was(rows: Doubles, tmp_path: Path) -> None:
    model = broken_off(dense, rows, tmp_path / "c")
    before = bits(model)
    with pytest.raises(Boom):
        model.resume(rows, callback=fail_at(3))
    assert bits(model) == before
    assert bits(model.resume(rows)) == bits(dense().fit(rows))


# -- damaged files -----------------------------------------------------------------------------------------------------


def test_every_flipped_byte_and_every_cut_is_found(rows: Doubles, tmp_path: Path) -> None:
    path = tmp_path / "model"
    dense(n_components=1, hidden=(2,), epochs=1).fit(rows).save(path)
    data = path.read_bytes()
    for place in range(0, len(data), 37):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        with pytest.raises(BadFile):
            embedkit.load(path)
        path.write_bytes(data[:place])
        with pytest.raises(BadFile):
            embedkit.load(path)


def edited(path: Path, edit: Callable[[dict[str, Any], dict[str, Any]], object]) -> None:
    """A file whose checksums are right and whose content is not."""
    arrays, about = read_tensors(path)
    changed = {name: np.array(array) for name, array in arrays.items()}
    about = copy.deepcopy({k: v for k, v in about.items() if k not in ("sha256", "schema")})
    edit(changed, about)
    order = sorted(changed, key=lambda name: -changed[name].dtype.itemsize)
    write_tensors({name: changed[name] for name in order}, about, path)


EDITS: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    "class": lambda _, about: about.update({"class": "os.system"}),
    "class that is no model": lambda _, about: about.update({"class": "Embedding"}),
    "no parameters": lambda _, about: about.pop("parameters"),
    "unknown parameter": lambda _, about: about["parameters"].update({"evil": 1}),
    "wrong parameter": lambda _, about: about["parameters"].update({"n_components": 3}),
    "wrong seed": lambda _, about: about["parameters"].update({"random_state": "x"}),
    "negative width": lambda _, about: about["parameters"].update({"hidden": [-1]}),
    "huge width": lambda _, about: about["parameters"].update({"hidden": [10**9]}),
    "shape": lambda _, about: about["kind"].update({"shape": [7]}),
    "shape of strings": lambda _, about: about["kind"].update({"shape": ["6"]}),
    "scaling": lambda _, about: about["kind"].update({"scaling": "auto"}),
    "names": lambda _, about: about["kind"].update({"names": ["a"]}),
    "epoch": lambda _, about: about["run"].update({"epoch": 99}),
    "history": lambda _, about: about["run"].update({"history": [1, 2, 3, 4]}),
    "best": lambda _, about: about["run"].update({"best_epoch": -1}),
    "unknown of the run": lambda _, about: about["run"].update({"evil": 1}),
    "weights missing": lambda arrays, _: arrays.pop("weights/encoder.1.weight"),
    "weights too many": lambda arrays, _: arrays.update({"weights/other": np.zeros(1, np.float32)}),
    "weights of another shape": lambda arrays, _: arrays.update({"weights/encoder.1.weight": np.zeros((1, 1), "f4")}),
    "weights of another type": lambda arrays, _: arrays.update(
        {"weights/encoder.1.bias": arrays["weights/encoder.1.bias"].astype(np.float64)}
    ),
    "weights that are not finite": lambda arrays, _: arrays["weights/encoder.1.bias"].fill(np.nan),
    "deviation of 0": lambda arrays, _: arrays["scale"].fill(0),
    "deviations of another width": lambda arrays, _: arrays.update({"scale": np.ones(5)}),
    "held-out rows twice": lambda arrays, _: arrays["held_out"].fill(1),
    "codes of another width": lambda arrays, _: arrays.update({"codes": np.zeros((3, 5), np.float32)}),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_what_makes_no_sense_is_refused_in_one_line(edit: Any, rows: Doubles, tmp_path: Path) -> None:
    path = tmp_path / "model"
    dense().fit(rows).save(path)
    embedkit.load(path)
    edited(path, edit)
    with pytest.raises(BadFile) as caught:
        embedkit.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_trained_on_a_device_this_machine_lacks_is_loaded(rows: Doubles, tmp_path: Path) -> None:
    path = tmp_path / "model"
    dense().fit(rows).save(path)
    edited(path, lambda _, about: about["parameters"].update({"device": "cuda:77"}))
    assert embedkit.load(path).transform(rows).shape == (80, 2)


# -- killed ------------------------------------------------------------------------------------------------------------

KILLED = textwrap.dedent("""
    import os
    os.environ["OMP_NUM_THREADS"] = "1"
    import numpy as np
    import torch
    torch.set_num_threads(1)
    import embedkit
    from embedkit import Autoencoder
    from embedkit.latent import autoencoder, model_file
    rows = np.random.default_rng(0).normal(size=(2000, 12)).astype(np.float32)

    def make():
        return Autoencoder(4, hidden=(32,), noise=0.2, epochs=12, batch_size=16, validation=0.1, n_jobs=1,
                           random_state=3)

    make().set_params(epochs=0).fit(rows)  # what torch imports for it takes longer than the training

    def train(folder):
        checkpoint = f"{folder}/checkpoint"
        if os.path.exists(checkpoint):
            model = embedkit.load(checkpoint)
            if model._state.unfinished:
                model.resume(rows, checkpoint=checkpoint, checkpoint_every=0.02)
        else:
            model = make().fit(rows, checkpoint=checkpoint, checkpoint_every=0.02)
        model.save(f"{folder}/done")
""")


def through(kills: int, through_kills: Any) -> None:
    script: dict[str, Any] = {}
    exec(KILLED, script)  # noqa: S102  # of this file
    whole = script["make"]().fit(script["rows"])
    done = embedkit.load(through_kills(KILLED, kills, longest=2))
    assert bits(done) == bits(whole)
    assert told(done) == told(whole)


def test_a_few_kills_change_nothing(through_kills: Any) -> None:
    through(3, through_kills)


@pytest.mark.slow
def test_thirty_kills_change_nothing(through_kills: Any) -> None:
    through(30, through_kills)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143)])
def test_a_signal_leaves_a_checkpoint_to_go_on_with(number: int, code: int, tmp_path: Path) -> None:
    source = KILLED + textwrap.dedent(f"""
        import signal

        def press(event):
            if (event.epoch, event.done) > (3, 100):
                os.kill(os.getpid(), {int(number)})

        make().fit(rows, checkpoint={str(tmp_path / "c")!r}, callback=press)
    """)
    ran = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False,
                         env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert ran.returncode == code, ran.stderr
    script: dict[str, Any] = {}
    exec(KILLED, script)  # noqa: S102  # of this file
    model = embedkit.load(tmp_path / "c")
    assert 2 <= len(model.history_) <= 3
    assert bits(model.resume(script["rows"])) == bits(script["make"]().fit(script["rows"]))
