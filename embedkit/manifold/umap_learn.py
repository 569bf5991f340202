"""UMAP's layout by umap-learn itself."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from embedkit.errors import BadInput
from embedkit.manifold.searching import Knn, import_umap, itself_first
from embedkit.manifold.umap_settings import Settings

# Parameters that are ours, or that umap-learn is told otherwise.
_OURS = ("layout", "device", "unique", "n_neighbors", "n_jobs")


def laid_out_by_umap_learn(rows: Any, y: Any, settings: Settings, k: int) -> tuple[dict[str, Any], Knn | None]:
    """What umap-learn makes of rows, from its neighbours to its layout.

    Parameters
    ----------
    rows, y
        As `embedkit.UMAP.fit` has them.
    settings
        UMAP's.
    k
        How many neighbours are used.

    Returns
    -------
    found : dict
        The fitted attributes by name.
    knn
        The neighbours it found; `None` where it keeps none.

    Raises
    ------
    BadInput
        umap-learn refuses a parameter.
    """
    theirs, given = import_umap("umap"), settings.given
    parameters = {name: value for name, value in given.items() if name not in _OURS}
    parameters["metric_kwds"], parameters["target_metric_kwds"] = settings.metric_kwds, settings.target_kwds
    model = theirs.UMAP(**parameters, n_neighbors=k, n_jobs=1 if given["random_state"] is not None else given["n_jobs"])
    with warnings.catch_warnings():
        # What they say of transform, inverse_transform and n_jobs does not hold here.
        warnings.simplefilter("ignore")
        try:
            model.fit(rows, _codes(y, given))
        except ValueError as error:
            raise BadInput(f"umap-learn: {error}") from error
    names = ["embedding_", "graph_"]
    names += ["rad_orig_", "rad_emb_"] if given["output_dens"] else []
    names += ["embedding_list_"] if settings.listed else []
    found = {name: getattr(model, name) for name in names}
    found["graph_"] = found["graph_"].tocsr().astype(np.float32)
    found["embedding_"] = np.asarray(found["embedding_"], dtype=np.float32)
    kept = hasattr(model, "_knn_indices")
    return found, itself_first(model._knn_indices, model._knn_dists) if kept else None


def _codes(y: Any, given: Mapping[str, Any]) -> Any:
    """Classes as umap-learn takes them: numbers."""
    if y is None or given["target_metric"] != "categorical":
        return y
    classes = np.asarray(y)
    return classes if classes.dtype.kind in "iuf" else np.unique(classes, return_inverse=True)[1]
