"""Expressions: the grammar, the arithmetic, and the queries that are asked with them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedkit import Embedding, Search
from embedkit.errors import BadInput, UnknownWord
from embedkit.search.expression import Call, Label, Node, Sum, evaluate, labels_of, parse

VECTORS = {name: np.array(values) for name, values in {"x": [1.0, 2.0], "y": [3.0, -1.0], "z": [0.5, 4.0]}.items()}
X, Y, Z = VECTORS.values()


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("king", Label("king")),
        ("  king ", Label("king")),
        ("king - man", Sum(((1.0, Label("king")), (-1.0, Label("man"))))),
        ("king -man", Sum(((1.0, Label("king")), (-1.0, Label("man"))))),
        ("king-man", Label("king-man")),
        ("c++ + 3.14", Sum(((1.0, Label("c++")), (1.0, Label("3.14"))))),
        ("-king", Sum(((-1.0, Label("king")),))),
        ("+king", Label("king")),
        ("king's", Label("king's")),
        ("0.5*king", Sum(((0.5, Label("king")),))),
        ("2 * .5 * 1e1*king", Sum(((10.0, Label("king")),))),
        ('"new york"', Label("new york")),
        (r'"a \"b\" \\"', Label(r'a "b" \\'.replace("\\\\", "\\"))),
        ('"king - man"', Label("king - man")),
        ("(king)", Label("king")),
        ("mean", Label("mean")),
        ("mean(king)", Call("mean", (Label("king"),))),
        ("interpolate(a, b, -0.25)", Call("interpolate", (Label("a"), Label("b")), -0.25)),
        ("project(a, b - c)", Call("project", (Label("a"), Sum(((1.0, Label("b")), (-1.0, Label("c"))))))),
        ("naïve + 語", Sum(((1.0, Label("naïve")), (1.0, Label("語"))))),
    ],
)
def test_text_is_parsed(text: str, node: Node) -> None:
    assert parse(text) == node


@pytest.mark.parametrize(
    ("text", "character", "found"),
    [
        ("", 1, "the end"),
        ("king -", 7, "the end"),
        ("king man", 6, "'m'"),
        ("king - - man", 8, "'-'"),
        ("king - * man", 8, "'*'"),
        ("(king", 6, "the end"),
        ("king)", 5, "')'"),
        ("()", 2, "')'"),
        ("shout(king)", 1, "'s'"),
        ('king - "man', 8, "'\"'"),
        ("project(king)", 13, "')'"),
        ("project(a, b, c)", 13, "','"),
        ("interpolate(a, b)", 17, "')'"),
        ("interpolate(a, b, c)", 19, "'c'"),
        ("mean(a,)", 8, "')'"),
        ("2*", 3, "the end"),
        ("king, man", 5, "','"),
    ],
)
def test_an_error_names_the_character(text: str, character: int, found: str) -> None:
    with pytest.raises(BadInput, match="expected") as error:
        parse(text)
    assert f"character {character}: expected" in str(error.value)
    assert str(error.value).endswith(f"found {found}")


@pytest.mark.parametrize("text", ["(" * 60 + "x" + ")" * 60, "x + " * 20_000 + "x", "1e300*1e300*x"])
def test_what_is_too_deep_too_long_or_too_large_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        parse(text)


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused_in_one_line(text: str) -> None:
    refused = None
    try:
        names = list(labels_of(parse(text)))
    except BadInput as error:
        refused = error
    assert str(refused).isprintable() if refused else names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x - y + z", X - Y + Z),
        ("x - (y + z)", X - (Y + Z)),
        ("-2*x + 0.5*y", -2 * X + 0.5 * Y),
        ("mean(x, y, z)", (X + Y + Z) / 3),
        ("mean(x, x - y)", (X + X - Y) / 2),
        ("project(x, y)", Y * (X @ Y) / (Y @ Y)),
        ("reject(x, y)", X - Y * (X @ Y) / (Y @ Y)),
        ("project(x, y) + reject(x, y)", X),
        ("project(x, y - y)", 0 * X),
        ("reject(x, y - y)", X),
        ("interpolate(x, y, 0.25)", 0.75 * X + 0.25 * Y),
        ("interpolate(x, y, 0)", X),
        ("3*(x - y)", 3 * (X - Y)),
    ],
)
def test_arithmetic_is_that_of_numpy(text: str, expected: npt.NDArray[np.float64]) -> None:
    np.testing.assert_allclose(evaluate(parse(text), VECTORS), expected, rtol=1e-15, atol=1e-15)


@pytest.fixture
def some() -> Embedding:
    values = np.random.default_rng(1).normal(size=(300, 12)) * np.linspace(0.1, 10, 300)[:, None]
    return Embedding([f"w{i}" for i in range(300)], values)


@pytest.mark.parametrize("exclude", [True, False])
def test_a_difference_and_a_sum_agree_with_the_analogy_to_the_last_digit(some: Embedding, exclude: bool) -> None:
    rng = np.random.default_rng(2)
    questions = [tuple(f"w{i}" for i in row) for row in rng.integers(0, 300, (40, 3))]
    search = Search(some)
    by_analogy = search.analogies(questions, 7, exclude_inputs=exclude)
    by_expression = search.solve([f"{a} - {b} + {c}" for a, b, c in questions], 7, exclude_inputs=exclude)
    assert np.array_equal(by_analogy.rows, by_expression.rows)
    assert np.array_equal(by_analogy.scores, by_expression.scores, equal_nan=True)


@pytest.mark.parametrize("unit", [True, False])
def test_solve_is_nearest_to_what_combine_gives(some: Embedding, unit: bool) -> None:
    search = Search(some)
    texts = ["w1 + 2*w2 - w3", "mean(w4, w5)", "reject(w6, w7)", "w8"]
    vectors = search.combine(texts, unit=unit)
    source = some.unit if unit else some
    expected = source["w1"].astype(float) + 2 * source["w2"].astype(float) - source["w3"].astype(float)
    np.testing.assert_allclose(vectors[0], expected, rtol=1e-14)
    solved = search.solve(texts, 5, unit=unit, exclude_inputs=False)
    assert np.array_equal(solved.rows, search.nearest(vectors, 5).rows)
    assert not set(search.solve(["w1 + w2"], 300).rows[0].tolist()) & {1, 2}


def test_unknown_labels_of_all_expressions_are_named(some: Embedding) -> None:
    search = Search(some)
    with pytest.raises(UnknownWord) as error:
        search.solve(["w1 + king", "mean(queen, w2)"])
    assert error.value.missing == ("king", "queen")
    found = search.solve(["w1 + king", "w1"], 2, missing="skip")
    assert found.unknown == ("king",)
    assert found.best[0] is None
    assert found.best[1] == search.similar(["w1"], 1).best[0]
    assert Search(Embedding([], np.empty((0, 3)))).solve(["a"], missing="skip").best == [None]
    with pytest.raises(BadInput, match="list"):
        search.solve("w1 + w2")


def test_similarity_of_pairs(some: Embedding) -> None:
    with_zero = some.concat(Embedding(["zero"], np.zeros((1, 12))))
    search = Search(with_zero)
    a, b = (some[name].astype(float) for name in ("w1", "w2"))
    cosines = search.similarity([("w1", "w2"), ("w2", "w1"), ("w3", "w3"), ("w1", "zero")])
    assert cosines[0] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-7)
    assert cosines[0] == cosines[1]
    assert cosines[2] == pytest.approx(1, abs=1e-15)
    assert cosines[3] == 0
    assert np.isnan(search.similarity([("w1", "king")], missing="nan")).tolist() == [True]
    assert search.similarity([]).shape == (0,)
    with pytest.raises(UnknownWord):
        search.similarity([("w1", "king")])
    with pytest.raises(BadInput, match="pair 0 has 3 words, expected two"):
        search.similarity([("w1", "w2", "w3")])
    with pytest.raises(BadInput, match="missing"):
        search.similarity([], missing="drop")  # type: ignore[arg-type]


def test_the_odd_one_out_has_the_lowest_cosine_with_the_mean() -> None:
    emb = Embedding(["a", "b", "c", "odd"], [[1.0, 0.1], [1.0, 0.0], [1.0, -0.1], [-0.2, 1.0]])
    search = Search(emb)
    assert search.odd_one_out([["a", "odd", "b", "c"], ["a", "b", "odd"]]) == ["odd", "odd"]
    assert search.odd_one_out([]) == []
    with pytest.raises(BadInput, match="group 0 has 1 labels"):
        search.odd_one_out([["a"]])
    with pytest.raises(UnknownWord, match="nobody"):
        search.odd_one_out([["a", "nobody"]])


def test_the_odd_one_out_is_gensim_s(some: Embedding) -> None:
    keyed = some.to_gensim()
    groups = [[f"w{i}" for i in row] for row in np.random.default_rng(3).permuted(np.arange(300).reshape(50, 6))]
    assert Search(some).odd_one_out(groups) == [keyed.doesnt_match(group) for group in groups]


@pytest.mark.parametrize("exclude", [True, False])
def test_the_rank_of_a_label_is_its_place_among_all_answers(some: Embedding, exclude: bool) -> None:
    # Rows that tie, and one of zeros.
    tied = Embedding([f"t{i}" for i in range(20)], np.asarray(some.vectors[:4].repeat(5, axis=0)))
    emb = some.concat(tied, Embedding(["zero"], np.zeros((1, 12))))
    search = Search(emb)
    texts = ["w0 - w1 + w2", "mean(w3, w4)", "w0"]
    answers = search.solve(texts, len(emb), exclude_inputs=exclude)
    for i, text in enumerate(texts):
        labels = list(emb)
        ranks = search.rank_of([text] * len(labels), labels, exclude_inputs=exclude)
        places = {row: place + 1 for place, row in enumerate(answers.rows[i].tolist()) if row >= 0}
        assert ranks.tolist() == [places.get(row, 0) for row in range(len(emb))]
    assert search.rank_of(["w0 - w0"], ["w1"]).tolist() == [0]
    with pytest.raises(BadInput, match="2 expressions for 1 labels"):
        search.rank_of(["w0", "w1"], ["w2"])


def test_many_expressions_come_to_what_each_comes_to_alone(rng: np.random.Generator) -> None:
    search = Search(Embedding(None, rng.normal(size=(50, 30))))
    forms = [
        "{} - {} + {}",
        "{} + 0.3*{} - {}",
        "mean({}, {}, {}) - {}",
        "project({}, {} - {})",
        "reject(2*{}, {})",
        "interpolate({}, {} + {}, 0.3)",
        "interpolate({}, {} + {}, 0.7)",
        "{} - (mean({}) - project({}, {}))",
    ]
    texts = [form.format(*rng.integers(0, 50, 5)) for _ in range(10) for form in forms]
    for unit in (True, False):
        together = search.combine(texts, unit=unit)
        alone = [search.combine([text], unit=unit)[0] for text in texts]
        assert together.tobytes() == np.array(alone).tobytes()
