"""The benchmark of the sampler. Oracles: a small run of the documented command, and sums done again from its parts."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

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
