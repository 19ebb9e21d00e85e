"""A prior over tables: random structural causal models, seen through the kinds of columns that real tables have.

In the spirit of TabPFN's prior (Hollmann et al. 2023, *TabPFN: A Transformer That Solves Small Tabular Classification
Problems in a Second*): latent factors and clusters drive a chain of signals, each a random function of a few earlier ones
and noise; every signal then becomes a column: a measured number, a count, a date, a category. No file is read: a table is
a function of its random generator alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from harmonic.lm.base import names
from harmonic.table.schema import Column, Schema, Task, attach

Array = np.ndarray
Generator = np.random.Generator

DAY_S = 86_400
TASKS: tuple[tuple[Task, float], ...] = (("binary", 0.45), ("multiclass", 0.3), ("regression", 0.25))
DATE_FORMATS = ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%Y/%m/%d", "%Y-%m-%d %H:%M:%S")


@dataclass(frozen=True)
class Ranges:
    """What the traits of a table are drawn from."""

    columns: tuple[int, int] = (3, 22)
    """Least and most columns, target included."""
    rows: tuple[int, int] = (48, 1500)
    """Least and most rows; the logarithm is uniform."""
    categories: int = 60
    """Most categories of a column."""
    noise: tuple[float, float] = (0.05, 0.8)
    """Least and most noise of a table's signals, in deviations of what they say."""
    numbers: tuple[float, float] = (1.2, 1.0)
    """Beta distribution of the share of columns that are numbers."""
    snapped: float = 0.0
    """Share of the number columns that hold a few values over and over, as months of credit do."""


class _Causes:
    """Latent factors, and the signals that were made so far; each signal has mean 0 and deviation 1, shape (n,)."""

    def __init__(self, rng: Generator, n: int, noise: tuple[float, float]) -> None:
        self.rng, self.n = rng, n
        factors, clusters = int(rng.integers(1, 6)), int(rng.integers(1, 9))
        self.cluster = rng.choice(clusters, n, p=rng.dirichlet(np.full(clusters, 2.0)))
        centres = rng.normal(0, rng.uniform(0, 3), (clusters, factors))
        latent = centres[self.cluster] + rng.normal(0, 1, (n, factors))
        self.latent = _standard(latent)
        self.signals: list[Array] = []
        self.noise = rng.uniform(*noise)
        """How noisy this table's signals are, in the middle."""

    def signal(self) -> Array:
        """A new signal: a function of some latent factors and earlier signals, and noise."""
        rng = self.rng
        sources = [*self.latent.T, *self.signals]
        chosen = [sources[i] for i in rng.choice(len(sources), min(len(sources), int(rng.integers(1, 4))), replace=False)]
        weights = rng.normal(0, 1, len(chosen))
        total = sum(weight * source for weight, source in zip(weights, chosen, strict=True))
        made = LINKS[rng.integers(len(LINKS))](rng, _standard(total), chosen)
        noise = self.noise * np.exp(rng.normal(0, 0.7))
        if rng.random() < 0.12:
            noise = 10.0  # a column that has nothing to do with the others
        draws = rng.normal(0, 1, self.n) if rng.random() < 0.8 else rng.standard_t(3, self.n)
        signal = _standard(_standard(made) + noise * draws)
        self.signals.append(signal)
        return signal


def _standard(values: Array) -> Array:
    deviation = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(deviation > 1e-9, deviation, 1.0)


def _uniform(signal: Array) -> Array:
    """Ranks in (0, 1)."""
    ranks = np.empty(len(signal))
    ranks[np.argsort(signal, kind="stable")] = np.arange(len(signal))
    return (ranks + 0.5) / len(signal)


Link = Callable[[Generator, Array, list[Array]], Array]
LINKS: tuple[Link, ...] = (
    lambda rng, total, sources: total,
    lambda rng, total, sources: total,
    lambda rng, total, sources: np.tanh(rng.uniform(1, 3) * total + rng.normal()),
    lambda rng, total, sources: (total + rng.normal()) ** 2,
    lambda rng, total, sources: np.abs(total + rng.normal()),
    lambda rng, total, sources: np.sin(rng.uniform(1, 3) * total + rng.uniform(0, 6)),
    lambda rng, total, sources: (total > rng.normal()).astype(float) + 0.1 * total,
    lambda rng, total, sources: sources[0] * sources[-1] + 0.3 * total,
    lambda rng, total, sources: np.maximum(sources[0], total),
    lambda rng, total, sources: np.round(rng.uniform(1, 4) * total),
)


