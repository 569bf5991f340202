"""What every Embedder promises. A new one enters by being listed once in `EMBEDDERS`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from sklearn.base import clone

import embedkit
from embedkit import (
    GAN,
    PCA,
    TSNE,
    UMAP,
    VAE,
    AdversarialAutoencoder,
    Autoencoder,
    Corpus,
    Embedder,
    Embedding,
    Word2Vec,
)
from embedkit.text.kingdom import kingdom
from embedkit.words import PPMI, GloVe
from embedkit.words.fasttext import FastText


class Entry(NamedTuple):
    """An embedder of fixed seed, quick to fit, and data for it."""

    make: Callable[[], Any]
    data: Callable[[], Any]


def some_rows() -> Embedding:
    values = np.random.default_rng(0).normal(size=(40, 6))
    return Embedding(None, values, columns={"parity": np.arange(40) % 2})


WORDS = {
    "FastText": Entry(lambda: FastText(vector_size=8, epochs=1, bucket=500, random_state=1), lambda: kingdom(300)),
    "GloVe": Entry(lambda: GloVe(vector_size=16, epochs=2, random_state=1), lambda: kingdom(300)),
    "PPMI": Entry(lambda: PPMI(vector_size=8, random_state=1), lambda: kingdom(300)),
    "Word2Vec": Entry(lambda: Word2Vec(vector_size=16, epochs=1, random_state=1), lambda: kingdom(300)),
}
SMALL: dict[str, Any] = {"epochs": 2, "hidden": (8,), "n_jobs": 1, "random_state": 1}
ROWS = {
    "AdversarialAutoencoder": Entry(lambda: AdversarialAutoencoder(2, **SMALL), some_rows),
    "Autoencoder": Entry(lambda: Autoencoder(2, **SMALL), some_rows),
    "PCA": Entry(lambda: PCA(n_components=2, random_state=1), some_rows),
    "UMAP": Entry(lambda: UMAP(n_neighbors=5, n_epochs=20, random_state=1), some_rows),
    "VAE": Entry(lambda: VAE(2, **SMALL), some_rows),
}
# They place the rows that they are fitted to, and no others.
MAPS = {"TSNE": Entry(lambda: TSNE(perplexity=5.0, max_iter=250, random_state=1), some_rows)}
# They make rows out of nothing, and no vectors of rows.
GENERATORS = {"GAN": Entry(lambda: GAN(2, **SMALL), some_rows)}
VECTORS = {**WORDS, **ROWS, **MAPS}
EMBEDDERS = {**VECTORS, **GENERATORS}

every = pytest.mark.parametrize("entry", EMBEDDERS.values(), ids=EMBEDDERS)
every_with_vectors = pytest.mark.parametrize("entry", VECTORS.values(), ids=VECTORS)
every_generator = pytest.mark.parametrize("entry", GENERATORS.values(), ids=GENERATORS)
every_word_trainer = pytest.mark.parametrize("entry", WORDS.values(), ids=WORDS)
every_row_embedder = pytest.mark.parametrize("entry", ROWS.values(), ids=ROWS)
every_with_rows = pytest.mark.parametrize("entry", [*ROWS.values(), *MAPS.values()], ids=[*ROWS, *MAPS])
every_with_transform = pytest.mark.parametrize("entry", [*WORDS.values(), *ROWS.values()], ids=[*WORDS, *ROWS])


def test_every_embedder_is_listed() -> None:
    for module in pkgutil.walk_packages(embedkit.__path__, "embedkit."):
        if not module.name.startswith("embedkit.cli"):
            importlib.import_module(module.name)

    def concrete(cls: type[Any]) -> set[str]:
        children: list[type[Any]] = cls.__subclasses__()
        below = {name for child in children for name in concrete(child)}
        own = cls.__module__.startswith("embedkit.") and not inspect.isabstract(cls)
        return below | ({cls.__name__} if own else set())

    assert concrete(Embedder) == set(EMBEDDERS)


@every
def test_it_is_a_final_embedder(entry: Entry) -> None:
    embedder = entry.make()
    assert isinstance(embedder, Embedder)
    assert vars(type(embedder))["__final__"]


@every
def test_fit_returns_self_and_learns_only_attributes_that_say_so(entry: Entry) -> None:
    embedder = entry.make()
    before = set(vars(embedder))
    assert embedder.fit(entry.data()) is embedder
    learned = set(vars(embedder)) - before
    assert learned
    assert all(name.endswith("_") or name.startswith("_") for name in learned)
    assert any(name.endswith("_") and not name.startswith("_") for name in learned)


@every
def test_the_constructor_only_assigns(entry: Entry) -> None:
    """scikit-learn's clone compares by identity."""
    cls = type(entry.make())
    names = list(inspect.signature(cls).parameters)
    values = {name: object() for name in names}
    assert vars(cls(**values)) == values


@every
def test_parameters_can_be_read_set_and_cloned(entry: Entry) -> None:
    embedder = entry.make()
    assert set(embedder.get_params()) == set(inspect.signature(type(embedder)).parameters)
    copy = clone(embedder)
    assert copy is not embedder
    assert copy.get_params() == embedder.get_params()
    assert copy.set_params(random_state=5) is copy
    assert copy.get_params()["random_state"] == 5
    with pytest.raises(ValueError, match="nonsense"):
        copy.set_params(nonsense=1)


