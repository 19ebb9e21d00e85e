"""A table's file as a DataFrame, read so that nothing of it is lost: CSV as it is, Parquet by its own module."""

import csv
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harmonic.datasets.parquet import read_parquet
from harmonic.errors import BadInput
from harmonic.table.schema import Schema

EMPTY_TEXTS = ["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>"]
EMPTY_TEXTS += ["N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"]
"""What stands for an empty cell in a CSV file, as pandas has it. A category of such a name needs a Parquet file."""
FIRST_ROWS = 1000
"""Rows of a file that are looked at for codes."""
CODE = r"0\d+|\+\d+|\d+[eE]\d+"
"""What a number would lose: a postcode of 01004, a telephone number of +44…, a lot of 4E3."""


def read_file(path: Path, schema: Schema | None = None) -> pd.DataFrame:
    """A CSV or Parquet file, by its ending; see `read_csv` and `read_parquet`."""
    return read_parquet(path) if path.suffix.lower() == ".parquet" else read_csv(path, schema)


def read_csv(path: Path, schema: Schema | None = None) -> pd.DataFrame:
    """A CSV file with a header, in UTF-8; empty cells are NaN, and so are those of `EMPTY_TEXTS`.

    Args:
        path: the file.
        schema: what its columns hold, where that is known: texts are then left as they are, digits among them, and a
            category that is one of `EMPTY_TEXTS` is no empty cell, nor is a text of a column without any. Without it
            columns are typed by their values, and a column with a `CODE` among the first `FIRST_ROWS` is one of texts.

    Raises:
        BadInput: no such file, a folder, an empty file, another encoding, unequal rows, a column name twice, or no rows.
    """
    if not path.is_file():
        fault = "is a folder: give the path of a file in it" if path.is_dir() else "there is none: check the path"
        raise BadInput(f"{path} must be a CSV file, but {fault}.")
    if b"\0" in path.read_bytes():
        raise BadInput(f"{path} must be text, but holds a NUL: save it as UTF-8 text.")
    try:
        header = pd.read_csv(path, header=None, nrows=1, dtype=str, encoding="utf-8", keep_default_na=False).iloc[0]
        header = header[header != ""]
        sign = next((sign for sign in (";", "\t") if sign in header.iloc[0]), None) if len(header) == 1 else None
        if sign:
            raise BadInput(f"{path} must have commas between its cells, but its header has {sign!r}: save it with commas.")
        # round_trip: the default parser may miss a number's last bit, which would show as ten more decimal places.
        frame = pd.read_csv(
            path, encoding="utf-8", float_precision="round_trip", low_memory=False, **_typed(path, header, schema)
        )
    except UnicodeDecodeError as error:
        byte = f"{error.object[error.start]:#04x}"
        raise BadInput(f"{path} must be UTF-8 text, but holds the byte {byte}: save it as UTF-8.") from None
    except pd.errors.EmptyDataError:
        raise BadInput(f"{path} must hold a header and rows, but is empty: check what wrote it.") from None
    except pd.errors.ParserError as error:
        found = re.search(r"Expected .* saw \d+|EOF inside string.*", str(error))
        what = found.group(0).replace("Expected", "expected") if found else "it cannot be parsed"
        raise BadInput(f"{path} must be a CSV file with rows of equal length, but {what}: mend that line.") from None
    except OSError as error:
        raise BadInput(f"{path} must be a file that can be read, but {error.strerror}: check its permissions.") from None
    twice = header[header.duplicated()]
    if len(twice):
        mend = "rename one, or put a line of names before the rows"
        raise BadInput(f"{path} must name each column once, but {twice.iloc[0]!r} stands there twice: {mend}.")
    if not isinstance(frame.index, pd.RangeIndex):
        raise BadInput(f"{path} must have a name for each column, but its rows are longer than its header: complete it.")
    if frame.empty:
        raise BadInput(f"{path} must hold rows below its header, but holds none: check what wrote it.")
    _check_lengths(path, len(frame.columns))
    return frame


def _check_lengths(path: Path, columns: int) -> None:
    """Raise BadInput for a row of too few cells, which pandas fills up with empty ones."""
    csv.field_size_limit(sys.maxsize)
    with path.open(newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(row for row in csv.reader(file) if row):
            if len(row) < columns:
                raise BadInput(
                    f"{path} must be a CSV file with rows of equal length, but row {number} has {len(row)} of {columns} "
                    f"cells: complete it."
                )


def _typed(path: Path, header: Sequence[str], schema: Schema | None) -> dict[str, Any]:
    """What pandas is told of a file's columns."""
    if schema is None:
        first = pd.read_csv(path, nrows=FIRST_ROWS, dtype=str, encoding="utf-8", keep_default_na=False)
        codes = [name for name in first if first[name].astype(str).str.fullmatch(CODE).any()]
        return {"dtype": dict.fromkeys(codes, str), "keep_default_na": False, "na_values": EMPTY_TEXTS}
    known = {column.name: column for column in schema.columns}
    categories = {name: known[name].categories if name in known else () for name in header}
    texts = {name for name in header if name in known and known[name].kind == "text" and not known[name].nullable}
    return {
        "dtype": {name: str for name in header if name in known and known[name].dtype == "str"},
        "keep_default_na": False,
        "na_values": {
            name: [""] if name in texts else [text for text in EMPTY_TEXTS if text not in held]
            for name, held in categories.items()
        },
    }
