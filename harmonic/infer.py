"""From a DataFrame to a schema: each column's kind guessed, shown, and open to correction."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from datetime import date
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, get_args

import numpy as np
import pandas as pd

from harmonic.errors import BadInput, check_choice, shown
from harmonic.schema import DISCRETE_KINDS, Column, Kind, Schema, Task, discrete_texts, written_in_full

DATETIME_FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
)
_LONE_RETURN = re.compile(r"\r(?!\n)")
MAX_PLACES = 10
MAX_LETTERS = 200
"""A text column of more different characters than this may hold any."""
MAX_CLASSES = 20
"""An integer target with more distinct values than this is a regression target unless `task` says otherwise."""
MAX_CATEGORIES = 100
"""A string column is text when it has more distinct values than this and most of them occur once."""


_FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "nullable": ("true or false", lambda value: isinstance(value, bool)),
    "padded": ("true or false", lambda value: isinstance(value, bool)),
    "places": (
        f"a whole number from 0 to {MAX_PLACES}",
        lambda value: isinstance(value, Integral) and not isinstance(value, bool) and 0 <= int(value) <= MAX_PLACES,
    ),
    "low": ("a number", lambda value: isinstance(value, Real) and not isinstance(value, bool)),
    "high": ("a number", lambda value: isinstance(value, Real) and not isinstance(value, bool)),
    "categories": ("a list", lambda value: isinstance(value, Iterable) and not isinstance(value, (str, Mapping))),
    "datetime_format": ("a text", lambda value: isinstance(value, str)),
    "alphabet": ("a text", lambda value: isinstance(value, str)),
}
"""What a correction of each field may be: in words, and as a test."""
_PLAIN = (str, bool, int, float, np.generic, Decimal, date)


def infer_schema(
    train: pd.DataFrame,
    *,
    target: str | None = None,
    task: Task | None = None,
    description: str = "",
    columns: Mapping[str, str | Mapping[str, Any]] | None = None,
    source: str = "train",
) -> Schema:
    """The schema of a table, inferred column by column.

    Args:
        train: the rows to learn kinds, categories and ranges from.
        target: the column to predict; the last one if not given.
        task: binary, multiclass or regression; from the target's values if not given.
        description: what a row describes, for the instruction.
        columns: corrections, column name to kind or to any fields of `Column` (kind, categories, nullable, low, high, …).
        source: how an error names the rows.

    Raises:
        BadInput: no rows, no target, a target of one class, a column of one value, a name that is no text, a name or a text
            that no file can hold, or a correction that fits no column.
    """
    if train.empty or not len(train.columns):
        raise BadInput(f"{source} must hold a header and rows, but it holds {len(train)} rows: check the file.")
    if task is not None:
        check_choice("dataset.task", task, Task)
    twice = train.columns[train.columns.duplicated()]
    if len(twice):
        raise BadInput(f"{source} must name each column once, but {twice[0]!r} stands there twice: rename one.")
    unnamed = next((name for name in train.columns if not isinstance(name, str)), None)
    if unnamed is not None:
        raise BadInput(f"{source} must have texts for column names, but has {unnamed!r}: rename(columns=str) does it.")
    target = target if target is not None else str(train.columns[-1])
    if target not in train.columns:
        raise BadInput(
            f"{source} must hold the target column {target!r}, but has {', '.join(map(str, train.columns[:8]))}"
            f"{', …' if len(train.columns) > 8 else ''}: set dataset.target to one of them."
        )
    corrections = {name: _correction(name, fix) for name, fix in (columns or {}).items()}
    _check_corrections(corrections, train, source)
    inferred_task = task or _infer_task(train[target])
    if inferred_task != "regression":
        corrections.setdefault(target, {}).setdefault("kind", "category")
    schema_columns = []
    for name in train.columns:
        _check_storage(train[name], source)
        _check_texts(train[name], str(name), source)
        _check_varies(train[name], str(name), str(name) == target, source)
        schema_columns.append(infer_column(train[name], corrections.get(str(name), {}), source))
    return Schema(tuple(schema_columns), target, inferred_task, description)


def infer_column(values: pd.Series, correction: Mapping[str, Any], source: str = "train") -> Column:
    """One column's schema; `correction` overrides any field of `Column`."""
    dtype = _storage(values)
    present = values.dropna()
    kind: Kind = correction.get("kind") or _infer_kind(present, dtype)
    column = Column(str(values.name), kind, dtype, nullable=bool(values.isna().any()))
    if dtype in ("int64", "float64"):
        _check_numbers(present, column.name, source)
    if kind in DISCRETE_KINDS:
        column = replace(column, categories=tuple(sorted(discrete_texts(present, column).unique())))
    elif kind == "datetime":
        form = correction.get("datetime_format") or _datetime_format(present, dtype)
        column = replace(
            column, datetime_format=form, padded=dtype == "datetime64" or bool(written_in_full(present, form).all())
        )
    elif kind == "decimal":
        column = replace(column, places=_places(present))
    elif kind == "text":
        letters = set().union(*map(str, present.unique()))
        column = replace(column, alphabet="".join(sorted(letters)) if len(letters) <= MAX_LETTERS else "")
    settings: dict[str, Any] = dict(correction)
    if "categories" in settings:
        settings["categories"] = tuple(map(str, settings["categories"]))
    column = replace(column, **settings)
    if column.is_numeric:
        try:
            numbers = column.numbers(present)
        except (ValueError, TypeError):
            raise BadInput(
                f"{source}, column {column.name!r}: expected {kind}, found {present.iloc[0]!r}: correct dataset.columns."
            ) from None
        low = column.low if column.low is not None else float(numbers.min())
        high = column.high if column.high is not None else float(numbers.max())
        if low > high:
            raise BadInput(
                f"dataset.columns.{column.name} must have low at most high, but {low} is above {high}: correct them."
            )
        column = replace(column, low=low, high=high)
    return column


