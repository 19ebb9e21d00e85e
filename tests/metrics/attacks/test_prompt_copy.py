"""Copying from the prompt. Oracles: generators that copy or do not by construction, hand computation, a plain loop."""

import numpy as np
import pandas as pd
import pytest

from harmonic.errors import BadInput
from harmonic.metrics.attacks.cells import cell_codes
from harmonic.metrics.attacks.prompt_copy import NO_PARTNER, PromptCopy, draw_partners, exposed_rows
from harmonic.neighbours import closest, make_groups, paired
from harmonic.table import Split
from tests.metrics.splits import split_of

N = 300


class Prompted:
    """A generator of which nothing but its prompts is known."""

    def __init__(self, prompt_rows, prompt_drawn=None):
        self.prompt_rows, self.prompt_drawn = prompt_rows, prompt_drawn


def people(n, seed):
    """Numbers and categories that hang together, empty cells, two classes."""
    rng = np.random.default_rng(seed)
    age, colour = rng.integers(18, 90, n), rng.choice(["red", "blue", "green"], n)
    frame = {
        "age": age,
        "income": np.where(rng.random(n) < 0.1, np.nan, (age * 100 + rng.normal(0, 800, n)).round(1)),
        "colour": np.where(rng.random(n) < 0.1, None, colour),
        "y": np.where(age + 20 * (colour == "red") + rng.normal(0, 10, n) > 60, "a", "b"),
    }
    return pd.DataFrame(frame)


@pytest.fixture(scope="module")
def split():
    return split_of(people(N, 0), people(150, 1))


@pytest.fixture(scope="module")
def neighbours(split):
    """Four neighbours of each train row, of its class."""
    return make_groups(split.train, split.schema, k=4, distance="mixed", label_rule="same_class", min_agreement=0).neighbours


def random_prompts(n, seed, k=4):
    rng = np.random.default_rng(seed)
    return np.array([rng.choice(N, k, replace=False) for _ in range(n)])


def score(split, rows, prompts, seed=0, drawn=None):
    return PromptCopy()(split, rows, seed=seed, synthesizer=Prompted(prompts, drawn))


@pytest.mark.parametrize("prompted", ["random", "neighbours"])
def test_copies_of_a_prompt_row_are_found(split, neighbours, prompted):
    """Oracle: known answer: each output is a row of its own prompt; other prompts hold one as often as people repeat."""
    prompts = neighbours if prompted == "neighbours" else random_prompts(N, 1)
    copied = prompts[np.arange(N), np.random.default_rng(2).integers(4, size=N)]
    scores = score(split, split.train.iloc[copied].reset_index(drop=True), prompts)
    assert scores["prompt_copy_share"] >= 0.95
    assert scores["prompt_copy_share_low"] > 0.5
    assert scores["prompt_copy_verbatim"] == 1.0
    assert scores["prompt_copy_verbatim_chance"] < 0.02
    assert scores["prompt_copy_verbatim_holdout"] == 0.0
    assert scores["prompt_rows_shown"] == len(np.unique(prompts)) / N
    assert len(np.unique(copied)) / N <= scores["prompt_rows_exposed"] <= scores["prompt_rows_shown"]
    assert scores["prompt_rows_exposed_chance"] < 0.1


@pytest.mark.parametrize("made", ["real rows", "independent columns"])
def test_rows_that_know_nothing_of_their_prompt_are_at_chance(split, made):
    """Oracle: known answer: .5 on average over twenty repetitions, within four standard errors; one is in its interval."""
    shares = []
    for seed in range(20):
        rows = people(200, 100 + seed)
        if made == "independent columns":
            rng = np.random.default_rng(seed)
            rows = pd.DataFrame({name: rows[name].to_numpy()[rng.permutation(len(rows))] for name in rows})
        scores = score(split, rows, random_prompts(200, seed), seed)
        shares.append(scores["prompt_copy_share"])
    assert abs(np.mean(shares) - 0.5) < 4 * np.std(shares, ddof=1) / np.sqrt(20)
    assert np.std(shares) < 0.06
    assert scores["prompt_copy_share_low"] < 0.5 < scores["prompt_copy_share_high"]
    assert scores["prompt_copy_verbatim"] == scores["prompt_copy_verbatim_chance"] == 0.0


