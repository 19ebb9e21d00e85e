"""Columns however they are stored. Oracle: the same cells stored as numpy stores them."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from harmonic.table import coerce, digest
from harmonic.table.infer import infer_schema
from harmonic.table.plain import plain

NUMBERS, WHOLE, TEXTS = [0.1, 0.9, 0.25, 7.0], [3, 1, 2, 3], ["a", "b", "a", "c"]
MOMENTS = pd.to_datetime(["2024-01-31 10:00:00", "2023-02-28", "2024-02-29", "2024-03-01"], format="ISO8601")


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (pd.Series(NUMBERS, dtype="float32"), NUMBERS),
        (pd.Series(NUMBERS, dtype="Float32"), NUMBERS),
        (pd.Series([Decimal(str(number)) for number in NUMBERS]), NUMBERS),
        (pd.Series(NUMBERS, dtype=object), NUMBERS),
        (pd.Series(WHOLE, dtype=object), WHOLE),
        (pd.Series(WHOLE, dtype="category"), WHOLE),
        (pd.Series(WHOLE, dtype="Sparse[int]"), WHOLE),
        (pd.Series(TEXTS, dtype="category"), TEXTS),
        (pd.Series(list(MOMENTS), dtype=object), MOMENTS),
        (pd.Series(MOMENTS, dtype="category"), MOMENTS),
    ],
)
def test_the_same_cells(stored, expected):
    """Oracle: schema and digest of a table with numpy's own storage; what is not told apart there is not here."""
    tables = [pd.DataFrame({"x": values, "y": ["no", "yes"] * 2}) for values in (stored, expected)]
    schemas = [infer_schema(table) for table in tables]
    assert schemas[0] == schemas[1]
    assert digest(coerce(tables[0], schemas[0], "x")) == digest(coerce(tables[1], schemas[1], "x"))
    assert all(
        pd.notna(schemas[0]["x"].read(text)) for text in schemas[0]["x"].write(coerce(tables[0], schemas[0], "x")["x"])
    )


@pytest.mark.parametrize("kind", ["int64", "double", "string", "bool", "timestamp[ns]"])
def test_arrow_types(kind):
    """Oracle: the values, and an empty cell that stays one."""
    pytest.importorskip("pyarrow")
    values = {
        "int64": WHOLE,
        "double": NUMBERS,
        "string": TEXTS,
        "bool": [True, False, True, True],
        "timestamp[ns]": list(MOMENTS),
    }[kind]
    found = plain(pd.Series([*values, None], dtype=f"{kind}[pyarrow]"))
    assert not isinstance(found.dtype, pd.ArrowDtype)
    assert found.iloc[:4].tolist() == values
    assert pd.isna(found.iloc[4])


@pytest.mark.parametrize(
    "values",
    [
        pd.Series(NUMBERS),
        pd.Series([1.5, np.nan]),
        pd.Series([1, None], dtype="Int64"),
        pd.Series(["a", None, 3], dtype=object),
        pd.Series([True, None], dtype=object),
        pd.Series([2**70, 1], dtype=object),
        pd.Series([None, None], dtype=object),
        pd.Series(MOMENTS),
    ],
)
def test_what_is_left_alone(values):
    """Oracle: the object itself: what a CSV file gives is not looked at cell by cell for nothing."""
    assert plain(values) is values
