"""What is written comes back bit for bit, or is refused before anything is written."""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embedkit import Embedding, read, write
from embedkit.embedding import Storage
from embedkit.errors import BadFile, BadInput
from embedkit.formats import text_rows
from embedkit.formats.text_rows import decimal
from embedkit.formats.writing import FORMATS, Format, format_of

letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r")
words = st.one_of(
    st.text(letters, max_size=5),
    st.text(st.sampled_from("a1 .-\t\"',;\u202e\ufeff\x1bא"), max_size=5),
    st.sampled_from(
        ["nan", "NA", "null", "1", "1e5", "-0.5", ". . .", "new york", "new 1", "2 2", "BZh", "PAR1", "#x"]
    ),
)
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
columns = st.fixed_dictionaries(
    {},
    optional={
        "count": st.just("i8"),
        "share": st.just("f8"),
        "seen": st.just("?"),
        "kind": st.just("U"),
    },
)


@st.composite
def embeddings(draw: st.DrawFn) -> Embedding:
    labels = draw(st.lists(words, unique=True, min_size=1, max_size=5))
    n = len(labels)
    texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
    made: dict[str, Any] = {}
    for name, kind in draw(columns).items():
        if kind == "U":
            made[name] = draw(st.lists(texts, min_size=n, max_size=n))
        else:
            elements = finite.map(float) if kind == "f8" else None
            made[name] = draw(hnp.arrays(np.dtype(kind), n, elements=elements))
    vectors = draw(hnp.arrays(np.float32, (n, draw(st.integers(1, 5))), elements=finite))
    return Embedding(labels, vectors, columns=made)


def same_bits(a: Embedding, b: Embedding) -> bool:
    return list(a) == list(b) and a.shape == b.shape and a.vectors.tobytes() == b.vectors.tobytes()


@pytest.mark.parametrize("format_", [name for name in FORMATS if name not in ("native", "projector")])
@pytest.mark.parametrize("few", [0, 10**9], ids=["compiled", "plain Python"])
@settings(max_examples=60)
@given(embedding=embeddings())
def test_what_was_written_is_read_or_was_refused(
    tmp_path_factory: pytest.TempPathFactory, format_: Format, few: int, embedding: Embedding
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"write {format_}"
    folder.mkdir(exist_ok=True)
    path = folder / "round"
    path.write_bytes(b"what was there")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_rows, "_COMPILED_FROM", few)
        try:
            write(embedding, path, format=format_)
        except BadInput:
            assert path.read_bytes() == b"what was there"
            assert format_ in ("word2vec", "word2vec-binary", "glove")  # the others hold whatever an Embedding does
            assert any(" " in label for label in embedding) or format_ == "glove"
            return
    made = read(path, words=folder / "round.words.txt" if format_ == "npy" else None)
    assert same_bits(made, embedding)
    if format_ in ("csv", "tsv", "json", "parquet", "npz"):
        assert list(made.columns) == list(embedding.columns)
        for name, values in embedding.columns.items():
            if format_ in ("csv", "tsv") and values.dtype.kind == "U":
                continue  # the rules of tables: what looks like a number in every row is one
            assert made.columns[name].tolist() == values.tolist()


def test_all_labels_that_a_format_can_hold_are_written(tmp_path: Path) -> None:
    """So that the test above does not pass by refusing."""
    odd = ["king", "", "a\tb", "\u202eשלום", "\x1b[31m", '"x"', "nan", "1", "0.5", "#", "语"]
    spaced = ["king", "new york", ". . .", " a", "\u00a0"]
    cases: list[tuple[Format, list[str]]] = [
        ("word2vec", odd), ("word2vec-binary", odd), ("glove", odd + spaced[1:])
    ]  # fmt: skip
    for format_, labels in cases:
        embedding = Embedding(labels, np.arange(len(labels) * 2).reshape(-1, 2) / 7)
        write(embedding, tmp_path / "x", format=format_)
        assert same_bits(read(tmp_path / "x"), embedding)


@pytest.mark.parametrize(
    ("labels", "format_"),
    [(["a", "b c"], "word2vec"), (["a", "b c"], "word2vec-binary"), (["a", "b 1"], "glove"), (["a", "b "], "glove"),
     (["0.5", "a"], "glove"), (["BZhat", "a"], "glove"), (["\ufeffa", "b"], "glove"), (["a", "w" * 65537], "word2vec"),
     (["a", "b\tc"], "projector"), ([], "glove")],
)  # fmt: skip
def test_what_a_format_cannot_hold_is_said_before_anything_is_written(
    tmp_path: Path, labels: list[str], format_: Format
) -> None:
    embedding = Embedding(labels, np.ones((len(labels), 2)))
    with pytest.raises(BadInput) as caught:
        write(embedding, tmp_path / "x", format=format_)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert list(tmp_path.iterdir()) == []


