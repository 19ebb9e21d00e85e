"""Table and Split: rows that obey a schema.

A table is a `pandas.DataFrame` that obeys a `Schema` and carries it in `attrs`. Its columns keep the storage type of the
user's file (`Column.dtype`), so that a synthetic table looks like the real one; what a value *means* is the column's kind.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harmonic.errors import BadInput, shown
from harmonic.table.checks import check_frame
from harmonic.table.encoding import Encoder
from harmonic.table.infer import LEAST_INSIDE, infer_schema
from harmonic.table.plain import plain
from harmonic.table.schema import DISCRETE_KINDS, Column, Schema, attach, discrete_texts, moments, plain_text

log = logging.getLogger(__name__)

MOMENT = "%Y-%m-%d %H:%M:%S"
"""How table.csv holds moments that their column's form does not tell in full."""


def schema_of(table: pd.DataFrame) -> Schema:
    """The schema a table carries, if it is still the table's; else one that is inferred from its values.

    pandas hands `attrs` on to whatever is made of a table: one with other columns, values of another kind, or numbers that
    mostly lie beyond a column's range has a schema of its own, but for its target and what it is about.

    Raises:
        BadInput: it is no DataFrame, or no schema can be inferred from it.
    """
    check_frame(table, "train")
    carried = table.attrs.get("schema")
    if not isinstance(carried, Schema):
        return infer_schema(table)
    if _fits(table, carried):
        return carried
    log.warning(
        "note: these rows are no longer those of the schema that they carry: it is inferred anew, without its %s",
        "constraints and corrections" if carried.constraints else "corrections",
    )
    target = carried.target if carried.target in table else None
    return infer_schema(table, target=target, description=carried.description)


def _fits(table: pd.DataFrame, schema: Schema) -> bool:
    try:
        coerce(table, schema, "")
    except BadInput:
        return False
    return all(_lies_within(table[column.name], column) for column in schema.columns if column.is_numeric)


def _lies_within(values: pd.Series, column: Column) -> bool:
    numbers = column.numbers(values.dropna())
    low = -np.inf if column.low is None else column.low
    high = np.inf if column.high is None else column.high
    return not len(numbers) or float(((numbers >= low) & (numbers <= high)).mean()) >= LEAST_INSIDE


def coerce(frame: pd.DataFrame, schema: Schema, source: str) -> pd.DataFrame:
    """`frame` as a table of `schema`: its columns in order, stored as the schema says, every cell of the right kind.

    Ranges are not enforced: a hold-out may reach beyond train.

    Args:
        frame: rows as read from a file or made by a generator.
        schema: what they must obey.
        source: how an error names the rows, e.g. "test.csv".

    Raises:
        BadInput: it is no DataFrame, a column is missing or unknown, or a cell is not of its column's kind; names column,
            row and value.
    """
    check_frame(frame, source)
    missing = [name for name in schema.names if name not in frame.columns]
    unknown = [str(name) for name in frame.columns if name not in schema.names]
    if missing or unknown:
        found = " and ".join(
            f"{what} {', '.join(map(repr, names[:3]))}{', …' if len(names) > 3 else ''}"
            for what, names in (("lacks", missing), ("has the unknown column", unknown))
            if names
        )
        raise BadInput(f"{source} must have the columns of train, but {found}: add or drop them there.")
    table = frame[schema.names].reset_index(drop=True)
    for column in schema.columns:
        table[column.name] = _coerce_column(plain(table[column.name]), column, source)
    return schema.restore_dtypes(table)


def _coerce_column(values: pd.Series, column: Column, source: str) -> pd.Series:
    empty = values.isna()
    if not column.nullable:
        cure = f"fill it or set dataset.columns.{{{column.name!r}: {{nullable: true}}}}"
        _refuse(empty, values, column, source, f"an empty cell where train has none: {cure}")
    if column.kind == "text":
        return values.astype(object)
    if column.kind == "datetime":
        if isinstance(values.dtype, pd.DatetimeTZDtype):
            _refuse(~empty, values, column, source, "a moment with a time zone: dt.tz_localize(None) takes it off")
        if pd.api.types.is_datetime64_any_dtype(values):
            return values if column.dtype == "datetime64" else values.dt.strftime(column.datetime_format)
        found = moments(values, column.datetime_format)
        _refuse(found.isna() & ~empty, values, column, source, f"no date of the form {column.datetime_format}")
        return found if column.dtype == "datetime64" else values
    if column.kind in DISCRETE_KINDS:
        texts = discrete_texts(values, column)
        cure = "move a row with it into train, or list the column's categories in the data set's YAML"
        known = texts.isin(column.categories) | empty
        _refuse(~known, values, column, source, f"a category that train does not have: {cure}")
        return texts.map(column.stored, na_action="ignore")
    numbers = pd.to_numeric(values, errors="coerce")
    _refuse(numbers.isna() & ~empty | np.isinf(numbers.fillna(0.0)), values, column, source, "no finite number")
    if column.kind == "integer":
        _refuse((numbers % 1 != 0) & ~empty, values, column, source, "no integer")
    return numbers


