"""The hygiene check, against tables whose oddities were put there by hand."""

import json

import numpy as np
import pandas as pd
import pytest

from harmonic.datasets import load_dataset
from harmonic.datasets.hygiene import inspect, summarise, without_cells
from harmonic.table import Split, coerce
from harmonic.table.infer import infer_schema


def split_of(train: pd.DataFrame, val: pd.DataFrame, test: pd.DataFrame, **settings: object) -> Split:
    schema = infer_schema(train, **settings)
    return Split("made", schema, *(coerce(table, schema, "part") for table in (train, val, test)))


@pytest.fixture
def odd() -> Split:
    n = 200
    train = pd.DataFrame(
        {
            "key": range(n),
            "flat": [1] * (n - 2) + [2, 3],
            "size": np.arange(n) % 7 + 0.5,
            "colour": ["red", "blue"] * (n // 2),
            "wage": [np.nan if i % 2 else i / 4 for i in range(n)],
            "paid": ["no" if i % 2 else "yes" for i in range(n)],
        }
    )
    train = pd.concat([train, train.iloc[[0]], train.iloc[[0]]], ignore_index=True)
    val = pd.DataFrame({"key": [900], "flat": [1], "size": [0.5], "colour": ["green"], "wage": [np.nan], "paid": ["no"]})
    test = pd.concat([train.iloc[[4, 5]], val.assign(colour="red"), val.assign(colour="red")])
    return split_of(train, val, test, columns={"colour": {"categories": ["blue", "green", "red"]}})


def test_findings_are_those_put_in(odd):
    assert inspect(odd) == {
        "rows": {"train": 202, "val": 1, "test": 4},
        "train_duplicates": 2,
        "copies_of_train": {"val": {"count": 0, "share": 0.0}, "test": {"count": 2, "share": 0.5}},
        "id_like": [],
        "near_constant": ["flat"],
        "unseen_categories": {"val": {"colour": ["green"]}},
        "small_classes": {},
        "empty_cells": {"wage": 100 + 1 + 3},
        "empty_gives_target": ["wage"],
        "numbers_as_texts": {},
        "dates_as_texts": {},
        "many_valued": {},
        "rare_categories": {},
        "wide_ranges": [],
        "cut_places": [],
    }


def test_findings_are_plain_json(odd):
    findings = inspect(odd)
    assert json.loads(json.dumps(findings)) == findings


def test_summary_says_each_finding_in_a_line(odd):
    assert summarise(inspect(odd)) == [
        "2 of 202 train rows repeat another",
        "2 of 4 test rows (50.00%) stand in train too",
        "one value in 99% of train or more: flat",
        "categories in val that train does not hold: colour green",
        "empty or filled gives the target away: wage",
        "empty cells: wage 104",
    ]


def test_keys_and_small_classes():
    n = 150
    frame = pd.DataFrame(
        {
            "id": range(n),
            "name": [f"n{i}" for i in range(n)],
            "length": np.arange(n) / 8,
            "y": ["a"] * 76 + ["b"] * 70 + ["c"] * 4,
        }
    )
    findings = inspect(split_of(frame, frame[:0], frame[:0]))
    assert findings["id_like"] == ["id", "name"]  # a decimal is a measurement, however distinct
    assert findings["small_classes"] == {"c": 4}
    assert summarise(findings) == [
        "no value occurs twice, a key whose very values may be written (dataset.drop it?): id, name",
        "classes of fewer than 5 train rows: c (4)",
    ]


def test_numbers_that_one_cell_makes_texts():
    """Oracle: by hand. Codes are texts on purpose, and a few numbers among names are names."""
    n = 60
    frame = pd.DataFrame(
        {
            "age": ["?"] + [str(20 + i % 30) for i in range(n - 1)],
            "price": [f"${i},{i:03}.50" for i in range(n)],
            "share": [f"{i / 2} %" for i in range(n)],
            "code": [f"0{i % 25}" for i in range(n)],
            "floor": [("1", "2", "3", "roof")[i % 4] for i in range(n)],
            "room": [(f"{i}", f"hall {i}", f"lobby {i}")[i % 3] for i in range(n)],
            "y": [0, 1] * (n // 2),
        }
    )
    findings = inspect(split_of(frame, frame[:0], frame[:0]))
    assert findings["numbers_as_texts"] == {"age": "?", "price": "$0,000.50", "share": "0.0 %"}
    assert (
        "numbers taken for texts because of such cells (empty or rewrite them?): age '?', price '$0,000.50', share '0.0 %'"
    ) in summarise(findings)


def test_what_may_be_written_as_it_stands():
    """Oracle: by hand: an identifier of two rows each, a town of two rows, dates in a form of their own; no key, no date."""
    n = 300
    frame = pd.DataFrame(
        {
            "patient": [f"P{i // 2:03}" for i in range(n)],
            "town": ["Ghent"] * 2 + ["Bruges", "Ostend"] * (n // 2 - 1),
            "seen": [f"{1 + i % 28:02}-03-2024" for i in range(n)],
            "lot": [f"3-{i % 9}" for i in range(n)],
            "y": [0, 1] * (n // 2),
        }
    )
    findings = inspect(split_of(frame, frame[:0], frame[:0]))
    assert findings["many_valued"] == {"patient": 150}
    assert findings["rare_categories"] == {"patient": 150, "town": 1}
    assert findings["dates_as_texts"] == {"seen": "01-03-2024"}
    said = summarise(findings)
    assert "texts of many values, each of which may be written as it stands (dataset.drop it?): patient (150 values)" in said
    assert "categories of fewer than 5 train rows, which may be written: patient (150), town (1)" in said
    assert [line for line in said if "datetime_format" in line and "seen '01-03-2024'" in line]


def test_a_record_keeps_no_cell(odd):
    """Oracle: the findings, with numbers in the cells' places."""
    kept = without_cells(inspect(odd) | {"numbers_as_texts": {"age": "?"}, "dates_as_texts": {"seen": "1.2.2024"}})
    assert kept["unseen_categories"] == {"val": {"colour": 1}}
    assert (kept["numbers_as_texts"], kept["dates_as_texts"]) == (["age"], ["seen"])
    assert not [cell for cell in ("green", "?", "1.2.2024") if cell in json.dumps(kept)]


def test_numbers_that_spoil_distances_or_lose_digits():
    """Oracle: by hand: one code for unknown among ages; more than ten decimal places; heavy tails are no code."""
    rng = np.random.default_rng(0)
    n = 1000
    frame = pd.DataFrame(
        {
            "age": [999_999, *rng.integers(18, 90, n - 1)],
            "pay": rng.lognormal(8, 1, n).round(2),
            "gain": [0] * (n - 3) + [5, 5, 99_999],
            "raw": rng.normal(size=n),
            "y": [0, 1] * (n // 2),
        }
    )
    findings = inspect(split_of(frame, frame[:0], frame[:0]))
    assert (findings["wide_ranges"], findings["cut_places"]) == (["age"], ["raw"])
    said = summarise(findings)
    assert "one value sets the scale of all distances (a code for unknown?): age" in said
    assert "kept to 10 decimal places: raw" in said


def test_copies_are_found_whatever_the_storage(mixed_frame):
    """A part without empty cells is stored otherwise than train; the rows are the same."""
    holes = mixed_frame.isna().any(axis=1)
    split = split_of(mixed_frame, mixed_frame[~holes].iloc[:7], mixed_frame[holes].iloc[:5])
    copies = inspect(split)["copies_of_train"]
    assert (copies["val"]["count"], copies["test"]["count"]) == (7, 5)


def test_a_clean_table_has_nothing_to_say():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=90).round(3), "y": ["a", "b", "a"] * 30})
    assert summarise(inspect(split_of(frame[:60], frame[60:75], frame[75:]))) == []


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["39", " State-gov", " 13", " >50K", "0"], True),
        (["39", "kind", "13", "pay", "gain"], False),  # as of a pivoted table
        (["0", "1", "2", "3", "4"], False),  # pandas counts where there are no names
    ],
)
def test_a_first_row_that_stands_for_the_names(names, found):
    """Oracle: the names that were put there: a row's, as of a file of UCI's that is read as if it had a header, or not."""
    rows = [[39, " State-gov", 13, " >50K", 4], [50, " Private", 9, " <=50K", 9], [0, " Private", 2, " >50K", 0]] * 20
    frame = pd.DataFrame(rows, columns=names)
    findings = inspect(split_of(frame, frame[:0], frame[:0]))
    assert findings.get("names_like_cells") == (names if found else None)
    assert any("columns are named like their own cells" in line for line in summarise(findings)) == found


def test_placements_gives_its_target_away():
    """SDMetrics fills the four columns exactly for the students who were placed."""
    assert load_dataset("placements").hygiene["empty_gives_target"] == ["salary", "start_date", "end_date", "duration"]


@pytest.mark.paper_data
def test_adult_test_rows_in_train(paper_data_dir):
    """Paper's data, counted once by a merge on all columns: 18 of 16 281, 0.11 %."""
    copies = load_dataset("adult", data_dir=paper_data_dir).hygiene["copies_of_train"]["test"]
    assert copies["count"] == 18
    assert copies["share"] == pytest.approx(0.0011, abs=1e-5)


@pytest.mark.paper_data
def test_buddy_holds_a_code_only_in_test(paper_data_dir):
    assert load_dataset("buddy", data_dir=paper_data_dir).hygiene["unseen_categories"] == {"test": {"X1": ["3"]}}
