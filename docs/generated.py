"""Pages that are made of the source when the documentation is built: the reference, and the program's manual."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from typing import Any, NamedTuple

import click

import embedkit

# Where a page's generated part goes.
HERE = "% generated from here on"

# Page of the reference -> modules whose public names are on it; or some names of one.
PAGES = {
    "vectors": ["embedkit", "embedkit.labels:Labels", "embedkit.pretrained", "embedkit.errors"],
    "text": [
        "embedkit.text", "embedkit.text.tokens:Normalisation", "embedkit.text.encoding:encode", "embedkit.text.kingdom",
        "embedkit.text.phrases",
    ],
    "words": ["embedkit.words", "embedkit.words.documents", "embedkit.words.estimates"],
    "search": ["embedkit.search", "embedkit.search.expression:"],
    "evaluation": [
        "embedkit.evaluation", "embedkit.evaluation.analogies:Section,RankFigures",
        "embedkit.evaluation.categorisation:CategoryFigures", "embedkit.evaluation.resampling:means",
        "embedkit.evaluation.outliers:GroupFigures", "embedkit.evaluation.relational:RelationFigures",
    ],
    "latent": [
        "embedkit.latent", "embedkit.latent.findings:Findings,AnomalyReport,MethodFigures",
        "embedkit.latent.compression:CompressionReport,CompressionFigures",
        "embedkit.latent.efficiency:EfficiencyReport,EfficiencyFigures",
        "embedkit.latent.units:UnitReport,ConceptUnit,UnitDifference", "embedkit.latent.responses:Invariance,TopRows",
        "embedkit.latent.stimuli:Stimuli", "embedkit.latent.judges:Judge",
    ],
    "maps": ["embedkit.manifold", "embedkit.manifold.faithfulness"],
    "plots": ["embedkit.plots"],
    "images": ["embedkit.images"],
    "files": [
        "embedkit.formats", "embedkit.formats.tables:read_table", "embedkit.formats.table_rows:write_table",
        "embedkit.formats.frame:write_csv", "embedkit.formats.image_folder:read_image_folder,Pictures",
        "embedkit.files.store:", "embedkit.shelf",
    ],
    "progress": ["embedkit.progress"],
    "kernels": [
        f"embedkit.kernels.{name}:"
        for name in ("exact", "sketch", "shared_words", "skipgram", "cbow", "rounds", "glove", "umap_layout")
    ],
}  # fmt: skip


def names(entry: str) -> list[str]:
    """Names that a module makes public: its ``__all__``, else what is defined in it without an underscore."""
    module_name, colon, some = entry.partition(":")
    if colon:
        return some.split(",") if some else []
    module = importlib.import_module(module_name)
    if hasattr(module, "__all__"):
        return [name for name in module.__all__ if not name.startswith("_")]
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module_name
    ]


class Name(NamedTuple):
    """A public class or function: on which page, in which module's part of it, and itself."""

    page: str
    module: str
    value: Any


@cache
def public() -> dict[str, Name]:
    """Every public class and function, by the name that it is documented under."""
    front = {id(getattr(embedkit, name)): f"embedkit.{name}" for name in embedkit.__all__}
    entries = [(page, entry) for page, modules in PAGES.items() for entry in modules]
    found: dict[str, Name] = {}
    # The front door comes last, so that what lives in a room is on the page of that room.
    for page, entry in sorted(entries, key=lambda one: one[1] == "embedkit"):
        module = entry.partition(":")[0]
        for name in names(entry):
            value = getattr(importlib.import_module(module), name)
            if inspect.isclass(value) or inspect.isfunction(value):
                found.setdefault(front.get(id(value), f"{module}.{name}"), Name(page, module, value))
    return found


def members(value: type[Any]) -> list[str]:
    """Public methods and properties that embedkit gives a class; not those that scikit-learn does."""
    own = []
    for name in dir(value):
        member = inspect.getattr_static(value, name)
        function = getattr(member, "fget", None) or getattr(member, "func", None) or getattr(member, "__func__", member)
        if not name.startswith("_") and str(getattr(function, "__module__", "")).startswith("embedkit"):
            own.append(name)
    return own


@cache
def _aliases() -> dict[str, str]:
    """Other names of what is public -> its public name: where it is defined, where it is listed, its last part."""
    aliases: dict[str, str] = {}
    for name, (_, module, value) in public().items():
        last = value.__name__
        for alias in (f"{value.__module__}.{last}", f"{module}.{last}", last):
            aliases.setdefault(alias, name)
    return aliases


def public_name(target: str) -> str | None:
    """What `target`, a name as it stands in a docstring, is documented as; None where it is not."""
    head, _, member = target.rpartition(".")
    if target in _aliases():
        return _aliases()[target]
    return f"{_aliases()[head]}.{member}" if head in _aliases() else None


# -- the reference -----------------------------------------------------------------------------------------------------


def reference(page: str) -> str:
    """The generated part of a page of the reference, as Markdown."""
    lines = []
    for module in (entry.partition(":")[0] for entry in PAGES[page]):
        lines += [f"## {module}", "", "```{eval-rst}", f".. automodule:: {module}", "   :no-members:", ""]
        for name, (_, home, value) in public().items():
            if home == module:
                lines.append(f".. auto{'class' if inspect.isclass(value) else 'function'}:: {name}")
                if inspect.isclass(value) and members(value):
                    lines.append(f"   :members: {', '.join(members(value))}")
                lines.append("")
        lines += ["```", ""]
    return "\n".join(lines)


# -- the manual --------------------------------------------------------------------------------------------------------


def program() -> click.Group:
    """The program, as it is installed."""
    (entry,) = entry_points(group="console_scripts", name="embedkit")
    group: click.Group = importlib.import_module(entry.module).program
    return group


def commands(command: click.Command | None = None, path: tuple[str, ...] = ("embedkit",)) -> Iterator[tuple[str, Any]]:
    """Every command with its full name, groups before what is in them."""
    command = command or program()
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path[-1])
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and not inner.hidden:
                yield from commands(inner, (*path, name))


def manual() -> str:
    """The generated part of the program's manual, as Markdown."""
    return "\n".join(line for name, command in commands() for line in _section(name, command))


def _section(name: str, command: click.Command) -> list[str]:
    # The parent's settings too: a command keeps the help option that it makes first, for as long as the process lives.
    settings = {**program().context_settings, **command.context_settings, "show_default": True}
    context = click.Context(command, info_name=name, **settings)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    depth = "#" * min(3, 1 + len(name.split()))
    lines = [f"{depth} {name}", "", "```text", usage, "```", "", *_help(command.help or ""), ""]
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1]:
            lines += [f"`{record[0]}`", f": {_plain(record[1])}", ""]
    return lines


def _help(text: str) -> list[str]:
    lines = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):  # click leaves the lines of these as they are
            lines += ["```text", *paragraph.splitlines()[1:], "```", ""]
        else:
            prose, example, command = " ".join(paragraph.split()).partition("Example: ")
            lines += [_plain(prose), ""]
            if example:
                lines += ["Example:", "", "```text", f"$ {command}", "```", ""]
    return lines


def _plain(text: str) -> str:
    """Text in which nothing is markup."""
    return re.sub(r"([\\`*_<>\[\]|#$])", r"\\\1", text)


def filled_in(docname: str, source: str) -> str:
    """A page with its generated part, if it has one."""
    if HERE not in source:
        return source
    made = manual() if docname == "manual" else reference(docname.rpartition("/")[2])
    return source.replace(HERE, made)
