"""Rows that a classifier would call synthetic are written again: discriminator rejection sampling."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from harmonic.seed import derive_seed
from harmonic.table.encoding import Encoder

FOLDS = 5
ROWS = 50_000
"""Train rows that are learnt from, at most; more are drawn from."""
LEAST_IN_LEAF = 40.0
"""Sum of weight x p (1 - p) over the rows of a leaf, at least, where a train row weighs 1 and the written ones weigh as much
as train together: p (1 - p) is .25 at most, so that a leaf weighs 160 or more and none is about one train row."""


@dataclass(frozen=True)
class Discriminator:
    """Tells train's rows from written ones, and keeps the share of the written ones that it tells least.

    A written row x is kept with probability min(1, r(x) / c), where r is the ratio of train's density to the writer's, as
    a classifier that was trained on both puts it (its odds), and c is such that `keep` of the rows are kept on average. Rows
    with r < c come out in train's proportions as far as the classifier knows; the smaller `keep`, the more rows that is.

    Source: Azadi et al. 2019, *Discriminator rejection sampling*, ICLR, here with gradient-boosted trees, and with
    c from the share that is kept.
    """

    encoder: Encoder
    models: list[Any]
    """XGBoost's, one for each fold; what they say together is the mean of their log-odds."""
    limit: float
    """c."""
    seed: int
    report: dict[str, float]
    """`auc`: how well the written rows can be told from train's, each by the model that was not fitted on it, .5 for not
    at all, and a little more, since those rows also said when to end the fit; `limit`; rows of each kind."""

    @classmethod
    def fit(cls, train: pd.DataFrame, written: pd.DataFrame, encoder: Encoder, keep: float, seed: int) -> Self:
        """Learn to tell train from what was written.

        Args:
            train: n rows.
            written: w rows, at least `FOLDS`, from the writer whose rows are to be kept or not, but not those rows.
            encoder: fitted on train.
            keep: the share that is kept, above 0 and below 1.
            seed: of the folds, the models and the choice.
        """
        from xgboost import XGBClassifier  # here, so that fine-tuning does without it

        if len(train) > ROWS:
            train = train.sample(ROWS, random_state=derive_seed(seed, "rows"))
        points = np.vstack([encoder.points(train), encoder.points(written)])
        is_real = np.repeat([1, 0], [len(train), len(written)])
        weights = np.where(is_real, 1.0, len(train) / len(written))
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=derive_seed(seed, "folds"))
        models: list[Any] = []
        odds = np.empty(len(points))
        with threadpool_limits(1):
            for rows, held_out in folds.split(points, is_real):
                model = XGBClassifier(
                    n_estimators=1000,
                    early_stopping_rounds=20,
                    learning_rate=0.05,
                    max_depth=6,
                    min_child_weight=LEAST_IN_LEAF,
                    subsample=0.7,
                    colsample_bytree=0.7,
                    tree_method="hist",
                    eval_metric="logloss",
                    n_jobs=1,
                    random_state=derive_seed(seed, "model", len(models)),
                )
                model.fit(
                    points[rows],
                    is_real[rows],
                    sample_weight=weights[rows],
                    eval_set=[(points[held_out], is_real[held_out])],
                    sample_weight_eval_set=[weights[held_out]],
                    verbose=False,
                )
                odds[held_out] = model.predict(points[held_out], output_margin=True)
                models.append(model)
        limit = _limit(np.exp(odds[is_real == 0]), keep)
        found = {"auc": float(roc_auc_score(is_real, odds)), "limit": limit, "train": len(train), "written": len(written)}
        return cls(encoder, models, limit, seed, found)

    def ratios(self, rows: pd.DataFrame) -> np.ndarray:
        """Train's density over the writer's at each row, as far as can be told, float64, shape (n,)."""
        points = self.encoder.points(rows)
        with threadpool_limits(1):
            odds = np.mean([model.predict(points, output_margin=True) for model in self.models], axis=0, dtype=np.float64)
        return np.exp(odds)

    def keeps(self, rows: pd.DataFrame, numbers: Sequence[int]) -> np.ndarray:
        """Which rows are kept, bool, shape (n,); a row's fate depends on it and the number of its try alone."""
        luck = [np.random.default_rng(derive_seed(self.seed, "keep", number)).random() for number in numbers]
        return np.array(luck) < self.ratios(rows) / self.limit


def _limit(ratios: np.ndarray, keep: float) -> float:
    """c, for which the mean of min(1, r / c) is `keep`."""
    return float(brentq(lambda c: np.minimum(1, ratios / c).mean() - keep, ratios.min(), 2 * ratios.max() / keep))
