"""Tables that come inside dependencies: no network, no copies in the repository. Each import is lazy."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd


def _affairs() -> pd.DataFrame:
    from statsmodels.datasets import fair

    frame = fair.load_pandas().data
    return frame.assign(affairs=(frame["affairs"] > 0).astype("int64"))


def _placements() -> pd.DataFrame:
    from sdmetrics.demos import load_demo

    return load_demo("single_table")[0]["student_placements"]


def _sklearn(loader: str, **settings: Any) -> Callable[[], pd.DataFrame]:
    def load() -> pd.DataFrame:
        from sklearn import datasets

        return getattr(datasets, loader)(as_frame=True, **settings).frame

    return load


BUNDLED: Mapping[str, Callable[[], pd.DataFrame]] = {
    "affairs": _affairs,
    "placements": _placements,
    "wine": _sklearn("load_wine"),
    "breast_cancer": _sklearn("load_breast_cancer"),
    "progression": _sklearn("load_diabetes", scaled=False),
}
"""Name to the function that loads the whole table."""
