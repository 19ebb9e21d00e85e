"""LLM efficacy. Oracles: one unpadded pass per row, known relations, floors, repetition, and what the model was shown."""

import logging
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from harmonic.codec import ASSISTANT, HUMAN
from harmonic.errors import BadInput
from harmonic.lm.batches import Training
from harmonic.lm.load import BASE, Scratch
from harmonic.lm.segments import SegmentEncoder
from harmonic.metrics import llm_utility
from harmonic.metrics.llm_utility import (
    RECIPE,
    LanguageModelEfficacy,
    answer_probabilities,
    greedy_answers,
    plain_questions,
    readable_rows,
)
from harmonic.table import Split, coerce
from harmonic.table.infer import infer_schema
from harmonic.training import Compute

CPU = Compute("cpu", "32-true")
TINY = Scratch(hidden_size=32, layers=2, heads=2, mlp_size=64, vocab_size=300, max_length=512)


def recipe(steps=60):
    return Training(min_steps=steps, max_steps=steps, batch_size=16, learning_rate=1e-2, warmup=0.1, max_length=512)


def metric(steps=60, model=TINY, **options):
    return LanguageModelEfficacy(model, CPU, recipe(steps), **options)


def animals(n, seed, task):
    """A kind decides the target but for one row in twenty; another category, a code, a number and a date do not."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, n)
    noise = rng.random(n) < 0.05
    target = {
        "binary": np.where((kind == 1) ^ noise, "yes", "no"),
        "multiclass": np.where(noise, (kind + 1) % 3, kind),
        "regression": 10 * kind + 20 + rng.integers(0, 3, n),
    }[task]
    return pd.DataFrame(
        {
            "kind": np.array(["cat", "dog", "owl"])[kind],
            "colour": rng.choice(["black", "white"], n),
            "code": rng.integers(1, 4, n),
            "age": rng.integers(0, 20, n),
            "target": target,
        }
    )


def make_split(task):
    tables = [animals(n, seed, task) for n, seed in ((160, 0), (30, 1), (90, 2))]
    schema = infer_schema(tables[0], task=task, columns={"code": "category", "age": "integer"})
    return Split("made", schema, *(coerce(table, schema, "made") for table in tables))


@pytest.fixture(scope="module")
def binary():
    return make_split("binary")


@pytest.fixture(scope="module")
def numbers():
    return make_split("regression")


@pytest.fixture
def quick(monkeypatch):
    """A metric that trains nothing: what the model would be shown is kept, in (prompt, answer) pairs and prompts."""
    shown = {}

    def learn(model, encoder, batches, instruct, training, compute, *, seed):
        rows = sorted(row for epoch, batch in batches if epoch == 0 for row in batch.tolist())
        shown["training"], shown["rows"] = training, [instruct(0, row) for row in rows]

    def probabilities(model, encoder, prompts, answers, compute):
        shown["asked"], shown["choices"] = prompts, answers
        return np.full((len(prompts), len(answers)), 1 / len(answers))

    monkeypatch.setattr(llm_utility, "fine_tune", learn)
    monkeypatch.setattr(llm_utility, "answer_probabilities", probabilities)
    return shown


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_related_rows_beat_rows_with_shuffled_targets(task):
    """Oracle: the relation that was put there: nearly all of it is learnt, and none of it from shuffled targets."""
    split = make_split(task)
    shuffled = split.train.assign(target=np.random.default_rng(0).permutation(split.train["target"]))
    real, noise = (metric(120)(split, rows, seed=0) for rows in (split.train, shuffled))
    assert real["lle_mcc"] > 0.75
    assert real["lle_auc"] > 0.85
    assert real["lle_f1_weighted"] > max(real["lle_majority_f1_weighted"], noise["lle_f1_weighted"]) + 0.2
    assert abs(noise["lle_mcc"]) < 0.3
    assert set(real) == {f"lle_{name}" for name in ("f1_weighted", "f1_macro", "mcc", "auc", "majority_f1_weighted")}


def test_a_table_of_the_majority_alone_scores_as_the_majority(binary, caplog):
    """Oracle: the floor that stands beside the score, and an MCC of 0; the log says why."""
    majority = binary.train["target"].mode()[0]
    rows = binary.train[binary.train["target"] == majority].reset_index(drop=True)
    with caplog.at_level(logging.WARNING):
        scores = metric(40)(binary, rows, seed=0)
    assert scores["lle_f1_weighted"] == scores["lle_majority_f1_weighted"]
    assert scores["lle_mcc"] == 0.0
    share = (binary.test["target"] == majority).mean()
    assert scores["lle_f1_weighted"] == pytest.approx(share * 2 * share / (1 + share))
    assert "one class" in caplog.text


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_probabilities_by_hand(tiny_model, easy_encoder, easy_instructions, family):
    """Oracle: one pass without padding for each prompt and answer, the end of the sequence counted in, normalised."""
    model = tiny_model(family, len(easy_encoder.tokenizer))
    with torch.no_grad():  # else random weights hardly look at what stands before
        for weights in model.parameters():
            weights.mul_(6 if weights.dim() == 2 else 1)
    prompts = [item.prompt[place * 3 :] for place, item in enumerate(easy_instructions[:4])]
    answers = ["1", "12", "yes"]
    wanted = np.zeros((4, 3))
    for row, prompt in enumerate(prompts):
        for place, answer in enumerate(answers):
            start = len(easy_encoder.encode(prompt))
            ids = [*easy_encoder.encode(prompt), *easy_encoder.encode([answer]), easy_encoder.tokenizer.eos_token_id]
            with torch.inference_mode():
                logits = model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
            wanted[row, place] = np.exp(sum(float(logits[at - 1, ids[at]]) for at in range(start, len(ids))))
    found = answer_probabilities(model, easy_encoder, prompts, answers, CPU)
    np.testing.assert_allclose(found, wanted / wanted.sum(axis=1, keepdims=True), atol=1e-3)
    assert np.ptp(found, axis=0).max() > 0.01


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_greedy_answers_by_hand(tiny_model, easy_encoder, easy_instructions, family):
    """Oracle: the likeliest token, one pass without padding at a time, until the end of the sequence or eight tokens."""
    model = tiny_model(family, len(easy_encoder.tokenizer))
    prompts = [item.prompt[place * 3 :] for place, item in enumerate(easy_instructions[:4])]
    wanted = []
    for prompt in prompts:
        ids, written = easy_encoder.encode(prompt), []
        while len(written) < 8 and easy_encoder.tokenizer.eos_token_id not in written:
            with torch.inference_mode():
                written.append(int(model(input_ids=torch.tensor([[*ids, *written]])).logits[0, -1].argmax()))
        wanted.append(easy_encoder.decode_value(written))
    assert greedy_answers(model, easy_encoder, prompts, 8, CPU) == wanted
    assert all(wanted)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_the_same_seed_gives_the_same_bits(task):
    """Oracle: repetition; another seed is another model; the inputs and all global randomness stay as they were."""
    split = make_split(task)
    before = split.train.copy(deep=True)
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    scores = [metric(8, max_test_rows=40)(split, split.train, seed=seed) for seed in (0, 0, 1)]
    assert scores[0] == scores[1] != scores[2]
    pd.testing.assert_frame_equal(split.train, before)
    assert random.getstate() == states[0]
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])


def test_training_and_test_ask_the_same(binary, quick):
    """Oracle: the test rows as synthetic: the very prompts, each in the dialogue form, and the classes as answers."""
    metric(8)(binary, binary.test, seed=0)
    assert [item.prompt for item in quick["rows"]] == quick["asked"]
    assert [item.answer for item in quick["rows"]] == [[label] for label in binary.test["target"]]
    assert quick["choices"] == ("no", "yes")
    text = "".join(quick["asked"][0])
    row = binary.test.iloc[0]
    assert text == (
        f"{HUMAN}Predict the target of one of the rows. Respond with only either 'no' or 'yes'. \nText: The state of kind "
        f"is {row['kind']}, The state of colour is {row['colour']}, The state of code is {row['code']}, The state of age is "
        f"{row['age']}.\nAnswer: {ASSISTANT}"
    )


def test_the_task_in_words(mixed_frame):
    """Oracle: the words of the questions in pre-training: all classes in quotes, the last behind "or"; a number without."""
    sentences = []
    for task, columns in (("multiclass", {}), ("regression", {})):
        frame = mixed_frame[["member", "grade" if task == "multiclass" else "count"]].dropna()
        schema = infer_schema(frame, task=task, columns=columns, description="club members")
        sentences.append(plain_questions(schema).sentence)
    assert sentences == [
        "Predict the grade of one of the club members. Respond with only either 'A', 'B, or C' or 'D \"E\"'. \nText: ",
        "Predict the count of one of the club members. Respond with only a number. \nText: ",
    ]


def test_the_shipped_model_reads_words_and_classes_as_one_token_each(binary):
    """Oracle: its slots: the sentence, each key and each class take one token, as most did in pre-training."""
    questions = plain_questions(binary.schema)
    _, tokenizer = BASE.create([], questions.segments(), 0)
    encoder = SegmentEncoder(tokenizer)
    cells = questions.codec.cells(binary.test)[0]
    prompt = questions.prompt(cells)
    assert [len(encoder.encode([segment])) for segment in (*prompt, "yes")] == [
        1 if segment != cells[3] else len(cells[3]) for segment in (*prompt, "yes")
    ]


def test_the_shipped_model_end_to_end(binary):
    """Oracle: the scores' ranges, and its recipe in the code: the one of this metric, cut to three steps here."""
    short = LanguageModelEfficacy(training=Training(max_steps=3, batch_size=8), max_test_rows=20)
    scores = short(binary, binary.train, seed=0)
    assert 0 <= scores["lle_auc"] <= 1
    assert 0 < scores["lle_majority_f1_weighted"] < 1


