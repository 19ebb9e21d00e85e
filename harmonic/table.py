"""Schema, Table, Split: what a column may hold, and tables that obey it.

A table is a `pandas.DataFrame` that obeys a `Schema`. Its columns keep the storage type of the user's file (`Column.dtype`),
so that a synthetic table looks like the real one; what a value *means* is the column's kind. Each kind has one text form
(`Column.write`) and one strict reader (`Column.read`).
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from harmonic.errors import BadInput

if TYPE_CHECKING:
    from harmonic.encoding import Encoder

Kind = Literal["integer", "decimal", "category", "boolean", "datetime", "text"]
Task = Literal["binary", "multiclass", "regression"]
Cell = str | int | float | bool | None

NUMERIC_KINDS = ("integer", "decimal", "datetime")
DISCRETE_KINDS = ("category", "boolean")
_PLAIN_NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclass(frozen=True)
class Column:
    """What one column may hold."""

    name: str
    kind: Kind
    dtype: str
    """Storage type in the user's file: int64, float64, bool, str or datetime64."""
    nullable: bool = False
    places: int = 0
    """Decimal places of a decimal column."""
    low: float | None = None
    high: float | None = None
    """Smallest and largest value of a numeric kind; seconds since 1970 for a datetime."""
    categories: tuple[str, ...] = ()
    """Text forms of a category or boolean column, sorted."""
    datetime_format: str = ""
    """strftime format of a datetime column."""

    @property
    def is_numeric(self) -> bool:
        """Whether the column has an order and differences (integer, decimal, datetime)."""
        return self.kind in NUMERIC_KINDS

    @property
    def stored_as_number(self) -> bool:
        """Whether the user's file stores numbers here; the published system takes such columns for numeric."""
        return self.dtype in ("int64", "float64")

    def numbers(self, values: pd.Series) -> np.ndarray:
        """Values of a numeric kind as float64, shape (n,); datetimes in seconds since 1970, empty cells as NaN."""
        if self.kind != "datetime":
            return pd.to_numeric(values).to_numpy(dtype=np.float64, na_value=np.nan)
        moments = values if self.dtype == "datetime64" else pd.to_datetime(values, format=self.datetime_format)
        seconds = moments.astype("datetime64[s]").astype("int64").astype(np.float64)
        return seconds.where(moments.notna(), np.nan).to_numpy()

    def from_numbers(self, numbers: np.ndarray) -> pd.Series:
        """The inverse of `numbers`, rounded to what the kind can hold; NaN becomes an empty cell."""
        values = pd.Series(numbers, name=self.name)
        if self.kind != "datetime":
            return values.round(self.places)
        moments = pd.to_datetime(values.round(), unit="s")
        return moments if self.dtype == "datetime64" else moments.dt.strftime(self.datetime_format)

    def write(self, values: pd.Series) -> list[str]:
        """The text form of each value, length n; an empty cell is the empty string."""
        empty = values.isna().to_numpy()
        return ["" if is_empty else self._write_one(value) for value, is_empty in zip(values, empty, strict=True)]

    def _write_one(self, value: Any) -> str:
        if self.kind == "integer":
            return str(int(value))
        if self.kind == "decimal":
            return f"{value:.{self.places}f}"
        if self.kind == "datetime" and self.dtype == "datetime64":
            return str(value.strftime(self.datetime_format))
        return str(value)

    def read(self, text: str) -> Cell | pd.Timestamp:
        """The value a text form stands for.

        Raises:
            ValueError: the text is not a value of this column; the message is a short reason that can be counted.
        """
        if text == "":
            if not self.nullable:
                raise ValueError("empty")
            return np.nan if self.stored_as_number else pd.NaT if self.dtype == "datetime64" else None
        if self.kind in DISCRETE_KINDS:
            if text not in self.categories:
                raise ValueError("unknown category")
            return self._as_stored(text)
        if self.kind == "text":
            return text
        if self.kind == "datetime":
            try:
                moment = pd.to_datetime(text, format=self.datetime_format)
            except ValueError:
                raise ValueError("not a date") from None
            self._check_range(moment.timestamp())
            return moment if self.dtype == "datetime64" else text
        if not _PLAIN_NUMBER.fullmatch(text):
            raise ValueError("not a number")
        if len(text.partition(".")[2]) > self.places:
            raise ValueError("too many decimal places")
        self._check_range(float(text))
        return self._as_stored(text)

    def _as_stored(self, text: str) -> Cell:
        if self.dtype == "bool":
            return text == "True"
        if self.dtype == "int64":
            return int(text)
        return float(text) if self.dtype == "float64" else text

    def _check_range(self, number: float) -> None:
        if (self.low is not None and number < self.low) or (self.high is not None and number > self.high):
            raise ValueError("out of range")


