"""Classifiers on codes: heads, fine-tuning that leaves the encoder alone, and what few labels are worth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from scipy.stats import t as student
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from embedkit import PCA, images
from embedkit.errors import BadInput
from embedkit.images import Images
from embedkit.latent import Autoencoder
from embedkit.latent.classify import EncoderClassifier, moved
from embedkit.latent.efficiency import (
    MOVED_SVM,
    SCRATCH,
    SVM,
    RowsSVM,
    balanced_draw,
    label_efficiency,
    mean_interval,
    methods_for,
)
from embedkit.latent.training import Batch

Array = npt.NDArray[Any]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits() -> Images:
    return images.named("digits")


@pytest.fixture(scope="module")
def model(digits: Images) -> Autoencoder:
    return Autoencoder(16, epochs=15, n_jobs=1, random_state=0).fit(digits.head(1200))


class Same(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """An encoder that gives rows back."""

    def transform(self, rows: Any) -> Array:
        return np.asarray(rows, dtype=float).reshape(len(rows), -1)


def truth(pictures: Images) -> Array:
    assert pictures.classes is not None
    return pictures.classes


# -- frozen -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "plain"),
    [
        ({"head": "linear", "C": 0.3}, LogisticRegression(C=0.3, max_iter=5000)),
        ({"head": "knn", "n_neighbours": 3}, KNeighborsClassifier(3)),
        ({"head": "svm", "C": 4.0}, SVC(C=4.0)),
    ],
)
def test_a_frozen_head_is_scikit_learns_on_standardised_codes(
    parameters: dict[str, Any], plain: Any, digits: Images, model: Autoencoder
) -> None:
    train, test = digits.head(300), digits.take(range(1200, 1797))
    found = EncoderClassifier(model, **parameters).fit(train, truth(train))
    codes, test_codes = (np.asarray(model.transform(part).vectors, dtype=float) for part in (train, test))
    scaler = StandardScaler().fit(codes)
    wanted = plain.fit(scaler.transform(codes), truth(train)).predict(scaler.transform(test_codes))
    assert np.array_equal(found.predict(test), wanted)
    assert found.score(test, truth(test)) > 0.75
    assert found.net_ is None
    assert found.history_ == []


def test_classes_are_what_they_were(digits: Images, model: Autoencoder) -> None:
    names = np.array([f"digit {c}" for c in truth(digits)])
    found = EncoderClassifier(model).fit(digits.head(200), names[:200])
    assert found.predict(digits.head(5)).dtype.kind == "U"
    assert list(found.classes_) == [f"digit {c}" for c in range(10)]
    odds = found.predict_proba(digits.head(5))
    assert odds.shape == (5, 10)
    np.testing.assert_allclose(odds.sum(axis=1), 1)
    assert found.n_features_in_ == 64


def test_rows_may_have_any_shape_that_the_encoder_takes(digits: Images, model: Autoencoder) -> None:
    by = EncoderClassifier(model).fit(digits.head(200), truth(digits)[:200])
    again = EncoderClassifier(model).fit(digits.pixels[:200].reshape(200, 64), truth(digits)[:200])
    assert np.array_equal(by.predict(digits.pixels[200:250]), again.predict(digits.take(range(200, 250))))
    frame = pd.DataFrame(digits.to_embedding().vectors)
    on_frame = EncoderClassifier(PCA(8).fit(frame)).fit(frame.head(200), truth(digits)[:200])
    assert on_frame.score(frame, truth(digits)) > 0.75


def test_it_lives_in_scikit_learns_tools(digits: Images) -> None:
    rows = digits.to_embedding().vectors
    frozen = EncoderClassifier(PCA(16).fit(rows))
    assert cross_val_score(frozen, rows[:600], truth(digits)[:600], cv=3).mean() > 0.8
    assert clone(frozen).encoder is frozen.encoder
    assert clone(frozen).set_params(C=7.0).get_params()["C"] == 7.0


@parametrize_with_checks([EncoderClassifier(Same(), head="knn", n_neighbours=1)])  # type: ignore[untyped-decorator]
def test_scikit_learns_own_checks_pass(estimator: Any, check: Any) -> None:
    check(estimator)


# -- fine-tuned -------------------------------------------------------------------------------------------------------


def test_fine_tuning_helps_and_leaves_the_encoder_alone(digits: Images, model: Autoencoder) -> None:
    train, test = digits.head(400), digits.take(range(1200, 1797))
    before = {name: value.clone() for name, value in model.encoder_.state_dict().items()}
    frozen = EncoderClassifier(model).fit(train, truth(train))
    tuned = EncoderClassifier(model, fine_tune=True, steps=150, n_jobs=1).fit(train, truth(train))
    assert tuned.score(test, truth(test)) > frozen.score(test, truth(test))
    assert all(torch.equal(value, before[name]) for name, value in model.encoder_.state_dict().items())
    assert not any(p.requires_grad for p in model.encoder_.parameters())
    assert tuned.head_ is None
    assert tuned.history_[-1]["loss"] < tuned.history_[0]["loss"]
    odds = tuned.predict_proba(test)
    np.testing.assert_allclose(odds.sum(axis=1), 1)
    assert np.array_equal(tuned.classes_[odds.argmax(axis=1)], tuned.predict(test))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_fine_tuning_begins_as_the_logistic_regression(n_classes: int, digits: Images, model: Autoencoder) -> None:
    some = digits.take(np.flatnonzero(truth(digits) < n_classes)[:150])
    frozen = EncoderClassifier(model, C=0.5).fit(some, truth(some))
    tuned = EncoderClassifier(model, C=0.5, fine_tune=True, steps=1, learning_rate=1e-9).fit(some, truth(some))
    np.testing.assert_allclose(tuned.predict_proba(some), frozen.predict_proba(some), atol=2e-4)


def test_a_seed_repeats_bit_for_bit(digits: Images, model: Autoencoder) -> None:
    some = digits.head(100)

    def fitted(seed: int) -> Array:
        made = EncoderClassifier(model, fine_tune=True, steps=8, shift=1, turn=10, n_jobs=1, random_state=seed)
        return made.fit(some, truth(some)).predict_proba(some)

    assert np.array_equal(fitted(1), fitted(1))
    assert not np.array_equal(fitted(1), fitted(2))


def test_a_row_is_told_alike_alone_and_in_any_batch(digits: Images, model: Autoencoder) -> None:
    tuned = EncoderClassifier(model, fine_tune=True, steps=8, n_jobs=1).fit(digits.head(100), truth(digits)[:100])
    together = tuned.predict_proba(digits.head(50))
    assert np.array_equal(tuned.predict_proba(digits.take([7])), together[7:8])


def batch_of(pictures: Array) -> Batch:
    rows = torch.from_numpy(pictures.astype(np.float32))
    return Batch(rows, torch.arange(len(rows)), 0, 0, 0.0, torch.Generator().manual_seed(0))


def test_moved_pictures_stay_within_what_was_said() -> None:
    picture = np.zeros((200, 1, 9, 15))
    picture[:, 0, 4, 7] = 1.0
    still = moved(batch_of(picture), 0, 0, 0).numpy()
    np.testing.assert_allclose(still, picture, atol=1e-5)
    rows, columns = np.mgrid[:9, :15]
    shifted = moved(batch_of(picture), 2.0, 0, 0).numpy()[:, 0]
    mass = shifted.sum(axis=(1, 2))
    np.testing.assert_allclose(mass, 1, atol=1e-4)
    down = (shifted * rows).sum(axis=(1, 2)) - 4
    right = (shifted * columns).sum(axis=(1, 2)) - 7
    assert 1.8 < np.abs(down).max() <= 2.001
    assert 1.8 < np.abs(right).max() <= 2.001
    # Turned about the middle, a dot three pixels to the right stays three pixels away, in an oblong picture too.
    dot = np.zeros((200, 1, 9, 15))
    dot[:, 0, 4, 10] = 1.0
    turned = moved(batch_of(dot), 0, 30, 0).numpy()[:, 0]
    mass = turned.sum(axis=(1, 2))
    down, right = ((turned * axis).sum(axis=(1, 2)) / mass for axis in (rows - 4, columns - 7))
    np.testing.assert_allclose(np.hypot(down, right), 3, atol=0.35)
    angles = np.rad2deg(np.arctan2(down, right))
    assert 27 < np.abs(angles).max() < 33
    zoomed = moved(batch_of(dot), 0, 0, 0.3).numpy()[:, 0]
    right = (zoomed * (columns - 7)).sum(axis=(1, 2)) / zoomed.sum(axis=(1, 2))
    assert 3 * 0.65 < right.min() < 3 * 0.8
    assert 3 * 1.2 < right.max() < 3 * 1.4


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"head": "tree"}, "head is one of linear, svm, knn"),
        ({"C": 0}, "C must be a number"),
        ({"steps": 0}, "steps must be a whole number from 1"),
        ({"encoder": object()}, "a fitted model with transform, not object"),
        ({"encoder": PCA(2), "fine_tune": True}, "PCA has no net to fine-tune"),
        ({"encoder": Autoencoder(4), "fine_tune": True}, "has no net to fine-tune, or is not fitted"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(
    parameters: dict[str, Any], message: str, digits: Images, model: Autoencoder
) -> None:
    with pytest.raises(BadInput, match=message):
        EncoderClassifier(**{"encoder": model, **parameters}).fit(digits.head(50), truth(digits)[:50])


def test_classes_that_make_no_sense_are_refused(digits: Images, model: Autoencoder) -> None:
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        EncoderClassifier(model).fit(digits.head(50), truth(digits)[:49])
    with pytest.raises(BadInput, match="two or more classes"):
        EncoderClassifier(model).fit(digits.head(50), np.ones(50))
    rows = np.random.default_rng(0).normal(size=(40, 5))
    flat = Autoencoder(2, epochs=1, n_jobs=1, random_state=0).fit(rows)
    with pytest.raises(BadInput, match="only pictures can be shifted"):
        EncoderClassifier(flat, fine_tune=True, shift=1).fit(rows, np.arange(40) % 2)
    with pytest.raises(BadInput, match="no probabilities"):
        EncoderClassifier(flat, head="svm").fit(rows, np.arange(40) % 2).predict_proba(rows)


# -- few labels -------------------------------------------------------------------------------------------------------


def test_draws_are_balanced(rng: np.random.Generator) -> None:
    classes = rng.integers(0, 3, 500)
    pool = np.arange(100, 500)
    drawn = balanced_draw(classes, pool, 31, rng)
    assert len(np.unique(drawn)) == 31
    assert drawn.min() >= 100
    assert sorted(np.bincount(classes[drawn])) == [10, 10, 11]
    with pytest.raises(BadInput, match="2 labels are fewer than the 3 classes"):
        balanced_draw(classes, pool, 2, rng)
    with pytest.raises(BadInput, match=r"class \d has \d+ rows to draw from, 300 are wanted"):
        balanced_draw(classes, pool, 900, rng)


def test_the_mean_has_students_interval(rng: np.random.Generator) -> None:
    values = rng.normal(size=12)
    mean, low, high = mean_interval(values)
    wanted = student.interval(0.95, 11, loc=values.mean(), scale=values.std(ddof=1) / np.sqrt(12))
    assert mean == values.mean()
    assert (low, high) == pytest.approx(wanted)
    assert np.isnan(mean_interval(values[:1])[1])


class Remembers(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Right on a share of the rows; keeps what it was given."""

    seen: list[tuple[float, frozenset[int], int]] = []  # noqa: RUF012  # shared over copies on purpose

    def __init__(self, share: float = 1.0) -> None:
        self.share = share

    def fit(self, rows: Array, classes: Array) -> Remembers:
        self.trained = frozenset(rows[:, 0].astype(int).tolist())
        return self

    def predict(self, rows: Array) -> Array:
        self.seen.append((self.share, self.trained, len(rows)))
        right: Array = rows[:, 1].astype(int)
        return np.where(np.arange(len(rows)) < self.share * len(rows), right, -1)


