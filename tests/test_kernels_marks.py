"""Marks: never say that a row is absent that is there."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from embedkit.kernels.marks import add_marks, at_most, clear_marks, new_marks

ROWS = st.lists(st.integers(0, 1 << 40), max_size=60)


@given(ROWS, ROWS, st.integers(1, 40))
def test_no_row_was_counted_more_often_than_its_mark_says(rows: list[int], others: list[int], width: int) -> None:
    places = np.array(rows, dtype=np.int64) * 16 * width
    marks = new_marks()
    add_marks(marks, places, 0, len(places))
    assert all(at_most(marks, place) >= np.count_nonzero(places == place) for place in places)
    clear_marks(marks, places, 0, len(places))
    assert all(at_most(marks, place) == 0 for place in [*places, *others])


def test_few_rows_share_a_mark(rng: np.random.Generator) -> None:
    for width in (1, 7, 64):
        places = rng.choice(1_000_000, 40_000, replace=False) * 16 * width
        marks = new_marks()
        add_marks(marks, places, 0, 40)
        absent = [at_most(marks, place) > 0 for place in places[40:4000]]
        assert np.mean(absent) < 0.08  # 40 of 1,024 marks
