"""Numbers as the model sees them. Oracles: sums done by hand, and the way there and back."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from harmonic.codec import Unreadable
from harmonic.errors import BadInput
from harmonic.method.rewriting import Rewriting
from harmonic.method.sampling import Sampling
from harmonic.table import coerce
from harmonic.table.infer import infer_schema
from harmonic.table.schema import Column, Schema, attach

DAY = 86_400


def stays(rows=1200, slips=0, datetimes=False, constraints=(), holes=False, seed=0):
    """Stays in a hospital: in on a day, out some hours later, an amount in hundreds, one in halves, a class."""
    rng = np.random.default_rng(seed)
    start = rng.integers(18_000, 18_400, rows) * DAY
    end = start + rng.integers(30, 2000, rows) * 3600
    end[:slips] = start[:slips] - 3600
    moments = {
        "start": pd.to_datetime(start, unit="s").strftime("%Y-%m-%d %H:%M"),
        "end": pd.to_datetime(end, unit="s").strftime("%Y-%m-%d %H:%M"),
    }
    table = pd.DataFrame(
        {
            **(moments if datetimes else {"start": start.astype(np.float64), "end": end.astype(np.float64)}),
            "cost": rng.integers(1, 90, rows) * 100,
            "dose": rng.integers(1, 9, rows) / 2,
            "ward": rng.choice(["a", "b"], rows),
        }
    )
    bounds = {"low": float(start.min()), "high": float(end.max()), "nullable": holes}
    kind = ("datetime", "str") if datetimes else ("integer", "float64")
    written = {"datetime_format": "%Y-%m-%d %H:%M"} if datetimes else {}
    columns = (
        Column("start", *kind, **bounds, **written),
        Column("end", *kind, **bounds, **written),
        Column("cost", "integer", "int64", low=100.0, high=8900.0),
        Column("dose", "decimal", "float64", places=1, low=0.5, high=4.0),
        Column("ward", "category", "str", categories=("a", "b")),
    )
    return coerce(table, Schema(columns, "ward", "binary", "stays", constraints), "stays")


def test_spans_and_units_are_what_a_sum_says():
    """Oracle: subtraction and division; doses in halves save no digit, classes are no numbers."""
    table = stays()
    rewriting = Rewriting.of(table)
    hours = np.gcd.reduce((table["end"] - table["start"]).astype(int))
    assert rewriting.since == {"end": "start"}
    assert rewriting.units == {"start": DAY, "end": hours, "cost": 100}
    said = {"start": "in units of 86400", "end": "in units of 3600 since start", "cost": "in units of 100"}
    assert rewriting.named() == said
    written = rewriting.write(table)
    assert (written["start"] == table["start"] / DAY).all()
    assert (written["end"] == (table["end"] - table["start"]) / 3600).all()
    assert (written["cost"] == table["cost"] / 100).all()
    assert written["dose"].equals(table["dose"])
    assert written.attrs["schema"]["end"].low == written["end"].min() >= 30
    pd.testing.assert_frame_equal(coerce(written, rewriting.written, "written"), written)
    pd.testing.assert_frame_equal(rewriting.read(written), table)


def test_moments_are_counted_from_each_other():
    """Oracle: as above; a start, whose format is a unit, stays a moment."""
    table = stays(datetimes=True)
    rewriting = Rewriting.of(table)
    assert set(rewriting.units) == {"end", "cost"}
    written = rewriting.write(table)
    span = pd.to_datetime(table["end"]) - pd.to_datetime(table["start"])
    assert (written["end"] == span.dt.total_seconds() / 3600).all()
    pd.testing.assert_frame_equal(rewriting.read(written), table)
    rewriting.check(written.iloc[0].to_dict())
    with pytest.raises(Unreadable, match="out of range"):
        rewriting.check({**written.iloc[0].to_dict(), "end": 10_000})


@pytest.mark.parametrize(
    ("changes", "since"),
    [
        ({"rows": 2000, "slips": 2}, {"end": "start"}),
        ({"rows": 2000, "slips": 3}, {}),
        ({"rows": 999}, {}),
        ({"constraints": ("start <= end",)}, {}),
        ({"holes": True}, {"end": "start"}),
    ],
)
def test_when_a_column_is_counted_from_another(changes, since):
    """Oracle: the definition: one row in a thousand may be a slip, a thousand rows must agree, a rule's columns stay."""
    table = stays(**changes)
    rewriting = Rewriting.of(table)
    assert rewriting.since == since
    pd.testing.assert_frame_equal(rewriting.read(rewriting.write(table)), table)