def _measured(rng: Generator, signal: Array) -> tuple[Array, int]:
    """A number with a unit: location, scale and precision of its own."""
    scale = 10 ** rng.uniform(-1.5, 5)
    offset = rng.choice([0.0, rng.uniform(2, 6), rng.normal(0, 2)])
    shape = signal if rng.random() < 0.7 else 2 * (_uniform(signal) - 0.5)
    values = scale * (shape + offset)
    if rng.random() < 0.8:
        values = np.maximum(values - min(values.min(), 0) * rng.integers(0, 2), 0)
    return values, _precision(rng, scale)


def _precision(rng: Generator, scale: float) -> int:
    """Decimal places that leave one to four digits of a scale."""
    return int(np.clip(rng.integers(1, 4) - np.floor(np.log10(scale)) - 1, 0, 4))


def _skewed(rng: Generator, signal: Array) -> tuple[Array, int]:
    scale = 10 ** rng.uniform(-1.5, 4.5)
    return scale * np.exp(rng.uniform(0.4, 1.4) * signal), _precision(rng, scale)


def _zero_inflated(rng: Generator, signal: Array) -> tuple[Array, int]:
    values, places = _skewed(rng, signal)
    gate = _uniform(signal if rng.random() < 0.5 else rng.normal(0, 1, len(signal)))
    return np.where(gate < rng.uniform(0.2, 0.95), 0.0, values), places


def _spiked(rng: Generator, signal: Array) -> tuple[Array, int]:
    """One value holds much of the column, as 40 does in hours a week."""
    values, places = _grown_up(rng, signal)
    spike = np.median(values)
    near = np.abs(signal - np.median(signal)) < rng.uniform(0.2, 0.8)
    return np.where(near | (rng.random(len(signal)) < rng.uniform(0, 0.4)), spike, values), places


def _grown_up(rng: Generator, signal: Array) -> tuple[Array, int]:
    """Whole numbers of two digits or so: ages, hours, percentages."""
    low = rng.choice([0, 0, 1, 16, 18, 20])
    return np.maximum(low + rng.uniform(8, 60) * np.log1p(np.exp(signal + rng.uniform(-1, 1))), low), 0


def _bounded(rng: Generator, signal: Array) -> tuple[Array, int]:
    top = rng.choice([1.0, 1.0, 5.0, 10.0, 100.0, 100.0])
    return top / (1 + np.exp(-rng.uniform(0.5, 3) * signal)), int(rng.integers(0 if top > 1 else 2, 4))


def _counted(rng: Generator, signal: Array) -> tuple[Array, int]:
    return np.floor(np.exp(rng.uniform(0.2, 1.0) * signal + rng.uniform(-0.5, 2.5))), 0


def _rounded(rng: Generator, signal: Array) -> tuple[Array, int]:
    """Multiples of 5, 10, 50, …"""
    step = rng.choice([2, 5, 10, 25, 50, 100, 500, 1000])
    return np.maximum(np.round(rng.uniform(2, 30) * (signal + rng.uniform(0, 4))), 0) * step, 0


def _moments(rng: Generator, signal: Array) -> tuple[Array, int]:
    """Unix time stamps: days or minutes, within a few years."""
    step = int(rng.choice([DAY_S, DAY_S, 60, 3600, 1]))
    start, days = rng.uniform(0.8e9, 1.7e9), rng.uniform(200, 3000)
    share = _uniform(signal) if rng.random() < 0.7 else rng.random(len(signal))
    return np.floor((start + share * days * DAY_S) / step) * step, 0


def _years(rng: Generator, signal: Array) -> tuple[Array, int]:
    return np.floor(rng.integers(1950, 2015) + rng.uniform(3, 40) * (_uniform(signal) - 0.3)), 0