def test_settings_are_chosen_on_validation_rows_and_draws_are_shared(rng: np.random.Generator) -> None:
    Remembers.seen.clear()
    classes = rng.integers(0, 4, 600)
    rows = np.stack([np.arange(600), classes], axis=1).astype(float)
    report = label_efficiency(
        PCA(1).fit(rows), rows[:500], classes[:500], rows[500:], classes[500:], sizes=(8, 20), draws=3, validation=150,
        methods={"a": [Remembers(0.2), Remembers(0.9), Remembers(0.5)], "b": [Remembers(0.6)]},
    )  # fmt: skip
    assert report.chosen == (("share=0.9", "share=0.9"), ("", ""))
    np.testing.assert_allclose(report.accuracies[0], 0.9)
    np.testing.assert_allclose(report.accuracies[1], 0.6)
    tested = [(share, drawn) for share, drawn, n in Remembers.seen if n == 100]
    tuned = [(share, drawn) for share, drawn, n in Remembers.seen if n == 150]
    assert len(tested) == 2 * 2 * 3  # sizes, methods, draws: only the chosen setting meets the test rows
    assert {share for share, _ in tested} == {0.9, 0.6}
    a, b = ([drawn for share, drawn in tested if share == value] for value in (0.9, 0.6))
    assert a == b
    assert len({*a}) == 6
    assert [len(drawn) for drawn in a] == [8] * 3 + [20] * 3
    assert not {drawn for _, drawn in tuned} & {*a}
    # The rows set aside are in no draw.
    assert len(frozenset().union(*a, *(drawn for _, drawn in tuned))) <= 350


