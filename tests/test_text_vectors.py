"""Vectors as text: every value as Python reads it, every mistake named by line and column, whichever way is taken."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedkit import Embedding, read
from embedkit.errors import BadFile, BadInput
from embedkit.formats import collecting, text_vectors
from embedkit.formats.text_vectors import read_text


@pytest.fixture(params=["plain Python", "compiled"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Small files take the one way, large ones the other; here both take all."""
    chosen: str = request.param
    few = 0 if chosen == "compiled" else 10**9
    monkeypatch.setattr(text_vectors, "_COMPILED_FROM", few)
    monkeypatch.setattr(collecting, "_COMPILED_FROM", few)
    return chosen


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    def file(content: bytes) -> Path:
        path = tmp_path / "vectors.txt"
        path.write_bytes(content)
        return path

    return file


File = Callable[[bytes], Path]

# -- what is read ----------------------------------------------------------------------------------------------------

TWO = Embedding(["king", "queen"], [[0.5, -1.0, 2e-3], [1.0, 0.25, 3.0]])


@pytest.mark.parametrize(
    "content",
    [
        b"king 0.5 -1 2e-3\nqueen 1 .25 3.\n",
        b"2 3\nking 0.5 -1 2e-3\nqueen 1 .25 3.\n",
        b"2 3 \nking 0.5 -1 2e-3 \nqueen 1 .25 3. \n",  # word2vec.c writes a space at the end of a line
        b"2\t3\nking 0.5 -1 2e-3\nqueen 1 .25 3.\n",
        b"2 3\r\nking 0.5 -1 2e-3\r\nqueen 1 .25 3.\r\n",
        b"\xef\xbb\xbf2 3\nking 0.5 -1 2e-3\nqueen 1 .25 3.\n",
        b"\xef\xbb\xbfking 0.5 -1 2e-3\nqueen 1 .25 3.\n",
        b"king\t0.5\t-1\t2e-3\nqueen\t1\t.25\t3.\n",
        b"2 3\nking\t0.5\t-1\t2e-3\nqueen\t1\t.25\t3.\n",
        b"king 0.5 -1 2e-3\nqueen 1 .25 3.\n\n \n\t\r\n\n",
        b"king +0.5 -1.000 0.2E-02\nqueen 001 25e-2 0.3e+1\n",
        b"king 0.5 -1 0.002" + b"0" * 3000 + b"\nqueen 1 0.25 3" + b".0" * 1 + b"\n",
    ],
)
def test_forms_of_the_same(way: str, file: File, content: bytes) -> None:
    assert read_text(file(content)) == TWO
    assert read(file(content)) == TWO


@pytest.mark.parametrize(
    ("content", "words", "width"),
    [
        (b". . . 0.1 0.2\nat name@domain.com 0.3 0.4\nking 1 2\n", [". . .", "at name@domain.com", "king"], 2),
        (b"new york 0.1 0.2\nking 1 2\n", ["new york", "king"], 2),
        (b"new york\t0.1\t0.2\nroute 66\t1\t2\n", ["new york", "route 66"], 2),
        (b"2 2\nnew york 0.1 0.2\n- 1 2\n", ["new york", "-"], 2),
        (b"1 0.1 0.2\n2 1 2\n", ["1", "2"], 2),
        (b", 0.1 0.2\nnan 1 2\n1e5 1 2\n", [",", "nan", "1e5"], 2),
        (b"king 0.1\nqueen 0.2\n", ["king", "queen"], 1),
        (b"1 0.5\n2 0.2\n", ["1", "2"], 1),
        (b"2 1\n7 8\n9 10\n", ["7", "9"], 1),
        (b" 0.1 0.2\nking 1 2\n", ["", "king"], 2),
        (b"2 2\n 0.1 0.2\nking 1 2\n", ["", "king"], 2),
        (b"a\tb 0.1 0.2\n\x1b[31m 1 2\n", ["a\tb", "\x1b[31m"], 2),
        ("1 2\n\u202eשלום\u00a0x 1 2\n".encode(), ["\u202eשלום\u00a0x"], 2),
        (b"0 4\n", [], 4),
        (b"0 4", [], 4),
    ],
)
def test_what_is_the_word(way: str, file: File, content: bytes, words: list[str], width: int) -> None:
    embedding = read(file(content))
    assert (list(embedding), embedding.width) == (words, width)


