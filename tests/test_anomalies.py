"""Anomalies: scores that fall into parts, a false-alarm rate that holds, baselines beside."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter
from sklearn import decomposition
from sklearn.base import clone
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.utils.estimator_checks import parametrize_with_checks

from embedkit import PCA, Embedding, images
from embedkit.errors import BadInput
from embedkit.latent import Autoencoder
from embedkit.latent.anomalies import AnomalyDetector, default_model
from embedkit.latent.baselines import area_under_roc, fit_components
from embedkit.latent.counting import Counting
from embedkit.latent.findings import average_precision

Doubles = npt.NDArray[np.float64]


@parametrize_with_checks([AnomalyDetector(PCA(1))])  # type: ignore[untyped-decorator]
def test_scikit_learns_own_checks_pass(estimator: Any, check: Any) -> None:
    check(estimator)


def plane(rng: np.random.Generator, n: int) -> Doubles:
    """Rows near a plane in six dimensions, whose columns have very different units."""
    mixing = np.array([[1, 0.5, -1, 0, 0.2, 1], [0, 1, 1, -1, 0.3, 0.5]])
    noisy: Doubles = rng.normal(size=(n, 2)) @ mixing + 0.05 * rng.normal(size=(n, 6))
    return noisy * [1, 10, 100, 1, 0.1, 1] + 3


@pytest.fixture
def rows(rng: np.random.Generator) -> Doubles:
    return plane(rng, 600)


@pytest.fixture
def frame(rows: Doubles) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list("abcdef"), index=[f"r{i}" for i in range(len(rows))])


# -- the score --------------------------------------------------------------------------------------------------------


def test_the_error_of_pca_is_what_its_components_leave(rows: Doubles) -> None:
    detector = AnomalyDetector(PCA(2), measure="error", random_state=3).fit(rows)
    fitted = np.setdiff1d(np.arange(600), detector.calibration_rows_)
    mean, deviation = rows[fitted].mean(axis=0), rows[fitted].std(axis=0)
    standardised = (rows - mean) / deviation
    _, _, directions = np.linalg.svd(standardised[fitted], full_matrices=False)
    left = standardised - standardised @ directions[:2].T @ directions[:2]
    np.testing.assert_allclose(detector.score_samples(rows), -(left**2).mean(axis=1), rtol=1e-4, atol=1e-9)
    # PCA beside is of the same width here, if told so.
    beside = AnomalyDetector(PCA(2), measure="error", n_components=2, random_state=3).fit(rows).baseline_scores(rows)
    np.testing.assert_allclose(beside["pca"], detector.score_samples(rows), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("measure", ["error", "scaled"])
def test_contributions_add_up_to_the_score(measure: Any, rows: Doubles) -> None:
    detector = AnomalyDetector(PCA(2), measure=measure).fit(rows)
    parts = detector.contributions(rows)
    assert parts.shape == rows.shape
    assert (parts >= 0).all()
    np.testing.assert_allclose(-parts.sum(axis=1), detector.score_samples(rows), rtol=1e-12)


def test_scaled_errors_are_1_on_average_where_they_were_learned(rows: Doubles) -> None:
    detector = AnomalyDetector(PCA(2), measure="scaled").fit(rows)
    fitted = np.setdiff1d(np.arange(600), detector.calibration_rows_)
    # A tenth of the mean error is added to each feature's usual one.
    assert 0.85 < -detector.score_samples(rows[fitted]).mean() < 1


@pytest.mark.parametrize("column", range(6))
def test_the_column_that_was_changed_is_guilty(column: int, frame: pd.DataFrame) -> None:
    detector = AnomalyDetector(PCA(2)).fit(frame)
    odd = frame.iloc[:20].copy()
    odd.iloc[:, column] += 2 * frame.iloc[:, column].std()
    found = detector.examine(odd)
    first = found.to_frame()["guilty_1"]
    assert (first == "abcdef"[column]).mean() > 0.6
    assert found.anomalous.mean() > 0.9


def test_a_picture_moved_a_little_counts_less_than_one_with_a_hole() -> None:
    counting = Counting("smoothed", (1, 12, 12), sigma=1.0)
    picture = np.zeros((1, 12, 12))
    picture[0, 2:10, 5:7] = 1
    moved = np.roll(picture, 1, axis=2)
    hole = picture.copy()
    hole[0, 3:7, 5:7] = 0
    plain = [((one - picture) ** 2).sum() for one in (moved, hole)]
    blurred = [counting.squares((one - picture).reshape(1, -1)).sum() for one in (moved, hole)]
    assert plain[0] > plain[1]
    assert blurred[0] < blurred[1]


def test_smoothing_is_a_gaussian_blur_of_each_picture_and_channel(rng: np.random.Generator) -> None:
    residual = rng.normal(size=(3, 2, 7, 9))
    found = Counting("smoothed", (2, 7, 9), sigma=0.8).squares(residual.reshape(3, -1)).reshape(residual.shape)
    for picture, squares in zip(residual, found, strict=True):
        for channel, square in zip(picture, squares, strict=True):
            np.testing.assert_allclose(square, gaussian_filter(channel, 0.8, mode="nearest") ** 2)


def test_the_usual_error_goes_by_contrast(rng: np.random.Generator) -> None:
    values = rng.normal(size=(400, 9)) * rng.uniform(0.3, 3, (400, 1))
    errors = 0.2 * values.var(axis=1) ** 0.7 * np.exp(rng.normal(scale=0.01, size=400))
    usual = Counting("smoothed", (1, 3, 3)).usual(errors, np.ones(9), values)
    assert usual.power == pytest.approx(0.7, abs=0.03)
    np.testing.assert_allclose(usual.of(values)[:, 0], 0.2 * values.var(axis=1) ** 0.7, rtol=0.15)
    # A picture and its negative are alike; an empty one is not divided by nothing.
    np.testing.assert_allclose(usual.of(1 - values), usual.of(values))
    assert usual.of(np.zeros((1, 9)))[0, 0] > 0


def test_pictures_and_their_flat_rows_give_what_was_said() -> None:
    digits = images.named("digits")
    detector = AnomalyDetector(PCA(8)).fit(digits)
    flat = detector.contributions(digits.head(5))
    assert isinstance(flat, Embedding)
    assert flat.shape == (5, 64)
    np.testing.assert_allclose(-flat.vectors.sum(axis=1), detector.score_samples(digits.head(5)), rtol=1e-5)
    tensor = digits.pixels[:5]
    np.testing.assert_allclose(detector.score_samples(tensor), detector.score_samples(digits.head(5)))
    assert detector.examine(digits.head(2)).features[9] == "pixel 1,1"
    with pytest.raises(BadInput, match="only errors of pictures can be smoothed"):
        AnomalyDetector(PCA(2), measure="smoothed").fit(plane(np.random.default_rng(0), 50))


def test_a_model_that_does_not_decode_scores_in_its_own_way(rows: Doubles) -> None:
    detector = AnomalyDetector(GaussianMixture(2, random_state=0)).fit(rows)
    assert detector.predict(rows[:5]).shape == (5,)
    with pytest.raises(BadInput, match="has no parts"):
        detector.contributions(rows)
    assert detector.examine(rows).guilty.shape == (600, 0)
    with pytest.raises(BadInput, match="does not decode: its score is 'own', not 'error'"):
        AnomalyDetector(GaussianMixture(2), measure="error").fit(rows)


def test_a_model_fitted_before_is_taken_as_it_is(rows: Doubles) -> None:
    model = decomposition.PCA(2).fit(rows)
    before = model.components_.copy()
    detector = AnomalyDetector(model, prefit=True, measure="error").fit(rows[:200])
    assert detector.model_ is model
    assert np.array_equal(model.components_, before)
    back = model.inverse_transform(model.transform(rows))
    np.testing.assert_allclose(detector.score_samples(rows), -((rows - back) ** 2).mean(axis=1))


# -- the threshold ----------------------------------------------------------------------------------------------------


def test_the_threshold_is_the_kth_lowest_of_those_held_out(rows: Doubles) -> None:
    detector = AnomalyDetector(PCA(2), false_alarms=0.1, calibration=0.25).fit(rows)
    held = np.sort(detector.score_samples(rows[detector.calibration_rows_]))
    assert len(held) == 150
    assert detector.offset_ == held[14]  # 15 = floor(0.1 * 151)
    assert detector.false_alarm_rate_ == 15 / 151
    np.testing.assert_allclose(detector.decision_function(rows), detector.score_samples(rows) - held[14])
    assert np.array_equal(detector.predict(rows) == -1, detector.decision_function(rows) < 0)
    # p-values say the same.
    assert np.array_equal(detector.p_values(rows) <= detector.false_alarm_rate_, detector.predict(rows) == -1)
    assert detector.p_values(rows).min() >= 1 / 151


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3])
def test_the_false_alarm_rate_holds_on_average(rate: float) -> None:
    rates, promised, inside = [], [], 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        detector = AnomalyDetector(PCA(2), false_alarms=rate, random_state=seed).fit(plane(rng, 300))
        rates.append((detector.predict(plane(rng, 500)) == -1).mean())
        promised.append(detector.false_alarm_rate_)
        low, high = detector.false_alarm_interval_
        inside += low <= rates[-1] <= high
    error = np.std(rates) / np.sqrt(len(rates))
    assert abs(np.mean(rates) - np.mean(promised)) < 3.5 * error
    assert np.mean(promised) <= rate
    assert inside >= 32  # of 40; the 500 rows it is judged by add to the spread


def test_with_few_rows_the_rate_told_is_what_can_be_promised(rng: np.random.Generator) -> None:
    detector = AnomalyDetector(PCA(1), false_alarms=0.01).fit(plane(rng, 50))
    assert detector.false_alarm_rate_ == 1 / 11
    assert detector.offset_ == detector.calibration_scores_[0]


# -- labels, findings, reports ----------------------------------------------------------------------------------------


def test_what_comes_in_labelled_goes_out_labelled(frame: pd.DataFrame, rows: Doubles) -> None:
    detector = AnomalyDetector(PCA(2)).fit(frame)
    parts = detector.contributions(frame)
    assert isinstance(parts, pd.DataFrame)
    assert parts.index.equals(frame.index)
    assert list(parts.columns) == list("abcdef")
    emb = Embedding(list(frame.index), rows, columns={"kind": ["x"] * 600})
    labelled = AnomalyDetector(PCA(2)).fit(emb).contributions(emb)
    assert labelled.labels == emb.labels
    assert labelled.columns["kind"][0] == "x"
    found = detector.examine(frame)
    assert found.labels[:2] == ("r0", "r1")
    table = found.to_frame()
    assert list(table.columns) == [
        "anomaly", "score", "p_value", "guilty_1", "share_1", "guilty_2", "share_2", "guilty_3", "share_3",
        "pca", "pca_p_value", "ppca", "ppca_p_value", "knn", "knn_p_value",
    ]  # fmt: skip
    assert table.index[3] == "r3"
    assert (table["share_1"] >= table["share_2"]).all()
    worst = found.worst(4)
    assert table["score"].iloc[worst].is_monotonic_increasing
    assert table["score"].min() == table["score"].iloc[worst[0]]


def test_the_report_counts_right(rng: np.random.Generator) -> None:
    detector = AnomalyDetector(PCA(2), false_alarms=0.1).fit(plane(rng, 800))
    test = plane(rng, 400)
    odd = np.arange(400) % 8 == 0
    test[odd] += rng.normal(size=(50, 6)) * [0.3, 3, 30, 0.3, 0.03, 0.3]
    report = detector.report(test, odd, replicates=300)
    own = report.of("model")
    scores = {"model": detector.score_samples(test), **detector.baseline_scores(test)}
    for name, values in scores.items():
        figures = report.of(name)
        assert figures.auroc == pytest.approx(roc_auc_score(~odd, values))
        assert figures.precision == pytest.approx(average_precision_score(odd, -values))
        assert figures.low <= figures.auroc <= figures.high
        if name != "model":
            assert figures.behind == pytest.approx(own.auroc - figures.auroc)
            assert figures.behind_low <= figures.behind <= figures.behind_high
    assert own.detected == (detector.predict(test[odd]) == -1).mean()
    assert own.false_alarms == (detector.predict(test[~odd]) == -1).mean()
    assert np.isnan(own.behind)
    assert own.auroc > report.of("knn").auroc > 0.6
    assert list(report.to_frame()["method"]) == ["model", "pca", "ppca", "knn"]


def test_the_interval_is_that_of_a_plain_bootstrap(rng: np.random.Generator) -> None:
    detector = AnomalyDetector(PCA(2)).fit(plane(rng, 300))
    test = plane(rng, 120)
    odd = np.arange(120) < 30
    test[odd] += rng.normal(size=(30, 6)) * [0.1, 1, 10, 0.1, 0.01, 0.1]
    scores = detector.score_samples(test)
    areas = [area_under_roc(rng.choice(scores[~odd], 90), rng.choice(scores[odd], 30)) for _ in range(2000)]
    low, high = np.quantile(areas, [0.025, 0.975])
    own = detector.report(test, odd, replicates=2000).of("model")
    assert own.low == pytest.approx(low, abs=0.015)
    assert own.high == pytest.approx(high, abs=0.015)


def test_areas_and_precision_with_ties(rng: np.random.Generator) -> None:
    scores, odd = rng.integers(0, 5, 60).astype(float), rng.random(60) < 0.3
    assert area_under_roc(scores[~odd], scores[odd]) == pytest.approx(roc_auc_score(~odd, scores))
    assert average_precision(scores, odd) == pytest.approx(average_precision_score(odd, -scores))


def test_the_gaussian_beside_is_scikit_learns(rows: Doubles) -> None:
    rows = rows / rows.std(axis=0)
    components = fit_components(rows, 2)
    theirs = decomposition.PCA(2, svd_solver="full").fit(rows)
    np.testing.assert_allclose(components.log_likelihood(rows), theirs.score_samples(rows), rtol=1e-6)


def test_constant_columns_do_no_harm(rows: Doubles) -> None:
    wide = np.concatenate([rows, np.full((600, 3), 2.0)], axis=1)
    detector = AnomalyDetector(PCA(2)).fit(wide)
    odd = wide[:1].copy()
    odd[0, 7] = 3.0  # where nothing ever changes
    assert detector.predict(odd).tolist() == [-1]
    assert detector.contributions(odd)[0].argmax() == 7
    assert all(np.isfinite(one).all() for one in detector.baseline_scores(odd).values())


# -- refusals, seeds, copies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"false_alarms": 0}, "false_alarms is a share between 0 and 1"),
        ({"calibration": 1.0}, "calibration is a share"),
        ({"measure": "best"}, "measure is one of auto, error, smoothed, scaled, own, not 'best'"),
        ({"n_neighbours": 0}, "n_neighbours must be a whole number, 1 or more, not 0"),
        ({"n_components": 0.5}, "n_components must be a whole number"),
        ({"smoothing": -1.0}, "smoothing is a number of pixels"),
        ({"model": None, "prefit": True}, "needs a model that is fitted"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(change: dict[str, Any], message: str, rows: Doubles) -> None:
    with pytest.raises(BadInput, match=message):
        AnomalyDetector(**{"model": PCA(2), **change}).fit(rows)


def test_rows_it_cannot_use_are_refused_by_name(frame: pd.DataFrame, rows: Doubles) -> None:
    frame.iloc[7, 2] = np.nan
    with pytest.raises(BadInput, match=r"row 7.*column 'c'"):
        AnomalyDetector(PCA(2)).fit(frame)
    detector = AnomalyDetector(PCA(2)).fit(rows)
    rows[3, 4] = np.inf
    with pytest.raises(BadInput, match="row 3, column 4 is inf"):
        detector.score_samples(rows)
    with pytest.raises(BadInput, match="too few"):
        AnomalyDetector(PCA(1)).fit(rows[:2])
    with pytest.raises(BadInput, match="one boolean a row"):
        detector.report(rows[:3], [0, 1, 0])


def test_a_seed_repeats_and_copies_agree(rows: Doubles) -> None:
    first, second = (AnomalyDetector(PCA(2), random_state=4).fit(rows) for _ in range(2))
    assert np.array_equal(first.score_samples(rows), second.score_samples(rows))
    other = clone(first).set_params(random_state=5).fit(rows)
    assert not np.array_equal(other.calibration_rows_, first.calibration_rows_)
    copy = pickle.loads(pickle.dumps(first))  # noqa: S301  # between scikit-learn's processes
    assert np.array_equal(copy.predict(rows), first.predict(rows))


def test_a_row_scores_alike_alone_and_in_any_batch(rows: Doubles) -> None:
    detector = AnomalyDetector(PCA(2)).fit(rows)
    together = detector.score_samples(rows)
    assert detector.score_samples(rows[5:6])[0] == pytest.approx(together[5], rel=1e-9)


# -- latent models ----------------------------------------------------------------------------------------------------


def test_the_default_is_trained_for_a_thousand_steps_or_more() -> None:
    assert default_model(128 * 5, 6).get_params()["epochs"] == 200
    assert default_model(128 * 100, 784).get_params()["epochs"] == 20
    assert default_model(50, 7, noise=0.1).get_params()["noise"] == 0.1
    assert [default_model(50, width).get_params()["n_components"] for width in (1, 7, 784)] == [1, 3, 32]


def test_a_latent_model_gets_rows_as_they_are_and_is_counted_in_its_own_units() -> None:
    digits = images.named("digits")
    ones = digits.take(np.flatnonzero(digits.to_embedding().columns["class"] == 1))
    model = default_model(146, 64, n_components=8, hidden=(64,), epochs=80, batch_size=32, n_jobs=1, random_state=0)
    plain = AnomalyDetector(model, measure="error").fit(ones)
    assert plain.model_ is not model
    assert isinstance(plain.model_, Autoencoder)
    errors = plain.model_.reconstruction_errors(digits).mean(axis=1)
    np.testing.assert_allclose(plain.score_samples(digits), -errors, rtol=1e-3, atol=1e-7)
    smoothed = AnomalyDetector(model).fit(ones)
    parts = smoothed.contributions(digits.head(20))
    np.testing.assert_allclose(-parts.vectors.sum(axis=1), smoothed.score_samples(digits.head(20)), rtol=1e-5)
    fresh = digits.to_embedding().columns["class"] != 1
    assert smoothed.report(digits, fresh, replicates=10).of("model").auroc > 0.9
    # Flat rows of a model that was told their shape are pictures, too.
    flat = Autoencoder(8, hidden=(32,), image_shape=(8, 8), epochs=1, n_jobs=1, random_state=0)
    assert AnomalyDetector(flat).fit(ones.pixels.reshape(len(ones), 64) / 255)._how == "smoothed"


def test_a_table_is_judged_by_its_columns_whatever_their_units(frame: pd.DataFrame) -> None:
    model = default_model(480, 6, epochs=60, n_jobs=1, random_state=0)
    detector = AnomalyDetector(model).fit(frame)
    odd = frame.iloc[:40].copy()
    odd["e"] += 4 * frame["e"].std()
    found = detector.examine(odd)
    assert (found.to_frame()["guilty_1"] == "e").mean() > 0.6
    assert found.anomalous.mean() > 0.7


def test_a_model_fitted_before_is_shared_by_copies(frame: pd.DataFrame) -> None:
    model = Autoencoder(2, hidden=(8,), epochs=2, n_jobs=1, random_state=0).fit(frame)
    detector = AnomalyDetector(model, prefit=True).fit(frame)
    assert detector.model_ is model
    assert clone(detector).model is model
    assert clone(AnomalyDetector(model)).model is not model


@pytest.mark.parametrize("model", [None, PCA(2)])
def test_what_was_between_0_and_1_may_leave_that_range(model: Any, rng: np.random.Generator) -> None:
    rows = rng.random((150, 6))
    detector = AnomalyDetector(model).set_params(
        model=model or default_model(120, 6, epochs=3, scaling="none", n_jobs=1)
    )
    odd = rows[:1].copy()
    odd[0, 3] = 7.0
    assert detector.fit(rows).predict(odd).tolist() == [-1]
    assert int(detector.contributions(odd).argmax()) == 3


@pytest.mark.slow
def test_the_default_model_is_what_is_fitted_where_none_is_said(rng: np.random.Generator) -> None:
    detector = AnomalyDetector(random_state=2)
    detector.fit(rng.random((40, 3)))
    assert isinstance(detector.model_, Autoencoder)
    wanted = default_model(32, 3, scaling="none", random_state=2).get_params()
    assert detector.model_.get_params() == wanted
