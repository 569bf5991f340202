"""Make the vectors that ship from those that `benchmarks.shipped` chose, and measure them.

Vectors of unit length from several trainings stand side by side (Yin & Schuetze 2016, "Learning Word Meta-Embeddings"),
and what is kept of them are the directions in which the most frequent words vary most. Run from the root:
python -m benchmarks.pretrained FOLDER questions-words.txt, where FOLDER holds what `benchmarks.shipped` trained.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.report import write
from embedkit import Embedding, load
from embedkit.evaluation import evaluate_analogies, read_questions
from embedkit.pretrained import PATH

PARTS = ("sg-300-w8-e8-a2", "cbow-300-w8-e8")
DIMENSIONS = 300
WORDS = 35_000  # what fits in 12 MB
RESTRICTED = 30_000


def joined(parts: Sequence[Embedding], dimensions: int) -> Embedding:
    """The leading directions of several vectors of the same words, side by side, each of unit length."""
    rows = np.hstack([part.vectors / np.linalg.norm(part.vectors, axis=1, keepdims=True) for part in parts])
    frequent = rows[:RESTRICTED].astype(np.float64)
    directions = np.linalg.eigh(frequent.T @ frequent)[1][:, : -dimensions - 1 : -1]
    return Embedding(
        parts[0].labels,
        rows @ directions.astype(np.float32),
        columns={"count": parts[0].columns["count"]},
        provenance={"made_by": "benchmarks.pretrained", "parts": [part.provenance for part in parts]},
    )


def main() -> None:
    folder, questions_path = sys.argv[1:]
    before = os.getloadavg()
    parts = [load(Path(folder) / f"{name}.safetensors") for name in PARTS]
    full = joined(parts, DIMENSIONS)
    full.head(WORDS).save(PATH, storage="int8")
    shipped = load(PATH, verify=True)
    questions = read_questions(questions_path)
    lines = [
        "| vectors | words searched | covered, of 19,544 | right | of covered | of all | right with inputs |",
        "|---|---|---|---|---|---|---|",
    ]
    kinds: list[tuple[str, Embedding]] = [*zip(PARTS, parts, strict=True), ("joined, float32", full)]
    kinds.append(("shipped, int8", shipped))
    for name, embedding in kinds:
        for restrict in (None, RESTRICTED):
            report = evaluate_analogies(embedding, questions, restrict=restrict)
            t = report.total
            lines.append(
                f"| {name} | {report.vocabulary:,} | {t.covered:,} | {t.correct:,} | {t.accuracy:.1%} "
                f"| {t.correct / t.questions:.1%} | {t.correct_with_inputs:,} ({t.accuracy_with_inputs:.1%}) |"
            )
    report = evaluate_analogies(shipped, questions, restrict=RESTRICTED)
    lines += ["", f"Shipped, {RESTRICTED:,} words, by section:", "", "| section | questions | covered | of covered |"]
    lines += ["|---|---|---|---|"]
    lines += [f"| {s.section} | {s.questions:,} | {s.covered:,} | {s.accuracy:.1%} |" for s in report]
    answer = next(iter(shipped.analogy("king", "man", "woman", k=1)))
    lines += ["", f"king - man + woman: {answer.label} ({answer.score:.4f}). File: {PATH.stat().st_size:,} bytes."]
    command = "python -m benchmarks.pretrained FOLDER questions-words.txt"
    write("pretrained", "The shipped vectors", command, ["numpy", "embedkit"], before, "\n".join(lines))


if __name__ == "__main__":
    main()
