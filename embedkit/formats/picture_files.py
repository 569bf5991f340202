"""Pictures that were made, as files: an array, or a folder of them."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadFile, BadInput
from embedkit.files.atomic import replacing
from embedkit.formats import arrays


def write_array(rows: npt.NDArray[Any], path: str | os.PathLike[str]) -> None:
    """Write numbers of any shape as .npy, all or nothing."""
    with replacing(path) as stream:
        arrays.write_array(stream, rows)


def write_image_folder(pictures: npt.NDArray[Any], path: str | os.PathLike[str]) -> None:
    """Write pictures into a new or empty folder: ``00000.png``, ``00001.png`` ..., each whole or not at all.

    Where one cannot be written, those before it are removed again.

    Parameters
    ----------
    pictures
        Numbers from 0 to 1, (n, h, w), (n, c, h, w) or (n, h, w, c), with c of 1, 3 or 4.
    path
        The folder; `embedkit.images.read` reads it.

    Raises
    ------
    BadInput
        They have another number of channels.
    BadFile
        The folder cannot be made, or holds something.
    """
    from PIL import Image

    folder = Path(path)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise BadFile(folder, "is there already, and not an empty folder: name a new one for the pictures")
    channels = (1, 3, 4)
    if pictures.ndim == 4 and pictures.shape[3] not in channels and pictures.shape[1] in channels:
        pictures = np.moveaxis(pictures, 1, 3)
    if pictures.ndim not in (3, 4) or (pictures.ndim == 4 and pictures.shape[3] not in channels):
        raise BadInput(f"pictures have 1, 3 or 4 channels, not the shape {pictures.shape}: write .npy")
    values = np.rint(np.clip(pictures, 0, 1) * 255).astype(np.uint8)
    values = values[..., 0] if values.ndim == 4 and values.shape[3] == 1 else values
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadFile(folder, f"cannot be made: {error.strerror or error}") from error
    digits = max(5, len(str(len(values) - 1)))
    written: list[Path] = []
    try:
        for number, picture in enumerate(values):
            held = io.BytesIO()
            Image.fromarray(picture).save(held, format="PNG")
            written.append(folder / f"{number:0{digits}d}.png")
            with replacing(written[-1]) as stream:
                stream.write(held.getvalue())
    except BaseException:
        with contextlib.suppress(OSError):
            for path in written:
                path.unlink(missing_ok=True)
            if made:
                folder.rmdir()
        raise
