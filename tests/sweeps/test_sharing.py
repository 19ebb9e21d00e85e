"""Cells at the same time on one store. Oracles: the stages' logs, which say who began what, and a cell that was alone."""

import multiprocessing

import pytest
from conftest import events, results

from harmonic.bench import run_cell
from tests.cells import DCR, NRS, cell

SMOTE = {"_target_": "baselines.smote.Smote", "k": 3}
TABDDPM = {
    "_target_": "baselines.tabddpm.TabDdpm",
    "budget": "smoke",
    "compute": {"_target_": "harmonic.training.Compute", "accelerator": "cpu", "precision": "32-true"},
}
METRICS = {"dcr": DCR, "nrs": NRS}


def at_the_same_time(cells):
    """Four processes, each a cell."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["harmonic.bench", "harmonic.method", "sklearn"])
    with context.Pool(4) as pool:
        return pool.map(run_cell, cells, chunksize=1)


@pytest.mark.parametrize("method", [SMOTE, TABDDPM], ids=["smote", "tabddpm"])
def test_four_processes_do_a_cell_once(csv, tmp_path, method):
    """Oracle: each stage was begun once and done once; the record is that of a process that was alone."""
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    run_cell(cell(csv, alone, method))
    found = at_the_same_time([cell(csv, shared, method)] * 4)
    assert [record.error for record in found] == [None] * 4
    counts = [[line["event"] for line in events(shared, stage)] for stage in ("fit", "sample", "score")]
    assert [(names.count("begin"), names.count("done")) for names in counts] == [(1, 1), (1, 1), (2, 2)]
    assert results(shared) == results(alone)


def test_cells_that_share_a_fit_make_it_once(csv, tmp_path):
    """Oracle: four numbers of rows are four samples of one fit."""
    found = at_the_same_time([cell(csv, tmp_path, TABDDPM, n_samples=n) for n in (5, 6, 7, 8)])
    assert [record.error for record in found] == [None] * 4
    assert [line["event"] for line in events(tmp_path, "fit")].count("begin") == 1
    assert [line["event"] for line in events(tmp_path, "sample")].count("begin") == 4


def test_two_metrics_at_a_time_both_stay_in_the_record(csv, tmp_path):
    """Oracle: by hand: four processes with a metric each leave one record with all of them."""
    each = [{name: metric} for name, metric in METRICS.items()] * 2
    at_the_same_time([cell(csv, tmp_path, SMOTE, metrics=metrics) for metrics in each])
    (record,) = [value for name, value in results(tmp_path).items() if not name.endswith(".csv")]
    assert set(record["scores"]) == set(METRICS)
