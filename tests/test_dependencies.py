"""Columns that belong together. Oracles: tables made to hold such columns, and the measure by hand."""

import numpy as np
import pandas as pd
import pytest

from harmonic.codec import RowCodec
from harmonic.datasets import load_dataset
from harmonic.dependencies import Links, _lambda
from harmonic.method.examples import crossed, draw_parents
from harmonic.table.infer import infer_schema
from harmonic.table.schema import attach

TOWNS = {"Ulm": 7, "Kiel": 1, "Jena": 16, "Gera": 16}


def schema(table):
    return infer_schema(table, target="sex", task="binary", columns={"town": "category", "state": "category"})


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
            "sex": np.where(rng.random(400) < 0.9, np.where(town == "Ulm", "f", "m"), "f"),
        }
    )


def test_a_town_and_its_state_are_linked(towns):
    """Oracle: the table: a number of its own for every row, a constant and a loose relation determine nothing."""
    assert Links.of(towns.assign(same="x")).groups.tolist() == [0, 1, 0, 2, 3, 4]


def test_a_chain_is_one_group(towns):
    """Oracle: the map of towns to states, and that of states to capitals."""
    towns["capital"] = towns["state"].map({7: "Stuttgart", 1: "Kiel", 16: None})
    assert Links.of(towns).groups.tolist() == [0, 1, 0, 2, 3, 0]


def test_long_tables_are_tried_on_a_few_rows_first():
    """Oracle: the table: one row in two hundred contradicts the link, and one in five the other column's."""
    rng = np.random.default_rng(0)
    code = rng.integers(0, 30, 60_000)
    name, loose = code // 2, np.where(rng.random(60_000) < 0.2, rng.integers(0, 15, 60_000), code // 2)
    name[::200] += 1
    assert Links.of(pd.DataFrame({"code": code, "name": name, "loose": loose})).pairs.tolist() == [[0, 1]]


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
    groups = pd.Series(Links.of(train).groups, index=train.columns)
    assert groups["education"] == groups["education-num"]
    assert groups.nunique() == len(groups) - 1


def test_crossovers_take_linked_cells_from_one_row(towns):
    """Oracle: the map of towns to states holds for every example; a town and an age come from anywhere."""
    cells = towns.astype(str).to_numpy().tolist()
    group, groups = np.arange(60), Links.of(towns).groups
    rows = crossed(cells, draw_parents("crossovers", group, 500, np.random.default_rng(0), groups))
    assert all(TOWNS[row[0]] == int(row[2]) for row in rows)
    assert len({(row[0], row[1]) for row in rows}) > len({(row[0], row[1]) for row in cells[:60]})
    alone = crossed(cells, draw_parents("crossovers", group, 500, np.random.default_rng(0), np.arange(towns.shape[1])))
    assert not all(TOWNS[row[0]] == int(row[2]) for row in alone)


def test_what_determines_comes_first():
    """Oracle: by hand: one way along a chain; both ways leave the order; the last column stays the last."""
    assert Links(4, np.array([(1, 0), (2, 1), (2, 0)])).in_order([0, 1, 2, 3]) == [2, 1, 0, 3]
    assert Links(3, np.array([(1, 0), (0, 1)])).in_order([0, 1, 2]) == [0, 1, 2]
    assert Links(3, np.array([(2, 0)])).in_order([0, 1, 2]) == [0, 1, 2]
    assert Links(3, np.empty((0, 2), dtype=np.int64)).in_order([1, 0, 2]) == [1, 0, 2]


def test_what_values_imply(towns):
    """Oracle: the map of towns; no state, since one has two of them; nor does a town of fewer rows than are asked for."""
    rare = pd.concat([towns, towns.head(4).assign(town="Hof", state=2)], ignore_index=True)
    codec = RowCodec(schema(rare))
    found = Links.of(rare).implied(rare, codec)
    assert found == {(0, town): {2: str(state)} for town, state in TOWNS.items()}


def test_nothing_implies_an_empty_cell_where_none_may_be(towns):
    """Oracle: the table: who is of Kiel has no capital; the others' is their state's."""
    towns["capital"] = towns["state"].map({7: "Stuttgart", 1: None, 16: "Erfurt"})
    codec, links = RowCodec(schema(towns)), Links.of(towns)
    assert links.implied(towns, codec)[0, "Kiel"] == {2: "1", 5: ""}
    assert links.implied(towns, codec, empty=False)[0, "Kiel"] == {2: "1"}
    assert links.implied(towns, codec, empty=False)[0, "Gera"] == {2: "16", 5: "Erfurt"}


def test_rows_that_are_written_keep_what_values_imply(towns, quick_harmonic):
    """Oracle: the map of towns; the model has learnt next to nothing."""
    table = attach(towns[["town", "age", "state", "sex"]], schema(towns[["town", "age", "state", "sex"]]))
    method = quick_harmonic(steps=4, examples="crossovers", pool=8).fit(table, seed=0)
    rows = method.sample(60, seed=0)
    assert method.report["links"] == [("town", "state")]
    assert len(set(rows["town"])) == len(TOWNS)
    assert [TOWNS[town] for town in rows["town"]] == rows["state"].tolist()


def test_columns_may_be_called_as_one_likes(towns):
    """Oracle: what is implied under other names."""
    codec = RowCodec(schema(towns))
    names = {"town": "rows", "age": "count", "state": "size"}
    renamed = towns.rename(columns=names)
    kinds = {"rows": "category", "size": "category"}
    other = RowCodec(infer_schema(renamed, target="sex", task="binary", columns=kinds))
    assert Links.of(renamed).implied(renamed, other) == Links.of(towns).implied(towns, codec)
