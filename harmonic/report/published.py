"""The paper's own figures, to stand beside ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_suffix(".yaml")


@dataclass(frozen=True)
class Figure:
    """A cell of the paper's tables."""

    mean: float
    sd: float | None
    """None where the paper prints none."""


@dataclass(frozen=True)
class Published:
    """The paper's two tables of results."""

    source: str
    methods: Mapping[str, tuple[str, ...]]
    """The paper's name of a method to our names, in the paper's order."""
    datasets: tuple[str, ...]
    """By our names, in the paper's order."""
    scores: Mapping[str, Mapping[str, Mapping[str, Figure]]]
    """mle, lle, dcr, nrs or dlt; data set; the paper's name of a method."""

    def name_of(self, method: str) -> str:
        """The paper's name of a method of ours; empty for one that the paper does not have."""
        return next((name for name, ours in self.methods.items() if method in ours), "")

    def figure(self, score: str, dataset: str, method: str) -> Figure | None:
        """What the paper says of a method of ours; None where it says nothing."""
        return self.scores.get(score, {}).get(dataset, {}).get(self.name_of(method))


@cache
def published() -> Published:
    """The figures that ship with the package."""
    import yaml

    plain = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    scores = {
        score: {
            dataset: {name: Figure(*values, *[None] * (2 - len(values))) for name, values in cells.items()}
            for dataset, cells in rows.items()
        }
        for score, rows in plain["scores"].items()
    }
    methods = {name: tuple(ours) for name, ours in plain["methods"].items()}
    return Published(plain["source"], methods, tuple(plain["datasets"]), scores)
