"""What queries have in common: answers among the first rows only, and what becomes of unknown labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedkit import Embedding, Search
from embedkit.errors import BadInput, UnknownWord
from embedkit.search import Neighbours, restricted
from embedkit.search.engine import Method

METHODS: list[Method] = ["3cosadd", "3cosmul"]
Ask = Callable[..., Neighbours]


def cut(found: Neighbours, n: int, k: int) -> list[list[tuple[int, float]]]:
    """Of answers among all rows the first `k` that are among the first `n`."""
    lists = []
    for rows, scores in zip(found.rows.tolist(), found.scores.tolist(), strict=True):
        kept = [(row, score) for row, score in zip(rows, scores, strict=True) if 0 <= row < n]
        lists.append(kept[:k])
    return lists


def asks(search: Search, rng: np.random.Generator) -> dict[str, Ask]:
    """Queries with words from everywhere."""
    words = [str(i) for i in range(len(search.embedding))]
    questions = [tuple(str(rng.choice(words)) for _ in range(3)) for _ in range(25)]
    expressions = [f"{a} - 0.5*{b} + {c}" for a, b, c in questions]
    vectors = rng.normal(size=(9, search.embedding.width))
    found: dict[str, Ask] = {
        "similar": lambda k, **kw: search.similar([q[0] for q in questions], k, **kw),
        "solve": lambda k, **kw: search.solve(expressions, k, **kw),
        "nearest": lambda k, exclude_inputs, **kw: search.nearest(vectors, k, **kw),
    }
    for method in METHODS:
        found[method] = lambda k, method=method, **kw: search.analogies(questions, k, method=method, **kw)
    return found


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 5, 40, 80]), st.integers(1, 7), st.booleans(), st.booleans())
def test_restricted_answers_are_the_first_of_all_that_are_there(
    seed: int, n: int, k: int, exclude: bool, few_distinct: bool
) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(5, 4))[rng.integers(0, 5, 80)] if few_distinct else rng.normal(size=(80, 4))
    search = Search(Embedding(None, rows), device="numpy")
    for name, ask in asks(search, rng).items():
        every = ask(80, exclude_inputs=exclude)
        found = ask(k, exclude_inputs=exclude, restrict=n)
        assert found.rows.shape[1] == min(k, n), name
        assert cut(found, n, k) == cut(every, n, k), name
        assert ((found.rows >= 0) == ~np.isnan(found.scores)).all()


def test_the_cut_may_be_longer_than_there_are_rows(royals: Embedding) -> None:
    search = Search(royals)
    assert list(search.similar(["king"], restrict=99)) == list(search.similar(["king"]))
    assert search.analogies([("king", "man", "woman")], 1, restrict=1).best == [None]
    assert search.analogies([("queen", "woman", "man")], 1, restrict=1).best == ["king"]
    assert search.solve(["queen - woman + man"], 1, restrict=1).best == ["king"]


@pytest.mark.parametrize("method", METHODS)
def test_outside_words_in_many_parts(method: Method, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    search = Search(Embedding(None, rng.normal(size=(200, 6))), device="numpy")
    questions = [[str(i) for i in row] for row in rng.integers(0, 200, (40, 3))]
    questions[3][1] = "unknown"
    whole = search.analogies(questions, 3, method=method, restrict=50, missing="skip")
    monkeypatch.setattr(restricted, "_AT_ONCE", 7)
    parts = search.analogies(questions, 3, method=method, restrict=50, missing="skip")
    assert np.array_equal(whole.rows, parts.rows)
    assert np.array_equal(whole.scores, parts.scores, equal_nan=True)
    assert (whole.rows[3] == -1).all()


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 10, 40]), st.booleans())
def test_the_rank_among_the_first_rows_is_its_place_in_the_list(seed: int, n: int, exclude: bool) -> None:
    rng = np.random.default_rng(seed)
    search = Search(Embedding(None, rng.integers(-1, 2, (40, 3))))
    expressions = [f"{a} - {b} + {c}" for a, b, c in rng.integers(0, 40, (20, 3))]
    targets = [str(i) for i in rng.integers(0, 40, 20)]
    ranks = search.rank_of(expressions, targets, restrict=n, exclude_inputs=exclude)
    lists = search.solve(expressions, n, restrict=n, exclude_inputs=exclude).rows.tolist()
    assert ranks.tolist() == [
        row.index(int(target)) + 1 if int(target) in row else 0 for row, target in zip(lists, targets, strict=True)
    ]


@pytest.mark.parametrize("restrict", [0, -1, 2.5, "3", True])
def test_a_cut_to_nothing_is_refused(restrict: Any, royals: Embedding) -> None:
    search = Search(royals)
    calls: list[Callable[[], object]] = [
        lambda: search.similar(["king"], restrict=restrict),
        lambda: search.nearest([1, 2, 3], restrict=restrict),
        lambda: search.analogies([("king", "man", "woman")], restrict=restrict),
        lambda: search.solve(["king"], restrict=restrict),
        lambda: search.rank_of(["king"], ["man"], restrict=restrict),
    ]
    for call in calls:
        with pytest.raises(BadInput, match="restrict must be a whole number of 1 or more, or None, not"):
            call()


# -- unknown labels ----------------------------------------------------------------------------------------------------


def every_query(search: Search, missing: Any) -> dict[str, Any]:
    """Each query with a known item, an unknown one, and a known one."""
    return {
        "similar": search.similar(["king", "kin", "woman"], 1, missing=missing),
        "analogies": search.analogies(
            [("king", "man", "woman"), ("king", "mann", "woman"), ("queen", "woman", "man")], 1, missing=missing
        ),
        "solve": search.solve(["king - man + woman", "kin", "queen"], 1, missing=missing),
        "similarity": search.similarity([("man", "woman"), ("man", "kin"), ("man", "man")], missing=missing),
        "rank_of": search.rank_of(["king", "king", "kin", "man"], ["man", "kin", "man", "king"], missing=missing),
        "odd_one_out": search.odd_one_out(
            [["king", "queen", "man"], ["king", "kin"], ["man", "woman", "queen"]], missing=missing
        ),
    }


def test_skip_leaves_the_query_out(royals: Embedding) -> None:
    found = every_query(Search(royals), "skip")
    assert [one.query for one in found["similar"]] == ["king", "woman"]
    assert [one.query for one in found["analogies"]] == ["king - man + woman", "queen - woman + man"]
    assert [one.query for one in found["solve"]] == ["king - man + woman", "queen"]
    assert found["similarity"].tolist() == [0, 1]
    assert found["rank_of"].tolist() == [1, 1]
    assert found["rank_of"].dtype == np.int64
    assert len(found["odd_one_out"]) == 2


def test_nan_keeps_its_place(royals: Embedding) -> None:
    found = every_query(Search(royals), "nan")
    for name in ("similar", "analogies", "solve"):
        table = found[name]
        assert len(table) == len(list(table)) == 3
        none = list(table)[1]
        assert (none.rank, none.label, np.isnan(none.score)) == (1, None, True)
        assert len(table.unknown) == 1
        frame = table.to_frame()
        assert frame["label"].isna().tolist() == frame["score"].isna().tolist() == [False, True, False]
        html = table._repr_html_()
        assert "nan" not in html
        assert "None" not in html
        assert html.count("<tr>") == 4
    np.testing.assert_array_equal(found["similarity"], [0, np.nan, 1])
    np.testing.assert_array_equal(found["rank_of"], [1, np.nan, np.nan, 1])
    odd = found["odd_one_out"]
    assert (len(odd), odd[1]) == (3, None)


def test_with_nan_a_query_of_zeros_keeps_its_place_too() -> None:
    found = Search(Embedding(["o", "a", "b"], [[0, 0], [1, 0], [0, 1]])).similar(["o", "a"], missing="nan")
    assert [one.query for one in found] == ["o", "a"]
    assert len(found) == 2
    assert len(Search(Embedding(["a"], [[1]])).similar([], missing="nan")) == 0


def test_error_names_every_unknown_label(royals: Embedding) -> None:
    with pytest.raises(UnknownWord) as caught:
        Search(royals).rank_of(["kin", "qeen"], ["king", "king"])
    assert caught.value.missing == ("kin", "qeen")


def test_labels_in_a_notebook_are_text_also_where_there_is_none() -> None:
    embedding = Embedding(["<b>", "x"], np.eye(2))
    html = Search(embedding).similar(["<b>", "<i>"], missing="nan")._repr_html_()
    assert "<b>" not in html
    assert "<i>" not in html
    assert "&lt;i&gt;" in html


def test_nothing_asked_gives_nothing(royals: Embedding) -> None:
    search = Search(royals)
    for missing in ("error", "skip", "nan"):
        empty: list[npt.NDArray[Any]] = [
            search.similarity([], missing=missing),
            search.rank_of([], [], missing=missing),
        ]
        assert [len(one) for one in empty] == [0, 0]
        assert search.odd_one_out([], missing=missing) == []
        assert list(search.analogies([], missing=missing, restrict=2)) == []
