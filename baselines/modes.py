"""CTAB-GAN+'s encoding: each number as a mode of its column's distribution and a place within it, categories one-hot."""

import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from sklearn.mixture import BayesianGaussianMixture

from baselines.arrays import category_codes, of_category_codes
from harmonic.table import load_schema, save_schema, schema_of
from harmonic.table.schema import Column, Schema

MOST_MODES = 10
LEAST_WEIGHT = 0.005
"""Of a mode that counts."""
SPECIAL_SHARE = 0.1
"""A value that so many of a column's cells hold is a mode of its own (the mixed type), as zero is in a capital gain."""
FEW_VALUES = 20
"""With fewer different values than this, a column has no special ones: all are frequent."""
REACH = 4
"""Standard deviations from a mode's mean that the encoding reaches."""


@dataclass(frozen=True)
class Span:
    """Places in the encoding that belong together: one number in (-1, 1), or a choice."""

    start: int
    size: int
    is_choice: bool


@dataclass(frozen=True)
class Modes:
    """How one column of numbers is encoded: a place in (-1, 1), and the mode it is relative to."""

    special: tuple[float, ...]
    """Values that are modes without width; NaN for an empty cell."""
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    weights: tuple[float, ...]
    """Of each mode with a width; they add up to 1."""

    @property
    def choices(self) -> int:
        """Width of the choice; 0 where one mode is all there is (the general transform), which spans the column's range."""
        together = len(self.special) + len(self.means)
        return together if together > 1 else 0


