"""Files in and out: one module a format."""

from embedkit.formats.native import load, save

__all__ = ["load", "save"]
