"""Columns that belong together. Oracles: tables made to hold such columns, and the measure by hand."""

import numpy as np
import pandas as pd
import pytest

from harmonic.datasets import load_dataset
from harmonic.dependencies import _lambda, linked_columns
from harmonic.examples import make_examples

TOWNS = {"Ulm": 7, "Kiel": 1, "Jena": 16, "Gera": 16}


@pytest.fixture
def towns():
    rng = np.random.default_rng(0)
    town = rng.choice(list(TOWNS), 400)
    return pd.DataFrame(
        {
            "town": town,
            "age": rng.integers(18, 90, 400),
            "state": [TOWNS[name] for name in town],
            "row": np.arange(400),
            "same": "x",
            "sex": np.where(rng.random(400) < 0.9, np.where(town == "Ulm", "f", "m"), "f"),
        }
    )


def test_a_town_and_its_state_are_linked(towns):
    """Oracle: the table: a number of its own for every row, a constant and a loose relation determine nothing."""
    assert linked_columns(towns).tolist() == [0, 1, 0, 2, 3, 4]


def test_a_chain_is_one_group(towns):
    towns["capital"] = towns["state"].map({7: "Stuttgart", 1: "Kiel", 16: None})
    assert linked_columns(towns).tolist() == [0, 1, 0, 2, 3, 4, 0]


def test_lambda_by_hand():
    """Oracle: by hand: four of nine rows are wrong without; one with, a lone row; then two, an exception too."""
    known, wanted = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2]), np.array([0, 0, 0, 0, 1, 1, 1, 1, 0])
    assert _lambda(known, wanted) == pytest.approx(1 - 1 / 4)
    wanted[3] = 1
    assert _lambda(known, wanted) == pytest.approx(1 - 2 / 4)


@pytest.mark.paper_data
def test_adults_education_has_a_number(paper_data_dir):
    """Oracle: what its authors say of the two columns."""
    train = load_dataset("adult").train
    groups = pd.Series(linked_columns(train), index=train.columns)
    assert groups["education"] == groups["education-num"]
    assert groups.nunique() == len(groups) - 1


def test_crossovers_take_linked_cells_from_one_row(towns):
    """Oracle: the map of towns to states holds for every example; a town and an age come from anywhere."""
    cells = towns.astype(str).to_numpy().tolist()
    rows = make_examples("crossovers", cells, np.arange(60), 500, np.random.default_rng(0), linked_columns(towns))
    assert all(TOWNS[row[0]] == int(row[2]) for row in rows)
    assert len({(row[0], row[1]) for row in rows}) > len({(row[0], row[1]) for row in cells[:60]})
    alone = make_examples("crossovers", cells, np.arange(60), 500, np.random.default_rng(0))
    assert not all(TOWNS[row[0]] == int(row[2]) for row in alone)
