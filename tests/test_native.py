"""The native file: what goes in comes out, and nothing else ever loads."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file

from embedkit import Embedding, load
from embedkit.embedding import Storage
from embedkit.errors import BadFile, BadInput
from embedkit.files import store
from embedkit.files.store import read_tensors, write_tensors

Arrays = dict[str, npt.NDArray[Any]]
Refused = Callable[..., bool]

letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r")
words = st.text(letters, max_size=6)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
COLUMN_TYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]


@st.composite
def embeddings(draw: st.DrawFn) -> Embedding:
    rows = draw(st.lists(words, unique=True, max_size=8))
    n = len(rows)
    columns: Arrays = {}
    for name in draw(st.lists(st.text(letters, min_size=1, max_size=6), unique=True, max_size=4)):
        kind = draw(st.sampled_from([*COLUMN_TYPES, "U"]))
        if kind == "U":
            columns[name] = np.array(draw(st.lists(texts, min_size=n, max_size=n)), dtype=np.str_)
        else:
            columns[name] = draw(hnp.arrays(np.dtype(kind), n))
    numbers = st.floats(-60000, 60000, width=32)
    return Embedding(
        rows,
        draw(hnp.arrays(np.float32, (n, draw(st.integers(1, 4))), elements=numbers)),
        columns=columns,
        provenance=draw(st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.text()))),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples of a hypothesis test."""
    return tmp_path_factory.mktemp("native")


def same_bits(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# -- what goes in comes out ------------------------------------------------------------------------------------------


@given(embeddings(), st.sampled_from(["float32", "float16", "int8"]), st.sampled_from([None, True, False]))
def test_what_was_saved_is_loaded(folder: Path, embedding: Embedding, storage: Storage, verify: bool | None) -> None:
    path = folder / "round.safetensors"
    embedding.save(path, storage=storage)
    kept = embedding.with_storage(storage)
    loaded = load(path, verify=verify)
    assert loaded == kept
    assert loaded.storage == storage
    assert list(loaded) == list(embedding)
    assert same_bits(loaded.vectors, kept.vectors)
    assert same_bits(loaded.norms, kept.norms)
    assert loaded.provenance == kept.provenance
    assert list(loaded.columns) == list(embedding.columns)
    for name, values in embedding.columns.items():
        assert loaded.columns[name].dtype.kind == values.dtype.kind
        assert loaded.columns[name].tolist() == values.tolist() or same_bits(loaded.columns[name], values)
    for row, label in enumerate(embedding):
        assert loaded.rows([label]).tolist() == [row]
    # What was loaded is saved as the very same file.
    before = path.read_bytes()
    loaded.save(folder / "again.safetensors")
    assert (folder / "again.safetensors").read_bytes() == before


@given(embeddings(), st.sampled_from(["float32", "float16", "int8"]))
def test_any_safetensors_reader_opens_it(folder: Path, embedding: Embedding, storage: Storage) -> None:
    path = folder / "public.safetensors"
    kept = embedding.with_storage(storage)
    kept.save(path)
    theirs, ours = load_file(path), read_tensors(path).arrays
    assert theirs.keys() == ours.keys()
    assert all(same_bits(theirs[name], ours[name]) for name in ours)
    decoded = theirs["vectors"].astype(np.float32)
    if storage == "int8":
        decoded = decoded * theirs["scales"][:, None]
    assert same_bits(decoded, kept.vectors)
    assert same_bits(theirs["norms"], kept.norms)
    blob, starts = theirs["labels"].tobytes(), theirs["label_offsets"].tolist()
    found = [blob[a : b - 1].decode() for a, b in pairwise(starts)]
    assert found == list(embedding)


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
def test_every_tensor_lies_aligned_to_its_own_size(tmp_path: Path, royals: Embedding, storage: Storage) -> None:
    odd = royals.with_vectors(np.ones((4, 3))).take([0, 1, 2])  # odd counts, so that gaps would be needed
    odd.save(tmp_path / "e", storage=storage)
    assert all(array.flags.aligned for array in read_tensors(tmp_path / "e").arrays.values())


def test_what_a_file_holds_is_read_only(tmp_path: Path, royals: Embedding) -> None:
    royals.save(tmp_path / "e")
    loaded = load(tmp_path / "e")
    held: list[npt.NDArray[Any]] = [loaded.vectors, loaded.norms, *loaded.columns.values()]
    for array in [*held, *read_tensors(tmp_path / "e").arrays.values()]:
        with pytest.raises(ValueError, match="read-only"):
            array[..., 0] = array[..., 0]


@pytest.mark.parametrize("path", ["plain", "with space", "ünïcode 語", "no.ending.at all", "-dash", "a\nb", "\x1b"])
def test_any_name_of_a_file_will_do(tmp_path: Path, royals: Embedding, path: str) -> None:
    royals.save(str(tmp_path / path))
    assert load(str(tmp_path / path)) == royals


def test_a_relative_path_in_the_current_folder_will_do(
    tmp_path: Path, royals: Embedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    royals.save("e")
    assert load("e") == royals
    assert [entry.name for entry in tmp_path.iterdir()] == ["e"]


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param(
            {"c": np.array([1, 2], dtype=">i4")},
        ),
        pytest.param(
            {"c": np.array([1, 2], dtype=np.longdouble)},
        ),
        pytest.param(
            {"c": ["\ud800", "b"]},
        ),
        {"c": ["", ""]},
        {"c": np.array([1, 2], dtype="<u2")},
        {"__metadata__": [1, 2], "vectors": [3, 4], "labels": ["a", "b"], "a/b": [1.5, 2.5], '"': [True, False]},
    ],
)
def test_every_column_that_an_embedding_takes_can_be_saved(tmp_path: Path, columns: Any) -> None:
    try:
        embedding = Embedding(["a", "b"], [[1.0], [2.0]], columns=columns)
    except BadInput:
        return  # refused at the door is as good
    embedding.save(tmp_path / "e")
    assert load(tmp_path / "e") == embedding
    assert load_file(tmp_path / "e")


