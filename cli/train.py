"""`embedkit train`: text in, vectors out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embedkit.progress import Progress

from .texts import CORPUS_PARAMETERS, corpus_options, open_corpus


@click.group(short_help="Train vectors on text.")
def train() -> None:
    """Train vectors on text.

    TEXT is a file, a folder, a pattern ("texts/*.txt"), - for standard input, or a name on the shelf (see embedkit
    corpora list). Files are UTF-8 text or JSON lines, plain or packed by gzip, bzip2 or xz; each line is a document.
    """


@train.command(short_help="Train word vectors with word2vec.")
@corpus_options
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="File to write the vectors to.")
@click.option("--vector-size", default=100, help="Dimensions of a vector.")
@click.option("--window", default=5, help="Largest distance between a word and its context.")
@click.option("--min-count", default=5, help="Ignore words seen less often.")
@click.option("--sg/--cbow", default=False, help="Skip-gram, or continuous bag of words.")
@click.option("--hs/--no-hs", default=False, help="Hierarchical softmax.")
@click.option("--negative", default=5, help="Negative samples a positive one; 0 for none.")
@click.option("--ns-exponent", default=0.75, help="Draw negative samples by count to this power.")
@click.option("--cbow-mean/--cbow-sum", default=True, help="CBOW: average the context vectors, or add them up.")
@click.option("--sample", default=1e-3, help="Drop words more frequent than this at random; 0 drops none.")
@click.option("--alpha", default=None, type=float, help="Learning rate at the start.  [default: 0.025]")
@click.option("--min-alpha", default=1e-4, help="Learning rate at the end.")
@click.option("--epochs", default=5, help="Passes over the text.")
@click.option("--max-vocab-size", default=None, type=int, help="Prune rare words above this many while counting.")
@click.option("--max-final-vocab", default=None, type=int, help="Keep about this many words at most.")
@click.option("--shrink-windows/--full-windows", default=True, help="Draw each window from 1 to --window.")
@click.option("--workers", default=1, help="Threads; with more than 1 a seed does not repeat exactly.")
@click.option("--seed", "random_state", default=None, type=int, help="Seed; drawn and recorded if not given.")
@click.option(
    "--storage", type=click.Choice(["float32", "float16", "int8"]), default="float32", help="How to keep the values."
)
def word2vec(output: Path, storage: Any, **parameters: Any) -> None:
    """Train word vectors with word2vec on TEXT and write them to -o FILE.

    Example: embedkit train word2vec --sg --vector-size 200 text.txt.gz -o vectors.safetensors
    """
    from embedkit import Word2Vec
    from embedkit.progress import bar, each_epoch

    for name in ("sg", "hs", "cbow_mean"):
        parameters[name] = int(parameters[name])
    draw, tell = bar("word2vec"), each_epoch(lambda line: click.echo(line, err=True))

    def callback(event: Progress) -> None:
        draw(event)
        tell(event)

    corpus = open_corpus(**{name: parameters.pop(name) for name in CORPUS_PARAMETERS})
    trainer = Word2Vec(**parameters).fit(corpus, callback=callback)
    trainer.embedding_.save(output, storage=storage)
    seed = trainer.embedding_.provenance["parameters"]["random_state"]
    click.echo(f"wrote {len(trainer.embedding_):,} words x {trainer.vector_size} to {output} (seed {seed})", err=True)
    click.echo(f"next: embedkit similar WORD -m {output}", err=True)
