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

    FILE holds vectors of any format, an encoded corpus, a trainer or a latent model, a checkpoint of either, or a
    detector or classifier that was saved.

    \b
    embedkit info
    embedkit info vectors.safetensors --verify
    """  # noqa: D301  # click's sign for lines that stay
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
    if hasattr(found, "kind_"):
        return list(_facts_of_model(found))
    if hasattr(found, "offset_"):
        return list(_facts_of_detector(found))
    if hasattr(found, "classes_"):
        return list(_facts_of_classifier(found))
    embedding = getattr(found, "embedding_", getattr(found, "embedding", found))  # trainers and ensembles have one
    return [
        ("labels", len(embedding)),
        ("dimensions", embedding.width),
        ("storage", embedding.storage),
        ("columns", ", ".join(embedding.columns) or None),
        ("first labels", ", ".join(embedding.labels[:8])),
        *_flat(embedding.provenance),
    ]


def _facts_of_model(model: Any) -> Iterator[tuple[str, Any]]:
    """What is worth telling of a latent model."""
    kind, history = model.kind_, model.history_
    yield "model", type(model).__name__
    yield "code", model.n_components
    yield "rows", f"{' x '.join(map(str, kind.given))}, scaling {kind.scaling}"
    yield "columns", None if kind.names is None else ", ".join(kind.names)
    yield "weights", sum(value.size for value in _weights(model))
    yield "epochs", f"{len(history)} of {model.epochs}"
    if history:
        yield "best epoch", model.best_epoch_
        entry = history[model.best_epoch_ - 1]
        yield from _flat({name: value for name, value in entry.items() if not isinstance(value, list)}, "history.")
    yield from _flat(model.get_params(), "parameters.")


def _facts_of_detector(detector: Any) -> Iterator[tuple[str, Any]]:
    """What is worth telling of a detector of anomalies."""
    low, high = detector.false_alarm_interval_
    yield "detector", type(detector).__name__
    yield from _of_rows(detector)
    yield "threshold", str(detector.offset_)
    yield "false alarms", f"{detector.false_alarm_rate_:.3g}, this threshold {low:.3g} to {high:.3g}"
    yield "rows held out", len(detector.calibration_rows_)
    yield from _flat({k: v for k, v in detector.get_params(deep=False).items() if k != "model"}, "parameters.")
    yield from _inside(detector.model_, "model")


def _facts_of_classifier(classifier: Any) -> Iterator[tuple[str, Any]]:
    """What is worth telling of a classifier on codes."""
    yield "classifier", type(classifier).__name__
    yield from _of_rows(classifier)
    yield "classes", ", ".join(map(str, classifier.classes_))
    yield from _flat({k: v for k, v in classifier.get_params(deep=False).items() if k != "encoder"}, "parameters.")
    yield from _inside(classifier.encoder, "encoder")


def _of_rows(estimator: Any) -> Iterator[tuple[str, Any]]:
    yield "numbers in a row", estimator.n_features_in_
    names = getattr(estimator, "feature_names_in_", None)
    yield "columns", None if names is None else ", ".join(names)


def _inside(model: Any, name: str) -> Iterator[tuple[str, Any]]:
    """What is told of a model inside another: `name` before all of it."""
    facts = _facts_of_model(model) if hasattr(model, "kind_") else [("model", type(model).__name__)]
    yield from ((name if fact == "model" else f"{name}.{fact}", value) for fact, value in facts)


def _weights(model: Any) -> Iterator[Any]:
    """Arrays of weights of all nets."""
    for name, net in vars(model).items():
        if name.endswith("_") and callable(getattr(net, "state_dict", None)):
            yield from (value.cpu().numpy() for value in net.state_dict().values())


def _flat(record: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Nested records as dotted names; lists as JSON."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        elif isinstance(value, list | bool):
            yield f"{before}{name}", json.dumps(value)
        else:
            yield f"{before}{name}", str(value) if isinstance(value, float) else value
