"""Alignment by orthogonal Procrustes, and words that moved beyond what chance moves them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group

from embedkit import Embedding, Search
from embedkit.errors import BadInput, UnknownWord
from embedkit.evaluation import align, diff, spaces

Doubles = npt.NDArray[np.float64]


def units(vectors: npt.ArrayLike) -> Doubles:
    rows = np.array(vectors, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0))


# -- alignment ---------------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_alignment_is_scipy_s(seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = [f"w{i}" for i in range(40)]
    a = Embedding(rng.permutation(words)[:30], rng.normal(size=(30, 4)), columns={"count": np.arange(30)})
    b = Embedding(rng.permutation(words)[:30], rng.normal(size=(30, 4)))
    found = align(a, b)
    shared = [word for word in a if word in b]
    assert list(found.labels) == shared
    x, y = units(a[shared]), units(b[shared])
    rotation, _ = orthogonal_procrustes(x, y)
    np.testing.assert_allclose(found.rotation, rotation, atol=1e-5)
    np.testing.assert_allclose(found.rotation @ found.rotation.T, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(found.cosines, (x @ rotation * y).sum(axis=1), atol=1e-5)
    np.testing.assert_allclose(found.residuals, np.linalg.norm(x @ rotation - y, axis=1), atol=1e-5)
    np.testing.assert_allclose(found.embedding.vectors, a.vectors @ rotation, atol=1e-4)
    assert found.embedding.labels == a.labels
    assert found.embedding.columns["count"].tolist() == list(range(30))
    # Nothing within the space changes.
    near, turned = (Search(one, device="numpy").similar(words, 5, missing="skip") for one in (a, found.embedding))
    np.testing.assert_allclose(near.scores, turned.scores, atol=1e-5)
    # No other rotation does better.
    other = ortho_group(4, seed=seed).rvs()
    assert found.cosines.sum() >= (x @ other * y).sum() - 1e-5


def test_a_turned_space_is_turned_back(rng: np.random.Generator) -> None:
    a = Embedding(None, rng.normal(size=(50, 5)))
    turn = ortho_group(5, seed=1).rvs()
    b = a.with_vectors(3 * a.vectors @ turn)
    found = align(a, b)
    np.testing.assert_allclose(found.rotation, turn, atol=1e-6)
    np.testing.assert_allclose(found.cosines, 1, atol=1e-6)
    np.testing.assert_allclose(found.residuals, 0, atol=1e-5)
    assert "50 shared labels, mean cosine 1.000" in repr(found)
    assert found.embedding.provenance["made_by"] == "align"


def test_anchors_alone_are_fitted(rng: np.random.Generator) -> None:
    a = Embedding(None, rng.normal(size=(40, 3)))
    vectors = a.vectors @ ortho_group(3, seed=2).rvs()
    vectors[20:] = rng.normal(size=(20, 3))
    b = a.with_vectors(vectors)
    found = align(a, b, anchors=[str(i) for i in range(20)] * 2)
    assert len(found.labels) == 20
    np.testing.assert_allclose(found.cosines, 1, atol=1e-6)
    assert align(a, b).cosines[:20].min() < 0.999
    with pytest.raises(UnknownWord):
        align(a, b, anchors=["0", "nobody"])


def test_a_row_of_zeros_has_cosine_0(rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(10, 2))
    vectors[3] = 0
    a = Embedding(None, vectors)
    found = align(a, a)
    assert found.cosines[3] == 0
    np.testing.assert_allclose(np.delete(found.cosines, 3), 1, atol=1e-6)


def test_what_cannot_be_aligned_is_refused(royals: Embedding, rng: np.random.Generator) -> None:
    with pytest.raises(BadInput, match="cannot turn 3-d vectors onto 2-d ones"):
        align(royals, Embedding(["king"], np.ones((1, 2))))
    with pytest.raises(BadInput, match="1 shared labels leave a rotation in 3 dimensions open"):
        align(royals, Embedding(["king", "x", "y"], rng.normal(size=(3, 3))))


# -- differences -------------------------------------------------------------------------------------------------------

WORDS, MOVED, WIDTH = 1500, 15, 20


def trained(truth: Doubles, counts: Doubles, rng: np.random.Generator, seed: int) -> Embedding:
    """As a trainer would give it: turned anyhow, and the less certain the fewer times a word was seen."""
    noise = rng.normal(size=truth.shape) * (4 / np.sqrt(counts))[:, None]
    turn = ortho_group(truth.shape[1], seed=seed).rvs()
    return Embedding([f"w{i}" for i in range(len(truth))], (truth + noise) @ turn, columns={"count": counts})


@pytest.fixture
def spaces_with_moved_words(rng: np.random.Generator) -> tuple[list[Embedding], set[str]]:
    """A, A2 of one text, B, B2 of another, in which some words of middling frequency mean something else."""
    counts = np.sort(np.round(5 * 4000 ** rng.random(WORDS)))[::-1]
    truth = rng.normal(size=(WORDS, WIDTH))
    moved = rng.choice(np.flatnonzero((counts > 200) & (counts < 4000)), MOVED, replace=False)
    later = truth.copy()
    later[moved] = 0.75 * truth[moved] + 0.66 * rng.normal(size=(MOVED, WIDTH))
    made = [trained(one, counts, rng, seed) for seed, one in enumerate([truth, truth, later, later])]
    return made, {f"w{i}" for i in moved}


def test_words_that_moved_are_found_beyond_the_noise_and_not_by_distance_alone(
    spaces_with_moved_words: tuple[list[Embedding], set[str]],
) -> None:
    (a, a2, b, b2), moved = spaces_with_moved_words
    for noise in ([(a, a2)], [(a, a2), (b, b2)]):
        found = diff(a, b, noise=noise)
        first = [one.label for one in found][:MOVED]
        assert len(moved & set(first)) >= MOVED - 3
    plain = diff(a, b)
    assert np.isnan(plain.z).all()
    rare = list(plain)[:MOVED]
    assert len(moved & {one.label for one in rare}) <= 3
    assert np.median([one.frequency for one in rare]) < 15
    # Words that did not move lie about the floor, at every frequency.
    still = np.array([label not in moved for label in found.labels])
    for part in np.array_split(np.argsort(found.frequencies), 5):
        z = found.z[part][still[part]]
        assert abs(np.median(z)) < 0.25
        assert 0.6 < np.median(np.abs(z - np.median(z))) * 1.4826 < 1.6


def test_distances_and_overlaps_are_those_of_loops(rng: np.random.Generator) -> None:
    words = [f"w{i}" for i in range(30)]
    a = Embedding(rng.permutation(words)[:25], rng.normal(size=(25, 3)), columns={"count": np.arange(25)})
    b = Embedding(rng.permutation(words)[:25], rng.normal(size=(25, 3)), columns={"count": 30 - np.arange(25)})
    found = diff(a, b, k=4)
    shared = [word for word in a if word in b]
    assert list(found.labels) == shared
    np.testing.assert_allclose(found.distances, 1 - align(a, b).cosines)
    count_a, count_b = (dict(zip(one, one.columns["count"].tolist(), strict=True)) for one in (a, b))
    assert found.frequencies.tolist() == [min(count_a[word], count_b[word]) for word in shared]
    x, y = (units(one[shared]) for one in (a, b))
    for row in range(len(shared)):
        near = []
        for z in (x, y):
            scores = z @ z[row]
            scores[row] = -np.inf
            near.append(set(np.argsort(-scores)[:4].tolist()))
        assert found.overlaps[row] == pytest.approx(len(near[0] & near[1]) / len(near[0] | near[1]))
    assert [one.distance for one in found] == sorted(found.distances.tolist(), reverse=True)


def test_many_words_at_a_time_change_nothing(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = (Embedding(None, rng.normal(size=(50, 3))) for _ in range(2))
    whole = diff(a, b).overlaps
    monkeypatch.setattr(spaces, "_ASKED_AT_ONCE", 7)
    assert diff(a, b).overlaps.tolist() == whole.tolist()


def test_the_same_space_has_not_moved(rng: np.random.Generator) -> None:
    a = Embedding(None, rng.normal(size=(60, 4)))
    b = a.with_vectors(a.vectors @ ortho_group(4, seed=3).rvs())
    found = diff(a, b, restrict=50)
    assert len(found) == len(list(found)) == 50
    assert found.distances.max() < 1e-6
    assert (found.overlaps == 1).all()
    assert not found.counted
    assert found.frequencies.tolist() == list(range(50, 0, -1))
    assert repr(found) == "SpaceDiff(50 shared words, mean distance 0.000, mean overlap@10 1.000)"
    assert found.to_frame().columns.tolist() == ["label", "frequency", "distance", "expected", "z", "overlap"]


def test_html_shows_labels_as_text(rng: np.random.Generator) -> None:
    a = Embedding(["<b>x</b>", "y", "z"], rng.normal(size=(3, 2)))
    html = diff(a, a)._repr_html_()
    assert "<b>x" not in html
    assert "&lt;b&gt;x&lt;/b&gt;" in html


def test_words_without_neighbours_have_no_overlap() -> None:
    a = Embedding(["x"], [[1.0]])
    found = diff(a, a)
    assert np.isnan(found.overlaps).all()
    assert repr(found) == "SpaceDiff(1 shared words, mean distance 0.000, mean overlap@10 nan)"


def test_what_cannot_be_compared_is_refused(rng: np.random.Generator) -> None:
    a = Embedding(None, rng.normal(size=(20, 3)))
    with pytest.raises(BadInput, match="noise pair 1 is the same vectors twice: train again with another seed"):
        diff(a, a, noise=[(a, Embedding(None, rng.normal(size=(20, 3)))), (a, a)])
    for k in (0, 1.5):
        wrong: Any = k
        with pytest.raises(BadInput, match="k must be a whole number"):
            diff(a, a, k=wrong)
    with pytest.raises(BadInput, match="restrict must be 1 or more"):
        diff(a, a, restrict=0)
    with pytest.raises(BadInput, match="shared labels"):
        diff(a, Embedding(["x", "y", "z"], np.eye(3)))