@dataclass(frozen=True)
class ModalEncoding:
    """A table's encoding, fitted on train."""

    schema: Schema
    modes: tuple[Modes | None, ...]
    """Of each column; None where it is one of categories."""

    @classmethod
    def fit(cls, train: pd.DataFrame, seed: int) -> Self:
        """Find the modes of train, a table without free text."""
        schema = schema_of(train)
        found = [
            _modes(column.numbers(train[column.name]), seed) if column.is_numeric else None for column in schema.columns
        ]
        return cls(schema, tuple(found))

    @property
    def spans(self) -> list[list[Span]]:
        """The spans of each column, in the order of the encoding."""
        spans: list[list[Span]] = []
        start = 0
        for column, modes in zip(self.schema.columns, self.modes, strict=True):
            sizes = [(_categories(column), True)] if modes is None else [(1, False), (modes.choices, True)]
            of_column = []
            for size, is_choice in sizes:
                if size:
                    of_column.append(Span(start, size, is_choice))
                    start += size
            spans.append(of_column)
        return spans

    @property
    def width(self) -> int:
        """Numbers in the encoding of a row."""
        last = self.spans[-1][-1]
        return last.start + last.size

    def encode(self, table: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
        """Rows as float32, shape (n, width); a number's mode is drawn by how likely each is."""
        encoded = np.zeros((len(table), self.width), dtype=np.float32)
        rows = np.arange(len(table))
        for column, modes, spans in zip(self.schema.columns, self.modes, self.spans, strict=True):
            if modes is None:
                encoded[rows, spans[0].start + category_codes(table[column.name], column)] = 1
                continue
            place, choice = _placed(column.numbers(table[column.name]), modes, column, rng)
            encoded[:, spans[0].start] = place
            if modes.choices:
                encoded[rows, spans[1].start + choice] = 1
        return encoded

    def decode(self, encoded: np.ndarray) -> pd.DataFrame:
        """The table that rows stand for; numbers are held within train's range."""
        columns: dict[str, pd.Series] = {}
        for column, modes, spans in zip(self.schema.columns, self.modes, self.spans, strict=True):
            choice = encoded[:, spans[-1].start : spans[-1].start + spans[-1].size].argmax(1)
            if modes is None:
                columns[column.name] = of_category_codes(choice, column)
            else:
                numbers = _numbers(encoded[:, spans[0].start].astype(np.float64), choice, modes, column)
                columns[column.name] = column.from_numbers(numbers)
        return self.schema.restore_dtypes(pd.DataFrame(columns))

    def save(self, folder: Path) -> None:
        """Write modes and schema; no row of train."""
        plain = [None if modes is None else asdict(modes) for modes in self.modes]
        (folder / "modes.json").write_text(json.dumps(plain))
        save_schema(self.schema, folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What `save` wrote."""
        plain = json.loads((folder / "modes.json").read_text())
        modes = [None if one is None else Modes(**{name: tuple(part) for name, part in one.items()}) for one in plain]
        return cls(load_schema(folder), tuple(modes))


def _categories(column: Column) -> int:
    return len(column.categories) + column.nullable


def _modes(numbers: np.ndarray, seed: int) -> Modes:
    empty = np.isnan(numbers)
    values, counts = np.unique(numbers[~empty], return_counts=True)
    frequent = counts >= SPECIAL_SHARE * len(numbers) if len(values) > FEW_VALUES else np.zeros(len(values), dtype=bool)
    special = values[frequent].tolist()
    rest = numbers[~empty & ~np.isin(numbers, special)]
    if empty.any():
        special.append(float("nan"))
    components = min(MOST_MODES, len(np.unique(rest)))
    if components < 2:
        one = (1.0,) if len(rest) else ()
        return Modes(tuple(special), (float(rest.mean()),) if len(rest) else (), one, one)
    mixture = BayesianGaussianMixture(
        n_components=components,
        weight_concentration_prior_type="dirichlet_process",
        weight_concentration_prior=0.001,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged in 100 rounds, as CTAB-GAN leaves it
        chosen = mixture.fit(rest[:, None]).predict(rest[:, None])
    frequency = np.bincount(chosen, minlength=components)
    kept = [mode for mode in np.argsort(-frequency) if frequency[mode] and mixture.weights_[mode] > LEAST_WEIGHT]
    deviations, weights = np.sqrt(mixture.covariances_.reshape(-1))[kept], mixture.weights_[kept]
    parts = (mixture.means_[kept, 0], deviations, weights / weights.sum())
    return Modes(tuple(special), *(tuple(part.tolist()) for part in parts))


def _placed(numbers: np.ndarray, modes: Modes, column: Column, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Place within its mode and number of the mode, for each number."""
    if not modes.choices:
        assert column.low is not None and column.high is not None
        span = (column.high - column.low) or 1.0
        return np.nan_to_num(2 * (numbers - column.low) / span - 1), np.zeros(len(numbers), dtype=np.int64)
    choice = np.zeros(len(numbers), dtype=np.int64)
    place = np.zeros(len(numbers))
    ordinary = np.ones(len(numbers), dtype=bool)
    for number, value in enumerate(modes.special):
        held = np.isnan(numbers) if np.isnan(value) else numbers == value
        choice[held] = number
        ordinary &= ~held
    if ordinary.any():
        means, deviations, weights = np.array(modes.means), np.array(modes.deviations), np.array(modes.weights)
        distance = (numbers[ordinary, None] - means) / deviations
        likely = np.log(weights) - np.log(deviations) - 0.5 * distance**2
        drawn = (likely + rng.gumbel(size=likely.shape)).argmax(1)
        choice[ordinary] = len(modes.special) + drawn
        place[ordinary] = np.clip(distance[np.arange(len(drawn)), drawn] / REACH, -0.99, 0.99)
    return place, choice


def _numbers(place: np.ndarray, choice: np.ndarray, modes: Modes, column: Column) -> np.ndarray:
    assert column.low is not None and column.high is not None
    if not modes.choices:
        return column.low + (np.clip(place, -1, 1) + 1) / 2 * (column.high - column.low)
    means = np.array([*modes.special, *modes.means])
    widths = np.array([0.0] * len(modes.special) + [REACH * deviation for deviation in modes.deviations])
    return np.clip(means[choice] + np.clip(place, -1, 1) * widths[choice], column.low, column.high)
