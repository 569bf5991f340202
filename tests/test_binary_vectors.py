"""word2vec's binary format: what is written comes back bit for bit, what is cut or wrong does not."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gensim.models import KeyedVectors
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embedkit import Embedding, read, write
from embedkit.errors import BadFile
from embedkit.formats import binary_vectors, collecting
from embedkit.formats.binary_vectors import is_binary, read_binary


@pytest.fixture(params=["plain Python", "compiled"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Small files take the one way, large ones the other; here both take all."""
    few = 0 if request.param == "compiled" else 10**9
    monkeypatch.setattr(binary_vectors, "_COMPILED_FROM", few)
    monkeypatch.setattr(collecting, "_COMPILED_FROM", few)
    return str(request.param)


def packed(rows: dict[str | bytes, list[float]], *, header: bytes = b"", end: bytes = b"\n") -> bytes:
    """A file of these rows."""
    width = len(next(iter(rows.values())))
    records = [
        (word if isinstance(word, bytes) else word.encode()) + b" " + np.array(values, "<f4").tobytes() + end
        for word, values in rows.items()
    ]
    return (header or b"%d %d\n" % (len(rows), width)) + b"".join(records)


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    def file(content: bytes) -> Path:
        path = tmp_path / "vectors.dat"
        path.write_bytes(content)
        return path

    return file


File = Callable[[bytes], Path]
ROYALS: dict[str | bytes, list[float]] = {"king": [0.1, -2.0], "naïve": [1e-40, -0.0], "語": [3e38, 10.0]}

letters = st.characters(exclude_categories=["Cs", "Zs"], exclude_characters="\0\n\r ")
embeddings = st.lists(st.text(letters, max_size=6), unique=True, max_size=6).flatmap(
    lambda words: st.builds(
        Embedding,
        st.just(words),
        st.integers(3, 6).flatmap(
            lambda width: hnp.arrays(
                np.float32, (len(words), width), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)
            )
        ),
    )
)


@given(embeddings, st.booleans())
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, embedding: Embedding, breaks: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "round.bin"
    if breaks:
        write(embedding, path)
    else:
        content = b"%d %d\n" % embedding.shape
        rows = (word.encode() + b" " + row.tobytes() for word, row in zip(embedding, embedding.vectors, strict=True))
        path.write_bytes(content + b"".join(rows))
    for few in (0, 10**9):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(binary_vectors, "_COMPILED_FROM", few)
            made = read_binary(path)
            assert list(made) == list(embedding)
            assert made.vectors.tobytes() == embedding.vectors.tobytes()
    if len(embedding):
        assert read(path).provenance["format"] == "word2vec binary"


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_every_cut_and_every_addition_is_refused(way: str, file: File, end: bytes) -> None:
    whole = packed(ROYALS, end=end)
    assert list(read(file(whole))) == list(ROYALS)
    for length in range(len(whole)):
        for reader in (read, read_binary):
            with pytest.raises(BadFile):
                reader(file(whole[:length]))
    for added in (b"\n", b"\0", b"more ", whole):
        with pytest.raises(BadFile):
            read(file(whole + added))


HEAD = b"2 2\n"
NAN, INF = np.array([1, np.nan], "<f4").tobytes(), np.array([-np.inf, 1], "<f4").tobytes()
ONE = np.array([0.1, 0.2], "<f4").tobytes()


@pytest.mark.parametrize(
    ("content", "place", "words"),
    [
        (HEAD + b"a " + ONE + b"b " + NAN, "record 2", "column 2 is nan, which is not finite"),
        (HEAD + b"a " + INF + b"b " + ONE, "record 1", "column 1 is -inf, which is not finite"),
        (HEAD + b"a " + ONE + b"a " + ONE, "", "'a' is there twice, at record 1 and record 2"),
        (HEAD + b"a\xff " + ONE + b"b " + ONE, "record 1", "not valid UTF-8"),
        (HEAD + b"a\0 " + ONE + b"b " + ONE, "record 1", "holds a NUL"),
        (HEAD + b"a " + ONE + b"b\r " + ONE, "record 2", "holds a NUL character or a line break"),
        (HEAD + b"a " + ONE + b"b\nc " + ONE, "record 2", "holds a NUL character or a line break"),
        (HEAD + b"a " + ONE + b"\nb " + ONE, "record 2", "ends inside record 2|more after|no line feed"),
        (HEAD + b"a " + ONE + b"\nb " + ONE + b"x", "record 2", "no line feed after it"),
        (HEAD + b"a " + ONE + b"\nbcd" + ONE + b"\n", "record 2", "ends inside"),
        (b"3 2\na " + ONE + b"b " + ONE + b"some more", "record 3", "ends inside record 3 of the 3"),
        (b"1 2\na " + ONE + b"b " + ONE, "record 2", "the header says 1 records, the file has more"),
        (b"9 2\na " + ONE + b"b " + ONE, "line 1", "9 records of 2 dimensions: 81 bytes at least, but 20 follow it"),
        (b"1000000000 1000000000\na " + ONE, "line 1", "1,000,000,000 dimensions"),
        (b"1000000000 300\na " + ONE, "line 1", "1,000,000,000 records of 300 dimensions"),
        (b"2 2\n" + b"\x01" * 65537 + b" " + ONE, "record 1", "no space within 64 KiB"),
    ],
)
def test_what_is_wrong_is_named(way: str, file: File, content: bytes, place: str, words: str) -> None:
    path = file(content)
    with pytest.raises(BadFile, match=words) as caught:
        read(path)
    assert caught.value.place == place
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "header", [b"", b"king\n", b"2\n", b"2 2 2\n", b"+2 2\n", b"2 0\n", b"-1 2\n", b"2 2", b"2.0 2\n"]
)
def test_no_header(file: File, header: bytes) -> None:
    with pytest.raises(BadFile, match="line 1"):
        read_binary(file(header + b"a " + ONE))


