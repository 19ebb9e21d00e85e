"""Encoders. Oracles: hand computation, and that what was fitted on train does not depend on the table encoded."""

import numpy as np
import pandas as pd
import pytest

from harmonic.table import coerce
from harmonic.table.encoding import EMPTY, Encoder
from harmonic.table.infer import infer_schema
from harmonic.table.schema import Schema

TRAIN = pd.DataFrame(
    {
        "size": [1, 3, 5, 3],
        "weight": [0.5, None, 2.5, 1.5],
        "colour": ["red", "blue", None, "red"],
        "code": [10, 20, 20, 30],
        "member": [True, False, True, True],
        "since": ["2020-01-01", "2020-01-03", None, "2020-01-02"],
        "note": ["a", "b", "c", "d"],
        "y": ["no", "yes", "no", "yes"],
    }
)


@pytest.fixture
def schema() -> Schema:
    return infer_schema(TRAIN, columns={"code": "category", "note": "text", "since": "datetime"})


@pytest.fixture
def train(schema: Schema) -> pd.DataFrame:
    return coerce(TRAIN, schema, "train.csv")


def test_numbers_span_one_over_train(schema: Schema, train: pd.DataFrame) -> None:
    """By hand: size 1..5, weight .5..2.5, since three days."""
    encoded = Encoder.fit(train, schema).encode(train)
    assert encoded.numbers.tolist()[0] == [0.0, 0.0, 0.0]
    np.testing.assert_array_equal(encoded.numbers[:, 0], [0.0, 0.5, 1.0, 0.5])
    np.testing.assert_array_equal(encoded.numbers[:, 1], [0.0, np.nan, 1.0, 0.5])
    np.testing.assert_array_equal(encoded.numbers[:, 2], [0.0, 1.0, np.nan, 0.5])


def test_codes_are_sorted_categories_and_empty(schema: Schema, train: pd.DataFrame) -> None:
    """By hand: blue 0, red 1; 10, 20, 30 are 0, 1, 2; False 0; no 0; text columns equal where the text is."""
    codes = Encoder.fit(train, schema).encode(train).codes
    assert codes[:, 0].tolist() == [1, 0, EMPTY, 1]
    assert codes[:, 1].tolist() == [0, 1, 1, 2]
    assert codes[:, 2].tolist() == [1, 0, 1, 1]
    assert len(set(codes[:, 3])) == 4
    assert codes[:, 4].tolist() == [0, 1, 0, 1]


def test_a_row_is_encoded_the_same_in_any_table(schema: Schema, train: pd.DataFrame) -> None:
    """Invariant that per-frame encoders break: a table that lacks categories keeps the codes and scales of train."""
    encoder = Encoder.fit(train, schema)
    whole, part = encoder.encode(train), encoder.encode(train.iloc[[3]].reset_index(drop=True))
    np.testing.assert_array_equal(part.codes[0], whole.codes[3])
    np.testing.assert_array_equal(part.numbers[0], whole.numbers[3])


def test_rows_beyond_train_leave_the_unit_range(schema: Schema, train: pd.DataFrame) -> None:
    """By hand: size 9 is 2 in units of train's range."""
    rows = train.assign(size=9)
    assert Encoder.fit(train, schema).encode(rows).numbers[0, 0] == 2.0


def test_as_published_takes_stored_numbers_for_numbers(schema: Schema, train: pd.DataFrame) -> None:
    """HARMONIC §3: a category code in an integer column is divided by its range; a date in text is a category."""
    encoder = Encoder.fit(train.drop(columns="since").assign(since=TRAIN["since"]), schema, as_published=True)
    assert encoder.numeric == ("size", "weight", "code")
    np.testing.assert_array_equal(encoder.encode(train).numbers[:, 2], [0.0, 0.5, 0.5, 1.0])


def test_features_by_hand(schema: Schema, train: pd.DataFrame) -> None:
    """size (mean 3, sd √2), weight with a hole (mean 1.5, sd √(2/3)), colour, code, member, since; no text, no target."""
    features = Encoder.fit(train, schema).features(train)
    size = (np.array([1, 3, 5, 3]) - 3) / np.sqrt(2)
    weight = np.array([-1, 0, 1, 0]) / np.sqrt(2 / 3)
    colour = [[0, 1], [1, 0], [0, 0], [0, 1]]
    code = [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]]
    member = [[0, 1], [1, 0], [0, 1], [0, 1]]
    since = np.array([-1, 1, 0, 0]) / np.sqrt(2 / 3)
    expected = np.column_stack([size, weight, [0, 1, 0, 0], colour, code, member, since, [0, 0, 1, 0]])
    np.testing.assert_allclose(features, expected, atol=1e-12)


def test_a_constant_column_is_finite() -> None:
    """A range of 0 must not divide: a column whose train rows agree encodes as 0."""
    frame = pd.DataFrame({"x": [1, 2, 3], "y": ["a", "b", "a"]})
    schema = infer_schema(frame)
    encoder = Encoder.fit(frame.assign(x=7), schema)
    assert encoder.encode(frame.assign(x=7)).numbers[:, 0].tolist() == [0.0, 0.0, 0.0]
    assert np.isfinite(encoder.features(frame)).all()


@pytest.mark.filterwarnings("error")
def test_a_column_without_a_value_in_train_is_finite() -> None:
    """By hand: what train does not tell is taken as it is, and an empty cell is the mean."""
    frame = pd.DataFrame({"x": [1.0, np.nan, 3.0], "y": ["a", "b", "a"]})
    encoder = Encoder.fit(frame.assign(x=np.nan), infer_schema(frame))
    assert np.array_equal(encoder.encode(frame).numbers[:, 0], [1.0, np.nan, 3.0], equal_nan=True)
    assert encoder.features(frame).tolist() == [[1.0, 0.0], [0.0, 1.0], [3.0, 0.0]]


def test_target_is_codes_or_numbers(schema: Schema, train: pd.DataFrame) -> None:
    """By hand: "no" 0 and "yes" 1; a regression target is the raw number."""
    assert Encoder.fit(train, schema).target(train).tolist() == [0, 1, 0, 1]
    regression = pd.DataFrame({"x": [1, 2, 3], "y": [0.5, 1.25, 9.0]})
    regression_schema = infer_schema(regression)
    assert regression_schema.task == "regression"
    assert Encoder.fit(regression, regression_schema).target(regression).tolist() == [0.5, 1.25, 9.0]


def test_inputs_stay_as_they_are(schema: Schema, train: pd.DataFrame) -> None:
    """Invariant: encoding changes no table."""
    before = train.copy(deep=True)
    encoder = Encoder.fit(train, schema)
    encoder.encode(train), encoder.features(train), encoder.target(train)
    pd.testing.assert_frame_equal(train, before)