def test_locality_alone_raises_the_share_and_copies_nothing(split, neighbours):
    """Oracle: known answer: new rows prompted with their neighbours are nearer to them, and equal none."""
    scores = score(split, split.train, neighbours)
    assert scores["prompt_copy_share_low"] > 0.8
    assert scores["prompt_copy_verbatim"] <= scores["prompt_copy_verbatim_chance"] < 0.05
    assert scores["prompt_rows_exposed"] < 0.1


@pytest.mark.parametrize("given", [2, 6])
def test_drawn_rows_tell_copying_from_locality(split, given):
    """Oracle: known answers: new rows beside their eight neighbours are as near to the drawn ones, in the mean of twenty
    draws; copies of a drawn row are nearer to it than to any other, but for people who repeat."""
    rule = {"distance": "mixed", "label_rule": "same_class", "min_agreement": 0}
    prompts = make_groups(split.train, split.schema, k=8, **rule).neighbours
    shares = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        drawn = rng.random((N, 8)).argsort(axis=1) < given
        shares.append(score(split, split.train, prompts, seed, drawn)["prompt_copy_drawn"])
    assert abs(np.mean(shares) - 0.5) < 4 * np.std(shares, ddof=1) / np.sqrt(20)
    assert 0 < np.std(shares) < 0.06
    copied = prompts[np.arange(N), drawn.argmax(axis=1)]
    scores = score(split, split.train.iloc[copied].reset_index(drop=True), prompts, 0, drawn)
    kept = min(given, 8 - given) / given  # the copied row is among those that are compared
    assert scores["prompt_copy_drawn"] >= kept + (1 - kept) * 0.4
    assert 0.5 < scores["prompt_copy_drawn_low"] < scores["prompt_copy_drawn"]


def test_drawn_rows_by_hand():
    """Oracle: numbers on a line: 0 is nearer to the drawn 1 than to 66, 58 as far from the drawn 50 as from 66, and of a
    prompt that was drawn as a whole nothing is said."""
    train = pd.DataFrame({"x": [1, 10, 50, 66, 100], "y": ["a", "b", "a", "a", "a"]})
    made = split_of(train, train.iloc[:3], x="integer")
    rows = pd.DataFrame({"x": [0, 58, 1], "y": ["a", "a", "a"]})
    prompts = np.array([[0, 3], [2, 3], [0, 1]])
    scores = score(made, rows, prompts, drawn=np.array([[True, False], [True, False], [True, True]]))
    assert scores["prompt_copy_drawn"] == 0.75
    assert "prompt_copy_drawn" not in score(made, rows, prompts, drawn=np.ones((3, 2), dtype=bool))
    assert "prompt_copy_drawn" not in score(made, rows, prompts)


def test_by_hand():
    """Oracle: numbers on a line, one class, prompts of two: who is nearer to whom, counted on paper."""
    train = pd.DataFrame({"x": [0, 10, 50, 60, 100], "y": ["a", "b", "a", "a", "a"]})
    made = split_of(train, train.iloc[:3], x="integer")
    rows = pd.DataFrame({"x": [0, 58], "y": ["a", "a"]})
    scores = score(made, rows, np.array([[0, 2], [2, 3]]))
    # each is the other's partner; row 50 stands in both prompts and is left out: 0 is its own row 0, 58 is nearer to 60
    assert scores["prompt_copy_share"] == 1.0
    assert scores["prompt_copy_verbatim"] == 0.5
    assert scores["prompt_copy_verbatim_chance"] == 0.0
    assert scores["prompt_copy_verbatim_holdout"] == 1.0
    assert scores["prompt_rows_shown"] == 3 / 5
    assert scores["prompt_rows_exposed"] == 1 / 5
    found = exposed_rows(made, rows, np.array([[0, 2], [2, 3]]), tail=0.0)
    assert found.to_dict("records") == [{"row": 0, "shown": 1, "copies": 1, "nearest": 0.0}]
    reverse = score(made, rows, np.array([[2, 3], [0, 2]]))
    assert (reverse["prompt_copy_share"], reverse["prompt_copy_verbatim_chance"]) == (0.0, 0.5)


