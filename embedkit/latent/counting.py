"""How reconstruction errors are counted: as they are, blurred, or against what is usual."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from embedkit.kernels.exact import Doubles

How = Literal["error", "smoothed", "scaled"]

_FLOOR = 0.1  # share of the mean error below which no feature's usual error is taken to lie
_FAINT = 0.01  # share of the median contrast below which no picture's is taken to lie
_STEEPEST = 2.0
_TINY = 1e-300


@dataclass(frozen=True, eq=False)
class Usual:
    """What a squared error usually is on rows that are normal.

    Either by feature, or by the contrast of a picture, the variance of its own values (the same for a picture and its
    negative): ``exp(level) * contrast ** power``.

    Attributes
    ----------
    features
        (d,), all 1 where it goes by contrast.
    level, power, faintest
        Of the power law; contrasts are taken to be `faintest` at least.
    """

    features: Doubles
    level: float = 0.0
    power: float = 0.0
    faintest: float = 1.0

    def of(self, values: Doubles) -> Doubles:
        """What squared errors of flat rows (n, d) are divided by: (n, d) after broadcasting."""
        contrast = np.maximum(values.var(axis=1, keepdims=True), self.faintest)
        usual: Doubles = self.features * np.exp(self.level + self.power * np.log(contrast))
        return usual


@dataclass(frozen=True)
class Counting:
    """What becomes of the differences between rows and their reconstructions.

    Attributes
    ----------
    how
        ``"error"``: squared. ``"smoothed"``: blurred as pictures, then squared, over what is usual by contrast.
        ``"scaled"``: squared, over what is usual by feature.
    shape
        Of a row: (d,) or (c, h, w).
    sigma
        Standard deviation of the blur, in pixels.
    """

    how: How
    shape: tuple[int, ...]
    sigma: float = field(default=0.0)

    def squares(self, residual: Doubles) -> Doubles:
        """Squared differences, (n, d), of `residual` (n, d)."""
        if self.how != "smoothed" or not self.sigma:
            return residual**2
        from scipy.ndimage import gaussian_filter

        pictures = residual.reshape(-1, *self.shape)
        blurred: Doubles = gaussian_filter(pictures, (0, 0, self.sigma, self.sigma), mode="nearest")
        return blurred.reshape(len(residual), -1) ** 2

    def usual(self, by_row: Doubles, by_feature: Doubles, values: Doubles) -> Usual:
        """What is usual, from the mean squares of normal rows (n,) and of their features (d,), and the rows (n, d)."""
        if self.how == "scaled":
            return Usual(by_feature + max(_FLOOR * float(by_feature.mean()), _TINY))
        return self._by_contrast(by_row, values) if self.how == "smoothed" else Usual(np.ones(len(by_feature)))

    def _by_contrast(self, errors: Doubles, values: Doubles) -> Usual:
        """A power law through errors (n,) and contrasts: least squares in logarithms."""
        contrasts = values.var(axis=1)
        faintest = max(_FAINT * float(np.median(contrasts)), _TINY)
        x, y = np.log(np.maximum(contrasts, faintest)), np.log(np.maximum(errors, _TINY))
        spread = float(((x - x.mean()) ** 2).sum())
        power = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread > 1e-9 else 0.0
        power = min(max(power, 0.0), _STEEPEST)
        return Usual(np.ones(values.shape[1]), float(y.mean() - power * x.mean()), power, faintest)
