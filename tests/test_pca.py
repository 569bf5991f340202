"""PCA: right, labelled as what came in, and a scikit-learn transformer through and through."""

from __future__ import annotations

import json
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from embedkit import PCA, Embedder, Embedding, images
from embedkit.errors import BadInput

Doubles = npt.NDArray[np.float64]


@pytest.fixture
def rows(rng: np.random.Generator) -> Doubles:
    """(40, 6), with variances that differ clearly and a mean that is not zero."""
    rotation: Doubles = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    return (rng.normal(size=(40, 6)) * [5, 4, 3, 2, 1, 0.5]) @ rotation + 7


@pytest.fixture
def embedding(rows: Doubles) -> Embedding:
    words = [f"w{i}" for i in range(len(rows))]
    return Embedding(words, rows, columns={"count": range(40), "kind": ["a", "b"] * 20}, provenance={"made_by": "hand"})


@pytest.fixture
def frame(rows: Doubles) -> pd.DataFrame:
    return pd.DataFrame(rows, index=[f"w{i}" for i in range(len(rows))], columns=list("uvwxyz"))


def failing(_: Any) -> dict[str, str]:
    return {"check_fit_score_takes_y": "it calls partial_fit after fit, which keeps no sums to go on with"}


@parametrize_with_checks(  # type: ignore[untyped-decorator]  # scikit-learn has no types
    [PCA(), PCA(n_components=1, whiten=True), PCA(n_components=None)], expected_failed_checks=failing
)
def test_scikit_learns_own_checks_pass(estimator: Any, check: Any) -> None:
    check(estimator)


# -- right ------------------------------------------------------------------------------------------------------------


def up_to_sign(a: npt.ArrayLike, b: npt.ArrayLike, axis: int) -> bool:
    """Whether the vectors along `axis` of two matrices are the same, or opposite."""
    a, b = np.asarray(a), np.asarray(b)
    signs = np.sign((a * b).sum(axis=axis, keepdims=True))
    return bool(np.allclose(a, b * signs, rtol=1e-9, atol=1e-9))


def up_to_sign_in_float32(a: npt.ArrayLike, b: npt.ArrayLike) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return bool(np.allclose(a, b * np.sign((a * b).sum(axis=0)), atol=1e-4))


@pytest.mark.parametrize("n_components", [1, 2, 6, None])
@pytest.mark.parametrize("solver", ["full", "covariance_eigh", "auto"])
def test_the_result_is_that_of_a_singular_value_decomposition(
    n_components: int | None, solver: Literal["full", "covariance_eigh", "auto"], rows: Doubles
) -> None:
    centred = rows - rows.mean(axis=0)
    left, singular, directions = np.linalg.svd(centred, full_matrices=False)
    variances = singular**2 / (len(rows) - 1)
    pca = PCA(n_components=n_components, svd_solver=solver)
    projected = pca.fit_transform(rows)
    n = n_components or 6
    assert projected.shape == (40, n)
    assert projected.dtype == np.float64
    assert up_to_sign(projected, (left * singular)[:, :n], axis=0)
    assert up_to_sign(pca.components_, directions[:n], axis=1)
    assert np.allclose(pca.explained_variance_, variances[:n])
    assert np.allclose(pca.explained_variance_ratio_, variances[:n] / variances.sum())
    assert np.allclose(pca.mean_, rows.mean(axis=0))
    assert pca.n_features_in_ == 6


@pytest.mark.parametrize("solver", ["arpack", "randomized"])
def test_the_approximate_solvers_come_near(solver: Literal["arpack", "randomized"], rows: Doubles) -> None:
    _, _, directions = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    pca = PCA(n_components=2, svd_solver=solver, random_state=0).fit(rows)
    assert np.allclose(np.abs((pca.components_ * directions[:2]).sum(axis=1)), 1, atol=1e-4)


def test_fit_transform_is_fit_and_transform(rows: Doubles) -> None:
    pca = PCA()
    assert np.array_equal(pca.fit_transform(rows), PCA().fit(rows).transform(rows))
    assert pca.fit(rows) is pca


