"""What the conformance tests share: a table whose relations are known, a generator that remembers, and the metrics."""

from functools import cache

import hydra.utils
import numpy as np
import pandas as pd
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from harmonic.codec import RowCodec
from harmonic.table import Split, coerce
from harmonic.table.infer import infer_schema
from harmonic.table.schema import Schema
from tests.test_config import CONF

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


KNOWN = 0.5
"""Probability that a row of `Memory` is one that it remembers."""
KEPT = 0.9
"""Probability that a cell of such a row is what is remembered."""


class Memory:
    """Its rows are, half of the time, remembered rows with one cell in ten redrawn, and independent columns otherwise."""

    def __init__(self, remembered: pd.DataFrame, columns: pd.DataFrame, schema: Schema) -> None:
        codec = RowCodec(schema)
        self.codec, self.columns = codec, columns
        self.remembered = np.array(codec.cells(remembered), dtype=object).reshape(len(remembered), len(schema.columns))
        texts = np.array(codec.cells(columns), dtype=object).T
        self.marginals = [dict(zip(*np.unique(column, return_counts=True), strict=True)) for column in texts]
        self.total = len(columns)

    def start(self, train: pd.DataFrame, seed: int) -> "Memory":
        """Before it remembered anything."""
        return Memory(train.iloc[:0], self.columns, self.codec.schema)

    def log_likelihood(self, rows: pd.DataFrame, *, seed: int, own: np.ndarray | None = None) -> np.ndarray:
        """By the chain rule over the remembered rows that the cells so far may have come from."""
        cells = np.array(self.codec.cells(rows), dtype=object)
        known = len(self.remembered)
        weights = np.full((len(rows), known + 1), KNOWN / max(known, 1))
        weights[:, -1] = 1 - KNOWN if known else 1.0
        result = np.empty(cells.shape)
        for place, marginal in enumerate(self.marginals):
            drawn = np.array([marginal.get(text, 0.5) / self.total for text in cells[:, place]])[:, None]
            matches = cells[:, place, None] == self.remembered[:, place]
            chances = np.hstack([KEPT * matches + (1 - KEPT) * drawn, drawn])
            total = (weights * chances).sum(axis=1, keepdims=True)
            result[:, place] = np.log(total[:, 0])
            weights = weights * chances / total
        return result

    def text_log_likelihoods(self, texts: list[str]) -> list[np.ndarray]:
        """Nine nats for the text of a row that is not remembered, one for one that is, over ten tokens."""
        known = {frozenset(row) for row in self.remembered.tolist()}
        found = [frozenset(part.split(" ", 1)[1] for part in text[:-1].split(", ")) in known for text in texts]
        return [np.full(10, -0.1 if remembered else -0.9) for remembered in found]


SETTINGS = {"mle": {"folds": 2}}
"""What is set for speed."""


@cache
def built(metric: str):
    """A metric as its YAML makes it."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"metrics={metric}"])
    node = OmegaConf.to_container(config, resolve=True)["metrics"][metric]
    return hydra.utils.instantiate(node, **SETTINGS.get(metric, {}), _convert_="all")


def single_metrics() -> set[str]:
    """The YAMLs that hold a metric, rather than a list of others."""
    return {path.stem for path in (CONF / "metrics").glob("*.yaml") if "_target_" in path.read_text()}
