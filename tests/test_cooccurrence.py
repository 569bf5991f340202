"""Co-occurrence counts against five lines of Python; slices, files, sums of two texts."""

from __future__ import annotations

import gc
import io
import itertools
import json
import subprocess
import sys
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse

from embedkit import Corpus
from embedkit.errors import BadFile, BadInput
from embedkit.text import Vocabulary
from embedkit.text.kingdom import kingdom
from embedkit.words import Cooccurrence
from embedkit.words.cooccurrence import bytes_of

Documents = list[list[str]]
Pairs = dict[tuple[str, str], float]


def oracle(documents: Documents, window: int, min_count: int, symmetric: bool, weighted: bool) -> Pairs:
    seen, counts = (
        Counter(word for document in documents for word in document),
        defaultdict[tuple[str, str], float](float),
    )
    for document in documents:
        kept = [word for word in document if seen[word] >= min_count]
        for i, j in itertools.combinations(range(len(kept)), 2):
            for pair in [(kept[i], kept[j]), (kept[j], kept[i])][: 1 + symmetric]:
                counts[pair] += (1 / (j - i) if weighted else 1) if j - i <= window else 0
    return {pair: count for pair, count in counts.items() if count}


def as_pairs(counts: Cooccurrence) -> Pairs:
    words, entries = list(counts.vocabulary), counts.matrix.tocoo()
    found = zip(entries.row.tolist(), entries.col.tolist(), entries.data.tolist(), strict=True)
    return {(words[row], words[column]): value for row, column, value in found}


def some_documents(seed: int = 0, n_words: int = 40, documents: int = 200) -> Documents:
    """Zipf's words in documents of 0 to 30 of them."""
    rng = np.random.default_rng(seed)
    p = 1 / np.arange(1, n_words + 1)
    return [[f"w{word}" for word in rng.choice(n_words, rng.integers(0, 31), p=p / p.sum())] for _ in range(documents)]


DOCUMENTS = some_documents()


# -- counts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize(("window", "min_count"), [(1, 1), (2, 30), (10, 1), (10, 50), (1000, 5)])
def test_counts_are_those_of_the_definition(symmetric: bool, weighted: bool, window: int, min_count: int) -> None:
    counts = Cooccurrence.count(
        Corpus(DOCUMENTS), window=window, min_count=min_count, symmetric=symmetric, distance_weighting=weighted
    )
    expected = oracle(DOCUMENTS, window, min_count, symmetric, weighted)
    found = as_pairs(counts)
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, rel=1e-12)
    assert counts.vocabulary == Corpus(DOCUMENTS).encode().vocabulary.prune(min_count)
    assert counts.matrix.has_canonical_format


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        pytest.param([["a", "b"], ["c", "d"]], {("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")}, id="never across"),
        pytest.param([["a"], ["b"]], set(), id="one word each"),
        pytest.param([["a", "a"]], {("a", "a")}, id="with itself"),
        pytest.param([["a", "x", "b"], ["a", "b"]], {("a", "b"), ("b", "a")}, id="rare words leave no gap"),
    ],
)
def test_which_pairs_are_near(documents: Documents, expected: set[tuple[str, str]]) -> None:
    min_count = 2 if documents[0][1:2] == ["x"] else 1
    assert set(as_pairs(Cooccurrence.count(Corpus(documents), window=1, min_count=min_count))) == expected


def test_a_word_next_to_itself_counts_from_both_sides() -> None:
    for symmetric, expected in ((True, 2.0), (False, 1.0)):
        counts = Cooccurrence.count(Corpus([["a", "a"]]), min_count=1, symmetric=symmetric)
        assert counts.matrix.toarray().tolist() == [[expected]]


def test_max_final_vocab_keeps_the_most_frequent() -> None:
    whole, part = (Cooccurrence.count(Corpus(DOCUMENTS), min_count=1, max_final_vocab=n) for n in (None, 10))
    assert 1 <= len(part.vocabulary) <= 10
    assert list(part.vocabulary) == list(whole.vocabulary)[: len(part.vocabulary)]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("memory", [1, "1kB", "30 kB", "1MB"])
@pytest.mark.parametrize("workers", [1, 3])
def test_neither_slices_nor_threads_change_a_bit(symmetric: bool, memory: str | int, workers: int) -> None:
    text = Corpus(DOCUMENTS).encode()
    whole = Cooccurrence.count(text, min_count=2, symmetric=symmetric)
    sliced = Cooccurrence.count(text, min_count=2, symmetric=symmetric, memory=memory, workers=workers)
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(sliced.matrix, name), getattr(whole.matrix, name))
    assert sliced.vocabulary == whole.vocabulary


