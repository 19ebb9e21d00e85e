"""Nearest neighbours in mixed-type tables, and the groups that become instructions.

The distance is a sum over columns: numeric columns differ by |a - b| in units of train's range, others by a constant where
they are unequal. With a mismatch of 1 this is Gower's dissimilarity (Gower 1971, *A general coefficient of similarity*)
times the number of columns; with a mismatch of 2 it is the L1 distance on one-hot codes that HARMONIC's DCR uses.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import LabelEncoder, MinMaxScaler

from harmonic.errors import BadInput
from harmonic.index import RowIndex
from harmonic.table.encoding import Encoded, Encoder
from harmonic.table.schema import Schema

LabelRule = Literal["any", "agreement", "agreement_published", "same_class"]
Distance = Literal["mixed", "published"]
Search = Literal["exact", "approximate"]

CHUNK_CELLS = 8_000_000
"""Cells of one distance block: 64 MB of float64, so that a search stays far below a gigabyte."""
DIGITS = 9
"""Decimals that distances are compared to: sums of the same terms in another order differ beyond."""
MAX_ONE_HOT = 512
"""Columns with more distinct codes than this are compared directly instead of by a one-hot product."""
EXACT_PAIRS = 2 * 10**10
"""Where no search is asked for, the most pairs of rows whose distances are all computed: 141 000 rows with each other, or
20 000 with a million. Beyond, neighbours are approximate."""
INDEXED_ROWS = 1000
"""Fewer rows than this are never indexed."""
CANDIDATES = 64
"""Rows that the index finds for each, at least, and that are then ranked by their exact distance."""
ROUGH_FACTOR = 4
"""So many times more where columns with many values, texts above all, make the index inexact."""
CANDIDATE_ROWS = 5000
"""Queries whose candidates are ranked at a time."""
MIN_RECALL = 0.95
"""Share of the nearest neighbours that an approximate search must find of RECALL_QUERIES rows, or it is an error."""
RECALL_QUERIES = 200


def nearest(
    queries: Encoded, references: Encoded, k: int, *, mismatch: float = 1.0, own: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest references of each query, exactly; equal distances in order of row number.

    Args:
        queries: m rows.
        references: n rows, n ≥ k.
        k: how many.
        mismatch: distance of unequal categories, and of an empty cell to a filled one in a category column; an empty
            numeric cell is 1 from a filled one and 0 from an empty one.
        own: int64, shape (m,): the reference that each query itself is, and that is no neighbour of it.

    Returns:
        Distances, float64 (m, k), ascending, and row numbers, int64 (m, k).
    """
    distances = np.empty((len(queries), k))
    indices = np.empty((len(queries), k), dtype=np.int64)
    for rows, block in _blocks(queries, references, mismatch):
        if own is not None:
            block[np.arange(len(block)), own[rows]] = np.inf
        distances[rows], indices[rows] = _smallest(block, k)
    return distances, indices


