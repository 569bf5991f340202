"""Tokenizers and what may be done to their tokens.

A tokenizer is any function from a text to its list of tokens. Those here never look beyond white space, which lets a
corpus be encoded piece by piece (see `embedkit.text.encoding`), and they can be described, which lets it be cached.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal, TypeAlias

from embedkit.errors import BadInput, printable

Tokenizer: TypeAlias = Callable[[str], list[str]]
Numbers = Literal["keep", "drop", "mask"]

# Combining marks that are accents. Others, as the vowel signs of Hindi, are letters to those who write with them.
_ACCENTS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]")


@dataclass(frozen=True)
class Words:
    """Words between the default word boundaries of Unicode (UAX #29) that hold a letter or a digit.

    Examples
    --------
    >>> Words()("The king's naïve: 3.14!")
    ['The', "king's", 'naïve', '3.14']
    """

    def __call__(self, text: str) -> list[str]:
        """The words of `text`."""
        # Piece by piece: the rules would join a mark, or a narrow space, with what stands on the other side of it.
        split = _boundary().split
        return [part for piece in text.split() for part in split(piece) if any(map(str.isalnum, part))]


@cache
def _boundary() -> Any:
    import regex

    return regex.compile(r"\b", regex.WORD | regex.VERSION1)


@dataclass(frozen=True)
class CharacterNgrams:
    """The character n-grams of each word between white space; a word shorter than `n` is taken whole.

    Parameters
    ----------
    n
        Characters (code points) of an n-gram, at least 1.

    Examples
    --------
    >>> CharacterNgrams(3)("the king")
    ['the', 'kin', 'ing']
    """

    n: int = 3

    def __post_init__(self) -> None:
        if not isinstance(self.n, int) or self.n < 1:
            raise BadInput(f"n-grams have a whole number of characters of 1 or more, not {self.n!r}")

    def __call__(self, text: str) -> list[str]:
        """The n-grams of `text`."""
        n = self.n
        return [word[i : i + n] for word in text.split() for i in range(max(1, len(word) - n + 1))]


def as_tokenizer(tokenize: str | Tokenizer) -> Tokenizer:
    """A tokenizer by its name: ``"whitespace"``, ``"words"``, ``"characters"`` (3-grams); a function stays as it is.

    Raises
    ------
    BadInput
        Neither a function nor one of these names.
    """
    if callable(tokenize):
        return tokenize
    named: dict[str, Tokenizer] = {"whitespace": str.split, "words": Words(), "characters": CharacterNgrams(3)}
    if not isinstance(tokenize, str) or tokenize not in named:
        raise BadInput(f"tokenize is {', '.join(named)}, or a function of a text, not {tokenize!r}")
    return named[tokenize]


def description(tokenize: Tokenizer) -> dict[str, Any] | None:
    """What tells this tokenizer from others; `None` for a function that is not ours, which nothing can tell."""
    if tokenize is str.split:
        return {"tokenize": "whitespace"}
    # A child class may do anything.
    if isinstance(tokenize, Words | CharacterNgrams) and type(tokenize) in (Words, CharacterNgrams):
        return {"tokenize": type(tokenize).__name__, **asdict(tokenize)}
    return None


@dataclass(frozen=True)
class Normalisation:
    """What is done to each token: case, then accents, then numbers.

    Parameters
    ----------
    lowercase
        Write it in small letters.
    fold_accents
        Leave accents out: é becomes e. Letters that are no letter-with-accent (ø, ß) and the marks of scripts that
        need them stay.
    numbers
        Tokens with digits and without letters (``1999``, ``3.14``): ``"keep"``, ``"drop"``, or ``"mask"``, which
        writes 0 for each digit.

    Examples
    --------
    >>> tidy = Normalisation(lowercase=True, fold_accents=True, numbers="mask")
    >>> tidy("Café"), tidy("1999"), tidy("mp3")
    ('cafe', '0000', 'mp3')
    """

    lowercase: bool = False
    fold_accents: bool = False
    numbers: Numbers = "keep"

    def __post_init__(self) -> None:
        if self.numbers not in ("keep", "drop", "mask"):
            raise BadInput(f"numbers is 'keep', 'drop' or 'mask', not '{printable(str(self.numbers))}'")

    def __bool__(self) -> bool:
        return self.lowercase or self.fold_accents or self.numbers != "keep"

    def __call__(self, token: str) -> str:
        """The token as it shall be, empty if it shall be dropped."""
        if self.lowercase:
            token = token.lower()
        if self.fold_accents and not token.isascii():
            token = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", token)))
        if self.numbers != "keep" and any(map(str.isdigit, token)) and not any(map(str.isalpha, token)):
            return "" if self.numbers == "drop" else "".join("0" if c.isdigit() else c for c in token)
        return token