def describe(schema: Schema) -> str:
    """A line per column, for the log: name, kind, and what it may hold."""
    names = list(map(printable, schema.names))
    width = max(map(len, names))
    lines = zip(names, schema.columns, strict=True)
    return "\n".join(f"  {name:<{width}}  {_describe(column, schema)}" for name, column in lines)


def _describe(column: Column, schema: Schema) -> str:
    if column.kind in DISCRETE_KINDS:
        shown = ", ".join(map(printable, column.categories[:5])) + (", …" if len(column.categories) > 5 else "")
        domain = f"{column.kind} of {len(column.categories)}: {shown}"
    elif column.kind == "datetime":
        low, high = (
            pd.Timestamp(bound or 0, unit="s").strftime(column.datetime_format) for bound in (column.low, column.high)
        )
        domain = f"datetime {low} to {high}"
    elif column.is_numeric:
        places = f" ({column.places} places)" if column.kind == "decimal" else ""
        domain = f"{column.kind}{places} {column.low:g} to {column.high:g}"
    else:
        domain = f"text of {len(column.alphabet)} different characters" if column.alphabet else "text"
    notes = [
        *(["may be empty"] if column.nullable else []),
        *([f"target, {schema.task}"] if column.name == schema.target else []),
    ]
    return domain + (f" ({', '.join(notes)})" if notes else "")


