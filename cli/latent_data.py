"""DATA and MODEL of the commands of latent models: what is read, with its labels and columns, as models take it."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import numpy as np
import numpy.typing as npt

from embedkit import Embedding
from embedkit.errors import BadFile, BadInput, printable

from .hints import helped
from .sources import Table, is_source, listed, open_pictures, open_table, warnings_said

if TYPE_CHECKING:
    from embedkit.images import Part
    from embedkit.labels import Labels

_Function = TypeVar("_Function", bound=Callable[..., Any])
Array = npt.NDArray[Any]


def as_size(ctx: click.Context, option: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """The height and width that ``28x28`` means; the callback of an option."""
    if value is None:
        return None
    parts = value.lower().split("x")
    if len(parts) != 2 or not all(part.isascii() and part.isdecimal() and 0 < int(part) < 2**16 for part in parts):
        raise click.BadParameter(f"{value!r} is no size such as 28x28", ctx, option)
    return int(parts[0]), int(parts[1])


_OPTIONS = [
    click.option("--label", default=None, help="Of a table: the column that names the rows."),
    click.option("--columns", multiple=True, metavar="NAME,...", help="Of a table: columns to keep beside."),
    click.option("--features", multiple=True, metavar="NAME,...", help="Of a table: the columns of numbers to take; by "
                 "default those that the model knows, else all."),
    click.option("--missing", type=click.Choice(["error", "drop"]), default="error",
                 help="Of a table: refuse rows that miss a value, or leave them out."),
    click.option("--part", type=click.Choice(["train", "test"]), default="train", help="Of mnist and fashion-mnist."),
    click.option("--size", callback=as_size, default=None, metavar="HxW",
                 help="Of a folder of pictures: scale them to this size."),
    click.option("--rgb", is_flag=True, help="Of a folder of pictures: keep colours."),
    click.option("--top", default=None, type=click.IntRange(min=1), help="Only the first so many rows."),
    click.option("--sample", default=None, type=click.IntRange(min=1), help="Only so many rows, drawn at random."),
]  # fmt: skip

_CLASS = "class"
# What errors of the library call parameters, and what the program does.
_SAID = {
    "missing='drop'": "--missing drop",
    "name another `label`, or keep this one by `columns`": "name another by --label, or keep this one by --columns",
}
DATA_PARAMETERS = ("label", "columns", "features", "missing", "part", "size", "rgb", "top", "sample")


def data_options(function: _Function) -> _Function:
    """How to read DATA; `open_data` takes them all."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def model_options(function: _Function) -> _Function:
    """``--device`` and ``--jobs``: what computes; `open_model` takes them."""
    device = click.option("--device", default="auto", help="What computes: auto, cpu, cuda, cuda:1, ...")
    jobs = click.option("--jobs", "n_jobs", default=None, type=int, help="Threads; -1 for all processors.")
    return device(jobs(function))


@dataclass(frozen=True)
class Data:
    """Rows as a latent model takes them.

    Attributes
    ----------
    rows
        Images, a DataFrame (a table, whose columns have names), an Embedding, or an array or memory map (n, ...).
    labels
        Of the rows; `None` where they have only numbers.
    columns
        What else is known of each.
    about
        Where they come from.
    names
        Of the columns that `rows` were in a table, where they are no DataFrame now.
    """

    rows: Any
    labels: Labels | None
    columns: Mapping[str, Array]
    about: Mapping[str, Any]
    names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Array) -> Data:
        """Some of them, by number, rising."""
        frame = hasattr(self.rows, "iloc")
        part = self.rows.iloc[rows] if frame else self.rows.take(rows) if hasattr(self.rows, "labels") else None
        part = self.rows[rows] if part is None else part
        labels = None if self.labels is None else self.labels.take(rows)
        columns = {name: values[rows] for name, values in self.columns.items()}
        return Data(part, labels, columns, self.about, self.names)

    def labelled(self, vectors: Array, made: Mapping[str, Any]) -> Embedding:
        """`vectors`, (n, d), with these labels and columns; `made` says what made them."""
        return Embedding(self.labels, vectors, columns=self.columns, provenance={**made, "data": self.about})

    def __str__(self) -> str:
        shape = np.shape(getattr(self.rows, "pixels", self.rows))
        if len(shape) > 2:
            return f"{shape[0]:,} pictures of {' x '.join(map(str, shape[1:]))}"
        return f"{shape[0]:,} rows of {shape[1]:,} {'columns' if hasattr(self.rows, 'iloc') else 'numbers'}"


