"""Utility, corrected: what standard models learn from a synthetic table, measured on real rows they never saw."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score, matthews_corrcoef, r2_score, roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC, LinearSVC
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from xgboost import XGBClassifier, XGBRegressor

from harmonic.errors import BadInput, check_count
from harmonic.metrics.rows import check_rows
from harmonic.seed import derive_seed
from harmonic.table import Split
from harmonic.table.encoding import EMPTY

Settings = Mapping[str, Any]
Folds = Sequence[tuple[np.ndarray, np.ndarray]]
FoldScore = Callable[[Any, np.ndarray, np.ndarray], float]

LANDMARKS = 300
"""Rows the Nyström approximation of the RBF kernel is built on."""


@dataclass(frozen=True)
class Learner:
    """A kind of model with the settings to choose among."""

    name: str
    make: Callable[[Settings, int], Any]
    """An unfitted scikit-learn estimator from settings and a seed."""
    grid: Sequence[Settings]
    """Settings to choose among; the first wins ties, and is used where there are too few rows to choose."""


@dataclass(frozen=True)
class FittedClassifier:
    """A classifier that knows which of the schema's classes it has seen."""

    classes: np.ndarray
    """int64, shape (c,): the class codes of its training rows, ascending."""
    model: Any
    """Fitted on codes 0 … c - 1; None where there was one class only, which is then what it predicts."""

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Class codes, int64, shape (n,)."""
        if self.model is None:
            return np.full(len(features), self.classes[0])
        return self.classes[self.model.predict(features)]

    def scores(self, features: np.ndarray, n_classes: int) -> np.ndarray:
        """A score per class, float64, shape (n, n_classes), comparable within a column; 0 for a class it never saw."""
        scores = np.zeros((len(features), n_classes))
        if self.model is not None and hasattr(self.model, "predict_proba"):
            scores[:, self.classes] = self.model.predict_proba(features)
        elif self.model is not None:
            margins = self.model.decision_function(features)
            scores[:, self.classes] = np.column_stack([-margins, margins]) if margins.ndim == 1 else margins
        return scores


def fit_classifier(model: Any, features: np.ndarray, labels: np.ndarray) -> FittedClassifier:
    """Fit whatever classes there are: codes are made contiguous (XGBoost asks for it), one class needs no model."""
    classes, contiguous = np.unique(labels, return_inverse=True)
    return FittedClassifier(classes, model.fit(features, contiguous) if len(classes) > 1 else None)


@dataclass(frozen=True)
class FittedRegressor:
    """A regressor of a standardised target."""

    model: Any
    mean: float
    deviation: float

    def predict(self, features: np.ndarray) -> np.ndarray:
        """The target in its own unit, float64, shape (n,)."""
        return self.model.predict(features).astype(np.float64) * self.deviation + self.mean


def fit_regressor(model: Any, features: np.ndarray, target: np.ndarray) -> FittedRegressor:
    """Fit on the target less its mean, in units of its standard deviation."""
    mean, deviation = float(target.mean()), float(target.std()) or 1.0
    return FittedRegressor(model.fit(features, (target - mean) / deviation), mean, deviation)


def make_folds(target: np.ndarray, n_folds: int, *, stratify: bool, shuffle_seed: int | None) -> Folds:
    """Row numbers (fit, test) per fold; no folds where there are fewer than two rows for each.

    Folds are stratified where asked, unless every class has fewer rows than there are folds. Rows stay in order without
    a `shuffle_seed`.
    """
    if len(target) < 2 * n_folds:
        return []
    stratify = stratify and int(np.unique(target, return_counts=True)[1].max()) >= n_folds
    kind = StratifiedKFold if stratify else KFold
    splitter = kind(n_folds, shuffle=shuffle_seed is not None, random_state=shuffle_seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")
        return list(splitter.split(target, target))


def choose_settings(learner: Learner, seed: int, folds: Folds, score: FoldScore) -> Settings:
    """The settings with the best mean score over the folds, the earlier ones on a tie.

    Args:
        learner: the settings and what they make.
        seed: of the models.
        folds: row numbers to fit and to test on; without any, the first settings are taken.
        score: fits an unfitted model on the first rows and scores it on the second; greater is better.
    """
    if not folds or len(learner.grid) == 1:
        return learner.grid[0]
    means = [np.mean([score(learner.make(settings, seed), *fold) for fold in folds]) for settings in learner.grid]
    return learner.grid[int(np.argmax(means))]


def classification_learners(features: np.ndarray, *, exact_kernel: bool) -> list[Learner]:
    """Logistic regression, SVM, random forest and XGBoost, all of one thread; the kernel's width suits `features`."""
    width = 1.0 / (features.shape[1] * (float(features.var()) or 1.0))

    def svm(settings: Settings, seed: int) -> Any:
        if exact_kernel:
            return SVC(**settings, gamma=width)
        landmarks = Nystroem(gamma=width, n_components=min(LANDMARKS, len(features) // 2), random_state=seed)
        return make_pipeline(landmarks, LinearSVC(**settings, dual=False))

    return [
        Learner("lr", lambda s, seed: LogisticRegression(**s, max_iter=1000), [{"C": c} for c in (1.0, 0.1, 0.01, 10.0)]),
        Learner("svm", svm, [{"C": c} for c in (1.0, 0.1, 10.0)]),
        Learner("rf", lambda s, seed: RandomForestClassifier(200, **s, random_state=seed), _LEAVES),
        Learner("xgb", lambda s, seed: XGBClassifier(**s, **_XGB, random_state=seed), _DEPTHS),
    ]


def regression_learners() -> list[Learner]:
    """Ridge regression, random forest, XGBoost and a small network, all of one thread."""

    def network(settings: Settings, seed: int) -> Any:
        return MLPRegressor(hidden_layer_sizes=(100,), **settings, max_iter=200, random_state=seed)

    return [
        Learner("ridge", lambda s, seed: Ridge(**s), [{"alpha": a} for a in (1.0, 10.0, 100.0)]),
        Learner("rf", lambda s, seed: RandomForestRegressor(200, **s, random_state=seed, max_features=0.5), _LEAVES),
        Learner("xgb", lambda s, seed: XGBRegressor(**s, **_XGB, random_state=seed), _DEPTHS),
        Learner("mlp", network, [{"alpha": a} for a in (0.0001, 0.1)]),
    ]


_LEAVES = [{"min_samples_leaf": leaf} for leaf in (1, 5, 20)]
_XGB = {"n_estimators": 200, "tree_method": "hist", "n_jobs": 1}
_DEPTHS = [{"max_depth": depth, "learning_rate": rate} for depth, rate in ((6, 0.1), (3, 0.1), (3, 0.03))]


@dataclass(frozen=True)
class MachineLearningEfficacy:
    """Machine learning efficacy (MLE), corrected: train on the synthetic table, test on the real test table.

    Definition. Four models learn the target from the synthetic rows: logistic regression (`lr`), SVM with an RBF kernel
    (`svm`), random forest (`rf`), XGBoost (`xgb`); for regression ridge (`ridge`), `rf`, `xgb` and a network of 100 units
    (`mlp`). Features are `split.encoder`'s, fitted once on real train: one-hot categories, standardised numbers, dates and
    time stamps as seconds, standardised too (unscaled, they break the published LR and SVM on Buddy). Settings (3 or 4 per
    model, below) are chosen by cross-validation inside the synthetic table, on weighted F1 or R², from at most
    `tune_rows` of its rows; the model is refitted on all of them. Settings: lr C .01/.1/1/10; svm C .1/1/10; rf 200 trees,
    leaves of at least 1/5/20; xgb 200 trees, depth and rate 6 and .1, 3 and .1, 3 and .03; ridge alpha 1/10/100; mlp alpha
    .0001/.1. Above `max_kernel_rows` rows the SVM is a linear one on 300 Nyström features of the same kernel.

    Scores, for each model (`mle_lr_f1_weighted`, …) and as the mean over models (`mle_f1_weighted`, …):
    `f1_weighted` and `f1_macro` (over the classes of test), `auc` (ROC; for several classes one against the rest, weighted
    by class frequency; NaN where test holds one class), all 0 to 1; `mcc`, -1 to 1; regression: `r2`, at most 1, and
    `rmse`, in units of the target. Greater is better, except for `rmse`. `mle_majority_f1_weighted` (`mle_mean_r2`) is what
    predicting the most frequent class (the mean) of real train scores: utility starts about there (guessing classes by
    their frequency can score more in F1; in MCC and AUC the floor is 0 and .5), and ends at the scores of real train.

    Edges. Rows whose target is empty or no class of the schema are left out. A table of one class makes every model
    predict that class. A class that synthetic lacks is never predicted. With fewer rows than twice `folds` the first
    setting is taken unseen.

    What it cannot see: privacy (a copy of train scores like train), columns that do not help to predict the target, text
    columns, and differences smaller than the test table can resolve (±.03 on 150 rows).

    Source: Wang et al. 2024 (HARMONIC), MLE; Esteban et al. 2017, *Real-valued (medical) time series generation with
    recurrent conditional GANs*, for train on synthetic, test on real. What is corrected: one encoder for all tables,
    scaled features, settings chosen on more than 100 rows, several scores, and a reference.
    """

    folds: int = 5
    """Folds of the cross-validation."""
    tune_rows: int = 5000
    """Settings are chosen on at most this many synthetic rows."""
    max_kernel_rows: int = 15000
    """Synthetic rows above which the SVM's kernel is approximated."""

    def __post_init__(self) -> None:
        for option, least in (("folds", 2), ("tune_rows", 2), ("max_kernel_rows", 0)):
            check_count(f"metrics.mle.{option}", getattr(self, option), least)

    def __call__(
        self, split: Split, synthetic: pd.DataFrame, *, seed: int, synthesizer: object | None = None
    ) -> dict[str, float]:
        """Scores by key; see the class.

        Raises:
            BadInput: no synthetic row has a usable target, or all features are texts, which these models cannot read.
        """
        synthetic = check_rows(split, synthetic, "mle")
        if all(column.kind == "text" for column in split.schema.features):
            raise BadInput("mle needs a feature that is a number, a date or a category, but all are texts: leave mle out.")
        features, target = usable_rows(split, synthetic, split.encoder.features(synthetic), "synthetic")
        test_features, test_target = usable_rows(split, split.test, split.encoder.features(split.test), "test")
        is_class = split.schema.task != "regression"
        exact_kernel = len(target) <= self.max_kernel_rows
        learners = classification_learners(features, exact_kernel=exact_kernel) if is_class else regression_learners()
        judge: Callable[..., dict[str, float]] = judge_classifier if is_class else judge_regressor
        seed = derive_seed(seed, "mle")
        few = np.random.default_rng(seed).permutation(len(target))[: self.tune_rows]
        folds = make_folds(target[few], self.folds, stratify=is_class, shuffle_seed=seed)
        fit: Callable[..., Any] = fit_classifier if is_class else fit_regressor

        def score_fold(model: Any, rows: np.ndarray, held_out: np.ndarray) -> float:
            predicted = fit(model, features[few[rows]], target[few[rows]]).predict(features[few[held_out]])
            return _headline(target[few[held_out]], predicted, is_class)

        scores: dict[str, dict[str, float]] = {}
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            for learner in learners:
                settings = choose_settings(learner, seed, folds, score_fold)
                fitted = fit(learner.make(settings, seed), features, target)
                scores[learner.name] = judge(fitted, test_features, test_target)
        names = next(iter(scores.values()))
        result = {f"mle_{name}": float(np.mean([one[name] for one in scores.values()])) for name in names}
        result |= {f"mle_{model}_{name}": value for model, one in scores.items() for name, value in one.items()}
        return result | {f"mle_{name}": value for name, value in trivial_score(split, test_target).items()}


def usable_rows(split: Split, table: pd.DataFrame, features: np.ndarray, source: str) -> tuple[np.ndarray, np.ndarray]:
    """The rows of `features` that have a target, and the target.

    Raises:
        BadInput: there is none.
    """
    target = split.encoder.target(table)
    known = ~np.isnan(target) if split.schema.task == "regression" else target != EMPTY
    if not known.any():
        raise BadInput(
            f"{source} must hold rows with a target, but none of its {len(table)} rows has a valid "
            f"{split.schema.target!r}: check how it was made."
        )
    return features[known], target[known]


def _headline(actual: np.ndarray, predicted: np.ndarray, is_class: bool) -> float:
    if is_class:
        return float(f1_score(actual, predicted, average="weighted", zero_division=0))
    return float(r2_score(actual, predicted))


def judge_classifier(fitted: FittedClassifier, features: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """`class_scores` of a classifier on labelled rows."""
    scores = fitted.scores(features, int(max(labels.max(), fitted.classes.max())) + 1)
    return class_scores(labels, fitted.predict(features), scores)


def class_scores(labels: np.ndarray, predicted: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Weighted F1, macro F1, MCC and ROC AUC.

    Args:
        labels: class codes, int64, shape (n,).
        predicted: the same.
        scores: of each class, float64, shape (n, c), comparable within a column.
    """
    present, counts = np.unique(labels, return_counts=True)
    return {
        "f1_weighted": _headline(labels, predicted, True),
        "f1_macro": float(f1_score(labels, predicted, labels=present, average="macro", zero_division=0)),
        "mcc": float(matthews_corrcoef(labels, predicted)),
        "auc": _auc(labels, scores, present, counts),
    }


def _auc(labels: np.ndarray, scores: np.ndarray, present: np.ndarray, counts: np.ndarray) -> float:
    if len(present) == 1:
        return float("nan")
    if scores.shape[1] == 2:
        return float(roc_auc_score(labels == 1, scores[:, 1]))
    areas = [roc_auc_score(labels == code, scores[:, code]) for code in present]
    return float(np.average(areas, weights=counts))


def judge_regressor(fitted: FittedRegressor, features: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """`number_scores` of a regressor on rows with a target."""
    return number_scores(target, fitted.predict(features))


def number_scores(target: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """R² and RMSE."""
    return {"r2": _headline(target, predicted, False), "rmse": float(np.sqrt(np.mean((target - predicted) ** 2)))}


def trivial_score(split: Split, test_target: np.ndarray) -> dict[str, float]:
    """What the target of real train alone scores: its most frequent class, or its mean."""
    _, train_target = usable_rows(split, split.train, np.empty((len(split.train), 0)), "train")
    is_class = split.schema.task != "regression"
    guess = np.bincount(train_target).argmax() if is_class else train_target.mean()
    key = "majority_f1_weighted" if is_class else "mean_r2"
    return {key: _headline(test_target, np.full(len(test_target), guess), is_class)}
