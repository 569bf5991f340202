"""Autoencoder and what it shares with the other models that have codes: right, labelled, a scikit-learn transformer."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

import embedkit
from embedkit import PCA, Autoencoder, Embedding, images
from embedkit.errors import BadInput, NotFitted, TrainingDiverged
from embedkit.latent import base
from embedkit.progress import Progress

Doubles = npt.NDArray[np.float64]
QUICK: dict[str, Any] = {"hidden": (16,), "epochs": 3, "batch_size": 16, "n_jobs": 1, "random_state": 0}


def quick(**parameters: Any) -> Autoencoder:
    return Autoencoder(**{"n_components": 2, **QUICK, **parameters})


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def rows(rng: np.random.Generator) -> Doubles:
    """(60, 6) near a plane."""
    plane: Doubles = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 6)) * 5
    return plane + rng.normal(size=(60, 6)) * 0.1 + 7


@pytest.fixture
def frame(rows: Doubles) -> pd.DataFrame:
    return pd.DataFrame(rows, index=[f"w{i}" for i in range(len(rows))], columns=list("uvwxyz"))


@pytest.fixture(scope="module")
def digits() -> images.Images:
    return images.named("digits").head(300)


@pytest.fixture(scope="module")
def model(digits: images.Images) -> Autoencoder:
    return Autoencoder(4, hidden=(32,), epochs=5, n_jobs=1, random_state=0).fit(digits)


@parametrize_with_checks(  # type: ignore[untyped-decorator]  # scikit-learn has no types
    [
        Autoencoder(n_components=2, hidden=(8,), epochs=2, n_jobs=1),
        Autoencoder(n_components=1, hidden=(8,), epochs=1, n_jobs=1, sparsity=0.3, noise=0.1, patience=1),
    ]
)
def test_scikit_learns_own_checks_pass(estimator: Any, check: Any) -> None:
    check(estimator)


# -- right -------------------------------------------------------------------------------------------------------------


def test_a_linear_autoencoder_finds_the_plane_of_the_principal_components(rows: Doubles) -> None:
    """Baldi & Hornik 1989: without bends in it, the best an autoencoder can do is what PCA does."""
    torch.manual_seed(0)  # nets of one's own start as they are given
    model = quick(encoder=nn.Linear(6, 2), decoder=nn.Linear(2, 6), epochs=1000, batch_size=60, learning_rate=0.3,
                  validation=0, scaling="none").fit(rows)  # fmt: skip
    pca = PCA(2).fit(rows)
    least = np.square(pca.inverse_transform(pca.transform(rows)) - rows).mean(axis=1)
    assert -model.score_samples(rows).mean() == pytest.approx(least.mean(), rel=0.3)


def test_more_components_lose_less(digits: images.Images, model: Autoencoder) -> None:
    lost = []
    for n in (1, 4, 16):
        fitted = Autoencoder(n, hidden=(32,), epochs=8, batch_size=16, n_jobs=1, random_state=0).fit(digits)
        lost.append(-fitted.score_samples(digits).mean())
    assert lost[0] > lost[1] > lost[2]
    constant = np.square(digits.pixels / 255 - (digits.pixels / 255).mean(axis=0)).mean()
    assert lost[0] < constant


def test_scores_and_errors_are_those_of_the_reconstruction(digits: images.Images, model: Autoencoder) -> None:
    expected = np.square(model.reconstruct(digits) - digits.pixels / 255).reshape(len(digits), -1)
    np.testing.assert_allclose(model.reconstruction_errors(digits), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.score_samples(digits), -expected.mean(axis=1), rtol=1e-4)
    assert model.score_samples(digits).dtype == np.float64


def test_reconstructions_are_decoded_codes_and_modules_say_the_same(digits: images.Images, model: Autoencoder) -> None:
    codes = model.transform(digits.pixels)
    assert codes.dtype == np.float32
    assert np.array_equal(model.inverse_transform(codes), model.reconstruct(digits))
    tensor = model.kind_.tensor(digits)
    assert np.allclose(model.encoder_(tensor).numpy(), codes, atol=1e-5)
    made = model.decoder_(torch.from_numpy(codes))
    assert np.allclose(model.kind_.restore(made), model.reconstruct(digits), atol=1e-5)
    assert torch.allclose(torch.sigmoid(model.decoder_.raw(torch.from_numpy(codes))), made)
    assert np.allclose(torch.cat(list(model.blocks(digits))).numpy(), tensor.numpy())


def test_table_rows_come_back_in_their_units(frame: pd.DataFrame, rows: Doubles) -> None:
    model = quick(epochs=60, learning_rate=0.02, validation=0).fit(frame)
    back = model.reconstruct(frame)
    assert isinstance(back, pd.DataFrame)
    assert list(back.columns) == list("uvwxyz")
    assert back.index.equals(frame.index)
    assert np.square(back.to_numpy() - rows).mean() < 0.3 * rows.var(axis=0).mean()
    again = model.inverse_transform(model.transform(frame))
    pd.testing.assert_frame_equal(again, back)


@pytest.mark.parametrize("shape", [(5, 4), (7, 9), (8, 8), (3, 12, 12), (33, 20)])
def test_pictures_of_any_size_and_channels_pass_through_convolutions(shape: tuple[int, ...]) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, size=(12, *shape), dtype=np.uint8)
    model = quick(epochs=1).fit(pictures)
    assert any(isinstance(layer, nn.Conv2d) for layer in model.encoder_.modules())
    assert model.reconstruct(pictures).shape == pictures.shape
    dense = quick(epochs=1, architecture="dense").fit(pictures)
    assert not any(isinstance(layer, nn.Conv2d) for layer in dense.encoder_.modules())
    assert dense.reconstruct(pictures).shape == pictures.shape
    flat = quick(epochs=1, image_shape=shape).fit(pictures.reshape(12, -1))
    assert np.array_equal(flat.transform(pictures.reshape(12, -1)), model.transform(pictures))
    assert np.array_equal(model.transform(pictures.reshape(12, -1)), model.transform(pictures))


def test_pictures_too_small_for_convolutions_are_dense() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, size=(12, 3, 3), dtype=np.uint8)
    assert not any(isinstance(layer, nn.Conv2d) for layer in quick(epochs=1).fit(pictures).encoder_.modules())
    with pytest.raises(BadInput, match="no pictures of at least 4 x 4"):
        quick(architecture="conv").fit(pictures)
    with pytest.raises(BadInput, match="cannot be halved 4 times"):
        quick(channels=(4, 4, 4, 4)).fit(np.zeros((12, 9, 9), np.uint8))


def test_a_denoising_autoencoder_undoes_noise_better(digits: images.Images) -> None:
    clean = digits.pixels / 255.0
    noisy = clean + np.random.default_rng(1).normal(scale=0.5, size=clean.shape)
    lost = {}
    for noise in (0.0, 0.5):
        model = quick(n_components=64, architecture="dense", hidden=(128,), epochs=40, noise=noise).fit(digits)
        lost[noise] = np.square(model.reconstruct(noisy.clip(-2, 2)) - clean).mean()
    assert lost[0.5] < 0.8 * lost[0.0]


def test_masking_is_another_noise(digits: images.Images) -> None:
    a, b = (Autoencoder(4, epochs=1, noise=0.5, corruption=how, n_jobs=1, random_state=0).fit(digits)
            for how in ("gaussian", "masking"))  # fmt: skip
    assert a.history_[0]["loss"] != b.history_[0]["loss"]


def test_sparse_codes_are_positive_and_few_of_them_reach_the_decoder(digits: images.Images) -> None:
    model = Autoencoder(64, hidden=(32,), sparsity=0.1, epochs=20, batch_size=32, n_jobs=1, random_state=0)
    model.fit(digits)
    codes = model.transform(digits.pixels)
    assert (codes >= 0).all()
    winners = model.decoder_.net[0](torch.from_numpy(codes))
    assert 0.05 < float((winners > 0).float().mean()) < 0.15
    assert float((winners > 0).float().mean(dim=0).min()) > 0  # no component is dead
    assert np.array_equal(model.transform(digits.pixels[:1]), codes[:1])


# -- what comes in labelled goes out labelled --------------------------------------------------------------------------


def test_images_give_an_embedding_with_their_classes(digits: images.Images, model: Autoencoder) -> None:
    codes = model.transform(digits)
    assert isinstance(codes, Embedding)
    assert codes.columns["class"].tolist() == np.asarray(digits.classes).tolist()
    assert codes.provenance["made_by"] == "Autoencoder"
    assert codes.provenance["parameters"]["random_state"] == 0
    json.dumps(codes.provenance, allow_nan=False)
    assert np.array_equal(codes.vectors, model.transform(digits.pixels))
    named = images.Images(digits.pixels[:3], labels=Embedding(["a", "b", "c"], np.zeros((3, 1))).labels)
    assert list(model.transform(named)) == ["a", "b", "c"]


def test_a_frame_and_an_embedding_keep_their_labels(frame: pd.DataFrame, rows: Doubles) -> None:
    model = quick().fit(frame)
    codes = model.transform(frame)
    assert codes.index.equals(frame.index)
    assert list(codes.columns) == ["autoencoder0", "autoencoder1"] == list(model.get_feature_names_out())
    emb = Embedding([f"w{i}" for i in range(60)], rows, columns={"count": range(60)})
    made = quick().fit_transform(emb)
    assert isinstance(made, Embedding)
    assert list(made) == list(emb)
    assert made.columns["count"].tolist() == list(range(60))
    assert list(quick().set_output(transform="pandas").fit(emb).transform(emb).index) == list(emb)


# -- the same bits -----------------------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_weights_and_nothing_global_is_touched(digits: images.Images) -> None:
    before = torch.get_rng_state(), torch.get_num_threads()
    a, b, c = (quick(random_state=seed, epochs=1).fit(digits) for seed in (1, 1, 2))
    quick(epochs=0, n_jobs=2).fit(digits)
    assert torch.equal(before[0], torch.get_rng_state())
    assert torch.get_num_threads() == before[1]
    assert bits(a) == bits(b) != bits(c)


def bits(model: Any) -> list[bytes]:
    return [v.numpy().tobytes() for net in (model.encoder_, model.decoder_) for v in net.state_dict().values()]


def test_a_code_is_the_same_bits_alone_and_in_any_batch(
    digits: images.Images, model: Autoencoder, rows: Doubles
) -> None:
    for fitted, data in ((model, digits.pixels), (quick().fit(rows), np.tile(rows, (10, 1)))):
        together = fitted.transform(data)
        order = np.random.default_rng(1).permutation(len(data))
        assert np.array_equal(fitted.transform(data[order]), together[order])
        assert np.array_equal(fitted.transform(data[5:6]), together[5:6])
        assert np.array_equal(fitted.score_samples(data[7:9]), fitted.score_samples(data)[7:9])


def test_what_is_given_is_not_written_to(rows: Doubles, digits: images.Images) -> None:
    for data in (rows, rows.astype(np.float32) / 100, np.array(digits.pixels)):
        before = data.copy()
        quick(epochs=1).fit_transform(data)
        assert np.array_equal(data, before)


# -- held-out rows and early stopping ----------------------------------------------------------------------------------


def test_held_out_rows_are_drawn_by_the_seed_and_not_trained_on(rows: Doubles) -> None:
    model = quick(validation=0.25).fit(rows)
    held_out = model.validation_rows_
    assert len(set(held_out.tolist())) == 15
    other = rows.copy()
    other[held_out] = rows[(held_out[0] + 1) % 60]  # its validation loss changes, the weights of the last epoch do not
    fixed = {"validation": 0.25, "scaling": "none", "epochs": 2}
    a, b = quick(**fixed).fit(rows), quick(**fixed).fit(other)
    assert [e["loss"] for e in a.history_] == [e["loss"] for e in b.history_]
    assert a.history_[0]["validation_loss"] != b.history_[0]["validation_loss"]
    assert quick(validation=0).fit(rows).validation_rows_.tolist() == []
    assert "validation_loss" not in quick(validation=0).fit(rows).history_[0]


def test_the_weights_of_the_best_epoch_are_used_and_the_last_kept_apart(rows: Doubles) -> None:
    model = quick(epochs=30, schedule="constant", learning_rate=0.3, validation=0.3, patience=4).fit(rows)
    losses = [entry["validation_loss"] for entry in model.history_]
    assert model.best_epoch_ == int(np.argmin(losses)) + 1 < len(losses)
    assert len(losses) - model.best_epoch_ == 4 or len(losses) == 30
    best = -model.score_samples(rows[model.validation_rows_]).mean()
    assert best == pytest.approx(min(losses), rel=1e-5)
    assert model._state.last is not None
    assert any(not torch.equal(v, model._state.last[f"encoder.{k}"]) for k, v in model.encoder_.state_dict().items())


def test_no_epochs_leave_the_nets_as_they_were_initialised(digits: images.Images) -> None:
    a, b = (quick(epochs=0, random_state=seed).fit(digits) for seed in (0, 1))
    assert a.history_ == []
    assert bits(a) != bits(b)
    assert a.transform(digits.pixels).shape == (300, 2)


# -- own nets ----------------------------------------------------------------------------------------------------------


def test_own_nets_are_copied_and_trained_from_the_weights_they_have(rows: Doubles) -> None:
    encoder = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))
    before = copy.deepcopy(encoder.state_dict())
    model = quick(encoder=encoder, epochs=0).fit(rows)
    assert all(torch.equal(model.encoder_.state_dict()[k], v) for k, v in before.items())
    trained = quick(encoder=encoder).fit(rows)
    assert all(torch.equal(encoder.state_dict()[k], v) for k, v in before.items())
    assert not torch.equal(trained.encoder_.state_dict()["0.weight"], before["0.weight"])
    assert trained.transform(rows).shape == (60, 2)
    # A fitted encoder, whose weights need no gradients, is trained as well.
    again = quick(encoder=trained.encoder_).fit(rows)
    assert not torch.equal(again.encoder_.state_dict()["0.weight"], trained.encoder_.state_dict()["0.weight"])


@pytest.mark.parametrize(
    ("nets", "reason"),
    [
        ({"encoder": nn.Linear(5, 2)}, r"encoder cannot take rows of shape \(6,\)"),
        ({"encoder": nn.Linear(6, 3)}, r"encoder gives \(3,\) for a row, expected \(2,\)"),
        ({"decoder": nn.Linear(2, 5)}, r"decoder gives \(5,\) for a row, expected \(6,\)"),
        ({"decoder": "net"}, "decoder is a torch module or None, not str"),
    ],
)
def test_own_nets_that_do_not_fit_are_refused(nets: dict[str, Any], reason: str, rows: Doubles) -> None:
    with pytest.raises(BadInput, match=reason):
        quick(**nets).fit(rows)


# -- walks and samples -------------------------------------------------------------------------------------------------


def test_interpolations_go_from_one_row_to_another(digits: images.Images, model: Autoencoder) -> None:
    way = model.interpolate(digits.pixels[:3], digits.pixels[3:6], n=5)
    assert way.shape == (3, 5, 8, 8)
    assert np.array_equal(way[:, 0], model.reconstruct(digits.pixels[:3]))
    np.testing.assert_allclose(way[:, -1], model.reconstruct(digits.pixels[3:6]), atol=1e-6)
    middle = (model.transform(digits.pixels[:3]) + model.transform(digits.pixels[3:6])) / 2
    np.testing.assert_allclose(way[:, 2], model.inverse_transform(middle), atol=1e-6)
    with pytest.raises(BadInput, match="as many on both sides"):
        model.interpolate(digits.pixels[:3], digits.pixels[3:5])


def test_a_traversal_changes_one_component(digits: images.Images, model: Autoencoder) -> None:
    made = model.traverse(digits.pixels[:1], n=3, span=1.5, units=[2, 0])
    assert made.shape == (2, 3, 8, 8)
    codes = model.codes_
    for strip, unit in zip(made, (2, 0), strict=True):
        code = np.repeat(model.transform(digits.pixels[:1]), 3, axis=0)
        code[:, unit] = codes[:, unit].mean() + np.array([-1.5, 0, 1.5]) * codes[:, unit].std()
        np.testing.assert_allclose(strip, model.inverse_transform(code), atol=1e-6)
    assert model.traverse(digits.pixels[:1]).shape == (4, 7, 8, 8)
    with pytest.raises(BadInput, match="one row, 2"):
        model.traverse(digits.pixels[:2])
    with pytest.raises(BadInput, match="component's number"):
        model.traverse(digits.pixels[:1], units=[4])


def test_a_lattice_lies_at_quantiles_with_the_largest_on_top(model: Autoencoder) -> None:
    made, codes = model.lattice(3, units=(1, 3)), model.codes_
    assert made.shape == (3, 3, 8, 8)
    code = codes.mean(axis=0)
    code[1], code[3] = np.quantile(codes[:, 1], 1 / 6), np.quantile(codes[:, 3], 5 / 6)
    np.testing.assert_allclose(made[0, 0], model.inverse_transform(code[None])[0], atol=1e-5)
    for units in ((0, 0), (0, 9)):
        with pytest.raises(BadInput):
            model.lattice(3, units=units)


def test_samples_come_from_a_mixture_like_the_codes(digits: images.Images, model: Autoencoder) -> None:
    codes = model.sample_codes(4000, random_state=1)
    np.testing.assert_allclose(codes.mean(axis=0), model.codes_.mean(axis=0), atol=0.1 * model.codes_.std())
    np.testing.assert_allclose(np.cov(codes.T), np.cov(model.codes_.T), atol=0.15 * model.codes_.var(axis=0).max())
    assert model.sample(5, random_state=1).shape == (5, 8, 8)
    assert np.array_equal(
        model.sample(5, random_state=1), model.inverse_transform(model.sample_codes(5, random_state=1))
    )
    assert not np.array_equal(model.sample(5, random_state=2), model.sample(5, random_state=1))
    with pytest.raises(BadInput, match="how is one of gmm"):
        model.sample(5, "prior")


# -- a scikit-learn transformer ----------------------------------------------------------------------------------------


def test_it_works_in_a_pipeline_and_a_grid_search(rows: Doubles) -> None:
    classes = PCA(1).fit_transform(rows)[:, 0] > 0
    pipeline = make_pipeline(quick(epochs=10), KNeighborsClassifier(3))
    search = GridSearchCV(pipeline, {"autoencoder__n_components": np.arange(1, 3)}, cv=2).fit(rows, classes)
    assert search.best_score_ > 0.7


def test_a_clone_has_the_parameters_and_nothing_learned(rows: Doubles) -> None:
    fitted = quick(encoder=nn.Linear(6, 2)).fit(rows)
    copy_ = clone(fitted)
    assert not hasattr(copy_, "encoder_")
    assert isinstance(copy_.encoder, nn.Linear)


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_components": 0}, {"n_components": 1.5}, {"epochs": -1}, {"batch_size": 0}, {"learning_rate": 0},
        {"schedule": "linear"}, {"precision": "float16"}, {"scaling": "minmax"}, {"architecture": "deep"},
        {"validation": 1.0}, {"patience": 0}, {"clip": 0}, {"hidden": 5}, {"hidden": (0,)}, {"channels": "ab"},
        {"noise": -1}, {"noise": 2, "corruption": "masking"}, {"corruption": "salt"}, {"sparsity": 0}, {"sparsity": 1},
        {"adversarial": -1}, {"device": "abacus"}, {"n_jobs": -2}, {"random_state": -1}, {"weight_decay": np.nan},
    ],
    ids=str,
)  # fmt: skip
def test_parameters_that_make_no_sense_are_refused(wrong: dict[str, Any], rows: Doubles) -> None:
    with pytest.raises(BadInput, match=next(iter(wrong))):
        quick(**wrong).fit(rows)


def test_rows_that_do_not_fit_are_refused(digits: images.Images, model: Autoencoder) -> None:
    for verb in (model.transform, model.reconstruct, model.score_samples):
        with pytest.raises(ValueError, match="expected"):
            verb(digits.pixels[:, :7])
    with pytest.raises(BadInput, match=r"expected \(n, 4\)"):
        model.inverse_transform(np.zeros((2, 3)))
    with pytest.raises(BadInput, match="column 1 is NaN"):
        model.inverse_transform(np.array([[0, np.nan, 0, 0]]))
    with pytest.raises(BadInput, match="a minimum of 2"):
        quick().fit(digits.pixels[:1])


def test_before_fit_nothing_can_be_done(rows: Doubles, tmp_path: Path) -> None:
    acts: list[Callable[[Autoencoder], Any]] = [
        lambda m: m.transform(rows), lambda m: m.sample(2), lambda m: m.lattice(), lambda m: m.codes_,
        lambda m: m.score_samples(rows), lambda m: m.save(tmp_path / "x"), lambda m: m.resume(rows),
    ]  # fmt: skip
    for act in acts:
        with pytest.raises((NotFitted, ValueError), match="not fitted"):
            act(quick())


class Bomb(nn.Module):
    """A decoder that is good for so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.net, self.left = nn.Linear(2, 6), steps
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        self.left -= self.training
        made: torch.Tensor = self.net(codes)
        return made if self.left >= 0 else made * np.nan


