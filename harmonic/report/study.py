"""The study of the method: variants on folds of train and val, each beside what the method does by default."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from harmonic.errors import BadInput
from harmonic.record import Record, found, read, read_all
from harmonic.report.entries import FAILED, HOLE, summarise
from harmonic.report.significance import paired_interval
from harmonic.report.tables import SCORES, Score, to_markdown

FOLDER = Path("results/study")
DEFAULT = "harmonic"
"""The label of the variant that the others are compared with."""
KEYS = ("mle_f1_weighted", "mle_f1_macro", "mle_auc", "c2st_auc", "dcr_share", "dcr_tail", "mia_auc", "dlt")
INTRODUCTION = f"""# The study's variants

On folds of each data set's train and val rows; its test rows are left alone. What the variants are: docs/study.md.
The upper table of a data set has means ± standard deviations over folds, the lower one what a variant has more than
`{DEFAULT}` on the same folds, with a 95 % interval over folds.
"""

Fold = tuple[int | None, int]
"""Number of the fold, and the run's seed."""


def study_of(folder: Path | None) -> list[Record]:
    """The study's records: all of a folder that is named, which must hold some; else those of `FOLDER`, if it is there."""
    return [read(path) for path in found(folder)] if folder else read_all(FOLDER)


def study_page(records: Sequence[Record]) -> str:
    """The study's tables as Markdown."""
    apart = differences(records)
    parts = [INTRODUCTION]
    for dataset, table in levels(records).items():
        parts += [f"## {dataset}\n", to_markdown(table), ""]
        if dataset in apart:
            parts += [to_markdown(apart[dataset]), ""]
    return "\n".join(parts)


def levels(records: Sequence[Record]) -> dict[str, pd.DataFrame]:
    """A table per data set, a row per label: mean ± standard deviation over folds, from all folds it was run on."""
    return {dataset: pd.DataFrame(_level_rows(by_label)) for dataset, by_label in labelled(records).items()}


def differences(records: Sequence[Record], default: str = DEFAULT) -> dict[str, pd.DataFrame]:
    """A table per data set, a row per label but the default's: what it has more than the default on the same folds.

    Mean and 95 % interval of Student's t over folds, of two or more; folds share rows to learn from, so that the interval is
    somewhat too narrow. A fold on which either failed or has no such score is left out, and the number of folds says so.
    """
    tables = {}
    for dataset, by_label in labelled(records).items():
        base = by_label.get(default, {})
        rows = [_difference_row(label, by_fold, base) for label, by_fold in by_label.items() if label != default]
        tables[dataset] = pd.DataFrame([row for row in rows if row])
    return {dataset: table for dataset, table in tables.items() if len(table)}


def labelled(records: Sequence[Record]) -> dict[str, dict[str, dict[Fold, Record]]]:
    """Data set to label to fold to record, in order of name; raises BadInput where a label has a fold twice."""
    found: dict[str, dict[str, dict[Fold, Record]]] = {}
    for record in sorted(records, key=lambda record: (record.cell.dataset, record.cell.method)):
        fold = record.config.get("dataset", {}).get("fold"), record.cell.seed
        by_fold = found.setdefault(record.cell.dataset, {}).setdefault(record.cell.method, {})
        if fold in by_fold:
            raise BadInput(
                f"A label of the study must mean one thing, but two records of {record.cell.dataset}, fold {fold[0]}, seed "
                f"{fold[1]}, are labelled {record.cell.method}: give one of them another label, or delete it."
            )
        by_fold[fold] = record
    return found


def _scores() -> list[Score]:
    known = {score.key: score for score in SCORES}
    return [known[key] for key in KEYS]


def _level_rows(by_label: Mapping[str, Mapping[Fold, Record]]) -> list[dict[str, str]]:
    rows = []
    for label, by_fold in by_label.items():
        row = {"variant": label, "folds": str(len(by_fold))}
        for score in _scores():
            failed = any(record.error and score.key not in record.values for record in by_fold.values())
            entry = summarise([record.values.get(score.key) for record in by_fold.values()], score.places)
            row[score.title] = FAILED if failed else entry.text
        rows.append(row)
    return rows


def _difference_row(label: str, by_fold: Mapping[Fold, Record], base: Mapping[Fold, Record]) -> dict[str, str]:
    shared = [fold for fold in by_fold if fold in base and not by_fold[fold].error and not base[fold].error]
    row = {"variant": label, "folds": str(len(shared))}
    for score in _scores():
        pairs = [(by_fold[fold].values.get(score.key), base[fold].values.get(score.key)) for fold in shared]
        row[score.title] = _interval([mine - theirs for mine, theirs in pairs if mine is not None and theirs is not None])
    return row if any(text != HOLE for text in list(row.values())[2:]) else {}


def _interval(values: Sequence[float]) -> str:
    """Mean and interval of a few differences as text; a hole of fewer than two."""
    if len(values) < 2 or not np.isfinite(values).all():
        return HOLE
    low, high = paired_interval(values)
    return f"{float(np.mean(values)):+.3f} [{low:+.3f}, {high:+.3f}]"
