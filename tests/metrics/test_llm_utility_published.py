"""Published LLM efficacy. Oracles: the paper's sentences, hand computation, repetition, and what the model was shown."""

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from harmonic.errors import BadInput
from harmonic.lm.batches import Training
from harmonic.lm.load import Lora, Pretrained, Scratch, save, table_tokenizer
from harmonic.metrics import llm_utility, llm_utility_published
from harmonic.metrics.llm_utility_published import MODEL, RECIPE, PublishedLanguageModelEfficacy, Task, read_classes
from harmonic.table import Split, coerce
from harmonic.table.infer import infer_schema
from harmonic.training import Compute

CPU = Compute("cpu", "32-true")
TASK = Task("Is it ill? Respond with only either 'negative' or 'positive'. \nText: ", {"0": "negative", "1": "positive"})
TINY = Scratch(hidden_size=32, layers=1, heads=2, mlp_size=64, vocab_size=300, max_length=512)


def patients(n, seed):
    rng = np.random.default_rng(seed)
    holes = rng.random(n) < 0.2
    return pd.DataFrame(
        {
            "Pregnancies": rng.integers(0, 9, n).astype(float),
            "Ward": np.where(holes, None, rng.choice(["north", "south"], n)),
            "Outcome": rng.integers(0, 2, n),
        }
    )


def make_split(name="made", **options):
    tables = [patients(n, seed) for n, seed in ((40, 0), (10, 1), (12, 2))]
    schema = infer_schema(tables[0], **options)
    return Split(name, schema, *(coerce(table, schema, "made") for table in tables))


@pytest.fixture(scope="module")
def split():
    return make_split()


def metric(model=TINY, steps=2, **options):
    training = Training(max_steps=steps, batch_size=8, max_length=512)
    return PublishedLanguageModelEfficacy(model, CPU, training, **{"tasks": {"made": TASK}, **options})


@pytest.fixture
def local_llama(tiny_model, tmp_path):
    """A folder as the hub would give it, of a model with random weights."""
    tokenizer = table_tokenizer(["negative positive north south"], [], 300)
    save(tiny_model("llama", len(tokenizer)), tokenizer, tmp_path)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("good", 1),
        (" Bad.", 0),
        ("The answer is good, not bad", 1),
        ("goodness", -1),
        ("", -1),
        ("no idea", -1),
        ("very good", 2),
    ],
)
def test_answers_are_read_by_hand(answer, wanted):
    """Oracle: the docstring: the word that comes first, whole, in either case; the longer of two that begin alike."""
    assert read_classes([answer], ["bad", "good", "very good"]).tolist() == [wanted]


def test_letters_that_have_no_case_of_their_own():
    """Oracle: Unicode's case folding: a long s is an s, a dotless i no i."""
    assert read_classes(["POSITIVE", "po\u017fitive", "pos\u0131tive"], ["negative", "positive"]).tolist() == [1, 1, -1]


def test_training_has_the_dialogue_form_and_the_test_has_not(split, monkeypatch):
    """Oracle: the published form of question and answer; test rows as synthetic: the same question without the wrapper."""
    trained, asked = [], []

    def learn(model, encoder, batches, instruct, training, compute, *, seed):
        trained.extend(instruct(0, row) for row in range(12))

    def answer(model, encoder, prompts, longest, compute):
        asked.extend(prompts)
        return ["positive"] * len(prompts)

    monkeypatch.setattr(llm_utility, "fine_tune", learn)
    monkeypatch.setattr(llm_utility_published, "greedy_answers", answer)
    metric()(split, split.test, seed=0)
    assert [["Human: \n", *prompt, "\n\nAssistant: \n"] for prompt in asked] == [item.prompt for item in trained]
    assert [item.answer for item in trained] == [["positive" if y else "negative"] for y in split.test["Outcome"]]
    first = split.test.iloc[0]
    assert "".join(asked[0]) == (
        f"{TASK.sentence}The state of Pregnancies is {first['Pregnancies']}, The state of Ward is {first['Ward']}.\nAnswer: "
    )
    assert ".0, " in "".join(asked[0])


def test_scores_by_hand(split, monkeypatch):
    """Oracle: F1 by hand: all right is 1; an answer that names no class is an error of its row and of no class."""
    split = Split("made", split.schema, split.train, split.val, split.test.iloc[:4].assign(Outcome=[0, 0, 0, 1]))
    monkeypatch.setattr(llm_utility, "fine_tune", lambda *_, **__: None)
    # of three 0: one unread; the 1 right. F1 of 0: precision 1, recall 2/3; of 1: 1
    for answers, score, unread in (
        (["negative", "negative", "negative", "positive"], 1.0, 0.0),
        (["negative", "hm", "negative", "positive"], 0.75 * 0.8 + 0.25, 0.25),
        (["hm"] * 4, 0.0, 1.0),
    ):
        monkeypatch.setattr(llm_utility_published, "greedy_answers", lambda *_, answers=answers: answers)
        found = metric()(split, split.train, seed=0)
        assert found == {"lle_published": pytest.approx(score), "lle_published_unreadable": unread}


