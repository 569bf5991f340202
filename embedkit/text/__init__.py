"""Text in: corpora, tokens, vocabularies, and corpora as numbers."""

from embedkit.text.corpus import Corpus
from embedkit.text.encoded import EncodedCorpus
from embedkit.text.vocabulary import Vocabulary

__all__ = ["Corpus", "EncodedCorpus", "Vocabulary"]
