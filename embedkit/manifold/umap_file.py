"""A fitted UMAP in one file: arrays and JSON (see `embedkit.files.store`).

======================================  ==================  ===========================================
``rows``                                F32 (n, d)          the rows it was fitted to, or, sparse:
``rows/values, /columns, /starts``      F32, I32, I64       ... those of a CSR matrix
``map``                                 F32 (n, c)          where they lie
``inverse``                             I64 (m,)            with `unique`: which of them each row given was
``neighbours``, ``distances``           I32, F32 (n, k)     each row's neighbours
``graph/values, /columns, /starts``     F32, I32, I64       the fuzzy graph
``init``                                F64 (n, c)          where it was an array
======================================  ==================  ===========================================

With ``metric="precomputed"`` there are no rows.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadFile, BadInput
from embedkit.files.store import Tensors, write_tensors
from embedkit.manifold.devices import device_for
from embedkit.manifold.umap import UMAP
from embedkit.manifold.umap_settings import checked

_ARRAYS = ("init", "precomputed_knn")
_FACTS = ("n_neighbors_", "a_", "b_", "n_epochs_", "layout_", "device_", "neighbours_", "n_features_in_")

_WORDS = ("layout_", "device_", "neighbours_")  # the others are numbers


def save(model: UMAP, path: str | os.PathLike[str]) -> None:
    """Write a fitted `model` to `path`, all or nothing.

    Raises
    ------
    BadInput
        A metric is a function.
    """
    parameters = model.get_params(deep=False)
    for name in ("metric", "output_metric"):
        if not isinstance(parameters[name], str):
            raise BadInput(f"{name} is a function, which no file can hold: use a metric that has a name")
    seed = parameters["random_state"]
    if seed is not None and not isinstance(seed, int | np.integer):
        parameters["random_state"] = None
    tensors: dict[str, npt.NDArray[Any]] = {
        "map": model._map, "neighbours": model.knn_indices_, "distances": model.knn_dists_,
    }  # fmt: skip
    if not model._is_precomputed():
        tensors.update(_parts("rows", model._places))
    tensors.update(_parts("graph", model.graph_))
    if "unique_inverse_" in vars(model):
        tensors["inverse"] = np.asarray(model.unique_inverse_, dtype=np.int64)
    if not isinstance(parameters["init"], str):
        tensors["init"] = np.asarray(parameters["init"], dtype=np.float64)
    described = {
        "class": "UMAP",
        "parameters": {name: _plain(value) for name, value in parameters.items() if name not in _ARRAYS},
        "init": parameters["init"] if isinstance(parameters["init"], str) else None,
        "facts": {name: _plain(getattr(model, name)) for name in _FACTS},
        "features": [str(name) for name in getattr(model, "feature_names_in_", [])],
        "width": int(model._places.shape[1]),
    }
    order = sorted(tensors, key=lambda name: -tensors[name].dtype.itemsize)
    write_tensors({name: tensors[name] for name in order}, described, path)


def _parts(name: str, matrix: Any) -> dict[str, npt.NDArray[Any]]:
    if isinstance(matrix, np.ndarray):
        return {name: matrix}
    return {
        f"{name}/values": matrix.data.astype(np.float32, copy=False),
        f"{name}/columns": matrix.indices.astype(np.int32, copy=False),
        f"{name}/starts": matrix.indptr.astype(np.int64, copy=False),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def from_tensors(tensors: Tensors, path: str | os.PathLike[str], *, verify: bool) -> UMAP:
    """The fitted UMAP that the arrays of a file make, which errors call `path`; `verify` looks at every value."""
    arrays, about = tensors
    try:
        model = UMAP(**about["parameters"])
        model.init = about["init"] if about["init"] is not None else np.array(arrays["init"])
        model.device = _there(model.device)
        checked(model.get_params(deep=False))
        for name in _FACTS:
            setattr(model, name, _fact(name, about["facts"][name]))
        if about["features"]:
            model.feature_names_in_ = np.array(about["features"], dtype=object)
        places, k = _of(arrays, "map", np.float32, 2), model.n_neighbors_
        n = len(places)
        width = int(about["width"])
        if "rows" in arrays:
            model._places = _of(arrays, "rows", np.float32, 2)
        elif model._is_precomputed():
            model._places = np.empty((n, 0), dtype=np.float32)
        else:
            model._places = _matrix(arrays, "rows", (n, width))
        if len(model._places) != n if isinstance(model._places, np.ndarray) else False:
            raise BadInput(f"{len(model._places)} rows for {n} places")
        if not model._is_precomputed() and model._places.shape[1] != model.n_features_in_:
            raise BadInput(f"its rows are {model._places.shape[1]} wide, not {model.n_features_in_}")
        model._map = places
        model.graph_ = _matrix(arrays, "graph", (n, n))
        model.knn_indices_ = _of(arrays, "neighbours", np.int32, 2)
        model.knn_dists_ = _of(arrays, "distances", np.float32, 2)
        if model.knn_indices_.shape != (n, k) or model.knn_dists_.shape != (n, k):
            raise BadInput(f"its neighbours are {model.knn_indices_.shape}, expected {(n, k)}")
        if not 1 <= k < n:
            raise BadInput(f"{k} neighbours of {n} rows")
        if ((model.knn_indices_ < -1) | (model.knn_indices_ >= n)).any():
            raise BadInput(f"a neighbour is none of the {n} rows")
        if model.unique:
            model.unique_inverse_ = _of(arrays, "inverse", np.int64, 1)
            if ((model.unique_inverse_ < 0) | (model.unique_inverse_ >= n)).any():
                raise BadInput("a row is the same as none")
        if verify:
            for name, values in (("rows", model._places), ("map", places), ("distances", model.knn_dists_),
                                 ("graph", model.graph_.data)):  # fmt: skip
                if isinstance(values, np.ndarray) and not np.isfinite(values).all():
                    raise BadInput(f"'{name}' holds a number that is not finite")
        model.embedding_ = places[model.unique_inverse_] if model.unique else places
        model._n_features_out = places.shape[1]
        model._searched = None
    except KeyError as error:
        raise BadFile(path, f"its part {error} is missing") from None
    except (TypeError, AttributeError, ValueError, ArithmeticError) as error:
        if isinstance(error, BadInput):
            raise BadFile(path, str(error)) from None
        raise BadFile(path, f"embedkit's metadata is not what was expected ({error})", "header") from None
    return model


def _fact(name: str, value: Any) -> Any:
    """What was learned besides arrays, if it is of its kind."""
    right = isinstance(value, str) if name in _WORDS else type(value) in (int, float) and np.isfinite(value)
    if not right:
        raise BadInput(f"its {name} is {value!r:.40}")
    return value


def _there(device: Any) -> Any:
    """The device that a model was made for, if this machine has it."""
    if not isinstance(device, str) or device in ("auto", "numpy"):
        return device
    try:
        return device_for(device, 0)
    except BadInput:
        return "auto"


def _of(arrays: Any, name: str, dtype: npt.DTypeLike, ndim: int) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = arrays[name]
    if array.dtype != dtype or array.ndim != ndim:
        raise BadInput(
            f"'{name}' is {array.dtype} of shape {array.shape}, expected {np.dtype(dtype)} in {ndim} dimensions"
        )
    return array


def _matrix(arrays: Any, name: str, shape: tuple[int, int]) -> Any:
    from scipy.sparse import csr_matrix

    values, columns = _of(arrays, f"{name}/values", np.float32, 1), _of(arrays, f"{name}/columns", np.int32, 1)
    starts = _of(arrays, f"{name}/starts", np.int64, 1)
    if len(starts) != shape[0] + 1 or starts[0] != 0 or starts[-1] != len(values) or (np.diff(starts) < 0).any():
        raise BadInput(f"'{name}/starts' does not fit {shape[0]} rows")
    if len(values) != len(columns) or ((columns < 0) | (columns >= shape[1])).any():
        raise BadInput(f"'{name}/columns' does not fit a width of {shape[1]}")
    return csr_matrix((values, columns, starts), shape=shape)
