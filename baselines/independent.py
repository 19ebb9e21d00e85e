"""The floor of utility: every column's own distribution, and no relation between columns."""

from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from harmonic.table import load_table, save_table, schema_of
from harmonic.table.schema import attach


class Independent:
    """Draws each cell from its column in train, independently of the row's other cells."""

    def fit(self, train: pd.DataFrame, *, seed: int, work_dir: Path | None = None) -> Self:
        """Keep train."""
        self.train = train
        return self

    def sample(self, n: int, *, seed: int, work_dir: Path | None = None) -> pd.DataFrame:
        """n rows of cells drawn with replacement, column by column."""
        rng = np.random.default_rng(seed)
        drawn = {name: self.train[name].iloc[rng.integers(len(self.train), size=n)].to_numpy() for name in self.train}
        return attach(pd.DataFrame(drawn), schema_of(self.train))

    def save(self, folder: Path) -> None:
        """Write train."""
        save_table(self.train, folder)

    def load(self, folder: Path) -> Self:
        """Take up what `save` wrote."""
        self.train = load_table(folder)
        return self
