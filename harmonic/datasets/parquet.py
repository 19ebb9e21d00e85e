"""Parquet files as tables: what pandas would read from the same rows as CSV, in a tenth of the time, texts as they are."""

import importlib
import re
from pathlib import Path
from typing import Any

import pandas as pd

from harmonic.errors import BadInput

UNNAMED = re.compile(r"__index_level_\d+__")
"""What pandas calls an index without a name."""


def read_parquet(path: Path) -> pd.DataFrame:
    """A Parquet file; empty cells are NaN, None or NaT, and an empty text is an empty cell, as in a CSV file.

    Raises:
        BadInput: no such file, no Parquet, a column of a type no CSV file has, a column name twice, no rows, or no pyarrow.
    """
    if not path.is_file():
        raise BadInput(f"{path} must be a Parquet file, but there is none: check the path.")
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise BadInput(f"{path} is read by pyarrow, but it is not installed: pip install pyarrow, or save as CSV.") from None
    try:
        table = parquet.read_table(path)
    except (arrow.ArrowInvalid, OSError):
        raise BadInput(f"{path} must be a Parquet file, but cannot be read as one: check what wrote it.") from None
    twice = [name for name in table.column_names if table.column_names.count(name) > 1]
    if twice:
        raise BadInput(f"{path} must name each column once, but {twice[0]!r} stands there twice: rename one.")
    table = _without_index(table)
    for field in table.schema:
        if not _is_plain(field.type, arrow.types):
            raise BadInput(
                f"{path}, column {field.name!r} must hold numbers, texts, true and false, or dates without a time zone, but "
                f"holds {field.type}: cast it, or leave it out of the file."
            )
    if not len(table):
        raise BadInput(f"{path} must hold rows, but holds none: check what wrote it.")
    frame = table.to_pandas(date_as_object=False, ignore_metadata=True)
    for field in table.schema:
        if isinstance(frame[field.name].dtype, pd.CategoricalDtype) or arrow.types.is_large_string(field.type):
            frame[field.name] = frame[field.name].astype(object)
        if frame[field.name].dtype == object:
            frame[field.name] = frame[field.name].where(frame[field.name] != "", None)
    return frame


def _without_index(table: Any) -> Any:
    """The table less the row numbers that pandas keeps of rows it has filtered or sorted; an index with a name comes first,
    as in the CSV file of the same rows."""
    index = [name for name in (table.schema.pandas_metadata or {}).get("index_columns", ()) if isinstance(name, str)]
    named = [name for name in index if not UNNAMED.fullmatch(name)]
    return table.select([*named, *(name for name in table.column_names if name not in index)])


def _is_plain(kind: Any, types: Any) -> bool:
    if types.is_dictionary(kind):
        return _is_plain(kind.value_type, types)
    if types.is_timestamp(kind):
        return kind.tz is None
    tests = (types.is_integer, types.is_floating, types.is_string, types.is_large_string, types.is_boolean, types.is_date)
    return any(is_kind(kind) for is_kind in tests)
