"""The `embedkit` program: parse, one library call, print. Commands are imported when they are called."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

import embedkit
from embedkit.errors import BadInput, EmbedkitError, UnknownWord, printable

OK, FAILURE, USAGE, UNKNOWN_WORD, BAD_INPUT, QUALITY_MISSED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

# Name -> one line of help. Kept here so that `embedkit --help` imports none of them; a test compares the two.
COMMANDS = {
    "analogy": "Answer A - B + C: king - man + woman.",
    "similar": "Show the nearest neighbours of words.",
    "expr": "Compute with words: mean(paris, rome) - france.",
    "info": "Tell what a file holds and where it comes from.",
    "convert": "Turn a file of vectors into another format.",
    "corpus": "Look at a text, encode it, find its phrases.",
    "train": "Train vectors on text, latent models on pictures and tables.",
    "encode": "Turn rows into the codes of a latent model.",
    "decode": "Turn codes back into pictures or rows of a table.",
    "generate": "Draw new rows from a latent model.",
    "evaluate": "Measure how good vectors are.",
    "anomalies": "Find rows that are unlike the others.",
    "units": "Find the units of a latent model that tell classes.",
    "diff": "Show which words moved between two files of vectors.",
    "project": "Project rows to a map: table, picture, interactive page.",
    "plot": "Draw maps, analogies, and what latent models learned.",
    "corpora": "Show the shelf: corpora, vectors, images and questions by name.",
    "fetch": "Get a data set of the shelf: text8, mnist, glove-6b, ...",
    "demo": "See it at work: train, ask, evaluate and map, in a minute.",
    "doctor": "Examine this installation, for a report of what is wrong.",
    "completion": "Print the script that completes commands and words.",
}
_MODULES = {
    "analogy": "query", "similar": "query", "expr": "query", "encode": "latent", "decode": "latent",
    "generate": "latent",
}  # fmt: skip

# These answer in a fraction of a second on one thread; starting a pool of BLAS threads would be most of their work.
_QUICK = {"analogy", "similar", "expr", "info", "corpora", "fetch", "completion", "--help", "--version"}

_WELCOME = """\
embedkit trains, asks, measures and maps vectors. Five commands to try first:

  embedkit demo                     a walk of a minute: train, ask, score, map
  embedkit analogy king man woman   what is to woman as king is to man?
  embedkit similar paris            which words are used like this one?
  embedkit train word2vec text.txt -o vectors.safetensors
                                    vectors of a text of yours; ask them by -m
  embedkit project digits --method umap -o map.csv --html map.html
                                    a map of 1,797 pictures: table and page

