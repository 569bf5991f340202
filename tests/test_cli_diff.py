"""`embedkit diff`, loaded from its entry point as the console script loads it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedkit import Embedding
from embedkit.evaluation import diff

Run = Callable[..., Any]

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str, text: str) -> None:
    """Compare with what is kept in tests/golden; EMBEDKIT_REGOLD=1 writes it anew."""
    if os.environ.get("EMBEDKIT_REGOLD"):
        (GOLDEN / name).write_text(text, encoding="utf-8")
    assert text == (GOLDEN / name).read_text(encoding="utf-8")


@pytest.fixture
def run(run: Run, tmp_path: Path, rng: np.random.Generator) -> Run:
    """`embedkit diff`, beside two trainings on one text and two on another in which one word moved."""
    words = [f"word{i}" for i in range(120)]
    counts = np.sort((5 * 1000 ** rng.random(120)).astype(int))[::-1]
    truth = rng.normal(size=(120, 6))
    for name, moved in {"a": 0, "a2": 0, "b": 3, "b2": 3}.items():
        vectors = truth + rng.normal(size=truth.shape) / np.sqrt(counts)[:, None]
        vectors[30] += moved * truth[31]
        Embedding(words, vectors, columns={"count": counts}).save(tmp_path / name)
        Embedding(words, vectors).save(tmp_path / f"{name}-plain")
    return lambda *args: run("diff", *args)


def test_the_word_that_moved_comes_first(run: Run) -> None:
    ran = run("a", "b", "--noise", "a2", "--noise", "b2", "--top", "3", "-k", "5")
    assert ran.code == 0
    golden("diff.table", ran.out)
    golden("diff.err", ran.err)
    assert run("a", "b", "--noise", "a2", "--top", "1", "--format", "csv").out.splitlines()[1].startswith("word30,")


def test_the_rows_are_those_of_the_library(run: Run) -> None:
    from embedkit import load

    rows = json.loads(run("a", "b", "--noise", "a2", "--top", "0", "--format", "json").out)
    a, b, a2 = (load(name) for name in ("a", "b", "a2"))
    assert isinstance(a, Embedding)
    assert [tuple(row.values()) for row in rows] == [tuple(one) for one in diff(a, b, noise=[(a, a2)])]
    assert list(rows[0]) == ["label", "frequency", "distance", "expected", "z", "overlap"]


def test_without_noise_and_counts_that_is_said(run: Run) -> None:
    ran = run("a-plain", "b-plain", "--restrict", "50", "--format", "jsonl", "--top", "0")
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert len(rows) == 50
    assert {(row["expected"], row["z"]) for row in rows} == {(None, None)}
    assert ran.err.startswith("50 shared words, mean distance ")
    assert ran.err.endswith("; no noise floor (see --noise); no counts: frequency is the place in the order\n")


def test_mistakes_are_one_line(run: Run) -> None:
    assert run("a", "absent").code == 4
    ran = run("a", "b", "--noise", "a")
    assert (ran.code, ran.out) == (4, "")
    assert ran.err == "embedkit: noise pair 0 is the same vectors twice: train again with another seed\n"
    assert run("a", "b", *["--noise", "a2"] * 3).code == 2
    assert run("a").code == 2
