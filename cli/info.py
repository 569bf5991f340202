"""`embedkit info`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from embedkit.formats.reading import is_native

from .options import open_vectors
from .output import Printer, format_option


@click.command(short_help="Tell what a file holds and where it comes from.")
@click.argument("file", required=False, type=click.Path(path_type=Path), envvar="EMBEDKIT_VECTORS")
@click.option("--verify", is_flag=True, help="Read every byte and compare checksums, whatever the size.")
@format_option
def info(file: Path | None, verify: bool, style: str) -> None:
    """Tell what FILE holds and where it comes from; by default $EMBEDKIT_VECTORS, else the shipped vectors.

    FILE holds vectors of any format, an encoded corpus, or a trainer or its checkpoint.
    """
    found: Any = None
    if file is not None and is_native(file):
        from embedkit import load

        found = load(file, verify=verify or None)
    else:  # others are always read to the end
        found = open_vectors(file)
    printer = Printer(["fact", "value"], style)
    printer.print(_facts(found))
    printer.close()


def _facts(found: Any) -> list[tuple[str, Any]]:
    if hasattr(found, "statistics"):  # a corpus
        return [*found.statistics().items(), *_flat(found.provenance)]
    embedding = getattr(found, "embedding_", getattr(found, "embedding", found))  # trainers and ensembles have one
    return [
        ("labels", len(embedding)),
        ("dimensions", embedding.width),
        ("storage", embedding.storage),
        ("columns", ", ".join(embedding.columns) or None),
        ("first labels", ", ".join(embedding.labels[:8])),
        *_flat(embedding.provenance),
    ]


def _flat(record: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Nested records as dotted names; lists as JSON."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        elif isinstance(value, list | bool):
            yield f"{before}{name}", json.dumps(value)
        else:
            yield f"{before}{name}", str(value) if isinstance(value, float) else value
