"""Fidelity. Oracles: hand computation, SDMetrics' own report, copies, and columns shuffled apart."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from harmonic.metrics.fidelity import Fidelity, bin_codes, column_shape, mutual_information, pair_trends, quantile_edges
from harmonic.table import Split, coerce
from harmonic.table.infer import infer_schema
from harmonic.table.schema import Column

NUMBER = Column("x", "integer", "int64", low=0, high=9)
OTHER = Column("z", "decimal", "float64", low=0, high=9)
COLOUR = Column("c", "category", "str", categories=("blue", "red"))


def linked(n: int, seed: int) -> pd.DataFrame:
    """Columns that hang together in pairs: numbers on each other, categories on numbers, the target on both."""
    random = np.random.default_rng(seed)
    x = random.normal(size=n)
    return pd.DataFrame(
        {
            "x": x.round(2),
            "z": (x + 0.3 * random.normal(size=n)).round(2),
            "c": np.where(x + 0.3 * random.normal(size=n) > 0, "red", "blue"),
            "d": random.choice(["u", "v", "w"], n),
            "y": np.where(x > 0.5, "yes", "no"),
        }
    )


def apart(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The same columns, each shuffled by itself."""
    random = np.random.default_rng(seed)
    return pd.DataFrame({name: random.permutation(table[name].to_numpy()) for name in table})


@pytest.fixture(scope="module")
def split() -> Split:
    train = linked(600, 0)
    schema = infer_schema(train)
    return Split("linked", schema, *(coerce(t, schema, "t") for t in (train, linked(200, 1), linked(400, 2))))


def test_shapes_by_hand() -> None:
    """Cumulative distributions 1/2 apart at most; frequencies 3/4, 1/4 against 1/4, 3/4; an empty cell is a value.

    SDMetrics' total variation adds a millionth of a row to a value that real rows lack.
    """
    assert column_shape(pd.Series([0.0, 1, 2, 3]), pd.Series([2.0, 3, 4, 5]), NUMBER) == pytest.approx(0.5)
    assert column_shape(pd.Series([0, 0, 0, 1]), pd.Series([0, 1, 1, 1]), COLOUR) == pytest.approx(0.5)
    assert column_shape(pd.Series([0.0, 1, 2, 3]), pd.Series([0.0, 1, np.nan, np.nan]), NUMBER) == pytest.approx(0.5)
    assert column_shape(pd.Series([0, 0, 1, 1]), pd.Series([0, 1, -1, -1]), COLOUR) == pytest.approx(0.5, abs=1e-6)
    assert column_shape(pd.Series([np.nan] * 4), pd.Series([np.nan] * 4), NUMBER) == 1.0


def test_pair_trends_by_hand() -> None:
    """Two numbers: r of 1 against -1 is 0, of 1 against a constant (no correlation) .5; not defined in real: NaN.

    A number and a category: of the cells (bin, colour) half a row's mass moves: 1 - (1/4 + 1/4) / 2.
    """
    real = pd.DataFrame({"x": [0.0, 1, 2, 9], "z": [0.0, 1, 2, 9], "c": [0, 0, 0, 1]})
    numbers, mixed = [NUMBER, OTHER], [NUMBER, COLOUR]
    assert list(pair_trends(real, real.assign(z=-real["z"]), numbers)) == [pytest.approx(0.0)]
    assert list(pair_trends(real, real.assign(z=5.0), numbers)) == [pytest.approx(0.5)]
    assert list(pair_trends(real, real.assign(z=np.nan), numbers)) == [pytest.approx(0.5)]
    assert math.isnan(next(pair_trends(real.assign(z=5.0), real, numbers)))
    assert list(pair_trends(real, real.assign(c=[0, 0, 1, 1]), mixed)) == [pytest.approx(0.75)]


def test_bins_are_those_of_real_rows() -> None:
    """A column in another unit is seen: all but the zero leaves its bin (SDMetrics' report calls this 1)."""
    real = pd.DataFrame({"x": np.arange(10.0), "c": [0] * 10})
    assert list(pair_trends(real, real.assign(x=real["x"] * 100), [NUMBER, COLOUR])) == [pytest.approx(0.2)]


@pytest.mark.filterwarnings("ignore:.*quality report is deprecated:FutureWarning")
def test_the_report_of_sdmetrics(split: Split) -> None:
    """Library: without empty cells, shapes are those of `QualityReport`, and so are pairs that need no bins.

    Its thresholds, below which it leaves pairs out, are taken away.
    """
    from sdmetrics.reports.single_table import QualityReport

    rows = apart(linked(600, 5), 6)
    kinds = {c.name: {"sdtype": "numerical" if c.is_numeric else "categorical"} for c in split.schema.columns}
    report = QualityReport()
    report.real_correlation_threshold = report.real_association_threshold = 0
    report.generate(split.test, rows, {"columns": kinds}, verbose=False)
    scores = Fidelity()(split, rows, seed=0)
    assert scores["shapes"] == pytest.approx(report.get_properties()["Score"][0], abs=1e-12)
    theirs = report.get_details("Column Pair Trends")["Score"].tolist()
    columns = list(split.schema.columns)
    codes = {c.name: pd.Categorical(rows[c.name]).codes for c in columns if not c.is_numeric}
    real = {c.name: pd.Categorical(split.test[c.name]).codes for c in columns if not c.is_numeric}
    ours = list(pair_trends(split.test.assign(**real), rows.assign(**codes), columns))
    alike = [a.is_numeric == b.is_numeric for a, b in itertools.combinations(columns, 2)]
    assert sum(alike) == 4
    np.testing.assert_allclose(np.array(ours)[alike], np.array(theirs)[alike], atol=1e-12)
    assert scores["pair_trends"] == pytest.approx(np.mean(ours), abs=1e-12)


