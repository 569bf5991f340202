"""Ensembles: what is drawn, what is kept of it, and intervals that cover what they say they do."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedkit import PCA, Corpus, Embedding, Word2Vec
from embedkit.embedder import Embedder
from embedkit.errors import BadFile, BadInput, UnknownWord
from embedkit.files.store import read_tensors, write_tensors
from embedkit.progress import Progress
from embedkit.text import EncodedCorpus, Vocabulary
from embedkit.text.kingdom import kingdom, kingdom_questions
from embedkit.words import ensemble, resampling
from embedkit.words.ensemble import Ensemble
from embedkit.words.estimates import Estimates, Similarity
from embedkit.words.fasttext import FastText
from embedkit.words.glove import GloVe
from embedkit.words.ppmi import PPMI
from embedkit.words.resampling import PIECE, bootstrap, drawn_text, units_of

PAIRS = [("king", "queen"), ("king", "horse"), ("man", "woman"), ("norland", "norburg"), ("walk", "walked")]


def trainer(**parameters: Any) -> Word2Vec:
    small = {"vector_size": 16, "window": 8, "sg": 1, "sample": 0, "epochs": 5, "min_count": 1, "engine": "numba"}
    return Word2Vec(**{**small, **parameters})


@functools.cache
def small() -> Ensemble:
    return bootstrap(trainer(), kingdom(2000), n=5, random_state=1)


def made_by_hand(cosines: list[float], absent: list[bool] | None = None, whole: float = 0.5) -> Ensemble:
    """Two words whose cosine is `whole`, and in the models of drawn texts one of `cosines` each."""

    def vectors(cosine: float) -> list[list[float]]:
        return [[2, 0], [3 * cosine, 3 * np.sqrt(1 - cosine**2)]]

    n = len(cosines)
    return Ensemble(
        Embedding(["a", "b"], vectors(whole), columns={"count": [2, 1]}),
        np.array([vectors(cosine) for cosine in cosines], dtype=np.float32),
        np.array([[False, gone] for gone in absent or [False] * n]),
        {"made_by": "hand"},
    )


# -- drawing documents -------------------------------------------------------------------------------------------------


def encoded_of(lengths: list[int], n_words: int = 50) -> EncodedCorpus:
    """Random documents; each begins with a word of its own, so that it can be told."""
    rng = np.random.default_rng(0)
    documents = [
        [f"d{number}", *(f"w{word}" for word in rng.integers(n_words, size=length - 1))]
        for number, length in enumerate(lengths)
    ]
    return Corpus(documents).encode()


def test_documents_are_drawn_whole_and_in_order() -> None:
    corpus = encoded_of([3, 1, 7, 2, 5, 4, 9, 1, 1, 2])
    documents = list(corpus)
    drawn = np.array([2, 0, 2, 9, 1])
    text = drawn_text(corpus, corpus.vocabulary, units_of(corpus), drawn)
    assert list(text) == [documents[i] for i in drawn]
    flat = [word for i in drawn for word in documents[i]]
    assert {word: text.vocabulary[word] for word in text.vocabulary} == {word: flat.count(word) for word in set(flat)}
    assert list(Corpus(list(text)).encode()) == list(text)


def test_rare_words_and_documents_of_nothing_else_are_left_out() -> None:
    corpus = Corpus([["a", "rare", "b"], ["seldom"], ["b", "a"], *[["a", "b"]] * 10]).encode()
    words = corpus.vocabulary.prune(min_count=2)
    text = drawn_text(corpus, words, units_of(corpus), np.array([1, 0, 1, 2]))
    assert list(text) == [["a", "b"], ["b", "a"]]
    nothing = drawn_text(corpus, words, units_of(corpus), np.array([1, 1]))
    assert (nothing.documents, nothing.tokens, len(nothing.vocabulary)) == (0, 0, 0)


def test_large_texts_are_copied_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = encoded_of(np.random.default_rng(1).integers(1, 40, size=200).tolist())
    drawn = np.random.default_rng(2).integers(200, size=200)
    whole = drawn_text(corpus, corpus.vocabulary, units_of(corpus), drawn)
    for block in (1, 7, 100):
        monkeypatch.setattr("embedkit.words.resampling._BLOCK", block)
        part = drawn_text(corpus, corpus.vocabulary, units_of(corpus), drawn)
        assert part.ids.tolist() == whole.ids.tolist()
        assert part.ends.tolist() == whole.ends.tolist()
        assert part.vocabulary == whole.vocabulary


def test_few_long_documents_are_cut_into_pieces() -> None:
    corpus = encoded_of([500, 2 * PIECE - 1, 2 * PIECE, 10 * PIECE + 17])
    units = units_of(corpus)
    assert "pieces" in units.what
    assert len(units.starts) == 1 + 1 + 2 + 10
    assert units.lengths[:2].tolist() == [500, 2 * PIECE - 1]
    assert (units.lengths[2:] >= PIECE).all()
    assert units.lengths.max() < 2 * PIECE
    # Together they are the text, and none crosses from one document to the next.
    assert (units.starts + units.lengths)[:-1].tolist() == units.starts[1:].tolist()
    assert set(corpus.ends.tolist()) <= set((units.starts + units.lengths).tolist())


def test_many_documents_are_not_cut() -> None:
    corpus = encoded_of([3 * PIECE, *[1] * 1000])
    assert units_of(corpus).what == "documents"
    assert len(units_of(corpus).starts) == 1001


@pytest.mark.parametrize("documents", [[], [5], [5] * 9, [PIECE * 5]])
def test_too_little_text_is_refused(documents: list[int]) -> None:
    with pytest.raises(BadInput, match="too few to draw from"):
        bootstrap(trainer(), encoded_of(documents))


# -- making one --------------------------------------------------------------------------------------------------------


def test_the_vocabulary_is_that_of_the_whole_text_and_absent_words_are_marked() -> None:
    documents = [["often", "seen", "often"]] * 20 + [["often", "once"], ["seen", "twice"], ["seen", "twice"]]
    made = bootstrap(trainer(min_count=2), Corpus(documents), n=12, random_state=3)
    assert list(made.labels) == ["often", "seen", "twice"]  # of min_count in the whole text, not in each drawn one
    gone = made.absent[:, 2]
    assert 0 < gone.sum() < 12
    assert not made.absent[:, :2].any()
    assert not made.vectors[gone, 2].any()
    assert made.vectors[~gone, 2].any(axis=1).all()
    (row,) = made.similarity([("often", "twice")])
    assert row.models == 12 - gone.sum()
    for number, member in enumerate(made):
        assert member.columns["absent"].tolist() == made.absent[number].tolist()
        assert member.columns["count"].tolist() == made.embedding.columns["count"].tolist()


def test_the_first_model_is_that_of_the_whole_text() -> None:
    made = small()
    plain = trainer(random_state=1).fit_transform(kingdom(2000))
    assert made.embedding == plain
    assert made.embedding.provenance["parameters"] == plain.provenance["parameters"]
    assert len({some.tobytes() for some in made.vectors}) == len(made) == 5
    about = made.provenance
    assert (about["trainer"], about["members"], about["random_state"]) == ("Word2Vec", 5, 1)
    assert (about["drawn"]["what"], about["drawn"]["of"]) == ("documents", 2000)


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    first, second, other = (bootstrap(trainer(epochs=1), kingdom(300), n=3, random_state=seed) for seed in (1, 1, 2))
    assert first.vectors.tobytes() == second.vectors.tobytes()
    assert first.vectors.tobytes() != other.vectors.tobytes()
    of_trainer = bootstrap(trainer(epochs=1, random_state=1), kingdom(300), n=3)
    assert of_trainer.vectors.tobytes() == first.vectors.tobytes()
    unseeded = bootstrap(trainer(epochs=1), kingdom(300), n=2)
    again = bootstrap(trainer(epochs=1), kingdom(300), n=2, random_state=unseeded.provenance["random_state"])
    assert again.vectors.tobytes() == unseeded.vectors.tobytes()


def test_fewer_models_are_the_first_of_more() -> None:
    more, fewer = (bootstrap(trainer(epochs=1), kingdom(300), n=n, random_state=1) for n in (4, 2))
    assert more.vectors[:2].tobytes() == fewer.vectors.tobytes()


def drawn_by(make: Callable[[], Ensemble]) -> tuple[Ensemble, list[Vocabulary]]:
    """An ensemble, and the words of each of the texts that were drawn for it."""
    seen: list[Vocabulary] = []

    def spying(*arguments: Any) -> EncodedCorpus:
        text = drawn_text(*arguments)
        seen.append(text.vocabulary)
        return text

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resampling, "drawn_text", spying)
        return make(), seen


def test_as_many_documents_are_drawn_as_there_are_with_replacement() -> None:
    corpus = Corpus([["x", "y"]] * 30 + [["p", "q"]] * 30).encode()
    _, seen = drawn_by(lambda: bootstrap(trainer(epochs=1), corpus, n=20, random_state=0))
    drawn = np.array([vocabulary["x"] for vocabulary in seen])
    assert all(vocabulary["x"] + vocabulary["p"] == 60 for vocabulary in seen)
    assert abs(drawn.mean() - 30) < 4  # binomial: 30, with a deviation of 3.9
    assert 2 < drawn.std() < 6


def test_words_that_came_up_less_often_than_min_count_are_trained_nevertheless() -> None:
    corpus = Corpus([["often", "seen"]] * 20 + [["often", "twice"]] * 2).encode()
    made, seen = drawn_by(lambda: bootstrap(trainer(min_count=2, epochs=1), corpus, n=12, random_state=3))
    times = np.array([vocabulary["twice"] for vocabulary in seen])
    assert {0, 1} <= set(times.tolist())
    assert made.absent[:, list(made.labels).index("twice")].tolist() == (times == 0).tolist()


def test_each_model_has_a_seed_of_its_own() -> None:
    # All documents are the same, so that all drawn texts are.
    made = bootstrap(trainer(epochs=1), Corpus([["a", "b", "c"]] * 20), n=3, random_state=1)
    assert len({some.tobytes() for some in made.vectors}) == 3


@pytest.mark.parametrize(
    "other",
    [
        GloVe(vector_size=16, epochs=2, min_count=2),
        PPMI(vector_size=16, min_count=2),
        FastText(vector_size=16, epochs=1, min_count=2, bucket=500),
        Word2Vec(vector_size=16, epochs=1, min_count=2, engine="gensim"),
        trainer(epochs=1, min_count=1, max_final_vocab=300),
    ],
    ids=lambda embedder: str(embedder)[:40],
)
def test_every_word_trainer_will_do(other: Embedder[Any]) -> None:
    before = other.get_params()
    made = bootstrap(other, kingdom(500), n=2, random_state=1)
    assert made.provenance["trainer"] == type(other).__name__
    again: Any = type(other)(**{**before, "random_state": 1}).fit(kingdom(500))
    assert set(made.labels) == set(again.embedding_)
    assert np.isfinite(made.vectors).all()
    assert 0 < made.absent.mean() < 0.1
    assert other.get_params() == before
    assert not hasattr(other, "embedding_")


def test_the_callback_sees_one_long_training_and_can_end_it() -> None:
    events: list[Progress] = []
    bootstrap(trainer(epochs=2), kingdom(300), n=3, random_state=1, callback=events.append)
    assert {event.epochs for event in events} == {8}
    assert sorted({event.epoch for event in events}) == [1, 2, 3, 4, 5, 6, 7, 8]
    kept = bootstrap(trainer(epochs=2), kingdom(300), n=9, random_state=1, callback=lambda event: event.epoch == 8)
    whole = bootstrap(trainer(epochs=2), kingdom(300), n=2, random_state=1)
    assert kept.vectors.tobytes() == whole.vectors.tobytes()
    for at in (1, 4):

        def end(event: Progress, at: int = at) -> bool:
            return event.epoch == at

        with pytest.raises(BadInput, match="models were finished"):
            bootstrap(trainer(epochs=2), kingdom(300), callback=end)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ((trainer(), kingdom(20), 1), "n must be a whole number from 2"),
        ((PCA(), kingdom(20), 2), "a word trainer is needed, such as Word2Vec"),
        (("Word2Vec", kingdom(20), 2), "a word trainer is needed"),
        ((trainer(), ["king man"], 2), r"trained on an embedkit\.Corpus"),
        ((trainer(min_count=10**6), kingdom(20), 2), "reach min_count"),
        ((trainer(engine="gensim", min_count=1, max_vocab_size=300), kingdom(500), 2), "left out words"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[Any, ...], what: str) -> None:
    with pytest.raises(BadInput, match=what):
        bootstrap(*arguments, random_state=1)


# -- what it answers ---------------------------------------------------------------------------------------------------


def test_an_interval_is_students_around_the_whole_text() -> None:
    cosines = [0.3, 0.5, 0.55, 0.6]
    (row,) = made_by_hand(cosines, whole=0.45).similarity([("a", "b")])
    half = 3.182446 * np.std(np.arctanh(cosines), ddof=1)  # t of 3 degrees of freedom at .975
    assert row[:2] == ("a", "b")
    expected = (0.45, np.tanh(np.arctanh(0.45) - half), np.tanh(np.arctanh(0.45) + half), 4)
    assert row[2:] == pytest.approx(expected, abs=1e-5)
    (wide,) = made_by_hand(cosines, whole=0.45).similarity([("a", "b")], new_text=True)
    assert np.arctanh(wide.high) - np.arctanh(0.45) == pytest.approx(half * np.sqrt(2), abs=1e-5)
    (narrow,) = made_by_hand(cosines, whole=0.45).similarity([("a", "b")], level=0.5)
    assert np.arctanh(narrow.high) - np.arctanh(0.45) == pytest.approx(half * 0.764892 / 3.182446, abs=1e-5)


def test_models_without_a_word_have_no_say_about_it() -> None:
    (row,) = made_by_hand([0.3, 0.5, 0.9], [False, False, True]).similarity([("a", "b")])
    (same,) = made_by_hand([0.3, 0.5]).similarity([("a", "b")])
    assert row == same
    assert row.models == 2
    (alone,) = made_by_hand([0.3, 0.5], [False, True]).similarity([("a", "b")])
    assert alone.models == 1
    assert np.isnan(alone.low)
    assert alone.similarity == pytest.approx(0.5)


def test_a_word_and_itself_are_alike_without_doubt() -> None:
    (row,) = small().similarity([("king", "king")])
    assert row[2:] == pytest.approx((1, 1, 1, 5), abs=1e-6)


def test_neighbours_come_with_intervals_and_shares() -> None:
    made = small()
    found = made.similar("king", k=5)
    assert [row.rank for row in found] == [1, 2, 3, 4, 5]
    assert "king" not in [row.label for row in found]
    pairs = made.similarity([("king", row.label) for row in found])
    assert [row[3:6] for row in found] == [row[2:5] for row in pairs]
    # By hand: neighbours in each model, and the order of mean cosines.
    units = [member.unit.vectors for member in made]
    row = made.embedding.rows(["king"])[0]
    cosines = np.array([some @ some[row] for some in units])
    cosines[:, row] = -np.inf
    best = np.argsort(-cosines.mean(axis=0))[:5]
    assert [one.label for one in found] == [made.labels[i] for i in best]
    nearest = np.argsort(-cosines, axis=1)[:, :5]
    assert [one.share for one in found] == [pytest.approx((nearest == i).any(axis=1).mean()) for i in best]
    several = made.similar(["king", "horse"], k=2)
    assert [(one.query, one.rank) for one in several] == [("king", 1), ("king", 2), ("horse", 1), ("horse", 2)]
    assert len(made.similar("king", k=10**6)) == len(made.labels) - 1


def test_neighbours_of_a_word_are_asked_of_the_models_that_have_it() -> None:
    absent = np.array([[True, False, False], [False, False, False], [False, False, False]])
    embedding = Embedding(["a", "b", "c"], [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    vectors = np.where(absent[:, :, None], 0, np.broadcast_to(embedding.vectors, (3, 3, 2)))
    (row,) = Ensemble(embedding, vectors.astype(np.float32), absent, {}).similar("a", k=1)
    assert (row.label, row.share) == ("b", 1.0)


def test_words_that_are_mostly_absent_are_no_neighbours() -> None:
    assert made_by_hand([0.3, 0.5, 0.9], [True, True, False]).similar("a", k=5) == Estimates([])
    (row,) = made_by_hand([0.3, 0.5, 0.9], [True, False, False]).similar("a", k=5)
    assert row.label == "b"
    assert row.share == pytest.approx(2 / 3)
    (other,) = made_by_hand([0.3, 0.5, 0.9], [True, False, False]).similar("b", k=5)
    assert other.label == "a"
    assert other.share == 1  # of the two models that have it


def test_analogies_are_put_to_the_vote() -> None:
    made = bootstrap(trainer(epochs=10), kingdom(6000), n=4, random_state=1)
    first, *others = made.analogies([("king", "man", "woman")])
    assert (first.query, first.rank, first.label, first.whole) == ("king - man + woman", 1, "queen", True)
    assert first.models == 4
    assert first.share > 0.7
    assert sum(one.share for one in (first, *others)) == pytest.approx(1)
    questions = [question for some in kingdom_questions().values() for question in some][::20]
    answers = {row.query: row for row in made.analogies([q[:3] for q in questions], k=1)}
    right = [answers[f"{a} - {b} + {c}"].label == d for a, b, c, d in questions]
    assert np.mean(right) > 0.9
    assert made.analogies([]) == Estimates([])


def test_models_without_a_word_do_not_vote_on_it() -> None:
    embedding = Embedding(["a", "b", "c", "d"], np.eye(4) + 0.1, columns={"count": [4, 3, 2, 1]})
    absent = np.zeros((3, 4), dtype=bool)
    absent[0, 1] = absent[1:, 3] = True
    vectors = np.where(absent[:, :, None], 0, np.broadcast_to(embedding.vectors, (3, 4, 4)))
    (row,) = Ensemble(embedding, vectors, absent, {}).analogies([("a", "b", "c")])
    assert (row.label, row.models) == (None, 2)  # where it votes, there is no other word left: d is absent
    assert not row.whole


def test_ensembles_of_the_same_draws_are_compared_model_by_model() -> None:
    one = small()
    other = bootstrap(trainer(window=4), kingdom(2000), n=5, random_state=1)
    stranger = bootstrap(trainer(window=4), kingdom(2000), n=5, random_state=2)
    rows = one.compare(other, PAIRS)

    def cosines(made: Ensemble) -> Any:
        return np.array([[row.similarity for row in _plain(member, PAIRS)] for member in (made.embedding, *made)])

    here, there = cosines(one), cosines(other)
    np.testing.assert_allclose([row.difference for row in rows], here[0] - there[0], atol=1e-6)
    half = 2.776445 * (here - there)[1:].std(axis=0, ddof=1)  # t of 4 degrees of freedom
    np.testing.assert_allclose([row.high - row.difference for row in rows], half, atol=1e-5)
    apart = cosines(stranger)
    loose = 2.776445 * np.hypot(here[1:].std(axis=0, ddof=1), apart[1:].std(axis=0, ddof=1))
    found = one.compare(stranger, PAIRS)
    np.testing.assert_allclose([row.difference - row.low for row in found], loose, atol=1e-5)
    assert all((row.low, row.high, row.difference) == (0, 0, 0) for row in one.compare(one, PAIRS))


def _plain(member: Embedding, pairs: list[tuple[str, str]]) -> Iterator[Similarity]:
    for first, second in pairs:
        unit = member.unit[[first, second]].astype(float)
        yield Similarity(first, second, float(unit[0] @ unit[1]), 0, 0, 0)


def test_what_cannot_be_asked_is_refused() -> None:
    made = small()
    with pytest.raises(UnknownWord) as error:
        made.similarity([("king", "emperor"), ("empress", "queen")])
    assert error.value.missing == ("emperor", "empress")
    with pytest.raises(UnknownWord):
        made.similar("emperor")
    with pytest.raises(UnknownWord):
        made.analogies([("king", "man", "empress")])
    with pytest.raises(UnknownWord):
        made.compare(made_by_hand([0.1, 0.2]), [("king", "queen")])
    with pytest.raises(BadInput, match="pair 1 must be two words"):
        made.similarity([("king", "queen"), ("king",)])
    with pytest.raises(BadInput, match="pair 0 must be two words"):
        made.similarity(["ab"])
    with pytest.raises(BadInput, match="a list of pairs"):
        made.similarity("ab")
    for level in (0, 1, 1.5, "95%"):
        with pytest.raises(BadInput, match="level"):
            made.similarity(PAIRS, level=level)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="k must be"):
        made.similar("king", k=0)
    with pytest.raises(BadInput, match="expected three"):
        made.analogies([("king", "man")])
    with pytest.raises(BadInput, match="1 model tells nothing"):
        made_by_hand([0.5])
    with pytest.raises(BadInput, match="models of shape"):
        Ensemble(made.embedding, made.vectors[:, :-1], made.absent, {})


def test_tables_are_shown_and_become_frames() -> None:
    pytest.importorskip("pandas")
    made = small()
    frame = made.similarity(PAIRS).to_frame()
    assert list(frame) == ["first", "second", "similarity", "low", "high", "models"]
    assert frame["second"].tolist() == [second for _, second in PAIRS]
    assert list(made.similar("king", 2).to_frame())[:4] == ["query", "rank", "label", "similarity"]
    table = made.similarity(PAIRS)
    assert repr(table) == "Estimates(5 rows: first, second, similarity, low, high, models)"
    assert len(table[1:3]) == 2
    page = Estimates([Similarity("<b>", "x", 0.5, 0.25, 0.75, 3)])._repr_html_()
    assert "&lt;b&gt;" in page
    assert "0.2500" in page


# -- in a file ---------------------------------------------------------------------------------------------------------


def loaded(path: Path) -> Ensemble:
    return ensemble.from_tensors(read_tensors(path), path, verify=True)


def test_what_is_loaded_answers_alike(tmp_path: Path) -> None:
    made = small()
    made.save(tmp_path / "ensemble")
    again = loaded(tmp_path / "ensemble")
    assert again.embedding == made.embedding
    assert again.embedding.provenance == made.embedding.provenance
    assert again.provenance == made.provenance
    np.testing.assert_array_equal(again.absent, made.absent)
    assert again.similarity(PAIRS) == made.similarity(PAIRS)
    assert again.similar("king", 3) == made.similar("king", 3)
    assert again.compare(made, PAIRS) == made.compare(made, PAIRS)
    assert not again.vectors.flags.owndata  # it lies in the file
    again.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "ensemble").read_bytes()


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("vectors", lambda array: array[:1], "models of shape"),
        ("vectors", lambda array: array[:, :, :8], "models of shape"),
        ("vectors", lambda array: array.astype(np.float64), "'vectors' is float64"),
        ("vectors", lambda array: array / np.float32(0), "not finite"),
        ("whole", lambda array: array[:-1], "words for vectors of shape"),
        ("absent", lambda array: array.astype(np.uint8), "'absent' is uint8"),
        ("counts", lambda array: array[:-1], "counts of"),
        ("absent", None, "absent"),
    ],
)
def test_a_damaged_file_is_refused(name: str, change: Any, what: str, tmp_path: Path) -> None:
    small().save(tmp_path / "ensemble")
    arrays, about = read_tensors(tmp_path / "ensemble")
    changed: dict[str, Any] = dict(arrays)
    with np.errstate(divide="ignore", invalid="ignore"):
        changed = {**changed, name: change(arrays[name])} if change else {k: v for k, v in arrays.items() if k != name}
    write_tensors(changed, {key: about[key] for key in ("class", "provenance", "whole")}, tmp_path / "changed")
    with pytest.raises(BadFile, match=what) as error:
        loaded(tmp_path / "changed")
    assert "\n" not in str(error.value)


# -- what the intervals cover ------------------------------------------------------------------------------------------


def cosines_of(embedding: Embedding) -> list[float]:
    return [row.similarity for row in _plain(embedding, PAIRS)]


@pytest.mark.slow
def test_intervals_cover_what_fresh_texts_say() -> None:
    """Texts of one source, each with an ensemble; and many more that show what models of such texts say."""
    documents, texts, fresh_texts = 2000, 40, 100
    fresh = np.array(
        [
            cosines_of(trainer(random_state=seed).fit_transform(kingdom(documents, 10_000 + seed)))
            for seed in range(fresh_texts)
        ]
    )
    expected = np.tanh(np.arctanh(fresh).mean(axis=0))
    covers_mean, covers_new, tells_apart = [], [], []
    before: Ensemble | None = None
    for seed in range(texts):
        made = bootstrap(trainer(), kingdom(documents, seed), n=20, random_state=seed)
        means, news = made.similarity(PAIRS), made.similarity(PAIRS, new_text=True)
        covers_mean.append([row.low <= value <= row.high for row, value in zip(means, expected, strict=True)])
        covers_new.append(
            [np.mean((row.low <= some) & (some <= row.high)) for row, some in zip(news, fresh.T, strict=True)]
        )
        if before is not None:  # of the same source: there is no difference to be found
            tells_apart.append([not row.low <= 0 <= row.high for row in made.compare(before, PAIRS)])
        before = made
    assert 0.90 <= np.mean(covers_mean) <= 0.99
    assert 0.90 <= np.mean(covers_new) <= 0.99
    assert np.mean(tells_apart) <= 0.10
    assert np.mean(covers_mean, axis=0).min() > 0.75  # and for none of the pairs much more rarely
