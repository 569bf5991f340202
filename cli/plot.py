"""`embedkit plot`: pictures of maps and of analogies."""

from __future__ import annotations

from pathlib import Path

import click

from embedkit.errors import BadFile

from .completion import words as words_of_vectors
from .hints import Family
from .options import open_vectors, read_vectors, vectors_option
from .plot_latent import draw_model
from .sources import listed, warnings_said

_output = click.option("-o", "--output", required=True, type=click.Path(path_type=Path),
                       help="Picture to write: .png, .svg, .pdf, .jpg, .webp.")  # fmt: skip
_dark = click.option("--dark", is_flag=True, help="Light on dark.")
_title = click.option("--title", default="", help="Written above.")


@click.group(cls=Family, short_help="Draw maps, analogies, and what latent models learned.")
def plot() -> None:
    """Draw maps, analogies, and what latent models learned.

    \b
    embedkit plot analogy king man woman -o queen.png
    """  # noqa: D301  # click's sign for lines that stay


@plot.command("map", short_help="Draw a map that project wrote.")
@click.argument("file", metavar="MAP", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path),
              help="Picture (.png, .svg, .pdf, .jpg, .webp) or interactive page (.html) to write.")  # fmt: skip
@click.option("--colour", "--color", "colour", help="Column to colour by.")
@click.option("--notable", multiple=True, metavar="LABEL,...", help="Labels to write beside their points.")
@click.option(
    "--hover", multiple=True, metavar="NAME,...", help="Columns that a page shows of a point; by default all."
)
@click.option("--density/--points", default=None, help="Density or points; by default density beyond 30,000 points.")
@_title
@_dark
def draw_map(file: Path, output: Path, colour: str | None, notable: tuple[str, ...], hover: tuple[str, ...],
             density: bool | None, title: str, dark: bool) -> None:  # fmt: skip
    """Draw MAP, a file of 2 or 3 dimensions in any format.

    \b
    embedkit plot map map.csv -o map.png --colour class
    embedkit plot map map.csv -o map.html --colour class
    """  # noqa: D301  # click's sign for lines that stay
    embedding = read_vectors(file)
    if embedding.width not in (2, 3):
        made = f"embedkit project {file} -o map.csv makes one"
        raise BadFile(file, f"holds rows of {embedding.width} dimensions, a map of 2 or 3 was expected: {made}")
    labels = listed(notable)
    with warnings_said():
        if output.suffix.lower() in (".html", ".htm"):
            if density is not None:
                raise click.UsageError("--density and --points are for pictures, not for pages")
            from embedkit.plots import write_page

            write_page(embedding, output, title=title or file.stem, colour=colour, notable=labels,
                       hover=listed(hover) or None, theme="dark" if dark else "auto")  # fmt: skip
            return
        from embedkit.plots import save_figure, scatter_map

        figure = scatter_map(embedding, colour=colour, notable=labels or None, title=title, dark=dark, density=density)
        save_figure(figure, output)


@plot.command("analogy", short_help="Draw A - B + C as a parallelogram.")
@click.argument("words", nargs=-1, required=True, metavar="A B C [A B C ...]", shell_complete=words_of_vectors)
@_output
@_title
@_dark
@vectors_option
def draw_analogy(words: tuple[str, ...], output: Path, title: str, dark: bool, vectors: Path | None) -> None:
    """Draw the arrows of A - B + C, and the word that they lead to.

    \b
    embedkit plot analogy king man woman -o queen.png
    """  # noqa: D301  # click's sign for lines that stay
    if len(words) % 3:
        raise click.UsageError(f"words come in threes, A B C of A - B + C: {len(words)} were given")
    from embedkit.plots import analogy_arrows, save_figure

    questions = [(words[i], words[i + 1], words[i + 2]) for i in range(0, len(words), 3)]
    figure = analogy_arrows(open_vectors(vectors), questions, title=title, dark=dark)
    with warnings_said():
        save_figure(figure, output)
    for (a, b, c), answer in zip(questions, figure.answers, strict=True):
        click.echo(f"{a} - {b} + {c}: {answer}", err=True)


plot.add_command(draw_model)
