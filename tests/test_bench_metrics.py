"""The benchmark of the metrics. Oracles: a small run of the documented command, and the distances of a library."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "scripts" / "bench_metrics.py"


def test_the_documented_command(script, tmp_path):
    """Oracle: what was asked for, and scikit-learn's distances, which are ours; a wrong name is one line."""
    options = ("dataset=wine", "metrics=nrs,scikit-learn brute force", f"out={tmp_path}")
    done = subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "metrics_wine.json").read_text())
    figures = found["figures"]
    assert list(figures) == ["nrs", "scikit-learn brute force"]
    assert all(one["seconds"] > 0 and 100 < one["peak_mb"] < 3000 for one in figures.values())
    assert figures["scikit-learn brute force"]["greatest_difference"] < 1e-6
    page = (tmp_path / "metrics_wine.md").read_text()
    assert f"{found['rows']['train']} train and {found['rows']['test']} test rows" in page
    assert page.count("\n| ") == 1 + len(figures) + 1
    wrong = script("bench_metrics.py", "dataset=wine", "metrics=dcr,dcl", f"out={tmp_path}")
    assert wrong.returncode == 1
    assert "dcl" in wrong.stderr
    assert "Traceback" not in wrong.stderr