def _correction(name: str, fix: str | Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(fix, (str, Mapping)):
        raise BadInput(f"dataset.columns.{name} must be a kind, or fields of a column by name, but is {fix!r}: correct it.")
    return {"kind": fix} if isinstance(fix, str) else dict(fix)


def _check_corrections(corrections: Mapping[str, Mapping[str, Any]], train: pd.DataFrame, source: str) -> None:
    known = {field.name for field in fields(Column)} - {"name", "dtype"}
    for name, correction in corrections.items():
        if name not in train.columns:
            raise BadInput(
                f"dataset.columns must name columns of {source}, but {name!r} is none of them: check the spelling."
            )
        for key in correction:
            if key not in known:
                raise BadInput(f"dataset.columns.{name} may set {', '.join(sorted(known))}, but found {key!r}: drop it.")
        if correction.get("kind", "text") not in get_args(Kind):
            raise BadInput(
                f"dataset.columns.{name}.kind must be one of {', '.join(get_args(Kind))}, but is {correction['kind']!r}."
            )
        for key, value in correction.items():
            what, is_one = _FIELDS.get(key, ("", lambda value: True))
            if not is_one(value):
                raise BadInput(f"dataset.columns.{name}.{key} must be {what}, but is {value!r}: correct it.")


def printable(text: str) -> str:
    """A table's own text for a terminal, which must not obey it."""
    return text if text.isprintable() else repr(text)[1:-1]


def _check_storage(values: pd.Series, source: str) -> None:
    """What no CSV file holds: moments with a time zone, numbers that are none, cells of several values."""
    odd: Any = None
    if isinstance(values.dtype, pd.DatetimeTZDtype) or pd.api.types.is_complex_dtype(values):
        odd = values.dropna().iloc[:1].tolist()
    elif pd.api.types.is_float_dtype(values):
        infinite = np.flatnonzero(np.isinf(values.to_numpy(dtype=np.float64, na_value=np.nan)))
        if len(infinite):
            raise BadInput(
                f"{source}, column {values.name!r}, row {infinite[0] + 1}: expected a number, found "
                f"{shown(values.iloc[infinite[0]])}, no finite number."
            )
    elif values.dtype == object:
        odd = [value for value in values if not isinstance(value, _PLAIN) and not _is_empty(value)][:1]
    if odd:
        raise BadInput(
            f"{source}, column {values.name!r} must hold numbers, texts, true and false, or dates without a time zone, but "
            f"holds {shown(odd[0])}: convert or drop it."
        )


def _is_empty(value: Any) -> bool:
    return value is None or value is pd.NaT or value is pd.NA


def _check_texts(values: pd.Series, name: str, source: str) -> None:
    """What our own CSV files would lose: NUL ends a text, a lone carriage return a row, and UTF-8 has no half characters."""
    cells = values.dropna().unique() if _storage(values) == "str" else ()
    for text in (name, *(cell for cell in cells if isinstance(cell, str))):
        found = "a NUL" if "\0" in text else "a lone carriage return" if _LONE_RETURN.search(text) else ""
        try:
            text.encode()
        except UnicodeEncodeError:
            found = "half a surrogate pair"
        if found:
            raise BadInput(
                f"{source}, column {name[:40]!r} must hold text that a CSV file keeps, but {text[:40]!r} has {found}: "
                f"replace it."
            )


def _check_varies(values: pd.Series, name: str, is_target: bool, source: str) -> None:
    distinct = values.nunique(dropna=is_target)
    if distinct > 1:
        return
    held = f"one value ({shown(values.iloc[0])})" if values.notna().any() else "no value"
    if is_target:
        raise BadInput(
            f"{source}, target {name!r} must have two classes or more, but holds {held} in all {len(values)} rows."
        )
    raise BadInput(
        f"{source}, column {name!r} holds {held} in all {len(values)} rows, so nothing can be learnt from it: "
        f"set dataset.drop=[{name!r}]."
    )


def _check_numbers(present: pd.Series, name: str, source: str) -> None:
    """What the storage types lose: whole numbers of more than 64 bits with a sign, and all digits of tiny ones."""
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


def _storage(values: pd.Series) -> str:
    if pd.api.types.is_bool_dtype(values):
        return "bool"
    if pd.api.types.is_integer_dtype(values):
        return "int64"
    if pd.api.types.is_numeric_dtype(values):
        return "float64"
    if pd.api.types.is_datetime64_any_dtype(values):
        return "datetime64"
    present = values.dropna()
    return "bool" if len(present) and present.map(lambda value: isinstance(value, (bool, np.bool_))).all() else "str"


def _infer_task(values: pd.Series) -> Task:
    classes = values.nunique()
    dtype = _storage(values)
    is_label = not pd.api.types.is_numeric_dtype(values) or dtype == "bool"
    whole = not is_label and bool((values.dropna() % 1 == 0).all())
    if is_label or (whole and classes <= MAX_CLASSES):
        return "binary" if classes <= 2 else "multiclass"
    return "regression"


def _infer_kind(present: pd.Series, dtype: str) -> Kind:
    if dtype == "bool":
        return "boolean"
    if dtype == "datetime64":
        return "datetime"
    if dtype in ("int64", "float64"):
        return "integer" if bool((present % 1 == 0).all()) else "decimal"
    if len(present) and _datetime_format(present, dtype):
        return "datetime"
    distinct = present.nunique()
    return "text" if distinct > MAX_CATEGORIES and distinct > len(present) / 2 else "category"


def _datetime_format(present: pd.Series, dtype: str) -> str:
    """The format all values parse with, the empty string if there is none."""
    texts = present.dt.strftime("%Y-%m-%d %H:%M:%S") if dtype == "datetime64" else present
    if dtype == "datetime64" and bool((present == present.dt.normalize()).all()):
        return "%Y-%m-%d"
    for candidate in DATETIME_FORMATS:
        if bool(pd.to_datetime(texts, format=candidate, errors="coerce").notna().all()):
            return candidate
    return ""


def _places(present: pd.Series) -> int:
    """Decimal places needed to write every value exactly, at most MAX_PLACES."""
    longest = max(len(np.format_float_positional(value, trim="-").partition(".")[2]) for value in present.unique())
    return min(longest, MAX_PLACES)
