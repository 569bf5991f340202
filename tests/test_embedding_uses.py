"""What is done with an Embedding: looking up, comparing, making others of it, storing, and leaving for other forms."""

from __future__ import annotations

import contextlib
import csv
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embedkit import Embedding
from embedkit.embedding import Storage
from embedkit.errors import BadInput, UnknownWord
from embedkit.formats.frame import dimension_names, write_csv
from embedkit.labels import Labels

# Conversion goes by this many rows at a time; tests of it must cross the border.
CHUNK = 4096

labels = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r"), max_size=5)
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)


@st.composite
def embeddings(draw: st.DrawFn, *, largest: float | None = None, min_size: int = 0) -> Embedding:
    words = draw(st.lists(labels, unique=True, min_size=min_size, max_size=8))
    n = len(words)
    bound = largest if largest is None else float(np.float32(largest))
    numbers = st.floats(
        None if bound is None else -bound, bound, width=32, allow_nan=False, allow_infinity=False, allow_subnormal=True
    )
    columns: dict[str, npt.NDArray[Any]] = {}
    if draw(st.booleans()):
        columns = {
            "kind": np.array(draw(st.lists(text, min_size=n, max_size=n)), dtype=np.str_),
            "known": draw(hnp.arrays(np.bool_, n)),
            "count": draw(hnp.arrays(np.int64, n)),
            "score": draw(hnp.arrays(np.float64, n)),  # NaN and infinity are fine here
        }
    vectors = draw(hnp.arrays(np.float32, (n, draw(st.integers(1, 5))), elements=numbers))
    return Embedding(words, vectors, columns=columns, provenance={"made_by": "hypothesis"})


def same_bits(a: npt.ArrayLike | None, b: npt.ArrayLike) -> bool:
    """Equal in type, shape and every bit, so that -0.0 is not 0.0."""
    first, second = np.asarray(a), np.asarray(b)
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


# -- a mapping from labels to vectors --------------------------------------------------------------------------------


@given(embeddings())
def test_iterating_gives_the_labels_and_each_leads_to_its_row(embedding: Embedding) -> None:
    words = list(embedding)
    assert words == list(embedding.labels)
    assert len(words) == len(embedding) == embedding.shape[0] == len(embedding.vectors)
    assert embedding.rows(words).tolist() == list(range(len(words)))
    assert same_bits(embedding[words], embedding.vectors)
    for row, word in enumerate(words):
        assert word in embedding
        assert same_bits(embedding[word], embedding.vectors[row])
        assert same_bits(embedding.get(word), embedding.vectors[row])


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
def test_vectors_by_label_are_float32_in_every_storage(royals: Embedding, storage: Storage) -> None:
    kept = royals.with_storage(storage)
    assert kept["queen"].dtype == np.float32
    assert kept["queen"].tolist() == [1, 0, 1]
    assert kept[["man", "king", "man"]].tolist() == [[0, 1, 0], [1, 1, 0], [0, 1, 0]]
    assert kept[[]].shape == (0, 3)
    found = kept.get("man")
    assert found is not None
    assert found.tolist() == [0, 1, 0]


def test_get_gives_the_default_where_the_label_is_unknown(royals: Embedding) -> None:
    assert royals.get("emperor") is None
    assert royals.get("emperor", 5) == 5
    assert royals.get("\ud800") is None


def test_rows_may_ignore_case_and_mark_what_is_missing() -> None:
    embedding = Embedding(["Polish", "polish"], [[1.0], [2.0]])
    assert embedding.rows(["polish", "Polish"], ignore_case=True).tolist() == [1, 0]
    assert embedding.rows(["POLISH"], ignore_case=True).tolist() == [0]
    assert embedding.rows(["POLISH", "polish", "x"], missing="mark").tolist() == [-1, 1, -1]
    assert embedding.rows(iter(["polish"])).tolist() == [1]
    with pytest.raises(UnknownWord):
        embedding.rows(["POLISH"])


