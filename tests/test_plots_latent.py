"""Pictures of latent models: the right numbers at the right place, no global state, the same bytes each time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.figure import Figure

from embedkit import PCA, Embedding, images, plots
from embedkit.errors import BadInput
from embedkit.images import Images
from embedkit.latent import Autoencoder
from embedkit.latent.anomalies import AnomalyDetector
from embedkit.latent.classify import EncoderClassifier
from embedkit.latent.compression import rate_distortion
from embedkit.latent.efficiency import RowsSVM, label_efficiency
from embedkit.latent.responses import TopRows, invariance, top_rows
from embedkit.latent.stimuli import Stimuli
from embedkit.latent.units import UnitReport, concept_units
from embedkit.plots.pictures import pictures_of, tiled

Array = npt.NDArray[Any]


@pytest.fixture(scope="module")
def digits() -> Images:
    return images.named("digits")


@pytest.fixture(scope="module")
def components(digits: Images) -> PCA:
    return PCA(6).fit(digits.to_embedding())


@pytest.fixture(scope="module")
def report(digits: Images, components: PCA) -> UnitReport:
    rows = digits.to_embedding()
    train, test = rows.head(1200), rows.take(range(1200, 1797))
    models = {"components": components}
    return concept_units(models, train, train.columns["class"], test, test.columns["class"], controls=["guessing"])


def texts(figure: Figure) -> str:
    """All that is written in a figure."""
    from matplotlib.text import Text

    figure.canvas.draw()
    return " | ".join(text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text())


def shown(figure: Figure) -> list[Array]:
    """The rasters of a figure."""
    return [np.ma.filled(np.ma.asarray(image.get_array()), np.nan) for axes in figure.axes for image in axes.images]


def test_a_notebook_shows_figures_without_setting_pyplot_up(digits: Images) -> None:
    from IPython.core.formatters import DisplayFormatter

    given, _ = DisplayFormatter().format(plots.picture_grid(digits.head(2)))  # type: ignore[no-untyped-call]
    assert given["image/png"].startswith(b"\x89PNG")


HISTORY = [
    {"epoch": e, "loss": 5.0 / e, "reconstruction": 4.0 / e, "kl": 1.0 / e, "beta": 1.0, "validation_loss": 6.0 / e,
     "kl_per_unit": [0.1 * e, 0.0, 0.3], "learning_rate": 1e-3, "seconds": 1.0}
    for e in (1, 2, 3)
]  # fmt: skip


def every(digits: Images, components: PCA, report: UnitReport) -> dict[str, Figure]:
    rows = digits.to_embedding()
    test = digits.take(range(1200, 1797))
    codes = components.transform(test.to_embedding())
    back = components.inverse_transform(components.transform(rows)).vectors.reshape(-1, 8, 8)
    detector = AnomalyDetector(PCA(6)).fit(rows.head(400))
    found = detector.examine(rows.take(range(400, 500)))
    units = report.of("components")
    top = top_rows(components, test.to_embedding(), [one.unit for one in units], [one.sign for one in units], n=3)
    one, of = np.ones(len(units)), np.array([(u.unit, u.sign) for u in units])
    stimuli = Stimuli(of[:, 0], of[:, 1], test.pixels[: len(units)], one, one, one, one)
    classes = rows.columns["class"]

    class Flat:
        def transform(self, pictures: Any) -> Array:
            return np.asarray(components.transform(np.asarray(pictures).reshape(len(pictures), -1)))

    moved = invariance(Flat(), test.pixels / 255, classes[1200:], units, changes={"turn": (0, 30), "scale": (1.0,)})
    few = label_efficiency(
        components, rows.head(1200), classes[:1200], rows.take(range(1200, 1797)), classes[1200:], sizes=(20, 50),
        draws=2, validation=100, methods={"knn": [EncoderClassifier(components, head="knn")], "svm": [RowsSVM()]},
    )  # fmt: skip
    return {
        "reconstructions": plots.reconstructions(digits.pixels[:4], back[:4]),
        "latent_scatter": plots.latent_scatter(codes, colour="class"),
        "lattice": plots.lattice(digits.pixels[:12].reshape(3, 4, 8, 8)),
        "strips": plots.strips(digits.pixels[:12].reshape(3, 4, 8, 8), names=["a", "b", "c"], along="time"),
        "picture_grid": plots.picture_grid(digits.pixels[:7]),
        "captions": plots.picture_grid(digits.head(5), captions=range(5), columns=3),
        "filters": plots.filters(np.linspace(-1, 1, 48).reshape(3, 4, 4)),
        "loss_curves": plots.loss_curves(HISTORY, best_epoch=2, units={"kl": "nats"}),
        "kl_per_unit": plots.kl_per_unit(HISTORY),
        "anomaly_histogram": plots.anomaly_histogram(found),
        "worst pictures": plots.anomaly_histogram(
            found, pictures=digits.pixels[400:500], anomalous=np.arange(100) < 5, n=4
        ),
        "unit_comparison": plots.unit_comparison(report),
        "unit_sheet": plots.unit_sheet(report, "components", codes.vectors, classes[1200:], test.pixels),
        "without pictures": plots.unit_sheet(report, "components", codes.vectors, classes[1200:]),
        "stimulus_sheet": plots.stimulus_sheet(stimuli, top, test.pixels),
        "invariance_curves": plots.invariance_curves(moved),
        "efficiency_curve": plots.efficiency_curve(few),
        "compression_curve": plots.compression_curve(
            rate_distortion({"own": components}, rows.head(1200), rows.take(range(1200, 1797)), levels=(1, 4))
        ),
    }


@pytest.fixture(scope="module")
def figures(digits: Images, components: PCA, report: UnitReport) -> dict[str, Figure]:
    return every(digits, components, report)


def test_each_is_a_figure_of_its_own_and_pyplot_knows_nothing(figures: dict[str, Figure]) -> None:
    for figure in figures.values():
        assert isinstance(figure, Figure)
        assert figure.axes
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_the_same_picture_has_the_same_bytes(
    figures: dict[str, Figure], digits: Images, components: PCA, report: UnitReport, tmp_path: Path
) -> None:
    codes = components.transform(digits.take(range(1200, 1797)).to_embedding()).vectors
    again = plots.unit_sheet(report, "components", codes, digits.to_embedding().columns["class"][1200:],
                             digits.pixels[1200:])  # fmt: skip
    for number, figure in enumerate((figures["unit_sheet"], again)):
        plots.save_figure(figure, tmp_path / f"{number}.png", dpi=50)
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "1.png").read_bytes()


def test_nothing_that_is_written_leaves_the_figure(figures: dict[str, Figure]) -> None:
    from matplotlib.text import Text

    for name, figure in figures.items():
        figure.canvas.draw()
        width, height = figure.canvas.get_width_height()
        for axes in [*figure.axes, figure]:
            for text in axes.findobj(Text):
                if text.get_visible() and text.get_text().strip() and text.figure is figure:
                    box = text.get_window_extent()
                    if text.get_clip_on() or box.width == 0:
                        continue
                    assert -2 <= box.x0 <= box.x1 <= width + 2, (name, text.get_text())
                    assert -2 <= box.y0 <= box.y1 <= height + 2, (name, text.get_text())


def test_tiles_are_put_row_by_row() -> None:
    pictures = np.arange(5.0)[:, None, None] * np.ones((5, 2, 3))
    whole = tiled(pictures, 3, np.nan)
    assert whole.shape == (2 * 2 + 1, 3 * 3 + 2)
    assert whole[0].tolist()[:3] == [0, 0, 0]
    assert whole[0, 4] == 1
    assert whole[3, 4] == 4
    assert np.isnan(whole[2]).all()
    assert np.isnan(whole[3:, 8:]).all()


@pytest.mark.parametrize(
    ("given", "shape", "leading"),
    [
        (np.zeros((3, 4, 5)), (3, 4, 5), 1),
        (np.zeros((3, 1, 4, 5)), (3, 4, 5), 1),
        (np.zeros((3, 3, 4, 5)), (3, 4, 5, 3), 1),
        (np.zeros((3, 4, 5, 3)), (3, 4, 5, 3), 1),
        (np.zeros((2, 3, 4, 5)), (2, 3, 4, 5), 2),
    ],
)
def test_pictures_of_any_layout_are_understood(given: Array, shape: tuple[int, ...], leading: int) -> None:
    assert pictures_of(given, leading).shape == shape


def test_values_are_drawn_from_0_to_1() -> None:
    assert pictures_of(np.full((1, 2, 2), 255, np.uint8)).max() == 1
    assert pictures_of(np.full((1, 2, 2), 0.25)).max() == 0.25
    scaled = pictures_of(np.array([[[-3.0, 1.0]]]))
    assert scaled.tolist() == [[[0, 1]]]


def test_reconstructions_show_input_output_and_their_difference(digits: Images) -> None:
    inputs = digits.pixels[:3] / 255
    outputs = inputs * 0.5
    figure = plots.reconstructions(inputs, outputs)
    first, second, gap = shown(figure)[:3]
    np.testing.assert_allclose(first[:, :8], inputs[0])
    np.testing.assert_allclose(second[:, 9:17], outputs[1])
    np.testing.assert_allclose(gap[:, :8], -inputs[0] / 2)
    told = texts(figure)
    assert f"{((inputs[1] / 2) ** 2).mean():.4f}" in told
    image = figure.axes[2].images[0]
    assert image.get_clim()[0] == -image.get_clim()[1]  # nothing is white


def test_loss_curves_show_every_part_and_the_best_epoch() -> None:
    figure = plots.loss_curves(HISTORY, best_epoch=2, units={"kl": "nats"})
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
    assert titles == ["loss", "reconstruction", "kl"]
    training, held_out = figure.axes[0].lines[:2]
    assert np.asarray(training.get_xdata()).tolist() == [1, 2, 3]
    assert np.asarray(training.get_ydata()).tolist() == [5.0, 2.5, 5 / 3]
    assert np.asarray(held_out.get_ydata()).tolist() == [6.0, 3.0, 2.0]
    assert "best epoch, 2" in texts(figure)
    assert figure.axes[2].get_ylabel() == "nats"
    only = plots.loss_curves(HISTORY, parts=["beta"])
    assert [axes.get_title(loc="left") for axes in only.axes] == ["beta"]
    words = [{"epoch": n, "loss": 2.0 / n, "alpha": 0.1, "words": 9, "pairs": 30, "counts": 5} for n in (1, 2)]
    assert [axes.get_title(loc="left") for axes in plots.loss_curves(words).axes] == ["loss"]


def test_kl_is_drawn_by_size_at_the_best_epoch() -> None:
    bars: Any = plots.kl_per_unit(HISTORY, best_epoch=2).axes[0].patches
    assert [bar.get_height() for bar in bars] == pytest.approx([0.3, 0.2, 0.0])
    assert "0.5 nats" in texts(plots.kl_per_unit(HISTORY, best_epoch=2))


def test_the_histogram_has_the_threshold_and_the_worst(digits: Images) -> None:
    rows = digits.to_embedding()
    found = AnomalyDetector(PCA(6), false_alarms=0.1).fit(rows.head(400)).examine(rows.take(range(400, 600)))
    figure = plots.anomaly_histogram(found, pictures=digits.pixels[400:600], n=3)
    (line,) = figure.axes[0].lines
    assert np.asarray(line.get_xdata())[0] == found.threshold
    bars: Any = figure.axes[0].patches
    assert sum(bar.get_height() for bar in bars) == pytest.approx(1)
    np.testing.assert_allclose(shown(figure)[0][:, :8], digits.pixels[400 + found.worst(1)[0]] / 255)
    told = texts(figure)
    assert found.labels[found.worst(1)[0]] in told
    assert f"{int(found.anomalous.sum())} of 200 rows" in told
    named = texts(plots.anomaly_histogram(found, n=2))
    assert found.features[found.guilty[found.worst(1)[0], 0]] in named


def test_the_unit_sheet_shows_what_excites_each_unit_most(
    figures: dict[str, Figure], report: UnitReport, digits: Images, components: PCA
) -> None:
    codes = components.transform(digits.take(range(1200, 1797)).to_embedding()).vectors
    for number, unit in enumerate(report.of("components")):
        best = np.argmax(unit.sign * codes[:, unit.unit])
        picture = figures["unit_sheet"].axes[2 * number + 1].images[0].get_array()
        np.testing.assert_allclose(np.ma.filled(np.ma.asarray(picture))[:, :8], digits.pixels[1200 + best] / 255)
    told = texts(figures["unit_sheet"])
    assert f"{report.of('components')[0].accuracy:.3f}" in told


def test_the_comparison_has_means_and_intervals(figures: dict[str, Figure], report: UnitReport) -> None:
    axes = figures["unit_comparison"].axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == sorted(report.sources, key=report.mean)
    dots = [np.asarray(line.get_xdata())[0] for line in axes.lines if line.get_marker() == "o"]
    assert dots == pytest.approx(sorted(report.mean(source) for source in report.sources))


def test_filters_of_a_model_are_its_first_weights(digits: Images) -> None:
    convolutional = Autoencoder(4, channels=(6,), epochs=0, n_jobs=1, random_state=0).fit(digits.head(20))
    weights = next(layer for layer in convolutional.encoder_.modules() if hasattr(layer, "weight")).weight.numpy()
    picture = shown(plots.filters(convolutional, columns=6))[0]
    own = weights[0, 0] / np.abs(weights[0]).max()
    np.testing.assert_allclose(picture[: own.shape[0], : own.shape[1]], 0.5 + own / 2, atol=1e-6)
    dense = Autoencoder(4, architecture="dense", hidden=(5,), epochs=0, n_jobs=1, random_state=0).fit(digits.head(20))
    assert shown(plots.filters(dense, columns=5))[0].shape == (8, 5 * 8 + 4)
    table = Autoencoder(2, epochs=0, n_jobs=1, random_state=0).fit(np.random.default_rng(0).normal(size=(20, 5)))
    with pytest.raises(BadInput, match="does not look at pictures"):
        plots.filters(table)


def test_codes_are_drawn_by_units_or_components(rng: np.random.Generator) -> None:
    codes = Embedding(None, rng.normal(size=(30, 4)) * [5, 1, 3, 0.1], columns={"kind": ["a", "b"] * 15})
    points = np.asarray(plots.latent_scatter(codes, units=(2, 0)).axes[0].collections[0].get_offsets(), dtype=float)
    np.testing.assert_allclose(points, codes.vectors[:, [2, 0]])
    by_components = plots.latent_scatter(codes, colour="kind")
    assert "% of the variance" in texts(by_components)
    with pytest.raises(BadInput, match="units 0 to 3, not 4 and 0"):
        plots.latent_scatter(codes, units=(4, 0))


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.picture_grid(np.zeros((3, 4))), "pictures have 1 axes before"),
        (lambda: plots.picture_grid(np.full((1, 2, 2), np.nan)), "not finite"),
        (lambda: plots.picture_grid(np.zeros((2, 3, 3)), captions=["a"]), "captions as many as the 2"),
        (lambda: plots.picture_grid(np.zeros((2, 2, 3, 4))), "not of 4 channels"),
        (lambda: plots.reconstructions(np.zeros((2, 3, 3)), np.zeros((2, 3, 4))), "not alike"),
        (lambda: plots.strips(np.zeros((2, 2, 3, 3)), names=["a"]), "1 names for 2 strips"),
        (lambda: plots.loss_curves([]), "history is empty"),
        (lambda: plots.loss_curves(HISTORY, parts=["gain"]), "no part 'gain'; there are: loss"),
        (lambda: plots.kl_per_unit([{"epoch": 1, "loss": 1.0}]), "no kl_per_unit"),
        (lambda: plots.filters(np.zeros(3)), "filters have the shape"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        draw()


def test_sheets_of_other_rows_are_refused(report: UnitReport, figures: dict[str, Figure]) -> None:
    with pytest.raises(BadInput, match="of the same rows"):
        plots.unit_sheet(report, "components", np.zeros((5, 6)), np.zeros(4))
    with pytest.raises(BadInput, match="has no single units"):
        plots.unit_sheet(report, "guessing", np.zeros((5, 6)), np.zeros(5))
    one = np.ones(1)
    stimuli = Stimuli(np.zeros(1, int), np.ones(1, int), np.zeros((1, 4, 4)), one, one, one, one)
    with pytest.raises(BadInput, match="1 stimuli, but top rows of 2"):
        plots.stimulus_sheet(stimuli, TopRows(np.zeros((2, 3), int), np.zeros((2, 3))), np.zeros((5, 4, 4)))


def test_words_are_shown_as_they_are(digits: Images) -> None:
    figure = plots.picture_grid(digits.head(1), captions=["$x^2$ \x1b[31m"], title="a_b $c$")
    told = texts(figure)
    assert "$x^2$ \\x1b[31m" in told
    assert "a_b $c$" in told