# -- numbers ---------------------------------------------------------------------------------------------------------

TEXT = """
0 -0 +0.0 00 1 -1 16777217 16777219 33554433 0.1 1e-45 7e-46 7.1e-46 1e-46 1.401298464324817e-45 1e22 1e23 1e-22
7.006492321624085e-46 7.006492321624086e-46 1.1754943508222875e-38 3.4028234663852886e38 3.4028235677973e+38 1e38
-3.40282346638528859811704183484516925440e+38 1e-400 0e999999999999 -0e-999999999999999999999 9007199254740993
9007199254740992.5 0.00000000000000000000000000000000000000000001234567890123456789 8388608.5 8388609.5
1.00000005960464477539062 1.000000059604644775390625 1.00000005960464477539063 1.00000017881393432617187499
1.00000017881393432617187500 1.00000017881393432617187501 99999999999999999999e-20 18446744073709551616
"""
HARD = [*TEXT.split(), "0." + "0" * 400 + "1", "9" * 38, "1" + "0" * 38, "123456789" * 4, "4" + "0" * 1000 + "e-1000",
        "." + "0" * 500 + "25e500"]  # fmt: skip


def expected(texts: list[str]) -> bytes:
    return np.array([float(text) for text in texts], dtype=np.float64).astype(np.float32).tobytes()


def test_hard_numbers_are_python_s_bit_for_bit(way: str, file: File) -> None:
    assert read_text(file(b"w " + " ".join(HARD).encode() + b"\n")).vectors.tobytes() == expected(HARD)


decimals = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-3e38, 3e38).map(repr),
    st.floats(-3e38, 3e38).map(lambda x: f"{x:.18e}"),
    st.floats(-1e6, 1e6).map(lambda x: f"{x:.6f}"),
    st.from_regex(r"[+-]?[0-9]{1,25}(\.[0-9]{0,25})?([eE][+-]?[0-9]{1,2})?", fullmatch=True),
    st.from_regex(r"[+-]?\.[0-9]{1,25}([eE]-?[0-9]{1,2})?", fullmatch=True),
)


@given(st.lists(decimals, min_size=1, max_size=30))
@settings(max_examples=300)
def test_any_number_is_python_s_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "numbers.txt"
    texts = [text for text in texts if abs(float(text)) < 3.4e38] or ["0"]
    path.write_bytes(b"w " + " ".join(texts).encode() + b"\n")
    for few in (0, 10**9):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(text_vectors, "_COMPILED_FROM", few)
            if len(texts) > 1 and all(text.isdigit() for text in texts):
                path.write_bytes(b"1 %d\nw " % len(texts) + " ".join(texts).encode() + b"\n")
            assert read_text(path).vectors.tobytes() == expected(texts)


def test_values_between_two_float32_are_rounded_as_python_does(way: str, file: File) -> None:
    """Halfway points, and what lies one part in 10^20 beside them: the kernel cannot decide those, and must not try."""
    rng = np.random.default_rng(0)
    low = rng.standard_normal(2000).astype(np.float32)
    middle = (low.astype(np.float64) + np.nextafter(low, np.float32(9)).astype(np.float64)) / 2
    texts = [form for value in middle.tolist() for form in (f"{value:.40f}", f"{value:.60f}1", f"{value:.17e}")]
    assert read_text(file(b"w " + " ".join(texts).encode() + b"\n")).vectors.tobytes() == expected(texts)


# -- what is refused -------------------------------------------------------------------------------------------------

