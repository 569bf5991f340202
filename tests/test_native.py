"""The native file: what goes in comes out, and nothing else ever loads."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable, Mapping
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


def refused(path: Path, verify: bool | None = None) -> bool:
    """Whether loading raises BadFile with the path in its message; any other error comes through."""
    try:
        load(path, verify=verify)
    except BadFile as error:
        caught = error
    else:
        return False
    assert str(caught).startswith(str(path))
    assert caught.path == str(path)
    assert caught.reason
    return True


@pytest.mark.parametrize("mask", [0x01, 0x20, 0xFF])
def test_every_flipped_byte_is_found(tmp_path: Path, small: Embedding, mask: int) -> None:
    path = tmp_path / "e"
    small.save(path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= mask
        path.write_bytes(damaged)
        assert refused(path), f"byte {place} of {len(whole)}"


@pytest.mark.parametrize("verify", [None, False])
def test_every_cut_is_found(tmp_path: Path, small: Embedding, verify: bool | None) -> None:
    path = tmp_path / "e"
    small.save(path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert refused(path, verify), f"cut to {length} of {len(whole)} bytes"


@pytest.mark.parametrize("added", [b"\0", b"\n", b" " * 8, b"x" * 4096])
@pytest.mark.parametrize("verify", [None, True, False])
def test_added_bytes_are_found(tmp_path: Path, small: Embedding, added: bytes, verify: bool | None) -> None:
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
    tmp_path: Path, small: Embedding, monkeypatch: pytest.MonkeyPatch, large: bool
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


def test_what_was_not_verified_never_ends_in_another_error(tmp_path: Path, small: Embedding) -> None:
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
def test_what_is_no_embedkit_file_is_refused(tmp_path: Path, content: bytes, verify: bool | None) -> None:
    path = tmp_path / "e"
    path.write_bytes(content)
    assert refused(path, verify)


@given(st.binary(max_size=200), st.booleans())
@settings(max_examples=50)
def test_random_bytes_are_refused(folder: Path, content: bytes, sized: bool) -> None:
    path = folder / "random"
    path.write_bytes(struct.pack("<Q", len(content) + 1) + b"{" + content if sized else content)
    assert refused(path)


def test_a_safetensors_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    for metadata in (None, {"format": "pt"}, {"embedkit": "{}"}):
        save_file({"vectors": np.ones((2, 2), dtype=np.float32)}, tmp_path / "e", metadata=metadata)
        assert refused(tmp_path / "e")


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path)
    assert refused(tmp_path / "absent")
    (tmp_path / "file").write_bytes(b"")
    assert refused(tmp_path / "file" / "below")
    assert refused(Path("/dev/null"))
    assert refused(Path("/dev/zero"))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert refused(tmp_path / "loop")
    assert refused(tmp_path / ("n" * 300))


def test_a_pipe_is_refused(tmp_path: Path) -> None:
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


# -- forged: every checksum is right, the content is not ---------------------------------------------------------------

ABOUT: Mapping[str, Any] = {"schema": 1, "class": "Embedding", "columns": [], "provenance": {}}


def parts(**changed: npt.NDArray[Any] | None) -> Arrays:
    """The tensors of a sound file of two labels, some changed, some left out."""
    sound: dict[str, npt.NDArray[Any] | None] = {
        "vectors": np.array([[1, 2], [3, 4]], dtype=np.float32),
        "norms": np.sqrt(np.array([5.0, 25.0])),
        "labels": np.frombuffer(b"\na\nb\n", dtype=np.uint8),
        "label_offsets": np.array([1, 3, 5], dtype=np.int64),
    }
    sound.update({name.replace("__", "/"): array for name, array in changed.items()})
    kept = {name: array for name, array in sound.items() if array is not None}
    return dict(sorted(kept.items(), key=lambda item: -item[1].itemsize))


def text(content: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(content, dtype=np.uint8)


def test_a_forged_file_that_is_sound_loads(tmp_path: Path) -> None:
    write_tensors(parts(), ABOUT, tmp_path / "e")
    loaded = load(tmp_path / "e", verify=True)
    assert loaded == Embedding(["a", "b"], [[1, 2], [3, 4]])


@pytest.mark.parametrize("missing", ["vectors", "norms", "labels", "label_offsets"])
def test_a_missing_tensor_is_named(tmp_path: Path, missing: str) -> None:
    write_tensors(parts(**{missing: None}), ABOUT, tmp_path / "e")
    with pytest.raises(BadFile, match=f"its part '{missing}' is missing"):
        load(tmp_path / "e")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        # more or fewer labels than rows
        ({"labels": text(b"\na\n"), "label_offsets": np.array([1, 3])}, "1 labels for vectors of shape"),
        ({"labels": text(b"\na\nb\nc\n"), "label_offsets": np.array([1, 3, 5, 7])}, "3 labels for vectors"),
        ({"labels": text(b"\n"), "label_offsets": np.array([1])}, "0 labels for vectors"),
        # labels that are none
        ({"labels": text(b"")}, "do not match"),
        ({"labels": text(b"\n\0\nb\n")}, "NUL"),
        ({"labels": text(b"\na\r\n\n"), "label_offsets": np.array([1, 4, 5])}, "line break"),
        ({"labels": text(b"\n\xff\nb\n")}, "not valid UTF-8"),
        # offsets that lie
        ({"label_offsets": np.array([], dtype=np.int64)}, "do not match"),
        ({"label_offsets": np.array([1, 2, 5])}, "do not match"),
        ({"label_offsets": np.array([1, 5])}, "do not match"),
        ({"label_offsets": np.array([1, 3, 3, 5])}, "do not match"),
        ({"label_offsets": np.array([1, 10**18, 5])}, "do not match"),
        ({"label_offsets": np.array([-1, 3, 5])}, "do not match"),
        ({"label_offsets": np.array([1, 5, 3])}, "do not match"),
        # vectors of another shape or type
        ({"vectors": np.ones((2, 2))}, "vectors are float64"),
        ({"vectors": np.ones((2, 2), dtype=np.int32)}, "vectors are int32"),
        ({"vectors": np.ones((2, 2), dtype=np.bool_)}, "vectors are bool"),
        ({"vectors": np.ones((2, 2, 1), dtype=np.float32)}, "shape"),
        ({"vectors": np.ones(2, dtype=np.float32)}, "shape"),
        ({"vectors": np.ones((), dtype=np.float32)}, "shape"),
        ({"vectors": np.ones((2, 0), dtype=np.float32)}, "shape"),
        ({"vectors": np.ones((3, 2), dtype=np.float32)}, "2 labels for vectors of shape"),
        # norms and scales of another shape or type
        ({"norms": np.ones(3)}, "'norms' is float64 of shape"),
        ({"norms": np.ones(2, dtype=np.float32)}, "'norms' is float32"),
        ({"norms": np.ones((2, 1))}, "'norms' is"),
        ({"vectors": np.ones((2, 2), dtype=np.int8)}, "'scales' is missing"),
        ({"vectors": np.ones((2, 2), dtype=np.int8), "scales": np.ones(2)}, "'scales' is float64"),
        ({"vectors": np.ones((2, 2), dtype=np.int8), "scales": np.ones(1, dtype=np.float32)}, "'scales' is float32"),
    ],
)
@pytest.mark.parametrize("verify", [None, True, False])
def test_parts_that_do_not_fit_are_refused_with_right_checksums(
    tmp_path: Path, changed: Arrays, reason: str, verify: bool | None
) -> None:
    write_tensors(parts(**changed), ABOUT, tmp_path / "e")
    assert refused(tmp_path / "e", verify)
    with pytest.raises(BadFile, match=reason):
        load(tmp_path / "e", verify=verify)


@pytest.mark.parametrize(
    "offsets",
    [np.array(1, dtype=np.int64), np.array([[1, 3, 5]], dtype=np.int64), np.array([1, np.nan, 5])],
)
def test_label_offsets_that_are_no_list_of_integers_are_refused(tmp_path: Path, offsets: npt.NDArray[Any]) -> None:
    write_tensors(parts(label_offsets=offsets), ABOUT, tmp_path / "e")
    assert refused(tmp_path / "e")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"column__c": np.ones(3)}, "'column/c' is float64 of shape"),
        ({"column__c": np.ones((2, 2))}, "'column/c' is"),
        ({}, "its part 'column/c' is missing"),
        ({"text__c": text(b"ab")}, "its part 'ends/c' is missing"),
        ({"text__c": text(b"ab"), "ends__c": np.array([1])}, "'ends/c' is int64 of shape"),
        ({"text__c": text(b"ab"), "ends__c": np.array([1.0, 2.0])}, "'ends/c' is float64"),
        ({"text__c": text(b"ab"), "ends__c": np.array([2, 1])}, "do not fit"),
        ({"text__c": text(b"ab"), "ends__c": np.array([-1, 2])}, "do not fit"),
        ({"text__c": text(b"ab"), "ends__c": np.array([1, 1])}, "do not fit"),
        ({"text__c": text(b"ab"), "ends__c": np.array([1, 3])}, "do not fit"),
        ({"text__c": text(b"ab"), "ends__c": np.array([2**62, 2])}, "do not fit"),
        ({"text__c": text(b"\xff\xfe"), "ends__c": np.array([1, 2])}, "not valid UTF-8"),
        ({"text__c": text("é".encode()), "ends__c": np.array([1, 2])}, "not valid UTF-8"),
        ({"text__c": text(b"a\0b\0"), "ends__c": np.array([2, 4])}, "NUL"),
    ],
)
def test_columns_that_do_not_fit_are_refused_with_right_checksums(tmp_path: Path, changed: Arrays, reason: str) -> None:
    write_tensors(parts(**changed), {**ABOUT, "columns": ["c"]}, tmp_path / "e")
    with pytest.raises(BadFile, match=reason):
        load(tmp_path / "e")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"labels": text(b"\na\na\n")}, "label 'a' is there twice, in rows 0 and 1"),
        ({"vectors": np.array([[1, 2], [3, np.nan]], dtype=np.float32)}, r"row 1 \('b'\), column 1 is not a finite"),
        ({"vectors": np.array([[np.inf, 2], [3, 4]], dtype=np.float16)}, r"row 0 \('a'\), column 0 is not a finite"),
        (
            {"vectors": np.ones((2, 2), dtype=np.int8), "scales": np.array([1, np.nan], dtype=np.float32)},
            "'scales' holds a value that is negative or not finite",
        ),
        (
            {"vectors": np.ones((2, 2), dtype=np.int8), "scales": np.array([np.inf, 1], dtype=np.float32)},
            "'scales' holds a value that is negative or not finite",
        ),
        (
            {"vectors": np.zeros((2, 2), dtype=np.int8), "scales": np.array([np.inf, 1], dtype=np.float32)},
            "'scales' holds a value that is negative or not finite",
        ),
        ({"norms": np.array([np.nan, 5.0])}, "norm"),
        ({"norms": np.array([1.0, 1.0])}, "norm"),
    ],
)
def test_verify_checks_values_and_labels_one_by_one(tmp_path: Path, changed: Arrays, reason: str) -> None:
    write_tensors(parts(**changed), ABOUT, tmp_path / "e")
    with pytest.raises(BadFile, match=reason):
        load(tmp_path / "e", verify=True)


@pytest.mark.parametrize("schema", [0, 2, 10**9, "1", None, [], "later"])
def test_another_schema_is_refused(tmp_path: Path, schema: Any) -> None:
    write_tensors(parts(), {**ABOUT, "schema": schema}, tmp_path / "e")
    with pytest.raises(BadFile, match=r"written in schema .*, this version of embedkit reads 1"):
        load(tmp_path / "e")


@pytest.mark.parametrize("kind", ["Model", "embedding", None, 5, ["Embedding"]])
def test_another_class_is_refused(tmp_path: Path, kind: Any) -> None:
    write_tensors(parts(), {**ABOUT, "class": kind}, tmp_path / "e")
    with pytest.raises(BadFile, match="which this version of embedkit does not know"):
        load(tmp_path / "e")


@pytest.mark.parametrize("name", ["columns", "provenance", "class"])
def test_a_missing_description_is_refused(tmp_path: Path, name: str) -> None:
    write_tensors(parts(), {key: value for key, value in ABOUT.items() if key != name}, tmp_path / "e")
    assert refused(tmp_path / "e")


@pytest.mark.parametrize(
    "changed",
    [
        {"provenance": 5},
        {"provenance": [1]},
        {"provenance": "ab"},
        {"columns": 5},
        {"columns": None},
        {"columns": [[]]},
    ],
)
def test_a_description_of_another_type_is_refused(tmp_path: Path, changed: Mapping[str, Any]) -> None:
    tensors = {**parts(), "column/[]": np.array([1, 2])}
    write_tensors(tensors, {**ABOUT, **changed}, tmp_path / "e")
    assert refused(tmp_path / "e")


@pytest.mark.parametrize("about", [{"schema": "\x1b[2J\n"}, {"class": "\x1b[2J\n"}, {"columns": ["\x1b[2J\n"]}])
@pytest.mark.parametrize("given_column", [True, False])
def test_what_a_file_says_is_shown_escaped_in_one_line(
    tmp_path: Path, about: Mapping[str, Any], given_column: bool
) -> None:
    tensors = parts(**({"column__\x1b[2J\n": np.ones(3)} if given_column else {}))
    write_tensors(tensors, {**ABOUT, **about}, tmp_path / "e")
    with pytest.raises(BadFile) as caught:
        load(tmp_path / "e")
    assert str(caught.value).isprintable()


# -- forged headers --------------------------------------------------------------------------------------------------


def seal(header: Mapping[str, Any], described: str, body: bytes) -> bytes:
    """A file with the checksum of its header, written down from the format's description alone."""

    def render(checksum: str) -> bytes:
        metadata = {"embedkit": described, "sha256": checksum}
        head = json.dumps({"__metadata__": metadata, **header}).encode()
        head += b" " * (-len(head) % 8)
        return struct.pack("<Q", len(head)) + head

    return render(hashlib.sha256(render("0" * 64)).hexdigest()) + body


