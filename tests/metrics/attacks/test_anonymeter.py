"""Anonymeter's attacks. Oracles: copies, rows of the same source, hand computation, and the package's known traps."""

import random
import sys

import numpy as np
import pandas as pd
import pytest

from harmonic.errors import BadInput
from harmonic.metrics.attacks.anonymeter import Anonymeter
from harmonic.table import coerce
from tests.metrics.splits import split_of

RISKS = ("singling_out", "singling_out_univariate", "linkability", "inference")


@pytest.fixture(autouse=True)
def installed(request):
    if "without_the_package" not in request.node.name:
        pytest.importorskip("anonymeter", reason="metrics=anonymeter is an extra: requirements-anonymeter.txt")


def people(n, seed):
    """Numbers of many values, negative ones among them, categories, empty cells; all hang together."""
    rng = np.random.default_rng(seed)
    age, job = rng.normal(45, 15, n), rng.choice(list("abcd"), n)
    return pd.DataFrame(
        {
            "age": age.round(1),
            "income": np.where(rng.random(n) < 0.05, np.nan, (age * 40 + rng.normal(0, 500, n)).round()),
            "job": np.where(rng.random(n) < 0.05, None, job),
            "debt": -rng.exponential(3000, n).round(),
            "weight": rng.normal(70, 12, n).round(2),
            "y": np.where(age + rng.normal(0, 10, n) > 45, "old", "young"),
        }
    )


@pytest.fixture(scope="module")
def split():
    return split_of(people(300, 0), people(200, 1))


def shuffled(table, seed):
    """Independent columns."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({name: table[name].to_numpy()[rng.permutation(len(table))] for name in table})


def centre(share, n):
    """The middle of Wilson's interval, by its formula."""
    z = 1.959964
    return (share * n + z**2 / 2) / (n + z**2)


def test_a_copy_of_train_is_the_worst_case(split):
    """Oracle: known answer: attacks succeed on train and not on the hold-out; all 200 rows are linked and guessed."""
    scores = Anonymeter(n_attacks=200)(split, split.train, seed=0)
    for risk in RISKS:
        assert scores[f"anonymeter_{risk}_low"] > 0.1
        assert scores[f"anonymeter_{risk}_attack"] > scores[f"anonymeter_{risk}_control"] + 0.1
    for risk in ("linkability", "inference"):
        assert scores[f"anonymeter_{risk}_attack"] == pytest.approx(centre(1.0, 200))
        assert scores[f"anonymeter_{risk}"] > 0.9


@pytest.mark.parametrize("made", ["real rows", "independent columns"])
def test_what_never_saw_train_has_no_risk(split, made):
    """Oracle: known answer: new rows of the same source, whole or shuffled, do as well on the hold-out: intervals hold 0."""
    rows = people(300, 2) if made == "real rows" else shuffled(people(300, 2), 0)
    scores = Anonymeter(n_attacks=200)(split, coerce(rows, split.schema, "rows"), seed=0)
    for risk in RISKS:
        assert scores[f"anonymeter_{risk}_low"] == 0.0
        assert scores[f"anonymeter_{risk}"] < 0.15
        assert abs(scores[f"anonymeter_{risk}_attack"] - scores[f"anonymeter_{risk}_control"]) < 0.15


def test_independent_columns_hand_on_rare_values_alone(split):
    """Oracle: known answer: columns shuffled keep each value that occurs once in train, and no two cells of a row."""
    scores = Anonymeter(n_attacks=200)(split, shuffled(split.train, 0), seed=0)
    assert scores["anonymeter_singling_out_univariate_low"] > 0.1
    assert scores["anonymeter_linkability_low"] == scores["anonymeter_inference_low"] == 0.0


def test_a_risk_is_its_rates(split):
    """Oracle: the formula, and the order of an interval."""
    scores = Anonymeter(n_attacks=100)(split, pd.concat([split.train.head(100), people(200, 3)]), seed=0)
    for risk in RISKS:
        value, low, high, attack, control = (
            scores[f"anonymeter_{risk}{end}"] for end in ("", "_low", "_high", "_attack", "_control")
        )
        assert value == pytest.approx(max(0.0, (attack - control) / (1 - control)))
        assert 0 <= low <= value <= high <= 1