def test_slices_of_nothing() -> None:
    counts = Cooccurrence.count(Corpus([["a"], ["b"]]), min_count=1, memory=1)
    assert counts.matrix.shape == (2, 2)
    assert counts.matrix.nnz == 0


def test_an_encoded_corpus_and_its_file_count_as_the_corpus(tmp_path: Path) -> None:
    import embedkit

    text = Corpus(DOCUMENTS).encode()
    text.save(tmp_path / "text")
    expected = as_pairs(Cooccurrence.count(Corpus(DOCUMENTS)))
    for same in (text, embedkit.load(tmp_path / "text")):
        assert as_pairs(Cooccurrence.count(same)) == expected


def test_what_was_counted_is_told() -> None:
    counts = Cooccurrence.count(Corpus(DOCUMENTS), window=3, symmetric=False, workers=2)
    assert repr(counts) == f"Cooccurrence({len(counts.vocabulary)} words, {counts.matrix.nnz:,} counts)"
    about = json.loads(json.dumps(counts.provenance))
    assert about["parameters"] == {
        "window": 3, "min_count": 5, "max_final_vocab": None, "symmetric": False, "distance_weighting": True,
    }  # fmt: skip
    assert about["corpus"]["tokens"] == sum(map(len, DOCUMENTS))
    counts.provenance["parameters"]["window"] = 9  # a copy
    assert counts.provenance["parameters"]["window"] == 3


BAD: list[tuple[str, Any]] = [
    *[(name, value) for name in ("window", "min_count", "workers") for value in (0, -1, 2.0, "2", None)],
    ("memory", 0),
    ("memory", -5),
    ("memory", "lots"),
    ("memory", "2 GiB"),
    ("memory", "-1GB"),
    ("memory", ""),
    ("max_final_vocab", -1),
]
MORE: list[tuple[str, Any]] = [
    ("memory", float("nan")),  # ValueError of int()
    ("memory", None),  # TypeError
    ("memory", "0"),  # taken, while 0 is refused
    ("max_final_vocab", "a"),  # TypeError
    ("max_final_vocab", 0),  # "0 of 40 words reach min_count=5", which is not so
    ("symmetric", "no"),  # taken for yes
    ("distance_weighting", 2),  # taken for yes
]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *BAD,
        *MORE,
    ],
)
def test_a_bad_parameter_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(BadInput, match=name):
        Cooccurrence.count(Corpus(DOCUMENTS), **{name: value})


