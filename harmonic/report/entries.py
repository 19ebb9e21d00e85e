"""Cells of tables: a mean and its spread over seeds, or why there is none."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harmonic.report.significance import Mark

HOLE = "–"
FAILED = "failed"


@dataclass(frozen=True)
class Entry:
    """A cell."""

    state: Literal["value", "hole", "failed", "none"]
    """hole: not there; failed: a seed failed on it; none: not asked of this row."""
    mean: float = math.nan
    sd: float | None = None
    """Standard deviation (n - 1); None of one value."""
    places: int = 3
    mark: Mark = ""

    @property
    def text(self) -> str:
        """Mean ± standard deviation, or what stands in its place."""
        if self.state != "value":
            return {"hole": HOLE, "failed": FAILED, "none": ""}[self.state]
        return f"{self.mean:.{self.places}f}" + ("" if self.sd is None else f" ± {self.sd:.{self.places}f}")


def summarise(values: Sequence[float | None], places: int) -> Entry:
    """Mean and, from two values on, standard deviation; a hole where one is missing or NaN."""
    numbers = np.array(values, dtype=float)
    if not len(numbers) or np.isnan(numbers).any():
        return Entry("hole")
    sd = float(numbers.std(ddof=1)) if len(numbers) > 1 else None
    return Entry("value", float(numbers.mean()), sd, places)
