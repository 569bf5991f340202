"""UMAP by torch: the processor's neighbours bit for bit, as good a map, the same bits again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.datasets import load_digits
from sklearn.manifold import trustworthiness
from sklearn.neighbors import KNeighborsClassifier

import embedkit
from embedkit import UMAP, Embedding
from embedkit.errors import BadInput
from embedkit.kernels import neighbours_torch, umap_layout_torch
from embedkit.kernels.neighbours import Space
from embedkit.kernels.neighbours_torch import TorchSpace
from embedkit.kernels.umap_layout import Curve, Edges
from embedkit.manifold import devices

Floats = npt.NDArray[np.float32]
METRICS = ("euclidean", "cosine", "correlation")


@pytest.fixture(scope="module")
def digits() -> tuple[Floats, npt.NDArray[np.int64]]:
    found = load_digits()
    return found.data.astype(np.float32), found.target


def quick(**parameters: Any) -> UMAP:
    return UMAP(**{"n_neighbors": 8, "n_epochs": 30, "random_state": 0, "device": "cpu", **parameters})


def check_neighbours(rows: Floats, metric: str, queries: Floats | None = None, *, device: str = "cpu") -> None:
    ours, theirs = (
        TorchSpace(rows, metric, device).nearest(queries, 9, n_jobs=2),
        Space(rows, metric).nearest(queries, 9),
    )
    assert np.array_equal(ours.rows, theirs.rows)
    assert ours.distances.tobytes() == theirs.distances.tobytes()


def hard_rows(metric: str) -> list[Floats]:
    """Doubles and ties; rows without direction; clusters so far apart that only float64 sees inside of them."""
    rng = np.random.default_rng(0)
    plain = rng.normal(size=(60, 33)).astype(np.float32)
    blank = plain.copy()
    blank[[3, 17, 20]] = 0 if metric == "cosine" else 2.5
    far = rng.normal(size=(700, 4)).astype(np.float32)
    far[:350] += np.float32(3e5)
    return [plain, plain[np.arange(60) % 5], np.round(plain), blank, far, plain[:, :1]]


@pytest.mark.parametrize("metric", METRICS)
def test_torch_finds_the_same_neighbours_bit_for_bit(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for rows in hard_rows(metric):
        check_neighbours(rows, metric)
        check_neighbours(rows[::2].copy(), metric, rows)
    # In small blocks, too.
    monkeypatch.setitem(neighbours_torch._SCORES_AT_ONCE, "cpu", 500)
    monkeypatch.setitem(neighbours_torch._NUMBERS_AT_ONCE, "cpu", 100)
    check_neighbours(hard_rows(metric)[0], metric)


def test_the_map_of_digits_is_as_good_and_the_same_again(digits: tuple[Floats, npt.NDArray[np.int64]]) -> None:
    rows, classes = digits
    numpy_, torch_ = (UMAP(random_state=1, n_epochs=200, device=device).fit(rows) for device in ("numpy", "cpu"))
    assert np.array_equal(torch_.knn_indices_, numpy_.knn_indices_)
    assert torch_.knn_dists_.tobytes() == numpy_.knn_dists_.tobytes()
    trust = [trustworthiness(rows, model.embedding_, n_neighbors=15) for model in (numpy_, torch_)]
    assert trust[1] > trust[0] - 0.005
    found = [
        KNeighborsClassifier(10).fit(places[::2], classes[::2]).score(places[1::2], classes[1::2])
        for places in (numpy_.embedding_, torch_.embedding_)
    ]
    assert found[1] > found[0] - 0.005
    assert (torch_.device_, torch_.neighbours_, torch_.layout_) == ("cpu", "exact (torch on cpu)", "parallel")
    assert (numpy_.device_, numpy_.neighbours_) == ("numpy", "exact")


def test_a_seed_means_the_same_bits_on_any_number_of_threads(digits: tuple[Floats, Any]) -> None:
    rows = digits[0][:400]
    first, second = (quick(n_jobs=n_jobs).fit(rows) for n_jobs in (1, 2))
    assert first.embedding_.tobytes() == second.embedding_.tobytes()
    assert quick(random_state=1).fit(rows).embedding_.tobytes() != first.embedding_.tobytes()
    new = rows[:50] + np.float32(0.25)
    assert first.transform(new).tobytes() == second.transform(new).tobytes()
    assert first.transform(new[7:8]).tobytes() == first.transform(new)[7:8].tobytes()
    assert first.transform(rows).tobytes() == first.embedding_.tobytes()


def test_vertices_worked_on_in_parts_move_alike(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = np.array(sorted({(int(i), int(j)) for i in range(50) for j in rng.integers(0, 50, 4)}))
    starts = np.searchsorted(pairs[:, 0], np.arange(51)).astype(np.int64)
    graph = Edges(starts, pairs[:, 1].astype(np.int32), rng.uniform(0.1, 1, len(pairs)).astype(np.float32))
    start, curve = rng.uniform(0, 10, size=(50, 2)).astype(np.float32), Curve(1.577, 0.895, 1.0, 5)
    how: dict[str, Any] = {"epochs": 5, "learning_rate": 0.1, "seed": 3, "device": "cpu"}
    whole = umap_layout_torch.lay_out(start, graph, curve, **how)
    monkeypatch.setattr(umap_layout_torch, "_EDGES_AT_ONCE", 9)
    np.testing.assert_allclose(umap_layout_torch.lay_out(start, graph, curve, **how), whole, atol=1e-4)
    monkeypatch.setattr(umap_layout_torch, "_VERTICES_AT_ONCE", 1)
    np.testing.assert_allclose(umap_layout_torch.lay_out(start, graph, curve, **how), whole, atol=1e-4)


def test_what_torch_does_not_do_is_said(digits: tuple[Floats, Any]) -> None:
    rows = digits[0][:100]
    with pytest.warns(UserWarning, match="neighbours were exact, found on the processor: torch finds"):
        model = quick(metric="manhattan").fit(rows)
    assert (model.neighbours_, model.device_) == ("exact", "cpu")
    with pytest.raises(BadInput, match="umap-learn's layout has no devices"):
        quick(layout="umap-learn").fit(rows)
    for wrong in ("gpu", "cuda:", "mps", 3):
        with pytest.raises(BadInput, match="device is one of auto, numpy, cpu, cuda"):
            quick(device=wrong).fit(rows)
    with pytest.raises(BadInput, match="no device 'cuda:99'"):
        quick(device="cuda:99").fit(rows)


def test_auto_looks_for_a_gpu_only_where_there_is_much_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "has_driver", lambda: True)
    monkeypatch.setattr("embedkit.kernels.word2vec_torch.device_of", lambda name: "cuda" if name == "auto" else name)
    assert devices.device_for("auto", devices.MANY) == "numpy"
    assert devices.device_for("auto", devices.MANY + 1) == "cuda"
    monkeypatch.setattr("embedkit.kernels.word2vec_torch.device_of", lambda _: "cpu")
    assert devices.device_for("auto", devices.MANY + 1) == "numpy"
    monkeypatch.setattr(devices, "has_driver", lambda: False)
    monkeypatch.setitem(sys.modules, "embedkit.kernels.word2vec_torch", None)  # which would not be imported
    assert devices.device_for("auto", devices.MANY + 1) == "numpy"


def test_maps_say_what_made_them_and_models_open_where_the_device_is_missing(
    digits: tuple[Floats, Any], tmp_path: Path
) -> None:
    model = quick().fit(digits[0][:100])
    made = model.fit_transform(Embedding(None, digits[0][:100]))
    provenance = json.loads(json.dumps(made.provenance))
    assert provenance["neighbours"] == "exact (torch on cpu)"
    assert provenance["layout"] == "parallel on cpu"
    new = digits[0][100:120]
    places = model.transform(new)
    model.device = "cuda:99"
    model.save(tmp_path / "model")
    again = embedkit.load(tmp_path / "model")
    assert (again.device, again.device_, again.neighbours_) == ("auto", "cpu", "exact (torch on cpu)")
    assert again.transform(new).tobytes() == places.tobytes()


@pytest.mark.gpu
@pytest.mark.parametrize("metric", METRICS)
def test_on_a_gpu_neighbours_are_the_processors(metric: str) -> None:
    for rows in hard_rows(metric):
        check_neighbours(rows, metric, device="cuda")
    check_neighbours(np.random.default_rng(1).normal(size=(20_000, 64)).astype(np.float32), metric, device="cuda")


@pytest.mark.gpu
def test_on_a_gpu_the_map_is_as_good_and_the_same_again(digits: tuple[Floats, Any]) -> None:
    rows = digits[0]
    numpy_, first, second = (UMAP(random_state=1, device=device).fit(rows) for device in ("numpy", "cuda", "cuda"))
    assert first.embedding_.tobytes() == second.embedding_.tobytes()
    assert first.knn_dists_.tobytes() == numpy_.knn_dists_.tobytes()
    trust = [trustworthiness(rows, model.embedding_, n_neighbors=15) for model in (numpy_, first)]
    assert trust[1] > trust[0] - 0.005
    new = rows[:90] + np.float32(0.25)
    assert np.array_equal(first.transform(new[5:6]), first.transform(new)[5:6])
    assert UMAP(n_epochs=5).fit(np.tile(rows, (6, 1)) + np.arange(6 * len(rows))[:, None]).device_ == "cuda"
