"""Approximate neighbours. Oracles: the exact search, repetition, and the sentences a user reads."""

import numpy as np
import pandas as pd
import pytest

from harmonic import index, neighbours
from harmonic.errors import BadInput
from harmonic.index import RowIndex
from harmonic.neighbours import found_share, make_groups, mixed_neighbours, nearest, nearest_approximately
from harmonic.table.encoding import Encoded, Encoder
from harmonic.table.infer import infer_schema

ROWS, K = 3000, 10


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Numbers with empty cells, one of them skewed; categories, a text column, and a class that 29 of 30 rows share."""
    random = np.random.default_rng(0)
    centre = random.normal(size=ROWS)
    return pd.DataFrame(
        {
            "amount": np.round(np.exp(centre + random.normal(size=ROWS)), 2),
            "age": np.where(random.random(ROWS) < 0.1, np.nan, np.round(40 + 10 * centre + 5 * random.normal(size=ROWS))),
            "colour": np.where(random.random(ROWS) < 0.1, None, random.choice(["red", "green", "blue"], ROWS)),
            "town": [f"town {number}" for number in random.integers(0, 80, ROWS)],
            "note": [f"note {number}" for number in random.integers(0, 200, ROWS)],
            "y": np.where(np.arange(ROWS) % 30, "usual", "rare"),
        }
    )


@pytest.fixture(scope="module")
def encoded(table: pd.DataFrame) -> Encoded:
    pytest.importorskip("faiss")
    return Encoder.fit(table, infer_schema(table, columns={"note": "text"})).encode(table)


@pytest.fixture(scope="module")
def every() -> np.ndarray:
    return np.arange(ROWS)


@pytest.fixture(scope="module")
def found(encoded: Encoded, every: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return nearest_approximately(encoded, encoded, K, own=every)


def test_recall_against_the_exact_search(encoded: Encoded, every: np.ndarray, found: tuple[np.ndarray, np.ndarray]) -> None:
    """Oracle: the exact search of all rows; what is found stands at its exact distance, nearest first."""
    exact, numbers = nearest(encoded, encoded, K, own=every)
    assert found_share(found[0], exact).mean() >= 0.99
    assert (found[0] >= exact.round(9) - 1e-9).all()
    assert (np.diff(found[0], axis=1) >= 0).all()
    far = [neighbours.paired(encoded, encoded[found[1][:, place]]) for place in range(K)]
    np.testing.assert_array_equal(np.column_stack(far), found[0])
    assert (np.sort(found[1]) == np.sort(numbers)).mean() > 0.9


def test_a_row_is_not_its_own_neighbour_and_none_comes_twice(
    found: tuple[np.ndarray, np.ndarray], every: np.ndarray
) -> None:
    """Invariant."""
    assert not (found[1] == every[:, None]).any()
    assert all(len(set(row)) == K for row in found[1].tolist())


def test_the_same_rows_find_the_same_neighbours(
    encoded: Encoded, every: np.ndarray, found: tuple[np.ndarray, np.ndarray]
) -> None:
    """Oracle: repetition, whatever the threads and the global random state; the threads are as they were."""
    faiss = pytest.importorskip("faiss")
    threads = faiss.omp_get_max_threads()
    np.random.seed(5)  # noqa: NPY002
    try:
        for count in (1, 2):
            faiss.omp_set_num_threads(count)
            again = nearest_approximately(encoded, encoded, K, own=every)
            assert faiss.omp_get_max_threads() == count
            np.testing.assert_array_equal(again[1], found[1])
    finally:
        faiss.omp_set_num_threads(threads)


def test_rows_that_are_not_in_the_index(encoded: Encoded) -> None:
    """Oracle: the exact search, for rows beyond train's range and with values that it never saw."""
    held, rest = encoded[np.arange(200)], encoded[np.arange(200, ROWS)]
    beyond = Encoded(held.numbers * 1.5, np.where(held.codes % 7 == 3, 10**6, held.codes))
    distances = nearest_approximately(beyond, rest, K)[0]
    assert found_share(distances, nearest(beyond, rest, K)[0]).mean() >= 0.95


def test_bits_are_the_distance(encoded: Encoded) -> None:
    """Oracle: the distance's definition: Hamming distances over the levels are the sums of the columns, to a level each."""
    some = encoded[np.arange(100)]
    whole = Encoded(np.nan_to_num(some.numbers), some.codes[:, [0, 1, 3]])
    rows = RowIndex(whole)
    bits = np.unpackbits(rows._bits(whole), axis=1)
    apart = (bits[:1] != bits).sum(axis=1) / rows._levels
    exact = neighbours.paired(whole[np.zeros(100, dtype=int)], whole)
    assert np.abs(apart - exact).max() <= whole.numbers.shape[1] / rows._levels
    assert rows._bits(whole).shape[1] % 8 == 0


