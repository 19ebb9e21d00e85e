"""Tests over seeds and data sets. Oracles: hand computation, published examples, scipy, and repetition of chance."""

import math
import warnings

import numpy as np
import pytest
from scipy.stats import f, friedmanchisquare

from harmonic.report.significance import Ranking, marks, paired_interval, paired_p, rank


def seeds(*values):
    return dict(enumerate(values))


def test_paired_t_by_hand():
    """Oracle: by hand: differences 1, 2, 3 have the mean 2 and the deviation 1, t = 2√3; with two degrees of freedom the
    distribution function is closed: p = 1 - t/√(t² + 2) = 1 - √(12/14)."""
    assert paired_p([1, 2, 3]) == pytest.approx(1 - math.sqrt(12 / 14), abs=1e-12)
    assert paired_p([1, 2, 3]) == paired_p([-1, -2, -3])


def test_interval_by_hand():
    """Oracle: by hand: differences 1, 2, 3 have the mean 2 and the error 1/√3; t with two degrees is 4.3027 at .975."""
    assert paired_interval([1, 2, 3]) == pytest.approx((2 - 4.3027 / math.sqrt(3), 2 + 4.3027 / math.sqrt(3)), abs=1e-4)
    with warnings.catch_warnings(action="error"):
        assert paired_interval([0.1, 0.1, 0.1]) == (pytest.approx(0.1), pytest.approx(0.1))


def test_differences_without_spread():
    """Oracle: by hand: what every seed says alike is certain, and no difference is none."""
    assert paired_p([0.1, 0.1, 0.1]) == 0
    assert paired_p([0.1 + 1e-17, 0.1, 0.1]) == 0
    assert paired_p([0, 0, 0]) == 1


def test_a_best_and_a_second_by_hand():
    """Oracle: by hand: three seeds, differences of .1 and more that vary by .001: t in the hundreds for every pair."""
    losses = {
        "a": seeds(0.1, 0.101, 0.099),
        "b": seeds(0.2, 0.202, 0.2),
        "c": seeds(0.4, 0.401, 0.402),
        "d": seeds(0.5, 0.5, 0.501),
    }
    assert marks(losses) == {"a": "best", "b": "second", "c": "", "d": ""}


def test_a_best_without_a_second():
    """Oracle: by hand: b and c cross from seed to seed."""
    losses = {"a": seeds(0.1, 0.101, 0.099), "b": seeds(0.2, 0.25, 0.3), "c": seeds(0.3, 0.25, 0.21)}
    assert marks(losses)["b"] == marks(losses)["c"] == ""
    losses["b"] = losses["c"] = seeds(0.3, 0.301, 0.299)
    assert marks(losses) == {"a": "best", "b": "", "c": ""}


def test_no_second_without_a_best():
    """Oracle: by hand: two leaders that are not told apart leave a third, clearly better than the rest, unmarked."""
    losses = {
        "a": seeds(0.1, 0.12, 0.11),
        "b": seeds(0.11, 0.1, 0.13),
        "c": seeds(0.3, 0.301, 0.3),
        "d": seeds(0.9, 0.9, 0.91),
    }
    assert set(marks(losses).values()) == {""}


def test_holm_over_all_rivals():
    """Oracle: by hand: each of four rivals is at p = .02, two degrees of freedom: one alone would do, but the least of four
    must be below .0125."""
    t = math.sqrt(2 * 0.98**2 / (1 - 0.98**2))
    worse = [0.1 + spread / t * math.sqrt(3) * 0.1 for spread in (-1, 0, 1)]
    assert paired_p(worse) == pytest.approx(0.02, abs=1e-9)
    best = seeds(0.0, 0.0, 0.0)
    assert marks({"a": best, "b": seeds(*worse)})["a"] == "best"
    assert marks({"a": best, **{name: seeds(*worse) for name in "bcde"}})["a"] == ""


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_seeds_have_no_mark(count):
    """Oracle: the rule."""
    assert set(marks({"a": seeds(*[0.1] * count), "b": seeds(*[0.9] * count)}).values()) == {""}