def reforge(path: Path, change: Callable[[dict[str, Any]], None], about: Mapping[str, Any] | None = None) -> None:
    """Write a sound file to `path`, its header changed and sealed again."""
    write_tensors(parts(), ABOUT, path)
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    described = header.pop("__metadata__")["embedkit"]
    change(header)
    path.write_bytes(seal(header, described if about is None else json.dumps(about), data[8 + length :]))


def test_a_file_written_by_hand_from_the_description_loads(tmp_path: Path) -> None:
    reforge(tmp_path / "e", lambda header: None)
    assert load(tmp_path / "e", verify=True) == Embedding(["a", "b"], [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F64"},
        {"dtype": "F16"},
        {"dtype": "BF16"},
        {"dtype": "F99"},
        {"dtype": None},
        {"dtype": []},
        {"shape": [2, 3]},
        {"shape": [4]},
        {"shape": [-2, -2]},
        {"shape": [2]},
        {"shape": []},
        {"shape": "22"},
        {"shape": None},
        {"shape": [2, "2"]},
        {"shape": [2, None]},
        {"shape": [10**9, 10**9]},
        {"shape": [2**32, 2**32]},
        {"shape": [2**62 + 1, 4]},
        {"shape": [2.5, 2]},
        {"shape": [float("nan")]},
        {"data_offsets": [0, 10**18]},
        {"data_offsets": [-16, 0]},
        {"data_offsets": [16, 0]},
        {"data_offsets": [16]},
        {"data_offsets": [0, 8, 16]},
        {"data_offsets": None},
        {"data_offsets": ["0", "16"]},
        {"shape": [0, 2], "data_offsets": [0, 0]},
    ],
)
def test_a_tensor_that_its_header_does_not_fit_is_refused(tmp_path: Path, entry: Mapping[str, Any]) -> None:
    reforge(tmp_path / "e", lambda header: header["vectors"].update(entry))
    assert refused(tmp_path / "e")
    assert refused(tmp_path / "e", verify=False)


