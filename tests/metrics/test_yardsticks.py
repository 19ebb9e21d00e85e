"""Yardsticks. Oracles: entropies and counts computed by hand."""

import numpy as np
import pandas as pd
import pytest

from harmonic.metrics.yardsticks import _histogram, yardsticks
from harmonic.table import Split
from harmonic.table.infer import infer_schema


def split_of(frame, **corrections):
    schema = infer_schema(frame, columns=corrections)
    n = len(frame)
    parts = (frame[: n // 2], frame[n // 2 : 3 * n // 4], frame[3 * n // 4 :])
    return Split("toy", schema, *(part.reset_index(drop=True) for part in parts))


def scored(split, examples_val, examples_test):
    return yardsticks(split, examples_val, examples_test, np.arange(len(split.val)), np.arange(len(split.test)))


def test_a_marginal_costs_its_entropy():
    """Oracle: three quarters and one quarter: .811 bits; a fair coin: 1 bit."""
    n = 4000
    frame = pd.DataFrame({"a": (["x"] * 3 + ["y"]) * (n // 4), "b": ["u", "v"] * (n // 2)})
    split = split_of(frame)
    nothing = np.zeros((len(split.val), 2), dtype=int)
    bits = scored(split, nothing, np.zeros((len(split.test), 2), dtype=int))
    assert bits.marginal.shape == (n // 4, 2)
    np.testing.assert_allclose(bits.marginal.mean(axis=0), [0.8113, 1.0], atol=0.01)


def test_a_copy_that_is_always_right_costs_nothing():
    """Oracle: examples that hold the very value; of other values, all that the guess does not know."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.integers(0, 1000, 400), "b": rng.choice(list("uvwxyz"), 400)})
    frame[200:300] = frame[:100].to_numpy()
    frame[300:] = frame[:100].to_numpy()
    split = split_of(frame.astype({"a": int}))
    right = np.repeat(np.arange(100)[:, None], 3, axis=1)
    bits = scored(split, right, right)
    assert bits.copy.mean() < 0.01
    assert bits.copy_or_marginal.mean() < 0.02
    assert bits.marginal.mean(axis=0)[0] > 6


def test_a_copy_that_is_never_right_costs_the_uniform():
    """Oracle: log2 of the number of values that the column can hold, 0 to 1023 and one for none."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.permutation(1024), "b": rng.choice(["u", "v"], 1024)})
    frame.loc[0, "a"], frame.loc[frame["a"].eq(0).idxmax(), "a"] = 0, frame.loc[0, "a"]
    frame.loc[1, "a"], frame.loc[frame["a"].eq(1023).idxmax(), "a"] = 1023, frame.loc[1, "a"]
    split = split_of(frame)
    wrong = np.zeros((256, 1), dtype=int)
    assert scored(split, wrong, wrong).copy[:, 0].mean() == pytest.approx(10, abs=0.05)


def test_the_histogram_is_a_distribution():
    """Oracle: the axioms: summed over all values the column can hold it gives 1, ties and gaps included."""
    rng = np.random.default_rng(0)
    for known in (
        rng.integers(0, 50, 500).astype(float),
        np.round(rng.normal(0, 1, 500), 2),
        np.array([3.0] * 90 + [7.0] * 10),
    ):
        step = 0.01 if (known % 1).any() else 1.0
        grid = np.arange(round(known.min() / step), round(known.max() / step) + 1) * step
        total = _histogram(known, grid, step).sum()
        assert total == pytest.approx(1, abs=0.02)
    assert _histogram(np.array([1.0, 2.0]), np.array([-5.0, 99.0, np.nan]), 1.0).sum() == 0


def test_dates_and_holes(mixed_frame):
    """Oracle: finite, positive bits for a table of every kind, empty cells included."""
    split = split_of(pd.concat([mixed_frame] * 2, ignore_index=True), note="text")
    examples = [np.zeros((len(table), 3), dtype=int) for table in (split.val, split.test)]
    bits = scored(split, *examples)
    for guess in (bits.marginal, bits.copy, bits.copy_or_marginal):
        assert np.isfinite(guess).all()
        assert (guess >= 0).all()
