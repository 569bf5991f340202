"""Figures that notebooks show, and that say what was found while they were drawn."""

from __future__ import annotations

import io

from matplotlib.figure import Figure


class ShownFigure(Figure):
    """A figure that a notebook shows when it is a cell's result, whether or not pyplot was set up there."""

    def _repr_png_(self) -> bytes:
        held = io.BytesIO()
        self.savefig(held, format="png", dpi="figure", facecolor=self.get_facecolor())
        return held.getvalue()


class AnalogyFigure(ShownFigure):
    """A figure of `embedkit.plots.analogy_arrows`; `answers` are the words found, one a question."""

    answers: list[str]


class MapFigure(ShownFigure):
    """A figure of `embedkit.plots.scatter_map`; `left_out` are the labels that found no free place."""

    left_out: list[str]
