"""What prompts show. Oracles: the cells of the group, column by column, and the rows that must not be among them."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from harmonic.lm.decoding import Decoding
from harmonic.lm.sampler import sample_rows
from harmonic.method import Harmonic, rejection
from harmonic.method.examples import Source, crossed, default_pool, draw_parents
from harmonic.method.instructions import Composer
from harmonic.method.sampling import Sampling
from harmonic.metrics.attacks.prompt_copy import PromptCopy
from harmonic.neighbours import make_groups
from harmonic.table import Split, schema_of
from harmonic.table.encoding import Encoder
from harmonic.table.schema import attach

CELLS = [[f"{column}{row}" for column in "abc"] for row in range(9)]


def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def generated(learnt, easy_table, quick_harmonic, tmp_path_factory):
    """The learnt model, prompted with rows of its own; and what it wrote."""
    folder = tmp_path_factory.mktemp("learnt")
    learnt.save(folder)
    settings = {"examples": "crossovers", "pool": 4, "sampling": Sampling("generated", decoding=Decoding(temperature=0.7))}
    method = quick_harmonic(**settings).load(folder)
    return method, method.sample(len(easy_table), seed=0)


def test_neighbours_are_shown_as_they_are():
    parents = draw_parents("neighbours", np.array([7, 2, 5]), 2, rng(), np.arange(3))
    assert crossed(CELLS, parents) == [CELLS[7], CELLS[2]]


def test_each_cell_of_a_crossover_is_that_of_any_row_of_the_group():
    """Oracle: the group's cells of that column, each as often; and a row's cells together as often as chance has it."""
    group = np.array([1, 4, 6])
    rows = crossed(CELLS, draw_parents("crossovers", group, 3000, rng(), np.arange(3)))
    for place, column in enumerate("abc"):
        counts = Counter(row[place] for row in rows)
        assert counts.keys() == {f"{column}{number}" for number in group}
        assert min(counts.values()) > 900
    whole = sum(row in [CELLS[number] for number in group] for row in rows) / len(rows)
    assert whole == pytest.approx(3 / 3**3, abs=0.02)


def test_crossovers_are_drawn_anew_in_each_epoch_and_alike_for_a_seed(easy_table):
    one, again = (
        Harmonic(k=3, pool=5, order="fixed").prepare(easy_table, seed=0).instructions.of_epoch(0, epoch) for epoch in (0, 0)
    )
    other = Harmonic(k=3, pool=5, order="fixed").prepare(easy_table, seed=0).instructions.of_epoch(0, 1)
    texts = [["".join(item.prompt) for item in items] for items in (one, again, other)]
    assert texts[0] == texts[1]
    assert sum(a == b for a, b in zip(texts[0], texts[2], strict=True)) < len(easy_table) / 4


def test_a_training_prompt_holds_no_cell_of_its_answer_alone(easy_table):
    """Oracle: the group, in which the anchor is not: its examples are made without it."""
    harmonic = Harmonic(k=3, pool=5).prepare(easy_table, seed=0)
    assert harmonic.groups.neighbours.shape == (len(easy_table), 5)
    assert not (harmonic.groups.neighbours == harmonic.groups.anchors[:, None]).any()


def test_a_pool_larger_than_the_table_is_all_of_it(easy_table):
    assert Harmonic(k=3, pool=500).prepare(easy_table, seed=0).groups.neighbours.shape[1] == len(easy_table) - 1


def test_groups_of_generated_rows_are_of_one_class_without_the_anchor(learnt, easy_table):
    """Oracle: labels and numbers."""
    rows = easy_table.iloc[::-1].reset_index(drop=True)
    rows.attrs = easy_table.attrs
    encoder = Encoder.fit(easy_table, learnt.schema)
    source = Source.of_generated(rows, encoder, learnt.codec, 4, within_class=True)
    labels = rows["label"].to_numpy()
    assert (labels[source.groups.neighbours] == labels[:, None]).all()
    assert not (source.groups.neighbours == source.groups.anchors[:, None]).any()


def test_prompts_of_generated_rows_hold_those_alone(generated, easy_table, monkeypatch):
    """Oracle: every example cell is one of the draft; and the draft is no train row handed on, or not all would be new."""
    method, rows = generated
    source = method._source(method.writer(method.sampling.decoding, 0), len(rows), 0, None)
    draft = method._draft.made.rows
    assert draft.tried >= len(draft.rows) == len(easy_table)
    written = set(map(tuple, source.cells))
    columns = [set(column) for column in zip(*source.cells, strict=True)]
    shown = []
    monkeypatch.setattr(Composer, "prompt", lambda self, examples, columns: shown.extend(examples))
    for number in range(30):
        method.prompter.bare(number, 0, source)
    assert len(shown) == 30 * method.k
    assert all(cell in known for row in shown for cell, known in zip(row, columns, strict=True))
    assert written != set(map(tuple, method.cells))
    assert len(rows) == len(easy_table)


def test_what_generated_prompts_report(generated, easy_table, easy_schema):
    """Oracle: the sums of both passes; no train row was shown, so none can be exposed."""
    method, rows = generated
    report = method.report
    passes = report["draft"], report["generation"]
    assert report["tokens_sample"] == sum(one["new_tokens"] + one["prompt_tokens"] for one in passes)
    assert method.prompt_rows.shape == (len(rows), 0)
    split = Split("easy", easy_schema, easy_table, easy_table, easy_table.head(20).copy())
    scores = PromptCopy()(split, rows, seed=0, synthesizer=method)
    assert scores == {"prompt_rows_shown": 0, "prompt_rows_exposed": 0}


def test_generated_rows_are_the_same_for_a_seed_also_after_a_kill(generated, easy_table, tmp_path):
    """Oracle: repetition; from the shards that a kill behind the draft leaves, and from none."""
    method, rows = generated
    method._draft = None
    pd.testing.assert_frame_equal(method.sample(len(rows), seed=0, work_dir=tmp_path), rows)
    for shard in tmp_path.glob("*.json"):
        shard.unlink()
    assert list((tmp_path / "draft").glob("*.json"))
    method._draft = None
    pd.testing.assert_frame_equal(method.sample(len(rows), seed=0, work_dir=tmp_path), rows)
    assert not method.sample(len(rows), seed=1).equals(rows)


def test_a_draft_serves_all_calls_of_a_seed(generated, easy_table, monkeypatch):
    """Oracle: how many rows are written, and the rows of a draft of the call's own."""
    method, rows = generated
    written, bars = [], []

    def counted(*args, **kwargs):
        written.append(args[3])
        bars.append(kwargs["what"])
        return sample_rows(*args, **kwargs)

    monkeypatch.setattr("harmonic.method.passes.sample_rows", counted)
    monkeypatch.setattr(method, "_draft", None)
    for n in (3, 5):
        pd.testing.assert_frame_equal(method.sample(n, seed=0), rows.head(n))
    assert written == [len(easy_table), 3, 5]
    assert bars == ["drafting", "sampling", "sampling"]
    method.sample(2, seed=1)
    monkeypatch.setattr(method, "sampling", replace(method.sampling, draft_rows=9))
    method.sample(2, seed=1)
    assert written[3:] == [len(easy_table), 2, 9, 2]


