"""`embedkit demo`: train, query, evaluate and map, by the program's own commands, on a text that comes with it."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from embedkit.errors import BadFile, BadInput, printable

from . import OK

TEXT, QUESTIONS, VECTORS, TABLE, PAGE = (
    "kingdom.txt", "questions.txt", "kingdom.safetensors", "map.csv", "map.html",
)  # fmt: skip
_WIDTH = 80


class Step(NamedTuple):
    """A command as a user types it, with what to know before and what to notice after."""

    before: str
    command: str
    after: str


STEPS = (
    Step(
        f"A text: each line of {TEXT} tells of one word by others that speak of what it is (king: royal-3 male-7)",
        f"embedkit corpus info {TEXT}",
        "454 words, of which 78 are told of. Look at the text itself: head kingdom.txt",
    ),
    Step(
        "Train vectors on it: words that are used alike come to lie in like directions",
        f"embedkit train word2vec {TEXT} --sg --vector-size 32 --window 8 --sample 0 --seed 1 -o {VECTORS}",
        "the loss falls from epoch to epoch. The first training on a machine takes longer: it compiles.",
    ),
    Step(
        "Ask them what is to woman as king is to man",
        f"embedkit analogy king man woman -m {VECTORS} -k 3",
        "queen, far ahead of the second: king - man + woman leads almost to its very place.",
    ),
    Step(
        "Ask the vectors that ship with embedkit, from a real text, and let the words asked with be answers",
        "embedkit analogy king man woman -k 3 --with-inputs",
        "king itself is nearest. Leaving out the words asked with, as is usual, is what makes queen the answer here.",
    ),
    Step(
        "One question proves little. Ask many whose answers are known",
        f"embedkit evaluate analogies {QUESTIONS} -m {VECTORS}",
        "(nearly) all right, even with inputs: this text was made so that they can be. Real ones give less, and the "
        "interval in brackets says how much chance there is in a figure.",
    ),
    Step(
        "Map all words, and mark the neighbours of four",
        f"embedkit project -m {VECTORS} --method umap --seed 1 --top 1000 --words king,norland,horse,walk "
        f"-o {TABLE} --html {PAGE}",
        "the report on the map, beside that of plain PCA. Groups of words are islands, which are real: near neighbours "
        "are kept. How far apart the islands lie means nothing: see the distance rank correlation.",
    ),
)


@click.command(short_help="See it at work: train, ask, evaluate and map, in a minute.")
@click.option("-o", "--output", default=None, type=click.Path(path_type=Path),
              help="Folder for the files, new or empty; by default one among the temporary files.")  # fmt: skip
def demo(output: Path | None) -> int:
    """Train vectors, ask them, evaluate and map them, within a minute and without a network.

    Every command is shown as you would type it, runs, and is followed by what to notice. The files stay, to go on with.

    \b
    embedkit demo
    embedkit demo -o kingdom
    """  # noqa: D301  # click's sign for lines that stay
    start = time.perf_counter()
    folder = _folder(output)
    _write_texts(folder)
    # What commands say of themselves belongs between them, so the walk is one stream.
    with contextlib.chdir(folder), contextlib.redirect_stderr(sys.stdout), _shipped_vectors() as told:
        click.echo(f"$ cd {shlex.quote(printable(str(folder)))}{told}")
        for number, step in enumerate(STEPS, 1):
            click.echo(f"\n{click.wrap_text(f'{number}. {step.before}:', _WIDTH, subsequent_indent='   ')}\n")
            click.echo(f"$ {step.command}")
            code = run(step.command)
            sys.stdout.flush()
            if code != OK:
                return code
            click.echo(f"\n{click.wrap_text(f'Notice: {step.after}', _WIDTH, '   ', '   ')}")
    click.echo(
        f"\nThat took {time.perf_counter() - start:.0f} seconds. Now open the map in a browser, and point at it:"
    )
    click.echo(f"  {printable(str(folder / PAGE))}")
    click.echo("Go on with a text of your own, one document a line:")
    click.echo("  embedkit train word2vec text.txt -o vectors.safetensors")
    click.echo(f"The files are in {printable(str(folder))}; remove the folder when you have seen enough.")
    return OK


def run(command: str) -> int:
    """Run a command line of this program in this process; gives its exit code, and lets errors through."""
    from . import program

    given = shlex.split(command)[1:]
    code = program.main(given, prog_name="embedkit", obj={"debug": False}, standalone_mode=False)
    return code if isinstance(code, int) else OK


@contextlib.contextmanager
def _shipped_vectors() -> Iterator[str]:
    """See to it that the vectors by default are the shipped ones; gives the command that does so, if it takes one."""
    own = os.environ.pop("EMBEDKIT_VECTORS", None)
    try:
        yield "" if own is None else "\n$ unset EMBEDKIT_VECTORS"
    finally:
        if own is not None:
            os.environ["EMBEDKIT_VECTORS"] = own


def _folder(output: Path | None) -> Path:
    """The folder to write to, which exists and holds nothing."""
    if output is None:
        return Path(tempfile.mkdtemp(prefix="embedkit-demo-"))
    try:
        output.mkdir(parents=True, exist_ok=True)
        if any(output.iterdir()):
            raise BadInput(f"{output} is not empty: the demo writes files of its own, so name a new folder")
    except OSError as error:
        raise BadFile(output, f"cannot be the folder of the demo: {error.strerror or error}; name another") from error
    return output.resolve()


def _write_texts(folder: Path) -> None:
    from embedkit.files.atomic import replacing

    for name, lines in ((TEXT, _text()), (QUESTIONS, _questions())):
        with replacing(folder / name) as stream:
            for line in lines:
                stream.write(f"{line}\n".encode())


def _text() -> Iterator[str]:
    from embedkit.text.kingdom import kingdom

    return map(" ".join, kingdom())


def _questions() -> Iterator[str]:
    """The kingdom's questions in the layout of word2vec: b - a + c = d on a line "a b c d"."""
    from embedkit.text.kingdom import kingdom_questions

    for section, questions in kingdom_questions().items():
        yield f": {section}"
        for b, a, c, d in questions:
            yield f"{a} {b} {c} {d}"
