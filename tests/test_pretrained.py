"""The shipped vectors: what they are, and that the card tells the truth about them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from embedkit import Embedding, pretrained
from embedkit.evaluation import evaluate_analogies, evaluate_similarity, read_pairs, read_questions
from embedkit.evaluation.intervals import with_interval
from embedkit.formats.native import load_embedding

CARD = pretrained.PATH.with_name("card.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def shipped() -> Embedding:
    return load_embedding(pretrained.PATH, verify=True)


def test_they_are_small_whole_and_ordered_by_frequency(shipped: Embedding) -> None:
    assert pretrained.PATH.stat().st_size <= 12_000_000
    assert shipped.shape == (35_000, 300)
    assert shipped.storage == "int8"
    assert (np.diff(shipped.columns["count"]) <= 0).all()
    assert pretrained.load() == shipped


def test_they_say_how_they_were_made(shipped: Embedding) -> None:
    parts = shipped.provenance["parts"]
    assert [part["made_by"] for part in parts] == ["Word2Vec", "Word2Vec"]
    assert [part["parameters"]["sg"] for part in parts] == [1, 0]
    text = " ".join(CARD.split())
    for part in parts:
        assert part["repeatable"]
        parameters = part["parameters"]
        told = (
            "Both trainings have {vector_size} dimensions, window {window}, {negative} negative samples, min_count "
            "{min_count}, {epochs} epochs, one worker, seed {random_state}"
        )
        assert told.format(**parameters) in text
        assert parameters["workers"] == 1
        corpus = part["corpus"]
        assert f"{corpus['tokens']:,} tokens in {corpus['documents']:,} articles" in text
        assert [file["name"] for file in corpus["files"]] == [f"enwiki15-{letter}.txt.gz" for letter in "abcd"]
    assert f"alpha {parts[0]['parameters']['alpha']:.2f}".replace("0.", ".") in text


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (("king", "man", "woman"), "queen"),
        (("berlin", "germany", "france"), "paris"),
        (("went", "go", "take"), "took"),
        (("children", "child", "mouse"), "mice"),
    ],
)
def test_they_answer(shipped: Embedding, question: tuple[str, str, str], answer: str) -> None:
    assert shipped.analogy(*question, k=1).best == [answer]


@pytest.mark.parametrize("restrict", [30_000, None])
def test_the_card_s_figures_are_those_that_are_measured(shipped: Embedding, data: Path, restrict: int | None) -> None:
    report = evaluate_analogies(shipped, read_questions(data / "eval" / "questions-words.txt"), restrict=restrict)
    t = report.total
    row = (
        f"| shipped, int8 | {restrict or len(shipped):,} | {t.covered:,} | {t.correct:,} | {t.accuracy:.1%} "
        f"| {t.correct / t.questions:.1%} | {t.correct_with_inputs:,} ({t.accuracy_with_inputs:.1%}) |"
    )
    assert row in CARD
    assert t.accuracy >= 0.4
    if restrict:
        assert f"{with_interval(t.accuracy, report.interval, '.1%')} of\nthe covered" in CARD
        assert f"is {with_interval(report.macro_accuracy, report.macro_interval, '.1%')}" in CARD
        shown = re.findall(r"^\| (\S+) \| [\d,]+ \| ([\d,]+) \| ([\d.]+%) \|$", CARD, re.MULTILINE)
        assert shown == [(s.section, f"{s.covered:,}", f"{s.accuracy:.1%}") for s in report]


@pytest.mark.parametrize(("name", "file"), [("WordSim-353", "wordsim353.tsv"), ("SimLex-999", "simlex999.tsv")])
def test_the_card_s_correlations_are_those_that_are_measured(
    shipped: Embedding, data: Path, name: str, file: str
) -> None:
    report = evaluate_similarity(shipped, read_pairs(data / "eval" / "similarity" / file))
    row = f"| {name} | {len(report.pairs)} | {report.covered} | {report.spearman:.3f} | {report.interval:.3f} |"
    assert row in CARD
