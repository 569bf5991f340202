"""Speed and quality of word2vec training against gensim, on a slice of enwiki15-b that nothing was tuned on.

The text comes from the folder of real data ($EMBEDKIT_DATA, else ../shared/data). gensim trains in its fastest mode
(corpus_file), at two learning rates of which the better one counts; both have one thread, and take turns. Differences
of quality come with their intervals by paired bootstrap over the word pairs. If $WORD2VEC_BIN names the program that
word2vec.c makes, it trains once for each setting, beside the first seed. (The source on GitHub makes one pass whatever
-iter says, as it never takes its mark of the file's end back: set ``eof = 0`` where a pass ends.) Run from the root:
python -m benchmarks.training [MEGABYTES] [SEEDS] [SETTINGS]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from gensim.models import Word2Vec as GensimWord2Vec

from benchmarks.report import Stopwatch, cpu_of_children, write
from embedkit import Corpus, Embedding, Word2Vec
from embedkit.evaluation import compare, evaluate_analogies, evaluate_similarity, read_pairs, read_questions
from embedkit.files.opening import opened
from embedkit.formats import read
from embedkit.text import EncodedCorpus

DATA = Path(os.environ.get("EMBEDKIT_DATA", Path(__file__).parents[2] / "shared" / "data"))
QUESTIONS, PAIRS = DATA / "eval" / "questions-words.txt", DATA / "eval" / "similarity" / "wordsim353.tsv"
EPOCHS, RESTRICT = 5, 30_000


class Setting(NamedTuple):
    """What to train, and the learning rates to try gensim at."""

    name: str
    parameters: dict[str, Any]
    rates: tuple[float, ...]


SETTINGS = (
    Setting("skip-gram, 100 dimensions", {"sg": 1, "vector_size": 100}, (0.025, 0.05)),
    Setting("CBOW, 100 dimensions", {"sg": 0, "vector_size": 100}, (0.025, 0.05)),
    Setting("skip-gram, 300 dimensions", {"sg": 1, "vector_size": 300}, (0.025,)),
)


class Trained(NamedTuple):
    """CPU seconds an epoch, and how good the vectors are."""

    cpu: float
    analogies: float
    similarity: float


class Behind(NamedTuple):
    """embedkit's figure less gensim's, with the ends of its interval."""

    difference: float
    low: float
    high: float


def slice_of_text(target: Path, size: int, part: str = "b") -> None:
    """Write the first lines of the corpus, `size` bytes at most."""
    with opened(DATA / "corpus" / f"enwiki15-{part}.txt.gz") as source, target.open("wb") as stream:
        for line in source:
            if stream.tell() + len(line) > size:
                break
            stream.write(line)


def judge() -> Callable[[Embedding], tuple[float, float]]:
    """A judge of vectors: share of covered questions right among the most frequent words, and Spearman's rho."""
    questions = read_questions(QUESTIONS)
    pairs = read_pairs(PAIRS)

    def of(vectors: Embedding) -> tuple[float, float]:
        total = evaluate_analogies(vectors, questions, restrict=RESTRICT).total
        return total.correct / total.covered, evaluate_similarity(vectors, pairs).spearman

    return of


def differences(ours: Embedding, theirs: Embedding) -> tuple[Behind, Behind]:
    """Of the shares of questions answered right, and of Spearman's rho, on what both cover."""
    questions, pairs = read_questions(QUESTIONS), read_pairs(PAIRS)
    accuracy = next(iter(compare(ours, theirs, questions, restrict=RESTRICT)))
    spearman = next(iter(compare(ours, theirs, pairs)))
    return Behind(accuracy.difference, *accuracy.interval), Behind(spearman.difference, *spearman.interval)


def by_gensim(path: Path, parameters: dict[str, Any], rate: float, seed: int) -> tuple[float, Embedding]:
    model = GensimWord2Vec(**parameters, alpha=rate, epochs=EPOCHS, workers=1, seed=seed)
    model.build_vocab(corpus_file=str(path))
    with Stopwatch() as watch:
        model.train(corpus_file=str(path), total_examples=model.corpus_count, total_words=model.corpus_total_words,
                    epochs=EPOCHS)  # fmt: skip
    return watch.cpu / EPOCHS, Embedding.from_gensim(model.wv)


def by_embedkit(corpus: EncodedCorpus, parameters: dict[str, Any], seed: int) -> tuple[float, Embedding]:
    trainer = Word2Vec(**parameters, epochs=EPOCHS, random_state=seed)
    with Stopwatch() as watch:
        vectors = trainer.fit_transform(corpus)
    return watch.cpu / EPOCHS, vectors


