"""What is odd about a data set, found before anything is fitted: copies, keys, constants, categories train never saw."""

import re
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

from harmonic.table import Split
from harmonic.table.constraints import broken
from harmonic.table.infer import printable
from harmonic.table.schema import DISCRETE_KINDS, MAX_PLACES, Column, Schema, discrete_texts

NEAR_CONSTANT_SHARE = 0.99
SMALL_CLASS_ROWS = 5
SHOWN = 5
"""Names listed in a finding; the rest are counted."""
MANY_NUMBERS = 10
"""So many different numbers among a column's texts are no names of categories."""
MANY_VALUES, FEW_ROWS = 100, 20
"""A column of more different texts than the first, and with fewer rows for each than the second, may name somebody."""
WIDE, MOST_ROWS = 100, (0.005, 0.995)
"""A range so many times that between these quantiles is one value's."""
_DATE = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}([ T].*)?")
_NUMBER = re.compile(r"[-+]?[$€£]?\s*[-+]?\d[\d,]*\.?\d*(e[-+]?\d+)?\s*%?", re.IGNORECASE)
"""A number as people write it, with signs that no CSV reader takes."""


def inspect(split: Split) -> dict[str, Any]:
    """Findings about a split, in JSON's types.

    Keys: `rows` (per part), `train_duplicates` (rows that repeat an earlier one), `copies_of_train` (per hold-out part the
    `count` and `share` of its rows that stand in train in every cell), `id_like` (key-like features: no value twice in
    train), `near_constant` (one value in 99 % of train), `unseen_categories` (per hold-out part and column what train does
    not hold), `small_classes` (class to its rows in train, below 5), `empty_cells` (per column, over all parts),
    `empty_gives_target` (features that are empty for some classes and filled for all others), `numbers_as_texts` (column
    whose texts are numbers in half of train or more, to one that could not be read as a number, such as "?" or "$1,200"),
    `dates_as_texts` (column whose texts look like dates in half of train or more, to one of them), `many_valued` (columns
    of texts that are no key, but of more than 100 and a twentieth as many values as rows, to how many), `rare_categories`
    (features to how many of their categories fewer than 5 train rows have), `wide_ranges` (columns of numbers whose range
    is more than 100 times that of the middle 99 of 100 rows: one value is the scale of all distances), `cut_places`
    (columns kept to fewer decimal places than their numbers have), where the data set has constraints `broken_constraints`
    (rule to the train rows that break it), and, where most columns are named like one of their own cells,
    `names_like_cells` (those columns): a file without a line of names has its first row for one.
    """
    schema, train = split.schema, split.train
    holdouts = {"val": split.val, "test": split.test}
    train_keys = _row_keys(train, schema)
    copies = {part: np.isin(_row_keys(table, schema), train_keys) for part, table in holdouts.items()}
    unseen = {part: _unseen(table, train, schema) for part, table in holdouts.items()}
    empty = sum(table.isna().sum() for table in (train, *holdouts.values()))
    named = _named_like_cells(schema)
    return {
        "rows": {"train": len(train), **{part: len(table) for part, table in holdouts.items()}},
        "train_duplicates": int(len(train_keys) - len(np.unique(train_keys))),
        "copies_of_train": {
            part: {"count": int(copied.sum()), "share": float(copied.mean()) if len(copied) else 0.0}
            for part, copied in copies.items()
        },
        "id_like": [column.name for column in schema.features if _is_id_like(train[column.name], column)],
        "near_constant": [name for name in schema.names if _top_share(train[name]) >= NEAR_CONSTANT_SHARE],
        "unseen_categories": {part: found for part, found in unseen.items() if found},
        "small_classes": _small_classes(train, schema),
        "empty_cells": {str(name): int(count) for name, count in empty.items() if count},
        "empty_gives_target": _empty_gives_target(train, schema),
        "numbers_as_texts": _numbers_as_texts(train, schema),
        "dates_as_texts": _dates_as_texts(train, schema),
        "many_valued": _many_valued(train, schema),
        "rare_categories": _rare_categories(train, schema),
        "wide_ranges": [column.name for column in schema.columns if _is_wide(train[column.name], column)],
        "cut_places": [column.name for column in schema.columns if _is_cut(train[column.name], column)],
        **({"broken_constraints": broken(train, schema)} if schema.constraints else {}),
        **({"names_like_cells": named} if named else {}),
    }


