"""The generators that are trained, one and all. Oracles: the schema, repetition, a round trip through a folder, a clock."""

import random
from dataclasses import replace
from functools import partialmethod

import numpy as np
import pandas as pd
import pytest
import torch

import baselines.sdv
from baselines.ctabganplus import CtabGanPlus
from baselines.great import Great, escape
from baselines.realtabformer import RealTabFormer
from baselines.smote import Smote
from baselines.tabargn import TabArgn
from baselines.tabddpm import TabDdpm
from baselines.tabsyn import TabSyn
from baselines.tabula import Tabula
from baselines.watch import Watch
from harmonic.codec import RowCodec
from harmonic.errors import BadInput, SamplingFailed
from harmonic.lm.batches import Training
from harmonic.lm.decoding import Decoding
from harmonic.lm.load import Scratch
from harmonic.table import coerce, schema_of
from harmonic.table.infer import infer_schema
from harmonic.table.schema import attach
from harmonic.training import Compute

CPU = Compute("cpu", "32-true", checkpoint_minutes=0)
SMALL = Scratch(64, 2, 2, 128, 300, training=Training(learning_rate=5e-3))
WRITERS = ("great", "tabula")
"""Those that write rows as text: they need an easy table to write one that obeys after seconds of training."""
NETWORKS = ("ctgan", "copulagan", "tvae", "tabddpm", "tabsyn", "ctabganplus", "realtabformer")
REFUSE_TEXT = ("smote", "gaussian_copula", *NETWORKS, "tabargn")


def make(name, **options):
    """A generator with a budget of seconds, on the CPU."""
    if name in ("gaussian_copula", "ctgan", "copulagan", "tvae"):
        classes = {"gaussian_copula": "GaussianCopula", "ctgan": "Ctgan", "copulagan": "CopulaGan", "tvae": "Tvae"}
        return getattr(baselines.sdv, classes[name])(**({} if name == "gaussian_copula" else {"budget": "smoke", **options}))
    if name == "tabargn":
        pytest.importorskip("mostlyai.engine", reason="method=tabargn is an extra: requirements-tabargn.txt")
        return TabArgn("smoke", compute=CPU, **options)
    if name == "great":
        slow = replace(SMALL, training=Training(learning_rate=2e-3))
        return Great(slow, epochs=120, max_tries=400, compute=CPU, **options)
    if name == "tabula":
        made = Tabula("smoke", decoding=Decoding(form="valid"), compute=CPU, **options)
        made.recipe = replace(made.recipe, max_steps=10)
        return made
    if name == "realtabformer":
        return RealTabFormer("smoke", max_tries=50, compute=CPU, **options)
    if name == "smote":
        return Smote()
    return {"tabddpm": TabDdpm, "tabsyn": TabSyn, "ctabganplus": CtabGanPlus}[name]("smoke", compute=CPU, **options)


ALL = ("gaussian_copula", *NETWORKS, "tabargn", *WRITERS)


@pytest.fixture
def mixed(mixed_frame):
    """60 rows with every kind but free text, target a class."""
    frame = mixed_frame.drop(columns="note").head(60)
    return coerce(frame, infer_schema(frame, target="label"), "mixed")


@pytest.fixture
def easy():
    """60 rows that a small language model learns in seconds: two categories, one empty at times, and a digit."""
    rng = np.random.default_rng(0)
    shade = rng.choice(["red", "blue"], 60)
    frame = pd.DataFrame(
        {
            "shade": np.where(np.arange(60) % 7 == 0, None, shade),
            "size, or so": rng.choice(["S, small", "L"], 60),
            "count": rng.integers(0, 10, 60),
            "label": np.where(shade == "red", "yes", "None"),
        }
    )
    return coerce(frame, infer_schema(frame, target="label"), "easy")


@pytest.fixture
def table_for(mixed, easy):
    return lambda name: easy if name == "great" else mixed