def test_choices(way: str, file: File) -> None:
    whole = packed(ROYALS)
    everything = read(file(whole))
    assert read(file(whole), limit=2) == everything.head(2)
    assert read(file(whole + b"broken"), limit=2) == everything.head(2)
    assert read(file(whole), limit=9) == everything
    assert read(file(whole), limit=0).shape == (0, 2)
    small = packed({"a": [0.1, 0.2], "b": [1.0, 2.0]})
    assert read(file(small), dtype="float16").storage == "float16"
    with pytest.raises(BadFile, match="record 3: column 1 is 3e\\+38, too large for float16"):
        read(file(whole), dtype="float16")
    twice = b"3 1\n" + packed({"a": [0.1], "b": [0.2]})[4:] + packed({"a": [0.3]})[4:]
    made = read(file(twice), duplicates="first")
    assert (list(made), made["a"].tolist()) == (["a", "b"], [np.float32(0.1)])
    assert made.provenance["duplicates_dropped"] == 1
    bad = packed({b"a\xff": [0.1, 0.2], "b": [0.1, 0.2]})
    assert list(read(file(bad), errors="replace")) == ["a\ufffd", "b"]


def test_packed_and_large(tmp_path: Path, rng: np.random.Generator) -> None:
    """Nine megabytes: records cross the blocks that are read at a time."""
    n = 60_000
    large = Embedding([f"w{i * 7}" for i in range(n)], rng.standard_normal((n, 37)).astype(np.float32))
    path = tmp_path / "large.bin"
    write(large, path)
    assert read(path) == large
    assert read(path, limit=41_000) == large.head(41_000)
    (tmp_path / "large.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
    assert read(tmp_path / "large.gz") == large
    content = path.read_bytes()
    path.write_bytes(content[:5_000_000] + b"\xff\xff\xff\x7f" * 40 + content[5_000_160:])
    with pytest.raises(BadFile, match=r"record 3\d{4}: "):
        read(path)


def test_a_text_file_called_bin_and_a_binary_file_called_txt(tmp_path: Path) -> None:
    embedding = Embedding(["king", "queen"], [[0.5, 1.0], [2.0, 3.0]])
    write(embedding, tmp_path / "text.bin", format="word2vec")
    write(embedding, tmp_path / "binary.txt", format="word2vec-binary")
    assert read(tmp_path / "text.bin") == read(tmp_path / "binary.txt") == embedding
    assert read(tmp_path / "text.bin").provenance["format"] == "word2vec text"
    assert not is_binary(b"2 3\nking x 1 2\nqueen 1 2 3\n")  # a damaged text file is no binary one


def test_a_huge_header_before_a_hole_ends_at_once(tmp_path: Path) -> None:
    path = tmp_path / "hole"
    path.write_bytes(b"20000000 1\nking")
    os.truncate(path, 2**30)
    with pytest.raises(BadFile, match="record 1: no space within 64 KiB"):
        read(path)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # gensim leaves a file open
def test_gensim_reads_what_is_written_and_what_it_writes_is_read(tmp_path: Path, rng: np.random.Generator) -> None:
    words = [f"w{i}é" for i in range(300)]
    embedding = Embedding(words, rng.standard_normal((300, 25)).astype(np.float32))
    for suffix, binary in ((".bin", True), (".bin.gz", True), (".vec", False), (".vec.gz", False)):
        ours, theirs = tmp_path / f"ours{suffix}", tmp_path / f"theirs{suffix}"
        write(embedding, ours)
        keyed = KeyedVectors.load_word2vec_format(str(ours), binary=binary)
        assert keyed.index_to_key == words
        assert keyed.vectors.tobytes() == embedding.vectors.tobytes()
        embedding.to_gensim().save_word2vec_format(str(theirs), binary=binary)
        made = read(theirs)
        assert list(made) == words
        assert made.vectors.tobytes() == embedding.vectors.tobytes()
    write(embedding, tmp_path / "glove", format="glove")
    keyed = KeyedVectors.load_word2vec_format(str(tmp_path / "glove"), no_header=True)
    assert keyed.vectors.tobytes() == embedding.vectors.tobytes()
