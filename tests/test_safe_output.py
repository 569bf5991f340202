"""Texts made to do harm go through everything that embedkit writes: they do none, and come back as they were."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedkit
from embedkit import Corpus, Embedding, Search
from embedkit.errors import BadFile, BadInput, UnknownWord, printable
from embedkit.formats.named_columns import write_named
from embedkit.formats.writing import write
from embedkit.plots import page_html, scatter_map
from embedkit.progress import Progress
from embedkit.words.estimates import Estimates, Similar

Run = Callable[..., Any]

# Without white space, so that every format holds them.
WORDS = [
    "</script><script>alert(1)</script>", '=HYPERLINK("http://x","y")', "\x1b[2J\x1b]0;title\x07", "\x9b31m\x85\x90",
    "\u202egnirts\u2066", "line\u2028separator\u2029", "<img/src=x\u00a0onerror=alert(1)>", "@SUM(A1:A9)", "-->]]><!--",
    "${jndi:ldap://x}", "{0}%s%n{{x}}", "$\\frac$", "+1+cmd|'/C'!A0", "'\"`;--", "\u200bzero\u00ad", "\x7f\x08",
    "\U000e0041tag", "&lt;b&gt;",
]  # fmt: skip
TEXTS = [*WORDS, "a\tb", " =1+1", '"quoted", comma', "C:\\new\\table", "  "]
HARM = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u2028\u2029\u202a-\u202e\u2066-\u2069\u00ad]")


def hostile(labels: list[str] = TEXTS) -> Embedding:
    rng = np.random.default_rng(0)
    return Embedding(
        labels, rng.normal(size=(len(labels), 2)).astype(np.float32),
        columns={"</script><b>\u202e": labels[::-1], "=1+1": np.arange(len(labels))},
        provenance={"made_by": WORDS[0], "\u202e": WORDS[2]},
    )  # fmt: skip


def harmless(text: str) -> bool:
    """Whether nothing in it moves a cursor, turns the line around or ends it, but line feeds."""
    return not HARM.search(text)


# -- files that lose nothing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.safetensors", "x.csv", "x.tsv", "x.json", "x.npz", "x.parquet", "x.csv.gz"])
def test_formats_of_everything_give_everything_back(name: str, tmp_path: Path) -> None:
    made = hostile()
    write(made, tmp_path / name)
    again = embedkit.read(tmp_path / name)
    assert again == made


@pytest.mark.parametrize(("name", "how"), [("x.vec", {}), ("x.bin", {}), ("x", {"format": "glove"}), ("x.npy", {})])
def test_formats_of_words_give_the_words_back(name: str, how: dict[str, Any], tmp_path: Path) -> None:
    made = Embedding(WORDS, hostile(WORDS).vectors)
    write(made, tmp_path / name, **how)
    assert embedkit.read(tmp_path / name) == made


def test_the_projector_s_files_hold_them(tmp_path: Path) -> None:
    write(hostile(WORDS), tmp_path / "projector", format="projector")
    lines = (tmp_path / "projector" / "metadata.tsv").read_text(encoding="utf-8").split("\n")
    assert [line.split("\t")[0] for line in lines[1:-1]] == WORDS


@pytest.mark.parametrize("chosen", ["csv", "tsv", "jsonl", "parquet"])
def test_tables_of_named_columns_hold_them(chosen: Any, tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_named(hostile().labels, {WORDS[0]: TEXTS[::-1], "score": np.arange(len(TEXTS))}, path, chosen)
    if chosen == "parquet":
        import pandas as pd

        frame = pd.read_parquet(path)
        found = list(zip(frame["label"], frame[WORDS[0]], strict=True))
    elif chosen == "jsonl":
        rows = [json.loads(line) for line in path.read_bytes().decode().split("\n")[:-1]]
        found = [(row["label"], row[WORDS[0]]) for row in rows]
    else:
        with path.open(encoding="utf-8", newline="") as stream:
            records = list(csv.reader(stream, delimiter="," if chosen == "csv" else "\t"))
        found = [(record[0], record[1]) for record in records[1:]]
    assert found == list(zip(TEXTS, TEXTS[::-1], strict=True))


@pytest.mark.parametrize(("name", "mark"), [("x.csv", ","), ("x.tsv", "\t")])
def test_spreadsheets_find_no_formula_on_request(name: str, mark: str, tmp_path: Path) -> None:
    write(hostile(), tmp_path / name, safe_text=True)
    with (tmp_path / name).open(encoding="utf-8", newline="") as stream:
        for record in csv.reader(stream, delimiter=mark):
            for cell in record:
                number = re.fullmatch(r"-?[0-9.]+(e-?[0-9]+)?", cell)
                assert number or not cell.startswith(tuple("=+-@\t\r\n")), cell


# -- the terminal ------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _as_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """click takes escape sequences out where nobody looks: here they are let through."""
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda *_: False)


@pytest.fixture
def harmful_run(run: Run, tmp_path: Path) -> Run:
    Embedding(WORDS, hostile(WORDS).vectors).save(tmp_path / "w")
    return lambda *args, **how: run(*args, "-m", str(tmp_path / "w"), **how)


def test_tables_on_the_terminal_are_harmless(harmful_run: Run) -> None:
    for word in WORDS:
        ran = harmful_run("similar", "-k", "20", "-i", "-", stdin=word)
        assert ran.code == 0, ran.err
        assert harmless(ran.out)
        assert all(printable(other) in ran.out for other in WORDS if other != word)


@pytest.mark.parametrize("style", ["csv", "tsv", "json", "jsonl"])
def test_what_programs_read_is_exact(harmful_run: Run, style: str) -> None:
    ran = harmful_run("similar", "-i", "-", "--format", style, "-k", "20", stdin="\n".join(WORDS))
    assert ran.code == 0, ran.err
    if style == "json":
        rows = json.loads(ran.out)
    elif style == "jsonl":
        rows = [json.loads(line) for line in ran.out.split("\n")[:-1]]
    else:
        rows = list(csv.DictReader(io.StringIO(ran.out, newline=""), delimiter="," if style == "csv" else "\t"))
    assert {row["query"] for row in rows} == set(WORDS)
    assert {row["label"] for row in rows} == set(WORDS)
    if style.startswith("json"):
        assert not re.search("[\x00-\x09\x0b-\x1f]", ran.out)


def test_errors_on_the_terminal_are_one_harmless_line(run: Run, tmp_path: Path) -> None:
    for text in WORDS:
        name = text.replace("/", "")
        Path(name).write_bytes(b"\xffno vectors\n" + text.encode())
        for args in (["info", f"./{name}"], ["similar", "-m", f"./{name}.gone", "a"], ["similar", "--", text],
                     ["convert", f"./{name}", f"./{name}.out"], ["corpus", "stats", f"./{name}"], ["fetch", "--", name],
                     ["expr", "--", text], ["analogy", "-i", f"./{name}"]):  # fmt: skip
            ran = run(*args)
            assert ran.code in (1, 2, 3, 4), args
            assert "Traceback" not in ran.err
            assert harmless(ran.out), (args, ran.out)
            assert harmless(ran.err), (args, ran.err)


def test_wrong_usage_is_told_harmlessly(run: Run) -> None:
    for name in ("x", "x\x1b[2J"):
        Path(name).touch()
    for args in ([WORDS[2]], ["similar", f"--{WORDS[2]}"], ["similar", "a", "--format", WORDS[4]],
                 ["train", "word2vec", "x", "-o", "y", "--checkpoint", "x\x1b[2J"],
                 ["evaluate", WORDS[3]]):  # fmt: skip
        ran = run(*args)
        assert ran.code == 2
        assert harmless(ran.err), ran.err


def test_errors_of_the_library_are_one_harmless_line(tmp_path: Path) -> None:
    made = hostile()
    for text in TEXTS:
        asked = (
            lambda text=text: made[text + "?"],
            lambda text=text: Embedding([text, text], np.eye(2)),
            lambda text=text: Embedding([text], [[np.nan]]),
            lambda text=text: embedkit.read(tmp_path / text.replace("/", "")),
            lambda text=text: made.similar("king" + text),
            lambda text=text: made.to_frame().pipe(Embedding.from_frame, columns=[text]),
            lambda text=text: scatter_map(made, colour=text + "?"),
            lambda text=text: page_html(made, theme=text),
            lambda text=text: Corpus(["a"], tokenize=text),
            lambda text=text: Corpus.named(text),
            lambda text=text: write(made, tmp_path / "x", format=text),
        )
        for ask in asked:
            with pytest.raises((BadInput, BadFile, UnknownWord)) as caught:
                ask()
            assert harmless(str(caught.value)), str(caught.value)
            assert "\n" not in str(caught.value)


def test_lines_of_progress_are_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    told = Progress(1, 2, 3, 10, "words", 0.5, 1.0)
    assert harmless(str(told))
    assert harmless(repr(told))
    assert harmless(repr(hostile()))
    assert harmless(repr(hostile().labels))


# -- pages, notebooks, pictures ----------------------------------------------------------------------------------------


def test_notebooks_show_text_as_text() -> None:
    made = hostile()
    neighbours = Search(made).similar(TEXTS[:3], 5)
    shown = {
        "Embedding": made._repr_html_(),
        "Neighbours": neighbours._repr_html_(),
        "Estimates": Estimates([Similar(text, 1, text, 0.5, 0.4, 0.6, 1.0) for text in TEXTS])._repr_html_(),
    }
    for name, page in shown.items():
        assert not re.search("<(script|img|b>|!--)", page, re.IGNORECASE), name
        assert harmless(page.replace("\n", "")), name
    for text in TEXTS[:8]:
        assert html.escape(printable(text)) in shown["Embedding"]


def test_a_page_holds_them_as_data_and_loads_nothing() -> None:
    made = hostile()
    page = page_html(made, title=WORDS[0], colour="</script><b>\u202e", notable=WORDS[:3])
    plain = page_html(Embedding(None, made.vectors), title="title")
    # Whatever the labels, the same tags as a page of numbers has; each is one of our own.
    assert re.findall(r"</?script[^>]*>", page) == re.findall(r"</?script[^>]*>", plain)
    assert page.count("<img") == plain.count("<img")
    assert "alert(1)</script>" not in page
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u2028\u2029\u202a-\u202e\u2066-\u2069]", page)
    assert "default-src 'none'" in page
    (told,) = re.findall("<title>(.*?)</title>", page)
    assert html.unescape(told) == printable(WORDS[0])


def test_pictures_write_them_as_text(tmp_path: Path) -> None:
    from matplotlib.text import Text

    from embedkit.plots import analogy_arrows
    from embedkit.plots.figures import save_figure

    made = hostile(WORDS).with_vectors(hostile(WORDS).vectors * 5)
    kinds = Embedding(WORDS, made.vectors, columns={"=kind\u202e": [WORDS[i % 4] for i in range(len(WORDS))]})
    for title in WORDS:
        drawn = scatter_map(kinds, colour="=kind\u202e", title=title, caption=title, notable=WORDS).figure \
            if title == WORDS[0] else scatter_map(made, title=title, notable=0).figure  # fmt: skip
        for text in drawn.findobj(Text):
            assert harmless(text.get_text()), text.get_text()
    save_figure(
        scatter_map(kinds, colour="=kind\u202e", title="$\\frac$", notable=WORDS).figure, tmp_path / "x.png", dpi=40
    )
    save_figure(analogy_arrows(made, [(WORDS[0], WORDS[11], WORDS[2])], title=WORDS[11]).figure, tmp_path / "y.svg")
    drawing = (tmp_path / "y.svg").read_text(encoding="utf-8")
    assert not re.search("<(script|img)", drawing)
    assert harmless(drawing.replace("\n", "").replace("\t", ""))


# -- the door ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["\0", "\n", "\r", "\r\n"])
def test_nul_and_line_breaks_are_refused_at_the_door(mark: str) -> None:
    vectors = [[1.0]]
    for make in (
        lambda: Embedding([f"a{mark}b"], vectors),
        lambda: Embedding([f"{mark}"], vectors),
        lambda: Embedding(["a"], vectors, columns={f"a{mark}": [1]}),
        lambda: embedkit.text.Vocabulary([f"a{mark}"], [1]),
    ):  # fmt: skip
        with pytest.raises(BadInput, match=r"NUL|line break"):
            make()


def test_nul_in_texts_of_columns_is_refused_and_line_breaks_are_kept(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="NUL"):
        Embedding(["a"], [[1.0]], columns={"text": ["a\0b"]})
    made = Embedding(["a", "b"], [[1.0], [2.0]], columns={"text": ["one\ntwo\r\n", "\u2028"]})
    for name in ("x.safetensors", "x.csv", "x.json", "x.npz"):
        write(made, tmp_path / name)
        assert embedkit.read(tmp_path / name) == made
