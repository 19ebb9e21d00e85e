"""Schema inference, the text form of every kind, coercion, digests."""

import datetime
import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from harmonic.datasets import as_table
from harmonic.errors import BadInput
from harmonic.table import Split, coerce, digest, load_table, save_table, schema_of
from harmonic.table.infer import DATETIME_FORMATS, describe, infer_schema
from harmonic.table.schema import Column, Schema

KINDS = {
    "amount": ("decimal", "float64", False),
    "count": ("integer", "int64", False),
    "visits": ("integer", "float64", True),
    "grade": ("category", "str", True),
    "member": ("boolean", "bool", False),
    "smoker": ("boolean", "bool", True),
    "day": ("datetime", "str", False),
    "moment": ("datetime", "datetime64", True),
    "note": ("text", "str", False),
    "label": ("category", "str", False),
}
"""What the fixture was made to hold: kind, storage, nullable."""


def test_inference_finds_what_the_fixture_was_made_to_hold(mixed_frame):
    schema = infer_schema(mixed_frame)
    assert {column.name: (column.kind, column.dtype, column.nullable) for column in schema.columns} == KINDS
    assert (schema.target, schema.task) == ("label", "binary")
    assert schema["amount"].places == 2
    assert schema["day"].datetime_format == "%d.%m.%Y"
    assert schema["grade"].categories == ("A", "B, or C", 'D "E"')
    assert (schema["count"].low, schema["count"].high) == (mixed_frame["count"].min(), mixed_frame["count"].max())


@pytest.mark.parametrize("form", DATETIME_FORMATS)
def test_moments_are_known_by_their_form(form):
    """Oracle: strftime, on a day that no other order of day and month can mean; texts come back as they were."""
    moments = pd.to_datetime(["2024-03-31 04:15:52", "2023-12-28 23:59:07", "2020-02-29 00:00:01"])
    texts = pd.Series(moments.strftime(form))
    schema = infer_schema(pd.DataFrame({"seen": texts, "y": ["a", "b", "a"]}))
    column = schema["seen"]
    assert (column.kind, column.datetime_format) == ("datetime", form)
    assert column.from_numbers(column.numbers(texts)).tolist() == texts.tolist()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"columns": {"x": None}}, ("dataset.columns.x", "None")),
        ({"columns": {"x": {"nullable": "yes"}}}, ("dataset.columns.x.nullable", "true or false")),
        ({"columns": {"x": {"places": "two"}}}, ("dataset.columns.x.places", "'two'")),
        ({"columns": {"x": {"low": "a"}}}, ("dataset.columns.x.low", "a finite number")),
        ({"columns": {"x": {"low": 20, "high": 3}}}, ("dataset.columns.x", "low at most high")),
        ({"columns": {"y": {"categories": "ab"}}}, ("dataset.columns.y.categories", "a list")),
        ({"task": "regresion"}, ("dataset.task", "'regresion'")),
    ],
)
def test_corrections_that_are_none(change, words, one_sentence):
    """Oracle: the rule for what a user can cause."""
    with pytest.raises(BadInput) as error:
        infer_schema(pd.DataFrame({"x": [1.5, 2.5, 3.5], "y": ["a", "b", "a"]}), **change)
    one_sentence(error.value, *words)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([1.0, np.inf, 2.0], "inf"),
        ([1 + 2j, 2, 3], "(1+2j)"),
        ([[1], [2], [3]], "[1]"),
        (pd.date_range("2024", periods=3, tz="UTC"), "UTC"),
        (pd.date_range("2024", periods=3, freq="90ms"), "90000"),
        (pd.to_timedelta([1, 2, 3], unit="h"), "Timedelta"),
        (np.array(["1500-01-01", "1600-01-01", "2000-01-01"], dtype="datetime64[s]"), "1500"),
        (["a", "", "b"], "found ''"),
        ([b"a", b"b", b"c"], "b'a'"),
        ([None, np.nan, pd.NaT], "no value"),
    ],
)
def test_cells_that_no_file_holds(cells, words, one_sentence):
    """Oracle: the rule for what a user can cause."""
    with pytest.raises(BadInput) as error:
        infer_schema(pd.DataFrame({"x": pd.Series(cells), "y": ["a", "b", "a"]}))
    one_sentence(error.value, "column 'x'", words)


def test_a_name_that_is_empty(one_sentence):
    """Oracle: the rule for what a user can cause."""
    with pytest.raises(BadInput) as error:
        infer_schema(pd.DataFrame({"": [1, 2, 3], "y": ["a", "b", "a"]}))
    one_sentence(error.value, "column names", "''")


