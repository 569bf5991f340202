"""Corpus.encode: whatever the way, the ids are those that counting in plain Python gives."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import json
import lzma
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import embedkit
from embedkit import Corpus
from embedkit.errors import BadFile, BadInput
from embedkit.files.store import read_tensors, write_tensors
from embedkit.kernels.scan_text import LONGEST
from embedkit.progress import Progress
from embedkit.text import encoding
from embedkit.text.encoded import EncodedCorpus
from embedkit.text.sources import Unit
from embedkit.text.tokens import CharacterNgrams, Normalisation, Tokenizer, as_tokenizer

UNITS: list[Unit] = ["line", "paragraph", "file"]
SPACES = [chr(point) for point in range(0x11000) if chr(point).isspace()]
# Neighbours of white space in UTF-8, marks, letters whose case depends on what stands beside them, numbers, signs.
PARTS = [
    *SPACES, "\n\n", "\r\n", "\r\n\r\n", " \n \n", "a", "b", "ab", "the", "é", "e\u0301", "\u0301", "\ufeff", "\u200b",
    "\u180e", "\u2060", "\u00a1", "\u0084", "\u1681", "\u167f", "\u1640", "\u2010", "\u2027", "\u202a", "\u205e",
    "\u3001", "\u3040", "\u2fff", "日本", "😀", "👩\u200d💻", "🇩🇪", "Σ",
    "ΑΣ", "ς", "İ", "ß", "1", "3.14", "1,000", "٣", "²",
    "½", "'", "’", ".",
    ",", "-", "_", "king's", "l'été", "हिन्दी", "ไทย", "カ", "א\"ב", "\x01", "\x1b", "\x7f", "\U0010ffff",
]  # fmt: skip
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0{")
texts = st.lists(st.sampled_from(PARTS) | characters, max_size=30).map("".join)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples of a hypothesis test."""
    return tmp_path_factory.mktemp("encoding")


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Texts of a MiB and more are cached: not where the user's are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBEDKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that temporary files go to, empty so far."""
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    return path


