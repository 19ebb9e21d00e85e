"""Distance: how near synthetic rows come to the rows a generator was trained on, beside how near real rows come."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy.special import gammaln

from harmonic.metrics.intervals import hit_rate_interval, wilson_interval
from harmonic.metrics.rows import check_rows
from harmonic.neighbours import DIGITS, closest, nearest, sides
from harmonic.table import Split
from harmonic.table.encoding import Encoded
from harmonic.table.schema import Schema

TAILS = {"dcr_tail": 0.02, "dcr_tail5": 0.05}
"""Quantiles of the hold-out's distances that near-copies fall below."""
RATIO_TAIL = 0.05
"""The same of ratios."""


def share_verbatim(rows: pd.DataFrame, train: pd.DataFrame, schema: Schema) -> float:
    """Share of rows that stand in train verbatim: equal text forms (`Column.write`) in every column."""
    known = set(_row_texts(train, schema))
    return float(np.mean([text in known for text in _row_texts(rows, schema)]))


def _row_texts(table: pd.DataFrame, schema: Schema) -> Iterable[tuple[str, ...]]:
    return zip(*(column.write(table[column.name]) for column in schema.columns), strict=True)


@dataclass(frozen=True)
class DistanceToClosestRecord:
    """Distance to the closest record (DCR), corrected: relative to the distances of real rows the generator never saw.

    Definition. The distance of two rows is the sum over all columns, target included, of |a - b| in units of train's
    range for numbers and 0 or 1 for anything else; an empty cell differs by 1 from a filled one (Gower's dissimilarity
    times the number of columns). A row's DCR is its distance to the nearest train row. The hold-out is `split.test`.

    * `dcr_mean`, `dcr_median` over the synthetic rows; `dcr_holdout_mean`, `dcr_holdout_median` over the hold-out. 0 and
      more. Neither direction is better: below the hold-out is too near to train, above it is off the distribution.
    * `dcr_share`: share of synthetic rows nearer to train than to the hold-out, ties halved, as it would be were the two
      equally large: its odds are divided by those it has when the pooled rows are dealt to train and hold-out at random,
      given how many of them tie for nearest. 0 to 1, ideal .5, greater means leakage; an exact copy of train scores 1.
      With train and hold-out of one size it is the plain share. `dcr_share_low`, `dcr_share_high`: Wilson's 95 % interval
      of as many rows as the synthetic ones are worth: those that have one real row for their nearest are on one side
      together, whichever part that row was dealt to, so it is Kish's effective number of them, m² / Σ l² for a real row that
      is the nearest of l of the m. On diabetes (491 and 154 rows) .5 lay in it for independent columns in 96 of 100 random
      deals of train and hold-out, and in 80 in that of as many rows as there are.
    * `dcr_tail`: share of synthetic rows at most as far from train as the nearest 2 % of the hold-out; 0 to 1, ideal
      `dcr_tail_holdout`, the hold-out's own share. That is .02, or more where ties abound. Greater means that
      some rows are near-copies, which a mean and a share can hide. `dcr_tail5`, `dcr_tail5_holdout`: the same at 5 %.
      `…_low`, `…_high`: intervals (95 %) of the share of such rows that is nearer than 2 % or 5 % of all fresh rows are, of
      which the hold-out is a sample (`hit_rate_interval`); few hundred hold-out rows say little of 2 %.
    * `dcr_copies`, `dcr_copies_holdout`: share of rows that stand in train verbatim; 0 to 1, ideal: equal.
    * `dcr_tail_excess`, `dcr_tail5_excess`, `dcr_copies_excess`: the share less the hold-out's; -1 to 1, ideal 0, greater
      means leakage.

    What it cannot see: a generator that leaks what is far from every record (one secret in an otherwise random row); whose
    record was leaked; anything where the hold-out overlaps train. A large DCR is also what a bad generator gives: alone it
    is no evidence of privacy (arXiv 2505.01524). Text columns count as equal or not. Numbers are in units of train's range,
    so that one value far off (a code for unknown) hides all others of its column; the hygiene check names such columns.

    Source: Wang et al. 2024 (HARMONIC), DCR; Gower 1971, *A general coefficient of similarity and some of its properties*;
    Kish 1965, *Survey sampling*, for the effective number; Platzer & Reutterer 2021, *Holdout-based empirical assessment of
    mixed-type synthetic data*, for the share.
    """

    version: ClassVar[int] = 2
    """1 took every synthetic row for one that is independent of the others: intervals of the share in records of before are
    too narrow, and tails have none."""

    def __call__(
        self, split: Split, synthetic: pd.DataFrame, *, seed: int, synthesizer: object | None = None
    ) -> dict[str, float]:
        """Distances and shares by key; see the class."""
        synthetic = check_rows(split, synthetic, "dcr")
        train, holdout, rows = (split.encoder.encode(table) for table in (split.train, split.test, synthetic))
        found = sides(rows, train, holdout)
        to_train, to_holdout = found.to_first, found.to_second
        holdout_to_train, _ = closest(holdout, train)
        chance = chance_of_train(found.ties, len(train), len(holdout)).mean()
        share = float(np.mean(to_train < to_holdout) + np.mean(to_train == to_holdout) / 2)
        low, high = wilson_interval(share, float(len(rows) ** 2 / (found.load**2).sum()))
        excess: dict[str, tuple[float, float]] = {}
        bounds: dict[str, float] = {}
        for name, quantile in TAILS.items():
            threshold = np.quantile(holdout_to_train, quantile, method="inverted_cdf")
            excess[name] = (float(np.mean(to_train <= threshold)), float(np.mean(holdout_to_train <= threshold)))
            ends = hit_rate_interval(-to_train, -holdout_to_train, quantile)
            bounds |= {f"{name}_low": ends[0], f"{name}_high": ends[1]}
        copies = (share_verbatim(table, split.train, split.schema) for table in (synthetic, split.test))
        excess["dcr_copies"] = next(copies), next(copies)
        return {
            "dcr_mean": float(to_train.mean()),
            "dcr_median": float(np.median(to_train)),
            "dcr_holdout_mean": float(holdout_to_train.mean()),
            "dcr_holdout_median": float(np.median(holdout_to_train)),
            "dcr_share": relative_to_chance(share, chance),
            "dcr_share_low": relative_to_chance(low, chance),
            "dcr_share_high": relative_to_chance(high, chance),
            **{name: own for name, (own, _) in excess.items()},
            **bounds,
            **{f"{name}_holdout": reference for name, (_, reference) in excess.items()},
            **{f"{name}_excess": own - reference for name, (own, reference) in excess.items()},
        }


