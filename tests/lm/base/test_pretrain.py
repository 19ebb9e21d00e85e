"""Pre-training. Oracles: repetition bit for bit, an unbroken run, sums done by hand, and the Hugging Face loader."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer

from harmonic.errors import BadInput
from harmonic.lm.base.documents import Document, Part, Reader
from harmonic.lm.base.pretrain import (
    EARLY_WEIGHT,
    Phase,
    PreTraining,
    Recipe,
    _check_recipe,
    _pack,
    _thinned,
    make_batch,
    make_model,
    make_tokenizer,
    pretrain,
    split_loss,
    split_sums,
    token_losses,
)
from harmonic.lm.base.prior import Ranges
from harmonic.training import Compute, Stream, fit_stream, quiet_trainer

PHASES = (Phase(4, 2, 128, Ranges(columns=(3, 4)), repeats=0.5), Phase(4, 2, 192, Ranges(columns=(3, 6))))
TINY = Recipe(
    hidden_size=32,
    layers=1,
    heads=2,
    mlp_size=48,
    vocab_size=320,
    slots=64,
    tokenizer_tables=10,
    warmup_steps=2,
    phases=PHASES,
)
NO_SLOTS = np.zeros(0, np.int64)
CPU = Compute("cpu", "32-true", checkpoint_minutes=0)


def weights(folder):
    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return folder, pretrain(TINY, folder, CPU)


@pytest.fixture(scope="module")
def reader():
    return Reader(make_tokenizer(TINY))


def test_a_short_run_is_repeated_bit_for_bit(trained, tmp_path):
    """Oracle: the same recipe again."""
    pretrain(TINY, tmp_path, CPU)
    once, again = weights(trained[0]), weights(tmp_path)
    assert all(torch.equal(once[name], again[name]) for name in once)
    untouched = make_model(TINY, make_tokenizer(TINY)).state_dict()
    assert not any(torch.equal(once[name], untouched[name]) for name in once if "layers" in name)


def test_a_killed_run_goes_on(trained, tmp_path, monkeypatch):
    """Oracle: the run that was not killed: weights bit for bit, and a curve without a gap."""
    step = PreTraining.training_step

    def killed(self, batch, batch_idx):
        if batch_idx == 5:
            raise RuntimeError("killed")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(PreTraining, "training_step", killed)
    with pytest.raises(RuntimeError, match="killed"):
        pretrain(TINY, tmp_path, CPU)
    assert not (tmp_path / "config.json").exists()
    monkeypatch.setattr(PreTraining, "training_step", step)
    summary = pretrain(TINY, tmp_path, CPU)
    once, again = weights(trained[0]), weights(tmp_path)
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert summary["curve"] == trained[1]["curve"]
    assert not (tmp_path / "unfinished").exists()


def test_what_is_written(trained):
    """Oracle: plain Hugging Face loaders, and the recipe's own sums."""
    folder, summary = trained
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert tokenizer("<slot63>")["input_ids"] == [len(tokenizer) - 1]
    assert model.config.vocab_size == len(tokenizer)
    assert json.loads((folder / "training.json").read_text())["tokens"] == 4 * 2 * 128 + 4 * 2 * 192
    assert summary["curve"][-1]["tokens"] == TINY.tokens
    assert len(summary["curve"]) == TINY.steps
    assert summary["parameters"] == sum(parameter.numel() for parameter in model.parameters())


def test_it_learns():
    """Oracle: the loss itself, of a batch that it has read thirty times."""
    recipe = Recipe(**{**vars(TINY), "hidden_size": 64, "phases": (Phase(30, 4, 128, Ranges(columns=(3, 4))),)})
    reader = Reader(make_tokenizer(recipe))
    module = PreTraining(make_model(recipe, make_tokenizer(recipe)), recipe)
    batch = make_batch(reader, recipe, 0)
    optimizers = module.configure_optimizers()
    losses = []
    for _ in range(30):
        loss = token_losses(module.model, batch).mean()
        losses.append(loss.item())
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert losses[-1] < losses[0] - 2


def test_every_weight_has_one_optimiser(reader):
    """Oracle: counting."""
    module = PreTraining(make_model(TINY, make_tokenizer(TINY)), TINY)
    held = [
        id(p) for optimizer in module.configure_optimizers() for group in optimizer.param_groups for p in group["params"]
    ]
    assert sorted(held) == sorted(map(id, module.model.parameters()))


