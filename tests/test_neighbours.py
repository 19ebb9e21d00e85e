"""Neighbours and groups. Oracles: a double loop over cells, hand computation, and the counts of the released data."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harmonic import neighbours
from harmonic.errors import BadInput
from harmonic.neighbours import make_groups, nearest
from harmonic.table.encoding import Encoded, Encoder
from harmonic.table.infer import infer_schema
from harmonic.table.schema import Schema


def mixed_table(n: int, seed: int) -> pd.DataFrame:
    """Coarse values, so that ties and duplicates abound; empty cells in a number and in a category column."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "count": random.integers(0, 4, n),
            "amount": np.where(random.random(n) < 0.2, np.nan, random.integers(0, 5, n) / 4),
            "colour": np.where(random.random(n) < 0.2, None, random.choice(["red", "green", "blue"], n)),
            "note": [f"note {number}" for number in random.integers(0, 8, n)],
            "y": random.choice(["a", "b", "c"], n),
        }
    )


@pytest.fixture
def schema() -> Schema:
    return infer_schema(mixed_table(60, 0), columns={"note": "text"})


def by_loop(table: pd.DataFrame, others: pd.DataFrame, train: pd.DataFrame, mismatch: float) -> np.ndarray:
    """The distance as its definition reads, cell by cell, without an encoder."""
    spans = {name: train[name].max() - train[name].min() for name in ("count", "amount")}
    distances = np.zeros((len(table), len(others)))
    for i, row in enumerate(table.to_dict("records")):
        for j, other in enumerate(others.to_dict("records")):
            for name in table:
                a, b = row[name], other[name]
                if pd.isna(a) or pd.isna(b):
                    empty = 1.0 if name in spans else mismatch
                    distances[i, j] += 0.0 if pd.isna(a) and pd.isna(b) else empty
                elif name in spans:
                    distances[i, j] += abs(a - b) / spans[name]
                else:
                    distances[i, j] += 0.0 if a == b else mismatch
    return distances


def encoded(schema: Schema, *tables: pd.DataFrame) -> list[Encoded]:
    encoder = Encoder.fit(tables[0], schema)
    return [encoder.encode(table) for table in tables]