def _identifiers(rng: Generator, signal: Array) -> tuple[Array, int]:
    """Digits that mean nothing, no two alike."""
    n, digits = len(signal), int(rng.integers(4, 7))
    if rng.random() < 0.4:
        return rng.permutation(n).astype(float) + float(rng.integers(1, 10**digits)), 0
    return rng.choice(9 * 10 ** (digits - 1), n, replace=False) + 10.0 ** (digits - 1), 0


Shape = Callable[[Generator, Array], tuple[Array, int]]
SHAPES: tuple[tuple[Shape, float], ...] = (
    (_measured, 0.3),
    (_skewed, 0.14),
    (_grown_up, 0.14),
    (_counted, 0.12),
    (_zero_inflated, 0.07),
    (_spiked, 0.06),
    (_bounded, 0.06),
    (_rounded, 0.04),
    (_moments, 0.04),
    (_years, 0.015),
    (_identifiers, 0.015),
)


def _pick(rng: Generator, weighted: Any) -> Any:
    return weighted[rng.choice(len(weighted), p=[weight for _, weight in weighted])][0]


def _snapped(rng: Generator, values: Array) -> Array:
    """Every value moved to the nearest of a few of them."""
    kept = np.unique(rng.choice(values, int(rng.integers(3, 25))))
    return kept[np.searchsorted((kept[1:] + kept[:-1]) / 2, values)]


def _numeric(rng: Generator, name: str, signal: Array, snapped: float) -> tuple[Column, Array]:
    values, places = _pick(rng, SHAPES)(rng, signal)
    if snapped and rng.random() < snapped:
        values = _snapped(rng, values)
    values = np.round(values, places) + 0.0  # no negative zero
    as_float = places > 0 or rng.random() < 0.3
    column = Column(
        name, "decimal" if places else "integer", "float64" if as_float else "int64", places=places,
        low=float(values.min()), high=float(values.max()),
    )  # fmt: skip
    return column, values if as_float else values.astype(np.int64)


def _date(rng: Generator, name: str, signal: Array) -> tuple[Column, Array]:
    seconds, _ = _moments(rng, signal)
    form = str(rng.choice(DATE_FORMATS))
    texts = pd.to_datetime(seconds, unit="s").strftime(form).to_numpy(dtype=object)
    column = Column(name, "datetime", "str", datetime_format=form)
    held = column.numbers(pd.Series(texts))
    return replace(column, low=float(held.min()), high=float(held.max())), texts


def _levels(causes: _Causes, signal: Array, most: int) -> Array:
    """A signal as codes of 2 to `most` categories, int64 (n,): bands of an order, or the nearest of random centres."""
    rng = causes.rng
    n = int(np.clip(np.round(2 + rng.exponential(0.12 * most)), 2, most))
    if rng.random() < 0.15 and len(np.unique(causes.cluster)) > 1:
        return rng.permutation(causes.cluster.max() + 1)[causes.cluster]
    if rng.random() < 0.45:
        cuts = np.cumsum(rng.dirichlet(np.full(n, rng.uniform(0.5, 5))))[:-1]
        return np.searchsorted(cuts, _uniform(signal)).astype(np.int64)
    space = np.column_stack([signal, *causes.latent.T[: int(rng.integers(0, 3))]])
    centres = space[rng.choice(len(space), n, replace=n > len(space))]
    pull = -((space[:, None, :] - centres) ** 2).sum(axis=2) + np.log(rng.dirichlet(np.full(n, 0.7)) + 1e-6)
    return (pull + rng.uniform(0, 1.5) * rng.gumbel(size=pull.shape)).argmax(axis=1).astype(np.int64)


def _category(rng: Generator, name: str, codes: Array, as_number: float = 0.2) -> tuple[Column, Array]:
    """Codes under names, or under numbers with probability `as_number`."""
    n = int(codes.max()) + 1
    if rng.random() < as_number:
        numbers = np.array(names.number_codes(rng, n))
        values = numbers[codes] if rng.random() < 0.7 else numbers[codes].astype(np.float64)
        dtype = str(values.dtype)
    else:
        values, dtype = np.array(names.category_names(rng, n), dtype=object)[codes], "str"
    held = tuple(sorted(map(str, np.unique(values.astype(object)))))
    return Column(name, "category", dtype, categories=held), values


