"""Validity. Oracles: cells counted by hand, rules worked out by hand, Adult's known dependency."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from baselines.independent import Independent
from harmonic import load_dataset
from harmonic.metrics.validity import Validity, determined, find_dependencies, in_range, valid_cells
from harmonic.table import Split
from harmonic.table.infer import infer_schema
from harmonic.table.schema import Column, Schema, attach

SCHEMA = Schema(
    (
        Column("count", "integer", "int64", low=0, high=9),
        Column("size", "decimal", "float64", places=2, low=0.0, high=1.0, nullable=True),
        Column("grade", "category", "int64", categories=("1", "2")),
        Column("member", "boolean", "bool", categories=("False", "True")),
        Column("day", "datetime", "str", datetime_format="%Y-%m-%d", low=1577836800, high=1609372800),
        Column(
            "moment", "datetime", "datetime64", datetime_format="%Y-%m-%d", low=1577836800, high=1609372800, nullable=True
        ),
        Column("note", "text", "str"),
        Column("y", "category", "str", categories=("a", "b")),
    ),
    target="y",
    task="binary",
)
GOOD = {"count": 3, "size": 0.25, "grade": 1, "member": True, "day": "2020-05-01", "moment": pd.Timestamp("2020-05-01")}
GOOD |= {"note": "n", "y": "a"}


def rows_of(*changes: dict) -> pd.DataFrame:
    """A good row, once for each set of changes to it."""
    return pd.DataFrame([GOOD | change for change in changes], dtype=object)


def split_of(schema: Schema = SCHEMA, n: int = 4) -> Split:
    table = schema.restore_dtypes(rows_of(*[{}] * n))
    return Split("made", schema, *(attach(table.copy(), schema) for _ in range(3)))


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("count", [0, 7.0, "8", 99, -5], [2.5, "x", "", None, np.nan, pd.NA, np.inf, "1.5", "now"]),
        ("size", [0.1, 0.1 + 0.2, "0.25", None, "", np.nan, 7], [0.123, 1e-9, "much", -np.inf]),
        ("grade", [1, 2, 1.0, "2"], [3, 1.5, "one", None, "", np.inf]),
        ("member", [True, False, "True"], ["maybe", 1, None, ""]),
        ("day", ["2020-01-31", "1999-12-31"], ["31.01.2020", "2020-02-30", "2020-1-31", "now", "today", "nan", 5, None, ""]),
        ("moment", [pd.Timestamp("2021-03-04"), "2021-03-04", "2021-3-4", None, pd.NaT, ""], ["soon", "2020-13-01"]),
        ("note", ["anything", 5, "now"], [None, ""]),
        ("y", ["a", "b"], ["c", "A", 1, None, ""]),
    ],
)
def test_cells_by_hand(name: str, good: list, bad: list) -> None:
    """What `Column` and the storage types say, one cell at a time and all in one column."""
    rows = rows_of(*({name: cell} for cell in [*good, *bad]))
    expected = np.ones((len(rows), len(SCHEMA.columns)), dtype=bool)
    expected[len(good) :, SCHEMA.names.index(name)] = False
    np.testing.assert_array_equal(valid_cells(rows, SCHEMA), expected)
    alone = [bool(valid_cells(rows.iloc[[number]].infer_objects(), SCHEMA).all()) for number in range(len(rows))]
    assert alone == [True] * len(good) + [False] * len(bad)


def test_shares_by_hand() -> None:
    """Four rows of eight cells: two bad cells in one row, one in another; one row beyond train; the hold-out is sound."""
    rows = rows_of({}, {"count": 0.5, "y": "c"}, {"note": None}, {"count": 10})
    assert Validity()(split_of(), rows, seed=0) == {
        "validity_cells": 29 / 32,
        "validity_rows": 0.5,
        "validity_range": 0.75,
        "validity_cells_holdout": 1.0,
        "validity_rows_holdout": 1.0,
        "validity_range_holdout": 1.0,
        "validity_dependencies_found": 0.0,
    }


def test_ranges_by_hand() -> None:
    """The ends are within; a date beyond is beyond; what is no number is not beyond anything; no bound, no beyond."""
    rows = rows_of(
        {"count": 0}, {"count": 9}, {"count": -1}, {"size": 1.01}, {"size": None}, {"count": "x"},
        {"day": "2019-12-31"}, {"day": "2020-12-31"}, {"moment": pd.Timestamp("2021-01-01")},
    )  # fmt: skip
    expected = [True, True, False, False, True, True, False, True, False]
    assert in_range(rows, SCHEMA).tolist() == expected
    free = replace(SCHEMA, columns=tuple(replace(column, low=None, high=None) for column in SCHEMA.columns))
    assert in_range(rows, free).all()


def test_single_precision_keeps_its_decimals() -> None:
    """.1 as float32 is .1, and .1234 is not; the same bits as float64 are a number of many places."""
    rows = rows_of({}, {}).assign(size=np.array([0.1, 0.1234], dtype=np.float32))
    assert valid_cells(rows, SCHEMA).all(axis=1).tolist() == [True, False]
    assert not valid_cells(rows.assign(size=rows["size"].astype(np.float64)), SCHEMA)[0].all()


def test_real_rows_of_many_decimals_are_valid() -> None:
    """Oracle: train itself, whose numbers have more places than are kept; one of fewer places knows too many."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"raw": rng.normal(size=50), "cut": rng.normal(size=50).round(3), "y": ["a", "b"] * 25})
    schema = infer_schema(table)
    assert schema["raw"].places == 10
    assert valid_cells(table, schema).all()
    longer = valid_cells(table.assign(cut=table["cut"] + 1e-5), schema)
    assert longer.all(axis=0).tolist() == [True, False, True]