def chance_of_train(ties: np.ndarray, n_train: int, n_holdout: int) -> np.ndarray:
    """How often a row would be nearer to train, ties halved, if the pooled rows were dealt to the two parts at random.

    Args:
        ties: shape (m,): how many pooled rows are nearest to each row, at least 1.
        n_train: rows of train.
        n_holdout: rows of the hold-out.

    Returns:
        float64, shape (m,): P(all ties in train) + P(some in each) / 2, hypergeometric; for a single nearest row that is
        n_train / (n_train + n_holdout).
    """

    def all_in(part: int) -> np.ndarray:
        """C(part, ties) / C(n_train + n_holdout, ties): the probability that none of the ties is in the other part."""
        total = n_train + n_holdout
        possible = ties <= part
        few = np.where(possible, ties, 0)
        logarithm = gammaln(part + 1) - gammaln(part - few + 1) - gammaln(total + 1) + gammaln(total - few + 1)
        return np.where(possible, np.exp(logarithm), 0.0)

    return (1 + all_in(n_train) - all_in(n_holdout)) / 2


def relative_to_chance(share: float, chance: float) -> float:
    """A share whose odds are those of `share` divided by those of `chance`: .5 where the two are equal."""
    more, less = share * (1 - chance), (1 - share) * chance
    return float(more / (more + less))