def test_a_batch_depends_on_its_step_alone(reader):
    """Oracle: the same step from a reader that has read others."""
    first = make_batch(reader, TINY, 5)
    for step in range(4):
        make_batch(reader, TINY, step)
    again = make_batch(Reader(make_tokenizer(TINY)), TINY, 5)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["tokens"], make_batch(reader, TINY, 6)["tokens"])
    assert not torch.equal(first["tokens"], make_batch(reader, TINY, 5, "held out")["tokens"])
    assert first["tokens"].shape == (2, 192)
    weight = torch.where(first["rows"] == 0, EARLY_WEIGHT, 1.0)
    assert torch.equal(first["weights"], weight.float())


def test_repeated_sequences_repeat(reader):
    """Oracle: a period found by trying; what comes for the first time bears no loss."""
    batch = make_batch(reader, TINY, 0)
    tokens, weight = batch["tokens"][0].numpy(), batch["weights"][0].numpy()
    period = int((weight == 0).sum())
    assert 8 <= period < 64
    assert (tokens[period:] == tokens[:-period]).all()
    assert weight[:period].sum() == 0
    assert weight[period:].min() == 1


def test_packing_by_hand():
    """Oracle: three documents laid end to end and cut, by hand."""
    documents = [
        Document(np.full(n, n, np.int32), np.full(n, n % 4, np.int8), np.arange(n, dtype=np.int8), NO_SLOTS)
        for n in (3, 4, 2)
    ]
    first, second, third = _pack(documents, 3, 5).swapaxes(0, 1)
    assert first[0].tolist() == [3, 3, 3, 4, 4]
    assert second[0].tolist() == [2, 2, 3, 3, 3]
    assert third[0].tolist() == [4, 4, 4, 4, 2]
    assert first[2].tolist() == [0, 1, 2, 0, 1]
    assert second[3].tolist() == [2, 2, 0, 0, 0]


def test_the_split_by_hand():
    """Oracle: means over hand-picked tokens."""
    batch = {
        "parts": torch.tensor([[Part.FORMAT, Part.KEY, Part.NUMBER, Part.KEY, Part.NUMBER, Part.NUMBER]]),
        "rows": torch.tensor([[0, 0, 0, 1, 1, 1]]),
    }
    split = split_loss(split_sums(torch.tensor([[1.0, 2.0, 3.0, 4.0, 6.0]]), batch))
    assert split == {"key_first": 1.0, "key_later": 3.0, "number_first": 2.0, "number_later": 5.0}


def test_rates_and_phases():
    """Oracle: the schedule's corners: a rise, a plateau, a fall to nearly nothing, and again; the phase of each step."""
    tables = Ranges(columns=(3, 4))
    once = (Phase(10, 1, 8, tables), Phase(90, 1, 8, tables))
    recipe = Recipe(phases=(*once, Phase(20, 1, 8, tables, anew=True)), warmup_steps=10, cooldown=0.4)
    assert recipe.cycles == [0, 100, 120]
    assert [round(recipe.rate(step), 3) for step in (0, 9, 50, 80, 99)] == [0.1, 1.0, 1.0, 0.5, 0.025]
    assert [round(recipe.rate(step), 3) for step in (100, 109, 112, 116, 119)] == [0.1, 1.0, 1.0, 0.5, 0.125]
    assert Recipe(phases=once).cycles == [0, 100]
    assert recipe.phase(9) is recipe.phases[0]
    assert recipe.phase(10) is recipe.phases[1]
    with pytest.raises(IndexError):
        recipe.phase(120)
    assert recipe.tokens == 960


def test_a_cycle_begins_with_optimisers_that_remember_nothing(tmp_path):
    """Oracle: a run whose optimisers were made to forget by hand: the state of a first step holds one step's worth."""
    counts = []

    class Watched(PreTraining):
        def training_step(self, batch, batch_idx):
            super().training_step(batch, batch_idx)
            counts.append({int(state["step"]) for state in self._optimizers()[1].state.values()})

    tables = Ranges(columns=(3, 4))
    recipe = replace(TINY, phases=(Phase(2, 2, 128, tables), Phase(2, 2, 128, tables, anew=True)))
    module = Watched(make_model(recipe, make_tokenizer(recipe)), recipe)
    stream = Stream(partial(make_batch, Reader(make_tokenizer(recipe)), recipe), 0, recipe.steps)
    fit_stream(quiet_trainer(CPU, []), module.train(), DataLoader(stream, batch_size=None), None)
    assert counts == [{1}, {2}, {1}, {2}]


