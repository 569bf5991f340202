"""Downloads from a server that lies, cuts, stalls and redirects; and files that the user has."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from embedkit import shelf
from embedkit.errors import BadFile, BadInput
from embedkit.shelf import connecting, downloading
from embedkit.shelf.cards import FileEntry
from embedkit.shelf.unpacking import make

DATA = bytes(range(256)) * 4000  # 1,024,000 bytes
OTHER = DATA[::-1]
HALF = len(DATA) // 2


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# -- a server with bad manners ---------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.server.answers[self.path](self)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as the base class has it
        pass

    def reply(self, code: int = 200, body: bytes = b"", length: int | None = None, **headers: str) -> None:
        self.send_response(code)
        if length != -1:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    @property
    def start(self) -> int:
        """Where the piece begins that is asked for."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(found[1]) if found else 0


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.answers: dict[str, Callable[[Handler], None]] = {}

    def url(self, path: str = "/thing") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that go away are part of the tests


def honest(data: bytes, etag: str = '"one"') -> Callable[[Handler], None]:
    """Gives pieces to whoever asks for them, of the file that the asker knows."""

    def answer(request: Handler) -> None:
        start = request.start
        if start and request.headers.get("If-Range", etag) == etag:
            if start >= len(data):
                request.reply(416, Content_Range=f"bytes */{len(data)}")
                return
            place = f"bytes {start}-{len(data) - 1}/{len(data)}"
            request.reply(206, data[start:], ETag=etag, Content_Range=place)
        else:
            request.reply(200, data, ETag=etag)

    return answer


def in_turn(*answers: Callable[[Handler], None]) -> Callable[[Handler], None]:
    """One answer after the other; the last again and again."""
    waiting = list(answers)
    return lambda request: (waiting.pop(0) if len(waiting) > 1 else waiting[0])(request)


def cut(data: bytes, after: int, **headers: str) -> Callable[[Handler], None]:
    return lambda request: request.reply(200, data[:after], len(data), **headers)


def stall(data: bytes, after: int, seconds: float = 5.0) -> Callable[[Handler], None]:
    def answer(request: Handler) -> None:
        request.reply(200, data[:after], len(data), ETag='"one"')
        request.wfile.flush()
        time.sleep(seconds)

    return answer


def chunked(data: bytes, *, ended: bool = True) -> Callable[[Handler], None]:
    def answer(request: Handler) -> None:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for start in range(0, len(data), 100_000):
            piece = data[start : start + 100_000]
            request.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if ended:
            request.wfile.write(b"0\r\n\r\n")

    return answer


def chunked_with_a_length(request: Handler) -> None:
    """What HTTP forbids: the chunks are right, the length is not."""
    request.send_response(200)
    request.send_header("Content-Length", "5")
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    request.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(DATA), DATA))


def redirect(to: str, code: int = 302) -> Callable[[Handler], None]:
    return lambda request: request.reply(code, Location=to)


def raw(data: bytes) -> Callable[[Handler], None]:
    return lambda request: (request.wfile.write(data), None)[1]


# -- fixtures --------------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a card for 'thing' with these files and sources; gives the folder of cards."""
    folder = tmp_path / "cards"
    monkeypatch.setattr("embedkit.shelf.cards.shelf", lambda: folder)
    monkeypatch.setenv("EMBEDKIT_CACHE", str(tmp_path / "cache"))
    for name in ("EMBEDKIT_DATA", "EMBEDKIT_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(downloading, "BACK_OFF", 0.01)

    def write(*files: dict[str, Any], sources: tuple[dict[str, Any], ...] = (), **facts: Any) -> Path:
        about = {"name": "thing", "title": "A thing", "kind": "corpus", "licence": "CC0", "licence_url": "",
                 "homepage": "", "citation": "", "how": "embedkit fetch thing", **facts}  # fmt: skip
        lines = [f"{key} = {toml(value)}" for key, value in about.items()]
        for group, entries in (("files", files), ("sources", sources)):
            for entry in entries:
                lines += [f"[[{group}]]", *(f"{key} = {toml(value)}" for key, value in entry.items())]
        (folder / "thing").mkdir(parents=True, exist_ok=True)
        (folder / "thing" / "card.md").write_text("\n".join(["+++", *lines, "+++", "A thing."]) + "\n")
        return folder

    return write


def toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool | int) else repr(value)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "shelf" / "thing"


def entry(server: Server, **facts: Any) -> dict[str, Any]:
    """A file 'thing' of the server whose size and checksum are those of DATA."""
    known = {"name": "thing", "urls": [server.url()], "bytes": len(DATA), "sha256": sha256(DATA), **facts}
    return {key: value for key, value in known.items() if value is not None}


