"""The benchmark of large tables. Oracles: a small run of the documented command, and the table's own promises."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "bench_scale.py"


@pytest.mark.slow
def test_the_documented_command(tmp_path):
    """Oracle: the bar for recall, and sums done again from the parts."""
    pytest.importorskip("faiss")
    small = ("rows=2000", "threads=1", "queries=50", "batches=2", f"out={tmp_path}")
    done = subprocess.run([sys.executable, str(SCRIPT), *small], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "scale_2000.json").read_text())
    assert (found["rows"], found["columns"], found["recall"]["rows"]) == (2000, 15, 50)
    assert 0.95 <= found["recall"]["low"] <= found["recall"]["mean"] <= 1
    parts = [found["stages"][name]["seconds"] for name in ("schema", "approximate", "lengths", "start", "stream")]
    assert found["every_row"]["seconds"] == pytest.approx(sum(parts))
    assert found["stages"]["stream"]["instructions"] == 32


def test_a_wrong_argument_is_one_line(script):
    """Oracle: the contract of the scripts."""
    done = script("bench_scale.py", "rows=10")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "rows" in done.stderr
