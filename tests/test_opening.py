"""Files opened whatever packs them: the whole content or a BadFile, never a part of it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedkit.errors import BadFile
from embedkit.files import opening
from embedkit.files.opening import opened, packed

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}
PACKED = ["gzip", "bzip2", "xz"]
TEXT = b"the king\nthe queen\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples of a hypothesis test."""
    return tmp_path_factory.mktemp("opening")


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def read(path: str | os.PathLike[str]) -> bytes:
    with opened(path) as stream:
        return stream.read()


@given(st.binary(max_size=200), st.sampled_from(list(PACKERS)), st.integers(1, 3))
def test_the_content_is_read_whatever_packs_it(folder: Path, data: bytes, kind: str, n: int) -> None:
    path = write(folder / "any", PACKERS[kind](b"a" + data) * n)
    assert read(path) == (b"a" + data) * n
    assert packed(path) == (kind != "plain")


@pytest.mark.parametrize("kind", PACKERS)
def test_lines_and_blocks_are_read_alike(kind: str, tmp_path: Path) -> None:
    content = b"".join(b"%d " % number * 100 + b"\n" for number in range(3000))
    path = write(tmp_path / "a", PACKERS[kind](content))
    with opened(path) as stream:
        assert b"".join(stream) == content
    with opened(path) as stream:
        parts = []
        while part := stream.read(999_983):
            parts.append(part)
        assert b"".join(parts) == content
    assert stream.closed


@pytest.mark.parametrize("data", [b"", b"\x1f", b"B", b"BZ", b"\xfd7z", b"\n"])
def test_short_files_are_plain(data: bytes, tmp_path: Path) -> None:
    assert read(write(tmp_path / "a", data)) == data
    assert not packed(tmp_path / "a")


@pytest.mark.parametrize("kind", PACKED)
def test_packed_emptiness_is_empty(kind: str, tmp_path: Path) -> None:
    assert read(write(tmp_path / "a", PACKERS[kind](b""))) == b""


@pytest.mark.parametrize("text", [b"BZh", b"BZhang wrote this", b"BZh9 is a level of bzip2\n"])
def test_text_that_begins_like_bzip2_is_text(text: bytes, tmp_path: Path) -> None:
    assert read(write(tmp_path / "a", text)) == text


@pytest.mark.parametrize("kind", PACKED)
def test_a_packed_file_cut_anywhere_is_refused(kind: str, tmp_path: Path) -> None:
    whole = PACKERS[kind](TEXT)
    for length in range(6, len(whole)):
        path = write(tmp_path / "a", whole[:length])
        with pytest.raises(BadFile, match=f"its {kind} data is cut or damaged") as caught:
            read(path)
        assert caught.value.path == str(path)
        assert caught.value.place.startswith("after byte ")


@pytest.mark.parametrize("kind", PACKED)
def test_a_flipped_bit_never_changes_the_content(kind: str, tmp_path: Path) -> None:
    whole = PACKERS[kind](TEXT)
    refused = 0
    for place in range(6, len(whole)):  # without its magic number it is another file
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            try:
                assert read(write(tmp_path / "a", bytes(damaged))) == TEXT
            except BadFile:
                refused += 1
    assert refused > 4 * len(whole)


@pytest.mark.parametrize(
    "kind",
    [
        "gzip",
        pytest.param(
            "bzip2",
        ),
        pytest.param(
            "xz",
        ),
    ],
)
@pytest.mark.parametrize("second", [b"X", b"no stream", None], ids=["a byte", "text", "a damaged stream"])
def test_what_follows_a_stream_is_never_left_out_silently(kind: str, second: bytes | None, tmp_path: Path) -> None:
    pack = PACKERS[kind]
    damaged = b"X" + pack(b"two")[1:] if second is None else second
    with pytest.raises(BadFile):
        read(write(tmp_path / "a", pack(b"one") + damaged))


@pytest.mark.parametrize(
    ("kind", "padding"),
    [
        ("gzip", b"\0" * 512),
        pytest.param(
            "xz",
            b"\0" * 4,
        ),
    ],
)
def test_the_padding_that_a_format_allows_is_passed_over(kind: str, padding: bytes, tmp_path: Path) -> None:
    assert read(write(tmp_path / "a", PACKERS[kind](TEXT) + padding)) == TEXT


@pytest.mark.parametrize("name", ["missing", "missing/a", "file/a", ".", "a\0b", "a\ud800b", "x" * 300])
@pytest.mark.parametrize("look", [read, packed])
def test_what_cannot_be_opened_is_named(name: str, look: Callable[[Any], Any], tmp_path: Path) -> None:
    write(tmp_path / "file", b"x")
    with pytest.raises(BadFile) as caught:
        look(f"{tmp_path}/{name}")
    assert str(caught.value).isprintable()


def test_pipes_and_devices_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(BadFile, match="not a regular file"):
            read(path)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that opens but cannot be read")
def test_a_file_that_fails_while_it_is_read_is_named() -> None:
    with pytest.raises(BadFile, match="Input/output error"):
        read("/proc/self/mem")


def test_an_error_of_the_reader_is_left_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a", gzip.compress(b"x"))
    with pytest.raises(OSError, match="mine") as caught, opened(path):
        raise OSError("mine")
    assert not isinstance(caught.value, BadFile)


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize(("size", "fine"), [(200_000, True), (900_000, False)])
def test_what_unpacks_without_measure_is_refused_early(
    kind: str, size: int, fine: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_BOMB_BYTES", 500_000)
    path = write(tmp_path / "a", PACKERS[kind](b"\0" * size))
    assert size < 500_000 or size / path.stat().st_size > 200
    if fine:
        assert len(read(path)) == size
        return
    with pytest.raises(BadFile, match="unpacks to more than 200 times its size") as caught:
        read(path)
    given_out = int(caught.value.place.removeprefix("after byte ").removesuffix(" of its content"))
    assert given_out <= size


def test_text_that_packs_well_is_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_BOMB_BYTES", 1000)
    content = b"".join(b"%d\n" % number for number in range(100_000))
    for kind in PACKED:
        assert read(write(tmp_path / "a", PACKERS[kind](content))) == content
