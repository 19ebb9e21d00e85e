"""The evaluation of the base model, as a user runs it. Oracles: the file it writes, and what examples are good for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, str(Path(__file__).parent.parent / "scripts" / "evaluate_base.py")]


def test_a_bundled_table(tmp_path):
    """Oracle: every column is guessed better with examples than without, and the better the more of them there are."""
    options = ("dataset=wine", "rows=20", "fine_tune=false", f"out={tmp_path}")
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "wine.json").read_text())
    cells, columns = found["bits_per_cell"], found["bits_by_column"]
    assert [name for name in cells if name.startswith("zero-shot, k")] == [f"zero-shot, k = {k}" for k in (0, 1, 3, 5, 8)]
    assert cells["zero-shot, k = 8"] < cells["zero-shot, k = 1"] < cells["zero-shot, k = 0"]
    assert all(columns["zero-shot, k = 5"][name] < columns["zero-shot, k = 0"][name] for name in columns["marginal"])
    assert "fine-tuned" not in cells
    assert cells["zero-shot, masks"] < cells["zero-shot, k = 5"]
    assert 0 <= found["validity"]["zero-shot"] <= 1
    assert f"{cells['copy']:.3f}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "dataset="),
        (("dataset=nosuch",), "nosuch"),
        (("dataset=wine", "model=no/such/model"), "no/such/model"),
        (("dataset=wine", "rows=0"), "rows must be a whole number of at least 1"),
        (("dataset=wine", "out=/proc/nowhere"), "out=/proc/nowhere"),
    ],
)
def test_wrong_arguments(script, arguments, word, tmp_path, monkeypatch):
    """Oracle: the rule for what a user can cause: one line, and nothing written."""
    monkeypatch.chdir(tmp_path)
    done = script("evaluate_base.py", *arguments)
    assert done.returncode == 1
    assert word in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
