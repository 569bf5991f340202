"""Many small pictures as one, which a page cuts them from."""

from __future__ import annotations

import io
import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput

LARGEST = 6_000_000  # bytes of all pictures together
_SMALLEST = 8  # pixels, below which nothing can be recognised
_SIDE = 16_000  # pixels that browsers still decode
_WIDEST = 96  # pixels that a card shows
_LOSSLESS = 4_000_000  # pixels up to which nothing is lost


class Sprite(NamedTuple):
    """`data` of a PNG or JPEG, and `about` it: type, pictures a line, width and height of one."""

    data: bytes
    about: dict[str, Any]


def make_sprite(pictures: npt.NDArray[np.uint8], n: int, largest: int = LARGEST) -> Sprite:
    """All pictures side by side, line by line, made smaller until they fit.

    Parameters
    ----------
    pictures
        uint8, shape (n, h, w) or (n, h, w, c) with c of 1, 3 or 4; what is transparent is laid on white.
    n
        How many there have to be.
    largest
        Bytes that may be taken.

    Raises
    ------
    BadInput
        Another shape or type, or too many to fit at 8 pixels.
    """
    if not isinstance(pictures, np.ndarray) or pictures.dtype != np.uint8 or pictures.ndim not in (3, 4):
        raise BadInput("thumbnails are uint8 of shape (n, h, w) or (n, h, w, 1, 3 or 4)")
    if len(pictures) != n:
        raise BadInput(f"{len(pictures)} thumbnails for {n} points: there must be one each")
    if pictures.ndim == 4 and pictures.shape[3] == 1:
        pictures = pictures[..., 0]
    width = min(_WIDEST, max(pictures.shape[1:3]))
    while width >= _SMALLEST:
        small = _scaled(pictures, width)
        across = math.ceil(math.sqrt(n * small.shape[1] / small.shape[2]))
        down = math.ceil(n / across)
        if max(across * small.shape[2], down * small.shape[1]) <= _SIDE:
            made = _encoded(_grid(small, across, down), largest)
            if made is not None:
                about = {"type": made[1], "columns": across, "width": small.shape[2], "height": small.shape[1]}
                return Sprite(made[0], about)
        width = width * 3 // 4
    raise BadInput(f"{n:,} thumbnails do not fit {largest / 1e6:.0f} MB at {_SMALLEST} pixels: leave them out")


def _scaled(pictures: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.uint8]:
    """Pictures whose longer side has at most `width` pixels, on white."""
    from PIL import Image

    height, wide = pictures.shape[1:3]
    factor = min(1.0, width / max(height, wide))
    size = (max(1, round(wide * factor)), max(1, round(height * factor)))
    if factor == 1 and (pictures.ndim == 3 or pictures.shape[3] == 3):
        return pictures
    made = []
    for one in pictures:
        image = Image.fromarray(one)
        if image.mode == "RGBA":
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        made.append(np.asarray(image.resize(size, Image.Resampling.BILINEAR) if factor < 1 else image))
    return np.stack(made)


def _grid(pictures: npt.NDArray[np.uint8], across: int, down: int) -> npt.NDArray[np.uint8]:
    n, height, width = pictures.shape[:3]
    filled = np.zeros((across * down, *pictures.shape[1:]), dtype=np.uint8)
    filled[:n] = pictures
    lined = filled.reshape(down, across, height, width, *pictures.shape[3:]).swapaxes(1, 2)
    return lined.reshape(down * height, across * width, *pictures.shape[3:])


def _encoded(grid: npt.NDArray[np.uint8], largest: int) -> tuple[bytes, str] | None:
    """PNG if that fits, else JPEG, else nothing."""
    from PIL import Image

    image = Image.fromarray(grid)
    ways: list[tuple[str, dict[str, Any]]] = [("jpeg", {"quality": 80}), ("jpeg", {"quality": 55})]
    if grid.shape[0] * grid.shape[1] <= _LOSSLESS:
        ways.insert(0, ("png", {"optimize": True}))
    for kind, how in ways:
        held = io.BytesIO()
        image.save(held, kind, **how)
        if held.tell() <= largest:
            return held.getvalue(), f"image/{kind}"
    return None
