"""Pictures as rows: read from IDX files, .npy files and folders, or by name.

>>> from embedkit import images
>>> digits = images.named("digits")
>>> digits
Images(1797 of 8 x 8, 10 classes)
>>> digits.to_embedding().shape
(1797, 64)
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embedkit.checks import as_columns, as_json
from embedkit.embedding import Embedding
from embedkit.errors import BadFile, BadInput, printable
from embedkit.files.opening import opened
from embedkit.labels import Labels

Part = Literal["train", "test"]

_PACKED = ("", ".gz", ".bz2", ".xz")
_IDX_NAMES = re.compile(r"images([-.])idx\d")
_MNIST_PARTS = {"train": "train", "test": "t10k"}


@dataclass(frozen=True, eq=False)
class Images:
    """n pictures of one size, and what is known of each.

    Parameters
    ----------
    pixels
        uint8, shape (n, h, w) or (n, h, w, c) with c of 1, 3 or 4; it may be memory-mapped, and is not copied.
    classes
        The class of each, shape (n,): numbers or strings. `None` if not known.
    labels
        n names, such as those of files. `None` numbers them.
    provenance
        Where they come from: a dictionary that JSON can hold.

    Raises
    ------
    BadInput
        Wrong shapes or types, or there is not one class or label for each picture.

    Examples
    --------
    >>> pictures = Images(np.zeros((5, 2, 3), dtype=np.uint8), classes=[0, 1, 0, 1, 2])
    >>> len(pictures), pictures.take([4, 0]).classes.tolist()
    (5, [2, 0])
    """

    pixels: npt.NDArray[np.uint8]
    classes: npt.NDArray[Any] | None = None
    labels: Labels | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        pixels = self.pixels
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
            raise BadInput(f"pixels are uint8 (0 to 255), not {getattr(pixels, 'dtype', type(pixels).__name__)}")
        if pixels.ndim not in (3, 4) or (pixels.ndim == 4 and pixels.shape[3] not in (1, 3, 4)):
            raise BadInput(f"pixels have the shape (n, h, w) or (n, h, w, 1, 3 or 4), not {pixels.shape}")
        if 0 in pixels.shape[1:]:
            raise BadInput(f"a picture has at least one pixel, not the shape {pixels.shape[1:]}")
        n = len(pixels)
        if self.classes is not None:
            object.__setattr__(self, "classes", as_columns({"class": self.classes}, n)["class"])
        if self.labels is not None and len(self.labels) != n:
            raise BadInput(f"{len(self.labels)} labels for {n} pictures: there must be one each")
        object.__setattr__(self, "provenance", as_json(self.provenance))

    def __len__(self) -> int:
        return len(self.pixels)

    def __repr__(self) -> str:
        shape = " x ".join(str(size) for size in self.pixels.shape[1:])
        classes = "" if self.classes is None else f", {len(np.unique(self.classes))} classes"
        return f"Images({len(self)} of {shape}{classes})"

    def head(self, n: int) -> Images:
        """The first `n` pictures, all if there are fewer; their pixels stay where they are."""
        if n < 0:
            raise BadInput(f"head takes a number of pictures of 0 or more, not {n}")
        return self._rows(slice(0, n), {"verb": "head", "n": int(n)})

    def take(self, rows: npt.ArrayLike) -> Images:
        """The pictures at `rows`, in that order: integers, each at most once, or a boolean mask of shape (n,).

        Raises
        ------
        BadInput
            A row that does not exist, or is given twice.
        """
        wanted = np.asarray(rows)
        if wanted.dtype == np.bool_ and wanted.shape == (len(self),):
            wanted = np.flatnonzero(wanted)
        if wanted.ndim != 1 or (wanted.size and not np.issubdtype(wanted.dtype, np.integer)):
            raise BadInput(f"rows are a list of integers or a mask, not {wanted.dtype} of shape {wanted.shape}")
        outside = wanted[(wanted < -len(self)) | (wanted >= len(self))]
        if len(outside):
            raise BadInput(f"row {outside[0]} does not exist: there are {len(self)} pictures")
        wanted = wanted.astype(np.int64) % max(len(self), 1)
        if len(np.unique(wanted)) < len(wanted):
            raise BadInput("a row is given twice: each picture can be taken once")
        return self._rows(wanted, {"verb": "take", "rows": len(wanted)})

    def sample(self, n: int, *, random_state: int = 0) -> Images:
        """`n` pictures drawn by `random_state` without replacement (all if there are fewer), in the order of these."""
        if n < 0:
            raise BadInput(f"sample takes a number of pictures of 0 or more, not {n}")
        drawn = np.random.default_rng(random_state).permutation(len(self))[:n]
        return self._rows(np.sort(drawn), {"verb": "sample", "n": int(n), "random_state": int(random_state)})

    def _rows(self, rows: slice | npt.NDArray[np.int64], step: dict[str, Any]) -> Images:
        numbers = np.arange(len(self))[rows]
        labels = Labels(numbers.tolist()) if self.labels is None else self.labels.take(numbers)
        before = self.provenance.get("then", [])
        if isinstance(before, list):
            provenance = {**self.provenance, "then": [*before, step]}
        else:  # somebody's own use of the word
            provenance = {"from": self.provenance, "then": [step]}
        return Images(self.pixels[rows], None if self.classes is None else self.classes[rows], labels, provenance)

    def to_embedding(self) -> Embedding:
        """Each picture as a row of h * w * c float32 numbers from 0 to 1, with its class in the column ``class``.

        The numbers take four times the memory of the pixels; what is too large for that is better used as `pixels`.
        """
        flat = np.empty((len(self), int(np.prod(self.pixels.shape[1:]))), dtype=np.float32)
        np.divide(self.pixels.reshape(flat.shape), np.float32(255), out=flat)
        columns = {} if self.classes is None else {"class": self.classes}
        provenance = {"made_by": "to_embedding", "shape": list(self.pixels.shape[1:]), "from": self.provenance}
        return Embedding(self.labels, flat, columns=columns, provenance=provenance)


def read(
    path: str | os.PathLike[str],
    classes: str | os.PathLike[str] | npt.ArrayLike | None = None,
    *,
    mode: Literal["L", "RGB"] = "L",
    size: tuple[int, int] | None = None,
) -> Images:
    """Read pictures: an IDX file, a .npy file, or a folder.

    Parameters
    ----------
    path
        An IDX file of bytes with 3 or 4 dimensions, plain or packed by gzip, bzip2 or xz; a .npy file of uint8 of shape
        (n, h, w) or (n, h, w, c); or a folder (see `embedkit.formats.image_folder.read_image_folder`), whose
        sub-folders are classes.
    classes
        The class of each picture: n numbers or strings, or an IDX or .npy file of n whole numbers. By default, for
        ``train-images-idx3-ubyte`` and all that is called alike, the file ``train-labels-idx1-ubyte`` beside it (packed
        or not) if it is there.
    mode, size
        For a folder: grey (``"L"``) or colours (``"RGB"``), and the (height, width) to scale to.

    Returns
    -------
    Images
        Of plain IDX and .npy files the pixels stay memory-mapped: they can be far larger than memory.

    Raises
    ------
    BadFile
        It cannot be read, is damaged, or does not hold pictures.
    BadInput
        There is not one class for each picture.
    """
    where = Path(path)
    names, labels = None, None
    if where.is_dir():
        from embedkit.formats.image_folder import read_image_folder

        pixels, names, known = read_image_folder(where, mode=mode, size=size)
        classes = known if classes is None else classes
        labels = Labels(names)
    else:
        pixels = _array(where)
        classes = _beside(where) if classes is None else classes
    provenance: dict[str, Any] = {"made_by": "images.read", "file": {"name": where.name}}
    if isinstance(classes, str | os.PathLike):
        provenance["classes"] = {"name": Path(classes).name}
        found = _array(classes)
        if found.ndim != 1 or found.dtype.kind not in "iu":
            raise BadFile(classes, f"holds {found.dtype} of shape {found.shape}, expected one whole number a picture")
        if len(found) != len(pixels):
            raise BadFile(classes, f"holds {len(found)} classes for the {len(pixels)} pictures of {where.name}")
        classes = found
    try:
        return Images(pixels, None if classes is None else np.asarray(classes), labels, provenance)
    except BadInput as error:
        raise BadFile(path, str(error)) from None


def named(name: str, part: Part = "train") -> Images:
    """Pictures by name.

    Parameters
    ----------
    name
        ``"mnist"`` or ``"fashion-mnist"``, which have to be at hand (``embedkit fetch mnist``), or ``"digits"``, which
        come with scikit-learn: 1,797 digits of 8 x 8 pixels, the test set of the UCI Machine Learning Repository's
        "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, 1998). Their 17 shades 0 to 16 are
        spread over 0 to 255.
    part
        ``"train"`` or ``"test"``; digits have no parts and are had as ``"train"``.

    Raises
    ------
    BadInput
        There is no such name or part, or the files are not at hand.
    """
    if part not in _MNIST_PARTS:
        raise BadInput(f"part is 'train' or 'test', not '{printable(str(part))}'")
    if name == "digits":
        return _digits(part)
    if name not in ("mnist", "fashion-mnist"):
        raise BadInput(f"no pictures are called '{printable(str(name))}'; there are: digits, fashion-mnist, mnist")
    from embedkit.shelf import locate

    stem = _MNIST_PARTS[part]
    files = locate(name)
    wanted = (f"{stem}-images-idx3-ubyte.gz", f"{stem}-labels-idx1-ubyte.gz")
    pictures = read(files[wanted[0]], files[wanted[1]])
    return Images(pictures.pixels, pictures.classes, None, {"made_by": "images.named", "name": name, "part": part})


def _digits(part: Part) -> Images:
    if part != "train":
        raise BadInput("digits have no test part: draw one from images.named('digits')")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    return Images(pixels, bunch.target, None, {"made_by": "images.named", "name": "digits", "part": part})


def _beside(path: Path) -> Path | None:
    """The file of classes that belongs to a file of pictures by its name."""
    stem = path.name.removesuffix(path.suffix) if path.suffix in _PACKED else path.name
    name, matches = _IDX_NAMES.subn(r"labels\1idx1", stem)
    found = [path.with_name(name + ending) for ending in _PACKED] if matches else []
    # Packed like the pictures first.
    return next((other for other in sorted(found, key=lambda o: o.suffix != path.suffix) if other.is_file()), None)


def _array(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    from embedkit.formats.arrays import map_npy
    from embedkit.formats.idx import read_idx

    with opened(path) as stream:
        is_npy = stream.read(6) == b"\x93NUMPY"
    return map_npy(path) if is_npy else read_idx(path)
