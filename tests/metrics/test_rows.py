"""Rows that need not come from the runner. Oracles: a log line or one sentence for each oddity, and bitwise repetition."""

import logging
import math

import numpy as np
import pandas as pd
import pytest

from harmonic.errors import BadInput
from harmonic.metrics.fidelity import Fidelity
from harmonic.metrics.manifold import AlphaPrecisionBetaRecall
from harmonic.metrics.rows import check_rows, draw_rows, read_numbers
from harmonic.metrics.two_sample import ClassifierTwoSampleTest
from harmonic.metrics.validity import Validity
from harmonic.table import Split, coerce
from harmonic.table.infer import infer_schema
from harmonic.table.schema import Column, Schema

Metric = Fidelity | ClassifierTwoSampleTest | AlphaPrecisionBetaRecall | Validity
METRICS = [Fidelity(), ClassifierTwoSampleTest(folds=2), AlphaPrecisionBetaRecall(), Validity()]
NAMES = {Fidelity: "fidelity", ClassifierTwoSampleTest: "c2st", AlphaPrecisionBetaRecall: "manifold", Validity: "validity"}


def people(n: int, seed: int) -> pd.DataFrame:
    """Every kind and storage of column, most with empty cells, and a column name that is no word."""
    random = np.random.default_rng(seed)
    holes = random.random((3, n)) < 0.15
    days = pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 500, n), unit="D"))
    return pd.DataFrame(
        {
            "age": random.integers(18, 90, n),
            "length (m)/%'s": np.where(holes[0], np.nan, random.normal(1.7, 0.1, n).round(2)),
            "colour": np.where(holes[1], None, random.choice(["red", "it's blue"], n)),
            "member": random.random(n) < 0.5,
            "since": days.dt.strftime("%d.%m.%Y"),
            "moment": days.where(~holes[2]),
            "code": random.choice([1, 2, 3], n),
            "note": [f"note {number}" for number in random.integers(0, 1000, n)],
            "y": random.choice([0, 1], n),
        }
    )


@pytest.fixture(scope="module")
def split() -> Split:
    train = people(120, 0)
    schema = infer_schema(train, columns={"note": "text", "code": "category"})
    return Split("people", schema, *(coerce(t, schema, "t") for t in (train, people(40, 1), people(60, 2))))


@pytest.fixture
def synthetic(split: Split) -> pd.DataFrame:
    return coerce(people(80, 3), split.schema, "synthetic")


def finite(scores: dict[str, float]) -> bool:
    return all(isinstance(value, float) and math.isfinite(value) for value in scores.values())


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.filterwarnings("error")
def test_the_same_seed_gives_the_same_bits(metric: Metric, split: Split, synthetic: pd.DataFrame, capsys) -> None:
    """Twice the same; inputs and global randomness are left as they were; nothing is printed or warned of."""
    before, state = synthetic.copy(deep=True), np.random.get_state()[1].copy()  # noqa: NPY002
    scores = metric(split, synthetic, seed=3)
    assert scores == metric(split, synthetic, seed=3)
    assert finite(scores)
    pd.testing.assert_frame_equal(synthetic, before)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("metric", METRICS)
def test_a_missing_column(metric: Metric, split: Split, synthetic: pd.DataFrame, one_sentence) -> None:
    with pytest.raises(BadInput) as caught:
        metric(split, synthetic.drop(columns="age"), seed=0)
    one_sentence(caught.value, NAMES[type(metric)], "lacks 'age'")


@pytest.mark.parametrize("metric", METRICS)
def test_one_row_and_no_row(metric: Metric, split: Split, synthetic: pd.DataFrame, one_sentence) -> None:
    """No row is a sentence for all; one is a score where a share or a distance can be had of it."""
    with pytest.raises(BadInput) as caught:
        metric(split, synthetic.iloc[:0], seed=0)
    one_sentence(caught.value, NAMES[type(metric)], "has 0")
    if isinstance(metric, Fidelity | Validity):
        scores = metric(split, synthetic.iloc[:1], seed=0)
        assert all(0 <= value <= 1 for key, value in scores.items() if not key.startswith("mi_error"))
        return
    with pytest.raises(BadInput) as caught:
        metric(split, synthetic.iloc[:1], seed=0)
    one_sentence(caught.value, NAMES[type(metric)], "has 1")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.filterwarnings("error")