def nearest_approximately(
    queries: Encoded, references: Encoded, k: int, *, own: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """As `nearest` with a mismatch of 1, but among candidates from an index; their distances are exact, ties as there.

    Rows for which the index finds too few are searched exactly, and so is a table of fewer rows than INDEXED_ROWS.

    Raises:
        BadInput: faiss is not installed, or on this table too many of the true neighbours are missed, see `MIN_RECALL`.
    """
    if len(references) < INDEXED_ROWS:
        return nearest(queries, references, k, own=own)
    index = RowIndex(references)
    count = min(len(references), max(CANDIDATES, 4 * k) * (ROUGH_FACTOR if index.is_rough else 1))
    distances = np.empty((len(queries), k))
    indices = np.empty((len(queries), k), dtype=np.int64)
    for start in range(0, len(queries), CANDIDATE_ROWS):
        rows = slice(start, start + CANDIDATE_ROWS)
        found = index.candidates(queries[rows], count)
        found = np.where(found == own[rows, None], -1, found) if own is not None else found
        distances[rows], indices[rows] = _rank(queries[rows], references, found, k)
    short = np.flatnonzero(np.isinf(distances[:, -1]))
    distances[short], indices[short] = nearest(queries[short], references, k, own=None if own is None else own[short])
    sample = np.random.default_rng(0).permutation(len(queries))[:RECALL_QUERIES]
    exact = nearest(queries[sample], references, k, own=None if own is None else own[sample])[0]
    recall = float(found_share(distances[sample], exact).mean())
    if recall < MIN_RECALL:
        raise BadInput(
            f"method.neighbour_search=approximate must find {MIN_RECALL:.0%} of the nearest rows, but finds {recall:.0%} "
            f"on this table: cap training.max_steps or method.max_instructions, or set method.neighbour_search=exact."
        )
    return distances, indices


def found_share(distances: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Recall of each query: the share of its neighbours that are as near as the k nearest; of equally near ones any will do.

    Args:
        distances: of the neighbours found, float64, shape (m, k), ascending.
        exact: of the nearest, in the same form.
    """
    return (distances <= exact[:, -1:] + 10.0**-DIGITS).mean(axis=1)


def _rank(queries: Encoded, references: Encoded, found: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of each query's candidates (-1 is none, at an infinite distance), as `nearest` returns them."""
    found = np.sort(found, axis=1)
    each = np.repeat(np.arange(len(found)), found.shape[1])
    apart = paired(queries[each], references[found.ravel()]).reshape(found.shape)
    apart[found < 0] = np.inf
    order = np.argsort(apart, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(apart, order, axis=1), np.take_along_axis(found, order, axis=1)


def closest(queries: Encoded, references: Encoded, *, mismatch: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each query to its nearest reference, and how many references are that near.

    Returns:
        Distances, float64 (m,), rounded to DIGITS decimals so that what is equal on paper is equal here; counts, int64 (m,).
    """
    distances = np.empty(len(queries))
    counts = np.empty(len(queries), dtype=np.int64)
    for rows, block in _blocks(queries, references, mismatch):
        distances[rows] = block.min(axis=1).round(DIGITS)
        counts[rows] = (block <= distances[rows, None] + 10.0**-DIGITS).sum(axis=1)
    return distances, counts


@dataclass(frozen=True)
class Sides:
    """Rows between two tables: which of them is nearer, and which of its rows."""

    to_first: np.ndarray
    """Distance to the nearest row of the first table, float64, shape (m,), rounded as `closest` does."""
    to_second: np.ndarray
    ties: np.ndarray
    """How many rows of the two tables are the nearest, int64, shape (m,)."""
    load: np.ndarray
    """How many of the m rows each row of the two tables is the nearest to, ties split evenly, float64, shape (n1 + n2,)."""


def sides(queries: Encoded, first: Encoded, second: Encoded) -> Sides:
    """Where each query lies between the rows of two tables."""
    both, parts = first + second, (slice(len(first)), slice(len(first), None))
    apart = np.empty((2, len(queries)))
    ties = np.empty(len(queries), dtype=np.int64)
    load = np.zeros(len(both))
    for rows, block in _blocks(queries, both, 1.0):
        apart[:, rows] = np.stack([block[:, part].min(axis=1) for part in parts]).round(DIGITS)
        is_nearest = block <= apart[:, rows].min(axis=0)[:, None] + 10.0**-DIGITS
        ties[rows] = is_nearest.sum(axis=1)
        load += (1 / ties[rows]) @ is_nearest
    return Sides(apart[0], apart[1], ties, load)


def paired(rows: Encoded, others: Encoded, *, mismatch: float = 1.0) -> np.ndarray:
    """Distance of each row to the other at the same place, float64, shape (n,), rounded as `closest` does."""
    gaps = np.abs(rows.numbers - others.numbers)
    one_empty = np.isnan(rows.numbers) != np.isnan(others.numbers)
    apart = np.where(np.isnan(gaps), one_empty, gaps).sum(axis=1)
    return (apart + mismatch * (rows.codes != others.codes).sum(axis=1)).round(DIGITS)


def _blocks(queries: Encoded, references: Encoded, mismatch: float) -> Iterator[tuple[slice, np.ndarray]]:
    """The distances (rows, n) of a few queries at a time, which bounds memory."""
    measure = _MixedDistance(references, mismatch)
    step = max(1, CHUNK_CELLS // max(1, len(references)))
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        yield rows, measure(queries[rows])


def _smallest(block: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k smallest entries of each row, ascending, ties by column: a partition alone would break ties at random."""
    if k == 1:
        columns = block.argmin(axis=1)[:, None]
        return np.take_along_axis(block, columns, axis=1), columns
    threshold = np.partition(block, k - 1, axis=1)[:, k - 1]
    columns = np.empty((len(block), k), dtype=np.int64)
    for row in range(len(block)):
        candidates = np.flatnonzero(block[row] <= threshold[row])
        columns[row] = candidates[np.argsort(block[row, candidates], kind="stable")[:k]]
    return np.take_along_axis(block, columns, axis=1), columns


class _MixedDistance:
    """Distances from any rows to fixed references; what depends on the references alone is prepared once."""

    def __init__(self, references: Encoded, mismatch: float) -> None:
        self.mismatch = mismatch
        self.references = references
        self.holes = np.isnan(references.numbers)
        self.vocabularies = [np.unique(column) for column in references.codes.T]
        self.one_hot_columns = [j for j, known in enumerate(self.vocabularies) if len(known) <= MAX_ONE_HOT]
        self.one_hot = self._one_hot(references)

    def _one_hot(self, rows: Encoded) -> np.ndarray:
        blocks = [rows.codes[:, j, None] == self.vocabularies[j] for j in self.one_hot_columns]
        return np.hstack(blocks or [np.zeros((len(rows), 0))]).astype(np.float32)

    def __call__(self, queries: Encoded) -> np.ndarray:
        query_holes = np.isnan(queries.numbers)
        whole = ~(self.holes.any(axis=0) | query_holes.any(axis=0))
        total = cdist(queries.numbers[:, whole], self.references.numbers[:, whole], "cityblock")
        for j in np.flatnonzero(~whole):
            gap = np.abs(queries.numbers[:, j, None] - self.references.numbers[:, j])
            both_empty = query_holes[:, j, None] & self.holes[:, j]
            total += np.where(np.isnan(gap), np.where(both_empty, 0.0, 1.0), gap)
        matches = self._one_hot(queries) @ self.one_hot.T
        total += self.mismatch * (len(self.one_hot_columns) - matches)
        for wide in set(range(queries.codes.shape[1])) - set(self.one_hot_columns):
            total += self.mismatch * (queries.codes[:, wide, None] != self.references.codes[:, wide])
        return total


@dataclass(frozen=True)
class Groups:
    """Rows with their neighbours: the raw material of instructions."""

    anchors: np.ndarray
    """int64, shape (m,): row numbers in train; the answers."""
    neighbours: np.ndarray
    """int64, shape (m, k): row numbers in train, nearest first; the examples."""

    def __len__(self) -> int:
        return len(self.anchors)

    def take(self, rows: np.ndarray) -> "Groups":
        """The groups with these numbers."""
        return Groups(self.anchors[rows], self.neighbours[rows])


def make_groups(
    train: pd.DataFrame,
    schema: Schema,
    *,
    k: int,
    distance: Distance,
    label_rule: LabelRule,
    min_agreement: int,
    search: Search | None = None,
    anchors: np.ndarray | None = None,
) -> Groups:
    """Each train row with its k nearest others, less the groups the label rule drops.

    Args:
        train: n rows that obey `schema`.
        schema: what the columns mean.
        k: neighbours per row, at most n - 1.
        distance: "mixed" is the sum of this module on encoders fitted once; "published" is Euclidean distance on label
            codes beside min-max values with the raw target (HARMONIC §1), with its ties and its dropped first hit.
        label_rule: "any" keeps every group; "agreement" keeps those where at least `min_agreement` neighbours share the
            row's class, whatever the number of classes; "agreement_published" counts as the published code does, which
            drops every class but 0 and 1; "same_class" keeps every row and looks for neighbours within its class
            (classes of k rows or fewer borrow from the others). Regression targets know no classes: always "any".
        min_agreement: neighbours of the row's class that "agreement" asks for.
        search: how the mixed distance's neighbours are found, see `mixed_neighbours`; the published distance's are exact.
        anchors: int64, shape (m,): the rows whose groups are wanted; all of them if not given.

    Raises:
        BadInput: k does not fit the table, no group is left, or the approximate search cannot be had.
    """
    if not 1 <= k < len(train):
        raise BadInput(f"method.k must lie between 1 and the train rows less one ({len(train) - 1}), but is {k}: lower it.")
    if distance == "published" and search == "approximate":
        raise BadInput("method.neighbour_search=approximate knows method.distance=mixed alone: leave it null.")
    is_class = schema.task != "regression"
    anchors = np.arange(len(train)) if anchors is None else anchors
    if distance == "published":
        neighbours = published_neighbours(train, schema, k, anchors)
    else:
        within = is_class and label_rule == "same_class"
        rows = train if len(anchors) == len(train) else train.iloc[anchors]
        encoder = Encoder.fit(train, schema)
        neighbours = mixed_neighbours(encoder, rows, train, k, within_class=within, own=anchors, search=search)
    keeps = np.ones(len(anchors), dtype=bool)
    if is_class and label_rule == "agreement":
        labels = train[schema.target].to_numpy()
        keeps = (labels[neighbours] == labels[anchors, None]).sum(axis=1) >= min_agreement
    elif is_class and label_rule == "agreement_published":
        labels = train[schema.target].to_numpy()
        keeps = _published_agreement(labels[anchors], labels[neighbours], min_agreement)
    anchors, neighbours = anchors[keeps], neighbours[keeps]
    if not len(anchors):
        raise BadInput(
            f"method.label_rule={label_rule} leaves no group of the {len(train)} train rows: use label_rule=same_class."
        )
    return Groups(anchors, neighbours)


def mixed_neighbours(
    encoder: Encoder,
    rows: pd.DataFrame,
    train: pd.DataFrame,
    k: int,
    *,
    within_class: bool,
    own: np.ndarray | None = None,
    search: Search | None = None,
) -> np.ndarray:
    """The k nearest train rows of each row, int64, shape (m, k).

    Args:
        encoder: fitted on train.
        rows: m rows of train's schema.
        train: n rows.
        k: how many.
        within_class: rows of the row's class alone; where that has too few, all of them and then the nearest of the others.
        own: int64, shape (m,): where the rows are rows of train, their numbers there; a row is not its own neighbour.
        search: exact: see `nearest`. approximate: see `nearest_approximately`; within classes, one index for each. If
            not given: exact up to EXACT_PAIRS pairs of rows, approximate beyond.
    """
    if search is None:
        search = "exact" if len(rows) * len(train) <= EXACT_PAIRS else "approximate"
    find = nearest if search == "exact" else nearest_approximately
    queries, references = encoder.encode(rows), encoder.encode(train)
    if not within_class:
        return find(queries, references, k, own=own)[1]
    labels, known = encoder.target(rows), encoder.target(train)
    neighbours = np.empty((len(rows), k), dtype=np.int64)
    for label in np.unique(labels):
        of_class, pool = np.flatnonzero(labels == label), np.flatnonzero(known == label)
        places = None if own is None else np.searchsorted(pool, own[of_class])
        if len(pool) - (own is not None) >= k:
            neighbours[of_class] = pool[find(queries[of_class], references[pool], k, own=places)[1]]
            continue
        rest = np.flatnonzero(known != label)
        for row in of_class:
            others = pool if own is None else pool[pool != own[row]]
            mates = others[nearest(queries[row : row + 1], references[others], len(others))[1][0]] if len(others) else others
            borrowed = nearest(queries[row : row + 1], references[rest], k - len(mates))[1][0]
            neighbours[row] = [*mates, *rest[borrowed]]
    return neighbours


def published_neighbours(train: pd.DataFrame, schema: Schema, k: int, anchors: np.ndarray) -> np.ndarray:
    """Neighbours of the rows with these numbers as HARMONIC's authors compute them, int64, shape (m, k).

    Columns stored as strings become label codes (sorted order, unscaled), numeric features are min-max scaled, the target
    stays raw; scikit-learn's default search returns k + 1 rows of which the first is dropped, which with duplicated rows
    need not be the row itself.
    """
    space = pd.DataFrame(index=train.index)
    for column in schema.columns:
        values = train[column.name]
        if not column.stored_as_number:
            space[column.name] = LabelEncoder().fit_transform(values.where(values.notna(), np.nan))
        elif column.name == schema.target:
            space[column.name] = values
        else:
            space[column.name] = MinMaxScaler().fit_transform(values.to_frame())[:, 0]
    if space.isna().to_numpy().any():
        raise BadInput("distance=published knows no empty numeric cells: use distance=mixed.")
    points = space.to_numpy()
    search = NearestNeighbors(n_neighbors=k + 1).fit(points)
    return search.kneighbors(points[anchors], return_distance=False)[:, 1:]


def _published_agreement(labels: np.ndarray, neighbours: np.ndarray, min_agreement: int) -> np.ndarray:
    """Which groups the published filter keeps, by the labels of the anchors, (m,), and of their neighbours, (m, k).

    It sums the neighbours' labels, so it is right for 0 and 1 alone.
    """
    k = neighbours.shape[1]
    dropped = k - min_agreement
    try:
        sums = neighbours.astype(np.float64).sum(axis=1)
    except ValueError:
        raise BadInput(
            "label_rule=agreement_published sums labels, so the target must hold numbers: use agreement."
        ) from None
    return (labels == 1) & (sums > dropped) | (labels == 0) & (sums < k - dropped)
