"""Tables as other packages take and give them: numbers as numbers, everything else as text."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from harmonic.errors import BadInput, SamplingFailed
from harmonic.table.schema import Column, Schema, discrete_texts

HOPELESS_AFTER = 500
"""Rows to read before a generator may be given up for writing too few that obey."""


def as_numbers_and_texts(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The table with numeric kinds as float64 (moments in seconds since 1970) and all other columns as text or None."""
    return pd.DataFrame({column.name: _plain(table[column.name], column) for column in schema.columns})


def _plain(values: pd.Series, column: Column) -> np.ndarray:
    if column.is_numeric:
        return column.numbers(values)
    texts = discrete_texts(values, column).astype(object)
    return texts.where(texts.notna(), None).to_numpy()


def as_table(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The table that such a frame stands for, numbers rounded to their places and held within train's range."""
    return schema.restore_dtypes(
        pd.DataFrame({column.name: _typed(frame[column.name], column) for column in schema.columns})
    )


def _typed(values: pd.Series, column: Column) -> pd.Series:
    if column.is_numeric:
        return column.from_numbers(np.clip(values.to_numpy(dtype=np.float64, na_value=np.nan), column.low, column.high))
    known = {text: column.read(text) for text in values.dropna().unique()}
    return values.map(known, na_action="ignore").reset_index(drop=True)


def refuse_text(schema: Schema, method: str) -> None:
    """Raise BadInput for a table with free text, which `method` can only copy from train."""
    names = [column.name for column in schema.columns if column.kind == "text"]
    if names:
        raise BadInput(
            f"method={method} needs numbers, dates and categories, but column {names[0]!r} is free text: leave it out with "
            f"dataset.drop=[{','.join(names)}], or use a language model's method (harmonic, great, tabula)."
        )


def collect_rows(
    batches: Iterator[list[dict[str, str]]], schema: Schema, n: int, patience: int, bar: Any
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The first n rows that the schema accepts, of those that a generator writes as text.

    Args:
        batches: rows as column name to text form; a column may be missing.
        schema: what rows must obey.
        n: how many are wanted.
        patience: rows to read for each one wanted before giving up.
        bar: a progress bar of n rows.

    Returns:
        The table, and counts for the record: rows tried, and why rows were refused.

    Raises:
        SamplingFailed: too few rows obey.
    """
    rows: list[dict[str, Any]] = []
    reasons: Counter[str] = Counter()
    tried, example = 0, ""
    for batch in batches:
        for texts in batch:
            tried += 1
            try:
                rows.append(_read(texts, schema))
                bar.update(1)
            except ValueError as error:
                reasons[str(error)] += 1
                example = str(texts)
            if len(rows) == n:
                counts = {"tried": tried, "kept": n, "refused": dict(reasons)}
                return schema.restore_dtypes(pd.DataFrame(rows, columns=schema.names)), counts
        hopeless = tried >= HOPELESS_AFTER and len(rows) * patience < tried
        if hopeless or tried >= n * patience:
            break
    raise SamplingFailed(
        f"{n} rows were asked for, but of {tried} tried {len(rows)} obey the schema ({dict(reasons)}), the last other one "
        f"being {example[:300]!r}: train for longer (method.budget, method.epochs), or raise method.max_tries."
    )


def _read(texts: dict[str, str], schema: Schema) -> dict[str, Any]:
    missing = [column.name for column in schema.columns if column.name not in texts]
    if missing:
        raise ValueError("missing column")
    return {column.name: column.read(texts[column.name]) for column in schema.columns}
