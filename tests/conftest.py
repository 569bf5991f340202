"""Fixtures that several test files use."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from embedkit import Embedding

# A busy machine is slow now and then; that is no failure.
settings.register_profile("embedkit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("embedkit")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data: $EMBEDKIT_DATA, by default ../shared/data beside the checkout."""
    given = os.environ.get("EMBEDKIT_DATA")
    folder = Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        if given:
            pytest.fail(f"EMBEDKIT_DATA is set to {given}, which is no folder")
        pytest.skip("real data is absent: set EMBEDKIT_DATA to the folder that holds corpus/ and eval/")
    return folder


@pytest.fixture
def royals() -> Embedding:
    """Four words whose analogies are exact: two axes of meaning, and one that only 'king' and 'queen' share."""
    return Embedding(
        ["king", "queen", "man", "woman"],
        [[1, 1, 0], [1, 0, 1], [0, 1, 0], [0, 0, 1]],
        columns={"count": [40, 30, 20, 10], "kind": ["royal", "royal", "common", "common"]},
        provenance={"made_by": "hand"},
    )


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