BAD = [
    (b"a 1 2\nb 3 4\nc 5\n", "line 3", "has 1 numbers, expected 2"),
    (b"a 1 2\nb\n", "line 2", "has 0 numbers, expected 2"),
    (b"a 1 2\nb 1 2 3\n", "line 2", "'1' stands before its last 2 numbers"),
    (b"a 1 2\nb nan 1 2\n", "line 2", "'nan' stands before"),
    (b"a 1 2\nb 1_0 2\n", "line 2", "column 1 is '1_0', which is not a decimal number"),
    (b"a 1_0.5 2\n", "line 1", "column 1 is '1_0.5'"),
    (b"a 0x1 2\n", "line 1", "column 1 is '0x1'"),
    (b"a 1 2\nb 1 0x1p3\n", "line 2", "column 2 is '0x1p3'"),
    (b"a 1 2\nb 1 1,5\n", "line 2", "column 2 is '1,5'"),
    (b"a 1 2\nb 1 \xd9\xa3\n", "line 2", "not a decimal number|has 0 numbers"),
    (b"a 1 2\nb 1 2e\n", "line 2", "column 2 is '2e'"),
    (b"a 1 2\nb 1 2e+\n", "line 2", "column 2 is '2e\\+'"),
    (b"a 1 2\nb 1 --2\n", "line 2", "not a decimal number|has 0 numbers"),
    (b"a 1 2\nb 1 .\n", "line 2", "not a decimal number|has 0 numbers"),
    (b"a 1 2\nb 1 NAN\n", "line 2", "column 2 is 'NAN', which is not finite"),
    (b"a 1 2\nb -inf 2\n", "line 2", "column 1 is '-inf', which is not finite"),
    (b"a 1 infinity\n", "line 1", "column 2 is 'infinity', which is not finite"),
    (b"a 1 2\nb 1 1e500\n", "line 2", "column 2 is '1e500', which is too large for float32"),
    (b"a 1 2\nb -1e39 2\n", "line 2", "column 1 is '-1e39', which is too large"),
    (b"a 3.4028235677973366e38\n", "line 1", "too large for float32"),
    (b"a 1 2\nb 1" + b"0" * 5000 + b" 2\n", "line 2", "too large for float32"),
    (b"a 1 2\nb  1 2\n", "line 2", "two separators in a row"),
    (b"a 1 2\nb 1  2\n", "line 2", "column 1 is ''|two separators|has 1 numbers"),
    (b"a 1 2\nb x 1 \n", "line 2", "has 1 numbers, expected 2"),
    (b"a 1 2\n\nb 1 2\n", "line 2", "is empty, and others follow it"),
    (b"a 1 2\n\n" + b"\n" * 100 + b"b 1 2\n", "line 2", "is empty, and others follow it"),
    (b"a\0b 1 2\n", "byte 0", "not an embedkit file"),
    (b"a 1 2\nb\0 1 2\n", "line 2", "NUL"),
    (b"a 1 2\nb\r 1 2\n", "line 2", "carriage return"),
    (b"a 1 2\rb 1 2\r", "line 1", "not a decimal number|carriage"),
    (b"a 1 2\nb 1 2\r\r\n", "line 2", "not a decimal number"),
    (b"a 1 2\nb 1 2 3\xff\n", "line 2", "not a decimal number|numbers"),
    (b"a 1 2\na 3 4\n", "", "'a' is there twice, at line 1 and line 2"),
    (b"2 2\na 1 2\na 3 4\n", "", "'a' is there twice, at line 2 and line 3"),
    (b"a 1 2\n" + b"w" * 65537 + b" 1 2\n", "line 2", "longer than 64 KiB"),
    (b"a 1 2\nb 1 " + b"0" * 2**20 + b"\n", "line 2", "longer than 1 MiB"),
    (b"a 1 " + b"0" * 2**20 + b"\nb 1 2\n", "line 1", "longer than 1 MiB"),
    (b"a" * (2**20 + 1), "line 1", "longer than 1 MiB"),
    (b"a 1 2\n" + b" " * (2**20 + 2), "line 2", "longer than 1 MiB|empty"),
    (b"3 2\na 1.0 2\nb 3.0 4\n", "line 1", "the header says 3 rows, the file has 2"),
    (b"1 2\na 1 2\nb 3 4\n", "line 1", "the header says 1 rows, the file has 2"),
    (b"0 2\na 1 2\n", "line 1", "the header says 0 rows, the file has 1"),
    (b"2 3\na 1 2\nb 3 4\n", "line 1|line 2", "has 2 numbers, expected 3|3 dimensions"),
    (b"2 1\na 1 2\nb 3 4\n", "line 2", "'1' stands before its last 1 numbers"),
    (b"+2 2\na 1 2\nb 3 4\n", "line 1", "'\\+2 2' is no header"),
    (b"-2 2\na 1 2\n", "line 1", "is no header"),
    (b"02 2\na 1 2\nb 3 4\n", "line 1", "'02 2' is no header"),
    (b"2 0\na\nb\n", "line 1", "0 dimensions"),
    (b"1000000000 1000000000\na 1\n", "line 1", "dimensions, which no line can hold"),
    (b"1000000000 300\na " + b"1 " * 300 + b"\n", "line 1", "the header says 1,000,000,000 rows of 300 dimensions: "),
    (b"9" * 5000 + b" 2\na 1 2\n", "line 1", "is no header"),
    (b"7 5\nking 0.3\n", "line 1|line 2", "the header says 7 rows"),
    (b"0.1 0.2 0.3\n0.4 0.5 0.6\n", "line 1", "begins with the number '0.1', a word was expected"),
    (b"-1.5e-3 0.2\n", "line 1", "begins with the number"),
    (b"nan 0.2\n", "line 1", "begins with the number"),
    ("キング 1 2\nクイーン 3 4\n".encode("shift-jis"), "line 1", "not valid UTF-8"),
    (b"a 1 2\n\xff\xfeb 1 2\n", "line 2", r"word '\\xff\\xfeb' is not valid UTF-8"),
    (b"a 1 2\n\xed\xa0\x80 1 2\n", "line 2", "not valid UTF-8"),
    (b"a 1 2\n\xc0\x80 1 2\n", "line 2", "not valid UTF-8"),
]


