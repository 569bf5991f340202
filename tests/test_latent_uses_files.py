"""Detectors and classifiers in files: the same bits in a fresh process, and one line for what is wrong or damaged."""

from __future__ import annotations

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
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import decomposition
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler
from torch import nn

import embedkit
from embedkit import PCA, VAE, AdversarialAutoencoder, Autoencoder, Embedding, images
from embedkit.errors import BadFile, BadInput
from embedkit.files.store import read_tensors, write_tensors
from embedkit.images import Images
from embedkit.latent import AnomalyDetector, EncoderClassifier

Doubles = npt.NDArray[np.float64]
BRIEF: dict[str, Any] = {"hidden": (12,), "epochs": 3, "batch_size": 32, "n_jobs": 1, "random_state": 1}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def rows() -> Doubles:
    rng = np.random.default_rng(0)
    made: Doubles = rng.normal(size=(90, 3)) @ rng.normal(size=(3, 6)) * [1, 10, 100, 1, 0.1, 1] + 4
    return made


@pytest.fixture(scope="module")
def frame(rows: Doubles) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list("uvwxyz"))


@pytest.fixture(scope="module")
def digits() -> Images:
    return images.named("digits").head(160)


@pytest.fixture(scope="module")
def classes(rows: Doubles) -> npt.NDArray[np.int64]:
    found: npt.NDArray[np.int64] = (rows[:, 0] > np.median(rows[:, 0])) + (rows[:, 4] > np.median(rows[:, 4])) * 3
    return found


def same(one: Any, two: Any) -> bool:
    return np.asarray(one).tobytes() == np.asarray(two).tobytes()


# -- detectors ---------------------------------------------------------------------------------------------------------

DETECTORS: dict[str, Callable[[], AnomalyDetector]] = {
    "autoencoder": lambda: AnomalyDetector(Autoencoder(2, **BRIEF)),
    "autoencoder, plain errors": lambda: AnomalyDetector(Autoencoder(2, **BRIEF), measure="error", false_alarms=0.1),
    "vae, by its own score": lambda: AnomalyDetector(VAE(2, **BRIEF), measure="own"),
    "adversarial": lambda: AnomalyDetector(AdversarialAutoencoder(2, **BRIEF)),
    "pca": lambda: AnomalyDetector(PCA(2), n_neighbours=3, n_components=2, random_state=7),
    "pca, whitened": lambda: AnomalyDetector(PCA(0.8, whiten=True), random_state=np.int64(3)),  # type: ignore[arg-type]  # scikit-learn takes it
    "pca of scikit-learn": lambda: AnomalyDetector(decomposition.PCA(3, svd_solver="full"), measure="error"),
    "likelihood of scikit-learn's pca": lambda: AnomalyDetector(decomposition.PCA(3), measure="own"),
}


def equal_detectors(one: AnomalyDetector, two: AnomalyDetector, data: Any) -> None:
    assert same(one.score_samples(data), two.score_samples(data))
    assert same(one.p_values(data), two.p_values(data))
    assert same(one.predict(data), two.predict(data))
    mine, its = one.baseline_scores(data), two.baseline_scores(data)
    assert list(mine) == list(its)
    assert all(same(mine[name], its[name]) for name in mine)
    if one._how != "own":
        assert same(one.contributions(data), two.contributions(data))
    for name in ("offset_", "false_alarm_rate_", "false_alarm_interval_", "n_features_in_"):
        assert getattr(one, name) == getattr(two, name), name
    assert same(one.calibration_rows_, two.calibration_rows_)
    assert same(one.calibration_scores_, two.calibration_scores_)
    first, second = one.examine(data), two.examine(data)
    assert first.to_frame().equals(second.to_frame())


@pytest.mark.parametrize("make", DETECTORS.values(), ids=DETECTORS)
@pytest.mark.parametrize("kind", ["array", "frame"])
def test_a_detector_comes_back_to_the_last_bit(
    make: Callable[[], AnomalyDetector], kind: str, rows: Doubles, frame: pd.DataFrame, tmp_path: Path
) -> None:
    data = rows if kind == "array" else frame
    detector = make().fit(data)
    detector.save(tmp_path / "detector")
    again = embedkit.load(tmp_path / "detector", verify=True)
    assert type(again) is AnomalyDetector
    assert type(again.model_) is type(detector.model_)
    equal_detectors(detector, again, data)
    assert (again.measure, again.false_alarms, again.prefit) == (detector.measure, detector.false_alarms, False)
    again.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "detector").read_bytes()
    if kind == "frame":
        assert list(again.feature_names_in_) == list("uvwxyz")
        with pytest.raises(ValueError, match="feature names"):
            again.score_samples(frame.rename(columns={"u": "a"}))
    # Fitted anew, it learns the same, the model having been made of the same parameters.
    if "whitened" not in str(make):
        equal_detectors(clone(again).fit(data), detector, data)


