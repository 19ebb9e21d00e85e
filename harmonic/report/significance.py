"""What a few seeds, or a few data sets, can tell of a difference."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

LEVEL = 0.05
LEAST_SEEDS = 3
"""Fewer pairs than this have no test worth the name."""

Mark = Literal["", "best", "second"]
Name = TypeVar("Name", bound=Hashable)


def paired_p(differences: Sequence[float]) -> float:
    """Two-sided p-value of Student's paired t-test that the mean difference is 0; of at least two differences.

    Differences that are all the same leave no spread to test against: 0 where they are not 0, else 1.
    """
    from scipy.stats import ttest_1samp

    values = np.asarray(differences, dtype=float)
    if _are_one(values):
        return float(values.mean() == 0)
    return float(ttest_1samp(values, 0.0).pvalue)


def paired_interval(differences: Sequence[float]) -> tuple[float, float]:
    """The ends of Student's interval for the mean difference, at 1 - `LEVEL`; of at least two differences.

    Differences that are all the same have an interval of no width.
    """
    from scipy.stats import ttest_1samp

    values = np.asarray(differences, dtype=float)
    if _are_one(values):
        return float(values.mean()), float(values.mean())
    interval = ttest_1samp(values, 0.0).confidence_interval(1 - LEVEL)
    return float(interval.low), float(interval.high)


def _are_one(values: np.ndarray) -> bool:
    """Whether numbers are all the same, to the last bits of a float."""
    return bool(np.ptp(values) <= 1e-12 * abs(float(values.mean())))


def marks(losses: Mapping[Name, Mapping[int, float]], level: float = LEVEL, least: int = LEAST_SEEDS) -> dict[Name, Mark]:
    """The best and the second best of several methods, where their seeds say so.

    The candidate is the method of the least mean. It is marked best if, over the seeds they share, it is below each other
    method by a paired t-test, all of them at `level` after Holm; with one rival or more. The second best is the best of the
    rest by the same rule, and is sought only where there is a best, so that one wrong mark in a column stays as unlikely.
    Seeds pair what they have in common, the split above all; three of them show large differences alone, and a mark that
    is not given is no sign of equality.

    A method that shares fewer than `least` seeds with the candidate cannot be tested. It is passed over if each of its
    values is above all of the candidate's; otherwise nothing is marked.

    Source of the correction: Holm 1979, *A simple sequentially rejective multiple test procedure*, Scandinavian Journal of
    Statistics 6.

    Args:
        losses: each method's value by seed, less is better; a method without any is nobody's rival.
        level: of the family of tests that a mark rests on.
        least: seeds that a test needs.

    Returns:
        A mark for each method, empty for most.
    """
    left = {name: by_seed for name, by_seed in losses.items() if by_seed}
    given: dict[Name, Mark] = dict.fromkeys(losses, "")
    order: tuple[Mark, ...] = ("best", "second")
    for mark in order:
        leader = _leader(left, level, least)
        if leader is None:
            break
        given[leader] = mark
        del left[leader]
    return given


def _leader(losses: Mapping[Name, Mapping[int, float]], level: float, least: int) -> Name | None:
    """The method of the least mean, if its rivals are shown to be worse."""
    if not losses:
        return None
    first = min(losses, key=lambda name: float(np.mean(list(losses[name].values()))))
    own, p_values = losses[first], []
    for name, other in losses.items():
        shared = sorted(set(own) & set(other))
        if name == first:
            continue
        if len(shared) >= least:
            differences = [other[seed] - own[seed] for seed in shared]
            p_values.append(paired_p(differences) if np.mean(differences) > 0 else 1.0)
        elif min(other.values()) <= max(own.values()):
            return None
    bars = level / np.arange(len(p_values), 0, -1)  # Holm's, for the least p-value first; all must pass
    return first if p_values and (np.sort(p_values) <= bars).all() else None


@dataclass(frozen=True)
class Ranking:
    """Methods ranked over several data sets."""

    methods: tuple[str, ...]
    """From the best mean rank to the worst."""
    mean_ranks: tuple[float, ...]
    datasets: int
    p_value: float
    """Of Friedman's test that all methods are alike, in Iman and Davenport's form."""
    critical_difference: float
    """Two mean ranks that are nearer than this are not told apart at `LEVEL` (Nemenyi's test)."""


def rank(losses: Mapping[str, Sequence[float]], level: float = LEVEL) -> Ranking:
    """Methods ranked on each data set, compared by Friedman's test and, if that rejects, by Nemenyi's.

    Args:
        losses: each method's value on the data sets, in one order, less is better; at least two of each.
        level: of both tests.

    Source: Demšar 2006, *Statistical comparisons of classifiers over multiple data sets*, JMLR 7, §3.2.2; equal values share
    their mean rank, for which the statistic is corrected as usual.
    """
    from scipy.stats import f, rankdata, studentized_range

    names = list(losses)
    values = np.array([losses[name] for name in names], dtype=float)
    k, n = values.shape
    if k < 2 or n < 2:
        raise ValueError(f"ranks need two methods on two data sets, found {k} on {n}")
    ranks = np.apply_along_axis(rankdata, 0, values)
    means = ranks.mean(axis=1)
    spread = float(((ranks - (k + 1) / 2) ** 2).sum())  # less than k (k² - 1) n / 12 where values are tied
    between = n * float(((means - (k + 1) / 2) ** 2).sum())
    chi2 = n * (k - 1) * between / spread if spread else 0.0
    rest = n * (k - 1) - chi2
    p_value = float(f.sf((n - 1) * chi2 / rest, k - 1, (k - 1) * (n - 1))) if rest > 1e-9 else 0.0
    p_value = max(p_value, math.exp((1 - n) * math.lgamma(k + 1)))  # that all data sets agree by chance: the exact least
    critical = float(studentized_range.ppf(1 - level, k, np.inf)) / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * n))
    order = np.argsort(means, kind="stable")
    return Ranking(
        tuple(names[place] for place in order), tuple(float(means[place]) for place in order), n, p_value, critical
    )
