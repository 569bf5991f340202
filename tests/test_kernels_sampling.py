"""What word2vec draws: chances, streams, and the words of a chunk."""

from __future__ import annotations

import numpy as np
import pytest

from embedkit.kernels.sampling import (
    CHUNK,
    Draws,
    Text,
    UInt32s,
    advanced,
    alias_table,
    drawn,
    keep_thresholds,
    mixed,
    n_chunks,
    new_buffer,
    read_chunk,
    stream,
)
from embedkit.kernels.simd import Integers, trained
from embedkit.text.vocabulary import keep_probabilities

EVERYTHING = 2**32 - 1


@trained
def draw_many(alias: UInt32s, seed: int, found: Integers) -> None:
    state = stream(seed, 0, 0)
    for k in range(len(found)):
        state = advanced(state)
        found[k] = drawn(alias, mixed(state))


@pytest.mark.parametrize("weights", [[1.0], [3.0, 0.0, 1.0], [1.0, 1e-9], np.arange(1, 1001.0) ** -1.0])
def test_the_table_holds_the_exact_chances(weights: list[float]) -> None:
    table = alias_table(np.array(weights))
    n = len(weights)
    chances = np.zeros(n)
    own = table[:, 0] / 2.0**32
    own[table[:, 1] == np.arange(n)] = 1
    np.add.at(chances, np.arange(n), own / n)
    np.add.at(chances, table[:, 1], (1 - own) / n)
    np.testing.assert_allclose(chances, np.array(weights) / np.sum(weights), atol=1e-9)


def test_draws_follow_the_chances() -> None:
    weights = np.array([5.0, 0.0, 3.0, 1.0, 1.0])
    found = np.empty(200_000, dtype=np.int64)
    draw_many(alias_table(weights), 7, found)
    shares = np.bincount(found, minlength=5) / len(found)
    assert shares[1] == 0
    np.testing.assert_allclose(shares, weights / 10, atol=5 * 0.5 / np.sqrt(len(found)))  # five standard errors


@pytest.mark.parametrize("weights", [[], [0.0, 0.0], [-1.0, 2.0], [np.nan, 1.0], [[1.0]]])
def test_weights_that_are_none_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights must be"):
        alias_table(np.array(weights))


def test_splitmix_gives_the_published_numbers() -> None:
    # The first numbers of SplitMix64 seeded with 1234567, as published with its reference implementation.
    golden, state = 0x9E3779B97F4A7C15, 1234567
    found = [int(mixed(np.uint64((state + k * golden) % 2**64))) for k in (1, 2, 3)]
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_streams_differ_in_every_part_of_their_name() -> None:
    names = [(seed, epoch, chunk) for seed in (0, 1, -1) for epoch in range(20) for chunk in range(-1, 50)]
    assert len({int(stream(*name)) for name in names}) == len(names)


def test_thresholds_are_word2vecs_formula() -> None:
    counts = np.array([10_000, 1_000, 10, 0])
    ratio = 1e-3 * counts.sum() / np.maximum(counts, 1)
    chances = np.minimum(np.sqrt(ratio) + ratio, 1)
    np.testing.assert_allclose((keep_thresholds(keep_probabilities(counts, 1e-3)) + 1.0) / 2**32, chances, atol=1e-9)
    assert (keep_thresholds(keep_probabilities(counts, 0)) == EVERYTHING).all()


def text_of(*documents: list[int]) -> Text:
    ids = np.array([word for document in documents for word in document], dtype=np.int32)
    return Text(ids, np.cumsum([len(document) for document in documents], dtype=np.int64))


def chunks(
    text: Text, draws: Draws, window: int, epoch: int = 0
) -> list[tuple[list[int], list[tuple[int, int]], list[int]]]:
    """Of each chunk: its words, the bounds of their documents, and all words in the buffer."""
    buffer, found = new_buffer(window), []
    for chunk in range(n_chunks(text)):
        begin, end, size = read_chunk(text, draws, window, epoch, chunk, buffer)
        bounds = list(zip(buffer.first[begin:end].tolist(), buffer.last[begin:end].tolist(), strict=True))
        found.append((buffer.words[begin:end].tolist(), bounds, buffer.words[:size].tolist()))
    return found


def draws_for(n_words: int, counts: list[int] | None = None, sample: float = 0, seed: int = 3) -> Draws:
    keep = keep_probabilities(np.array(counts or [1] * n_words), sample)
    return Draws(
        keep_thresholds(keep),
        alias_table(np.ones(n_words)),
        seed,
    )


def windows(text: Text, draws: Draws, window: int) -> list[tuple[int, tuple[int, ...], tuple[int, ...]]]:
    """Each kept word with the words in its window before and after it, as chunks give them."""
    buffer, found = new_buffer(window), []
    for chunk in range(n_chunks(text)):
        begin, end, _ = read_chunk(text, draws, window, 0, chunk, buffer)
        for k in range(begin, end):
            before = buffer.words[max(buffer.first[k], k - window) : k]
            after = buffer.words[k + 1 : min(buffer.last[k], k + window + 1)]
            found.append((int(buffer.words[k]), tuple(before.tolist()), tuple(after.tolist())))
    return found


@pytest.mark.parametrize("window", [1, 2, 15])
def test_windows_are_those_of_whole_documents(rng: np.random.Generator, window: int) -> None:
    # Documents of no words, one word, some words and several chunks; every third word is rare and left out.
    lengths = [1, 0, 0, 3, 2 * CHUNK + 17, 1, 40, CHUNK - 5, 0, CHUNK * 3, 2, 0]
    documents = [rng.integers(0, 9, size=length).tolist() for length in lengths]
    expected = []
    for document in documents:
        kept = [word for word in document if word < 6]
        for k, word in enumerate(kept):
            expected.append((word, tuple(kept[max(0, k - window) : k]), tuple(kept[k + 1 : k + 1 + window])))
    assert windows(text_of(*documents), draws_for(6), window) == expected


def test_chunks_agree_about_what_is_kept(rng: np.random.Generator) -> None:
    document = rng.integers(0, 4, size=5 * CHUNK).tolist()
    draws = draws_for(4, counts=[700, 100, 100, 100], sample=0.05)
    found = chunks(text_of(document), draws, 6)
    kept = [word for words, _, _ in found for word in words]
    assert 0 < len(kept) < len(document)
    start = 0
    for words, _, everything in found:
        assert everything == kept[max(0, start - 6) : start + len(words) + 6]
        start += len(words)
    again = [word for words, _, _ in chunks(text_of(document), draws, 6, epoch=1) for word in words]
    assert again != kept  # other words in another epoch


def test_frequent_words_are_kept_with_their_chance() -> None:
    document = [0] * 100_000
    draws = draws_for(2, counts=[900, 100], sample=0.05)
    kept = sum(len(words) for words, _, _ in chunks(text_of(document), draws, 5))
    chance = np.sqrt(0.05 / 0.9) + 0.05 / 0.9
    assert kept / len(document) == pytest.approx(chance, abs=5 * 0.5 / np.sqrt(len(document)))


def test_a_text_that_is_all_rare_words_has_none() -> None:
    text = text_of([7] * (3 * CHUNK), [-1] * 5)
    assert [words for words, _, _ in chunks(text, draws_for(4), 5)] == [[]] * 4
    assert n_chunks(Text(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64))) == 0
