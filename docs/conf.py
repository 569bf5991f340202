"""Settings of Sphinx: `make docs` builds the pages, with warnings as errors."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

sys.path.insert(0, str(Path(__file__).parent))

import generated

import embedkit

project = "embedkit"
author = "the embedkit developers"
copyright = "2026, the embedkit developers"  # noqa: A001  # Sphinx's name
version = release = embedkit.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"embedkit {release}"
html_static_path = ["static"]
html_css_files = ["side-by-side.css"]
html_copy_source = False

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Docstrings: `name` is a link where there is such a name, and code where there is none.
default_role = "py:obj"
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 100
smartquotes = False  # it would make one dash of the two before an option
# Names of other libraries and of parameters lead nowhere; those of embedkit have to.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!embedkit\.).*"),
    # Type variables, and what only our own training loops are given.
    ("py:class", r"embedkit\.(embedder\.Data|embedding\._Default|words\.estimates\.Row)"),
    ("py:class", r"embedkit\.latent\.(rows\.Rows|data\.Kind|judges\.LeNet)"),
]


def fill_in(_app: Sphinx, docname: str, content: list[str]) -> None:
    """Replace the last line of a generated page by what is generated."""
    content[0] = generated.filled_in(docname, content[0])


def mark_shapes(_app: Sphinx, _what: str, _name: str, _value: object, _options: object, lines: list[str]) -> None:
    """Mark shapes such as (b, *shape) as code: the asterisk would begin emphasis, as numpy.str_ would a link."""
    for i, line in enumerate(lines):
        plain = line.replace("numpy.str_", "str")
        lines[i] = re.sub(r"(?<!`)\((?:[\w ]+, )?\*[\w.]+\)(?!`)", r"``\g<0>``", plain)


def find_name(
    _app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.Element
) -> nodes.reference | None:
    """Lead names as they stand in signatures and docstrings to where they are documented."""
    public = generated.public_name(node.get("reftarget", ""))
    if node.get("refdomain") != "py" or public is None:
        return None
    return env.domains["py"].resolve_xref(env, node["refdoc"], _app.builder, "obj", public, node, contnode)


def setup(app: Sphinx) -> None:
    """Connect the above."""
    app.connect("source-read", fill_in)
    app.connect("autodoc-process-docstring", mark_shapes)
    app.connect("missing-reference", find_name)
