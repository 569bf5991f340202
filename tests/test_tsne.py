"""t-SNE: scikit-learn's, labelled, and the same bits on any number of threads."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn import manifold
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

from embedkit import TSNE, Embedding
from embedkit.errors import BadInput

Doubles = npt.NDArray[np.float64]


def quick(**parameters: Any) -> TSNE:
    return TSNE(**{"perplexity": 5.0, "max_iter": 250, "random_state": 0, **parameters})


@pytest.fixture
def rows(rng: np.random.Generator) -> Doubles:
    return rng.normal(size=(40, 6))


@parametrize_with_checks([quick(method="exact")])  # type: ignore[untyped-decorator]  # scikit-learn has no types
def test_scikit_learns_own_checks_pass(estimator: Any, check: Any) -> None:
    with threadpool_limits(1):
        check(estimator)


@pytest.mark.parametrize("parameters", [{}, {"init": "random"}, {"metric": "cosine"}, {"method": "exact"}])
def test_the_map_is_scikit_learns(parameters: dict[str, Any], rows: Doubles) -> None:
    ours = quick(**parameters).fit(rows)
    with threadpool_limits(1, user_api="blas"):
        theirs = manifold.TSNE(perplexity=5, max_iter=250, random_state=0, **parameters).fit(rows)
    assert np.array_equal(ours.embedding_, theirs.embedding_)
    assert ours.kl_divergence_ == theirs.kl_divergence_
    assert ours.n_iter_ == theirs.n_iter_
    assert np.array_equal(quick(**parameters).fit_transform(rows), ours.embedding_)


def test_labels_stay(rows: Doubles) -> None:
    given = Embedding([f"w{i}" for i in range(40)], rows, columns={"count": range(40)})
    made = quick().fit_transform(given)
    assert isinstance(made, Embedding)
    assert list(made) == list(given)
    assert made.columns["count"].tolist() == list(range(40))
    assert json.loads(json.dumps(made.provenance))["parameters"]["perplexity"] == 5
    frame = pd.DataFrame(rows, index=list(given))
    framed = quick().fit_transform(frame)
    assert list(framed.index) == list(given)
    assert list(framed.columns) == ["tsne0", "tsne1"]
    assert isinstance(quick().set_output(transform="pandas").fit_transform(rows), pd.DataFrame)


def test_sparse_rows_will_do(rows: Doubles) -> None:
    assert quick(init="random").fit_transform(csr_matrix(rows)).shape == (40, 2)


def test_it_does_not_pretend_to_transform() -> None:
    assert not hasattr(TSNE(), "transform")
    assert not hasattr(TSNE(), "inverse_transform")


def test_what_cannot_be_laid_out_is_refused(rows: Doubles) -> None:
    with pytest.raises(BadInput, match="perplexity=40 must be lower than the number of rows, 40"):
        quick(perplexity=40).fit(rows)
    with pytest.raises(BadInput, match="all 40 rows are the same"):
        quick().fit(np.ones((40, 3)))
    rows[3, 2] = np.nan
    with pytest.raises(BadInput, match="row 3, column 2 is NaN"):
        quick().fit(rows)
    with pytest.raises(ValueError, match="minimum of 2"):
        quick().fit(rows[:1])
    with pytest.raises(ValueError, match="angle"):
        quick(angle=3.0).fit(rows[4:])
