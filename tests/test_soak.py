"""A long life in one process: queries by the hundred thousand take no more and more memory."""

from __future__ import annotations

import contextlib
import gc
from pathlib import Path

import numpy as np
import pytest

from embedkit import Embedding, Search, load

STATM = Path("/proc/self/statm")
MOST = 5 * 2**20  # bytes by which memory may grow

pytestmark = pytest.mark.skipif(not STATM.exists(), reason="this system does not tell how much memory is in use")


def resident() -> int:
    """Bytes of memory that are in use; those of files that are mapped are not the process's own."""
    _, total, shared, *_ = map(int, STATM.read_text().split())
    gc.collect()
    return (total - shared) * 4096


@pytest.fixture
def vectors(tmp_path: Path) -> Embedding:
    rows = np.random.default_rng(0).normal(size=(300, 8))
    Embedding([f"word {i}" for i in range(300)], rows).save(tmp_path / "v")
    loaded = load(tmp_path / "v")
    assert isinstance(loaded, Embedding)
    return loaded


def ask(embedding: Embedding, search: Search, number: int) -> int:
    """Some queries of all kinds, alone and in batches; how many they were."""
    words = [f"word {(number * 7 + i) % 300}" for i in range(1000)]
    embedding.similar(words[0], k=3)
    search.analogies([(words[0], words[1], words[2])], 3)
    with contextlib.suppress(KeyError):
        embedding.similar(f"no word {number}")  # another each time
    search.similar(words[:600], 5)
    search.analogies(list(zip(words[::3], words[1::3], words[2::3], strict=False)), 2)
    search.nearest(embedding.vectors[:64], 2)
    return 3 + 600 + 333 + 64


def growth(embedding: Embedding, first: int, last: int) -> int:
    """Bytes by which memory grows from the query `first` to the query `last`."""
    search, number, done, before = Search(embedding), 0, 0, 0
    while done < last:
        if not before and done >= first:
            before = resident()
        done += ask(embedding, search, number)
        number += 1
    return resident() - before


def test_ten_thousand_queries_leave_nothing_behind(vectors: Embedding) -> None:
    assert growth(vectors, 5_000, 15_000) < MOST


@pytest.mark.slow
def test_a_million_queries_leave_nothing_behind(vectors: Embedding) -> None:
    assert growth(vectors, 100_000, 1_000_000) < MOST


@pytest.mark.slow
def test_a_hundred_thousand_single_queries_leave_nothing_behind(vectors: Embedding) -> None:
    search = Search(vectors)
    before = 0
    for number in range(110_000):
        if number == 10_000:
            before = resident()
        word = f"word {number % 300}"
        if number % 2:
            search.similar([word], 3)
        else:
            search.analogies([(word, "word 1", "word 2")], 3)
    assert resident() - before < MOST