def test_each_model_has_its_recipe(binary, quick):
    """Oracle: the docstring: the metric's own for model=base, a model's own for any other, and what is given before both."""
    given = Training(epochs=2, max_length=300)
    for model, training, wanted in (("base", None, RECIPE), (TINY, None, TINY.training), ("base", given, given)):
        LanguageModelEfficacy(model, CPU, training)(binary, binary.train, seed=0)
        assert quick["training"].learning_rate == wanted.learning_rate
        assert quick["training"].epochs == wanted.epochs
        assert quick["training"].max_length == min(wanted.max_length, 512 if model is TINY else 4096)


def test_numbers_by_hand(numbers, monkeypatch):
    """Oracle: R² and RMSE by hand: one answer right, one unreadable (the mean), one beyond synthetic's range (its end)."""
    split = Split("made", numbers.schema, numbers.train, numbers.val, numbers.test.iloc[:3].assign(target=[20, 30, 40]))
    monkeypatch.setattr(llm_utility, "fine_tune", lambda *_, **__: None)
    monkeypatch.setattr(llm_utility, "greedy_answers", lambda *_: [" 20", "about 30", "100000"])
    scores = metric(1)(split, numbers.train.iloc[:4].assign(target=[20, 21, 30, 41]), seed=0)
    squares = [0, (30 - 28) ** 2, (40 - 41) ** 2]
    assert scores["lle_unreadable"] == pytest.approx(1 / 3)
    assert scores["lle_rmse"] == pytest.approx(np.sqrt(np.mean(squares)))
    assert scores["lle_r2"] == pytest.approx(1 - sum(squares) / 200)
    assert set(scores) == {"lle_r2", "lle_rmse", "lle_unreadable", "lle_mean_r2"}


