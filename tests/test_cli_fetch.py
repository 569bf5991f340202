"""`embedkit fetch` and `embedkit corpora`, loaded from the entry point."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from embedkit import shelf

DATA = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(DATA).hexdigest()


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class Typed(io.TextIOWrapper):
    """What a person types at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Ran]:
    """Run the program in this process, with nothing at hand."""
    (entry,) = entry_points(group="console_scripts", name="embedkit")
    main: Callable[[list[str]], int] = entry.load()
    monkeypatch.setenv("EMBEDKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EMBEDKIT_DATA", raising=False)
    monkeypatch.delenv("EMBEDKIT_OFFLINE", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*args: str, typed: str | None = None) -> Ran:
        stdin = (io.TextIOWrapper if typed is None else Typed)(io.BytesIO((typed or "").encode()))
        monkeypatch.setattr(sys, "stdin", stdin)
        capsys.readouterr()
        code = main(list(args))
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def cards(tmp_path: Path, asked: list[str]) -> Iterator[Path]:
    """A shelf with the one data set 'thing', which a server of this machine gives out; after half of it, it waits."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(DATA)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(DATA[:1000])
                self.wfile.flush()
                time.sleep(30 if self.path == "/slow" else 0)
                self.wfile.write(DATA[1000:])

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as the base class has it
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        folder = tmp_path / "cards"
        for name in ("thing", "slow"):
            (folder / name).mkdir(parents=True)
            (folder / name / "card.md").write_text(
                f'+++\nname = "{name}"\ntitle = "A thing"\nkind = "pairs"\nlicence = "CC0"\n'
                'licence_url = "https://example.com/cc0"\nhomepage = ""\ncitation = "nobody"\n'
                f'how = "embedkit fetch {name}"\n\n[[files]]\nname = "{name}.txt"\n'
                f'urls = ["http://127.0.0.1:{server.server_address[1]}/{name}"]\nbytes = {len(DATA)}\n'
                f'sha256 = "{DIGEST}"\n+++\n\n# A thing\n\nNothing more.\n'
            )
        yield folder
        server.shutdown()
        thread.join()


@pytest.fixture
def mine(cards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program sees that shelf."""
    monkeypatch.setattr("embedkit.shelf.cards.shelf", lambda: cards)


# -- corpora ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("corpora", "list"), ("fetch", "--list")])
def test_the_shelf_is_listed(run: Callable[..., Ran], command: tuple[str, ...]) -> None:
    ran = run(*command)
    assert (ran.code, ran.err) == (0, "")
    header, *rows = ran.out.splitlines()
    assert header.split() == ["name", "kind", "size", "licence", "here"]
    assert [row.split()[0] for row in rows] == shelf.names()
    assert "mnist            images     11.6 MB    CC BY-SA 3.0             no" in rows


def test_programs_read_numbers(run: Callable[..., Ran]) -> None:
    rows = {row["name"]: row for row in json.loads(run("corpora", "list", "--format", "json").out)}
    assert rows["text8"] == {"name": "text8", "kind": "corpus", "size": 31344016, "licence": "GFDL", "here": "no"}
    assert rows["kingdom"]["size"] is None
    lines = run("corpora", "list", "--format", "csv").out.splitlines()
    assert [row["size"] for row in csv.DictReader(lines) if row["name"] == "mnist"] == ["11594722"]
    for style, start in {"tsv": "brown\tcorpus\t", "jsonl": '{"name": "brown"'}.items():
        assert start in run("corpora", "list", "--format", style).out


