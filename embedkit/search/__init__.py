"""Search: exact nearest neighbours and analogies, one or a million at a time."""

from embedkit.search.neighbours import Neighbour, Neighbours
from embedkit.search.search import Search

__all__ = ["Neighbour", "Neighbours", "Search"]
