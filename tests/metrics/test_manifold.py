"""Precision and recall of a generator. Oracles: integrals by hand, a double loop, copies, and columns shuffled apart."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from harmonic.metrics import manifold
from harmonic.metrics.manifold import AlphaPrecisionBetaRecall, alpha_precision, beta_recall, nearest_point
from harmonic.table import Split, coerce
from harmonic.table.infer import infer_schema
from harmonic.table.schema import Column


def ring(n: int, seed: int) -> pd.DataFrame:
    """Points about a circle, and a class for each half of it."""
    random = np.random.default_rng(seed)
    angle = random.uniform(-np.pi, np.pi, n)
    radius = 1 + 0.05 * random.normal(size=n)
    return pd.DataFrame(
        {
            "x": (radius * np.cos(angle)).round(4),
            "z": (radius * np.sin(angle)).round(4),
            "y": np.where(angle > 0, "upper", "lower"),
        }
    )


@pytest.fixture(scope="module")
def split() -> Split:
    train = ring(500, 0)
    schema = infer_schema(train)
    return Split("ring", schema, *(coerce(t, schema, "t") for t in (train, ring(100, 1), ring(400, 2))))


def on_a_line(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


def test_alpha_precision_by_hand() -> None:
    """P(α) is α, 1, 0 and 1/2 everywhere, so 1, 0, 0 and 1 - 2 (1/4): real rows, their centre, far rows, half of each."""
    real = np.concatenate([np.arange(1, 1001), -np.arange(1, 1001)]).astype(float)[:, None]
    centre, far = np.zeros((50, 1)), np.full((50, 1), 9999.0)
    assert alpha_precision(real, real) == pytest.approx(1.0, abs=0.002)
    assert alpha_precision(real, centre) == pytest.approx(0.0, abs=0.002)
    assert alpha_precision(real, far) == pytest.approx(0.0, abs=1e-12)
    assert alpha_precision(real, np.vstack([centre, far])) == pytest.approx(0.5, abs=0.002)


def test_the_edge_of_a_ball_is_within_it() -> None:
    """Real rows 1, 2, 3, 4 from their centre, synthetic rows 4: P is 0 up to 3/4, then 1: 1 - 2 (9/32 + 1/32).

    Synthetic rows beside the real ones, as far as these are from each other: all are reached, so recall is 1, and not 0.
    """
    real = on_a_line(-4, -3, -2, -1, 1, 2, 3, 4)
    assert alpha_precision(real, on_a_line(-4, 4)) == pytest.approx(0.375, abs=0.01)
    grid = np.column_stack([np.arange(500), np.zeros(500)])
    assert beta_recall(grid, grid + np.array([0, 1]), np.ones(500)) == pytest.approx(1.0, abs=0.005)


def test_beta_recall_by_hand() -> None:
    """Equal rows 1, rows too far from every real row 0; one of two clusters reached: R is half of what it should be."""
    real = np.concatenate([np.linspace(0, 1, 500), np.linspace(9, 10, 500)])[:, None]
    spacing, _ = nearest_point(real, real, own=np.arange(1000))
    assert beta_recall(real, real, spacing) == pytest.approx(1.0, abs=0.005)
    assert beta_recall(real, real + 100, spacing) == pytest.approx(0.0, abs=1e-12)
    assert beta_recall(real, real[:500], spacing) == pytest.approx(0.5, abs=0.005)


def test_recall_of_a_second_sample_is_a_half() -> None:
    """Of 2 n rows of one source, a row's nearest neighbour is in the other n with probability n / (2 n - 1).

    So R(1) is one half and, β of the synthetic rows being as near their centre as of the real ones, the score too. Mean of
    20 pairs of samples; the bound is four standard errors of it.
    """
    scores = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        real, synthetic = random.normal(size=(2, 300, 4))
        scores.append(beta_recall(real, synthetic, nearest_point(real, real, own=np.arange(300))[0]))
    assert abs(np.mean(scores) - 0.5) < 4 * np.std(scores, ddof=1) / np.sqrt(20)


def test_nearest_point_by_loop_and_by_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A double loop; ties go to the first; a row is not its own neighbour; blocks of rows change nothing."""
    random = np.random.default_rng(0)
    queries, points = random.integers(0, 4, (30, 2)).astype(float), random.integers(0, 4, (40, 2)).astype(float)
    expected = [min((float(np.hypot(*(q - p))), place) for place, p in enumerate(points)) for q in queries]
    for _ in range(2):
        distances, places = nearest_point(queries, points)
        assert distances.tolist() == pytest.approx([distance for distance, _ in expected])
        assert places.tolist() == [place for _, place in expected]
        monkeypatch.setattr(manifold, "CHUNK_CELLS", 100)
    assert nearest_point(on_a_line(0, 3, 4), on_a_line(0, 3, 4), own=np.arange(3))[0].tolist() == [3, 1, 1]