def test_the_ends_of_numbers_of_many_places_can_be_written():
    """Oracle: the texts of the smallest and the largest, which lie within the bounds; and these hold the numbers."""
    numbers = np.random.default_rng(0).normal(size=60)
    column = infer_schema(pd.DataFrame({"x": numbers, "y": ["a", "b"] * 30}))["x"]
    ends = [float(text) for text in column.write(pd.Series([numbers.min(), numbers.max()]))]
    assert column.low <= min(*ends, numbers.min())
    assert column.high >= max(*ends, numbers.max())


def test_a_name_that_stands_twice(one_sentence):
    """Oracle: the rule for what a user can cause."""
    with pytest.raises(BadInput) as error:
        infer_schema(pd.DataFrame([[1, 2, "a"], [2, 3, "b"]], columns=["x", "x", "y"]))
    one_sentence(error.value, "'x' stands there twice")


@pytest.mark.parametrize("rows", ["my.csv", np.ones((9, 2)), pd.Series([1, 2]), None])
def test_what_is_no_table(rows, mixed_frame, one_sentence):
    """Oracle: the rule for what a user can cause."""
    for take in (as_table, schema_of, lambda found: coerce(found, infer_schema(mixed_frame), "rows")):
        with pytest.raises(BadInput) as error:
            take(rows)
        one_sentence(error.value, "DataFrame", type(rows).__name__)


def test_cells_of_pandas_and_python_are_as_those_of_a_file():
    """Oracle: the schema of the same rows as numbers and texts."""
    days = [datetime.date(2024, 3, 2), datetime.date(2024, 11, 12), datetime.date(2024, 3, 4)]
    frame = pd.DataFrame({"day": days, "n": pd.array([1, None, 3], "Int64"), "y": pd.Categorical(["a", "b", "a"])})
    plain = pd.DataFrame({"day": list(map(str, days)), "n": [1, np.nan, 3], "y": ["a", "b", "a"]})
    assert infer_schema(frame)["day"] == infer_schema(plain)["day"]
    assert infer_schema(frame)["y"].categories == ("a", "b")


@pytest.mark.parametrize(
    ("days", "padded"),
    [
        (["2024-03-02", "2024-11-12"], True),
        (["2024-3-2", "2024-11-12"], False),
        (["2024-03-02", "2024-3-2"], False),
        (["12/11/2024", "02/03/2024"], True),
        (["12/11/2024", "2/3/2024"], False),
        ([pd.Timestamp("2024-03-02"), pd.Timestamp("2024-11-12")], True),
    ],
)
def test_leading_zeros_of_dates(days, padded):
    """Oracle: by hand. A schema with zeros is written as it was before there was a word for them, and so is its digest."""
    schema = infer_schema(pd.DataFrame({"day": days * 5, "y": [0, 1] * 5}))
    assert schema["day"].padded == padded
    assert ("padded" in schema.to_json()["columns"][0]) == (not padded)
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema
    text = "2024-3-2" if schema["day"].datetime_format == "%Y-%m-%d" else "2/3/2024"
    if padded:
        with pytest.raises(ValueError, match="not a date"):
            schema["day"].read(text)
    else:
        assert schema["day"].read(text) == text


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ([0, 1] * 10, "binary"),
        ([0.0, 1.0] * 10, "binary"),
        ([True, False] * 10, "binary"),
        (["a", "b", "c", "a"] * 5, "multiclass"),
        (list(range(20)), "multiclass"),
        (list(range(21)), "regression"),
        ([0.5, 1.5] * 10, "regression"),
    ],
)
def test_task_follows_the_target(values, task):
    frame = pd.DataFrame({"x": range(len(values)), "y": values})
    assert infer_schema(frame).task == task


def test_corrections_win_over_inference(mixed_frame):
    columns = {"count": {"kind": "category", "categories": range(60)}, "amount": {"high": 99.0}, "note": "category"}
    schema = infer_schema(mixed_frame, columns=columns)
    assert schema["count"].categories == tuple(map(str, range(60)))
    assert (schema["amount"].kind, schema["amount"].high) == ("decimal", 99.0)
    assert schema["note"].kind == "category"


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"cuont": "category"}, ("'cuont'", "spelling")),
        ({"count": "float"}, ("'float'", "integer, decimal")),
        ({"count": {"knid": "category"}}, ("'knid'", "dataset.columns.count")),
        ({"grade": "integer"}, ("'grade'", "expected integer", "train.csv")),
    ],
)
def test_bad_corrections(mixed_frame, one_sentence, columns, words):
    with pytest.raises(BadInput) as error:
        infer_schema(mixed_frame, columns=columns, source="train.csv")
    one_sentence(error.value, *words)


