"""A map as one HTML page that needs nothing but a browser: no network, no server, no other file."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from functools import lru_cache
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.errors import BadInput, printable
from embedkit.files.atomic import replacing
from embedkit.plots.colours import PALETTE, REST, column, is_classes
from embedkit.plots.scatter import check_map
from embedkit.plots.sprite import Sprite, make_sprite

if TYPE_CHECKING:
    from embedkit.manifold.faithfulness import Faithfulness

MOST = 1_000_000  # points; browsers draw a third of that fluently
_WRITTEN = 60  # labels that are written at most
_STEPS = 40  # colours that numbers of many points share
_FITS_FLOAT64 = 2**53

_BODY = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<input type="search" id="search" placeholder="Search (press /)" aria-label="Search labels" autocomplete="off">
<span id="found" class="quiet" role="status"></span>
<span class="spread"></span>
<span id="shown" class="quiet"></span>
<button id="theme" type="button">Dark / light</button>
</header>
<main>
<div id="plot"><p id="trouble" hidden></p></div>
<aside>
<div id="results" hidden><h2>Found</h2><div id="hits" class="list"></div></div>
<div><h2>Colour</h2><select id="colour" aria-label="Colour by"></select></div>
<div><h2>Classes</h2><select id="filter" aria-label="Classes of"></select>
<div id="every" class="two"><button id="all" type="button">all</button>
<button id="none" type="button">none</button></div>
<div id="classes" class="list"></div></div>
<div id="faithful" hidden><h2>How far to trust it</h2><table id="report"></table></div>
</aside>
</main>
<div id="card" hidden><div id="picture" hidden></div><b id="label"></b><span id="facts"></span></div>
<script type="text/plain" id="data">{data}</script>
{sprite}<script type="text/plain" id="plotly">{plotly}</script>
<script>{script}</script>
</body>
</html>
"""


def write_page(embedding: Embedding, path: str | os.PathLike[str], **how: Any) -> None:
    """Write the page that `page_html` makes, all or nothing.

    Parameters
    ----------
    embedding
        n points of 2 or 3 dimensions.
    path
        The file.
    **how
        As for `page_html`.
    """
    text = page_html(embedding, **how)
    with replacing(path) as stream:
        stream.write(text.encode())


def page_html(
    embedding: Embedding,
    *,
    title: str = "Map",
    colour: str | None = None,
    hover: Sequence[str] | None = None,
    notable: Sequence[str] = (),
    thumbnails: npt.NDArray[np.uint8] | None = None,
    report: Faithfulness | None = None,
    theme: Literal["auto", "light", "dark"] = "auto",
) -> str:
    """A page with the map drawn by WebGL (plotly.js), to be moved and zoomed, searched, coloured and filtered.

    It opens from a disk and loads nothing: a content-security policy forbids the browser to. Labels and columns are
    data, never markup. Coordinates are those of the map, to the last bit. It needs a browser of 2023 or later.

    Parameters
    ----------
    embedding
        n points of 2 or 3 dimensions, at most a million; up to some 300,000 move fluently.
    title
        Of the page.
    colour
        Column to colour by at first. Texts, booleans and few whole numbers are classes, other numbers a scale.
    hover
        Columns to show with the label of the point under the pointer; by default all.
    notable
        Labels to ring and write, at most 60.
    thumbnails
        Pictures of the points, uint8 of shape (n, h, w) or (n, h, w, 1, 3 or 4), shown under the pointer. Made smaller
        until all of them together take at most 6 MB.
    report
        What `embedkit.manifold.faithfulness` found, to be shown beside the map.
    theme
        Dark, light, or as the reader's system is.

    Raises
    ------
    BadInput
        The map has not 2 or 3 dimensions, no points or too many; there is no such column; or thumbnails are not one a
        point or too many to fit.
    UnknownWord
        A notable label is not in the map.
    """
    check_map(embedding)
    if len(embedding) > MOST:
        raise BadInput(f"{len(embedding):,} points are more than a page holds ({MOST:,}): take some, or draw a picture")
    if theme not in ("auto", "light", "dark"):
        raise BadInput(f"theme is 'auto', 'light' or 'dark', not '{printable(str(theme))}'")
    rows = embedding.rows(dict.fromkeys(notable)).tolist()
    if len(rows) > _WRITTEN:
        raise BadInput(f"{len(rows)} notable labels cannot all be written: at most {_WRITTEN} can")
    names = list(embedding.columns)
    for name in [*(hover or ()), *([colour] if colour is not None else [])]:
        column(embedding, name)
    packed = _Packed()
    axes = [packed.add(values) for values in embedding.vectors.T]
    columns = [_column(name, values, packed) for name, values in embedding.columns.items()]
    classes = [j for j, made in enumerate(columns) if "names" in made]
    chosen = -1 if colour is None else names.index(colour)
    sprite = None if thumbnails is None else make_sprite(thumbnails, len(embedding))
    about = {
        "labels": list(embedding),
        "axes": axes,
        "columns": columns,
        "colour": chosen,
        "filter": chosen if chosen in classes else (classes or [-1])[0],
        "card": [names.index(name) for name in (names if hover is None else hover)],
        "notable": rows,
        "palette": list(PALETTE),
        "rest": REST,
        "scale": _scale(),
        "theme": "" if theme == "auto" else theme,
        "report": None if report is None else _report(report),
        "thumbnails": None if sprite is None else sprite.about,
    }
    script = _asset("page.js")
    # A reader of HTML ends the script there, whatever the script means by it.
    if "</script" in script or "<!--" in script:
        raise AssertionError("the script would end within itself")
    plotly = _plotly()
    hashes = " ".join(f"'sha256-{_base64(hashlib.sha256(part).digest())}'" for part in (script.encode(), plotly))
    # Drawing flat points, plotly.js makes functions of texts of its own (regl); no other script runs at all.
    policy = f"default-src 'none'; script-src {hashes} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"
    return _BODY.format(
        policy=policy,
        title=escape(printable(title)),
        style=_asset("page.css"),
        data=_base64(packed.compressed(about)),
        sprite="" if sprite is None else _sprite_block(sprite),
        plotly=_packed_plotly(),
        script=script,
    )


