"""The benchmark of fine-tuning. Oracles: a small run of the documented command, sums done again, and hand counts."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from harmonic.lm.load import Lora
from harmonic.lm.random_llama import RandomLlama
from harmonic.training import Compute
from scripts import bench_train
from scripts.bench_train import flops, measure

SCRIPT = Path(__file__).parent.parent / "scripts" / "bench_train.py"
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 2000,
}
SHORT = {"dataset": "affairs", "model": "llama2_7b", "rows": 6, "repeats": 2, "batch_size": 2, "seed": 0}
ELSEWHERE = ("xgboost", "sdmetrics", "sdv", "hydra", "omegaconf", "outlines_core", "rapidfuzz", "wandb")
"""Dependencies that a machine for training alone may lack."""
WITHOUT = (
    f"import runpy, sys; sys.modules.update(dict.fromkeys({ELSEWHERE})); sys.argv = sys.argv[1:]; "
    f"sys.path.insert(0, {str(SCRIPT.parent.parent)!r}); runpy.run_path(sys.argv[0], run_name='__main__')"
)


def test_the_documented_command_on_a_bare_machine(tmp_path):
    """Oracle: medians and ratios of what it lists; both systems end at the same loss."""
    small = ("rows=12", "batch_size=4", "repeats=2", f"out={tmp_path}")
    command = [sys.executable, "-c", WITHOUT, str(SCRIPT), "dataset=affairs", *small]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "train_affairs_base.json").read_text())
    systems, bound = found["systems"], found["bound"]["flops_per_s"]
    assert list(systems) == ["ours", "trainer"]
    assert (found["steps"], found["warm_up_steps"], found["recipe"]["batch_size"]) == (3, 2, 4)
    for figures in systems.values():
        assert np.shape(figures["step_s_all"]) == (2, 1)
        assert figures["step_s"] == pytest.approx(np.median(figures["step_s_all"]))
        assert figures["tokens_per_s"] == pytest.approx(np.median(figures["tokens_per_s_all"]))
        assert figures["share_of_bound"] == pytest.approx(figures["flops_per_s"] / bound)
        assert figures["loss"] < found["loss_before"]
    assert found["ours_over_trainer"] == systems["ours"]["tokens_per_s"] / systems["trainer"]["tokens_per_s"]
    assert systems["ours"]["loss"] == pytest.approx(systems["trainer"]["loss"], rel=0.02)
    assert "ours" in done.stdout


@pytest.mark.parametrize("checkpointing", [False, True])
def test_adapters_on_a_small_llama(monkeypatch, checkpointing):
    """Oracle: the Trainer, whose losses are ours; a turn leaves nothing behind that the next one would begin from."""
    monkeypatch.setattr(Compute, "resolved_precision", "32-true")
    found = measure(**SHORT, checkpointing=checkpointing, sizes=SMALL)
    ours, trainer = (found["systems"][name] for name in ("ours", "trainer"))
    assert ours["loss_all"] == pytest.approx(trainer["loss_all"], abs=2e-4)
    assert found["loss_before"] > ours["loss"]
    assert found["trained_parameters"] == 16 * (4 * (32 + 32) + 3 * (32 + 64))  # rank 16 on seven projections
    assert found["recipe"]["learning_rate"] == 3e-4
    assert found["recipe"]["gradient_checkpointing"] == checkpointing


def test_the_work_by_hand():
    """Oracle: hand counts for full training and for adapters: rows of 3 and 5 tokens, of which 4 bear a loss."""
    model = RandomLlama(sizes=SMALL, lora=Lora(targets=["q_proj"])).create([], [], 0)[0].unload()
    layer, head = 4 * 32 * 32 + 3 * 32 * 64, 32 * 2000
    attention = 6 * 32 * (3**2 + 5**2)
    assert flops(model, [3, 5], 4) == 4 * (8 * layer + 4 * head) + attention
    model.requires_grad_(True)
    assert flops(model, [3, 5], 4) == 6 * (8 * layer + 4 * head) + attention
    model.requires_grad_(False)
    adapted = Lora(r=2, targets=["q_proj"]).adapt(model, 0)
    assert flops(adapted, [3, 5], 4) == 4 * (8 * layer + 4 * head) + 6 * 8 * 2 * 64 + attention


def test_what_does_not_fit_is_told(monkeypatch):
    """Oracle: the rule: a system that runs out of memory has an error for figures, the other has its own."""

    def out_of_memory(self, seed):
        raise torch.OutOfMemoryError("CUDA out of memory.\nMore words")

    monkeypatch.setattr(bench_train._Bench, "trainer", out_of_memory)
    found = measure(**SHORT, checkpointing=False, sizes=SMALL)
    assert found["systems"]["trainer"] == {"error": "CUDA out of memory."}
    assert found["systems"]["ours"]["tokens_per_s"] > 0
    assert found["ours_over_trainer"] is None


def test_the_bound_is_a_product_of_matrices():
    """Oracle: what a processor of today can do at all, in FLOP/s."""
    assert 1e8 < bench_train.matrix_rate(Compute("cpu", "32-true"), repeats=1) < 1e13


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dataset=affairs", "model=gpt5"], ("model", "llama2_7b")),
        (["dataset=affairs", "rows=20", "batch_size=16"], ("rows", "batches of 16")),
        (["dataset=affairs", "rows=400000", "batch_size=16"], ("instructions", "400000")),
        (["dataset=affairs", "repeats=0"], ("repeats",)),
        (["dataset=affairs", "checkpointing=maybe"], ("checkpointing", "true or false")),
        (["dataset=nowhere"], ("nowhere",)),
    ],
)
def test_a_wrong_argument_is_one_sentence(arguments, words, capsys, one_sentence, tmp_path):
    """Oracle: the rule of all scripts: exit status 1, nothing written."""
    assert bench_train.main([*arguments, f"out={tmp_path}"]) == 1
    one_sentence(capsys.readouterr().err.strip(), *words)
    assert not list(tmp_path.iterdir())