def without_cells(findings: dict[str, Any]) -> dict[str, Any]:
    """The findings as a record keeps them, numbers in place of cells: what train lacks, too, says who is in it."""
    unseen = findings["unseen_categories"]
    return {
        **findings,
        "unseen_categories": {part: {name: len(held) for name, held in columns.items()} for part, columns in unseen.items()},
        "numbers_as_texts": list(findings["numbers_as_texts"]),
        "dates_as_texts": list(findings["dates_as_texts"]),
    }


def summarise(hygiene: dict[str, Any]) -> list[str]:
    """One line for each finding that is worth saying."""
    lines = []
    if names := hygiene.get("names_like_cells"):
        lines.append(f"columns are named like their own cells (a file without a line of names?): {_names(names)}")
    if hygiene["train_duplicates"]:
        lines.append(f"{hygiene['train_duplicates']} of {hygiene['rows']['train']} train rows repeat another")
    for part, copies in hygiene["copies_of_train"].items():
        if copies["count"]:
            rows = hygiene["rows"][part]
            lines.append(f"{copies['count']} of {rows} {part} rows ({copies['share']:.2%}) stand in train too")
    if hygiene["id_like"]:
        keys = _names(hygiene["id_like"])
        lines.append(f"no value occurs twice, a key whose very values may be written (dataset.drop it?): {keys}")
    if hygiene["numbers_as_texts"]:
        found = [f"{name} {text!r}" for name, text in hygiene["numbers_as_texts"].items()]
        lines.append(f"numbers taken for texts because of such cells (empty or rewrite them?): {_names(found)}")
    if found := [f"{name} {text!r}" for name, text in hygiene["dates_as_texts"].items()]:
        lines.append(
            f"dates taken for texts, whose very values may be written (dataset.columns: kind datetime and its "
            f"datetime_format?): {_names(found)}"
        )
    if found := [f"{name} ({count} values)" for name, count in hygiene["many_valued"].items()]:
        lines.append(f"texts of many values, each of which may be written as it stands (dataset.drop it?): {_names(found)}")
    if found := [f"{name} ({count})" for name, count in hygiene["rare_categories"].items()]:
        lines.append(f"categories of fewer than {SMALL_CLASS_ROWS} train rows, which may be written: {_names(found)}")
    if hygiene["wide_ranges"]:
        lines.append(f"one value sets the scale of all distances (a code for unknown?): {_names(hygiene['wide_ranges'])}")
    if hygiene["cut_places"]:
        lines.append(f"kept to {MAX_PLACES} decimal places: {_names(hygiene['cut_places'])}")
    if hygiene["near_constant"]:
        lines.append(f"one value in {NEAR_CONSTANT_SHARE:.0%} of train or more: {_names(hygiene['near_constant'])}")
    for part, columns in hygiene["unseen_categories"].items():
        found = [f"{name} {_names(categories)}" for name, categories in columns.items()]
        lines.append(f"categories in {part} that train does not hold: {_names(found, '; ')}")
    if hygiene["small_classes"]:
        found = [f"{label} ({count})" for label, count in hygiene["small_classes"].items()]
        lines.append(f"classes of fewer than {SMALL_CLASS_ROWS} train rows: {_names(found)}")
    if hygiene["empty_gives_target"]:
        lines.append(f"empty or filled gives the target away: {_names(hygiene['empty_gives_target'])}")
    for text, count in hygiene.get("broken_constraints", {}).items():
        lines.append(f"{count} of {hygiene['rows']['train']} train rows break the constraint {text}")
    if hygiene["empty_cells"]:
        lines.append(f"empty cells: {_names([f'{name} {count}' for name, count in hygiene['empty_cells'].items()])}")
    return lines


def _names(names: list[str], separator: str = ", ") -> str:
    more = len(names) - SHOWN
    return separator.join(map(printable, names[:SHOWN])) + (f" and {more} more" if more > 0 else "")


def _row_keys(table: pd.DataFrame, schema: Schema) -> np.ndarray:
    """A 64-bit hash of each row, uint64, shape (n,); equal for equal rows however a part happens to be stored."""
    columns = {
        column.name: column.numbers(table[column.name]) if column.is_numeric else _texts(table[column.name], column)
        for column in schema.columns
    }
    return pd.util.hash_pandas_object(pd.DataFrame(columns), index=False).to_numpy()


def _texts(values: pd.Series, column: Column) -> pd.Series:
    texts = discrete_texts(values, column).astype(object)
    return texts.where(texts.notna(), None).reset_index(drop=True)


