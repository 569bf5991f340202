"""Random numbers that are counted and not remembered, in torch: hashes of 64 bits, the same on every device."""

from __future__ import annotations

from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15
FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def signed(x: int) -> int:
    """The 64 bits of x as torch's integers have them."""
    x &= 2**64 - 1
    return x - 2**64 if x >= 2**63 else x


def mixed(x: Tensor) -> Tensor:
    """SplitMix64's hash (Steele, Lea & Flood 2014) of int64s, bit for bit that of unsigned numbers."""
    x = (x ^ shifted(x, 30)) * signed(FIRST)
    x = (x ^ shifted(x, 27)) * signed(SECOND)
    return x ^ shifted(x, 31)


def shifted(x: Tensor, by: int) -> Tensor:
    """Bits shifted to the right, without the sign, which torch would shift in."""
    made: Tensor = (x >> by) & (2 ** (64 - by) - 1)
    return made