def test_words_that_stand_for_this_moment_are_no_dates():
    """Oracle: the rule: pandas reads them in any format, and another moment each time."""
    days = ["2024-01-31", "now", "2023-02-28", "today"]
    table = pd.DataFrame({"end": days, "y": ["a", "b"] * 2})
    schema = infer_schema(table)
    assert (schema["end"].kind, schema["end"].categories) == ("category", tuple(sorted(days)))
    dated = infer_schema(table.assign(end="2024-01-31").assign(end=days[:1] * 3 + days[2:3]))
    with pytest.raises(BadInput, match="found 'now', no date of the form"):
        coerce(table, dated, "test")


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ({"x": {"high": 0.5}}, ("dataset.columns.x", "0 to 0.5 holds 25%", "correct low or high")),
        ({"x": {"low": -np.inf}}, ("dataset.columns.x.low", "a finite number")),
        ({"y": {"categories": ["a", "b", "a"]}}, ("dataset.columns.y.categories", "each once")),
        ({"seen": {"kind": "datetime", "datetime_format": "%Y-%m-%dT%H:%M:%S%z"}}, ("seen.datetime_format", "no time zone")),
        ({"seen": {"kind": "datetime", "datetime_format": "%Q"}}, ("seen.datetime_format", "strftime's signs")),
        ({"late": "datetime"}, ("'late'", "found '9999-12-31'", "between 1678 and 2261")),
        ({"y": "decimal"}, ("'y'", "expected decimal", "found 'a'")),
    ],
)
def test_corrections_that_no_row_obeys(column, words, one_sentence):
    """Oracle: the rule for what a user can cause."""
    table = pd.DataFrame(
        {
            "x": [0, 1, 2, 3],
            "seen": ["2024-01-31T10:00:00+02:00"] * 3 + ["2024-02-01T10:00:00+02:00"],
            "late": ["2024-01-31", "2023-02-28", "9999-12-31", "2024-02-29"],
            "y": ["a", "b"] * 2,
            "z": [0, 1, 1, 0],
        }
    )
    with pytest.raises(BadInput) as error:
        infer_schema(table, columns=column, source="mine.csv")
    one_sentence(error.value, *words)


@pytest.mark.parametrize(
    ("task", "target", "words"),
    [("regression", ["a", "b", "c"] * 2, "holds no numbers"), ("binary", ["a", "b", "c"] * 2, "has 3 classes")],
)
def test_a_task_that_the_target_is_not_fit_for(task, target, words, one_sentence):
    """Oracle: the rule for what a user can cause."""
    with pytest.raises(BadInput) as error:
        infer_schema(pd.DataFrame({"x": range(6), "y": target}), task=task)
    one_sentence(error.value, task, "'y'", words)


def test_categories_are_named_as_their_column_is_written():
    """Oracle: a file's whole numbers beside an empty cell, which pandas stores as floats; named as the file has them."""
    table = pd.DataFrame({"grade": [3.0, np.nan, 1.0, 2.0], "y": ["a", "b"] * 2})
    schema = infer_schema(table, columns={"grade": {"kind": "category", "categories": [1, 2, 3, 4]}})
    assert coerce(table, schema, "train")["grade"].tolist()[2:] == [1.0, 2.0]
    assert len(schema["grade"].categories) == 4


@pytest.mark.parametrize("form", ["", "%d-%m-%Y"])
def test_moments_come_back_whatever_the_rows_are_like(tmp_path, form):
    """Oracle: the table that was saved: midnights alone, in a column with times of day or a form of its own, and an hour in
    a column of days."""
    days = pd.to_datetime(["2024-01-31 09:30:00", "2023-02-28", "2024-02-29", "2024-03-01"], format="ISO8601")
    columns = {"seen": {"datetime_format": form}} if form else None
    schema = infer_schema(pd.DataFrame({"seen": days, "y": ["a", "b"] * 2}), columns=columns)
    for number, rows in enumerate(([1, 2, 3], [0, 1], [0])):
        folder = tmp_path / str(number)
        folder.mkdir()
        table = coerce(pd.DataFrame({"seen": days[rows], "y": "a"}), schema, "rows")
        save_table(table, folder, schema)
        pd.testing.assert_frame_equal(load_table(folder), table)


