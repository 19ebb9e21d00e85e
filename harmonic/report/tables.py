"""Records to tables: one per data set, a row per method and model, mean and standard deviation over seeds.

Two configurations of one method are two rows, told apart by a hash; `label=` on the command line gives them names.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harmonic.record import Record

HOLE = "–"
FAILED = "failed"


@dataclass(frozen=True)
class Score:
    """A column of the tables."""

    key: str
    """Key in a metric's dictionary."""
    title: str
    """With an arrow for the better direction, or the ideal value."""
    holdout: str = ""
    """Key of the same score of the real hold-out."""
    places: int = 3


SCORES = (
    Score("mle_f1_weighted", "MLE F1 weighted ↑"),
    Score("mle_f1_macro", "MLE F1 macro ↑"),
    Score("mle_auc", "MLE AUC ↑"),
    Score("mle_r2", "MLE R² ↑"),
    Score("dcr_mean", "DCR (= hold-out)", "dcr_holdout_mean"),
    Score("dcr_share", "DCR share (.5)"),
    Score("dcr_tail", "DCR tail (= hold-out)", "dcr_tail_holdout"),
    Score("nrs", "NRS (= hold-out)", "nrs_holdout"),
    Score("dlt", "DLT bits/cell (0)"),
    Score("mle_published", "MLE published ↑"),
    Score("dcr_published", "DCR published", "dcr_published_holdout"),
    Score("nrs_published", "NRS published ↑", "nrs_published_holdout"),
)
COSTS = (Score("time_fit_s", "fit s", places=0), Score("time_sample_s", "sample s", places=0))
AS_TRAIN = "as train"
HOLDOUT = "real hold-out"
FIRST = ("copy", "independent", HOLDOUT)
"""Rows that the others are read against, in this order."""


def tables(records: Sequence[Record]) -> dict[str, pd.DataFrame]:
    """A table per data set.

    Cells are text: the mean over seeds and, from two seeds on, ± the standard deviation (n - 1). A score that a record
    lacks or that is NaN in any seed is a hole; a group with a failed seed says so and is not averaged.
    """
    by_dataset: dict[str, list[Record]] = {}
    for record in records:
        by_dataset.setdefault(record.cell.dataset, []).append(record)
    return {dataset: _table(group) for dataset, group in sorted(by_dataset.items())}


def _table(records: Sequence[Record]) -> pd.DataFrame:
    scores = [score for score in SCORES if any(score.key in record.values for record in records)]
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(_meaning(record), []).append(record)
    lines = [_line(group, scores) for group in groups.values()]
    names = Counter((line["method"], line["model"], line["rows"]) for line in lines)
    for meaning, line in zip(groups, lines, strict=True):
        if names[line["method"], line["model"], line["rows"]] > 1:
            line["method"] += f" [{hashlib.sha256(meaning.encode()).hexdigest()[:6]}]"
    holdout = _holdout_line(records, scores)
    lines += [holdout] if holdout else []
    return pd.DataFrame(sorted(lines, key=_rank)).reset_index(drop=True)


def _rank(line: dict[str, str]) -> tuple[int, str, str, int]:
    first = FIRST.index(line["method"]) if line["method"] in FIRST else len(FIRST)
    return first, line["method"], line["model"], int(line["rows"]) if line["rows"].isdecimal() else 0


def _meaning(record: Record) -> str:
    """What tells two methods apart: name, model and configuration, less the seed."""
    config = {name: value for name, value in record.config.items() if name != "seed"}
    return json.dumps([record.cell.method, record.cell.model, _less_names(config)], sort_keys=True)


def _less_names(config: Any) -> Any:
    """The configuration with classes by name alone, wherever they lie, and without a budget that is not set."""
    if isinstance(config, list):
        return [_less_names(part) for part in config]
    if not isinstance(config, dict):
        return config
    kept = {name: value for name, value in config.items() if value is not None or name not in ("budget", "max_minutes")}
    return {name: value.rpartition(".")[2] if name == "_target_" else _less_names(value) for name, value in kept.items()}


def _line(group: Sequence[Record], scores: Sequence[Score]) -> dict[str, str]:
    cell = group[0].cell
    line = {
        "method": cell.method,
        "model": "" if cell.model == "none" else cell.model,
        "rows": str(group[0].config["n_samples"] or group[0].fit.get("rows_held") or AS_TRAIN),
        "seeds": str(len(group)),
    }
    failures = sum(record.status == "failed" for record in group)
    for score in scores:
        line[score.title] = FAILED if failures else _cell([r.values.get(score.key) for r in group], score.places)
    for cost in COSTS:
        line[cost.title] = HOLE if failures else _cell([r.costs.get(cost.key) for r in group], cost.places)
    if failures:
        line["seeds"] += f" ({failures} failed)"
    return line


def _holdout_line(records: Sequence[Record], scores: Sequence[Score]) -> dict[str, str] | None:
    """The real hold-out's own scores, one value per seed: whatever method's record they stand in, they are the same."""
    by_seed: dict[int, dict[str, float]] = {}
    for record in records:
        if record.status == "done":
            by_seed.setdefault(record.cell.seed, {}).update(record.values)
    cells = {
        score.title: _cell([values.get(score.holdout) for values in by_seed.values()], score.places)
        for score in scores
        if score.holdout
    }
    if not by_seed or all(cell == HOLE for cell in cells.values()):
        return None
    empty = dict.fromkeys((*(score.title for score in scores), *(cost.title for cost in COSTS)), "")
    return {"method": HOLDOUT, "model": "", "rows": "", "seeds": str(len(by_seed)), **empty, **cells}


def _cell(values: Sequence[float | None], places: int) -> str:
    numbers = np.array(values, dtype=float)
    if np.isnan(numbers).any():
        return HOLE
    spread = f" ± {numbers.std(ddof=1):.{places}f}" if len(numbers) > 1 else ""
    return f"{numbers.mean():.{places}f}{spread}"


def to_markdown(frame: pd.DataFrame) -> str:
    """A Markdown table with aligned columns."""
    rows = [list(frame.columns), *frame.astype(str).to_numpy().tolist()]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def summary(records: Sequence[Record]) -> str:
    """The tables of these records, each cell of the grid once, and under them what failed and why.

    A data set that could not be read has no table, just its error.
    """
    distinct = {record.cell: record for record in records}.values()
    readable = [record for record in distinct if not record.error or record.error["stage"] != "data"]
    parts = [f"\n{dataset}\n{to_markdown(table)}" for dataset, table in tables(readable).items()]
    errors = [
        f"{record.cell.dataset}/{record.cell.method}/seed{record.cell.seed} failed in {record.error['stage']}: "
        f"{record.error['message']}"
        for record in distinct
        if record.error
    ]
    return "\n".join([*parts, *errors])
