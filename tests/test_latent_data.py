"""Rows of every kind as tensors and back, and the batches that models train on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from embedkit import Embedding, images
from embedkit.errors import BadInput
from embedkit.latent import data as data_module
from embedkit.latent import rows as rows_module
from embedkit.latent.data import Kind, array_of
from embedkit.latent.rows import Rows


@pytest.fixture
def pictures(rng: np.random.Generator) -> Any:
    return rng.integers(0, 256, size=(9, 5, 4), dtype=np.uint8)


def learned(data: Any, scaling: str = "auto", image_shape: Any = None) -> Kind:
    return Kind.learned(data, scaling, image_shape)


# -- what rows are -----------------------------------------------------------------------------------------------------


def test_bytes_are_pixels_and_come_back_between_0_and_1(pictures: Any) -> None:
    kind = learned(pictures)
    assert (kind.shape, kind.given, kind.scaling, kind.size) == ((1, 5, 4), (5, 4), "pixels", 20)
    tensor = kind.tensor(pictures)
    assert tensor.dtype == torch.float32
    assert tuple(tensor.shape) == (9, 1, 5, 4)
    np.testing.assert_allclose(tensor.numpy()[:, 0], pictures / 255, rtol=1e-6)
    back = kind.restore(tensor)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, pictures / 255, rtol=1e-6)


def test_colours_come_with_the_channels_first_or_as_images_with_them_last(rng: np.random.Generator) -> None:
    last = rng.integers(0, 256, size=(6, 5, 4, 3), dtype=np.uint8)
    first = np.ascontiguousarray(np.moveaxis(last, 3, 1))
    a, b = learned(first), learned(images.Images(last))
    assert a.shape == b.shape == (3, 5, 4)
    assert torch.equal(a.tensor(first), b.tensor(images.Images(last)))
    np.testing.assert_allclose(b.restore(b.tensor(images.Images(last))), last / 255, rtol=1e-6)
    np.testing.assert_allclose(a.restore(a.tensor(first)), first / 255, rtol=1e-6)
    assert np.array_equal(np.asarray(b.rows(images.Images(last)).values)[:2], first[:2])
    with pytest.raises(BadInput, match="channels last"):
        learned(np.zeros((6, 9, 9, 3), np.uint8))


def test_floats_between_0_and_1_are_pixels_others_are_standardised(rng: np.random.Generator) -> None:
    unit = rng.random((30, 4))
    assert learned(unit).pixels
    assert learned(unit.astype(np.float32)).pixels
    assert not learned(unit * 1.1).pixels
    assert learned(unit * 1.1, "none").scaling == "none"
    assert not learned(pd.DataFrame(unit)).pixels
    assert not learned(rng.integers(0, 2, (30, 4))).pixels
    assert learned(rng.random((30, 4)) > 0.5).pixels
    with pytest.raises(BadInput, match="pixels are uint8, or lie between 0 and 1, not from"):
        learned(unit * 3, "pixels")


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int32])
def test_columns_are_standardised_and_un_standardised(dtype: Any, rng: np.random.Generator) -> None:
    table = (rng.normal(size=(500, 3)) * [1, 5, 20] + [100, 0, -7]).astype(dtype)
    kind = learned(table)
    tensor = kind.tensor(table).double().numpy()
    np.testing.assert_allclose(tensor.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(tensor.std(axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(kind.restore(kind.tensor(table)), table, rtol=1e-5, atol=1e-4)


def test_a_large_mean_costs_no_precision_and_a_constant_column_no_division_by_zero() -> None:
    rows = np.stack([1.6e9 + np.arange(100.0), np.full(100, 3.3e7 + 0.1)], axis=1)
    kind = learned(rows)
    standard = np.arange(100.0) - 49.5
    np.testing.assert_allclose(kind.tensor(rows)[:, 0], standard / standard.std(), rtol=1e-5)
    assert torch.equal(kind.tensor(rows)[:, 1], torch.zeros(100))
    np.testing.assert_allclose(kind.restore(kind.tensor(rows)), rows, rtol=1e-14, atol=1e-5)


def test_pictures_of_floats_are_standardised_by_channel(rng: np.random.Generator) -> None:
    pictures = rng.normal(size=(50, 2, 4, 4)) * np.array([3, 0.1])[:, None, None] + 5
    kind = learned(pictures)
    tensor = kind.tensor(pictures).numpy()
    np.testing.assert_allclose(tensor.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(tensor.std(axis=(0, 2, 3)), 1, atol=1e-4)
    np.testing.assert_allclose(kind.restore(kind.tensor(pictures)), pictures, rtol=1e-5)
    assert torch.equal(kind.tensor(pictures.reshape(50, -1)), kind.tensor(pictures))


def test_rows_of_a_matrix_may_be_pictures(pictures: Any) -> None:
    flat = pictures.reshape(9, -1)
    kind = learned(flat, image_shape=(5, 4))
    assert kind.shape == (1, 5, 4)
    assert torch.equal(kind.tensor(flat), learned(pictures).tensor(pictures))
    assert kind.restore(kind.tensor(flat)).shape == flat.shape
    for shape, reason in (((5, 5), "no pictures of shape"), ((5,), "image_shape is"), ((0, 4), "image_shape is")):
        with pytest.raises(BadInput, match=reason):
            learned(flat, image_shape=shape)


def test_an_embedding_and_its_smaller_storage_are_rows(rng: np.random.Generator) -> None:
    emb = Embedding(None, rng.normal(size=(20, 3)))
    kind = learned(emb)
    assert torch.equal(kind.tensor(emb), kind.tensor(emb.vectors))
    small = emb.with_storage("float16")
    assert torch.allclose(kind.tensor(small), kind.tensor(emb), atol=1e-2)


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bad", "what"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
@pytest.mark.parametrize("kind_of", ["array", "frame", "embedding", "picture"])
def test_what_is_not_finite_is_named(bad: float, what: str, kind_of: str, rng: np.random.Generator) -> None:
    values = rng.normal(size=(6, 4))
    good = {"array": values, "frame": pd.DataFrame(values, columns=list("abcd"), index=list("uvwxyz")),
            "embedding": Embedding(list("uvwxyz"), values), "picture": values.reshape(6, 2, 2)}[kind_of]  # fmt: skip
    kind = learned(good)
    values[3, 2] = bad
    where = {"array": "row 3, column 2", "frame": r"row 3 \('x'\), column 'c'",
             "picture": r"row 3, column \(1, 0\)"}.get(kind_of)  # fmt: skip
    if where is None:  # an Embedding cannot hold them
        return
    if kind_of == "frame":
        wrong: Any = pd.DataFrame(values, columns=list("abcd"), index=list("uvwxyz"))
    else:
        wrong = values.reshape(np.asarray(good).shape)
    for act in (learned, kind.tensor):
        with pytest.raises(BadInput, match=f"{where} is {what}"):
            act(wrong)


def test_missing_values_and_text_in_a_frame_are_named() -> None:
    frame = pd.DataFrame({"age": pd.array([1, None, 3], dtype="Int64"), "b": [1.0, 2, 3]}, index=["x", "y", "z"])
    with pytest.raises(BadInput, match=re.escape("row 1 ('y'), column 'age' is NaN (missing)")):
        array_of(frame)
    with pytest.raises(BadInput, match="column 'name' holds"):
        array_of(pd.DataFrame({"name": ["u", "v"], "b": [1.0, 2.0]}))


def test_pixels_of_0_to_255_as_floats_are_refused_by_a_model_of_pixels(pictures: Any) -> None:
    kind = learned(pictures)
    assert torch.allclose(kind.tensor(pictures / 255.0), kind.tensor(pictures))
    with pytest.raises(BadInput, match=r"a value of .* lie between 0 and 1"):
        kind.tensor(pictures.astype(float))


def test_rows_of_another_shape_are_refused(pictures: Any) -> None:
    kind = learned(pictures)
    for wrong in (pictures[:, :4], pictures.reshape(9, 20)[:, 1:], pictures[0, 0], pictures[:, None]):
        with pytest.raises(BadInput, match="expected"):
            kind.tensor(wrong)


def test_what_float32_cannot_hold_is_refused() -> None:
    with pytest.raises(BadInput, match="row 1, column 0 is infinity as float32"):
        learned(np.zeros((3, 1)), "none").tensor(np.array([[0.0], [1e300]]))


# -- batches -----------------------------------------------------------------------------------------------------------


def a_map(path: Path, n: int, width: int, dtype: Any = np.float32) -> Any:
    """A .npy file of rows whose first value is their number."""
    mapped = np.lib.format.open_memmap(path, "w+", dtype, (n, width))
    mapped[:] = np.random.default_rng(0).normal(size=(n, width)) * 10
    mapped[:, 0] = np.arange(n)
    mapped.flush()
    return np.load(path, mmap_mode="r")


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_module, "HELD", 1000)
    monkeypatch.setattr(rows_module, "_CHUNK", 400)
    monkeypatch.setattr(rows_module, "_WINDOW", 1600)


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("n", [64, 100, 127, 33, 5])
@pytest.mark.parametrize("chosen", ["all", "some"])
def test_a_large_memory_map_is_streamed_in_an_order_of_seed_and_epoch(n: int, chosen: str, tmp_path: Path) -> None:
    values = a_map(tmp_path / "rows.npy", max(n, 64), 5)
    kind = learned(values)
    numbers = np.arange(len(values))[:n]
    if chosen == "some":
        numbers = np.sort(np.random.default_rng(1).permutation(len(values))[:n])
    rows = kind.rows(values, "cpu", numbers if chosen == "some" or n < 64 else None)
    assert rows.streamed
    everything = kind.tensor(values)
    orders = []
    for epoch in range(3):
        turns = list(rows.batches(7, epoch, 8))
        assert len(turns) == rows.steps(8)
        for turn in turns:
            assert torch.equal(turn.rows, everything[turn.index])
        order = torch.cat([turn.index for turn in turns]).tolist()
        assert len(set(order)) == len(order) >= n - 4
        assert set(order) <= set(numbers.tolist())
        orders.append(order)
        for first in range(len(turns)):
            again = list(rows.batches(7, epoch, 8, first))
            assert [t.index.tolist() for t in again] == [t.index.tolist() for t in turns[first:]]
    assert len({tuple(order) for order in orders}) == 3 or n == 5
    assert orders[0] == torch.cat([t.index for t in rows.batches(7, 0, 8)]).tolist()


@pytest.mark.usefixtures("small_windows")
def test_streamed_rows_come_in_their_order_to_be_judged(tmp_path: Path) -> None:
    values = a_map(tmp_path / "rows.npy", 100, 5)
    kind, chosen = learned(values), np.array([3, 4, 5, 50, 97])
    turns = list(kind.rows(values, "cpu", chosen).in_order(2))
    assert torch.equal(torch.cat([t.index for t in turns]), torch.from_numpy(chosen))
    assert torch.equal(torch.cat([t.rows for t in turns]), kind.tensor(values)[chosen])


def test_bytes_are_held_as_bytes_and_a_writable_array_is_not_copied(pictures: Any, rng: np.random.Generator) -> None:
    held = learned(pictures).rows(pictures)
    assert isinstance(held.values, torch.Tensor)
    assert held.values.dtype == torch.uint8
    assert held.values.data_ptr() == pictures.ctypes.data
    floats = rng.random((10, 4), dtype=np.float32)
    same = learned(floats).rows(floats).values
    assert isinstance(same, torch.Tensor)
    assert same.data_ptr() == floats.ctypes.data
    pictures.flags.writeable = False
    assert learned(pictures).rows(pictures).values.shape == (9, 1, 5, 4)


def test_batches_of_rows_that_are_held_are_what_tensor_makes_of_them(pictures: Any) -> None:
    kind = learned(pictures)
    everything = kind.tensor(pictures)
    for turn in kind.rows(pictures).batches(0, 0, 4):
        torch.testing.assert_close(turn.rows, everything[turn.index])
    chosen = np.array([1, 5, 6])
    (turn,) = kind.rows(pictures, "cpu", chosen).batches(0, 0, 4)
    assert sorted(turn.index.tolist()) == chosen.tolist()


def test_a_batch_may_be_written_to(rng: np.random.Generator) -> None:
    values = torch.from_numpy(rng.random((8, 2), dtype=np.float32))
    before = values.clone()
    for turn in Rows.of(values).batches(0, 0, 4):
        turn.rows.zero_()
    assert torch.equal(values, before)


def test_blocks_have_one_size(pictures: Any) -> None:
    kind = learned(pictures)
    blocks = list(kind.blocks(pictures, "cpu"))
    assert [n for n, _ in blocks] == [9]
    assert all(len(rows) == kind.block for _, rows in blocks)
    assert torch.equal(blocks[0][1][:9], kind.tensor(pictures))
    assert not blocks[0][1][9:].any()
