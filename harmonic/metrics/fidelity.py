"""Fidelity: whether synthetic columns, and pairs of columns, are distributed like real ones."""

import itertools
import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from sklearn.metrics import normalized_mutual_info_score

from harmonic.errors import check_count
from harmonic.metrics.rows import check_rows, draw_rows
from harmonic.seed import derive_seed
from harmonic.table import Split
from harmonic.table.schema import Column, discrete_texts

ROWS_PER_CELL = 5
"""Rows that mutual information asks for, on average, in each cell of two numbers' bins."""


@dataclass(frozen=True)
class Fidelity:
    """Column shapes, column pair trends and mutual information, each beside what train rows score.

    Definition. All compare rows with `split.test`, not with train: a generator is to meet the distribution, and who is
    measured against train is rewarded for repeating it. Each has its reference under the same name with `_real`: as many
    train rows as synthetic ones in their place (of the larger table, that many are drawn with the seed), since every score
    falls with fewer rows. An empty cell is a value of its own, so that a generator that leaves cells empty is seen; text
    columns are left out.

    * `shape:<column>`: of each column, SDMetrics' `KSComplement` (numbers, dates; an empty cell lies below all numbers) or
      `TVComplement` (categories, booleans): 1 less the greatest distance of the two cumulative distributions, or less half
      the summed differences of frequencies. 0 to 1, greater is better up to `shape_real:<column>`.
    * `shapes`: their mean over columns, with `shapes_real`.
    * `pair_trends`: mean over pairs of columns of SDMetrics' `CorrelationSimilarity` (two numbers: 1 less half the
      difference of Pearson's r, over rows that have both) or `ContingencySimilarity` (any other pair: 1 less half the summed
      differences of joint frequencies, a number in 10 bins of equal width over test's range). 0 to 1, greater is better up
      to `pair_trends_real`. A pair without a correlation in test (a constant column) is left out; one without it in
      the synthetic rows alone counts as uncorrelated there. NaN for a table without a pair.
    * `mi_error`: mean over pairs of columns of the absolute difference of normalised mutual information (divided by the
      mean of the two entropies; 0 beside a constant column), numbers in at most `bins` bins of equal mass in train, and so
      few that two numbers have 5 rows a cell. 0 to 1, lower is better down to `mi_error_real`. Synthetic, train and test
      rows are equally many, as the smallest of the three: mutual information is estimated too high from few rows, and
      equal numbers let that cancel. NaN where they are fewer than 20.

    Departures from SDMetrics' `QualityReport`: it leaves empty cells out of the shapes; it cuts numbers into bins over each
    table's own range, so that one outlier moves all of them and a column in another unit goes unseen; its later versions
    leave out pairs that real rows relate weakly, and draw from global randomness on large tables.

    What it cannot see: privacy (a copy of train scores as train does), relations of three columns or more, text columns,
    rows that cannot be. Independent columns are at the reference of `shapes`, and near that of `pair_trends` (.92 of .98 on
    Adult, .89 of .90 on German), since most pairs of a real table are weakly related, and a contingency table of frequent
    values is mostly its margins; `mi_error` is then 36 times and 1.4 times its reference, and the classifier two-sample
    test far from .5. Correlations see straight lines alone.

    Cost: grows with the square of the columns: of 600 rows, 6 s for 20 of them and 71 s for 100, on one core of a Xeon.

    Source: SDMetrics (MIT licence), `sdmetrics.single_column`, `sdmetrics.column_pairs`; Strehl & Ghosh 2002, *Cluster
    ensembles*, JMLR 3, for normalised mutual information, here with the arithmetic mean.
    """

    bins: int = 20
    """Bins of a number in mutual information, at most."""
    version: ClassVar[int] = 2
    """2: also tells each column's shape."""

    def __post_init__(self) -> None:
        check_count("metrics.fidelity.bins", self.bins, 2)

    def __call__(
        self, split: Split, synthetic: pd.DataFrame, *, seed: int, synthesizer: object | None = None
    ) -> dict[str, float]:
        """The scores and their references by key; see the class."""
        rows = check_rows(split, synthetic, "fidelity")
        seed = derive_seed(seed, "fidelity")
        columns = [column for column in split.schema.columns if column.kind != "text"]
        sides = {"": rows, "_real": split.train}
        n = min(len(rows), len(split.train))
        test = column_values(split.test, columns)
        scores, by_column = {}, {}
        for side, table in sides.items():
            sample = column_values(draw_rows(table, n, seed), columns)
            shapes = {column.name: column_shape(test[column.name], sample[column.name], column) for column in columns}
            by_column.update({f"shape{side}:{name}": shape for name, shape in shapes.items()})
            scores[f"shapes{side}"] = _mean(shapes.values())
            scores[f"pair_trends{side}"] = _mean(pair_trends(test, sample, columns))
        information = self._information(split, rows, columns, seed)
        for side in sides:
            scores[f"mi_error{side}"] = _mean(np.abs(information[side] - information["test"]))
        return {**scores, **by_column}

    def _information(self, split: Split, rows: pd.DataFrame, columns: list[Column], seed: int) -> dict[str, np.ndarray]:
        """Normalised mutual information of each pair of columns, on equally many rows of the three sides; NaN on too few."""
        few = min(len(rows), len(split.train), len(split.test))
        bins = min(self.bins, int(np.sqrt(few / ROWS_PER_CELL)))
        edges = quantile_edges(column_values(split.train, columns), columns, bins)
        return {
            side: mutual_information(bin_codes(column_values(draw_rows(table, few, seed), columns), edges))
            if bins > 1
            else np.full(math.comb(len(columns), 2), np.nan)
            for side, table in {"": rows, "_real": split.train, "test": split.test}.items()
        }