def test_copies_far_from_the_origin_are_copies() -> None:
    """Invariant: a row is at distance 0 from itself and from nothing else (inner products lose that out here)."""
    points = 1e6 + np.random.default_rng(0).normal(size=(200, 30))
    distances, places = nearest_point(points, points)
    assert (distances == 0).all()
    assert places.tolist() == list(range(200))


def test_a_copy_of_train_is_the_reference(split: Split) -> None:
    """Bit for bit where no row is left out; the reference of recall is near a half."""
    scores = AlphaPrecisionBetaRecall()(split, split.train, seed=0)
    assert scores["alpha_precision"] == scores["alpha_precision_real"] > 0.85
    assert scores["beta_recall"] == scores["beta_recall_real"]
    assert 0.4 < scores["beta_recall_real"] < 0.65


def test_a_copy_of_test_is_beyond_the_reference(split: Split) -> None:
    """Known answer: every row is reached, by itself."""
    scores = AlphaPrecisionBetaRecall()(split, split.test, seed=0)
    assert scores["beta_recall"] > 0.98
    assert scores["alpha_precision"] > 0.98


def test_columns_apart_and_collapse(split: Split) -> None:
    """Known answers: off the ring, recall falls well below fresh rows'; one row repeated covers nothing and is no sample."""
    random, train = np.random.default_rng(0), split.train
    shuffled = pd.DataFrame({name: random.permutation(train[name].to_numpy()) for name in train})
    scores = AlphaPrecisionBetaRecall()(split, shuffled, seed=0)
    fresh = AlphaPrecisionBetaRecall()(split, ring(500, 7), seed=0)
    assert scores["beta_recall"] < 0.6 * scores["beta_recall_real"]
    assert abs(fresh["beta_recall"] - fresh["beta_recall_real"]) < 0.1
    collapsed = AlphaPrecisionBetaRecall()(split, pd.concat([train.iloc[:1]] * 500), seed=0)
    assert collapsed["beta_recall"] < 0.05
    assert collapsed["alpha_precision"] < 0.6


def test_at_most_max_rows(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every side has as many rows as the smallest table, and no more than asked; by the points that are compared."""
    sizes = []
    whole = manifold.nearest_point
    monkeypatch.setattr(manifold, "nearest_point", lambda a, b, **own: sizes.append((len(a), len(b))) or whole(a, b, **own))
    AlphaPrecisionBetaRecall()(split, split.val, seed=0)
    AlphaPrecisionBetaRecall(max_rows=30)(split, split.val, seed=0)
    assert sizes == [(100, 100)] * 3 + [(30, 30)] * 3


@pytest.mark.filterwarnings("ignore::RuntimeWarning:harmonic.table.encoding")
@pytest.mark.filterwarnings("ignore:Degrees of freedom:RuntimeWarning")
def test_a_column_without_a_value_counts_for_nothing(split: Split) -> None:
    """Invariant: the scores are those of the table without it."""
    empty = Column("empty", "integer", "float64", nullable=True)
    schema = replace(split.schema, columns=(empty, *split.schema.columns))
    tables = [table.assign(empty=np.nan)[schema.names] for table in (split.train, split.val, split.test, ring(90, 3))]
    scores = AlphaPrecisionBetaRecall()(Split("with", schema, *tables[:3]), tables[3], seed=0)
    assert scores == AlphaPrecisionBetaRecall()(split, ring(90, 3), seed=0)
