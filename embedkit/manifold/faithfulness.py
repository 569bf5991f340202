"""How far a map can be trusted: what lies near in it, against what lay near in the space that it was made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.embedding import Embedding
from embedkit.errors import BadInput, printable
from embedkit.manifold.asking import Answers, Asked, Doubles, Integers, Metric, Space, ask

if TYPE_CHECKING:
    import pandas as pd

NEIGHBOURS = (5, 15, 50)
QUERIES = 1000
VOTERS = 10  # neighbours that vote on a point's class

_MEANINGS = {
    "trustworthiness": "of what the map shows as near, how much was near",
    "continuity": "of what was near, how much the map shows as near",
    "neighbours kept": "share of the nearest neighbours that are the same",
    "distance rank correlation": "Spearman's, of the distances from a point to all others",
    "class of neighbours": "points whose neighbours' majority is of their class",
    "silhouette": "how far apart the classes lie, from -1 to 1",
    "seed disparity": "Procrustes, maps of other seeds laid on this one; 0 is the same map",
}


class Figure(NamedTuple):
    """One measure: its `value` for the map, for `pca` (the yardstick) and for the `original` space, with their errors.

    An error is one standard error of the mean over the points that were asked; 0 where all were. `k` is the number of
    neighbours, 0 where none are counted. NaN where a figure does not exist.
    """

    measure: str
    k: int
    value: float
    error: float
    pca: float
    pca_error: float
    original: float

    @property
    def name(self) -> str:
        """The measure with its number of neighbours: ``trustworthiness@15``."""
        return f"{self.measure}@{self.k}" if self.k else self.measure


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """What `faithfulness` found; printed, it is a table.

    Attributes
    ----------
    figures
        One a measure.
    n
        How many points the map has.
    rows
        Which of them were asked, (m,) int64, ascending. Each was compared with all the others.
    points
        Of each asked point its own ``trustworthiness``, ``continuity``, ``neighbours kept@k``, ... (m,) float64.
    metric
        By which distances in the original space were measured.
    dimensions
        Of the original space and of the map.

    Examples
    --------
    >>> grid = np.stack(np.meshgrid(np.arange(6.0), np.arange(7.0)), axis=-1).reshape(-1, 2)
    >>> report = faithfulness(grid, grid[:, :1], neighbours=[5], pca=False)
    >>> report["neighbours kept@5"].value < faithfulness(grid, 2 * grid)["neighbours kept@5"].value == 1
    True
    """

    figures: tuple[Figure, ...]
    n: int
    rows: Integers
    points: Mapping[str, Doubles]
    metric: str
    dimensions: tuple[int, int]

    def __getitem__(self, name: str) -> Figure:
        """The figure called `name`: ``"trustworthiness"``, ``"neighbours kept@15"``."""
        for figure in self.figures:
            if name in (figure.name, figure.measure):
                return figure
        known = ", ".join(figure.name for figure in self.figures)
        raise BadInput(f"there is no figure '{printable(name)}', only {known}")

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame with a row a measure."""
        import pandas as pd

        return pd.DataFrame(list(self.figures), columns=Figure._fields)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values that JSON can hold; what does not exist is None."""
        return {
            "points": self.n,
            "asked": len(self.rows),
            "metric": self.metric,
            "dimensions": list(self.dimensions),
            "figures": [
                {key: None if value != value else value for key, value in figure._asdict().items()}
                | {"meaning": _MEANINGS[figure.measure]}
                for figure in self.figures
            ],
        }

    def __str__(self) -> str:
        asked = "every point" if len(self.rows) == self.n else f"{len(self.rows):,} of {self.n:,} points"
        errors = "" if len(self.rows) == self.n else "; ± one standard error"
        wide, narrow = self.dimensions
        cells = [["", "map", "PCA", "original"]]
        cells += [
            [f.name, _shown(f.value, f.error), _shown(f.pca, f.pca_error), _shown(f.original, 0.0)]
            for f in self.figures
        ]
        kept = [j for j in range(4) if j < 2 or any(row[j] for row in cells[1:])]
        widths = {j: max(len(row[j]) for row in cells) for j in kept}
        lines = [
            "  ".join(row[j].ljust(widths[j]) if j in (0, *kept[1:]) else row[j] for j in kept).rstrip()
            for row in cells
        ]
        title = f"{self.n:,} points, {wide} to {narrow} dimensions; {asked} asked, each against all others"
        return "\n".join([f"{title} ({self.metric}{errors})", *lines])

    def __repr__(self) -> str:
        shown = ", ".join(f"{f.name}={f.value:.4f}" for f in self.figures[:3])
        return f"Faithfulness({shown})"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"


def _shown(value: float, error: float) -> str:
    if value != value:
        return ""
    return f"{value:.4f} ±{error:.4f}" if error > 0 else f"{value:.4f}"


def faithfulness(
    high: Any,
    low: Any,
    *,
    classes: npt.ArrayLike | None = None,
    others: Sequence[Any] = (),
    neighbours: Iterable[int] = NEIGHBOURS,
    k: int = 15,
    queries: int | None = QUERIES,
    metric: Metric = "euclidean",
    pca: bool = True,
    random_state: int = 0,
    n_jobs: int = 1,
) -> Faithfulness:
    r"""Compare a map with the rows that it was made from.

    For a point i let :math:`r(i, j)` be the place of j among all others by distance from i in the original space, from
    1, ties to the lower row, and :math:`\hat r(i, j)` that in the map.

    - *Trustworthiness* (Venna & Kaski 2001, eq. 1) is
      :math:`1 - \frac{2}{n k (2n - 3k - 1)} \sum_i \sum_{j: \hat r(i, j) \le k} \max(0, r(i, j) - k)`: what the map
      shows as near and was not, by how far it was off. *Continuity* has r and :math:`\hat r` exchanged.
    - *Neighbours kept* at k is the share of the k nearest that are the same.
    - *Distance rank correlation* is Spearman's between the distances from a point to all others, averaged over points.
    - With classes, *class of neighbours* is the share of points whose 10 nearest are mostly of their own class (of
      equally many that of the nearest), and *silhouette* that of Rousseeuw (1987).
    - With other maps, *seed disparity* is the mean Procrustes disparity of each to this one (Gower 1975): the sum of
      squares that is left after moving, turning, mirroring and scaling, of maps of unit size.

    Large maps are asked at randomly drawn points, but each of these is compared with *all* others: so the figures are
    estimates of those of the whole map and not of a thinner one, and each has its standard error. They cost
    O(queries n (d + log n)).

    Parameters
    ----------
    high
        The n original rows: Embedding, DataFrame, array or sparse matrix, (n, d). For ``metric="precomputed"``, (n, n)
        distances.
    low
        The map, (n, c), rows in the same order. Embeddings must have the same labels.
    classes
        n classes (text or whole numbers), if they are known.
    others
        Further maps of the same rows, made with other seeds.
    neighbours
        At which numbers of neighbours to count those that are kept; those not below n - 1 are left out.
    k
        Neighbours for trustworthiness and continuity; lowered to what is below half of n where there are few rows.
    queries
        How many points to ask, at most; `None` asks all.
    metric
        ``"euclidean"``, ``"cosine"``, any other of scikit-learn's `pairwise_distances`, a function of two rows, or
        ``"precomputed"``; distances in the map are Euclidean.
    pca
        Whether to ask the same of the principal components, as many as the map has dimensions (for ``"cosine"`` those
        of the rows at length 1): a map that is not better than these shows nothing that they do not.
    random_state
        Seed of the draw.
    n_jobs
        Threads that rank; -1 for all processors. The figures do not depend on it.

    Raises
    ------
    BadInput
        The numbers of rows or the labels differ, there are fewer than 3 rows, a value is not finite, there is no such
        metric, or classes are not as many as rows, all the same, or all different.
    """
    names, wide = _named_rows(high, "the original rows")
    maps = [_map(low, names, wide.shape[0], "the map")]
    maps += [_map(one, names, wide.shape[0], f"map {number} of the others") for number, one in enumerate(others)]
    n = len(maps[0])
    if n < 3:
        raise BadInput(f"{n} points have no neighbours to compare: at least 3 are needed")
    _check_numbers(k, queries, n_jobs)
    kept = sorted({int(count) for count in neighbours if 1 <= count < n - 1})
    space = Space(wide, metric)
    compared = [space, Space(maps[0])]
    if pca and metric != "precomputed":
        compared.append(Space(_principal(space, min(maps[0].shape[1], *wide.shape), random_state)))
    codes = None if classes is None else _codes(classes, n)
    most = n if queries is None else min(int(queries), n)
    rows = np.sort(np.random.default_rng(random_state).permutation(n)[:most])
    asked = Asked(rows, min(int(k), (n - 1) // 2), kept, codes, min(VOTERS, n - 1))
    answers = ask(compared, asked, n_jobs)
    figures = _figures(answers, asked, n)
    if others:
        disparities = [_disparity(maps[0], one) for one in maps[1:]]
        figures.append(Figure("seed disparity", 0, float(np.mean(disparities)), 0.0, *3 * (np.nan,)))
    points = {_full(measure, count): values for (measure, count), values in answers.maps[0].items()}
    name = metric if isinstance(metric, str) else getattr(metric, "__name__", "a function")
    return Faithfulness(tuple(figures), n, rows, points, name, (int(wide.shape[1]), maps[0].shape[1]))


def distortion(
    high: Any, low: Any, *, k: int | None = None, metric: Metric = "euclidean", neighbours: npt.ArrayLike | None = None
) -> Doubles:
    """How far each point of a map is to be mistrusted: the share of its k neighbours that are others than before.

    It is 1 less what `faithfulness` calls *neighbours kept*, of every point: a column to colour a map by.

    Parameters
    ----------
    high, low, metric
        As for `faithfulness`.
    k
        How many neighbours, lowered to n - 1 where there are fewer; `None` for 15, or all that `neighbours` has of
        every row, if that is fewer.
    neighbours
        Row numbers of the nearest neighbours of each row in the original space, (n, k or more), nearest first, where
        they are known already (`UMAP` keeps its own, which are approximate for many rows); the row itself may be among
        them. Without, they are searched for exactly: n * n * d multiplications.

    Returns
    -------
    ndarray
        (n,) float64 from 0 to 1.

    Raises
    ------
    BadInput
        As for `faithfulness`; or too few neighbours are given.
    """
    from sklearn.neighbors import NearestNeighbors

    names, wide = _named_rows(high, "the original rows")
    flat = _map(low, names, wide.shape[0], "the map")
    n = len(flat)
    if n < 3:
        raise BadInput(f"{n} points have no neighbours to compare: at least 3 are needed")
    _check_numbers(15 if k is None else k, None, 1)
    wanted = min(15 if k is None else int(k), n - 1)
    if neighbours is None:
        k = wanted
        before = Space(wide, metric).nearest(k)
    else:
        given = np.asarray(neighbours, dtype=np.int64)
        least = wanted if k is not None else 1
        if given.ndim != 2 or len(given) != n or given.shape[1] < least:
            raise BadInput(f"neighbours are ({n}, {least} or more) row numbers, not of shape {given.shape}")
        others = given.shape[1] - int((given == np.arange(n)[:, None]).any())
        k = wanted if k is not None else max(1, min(wanted, others))
        before = _without_self(given, k)
    found = NearestNeighbors(n_neighbors=min(k + 1, n), algorithm="kd_tree").fit(flat).kneighbors(flat)[1]
    after = _without_self(found.astype(np.int64), k)
    both = np.sort(np.concatenate([before, after], axis=1), axis=1)
    common = (both[:, 1:] == both[:, :-1]).sum(axis=1)
    made: Doubles = 1 - common / k
    return made


# -- what is given -----------------------------------------------------------------------------------------------------


def _named_rows(rows: Any, what: str) -> tuple[list[str] | None, Any]:
    """Labels, where there are any, and the (n, d) rows as an array or sparse matrix."""
    if isinstance(rows, Embedding):
        return list(rows), rows.vectors
    if hasattr(rows, "tocsr"):
        matrix = rows.tocsr()
        finite = np.isfinite(matrix.data).all()
    else:
        matrix = np.asarray(rows)
        if matrix.ndim != 2 or matrix.dtype.kind not in "biuf":
            raise BadInput(f"{what} are a matrix of numbers, not {matrix.dtype} of shape {matrix.shape}")
        finite = np.isfinite(matrix).all()
    if not finite:
        raise BadInput(f"{what} hold a value that is not finite: fill or drop it first")
    return None, matrix


def _map(low: Any, names: list[str] | None, n: int, what: str) -> Doubles:
    labels, flat = _named_rows(low, what)
    if len(flat) != n:
        raise BadInput(f"{what} has {len(flat)} points for {n} rows: there must be one each, in the same order")
    if names is not None and labels is not None and names != labels:
        row = next(row for row, pair in enumerate(zip(names, labels, strict=True)) if pair[0] != pair[1])
        raise BadInput(f"{what} has other labels: row {row} is '{names[row]}' and '{labels[row]}'")
    return np.asarray(flat, dtype=np.float64)


def _check_numbers(k: int, queries: int | None, n_jobs: int) -> None:
    for name, value in (("k", k), ("queries", 1 if queries is None else queries)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise BadInput(f"{name} is a whole number of 1 or more, not {value!r:.40}")
    if n_jobs != -1 and n_jobs < 1:
        raise BadInput(f"n_jobs is a number of threads, or -1 for all processors, not {n_jobs!r:.40}")


def _codes(classes: npt.ArrayLike, n: int) -> Integers:
    values = np.asarray(classes)
    if values.shape != (n,) or values.dtype.kind not in "biuUO":
        raise BadInput(f"classes are {n} texts or whole numbers, not {values.dtype} of shape {values.shape}")
    known, codes = np.unique(values.astype(np.str_) if values.dtype.kind == "O" else values, return_inverse=True)
    if not 2 <= len(known) < n:
        raise BadInput(f"{len(known)} classes of {n} points tell nothing: there must be 2 or more, some with several")
    return codes.astype(np.int64)


def _principal(space: Space, dimensions: int, random_state: int) -> Doubles:
    """The principal components of the rows as `space` compares them."""
    if space.sparse:
        from sklearn.decomposition import PCA as _PCA

        solved = _PCA(dimensions, svd_solver="arpack", random_state=random_state)
        return np.asarray(solved.fit_transform(space.values.astype(np.float64)))
    from embedkit.manifold.pca import PCA

    return np.asarray(PCA(dimensions, random_state=random_state).fit_transform(np.asarray(space.values)))


def _disparity(one: Doubles, other: Doubles) -> float:
    from scipy.spatial import procrustes

    if one.shape != other.shape:
        raise BadInput(f"maps of shapes {one.shape} and {other.shape} cannot be laid on each other")
    try:
        return float(procrustes(one, other)[2])
    except ValueError as error:  # all points in one place
        raise BadInput(f"the maps cannot be laid on each other: {error}") from None


def _without_self(found: Integers, k: int) -> Integers:
    """The first k neighbours of each row that are not the row itself."""
    own = found == np.arange(len(found))[:, None]
    if found.shape[1] == k and own.any():
        raise BadInput(f"{k} neighbours beside the row itself are needed, {k - 1} are given")
    # A row that is not among its own neighbours (it has many twins) gives up the last of them.
    own[~own.any(axis=1), -1] = found.shape[1] > k
    kept = found[~own].reshape(len(found), -1) if own.any() else found
    return kept[:, :k]


# -- what is found -----------------------------------------------------------------------------------------------------


def _figures(answers: Answers, asked: Asked, n: int) -> list[Figure]:
    share = len(asked.rows) / n
    figures = []
    for (measure, count), values in answers.maps[0].items():
        value, error = _mean(values, share)
        pca, pca_error = _mean(answers.maps[1][measure, count], share) if len(answers.maps) > 1 else (np.nan, np.nan)
        original = answers.original.get((measure, count))
        figures.append(
            Figure(measure, count, value, error, pca, pca_error, np.nan if original is None else float(original.mean()))
        )
    return figures


def _mean(values: Doubles, share: float) -> tuple[float, float]:
    """Mean over the asked points, and its standard error, with the correction for a finite population."""
    some = values[~np.isnan(values)]
    if not len(some):
        return np.nan, np.nan
    error = some.std(ddof=1) / np.sqrt(len(some)) * np.sqrt(1 - share) if len(some) > 1 and share < 1 else 0.0
    return float(some.mean()), float(error)


def _full(measure: str, count: int) -> str:
    return f"{measure}@{count}" if count else measure