def test_other_rows_are_projected_with_the_mean_of_those_fitted(rows: Doubles) -> None:
    pca = PCA().fit(rows[:30])
    assert np.allclose(pca.transform(rows[30:]), (rows[30:] - rows[:30].mean(axis=0)) @ pca.components_.T)


def test_whitening_gives_variance_one(rows: Doubles) -> None:
    white = PCA(n_components=3, whiten=True).fit_transform(rows)
    assert np.allclose(np.cov(white.T), np.eye(3), atol=1e-9)


def test_a_share_of_the_variance_may_be_asked_for(rows: Doubles) -> None:
    pca = PCA(n_components=0.8).fit(rows)
    shares = PCA(n_components=None).fit(rows).explained_variance_ratio_
    n = len(pca.components_)
    assert n == int(np.argmax(np.cumsum(shares) > 0.8)) + 1
    assert 1 < n < 6


@pytest.mark.parametrize("whiten", [False, True])
def test_at_full_rank_the_rows_come_back(whiten: bool, rows: Doubles) -> None:
    pca = PCA(n_components=None, whiten=whiten)
    assert np.allclose(pca.inverse_transform(pca.fit_transform(rows)), rows)


def test_below_full_rank_what_comes_back_has_lost_the_least(rows: Doubles) -> None:
    pca = PCA(n_components=4)
    back = pca.inverse_transform(pca.fit_transform(rows))
    lost = PCA(n_components=None).fit(rows).explained_variance_[4:].sum() * (len(rows) - 1)
    assert ((back - rows) ** 2).sum() == pytest.approx(lost)


@pytest.mark.parametrize("solver", ["full", "covariance_eigh", "auto"])
def test_constant_columns_do_no_harm(solver: Literal["full", "covariance_eigh", "auto"], rows: Doubles) -> None:
    # float32, as an Embedding has it, is what fails on them elsewhere.
    wide = np.concatenate([rows, np.full((40, 300), 3.25)], axis=1)
    projected = PCA(n_components=6, svd_solver=solver).fit_transform(Embedding(None, wide))
    assert up_to_sign_in_float32(projected, PCA(n_components=6).fit_transform(rows))


def test_rows_that_are_all_the_same_lie_at_the_origin() -> None:
    projected = PCA().fit_transform(np.full((5, 3), 2.5))
    assert np.allclose(projected, 0)