@pytest.mark.parametrize(("content", "place", "words"), BAD, ids=[repr(case[0][:24]) for case in BAD])
def test_what_is_wrong_is_named(way: str, file: File, content: bytes, place: str, words: str) -> None:
    path = file(content)
    with pytest.raises(BadFile, match=words) as caught:
        read(path)
    message = str(caught.value)
    assert caught.value.place in place.split("|")
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < len(str(path)) + 250


NONE = [(b"", "is empty"), (b"\xff\xfea\0 \0", "UTF-16"), *((content, "byte 0") for content in
        (b"a b c\n", b"\n\n", b"word 0 1 2\nking 1 2 3\n", b" 1 2\nking 1 2\n"))]  # fmt: skip


@pytest.mark.parametrize(("content", "words"), NONE)
def test_what_is_no_vectors_at_all(file: File, content: bytes, words: str) -> None:
    with pytest.raises(BadFile, match=words):
        read(file(content))


def test_a_missing_last_line_break_is_warned_of(way: str, file: File) -> None:
    path = file(b"king 0.5 -1 2e-3\nqueen 1 .25 3.")
    with pytest.warns(UserWarning, match="no line break: the file may have been cut"):
        assert read(path) == TWO


@pytest.mark.parametrize("header", [b"", b"3 2\n"])
def test_every_cut_is_refused_or_warned_of_or_leaves_whole_lines(way: str, file: File, header: bytes) -> None:
    whole = header + b"king 1 0.25\nqueen 3 4\nman 5 6\n"
    ends = {i + 1 for i, byte in enumerate(whole) if byte == 10}
    for length in range(len(whole)):
        path = file(whole[:length])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                embedding = read(path)
            except BadFile:
                continue
        if header:  # it tells of rows that are not there
            assert (list(embedding), len(caught)) == (["king", "queen", "man"], 1)
        assert caught or length in ends