def test_a_number_is_learnt(numbers):
    """Oracle: the relation that was put there: the kind leaves a noise of ±1 in a spread of ±10."""
    scores = metric(200)(numbers, numbers.train, seed=0)
    assert scores["lle_r2"] > 0.8 > scores["lle_mean_r2"]
    assert scores["lle_unreadable"] < 0.05


def unseen(rows):
    return rows.assign(kind=rows["kind"].where(rows.index != 3, "newt"))


def unseen_code(rows):
    return rows.assign(code=rows["code"].where(rows.index != 3, 9))


def empty_integer(rows):
    return rows.assign(age=rows["age"].astype(float).where(rows.index != 3))


def word_for_integer(rows):
    return rows.assign(age=rows["age"].astype(object).where(rows.index != 3, "many"))


def no_target(rows):
    return rows.assign(target=rows["target"].where(rows.index != 3))


@pytest.mark.parametrize("spoil", [unseen, unseen_code, empty_integer, word_for_integer, no_target])
def test_an_odd_cell_is_an_empty_one(binary, quick, caplog, spoil):
    """Oracle: the other rows, whose questions stay what they were; the row itself has an empty cell, or no target and no
    question; the log has a note."""
    metric(10)(binary, binary.train, seed=0)
    wanted = [(item.prompt, item.answer) for item in quick["rows"]]
    with caplog.at_level(logging.WARNING):
        metric(10)(binary, spoil(binary.train), seed=0)
    found = [(item.prompt, item.answer) for item in quick["rows"]]
    if spoil is no_target:
        assert found == wanted[:3] + wanted[4:]
    else:
        assert found[:3] + found[4:] == wanted[:3] + wanted[4:]
        assert sum(a != b for a, b in zip(found[3][0], wanted[3][0], strict=True)) == 1
        assert "" in found[3][0]
    assert "1 cells" in caplog.text


def test_a_column_too_many_is_left_out(binary, quick):
    """Oracle: the questions without it."""
    shown = []
    for rows in (binary.train, binary.train.assign(extra=1)):
        metric(10)(binary, rows, seed=0)
        shown.append(quick["rows"])
    assert shown[0] == shown[1]