def test_the_report_tells_means_and_paired_differences(rng: np.random.Generator) -> None:
    classes = rng.integers(0, 3, 400)
    rows = rng.normal(size=(400, 4)) + 2 * np.eye(3, 4)[classes]
    model = PCA(2).fit(rows)
    report = label_efficiency(
        model, rows[:300], classes[:300], rows[300:], classes[300:], sizes=(12, 60), draws=5, validation=50,
    )  # fmt: skip
    assert report.methods == ("frozen, linear", "frozen, knn", "frozen, svm", SVM)
    assert report.accuracies.shape == (4, 2, 5)
    frame = report.to_frame()
    assert len(frame) == 8
    assert (frame["low"] <= frame["accuracy"]).all()
    gap = report.difference("frozen, linear", SVM, 60)
    assert gap == mean_interval(report.accuracies[0, 1] - report.accuracies[3, 1])
    assert "12, 60 labels, 5 draws" in repr(report)
    with pytest.raises(BadInput, match="no method 'x'"):
        report.difference("x", SVM, 60)
    with pytest.raises(BadInput, match="13 labels were not tried, but 12, 60"):
        report.difference(SVM, SVM, 13)


def test_what_a_net_is_compared_with_has_the_same_net_and_settings(digits: Images, model: Autoencoder) -> None:
    found = methods_for(model, digits.head(300), steps=7)
    assert MOVED_SVM in methods_for(model, digits.head(300), shift=1.0)
    assert list(found) == ["frozen, linear", "frozen, knn", "frozen, svm", "fine-tuned", SCRATCH, SVM]
    ours, theirs = ([one.get_params(deep=False) for one in found[name]] for name in ("fine-tuned", SCRATCH))
    for a, b in zip(ours, theirs, strict=True):
        assert {**a, "encoder": 0} == {**b, "encoder": 0}
        assert a["steps"] == 7
    scratch = theirs[0]["encoder"]
    assert scratch is not model
    shapes = [[tuple(p.shape) for p in one.encoder_.parameters()] for one in (model, scratch)]
    assert shapes[0] == shapes[1]
    assert not np.allclose(scratch.transform(digits.pixels[:5]), model.transform(digits.pixels[:5]))


