"""Files in and out: one module a format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embedkit.formats.native import load, save
from embedkit.formats.reading import read

if TYPE_CHECKING:
    from embedkit.formats.writing import write

__all__ = ["load", "read", "save", "write"]


def __getattr__(name: str) -> Any:
    if name != "write":
        raise AttributeError(f"module 'embedkit.formats' has no attribute '{name}'")
    from embedkit.formats.writing import write  # its imports would slow down commands that only read

    return write