def test_exposed_rows_are_those_of_a_plain_loop(split, neighbours):
    """Oracle: a loop over outputs and the rows they were shown; most copies first, then the nearest."""
    copied = neighbours[np.arange(N), 0]
    rows = split.train.iloc[np.where(np.arange(N) % 3, np.arange(N), copied)].reset_index(drop=True)
    found = exposed_rows(split, rows, neighbours, tail=0.1)
    train, outputs = split.encoder.encode(split.train), split.encoder.encode(rows)
    threshold = np.quantile(closest(split.encoder.encode(split.test), train)[0], 0.1, method="inverted_cdf")
    texts = [list(map(str, frame.astype(object).to_numpy().tolist())) for frame in (rows, split.train)]
    shown = {}
    for output, prompt in enumerate(neighbours):
        for row in prompt:
            apart = closest(outputs[output : output + 1], train[row : row + 1])[0][0]
            shown.setdefault(row, []).append((texts[0][output] == texts[1][row], apart))
    expected = [
        (row, len(pairs), sum(equal for equal, _ in pairs), min(apart for _, apart in pairs))
        for row, pairs in shown.items()
        if min(apart for _, apart in pairs) <= threshold
    ]
    assert 50 < len(expected) < N
    assert list(found.itertuples(index=False, name=None)) == sorted(expected, key=lambda row: (-row[2], row[3], row[0]))
    assert (
        PromptCopy(tail=0.1)(split, rows, seed=0, synthesizer=Prompted(neighbours))["prompt_rows_exposed"] == len(found) / N
    )


@pytest.mark.parametrize("common", [0, 40, 70])
def test_partners_have_the_class_and_another_prompt(common):
    """Oracle: invariants: one label, two prompts, nobody a partner twice; a prompt that most rows have leaves some alone."""
    rng = np.random.default_rng(0)
    prompts = np.array([rng.choice(50, 3, replace=False) for _ in range(100)])
    prompts[:common] = prompts[0][[2, 0, 1]]  # the same rows in another order are the same prompt
    labels = np.zeros(100, dtype=int) if common else rng.integers(3, size=100)
    partners = draw_partners(prompts, labels, np.random.default_rng(1))
    rows = np.flatnonzero(partners != NO_PARTNER)
    assert len(rows) == (100 if common <= 50 else 60)
    assert len(set(partners[rows])) == len(rows)
    assert (labels[partners[rows]] == labels[rows]).all()
    assert all(set(prompts[row]) != set(prompts[partners[row]]) for row in rows)


def test_any_two_rows_may_be_partners():
    """Oracle: counts over 3 000 draws: of ten rows with ten prompts, each other one a ninth of the time, to five errors."""
    prompts, labels = np.arange(10)[:, None], np.zeros(10, dtype=int)
    drawn = np.array([draw_partners(prompts, labels, np.random.default_rng(seed)) for seed in range(3000)])
    counts = np.array([np.bincount(drawn[:, row], minlength=10) for row in range(10)])
    assert (counts.diagonal() == 0).all()
    others = counts[~np.eye(10, dtype=bool)]
    assert np.abs(others / 3000 - 1 / 9).max() < 5 * np.sqrt(1 / 9 * 8 / 9 / 3000)


def test_the_same_seed_gives_the_same_bits(split, neighbours):
    """Oracle: repetition, with the inputs and numpy's global generator left as they were; another seed pairs otherwise."""
    rows, state = people(N, 7), np.random.get_state()[1].copy()  # noqa: NPY002
    before = rows.copy(deep=True)
    scores = [score(split, rows, neighbours, seed) for seed in (0, 0, 1)]
    assert scores[0] == scores[1] != scores[2]
    pd.testing.assert_frame_equal(rows, before)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_harmonic_tells_what_it_showed(learnt, easy_table):
    """Oracle: the count of different rows that its 41 prompts showed, of the 40 there are; and the order of the interval."""
    made = Split("easy", easy_table.attrs["schema"], easy_table, easy_table.tail(20), easy_table.head(20))
    rows = learnt.sample(41, seed=0)
    assert learnt.prompt_rows.shape == (41, 2)
    scores = PromptCopy()(made, rows, seed=0, synthesizer=learnt)
    assert 0 <= scores["prompt_copy_share_low"] <= scores["prompt_copy_share"] <= scores["prompt_copy_share_high"] <= 1
    assert scores["prompt_rows_shown"] == len(np.unique(learnt.prompt_rows)) / 40


