"""Tables as the arrays that networks read and write: Gaussian numbers and category codes, there and back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.preprocessing import QuantileTransformer

from harmonic.table import load_schema, save_schema, schema_of
from harmonic.table.schema import Column, Schema, discrete_texts

MAX_QUANTILES = 1000


@dataclass(frozen=True)
class Arrays:
    """What turns a table into arrays, fitted on train.

    Numbers go through train's quantiles to a normal distribution, as TabDDPM and TabSyn have it; an empty number is train's
    median and a flag. Categories are codes, an empty one a category of its own.
    """

    schema: Schema
    quantiles: QuantileTransformer
    median: np.ndarray
    """float64, shape (p,): what stands for an empty number."""

    @classmethod
    def fit(cls, train: pd.DataFrame) -> Self:
        """Learn quantiles from train, a table without free text."""
        schema = schema_of(train)
        raw = _raw_numbers(train, schema)
        median = np.array([np.nanmedian(column) if not np.isnan(column).all() else 0.0 for column in raw.T])
        n_quantiles = max(10, min(len(train) // 30, MAX_QUANTILES))
        transformer = QuantileTransformer(
            n_quantiles=n_quantiles, output_distribution="normal", subsample=None, random_state=0
        )
        return cls(schema, transformer.fit(np.where(np.isnan(raw), median, raw)) if raw.size else transformer, median)

    @property
    def numeric(self) -> list[Column]:
        """The columns that are numbers, p of them."""
        return [column for column in self.schema.columns if column.is_numeric]

    @property
    def discrete(self) -> list[Column]:
        """The columns that are categories."""
        return [column for column in self.schema.columns if not column.is_numeric]

    @property
    def sizes(self) -> list[int]:
        """Number of codes of each column of codes: categories, and after them the flags of nullable numbers."""
        categories = [len(column.categories) + column.nullable for column in self.discrete]
        return categories + [2 for column in self.numeric if column.nullable]

    def encode(self, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Numbers, float32, shape (n, p), and codes, int64, shape (n, q), of which `sizes` tells the ranges."""
        raw = _raw_numbers(table, self.schema)
        empty = np.isnan(raw)
        filled = np.where(empty, self.median, raw)
        numbers = self.quantiles.transform(filled) if raw.size else filled
        codes = [category_codes(table[column.name], column) for column in self.discrete]
        codes += [empty[:, place].astype(np.int64) for place, column in enumerate(self.numeric) if column.nullable]
        stacked = np.column_stack(codes) if codes else np.zeros((len(table), 0), dtype=np.int64)
        return numbers.astype(np.float32), stacked

    def decode(self, numbers: np.ndarray, codes: np.ndarray) -> pd.DataFrame:
        """The inverse of `encode`; numbers are rounded to their places and lie within train's range."""
        raw = self.quantiles.inverse_transform(numbers.astype(np.float64)) if numbers.size else numbers
        columns: dict[str, pd.Series] = {}
        for place, column in enumerate(self.discrete):
            columns[column.name] = of_category_codes(codes[:, place], column)
        flag = len(self.discrete)
        for place, column in enumerate(self.numeric):
            values = np.clip(raw[:, place], column.low, column.high)
            if column.nullable:
                values = np.where(codes[:, flag] == 1, np.nan, values)
                flag += 1
            columns[column.name] = column.from_numbers(values)
        return self.schema.restore_dtypes(pd.DataFrame(columns))

    def save(self, folder: Path) -> None:
        """Write quantiles and schema; no row of train."""
        learnt: dict[str, Any] = {"median": self.median}
        if self.numeric:
            learnt |= {"quantiles": self.quantiles.quantiles_, "references": self.quantiles.references_}
        np.savez(folder / "arrays.npz", **learnt)
        save_schema(self.schema, folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What `save` wrote."""
        schema = load_schema(folder)
        with np.load(folder / "arrays.npz") as learnt:
            transformer = QuantileTransformer(output_distribution="normal", subsample=None, random_state=0)
            if "quantiles" in learnt:
                transformer.quantiles_, transformer.references_ = learnt["quantiles"], learnt["references"]
                transformer.n_quantiles_, transformer.n_features_in_ = learnt["quantiles"].shape
            return cls(schema, transformer, learnt["median"])


def _raw_numbers(table: pd.DataFrame, schema: Schema) -> np.ndarray:
    columns = [column.numbers(table[column.name]) for column in schema.columns if column.is_numeric]
    return np.column_stack(columns) if columns else np.zeros((len(table), 0))


def category_codes(values: pd.Series, column: Column) -> np.ndarray:
    """Codes of a column of categories, int64, shape (n,); an empty cell has the one after the last."""
    codes = pd.Categorical(discrete_texts(values, column), categories=list(column.categories)).codes.astype(np.int64)
    return np.where(codes < 0, len(column.categories), codes)


def of_category_codes(codes: np.ndarray, column: Column) -> pd.Series:
    """The inverse of `category_codes`."""
    known = [column.read(text) for text in (*column.categories, *([""] if column.nullable else []))]
    return pd.Series(known, dtype=object).iloc[codes].reset_index(drop=True)
