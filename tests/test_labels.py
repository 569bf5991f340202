"""Labels: a sequence of distinct strings that finds a row by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from embedkit.errors import BadInput, EmbedkitError, UnknownWord
from embedkit.labels import Labels

# More lookups than this and a dictionary answers instead of a scan.
MANY = 200

characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r")
any_label = st.text(characters, max_size=6)
# Few letters, so that labels are often parts of each other.
tight_label = st.text("ab", max_size=4)
label_lists = st.lists(any_label | tight_label, unique=True, max_size=30)


def scanning(words: Sequence[str]) -> Callable[[str], int]:
    """A find that never builds a dictionary: each lookup asks a fresh Labels."""
    return lambda word: Labels(words).find(word)


def indexed(words: Sequence[str]) -> Callable[[str], int]:
    """A find that always asks the dictionary."""
    labels = Labels(words)
    for _ in range(MANY):
        labels.find("\x01 no such label")
    return labels.find


BOTH_WAYS = pytest.mark.parametrize("way", [scanning, indexed])


# -- a sequence ------------------------------------------------------------------------------------------------------


@given(label_lists)
def test_labels_are_the_sequence_they_were_made_from(words: list[str]) -> None:
    labels = Labels(words)
    assert len(labels) == len(words)
    assert list(labels) == words
    assert [labels[row] for row in range(len(words))] == words
    assert [labels[row - len(words)] for row in range(len(words))] == words
    assert list(reversed(labels)) == words[::-1]
    assert all(word in labels for word in words)
    assert all(labels.index(word) == row and labels.count(word) == 1 for row, word in enumerate(words))


@given(label_lists, st.slices(30))
def test_slices_are_those_of_a_list(words: list[str], part: slice) -> None:
    sliced = Labels(words)[part]
    assert isinstance(sliced, Labels)
    assert list(sliced) == words[part]
    assert all(sliced.find(word) == row for row, word in enumerate(words[part]))


@given(label_lists, st.data())
def test_take_gives_the_rows_in_the_order_asked_for(words: list[str], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(words))))[: data.draw(st.integers(0, len(words)))]
    negative = data.draw(st.lists(st.booleans(), min_size=len(order), max_size=len(order)))
    rows = [row - len(words) if minus else row for row, minus in zip(order, negative, strict=True)]
    taken = Labels(words).take(rows)
    assert list(taken) == [words[row] for row in rows]
    assert all(taken.find(words[row]) == place for place, row in enumerate(rows))


@pytest.mark.parametrize("row", [3, -4, 10**9])
def test_a_row_outside_is_an_index_error(row: int) -> None:
    labels = Labels(["a", "b", "c"])
    with pytest.raises(IndexError):
        labels[row]
    with pytest.raises(IndexError):
        labels.take([row])


@pytest.mark.parametrize("rows", [[1, 1], [0, -3], [0, 1, 2, 0]])
def test_a_row_taken_twice_is_refused(rows: list[int]) -> None:
    with pytest.raises(BadInput, match="twice"):
        Labels(["a", "b", "c"]).take(rows)


@given(label_lists, label_lists)
def test_equality_is_that_of_the_contents(words: list[str], others: list[str]) -> None:
    assert Labels(words) == Labels(iter(words))
    assert (Labels(words) == Labels(others)) == (words == others)


def test_labels_equal_only_labels_and_cannot_be_hashed() -> None:
    assert Labels(["a"]) != ["a"]
    with pytest.raises(TypeError):
        hash(Labels(["a"]))


def test_labels_cannot_be_assigned_to() -> None:
    labels: Any = Labels(["a", "b"])
    with pytest.raises(TypeError):
        labels[0] = "c"
    with pytest.raises(AttributeError):
        labels.blob = b"\nc\nd\n"


def test_offsets_cannot_be_written_into() -> None:
    labels = Labels(["ab", "c"])
    with pytest.raises(ValueError, match="read-only"):
        labels.offsets[0] = 2


def test_repr_shows_the_first_labels_with_control_characters_escaped() -> None:
    assert repr(Labels(["a", "\x1b[31m", "\u202e", "d"])) == r"Labels(['a', '\x1b[31m', '\u202e', ...], n=4)"
    assert repr(Labels([])) == "Labels([], n=0)"


@pytest.mark.parametrize("other", [5, None, b"a", 1.0, ("a",)])
def test_what_is_no_string_is_in_no_labels(other: object) -> None:
    assert other not in Labels(["a", "5", "None", "1.0"])


# -- what a label may be ---------------------------------------------------------------------------------------------


def test_other_things_than_strings_are_stringified() -> None:
    given_labels = [5, 2.5, True, ("a", 1), np.int32(7), np.str_("word"), -0.0]
    assert list(Labels(given_labels)) == ["5", "2.5", "True", "('a', 1)", "7", "word", "-0.0"]
    assert list(Labels(range(3))) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", None], r"row 1 has no label \(it is None\)"),
        (["a", float("nan")], r"row 1 has no label \(it is nan\)"),
        ([np.float32("nan")], r"row 0 has no label \(it is nan\)"),
        ([np.datetime64("NaT")], r"row 0 has no label \(it is NaT\)"),
        (["a", b"b"], "the label of row 1 is bytes, not text"),
        (["a", "b\0c"], r"label 'b\\x00c' \(row 1\) holds a NUL character"),
        (["a\n"], r"label 'a\\n' \(row 0\) holds a line break"),
        (["\n"], r"label '\\n' \(row 0\) holds a line break"),
        (["x", "a\rb"], r"label 'a\\rb' \(row 1\) holds a line break"),
        (["x", "y", "a\r\n"], r"label 'a\\r\\n' \(row 2\) holds a line break"),
        (["x", "\ud800"], r"label '\\ud800' \(row 1\) is not valid Unicode: lone surrogate"),
        (["x", "a\udfffb"], r"label 'a\\udfffb' \(row 1\) is not valid Unicode: lone surrogate"),
        (["a", "b", "c", "b"], "label 'b' is there twice, in rows 1 and 3"),
        (["", "x", ""], "label '' is there twice, in rows 0 and 2"),
        (["1", 1], "label '1' is there twice, in rows 0 and 1"),
        (["\x1b", "\x1b"], r"label '\\x1b' is there twice, in rows 0 and 1"),
        ("word", "labels must be a list of strings, not one str"),
        (b"word", "labels must be a list of strings, not one bytes"),
    ],
)
def test_what_no_label_may_be_is_refused_naming_the_row(labels: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Labels(labels)


def test_the_missing_value_of_pandas_is_refused_as_a_label() -> None:
    with pytest.raises(BadInput, match="row 1 has no label"):
        Labels(["a", pd.NA])


@pytest.mark.parametrize("number", [0, 1, MANY, 5000])
def test_a_label_may_be_in_every_row(number: int) -> None:
    words = [f"w{i}" for i in range(number)]
    assert list(Labels(words)) == words


@BOTH_WAYS
@pytest.mark.parametrize(
    "word",
    ["", " ", "\t", "\x0b", "\x0c", "\x1b[31m", "\x1c", "\x7f", "\x85", "\u2028", "\u2029", "\ufeff", "a\u0301", "á",
     "\U0010ffff", "\ue000", "👩\u200d🚀", "\\n", "a b"],
)  # fmt: skip
def test_odd_labels_are_kept_exactly_and_found(way: Callable[[Sequence[str]], Callable[[str], int]], word: str) -> None:
    words = ["first", word, "last"]
    labels = Labels(words)
    assert list(labels) == words
    assert labels[1] == word
    assert list(labels[1:2]) == [word]
    assert list(Labels.from_blob(labels.blob, labels.offsets)) == words
    assert way(words)(word) == 1
    assert way(["first", "last"])(word) == -1


# -- finding ---------------------------------------------------------------------------------------------------------


@given(label_lists, st.lists(any_label | tight_label, max_size=10))
@example([""], [""])
@example(["a", ""], ["", "a"])
@example(["", "a"], ["", "a"])
def test_scan_and_dictionary_find_the_same(words: list[str], others: list[str]) -> None:
    scan, dictionary = scanning(words), indexed(words)
    for word in [*words, *others]:
        expected = words.index(word) if word in words else -1
        assert scan(word) == expected
        assert dictionary(word) == expected


@BOTH_WAYS
@pytest.mark.parametrize("words", [["abc", "ab", "bc", "b", "abcabc"], ["b", "abc", "a"], ["aa", "aaaa", "aaa", "a"]])
def test_parts_of_labels_are_found_only_where_they_are_labels(
    way: Callable[[Sequence[str]], Callable[[str], int]], words: list[str]
) -> None:
    find = way(words)
    for part in {word[i:j] for word in words for i in range(len(word)) for j in range(i, len(word) + 1)}:
        assert find(part) == (words.index(part) if part in words else -1)


@BOTH_WAYS
@pytest.mark.parametrize("word", ["a\nb", "\n", "a\n", "\nb", "\ud800", "a\udc80", "\0", "a\r"])
def test_what_cannot_be_a_label_is_simply_not_found(
    way: Callable[[Sequence[str]], Callable[[str], int]], word: str
) -> None:
    assert way(["a", "b", ""])(word) == -1
    assert word not in Labels(["a", "b", ""])


@given(label_lists, st.lists(any_label, max_size=5), st.booleans())
def test_rows_are_those_of_each_label(words: list[str], others: list[str], often: bool) -> None:
    wanted = [*others, *words, *others] * (MANY if often else 1)
    rows = Labels(words).rows(iter(wanted))
    assert rows.dtype == np.int64
    position = {word: row for row, word in enumerate(words)}
    assert rows.tolist() == [position.get(word, -1) for word in wanted]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("word", r"expected a list of labels, not the string 'word': write \[label\]"),
        (["a", 5], "labels are strings, not int: 5"),
        ([None], "labels are strings, not NoneType"),
        ([b"a"], "labels are strings, not bytes"),
    ],
)
def test_rows_refuses_what_is_no_list_of_strings(wanted: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Labels(["a"]).rows(wanted)


def test_find_folded_takes_the_exact_label_then_the_first_that_is_equal_without_case() -> None:
    labels = Labels(["Polish", "POLISH", "polish", "straße", "ΣΊΣΥΦΟΣ", ""])
    assert labels.find_folded("polish") == 2
    assert labels.find_folded("POLISH") == 1
    assert labels.find_folded("pOlIsH") == 0
    assert labels.find_folded("STRASSE") == 3
    assert labels.find_folded("σίσυφος") == 4
    assert labels.find_folded("") == 5
    assert labels.find_folded("polis") == -1
    assert labels.find_folded("\ud800") == -1
    assert labels.rows(["pOlIsH", "none", "POLISH"], ignore_case=True).tolist() == [0, -1, 1]
    assert labels.rows(["pOlIsH"]).tolist() == [-1]


@given(st.lists(st.text("aAbBßẞİıſs", max_size=3), unique=True, max_size=20), st.text("aAbBßẞİıſs", max_size=3))
def test_find_folded_is_the_first_label_with_the_same_casefold(words: list[str], word: str) -> None:
    folded = [other.casefold() for other in words]
    expected = words.index(word) if word in words else -1
    if expected < 0 and word.casefold() in folded:
        expected = folded.index(word.casefold())
    assert Labels(words).find_folded(word) == expected


# -- near spellings --------------------------------------------------------------------------------------------------


def alignment_distance(a: bytes, b: bytes) -> int:
    """Optimal string alignment distance, written down as it is defined."""
    cost = [[max(i, j) if min(i, j) == 0 else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            cost[i][j] = min(cost[i - 1][j] + 1, cost[i][j - 1] + 1, cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]))
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                cost[i][j] = min(cost[i][j], cost[i - 2][j - 2] + 1)
    return cost[-1][-1]


def near_by_definition(words: list[str], word: str, count: int) -> list[str]:
    query = word.lower().encode()
    distances = [alignment_distance(query, other.lower().encode()) for other in words]
    reach = 1 if len(query) <= 5 else 2
    rows = [row for row in range(len(words)) if distances[row] <= reach]
    begins = [other.lower().encode()[:1] != query[:1] for other in words]
    ranked = sorted(rows, key=lambda row: (distances[row], begins[row], row))
    return [words[row] for row in ranked][:count] if query else []


# The letters beyond ASCII have no capitals here: see test_capitals_beyond_ascii_are_lowered_too.
spelling = st.text("abcABé語", max_size=9)


@given(st.lists(spelling, unique=True, max_size=25), spelling, st.integers(0, 5))
@example(["ab", "ba"], "ab", 3)
@example(["abcdef", "bacdfe", "abcdefgh", "cdef", "fedcba"], "abcdef", 5)
def test_near_spellings_are_those_of_the_definition(words: list[str], word: str, count: int) -> None:
    assert Labels(words).near(word, count) == near_by_definition(words, word, count)


@given(st.text("abc", min_size=58, max_size=66), st.integers(0, 65), st.sampled_from(["", "x", "xy"]))
def test_near_spellings_of_long_words_stop_at_64_bytes(word: str, place: int, put: str) -> None:
    words = [word[:place] + put + word[place + 1 :], "a"]
    expected = near_by_definition(words, word, 3) if len(word) <= 64 else []
    assert Labels(words).near(word) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("qeen", ["queen"]),
        ("KNIG", ["king"]),
        ("womna", ["woman"]),
        ("", []),
        ("\ud800", []),
        ("xyz", []),
        ("kingdoms" * 20, []),
    ],
)
def test_near_spellings_of_mistyped_words(word: str, expected: list[str]) -> None:
    assert Labels(["king", "queen", "man", "woman"]).near(word, 1) == expected


def test_near_in_no_labels_is_nothing() -> None:
    assert Labels([]).near("word") == []
    assert Labels([""]).near("word") == []


def test_capitals_beyond_ascii_are_lowered_too() -> None:
    assert Labels(["ΑΘΗΝΑ", "other"]).near("αθηνα") == ["ΑΘΗΝΑ"]


def test_the_error_names_each_missing_label_once_in_order() -> None:
    error = Labels(["king", "queen"]).unknown(["qeen", "zzz", "qeen"])
    assert isinstance(error, UnknownWord)
    assert isinstance(error, EmbedkitError)
    assert error.missing == ("qeen", "zzz")
    assert error.near == {"qeen": ("queen",), "zzz": ()}
    assert str(error) == "unknown: 'qeen' (near: queen); 'zzz'"


# -- as they lie in a file -------------------------------------------------------------------------------------------


@given(label_lists)
def test_blob_and_offsets_are_as_documented_and_lead_back(words: list[str]) -> None:
    labels = Labels(words)
    assert labels.blob == b"\n" + b"".join(word.encode() + b"\n" for word in words)
    ends = np.cumsum([1, *(len(word.encode()) + 1 for word in words)])
    assert labels.offsets.tolist() == ends.tolist()
    back = Labels.from_blob(labels.blob, labels.offsets)
    assert back == labels
    assert list(back) == words
    assert all(back.find(word) == row for row, word in enumerate(words))


@pytest.mark.parametrize(
    ("blob", "offsets", "message"),
    [
        (b"", [], "do not match"),
        (b"", [0], "do not match"),
        (b"\n", [], "do not match"),
        (b"\n", [0], "do not match"),
        (b"\n", [1, 1], "do not match"),
        (b"\na\n", [1], "do not match"),
        (b"\na\n", [3], "do not match"),
        (b"\na\n", [1, 2], "do not match"),
        (b"\na\n", [1, 4], "do not match"),
        (b"\na\n", [0, 3], "do not match"),
        (b"\na\n", [3, 1], "do not match"),
        (b"\na\n", [1, 1, 3], "do not match"),
        (b"\na\nb\n", [1, 5], "do not match"),
        (b"\na\nb\n", [1, 2, 5], "do not match"),
        (b"\na\nb\n", [1, -3, 5], "do not match"),
        (b"\nab", [1, 3], "do not match"),
        (b"ab\n", [0, 3], "do not match"),
        (b"ab\n", [1, 3], "do not match"),
        (b"\na\0b\n", [1, 5], "NUL"),
        (b"\na\r\n", [1, 4], "line break"),
        (b"\na\xff\n", [1, 4], "not valid UTF-8 at byte 2"),
        (b"\na\n\xc3\n", [1, 3, 5], "not valid UTF-8 at byte 3"),
        # a surrogate written as if it were a character
        (b"\n\xed\xa0\x80\n", [1, 5], "not valid UTF-8"),
        # two bytes for a character that needs one
        (b"\n\xc1\xa1\n", [1, 4], "not valid UTF-8"),
    ],
)
def test_a_blob_that_its_offsets_do_not_fit_is_refused(blob: bytes, offsets: list[int], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Labels.from_blob(blob, np.array(offsets, dtype=np.int64))


@given(
    st.lists(st.sampled_from([b"a", b"bc", b"", "é".encode(), b"\xff", b"\0", b"\r"]), max_size=4), st.integers(-1, 1)
)
def test_a_blob_is_taken_just_if_all_its_parts_are_labels(parts: list[bytes], shift: int) -> None:
    blob = b"\n" + b"".join(part + b"\n" for part in parts)
    offsets = np.cumsum([1, *(len(part) + 1 for part in parts)])
    offsets[len(parts) // 2] += shift
    if shift == 0 and not {b"\xff", b"\0", b"\r"}.intersection(parts):
        assert list(Labels.from_blob(blob, offsets)) == [part.decode() for part in parts]
    else:
        with pytest.raises(BadInput):
            Labels.from_blob(blob, offsets)


def test_repeated_labels_in_a_blob_are_found_when_asked_for() -> None:
    labels = Labels.from_blob(b"\na\nb\na\n", np.array([1, 3, 5, 7], dtype=np.int64))
    with pytest.raises(BadInput, match="label 'a' is there twice, in rows 0 and 2"):
        labels.check_distinct()
    Labels(["a", "b"]).check_distinct()