def test_rows_refuses_an_unknown_way_to_treat_the_missing(royals: Embedding) -> None:
    way: Any = "raise"
    with pytest.raises(BadInput):
        royals.rows(["emperor"], missing=way)


@pytest.mark.parametrize("wanted", [["king", 5], [None], [b"king"], [("king",)]])
def test_asking_with_what_is_no_string_is_refused(royals: Embedding, wanted: Any) -> None:
    with pytest.raises(BadInput, match="labels are strings"):
        royals[wanted]


def test_a_string_where_a_list_belongs_is_refused(royals: Embedding) -> None:
    with pytest.raises(BadInput, match=r"write \[label\]"):
        royals.rows("king")


@pytest.mark.parametrize("number", [1, 3, 150, 500])
def test_unknown_words_are_all_named_with_near_spellings(royals: Embedding, number: int) -> None:
    missing = ["qeen", *(f"emperor{i}" for i in range(number - 1))]
    with pytest.raises(UnknownWord) as caught:
        royals[["king", *missing, "woman", "qeen"]]
    assert caught.value.missing == tuple(missing)
    assert caught.value.near["qeen"] == ("queen",)
    assert str(caught.value).startswith("unknown: 'qeen' (near: queen)")
    assert all(f"'{word}'" in str(caught.value) for word in missing)


@pytest.mark.parametrize(
    "ask",
    [
        lambda royals: royals["qeen"],
        lambda royals: royals[["qeen"]],
        lambda royals: royals.rows(["qeen"]),
        lambda royals: royals.similar("qeen"),
        lambda royals: royals.analogy("king", "man", "qeen"),
    ],
)
def test_an_unknown_word_is_a_key_error_with_a_hint(royals: Embedding, ask: Callable[[Embedding], Any]) -> None:
    with pytest.raises(UnknownWord, match=r"^unknown: 'qeen' \(near: queen\)$") as caught:
        ask(royals)
    assert isinstance(caught.value, KeyError)


def test_array_conversion_gives_the_float32_matrix(royals: Embedding) -> None:
    assert same_bits(np.asarray(royals), royals.vectors)
    assert np.shares_memory(np.asarray(royals), royals.vectors)
    assert not np.shares_memory(np.array(royals), royals.vectors)
    assert np.asarray(royals, dtype=np.float64).dtype == np.float64
    assert np.asarray(royals.with_storage("int8")).dtype == np.float32
    assert (royals.vectors @ np.asarray(royals).T).shape == (4, 4)
    with pytest.raises(ValueError, match="copy"):
        np.array(royals, dtype=np.float64, copy=False)


# -- equality --------------------------------------------------------------------------------------------------------


@given(embeddings(largest=60000), st.sampled_from(["float32", "float16", "int8"]))
def test_equality_is_that_of_labels_vectors_and_columns(embedding: Embedding, storage: Storage) -> None:
    kept = embedding.with_storage(storage)
    again = Embedding(list(kept), kept.vectors.copy(), columns=kept.columns, provenance={"made_by": "other"})
    assert kept == again
    assert again == kept


@given(embeddings(min_size=1), st.data())
def test_any_change_makes_it_unequal(embedding: Embedding, data: st.DataObject) -> None:
    n, d = embedding.shape
    row = data.draw(st.integers(0, n - 1))
    changed = embedding.vectors.copy()
    changed[row, data.draw(st.integers(0, d - 1))] += np.float32(1)
    assume(not np.array_equal(changed, embedding.vectors))  # adding one to a large number may do nothing
    assert embedding != embedding.with_vectors(changed)
    words = list(embedding)
    words[row] = words[row] + "x" * 9
    assert embedding != Embedding(words, embedding.vectors, columns=embedding.columns)
    assert embedding != Embedding(list(embedding), embedding.vectors, columns={**embedding.columns, "new": range(n)})
    assert embedding != embedding.take(np.arange(n) != row)


