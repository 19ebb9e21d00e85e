"""What a table teaches of its target, as a user asks for it. Oracles: train itself, and columns that say nothing."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harmonic.bench import run_cell
from harmonic.datasets import load_dataset
from scripts.loss_by_column import losses_by_column
from tests.cells import COPY, cell, write_csv

COMMAND = [sys.executable, str(Path(__file__).parent.parent / "scripts" / "loss_by_column.py")]


@pytest.fixture(scope="module")
def wine():
    return load_dataset("wine", seed=0)


def test_what_a_column_is_worth(wine):
    """Oracle: a column of noise in its place teaches nothing alone, and is not missed; the class by its frequencies is what
    nothing teaches."""
    whole = losses_by_column(wine, wine.train)
    noise = wine.train.assign(flavanoids=np.random.default_rng(0).permutation(wine.train["flavanoids"]))
    broken = losses_by_column(wine, noise)
    shares = wine.train[wine.schema.target].astype(str).value_counts(normalize=True)
    nothing = -np.log(shares[wine.test[wine.schema.target].astype(str)]).mean()
    assert whole["all"] < whole["flavanoids"] < nothing < broken["flavanoids"]
    assert broken["without flavanoids"] == whole["without flavanoids"]
    names = [name for name in whole.index if name in wine.schema.names]
    assert list(whole.index) == ["all", *names, *map("without {}".format, names)]
    assert set(names) == set(wine.schema.names) - {wine.schema.target}


def test_a_class_that_is_missing(wine):
    """Oracle: by hand: its test rows cost the floor of a thousandth each, and not more; fewer rows teach less."""
    target = wine.train[wine.schema.target]
    without = wine.train[target != target.iloc[0]].reset_index(drop=True)
    share = (wine.test[wine.schema.target] == target.iloc[0]).mean()
    assert losses_by_column(wine, without)["all"] == pytest.approx(share * -np.log(0.001), rel=0.2)
    assert losses_by_column(wine, wine.train, 20)["all"] > losses_by_column(wine, wine.train)["all"]


def test_records(script, tmp_path):
    """Oracle: a copy of train, shuffled, is as good as train; a record without rows is counted, and rows are checked."""
    csv = write_csv(tmp_path / "mine.csv")
    for changes in ({"seed": 0}, {"seed": 1}, {"seed": 0, "n_samples": 40}):
        run_cell(cell(csv, tmp_path, COPY, **changes))
    first, other, second = sorted((tmp_path / "runs").rglob("synthetic.csv"))
    second.unlink()
    done = subprocess.run([*COMMAND, f"runs={tmp_path / 'runs'}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    table = [line.split() for line in done.stdout.splitlines()]
    assert table[0][1:4] == ["log", "loss", "on"]
    assert first.parent.name in done.stdout
    assert other.parent.name in done.stdout
    (everything,) = [line for line in table if line[0] == "all"]
    assert float(everything[1]) == pytest.approx(float(everything[2]), abs=0.1)
    assert done.stderr == "left out: 1 of 3 records, whose rows were not kept\n"
    first.write_text(first.read_text().replace("red", "blue", 1))
    changed = script("loss_by_column.py", f"runs={tmp_path / 'runs'}")
    assert (changed.returncode, len(changed.stderr.splitlines())) == (2, 1)
    assert "not the table that was scored" in changed.stderr
    first.unlink()
    other.unlink()
    assert "beside none of 3" in script("loss_by_column.py", f"runs={tmp_path / 'runs'}").stderr


@pytest.mark.parametrize(
    ("arguments", "word"), [((), "runs="), (("runs=nowhere",), "nowhere"), (("runs=.", "rows=x"), "rows")]
)
def test_wrong_arguments(script, arguments, word):
    """Oracle: the rule for what a user can cause: one line."""
    done = script("loss_by_column.py", *arguments)
    assert done.returncode == 2
    assert word in done.stderr
    assert len(done.stderr.splitlines()) == 1
