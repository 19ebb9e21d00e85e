"""The paper's figures. Oracles: cells read off the printed tables by eye, and what the paper says of them in words."""

from pathlib import Path

import pytest

from harmonic.report.published import Figure, published


@pytest.mark.parametrize(
    ("score", "dataset", "method", "mean", "sd"),
    [
        ("mle", "german", "copy", 0.50, 0.00),
        ("mle", "diabetes", "harmonic_published", 0.46, 0.02),
        ("mle", "buddy", "great", 0.24, 0.03),
        ("lle", "german", "great", 0.55, 0.11),
        ("lle", "buddy", "realtabformer", 0.70, 0.14),
        ("lle", "adult", "ctabganplus", 0.83, 0.00),
        ("dcr", "german", "harmonic_published", 8.08, None),
        ("dcr", "buddy", "great_published", 8.30, None),
        ("dlt", "adult", "realtabformer", -163.71, None),
        ("dlt", "german", "harmonic_published", -0.16, None),
    ],
)
def test_cells_read_off_the_paper(score, dataset, method, mean, sd):
    """Oracle: the paper."""
    assert published().figure(score, dataset, method) == Figure(mean, sd)


def test_what_the_paper_does_not_say():
    """Oracle: the paper: no distance of the original, no DLT of what has no likelihood, no method of ours, no other set."""
    for cell in (
        ("dcr", "german", "copy"),
        ("dlt", "german", "smote"),
        ("mle", "german", "harmonic"),
        ("mle", "wine", "smote"),
    ):
        assert published().figure(*cell) is None


def test_no_cell_was_forgotten():
    """Oracle: the size of the printed tables: 9 methods on 4 sets with both scores, 8 without the original, 3 with a DLT."""
    counts = {score: [len(row) for row in rows.values()] for score, rows in published().scores.items()}
    assert counts == {"mle": [9] * 4, "lle": [9] * 4, "dcr": [8] * 4, "nrs": [8] * 4, "dlt": [3] * 4}
    for rows in published().scores.values():
        assert set(rows) == set(published().datasets)
        assert all(set(row) <= set(published().methods) for row in rows.values())


def test_new_rows_tell_nothing_apart():
    """Oracle: the paper: all 1.00 but three."""
    below = {
        (dataset, name): figure.mean
        for dataset, row in published().scores["nrs"].items()
        for name, figure in row.items()
        if figure.mean < 1
    }
    assert below == {("adult", "SMOTE"): 0.95, ("buddy", "SMOTE"): 0.93, ("buddy", "TabDDPM"): 0.99}


def test_methods_are_ours():
    """Oracle: the YAMLs of methods."""
    known = {path.stem for path in (Path(__file__).parents[2] / "conf" / "method").glob("*.yaml")}
    assert {name for ours in published().methods.values() for name in ours} <= known
