"""Sweeps as a user starts them, on a small table and small models; records less what may differ between two runs."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cells import write_csv

RUN = Path(__file__).parent.parent.parent / "run.py"
SMALL = (
    *("metrics=nrs", "references=null", "model=scratch", "trainer=cpu", "trainer.precision=32-true"),
    *("model.hidden_size=32", "model.layers=1", "model.heads=2", "model.mlp_size=64", "model.vocab_size=300"),
    *("model.training.min_steps=2", "model.training.batch_size=8", "trainer.checkpoint_minutes=0.005"),
)
COSTS = ("time", "memory", "per_s", "stretches")
"""What names costs that differ between two runs of the same cell."""


@pytest.fixture(scope="session")
def csv(tmp_path_factory):
    return write_csv(tmp_path_factory.mktemp("table") / "mine.csv")


@pytest.fixture(scope="session")
def command(csv):
    """The words of `python run.py …` that writes into a folder alone."""

    def words(folder, *own):
        where = [f"cache_dir={folder / 'cache'}", f"results_dir={folder / 'runs'}"]
        flags = [word for word in own if word.startswith("-")]
        rest = [word for word in own if word not in flags]
        data = ("dataset=csv", f"dataset.path={csv}") if not any(word.startswith("dataset=") for word in own) else ()
        return [sys.executable, str(RUN), *flags, *data, *SMALL, *where, f"hydra.sweep.dir={folder / 'sweep'}", *rest]

    return words


@pytest.fixture(scope="session")
def run(command):
    """Runs it to its end: exit status and all it said."""

    def call(folder, *own):
        folder.mkdir(exist_ok=True)
        done = subprocess.run(command(folder, *own), cwd=folder, capture_output=True, text=True, timeout=600, check=False)
        return done.returncode, done.stdout + done.stderr

    return call


@pytest.fixture(scope="session")
def start(command):
    """Starts it; the test sees to its end. What it says goes into `output`."""

    def call(folder, *own):
        folder.mkdir(exist_ok=True)
        with (folder / "output").open("a") as output:
            return subprocess.Popen(command(folder, *own), cwd=folder, stdout=output, stderr=output)

    return call


def results(folder):
    """Every record, less its costs and the machine, and every synthetic table, by path."""
    found = {}
    for path in sorted((folder / "runs").rglob("record.json")):
        plain = json.loads(path.read_text())
        plain["env"] = None
        plain["costs"] = {k: v for k, v in plain["costs"].items() if not any(word in k for word in COSTS)}
        for score in plain["scores"].values():
            score.update(time_s=0, peak_memory_mb=0)
        name = str(path.parent.relative_to(folder / "runs"))
        found[name] = plain
        if plain["status"] == "done":
            found[f"{name}.csv"] = (path.parent / "synthetic.csv").read_bytes()
    return found


def events(folder, stage="*"):
    """The lines of the stages' logs, in order of time."""
    lines = []
    for path in (folder / "cache" / "log").glob(f"{stage}/*.jsonl"):
        for text in path.read_text().splitlines():
            try:
                lines.append({**json.loads(text), "stage": path.parent.name, "key": path.stem})
            except json.JSONDecodeError:  # a blank line, or one that a kill cut
                continue
    return sorted(lines, key=lambda line: line["time"])


def wait_for(condition, process, seconds=300.0):
    """Until a condition holds, or the process has ended."""
    until = time.monotonic() + seconds
    while not condition() and process.poll() is None:
        assert time.monotonic() < until, "never"
        time.sleep(0.01)
