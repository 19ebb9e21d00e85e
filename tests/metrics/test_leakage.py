"""DLT. Oracles: hand computation, and generators whose leakage is known because it was put there."""

import numpy as np
import pandas as pd
import pytest

from harmonic.metrics.leakage import DataLeakageTest, bits_per_cell, leakage
from harmonic.table import Split
from harmonic.table.infer import infer_schema


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.integers(0, 1000, 500), "y": rng.choice(["a", "b"], 500)})
    schema = infer_schema(frame)
    parts = (frame[:300], frame[300:350], frame[350:])
    return Split("toy", schema, *(part.reset_index(drop=True) for part in parts))


class Knows:
    """A generator that finds each cell `better` nats likelier where the row is one it was trained on."""

    def __init__(self, better):
        self.better = better
        self.asked = []

    def log_likelihood(self, rows, *, seed, own=None):
        self.asked.append((rows, own))
        noise = np.random.default_rng(len(rows) + (own is not None)).normal(0, 0.1, (len(rows), 2))
        return -1 - noise + (self.better if own is not None else 0.0)


def test_no_leakage_is_zero(split):
    """Oracle: a generator that knows train no better: the interval holds 0."""
    score = DataLeakageTest()(split, split.train, seed=0, synthesizer=Knows(0.0))
    assert score["dlt_low"] < 0 < score["dlt_high"]
    assert abs(score["dlt"]) < 0.05
    assert score["dlt_bits_holdout"] == pytest.approx(1 / np.log(2), abs=0.05)


def test_leakage_is_negative_and_measured_in_bits(split):
    """Oracle: log 2 nats a cell are one bit."""
    score = DataLeakageTest()(split, split.train, seed=0, synthesizer=Knows(np.log(2)))
    assert score["dlt"] == pytest.approx(-1, abs=0.05)
    assert score["dlt_low"] < -1 + 0.05
    assert score["dlt_high"] < -0.9
    assert score["dlt_effect"] < -3


def test_rows_come_with_their_numbers(split):
    """Oracle: train itself: row numbers name the rows that are scored, and the hold-out has none."""
    generator = Knows(0.0)
    DataLeakageTest(max_rows=40)(split, split.train, seed=3, synthesizer=generator)
    (train, own), (holdout, none) = generator.asked
    assert none is None
    assert len(train) == len(holdout) == 40
    assert len(set(own)) == 40
    pd.testing.assert_frame_equal(train, split.train.iloc[own].reset_index(drop=True))
    merged = holdout.merge(split.test, how="left", indicator=True)
    assert (merged["_merge"] == "both").all()


def test_the_same_score_twice(split):
    """Oracle: repetition; another seed draws other rows."""
    scores = [DataLeakageTest(40)(split, split.train, seed=seed, synthesizer=Knows(0.2)) for seed in (0, 0, 1)]
    assert scores[0] == scores[1] != scores[2]


def test_by_hand():
    """Oracle: means 2 and 3, deviations sqrt(2) each."""
    score = leakage(np.array([1.0, 3.0]), np.array([2.0, 4.0]), np.random.default_rng(0))
    assert score["dlt"] == -1
    assert score["dlt_effect"] == pytest.approx(-1 / np.sqrt(2))
    assert (score["dlt_low"], score["dlt_high"]) == (-3, 1)
    assert bits_per_cell(np.array([-np.log(8)])) == pytest.approx(3)


class Learns(Knows):
    """One that found train's cells `easy` nats likelier before it learnt from it, with the same noise in each row."""

    def __init__(self, better, easy):
        super().__init__(better + easy)
        self.easy = easy

    def start(self, train, seed):
        return Knows(self.easy)


def test_what_was_known_before_learning_is_not_learnt(split):
    """Oracle: nats put there. Rows that differ by themselves are in `dlt`; noise that both have is not in the difference of
    differences, whose interval has no width."""
    for better in (0.0, np.log(2)):
        score = DataLeakageTest()(split, split.train, seed=0, synthesizer=Learns(better, np.log(2)))
        assert score["dlt"] == pytest.approx(-1 - better / np.log(2), abs=0.05)
        learnt = [score[f"dlt_learnt{end}"] for end in ("", "_low", "_high")]
        assert learnt == pytest.approx([-better / np.log(2)] * 3, abs=1e-9)
    plain = DataLeakageTest()(split, split.train, seed=0, synthesizer=Knows(2 * np.log(2)))
    assert plain == {name: value for name, value in score.items() if not name.startswith("dlt_learnt")}


def test_a_method_without_likelihood_has_no_score(split):
    """Oracle: the contract: an empty result, which tables show as a hole."""
    assert DataLeakageTest()(split, split.train, seed=0, synthesizer=object()) == {}
