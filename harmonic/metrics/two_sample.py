"""The classifier two-sample test: whether a model can tell synthetic rows from real ones."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from xgboost import XGBClassifier

from harmonic.errors import BadInput, check_count
from harmonic.metrics.intervals import auc_with_variance
from harmonic.metrics.rows import check_rows, draw_rows
from harmonic.metrics.utility import Folds, make_folds
from harmonic.seed import derive_seed
from harmonic.table import Split


@dataclass(frozen=True)
class ClassifierTwoSampleTest:
    """The classifier two-sample test (C2ST): how well XGBoost tells synthetic rows from real rows of the test table.

    Definition. Equally many synthetic rows and rows of `split.test`, drawn with the seed, at most `max_rows` of each and no
    more than train has; their features are `split.encoder`'s points (standardised numbers, one-hot categories), target
    included, so that the relation of features and target counts. XGBoost (200 trees of depth 6, rate .1) learns on all
    but one of `folds` stratified folds which rows are synthetic, and ranks the rows of that fold.

    * `c2st_auc`: the mean over folds of the area under the ROC curve. Ideal .5: no row can be told; 1: every row can.
      Below .5 beyond the interval, synthetic rows repeat rows of test: a row whose twin was learnt as the other kind.
    * `c2st_auc_low`, `c2st_auc_high`: its 95 % interval over rows: DeLong's variance within the folds, and for the mean
      1 / folds + 1 / (folds - 1) of it in place of 1 / folds, since folds share the rows they learn from. (Without that, the
      interval held .5 for 80 to 93 % of pairs of one source; with it, for 97 % or more.)
    * `c2st_auc_real`, `c2st_auc_real_low`, `c2st_auc_real_high`: the same for train rows in place of the synthetic ones.
      .5 where train and test are of one source; above it, the split itself is told apart, and that is the ideal then.

    The real side is test, not train: a generator that hands through train's rows is then at .5 like fresh rows of the
    source, while against train itself twins on either side would pull it far below. Trees, not a line: independent columns
    saturate a linear test, whose sum over columns sees their margins alone (on Adult logistic regression puts them at .50,
    trees at .99). Nothing is tuned: the same trees judge every table.

    What it cannot see: privacy (a copy of train is ideal), text columns, which of many faults gave a row away, and how
    grave it is: numbers with a decimal too many give a row away as surely as nonsense does. A few dozen rows say little;
    see the interval.

    Source: Lopez-Paz & Oquab 2017, *Revisiting classifier two-sample tests*, ICLR, here with the AUC in place of accuracy;
    DeLong et al. 1988, *Comparing the areas under two or more correlated receiver operating characteristic curves*,
    Biometrics 44, and Nadeau & Bengio 2003, *Inference for the generalization error*, Machine Learning 52, for the interval.
    """

    folds: int = 5
    """Folds of the cross-validation."""
    max_rows: int = 10000
    """Rows of each kind, at most."""

    def __post_init__(self) -> None:
        check_count("metrics.c2st.folds", self.folds, 2)
        check_count("metrics.c2st.max_rows", self.max_rows, 2 * self.folds)

    def __call__(
        self, split: Split, synthetic: pd.DataFrame, *, seed: int, synthesizer: object | None = None
    ) -> dict[str, float]:
        """The areas and their intervals by key; see the class.

        Raises:
            BadInput: synthetic, train or test has fewer than two rows per fold.
        """
        least = 2 * self.folds
        rows = check_rows(split, synthetic, "c2st", at_least=least)
        few = min(len(split.test), len(split.train))
        if few < least:
            raise BadInput(f"c2st must have {least} rows or more of train and of test, but has {few}: leave it out.")
        seed = derive_seed(seed, "c2st")
        n = min(len(rows), few, self.max_rows)
        scores: dict[str, float] = {}
        for key, table in (("c2st_auc", rows), ("c2st_auc_real", split.train)):
            points = [split.encoder.points(draw_rows(side, n, seed)) for side in (table, split.test)]
            is_synthetic = np.repeat([1, 0], n)
            folds = make_folds(is_synthetic, self.folds, stratify=True, shuffle_seed=seed)
            areas = cross_validated_auc(np.vstack(points), is_synthetic, folds, seed)
            scores |= {key: areas[0], f"{key}_low": areas[1], f"{key}_high": areas[2]}
        return scores


def cross_validated_auc(points: np.ndarray, labels: np.ndarray, folds: Folds, seed: int) -> tuple[float, float, float]:
    """The mean over folds of XGBoost's AUC on the held-out rows, and the ends of its 95 % interval, within 0 to 1.

    Args:
        points: float64, shape (n, d).
        labels: int64, shape (n,): 0 or 1.
        folds: row numbers to fit and to test on, at least two rows of either label in each.
        seed: of the models.
    """
    areas, variances = [], []
    with threadpool_limits(1):
        for rows, held_out in folds:
            model = XGBClassifier(
                n_estimators=200, max_depth=6, learning_rate=0.1, tree_method="hist", n_jobs=1, random_state=seed
            )
            scores = model.fit(points[rows], labels[rows]).predict_proba(points[held_out])[:, 1]
            area, variance = auc_with_variance(scores[labels[held_out] == 1], scores[labels[held_out] == 0])
            areas.append(area)
            variances.append(variance)
    mean = float(np.mean(areas))
    of_mean = (1 / len(folds) + 1 / (len(folds) - 1)) * np.mean(variances)
    half = float(norm.ppf(0.975) * np.sqrt(of_mean))
    return mean, max(0.0, mean - half), min(1.0, mean + half)
