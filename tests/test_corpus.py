"""Corpus: every kind of source, read again and again, and what it refuses."""

from __future__ import annotations

import bz2
import gc
import gzip
import hashlib
import io
import json
import lzma
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from embedkit import Corpus
from embedkit.errors import BadFile, BadInput
from embedkit.text import sources

TEXT = "the king rules\n\nthe naïve queen\n"
TOKENS = [["the", "king", "rules"], ["the", "naïve", "queen"]]


def write(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def in_one_file(folder: Path) -> Any:
    return write(folder / "a.txt", TEXT)


def in_two_files(folder: Path) -> Any:
    return [write(folder / "a.txt", "the king rules\n"), write(folder / "b.txt", "\nthe naïve queen")]


def in_two_files_as_tuple(folder: Path) -> Any:
    return tuple(in_two_files(folder))


def in_strings(_: Path) -> Any:
    return ["the king rules", "", " \t", "the naïve queen"]


def in_token_lists(_: Path) -> Any:
    return [["the", "king", "rules"], [], ("the", "naïve", "queen")]


def in_strings_and_token_lists(_: Path) -> Any:
    return ["the king rules", ["the", "naïve", "queen"]]


def in_a_generator_function(_: Path) -> Any:
    def documents() -> Iterator[str]:
        yield from TEXT.splitlines()

    return documents


def in_a_function_that_gives_a_list(_: Path) -> Any:
    return TEXT.splitlines


def in_a_class_that_iterates(_: Path) -> Any:
    class Documents:
        def __iter__(self) -> Iterator[str]:
            return iter(TEXT.splitlines())

    return Documents()


SOURCES = [
    in_one_file,
    in_two_files,
    in_two_files_as_tuple,
    in_strings,
    in_token_lists,
    in_strings_and_token_lists,
    in_a_generator_function,
    in_a_function_that_gives_a_list,
    in_a_class_that_iterates,
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_every_source_gives_the_same_documents_at_every_pass(source: Callable[[Path], Any], tmp_path: Path) -> None:
    corpus = Corpus(source(tmp_path))
    assert list(corpus) == TOKENS
    assert list(corpus) == TOKENS
    assert list(corpus) == TOKENS


@pytest.mark.parametrize("source", [in_one_file, in_strings, in_a_generator_function], ids=lambda s: s.__name__)
def test_a_pass_that_is_broken_off_does_not_disturb_the_next(source: Callable[[Path], Any], tmp_path: Path) -> None:
    corpus = Corpus(source(tmp_path))
    assert next(iter(corpus)) == TOKENS[0]
    assert list(corpus) == TOKENS


def test_two_passes_can_run_side_by_side(tmp_path: Path) -> None:
    corpus = Corpus(in_one_file(tmp_path))
    assert list(zip(corpus, corpus, strict=True)) == [(tokens, tokens) for tokens in TOKENS]


def test_changing_a_document_that_was_given_out_changes_nothing() -> None:
    corpus = Corpus([["a", "b"]])
    next(iter(corpus)).append("c")
    assert list(corpus) == [["a", "b"]]


@pytest.mark.parametrize("empty", [[], [""], [[]], [" \n\t "]])
def test_a_corpus_may_hold_nothing(empty: list[Any]) -> None:
    assert list(Corpus(empty)) == []


def test_an_empty_file_holds_no_documents(tmp_path: Path) -> None:
    assert list(Corpus(write(tmp_path / "a.txt", b""))) == []


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.txt", "a.gz", "a"])
def test_gzip_is_known_by_its_content(name: str, tmp_path: Path) -> None:
    assert list(Corpus(write(tmp_path / name, gzip.compress(TEXT.encode())))) == TOKENS


def test_plain_text_may_be_named_gz(tmp_path: Path) -> None:
    assert list(Corpus(write(tmp_path / "a.gz", TEXT))) == TOKENS


def test_gzip_files_joined_end_to_end_are_one_text(tmp_path: Path) -> None:
    parts = gzip.compress(b"the king ") + gzip.compress("rules\nthe naïve queen".encode())
    assert list(Corpus(write(tmp_path / "a.gz", parts))) == TOKENS


def test_a_gzip_file_is_closed_after_reading(tmp_path: Path) -> None:
    # An open file is told of by a ResourceWarning, which is an error here.
    path = write(tmp_path / "a.gz", gzip.compress(TEXT.encode()))
    assert list(Corpus.from_file(path)) == TOKENS


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_byte_order_mark_is_no_part_of_the_first_word(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    paths = [write(tmp_path / name, pack(b"\xef\xbb\xbfthe end")) for name in "ab"]
    assert list(Corpus(paths)) == [["the", "end"]] * 2


@pytest.mark.parametrize("text", ["a b\nc d", "a b\nc d\n", "a b\r\nc d\r\n"])
def test_lines_may_end_in_any_way(text: str, tmp_path: Path) -> None:
    assert list(Corpus(write(tmp_path / "a.txt", text))) == [["a", "b"], ["c", "d"]]


def test_from_file_takes_strings_and_several_files(tmp_path: Path) -> None:
    paths = in_two_files(tmp_path)
    assert list(Corpus.from_file(*map(str, paths))) == TOKENS
    shouted = Corpus.from_file(str(paths[0]), paths[1], tokenize=lambda text: text.upper().split())
    assert list(shouted) == [[token.upper() for token in tokens] for tokens in TOKENS]


def test_from_file_needs_a_file() -> None:
    with pytest.raises(BadInput, match="no file given"):
        Corpus.from_file()


@pytest.mark.parametrize(("name", "reason"), [("missing.txt", "No such file"), (".", "folder without files")])
def test_a_file_that_cannot_be_read_is_named(name: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(BadFile, match=reason) as from_file:
        Corpus.from_file(path)
    assert from_file.value.path == str(path)
    with pytest.raises(BadFile, match=reason):
        list(Corpus(path))


def test_a_pipe_is_refused_without_waiting_for_what_comes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadFile, match="not a regular file"):
        Corpus.from_file(tmp_path / "pipe")


@pytest.mark.parametrize("bad", [b"\xff", b"\xe2\x82", b"caf\xe9 au lait", b"\xed\xa0\x80"])
def test_bad_utf8_is_named_by_line(bad: bytes, tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", b"one\n\ntwo\n" + bad + b"\nthree\n")
    documents = iter(Corpus(path))
    assert [next(documents), next(documents)] == [["one"], ["two"]]
    with pytest.raises(BadFile, match="not valid UTF-8") as caught:
        next(documents)
    assert (caught.value.place, caught.value.path) == ("line 4", str(path))


def test_bad_utf8_in_the_second_file_names_that_file(tmp_path: Path) -> None:
    paths = [write(tmp_path / "good.txt", "one\ntwo\n"), write(tmp_path / "bad.txt", b"\xff")]
    with pytest.raises(BadFile) as caught:
        list(Corpus(paths))
    assert (Path(caught.value.path).name, caught.value.place) == ("bad.txt", "line 1")


def test_a_gzip_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(TEXT.encode(), mtime=0)
    for length in range(2, len(whole)):  # with less than its two first bytes it is not gzip any more
        path = write(tmp_path / "a.gz", whole[:length])
        with pytest.raises(BadFile, match="cut or damaged"):
            list(Corpus(path))


def test_a_flipped_bit_in_a_gzip_file_never_changes_the_text(tmp_path: Path) -> None:
    whole = gzip.compress(TEXT.encode(), mtime=0)
    refused = 0
    for place in range(len(whole)):
        for bit in (0, 3, 7):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path = write(tmp_path / "a.gz", bytes(damaged))
            try:
                assert list(Corpus(path)) == TOKENS  # its time stamp, for one, does not matter
            except BadFile:
                refused += 1
    assert refused > 2 * len(whole)


def test_damage_in_a_gzip_file_is_named_by_byte(tmp_path: Path) -> None:
    whole = gzip.compress(b"one\ntwo\n")
    path = write(tmp_path / "a.gz", whole[:-8] + b"\0" * 8)  # the checksum is wrong
    with pytest.raises(BadFile, match="gzip data is cut or damaged") as caught:
        list(Corpus(path))
    assert caught.value.place.startswith("after byte ")


def test_a_line_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_LONGEST_LINE", 1 << 20)
    longest = b"a" * ((1 << 20) - 1) + b"\n"
    path = write(tmp_path / "a.txt", longest)
    assert len(next(iter(Corpus(path)))[0]) == (1 << 20) - 1
    path = write(tmp_path / "b.txt", b"short\na" + longest)
    with pytest.raises(BadFile, match="longer than 1 MiB") as caught:
        list(Corpus(path))
    assert caught.value.place == "line 2"


# -- streams and tables ------------------------------------------------------------------------------------------------


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, empty so far."""
    folder = tmp_path / "spool"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=lambda pack: pack.__module__)
def test_a_stream_can_be_read_again_until_the_last_of_its_parts_is_gone(
    pack: Callable[[bytes], bytes], spool: Path
) -> None:
    corpus = Corpus.from_stream(io.BytesIO(pack(TEXT.encode())), lowercase=True)
    assert list(corpus) == TOKENS
    assert list(corpus.encode()) == TOKENS
    assert repr(corpus) == "Corpus(a stream)"
    part = corpus.head(1)
    sample = part.sample(1)
    del corpus, part
    gc.collect()
    assert list(sample) == TOKENS[:1]
    under_way = iter(sample)
    assert next(under_way) == TOKENS[0]
    del sample, under_way
    gc.collect()
    assert list(spool.iterdir()) == []


def test_what_a_stream_was_is_told_without_its_temporary_name(spool: Path) -> None:
    description = Corpus.from_stream(io.BytesIO(b"a b\n")).describe()
    assert description == {"files": [{"name": "a stream", "bytes": 4, "sha256": hashlib.sha256(b"a b\n").hexdigest()}]}


class Broken(io.RawIOBase):
    """A stream that breaks after some bytes."""

    def __init__(self, error: BaseException) -> None:
        self.error, self.reads = error, 0

    def read(self, _: int = -1) -> bytes:
        self.reads += 1
        if self.reads > 3:
            raise self.error
        return b"a b\n" * 100_000


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyboardInterrupt()], ids=repr)
def test_a_stream_that_breaks_leaves_no_file(error: BaseException, spool: Path) -> None:
    with pytest.raises(type(error)):
        Corpus.from_stream(Broken(error))  # type: ignore[arg-type]
    assert list(spool.iterdir()) == []


def test_a_stream_that_cannot_be_read_is_told_so(spool: Path) -> None:
    with pytest.raises((BadFile, OSError)) as caught:
        Corpus.from_stream(Broken(OSError(5, "Input/output error")))  # type: ignore[arg-type]
    assert list(spool.iterdir()) == []
    assert "cannot be written" not in str(caught.value)


@pytest.mark.parametrize("option", [{"unit": "word"}, {"tokenize": "word"}, {"numbers": "none"}, {"typo": 1}], ids=str)
def test_a_stream_with_a_wrong_option_leaves_no_file(option: dict[str, Any], spool: Path) -> None:
    with pytest.raises((BadInput, TypeError)):
        Corpus.from_stream(io.BytesIO(b"a"), **option)
    assert list(spool.iterdir()) == []


def test_a_stream_without_a_temporary_folder_is_one_clear_line(spool: Path) -> None:
    spool.rmdir()
    with pytest.raises(BadFile):
        Corpus.from_stream(io.BytesIO(b"a"))


def test_a_column_of_a_table_is_a_corpus() -> None:
    frame = pd.DataFrame({"body": ["the king rules", "", "the naïve queen"], "n": [1, 2, 3]}, index=["x", "y", "z"])
    assert list(Corpus.from_frame(frame, "body")) == TOKENS
    assert list(Corpus.from_frame(pd.DataFrame({"body": [["a"], [], ["b"]]}), "body", lowercase=True)) == [["a"], ["b"]]
    assert list(Corpus.from_frame(frame.head(0), "body")) == []
    assert list(Corpus.from_frame(frame.astype({"body": "category"}), "body")) == TOKENS
    assert list(Corpus.from_frame(frame.astype({"body": "string"}), "body")) == TOKENS
    with pytest.raises(BadInput, match=r"no column 'text' in the table; it has: \['body', 'n'\]"):
        Corpus.from_frame(frame, "text")
    with pytest.raises(BadInput, match="document 0 is neither"):
        list(Corpus.from_frame(frame, "n"))


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_a_missing_text_is_named_by_row(missing: Any) -> None:
    frame = pd.DataFrame({"body": ["a", missing, missing]}, index=["x", "y", "z"])
    with pytest.raises(BadInput, match=r"row 1 \('y'\) has no text in column 'body'"):
        Corpus.from_frame(frame, "body")


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(BadInput):
        Corpus.from_frame(pd.DataFrame([["a", "b"]], columns=["body", "body"]), "body")


# -- parts of it -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 2, 3, 99])
@pytest.mark.parametrize("source", [in_one_file, in_strings, in_a_generator_function], ids=lambda s: s.__name__)
def test_head_counts_documents_before_empty_ones_are_left_out(
    n: int, source: Callable[[Path], Any], tmp_path: Path
) -> None:
    documents = list(source(tmp_path) if source is in_strings else TEXT.splitlines())[:n]
    head = Corpus(source(tmp_path)).head(n)
    for _ in range(2):
        assert list(head) == [text.split() for text in documents if text.split()]


def test_a_sample_is_the_same_at_every_pass_and_about_the_share() -> None:
    corpus = Corpus([f"w{number}" for number in range(20_000)])
    for share in (0.01, 0.3, 0.9):
        sample = corpus.sample(share)
        found = list(sample)
        assert found == list(sample) == list(corpus.sample(share, random_state=0))
        assert abs(len(found) - 20_000 * share) < 5 * (20_000 * share * (1 - share)) ** 0.5
        assert found != list(corpus.sample(share, random_state=1))
        assert found == sorted(found, key=lambda document: int(document[0][1:]))
    assert list(corpus.sample(0)) == []
    assert list(corpus.sample(1)) == list(corpus)


def test_parts_of_parts_are_taken_in_order() -> None:
    corpus = Corpus([f"w{number}" for number in range(1000)])
    sample = list(corpus.sample(0.2, random_state=3))
    assert list(corpus.sample(0.2, random_state=3).head(10)) == sample[:10]
    few = list(corpus.head(100).sample(0.5))
    assert 0 < len(few) < 100
    assert all(int(document[0][1:]) < 100 for document in few)
    assert len(list(corpus.sample(0.5).sample(0.5, random_state=1))) in range(180, 320)
    assert list(corpus)[:1] == [["w0"]]  # it stays whole itself


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), 2])
def test_a_share_lies_between_0_and_1(share: float) -> None:
    with pytest.raises(BadInput, match="share from 0 to 1"):
        Corpus(["a"]).sample(share)


def test_head_takes_no_negative_number() -> None:
    with pytest.raises(BadInput, match="0 or more"):
        Corpus(["a"]).head(-1)


@pytest.mark.parametrize(
    "pick",
    [
        lambda corpus: corpus.head(np.int64(1)),
        lambda corpus: corpus.sample(np.float32(1)),
        lambda corpus: corpus.sample(1, random_state=np.int64(0)),
    ],
    ids=["head", "sample", "random_state"],
)
def test_numbers_may_be_numpys(pick: Callable[[Corpus], Corpus], tmp_path: Path) -> None:
    assert list(pick(Corpus(["a"])).encode(tmp_path / "e")) == [["a"]]


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["the king", "corpus.txt", "", b"the king"])
def test_a_plain_string_is_refused(text: Any) -> None:
    with pytest.raises(BadInput, match="plain string"):
        Corpus(text)


@pytest.mark.parametrize(
    "once",
    [(line for line in ["a"]), iter(["a"]), map(str.upper, ["a"]), zip(["a"], ["b"], strict=True)],
    ids=["generator", "iterator", "map", "zip"],
)
def test_what_can_be_read_only_once_is_refused(once: Any) -> None:
    with pytest.raises(BadInput, match="only once"):
        Corpus(once)


def test_an_open_file_is_refused(tmp_path: Path) -> None:
    with in_one_file(tmp_path).open() as stream, pytest.raises(BadInput, match="only once"):
        Corpus(stream)


@pytest.mark.parametrize("thing", [None, 5, 2.5, object()])
def test_what_holds_no_documents_is_refused(thing: Any) -> None:
    with pytest.raises(BadInput, match="made of paths, documents or a function"):
        Corpus(thing)


def test_a_function_that_gives_the_same_generator_twice_is_refused_at_the_second_pass() -> None:
    generator = (line for line in ["a b"])
    corpus = Corpus(lambda: generator)
    assert list(corpus) == [["a", "b"]]
    with pytest.raises(BadInput, match="same iterator twice"):
        list(corpus)


@pytest.mark.parametrize("text", ["a b", b"a b"])
def test_a_function_that_gives_a_string_is_refused(text: Any) -> None:
    with pytest.raises(BadInput, match="string instead of an iterable"):
        list(Corpus(lambda: text))


@pytest.mark.parametrize("nothing", [None, 5])
def test_a_function_that_gives_nothing_to_iterate_is_refused(nothing: Any) -> None:
    with pytest.raises(BadInput):
        list(Corpus(lambda: nothing))


@pytest.mark.parametrize("document", [5, None, b"a b", ["a", 5], [["a"]], {"a": 1}, Path("a.txt")], ids=repr)
def test_a_document_that_is_no_text_is_named(document: Any) -> None:
    with pytest.raises(BadInput, match="document 1 is neither"):
        list(Corpus(["a b", document]))


def test_an_error_in_the_function_reaches_the_caller() -> None:
    def documents() -> Iterable[str]:
        yield "a"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(Corpus(documents))


# -- what it says of itself --------------------------------------------------------------------------------------------


def test_describe_gives_name_size_and_checksum_of_files_and_no_folder(tmp_path: Path) -> None:
    paths = in_two_files(tmp_path)
    description = Corpus(paths).describe()
    assert description == {
        "files": [
            {
                "name": path.name,
                "bytes": len(path.read_bytes()),
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
            for path in paths
        ]
    }
    assert tmp_path.name not in json.dumps(description)


def test_describe_is_of_the_file_as_it_lies_there_compressed_or_not(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gz", gzip.compress(TEXT.encode()))
    assert Corpus(path).describe()["files"][0]["bytes"] == path.stat().st_size


def test_describe_of_what_is_in_memory_holds_none_of_it() -> None:
    assert "secret" not in json.dumps(Corpus(["secret words"]).describe())


def test_describe_names_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="cannot be read"):
        Corpus(tmp_path / "missing.txt").describe()


def test_repr_names_files_without_their_folder(tmp_path: Path) -> None:
    assert repr(Corpus(in_two_files(tmp_path))) == "Corpus(a.txt, b.txt)"
    assert repr(Corpus(["a"])) == "Corpus(documents)"


def test_describe_names_only_what_is_not_as_usual(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "a")
    usual = Corpus(path, tokenize="whitespace", unit="line", field="text", lowercase=False, numbers="keep")
    assert usual.describe().keys() == {"files"}
    made = Corpus(path, tokenize="words", unit="file", field=None, lowercase=True, fold_accents=True, numbers="mask")
    about = made.head(5).sample(0.5, random_state=3).describe()
    del about["files"]
    assert about == {
        "tokenize": "Words", "unit": "file", "field": None, "lowercase": True, "fold_accents": True, "numbers": "mask",
        "picked": [{"verb": "head", "amount": 5}, {"verb": "sample", "amount": 0.5, "random_state": 3}],
    }  # fmt: skip
    assert Corpus(["a"], tokenize=str.split).describe() == {"documents": "in memory or made by a function"}
    assert Corpus(["a"], tokenize=lambda text: [text]).describe()["tokenize"] == "a function of the user's"
    assert Corpus(["a"], tokenize="characters").describe()["n"] == 3