def _named_like_cells(schema: Schema) -> list[str]:
    """Columns whose names could be cells of theirs, if most are; names that count the columns are pandas' for none."""
    named = [column.name for column in schema.columns if _is_named_like_a_cell(column)]
    counted = set(schema.names) <= set(map(str, range(len(schema.columns))))
    return named if 2 * len(named) > len(schema.columns) and not counted else []


def _is_named_like_a_cell(column: Column) -> bool:
    if column.kind == "text":  # which holds any
        return False
    for text in {column.name, column.name.strip()} - {""}:  # numbers are read without the blanks before them
        with suppress(ValueError):
            column.read(text)
            return True
    return False


def _is_id_like(values: pd.Series, column: Column) -> bool:
    return column.kind in ("text", "integer", "category") and len(values) > 1 and bool(values.is_unique)


def _top_share(values: pd.Series) -> float:
    return float(values.value_counts(normalize=True, dropna=False).iloc[0]) if len(values) else 0.0


def _unseen(table: pd.DataFrame, train: pd.DataFrame, schema: Schema) -> dict[str, list[str]]:
    found = {}
    for column in schema.columns:
        if column.kind in DISCRETE_KINDS:
            known = set(discrete_texts(train[column.name].dropna(), column))
            categories = sorted(set(discrete_texts(table[column.name].dropna(), column)) - known)
            if categories:
                found[column.name] = categories
    return found


def _small_classes(train: pd.DataFrame, schema: Schema) -> dict[str, int]:
    if schema.task == "regression":
        return {}
    target = schema[schema.target]
    counts = discrete_texts(train[schema.target], target).value_counts()
    every = {label: int(counts.get(label, 0)) for label in target.categories}
    return {label: count for label, count in every.items() if count < SMALL_CLASS_ROWS}


def _empty_gives_target(train: pd.DataFrame, schema: Schema) -> list[str]:
    if schema.task == "regression":
        return []
    found = []
    for column in schema.features:
        empty_share = train[column.name].isna().groupby(train[schema.target]).mean()
        if set(empty_share) == {0.0, 1.0}:
            found.append(column.name)
    return found


def _numbers_as_texts(train: pd.DataFrame, schema: Schema) -> dict[str, str]:
    found = {}
    for column in schema.columns:
        if column.dtype != "str" or column.kind == "datetime":
            continue
        texts = train[column.name].dropna().astype(str)
        odd = texts[pd.to_numeric(texts, errors="coerce").isna()]
        numbers = texts[texts.str.strip().str.fullmatch(_NUMBER)]
        if len(odd) and 2 * len(numbers) >= len(texts) and numbers.nunique() > MANY_NUMBERS:
            found[column.name] = odd.iloc[0]
    return found


def _dates_as_texts(train: pd.DataFrame, schema: Schema) -> dict[str, str]:
    found = {}
    for column in schema.columns:
        if column.dtype == "str" and column.kind != "datetime":
            texts = train[column.name].dropna().astype(str)
            dates = texts[texts.str.fullmatch(_DATE)]
            if len(dates) and 2 * len(dates) >= len(texts):
                found[column.name] = dates.iloc[0]
    return found


def _many_valued(train: pd.DataFrame, schema: Schema) -> dict[str, int]:
    texts = [column for column in schema.features if column.dtype == "str" and column.kind in ("text", "category")]
    repeated = [column.name for column in texts if not _is_id_like(train[column.name], column)]
    counts = {name: int(train[name].nunique()) for name in repeated}
    return {name: n for name, n in counts.items() if n > MANY_VALUES and n * FEW_ROWS > len(train)}


def _rare_categories(train: pd.DataFrame, schema: Schema) -> dict[str, int]:
    found = {}
    for column in schema.features:
        if column.kind in DISCRETE_KINDS:
            rare = int((discrete_texts(train[column.name].dropna(), column).value_counts() < SMALL_CLASS_ROWS).sum())
            if rare:
                found[column.name] = rare
    return found


def _is_wide(values: pd.Series, column: Column) -> bool:
    numbers = column.numbers(values.dropna()) if column.is_numeric else np.empty(0)
    if not len(numbers):
        return False
    low, high = np.quantile(numbers, MOST_ROWS)
    return bool(high > low and np.ptp(numbers) > WIDE * (high - low))


def _is_cut(values: pd.Series, column: Column) -> bool:
    if column.kind != "decimal" or column.places < MAX_PLACES:
        return False
    numbers = column.numbers(values.dropna())
    return bool((numbers != np.round(numbers, MAX_PLACES)).any())
