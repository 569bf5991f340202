"""Tables in: which column is what, exact round trips, and everything that must not be read silently."""

from __future__ import annotations

import bz2
import csv
import gzip
import hashlib
import io
import lzma
import math
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embedkit import Embedding
from embedkit.errors import BadFile, BadInput
from embedkit.formats import delimited
from embedkit.formats.tables import from_table, read_table

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r"), max_size=5)
odd_words = words | st.sampled_from(
    ["nan", "NA", "null", "", "1", "007", '"', '""', ",", "a,b", '","', "#x", "True", " "]
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
odd_texts = texts | st.sampled_from(["nan", "1", "2.5", "", "\n", "\r\n", '"\n"', "True", ",,"])


@st.composite
def embeddings(draw: st.DrawFn) -> Embedding:
    labels = draw(st.lists(odd_words, unique=True, max_size=8))
    n = len(labels)
    columns: dict[str, npt.NDArray[Any]] = {}
    if draw(st.booleans()):
        names = draw(st.permutations(["1.5", "inf", " a", '"', "a,b", "kind", "7", "X", "nan"]))
        columns = {
            names[0]: np.array(draw(st.lists(odd_texts, min_size=n, max_size=n)), dtype=np.str_),
            names[1]: draw(hnp.arrays(np.bool_, n)),
            names[2]: draw(hnp.arrays(np.int64, n)),
            names[3]: draw(hnp.arrays(np.uint64, n)),
            names[4]: draw(hnp.arrays(np.float64, n)),
        }
        if np.isnan(columns[names[4]]).all():  # indistinguishable from empty texts
            columns[names[4]] = np.zeros(n)
    finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
    return Embedding(
        labels, draw(hnp.arrays(np.float32, (n, draw(st.integers(1, 5))), elements=finite)), columns=columns
    )


def written(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def same(back: Embedding, embedding: Embedding) -> None:
    assert back == embedding
    assert back.vectors.tobytes() == embedding.vectors.tobytes()
    if len(embedding):
        kinds = [values.dtype.kind for values in embedding.columns.values()]
        # What was unsigned comes back signed where it fits.
        assert [k.replace("u", "i") for k in kinds] == [v.dtype.kind.replace("u", "i") for v in back.columns.values()]


# -- round trips -----------------------------------------------------------------------------------------------------


@given(embeddings())
def test_what_to_csv_wrote_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, embedding: Embedding
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.csv"
    embedding.to_csv(path)
    same(read_table(path), embedding)


@given(embeddings())
@settings(max_examples=50)
def test_frames_come_back_bit_for_bit(embedding: Embedding) -> None:
    if len(embedding):
        same(from_table(embedding.to_frame()), embedding)


@given(embeddings())
@settings(max_examples=30)
def test_parquet_comes_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, embedding: Embedding) -> None:
    pytest.importorskip("pyarrow")
    if len(embedding):
        path = tmp_path_factory.getbasetemp() / "round.parquet"
        embedding.to_frame().to_parquet(path)
        same(read_table(path), embedding)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_tables_are_read(tmp_path: Path, royals: Embedding, pack: Callable[[bytes], bytes]) -> None:
    royals.to_csv(tmp_path / "e.csv")
    packed = written(tmp_path, pack((tmp_path / "e.csv").read_bytes()), "e.dat")
    assert read_table(packed) == royals


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_every_dialect_reads_the_same(tmp_path: Path, delimiter: str, quoting: Any, ending: str) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter, quoting=quoting, lineterminator=ending)
    writer.writerow(["word", "note", "a", "b", "c"])
    writer.writerow([f"x{delimiter}", 'say "hi"', 1.5, -2, 3e-7])
    writer.writerow(["naïve", "two\nlines", 0.1, 16777217, 1e-45])
    found = read_table(written(tmp_path, stream.getvalue()))
    assert list(found) == [f"x{delimiter}", "naïve"]
    assert found.columns["note"].tolist() == ['say "hi"', "two\nlines"]
    expected = np.array([[1.5, -2, 3e-7], [0.1, 16777217, 1e-45]], dtype=np.float32)
    assert found.vectors.tobytes() == expected.tobytes()


