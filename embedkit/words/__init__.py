"""Word trainers: corpus in, Embedding out."""

from embedkit.words.cooccurrence import Cooccurrence
from embedkit.words.ensemble import Ensemble
from embedkit.words.fasttext import FastText
from embedkit.words.glove import GloVe
from embedkit.words.ppmi import PPMI
from embedkit.words.resampling import bootstrap
from embedkit.words.word2vec import Word2Vec

__all__ = ["PPMI", "Cooccurrence", "Ensemble", "FastText", "GloVe", "Word2Vec", "bootstrap"]
