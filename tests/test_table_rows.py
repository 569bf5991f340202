"""Maps as CSV, TSV and JSON: what is written is read back exactly, by embedkit and by others."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedkit import Embedding, read, write
from embedkit.errors import BadFile, BadInput
from embedkit.formats import text_rows
from embedkit.formats.frame import write_csv
from embedkit.formats.table_rows import write_table

WORDS = [
    "nan", "NaN", "NULL", "null", "NA", "N/A", "None", "", "#N/A", "inf", "-inf", "1", "007", "1e5", "True", "a,b",
    'say "x"', '"', "a\tb", " a ", "\x1b[31m", "\u202e", "\u2028", "\ufeff", "=1+1", "+1", "-1", "@x", "'x", "语",
    "\x7f", "a;b|c", "\\N", "//",
]  # fmt: skip


@pytest.fixture(params=[0, 10**9], ids=["compiled", "plain"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_rows, "_COMPILED_FROM", request.param)


@pytest.fixture
def odd() -> Embedding:
    rng = np.random.default_rng(0)
    n = len(WORDS)
    return Embedding(
        WORDS,
        rng.standard_normal((n, 2)) * 10.0 ** rng.integers(-30, 30, (n, 1)),
        columns={
            "text": [f"{word}\nand {word}" for word in WORDS],
            "whole": np.arange(n) - 5,
            "share": np.where(np.arange(n) % 3, rng.standard_normal(n) * 1e-7, np.nan),
            "seen": np.arange(n) % 2 == 0,
        },
    )


# -- CSV and TSV -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("ending", ["csv", "tsv", "json", "parquet", "npz", "csv.gz"])
def test_every_word_and_value_comes_back(odd: Embedding, tmp_path: Path, ending: str) -> None:
    write(odd, tmp_path / f"map.{ending}")
    made = read(tmp_path / f"map.{ending}")
    assert list(made) == WORDS
    assert made.vectors.tobytes() == odd.vectors.tobytes()
    assert list(made.columns) == list(odd.columns)
    for name, values in odd.columns.items():
        np.testing.assert_array_equal(made.columns[name], values)
        assert made.columns[name].dtype.kind == values.dtype.kind


@pytest.mark.usefixtures("either_way")
def test_other_readers_see_the_same(odd: Embedding, tmp_path: Path) -> None:
    odd.to_csv(tmp_path / "map.csv")
    with (tmp_path / "map.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["label", "text", "whole", "share", "seen", "x", "y"]
    assert [row[0] for row in rows[1:]] == WORDS
    assert [row[1] for row in rows[1:]] == odd.columns["text"].tolist()
    frame = pd.read_csv(tmp_path / "map.csv", keep_default_na=False, na_values={"share": [""]})
    assert frame["label"].tolist() == WORDS
    np.testing.assert_allclose(frame["share"], odd.columns["share"], rtol=1e-15)
    assert frame[["x", "y"]].to_numpy(np.float32).tobytes() == odd.vectors.tobytes()


def test_both_ways_of_writing_give_the_same_bytes(odd: Embedding, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    plain = odd.with_vectors(np.round(odd.unit.vectors, 3))
    for few in (0, 10**9):
        monkeypatch.setattr(text_rows, "_COMPILED_FROM", few)
        stream = io.BytesIO()
        write_csv(plain, stream)
        made.append(stream.getvalue())
    assert made[0] == made[1]


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r"), max_size=6), unique=True, max_size=8)
)
@settings(max_examples=60)
def test_any_words_are_written_as_csv_says(words: list[str]) -> None:
    made = Embedding(words, np.zeros((len(words), 2)), columns={"again": words})
    for separator in (",", "\t"):
        stream = io.BytesIO()
        write_table(stream, made, separator)
        rows = list(csv.reader(io.StringIO(stream.getvalue().decode(), newline=""), delimiter=separator))
        assert [row[:2] for row in rows[1:]] == [[word, word] for word in words]


# -- formulas ----------------------------------------------------------------------------------------------------------


def test_safe_text_marks_what_a_spreadsheet_would_run(odd: Embedding, tmp_path: Path) -> None:
    evil = Embedding(
        ["=1+1", "+1", "-1", "@x", "\tx", "ok", "'=x", "\uff1dx"],
        -np.ones((8, 2)),
        columns={"=cmd": ["=HYPERLINK(1)", "a", "-", "", "x=", "\n=1", "@", "b"], "n": -np.arange(8)},
    )
    write(evil, tmp_path / "map.csv", safe_text=True)
    with (tmp_path / "map.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["label", "'=cmd", "n", "x", "y"]
    assert [row[0] for row in rows[1:]] == ["'=1+1", "'+1", "'-1", "'@x", "'\tx", "ok", "'=x", "'\uff1dx"]
    assert [row[1] for row in rows[1:]] == ["'=HYPERLINK(1)", "a", "'-", "", "x=", "'\n=1", "'@", "b"]
    assert [row[2] for row in rows[1:]] == [str(-i) for i in range(8)]  # numbers stay numbers
    write(evil, tmp_path / "exact.csv")
    assert list(read(tmp_path / "exact.csv")) == list(evil)


def test_safe_text_is_for_tables_and_keeps_labels_apart(tmp_path: Path) -> None:
    two = Embedding(["=x", "'=x"], np.zeros((2, 2)))
    with pytest.raises(BadInput, match="is there twice"):
        write(two, tmp_path / "map.csv", safe_text=True)
    with pytest.raises(BadInput, match="safe text is for csv and tsv"):
        write(two, tmp_path / "map.json", safe_text=True)
    assert list(tmp_path.iterdir()) == []


# -- JSON --------------------------------------------------------------------------------------------------------------


def test_json_is_what_others_read(odd: Embedding, tmp_path: Path) -> None:
    write(odd, tmp_path / "map.json")
    made = json.loads((tmp_path / "map.json").read_text(encoding="utf-8"))
    assert list(made) == ["label", "text", "whole", "share", "seen", "x", "y"]
    assert made["label"] == WORDS
    assert made["share"][0] is None
    assert np.array(made["x"], np.float32).tobytes() == odd.vectors[:, 0].tobytes()
    assert pd.DataFrame(made).shape == (len(WORDS), 7)


def test_infinite_numbers_in_a_column_are_json(tmp_path: Path) -> None:
    write(
        Embedding(["a", "b", "c"], np.zeros((3, 1)), columns={"n": [math.inf, -math.inf, math.nan]}),
        tmp_path / "m.json",
    )
    assert "Infinity" not in (tmp_path / "m.json").read_text()
    np.testing.assert_array_equal(read(tmp_path / "m.json").columns["n"], [math.inf, -math.inf, math.nan])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"label": ["a"], "x": [1.0]', "no JSON that can be read"),
        ('{"label": ["a"], "x": [NaN]}', "NaN is not JSON"),
        ('{"label": ["a"], "x": [null]}', "column 0 is"),
        ('{"label": ["a"], "x": [1e39]}', "column 0 is"),
        ('{"label": ["a"], "x": ["1"]}', "'x' is a dimension and holds no numbers"),
        ('{"label": ["a"], "x": [true]}', "'x' is a dimension and holds no numbers"),
        ('{"label": ["a"], "x": [1], "x": [2]}', "a name is there twice"),
        ('{"label": ["a", "b"], "x": [1]}', "'x' is no list of 2 values"),
        ('{"label": ["a", "a"], "x": [1, 2]}', "is there twice"),
        ('{"label": [1], "x": [1]}', "something else than texts"),
        ('{"label": ["a"], "k": [1]}', "has no dimensions"),
        ('{"label": ["a"], "k": [[1]], "x": [1]}', "different kinds"),
        ('{"label": ["a", "b"], "k": [1, "2"], "x": [1, 2]}', "different kinds"),
        ('{"label": ["a"], "k": [99999999999999999999999], "x": [1]}', "beyond 64 bits"),
        ('{"label": ["a\\u0000"], "x": [1]}', "NUL"),
        ('{"label": ["\\ud800"], "x": [1]}', "surrogate"),
        ('{"label": [' + "[" * 100_000, "no JSON that can be read"),
        ('{"label": ["a"]} x', "no JSON that can be read"),
    ],
)
def test_json_that_is_not_what_was_written_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "map.json").write_text(text, encoding="utf-8")
    with pytest.raises(BadFile, match=message) as caught:
        read(tmp_path / "map.json")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "map.json"))


def test_json_cut_anywhere_is_refused(tmp_path: Path) -> None:
    write(Embedding(["a", "b"], [[1, 2], [3, 4]], columns={"k": ["x", "y"]}), tmp_path / "map.json")
    whole = (tmp_path / "map.json").read_bytes()
    for end in range(len(whole) - 2):
        (tmp_path / "cut.json").write_bytes(whole[:end])
        with pytest.raises(BadFile):
            read(tmp_path / "cut.json")


def test_a_limit_is_kept_to(odd: Embedding, tmp_path: Path) -> None:
    write(odd, tmp_path / "map.json")
    made = read(tmp_path / "map.json", limit=3)
    assert list(made) == WORDS[:3]
    assert made.columns["whole"].tolist() == [-5, -4, -3]
    assert made.provenance["limit"] == 3