@given(st.lists(st.text("0123456789.eE+-_ naifNAxjX,\t\x0b\xa0١", max_size=8), min_size=1, max_size=6))
@example(["1e400", "-1e39", "inf"])
@example(["NA", " ", "NULL"])
def test_the_fast_way_and_the_careful_way_agree(cells: list[str]) -> None:
    """numpy's reader must take as a number nothing else than the rule says, and give the same bits."""
    batch = [delimited.Record(i, f'"{cell}",1') for i, cell in enumerate(cells)]
    if not all(delimited.is_number(cell) or delimited.is_missing(cell) for cell in cells):
        with pytest.raises(BadFile, match=r"^t: line \d: column 'a' holds numbers, and here"):
            delimited.numbers(batch, ",", [0], ["a", "b"], "t")
        return
    careful = [float(cell.strip()) if delimited.is_number(cell) else math.nan for cell in cells]
    with np.errstate(over="ignore"):
        expected = np.array(careful).astype(np.float32)
    np.testing.assert_array_equal(delimited.numbers(batch, ",", [0], ["a", "b"], "t")[:, 0], expected)


# -- which column is what --------------------------------------------------------------------------------------------

ANIMALS = "species,name,kind,weight,height\nfelis,tom,cat,4,25\ncanis,rex,dog,30,60\nlupus,rolf,dog,40,70\n"


@pytest.mark.parametrize(
    ("content", "options", "labels", "columns", "first"),
    [
        (ANIMALS, {}, ["felis", "canis", "lupus"], ["name", "kind"], [4, 25]),
        (ANIMALS, {"label": "name"}, ["tom", "rex", "rolf"], ["species", "kind"], [4, 25]),
        (ANIMALS, {"label": "weight"}, ["4", "30", "40"], ["species", "name", "kind"], [25]),
        (ANIMALS, {"columns": []}, ["felis", "canis", "lupus"], [], [4, 25]),
        (ANIMALS, {"columns": ["species"]}, ["tom", "rex", "rolf"], ["species"], [4, 25]),
        (ANIMALS, {"columns": ["weight"]}, ["felis", "canis", "lupus"], ["weight"], [25]),
        (ANIMALS, {"features": ["height"]}, ["felis", "canis", "lupus"], ["name", "kind", "weight"], [25]),
        (ANIMALS, {"features": ["height", "weight"], "columns": []}, ["felis", "canis", "lupus"], [], [25, 4]),
        ("kind,x,y\na,1,2\na,3,4\n", {}, ["0", "1"], ["kind"], [1, 2]),
        ('note,word,x\n"",w1,1\n"",w2,2\n', {}, ["w1", "w2"], ["note"], [1]),
        ('note,x\n"a\nb",1\nc,2\n', {}, ["0", "1"], ["note"], [1]),
        ("ID,x\n007,1\n7,2\n", {}, ["007", "7"], [], [1]),
        ("label,p0,p1\n5,1,2\n5,3,4\n", {"columns": ["label"]}, ["0", "1"], ["label"], [1, 2]),
        ("label,age,x,y\na,50,1,2\nb,60,3,4\n", {}, ["a", "b"], ["age"], [1, 2]),
        ("label,age,x,z\na,50,1,2\nb,60,3,4\n", {}, ["a", "b"], [], [50, 1, 2]),
        ("name,age,x,y\na,50,1,2\nb,60,3,4\n", {}, ["a", "b"], [], [50, 1, 2]),
        ("label,x\nnan,1\nnull,2\nNA,3\n", {}, ["nan", "null", "NA"], [], [1]),
        ("1,2\n3,4\n", {}, ["0", "1"], [], [1, 2]),
        ("king,1,2\nqueen,3,4\n", {}, ["king", "queen"], [], [1, 2]),
        (",w,x\n0,a,1\n1,b,2\n", {"label": "w"}, ["a", "b"], [], [1]),
        (",0,1\nking,1,2\nqueen,3,4\n", {}, ["king", "queen"], [], [1, 2]),
        ("word,2019,2020\nking,1,2\n", {}, ["king"], [], [1, 2]),
        ("0,1\n2,3\n", {}, ["0", "1"], [], [0, 1]),
        ("\ufeffword,x\na,1\n", {}, ["a"], [], [1]),
        ("x\n1\n2\n", {}, ["0", "1"], [], [1]),
        ("word\tx\n\na\t1\n\n\nb\t2\n\n", {}, ["a", "b"], [], [1]),
        ("a;b\n1.5;2\n3;4\n", {}, ["0", "1"], [], [1.5, 2]),
        ("word,x\n a , 1 \n", {}, [" a "], [], [1]),
        ('word,x\n"",1\n', {}, [""], [], [1]),
        ("word,flag,x\na,True,1\nb,False,2\n", {}, ["a", "b"], ["flag"], [1]),
    ],
)  # fmt: skip
def test_columns_have_the_roles_they_should(
    tmp_path: Path, content: str, options: dict[str, Any], labels: list[str], columns: list[str], first: list[float]
) -> None:
    found = read_table(written(tmp_path, content), **options)
    assert list(found) == labels
    assert list(found.columns) == columns
    assert found.vectors[0].tolist() == first


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["True", "False"], np.array([True, False])),
        (["TRUE", "false"], np.array([True, False])),
        (["1", "-2"], np.array([1, -2])),
        (["1", "18446744073709551615"], np.array([1, 2**64 - 1], dtype=np.uint64)),
        (["-1", "18446744073709551615"], np.array([-1.0, 2.0**64])),
        (["1", ""], np.array([1.0, math.nan])),
        (["1.5", "inf"], np.array([1.5, math.inf])),
        (["1", "NA"], np.array([1.0, math.nan])),
        (["01", "02"], np.array(["01", "02"])),
        (["1", "x"], np.array(["1", "x"])),
        (["", ""], np.array(["", ""])),
        (["nan", "x"], np.array(["nan", "x"])),
        (["9" * 30, "1"], np.array([1e30, 1.0])),
        (["9" * 5000, "1"], np.array([math.inf, 1.0])),
        (['"1"', '"2"'], np.array(["1", "2"])),
        (['"1"', "2"], np.array(["1", "2"])),
    ],
)
def test_kept_columns_hold_what_they_say(tmp_path: Path, cells: list[str], expected: npt.NDArray[Any]) -> None:
    path = written(tmp_path, f"id,c,x\na,{cells[0]},1\nb,{cells[1]},2\n")
    column = read_table(path, columns=["c"]).columns["c"]
    assert column.dtype.kind == expected.dtype.kind
    np.testing.assert_array_equal(column, expected)


