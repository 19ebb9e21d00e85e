"""Canaries. Oracles: generators that memorise everything or nothing, ranks by hand, the schema, and a small fine-tuning."""

import copy
import re

import numpy as np
import pandas as pd
import pytest
import torch

from baselines.copy import Copy
from baselines.file import File
from baselines.holdout import Holdout
from baselines.independent import Independent
from baselines.smote import Smote
from harmonic.errors import BadInput
from harmonic.metrics.attacks.canaries import Canaries, _anywhere, draw_candidates, exposure
from harmonic.table import coerce, schema_of
from harmonic.table.schema import Column
from tests.metrics.splits import split_of

CHANCE = 7 - np.log2(np.arange(1, 129)).mean()
"""Mean exposure of a rank among 256 that is any rank alike: 1.42 bits."""


def table(n, seed):
    rng = np.random.default_rng(seed)
    kind = rng.choice(list("uvw"), n)
    return pd.DataFrame(
        {
            "kind": kind,
            "size": rng.integers(0, 100, n),
            "rate": rng.integers(0, 100, n),
            "cost": rng.integers(0, 100, n),
            "y": np.where(kind == "u", "no", rng.choice(["no", "yes"], n)),
        }
    )


@pytest.fixture(scope="module")
def split():
    return split_of(table(160, 0), table(40, 1))