@every_with_vectors
def test_a_seed_repeats_bit_for_bit(entry: Entry) -> None:
    first, second = (entry.make().fit_transform(entry.data()) for _ in range(2))
    assert first == second


@every_with_vectors
def test_fitting_again_forgets_the_first_fit(entry: Entry) -> None:
    embedder = entry.make()
    once = embedder.fit_transform(entry.data())
    assert embedder.fit_transform(entry.data()) == once


@every_with_transform
def test_transform_before_fit_is_refused(entry: Entry) -> None:
    # Both embedkit's NotFitted and scikit-learn's NotFittedError are ValueError and AttributeError.
    with pytest.raises(ValueError, match="not fitted") as error:
        entry.make().transform(["king"])
    assert isinstance(error.value, AttributeError)


@every
def test_the_docstring_names_every_parameter_and_what_is_learned(entry: Entry) -> None:
    cls = type(entry.make())
    text = inspect.getdoc(cls) or ""
    parameters = text.partition("Parameters\n---")[2].partition("Attributes\n---")[0]
    for name in inspect.signature(cls).parameters:
        assert name in parameters
    assert "Examples\n---" in text


@every_with_vectors
def test_what_it_makes_says_what_made_it(entry: Entry) -> None:
    made = entry.make().fit_transform(entry.data())
    assert made.provenance["made_by"] == type(entry.make()).__name__
    assert made.provenance["parameters"]["random_state"] == 1


@every_with_vectors
def test_what_it_makes_can_be_saved(entry: Entry, tmp_path: Any) -> None:
    made = entry.make().fit_transform(entry.data())
    made.save(tmp_path / "made")
    again = embedkit.load(tmp_path / "made", verify=True)
    assert again == made
    assert again.provenance == made.provenance


@every_word_trainer
def test_a_word_trainer_gives_an_embedding_with_counts(entry: Entry) -> None:
    trainer = entry.make()
    made = trainer.fit_transform(entry.data())
    assert isinstance(made, Embedding)
    assert made is trainer.embedding_
    counts = made.columns["count"]
    assert (np.diff(counts) <= 0).all()
    assert trainer.transform(["king", "queen"]) == made.take(made.rows(["king", "queen"]))
    if "epochs" in trainer.get_params():
        assert [entry["epoch"] for entry in trainer.history_] == list(range(1, trainer.epochs + 1))


@every_word_trainer
def test_a_word_trainer_takes_nothing_but_a_corpus(entry: Entry) -> None:
    for wrong in ("king man woman", ["king"], iter([["king"]]), None):
        with pytest.raises(ValueError, match="Corpus"):
            entry.make().fit(wrong)
    with pytest.raises(ValueError, match="0 of 0 words"):
        entry.make().fit(Corpus([]))


@every_with_rows
def test_what_comes_in_labelled_goes_out_labelled(entry: Entry) -> None:
    rows = entry.data()
    made = entry.make().fit_transform(rows)
    assert isinstance(made, Embedding)
    assert made.labels == rows.labels
    assert made.columns["parity"].tolist() == rows.columns["parity"].tolist()
    frame = rows.to_frame().drop(columns="parity")
    embedder = entry.make()
    framed = embedder.fit(frame).transform(frame) if hasattr(embedder, "transform") else embedder.fit_transform(frame)
    assert framed.index.equals(frame.index)
    plain = entry.make().fit_transform(rows.vectors)
    assert isinstance(plain, np.ndarray)
    np.testing.assert_allclose(made.vectors, plain, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(framed.to_numpy(), plain, rtol=1e-5, atol=1e-6)


@every_row_embedder
def test_a_point_is_transformed_alike_alone_and_in_any_batch(entry: Entry) -> None:
    rows = entry.data().vectors
    embedder = entry.make().fit(rows)
    together = embedder.transform(rows)
    order = np.random.default_rng(1).permutation(len(rows))
    np.testing.assert_allclose(embedder.transform(rows[order]), together[order], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(embedder.transform(rows[3:4]), together[3:4], rtol=1e-9, atol=1e-12)


@every_with_rows
def test_rows_it_cannot_use_are_refused(entry: Entry) -> None:
    rows = np.array(entry.data().vectors)
    embedder = entry.make().fit(rows)
    if hasattr(embedder, "transform"):
        with pytest.raises(ValueError, match="feature"):
            embedder.transform(rows[:, :-1])
    rows[2, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        entry.make().fit(rows)
    with pytest.raises(ValueError, match="sample"):
        entry.make().fit(rows[:1])


@every_generator
def test_a_generator_repeats_its_samples_and_has_no_vectors(entry: Entry) -> None:
    one, two = (entry.make().fit(entry.data()) for _ in range(2))
    assert np.array_equal(one.sample(5, random_state=2), two.fit(entry.data()).sample(5, random_state=2))
    assert not hasattr(one, "transform")
    with pytest.raises(ValueError, match="not fitted") as error:
        entry.make().sample(1)
    assert isinstance(error.value, AttributeError)
