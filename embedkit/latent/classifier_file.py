"""A fitted `EncoderClassifier` in one file.

=====================================  ============  ===================================================================
``model/...``                          as they are   the encoder (see `embedkit.latent.inner_file`)
``classes``                            numbers       the classes, unless they are text, which the description holds
``net/NAME``                           F32           weights of the fine-tuned encoder and its layer of classes
``scaler/mean, /variance, /scale``     F64, (z,)     by which codes are standardised, where the encoder is frozen
``head/...``                           F64, integer  of the head: a linear one's coefficients, codes and classes of
                                                     neighbours, or support vectors and their weights
=====================================  ============  ===================================================================

A head is built by name from the list here, and filled with these numbers; nothing is trained again.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from embedkit.errors import BadInput
from embedkit.files.store import Tensors
from embedkit.latent.classify import EncoderClassifier
from embedkit.latent.inner_file import Array, names_in, numbers, opened, parameters_of, put_features, told, write

_SCALER = {"mean": "mean_", "variance": "var_", "scale": "scale_"}
_LINEAR = {"coefficients": "coef_", "intercepts": "intercept_", "iterations": "n_iter_"}
_NEIGHBOURS = {"codes": "_fit_X", "classes": "_y"}
# As scikit-learn keeps them; of two classes, its public numbers have the other sign.
_VECTORS = {
    "rows": "support_", "vectors": "support_vectors_", "counts": "_n_support", "weights": "dual_coef_",
    "inner_weights": "_dual_coef_", "intercepts": "intercept_", "inner_intercepts": "_intercept_",
}  # fmt: skip


def save(classifier: EncoderClassifier, path: str | os.PathLike[str]) -> None:
    """Write a fitted classifier to `path`, all or nothing.

    Raises
    ------
    BadInput
        Its encoder or its classes are such as no file can hold.
    """
    classes = classifier.classes_
    about: dict[str, Any] = {
        "class": "EncoderClassifier",
        "parameters": parameters_of(classifier, "encoder"),
        "width": classifier.n_features_in_,
        "names": names_in(classifier),
        "history": classifier.history_,
    }
    arrays: dict[str, Array] = {}
    if classes.dtype.kind in "biuf":
        arrays["classes"] = classes
    elif all(isinstance(one, str) for one in classes.tolist()):
        about["classes"] = [str(one) for one in classes.tolist()]
        about["text"] = None if classes.dtype == object else classes.dtype.itemsize // 4
    else:
        raise BadInput(f"classes are {classes.dtype}: a file holds numbers or text")
    if classifier.net_ is not None:
        arrays |= {f"net/{name}": value.cpu().numpy() for name, value in classifier.net_.state_dict().items()}
    else:
        scaler, head = classifier.head_[0], classifier.head_[1]
        arrays |= {f"scaler/{name}": getattr(scaler, place) for name, place in _SCALER.items()}
        arrays |= {f"head/{name}": np.asarray(getattr(head, place)) for name, place in _places(classifier).items()}
        about["rows"] = int(scaler.n_samples_seen_)
        if classifier.head == "svm":
            about["gamma"] = float(head._gamma)
    write(arrays, about, classifier.encoder, path)


def from_tensors(tensors: Tensors, path: str | os.PathLike[str], *, verify: bool) -> EncoderClassifier:
    """The fitted classifier that the arrays of a file make, which errors call `path`; `verify` looks at every value."""

    def make() -> EncoderClassifier:
        arrays, encoder = opened(tensors, path, verify=verify)
        return _made(arrays, tensors.about, encoder)

    classifier: EncoderClassifier = told(path, make)
    return classifier


def _places(classifier: EncoderClassifier) -> dict[str, str]:
    """Name in the file and attribute of what the head has learned."""
    return {"linear": _LINEAR, "knn": _NEIGHBOURS, "svm": _VECTORS}[classifier.head]


def _made(arrays: Mapping[str, Array], about: Mapping[str, Any], encoder: Any) -> EncoderClassifier:
    classifier = EncoderClassifier(encoder, **about["parameters"])
    classifier._check()
    put_features(classifier, about["width"], about["names"])
    if encoder.n_features_in_ != classifier.n_features_in_:
        widths = f"{encoder.n_features_in_} numbers, the classifier rows of {classifier.n_features_in_}"
        raise BadInput(f"its encoder takes rows of {widths}")
    classifier.classes_ = _classes(arrays, about)
    classifier.history_ = about["history"]
    if not isinstance(classifier.history_, list) or not all(isinstance(one, dict) for one in classifier.history_):
        raise BadInput("its history is none")
    classifier.head_, classifier.net_ = None, None
    if classifier.fine_tune:
        classifier.net_ = _net(classifier, arrays)
    else:
        classifier.head_ = _head(classifier, arrays, about)
    return classifier


def _classes(arrays: Mapping[str, Array], about: Mapping[str, Any]) -> Array:
    if "classes" in arrays:
        classes = arrays["classes"]
        if classes.ndim != 1 or classes.dtype.kind not in "biuf":
            raise BadInput(f"'classes' are {classes.dtype} of shape {classes.shape}")
    else:
        width = about["text"]
        if width is not None and (type(width) is not int or not 0 < width < 2**20):
            raise BadInput(f"its classes are text of {width!r:.40} characters")
        if not all(isinstance(one, str) for one in about["classes"]):
            raise BadInput("its classes are neither numbers nor text")
        classes = np.array(about["classes"], dtype=object if width is None else f"U{width}")
    if len(classes) < 2 or not (classes[:-1] < classes[1:]).all():
        raise BadInput("its classes are fewer than two, or not in order")
    return classes


def _net(classifier: EncoderClassifier, arrays: Mapping[str, Array]) -> nn.Module:
    encoder = classifier.encoder
    layer = nn.Linear(encoder.n_components, len(classifier.classes_))
    net = nn.Sequential(copy.deepcopy(encoder.encoder_), layer.to(encoder.device_))
    given = {name.removeprefix("net/"): array for name, array in arrays.items() if name.startswith("net/")}
    weights = {}
    for name, value in net.state_dict().items():
        array = given.pop(name)
        fits = array.shape == tuple(value.shape) and array.dtype == np.dtype(str(value.dtype).removeprefix("torch."))
        if not fits or not np.isfinite(array).all():
            raise BadInput(f"'net/{name}' is {array.dtype} of shape {array.shape}, or not finite")
        weights[name] = torch.from_numpy(array)
    if given:
        raise BadInput(f"its weights are of another net ('net/{min(given)}')")
    net.load_state_dict(weights)
    return net.eval().requires_grad_(False)


def _head(classifier: EncoderClassifier, arrays: Mapping[str, Array], about: Mapping[str, Any]) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    width, n_classes = len(arrays["scaler/mean"]), len(classifier.classes_)
    scaler = StandardScaler()
    for name, place in _SCALER.items():
        setattr(scaler, place, numbers(arrays, f"scaler/{name}", width))
    if (scaler.scale_ <= 0).any():
        raise BadInput("a code's deviation is not above 0")
    rows = about["rows"]
    if type(rows) is not int or rows < 1:
        raise BadInput(f"it was fitted to {rows!r:.40} rows")
    scaler.n_samples_seen_, scaler.n_features_in_ = rows, width
    fill = {"linear": _linear, "knn": _neighbours, "svm": _vectors}[classifier.head]
    return make_pipeline(scaler, fill(classifier, arrays, about, width, n_classes))


def _linear(
    classifier: EncoderClassifier, arrays: Mapping[str, Array], about: Mapping[str, Any], width: int, n_classes: int
) -> Any:
    from sklearn.linear_model import LogisticRegression

    lines = 1 if n_classes == 2 else n_classes
    head = LogisticRegression(C=classifier.C, max_iter=5000)
    head.coef_ = numbers(arrays, "head/coefficients", lines, width)
    head.intercept_ = numbers(arrays, "head/intercepts", lines)
    head.n_iter_ = _integers(arrays, "head/iterations", 1)
    head.classes_, head.n_features_in_ = np.arange(n_classes), width
    return head


def _neighbours(
    classifier: EncoderClassifier, arrays: Mapping[str, Array], about: Mapping[str, Any], width: int, n_classes: int
) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    codes = numbers(arrays, "head/codes", None, width)
    mine = _integers(arrays, "head/classes", len(codes))
    if not np.array_equal(np.unique(mine), np.arange(n_classes)):
        raise BadInput("'head/classes' are other classes than there are")
    return KNeighborsClassifier(min(classifier.n_neighbours, len(codes))).fit(codes, mine)


def _vectors(
    classifier: EncoderClassifier, arrays: Mapping[str, Array], about: Mapping[str, Any], width: int, n_classes: int
) -> Any:
    from sklearn.svm import SVC

    # One that is fitted to a point a class has all that this version of scikit-learn wants, whatever that is.
    points = np.zeros((n_classes, width))
    points[:, 0] = np.arange(n_classes)
    head = SVC(C=classifier.C).fit(points, np.arange(n_classes))
    vectors = numbers(arrays, "head/vectors", None, width)
    n, pairs = len(vectors), n_classes * (n_classes - 1) // 2
    for name, place in _VECTORS.items():
        key = f"head/{name}"
        if name in ("rows", "counts"):
            value = _integers(arrays, key, n if name == "rows" else n_classes)
        else:
            shape = {"vectors": (n, width), "weights": (n_classes - 1, n), "inner_weights": (n_classes - 1, n)}
            value = numbers(arrays, key, *shape.get(name, (pairs,)))
        setattr(head, place, value.astype(np.asarray(getattr(head, place)).dtype))
    counts = arrays["head/counts"]
    if (counts < 0).any() or int(counts.sum()) != n:
        raise BadInput(f"'head/counts' are not of {n} support vectors")
    gamma = about["gamma"]
    if type(gamma) is not float or not 0 < gamma < np.inf:
        raise BadInput(f"the kernel's gamma is {gamma!r:.40}")
    head._gamma, head.shape_fit_ = gamma, (about["rows"], width)
    return head


def _integers(arrays: Mapping[str, Array], name: str, size: int) -> Array:
    array = arrays[name]
    if array.dtype not in (np.int64, np.int32) or array.shape != (size,):
        raise BadInput(f"'{name}' is {array.dtype} of shape {array.shape}, expected ({size},) whole numbers")
    return array