def test_the_default_detector_of_pictures_comes_back(digits: Images, tmp_path: Path) -> None:
    detector = AnomalyDetector(random_state=2)
    brief = Autoencoder(8, architecture="dense", noise=0.5, **BRIEF)
    with pytest.MonkeyPatch.context() as patch:  # the default trains for 1,000 steps
        patch.setattr("embedkit.latent.anomalies.default_model", lambda *_, **__: brief)
        detector.fit(digits)
    detector.save(tmp_path / "detector")
    again = embedkit.load(tmp_path / "detector")
    equal_detectors(detector, again, digits)
    assert again.model is None
    arrays, _ = read_tensors(tmp_path / "detector")
    assert arrays["neighbours"].dtype == np.uint8  # as they came
    colour = images.Images(np.stack([digits.pixels] * 3, axis=3))
    detector = AnomalyDetector(Autoencoder(4, channels=(4,), **BRIEF)).fit(colour)
    detector.save(tmp_path / "colour")
    equal_detectors(detector, embedkit.load(tmp_path / "colour"), colour)


@pytest.mark.parametrize("model", [PCA(2), Autoencoder(2, **BRIEF)], ids=["pca", "autoencoder"])
def test_a_model_that_was_fitted_before_stays_the_model(model: Any, frame: pd.DataFrame, tmp_path: Path) -> None:
    detector = AnomalyDetector(clone(model).fit(frame), prefit=True).fit(frame)
    detector.save(tmp_path / "detector")
    again = embedkit.load(tmp_path / "detector")
    equal_detectors(detector, again, frame)
    assert again.model is again.model_
    equal_detectors(clone(again).fit(frame), detector, frame)