def test_odd_tables_have_scores(metric: Metric, split: Split, synthetic: pd.DataFrame) -> None:
    """One class; one row repeated; columns emptied, where train has empty cells: numbers, and worse than the rows' own."""
    emptied = synthetic.assign(**{"length (m)/%'s": np.nan, "colour": None, "moment": pd.NaT})
    plain = metric(split, synthetic, seed=0)
    for table in (synthetic.assign(y=1), pd.concat([synthetic.iloc[:1]] * 80), emptied):
        scores = metric(split, table, seed=0)
        assert finite(scores)
        if isinstance(metric, ClassifierTwoSampleTest):
            assert scores["c2st_auc"] > plain["c2st_auc"]
        elif isinstance(metric, Fidelity):
            assert scores["shapes"] < plain["shapes"]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.filterwarnings("error")
def test_the_same_rows_in_another_storage(metric: Metric, split: Split, synthetic: pd.DataFrame) -> None:
    """Numbers as text, pandas' nullable types, other columns and another order: not one bit of a score moves."""
    plain = metric(split, synthetic, seed=0)
    for table in (
        synthetic.assign(age=synthetic["age"].astype(str)),
        synthetic.convert_dtypes(),
        synthetic.assign(more=1)[["more", *reversed(split.schema.names)]],
    ):
        assert metric(split, table, seed=0) == plain


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.filterwarnings("error")
def test_cells_that_are_no_values(metric: Metric, split: Split, synthetic: pd.DataFrame, caplog) -> None:
    """Scored and noted, but by validity, which counts them: seven of 80 x 9 cells."""
    odd = {"age": ["x", np.nan, np.inf], "colour": ["green"], "since": ["now"], "moment": ["soon"], "y": [7]}
    rows = synthetic.astype(object)
    for name, cells in odd.items():
        rows.loc[: len(cells) - 1, name] = cells
    with caplog.at_level(logging.WARNING):
        scores = metric(split, rows, seed=0)
    assert finite(scores)
    if isinstance(metric, Validity):
        assert scores["validity_cells"] == pytest.approx(1 - 7 / 720)
        assert not caplog.records
    else:
        assert [record.args[:3] for record in caplog.records] == [
            (NAMES[type(metric)], len(odd[name]), name) for name in split.schema.names if name in odd
        ]


def made(columns: tuple[Column, ...]) -> tuple[Split, pd.DataFrame]:
    """A split and 50 synthetic rows of some of the columns below, the last of them the target."""
    draw = {
        "x": lambda n, random: random.normal(size=n).round(1),
        "x2": lambda n, random: random.normal(size=n).round(1),
        "y": lambda n, random: random.choice(["a", "b"], n),
        "c": lambda n, random: random.choice(["u", "v"], n),
        "t": lambda n, random: [f"text {number}" for number in range(n)],
        "k": lambda n, random: np.ones(n, dtype=np.int64),
        "e": lambda n, random: np.full(n, np.nan),
    }
    schema = Schema(columns, columns[-1].name, "regression" if columns[-1].is_numeric else "binary")
    sizes = enumerate((90, 40, 60, 50))
    tables = [pd.DataFrame({c.name: draw[c.name](n, np.random.default_rng(i)) for c in columns}) for i, n in sizes]
    return Split("made", schema, *tables[:3]), tables[3]


