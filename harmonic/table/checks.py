"""What a table, and what is said of its columns, must be before a schema is inferred."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import fields
from datetime import date
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, get_args

import numpy as np
import pandas as pd

from harmonic.errors import BadInput, shown
from harmonic.table.schema import MAX_PLACES, Column, Kind, storage, unkept

LARGEST_WHOLE = 2**53
_PLAIN = (str, bool, int, float, np.generic, Decimal, date)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sized) and isinstance(value, Iterable) and not isinstance(value, (str, Mapping))


def _is_format(text: str) -> bool:
    try:
        pd.to_datetime("", format=text, errors="coerce")
    except ValueError:
        return False
    return not re.search("%[zZ]", text)


_FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "nullable": ("true or false", lambda value: isinstance(value, bool)),
    "padded": ("true or false", lambda value: isinstance(value, bool)),
    "places": (
        f"a whole number from 0 to {MAX_PLACES}",
        lambda value: isinstance(value, Integral) and not isinstance(value, bool) and 0 <= int(value) <= MAX_PLACES,
    ),
    "low": ("a finite number", _is_number),
    "high": ("a finite number", _is_number),
    "categories": ("a list of texts, each once", lambda value: _is_list(value) and len(set(map(str, value))) == len(value)),
    "datetime_format": (
        "a text of strftime's signs, without %z and %Z, since moments have no time zone here",
        lambda value: isinstance(value, str) and _is_format(value),
    ),
    "alphabet": ("a text", lambda value: isinstance(value, str)),
}
"""What a correction of each field may be: in words, and as a test."""


def check_frame(table: object, source: str) -> None:
    """Raise BadInput where rows are no DataFrame."""
    if not isinstance(table, pd.DataFrame):
        raise BadInput(f"{source} must be a pandas DataFrame, but is of type {type(table).__name__}: read or convert it.")


def check_header(table: pd.DataFrame, target: str | None, source: str) -> str:
    """The target, the last column if none is named; each column must have a name, a text of its own.

    Raises:
        BadInput: no rows, a name twice, a name that is no text, or a target that is no column.
    """
    if table.empty or not len(table.columns):
        raise BadInput(f"{source} must hold a header and rows, but it holds {len(table)} rows: check the file.")
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise BadInput(f"{source} must name each column once, but {twice[0]!r} stands there twice: rename one.")
    unnamed = next((name for name in table.columns if not isinstance(name, str)), None)
    if unnamed is not None:
        raise BadInput(f"{source} must have texts for column names, but has {unnamed!r}: rename(columns=str) does it.")
    target = target if target is not None else table.columns[-1]
    if target not in table.columns:
        raise BadInput(
            f"{source} must hold the target column {target!r}, but has {', '.join(table.columns[:8])}"
            f"{', …' if len(table.columns) > 8 else ''}: set dataset.target to one of them."
        )
    return target


def read_corrections(
    columns: Mapping[str, str | Mapping[str, Any]], table: pd.DataFrame, source: str
) -> dict[str, dict[str, Any]]:
    """The fields of `Column` that are set for each column; a bare kind is short for its field.

    Raises:
        BadInput: a column, a field, a kind or a value that is none.
    """
    return {name: _read_correction(name, fix, table, source) for name, fix in columns.items()}


def _read_correction(name: str, fix: str | Mapping[str, Any], table: pd.DataFrame, source: str) -> dict[str, Any]:
    if not isinstance(fix, (str, Mapping)):
        raise BadInput(f"dataset.columns.{name} must be a kind, or fields of a column by name, but is {fix!r}: correct it.")
    correction = {"kind": fix} if isinstance(fix, str) else dict(fix)
    if name not in table.columns:
        raise BadInput(f"dataset.columns must name columns of {source}, but {name!r} is none of them: check the spelling.")
    known = {field.name for field in fields(Column)} - {"name", "dtype"}
    for key in correction:
        if key not in known:
            raise BadInput(f"dataset.columns.{name} may set {', '.join(sorted(known))}, but found {key!r}: drop it.")
    if correction.get("kind", "text") not in get_args(Kind):
        raise BadInput(
            f"dataset.columns.{name}.kind must be one of {', '.join(get_args(Kind))}, but is {correction['kind']!r}."
        )
    for key, (what, is_one) in _FIELDS.items():
        if key in correction and not is_one(correction[key]):
            raise BadInput(f"dataset.columns.{name}.{key} must be {what}, but is {correction[key]!r}: correct it.")
    return correction


def check_values(values: pd.Series, is_target: bool, source: str) -> None:
    """What a column may not hold, whatever its kind.

    Raises:
        BadInput: one value alone, values that no CSV file keeps, or numbers that 64 bits or ten decimal places lose.
    """
    _check_storage(values, source)
    _check_texts(values, source)
    _check_varies(values, is_target, source)
    if storage(values) in ("int64", "float64"):
        _check_numbers(values.dropna(), source)


def check_exact(present: pd.Series, column: Column, source: str) -> None:
    """Raise BadInput for whole numbers so large that they are not told apart as floating-point numbers, as bounds are."""
    if column.kind == "integer" and len(present) and pd.api.types.is_numeric_dtype(present):
        largest = max(abs(int(present.max())), abs(int(present.min())))
        if largest > LARGEST_WHOLE:
            raise BadInput(
                f"{source}, column {column.name!r} must hold whole numbers up to {LARGEST_WHOLE}, but holds one of size "
                f"{largest}: put it in a larger unit, write it as text, or set dataset.drop=[{column.name!r}]."
            )


def _check_storage(values: pd.Series, source: str) -> None:
    """What no CSV file holds: moments with a time zone or parts of a second, durations, numbers that are none, cells of
    several values."""
    odd: Any = None
    if isinstance(values.dtype, pd.DatetimeTZDtype) or values.dtype.kind in "cm":
        odd = values.dropna().iloc[:1].tolist()
    elif values.dtype.kind == "M":
        present = values.dropna()
        is_odd = (present != present.dt.floor("s")) | (present < pd.Timestamp.min) | (present > pd.Timestamp.max)
        odd = present[is_odd].iloc[:1].tolist()
    elif pd.api.types.is_float_dtype(values):
        infinite = np.flatnonzero(np.isinf(values.to_numpy(dtype=np.float64, na_value=np.nan)))
        if len(infinite):
            raise BadInput(
                f"{source}, column {values.name!r}, row {infinite[0] + 1}: expected a number, found "
                f"{shown(values.iloc[infinite[0]])}, no finite number."
            )
    elif values.dtype == object:
        odd = [value for value in values if not _is_empty(value) and _is_odd(value)][:1]
    if odd:
        raise BadInput(
            f"{source}, column {values.name!r} must hold numbers, texts, true and false, or moments in whole seconds of no "
            f"time zone, but holds {shown(odd[0])}: convert or drop it."
        )


def _is_odd(value: Any) -> bool:
    return not isinstance(value, _PLAIN) or getattr(value, "tzinfo", None) is not None


def _is_empty(value: Any) -> bool:
    return value is None or value is pd.NaT or value is pd.NA


def _check_texts(values: pd.Series, source: str) -> None:
    """Texts, and a name, that our own CSV files would not give back."""
    name = str(values.name)
    cells = values.dropna().unique() if storage(values) == "str" else ()
    for text in (name, *(cell for cell in cells if isinstance(cell, str))):
        if not text:
            what = f"{source}, column {name!r} must hold text" if name else f"{source} must have column names"
            raise BadInput(
                f"{what} that a CSV file tells from an empty cell, but found '': make it None, or give it a name."
            )
        if found := unkept(text):
            raise BadInput(
                f"{source}, column {name[:40]!r} must hold text that a CSV file keeps, but {text[:40]!r} has {found}: "
                f"replace it."
            )


def _check_varies(values: pd.Series, is_target: bool, source: str) -> None:
    distinct = values.nunique(dropna=is_target)
    if distinct > 1:
        return
    held = f"one value ({shown(values.iloc[0])})" if values.notna().any() else "no value"
    if is_target:
        raise BadInput(
            f"{source}, target {values.name!r} must have two classes or more, but holds {held} in all {len(values)} rows."
        )
    raise BadInput(
        f"{source}, column {values.name!r} holds {held} in all {len(values)} rows, so nothing can be learnt from it: "
        f"set dataset.drop=[{values.name!r}]."
    )


def _check_numbers(present: pd.Series, source: str) -> None:
    """What the storage types lose: whole numbers of more than 64 bits with a sign, and all digits of tiny ones."""
    name = present.name
    if pd.api.types.is_unsigned_integer_dtype(present) and len(present) and int(present.max()) > np.iinfo(np.int64).max:
        raise BadInput(
            f"{source}, column {name!r} must hold whole numbers up to {np.iinfo(np.int64).max}, but holds {present.max()}: "
            f"write it as text, or set dataset.drop=[{name!r}]."
        )
    if present.nunique() > 1 and present.round(MAX_PLACES).nunique() == 1:
        raise BadInput(
            f"{source}, column {name!r} must differ in the first {MAX_PLACES} decimal places, but all of its numbers are "
            f"{present.iloc[0]:.{MAX_PLACES}f} there: put it in a smaller unit."
        )