@pytest.mark.parametrize(
    "entry",
    [
        {"shape": [float("inf")]},
        {"shape": [1] * 70 + [2, 2]},
        {"shape": [0, 10**30], "data_offsets": [0, 0]},
        {"shape": [0, 2**62, 2**62], "data_offsets": [0, 0]},
        {"data_offsets": [32.0, 48.0]},
    ],
)
def test_a_tensor_that_numpy_cannot_hold_is_refused(tmp_path: Path, entry: Mapping[str, Any]) -> None:
    reforge(tmp_path / "e", lambda header: header["vectors"].update({"data_offsets": [40, 56], **entry}))
    assert refused(tmp_path / "e")


@pytest.mark.parametrize("entry", [None, 5, "vectors", [], {}, {"dtype": "F32"}])
def test_a_header_entry_that_is_none_is_refused(tmp_path: Path, entry: Any) -> None:
    reforge(tmp_path / "e", lambda header: header.update(vectors=entry))
    assert refused(tmp_path / "e")


def test_a_tensor_without_checksum_is_refused(tmp_path: Path) -> None:
    reforge(tmp_path / "e", lambda header: None, {**ABOUT, "sha256": {}})
    assert refused(tmp_path / "e")
    assert refused(tmp_path / "e", verify=False)


@pytest.mark.parametrize("about", [[], 5, {}, {"sha256": None}, {"sha256": []}, {"sha256": {}, "schema": 2}])
def test_a_description_that_is_none_is_refused(tmp_path: Path, about: Any) -> None:
    reforge(tmp_path / "e", lambda header: None, about)
    assert refused(tmp_path / "e")


def test_the_name_of_a_bad_tensor_is_shown_escaped(tmp_path: Path) -> None:
    reforge(tmp_path / "e", lambda header: header.update({"\x1b[2J\n": {"dtype": "F99"}}))
    with pytest.raises(BadFile) as caught:
        load(tmp_path / "e")
    assert str(caught.value).isprintable()


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
        write_tensors({"c": np.ones(2, dtype=complex)}, ABOUT, tmp_path / "e")
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
