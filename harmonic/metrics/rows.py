"""What a metric does first: look at the rows it was handed, which need not come from the runner."""

import logging

import numpy as np
import pandas as pd

from harmonic.errors import BadInput
from harmonic.table import Split
from harmonic.table.schema import DISCRETE_KINDS, Column, discrete_texts

log = logging.getLogger(__name__)


def take_rows(split: Split, synthetic: pd.DataFrame, metric: str, *, at_least: int = 1) -> pd.DataFrame:
    """The synthetic rows in the order of the schema's columns, cells as they are; columns the schema lacks are left out.

    Args:
        split: the data set.
        synthetic: rows of a generator, or of a user's own.
        metric: its name, for messages.
        at_least: rows that it needs.

    Raises:
        BadInput: a column is missing, or there are too few rows.
    """
    missing = [name for name in split.schema.names if name not in synthetic.columns]
    if missing:
        found = ", ".join(map(repr, missing[:3])) + (", …" if len(missing) > 3 else "")
        raise BadInput(f"{metric} must have every column of train, but the synthetic table lacks {found}: add it.")
    if len(synthetic) < at_least:
        rows = f"{at_least} synthetic row{'s' if at_least > 1 else ''} or more"
        raise BadInput(f"{metric} must have {rows}, but has {len(synthetic)}: sample more, or leave it out.")
    return synthetic[split.schema.names].reset_index(drop=True)


def check_rows(split: Split, synthetic: pd.DataFrame, metric: str, *, at_least: int = 1) -> pd.DataFrame:
    """The synthetic rows as `take_rows` gives them, fit to be scored; what is odd about them goes to the log.

    A category that train does not hold, a number or date that is none, and an empty cell where train has none, are scored
    as an empty cell of that column, and noted.

    Raises:
        BadInput: a column is missing, or there are too few rows.
    """
    rows = take_rows(split, synthetic, metric, at_least=at_least)
    for column in split.schema.columns:
        values = rows[column.name]
        unreadable = (values.notna() & ~readable(values, column)).to_numpy()
        rows[column.name] = _as_stored(values, unreadable, column)
        odd = int(unreadable.sum()) + (0 if column.nullable else int(values.isna().sum()))
        if odd:
            log.warning("%s: %d cells of %r hold what train never does, and count as empty.", metric, odd, column.name)
    return rows


def _as_stored(values: pd.Series, unreadable: np.ndarray, column: Column) -> pd.Series:
    """The values in the column's storage type, empty where they cannot be read; as they are where they have it already."""
    if column.kind == "text":
        return values
    if column.kind == "datetime":
        is_moment = pd.api.types.is_datetime64_any_dtype(values)
        if is_moment == (column.dtype == "datetime64") and getattr(values.dtype, "tz", None) is None:
            return values.where(~unreadable)
        moments = pd.to_datetime(pd.Series(read_numbers(values, column), name=column.name), unit="s")
        return moments if column.dtype == "datetime64" else moments.dt.strftime(column.datetime_format)
    if column.kind in DISCRETE_KINDS:
        if not unreadable.any() and (pd.api.types.is_numeric_dtype(values) or not column.stored_as_number):
            return values
        texts = discrete_texts(values, column).where(~unreadable & values.notna(), None)
        return texts.map(column.stored, na_action="ignore")
    if not unreadable.any() and pd.api.types.is_numeric_dtype(values):
        return values
    return pd.Series(read_numbers(values, column), name=column.name)


def readable(values: pd.Series, column: Column) -> np.ndarray:
    """Which cells hold a value of the column's kind, bool, shape (n,): finite number, date, known category, any text."""
    if column.kind in DISCRETE_KINDS:
        return discrete_texts(values, column).isin(column.categories).to_numpy()
    return ~np.isnan(read_numbers(values, column)) if column.is_numeric else values.notna().to_numpy()


def read_numbers(values: pd.Series, column: Column) -> np.ndarray:
    """`Column.numbers` of cells that need not be numbers, float64, shape (n,): NaN where they are none."""
    if column.kind != "datetime":
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        return np.where(np.isinf(numbers), np.nan, numbers)
    if not pd.api.types.is_datetime64_any_dtype(values):
        dated = values.where(values.astype(str).str.contains(r"\d"))  # pandas takes "now" and "today" for moments
        values = pd.to_datetime(dated, format=column.datetime_format, errors="coerce")
    if values.dt.tz is not None:
        values = values.dt.tz_localize(None)  # a table's dates are those that its clock showed
    seconds = values.astype("datetime64[s]").astype("int64").astype(np.float64)
    return seconds.where(values.notna(), np.nan).to_numpy()


def draw_rows(table: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """n rows drawn without replacement, or all where there are no more; which, hangs on seed and number of rows alone."""
    drawn = np.random.default_rng(seed).permutation(len(table))[:n]
    return table.iloc[np.sort(drawn)].reset_index(drop=True)
