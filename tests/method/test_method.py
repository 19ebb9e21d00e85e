"""HARMONIC as a whole, on a table of every kind. Oracles: the schema, repetition bit for bit, and the published prompts."""

import dataclasses
import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch

from harmonic import codec
from harmonic.codec import RowTexts
from harmonic.errors import BadInput, SamplingFailed
from harmonic.keys import fit_key, score_key
from harmonic.lm.decoding import Decoding
from harmonic.method import Harmonic, prompts, rejection, scale
from harmonic.method.sampling import Sampling
from harmonic.table import Split, coerce, load_table, schema_of
from harmonic.table.schema import Schema, attach

PLAIN = {"k": 3, "order": "fixed", "examples": "neighbours", "sampling": Sampling("neighbours")}


def prepared(table, **settings):
    return Harmonic(**{**PLAIN, **settings}).prepare(table, seed=0)


def texts(prompts):
    return ["".join(prompt) for prompt in prompts]


@pytest.fixture(scope="module")
def rows(learnt):
    """As many rows as the table has, and one more."""
    return learnt.sample(41, seed=0)


def test_rows_are_exactly_as_many_as_asked(learnt, rows):
    """Oracle: the number; more and fewer than the table has, and than a batch holds."""
    assert len(rows) == 41
    for n in (1, 200):
        assert len(learnt.sample(n, seed=1)) == n


def test_rows_look_like_the_table(easy_table, easy_schema, rows):
    """Oracle: train's own columns, storage types and schema."""
    assert list(rows.columns) == list(easy_table.columns)
    assert rows.dtypes.to_dict() == easy_table.dtypes.to_dict()
    assert schema_of(rows) == easy_schema
    assert isinstance(rows.index, pd.RangeIndex)


def test_every_cell_is_valid(easy_schema, rows):
    """Oracle: each column's own reader, which knows its kind, places, range and categories; and it is no constant."""
    for column in easy_schema.columns:
        for text in column.write(rows[column.name]):
            column.read(text)
    pd.testing.assert_frame_equal(coerce(rows, easy_schema, "rows"), rows)
    assert rows["label"].nunique() == 2
    assert rows["size"].nunique() > 5


def test_rows_are_learnt_from_the_table(easy_table, rows):
    """Oracle: the table's regularities, which random valid rows break: two dates of 2 300, one note, 8 rates of 1 000."""
    assert rows["day"].isin(easy_table["day"]).mean() > 0.2
    assert set(rows["note"].dropna()) == {"n"}
    assert rows["rate"].dropna().isin(easy_table["rate"].dropna()).mean() > 0.3


def test_the_same_seed_samples_the_same_rows(learnt, rows):
    """Oracle: repetition, whatever was sampled before and whatever the global random states."""
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    learnt.sample(5, seed=9)
    pd.testing.assert_frame_equal(learnt.sample(41, seed=0), rows)
    assert not learnt.sample(41, seed=1).equals(rows)


def test_the_same_seed_learns_the_same_weights(quick_harmonic, easy_table):
    """Oracle: repetition, bit for bit, whatever the global random states; another seed learns others."""
    learnt = []
    for noise, seed in ((1, 0), (2, 0), (1, 1)):
        np.random.seed(noise)  # noqa: NPY002
        torch.manual_seed(noise)
        model = quick_harmonic(steps=6).fit(easy_table, seed=seed).model
        learnt.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    assert torch.equal(learnt[0], learnt[1])
    assert not torch.equal(learnt[0], learnt[2])


def test_saved_and_loaded_it_samples_the_same_rows(learnt, rows, quick_harmonic, tmp_path):
    """Oracle: the rows of the object that was saved, bit for bit; and its report."""
    learnt.save(tmp_path)
    restored = quick_harmonic().load(tmp_path)
    assert {**restored.report, "generation": 0} == {**learnt.report, "generation": 0}
    pd.testing.assert_frame_equal(restored.sample(41, seed=0), rows)
    pd.testing.assert_frame_equal(restored.train, learnt.train)
    assert schema_of(restored.train) == schema_of(learnt.train)