def test_lines_that_readers_refuse_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="may not fit a line of 1 MiB"):
        write(Embedding(["a"], np.ones((1, 50_000))), tmp_path / "x.vec")
    wide = Embedding(["w" * 65536, "b"], np.full((2, 40_000), -1.17549435e-38))
    write(wide, tmp_path / "x.vec")
    assert same_bits(read(tmp_path / "x.vec"), wide)


@pytest.mark.parametrize("format_", ["word2vec", "word2vec-binary"])
def test_no_rows_at_all(tmp_path: Path, format_: Format) -> None:
    write(Embedding([], np.ones((0, 3))), tmp_path / "x", format=format_)
    assert read(tmp_path / "x").shape == (0, 3)


# -- numbers ---------------------------------------------------------------------------------------------------------


def test_numbers_are_the_shortest_that_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    powers = np.array([2.0**k for k in range(-149, 128)], np.float32)
    values = np.concatenate([
        powers, np.nextafter(powers, np.float32(0)), np.nextafter(powers, np.float32(np.inf)),
        rng.standard_normal(40_000).astype(np.float32),
        rng.integers(0, 0x7F800000, 40_000, dtype=np.uint32).view(np.float32),
        np.arange(3000), [0.0, -0.0, 1e-4, 1e16, 9999999e9, 9.9999e-5, 16777216, 3.4028235e38, 1e-45],
        [float(f"{value:.5g}") for value in rng.standard_normal(10_000) * 10.0 ** rng.integers(-10, 16, 10_000)],
    ]).astype(np.float32)  # fmt: skip
    values = values[np.isfinite(values)]
    values = np.concatenate([values, -values])
    texts = {}
    for few in (0, 10**9):
        monkeypatch.setattr(text_rows, "_COMPILED_FROM", few)
        write(Embedding(None, values[:, None]), tmp_path / "x.vec")
        texts[few] = [line.split(" ")[1] for line in (tmp_path / "x.vec").read_text().splitlines()[1:]]
    for text, plain, value in zip(texts[0], texts[10**9], values, strict=True):
        assert np.float32(float(text)).tobytes() == value.tobytes()
        if text != plain:  # at a power of two, where the gap below is narrower, one digit more may be written
            assert math.frexp(abs(value))[0] == 0.5
            assert len(text) <= len(plain) + 1
    assert [decimal(np.float32(value)) for value in (5, -0.0, 1e-5, 1.5e-5, 1e20, 123456.7)] == [
        "5.0", "-0.0", "1e-05", "1.5e-05", "1e+20", "123456.7"
    ]  # fmt: skip


