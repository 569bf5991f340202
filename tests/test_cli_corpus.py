"""`embedkit corpus`, and texts as arguments of other commands."""

from __future__ import annotations

import bz2
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embedkit import Corpus, load

Run = Callable[..., Any]

TEXT = "The King rules.\nThe Queen rules, too: 1999!\n\n"


@pytest.fixture(autouse=True)
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDKIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "a.bz2").write_bytes(bz2.compress(TEXT.encode()))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.jsonl").write_text(
        '{"text": "The King rules."}\n{"text": "The Queen rules, too: 1999!"}\n'
    )


def facts(out: str) -> dict[str, Any]:
    return {row["fact"]: row["value"] for row in json.loads(out)}


@pytest.mark.parametrize("place", ["a.txt", "a.bz2", "folder", "fol*/*.jsonl", "-"])
def test_info_counts_a_text_wherever_it_is(run: Run, place: str) -> None:
    ran = run("corpus", "info", place, "--tokenize", "words", "--lowercase", "--format", "json", stdin=TEXT)
    assert ran.code == 0
    assert facts(ran.out) == {
        "documents": 2,
        "tokens": 8,
        "words": 6,
        "words_seen_once": 4,
        "words_seen_5_times": 0,
        "tokens_of_these": 0.0,
        "longest_document": 5,
        "median_document": 4.0,
        "most_frequent": "the rules king queen too 1999",
    }


def test_options_reach_the_corpus(run: Run) -> None:
    ran = run(
        "corpus", "info", "a.txt", "--numbers", "drop", "--unit", "file", "--tokenize", "words", "--format", "json"
    )
    assert (facts(ran.out)["documents"], facts(ran.out)["tokens"]) == (1, 7)
    ran = run("corpus", "info", "a.txt", "--head", "1", "--format", "json")
    assert (facts(ran.out)["documents"], facts(ran.out)["tokens"]) == (1, 3)
    ran = run("corpus", "info", "kingdom", "--share", "0.1", "--format", "json", "--top", "0")
    assert 800 < facts(ran.out)["documents"] < 1200
    assert "most_frequent" not in facts(ran.out)


def test_encode_writes_what_the_library_would(run: Run, tmp_path: Path) -> None:
    ran = run("corpus", "encode", "a.txt", "-o", "a.safetensors")
    assert (ran.code, ran.out) == (0, "")
    assert "wrote 8 tokens of 7 words in 2 documents to a.safetensors" in ran.err
    assert list(load(tmp_path / "a.safetensors")) == list(Corpus(tmp_path / "a.txt"))


def test_phrases_are_listed_explained_and_joined(run: Run, tmp_path: Path) -> None:
    (tmp_path / "york.txt").write_text("new york is big\nwe saw new york\na new idea\nthe york minster\n" * 5)
    options = ["york.txt", "--threshold", "0.1", "--format", "csv"]
    ran = run("corpus", "phrases", *options, "-o", "joined.txt")
    assert ran.out.splitlines() == ["phrase,score", "new_york,0.4222222222222222"]
    assert (tmp_path / "joined.txt").read_text().splitlines()[:2] == ["new_york is big", "we saw new_york"]
    ran = run("corpus", "phrases", *options, "--explain", "new york", "--explain", "new idea")
    assert [line.split(",")[:2] for line in ran.out.splitlines()[1:]] == [["new york", "yes"], ["new idea", "no"]]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["info"], 2, "Missing argument"),
        (["info", "missing.txt"], 4, "missing.txt: cannot be read: No such file"),
        (["info", "missing"], 4, "nor is it on the shelf (see embedkit corpora list)"),
        (["info", "*.md"], 4, "no file has a name of this pattern"),
        (["info", "a.txt", "-"], 2, "not both"),
        (["info", "folder", "--field", "body"], 4, "without the field 'body' (it has: 'text')"),
        (["phrases", "a.txt", "--explain", "new"], 4, "a phrase is two words"),
        (["phrases", "a.txt", "--scoring", "npmi", "--threshold", "7"], 4, "between -1 and 1"),
        (["encode", "a.txt", "-o", "nowhere/x"], 4, "nowhere"),
    ],
)
def test_a_mistake_ends_in_one_clear_line(run: Run, args: list[str], code: int, words: str) -> None:
    ran = run("corpus", *args)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err
    assert code == 2 or ran.err.count("\n") == 1


def test_training_takes_texts_in_the_same_way(run: Run, tmp_path: Path) -> None:
    args = ["--tokenize", "words", "--lowercase", "--min-count", "2", "--vector-size", "4", "--seed", "1", "-o", "v"]
    assert run("train", "word2vec", "-", *args, stdin=TEXT).code == 0
    assert list(load(tmp_path / "v")) == ["the", "rules"] or list(load(tmp_path / "v")) == ["rules", "the"]