embedkit --help lists all commands, embedkit COMMAND --help shows one with
examples, and embedkit doctor tells whether all is well here.
"""


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f".{_MODULES.get(name, name)}", __name__)
        command: click.Command = getattr(module, name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        # click would import every command for its line of help.
        commands = [CompletionItem(name, help=line) for name, line in COMMANDS.items() if name.startswith(incomplete)]
        return [*commands, *(click.Command.shell_complete(self, ctx, incomplete) if incomplete[:1] == "-" else [])]

    def make_context(self, *args: Any, **named: Any) -> click.Context:
        try:
            return super().make_context(*args, **named)
        except BrokenPipeError:  # help and version are printed here
            raise click.exceptions.Exit(_leave_the_pipe()) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click would make a failure of it
            raise click.exceptions.Exit(_leave_the_pipe()) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, invoke_without_command=True,
             context_settings={"help_option_names": ["-h", "--help"], "show_default": True})  # fmt: skip
@click.version_option(embedkit.__version__, prog_name="embedkit", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show where in the program an error arose.")
@click.pass_context
def program(ctx: click.Context, debug: bool) -> None:
    """Train, trust and query vectors.

    Data goes to standard output, everything else to standard error. Exit codes: 0 all answered, 1 failure, 2 wrong
    usage, 3 unknown word, 4 bad input or file, 5 a figure below --min, 130 interrupted.

    \b
    embedkit analogy king man woman
    embedkit demo
    """  # noqa: D301  # click's sign for lines that stay
    ctx.obj["debug"] = debug
    if ctx.invoked_subcommand is None:
        click.echo(_WELCOME, nl=False)


def main(args: Sequence[str] | None = None) -> int:
    """Run the program with `args` (those of the process by default) and give its exit code."""
    given = list(sys.argv[1:] if args is None else args)
    batch = any(argument == "-" or argument.startswith(("-i", "--input")) for argument in given)
    if not batch and _QUICK.intersection(given[:1] or ["--help"]):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # A word that the terminal's encoding lacks is shown escaped; it is no reason to stop.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    settings: dict[str, Any] = {"debug": False}
    try:
        code = program.main(given, prog_name="embedkit", obj=settings, standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else OK
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        if isinstance(error, click.MissingParameter) and isinstance(error.param, click.Option):
            error = click.MissingParameter(error.param.help, error.ctx, error.param)  # with what it would be for
        _show(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return complain("interrupted", INTERRUPTED)
    except BrokenPipeError:
        return _leave_the_pipe()
    except Exception as error:  # the last stop: every error ends in one line
        if settings["debug"]:
            raise
        if isinstance(error, UnknownWord):
            from .hints import about_word

            return complain(f"{error}{about_word(error.missing[0]) if error.missing else ''}", UNKNOWN_WORD)
        if isinstance(error, EmbedkitError):
            return complain(str(error), BAD_INPUT if isinstance(error, BadInput) else FAILURE)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return complain("there is no space left for what was to be written", FAILURE)
        if isinstance(error, OSError) and error.errno == errno.EBADF:
            _leave_the_pipe()
            return complain("standard input or output is needed for that, and is closed", FAILURE)
        if isinstance(error, MemoryError):
            return complain(f"out of memory: {error}", FAILURE)
        if isinstance(error, ImportError) and (library := _did_not_fit(error)):
            return complain(f"out of memory: {library} does not fit into it", FAILURE)
        what = f"{type(error).__name__}: {error}"
        return complain(f"unexpected error, please report it (embedkit --debug shows where): {what}", FAILURE)


def _replace_closed_streams() -> None:
    """Have something in the place of streams that whoever started us has closed, which fails when it is used.

    A file that is opened would be given the number of the stream, and what libraries print there would go into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            flags = os.O_RDONLY if name == "stdout" else os.O_WRONLY  # what is complained to nobody may be lost
            found = os.open(os.devnull, flags)  # the lowest number that is free
            setattr(sys, name, open(found, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115, PTH123  # for good


def _did_not_fit(error: BaseException | None) -> str:
    """The library, or what is known of it, that could not be loaded for want of memory; else nothing."""
    found = ""
    while error is not None:  # the innermost error names it best
        text = str(error)
        if isinstance(error, MemoryError) or "Cannot allocate memory" in text or "failed to map segment" in text:
            found = text.partition(":")[0].rpartition("/")[2] or "a library"
        error = error.__cause__ or error.__context__
    return found


def _show(error: click.ClickException) -> None:
    """Say what click says of a mistake, whatever it quotes being shown escaped."""
    said = io.StringIO()
    error.show(said)
    with contextlib.suppress(OSError):  # as in `complain`
        click.echo("\n".join(map(printable, said.getvalue().expandtabs(4).split("\n"))), err=True, nl=False)


def _leave_the_pipe() -> int:
    # Whoever reads our output has seen enough. Keep the interpreter from flushing into the closed pipe at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return OK


def complain(message: str, code: int) -> int:
    """Say what is wrong on stderr, in one line; gives `code` back."""
    with contextlib.suppress(OSError):  # stderr is closed: nobody listens, the exit code still tells
        click.echo(f"embedkit: {printable(message)}", err=True)
    return code
