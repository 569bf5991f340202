"""What files of detectors and classifiers share: a fitted model inside, and arrays that come back as they lay.

A model inside is a latent model (see `embedkit.latent.model_file`) or principal components, embedkit's or those of
scikit-learn. Of these a file holds the parameters and five arrays: ``mean``, ``components``, ``variances``, ``shares``
of the variance and ``singular``. All arrays of the model have names that begin with ``model/``, and the description
``model`` is its own.

Matrix products depend, in their last bits, on how a matrix lies in memory. So the description's ``by_column`` names the
arrays that lay column by column; they come back like that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadFile, BadInput
from embedkit.files.store import Tensors, write_tensors
from embedkit.kernels.exact import Doubles
from embedkit.latent import model_file
from embedkit.latent.base import LatentModel
from embedkit.parameters import plain

Array = npt.NDArray[Any]

_OURS, _SCIKIT_LEARNS = "PCA", "sklearn PCA"
_PARTS = {"mean": "mean_", "components": "components_", "variances": "explained_variance_",
          "shares": "explained_variance_ratio_", "singular": "singular_values_"}  # fmt: skip


def write(arrays: Mapping[str, Array], about: Mapping[str, Any], model: Any, path: str | os.PathLike[str]) -> None:
    """Write arrays, a description and a fitted model to `path`, all or nothing.

    Raises
    ------
    BadInput
        The model is one that no file can hold.
    """
    inner = _parts(model)
    every = {**arrays, **{f"model/{name}": array for name, array in inner.arrays.items()}}
    by_column = [name for name, array in every.items() if array.flags.f_contiguous and not array.flags.c_contiguous]
    # The widest values first: each tensor is then aligned to its own size without gaps, which the format forbids.
    order = sorted(every, key=lambda name: -every[name].dtype.itemsize)
    described = {**about, "model": inner.about, "by_column": by_column}
    write_tensors({name: every[name] for name in order}, described, path)


def opened(tensors: Tensors, path: str | os.PathLike[str], *, verify: bool) -> tuple[dict[str, Array], Any]:
    """Copies of the arrays, as they lay in memory, and the model, of a file that `write` wrote."""
    by_column = set(tensors.about["by_column"])
    mine: dict[str, Array] = {}
    inner: dict[str, Array] = {}
    for name, array in tensors.arrays.items():
        home = inner if name.startswith("model/") else mine
        home[name.removeprefix("model/")] = np.array(array, order="F" if name in by_column else "C")
    about = tensors.about["model"]
    if about["class"] in (_OURS, _SCIKIT_LEARNS):
        return mine, _components(inner, about)
    return mine, model_file.from_tensors(Tensors(inner, about), path, verify=verify)


def told(path: str | os.PathLike[str], make: Callable[[], Any]) -> Any:
    """What `make` makes of a file's content; `BadFile` if that is not what was expected."""
    try:
        return make()
    except BadFile:
        raise
    except BadInput as error:
        raise BadFile(path, str(error)) from None
    except KeyError as error:
        raise BadFile(path, f"its part {error} is missing") from None
    except (TypeError, AttributeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise BadFile(path, f"embedkit's metadata is not what was expected ({error})", "header") from None


def numbers(arrays: Mapping[str, Array], name: str, *shape: int | None) -> Doubles:
    """The array of that name: finite float64 numbers of that shape, in which `None` stands for any size from 1.

    Raises
    ------
    BadInput
        It is not.
    """
    array = arrays[name]
    fits = array.ndim == len(shape) and all(
        size == wanted if wanted is not None else size >= 1 for size, wanted in zip(array.shape, shape, strict=True)
    )
    if array.dtype != np.float64 or not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise BadInput(f"'{name}' is {array.dtype} of shape {array.shape}, expected float64 of ({wanted})")
    if not np.isfinite(array).all():
        raise BadInput(f"'{name}' holds a number that is not finite")
    return array


def parameters_of(estimator: Any, without: str) -> dict[str, Any]:
    """The parameters but one, as JSON has them; a random state that is no seed is forgotten."""
    found = plain({name: value for name, value in estimator.get_params(deep=False).items() if name != without})
    seed = found["random_state"]
    return {**found, "random_state": seed if isinstance(seed, int) else None}


def names_in(estimator: Any) -> list[str] | None:
    """The names of the columns that `fit` saw, if it saw any."""
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def put_features(estimator: Any, width: int, names: Any) -> None:
    """Have `estimator` know how many columns there were, and their names.

    Raises
    ------
    BadInput
        There are not as many names.
    """
    if type(width) is not int or width < 1:
        raise BadInput(f"rows of {width!r:.40} numbers make no sense")
    estimator.n_features_in_ = width
    if names is not None:
        if len(names) != width or not all(isinstance(name, str) for name in names):
            raise BadInput(f"{len(names)} names for {width} columns")
        estimator.feature_names_in_ = np.array(names, dtype=object)


# -- what is inside ----------------------------------------------------------------------------------------------------


def _parts(model: Any) -> Tensors:
    from sklearn import decomposition

    from embedkit.manifold.pca import PCA

    if isinstance(model, LatentModel):
        if model._own_nets():
            own = " and ".join(model._own_nets())
            raise BadInput(f"a file holds no code, and the model's {own} were given by you: save the model by itself")
        return model_file.tensors_of(model)
    if type(model) is PCA:
        return _described(_OURS, model._pca, model)
    if type(model) is decomposition.PCA:
        return _described(_SCIKIT_LEARNS, model, model)
    kind = type(model).__name__
    raise BadInput(f"a file can hold a latent model or principal components, not {kind}: it would have to run its code")


def _described(kind: str, pca: Any, model: Any) -> Tensors:
    parameters = plain(model.get_params(deep=False))
    seed = parameters["random_state"]
    about = {
        "class": kind,
        "parameters": {**parameters, "random_state": seed if isinstance(seed, int) else None},
        "noise": float(pca.noise_variance_),
        "samples": int(pca.n_samples_),
        "names": names_in(model),
    }
    return Tensors({name: np.asarray(getattr(pca, place)) for name, place in _PARTS.items()}, about)


def _components(arrays: Mapping[str, Array], about: Mapping[str, Any]) -> Any:
    from sklearn import decomposition

    from embedkit.manifold.pca import PCA

    ours = about["class"] == _OURS
    model: Any = PCA(**about["parameters"]) if ours else decomposition.PCA(**about["parameters"])
    pca = model._new() if ours else model
    k, d = numbers(arrays, "components", None, None).shape
    for name, place in _PARTS.items():
        shape = {"mean": (d,), "components": (k, d)}.get(name, (k,))
        setattr(pca, place, numbers(arrays, name, *shape))
    noise, samples = about["noise"], about["samples"]
    if type(noise) is not float or type(samples) is not int or samples < 1:
        raise BadInput("the noise and the rows of its components make no sense")
    pca.noise_variance_, pca.n_samples_, pca.n_components_, pca.n_features_in_ = noise, samples, k, d
    put_features(model, d, about["names"])
    if ours:
        model._pca, model._sums = pca, None
        model._found()
    return model
