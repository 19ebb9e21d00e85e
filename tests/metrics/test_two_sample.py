"""The classifier two-sample test. Oracles: scikit-learn and a double loop, copies, columns shuffled apart, one source."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from harmonic.errors import BadInput
from harmonic.metrics import two_sample
from harmonic.metrics.two_sample import ClassifierTwoSampleTest, cross_validated_auc
from harmonic.metrics.utility import make_folds
from harmonic.table import Split, coerce
from harmonic.table.infer import infer_schema


def linked(n: int, seed: int) -> pd.DataFrame:
    """Two numbers that follow each other, and a class that follows both."""
    random = np.random.default_rng(seed)
    x = random.normal(size=n)
    z = x + 0.3 * random.normal(size=n)
    return pd.DataFrame({"x": x.round(3), "z": z.round(3), "y": np.where(x + z > 0, "yes", "no")})


def apart(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame({name: random.permutation(table[name].to_numpy()) for name in table})


@pytest.fixture(scope="module")
def split() -> Split:
    train = linked(400, 0)
    schema = infer_schema(train)
    return Split("linked", schema, *(coerce(t, schema, "t") for t in (train, linked(100, 1), linked(300, 2))))


def test_a_copy_of_train_is_the_reference(split: Split) -> None:
    """Bit for bit, and neither side can be told from test, as neither can be."""
    scores = ClassifierTwoSampleTest()(split, split.train, seed=0)
    for end in ("", "_low", "_high"):
        assert scores[f"c2st_auc{end}"] == scores[f"c2st_auc_real{end}"]
    assert scores["c2st_auc_low"] < 0.5 < scores["c2st_auc_high"]


def test_rows_of_one_source_are_at_a_half() -> None:
    """Twelve pairs: .5 within four standard errors of their mean, and in at least ten of the intervals."""
    areas = []
    for seed in range(12):
        points = np.random.default_rng(seed).normal(size=(120, 3))
        labels = np.repeat([1, 0], 60)
        areas.append(cross_validated_auc(points, labels, make_folds(labels, 3, stratify=True, shuffle_seed=seed), seed))
    means, low, high = np.array(areas).T
    assert abs(means.mean() - 0.5) < 4 * means.std(ddof=1) / np.sqrt(12)
    assert ((low <= 0.5) & (high >= 0.5)).sum() >= 10


def test_trees_see_what_a_line_cannot(split: Split) -> None:
    """Known answer: columns shuffled apart have the margins of real rows, which is all that a linear model sees."""
    rows = apart(split.train, 0)
    scores = ClassifierTwoSampleTest()(split, rows, seed=0)
    assert scores["c2st_auc"] > 0.85
    assert scores["c2st_auc_low"] > scores["c2st_auc_real_high"]
    points = np.vstack([split.encoder.points(table.iloc[:300]) for table in (rows, split.test)])
    line = cross_val_score(LogisticRegression(), points, np.repeat([1, 0], 300), scoring="roc_auc", cv=5)
    assert abs(line.mean() - 0.5) < 0.1


def test_the_target_takes_part(split: Split) -> None:
    """Known answer: rows with every class turned round have real features and real shares of classes, and are seen."""
    turned = split.train.assign(y=split.train["y"].map({"yes": "no", "no": "yes"}))
    assert ClassifierTwoSampleTest()(split, turned, seed=0)["c2st_auc"] > 0.95


def test_ends_of_the_scale(split: Split) -> None:
    """Known answers: a copy of test is far below .5, for each row's twin was learnt as the other kind; far rows are at 1."""
    assert ClassifierTwoSampleTest()(split, split.test, seed=0)["c2st_auc_high"] < 0.4
    far = ClassifierTwoSampleTest()(split, split.train.assign(x=50.0), seed=0)
    assert [far[key] for key in ("c2st_auc", "c2st_auc_low", "c2st_auc_high")] == [1.0, 1.0, 1.0]


def test_equally_many_rows_of_each(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the smallest table has, and no more than asked; by the labels that are learnt."""
    seen = []
    whole = two_sample.cross_validated_auc
    monkeypatch.setattr(two_sample, "cross_validated_auc", lambda p, y, *a: seen.append(np.bincount(y)) or whole(p, y, *a))
    ClassifierTwoSampleTest(folds=2)(split, split.val, seed=0)
    ClassifierTwoSampleTest(folds=2, max_rows=40)(split, split.val, seed=0)
    assert np.array(seen).tolist() == [[100, 100]] * 2 + [[40, 40]] * 2


def test_too_few_rows(split: Split, one_sentence) -> None:
    """Two rows of each kind a fold are needed, of the user's rows and of the data set's."""
    with pytest.raises(BadInput) as caught:
        ClassifierTwoSampleTest()(split, split.val.iloc[:9], seed=0)
    one_sentence(caught.value, "c2st", "10 synthetic rows", "9")
    with pytest.raises(BadInput) as caught:
        ClassifierTwoSampleTest()(Split("few", split.schema, split.train, split.val, split.test.iloc[:9]), split.val, seed=0)
    one_sentence(caught.value, "c2st", "10 rows", "9")
    with pytest.raises(BadInput) as caught:
        ClassifierTwoSampleTest(folds=1)
    one_sentence(caught.value, "metrics.c2st.folds", "2")
