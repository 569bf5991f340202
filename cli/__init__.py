"""The `embedkit` program: parse, one library call, print. Commands are imported when they are called."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

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
}
_MODULES = {
    "analogy": "query", "similar": "query", "expr": "query", "encode": "latent", "decode": "latent",
    "generate": "latent",
}  # fmt: skip

# These answer in a fraction of a second on one thread; starting a pool of BLAS threads would be most of their work.
_QUICK = {"analogy", "similar", "expr", "info", "corpora", "fetch", "--help", "--version"}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f".{_MODULES.get(name, name)}", __name__)
        command: click.Command = getattr(module, name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click would make a failure of it
            raise click.exceptions.Exit(_leave_the_pipe()) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(embedkit.__version__, prog_name="embedkit", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show where in the program an error arose.")
@click.pass_obj
def program(settings: dict[str, Any], debug: bool) -> None:
    """Train, trust and query vectors.

    Data goes to standard output, everything else to standard error. Exit codes: 0 all answered, 1 failure, 2 wrong
    usage, 3 unknown word, 4 bad input or file, 5 a figure below --min, 130 interrupted.
    """
    settings["debug"] = debug


def main(args: Sequence[str] | None = None) -> int:
    """Run the program with `args` (those of the process by default) and give its exit code."""
    given = list(sys.argv[1:] if args is None else args)
    batch = any(argument == "-" or argument.startswith(("-i", "--input")) for argument in given)
    if not batch and _QUICK.intersection(given[:1] or ["--help"]):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
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
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return complain("interrupted", INTERRUPTED)
    except BrokenPipeError:
        return _leave_the_pipe()
    except Exception as error:  # the last stop: every error ends in one line
        if settings["debug"]:
            raise
        if isinstance(error, UnknownWord):
            return complain(str(error), UNKNOWN_WORD)
        if isinstance(error, EmbedkitError):
            return complain(str(error), BAD_INPUT if isinstance(error, BadInput) else FAILURE)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return complain("there is no space left for what was to be written", FAILURE)
        if isinstance(error, MemoryError):
            return complain(f"out of memory: {error}", FAILURE)
        what = f"{type(error).__name__}: {error}"
        return complain(f"unexpected error, please report it (embedkit --debug shows where): {what}", FAILURE)


def _leave_the_pipe() -> int:
    # Whoever reads our output has seen enough. Keep the interpreter from flushing into the closed pipe at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return OK


def complain(message: str, code: int) -> int:
    """Say what is wrong on stderr, in one line; gives `code` back."""
    with contextlib.suppress(OSError):  # stderr is closed: nobody listens, the exit code still tells
        click.echo(f"embedkit: {printable(message)}", err=True)
    return code