def test_a_file_that_quotes_everything_quotes_numbers_too(tmp_path: Path) -> None:
    found = read_table(written(tmp_path, '"id","c","x"\n"a","1","5"\n"b","2","6"\n'), columns=["c"])
    assert found.columns["c"].tolist() == [1, 2]
    assert found.vectors.tolist() == [[5], [6]]


def test_limit_reads_no_further(tmp_path: Path) -> None:
    path = written(tmp_path, "id,x\na,1\nb,2\nc,oops\n")
    assert list(read_table(path, limit=2)) == ["a", "b"]
    assert read_table(path, limit=0).shape == (0, 1)
    with pytest.raises(BadInput, match="limit is a number of rows of 0 or more, not -1"):
        read_table(path, limit=-1)


def test_a_last_line_without_a_break_is_warned_of(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"t\.csv: the last line has no line break: the file may have been cut"):
        assert read_table(written(tmp_path, "id,x\na,1\nb,2"))["b"].tolist() == [2]


def test_provenance_says_what_was_read_and_how(tmp_path: Path) -> None:
    path = written(tmp_path, "id,x\na,1\nb,2\n")
    assert read_table(path).provenance == {
        "made_by": "read_table",
        "label": "id",
        "features": 1,
        "dropped": 0,
        "file": {"name": "t.csv", "bytes": 13, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
    }


def test_rows_that_miss_something_are_dropped_on_request(tmp_path: Path) -> None:
    content = "id,c,x,y\na,,1,2\nb,p,,3\n,p,1,1\nd,p,nan,1\ne,q,5,N/A\nf,q,7,8\n"
    found = read_table(written(tmp_path, content), missing="drop")
    assert list(found) == ["a", "f"]
    assert found.columns["c"].tolist() == ["", "q"]
    assert found.vectors.tolist() == [[1, 2], [7, 8]]
    assert found.provenance["dropped"] == 4


def test_numbered_rows_keep_their_number_where_others_are_dropped(tmp_path: Path) -> None:
    found = read_table(written(tmp_path, "x,y\n1,2\n3,\n5,6\n"), missing="drop")
    assert list(found) == ["0", "2"]


@pytest.mark.parametrize("block", [1, 7, 100, 2**20])
def test_a_table_of_many_batches_is_read_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(delimited, "_BATCH", 300)
    monkeypatch.setattr(delimited, "_BLOCK", block)
    rng = np.random.default_rng(0)
    many = Embedding([f'w"{i}' for i in range(500)], rng.normal(size=(500, 4)), columns={"c": np.arange(500)})
    many.to_csv(tmp_path / "e.csv")
    assert read_table(tmp_path / "e.csv") == many
    text = (tmp_path / "e.csv").read_text().splitlines(keepends=True)
    text[400] = text[400].rsplit(",", 1)[0] + ",\n"
    path = written(tmp_path, "".join(text))
    with pytest.raises(BadFile, match=r"line 401: 'w\"399': no value in column 'd3'"):
        read_table(path)
    left = read_table(path, missing="drop")
    assert left == many.filter(lambda label: label != 'w"399')


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", {}, "is empty: a table was expected"),
        ("\n\n\n", {}, "is empty: a table was expected"),
        ("\ufeff", {}, "is empty: a table was expected"),
        ("id,x\n", {}, "holds a header and no rows"),
        ("id,x\na,1\nb\n", {}, "line 3: 1 field where the first line has 2"),
        ("id,x\na,1\nb,2,3\n", {}, "line 3: 3 fields where the first line has 2"),
        ("id,x\na,1,\nb,2,\n", {}, "line 2: 3 fields where the first line has 2"),
        ("id,x,\na,1,\n", {}, r"column 3 has no name \(does every line end in a delimiter\?\)"),
        ("id,x,x\na,1,2\n", {}, "columns 2 and 3 are both called 'x': rename one"),
        ("id,x, x\na,1,2\n", {}, "columns 2 and 3 are both called 'x'"),
        ("id,x\na,1\nb,2\na,3\n", {}, "line 4: label 'a' is there twice, on lines 2 and 4: name another `label`"),
        ('id,x\n"a\n",1\nb,2\n', {}, r"line 2: label 'a\\n' holds a line break"),
        ('id,x\n"\n",1\nb\n', {}, "line 4: 1 field where"),
        ("id,x\na,1\nb,\n", {}, "line 3: 'b': no value in column 'x': fill it, or leave such rows out"),
        ("id,x\na,1\nb,nan\n", {}, "line 3: 'b': no value in column 'x'"),
        ("id,x\na,1\nb,NaN\n", {}, "line 3: 'b': no value in column 'x'"),
        ("id,x\na,1\nb,-nan\n", {}, "line 3: 'b': no value in column 'x'"),
        ("id,x\na,\nb,\n", {}, "line 2: 'a': no value in column 'x'"),
        ("x\n1\n\n2\n", {}, "line 3: no value in column 'x'"),
        ("id,x\na,1\n,2\n", {}, "line 3: '': has no label"),
        ("id,x\na,1\nb,two\nc,3\n", {}, "line 3: column 'x' holds numbers, and here 'two': correct it, or keep"),
        ("id,x\na,1\nb,1_0\nc,3\n", {}, "line 3: column 'x' holds numbers, and here '1_0'"),
        ("id,x\na,1\nb,0x1F\nc,3\n", {}, "line 3: .* '0x1F'"),
        ("id,x\na,1\nb,\x1b[31m\nc,3\n", {}, r"line 3: .* '\\x1b\[31m'"),
        ("id,x\na,1\nb,inf\n", {}, "line 3: 'b': the value in column 'x' is infinite or beyond float32"),
        ("id,x\na,1\nb,1e500\n", {}, "line 3: 'b': the value in column 'x' is infinite"),
        ("id,x\na,1\nb,-1e39\n", {}, "line 3: 'b': the value in column 'x' is infinite"),
        ("id,x\na,1\nb,inf\n", {"missing": "drop"}, "line 3: 'b': the value in column 'x' is infinite"),
        ("id;x\na;1,5\nb;2,5\n", {}, "no column of numbers to make vectors of; are numbers written with a dec"),
        ("king 0.1 0.2\nqueen 0.3 0.4\n", {}, "no column of numbers"),
        ('id,x\na,1\n5" pipe,2\n', {}, "line 3: a quotation mark is opened and never closed"),
        ('id,x\na,1\n5" pipe",2\n', {}, "line 3: a quotation mark stands inside a field"),
        ('id,x\na,1\n"b" c,2\n', {}, "line 3: a quotation mark stands inside a field"),
        ('id,x\na,1\n"b,2\nc,3\n', {}, "line 3: a quotation mark is opened and never closed"),
        (b"id,x\na,1\n\xff,2\n", {}, "line 3: is not valid UTF-8 at byte 0 of the line: save it as UTF-8"),
        ("id,x\né,1\n".encode("utf-16"), {}, "line 1: holds a NUL at byte 3"),
        ("id,x\nか,1\n".encode("shift-jis"), {}, "line 2: is not valid UTF-8"),
        (b"id,x\na,1\0\n", {}, "line 2: holds a NUL at byte 3 of the line"),
        ("id,x\ra,1\rb,2\r", {}, "line 1: a carriage return ends no line here"),
        ("id,x\na\r,1\n", {}, "line 2: a carriage return ends no line here"),
        ('id,"x\ny"\na,1\n', {"columns": ["x\ny"], "features": []}, "no column of numbers"),
        ('id,"c\nd",x\na,1,2\n', {"columns": ["c\nd"]}, "a column's name is a non-empty string without NUL or line"),
        (b"PAR1" + b"x" * 50, {}, "is damaged or no Parquet file"),
        ("id,x\na,1\n", {"label": "name"}, "no column 'name' in the table; it has: id, x"),
        ("id,x\na,1\n", {"features": ["y"]}, "no column 'y'"),
        ("id,x\na,1\n", {"columns": ["x"], "features": ["x"]}, "column 'x' is named twice"),
        ("id,x\na,1\n", {"label": "x", "features": ["x"]}, "column 'x' is named twice"),
        ("id,x\na,1\n", {"features": "x"}, r"lists of names: write \['x'\]"),
        ("id,x\na,1\n", {"missing": "skip"}, "missing is 'error' or 'drop', not 'skip'"),
        ("id,c,x\na,p,1\n", {"features": ["c"]}, "line 2: column 'c' holds numbers, and here 'p'"),
    ],
)  # fmt: skip
def test_what_must_not_be_read_is_refused(
    tmp_path: Path, content: str | bytes, options: dict[str, Any], message: str
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(BadInput, match=message) as caught:
        read_table(path, **options)
    assert "\n" not in str(caught.value)
    if "missing" not in message:
        assert str(caught.value).startswith(str(path))


def test_a_word_among_numbers_is_an_error_and_a_number_among_words_is_not(tmp_path: Path) -> None:
    rows = "".join(f"w{i},{i},t{i % 7}\n" for i in range(300))
    path = written(tmp_path, f"id,x,c\n{rows}w300,none of it,5\n")
    with pytest.raises(BadFile, match="line 302: column 'x' holds numbers, and here 'none of it'"):
        read_table(path)
    found = read_table(written(tmp_path, f"id,x,c\n{rows}w300,300,5\n"))
    assert found.columns["c"][-1] == "5"


@pytest.mark.parametrize("what", ["folder", "absent"])
def test_what_is_no_file_is_refused(tmp_path: Path, what: str) -> None:
    with pytest.raises(BadFile, match=r"not a regular file|cannot be read"):
        read_table(tmp_path if what == "folder" else tmp_path / "no.csv")


def test_a_file_cut_anywhere_is_read_in_part_or_refused(tmp_path: Path) -> None:
    """Text has no end mark: what is cut between rows is a shorter table; nothing else may come of it."""
    whole = 'label,kind,x,y\n"a","p,q",1.25,2.5\n"b","r\ns",3.5,4.75\n'
    complete = read_table(written(tmp_path, whole))
    good = 0
    for end in range(len(whole)):
        try:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                found = read_table(written(tmp_path, whole[:end]))
        except BadFile:
            continue
        assert bool(warned) == (whole[end - 1] != "\n")
        good += 1
        assert list(found) == list(complete)[: len(found)]
        assert found.vectors[:-1].tolist() == complete.vectors[: max(len(found) - 1, 0)].tolist()
    assert good >= 6


def test_packed_tables_cut_or_flipped_anywhere_are_refused(tmp_path: Path, royals: Embedding) -> None:
    royals.to_csv(tmp_path / "e.csv")
    data = gzip.compress((tmp_path / "e.csv").read_bytes(), mtime=0)
    for end in range(2, len(data)):  # one byte of it is a table of one letter without an end
        with pytest.raises(BadFile):
            read_table(written(tmp_path, data[:end], "t.gz"))
    for place in range(10, len(data)):  # the header of gzip holds a time and a name that say nothing
        flipped = bytearray(data)
        flipped[place] ^= 0x10
        with pytest.raises(BadFile):
            read_table(written(tmp_path, bytes(flipped), "t.gz"))


@pytest.mark.parametrize("filler", [b" ", b",", b'"', b"a,", b"1"])
def test_an_endless_line_is_refused_early(tmp_path: Path, filler: bytes) -> None:
    path = written(tmp_path, b"id,x\na,1\n" + filler * (2**23 // len(filler)))
    with pytest.raises(BadFile, match="line 3: a row longer than 4 MiB"):
        read_table(path)
    with pytest.raises(BadFile, match=r"line 1: a row longer than 4 MiB|unpacks to more than 200 times"):
        read_table(written(tmp_path, gzip.compress(filler * (2**23 // len(filler))), "t.csv.gz"))


@pytest.mark.parametrize("row", [b"\n", b"1\n", b"1,2,3\n"])
def test_what_unpacks_without_end_is_refused_within_seconds(tmp_path: Path, row: bytes) -> None:
    stream = io.BytesIO()
    with gzip.open(stream, "wb", compresslevel=9) as packed:
        for _ in range(80):
            packed.write(row * (2**20 // len(row)))
    path = written(tmp_path, stream.getvalue(), "t.csv.gz")
    before = time.process_time()
    with pytest.raises(BadFile, match="unpacks to more than 200 times its size"):
        read_table(path)
    assert time.process_time() - before < 5


@given(st.text('a1,"\n\r\0é', max_size=12), st.sampled_from([1, 3, 2**20]))
@example("a\r\n1,\r\n", 3)
@example("a\n" * 4 + '"\n"\n' + "a\n" * 4, 3)
def test_lines_are_the_same_whatever_is_read_at_a_time(content: str, block: int) -> None:
    """Blocks without quotation marks are cut into lines by a shorter way, which must not show."""

    def outcome(size: int) -> list[delimited.Record | str]:
        found: list[delimited.Record | str] = []
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            patch.setattr(delimited, "_BLOCK", size)
            try:
                found.extend(delimited.records(io.BytesIO((content + "\n").encode()), "t"))
            except BadFile as error:
                found.append(str(error))
        return found

    assert outcome(block) == outcome(1) == outcome(2**20)


def test_very_many_empty_lines_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"line 100003: 100,000 empty lines in a row are no table"):
        read_table(written(tmp_path, b"id,x\na,1\n" + b"\n" * 200_000))


# -- Parquet and frames ----------------------------------------------------------------------------------------------


def test_parquet_files_are_read_by_the_same_rules(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(
        {
            "name": ["tom", "rex", "rolf"],
            "kind": pd.Categorical(["cat", "dog", "dog"]),
            "born": np.array(["2020-01-02", "2021-03-04", "NaT"], dtype="M8[ns]"),
            "weight": [4, 30, 40],
            "height": [25.5, None, 70.0],
            "tame": [True, True, False],
        }
    )
    frame.to_parquet(tmp_path / "t.parquet", index=False)
    with pytest.raises(BadFile, match=r"t\.parquet: row 1 \('rex'\): no value in column 'height'"):
        read_table(tmp_path / "t.parquet")
    found = read_table(tmp_path / "t.parquet", missing="drop")
    assert list(found) == ["tom", "rolf"]
    assert found.vectors.tolist() == [[4, 25.5], [40, 70]]
    assert {name: values.tolist() for name, values in found.columns.items()} == {
        "kind": ["cat", "dog"],
        "born": ["2020-01-02 00:00:00", ""],
        "tame": [True, False],
    }
    assert list(read_table(tmp_path / "t.parquet", limit=1)) == ["tom"]
    assert read_table(tmp_path / "t.parquet", features=["weight", "tame"], limit=2).vectors.tolist() == [
        [4, 1],
        [30, 1],
    ]


def test_parquet_cut_anywhere_is_refused_and_flipped_never_a_traceback(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    table = pa.table({"name": ["tom", "rex"], "weight": [4.5, 30.0]})
    pq.write_table(table, tmp_path / "t.parquet", write_page_checksum=True, compression="none")
    data = (tmp_path / "t.parquet").read_bytes()
    whole = read_table(tmp_path / "t.parquet")
    for end in range(4, len(data), 23):
        with pytest.raises(BadFile):
            read_table(written(tmp_path, data[:end], "cut.parquet"))
    refused = 0
    for place in range(4, len(data), 7):
        flipped = bytearray(data)
        flipped[place] ^= 0x55
        try:
            found = read_table(written(tmp_path, bytes(flipped), "cut.parquet"))
        except BadInput as error:
            refused += "\n" not in str(error)
            continue
        # Checksums cover the pages, not the description: the name of a column may have changed, no number.
        assert found.vectors.tolist() == whole.vectors.tolist()
    assert refused > 10


def test_a_parquet_file_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "bomb.parquet"
    pd.DataFrame({"x": np.zeros(20_000_000, dtype=np.int8)}).to_parquet(path)
    assert path.stat().st_size < 400_000
    with pytest.raises(BadFile, match="says it holds 20,000,000 rows of 1, 200 times its size: use limit"):
        read_table(path)
    assert len(read_table(path, limit=10)) == 10


def test_without_pyarrow_parquet_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BadFile, match=r"to read Parquet install pyarrow: pip install 'embedkit\[parquet\]'"):
        read_table(written(tmp_path, b"PAR1", "t.parquet"))


@pytest.mark.parametrize(
    ("frame", "options", "labels", "columns"),
    [
        (pd.DataFrame({"x": [1.0, 2.0]}), {}, ["0", "1"], []),
        (pd.DataFrame({"x": [1.0, 2.0]}, index=[5, 7]), {}, ["5", "7"], []),
        (pd.DataFrame({"x": [1.0, 2.0], "w": ["a", "b"]}, index=[5, 7]), {"label": "w"}, ["a", "b"], []),
        (pd.DataFrame({"x": [1.0, 2.0], "w": ["a", "b"]}), {}, ["a", "b"], []),
        (pd.DataFrame({"x": [1.0, 2.0], "w": ["a", "a"]}), {}, ["0", "1"], ["w"]),
        (pd.DataFrame({0: [1.0, 2.0], 1: [3, 4]}, index=["a", "b"]), {}, ["a", "b"], []),
        (pd.DataFrame({"x": [1.0, 2.0], "n": [1, 2]}), {"columns": ["n"]}, ["0", "1"], ["n"]),
    ],
)
def test_frames_are_taken_by_the_same_rules(
    frame: pd.DataFrame, options: dict[str, Any], labels: list[str], columns: list[str]
) -> None:
    found = from_table(frame, **options)
    assert (list(found), list(found.columns)) == (labels, columns)
    assert found.vectors[:, 0].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (pd.DataFrame({"x": [1.0, math.nan]}, index=["a", "b"]), {}, r"row 1 \('b'\): no value in column 'x'"),
        (pd.DataFrame({"x": [1.0, math.inf]}), {}, "row 1: the value in column 'x' is infinite"),
        (pd.DataFrame({"x": [1.0, 1e39]}), {}, "row 1: the value in column 'x' is infinite or beyond float32"),
        (pd.DataFrame({"x": [1.0, 2.0]}, index=["a", "a"]), {}, "label 'a' is there twice"),
        (pd.DataFrame({"x": [1.0, 2.0]}, index=["a", None]), {}, r"row 1 \('nan'\): has no label|row 1 .*has no label"),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), {}, "columns 1 and 2 are both called 'x'"),
        (pd.DataFrame({"x": ["p"]}), {}, "no column of numbers"),
        (pd.DataFrame({"x": ["p"]}), {"features": ["x"]}, "column 'x' is not numeric"),
        (pd.DataFrame({"x": [1j]}), {}, "no column of numbers"),
        (pd.DataFrame({"x": [1.0]}).head(0), {}, "the table has no rows"),
        (pd.DataFrame({"x": [1.0]}, index=pd.MultiIndex.from_tuples([("a", 1)])), {}, "several levels"),
    ],
)
def test_frames_that_must_not_be_taken_are_refused(frame: pd.DataFrame, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        from_table(frame, **options)


def test_a_column_named_label_cannot_be_written_beside_the_labels(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="column 'label' has the name of the labels"):
        Embedding(["a"], [[1.0]], columns={"label": ["b"]}).to_csv(tmp_path / "e.csv")
    assert not list(tmp_path.iterdir())
