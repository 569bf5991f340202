"""What models with an encoder and a decoder share: codes, reconstructions, samples, and walks among codes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from sklearn import get_config
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from torch import Tensor

from embedkit.embedding import Embedding
from embedkit.errors import BadInput
from embedkit.latent.base import LatentModel, State
from embedkit.latent.data import array_of, is_images
from embedkit.latent.objectives import squared_errors
from embedkit.parameters import check_choice, check_number, check_whole, seed_of
from embedkit.rows import check_finite_rows, relabel

_KEPT, _KEPT_VALUES = 10_000, 2**20  # codes that are kept of the rows of `fit`, and how many numbers at most
_MIXED = 10  # components of the mixture that `sample` fits to them
_CODES = 3  # stream of random numbers

How = Literal["prior", "gmm"]


class CodesMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin, LatentModel):  # type: ignore[misc]  # scikit-learn has no types
    """Verbs of a model with `encoder_`, `decoder_` and ``n_components`` numbers a code."""

    _priors: tuple[How, ...] = ("gmm",)  # what codes can be drawn from; the first is the default

    def __sklearn_tags__(self) -> Any:
        """For scikit-learn: codes are float32 whatever the rows are, and rows may be pictures."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.three_d_array = True
        return tags

    # -- to codes and back ---------------------------------------------------------------------------------------------

    def transform(self, X: Any) -> Any:  # noqa: N803  # scikit-learn's name
        """Codes of rows; each is the same bits alone and in any batch.

        Parameters
        ----------
        X
            Rows such as those of `fit`; of pictures, also flat ones.

        Returns
        -------
        Embedding, DataFrame or ndarray
            (n, n_components), float32; labelled if `X` is.
        """
        self._ready()
        data = self._validated(X, reset=False)
        codes = self._encoded(data)
        made = {"made_by": type(self).__name__, "parameters": self._state.used}
        wanted = getattr(self, "_sklearn_output_config", {}).get("transform", get_config()["transform_output"])
        if is_images(X):
            columns = {} if X.classes is None else {"class": X.classes}
            if wanted == "default":
                labels = X.labels if X.labels is not None else None
                return Embedding(labels, codes, columns=columns, provenance={**made, "from": dict(X.provenance)})
        return relabel(X, codes, self.get_feature_names_out(), made, wanted)

    def inverse_transform(self, X: Any) -> Any:  # noqa: N803
        """Rows that codes stand for, in the shape and units of those of `fit`.

        Parameters
        ----------
        X
            (n, n_components) codes: array, Embedding or DataFrame.

        Returns
        -------
        Embedding, DataFrame or ndarray
            Flat rows are labelled if `X` is; pictures are an array. float64 where the data was standardised, else
            float32; pixels lie between 0 and 1.
        """
        state = self._ready()
        codes = self._codes_of(X)
        rows = self._decoded(codes)
        if rows.ndim > 2:
            return rows
        made = {"made_by": f"{type(self).__name__}.inverse_transform", "parameters": state.used}
        return relabel(X, rows, self._names(), made)

    def reconstruct(self, X: Any) -> Any:  # noqa: N803
        """What is left of rows that pass through their codes; as `inverse_transform` gives it."""
        state = self._ready()
        data = self._validated(X, reset=False)
        rows = self._decoded(self._encoded(data))
        if rows.ndim > 2:
            return rows
        made = {"made_by": f"{type(self).__name__}.reconstruct", "parameters": state.used}
        return relabel(X, rows, self._names(), made)

    def score_samples(self, X: Any) -> npt.NDArray[np.float64]:  # noqa: N803
        """How normal rows are, (n,): the higher, the more."""
        self._ready()
        scores: npt.NDArray[np.float64] = self._through(self._scores, self._validated(X, reset=False), np.float64)
        return scores

    def reconstruction_errors(self, X: Any) -> npt.NDArray[np.float32]:  # noqa: N803
        """Squared errors of the values of rows, (n, values of a row), in model units: which columns are guilty."""
        self._ready()

        def errors(rows: Tensor) -> Tensor:
            made: Tensor = self.decoder_(self.encoder_(rows))
            return (made - rows).square().flatten(1)

        made: npt.NDArray[np.float32] = self._through(errors, self._validated(X, reset=False))
        return made

    def blocks(self, X: Any) -> Iterator[Tensor]:  # noqa: N803
        """All rows, some at a time, as float32 tensors (b, *kind_.shape) in model units on `device_`."""
        self._ready()
        for n, rows in self.kind_.blocks(self._validated(X, reset=False), self.device_):
            yield rows[:n]

    # -- new rows ------------------------------------------------------------------------------------------------------

    def sample(self, n: int = 1, how: How | None = None, *, random_state: int | None = None) -> npt.NDArray[Any]:
        """Rows of new codes.

        Parameters
        ----------
        n
            How many.
        how
            ``"gmm"`` draws codes from a mixture of at most 10 Gaussians fitted to the codes of rows of `fit`;
            ``"prior"``, for models that have one, from the standard normal, and is their default.
        random_state
            Seed; `None` draws one.

        Returns
        -------
        ndarray
            (n, ...) in the shape and units of the rows of `fit`.
        """
        self._ready()
        check_whole("n", n, 1)
        return self._decoded(self.sample_codes(n, how, random_state=random_state))

    def sample_codes(
        self, n: int = 1, how: How | None = None, *, random_state: int | None = None
    ) -> npt.NDArray[np.float32]:
        """The codes that `sample` decodes, (n, n_components); see `sample`."""
        state = self._ready()
        how = how or self._priors[0]
        check_choice("how", how, self._priors)
        check_whole("n", n, 1)
        seed = seed_of(random_state)
        if how == "prior":
            return np.random.default_rng(seed).standard_normal((n, self._width), dtype=np.float32)
        mixture = self._mixture(state)
        mixture.random_state = np.random.RandomState(seed)
        return self._shuffled(mixture.sample(n)[0], seed)

    def _shuffled(self, codes: npt.NDArray[Any], seed: int) -> npt.NDArray[np.float32]:
        # The mixture gives them component by component.
        order = np.random.default_rng(seed).permutation(len(codes))
        shuffled: npt.NDArray[np.float32] = codes[order].astype(np.float32)
        return shuffled

    def _mixture(self, state: State) -> Any:
        from sklearn.mixture import GaussianMixture

        codes = self._codes_known(state)
        found: Any = getattr(self, "_gmm", None)
        if found is None or found[0] is not codes:
            components = max(1, min(_MIXED, len(codes) // (2 * self._width)))
            spread = float(codes.var(axis=0).mean())
            mixture = GaussianMixture(components, reg_covar=1e-4 * spread + 1e-12, max_iter=200,
                                      random_state=state.used["random_state"])  # fmt: skip
            found = self._gmm = (codes, mixture.fit(codes.astype(np.float64)))
        return found[1]

    # -- walks ---------------------------------------------------------------------------------------------------------

    def interpolate(self, a: Any, b: Any, n: int = 8) -> npt.NDArray[Any]:
        """Rows on the straight way between the codes of two.

        Parameters
        ----------
        a, b
            As many rows each.
        n
            Steps, both ends among them.

        Returns
        -------
        ndarray
            (rows, n, ...) in the shape and units of those of `fit`.

        Raises
        ------
        BadInput
            `n` is less than 2, or there are more rows on one side.
        """
        self._ready()
        check_whole("n", n, 2)
        first, last = (self._encoded(self._validated(rows, reset=False)) for rows in (a, b))
        if len(first) != len(last):
            raise BadInput(f"{len(first)} rows and {len(last)} rows: there must be as many on both sides")
        shares = np.linspace(0, 1, n, dtype=np.float32)[:, None]
        codes = first[:, None] * (1 - shares) + last[:, None] * shares
        rows = self._decoded(codes.reshape(-1, self._width))
        return rows.reshape(len(first), n, *rows.shape[1:])

    def traverse(
        self, x: Any, n: int = 7, span: float = 2.0, units: Sequence[int] | None = None
    ) -> npt.NDArray[Any]:  # fmt: skip
        """A row with one component of its code changed, for each of some components.

        Parameters
        ----------
        x
            One row, as a batch of one.
        n
            Values that a component takes.
        span
            From so many standard deviations below its mean over codes of rows of `fit` to as many above it.
        units
            Numbers of the components; `None` for all.

        Returns
        -------
        ndarray
            (units, n, ...) in the shape and units of the rows of `fit`.

        Raises
        ------
        BadInput
            `x` is more than one row, `n` is less than 2, or there is no such unit.
        """
        state = self._ready()
        check_whole("n", n, 2)
        check_number("span", span, 0, 1e6)
        code = self._encoded(self._validated(x, reset=False))
        if len(code) != 1:
            raise BadInput(f"traverse takes one row, {len(code)} were given")
        chosen = list(range(self._width)) if units is None else list(units)
        known = self._codes_known(state)
        mean, deviation = known.mean(axis=0), known.std(axis=0)
        codes = np.repeat(code, len(chosen) * n, axis=0).reshape(len(chosen), n, -1)
        for place, unit in enumerate(chosen):
            self._check_unit(unit)
            codes[place, :, unit] = mean[unit] + np.linspace(-span, span, n) * deviation[unit]
        rows = self._decoded(codes.reshape(-1, self._width))
        return rows.reshape(len(chosen), n, *rows.shape[1:])

    def lattice(self, n: int = 15, units: tuple[int, int] = (0, 1)) -> npt.NDArray[Any]:
        """Rows on a lattice of two components of the code, at even quantiles of each; others are at their mean.

        Parameters
        ----------
        n
            Lines each way.
        units
            The component that changes from left to right, and the one that changes from bottom to top.

        Returns
        -------
        ndarray
            (n, n, ...): the top line first.

        Raises
        ------
        BadInput
            `n` is less than 2, there is no such unit, or the two are the same.
        """
        state = self._ready()
        check_whole("n", n, 2)
        for unit in units:
            self._check_unit(unit)
        if len(units) != 2 or units[0] == units[1]:
            raise BadInput(f"a lattice has two different components, not {tuple(units)}")
        across, up = (self._quantiles(state, unit, n) for unit in units)
        codes = np.tile(self._centre(state), (n, n, 1))
        codes[:, :, units[0]] = across[None, :]
        codes[:, :, units[1]] = up[::-1, None]
        rows = self._decoded(codes.reshape(-1, self._width))
        return rows.reshape(n, n, *rows.shape[1:])

    def _quantiles(self, state: State, unit: int, n: int) -> npt.NDArray[np.float32]:
        known = self._codes_known(state)[:, unit]
        found: npt.NDArray[np.float32] = np.quantile(known, (np.arange(n) + 0.5) / n).astype(np.float32)
        return found

    def _centre(self, state: State) -> npt.NDArray[np.float32]:
        centre: npt.NDArray[np.float32] = self._codes_known(state).mean(axis=0)
        return centre

    # -- help ----------------------------------------------------------------------------------------------------------

    @abstractmethod
    def _scores(self, rows: Tensor) -> Tensor:
        """How normal rows are, (b,)."""

    def _error_scores(self, rows: Tensor) -> Tensor:
        return -squared_errors(self.decoder_(self.encoder_(rows)), rows).double()

    @property
    def _width(self) -> int:
        return int(self._state.used["n_components"])

    @property
    def _n_features_out(self) -> int:
        return self._width

    @property
    def codes_(self) -> npt.NDArray[np.float32]:
        """Codes of some rows of `fit`, drawn by the seed: at most 10,000, and a million numbers."""
        return self._codes_known(self._ready())

    def _codes_known(self, state: State) -> npt.NDArray[np.float32]:
        if not len(state.codes):
            raise BadInput("this training was broken off, and no codes are kept: resume it first")
        return state.codes

    def _check_unit(self, unit: Any) -> None:
        check_whole("a component's number", unit, 0, self._width - 1)

    def _learned(self, state: State, data: Any) -> None:
        array = array_of(data)
        used = np.setdiff1d(np.arange(len(array)), state.held_out, assume_unique=True)
        n = min(len(used), _KEPT, max(1, _KEPT_VALUES // self._width))
        drawn = np.random.default_rng((state.used["random_state"], _CODES)).permutation(used)[:n]
        some = array[np.sort(drawn)]
        state.codes = self._encoded(some)

    def _codes_of(self, data: Any) -> npt.NDArray[np.float32]:
        codes = np.asarray(array_of(data), dtype=np.float64)
        if codes.ndim != 2 or codes.shape[1] != self._width:
            raise BadInput(f"codes of shape {codes.shape} were given, expected (n, {self._width})")
        check_finite_rows(codes, data)
        narrow: npt.NDArray[np.float32] = codes.astype(np.float32)
        return narrow

    def _names(self) -> Sequence[str]:
        return self.kind_.names or [f"x{j}" for j in range(self.kind_.size)]

    def _encoded(self, data: Any) -> npt.NDArray[np.float32]:
        codes: npt.NDArray[np.float32] = self._through(self.encoder_, data)
        return codes

    def _through(
        self, function: Callable[[Tensor], Tensor], data: Any, dtype: npt.DTypeLike = np.float32
    ) -> npt.NDArray[Any]:
        """What `function` makes of rows, block by block, so that no more of them need be in memory."""
        made: npt.NDArray[Any] | None = None
        total, done = len(array_of(data)), 0
        with torch.no_grad(), self._threads():
            for n, rows in self.kind_.blocks(data, self.device_):
                found = function(rows)[:n].cpu().numpy()
                if made is None:
                    made = np.empty((total, *found.shape[1:]), dtype)
                made[done : done + n] = found
                done += n
        if made is None:
            raise BadInput("0 sample(s) were given, a minimum of 1 is required")
        if not np.isfinite(made).all():
            raise BadInput("what comes out is not finite: the rows are too far from those of fit")
        return made

    def _decoded(self, codes: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        return self._made(self.decoder_, codes)