def test_a_method_without_prompts_has_no_score(split):
    """Oracle: the contract: an empty result, which tables show as a hole."""
    assert PromptCopy()(split, split.train, seed=0, synthesizer=object()) == {}
    assert PromptCopy()(split, split.train, seed=0) == {}


def test_rows_without_their_prompts_are_refused(split, neighbours, one_sentence):
    """Oracle: the rule for what a user can cause: one sentence with the cure."""
    for prompts, words in (
        (None, ("prompt_copy", "delete")),
        (neighbours[:7], ("(7, 4)", "300")),
        (neighbours + N, ("prompt_copy",)),
    ):
        with pytest.raises(BadInput) as error:
            score(split, split.train, prompts)
        one_sentence(error.value, *words)


def test_odd_rows_are_scored_or_refused(split, neighbours, one_sentence, caplog):
    """Oracle: by hand: an unknown category and an empty integer count as empty; no column, or one row, is a sentence."""
    odd = split.train.astype({"age": float, "colour": object})
    odd.loc[:9, "colour"], odd.loc[5:14, "age"] = "violet", np.nan
    scores = score(split, odd, neighbours)
    assert np.isfinite(list(scores.values())).all()
    assert "colour" in caplog.text
    assert "age" in caplog.text
    one_class = score(split, split.train.assign(y="a"), neighbours)
    assert np.isfinite(list(one_class.values())).all()
    for rows, prompts, word in (
        (split.train.drop(columns="age"), neighbours, "age"),
        (split.train.head(1), neighbours[:1], "1"),
    ):
        with pytest.raises(BadInput) as error:
            score(split, rows, prompts)
        one_sentence(error.value, "prompt_copy", word)


def test_one_prompt_for_all_has_no_share(split, neighbours, caplog):
    """Oracle: by hand: without another prompt nothing is compared; what needs no partner is scored."""
    scores = score(split, split.train, np.tile(neighbours[0], (N, 1)))
    assert np.isnan(scores["prompt_copy_share"])
    assert scores["prompt_rows_shown"] == 4 / N
    assert "300 of 300 rows are not compared" in caplog.text


def test_cells_are_numbers_that_keep_equality_and_order(mixed_frame):
    """Oracle: the columns' own text forms for equality, over two tables at once; pandas' order of numbers and dates."""
    made = split_of(mixed_frame.iloc[:80], mixed_frame.iloc[60:], note="text")
    codes = np.vstack(cell_codes((made.train, made.test), made.schema))
    both = pd.concat([made.train, made.test], ignore_index=True)
    for place, column in enumerate(made.schema.columns):
        texts = np.array(column.write(both[column.name]))
        assert ((codes[:, None, place] == codes[None, :, place]) == (texts[:, None] == texts[None, :])).all(), column.name
        assert ((codes[:, place] == -1) == (texts == "")).all()
    for name in ("amount", "moment"):
        ranks = codes[:, made.schema.names.index(name)]
        known = ranks >= 0
        assert (np.argsort(ranks[known], kind="stable") == np.argsort(both[name][known].to_numpy(), kind="stable")).all()


def test_paired_distances_are_those_of_single_searches(mixed_frame):
    """Oracle: `closest` with one reference at a time, empty cells included."""
    made = split_of(mixed_frame, mixed_frame, note="text")
    rows, others = made.encoder.encode(made.train.iloc[:60]), made.encoder.encode(made.train.iloc[60:])
    for mismatch in (1.0, 2.0):
        alone = [closest(rows[i : i + 1], others[i : i + 1], mismatch=mismatch)[0][0] for i in range(60)]
        np.testing.assert_allclose(paired(rows, others, mismatch=mismatch), alone, rtol=0, atol=2e-9)
