"""From a DataFrame to a schema: each column's kind guessed, shown, and open to correction."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

import numpy as np
import pandas as pd

from harmonic.errors import BadInput, check_choice
from harmonic.table.checks import check_exact, check_header, check_values, read_corrections
from harmonic.table.plain import plain
from harmonic.table.schema import (
    DISCRETE_KINDS,
    MAX_PLACES,
    Column,
    Kind,
    Schema,
    Task,
    discrete_texts,
    moments,
    storage,
    written_in_full,
)

DATETIME_FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%dT%H:%M",
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M",
)
MAX_LETTERS = 200
"""A text column of more different characters than this may hold any."""
LEAST_INSIDE = 0.5
"""Share of the rows that must lie within a column's range: where fewer do, it is another column's."""
MAX_CLASSES = 20
"""An integer target with more distinct values than this is a regression target unless `task` says otherwise."""
MAX_CATEGORIES = 100
"""A string column is text when it has more distinct values than this and most of them occur once."""


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
    target = check_header(train, target, source)
    train = pd.DataFrame({name: plain(train[name]) for name in train.columns})
    if task is not None:
        check_choice("dataset.task", task, Task)
        _check_task(task, train[target], source)
    corrections = read_corrections(columns or {}, train, source)
    inferred_task = task or _infer_task(train[target])
    if inferred_task != "regression":
        corrections.setdefault(target, {}).setdefault("kind", "category")
    schema_columns = []
    for name in train.columns:
        check_values(train[name], name == target, source)
        schema_columns.append(infer_column(train[name], corrections.get(str(name), {}), source))
    return Schema(tuple(schema_columns), target, inferred_task, description)


def infer_column(values: pd.Series, correction: Mapping[str, Any], source: str) -> Column:
    """One column's schema; `correction` overrides any field of `Column`."""
    dtype = storage(values)
    present = values.dropna()
    kind: Kind = correction.get("kind") or _infer_kind(present, dtype)
    column = Column(str(values.name), kind, dtype, nullable=bool(values.isna().any()))
    if kind in DISCRETE_KINDS:
        column = replace(column, categories=tuple(sorted(discrete_texts(present, column).unique())))
    elif kind == "datetime":
        form = correction.get("datetime_format") or _datetime_format(present, dtype)
        if not form:
            best = max(DATETIME_FORMATS, key=lambda form: moments(present, form).notna().sum())
            odd = present[moments(present, best).isna()].iloc[0]
            raise BadInput(
                f"{source}, column {column.name!r}: expected datetime, found {odd!r}, no moment between 1678 and 2261 of "
                f"the form {best}: correct dataset.columns."
            )
        column = replace(
            column, datetime_format=form, padded=dtype == "datetime64" or bool(written_in_full(present, form).all())
        )
    elif kind == "decimal":
        numbers = pd.to_numeric(present, errors="coerce")
        column = replace(column, places=_places(numbers) if numbers.notna().all() else 0)
    elif kind == "text":
        letters = set().union(*map(str, present.unique()))
        column = replace(column, alphabet="".join(sorted(letters)) if len(letters) <= MAX_LETTERS else "")
    settings: dict[str, Any] = dict(correction)
    if "categories" in settings:
        said = pd.Series(list(settings["categories"]), dtype=object)
        settings["categories"] = tuple(map(str, discrete_texts(said, column)))
    column = replace(column, **settings)
    if column.is_numeric:
        try:
            numbers = column.numbers(present)
        except (ValueError, TypeError):
            raise BadInput(
                f"{source}, column {column.name!r}: expected {kind}, found {_unreadable(present, column)!r}: "
                f"correct dataset.columns."
            ) from None
        check_exact(present, column, source)
        low = column.low if column.low is not None else _bound(numbers.min(), column, ROUND_FLOOR)
        high = column.high if column.high is not None else _bound(numbers.max(), column, ROUND_CEILING)
        if low > high:
            raise BadInput(
                f"dataset.columns.{column.name} must have low at most high, but {low} is above {high}: correct them."
            )
        column = replace(column, low=low, high=high)
        inside = float(((numbers >= low) & (numbers <= high)).mean()) if len(numbers) else 1.0
        if inside < LEAST_INSIDE:
            raise BadInput(
                f"dataset.columns.{column.name} must have a range that holds half of the rows, but {low:g} to {high:g} "
                f"holds {inside:.0%} of {source}: correct low or high, or leave the other rows out."
            )
    return column


def _unreadable(present: pd.Series, column: Column) -> Any:
    """The first value that is no number, or no moment, of the column."""
    is_moment = column.kind == "datetime"
    read = moments(present, column.datetime_format) if is_moment else pd.to_numeric(present, errors="coerce")
    return present[read.isna()].iloc[0] if read.isna().any() else present.iloc[0]


def _bound(number: float, column: Column, rounding: str) -> float:
    """An end of a column's range, as it may be written: outwards where the number has more decimal places than that."""
    if column.kind != "decimal" or column.places < MAX_PLACES:
        return float(number)
    return float(Decimal(repr(float(number))).quantize(Decimal(1).scaleb(-MAX_PLACES), rounding))


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


def printable(text: str) -> str:
    """A table's own text for a terminal, which must not obey it."""
    return text if text.isprintable() else repr(text)[1:-1]


def _infer_task(values: pd.Series) -> Task:
    classes = values.nunique()
    dtype = storage(values)
    is_label = not pd.api.types.is_numeric_dtype(values) or dtype == "bool"
    whole = not is_label and bool((values.dropna() % 1 == 0).all())
    if is_label or (whole and classes <= MAX_CLASSES):
        return "binary" if classes <= 2 else "multiclass"
    return "regression"


def _check_task(task: Task, values: pd.Series, source: str) -> None:
    """Raise BadInput for a task that the target's values are not fit for."""
    classes, is_number = values.nunique(), storage(values) in ("int64", "float64")
    fault = {
        "regression": "" if is_number else f"its target {values.name!r} holds no numbers",
        "binary": "" if classes <= 2 else f"its target {values.name!r} has {classes} classes",
        "multiclass": "",
    }[task]
    if fault:
        raise BadInput(f"dataset.task of {source} cannot be {task}, since {fault}: correct it, or leave it out.")


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
        if bool(moments(texts, candidate).notna().all()):
            return candidate
    return ""


def _places(present: pd.Series) -> int:
    """Decimal places needed to write every value exactly, at most MAX_PLACES."""
    longest = max(len(np.format_float_positional(value, trim="-").partition(".")[2]) for value in present.unique())
    return min(longest, MAX_PLACES)
