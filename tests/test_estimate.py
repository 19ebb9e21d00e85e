"""What a cell will take, said beforehand. Oracles: what fits and samples really read, records made by hand, rules."""

import copy
import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from harmonic.bench import run_cell
from harmonic.build import build
from harmonic.errors import BadInput
from harmonic.estimate import cell as estimate
from harmonic.estimate import workload
from harmonic.estimate.cell import estimate_cell
from harmonic.estimate.precedents import Job, fit_precedents, forecast
from harmonic.lm.module import FineTuning
from harmonic.record import Cell, Record, read_all
from harmonic.report.estimates import show
from harmonic.seed import derive_seed
from tests import cells
from tests.cells import COPY, NRS, write_csv

HOLDOUT = {"_target_": "baselines.holdout.Holdout"}
HARMONIC = {
    "_target_": "harmonic.method.Harmonic",
    "model": {
        "_target_": "harmonic.lm.load.Scratch",
        **{"hidden_size": 32, "layers": 2, "heads": 2, "mlp_size": 64, "vocab_size": 270, "max_length": 1024},
        "training": {
            "_target_": "harmonic.lm.batches.Training",
            **{"loss_on": "all", "epochs": 2, "batch_size": 8, "learning_rate": 5e-3, "max_steps": 20, "max_length": 1024},
        },
    },
    "k": 2,
    "sampling": {
        "_target_": "harmonic.method.Sampling",
        "decoding": {"_target_": "harmonic.lm.decoding.Decoding", "max_tries": 100, "batch_size": 16},
    },
    "compute": {"_target_": "harmonic.training.Compute", "accelerator": "cpu", "precision": "32-true"},
}


@pytest.fixture
def cell(tmp_path):
    """The configuration of a cell on 60 rows; changes by keyword."""
    csv = write_csv(tmp_path / "mine.csv", sizes=990)

    def configure(method=COPY, **changes):
        return cells.cell(csv, tmp_path, method, **{"metrics": {"nrs": NRS}, **changes})

    return configure


def changed(method, **changes):
    """A method's configuration with other values, by dotted name with __ for the dot."""
    other = copy.deepcopy(method)
    for name, value in changes.items():
        *path, last = name.split("__")
        node = other
        for part in path:
            node = node[part]
        node[last] = value
    return other


def stages(said):
    return {stage.name: stage for stage in said.stages}


def sources(said):
    return {stage.name: stage.duration.source for stage in said.stages}


def test_what_is_cached_takes_no_time(cell):
    """Oracle: the rule; a stage is cached once it ran, and only for what it was run for."""
    config = cell(HARMONIC)
    before = estimate_cell(config)
    assert "cached" not in sources(before).values()
    run_cell(config)
    after = estimate_cell(config)
    assert sources(after) == {"fit": "cached", "sample": "cached", "score": "cached"}
    assert [(stage.duration.low, stage.duration.high) for stage in after.stages] == [(0, 0)] * 3
    fewer = estimate_cell({**config, "n_samples": 7})
    assert sources(fewer)["fit"] == "cached"
    assert "cached" not in (sources(fewer)["sample"], sources(fewer)["score"])
    assert stages(fewer)["sample"].work.startswith("7 rows")


@pytest.mark.parametrize("loss_on", ["answer", "all"])
def test_tokens_are_those_that_a_fit_reads(cell, monkeypatch, loss_on):
    """Oracle: every batch of the fit itself, padding left out; the draft's prompts with train's rows as answers."""
    read, places, original = [], [], FineTuning.training_step

    def reading(self, batch, number):
        read.append(batch["lengths"].tolist())
        places.append(len(batch["places"]))
        return original(self, batch, number)

    method = changed(HARMONIC, model__training__loss_on=loss_on)
    config = cell(method)
    split = build(config["dataset"]).load(0)
    seeds = {f"{stage}_seed": derive_seed(0, stage) for stage in ("fit", "sample")}
    planned = workload.workload(build(method), split.train, 50, **seeds)
    monkeypatch.setattr(FineTuning, "training_step", reading)
    fitted = build(method).fit(split.train, seed=seeds["fit_seed"])
    assert planned.lengths == read
    assert planned.loss_tokens == places
    assert len({sum(batch) for batch in read}) > 1
    assert (planned.steps, planned.fit_tokens) == (len(read), sum(map(sum, read)))
    draft_seed = derive_seed(seeds["sample_seed"], "draft")
    prompts = [fitted.encoder.encode(fitted.prompt(number, draft_seed).text) for number in range(50)]
    answers = [fitted.encoder.encode(fitted.codec.row(row)) for row in fitted.cells]
    by_hand = (50 + len(split.train)) * (np.mean(list(map(len, prompts))) + np.mean(list(map(len, answers))))
    assert planned.sample_tokens == pytest.approx(by_hand)


