"""Categorisation: words with their categories, and purity written out."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedkit import Embedding
from embedkit.errors import BadFile, BadInput
from embedkit.evaluation import CategoryWord, evaluate_categories, mean_interval, read_categories

ANIMALS = ["cat", "dog", "cow", "hen"]
TOOLS = ["saw", "axe", "pin", "awl"]


def clear(rng: np.random.Generator) -> Embedding:
    """Two bundles of words that lie far apart."""
    centres = np.repeat([[5.0, 0.0, 0.0], [0.0, 5.0, 0.0]], 4, axis=0)
    return Embedding([*ANIMALS, *TOOLS], centres + 0.1 * rng.normal(size=(8, 3)))


def test_the_layout_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ap.txt"
    path.write_text("# comment\ncat\tanimal\n\nice cream\tfood\ndog animal\ncat\tpet\n")
    expected = [("cat", "animal"), ("ice cream", "food"), ("dog", "animal"), ("cat", "pet")]
    assert read_categories(path) == [CategoryWord(*word) for word in expected]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no words"),
        ("cat\tanimal\ncat\n", "line 2: expected a word and its category"),
        ("cat\t\n", "line 1: expected a word and its category"),
        ("a b c\n", "line 1: expected a word and its category"),
        ("cat\tanimal\ncat\tanimal\n", "line 2: has 'cat' in 'animal' a second time"),
    ],
)
def test_broken_files_are_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "ap.txt").write_text(text)
    with pytest.raises(BadFile, match=message):
        read_categories(tmp_path / "ap.txt")


def test_words_that_lie_together_are_pure(rng: np.random.Generator) -> None:
    words = [(word, "animal") for word in ANIMALS] + [(word, "tool") for word in TOOLS]
    report = evaluate_categories(clear(rng), words, name="set")
    assert (report.purity, report.covered) == (1, 8)
    assert len(set(report.clusters[:4])) == len(set(report.clusters[4:])) == 1
    assert repr(report) == "CategoryReport('set', purity 100.0% [100.0, 100.0], 8 of 8 words covered)"
    turned = [(word, "animal") for word in [*ANIMALS[:3], TOOLS[0]]] + [(w, "tool") for w in [*TOOLS[1:], ANIMALS[3]]]
    assert evaluate_categories(clear(rng), turned).purity == 0.75


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_purity_is_that_of_the_clusters(seed: int) -> None:
    rng = np.random.default_rng(seed)
    embedding = Embedding([f"w{i}" for i in range(25)], rng.normal(size=(25, 3)))
    words = [(f"w{i}", f"c{rng.integers(0, 4)}") for i in range(28)]
    report = evaluate_categories(embedding, words, random_state=seed % 100)
    assert (report.clusters >= 0).tolist() == [word in embedding for word, _ in words]
    best = 0
    for cluster in range(4):
        members = [category for (_, category), c in zip(words, report.clusters, strict=True) if c == cluster]
        best += max(Counter(members).values(), default=0)
    assert report.purity == pytest.approx(best / 25)
    assert report.purity_of_all == pytest.approx(best / 28)
    figures = report.figures
    assert sum(f.correct for f in figures) == best
    assert sum(f.covered for f in figures) == 25
    assert [f.category for f in figures] == list(dict.fromkeys(category for _, category in words))
    shares = [f.correct / f.covered for f in figures if f.covered]
    assert report.macro_accuracy == pytest.approx(sum(shares) / len(shares))
    again = evaluate_categories(embedding, words, random_state=seed % 100)
    assert again.clusters.tolist() == report.clusters.tolist()
    covered = report.clusters >= 0
    groups = np.array([int(category[1]) for _, category in words])
    assert report.intervals(300) == mean_interval(groups[covered], report.correct[covered], replicates=300)


def test_a_report_tells_of_coverage_and_rules(rng: np.random.Generator) -> None:
    words = [("CAT", "animal"), ("cow", "animal"), ("unicorn", "animal"), ("saw", "tool"), ("yeti", "spirit")]
    report = evaluate_categories(clear(rng), words)
    assert (report.covered, len(report.words), report.purity, report.purity_of_all) == (3, 5, 1, 0.6)
    assert report.to_frame()["accuracy"].isna().tolist() == [False, False, True]
    assert evaluate_categories(clear(rng), words, ignore_case=False).covered == 2
    assert evaluate_categories(clear(rng), words, restrict=3).covered == 2
    for nothing in ([], [("x", "y")]):
        report = evaluate_categories(clear(rng), nothing)
        assert math.isnan(report.purity)
        assert not report.interval.known


def test_more_categories_than_different_vectors() -> None:
    embedding = Embedding(["a", "b", "c"], [[1, 0], [1, 0], [2, 0]])
    report = evaluate_categories(embedding, [("a", "x"), ("b", "y"), ("c", "z")])
    assert report.purity == pytest.approx(1 / 3)


@pytest.mark.parametrize("word", [("a",), ("a", "b", "c"), ("a", 3)])
def test_what_is_no_word_with_a_category_is_refused(word: Any, royals: Embedding) -> None:
    with pytest.raises(BadInput, match="word 1 must be a word and its category"):
        evaluate_categories(royals, [("king", "person"), word])