def test_slots_of_other_tables_are_left_out(reader):
    """Oracle: the losses: those over the whole vocabulary, less the probability of the slots that are not the document's."""
    tables = Ranges(columns=(3, 4))
    recipe = replace(TINY, phases=(Phase(1, 4, 192, tables, bound_only=True), Phase(1, 4, 192, tables)))
    batch = make_batch(reader, recipe, 0)
    slots = batch["tokens"] - int(reader.slots[0])
    at_slot = slots >= 0
    assert 0 < at_slot.float().mean() < 1
    assert batch["bound"][at_slot].gather(1, slots[at_slot][:, None]).all()
    assert batch["bound"].float().mean() < 0.7
    assert make_batch(reader, recipe, 1)["bound"].all()
    model = make_model(TINY, make_tokenizer(TINY))
    with torch.inference_mode():
        shares = model(input_ids=batch["tokens"]).logits.float().softmax(-1)
        found = token_losses(model, batch)
    allowed = torch.ones_like(shares)
    allowed[:, :-1, -64:] = batch["bound"][:, 1:].float()
    shares = shares * allowed
    wanted = (shares / shares.sum(-1, keepdim=True))[:, :-1].gather(2, batch["tokens"][:, 1:, None])[..., 0]
    torch.testing.assert_close(found, -wanted.log())


def test_workers_share_the_steps(trained, tmp_path):
    """Oracle: the run whose batches one process made."""
    pretrain(TINY, tmp_path, CPU, workers=2)
    once, again = weights(trained[0]), weights(tmp_path)
    assert all(torch.equal(once[name], again[name]) for name in once)


def test_the_curve_is_thinned_by_means():
    """Oracle: means by hand; a part that a step lacks is left out of them."""
    curve = [{"step": s, "tokens": 10 * s, "loss": float(s), **({"key_later": 1.0} if s == 1 else {})} for s in range(4)]
    assert _thinned(curve, 2) == [
        {"step": 1, "tokens": 10, "key_later": 1.0, "loss": 0.5},
        {"step": 3, "tokens": 30, "loss": 2.5},
    ]


def test_an_unfinished_run_of_another_recipe_is_refused(tmp_path, one_sentence):
    """Oracle: the rule: the same command goes on, another one does not take its weights for its own."""
    work_dir = tmp_path / "unfinished"
    work_dir.mkdir()
    _check_recipe(TINY, work_dir)
    _check_recipe(TINY, work_dir)
    with pytest.raises(BadInput) as caught:
        pretrain(replace(TINY, weight_decay=0.5), tmp_path, CPU)
    one_sentence(caught.value, "weight_decay", str(work_dir))


def test_help_tells_every_option(script):
    """Oracle: the script's own words, and a field of the recipe."""
    done = script("pretrain_base.py", "--help")
    assert done.returncode == 0
    assert "Pre-train the base model" in done.stdout
    assert "muon_rate=0.02" in done.stdout


COMMAND = [sys.executable, str(Path(__file__).parents[3] / "scripts" / "pretrain_base.py")]


def test_the_documented_command(tmp_path):
    """Oracle: the folder: a model of the sizes that were asked for, and the steps in training.json."""
    small = ("hidden_size=16", "layers=1", "heads=2", "mlp_size=16", "vocab_size=300", "tokenizer_tables=4", "seed=3")
    options = (f"out={tmp_path / 'model'}", "steps=4", "accelerator=cpu", "precision=32-true", *small)
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    training = json.loads((tmp_path / "model" / "training.json").read_text())
    assert [phase["steps"] for phase in training["recipe"]["phases"]] == [1, 1, 1, 1, 2]
    assert (training["recipe"]["hidden_size"], training["recipe"]["seed"]) == (16, 3)
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "model").config.hidden_size == 16
    assert "4" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "out="),
        (("out=x", "layer=3"), "layer"),
        (("out=/proc/nowhere",), "out=/proc/nowhere"),
        (("out=x", "hidden_size=0"), "hidden_size must be a whole number of at least 1"),
    ],
)
def test_wrong_arguments(script, arguments, word, tmp_path, monkeypatch):
    """Oracle: the rule for what a user can cause: one line, and nothing written."""
    monkeypatch.chdir(tmp_path)
    done = script("pretrain_base.py", *arguments)
    assert done.returncode == 1
    assert word in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