def test_fewer_rows_than_dimensions_will_do(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(3, 50))
    projected = PCA(n_components=2).fit_transform(rows)
    distances = [np.linalg.norm(rows[i] - rows[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert np.allclose([np.linalg.norm(projected[i] - projected[j]) for i, j in ((0, 1), (0, 2), (1, 2))], distances)


# -- what comes in labelled goes out labelled -------------------------------------------------------------------------


def test_an_embedding_keeps_labels_and_columns(embedding: Embedding, rows: Doubles) -> None:
    projected = PCA().fit_transform(embedding)
    assert isinstance(projected, Embedding)
    assert list(projected) == list(embedding)
    assert {name: values.tolist() for name, values in projected.columns.items()} == {
        name: values.tolist() for name, values in embedding.columns.items()
    }
    assert projected.shape == (40, 2)
    assert up_to_sign_in_float32(projected, PCA().fit_transform(rows))


def test_an_embedding_knows_where_it_came_from(embedding: Embedding) -> None:
    pca = PCA(n_components=3, random_state=1)
    projected = pca.fit_transform(embedding)
    provenance = json.loads(json.dumps(dict(projected.provenance)))
    assert provenance["made_by"] == "PCA"
    assert provenance["parameters"] == pca.get_params()
    assert provenance["from"] == {"made_by": "hand"}
    assert pca.inverse_transform(projected).provenance["made_by"] == "PCA.inverse_transform"


def test_an_embedding_comes_back_from_the_inverse(embedding: Embedding) -> None:
    pca = PCA(n_components=None)
    back = pca.inverse_transform(pca.fit_transform(embedding))
    assert isinstance(back, Embedding)
    assert list(back) == list(embedding)
    assert np.allclose(back.vectors, embedding.vectors, atol=1e-5)


def test_a_dataframe_keeps_its_index(frame: pd.DataFrame, rows: Doubles) -> None:
    pca = PCA(n_components=3)
    projected = pca.fit_transform(frame)
    assert isinstance(projected, pd.DataFrame)
    assert projected.index.equals(frame.index)
    assert list(projected.columns) == ["pca0", "pca1", "pca2"] == list(pca.get_feature_names_out())
    assert np.allclose(projected, PCA(n_components=3).fit_transform(rows), rtol=1e-12, atol=1e-12)
    assert list(pca.feature_names_in_) == list("uvwxyz")


def test_a_dataframe_comes_back_from_the_inverse_with_its_columns(frame: pd.DataFrame) -> None:
    pca = PCA(n_components=None)
    pd.testing.assert_frame_equal(pca.inverse_transform(pca.fit_transform(frame)), frame)


def test_a_dataframe_of_coordinates_may_be_given_to_what_was_fitted_on_an_array(rows: Doubles) -> None:
    pca = PCA(n_components=None).fit(rows)
    back = pca.inverse_transform(pd.DataFrame(pca.transform(rows), index=[f"w{i}" for i in range(40)]))
    assert list(back.index) == [f"w{i}" for i in range(40)]
    assert list(back.columns) == [f"x{j}" for j in range(6)]


def test_what_is_fitted_on_one_kind_transforms_another(embedding: Embedding, rows: Doubles) -> None:
    pca = PCA().fit(embedding)
    assert isinstance(pca.transform(rows), np.ndarray)
    assert isinstance(PCA().fit(rows).transform(embedding), Embedding)


@pytest.mark.parametrize("kind", [list, np.asarray, np.asfortranarray, np.float32])
def test_an_array_gives_an_array(kind: Any, rows: Doubles) -> None:
    projected = PCA().fit_transform(kind(rows))
    assert type(projected) is np.ndarray
    assert up_to_sign_in_float32(projected, PCA().fit_transform(rows))


def test_what_is_given_is_not_written_to(embedding: Embedding, rows: Doubles) -> None:
    before = rows.copy()
    PCA().fit_transform(rows)
    assert np.array_equal(rows, before)
    kept = embedding.vectors.copy()
    PCA().fit_transform(embedding)
    assert np.array_equal(embedding.vectors, kept)


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_smaller_storage_is_decoded(storage: Literal["float16", "int8"], embedding: Embedding) -> None:
    small = embedding.with_storage(storage)
    assert up_to_sign_in_float32(PCA().fit_transform(small), PCA().fit_transform(np.array(small.vectors)))


# -- a scikit-learn transformer ---------------------------------------------------------------------------------------


def test_it_is_an_embedder() -> None:
    assert issubclass(PCA, Embedder)


@pytest.mark.parametrize("given", ["array", "frame"])
def test_set_output_gives_a_dataframe(given: str, rows: Doubles, frame: pd.DataFrame) -> None:
    projected = PCA().set_output(transform="pandas").fit_transform(rows if given == "array" else frame)
    assert isinstance(projected, pd.DataFrame)
    assert list(projected.columns) == ["pca0", "pca1"]
    assert list(projected.index) == (list(range(40)) if given == "array" else list(frame.index))


def test_set_output_keeps_the_labels_of_an_embedding(embedding: Embedding) -> None:
    projected = PCA().set_output(transform="pandas").fit_transform(embedding)
    assert isinstance(projected, pd.DataFrame)
    assert list(projected.index) == list(embedding)


def test_the_default_output_is_what_came_in(embedding: Embedding) -> None:
    assert isinstance(PCA().set_output(transform="default").fit_transform(embedding), Embedding)


def test_it_works_in_a_pipeline(rows: Doubles, embedding: Embedding, frame: pd.DataFrame) -> None:
    pipeline = make_pipeline(StandardScaler(), PCA(3), PCA(2))
    assert pipeline.fit_transform(rows).shape == (40, 2)
    assert list(pipeline.get_feature_names_out()) == ["pca0", "pca1"]
    assert list(make_pipeline(PCA(3), PCA(2)).fit_transform(embedding)) == list(embedding)
    assert list(pipeline.set_output(transform="pandas").fit_transform(frame).index) == list(frame.index)


def test_it_works_in_a_grid_search(rows: Doubles) -> None:
    third = PCA(n_components=3).fit_transform(rows)[:, 2]
    classes = third > np.median(third)  # so two components tell little, three much
    pipeline = make_pipeline(PCA(), KNeighborsClassifier(3))
    search = GridSearchCV(pipeline, {"pca__n_components": np.arange(1, 5)}, cv=3).fit(rows, classes)
    assert search.best_params_["pca__n_components"] in (3, 4)


def test_numbers_of_numpy_do_as_parameters_and_are_recorded(embedding: Embedding) -> None:
    # As a grid over np.arange gives them.
    three: Any = np.int64(3)
    projected = PCA(n_components=three, random_state=three).fit_transform(embedding)
    assert projected.width == 3
    assert projected.provenance["parameters"]["n_components"] == 3
    assert projected.provenance["parameters"]["random_state"] in (3, "3")


def test_a_clone_has_the_parameters_and_nothing_learned(rows: Doubles) -> None:
    pca = PCA(n_components=3, whiten=True, random_state=1).fit(rows)
    copy = clone(pca)
    assert copy.get_params() == pca.get_params()
    assert not hasattr(copy, "components_")


def test_parameters_are_read_and_set_by_name() -> None:
    pca = PCA(n_components=3)
    assert pca.get_params() == {"n_components": 3, "whiten": False, "svd_solver": "auto", "random_state": None}
    assert pca.set_params(whiten=True) is pca
    assert pca.whiten
    with pytest.raises(ValueError, match="Invalid parameter 'size'"):
        pca.set_params(size=3)


def test_repr_shows_what_differs_from_the_defaults() -> None:
    assert repr(PCA()) == "PCA()"
    assert repr(PCA(n_components=3, whiten=True)) == "PCA(n_components=3, whiten=True)"


def test_a_random_state_object_does_and_is_named(embedding: Embedding) -> None:
    pca = PCA(svd_solver="randomized", random_state=np.random.RandomState(0))
    assert "RandomState" in pca.fit_transform(embedding).provenance["parameters"]["random_state"]


@pytest.mark.parametrize("seed", [0, 5])
def test_a_seed_repeats_the_randomised_solver(seed: int, rng: np.random.Generator) -> None:
    rows = rng.normal(size=(100, 80))
    first, second = (PCA(svd_solver="randomized", random_state=seed).fit_transform(rows) for _ in range(2))
    assert np.array_equal(first, second)


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("verb", ["fit", "fit_transform", "transform", "inverse_transform"])
def test_what_is_not_finite_is_refused(verb: str, bad: float, rows: Doubles) -> None:
    pca = PCA(n_components=None).fit(rows)
    rows[3, 2] = bad
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        getattr(pca, verb)(rows)


def test_what_is_not_finite_is_named_by_row_and_column(rows: Doubles) -> None:
    rows[3, 2] = np.nan
    with pytest.raises(BadInput, match=r"row 3.*column 2"):
        PCA().fit(rows)


def test_a_result_that_no_float32_can_hold_is_refused() -> None:
    far = Embedding(None, [[3e38, 3e38], [-3e38, -3e38], [3e38, -1e38]])
    with pytest.raises(BadInput, match="not a finite float32 number"):
        PCA().fit_transform(far)


@pytest.mark.parametrize("n_components", [7, 0.0, 1.5, -1, "x"])
def test_an_impossible_number_of_components_is_refused(n_components: Any, rows: Doubles) -> None:
    with pytest.raises(ValueError, match="n_components"):
        PCA(n_components=n_components).fit(rows)


def test_an_unknown_solver_is_refused(rows: Doubles) -> None:
    with pytest.raises(ValueError, match="svd_solver"):
        PCA(svd_solver="best").fit(rows)  # type: ignore[arg-type]


def test_one_row_has_no_variance(rows: Doubles) -> None:
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        PCA().fit(rows[:1])


def test_rows_of_another_width_are_refused(rows: Doubles) -> None:
    pca = PCA().fit(rows)
    with pytest.raises(ValueError, match="expecting 6 features"):
        pca.transform(rows[:, :5])
    with pytest.raises(ValueError, match="2"):
        pca.inverse_transform(rows)


@pytest.mark.parametrize("verb", ["transform", "inverse_transform"])
def test_before_fit_nothing_can_be_transformed(verb: str, rows: Doubles) -> None:
    with pytest.raises(NotFittedError):
        getattr(PCA(), verb)(rows)


def test_scikit_learns_configuration_is_as_it_was() -> None:
    assert sklearn.get_config()["transform_output"] == "default"


# -- in batches -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_components", [2, 6, None, 0.8])
@pytest.mark.parametrize("whiten", [False, True])
def test_batches_of_any_size_give_what_all_rows_give(n_components: Any, whiten: bool, rows: Doubles) -> None:
    rows = rows + 1e4  # far from the origin
    whole = PCA(n_components=n_components, whiten=whiten).fit(rows)
    pca = PCA(n_components=n_components, whiten=whiten)
    for batch in (rows[:9], rows[9:10], rows[10:33], rows[33:]):
        assert pca.partial_fit(batch) is pca
    assert np.allclose(pca.components_, whole.components_, atol=1e-6)
    assert np.allclose(pca.explained_variance_, whole.explained_variance_)
    assert np.allclose(pca.explained_variance_ratio_, whole.explained_variance_ratio_)
    assert np.allclose(pca.mean_, whole.mean_)
    assert np.allclose(pca.transform(rows), whole.transform(rows), atol=1e-6)
    assert np.allclose(pca.inverse_transform(pca.transform(rows)), whole.inverse_transform(whole.transform(rows)))
    assert list(pca.get_feature_names_out()) == list(whole.get_feature_names_out())


def test_batches_may_be_labelled(embedding: Embedding) -> None:
    pca = PCA().partial_fit(embedding.take(range(20))).partial_fit(embedding.take(range(20, 40)))
    assert list(pca.transform(embedding)) == list(embedding)
    assert up_to_sign_in_float32(pca.transform(embedding), PCA().fit_transform(embedding))


def test_batches_that_cannot_go_on_are_refused(rows: Doubles) -> None:
    with pytest.raises(BadInput, match="minimum of 3 is required"):
        PCA(n_components=3).partial_fit(rows[:2])
    with pytest.raises(BadInput, match="cannot go on where fit ended"):
        PCA().fit(rows).partial_fit(rows)
    with pytest.raises(BadInput, match="n_components=7"):
        PCA(n_components=7).partial_fit(rows)
    pca = PCA().partial_fit(rows)
    with pytest.raises(ValueError, match="expecting 6 features"):
        pca.partial_fit(rows[:, :5])
    with pytest.raises(BadInput, match="NaN"):
        pca.partial_fit(np.full((3, 6), np.nan))
    assert np.allclose(pca.mean_, rows.mean(axis=0))
    # Fitting anew forgets the batches, and the other way round nothing is mixed.
    assert np.allclose(pca.fit(rows[:10]).mean_, rows[:10].mean(axis=0))


def test_pictures_are_rows_only_when_they_are_made_such() -> None:
    digits = images.named("digits").head(20)
    with pytest.raises(BadInput, match=r"not Images: their to_embedding\(\) makes such rows"):
        PCA(2).fit(digits)
    assert PCA(2).fit_transform(digits.to_embedding()).vectors.shape == (20, 2)