def test_equality_sees_columns_and_treats_nan_as_equal() -> None:
    def make(**columns: Any) -> Embedding:
        return Embedding(["a", "b"], [[1.0], [2.0]], columns=columns)

    assert make(c=[math.nan, 1.0]) == make(c=[math.nan, 1.0])
    assert make(c=[math.nan, 1.0]) != make(c=[math.nan, 2.0])
    assert make(c=[1, 2]) != make(c=["1", "2"])
    assert make(c=["1", "2"]) != make(c=[1, 2])
    assert make(c=[1, 2]) != make(d=[1, 2])
    assert make(c=[1, 2]) != make()
    assert make() != Embedding(["a", "b"], [[1.0, 0.0], [2.0, 0.0]])
    for other in (5, None, "ab", ["a", "b"], Labels(["a", "b"])):
        assert make() != other


# -- new ones from it ------------------------------------------------------------------------------------------------


def assert_rows(taken: Embedding, source: Embedding, rows: list[int]) -> None:
    """`taken` is exactly `rows` of `source`: labels, vectors, norms, columns, storage."""
    assert list(taken) == [source.labels[row] for row in rows]
    assert same_bits(taken.vectors, source.vectors[rows].reshape(len(rows), source.width))
    assert same_bits(taken.norms, source.norms[rows])
    assert list(taken.columns) == list(source.columns)
    assert all(same_bits(values[rows], taken.columns[name]) for name, values in source.columns.items())
    assert taken.storage == source.storage
    assert all(taken.labels.find(source.labels[row]) == place for place, row in enumerate(rows))


