"""The interactive page, in a real browser with its network off."""

from __future__ import annotations

import base64
import io
import itertools
import json
import os
import re
import select
import shutil
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from embedkit import Embedding
from embedkit.errors import BadInput, UnknownWord
from embedkit.manifold.faithfulness import Faithfulness, faithfulness
from embedkit.plots import page_html, write_page
from embedkit.plots.sprite import make_sprite

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-extensions", "--mute-audio", "--window-size=1200,800",
    # Whatever a page asks of the network fails.
    "--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9",
]  # fmt: skip
PLOT = "document.getElementById('plot')"
PATIENCE = 60.0  # seconds; software WebGL on a busy machine


class Browser:
    """Chromium, told what to do over a pipe by its DevTools protocol."""

    def __init__(self, program: str, profile: Path) -> None:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()

        def descriptors() -> None:  # it reads from 3 and writes to 4
            first, second = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(first, 3)
            os.dup2(second, 4)

        self.process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"],
            close_fds=False, preexec_fn=descriptors, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out, self._held = ours_in, ours_out, b""
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        targets = self.tell("Target.getTargets", session=None)["targetInfos"]
        target = next(one["targetId"] for one in targets if one["type"] == "page")
        self._session = self.tell("Target.attachToTarget", session=None, targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.tell(f"{domain}.enable")

    def tell(self, method: str, *, session: str | None = "", **parameters: Any) -> dict[str, Any]:
        """One command; gives its result, keeping the events that come before it."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while True:
            while b"\0" not in self._held:
                left = end - time.monotonic()
                assert left > 0, f"the browser does not answer {method}"
                assert select.select([self._in], [], [], left)[0], f"the browser does not answer {method}"
                part = os.read(self._in, 2**20)
                assert part, "the browser has ended"
                self._held += part
            text, _, self._held = self._held.partition(b"\0")
            answer = json.loads(text)
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def js(self, expression: str) -> Any:
        """What an expression is in the page."""
        made = self.tell("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in made, made
        return made["result"].get("value")

    def until(self, expression: str) -> None:
        end = time.monotonic() + PATIENCE
        while not self.js(expression):
            assert time.monotonic() < end, f"it never comes that {expression}: {self.complaints()}"
            time.sleep(0.05)

    def open(self, path: Path) -> None:
        self.events.clear()
        self.tell("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
        self.js("window.old = true")
        self.tell("Page.navigate", url=path.as_uri())
        ready = "document.documentElement?.dataset.ready === '1'"
        self.until(f"!window.old && ({ready} || !!document.querySelector('#trouble:not([hidden])'))")
        assert self.js("document.documentElement.dataset.ready") == "1", self.js("document.body.innerText")

    def complaints(self) -> list[Any]:
        """Errors on the console, exceptions, and whatever was asked of a network."""
        found: list[Any] = []
        for event in self.events:
            method, about = event.get("method"), event.get("params", {})
            if method == "Log.entryAdded" and about["entry"]["level"] == "error":
                found.append(about["entry"]["text"])
            if method == "Runtime.consoleAPICalled" and about["type"] in ("error", "assert"):
                found.append([one.get("value", one.get("description")) for one in about["args"]])
            if method == "Runtime.exceptionThrown":
                found.append(about["exceptionDetails"])
            if method == "Network.requestWillBeSent" and not about["request"]["url"].startswith(
                ("file:", "blob:", "data:")
            ):
                found.append(about["request"]["url"])
        return found

    def picture(self, path: Path) -> bytes:
        data = base64.b64decode(self.tell("Page.captureScreenshot", format="png")["data"])
        path.write_bytes(data)
        return data

    def end(self) -> None:
        try:
            self.tell("Browser.close", session=None)
            self.process.wait(10)
        except (AssertionError, OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self._in)
        os.close(self._out)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = os.environ.get("EMBEDKIT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium), or set EMBEDKIT_CHROMIUM")
    opened = Browser(program, tmp_path_factory.mktemp("profile"))
    yield opened
    opened.end()


@pytest.fixture(scope="module")
def points() -> Embedding:
    rng = np.random.default_rng(0)
    kinds = np.repeat(["ant", "bee", "cat"], 100)
    centres = {"ant": (0, 0), "bee": (6, 0), "cat": (3, 5)}
    places = np.array([centres[kind] for kind in kinds]) + rng.standard_normal((300, 2))
    return Embedding(
        [f"{kind}{i}" for i, kind in enumerate(kinds)],
        places,
        columns={"kind": kinds, "weight": rng.random(300), "big": rng.random(300) > 0.5},
    )


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    made = np.zeros((300, 6, 9, 3), dtype=np.uint8)
    made[np.arange(300), 2, np.arange(300) % 9] = (255, 0, 0)
    return made


@pytest.fixture(scope="module")
def report(points: Embedding) -> Faithfulness:
    more = np.random.default_rng(1).standard_normal((300, 3))
    return faithfulness(points.with_vectors(np.column_stack([points.vectors, more])), points, queries=100)


@pytest.fixture(scope="module")
def written(
    points: Embedding, pictures: np.ndarray, report: Faithfulness, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A page with everything on it."""
    path = tmp_path_factory.mktemp("page") / "map.html"
    write_page(
        points, path, title="Three kinds", colour="kind", hover=["weight", "kind"], notable=["bee150", "ant3"],
        thumbnails=pictures, report=report, theme="light",
    )  # fmt: skip
    return path


@pytest.fixture
def page(browser: Browser, written: Path) -> Browser:
    """The page as it is at first; starting anew costs seconds, so that it is put back where that can be done."""
    if browser.js("location.href") != written.as_uri():
        browser.open(written)
    else:
        search(browser, "")
        browser.js("document.getElementById('all').click()")
        browser.events.clear()
    return browser


Open = Callable[..., Browser]


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Open:
    def opened(embedding: Embedding, **how: Any) -> Browser:
        write_page(embedding, tmp_path / "map.html", **how)
        browser.open(tmp_path / "map.html")
        return browser

    return opened


def search(browser: Browser, text: str) -> list[str]:
    """Type into the search box; gives the labels found."""
    browser.js(f"""(() => {{
        const box = document.getElementById("search");
        box.value = {json.dumps(text)};
        box.dispatchEvent(new KeyboardEvent("keydown", {{key: "x"}}));
        box.dispatchEvent(new Event("input"));
        document.getElementById("found").textContent = "…";
    }})()""")
    browser.until("document.getElementById('found').textContent !== '…'")
    found: list[str] = browser.js("[...document.querySelectorAll('#hits .name')].map((one) => one.textContent)")
    return found


def choose(browser: Browser, name: str, value: int) -> None:
    browser.js(f"""(() => {{
        const box = document.getElementById("{name}");
        box.value = "{value}";
        box.dispatchEvent(new Event("change"));
    }})()""")


def text(browser: Browser, name: str) -> str:
    made: str = browser.js(f"document.getElementById('{name}').textContent")
    return made


def colours(browser: Browser, path: Path) -> int:
    """How many of the pixels of the plot are coloured."""
    time.sleep(0.3)  # WebGL draws in the next frame
    browser.picture(path)
    box = browser.js("(() => { const b = document.getElementById('plot').getBoundingClientRect();"
                     " return [b.left, b.top + 40, b.right, b.bottom]; })()")  # fmt: skip
    with Image.open(path) as picture:
        pixels = np.array(picture.convert("RGB").crop(tuple(map(round, box)))).astype(int)
    return int((pixels.max(axis=2) - pixels.min(axis=2) > 60).sum())


# -- in a browser ------------------------------------------------------------------------------------------------------


def test_it_draws_without_a_network(page: Browser, points: Embedding, tmp_path: Path) -> None:
    assert page.js("document.title") == "Three kinds"
    assert text(page, "shown") == "300 points"
    assert not page.js("!!document.querySelector('.no-webgl')")
    assert colours(page, tmp_path / "seen.png") > 300 * 9
    drawn = page.js(f"{PLOT}._fullData.slice(0, 3).map((one) => [one.type, one.x.length, one.marker.color])")
    assert [(kind, n) for kind, n, _ in drawn] == [("scattergl", 100)] * 3
    assert len({colour for *_, colour in drawn}) == 3
    # Coordinates are those of the map, to the last bit.
    found = page.js(f"{PLOT}._fullData.slice(0, 3).map((one) => [[...one.x], [...one.y]])")
    assert np.array_equal(np.concatenate(found, axis=1).T.astype(np.float32), points.vectors)
    assert page.js(f"{PLOT}._fullLayout.annotations.map((one) => one.text)") == ["bee150", "ant3"]
    assert page.complaints() == []


def test_search_finds_and_marks(page: Browser, points: Embedding) -> None:
    assert search(page, "BEE10") == [f"bee10{i}" for i in range(10)]
    assert text(page, "found") == "10 found"
    assert search(page, "ant7")[:2] == ["ant7", "ant70"]  # what is exactly so comes first
    assert page.js(f"{PLOT}._fullLayout.shapes.length") == 2 + 11  # the notable have rings, too
    x, y = points["ant70"].tolist()
    assert page.js(f"(({{xanchor, yanchor}}) => [xanchor, yanchor])({PLOT}._fullLayout.shapes[3])") == [x, y]
    assert page.js(f"{PLOT}._fullLayout.annotations.map((one) => one.text)")[2] == "ant7"
    page.js("""document.getElementById("search").dispatchEvent(new KeyboardEvent("keydown", {key: "Enter"}))""")
    page.until("!document.getElementById('card').hidden")
    assert text(page, "label") == "ant7"
    x, y = points["ant7"].tolist()
    (left, right), (low, high) = page.js(f"['xaxis', 'yaxis'].map((one) => {PLOT}._fullLayout[one].range)")
    assert left < x < right
    assert low < y < high
    assert right - left < 3
    assert search(page, "zebra") == []
    assert text(page, "found") == "not found"
    assert search(page, "") == []
    assert page.complaints() == []


def test_classes_can_be_hidden_and_colours_chosen(page: Browser, points: Embedding) -> None:
    names = "[...document.querySelectorAll('#classes .name')].map((one) => one.textContent)"
    assert page.js(names) == ["ant", "bee", "cat"]
    page.js("document.querySelectorAll('#classes input')[1].click()")
    assert text(page, "shown") == "200 of 300 points"
    lengths = f"{PLOT}._fullData.slice(0, 3).map((one) => one.x?.length ?? 0)"
    assert [n for n in page.js(lengths) if n > 1] == [100, 100]
    page.js("document.getElementById('none').click()")
    assert text(page, "shown") == "0 of 300 points"
    page.js("document.getElementById('all').click()")
    assert text(page, "shown") == "300 points"
    choose(page, "colour", 1)
    page.until(f"{PLOT}._fullData[0].x.length === 300")
    scale = page.js(f"(({{marker}}) => [marker.cmin, marker.cmax, marker.color.length])({PLOT}._fullData[0])")
    assert scale == [points.columns["weight"].min(), points.columns["weight"].max(), 300]
    choose(page, "colour", 2)
    assert page.js(names) == ["False", "True"]
    choose(page, "colour", -1)
    assert page.js(f"{PLOT}._fullData[0].x.length") == 300
    choose(page, "colour", 0)
    assert page.js(names) == ["ant", "bee", "cat"]
    assert page.complaints() == []


def test_the_pointer_shows_a_card_with_columns_and_picture(
    browser: Browser, written: Path, points: Embedding, pictures: np.ndarray
) -> None:
    browser.open(written)  # not moved by what was searched before
    place = browser.js(f"""(() => {{
        const box = {PLOT}.getBoundingClientRect(), {{xaxis, yaxis}} = {PLOT}._fullLayout;
        const {{x, y}} = {PLOT}._fullData[2];
        return [box.left + xaxis.l2p(x[5]), box.top + yaxis.l2p(y[5])];
    }})()""")
    for shift in (4, 2, 0):  # a pointer that moves
        browser.tell("Input.dispatchMouseEvent", type="mouseMoved", x=place[0] + shift, y=place[1])
        time.sleep(0.2)
    browser.until("!document.getElementById('card').hidden")
    row = int(browser.js("document.getElementById('card').dataset.row"))
    # What lies exactly there may be another point that is as near as that.
    assert np.linalg.norm(points.vectors[row] - points.vectors[205]) < 0.3
    assert text(browser, "label") == points.labels[row]
    facts = browser.js("[...document.querySelectorAll('#facts div')].map((one) => one.textContent)")
    assert facts == [f"weight: {points.columns['weight'][row]:#.4g}", f"kind: {points.columns['kind'][row]}"]
    across = make_sprite(pictures, 300).about["columns"]
    zoom = round(96 / 9)
    moved = f"-{row % across * 9 * zoom}px -{row // across * 6 * zoom}px"
    assert browser.js("document.getElementById('picture').style.backgroundPosition") == moved
    assert browser.js("document.getElementById('picture').style.backgroundImage").startswith('url("blob:')
    assert browser.complaints() == []


def test_the_report_stands_beside(page: Browser, report: Faithfulness) -> None:
    rows = "[...document.querySelectorAll('#report tr')]"
    cells = page.js(f"{rows}.map((row) => [...row.children].map((one) => one.textContent))")
    assert cells[0] == ["", "map", "PCA"]
    first = report.figures[0]
    assert cells[1][:2] == [first.name, f"{first.value:.3f} ±{first.error:.3f}"]
    assert "100 of 300 points were asked" in cells[-1][0]


def test_dark_and_light(page: Browser, tmp_path: Path) -> None:
    paper = []
    for name in ("light", "dark"):
        time.sleep(0.3)
        page.picture(tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as picture:
            paper.append(np.asarray(picture.convert("L"))[300, 5])
        assert page.js("document.documentElement.dataset.theme") == name
        page.js("document.getElementById('theme').click()")
    assert paper[0] > 230
    assert paper[1] < 40
    assert page.complaints() == []


def test_labels_do_not_collide_and_come_back_when_there_is_room(page: Browser) -> None:
    search(page, "cat2")
    boxes = "[...document.querySelectorAll('#plot .annotation')].map((one) => one.getBoundingClientRect().toJSON())"

    def apart() -> int:
        found = page.js(boxes)
        for i, one in enumerate(found):
            for other in found[i + 1 :]:
                wide = min(one["right"], other["right"]) - max(one["left"], other["left"])
                high = min(one["bottom"], other["bottom"]) - max(one["top"], other["top"])
                assert min(wide, high) < 2  # pixels
        return len(found)

    before = apart()
    assert 4 <= before < 2 + 25
    x, y = page.js(f"(({{xanchor, yanchor}}) => [xanchor, yanchor])({PLOT}._fullLayout.shapes[5])")
    near = {"xaxis.range": [x - 0.5, x + 0.5], "yaxis.range": [y - 0.5, y + 0.5]}
    page.js(f"Plotly.relayout('plot', {json.dumps(near)}).then(() => 1)")
    page.until(f"{PLOT}._fullLayout.annotations.length > {before}")
    assert page.complaints() == []


def test_three_dimensions(opened: Open, points: Embedding, tmp_path: Path) -> None:
    solid = points.with_vectors(np.column_stack([points.vectors, points.columns["weight"] * 5]))
    browser = opened(solid, colour="kind", notable=["cat250"], theme="light")
    assert colours(browser, tmp_path / "seen.png") > 300 * 5
    assert browser.js("document.getElementById('plot')._fullData.map((one) => one.type)") == ["scatter3d"] * 4
    assert search(browser, "cat299") == ["cat299"]
    assert browser.complaints() == []


HOSTILE = [
    "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\x1b[31mred\x9b", "\u202eevil", "a\u2028b",
    "<b>bold</b>", "&lt;", "${alert(1)}", "' onclick='alert(1)", '"];alert(1);//', "<!--", "{title}", "\\u003c",
    '<a href="javascript:alert(1)">x</a>', "=1+1", "",
]  # fmt: skip


@pytest.mark.parametrize("dims", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_hostile_labels_are_shown_as_they_are(opened: Open, rng: np.random.Generator, dims: int) -> None:
    evil = Embedding(
        HOSTILE,
        rng.standard_normal((len(HOSTILE), dims)),
        columns={"</style><script>alert(2)</script>": HOSTILE, "n": list(range(len(HOSTILE)))},
    )
    how = {"title": HOSTILE[0], "colour": next(iter(evil.columns)), "notable": HOSTILE}
    browser = opened(evil, **how)
    assert browser.js("document.title") == HOSTILE[0]
    assert browser.js("document.scripts.length") == 2  # the page's own, and plotly.js
    assert search(browser, "alert(1)") == [one for one in HOSTILE if "alert(1)" in one]
    assert search(browser, "\u202e") == ["\\u202eevil"]
    assert search(browser, "\x1b[") == ["\\u001b[31mred\\u009b"]
    classes = browser.js("[...document.querySelectorAll('#classes .name')].map((one) => one.textContent)")
    assert "<img src=x onerror=alert(1)>" in classes
    assert "(empty)" in classes
    assert not set("".join(classes)) & set("\x1b\x9b\u202e\u2028")
    assert browser.js("document.querySelectorAll('#plot a[href], main img, main b b').length") == 0
    assert not [event for event in browser.events if event.get("method") == "Page.javascriptDialogOpening"]
    assert browser.complaints() == []


def test_many_points_are_searched_and_the_page_is_small(opened: Open, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    letters = rng.integers(97, 123, (100_000, 8), dtype=np.uint8)
    labels = [f"{bytes(word).decode()}{i}" for i, word in enumerate(letters)]
    kinds = rng.integers(0, 10, 100_000)
    weights = np.where(kinds == 4, np.nan, kinds + 0.5)
    many = Embedding(
        labels, rng.standard_normal((100_000, 2)) + kinds[:, None], columns={"kind": kinds, "weight": weights}
    )
    browser = opened(many, colour="kind")
    assert (tmp_path / "map.html").stat().st_size <= 8_000_000
    assert text(browser, "shown") == "100,000 points"
    assert search(browser, labels[77_777]) == [labels[77_777]]
    choose(browser, "colour", 1)
    browser.until(f"{PLOT}._fullData.length === 42")  # 40 colours, what has no number, and the scale
    facts = "[one.x?.length ?? 0, one.marker?.color, one.marker?.cmin, one.marker?.cmax]"
    groups = browser.js(f"{PLOT}._fullData.map((one) => {facts})")
    assert groups[0][:2] == [int((kinds == 0).sum()), "rgb(68, 1, 84)"]
    assert groups[39][:2] == [int((kinds == 9).sum()), "rgb(253, 231, 37)"]
    assert groups[40][:2] == [int((kinds == 4).sum()), "#999999"]
    assert groups[41][2:] == [0.5, 9.5]
    assert sum(one[0] for one in groups[:41]) == 100_000
    assert browser.complaints() == []


def test_a_page_that_was_tampered_with_runs_nothing(browser: Browser, points: Embedding, tmp_path: Path) -> None:
    page = page_html(points).replace('"use strict";', '"use strict"; window.evil = 1;')
    page = page.replace("</body>", "<script>window.evil = 2;</script><img src=x onerror='window.evil = 3'></body>")
    (tmp_path / "map.html").write_text(page)
    browser.js("window.old = true")
    browser.tell("Page.navigate", url=(tmp_path / "map.html").as_uri())
    browser.until("!window.old && document.readyState === 'complete'")
    assert browser.js("window.evil ?? 0") == 0


# -- without one -------------------------------------------------------------------------------------------------------


def test_the_page_asks_nothing_of_anybody(points: Embedding) -> None:
    page = page_html(points)
    head = page[: page.index("<style>")]
    assert "default-src 'none'" in head
    outside = re.sub(r'<script type="text/plain".*?</script>', "", page, flags=re.DOTALL)
    assert not re.findall(r"(?:src|href)=|https?://|@import|url\(", outside.replace("url(${sprite})", ""))
    assert page_html(points) == page


def test_the_page_is_written_whole_or_not_at_all(points: Embedding, tmp_path: Path) -> None:
    (tmp_path / "map.html").write_text("old")
    with pytest.raises(UnknownWord, match="nobody"):
        write_page(points, tmp_path / "map.html", notable=["nobody"])
    assert (tmp_path / "map.html").read_text() == "old"
    write_page(points, tmp_path / "map.html")
    assert (tmp_path / "map.html").read_text() == page_html(points)
    assert [path.name for path in tmp_path.iterdir()] == ["map.html"]


def test_what_no_page_can_be_made_of_is_refused(points: Embedding) -> None:
    small = np.zeros((300, 4, 4), dtype=np.uint8)
    flat = points.with_vectors(np.zeros((300, 4)))
    for wrong, message in (
        (lambda: page_html(flat), "2 or 3 dimensions, not 4"),
        (lambda: page_html(Embedding([], np.zeros((0, 2)))), "no points"),
        (lambda: page_html(points, colour="nonsense"), "no column 'nonsense'"),
        (lambda: page_html(points, hover=["nonsense"]), "no column 'nonsense'"),
        (lambda: page_html(points, theme="blue"), "theme is"),  # type: ignore[arg-type]
        (lambda: page_html(points, notable=list(points)), "300 notable"),
        (lambda: page_html(points, thumbnails=small[:-1]), "299 thumbnails"),
        (lambda: page_html(points, thumbnails=small / 2), "uint8"),  # type: ignore[arg-type]
        (
            lambda: make_sprite(np.random.default_rng(0).integers(0, 255, (300, 9, 9), np.uint8), 300, 1000),
            "do not fit",
        ),
    ):
        with pytest.raises(BadInput, match=message):
            wrong()


def unpacked(page: str) -> tuple[dict[str, Any], Callable[[dict[str, Any]], np.ndarray]]:
    """What the page's script reads: the text, and what gives an array of it."""
    found = re.search(r'id="data">([^<]+)<', page)
    assert found is not None
    data = zlib.decompress(base64.b64decode(found[1]))
    about = json.loads(data[4 : 4 + int.from_bytes(data[:4], "little")])
    return about, lambda part: np.frombuffer(data, f"<{part['type']}", part["length"], part["at"])


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r"), max_size=5)


@given(st.lists(TEXT, unique=True, min_size=1, max_size=9), st.sampled_from([2, 3]), st.integers(0, 10**6))
@settings(max_examples=30)
def test_the_page_holds_the_map_exactly(labels: list[str], dims: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = len(labels)
    numbers = rng.integers(0, 0x7F800000, (n, dims), dtype=np.uint32).view(np.float32)
    columns: dict[str, Any] = {"text": labels[::-1], "share": rng.standard_normal(n), "seen": rng.random(n) > 0.5}
    made = Embedding(labels, numbers, columns=columns)
    about, array = unpacked(page_html(made, colour="text"))
    assert about["labels"] == labels
    assert np.array_equal(np.stack([array(part) for part in about["axes"]], axis=1), numbers)
    text, share, seen = about["columns"]
    assert [text["names"][code] for code in array(text["values"])] == labels[::-1]
    assert np.array_equal(array(share["values"]), columns["share"])
    assert [seen["names"][code] for code in array(seen["values"])] == list(map(str, columns["seen"]))


def test_whole_numbers_that_javascript_would_round_are_shown_as_text(points: Embedding) -> None:
    big = [2**60 + i for i in range(300)]
    about, _ = unpacked(page_html(Embedding(points.labels, points.vectors, columns={"big": big})))
    assert about["columns"][0]["names"] == list(map(str, big))


@pytest.mark.parametrize("shape", [(50, 28, 28), (50, 20, 30, 3), (50, 16, 16, 4), (50, 9, 9, 1), (7, 200, 120)])
def test_thumbnails_lie_where_they_are_looked_for(shape: tuple[int, ...]) -> None:
    shades = np.linspace(10, 250, shape[0]).astype(np.uint8)
    pictures = np.broadcast_to(shades.reshape(-1, *[1] * (len(shape) - 1)), shape).copy()
    if shape[-1] == 4:
        pictures[..., 3] = 255
    sprite = make_sprite(pictures, len(pictures))
    image = np.asarray(Image.open(io.BytesIO(sprite.data)).convert("L"))
    across, width, height = (sprite.about[name] for name in ("columns", "width", "height"))
    assert max(width, height) <= 96
    for row, shade in enumerate(shades.tolist()):
        top, left = row // across * height, row % across * width
        tile = image[top : top + height, left : left + width].astype(int)
        assert tile.shape == (height, width)
        assert abs(tile - shade).max() <= 1


def test_thumbnails_get_smaller_until_they_fit() -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (400, 40, 40), dtype=np.uint8)
    sprite = make_sprite(pictures, 400, 60_000)
    assert len(sprite.data) <= 60_000
    assert 8 <= sprite.about["width"] < 40