@pytest.fixture(scope="module")
def wide():
    """Suffixes of so many values that none comes twice."""
    rng = np.random.default_rng(0)
    parts = [
        pd.DataFrame(rng.integers(0, 10**6, (n, 6)), columns=list("abcdef")).assign(y=["n", "y"] * (n // 2))
        for n in (80, 40)
    ]
    return split_of(*parts)


class Memory:
    """Knows every row it learnt as well as can be, and no other; or, if told to, learns nothing."""

    def __init__(self, learns=True):
        self.learns = learns

    def fit(self, train, *, seed, work_dir=None):
        self.train, self.known = train, set(train.itertuples(index=False, name=None))
        return self

    def sample(self, n, *, seed, work_dir=None):
        rng = np.random.default_rng(seed)
        if self.learns:
            return self.train.iloc[rng.permutation(len(self.train))[:n]].reset_index(drop=True)
        schema = schema_of(self.train)
        drawn = {name: self.train[name].iloc[rng.integers(0, 80, n)].to_numpy() for name in schema.names}
        return pd.DataFrame(drawn)

    def log_likelihood(self, rows, *, seed, own=None):
        if not self.learns:
            return np.random.default_rng(seed).normal(size=rows.shape)
        known = [row in self.known for row in rows.itertuples(index=False, name=None)]
        return np.repeat(np.where(known, -1.0, -9.0)[:, None], rows.shape[1], axis=1)


def test_what_memorises_is_exposed_in_full(wide):
    """Oracle: known answer: of 128 rows it is the canary that is known: 7 bits, planted once or more; unplanted, all tie."""
    scores = Canaries()(wide, wide.train, seed=0, synthesizer=Memory())
    for count in (1, 10, 100):
        assert scores[f"canary_exposure_{count}"] == scores[f"canary_reach_{count}"] == 7.0
    assert scores["canary_exposure_0"] == pytest.approx(np.log2(128 / 64.5))  # all tie: the middle of 1 to 128


def test_what_learns_nothing_is_at_chance(wide):
    """Oracle: known answer: the mean over ranks 1 to 128, 1.40 bits; 150 canaries a count, within four standard errors."""
    scores = Canaries(counts=(1, 2), per_count=150)(wide, wide.train, seed=0, synthesizer=Memory(learns=False))
    assert len(scores) == 6
    deviation = np.std(np.log2(np.arange(1, 129)))
    assert np.abs(np.array(list(scores.values())) - CHANCE).max() < 4 * deviation / np.sqrt(150)
    assert abs(CHANCE - 1 / np.log(2)) < 0.05


def test_a_copy_reaches_every_canary_and_independent_columns_none(wide):
    """Oracle: known answer: train itself holds the canary: 7 bits; columns shuffled seldom hold two of its cells."""
    reach = [Canaries()(wide, wide.train, seed=0, synthesizer=method) for method in (Copy(), Independent())]
    assert [reach[0][f"canary_reach_{count}"] for count in (1, 10, 100)] == [7.0] * 3
    assert reach[0]["canary_reach_0"] < 4
    assert reach[1]["canary_reach_1"] < 4
    assert set(reach[0]) == {f"canary_reach_{count}" for count in (0, 1, 10, 100)}


def test_exposure_rises_with_the_copies_in_a_fine_tuning_set(split, quick_harmonic):
    """Oracle: what exposure means: planted 1, 10 and 100 times, the likelihood's exposure rises; the rest is at chance.

    Means over six canaries, of at most 6 bits; a mean at chance deviates by .6. In three runs one copy gave 1.6 to 2.5 bits,
    ten gave 4.1 to 4.4, and a hundred gave 5.8 to 6. No prompt shows a canary.
    """
    harmonic = quick_harmonic(steps=400, order="fixed")
    metric = Canaries(per_count=6, candidates=63, max_rows=200)
    scores = metric(split, split.train, seed=0, synthesizer=harmonic)
    zero, one, ten, hundred = (scores[f"canary_exposure_{count}"] for count in (0, 1, 10, 100))
    assert zero < 3.2
    assert one < ten - 1
    assert ten < hundred - 0.5
    assert hundred > 5
    assert scores["canary_reach_100"] > scores["canary_reach_1"] + 2
    assert not hasattr(harmonic, "model")


def test_withheld_rows_are_shown_in_no_prompt(learnt, easy_table, monkeypatch):
    """Oracle: row numbers, and the prompts' text: `size` is each row's own; without any the search is as before."""
    own, odd = np.arange(1, 40, 2), np.arange(0, 40, 2)
    shown = learnt.nearest_train_rows(easy_table.iloc[own], own, odd)
    assert (shown % 2 == 1).all()
    assert not (shown == own[:, None]).any()
    nothing = np.array([], dtype=int)
    assert (learnt.nearest_train_rows(easy_table, None, nothing) == learnt.nearest_train_rows(easy_table)).all()
    prompts = []

    def scorer(model, encoder, row, n, compute, grammar):
        prompts.extend("".join(row(number).prompt) for number in range(n))
        return np.zeros((n, 6))

    monkeypatch.setattr("harmonic.method.harmonic.cell_log_likelihoods", scorer)
    learnt.log_likelihood(easy_table.iloc[odd], seed=0, withheld=odd)
    sizes = {int(size) for prompt in prompts for size in re.findall(r'"size": "(\d+)"', prompt)}
    assert len(prompts) == 20
    assert sizes
    assert sizes <= set(easy_table["size"].iloc[own])


@pytest.mark.parametrize("make", [Copy, Independent, Smote, "harmonic"], ids=str)
def test_the_synthesizer_at_hand_is_left_as_it_is(split, quick_harmonic, make):
    """Oracle: its parts, which are the same objects with the same contents; and its rows."""
    method = quick_harmonic(steps=3) if make == "harmonic" else make()
    method.fit(split.train, seed=0)
    rows = method.sample(20, seed=0)
    parts, report = dict(vars(method)), copy.deepcopy(getattr(method, "report", None))
    weights = [weight.detach().clone() for weight in method.model.parameters()] if make == "harmonic" else []
    Canaries(counts=(2,), per_count=1, candidates=3, max_rows=20)(split, split.train, seed=0, synthesizer=method)
    assert vars(method).keys() == parts.keys()
    assert all(vars(method)[name] is part for name, part in parts.items())
    assert getattr(method, "report", None) == report
    assert len(method.train) == 160
    if weights:
        assert all(map(torch.equal, weights, method.model.parameters()))
    pd.testing.assert_frame_equal(method.sample(20, seed=0), rows)


def test_exposure_by_hand():
    """Oracle: log2(4) less the log of the rank: first, last, tied with one, tied with all."""
    scores = np.array([[9, 1, 2, 3], [0, 1, 2, 3], [2, 1, 2, 3], [1, 1, 1, 1]])
    assert exposure(scores).tolist() == pytest.approx([2.0, 0.0, 2 - np.log2(2.5), 2 - np.log2(2.5)])


def test_canaries_have_a_typical_prefix_and_any_suffix(mixed_frame):
    """Oracle: the schema: every cell is valid, prefixes are those of a train row, suffixes cover the columns' domains."""
    made = split_of(mixed_frame, mixed_frame.head(40), note="text")
    rows = draw_candidates(made, 3, 400, np.random.default_rng(0))
    pd.testing.assert_frame_equal(coerce(rows, made.schema, "rows"), rows)
    prefix, suffix = made.schema.columns[:5], made.schema.columns[5:]
    real = {tuple(map(str, row)) for row in made.train[[column.name for column in prefix]].astype(object).to_numpy()}
    for canary in range(3):
        own = rows.iloc[canary * 401 : (canary + 1) * 401]
        assert {tuple(map(str, row)) for row in own[[column.name for column in prefix]].astype(object).to_numpy()} <= real
        assert own[[column.name for column in prefix]].astype(str).drop_duplicates().shape[0] == 1
    for column in suffix:
        texts = column.write(rows[column.name])
        assert "" not in texts
        for text in set(texts):
            column.read(text)
        if column.categories:
            shares = pd.Series(texts).value_counts(normalize=True)
            assert shares.min() > 1 / len(column.categories) - 0.06
    moments = rows["moment"].astype("int64")
    assert (moments.max() - moments.min()) > 0.98 * (made.train["moment"].max() - made.train["moment"].min()).value


def test_numbers_are_any_of_their_range_alike(split):
    """Oracle: counts: of 0 to 99 each value a hundredth of 40 000 draws, the ends too, to five standard errors."""
    rows = draw_candidates(split, 4, 9_999, np.random.default_rng(0))
    counts = np.bincount(rows["cost"], minlength=100)
    assert len(counts) == 100
    assert np.abs(counts / 40_000 - 0.01).max() < 5 * np.sqrt(0.01 * 0.99 / 40_000)


def test_the_same_seed_gives_the_same_bits(split):
    """Oracle: repetition, the inputs and the global random state left as they were; another seed plants other canaries."""
    before, state = split.train.copy(deep=True), np.random.get_state()[1].copy()  # noqa: NPY002
    scores = [Canaries()(split, split.train, seed=seed, synthesizer=Smote()) for seed in (0, 0, 1)]
    assert scores[0] == scores[1] != scores[2]
    pd.testing.assert_frame_equal(split.train, before)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_methods_that_hold_rows_have_no_score(split):
    """Oracle: the contract: nothing to fit anew is an empty result, which tables show as a hole."""
    held = Holdout().fit(split.val, seed=0)
    given = File("no.csv")
    given.table = split.train
    assert [Canaries()(split, split.train, seed=0, synthesizer=method) for method in (None, held, given)] == [{}] * 3


def test_odd_rows_change_nothing_or_are_refused(split, one_sentence):
    """Oracle: rows matter to no canary, so odd cells, one row and one class score alike; a lacking column is refused."""
    metric = Canaries(per_count=1, candidates=15)
    scores = metric(split, split.train, seed=0, synthesizer=Smote())
    for rows in (split.train.assign(kind="x"), split.train.head(1), split.train.assign(y="no", size=np.nan)):
        assert metric(split, rows, seed=0, synthesizer=Smote()) == scores
    with pytest.raises(BadInput) as error:
        metric(split, split.train.drop(columns="rate"), seed=0, synthesizer=Smote())
    one_sentence(error.value, "canaries", "rate")


@pytest.mark.parametrize(
    "options", [{"counts": (0,)}, {"counts": (3, 3)}, {"per_count": 0}, {"candidates": 0}, {"max_rows": 0}]
)
def test_an_option_that_is_none(options, one_sentence):
    """Oracle: the rule for what a user can cause."""
    with pytest.raises(BadInput) as error:
        Canaries(**options)
    one_sentence(error.value, f"canaries.{next(iter(options))}")


def test_more_numbers_than_an_integer_counts():
    """Oracle: the column's range, which has 8e19 steps."""
    column = Column("x", "decimal", "float64", places=10, low=1e-9, high=8e9)
    drawn = _anywhere(column, pd.Series([1e-9, 8e9]), 1000, np.random.default_rng(0))
    assert drawn.between(1e-9, 8e9).all()
    assert drawn.std() == pytest.approx(8e9 / np.sqrt(12), rel=0.1)
