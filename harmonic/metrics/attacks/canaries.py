"""Canaries: rows that nobody could guess, planted in train, and how well the generator knows them afterwards."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harmonic.errors import BadInput, check_count
from harmonic.metrics.rows import check_rows
from harmonic.neighbours import closest, nearest
from harmonic.seed import derive_seed
from harmonic.table import Split
from harmonic.table.schema import Column

TYPICAL_AMONG = 2000
"""Train rows among which typical ones are looked for, so that the search is bounded."""


@dataclass(frozen=True)
class Canaries:
    """Canaries: how much of a row that was planted in train is known to the generator that learnt it.

    Definition. A canary is a common prefix and a rare suffix: the first half of the columns as in a typical row of train
    (one of the half that are nearest to another row), the others drawn uniformly over what the column can hold, its
    categories or its range at its places. `per_count` canaries are planted for each of `counts`, so many copies of
    each. A fresh copy of the synthesizer learns train with all of them; the one at hand is left as it is. Each canary
    is then ranked among `candidates` rows with its prefix and other random suffixes. Its exposure is
    log2(candidates + 1) - log2(rank) bits, ties at their middle rank.

    * `canary_exposure_<count>`: the mean exposure, ranked by likelihood, of canaries with that many copies; for methods with
      `log_likelihood`. A method that is prompted with rows of train is shown no canary here: it is the weights that
      are tested.
    * `canary_reach_<count>`: the same for every method, ranked by the distance to the nearest of the rows it samples (as
      many as it learnt, at most `max_rows`). Here prompts show canaries as any other row of train.
    * `canary_exposure_0`, `canary_reach_0`: canaries that were not planted, the control.

    Range: 0 to log2(candidates + 1) bits, 7 as a rule; lower is better. Ideal is the control, whose expectation is about
    1 / ln 2 = 1.44 bits: its rank is any rank alike. One exposure deviates by about 1.4 bits, so a mean of three by
    .8; differences below 2 bits say nothing.

    What it cannot see: how train's own rows fare, which are nearer to one another than a canary is to them, and so both less
    conspicuous and easier to guess; copies beyond one are an attacker's or a careless collector's. All canaries are
    learnt at once and shift a small table. Suffixes of few possible values tie with their candidates, which
    bounds exposure. Candidates break the data set's constraints as canaries do.

    Cost: one more fit, likelihoods of `per_count` x (counts and control) x (candidates + 1) rows, and one more sample. A
    method that holds rows instead of making them (`rows`), or none, has no score: the result is empty.

    Source: Carlini et al. 2019, *The Secret Sharer*, USENIX Security, for exposure; Meeus et al. 2025, *The Canary's Echo*,
    arXiv 2502.14921, for common prefixes and rare suffixes, which show in what is generated.
    """

    counts: Sequence[int] = (1, 10, 100)
    """Copies of a canary that are planted."""
    per_count: int = 3
    """Canaries for each count."""
    candidates: int = 127
    """Rows that a canary is ranked among."""
    max_rows: int = 2000
    """Rows that are sampled, at most."""

    def __post_init__(self) -> None:
        for count in self.counts:
            check_count("canaries.counts", count, 1)
        if len(set(self.counts)) < len(self.counts):
            raise BadInput(f"canaries.counts must differ from one another, but are {list(self.counts)}: leave one out.")
        for option in ("per_count", "candidates", "max_rows"):
            check_count(f"canaries.{option}", getattr(self, option), 1)

    def __call__(self, split: Split, synthetic: pd.DataFrame, *, seed: int, synthesizer: Any = None) -> dict[str, float]:
        """Mean exposures by key; see the class."""
        check_rows(split, synthetic, "canaries")
        if synthesizer is None or hasattr(synthesizer, "rows"):
            return {}
        rng = np.random.default_rng(derive_seed(seed, "canaries"))
        counts = np.repeat([0, *self.counts], self.per_count)
        rows = draw_candidates(split, len(counts), self.candidates, rng)
        canaries = rows.iloc[np.repeat(np.arange(len(counts)) * (self.candidates + 1), counts)]
        planted = split.schema.restore_dtypes(pd.concat([split.train, canaries], ignore_index=True))
        fresh = copy.copy(synthesizer)
        fresh.fit(planted, seed=derive_seed(seed, "canaries", "fit"))
        scores = {}
        if hasattr(fresh, "log_likelihood"):
            hidden = {"withheld": np.arange(len(split.train), len(planted))} if hasattr(fresh, "prompt_rows") else {}
            cells = fresh.log_likelihood(rows, seed=derive_seed(seed, "canaries", "likelihood"), **hidden)
            scores["exposure"] = cells.sum(axis=1)
        sampled = fresh.sample(min(len(planted), self.max_rows), seed=derive_seed(seed, "canaries", "sample"))
        scores["reach"] = -closest(split.encoder.encode(rows), split.encoder.encode(sampled))[0]
        return {
            f"canary_{name}_{count}": float(exposure(values.reshape(len(counts), -1))[counts == count].mean())
            for name, values in scores.items()
            for count in (0, *self.counts)
        }


def draw_candidates(split: Split, n: int, candidates: int, rng: np.random.Generator) -> pd.DataFrame:
    """Canaries, each followed by the rows it is ranked among, n x (1 + candidates) rows.

    Each canary and its candidates share the first half of the columns with a typical row of train.
    """
    columns = split.schema.columns
    prefixes = np.repeat(_typical_rows(split, n, rng), 1 + candidates)
    rows = split.train.iloc[prefixes].reset_index(drop=True)
    for column in columns[len(columns) // 2 :]:
        rows[column.name] = _anywhere(column, split.train[column.name], len(rows), rng)
    return split.schema.restore_dtypes(rows)


def _typical_rows(split: Split, n: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers of n train rows that are nearer to another than half of them are, int64; no row twice before all are drawn."""
    drawn = rng.permutation(len(split.train))[:TYPICAL_AMONG]
    rows = split.encoder.encode(split.train)[drawn]
    apart = nearest(rows, rows, 1, own=np.arange(len(drawn)))[0][:, 0]
    typical = drawn[np.argsort(apart, kind="stable")[: -(-len(drawn) // 2)]]
    return np.concatenate([rng.permutation(typical) for _ in range(-(-n // len(typical)))])[:n]


def _anywhere(column: Column, known: pd.Series, n: int, rng: np.random.Generator) -> pd.Series:
    """n values of what a column can hold, each alike; of a text column, any of train's."""
    if column.categories:
        return pd.Series([column.read(text) for text in rng.choice(column.categories, n)])
    if not column.is_numeric:
        return pd.Series(rng.choice(known.dropna().unique(), n))
    numbers = column.numbers(known)
    low, high = np.nanmin(numbers), np.nanmax(numbers)
    steps = round((high - low) * 10**column.places)
    if steps >= np.iinfo(np.int64).max:  # more than can be told apart: any number will do
        return column.from_numbers(rng.uniform(low, high, n))
    return column.from_numbers(low + rng.integers(0, steps + 1, n) / 10**column.places)


def exposure(scores: np.ndarray) -> np.ndarray:
    """Bits of exposure, float64, shape (n,).

    Args:
        scores: shape (n, 1 + candidates): of each canary and of the rows it is ranked among, greater for better known.
    """
    canary, others = scores[:, :1], scores[:, 1:]
    rank = 1 + (others > canary).sum(axis=1) + (others == canary).sum(axis=1) / 2
    return np.log2(scores.shape[1]) - np.log2(rank)