def test_scores_are_the_same_in_a_fresh_process(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_parquet(tmp_path / "rows.parquet")
    expected = []
    for name in ("autoencoder", "pca"):
        detector = DETECTORS[name]().fit(frame)
        detector.save(tmp_path / name)
        expected += [detector.score_samples(frame), *detector.baseline_scores(frame).values()]
    classifier = EncoderClassifier(Autoencoder(2, **BRIEF).fit(frame), head="svm").fit(frame, np.arange(len(frame)) % 3)
    classifier.save(tmp_path / "classifier")
    program = """
        import sys, numpy as np, pandas as pd, torch, embedkit
        torch.set_num_threads(1)
        rows, found = pd.read_parquet("rows.parquet"), []
        for name in ("autoencoder", "pca"):
            detector = embedkit.load(name)
            found += [detector.score_samples(rows), *detector.baseline_scores(rows).values()]
        np.save("scores", np.stack(found))
        np.save("classes", embedkit.load("classifier").predict(rows))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, check=True)
    assert same(np.load(tmp_path / "scores.npy"), np.stack(expected))
    assert same(np.load(tmp_path / "classes.npy"), classifier.predict(frame))


@settings(max_examples=8, deadline=None)
@given(
    n=st.integers(4, 40), d=st.integers(1, 5), seed=st.integers(0, 99), scale=st.sampled_from([1e-6, 1.0, 1e9]),
    single=st.booleans(),
)  # fmt: skip
def test_any_rows_come_back(
    n: int, d: int, seed: int, scale: float, single: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = np.random.default_rng(seed).normal(size=(n, d)) * scale
    data = rows.astype(np.float32) if single else rows
    detector = AnomalyDetector(PCA(1), random_state=seed).fit(data)
    path = tmp_path_factory.mktemp("any") / "detector"
    detector.save(path)
    equal_detectors(detector, embedkit.load(path), data)


def test_what_no_file_can_hold_is_refused(rows: Doubles, tmp_path: Path) -> None:
    path = tmp_path / "file"
    for one in (AnomalyDetector(PCA(1)), EncoderClassifier(PCA(1).fit(rows))):
        with pytest.raises(NotFittedError):
            one.save(path)
    with pytest.raises(BadInput, match="principal components, not IsolationForest"):
        AnomalyDetector(IsolationForest(n_estimators=3, random_state=0)).fit(rows).save(path)
    own = Autoencoder(2, encoder=nn.Linear(6, 2), **BRIEF)
    with pytest.raises(BadInput, match="the model's encoder were given by you"):
        AnomalyDetector(own).fit(rows).save(path)
    with pytest.raises(BadInput, match="not StandardScaler"):
        EncoderClassifier(StandardScaler().fit(rows)).fit(rows, np.arange(90) % 2).save(path)
    strange = np.array([1 + 2j, 3] * 45)
    classifier = EncoderClassifier(PCA(2).fit(rows)).fit(rows, np.arange(90) % 2)
    classifier.classes_ = np.unique(strange)
    with pytest.raises(BadInput, match="classes are complex128: a file holds numbers or text"):
        classifier.save(path)
    assert not path.exists()


def test_a_save_that_fails_leaves_the_old_file(rows: Doubles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "detector"
    DETECTORS["pca"]().fit(rows).save(path)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("embedkit.files.store._bytes", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises((BadFile, OSError), match="No space left"):
            DETECTORS["autoencoder"]().fit(rows).save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["detector"]


# -- classifiers -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoders(rows: Doubles, frame: pd.DataFrame) -> dict[str, Any]:
    return {"latent": Autoencoder(3, **BRIEF).fit(frame), "vae": VAE(3, **BRIEF).fit(frame), "pca": PCA(3).fit(frame)}


@pytest.mark.parametrize("head", ["linear", "svm", "knn", "fine-tuned"])
@pytest.mark.parametrize("encoder", ["latent", "vae", "pca"])
@pytest.mark.parametrize("named", ["two numbers", "text", "objects"])
def test_a_classifier_comes_back_to_the_last_bit(
    head: Any, encoder: str, named: str, encoders: dict[str, Any], frame: pd.DataFrame,
    classes: npt.NDArray[np.int64], tmp_path: Path,
) -> None:  # fmt: skip
    if (head, encoder) == ("fine-tuned", "pca"):
        pytest.skip("components have no net")
    truth: Any = {"two numbers": classes // 3 + 5, "text": np.array(["a", "bcd", "é", "z", "zz"])[classes],
                  "objects": np.array(["a", "bcd", "é", "z", "zz"], dtype=object)[classes]}[named]  # fmt: skip
    how: dict[str, Any] = {"fine_tune": True, "steps": 6} if head == "fine-tuned" else {"head": head}
    classifier = EncoderClassifier(encoders[encoder], C=2.0, n_neighbours=3, n_jobs=1, **how).fit(frame, truth)
    classifier.save(tmp_path / "classifier")
    again = embedkit.load(tmp_path / "classifier", verify=True)
    assert type(again) is EncoderClassifier
    assert again.classes_.dtype == classifier.classes_.dtype
    assert again.predict(frame).tolist() == classifier.predict(frame).tolist()
    assert again.predict(frame).dtype == classifier.predict(frame).dtype
    assert again.history_ == classifier.history_
    if head == "svm":
        codes = classifier._codes(frame)
        assert same(again.head_.decision_function(codes), classifier.head_.decision_function(codes))
    else:
        assert same(again.predict_proba(frame), classifier.predict_proba(frame))
    assert list(again.feature_names_in_) == list("uvwxyz")
    again.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "classifier").read_bytes()
    assert clone(again).fit(frame, truth).predict(frame).tolist() == classifier.predict(frame).tolist()


def test_a_fine_tuned_classifier_keeps_its_encoder_apart(
    encoders: dict[str, Any], frame: pd.DataFrame, classes: npt.NDArray[np.int64], tmp_path: Path
) -> None:
    model = encoders["latent"]
    classifier = EncoderClassifier(model, fine_tune=True, steps=20, n_jobs=1).fit(frame, classes)
    classifier.save(tmp_path / "classifier")
    again = embedkit.load(tmp_path / "classifier")
    assert same(again.encoder.transform(frame), model.transform(frame))
    weights = [value.numpy() for value in again.net_[0].state_dict().values()]
    assert not all(same(*pair) for pair in zip(weights, model.encoder_.state_dict().values(), strict=True))


# -- damaged and forged files ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(rows: Doubles, frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("saved")
    truth = np.arange(len(rows)) % 3
    model = Autoencoder(2, **BRIEF).fit(frame)
    made: dict[str, Any] = {
        "detector": AnomalyDetector(Autoencoder(2, **BRIEF)).fit(frame),
        "components": AnomalyDetector(PCA(2)).fit(rows),
        "linear": EncoderClassifier(model).fit(frame, truth),
        "svm": EncoderClassifier(PCA(2).fit(rows), head="svm").fit(rows, truth),
        "knn": EncoderClassifier(PCA(2).fit(rows), head="knn").fit(rows, truth),
        "tuned": EncoderClassifier(model, fine_tune=True, steps=2).fit(frame, truth),
    }
    for name, one in made.items():
        one.save(folder / name)
    return {name: folder / name for name in made}


@pytest.mark.parametrize("name", ["components", "svm", "tuned"])
def test_no_damage_goes_unseen(name: str, saved: dict[str, Path], tmp_path: Path) -> None:
    whole = saved[name].read_bytes()
    rng, path = np.random.default_rng(0), tmp_path / "damaged"
    places = [*range(8), *rng.integers(8, len(whole), 60).tolist()]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(BadFile) as error:
            embedkit.load(path)
        assert "\n" not in str(error.value)
        path.write_bytes(whole[:place])
        with pytest.raises(BadFile):
            embedkit.load(path)


def forged(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], object], to: Path) -> None:
    """A file with right checksums whose content `change` has changed."""
    arrays, about = read_tensors(path)
    mine = {name: np.array(array) for name, array in arrays.items()}
    about.pop("sha256")
    change(mine, about)
    write_tensors(mine, about, to)


def changed(name: str, to: Any) -> Callable[[dict[str, Any], dict[str, Any]], object]:
    """Put an array, or what a function makes of it."""
    return lambda arrays, _: arrays.update({name: to(arrays[name]) if callable(to) else to})


def without(name: str) -> Callable[[dict[str, Any], dict[str, Any]], object]:
    return lambda arrays, about: arrays.pop(name, None) is None and about.pop(name)


def said(name: str, value: Any) -> Callable[[dict[str, Any], dict[str, Any]], object]:
    """Have the description say something else."""
    return lambda _, about: about.update({name: value(about[name]) if callable(value) else value})


FORGED: list[tuple[str, Any, str]] = [
    *[("components", without(f"held/{name}"), f"'held/{name}' is missing") for name in ("model", "pca", "ppca", "knn")],
    *[("components", without(name), f"'{name}' is missing") for name in
      ("rank", "kind", "names", "noise", "usual", "model", "by_column", "default", "parameters", "neighbours", "mean")],
    ("components", changed("held/model", lambda a: a[::-1].copy()), "not in order"),
    ("components", changed("held/knn", lambda a: a[1:].copy()), "'held/knn' is float64 of shape"),
    ("components", changed("usual/pca", lambda a: a * np.nan), "'usual/pca' holds a number that is not finite"),
    ("components", changed("usual/model", lambda a: a * 0), "what errors usually are"),
    ("components", changed("components/variances", lambda a: -a), "not above 0"),
    ("components", changed("components/directions", lambda a: a[:, 1:].copy()), "expected float64 of (any, 6)"),
    ("components", changed("components/mean", lambda a: a.astype(np.float32)), "is float32"),
    ("components", changed("neighbours", lambda a: a[:, :2].copy()), "expected rows of 6 numbers"),
    ("components", changed("neighbours", lambda a: np.zeros((4, 6), np.uint8)), "expected rows of 6 numbers"),
    ("components", changed("neighbours", lambda a: a * np.inf), "not finite"),
    ("components", changed("calibration_rows", lambda a: a[::-1].copy()), "no numbers of rows"),
    ("components", changed("calibration_rows", np.zeros(0, np.int64)), "no numbers of rows"),
    ("components", changed("model/components", np.zeros((2, 5))), "expected float64 of (5)"),
    ("components", changed("model/mean", np.full(6, np.inf)), "not finite"),
    ("components", said("rank", 99), "the threshold is to be score 99"),
    ("components", said("rank", 0), "the threshold is to be score 0"),
    ("components", said("noise", 0.0), "not above 0"),
    ("components", said("names", ["a"]), "1 names for 6 columns"),
    ("components", said("usual", {"model": [0.0, 0.0], "pca": [0.0, 0.0, 1.0]}), "not what was expected"),
    ("components", said("model", lambda m: {**m, "class": "os.system"}), "metadata is not what was expected"),
    ("components", said("model", lambda m: {**m, "samples": "many"}), "make no sense"),
    ("components", said("model", lambda m: {**m, "parameters": {"n_components": 2, "code": 1}}), "not what was"),
    ("components", said("parameters", lambda p: {**p, "measure": "worst"}), "measure is one of"),
    ("components", said("parameters", lambda p: {**p, "measure": "smoothed"}), "only errors of pictures"),
    ("components", said("parameters", lambda p: {**p, "more": 1}), "not what was expected"),
    ("components", said("kind", lambda k: {**k, "shape": [7], "given": [7], "scaling": "none"}),
     "its model is of rows of 6 numbers"),
    ("detector", said("kind", lambda k: {**k, "names": None, "shape": [3], "given": [3]}), "columns"),
    ("detector", without("model/weights/encoder.1.weight"), "its weights are"),
    ("detector", said("class", "EncoderClassifier"), "not what was expected"),
    ("linear", said("class", "AnomalyDetector"), "not what was expected"),
    ("linear", said("width", 5), "6 names for 5 columns"),
    ("svm", said("width", 5), "its encoder takes rows of 6 numbers"),
    ("linear", said("width", "6"), "make no sense"),
    ("linear", said("history", 3), "its history is none"),
    ("linear", said("rows", 0), "fitted to 0 rows"),
    ("linear", changed("classes", np.array([2, 1, 0])), "not in order"),
    ("linear", changed("classes", np.zeros((2, 2))), "'classes' are float64"),
    ("linear", changed("head/coefficients", lambda a: a[:2].copy()), "'head/coefficients' is float64 of shape (2, 2)"),
    ("linear", changed("scaler/scale", lambda a: -a), "not above 0"),
    ("linear", said("parameters", lambda p: {**p, "head": "tree"}), "head is one of"),
    ("linear", said("parameters", lambda p: {**p, "fine_tune": True}), "'0.1.weight' is missing"),
    ("knn", changed("head/classes", lambda a: a * 0), "other classes than there are"),
    ("knn", changed("head/codes", lambda a: a[1:].copy()), "'head/classes' is int64 of shape (90,)"),
    ("svm", said("gamma", -1.0), "gamma is -1.0"),
    ("svm", changed("head/counts", lambda a: a + 1), "not of"),
    ("svm", changed("head/inner_weights", lambda a: a[1:].copy()), "'head/inner_weights' is float64"),
    ("svm", changed("head/rows", lambda a: a.astype(np.float64)), "whole numbers"),
    ("tuned", without("net/1.bias"), "'1.bias' is missing"),
    ("tuned", changed("net/2.bias", np.zeros(3, np.float32)), "another net ('net/2.bias')"),
    ("tuned", changed("net/1.weight", lambda a: a * np.float32("nan")), "not finite"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "message"), FORGED, ids=[f"{n}: {m}" for n, _, m in FORGED])
def test_a_forged_file_is_refused(name: str, change: Any, message: str, saved: dict[str, Path], tmp_path: Path) -> None:
    forged(saved[name], change, tmp_path / "forged")
    with pytest.raises(BadFile) as error:
        embedkit.load(tmp_path / "forged")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_forged_text_class_is_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    truth = np.array(["a", "b"])[np.arange(len(frame)) % 2]
    EncoderClassifier(PCA(2).fit(frame)).fit(frame, truth).save(tmp_path / "whole")
    for change, message in (
        (said("classes", ["a", 3]), "neither numbers nor text"),
        (said("classes", ["a"]), "fewer than two"),
        (said("text", 2**40), "text of"),
        (said("text", "<U1"), "text of"),
    ):
        forged(tmp_path / "whole", change, tmp_path / "forged")
        with pytest.raises(BadFile, match=message):
            embedkit.load(tmp_path / "forged")


def test_labels_of_embeddings_stay(rows: Doubles, tmp_path: Path) -> None:
    data = Embedding([f"r{i}" for i in range(len(rows))], rows)
    AnomalyDetector(PCA(2)).fit(data).save(tmp_path / "detector")
    assert embedkit.load(tmp_path / "detector").contributions(data).labels[3] == "r3"