def open_data(
    name: str,
    *,
    label: str | None = None,
    columns: Sequence[str] = (),
    features: Sequence[str] = (),
    missing: str = "error",
    part: Part = "train",
    size: tuple[int, int] | None = None,
    rgb: bool = False,
    top: int | None = None,
    sample: int | None = None,
    seed: int | None = None,
    model: Any = None,
    pictures: bool = False,
    kept: str | None = None,
) -> Data:
    """Read DATA: a file, a folder of pictures, a name on the shelf, or ``-`` for standard input.

    Parameters
    ----------
    name
        Which.
    label, columns, features, missing, part, size, rgb, top, sample
        The options of `data_options`.
    seed
        Of the draw of `sample`.
    model
        The fitted model or detector that they are for: it knows columns and colours.
    pictures
        The rows of a table are pictures: whole numbers from 0 to 255 are then taken for bytes.
    kept
        A column of a table that is no feature, whatever it holds.
    """
    kind = getattr(model, "kind_", getattr(model, "_kind", None))  # of a model, of a detector
    shape: tuple[int, ...] = () if kind is None else kind.shape
    known = getattr(model, "feature_names_in_", None)
    wanted = listed(features) or (None if known is None else list(known))
    table = Table(label, listed(columns) or None, wanted)
    with _as_file(name) as path:
        try:
            data = _opened(path, table, missing, part, size, rgb or (len(shape) == 3 and shape[0] == 3), top, kept)
        except BadFile as error:
            shown = "standard input" if name == "-" else error.path
            reason = error.reason
            for parameter, option in _SAID.items():
                reason = reason.replace(parameter, option)
            raise BadFile(shown, reason, error.place) from None
    if pictures or len(shape) == 3:
        data = _as_pictures(data)
    if sample is not None and sample < len(data):
        data = data.take(np.sort(np.random.default_rng(seed or 0).permutation(len(data))[:sample]))
    return data


@contextlib.contextmanager
def _as_file(name: str) -> Iterator[str]:
    """A name of a file or set; what comes on standard input goes through a file, as its form is found out by looks."""
    if name != "-":
        yield name
        return
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            path = Path(folder) / "standard input"
            path.write_bytes(sys.stdin.buffer.read())
        except OSError as error:
            place = error.filename or "the temporary folder"
            raise BadFile(place, f"cannot hold what comes on standard input: {error.strerror or error}") from error
        yield str(path)


def _opened(
    name: str, table: Table, missing: str, part: Part, size: tuple[int, int] | None, rgb: bool, top: int | None,
    kept: str | None,
) -> Data:  # fmt: skip
    path = Path(name)
    if not is_source(name):
        raise BadInput(f"there is no file, folder or data set '{printable(name)}' (embedkit corpora list shows the "
                       "sets)")  # fmt: skip
    if size is not None and not path.is_dir():
        raise click.UsageError("--size is for folders of pictures")
    array = _plain_array(path)
    if array is not None:
        if array.ndim < 2:
            raise BadFile(path, f"holds numbers of shape {array.shape}: rows were expected")
        return Data(array[:top], None, {}, {"file": {"name": path.name}})
    how: dict[str, Any] = {"size": size, "mode": "RGB" if rgb else "L"} if path.is_dir() else {}
    images = open_pictures(name, part, **how)
    if images is not None:
        if table.label or table.columns:
            raise click.UsageError("--label and --columns are for tables, and these are pictures")
        images = images if top is None else images.head(top)
        known = {} if images.classes is None else {"class": images.classes}
        return Data(images, images.labels, known, images.provenance)
    if path.is_file() and (table.label or table.columns or _is_table(path)):
        return _frame(path, table, missing, top, kept)
    with warnings_said():
        embedding = open_table(name, Table(), top)
    return Data(embedding, embedding.labels, embedding.columns, embedding.provenance)


def _plain_array(path: Path) -> Array | None:
    """What a .npy file holds that is neither pictures in bytes nor vectors with words beside; `None` for others."""
    if not path.is_file() or path.with_suffix(".words.txt").is_file():
        return None
    with path.open("rb") as stream:
        if stream.read(6) != b"\x93NUMPY":
            return None
    from embedkit.formats.arrays import map_npy

    array = map_npy(path)
    last = array.ndim == 4 and array.shape[3] in (1, 3, 4)
    return None if array.dtype == np.uint8 and (array.ndim == 3 or last) else array


def _is_table(path: Path) -> bool:
    from embedkit.formats.reading import is_table

    return is_table(path)


def _frame(path: Path, table: Table, missing: str, top: int | None, kept: str | None) -> Data:
    from embedkit.formats.frame import named_frame
    from embedkit.formats.table_roles import LABEL_NAMES
    from embedkit.formats.tables import read_table_named

    how: dict[str, Any] = {"label": table.label, "limit": top, "missing": missing}
    columns, features = table.columns, table.features
    with warnings_said():
        if kept is not None and kept not in (*(columns or ()), *(features or ())):
            if columns is not None or kept.casefold() in LABEL_NAMES:
                columns = [*(columns or ()), kept]
            elif features is None:  # whatever else is no feature stays, too
                features = read_table_named(path, columns=[kept], **how)[1]
        read, names = read_table_named(path, columns=columns, features=features, **how)
    if read.provenance["dropped"]:
        click.echo(f"rows left out because they miss a value: {read.provenance['dropped']:,}", err=True)
    known = dict(read.columns)
    if "label" in known and _CLASS not in known:  # what is written calls its labels so
        known = {_CLASS if name == "label" else name: values for name, values in known.items()}
        click.echo("the column 'label' is kept as 'class'", err=True)
    return Data(named_frame(read, names), read.labels, known, read.provenance)