@pytest.mark.parametrize(("steps", "epochs"), [(2, 0), (3, 1), (10, 3)])  # an epoch has three
def test_a_diverging_training_is_told_and_what_was_learned_before_is_kept(
    steps: int, epochs: int, rows: Doubles
) -> None:
    model = quick(decoder=Bomb(steps), epochs=5)
    with pytest.raises(TrainingDiverged, match=f"in epoch {epochs + 1}, step {steps}, at a learning rate of") as bad:
        model.fit(rows)
    assert (bad.value.epoch, bad.value.step) == (epochs + 1, steps)
    if not epochs:
        assert not hasattr(model, "encoder_")
        return
    assert len(model.history_) == epochs
    kept = quick(decoder=Bomb(99), epochs=5).fit(rows, callback=lambda event: event.epoch == epochs and event.done > 47)
    assert bits(model)[:4] == bits(kept)[:4]
    with pytest.raises(BadInput, match="came to its end"):
        model.resume(rows)


def test_a_fit_that_fails_leaves_the_earlier_one_alone(rows: Doubles) -> None:
    model = quick().fit(rows)
    before = bits(model)

    def fail(_: Progress) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        model.fit(rows, callback=fail)
    assert bits(model) == before


def test_a_callback_ends_it_with_what_was_learned(rows: Doubles) -> None:
    model = quick(epochs=50).fit(rows, callback=lambda event: event.epoch == 3)
    assert len(model.history_) == 3
    assert model.transform(rows).shape == (60, 2)


