"""A table whose relations are known, and the controls: synthetic tables whose faults are known."""

from functools import cache

import numpy as np
import pandas as pd
import pytest

from baselines.controls import Control
from baselines.copy import Copy
from baselines.independent import Independent
from harmonic.infer import infer_schema
from harmonic.table import Split, coerce

N = 600
"""Rows of train, of val and of test."""
NOISE = {"noisy_slight": 0.05, "noisy_some": 0.3, "noisy_much": 0.6}
CONTROLS = ("copy", "holdout", "independent", *NOISE, "half_copy", "shuffled_target", "majority")


def people(n: int, seed: int) -> pd.DataFrame:
    """Columns that share two hidden causes and the target's; each value occurs often, rows once."""
    rng = np.random.default_rng(seed)
    ill = rng.random(n) < 0.35
    first, second = rng.normal(size=(2, n))

    def whole(values: np.ndarray, middle: float, spread: float) -> np.ndarray:
        return np.clip(np.round(middle + spread * values), 0, 99).astype(int)

    noise = rng.normal(size=(7, n))
    return pd.DataFrame(
        {
            "age": whole(first + 0.3 * noise[0], 48, 15),
            "weight": whole(first - second + 0.4 * noise[1], 60, 11),
            "pressure": whole(1.5 * ill + 0.5 * first + 0.6 * noise[2], 40, 12),
            "sugar": whole(1.2 * ill + second + 0.5 * noise[3], 45, 12),
            "pulse": whole(second + 0.5 * noise[4], 50, 14),
            "visits": whole(0.8 * ill + 0.7 * noise[5], 20, 9),
            "ward": np.array(["north", "south", "east", "west"])[np.digitize(second + 0.3 * noise[6], [-1, 0, 1])],
            "smoker": np.where(rng.random(n) < np.where(ill, 0.6, 0.25), "yes", "no"),
            "state": np.where(ill, "ill", "well"),
        }
    )


def make_split(number: int) -> Split:
    """600 rows a part, of one source."""
    train, val, test = (people(N, number + part) for part in range(3))
    schema = infer_schema(train, target="state")
    return Split("people", schema, *(coerce(rows, schema, "people") for rows in (train, val, test)))


@pytest.fixture(scope="session")
def split() -> Split:
    """The split of the controls."""
    return make_split(1)


@pytest.fixture(scope="session")
def control(split: Split):
    """Name of a control to its rows."""

    @cache
    def rows(name: str) -> pd.DataFrame:
        if name == "holdout":
            return split.val
        plain = {"copy": Copy(), "independent": Independent()}
        noisy = {name: Control("noisy_copy", level) for name, level in NOISE.items()}
        maker = {**plain, **noisy}.get(name) or Control(name)
        return maker.fit(split.train, seed=0).sample(N, seed=0)

    return rows