@given(embeddings(largest=60000), st.sampled_from(["float32", "float16", "int8"]), st.booleans(), st.data())
def test_take_gives_those_rows_and_rows_lead_back(
    embedding: Embedding, storage: Storage, normed: bool, data: st.DataObject
) -> None:
    source = embedding.with_storage(storage)
    n = len(source)
    if normed:
        assert len(source.norms) == n  # known norms are taken along; unknown ones are computed afterwards
    rows = data.draw(st.permutations(range(n)))[: data.draw(st.integers(0, n))]
    assert_rows(source.take(rows), source, rows)
    assert source.rows(source.take(rows).labels).tolist() == rows
    assert source.take([row - n for row in rows]) == source.take(rows)
    mask = np.isin(np.arange(n), rows)
    assert_rows(source.take(mask), source, sorted(rows))
    assert source.take(mask.tolist()) == source.take(mask) if n else True


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([4], "row 4 does not exist: there are 4 rows"),
        ([0, -5], "row -5 does not exist"),
        ([10**12], "row 1000000000000 does not exist"),
        ([0, 0], "label 'king' is there twice"),
        ([0, -4], "label 'king' is there twice"),
        ([0.0], "rows are a list of integers, not float64"),
        (["king"], "rows are a list of integers"),
        ([None], "rows are a list of integers"),
        ([10**30], "rows are a list of integers"),
        (1, r"rows are a list of integers, not int64 of shape \(\)"),
        ([[0, 1]], r"of shape \(1, 2\)"),
        ([True, False], r"a mask has one entry a row: expected shape \(4,\), got \(2,\)"),
        (np.ones((4, 1), dtype=bool), r"got \(4, 1\)"),
    ],
)
def test_take_refuses_rows_that_are_not_there_once(royals: Embedding, rows: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        royals.take(rows)


def test_take_refuses_unsigned_rows_beyond_all_others(royals: Embedding) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        royals.take(np.array([2**64 - 1], dtype=np.uint64))


@given(embeddings(), st.integers(0, 10))
def test_head_is_a_prefix(embedding: Embedding, n: int) -> None:
    assert_rows(embedding.head(n), embedding, list(range(min(n, len(embedding)))))


def test_head_of_less_than_nothing_is_refused(royals: Embedding) -> None:
    with pytest.raises(BadInput, match="not -1"):
        royals.head(-1)


@given(embeddings(), st.integers(0, 8))
def test_head_and_the_rest_make_the_whole(embedding: Embedding, n: int) -> None:
    first = embedding.head(n)
    whole = first.concat(embedding.take(np.arange(len(first), len(embedding))))
    assert whole == embedding
    assert same_bits(whole.vectors, embedding.vectors)
    assert first.concat() == first


def test_concat_of_several_keeps_order_and_decodes() -> None:
    parts = [Embedding([word], [[value]], columns={"c": [word * 3]}) for word, value in [("a", 1.0), ("b", 2.0)]]
    whole = parts[0].concat(parts[1].with_storage("int8"), Embedding(["c"], [[3.0]], columns={"c": ["long text"]}))
    assert list(whole) == ["a", "b", "c"]
    assert whole.vectors.tolist() == [[1], [2], [3]]
    assert whole.columns["c"].tolist() == ["aaa", "bbb", "long text"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Embedding(["x"], [[1.0]], columns={"count": [1], "kind": ["k"]}), "1-d vectors under 3-d ones"),
        (Embedding(["x"], [[1.0, 2.0, 3.0]]), r"columns differ: \['count', 'kind'\] and \[\]"),
        (Embedding(["x"], [[1.0] * 3], columns={"count": [1], "kinds": ["k"]}), "columns differ"),
        (Embedding(["man"], [[1.0] * 3], columns={"count": [1], "kind": ["k"]}), "'man' is there twice, in rows 2 and"),
    ],
)
def test_concat_refuses_what_does_not_fit(royals: Embedding, other: Embedding, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        royals.concat(other)


@given(embeddings(), st.data())
def test_filter_keeps_the_rows_whose_label_is_wanted(embedding: Embedding, data: st.DataObject) -> None:
    wanted = data.draw(st.sets(st.sampled_from(list(embedding)))) if len(embedding) else set()
    kept = embedding.filter(lambda label: label in wanted)
    assert_rows(kept, embedding, [row for row, label in enumerate(embedding) if label in wanted])
    assert len(kept) + len(embedding.filter(lambda label: label not in wanted)) == len(embedding)


def test_filter_takes_what_python_takes_for_true(royals: Embedding) -> None:
    def letters(label: str) -> Any:
        return label.count("n") and [label]

    def nothing(label: str) -> Any:
        return None

    assert list(royals.filter(letters)) == ["king", "queen", "man", "woman"]
    assert len(royals.filter(nothing)) == 0


def test_with_vectors_keeps_labels_and_columns(royals: Embedding) -> None:
    flat = royals.with_vectors(np.arange(8).reshape(4, 2))
    assert list(flat) == list(royals)
    assert flat.columns["kind"].tolist() == royals.columns["kind"].tolist()
    assert flat.vectors.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    with pytest.raises(BadInput, match="4 labels for 3 vectors"):
        royals.with_vectors(np.ones((3, 2)))
    with pytest.raises(BadInput, match=r"row 3 \('woman'\), column 0"):
        royals.with_vectors([[1.0], [2.0], [3.0], [math.nan]])


# -- lengths ---------------------------------------------------------------------------------------------------------


@given(embeddings(largest=60000), st.sampled_from(["float32", "float16", "int8"]))
def test_norms_are_the_euclidean_lengths(embedding: Embedding, storage: Storage) -> None:
    kept = embedding.with_storage(storage)
    expected = [math.sqrt(math.fsum(value * value for value in row)) for row in kept.vectors.tolist()]
    assert kept.norms.dtype == np.float64
    np.testing.assert_allclose(kept.norms, expected, rtol=1e-14, atol=0)


@given(embeddings())
def test_unit_rows_have_length_one_and_zero_rows_stay_zero(embedding: Embedding) -> None:
    unit = embedding.unit
    assert embedding.unit is unit
    assert list(unit) == list(embedding)
    assert list(unit.columns) == list(embedding.columns)
    for row, length in enumerate(embedding.norms.tolist()):
        if length == 0:
            assert not unit.vectors[row].any()
        else:
            expected = embedding.vectors[row].astype(np.float64) / length
            np.testing.assert_allclose(unit.vectors[row], expected, rtol=3e-7, atol=1e-44)
            assert math.sqrt(math.fsum(v * v for v in unit.vectors[row].tolist())) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("scale", [1e38, 3e37, 1e30, 1e29, 1.0, 1e-20, 1e-29, 1e-30, 1e-31, 1e-37, 1e-40, 1e-43])
@pytest.mark.parametrize("direction", [[3, 4, 0], [-1, 1, -1], [0, 0, 2]])
def test_huge_and_tiny_rows_are_normalised_right(scale: float, direction: list[int]) -> None:
    row = (np.array(direction) * scale / 4).astype(np.float32)
    wide = row.astype(np.float64)  # float64 has room for the squares of all float32 numbers
    embedding = Embedding(["plain", "odd"], np.stack([np.array([0, 1, 0], dtype=np.float32), row]))
    assert embedding.unit["plain"].tolist() == [0, 1, 0]
    np.testing.assert_allclose(embedding.unit["odd"], wide / np.sqrt(wide @ wide), rtol=3e-7)
    assert embedding.unit.norms[1] == pytest.approx(1, abs=1e-6)


def test_lengths_and_unit_rows_are_right_beyond_one_chunk(rng: np.random.Generator) -> None:
    matrix = rng.standard_normal((CHUNK + 7, 3)).astype(np.float32)
    matrix[[0, CHUNK, CHUNK + 6]] = 0
    matrix[CHUNK - 1] = 1e38
    matrix[CHUNK + 1] = 1e-40
    embedding = Embedding(None, matrix)
    wide = matrix.astype(np.float64)
    norms = np.sqrt((wide * wide).sum(axis=1))
    np.testing.assert_allclose(embedding.norms, norms, rtol=1e-14)
    expected = np.divide(wide, norms[:, None], out=np.zeros_like(wide), where=norms[:, None] > 0)
    np.testing.assert_allclose(embedding.unit.vectors, expected, rtol=3e-7)


# -- storage ---------------------------------------------------------------------------------------------------------


@given(embeddings(largest=65504))
def test_float16_rounds_to_eleven_bits(embedding: Embedding) -> None:
    kept = embedding.with_storage("float16")
    assert kept.storage == "float16"
    exact = embedding.vectors.astype(np.float64)
    # half a step: relative for normal numbers, 2**-25 below the smallest of them
    assert np.all(np.abs(kept.vectors - exact) <= np.maximum(np.abs(exact) * 2.0**-11, 2.0**-25))
    assert kept.with_storage("float16") is kept
    assert same_bits(kept.with_storage("float32").with_storage("float16").vectors, kept.vectors)


@given(embeddings(largest=1e38))
def test_int8_rounds_to_half_a_step_of_its_row(embedding: Embedding) -> None:
    kept = embedding.with_storage("int8")
    assert kept.storage == "int8"
    largest = np.abs(embedding.vectors.astype(np.float64)).max(axis=1, initial=0.0)
    error = np.abs(kept.vectors - embedding.vectors.astype(np.float64)).max(axis=1, initial=0.0)
    # Below this a step is itself a number of few bits.
    plain = largest > 1e-35
    assert np.all(error[plain] <= largest[plain] / 254 * (1 + 1e-5))
    assert np.all(error[~plain] <= 1e-35)
    assert not kept.vectors[largest == 0].any()


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
def test_storage_keeps_labels_columns_and_norms_of_what_is_decoded(royals: Embedding, storage: Storage) -> None:
    kept = royals.with_storage(storage)
    assert list(kept) == list(royals)
    assert kept.columns["count"].tolist() == [40, 30, 20, 10]
    wide = kept.vectors.astype(np.float64)
    np.testing.assert_allclose(kept.norms, np.sqrt((wide * wide).sum(axis=1)), rtol=1e-14)
    assert royals.with_storage("float32") is royals
    assert kept.with_storage("float32").storage == "float32"
    assert same_bits(kept.with_storage("float32").vectors, kept.vectors)


def test_float16_refuses_what_it_cannot_hold() -> None:
    assert Embedding(["a"], [[65504.0]]).with_storage("float16")["a"].tolist() == [65504]
    with pytest.raises(BadInput, match=r"row 1 \('b'\), column 1 is too large for float16"):
        Embedding(["a", "b"], [[0.0, 1.0], [2.0, -65520.0]]).with_storage("float16")


@pytest.mark.parametrize("storage", ["float64", "int4", "", None, np.float32])
def test_an_unknown_storage_is_refused(royals: Embedding, storage: Any) -> None:
    with pytest.raises(BadInput, match="storage is float32, float16 or int8"):
        royals.with_storage(storage)


@pytest.mark.filterwarnings("ignore:overflow")
def test_int8_of_the_largest_number_stays_finite() -> None:
    largest = np.finfo(np.float32).max
    assert np.isfinite(Embedding(["a"], np.full((1, 1), largest)).with_storage("int8").vectors).all()


@pytest.mark.parametrize(
    ("stored", "scales", "expected"),
    [
        (np.array([[1, 2], [3, 4]], dtype=np.float32), None, [[1, 2], [3, 4]]),
        (np.array([[1, 2], [3, 4]], dtype=np.float16), None, [[1, 2], [3, 4]]),
        (np.array([[1, 2], [3, 4]], dtype=np.int8), np.array([0.5, 2], dtype=np.float32), [[0.5, 1], [6, 8]]),
    ],
)
def test_parts_as_they_lie_in_a_file_are_decoded_when_read(
    stored: npt.NDArray[Any], scales: npt.NDArray[np.float32] | None, expected: list[list[float]]
) -> None:
    embedding = Embedding.from_stored(Labels(["a", "b"]), stored, scales=scales, columns={"c": np.array([1, 2])})
    assert embedding.vectors.tolist() == expected
    assert embedding["b"].tolist() == expected[1]
    assert embedding.columns["c"].tolist() == [1, 2]
    assert embedding.provenance == {}


# -- doors -----------------------------------------------------------------------------------------------------------


def test_similar_and_analogy_answer_by_cosine(royals: Embedding) -> None:
    assert royals.analogy("king", "man", "woman", k=1).best == ["queen"]
    assert royals.similar("man", k=1).best == ["king"]
    assert royals.similar(["man", "woman"], k=1).best == ["king", "queen"]
    assert [neighbour.rank for neighbour in royals.similar("man")] == [1, 2, 3]


@given(embeddings())
def test_frames_lead_back_bit_for_bit(embedding: Embedding) -> None:
    frame = embedding.to_frame()
    assert frame.index.name == "label"
    assert list(frame.index) == list(embedding)
    assert list(frame.columns) == [*embedding.columns, *dimension_names(embedding.width)]
    back = Embedding.from_frame(frame, columns=list(embedding.columns))
    assert back == embedding
    assert same_bits(back.vectors, embedding.vectors)
    assert all(values.dtype.kind == back.columns[name].dtype.kind for name, values in embedding.columns.items())


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_dimensions_of_maps_are_x_y_z(width: int) -> None:
    frame = Embedding(["a"], np.ones((1, width))).to_frame()
    assert list(frame.columns) == (["x", "y", "z"][:width] if width < 4 else ["d0", "d1", "d2", "d3"])


def test_a_column_named_like_a_dimension_is_refused() -> None:
    with pytest.raises(BadInput, match="column 'y' has the name of a dimension"):
        Embedding(["a"], [[1.0, 2.0]], columns={"y": [1]}).to_frame()


def test_from_frame_takes_any_index_and_all_kinds_of_numbers() -> None:
    frame = pd.DataFrame(
        {"kind": ["p", "q"], "f": [0.5, 1], "i": [1, 2], "b": [True, False], "n": pd.array([3, 4], dtype="Int64")},
        index=[10, 20],
    )
    embedding = Embedding.from_frame(frame, columns=["kind"])
    assert list(embedding) == ["10", "20"]
    assert embedding.vectors.tolist() == [[0.5, 1, 1, 3], [1, 2, 0, 4]]
    assert embedding.columns["kind"].tolist() == ["p", "q"]


@pytest.mark.parametrize(
    ("frame", "columns", "message"),
    [
        (pd.DataFrame({"x": [1.0]}, index=["a"]), ["kind"], "no column 'kind' in the table; it has"),
        (pd.DataFrame({"x": [1.0, 2.0]}, index=["a", None]), [], "row 1 has no label"),
        (pd.DataFrame({"x": [1.0, 2.0]}, index=[math.nan, 1.0]), [], "row 0 has no label"),
        (pd.DataFrame({"x": [1.0, 2.0]}, index=["a", "a"]), [], "label 'a' is there twice, in rows 0 and 1"),
        (pd.DataFrame({"x": ["p"]}, index=["a"]), [], "column 'x' is not numeric"),
        (pd.DataFrame({"x": [1.0], "t": pd.to_datetime(["2020"])}, index=["a"]), [], "column 't' is not numeric"),
        (pd.DataFrame({"x": [1.0], "t": pd.to_timedelta([1])}, index=["a"]), [], "column 't' is not numeric"),
        (pd.DataFrame({"x": [1.0, 2.0], "y": [3.0, None]}, index=["a", "b"]), [], r"row 1 \('b'\), column 'y'"),
        (pd.DataFrame({"x": pd.array([1, None], dtype="Int64")}, index=["a", "b"]), [], r"row 1 \('b'\), column 'x'"),
        (pd.DataFrame({"x": [1.0, np.inf]}, index=["a", "b"]), [], r"row 1 \('b'\), column 0 is not a finite"),
        (pd.DataFrame({"x": [1.0]}, index=["a"]), ["x"], "at least one dimension"),
        (pd.DataFrame({"x": [1.0], "c": [None]}, index=["a"]), ["c"], "column 'c' must hold"),
        (pd.DataFrame({"x": [1.0], 5: ["p"]}, index=["a"]), [5], "a column's name is a non-empty string"),
    ],
)
def test_from_frame_refuses_by_row_and_column(frame: pd.DataFrame, columns: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Embedding.from_frame(frame, columns=columns)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(
            pd.DataFrame({"x": [1j, 2]}, index=["a", "b"]),
        ),
        pytest.param(
            pd.DataFrame({"x": [1e39, 2]}, index=["a", "b"]),
        ),
    ],
)
def test_from_frame_refuses_numbers_that_float32_cannot_hold(frame: pd.DataFrame) -> None:
    with pytest.raises(BadInput):
        Embedding.from_frame(frame)


