"""What asks a generator rather than its rows. Oracle: generators that know what they were told, in exact probabilities."""

from functools import cache

import pytest

from harmonic.metrics.attacks.membership import ON_MODEL, ON_TABLE, MembershipInference
from harmonic.metrics.leakage import DataLeakageTest
from harmonic.metrics.leakage_published import PublishedDataLeakageTest
from tests.conformance.controls import NOISE, Memory, make_split


@pytest.fixture(scope="module")
def generator(split, control):
    """Name of a control to a generator that remembers its rows; `independent` remembers none.

    Columns are those of val: train's would make train's values a little likelier, which is leakage, if a small one.
    """

    @cache
    def make(name: str) -> Memory:
        rows = control(name)
        return Memory(rows.iloc[:0] if name == "independent" else rows, split.val, split.schema)

    return make


@pytest.fixture(scope="module")
def attacked(split, control, generator):
    """Scores of membership inference on a control, with its generator."""

    @cache
    def score(name: str) -> dict[str, float]:
        return MembershipInference()(split, control(name), seed=0, synthesizer=generator(name))

    return score


@pytest.mark.parametrize("attack", [attack.__name__ for attack in (*ON_TABLE, *ON_MODEL)])
def test_every_attack_finds_a_copy_and_nothing_else(attack, attacked):
    """Oracle: what was copied: the area is .95 or more on train's copy; on real rows that are no members, and on independent
    columns, its interval holds .5."""
    assert attacked("copy")[f"mia_{attack}_auc"] >= 0.95
    for name in ("holdout", "independent"):
        low, high = (attacked(name)[f"mia_{attack}_auc_{end}"] for end in ("low", "high"))
        assert low <= 0.5 <= high, name


@pytest.mark.parametrize("attack", [attack.__name__ for attack in ON_TABLE])
def test_noise_hides_members(attack, attacked):
    """Oracle: the noise: an attack on the table finds fewer members the more of it there is."""
    areas = [attacked(name)[f"mia_{attack}_auc"] for name in ("copy", *NOISE)]
    assert areas == sorted(areas, reverse=True)


@pytest.mark.parametrize("attack", [attack.__name__ for attack in (*ON_TABLE, *ON_MODEL)])
def test_half_a_copy_leaks_half(attack, attacked):
    """Oracle: the half: the members that were copied are found, about .75 in all."""
    assert 0.65 < attacked("half_copy")[f"mia_{attack}_auc"] < 0.85


def test_the_maximum_is_within_what_noise_makes_of_it(attacked):
    """Oracle: nobody's rows: the interval of the maximum holds .5 although nine attacks were tried."""
    for name in ("holdout", "independent"):
        scores = attacked(name)
        assert scores["mia_attacks"] == 9
        assert scores["mia_auc_low"] <= 0.5 <= scores["mia_auc_high"]
        assert scores["mia_tpr1_low"] <= 0.01 <= scores["mia_tpr1_high"]
        assert scores["mia_tpr10_low"] <= 0.1 <= scores["mia_tpr10_high"]


def test_dlt_falls_with_what_is_remembered(split, generator):
    """Oracle: memory: all of train, half of it, none of it."""
    score = {
        name: DataLeakageTest()(split, split.train, seed=0, synthesizer=generator(name))
        for name in ("copy", "half_copy", "independent")
    }
    for key in ("dlt", "dlt_learnt"):
        assert score["copy"][key] < score["half_copy"][key] - 0.05
        assert score["half_copy"][f"{key}_high"] < 0
    assert score["independent"]["dlt_high"] > 0
    assert score["independent"]["dlt_learnt"] == 0  # it learnt nothing


def test_dlt_of_who_never_saw_train_holds_nothing_as_often_as_it_says():
    """Oracle: validation rows remembered: of twelve splits, ten intervals of 95 % or more hold 0."""
    held = 0
    for number in range(12):
        split = make_split(number=100 + 3 * number)
        score = DataLeakageTest()(split, split.val, seed=0, synthesizer=Memory(split.val, split.val, split.schema))
        held += score["dlt_low"] < 0 < score["dlt_high"]
    assert held >= 10


def test_published_dlt_falls_too(split, generator):
    """Oracle: by hand: 2**.1 for what is remembered, 2**.9 for the rest."""
    metric = PublishedDataLeakageTest()
    copied = metric(split, split.train, seed=0, synthesizer=generator("copy"))
    assert copied["dlt_published_train_test"] == pytest.approx(2**0.1 - 2**0.9)
    assert copied["dlt_published_real_synthetic"] == 0.0
    fresh = metric(split, split.val, seed=0, synthesizer=generator("holdout"))
    assert fresh["dlt_published_train_test"] == 0.0
    assert fresh["dlt_published_real_synthetic"] == pytest.approx(2**0.9 - 2**0.1)
