"""What other packages are given and give back. Oracles: the table itself, and counts by hand."""

import numpy as np
import pandas as pd
import pytest
from tqdm import tqdm

from baselines.exchange import as_numbers_and_texts, as_table, collect_rows
from harmonic.errors import SamplingFailed
from harmonic.table import schema_of
from harmonic.table.infer import infer_schema


def test_there_and_back(mixed_table):
    """Oracle: the table."""
    frame = as_numbers_and_texts(mixed_table, schema_of(mixed_table))
    assert {str(dtype) for dtype in frame.dtypes} == {"float64", "object"}
    pd.testing.assert_frame_equal(as_table(frame, schema_of(mixed_table)), mixed_table)


def test_numbers_are_held_within_range(mixed_table):
    """Oracle: train's extremes; empty cells stay empty."""
    schema = schema_of(mixed_table)
    frame = as_numbers_and_texts(mixed_table, schema)
    for name in ("amount", "day", "moment", "visits"):
        frame[name] = np.where(np.arange(len(frame)) % 2, frame[name] - 1e9, frame[name] + 1e9)
    table = as_table(frame, schema)
    for name in ("amount", "day", "moment", "visits"):
        numbers = schema[name].numbers(table[name])
        assert (np.nanmin(numbers), np.nanmax(numbers)) == (schema[name].low, schema[name].high)
        assert (np.isnan(numbers) == mixed_table[name].isna()).all()


def test_rows_are_collected_until_there_are_enough(mixed_table):
    """Oracle: counts by hand."""
    frame = mixed_table[["count", "label"]]
    schema = infer_schema(frame, target="label")
    bar = tqdm(total=2, disable=None)
    good, bad = {"count": "3", "label": "yes"}, {"count": "3.5", "label": "yes"}
    table, counts = collect_rows(iter([[good, bad, {"count": "3"}], [good, good]]), schema, 2, 10, bar)
    assert table.to_dict("list") == {"count": [3, 3], "label": ["yes", "yes"]}
    assert counts == {"tried": 4, "kept": 2, "refused": {"too many decimal places": 1, "missing column": 1}}
    with pytest.raises(SamplingFailed, match="2 rows were asked for, but of 4 tried 0 obey"):
        collect_rows(iter([[bad, bad], [bad, bad], [good, good]]), schema, 2, 2, bar)