def test_from_frame_takes_or_refuses_an_index_of_several_levels() -> None:
    index = pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])
    with contextlib.suppress(BadInput):
        assert len(Embedding.from_frame(pd.DataFrame({"x": [1.0, 2.0]}, index=index))) == 2


@given(embeddings())
def test_csv_reads_back_bit_for_bit(embedding: Embedding) -> None:
    stream = io.BytesIO()
    write_csv(embedding, stream)
    assert not stream.closed
    rows = list(csv.reader(io.StringIO(stream.getvalue().decode("utf-8"), newline=""), lineterminator="\n"))
    kept = list(embedding.columns)
    assert rows[0] == ["label", *kept, *dimension_names(embedding.width)]
    assert [row[0] for row in rows[1:]] == list(embedding)
    numbers = np.array([row[1 + len(kept) :] for row in rows[1:]]).astype(np.float32).reshape(embedding.shape)
    assert same_bits(numbers, embedding.vectors)
    if kept:
        assert [row[1] for row in rows[1:]] == embedding.columns["kind"].tolist()


def test_csv_files_are_read_by_pandas(tmp_path: Path) -> None:
    embedding = Embedding(["nan", 'a"b', "c,d", "007"], [[0.1, 1e-45], [3e38, -0.0], [1 / 3, 2.0], [5.0, 6.0]])
    embedding.to_csv(tmp_path / "e.csv")
    frame = pd.read_csv(tmp_path / "e.csv", keep_default_na=False, index_col=0, dtype={"label": str})
    assert Embedding.from_frame(frame) == embedding


