"""A table in parts: train, val and test rows by a seed, or one of five folds to choose on."""

import pandas as pd

from harmonic.errors import BadInput
from harmonic.seed import derive_seed
from harmonic.table.schema import Schema

TEST_SHARE = 0.2
VAL_SHARE = 0.125
"""Of the rows that are not for test: a tenth of all."""
FOLDS = 5


def in_three(table: pd.DataFrame, schema: Schema, seed: int) -> dict[str, pd.DataFrame]:
    """The parts of a split whose test rows are a fifth of the table, drawn by the seed as those of val are."""
    rest, test = cut(table, schema, TEST_SHARE, seed)
    train, val = cut(rest, schema, VAL_SHARE, seed)
    return {"train": train, "val": val, "test": test}


def cut(table: pd.DataFrame, schema: Schema, share: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two parts, the second of the given share; stratified for classification where every class can be in both."""
    from sklearn.model_selection import train_test_split

    labels = table[schema.target]
    counts = labels.value_counts()
    fits = schema.task != "regression" and counts.min() >= 2 and len(counts) <= share * len(table)
    first, second = train_test_split(
        table, test_size=share, random_state=derive_seed(seed, "split"), stratify=labels if fits else None
    )
    if first[schema.target].nunique() < 2:
        raise BadInput(
            f"Target {schema.target!r} must vary in train, but {counts.iloc[0]} of {len(table)} rows agree: add rows."
        )
    return schema.restore_dtypes(first), schema.restore_dtypes(second)


def of_fold(table: pd.DataFrame, schema: Schema, fold: int, seed: int) -> dict[str, pd.DataFrame]:
    """The parts of a split whose test rows are one of FOLDS folds of the table, the same whatever the seed."""
    from sklearn.model_selection import KFold, StratifiedKFold

    kind = KFold if schema.task == "regression" else StratifiedKFold
    folds = kind(FOLDS, shuffle=True, random_state=derive_seed(0, "folds")).split(table, table[schema.target])
    rest, test = list(folds)[fold]
    train, val = cut(schema.restore_dtypes(table.iloc[rest]), schema, VAL_SHARE, seed)
    return {"train": train, "val": val, "test": schema.restore_dtypes(table.iloc[test])}
