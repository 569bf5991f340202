"""Fixtures that several test files use."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from embedkit import Embedding


class Ran(NamedTuple):
    code: int
    out: str
    err: str


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


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test looks into, or leaves anything in, the cache of whoever runs it."""
    monkeypatch.setenv("EMBEDKIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


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


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, royals: Embedding, tmp_path: Path
) -> Callable[..., Ran]:
    """Run the program on the royals, in this process."""
    (entry,) = entry_points(group="console_scripts", name="embedkit")
    main: Callable[[list[str]], int] = entry.load()
    royals.save(tmp_path / "royals.safetensors")
    monkeypatch.setenv("EMBEDKIT_VECTORS", str(tmp_path / "royals.safetensors"))
    monkeypatch.chdir(tmp_path)

    def run(*args: str, stdin: str | bytes = "") -> Ran:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
        capsys.readouterr()
        code = main(list(args))
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run
