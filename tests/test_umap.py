"""UMAP: umap-learn's graphs, as good a map, the same bits on any threads, points that keep their place, files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits
from sklearn.manifold import trustworthiness
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import embedkit
from embedkit import UMAP, Embedding
from embedkit.errors import BadFile, BadInput
from embedkit.manifold.searching import EXACT_BY_PRODUCTS, import_umap, is_exact
from embedkit.manifold.umap_settings import fitted_curve
from embedkit.progress import Progress

Floats = npt.NDArray[np.float32]


def quick(**parameters: Any) -> UMAP:
    return UMAP(**{"n_neighbors": 8, "n_epochs": 40, "random_state": 0, **parameters})


@pytest.fixture
def rows(rng: np.random.Generator) -> Floats:
    """(90, 6): three clusters."""
    centres = np.repeat(rng.normal(size=(3, 6)) * 6, 30, axis=0)
    return (centres + rng.normal(size=(90, 6))).astype(np.float32)


@pytest.fixture
def classes() -> npt.NDArray[np.int64]:
    return np.repeat([0, 1, 2], 30)


@pytest.fixture(scope="module")
def digits() -> tuple[Floats, npt.NDArray[np.int64]]:
    found = load_digits()
    return found.data.astype(np.float32), found.target


@parametrize_with_checks(  # type: ignore[untyped-decorator]  # scikit-learn has no types
    [quick(), quick(n_components=3, metric="cosine", init="random"), quick(unique=True, n_jobs=2)]
)
def test_scikit_learns_own_checks_pass(estimator: Any, check: Any) -> None:
    check(estimator)


# -- a good map -------------------------------------------------------------------------------------------------------


def test_the_map_of_digits_is_trustworthy_and_keeps_classes(digits: tuple[Floats, Any]) -> None:
    rows, classes = digits
    for seed in (0, 1):
        places = UMAP(random_state=seed).fit_transform(rows)
        assert trustworthiness(rows, places, n_neighbors=15) > 0.98  # umap-learn: .983
        found = KNeighborsClassifier(10).fit(places[::2], classes[::2]).score(places[1::2], classes[1::2])
        assert found > 0.95


@pytest.mark.slow
def test_the_map_of_digits_is_as_good_as_umap_learns(digits: tuple[Floats, Any]) -> None:
    rows, _ = digits
    ours, theirs = (
        np.mean([trustworthiness(rows, UMAP(random_state=seed, layout=layout).fit_transform(rows), n_neighbors=15)
                 for seed in (1, 2, 3)])
        for layout in ("parallel", "umap-learn")
    )  # fmt: skip
    assert ours > theirs - 0.002


@pytest.mark.slow
def test_mnist_is_mapped_as_well_as_by_umap_learn(data: Path) -> None:
    images = embedkit.read(data / "mnist" / "t10k-images-idx3-ubyte.gz").vectors[:4000]
    theirs = UMAP(random_state=1, layout="umap-learn").fit_transform(images)
    ours = UMAP(random_state=1).fit_transform(images)
    trust = [trustworthiness(images, places, n_neighbors=15) for places in (ours, theirs)]
    assert trust[0] > trust[1] - 0.002


def due(model: UMAP) -> Floats:
    """The graph without the edges that are never due: umap-learn strikes them out of its own while it lays it out."""
    graph: Floats = model.graph_.toarray()
    return np.where(graph < graph.max() / model.n_epochs_, 0, graph)


@pytest.mark.slow
@pytest.mark.parametrize(
    "parameters",
    [{}, {"metric": "cosine"}, {"set_op_mix_ratio": 0.3}, {"local_connectivity": 2.5}, {"n_neighbors": 4},
     {"metric": "manhattan"}, {"metric": "chebyshev"}, {"metric": "canberra"}, {"metric": "correlation"},
     {"metric": "braycurtis"}, {"metric": "minkowski", "metric_kwds": {"p": 3}}],
)  # fmt: skip
def test_the_graph_is_umap_learns(parameters: dict[str, Any], rows: Floats) -> None:
    ours, theirs = (quick(**parameters, layout=layout).fit(np.abs(rows)) for layout in ("parallel", "umap-learn"))
    np.testing.assert_allclose(due(ours), due(theirs), atol=2e-4)
    assert theirs.layout_ == "umap-learn"


@pytest.mark.slow
@pytest.mark.parametrize("target", ["classes", "some classes", "values"])
def test_the_graph_with_a_target_is_umap_learns(target: str, rows: Floats, classes: npt.NDArray[np.int64]) -> None:
    y = np.where(np.arange(90) % 5, classes, -1) if target == "some classes" else classes
    parameters = {"target_metric": "l2" if target == "values" else "categorical", "target_weight": 0.4}
    ours, theirs = (quick(**parameters, layout=layout).fit(rows, y) for layout in ("parallel", "umap-learn"))
    np.testing.assert_allclose(due(ours), due(theirs), atol=2e-4)


@pytest.mark.slow
def test_umap_learns_layout_is_umap_learns(rows: Floats) -> None:
    theirs = import_umap("umap").UMAP(n_neighbors=8, n_epochs=40, random_state=0, n_jobs=1).fit(rows)
    ours = quick(layout="umap-learn").fit(rows)
    assert np.array_equal(ours.embedding_, theirs.embedding_)
    assert ours.transform(rows[:3]).tobytes() == ours.embedding_[:3].tobytes()


@pytest.mark.slow
def test_new_points_are_placed_as_well_as_by_umap_learn(digits: tuple[Floats, Any]) -> None:
    rows, _ = digits
    old, new = rows[:1200], rows[1200:]
    model = import_umap("umap").UMAP(random_state=1, n_jobs=1).fit(old)
    ours = UMAP(random_state=1, layout="umap-learn").fit(old)
    assert np.array_equal(model.embedding_, ours.embedding_)
    trust = [trust_of_new(old, model.embedding_, new, m.transform(new)) for m in (ours, model)]
    assert trust[0] > trust[1] - 0.01


@pytest.mark.slow
def test_new_digits_of_mnist_are_placed_as_well_as_by_umap_learn(data: Path, tmp_path: Path) -> None:
    """Fitted and transformed by each in its own way, and by ours again in a fresh process."""
    rows = embedkit.read(data / "mnist" / "train-images-idx3-ubyte.gz").vectors[:12_000]
    old, new = rows[:10_000], rows[10_000:]
    ours, theirs = UMAP(random_state=1).fit(old), import_umap("umap").UMAP(random_state=1, n_jobs=1).fit(old)
    places = ours.transform(new)
    trust = [
        trust_of_new(old, map_, new, found)
        for map_, found in ((ours.embedding_, places), (theirs.embedding_, theirs.transform(new)))
    ]
    assert trust[0] > trust[1] - 0.01
    assert ours.transform(new[::-1][:70]).tobytes() == places[::-1][:70].tobytes()
    assert ours.transform(new[77:78]).tobytes() == places[77:78].tobytes()
    check_in_a_fresh_process(ours, new, tmp_path)


def trust_of_new(old: Floats, map_: Floats, new: Floats, places: Floats, k: int = 15) -> float:
    """Trustworthiness of the neighbours that new points get in the map, by their ranks among the old rows."""
    n = len(old)
    ranks = np.argsort(np.argsort(cdist(new, old), axis=1), axis=1) + 1
    near = np.argsort(cdist(places, map_), axis=1)[:, :k]
    excess = np.maximum(np.take_along_axis(ranks, near, 1) - k, 0).sum()
    return float(1 - 2 / (len(new) * k * (2 * n - 3 * k - 1)) * excess)


def test_new_points_are_placed_near_their_neighbours(digits: tuple[Floats, Any]) -> None:
    rows, classes = digits
    model = UMAP(random_state=1).fit(rows[:1200])
    places = model.transform(rows[1200:])
    assert trust_of_new(rows[:1200], model.embedding_, rows[1200:], places) > 0.95
    found = KNeighborsClassifier(10).fit(model.embedding_, classes[:1200]).score(places, classes[1200:])
    assert found > 0.9


def test_the_curve_is_umap_learns() -> None:
    a, b = fitted_curve(1.0, 0.1)
    assert a == pytest.approx(1.5769434)  # umap-learn 0.5's find_ab_params
    assert b == pytest.approx(0.8950608)
    x = np.linspace(0, 3, 300)
    wanted = np.where(x < 0.5, 1, np.exp(-(x - 0.5)))
    a, b = fitted_curve(1.0, 0.5)
    best = ((1 / (1 + a * x ** (2 * b)) - wanted) ** 2).sum()
    for other in ((a * 1.05, b), (a, b * 1.05), (a * 0.95, b), (a, b * 0.95)):
        assert ((1 / (1 + other[0] * x ** (2 * other[1])) - wanted) ** 2).sum() > best


# -- the same bits ----------------------------------------------------------------------------------------------------


def test_the_whole_fit_has_the_same_bits_on_any_number_of_threads(digits: tuple[Floats, Any]) -> None:
    models = [UMAP(random_state=3, n_jobs=n_jobs, n_epochs=60).fit(digits[0]) for n_jobs in (1, 2, 4, -1)]
    for model in models[1:]:
        assert model.embedding_.tobytes() == models[0].embedding_.tobytes()
        assert model.knn_dists_.tobytes() == models[0].knn_dists_.tobytes()
        assert model.graph_.data.tobytes() == models[0].graph_.data.tobytes()
    assert UMAP(random_state=4, n_epochs=60).fit(digits[0]).embedding_.tobytes() != models[0].embedding_.tobytes()


@pytest.mark.slow
def test_with_approximate_neighbours_too(rng: np.random.Generator) -> None:
    """In processes of their own, whose libraries may use as many threads."""
    script = """
