"""What Search says of words that it does not know and of wrong arguments, and the answers that it gives back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from embedkit import Embedding, Search
from embedkit.errors import BadInput, UnknownWord
from embedkit.search import Neighbour, Neighbours
from embedkit.search.engine import Device, Method

DEVICES: list[Device] = ["numpy", "cpu"]
METHODS: list[Method] = ["3cosadd", "3cosmul"]


# -- unknown words, capitals, bad values ------------------------------------------------------------------------------


def test_unknown_words_are_all_named(royals: Embedding) -> None:
    search = Search(royals)
    with pytest.raises(UnknownWord) as similar:
        search.similar(["kin", "king", "qeen", "kin"])
    assert similar.value.missing == ("kin", "qeen")
    assert similar.value.near["kin"] == ("king",)
    with pytest.raises(UnknownWord) as analogies:
        search.analogies([("king", "mann", "woman"), ("kin", "man", "woman")])
    assert analogies.value.missing == ("mann", "kin")


@pytest.mark.parametrize("device", DEVICES)
def test_with_skip_the_known_are_answered_and_the_unknown_named(royals: Embedding, device: Device) -> None:
    search = Search(royals, device=device)
    found = search.similar(["king", "kin", "man", "qeen", "kin"], k=1, missing="skip")
    assert found.best == ["man", None, "king", None, None]
    assert found.unknown == ("kin", "qeen")
    assert list(found.queries) == ["king", "kin", "man", "qeen", "kin"]
    for method in METHODS:
        questions = [("kin", "man", "woman"), ("king", "man", "woman"), ("king", "man", "womann")]
        found = search.analogies(questions, k=1, method=method, missing="skip")
        assert found.best == [None, "queen", None]
        assert found.unknown == ("kin", "womann")


def test_capitals_are_ignored_only_where_the_exact_word_is_unknown() -> None:
    embedding = Embedding(["King", "king", "Queen", "man"], [[1.0, 0.0], [0.0, 1.0], [1.0, 0.1], [0.1, 1.0]])
    search = Search(embedding)
    with pytest.raises(UnknownWord):
        search.similar(["KING"])
    assert search.similar(["KING", "king", "MAN"], k=1, ignore_case=True).best == ["Queen", "man", "king"]
    assert search.analogies([("KING", "MAN", "king")], k=1, ignore_case=True).best == ["Queen"]


def test_a_string_is_no_list_of_labels(royals: Embedding) -> None:
    with pytest.raises(BadInput, match=r"write \[label\]"):
        Search(royals).similar("king")


@pytest.mark.parametrize("words", [("king",), ("king", "man"), ("king", "man", "woman", "queen"), ()])
def test_a_question_has_three_words(words: tuple[str, ...], royals: Embedding) -> None:
    with pytest.raises(BadInput, match=f"question 1 has {len(words)} words, expected three"):
        Search(royals).analogies([("king", "man", "woman"), words])


def test_a_string_of_three_letters_is_no_question() -> None:
    embedding = Embedding(["m", "a", "n", "b"], np.eye(4))
    with pytest.raises(BadInput):
        Search(embedding).analogies(["man"])


@pytest.mark.parametrize("shape", [(2,), (1, 4), (2, 2, 3), ()])
def test_a_query_of_another_width_is_refused(shape: tuple[int, ...], royals: Embedding) -> None:
    with pytest.raises(BadInput, match="expected vectors of 3 dimensions, got shape"):
        Search(royals).nearest(np.zeros(shape))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_query_that_is_not_finite_is_named(bad: float, royals: Embedding) -> None:
    with pytest.raises(BadInput, match="query 1, column 2 is not a finite number"):
        Search(royals).nearest([[1.0, 2.0, 3.0], [1.0, 2.0, bad]])


@pytest.mark.parametrize("vectors", [["king", "man", "woman"], [[1, 2, 3], [1]]], ids=["words", "ragged"])
def test_a_query_that_is_no_matrix_of_numbers_is_refused(vectors: Any, royals: Embedding) -> None:
    with pytest.raises(BadInput):
        Search(royals).nearest(vectors)


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-38, 1e38, 1e200, 1e300])
def test_the_length_of_a_query_does_not_matter(scale: float, royals: Embedding) -> None:
    query = np.array([1, 0.5, 0.25])
    plain, scaled = Search(royals).nearest(query), Search(royals).nearest(scale * query)
    assert scaled.rows.tolist() == plain.rows.tolist()
    assert scaled.scores == pytest.approx(plain.scores, rel=1e-12)


@pytest.mark.parametrize("k", [0, -1, 1.5, "3", None])
def test_k_is_a_whole_number_of_one_or_more(k: Any, royals: Embedding) -> None:
    search = Search(royals)
    asks: list[Callable[[], Neighbours]] = [
        lambda: search.similar(["king"], k),
        lambda: search.nearest([1, 2, 3], k),
        *(lambda method=method: search.analogies([("king", "man", "woman")], k, method=method) for method in METHODS),
    ]
    for ask in asks:
        with pytest.raises(BadInput, match="k must be a whole number of 1 or more"):
            ask()


@pytest.mark.parametrize("device", ["gpu", "CUDA", "cuda:0", "", None])
def test_an_unknown_device_is_refused(device: Any, royals: Embedding) -> None:
    with pytest.raises(BadInput, match="device is one of auto, numpy, cpu, cuda, mps"):
        Search(royals, device=device)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_absent_is_refused(device: Device, royals: Embedding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(BadInput, match=f"device '{device}' is not available"):
        Search(royals, device=device)


def test_an_unknown_method_is_refused(royals: Embedding) -> None:
    with pytest.raises(BadInput, match="method is one of 3cosadd, 3cosmul, not '3CosAdd'"):
        Search(royals).analogies([("king", "man", "woman")], method="3CosAdd")  # type: ignore[arg-type]


def test_an_unknown_way_with_missing_words_is_refused(royals: Embedding) -> None:
    with pytest.raises(BadInput, match="missing is one of error, skip, nan, not 'ignore'"):
        Search(royals).similar(["king"], missing="ignore")  # type: ignore[arg-type]


@pytest.mark.parametrize("device", DEVICES)
def test_the_device_that_was_used_is_told(device: Device, royals: Embedding) -> None:
    assert Search(royals, device=device).similar(["king"]).device == device


def test_auto_is_numpy_without_a_gpu(royals: Embedding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Search(royals).similar(["king"]).device == "numpy"


# -- what is given back -----------------------------------------------------------------------------------------------


def test_neighbours_are_a_tidy_table(royals: Embedding) -> None:
    found = Search(royals).similar(["king", "woman"], k=2)
    assert list(found) == [
        Neighbour("king", 1, "man", found.scores[0, 0]),
        Neighbour("king", 2, "queen", found.scores[0, 1]),
        Neighbour("woman", 1, "queen", found.scores[1, 0]),
        Neighbour("woman", 2, "king", found.scores[1, 1]),
    ]
    assert len(found) == 4
    assert found.best == ["man", "queen"]
    frame = found.to_frame()
    assert list(frame.columns) == ["query", "rank", "label", "score"]
    assert list(frame.itertuples(index=False, name=None)) == [tuple(neighbour) for neighbour in found]


def test_neighbours_leave_out_what_has_no_answer(royals: Embedding) -> None:
    found = Search(royals).similar(["kin", "king"], k=9, missing="skip")
    assert found.rows.shape == (2, 4)  # no more than there are rows
    assert len(found) == len(list(found)) == len(found.to_frame()) == 3  # and king itself is none
    assert {neighbour.query for neighbour in found} == {"king"}


def test_a_frame_of_nothing_has_its_columns(royals: Embedding) -> None:
    assert list(Search(royals).similar([]).to_frame().columns) == ["query", "rank", "label", "score"]


def test_queries_are_told_in_words(royals: Embedding) -> None:
    search = Search(royals)
    assert list(search.analogies([("king", "man", "woman")]).queries) == ["king - man + woman"]
    assert list(search.nearest(np.ones((2, 3))).queries) == ["vector 0", "vector 1"]


def test_repr_counts(royals: Embedding) -> None:
    found = Search(royals, device="numpy").similar(["king", "man"], k=3)
    assert repr(found) == "Neighbours(2 queries, 6 answers, device=numpy)"


def test_html_shows_labels_as_text() -> None:
    embedding = Embedding(["<script>alert(1)</script>", "a & \u202eb"], np.ones((2, 2)))
    html = Search(embedding).similar(embedding, k=1)._repr_html_()
    assert "<script>" not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2
    assert "a &amp; \\u202eb" in html
    assert "\u202e" not in html


def test_html_of_many_answers_shows_the_first(rng: np.random.Generator) -> None:
    embedding = Embedding(None, rng.normal(size=(60, 3)))
    html = Search(embedding).similar(embedding, k=2)._repr_html_()
    assert html.count("<tr>") == 51  # and the heading
    assert "first 50 of 120 answers" in html
    assert "caption" not in Search(embedding).similar(["1"])._repr_html_()
