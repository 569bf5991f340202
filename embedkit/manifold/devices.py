"""Where UMAP computes: numpy and numba on the processor, or torch on a device."""

from __future__ import annotations

import ctypes
import re
import sys

from embedkit.errors import BadInput

MANY = 8192  # rows from which "auto" looks for a GPU: smaller maps are made in about the time that loading torch takes


def check_device(name: object) -> None:
    """Refuse what can be no device's name."""
    if not isinstance(name, str) or not re.fullmatch(r"auto|numpy|cpu|cuda(:\d+)?", name):
        raise BadInput(f"device is one of auto, numpy, cpu, cuda, cuda:0, cuda:1, ..., not {name!r}")


def device_for(name: str, n: int) -> str:
    """What computes maps of `n` rows: ``"numpy"``, or a device of torch's.

    Parameters
    ----------
    name
        UMAP's ``device``. ``"auto"`` depends on `n` and on whether there is a GPU alone, so that a seed means one map.
    n
        How many rows there are.

    Raises
    ------
    BadInput
        This machine has no such device.
    """
    if name == "numpy" or (name == "auto" and (n <= MANY or not has_driver())):
        return "numpy"
    from embedkit.kernels.word2vec_torch import device_of

    found = device_of(name)
    return "numpy" if name == "auto" and found == "cpu" else found


def has_driver() -> bool:
    """Whether the library of NVIDIA's driver is there: without it, there is no need to load torch to find no GPU."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
