"""A folder of pictures as one array; sub-folders are classes, as in torchvision's ImageFolder."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadFile, BadInput

if TYPE_CHECKING:
    from PIL import Image

Mode = Literal["L", "RGB"]

_ENDINGS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # Pillow knows many more, few of them well kept
# What its readers are known to raise on damaged files.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    struct.error,
    zlib.error,
)


class Pictures(NamedTuple):
    """What a folder holds.

    Attributes
    ----------
    pixels
        uint8, shape (n, h, w) for mode L or (n, h, w, 3) for RGB.
    names
        n paths within the folder, with forward slashes.
    classes
        n names of sub-folders, shape (n,), or None where there are no sub-folders.
    """

    pixels: npt.NDArray[np.uint8]
    names: list[str]
    classes: npt.NDArray[np.str_] | None


def read_image_folder(
    path: str | os.PathLike[str], *, mode: Mode = "L", size: tuple[int, int] | None = None
) -> Pictures:
    """Read a folder of pictures, sorted by name.

    Pictures lie in the folder itself, or all of them in sub-folders (at any depth), the first of which is their class.
    Hidden files are left out, and those whose names do not end as pictures do (bmp, gif, jpeg, jpg, pgm, png, ppm, tif,
    tiff, webp). A picture is turned upright as its EXIF data says. Colours become grey by ITU-R 601; grey of 16 bits is
    divided by 257; palettes are looked up; what is transparent is laid on white.

    Parameters
    ----------
    path
        The folder.
    mode
        ``"L"`` for grey, ``"RGB"`` for colours.
    size
        (height, width) to which pictures are scaled, bilinear with antialiasing, without keeping proportions. By
        default all must be of one size already.

    Raises
    ------
    BadFile
        Naming the picture: it is damaged (a PNG is compared with its checksums), is no picture, has several frames,
        has pixels of 32 bits, has more pixels than Pillow holds to be safe, or is not of the size of the first. Or the
        folder holds none, or some beside sub-folders with others.
    BadInput
        `mode` or `size` is not what it can be.
    """
    if mode not in ("L", "RGB"):
        raise BadInput(f"mode is 'L' or 'RGB', not '{mode}'")
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise BadInput(f"size is (height, width), each 1 or more, not {size}")
    folder = Path(path)
    names = sorted(_names(folder))
    if not names:
        raise BadFile(path, f"holds no pictures ({', '.join(sorted(_ENDINGS))})")
    flat = [name for name in names if "/" not in name]
    if flat and len(flat) < len(names):
        raise BadFile(path, f"holds pictures ('{flat[0]}') beside sub-folders of others: which is the class?")
    first = _read(folder / names[0], mode, size)
    pixels = np.empty((len(names), *first.shape), dtype=np.uint8)
    for row, name in enumerate(names):
        picture = _read(folder / name, mode, size) if row else first
        if picture.shape != first.shape:
            found, expected = (f"{shape[0]} x {shape[1]}" for shape in (picture.shape, first.shape))
            reason = f"is {found} pixels (height x width), the first is {expected}: give size=(height, width)"
            raise BadFile(folder / name, reason)
        pixels[row] = picture
    classes = None if flat else np.array([name.partition("/")[0] for name in names])
    return Pictures(pixels, names, classes)


def _names(folder: Path) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise BadFile(error.filename or folder, f"cannot be read: {error.strerror or error}") from error

    for where, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in _ENDINGS:
                yield (Path(where) / name).relative_to(folder).as_posix()


def _read(path: Path, mode: Mode, size: tuple[int, int] | None) -> npt.NDArray[np.uint8]:
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not path.is_file():
        raise BadFile(path, "is not a regular file")  # opening a pipe would wait for ever
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks about metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as image:
                if image.format == "PNG":
                    image.verify()  # its checksums are not looked at while it is read; afterwards it is used up
            with Image.open(path, formats=_FORMATS) as image:
                frames = getattr(image, "n_frames", 1)
                if frames != 1:
                    raise BadFile(path, f"has {frames} frames, one was expected")
                image.load()
                upright = ImageOps.exif_transpose(image)
                picture = _eight_bits(upright, path).convert(mode)
                if size is not None:
                    picture = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)
                return np.array(picture, dtype=np.uint8)
    except BadFile:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        reason = f"has more pixels than Pillow holds to be safe ({Image.MAX_IMAGE_PIXELS:,})"
        raise BadFile(path, f"{reason}: make it smaller first") from None
    except UnidentifiedImageError:
        raise BadFile(path, "is no picture that can be read, whatever its name says") from None
    except _DAMAGE as error:
        raise BadFile(path, f"is damaged or cannot be read: {error}") from None


def _eight_bits(image: Image.Image, path: Path) -> Any:
    """The picture with 8 bits a channel, without palette and transparency."""
    from PIL import Image

    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        # Pillow itself would cut at 255 here.
        return Image.fromarray(((np.asarray(image).astype(np.int64) + 128) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise BadFile(path, "has pixels of 32 bits, whose range is not known: save it with 8 or 16")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB") if image.mode == "P" else image
