"""Methods over data sets, and utility against privacy. Oracle: hand computation."""

import pytest

from harmonic.report.standings import CRITERIA, Criterion, standing
from harmonic.report.tradeoff import Spread, tradeoff
from tests.report.records import record

UTILITY, _, PRIVACY = CRITERIA


def grid(values, key="mle_f1_macro"):
    """(method, data set) to a value, as records."""
    return [record(method, dataset=dataset, **{key: value}) for (method, dataset), value in values.items()]


def test_ranks_by_hand():
    """Oracle: by hand: a is first, first, second; b second, second, first; c last everywhere."""
    scores = {"a": (0.9, 0.9, 0.7), "b": (0.8, 0.8, 0.8), "c": (0.1, 0.2, 0.3)}
    found = standing(
        grid({(name, dataset): value for name, row in scores.items() for dataset, value in zip("xyz", row, strict=True)}),
        UTILITY,
    )
    assert found.datasets == ("x", "y", "z")
    assert found.ranking.methods == ("a", "b", "c")
    assert found.ranking.mean_ranks == pytest.approx((4 / 3, 5 / 3, 3))
    assert (found.datasets_left_out, found.methods_left_out) == ((), ())


def test_many_data_sets_are_no_obstacle():
    """Oracle: by hand, of 40 data sets, each of which but two lacks one of three methods: all that have the same two."""
    sets = {f"d{number:02}": "abc".replace("abc"[number % 3], "") if number > 1 else "abc" for number in range(40)}
    found = standing(grid({(name, dataset): ord(name) / 200 for dataset, names in sets.items() for name in names}), UTILITY)
    assert len(found.datasets) * len(found.ranking.methods) == 2 * (2 + 13)
    names = [f"m{number:02}" for number in range(24)]  # each data set lacks another: of m of them 24 - m methods are shared
    found = standing(grid({(name, own): 0.5 for own in names for name in names if name != own}), UTILITY)
    assert len(found.datasets) * len(found.ranking.methods) == 12 * 12
    few = dict(list(sets.items())[:4])
    found = standing(grid({(name, dataset): ord(name) / 200 for dataset, names in few.items() for name in names}), UTILITY)
    assert (found.datasets, found.ranking.methods) == (("d00", "d01", "d02"), ("b", "a"))


def test_folds_are_no_data_sets():
    """Oracle: the rule: they share their rows, so that five of them are not five tables."""
    records = grid({(name, dataset): ord(name) / 200 for name in "ab" for dataset in "xy"})
    folds = grid({(name, "x"): ord(name) / 200 for name in "ab"})
    for number, some in enumerate(folds):
        some.config["dataset"] = {"fold": number}
    assert standing([*records, *folds], UTILITY).datasets == ("x", "y")
    assert standing(folds, UTILITY) is None


def test_other_numbers_of_rows_are_not_ranked():
    """Oracle: the rule."""
    records = grid({(name, dataset): ord(name) / 200 for name in "abc" for dataset in "xy"})
    few = [record("d", dataset=dataset, n=50, mle_f1_macro=0.9) for dataset in "xy"]
    assert standing([*records, *few], UTILITY).ranking.methods == ("c", "b", "a")


def test_privacy_is_nearness_to_its_ideal():
    """Oracle: by hand: .45 is nearer to .5 than .6 is."""
    values = {(name, dataset): value for name, value in (("a", 0.6), ("b", 0.45)) for dataset in "xy"}
    assert standing(grid(values, "mia_auc"), PRIVACY).ranking.methods == ("b", "a")


def test_a_hole_leaves_out_the_method_or_the_data_set():
    """Oracle: by hand: of a, b and c on x and y (6 results) or a and b on x, y and z (6), the more data sets; with a fourth
    method on x and y alone, 8 results on two."""
    values = {(name, dataset): 0.5 for name in "ab" for dataset in "xyz"} | {("c", dataset): 0.4 for dataset in "xy"}
    found = standing(grid(values), UTILITY)
    assert (found.datasets, found.methods_left_out) == (("x", "y", "z"), ("c",))
    found = standing(grid(values | {("d", dataset): 0.3 for dataset in "xy"}), UTILITY)
    assert (found.datasets, found.datasets_left_out, found.methods_left_out) == (("x", "y"), ("z",), ())


