"""Word trainers: corpus in, Embedding out."""

from embedkit.words.word2vec import Word2Vec

__all__ = ["Word2Vec"]