class _Packed:
    """Arrays one after another, each at a multiple of 8 bytes, to be read in place."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, values: npt.NDArray[Any]) -> dict[str, Any]:
        """Add an array; gives where it lies, from the end of the text before the arrays."""
        code = f"{'f' if values.dtype.kind == 'f' else 'u'}{values.dtype.itemsize}"
        data = np.ascontiguousarray(values, dtype=f"<{code}").tobytes()
        place = {"type": code, "at": self._size, "length": len(values)}
        self._parts.append(data + bytes(-len(data) % 8))
        self._size += len(self._parts[-1])
        return place

    def compressed(self, about: dict[str, Any]) -> bytes:
        """Length of the text, the text, the arrays; their places are counted from the beginning."""
        # The places are part of the text and depend on its length: room for their digits is left.
        text = json.dumps(about, ensure_ascii=False, allow_nan=False).encode()
        start = -(-(4 + len(text) + 16 * (len(about["columns"]) + 4)) // 8) * 8
        for part in [*about["axes"], *(made["values"] for made in about["columns"])]:
            part["at"] += start
        text = json.dumps(about, ensure_ascii=False, allow_nan=False).encode()
        head = len(text).to_bytes(4, "little") + text
        return zlib.compress(head + bytes(start - len(head)) + b"".join(self._parts), 9)


def _column(name: str, values: npt.NDArray[Any], packed: _Packed) -> dict[str, Any]:
    beyond = (
        values.dtype.kind in "iu" and len(values) and max(abs(int(values.min())), int(values.max())) > _FITS_FLOAT64
    )
    if is_classes(values) or beyond:  # whole numbers that JavaScript would round are shown as texts
        known, codes = np.unique(values, return_inverse=True)
        smallest = np.uint8 if len(known) <= 2**8 else np.uint16 if len(known) <= 2**16 else np.uint32
        return {"name": name, "names": list(map(str, known.tolist())), "values": packed.add(codes.astype(smallest))}
    return {"name": name, "values": packed.add(values.astype(np.float64))}


def _scale() -> list[str]:
    """Colours of numbers from the lowest to the highest: the scale that plotly.js calls Viridis."""
    from plotly.colors import sample_colorscale

    colours: list[str] = sample_colorscale("Viridis", _STEPS)
    return colours


def _report(report: Faithfulness) -> list[dict[str, Any]]:
    yardstick = any(figure.pca == figure.pca for figure in report.figures)
    rows: list[dict[str, Any]] = [{"cells": ["", "map", *(["PCA"] if yardstick else [])], "head": True}]
    for figure, plain in zip(report.figures, report.to_dict()["figures"], strict=True):
        cells = [figure.name, _shown(figure.value, figure.error)]
        cells += [_shown(figure.pca, figure.pca_error)] if yardstick else []
        rows.append({"cells": cells, "meaning": plain["meaning"]})
    if len(report.rows) < report.n:
        asked = f"± one standard error: {len(report.rows):,} of {report.n:,} points were asked, each against all"
        rows.append({"cells": [asked], "head": False})
    return rows


def _shown(value: float, error: float) -> str:
    return "" if value != value else f"{value:.3f} ±{error:.3f}" if error > 0 else f"{value:.3f}"


def _sprite_block(sprite: Sprite) -> str:
    return f'<script type="text/plain" id="sprite">{_base64(sprite.data)}</script>\n'


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _asset(name: str) -> str:
    return resources.files("embedkit.plots").joinpath(name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _plotly() -> bytes:
    """The source of plotly.js, as the package brings it."""
    import plotly.offline

    source: str = plotly.offline.get_plotlyjs()
    return source.encode()


@lru_cache(maxsize=1)
def _packed_plotly() -> str:
    return _base64(zlib.compress(_plotly(), 9))
