"""Text in: corpora."""

from embedkit.text.corpus import Corpus

__all__ = ["Corpus"]