@dataclass(frozen=True)
class NearestNeighbourDistanceRatio:
    """Nearest neighbour distance ratio (NNDR): is a synthetic row beside one train row, or among several.

    Definition. A row's ratio is its distance to the nearest train row over that to the second nearest, by the distance of
    DCR; 1 where both are 0. `nndr_mean` is the mean over the synthetic rows, `nndr_holdout_mean` that over `split.test`;
    `nndr_tail`, `nndr_tail_holdout` are the shares at most as great as the hold-out's 5 % quantile; `nndr_tail_excess` is
    their difference; `nndr_tail_low`, `nndr_tail_high` bound it as those of `dcr_tail` do. 0 to 1; ideal: the hold-out's.
    Lower means that rows point to single people of train; higher, that rows are far from all of them.

    What it cannot see: copies of rows that stand in train twice, whose ratio is 1; and what DCR cannot.

    Source: Zhao et al. 2021, *CTAB-GAN: effective table data synthesizing*; the ratio is Lowe's 2004, *Distinctive image
    features from scale-invariant keypoints*. The hold-out's value beside it is ours.
    """

    version: ClassVar[int] = 2
    """2: also bounds the tail."""

    def __call__(
        self, split: Split, synthetic: pd.DataFrame, *, seed: int, synthesizer: object | None = None
    ) -> dict[str, float]:
        """Means and shares by key; see the class."""
        synthetic = check_rows(split, synthetic, "nndr")
        train = split.encoder.encode(split.train)
        own, reference = (nearest_ratio(split.encoder.encode(table), train) for table in (synthetic, split.test))
        threshold = np.quantile(reference, RATIO_TAIL, method="inverted_cdf")
        low, high = hit_rate_interval(-own, -reference, RATIO_TAIL)
        tail, tail_holdout = float(np.mean(own <= threshold)), float(np.mean(reference <= threshold))
        return {
            "nndr_mean": float(own.mean()),
            "nndr_holdout_mean": float(reference.mean()),
            "nndr_tail": tail,
            "nndr_tail_low": low,
            "nndr_tail_high": high,
            "nndr_tail_holdout": tail_holdout,
            "nndr_tail_excess": tail - tail_holdout,
        }


def nearest_ratio(rows: Encoded, train: Encoded) -> np.ndarray:
    """Distance to the nearest over that to the second nearest, float64, shape (n,); 1 where train has a single row."""
    if len(train) < 2:
        return np.ones(len(rows))
    first, second = nearest(rows, train, 2)[0].round(DIGITS).T
    return np.divide(first, second, out=np.ones(len(first)), where=second > 0)


@dataclass(frozen=True)
class NewRowSynthesis:
    """New row synthesis (NRS), corrected: the share of synthetic rows that no train row equals.

    Definition. `nrs` is 1 less the share of synthetic rows that stand in train verbatim, compared by the text form of every
    column (`Column.write`), empty cells included. `nrs_holdout` is the same for `split.test`. Range: 0 to 1. Greater is
    better up to the hold-out's value, which is below 1 where real people share their values.

    What it cannot see: near-copies (one changed digit makes a row new), hence nearly every leak. Almost any generator
    scores 1; only a low value says something.

    Source: Wang et al. 2024 (HARMONIC), NRS. Corrected: no tolerance, which called rows a match by a per cent of each
    number's own size, and a reference.
    """

    def __call__(
        self, split: Split, synthetic: pd.DataFrame, *, seed: int, synthesizer: object | None = None
    ) -> dict[str, float]:
        """The two shares; see the class."""
        synthetic = check_rows(split, synthetic, "nrs")
        tables = {"nrs": synthetic, "nrs_holdout": split.test}
        return {key: 1.0 - share_verbatim(table, split.train, split.schema) for key, table in tables.items()}
