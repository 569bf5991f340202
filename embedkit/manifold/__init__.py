"""Maps: rows in, fewer dimensions out."""

from embedkit.manifold.pca import PCA

__all__ = ["PCA"]
