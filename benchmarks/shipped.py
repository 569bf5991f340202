"""The search for the settings of the shipped vectors, judged on other questions than those that are reported.

The judge is the mean of two shares of covered questions answered right among the 30,000 most frequent words: of the MSR
questions, and of questions-words.txt with one half of each section's word pairs. The other half tells how good what is
chosen really is; questions that cross the halves count in neither. Each training has one thread, so that it is
repeatable. The text and the questions come from the folder of real data ($EMBEDKIT_DATA, else ../shared/data).

Run from the root: python -m benchmarks.shipped FOLDER [SETTING ...]; what has been trained into FOLDER is not trained
again, and the table is of all that is there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.report import Stopwatch, write
from benchmarks.training import DATA
from embedkit import Corpus, Embedding, GloVe, Word2Vec, load
from embedkit.evaluation import evaluate_analogies, evaluate_similarity, read_pairs, read_questions
from embedkit.evaluation.questions import Question, Sections
from embedkit.formats import read
from embedkit.text import EncodedCorpus

RESTRICT = 30_000
COMMON: dict[str, Any] = {"min_count": 10, "workers": 1, "random_state": 1}
SKIP_GRAM: dict[str, Any] = {"sg": 1, **COMMON}

SETTINGS: dict[str, Word2Vec | GloVe] = {
    "sg-200-w5-e8": Word2Vec(vector_size=200, window=5, epochs=8, **SKIP_GRAM),
    "sg-200-w8-e8": Word2Vec(vector_size=200, window=8, epochs=8, **SKIP_GRAM),
    "sg-200-w8-e8-a3": Word2Vec(vector_size=200, window=8, epochs=8, alpha=0.03, **SKIP_GRAM),
    "sg-200-w8-e8-s4": Word2Vec(vector_size=200, window=8, epochs=8, sample=1e-4, **SKIP_GRAM),
    "sg-300-w8-e8-a3": Word2Vec(vector_size=300, window=8, epochs=8, alpha=0.03, **SKIP_GRAM),
    "sg-300-w8-e8-a2": Word2Vec(vector_size=300, window=8, epochs=8, alpha=0.02, **SKIP_GRAM),
    "sg-300-w8-e8-a5": Word2Vec(vector_size=300, window=8, epochs=8, alpha=0.05, **SKIP_GRAM),
    "cbow-300-w8-e8": Word2Vec(sg=0, vector_size=300, window=8, epochs=8, **COMMON),
    "glove-200-w10-e15": GloVe(vector_size=200, window=10, epochs=15, **COMMON),
}


class Judged(NamedTuple):
    """Shares of covered questions answered right, and Spearman's rho on WordSim-353."""

    msr: float
    google: float
    held_out: float
    similarity: float

    @property
    def judge(self) -> float:
        return (self.msr + self.google) / 2


def halves(sections: Sections) -> tuple[Sections, Sections]:
    """The questions with both pairs in one half of their section's pairs, and those with both in the other."""
    rng = np.random.default_rng(0)
    parts: tuple[Sections, Sections] = ({}, {})
    for name, questions in sections.items():
        pairs = sorted({(q.b, q.a) for q in questions} | {(q.c, q.answer) for q in questions})
        first = {pairs[i] for i in rng.permutation(len(pairs))[: len(pairs) // 2]}

        def half(q: Question, first: set[tuple[str, str]] = first) -> set[int]:
            return {int(pair not in first) for pair in ((q.b, q.a), (q.c, q.answer))}

        for i, part in enumerate(parts):
            part[name] = [q for q in questions if half(q) == {i}]
    return parts


def judge(vectors: Embedding) -> Judged:
    def share(sections: Sections) -> float:
        total = evaluate_analogies(vectors, sections, restrict=RESTRICT).total
        return total.correct / total.covered

    google = halves(read_questions(DATA / "eval" / "questions-words.txt"))
    msr = read_questions(DATA / "eval" / "msr" / "word_relationship.questions")
    pairs = read_pairs(DATA / "eval" / "similarity" / "wordsim353.tsv")
    return Judged(share(msr), share(google[0]), share(google[1]), evaluate_similarity(vectors, pairs).spearman)


def text(folder: Path) -> EncodedCorpus:
    path = folder / "corpus.safetensors"
    if not path.exists():
        Corpus([DATA / "corpus" / f"enwiki15-{part}.txt.gz" for part in "abcd"]).encode(path)
    encoded: EncodedCorpus = load(path)
    return encoded


def main() -> None:
    load_before = os.getloadavg()
    folder, wanted = Path(sys.argv[1]), sys.argv[2:] or list(SETTINGS)
    folder.mkdir(parents=True, exist_ok=True)
    corpus = text(folder)
    for name in wanted:
        path = folder / f"{name}.safetensors"
        if not path.exists():
            with Stopwatch() as watch:
                vectors = SETTINGS[name].fit_transform(corpus)
            vectors.save(path)
            print(f"{name}: {watch.cpu:.0f} CPU s, {watch.wall:.0f} s", flush=True)
        print(name, judge(read(path)), flush=True)
    lines = ["| vectors | judge | MSR | Google, half to choose by | Google, other half | WordSim-353 |"]
    lines += ["|---|---|---|---|---|---|"]
    for name in SETTINGS:
        path = folder / f"{name}.safetensors"
        if path.exists():
            found = judge(read(path))
            lines.append(
                f"| {name} | {found.judge:.1%} | {found.msr:.1%} | {found.google:.1%} | {found.held_out:.1%} "
                f"| {found.similarity:.3f} |"
            )
    command = "python -m benchmarks.shipped FOLDER"
    write("shipped", "Choosing the shipped vectors", command, ["numpy", "numba", "embedkit"], load_before,
          "\n".join(lines))  # fmt: skip


if __name__ == "__main__":
    main()
