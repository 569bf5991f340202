"""embedkit: train, trust, query and see vectors.

>>> import embedkit
>>> emb = embedkit.Embedding(["a", "b"], [[1.0, 0.0], [0.0, 1.0]])
>>> emb.similar("a", k=1).best
['b']
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedkit import images
    from embedkit.embedder import Embedder
    from embedkit.embedding import Embedding
    from embedkit.formats import load, read, write
    from embedkit.latent import GAN, VAE, AdversarialAutoencoder, Autoencoder
    from embedkit.manifold import PCA, TSNE, UMAP
    from embedkit.search import Search
    from embedkit.text import Corpus, EncodedCorpus, Vocabulary
    from embedkit.words import PPMI, Cooccurrence, Ensemble, FastText, GloVe, Word2Vec, bootstrap
    from embedkit.words.documents import DocumentVectors

__version__ = "0.1.0"

# Public name -> the module it lives in. They are imported when first used, so that `import embedkit` costs nothing.
_HOME = {
    "AdversarialAutoencoder": "embedkit.latent",
    "Autoencoder": "embedkit.latent",
    "Cooccurrence": "embedkit.words",
    "Corpus": "embedkit.text",
    "DocumentVectors": "embedkit.words.documents",
    "Embedder": "embedkit.embedder",
    "Embedding": "embedkit.embedding",
    "EncodedCorpus": "embedkit.text",
    "Ensemble": "embedkit.words",
    "FastText": "embedkit.words",
    "GAN": "embedkit.latent",
    "GloVe": "embedkit.words",
    "PCA": "embedkit.manifold",
    "PPMI": "embedkit.words",
    "TSNE": "embedkit.manifold",
    "UMAP": "embedkit.manifold",
    "Search": "embedkit.search",
    "VAE": "embedkit.latent",
    "Vocabulary": "embedkit.text",
    "Word2Vec": "embedkit.words",
    "bootstrap": "embedkit.words",
    "load": "embedkit.formats",
    "read": "embedkit.formats",
    "write": "embedkit.formats",
}

# Public modules, likewise.
_ROOMS = {"images"}

__all__ = [
    "GAN",
    "PCA",
    "PPMI",
    "TSNE",
    "UMAP",
    "VAE",
    "AdversarialAutoencoder",
    "Autoencoder",
    "Cooccurrence",
    "Corpus",
    "DocumentVectors",
    "Embedder",
    "Embedding",
    "EncodedCorpus",
    "Ensemble",
    "FastText",
    "GloVe",
    "Search",
    "Vocabulary",
    "Word2Vec",
    "__version__",
    "bootstrap",
    "images",
    "load",
    "read",
    "write",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"embedkit.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'embedkit' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
