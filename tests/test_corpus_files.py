"""Corpus from files: which ones a folder or a pattern means, and what of them is a document."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embedkit import Corpus
from embedkit.errors import BadFile, BadInput

TOKENS = [["the", "king", "rules"], ["the", "naïve", "queen"]]


def write(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


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


# -- folders and patterns ----------------------------------------------------------------------------------------------


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A folder of texts, plain and packed, with what is hidden and what is empty between them."""
    folder = tmp_path / "library"
    for name in ("b", "a/z", ".hidden", "empty"):
        (folder / name).mkdir(parents=True)
    write(folder / "b" / "1.txt", "five")
    write(folder / "c.txt", bz2.compress(b"six"))
    write(folder / "a" / "10.txt", "one\n")
    write(folder / "a" / "2.txt", lzma.compress(b"two\n\n"))
    write(folder / "a" / "3.jsonl", '{"text": "three"}\n')
    write(folder / "a" / "z" / "Z.txt", "four")
    write(folder / ".hidden" / "a.txt", "hidden")
    write(folder / "a" / ".hidden.txt", "hidden")
    return folder


def test_a_folder_is_read_in_order_of_names_without_hidden_files(library: Path) -> None:
    expected = [["one"], ["two"], ["three"], ["four"], ["five"], ["six"]]
    assert list(Corpus(library)) == expected
    assert list(Corpus.from_file(str(library))) == expected
    assert list(Corpus([library / "c.txt", library / "a" / "z"])) == [["six"], ["four"]]


def test_a_folder_in_a_hidden_folder_is_read(library: Path) -> None:
    assert list(Corpus(library / ".hidden")) == [["hidden"]]


def test_pipes_in_a_folder_are_passed_over(library: Path) -> None:
    os.mkfifo(library / "b" / "pipe")
    (library / "b" / "gone").symlink_to(library / "missing")
    assert [path.name for path in Corpus(library / "b").files()] == ["1.txt"]


@pytest.mark.parametrize("name", ["empty", "only"])
def test_a_folder_without_files_is_named(name: str, library: Path) -> None:
    (library / "only").mkdir()
    write(library / "only" / ".hidden", "x")
    with pytest.raises(BadFile, match="is a folder without files"):
        Corpus.from_file(library / name)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a/*.txt", ["10.txt", "2.txt"]),
        ("a/?.*", ["2.txt", "3.jsonl"]),
        ("a/[0-9].txt", ["2.txt"]),
        ("**/*.txt", ["10.txt", "2.txt", "Z.txt", "1.txt", "c.txt"]),
        ("*", ["c.txt"]),
        (".hidden/*", ["a.txt"]),
    ],
)
def test_a_pattern_stands_for_the_files_that_fit(pattern: str, names: list[str], library: Path) -> None:
    corpus = Corpus.from_file(f"{library}/{pattern}")
    assert [path.name for path in corpus.files()] == names
    assert [path.name for path in Corpus(library / pattern).files()] == names


@pytest.mark.parametrize("pattern", ["*.md", "b*", "missing/*", "a/[x].txt", "**/*.md"])
def test_a_pattern_that_nothing_fits_is_named(pattern: str, library: Path) -> None:
    with pytest.raises(BadFile, match="no file has a name of this pattern") as caught:
        Corpus.from_file(f"{library}/{pattern}")
    assert caught.value.path.endswith(pattern)


@pytest.mark.parametrize("name", ["a[1].txt", "what?.txt", "*.txt", "[x]"])
def test_a_file_whose_name_looks_like_a_pattern_is_that_file(name: str, tmp_path: Path) -> None:
    for other in ("a1.txt", "whats.txt", "x"):
        write(tmp_path / other, "wrong")
    assert list(Corpus.from_file(write(tmp_path / name, "right"))) == [["right"]]


@pytest.mark.parametrize("name", ["a\0b", "a\ud800", "x" * 300, "x/*" * 2000])
def test_a_name_that_no_file_can_have_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadFile) as caught:
        Corpus.from_file(f"{tmp_path}/{name}")
    assert str(caught.value).isprintable()


# -- lines, paragraphs, files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("line", [["a", "b"], ["c"], ["d"], ["e"], ["f"]]),
        ("paragraph", [["a", "b", "c"], ["d", "e"], ["f"]]),
        ("file", [["a", "b", "c", "d", "e"], ["f"]]),
    ],
)
def test_a_document_is_a_line_a_paragraph_or_a_file(unit: Any, expected: list[list[str]], tmp_path: Path) -> None:
    paths = [write(tmp_path / "1", "\n\na b\r\nc\n \t\r\n\nd\ne"), write(tmp_path / "2", "f\n\n\n")]
    assert list(Corpus(paths, unit=unit)) == expected