def test_one_row_is_enough(binary):
    """Oracle: what it says is what every test row is answered; the score is that of its class alone."""
    scores = metric(40)(binary, binary.train[binary.train["target"] == "no"].iloc[:1], seed=0)
    share = (binary.test["target"] == "no").mean()
    assert scores["lle_f1_weighted"] == pytest.approx(share * 2 * share / (1 + share))


def missing(rows):
    return rows.drop(columns="age")


def nothing(rows):
    return rows.iloc[:0]


def no_class(rows):
    return rows.assign(target="perhaps")


def halves(rows):
    return rows.assign(age=rows["age"] + 0.5)


@pytest.mark.parametrize(
    ("spoil", "word"), [(missing, "'age'"), (nothing, "has 0"), (no_class, "'target'"), (halves, "no integer")]
)
def test_what_cannot_be_asked_is_one_sentence(binary, one_sentence, spoil, word):
    """Oracle: house style."""
    with pytest.raises(BadInput) as error:
        metric(1)(binary, spoil(binary.train), seed=0)
    one_sentence(error.value, word)


def test_a_row_that_is_too_long_is_one_sentence(binary, one_sentence):
    """Oracle: a context of 16 tokens in training, and one that the test rows alone exceed."""
    small = Scratch(hidden_size=32, layers=1, heads=2, mlp_size=64, vocab_size=300, max_length=12)
    with pytest.raises(BadInput) as error:
        metric(1, small)(binary, binary.train, seed=0)
    one_sentence(error.value, "max_length")
    long = binary.test.assign(age=10**15)
    wide = Scratch(hidden_size=32, layers=1, heads=2, mlp_size=64, vocab_size=300, max_length=22)
    with pytest.raises(BadInput) as error:
        metric(1, wide)(Split("made", binary.schema, binary.train, binary.val, long), binary.train, seed=0)
    one_sentence(error.value, "context of 22 tokens")


def test_test_rows_are_drawn_with_the_seed(binary, quick, one_sentence):
    """Oracle: the rows asked about: as many as said, all of them test's, others under another seed."""
    asked = []
    for seed in (0, 0, 1):
        metric(1, max_test_rows=25)(binary, binary.train, seed=seed)
        asked.append(quick["asked"])
    assert len(asked[0]) == 25
    assert asked[0] == asked[1] != asked[2]
    metric(1)(binary, binary.train, seed=0)
    assert len(quick["asked"]) == len(binary.test)
    assert all(prompt in quick["asked"] for prompt in asked[0])
    with pytest.raises(BadInput) as error:
        LanguageModelEfficacy(max_test_rows=0)
    one_sentence(error.value, "max_test_rows")


def test_every_kind_has_a_text(mixed_table, caplog):
    """Oracle: the codec's texts of the same table, which hold empty cells, dates and moments; nothing to note."""
    split = Split("mixed", mixed_table.attrs["schema"], mixed_table, mixed_table, mixed_table)
    codec = plain_questions(split.schema).codec
    assert codec.cells(readable_rows(split, mixed_table, "lle")) == codec.cells(mixed_table)
    assert not caplog.text


def test_the_yaml_is_the_code():
    """Oracle: `LanguageModelEfficacy()`, and another model by the package that the YAML gives."""
    with initialize_config_dir(str(Path(__file__).parents[2] / "conf"), version_base="1.3"):
        plain = compose("config", ["metrics=lle"])["metrics"]["lle"]
        other = compose("config", ["metrics=lle", "model@metrics.lle.model=scratch", "trainer=cpu"])["metrics"]["lle"]
    built = instantiate(plain, _convert_="all")
    assert built == LanguageModelEfficacy(BASE, Compute())
    built = instantiate(other, _convert_="all")
    assert built == LanguageModelEfficacy(Scratch(), CPU)


@pytest.mark.paper_data
@pytest.mark.slow
def test_real_rows_of_the_paper(paper_data_dir):
    """Oracle: floors: real train is far above the majority class on diabetes, under the default recipe."""
    folder = paper_data_dir / "diabetes"
    train, val, test = (pd.read_csv(folder / f"{part}.csv") for part in ("train", "val", "test"))
    schema = infer_schema(train)
    split = Split("diabetes", schema, *(coerce(table, schema, "diabetes") for table in (train, val, test)))
    scores = LanguageModelEfficacy()(split, split.train, seed=0)
    assert scores["lle_f1_weighted"] > scores["lle_majority_f1_weighted"] + 0.08
    assert scores["lle_auc"] > 0.7
