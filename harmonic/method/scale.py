"""How much of a table a run uses: whatever hangs on the number of its rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harmonic.lm.batches import Training
from harmonic.method.examples import SMALLEST_POOL, Examples, default_pool
from harmonic.method.sampling import LARGE
from harmonic.seed import derive_seed

HUGE = 100_000
"""A table of more rows is huge: a run that cannot use all of its instructions draws those it can before neighbours are
looked for, and its texts are measured on so many rows, the longest among them."""


@dataclass(frozen=True)
class Scale:
    """A run on a table of so many rows."""

    rows: int
    training: Training
    k: int
    examples: Examples
    pool: int | None
    """As asked for; None for as many as the table has rows for."""
    max_instructions: int | None
    keeps_all: bool
    """Whether no label rule drops any group."""

    @property
    def is_large(self) -> bool:
        """Whether there are rows enough for pools that are wide, and for a classifier."""
        return self.examples == "crossovers" and self.rows > LARGE

    @property
    def draws_first(self) -> bool:
        """Whether the rows to answer with are drawn before their neighbours are known."""
        return self.rows > HUGE and self.keeps_all

    @property
    def answers(self) -> int:
        """How many rows have their neighbours looked for."""
        return min(self._most_instructions, self.rows) if self.draws_first else self.rows

    @property
    def _most_instructions(self) -> int:
        """How many instructions the run can use: `max_instructions`, or as many as its steps see."""
        training = self.training
        steps = self.rows if training.max_steps is None else training.max_steps
        return min(self.max_instructions or self.rows, steps * training.accumulate * training.batch_size)

    @property
    def group_size(self) -> int:
        """Neighbours of each answer."""
        usual = default_pool(self.rows, self.answers) if self.is_large else SMALLEST_POOL
        return self.k if self.examples == "neighbours" else min(self.pool or usual, self.rows - 1)

    def draft_pool(self, size: int) -> int:
        """The same in a draft, where train's groups have this size: few even where those are wide, since a draft's rows are
        nobody's."""
        return size if self.examples == "neighbours" or self.pool is not None else min(size, SMALLEST_POOL)

    def measured(self, lengths: np.ndarray) -> Sequence[int]:
        """The rows whose texts say how long texts are: all of them, or of a huge table some.

        Args:
            lengths: of the texts of the cells, shape (rows, c).
        """
        if self.rows <= HUGE:
            return range(self.rows)
        longest = {int(lengths.sum(axis=1).argmax()), *lengths.argmax(axis=0).tolist()}
        return sorted(longest.union(range(0, self.rows, -(-self.rows // HUGE))))


def drawn(rows: int, most: int, seed: int) -> np.ndarray:
    """All numbers of so many rows, or the most that are wanted, drawn; int64, ascending."""
    if most >= rows:
        return np.arange(rows)
    rng = np.random.default_rng(derive_seed(seed, "max_instructions"))
    return np.sort(rng.choice(rows, most, replace=False))