@given(embeddings(min_size=1))
@settings(max_examples=50)
def test_gensim_leads_back_bit_for_bit(embedding: Embedding) -> None:
    keyed = embedding.to_gensim()
    assert keyed.index_to_key == list(embedding)
    assert all(same_bits(keyed[word], embedding[word]) for word in embedding)
    back = Embedding.from_gensim(keyed)
    assert back == embedding
    assert same_bits(back.vectors, embedding.vectors)
    assert all(values.dtype.kind == back.columns[name].dtype.kind for name, values in embedding.columns.items())


def test_what_from_gensim_gave_does_not_change_with_the_model(royals: Embedding) -> None:
    keyed = royals.to_gensim()
    back = Embedding.from_gensim(keyed)
    keyed.vectors[:] = 9
    assert back == royals


@pytest.mark.parametrize("other", [None, {}, "model", np.ones((2, 2))])
def test_from_gensim_refuses_anything_else(other: Any) -> None:
    with pytest.raises(BadInput, match=r"expected gensim KeyedVectors.*give its \.wv"):
        Embedding.from_gensim(other)


@pytest.mark.parametrize("name", ["code", "point", "sample_int"])
def test_columns_with_names_that_gensim_uses_come_back(name: str) -> None:
    embedding = Embedding(["a", "b"], [[1.0], [2.0]], columns={name: [1, 2]})
    assert Embedding.from_gensim(embedding.to_gensim()) == embedding