def by_word2vec_c(program: str, path: Path, parameters: dict[str, Any]) -> tuple[float, Embedding]:
    """With its own defaults for what is not told; its vocabulary is counted before."""
    words, target = path.with_name("words.txt"), path.with_name("vectors.bin")
    options = ["-train", path, "-cbow", 1 - parameters["sg"], "-size", parameters["vector_size"], "-window", 5,
               "-negative", 5, "-hs", 0, "-sample", 1e-3, "-min-count", 5, "-iter", EPOCHS, "-threads", 1, "-binary", 1,
               "-debug", 0]  # fmt: skip

    def run(*more: object) -> None:
        subprocess.run([program, *map(str, options), *map(str, more)], check=True, stdout=subprocess.DEVNULL)

    run("-save-vocab", words)
    before = cpu_of_children()
    run("-read-vocab", words, "-output", target)
    vectors = read(target)
    return (cpu_of_children() - before) / EPOCHS, vectors.filter(lambda word: word != "</s>")


def main() -> None:
    load = os.getloadavg()
    size = int(float(sys.argv[1]) * 1e6) if len(sys.argv) > 1 else 40_000_000
    seeds = range(1, 1 + (int(sys.argv[2]) if len(sys.argv) > 2 else 3))
    settings = SETTINGS[: int(sys.argv[3])] if len(sys.argv) > 3 else SETTINGS
    quality, program = judge(), os.environ.get("WORD2VEC_BIN")
    heads = ["", "CPU s an epoch", "times embedkit's", "analogies, %", "embedkit's less it", "WordSim-353"]
    lines = [f"| {' | '.join([*heads, heads[4]])} |", "|---" * 7 + "|"]
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "text.txt"
        slice_of_text(path, size)
        corpus = Corpus(path).encode(Path(name) / "encoded.safetensors")
        for setting in settings:
            Word2Vec(**setting.parameters, epochs=1).fit(corpus)  # compiles
            found: dict[str, list[Trained]] = {}
            compared: dict[str, list[tuple[Behind, Behind]]] = {}
            for seed in seeds:
                cpu, mine = by_embedkit(corpus, setting.parameters, seed)
                found.setdefault("embedkit", []).append(Trained(cpu, *quality(mine)))
                for rate in setting.rates:
                    cpu, vectors = by_gensim(path, setting.parameters, rate, seed)
                    found.setdefault(f"gensim, alpha {rate}", []).append(Trained(cpu, *quality(vectors)))
                    compared.setdefault(f"gensim, alpha {rate}", []).append(differences(mine, vectors))
                if program and seed == seeds[0]:
                    cpu, vectors = by_word2vec_c(program, path, setting.parameters)
                    found["word2vec.c"] = [Trained(cpu, *quality(vectors))]
                    compared["word2vec.c"] = [differences(mine, vectors)]
                print(setting.name, {way: runs[-1] for way, runs in found.items()}, flush=True)
            ours = found["embedkit"]
            for way, runs in found.items():
                ratio = statistics.median(run.cpu / mine.cpu for run, mine in zip(runs, ours, strict=False))
                times, analogies, similarity = (
                    " ".join(f"{getattr(run, field) * scale:.{digits}f}" for run in runs)
                    for field, scale, digits in (("cpu", 1, 1), ("analogies", 100, 1), ("similarity", 1, 3))
                )
                means = [statistics.mean(getattr(run, field) for run in runs) for field in Trained._fields]
                behind = ["", ""]
                for i, (scale, digits) in enumerate(((100, 1), (1, 3))):
                    if way in compared:
                        ends = [scale * statistics.mean(both[i][end] for both in compared[way]) for end in range(3)]
                        behind[i] = "{:+.{d}f} [{:+.{d}f}, {:+.{d}f}]".format(*ends, d=digits)
                lines.append(f"| {setting.name}: {way} | {means[0]:.1f} ({times}) | {ratio:.1f} | "
                             f"{100 * means[1]:.1f} ({analogies}) | {behind[0]} | {means[2]:.3f} ({similarity}) | "
                             f"{behind[1]} |")  # fmt: skip
    body = (
        f"The first {size / 1e6:g} MB of enwiki15-b ({corpus.tokens:,} tokens), {EPOCHS} epochs, window 5, 5 negative "
        f"samples, min_count 5, one thread each; means over {len(seeds)} seeds (each in brackets), ratios as their "
        f"median. Counting words is left out of both. Analogies: questions-words.txt, {RESTRICT:,} frequent words. "
        "Differences: means over the seeds, of the 95 % intervals' ends too (paired bootstrap over word pairs). "
        "word2vec.c, if it is there, trained once."
        "\n\n" + "\n".join(lines)
    )  # fmt: skip
    write("training", "word2vec training", "python -m benchmarks.training " + " ".join(sys.argv[1:]),
          ["numpy", "numba", "gensim", "embedkit"], load, body)  # fmt: skip


if __name__ == "__main__":
    main()