def test_within_the_class(table: pd.DataFrame, every: np.ndarray, encoded: Encoded) -> None:
    """Invariant: all of the row's class; the rare class of 100 rows is searched exactly, being so small."""
    schema = infer_schema(table, columns={"note": "text"})
    encoder, labels = Encoder.fit(table, schema), table["y"].to_numpy()
    settings = {"within_class": True, "own": every}
    near = mixed_neighbours(encoder, table, table, K, search="approximate", **settings)
    assert (labels[near] == labels[:, None]).all()
    assert not (near == every[:, None]).any()
    rare = np.flatnonzero(labels == "rare")
    np.testing.assert_array_equal(near[rare], mixed_neighbours(encoder, table, table, K, search="exact", **settings)[rare])


def test_groups_of_some_rows_are_those_of_all(table: pd.DataFrame) -> None:
    """Oracle: the groups of all rows; those that a label rule drops are not among them."""
    schema = infer_schema(table, columns={"note": "text"})
    some = np.array([3, 30, 299, 2990])
    for rule in ("same_class", "agreement"):
        settings = {"k": 4, "distance": "mixed", "label_rule": rule, "min_agreement": 3}
        whole, few = make_groups(table, schema, **settings), make_groups(table, schema, anchors=some, **settings)
        assert few.anchors.tolist() == [row for row in some if row in whole.anchors]
        np.testing.assert_array_equal(few.neighbours, whole.neighbours[np.isin(whole.anchors, some)])


def test_which_search_is_taken(table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the rule, by pairs of rows; a search that was asked for is taken whatever the table."""
    schema, taken = infer_schema(table, columns={"note": "text"}), []
    for name in ("nearest", "nearest_approximately"):
        monkeypatch.setattr(neighbours, name, lambda *a, name=name, **s: taken.append(name) or nearest(*a, **s))
    encoder, few = Encoder.fit(table, schema), table.head(4)
    for pairs, search in ((4 * ROWS, None), (4 * ROWS - 1, None), (0, "exact"), (10**9, "approximate")):
        monkeypatch.setattr(neighbours, "EXACT_PAIRS", pairs)
        mixed_neighbours(encoder, few, table, 2, within_class=False, search=search)
    assert taken == ["nearest", "nearest_approximately", "nearest", "nearest_approximately"]


def test_a_search_that_misses_too_much_is_an_error(
    encoded: Encoded, every: np.ndarray, monkeypatch: pytest.MonkeyPatch, one_sentence
) -> None:
    """Oracle: an index that finds nothing near: the same ten rows for everybody."""
    monkeypatch.setattr(RowIndex, "candidates", lambda self, rows, count: np.tile(np.arange(count), (len(rows), 1)))
    with pytest.raises(BadInput) as caught:
        nearest_approximately(encoded, encoded, K, own=every)
    one_sentence(caught.value, "must find 95% of the nearest rows", "method.neighbour_search=exact")


def test_rows_for_which_too_few_are_found_are_searched_exactly(
    encoded: Encoded, every: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the exact search; an index may end early on a table of copies."""
    monkeypatch.setattr(RowIndex, "candidates", lambda self, rows, count: np.full((len(rows), count), -1))
    few = encoded[:50]
    distances, numbers = nearest_approximately(few, encoded, K, own=every[:50])
    exact = nearest(few, encoded, K, own=every[:50])
    np.testing.assert_array_equal(distances, exact[0])
    np.testing.assert_array_equal(numbers, exact[1])


def test_without_faiss_the_cure_is_named(
    encoded: Encoded, every: np.ndarray, monkeypatch: pytest.MonkeyPatch, one_sentence
) -> None:
    """Oracle: the contract: one sentence with what to do."""

    def refuse(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(index.importlib, "import_module", refuse)
    with pytest.raises(BadInput) as caught:
        nearest_approximately(encoded, encoded, K, own=every)
    one_sentence(caught.value, "faiss", "pip install -e '.[large]'", "training.max_steps")


def test_the_published_distance_is_exact(table: pd.DataFrame, one_sentence) -> None:
    """Oracle: the docstring."""
    schema = infer_schema(table, columns={"note": "text"})
    settings = {"k": 2, "distance": "published", "label_rule": "any", "min_agreement": 0}
    with pytest.raises(BadInput) as caught:
        make_groups(table, schema, search="approximate", **settings)
    one_sentence(caught.value, "method.distance=mixed")