def test_what_is_reported(learnt, easy_table):
    """Oracle: the table, the model and the plan: 40 instructions in batches of 8, 220 steps."""
    learnt.sample(10, seed=0)
    report = learnt.report
    assert (report["rows"], report["instructions"]) == (40, 40)
    assert (report["batches"], report["epochs"]) == (220, 44)
    assert report["parameters"] == report["trained_parameters"] == sum(p.numel() for p in learnt.model.parameters())
    assert report["loss_last"] < report["losses"][0] / 4
    assert len(report["losses"]) == 50
    assert report["generation"]["kept"] == 10
    json.dumps(report)


def test_a_fit_that_failed_leaves_nothing_fitted(easy_table, quick_harmonic):
    """Oracle: the rule: rows of neither the table before nor of half of the new one."""
    method = quick_harmonic(steps=2).fit(easy_table, seed=0)
    with pytest.raises(BadInput, match="one value"):
        method.fit(pd.DataFrame({"x": [1, 1, 1], "y": ["a", "b", "a"]}), seed=0)
    with pytest.raises(BadInput, match="must be fitted or loaded"):
        method.sample(1, seed=0)


def test_the_callers_frame_is_the_callers(easy_table, quick_harmonic, tmp_path):
    """Oracle: the table as it was fitted."""
    mine = easy_table.copy()
    method = quick_harmonic(steps=2).fit(mine, seed=0)
    mine.iloc[:, 0] = mine.iloc[0, 0]
    method.save(tmp_path)
    pd.testing.assert_frame_equal(load_table(tmp_path), easy_table)


def test_a_model_is_loaded_under_the_settings_it_was_saved_with(easy_table, quick_harmonic, tmp_path):
    """Oracle: the rule for what a user can cause."""
    quick_harmonic(steps=2).fit(easy_table, seed=0).save(tmp_path)
    with pytest.raises(BadInput, match="was saved with order='shuffled', but order is 'fixed'"):
        quick_harmonic(order="fixed").load(tmp_path)
    with pytest.raises(BadInput, match=r"has no method\.json"):
        quick_harmonic().load(tmp_path / "nowhere")


def test_a_plain_frame_is_a_table(easy_table, quick_harmonic):
    """Oracle: the kinds that a person would see in the same values."""
    plain = pd.DataFrame(easy_table.to_dict("list"))[["size", "member", "day", "label"]]
    harmonic = quick_harmonic(k=2).prepare(plain, seed=0)
    assert [column.kind for column in harmonic.schema.columns] == ["integer", "boolean", "datetime", "category"]
    assert harmonic.schema.target == "label"


@pytest.mark.parametrize(
    "stored",
    [
        lambda table: table.assign(day=pd.to_datetime(table["day"])),
        lambda table: table.astype({"size": str}),
        lambda table: table.astype({"rate": "float32", "size": "Int16", "label": "category"}),
        lambda table: table.convert_dtypes(dtype_backend="pyarrow"),
    ],
    ids=["moments", "texts", "small", "arrow"],
)
def test_rows_are_learnt_as_their_schema_stores_them(easy_table, quick_harmonic, stored):
    """Oracle: the table before it was stored otherwise: the texts of its rows."""
    expected = quick_harmonic().prepare(easy_table, seed=0)
    found = quick_harmonic().prepare(attach(stored(easy_table), easy_table.attrs["schema"]), seed=0)
    assert list(map(list, found.cells)) == list(map(list, expected.cells))
    pd.testing.assert_frame_equal(found.train, expected.train)


