"""What can go wrong, named. Every error embedkit raises on purpose is an :class:`EmbedkitError`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# A message longer than this helps nobody; the attributes always hold everything.
_NEAR_SHOWN = 3


class EmbedkitError(Exception):
    """Base of all errors that embedkit raises on purpose; its text is one clear line, whatever it quotes."""

    def __str__(self) -> str:
        return printable(super().__str__())


class BadInput(EmbedkitError, ValueError):
    """A value that embedkit cannot work with: what is wrong, where, and what was expected."""


class BadFile(BadInput):
    """A file that is damaged, is not what it claims to be, or cannot be read.

    Parameters
    ----------
    path
        The file.
    reason
        What is wrong and what was expected.
    place
        Where: a line, record or byte offset, in words (``"line 3"``).
    """

    def __init__(self, path: object, reason: str, place: str = "") -> None:
        self.path, self.reason, self.place = str(path), reason, place
        super().__init__(": ".join(part for part in (self.path, place, reason) if part))

    def __reduce__(self) -> tuple[type[BadFile], tuple[str, str, str]]:
        # So that a worker process can hand it to its parent.
        return type(self), (self.path, self.reason, self.place)


class UnknownWord(EmbedkitError, KeyError):
    """One or more labels that an Embedding does not hold.

    Parameters
    ----------
    missing
        Every label that was not found, in order, each once.
    near
        For some of them, labels that exist and are spelled nearly the same, best first.

    Attributes
    ----------
    missing : tuple of str
    near : dict of str to tuple of str
    """

    def __init__(self, missing: Sequence[str], near: Mapping[str, Sequence[str]] | None = None) -> None:
        self.missing = tuple(missing)
        self.near = {word: tuple(words) for word, words in (near or {}).items()}
        super().__init__(self.missing)

    def __str__(self) -> str:
        return "unknown: " + "; ".join(self.describe(word) for word in self.missing)

    def describe(self, word: str) -> str:
        """One missing word with its near spellings, as text: ``'qeen' (near: queen, green)``."""
        near = self.near.get(word, ())[:_NEAR_SHOWN]
        hint = f" (near: {', '.join(map(printable, near))})" if near else ""
        return f"'{printable(word)}'{hint}"


class NotFitted(EmbedkitError, ValueError, AttributeError):
    """A verb that needs `fit` first was called before it."""


class TrainingDiverged(EmbedkitError):
    """Training produced numbers that are not finite.

    Attributes
    ----------
    epoch, step, learning_rate
        Where, from 1 and from 0, and at which rate, if the trainer tells.
    """

    def __init__(
        self, *message: object, epoch: int | None = None, step: int | None = None, learning_rate: float | None = None
    ) -> None:
        self.epoch, self.step, self.learning_rate = epoch, step, learning_rate
        super().__init__(*message)


def printable(text: str) -> str:
    r"""`text` with everything that could move a cursor, ring a bell or turn the line around shown escaped.

    Whatever does not print (control characters, line separators, spaces other than the plain one, bidirectional and
    other invisible format characters, lone surrogates, unassigned and private code points) is written as a backslash
    escape; everything else stays, the joiners of Persian, Hindi and emoji too.

    Examples
    --------
    >>> printable("naïve\x1b[31m")
    'naïve\\x1b[31m'
    >>> printable("a\u202eb")
    'a\\u202eb'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\u200c\u200d" else _escape(c) for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
