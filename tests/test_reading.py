"""One reader for every format: content tells, names do not, and what is hostile ends in one line."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gensim.models import FastText, KeyedVectors, Word2Vec

import embedkit
from embedkit import Embedding, read, write
from embedkit.errors import BadFile, BadInput
from embedkit.formats.writing import FORMATS

SENTENCES = [["the", "king", "rules", "the", "land"], ["the", "queen", "rules", "naïve", "lands"]] * 20


@pytest.mark.parametrize("name", ["plain", "x.txt", "x.bin", "x.csv", "x.safetensors", "x.gz", "x.npy"])
@pytest.mark.parametrize("format_", [name for name in FORMATS if name != "projector"])
def test_content_tells_whatever_the_name(tmp_path: Path, royals: Embedding, format_: Any, name: str) -> None:
    made = tmp_path / "made"
    write(royals, made, format=format_)
    path = tmp_path / name
    made.rename(path)
    embedding = read(path, words=tmp_path / "made.words.txt" if format_ == "npy" else None)
    assert list(embedding) == list(royals)
    assert embedding.vectors.tobytes() == royals.vectors.tobytes()
    keeps_columns = format_ in ("native", "csv", "tsv", "json", "parquet", "npz")
    assert list(embedding.columns) == (list(royals.columns) if keeps_columns else [])
    if keeps_columns:
        assert embedding == royals
    words = list(royals) if format_ == "npy" else None
    assert read(path, limit=2, words=words) == embedding.head(2)
    assert read(path, dtype="float16", words=words).storage == "float16"


def test_read_and_write_are_public() -> None:
    assert {"read", "write"} <= set(embedkit.__all__)
    assert embedkit.read is read
    assert embedkit.formats.write is write


def test_a_native_file_is_read_as_it_is(tmp_path: Path, royals: Embedding) -> None:
    royals.save(tmp_path / "n", storage="int8")
    assert read(tmp_path / "n").storage == "int8"
    assert read(tmp_path / "n").provenance == royals.with_storage("int8").provenance


@pytest.mark.parametrize(
    "content", [b"\x80\x04K\x01.", b"{}", b"\x89HDF\r\n\x1a\n", b"\0" * 100, b"just text\n", b"%PDF-1.7\n"]
)
def test_what_no_reader_knows(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(BadFile) as caught:
        read(tmp_path / "x")
    assert "\n" not in str(caught.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent", Path("/dev/null"), "a\0b"):
        with pytest.raises(BadFile):
            read(path)


# -- numpy -----------------------------------------------------------------------------------------------------------


def npy(array: Any, header: dict[str, Any] | None = None, version: tuple[int, int] = (1, 0)) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    if header is None:
        return stream.getvalue()
    text = repr(header).encode().ljust(117) + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H", len(text)) + text + np.asarray(array).tobytes()


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f2", "<f8", "i4", "u1", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_of_any_number(tmp_path: Path, dtype: str, order: Any) -> None:
    values = np.array([[1, 0, 1], [0, 1, 0]], dtype=dtype, order=order)
    (tmp_path / "x.npy").write_bytes(npy(values))
    (tmp_path / "x.words.txt").write_text("a\nb c\n")
    made = read(tmp_path / "x.npy")
    assert list(made) == ["a", "b c"]
    assert made.vectors.tolist() == values.astype(float).tolist()
    assert made.storage == ("float16" if dtype == "<f2" else "float32")


def test_npy_is_memory_mapped(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((3, 2), np.float32))
    made = read(tmp_path / "x.npy", words=["a", "b", "c"])
    base: Any = made.vectors
    while base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    assert base.filename is not None
    assert Path(base.filename) == tmp_path / "x.npy"


MATRIX = np.ones((2, 3), np.float32)
BAD_NPY = [
    (npy(MATRIX)[:-1], "the header says float32 of shape \\(2, 3\\), 24 bytes, but 23 follow it"),
    (npy(MATRIX) + b"\0", "24 bytes, but 25 follow it"),
    (npy(MATRIX)[:100], "no .npy file or is damaged"),
    (npy(MATRIX)[:7], "no .npy file or is damaged"),
    (npy(MATRIX, {"descr": "<f4", "fortran_order": False, "shape": (10**9, 10**9)}), "4,000,000,000,000,000,000 bytes"),
    (npy(MATRIX, {"descr": "<f4", "fortran_order": False, "shape": (-2, -3)}), "shape \\(-2, -3\\)"),
    (npy(MATRIX, {"descr": "<f4", "fortran_order": False, "shape": (10**30, 0)}), "shape"),
    (npy(MATRIX, {"descr": "|O", "fortran_order": False, "shape": (2, 3)}), "Python objects"),
    (npy(MATRIX, {"descr": "<f4", "fortran_order": False}), "no .npy file or is damaged"),
    (npy(MATRIX).replace(b"tran_order", b"9tran_orde"), "no .npy file or is damaged"),
    (npy(MATRIX).replace(b"(2, 3)", b"((((((")[:80] + b"(" * 47 + b"\n", "no .npy file or is damaged"),
    (npy(MATRIX, {"descr": "<f4", "fortran_order": False, "shape": (2, 3)}, (9, 0)), "no .npy file|version 9"),
    (npy(MATRIX, {"descr": "<f4", "fortran_order": False, "shape": (2, 3)}, (3, 0)), "version 3"),
    (npy(MATRIX[0]), "shape \\(3,\\): a matrix"),
    (npy(np.array([["a", "b"]])), "an array of numbers was expected"),
    (npy(np.ones((2, 3), complex)), "an array of numbers was expected"),
    (npy(np.ones((2, 3), "f4,i4")), "an array of numbers was expected"),
    (npy(np.array([[1, 2, 3], [4, np.nan, 6]], np.float32)), "row 1 \\('b'\\), column 1 is not a finite"),
    (npy(np.array([[1e39, 2, 3], [4, 5, 6]])), "row 0 \\('a'\\), column 0 is not a finite"),
    (npy(np.ones((3, 3), np.float32)), "2 words for 3 vectors"),
    (npy(np.ones((2, 0), np.float32)), "at least one dimension"),
    (b"\x93NUMPY\x02\0\xff\xff\xff\x7f" + b" " * 99, "the header says it is 2,147,483,647 bytes long"),
]


@pytest.mark.parametrize(("content", "words"), BAD_NPY)
def test_bad_npy(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    (tmp_path / "x.words.txt").write_text("a\nb\n")
    with pytest.raises(BadFile, match=words) as caught:
        read(tmp_path / "x.npy")
    assert "\n" not in str(caught.value)


def test_npy_of_objects_never_runs_them(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.write_text, (tmp_path / "sprung", "!")

    np.save(tmp_path / "x.npy", np.array([[Trap()]], dtype=object))
    np.savez(tmp_path / "x.npz", labels=np.array(["a"]), vectors=np.array([[Trap()]], dtype=object))
    for name in ("x.npy", "x.npz"):
        with pytest.raises(BadFile, match="Python objects"):
            read(tmp_path / name, words=["a"] if name == "x.npy" else None)
    assert not (tmp_path / "sprung").exists()


def test_npy_without_words_and_words_without_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", MATRIX)
    with pytest.raises(BadFile, match=r"beside it in x\.words\.txt"):
        read(tmp_path / "x.npy")
    (tmp_path / "t").write_text("a 1\n")
    with pytest.raises(BadInput, match="words go with"):
        read(tmp_path / "t", words=["a"])


def test_bad_npz(tmp_path: Path, royals: Embedding) -> None:
    path = tmp_path / "x.npz"
    write(royals, path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(BadFile):
            read(path)
    accepted = 0
    for place in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[place] ^= 0x41
        path.write_bytes(damaged)
        try:
            assert (
                read(path).vectors.tobytes() == royals.vectors.tobytes()
            )  # dates, a column's name: nothing that counts
            accepted += 1
        except BadFile:
            pass
    assert accepted < len(whole) / 6

    def refused(words: str, **arrays: Any) -> None:
        np.savez(path, **arrays)
        with pytest.raises(BadFile, match=words):
            read(path)

    refused("arrays 'labels' and 'vectors' were expected", vectors=MATRIX)
    refused("arrays 'labels' and 'vectors' were expected", nonsense=MATRIX)
    refused("n strings and a matrix", labels=["a"], vectors=MATRIX)
    refused("n strings and a matrix", labels=[1, 2], vectors=MATRIX)
    refused("not a finite", labels=["a", "b"], vectors=MATRIX * np.nan)
    refused("there twice", labels=["a", "a"], vectors=MATRIX)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.npy", npy(np.array(["a"])))
        archive.writestr("vectors.npy", npy(np.zeros((1, 2**25), np.float32)))
    with pytest.raises(BadFile, match="unpacks to more than 200 times"):
        read(path)


def test_npz_under_other_names(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x", words=["a", "b"], embeddings=np.asfortranarray(MATRIX))
    assert read(tmp_path / "x.npz") == Embedding(["a", "b"], MATRIX)


# -- gensim and fastText ----------------------------------------------------------------------------------------------


def test_gensim_saves_only_on_trust(tmp_path: Path, royals: Embedding) -> None:
    royals.to_gensim().save(str(tmp_path / "kv"))
    model = Word2Vec(SENTENCES, vector_size=8, min_count=1, epochs=1, seed=1, workers=1)
    model.save(str(tmp_path / "model"))
    for name in ("kv", "model"):
        with pytest.raises(BadFile, match=r"can run any code when opened.*trust=True"):
            read(tmp_path / name)
    assert read(tmp_path / "kv", trust=True) == royals
    made = read(tmp_path / "model", trust=True, limit=3)
    assert list(made) == model.wv.index_to_key[:3]
    assert made.vectors.tobytes() == model.wv.vectors[:3].tobytes()
    assert made.columns["count"].tolist()[0] == 60


def test_a_pickle_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(BadFile):
        read(tmp_path / "x", trust=True)
    (tmp_path / "x").write_bytes(b"\x80\x04garbage")
    with pytest.raises(BadFile, match="gensim does not load it"):
        read(tmp_path / "x", trust=True)


@pytest.fixture(scope="module")
def fasttext(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    from gensim.models.fasttext import save_facebook_model

    model = FastText(SENTENCES, vector_size=4, min_count=1, epochs=1, bucket=20, seed=1, workers=1)
    path = tmp_path_factory.mktemp("fasttext") / "model.bin"
    save_facebook_model(model, str(path))
    return path, model


def test_fasttext_models(fasttext: tuple[Path, Any], tmp_path: Path) -> None:
    path, model = fasttext
    made = read(path)
    assert set(made) == set(model.wv.index_to_key)
    for word in made:
        np.testing.assert_allclose(made[word], model.wv[word], atol=1e-6)  # with the n-grams that gensim composes
    counts = dict(zip(made, made.columns["count"].tolist(), strict=True))
    assert counts["the"] == 60
    assert made.provenance["format"] == "fastText binary"
    assert read(path, limit=2) == made.head(2)
    model.wv.save_word2vec_format(str(tmp_path / "x.vec"))
    text = read(tmp_path / "x.vec")
    assert text.vectors.tobytes() == model.wv.vectors.tobytes()


def test_damaged_fasttext_models(fasttext: tuple[Path, Any], tmp_path: Path) -> None:
    """gensim itself waits for ever for the end of a word that a cut file does not have."""
    whole = fasttext[0].read_bytes()
    path = tmp_path / "model.bin"
    for length in [*range(4, 400), *range(400, len(whole), 31)]:
        path.write_bytes(whole[:length])
        with pytest.raises(BadFile):
            read(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(BadFile, match="1 bytes follow its end"):
        read(path)
    for place in (*range(4, 100), len(whole) // 2):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            read(path)
        except BadFile:
            continue
    path.write_bytes(gzip.compress(whole))
    with pytest.raises(BadFile, match="unpack it first"):
        read(path)


# -- what others read ------------------------------------------------------------------------------------------------


def test_tables_come_back(tmp_path: Path, royals: Embedding) -> None:
    for embedding in (royals, royals.with_vectors(np.eye(4, 2)), royals.with_vectors(np.eye(4, 7))):
        embedding.to_csv(tmp_path / "x.csv")
        assert read(tmp_path / "x.csv") == embedding
        (tmp_path / "x").write_bytes(gzip.compress((tmp_path / "x.csv").read_bytes()))
        assert read(tmp_path / "x") == embedding


def test_keyed_vectors_that_gensim_wrote_as_text_without_header(tmp_path: Path, royals: Embedding) -> None:
    keyed: KeyedVectors = royals.to_gensim()
    keyed.save_word2vec_format(str(tmp_path / "x"), write_header=False)
    assert read(tmp_path / "x").vectors.tobytes() == royals.vectors.tobytes()
