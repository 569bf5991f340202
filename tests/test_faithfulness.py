"""How far a map can be trusted: against scikit-learn, against plain definitions, and by what must always hold."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.manifold import trustworthiness
from sklearn.metrics import silhouette_samples
from sklearn.neighbors import KNeighborsClassifier

import embedkit
from embedkit import PCA, Embedding, images
from embedkit.errors import BadInput
from embedkit.manifold.faithfulness import Faithfulness, distortion, faithfulness


@pytest.fixture(scope="module")
def digits() -> tuple[Embedding, Embedding]:
    rows = images.named("digits").head(400).to_embedding()
    return rows, PCA(2).fit_transform(rows)


def value(report: Faithfulness, name: str) -> float:
    return report[name].value


def plain(high: Any, low: Any, k: int, kept: int) -> dict[str, float]:
    """The definitions, word by word."""
    n = len(high)
    far, near = (np.sqrt(((rows[:, None] - rows[None]) ** 2).sum(axis=2)) for rows in (high, low))
    sums = {"trustworthiness": 0.0, "continuity": 0.0, "neighbours kept": 0.0, "distance rank correlation": 0.0}
    for i in range(n):
        others = [j for j in range(n) if j != i]
        before = sorted(others, key=lambda j: (far[i, j], j))
        after = sorted(others, key=lambda j: (near[i, j], j))
        sums["trustworthiness"] += sum(max(0, before.index(j) + 1 - k) for j in after[:k])
        sums["continuity"] += sum(max(0, after.index(j) + 1 - k) for j in before[:k])
        sums["neighbours kept"] += len(set(before[:kept]) & set(after[:kept])) / kept / n
        sums["distance rank correlation"] += float(spearmanr(far[i, others], near[i, others])[0]) / n
    for name in ("trustworthiness", "continuity"):
        sums[name] = 1 - 2 / (n * k * (2 * n - 3 * k - 1)) * sums[name]
    return sums


# -- the figures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 5, 15, 60])
def test_trustworthiness_is_scikit_learns(digits: tuple[Embedding, Embedding], k: int) -> None:
    high, low = digits
    report = faithfulness(high, low, k=k, pca=False)
    assert value(report, "trustworthiness") == pytest.approx(
        trustworthiness(high.vectors.astype(np.float64), low.vectors.astype(np.float64), n_neighbors=k), abs=1e-12
    )
    assert value(report, "continuity") == pytest.approx(
        trustworthiness(low.vectors.astype(np.float64), high.vectors.astype(np.float64), n_neighbors=k), abs=1e-12
    )
    assert report["trustworthiness"].k == k


@given(st.integers(0, 10**6), st.integers(8, 30), st.sampled_from(["plain", "ties", "twins"]))
@settings(max_examples=25)
def test_every_figure_is_what_its_definition_says(seed: int, n: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    high, low = rng.standard_normal((n, 5)), rng.standard_normal((n, 2))
    if kind == "ties":
        high, low = rng.integers(0, 3, (n, 3)).astype(float), rng.integers(0, 3, (n, 2)).astype(float)
    if kind == "twins":
        low[n // 2 :] = low[: n - n // 2]
    report = faithfulness(high, low, k=3, neighbours=[4], pca=False)
    for name, expected in plain(high, low, 3, 4).items():
        found = value(report, name)
        assert found == pytest.approx(expected, abs=1e-9) or (math.isnan(found) and math.isnan(expected)), name


def test_classes(digits: tuple[Embedding, Embedding]) -> None:
    high, low = digits
    classes = high.columns["class"]
    report = faithfulness(high, low, classes=classes, pca=False)
    assert value(report, "silhouette") == pytest.approx(silhouette_samples(low.vectors, classes).mean(), abs=1e-6)
    assert report["silhouette"].original == pytest.approx(silhouette_samples(high.vectors, classes).mean(), abs=1e-6)
    # Leaving each out: its own vote is taken off those of eleven.
    votes = KNeighborsClassifier(11).fit(low.vectors, classes)
    near = votes.kneighbors(low.vectors, return_distance=False)
    right = 0
    for i, row in enumerate(near):
        others = [j for j in row if j != i][:10]
        counts = np.bincount(classes[others], minlength=10)
        best = next(j for j in others if counts[classes[j]] == counts.max())
        right += classes[best] == classes[i]
    assert value(report, "class of neighbours") == pytest.approx(right / len(classes))
    texts = np.array([f"digit {one}" for one in classes])
    assert faithfulness(high, low, classes=texts, pca=False).figures == report.figures


def test_a_class_of_one_has_silhouette_0_as_in_scikit_learn(rng: np.random.Generator) -> None:
    high, low = rng.standard_normal((20, 4)), rng.standard_normal((20, 2))
    classes = np.array([0] * 10 + [1] * 9 + [2])
    report = faithfulness(high, low, classes=classes, pca=False)
    np.testing.assert_allclose(report.points["silhouette"], silhouette_samples(low, classes), atol=1e-9)


def test_a_map_that_is_the_original_is_perfect(rng: np.random.Generator) -> None:
    rows = rng.standard_normal((80, 3))
    turned = rows @ np.linalg.qr(rng.standard_normal((3, 3)))[0] * 7 + 5
    report = faithfulness(rows, turned, others=[rows])
    assert [round(figure.value, 9) for figure in report.figures] == [1, 1, 1, 1, 1, 1, 0]
    assert [round(figure.pca, 9) for figure in report.figures[:6]] == [1] * 6


def test_a_map_of_noise_keeps_what_chance_keeps(rng: np.random.Generator) -> None:
    report = faithfulness(rng.standard_normal((600, 10)), rng.standard_normal((600, 2)))
    assert value(report, "neighbours kept@50") == pytest.approx(50 / 599, abs=0.02)
    assert value(report, "trustworthiness") == pytest.approx(0.5, abs=0.03)
    assert value(report, "distance rank correlation") == pytest.approx(0, abs=0.03)
    assert report["trustworthiness"].pca > 0.6


def test_principal_components_stand_beside(digits: tuple[Embedding, Embedding]) -> None:
    high, low = digits
    assert faithfulness(high, low)["continuity"].pca == pytest.approx(value(faithfulness(high, low), "continuity"))
    assert math.isnan(faithfulness(high, low, pca=False)["continuity"].pca)


def test_seeds(rng: np.random.Generator) -> None:
    from scipy.spatial import procrustes

    rows, low = rng.standard_normal((50, 4)), rng.standard_normal((50, 2))
    others = [low[:, ::-1] * 3 + 1, rng.standard_normal((50, 2))]
    found = value(faithfulness(rows, low, others=others), "seed disparity")
    assert found == pytest.approx(np.mean([procrustes(low, one)[2] for one in others]))


# -- asking some -------------------------------------------------------------------------------------------------------


def test_a_sample_of_points_estimates_all_with_the_error_that_it_states(digits: tuple[Embedding, Embedding]) -> None:
    high, low = digits
    whole = faithfulness(high, low, classes=high.columns["class"], queries=None, pca=False)
    assert all(figure.error == 0 for figure in whole.figures)
    off: list[float] = []
    for seed in range(12):
        some = faithfulness(high, low, classes=high.columns["class"], queries=60, random_state=seed, pca=False)
        assert len(some.rows) == 60
        for one, all_ in zip(some.figures, whole.figures, strict=True):
            assert one.error > 0
            off.append((one.value - all_.value) / one.error)
            # Each asked point has the very value that it has when all are asked.
            np.testing.assert_array_equal(some.points[one.name], whole.points[one.name][some.rows])
    assert np.sqrt(np.mean(np.square(off))) == pytest.approx(1, abs=0.3)  # in standard errors


def test_the_error_covers_the_principal_components_too(digits: tuple[Embedding, Embedding]) -> None:
    high, low = digits
    figure = faithfulness(high, low, queries=50)["trustworthiness"]
    assert figure.pca_error == pytest.approx(figure.error)


def test_neither_blocks_nor_threads_change_a_figure(
    digits: tuple[Embedding, Embedding], monkeypatch: pytest.MonkeyPatch
) -> None:
    high, low = digits
    expected = faithfulness(high, low, queries=100)
    assert faithfulness(high, low, queries=100, n_jobs=3).figures == expected.figures
    monkeypatch.setattr("embedkit.manifold.asking._AT_ONCE", 1000)
    monkeypatch.setattr("embedkit.manifold.asking._TILE", 64 * 7)
    again = faithfulness(high, low, queries=100)
    for one, other in zip(expected.figures, again.figures, strict=True):
        assert one.value == pytest.approx(other.value, abs=1e-9)


@pytest.mark.parametrize("metric", ["cosine", "manhattan"])
def test_other_distances(digits: tuple[Embedding, Embedding], metric: str) -> None:
    high, low = digits
    from sklearn.metrics import pairwise_distances

    distances = pairwise_distances(high.vectors.astype(np.float64), metric=metric)
    given = faithfulness(distances, low, metric="precomputed", pca=False)
    found = faithfulness(high, low, metric=metric, pca=False)
    for one, other in zip(found.figures, given.figures, strict=True):
        assert one.value == pytest.approx(other.value, abs=1e-3)  # pixels are whole: ties fall by rounding
    sparse = faithfulness(scipy.sparse.csr_matrix(high.vectors), low, metric=metric)
    assert value(sparse, "continuity") == pytest.approx(value(found, "continuity"), abs=1e-3)
    assert 0 < sparse["continuity"].pca < 1


def test_a_metric_of_ones_own(rng: np.random.Generator) -> None:
    rows, low = rng.standard_normal((40, 3)), rng.standard_normal((40, 2))

    def taxi(a: Any, b: Any) -> float:
        return float(np.abs(a - b).sum())

    found, expected = faithfulness(rows, low, metric=taxi), faithfulness(rows, low, metric="manhattan")
    assert found.metric == "taxi"
    assert [f.value for f in found.figures] == pytest.approx([f.value for f in expected.figures])


def test_kinds_of_input_agree(digits: tuple[Embedding, Embedding]) -> None:
    high, low = digits
    expected = faithfulness(high, low).figures
    assert faithfulness(high.vectors, low.vectors).figures == expected
    assert faithfulness(high.to_frame().drop(columns="class"), low.vectors).figures == expected


# -- each point --------------------------------------------------------------------------------------------------------


def test_distortion_is_what_the_neighbours_kept_leave(digits: tuple[Embedding, Embedding]) -> None:
    high, low = digits
    report = faithfulness(high, low, pca=False)
    np.testing.assert_allclose(distortion(high, low), 1 - report.points["neighbours kept@15"], atol=1e-6)


def test_distortion_from_neighbours_that_are_known(digits: tuple[Embedding, Embedding]) -> None:
    high, low = digits
    from sklearn.neighbors import NearestNeighbors

    searched = NearestNeighbors(n_neighbors=16).fit(high.vectors).kneighbors(high.vectors, return_distance=False)
    expected = distortion(high, low)
    np.testing.assert_array_equal(distortion(high, low, neighbours=searched), expected)
    np.testing.assert_array_equal(distortion(high, low, neighbours=searched[:, 1:]), expected)
    with pytest.raises(BadInput, match="beside the row itself"):
        distortion(high, low, k=15, neighbours=searched[:, :15])
    # Not said, k is what there are beside the row itself, as UMAP keeps them.
    fewer = distortion(high, low, neighbours=searched[:, :15])
    np.testing.assert_array_equal(fewer, distortion(high, low, k=14))


def test_distortion_among_twins() -> None:
    rows = np.zeros((30, 4))
    found = distortion(rows, np.zeros((30, 2))) * 15
    assert found.shape == (30,)
    np.testing.assert_allclose(found, np.rint(found), atol=1e-9)


@pytest.mark.parametrize("name", ["UMAP", "TSNE"])
def test_a_map_reports_on_itself(digits: tuple[Embedding, Embedding], name: str) -> None:
    rows = digits[0].head(60)
    projector = getattr(embedkit, name)(metric="cosine", random_state=1)
    with pytest.raises(ValueError, match="not fitted"):
        projector.report(rows)
    made = projector.fit_transform(rows)
    expected = faithfulness(rows, made, metric="cosine", queries=20)
    assert projector.report(rows, queries=20).figures == expected.figures


# -- saying it ---------------------------------------------------------------------------------------------------------


def test_it_says_what_it_found(digits: tuple[Embedding, Embedding]) -> None:
    high, low = digits
    report = faithfulness(high, low, queries=100, classes=high.columns["class"])
    lines = str(report).splitlines()
    assert lines[0] == (
        "400 points, 64 to 2 dimensions; 100 of 400 points asked, each against all others "
        "(euclidean; ± one standard error)"
    )
    assert lines[1].split() == ["map", "PCA", "original"]
    assert lines[2].startswith("trustworthiness@15")
    assert f"{value(report, 'trustworthiness'):.4f} ±" in lines[2]
    assert report._repr_html_().startswith("<pre>")
    assert "trustworthiness@15=" in repr(report)
    frame = report.to_frame()
    assert list(frame.columns) == ["measure", "k", "value", "error", "pca", "pca_error", "original"]
    assert len(frame) == len(report.figures) == 8
    made = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert made["asked"] == 100
    assert made["figures"][0]["value"] == value(report, "trustworthiness")
    assert made["figures"][0]["original"] is None


def test_what_cannot_be_compared_is_refused(digits: tuple[Embedding, Embedding]) -> None:
    high, low = digits
    rows = high.vectors
    for wrong, message in (
        (lambda: faithfulness(rows[:2], low.vectors[:2]), "at least 3"),
        (lambda: faithfulness(rows, low.vectors[:-1]), "399 points for 400 rows"),
        (lambda: faithfulness(high, low.take(range(399, -1, -1))), "row 0 is '0' and '399'"),
        (lambda: faithfulness(rows, np.full((400, 2), np.nan)), "not finite"),
        (lambda: faithfulness(rows[0], low), "matrix of numbers"),
        (lambda: faithfulness(rows, low.vectors, k=0), "k is a whole number"),
        (lambda: faithfulness(rows, low.vectors, queries=0), "queries is a whole number"),
        (lambda: faithfulness(rows, low.vectors, n_jobs=0), "n_jobs"),
        (lambda: faithfulness(rows, low.vectors, classes=[1]), "classes are 400"),
        (lambda: faithfulness(rows, low.vectors, classes=np.zeros(400, int)), "1 classes of 400"),
        (lambda: faithfulness(rows, low.vectors, classes=np.arange(400)), "tell nothing"),
        (lambda: faithfulness(rows, low.vectors, others=[rows]), "cannot be laid"),
        (lambda: faithfulness(rows, low.vectors)["nonsense"], "no figure 'nonsense'"),
        (lambda: faithfulness(rows, low.vectors, metric="nonsense"), "by metric 'nonsense'"),
        (lambda: distortion(rows[:2], low.vectors[:2]), "at least 3"),
        (lambda: distortion(rows, low.vectors, neighbours=np.zeros((3, 3), int)), "neighbours are"),
    ):
        with pytest.raises(BadInput, match=message):
            wrong()


@pytest.mark.parametrize("n", [3, 4, 5, 16])
def test_few_points_lower_what_is_counted(n: int, rng: np.random.Generator) -> None:
    report = faithfulness(rng.standard_normal((n, 4)), rng.standard_normal((n, 2)))
    assert report["trustworthiness"].k == min(15, (n - 1) // 2)
    assert all(0 <= figure.value <= 1 for figure in report.figures if figure.measure != "distance rank correlation")
    assert all(figure.k < n - 1 for figure in report.figures if figure.measure == "neighbours kept")