def in_folder(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


# -- what works ------------------------------------------------------------------------------------------------------


def test_a_file_is_downloaded_once_and_then_at_hand(server: Server, cards: Callable[..., Path], home: Path) -> None:
    cards(entry(server))
    server.answers["/thing"] = honest(DATA)
    seen: list[tuple[str, int, int | None]] = []
    found = shelf.fetch("thing", progress=lambda *event: seen.append(event))
    assert found == {"thing": home / "thing"} == shelf.locate("thing") == shelf.fetch("thing")
    assert found["thing"].read_bytes() == DATA
    assert in_folder(home) == {"thing"}
    assert len(server.asked) == 1
    assert server.asked[0][1]["User-Agent"].startswith("embedkit/")
    assert server.asked[0][1]["Accept-Encoding"] == "identity"
    assert seen[-1] == ("thing", len(DATA), len(DATA))
    assert [done for _, done, _ in seen] == sorted({done for _, done, _ in seen})


@pytest.mark.parametrize(
    "trouble",
    [
        lambda request: request.reply(503, b"busy"),
        lambda request: request.reply(500),
        lambda request: request.reply(429),
        raw(b""),
        raw(b"HTTP/1.1 200"),
        raw(b"what?\r\n\r\n"),
        cut(DATA, 0),
        chunked(DATA[:HALF], ended=False),
    ],
)
def test_what_may_be_over_in_a_moment_is_tried_again(
    server: Server, cards: Callable[..., Path], trouble: Callable[[Handler], None]
) -> None:
    cards(entry(server))
    server.answers["/thing"] = in_turn(trouble, trouble, honest(DATA))
    assert shelf.fetch("thing")["thing"].read_bytes() == DATA
    assert len(server.asked) == 3


def test_a_download_that_is_cut_goes_on_from_there(server: Server, cards: Callable[..., Path]) -> None:
    cards(entry(server))
    server.answers["/thing"] = in_turn(cut(DATA, HALF, ETag='"one"'), honest(DATA))
    assert shelf.fetch("thing")["thing"].read_bytes() == DATA
    headers = server.asked[1][1]
    assert (headers["Range"], headers["If-Range"]) == (f"bytes={HALF}-", '"one"')


def test_many_cuts_with_headway_between_them_end_well(server: Server, cards: Callable[..., Path]) -> None:
    long = DATA * 9

    def some(request: Handler) -> None:
        start, end = request.start, min(len(long), request.start + 3 * 2**19)
        place = {"Content_Range": f"bytes {start}-{len(long) - 1}/{len(long)}"} if start else {}
        request.reply(206 if start else 200, long[start:end], len(long) - start, ETag='"x"', **place)

    cards(entry(server, bytes=len(long), sha256=sha256(long)))
    server.answers["/thing"] = some
    assert shelf.fetch("thing")["thing"].read_bytes() == long
    assert len(server.asked) > downloading.TRIES


def test_a_server_that_ignores_ranges_starts_again(server: Server, cards: Callable[..., Path]) -> None:
    cards(entry(server))
    server.answers["/thing"] = in_turn(cut(DATA, HALF), lambda request: request.reply(200, DATA))
    assert shelf.fetch("thing")["thing"].read_bytes() == DATA
    assert "Range" in server.asked[1][1]


def test_a_file_that_changes_between_two_parts_is_never_mixed(server: Server, cards: Callable[..., Path]) -> None:
    """Nothing is known of it but its address: the server's tag is all that can tell the two apart."""
    cards(entry(server, bytes=None, sha256=None))
    server.answers["/thing"] = in_turn(cut(DATA, HALF, ETag='"one"'), honest(OTHER, '"two"'))
    assert shelf.fetch("thing")["thing"].read_bytes() == OTHER


@pytest.mark.parametrize(("etag", "begin"), [('"two"', HALF), ('"one"', HALF - 1), ('"one"', HALF + 1)])
def test_a_piece_with_another_tag_or_place_is_not_taken(
    server: Server, cards: Callable[..., Path], etag: str, begin: int
) -> None:
    def careless(request: Handler) -> None:  # ignores If-Range
        place = f"bytes {begin}-{len(OTHER) - 1}/{len(OTHER)}"
        request.reply(206, OTHER[begin:], ETag=etag, Content_Range=place)

    cards(entry(server, bytes=None, sha256=None))
    server.answers["/thing"] = in_turn(cut(DATA, HALF, ETag='"one"'), careless, honest(OTHER, '"two"'))
    assert shelf.fetch("thing")["thing"].read_bytes() == OTHER
    assert ["Range" in headers for _, headers in server.asked] == [False, True, False]


def test_without_tag_and_checksum_nothing_is_resumed(server: Server, cards: Callable[..., Path]) -> None:
    cards(entry(server, bytes=None, sha256=None))
    server.answers["/thing"] = in_turn(cut(DATA, HALF, ETag='W/"weak"'), honest(OTHER))
    assert shelf.fetch("thing")["thing"].read_bytes() == OTHER
    assert "Range" not in server.asked[1][1]


def test_two_halves_that_do_not_fit_are_thrown_away(server: Server, cards: Callable[..., Path]) -> None:
    """No tag, but a checksum: it finds the mixture, and the whole file is asked for."""
    cards(entry(server))
    place = f"bytes {HALF}-{len(DATA) - 1}/{len(DATA)}"
    mixed = in_turn(cut(DATA, HALF), lambda r: r.reply(206, OTHER[HALF:], Content_Range=place), honest(DATA))
    server.answers["/thing"] = mixed
    assert shelf.fetch("thing")["thing"].read_bytes() == DATA
    assert "Range" not in server.asked[2][1]


def test_a_part_that_is_longer_than_the_file_is_thrown_away(
    server: Server, cards: Callable[..., Path], home: Path
) -> None:
    cards(entry(server, bytes=None))
    home.mkdir(parents=True)
    (home / "thing.part").write_bytes(DATA + DATA)
    server.answers["/thing"] = honest(DATA)
    assert shelf.fetch("thing")["thing"].read_bytes() == DATA
    assert ["Range" in headers for _, headers in server.asked] == [True, False]


def test_a_complete_part_is_checked_and_named_without_asking(
    server: Server, cards: Callable[..., Path], home: Path
) -> None:
    cards(entry(server))
    home.mkdir(parents=True)
    (home / "thing.part").write_bytes(DATA)
    assert shelf.fetch("thing")["thing"].read_bytes() == DATA
    assert not server.asked


@pytest.mark.parametrize("known", [{}, {"bytes": None, "sha256": None}])
def test_no_length_and_no_end_but_the_connection_s(
    server: Server, cards: Callable[..., Path], known: dict[str, Any]
) -> None:
    cards(entry(server, **known))
    server.answers["/thing"] = lambda request: request.reply(200, DATA, -1)
    assert shelf.fetch("thing")["thing"].read_bytes() == DATA


@pytest.mark.parametrize("answer", [chunked(DATA), chunked_with_a_length])
def test_chunks_have_no_length(server: Server, cards: Callable[..., Path], answer: Callable[[Handler], None]) -> None:
    cards(entry(server))
    server.answers["/thing"] = answer
    assert shelf.fetch("thing")["thing"].read_bytes() == DATA


def test_redirects_within_bounds_are_followed(server: Server, cards: Callable[..., Path]) -> None:
    cards(entry(server))
    server.answers |= {"/thing": redirect("/1", 301), "/1": redirect("/2", 307), "/2": redirect(server.url("/3"))}
    server.answers["/3"] = in_turn(cut(DATA, HALF), honest(DATA))
    assert shelf.fetch("thing")["thing"].read_bytes() == DATA
    assert server.asked[-1][1]["Range"] == f"bytes={HALF}-"


def test_the_next_address_is_tried_and_all_failures_are_told(server: Server, cards: Callable[..., Path]) -> None:
    cards(entry(server, urls=[server.url("/gone"), server.url()]))
    server.answers |= {"/gone": lambda request: request.reply(404), "/thing": honest(DATA)}
    assert shelf.fetch("thing")["thing"].read_bytes() == DATA
    cards(entry(server, name="thing2", urls=[server.url("/gone"), server.url("/none")]))
    server.answers["/none"] = lambda request: request.reply(403)
    with pytest.raises(BadFile, match=r"127.0.0.1: answered 404 Not Found; 127.0.0.1: answered 403 Forbidden; get it"):
        shelf.fetch("thing")


def test_the_next_address_goes_on_where_the_first_broke_off(server: Server, cards: Callable[..., Path]) -> None:
    """The checksum says that it is the same file, although the two servers tag it differently."""
    cards(entry(server, urls=[server.url("/first"), server.url()]))
    server.answers["/first"] = in_turn(cut(DATA, HALF, ETag='"first"'), lambda request: request.reply(404))
    server.answers["/thing"] = honest(DATA, '"second"')
    assert shelf.fetch("thing")["thing"].read_bytes() == DATA
    assert [path for path, _ in server.asked] == ["/first", "/first", "/thing"]
    assert server.asked[2][1]["Range"] == f"bytes={HALF}-"
    assert "If-Range" not in server.asked[2][1]


@pytest.mark.parametrize("etag", ['"a\r\n b"', '"\xe4"'])
def test_a_tag_that_cannot_be_sent_back_is_none(server: Server, cards: Callable[..., Path], etag: str) -> None:
    cards(entry(server))
    server.answers["/thing"] = in_turn(cut(DATA, HALF, ETag=etag), honest(DATA))
    assert shelf.fetch("thing")["thing"].read_bytes() == DATA
    assert "If-Range" not in server.asked[1][1]


# -- what is refused -------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Callable[[Handler], None], str, int]] = {
    "not there": (lambda r: r.reply(404), "answered 404 Not Found", 1),
    "forbidden": (lambda r: r.reply(403), "answered 403 Forbidden", 1),
    "always busy": (lambda r: r.reply(503), "answered 503 Service Unavailable (4 tries)", 4),
    "nothing at all": (raw(b""), "(4 tries)", 4),
    "no content": (lambda r: r.reply(204), "answered 204 No Content", 1),
    "another size": (lambda r: r.reply(200, DATA + b"x"), "offers 1,024,001 bytes, expected 1,024,000", 1),
    "other bytes": (lambda r: r.reply(200, OTHER), f"has sha256 {sha256(OTHER)}, expected {sha256(DATA)}", 1),
    "one bit flipped": (lambda r: r.reply(200, DATA[:-1] + b"\xfe"), "has sha256", 1),
    "a page by its type": (lambda r: r.reply(200, DATA, Content_Type="text/html; charset=utf-8"), "a web page", 1),
    "a page by its text": (chunked(b"\n <!DOCTYPE HTML><html>sign in"), "a web page", 1),
    "more than promised": (chunked(DATA + b"x"), "sent more than the 1,024,000 bytes", 1),
    "without end": (lambda r: r.reply(200, DATA + DATA, -1), "sent more than the 1,024,000 bytes", 1),
    "a circle": (redirect("/thing"), "redirects in circles, or more than 5 times", 6),
    "to another host in the open": (redirect("http://example.com/x"), "redirects to http://example.com/x", 1),
    "to a file": (redirect("file:///etc/passwd"), "redirects", 1),
    "to ftp": (redirect("ftp://example.com/x"), "redirects to ftp://example.com/x", 1),
    "to nowhere": (lambda r: r.reply(302), "redirects", 1),
    "a piece that nobody asked for": (
        lambda r: r.reply(206, DATA, Content_Range=f"bytes 0-{len(DATA) - 1}/{len(DATA)}"),
        "sent another piece of the file than was asked for (4 tries)",
        4,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_the_file_never_gets_its_name(
    server: Server, cards: Callable[..., Path], home: Path, case: str
) -> None:
    server.answers["/thing"], words, requests = REFUSED[case]
    cards(entry(server))
    with pytest.raises(BadFile) as caught:
        shelf.fetch("thing")
    message = str(caught.value)
    assert message.startswith(f"{server.url()}: cannot be fetched: ")
    assert words in message
    assert "get it another way and give it by --from-file" in message
    assert "\n" not in message
    assert not in_folder(home) & {"thing", "thing.part"}
    assert len(server.asked) == requests


def test_a_long_way_round_is_not_gone(server: Server, cards: Callable[..., Path]) -> None:
    cards(entry(server, urls=[server.url("/0")]))
    server.answers |= {f"/{i}": redirect(f"/{i + 1}") for i in range(6)} | {"/6": honest(DATA)}
    with pytest.raises(BadFile, match="redirects in circles, or more than 5 times"):
        shelf.fetch("thing")
    cards(entry(server, urls=[server.url("/1")]))
    assert shelf.fetch("thing")["thing"].read_bytes() == DATA


def test_a_page_is_noticed_even_if_nothing_is_known_of_the_file(server: Server, cards: Callable[..., Path]) -> None:
    cards(entry(server, bytes=None, sha256=None))
    server.answers["/thing"] = lambda request: request.reply(200, b"<html>moved</html>")
    with pytest.raises(BadFile, match="sent a web page instead of the file"):
        shelf.fetch("thing")


def test_where_no_size_is_known_there_is_a_limit(
    server: Server, cards: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "UNSTATED", 500_000)
    cards(entry(server, bytes=None, sha256=None))
    server.answers["/thing"] = chunked(DATA)
    with pytest.raises(BadFile, match="sent more than the 500,000 bytes"):
        shelf.fetch("thing")


@pytest.mark.parametrize("url", ["http://example.com/x", "file:///etc/passwd", "ftp://127.0.0.1/x", "http://[::2]/x"])
def test_only_https_is_asked(cards: Callable[..., Path], url: str) -> None:
    cards({"name": "thing", "urls": [url], "bytes": 5})
    with pytest.raises(BadFile, match="is not an https address"):
        shelf.fetch("thing")


def test_from_https_nothing_leads_into_the_open() -> None:
    assert connecting.allowed("https://example.com/x", local=False)
    assert not connecting.allowed("http://example.com/x", local=False)
    assert not connecting.allowed("http://127.0.0.1/x", local=False)  # a public server must not reach inside
    assert not connecting.allowed("http://localhost.example.com/x", local=True)
    assert connecting.allowed("http://localhost:80/x", local=True)


def test_a_server_that_cannot_speak_tls_is_one_line(server: Server, cards: Callable[..., Path]) -> None:
    cards(entry(server, urls=[server.url().replace("http:", "https:")]))
    with pytest.raises(BadFile, match=r"cannot be fetched: .*\(4 tries\)"):
        shelf.fetch("thing")


def test_nobody_listens(cards: Callable[..., Path]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cards({"name": "thing", "urls": [f"http://127.0.0.1:{port}/thing"], "bytes": 5})
    with pytest.raises(BadFile, match="Connection refused"):
        shelf.fetch("thing")


def test_a_stall_ends_in_the_seconds_that_the_error_names_and_the_part_is_kept(
    server: Server, cards: Callable[..., Path], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "SILENCE", 0.25)
    cards(entry(server))
    server.answers["/thing"] = stall(DATA, HALF)
    begun = time.monotonic()
    with pytest.raises(BadFile, match=r"nothing came for 0.25 s \(4 tries\); 512.0 kB are kept, the same command goes"):
        shelf.fetch("thing")
    assert time.monotonic() - begun < 4
    assert in_folder(home) == {"thing.part", "thing.part.json"}
    server.answers["/thing"] = honest(DATA)
    assert shelf.fetch("thing")["thing"].read_bytes() == DATA
    assert server.asked[-1][1]["Range"] == f"bytes={HALF}-"


def test_a_server_that_accepts_and_says_nothing(cards: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "SILENCE", 0.1)
    with socket.create_server(("127.0.0.1", 0), backlog=16) as silent:
        cards({"name": "thing", "urls": [f"http://127.0.0.1:{silent.getsockname()[1]}/thing"], "bytes": 5})
        with pytest.raises(BadFile, match=r"nothing came for 0.1 s \(4 tries\)"):
            shelf.fetch("thing")


def test_a_drip_is_a_stall(server: Server, cards: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "SILENCE", 0.1)
    monkeypatch.setattr(downloading, "TRIES", 1)

    def drip(request: Handler) -> None:
        request.reply(200, b"", len(DATA))
        for byte in DATA:
            request.wfile.write(bytes([byte]))
            time.sleep(0.02)

    cards(entry(server))
    server.answers["/thing"] = drip
    with pytest.raises(BadFile, match=r"only \d+ bytes came in 0 s"):
        shelf.fetch("thing")


def test_headers_that_drip_are_a_stall(
    server: Server, cards: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "SILENCE", 0.15)
    monkeypatch.setattr(downloading, "TRIES", 1)

    def drip(request: Handler) -> None:
        for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Header: something\r\n" * 99:
            request.wfile.write(bytes([byte]))
            time.sleep(0.02)

    cards(entry(server, bytes=None, sha256=None))
    server.answers["/thing"] = drip
    begun = time.monotonic()
    with pytest.raises(BadFile, match=r"nothing came for 0.15 s"):
        shelf.fetch("thing")
    assert time.monotonic() - begun < 3


def test_nothing_is_no_file(server: Server, cards: Callable[..., Path], home: Path) -> None:
    cards(entry(server, bytes=None, sha256=None))
    server.answers["/thing"] = lambda request: request.reply(200, b"", -1)
    with pytest.raises(BadFile, match=r"sent nothing \(4 tries\)"):
        shelf.fetch("thing")
    assert "thing" not in in_folder(home)


# -- checksums that nobody publishes ---------------------------------------------------------------------------------


def test_the_first_checksum_seen_is_kept_told_and_held(server: Server, cards: Callable[..., Path], home: Path) -> None:
    cards(entry(server, bytes=None, sha256=None))
    server.answers["/thing"] = honest(DATA)
    lines: list[str] = []
    shelf.fetch("thing", say=lines.append)
    assert lines == [f"thing: no published checksum; sha256 {sha256(DATA)}"]
    assert (home / "thing.sha256").read_text() == f"{sha256(DATA)}  thing\n"
    (home / "thing").unlink()
    server.answers["/thing"] = honest(OTHER)
    with pytest.raises(BadFile, match=r"has sha256 .* if that file was published anew, delete .*thing.sha256"):
        shelf.fetch("thing")
    (home / "thing.sha256").unlink()
    assert shelf.fetch("thing")["thing"].read_bytes() == OTHER


@pytest.mark.parametrize("kind", ["sha1", "md5"])
def test_weaker_checksums_are_held_too(server: Server, cards: Callable[..., Path], kind: str) -> None:
    lines: list[str] = []
    cards(entry(server, sha256=None, **{kind: hashlib.new(kind, DATA).hexdigest()}))
    server.answers["/thing"] = in_turn(honest(OTHER), honest(DATA))
    with pytest.raises(BadFile, match=f"has {kind} "):
        shelf.fetch("thing")
    shelf.fetch("thing", say=lines.append)
    assert lines == [f"thing: {kind} as expected; sha256 {sha256(DATA)}"]


# -- processes, kills and full disks ---------------------------------------------------------------------------------

SCRIPT = """
import pathlib, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored in what a shell starts in the background
from embedkit import shelf
from embedkit.errors import BadFile
from embedkit.shelf import cards
folder = pathlib.Path(sys.argv[1])
cards.shelf = lambda: folder
{before}
try:
    print(shelf.fetch("thing")["thing"].stat().st_size)
except BadFile as error:
    print("refused:", error)
"""


def process(folder: Path, before: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-W", "error", "-c", SCRIPT.format(before=before), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_eight_processes_download_once(server: Server, cards: Callable[..., Path]) -> None:
    def slowly(request: Handler) -> None:
        time.sleep(0.5)
        request.reply(200, DATA)

    folder = cards(entry(server))
    server.answers["/thing"] = slowly
    running = [process(folder) for _ in range(8)]
    for one in running:
        out, err = one.communicate(timeout=60)
        assert (out, err) == (f"{len(DATA)}\n", "")
    assert len(server.asked) == 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_after_a_kill_the_download_goes_on(
    server: Server, cards: Callable[..., Path], home: Path, how: signal.Signals
) -> None:
    folder = cards(entry(server))
    server.answers["/thing"] = in_turn(stall(DATA, HALF, 30), honest(DATA))
    running = process(folder)
    deadline = time.monotonic() + 30
    while not ((home / "thing.part").is_file() and (home / "thing.part").stat().st_size == HALF):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running.send_signal(how)
    running.communicate(timeout=30)
    assert running.returncode in (-how, 1)
    assert in_folder(home) == {"thing.part", "thing.part.json"}
    assert shelf.fetch("thing")["thing"].read_bytes() == DATA
    assert server.asked[1][1]["Range"] == f"bytes={HALF}-"
    assert in_folder(home) == {"thing"}


def test_a_full_disk_is_one_line_and_the_part_is_kept(server: Server, cards: Callable[..., Path], home: Path) -> None:
    folder = cards(entry(server))
    server.answers["/thing"] = honest(DATA)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))"
    out, err = process(folder, limit).communicate(timeout=30)
    assert err == ""
    assert out.startswith(f"refused: {home / 'thing.part'}: cannot be written: File too large; make room or set")
    assert out.count("\n") == 1
    assert in_folder(home) == {"thing.part", "thing.part.json"}
    assert shelf.fetch("thing")["thing"].read_bytes() == DATA
    assert server.asked[1][1]["Range"] == "bytes=300000-"


def test_too_little_room_is_told_before_anything_is_written(
    server: Server, cards: Callable[..., Path], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "free_bytes", lambda place: 1000)
    cards(entry(server))
    server.answers["/thing"] = honest(DATA)
    with pytest.raises(BadFile, match=r"has no room for thing: 1.0 MB are needed, 1.0 kB are free; set EMBEDKIT_CACHE"):
        shelf.fetch("thing")
    assert not in_folder(home)


def test_a_cache_that_cannot_be_made_or_written_is_one_line(
    server: Server, cards: Callable[..., Path], home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cards(entry(server))
    server.answers["/thing"] = honest(DATA)
    (home / "thing.part").mkdir(parents=True)  # even root cannot write to that
    with pytest.raises(BadFile, match=r"thing.part: cannot be written: Is a directory"):
        shelf.fetch("thing")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EMBEDKIT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(BadFile, match="cannot be made for the cache: Not a directory; set EMBEDKIT_CACHE"):
        shelf.fetch("thing")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache_is_one_line_but_what_is_in_it_is_found(
    server: Server, cards: Callable[..., Path], home: Path
) -> None:
    cards(entry(server))
    server.answers["/thing"] = honest(DATA)
    home.mkdir(parents=True)
    home.parent.chmod(0o500)
    try:
        with pytest.raises(BadFile, match="Permission denied"):
            shelf.fetch("thing")
        (home / "thing").write_bytes(DATA)
        assert shelf.fetch("thing") == {"thing": home / "thing"}
    finally:
        home.parent.chmod(0o700)


def test_a_link_in_the_place_of_the_part_is_not_followed(
    server: Server, cards: Callable[..., Path], home: Path, tmp_path: Path
) -> None:
    cards(entry(server))
    server.answers["/thing"] = honest(DATA)
    (tmp_path / "precious").write_text("mine")
    home.mkdir(parents=True)
    (home / "thing.part").symlink_to(tmp_path / "precious")
    with pytest.raises(BadFile, match="symbolic link"):
        shelf.fetch("thing")
    assert (tmp_path / "precious").read_text() == "mine"


# -- without a network -----------------------------------------------------------------------------------------------


def test_offline_nothing_is_asked_and_the_way_out_is_told(
    server: Server, cards: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cards(entry(server))
    server.answers["/thing"] = honest(DATA)
    monkeypatch.setenv("EMBEDKIT_OFFLINE", "1")
    with pytest.raises(BadInput, match=r"EMBEDKIT_OFFLINE is set, 'thing' is not downloaded: get http.*--from-file"):
        shelf.fetch("thing")
    (tmp_path / "mine").write_bytes(DATA)
    assert shelf.fetch("thing", from_file=tmp_path / "mine")["thing"].read_bytes() == DATA
    assert shelf.fetch("thing")  # it is here: nothing to refuse
    assert not server.asked


def test_what_is_not_public_is_not_downloaded(cards: Callable[..., Path]) -> None:
    cards({"name": "thing", "bytes": 5})
    with pytest.raises(BadInput, match=r"thing of 'thing' cannot be downloaded: use `embedkit fetch thing --from-file"):
        shelf.fetch("thing")


def test_a_file_that_the_user_has_is_known_by_its_content(
    server: Server, cards: Callable[..., Path], home: Path, tmp_path: Path
) -> None:
    cards(entry(server, name="one"), entry(server, name="two", sha256=sha256(OTHER)))
    (tmp_path / "download(1)").write_bytes(OTHER)
    (tmp_path / "download(2)").write_bytes(DATA)
    lines: list[str] = []
    assert shelf.fetch("thing", from_file=tmp_path / "download(1)", say=lines.append) == {"two": home / "two"}
    assert lines == ["two: sha256 as expected", "still missing of 'thing': one"]
    both: list[str | Path] = [tmp_path / "download(1)", str(tmp_path / "download(2)")]
    assert {name: path.read_bytes() for name, path in shelf.fetch("thing", from_file=both).items()} == {
        "one": DATA,
        "two": OTHER,
    }
    assert (tmp_path / "download(1)").read_bytes() == OTHER  # copied, not moved
    assert not server.asked


def test_a_file_that_is_not_the_right_one_is_told_from_it(
    server: Server, cards: Callable[..., Path], home: Path, tmp_path: Path
) -> None:
    cards(entry(server))
    mine = tmp_path / "mine"
    for content, words in [(OTHER, "has sha256"), (b"short", "has 5 bytes, expected 1,024,000 for thing")]:
        mine.write_bytes(content)
        with pytest.raises(BadFile, match=words) as caught:
            shelf.fetch("thing", from_file=mine)
        assert caught.value.path == str(mine)
    for path, words in [(tmp_path / "none", "cannot be read: No such file"), (tmp_path, "is not a regular file")]:
        with pytest.raises(BadFile, match=words):
            shelf.fetch("thing", from_file=path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadFile, match="is not a regular file"):
        shelf.fetch("thing", from_file=tmp_path / "pipe")
    with pytest.raises(BadFile, match="cannot be read"):
        shelf.fetch("thing", from_file="nul\0")
    assert not in_folder(home)


def test_which_files_were_expected_is_told(server: Server, cards: Callable[..., Path], tmp_path: Path) -> None:
    cards(entry(server, name="one"), entry(server, name="two", bytes=7, sha256=None))
    (tmp_path / "mine").write_bytes(b"5 bytes")  # as long as 'two', of which nothing else is known: a name is needed
    with pytest.raises(BadFile, match=r"is no file of 'thing', expected one of one \(1,024,000 bytes\), two \(7 bytes"):
        shelf.fetch("thing", from_file=tmp_path / "mine")
    (tmp_path / "mine").rename(tmp_path / "two")
    assert shelf.fetch("thing", from_file=tmp_path / "two")["two"].read_bytes() == b"5 bytes"


# -- archives --------------------------------------------------------------------------------------------------------


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def test_one_member_is_taken_and_the_archive_goes(
    server: Server, cards: Callable[..., Path], home: Path, tmp_path: Path
) -> None:
    archive = zipped(text=DATA, other=b"x")
    source = entry(server, name="a.zip", bytes=len(archive), sha256=sha256(archive))
    cards({"name": "thing.txt", "source": "a.zip", "member": "text", "bytes": len(DATA)}, sources=(source,))
    server.answers["/thing"] = in_turn(cut(archive, 100), honest(archive))
    lines: list[str] = []
    assert shelf.fetch("thing", say=lines.append)["thing.txt"].read_bytes() == DATA
    assert lines == ["a.zip: sha256 as expected", f"thing.txt: no published checksum; sha256 {sha256(DATA)}"]
    assert in_folder(home) == {"thing.txt", "thing.txt.sha256"}
    # The same from an archive that the user has.
    (home / "thing.txt").unlink()
    (tmp_path / "mine.zip").write_bytes(archive)
    assert shelf.fetch("thing", from_file=tmp_path / "mine.zip")["thing.txt"].read_bytes() == DATA
    assert (tmp_path / "mine.zip").is_file()


def test_an_archive_with_more_to_take_is_kept_and_used(
    server: Server, cards: Callable[..., Path], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zipped(small=b"1", large=b"2")
    source = entry(server, name="a.zip", bytes=len(archive), sha256=sha256(archive))
    files = [{"name": n, "source": "a.zip", "member": n, "extra": n == "large"} for n in ("small", "large")]
    cards(*files, sources=(source,), alternatives=True)
    server.answers["/thing"] = honest(archive)
    lines: list[str] = []
    assert list(shelf.fetch("thing", say=lines.append)) == ["small"]
    assert lines[-1] == f"{home / 'a.zip'} is kept: large can be taken from it (--file)"
    monkeypatch.setenv("EMBEDKIT_OFFLINE", "1")
    assert list(shelf.fetch("thing", files=["large"])) == ["large"]
    assert list(shelf.locate("thing")) == ["small", "large"]
    assert "a.zip" not in in_folder(home)
    assert len(server.asked) == 1


def test_an_archive_that_turns_out_to_be_none_is_not_kept(
    server: Server, cards: Callable[..., Path], home: Path
) -> None:
    """Nothing was known of it, so only unpacking tells; the next call has to start again."""
    source = entry(server, name="a.zip", bytes=None, sha256=None)
    cards({"name": "thing.txt", "source": "a.zip", "member": "text"}, sources=(source,))
    archive = zipped(text=os.urandom(1000))
    server.answers["/thing"] = in_turn(honest(archive[:-9]), honest(archive))
    with pytest.raises(BadFile, match=r"a\.zip: is no zip archive"):
        shelf.fetch("thing")
    assert not in_folder(home)
    assert shelf.fetch("thing")["thing.txt"].stat().st_size == 1000


def test_names_in_an_archive_lead_nowhere(tmp_path: Path) -> None:
    evil = "../../evil"
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a.zip").write_bytes(zipped(**{evil: b"data", "/etc/evil": b"data"}))
    target = tmp_path / "a" / "b" / "good"
    make(FileEntry("good", member=evil), tmp_path / "a.zip", target)
    assert target.read_bytes() == b"data"
    assert {path.name for path in tmp_path.rglob("*")} == {"a", "a.zip", "b", "good", "good.sha256"}


def encrypted(data: bytes) -> bytes:
    """The archive with its members marked as encrypted, in both places."""
    marked = bytearray(data)
    for magic, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        for found in re.finditer(re.escape(magic), data):
            marked[found.start() + offset] |= 1
    return bytes(marked)


def twice() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("text", b"one")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("text", b"two")
    return buffer.getvalue()


def damaged() -> bytes:
    data = bytearray(zipped(text=os.urandom(5000)))
    data[2000] ^= 1
    return bytes(data)


def understated() -> bytes:
    """A bomb whose table of contents says that it is small."""
    data = zipped(text=bytes(10**7))
    return data.replace((10**7).to_bytes(4, "little"), (100).to_bytes(4, "little"))


def unknown_method() -> bytes:
    data = bytearray(zipped(text=b"data"))
    for magic, offset in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        place = data.index(magic) + offset
        data[place : place + 2] = (99).to_bytes(2, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("archive", "size", "words"),
    [
        (lambda: b"no archive", None, "is no zip archive"),
        (lambda: b"", None, "is no zip archive"),
        (lambda: zipped(text=b"data")[:-10], None, "is no zip archive"),
        (lambda: zipped(other=b"data"), None, "does not hold 'text'"),
        (twice, None, "holds 'text' 2 times"),
        (lambda: encrypted(zipped(text=b"data")), None, "'text' is encrypted"),
        (damaged, None, "'text' is damaged"),
        (understated, None, "'text' is damaged"),
        (unknown_method, None, "'text' is damaged"),
        (lambda: zipped(text=b"data"), 5, "holds 'text' of 4 bytes, expected 5"),
        (lambda: zipped(text=bytes(10**7)), None, "unpacks to more than"),
        (lambda: zipped(text=bytes(10**7)), 10, "holds 'text' of 10,000,000 bytes, expected 10"),
    ],
)
def test_archives_that_are_not_what_they_should_be(
    tmp_path: Path, archive: Callable[[], bytes], size: int | None, words: str
) -> None:
    source = tmp_path / "a.zip"
    source.write_bytes(archive())
    with pytest.raises(BadFile, match=words) as caught:
        make(FileEntry("thing", member="text", bytes=size), source, tmp_path / "thing")
    assert caught.value.path == str(source)
    assert in_folder(tmp_path) == {"a.zip"}


def test_an_archive_cut_or_changed_anywhere_gives_the_member_or_an_error(tmp_path: Path) -> None:
    whole = zipped(text=b"a few words " * 10, other=b"x")
    source, target = tmp_path / "a.zip", tmp_path / "thing"
    known = FileEntry("thing", member="text", bytes=120, sha256=sha256(b"a few words " * 10))
    cases = [whole[:end] for end in range(len(whole))]
    cases += [whole[:i] + bytes([whole[i] ^ bit]) + whole[i + 1 :] for i in range(len(whole)) for bit in (1, 128)]
    right = 0
    for case in cases:
        source.write_bytes(case)
        with contextlib.suppress(BadFile):
            make(known, source, target)
            assert target.read_bytes() == b"a few words " * 10
            target.unlink()
            right += 1
        assert in_folder(tmp_path) == {"a.zip"}
    assert 0 < right < len(cases) / 2  # a changed date, say, harms nothing


def test_tagged_texts_become_lines_of_words(tmp_path: Path) -> None:
    source = tmp_path / "a.zip"
    b = b"\n\n\tThe/at jury/nn said/vbd 1/2/cd ``/``\n\nyes/rb ./.\n"
    source.write_bytes(zipped(**{"brown/cb01": b, "brown/ca01": b"One/cd", "brown/README": b"no/nn text/nn"}))
    entry = FileEntry("t", member="brown/c[a-r][0-9][0-9]", convert="tagged-texts")
    make(entry, source, tmp_path / "t")
    assert (tmp_path / "t").read_bytes() == b"One\nThe jury said 1/2 `` yes .\n"
    source.write_bytes(zipped(**{"brown/ca01": b"x/nn " * 10**6}))
    with pytest.raises(BadFile, match="'brown/ca01' unpacks to more than"):
        make(entry, source, tmp_path / "t")


def test_line_ends_are_made_plain(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a\tb\r\nc\rd\r\n\r\ne")
    make(FileEntry("t", convert="unix-lines"), tmp_path / "a", tmp_path / "t")
    assert (tmp_path / "t").read_bytes() == b"a\tb\nc\rd\n\ne"