def _as_pictures(data: Data) -> Data:
    """The same for a model of pictures: a matrix of whole numbers from 0 to 255, some above 1, is one of bytes."""
    if not hasattr(data.rows, "iloc"):
        return data
    values = data.rows.to_numpy()
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if low >= 0 and 1 < high <= 255 and not (values % 1).any():
        values = values.astype(np.uint8)
    return replace(data, rows=values, names=tuple(data.rows.columns))


def classes_of(data: Data, wanted: str) -> Array:
    """A column of `data` as the class of each row, or what a file says they are.

    Parameters
    ----------
    data
        The rows.
    wanted
        The column, or a file: IDX or .npy of whole numbers, or text with one class a line.

    Raises
    ------
    BadInput
        There is neither, or there is not one class a row.
    """
    if wanted == "label" and _CLASS in data.columns:  # see `_frame`
        wanted = _CLASS
    if wanted in data.columns:
        return data.columns[wanted]
    path = Path(wanted)
    if not path.is_file():
        known = ", ".join(map(printable, data.columns)) or "none"
        raise BadInput(f"there is neither a column nor a file '{printable(wanted)}'; there are the columns: {known}")
    found = _classes_in(path)
    if found.shape != (len(data),):
        raise BadFile(path, f"holds {len(found):,} classes for {len(data):,} rows: there must be one each")
    return found


def _classes_in(path: Path) -> Array:
    from embedkit.checks import as_texts
    from embedkit.files.lines import numbered_lines
    from embedkit.files.opening import opened

    with opened(path) as stream:
        start = stream.read(6)
    if start == b"\x93NUMPY" or start[:2] == b"\0\0":
        from embedkit.formats.arrays import map_npy
        from embedkit.formats.idx import read_idx

        found: Array = map_npy(path) if start == b"\x93NUMPY" else read_idx(path)
        if found.ndim != 1 or found.dtype.kind not in "iu":
            raise BadFile(path, f"holds {found.dtype} of shape {found.shape}, expected one whole number a row")
        return np.asarray(found)
    with opened(path) as stream:
        lines = [line.strip() for _, line in numbered_lines(stream, str(path))]
    try:
        return as_texts("class", [line for line in lines if line])
    except BadInput as error:
        raise BadFile(path, str(error)) from None


def open_model(
    path: Path, device: str = "auto", n_jobs: int | None = None, verb: str = "transform", *, detector: bool = False
) -> Any:
    """The latent model in a file, on a device; it has to have a verb. With `detector` it may be a detector of them."""
    from embedkit import load

    try:
        model = load(path)
    except BadFile as error:
        raise helped(error, path, "model") from error
    kind = type(model).__name__
    if detector and kind == "AnomalyDetector":
        if hasattr(model.model_, "kind_"):
            _set_up(model.model_, device, n_jobs)
        return model
    if not hasattr(model, "kind_"):
        what = "an autoencoder, a VAE, an adversarial autoencoder or a GAN was expected"
        raise BadFile(path, f"holds {'vectors' if kind == 'Embedding' else f'a {kind}'}: {what}")
    if not hasattr(model, verb):
        raise BadFile(path, f"holds a {kind}, which has no encoder: it makes rows (embedkit generate), and no codes")
    _set_up(model, device, n_jobs)
    return model


def _set_up(model: Any, device: str, n_jobs: int | None) -> None:
    from embedkit.latent.moving import move

    move(model, device)
    if n_jobs is not None:
        model.set_params(n_jobs=n_jobs)


def about_model(model: Any, path: Path, verb: str) -> dict[str, Any]:
    """What is recorded of what a model made."""
    from embedkit.formats.collecting import about_file

    parameters = {name: value for name, value in model.get_params().items() if name not in ("device", "n_jobs")}
    return {"made_by": f"{type(model).__name__}.{verb}", "parameters": parameters, "model": about_file(path)}


def drawable(model: Any, rows: Array) -> Array:
    """Rows that the model made, as pictures (n, h, w), (n, c, h, w) or (n, h, w, c).

    Raises
    ------
    BadInput
        They are none.
    """
    kind = model.kind_
    if not kind.image:
        raise BadInput("this model's rows are no pictures: --png has nothing to draw")
    if rows.ndim > 2:
        return rows
    return rows.reshape(len(rows), *(kind.shape if kind.shape[0] > 1 else kind.shape[1:]))


def rows_as_pictures(model: Any, data: Data) -> Array | None:
    """The rows of `data`, which `model` was fitted to or for, as pictures; `None` if they are none."""
    pixels = getattr(data.rows, "pixels", None)
    if pixels is not None:
        found: Array = pixels
        return found
    kind = getattr(model, "kind_", None)
    if kind is None or not kind.image:
        return None
    values = np.asarray(data.rows)
    return drawable(model, values)
