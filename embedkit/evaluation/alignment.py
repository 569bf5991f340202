"""Turning one space onto another: orthogonal Procrustes (Schönemann 1966, Psychometrika 31(1))."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from embedkit.checks import chunks
from embedkit.embedding import Embedding
from embedkit.errors import BadInput
from embedkit.kernels.exact import Doubles, Integers
from embedkit.labels import Labels


@dataclass(frozen=True, eq=False)
class Alignment:
    """What `align` found.

    Attributes
    ----------
    embedding
        All rows of the source, turned; lengths, labels and columns are kept.
    rotation
        (d, d) float64, orthogonal: a row x of the source is now x @ rotation.
    labels
        The shared labels that were fitted, in the order of the source.
    cosines
        Of each of them the cosine of its turned vector and that of the target; 0 for a row of zeros; float64.
    residuals
        Of each of them the distance of these two at length 1; float64.
    """

    embedding: Embedding
    rotation: Doubles
    labels: Labels
    cosines: Doubles
    residuals: Doubles

    def __repr__(self) -> str:
        mean = self.cosines.mean()
        return f"Alignment({self.embedding!r}, {len(self.labels)} shared labels, mean cosine {mean:.3f})"


def align(source: Embedding, target: Embedding, *, anchors: Iterable[str] | None = None) -> Alignment:
    """Turn `source` so that its words come to lie as near as they can to the same words of `target`.

    The orthogonal matrix R that minimises ``|| X R - Y ||`` (Frobenius) for the unit rows X and Y of the shared words,
    which maximises the sum of their cosines: R = U V' of the singular vectors of X'Y. Nothing within the source changes
    by it: neither a cosine nor a neighbour.

    Parameters
    ----------
    source, target
        Two Embeddings of the same width.
    anchors
        Labels to fit, each in both; by default all that are in both.

    Returns
    -------
    Alignment

    Raises
    ------
    UnknownWord
        An anchor that one of them does not hold.
    BadInput
        Widths differ, or fewer labels are shared than there are dimensions, which leaves the rotation open.
    """
    width = source.width
    if target.width != width:
        raise BadInput(f"cannot turn {width}-d vectors onto {target.width}-d ones")
    if anchors is None:
        first, second = shared_rows(source, target)
    else:
        chosen = list(dict.fromkeys(anchors))
        first, second = source.rows(chosen), target.rows(chosen)
    if len(first) < width:
        raise BadInput(f"{len(first)} shared labels leave a rotation in {width} dimensions open: as many are needed")
    x, y = source.unit.vectors, target.unit.vectors
    product = np.zeros((width, width))
    for part in chunks(len(first)):
        product += x[first[part]].T.astype(np.float64) @ y[second[part]].astype(np.float64)
    left, _, right = np.linalg.svd(product)
    rotation: Doubles = left @ right
    turned = np.empty(source.shape, dtype=np.float32)
    for part in chunks(len(source)):
        turned[part] = source.vectors[part].astype(np.float64) @ rotation
    made = {"made_by": "align", "from": source.provenance, "target": target.provenance, "shared": len(first)}
    cosines = np.empty(len(first))
    residuals = np.empty(len(first))
    for part in chunks(len(first)):
        now, goal = x[first[part]].astype(np.float64) @ rotation, y[second[part]].astype(np.float64)
        cosines[part] = np.clip((now * goal).sum(axis=1), -1, 1)
        residuals[part] = np.sqrt(((now - goal) ** 2).sum(axis=1))
    aligned = source.with_vectors(turned, provenance=made)
    return Alignment(aligned, rotation, source.labels.take(first), cosines, residuals)


def shared_rows(a: Embedding, b: Embedding) -> tuple[Integers, Integers]:
    """The rows of the labels that both hold, in `a` and in `b`, in the order of `a`."""
    there = b.rows(list(a), missing="mark")
    first = np.flatnonzero(there >= 0)
    return first, there[first]