@pytest.fixture(scope="module")
def learnt():
    """A generator fitted on its table with this seed, once for all tests that leave it as it is."""
    fitted = {}

    def fit(name, train, seed):
        if (name, seed) not in fitted:
            fitted[name, seed] = make(name).fit(train, seed=seed)
        return fitted[name, seed]

    return fit


def check(rows, n, train):
    """What every generator owes: n rows of train's schema, each cell one that its column can hold."""
    schema = schema_of(train)
    assert len(rows) == n
    assert schema_of(rows) == schema
    coerce(rows, schema, "rows")
    for column in schema.columns:
        for text in column.write(rows[column.name]):
            column.read(text)


@pytest.mark.parametrize("name", ALL)
def test_fit_sample_save_load(name, table_for, learnt, tmp_path):
    """Oracles: the schema; the same seeds in a fresh object and in a loaded one; global randomness before and after."""
    train = table_for(name)
    before = train.copy(deep=True)
    method = learnt(name, train, 1)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    rows = method.sample(70, seed=2)
    check(rows, 70, train)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[:2]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])
    pd.testing.assert_frame_equal(train, before)
    assert not method.sample(70, seed=3).equals(rows)
    torch.manual_seed(99)
    pd.testing.assert_frame_equal(make(name).fit(train, seed=1).sample(70, seed=2), rows)
    folder = tmp_path / "saved"
    folder.mkdir()
    method.save(folder)
    pd.testing.assert_frame_equal(make(name).load(folder).sample(70, seed=2), rows)


@pytest.mark.parametrize("name", [name for name in ALL if name != "gaussian_copula"])
def test_another_seed_is_another_fit(name, table_for, learnt):
    """Oracle: rows of the same sampling seed differ."""
    train = table_for(name)
    assert not learnt(name, train, 0).sample(40, seed=2).equals(learnt(name, train, 1).sample(40, seed=2))


@pytest.mark.parametrize("name", [*NETWORKS, *WRITERS])
def test_the_clock_ends_training(name, table_for):
    """Oracle: no time at all is one step or epoch, and the record says so."""
    report = make(name, max_minutes=0).fit(table_for(name), seed=0).report
    done = next(report[key] for key in ("batches_done", "epochs_done", "steps_done") if key in report)
    assert done == 1
    assert report["max_minutes"] == 0


@pytest.mark.parametrize("name", REFUSE_TEXT)
def test_free_text_is_refused(name, mixed_frame):
    """Oracle: one sentence that names the column and the way out."""
    schema = infer_schema(mixed_frame, target="label")
    with pytest.raises(BadInput, match=r"column 'note' is free text: leave it out with dataset\.drop=\[note\]"):
        make(name).fit(coerce(mixed_frame, schema, "mixed"), seed=0)


@pytest.mark.parametrize("name", [name for name in ALL if name != "great"])
def test_a_target_that_is_a_number(name, mixed):
    """Oracle: the schema of a regression."""
    schema = infer_schema(mixed, target="amount")
    assert schema.task == "regression"
    train = coerce(mixed, schema, "mixed")
    check(make(name).fit(train, seed=0).sample(20, seed=0), 20, train)


@pytest.mark.parametrize("name", ["tabddpm", "tabsyn", "ctabganplus"])
def test_numbers_alone_or_categories_alone(name, mixed):
    """Oracle: the schema; a table may lack one of the two."""
    for names in (["amount", "count", "label"], ["grade", "member", "label"]):
        frame = mixed[names]
        train = attach(frame, infer_schema(frame, target="label"))
        check(make(name).fit(train, seed=0).sample(20, seed=0), 20, train)


