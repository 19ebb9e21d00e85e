"""Cells as whole numbers, for attacks that compare values and nothing else."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from harmonic.metrics.rows import read_numbers
from harmonic.table.encoding import EMPTY
from harmonic.table.schema import DISCRETE_KINDS, Column, Schema, discrete_texts


def cell_codes(tables: Sequence[pd.DataFrame], schema: Schema) -> list[np.ndarray]:
    """Every cell as a whole number: equal where values are, in the order of the values where the column has one.

    Args:
        tables: rows with the schema's columns.
        schema: what the columns mean; numbers are taken at their column's places.

    Returns:
        int64, shape (n, c), for each table, columns as in the schema; EMPTY for an empty cell and for a category that the
        column does not have. The numbers mean the same in all the tables, and nothing beyond them.
    """
    whole = pd.concat([table[schema.names] for table in tables], ignore_index=True)
    codes = np.column_stack([_codes(whole[column.name], column) for column in schema.columns])
    return np.split(codes, np.cumsum([len(table) for table in tables])[:-1])


def _codes(values: pd.Series, column: Column) -> np.ndarray:
    if column.kind in DISCRETE_KINDS:
        texts = discrete_texts(values, column)
        return pd.Categorical(texts, categories=list(column.categories)).codes.astype(np.int64)
    if not column.is_numeric:
        return np.where(values.isna(), EMPTY, pd.factorize(values.astype(str))[0])
    numbers = np.round(read_numbers(values, column), column.places)
    empty = np.isnan(numbers)
    return np.where(empty, EMPTY, np.searchsorted(np.unique(numbers[~empty]), numbers))
