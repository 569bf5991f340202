"""FastText: gensim's own vectors, unknown words from what was learned of their n-grams, and files that answer alike."""

from __future__ import annotations

import functools
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gensim
import numpy as np
import pytest
from sklearn.base import clone

from embedkit import Corpus, Embedding, Search
from embedkit.embedding import FloatArray
from embedkit.errors import BadFile, BadInput, NotFitted, TrainingDiverged, UnknownWord
from embedkit.files.store import read_tensors, write_tensors
from embedkit.progress import Progress
from embedkit.words import fasttext, gensim_engine
from embedkit.words.fasttext import FastText

STEMS = ["walk", "talk", "jump", "rule", "fight", "build"]
ENDINGS = ["", "s", "ed", "ing", "er"]


@functools.cache
def texts(documents: int = 400, length: int = 12, seed: int = 0) -> list[list[str]]:
    """Each document is about one stem in all its forms, but for one: *building* is never seen."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(documents):
        stem = STEMS[rng.integers(len(STEMS))]
        words = [stem + ENDINGS[ending] for ending in rng.integers(len(ENDINGS), size=length)]
        made.append([word for word in words if word != "building"] + ["the", "naïve"])
    return made


def trainer(**parameters: Any) -> FastText:
    small = {
        "vector_size": 16,
        "window": 3,
        "min_count": 1,
        "epochs": 2,
        "sample": 0,
        "bucket": 2000,
        "random_state": 7,
    }
    return FastText(**{**small, **parameters})


def of_gensim(documents: list[list[str]], fitted: FastText) -> Any:
    """The model that gensim makes with the same parameters."""
    same = fitted.embedding_.provenance["parameters"]
    return gensim.models.FastText(
        documents, **{("seed" if name == "random_state" else name): value for name, value in same.items()}
    )


@functools.cache
def fitted(**parameters: Any) -> FastText:
    return trainer(**parameters).fit(Corpus(texts()))


# -- the vectors are gensim's ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"sg": 1},
        {"hs": 1, "negative": 0},
        {"min_n": 2, "max_n": 4},
        {"min_n": 5, "max_n": 3},
        {"bucket": 17},
        {"sample": 1e-2, "alpha": 0.05, "min_alpha": 0.01},
        {"cbow_mean": 0, "ns_exponent": 0.0, "shrink_windows": False},
        {"max_final_vocab": 10, "min_count": 2},
    ],
    ids=str,
)
def test_the_vectors_are_those_of_gensim_bit_for_bit(parameters: dict[str, Any]) -> None:
    ours = trainer(**parameters).fit(Corpus(texts()))
    model = of_gensim(texts(), ours)
    assert list(ours.embedding_) == model.wv.index_to_key
    assert ours.embedding_.vectors.tobytes() == model.wv.vectors.tobytes()
    assert ours.embedding_.columns["count"].tolist() == [
        model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key
    ]


def test_defaults_are_those_of_gensim_but_for_the_workers() -> None:
    gensims = {name: p.default for name, p in inspect.signature(gensim.models.FastText.__init__).parameters.items()}
    ours = FastText().get_params()
    assert (ours.pop("random_state"), ours.pop("workers"), ours.pop("alpha")) == (None, 1, None)
    assert ours == {name: gensims[name] for name in ours}
    assert trainer(epochs=1).fit_transform(Corpus(texts())).provenance["parameters"]["alpha"] == gensims["alpha"]


def test_long_documents_are_trained_in_full() -> None:
    # gensim itself reads the first 10,000 tokens of a text only.
    words = [word for document in texts(1000) for word in document]
    assert len(words) > gensim_engine.LONGEST_TEXT
    ours = trainer(epochs=1).fit(Corpus([words]))
    assert ours.history_[0]["words"] == len(words)
    assert ours.embedding_.provenance["corpus"]["tokens"] == len(words)


def test_gensim_has_no_loss_for_it_so_none_is_told() -> None:
    told: list[Progress] = []
    ours = trainer(epochs=3).fit(Corpus(texts()), callback=told.append)
    assert [entry["epoch"] for entry in ours.history_] == [1, 2, 3]
    assert {entry["loss"] for entry in ours.history_} == {None}
    assert told
    assert all(np.isnan(event.loss) for event in told)
    assert of_gensim(texts(), ours).get_latest_training_loss() == 0  # what it says instead


def test_a_callback_ends_the_training() -> None:
    ours = trainer(epochs=50).fit(Corpus(texts()), callback=lambda event: event.epoch == 2)
    assert len(ours.history_) < 4
    assert len(ours.embedding_) == len(fitted().embedding_)


class Boom(Exception):
    pass


def test_errors_in_the_text_and_in_the_callback_reach_the_caller() -> None:
    passes = 0

    def documents() -> Iterator[list[str]]:
        nonlocal passes
        passes += 1
        for document in texts():
            yield document
            if passes == 3:
                raise Boom("text")

    def callback(event: Progress) -> None:
        raise Boom("callback")

    for workers in (1, 2):
        passes = 0
        with pytest.raises(Boom, match="text"):
            trainer(workers=workers).fit(Corpus(documents))
        with pytest.raises(Boom, match="callback"):
            trainer(workers=workers).fit(Corpus(texts()), callback=callback)


def test_vectors_that_are_not_finite_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = gensim_engine.train

    def diverging(*arguments: Any) -> gensim_engine.Trained:
        trained = real(*arguments)
        assert trained.subwords is not None
        trained.subwords.rows[0, 0] = np.inf
        return trained

    monkeypatch.setattr(gensim_engine, "train", diverging)
    with pytest.raises(TrainingDiverged, match=r"alpha=0\.025"):
        trainer().fit(Corpus(texts()))


# -- words never seen --------------------------------------------------------------------------------------------------


def test_an_unknown_word_has_gensims_vector_where_all_of_its_ngrams_are_known() -> None:
    # With so few buckets each of them is some word's.
    ours = fitted(bucket=17)
    model = of_gensim(texts(), ours)
    unknown = ["building", "rulers", "überwalkt", "日本語", "a"]
    np.testing.assert_allclose(
        ours.vectors_for(unknown).vectors, np.array([model.wv[word] for word in unknown]), rtol=1e-5, atol=1e-7
    )


def by_hand(ours: FastText, model: Any, word: str) -> FloatArray:
    """The mean of the rows of those n-grams that a word of the training has too, spelled out."""

    def ngrams(text: str) -> list[str]:
        marked = f"<{text}>"
        return [marked[i : i + n] for n in range(3, 7) for i in range(len(marked) - n + 1)]

    seen = {ngram for known in ours.embedding_ for ngram in ngrams(known)}
    hashed = gensim.models.fasttext_inner.ft_hash_bytes
    rows = [model.wv.vectors_ngrams[hashed(ngram.encode()) % 2**20] for ngram in ngrams(word) if ngram in seen]
    mean: FloatArray = np.mean(rows, axis=0)
    return mean


def test_ngrams_that_no_word_has_say_nothing() -> None:
    ours = trainer(bucket=2**20).fit(Corpus(texts()))
    model = of_gensim(texts(), ours)
    for word in ("building", "walkie", "naïveté"):
        np.testing.assert_allclose(ours.vectors_for([word])[word], by_hand(ours, model, word), rtol=1e-5, atol=1e-7)
    assert not np.allclose(ours.vectors_for(["walkie"])["walkie"], model.wv["walkie"], rtol=1e-3)


def test_an_unknown_word_lies_with_its_relatives() -> None:
    ours = fitted(epochs=30, sg=1, bucket=50_000)
    near = Search(ours.embedding_).nearest(ours.vectors_for(["building"]).vectors, k=3)
    assert all(str(label).startswith("build") for label in [answer.label for answer in near])
    searched = Search(ours.extended(["building", "walk"]))
    answers = searched.similar(["building"], k=3, restrict=len(ours.embedding_))
    assert [answer.label for answer in answers] == [answer.label for answer in near]


def test_known_words_keep_their_vectors_and_counts() -> None:
    ours = fitted()
    mixed = ours.transform(["walked", "building", "the"], missing="subword")
    assert list(mixed) == ["walked", "building", "the"]
    assert mixed.columns["count"].tolist() == [*ours.transform(["walked"]).columns["count"], 0, 400]
    np.testing.assert_array_equal(mixed[["walked", "the"]], ours.embedding_[["walked", "the"]])
    assert mixed.provenance["then"] == [{"verb": "vectors_for", "rows": 3, "composed": 1}]
    assert ours.transform(["walked", "the"]) == ours.transform(["walked", "the"], missing="subword")


def test_a_word_is_composed_alike_alone_and_in_any_company() -> None:
    ours = fitted()
    words = ["building", "rulers", "walked", "fighters"]
    together = ours.vectors_for(words)
    for word in words:
        np.testing.assert_array_equal(ours.vectors_for([word])[word], together[word])
    assert ours.vectors_for(words[::-1]) == together.take([3, 2, 1, 0])
    assert ours.vectors_for([]).shape == (0, 16)


def test_words_that_nothing_is_known_of_are_refused_and_named() -> None:
    ours = fitted(bucket=2**20)
    with pytest.raises(UnknownWord) as error:
        ours.vectors_for(["walked", "日本語", "building", "", "\ud800"])
    assert error.value.missing == ("日本語", "", "\ud800")
    with pytest.raises(UnknownWord) as error:
        ours.transform(["walked", "building"])
    assert error.value.missing == ("building",)
    with pytest.raises(UnknownWord, match="walkie"):
        fitted(max_n=0).vectors_for(["walkie"])  # no n-grams at all
    with pytest.raises(BadInput, match="string"):
        ours.vectors_for("building")
    with pytest.raises(BadInput, match="missing is one of"):
        ours.transform(["walked"], missing="skip")  # type: ignore[arg-type]
    with pytest.raises(NotFitted):
        FastText().vectors_for(["walked"])


def test_extended_adds_only_what_is_new() -> None:
    ours = fitted()
    assert ours.extended(["walked", "the"]) is ours.embedding_
    more = ours.extended(["building", "walked", "building"])
    assert list(more) == [*ours.embedding_, "building"]
    assert more.columns["count"][-1] == 0


# -- parameters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "what"),
    [
        ({"min_n": 0}, "min_n must be a whole number from 1"),
        ({"max_n": -1}, "max_n must be a whole number from 0"),
        ({"bucket": 0}, "bucket must be a whole number from 1"),
        ({"bucket": 1.5}, "bucket must be a whole number"),
        ({"negative": 0}, "nothing to train with"),
        ({"sg": 2}, "sg must be 0 or 1"),
        ({"alpha": 0}, "0 < alpha is needed"),
        ({"alpha": 0.01, "min_alpha": 0.02}, "min_alpha <= alpha"),
        ({"vector_size": True}, "vector_size must be a whole number"),
        ({"max_final_vocab": 0}, "max_final_vocab must be"),
        ({"random_state": -1}, "random_state must be"),
        ({"sample": -1}, "sample must be"),
        ({"min_count": 10**6}, "0 of 31 words reach min_count=1000000"),
    ],
    ids=str,
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict[str, Any], what: str) -> None:
    with pytest.raises(BadInput, match=what):
        trainer(**parameters).fit(Corpus(texts()))


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    first, second, other = (trainer(random_state=seed, epochs=1).fit(Corpus(texts())) for seed in (5, 5, 6))
    assert first.embedding_ == second.embedding_
    assert first.vectors_for(["building"]) == second.vectors_for(["building"])
    assert first.embedding_ != other.embedding_
    assert clone(first).get_params() == first.get_params()
    drawn = trainer(random_state=None, epochs=1).fit(Corpus(texts()))
    seed = drawn.embedding_.provenance["parameters"]["random_state"]
    assert trainer(random_state=seed, epochs=1).fit_transform(Corpus(texts())) == drawn.embedding_


def test_an_encoded_corpus_gives_the_same() -> None:
    assert trainer().fit_transform(Corpus(texts()).encode()) == fitted().embedding_


# -- in a file ---------------------------------------------------------------------------------------------------------


def loaded(path: Path) -> FastText:
    return fasttext.from_tensors(read_tensors(path), path, verify=True)


def test_what_is_loaded_answers_alike(tmp_path: Path) -> None:
    ours = fitted(bucket=50_000)
    ours.save(tmp_path / "model")
    again = loaded(tmp_path / "model")
    words = ["walked", "building", "rulers", "naïveté"]
    assert again.embedding_ == ours.embedding_
    assert again.embedding_.provenance == ours.embedding_.provenance
    assert again.vectors_for(words) == ours.vectors_for(words)
    assert again.history_ == ours.history_
    assert again.get_params() == ours.embedding_.provenance["parameters"]
    again.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()
    # Only the rows of n-grams that words have: the other 50,000 are random numbers.
    assert (tmp_path / "model").stat().st_size < 50_000
    with pytest.raises(NotFitted):
        FastText().save(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"buckets": None}, "buckets"),
        ({"ngrams": np.zeros((3, 16), np.float32)}, "'ngrams' is float32 of shape"),
        ({"vectors": np.zeros((31, 15), np.float32)}, "'vectors' is float32 of shape"),
        ({"counts": np.zeros(31, np.int32)}, "'counts' is int32"),
        ({"buckets": "falling"}, "rising numbers below"),
        ({"buckets": "beyond"}, "rising numbers below"),
        ({"ngrams": "nan"}, "not finite"),
        ({"provenance": {"parameters": {"vector_size": 16, "nonsense": 1}}}, "nonsense"),
        ({"provenance": {"parameters": {"vector_size": -1}}}, "vector_size"),
        ({"provenance": {}}, "parameters"),
    ],
    ids=str,
)
def test_a_damaged_file_is_refused(change: dict[str, Any], what: str, tmp_path: Path) -> None:
    fitted().save(tmp_path / "model")
    arrays, about = read_tensors(tmp_path / "model")
    changed: dict[str, Any] = dict(arrays)
    for name, value in change.items():
        if name == "provenance":
            about = {**about, "provenance": value}
        elif value is None:
            del changed[name]
        elif isinstance(value, str):
            array = changed[name].copy()
            if value == "nan":
                array[1, 1] = np.nan
            else:
                array = array[::-1] if value == "falling" else array + 2000
            changed[name] = array
        else:
            changed[name] = value
    write_tensors(changed, {name: about[name] for name in ("class", "provenance")}, tmp_path / "changed")
    with pytest.raises(BadFile, match=what) as error:
        loaded(tmp_path / "changed")
    assert "\n" not in str(error.value)


def test_gensim_is_imported_only_where_it_is_needed(tmp_path: Path) -> None:
    fitted().save(tmp_path / "model")
    program = (
        "import sys; from embedkit.files.store import read_tensors; from embedkit.words import fasttext;"
        f"model = fasttext.from_tensors(read_tensors({str(tmp_path / 'model')!r}), 'model', verify=False);"
        "model.transform(['walked']); model.vectors_for(['walked']); assert 'gensim' not in sys.modules;"
        "model.vectors_for(['building']); assert 'gensim' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_an_embedding_of_its_words_is_a_value_like_any_other(tmp_path: Path) -> None:
    made = fitted().vectors_for(["walked", "building"])
    made.save(tmp_path / "made")
    import embedkit

    again = embedkit.load(tmp_path / "made")
    assert isinstance(again, Embedding)
    assert again == made
