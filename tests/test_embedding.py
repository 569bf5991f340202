"""The one value that flows: what an Embedding holds and refuses, that nothing changes it, and how it looks."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedkit import Embedding
from embedkit.embedding import Storage
from embedkit.errors import BadInput
from embedkit.labels import Labels

# Conversion goes by this many rows at a time; tests of it must cross the border.
CHUNK = 4096


def same_bits(a: npt.ArrayLike | None, b: npt.ArrayLike) -> bool:
    """Equal in type, shape and every bit, so that -0.0 is not 0.0."""
    first, second = np.asarray(a), np.asarray(b)
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


# -- making one ------------------------------------------------------------------------------------------------------


def test_it_holds_what_it_was_made_from(royals: Embedding) -> None:
    assert list(royals.labels) == ["king", "queen", "man", "woman"]
    assert royals.vectors.dtype == np.float32
    assert royals.vectors.tolist() == [[1, 1, 0], [1, 0, 1], [0, 1, 0], [0, 0, 1]]
    assert {name: values.tolist() for name, values in royals.columns.items()} == {
        "count": [40, 30, 20, 10],
        "kind": ["royal", "royal", "common", "common"],
    }
    assert royals.provenance == {"made_by": "hand"}
    assert (len(royals), royals.width, royals.shape, royals.storage) == (4, 3, (4, 3), "float32")


def test_without_labels_rows_are_numbered() -> None:
    assert list(Embedding(None, [[1.0], [2.0]])) == ["0", "1"]


@pytest.mark.parametrize(
    "vectors",
    [
        [[1, 2], [3, 4]],
        np.array([[1, 2], [3, 4]], dtype=np.int8),
        np.array([[1, 2], [3, 4]], dtype=">f8"),
        np.array([[1, 2], [3, 4]], dtype=">f2"),
        np.asfortranarray(np.array([[1, 2], [3, 4]], dtype=np.float32)),
        np.array([[1, 0, 2, 0], [3, 0, 4, 0]], dtype=np.float32)[:, ::2],
        np.array([[1, 2], [3, 4]], dtype=np.longdouble),
        ((1, 2), (3, 4)),
        Embedding(["x", "y"], [[1, 2], [3, 4]]),
    ],
)
def test_any_matrix_of_real_numbers_becomes_float32(vectors: Any) -> None:
    embedding = Embedding(["a", "b"], vectors)
    assert same_bits(embedding.vectors, np.array([[1, 2], [3, 4]], dtype=np.float32))
    assert embedding.vectors.flags.c_contiguous


def test_float32_is_used_as_it_is_and_float16_stays_small() -> None:
    matrix = np.ones((2, 3), dtype=np.float32)
    assert np.shares_memory(Embedding(None, matrix).vectors, matrix)
    assert matrix.flags.writeable
    small = Embedding(None, matrix.astype(np.float16))
    assert small.storage == "float16"
    assert small.vectors.dtype == np.float32


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([1.0, 2.0], r"shape \(n, d\), not an array of shape \(2,\)"),
        (5.0, r"not an array of shape \(\)"),
        (None, r"not an array of shape \(\)"),
        ([], r"not an array of shape \(0,\)"),
        ([[[1.0]]], r"not an array of shape \(1, 1, 1\)"),
        ([[1.0], [1.0, 2.0]], "rows of different lengths"),
        ([[], []], "at least one dimension"),
        ([["x"], ["y"]], "real numbers, not <U1"),
        ([["1"], ["2"]], "real numbers, not <U1"),
        ([[1j], [2]], "real numbers, not complex128"),
        ([[None], [1.0]], "real numbers, not object"),
        ([[2**70], [1]], "real numbers, not object"),
        (np.array([["2020-01-01"], ["2021-01-01"]], dtype="M8[D]"), "real numbers, not datetime64"),
        ([[1.0]], "2 labels for 1 vectors"),
        ([[1.0]] * 3, "2 labels for 3 vectors"),
    ],
)
def test_what_is_no_matrix_for_the_labels_is_refused(vectors: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Embedding(["a", "b"], vectors)


@pytest.mark.parametrize("words", [["a", "a"], ["a", None], ["a", float("nan")], "ab", b"ab", ["a", "b\n"]])
def test_bad_labels_are_refused(words: Any) -> None:
    with pytest.raises(BadInput):
        Embedding(words, [[1.0], [2.0]])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e39, -1e39, 1e300])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (1, 2), (CHUNK - 1, 1), (CHUNK, 0), (CHUNK + 3, 2)])
def test_a_value_that_is_not_finite_is_refused_by_row_and_column(value: float, row: int, column: int) -> None:
    matrix = np.zeros((CHUNK + 4, 3))
    matrix[row, column] = value
    matrix[-1, -1] = value  # the first one is named
    with pytest.raises(BadInput, match=rf"^row {row} \('w{row}'\), column {column} is not a finite float32 number: "):
        Embedding([f"w{i}" for i in range(len(matrix))], matrix)


def test_infinite_float16_is_refused_and_the_label_is_shown_escaped() -> None:
    with pytest.raises(BadInput, match=r"row 0 \('\\x1b'\), column 1 is not a finite"):
        Embedding(["\x1b"], np.array([[0, np.inf]], dtype=np.float16))


def test_the_largest_and_smallest_float32_are_kept() -> None:
    extremes = np.array([[np.finfo(np.float32).max, -np.finfo(np.float32).max, 1e-45, -0.0]], dtype=np.float32)
    assert same_bits(Embedding(["a"], extremes.astype(np.float64)).vectors, extremes)


# -- columns and provenance ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["x", "yy"], np.array(["x", "yy"])),
        ([True, False], np.array([True, False])),
        ([1, -2], np.array([1, -2])),
        ([0.5, math.nan], np.array([0.5, math.nan])),
        ([math.inf, 1], np.array([math.inf, 1.0])),
        (np.array([1, 2], dtype=np.uint8), np.array([1, 2], dtype=np.uint8)),
        (np.array([1, 2], dtype=np.float16), np.array([1, 2], dtype=np.float16)),
        (pd.array([1, None], dtype="Int64"), np.array([1.0, math.nan])),
        (pd.Series(["x", "yy"]), np.array(["x", "yy"])),
        (pd.Series(["x", "yy"], dtype=object), np.array(["x", "yy"])),
        (pd.Categorical(["x", "yy"]), np.array(["x", "yy"])),
        (np.array(["x", "yy"], dtype=np.dtypes.StringDType()), np.array(["x", "yy"])),
        (("a\nb", ""), np.array(["a\nb", ""])),
    ],
)
def test_columns_hold_numbers_booleans_and_strings(values: Any, expected: npt.NDArray[Any]) -> None:
    column = Embedding(["a", "b"], [[1.0], [2.0]], columns={"c": values}).columns["c"]
    assert column.dtype.kind == expected.dtype.kind
    assert same_bits(column, expected)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"c": [1]}, r"column 'c' has shape \(1,\), expected \(2,\)"),
        ({"c": [1, 2, 3]}, r"has shape \(3,\)"),
        ({"c": 5}, r"has shape \(\)"),
        ({"c": [[1, 2], [3, 4]]}, r"has shape \(2, 2\)"),
        ({"c": [None, "x"]}, "must hold numbers, booleans or strings, not object"),
        ({"c": [None, 1.0]}, "not object"),
        ({"c": [b"x", b"y"]}, "not |S1"),
        ({"c": [1j, 2]}, "not complex128"),
        ({"c": np.array(["2020", "2021"], dtype="M8[Y]")}, "not datetime64"),
        ({"c": pd.Series(["x", None])}, "must hold"),
        ({"c": ["a\0b", "c"]}, "column 'c' holds a NUL character"),
        ({"": [1, 2]}, "non-empty string"),
        ({5: [1, 2]}, "non-empty string"),
        ({"a\0b": [1, 2]}, "without NUL or line breaks"),
        ({"a\nb": [1, 2]}, "without NUL or line breaks"),
        ({"a\rb": [1, 2]}, "without NUL or line breaks"),
        ({"\x1b": [1]}, r"column '\\x1b' has shape"),
    ],
)
def test_a_column_that_is_not_one_value_a_row_is_refused(columns: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Embedding(["a", "b"], [[1.0], [2.0]], columns=columns)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(
            ["a\0", "b"],
        ),
        pytest.param(
            ["\ud800", "b"],
        ),
        pytest.param(
            [[1], [1, 2]],
        ),
        pytest.param(
            [math.nan, "b"],
        ),
    ],
)
def test_a_column_that_cannot_be_kept_exactly_is_refused(values: Any) -> None:
    with pytest.raises(BadInput, match="column 'c'"):
        Embedding(["a", "b"], [[1.0], [2.0]], columns={"c": values})


def test_a_column_name_that_is_no_valid_unicode_is_refused() -> None:
    with pytest.raises(BadInput):
        Embedding(["a"], [[1.0]], columns={"\ud800": [1]})


@given(
    st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()) | st.dictionaries(st.text(), st.text())
)
def test_provenance_is_kept_as_json_holds_it(value: Any) -> None:
    assert Embedding(["a"], [[1.0]], provenance={"value": value}).provenance["value"] == value


@pytest.mark.parametrize(
    "provenance",
    [{"x": {1, 2}}, {"x": math.nan}, {"x": math.inf}, {"x": object()}, {"x": b"y"}, {(1, 2): 3}, 5],
)
def test_provenance_that_json_cannot_hold_is_refused(provenance: Any) -> None:
    with pytest.raises(BadInput, match="provenance must be plain JSON"):
        Embedding(["a"], [[1.0]], provenance=provenance)


def test_provenance_tells_where_a_derived_embedding_comes_from(royals: Embedding) -> None:
    small = royals.head(2).with_storage("int8")
    steps = [{"verb": "head", "n": 2}, {"verb": "with_storage", "storage": "int8"}]
    assert small.provenance == {"made_by": "hand", "then": steps}
    assert royals.unit.provenance["then"] == [{"verb": "unit"}]
    assert royals.take([1]).provenance["then"] == [{"verb": "take", "rows": 1}]
    both = royals.head(1).concat(royals.take([1])).provenance
    assert (both["made_by"], len(both["from"])) == ("concat", 2)
    assert royals.with_vectors([[1.0]] * 4).provenance["then"] == [{"verb": "with_vectors"}]
    assert royals.with_vectors([[1.0]] * 4, provenance={"made_by": "me"}).provenance == {"made_by": "me"}


def test_a_provenance_with_a_then_of_its_own_is_kept_whole() -> None:
    made = Embedding(["a"], [[1.0]], provenance={"then": "what"}).head(0)
    assert made.provenance == {"from": {"then": "what"}, "then": [{"verb": "head", "n": 0}]}


def test_a_thousand_operations_in_a_row_can_still_be_saved(tmp_path: Path, royals: Embedding) -> None:
    for _ in range(1000):
        royals = royals.take([1, 0, 2, 3])
    royals.save(tmp_path / "e")


def test_what_head_gave_for_a_numpy_integer_can_be_saved(tmp_path: Path, royals: Embedding) -> None:
    n: Any = np.int64(2)
    royals.head(n).save(tmp_path / "e")


# -- nothing changes it ----------------------------------------------------------------------------------------------


DERIVED: dict[str, Callable[[Embedding], Embedding]] = {
    "itself": lambda embedding: embedding,
    "unit": lambda embedding: embedding.unit,
    "head": lambda embedding: embedding.head(2),
    "take": lambda embedding: embedding.take([1, 0]),
    "concat": lambda embedding: embedding.concat(),
    "with_vectors": lambda embedding: embedding.with_vectors(np.ones((4, 2))),
}


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
@pytest.mark.parametrize("how", list(DERIVED))
def test_writing_into_it_raises(royals: Embedding, storage: Storage, how: str) -> None:
    embedding = DERIVED[how](royals.with_storage(storage))
    with pytest.raises(ValueError, match="read-only"):
        embedding.vectors[0, 0] = 5
    with pytest.raises(ValueError, match="read-only"):
        embedding.norms[0] = 5
    for values in embedding.columns.values():
        with pytest.raises(ValueError, match="read-only"):
            values[0] = values[1]
    columns: Any = embedding.columns
    with pytest.raises(TypeError):
        columns["new"] = [1, 2]
    embedding.provenance["made_by"] = "someone else"  # a copy
    assert embedding.provenance != {"made_by": "someone else"}
    changed: Any = embedding
    with pytest.raises(AttributeError):
        changed.labels = Labels(["a"])
    with pytest.raises(TypeError):
        changed["king"] = [1, 2, 3]
    with pytest.raises(TypeError):
        hash(embedding)


def test_norms_that_were_taken_along_cannot_be_written_into(royals: Embedding) -> None:
    assert len(royals.norms) == 4
    with pytest.raises(ValueError, match="read-only"):
        royals.take([1, 0]).norms[0] = 5


def test_writing_into_what_it_gave_does_not_change_it(royals: Embedding) -> None:
    before = royals.vectors.copy()
    royals["king"][:] = 9
    royals[["king", "man"]][:] = 9
    np.array(royals)[:] = 9
    royals.rows(["king"])[:] = 9
    frame = royals.to_frame()
    frame.loc[:, ["x", "count"]] = 9
    royals.to_gensim().vectors[:] = 9
    royals.to_torch().weight.data[:] = 9
    assert same_bits(royals.vectors, before)
    assert royals.columns["count"].tolist() == [40, 30, 20, 10]


def test_changing_what_it_was_made_from_does_not_change_its_labels_and_provenance() -> None:
    words, made = ["a", "b"], {"list": [1]}
    embedding = Embedding(words, [[1.0], [2.0]], provenance=made)
    words[0] = "z"
    made["list"].append(2)
    assert list(embedding) == ["a", "b"]
    assert embedding.provenance == {"list": [1]}


def test_changing_an_array_given_as_a_column_does_not_change_the_embedding() -> None:
    counts = np.array([1, 2])
    embedding = Embedding(["a", "b"], [[1.0], [2.0]], columns={"count": counts})
    counts[0] = 9
    assert embedding.columns["count"].tolist() == [1, 2]


@pytest.mark.parametrize("through", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])  # noqa: S301  # our own
def test_copies_through_pickle_are_equal(royals: Embedding, through: Callable[[Embedding], Embedding]) -> None:
    assert through(royals) == royals


# -- how it looks ----------------------------------------------------------------------------------------------------


def test_repr_tells_size_columns_and_storage(royals: Embedding) -> None:
    assert repr(royals) == "Embedding(4 x 3, columns=['count', 'kind'])"
    assert repr(Embedding(["a"], [[1.0]]).with_storage("int8")) == "Embedding(1 x 1, storage=int8)"
    assert repr(Embedding(["a"], [[1.0]], columns={"\x1b[2J": [1]})) == r"Embedding(1 x 1, columns=['\x1b[2J'])"


class Tags(HTMLParser):
    """The names of the tags in a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not attrs

    def handle_data(self, data: str) -> None:
        self.text.append(data)


