"""Compression by codes: how much a row loses when its code is cut to so many bits, beside principal components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from embedkit.errors import BadInput
from embedkit.kernels.exact import Doubles, Integers
from embedkit.latent.data import Kind
from embedkit.latent.units import codes_of

if TYPE_CHECKING:
    import pandas as pd

Steps = Literal["own", "common"]

PCA = "pca"


class CompressionFigures(NamedTuple):
    """One model at one precision.

    Codes of `units` numbers are rounded, with ``2 ** levels`` steps to the range that the unit of largest range has on
    training rows; `steps` says whether all units share one step (``"common"``) or each has as many steps to its own
    range (``"own"``). `bits` is what a row then takes, if each unit's steps are coded as often as they came on the
    training rows (their cross-entropy on the test rows); `fixed_bits` without any such code. `mean`, `median`, `q90`
    and `q99` are of the mean squared errors of test rows in the units of the model (pixels 0 to 1, or standardised).
    """

    model: str
    units: int
    levels: int
    steps: str
    bits: float
    fixed_bits: float
    mean: float
    median: float
    q90: float
    q99: float


@dataclass(frozen=True, eq=False)
class CompressionReport:
    """What `rate_distortion` measured.

    Attributes
    ----------
    figures
        Of every model, kind of steps and precision.
    unrounded
        Name and units of every model to its mean squared error with codes as they are.
    values
        How many numbers a row has.
    """

    figures: tuple[CompressionFigures, ...]
    unrounded: Mapping[tuple[str, int], float]
    values: int

    def best(self, bits: float) -> CompressionFigures:
        """The figures with the smallest mean error that take no more than `bits` a row.

        Raises
        ------
        BadInput
            None does.
        """
        fitting = [one for one in self.figures if one.bits <= bits]
        if not fitting:
            raise BadInput(
                f"nothing takes {bits:g} bits or fewer; the least is {min(o.bits for o in self.figures):.0f}"
            )
        return min(fitting, key=lambda one: one.mean)

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame with a row for each of the figures."""
        import pandas as pd

        return pd.DataFrame(list(self.figures), columns=list(CompressionFigures._fields))

    def __repr__(self) -> str:
        told = ", ".join(f"{name}-{units} {error:.4g}" for (name, units), error in self.unrounded.items())
        return f"CompressionReport({len(self.figures)} figures of {self.values} values a row; unrounded: {told})"


def rate_distortion(
    models: Mapping[str, Any | Sequence[Any]],
    rows: Any,
    test_rows: Any,
    *,
    levels: Sequence[int] = (1, 2, 3, 4, 5, 6, 8),
) -> CompressionReport:
    """Measure distortion against bits a row, beside principal components of the same numbers of units.

    Parameters
    ----------
    models
        Name to a fitted latent model that decodes, or to several with codes of different width.
    rows
        Training rows as the models take them: ranges, and how often each step comes, are taken from their codes.
    test_rows
        Rows that had no part in fitting the models.
    levels
        Bits of a unit of full range: 1 for two steps, 8 for 256.

    Returns
    -------
    CompressionReport
        Both ways of rounding, of every model and of ``"pca"``, which is fitted to the training rows here.

    Raises
    ------
    BadInput
        A model does not decode, is called ``"pca"``, or a level is not from 1 to 16.
    """
    if not models or PCA in models:
        raise BadInput("there must be a model, and none called 'pca': that is fitted beside")
    if not levels or any(not 1 <= level <= 16 for level in levels):
        raise BadInput("levels are whole numbers of bits from 1 to 16")
    named = {name: list(some) if isinstance(some, list | tuple) else [some] for name, some in models.items()}
    first = next(iter(named.values()))[0]
    kind: Kind = first.kind_ if hasattr(first, "kind_") else Kind.learned(rows, "auto", None)
    test = kind.flat(test_rows).astype(np.float64)
    figures: list[CompressionFigures] = []
    unrounded: dict[tuple[str, int], float] = {}

    def add(name: str, codes: Doubles, test_codes: Doubles, decode: Any) -> None:
        units = codes.shape[1]
        unrounded[name, units] = float(((decode(test_codes) - test) ** 2).mean())
        for steps in ("common", "own"):
            for level in levels:
                rounded, bits, fixed = quantised(codes, test_codes, level, steps)
                errors = ((decode(rounded) - test) ** 2).mean(axis=1)
                median, q90, q99 = np.quantile(errors, [0.5, 0.9, 0.99]).tolist()
                figures.append(
                    CompressionFigures(name, units, level, steps, bits, fixed, float(errors.mean()), median, q90, q99)
                )

    widths = []
    for name, some in named.items():
        for model in some:
            if not hasattr(model, "inverse_transform"):
                raise BadInput(f"{type(model).__name__} does not decode, so it cannot compress")
            codes, test_codes = (codes_of(model, part).astype(np.float64) for part in (rows, test_rows))
            widths.append(codes.shape[1])
            own = model.kind_ if hasattr(model, "kind_") else kind
            add(name, codes, test_codes, lambda z, m=model, k=own: k.flat(np.asarray(m.inverse_transform(z))))
    _add_components(add, kind.flat(rows).astype(np.float64), test, sorted(set(widths)))
    return CompressionReport(tuple(figures), unrounded, test.shape[1])


def _add_components(add: Any, values: Doubles, test: Doubles, widths: Sequence[int]) -> None:
    from sklearn import decomposition

    most = min(max(widths), *values.shape)
    whole = decomposition.PCA(most, svd_solver="covariance_eigh" if len(values) > values.shape[1] else "full").fit(
        values
    )
    for width in dict.fromkeys(min(width, most) for width in widths):
        directions = whole.components_[:width]
        codes, test_codes = ((part - whole.mean_) @ directions.T for part in (values, test))
        add(PCA, codes, test_codes, lambda z, d=directions: z @ d + whole.mean_)


def quantised(codes: Doubles, test_codes: Doubles, level: int, steps: str) -> tuple[Doubles, float, float]:
    """Test codes rounded to the mean of what falls into a step, and the bits that a row takes, coded and fixed.

    Parameters
    ----------
    codes
        (n, k) codes of training rows.
    test_codes
        (m, k) codes to round; beyond the range of the training rows they are cut to it.
    level
        ``2 ** level`` steps to a range.
    steps
        ``"own"`` or ``"common"``.
    """
    low, high = codes.min(axis=0), codes.max(axis=0)
    span = np.maximum(high - low, 1e-300)
    width = span / 2**level if steps == "own" else np.full(len(span), span.max() / 2**level)
    counts = np.maximum(np.ceil(span / width - 1e-9), 1).astype(np.int64)

    def numbered(values: Doubles) -> Integers:
        numbers: Integers = np.clip(np.floor((values - low) / width), 0, counts - 1).astype(np.int64)
        return numbers

    seen, asked = numbered(codes), numbered(test_codes)
    bits, middle = 0.0, np.empty_like(test_codes)
    for unit, count in enumerate(counts):
        often = np.bincount(seen[:, unit], minlength=count)
        shares = (often + 1.0) / (often + 1.0).sum()  # what never came costs many bits, not infinitely many
        bits += float(-np.log2(shares)[asked[:, unit]].mean())
        # The mean of what fell into a step on the training rows is nearer to what will than the step's middle.
        plain = low[unit] + (np.arange(count) + 0.5) * width[unit]
        sums = np.bincount(seen[:, unit], codes[:, unit], minlength=count)
        middle[:, unit] = np.where(often > 0, sums / np.maximum(often, 1), plain)[asked[:, unit]]
    return middle, bits, float(np.log2(counts).sum())
