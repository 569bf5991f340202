"""Corpus: every kind of source, read again and again, and what it refuses."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from embedkit import Corpus
from embedkit.errors import BadFile, BadInput
from embedkit.text import corpus as corpus_module

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


@pytest.mark.parametrize(("name", "reason"), [("missing.txt", "No such file"), (".", "not a regular file")])
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


def test_damage_in_a_gzip_file_is_named_by_line(tmp_path: Path) -> None:
    whole = gzip.compress(b"one\ntwo\n")
    path = write(tmp_path / "a.gz", whole[:-8] + b"\0" * 8)  # the checksum is wrong
    with pytest.raises(BadFile, match="gzip data is cut or damaged") as caught:
        list(Corpus(path))
    assert caught.value.place.startswith("after line ")


def test_a_line_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "_LONGEST_LINE", 1 << 20)
    longest = b"a" * ((1 << 20) - 1) + b"\n"
    path = write(tmp_path / "a.txt", longest)
    assert len(next(iter(Corpus(path)))[0]) == (1 << 20) - 1
    path = write(tmp_path / "b.txt", b"short\na" + longest)
    with pytest.raises(BadFile, match="longer than 1 MiB") as caught:
        list(Corpus(path))
    assert caught.value.place == "line 2"


# -- what a document is ------------------------------------------------------------------------------------------------


def test_tokenize_splits_strings_and_leaves_lists_alone() -> None:
    corpus = Corpus(["A Rose", ["A", "Rose"]], tokenize=lambda text: text.lower().split())
    assert list(corpus) == [["a", "rose"], ["A", "Rose"]]


def test_a_document_without_tokens_after_tokenizing_is_left_out() -> None:
    assert list(Corpus(["1 2", "a 3"], tokenize=lambda text: [t for t in text.split() if t.isalpha()])) == [["a"]]


def test_an_error_in_the_tokenizer_reaches_the_caller() -> None:
    def tokenize(text: str) -> list[str]:
        raise ZeroDivisionError(text)

    with pytest.raises(ZeroDivisionError):
        list(Corpus(["a"], tokenize=tokenize))


@pytest.mark.parametrize("split", [lambda text: text.split(" "), list], ids=["at spaces", "into characters"])
def test_tokenize_sees_the_same_text_from_a_file_as_from_memory(
    split: Callable[[str], list[str]], tmp_path: Path
) -> None:
    path = write(tmp_path / "a.txt", "a b\nc d\n")
    assert list(Corpus(path, tokenize=split)) == list(Corpus(["a b", "c d"], tokenize=split))


@pytest.mark.parametrize("tokenize", [str.lower, lambda text: iter(text.split())], ids=["a string", "an iterator"])
def test_a_tokenizer_that_gives_no_list_is_refused(tokenize: Any) -> None:
    with pytest.raises(BadInput):
        list(Corpus(["a b"], tokenize=tokenize))


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