def with_columns(table: pd.DataFrame, columns: Mapping[str, Any]) -> pd.DataFrame:
    """A copy with these columns, new ones or in place of its own; `DataFrame.assign` would take none named self."""
    changed = table.copy()
    for name, values in columns.items():
        changed[name] = values
    return changed


def _refuse(bad: pd.Series, values: pd.Series, column: Column, source: str, found: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad.to_numpy())[0])
        others = int(bad.sum()) - 1
        more = f" (and {others} more such cells)" if others else ""
        raise BadInput(
            f"{source}, column {column.name!r}, row {row + 1}: expected {column.kind}, found {shown(values.iloc[row])}, "
            f"{found}{more}."
        )


def save_table(table: pd.DataFrame, folder: Path, schema: Schema | None = None) -> None:
    """Write table.csv and schema.json into a folder; the schema is the table's own unless another is given."""
    schema = schema or schema_of(table)
    columns: dict[str, pd.Series] = {}
    for column in schema.columns:
        if column.kind in ("integer", "datetime") and column.stored_as_number:
            columns[column.name] = table[column.name].map(plain_text, na_action="ignore")
        elif column.dtype == "datetime64":  # which to_csv would write by what all of its moments are like
            columns[column.name] = _moments_written(table[column.name], column)
    with_columns(table, columns).to_csv(folder / "table.csv", index=False)
    save_schema(schema, folder)


def save_schema(schema: Schema, folder: Path) -> None:
    """Write schema.json alone: what a method keeps that needs no row of train."""
    (folder / "schema.json").write_text(json.dumps(schema.to_json(), indent=1))


def load_schema(folder: Path) -> Schema:
    """The schema that `save_schema` or `save_table` wrote."""
    return Schema.from_json(json.loads((folder / "schema.json").read_text()))


def load_table(folder: Path) -> pd.DataFrame:
    """The table that `save_table` wrote, bit for bit."""
    schema = load_schema(folder)
    texts = {column.name: "str" for column in schema.columns if column.dtype == "str"}
    frame = pd.read_csv(
        folder / "table.csv", dtype=texts, float_precision="round_trip", keep_default_na=False, na_values=[""]
    )
    stored = [column for column in schema.columns if column.dtype == "datetime64"]
    return coerce(
        with_columns(frame, {one.name: _moments_read(frame[one.name], one) for one in stored}), schema, "table.csv"
    )


def _moments_written(values: pd.Series, column: Column) -> pd.Series:
    """Moments that are stored as such in the column's own form, or in full where that does not hold all of them."""
    found = pd.to_datetime(values)
    texts = found.dt.strftime(column.datetime_format or MOMENT)
    is_whole = bool(((_moments_read(texts, column) == found) | found.isna()).all())
    return texts if is_whole else found.dt.strftime(MOMENT)


def _moments_read(texts: pd.Series, column: Column) -> pd.Series:
    """The inverse of `_moments_written`."""
    found = moments(texts, column.datetime_format or MOMENT)
    return found if bool((found.notna() | texts.isna()).all()) else pd.to_datetime(texts, format="ISO8601")


def digest(frame: pd.DataFrame) -> str:
    """SHA-256 of a table's CSV text: equal for equal tables, whatever the machine."""
    return hashlib.sha256(frame.to_csv(index=False, lineterminator="\n").encode()).hexdigest()


@dataclass(frozen=True)
class Split:
    """Train, validation and test rows of one data set, under one schema."""

    name: str
    schema: Schema
    train: pd.DataFrame
    val: pd.DataFrame
    test: pd.DataFrame
    hygiene: dict[str, Any] = field(default_factory=dict)
    """What the hygiene check found (`harmonic.datasets.hygiene.inspect`)."""

    def __post_init__(self) -> None:
        for table in (self.train, self.val, self.test):
            attach(table, self.schema)

    @cached_property
    def encoder(self) -> Encoder:
        """Scales and category codes, fitted once on train and shared by neighbours, metrics and downstream models."""
        return Encoder.fit(self.train, self.schema)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the schema and the three tables."""
        parts = [json.dumps(self.schema.to_json(), sort_keys=True), *map(digest, (self.train, self.val, self.test))]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def with_hygiene(self, hygiene: dict[str, Any]) -> "Split":
        """The same split with what the hygiene check found."""
        return replace(self, hygiene=hygiene)