# -- packing and naming ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "unpack"), [(".gz", gzip.decompress), (".bz2", bz2.decompress), (".xz", lzma.decompress)]
)
@pytest.mark.parametrize("name", ["x.vec", "x.bin", "x.csv", "x.tsv"])
def test_packed_by_the_ending_always_the_same(
    tmp_path: Path, royals: Embedding, name: str, ending: str, unpack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(royals, tmp_path / name)
    write(royals, tmp_path / f"{name}{ending}")
    first = (tmp_path / f"{name}{ending}").read_bytes()
    assert unpack(first) == (tmp_path / name).read_bytes()
    monkeypatch.setattr("time.time", lambda: 1e9)
    write(royals, tmp_path / f"other {name}{ending.upper()}")
    assert (tmp_path / f"other {name}{ending.upper()}").read_bytes() == first
    assert same_bits(read(tmp_path / f"{name}{ending}"), royals)


@pytest.mark.parametrize(
    ("name", "chosen", "result"),
    [("x.safetensors", None, "native"), ("x.VEC", None, "word2vec"), ("x.bin.gz", None, "word2vec-binary"),
     ("x.txt", "glove", "glove"), ("x.csv", "tsv", "tsv"), ("folder", "projector", "projector")],
)  # fmt: skip
def test_the_ending_or_the_choice_says_the_format(name: str, chosen: str | None, result: str) -> None:
    assert format_of(name, chosen) == result


@pytest.mark.parametrize(
    ("name", "chosen", "message"),
    [("x.txt", None, "does not say a format"), ("x", None, "does not say a format"), (".vec", None, "does not say"),
     ("x.gz", None, "does not say"), ("x.npy.gz", None, "not packed"), ("x.safetensors.xz", None, "not packed"),
     ("x.vec", "word3vec", "format is one of")],
)  # fmt: skip
def test_names_that_say_nothing(tmp_path: Path, royals: Embedding, name: str, chosen: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        write(royals, tmp_path / name, format=chosen)
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written(tmp_path: Path, royals: Embedding) -> None:
    for format_ in FORMATS:
        with pytest.raises(BadFile):
            write(royals, tmp_path / "no" / "such" / "folder", format=format_)
    with pytest.raises(BadFile, match="folder"):
        write(royals, tmp_path, format="csv")


@pytest.mark.parametrize("format_", [name for name in FORMATS if name != "projector"])
def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, royals: Embedding, format_: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadFile, match="No space left"):
        write(royals, path, format=format_)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


# -- each format -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
def test_every_storage(tmp_path: Path, royals: Embedding, storage: Storage) -> None:
    stored = royals.with_storage(storage)
    for name in ("x.vec", "x.bin", "x.csv", "x.npz", "x.npy", "x.safetensors"):
        write(stored, tmp_path / name)
        made = read(tmp_path / name)
        assert made.vectors.tobytes() == stored.vectors.tobytes()
    assert read(tmp_path / "x.npy").storage == ("float16" if storage == "float16" else "float32")


def test_csv_is_what_to_csv_writes(tmp_path: Path, royals: Embedding) -> None:
    odd = Embedding(
        ["a", 'b "c"', "d\te", ""],
        np.array([[0.5, 1], [2, -3], [1e-20, 1e20], [0, 0.1]]),
        columns={"share": [0.5, math.nan, 1e-9, 2.0], "kind": ["x", "", "nan", "a,b\nc"], "seen": [True, False] * 2},
    )
    for embedding in (royals, odd):
        write(embedding, tmp_path / "ours.csv")
        embedding.to_csv(tmp_path / "theirs.csv")
        ours, theirs = (
            pd.read_csv(tmp_path / name, dtype=str, keep_default_na=False) for name in ("ours.csv", "theirs.csv")
        )
        dimensions = ["x", "y"] if embedding is odd else ["x", "y", "z"]
        others = [name for name in ours.columns if name not in dimensions]
        assert list(ours.columns) == list(theirs.columns)
        assert ours[others].equals(theirs[others])
        for frame in (ours, theirs):
            assert frame[dimensions].astype(float).to_numpy().astype(np.float32).tolist() == embedding.vectors.tolist()


def test_names_that_tables_need_for_themselves(tmp_path: Path) -> None:
    for name in ("label", "x"):
        embedding = Embedding(["a"], [[1.0]], columns={name: [1]})
        for ending in (".csv", ".tsv", ".parquet"):
            with pytest.raises(BadInput, match=f"'{name}'"):
                write(embedding, tmp_path / f"t{ending}")
    assert list(tmp_path.iterdir()) == []


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, royals: Embedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"pip install 'embedkit\[parquet\]'"):
        write(royals, tmp_path / "x.parquet")


def test_npz_of_one_long_label_among_many_is_refused(tmp_path: Path) -> None:
    labels = [str(i) for i in range(3000)] + ["w" * 60_000]
    with pytest.raises(BadInput, match="choose another format"):
        write(Embedding(labels, np.ones((3001, 1))), tmp_path / "x.npz")


def test_projector_files(tmp_path: Path, royals: Embedding) -> None:
    folder = tmp_path / "projector"
    write(royals, folder, format="projector")
    metadata = (folder / "metadata.tsv").read_text().splitlines()
    assert metadata[:2] == ["label\tcount\tkind", "king\t40\troyal"]  # several columns: with a header
    vectors = [
        [float(value) for value in line.split("\t")] for line in (folder / "vectors.tsv").read_text().splitlines()
    ]
    assert vectors == royals.vectors.tolist()
    write(Embedding(royals.labels, royals.vectors), folder, format="projector")
    assert (folder / "metadata.tsv").read_text().splitlines() == list(royals)  # one column: without
    assert sorted(entry.name for entry in folder.iterdir()) == ["metadata.tsv", "vectors.tsv"]
    with pytest.raises(BadFile, match=r"begins with the number|not"):
        read(folder / "vectors.tsv")  # it has no words, and is not taken for words
