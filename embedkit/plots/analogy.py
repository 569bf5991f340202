"""Analogies as parallelograms: a - b + c lands where d should be (Mikolov, Yih & Zweig 2013, N13-1090, figure 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.errors import BadInput
from embedkit.plots.colours import PALETTE
from embedkit.plots.figures import DARK, LIGHT, Theme, new_figure, set_limits, text_of
from embedkit.plots.labels import write_beside

if TYPE_CHECKING:
    from embedkit.plots.told import AnalogyFigure

Doubles = npt.NDArray[np.float64]

_MOST = len(PALETTE)


def analogy_arrows(
    embedding: Embedding,
    questions: Sequence[tuple[str, str, str]],
    *,
    title: str = "",
    size: tuple[float, float] = (7.5, 5.5),
    dark: bool = False,
) -> AnalogyFigure:
    """Draw what ``a - b + c`` does: the arrow from b to a, the same arrow from c, and the word nearest to its tip.

    Words are rows at length 1. One question is drawn in the plane of a, b and c, in which lengths and angles are those
    of the space; several in the plane that explains most of the variance of theirs. The tip (a cross) is a - b + c
    exactly, so that both arrows are always parallel and of one length; the answer lies outside of the plane in general
    and is drawn straight above or below it, with its cosine with a - b + c beside it.

    Parameters
    ----------
    embedding
        Word vectors.
    questions
        Up to 20 of (a, b, c), as in ``("king", "man", "woman")``. The answer is `embedkit.Search.analogies`' first one,
        inputs excluded.
    title
        Written above; by default the questions.
    size
        Width and height in inches.
    dark
        Light on dark.

    Returns
    -------
    AnalogyFigure
        A `matplotlib.figure.Figure`, made without pyplot. Its ``answers`` are the words found, one a question.

    Raises
    ------
    BadInput
        No questions or too many, or words whose vectors are the same or zero.
    UnknownWord
        Naming every word that is not there.

    Examples
    --------
    >>> emb = Embedding(["king", "queen", "man", "woman"], [[1, 1, 0], [1, 0, 1], [0, 1, 0], [0, 0, 1]])
    >>> analogy_arrows(emb, [("king", "man", "woman")]).answers
    ['queen']
    """
    from embedkit.search import Search

    asked = [tuple(question) for question in questions]
    if not 0 < len(asked) <= _MOST or any(len(question) != 3 for question in asked):
        raise BadInput(f"questions are 1 to {_MOST} of three words each, a, b, c of a - b + c")
    found = Search(embedding).analogies(asked, 1)
    answers = [label for label in found.best if label is not None]
    if len(answers) < len(asked):
        raise BadInput("there is no answer: every word with a vector is one of the question's own")
    rows = [embedding.rows(question) for question in asked]
    units = embedding.unit
    corners = np.stack([units._decoded(row).astype(np.float64) for row in rows])  # (m, 3, d)
    tips = corners[:, 0] - corners[:, 1] + corners[:, 2]
    ends = units[answers].astype(np.float64)
    plane, middle = _plane(np.concatenate([corners.reshape(-1, corners.shape[2]), tips]))
    flat = (corners - middle) @ plane.T
    figure = _draw(flat, (tips - middle) @ plane.T, (ends - middle) @ plane.T, asked, answers, found, title, size, dark)
    figure.answers = answers
    return figure


def _plane(points: Doubles) -> tuple[Doubles, Doubles]:
    """Two directions, (2, d), along which the points vary most, and their mean."""
    middle = points.mean(axis=0)
    _, lengths, directions = np.linalg.svd(points - middle, full_matrices=False)
    if lengths[0] < 1e-9:
        raise BadInput("the words all have one vector: there is no arrow between them")
    plane = directions[:2]
    if len(plane) < 2:
        raise BadInput("vectors of one dimension have no plane to draw in")
    # A sign is free: let the largest part be positive, so that the same words always look the same.
    signs = np.sign(plane[np.arange(2), np.abs(plane).argmax(axis=1)])
    made: Doubles = plane * signs[:, None]
    return made, middle


def _draw(
    flat: Doubles,
    tips: Doubles,
    ends: Doubles,
    asked: Sequence[tuple[str, ...]],
    answers: Sequence[str],
    found: Any,
    title: str,
    size: tuple[float, float],
    dark: bool,
) -> AnalogyFigure:
    from embedkit.plots.told import AnalogyFigure

    theme = DARK if dark else LIGHT
    figure, frame = new_figure(AnalogyFigure, size, theme)
    figure.subplots_adjust(left=0.03, right=0.97, bottom=0.08, top=0.92)
    every = np.concatenate([flat.reshape(-1, 2), tips, ends])
    low, high = every.min(axis=0), every.max(axis=0)
    room = np.maximum((high - low) * (0.2, 0.14), 0.05)
    set_limits(frame, low - room, high + room)
    frame.set_xticks([])
    frame.set_yticks([])
    for spine in frame.spines.values():
        spine.set_color(theme.faint)
        spine.set_linewidth(0.5)
    for number, (a, b, c) in enumerate(flat):
        colour = PALETTE[number]
        tip, end = tips[number], ends[number]
        _arrow(frame, b, a, colour)
        _arrow(frame, c, tip, colour)
        for start, stop in ((b, c), (a, tip)):
            frame.plot(*np.stack([start, stop]).T, color=theme.faint, linewidth=0.7, linestyle=(0, (4, 4)), zorder=1)
        frame.plot(*np.stack([tip, end]).T, color=colour, linewidth=0.9, linestyle=":", zorder=1)
        frame.plot(*tip, marker="x", color=colour, markersize=7)
    _write(frame, flat, tips, ends, asked, answers, found.scores[:, 0], theme)
    figure.text(
        0.03,
        0.02,
        "× is a − b + c; beside the word nearest to it, its cosine with a − b + c",
        color=theme.faint,
        fontsize=8,
    )
    shown = title or "   ".join(f"{a} − {b} + {c}" for a, b, c in asked[:3]) + ("   …" if len(asked) > 3 else "")
    frame.set_title(text_of(shown), color=theme.ink, loc="left", fontsize=11, parse_math=False)
    return figure


def _arrow(frame: Any, start: Doubles, stop: Doubles, colour: str) -> None:
    style = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.8, "shrinkA": 3, "shrinkB": 3, "mutation_scale": 14}
    frame.annotate("", stop, start, arrowprops=style, zorder=3)


def _write(
    frame: Any,
    flat: Doubles,
    tips: Doubles,
    ends: Doubles,
    asked: Sequence[tuple[str, ...]],
    answers: Sequence[str],
    scores: Doubles,
    theme: Theme,
) -> None:
    """A dot and its word once for each: first the answers with their cosines, then the words asked with."""
    places = {answers[j]: (ends[j], f"{answers[j]}  {scores[j]:.3f}", PALETTE[j]) for j in range(len(answers))}
    for words, points in zip(asked, flat, strict=True):
        for word, point in zip(words, points, strict=True):
            places.setdefault(word, (point, word, theme.ink))
    points = np.array([point for point, _, _ in places.values()])
    frame.scatter(*points.T, c=[colour for _, _, colour in places.values()], s=30, zorder=4)
    steps = np.linspace(0, 1, 60)[:, None]
    arrows = [b + steps * (a - b) for a, b, _ in flat]
    arrows += [c + steps * (tip - c) for (_, _, c), tip in zip(flat, tips, strict=True)]
    texts = [text for _, text, _ in places.values()]
    write_beside(frame, points, texts, theme, under=np.concatenate(arrows), font=11, bold=range(len(set(answers))))
