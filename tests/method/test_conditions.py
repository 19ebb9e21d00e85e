"""Rows with known cells. Oracles: the known cells, the schema, the orders asked for, the class of the examples."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from harmonic.codec import RowCodec
from harmonic.errors import BadInput
from harmonic.lm.decoding import Decoding
from harmonic.method.conditions import NEAREST, Conditions
from harmonic.method.examples import Source
from harmonic.method.sampling import Sampling
from harmonic.neighbours import Groups
from harmonic.table import coerce
from harmonic.table.encoding import Encoder
from harmonic.table.schema import Column, Schema, attach


def test_what_is_given_is_kept_and_the_rest_is_drawn(learnt, easy_schema):
    """Oracle: the conditions; an empty cell is none; every cell of the schema's kind; repetition."""
    wanted = pd.DataFrame({"label": ["yes", "no"] * 8, "size": [15, 20, None, 40] * 4, "day": ["2024-01-31", None] * 8})
    rows = learnt.sample(16, seed=0, conditions=wanted)
    assert rows["label"].tolist() == wanted["label"].tolist()
    known = wanted["size"].notna()
    assert (rows["size"][known] == wanted["size"][known]).all()
    assert (rows["day"][::2] == "2024-01-31").all()
    assert rows["size"].notna().all()
    pd.testing.assert_frame_equal(coerce(rows, easy_schema, "rows"), rows)
    pd.testing.assert_frame_equal(learnt.sample(16, seed=0, conditions=wanted), rows)
    assert not learnt.sample(16, seed=1, conditions=wanted).equals(rows)


def test_an_unknown_column_may_be_called_self():
    """Oracle: by hand: one cell of two is known."""
    schema = Schema(
        (Column("self", "integer", "int64", low=0, high=9), Column("y", "category", "str", categories=("a", "b"))),
        "y",
        "binary",
    )
    found = Conditions.of(pd.DataFrame({"y": ["a"]}), RowCodec(schema), "conditions")
    assert found.known.tolist() == [[False, True]]


def test_moments_stay_moments():
    """Oracle: the storage: a given moment beside one that was drawn."""
    day = Column("day", "datetime", "datetime64", datetime_format="%Y-%m-%d", low=0, high=4e9)
    schema = Schema((day, Column("y", "category", "str", categories=("a", "b"))), "y", "binary")
    given = pd.DataFrame({"day": [pd.Timestamp("2024-03-02"), pd.NaT]})
    drawn = pd.DataFrame({"day": pd.to_datetime(["2020-01-01", "2021-01-01"]), "y": ["a", "b"]})
    kept = Conditions.of(given, RowCodec(schema), "conditions").keep(drawn, schema)
    assert kept["day"].tolist() == [pd.Timestamp("2024-03-02"), pd.Timestamp("2021-01-01")]
    assert pd.api.types.is_datetime64_any_dtype(kept["day"])


def test_holes_are_filled_and_nothing_else_is_touched(learnt, easy_table, easy_schema):
    """Oracle: the table before it had holes; no cell stays empty, in a column that may hold empty cells neither."""
    whole = easy_table.assign(rate=easy_table["rate"].fillna(1.5), note="n")
    holed = attach(whole.copy(), easy_schema)
    rng = np.random.default_rng(0)
    holes = rng.random(whole.shape) < 0.3
    holes[:5] = False
    for place, name in enumerate(easy_schema.names):
        holed[name] = holed[name].astype(object).where(~holes[:, place], None)
    filled = learnt.impute(holed, seed=0)
    assert filled.notna().all().all()
    for place, name in enumerate(easy_schema.names):
        kept = ~holes[:, place]
        assert filled[name][kept].tolist() == whole[name][kept].tolist()
        assert filled[name].map(type).nunique() == 1
    pd.testing.assert_frame_equal(learnt.impute(filled, seed=0), filled)
    moved = holed[easy_schema.names[::-1]].set_axis(np.arange(len(holed)) * 10)
    pd.testing.assert_frame_equal(learnt.impute(moved, seed=0), filled[easy_schema.names[::-1]].set_axis(moved.index))


def test_a_known_class_is_shown_examples_of_its_class(learnt, easy_table):
    """Oracle: the labels of the examples; and nearness in the one known column."""
    codec = learnt.codec
    wanted = pd.DataFrame({"label": ["yes"] * 20 + ["no"] * 20, "size": [12] * 40})
    conditions = Conditions.of(wanted, codec, "conditions")
    streams = [np.random.default_rng(row) for row in range(40)]
    source, encoder = Source(easy_table, learnt.cells, learnt.groups), Encoder.fit(easy_table, codec.schema)
    anchors = learnt.groups.anchors[conditions.anchors(source, encoder, streams, within_class=True)]
    assert easy_table["label"].iloc[anchors].tolist() == wanted["label"].tolist()
    assert (easy_table["size"].iloc[anchors] < 10 + 2 * NEAREST).all()
    assert len(set(anchors[:20])) > 1
    anywhere = conditions.anchors(source, encoder, streams, within_class=False)
    assert (easy_table["size"].iloc[learnt.groups.anchors[anywhere]] < 10 + 2 * NEAREST).all()


def test_orders():
    """Oracle: by hand: known features first, the target last where the examples tell it, else first if known."""
    columns = tuple(Column(name, "integer", "int64", low=0, high=9) for name in "abc")
    schema = Schema((*columns, Column("y", "category", "str", categories=("n", "p"))), "y", "binary")
    given = pd.DataFrame({"c": [1, None], "y": ["p", None]})
    conditions = Conditions.of(given, RowCodec(schema), "conditions")
    assert conditions.known.tolist() == [[False, False, True, True], [False] * 4]
    assert conditions.order(0, schema, [1, 0, 2, 3], target_last=True) == [2, 1, 0, 3]
    assert conditions.order(0, schema, [1, 0, 2, 3], target_last=False) == [3, 2, 1, 0]
    assert conditions.order(1, schema, [1, 0, 2, 3], target_last=False) == [1, 0, 2, 3]
    assert conditions.texts[0][2:] == ["1", "p"]


