"""Errors: what they say, what they are, and that nothing in them moves a cursor."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedkit.errors import BadFile, BadInput, EmbedkitError, NotFitted, UnknownWord, printable


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain ünïcode 語 😀", "plain ünïcode 語 😀"),
        ("", ""),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\tb\nc\rd\0", r"a\tb\nc\rd\x00"),
        ("\x7f\x80\x85\x9b\x9f", r"\x7f\x80\x85\x9b\x9f"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\u200e\u200f\u202a\u202b\u202c\u202d\u202e", r"\u200e\u200f\u202a\u202b\u202c\u202d\u202e"),
        ("\u2066\u2067\u2068\u2069\u061c", r"\u2066\u2067\u2068\u2069\u061c"),
        ("\u200b\u2060\ufeff\xad", r"\u200b\u2060\ufeff\xad"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d🚀\x1b", "👩\u200d🚀\\x1b"),
        ("\u200c\x07", "\u200c\\x07"),
    ],
)
def test_printable_escapes_what_moves_the_cursor_and_keeps_words(raw: str, shown: str) -> None:
    assert printable(raw) == shown


@given(st.text(st.characters()))
def test_printable_text_can_always_be_printed(raw: str) -> None:
    shown = printable(raw)
    shown.encode("utf-8")
    assert shown.replace("\u200c", "").replace("\u200d", "").isprintable()
    assert printable(shown) == shown
    if raw.isprintable():
        assert shown == raw


def test_errors_are_also_what_python_calls_them() -> None:
    assert issubclass(BadInput, ValueError)
    assert issubclass(BadFile, BadInput)
    assert issubclass(UnknownWord, KeyError)
    assert issubclass(NotFitted, ValueError)
    assert issubclass(NotFitted, AttributeError)
    assert all(issubclass(error, EmbedkitError) for error in (BadInput, BadFile, UnknownWord, NotFitted))


def test_a_bad_file_tells_path_place_and_reason() -> None:
    error = BadFile(Path("a/\x1b.bin"), "too short", "byte 7")
    assert str(error) == r"a/\x1b.bin: byte 7: too short"
    assert (error.path, error.place, error.reason) == ("a/\x1b.bin", "byte 7", "too short")
    assert str(BadFile("f", "reason")) == "f: reason"


def test_an_unknown_word_shows_at_most_three_hints_and_escapes_all() -> None:
    error = UnknownWord(["\x1b", "b"], {"\x1b": ["1", "2", "\x9b", "4"]})
    assert str(error) == r"unknown: '\x1b' (near: 1, 2, \x9b); 'b'"
    assert error.near["\x1b"] == ("1", "2", "\x9b", "4")


@pytest.mark.parametrize(
    "error",
    [
        BadInput("wrong"),
        UnknownWord(["a", "b"], {"a": ["c"]}),
        pytest.param(
            BadFile("f", "reason", "line 3"),
        ),
    ],
)
def test_errors_come_through_from_other_processes(error: EmbedkitError) -> None:
    back = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own, as processes send it
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