@given(content=st.binary(max_size=60) | st.from_regex(rb"([a-c\xff ]{0,3}( [-+.e0-9naif]{0,4}){1,3}\r?\n){1,4}"))
@settings(max_examples=300)
def test_both_ways_agree_on_anything(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "anything.txt"
    path.write_bytes(b"1 2\n" + content if len(content) % 3 == 0 else content)
    results: list[object] = []
    for few in (0, 10**9):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(text_vectors, "_COMPILED_FROM", few)
            patch.setattr("warnings.warn", lambda *args, **kwargs: None)
            try:
                made = read_text(path)
                results.append((list(made), made.vectors.tobytes()))
            except BadFile as error:
                results.append(str(error))
    assert results[0] == results[1]


# -- choices ---------------------------------------------------------------------------------------------------------


def test_limit_reads_no_further(way: str, file: File) -> None:
    content = b"king 0.5 -1 2e-3\nqueen 1 .25 3.\n"
    assert read(file(content + b"broken\n"), limit=2) == TWO
    assert read(file(content), limit=1) == TWO.head(1)
    assert read(file(b"2 3\n" + content), limit=1) == TWO.head(1)
    assert read(file(content), limit=5) == TWO
    assert read(file(content), limit=0).shape == (0, 3)
    made = read(file(content), limit=1).provenance
    assert made["limit"] == 1
    assert "sha256" not in made["file"]


def test_limit_reads_some_megabytes_of_a_large_file(tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    path.write_bytes(b"king 0.5 -1 2e-3\n")
    os.truncate(path, 2**36)  # nothing but a hole, which is no text either
    assert list(read(path, limit=1)) == ["king"]


def test_float16(way: str, file: File) -> None:
    made = read(file(b"a 0.1 65504\n"), dtype="float16")
    assert made.storage == "float16"
    assert made.vectors.tolist() == [[np.float32(np.float16(np.float32(0.1))), 65504.0]]
    with pytest.raises(BadFile, match=r"line 2: column 2 is 70000.0, too large for float16"):
        read(file(b"a 1 2\nb 1 70000\n"), dtype="float16")


def test_duplicates(way: str, file: File) -> None:
    made = read(file(b"a 1\nb 2\na 3\nb 4\nc 5\n"), duplicates="first")
    assert made == Embedding(["a", "b", "c"], [[1.0], [2.0], [5.0]])
    assert made.provenance["duplicates_dropped"] == 2


def test_many_duplicates(way: str, file: File) -> None:
    rows = [f"w{i % 7000} {i}\n" for i in range(20000)]
    made = read(file("".join(rows).encode()), duplicates="first")
    assert made == Embedding([f"w{i}" for i in range(7000)], np.arange(7000.0)[:, None])
    with pytest.raises(BadFile, match="'w0' is there twice, at line 1 and line 7001"):
        read(file("".join(rows).encode()))


def test_bad_utf8_replaced(way: str, file: File) -> None:
    made = read(file(b"a\xff 1\n\xe3\x81 2\nok 3\n"), errors="replace")
    assert list(made) == ["a\ufffd", "\ufffd", "ok"]
    assert made.provenance["words_replaced"] == 2
    with pytest.raises(BadFile, match="there twice"):
        read(file(b"a\xff 1\na\xfe 2\n"), errors="replace")


@pytest.mark.parametrize(
    "wrong",
    [{"limit": -1}, {"limit": True}, {"limit": 1.5}, {"dtype": "int8"}, {"errors": "ignore"}, {"duplicates": "last"}],
)
def test_choices_that_do_not_exist(file: File, wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput, match=next(iter(wrong))):
        read(file(b"a 1\n"), **wrong)  # type: ignore[arg-type]


def test_provenance_names_the_file_without_folders(file: File) -> None:
    made = read(file(b"a 1\n")).provenance
    assert made["made_by"] == "read"
    assert made["format"] == "GloVe text"
    assert made["file"]["name"] == "vectors.txt"
    assert made["file"]["bytes"] == 4
    assert len(made["file"]["sha256"]) == 64
    assert read(file(b"1 1\na 1\n")).provenance["format"] == "word2vec text"


# -- large and packed ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Embedding]:
    """Twelve megabytes: lines cross the blocks that are read at a time, and rows become longer on the way."""
    rng = np.random.default_rng(0)
    n = 60_000
    values = rng.standard_normal((n, 20)).astype(np.float32)
    words = [f"wörd y{'x' * (i % 47)}" if i % 100 == 0 else f"w{i}" for i in range(n)]
    words = [f"{word}{i}x" for i, word in enumerate(words)]
    path = tmp_path_factory.mktemp("large") / "large.txt"
    with path.open("w", encoding="utf-8") as stream:
        for i, (word, row) in enumerate(zip(words, values.tolist(), strict=True)):
            form = "{:.9g}" if i < n // 2 else "{:.12f}" if i % 2 else "{:.17g}"
            stream.write(f"{word} {' '.join(form.format(value) for value in row)}\n")
    texts = [line.split(" ")[-20:] for line in path.read_text(encoding="utf-8").splitlines()]
    return path, Embedding(words, np.array(texts, dtype=np.float64).astype(np.float32))


def test_large_files(large: tuple[Path, Embedding]) -> None:
    path, expected = large
    made = read(path)
    assert list(made) == list(expected)
    assert made.vectors.tobytes() == expected.vectors.tobytes()
    assert read(path, dtype="float16") == expected.with_storage("float16")
    assert read(path, limit=45_678) == expected.head(45_678)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lambda data: lzma.compress(data, preset=0)])