@pytest.mark.parametrize("name", ["tabddpm", "tabsyn", "ctabganplus", "tabula"])
def test_a_killed_run_is_taken_up(name, table_for, tmp_path, monkeypatch):
    """Oracle: the unbroken run's rows; the run is killed at its 5th batch and has a checkpoint at each."""
    import harmonic.training as training

    train = table_for(name)
    unbroken = make(name).fit(train, seed=1).sample(30, seed=0)
    batches = training.Stream.__iter__

    def killed(stream):
        for number, batch in enumerate(batches(stream)):
            if number == 4 and stream.start == 0:
                raise RuntimeError("killed")
            yield batch

    monkeypatch.setattr(training.Stream, "__iter__", killed)
    with pytest.raises(RuntimeError, match="killed"):
        make(name).fit(train, seed=1, work_dir=tmp_path)
    assert list(tmp_path.rglob("last.ckpt"))
    monkeypatch.setattr(training.Stream, "__iter__", batches)
    pd.testing.assert_frame_equal(make(name).fit(train, seed=1, work_dir=tmp_path).sample(30, seed=0), unbroken)


def test_realtabformer_draws_its_batches_from_the_seed(mixed, monkeypatch):
    """Oracle: what the package's trainer is told."""
    begin, seeds = Watch.on_train_begin, []

    def noted(watch, args, *others, **more):
        seeds.append(args.seed)
        begin(watch, args, *others, **more)

    monkeypatch.setattr(Watch, "on_train_begin", noted)
    for seed in (0, 7):
        make("realtabformer", max_minutes=0).fit(mixed, seed=seed)
    assert seeds == [0, 7]


def test_the_bootstrap_of_realtabformer(mixed, tmp_path, monkeypatch):
    """Oracle: the rule: training ends, rows obey the schema, and nothing is left where the user is."""
    from realtabformer import REaLTabFormer

    fit = REaLTabFormer.fit
    monkeypatch.setattr(REaLTabFormer, "fit", partialmethod(fit, num_bootstrap=3))
    monkeypatch.chdir(tmp_path)
    method = make("realtabformer", epochs=12, bootstrap=True).fit(mixed, seed=0)
    assert method.report["bootstrap"]
    check(method.sample(5, seed=0), 5, mixed)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def clusters():
    """400 rows of two classes, whose number lies around 3 or -3 and whose colour is theirs in nine cases of ten."""
    rng = np.random.default_rng(0)
    label = rng.random(400) < 0.3
    colour = np.where(rng.random(400) < 0.9, label, ~label)
    frame = pd.DataFrame(
        {
            "x": (np.where(label, 3, -3) + 0.5 * rng.standard_normal(400)).round(2),
            "colour": np.where(colour, "red", "blue"),
            "label": np.where(label, "yes", "no"),
        }
    )
    return coerce(frame, infer_schema(frame, target="label"), "clusters")


@pytest.mark.parametrize(("name", "steps"), [("tabddpm", 400), ("tabsyn", 400)])
def test_relations_are_learnt(name, steps, clusters):
    """Oracle: how the table was drawn: the class's share, its mean, its colour; independent columns fail."""
    method = make(name, steps=steps)
    if name == "tabsyn":
        method.recipe = replace(method.recipe, vae_steps=400)
    rows = method.fit(clusters, seed=0).sample(1000, seed=0)
    yes = rows["label"] == "yes"
    assert yes.mean() == pytest.approx(0.3, abs=0.07)
    assert rows["x"][yes].mean() > 1.2
    assert rows["x"][~yes].mean() < -2
    assert (rows["colour"] == "red")[yes].mean() > 0.75
    assert (rows["colour"] == "red")[~yes].mean() < 0.25


@pytest.mark.parametrize("name", ["great", "realtabformer", "tabula"])
def test_likelihoods(name, table_for, learnt):
    """Oracles: a log-probability is not positive; rows scored alone; the same call twice."""
    train = table_for(name)
    method = learnt(name, train, 0)
    cells = method.log_likelihood(train, seed=0)
    assert cells.shape == train.shape
    assert (cells <= 0).all()
    if name != "great":  # whose orders depend on a row's place in the table
        alone = [method.log_likelihood(train.iloc[[row]].reset_index(drop=True), seed=0)[0] for row in (0, 7)]
        np.testing.assert_allclose(cells[[0, 7]], alone, atol=1e-3)
    np.testing.assert_array_equal(method.log_likelihood(train, seed=0), cells)