def test_constraints_by_hand() -> None:
    """Kept, broken, kept by an empty cell, broken by a cell that is no value, and kept by text that is a value.

    The second rule's cells are sound in the row whose count is not, so that row breaks one rule, which is enough.
    """
    schema = replace(SCHEMA, constraints=("count >= size * 10", "grade in [1]"))
    rows = rows_of({}, {"size": 0.5}, {"size": None}, {"count": "x"}, {"count": "3", "grade": "1"}, {"grade": 2})
    scores = Validity()(split_of(schema), rows, seed=0)
    assert scores["validity_constraints"] == pytest.approx(3 / 6)
    assert scores["validity_constraints_holdout"] == 1.0
    assert "validity_constraints" not in Validity()(split_of(), rows, seed=0)


def places(n: int, seed: int) -> pd.DataFrame:
    """City determines country and zip determines both; rain and the target hang on nothing."""
    random = np.random.default_rng(seed)
    zips = random.integers(0, 12, n)
    cities = np.array(["Rome", "Milan", "Lyon", "Paris"])[zips // 3]
    return pd.DataFrame(
        {
            "zip": zips,
            "city": cities,
            "country": np.where(zips < 6, "it", "fr"),
            "rain": random.integers(0, 5, n),
            "id": np.arange(n),
            "y": random.choice(["a", "b"], n),
        }
    )


def test_dependencies_by_hand() -> None:
    """All three and no other: the column that never repeats determines nothing, however it looks, nor does a coincidence."""
    train = places(300, 0)
    found = find_dependencies(train, infer_schema(train))
    pairs = [(one.determinant, one.dependent) for one in found]
    assert pairs == [("zip", "city"), ("zip", "country"), ("city", "country")]
    assert found[2].mapping.to_dict() == {"Rome": "it", "Milan": "it", "Lyon": "fr", "Paris": "fr"}


def test_the_share_of_kept_dependencies_by_hand() -> None:
    """Six known values of a determinant, four of them with the value of train; an unknown one counts for nothing."""
    train = places(300, 0)
    split = Split("places", infer_schema(train), train, places(50, 1), places(90, 2))
    rows = split.val.iloc[:2].assign(zip=[0, 99], city=["Rome", "Lyon"], country=["fr", "fr"])
    # zip 0: Rome kept, fr broken; Rome: fr broken; zip 99: unknown; Lyon: fr kept
    scores = Validity()(split, rows, seed=0)
    assert scores["validity_dependencies"] == 2 / 4
    assert scores["validity_dependencies_holdout"] == 1.0
    assert scores["validity_dependencies_found"] == 3.0
    garbage = rows.assign(zip="x", city="Atlantis")
    assert Validity()(split, garbage, seed=0)["validity_dependencies"] == 0.0


def test_a_value_seen_once_is_not_known() -> None:
    """Known answer: whatever country goes with a city of one train row, it counts for nothing; Rome is kept."""
    train = pd.concat([places(300, 0), pd.DataFrame([[99, "Nice", "fr", 0, 300, "a"]], columns=places(1, 0).columns)])
    schema = infer_schema(train)
    assert set(find_dependencies(train, schema)[2].mapping.index) == {"Rome", "Milan", "Lyon", "Paris"}
    rows = train.iloc[:2].assign(zip=99, city=["Nice", "Rome"], country="it")
    assert Validity()(Split("s", schema, train, train, train), rows, seed=0)["validity_dependencies"] == 1.0


def test_an_empty_cell_is_a_value_of_a_dependency() -> None:
    """Who is not placed has no grade, so the grade tells who is placed, and being placed does not tell the grade."""
    random = np.random.default_rng(0)
    placed = random.random(200) < 0.5
    train = pd.DataFrame({"grade": np.where(placed, random.choice(["A", "B"], 200), None), "placed": placed})
    train["y"] = random.choice(["a", "b"], 200)
    schema = infer_schema(train)
    (one,) = find_dependencies(train, schema)
    assert one.mapping.to_dict() == {"A": "True", "B": "True", "": "False"}
    rows = pd.DataFrame({"grade": [None, "A", "B"], "placed": [False, False, True], "y": "a"})
    assert Validity()(Split("s", schema, train, train, train), rows, seed=0)["validity_dependencies"] == 2 / 3


def test_chance_by_hand() -> None:
    """Two values ten times each, all alike: (2 * .5 ** 10) ** 2 = 3.8e-6 is chance, eleven times each, 9.5e-7, is none.

    One contrary row, and nothing is determined; a constant dependent is chance of 1.
    """
    for times, found in ((10, False), (11, True)):
        codes = np.repeat([0, 1], times)
        rows = determined(codes, codes)
        assert (rows is not None) == found
        assert rows is None or rows.tolist() == [0, times]
    codes = np.repeat([0, 1], 50)
    assert determined(codes, np.where(np.arange(100) == 3, 1, codes)) is None
    assert determined(codes, np.zeros(100, dtype=np.int64)) is None
    assert determined(np.arange(100), codes) is None


@pytest.mark.paper_data
def test_adult_knows_one_dependency(paper_data_dir: Path) -> None:
    """Education and its number, both ways. Drawn independently, they agree by the chance of two equal draws."""
    split = load_dataset("adult")
    found = [(one.determinant, one.dependent) for one in find_dependencies(split.train, split.schema)]
    assert found == [("education", "education-num"), ("education-num", "education")]
    rows = Independent().fit(split.train, seed=0).sample(20_000, seed=0)
    chance = (split.train["education"].value_counts(normalize=True) ** 2).sum()
    scores = Validity()(split, rows, seed=0)
    assert abs(scores["validity_dependencies"] - chance) < 4 * np.sqrt(chance * (1 - chance) / 20_000)
    assert scores["validity_dependencies_holdout"] == scores["validity_rows_holdout"] == 1.0