def test_prompts_of_train_report_no_draft(generated, monkeypatch):
    """Oracle: the tokens of the one pass, also behind a call that had a draft."""
    method, _ = generated
    method.sample(2, seed=0)
    monkeypatch.setattr(method, "sampling", replace(method.sampling, prompts="neighbours"))
    method.sample(2, seed=0)
    generation = method.report["generation"]
    assert method.report["tokens_sample"] == generation["new_tokens"] + generation["prompt_tokens"]


def test_a_draft_is_as_large_as_train_at_most(easy_table):
    method = Harmonic(sampling=Sampling("generated", draft_rows=7, keep=None)).prepare(easy_table, seed=0)
    assert method.rows_written(100) == 107
    assert Harmonic().prepare(easy_table, seed=0).rows_written(100) == 100 + len(easy_table)
    assert Harmonic(sampling=Sampling("neighbours")).prepare(easy_table, seed=0).rows_written(100) == 100


def test_pools_of_a_run_over_very_many_rows_stay_small():
    """Oracle: the documented sum: 16 million numbers over all answers, 10 to 500 each."""
    assert default_pool(26_048, answers=26_048) == 500
    assert default_pool(1_000_000, answers=6_400) == 500
    assert default_pool(100_000, answers=100_000) == 160
    assert default_pool(1_000_000, answers=1_000_000) == 16
    assert default_pool(10_000_000, answers=10_000_000) == 10


