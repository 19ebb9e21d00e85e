"""Rules of rows. Oracles: Python on plain values, and refusal of whatever is no rule."""

import re

import numpy as np
import pandas as pd
import pytest

from harmonic.codec import RowCodec, Unreadable
from harmonic.datasets import File
from harmonic.datasets.hygiene import summarise
from harmonic.errors import BadInput
from harmonic.table.constraints import Constraint, broken
from harmonic.table.schema import Column, Schema, attach

SCHEMA = Schema(
    (
        Column("start", "datetime", "str", datetime_format="%d.%m.%Y", low=0.0, high=2e9),
        Column("end", "datetime", "str", datetime_format="%d.%m.%Y", low=0.0, high=2e9, nullable=True),
        Column("hours per week", "integer", "int64", low=0, high=99),
        Column("pay", "decimal", "float64", places=1, low=0.0, high=9.9, nullable=True),
        Column("kind", "category", "str", categories=("a", "b")),
        Column("member", "boolean", "bool", categories=("False", "True")),
    ),
    "kind",
    "binary",
)
ROW = {"start": "31.01.2024", "end": "01.02.2024", "hours per week": 40, "pay": 2.5, "kind": "a", "member": True}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("end >= start", True),
        ("end < start", False),
        ("start > '31.12.2023'", True),
        ("'01.01.2024' <= start < '01.02.2024'", True),
        ("`hours per week` <= 40", True),
        ("`hours per week` * pay == 100", True),
        ("pay / (`hours per week` - 40) > 0", False),
        ("-pay < 0 and not kind == 'b'", True),
        ("kind in ['b', 'c'] or member", True),
        ("kind not in ('b', 'c')", True),
        ("'x' in kind or kind in 'xa'", True),
        ("member == False", False),
        ("'x`hours per week`y' == 'x`hours per week`y'", True),
    ],
)
def test_rules(text, expected):
    """Oracle: by hand; dates by time and not by their texts, of which the first is the greater."""
    assert Constraint.of(text, SCHEMA).holds(ROW) is expected


@pytest.mark.parametrize("empty", [None, np.nan, pd.NaT])
def test_a_rule_about_an_empty_cell_is_not_broken(empty):
    """Oracle: the rule on the filled row, which is broken; and one about other cells, which still is."""
    filled = {**ROW, "end": "30.01.2024"}
    assert not Constraint.of("end >= start", SCHEMA).holds(filled)
    assert Constraint.of("end >= start", SCHEMA).holds({**filled, "end": empty})
    open_row = {**filled, "end": empty}
    for rule in ("kind == 'b' and end >= start", "end >= start and kind == 'b'"):
        assert not Constraint.of(rule, SCHEMA).holds(open_row)
        assert Constraint.of(f"not ({rule})", SCHEMA).holds(open_row)
    for rule in ("kind == 'b' or end >= start", "end >= start or kind == 'b'", "end >= start or kind == 'a'"):
        assert Constraint.of(rule, SCHEMA).holds(open_row)
    chained, joined = "end > '31.01.2024' > start", "end > '31.01.2024' and '31.01.2024' > start"
    assert not Constraint.of(chained, SCHEMA).holds(open_row)
    assert not Constraint.of(joined, SCHEMA).holds(open_row)


