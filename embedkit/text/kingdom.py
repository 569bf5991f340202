"""The kingdom: a planted corpus whose analogies are known by construction.

Every word of the kingdom is a bundle of features: *king* is royal, male and adult, *queen* royal, female and adult,
*norburg* is a capital and of Norland. A document is one such word amid words that speak of its features ("royal-3",
"male-7", ...), so that what a trainer can learn about a word is exactly the sum of its features, and *king - man +
woman* must come out as *queen*. It needs no download and trains in seconds, which makes it the test of every trainer
from text to analogy, and a first example.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import permutations

from embedkit.errors import BadInput
from embedkit.text.corpus import Corpus

_PEOPLE = {
    "king": ("royal", "male", "adult"),
    "queen": ("royal", "female", "adult"),
    "prince": ("royal", "male", "child"),
    "princess": ("royal", "female", "child"),
    "man": ("common", "male", "adult"),
    "woman": ("common", "female", "adult"),
    "boy": ("common", "male", "child"),
    "girl": ("common", "female", "child"),
}
_KIN = {"father": "mother", "brother": "sister", "uncle": "aunt", "husband": "wife", "duke": "duchess"}
_CAPITALS = {
    "norland": "norburg", "westmark": "westhaven", "eastria": "easton", "sundal": "sunport", "velmora": "velmont",
    "karthia": "karth", "lorien-vale": "lorbridge", "mistria": "mistford", "ostavia": "ostrow", "pellam": "pelgrad",
}  # fmt: skip
_PLURALS = {
    "horse": "horses", "sword": "swords", "tower": "towers", "knight": "knights", "apple": "apples",
    "child": "children", "goose": "geese", "castle": "castles", "road": "roads", "mouse": "mice",
}  # fmt: skip
_PASTS = {
    "walk": "walked", "sing": "sang", "rule": "ruled", "ride": "rode", "fight": "fought", "build": "built",
    "love": "loved", "write": "wrote", "speak": "spoke", "fall": "fell",
}  # fmt: skip

_RELATIONS = {
    "gender": {"king": "queen", "prince": "princess", "man": "woman", "boy": "girl", **_KIN},
    "royalty": {"man": "king", "woman": "queen", "boy": "prince", "girl": "princess"},
    "capital": _CAPITALS,
    "plural": _PLURALS,
    "tense": _PASTS,
}

_WORDS_A_FEATURE = 8
_CONTEXT = 8  # words around the one that a document is about


def kingdom(documents: int = 10_000, random_state: int = 0) -> Corpus:
    """The kingdom's text.

    Parameters
    ----------
    documents
        How many documents of nine words.
    random_state
        Seed; the same one gives the same text.

    Returns
    -------
    Corpus
        Made anew at each pass, the same each time.

    Raises
    ------
    BadInput
        A negative number of documents.

    Examples
    --------
    >>> text = list(kingdom(2))
    >>> len(text), len(text[0]), text == list(kingdom(2))
    (2, 9, True)
    """
    if documents < 0:
        raise BadInput(f"documents must be 0 or more, not {documents}")
    return Corpus(lambda: _write(documents, random_state))


def kingdom_questions() -> dict[str, list[tuple[str, str, str, str]]]:
    """Analogies that hold in the kingdom, by regularity: tuples (a, b, c, answer) with a - b + c = answer.

    Examples
    --------
    >>> ("queen", "king", "man", "woman") in kingdom_questions()["gender"]
    True
    """
    return {
        name: [(y1, x1, x2, y2) for (x1, y1), (x2, y2) in permutations(pairs.items(), 2)]
        for name, pairs in _RELATIONS.items()
    }


def _features() -> dict[str, tuple[str, ...]]:
    """What each word is."""
    features: dict[str, tuple[str, ...]] = dict(_PEOPLE)
    for he, she in _KIN.items():
        features[he], features[she] = (f"kin:{he}", "male"), (f"kin:{he}", "female")
    for pairs, kinds in ((_CAPITALS, ("country", "capital")), (_PLURALS, ("one", "many")), (_PASTS, ("now", "then"))):
        for first, second in pairs.items():
            features[first], features[second] = (f"of:{first}", kinds[0]), (f"of:{first}", kinds[1])
    return features


def _write(documents: int, seed: int) -> Iterator[list[str]]:
    # Python's own generator, because its stream does not change between versions.
    draw = random.Random(seed)  # noqa: S311  # not for secrets
    about = list(_features().items())
    for _ in range(documents):
        word, features = draw.choice(about)
        # Each feature is spoken of equally often, in any order, on both sides of the word.
        spoken = [features[i % len(features)] for i in range(_CONTEXT)]
        context = [f"{feature}-{draw.randrange(_WORDS_A_FEATURE)}" for feature in spoken]
        draw.shuffle(context)
        yield [*context[: _CONTEXT // 2], word, *context[_CONTEXT // 2 :]]
