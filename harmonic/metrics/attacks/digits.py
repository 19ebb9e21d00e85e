"""Membership by digits: a language model that repeats a row repeats its numbers digit by digit."""

import numpy as np
import pandas as pd
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

from harmonic.metrics.attacks.audit import Audit
from harmonic.table.schema import Schema

SEPARATOR = ","
CHUNK_CELLS = 16_000_000


def levatt(audit: Audit) -> np.ndarray | None:
    """Less edits between a candidate's digits and those of the nearest synthetic row: fewer edits, likelier a member.

    A row's digits are its numbers and moments in their text forms, with a separator between; the distance is Levenshtein's.
    Knows the synthetic table alone. Where a table has no numbers there is no score.

    Source: Ward et al. 2025, *When tables leak: attacking string memorization in LLM-based tabular data generation*
    (LevAtt), arXiv 2512.08875.
    """
    schema = audit.split.schema
    if not any(column.is_numeric for column in schema.columns):
        return None
    written = list(dict.fromkeys(digits(audit.synthetic, schema)))
    candidates = [*digits(audit.members, schema), *digits(audit.strangers, schema)]
    step = max(1, CHUNK_CELLS // len(written))
    nearest = [
        cdist(candidates[start : start + step], written, scorer=Levenshtein.distance, dtype=np.uint16, workers=1).min(axis=1)
        for start in range(0, len(candidates), step)
    ]
    return -np.concatenate(nearest).astype(np.float64)


def digits(table: pd.DataFrame, schema: Schema) -> list[str]:
    """The digits of each row, length n."""
    columns = [column.write(table[column.name]) for column in schema.columns if column.is_numeric]
    return [SEPARATOR.join(row) for row in zip(*columns, strict=True)]