def _mean(values: Iterable[float]) -> float:
    """The mean of what is defined; NaN where nothing is."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def column_values(table: pd.DataFrame, columns: list[Column]) -> pd.DataFrame:
    """Numbers as float64, an empty cell NaN; other columns as codes, -1 for an empty cell or an unknown category."""
    values = {}
    for column in columns:
        if column.is_numeric:
            values[column.name] = column.numbers(table[column.name])
        else:
            texts = discrete_texts(table[column.name], column)
            values[column.name] = pd.Categorical(texts, categories=list(column.categories)).codes
    return pd.DataFrame(values)


def column_shape(real: pd.Series, synthetic: pd.Series, column: Column) -> float:
    """1 less a distance of two distributions of one column, 0 to 1: Kolmogorov-Smirnov or total variation."""
    from sdmetrics.single_column import KSComplement, TVComplement

    if not column.is_numeric:
        return float(TVComplement.compute(real, synthetic))
    below = float(np.nanmin([real.min(), synthetic.min(), 0.0])) - 1.0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ks_2samp", RuntimeWarning)  # of the p-value, which is not used
        return float(KSComplement.compute(real.fillna(below), synthetic.fillna(below)))


def pair_trends(real: pd.DataFrame, synthetic: pd.DataFrame, columns: list[Column]) -> Iterator[float]:
    """1 less a distance of two joint distributions, 0 to 1, for each pair of columns; NaN where real has no correlation."""
    from sdmetrics.column_pairs import ContingencySimilarity
    from sdmetrics.utils import discretize_column

    real_bins, synthetic_bins = real.copy(), synthetic.copy()
    for column in columns:
        if column.is_numeric:
            bins = discretize_column(real[column.name], synthetic[column.name])
            real_bins[column.name], synthetic_bins[column.name] = bins
    for first, second in itertools.combinations(columns, 2):
        pair = [first.name, second.name]
        if first.is_numeric and second.is_numeric:
            yield _correlation_similarity(real[pair].dropna(), synthetic[pair].dropna())
        else:
            yield float(ContingencySimilarity.compute(real_bins[pair], synthetic_bins[pair]))


def _correlation_similarity(real: pd.DataFrame, synthetic: pd.DataFrame) -> float:
    from sdmetrics.column_pairs import CorrelationSimilarity

    if (real.nunique() < 2).any():
        return float("nan")
    if (synthetic.nunique() < 2).any():
        return 1.0 - abs(float(CorrelationSimilarity.compute_breakdown(real, real)["real"])) / 2
    return float(CorrelationSimilarity.compute(real, synthetic))


def quantile_edges(train: pd.DataFrame, columns: list[Column], bins: int) -> dict[str, np.ndarray]:
    """Numeric column to the inner edges of at most `bins` bins of equal mass in train; a bin holds its lower edge."""
    levels = np.linspace(0, 1, bins + 1)[1:-1]
    filled = {column.name: train[column.name].dropna() for column in columns if column.is_numeric}
    return {
        name: np.unique(np.quantile(values, levels, method="inverted_cdf")) if len(values) else np.empty(0)
        for name, values in filled.items()
    }


def bin_codes(values: pd.DataFrame, edges: dict[str, np.ndarray]) -> np.ndarray:
    """Values as codes, int64, shape (n, c): a number's bin, -1 for an empty cell."""
    codes = [
        np.where(values[name].isna(), -1, np.digitize(values[name], edges[name])) if name in edges else values[name]
        for name in values
    ]
    return np.column_stack(codes).astype(np.int64)


def mutual_information(codes: np.ndarray) -> np.ndarray:
    """Normalised mutual information of each pair of columns, shape (c * (c - 1) / 2,); 0 where either is constant."""
    varies = [len(np.unique(column)) > 1 for column in codes.T]
    return np.array(
        [
            normalized_mutual_info_score(codes[:, first], codes[:, second]) if varies[first] and varies[second] else 0.0
            for first, second in itertools.combinations(range(codes.shape[1]), 2)
        ]
    )
