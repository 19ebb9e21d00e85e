"""Tables whose faults are known because they were put there: what metrics are checked with (tests/conformance)."""

from pathlib import Path
from typing import Literal, Self

import numpy as np
import pandas as pd

from baselines.copy import Copy
from baselines.independent import Independent
from harmonic.errors import BadInput, check_at_least, check_choice
from harmonic.seed import derive_seed
from harmonic.table import load_table, save_table, schema_of
from harmonic.table.schema import DISCRETE_KINDS, Schema

Kind = Literal["noisy_copy", "half_copy", "shuffled_target", "majority"]


class Control:
    """Train rows with one fault.

    Args:
        kind: noisy_copy: every number moves by Gaussian noise of `level` standard deviations of its column, within its
            range, and every category, with probability `level`, is drawn anew from its column. half_copy: half of the rows
            are train's, the others have independent columns. shuffled_target: train rows whose targets are dealt anew.
            majority: rows of the most frequent class alone.
        level: of the noise, 0 and more; the other kinds have none.
    """

    def __init__(self, kind: Kind, level: float = 0.1) -> None:
        check_choice("method.kind", kind, Kind)
        check_at_least("method.level", level, 0)
        self.kind, self.level = kind, level

    def fit(self, train: pd.DataFrame, *, seed: int, work_dir: Path | None = None) -> Self:
        """Keep train."""
        if self.kind == "majority" and schema_of(train).task == "regression":
            raise BadInput("method=majority needs classes, but the target is a number: use method=shuffled_target.")
        self.train = train
        return self

    def sample(self, n: int, *, seed: int, work_dir: Path | None = None) -> pd.DataFrame:
        """n rows; train rows come each once before any comes again."""
        schema, rng = schema_of(self.train), np.random.default_rng(derive_seed(seed, self.kind))
        if self.kind == "majority":
            return _repeated(self.train[_is_most_frequent(self.train[schema.target])], n, seed)
        if self.kind == "half_copy":
            half = _repeated(self.train, n - n // 2, seed)
            other = Independent().fit(self.train, seed=seed).sample(n // 2, seed=seed)
            return schema.restore_dtypes(pd.concat([half, other], ignore_index=True)) if len(other) else half
        rows = _repeated(self.train, n, seed)
        if self.kind == "shuffled_target":
            rows[schema.target] = rows[schema.target].to_numpy()[rng.permutation(n)]
            return rows
        return _with_noise(rows, self.train, schema, self.level, rng)

    def save(self, folder: Path) -> None:
        """Write train."""
        save_table(self.train, folder)

    def load(self, folder: Path) -> Self:
        """Take up what `save` wrote."""
        self.train = load_table(folder)
        return self


def _repeated(table: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    return Copy().fit(table, seed=seed).sample(n, seed=seed)


def _is_most_frequent(values: pd.Series) -> pd.Series:
    return values == values.value_counts().index[0]


def _with_noise(
    rows: pd.DataFrame, train: pd.DataFrame, schema: Schema, level: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Rows with every cell moved; empty cells and texts stay."""
    moved = {}
    for column in schema.columns:
        values = rows[column.name]
        if column.is_numeric:
            numbers = column.numbers(values)
            noise = rng.normal(0, level * np.nanstd(column.numbers(train[column.name])), len(rows))
            values = column.from_numbers(np.clip(numbers + noise, column.low, column.high))
        elif column.kind in DISCRETE_KINDS:
            drawn = train[column.name].iloc[rng.integers(len(train), size=len(rows))].reset_index(drop=True)
            values = values.mask((rng.random(len(rows)) < level) & values.notna(), drawn)
        moved[column.name] = values
    return schema.restore_dtypes(pd.DataFrame(moved))