@given(embeddings())
@settings(max_examples=50)
def test_torch_leads_back_bit_for_bit(embedding: Embedding) -> None:
    module = embedding.to_torch()
    assert tuple(module.weight.shape) == embedding.shape
    back = Embedding.from_torch(module, embedding.labels)
    assert list(back) == list(embedding)
    assert same_bits(back.vectors, embedding.vectors)


def test_torch_weights_train_only_when_they_are_not_frozen(royals: Embedding) -> None:
    import torch

    assert not royals.to_torch().weight.requires_grad
    module = royals.to_torch(freeze=False)
    assert module.weight.requires_grad
    assert module(torch.tensor([1, 3])).tolist() == royals[["queen", "woman"]].tolist()
    before = Embedding.from_torch(module, list(royals))
    with torch.no_grad():
        module.weight += 1
    assert same_bits(before.vectors, royals.vectors)


def test_from_torch_refuses_what_does_not_fit(royals: Embedding) -> None:
    import torch

    with pytest.raises(BadInput, match="2 labels for 4 vectors"):
        Embedding.from_torch(royals.to_torch(), ["a", "b"])
    make: Any = torch.nn.Embedding.from_pretrained
    bad = make(torch.tensor([[1.0], [float("nan")]]))
    with pytest.raises(BadInput, match=r"row 1 \('b'\), column 0"):
        Embedding.from_torch(bad, ["a", "b"])
    half = make(torch.ones((2, 1), dtype=torch.bfloat16))
    assert Embedding.from_torch(half, ["a", "b"]).vectors.tolist() == [[1], [1]]
