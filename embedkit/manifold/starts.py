"""Where the layout of a map begins: the spectrum of its graph, principal components, or chance."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.errors import BadInput
from embedkit.manifold.searching import import_umap

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

_DENSE = 400  # vertices up to which all eigenvectors are computed
_TOLERANCE = 1e-4  # umap-learn's
_NOISE = 1e-4


def start(init: Any, graph: Any, rows: Any, d: int, rng: np.random.RandomState) -> Floats:
    """Places to begin at, (n, d) float32 between 0 and 10, as umap-learn scales them.

    Parameters
    ----------
    init
        UMAP's ``init``: ``"spectral"``, ``"tswspectral"``, ``"random"``, ``"pca"`` or an array of shape (n, d).
    graph
        scipy's CSR matrix, (n, n).
    rows
        (n, width) rows, or `None` where there are only distances.
    d
        Dimensions of the map.
    rng
        What is drawn is drawn from this.
    """
    places: Any
    if not isinstance(init, str):
        places = _given(np.asarray(init), (graph.shape[0], d), rng)
    elif init == "random":
        places = rng.uniform(-10.0, 10.0, size=(graph.shape[0], d))
    elif init == "pca":
        places = _jittered(_components(rows, d, rng), rng)
    elif init == "spectral":
        places = _jittered(spectral(graph, rows, d, rng), rng)
    else:
        theirs = import_umap("umap.spectral").tswspectral_layout
        places = _jittered(theirs(_dense_or_none(rows), graph, d, rng), rng)
    low, high = places.min(axis=0), places.max(axis=0)
    scaled: Floats = (10.0 * (places - low) / np.where(high > low, high - low, 1)).astype(np.float32)
    return scaled


def _given(places: npt.NDArray[Any], shape: tuple[int, int], rng: np.random.RandomState) -> Doubles:
    if places.shape != shape:
        raise BadInput(f"init has shape {places.shape}, expected {shape}: a row each, n_components wide")
    if not np.isfinite(places).all():
        raise BadInput("init holds NaN or infinity")
    wide: Doubles = places.astype(np.float64)
    if len(np.unique(wide, axis=0)) < len(wide):
        # Points at one place would never part.
        spread = float(np.ptp(wide, axis=0).max()) or 1.0
        wide = wide + rng.normal(scale=1e-3 * spread / len(wide) ** 0.5, size=shape)
    return wide


def _jittered(places: Doubles, rng: np.random.RandomState) -> Floats:
    scaled = (places * (10.0 / max(np.abs(places).max(), 1e-30))).astype(np.float32)
    jittered: Floats = scaled + rng.normal(scale=_NOISE, size=scaled.shape).astype(np.float32)
    return jittered


def _components(rows: Any, d: int, rng: np.random.RandomState) -> Doubles:
    from sklearn.decomposition import PCA, TruncatedSVD

    if rows is None:
        raise BadInput('init="pca" needs rows, not distances')
    if d > min(rows.shape):
        raise BadInput(f'init="pca" gives at most {min(rows.shape)} components of rows of shape {rows.shape}, not {d}')
    kind = PCA if isinstance(rows, np.ndarray) else TruncatedSVD
    made: Doubles = kind(n_components=d, random_state=rng).fit_transform(rows).astype(np.float64)
    return made


def _dense_or_none(rows: Any) -> Any:
    return rows if rows is None or isinstance(rows, np.ndarray) else rows.toarray()


def spectral(graph: Any, rows: Any, d: int, rng: np.random.RandomState) -> Doubles:
    """Eigenvectors of the graph's normalised Laplacian after the first, (n, d).

    Where the graph falls apart each part has its own, around places that keep parts near whose means are.
    """
    from scipy.sparse.csgraph import connected_components

    n_parts, part = connected_components(graph, directed=False)
    if n_parts == 1:
        return _eigenvectors(graph, d, rng)
    centres = _axes(n_parts, d) if n_parts <= 2 * d else _means(rows, part, n_parts, d, rng)
    places = np.empty((graph.shape[0], d))
    for number in range(n_parts):
        members = np.flatnonzero(part == number)
        gaps = np.sqrt(((centres - centres[number]) ** 2).sum(axis=1))
        room = gaps[gaps > 0].min(initial=np.inf) / 2
        room = room if np.isfinite(room) else 1.0
        if len(members) < 2 * d or len(members) <= d + 1:
            own = rng.uniform(-room, room, size=(len(members), d))
        else:
            own = _eigenvectors(graph[members][:, members], d, rng)
            own *= room / max(np.abs(own).max(), 1e-30)
        places[members] = own + centres[number]
    return places


def _axes(n_parts: int, d: int) -> Doubles:
    """One place on each half of an axis."""
    half = -(-n_parts // 2)
    axes = np.eye(half, d)
    return np.concatenate([axes, -axes])[:n_parts]


def _means(rows: Any, part: npt.NDArray[Any], n_parts: int, d: int, rng: np.random.RandomState) -> Doubles:
    """Principal components of the parts' means, the farthest 1 from the middle; by chance where rows are not known."""
    if rows is None:
        return rng.uniform(-1, 1, size=(n_parts, d))
    from scipy.sparse import csr_array

    n = rows.shape[0]
    share = 1 / np.bincount(part, minlength=n_parts)[part]
    averaging = csr_array((share, (part, np.arange(n))), shape=(n_parts, n))
    means = averaging @ rows
    means = means if isinstance(means, np.ndarray) else means.toarray()
    means = means - means.mean(axis=0)
    left, singular, _ = np.linalg.svd(means, full_matrices=False)
    centres = np.zeros((n_parts, d))
    found = (left * singular)[:, :d]
    centres[:, : found.shape[1]] = found
    centres /= max(np.abs(centres).max(), 1e-30)
    # Parts at one place get places of their own.
    return centres + rng.uniform(-1e-3, 1e-3, size=centres.shape)


def _eigenvectors(graph: Any, d: int, rng: np.random.RandomState) -> Doubles:
    """Eigenvectors of D^-1/2 A D^-1/2 with the largest eigenvalues after the first: the Laplacian's with the least."""
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import ArpackError, eigsh

    n = graph.shape[0]
    wide = graph.astype(np.float64)
    degree = np.asarray(wide.sum(axis=0)).ravel()
    root = diags_array(1 / np.sqrt(degree))
    scaled = root @ wide @ root
    if n <= max(_DENSE, 4 * d):
        values, vectors = np.linalg.eigh(scaled.toarray())
    else:
        try:
            values, vectors = eigsh(
                scaled, d + 1, which="LA", ncv=min(n, max(2 * d + 20, 40)), tol=_TOLERANCE, v0=np.ones(n), maxiter=5 * n
            )
        except ArpackError as error:
            warnings.warn(f"no spectral start was found ({error}): the layout begins at random places", stacklevel=2)
            return rng.uniform(-10.0, 10.0, size=(n, d))
    made: Doubles = vectors[:, np.argsort(-values, kind="stable")[1 : d + 1]]
    return made
