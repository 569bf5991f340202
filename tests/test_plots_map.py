"""Pictures of maps and analogies: what is drawn is what is there, and labels do not collide."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from embedkit import Embedding
from embedkit.errors import BadFile, BadInput, UnknownWord
from embedkit.plots import analogy_arrows, save_figure, scatter_map
from embedkit.plots.colours import MOST, PALETTE, REST, as_classes, is_classes
from embedkit.plots.figures import picture_format
from embedkit.plots.labels import place


@pytest.fixture
def cloud(rng: np.random.Generator) -> Embedding:
    kinds = rng.choice(["ant", "bee", "cat"], 200)
    return Embedding(
        [f"p{i}" for i in range(200)], rng.standard_normal((200, 2)), columns={"kind": kinds, "weight": rng.random(200)}
    )


def saved(figure: Any, path: Path) -> np.ndarray:
    save_figure(figure, path)
    with Image.open(path) as picture:
        return np.array(picture.convert("RGB"))


# -- labels ------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(1, 60), st.floats(1, 12))
@settings(max_examples=40)
def test_labels_lie_within_on_nothing_and_near(seed: int, m: int, gap: float) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 500, (m, 2))
    sizes = np.column_stack([rng.uniform(5, 90, m), rng.uniform(8, 14, m)])
    corners = place(points, sizes, (0, 0, 500, 500), rng.uniform(0, 500, (300, 2)), gap)
    boxes = np.concatenate([corners, corners + sizes], axis=1)[~np.isnan(corners[:, 0])]
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= 500).all()
    for i, one in enumerate(boxes):
        for other in boxes[i + 1 :]:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        for x, y in points:
            assert not (one[0] < x < one[2] and one[1] < y < one[3])
    middles = corners + sizes / 2
    reach = np.abs(middles - points) - sizes / 2
    assert np.nanmax(reach, initial=0) <= 10 * gap + 1e-9


def test_a_label_goes_where_fewest_points_are() -> None:
    crowd = np.column_stack([np.linspace(52, 100, 200), np.full(200, 50.0)])  # to the right
    (corner,) = place(np.array([[50.0, 50.0]]), np.array([[30.0, 8.0]]), (0, 0, 200, 100), crowd)
    assert corner[0] + 30 < 50  # it went to the left


def test_a_label_without_room_is_left_out() -> None:
    corners = place(np.full((30, 2), 10.0), np.full((30, 2), 9.0), (0, 0, 20, 20), np.empty((0, 2)))
    assert np.isnan(corners[:, 0]).any()
    assert np.isnan(place(np.array([[5.0, 5.0]]), np.array([[50.0, 5.0]]), (0, 0, 20, 20), np.empty((0, 2)))).all()


def test_written_labels_do_not_overlap_in_the_figure(cloud: Embedding) -> None:
    figure = scatter_map(cloud, notable=120)
    frame = figure.axes[0]
    canvas: Any = figure.canvas
    renderer = canvas.get_renderer()
    figure.draw_without_rendering()
    texts = [one.get_text() for one in frame.texts]
    assert sorted([*texts, *figure.left_out]) == sorted(list(cloud)[:120])
    assert len(texts) > 80
    # Their own boxes, without the lines that lead to some points.
    plain = [Text.get_window_extent(one, renderer) for one in frame.texts]
    for i, one in enumerate(plain):
        assert not any(one.overlaps(other) for other in plain[i + 1 :])
        assert frame.get_window_extent(renderer).contains(*one.min)
        assert frame.get_window_extent(renderer).contains(*one.max)


# -- maps --------------------------------------------------------------------------------------------------------------


def test_points_lie_where_they_are_in_the_colours_of_their_classes(cloud: Embedding) -> None:
    figure = scatter_map(cloud, colour="kind", notable=[])
    (drawn,) = figure.axes[0].collections
    np.testing.assert_allclose(np.asarray(drawn.get_offsets()), cloud.vectors, rtol=1e-6)
    faces: Any = drawn.get_facecolor()
    shades = [to_hex(one) for one in faces]
    expected = dict(zip(["ant", "bee", "cat"], PALETTE, strict=False))
    assert shades == [expected[kind] for kind in cloud.columns["kind"].tolist()]
    counts = dict(zip(*np.unique(cloud.columns["kind"], return_counts=True), strict=True))
    assert [one.get_text() for one in figure.legends[0].get_texts()] == [f"{k} ({n})" for k, n in counts.items()]
    # One unit is as long along both axes.
    frame = figure.axes[0]
    size = frame.get_window_extent()
    spans = [np.ptp(frame.get_xlim()), np.ptp(frame.get_ylim())]
    assert size.width / spans[0] == pytest.approx(size.height / spans[1], rel=1e-3)


def test_numbers_have_a_scale(cloud: Embedding) -> None:
    figure = scatter_map(cloud, colour="weight", dark=True, notable=["p3"])
    drawn = figure.axes[0].collections[0]
    assert np.array_equal(np.asarray(drawn.get_array()), cloud.columns["weight"])
    assert figure.axes[1].get_title(loc="left") == "weight"
    assert [one.get_text() for one in figure.axes[0].texts] == ["p3"]


@pytest.mark.parametrize("odd", [np.nan, np.inf])
@pytest.mark.parametrize("all_of_them", [False, True])
def test_numbers_that_are_not_known_are_grey(cloud: Embedding, tmp_path: Path, odd: float, all_of_them: bool) -> None:
    values = np.where(all_of_them | (np.arange(200) % 2 == 0), odd, cloud.columns["weight"])
    made = Embedding(cloud.labels, cloud.vectors, columns={"n": values})
    figure = scatter_map(made, colour="n", notable=[])
    grey, drawn = figure.axes[0].collections
    assert to_hex(np.asarray(grey.get_facecolor())[0]) == REST
    assert len(np.asarray(grey.get_offsets())) == (200 if all_of_them else 100)
    assert len(np.asarray(grey.get_offsets())) + len(np.asarray(drawn.get_offsets())) == 200
    assert saved(figure, tmp_path / "n.png").std() > 0
    assert saved(scatter_map(made, colour="n", density=True), tmp_path / "n.png").std() > 0


@pytest.mark.parametrize("colour", [None, "kind", "weight"])
def test_a_density_counts_every_point(cloud: Embedding, colour: str | None, tmp_path: Path) -> None:
    figure = scatter_map(cloud, colour=colour, density=True, notable=[])
    (image,) = figure.axes[0].images
    values: Any = np.ma.asarray(image.get_array())
    if colour is None:
        assert values.sum() == 200
    elif colour == "kind":
        assert values.shape[2] == 4
        seen = {to_hex(one[:3]) for one in np.unique(values[values[..., 3] > 0], axis=0)}
        assert set(PALETTE[:3]) <= seen
    else:
        assert 0 < values.min() < values.max() < 1
    # Where the density has something there is a point.
    shape = values.shape[:2]
    (left, right), (low, high) = figure.axes[0].get_xlim(), figure.axes[0].get_ylim()
    columns = ((cloud.vectors[:, 0] - left) / (right - left) * shape[1]).astype(int)
    rows = ((cloud.vectors[:, 1] - low) / (high - low) * shape[0]).astype(int)
    filled = values[..., 3] > 0 if colour == "kind" else ~np.ma.getmaskarray(values)
    assert filled.sum() == len({*zip(rows.tolist(), columns.tolist(), strict=True)})
    assert filled[rows, columns].all()
    assert saved(figure, tmp_path / "d.png").std() > 0


def test_very_many_points_are_a_density_unless_asked_otherwise(
    monkeypatch: pytest.MonkeyPatch, cloud: Embedding
) -> None:
    monkeypatch.setattr("embedkit.plots.scatter.DENSE", 100)
    assert scatter_map(cloud).axes[0].images
    assert not scatter_map(cloud, density=False).axes[0].images


def test_three_dimensions(rng: np.random.Generator, tmp_path: Path) -> None:
    solid = Embedding(None, rng.standard_normal((100, 3)), columns={"kind": ["a", "b"] * 50})
    figure = scatter_map(solid, colour="kind", notable=["3", "5"])
    assert figure.axes[0].name == "3d"
    assert sorted(one.get_text() for one in figure.axes[0].texts) == ["3", "5"]
    assert saved(figure, tmp_path / "t.png").std() > 0
    with pytest.raises(BadInput, match="this one has 3"):
        scatter_map(solid, density=True)


def test_hostile_labels_are_text(tmp_path: Path) -> None:
    evil = ["$\\frac{1}{0}$", "\x1b[31m", "\u202eevil", "{x}", "%s", "a$b", "\\n", "_^_"]
    made = Embedding(evil, np.random.default_rng(0).standard_normal((8, 2)), columns={"$k$": evil})
    figure = scatter_map(made, colour="$k$", title="$t", caption="$c")
    shown = {one.get_text() for one in figure.axes[0].texts}
    assert "$\\frac{1}{0}$" in shown
    assert "\\x1b[31m" in shown
    assert "\\u202eevil" in shown
    assert saved(figure, tmp_path / "e.png").std() > 0


def test_what_cannot_be_drawn_is_refused(cloud: Embedding) -> None:
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: scatter_map(cloud.with_vectors(np.zeros((200, 5)))), "not 5: project first"),
        (lambda: scatter_map(Embedding([], np.zeros((0, 2)))), "no points"),
        (lambda: scatter_map(cloud, colour="kinds"), "no column 'kinds' to colour by; there are: kind, weight"),
        (lambda: scatter_map(cloud, notable=-1), "0 or more, not -1"),
    ]
    for wrong, message in cases:
        with pytest.raises(BadInput, match=message):
            wrong()
    with pytest.raises(UnknownWord, match="nobody"):
        scatter_map(cloud, notable=["nobody"])


def test_an_embedding_draws_itself(royals: Embedding, tmp_path: Path) -> None:
    figure = royals.plot(colour="kind", notable=["king"])
    assert figure.axes[0].name == "3d"
    assert saved(figure, tmp_path / "r.png").std() > 0


@pytest.mark.parametrize("points", [[[1, 1]], [[1, 1], [1, 1]], [[0, 0], [0, 5]], [[1e30, 0], [-1e30, 1]]])
def test_odd_maps_are_drawn(points: Any, tmp_path: Path) -> None:
    made = Embedding(None, points)
    assert saved(scatter_map(made), tmp_path / "o.png").std() > 0
    assert saved(scatter_map(made, density=True), tmp_path / "o.png").std() > 0


# -- colours -----------------------------------------------------------------------------------------------------------


def test_which_columns_are_classes() -> None:
    assert is_classes(np.array(["a", "b"]))
    assert is_classes(np.array([True, False]))
    assert is_classes(np.arange(MOST))
    assert not is_classes(np.arange(MOST + 1))
    assert not is_classes(np.array([0.5]))


def test_the_largest_of_many_classes_are_kept() -> None:
    values = np.repeat([f"c{i:02}" for i in range(30)], np.arange(1, 31))
    made = as_classes(values)
    assert made.names == [*(f"c{i}" for i in range(11, 30)), "11 others"]
    assert made.colours[-1] == REST
    assert len(set(made.colours)) == MOST
    assert np.bincount(made.codes).tolist() == [*range(12, 31), sum(range(1, 12))]
    assert as_classes(np.array(["", "a"])).colours == [REST, PALETTE[0]]


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "svg", "pdf", "jpg", "webp"])
def test_the_same_figure_gives_the_same_bytes(cloud: Embedding, tmp_path: Path, ending: str) -> None:
    for name in ("one", "two"):
        save_figure(scatter_map(cloud, colour="kind"), tmp_path / f"{name}.{ending}")
    first = (tmp_path / f"one.{ending}").read_bytes()
    assert first == (tmp_path / f"two.{ending}").read_bytes()
    assert len(first) > 1000


def test_a_picture_is_saved_whole_or_not_at_all(cloud: Embedding, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not end as pictures do"):
        save_figure(scatter_map(cloud), tmp_path / "x.txt")
    with pytest.raises(BadFile, match="cannot be written"):
        save_figure(scatter_map(cloud), tmp_path / "no" / "x.png")
    assert list(tmp_path.iterdir()) == []
    assert picture_format("A.JPEG") == "jpg"


def test_characters_that_the_font_lacks_are_told_once(tmp_path: Path) -> None:
    figure = scatter_map(Embedding(["\u8bed\u8a00", "\u8bed"], [[0, 0], [1, 1]]))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        save_figure(figure, tmp_path / "x.png")
    assert [str(one.message) for one in caught] == ["the font lacks 2 of the characters, which are drawn as boxes"]


def test_no_window_and_no_global_figure(cloud: Embedding) -> None:
    import subprocess
    import sys

    code = (
        "import sys\nfrom embedkit import Embedding\nfrom embedkit.plots import scatter_map\n"
        "scatter_map(Embedding(None, [[0, 1], [1, 0]]))\nassert 'matplotlib.pyplot' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert scatter_map(cloud) is not scatter_map(cloud)


# -- analogies ---------------------------------------------------------------------------------------------------------


def test_the_parallelogram(royals: Embedding) -> None:
    figure = analogy_arrows(royals, [("king", "man", "woman")])
    assert figure.answers == ["queen"]
    frame = figure.axes[0]
    arrows: list[Any] = [one for one in frame.texts if one.get_text() == ""]
    ends = [(np.asarray(one.xyann), np.asarray(one.xy)) for one in arrows]
    assert len(ends) == 2
    first, second = (tip - start for start, tip in ends)
    np.testing.assert_allclose(first, second, atol=1e-12)  # parallel and of one length
    # In the plane of the three words, lengths are those of the space.
    unit = royals.unit
    (king, man), (woman,) = unit[["king", "man"]].astype(float), unit[["woman"]].astype(float)
    assert np.linalg.norm(first) == pytest.approx(np.linalg.norm(king - man), rel=1e-6)
    assert np.linalg.norm(ends[0][0] - ends[1][0]) == pytest.approx(np.linalg.norm(man - woman), rel=1e-6)
    written = [one.get_text() for one in frame.texts if one.get_text()]
    tip = king - man + woman
    cosine = tip @ unit["queen"] / np.linalg.norm(tip)
    assert sorted(written) == ["king", "man", f"queen  {cosine:.3f}", "woman"]


def test_several_analogies_share_a_plane(royals: Embedding, tmp_path: Path) -> None:
    figure = analogy_arrows(royals, [("king", "man", "woman"), ("queen", "woman", "man")], dark=True, title="both")
    assert figure.answers == ["queen", "king"]
    assert saved(figure, tmp_path / "a.png").std() > 0


def test_analogies_that_cannot_be_drawn(royals: Embedding) -> None:
    same = Embedding(["a", "b", "c", "d"], np.ones((4, 3)))
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: analogy_arrows(royals, []), "1 to 20"),
        (lambda: analogy_arrows(royals, [("king", "man")]), "three words"),  # type: ignore[list-item]
        (lambda: analogy_arrows(same, [("a", "b", "c")]), "one vector"),
        (lambda: analogy_arrows(royals.head(3), [("king", "queen", "man")]), "no answer"),
        (lambda: analogy_arrows(Embedding(["a", "b", "c", "d"], [[1], [2], [-3], [4]]), [("a", "b", "c")]), "plane"),
    ]
    for wrong, message in cases:
        with pytest.raises(BadInput, match=message):
            wrong()
    with pytest.raises(UnknownWord, match="nobody"):
        analogy_arrows(royals, [("king", "man", "nobody")])


# -- into axes of one's own --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", [None, "kind", "weight"])
@pytest.mark.parametrize("density", [False, True])
def test_maps_side_by_side_in_a_figure_of_ones_own(
    cloud: Embedding, colour: str | None, density: bool, tmp_path: Path
) -> None:
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    found = scatter_map(cloud, axes=right, colour=colour, density=density, notable=["p3"], title="one", caption="two")
    figure.draw_without_rendering()
    assert found is figure
    assert found.left_out == []
    assert not left.collections
    assert not left.images
    assert right.get_title(loc="left") == "one"
    assert {text.get_text() for text in right.texts} == {"p3", "two"}
    assert (right.get_legend() is not None) == (colour == "kind")
    scales = 1 if colour == "weight" or (density and colour is None) else 0
    assert len(figure.axes) == 2 + scales
    if not density:
        other = scatter_map(cloud, colour=colour, notable=0)
        alone = other.axes[0]
        assert np.array_equal(right.collections[0].get_offsets(), alone.collections[0].get_offsets())
        other.draw_without_rendering()  # which looks up colours in scales
        assert np.array_equal(right.collections[0].get_facecolor(), alone.collections[0].get_facecolor())
    assert saved(figure, tmp_path / "two.png").std() > 5


def test_a_part_of_a_figure_holds_a_map_and_axes_have_its_dimensions(
    rng: np.random.Generator, cloud: Embedding, tmp_path: Path
) -> None:
    figure = Figure()
    both: Any = figure.subfigures(1, 2)
    one, two = both
    assert scatter_map(cloud, axes=one.subplots(), notable=3) is figure
    solid: Any = two.add_subplot(projection="3d")
    deep = Embedding(None, rng.standard_normal((30, 3)))
    assert scatter_map(deep, axes=solid, notable=0) is figure
    assert saved(figure, tmp_path / "parts.png").std() > 5
    with pytest.raises(BadInput, match="a map of 2 dimensions was given with axes of 3"):
        scatter_map(cloud, axes=solid)
    with pytest.raises(BadInput, match="a map of 3 dimensions was given with axes of 2"):
        scatter_map(deep, axes=Figure().subplots())
