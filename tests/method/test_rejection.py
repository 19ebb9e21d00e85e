"""Rows that are turned down. Oracles: densities that are known, and what rejection sampling does with them."""

import numpy as np
import pandas as pd
import pytest

from harmonic.method import rejection
from harmonic.method.rejection import Discriminator
from harmonic.table.encoding import Encoder
from harmonic.table.schema import Column, Schema

TOWN = Column("town", "category", "str", categories=("a", "b"))
SIZE = Column("size", "decimal", "float64", places=2, low=-9.0, high=9.0)
SCHEMA = Schema((TOWN, SIZE), "town", "binary")


def drawn(share_of_b, rows, seed, mean=0.0):
    rng = np.random.default_rng(seed)
    towns = np.where(rng.random(rows) < share_of_b, "b", "a")
    return pd.DataFrame({"town": towns, "size": (rng.normal(size=rows) + mean * (towns == "b")).round(2)})


def judge(train, written, keep=0.5, seed=0):
    return Discriminator.fit(train, written, Encoder.fit(train, SCHEMA), keep, seed)


@pytest.mark.parametrize(("keep", "share_of_b"), [(0.5, 0.4), (0.3, 0.5)])
def test_kept_rows_are_shared_out_like_train(keep, share_of_b):
    """Oracle: algebra. Train has as many a as b, the writer four a to a b: r = .625 and 2.5. To keep half, c = 1.667: 3/8
    of the a and every b, so that b is .2 of .5; to keep .3, c = 3.333: 3/16 of the a and 3/4 of the b."""
    found = judge(drawn(0.5, 6000, 1), drawn(0.2, 3000, 2), keep)
    fresh = drawn(0.2, 6000, 3)
    kept = found.keeps(fresh, range(6000))
    assert kept.mean() == pytest.approx(keep, abs=0.03)
    assert (fresh["town"][kept] == "b").mean() == pytest.approx(share_of_b, abs=0.04)
    ratios = found.ratios(fresh)
    assert np.median(ratios[fresh["town"] == "a"]) == pytest.approx(0.625, rel=0.1)
    assert np.median(ratios[fresh["town"] == "b"]) == pytest.approx(2.5, rel=0.15)


def test_a_relation_is_mended_that_no_column_shows():
    """Oracle: the means within b, which the writer puts at 0 and train at 2, a the other way round being as before."""
    found = judge(drawn(0.5, 6000, 1, mean=2.0), drawn(0.5, 3000, 2), keep=0.3)
    fresh = drawn(0.5, 6000, 3)
    kept = fresh[found.keeps(fresh, range(6000))]
    assert found.report["auc"] > 0.7
    assert fresh["size"][fresh["town"] == "b"].mean() == pytest.approx(0, abs=0.1)
    assert kept["size"][kept["town"] == "b"].mean() > 1
    assert kept["size"][kept["town"] == "a"].mean() == pytest.approx(0, abs=0.15)


def test_rows_of_one_source_are_kept_evenly():
    """Oracle: with nothing to tell, every ratio is 1, and the classifier's AUC .5."""
    found = judge(drawn(0.3, 5000, 1), drawn(0.3, 3000, 2))
    assert found.report["auc"] == pytest.approx(0.5, abs=0.03)
    assert found.ratios(drawn(0.3, 1000, 3)) == pytest.approx(np.ones(1000), rel=0.15)
    assert found.limit == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("keep", [0.1, 0.3, 0.5, 0.7])
@pytest.mark.parametrize("ratio", [0.7, 1.0, 1.1, 3.3])
def test_a_classifier_that_tells_nothing_keeps_its_share(keep, ratio):
    """Oracle: algebra. Where every ratio is r, c is r / keep; trees without a split, as on few rows, say just that."""
    assert rejection._limit(np.full(37, ratio), keep) == pytest.approx(ratio / keep)


def test_a_train_row_is_not_known_again():
    """Oracle: ratios of train's rows and of fresh rows of their source, whose ranks are even where nothing was memorised."""
    train = drawn(0.5, 1500, 1, mean=2.0)
    found = judge(train, drawn(0.2, 1500, 2))
    fresh = drawn(0.5, 1500, 4, mean=2.0)
    ours, others = found.ratios(train), found.ratios(fresh)
    ranks = (ours[:, None] > others).mean() + (ours[:, None] == others).mean() / 2
    assert ranks == pytest.approx(0.5, abs=0.025)


def test_a_rows_fate_depends_on_it_and_its_number_alone(monkeypatch):
    """Oracle: one by one and in another order; a second fit, and one whose train is drawn from a larger one."""
    train, written, fresh = drawn(0.5, 1500, 1), drawn(0.2, 1000, 2), drawn(0.2, 50, 3)
    found = judge(train, written)
    kept = found.keeps(fresh, range(100, 150))
    assert 0 < kept.sum() < 50
    backwards = judge(train, written).keeps(fresh[::-1], range(149, 99, -1))
    assert (backwards[::-1] == kept).all()
    assert all(found.keeps(fresh[n : n + 1], [100 + n])[0] == kept[n] for n in range(50))
    assert (found.keeps(fresh, range(50)) != kept).any()
    monkeypatch.setattr(rejection, "ROWS", 1000)
    assert judge(train, written).report["train"] == 1000
