"""Tables as networks take them. Oracle: the table, there and back."""

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import QuantileTransformer

from baselines.arrays import Arrays
from baselines.modes import REACH, ModalEncoding, Modes, _placed
from harmonic.table.infer import infer_schema
from harmonic.table.schema import attach


def test_arrays_there_and_back(mixed_table, tmp_path):
    """Oracle: the table, within a step of its quantiles; categories, holes and days exactly; also from a folder."""
    arrays = Arrays.fit(mixed_table)
    numbers, codes = arrays.encode(mixed_table)
    assert numbers.dtype == np.float32
    assert len(arrays.sizes) == codes.shape[1]
    assert (codes.max(axis=0) < arrays.sizes).all()
    assert np.abs(numbers.mean(axis=0)).max() < 0.5  # near a normal distribution
    arrays.save(tmp_path)
    for back in (arrays.decode(numbers, codes), Arrays.load(tmp_path).decode(numbers, codes)):
        for column in arrays.schema.columns:
            pd.testing.assert_series_equal(back[column.name].isna(), mixed_table[column.name].isna())
            if not column.is_numeric:
                pd.testing.assert_series_equal(back[column.name], mixed_table[column.name])
            else:
                ours, theirs = column.numbers(back[column.name]), column.numbers(mixed_table[column.name])
                assert np.nanmax(np.abs(ours - theirs)) <= 0.02 * (column.high - column.low)


def test_a_loaded_quantile_transformer_is_the_fitted_one(mixed_table, tmp_path):
    """Oracle: scikit-learn's own object; its state is restored by name, which this holds it to."""
    arrays = Arrays.fit(mixed_table)
    arrays.save(tmp_path)
    loaded = Arrays.load(tmp_path).quantiles
    assert isinstance(loaded, QuantileTransformer)
    numbers = np.random.default_rng(0).standard_normal((50, len(arrays.numeric)))
    np.testing.assert_array_equal(loaded.inverse_transform(numbers), arrays.quantiles.inverse_transform(numbers))


def test_modes_there_and_back(mixed_table, tmp_path):
    """Oracle: the table: numbers as far as a mode reaches, categories and empty cells exactly; also from a folder."""
    encoding = ModalEncoding.fit(mixed_table, seed=0)
    encoded = encoding.encode(mixed_table, np.random.default_rng(0))
    assert encoded.shape == (len(mixed_table), encoding.width)
    for spans in encoding.spans:
        for span in spans:
            part = encoded[:, span.start : span.start + span.size]
            assert (part.sum(axis=1) == 1).all() if span.is_choice else (np.abs(part) <= 1).all()
    encoding.save(tmp_path)
    for back in (encoding.decode(encoded), ModalEncoding.load(tmp_path).decode(encoded)):
        for column in encoding.schema.columns:
            pd.testing.assert_series_equal(back[column.name].isna(), mixed_table[column.name].isna())
            if not column.is_numeric:
                pd.testing.assert_series_equal(back[column.name], mixed_table[column.name])
            else:
                ours, theirs = column.numbers(back[column.name]), column.numbers(mixed_table[column.name])
                assert np.nanmean(np.abs(ours - theirs)) <= 0.05 * (column.high - column.low)


def test_a_mode_is_drawn_by_its_weight():
    """Oracle: by hand: Bayes' rule. At its mean the narrow mode is thrice as dense as the other and four times as rare."""
    frame = pd.DataFrame({"x": [0.0, 1.0] * 50, "y": ["a", "b"] * 50})
    encoding = ModalEncoding.fit(attach(frame, infer_schema(frame, target="y")), seed=0)
    modes = Modes((), means=(0.0, 0.0), deviations=(3.0, 1.0), weights=(0.8, 0.2))
    _, choice = _placed(np.zeros(20_000), modes, encoding.schema["x"], np.random.default_rng(0))
    assert choice.mean() == pytest.approx(3 * 0.2 / (3 * 0.2 + 0.8), abs=0.015)


def test_frequent_values_are_modes_of_their_own():
    """Oracle: a column that is 0 in half of its rows: each 0 comes back as 0, and no other number is one."""
    rng = np.random.default_rng(0)
    gain = np.where(np.arange(200) % 2, 0.0, rng.normal(5000, 300, 200).round())
    frame = pd.DataFrame({"gain": gain.astype(int), "label": np.where(gain > 0, "a", "b")})
    table = attach(frame, infer_schema(frame, target="label"))
    encoding = ModalEncoding.fit(table, seed=0)
    assert encoding.modes[0].special == (0.0,)
    assert abs(encoding.modes[0].means[0] - 5000) < REACH * 300
    back = encoding.decode(encoding.encode(table, rng))
    assert ((back["gain"] == 0) == (frame["gain"] == 0)).all()
