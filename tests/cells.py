"""What several tests run: a table of 60 rows as a CSV, and the configuration of a cell on it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

COPY = {"_target_": "baselines.copy.Copy"}
DCR = {"_target_": "harmonic.metrics.distance.DistanceToClosestRecord"}
NRS = {"_target_": "harmonic.metrics.distance.NewRowSynthesis"}


class Failing:
    """A metric with a defect of its own."""

    def __call__(self, *tables: Any, **settings: Any) -> dict[str, float]:
        """What no user causes."""
        raise RuntimeError("a defect")


def write_csv(path: Path, sizes: int = 90) -> Path:
    """A number of so many values, a category, and a target of two classes; `path`."""
    rng = np.random.default_rng(0)
    n = 60
    frame = {"size": rng.integers(0, sizes, n), "colour": rng.choice(["red", "blue"], n), "y": ["a", "b"] * (n // 2)}
    pd.DataFrame(frame).to_csv(path, index=False)
    return path


def cell(csv: Path, root: Path, method: dict[str, Any] = COPY, **changes: Any) -> dict[str, Any]:
    """A cell that writes under `root` alone; other values by keyword."""
    return {
        "names": {"method": method["_target_"].rpartition(".")[2].lower(), "model": "tiny"},
        "dataset": {"_target_": "harmonic.datasets.File", "path": str(csv), "name": "mine"},
        "method": method,
        "metrics": {"dcr": DCR, "nrs": NRS},
        "seed": 0,
        "n_samples": None,
        "threads": 1,
        "cache_dir": str(root / "cache"),
        "results_dir": str(root / "runs"),
        **changes,
    }