def test_an_encoder_that_learned_is_worth_labels(digits: Images, model: Autoencoder) -> None:
    test = digits.take(range(1200, 1797))
    methods = {
        name: some[2:3] for name, some in methods_for(model, digits.head(300), steps=40, n_jobs=1).items()
        if name in ("fine-tuned", SCRATCH)
    }  # fmt: skip
    report = label_efficiency(
        model, digits.head(1200), truth(digits)[:1200], test, truth(test), sizes=(50,), draws=3, validation=100,
        methods=methods,
    )  # fmt: skip
    assert report.difference("fine-tuned", SCRATCH, 50)[0] > 0


def test_the_svm_on_inputs_is_scikit_learns(rng: np.random.Generator) -> None:
    pixels, classes = rng.random((60, 3, 4)), rng.integers(0, 3, 60)
    flat = pixels.reshape(60, 12)
    theirs = SVC(C=2.0, gamma=0.5 / (12 * flat.var())).fit(flat, classes)
    assert np.array_equal(RowsSVM(2.0, 0.5).fit(pixels, classes).predict(pixels), theirs.predict(flat))
    wide = flat * 100 - 3
    scaled = (wide - wide.mean(axis=0)) / wide.std(axis=0)
    theirs = SVC(C=2.0).fit(scaled, classes)
    assert np.array_equal(RowsSVM(2.0).fit(wide, classes).predict(wide), theirs.predict(scaled))


def test_moved_copies_are_of_the_same_classes_and_of_pictures_only(digits: Images) -> None:
    some, test = digits.head(60), digits.take(range(1200, 1797))
    plain = RowsSVM(10.0).fit(some, truth(some))
    more = RowsSVM(10.0, copies=6, shift=0.7, turn=10).fit(some, truth(some))
    assert more._svm.shape_fit_ == (60 * 7, 64)
    assert more.score(test, truth(test)) > plain.score(test, truth(test))
    with pytest.raises(BadInput, match="copies are of pictures"):
        RowsSVM(copies=2).fit(digits.to_embedding().vectors[:60], truth(some))
