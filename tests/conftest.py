"""Fixtures shared by all tests."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="session")
def paper_data_dir() -> Path:
    """The folder of the paper's tables."""
    folder = os.environ.get("HARMONIC_DATA_DIR")
    if not folder:
        pytest.skip("HARMONIC_DATA_DIR is unset: set it to the folder that holds german/, adult/, diabetes/ and buddy/")
    return Path(folder)


@pytest.fixture
def mixed_frame() -> pd.DataFrame:
    """120 rows with a column of every kind and storage type, some with empty cells; target `label`, last."""
    n = 120
    rng = np.random.default_rng(0)
    holes = np.arange(n) % 10 == 3
    days = pd.Timestamp("2024-01-31") + pd.to_timedelta(rng.integers(0, 400, n), unit="D")
    return pd.DataFrame(
        {
            "amount": rng.integers(-500, 500, n) / 100,
            "count": rng.integers(0, 50, n),
            "visits": np.where(holes, np.nan, rng.integers(0, 9, n)),
            "grade": np.where(holes, None, rng.choice(["A", "B, or C", 'D "E"'], n)),
            "member": rng.random(n) < 0.5,
            "smoker": pd.Series(np.where(holes, None, rng.random(n) < 0.5), dtype=object),
            "day": days.strftime("%d.%m.%Y"),
            "moment": pd.Series(days + pd.to_timedelta(rng.integers(0, 86_400, n), unit="s")).where(~holes),
            "note": [f"note {i}" for i in range(n)],
            "label": np.where(np.arange(n) % 3 == 0, "yes", "no"),
        }
    )


@pytest.fixture
def one_sentence() -> Callable[[object, str], None]:
    """Asserts that an error's message is one sentence in one line and holds some words."""

    def check(error: object, *words: str) -> None:
        message = str(error)
        assert "\n" not in message
        assert message.endswith(".")
        assert not re.search(r"\. [A-Z]", message), message
        for word in words:
            assert word in message, f"{word!r} is not in: {message}"

    return check