@pytest.mark.parametrize("header", [False, True])
def test_packed_files(large: tuple[Path, Embedding], file: File, pack: Callable[[bytes], bytes], header: bool) -> None:
    path, expected = large
    rows = 60_000 if pack is gzip.compress else 3000
    lines = path.read_bytes().splitlines(keepends=True)[:rows]
    content = (b"%d 20\n" % rows if header else b"") + b"".join(lines)
    packed = file(pack(content))
    assert read(packed) == expected.head(rows)
    cut = packed.read_bytes()[: len(packed.read_bytes()) // 2]
    with pytest.raises(BadFile, match="cut or damaged"):
        read(file(cut))


HOSTILE = {
    "a line of 1 GB": "(b'king 0.5 1 ', 2**30, b'')",
    "a line of 1 GB after others": "(b'2 2\\nking 0.5 1\\n', 2**30, b'')",
    "1 GB after a header": "(b'1 1\\n', 2**30, b'')",
    "a huge header before 1 GB": "(b'1000000000 1000000000\\nking 0.5', 2**30, b'')",
    "a wide header before 1 GB": "(b'100 400000\\nking 0.5', 2**30, b'')",
    "a long header before 1 GB": "(b'90000000 1\\nking 0.5\\n', 2**30, b'')",
    "nothing but holes": "(b'', 2**30, b'')",
    "a bomb of spaces": "(b' ' * 2**24, 0, b'')",
    "a bomb of words": "(b'a' * 2**24, 0, b'')",
    "a bomb of rows": "(b'a 1\\n' * 2**22, 0, b'')",
    "a bomb after a header": "(b'x 1\\n' * 2**22, 0, b'4000000000 1\\n')",
    "a bomb of empty lines": "(b'\\n' * 2**24, 0, b'a 1\\n')",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_made_to_fill_memory_ends_soon(tmp_path: Path, case: str) -> None:
    """A time limit and a memory limit in a process of its own; packed bombs are many gzip members one after another."""
    code = (
        "import gzip, os, resource, sys, time\n"
        "import embedkit, embedkit.kernels.parse_text, embedkit.formats.text_vectors as t\n"
        f"start, hole, before = {HOSTILE[case]}\n"
        f"path = {str(tmp_path / 'hostile.txt')!r}\n"
        "with open(path, 'wb') as stream:\n"
        "    stream.write(start if hole else gzip.compress(before) + gzip.compress(start) * 256)\n"
        "    stream.truncate(stream.tell() + hole)\n"
        "usage = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "before, begun = usage(), time.process_time()\n"
        "try:\n"
        "    embedkit.read(path)\n"
        "except embedkit.errors.BadFile as error:\n"
        "    print('refused', error)\n"
        "print(time.process_time() - begun, usage() - before)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    said, figures = ran.stdout.splitlines()
    assert said.startswith("refused")
    seconds, grown = map(float, figures.split())
    assert seconds < 10
    assert grown < 200 * 2**20
