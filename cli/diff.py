"""`embedkit diff`: how two spaces differ."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import OK
from .options import device_option, open_vectors
from .output import Printer, format_option

if TYPE_CHECKING:
    from embedkit.evaluation import Moved


@click.command(short_help="Show which words moved between two files of vectors.")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--noise", multiple=True, type=click.Path(path_type=Path), metavar="A2",
              help="Vectors that differ from A by chance only: the same text, another seed. A second one is to B what "
              "the first is to A.")  # fmt: skip
@click.option("-k", default=10, type=click.IntRange(min=1), help="How many neighbours to compare.")
@click.option("--top", default=20, type=click.IntRange(min=0), help="Print so many words; 0 for all.")
@click.option("--restrict", default=20_000, type=click.IntRange(min=0),
              help="Compare only the most frequent so many words of each; 0 for all.")  # fmt: skip
@device_option
@format_option
def diff(a: Path, b: Path, noise: tuple[Path, ...], k: int, top: int, restrict: int, device: Any,
         style: str) -> int:  # fmt: skip
    """Show which words moved most from A to B, two files of vectors of the same width.

    A is turned onto B by orthogonal Procrustes on the words that they share. distance is one less the cosine of a word
    in both. With --noise, expected is how far chance moves words that were seen as often, and z by how many deviations
    the distance is above that: the words are in the order of z. Without, rare words fill the list, because they lie
    anywhere. overlap is the share of the neighbours of a word that are the same in both.

    \b
    embedkit diff old.safetensors new.safetensors --noise other-seed.safetensors
    """  # noqa: D301  # click's sign for lines that stay
    if len(noise) > 2:
        raise click.UsageError("--noise is given at most twice: once for A and once for B")
    from embedkit.evaluation import diff as diff_spaces

    first, second = open_vectors(a), open_vectors(b)
    pairs = [(one, open_vectors(path)) for one, path in zip((first, second), noise, strict=False)]
    found = diff_spaces(first, second, noise=pairs, k=k, restrict=restrict or None, device=device)
    printer = Printer(["label", "frequency", "distance", "expected", "z", "overlap"], style)
    printer.print([_plain(one) for one in islice(found, top or None)])
    printer.close()
    overlap = "-" if math.isnan(mean := float(found.overlaps.mean())) else f"{mean:.3f}"
    floor = f"noise floor of {len(pairs)} pair{'s' * (len(pairs) != 1)}" if pairs else "no noise floor (see --noise)"
    order = "" if found.counted else "; no counts: frequency is the place in the order"
    click.echo(
        f"{len(found)} shared words, mean distance {found.distances.mean():.3f}, mean overlap@{k} {overlap}; "
        f"{floor}{order}",
        err=True,
    )
    return OK


def _plain(one: Moved) -> tuple[Any, ...]:
    frequency = int(one.frequency) if one.frequency.is_integer() else one.frequency
    return (one.label, frequency, *(None if math.isnan(value) else value for value in one[2:]))
