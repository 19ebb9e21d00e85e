"""Parquet files. Oracle: the same rows read from CSV, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from harmonic.datasets import load_dataset, read_csv
from harmonic.datasets.parquet import read_parquet
from harmonic.datasets.sources import File
from harmonic.errors import BadInput
from harmonic.table import digest

pytest.importorskip("pyarrow")


def frame(n=60):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "size": rng.integers(0, 30, n),
            "rate": np.where(rng.random(n) < 0.2, np.nan, rng.integers(0, 9, n) / 4),
            "count": np.where(rng.random(n) < 0.2, np.nan, rng.integers(0, 9, n)),
            "colour": np.where(rng.random(n) < 0.2, None, rng.choice(["red", "blue"], n)),
            "member": rng.random(n) < 0.5,
            "label": rng.choice(["no", "yes"], n),
        }
    )


@pytest.mark.parametrize("form", ["plain", "categories", "nullable integers", "empty texts"])
def test_the_same_rows_as_from_csv(tmp_path, form):
    """Oracle: the digest of the split, schema included, whatever way the same cells are stored."""
    table = frame()
    table.to_csv(tmp_path / "mine.csv", index=False)
    if form == "categories":
        table = table.astype({"colour": "category", "label": "category"})
    if form == "nullable integers":
        table = table.astype({"count": "Int64", "size": "int32"})
    if form == "empty texts":
        table["colour"] = table["colour"].fillna("")
    table.to_parquet(tmp_path / "mine.parquet", index=False)
    ours, theirs = load_dataset(tmp_path / "mine.parquet"), load_dataset(tmp_path / "mine.csv")
    assert ours.schema == theirs.schema
    for part in ("train", "val", "test"):
        assert digest(getattr(ours, part)) == digest(getattr(theirs, part))


@pytest.mark.parametrize("name", [None, "client"])
def test_an_index_is_no_target(tmp_path, name):
    """Oracle: the CSV file of the same rows: row numbers that pandas keeps of filtered rows are no column, an index with a
    name is the first."""
    kept = frame()[frame()["size"] > 5].rename_axis(name)
    kept.to_parquet(tmp_path / "mine.parquet")
    kept.to_csv(tmp_path / "mine.csv", index=name is not None)
    assert read_parquet(tmp_path / "mine.parquet").columns.tolist() == read_csv(tmp_path / "mine.csv").columns.tolist()


def test_texts_that_look_like_empty_cells_come_back(tmp_path):
    """Oracle: the table: a CSV file of its rows, read under its schema."""
    notes = [f"note {number}" for number in range(57)] + ["null", "NA", "None"]
    frame().assign(label=notes, kind=frame()["label"]).to_parquet(tmp_path / "mine.parquet", index=False)
    split = File(str(tmp_path / "mine.parquet"), columns={"label": "text"}, target="kind").load(0)
    split.train.to_csv(tmp_path / "rows.csv", index=False)
    again = read_csv(tmp_path / "rows.csv", split.schema)
    assert again["label"].tolist() == split.train["label"].tolist()


def test_dates_are_moments(tmp_path):
    """Oracle: the kind, and the day as it was stored; a day without a time stays one."""
    days = pd.to_datetime(["2024-02-29", "2023-01-01"] * 20)
    table = pd.DataFrame({"day": days.date, "moment": days + pd.Timedelta("1h"), "y": ["a", "b"] * 20})
    table.to_parquet(tmp_path / "mine.parquet")
    schema = load_dataset(tmp_path / "mine.parquet").schema
    assert [column.kind for column in schema.columns] == ["datetime", "datetime", "category"]
    assert schema.columns[0].datetime_format == "%Y-%m-%d"


def test_what_is_refused(tmp_path, one_sentence):
    """Oracle: one sentence that names the file and the cure."""
    (tmp_path / "text.parquet").write_text("a,b\n1,2\n")
    pd.DataFrame({"a": [[1], [2]]}).to_parquet(tmp_path / "list.parquet")
    pd.DataFrame({"a": pd.to_datetime(["2024-01-01"], utc=True)}).to_parquet(tmp_path / "zone.parquet")
    frame().head(0).to_parquet(tmp_path / "none.parquet")
    faults = {
        "text": "cannot be read",
        "list": "holds list",
        "zone": "holds timestamp",
        "none": "no",
        "gone": "is none",
    }
    for name, fault in faults.items():
        with pytest.raises(BadInput) as caught:
            read_parquet(tmp_path / f"{name}.parquet")
        one_sentence(caught.value, f"{name}.parquet", fault)
