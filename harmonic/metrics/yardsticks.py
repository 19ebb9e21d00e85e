"""What a model's bits per cell are read against: simple guesses of a cell's value, made as good as they can be.

Each guess is a mixture whose share is fitted, column by column, on the validation rows; a value that the guess does not
know falls to the uniform distribution over what the column can hold, so that no guess is ever infinitely wrong.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harmonic.table import Split
from harmonic.table.schema import Column

SHARES = np.concatenate([[0.001, 0.003, 0.01, 0.03], np.linspace(0.05, 0.95, 19), [0.97, 0.99, 0.997, 0.999]])
BINS = 100


@dataclass(frozen=True)
class Yardsticks:
    """Bits of every cell of some rows under three guesses, each float64, shape (n, c), columns as in the schema."""

    marginal: np.ndarray
    """The column's distribution in train: how often the very value occurs there, mixed with a histogram of equal mass for
    numbers and with the uniform distribution for the rest."""
    copy: np.ndarray
    """The value of a random example of the row's prompt, mixed with the uniform distribution."""
    copy_or_marginal: np.ndarray
    """The better mixture of both: copy where an example is likely right, the marginal elsewhere."""


def yardsticks(
    split: Split, examples_val: np.ndarray, examples_test: np.ndarray, val: np.ndarray, test: np.ndarray
) -> Yardsticks:
    """Yardsticks of some test rows.

    Args:
        split: train gives the marginals, val the shares.
        examples_val: int64 (m, k): train rows shown with each val row.
        examples_test: int64 (n, k): train rows shown with each test row.
        val: int64 (m,): numbers of the val rows to fit on.
        test: int64 (n,): numbers of the test rows to score.
    """
    fit_rows, rows = split.val.iloc[val], split.test.iloc[test]
    columns = []
    for column in split.schema.columns:
        train = split.train[column.name]
        fitted = _Guesses.of(column, train, fit_rows[column.name], examples_val)
        scored = _Guesses.of(column, train, rows[column.name], examples_test)
        columns.append([fitted.best(scored, *names) for names in _MIXTURES])
    bits = -np.log2(np.array(columns))
    return Yardsticks(*(bits[:, place].T for place in range(len(_MIXTURES))))


_MIXTURES = (("exact", "smooth"), ("copied", "uniform"), ("copied", "exact", "smooth"))


@dataclass(frozen=True)
class _Guesses:
    """Probabilities of some rows' values in one column, each shape (n,)."""

    exact: np.ndarray
    smooth: np.ndarray
    copied: np.ndarray
    uniform: np.ndarray

    @classmethod
    def of(cls, column: Column, train: pd.Series, values: pd.Series, examples: np.ndarray) -> "_Guesses":
        known_texts, texts = (np.array(column.write(cells), dtype=object) for cells in (train, values))
        counts = Counter(known_texts)
        exact = np.array([counts[text] for text in texts]) / len(train)
        copied = (known_texts[examples] == texts[:, None]).mean(axis=1)
        if not column.is_numeric:
            uniform = np.full(len(texts), 1 / (len(counts) + 1))
            return cls(exact, uniform, copied, uniform)
        step = _step(column)
        low, high = column.low or 0.0, column.high or 0.0
        uniform = np.full(len(texts), 1 / ((high - low) / step + 2))
        known = column.numbers(train)
        filled = ~np.isnan(known)
        smooth = filled.mean() * _histogram(known[filled], column.numbers(values), step)
        return cls(exact, 0.99 * smooth + 0.01 * uniform, copied, uniform)

    def mixed(self, names: tuple[str, ...], share: float, inner: float) -> np.ndarray:
        """share x the first + (1 - share) x the rest, which with three parts is itself mixed by `inner`."""
        first, *rest = (getattr(self, name) for name in names)
        other = rest[0] if len(rest) == 1 else inner * rest[0] + (1 - inner) * rest[1]
        return share * first + (1 - share) * other

    def best(self, scored: "_Guesses", *names: str) -> np.ndarray:
        """The mixture that is best for these rows, of other rows."""
        inners = SHARES if len(names) == 3 else [0.0]
        pairs = [(share, inner) for share in SHARES for inner in inners]
        share, inner = max(pairs, key=lambda pair: np.log(self.mixed(names, *pair)).sum())
        return scored.mixed(names, share, inner)


def _step(column: Column) -> float:
    """The distance of neighbouring values that the column can hold."""
    return float(column.moment_step) if column.kind == "datetime" else 10.0**-column.places


def _histogram(known: np.ndarray, values: np.ndarray, step: float) -> np.ndarray:
    """Probability of each value under bins of equal mass, spread evenly over the values a bin can hold; 0 outside."""
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1), method="inverted_cdf"))
    if len(edges) < 2:
        return np.where(values == edges[0], 1.0, 0.0)
    edges[0] -= step  # bins are open on the left
    mass = np.diff(np.searchsorted(np.sort(known), edges, side="right")) / len(known)
    places = np.searchsorted(edges, values, side="left") - 1
    inside = (places >= 0) & (places < len(mass)) & ~np.isnan(values)
    held = np.maximum(np.round(np.diff(edges) / step), 1)
    chosen = np.where(inside, places, 0)
    return np.where(inside, mass[chosen] / held[chosen], 0.0)
