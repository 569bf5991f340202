r"""Arithmetic with labels: ``king - man + woman``, ``mean(paris, rome) - 0.5*france``, ``project(nurse, she - he)``.

The grammar, in which spaces matter only between operands and operators:

.. code-block:: text

    sum      = [sign] term { sign term }          sign = "+" | "-"
    term     = { number "*" } operand
    operand  = label | '"' label '"' | "(" sum ")" | function "(" argument { "," argument } ")"

A bare label runs up to a space, a bracket, a comma or a quotation mark, so ``well-known``, ``c++`` and ``3.14`` are
labels and ``king -man`` is a difference. In quotation marks a label may hold anything; ``\"`` and ``\\`` stand for the
two characters themselves. Text is parsed, never run.

===========================  ========================================================================
``mean(x, y, ...)``          the centroid
``project(x, d)``            the part of x along d: :math:`(x \cdot d / d \cdot d)\, d`
``reject(x, d)``             what is left of x without it: x - project(x, d)
``interpolate(x, y, t)``     (1 - t) x + t y, with t a number
===========================  ========================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from embedkit.errors import BadInput
from embedkit.kernels.exact import Doubles

_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_COEFFICIENT = re.compile(rf"({_NUMBER})\s*\*")
_SIGNED_NUMBER = re.compile(rf"[+-]?{_NUMBER}")
_LABEL = re.compile(r'[^\s(),"]+')
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_SPACE = re.compile(r"\s*")
_DEEPEST = 50  # brackets in brackets
_LONGEST = 1 << 16  # characters

Vectors: TypeAlias = Mapping[str, Doubles]


@dataclass(frozen=True)
class Label:
    """A label stands for its vector."""

    name: str


@dataclass(frozen=True)
class Sum:
    """Weighted terms, added up from left to right."""

    terms: tuple[tuple[float, Node], ...]


@dataclass(frozen=True)
class Call:
    """A function of vectors; `number` is the last argument of those that take one."""

    function: str
    arguments: tuple[Node, ...]
    number: float = 0.0


Node: TypeAlias = Label | Sum | Call


def _mean(vectors: list[Doubles], _: Doubles) -> Doubles:
    total = vectors[0]
    for vector in vectors[1:]:
        total = total + vector
    return total / len(vectors)


def _along(x: Doubles, direction: Doubles) -> Doubles:
    # Sums along each row, not matrix products: their order does not depend on the number of rows.
    length = (direction * direction).sum(axis=-1, keepdims=True)
    share = (x * direction).sum(axis=-1, keepdims=True)
    # Along no direction nothing lies.
    along: Doubles = direction * np.divide(share, length, out=np.zeros_like(length), where=length > 0)
    return along


# Function -> how many vectors it takes (None: one or more), whether a number follows, and what it does to many at once.
_FUNCTIONS: dict[str, tuple[int | None, bool, Callable[[list[Doubles], Doubles], Doubles]]] = {
    "mean": (None, False, _mean),
    "project": (2, False, lambda vectors, _: _along(*vectors)),
    "reject": (2, False, lambda vectors, _: vectors[0] - _along(*vectors)),
    "interpolate": (2, True, lambda vectors, t: (1 - t) * vectors[0] + t * vectors[1]),
}


def parse(text: str) -> Node:
    """The expression that `text` spells.

    Parameters
    ----------
    text
        An expression; see the grammar above.

    Returns
    -------
    Label, Sum or Call

    Raises
    ------
    BadInput
        Naming the character at which something else was expected.

    Examples
    --------
    >>> parse("king - 2*man")
    Sum(terms=((1.0, Label(name='king')), (-2.0, Label(name='man'))))
    >>> parse('mean("new york", rome)')
    Call(function='mean', arguments=(Label(name='new york'), Label(name='rome')), number=0.0)
    >>> parse("king - ")
    Traceback (most recent call last):
        ...
    embedkit.errors.BadInput: 'king - ', character 8: expected a label, found the end
    """
    if len(text) > _LONGEST:
        raise BadInput(f"an expression of {len(text)} characters is too long: at most {_LONGEST} are taken")
    parser = _Parser(text)
    node = parser.sum(0)
    if parser.place < len(text):
        raise parser.expected("an operator + or - with a space before it, or the end")
    return node


class _Parser:
    """Where in the text we are; each method reads one thing and moves on."""

    def __init__(self, text: str) -> None:
        self.text, self.place = text, 0
        self.skip_space()

    def sum(self, depth: int) -> Node:
        if depth > _DEEPEST:
            raise BadInput(f"'{self.text[:60]}': more than {_DEEPEST} brackets within brackets")
        terms = [self.term(self.sign() or 1.0, depth)]
        while (sign := self.sign()) is not None:
            terms.append(self.term(sign, depth))
        if len(terms) == 1 and terms[0][0] == 1.0:
            return terms[0][1]
        return Sum(tuple(terms))

    def sign(self) -> float | None:
        return 1.0 if self.take("+") else -1.0 if self.take("-") else None

    def term(self, weight: float, depth: int) -> tuple[float, Node]:
        while found := _COEFFICIENT.match(self.text, self.place):
            weight *= float(found[1])
            self.move(found.end())
        if not np.isfinite(weight):
            raise self.expected("a smaller factor")
        return weight, self.operand(depth)

    def operand(self, depth: int) -> Node:
        if self.take("("):
            node = self.sum(depth + 1)
            self.need(")")
            return node
        if found := _QUOTED.match(self.text, self.place):
            self.move(found.end())
            return Label(re.sub(r"\\(.)", r"\1", found[1]))
        if self.text.startswith('"', self.place):
            raise self.expected("a closing quotation mark after this one")
        found = _LABEL.match(self.text, self.place)
        if not found or found[0] in ("+", "-", "*"):  # as labels these need quotation marks
            raise self.expected("a label")
        if self.text.startswith("(", found.end()):
            return self.call(found[0], depth)
        self.move(found.end())
        return Label(found[0])

    def call(self, name: str, depth: int) -> Node:
        if name not in _FUNCTIONS:
            raise self.expected(f"one of the functions {', '.join(_FUNCTIONS)}, or a space before the bracket")
        count, with_number, _ = _FUNCTIONS[name]
        self.move(self.place + len(name))
        self.need("(")
        arguments = [self.sum(depth + 1)]
        while len(arguments) != count and self.take(","):
            arguments.append(self.sum(depth + 1))
        if count is not None and len(arguments) != count:
            raise self.expected(f"a comma and one more argument of {name}")
        number = 0.0
        if with_number:
            self.need(",")
            found = _SIGNED_NUMBER.match(self.text, self.place)
            if not found:
                raise self.expected("a number")
            number = float(found[0])
            self.move(found.end())
        self.need(")")
        return Call(name, tuple(arguments), number)

    def take(self, character: str) -> bool:
        taken = self.text.startswith(character, self.place)
        if taken:
            self.move(self.place + 1)
        return taken

    def need(self, character: str) -> None:
        if not self.take(character):
            raise self.expected(f"'{character}'")

    def move(self, place: int) -> None:
        self.place = place
        self.skip_space()

    def skip_space(self) -> None:
        found = _SPACE.match(self.text, self.place)
        self.place = found.end() if found else self.place

    def expected(self, what: str) -> BadInput:
        found = f"'{self.text[self.place]}'" if self.place < len(self.text) else "the end"
        shown = self.text if len(self.text) <= 100 else self.text[:100] + "..."
        return BadInput(f"'{shown}', character {self.place + 1}: expected {what}, found {found}")


def labels_of(node: Node) -> Iterator[str]:
    """The labels in `node`, from left to right; one that stands there twice comes twice."""
    if isinstance(node, Label):
        yield node.name
    else:
        for child in node.arguments if isinstance(node, Call) else (child for _, child in node.terms):
            yield from labels_of(child)


def shape(node: Node) -> object:
    """What `node` has in common with others that differ in labels and numbers only; it can be hashed."""
    if isinstance(node, Label):
        return ""
    if isinstance(node, Call):
        return node.function, *map(shape, node.arguments)
    return "", *(shape(child) for _, child in node.terms)


def evaluate(node: Node, vectors: Vectors) -> Doubles:
    """The vector that `node` comes to.

    Parameters
    ----------
    node
        What `parse` gave.
    vectors
        The vector of each of its labels, shape (d,), float64.

    Returns
    -------
    ndarray of shape (d,), float64
    """
    made: Doubles = evaluate_many([node], np.array([[vectors[label] for label in labels_of(node)]]))[0]
    return made


def evaluate_many(nodes: Sequence[Node], vectors: Doubles) -> Doubles:
    """The vectors that m expressions of one shape come to, each the same bits as alone.

    Parameters
    ----------
    nodes
        m expressions, all of the same `shape`.
    vectors
        (m, s, d) float64: of each its labels' vectors, in the order of `labels_of`.

    Returns
    -------
    ndarray of shape (m, d), float64
    """
    return _evaluate(nodes, iter(vectors.transpose(1, 0, 2)))


def _evaluate(nodes: Sequence[Any], leaves: Iterator[Doubles]) -> Doubles:
    first = nodes[0]
    if isinstance(first, Label):
        return next(leaves)
    if isinstance(first, Call):
        numbers = np.array([[node.number] for node in nodes])
        arguments = [_evaluate([node.arguments[i] for node in nodes], leaves) for i in range(len(first.arguments))]
        return _FUNCTIONS[first.function][2](arguments, numbers)

    def term(i: int) -> Doubles:
        weights = np.array([[node.terms[i][0]] for node in nodes])
        return weights * _evaluate([node.terms[i][1] for node in nodes], leaves)

    total = term(0)
    for i in range(1, len(first.terms)):
        total = total + term(i)
    return total