def test_a_time_zone_is_refused_in_a_sentence(one_sentence):
    """Oracle: the rule for what a user can cause, in a column's type or in its cells."""
    days = pd.to_datetime(["2024-01-31", "2023-02-28", "2024-02-29", "2024-03-01"])
    plain = pd.DataFrame({"seen": days, "y": ["a", "b"] * 2})
    aware = plain.assign(seen=days.tz_localize("UTC"))
    with pytest.raises(BadInput) as error:
        coerce(aware, infer_schema(plain), "conditions")
    one_sentence(error.value, "conditions", "'seen'", "time zone")
    with pytest.raises(BadInput) as error:
        infer_schema(aware.assign(seen=aware["seen"].astype(object)))
    one_sentence(error.value, "'seen'", "no time zone")


def test_what_a_table_has_of_its_own_is_given_up_with_a_word(mixed_table, caplog):
    """Oracle: the rule: rows that are other ones have a schema inferred anew, and it is said."""
    changed = mixed_table.assign(amount=mixed_table["amount"] * 1000)
    assert schema_of(mixed_table) is mixed_table.attrs["schema"]
    assert not caplog.records
    assert schema_of(changed)["amount"].high > 1000
    assert "without its corrections" in caplog.text


def test_description_has_a_line_per_column(mixed_frame):
    lines = describe(infer_schema(mixed_frame)).splitlines()
    assert [line.split()[0] for line in lines] == list(KINDS)
    assert "may be empty" in lines[2] and "target, binary" in lines[-1]


@pytest.mark.parametrize("name", KINDS)
def test_reading_undoes_writing(mixed_frame, name):
    column = infer_schema(mixed_frame)[name]
    read = [column.read(text) for text in column.write(mixed_frame[name])]
    expected = mixed_frame[name]
    assert [pd.isna(value) for value in read] == expected.isna().tolist()
    assert [value for value in read if not pd.isna(value)] == expected.dropna().tolist()


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("amount", "", "empty"),
        ("amount", "1.234", "too many decimal places"),
        ("amount", "1e0", "not a number"),
        ("amount", "nan", "not a number"),
        ("amount", "9999", "out of range"),
        ("count", "3.0", "too many decimal places"),
        ("count", " 3", "not a number"),
        ("count", "-1", "out of range"),
        ("grade", "a", "unknown category"),
        ("member", "true", "unknown category"),
        ("day", "2024-01-31", "not a date"),
        ("day", "31.02.2024", "not a date"),
        ("moment", "1999-01-01 00:00:00", "out of range"),
        ("note", "a\0b", "text with a NUL"),
        ("note", "a\rb", "text with a lone carriage return"),
        ("note", "a\ud800", "text with half a surrogate pair"),
    ],
)
def test_reading_refuses(mixed_frame, name, text, reason):
    with pytest.raises(ValueError, match=f"^{reason}$"):
        infer_schema(mixed_frame)[name].read(text)


def test_coercion_restores_a_table_from_its_own_csv(mixed_frame, tmp_path):
    schema = infer_schema(mixed_frame)
    table = coerce(mixed_frame, schema, "train")
    table.to_csv(tmp_path / "table.csv", index=False)
    again = coerce(pd.read_csv(tmp_path / "table.csv")[list(reversed(schema.names))], schema, "table.csv")
    pd.testing.assert_frame_equal(again, table)
    assert digest(again) == digest(table)


def test_coercion_keeps_values_beyond_trains_range(mixed_frame):
    schema = infer_schema(mixed_frame)
    wide = mixed_frame.assign(count=mixed_frame["count"] + 1000)
    assert coerce(wide, schema, "test")["count"].tolist() == wide["count"].tolist()


def test_coercion_writes_codes_as_train_does():
    schema = infer_schema(pd.DataFrame({"code": [1, 2, 3] * 4, "y": ["a", "b"] * 6}), columns={"code": "category"})
    table = coerce(pd.DataFrame({"code": [1.0, 3.0], "y": ["a", "b"]}), schema, "test")
    assert table["code"].tolist() == [1, 3]
    assert table["code"].dtype == "int64"


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("grade", "Z", ("'Z'", "category that train does not have")),
        ("amount", "much", ("'much'", "no finite number")),
        ("amount", np.inf, ("inf", "no finite number")),
        ("count", 1.5, ("1.5", "no integer")),
        ("count", np.nan, ("empty cell", "fill it")),
        ("day", "2024-01-31", ("'2024-01-31'", "%d.%m.%Y")),
    ],
)
def test_coercion_names_the_cell_it_refuses(mixed_frame, one_sentence, column, value, words):
    schema = infer_schema(mixed_frame)
    bad = mixed_frame.astype({column: object})
    bad.loc[6, column] = value
    with pytest.raises(BadInput) as error:
        coerce(bad, schema, "test.csv")
    one_sentence(error.value, "test.csv", f"'{column}'", "row 7", *words)


