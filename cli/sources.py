"""What a command can be pointed at: files of vectors, tables and pictures, folders of pictures, names on the shelf."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import numpy as np
import numpy.typing as npt

from embedkit import Embedding
from embedkit.errors import BadInput, printable

from .options import read_vectors

if TYPE_CHECKING:
    from embedkit.images import Images, Part

_PICTURES = ("digits", "fashion-mnist", "mnist")
_IDX = (b"\0\0\x08\x03", b"\0\0\x08\x04")  # bytes of 3 or 4 dimensions


class Rows(NamedTuple):
    """n rows, and their pictures where they are such: uint8, (n, h, w) or (n, h, w, c)."""

    embedding: Embedding
    pixels: npt.NDArray[np.uint8] | None


class Table(NamedTuple):
    """Which columns of a table are what; None where that is to be found out."""

    label: str | None = None
    columns: Sequence[str] | None = None
    features: Sequence[str] | None = None


def is_source(name: str) -> bool:
    """Whether `name` is a file, a folder, or called so on the shelf."""
    from embedkit import shelf

    with contextlib.suppress(OSError, ValueError):
        if Path(name).exists():
            return True
    return name in _PICTURES or name in shelf.names()


def open_rows(name: str, table: Table, *, part: Part, top: int | None, sample: int | None, seed: int) -> Rows:
    """Read the rows of a file, a folder of pictures or a name on the shelf.

    Parameters
    ----------
    name
        Which.
    table
        Its columns, if it is a table.
    part
        ``"train"`` or ``"test"``, of pictures by name.
    top, sample
        Only the first so many rows; so many of those, drawn at random.
    seed
        Of the draw.
    """
    pictures = open_pictures(name, part)
    if pictures is None:
        return Rows(drawn(open_table(name, table, top), sample, seed), None)
    if any(table):
        raise click.UsageError("--label, --columns and --features are for tables, and these are pictures")
    if top is not None:
        pictures = pictures.head(top)
    if sample is not None:
        pictures = pictures.sample(sample, random_state=seed)
    return Rows(pictures.to_embedding(), pictures.pixels)


def open_pictures(name: str, part: Part, **how: Any) -> Images | None:
    """The pictures that `name` stands for: a folder, a file (.npy, IDX), or one of the shelf; None if it has none."""
    from embedkit import images

    path = Path(name)
    if path.exists():
        return images.read(path, **how) if path.is_dir() or _holds_pictures(path) else None
    return images.named(name, part) if name in _PICTURES else None


def open_table(name: str, table: Table, top: int | None) -> Embedding:
    """The first `top` rows of a file of vectors or numbers, or of vectors on the shelf."""
    path = Path(name)
    return _vectors(path if path.exists() else _on_shelf(name), table, top)


def drawn(embedding: Embedding, sample: int | None, seed: int) -> Embedding:
    """So many rows at random, in the order they have (all, if there are fewer)."""
    if sample is None or sample >= len(embedding):
        return embedding
    return embedding.take(np.sort(np.random.default_rng(seed).permutation(len(embedding))[:sample]))


@contextlib.contextmanager
def warnings_said() -> Iterator[None]:
    """Say on stderr what the library warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        if issubclass(warning.category, UserWarning | RuntimeWarning):
            click.echo(f"embedkit: warning: {printable(str(warning.message))}", err=True)


def _holds_pictures(path: Path) -> bool:
    from embedkit.files.opening import opened
    from embedkit.formats.arrays import map_npy

    with opened(path) as stream:
        start = stream.read(6)
    if start == b"\x93NUMPY":
        return map_npy(path).ndim > 2
    return start[:4] in _IDX


def _vectors(path: Path, table: Table, top: int | None) -> Embedding:
    if any(table):
        from embedkit.formats.tables import read_table

        with warnings_said():
            return read_table(path, **table._asdict(), limit=top)
    with path.open("rb") as stream:
        numpy_file = stream.read(6) == b"\x93NUMPY"
    if numpy_file and not path.with_suffix(".words.txt").is_file():
        from embedkit.formats.arrays import map_npy

        return Embedding(None, map_npy(path)[:top], provenance={"made_by": "read", "file": {"name": path.name}})
    return read_vectors(path, limit=top)


def _on_shelf(name: str) -> Path:
    from embedkit import shelf

    card = shelf.card(name)
    if card.kind != "vectors":
        raise BadInput(f"'{name}' is {card.kind} and has no vectors: {card.title}")
    found = shelf.locate(name)
    if len(found) > 1:
        raise BadInput(f"'{name}' is several files here, name one of them: {', '.join(map(str, found.values()))}")
    return next(iter(found.values()))


def listed(values: Sequence[str]) -> list[str]:
    """Values that are given several times or with commas between them, each once."""
    parts: list[Any] = [part.strip() for value in values for part in value.split(",")]
    return list(dict.fromkeys(part for part in parts if part))
