"""How good are these vectors? Figures with their rules, their coverage and their intervals."""

from embedkit.evaluation.analogies import AnalogyReport, Question, evaluate_analogies, read_questions
from embedkit.evaluation.intervals import (
    AnalogyIntervals,
    CorrelationIntervals,
    Interval,
    analogy_interval,
    correlation_interval,
)
from embedkit.evaluation.similarity import SimilarityReport, WordPair, evaluate_similarity, read_pairs

__all__ = [
    "AnalogyIntervals",
    "AnalogyReport",
    "CorrelationIntervals",
    "Interval",
    "Question",
    "SimilarityReport",
    "WordPair",
    "analogy_interval",
    "correlation_interval",
    "evaluate_analogies",
    "evaluate_similarity",
    "read_pairs",
    "read_questions",
]
