"""The five steps to a new embedder are right: the one that the documentation shows keeps every promise."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import pairwise_distances
from sklearn.utils.estimator_checks import parametrize_with_checks

ROOT = Path(__file__).parents[1]


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"loaded_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # classes are looked up by the name of their module
    spec.loader.exec_module(module)
    return module


RandomProjection = loaded(ROOT / "docs" / "example" / "random_projection.py").RandomProjection
CONTRACTS = loaded(ROOT / "tests" / "test_contracts.py")


def contracts_of(entry: Any) -> list[Callable[..., None]]:
    """The tests that run for an entry of the table of embedders."""
    return [
        function
        for name, function in vars(CONTRACTS).items()
        if name.startswith("test_")
        for mark in getattr(function, "pytestmark", ())
        if mark.name == "parametrize" and mark.args[0] == "entry" and entry in list(mark.args[1])
    ]


CHECKS = contracts_of(CONTRACTS.ROWS["PCA"])


def test_there_are_promises_to_keep() -> None:
    assert len(CHECKS) >= 12


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_what_every_row_embedder_promises(check: Callable[..., None], tmp_path: Path) -> None:
    entry = CONTRACTS.Entry(lambda: RandomProjection(3, random_state=1), CONTRACTS.some_rows)
    given = {"entry": entry, "tmp_path": tmp_path}
    check(**{name: given[name] for name in inspect.signature(check).parameters})


@parametrize_with_checks([RandomProjection()])  # type: ignore[untyped-decorator]  # scikit-learn has no types
def test_scikit_learns_own_checks_pass(estimator: Any, check: Any) -> None:
    check(estimator)


def test_distances_are_nearly_kept(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(30, 50))
    before, after = (
        pairwise_distances(some)[np.triu_indices(30, 1)]
        for some in (rows, RandomProjection(2000, random_state=0).fit_transform(rows))
    )
    np.testing.assert_allclose(after, before, rtol=0.1)