def test_a_budget_of_steps_ends_the_plan(cell):
    """Oracle: 42 train rows in batches of 8 make 6 steps an epoch: 12 in two epochs, 6 in the one of smoke, 5 where told."""
    cut = changed(HARMONIC, model__training__max_steps=5)
    for method, steps in ((HARMONIC, 12), ({**HARMONIC, "budget": "smoke"}, 6), (cut, 5)):
        assert f", {steps} steps, " in stages(estimate_cell(cell(method)))["fit"].work


def test_an_estimate_leaves_nothing_behind(cell, tmp_path):
    """Oracle: the folder's files, and the state of every global generator."""
    config = cell(HARMONIC)

    def state():
        drawn = (torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate())  # noqa: NPY002
        return sorted(tmp_path.rglob("*")), drawn

    before = state()
    said = estimate_cell(config)
    assert state() == before
    assert sources(said)["fit"] == sources(said)["sample"] == "measured by a probe"
    assert all(stages(said)[name].duration.low > 0 for name in ("fit", "sample"))


def test_what_does_not_fit_is_said(cell, monkeypatch, one_sentence):
    """Oracle: a device of a thousand bytes; nothing is tried on it."""
    monkeypatch.setattr(estimate, "available_bytes", lambda device: 1000)
    monkeypatch.setattr(workload.Workload, "probe", lambda *args, **kwargs: pytest.fail("tried what does not fit"))
    said = estimate_cell(cell(HARMONIC))
    fit, sample = said.remarks
    one_sentence(fit, "fit will not fit", "model.training.batch_size (now 8)", "gradient_checkpointing", "trainer=gpu")
    one_sentence(sample, "sample will not fit", "method.sampling.decoding.batch_size")
    assert said.remarks[0] in show([said])


def test_a_text_that_is_too_long_is_said(cell, one_sentence):
    """Oracle: the limit, which the run itself would meet in its first batches."""
    said = estimate_cell(cell(changed(HARMONIC, model__training__max_length=20)))
    (remark,) = said.remarks
    one_sentence(remark, "model.training.max_length=20", "dataset.drop")


def test_a_model_that_is_elsewhere_is_said(cell, one_sentence):
    """Oracle: the rule: characters by a quarter with a mark, no memory, no time."""
    model = {
        "_target_": "harmonic.lm.load.Pretrained",
        **{"path": "nobody/nothing", "training": HARMONIC["model"]["training"]},
    }
    said = estimate_cell(cell(changed(HARMONIC, model=model)))
    one_sentence(said.remarks[0], "nobody/nothing", "characters", "config.json")
    assert "≈" in stages(said)["fit"].work
    assert stages(said)["fit"].memory is None
    assert stages(said)["fit"].duration.low is None


def test_a_method_without_a_record_takes_unknown_time(cell):
    """Oracle: the rule that a figure has a source."""
    said = estimate_cell(cell(HOLDOUT))
    assert [stage.duration.low for stage in said.stages] == [None] * 3
    assert all(source.startswith("unknown") for source in sources(said).values())
    assert stages(said)["sample"].work == "the rows it holds"
    assert "what is unknown (3 of 3 stages)" in show([said])