def test_one_method_has_no_rival():
    """Oracle: the rule: best of one is no best; a method without a score is nobody's rival."""
    assert marks({"a": seeds(0.1, 0.1, 0.1)}) == {"a": ""}
    assert marks({"a": seeds(0.1, 0.1, 0.1), "b": {}}) == {"a": "", "b": ""}
    assert marks({}) == {}


def test_seeds_pair_what_they_share():
    """Oracle: by hand: values that go up and down together with the seed differ by a steady .01; unpaired they would not."""
    a = seeds(0.1, 0.5, 0.9)
    b = seeds(0.11, 0.5101, 0.9101)
    assert marks({"a": a, "b": b})["a"] == "best"
    shuffled = {0: b[1], 1: b[2], 2: b[0]}
    assert marks({"a": a, "b": shuffled})["a"] == ""


def test_a_rival_with_too_few_seeds():
    """Oracle: the rule: passed over where all it has is worse than all of the candidate's, else it keeps the mark away."""
    losses = {"a": seeds(0.1, 0.11, 0.12), "b": seeds(0.5, 0.51, 0.52)}
    assert marks({**losses, "few": {0: 0.3}})["a"] == "best"
    assert marks({**losses, "few": {0: 0.12}})["a"] == ""
    assert marks({**losses, "few": {0: 0.01}}) == {"a": "", "b": "", "few": ""}
    assert marks({**losses, "others": {7: 0.3, 8: 0.3, 9: 0.3}})["a"] == "best"


def test_equal_methods_are_rarely_marked():
    """Oracle: repetition of chance: of equal methods one is marked in at most .05 of 2000 draws, give or take .015."""
    random = np.random.default_rng(0)
    for count in (2, 3, 8):
        draws = random.normal(size=(2000, count, 3))
        share = np.mean(["best" in marks({i: seeds(*row) for i, row in enumerate(draw)}).values() for draw in draws])
        assert share < 0.05 + 0.015
        assert share > 0 or count == 8


def test_friedman_and_nemenyi_of_demsar():
    """Oracle: Demšar 2006, §3.2.2: four variants of C4.5 on 14 sets have mean ranks of 3.143, 2.000, 2.893 and 1.964 and a
    critical difference of 1.25; F is 3.69 there, where ties are not allowed for, and so greater here."""
    table6 = [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
    names = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")
    found = rank({name: [-row[place] for row in table6] for place, name in enumerate(names)})
    assert dict(zip(found.methods, found.mean_ranks, strict=True)) == pytest.approx(
        {"C4.5": 3.143, "C4.5+m": 2.0, "C4.5+cf": 2.893, "C4.5+m+cf": 1.964}, abs=5e-4
    )
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)
    assert found.p_value < f.sf(3.69, 3, 39)
    assert found.datasets == 14


def test_friedman_is_scipys():
    """Library: `scipy.stats.friedmanchisquare`, ties and all, put into Iman and Davenport's form by hand."""
    values = np.random.default_rng(1).normal(size=(5, 7)).round(1)
    chi2 = friedmanchisquare(*values).statistic
    expected = f.sf(6 * chi2 / (7 * 4 - chi2), 4, 24)
    assert rank({str(i): row for i, row in enumerate(values)}).p_value == pytest.approx(expected, abs=1e-12)


def test_one_order_everywhere():
    """Oracle: by hand: the same order on three sets is had by chance once in (3!)²; the same value on each tells nothing."""
    found = rank({"a": [1, 1, 1], "b": [2, 2, 2], "c": [3, 3, 3]})
    assert (found.methods, found.mean_ranks, found.p_value) == (
        ("a", "b", "c"),
        (1, 2, 3),
        pytest.approx(1 / 36),
    )
    assert rank({"a": [1, 1], "b": [1, 1]}) == Ranking(
        ("a", "b"), (1.5, 1.5), 2, 1.0, pytest.approx(1.96 / math.sqrt(2), abs=1e-2)
    )


def test_too_little_to_rank():
    """Oracle: the rule: two methods, two data sets."""
    for losses in ({"a": [1, 2]}, {"a": [1], "b": [2]}):
        with pytest.raises(ValueError, match="two methods"):
            rank(losses)