def test_names_in_backticks_are_nobody_elses():
    """Oracle: by hand: 5 is more than 3, though the other column is called what might be put for the first one's name."""
    columns = (
        Column("a b", "integer", "int64"),
        Column("column_0", "integer", "int64"),
        Column("class", "integer", "int64"),
    )
    schema = Schema(columns, "class", "regression")
    row = {"a b": 5, "column_0": 3, "class": 1}
    assert Constraint.of("`a b` > column_0", schema).holds(row)
    assert Constraint.of("`class` == 1", schema).holds(row)
    with pytest.raises(BadInput, match="`class`, stands in backticks"):
        Constraint.of("class == 1", schema)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("end >=", "must compare columns"),
        ("ende >= start", "names 'ende'"),
        ("`hours` > 3", "names 'hours'"),
        ("__import__('os').system('true')", "names '__import__'"),
        ("start.__class__ == 1", "'start.__class__'"),
        ("[x for x in (1, 2)]", "names 'x'"),
        ("kind == f'{start}'", "is no comparison"),
        ("pay ** 9 > 1", "'pay ** 9'"),
        ("pay is None", "'pay is None'"),
        ("lambda: 1", "'lambda: 1'"),
        ("pay[0]", "'pay[0]'"),
        ("kind == 'c'", "compares 'kind' with 'c', which it never is ('a', 'b')"),
        ("not 'c' != kind", "compares 'kind' with 'c'"),
        ("kind in ['c', 'd']", "compares 'kind' with 'c', 'd', which it never is"),
        ("member == 'True'", "which it never is (False, True)"),
        ("pay == '2.5'", "which it never is (a number)"),
    ],
)
def test_whatever_is_no_rule_is_refused_unseen(text, fault):
    """Oracle: the list of what a rule may hold; nothing of it is ever run."""
    with pytest.raises(BadInput, match=re.escape(fault)):
        Constraint.of(text, SCHEMA)


def test_what_cannot_be_compared_is_told(one_sentence):
    """Oracle: Python's own refusal, in one sentence."""
    for text in ("pay < kind", "start < 'soon'"):
        with pytest.raises(BadInput, match="cannot be computed") as caught:
            Constraint.of(text, SCHEMA).holds(ROW)
        one_sentence(caught.value)


def test_a_row_that_breaks_a_rule_is_unreadable():
    """Oracle: the same row without the rule."""
    plain = {name: (str(value) if name != "pay" else "2.5") for name, value in ROW.items()}
    text = str(plain).replace("'", '"')
    ruled = Schema(SCHEMA.columns, "kind", "binary", constraints=("end < start",))
    assert RowCodec(SCHEMA).read(text)["kind"] == "a"
    with pytest.raises(Unreadable, match="breaks end < start"):
        RowCodec(ruled).read(text)
    assert Schema.from_json(ruled.to_json()) == ruled
    assert "constraints" not in SCHEMA.to_json()


def test_rows_of_train_that_break_a_rule_are_counted(tmp_path):
    """Oracle: counting."""
    frame = pd.DataFrame({"low": range(40), "high": [*range(1, 38), 0, 0, 0], "y": ["a", "b"] * 20})
    frame.to_csv(tmp_path / "t.csv", index=False)
    split = File(str(tmp_path / "t.csv"), constraints=["high > low", "low >= 0"]).load(0)
    count = int((split.train["high"] <= split.train["low"]).sum())
    assert split.hygiene["broken_constraints"] == broken(split.train, split.schema) == {"high > low": count}
    assert f"{count} of {len(split.train)} train rows break the constraint high > low" in summarise(split.hygiene)
    with pytest.raises(BadInput, match="names 'hihg'"):
        File(str(tmp_path / "t.csv"), constraints=["hihg > low"]).load(0)
    assert "broken_constraints" not in File(str(tmp_path / "t.csv")).load(0).hygiene


def test_no_row_written_breaks_a_rule(quick_harmonic, easy_table, easy_schema):
    """Oracle: the rule on the finished rows; the same model without it breaks it."""
    ruled = Schema(easy_schema.columns, easy_schema.target, easy_schema.task, "clients", ("size * 2 < 90", "rate < 60"))
    free = quick_harmonic(steps=2).fit(easy_table, seed=0).sample(60, seed=0)
    assert (free["size"] * 2 >= 90).any()
    harmonic = quick_harmonic(steps=2).fit(attach(easy_table.copy(), ruled), seed=0)
    rows = harmonic.sample(60, seed=0)
    assert (rows["size"] * 2 < 90).all()
    assert (rows["rate"].dropna() < 60).all()
    assert harmonic.report["generation"]["tried"] > 60
    assert set(harmonic.report["generation"]["rejected"]) == {"breaks size * 2 < 90", "breaks rate < 60"}
