"""The cards of the shelf, and where the files of a data set are found."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from embedkit import shelf
from embedkit.errors import BadFile, BadInput
from embedkit.shelf import cards, unpacking
from embedkit.shelf.cards import KINDS, NAME, Card, FileEntry, parse, size_text

ROOT = Path(__file__).parents[1]
DIGITS = {"sha256": 64, "sha1": 40, "md5": 32}

# -- every card ------------------------------------------------------------------------------------------------------


def test_every_folder_of_the_shelf_has_a_card_and_the_expected_sets_are_there() -> None:
    folders = sorted(path.name for path in (ROOT / "corpora").iterdir() if path.is_dir() and path.name[0] not in "._")
    assert shelf.names() == folders
    assert {
        "kingdom", "text8", "enwik9", "enwiki15", "brown", "glove-6b", "fasttext-en", "googlenews", "mnist",
        "fashion-mnist", "questions-words", "msr", "wordsim-353", "simlex-999", "rg-65", "mc-30",
    } <= set(folders)  # fmt: skip


@pytest.mark.parametrize("name", shelf.names())
def test_every_card_is_complete(name: str) -> None:
    card = shelf.card(name)
    assert card.name == name
    assert NAME.fullmatch(name)
    assert card.kind in KINDS
    for text in (card.title, card.licence, card.citation, card.how, card.notes):
        assert text.strip()
    assert card.notes.startswith("# ")
    for url in filter(None, (card.licence_url, card.homepage)):
        assert re.fullmatch(r"https?://[\w.-]+/\S*", url)
    assert bool(card.licence_url) == (card.licence != "not stated")
    entries = [*card.files, *card.sources]
    assert len({entry.name for entry in entries}) == len(entries)
    for entry in entries:
        assert NAME.fullmatch(entry.name)
        assert not entry.name.endswith((".part", ".lock", ".json", ".sha256"))
        for url in entry.urls:
            assert (urlsplit(url).scheme, urlsplit(url).fragment) == ("https", "")
        for kind, digits in DIGITS.items():
            assert re.fullmatch(rf"([0-9a-f]{{{digits}}})?", getattr(entry, kind))
        assert entry.bytes is None or entry.bytes > 0
        assert not Path(entry.path).is_absolute()
        assert ".." not in Path(entry.path).parts
    for entry in card.files:
        assert not (entry.urls and entry.source)
        assert entry.convert in unpacking._WAYS
        if entry.source:
            assert card.source(entry).urls
            assert bool(entry.member) == card.source(entry).name.endswith(".zip")
        elif not entry.urls:  # only known by what it is
            assert entry.bytes
            assert entry.sha256
    assert all(source.urls for source in card.sources)
    assert {entry.source for entry in card.files} - {""} == {source.name for source in card.sources}
    assert not card.files or card.choose()
    if card.downloads(card.choose()):
        assert card.how == f"embedkit fetch {name}"


@pytest.mark.parametrize("name", shelf.names())
def test_a_card_says_where_no_checksum_is_published(name: str) -> None:
    card = shelf.card(name)
    bare = [entry for entry in (*card.files, *card.sources) if not any(getattr(entry, kind) for kind in DIGITS)]
    # What is made from an archive whose checksum is known needs none.
    bare = [entry for entry in bare if not entry.source or entry in card.sources or card.source(entry) in bare]
    assert not bare or "no published checksum" in card.notes


def test_the_cards_are_part_of_the_package() -> None:
    assert (resources.files("embedkit.corpora") / "mnist" / "card.md").is_file()


# -- reading a card --------------------------------------------------------------------------------------------------

GOOD = """+++
name = "x"
title = "X"
kind = "corpus"
licence = "CC0"
licence_url = ""
homepage = ""
citation = "x"
how = "y"

[[sources]]
name = "a.zip"
urls = ["https://example.com/a.zip"]

[[files]]
name = "x.txt"
source = "a.zip"
member = "x"
part = "p"

[[files]]
name = "y.txt"
urls = ["https://example.com/y.txt"]
bytes = 5
extra = true
+++

