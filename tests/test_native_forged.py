"""Native files that somebody forged: every checksum is right, the content is not, and they never load."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from embedkit import Embedding, load
from embedkit.errors import BadFile
from embedkit.files.store import write_tensors

Arrays = dict[str, npt.NDArray[Any]]
Refused = Callable[..., bool]


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
    tmp_path: Path, changed: Arrays, reason: str, verify: bool | None, refused: Refused
) -> None:
    write_tensors(parts(**changed), ABOUT, tmp_path / "e")
    assert refused(tmp_path / "e", verify)
    with pytest.raises(BadFile, match=reason):
        load(tmp_path / "e", verify=verify)


@pytest.mark.parametrize(
    "offsets",
    [np.array(1, dtype=np.int64), np.array([[1, 3, 5]], dtype=np.int64), np.array([1, np.nan, 5])],
)
def test_label_offsets_that_are_no_list_of_integers_are_refused(
    tmp_path: Path, offsets: npt.NDArray[Any], refused: Refused
) -> None:
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
def test_a_missing_description_is_refused(tmp_path: Path, name: str, refused: Refused) -> None:
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
def test_a_description_of_another_type_is_refused(tmp_path: Path, changed: Mapping[str, Any], refused: Refused) -> None:
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
def test_a_tensor_that_its_header_does_not_fit_is_refused(
    tmp_path: Path, entry: Mapping[str, Any], refused: Refused
) -> None:
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
def test_a_tensor_that_numpy_cannot_hold_is_refused(tmp_path: Path, entry: Mapping[str, Any], refused: Refused) -> None:
    reforge(tmp_path / "e", lambda header: header["vectors"].update({"data_offsets": [40, 56], **entry}))
    assert refused(tmp_path / "e")


@pytest.mark.parametrize("entry", [None, 5, "vectors", [], {}, {"dtype": "F32"}])
def test_a_header_entry_that_is_none_is_refused(tmp_path: Path, entry: Any, refused: Refused) -> None:
    reforge(tmp_path / "e", lambda header: header.update(vectors=entry))
    assert refused(tmp_path / "e")


def test_a_tensor_without_checksum_is_refused(tmp_path: Path, refused: Refused) -> None:
    reforge(tmp_path / "e", lambda header: None, {**ABOUT, "sha256": {}})
    assert refused(tmp_path / "e")
    assert refused(tmp_path / "e", verify=False)


@pytest.mark.parametrize("about", [[], 5, {}, {"sha256": None}, {"sha256": []}, {"sha256": {}, "schema": 2}])
def test_a_description_that_is_none_is_refused(tmp_path: Path, about: Any, refused: Refused) -> None:
    reforge(tmp_path / "e", lambda header: None, about)
    assert refused(tmp_path / "e")


def test_the_name_of_a_bad_tensor_is_shown_escaped(tmp_path: Path) -> None:
    reforge(tmp_path / "e", lambda header: header.update({"\x1b[2J\n": {"dtype": "F99"}}))
    with pytest.raises(BadFile) as caught:
        load(tmp_path / "e")
    assert str(caught.value).isprintable()