X, X2 = (Column(name, "decimal", "float64", places=1, low=-9, high=9) for name in ("x", "x2"))
Y, C = Column("y", "category", "str", categories=("a", "b")), Column("c", "category", "str", categories=("u", "v"))
TEXT, CONSTANT = Column("t", "text", "str"), Column("k", "integer", "int64", low=1, high=1)
NEVER_FILLED = Column("e", "integer", "float64", nullable=True)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("columns", "undefined"),
    [
        ((C, Y), []),
        ((X, X2), []),
        ((TEXT, Y), ["pair_trends", "mi_error"]),
        ((X, CONSTANT, Y), []),
        ((X, NEVER_FILLED, TEXT, Y), []),
    ],
    ids=["no number", "no category", "text alone", "constant", "never filled"],
)
@pytest.mark.filterwarnings("ignore:Degrees of freedom:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning")
def test_odd_schemas_have_scores(metric: Metric, columns: tuple[Column, ...], undefined: list[str]) -> None:
    """Every score is a number, but for those of pairs where there is no pair."""
    split, rows = made(columns)
    lacking = {key.removesuffix("_real") for key, value in metric(split, rows, seed=0).items() if not math.isfinite(value)}
    assert lacking == (set(undefined) if isinstance(metric, Fidelity) else set())


def test_odd_cells_are_emptied_and_the_rest_is_kept(split: Split, synthetic: pd.DataFrame) -> None:
    """By hand: what cannot be read as a number, a date or a known category becomes empty."""
    rows = synthetic.astype(object)
    rows.loc[0, ["age", "since", "colour"]] = ["x", "31.02.2020", "green"]
    checked = check_rows(split, rows, "metric")
    assert checked.loc[0, ["age", "since", "colour"]].isna().all()
    pd.testing.assert_frame_equal(checked.iloc[1:], rows.iloc[1:], check_dtype=False)


def test_rows_of_another_storage_are_stored_as_train(split: Split, synthetic: pd.DataFrame) -> None:
    """Oracle: the rows themselves: numbers and codes beside a word, dates as text for moments and the other way round."""
    days = pd.to_datetime(synthetic["since"], format="%d.%m.%Y")
    rows = synthetic.assign(
        age=["about 5", *synthetic["age"].astype(str)[1:]],
        code=synthetic["code"].astype(float),
        since=days,
        moment=synthetic["moment"].dt.tz_localize("Europe/Paris"),
        y=["maybe", *synthetic["y"].astype(str)[1:]],
    )
    checked = check_rows(split, rows, "metric")
    assert checked.loc[0, ["age", "y"]].isna().all()
    for column in split.schema.columns:
        assert column.write(checked[column.name])[1:] == column.write(synthetic[column.name])[1:]
    as_text = synthetic.assign(moment=synthetic["moment"].dt.strftime("%Y-%m-%d"))
    pd.testing.assert_series_equal(check_rows(split, as_text, "metric")["moment"], synthetic["moment"])


def test_reading_numbers_by_hand() -> None:
    """As `Column.numbers` where they are numbers, NaN where not: seconds since 1970 for a date."""
    integer = Column("x", "integer", "int64")
    assert read_numbers(pd.Series([1, "2", 2.5, "x", None, np.inf], dtype=object), integer)[:3].tolist() == [1, 2, 2.5]
    assert np.isnan(read_numbers(pd.Series([1, "2", 2.5, "x", None, np.inf], dtype=object), integer)[3:]).all()
    date = Column("d", "datetime", "str", datetime_format="%Y-%m-%d")
    seconds = read_numbers(pd.Series(["1970-01-02", "now", None, "1970-02-30"], dtype=object), date)
    assert seconds[0] == 86_400
    assert np.isnan(seconds[1:]).all()


def test_drawn_rows(split: Split) -> None:
    """Invariants: each row once, in order, the same ones of every table of a length; all where there are no more."""
    drawn = draw_rows(split.train, 30, 5)
    places = draw_rows(pd.DataFrame({"place": np.arange(120)}), 30, 5)["place"]
    assert len(set(places)) == 30
    assert places.is_monotonic_increasing
    pd.testing.assert_frame_equal(drawn, split.train.iloc[places].reset_index(drop=True))
    assert not draw_rows(split.train, 30, 6).equals(drawn)
    pd.testing.assert_frame_equal(draw_rows(split.train, 500, 5), split.train)
