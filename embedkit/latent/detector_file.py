"""A fitted `AnomalyDetector` in one file: everything that it takes to score rows, and the baselines beside.

=================================  =============  ======================================================================
``model/...``                      as they are    the model (see `embedkit.latent.inner_file`)
``mean``, ``scale``                F64            of standardised columns or channels
``components/mean, ...``           F64            of the principal components beside
``neighbours``                     U8, F32 or F64 the rows, (n, d), at most 20,000, that the nearest are searched among
``usual/NAME``                     F64, (d,)      what squared errors usually are, by feature
``held/NAME``                      F64, (m,)      scores of the rows held out, the lowest first
``calibration_rows``               I64, (m,)      which those are
=================================  =============  ======================================================================
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import clone

from embedkit.errors import BadInput
from embedkit.files.store import Tensors
from embedkit.kernels.exact import Doubles
from embedkit.latent.anomalies import BASELINES, OWN, AnomalyDetector
from embedkit.latent.baselines import Components, Neighbours
from embedkit.latent.counting import Usual
from embedkit.latent.data import Kind
from embedkit.latent.inner_file import Array, names_in, numbers, opened, parameters_of, put_features, told, write
from embedkit.latent.model_file import kind_of, record_of


def save(detector: AnomalyDetector, path: str | os.PathLike[str]) -> None:
    """Write a fitted detector to `path`, all or nothing.

    Raises
    ------
    BadInput
        Its model is one that no file can hold.
    """
    kind, components = detector._kind, detector._components
    arrays: dict[str, Array] = {
        "mean": kind.mean,
        "scale": kind.scale,
        "components/mean": components.mean,
        "components/directions": components.directions,
        "components/variances": components.variances,
        "neighbours": _packed(detector._neighbours.rows, kind),
        "calibration_rows": detector.calibration_rows_,
    }
    usual = sorted(detector._usual.items())
    arrays |= {f"usual/{name}": one.features for name, one in usual}
    arrays |= {f"held/{name}": one for name, one in detector._held.items()}
    about = {
        "class": "AnomalyDetector",
        "parameters": parameters_of(detector, "model"),
        "default": detector.model is None,
        "kind": record_of(kind),
        "names": names_in(detector),
        "usual": {name: [one.level, one.power, one.faintest] for name, one in usual},
        "noise": components.noise,
        "rank": detector._k,
    }
    write(arrays, about, detector.model_, path)


def from_tensors(tensors: Tensors, path: str | os.PathLike[str], *, verify: bool) -> AnomalyDetector:
    """The fitted detector that the arrays of a file make, which errors call `path`; `verify` looks at every value."""

    def make() -> AnomalyDetector:
        arrays, model = opened(tensors, path, verify=verify)
        return _made(arrays, tensors.about, model)

    detector: AnomalyDetector = told(path, make)
    return detector


def _made(arrays: Mapping[str, Array], about: Mapping[str, Any], model: Any) -> AnomalyDetector:
    detector = AnomalyDetector(None, **about["parameters"])
    if not about["default"]:
        detector.model = model if detector.prefit else clone(model)
    detector._check_parameters()
    kind = detector._kind = kind_of(about["kind"], arrays)
    d = kind.size
    put_features(detector, d, about["names"])
    if model.n_features_in_ != d:
        raise BadInput(f"its model is of rows of {model.n_features_in_} numbers, the threshold of rows of {d}")
    detector.model_ = model
    detector._decide_score()
    directions = numbers(arrays, "components/directions", None, d)
    variances = numbers(arrays, "components/variances", len(directions))
    noise = about["noise"]
    if type(noise) is not float or not 0 < noise < np.inf or (variances <= 0).any():
        raise BadInput("the variances of its components are not above 0")
    detector._components = Components(numbers(arrays, "components/mean", d), directions, variances, noise)
    rows = _unpacked(arrays["neighbours"], kind)
    detector._neighbours = Neighbours(rows, detector.n_neighbours, detector.random_state or 0)
    counted = ("pca",) if detector._how == "own" else (OWN, "pca")
    detector._usual = {name: _usual(arrays, about["usual"][name], name, d) for name in counted}
    chosen = arrays["calibration_rows"]
    m = len(chosen)
    if chosen.dtype != np.int64 or chosen.ndim != 1 or m < 1 or (np.diff(chosen) <= 0).any() or chosen[0] < 0:
        raise BadInput("'calibration_rows' are no numbers of rows")
    held = {name: numbers(arrays, f"held/{name}", m) for name in (OWN, *BASELINES)}
    if any((np.diff(one) < 0).any() for one in held.values()):
        raise BadInput("the scores of the rows held out are not in order")
    rank = about["rank"]
    if type(rank) is not int or not 1 <= rank <= m:
        raise BadInput(f"the threshold is to be score {rank!r:.40} of {m}")
    detector.calibration_rows_ = chosen
    detector._set_threshold(held, rank)
    return detector


def _usual(arrays: Mapping[str, Array], record: Any, name: str, d: int) -> Usual:
    level, power, faintest = record
    features = numbers(arrays, f"usual/{name}", d)
    whole = all(type(one) is float and np.isfinite(one) for one in (level, power, faintest))
    if not whole or faintest <= 0 or (features <= 0).any():
        raise BadInput(f"what errors usually are ('usual/{name}'), its file does not say rightly")
    return Usual(features, level, power, faintest)


def _packed(rows: Doubles, kind: Kind) -> Array:
    """Rows in model units as they take the least room and come back to the last bit."""
    if kind.pixels:
        bytes_ = np.clip(np.rint(rows * 255), 0, 255).astype(np.uint8)
        if np.array_equal(_unpacked(bytes_, kind), rows):
            return bytes_
    narrow = rows.astype(np.float32)
    return narrow if np.array_equal(narrow, rows) else rows


def _unpacked(rows: Array, kind: Kind) -> Doubles:
    fits = rows.ndim == 2 and rows.shape[1] == kind.size and len(rows) >= 1
    if not fits or rows.dtype not in (np.uint8, np.float32, np.float64) or (rows.dtype == np.uint8 and not kind.pixels):
        raise BadInput(f"'neighbours' is {rows.dtype} of shape {rows.shape}, expected rows of {kind.size} numbers")
    if rows.dtype == np.uint8:
        pixels: Doubles = kind.convert(rows).reshape(len(rows), -1).numpy().astype(np.float64)
        return pixels
    if not np.isfinite(rows).all():
        raise BadInput("'neighbours' holds a number that is not finite")
    return rows.astype(np.float64)