def write(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def in_files(folder: Path, contents: Iterable[str | bytes]) -> list[Path]:
    return [write(folder / f"{number}.txt", content) for number, content in enumerate(contents)]


def split_up(text: str, unit: Unit) -> list[str]:
    """The documents of one file's text, by another way than the library's."""
    lines = text.removeprefix("\ufeff").split("\n")
    if unit == "line":
        return lines
    if unit == "file":
        return ["\n".join(lines)]
    return ["\n".join(group) for full, group in groupby(lines, lambda line: bool(line.split())) if full]


def by_hand(documents: Iterable[Sequence[str]]) -> tuple[list[int], list[int], dict[str, int]]:
    """Ids, ends and the words with their counts."""
    kept = [document for document in documents if document]
    counts = Counter(token for document in kept for token in document)
    words = sorted(counts, key=lambda word: -counts[word])  # stable: the first seen first
    rank = {word: number for number, word in enumerate(words)}
    ids = [rank[token] for document in kept for token in document]
    return ids, np.cumsum([len(document) for document in kept]).tolist(), {word: counts[word] for word in words}


def parts_of(encoded: EncodedCorpus) -> tuple[list[int], list[int], dict[str, int]]:
    assert encoded.ids.dtype == np.int32
    assert encoded.ends.dtype == np.int64
    vocabulary = encoded.vocabulary
    words = dict(zip(vocabulary, vocabulary.counts.tolist(), strict=True))
    return encoded.ids.tolist(), encoded.ends.tolist(), words


def assert_same(encoded: EncodedCorpus, documents: Sequence[Sequence[str]]) -> None:
    found, expected = parts_of(encoded), by_hand(documents)
    assert found == expected
    assert list(found[2]) == list(expected[2])  # in this order
    assert list(encoded) == [list(document) for document in documents if document]


@contextlib.contextmanager
def in_steps(block: int) -> Iterator[None]:
    """Text is read and ids are renumbered in steps of so many bytes; words must not be longer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "_BLOCK", block)
        yield


# -- all ways give the same --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", UNITS)
@given(contents=st.lists(texts, min_size=1, max_size=3))
@example(contents=["a\n\nb", "", "c"])
@example(contents=["\ufeffa", "\ufeff\n\ufeffb", "\ufeff\ufeffc"])
@example(contents=["a\r\n\r\nb\r\n \t\x85\n\nc\x1cd\u2028e"])
@example(contents=["\n\n\n", " ", ""])
@settings(max_examples=80)
def test_ids_are_those_that_counting_by_hand_gives(folder: Path, unit: Unit, contents: list[str]) -> None:
    if unit == "file":
        contents = [content.removeprefix("\ufeff").lstrip() for content in contents]  # see the test below
    paths = in_files(folder, contents)
    documents = [part.split() for content in contents for part in split_up(content, unit)]
    assert_same(Corpus(paths, unit=unit).encode(), documents)
    assert_same(Corpus(paths, unit=unit, tokenize=lambda text: text.split()).encode(), documents)
    assert list(Corpus(paths, unit=unit)) == [document for document in documents if document]


@pytest.mark.parametrize("second", ["\nb", "\n\nb", "\ufeff\nb", " \nb"])
def test_with_files_as_documents_line_feeds_at_the_start_join_nothing(second: str, tmp_path: Path) -> None:
    assert_same(Corpus(in_files(tmp_path, ["a", second]), unit="file").encode(), [["a"], ["b"]])


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("between", [[], [""], ["\n"], ["", " \n ", ""]])
@pytest.mark.parametrize("end", ["", "\n", "\n\n", " "])
def test_documents_never_go_on_in_the_next_file(unit: Unit, between: list[str], end: str, tmp_path: Path) -> None:
    if unit == "file" and any("\n" in content for content in between):
        pytest.skip("the same as the test above")
    paths = in_files(tmp_path, [f"a b{end}", *between, f"c{end}", "d"])
    assert_same(Corpus(paths, unit=unit).encode(), [["a", "b"], ["c"], ["d"]])


NORMALISATIONS: list[dict[str, Any]] = [
    {},
    {"lowercase": True},
    {"fold_accents": True},
    {"numbers": "drop"},
    {"numbers": "mask"},
    {"lowercase": True, "fold_accents": True, "numbers": "mask"},
]


AS_WORDS = pytest.param(
    "words",
)


@pytest.mark.parametrize("tokenize", ["whitespace", AS_WORDS, "characters", CharacterNgrams(1)], ids=str)
@given(
    contents=st.lists(texts, min_size=1, max_size=2),
    normalise=st.sampled_from(NORMALISATIONS),
    unit=st.sampled_from(UNITS),
)
@example(contents=["ΟΔΟΣ ΟΔΟΣ. ΟΔΟΣ\u0301 Σ ΑΣ\u2028Β"], normalise={"lowercase": True}, unit="line")
@example(contents=["a \u200eb"], normalise={}, unit="line")
@example(contents=["10\u202f000"], normalise={}, unit="line")
@example(contents=["\u0301 a \u0301b"], normalise={"fold_accents": True}, unit="line")
@example(contents=["1 2\n3\n\na 4\n5 6"], normalise={"numbers": "drop"}, unit="paragraph")
@example(contents=["l'ami can't U.S.A. 3.14, 1,000 a\u00ada\u200db 🇩🇪🇫🇷 a:b"], normalise={}, unit="line")
@settings(max_examples=50)
def test_tokenizers_see_no_difference_between_pieces_and_whole_texts(
    folder: Path, tokenize: str | Tokenizer, contents: list[str], normalise: dict[str, Any], unit: Unit
) -> None:
    if unit == "file":
        contents = [content.removeprefix("\ufeff").lstrip() for content in contents]
    split, normal = as_tokenizer(tokenize), Normalisation(**normalise)
    paths = in_files(folder, contents)
    whole = [split(part) for content in contents for part in split_up(content, unit)]
    documents = [[token for token in map(normal, document) if token] for document in whole]
    assert_same(Corpus(paths, tokenize=tokenize, unit=unit, **normalise).encode(), documents)
    mine = Corpus(paths, tokenize=lambda text: split(text), unit=unit, **normalise)  # goes the generic way
    assert_same(mine.encode(), documents)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=lambda pack: pack.__module__)
@pytest.mark.parametrize("unit", UNITS)
def test_packed_files_are_encoded_as_plain_ones(pack: Callable[[bytes], bytes], unit: Unit, tmp_path: Path) -> None:
    contents = ["\ufeffthe king\n\nrules\n", "the queen", ""]
    paths = in_files(tmp_path, [pack(content.encode()) for content in contents])
    expected = [part.split() for content in contents for part in split_up(content, unit)]
    assert_same(Corpus(paths, unit=unit).encode(), expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: Corpus(path.read_text(encoding="utf-8").splitlines()),
        lambda path: Corpus([line.split() for line in path.read_text(encoding="utf-8").splitlines()]),
        lambda path: Corpus(lambda: (line for line in path.read_text(encoding="utf-8").splitlines())),
        lambda path: Corpus(path),
        lambda path: Corpus(path).head(99),
        lambda path: Corpus(path).sample(1),
        lambda path: Corpus(
            write(path.with_suffix(".jsonl"), '{"text": "the naïve king"}\n{"text": ["the", "end"]}\n')
        ),
    ],
    ids=["texts", "tokens", "function", "file", "head", "sample", "JSON lines"],
)
def test_every_source_is_encoded(make: Callable[[Path], Corpus], tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "the naïve king\n\nthe end\n")
    assert_same(make(path).encode(), [["the", "naïve", "king"], ["the", "end"]])


def test_a_part_of_a_file_is_encoded_as_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "".join(f"{number} x\n\n" for number in range(500)))
    for part in (Corpus(path).head(7), Corpus(path).sample(0.3, random_state=5), Corpus(path).sample(0.5).head(20)):
        documents = list(part)
        assert 0 < len(documents) < 500
        assert_same(part.encode(), documents)


@pytest.mark.parametrize("content", ["", "\n", " \t\r\n\u3000\n\n\x85", "\ufeff", "\ufeff\n"])
@pytest.mark.parametrize("unit", UNITS)
def test_nothing_encodes_to_nothing(content: str, unit: Unit, tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", content)
    for corpus in (Corpus(path, unit=unit), Corpus([content.removeprefix("\ufeff")])):
        for encoded in (corpus.encode(), corpus.encode(tmp_path / "e")):
            assert parts_of(encoded) == ([], [], {})
            assert list(encoded) == []
            assert encoded.statistics() == {
                "documents": 0, "tokens": 0, "words": 0, "words_seen_once": 0, "words_seen_5_times": 0,
                "tokens_of_these": 0.0, "longest_document": 0, "median_document": 0.0,
            }  # fmt: skip


def test_documents_whose_tokens_are_all_dropped_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "1 2\n3\na 4\n5\n\n6 b c\n7")
    assert_same(Corpus(path, numbers="drop").encode(), [["a"], ["b", "c"]])
    assert_same(Corpus(write(path, "1\n2"), numbers="drop").encode(), [])


# -- cut anywhere ------------------------------------------------------------------------------------------------------

TRICKY = (
    "\ufeffa\u2028b\u00a0c\u3000日本\r\n\né\u0085x\u1680y\u205fz"
    "\n\n\n\ufeffw \u200a\u200b \u202f😀\u2029\u00a1\x1c\x1d\n\u2003\nq"
)


@pytest.mark.parametrize("unit", UNITS)
def test_a_text_may_be_read_in_blocks_of_any_size(unit: Unit, tmp_path: Path) -> None:
    paths = in_files(tmp_path, [TRICKY, "b" + TRICKY, TRICKY])
    contents = [TRICKY, "b" + TRICKY, TRICKY]
    documents = [part.split() for content in contents for part in split_up(content, unit)]
    for block in range(7, 65):
        with in_steps(block):
            assert_same(Corpus(paths, unit=unit).encode(), documents)
            assert_same(Corpus(paths, unit=unit, tokenize=lambda text: text.split()).encode(), documents)


def test_a_text_may_end_anywhere(tmp_path: Path) -> None:
    for stop in range(len(TRICKY) + 1):
        paths = in_files(tmp_path, [TRICKY[:stop], TRICKY[stop:].lstrip("\ufeff")])
        documents = [line.split() for path in paths for line in split_up(path.read_bytes().decode(), "line")]
        assert_same(Corpus(paths).encode(), documents)


short_words = st.lists(st.sampled_from(["a", "b", "é", "日", "😀", "\u2010", "\u1681", "\ufeff", "\x01"]), max_size=2)


@given(
    content=st.lists(st.tuples(short_words.map("".join), st.lists(st.sampled_from(SPACES), min_size=1, max_size=3))),
    block=st.integers(8, 20),
    unit=st.sampled_from(UNITS),
    pack=st.sampled_from([bytes, gzip.compress, bz2.compress]),
)
@settings(max_examples=150)
def test_blocks_of_any_size_cut_any_text(
    folder: Path, content: list[tuple[str, list[str]]], block: int, unit: Unit, pack: Callable[[bytes], bytes]
) -> None:
    text = "".join(word + "".join(spaces) for word, spaces in content)
    path = write(folder / "blocks.txt", pack(text.encode()))
    with in_steps(block):
        assert_same(Corpus(path, unit=unit).encode(), [part.split() for part in split_up(text, unit)])


def complaint(read: Callable[[], object]) -> tuple[str, str, str]:
    with pytest.raises(BadFile) as caught:
        read()
    return caught.value.path, caught.value.place, caught.value.reason


@pytest.mark.parametrize(
    "bad", [b"\xff", b"\xc2", b"\xe2\x80", b"\xe3", b"\xf0\x9f\x98", b"\x80", b"\xed\xa0\x80", b"\xc0\xa0"], ids=repr
)
def test_bad_utf8_anywhere_is_named_as_reading_line_by_line_names_it(bad: bytes, tmp_path: Path) -> None:
    whole = "a\u2028b\u3000c\n\né\u0085x\r\ny \n".encode()
    for place in range(len(whole) + 1):
        good, path = in_files(tmp_path, ["good\n", whole[:place] + bad + whole[place:]])
        corpus = Corpus([good, path, good])
        documents: list[list[str]] | None = None
        with contextlib.suppress(BadFile):
            documents = list(corpus)
        if documents is None:
            expected = complaint(partial(list, corpus))
            assert expected[0] == str(path)
            for block in (8, 11, 2**22):
                with in_steps(block):
                    assert complaint(corpus.encode) == expected
        else:  # together with what stood there it is a character
            assert_same(corpus.encode(), documents)


PARTS_OF_CHARACTERS = [
    b"\xc2",
    b"\xe2",
    b"\xe1",
    b"\xe3",
    b"\x80",
    b"\x85",
    b"\xa0",
    b"\x9a",
    b"\x81",
    b"\x9f",
    b"\xf0",
]


@given(
    st.lists(st.sampled_from([*PARTS_OF_CHARACTERS, b"a", b" ", b"\n", b"\r", b"\xef\xbb\xbf"]) | st.binary(max_size=2))
)
@settings(max_examples=200)
def test_any_bytes_are_read_rightly_or_refused_alike(folder: Path, parts: list[bytes]) -> None:
    corpus = Corpus(write(folder / "bytes.txt", b"".join(parts).replace(b"\0", b"")), field=None)
    documents: list[list[str]] | None = None
    with contextlib.suppress(BadFile):
        documents = list(corpus)
    if documents is None:
        assert complaint(corpus.encode) == complaint(lambda: list(corpus))
    else:
        assert_same(corpus.encode(), documents)


# -- many and long -----------------------------------------------------------------------------------------------------


def test_tables_grow_with_the_words(tmp_path: Path) -> None:
    # More words than the first tables hold, twice over; more letters than they hold, before that many words.
    many = [f"w{number * 7919 % 100_003}" for number in range(110_000)]
    long = [f"{number:x}" * 3000 for number in range(10, 60)] + ["x" * 60_000] * 3
    lines = [many[:70_000], long, many[70_000:], ["end", *long[:5]]]
    path = write(tmp_path / "a.txt", "\n".join(map(" ".join, lines)))
    assert_same(Corpus(path).encode(), lines)


def mixed(x: int) -> int:
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    return x ^ (x >> 27)


def colliding(n: int) -> list[tuple[str, str]]:
    """Pairs of different words of 16 bytes whose hashes in the scanner are equal, as anyone can find who reads it."""
    pairs: list[tuple[str, str]] = []
    signs = bytes(range(33, 127))
    rng = np.random.default_rng(0)
    first = b"abcdefgh"
    start = mixed(0x9E3779B97F4A7C15 ^ int.from_bytes(first, "big"))
    while len(pairs) < n:
        other = bytes(rng.integers(33, 127, 8, dtype=np.uint8))
        difference = start ^ mixed(0x9E3779B97F4A7C15 ^ int.from_bytes(other, "big"))
        tail = bytes(rng.integers(33, 127, 8, dtype=np.uint8))
        other_tail = (int.from_bytes(tail, "big") ^ difference).to_bytes(8, "big")
        if all(byte in signs for byte in other_tail):
            pairs.append(((first + tail).decode(), (other + other_tail).decode()))
    return pairs


def test_words_of_equal_hash_are_told_apart(tmp_path: Path) -> None:
    for one, two in colliding(3):
        documents = [[one, two, two], [one, one]]
        assert_same(Corpus(write(tmp_path / "a.txt", "\n".join(map(" ".join, documents)))).encode(), documents)


@pytest.mark.parametrize("letter", ["a", "é", "日", "😀"])
@pytest.mark.parametrize("before", [0, 2**22 - 65_530, 2**22 - 3])
def test_a_word_may_have_65536_bytes_and_no_more(letter: str, before: int, tmp_path: Path) -> None:
    size = len(letter.encode())
    longest = letter * (LONGEST // size) + "a" * (LONGEST % size)
    spaces = " " * before
    path = write(tmp_path / "a.txt", f"{spaces}{longest} b\n")
    assert_same(Corpus(path).encode(), [[longest, "b"]])
    for text in (f"{spaces}{longest}a b\n", f"{spaces}{longest}a"):
        with pytest.raises(BadFile, match="longer than 64 KiB") as caught:
            Corpus(write(path, text)).encode()
        assert (caught.value.path, caught.value.place) == (str(path), f"after byte {before}")
    with pytest.raises(BadInput, match="longer than 64 KiB"):
        Corpus([["b", longest + "a"]]).encode()
    assert_same(Corpus([["b", longest]]).encode(), [["b", longest]])


@pytest.mark.parametrize(
    ("tokenize", "text"),
    [("words", "a," * 40_000), ("words", "日" * 30_000), ("characters", "ACGT" * 20_000)],
    ids=["commas", "ideographs", "bases"],
)
def test_a_long_piece_of_short_tokens_is_no_long_word(tokenize: str, text: str, tmp_path: Path) -> None:
    corpus = Corpus(write(tmp_path / "a.txt", text), tokenize=tokenize)
    assert_same(corpus.encode(), list(corpus))


def test_a_word_that_grows_beyond_64_kib_is_refused_from_every_source(tmp_path: Path) -> None:
    word = "İ" * (LONGEST // 2)  # in small letters it is an i and a dot above: three bytes
    for source in ([word], write(tmp_path / "a.txt", word)):
        with pytest.raises(BadInput, match="longer than 64 KiB"):
            Corpus(source, lowercase=True).encode()


@pytest.mark.parametrize("space", ["\n", " ", "\u3000", "\r\n", "\u2028"], ids=repr)
def test_long_runs_of_white_space_are_passed_over(space: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "a" + space * 3_000_001 + "b")
    assert_same(Corpus(path).encode(), [["a"], ["b"]] if "\n" in space else [["a", "b"]])


@pytest.mark.parametrize("content", ["a\nb\0c", "a\n\0", "\n \0\0\n", "a\r\nb \0"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_nul_is_refused_by_line(content: str, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    good, bad = in_files(tmp_path, ["a\nb\nc", pack(content.encode())])
    with pytest.raises(BadInput, match="holds a NUL character, which no word may") as caught:
        Corpus([good, bad]).encode()
    assert str(caught.value).startswith(f"{bad}: line 2: ")


def test_nul_in_a_file_is_a_fault_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "a\nb\0c")
    assert complaint(Corpus(path).encode)[:2] == (str(path), "line 2")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (["a", "b\0"], "NUL character"),
        (["a", "b\nc"], "line break"),
        (["a", "b\rc"], "line break"),
        (["a", "b\ud800"], "lone surrogate"),
        ("a b\ud800", "lone surrogate"),
        ("a b\0", "NUL character"),
    ],
)
def test_tokens_that_no_vocabulary_can_hold_are_refused(document: Any, reason: str) -> None:
    with pytest.raises(BadInput, match=reason) as caught:
        Corpus([["fine"], document]).encode()
    assert str(caught.value).isprintable()


# -- progress and errors -----------------------------------------------------------------------------------------------


def events_of(corpus: Corpus, block: int = 2**22) -> list[Progress]:
    events: list[Progress] = []
    with in_steps(block):
        corpus.encode(callback=events.append)
    return events


def test_progress_rises_to_the_bytes_of_the_files(tmp_path: Path) -> None:
    paths = in_files(tmp_path, ["the king\n" * 50, "", "the queen\n" * 30])
    total = sum(path.stat().st_size for path in paths)
    events = events_of(Corpus(paths), block=64)
    done = [event.done for event in events]
    assert len(set(done)) > 10
    assert done == sorted(done)
    assert done[-1] == total
    assert {(event.total, event.unit, event.epoch, event.epochs) for event in events} == {(total, "bytes", 1, 1)}


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=lambda pack: pack.__module__)
def test_progress_of_packed_files_is_in_packed_bytes(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    paths = in_files(tmp_path, [pack(b"the king\n" * 500), pack(b"the queen\n" * 300)])
    events = events_of(Corpus(paths), block=64)
    total = sum(path.stat().st_size for path in paths)
    assert max(event.done for event in events) == events[-1].done == events[-1].total == total


def test_progress_counts_documents_where_there_are_no_files() -> None:
    events = events_of(Corpus(["the king", "", "the queen", "x"]), block=4)
    assert [event.done for event in events if event.done] == sorted(event.done for event in events if event.done)
    assert (events[-1].done, events[-1].total, events[-1].unit) == (3, 0, "documents")


class Mine(Exception):
    """An error of the user's own."""


def stop(_: Progress) -> NoReturn:
    raise Mine("enough")


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


@pytest.mark.parametrize("kind", ["plain", "packed", "generic", "cached", "to a path"])
def test_an_error_in_the_callback_reaches_the_caller_and_leaves_no_file(
    kind: str, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDKIT_CACHE", str(temporary))
    monkeypatch.setattr(encoding, "_WORTH_CACHING", 1 if kind == "cached" else 10**9)
    path = write(tmp_path / "a.txt", gzip.compress(b"a b\n") if kind == "packed" else "a b\n")
    corpus = Corpus(["a b"]) if kind == "generic" else Corpus(path)
    with pytest.raises(Mine, match="enough"):
        corpus.encode(temporary / "e" if kind == "to a path" else None, callback=stop)
    assert left_in(temporary) == []
    assert_same(corpus.encode(temporary / "e" if kind == "to a path" else None), [["a", "b"]])


def failing(document: str) -> Iterator[str]:
    yield document
    raise OSError(5, "the user's own disk")


@pytest.mark.parametrize("where", ["source", "tokenizer", "callback"])
def test_an_oserror_of_the_users_own_is_not_laid_to_the_temporary_file(where: str) -> None:
    def fail(_: object) -> Any:
        raise OSError(5, "the user's own disk")

    corpus = Corpus(lambda: failing("a")) if where == "source" else Corpus(["a"])
    if where == "tokenizer":
        corpus = Corpus(["a"], tokenize=fail)
    with pytest.raises(OSError, match="the user's own disk") as caught:
        corpus.encode(callback=fail if where == "callback" else None)
    assert not isinstance(caught.value, embedkit.errors.EmbedkitError)


def test_an_error_of_the_users_tokenizer_reaches_the_caller(temporary: Path) -> None:
    def tokenize(text: str) -> list[str]:
        raise Mine(text)

    with pytest.raises(Mine, match="a"):
        Corpus(["a"], tokenize=tokenize).encode()
    assert left_in(temporary) == []


@pytest.mark.parametrize("name", ["missing/e", "file/e", "."])
def test_a_place_that_cannot_be_written_is_named(name: str, tmp_path: Path) -> None:
    write(tmp_path / "file", "x")
    with pytest.raises(BadFile):
        Corpus(["a"]).encode(tmp_path / name)


def test_a_place_that_cannot_be_is_refused() -> None:
    with pytest.raises(BadInput):
        Corpus(["a"]).encode("a\0b/c")


def test_a_temporary_folder_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(BadFile, match=r"missing.*cannot hold the encoded corpus"):
        Corpus(["a"]).encode()


def python(code: str, *arguments: object, **environment: str) -> dict[str, Any]:
    """What a program, started afresh, prints last, as JSON."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=120)
    assert ran.returncode == 0, ran.stderr
    result: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return result


FULL_DISK = """
import json, os, resource, sys
from pathlib import Path
from embedkit import Corpus
from embedkit.errors import BadFile
from embedkit.text import encoding
encoding._WORTH_CACHING = 1
source, folder = Path(sys.argv[1]), Path(sys.argv[2])
def generic(text): return text.split()
ways = {
    "temporary": lambda: Corpus(source).encode(cache=False),
    "generic": lambda: Corpus(source, tokenize=generic).encode(),
    "cached": lambda: Corpus(source).encode(),
    "path": lambda: Corpus(source).encode(folder / "e"),
    "stream": lambda: Corpus.from_stream(source.open("rb")).encode(cache=False),
}
Corpus(["a"]).encode(); Corpus(source).encode(cache=False)  # compiled
outcomes = {}
for name, way in ways.items():
    for limit in (0, 1000, 300_000, 430_000, 900_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            way()
            outcomes[f"{name} {limit}"] = "fine"
        except Exception as error:
            outcomes[f"{name} {limit}"] = [type(error).__name__, str(error)]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
left = [path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
print(json.dumps({"outcomes": outcomes, "left": left}))
"""


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    source = write(tmp_path / "a.txt", "a b c d e f g\n" * 13_000)  # 0.4 MB as pieces, 0.36 MB as ids, 0.1 as ends
    result = python(FULL_DISK, source, folder, TMPDIR=str(folder), EMBEDKIT_CACHE=str(folder))
    fine = {name for name, outcome in result["outcomes"].items() if outcome == "fine"}
    assert {f"{way} 900000" for way in ("temporary", "generic", "cached", "path", "stream")} <= fine
    assert all(int(name.split()[1]) > 300_000 for name in fine)
    for name, outcome in result["outcomes"].items():
        if outcome != "fine":
            assert outcome[0] == "BadFile", name
            assert outcome[1].isprintable(), name
            assert str(folder) in outcome[1], name
    assert [name for name in result["left"] if name != "e" and not name.endswith(".safetensors")] == []


COSTLY = """
import json, re, sys, time
from pathlib import Path
from embedkit import Corpus
from embedkit.errors import BadFile
def generic(text): return text.split()
def memory(name): return int(re.search(name + r":\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1000
source = Path(sys.argv[1])
start, before = time.process_time(), memory("VmRSS")
corpus = Corpus(source, tokenize=generic) if sys.argv[2] == "generic" else Corpus(source)
error = None
try:
    sum(map(len, corpus)) if sys.argv[2] == "read" else corpus.encode(cache=False)
except BadFile as caught:
    error = str(caught)
growth = memory("VmHWM") - before
print(json.dumps({"error": error, "seconds": time.process_time() - start, "megabytes": growth}))
"""


def bomb(path: Path, line: bytes) -> Path:
    """Four MB of gzip that unpack to 4 GB."""
    return write(path, gzip.compress(line * (2**24 // len(line))) * 250)


def a_line_of_a_gigabyte(path: Path) -> Path:
    path.touch()
    os.truncate(path, 2**30)
    return path


NOTHING, SPACES_ONLY, WORDS = b"\0", b" \n", b"bomb " * 200 + b"\n"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize(
    ("make", "way"),
    [
        pytest.param(lambda path: bomb(path, NOTHING), "read", id="bomb of one line, read"),
        pytest.param(lambda path: bomb(path, SPACES_ONLY), "compiled", id="bomb of white space, compiled"),
        pytest.param(lambda path: bomb(path, WORDS), "generic", id="bomb of words, generic"),
        pytest.param(a_line_of_a_gigabyte, "read", id="long line, read"),
        pytest.param(a_line_of_a_gigabyte, "compiled", id="long line, compiled"),
        pytest.param(
            a_line_of_a_gigabyte,
            "generic",
            id="long line, generic",
        ),
    ],
)
def test_what_is_made_to_fill_the_memory_is_refused_in_seconds(
    make: Callable[[Path], Path], way: str, tmp_path: Path
) -> None:
    result = python(COSTLY, make(tmp_path / "big"), way)
    assert "big" in result["error"]
    assert result["seconds"] < 15
    assert result["megabytes"] < 200


# -- kept in a file ----------------------------------------------------------------------------------------------------


def test_the_arrays_are_memory_mapped_and_no_named_file_holds_them(temporary: Path) -> None:
    encoded = Corpus(["the king", "the queen"]).encode()
    assert isinstance(encoded.ids, np.memmap)
    assert list(temporary.iterdir()) == []


def test_what_was_encoded_to_a_path_is_loaded(tmp_path: Path) -> None:
    source = write(tmp_path / "a.txt", "the naïve king\n\nthe end\n")
    made = Corpus(source, lowercase=True).encode(tmp_path / "e")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "e"]
    for encoded in (made, embedkit.load(tmp_path / "e"), embedkit.load(tmp_path / "e", verify=True)):
        assert isinstance(encoded, EncodedCorpus)
        assert_same(encoded, [["the", "naïve", "king"], ["the", "end"]])
        assert encoded.provenance["corpus"] == Corpus(source, lowercase=True).describe()
        assert (encoded.tokens, encoded.documents) == (5, 2)
        assert repr(encoded) == "EncodedCorpus(2 documents, 5 tokens, 4 words)"


def test_the_same_corpus_gives_the_same_file(tmp_path: Path) -> None:
    corpus = Corpus(write(tmp_path / "a.txt", "b a\nb c\n"))
    corpus.encode(tmp_path / "one")
    corpus.encode().save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_provenance_is_given_out_as_a_copy() -> None:
    encoded = Corpus(["a"]).encode()
    encoded.provenance["corpus"]["documents"] = "forged"
    assert encoded.provenance["corpus"]["documents"] == "in memory or made by a function"


@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), min_size=1), max_size=5)
    )
)
@settings(max_examples=60)
def test_any_tokens_are_saved_and_loaded(folder: Path, documents: list[list[str]]) -> None:
    path = folder / "e"
    assert_same(Corpus(documents).encode(path), documents)
    assert_same(embedkit.load(path, verify=True), documents)


def test_the_ids_stay_in_the_file_until_they_are_used(tmp_path: Path) -> None:
    path = tmp_path / "e"
    Corpus(["a b c d"]).encode(path)
    loaded = embedkit.load(path)
    data = path.read_bytes()
    place = data.index(np.array([0, 1, 2, 3], dtype=np.int32).tobytes())
    with path.open("r+b") as stream:
        stream.seek(place)
        stream.write(np.array([3], dtype=np.int32).tobytes())
    assert loaded.ids.tolist() == [3, 1, 2, 3]  # a copy would not see it
    with pytest.raises(ValueError, match="read-only"):
        loaded.ids[0] = 0


def test_a_file_can_be_encoded_again_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "e"
    old = Corpus(["a b"]).encode(path)
    Corpus(["c d e"]).encode(path)
    assert list(old) == [["a", "b"]]
    assert list(embedkit.load(path)) == [["c", "d", "e"]]


def test_every_flipped_byte_and_every_cut_is_found(tmp_path: Path) -> None:
    path = tmp_path / "e"
    Corpus(["the king", "the naïve queen"]).encode(path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        for damaged in (bytes(flipped), whole[:place]) if place % 5 == 0 else (bytes(flipped),):
            with pytest.raises(BadFile):
                embedkit.load(write(path, damaged))
    with pytest.raises(BadFile):
        embedkit.load(write(path, whole + b"\0"))


def forged(path: Path, about: dict[str, Any] | None = None, **changed: Any) -> Path:
    """A file with sound checksums around wrong content; a part that is None is left out."""
    arrays = {
        "ends": np.array([2, 3]),
        "label_offsets": np.array([1, 3, 5]),
        "counts": np.array([2, 1]),
        "ids": np.array([0, 1, 0], dtype=np.int32),
        "labels": np.frombuffer(b"\na\nb\n", dtype=np.uint8),
    } | changed
    described = {"class": "EncodedCorpus", "provenance": {}} | (about or {})
    write_tensors({name: array for name, array in arrays.items() if array is not None}, described, path)
    return path


def test_a_file_made_by_hand_is_loaded(tmp_path: Path) -> None:
    assert_same(embedkit.load(forged(tmp_path / "e"), verify=True), [["a", "b"], ["a"]])


@pytest.mark.parametrize(
    "changed",
    [
        {"ends": None},
        {"label_offsets": None},
        {"counts": None},
        {"ids": None},
        {"labels": None},
        {"ends": np.array([2, 2])},
        {"ends": np.array([3, 2])},
        {"ends": np.array([0, 3])},
        {"ends": np.array([-1, 3])},
        {"ends": np.array([2])},
        {"ends": np.array([2, 4])},
        {"ends": np.zeros(0, dtype=np.int64)},
        {"ends": np.array([2, 3], dtype=np.int32)},
        {"ends": np.array([[2, 3]])},
        {"ends": np.array([2.0, 3.0])},
        {"counts": np.array([1, 2])},
        {"counts": np.array([3, 0])},
        {"counts": np.array([4, -1])},
        {"counts": np.array([3, 1])},
        {"counts": np.array([3])},
        {"counts": np.array([2, 1], dtype=np.uint64)},
        {"counts": np.array([1.0, 2.0])},
        {"ids": np.array([0, 1], dtype=np.int32)},
        {"ids": np.array([0, 1, 0])},
        {"ids": np.array([0, 1, 0], dtype=np.uint32)},
        {"ids": np.array([[0, 1, 0]], dtype=np.int32)},
        {"label_offsets": np.array([1, 3])},
        {"label_offsets": np.array([1, 4, 5])},
        {"labels": np.frombuffer(b"\na\0b\n", dtype=np.uint8)},
        {"labels": np.frombuffer(b"\n\xff\nb\n", dtype=np.uint8)},
        {"labels": np.frombuffer(b"\na\n\r\n", dtype=np.uint8)},
        {"about": {"provenance": None}},
        {"about": {"provenance": []}},
        {"about": {"class": "Embedding"}},
    ],
    ids=str,
)
def test_parts_that_do_not_fit_together_are_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    path = forged(tmp_path / "e", **changed)
    with pytest.raises(BadFile) as caught:
        embedkit.load(path)
    assert caught.value.path == str(path)


@pytest.mark.parametrize("ids", [[0, 1, 2], [0, 1, -1], [0, 2**31 - 1, 0], [-(2**31), 1, 0]])
def test_wrong_ids_are_found_on_request(tmp_path: Path, ids: list[int]) -> None:
    path = forged(tmp_path / "e", ids=np.array(ids, dtype=np.int32))
    with pytest.raises(BadFile, match="no word of the vocabulary"):
        embedkit.load(path, verify=True)


@pytest.mark.parametrize(
    "changed",
    [
        {"labels": np.frombuffer(b"\na\na\n", dtype=np.uint8)},
        {"ids": np.array([1, 1, 0], dtype=np.int32)},
        {"counts": np.array([2, 1]), "ids": np.array([0, 0, 0], dtype=np.int32)},
    ],
    ids=["a word twice", "counts of others", "a word never seen"],
)
def test_values_and_words_are_verified_one_by_one(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(BadFile):
        embedkit.load(forged(tmp_path / "e", **changed), verify=True)


def test_any_safetensors_reader_finds_the_parts(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    path = tmp_path / "e"
    Corpus(["b a", "b"]).encode(path)
    theirs, ours = load_file(path), read_tensors(path).arrays
    assert {name: array.tolist() for name, array in theirs.items()} == {name: ours[name].tolist() for name in ours}
    assert theirs["ids"].tolist() == [0, 1, 0]


def test_statistics_are_those_of_the_documents() -> None:
    statistics = Corpus(["a b c", "a", "a a a a d e"]).encode().statistics()
    assert statistics == {
        "documents": 3, "tokens": 10, "words": 5, "words_seen_once": 4, "words_seen_5_times": 1,
        "tokens_of_these": 0.6, "longest_document": 6, "median_document": 3.0,
    }  # fmt: skip


# -- real text ---------------------------------------------------------------------------------------------------------


def test_the_start_of_wikipedia_is_encoded_as_counted_by_hand(data: Path, tmp_path: Path) -> None:
    with gzip.open(data / "corpus" / "enwiki15-raw.txt.gz") as stream:
        text = stream.read(2_000_000).decode("utf-8", "ignore")
    path = write(tmp_path / "a.txt", text)
    for unit in UNITS:
        assert_same(Corpus(path, unit=unit).encode(), [part.split() for part in split_up(text, unit)])
    small = write(tmp_path / "b.txt", text[:500_000])
    corpus = Corpus(small, tokenize="words", lowercase=True, fold_accents=True, numbers="mask")
    assert_same(corpus.encode(), list(corpus))


@pytest.mark.slow
def test_the_counts_of_100_mb_are_those_of_a_counter(data: Path) -> None:
    path = data / "corpus" / "enwiki15-a.txt.gz"
    encoded = Corpus(path).encode(cache=False)
    counts: Counter[str] = Counter()
    ends: list[int] = []
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as stream:
        for line in stream:
            tokens = line.split()
            counts.update(tokens)
            if tokens:
                ends.append(len(tokens))
    assert dict(zip(encoded.vocabulary, encoded.vocabulary.counts.tolist(), strict=True)) == counts
    assert list(encoded.vocabulary) == sorted(counts, key=lambda word: -counts[word])
    assert np.array_equal(encoded.ends, np.cumsum(ends))
    words = list(encoded.vocabulary)
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as stream:
        sample = stream.read(10**6).split()[:-1]
    assert [words[i] for i in encoded.ids[: len(sample)].tolist()] == sample