def test_a_record_of_the_same_cell_is_taken_as_it_is(cell, tmp_path):
    """Oracle: the record's own seconds; elsewhere measured is marked, and other settings are no precedent."""
    run_cell(cell())
    (record,) = read_all(tmp_path / "runs")
    unseen = {"cache_dir": str(tmp_path / "other")}
    said = estimate_cell(cell(**unseen))
    assert [stage.duration.low for stage in said.stages[:2]] == [record.costs["time_fit_s"], record.costs["time_sample_s"]]
    assert stages(said)["score"].duration.low == record.scores["nrs"]["time_s"]
    assert set(sources(said).values()) == {"record of mine"}
    elsewhere = dict.fromkeys(("device_fit", "device_sample"), "Abacus")
    Record.write(replace(record, costs={**record.costs, **elsewhere}, digests={"synthetic": "other"}), tmp_path / "runs")
    assert sources(estimate_cell(cell(**unseen)))["fit"] == "record of mine, measured on Abacus"
    noisy = {"_target_": "baselines.controls.Control", "kind": "noisy_copy"}
    said = estimate_cell(cell(noisy, **unseen))
    assert stages(said)["fit"].duration.low is None
    assert sources(said)["score"] == "record of mine, other methods"


def job(dataset="mine", columns=10, rows=100, **changes):
    return Job(dataset, columns, rows, "cpu", **changes)


@pytest.mark.parametrize(
    ("wanted", "known", "seconds", "source"),
    [
        (job(), [job(seconds=5.0), job(seconds=7.0)], (5, 7), "record of mine"),
        (job(rows=400), [job(seconds=5.0)], (5, 20), "record of mine, as is and by cells"),
        (
            job("new", 5, 100),
            [job("far", 10, 900, seconds=9.0), job(seconds=8.0)],
            (4, 8),
            "record of mine, as is and by cells",
        ),
        (job(batches=40, tokens=1e4), [job(batches=40, seconds=3.0)], (3, 3), "record of mine"),
        (job(batches=40, tokens=1e4), [job(batches=10, seconds=3.0)], (12, 12), "record of mine, by batches"),
        (
            job(rows=200, tokens=1e4),
            [job(seconds=3.0, tokens_per_s=500.0), job("b", seconds=1.0, tokens_per_s=400.0)],
            (20, 20),
            "record of mine, by tokens",
        ),
        (job(rows=200, tokens=1e4), [job(seconds=3.0)], None, None),
        (
            job("new", batches=40, tokens=1e4),
            [job(batches=10, seconds=3.0, tokens_per_s=500.0), job("b", seconds=1.0, tokens_per_s=400.0)],
            (20, 25),
            "record of b, mine, by tokens",
        ),
        (job("new", batches=40, tokens=1e4), [job(batches=10, seconds=3.0)], None, None),
        (job(), [], None, None),
    ],
)
def test_how_records_are_scaled(wanted, known, seconds, source):
    """Oracle: hand computation."""
    found = forecast(wanted, known)
    assert (found and (found.low, found.high)) == seconds
    assert (found and found.source) == source


def test_another_budget_is_no_precedent_where_batches_are_not_counted():
    """Oracle: the rule: a HARMONIC's batches are known and scaled; how long GReaT trains is its budget's affair."""
    recorded = Record(
        cell=Cell("mine", "any", "base", 0, "key"),
        status="done",
        fit={"batches_done": 10},
        costs={"time_fit_s": 5.0},
        data={"hygiene": {"rows": {"train": 9}}, "schema": {"columns": [1, 2]}},
        env={"device": "cpu"},
    )
    for target, found in (("baselines.great.Great", 0), ("harmonic.method.Harmonic", 1)):
        method = {"_target_": target, "model": {"path": "base", "training": {"max_steps": 9}}, "budget": None}
        record = replace(recorded, config={"method": method})
        assert len(fit_precedents([record], method)) == 1
        assert len(fit_precedents([record], {**method, "budget": "smoke"})) == found
        longer = {**method, "model": {"path": "base", "training": {"max_steps": 99}}}
        assert len(fit_precedents([record], longer)) == found


