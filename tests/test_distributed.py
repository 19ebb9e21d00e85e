"""Runs by several processes. Oracles: the rule, and the same run by one process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harmonic.bench import _device
from harmonic.distributed import agreed, check_launch, gathered, joined, launched, leads, place
from harmonic.errors import BadInput

ROOT = Path(__file__).parent.parent
SMALL = (
    *("dataset=wine", "method=harmonic", "model=scratch", "metrics=[validity]", "n_samples=30", "trainer.accelerator=cpu"),
    *("trainer.precision=32-true", "model.training.min_steps=4", "model.training.max_steps=4"),
    *("model.training.batch_size=4", "model.training.accumulate=2", "references=null"),
    *("method.sampling.prompts=generated", "method.sampling.draft_rows=30"),
)
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def start(tmp_path, *words, launch=()):
    folders = (f"results_dir={tmp_path / 'results'}", f"cache_dir={tmp_path / 'cache'}")
    alone = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    command = [sys.executable, *launch, "run.py", *SMALL, *words, *folders]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, env=alone, check=False)


def record(tmp_path):
    (path,) = (tmp_path / "results").rglob("record.json")
    return json.loads(path.read_text())


def test_two_processes_make_one_record(tmp_path):
    """Oracle: one process: the same losses and counts; each of the two logged its share, the first alone wrote."""
    done = start(tmp_path / "two", "trainer=fsdp", launch=TORCHRUN)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("scoring validity") == 1
    assert start(tmp_path / "one").returncode == 0
    two, one = record(tmp_path / "two"), record(tmp_path / "one")
    assert two["status"] == one["status"] == "done"
    assert two["fit"].pop("processes") == 2
    assert two["fit"]["losses"] == pytest.approx(one["fit"]["losses"], abs=1e-4)
    for count in ("rows", "instructions", "batches", "batches_done", "tokens_fit", "trained_parameters"):
        assert two["fit"][count] == one["fit"][count]
    assert two["scores"]["validity"]["values"]["validity_rows"] == 1
    logs = sorted(path.name.partition(".")[2] for path in (tmp_path / "two" / "cache" / "log" / "fit").iterdir())
    assert logs == ["1.jsonl", "jsonl"]


def test_a_strategy_needs_its_launcher(tmp_path, one_sentence):
    """Oracle: the rule: one line and exit status 2, nothing computed."""
    done = start(tmp_path, "trainer=ddp")
    assert done.returncode == 2
    one_sentence(done.stderr.strip().splitlines()[-1], "torchrun", "trainer=ddp")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("environment", "strategy", "words"),
    [
        ({"WORLD_SIZE": "2", "RANK": "0", "TORCHELASTIC_RUN_ID": "x"}, "single", ("2 processes", "trainer=ddp")),
        ({}, "fsdp", ("trainer=fsdp", "torchrun")),
        ({"WORLD_SIZE": "8", "RANK": "0"}, "ddp", ("trainer=ddp", "torchrun")),  # as another launcher leaves it
    ],
)
def test_what_does_not_go_together(environment, strategy, words, monkeypatch, one_sentence):
    """Oracle: the rule."""
    for name in ("WORLD_SIZE", "RANK", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInput) as error:
        check_launch(strategy)
    one_sentence(error.value, *words)


def test_one_process_is_its_own_group(monkeypatch):
    """Oracle: the rule: nothing is joined, and what it has is what all have."""
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    check_launch("single")
    assert (launched(), leads()) == (1, True)
    with joined(torch.device("cpu")):
        assert not torch.distributed.is_initialized()
        assert place() == (0, 1)
        assert agreed("rows") == "rows"
        assert gathered(3) == [3]


def test_who_leads(monkeypatch):
    """Oracle: torchrun's numbers: the first process of all machines, not of each."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "4")
    for rank, local in ((0, 0), (1, 1), (2, 0)):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("LOCAL_RANK", str(local))
        assert leads() == (rank == 0)


def test_a_method_of_one_process_is_refused(one_sentence):
    """Oracle: the rule, by what each class says of itself; HARMONIC has a device instead of an error."""
    names = {"method": "copy", "model": "base"}
    with pytest.raises(BadInput) as error:
        _device({"method": {"_target_": "baselines.copy.Copy"}, "names": names})
    one_sentence(error.value, "method=copy", "torchrun")
    compute = {"_target_": "harmonic.training.Compute", "accelerator": "cpu"}
    method = {"_target_": "harmonic.method.Harmonic", "compute": compute}
    assert _device({"method": method, "names": names}) == torch.device("cpu")