@pytest.mark.parametrize("mismatch", [1.0, 2.0])
@pytest.mark.parametrize("max_one_hot", [512, 4, 0])
def test_nearest_is_the_double_loop(
    schema: Schema, mismatch: float, max_one_hot: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the way categories are compared: distances as in the loop, ties in order of row number."""
    monkeypatch.setattr(neighbours, "MAX_ONE_HOT", max_one_hot)
    train, queries = mixed_table(60, 0), mixed_table(40, 1)
    references, rows = encoded(schema, train, queries)
    expected = by_loop(queries, train, train, mismatch)
    order = np.argsort(np.round(expected, 9), axis=1, kind="stable")
    for k in (1, 5, 60):
        distances, indices = nearest(rows, references, k, mismatch=mismatch)
        np.testing.assert_allclose(distances, np.take_along_axis(expected, order[:, :k], axis=1), atol=1e-12)
        np.testing.assert_allclose(np.take_along_axis(expected, indices, axis=1), distances, atol=1e-12)


def test_sides_are_the_double_loop(schema: Schema, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tables in one search, against both loops; a row that stands in both tables has half of each query near it."""
    tables = [mixed_table(n, seed) for seed, n in enumerate((60, 40, 30))]
    tables[2] = pd.concat([tables[2], tables[1].iloc[:5]], ignore_index=True)
    queries, first, second = encoded(schema, *tables)
    apart = [by_loop(tables[0], other, tables[0], 1.0) for other in tables[1:]]
    together = np.hstack(apart)
    is_nearest = together <= together.min(axis=1, keepdims=True) + 1e-8
    monkeypatch.setattr(neighbours, "CHUNK_CELLS", 500)
    found = neighbours.sides(queries, first, second)
    np.testing.assert_allclose(found.to_first, apart[0].min(axis=1), atol=1e-8)
    np.testing.assert_allclose(found.to_second, apart[1].min(axis=1), atol=1e-8)
    np.testing.assert_array_equal(found.ties, is_nearest.sum(axis=1))
    np.testing.assert_allclose(found.load, (is_nearest / is_nearest.sum(axis=1, keepdims=True)).sum(axis=0))
    assert found.load.sum() == pytest.approx(60)


def test_ties_come_in_order_of_row_number(schema: Schema) -> None:
    """By hand: of four equal rows the first ones are taken, and they stand in order."""
    row = mixed_table(1, 3).assign(amount=0.5, colour="red")
    train = pd.concat([mixed_table(5, 0), row, row, row, row], ignore_index=True)
    references, queries = encoded(schema, train, row)
    distances, indices = nearest(queries, references, 3)
    assert distances.tolist() == [[0.0, 0.0, 0.0]]
    assert indices.tolist() == [[5, 6, 7]]
    assert nearest(queries, references, 1)[1].tolist() == [[5]]


def test_a_row_is_not_its_own_neighbour(schema: Schema) -> None:
    """Invariant, duplicates included: the row itself is left out, its twin is not."""
    train = pd.concat([mixed_table(30, 0)] * 2, ignore_index=True)
    (rows,) = encoded(schema, train)
    distances, indices = nearest(rows, rows, 4, own=np.arange(len(rows)))
    assert not (indices == np.arange(60)[:, None]).any()
    assert (distances[:, 0] == 0.0).all()


@pytest.mark.parametrize("cells", [1, 77, 1000])
def test_chunks_change_nothing(schema: Schema, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant: the size of a block is no part of the result."""
    references, rows = encoded(schema, mixed_table(60, 0), mixed_table(40, 1))
    plain, own = nearest(rows, references, 3), nearest(references, references, 3, own=np.arange(len(references)))
    monkeypatch.setattr(neighbours, "CHUNK_CELLS", cells)
    chunked, own_chunked = nearest(rows, references, 3), nearest(references, references, 3, own=np.arange(len(references)))
    for one, other in ((plain, chunked), (own, own_chunked)):
        np.testing.assert_allclose(one[0], other[0], atol=1e-12)
    np.testing.assert_array_equal(np.sort(own[0]).round(9), np.sort(own_chunked[0]).round(9))


@pytest.mark.parametrize("kept", [["count"], ["colour"], ["note"]])
def test_tables_of_one_kind(kept: list[str]) -> None:
    """No number column, no category column or no coded column at all is no special case: the loop agrees."""
    train = mixed_table(30, 0)[kept]
    frame = train.assign(y=["a", "b"] * 15)
    schema = infer_schema(frame, columns={"note": "text"} if kept == ["note"] else None)
    (rows,) = encoded(schema, frame)
    spans = {name: np.ptp(train[name]) for name in kept if name == "count"}
    first = frame.iloc[0]
    expected = []
    for _, other in frame.iterrows():
        total = float(first["y"] != other["y"])
        for name in kept:
            a, b = first[name], other[name]
            unequal = not (a == b or (pd.isna(a) and pd.isna(b)))
            total += abs(a - b) / spans[name] if name in spans else float(unequal)
        expected.append(total)
    np.testing.assert_allclose(nearest(rows[:1], rows, 30)[0][0], np.sort(expected), atol=1e-12)


LINE = pd.DataFrame({"x": [0, 1, 2, 10, 11, 12, 13], "y": ["a", "a", "b", "b", "b", "b", "a"]})


def groups(
    label_rule: neighbours.LabelRule, frame: pd.DataFrame = LINE, k: int = 2, min_agreement: int = 1
) -> neighbours.Groups:
    schema = infer_schema(frame, columns={"x": "integer"})
    return make_groups(frame, schema, k=k, distance="mixed", label_rule=label_rule, min_agreement=min_agreement)


def test_groups_by_hand() -> None:
    """Points on a line, range 13: another class costs as much as the whole range, so classes cluster."""
    every = groups("any")
    assert every.anchors.tolist() == list(range(7))
    assert every.neighbours[0].tolist() == [1, 6]
    assert every.neighbours[3].tolist() == [4, 5]
    assert every.neighbours[6].tolist() == [1, 0]


def test_agreement_counts_neighbours_of_the_same_class() -> None:
    """By its definition, from the neighbours of the rule "any", for string labels and three classes."""
    frame = LINE.assign(y=["a", "a", "b", "c", "c", "b", "a"])
    every = groups("any", frame, k=3)
    labels = frame["y"].to_numpy()
    for least in (1, 2):
        expected = [row for row in range(7) if (labels[every.neighbours[row]] == labels[row]).sum() >= least]
        assert groups("agreement", frame, k=3, min_agreement=least).anchors.tolist() == expected


def test_same_class_looks_within_the_class_and_borrows_when_short() -> None:
    """By hand: four rows of b find two others; three of a find exactly two; a class of one borrows its two."""
    found = groups("same_class")
    labels = LINE["y"].to_numpy()
    assert (labels[found.neighbours] == labels[:, None]).all()
    alone = groups("same_class", LINE.assign(y=["a", "b", "b", "b", "b", "b", "b"]))
    assert alone.neighbours[0].tolist() == [1, 2]
    few = groups("same_class", pd.DataFrame({"x": [0, 9, 5, 1, 17, 18, 19], "y": [*"aaaa", *"bbb"]}), k=5)
    assert few.neighbours[0].tolist() == [3, 2, 1, 4, 5]  # nearest first, then what is borrowed


def test_published_rule_drops_every_class_but_0_and_1() -> None:
    """HARMONIC §1: the published filter sums labels, so that class 2 has no group."""
    frame = pd.DataFrame({"x": [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23], "y": [0] * 4 + [1] * 4 + [2] * 4})
    schema = infer_schema(frame)
    kept = make_groups(frame, schema, k=3, distance="published", label_rule="agreement_published", min_agreement=2)
    assert kept.anchors.tolist() == list(range(8))


def test_regression_keeps_every_row() -> None:
    """A number has no class to agree with."""
    frame = pd.DataFrame({"x": range(30), "y": np.linspace(0, 1.5, 30)})
    assert len(groups("agreement", frame, min_agreement=2)) == 30


@pytest.mark.parametrize(
    ("frame", "k", "rule", "sentence"),
    [
        (LINE, 7, "any", "method.k must lie between 1 and the train rows less one (6), but is 7"),
        (LINE.assign(y=["a", "b", "c", "d", "e", "f", "g"]), 2, "agreement", "leaves no group of the 7 train rows"),
        (LINE, 2, "agreement_published", "the target must hold numbers"),
    ],
)
def test_errors_name_the_cure(frame: pd.DataFrame, k: int, rule: neighbours.LabelRule, sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        groups(rule, frame, k=k)
    assert sentence in str(caught.value)


@pytest.mark.paper_data
@pytest.mark.parametrize(("name", "kept"), [("german", 587), ("diabetes", 491), ("adult", 24980), ("buddy", 11100)])
def test_the_published_groups(paper_data_dir: Path, name: str, kept: int) -> None:
    """The number of instructions in the authors' released files (HARMONIC §1)."""
    train = pd.read_csv(paper_data_dir / name / "train.csv")
    settings = {"k": 5, "distance": "published", "label_rule": "agreement_published", "min_agreement": 3}
    assert len(make_groups(train, infer_schema(train), **settings)) == kept
