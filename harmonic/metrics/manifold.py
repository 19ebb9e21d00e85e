"""Precision and recall of a generator: whether its rows lie where real rows lie, and whether they reach all of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from harmonic.errors import BadInput, check_count
from harmonic.metrics.rows import check_rows, draw_rows
from harmonic.seed import derive_seed
from harmonic.table import Split

LEVELS = np.linspace(0.0, 1.0, 101)
"""Shares of a sample that a ball about its mean may hold; scores are integrals over them."""
CHUNK_CELLS = 4_000_000
"""Cells of one block of distances."""


@dataclass(frozen=True)
class AlphaPrecisionBetaRecall:
    """Integrated α-precision and β-recall: do synthetic rows lie where real rows lie, and do they reach all of those.

    Definition. Rows are `split.encoder`'s points (standardised numbers, one-hot categories, target included), distances
    Euclidean; the real side is `split.test`. Synthetic, train and test rows are equally many: the smallest of the three
    tables, at most `max_rows`, drawn with the seed.

    * `alpha_precision`: P(α) is the share of synthetic rows in the smallest ball about the mean of the real rows that holds
      the share α of these; the score is 1 - 2 ∫ |P(α) - α| dα. 0 to 1, greater is better: near 1 where synthetic rows lie
      about the centre as real rows do, low where they lie too far out, or huddle.
    * `beta_recall`: R(β) is the share of real rows whose nearest synthetic row is no farther than their nearest other real
      row, and is among the share β of synthetic rows nearest to their own mean; the score is 1 - 2 ∫ |R(β) - β| dβ. 0 to 1,
      greater is better up to the reference.
    * `alpha_precision_real`, `beta_recall_real`: the same for train rows in place of the synthetic ones. These, not 1, are
      what an ideal generator reaches: of two equally large samples of one source, either is as likely to hold a row's
      nearest neighbour, so R(1) is about one half and recall .5, more where rows tie (tables of few values). Recall beyond
      the reference, up to 1, says that synthetic rows repeat rows of test.

    Distances are summed, never taken from inner products, so that the distance of equal rows is 0 and ties are ties.

    What it cannot see: privacy (a copy of train scores as train does), and for precision anything but the distance to one
    centre: rows in a direction where no real row lies count as real, so that independent columns come close to the
    reference. Recall sees those. In one-hot space a category outweighs a number that differs by less than 1.4 standard
    deviations. Neither score sees text columns.

    Source: Alaa et al. 2022, *How faithful is your synthetic data? Sample-level metrics for evaluating and auditing
    generative models*, ICML; without the learnt one-class embedding, whose training would make the score hang on a seed.
    Räisä et al. 2025, *Position: All current generative fidelity and diversity metrics are flawed*, ICML, for its limits.
    """

    max_rows: int = 5000
    """Rows of each kind, at most."""

    def __post_init__(self) -> None:
        check_count("metrics.manifold.max_rows", self.max_rows, 2)

    def __call__(
        self, split: Split, synthetic: pd.DataFrame, *, seed: int, synthesizer: object | None = None
    ) -> dict[str, float]:
        """The two scores and their references by key; see the class.

        Raises:
            BadInput: synthetic, train or test has fewer than two rows.
        """
        rows = check_rows(split, synthetic, "manifold", at_least=2)
        few = min(len(split.train), len(split.test))
        if few < 2:
            raise BadInput(f"manifold must have 2 rows or more of train and of test, but has {few}: leave it out.")
        seed = derive_seed(seed, "manifold")
        n = min(len(rows), few, self.max_rows)
        # NaN is what the encoder gives for a column without a value in train: it counts for nothing.
        real, points, train = (
            np.nan_to_num(split.encoder.points(draw_rows(table, n, seed))) for table in (split.test, rows, split.train)
        )
        to_other_real, _ = nearest_point(real, real, own=np.arange(n))
        scores = {}
        for side, sample in {"": points, "_real": train}.items():
            scores[f"alpha_precision{side}"] = alpha_precision(real, sample)
            scores[f"beta_recall{side}"] = beta_recall(real, sample, to_other_real)
        return scores


def alpha_precision(real: np.ndarray, synthetic: np.ndarray) -> float:
    """1 - 2 ∫ |P(α) - α| dα; see `AlphaPrecisionBetaRecall`. Points are float64, shapes (n, d) and (m, d)."""
    centre = real.mean(axis=0, keepdims=True)
    radii = np.quantile(cdist(real, centre)[:, 0], LEVELS, method="inverted_cdf")
    within = np.sort(cdist(synthetic, centre)[:, 0]).searchsorted(radii, side="right") / len(synthetic)
    return _score(within)


def beta_recall(real: np.ndarray, synthetic: np.ndarray, to_other_real: np.ndarray) -> float:
    """1 - 2 ∫ |R(β) - β| dβ; see `AlphaPrecisionBetaRecall`.

    Args:
        real: float64, shape (n, d).
        synthetic: float64, shape (m, d).
        to_other_real: float64, shape (n,): distance of each real row to its nearest other real row.
    """
    to_centre = cdist(synthetic, synthetic.mean(axis=0, keepdims=True))[:, 0]
    radii = np.quantile(to_centre, LEVELS, method="inverted_cdf")
    distances, nearest = nearest_point(real, synthetic)
    reached = np.sort(to_centre[nearest[distances <= to_other_real]])
    return _score(reached.searchsorted(radii, side="right") / len(real))


def _score(curve: np.ndarray) -> float:
    return float(1.0 - 2.0 * np.trapezoid(np.abs(curve - LEVELS), LEVELS))


def nearest_point(
    queries: np.ndarray, points: np.ndarray, *, own: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Euclidean distance of each query to its nearest point, and which that is, the first of equals.

    Args:
        queries: float64, shape (m, d).
        points: float64, shape (n, d).
        own: int64, shape (m,): the point that each query itself is, and that does not count.
    """
    blocks = list(_nearest_by_block(queries, points, own))
    return np.concatenate([distances for distances, _ in blocks]), np.concatenate([places for _, places in blocks])


def _nearest_by_block(
    queries: np.ndarray, points: np.ndarray, own: np.ndarray | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    step = max(1, CHUNK_CELLS // len(points))
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        block = cdist(queries[rows], points)
        if own is not None:
            block[np.arange(len(block)), own[rows]] = np.inf
        yield block.min(axis=1), block.argmin(axis=1)