def test_the_column_with_the_larger_spread_is_counted():
    """Oracle: sums. Stays that end within a year and began long before are counted back from their ends, in days."""
    table = stays(2000)
    schema = table.attrs["schema"]
    late = attach(table.assign(start=table["start"] - np.arange(2000) % 600 * DAY), schema)
    rewriting = Rewriting.of(late)
    assert (rewriting.since, rewriting.before) == ({}, {"start": "end"})
    written = rewriting.write(late)
    assert (written["start"] == late["end"] // DAY - late["start"] // DAY).all()
    assert (written["end"] == late["end"] / 3600).all()
    assert rewriting.named()["start"] == "in units of 86400 before end"
    pd.testing.assert_frame_equal(rewriting.read(written), late)
    rewriting.check(written.iloc[0].to_dict())
    with pytest.raises(Unreadable, match="out of range"):
        rewriting.check({**written.iloc[0].to_dict(), "start": 9999})
    known = late[["start"]].assign(end=np.nan, cost=np.nan, dose=np.nan, ward=None).head(50)
    guessed = rewriting.complete(known, written.sample(50, random_state=0))
    assert (guessed["end"] >= guessed["start"]).all()
    assert guessed["start"].equals(late["start"].head(50))


def test_what_is_not_comparable_is_left_alone():
    """Oracle: the ranges. Whose ranges do not overlap, is ordered by them; empty cells and other scales are not counted."""
    table = stays()
    schema = table.attrs["schema"]
    apart = table.assign(end=table["start"] + 1e9)
    assert Rewriting.of(attach(apart, schema)).since == {}
    empty = attach(table.assign(end=table["end"].where(table.index > 0)), stays(holes=True).attrs["schema"])
    assert set(Rewriting.of(empty).units) == {"start", "cost"}
    assert Rewriting.none(table).write(table) is table


def test_a_range_that_was_given_holds_in_units_too():
    """Oracle: division: narrower than train's, with ends between two multiples, and wider."""
    table = stays()
    schema = table.attrs["schema"]
    for low, high, expected in ((150, 8450, (2, 84)), (0, 20_000, (0, 200))):
        costs = replace(schema["cost"], low=low, high=high)
        given = replace(schema, columns=tuple(costs if one.name == "cost" else one for one in schema.columns))
        rewriting = Rewriting.of(attach(table.copy(), given))
        assert rewriting.ranges["cost"] == expected
        assert (rewriting.written["cost"].low, rewriting.written["cost"].high) == expected


def test_a_row_beyond_a_range_is_refused():
    """Oracle: the range of the column as it is, which the written numbers' own do not keep."""
    table = stays()
    rewriting = Rewriting.of(table)
    row = {"start": int(table["start"].max()) // DAY, "end": 1, "cost": 1, "dose": 0.5, "ward": "a"}
    rewriting.check(row)
    with pytest.raises(Unreadable, match="out of range") as caught:
        rewriting.check({**row, "end": 1999})
    assert caught.value.column == "end"


@pytest.fixture(scope="module")
def learnt(quick_harmonic):
    return quick_harmonic(steps=60).fit(stays(), seed=0)


def test_rows_come_back_as_the_table_has_them(learnt, tmp_path, quick_harmonic):
    """Oracle: the schema, the order of the columns in time, and the unit; a method that was saved goes on the same."""
    table = stays()
    rows = learnt.sample(30, seed=0)
    pd.testing.assert_frame_equal(coerce(rows, table.attrs["schema"], "rows"), rows)
    assert (rows["end"] > rows["start"]).all()
    assert rows["end"].between(table["end"].min(), table["end"].max()).all()
    assert (rows["cost"] % 100 == 0).all()
    assert learnt.report["rewritten"]["cost"] == "in units of 100"
    learnt.save(tmp_path)
    pd.testing.assert_frame_equal(quick_harmonic().load(tmp_path).sample(30, seed=0), rows)


def test_instructions_show_the_written_numbers(learnt):
    """Oracle: JSON, and the sums above."""
    table = stays()
    row = json.loads("".join(learnt.codec.row(learnt.cells[3])))
    assert row["start"] == str(int(table["start"][3]) // DAY)
    assert row["end"] == str(int(table["end"][3] - table["start"][3]) // 3600)


@pytest.mark.parametrize("known", [["start"], ["end"], ["start", "end"], ["cost"], ["end", "ward"]])
def test_known_cells_stay_what_they_were(learnt, known):
    """Oracle: the cells that were given, ends without their starts and numbers that are no multiple among them."""
    table = stays(seed=1)
    given = table[known].head(12).assign(**({"cost": 150} if "cost" in known else {}))
    rows = learnt.sample(12, seed=0, conditions=given)
    pd.testing.assert_frame_equal(rows[known], coerce_like(given, rows), check_dtype=False)
    assert (rows["end"] >= rows["start"]).all()


def test_a_span_that_nothing_tells_is_nobodys(learnt, quick_harmonic, tmp_path, monkeypatch):
    """Oracle: the draft, in which no cell is of train: a start that is missing is as far back as one of its rows says."""
    learnt.save(tmp_path)
    harmonic = quick_harmonic(sampling=Sampling(draft_rows=60)).load(tmp_path)
    complete, seen = Rewriting.complete, []

    def spy(self, rows, spans):
        seen.extend(spans["end"])
        return complete(self, rows, spans)

    monkeypatch.setattr(Rewriting, "complete", spy)
    harmonic.sample(20, seed=0, conditions=stays(seed=1)[["end"]].head(20))
    assert len(seen) == 20
    assert set(seen) <= set(harmonic._draft.source.rows["end"])
    assert not set(seen) <= set(harmonic.train["end"])


def coerce_like(given, rows):
    return given.reset_index(drop=True).astype(rows[given.columns].dtypes.to_dict())


def test_holes_are_filled(learnt):
    """Oracle: what was known, and the order in time."""
    table = stays(seed=2).head(9).astype({"start": object, "end": object})
    table.loc[0, "start"] = table.loc[1, "end"] = None
    table.loc[2, ["start", "end"]] = None
    whole = learnt.impute(table, seed=0)
    assert not whole.isna().any(axis=None)
    assert (whole["end"] >= whole["start"]).all()
    assert whole["end"][0] == table["end"][0]
    assert whole["start"][1] == table["start"][1]


def test_a_condition_beyond_the_table_is_one_sentence(learnt, one_sentence):
    """Oracle: the contract of bad input."""
    with pytest.raises(BadInput) as caught:
        learnt.sample(1, seed=0, conditions=pd.DataFrame({"start": [5.0]}))
    one_sentence(caught.value)
    start, days = stays()["start"].min(), 300
    with pytest.raises(BadInput) as caught:
        learnt.sample(1, seed=0, conditions=pd.DataFrame({"start": [start], "end": [start + days * DAY]}))
    one_sentence(caught.value, "end of row 1", "since start", "leave it empty")


def test_likelihoods_are_of_what_is_written(learnt):
    """Oracle: an end that no stay is as long as against those of train; shape and finiteness."""
    table = stays(seed=0).head(20)
    found = learnt.log_likelihood(table, seed=0, own=np.arange(20))
    assert found.shape == (20, 5)
    assert np.isfinite(found).all()
    longer = attach(table.assign(end=table["end"] + 9e8), table.attrs["schema"])
    assert learnt.log_likelihood(longer, seed=0, own=np.arange(20))[:, 1].mean() < found[:, 1].mean() - 2


def test_dates_as_texts_are_grouped_as_they_are(quick_harmonic):
    """Oracle: the neighbours of the table itself, whose numbers are the seconds of its dates."""
    dates, seconds = (quick_harmonic(steps=1).prepare(stays(datetimes=each), 0) for each in (True, False))
    assert dates.rewriting.units
    assert (dates.groups.neighbours == seconds.groups.neighbours).all()


def test_columns_of_rules_are_left_alone_whatever_their_names():
    """Oracle: the rule, which is about the table's own numbers; and that every row of train can be read."""
    names = {"end": "end date", "start": "start date"}
    schema = stays().attrs["schema"]
    columns = tuple(replace(column, name=names.get(column.name, column.name)) for column in schema.columns)
    ruled = replace(schema, columns=columns, constraints=("`end date` >= `start date`",))
    assert set(Rewriting.of(attach(stays().rename(columns=names), ruled)).units) == {"cost"}


def test_numbers_beyond_what_float64_tells_apart_are_left_alone():
    """Oracle: the table, bit for bit; its decimals, in units of the last place, are beyond 2 ** 53."""
    table = stays()[["cost", "ward"]]
    table["key"] = 10**8 + np.arange(len(table)) / 2**20
    table = coerce(table[["key", "cost", "ward"]], infer_schema(table[["key", "cost", "ward"]]), "keys")
    rewriting = Rewriting.of(table)
    assert set(rewriting.units) == {"cost"}
    assert rewriting.read(rewriting.write(table))["key"].tolist() == (10**8 + np.arange(len(table)) / 2**20).tolist()


def test_a_column_may_be_called_self():
    """Oracle: the table."""
    table = stays().rename(columns={"cost": "self"})
    schema = stays().attrs["schema"]
    columns = tuple(replace(column, name={"cost": "self"}.get(column.name, column.name)) for column in schema.columns)
    rewriting = Rewriting.of(attach(table, replace(schema, columns=columns)))
    assert rewriting.units["self"] == 100
    pd.testing.assert_frame_equal(rewriting.read(rewriting.write(table)), table)
