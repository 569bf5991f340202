"""Tokenizers and what is done to their tokens."""

from __future__ import annotations

import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedkit import Corpus
from embedkit.errors import BadInput
from embedkit.text.tokens import CharacterNgrams, Normalisation, Words, as_tokenizer, description

texts = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The king's naïve: 3.14!", ["The", "king's", "naïve", "3.14"]),
        ("don’t 1,000,000 a.m. U.S.A.", ["don’t", "1,000,000", "a.m", "U.S.A"]),
        ("well-known snake_case e-mail", ["well", "known", "snake_case", "e", "mail"]),
        ("'quoted' (so) …", ["quoted", "so"]),
        ("cafe\u0301 naïve हिन्दी", ["cafe\u0301", "naïve", "हिन्दी"]),
        ("日本", ["日", "本"]),
        ("カタカナ", ["カタカナ"]),
        ("😀 🇩🇪 -- .", []),
        ("a\u200db ½ x2 ٣٤", ["a\u200db", "½", "x2", "٣٤"]),
        ("one\ntwo\r\nthree\u2028four\x85five", ["one", "two", "three", "four", "five"]),
        ("", []),
    ],
)
def test_words_are_what_lies_between_unicode_word_boundaries(text: str, words: list[str]) -> None:
    assert Words()(text) == words


@given(texts)
def test_words_hold_a_letter_or_digit_and_come_in_order(text: str) -> None:
    place = 0
    for word in Words()(text):
        assert any(map(str.isalnum, word))
        place = text.index(word, place) + len(word)


COUNTEREXAMPLES = [
    "a \u200eb",
    "a \ufeffb",
    "a \u00adb",
    "a \u0301b",
    "10\u202f000",
    "\u202f0",
    "oui\u202fa ",
    "a \uff9e",
    "a\u3000\uff9f",
    "a \u200d\u2139",
    "\u00a0\u200d\u2139 b",
    " \uff9ea",
]


@pytest.mark.parametrize("text", COUNTEREXAMPLES, ids=ascii)
def test_no_word_reaches_over_white_space(text: str) -> None:
    assert Words()(text) == [word for piece in text.split() for word in Words()(piece)]


@pytest.mark.parametrize("between", ["\u202f", " ", " \u200d"], ids=ascii)
def test_no_character_brings_white_space_into_a_word(between: str) -> None:
    every = [chr(point) for point in range(sys.maxunicode + 1) if chr(point).isalnum()]
    found = Words()("".join(f"a{between}{character} " for character in every))
    assert [word for word in found if word.split() != [word]] == []


@pytest.mark.parametrize(
    ("n", "text", "ngrams"),
    [
        (1, "ab c", ["a", "b", "c"]),
        (3, "the king a", ["the", "kin", "ing", "a"]),
        (2, "😀é日\u3000x", ["😀é", "é日", "x"]),
        (10**9, "the king", ["the", "king"]),
        (3, " \n", []),
    ],
)
def test_ngrams_never_reach_over_white_space(n: int, text: str, ngrams: list[str]) -> None:
    assert CharacterNgrams(n)(text) == ngrams


@given(texts, st.integers(1, 5))
def test_ngrams_overlap_by_all_but_one_character(text: str, n: int) -> None:
    words = text.split()
    assert len(CharacterNgrams(n)(text)) == sum(max(1, len(word) - n + 1) for word in words)
    assert set(CharacterNgrams(n)(text)) == {
        word[i : i + n] for word in words for i in range(max(1, len(word) - n + 1))
    }


@pytest.mark.parametrize("n", [0, -1, 2.0, "3", None, float("nan")])
def test_ngrams_need_a_whole_number(n: Any) -> None:
    with pytest.raises(BadInput, match="whole number of characters"):
        CharacterNgrams(n)


def test_tokenizers_have_names() -> None:
    assert as_tokenizer("whitespace") is str.split
    assert as_tokenizer("words") == Words()
    assert as_tokenizer("characters") == CharacterNgrams(3)
    assert as_tokenizer(len) is len  # type: ignore[arg-type,comparison-overlap]  # any function, not called yet


@pytest.mark.parametrize("name", ["Words", "", "word", None, 5, ("words",)])
def test_other_names_are_refused(name: Any) -> None:
    with pytest.raises(BadInput, match="tokenize is whitespace, words, characters"):
        as_tokenizer(name)