def test_drawn_rows_are_those_that_gave_a_cell(learnt, quick_harmonic, easy_table, tmp_path):
    """Oracle: the prompts' texts: each of their cells is one of a drawn row, and a row that alone has a cell was drawn."""
    learnt.save(tmp_path)
    settings = {"examples": "crossovers", "pool": 12, "sampling": Sampling("neighbours", decoding=Decoding(temperature=0.7))}
    method = quick_harmonic(**settings).load(tmp_path)
    method.groups = make_groups(easy_table, method.schema, k=12, distance="mixed", label_rule="same_class", min_agreement=0)
    rows = method.sample(30, seed=0)
    assert method.report["generation"]["tried"] == len(rows)
    assert method.prompt_drawn.shape == method.prompt_rows.shape == (30, 12)
    assert 0 < method.prompt_drawn.mean() < 1
    for number, (pool, drawn) in enumerate(zip(method.prompt_rows, method.prompt_drawn, strict=True)):
        prompt = "".join(method.prompt(number, 0).text)
        lines = [line.partition(": ")[2] for line in prompt.splitlines() if line.startswith("Example")]
        for example in map(json.loads, lines):
            for place, name in enumerate(easy_table.columns):
                holders = [row for row in pool if method.cells[row][place] == example[name]]
                assert set(holders) & set(pool[drawn])
                assert len(holders) > 1 or drawn[list(pool).index(holders[0])]


def test_a_large_table_has_wide_pools_and_rows_that_are_turned_down(easy_table):
    """Oracle: a fiftieth of the rows, at most 500, and ten of a draft of 2 000 to 8 000; two rows are written for one, and a
    trial's, for the draft as well; nobody is shown real neighbours who did not ask for them."""
    for rows, pool, written in ((40, 10, 140), (2000, 10, 2100), (2001, 40, 6000 + 300), (30_000, 500, 6000 + 300)):
        table = attach(easy_table.sample(rows, replace=True, random_state=0, ignore_index=True), schema_of(easy_table))
        method = Harmonic(max_instructions=5).prepare(table, seed=0)
        assert method.groups.neighbours.shape[1] == pool
        assert method.rows_written(100) == written
    assert method.scale.draft_pool(500) == 10
    written = [method.rows_written(n) for n in (7, 5000, 30_000)]
    assert written == [6000 + 100 + 14, 2 * (4000 + 10_000), (4000 + 16_000) + (4000 + 60_000)]
    direct = Harmonic(sampling=Sampling("neighbours"), max_instructions=5).prepare(table, seed=0)
    assert direct.rows_written(100) == 300
    assert Harmonic(examples="neighbours", max_instructions=5).prepare(table, seed=0).rows_written(100) == 2100


def test_a_draft_too_is_turned_down_by_half(quick_harmonic, easy_table, learnt, tmp_path, monkeypatch):
    """Oracle: the counts of each run; nothing of train is shown; the same rows from what a kill leaves, whenever it came."""
    monkeypatch.setattr(rejection, "LEAST_IN_LEAF", 1.0)
    learnt.save(tmp_path / "learnt")
    sampling = Sampling("generated", draft_rows=30, keep=0.5, trial_rows=20, decoding=Decoding(temperature=0.7))
    method = quick_harmonic(examples="crossovers", sampling=sampling).load(tmp_path / "learnt")
    work = tmp_path / "work"
    rows = method.sample(25, seed=0, work_dir=work)
    report = method.report
    runs = ("draft_trial", "draft", "trial", "generation")
    assert [report[run]["kept"] for run in runs] == [20, 30, 20, 25]
    assert report["draft"]["turned_down"] > 5 < report["generation"]["turned_down"]
    assert report["draft_rejection"] != report["rejection"]
    assert report["tokens_sample"] == sum(report[run]["new_tokens"] + report[run]["prompt_tokens"] for run in runs)
    assert method.prompt_rows.shape == (25, 0)
    for left in ("trial", "draft", "draft/trial"):
        for shard in [*work.glob("*.json"), *(work / left).glob("*.json")]:
            shard.unlink()
        method._draft = None
        pd.testing.assert_frame_equal(method.sample(25, seed=0, work_dir=work), rows)
    assert method.rows_written(25) == 20 + 60 + 20 + 50


def test_conditions_hold_under_generated_prompts(generated, easy_table):
    """Oracle: the cells that were given."""
    method, _ = generated
    wanted = pd.DataFrame({"label": ["yes", "no"] * 6})
    rows = method.sample(12, seed=0, conditions=wanted)
    assert rows["label"].tolist() == wanted["label"].tolist()
    assert method.prompt_rows.shape == (12, 0)