@pytest.mark.parametrize("call", ["Cooccurrence.count(text, window=2**31 - 1)", "Word2Vec(window=2**31 - 1).fit(text)"])
def test_windows_wider_than_any_document_take_no_memory(call: str) -> None:
    code = f"""
import resource
from embedkit import Corpus, Word2Vec
from embedkit.words import Cooccurrence

resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
text = Corpus([["a", "b", "c"]] * 50)
{call}
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_no_words_are_refused() -> None:
    with pytest.raises(BadInput, match="0 of 0 words reach min_count=5"):
        Cooccurrence.count(Corpus([]))
    with pytest.raises(BadInput, match="0 of 2 words reach min_count=3"):
        Cooccurrence.count(Corpus([["a", "b"]]), min_count=3)


def test_what_is_no_corpus_is_refused() -> None:
    with pytest.raises(BadInput, match="Corpus"):
        Cooccurrence.count([["a", "b"]])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("500MB", 500_000_000), ("1.5 GB", 1_500_000_000), (" 3k ", 3000), (7, 7)]
)
def test_sizes(text: str | int, size: int) -> None:
    assert bytes_of(text) == size


# -- two texts together ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("symmetric", [True, False])
def test_merged_counts_are_those_of_both_texts(symmetric: bool) -> None:
    first, second = some_documents(1), [[f"{word}x" if word > "w2" else word for word in d] for d in some_documents(2)]
    options: dict[str, Any] = {"window": 4, "min_count": 1, "symmetric": symmetric}
    one, two, both = (Cooccurrence.count(Corpus(d), **options) for d in (first, second, first + second))
    before = as_pairs(one)
    for merged in (one.merged(two), two.merged(one)):
        assert as_pairs(merged) == pytest.approx(as_pairs(both), rel=1e-12)
        assert dict(zip(merged.vocabulary, merged.vocabulary.counts.tolist(), strict=True)) == dict(
            zip(both.vocabulary, both.vocabulary.counts.tolist(), strict=True)
        )
        assert merged.matrix.has_canonical_format
        json.dumps(merged.provenance)
    assert as_pairs(one) == before


def test_merging_with_words_of_its_own_only() -> None:
    one, two = (Cooccurrence.count(Corpus([list(words)]), min_count=1) for words in ("ab", "cd"))
    assert as_pairs(one.merged(two)) == {**as_pairs(one), **as_pairs(two)}


@pytest.mark.parametrize("changed", [{"window": 3}, {"symmetric": False}, {"distance_weighting": False}], ids=str)
def test_counts_of_another_kind_are_not_merged(changed: dict[str, Any]) -> None:
    one, two = Cooccurrence.count(Corpus(DOCUMENTS)), Cooccurrence.count(Corpus(DOCUMENTS), **changed)
    with pytest.raises(BadInput, match=f"cannot add counts with {next(iter(changed))}="):
        one.merged(two)


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Cooccurrence, Path]:
    counts = Cooccurrence.count(Corpus([["a", "b", "a", "c", "naïve"]]), min_count=1)
    counts.save(tmp_path / "counts.npz")
    return counts, tmp_path / "counts.npz"


def same(one: Cooccurrence, two: Cooccurrence) -> bool:
    return (as_pairs(one), one.vocabulary, one.provenance) == (as_pairs(two), two.vocabulary, two.provenance)


@pytest.mark.parametrize("name", ["counts.npz", "no ending", "ünï"])
def test_what_was_saved_is_loaded(tmp_path: Path, name: str) -> None:
    for counts in (
        Cooccurrence.count(Corpus(DOCUMENTS)),
        Cooccurrence.count(Corpus(DOCUMENTS), memory="1kB"),
        Cooccurrence.count(Corpus([["a"], ["b"]]), min_count=1),
    ):
        counts.save(tmp_path / name)
        assert same(Cooccurrence.load(tmp_path / name), counts)
        assert same(Cooccurrence.load(str(tmp_path / name)), counts)
        matrix = scipy.sparse.load_npz(tmp_path / name)
        assert (matrix != counts.matrix).nnz == 0
        assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_saving_where_there_is_no_folder(saved: tuple[Cooccurrence, Path]) -> None:
    with pytest.raises(BadFile, match="cannot be written"):
        saved[0].save(saved[1].parent / "absent" / "counts")


def test_a_file_that_is_refused_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "counts"
    path.write_bytes(b"PK\x03\x04" + b"\0" * 60)
    with pytest.raises(BadFile) as caught:
        Cooccurrence.load(path)
    del caught
    gc.collect()


def loads(path: Path, expected: Cooccurrence) -> bool:
    """Whether it is loaded, and then as it was; or refused. Any other error comes through."""
    try:
        found = Cooccurrence.load(path)
    except BadFile as error:
        named = error.path
    else:
        assert same(found, expected)
        return True
    assert named == str(path)
    return False


def test_every_cut_is_found(saved: tuple[Cooccurrence, Path]) -> None:
    counts, path = saved
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert not loads(path, counts), f"cut to {length} of {len(whole)} bytes"


def test_a_flipped_byte_changes_nothing_or_is_found(saved: tuple[Cooccurrence, Path]) -> None:
    # Some bytes of a zip file say nothing: those of its date, for instance.
    counts, path = saved
    whole, found = path.read_bytes(), 0
    for place in range(0, len(whole), 5):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        found += not loads(path, counts)
    assert found > len(whole) / 5 / 3


def test_a_damaged_compressed_file_is_refused(saved: tuple[Cooccurrence, Path]) -> None:
    counts, path = saved
    with np.load(path) as arrays:
        np.savez_compressed(path, **arrays)
    assert loads(path, counts)
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        loads(path, counts)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 100, b"PK\x03\x04" + b"\0" * 60, b"king 0.1 0.2\n", b"\x80\x04}\x94.", b"\x93NUMPY\x01\0v\0"],
)
def test_what_is_no_file_of_counts_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "counts").write_bytes(content)
    with pytest.raises(BadFile):
        Cooccurrence.load(tmp_path / "counts")


@pytest.mark.parametrize("place", ["", "absent", "file/below", "nul\0"])
def test_what_cannot_be_opened_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadFile):
        Cooccurrence.load(f"{tmp_path}/{place}")


def as_json(value: Any) -> npt.NDArray[np.uint8]:
    return np.frombuffer(json.dumps(value).encode(), dtype=np.uint8)


Array = npt.NDArray[Any]
FORGED: dict[str, tuple[str, Callable[[Array], Any]]] = {
    "no data": ("data", lambda _: None),
    "no words": ("words", lambda _: None),
    "negative": ("data", lambda data: -data),
    "zero": ("data", lambda data: data * 0),
    "not a number": ("data", lambda data: data * np.nan),
    "infinite": ("data", lambda data: data + np.inf),
    "too few counts": ("data", lambda data: data[:-1]),
    "counts of text": ("data", lambda data: data.astype(str)),
    "counts of objects": ("data", lambda data: data.astype(object)),
    "columns beyond": ("indices", lambda columns: columns + 2),
    "columns before": ("indices", lambda columns: columns - 1),
    "column far beyond": ("indices", lambda columns: columns + 2**30),
    "starts fall": ("indptr", lambda starts: starts[::-1].copy()),
    "too few starts": ("indptr", lambda starts: starts[:-1]),
    "a start too many": ("indptr", lambda starts: np.append(starts, 99)),
    "starts beyond": ("indptr", lambda starts: starts * 9),
    "a table": ("data", lambda data: data[None]),
    "rising counts of words": ("word_counts", lambda counts: counts[::-1].copy()),
    "no counts of words": ("word_counts", lambda counts: counts * 0),
    "a word less": ("word_counts", lambda counts: counts[:-1]),
    "words shifted": ("word_offsets", lambda offsets: offsets + 1),
    "half a letter": ("words", lambda blob: np.where(blob == 0xC3, np.uint8(0xFF), blob)),
    "no json": ("about", lambda _: np.frombuffer(b"{", dtype=np.uint8)),
}
SUBTLE: dict[str, tuple[str, Callable[[Array], Any]]] = {
    "a list as provenance": ("about", lambda _: as_json([1])),
    "a number as provenance": ("about", lambda _: as_json(5)),
    "a string as provenance": ("about", lambda _: as_json("x")),
    "words twice": ("words", lambda blob: np.where(blob == ord("b"), np.uint8(ord("a")), blob)),
    "columns twice": ("indices", lambda columns: columns * 0),
    "counts of words with fractions": ("word_counts", lambda counts: counts + 0.5),
    "complex counts": ("data", lambda data: data * 1j),
    "columns with fractions": ("indices", lambda columns: columns * 1.0),
}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *(pytest.param(*case, id=name) for name, case in FORGED.items()),
        *(
            pytest.param(
                *case,
                id=name,
            )
            for name, case in SUBTLE.items()
        ),
    ],
)
def test_a_file_that_is_whole_but_makes_no_sense_is_refused(
    saved: tuple[Cooccurrence, Path], name: str, change: Callable[[Array], Any]
) -> None:
    path = saved[1]
    with np.load(path) as arrays:
        parts = {key: arrays[key] for key in arrays}
    parts[name] = change(parts[name])
    with path.open("wb") as stream:
        np.savez(stream, **{key: value for key, value in parts.items() if value is not None})
    with pytest.raises(BadFile):
        Cooccurrence.load(path)


def test_a_size_that_cannot_be_is_refused(saved: tuple[Cooccurrence, Path]) -> None:
    path = saved[1]
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**15,)})
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, header.getvalue() if name == "data.npy" else content)
    with pytest.raises(BadFile):
        Cooccurrence.load(path)


# -- made by hand ------------------------------------------------------------------------------------------------------


def test_a_matrix_of_another_size_is_refused() -> None:
    with pytest.raises(BadInput, match="2 words for counts of shape"):
        Cooccurrence(Vocabulary(["a", "b"], [2, 1]), scipy.sparse.eye(3), {})


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_counts_that_are_no_counts_are_refused(value: float) -> None:
    with pytest.raises(BadInput, match="count"):
        Cooccurrence(Vocabulary(["a", "b"], [2, 1]), np.array([[1, value], [0, 2]]), {})


def test_the_kingdom_is_counted_alike_in_slices() -> None:
    whole, sliced = (Cooccurrence.count(kingdom(1000), window=8, memory=memory) for memory in ("2GB", "20kB"))
    assert (whole.matrix != sliced.matrix).nnz == 0
    assert whole.matrix.sum() > 0
