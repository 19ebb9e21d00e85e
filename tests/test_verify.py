"""Records checked. Oracles: a cell that was just run, whose record must hold, and changes by hand, which must show."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harmonic.bench import run_cell
from harmonic.record import read
from harmonic.verify import Finding, verify
from tests.cells import COPY, DCR, NRS, cell, write_csv

SCRIPT = Path(__file__).parent.parent / "scripts" / "verify.py"
INDEPENDENT = {"_target_": "baselines.independent.Independent"}
CANARIES = {"_target_": "harmonic.metrics.attacks.canaries.Canaries"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished cell, which tests copy."""
    root = tmp_path_factory.mktemp("cell")
    run_cell(cell(write_csv(root / "mine.csv"), root, INDEPENDENT))
    (path,) = (root / "runs").rglob("record.json")
    return path.parent


@pytest.fixture
def check(finished, tmp_path):
    """Verifies a copy of it, with other words in the record and other files beside it."""

    def call(origin="seeds", change=lambda record: record, rows=lambda text: text, **options):
        folder = shutil.copytree(finished, tmp_path / "copy" / finished.name)
        table = folder / "synthetic.csv"
        table.write_text(rows(table.read_text()))
        record = change(read(folder / "record.json"))
        return verify(record, folder, origin=origin, data_dir="", cache_dir=tmp_path / "cache", **options)

    return call


def scored(record, name, **changes):
    """The record with something else in a metric's entry."""
    return dataclasses.replace(record, scores={**record.scores, name: {**record.scores[name], **changes}})


@pytest.mark.parametrize("origin", ["rows", "seeds"])
def test_a_record_that_was_just_made_holds(check, finished, origin):
    """Oracle: repetition, bit for bit, of every value of both metrics."""
    found = check(origin)
    assert (found.rows, found.differ, found.unchecked, found.rounded) == ("same", [], [], 0)
    assert found.same == len(read(finished / "record.json").values) > 2
    assert found.holds


@pytest.mark.parametrize("origin", ["rows", "seeds"])
def test_a_score_that_was_changed_is_shown(check, origin):
    """Oracle: a value that was changed by hand."""
    found = check(origin, lambda record: scored(record, "nrs", values={"nrs": 0.25, "nrs_holdout": 1.0}))
    assert [text.partition(":")[0] for text in found.differ if text.startswith("nrs:")] == ["nrs"]
    assert "0.25 recorded" in found.differ[0]
    assert not found.holds


def test_a_difference_of_rounding_counts_apart(check, finished):
    """Oracle: by hand: a part in 10^12 is what another order of summation gives."""

    def nudge(record):
        values = record.scores["dcr"]["values"]
        return scored(record, "dcr", values={**values, "dcr_mean": values["dcr_mean"] * (1 + 1e-12)})

    found = check("rows", nudge)
    assert (found.rounded, found.same, found.holds) == (1, len(read(finished / "record.json").values) - 1, True)


def test_what_a_metric_did_not_tell_the_record(check):
    """Oracle: by hand: a value less in the record is no contradiction, a value more is: it is not found again."""

    def less(record):
        values = dict(record.scores["nrs"]["values"])
        del values["nrs_holdout"]
        return scored(record, "nrs", values=values)

    found = check("rows", less)
    assert (found.holds, found.differ) == (True, [])
    assert found.unchecked == ["nrs: 1 of its values are new, the record has none of them"]
    more = Finding("")
    more.compare("nrs", {"nrs": 1.0, "gone": 0.5}, {"nrs": 1.0})
    assert [text.partition(":")[0] for text in more.differ] == ["gone"]


def test_other_rows_are_noticed(check, tmp_path):
    """Oracle: a cell changed by hand in the stored table; a number of rows changed by hand in the record."""
    assert "not the table that was scored" in check("rows", rows=lambda text: text.replace("red", "blue", 1)).rows
    shutil.rmtree(tmp_path / "copy")
    other = check("seeds", lambda record: dataclasses.replace(record, config={**record.config, "n_samples": 41}))
    assert other.rows.startswith("other rows")
    assert not other.holds


def test_other_data_are_noticed(check):
    """Oracle: the digest of the split."""
    changed = check("seeds", lambda record: dataclasses.replace(record, digests={**record.digests, "split": "0"}))
    assert "data are not those" in changed.rows


def test_what_cannot_be_computed_is_said(check):
    """Oracle: by hand: a metric that fits the generator once more, and one whose class has moved since."""

    def change(record):
        config = {**CANARIES, "counts": [1], "per_count": 4, "candidates": 8}
        more = {"canaries": {"values": {}, "config": config}}
        gone = {"values": {}, "config": {"_target_": "harmonic.metrics.gone.Gone"}}
        return dataclasses.replace(record, scores={**record.scores, **more, "gone": gone})

    found = check("rows", change)
    assert found.holds
    reasons = {text.partition(":")[0]: text for text in found.unchecked}
    assert "harmonic.metrics.gone.Gone" in reasons["gone"]
    assert "it asks the generator" in reasons["canaries"]


def test_rows_are_checked_where_a_metric_copies_the_generator(check):
    """Oracle: a metric that fails on its own takes nothing from the others."""

    def change(record):
        config = {**CANARIES, "counts": [1], "per_count": 4, "candidates": 8}
        odd = {"values": {}, "config": {"_target_": "tests.cells.Failing"}}
        more = {"canaries": {"values": {}, "config": config}, "odd": odd}
        return dataclasses.replace(record, scores={**more, **record.scores})

    found = check("rows", change)
    assert found.same > 2
    reasons = {text.partition(":")[0]: text for text in found.unchecked}
    assert set(reasons) == {"canaries", "odd"}
    assert "it asks the generator" in reasons["canaries"]
    assert "it failed" in reasons["odd"]


def test_metrics_by_name(check):
    """Oracle: the two values of NRS alone."""
    assert check("rows", metrics=["nrs"]).same == 2


def test_the_command(script, tmp_path):
    """Oracle: its exit status and last line: 0 where all holds, 1 where a value was changed, 2 for a wrong argument."""
    run_cell(cell(write_csv(tmp_path / "mine.csv"), tmp_path, COPY, metrics={"dcr": DCR, "nrs": NRS}))
    runs = f"runs={tmp_path / 'runs'}"
    good = subprocess.run([sys.executable, str(SCRIPT), runs], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (good.returncode, good.stdout.splitlines()[-1]) == (0, "1 records, 1 hold, 0 do not"), good.stderr
    wrong = script("verify.py", runs, "method=cpoy")
    assert wrong.returncode == 2
    assert "method must be one of copy" in wrong.stderr
    typo = script("verify.py", runs, "from=rows", "metrics=nrs,ncr")
    assert (typo.returncode, typo.stdout) == (2, "")
    assert "metrics must be of dcr, nrs" in typo.stderr
    (path,) = (tmp_path / "runs").rglob("record.json")
    plain = json.loads(path.read_text())
    plain["scores"]["nrs"]["values"]["nrs"] = 0.5
    path.write_text(json.dumps(plain))
    bad = script("verify.py", runs, "from=rows")
    assert bad.returncode == 1
    assert "nrs: 0.5 recorded, 0 found" in bad.stdout
