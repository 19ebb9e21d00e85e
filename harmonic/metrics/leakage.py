"""Leakage: does a generator know the rows it was trained on better than rows it never saw."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from harmonic.errors import check_count
from harmonic.metrics.rows import check_rows
from harmonic.seed import derive_seed
from harmonic.synthesizer import before_learning
from harmonic.table import Split

NATS_PER_BIT = float(np.log(2))


@dataclass(frozen=True)
class DataLeakageTest:
    """The data leakage test (DLT), corrected: bits per cell of train rows less those of hold-out rows.

    Definition. A row's bits are -log2 of the probability that the generator gives the values of all its cells, divided by
    the number of cells, each row standing in the method's own training template behind its nearest *other* train rows.
    Train and hold-out (`split.test`) rows are drawn at random, at most `max_rows` of each.

    * `dlt`: mean bits of train less mean bits of the hold-out, in bits per cell. Ideal 0; negative means that train is known
      better than the hold-out, which is leakage; positive beyond the interval means that the two differ in themselves.
    * `dlt_low`, `dlt_high`: its 95 % percentile bootstrap interval over rows (1 000 resamples of each part).
    * `dlt_effect`: Cohen's d, the difference in units of the pooled standard deviation over rows.
    * `dlt_bits_train`, `dlt_bits_holdout`: the two means; 0 and more, lower means a better model of the table.
    * `dlt_learnt`, `dlt_learnt_low`, `dlt_learnt_high`: `dlt` less that of the same method before it learnt from train, in
      bits per cell, with the interval of the differences row by row, which is narrower as what makes a row hard is in both.
      Ideal 0; negative means that learning has made train's rows easier than the hold-out's by so much. Only of methods
      that have `start` (`harmonic.synthesizer.Synthesizer`).

    Why so, and not as published: the published form exponentiates a row's mean over *tokens*, so that it depends on the
    tokenizer, and averages the exponentials, so that a few rows decide; it scores a text form that training never used.
    Bits per cell compare across tokenizers and models.

    What it cannot see: copying that does not raise likelihood, such as rows handed through from the prompt; leakage of a few
    rows among many; whether hold-out and train differ for another reason (a later period, another source, the luck of few
    rows), which `dlt_learnt` sees in part: as far as the method tells the two apart before it has learnt.
    A method without `log_likelihood` has no score: the result is empty.

    Source: Wang et al. 2024 (HARMONIC), DLT, in the reading train - test; bits per cell in place of perplexity is ours, and
    so is `dlt_learnt`, a difference in differences.
    """

    version: ClassVar[int] = 2

    max_rows: int = 1000
    """Rows of each part that are scored."""

    def __post_init__(self) -> None:
        check_count("metrics.dlt.max_rows", self.max_rows, 2)

    def __call__(self, split: Split, synthetic: pd.DataFrame, *, seed: int, synthesizer: Any = None) -> dict[str, float]:
        """Differences in bits per cell by key; see the class."""
        check_rows(split, synthetic, "dlt")
        if not hasattr(synthesizer, "log_likelihood"):
            return {}
        rng = np.random.default_rng(derive_seed(seed, "dlt"))
        train, holdout = (
            np.sort(rng.choice(len(table), min(self.max_rows, len(table)), replace=False))
            for table in (split.train, split.test)
        )
        known, new = split.train.iloc[train].reset_index(drop=True), split.test.iloc[holdout].reset_index(drop=True)

        def bits(method: Any) -> tuple[np.ndarray, np.ndarray]:
            of_known = bits_per_cell(method.log_likelihood(known, seed=seed, own=train))
            of_new = bits_per_cell(method.log_likelihood(new, seed=seed))
            return of_known.mean(axis=1), of_new.mean(axis=1)

        learnt = bits(synthesizer)
        score = leakage(*learnt, rng)
        before = before_learning(synthesizer, split.train, seed)
        if before is None:
            return score
        known_change, new_change = (after - at_first for after, at_first in zip(learnt, bits(before), strict=True))
        learning = leakage(known_change, new_change, rng)
        return score | {f"dlt_learnt{end}": learning[f"dlt{end}"] for end in ("", "_low", "_high")}


def bits_per_cell(log_likelihood: np.ndarray) -> np.ndarray:
    """Nats of log-likelihood to bits."""
    return -log_likelihood / NATS_PER_BIT


def leakage(train_bits: np.ndarray, holdout_bits: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """The difference of two samples of rows in bits per cell, with its interval and effect size; see `DataLeakageTest`."""
    difference = train_bits.mean() - holdout_bits.mean()
    means = [part[rng.integers(0, len(part), (1000, len(part)))].mean(axis=1) for part in (train_bits, holdout_bits)]
    low, high = np.quantile(means[0] - means[1], [0.025, 0.975])
    spread = np.sqrt((train_bits.var(ddof=1) + holdout_bits.var(ddof=1)) / 2)
    return {
        "dlt": float(difference),
        "dlt_low": float(low),
        "dlt_high": float(high),
        "dlt_effect": float(difference / spread) if spread > 0 else 0.0,
        "dlt_bits_train": float(train_bits.mean()),
        "dlt_bits_holdout": float(holdout_bits.mean()),
    }
