"""Tables as arrays. An encoder is fitted once, on train, and serves neighbours, distances and downstream models alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harmonic.table.schema import Column, Schema, discrete_texts

EMPTY = -1
"""Code of an empty cell in `Encoded.codes`."""


@dataclass(frozen=True)
class Encoded:
    """Rows as arrays for distances."""

    numbers: np.ndarray
    """float64, shape (n, p): numeric columns divided so that train spans 1; empty cells are NaN."""
    codes: np.ndarray
    """int64, shape (n, q): category codes, EMPTY for an empty cell; text columns by hash."""

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: slice | np.ndarray) -> "Encoded":
        return Encoded(self.numbers[rows], self.codes[rows])

    def __add__(self, other: "Encoded") -> "Encoded":
        """These rows, and the others behind them."""
        return Encoded(np.concatenate([self.numbers, other.numbers]), np.concatenate([self.codes, other.codes]))


@dataclass(frozen=True)
class Encoder:
    """Scales and codes of one data set, learnt on train."""

    schema: Schema
    numeric: tuple[str, ...]
    """Columns taken as numbers; all others are compared by equality."""
    low: np.ndarray
    """float64, shape (p,): smallest train value of each numeric column; 0 where train has none."""
    span: np.ndarray
    """float64, shape (p,): range of train; 1 where train has a single value, or none."""
    mean: np.ndarray
    """float64, shape (p,): mean over train in units of span, used to fill empty cells in `features`."""
    deviation: np.ndarray
    """float64, shape (p,): standard deviation over train in units of span; 1 where it is 0."""

    @classmethod
    def fit(cls, train: pd.DataFrame, schema: Schema, *, as_published: bool = False) -> "Encoder":
        """Learn scales from train.

        Args:
            train: n rows that obey `schema`.
            schema: what the columns mean.
            as_published: take for numeric what the file stores as numbers (category codes and 0/1 targets included), as
                the published system does, rather than what the schema calls numeric.
        """
        columns = [column for column in schema.columns if _takes_as_number(column, as_published)]
        raw = np.column_stack([column.numbers(train[column.name]) for column in columns] or [np.zeros((len(train), 0))])
        raw[:, np.isnan(raw).all(axis=0)] = 0.0  # a column without a value tells nothing of its scale
        low = np.nanmin(raw, axis=0, initial=np.inf) if len(train) else np.zeros(raw.shape[1])
        span = np.nanmax(raw, axis=0, initial=-np.inf) - low
        span = np.where(span > 0, span, 1.0)
        scaled = (raw - low) / span
        deviation = np.nanstd(scaled, axis=0)
        names = tuple(column.name for column in columns)
        return cls(schema, names, low, span, np.nanmean(scaled, axis=0), np.where(deviation > 0, deviation, 1.0))

    def encode(self, table: pd.DataFrame) -> Encoded:
        """Rows for distances: p numeric columns scaled to train's range, q other columns as codes; target included."""
        others = [column for column in self.schema.columns if column.name not in self.numeric]
        codes = [_codes(table[column.name], column) for column in others]
        return Encoded(self._scaled(table), np.column_stack(codes or [np.zeros((len(table), 0), dtype=np.int64)]))

    def _scaled(self, table: pd.DataFrame) -> np.ndarray:
        raw = [self.schema[name].numbers(table[name]) for name in self.numeric]
        return (np.column_stack(raw or [np.zeros((len(table), 0))]) - self.low) / self.span

    def features(self, table: pd.DataFrame) -> np.ndarray:
        """Downstream model input, float64, shape (n, d).

        Numeric features are standardised by train (an empty cell becomes the mean, with an indicator column where the
        schema allows empty cells); category and boolean features are one-hot, an empty cell all zeros. Text columns and
        the target are left out.
        """
        return self._dense(table, self.schema.features)

    def points(self, table: pd.DataFrame) -> np.ndarray:
        """The same with the target: whole rows as points, float64, shape (n, d)."""
        return self._dense(table, self.schema.columns)

    def _dense(self, table: pd.DataFrame, columns: Sequence[Column]) -> np.ndarray:
        scaled = self._scaled(table)
        blocks = [np.zeros((len(table), 0))]
        for column in columns:
            if column.name in self.numeric:
                place = self.numeric.index(column.name)
                values = scaled[:, place]
                holes = np.isnan(values)
                blocks.append(
                    ((np.where(holes, self.mean[place], values) - self.mean[place]) / self.deviation[place])[:, None]
                )
                if column.nullable:
                    blocks.append(holes[:, None].astype(np.float64))
            elif column.categories:
                codes = _codes(table[column.name], column)
                blocks.append((codes[:, None] == np.arange(len(column.categories))).astype(np.float64))
        return np.hstack(blocks)

    def target(self, table: pd.DataFrame) -> np.ndarray:
        """The target, shape (n,): class codes as int64, or the raw number as float64 for regression."""
        column = self.schema[self.schema.target]
        values = table[column.name]
        return column.numbers(values) if self.schema.task == "regression" else _codes(values, column)


def _takes_as_number(column: Column, as_published: bool) -> bool:
    return column.stored_as_number if as_published else column.is_numeric


def _codes(values: pd.Series, column: Column) -> np.ndarray:
    texts = discrete_texts(values, column)
    if column.categories:
        return pd.Categorical(texts, categories=list(column.categories)).codes.astype(np.int64)
    hashes = pd.util.hash_array(texts.fillna("").to_numpy(dtype=object)).view(np.int64)
    return np.where(values.isna(), EMPTY, hashes)