@pytest.mark.parametrize("name", ["great", "realtabformer", "tabula"])
def test_likelihoods_of_a_model_that_knows_nothing(name, table_for):
    """Oracle: by hand: with its last layer at zero a model guesses evenly: log(vocabulary) for each of a cell's tokens."""
    train = table_for(name)
    method = make(name, max_minutes=0).fit(train, seed=0)
    model = method.package.model if name == "realtabformer" else method.model
    model.lm_head.weight = torch.nn.Parameter(torch.zeros_like(model.lm_head.weight))  # apart from tied embeddings
    tokens = -method.log_likelihood(train, seed=0) / np.log(model.lm_head.weight.shape[0])
    np.testing.assert_allclose(tokens, tokens.round(), atol=1e-3)
    assert (tokens.round() >= 1).all()
    if name == "realtabformer":  # a token for each digit place and each category, the same for every row
        assert (tokens.round() == tokens.round()[0]).all()
        assert tokens.round()[0].sum() == len(method.package.processed_columns)
    if name == "tabula":  # the value's own tokens and the quote
        encoded = [[len(method.encoder.encode([text, '"'])) for text in row] for row in method.codec.cells(train)]
        np.testing.assert_array_equal(tokens.round(), encoded)
    if name == "great":  # a value's tokens, with the comma, are its own text
        cells = RowCodec(schema_of(train)).cells(train)
        for row in cells:
            placed = method._placed(row, range(len(row)))
            for place, text in enumerate(row):
                own = np.array(placed.ids[1:])[placed.cells == place].tolist()
                assert method.tokenizer.decode(own).strip(" ,") == (escape(text) or "None")


@pytest.mark.parametrize("name", ["great", "realtabformer", "tabula", "tabddpm"])
def test_training_that_diverges_is_a_sentence(name, table_for, one_sentence):
    """Oracle: a rate that no model survives; the packages' trainers would hide it behind a loss of zero."""
    method = make(name)
    if name == "great":
        method = Great(replace(SMALL, training=Training(learning_rate=1e30)), epochs=300, compute=CPU)
    else:
        method.recipe = replace(method.recipe, learning_rate=1e30)
    with pytest.raises(BadInput, match="has diverged") as caught:
        method.fit(table_for(name), seed=0)
    one_sentence(caught.value)


def test_a_generator_that_writes_nonsense_is_given_up(easy):
    """Oracle: the error's own counts: it stops long before the limit, and shows what was written."""
    method = Great(SMALL, epochs=1, max_tries=1000, compute=CPU).fit(easy, seed=0)
    with pytest.raises(SamplingFailed, match=r"60 rows were asked for, but of \d{3} tried .* obey the schema"):
        method.sample(60, seed=0)


def test_the_record_of_an_engine_that_ends_by_itself(mixed):
    """Oracle: the budget: one epoch of smoke, and not one step more than another epoch takes."""
    one, two = (make("tabargn", epochs=epochs).fit(mixed, seed=0).report for epochs in (1.0, 2.0))
    assert (one["epochs_done"], two["epochs_done"]) == (1, 2)
    assert two["steps_done"] == 2 * one["steps_done"]


def test_an_extra_that_is_missing(mixed, monkeypatch):
    """Oracle: one sentence with the line that installs it."""
    import sys

    monkeypatch.setitem(sys.modules, "mostlyai.engine", None)
    with pytest.raises(BadInput, match=r"needs mostlyai-engine, .*: pip install -r requirements-tabargn\.txt --no-deps"):
        TabArgn("smoke", compute=CPU).fit(mixed, seed=0)
