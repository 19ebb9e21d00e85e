"""The benchmark of the sampler. Oracles: a small run of the documented command, and sums done again from its parts."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scripts import bench_sampler

SCRIPT = Path(__file__).parent.parent / "scripts" / "bench_sampler.py"


def test_the_documented_command(tmp_path):
    """Oracle: medians of the times it lists; ours makes valid rows alone, and reads and writes what the bound reads."""
    small = ("steps=2", "rows=4", "repeats=3", f"out={tmp_path}")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "dataset=placements", *small], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "sampler_placements.json").read_text())
    systems = found["systems"]
    assert list(systems) == ["ours", "loop", "batched", "bound"]
    assert systems["ours"]["validity"] == systems["bound"]["validity"] == 1
    for figures in systems.values():
        if figures["ms_per_row"] is None:
            assert figures["validity"] == 0
            continue
        assert len(figures["ms_per_row_all"]) == 3
        assert figures["ms_per_row"] == pytest.approx(np.median(figures["ms_per_row_all"]))
        assert figures["rows_per_s"] == pytest.approx(1e3 / figures["ms_per_row"])
    assert systems["ours"]["times_ours"] == 1
    assert found["tokens_per_row"] > found["drawn_tokens_per_row"] > 10
    assert "ours" in done.stdout


def test_random_weights_of_a_large_model_s_shape():
    """Oracle: the rule: under masks alone are its rows valid, so plain generation is not asked; all it reads is timed."""
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    found = bench_sampler.measure("affairs", "llama2_7b", steps=1, rows=4, batch_size=4, repeats=1, seed=0, sizes=small)
    assert list(found["systems"]) == ["ours", "bound"]
    assert found["systems"]["ours"]["validity"] == 1
    assert found["batch_size"] == 4
    assert found["systems"]["bound"]["ms_per_row"] > 0
