"""What a metric does first: look at the rows it was handed, which need not come from the runner."""

import logging

import numpy as np
import pandas as pd

from harmonic.errors import BadInput
from harmonic.schema import DISCRETE_KINDS, Schema, discrete_texts
from harmonic.table import Split

log = logging.getLogger(__name__)


def check_rows(split: Split, synthetic: pd.DataFrame, metric: str, *, at_least: int = 1) -> pd.DataFrame:
    """The synthetic rows in the order of the schema's columns, fit to be scored; what is odd about them goes to the log.

    A category that train does not hold, and an empty cell where train has none, are scored as an empty cell of that column,
    and noted. Columns that the schema does not know are left out.

    Args:
        split: the data set.
        synthetic: rows of a generator, or of a user's own.
        metric: its name, for messages.
        at_least: rows that it needs.

    Raises:
        BadInput: a column is missing, or there are too few rows.
    """
    missing = [name for name in split.schema.names if name not in synthetic.columns]
    if missing:
        found = ", ".join(map(repr, missing[:3])) + (", …" if len(missing) > 3 else "")
        raise BadInput(f"{metric} must have every column of train, but the synthetic table lacks {found}: add it.")
    if len(synthetic) < at_least:
        rows = f"{at_least} synthetic row{'s' if at_least > 1 else ''} or more"
        raise BadInput(f"{metric} must have {rows}, but has {len(synthetic)}: sample more, or leave it out.")
    rows = synthetic[split.schema.names].reset_index(drop=True)
    for name, odd in _odd_cells(rows, split.schema).items():
        log.warning("%s: %d cells of %r hold what train never does, and count as empty.", metric, odd, name)
    return rows


def _odd_cells(rows: pd.DataFrame, schema: Schema) -> dict[str, int]:
    """Column name to its cells that the schema does not know, where there are any."""
    found = {}
    for column in schema.columns:
        odd = np.zeros(len(rows), dtype=bool) if column.nullable else rows[column.name].isna().to_numpy()
        if column.kind in DISCRETE_KINDS:
            texts = discrete_texts(rows[column.name], column)
            odd = odd | (texts.notna() & ~texts.isin(column.categories)).to_numpy()
        if odd.any():
            found[column.name] = int(odd.sum())
    return found
