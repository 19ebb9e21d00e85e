"""Rows that a classifier would call synthetic are written again: discriminator rejection sampling."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import log_softmax
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from harmonic.encoding import Encoder
from harmonic.seed import derive_seed

VERSION = 2
"""Raised when other rows are kept."""
FOLDS = 5
ROWS = 50_000
"""Train rows that are learnt from, at most; more are drawn from."""
LEAST_IN_LEAF = 80.0
"""Sum of weight x 2 p (1 - p) over the rows of a leaf, at least, where a train row weighs 1, and the written ones as much as
train together where the two are told apart: p (1 - p) is .25 at most, so that a leaf weighs 160 or more and none is about
one train row."""
PATIENCE = 20
"""Rounds without a gain on the rows held out, after which no tree is added."""


@dataclass(frozen=True)
class Discriminator:
    """Tells train's rows from written ones, and keeps the share of the written ones that it tells least.

    A written row z is kept with probability min(1, r(z) / c), where r is the ratio of train's density to the writer's and c
    is such that `keep` of the rows are kept on average. Rows with r < c come out in train's proportions as far as is known;
    the smaller `keep`, the more rows that is.

    Where the target y is a class, r(x, y) is taken apart: what a classifier says that was trained on features of both, the
    odds of train's, times P(y | x) in train over P(y | x) in what was written, by two classifiers that learnt the class.
    One of all columns finds what is most easily told, and the class is one column among many; users learn the class.

    Source: Azadi et al. 2019, *Discriminator rejection sampling*, ICLR, here with gradient-boosted trees, with c from the
    share that is kept, and with the ratio in two factors.
    """

    encoder: Encoder
    source: "Classifier"
    """Of written rows (0) and train's (1): from the features where there are classes, else from whole rows."""
    classes: "tuple[Classifier, Classifier] | None"
    """Of the target in written rows, and in train's; None for a target that is a number."""
    limit: float
    """c."""
    seed: int
    report: dict[str, float]
    """`auc`: how well the written rows can be told from train's by r, each by models that have not seen it, .5 for not at
    all; `limit`; rows of each kind."""

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
        if len(train) > ROWS:
            train = train.sample(ROWS, random_state=derive_seed(seed, "rows"))
        sides = (written, train)
        points = [_points(side, encoder) for side in sides]
        is_real = np.repeat([0, 1], [len(written), len(train)])
        weights = np.where(is_real, 1.0, len(train) / len(written))
        source, chances = Classifier.fit(np.vstack(points), is_real, 2, seed, weights)
        log_ratios = chances[:, 1] - chances[:, 0]
        classes = None
        if encoder.schema.task != "regression":
            n_classes = len(encoder.schema[encoder.schema.target].categories)
            targets = [encoder.target(side) for side in sides]
            of_written, of_train = (
                Classifier.fit(points[side], targets[side], n_classes, derive_seed(seed, "classes", side)) for side in (0, 1)
            )
            classes = (of_written[0], of_train[0])
            unseen = (of_written[1], of_train[0].log_chances(points[0])), (of_written[0].log_chances(points[1]), of_train[1])
            log_ratios += np.concatenate([_at(t - w, target) for (w, t), target in zip(unseen, targets, strict=True)])
        limit = _limit(np.exp(log_ratios[is_real == 0]), keep)
        auc = float(roc_auc_score(is_real, log_ratios))
        report = {"auc": auc, "limit": limit, "train": len(train), "written": len(written)}
        return cls(encoder, source, classes, limit, seed, report)

    def ratios(self, rows: pd.DataFrame) -> np.ndarray:
        """Train's density over the writer's at each row, as far as can be told, float64, shape (n,)."""
        points = _points(rows, self.encoder)
        chances = self.source.log_chances(points)
        log_ratios = chances[:, 1] - chances[:, 0]
        if self.classes is not None:
            of_written, of_train = (classifier.log_chances(points) for classifier in self.classes)
            log_ratios += _at(of_train - of_written, self.encoder.target(rows))
        return np.exp(log_ratios)

    def keeps(self, rows: pd.DataFrame, numbers: Sequence[int]) -> np.ndarray:
        """Which rows are kept, bool, shape (n,); a row's fate depends on it and the number of its try alone."""
        luck = [np.random.default_rng(derive_seed(self.seed, "keep", number)).random() for number in numbers]
        return np.array(luck) < self.ratios(rows) / self.limit


@dataclass(frozen=True)
class Classifier:
    """Gradient-boosted trees of c classes, a model for each fold that was held out, in leaves of many rows."""

    models: list[Any]
    """XGBoost's boosters, each with the number of rounds it needs."""

    @classmethod
    def fit(
        cls, points: np.ndarray, codes: np.ndarray, n_classes: int, seed: int, weights: np.ndarray | None = None
    ) -> tuple[Self, np.ndarray]:
        """The classifier, and `log_chances` of its own rows by the model that has not seen them.

        Args:
            points: float64, shape (n, d).
            codes: int64, shape (n,): 0 … `n_classes` - 1, of which some may be missing.
            n_classes: c.
            seed: of the folds and the models.
            weights: float64, shape (n,); 1 if not given.
        """
        import xgboost  # here, so that fine-tuning does without it

        weights = np.ones(len(points)) if weights is None else weights
        kind = StratifiedKFold if np.bincount(codes).max() >= FOLDS else KFold
        folds = kind(FOLDS, shuffle=True, random_state=derive_seed(seed, "folds"))
        settings = {
            "objective": "multi:softprob",
            "num_class": n_classes,
            "learning_rate": 0.05,
            "max_depth": 6,
            "min_child_weight": LEAST_IN_LEAF,
            "subsample": 0.7,
            "colsample_bytree": 0.7,
            "tree_method": "hist",
            "nthread": 1,
        }
        models: list[Any] = []
        chances = np.empty((len(points), n_classes))
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class")
            for learnt, held_out in folds.split(points, codes):
                seen, unseen = (
                    xgboost.DMatrix(points[rows], codes[rows], weight=weights[rows], nthread=1)
                    for rows in (learnt, held_out)
                )
                model = xgboost.train(
                    {**settings, "seed": derive_seed(seed, "model", len(models))},
                    seen,
                    num_boost_round=1000,
                    early_stopping_rounds=PATIENCE,
                    evals=[(unseen, "unseen")],
                    verbose_eval=False,
                )
                models.append(model[: model.best_iteration + 1])
                chances[held_out] = cls(models[-1:]).log_chances(points[held_out])
        return cls(models), chances

    def log_chances(self, points: np.ndarray) -> np.ndarray:
        """The logarithm of each class's probability, the mean over the models, float64, shape (n, c)."""
        import xgboost

        table = xgboost.DMatrix(points, nthread=1)
        with threadpool_limits(1):
            margins = [model.predict(table, output_margin=True).astype(np.float64) for model in self.models]
        return log_softmax(np.mean(margins, axis=0), axis=1)


def _points(rows: pd.DataFrame, encoder: Encoder) -> np.ndarray:
    """What is told apart first: the features, or whole rows where the target is a number."""
    return encoder.points(rows) if encoder.schema.task == "regression" else encoder.features(rows)


def _at(chances: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The entry of each row's own class, float64, shape (n,)."""
    return chances[np.arange(len(codes)), codes]


def _limit(ratios: np.ndarray, keep: float) -> float:
    """c, for which the mean of min(1, r / c) is `keep`."""
    return float(brentq(lambda c: np.minimum(1, ratios / c).mean() - keep, ratios.min(), 2 * ratios.max() / keep))
