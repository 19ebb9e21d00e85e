"""Real rows that are neither train nor test: what a perfect generator would give."""

from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from harmonic.errors import BadInput
from harmonic.table import load_table, save_table


class Holdout:
    """Returns validation rows, each once: no metric learns from them.

    Three attacks of `mia` hold validation rows as a sample of the population. Beside these very rows they tell nobody apart
    (an area of .5), so that the strongest attack is that of fewer, and of .5 at least.

    There are as many as there are, fewer than train: a data set's val is what is scored unless n_samples asks for less.
    """

    learns_from = "val"

    def fit(self, train: pd.DataFrame, *, seed: int, work_dir: Path | None = None) -> Self:
        """Keep the rows, which are val's."""
        self.rows_kept = train
        return self

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.rows_kept)

    def sample(self, n: int, *, seed: int, work_dir: Path | None = None) -> pd.DataFrame:
        """n of them, in random order."""
        if n > self.rows:
            raise BadInput(f"method=holdout has the {self.rows} rows of val, but n_samples={n}: leave n_samples null.")
        chosen = np.random.default_rng(seed).permutation(self.rows)[:n]
        return self.rows_kept.iloc[chosen].reset_index(drop=True)

    def save(self, folder: Path) -> None:
        """Write the rows."""
        save_table(self.rows_kept, folder)

    def load(self, folder: Path) -> Self:
        """Take up what `save` wrote."""
        self.rows_kept = load_table(folder)
        return self