@dataclass(frozen=True)
class Schema:
    """The columns of a data set in their order, and what is to be predicted."""

    columns: tuple[Column, ...]
    target: str
    task: Task
    description: str = ""
    """What a row describes, as in "5 tabular data about {description}"."""

    def __getitem__(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def names(self) -> list[str]:
        """Column names in table order."""
        return [column.name for column in self.columns]

    @property
    def features(self) -> list[Column]:
        """All columns but the target."""
        return [column for column in self.columns if column.name != self.target]

    def to_json(self) -> dict[str, Any]:
        """A plain form for files and digests; `from_json` is its inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Schema":
        """The schema that `to_json` wrote."""
        columns = tuple(Column(**{**column, "categories": tuple(column["categories"])}) for column in plain["columns"])
        return cls(columns, plain["target"], plain["task"], plain["description"])

    def empty_frame(self) -> pd.DataFrame:
        """A table of no rows with every column."""
        return pd.DataFrame({name: [] for name in self.names})

    def restore_dtypes(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The same rows in schema order with each column stored as `Column.dtype` says (int64 with holes: float64)."""
        columns = {}
        for column in self.columns:
            values = frame[column.name]
            if column.stored_as_number:
                with_holes = bool(values.isna().any())
                values = pd.to_numeric(values).astype("float64" if with_holes else column.dtype)
            elif column.dtype == "bool" and not values.isna().any():
                values = values.astype(bool)
            elif column.dtype in ("str", "bool"):
                values = values.astype(object).where(values.notna(), None)
            columns[column.name] = values.reset_index(drop=True)
        return attach(pd.DataFrame(columns), self)


def attach(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The same table, carrying its schema in `attrs`, where pandas keeps it through copies and row selections."""
    table.attrs["schema"] = schema
    return table


def schema_of(table: pd.DataFrame) -> Schema:
    """The schema a table carries; inferred from its values if it carries none (a DataFrame of the user's own)."""
    if isinstance(table.attrs.get("schema"), Schema):
        return table.attrs["schema"]
    from harmonic.infer import infer_schema

    return infer_schema(table)


def coerce(frame: pd.DataFrame, schema: Schema, source: str) -> pd.DataFrame:
    """`frame` as a table of `schema`: its columns in order, stored as the schema says, every cell of the right kind.

    Ranges are not enforced: a hold-out may reach beyond train.

    Args:
        frame: rows as read from a file or made by a generator.
        schema: what they must obey.
        source: how an error names the rows, e.g. "test.csv".

    Raises:
        BadInput: a column is missing or unknown, or a cell is not of its column's kind; names column, row and value.
    """
    missing = [name for name in schema.names if name not in frame.columns]
    unknown = [str(name) for name in frame.columns if name not in schema.names]
    if missing or unknown:
        found = " and ".join(
            f"{what} {', '.join(map(repr, names[:3]))}{', …' if len(names) > 3 else ''}"
            for what, names in (("lacks", missing), ("has the unknown column", unknown))
            if names
        )
        raise BadInput(f"{source} must have the columns of train, but {found}: add or drop them in that file.")
    table = frame[schema.names].reset_index(drop=True)
    for column in schema.columns:
        table[column.name] = _coerce_column(table[column.name], column, source)
    return schema.restore_dtypes(table)


def _coerce_column(values: pd.Series, column: Column, source: str) -> pd.Series:
    empty = values.isna()
    if not column.nullable:
        cure = f"fill it or set dataset.columns.{{{column.name!r}: {{nullable: true}}}}"
        _refuse(empty, values, column, source, f"an empty cell where train has none: {cure}")
    if column.kind == "text":
        return values.astype(object)
    if column.kind == "datetime":
        if column.dtype == "datetime64" and pd.api.types.is_datetime64_any_dtype(values):
            return values
        moments = pd.to_datetime(values, format=column.datetime_format, errors="coerce")
        _refuse(moments.isna() & ~empty, values, column, source, f"no date of the form {column.datetime_format}")
        return moments if column.dtype == "datetime64" else values
    if column.kind in DISCRETE_KINDS:
        texts = discrete_texts(values, column)
        cure = "move a row with it into train, or list the column's categories in the data set's YAML"
        known = texts.isin(column.categories) | empty
        _refuse(~known, values, column, source, f"a category that train does not have: {cure}")
        return texts.map(column._as_stored, na_action="ignore")
    numbers = pd.to_numeric(values, errors="coerce")
    _refuse(numbers.isna() & ~empty | np.isinf(numbers.fillna(0.0)), values, column, source, "no finite number")
    if column.kind == "integer":
        _refuse((numbers % 1 != 0) & ~empty, values, column, source, "no integer")
    return numbers


def discrete_texts(values: pd.Series, column: Column) -> pd.Series:
    """Text forms of a category or boolean column; numbers are written as the column stores them (1 and 1.0 are one)."""
    if not column.stored_as_number:
        return values.map(str, na_action="ignore").astype(object)

    def write(value: Any, number: float) -> Any:
        if np.isnan(number):
            return value
        return str(int(number)) if column.dtype == "int64" and number % 1 == 0 else str(float(number))

    numbers = pd.to_numeric(values, errors="coerce")
    return pd.Series([write(*pair) for pair in zip(values, numbers, strict=True)], index=values.index, dtype=object)


def _refuse(bad: pd.Series, values: pd.Series, column: Column, source: str, found: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad.to_numpy())[0])
        others = int(bad.sum()) - 1
        more = f" (and {others} more such cells)" if others else ""
        raise BadInput(
            f"{source}, column {column.name!r}, row {row + 1}: expected {column.kind}, found {values.iloc[row]!r}, "
            f"{found}{more}."
        )


def save_table(table: pd.DataFrame, folder: Path) -> None:
    """Write table.csv and schema.json into a folder."""
    table.to_csv(folder / "table.csv", index=False)
    (folder / "schema.json").write_text(json.dumps(schema_of(table).to_json(), indent=1))


def load_table(folder: Path) -> pd.DataFrame:
    """The table that `save_table` wrote, bit for bit."""
    schema = Schema.from_json(json.loads((folder / "schema.json").read_text()))
    texts = {column.name: "str" for column in schema.columns if column.dtype == "str"}
    frame = pd.read_csv(
        folder / "table.csv", dtype=texts, float_precision="round_trip", keep_default_na=False, na_values=[""]
    )
    return coerce(frame, schema, "table.csv")


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
    """What the hygiene check found (`harmonic.hygiene.inspect`)."""

    def __post_init__(self) -> None:
        for table in (self.train, self.val, self.test):
            attach(table, self.schema)

    @cached_property
    def encoder(self) -> "Encoder":
        """Scales and category codes, fitted once on train and shared by neighbours, metrics and downstream models."""
        from harmonic.encoding import Encoder

        return Encoder.fit(self.train, self.schema)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the schema and the three tables."""
        parts = [json.dumps(self.schema.to_json(), sort_keys=True), *map(digest, (self.train, self.val, self.test))]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def with_hygiene(self, hygiene: dict[str, Any]) -> "Split":
        """The same split with what the hygiene check found."""
        return replace(self, hygiene=hygiene)