import sys, numpy as np
from embedkit import UMAP
rows = np.random.default_rng(0).normal(size=(9000, 12)).astype(np.float32)
model = UMAP(random_state=3, n_jobs=int(sys.argv[1]), n_epochs=15).fit(rows)
import hashlib
print(hashlib.sha256(model.embedding_.tobytes()).hexdigest())
"""
    found = set()
    for threads in ("1", "2", "4"):
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), threads)
        ran = subprocess.run([sys.executable, "-c", script, threads], env={**environment(), **limits},
                             capture_output=True, text=True, check=True)  # fmt: skip
        found.add(ran.stdout)
    assert len(found) == 1


def environment() -> dict[str, str]:
    import os

    return dict(os.environ)


def test_seedless_maps_differ(rows: Floats) -> None:
    assert not np.array_equal(
        quick(random_state=None).fit_transform(rows), quick(random_state=None).fit_transform(rows)
    )


# -- points keep their place ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan"])
def test_a_point_has_one_place_alone_in_any_batch_and_on_any_threads(
    metric: str, rows: Floats, rng: np.random.Generator
) -> None:
    model = quick(metric=metric).fit(rows)
    new = rows + rng.normal(size=rows.shape).astype(np.float32)
    places = model.transform(new)
    order = rng.permutation(90)
    assert model.transform(new[order]).tobytes() == places[order].tobytes()
    assert model.set_params(n_jobs=1).transform(new).tobytes() == places.tobytes()
    for i in range(0, 90, 7):
        assert model.transform(new[i : i + 1]).tobytes() == places[i : i + 1].tobytes()
    assert np.array_equal(model.transform(np.concatenate([new, rows]))[:90], places)


def test_rows_that_were_fitted_keep_their_place_among_others_too(rows: Floats, rng: np.random.Generator) -> None:
    model = quick().fit(rows)
    assert np.array_equal(model.transform(rows), model.embedding_)
    mixed = np.concatenate([rows[5:6], rng.normal(size=(3, 6)).astype(np.float32), rows[80:81]])
    assert np.array_equal(model.transform(mixed)[[0, 4]], model.embedding_[[5, 80]])


def test_of_doubles_the_first_has_the_place(rows: Floats) -> None:
    double = np.concatenate([rows, rows[:4]])
    model = quick().fit(double)
    assert np.array_equal(model.transform(double[90:]), model.embedding_[:4])


def test_unique_lays_doubles_out_as_one(rows: Floats) -> None:
    double = np.concatenate([rows, rows[:40]])
    model = quick(unique=True).fit(double)
    assert np.array_equal(model.embedding_[90:], model.embedding_[:40])
    assert model.graph_.shape == (90, 90)
    assert model.embedding_.shape == (130, 2)
    assert np.array_equal(model.transform(double), model.embedding_)
    sparse = quick(unique=True).fit(csr_matrix(double))
    assert np.array_equal(sparse.embedding_[90:], sparse.embedding_[:40])


# -- what may come in -------------------------------------------------------------------------------------------------


def test_an_embedding_keeps_labels_columns_and_says_what_made_it(rows: Floats) -> None:
    given = Embedding([f"w{i}" for i in range(90)], rows, columns={"count": range(90)}, provenance={"made_by": "hand"})
    made = quick(init=np.random.default_rng(0).normal(size=(90, 2)), metric_kwds={}).fit_transform(given)
    assert isinstance(made, Embedding)
    assert list(made) == list(given)
    assert made.columns["count"].tolist() == list(range(90))
    provenance = json.loads(json.dumps(made.provenance))
    assert provenance["made_by"] == "UMAP"
    assert provenance["parameters"]["n_neighbors"] == 8
    assert provenance["from"] == {"made_by": "hand"}
    assert list(quick().fit(given).transform(given.take([3, 1]))) == ["w3", "w1"]


def test_frames_keep_their_index_and_set_output_is_heeded(rows: Floats) -> None:
    frame = pd.DataFrame(rows, index=[f"w{i}" for i in range(90)], columns=list("uvwxyz"))
    made = quick().fit_transform(frame)
    assert list(made.index) == list(frame.index)
    assert list(made.columns) == ["umap0", "umap1"]
    assert isinstance(quick().set_output(transform="pandas").fit_transform(rows), pd.DataFrame)
    assert make_pipeline(StandardScaler(), quick()).fit_transform(rows).shape == (90, 2)


def test_a_file_mapped_to_memory_is_as_good_as_an_array(rows: Floats, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert np.array_equal(quick().fit_transform(mapped), quick().fit_transform(rows))


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "correlation", "manhattan"])
def test_sparse_rows_have_the_neighbours_of_dense_ones(metric: str, rng: np.random.Generator) -> None:
    rows = (rng.normal(size=(80, 30)) * (rng.random((80, 30)) < 0.3)).astype(np.float32)
    rows[5] = rows[6]
    dense, sparse = (quick(metric=metric).fit(x) for x in (rows, csr_matrix(rows)))
    assert np.array_equal(dense.knn_indices_, sparse.knn_indices_)
    np.testing.assert_allclose(dense.knn_dists_, sparse.knn_dists_, rtol=1e-5, atol=1e-7)
    new = csr_matrix(rows[20:50] * np.float32(1.25))
    places = sparse.transform(new)
    assert sparse.transform(new[4:5]).tobytes() == places[4:5].tobytes()
    assert np.array_equal(sparse.transform(csr_matrix(rows[[8, 6]])), sparse.embedding_[[8, 5]])
    assert np.array_equal(sparse.transform(rows[[8, 6]]), sparse.embedding_[[8, 5]])


def test_distances_may_be_given(rows: Floats) -> None:
    distances = cdist(rows, rows).astype(np.float32)
    known, direct = quick(metric="precomputed", init="random").fit(distances), quick(init="random").fit(rows)
    np.testing.assert_allclose(known.graph_.toarray(), direct.graph_.toarray(), atol=1e-4)
    assert np.array_equal(known.transform(distances), known.embedding_)
    new = (cdist(rows, rows) + 0.5).astype(np.float32)
    assert np.array_equal(known.transform(new[:9]), known.transform(new)[:9])


def test_distances_of_the_nearest_may_be_given_in_a_sparse_matrix(rows: Floats, tmp_path: Path) -> None:
    distances = cdist(rows, rows).astype(np.float32)
    whole = quick(metric="precomputed").fit(distances)
    near = np.where(np.argsort(np.argsort(distances, axis=1), axis=1) < 8, distances, 0)  # a row itself: not stored
    some = quick(metric="precomputed").fit(csr_matrix(near))
    assert np.array_equal(some.knn_indices_, whole.knn_indices_)
    assert some.embedding_.tobytes() == whole.embedding_.tobytes()
    assert some.neighbours_ == whole.neighbours_ == "given"
    new = distances[:20] + np.float32(0.5)
    order = np.argsort(new, axis=1)[:, :8]
    columns, starts = order.ravel(), np.arange(21) * 8
    sparse = csr_matrix((np.take_along_axis(new, order, 1).ravel(), columns, starts), shape=(20, 90))
    assert some.transform(sparse).tobytes() == whole.transform(new).tobytes() == whole.transform(sparse).tobytes()
    some.save(tmp_path / "some")
    assert embedkit.load(tmp_path / "some").transform(sparse).tobytes() == some.transform(sparse).tobytes()
    with pytest.raises(BadInput, match="row 0 has distances from 7 other rows, and n_neighbors=9 needs 8"):
        quick(metric="precomputed", n_neighbors=9).fit(csr_matrix(near))
    with pytest.raises(BadInput, match="row 3 has distances from 2 other rows, and n_neighbors=8 needs 8"):
        some.transform(csr_matrix(np.where((np.arange(20) == 3)[:, None] & (new > np.sort(new)[3, 1]), 0, new)))
    with pytest.raises(BadInput, match="all distances"):
        some.report(csr_matrix(near))
    twice = csr_matrix(near)
    twice.indices[1] = twice.indices[0]
    with pytest.raises(BadInput, match="two distances of the same pair"):
        quick(metric="precomputed").fit(csr_matrix((twice.data, twice.indices, twice.indptr), shape=(90, 90)))


@pytest.mark.slow
def test_the_graph_of_known_distances_is_umap_learns(rows: Floats) -> None:
    distances = cdist(rows, rows).astype(np.float32)
    # umap-learn wants a row itself to be stored.
    stored = csr_matrix((distances.ravel(), np.tile(np.arange(90), 90), np.arange(91) * 90), shape=(90, 90))
    for given in (distances, stored):
        ours, theirs = (quick(metric="precomputed", layout=x).fit(given) for x in ("parallel", "umap-learn"))
        np.testing.assert_allclose(due(ours), due(theirs), atol=2e-4)


@pytest.mark.parametrize("kind", [np.asarray, csr_matrix])
def test_what_are_no_distances_is_refused(kind: Any, rows: Floats) -> None:
    distances = cdist(rows, rows).astype(np.float32)
    model = quick(metric="precomputed").fit(kind(distances + 1e-4))
    for wrong, message in (
        (distances[:, :50], "square"), (-distances, "negative"), (distances * 0, "all distances are 0"),
        (np.exp(-distances), "row 0 has distance 1 from itself: are these similarities"),
    ):  # fmt: skip
        with pytest.raises(BadInput, match=message):
            quick(metric="precomputed").fit(kind(wrong))
    with pytest.raises(BadInput, match="negative"):
        model.transform(kind(-distances))


def test_neighbours_may_be_given(rows: Floats) -> None:
    first = quick(n_neighbors=12).fit(rows)
    knn = (first.knn_indices_, first.knn_dists_)
    again = quick(precomputed_knn=knn).fit(rows)
    assert again.embedding_.tobytes() == quick().fit(rows).embedding_.tobytes()
    shuffled = (first.knn_indices_[:, ::-1].copy(), first.knn_dists_[:, ::-1].copy(), None)
    assert np.array_equal(quick(precomputed_knn=shuffled, n_neighbors=12).fit(rows).graph_.data, first.graph_.data)
    assert quick(precomputed_knn=knn).fit(rows).transform(rows + 1).shape == (90, 2)
    with pytest.raises(BadInput, match="precomputed_knn has shape"):
        quick(precomputed_knn=(knn[0][:50], knn[1][:50])).fit(rows)
    assert again.neighbours_ == "given"
    wrong = np.where(np.arange(12) == 4, -1, knn[1])
    with pytest.raises(BadInput, match=r"row 0's neighbour \d+ has distance -1.0, not 0 or more"):
        quick(precomputed_knn=(knn[0], wrong)).fit(rows)
    with pytest.raises(BadInput, match="distance nan"):
        quick(precomputed_knn=(knn[0], np.where(wrong < 0, np.nan, wrong))).fit(rows)
    with pytest.raises(BadInput, match="row 0 has the same neighbour twice"):
        quick(precomputed_knn=(knn[0][:, [0, 1, 2, 3, 4, 5, 6, 6]], knn[1][:, :8])).fit(rows)
    with pytest.raises(BadInput, match="names row 190 of 90 rows"):
        quick(precomputed_knn=(np.where(knn[0] == 89, 190, knn[0]), knn[1])).fit(rows)


def test_a_function_may_be_the_metric(rows: Floats) -> None:
    def taxi(x: Floats, y: Floats) -> float:
        total = 0.0
        for i in range(len(x)):
            total += abs(x[i] - y[i])
        return total

    ours, named = quick(metric=taxi).fit(rows), quick(metric="manhattan").fit(rows)
    assert np.array_equal(ours.knn_indices_, named.knn_indices_)
    np.testing.assert_allclose(ours.knn_dists_, named.knn_dists_, rtol=1e-5)
    with pytest.raises(BadInput, match="no file can hold"):
        ours.save("never")


@pytest.mark.parametrize("init", ["random", "pca", "spectral"])
@pytest.mark.parametrize("n_components", [1, 2, 5])
def test_every_start_gives_a_map(init: str, n_components: int, rows: Floats) -> None:
    places = quick(init=init, n_components=n_components).fit_transform(rows)
    assert places.shape == (90, n_components)
    assert np.isfinite(places).all()


def test_parts_that_nothing_connects_are_laid_out_beside_each_other(rng: np.random.Generator) -> None:
    centres = np.eye(7, 20) * 1000
    rows = (np.repeat(centres, 12, axis=0) + rng.normal(size=(84, 20))).astype(np.float32)
    places = quick(n_neighbors=5).fit_transform(rows)
    assert np.isfinite(places).all()
    classes = np.repeat(np.arange(7), 12)
    assert KNeighborsClassifier(3).fit(places, classes).score(places, classes) == 1


def test_classes_part_what_is_mixed(rng: np.random.Generator) -> None:
    rows, classes = rng.normal(size=(120, 4)).astype(np.float32), np.array(["a", "b", "c"] * 40)
    parted = quick(n_epochs=200).fit(rows, classes).embedding_
    mixed = quick(n_epochs=200).fit(rows).embedding_
    score = [KNeighborsClassifier(5).fit(p[::2], classes[::2]).score(p[1::2], classes[1::2]) for p in (parted, mixed)]
    assert score[0] > 0.75 > 0.6 > score[1]


# -- what is told -----------------------------------------------------------------------------------------------------


def test_a_callback_is_told_and_may_end_it(rows: Floats) -> None:
    seen: list[Progress] = []
    quick().fit(rows, callback=seen.append)
    assert [(e.epoch, e.unit) for e in seen if e.done == e.total] == [(1, "rows"), (1, "rows"), (2, "epochs")]
    assert seen[-1].total == 39
    ended = quick().fit(rows, callback=lambda event: event.unit == "epochs" and event.done == 5)
    assert np.array_equal(ended.embedding_, quick(n_epochs=[5, 40]).fit(rows).embedding_list_[0])


def test_maps_on_the_way_are_kept(rows: Floats) -> None:
    model = quick(n_epochs=[10, 0, 40]).fit(rows)
    assert len(model.embedding_list_) == 3
    assert np.array_equal(model.embedding_list_[2], model.embedding_)
    assert np.array_equal(quick().fit(rows).embedding_, model.embedding_)
    model.set_params(n_epochs=40).fit(rows)
    assert not hasattr(model, "embedding_list_")


def test_too_many_neighbours_are_reduced_with_a_word(rows: Floats) -> None:
    with pytest.warns(UserWarning, match="n_neighbors=15 is too many for 10 rows: 9 are used"):
        model = UMAP(n_epochs=10).fit(rows[:10])
    assert model.n_neighbors_ == 9
    assert model.knn_indices_.shape == (10, 9)


@pytest.mark.slow
def test_what_only_umap_learn_lays_out_is_laid_out_by_it_with_a_word(rows: Floats) -> None:
    with pytest.warns(UserWarning, match="no densmap and output_dens: umap-learn lays it out"):
        model = quick(densmap=True, output_dens=True).fit(rows)
    assert model.layout_ == "umap-learn"
    assert model.rad_orig_.shape == model.rad_emb_.shape == (90,)
    with pytest.raises(BadInput, match="densMAP cannot take new points"):
        model.transform(rows)
    with pytest.warns(UserWarning, match="output_metric"):
        assert quick(output_metric="manhattan").fit(rows).layout_ == "umap-learn"
    assert quick().fit(rows).layout_ == "parallel"


def test_what_is_cut_off_is_told(rows: Floats) -> None:
    far = np.concatenate([rows, np.full((1, 6), 1000, dtype=np.float32)])
    with pytest.warns(UserWarning, match=r"1 rows \(first: 90\)"):
        model = quick(disconnection_distance=100.0).fit(far)
    assert np.isnan(model.embedding_[90]).all()
    assert np.isfinite(model.embedding_[:90]).all()
    assert model.knn_indices_[90].tolist() == [90] + [-1] * 7
    with pytest.raises(BadInput, match="no neighbour nearer"):
        model.transform(far[90:] + 1)
    assert np.isfinite(model.transform(rows[:3] + 0.5)).all()
    with pytest.raises(BadInput, match="drop them"):
        quick(disconnection_distance=100.0).fit(Embedding(None, far))


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_what_is_not_finite_is_named(bad: float, rows: Floats) -> None:
    wrong = rows.astype(np.float64)
    wrong[3, 2] = bad
    with pytest.raises(BadInput, match=r"row 3, column 2 is (NaN|infinity)"):
        quick().fit(wrong)
    with pytest.raises(BadInput, match=r"row 3, column 2"):
        quick().fit(rows).transform(wrong)
    with pytest.raises(BadInput, match=r"NaN|infinity"):
        quick().fit(csr_matrix(wrong))


def test_rows_that_cannot_be_laid_out_are_refused(rows: Floats) -> None:
    for few in (rows[:1], rows[:3]):
        with pytest.raises(ValueError, match="minimum of 4 is required"):
            quick().fit(few)
    for same in (np.ones((20, 3)), csr_matrix(np.ones((20, 3)))):
        with pytest.raises(BadInput, match="all 20 rows are the same"):
            quick().fit(same)
    with pytest.raises(BadInput, match="2 of the 20 rows are distinct"):
        quick(unique=True).fit(np.repeat([[0.0], [1.0]], 10, axis=0))
    with pytest.raises(ValueError, match="expecting 6 features"):
        quick().fit(rows).transform(rows[:, :5])
    with pytest.raises(BadInput, match="y has 5 values for 90 rows"):
        quick().fit(rows, np.arange(5))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"n_neighbors": 1}, "n_neighbors"), ({"n_components": 0}, "n_components"), ({"min_dist": -1}, "min_dist"),
     ({"min_dist": 2}, "min_dist=2 must not be above spread=1.0"), ({"metric": "best"}, "no metric 'best'"),
     ({"metric": 3}, "metric is a name or a function"), ({"init": "middle"}, "init is one of"),
     ({"init": np.zeros((3, 2))}, r"init has shape \(3, 2\)"), ({"n_epochs": -1}, "n_epochs"),
     ({"n_epochs": []}, "empty"), ({"n_jobs": 0}, "n_jobs"), ({"layout": "best"}, "layout is one of"),
     ({"set_op_mix_ratio": 2}, "set_op_mix_ratio"), ({"a": -1.0}, "a must"), ({"learning_rate": -1}, "learning_rate"),
     ({"precomputed_knn": ([1], [2])}, "precomputed_knn"), ({"metric": "precomputed", "unique": True}, "unique"),
     ({"target_n_neighbors": 1}, "target_n_neighbors"), ({"init": "pca", "n_components": 7}, "at most 6")],
)  # fmt: skip
def test_parameters_that_cannot_be_are_refused(parameters: dict[str, Any], message: str, rows: Floats) -> None:
    with pytest.raises(BadInput, match=message):
        quick(**parameters).fit(rows)


def test_there_is_no_way_back() -> None:
    assert not hasattr(UMAP(), "inverse_transform")


def test_where_neighbours_are_exact() -> None:
    assert is_exact(EXACT_BY_PRODUCTS, "cosine", approximate=False)
    assert not is_exact(EXACT_BY_PRODUCTS + 1, "cosine", approximate=False)
    assert not is_exact(EXACT_BY_PRODUCTS, "manhattan", approximate=False)
    assert not is_exact(10, "euclidean", approximate=True)


def test_small_maps_need_neither_umap_nor_pynndescent() -> None:
    script = """
