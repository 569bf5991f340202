"""Documents as means of words: plain and SIF, written out; and scikit-learn's contract as far as texts have one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import estimator_checks as checks
from sklearn.utils import get_tags

from embedkit import Corpus, Embedding
from embedkit.errors import BadInput
from embedkit.words.documents import DocumentVectors

Doubles = npt.NDArray[np.float64]
TEXTS = ["the king rules", "the queen rules, rules", "a dog barks", "the dog of the king"]


@pytest.fixture
def words(rng: np.random.Generator) -> Embedding:
    labels = ["the", "king", "queen", "rules", "dog", "barks", "of"]
    return Embedding(labels, rng.normal(size=(7, 5)), columns={"count": [500, 20, 10, 30, 25, 5, 410]})


def plain_mean(words: Embedding, tokens: list[str], weight: Callable[[str], float] = lambda _: 1.0) -> Doubles:
    known = [token for token in tokens if token in words]
    total = sum((weight(t) * words[t].astype(np.float64) for t in known), np.zeros(words.width))
    return np.asarray(total) / max(len(known), 1)


def test_the_mean_is_that_of_the_known_words(words: Embedding) -> None:
    made = DocumentVectors(words).fit_transform(TEXTS)
    tokens = [text.replace(",", "").split() for text in TEXTS]
    np.testing.assert_allclose(made, [plain_mean(words, some) for some in tokens], rtol=1e-12, atol=1e-15)
    assert made.dtype == np.float64


@settings(max_examples=30)
@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=7), min_size=1, max_size=12), st.floats(1e-5, 1))
def test_sif_is_algorithm_1_of_the_paper(documents: list[list[str]], a: float) -> None:
    rng = np.random.default_rng(5)
    counts = np.array([1000, 500, 100, 20, 5, 0])
    words = Embedding(list("abcdef"), rng.normal(size=(6, 3)), columns={"count": counts})
    probability = dict(zip("abcdef", (counts / counts.sum()).tolist(), strict=True))
    raw = np.array([plain_mean(words, some, lambda w: a / (a + probability[w])) for some in documents])
    u = np.linalg.svd(raw)[2][0] if raw.any() else np.zeros(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        embedder = DocumentVectors(words, weighting="sif", a=a)
        made = embedder.fit_transform(documents)
        alone = np.array([embedder.transform([some])[0] for some in documents])
    spectrum = np.linalg.svd(raw, compute_uv=False)
    if len(spectrum) > 1 and spectrum[0] - spectrum[1] < 1e-6:
        return  # no single first direction
    np.testing.assert_allclose(made, raw - np.outer(raw @ u, u), rtol=0, atol=1e-9)
    np.testing.assert_allclose(alone, made, rtol=0, atol=1e-12)  # whatever its batch-mates


FORMS: list[Callable[[list[str]], Any]] = [
    list,
    tuple,
    np.array,
    lambda texts: np.array(texts, dtype=object),
    pd.Series,
    lambda texts: pd.Series(texts, index=[9, 7, 5, 3]),
    lambda texts: [text.replace(",", "").split() for text in texts],
    lambda texts: Corpus(texts, tokenize="words"),
    lambda texts: np.array(texts)[:, None],
]


@pytest.mark.parametrize("form", FORMS)
def test_documents_may_come_in_any_form(form: Callable[[list[str]], Any], words: Embedding) -> None:
    expected = DocumentVectors(words).fit_transform(TEXTS)
    embedder = DocumentVectors(words).fit(form(TEXTS))
    np.testing.assert_array_equal(embedder.transform(form(TEXTS)), expected)
    assert (embedder.n_tokens_, embedder.n_unknown_) == (15, 1)


def test_a_frame_keeps_its_index(words: Embedding) -> None:
    frame = pd.DataFrame({"text": TEXTS}, index=["w", "x", "y", "z"])
    made = DocumentVectors(words).fit_transform(frame)
    assert made.index.tolist() == ["w", "x", "y", "z"]
    assert made.columns.tolist() == [f"documentvectors{i}" for i in range(5)]
    np.testing.assert_array_equal(made, DocumentVectors(words).fit_transform(TEXTS))
    for output in ("default", "pandas"):
        embedder = DocumentVectors(words).set_output(transform=output).fit(TEXTS)
        assert isinstance(embedder.transform(TEXTS), pd.DataFrame if output == "pandas" else np.ndarray)


def test_tokens_are_split_and_written_as_asked(words: Embedding) -> None:
    plain = DocumentVectors(words, tokenize="whitespace").fit(TEXTS)
    assert plain.n_unknown_ == 2  # "a" and "rules,"
    upper = [text.upper() for text in TEXTS]
    assert DocumentVectors(words).fit(upper).n_unknown_ == 15
    lowered = DocumentVectors(words, lowercase=True).fit_transform(upper)
    np.testing.assert_array_equal(lowered, DocumentVectors(words).fit_transform(TEXTS))
    assert DocumentVectors(words, tokenize=lambda text: text.split("e")).fit(["kinge"]).n_tokens_ == 2


def test_documents_without_a_known_word_are_zeros_with_a_warning(words: Embedding) -> None:
    embedder = DocumentVectors(words, weighting="sif").fit(TEXTS)
    with pytest.warns(UserWarning, match="2 of 3 documents hold no known word: zeros"):
        made = embedder.transform(["", "king", "nobody knows"])
    assert (made[[0, 2]] == 0).all()
    assert made[1].any()
    np.testing.assert_array_equal(embedder.coverage(["", "king", "nobody knows", "king nobody"]), [np.nan, 1, 0, 0.5])
    assert embedder.transform([]).shape == (0, 5)


BAD: list[tuple[Any, str]] = [
    ("a single text", "documents are a list"),
    (b"bytes", "documents are a list"),
    (3, "documents are a list"),
    ([1, 2], "document 0 is neither a text nor a list of tokens: 1"),
    (["a", None], "document 1 is neither"),
    ([["a", 3]], "document 0 is neither"),
    (pd.Series(["a", np.nan]), "document 1 is neither"),
    (pd.DataFrame({"x": ["a"], "y": ["b"]}), "a table of documents has one column, not 2"),
    ([], "no documents to learn from"),
]


@pytest.mark.parametrize(("documents", "message"), BAD)
def test_what_are_no_documents_is_refused(documents: Any, message: str, words: Embedding) -> None:
    with pytest.raises(BadInput, match=message):
        DocumentVectors(words).fit(documents)


def test_parameters_out_of_range_are_refused(words: Embedding) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"weighting": "tfidf"}, "weighting is one of mean, sif, not 'tfidf'"),
        ({"weighting": "sif", "a": 0}, "a must be a number above 0, not 0"),
        ({"weighting": "sif", "a": float("nan")}, "a must be a number above 0"),
        ({"embedding": words.vectors}, "embedding must be an Embedding, not ndarray"),
        ({"embedding": Embedding(["a"], [[1.0]]), "weighting": "sif"}, "needs how often each word was seen"),
        ({"tokenize": "nonsense"}, "tokenize is"),
    ]
    for parameters, message in wrong:
        with pytest.raises(BadInput, match=message):
            DocumentVectors(**{"embedding": words, **parameters}).fit(TEXTS)


# -- scikit-learn ------------------------------------------------------------------------------------------------------


def test_it_takes_part_in_pipelines_and_searches(words: Embedding) -> None:
    texts, y = TEXTS * 6, [0, 1, 0, 1] * 6
    pipeline = make_pipeline(DocumentVectors(words), LogisticRegression(C=1e3))
    assert pipeline.fit(texts, y).score(texts, y) == 1
    search = GridSearchCV(
        Pipeline([("documents", DocumentVectors(words)), ("model", LogisticRegression())]),
        {"documents__weighting": ["mean", "sif"], "documents__a": [1e-3, 1e-1]},
        cv=2,
    ).fit(np.array(texts), y)
    assert len(search.cv_results_["params"]) == 4
    assert not np.isnan(search.cv_results_["mean_test_score"]).any()


def test_parameters_can_be_read_set_and_cloned(words: Embedding) -> None:
    embedder = DocumentVectors(words, weighting="sif", a=0.1)
    copy = clone(embedder)
    assert copy.get_params()["a"] == 0.1
    assert copy.embedding == words
    assert copy.set_params(a=0.2).a == 0.2
    assert "weighting='sif'" in repr(embedder)
    with pytest.raises(NotFittedError):
        embedder.transform(TEXTS)
    with pytest.raises(NotFittedError):
        embedder.coverage(TEXTS)


def test_its_tags_say_that_it_takes_texts(words: Embedding) -> None:
    tags = get_tags(DocumentVectors(words))
    assert tags.input_tags.string
    assert not tags.input_tags.two_d_array
    assert tags.estimator_type is None


# Of scikit-learn's checks those that need no table of numbers: texts have none, so all that fit it are left out.
CHECKS = [
    checks.check_estimator_cloneable,
    checks.check_estimator_repr,
    checks.check_estimator_tags_renamed,
    checks.check_valid_tag_types,
    checks.check_get_params_invariance,
    checks.check_set_params,
    checks.check_no_attributes_set_in_init,
    checks.check_mixin_order,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_scikit_learn_s_checks(check: Callable[[str, Any], None], words: Embedding) -> None:
    check("DocumentVectors", DocumentVectors(words))