def test_bins_of_equal_mass_by_hand() -> None:
    """1 to 8 in four bins of two; beyond them the outer bins; an empty cell is -1; a value of two bins joins them."""
    train = pd.DataFrame({"x": [1.0, 2, 3, 4, 5, 6, 7, 8], "z": [0.0] * 6 + [1, 2], "c": [0] * 8})
    edges = quantile_edges(train, [NUMBER, OTHER, COLOUR], 4)
    assert {name: list(of) for name, of in edges.items()} == {"x": [2, 4, 6], "z": [0]}
    rows = pd.DataFrame({"x": [0.0, 2, 9, np.nan], "z": [-1.0, 0, 5, np.nan], "c": [0, 1, -1, 0]})
    assert bin_codes(rows, edges).T.tolist() == [[0, 1, 3, -1], [0, 1, 1, -1], [0, 1, -1, 0]]


def test_mutual_information_by_loop() -> None:
    """The definition, from entropies, over their mean; equal columns 1; a constant one 0, even beside its like."""
    codes = np.random.default_rng(0).integers(0, 3, (50, 2))
    codes = np.column_stack([codes, codes[:, 0] % 2, codes[:, 0], np.zeros((50, 2), dtype=int)])

    def entropy(*columns: np.ndarray) -> float:
        counts = pd.DataFrame(np.array(columns).T).value_counts().to_numpy() / 50
        return float(-(counts * np.log(counts)).sum())

    expected = []
    for a, b in itertools.combinations(codes.T, 2):
        both = entropy(a) + entropy(b)
        expected.append(0.0 if min(entropy(a), entropy(b)) == 0 else 2 * (both - entropy(a, b)) / both)
    np.testing.assert_allclose(mutual_information(codes), expected, atol=1e-12)
    assert expected[2] == pytest.approx(1.0)


def test_each_column_has_its_shape(split: Split) -> None:
    """By hand: `column_shape` of each column that is no text, train's beside it; their mean is `shapes`."""
    rows = linked(600, 5)
    scores = Fidelity()(split, rows, seed=0)
    for key, table in (("shape", rows), ("shape_real", split.train)):
        shapes = {name.partition(":")[2]: value for name, value in scores.items() if name.startswith(f"{key}:")}
        assert list(shapes) == ["x", "z", "c", "d", "y"]
        assert shapes["x"] == column_shape(split.test["x"], table["x"], NUMBER)
        assert scores[key.replace("shape", "shapes")] == pytest.approx(np.mean(list(shapes.values())), abs=1e-12)


def test_a_copy_of_train_is_the_reference(split: Split) -> None:
    """Bit for bit: its rows are the reference's."""
    scores = Fidelity()(split, split.train, seed=0)
    for key in ("shapes", "pair_trends", "mi_error"):
        assert scores[key] == scores[f"{key}_real"]


def test_a_copy_of_test_is_perfect(split: Split) -> None:
    """Known answer: nothing differs."""
    scores = Fidelity()(split, split.test, seed=0)
    assert [scores[key] for key in ("shapes", "pair_trends", "mi_error")] == pytest.approx([1.0, 1.0, 0.0], abs=1e-12)


def test_columns_apart_are_seen_in_pairs_alone(split: Split) -> None:
    """Known answer: shuffled columns keep their shapes to the last bit, and lose their links; fresh rows lose nothing."""
    real, fresh = Fidelity()(split, split.train, seed=0), Fidelity()(split, linked(600, 9), seed=0)
    shuffled = Fidelity()(split, apart(split.train, 3), seed=0)
    assert shuffled["shapes"] == real["shapes"]
    assert shuffled["pair_trends"] < real["pair_trends"] - 0.1
    assert shuffled["mi_error"] > 5 * real["mi_error"]
    assert fresh["mi_error"] < 2 * real["mi_error"]
    assert abs(fresh["pair_trends"] - real["pair_trends"]) < 0.03


def test_noise_is_seen_by_degrees(split: Split) -> None:
    """Known order: the more cells of a copy are drawn anew, the farther off."""
    noisy, random = [], np.random.default_rng(0)
    for share in (0.0, 0.3, 1.0):
        swap = random.random(split.train.shape) < share
        noisy.append(Fidelity()(split, split.train.mask(swap, apart(split.train, 1)), seed=0)["mi_error"])
    assert noisy[0] < noisy[1] < noisy[2]


def test_too_few_rows_for_mutual_information(split: Split) -> None:
    """Fewer than 20 rows leave no two bins of 5 rows a cell: NaN, while the other scores stand."""
    scores = Fidelity()(split, split.val.iloc[:19], seed=0)
    assert math.isnan(scores["mi_error"])
    assert math.isnan(scores["mi_error_real"])
    assert 0 < scores["shapes"] < 1
    assert not math.isnan(Fidelity()(split, split.val.iloc[:20], seed=0)["mi_error"])