def test_the_same_seed_gives_the_same_bits(split):
    """Oracle: repetition, whatever was drawn before and whatever the order of rows; all global states as they were."""
    metric, rows = Anonymeter(n_attacks=60, max_secrets=2), people(300, 2)
    scores = []
    for noise in (1, 2):
        np.random.seed(noise)  # noqa: NPY002
        random.seed(noise)
        states = np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
        scores.append(metric(split, rows, seed=3))
        np.testing.assert_array_equal(np.random.get_state()[1], states[0])  # noqa: NPY002
        assert random.getstate() == states[1]
    assert scores[0] == scores[1]
    assert metric(split, rows, seed=4) != scores[0]


def test_negative_guesses_are_not_always_right():
    """Oracle: by hand: a uniform target that nothing tells is guessed within 5 % of its range .0975 of the time.

    The package divides by the guess, so that under it every negative guess is right; the bound is four standard errors.
    """
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=1200).round(3), "z": rng.normal(size=1200).round(3), "y": -rng.random(1200)})
    made = split_of(frame[:400], frame[400:800].reset_index(drop=True))
    assert made.schema.task == "regression"
    scores = Anonymeter(n_attacks=400, max_secrets=1)(made, frame[800:], seed=0)
    for rate in ("attack", "control"):
        assert abs(scores[f"anonymeter_inference_{rate}"] - 0.0975) < 4 * np.sqrt(0.0975 * 0.9025 / 400)


def test_a_copy_is_a_risk_in_every_kind_and_storage(mixed_frame):
    """Oracle: known answer: quotes in categories, booleans with holes, dates, texts: a copy is linked."""
    made = split_of(mixed_frame.iloc[:80], mixed_frame.iloc[80:], note="text")
    scores = Anonymeter()(made, made.train, seed=0)
    assert np.isfinite(list(scores.values())).all()
    assert scores["anonymeter_linkability_attack"] == pytest.approx(centre(1.0, 40))
    assert scores["anonymeter_linkability_low"] > 0.5
    assert scores["anonymeter_singling_out_univariate_low"] > 0


def test_nothing_that_singles_out_is_no_score(caplog):
    """Oracle: by hand: where every value occurs twice no predicate over one column holds once; others attack still."""
    train = pd.DataFrame({"a": list("uuvv") * 5, "b": list("stst") * 5, "y": list("nnny") * 5})
    made = split_of(train, train)
    rows = pd.DataFrame({"a": list("uuvv"), "b": list("stst"), "y": list("nyyn")})
    with caplog.at_level("INFO"):
        scores = Anonymeter(n_attacks=10, n_columns=1)(made, rows, seed=0)
    for risk in ("singling_out", "singling_out_univariate"):
        assert np.isnan(scores[f"anonymeter_{risk}"])
        assert np.isnan(scores[f"anonymeter_{risk}_control"])
    assert np.isfinite(scores["anonymeter_linkability"])
    assert "found 0 predicates of 10" in caplog.text


def test_odd_rows_are_scored_or_refused(split, one_sentence, caplog):
    """Oracle: the rule: unknown categories, holes, words, one row and one class give figures; no column a sentence."""
    odd = split.train.astype({"job": object})
    odd.loc[:9, "job"], odd.loc[5:14, "age"] = "violet", np.nan
    metric = Anonymeter(n_attacks=50, max_secrets=2)
    words = split.train.assign(income=split.train["income"].astype(object).where(split.train.index > 3, "many"))
    for rows in (odd, words, split.train.head(1), split.train.assign(y="old"), people(40, 5)):
        assert np.isfinite([metric(split, rows, seed=0)[f"anonymeter_{risk}"] for risk in RISKS]).all()
    assert "job" in caplog.text
    assert "age" in caplog.text
    assert "income" in caplog.text
    with pytest.raises(BadInput) as error:
        metric(split, split.train.drop(columns="age"), seed=0)
    one_sentence(error.value, "anonymeter", "age")


@pytest.mark.parametrize("option", ["n_attacks", "n_columns", "max_secrets"])
def test_an_option_that_is_none(option, one_sentence):
    """Oracle: the rule for what a user can cause."""
    with pytest.raises(BadInput) as error:
        Anonymeter(**{option: 0})
    one_sentence(error.value, option, "0")


def test_without_the_package_there_is_a_cure(split, monkeypatch, one_sentence):
    """Oracle: the rule for an extra: one sentence that names the file to install from."""
    monkeypatch.setitem(sys.modules, "anonymeter.evaluators", None)
    with pytest.raises(BadInput) as error:
        Anonymeter()(split, split.train, seed=0)
    one_sentence(error.value, "anonymeter", "pip install -r requirements-anonymeter.txt --no-deps")
