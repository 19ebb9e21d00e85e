"""A split from two frames, for tests that do not look at val."""

import pandas as pd

from harmonic.table import Split, coerce
from harmonic.table.infer import infer_schema


def split_of(train: pd.DataFrame, test: pd.DataFrame, **columns: str) -> Split:
    """Train with its schema inferred, `columns` being corrections, and test, which is val too."""
    schema = infer_schema(train, columns=columns)
    tables = (coerce(table, schema, name) for name, table in (("train", train), ("val", test), ("test", test)))
    return Split("made", schema, *tables)
