"""`embedkit project`: rows to a map, with a word on how far it can be trusted."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from click.core import ParameterSource

import embedkit
from embedkit import Embedding
from embedkit.errors import BadInput, printable
from embedkit.files.atomic import check_place
from embedkit.formats.writing import FORMATS, SUFFIXES, Format, format_of

from .completion import listed_words, source_or_words
from .options import ignore_case_option, open_vectors, vectors_option
from .sources import Rows, Table, drawn, is_source, listed, open_rows, warnings_said

if TYPE_CHECKING:
    from embedkit.manifold.faithfulness import Faithfulness

METHODS = {"umap": "UMAP", "pca": "PCA", "tsne": "TSNE"}
# Which of the options go with which method, by the parameter that they set.
_OWN = {
    "n_neighbors": ("umap",), "min_dist": ("umap",), "layout": ("umap",), "device": ("umap",),
    "perplexity": ("tsne",), "metric": ("umap", "tsne"),
}  # fmt: skip
_STREAMED = {"csv": ",", "tsv": "\t"}
_TOLD = ("trustworthiness", "continuity", "neighbours kept@15")
_NEAR = "near"
_NEIGHBOURS = 15  # of which distortion counts the wrong ones
_TOO_FEW = 10  # points, whose neighbours tell nothing
_SEARCHED = 20_000  # rows up to which those are searched for exactly
_WRITTEN = 60  # labels of neighbours in a picture, at most


@click.command(short_help="Project rows to a map: table, picture, interactive page.")
@click.argument("words", nargs=-1, metavar="[SOURCE] [WORD...]", shell_complete=source_or_words)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path),
              help="File to write (its ending says the format); - for CSV on stdout.")  # fmt: skip
@click.option("--method", type=click.Choice(list(METHODS)), default="pca", help="How to project.")
@click.option("--dims", "--n-components", "n_components", default=2, type=click.IntRange(min=1),
              help="Dimensions of the map.")  # fmt: skip
@click.option("--format", "chosen", type=click.Choice(FORMATS), help="Format of the output, if its ending says none.")
@click.option(
    "--safe-text", is_flag=True, help="In CSV and TSV, mark text that a spreadsheet would take for a formula."
)
@click.option("--html", type=click.Path(path_type=Path), help="Write an interactive page too, which needs no network.")
@click.option("--png", type=click.Path(path_type=Path), help="Write a picture too: .png, .svg, .pdf.")
@click.option("--colour", "--color", "colour", help="Column to colour by; by default class, or near with --words.")
@click.option("--title", default=None, help="Title of picture and page.")
@click.option("--dark", is_flag=True, help="Picture and page light on dark.")
@click.option(
    "--hover", multiple=True, metavar="NAME,...", help="Columns that the page shows of a point; by default all."
)
@click.option("--thumbnails/--no-thumbnails", default=True, help="Of pictures: show them in the page.")
@click.option("--words", "asked", multiple=True, metavar="WORD,...", shell_complete=listed_words,
              help="Map these words and their neighbours; with --top or --sample, show them on that map.")  # fmt: skip
@click.option("--neighbours", default=10, type=click.IntRange(min=0), help="Neighbours of each of --words.")
@click.option("--top", default=None, type=click.IntRange(min=2), help="Only the most frequent (first) so many rows.")
@click.option("--sample", default=None, type=click.IntRange(min=2), help="Only so many rows, drawn at random.")
@click.option("--seed", "random_state", default=None, type=int, help="Seed, where random numbers are drawn.")
@click.option("--n-neighbors", default=None, type=click.IntRange(min=2), help="UMAP: neighbours of a point.")
@click.option("--min-dist", default=None, type=click.FloatRange(min=0), help="UMAP: how close points may lie.")
@click.option("--metric", default=None, help="UMAP, t-SNE: distance between rows: euclidean, cosine, ...")
@click.option("--layout", default=None, type=click.Choice(["parallel", "umap-learn"]), help="UMAP: which layout.")
@click.option("--device", default=None, metavar="DEVICE", help="UMAP: what computes: numpy, or torch on cpu, cuda, "
              "cuda:1, ...; auto, the default, takes a GPU for many rows.")  # fmt: skip
@click.option("--perplexity", default=None, type=click.FloatRange(min=1), help="t-SNE: perplexity.")
@click.option("--jobs", default=None, type=int, help="Threads; -1 for all processors.")
@click.option("--label", default=None, help="Of a table: the column that names the rows.")
@click.option("--columns", multiple=True, metavar="NAME,...", help="Of a table: columns to keep, not to project.")
@click.option("--features", multiple=True, metavar="NAME,...", help="Of a table: columns to project.")
@click.option("--part", type=click.Choice(["train", "test"]), default="train", help="Of mnist and fashion-mnist.")
@click.option("--distortion", is_flag=True, help="Add a column: the share of each point's neighbours that are wrong.")
@click.option(
    "--stability", default=0, type=click.IntRange(min=0), help="Project with so many other seeds and compare."
)
@click.option("--report/--no-report", default=True, help="Measure how far a map of 10 points or more can be "
              "trusted; say it, and write it to OUTPUT.report.json.")  # fmt: skip
@click.option("--queries", default=1000, type=click.IntRange(min=1), help="Points that the report asks, of many.")
@ignore_case_option
@vectors_option
@click.pass_context
def project(ctx: click.Context, /, words: tuple[str, ...], vectors: Path | None, **given: Any) -> None:
    """Project rows to a map, and write it with labels, columns and coordinates x, y[, z].

    SOURCE is a file (vectors in any format, CSV, TSV, Parquet, .npy, IDX pictures), a folder of pictures, or a name:
    digits, mnist, vectors of the shelf. Without it, --vectors or the vectors that ship with embedkit are taken; WORDs
    choose some of their rows. Where a WORD has the name of a file, say -m.

    \b
    embedkit project king queen man woman -o -
    embedkit project data.csv --columns class -o map.csv --png map.png
    embedkit project --words king,paris -o map.csv --html map.html
    embedkit project digits --method umap -o map.csv --html map.html
    """  # noqa: D301  # click's mark for lines to leave as they are
    if given["asked"] and words[1:]:
        raise click.UsageError("give words after SOURCE or by --words, not both")
    if given["chosen"] is None and str(given["output"]) != "-":
        _check_table(given["output"])
        given["chosen"] = format_of(given["output"])
    _check_options(given)
    for output in (given["output"], given["png"], given["html"]):
        if output is not None and str(output) != "-" and given["chosen"] != "projector":
            check_place(output)
    from_line = ctx.get_parameter_source("vectors") == ParameterSource.COMMANDLINE
    source = words[0] if words and not from_line and is_source(words[0]) else None
    words = words[1:] if source else words
    if words and (given["top"] is not None or given["sample"] is not None):
        raise click.UsageError("give words, or --top or --sample, not both")
    rows = _open(source, vectors, given)
    embedding, notable = _chosen_rows(rows.embedding, words, given)
    pixels = rows.pixels if given["thumbnails"] and embedding.labels == rows.embedding.labels else None
    _check_size(embedding, given)
    with warnings_said():
        made, projector = _projected(embedding, given)
    colour = _colour(made, given["colour"], bool(given["asked"]))
    report = _report(embedding, made, colour, given) if given["report"] else None
    if given["distortion"] or given["colour"] == "distortion":
        made = _with_distortion(embedding, made, projector, given)
    _write(made, given)
    if report is not None and str(given["output"]) != "-":
        _write_companion(made, report, given["output"])
    with warnings_said():
        _draw(made, report, colour, notable, pixels, given)
    explained = getattr(projector, "explained_variance_ratio_", None)
    told = "" if explained is None else f", {float(explained.sum()):.1%} of the variance explained"
    if given["method"] == "umap":
        told = f": neighbours {projector.neighbours_}, layout {projector.layout_} on {projector.device_}"
    click.echo(f"wrote {len(made)} rows{told}", err=True)
    if report is not None:
        click.echo(str(report), err=True)


# -- what goes in ------------------------------------------------------------------------------------------------------


def _check_table(output: Path) -> None:
    from embedkit.plots.figures import ENDINGS

    other = {"--html": (".html", ".htm"), "--png": ENDINGS}
    for option, endings in other.items():
        if output.suffix.lower() in endings:
            raise click.UsageError(
                f"-o takes the table of the map; ask for this beside it: -o map.csv {option} {output}"
            )


def _check_options(given: dict[str, Any]) -> None:
    method = given["method"]
    for name, methods in _OWN.items():
        if given[name] is not None and method not in methods:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} goes with --method {' or '.join(methods)}, not with {method}")
    if given["stability"] and method == "pca":
        raise click.UsageError("--stability goes with methods that draw random numbers, not with pca")
    if (given["html"] or given["png"]) and given["n_components"] not in (2, 3):
        raise click.UsageError("pictures and pages are of 2 or 3 dimensions")
    if given["png"]:
        from embedkit.plots.figures import picture_format

        picture_format(given["png"])
    chosen = given["chosen"] or "csv"
    if str(given["output"]) == "-" and chosen not in _STREAMED:
        raise click.UsageError(f"stdout takes {' or '.join(_STREAMED)}, not {chosen}")
    if given["safe_text"] and chosen not in _STREAMED:
        raise click.UsageError(f"--safe-text is for {' and '.join(_STREAMED)}, which spreadsheets open")


def _open(source: str | None, vectors: Path | None, given: dict[str, Any]) -> Rows:
    columns, features = listed(given["columns"]), listed(given["features"])
    table = Table(given["label"], columns or None, features or None)
    where: dict[str, Any] = {"top": given["top"], "sample": given["sample"], "seed": given["random_state"] or 0}
    if source is None and vectors is not None and any(table):
        source = str(vectors)
    if source is not None:
        return open_rows(source, table, part=given["part"], **where)
    if any(table):
        raise click.UsageError("--label, --columns and --features are for tables")
    embedding = open_vectors(vectors)
    if given["top"] is not None:
        embedding = embedding.head(given["top"])
    return Rows(drawn(embedding, given["sample"], where["seed"]), None)


def _chosen_rows(embedding: Embedding, words: tuple[str, ...], given: dict[str, Any]) -> tuple[Embedding, list[str]]:
    """The rows to project, and the labels to write in pictures."""
    case = given["ignore_case"]
    if words:
        embedding = embedding.take(embedding.rows(dict.fromkeys(words), ignore_case=case))
        return embedding, list(embedding)[:_WRITTEN]
    asked = listed(given["asked"])
    if not asked:
        return embedding, []
    rows = embedding.rows(asked, ignore_case=case)
    asked = list(dict.fromkeys(embedding.labels[row] for row in rows.tolist()))
    near = _near(embedding, asked, given["neighbours"])
    if given["top"] is None and given["sample"] is None:
        embedding = embedding.take(embedding.rows(list(near)))
    if _NEAR in embedding.columns:
        raise BadInput(f"there is a column '{_NEAR}' already, which --words would make: rename it")
    column = [near.get(label, "") for label in embedding]
    marked = Embedding(
        embedding.labels,
        embedding.vectors,
        columns={**embedding.columns, _NEAR: column},
        provenance=embedding.provenance,
    )
    return marked, [*asked, *(label for label in near if label not in asked)][:_WRITTEN]


def _near(embedding: Embedding, asked: list[str], k: int) -> dict[str, str]:
    """Label to the asked word that it is nearest to, of these words and their k nearest neighbours."""
    near: dict[str, tuple[float, str]] = {word: (2.0, word) for word in asked}
    if k:
        for found in embedding.similar(asked, k):
            if found.label is not None and found.score > near.get(found.label, (-2.0, ""))[0]:
                near[found.label] = (found.score, found.query)
    return {label: word for label, (_, word) in near.items()}


# -- the map -----------------------------------------------------------------------------------------------------------


def _check_size(embedding: Embedding, given: dict[str, Any]) -> None:
    largest = min(len(embedding), embedding.width)
    if given["method"] == "pca" and given["n_components"] > largest:
        raise BadInput(f"pca of {len(embedding)} rows of {embedding.width} dimensions has at most {largest} "
                       f"components, not {given['n_components']}")  # fmt: skip


def _projector(given: dict[str, Any], seed: int | None) -> Any:
    how = {name: given[name] for name in _OWN if given[name] is not None}
    if given["jobs"] is not None and given["method"] != "pca":
        how["n_jobs"] = given["jobs"]
    # By name, so that no method's libraries are imported for another's sake.
    return getattr(embedkit, METHODS[given["method"]])(n_components=given["n_components"], random_state=seed, **how)


def _projected(embedding: Embedding, given: dict[str, Any]) -> tuple[Embedding, Any]:
    from embedkit.progress import bar

    projector = _projector(given, given["random_state"])
    watched = {"callback": bar("UMAP")} if given["method"] == "umap" else {}
    made: Embedding = projector.fit_transform(embedding, **watched)
    return made, projector


def _report(embedding: Embedding, made: Embedding, colour: str | None, given: dict[str, Any]) -> Faithfulness | None:
    from embedkit.manifold.faithfulness import faithfulness

    if len(made) < _TOO_FEW:
        return None
    first = given["random_state"] or 0
    seeds = range(first + 1, first + 1 + given["stability"])
    with warnings_said():
        others = [_projector(given, seed).fit_transform(embedding) for seed in seeds]
    return faithfulness(
        embedding,
        made,
        classes=_classes(made, colour),
        others=others,
        queries=given["queries"],
        metric=given["metric"] or "euclidean",
        pca=given["method"] != "pca",
        random_state=first,
        n_jobs=given["jobs"] or 1,
    )


def _colour(made: Embedding, given: str | None, near: bool) -> str | None:
    if given is not None and given != "distortion" and given not in made.columns:
        known = ", ".join(map(printable, made.columns)) or "none"
        raise BadInput(f"no column '{printable(given)}' to colour by; there are: {known}")
    usual = _NEAR if near else "class"
    return given or (usual if usual in made.columns else None)


def _classes(made: Embedding, colour: str | None) -> Any:
    """Classes whose separation is worth a figure, where the map is coloured by such."""
    values = made.columns.get(colour or "")
    if values is None or colour == _NEAR or values.dtype.kind not in "biuU":
        return None
    return values if 2 <= len(np.unique(values)) <= len(values) // 2 else None


def _with_distortion(embedding: Embedding, made: Embedding, projector: Any, given: dict[str, Any]) -> Embedding:
    from embedkit.manifold.faithfulness import distortion

    # UMAP's own neighbours, the row itself first, where searching for exact ones would take longer than the map did.
    known = getattr(projector, "knn_indices_", None) if len(made) > _SEARCHED else None
    k = _NEIGHBOURS if known is None else min(_NEIGHBOURS, known.shape[1] - 1)
    values = distortion(embedding, made, metric=given["metric"] or "euclidean", k=k, neighbours=known)
    columns = {**made.columns, "distortion": values}
    return Embedding(made.labels, made.vectors, columns=columns, provenance=made.provenance)


# -- what comes out ----------------------------------------------------------------------------------------------------


def _write(made: Embedding, given: dict[str, Any]) -> None:
    chosen: Format = given["chosen"] or "csv"
    if str(given["output"]) == "-":
        from embedkit.formats.table_rows import write_table

        write_table(sys.stdout.buffer, made, _STREAMED[chosen], safe_text=given["safe_text"])
        return
    from embedkit import write

    write(made, given["output"], format=chosen, safe_text=given["safe_text"])


def companion(output: Path) -> Path:
    """Where the report on a map lies: ``map.report.json`` beside ``map.csv``."""
    name = output.name
    for ending in (".gz", ".bz2", ".xz"):
        name = name.removesuffix(ending)
    name = name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in SUFFIXES else name
    return output.with_name(f"{name}.report.json")


def _write_companion(made: Embedding, report: Faithfulness, output: Path) -> None:
    from embedkit.files.atomic import replacing

    about = {"map": output.name, "faithfulness": report.to_dict(), "provenance": made.provenance}
    with replacing(companion(output)) as stream:
        stream.write((json.dumps(about, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode())


def _draw(
    made: Embedding,
    report: Faithfulness | None,
    colour: str | None,
    notable: list[str],
    pixels: Any,
    given: dict[str, Any],
) -> None:
    title = given["title"] or f"{METHODS[given['method']]} of {len(made):,} rows"
    if given["png"]:
        from embedkit.plots import save_figure, scatter_map

        figure = scatter_map(made, colour=colour, notable=notable or None, title=title, caption=_caption(report),
                             dark=given["dark"])  # fmt: skip
        save_figure(figure, given["png"])
    if given["html"]:
        from embedkit.plots import write_page

        write_page(made, given["html"], title=title, colour=colour, notable=notable, thumbnails=pixels, report=report,
                   hover=listed(given["hover"]) or None, theme="dark" if given["dark"] else "auto")  # fmt: skip


def _caption(report: Faithfulness | None) -> str:
    if report is None:
        return ""
    told = [figure for figure in report.figures if figure.name in _TOLD or figure.measure in _TOLD]
    return ", ".join(
        f"{figure.name} {figure.value:.3f}" + (f" (PCA {figure.pca:.3f})" if figure.pca == figure.pca else "")
        for figure in told
    )