def test_coercion_counts_further_bad_cells(mixed_frame):
    bad = mixed_frame.assign(grade="Z")
    with pytest.raises(BadInput, match=r"row 1.*and 119 more such cells"):
        coerce(bad, infer_schema(mixed_frame), "test.csv")


def test_coercion_names_columns_that_differ(mixed_frame, one_sentence):
    with pytest.raises(BadInput) as error:
        coerce(mixed_frame.rename(columns={"count": "counts"}), infer_schema(mixed_frame), "test.csv")
    one_sentence(error.value, "test.csv", "lacks 'count'", "unknown column 'counts'")


def test_integers_with_holes_are_stored_as_floats():
    schema = Schema(
        (Column("n", "integer", "int64", nullable=True, low=0, high=9), Column("y", "boolean", "bool")), "y", "binary"
    )
    table = schema.restore_dtypes(pd.DataFrame({"n": ["1", None], "y": [True, False]}))
    assert str(table["n"].dtype) == "float64"
    assert table["n"].tolist()[0] == 1.0 and np.isnan(table["n"].tolist()[1])


def test_days_that_a_file_holds_as_numbers(tmp_path):
    """Oracle: the file's own text: an empty cell makes floats of them, but no other dates."""
    frame = pd.DataFrame({"day": [20240131.0, np.nan, 20230228.0] * 5, "y": ["a", "b", "c"] * 5})
    schema = infer_schema(frame, columns={"day": {"kind": "datetime", "datetime_format": "%Y%m%d"}})
    table, day = coerce(frame, schema, "days"), schema["day"]
    assert day.padded
    assert day.write(table["day"])[:3] == ["20240131", "", "20230228"]
    assert [day.read(text) for text in ("20240131", "20230228")] == ["20240131", "20230228"]
    save_table(table, tmp_path)
    assert (tmp_path / "table.csv").read_text().splitlines()[1:4] == ["20240131,a", ",b", "20230228,c"]
    pd.testing.assert_frame_equal(load_table(tmp_path), table)


def test_schema_survives_json(mixed_frame):
    schema = infer_schema(mixed_frame, description="visitors")
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema


def test_digest_is_the_sha256_of_the_csv_text():
    frame = pd.DataFrame({"x": [1, 2], "y": ["a", None]}, index=[7, 3])
    assert digest(frame) == hashlib.sha256(b"x,y\n1,a\n2,\n").hexdigest()


def test_split_digest_sees_every_part_and_the_schema(mixed_frame):
    schema = infer_schema(mixed_frame)
    split = Split("mixed", schema, mixed_frame, mixed_frame[:10], mixed_frame[10:20])
    others = [
        Split("mixed", infer_schema(mixed_frame, description="x"), mixed_frame, mixed_frame[:10], mixed_frame[10:20]),
        Split("mixed", schema, mixed_frame[1:], mixed_frame[:10], mixed_frame[10:20]),
        Split("mixed", schema, mixed_frame, mixed_frame[:9], mixed_frame[10:20]),
        Split("mixed", schema, mixed_frame, mixed_frame[:10], mixed_frame[10:21]),
    ]
    assert split.digest == Split("other name", schema, mixed_frame, mixed_frame[:10], mixed_frame[10:20]).digest
    assert len({split.digest, *(other.digest for other in others)}) == 5


def test_moments_are_rounded_to_what_their_form_shows(mixed_table):
    """Oracle: the calendar: a second before midnight is the next day where the form has no hour."""
    column = schema_of(mixed_table)["day"]
    midnight = pd.Timestamp("2024-03-02").timestamp()
    assert column.from_numbers(np.array([midnight - 1, midnight + 1, np.nan]))[:2].tolist() == ["02.03.2024"] * 2
    assert column.from_numbers(np.array([np.nan, np.nan])).isna().all()


def test_a_schema_that_is_no_longer_the_tables_is_not_taken_for_it(mixed_table):
    """Oracle: the values: pandas hands attrs on through each of these."""
    schema = schema_of(mixed_table)
    assert schema_of(mixed_table.head(9)) is schema
    assert schema_of(mixed_table.assign(day="01.02.2024")) is schema
    assert "day" not in schema_of(mixed_table.drop(columns="day")).names
    added = schema_of(mixed_table.assign(last=range(len(mixed_table))))
    assert (added.names[-1], added.target) == ("last", "label")
    assert "date" in schema_of(mixed_table.rename(columns={"day": "date"})).names
    assert schema_of(mixed_table.assign(grade=["A", "E"] * 60))["grade"].categories == ("A", "E")
    assert schema_of(mixed_table.assign(amount=mixed_table["amount"] + 1e6))["amount"].low > 1e5