def test_global_randomness_is_left_alone(easy_table, quick_harmonic):
    """Oracle: torch's generator before the fit."""
    torch.manual_seed(7)
    before = torch.get_rng_state()
    quick_harmonic(steps=2).fit(easy_table, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("k", [8, 9])
def test_k_must_be_smaller_than_the_table(easy_table, one_sentence, k):
    """Oracle: a row's neighbours are other rows; 8 rows have 7 of them."""
    with pytest.raises(BadInput) as error:
        prepared(attach(easy_table.head(8), easy_table.attrs["schema"]), k=k)
    one_sentence(error.value, "method.k", "7", str(k))
    assert len(prepared(attach(easy_table.head(8), easy_table.attrs["schema"]), k=7).groups) == 8


def test_fewer_instructions_on_request(easy_table):
    """Oracle: invariant: a subset of all groups, drawn by the seed, in the table's order."""
    whole = prepared(easy_table)
    every = texts(item.prompt for item in whole.instructions.of_epoch(0))
    some = prepared(easy_table, max_instructions=7)
    chosen = texts(item.prompt for item in some.instructions.of_epoch(0))
    assert len(chosen) == 7
    assert set(chosen) <= set(every)
    assert list(some.groups.anchors) == sorted(some.groups.anchors)
    again, other = (Harmonic(k=3, max_instructions=7).prepare(easy_table, seed=seed).groups.anchors for seed in (0, 1))
    assert np.array_equal(again, some.groups.anchors)
    assert not np.array_equal(other, some.groups.anchors)
    assert len(prepared(easy_table, max_instructions=41).groups) == 40


def test_an_instruction_shows_the_neighbours_and_answers_with_the_row(easy_table):
    """Oracle: the rows written by the standard library's JSON, put together by hand from the groups."""
    harmonic = prepared(easy_table)
    written = [
        json.dumps(dict(zip(easy_table.columns, row, strict=True)))
        for row in zip(*(schema_of(easy_table)[name].write(easy_table[name]) for name in easy_table), strict=True)
    ]
    target = list(easy_table.columns).index("label")
    assert target == 2  # in the middle: order=fixed keeps the table's order, as the published code does
    for number, item in enumerate(harmonic.instructions.of_epoch(0)):
        one, two, three = (written[row] for row in harmonic.groups.neighbours[number])
        shown = f"\nExample one: {one}\nExample two: {two}\nExample three: {three}\nGenerate one sample: "
        assert "".join(item.prompt).endswith(f"based on these 3 examples.{shown}")
        assert "".join(item.answer) == written[harmonic.groups.anchors[number]]
        assert harmonic.groups.anchors[number] not in harmonic.groups.neighbours[number]


def test_shuffled_columns_are_shared_within_an_instruction_and_new_in_each(easy_table):
    """Oracle: invariant: one order per instruction and epoch, the target last, and the same rows as in fixed order."""
    harmonic = prepared(easy_table, order="shuffled")
    fixed = list(prepared(easy_table).instructions.of_epoch(0))
    orders = []
    for epoch in (0, 1, 0):
        orders.append([])
        for number, item in enumerate(harmonic.instructions.of_epoch(0, epoch)):
            answer = json.loads("".join(item.answer))
            examples = [json.loads(line.partition(": ")[2]) for line in "".join(item.prompt).splitlines()[1:-1]]
            assert {tuple(row) for row in examples} == {tuple(answer)}
            assert list(answer)[-1] == "label"
            assert answer == json.loads("".join(fixed[number].answer))
            orders[-1].append(tuple(answer))
    assert orders[0] == orders[2]
    assert orders[0] != orders[1]
    assert len(set(orders[0])) > 20


def test_each_kept_group_prompts_equally_often(easy_table):
    """Oracle: counts: in three laps each training prompt three times, in another order each lap; no answer is shown."""
    harmonic = prepared(easy_table)
    trained = texts(item.prompt for item in harmonic.instructions.of_epoch(0))
    shown = texts(harmonic.sampling_prompts(120, seed=5))
    assert Counter(shown) == Counter(trained * 3)
    laps = [shown[:40], shown[40:80], shown[80:]]
    assert all(Counter(lap) == Counter(trained) for lap in laps)
    assert laps[0] != laps[1] != laps[2]


def test_random_prompts_are_the_published_ones(easy_table):
    """Oracle: the published sampler's own line, `train.sample(n=5, random_state=416 + i)`."""
    harmonic = prepared(easy_table, k=5, sampling=Sampling(prompts="random"))
    for number, prompt in enumerate(harmonic.sampling_prompts(25, seed=3)):
        rows = easy_table.sample(n=5, random_state=prompts.PUBLISHED_SEED + number)
        written = ["".join(harmonic.codec.row(cells)) for cells in harmonic.codec.cells(rows)]
        shown = [line.partition(": ")[2] for line in "".join(prompt).splitlines() if line.startswith("Example")]
        assert shown == written


@pytest.mark.parametrize("prompts", ["neighbours", "random"])
def test_each_row_comes_with_the_rows_its_prompt_showed(learnt, easy_table, quick_harmonic, tmp_path, prompts):
    """Oracle: every try written again, each with its prompt's text read back; tries that were refused leave no trace."""
    learnt.save(tmp_path)
    decoding = Decoding(form="given", temperature=0.7)
    method = quick_harmonic(sampling=Sampling(prompts, decoding=decoding)).load(tmp_path)
    assert method.prompt_rows is None
    rows = method.sample(60, seed=3)
    tries = range(method.report["generation"]["tried"])
    assert len(tries) > 60
    written = method.writer(decoding, 3).write([method.prompt(number, 3) for number in tries], tries)
    texts = [column.write(easy_table[column.name]) for column in method.schema.columns]
    known = [dict(zip(easy_table.columns, row, strict=True)) for row in zip(*texts, strict=True)]
    kept = []
    for number, row in zip(tries, written, strict=True):
        try:
            kept.append((method.codec.read(row.text), "".join(method.prompt(number, 3).text)))
        except ValueError:
            continue
    for place, (values, prompt) in enumerate(kept[:60]):
        assert values["size"] == rows["size"].iloc[place]
        shown = [json.loads(line.partition(": ")[2]) for line in prompt.splitlines() if line.startswith("Example")]
        assert shown == [known[row] for row in method.prompt_rows[place]]


def test_rows_are_turned_down_that_a_classifier_tells_from_trains(learnt, quick_harmonic, easy_table, tmp_path, monkeypatch):
    """Oracle: the tries that were kept, written again; the same from the shards of an earlier run."""
    monkeypatch.setattr(rejection, "LEAST_IN_LEAF", 1.0)
    learnt.save(tmp_path)
    decoding = Decoding(temperature=0.7)
    method = quick_harmonic(sampling=Sampling("neighbours", keep=0.4, trial_rows=30, decoding=decoding)).load(tmp_path)
    rows = method.sample(50, seed=3, work_dir=tmp_path / "work")
    generation, trial = method.report["generation"], method.report["trial"]
    assert generation["kept"] == len(rows) == 50
    assert generation["turned_down"] > 20
    assert (trial["kept"], method.report["rejection"]["written"]) == (30, 30)
    told = [part[kind] for part in (generation, trial) for kind in ("new_tokens", "prompt_tokens")]
    assert method.report["tokens_sample"] == sum(told)
    tries = range(generation["tried"])
    with torch.inference_mode():
        written = method.writer(decoding, 3).write([method.prompt(number, 3) for number in tries], tries)
    every = coerce(pd.DataFrame([method.codec.read(row.text) for row in written]), method.schema, "tries")
    shown = [method.shown_rows(number, 3).tolist() for number in tries]
    left = iter(tries)
    for place in range(50):  # each is one of the tries behind the one before it
        row, its_shown = rows.iloc[place], method.prompt_rows[place].tolist()
        assert any(shown[number] == its_shown and every.iloc[number].equals(row) for number in left)
    again = method.sample(50, seed=3, work_dir=tmp_path / "work")
    pd.testing.assert_frame_equal(again, rows)
    assert method.rows_written(50) == 30 + 125


def test_too_few_rows_to_judge_by(easy_table, one_sentence):
    """Oracle: the rule for what a user can cause; it is said before anything is fine-tuned."""
    with pytest.raises(BadInput, match=r"method\.sampling\.keep") as caught:
        Harmonic(sampling=Sampling("neighbours", keep=0.5)).prepare(easy_table.head(4), seed=0)
    one_sentence(caught.value)


@pytest.mark.parametrize("keep", [0.0, 1.0, 1, "half"])
def test_a_share_that_is_none(one_sentence, keep):
    """Oracle: one sentence that names the option."""
    with pytest.raises(BadInput, match=r"method\.sampling\.keep") as caught:
        Sampling(keep=keep)
    one_sentence(caught.value)


def test_a_share_that_the_tries_cannot_make_up_for(one_sentence):
    """Oracle: twice as many tries as a row takes on average; one sentence that says how many those are."""
    with pytest.raises(BadInput, match=r"max_tries=10 .* raise that to 20\.") as caught:
        Sampling(keep=0.1)
    one_sentence(caught.value)
    assert Sampling(keep=0.1, decoding=Decoding(max_tries=20)).keep == 0.1


def test_large_tables_are_written_twice_over(easy_table, monkeypatch):
    """Oracle: by hand: 40 rows of trial for the draft of 40, of which half are kept, and again for the 100."""
    written = {}
    for large in (39, 40):
        monkeypatch.setattr(scale, "LARGE", large)
        for kind in ("crossovers", "neighbours"):
            written[large, kind] = Harmonic(examples=kind).prepare(easy_table, seed=0).rows_written(100)
    assert written == {
        (39, "crossovers"): 40 + 80 + 40 + 200,
        (40, "crossovers"): 40 + 100,
        (39, "neighbours"): 40 + 100,
        (40, "neighbours"): 40 + 100,
    }


def test_which_calls_tell_what_was_shown(learnt, easy_table):
    """Oracle: the contract: under conditions each row has a prompt; a row that was whole before imputing had none."""
    learnt.sample(7, seed=0, conditions=easy_table[["label"]].head(7))
    assert learnt.prompt_rows.shape == (7, 2)
    labels = easy_table["label"].to_numpy()
    assert (labels[learnt.prompt_rows] == labels[:7, None]).all()
    learnt.impute(easy_table.head(4).assign(rate=[None, 1.0, 1.0, 1.0]), seed=0)
    assert learnt.prompt_rows is None


@pytest.mark.parametrize("prompts", ["neighbours", "random"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_the_model_is_prompted_as_configured(learnt, easy_table, prompts, wrapped):
    """Oracle: the published dialogue form, and `sampling_prompts`, which shows the same without it."""
    harmonic = prepared(easy_table, sampling=Sampling(prompts=prompts, wrapped=wrapped))
    for number, bare in enumerate(texts(harmonic.sampling_prompts(5, seed=2))):
        text = "".join(harmonic.prompt(number, 2).text)
        assert text == (f"Human: \n{bare}\n\nAssistant: \n" if wrapped else bare)


def test_a_free_model_that_learnt_the_format_writes_rows(learnt, quick_harmonic, easy_schema, tmp_path):
    """Oracle: the schema, and repetition; the whole row is the model's own."""
    learnt.save(tmp_path)
    sampling = Sampling(decoding=Decoding(form="free", temperature=0.5, max_tries=200))
    free = quick_harmonic(sampling=sampling).load(tmp_path)
    rows = free.sample(5, seed=0)
    pd.testing.assert_frame_equal(free.sample(5, seed=0), rows)
    assert len(rows) == 5
    pd.testing.assert_frame_equal(coerce(rows, easy_schema, "rows"), rows)


def test_a_model_that_learnt_nothing_says_so(quick_harmonic, easy_table):
    """Oracle: the contract: exactly n rows or an error, never a shorter table."""
    with pytest.raises(SamplingFailed, match="rows were valid after"):
        sampling = Sampling(decoding=Decoding(form="given"))
        quick_harmonic(steps=1, sampling=sampling).fit(easy_table, seed=0).sample(40, seed=0)


def test_under_masks_a_model_that_learnt_nothing_writes_valid_rows(quick_harmonic, easy_table, easy_schema):
    """Oracle: the schema; and a record that says what the masks did."""
    harmonic = quick_harmonic(steps=1, sampling=Sampling()).fit(easy_table, seed=0)
    rows = harmonic.sample(40, seed=0)
    pd.testing.assert_frame_equal(coerce(rows, easy_schema, "rows"), rows)
    assert harmonic.report["generation"]["tried"] == len(rows) == 40
    assert list(harmonic.report["masks"]) == easy_schema.names
    assert 0 < harmonic.report["masks"]["size"]["validity_before"] < 0.5


def test_regression(quick_harmonic, easy_table):
    """Oracle: groups know no classes: the rows nearest in all columns, the target among them."""
    plain = pd.DataFrame(easy_table.to_dict("list"))[["member", "label", "size"]]
    schema = schema_of(plain)
    assert (schema.target, schema.task) == ("size", "regression")
    harmonic = quick_harmonic(steps=2).fit(attach(plain, schema), seed=0)
    assert "the size column is a regression label" in texts(harmonic.sampling_prompts(1, 0))[0]
    same = plain.loc[harmonic.groups.neighbours.ravel(), ["member", "label"]].to_numpy()
    assert (same == plain.loc[np.repeat(harmonic.groups.anchors, 2), ["member", "label"]].to_numpy()).all()


def test_a_category_that_looks_like_the_format(quick_harmonic):
    """Oracle: the codec. Values that hold quotes, braces and keys of other columns are neither cut nor refused."""
    values = ['D "E"', "}", 'a", "label": "no', "back\\slash"]
    table = pd.DataFrame({"odd": values * 10, "label": ["no", "yes"] * 20})
    harmonic = quick_harmonic(steps=300).fit(table, seed=0)
    rows = harmonic.sample(60, seed=0)
    assert set(rows["odd"]) == set(values)
    assert isinstance(harmonic.schema, Schema)


def test_a_local_model_with_other_weights_is_another_input(tmp_path):
    """Oracle: the rule of the cache: a changed file under the same path is never taken for the old one."""
    (tmp_path / "model.safetensors").write_bytes(b"one")
    method = Harmonic(str(tmp_path))
    before = method.digest_inputs()
    assert list(before) == ["model.safetensors"]
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert method.digest_inputs() != before
    assert Harmonic("scratch").digest_inputs() == {}


@pytest.mark.parametrize("style", ["canonical", "published"])
def test_texts_made_row_by_row_are_those_of_the_whole_table(easy_table, mixed_kinds, style, monkeypatch):
    """Oracle: the eager texts, bit for bit, asked for in any way; and the lengths counted from them."""
    monkeypatch.setattr(codec, "TEXT_ROWS", 7)
    monkeypatch.setattr(codec, "KEPT_ROWS", 3)
    for table in (easy_table, mixed_kinds):
        writer = codec.RowCodec(schema_of(table), style)
        whole, made = writer.cells(table), RowTexts(writer, table)
        assert [list(made[row]) for row in np.random.default_rng(0).permutation(len(table))] == [
            whole[row] for row in np.random.default_rng(0).permutation(len(table))
        ]
        assert list(map(list, made)) == whole == list(map(list, made[:]))
        assert made.lengths.tolist() == [[len(text) for text in row] for row in whole]
        with pytest.raises(IndexError):
            made[len(table)]


@pytest.fixture
def mixed_kinds():
    """What `easy_table` lacks: dates stored as such, negative zero, numbers as categories, texts to be escaped."""
    return pd.DataFrame(
        {
            "day": pd.to_datetime(["2024-02-29", None, "2023-01-01", "2024-02-29"] * 3),
            "zero": [0.0, -0.0, 1.25, np.nan] * 3,
            "whole": [1.0, 2.0, np.nan, 3.0] * 3,
            "odd": ['a "quote"', "back\\slash", "line\nfeed", None] * 3,
            "sure": [True, False, None, True] * 3,
            "y": [0, 1, 1, 2] * 3,
        }
    )


def test_a_large_table_draws_what_the_run_can_use_before_it_looks_for_neighbours(easy_table, quick_harmonic, monkeypatch):
    """Oracle: the groups of the same rows among all groups, and the number: steps x rows of a batch, or fewer on request."""
    backbone = quick_harmonic().backbone
    capped = dataclasses.replace(backbone, training=dataclasses.replace(backbone.training, min_steps=0, max_steps=3))
    whole = prepared(easy_table, label_rule="same_class").groups
    assert len(prepared(easy_table, model=capped).groups) == 40
    monkeypatch.setattr(scale, "HUGE", 39)
    for settings, number in (
        ({"least_read": None}, 24),
        ({"max_instructions": 7}, 7),
        ({"max_instructions": 30}, 30),
        ({"max_instructions": 30, "least_read": None}, 24),
    ):
        groups = prepared(easy_table, model=capped, **settings).groups
        assert len(groups) == number
        np.testing.assert_array_equal(groups.neighbours, whole.neighbours[groups.anchors])
    assert len(prepared(easy_table, model=capped, label_rule="agreement").groups) == len(
        prepared(easy_table, label_rule="agreement").groups
    )
    assert len(prepared(easy_table, model=backbone).groups) == 40


@pytest.mark.parametrize(("least_read", "steps"), [(None, 3), (0.0, 3), (0.7, 4), (1.0, 5), (50.0, 9)])
def test_so_much_of_a_table_is_read(easy_table, quick_harmonic, least_read, steps):
    """Oracle: by hand: 40 rows in batches of 8: .7 of them are four batches, all are five; at most three times three."""
    backbone = quick_harmonic().backbone
    training = dataclasses.replace(backbone.training, epochs=9, min_steps=0, max_steps=3, batch_size=8)
    model = prepared(easy_table, model=dataclasses.replace(backbone, training=training), least_read=least_read)
    assert model.training == dataclasses.replace(training, max_steps=steps)
    assert len(list(model.instructions.batches(model.training, seed=0))) == steps
    endless = dataclasses.replace(backbone, training=dataclasses.replace(training, max_steps=None))
    assert prepared(easy_table, model=endless, least_read=least_read).training.max_steps is None
    smoke = Harmonic(model.backbone, least_read=least_read, budget="smoke").prepare(easy_table, seed=0)
    assert smoke.training.max_steps == 10


def test_the_limits_of_a_large_table_come_from_its_longest_rows(easy_table, quick_harmonic, monkeypatch):
    """Oracle: the limits from all rows: the one with the longest value is looked at wherever it stands."""
    sizes = np.where(np.arange(40) == 17, 123456789, easy_table["size"])
    table = attach(easy_table.assign(size=sizes), schema_of(easy_table))
    every = quick_harmonic().start(table, seed=0).limits
    monkeypatch.setattr(scale, "HUGE", 3)
    assert quick_harmonic().start(table, seed=0).limits == every


def test_when_checkpoints_are_saved_changes_no_score(easy_table, easy_schema):
    """Oracle: the key; another precision, and another option of the metric's own, have another."""
    trainer = {"_target_": "harmonic.training.Compute", "precision": "auto", "checkpoint_minutes": 2.0}
    metric = {"_target_": "harmonic.metrics.llm_utility.LanguageModelEfficacy", "compute": trainer, "max_rows": 9}
    keys = [
        score_key({"seed": 0}, changed, None, "split", "rows", "fit")
        for changed in (
            metric,
            {**metric, "compute": {**trainer, "checkpoint_minutes": 9.0}},
            {**metric, "compute": {**trainer, "precision": "32-true"}},
            {**metric, "max_rows": 8},
        )
    ]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_an_option_that_came_later_changes_no_key(easy_table, easy_schema):
    """Oracle: the key of the configuration as it was before; a search that is asked for has another."""
    split = Split("easy", easy_schema, easy_table, easy_table, easy_table)
    before = {"_target_": "harmonic.method.Harmonic", "k": 5, "distance": "mixed"}
    keys = [
        fit_key({"method": {**before, **later}, "seed": 0}, Harmonic("scratch"), split)
        for later in (
            {},
            {"neighbour_search": None, "least_read": None},
            {"neighbour_search": "exact"},
            {"neighbour_search": "approximate"},
            {"least_read": 0.75},
        )
    ]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4
