"""SMOTE as a table generator: interpolation between a row and one of its neighbours of the same class."""

from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from baselines.exchange import refuse_text
from harmonic.neighbours import Groups, make_groups
from harmonic.table import load_table, save_table, schema_of
from harmonic.table.schema import Column, attach


class Smote:
    """Synthetic minority over-sampling (Chawla et al. 2002), for every class alike, in the proportions of train.

    Numeric cells lie on the segment between a row and one of its k nearest rows of the same class; categories are the most
    frequent among those neighbours, as in SMOTE-NC. Nearest is by the mixed distance that `dcr` measures, too (range-scaled
    differences, 1 for another category), not by SMOTE-NC's Euclidean one. A class of k rows or fewer has only its own to go
    to, and a row that is alone in its class stays as it is. Written here because imbalanced-learn's knows no empty cells, no
    such classes and no regression: an empty numeric cell on either end is taken from the row itself, and a regression target
    is interpolated like any number.
    """

    version = 2
    """Of what rows lie between: the second stays within small classes."""

    def __init__(self, k: int = 5) -> None:
        self.k = k

    def fit(self, train: pd.DataFrame, *, seed: int, work_dir: Path | None = None) -> Self:
        """Find the neighbours."""
        self.train = train
        schema = schema_of(train)
        refuse_text(schema, "smote")
        self.groups = make_groups(train, schema, k=self.k, distance="mixed", label_rule="same_class", min_agreement=0)
        if schema.task != "regression":
            self.groups = _within_class(self.groups, train[schema.target].to_numpy())
        return self

    def sample(self, n: int, *, seed: int, work_dir: Path | None = None) -> pd.DataFrame:
        """n rows; every train row is a starting point equally often."""
        rng = np.random.default_rng(seed)
        laps = -(-n // len(self.groups))
        numbers = np.concatenate([rng.permutation(len(self.groups)) for _ in range(laps)])[:n]
        partner = rng.integers(self.k, size=n)
        weight = rng.random(n)
        chosen = self.groups.take(numbers)
        schema = schema_of(self.train)
        target = schema[schema.target]
        columns = {}
        for column in schema.columns:
            if column is target and schema.task != "regression":
                columns[column.name] = self.train[column.name].iloc[chosen.anchors].reset_index(drop=True)
            elif column.is_numeric:
                columns[column.name] = self._between(column, chosen, partner, weight)
            else:
                columns[column.name] = self._most_frequent(column, chosen)
        return attach(schema.restore_dtypes(pd.DataFrame(columns)), schema)

    def _between(self, column: Column, chosen: Groups, partner: np.ndarray, weight: np.ndarray) -> pd.Series:
        numbers = column.numbers(self.train[column.name])
        start = numbers[chosen.anchors]
        end = numbers[chosen.neighbours[np.arange(len(chosen)), partner]]
        return column.from_numbers(np.where(np.isnan(end), start, start + weight * (end - start)))

    def _most_frequent(self, column: Column, chosen: Groups) -> pd.Series:
        codes, values = pd.factorize(self.train[column.name], use_na_sentinel=False)
        nearby = codes[chosen.neighbours]
        votes = (nearby[:, :, None] == nearby[:, None, :]).sum(axis=2)
        winners = nearby[np.arange(len(nearby)), votes.argmax(axis=1)]
        return pd.Series(values[winners])

    def save(self, folder: Path) -> None:
        """Write train and the neighbours."""
        save_table(self.train, folder)
        np.savez(folder / "groups.npz", anchors=self.groups.anchors, neighbours=self.groups.neighbours)

    def load(self, folder: Path) -> Self:
        """Take up what `save` wrote."""
        self.train = load_table(folder)
        with np.load(folder / "groups.npz") as arrays:
            self.groups = Groups(arrays["anchors"], arrays["neighbours"])
        return self


def _within_class(groups: Groups, labels: np.ndarray) -> Groups:
    """The groups with rows of their own class alone, in turns where they are fewer than k; the row itself if none."""
    neighbours = groups.neighbours.copy()
    own = labels[neighbours] == labels[groups.anchors, None]
    for place in np.flatnonzero(~own.all(axis=1)):
        mates = neighbours[place][own[place]] if own[place].any() else groups.anchors[[place]]
        neighbours[place] = np.resize(mates, neighbours.shape[1])
    return Groups(groups.anchors, neighbours)
