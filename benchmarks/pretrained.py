"""Cut trained vectors down to those that ship, and measure both.

Run from the root, after the training that embedkit/pretrained/card.md tells of:
python -m benchmarks.pretrained full.safetensors questions-words.txt
"""

from __future__ import annotations

import os
import sys

from benchmarks.report import write
from embedkit import Embedding, load
from embedkit.evaluation import evaluate_analogies, read_questions
from embedkit.pretrained import PATH

WORDS = 50_000  # what fits in 12 MB at 200 dimensions
RESTRICTED = 30_000


def main() -> None:
    full_path, questions_path = sys.argv[1:]
    before = os.getloadavg()
    full = load(full_path)
    full.head(WORDS).save(PATH, storage="int8")
    shipped = load(PATH, verify=True)
    questions = read_questions(questions_path)
    lines = [
        "| vectors | words searched | covered, of 19,544 | right | of covered | of all | right with inputs |",
        "|---|---|---|---|---|---|---|",
    ]
    kinds: list[tuple[str, Embedding]] = [("full, float32", full), ("shipped, int8", shipped)]
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
    command = "python -m benchmarks.pretrained full.safetensors questions-words.txt"
    write("pretrained", "The shipped vectors", command, ["numpy", "gensim", "embedkit"], before, "\n".join(lines))


if __name__ == "__main__":
    main()
