"""Intervals. Oracles: statsmodels' and scikit-learn's figures, hand computation, and how often intervals hold the truth."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from harmonic.metrics.intervals import (
    auc,
    auc_interval,
    auc_with_variance,
    clopper_pearson,
    hit_rate_interval,
    wilson_interval,
)


def test_wilson_interval_of_ten_in_a_hundred() -> None:
    """Reference: statsmodels' proportion_confint(10, 100, method="wilson") is (.05523, .17437); the ends stay in 0 to 1."""
    assert wilson_interval(0.1, 100) == pytest.approx((0.0552291, 0.1743657), abs=1e-6)
    assert wilson_interval(0.0, 10)[0] == 0.0
    assert wilson_interval(1.0, 10)[1] == pytest.approx(1.0)


def test_clopper_pearson_is_exact() -> None:
    """By hand: 0 of n has 1 - (.025)**(1/n) above; reference: proportion_confint(10, 100, method="beta")."""
    assert clopper_pearson(0, 20) == (0.0, pytest.approx(1 - 0.025 ** (1 / 20)))
    assert clopper_pearson(20, 20) == (pytest.approx(0.025 ** (1 / 20)), 1.0)
    assert clopper_pearson(10, 100) == pytest.approx((0.0490047, 0.1762226), abs=1e-6)


def test_a_hit_rate_knows_that_its_threshold_is_drawn() -> None:
    """Oracles: by hand: the greatest of m negatives is exceeded by a share of 1 % or less of all with 1 - .99^m, so that
    fewer than 437 of them say nothing at 5 % in four parts; and a simulation in which the true rate is known."""
    found = np.ones(1000)
    assert hit_rate_interval(found, np.zeros(435), 0.01)[0] == 0
    assert hit_rate_interval(found, np.zeros(437), 0.01)[0] == pytest.approx(0.0125 ** (1 / 1000))
    assert hit_rate_interval(-found, np.zeros(437), 0.01)[1] == pytest.approx(1 - 0.0125 ** (1 / 1000))
    rng, true, missed = np.random.default_rng(0), norm.sf(norm.isf(0.1) - 0.5), 0
    for _ in range(300):
        low, high = hit_rate_interval(rng.normal(0.5, 1, 400), rng.normal(0, 1, 400), 0.1)
        missed += not low <= true <= high
        assert low < high < low + 0.35
    assert missed <= 0.05 * 300


def test_the_area_is_scikit_learns() -> None:
    """Reference: roc_auc_score, with ties; by hand: .5 for one score everywhere, 1 and 0 for parts told apart."""
    rng = np.random.default_rng(0)
    positive, negative = rng.integers(0, 5, 80), rng.integers(0, 4, 60)
    expected = roc_auc_score(np.arange(140) < 80, np.concatenate([positive, negative]))
    assert auc(positive, negative) == pytest.approx(expected)
    assert auc(np.ones(3), np.ones(5)) == 0.5
    assert (auc(np.ones(3), np.zeros(5)), auc(np.zeros(3), np.ones(5))) == (1.0, 0.0)


def test_a_bootstrap_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Two normal samples a deviation apart have an area of .760: at least 90 of 100 intervals of 95 % hold it."""
    held = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        low, high = auc_interval(rng.normal(1, 1, 100), rng.normal(0, 1, 80), rng)
        held += low < 0.7602 < high
    assert 90 <= held < 100


def test_the_interval_is_that_of_plain_resampling() -> None:
    """Reference: areas of resamples drawn one by one; the same seed gives the same bits, in blocks or not."""
    rng = np.random.default_rng(0)
    positive, negative = rng.normal(0.5, 1, 50), rng.normal(0, 1, 40)
    areas = []
    for _ in range(2000):
        areas.append(auc(rng.choice(positive, 50), rng.choice(negative, 40)))
    found = auc_interval(positive, negative, np.random.default_rng(1))
    assert found == pytest.approx(np.quantile(areas, [0.025, 0.975]), abs=0.015)
    assert found == auc_interval(positive, negative, np.random.default_rng(1))


def test_auc_and_its_variance_by_loop() -> None:
    """The area is scikit-learn's; placements counted one by one, ties halved."""
    random = np.random.default_rng(0)
    positive, negative = random.integers(2, 9, 30).astype(float), random.integers(0, 7, 20).astype(float)
    area, variance = auc_with_variance(positive, negative)
    assert area == pytest.approx(roc_auc_score([1] * 30 + [0] * 20, np.concatenate([positive, negative])))
    above = [[1.0 if p > n else 0.5 if p == n else 0.0 for n in negative] for p in positive]
    rows, columns = np.mean(above, axis=1), np.mean(above, axis=0)
    assert variance == pytest.approx(rows.var(ddof=1) / 30 + columns.var(ddof=1) / 20)


def test_the_variance_is_that_of_repeated_draws() -> None:
    """400 pairs of samples: the mean of the estimates is the variance of the areas, within a fifth."""
    random = np.random.default_rng(0)
    draws = [auc_with_variance(random.normal(0.5, 1, 60), random.normal(0, 1, 60)) for _ in range(400)]
    areas, variances = np.array(draws).T
    assert variances.mean() == pytest.approx(areas.var(), rel=0.2)