TABLE_TAGS = {"table", "caption", "thead", "tbody", "tr", "th", "td"}


@pytest.mark.parametrize("odd", ["<script>alert(1)</script>", "<img src=x onerror=y>", "&lt;", "a\"b'c", "<!--", "]]>"])
@pytest.mark.parametrize("where", ["label", "column", "value"])
def test_markup_in_the_table_is_shown_as_text(odd: str, where: str) -> None:
    embedding = Embedding(
        [odd if where == "label" else "a"],
        [[1.0]],
        columns={odd if where == "column" else "c": [odd if where == "value" else "b"]},
    )
    page = Tags()
    page.feed(embedding._repr_html_())
    page.close()
    assert set(page.tags) == TABLE_TAGS
    assert odd in page.text


@pytest.mark.parametrize(("odd", "shown"), [("\x1b[31m", r"\x1b[31m"), ("\u202e", r"\u202e"), ("\x9b", r"\x9b")])
def test_control_characters_in_the_table_are_shown_escaped(odd: str, shown: str) -> None:
    html = Embedding([odd], [[1.0]], columns={odd: [odd]})._repr_html_()
    assert odd not in html
    assert html.count(shown) == 3


def test_the_table_shows_a_few_rows_and_dimensions() -> None:
    html = Embedding(None, np.arange(1000).reshape(100, 10))._repr_html_()
    assert "100 labels × 10 dimensions (first 6 dimensions shown)" in html
    assert html.count("<tr>") == 1 + 8
    assert Embedding([], np.zeros((0, 2)))._repr_html_().count("<tr>") == 1