def test_a_provenance_of_many_megabytes_is_refused_or_comes_back(tmp_path: Path) -> None:
    embedding = Embedding(["a"], [[1.0]], provenance={"made_by": "x" * 17 * 2**20})
    try:
        embedding.save(tmp_path / "e")
    except BadInput:
        return
    assert load(tmp_path / "e").provenance == embedding.provenance


# -- damage ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small() -> Embedding:
    """A file of some hundred bytes that has every kind of tensor."""
    return Embedding(
        ["a", "bé"],
        [[1.5, -2.0], [0.0, 3.0]],
        columns={"n": [1, 2], "ok": [True, False], "t": ["x", "yz"]},
        provenance={"made_by": "hand"},
    ).with_storage("int8")


@pytest.mark.parametrize("mask", [0x01, 0x20, 0xFF])
def test_every_flipped_byte_is_found(tmp_path: Path, small: Embedding, mask: int, refused: Refused) -> None:
    path = tmp_path / "e"
    small.save(path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= mask
        path.write_bytes(damaged)
        assert refused(path), f"byte {place} of {len(whole)}"


@pytest.mark.parametrize("verify", [None, False])
def test_every_cut_is_found(tmp_path: Path, small: Embedding, verify: bool | None, refused: Refused) -> None:
    path = tmp_path / "e"
    small.save(path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert refused(path, verify), f"cut to {length} of {len(whole)} bytes"


@pytest.mark.parametrize("added", [b"\0", b"\n", b" " * 8, b"x" * 4096])
@pytest.mark.parametrize("verify", [None, True, False])
def test_added_bytes_are_found(
    tmp_path: Path, small: Embedding, added: bytes, verify: bool | None, refused: Refused
) -> None:
    path = tmp_path / "e"
    small.save(path)
    whole = path.read_bytes()
    for damaged in (whole + added, added + whole, whole + whole):
        path.write_bytes(damaged)
        assert refused(path, verify)


def tensor_span(path: Path, name: str) -> range:
    """The bytes of the file at which a tensor lies."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    start, end = json.loads(data[8 : 8 + length])[name]["data_offsets"]
    return range(8 + length + start, 8 + length + end)


@pytest.mark.parametrize("large", [True, False])
def test_of_large_files_header_and_labels_are_always_verified_and_the_rest_on_request(
    tmp_path: Path, small: Embedding, monkeypatch: pytest.MonkeyPatch, large: bool, refused: Refused
) -> None:
    path = tmp_path / "e"
    small.save(path)
    monkeypatch.setattr(store, "VERIFIED_AT_LOAD", len(path.read_bytes()) - large)
    whole = path.read_bytes()
    numbers = [*tensor_span(path, "vectors"), *tensor_span(path, "column/n"), *tensor_span(path, "norms")]
    always = [
        place
        for place in range(len(whole))
        if place < 8 + struct.unpack("<Q", whole[:8])[0]
        or place in tensor_span(path, "labels")
        or place in tensor_span(path, "label_offsets")
    ]
    for place in [*always, *numbers]:
        damaged = bytearray(whole)
        damaged[place] ^= 0x04
        path.write_bytes(damaged)
        assert refused(path, verify=True), f"byte {place}"
        assert refused(path) == (place in always or not large), f"byte {place}"
        assert refused(path, verify=False) == (place in always), f"byte {place}"


def test_what_was_not_verified_never_ends_in_another_error(tmp_path: Path, small: Embedding, refused: Refused) -> None:
    path = tmp_path / "e"
    small.save(path)
    whole = path.read_bytes()
    for name in ("text/t", "ends/t", "column/ok", "scales"):
        for place in tensor_span(path, name):
            for mask in (0x80, 0xFF):
                damaged = bytearray(whole)
                damaged[place] ^= mask
                path.write_bytes(damaged)
                refused(path, verify=False)
                assert refused(path, verify=True)


# -- files that are no embedkit files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"\0" * 7,
        b"\0" * 8,
        b"\0" * 100,
        b"\xff" * 100,
        b"king 0.1 0.2\nqueen 0.3 0.4\n",
        b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94.",
        b"PK\x03\x04" + b"\0" * 60,
        struct.pack("<Q", 10**18) + b"{}" + b" " * 100,
        struct.pack("<Q", 2**64 - 1) + b"{}" + b" " * 100,
        struct.pack("<Q", 0) + b"{}" + b" " * 100,
        struct.pack("<Q", 2) + b"{}" + b" " * 100,
        struct.pack("<Q", 102) + b"{}" + b" " * 100,
        struct.pack("<Q", 103) + b"{}" + b" " * 100,
        struct.pack("<Q", 8) + b"[1,2,3] ",
        struct.pack("<Q", 8) + b"{\xff\xfe} \0 ",
        struct.pack("<Q", 100_000) + b'{"a":' * 20_000,
        struct.pack("<Q", 20_006) + b'{"a":' + b"9" * 20_000 + b"}",
        struct.pack("<Q", 20) + b'{"__metadata__":[]} ',
        struct.pack("<Q", 22) + b'{"__metadata__":null} ',
        struct.pack("<Q", 52) + b'{"__metadata__":{"embedkit":5,"sha256":"00000000"}} ',
        struct.pack("<Q", 53) + b'{"__metadata__":{"embedkit":"{}","sha256":[1,2,3]}}  ',
    ],
)
@pytest.mark.parametrize("verify", [None, True, False])
def test_what_is_no_embedkit_file_is_refused(
    tmp_path: Path, content: bytes, verify: bool | None, refused: Refused
) -> None:
    path = tmp_path / "e"
    path.write_bytes(content)
    assert refused(path, verify)


@given(st.binary(max_size=200), st.booleans())
@settings(max_examples=50)
def test_random_bytes_are_refused(folder: Path, refused: Refused, content: bytes, sized: bool) -> None:
    path = folder / "random"
    path.write_bytes(struct.pack("<Q", len(content) + 1) + b"{" + content if sized else content)
    assert refused(path)


def test_a_safetensors_file_of_somebody_else_is_refused(tmp_path: Path, refused: Refused) -> None:
    from safetensors.numpy import save_file

    for metadata in (None, {"format": "pt"}, {"embedkit": "{}"}):
        save_file({"vectors": np.ones((2, 2), dtype=np.float32)}, tmp_path / "e", metadata=metadata)
        assert refused(tmp_path / "e")


def test_what_is_no_regular_file_is_refused(tmp_path: Path, refused: Refused) -> None:
    assert refused(tmp_path)
    assert refused(tmp_path / "absent")
    (tmp_path / "file").write_bytes(b"")
    assert refused(tmp_path / "file" / "below")
    assert refused(Path("/dev/null"))
    assert refused(Path("/dev/zero"))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert refused(tmp_path / "loop")
    assert refused(tmp_path / ("n" * 300))


def test_a_pipe_is_refused(tmp_path: Path, refused: Refused) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    both_ends = os.open(pipe, os.O_RDWR)  # so that opening it does not wait for a writer
    try:
        assert refused(pipe)
    finally:
        os.close(both_ends)


@pytest.mark.parametrize("path", ["a\0b", "a\ud800b"])
def test_a_path_that_the_system_cannot_hold_is_a_bad_file(path: str) -> None:
    with pytest.raises(BadFile):
        load(path)


@pytest.mark.parametrize("path", ["a\0b", "a\ud800b"])
def test_saving_to_a_path_that_the_system_cannot_hold_is_a_bad_file(royals: Embedding, path: str) -> None:
    with pytest.raises(BadFile):
        royals.save(path)


def test_the_path_is_shown_escaped(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"\\x1b\[2J") as caught:
        load(tmp_path / "\x1b[2J")
    assert "\x1b" not in str(caught.value)


# -- in memory -------------------------------------------------------------------------------------------------------


def test_the_matrix_stays_in_the_file_until_it_is_used(tmp_path: Path, royals: Embedding) -> None:
    path = tmp_path / "e"
    royals.save(path)
    loaded = load(path)
    first = tensor_span(path, "vectors")[0]
    with path.open("r+b") as stream:
        stream.seek(first)
        stream.write(np.array([7, 8], dtype=np.float32).tobytes())
    # Only something that is mapped can see this; a copy made at load would not.
    assert loaded["king"].tolist() == [7, 8, 0]
    assert loaded.vectors[0].tolist() == [7, 8, 0]


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
def test_a_reader_keeps_the_old_values_while_the_file_is_replaced(
    tmp_path: Path, royals: Embedding, storage: Storage
) -> None:
    path = tmp_path / "e"
    royals.save(path, storage=storage)
    reader = load(path)
    for round_ in range(1, 4):
        new = royals.with_vectors(royals.vectors + round_)
        new.save(path)
        assert load(path) == new
    path.unlink()
    assert reader["queen"].tolist() == royals["queen"].tolist()
    assert reader == royals.with_storage(storage)


def test_what_was_loaded_can_be_saved_over_its_own_file(tmp_path: Path, royals: Embedding) -> None:
    path = tmp_path / "e"
    royals.save(path)
    loaded = load(path)
    loaded.head(2).save(path)
    assert load(path) == royals.head(2)
    assert loaded == royals


def test_tensors_of_other_types_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="'c' has type complex128, which a safetensors file cannot hold"):
        write_tensors({"c": np.ones(2, dtype=complex)}, {"schema": 1}, tmp_path / "e")
    assert list(tmp_path.iterdir()) == []


@given(
    st.dictionaries(
        st.text(letters, max_size=5),
        st.sampled_from(COLUMN_TYPES).flatmap(lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, min_side=0))),
        max_size=4,
    )
)
@settings(max_examples=50)
def test_tensors_of_any_shape_come_back(folder: Path, tensors: Arrays) -> None:
    path = folder / "tensors"
    write_tensors(tensors, {"schema": 1, "note": "any"}, path)
    arrays, about = read_tensors(path)
    assert about["note"] == "any"
    assert list(arrays) == list(tensors)
    assert all(same_bits(arrays[name], array) for name, array in tensors.items())
