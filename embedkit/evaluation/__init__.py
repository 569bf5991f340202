"""How good are these vectors? Figures with their rules and their coverage."""

from embedkit.evaluation.analogies import AnalogyReport, Question, evaluate_analogies, read_questions

__all__ = ["AnalogyReport", "Question", "evaluate_analogies", "read_questions"]