@pytest.mark.parametrize("lora", [None, Lora(r=4, alpha=8, dropout=0.1, targets=["q_proj", "v_proj"])])
def test_the_same_seed_gives_the_same_bits(split, local_llama, lora, monkeypatch):
    """Oracle: repetition of the answers, under the paper's kind of adapter too; global randomness stays as it was."""
    written = []
    answer = llm_utility_published.greedy_answers

    def keep(*arguments):
        written.append(answer(*arguments))
        return written[-1]

    monkeypatch.setattr(llm_utility_published, "greedy_answers", keep)
    states = random.getstate(), torch.get_rng_state()
    quick = metric(Pretrained(local_llama, dtype="float32", lora=lora), steps=4)
    scores = [quick(split, split.train, seed=seed) for seed in (0, 0)]
    assert scores[0] == scores[1]
    assert written[0] == written[1]
    assert len(written[0]) == len(split.test)
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])


def test_a_learnt_model_answers_with_a_class():
    """Oracle: what it was taught: a table of one class, long enough, answers that class also without the dialogue form."""
    split = make_split()
    rows = split.train.assign(Outcome=1)
    training = Training(loss_on="all", min_steps=60, batch_size=8, learning_rate=1e-2, warmup=0.1, max_length=512)
    scores = PublishedLanguageModelEfficacy(TINY, CPU, training, {"made": TASK})(split, rows, seed=0)
    share = split.test["Outcome"].mean()
    assert scores["lle_published_unreadable"] == 0.0
    assert scores["lle_published"] == pytest.approx(share * 2 * share / (1 + share))


@pytest.mark.parametrize(
    ("name", "tasks", "options", "word"),
    [
        ("made", {}, {}, "none"),
        ("other", {"made": TASK}, {}, "made"),
        ("made", {"made": Task("", {"0": "no"})}, {}, "'1'"),
        ("made", {"made": TASK}, {"task": "regression"}, "metrics=lle"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(name, tasks, options, word, one_sentence):
    """Oracle: house style: what must hold, what was found, what to do; nothing is loaded before."""
    split = make_split(name, **options)
    with pytest.raises(BadInput) as error:
        metric("no/such/model", tasks=tasks)(split, split.train, seed=0)
    one_sentence(error.value, word)


def test_a_missing_column_is_one_sentence(split, one_sentence):
    """Oracle: house style."""
    with pytest.raises(BadInput) as error:
        metric()(split, split.train.drop(columns="Ward"), seed=0)
    one_sentence(error.value, "'Ward'")


def test_the_yaml_is_the_paper():
    """Oracle: HARMONIC §3: model, adapter, recipe, sentences and answers; and the code's defaults are the YAML's."""
    with initialize_config_dir(str(Path(__file__).parents[2] / "conf"), version_base="1.3"):
        config = compose("config", ["metrics=lle_published"])["metrics"]["lle_published"]
    built = instantiate(config, _convert_="all")
    plain = PublishedLanguageModelEfficacy()
    assert built.training == plain.training == RECIPE
    assert (RECIPE.epochs, RECIPE.learning_rate, RECIPE.batch_size * RECIPE.accumulate) == (7, 1e-4, 32)
    assert plain.model == MODEL
    for option in ("path", "revision", "dtype"):
        assert getattr(built.model, option) == getattr(MODEL, option)
    assert (built.model.lora.r, built.model.lora.alpha, built.model.lora.dropout) == (16, 32, 0.05)
    assert tuple(built.model.lora.targets) == MODEL.lora.targets
    assert built.tasks["diabetes"] == Task(
        "Predict whether a patient has diabetes, based on certain diagnostic measurements. Respond with only either "
        "'negative' or 'positive'. \nText: ",
        {"0": "negative", "1": "positive"},
    )
    assert {name: list(task.answers.values()) for name, task in built.tasks.items()} == {
        "german": ["bad", "good"],
        "diabetes": ["negative", "positive"],
        "adult": ["bad", "good"],
        "buddy": ["A", "B", "C"],
    }
    for task in built.tasks.values():
        assert task.sentence.endswith(". \nText: ")
        assert all(f"'{word}'" in task.sentence for word in task.answers.values())
        assert "  " not in task.sentence