def test_references_failures_and_namesakes_are_not_ranked():
    """Oracle: the rules: nobody competes with copy; a failed seed is not averaged around; a name that two have is none."""
    values = {(name, dataset): 0.5 for name in ("a", "b", "copy", "c") for dataset in "xy"}
    records = [*grid(values), record("c", 1, dataset="x", error="no"), record("d", dataset="x", mle_f1_macro=0.5)]
    records += [record("d", dataset="y", target=target, mle_f1_macro=0.5) for target in ("x.X", "x.Y")]
    found = standing(records, UTILITY)
    assert sorted(found.ranking.methods) == ["a", "b"]
    assert found.methods_left_out == ("c", "d")


def test_nothing_to_rank():
    """Oracle: the rule: two data sets, two methods."""
    assert standing([], UTILITY) is None
    assert standing(grid({("a", "x"): 0.5, ("b", "x"): 0.4}), UTILITY) is None
    assert standing(grid({("a", "x"): 0.5, ("a", "y"): 0.4}), UTILITY) is None


def test_the_first_key_that_is_there():
    """Oracle: by hand: F1 where there are classes, R² where there are numbers."""
    records = grid({("a", "x"): 0.9, ("b", "x"): 0.8}) + grid({("a", "y"): 0.1, ("b", "y"): 0.2}, "mle_r2")
    assert standing(records, UTILITY).ranking.mean_ranks == (1.5, 1.5)
    assert standing(records, Criterion("", ("mle_r2",))) is None


def scored(method, utility, privacy, **values):
    return record(method, mle_f1_macro=utility, mia_auc=privacy, **values)


def test_the_front_by_hand():
    """Oracle: by hand: b beats c at both, and d at one (.4 is as far from .5 as .6 is); copy is no rival."""
    records = [
        scored("a", 0.9, 0.8),
        scored("b", 0.8, 0.6),
        scored("c", 0.7, 0.7),
        scored("d", 0.7, 0.4),
        scored("e", 0.5, 0.55),
    ]
    found = tradeoff([*records, scored("copy", 0.95, 0.5)])
    assert [point.name for point in found.front] == ["e", "b", "a"]
    assert [point.kind for point in found.points if point.name == "copy"] == ["reference"]


def test_two_alike_are_both_on_the_front():
    """Oracle: by hand: neither beats the other."""
    assert len(tradeoff([scored("a", 0.5, 0.6), scored("b", 0.5, 0.6)]).front) == 2


def test_bars_by_hand():
    """Oracle: by hand: several seeds, ± their deviation (.1 of .6 and .8 is .1414); one seed, the score's own interval."""
    records = [scored("a", 0.5, value, seed=seed, mia_auc_low=0.0) for seed, value in enumerate((0.6, 0.8))]
    found = tradeoff([*records, scored("b", 0.5, 0.6, mia_auc_low=0.55, mia_auc_high=0.7)])
    several, single = found.points
    assert (several.y.mean, several.y.low, several.y.high) == pytest.approx((0.7, 0.7 - 0.1414, 0.7 + 0.1414), abs=1e-4)
    assert single.y == Spread(0.6, 0.55, 0.7)
    assert single.x == Spread(0.5, 0.5, 0.5)


def test_distance_where_there_are_no_attacks():
    """Oracle: the rule: attacks where two methods have them, else the share of near rows; who lacks the score is named."""
    records = [record(name, mle_f1_macro=0.5, dcr_share=0.6) for name in "ab"]
    assert (tradeoff(records).y, tradeoff(records).left_out) == ("dcr_share", ())
    found = tradeoff([*records, scored("c", 0.5, 0.6), scored("d", 0.5, 0.7)])
    assert (found.y, found.left_out) == ("mia_auc", ("a", "b"))
    assert tradeoff(records[:1]) is None


def test_regression_is_by_r2():
    """Oracle: by hand."""
    assert tradeoff([record(name, mle_r2=0.5, mia_auc=0.6) for name in "ab"]).x == "mle_r2"