@pytest.mark.parametrize("unit", ["Line", "", None, 1, "word"])
def test_other_units_are_refused(unit: Any) -> None:
    with pytest.raises(BadInput, match="unit is 'line', 'paragraph' or 'file'"):
        Corpus(["a"], unit=unit)


def test_tokens_are_normalised_wherever_they_come_from(tmp_path: Path) -> None:
    options: dict[str, Any] = {"lowercase": True, "fold_accents": True, "numbers": "drop"}
    expected = [["cafe", "noir"], ["et"]]
    lists = [["Café", "1999", "Noir"], ["2", "Et"], ["3"]]
    path = write(tmp_path / "a.txt", "\n".join(map(" ".join, lists)))
    for source in (path, lists, [" ".join(words) for words in lists]):
        assert list(Corpus(source, **options)) == expected
    mine = Corpus(path, tokenize=lambda text: text.split(" "), **options)
    assert list(mine) == expected


# -- JSON lines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        '{"text": "the king rules"}\n{"text": ["the", "naïve", "queen"]}\n',
        '\ufeff{"text": "the king rules"}\r\n\r\n{"text": "the na\\u00efve\\nqueen", "id": {"a": [1]}}',
        ' {"id": 1, "text": "the king rules"}\n\n \n{"text": ""}\n{"text": []}\n\t{"text": "the naïve queen"} \n',
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=lambda pack: pack.__module__)
def test_json_lines_are_known_by_their_first_line(content: str, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    assert list(Corpus(write(tmp_path / "a", pack(content.encode())))) == TOKENS


def test_the_field_of_the_text_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a", '{"text": "no", "body": "yes"}\n')
    assert list(Corpus(path, field="body")) == [["yes"]]
    assert list(Corpus(path, field=None)) == [['{"text":', '"no",', '"body":', '"yes"}']]


@pytest.mark.parametrize(
    "first", ["{", "{a b}", "{'text': 'x'}", '{"text": "x"} tail', "[1]", '"text"', '{"text": "x"', "5"]
)
def test_a_first_line_that_is_no_object_makes_it_plain_text(first: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a", f'{first}\n{{"text": "x"}}\n')
    assert list(Corpus(path)) == [first.split(), ['{"text":', '"x"}']]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"body": "x"}', "not a JSON object with the field 'text'"),
        ("{}", "not a JSON object with the field 'text'"),
        ('["text"]', "not a JSON object with the field 'text'"),
        ('"text"', "not a JSON object with the field 'text'"),
        ("null", "not a JSON object with the field 'text'"),
        ("plain words", "is not a JSON object"),
        ('{"text": "x"', "is not a JSON object"),
        ('{"text": "x"}{"text": "y"}', "is not a JSON object"),
        ("[" * 100_000, "is not a JSON object"),
        ('{"text": %s}' % ("9" * 5000), "is not a JSON object"),
        ('{"text": 5}', "neither text nor a list of tokens: 5"),
        ('{"text": null}', "neither text nor a list of tokens: None"),
        ('{"text": {"text": "x"}}', "neither text nor a list of tokens"),
        ('{"text": ["a", 5]}', "neither text nor a list of tokens"),
        ('{"text": [["a"]]}', "neither text nor a list of tokens"),
        ('{"text": NaN}', "neither text nor a list of tokens: nan"),
    ],
    ids=lambda text: text[:30],
)
def test_a_later_line_that_does_not_fit_is_named(line: str, reason: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a", f'{{"text": "x"}}\n\n{line}\n')
    for read in (list, Corpus.encode):
        with pytest.raises(BadFile, match=reason) as caught:
            read(Corpus(path))
        assert (caught.value.path, caught.value.place) == (str(path), "line 3")
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("first", "has"), [("{}", "none"), ('{"a": 1, "\\u001b[2J": 2}', r"'a', '\\x1b\[2J'"), ('{"Text": "x"}', "'Text'")]
)
def test_json_without_the_field_is_refused_with_the_fields_there_are(first: str, has: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a", first + "\n")
    for read in (list, Corpus.encode):
        with pytest.raises(BadFile, match=rf"without the field 'text' \(it has: {has}\)") as caught:
            read(Corpus(path))
        assert caught.value.place == "line 1"


def test_bad_utf8_in_json_is_named_by_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a", b'{"text": "x"}\n{"text": "caf\xe9"}\n')
    with pytest.raises(BadFile, match="not valid UTF-8") as caught:
        list(Corpus(path))
    assert caught.value.place == "line 2"


def test_a_first_object_may_be_long(tmp_path: Path) -> None:
    path = write(tmp_path / "a", json.dumps({"text": "a " * 600_000}) + "\n" + json.dumps({"text": "b"}))
    assert [document[0] for document in Corpus(path)] == ["a", "b"]