def test_nearness_by_hand():
    """Oracle: distances in the known columns alone; a train row that is empty there is far."""
    columns = (
        Column("a", "decimal", "float64", places=1, low=0.0, high=9.9, nullable=True),
        Column("b", "decimal", "float64", places=1, low=0.0, high=9.9),
        Column("y", "category", "str", categories=("n", "p")),
    )
    schema = Schema(columns, "y", "binary")
    rows = {"a": [0.0, 1.0, 9.0, np.nan] * 20, "b": [9.0, 0.0, 0.0, 1.0] * 20, "y": ["n", "p"] * 40}
    train = attach(pd.DataFrame(rows), schema)
    groups = Groups(np.arange(80), np.zeros((80, 2), dtype=np.int64))
    conditions = Conditions.of(pd.DataFrame({"a": [0.9, 8.0]}), RowCodec(schema), "conditions")
    source = Source(train, RowCodec(schema).cells(train), groups)
    streams = [np.random.default_rng(row) for row in range(2)]
    found = conditions.anchors(source, Encoder.fit(train, schema), streams, within_class=True)
    assert train["a"].iloc[groups.anchors[found]].tolist() == [1.0, 9.0]


def test_a_row_is_completed_as_if_alone(learnt):
    """Oracle: the rule: what is asked of one row is no matter of the others' prompts."""
    known = pd.DataFrame({"size": [15] * 6, "label": ["no"] * 6}, dtype=object)
    less = known.copy()
    less.loc[0, "label"] = None
    shown = []
    for given in (known, less):
        learnt.sample(6, seed=0, conditions=given)
        shown.append(learnt.prompt_rows[1:])
    np.testing.assert_array_equal(*shown)


@pytest.mark.parametrize("rows", ["my.csv", np.ones((3, 2)), 3])
def test_what_is_no_table(learnt, one_sentence, rows):
    """Oracle: the rule for what a user can cause."""
    for take in (lambda: learnt.sample(3, seed=0, conditions=rows), lambda: learnt.impute(rows, seed=0)):
        with pytest.raises(BadInput) as error:
            take()
        one_sentence(error.value, "DataFrame", type(rows).__name__)


def test_a_table_is_looked_at_before_any_row_is_written(learnt, easy_table, monkeypatch):
    """Oracle: the rule: the row as the user counts it, and nothing written before."""
    holed = easy_table.astype(object)
    holed.loc[3, "size"] = None
    holed.loc[20, "size"] = "many"
    monkeypatch.setattr("harmonic.method.harmonic.complete_rows", lambda *_, **__: pytest.fail("rows were written"))
    with pytest.raises(BadInput, match="the table, column 'size', row 21: expected integer"):
        learnt.impute(holed, seed=0)
    with pytest.raises(BadInput, match="the table must have the columns of train, but lacks 'size'"):
        learnt.impute(holed.drop(columns="size"), seed=0)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"colour": ["red"]}, "found colour"),
        ({"size": []}, "found no row"),
        ({"label": ["maybe"]}, "expected category"),
        ({"size": [1000]}, "out of range"),
        ({"size": ["many"]}, "expected integer"),
        ({"day": ["yesterday"]}, "no date"),
    ],
)
def test_what_cannot_be_is_refused(learnt, given, fault):
    """Oracle: the rule that bad input is one sentence that names the column or the value."""
    frame = pd.DataFrame(given)
    with pytest.raises(BadInput, match=fault):
        learnt.sample(len(frame), seed=0, conditions=frame)


def test_what_breaks_a_rule_is_refused_before_any_row_is_written(quick_harmonic, easy_table, easy_schema, monkeypatch):
    """Oracle: the rule: the row as the user counts it; a row of which too little is known is none of these."""
    ruled = dataclasses.replace(easy_schema, constraints=("rate < size",))
    ruled_table = attach(easy_table.copy(), ruled)
    harmonic = quick_harmonic(steps=1).start(ruled_table, 0)
    monkeypatch.setattr("harmonic.method.harmonic.complete_rows", lambda *_, **__: pytest.fail("rows were written"))
    given = pd.DataFrame({"size": [20, 20, 20], "rate": [None, 1.5, 40.0]})
    with pytest.raises(BadInput, match="conditions, row 3, must obey 'rate < size', but breaks it"):
        harmonic.sample(3, seed=0, conditions=given)
    holed = easy_table.astype(object)
    holed.loc[5, ["size", "rate", "label"]] = [20, 40.0, None]
    holed.loc[4, ["size", "rate"]] = [20, 40.0]
    with pytest.raises(BadInput, match="the table, row 6, must obey"):
        harmonic.impute(holed, seed=0)


def test_counts_and_forms_must_fit(learnt, quick_harmonic, tmp_path):
    """Oracle: the rule itself."""
    with pytest.raises(BadInput, match="a row for each of the 3 wanted, but has 2"):
        learnt.sample(3, seed=0, conditions=pd.DataFrame({"size": [1, 2]}))
    learnt.save(tmp_path)
    free = quick_harmonic(sampling=Sampling(decoding=Decoding(form="free"))).load(tmp_path)
    with pytest.raises(BadInput, match=r"known cells need decoding\.form=valid"):
        free.sample(1, seed=0, conditions=pd.DataFrame({"size": [15]}))
