"""Skip-gram and CBOW against gensim at the same settings, far from the usual ones: is the fast kernel ever much worse?

Each setting is trained once by each, with the same window, negatives, size, sample, epochs and seed; the learning rate
is embedkit's default for its engine, and for gensim the better one of .025 and .05. Real text is judged by
questions-words.txt (the 30,000 most frequent words), the kingdom by its own questions. Only quality is measured.

Run from the root: python -m benchmarks.stability [SETTING ...]
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from gensim.models import Word2Vec as GensimWord2Vec

from benchmarks.report import write
from benchmarks.training import judge, slice_of_text
from embedkit import Corpus, Embedding, Word2Vec
from embedkit.evaluation import evaluate_analogies
from embedkit.text.kingdom import kingdom, kingdom_questions

RATES = (0.025, 0.05)


class Setting(NamedTuple):
    """A text, as megabytes of enwiki15-b (or all of a ... d), or as sentences of the kingdom; and what differs."""

    text: str
    parameters: dict[str, Any]


SETTINGS = {
    "usual": Setting("12 MB", {}),
    "window 2": Setting("12 MB", {"window": 2}),
    "window 8": Setting("12 MB", {"window": 8}),
    "window 15": Setting("12 MB", {"window": 15}),
    "negative 2": Setting("12 MB", {"negative": 2}),
    "negative 20": Setting("12 MB", {"negative": 20}),
    "window 10, negative 15": Setting("12 MB", {"window": 10, "negative": 15}),
    "size 50": Setting("12 MB", {"vector_size": 50}),
    "size 300": Setting("12 MB", {"vector_size": 300}),
    "window 8, size 200": Setting("12 MB", {"window": 8, "vector_size": 200}),
    "CBOW": Setting("12 MB", {"sg": 0}),
    "CBOW, window 15": Setting("12 MB", {"sg": 0, "window": 15}),
    "CBOW, negative 20": Setting("12 MB", {"sg": 0, "negative": 20}),
    "67 words, 10,000 tokens": Setting("kingdom 1111", {"vector_size": 50, "epochs": 100}),
    "67 words, 100,000 tokens": Setting("kingdom 11111", {"vector_size": 50, "epochs": 10}),
    "67 words, window 15, negative 20": Setting(
        "kingdom 11111", {"vector_size": 50, "window": 15, "negative": 20, "epochs": 10}
    ),
    "60 M tokens, 105,000 words": Setting("all", {"epochs": 1, "min_count": 8}),
}


def text_of(name: str, folder: Path) -> Path:
    path = folder / f"{name.replace(' ', '-')}.txt"
    if not path.exists():
        kind, _, size = name.partition(" ")
        if kind == "kingdom":
            path.write_text("".join(" ".join(sentence) + "\n" for sentence in kingdom(int(size))))
        elif kind == "all":
            with path.open("wb") as stream:
                for part in "abcd":
                    slice_of_text(part_path := folder / "part.txt", 10**9, part)
                    stream.write(part_path.read_bytes())
        else:
            slice_of_text(path, int(kind) * 1_000_000)
    return path


def share(vectors: Embedding, name: str) -> float:
    """Of the covered questions, answered right; percent."""
    if name.startswith("kingdom"):
        total = evaluate_analogies(vectors, kingdom_questions()).total
        return 100 * total.correct / total.covered
    return 100 * judge()(vectors)[0]


def main() -> None:
    load = os.getloadavg()
    wanted = sys.argv[1:] or list(SETTINGS)
    lines = [
        "| setting | embedkit, % | gensim at its better rate, % | (.025, .05) | difference |",
        "|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        for setting in wanted:
            where, changes = SETTINGS[setting]
            parameters = {
                "sg": 1,
                "vector_size": 100,
                "window": 5,
                "negative": 5,
                "epochs": 5,
                "min_count": 5,
                **changes,
            }
            path = text_of(where, Path(name))
            ours = share(Word2Vec(**parameters, random_state=1).fit_transform(Corpus(path)), where)
            theirs = []
            for rate in RATES:
                model = GensimWord2Vec(corpus_file=str(path), **parameters, alpha=rate, workers=1, seed=1)
                theirs.append(share(Embedding.from_gensim(model.wv), where))
            both = ", ".join(f"{value:.1f}" for value in theirs)
            lines.append(
                f"| {where}, {setting} | {ours:.1f} | {max(theirs):.1f} | ({both}) | {ours - max(theirs):+.1f} |"
            )
            print(lines[-1], flush=True)
    versions = ["numpy", "numba", "gensim", "embedkit"]
    write(
        "stability", "Quality at unusual settings", "python -m benchmarks.stability", versions, load, "\n".join(lines)
    )


if __name__ == "__main__":
    main()
