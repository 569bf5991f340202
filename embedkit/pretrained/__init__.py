"""The vectors that come with embedkit; see card.md beside this file for how they were made and how good they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embedkit.embedding import Embedding

PATH = Path(__file__).with_name("enwiki15.safetensors")


def load() -> Embedding:
    """The shipped English word vectors, most frequent first, with the column ``count``; memory-mapped.

    Lower-case words trained on the English Wikipedia of early 2015: contains text by its contributors, CC BY-SA 3.0.

    Examples
    --------
    >>> from embedkit import pretrained
    >>> pretrained.load().analogy("king", "man", "woman", k=1).best
    ['queen']
    """
    from embedkit.formats.native import load_embedding

    return load_embedding(PATH)
