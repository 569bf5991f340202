"""Small files of every format, cut at every byte, and with every byte flipped.

What checksums guard is refused, or is what was written. Of the rest a change can leave something that is well formed:
then it has the form that such things have, and is saved and read again. Never is there another error.
"""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedkit
from embedkit import Embedding
from embedkit.errors import BadFile

_spec = importlib.util.spec_from_file_location("samples", Path(__file__).with_name("samples.py"))
assert _spec is not None
assert _spec.loader is not None
samples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(samples)

FEW = 40  # changes of each kind by default, for what is read at usual speed
every = pytest.mark.parametrize("name", samples.SAMPLES)


def swept(name: str, changed: list[bytes], folder: Path) -> int:
    """How many of the changed contents were read as something else, each being looked at."""
    sample: Any = samples.SAMPLES[name]
    path = folder / "file" / sample.name
    path.parent.mkdir()
    right, others = samples.tried(sample, sample.content, path), 0
    assert right is not None
    samples.check_form(right, folder)
    for content in changed:
        begun = time.process_time()
        found = samples.tried(sample, content, path)
        assert time.process_time() - begun < 5
        if found is not None and not samples.same(found, right):
            assert not sample.sealed
            samples.check_form(found, folder)
            others += 1
    return others


def some(size: int, cost: int) -> list[int]:
    """Places all over a file of so many bytes, those at both ends among them."""
    return sorted({round(place) for place in np.linspace(0, size - 1, max(8, FEW // cost)).tolist()})


def cuts(content: bytes, places: list[int]) -> list[bytes]:
    return [content[:place] for place in places]


def flips(content: bytes, places: list[int], mask: int | None = None) -> list[bytes]:
    masks = [mask or 1 << place % 8 for place in places]
    return [
        content[:at] + bytes([content[at] ^ bits]) + content[at + 1 :] for at, bits in zip(places, masks, strict=True)
    ]


# They have a length or an end of their own: nothing that is cut can be read as something else.
WHOLE = ("word2vec binary", "npy", "json", "parquet", "fastText", "idx", "png")


@every
def test_cut_at_many_places(name: str, tmp_path: Path) -> None:
    sample = samples.SAMPLES[name]
    others = swept(name, cuts(sample.content, some(len(sample.content), sample.cost)), tmp_path)
    assert not (others and name in WHOLE)


@every
def test_flipped_at_many_places(name: str, tmp_path: Path) -> None:
    sample = samples.SAMPLES[name]
    swept(name, flips(sample.content, some(len(sample.content), sample.cost)), tmp_path)


@pytest.mark.slow
@every
def test_cut_at_every_byte(name: str, tmp_path: Path) -> None:
    content = samples.SAMPLES[name].content
    others = swept(name, cuts(content, list(range(len(content)))), tmp_path)
    assert not (others and name in WHOLE)


@pytest.mark.slow
@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
@every
def test_flipped_at_every_byte(name: str, mask: int, tmp_path: Path) -> None:
    content = samples.SAMPLES[name].content
    swept(name, flips(content, list(range(len(content))), mask), tmp_path)


@pytest.mark.parametrize("name", ["native", "native int8", "encoded corpus"])
def test_no_native_file_that_was_changed_is_read(name: str, tmp_path: Path) -> None:
    """Not even as what it was: it says that it is damaged."""
    sample = samples.SAMPLES[name]
    places = some(len(sample.content), 2)
    for content in [*cuts(sample.content, places), *flips(sample.content, places)]:
        assert samples.tried(sample, content, tmp_path / "x") is None


@pytest.mark.slow
def test_a_native_file_of_64_megabytes_is_verified_as_a_whole(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(41_000, 400)).astype(np.float32)
    path = tmp_path / "large"
    Embedding(None, vectors).save(path)
    assert 63 * 2**20 < path.stat().st_size <= 64 * 2**20
    draw = np.random.default_rng(1)
    for place in draw.integers(0, path.stat().st_size, size=60).tolist():
        with path.open("r+b") as stream:
            stream.seek(place)
            byte = stream.read(1)
            stream.seek(place)
            stream.write(bytes([byte[0] ^ 1 << int(draw.integers(8))]))
        with pytest.raises(BadFile):
            embedkit.load(path)
        with path.open("r+b") as stream:
            stream.seek(place)
            stream.write(byte)
    assert len(embedkit.load(path)) == 41_000
    content = path.read_bytes()
    for length in draw.integers(0, len(content), size=20).tolist():
        path.write_bytes(content[:length])
        with pytest.raises(BadFile):
            embedkit.load(path)