# -- memory ------------------------------------------------------------------------------------------------------------


def anonymous_memory() -> int:
    """Bytes of this process that no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def encode_a_file(path: Path, gigabytes: float, model: Autoencoder) -> int:
    """How much anonymous memory grew by while a float32 file, mostly holes, was encoded."""
    n = int(gigabytes * 2**30 / (4 * 784))
    mapped = np.lib.format.open_memmap(path, "w+", np.float32, (n, 784))
    mapped[::100_003] = 0.5
    del mapped
    rows = np.load(path, mmap_mode="r")
    before, most = anonymous_memory(), 0
    encoded = model._through

    def watched(*args: Any) -> Any:
        nonlocal most

        def function(block: torch.Tensor) -> torch.Tensor:
            nonlocal most
            most = max(most, anonymous_memory() - before)
            made: torch.Tensor = args[0](block)
            return made

        return encoded(function, *args[1:])

    model._through = watched  # type: ignore[method-assign,assignment]  # of this model alone
    codes = model.transform(rows)
    assert codes.shape == (n, 2)
    assert np.array_equal(codes[:1], model.transform(np.full((1, 784), 0.5, np.float32)))
    return most


@pytest.fixture
def narrow() -> Autoencoder:
    some = np.random.default_rng(0).random((20, 784), dtype=np.float32)
    return Autoencoder(2, hidden=(8,), epochs=0, n_jobs=1, random_state=0).fit(some)


def test_encoding_a_memory_map_takes_little_memory_of_its_own(tmp_path: Path, narrow: Autoencoder) -> None:
    assert encode_a_file(tmp_path / "rows.npy", 0.4, narrow) < 60 * 2**20


@pytest.mark.slow
def test_encoding_six_gigabytes_takes_less_than_one(tmp_path: Path, narrow: Autoencoder) -> None:
    assert encode_a_file(tmp_path / "rows.npy", 6, narrow) + 0 < 2**30
    assert anonymous_memory() < 2**30


def test_training_on_a_memory_map_streams_and_gives_the_same_bits(
    tmp_path: Path, rows: Doubles, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "rows.npy", np.tile(rows, (20, 1)).astype(np.float32))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    held = quick().fit(mapped)
    monkeypatch.setattr("embedkit.latent.data.HELD", 1000)
    a, b = quick().fit(mapped), quick().fit(mapped)
    assert bits(a) == bits(b)
    assert a.history_[-1]["loss"] == pytest.approx(held.history_[-1]["loss"], rel=0.5)
    assert np.array_equal(a.validation_rows_, held.validation_rows_)


def test_rows_are_known_again_by_a_fingerprint(rows: Doubles, monkeypatch: pytest.MonkeyPatch) -> None:
    other = rows.copy()
    other[59, 5] += 1e-9
    assert base.fingerprint(rows) == base.fingerprint(rows.copy())
    assert len({base.fingerprint(x) for x in (rows, other, rows.astype(np.float32), rows.reshape(30, 12))}) == 4
    monkeypatch.setattr(base, "_HASHED", 10)
    assert base.fingerprint(np.zeros((9000, 4))) != base.fingerprint(np.ones((9000, 4)))


# -- on a GPU ----------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_the_same_is_learned(digits: images.Images, tmp_path: Path) -> None:
    before, after = ([quick(epochs=n, device=device).fit(digits) for device in ("cpu", "cuda")] for n in (0, 5))
    np.testing.assert_allclose(before[0].transform(digits.pixels), before[1].transform(digits.pixels), atol=1e-4)
    assert [m.device_.partition(":")[0] for m in after] == ["cpu", "cuda"]
    assert after[1].history_[-1]["loss"] == pytest.approx(after[0].history_[-1]["loss"], rel=0.05)
    after[1].save(tmp_path / "model")
    assert np.array_equal(embedkit.load(tmp_path / "model").transform(digits.pixels), after[1].transform(digits.pixels))
    assert quick(epochs=1, device="cuda", precision="bfloat16").fit(digits).sample(3).shape == (3, 8, 8)
