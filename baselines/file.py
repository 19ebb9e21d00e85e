"""Rows made elsewhere, to be scored like any other method's."""

import hashlib
from pathlib import Path
from typing import Literal, Self

import pandas as pd

from harmonic.datasets import read_csv
from harmonic.errors import BadInput, check_choice
from harmonic.table import coerce, load_table, save_table, schema_of
from harmonic.table.schema import Schema

Invalid = Literal["error", "drop"]


class File:
    """A CSV of synthetic rows.

    Args:
        path: the CSV; its columns are those of the data set.
        invalid: what to do about rows that break the schema: error names the first; drop leaves them out and counts them.
    """

    def __init__(self, path: str, invalid: Invalid = "error") -> None:
        check_choice("method.invalid", invalid, Invalid)
        self.path = Path(path)
        self.invalid = invalid
        self.report: dict[str, int] = {}

    def digest_inputs(self) -> dict[str, str]:
        """SHA-256 of the file: another content is another result."""
        if not self.path.is_file():
            raise BadInput(f"method.path must name a CSV of synthetic rows, but {self.path} is no file: check the path.")
        return {self.path.name: hashlib.sha256(self.path.read_bytes()).hexdigest()}

    def fit(self, train: pd.DataFrame, *, seed: int, work_dir: Path | None = None) -> Self:
        """Read the file under train's schema; raises BadInput for a row that breaks it, unless invalid=drop."""
        schema = schema_of(train)
        frame = read_csv(self.path, schema)
        self.report = {"rows_in_file": len(frame), "rows_dropped": 0}
        if self.invalid == "drop":
            coerce(frame.head(0), schema, self.path.name)
            kept = frame.iloc[_valid_rows(frame, schema)]
            self.report["rows_dropped"] = len(frame) - len(kept)
            frame = kept
        self.table = coerce(frame, schema, self.path.name)
        if self.table.empty:
            raise BadInput(f"{self.path} must hold rows that obey the data set's schema, but none does: check the file.")
        return self

    @property
    def rows(self) -> int:
        """How many rows there are, which is how many are scored unless n_samples says otherwise."""
        return len(self.table)

    def sample(self, n: int, *, seed: int, work_dir: Path | None = None) -> pd.DataFrame:
        """The first n rows."""
        if n > self.rows:
            raise BadInput(f"n_samples={n} asks for more rows than {self.path} holds ({self.rows}): lower n_samples.")
        return self.table.head(n)

    def save(self, folder: Path) -> None:
        """Write the rows."""
        save_table(self.table, folder, self.table.attrs["schema"])  # train's, which one class of it would not show

    def load(self, folder: Path) -> Self:
        """Take up what `save` wrote."""
        self.table = load_table(folder)
        return self


def _valid_rows(frame: pd.DataFrame, schema: Schema, start: int = 0) -> list[int]:
    """Numbers of the rows that obey the schema, by halving what does not: few bad rows cost few checks."""
    try:
        coerce(frame, schema, "")
        return list(range(start, start + len(frame)))
    except BadInput:
        if len(frame) == 1:
            return []
    middle = len(frame) // 2
    return [
        *_valid_rows(frame.iloc[:middle], schema, start),
        *_valid_rows(frame.iloc[middle:], schema, start + middle),
    ]
