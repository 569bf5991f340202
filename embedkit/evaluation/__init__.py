"""How good are these vectors, and how do two spaces differ? Figures with their rules, coverage and intervals."""

from embedkit.evaluation.alignment import Alignment, align
from embedkit.evaluation.analogies import AnalogyReport, evaluate_analogies
from embedkit.evaluation.categorisation import CategoryReport, CategoryWord, evaluate_categories, read_categories
from embedkit.evaluation.comparison import Comparison, Difference, compare, read_items
from embedkit.evaluation.intervals import (
    AnalogyIntervals,
    CorrelationIntervals,
    Interval,
    analogy_interval,
    correlation_interval,
    mean_interval,
)
from embedkit.evaluation.outliers import OutlierGroup, OutlierReport, evaluate_outliers, read_outliers
from embedkit.evaluation.questions import Question, read_questions
from embedkit.evaluation.relational import MaxDiff, Relation, RelationalReport, evaluate_relational, read_relations
from embedkit.evaluation.similarity import SimilarityReport, WordPair, evaluate_similarity, read_pairs
from embedkit.evaluation.spaces import Moved, SpaceDiff, diff

__all__ = [
    "Alignment",
    "AnalogyIntervals",
    "AnalogyReport",
    "CategoryReport",
    "CategoryWord",
    "Comparison",
    "CorrelationIntervals",
    "Difference",
    "Interval",
    "MaxDiff",
    "Moved",
    "OutlierGroup",
    "OutlierReport",
    "Question",
    "Relation",
    "RelationalReport",
    "SimilarityReport",
    "SpaceDiff",
    "WordPair",
    "align",
    "analogy_interval",
    "compare",
    "correlation_interval",
    "diff",
    "evaluate_analogies",
    "evaluate_categories",
    "evaluate_outliers",
    "evaluate_relational",
    "evaluate_similarity",
    "mean_interval",
    "read_categories",
    "read_items",
    "read_outliers",
    "read_pairs",
    "read_questions",
    "read_relations",
]