import sys, numpy as np
from embedkit import UMAP
UMAP(n_epochs=5, random_state=0).fit(np.random.default_rng(0).normal(size=(50, 4)))
print([name for name in ("umap", "pynndescent", "torch") if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [{}, {"metric": "cosine", "n_components": 3}, {"unique": True}, {"init": np.zeros((90, 2))},
     {"metric_kwds": {"p": 3}, "metric": "minkowski", "random_state": np.int64(3)}],
    ids=["plain", "cosine", "unique", "array", "minkowski"],
)  # fmt: skip
def test_what_is_loaded_is_and_transforms_alike(parameters: dict[str, Any], rows: Floats, tmp_path: Path) -> None:
    if isinstance(parameters.get("init"), np.ndarray):
        parameters = {"init": np.random.default_rng(1).normal(size=(90, 2))}
    model = quick(**parameters).fit(rows)
    model.save(tmp_path / "model.safetensors")
    again = embedkit.load(tmp_path / "model.safetensors", verify=True)
    assert isinstance(again, UMAP)
    for name, value in model.get_params().items():
        assert np.array_equal(getattr(again, name), value) or name == "precomputed_knn"
    assert np.array_equal(again.embedding_, model.embedding_)
    assert (again.graph_ != model.graph_).nnz == 0
    assert np.array_equal(again.knn_indices_, model.knn_indices_)
    new = rows + np.float32(0.3)
    places = model.transform(new)
    assert again.transform(new).tobytes() == places.tobytes()
    assert np.array_equal(again.transform(rows), model.embedding_)
    assert again.transform(new[7:8]).tobytes() == places[7:8].tobytes()


def test_what_is_loaded_in_a_fresh_process_transforms_alike(rows: Floats, tmp_path: Path) -> None:
    check_in_a_fresh_process(quick().fit(rows), rows + np.float32(0.3), tmp_path)


def check_in_a_fresh_process(model: UMAP, new: Floats, folder: Path) -> None:
    model.save(folder / "model.safetensors")
    np.save(folder / "new.npy", new)
    script = """
import sys, embedkit, numpy as np
folder = sys.argv[1]
np.save(folder + "/places.npy", embedkit.load(folder + "/model.safetensors").transform(np.load(folder + "/new.npy")))
"""
    subprocess.run([sys.executable, "-c", script, str(folder)], check=True)
    assert np.load(folder / "places.npy").tobytes() == model.transform(new).tobytes()


def test_sparse_rows_distances_and_names_are_saved_too(rows: Floats, tmp_path: Path) -> None:
    sparse = quick().fit(csr_matrix(rows))
    sparse.save(tmp_path / "sparse")
    new = rows[:5] + 1
    assert embedkit.load(tmp_path / "sparse").transform(csr_matrix(new)).tobytes() == \
        sparse.transform(csr_matrix(new)).tobytes()  # fmt: skip
    distances = cdist(rows, rows).astype(np.float32)
    known = quick(metric="precomputed").fit(distances)
    known.save(tmp_path / "known")
    assert np.array_equal(embedkit.load(tmp_path / "known").transform(distances + 1), known.transform(distances + 1))
    frame = pd.DataFrame(rows, columns=list("uvwxyz"))
    quick().fit(frame).save(tmp_path / "frame")
    loaded = embedkit.load(tmp_path / "frame")
    assert list(loaded.feature_names_in_) == list("uvwxyz")
    assert list(loaded.transform(frame).columns) == ["umap0", "umap1"]


def test_a_file_whose_parts_do_not_fit_is_refused(rows: Floats, tmp_path: Path) -> None:
    from embedkit.files.store import read_tensors, write_tensors

    path = tmp_path / "model"
    quick().fit(rows).save(path)
    tensors = read_tensors(path)
    arrays = {name: np.array(array) for name, array in tensors.arrays.items()}
    about = {name: value for name, value in tensors.about.items() if name not in ("sha256", "schema")}

    def refused(message: str, changed: dict[str, Any], told: dict[str, Any] | None = None) -> None:
        kept = {name: array for name, array in {**arrays, **changed}.items() if array is not None}
        write_tensors(kept, {**about, **(told or {})}, path)
        with pytest.raises(BadFile, match=message):
            embedkit.load(path)

    refused("'map' is missing", {"map": None})
    refused("rows for 90 places", {"rows": arrays["rows"][:5]})
    refused("wide", {"rows": arrays["rows"][:, :5]})
    refused("'map' is float64", {"map": arrays["map"].astype(np.float64)})
    refused("none of the 90 rows", {"neighbours": arrays["neighbours"] + 100})
    refused("neighbours are", {"neighbours": arrays["neighbours"][:, :3]})
    refused("does not fit", {"graph/starts": arrays["graph/starts"][:-1]})
    refused("does not fit", {"graph/columns": arrays["graph/columns"] + 90})
    refused("not what was expected", {}, {"parameters": {"nonsense": 1}})
    refused("n_neighbors", {}, {"parameters": {**about["parameters"], "n_neighbors": -1}})
    refused("not what was expected", {}, {"facts": None})
