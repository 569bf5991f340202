"""Numbers that are none, or that no float32 holds, through everything that takes numbers: named and refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from embedkit import GAN, PCA, TSNE, UMAP, VAE, AdversarialAutoencoder, Autoencoder, Corpus, Embedding, Search, Word2Vec
from embedkit.errors import BadInput, EmbedkitError, UnknownWord
from embedkit.words import PPMI, FastText, GloVe

Array = npt.NDArray[Any]
SMALL: dict[str, Any] = {"hidden": (8,), "epochs": 1, "n_jobs": 1, "random_state": 1, "device": "cpu"}
ROWS: dict[str, Callable[[], Any]] = {
    "AdversarialAutoencoder": lambda: AdversarialAutoencoder(2, **SMALL),
    "Autoencoder": lambda: Autoencoder(2, **SMALL),
    "GAN": lambda: GAN(2, **SMALL),
    "PCA": lambda: PCA(n_components=2, random_state=1),
    "TSNE": lambda: TSNE(perplexity=5.0, max_iter=250, random_state=1),
    "UMAP": lambda: UMAP(n_neighbors=5, n_epochs=10, random_state=1, n_jobs=1),
    "VAE": lambda: VAE(2, **SMALL),
}
TRAINERS: dict[str, Callable[[], Any]] = {
    "FastText": lambda: FastText(vector_size=4, epochs=1, bucket=50, min_count=1),
    "GloVe": lambda: GloVe(vector_size=4, epochs=1, min_count=1),
    "PPMI": lambda: PPMI(vector_size=2, min_count=1),
    "Word2Vec": lambda: Word2Vec(vector_size=4, epochs=1, min_count=1),
}
TRANSFORMING = [name for name in ROWS if name not in ("GAN", "TSNE")]
every = pytest.mark.parametrize("name", ROWS)


@pytest.fixture(scope="module")
def rows() -> Array:
    return np.random.default_rng(0).normal(size=(40, 4))


@pytest.fixture(scope="module")
def fitted(rows: Array) -> dict[str, Any]:
    """Of every embedder that transforms, one that has been fitted."""
    return {name: ROWS[name]().fit(rows) for name in TRANSFORMING}


def with_value(rows: Array, value: float) -> Array:
    changed = np.array(rows)
    changed[2, 1] = value
    return changed


# -- NaN and infinities ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@every
def test_what_is_not_finite_is_named_by_row_and_column_in_fit(name: str, value: float, rows: Array) -> None:
    bad = with_value(rows, value)
    with pytest.raises(BadInput, match=r"row 2.*column 1"):
        ROWS[name]().fit(bad)
    with pytest.raises(BadInput, match=r"row 2.*column 1"):
        ROWS[name]().fit(bad.astype(np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", TRANSFORMING)
def test_what_is_not_finite_is_named_by_row_and_column_in_transform(
    name: str, value: float, rows: Array, fitted: dict[str, Any]
) -> None:
    with pytest.raises(BadInput, match=r"row 2.*column 1"):
        fitted[name].transform(with_value(rows, value))


@pytest.mark.parametrize("value", [1e39, -1e300, 1e308])
@pytest.mark.parametrize("name", TRANSFORMING)
def test_what_overflows_is_refused_or_stays_finite_in_transform(
    name: str, value: float, rows: Array, fitted: dict[str, Any]
) -> None:
    try:
        made = fitted[name].transform(with_value(rows, value))
    except EmbedkitError:
        return
    assert np.isfinite(made).all()


@pytest.mark.parametrize("value", [1e39, -1e300, 1e308])
@pytest.mark.parametrize("name", ["Autoencoder", "PCA", "TSNE", "UMAP", "VAE"])
def test_what_overflows_is_refused_or_stays_finite_in_fit(name: str, value: float, rows: Array) -> None:
    try:
        made = ROWS[name]().fit_transform(with_value(rows, value))
    except EmbedkitError:
        return
    assert np.isfinite(made).all()


# -- rows that say little ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Autoencoder", "PCA", "UMAP"])
@pytest.mark.parametrize("kind", ["zeros", "denormals", "duplicates", "a zero row"])
def test_rows_that_say_little_give_finite_numbers_or_a_reason(name: str, kind: str, rows: Array) -> None:
    given = {
        "zeros": np.zeros((40, 4)), "denormals": np.full((40, 4), 5e-324) * np.arange(160).reshape(40, 4),
        "duplicates": np.repeat(rows[:4], 10, axis=0), "a zero row": np.vstack([rows, np.zeros(4)]),
    }[kind]  # fmt: skip
    try:
        made = ROWS[name]().fit_transform(given)
    except EmbedkitError:
        return
    assert np.isfinite(made).all()


# -- what holds no numbers ---------------------------------------------------------------------------------------------

WRONG: dict[str, Any] = {
    "texts": np.array([["a", "b", "c", "d"]] * 40),
    "objects": np.array([[{}, [], None, "a"]] * 40, dtype=object),
    "complex": np.ones((40, 4)) * 1j,
    "dates": np.zeros((40, 4), dtype="datetime64[D]"),
    "records": np.zeros(40, dtype=[("a", "f4"), ("b", "f4")]),
    "ragged": [[1.0, 2.0]] * 39 + [[1.0]],
    "one number": 5.0,
    "one row": np.ones(4),
    "a text": "rows",
    "nothing": None,
}


@pytest.mark.parametrize("kind", WRONG)
@every
def test_what_holds_no_numbers_is_refused_in_fit(name: str, kind: str) -> None:
    # scikit-learn's own checks, which its estimators must pass, ask for TypeError where it is of no use at all.
    with pytest.raises((ValueError, TypeError)):
        ROWS[name]().fit(WRONG[kind])


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("name", TRANSFORMING)
def test_what_holds_no_numbers_is_refused_in_transform(name: str, kind: str, fitted: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        fitted[name].transform(WRONG[kind])


# -- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["a\0b", "a\nb", "a\rb", "\ud800", "a" * 65537])
@pytest.mark.parametrize("name", TRAINERS)
def test_words_that_no_file_could_hold_are_refused_in_training(name: str, token: str) -> None:
    with pytest.raises(BadInput):
        TRAINERS[name]().fit(Corpus([["king", token, "queen"]] * 3))


@pytest.mark.parametrize("token", [5, None, b"king", 1.5, ["king"]])
@pytest.mark.parametrize("name", TRAINERS)
def test_words_that_are_no_text_are_refused_in_training(name: str, token: Any) -> None:
    with pytest.raises(BadInput, match="document 0"):
        TRAINERS[name]().fit(Corpus([["king", token, "queen"]] * 3))


# -- queries -----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["numpy", "cpu"], scope="module")
def search(request: pytest.FixtureRequest) -> Search:
    vectors = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0], [1e-42, 0, 0], [3e38, 3e38, 0]], dtype=np.float32)
    return Search(Embedding(["a", "b", "both", "zero", "tiny", "huge"], vectors), device=request.param)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_queries_that_are_not_finite_are_refused(search: Search, value: float) -> None:
    with pytest.raises(BadInput, match="query 0, column 1 is not a finite number"):
        search.nearest([[1, value, 0]], 2)


@pytest.mark.parametrize(
    "query", [[[1, 2]], [["a", "b", "c"]], [[1j, 0, 0]], [[None, 1, 2]], "a", None, [[]], [1, [2], 3]]
)
def test_queries_of_another_kind_are_refused(search: Search, query: Any) -> None:
    with pytest.raises(BadInput):
        search.nearest(query, 2)


def test_scores_are_finite_whatever_is_asked(search: Search) -> None:
    queries = np.array([[0, 0, 0], [1e300, 1e300, 0], [5e-324, 0, 0], [-1e-310, 1e308, 0]])
    with np.errstate(all="raise", under="ignore"):
        for rows in (
            search.nearest(queries, 6),
            search.similar(["zero", "tiny", "huge", "a"], 6),
            search.analogies([("a", "b", "zero"), ("tiny", "huge", "a"), ("a", "a", "a")], 6),
            search.analogies([("a", "b", "zero"), ("tiny", "huge", "a")], 6, method="3cosmul"),
            search.solve(["0*a", "a - a", "1e-300*a", "1e150*a - huge", "huge + huge"], 6),
        ):
            scores = [row[3] for row in rows if row[3] is not None]
            assert np.isfinite(scores).all()
            assert all(-1.000001 <= score <= 100 for score in scores)
            assert all(row[2] != "zero" for row in rows)  # a vector of zeros is near to nothing


@pytest.mark.parametrize("k", [0, -1, 1.5, "3", None, True, 2**70])
def test_numbers_of_answers_that_make_no_sense(search: Search, k: Any) -> None:
    try:
        found = search.similar(["a"], k)
    except BadInput:
        return
    assert k == 2**70  # as many as there are
    assert len(found) <= 5


@pytest.mark.parametrize(
    "text", ["1e999*a", "nan*a", "inf*a", "a + -1e999*b", "1_0*a", "a\0b +", "()", "mean()", "a +" * 3000]
)
def test_expressions_that_come_to_no_number_are_refused(search: Search, text: str) -> None:
    with pytest.raises((BadInput, UnknownWord)) as caught:
        search.solve([text], 2)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("label", ["a\0b", "a\nb", "\ud800", "", "\x1b[2J", "x" * 10**6])
def test_labels_that_no_file_could_hold_are_unknown(search: Search, label: str) -> None:
    with pytest.raises(UnknownWord) as caught:
        search.similar([label], 2)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("label", [5, None, b"a", 1.5, ["a"]])
def test_labels_that_are_no_text_are_refused(search: Search, label: Any) -> None:
    with pytest.raises(BadInput):
        search.similar([label], 2)
