"""Maps: rows in, fewer dimensions out. Each is imported when it is first used, for scikit-learn takes its time."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedkit.manifold.pca import PCA
    from embedkit.manifold.tsne import TSNE
    from embedkit.manifold.umap import UMAP

_HOME = {"PCA": "pca", "TSNE": "tsne", "UMAP": "umap"}

__all__ = ["PCA", "TSNE", "UMAP"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
