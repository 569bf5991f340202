"""`embedkit project`: vectors to a map."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .options import ignore_case_option, open_vectors, vectors_option


@click.command(short_help="Project vectors to a map and write it as CSV.")
@click.argument("words", nargs=-1, metavar="[WORD...]")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="CSV file to write; - for stdout.")
@click.option("--method", type=click.Choice(["pca"]), default="pca", help="How to project.")
@click.option("--n-components", default=2, type=click.IntRange(min=1), help="Dimensions of the map.")
@click.option("--top", default=None, type=click.IntRange(min=2), help="Only the most frequent so many rows.")
@click.option("--seed", "random_state", default=None, type=int, help="Seed, where the method draws random numbers.")
@ignore_case_option
@vectors_option
def project(words: tuple[str, ...], output: Path, method: str, n_components: int, top: int | None,
            random_state: int | None, ignore_case: bool, vectors: Path | None) -> None:  # fmt: skip
    """Project vectors (all of them, the --top most frequent, or those of WORD...) and write a CSV.

    Its columns are label, what is known of each row (count, ...), and x, y. Example: embedkit project --top 1000 -o
    map.csv
    """
    if words and top is not None:
        raise click.UsageError("give words or --top, not both")
    embedding = open_vectors(vectors)
    if words:
        embedding = embedding.take(embedding.rows(dict.fromkeys(words), ignore_case=ignore_case))
    elif top is not None:
        embedding = embedding.head(top)
    from embedkit import PCA
    from embedkit.errors import BadInput
    from embedkit.formats.frame import write_csv

    largest = min(len(embedding), embedding.width)
    if n_components > largest:
        raise BadInput(f"{method} of {len(embedding)} rows of {embedding.width} dimensions has at most {largest} "
                       f"components, not {n_components}")  # fmt: skip
    projector = PCA(n_components, random_state=random_state)
    made = projector.fit_transform(embedding)
    write_csv(made, sys.stdout.buffer if str(output) == "-" else output)
    explained = float(projector.explained_variance_ratio_.sum())
    click.echo(f"wrote {len(made)} rows, {explained:.1%} of the variance explained", err=True)
