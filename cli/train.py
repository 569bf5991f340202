"""`embedkit train`: text in, vectors out; and the trainers of latent models, which `train_latent` has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embedkit.files.atomic import check_place

from .hints import Family
from .texts import CORPUS_PARAMETERS, corpus_options, open_corpus
from .train_latent import TRAINERS
from .training import check_resume, checkpoint_options, together, trained

_OUTPUT = ("output", "storage", "bootstrap", "checkpoint", "checkpoint_every", "resume")


@click.group(cls=Family, short_help="Train vectors on text, latent models on pictures and tables.")
def train() -> None:
    """Train vectors on text (TEXT), and latent models on pictures, tables and vectors (DATA).

    TEXT is a file, a folder, a pattern ("texts/*.txt"), - for standard input, or a name on the shelf (see embedkit
    corpora list). Files are UTF-8 text or JSON lines, plain or packed by gzip, bzip2 or xz; each line is a document.

    DATA is a table (CSV, TSV, Parquet), a folder of pictures, a file of them (IDX, .npy), vectors in any format, - for
    standard input, or a name: digits, mnist, ...

    \b
    embedkit train word2vec text.txt -o vectors.safetensors
    embedkit train autoencoder data.csv -o model.safetensors
    """  # noqa: D301  # click's sign for lines that stay


for trainer in TRAINERS:
    train.add_command(trainer)


_output_options = together(
    click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="File to write vectors to."),
    click.option("--storage", type=click.Choice(["float32", "float16", "int8"]), default="float32",
                 help="How to keep the values."),
    click.option("--seed", "random_state", default=None, type=int, help="Seed; drawn and recorded if not given."),
    click.option("--bootstrap", default=None, type=click.IntRange(min=2), metavar="N",
                 help="Train N more times on documents drawn at random, and keep these models too, beside -o FILE."),
)  # fmt: skip
_context_options = together(
    click.option("--vector-size", default=100, help="Dimensions of a vector."),
    click.option("--window", default=5, help="Largest distance between a word and its context."),
    click.option("--min-count", default=5, help="Ignore words seen less often."),
    click.option("--sg/--cbow", default=False, help="Skip-gram, or continuous bag of words."),
    click.option("--hs/--no-hs", default=False, help="Hierarchical softmax, by gensim."),
    click.option("--negative", default=5, help="Negative samples a positive one; 0 for none."),
    click.option("--ns-exponent", default=0.75, help="Draw negative samples by count to this power."),
    click.option("--cbow-mean/--cbow-sum", default=True, help="CBOW: average the context vectors, or add them up."),
    click.option("--sample", default=1e-3, help="Drop words more frequent than this at random; 0 drops none."),
    click.option("--alpha", default=None, type=float, help="Learning rate at the start.  [default: the engine's own]"),
    click.option("--min-alpha", default=1e-4, help="Learning rate at the end."),
    click.option("--epochs", default=5, help="Passes over the text."),
    click.option("--max-vocab-size", default=None, type=int, help="Prune rare words above this many while counting."),
    click.option("--max-final-vocab", default=None, type=int, help="Keep about this many words at most."),
    click.option("--shrink-windows/--full-windows", default=True, help="Draw each window from 1 to --window."),
)
_counting_options = together(
    click.option("--min-count", default=5, help="Ignore words seen less often."),
    click.option("--max-final-vocab", default=None, type=int, help="Keep about this many words at most."),
    click.option("--symmetric/--one-sided", default=True, help="Count words on both sides, or only those that follow."),
    click.option("--distance-weighting/--no-distance-weighting", default=True, help="Count 1/d at a distance of d."),
    click.option("--memory", default="2GB", help="About how much memory counting may take."),
    click.option("--workers", default=1, help="Threads; the result does not depend on them."),
)


@train.command(short_help="Train word vectors with word2vec.")
@corpus_options
@_output_options
@_context_options
@click.option("--shared-negatives", default=None, type=int, help="Negative samples that a block shares, at least.")
@click.option("--engine", type=click.Choice(["auto", "numba", "gensim", "torch"]), default="auto", help="What trains.")
@click.option("--device", default=None, help="Where torch trains: cpu, cuda, ...")
@click.option("--workers", default=1, help="Threads; with more than 1 a seed repeats only if --deterministic.")
@click.option(
    "--deterministic/--hogwild", default=False, help="Have the same seed give the same bits with any threads."
)
@checkpoint_options
def word2vec(**options: Any) -> None:
    """Train word vectors with word2vec on TEXT and write them to -o FILE.

    \b
    embedkit train word2vec text.txt -o vectors.safetensors
    embedkit train word2vec --sg --workers 2 text.txt -o vectors.safetensors
    """  # noqa: D301  # click's sign for lines that stay
    from embedkit import Word2Vec

    for name in ("sg", "hs", "cbow_mean"):
        options[name] = int(options[name])
    _run(Word2Vec, options)


@train.command(short_help="Train word vectors with GloVe.")
@corpus_options
@_output_options
@click.option("--vector-size", default=100, help="Dimensions of a vector.")
@click.option("--window", default=15, help="Largest distance of two words that are near each other.")
@_counting_options
@click.option("--x-max", default=100.0, help="Count from which on all weigh the same.")
@click.option("--alpha", default=0.75, help="Power by which smaller counts weigh less.")
@click.option("--eta", default=0.05, help="Learning rate of AdaGrad.")
@click.option("--epochs", default=25, help="Passes over the counts.")
@click.option("--context", type=click.Choice(["add", "drop"]), default="add", help="Add the context vectors or not.")
@checkpoint_options
def glove(**options: Any) -> None:
    """Train word vectors with GloVe on TEXT and write them to -o FILE.

    \b
    embedkit train glove --epochs 15 --workers 2 text.txt -o vectors.safetensors
    """  # noqa: D301  # click's sign for lines that stay
    from embedkit import GloVe

    _run(GloVe, options)


@train.command(short_help="Train word vectors with fastText.")
@corpus_options
@_output_options
@_context_options
@click.option("--min-n", default=3, help="Fewest characters of a part of a word.")
@click.option("--max-n", default=6, help="Most characters of a part of a word.")
@click.option("--bucket", default=2_000_000, help="Parts of words are told apart by a hash of so many values.")
@click.option("--workers", default=1, help="Threads; with more than 1 a seed does not repeat exactly.")
@click.option(
    "--model",
    default=None,
    type=click.Path(path_type=Path),
    help="File for the whole model, which has vectors for unknown words too.",
)
def fasttext(model: Path | None, **options: Any) -> None:
    """Train word vectors with fastText, by gensim, on TEXT and write them to -o FILE.

    \b
    embedkit train fasttext text.txt --bucket 100000 -o vectors.safetensors
    """  # noqa: D301  # click's sign for lines that stay
    from embedkit import FastText

    for name in ("sg", "hs", "cbow_mean"):
        options[name] = int(options[name])
    trainer = _run(FastText, options)
    if model is not None:
        trainer.save(model)
        click.echo(f"wrote the whole model to {model}", err=True)


@train.command(short_help="Make word vectors by a singular value decomposition of PPMI.")
@corpus_options
@_output_options
@click.option("--vector-size", default=100, help="Dimensions of a vector.")
@click.option("--window", default=5, help="Largest distance of two words that are near each other.")
@_counting_options
@click.option("--context-smoothing", default=0.75, help="Power of the counts of contexts; 1 for none.")
@click.option("--negative", default=1.0, help="Shift by the logarithm of this; 1 for none.")
@click.option("--eigenvalue-exponent", default=0.5, help="Power of the singular values.")
def ppmi(**options: Any) -> None:
    """Make word vectors on TEXT by the singular value decomposition of its PPMI matrix and write them to -o FILE.

    \b
    embedkit train ppmi --vector-size 50 text.txt -o vectors.safetensors
    """  # noqa: D301  # click's sign for lines that stay
    from embedkit import PPMI

    _run(PPMI, options, watched=False)


def _run(kind: Any, options: dict[str, Any], *, watched: bool = True) -> Any:
    """Train a `kind` with these options and write its vectors; gives the trainer.

    Not `watched` is what takes one step and so tells of none.
    """
    corpus = open_corpus(**{name: options.pop(name) for name in CORPUS_PARAMETERS})
    output, storage, bootstrap, checkpoint, every, resume = (options.pop(name, None) for name in _OUTPUT)
    trainer = kind(**options)
    if bootstrap is not None and checkpoint is not None:
        raise click.UsageError("--bootstrap trains many models and writes no checkpoints")
    check_resume(checkpoint, bool(resume))
    check_place(output)
    if bootstrap is not None:
        vectors = _several(trainer, corpus, bootstrap, output)
    else:
        trainer = trained(trainer, corpus, checkpoint, every, resume) if watched else trainer.fit(corpus)
        vectors = trainer.embedding_
    vectors.save(output, storage=storage)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    seed = vectors.provenance["parameters"]["random_state"]
    click.echo(f"wrote {len(vectors):,} words x {vectors.width} to {output} (seed {seed})", err=True)
    click.echo(f"next: embedkit similar WORD -m {output}", err=True)
    return trainer


def _several(trainer: Any, corpus: Any, n: int, output: Path) -> Any:
    """The vectors of the whole text; the models of drawn documents go into a file beside the output."""
    from embedkit import bootstrap
    from embedkit.progress import bar

    ensemble = bootstrap(trainer, corpus, n, random_state=trainer.random_state, callback=bar("bootstrap"))
    beside = output.with_name(f"{output.stem}.ensemble.safetensors")
    ensemble.save(beside)
    click.echo(f"wrote {n} models of drawn documents to {beside} (embedkit.load opens it)", err=True)
    return ensemble.embedding
