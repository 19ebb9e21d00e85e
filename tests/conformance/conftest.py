"""The split of the controls, and the controls: synthetic tables whose faults are known."""

from functools import cache

import pandas as pd
import pytest

from baselines.controls import Control
from baselines.copy import Copy
from baselines.independent import Independent
from harmonic.table import Split
from tests.conformance.controls import NOISE, N, make_split


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