def _boolean(name: str, signal: Array, cut: float) -> tuple[Column, Array]:
    return Column(name, "boolean", "bool", categories=("False", "True")), signal > cut


def _feature(causes: _Causes, name: str, share_of_numbers: float, ranges: Ranges) -> tuple[Column, Array]:
    rng, signal = causes.rng, causes.signal()
    kind = rng.random()
    if kind < 0.04:
        return _boolean(name, signal, rng.normal(0, 0.8))
    if kind < 0.07:
        return _date(rng, name, signal)
    if rng.random() < share_of_numbers:
        return _numeric(rng, name, signal, ranges.snapped)
    return _category(rng, name, _levels(causes, signal, ranges.categories))


def _target(causes: _Causes, name: str, task: Task, ranges: Ranges) -> tuple[Column, Array]:
    rng = causes.rng
    if task == "regression":
        while True:  # a date or an identifier is no target
            column, values = _numeric(rng, name, causes.signal(), ranges.snapped)
            if len(np.unique(values)) > 2:
                return column, values
    classes = 2 if task == "binary" else int(rng.integers(3, 11))
    appeal = np.column_stack([causes.signal() for _ in range(1 if classes == 2 else min(classes, 4))])
    if classes == 2:
        codes = (appeal[:, 0] > np.quantile(appeal[:, 0], rng.uniform(0.3, 0.85))).astype(np.int64)
    else:
        scores = appeal @ rng.normal(0, 1, (appeal.shape[1], classes)) + rng.normal(0, 0.6, classes)
        codes = np.unique(scores.argmax(axis=1), return_inverse=True)[1].astype(np.int64)
    if codes.max() == 0:
        codes[: len(codes) // 2] = 1
    return _category(rng, name, codes, as_number=0.6)


def _with_holes(rng: Generator, column: Column, values: Array, causes: _Causes) -> tuple[Column, Array]:
    """Some cells empty, at random or where a signal is high."""
    share = rng.uniform(0.01, 0.3)
    drive = causes.signals[rng.integers(len(causes.signals))] if rng.random() < 0.4 else rng.random(len(values))
    holes = _uniform(drive) < share
    if column.stored_as_number:
        kept = np.where(holes, np.nan, values.astype(np.float64))
    else:
        kept = values.astype(object)
        kept[holes] = None
    if column.kind == "category" and column.dtype == "int64":  # pandas stores whole numbers with holes as floats
        column = replace(column, dtype="float64", categories=tuple(sorted(str(float(c)) for c in column.categories)))
    return replace(column, nullable=True), kept


def draw_table(rng: Generator, ranges: Ranges | None = None) -> pd.DataFrame:
    """One random table, with its schema attached, target last.

    Args:
        rng: all randomness; equal generators give equal tables.
        ranges: what its traits are drawn from.
    """
    ranges = ranges or Ranges()
    n = int(np.exp(rng.uniform(*np.log(ranges.rows))))
    width = int(rng.integers(ranges.columns[0], ranges.columns[1] + 1))
    causes = _Causes(rng, n, ranges.noise)
    labels = names.column_names(rng, width)
    task: Task = _pick(rng, TASKS)
    share_of_numbers, has_holes = rng.beta(*ranges.numbers), rng.random() < 0.3
    made = [_feature(causes, label, share_of_numbers, ranges) for label in labels[:-1]]
    if has_holes:
        made = [_with_holes(rng, *pair, causes) if rng.random() < 0.3 else pair for pair in made]
    made.append(_target(causes, labels[-1], task, ranges))
    columns = tuple(column for column, _ in made)
    frame = pd.DataFrame({column.name: pd.Series(values) for column, values in made})
    if task == "multiclass" and len(columns[-1].categories) == 2:
        task = "binary"
    return attach(frame, Schema(columns, labels[-1], task, names.subject(rng)))
