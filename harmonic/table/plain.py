"""Columns as a CSV file would give them, however a DataFrame stores them."""

from datetime import datetime
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd


def plain(values: pd.Series) -> pd.Series:
    """The same values stored as numpy's numbers and moments, pandas' nullable types, or objects; most are left as they are.

    Numbers of single precision become the double that reads as their shortest text (.1 and not .10000000149); sparse,
    categorical and Arrow's values what they stand for; objects that are all whole numbers, numbers (`Decimal` too) or
    moments are stored as those.
    """
    if isinstance(values.dtype, pd.SparseDtype):
        values = values.sparse.to_dense()
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
    if isinstance(values.dtype, pd.ArrowDtype):
        values = _from_arrow(values)
    if pd.api.types.is_float_dtype(values) and values.dtype.itemsize < 8:
        texts = values.to_numpy(dtype=np.float32, na_value=np.nan).astype("U32")
        return pd.Series(texts.astype(np.float64), index=values.index, name=values.name)
    return _typed(values) if values.dtype == object else values


def _from_arrow(values: pd.Series) -> pd.Series:
    kinds: dict[str, Any] = {"i": "Int64", "u": "UInt64", "f": "Float64", "b": "boolean"}
    if values.dtype.kind in kinds:
        return values.astype(kinds[values.dtype.kind])
    if values.dtype.kind == "M" and values.dtype.pyarrow_dtype.tz is None:
        return values.astype("datetime64[ns]")
    return values.astype(object).where(values.notna(), None)


def _typed(values: pd.Series) -> pd.Series:
    """Objects of one kind as that kind."""
    present = values.dropna()
    kinds = set(map(type, present))
    if not kinds or kinds & {bool, np.bool_, str}:
        return values
    if all(issubclass(kind, Integral) for kind in kinds):
        exact = present.map(abs).max() <= np.iinfo(np.int64).max
        return values.astype("Int64" if len(present) < len(values) else "int64") if exact else values
    if all(issubclass(kind, (Real, Decimal)) for kind in kinds):
        return values.map(float, na_action="ignore").astype(np.float64)
    if all(issubclass(kind, datetime) for kind in kinds) and not present.map(lambda moment: moment.tzinfo is not None).any():
        return pd.to_datetime(values)
    return values
