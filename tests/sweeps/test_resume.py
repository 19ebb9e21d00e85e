"""Sweeps that are killed and started again. Oracle: the same sweep, uninterrupted."""

import time
from collections import Counter

import numpy as np
import pytest
from conftest import events, results, wait_for

JOBLIB = ("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
FOUR = (
    *("method=smote,harmonic", "seed=0,1", "n_samples=300", "method.k=3", "model.training.max_steps=60"),
    "metrics=[nrs,dcr,validity,fidelity]",
)
TWENTY_FOUR = (
    *("dataset=wine,affairs,placements", "method=smote,gaussian_copula,tabddpm,harmonic", "seed=0,1", "n_samples=600"),
    *("metrics=default", "references={copy: {_target_: baselines.copy.Copy}}", "+method.budget=smoke"),
)
REFERENCES = ("copy", "independent")
"""Run beside each cell, once for each table and seed."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sweep", "cells"), [pytest.param(FOUR, 4, id="4"), pytest.param(TWENTY_FOUR, 24, id="24", marks=pytest.mark.long)]
)
def test_a_sweep_killed_three_times_ends_as_an_unbroken_one(run, start, tmp_path, sweep, cells):
    """Oracle: the unbroken sweep: records but for their costs, rows byte for byte. SIGKILL hits the process that a user
    sees, at three random moments between two stages' beginnings; what was done is not done again."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    status, said = run(whole, *JOBLIB, *sweep, "isolate=false")  # which saves a process for each cell
    assert status == 0, said
    begun = len([line for line in events(whole) if line["event"] == "begin"])
    rng = np.random.default_rng()
    for number in (1, 2, 3):
        enough = number * begun // 5
        process = start(broken, *JOBLIB, *sweep)
        wait_for(lambda enough=enough: sum(line["event"] == "begin" for line in events(broken)) > enough, process)
        time.sleep(rng.uniform(0, 0.5))
        assert process.poll() is None, (broken / "output").read_text()
        process.kill()
        process.wait()
    done_before = {  # what is not yet in its place may go there while this looks: workers outlive the parent by a moment
        path: path.stat().st_mtime_ns for path in (broken / "cache").rglob("DONE") if path.parent.suffix != ".tmp"
    }
    assert done_before
    status, said = run(broken, *JOBLIB, *sweep)
    assert status == 0, said
    expected = results(whole)
    assert len([name for name in expected if name.endswith(".csv") and name.split("/")[1] not in REFERENCES]) == cells
    assert results(broken) == expected
    assert {path: path.stat().st_mtime_ns for path in done_before} == done_before
    assert not list(broken.rglob("*.tmp"))
    made, needed = (
        Counter((line["stage"], line["key"]) for line in events(f) if line["event"] == "done") for f in (broken, whole)
    )
    assert made.keys() == needed.keys()
    # a kill between a stage's last line and its rename makes each of the two workers repeat that one
    assert made.total() - needed.total() <= 3 * 2


@pytest.mark.slow
def test_the_same_cell_twice_into_empty_stores(run, tmp_path):
    """Oracle: repetition from nothing, bit for bit: rows, scores and stage keys; in a process of its own or not."""
    for folder, isolate in (("one", "false"), ("two", "true")):
        status, said = run(tmp_path / folder, "method=harmonic", "method.k=3", "metrics=default", f"isolate={isolate}")
        assert status == 0, said
    assert results(tmp_path / "one") == results(tmp_path / "two") != {}