Prose.
"""


def test_a_card_is_read() -> None:
    card = parse(GOOD, "card.md")
    first, second = card.files
    assert first == FileEntry("x.txt", source="a.zip", member="x", part="p")
    assert (second.urls, second.bytes, second.extra) == (("https://example.com/y.txt",), 5, True)
    assert card.notes == "Prose."
    assert card.choose() == (first,) == card.choose(["p"]) == card.choose(["x.txt"])
    assert card.choose(["y.txt", "p"]) == (second, first)
    assert card.downloads(card.files) == (card.sources[0], second)
    with pytest.raises(BadInput, match=r"'x' has no file 'z', only x.txt, y.txt"):
        card.choose(["z"])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("+++\nname", "name", "expected TOML between two lines"),
        ("+++\n\nProse.", "\nProse.", "expected TOML between two lines"),
        ('name = "x"\n', "", "missing"),
        ('how = "y"', 'how = "y"\nhowto = "z"', "howto"),
        ("bytes = 5", "byte = 5", "byte"),
        ("bytes = 5", "bytes = ", "line"),
        ('"corpus"', '"corpse"', "kind is 'corpse', expected one of corpus, vectors"),
        ('"y.txt"', '"../y.txt"', "'../y.txt' is no name for a file"),
        ('source = "a.zip"', 'source = "b.zip"', "made from 'b.zip', which is not among the sources"),
    ],
)
def test_a_damaged_card_is_told_by_its_path(old: str, new: str, words: str) -> None:
    assert GOOD.count(old)
    with pytest.raises(BadFile, match=re.escape(words)) as caught:
        parse(GOOD.replace(old, new, 1), "folder/card.md")
    assert str(caught.value).startswith("folder/card.md: ")


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("text9", "near: text8"),
        ("MNIST", "near: mnist"),
        ("simlex", "near: simlex-999"),
        ("qqqq", "is called 'qqqq': "),
    ],
)
def test_an_unknown_name_names_those_that_are_spelled_nearly_so(wrong: str, near: str) -> None:
    with pytest.raises(BadInput, match=f"no data set is called '{wrong}'.*`embedkit corpora list`") as caught:
        shelf.card(wrong)
    assert near in str(caught.value)


@pytest.mark.parametrize("name", ["../corpora/mnist", "", ".", "/etc", "mnist/../mnist", "a\0b"])
def test_a_name_is_no_path(name: str) -> None:
    with pytest.raises(BadInput, match="no data set is called"):
        shelf.card(name)


def test_sizes_for_people() -> None:
    assert [size_text(n) for n in (0, 999, 1000, 11_594_722, 1_743_563_840)] == [
        "0 bytes", "999 bytes", "1.0 kB", "11.6 MB", "1.7 GB"
    ]  # fmt: skip


# -- where files are -------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is at hand unless a test says so."""
    monkeypatch.setenv("EMBEDKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EMBEDKIT_DATA", raising=False)
    monkeypatch.delenv("EMBEDKIT_OFFLINE", raising=False)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Card]:
    """A card 'x' of files that hold their own names."""

    def make(*names: str, alternatives: bool = False, extra: tuple[str, ...] = ()) -> Card:
        facts: dict[str, Any] = {n: {"bytes": len(n), "sha256": hashlib.sha256(n.encode()).hexdigest()} for n in names}
        files = tuple(
            FileEntry(n, ("https://example.com/" + n,), **facts[n], part=n[0], extra=n in extra) for n in names
        )
        card = Card("x", "X", "corpus", "CC0", "", "", "", "", files=files, alternatives=alternatives)
        monkeypatch.setattr(cards, "card", lambda name: card)
        return card

    return make


def test_what_is_not_here_says_how_to_get_it() -> None:
    for name, message in {
        "mnist": "'mnist' is not here: run `embedkit fetch mnist` (11.6 MB, CC BY-SA 3.0), or set EMBEDKIT_DATA",
        "brown": "'brown' is not here: run `embedkit fetch brown` (3.3 MB, non-commercial use only), or set "
        "EMBEDKIT_DATA",
        "enwiki15": "enwiki15-a.txt.gz, enwiki15-b.txt.gz, enwiki15-c.txt.gz, enwiki15-d.txt.gz of 'enwiki15' is not "
        "here: set EMBEDKIT_DATA, or run `embedkit fetch enwiki15 --from-file FILE` (CC BY-SA 3.0)",
        "kingdom": "'kingdom' is not kept in files: it is made: from embedkit.text.kingdom import kingdom, "
        "kingdom_questions",
    }.items():
        with pytest.raises(BadInput) as caught:
            shelf.locate(name)
        assert str(caught.value) == message


