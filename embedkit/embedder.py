"""The one verb set: what everything that makes vectors has in common, in scikit-learn's grammar."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import Any, Generic, Self, TypeVar

from embedkit.errors import BadInput, NotFitted

Data = TypeVar("Data", contravariant=True)


class Embedder(ABC, Generic[Data]):
    """Something that is fitted to data and then makes vectors.

    Every embedder has `fit`, which returns itself and leaves what it learned in attributes ending in ``_``;
    `get_params` and `set_params`; and, where it draws random numbers, a ``random_state``. Its constructor neither
    checks nor computes anything, so that scikit-learn's `clone` works.

    - *Word trainers* take a `Corpus`: ``fit(corpus)`` leaves an `Embedding` in ``embedding_``,
      ``fit_transform(corpus)`` returns it, ``transform(labels)`` gives the Embedding of those labels.
    - *Row embedders* take rows, and are scikit-learn transformers. What comes in labelled (Embedding, DataFrame) goes
      out labelled; an array gives an array.

    Verbs that not every embedder can honour exist only where they mean something: `transform`, `inverse_transform`
    (a decoder), `sample` (a generator), `score_samples` (a likelihood or an error), `partial_fit` (training continues).
    """

    @abstractmethod
    def fit(self, data: Data, /) -> Self:
        """Learn from `data`; returns self."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's parameters, by name.

        Parameters
        ----------
        deep
            For scikit-learn's sake; there are no nested embedders.
        """
        return {name: getattr(self, name) for name in _parameters(type(self))}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; returns self.

        Raises
        ------
        BadInput
            A name that is no parameter.
        """
        known = _parameters(type(self))
        for name, value in params.items():
            if name not in known:
                raise BadInput(f"{type(self).__name__} has no parameter '{name}'; it has: {', '.join(known)}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = _parameters(type(self))
        changed = (f"{name}={value!r}" for name, value in self.get_params().items() if value != defaults[name])
        return f"{type(self).__name__}({', '.join(changed)})"

    def _fitted(self, attribute: str) -> Any:
        try:
            return vars(self)[attribute]
        except KeyError:
            raise NotFitted(f"this {type(self).__name__} is not fitted yet: call fit first") from None


def _parameters(embedder: type[Embedder[Any]]) -> dict[str, Any]:
    """Names and defaults of the constructor's parameters."""
    return {p.name: p.default for p in list(inspect.signature(embedder.__init__).parameters.values())[1:]}