def test_a_limit_of_minutes_ends_the_fit(cell):
    """Oracle: a limit shorter than any step."""
    said = estimate_cell(cell({**HARMONIC, "max_minutes": 1e-6}))
    assert stages(said)["fit"].duration.high == pytest.approx(6e-5)
    assert sources(said)["fit"] == "measured by a probe, ended by max_minutes"


def test_what_cells_share_counts_once(cell, tmp_path):
    """Oracle: the sum by hand: two ways to sample one fit, and the same cell twice."""
    one = cell(HARMONIC)
    other = cell(changed(HARMONIC, sampling__decoding__temperature=0.5))
    first, second = (estimate_cell(config) for config in (one, other))

    def timed(said, seconds):
        spans = [replace(stage.duration, low=s, high=s) for stage, s in zip(said.stages, seconds, strict=True)]
        return replace(said, stages=tuple(replace(st, duration=d) for st, d in zip(said.stages, spans, strict=True)))

    text = show([timed(first, (100, 10, 1)), timed(second, (100, 20, 2)), timed(first, (100, 10, 1))])
    assert text.count("shared with a cell above") == 4
    assert f"{133 / 60:.1f} min" in text.splitlines()[-1]
    assert text.count("| mine harmonic tiny seed 0") == 9


def test_bad_input_is_refused_as_in_a_run(cell, one_sentence, tmp_path, monkeypatch):
    """Oracle: the run's own sentence; data that a run would download is not fetched."""
    for changes in ({"n_samples": 0}, {"seed": -1}):
        with pytest.raises(BadInput) as refused:
            estimate_cell(cell() | changes)
        with pytest.raises(BadInput) as of_run:
            run_cell(cell() | changes)
        assert str(refused.value) == str(of_run.value)
    config = cell() | {"dataset": {"_target_": "harmonic.datasets.File", "path": "no.csv"}}
    with pytest.raises(BadInput) as refused:
        estimate_cell(config)
    assert str(refused.value) == run_cell(config).error["message"]
    monkeypatch.setattr("harmonic.datasets.sources.download_into", lambda *args: pytest.fail("downloaded"))
    source = {
        "_target_": "harmonic.datasets.download.UCI",
        "path": "x",
        "columns": ["a"],
        "classes": None,
        "rows_digest": "0",
    }
    folder = {"_target_": "harmonic.datasets.Folder", "name": "far", "data_dir": str(tmp_path), "target": "a"}
    with pytest.raises(BadInput) as refused:
        estimate_cell(cell(dataset={**folder, "download": {**source, "val_share": 0.1}}))
    one_sentence(refused.value, "dry_run=true", "download_data.py far")


MEASURED = """
import ctypes, gc, sys
from pathlib import Path
from dataclasses import replace
import torch
from harmonic import Harmonic, load_dataset
from harmonic.costs import measured
from harmonic.lm.load import BASE
from harmonic.training import Compute
from harmonic.estimate.workload import workload

torch.set_num_threads(1)
train = load_dataset("affairs").train.head(400)
model = replace(BASE, training=replace(BASE.training, epochs=1, min_steps=0, max_steps=4))
make = lambda rows: Harmonic(model, compute=Compute("cpu", "32-true"))
make(0).fit(train.head(40), seed=0).sample(1, seed=0)
said = workload(make(0), train, 128, fit_seed=0, sample_seed=0)
harmonic = make(0)
for stage, need in (("fit", said.fit_bytes), ("sample", said.sample_bytes)):
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    held = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    with measured(Path(sys.argv[1]) / stage) as cost:
        harmonic.fit(train, seed=0) if stage == "fit" else harmonic.sample(128, seed=0)
    print(need, cost.peak_memory_mb * 2**20 - held)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks of a stretch are known on Linux alone")
def test_memory_is_within_a_factor_of_two_of_what_is_measured(tmp_path):
    """Oracle: the growth of the resident size of a process of its own, which has loaded all its code before."""
    command = [sys.executable, "-c", MEASURED, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    pairs = [[float(number) for number in line.split()] for line in said.splitlines()]
    assert len(pairs) == 2
    for need, measured in pairs:
        assert 0.5 < need / measured < 2, pairs
