"""The ceiling of utility and the floor of privacy: train itself."""

from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from harmonic.table import load_table, save_table


class Copy:
    """Returns train rows: each once before any comes again, in random order."""

    def fit(self, train: pd.DataFrame, *, seed: int, work_dir: Path | None = None) -> Self:
        """Keep train."""
        self.train = train
        return self

    def sample(self, n: int, *, seed: int, work_dir: Path | None = None) -> pd.DataFrame:
        """n train rows."""
        rng = np.random.default_rng(seed)
        laps = -(-n // len(self.train))
        rows = np.concatenate([rng.permutation(len(self.train)) for _ in range(laps)])[:n]
        return self.train.iloc[rows].reset_index(drop=True)

    def save(self, folder: Path) -> None:
        """Write train."""
        save_table(self.train, folder)

    def load(self, folder: Path) -> Self:
        """Take up what `save` wrote."""
        self.train = load_table(folder)
        return self
