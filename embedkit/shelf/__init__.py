"""Named data: the cards of `corpora/`, where their files lie, and how they are fetched and checked."""

from __future__ import annotations

from embedkit.shelf.cards import Card, FileEntry, card, names
from embedkit.shelf.fetching import fetch
from embedkit.shelf.locating import corpus_files, locate

__all__ = ["Card", "FileEntry", "card", "corpus_files", "fetch", "locate", "names"]
