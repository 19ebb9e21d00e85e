"""What a data set's columns may hold: kinds, domains, text forms."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

Kind = Literal["integer", "decimal", "category", "boolean", "datetime", "text"]
Task = Literal["binary", "multiclass", "regression"]
Cell = str | int | float | bool | None

NUMERIC_KINDS = ("integer", "decimal", "datetime")
DISCRETE_KINDS = ("category", "boolean")
MAX_PLACES = 10
"""Decimal places that a column may have."""
_SECONDS = {"%f": 1, "%S": 1, "%M": 60, "%H": 3600, "%I": 3600}
"""What the finest sign of a moment's format counts, in seconds; a day without any."""
_PLAIN_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_LONE_RETURN = re.compile(r"\r(?!\n)")


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
    alphabet: str = ""
    """Characters that a text column is written with, sorted; empty for any."""
    padded: bool = True
    """Whether a datetime's texts are as strftime writes them; else they may leave out a month's or a day's leading zero."""

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
        step = self.moment_step
        whole = (values / step).round().astype("Int64") * step  # Int64: a column without a moment overflows as float64
        moments = pd.to_datetime(whole, unit="s").astype("datetime64[ns]")
        return moments if self.dtype == "datetime64" else moments.dt.strftime(self.datetime_format)

    @property
    def moment_step(self) -> int:
        """Seconds between neighbouring moments of a datetime."""
        return next((seconds for sign, seconds in _SECONDS.items() if sign in self.datetime_format), 86_400)

    def write(self, values: pd.Series) -> list[str]:
        """The text form of each value, length n; an empty cell is the empty string."""
        empty = values.isna().to_numpy()
        return ["" if is_empty else self._write_filled(value) for value, is_empty in zip(values, empty, strict=True)]

    def write_one(self, value: Any) -> str:
        """The text form of one value, the same as in `write`."""
        return "" if pd.isna(value) else self._write_filled(value)

    def _write_filled(self, value: Any) -> str:
        if self.kind in ("integer", "datetime") and self.dtype != "datetime64":
            return plain_text(value)
        if self.kind == "decimal":
            text = f"{value:.{self.places}f}"
            return text.removeprefix("-") if not text.strip("-0.") else text
        if self.kind == "datetime":
            return str(value.strftime(self.datetime_format))
        if self.kind in DISCRETE_KINDS and self.stored_as_number:
            return _number_text(float(value), self.dtype)
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
            return self.stored(text)
        if self.kind == "text":
            if fault := unkept(text):
                raise ValueError(f"text with {fault}")
            return text
        if self.kind == "datetime":
            if not _has_digit(text):
                raise ValueError("not a date")
            try:
                moment = pd.to_datetime(text, format=self.datetime_format)
            except ValueError:
                raise ValueError("not a date") from None
            if self.padded and moment.strftime(self.datetime_format) != text:
                raise ValueError("not a date")
            self._check_range(moment.timestamp())
            return moment if self.dtype == "datetime64" else text
        if not _PLAIN_NUMBER.fullmatch(text):
            raise ValueError("not a number")
        if len(text.partition(".")[2]) > self.places:
            raise ValueError("too many decimal places")
        self._check_range(float(text))
        return self.stored(text)

    def stored(self, text: str) -> Cell:
        """The value that a category's or a number's text is stored as."""
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
    constraints: tuple[str, ...] = ()
    """Rules that a whole row obeys (`harmonic.table.constraints`)."""

    def __getitem__(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    def __deepcopy__(self, memo: Any) -> "Schema":
        """Itself: nothing in it changes, and pandas copies `attrs` for every column it hands out."""
        return self

    @property
    def names(self) -> list[str]:
        """Column names in table order."""
        return [column.name for column in self.columns]

    @property
    def features(self) -> list[Column]:
        """All columns but the target."""
        return [column for column in self.columns if column.name != self.target]

    @property
    def with_holes(self) -> "Schema":
        """The same with empty cells allowed in every column."""
        return replace(self, columns=tuple(replace(column, nullable=True) for column in self.columns))

    def to_json(self) -> dict[str, Any]:
        """A plain form for files and digests; `from_json` is its inverse. What is rare is named where it is there alone."""
        plain = asdict(self)
        for column in plain["columns"]:
            for name, usual in (("alphabet", ""), ("padded", True)):
                if column[name] == usual:
                    del column[name]
        return plain if self.constraints else {name: value for name, value in plain.items() if name != "constraints"}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Schema":
        """The schema that `to_json` wrote."""
        columns = tuple(Column(**{**column, "categories": tuple(column["categories"])}) for column in plain["columns"])
        constraints = tuple(plain.get("constraints", ()))
        return cls(columns, plain["target"], plain["task"], plain["description"], constraints)

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
            elif column.dtype == "datetime64":
                values = pd.to_datetime(values)
            elif column.dtype in ("str", "bool"):
                values = values.astype(object).where(values.notna(), None)
            columns[column.name] = values.reset_index(drop=True)
        return attach(pd.DataFrame(columns), self)


def unkept(text: str) -> str:
    """What of a text our own CSV files would lose; the empty string where there is nothing.

    NUL ends a text, a lone carriage return a row, and UTF-8 has no half characters.
    """
    if "\0" in text:
        return "a NUL"
    if _LONE_RETURN.search(text):
        return "a lone carriage return"
    return "half a surrogate pair" if any("\ud800" <= letter <= "\udfff" for letter in text) else ""


def storage(values: pd.Series) -> str:
    """How a user's file stores a column: int64, float64, bool, str or datetime64."""
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


def moments(values: pd.Series, form: str) -> pd.Series:
    """Texts of a format as moments; NaT where one is none."""
    found = pd.to_datetime(values, format=form, errors="coerce")
    if pd.api.types.is_datetime64_any_dtype(values):
        return found
    return found.where(values.map(lambda value: _has_digit(str(value)), na_action="ignore").eq(True), pd.NaT)


def _has_digit(text: str) -> bool:
    """Whether a text may be a date: pandas takes "now", "today", "nan" and "NaT" for moments, whatever the format."""
    return any(map(str.isdigit, text))


def attach(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The same table, carrying its schema in `attrs`, where pandas keeps it through copies and row selections."""
    table.attrs["schema"] = schema
    return table


def written_in_full(texts: pd.Series, form: str) -> np.ndarray:
    """Which texts are what strftime writes of their moment, zeros and all (2024-03-02, not 2024-3-2), bool, shape (n,)."""
    return (moments(texts, form).dt.strftime(form) == texts.map(plain_text)).to_numpy()


def plain_text(cell: Any) -> str:
    """A cell's text; whole numbers, which beside an empty cell are stored as floats, are 7 and 20240131, not 7.0."""
    return str(int(cell)) if isinstance(cell, int | float | np.integer | np.floating) and cell % 1 == 0 else str(cell)


def discrete_texts(values: pd.Series, column: Column) -> pd.Series:
    """Text forms of a category or boolean column; numbers are written as the column stores them (1 and 1.0 are one)."""
    if not column.stored_as_number:
        return values.map(str, na_action="ignore").astype(object)

    numbers = pd.to_numeric(values, errors="coerce")
    texts = [
        value if np.isnan(number) else _number_text(number, column.dtype)
        for value, number in zip(values, numbers, strict=True)
    ]
    return pd.Series(texts, index=values.index, dtype=object)


def _number_text(number: float, dtype: str) -> str:
    """A category's text that a file stores as a number: 1 where it stores whole numbers, however 1.0 came there."""
    return plain_text(number) if dtype == "int64" else str(float(number))