@pytest.mark.parametrize("name", [["words"], {"tokenize": "words"}], ids=str)
def test_a_list_of_names_is_refused(name: Any) -> None:
    with pytest.raises(BadInput, match="tokenize is whitespace, words, characters"):
        Corpus(["a"], tokenize=name)


def test_our_tokenizers_can_be_described_and_told_apart() -> None:
    ours = [description(tokenize) for tokenize in (str.split, Words(), CharacterNgrams(2), CharacterNgrams(3))]
    assert all(about is not None for about in ours)
    assert len({str(about) for about in ours}) == 4
    assert description(CharacterNgrams(3)) == description(as_tokenizer("characters"))
    assert description(lambda text: text.split()) is None


class Lines(Words):
    """The user's own, which looks beyond white space."""

    def __call__(self, text: str) -> list[str]:
        return [text]


def test_a_users_child_of_our_tokenizer_is_the_users(tmp_path: Any) -> None:
    (tmp_path / "a.txt").write_text("new york\nnew york\n")
    assert list(Corpus(tmp_path / "a.txt", tokenize=Lines()).encode()) == [["new york"], ["new york"]]


# -- normalisation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "token", "expected"),
    [
        ({}, "Café1", "Café1"),
        ({"lowercase": True}, "ΟΔΟΣ", "οδος"[:-1] + "ς"),
        ({"lowercase": True}, "İstanbul", "i\u0307stanbul"),
        ({"lowercase": True, "fold_accents": True}, "İstanbul", "istanbul"),
        ({"lowercase": True}, "STRASSE ẞ", "strasse ß"),
        ({"fold_accents": True}, "Café", "Cafe"),
        ({"fold_accents": True}, "Cafe\u0301", "Cafe"),
        ({"fold_accents": True}, "Việt đêm øß Łódź", "Viet đem øß Łodz"),
        ({"fold_accents": True}, "άέή йё", "αεη ие"),
        ({"fold_accents": True}, "हिन्दी がぎ 한국 ไทย", "हिन्दी がぎ 한국 ไทย"),
        ({"fold_accents": True}, "\u0301", ""),
        ({"fold_accents": True}, "\u212b", "A"),
        ({"numbers": "drop"}, "1999", ""),
        ({"numbers": "drop"}, "-3.14%", ""),
        ({"numbers": "drop"}, "٣٤", ""),
        ({"numbers": "drop"}, "mp3", "mp3"),
        ({"numbers": "drop"}, "--", "--"),
        ({"numbers": "mask"}, "1,234.5", "0,000.0"),
        ({"numbers": "mask"}, "٣x", "٣x"),
        ({"numbers": "mask"}, "x²", "x²"),
        ({"numbers": "mask"}, "٣²", "00"),
    ],
)
def test_a_token_is_normalised(options: dict[str, Any], token: str, expected: str) -> None:
    assert Normalisation(**options)(token) == expected


normalisations = st.builds(
    Normalisation,
    lowercase=st.booleans(),
    fold_accents=st.booleans(),
    numbers=st.sampled_from(["keep", "drop", "mask"]),
)


@given(texts, normalisations)
def test_what_is_normalised_stays_so(token: str, normal: Normalisation) -> None:
    once = normal(token)
    assert normal(once) == once
    assert bool(normal) or once == token


@given(st.text(st.characters(exclude_categories=["Cs", "Zs", "Zl", "Zp", "Cc"])), normalisations)
def test_normalising_makes_no_white_space(token: str, normal: Normalisation) -> None:
    assert len(normal(token).split()) <= 1


@given(texts)
def test_composed_and_decomposed_letters_fold_alike(text: str) -> None:
    fold = Normalisation(fold_accents=True)
    assert fold(unicodedata.normalize("NFC", text)) == fold(unicodedata.normalize("NFD", text))


@pytest.mark.parametrize("numbers", ["Keep", "", None, True, ["keep"], "\x1b[2J"])
def test_other_ways_with_numbers_are_refused(numbers: Any) -> None:
    with pytest.raises(BadInput, match="numbers is 'keep', 'drop' or 'mask'") as caught:
        Normalisation(numbers=numbers)
    assert str(caught.value).isprintable()