def test_what_is_here_is_said_to_be_here(run: Callable[..., Ran], data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDKIT_DATA", str(data))
    here = {row["name"]: row["here"] for row in json.loads(run("corpora", "list", "--format", "json").out)}
    assert here["kingdom"] is None  # generated: neither here nor elsewhere
    assert {name for name, answer in here.items() if answer == "yes"} >= {
        "enwiki15", "mnist", "questions-words", "msr", "wordsim-353", "simlex-999", "rg-65", "mc-30"
    }  # fmt: skip
    ran = run("fetch", "mnist")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [str(data / entry.path) for entry in shelf.card("mnist").files]
    facts = {row["fact"]: row["value"] for row in json.loads(run("corpora", "show", "mnist", "--format", "json").out)}
    assert facts["files.t10k-labels-idx1-ubyte.gz.path"] == str(data / "mnist" / "t10k-labels-idx1-ubyte.gz")


def test_a_card_is_shown_with_its_prose(run: Callable[..., Ran]) -> None:
    ran = run("corpora", "show", "fasttext-en")
    assert (ran.code, ran.err) == (0, "")
    facts, _, prose = ran.out.partition("\n\n")
    lines = [line.split(maxsplit=1) for line in facts.splitlines()]
    assert ["licence", "CC BY-SA 3.0"] in lines
    assert ["files.cc.en.300.bin.gz.checksum", "not published"] in lines
    assert prose.startswith("# fastText, English\n")
    rows = [json.loads(line) for line in run("corpora", "show", "fasttext-en", "--format", "jsonl").out.splitlines()]
    values = {row["fact"]: row["value"] for row in rows}
    assert values["download"] == 681808098
    assert values["files.cc.en.300.bin.gz.bytes"] == 4503593528
    assert values["files.wiki-news-300d-1M.vec.path"] is None
    assert values["files.wiki-news-300d-1M.vec.archive.sha256"].startswith("bdeb85f4")


# -- fetch -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("mine")
def test_size_and_licence_are_told_then_it_is_fetched(
    run: Callable[..., Ran], asked: list[str], tmp_path: Path
) -> None:
    ran = run("fetch", "thing")
    path = tmp_path / "cache" / "shelf" / "thing" / "thing.txt"
    assert (ran.code, ran.out) == (0, f"{path}\n")
    assert path.read_bytes() == DATA
    assert ran.err == (
        f"A thing: 256.0 kB from 127.0.0.1\nlicence: CC0 (https://example.com/cc0)\nkept in {path.parent}\n"
        "thing.txt: sha256 as expected\n"
    )
    assert run("fetch", "thing", typed="") == (0, f"{path}\n", "")  # here: nothing to tell or to ask
    assert asked == ["/thing"]


@pytest.mark.usefixtures("mine")
def test_a_person_is_asked_unless_yes_is_given(run: Callable[..., Ran], asked: list[str]) -> None:
    ran = run("fetch", "thing", typed="n\n")
    assert (ran.code, ran.out) == (1, "")
    assert "256.0 kB" in ran.err
    assert ran.err.endswith("embedkit: nothing was downloaded\n")
    assert run("fetch", "thing", typed="").code == 130  # end of input is no consent
    assert not asked
    assert run("fetch", "thing", typed="y\n").code == 0
    assert asked == ["/thing"]
    assert run("fetch", "slow", "--from-file", "none", typed="").code == 4  # nothing to download, nothing to ask


@pytest.mark.usefixtures("mine")
def test_yes_asks_nothing(run: Callable[..., Ran], asked: list[str]) -> None:
    assert run("fetch", "thing", "--yes", typed="").code == 0
    assert asked == ["/thing"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("mine")
def test_a_bar_is_drawn_where_a_person_looks(
    run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    ran = run("fetch", "thing")
    assert (ran.code, ran.out) == (0, f"{tmp_path / 'cache' / 'shelf' / 'thing' / 'thing.txt'}\n")
    assert "thing.txt: 100%" in screen.getvalue()
    assert "256k/256k" in screen.getvalue()


@pytest.mark.usefixtures("mine")
def test_offline_and_from_a_file(
    run: Callable[..., Ran], asked: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EMBEDKIT_OFFLINE", "1")
    ran = run("fetch", "thing")
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.startswith("embedkit: EMBEDKIT_OFFLINE is set, 'thing' is not downloaded: get http://127.0.0.1")
    assert ran.err.endswith(" elsewhere and run `embedkit fetch thing --from-file FILE`\n")
    (tmp_path / "mine").write_bytes(DATA)
    ran = run("fetch", "thing", "--from-file", "mine")
    assert (ran.code, ran.err) == (0, "thing.txt: sha256 as expected\n")
    (tmp_path / "mine").write_bytes(DATA[1:] + b"x")
    ran = run("fetch", "thing", "--from-file", "mine")
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.startswith("embedkit: mine: has sha256 ")
    assert not asked


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["fetch"], 2, "expected the NAME of a data set, or --list"),
        (["fetch", "mnist", "--list"], 2, "not both"),
        (["fetch", "mnits"], 4, "no data set is called 'mnits' (near: mnist, "),
        (["fetch", "kingdom"], 4, "'kingdom' is not kept in files: it is made"),
        (["fetch", "enwiki15"], 4, "cannot be downloaded: use `embedkit fetch enwiki15 --from-file FILE`"),
        (["fetch", "mnist", "--file", "nothing"], 4, "'mnist' has no file 'nothing', only train-images"),
        (["fetch", "mnist", "--from-file", "none"], 4, "none: cannot be read: No such file"),
        (["corpora", "show", "mnits"], 4, "no data set is called 'mnits' (near: mnist, "),
    ],
)
def test_a_mistake_ends_in_one_clear_line(run: Callable[..., Ran], args: list[str], code: int, words: str) -> None:
    ran = run(*args)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err
    assert "Traceback" not in ran.err
    if code == 4:
        assert ran.err.startswith("embedkit: ")
        assert ran.err.count("\n") == 1


def test_ctrl_c_ends_with_130_and_leaves_a_part(cards: Path, tmp_path: Path) -> None:
    code = (
        "import pathlib, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "from importlib.metadata import entry_points\n"
        "from embedkit.shelf import cards\n"
        f"cards.shelf = lambda: pathlib.Path({str(cards)!r})\n"
        "(entry,) = entry_points(group='console_scripts', name='embedkit')\n"
        "sys.exit(entry.load()(['fetch', 'slow']))\n"
    )
    environment = {**os.environ, "EMBEDKIT_CACHE": str(tmp_path / "cache")}
    for name in ("EMBEDKIT_DATA", "EMBEDKIT_OFFLINE"):
        environment.pop(name, None)
    part = tmp_path / "cache" / "shelf" / "slow" / "slow.txt.part"
    with subprocess.Popen(
        [sys.executable, "-P", "-W", "error", "-c", code], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 30
        while not (part.is_file() and part.stat().st_size == 1000):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.endswith("embedkit: interrupted\n")
    assert "Traceback" not in err
    assert part.stat().st_size == 1000


@pytest.mark.parametrize("args", [["corpora", "list"], ["corpora", "show", "mnist"], ["fetch", "--list"]])
def test_listing_imports_no_engine(args: list[str]) -> None:
    code = (
        "import sys\n"
        "from importlib.metadata import entry_points\n"
        "(entry,) = entry_points(group='console_scripts', name='embedkit')\n"
        f"code = entry.load()({args!r})\n"
        "print(code, *sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    exit_code, *modules = ran.stdout.splitlines()[-1].split()
    assert exit_code == "0"
    assert not {"pandas", "torch", "numba", "scipy", "sklearn", "gensim", "tqdm", "ssl"} & set(modules)