def test_the_user_s_folder_of_data(small: Callable[..., Card], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small("a", "bb")
    monkeypatch.setenv("EMBEDKIT_DATA", str(tmp_path))
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "a").write_text("a")
    with pytest.raises(BadInput, match=r"^bb of 'x' is not here: run `embedkit fetch x` \(2 bytes, CC0\)"):
        shelf.locate("x")
    for content in ("bbb", "bc"):
        (folder / "bb").write_text(content)
        with pytest.raises(BadInput, match=r"x/bb is not the same file: its size or checksum differs"):
            shelf.locate("x")
    (folder / "bb").write_text("bb")
    assert shelf.locate("x") == {"a": folder / "a", "bb": folder / "bb"}
    assert shelf.locate("x", ["b"]) == {"bb": folder / "bb"}
    assert shelf.corpus_files("x") == [folder / "a", folder / "bb"]
    assert shelf.corpus_files("x", "b") == [folder / "bb"]


def test_the_cache_comes_first_and_needs_no_data_folder(
    small: Callable[..., Card], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small("a")
    cache = tmp_path / "cache" / "shelf" / "x"
    for folder in (cache, tmp_path / "x"):
        folder.mkdir(parents=True)
        (folder / "a").write_text("a")
    monkeypatch.setenv("EMBEDKIT_DATA", str(tmp_path))
    assert shelf.locate("x") == {"a": cache / "a"}
    (cache / "a").write_text("too long")
    assert shelf.locate("x") == {"a": tmp_path / "x" / "a"}
    # Where no cache can be made, data is found all the same.
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EMBEDKIT_CACHE", str(tmp_path / "file" / "cache"))
    assert shelf.locate("x") == {"a": tmp_path / "x" / "a"}


def test_one_alternative_is_enough_and_extras_are_not_waited_for(
    small: Callable[..., Card], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EMBEDKIT_DATA", str(tmp_path))
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "bb").write_text("bb")
    small("a", "bb", extra=("bb",))
    with pytest.raises(BadInput, match="a of 'x' is not here"):
        shelf.locate("x")
    assert list(shelf.locate("x", ["bb"])) == ["bb"]
    small("a", "bb", extra=("bb",), alternatives=True)
    assert list(shelf.locate("x")) == ["bb"]
    with pytest.raises(BadInput, match=r"a of 'x' is not here: run `embedkit fetch x`"):
        shelf.locate("x", ["a"])
    (tmp_path / "x" / "bb").unlink()
    with pytest.raises(BadInput, match=r"bb of 'x' is not here: run `embedkit fetch x --file bb`"):
        shelf.locate("x", ["bb"])


def test_looking_for_files_makes_no_folders_for_them(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        shelf.locate("mnist")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.name != "shelf"]


@pytest.mark.parametrize("name", ["mnist", "glove-6b", "questions-words"])
def test_only_a_corpus_has_corpus_files(name: str) -> None:
    with pytest.raises(BadInput, match=f"'{name}' is not a corpus but"):
        shelf.corpus_files(name)


# -- the real data ---------------------------------------------------------------------------------------------------

REAL = {
    "mnist": 4,
    "questions-words": 1,
    "msr": 3,
    "wordsim-353": 3,
    "simlex-999": 1,
    "rg-65": 1,
    "mc-30": 1,
    "enwiki15": 5,
}


@pytest.mark.parametrize("name", REAL)
def test_real_files_are_found_and_are_those_of_the_card(data: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("EMBEDKIT_DATA", str(data))
    found = shelf.locate(name)
    assert len(found) == REAL[name]
    for entry in shelf.card(name).files:
        assert entry.sha256
        assert hashlib.sha256(found[entry.name].read_bytes()).hexdigest() == entry.sha256
        assert found[entry.name].stat().st_size == entry.bytes
        assert found[entry.name] == data / entry.path


def test_the_real_corpus_has_its_parts_in_order(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDKIT_DATA", str(data))
    assert [path.name[9:-7] for path in shelf.corpus_files("enwiki15")] == ["a", "b", "c", "d"]
    assert shelf.corpus_files("enwiki15", "raw") == [data / "corpus" / "enwiki15-raw.txt.gz"]


def test_real_sets_can_be_evaluated_with(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from embedkit.evaluation import read_pairs, read_questions

    monkeypatch.setenv("EMBEDKIT_DATA", str(data))
    for name, pairs in {"wordsim-353": 353, "simlex-999": 999, "rg-65": 65, "mc-30": 30}.items():
        assert len(read_pairs(next(iter(shelf.locate(name).values())))) == pairs
    for name in ("questions-words", "msr"):
        assert len(read_questions(next(iter(shelf.locate(name).values())))) > 10


def test_the_shelf_is_light() -> None:
    code = "import sys; from embedkit import shelf; shelf.names(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"numpy", "pandas", "torch", "numba", "ssl", "http.client", "zipfile._path"} & set(loaded.split())
