"""Records to tables: one per data set, a row per method and model, mean and standard deviation over seeds.

Two configurations of one method are two rows, told apart by a hash; `label=` on the command line gives them names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from harmonic.record import Record
from harmonic.report.entries import FAILED, HOLE, summarise
from harmonic.report.groups import AS_TRAIN, Group, by_dataset, group, metrics_of, rows_of


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


SHEETS = {
    "utility": (
        Score("mle_f1_weighted", "MLE F1 weighted ↑"),
        Score("mle_f1_macro", "MLE F1 macro ↑"),
        Score("mle_auc", "MLE AUC ↑"),
        Score("mle_r2", "MLE R² ↑"),
        Score("lle_f1_weighted", "LLE F1 weighted ↑"),
        Score("lle_f1_macro", "LLE F1 macro ↑"),
        Score("lle_auc", "LLE AUC ↑"),
        Score("lle_r2", "LLE R² ↑"),
    ),
    "fidelity": (
        Score("shapes", "shapes (= real)", "shapes_real"),
        Score("pair_trends", "pair trends (= real)", "pair_trends_real"),
        Score("mi_error", "MI error (= real)", "mi_error_real"),
        Score("c2st_auc", "C2ST AUC (.5)", "c2st_auc_real"),
        Score("alpha_precision", "α-precision (= real)", "alpha_precision_real"),
        Score("beta_recall", "β-recall (= real)", "beta_recall_real"),
        Score("validity_rows", "valid rows (1)", "validity_rows_holdout"),
        Score("validity_constraints", "constraints kept (1)", "validity_constraints_holdout"),
        Score("validity_dependencies", "dependencies kept (= real)", "validity_dependencies_holdout"),
    ),
    "privacy": (
        Score("dcr_mean", "DCR (= hold-out)", "dcr_holdout_mean"),
        Score("dcr_share", "DCR share (.5)"),
        Score("dcr_tail", "DCR tail (= hold-out)", "dcr_tail_holdout"),
        Score("nndr_mean", "NNDR (= hold-out)", "nndr_holdout_mean"),
        Score("nrs", "NRS (= hold-out)", "nrs_holdout"),
        Score("dlt", "DLT bits/cell (0)"),
        Score("dlt_learnt", "DLT learnt (0)"),
        Score("mia_auc", "MIA AUC (.5)"),
        Score("mia_auc_chance", "MIA AUC by chance"),
        Score("mia_tpr1", "MIA TPR at 1 % (.01)"),
        Score("mia_tpr1_chance", "MIA TPR by chance"),
        Score("prompt_copy_share", "prompt share (.5)"),
        Score("prompt_copy_drawn", "prompt drawn (.5)"),
        Score("prompt_copy_verbatim", "prompt verbatim (= hold-out)", "prompt_copy_verbatim_holdout"),
        Score("anonymeter_singling_out", "singling out (0)"),
        Score("anonymeter_linkability", "linkability (0)"),
        Score("anonymeter_inference", "inference (0)"),
        Score("canary_exposure_1", "canary exposure, bits (1.4)", places=1),
        Score("canary_reach_1", "canary reach, bits (1.4)", places=1),
    ),
    "as published": (
        Score("mle_published", "MLE published ↑"),
        Score("lle_published", "LLE published ↑"),
        Score("dcr_published", "DCR published (= hold-out)", "dcr_published_holdout"),
        Score("nrs_published", "NRS published (= hold-out)", "nrs_published_holdout"),
        Score("dlt_published_train_test", "DLT published, train - test (0)"),
        Score("dlt_published_real_synthetic", "DLT published, real - synthetic (0)"),
    ),
}
"""Columns by what they speak of: a table is printed as a sheet for each."""
SCORES = tuple(score for sheet in SHEETS.values() for score in sheet)
COSTS = (Score("time_fit_s", "fit s", places=0), Score("time_sample_s", "sample s", places=0))
IDENTITY = ("method", "model", "rows", "seeds")
WITHOUT_COLUMN = {"prompt_rows_shown"}
"""All that prompt_copy says where no prompt held a row of train."""
FURTHER = "further"
"""The sheet of metrics that these tables do not know."""
HOLDOUT = "real hold-out"
FIRST = ("copy", "independent", HOLDOUT)
"""Rows that the others are read against, in this order."""


def tables(records: Sequence[Record]) -> dict[str, pd.DataFrame]:
    """A table per data set.

    Cells are text: the mean over seeds and, from two seeds on, ± the standard deviation (n - 1). A score that a record
    lacks or that is NaN in any seed is a hole; where a seed failed, its scores say so and are not averaged. A seed that
    failed in a metric keeps what the others scored.
    """
    return {dataset: table_of(some) for dataset, some in by_dataset(records).items()}


def table_of(records: Sequence[Record]) -> pd.DataFrame:
    """The table of one data set's records."""
    scores = [score for score in SCORES if any(score.key in record.values for record in records)] + _unknown(records)
    metrics = metrics_of(records)
    lines = [_line(row, scores, metrics) for row in group(records)]
    holdout = _holdout_line(records, scores)
    lines += [holdout] if holdout else []
    return pd.DataFrame(sorted(lines, key=_rank)).reset_index(drop=True)


def _unknown(records: Sequence[Record]) -> list[Score]:
    """Columns for the metrics that `SCORES` has nothing of, their scores as their author named them.

    A score that bears another's name and `_holdout` or `_real` is that one's of the real hold-out; one whose name holds a
    colon is of one column alone, and is left out.
    """
    found: dict[str, set[str]] = {}
    for record in records:
        for metric, score in record.scores.items():
            found.setdefault(metric, set()).update(score["values"])
    listed = {score.key for score in SCORES}
    unknown = [names for names in found.values() if not names & (listed | WITHOUT_COLUMN)]
    keys = {key for names in unknown for key in names if ":" not in key}
    holdouts = {key: own for key in keys for own in (f"{key}_holdout", f"{key}_real") if own in keys}
    return [Score(key, key, holdouts.get(key, "")) for key in sorted(keys - set(holdouts.values()))]


def _rank(line: dict[str, str]) -> tuple[int, str, str, int]:
    first = FIRST.index(line["method"]) if line["method"] in FIRST else len(FIRST)
    return first, line["method"], line["model"], int(line["rows"]) if line["rows"].isdecimal() else 0


def _line(row: Group, scores: Sequence[Score], metrics: Mapping[str, str]) -> dict[str, str]:
    line = {"method": row.method, "model": row.model, "rows": row.rows, "seeds": row.seeds}
    for score in scores:
        has_failed = row.failed_in(score.key, metrics[score.key])
        line[score.title] = FAILED if has_failed else summarise(row.values(score.key), score.places).text
    for cost in COSTS:
        line[cost.title] = summarise(row.costs(cost.key), cost.places).text if row.has_rows else HOLE
    return line


def _holdout_line(records: Sequence[Record], scores: Sequence[Score]) -> dict[str, str] | None:
    by_seed = holdout_values(records)
    cells = {
        score.title: summarise([values.get(score.holdout) for values in by_seed.values()], score.places).text
        for score in scores
        if score.holdout
    }
    if not by_seed or all(text == HOLE for text in cells.values()):
        return None
    empty = dict.fromkeys((*(score.title for score in scores), *(cost.title for cost in COSTS)), "")
    return {"method": HOLDOUT, "model": "", "rows": "", "seeds": str(len(by_seed)), **empty, **cells}


def holdout_values(records: Sequence[Record]) -> dict[int, dict[str, float]]:
    """Seed to all scores of a data set, of which only those of real rows mean anything: they are no method's.

    Those that stand beside as many synthetic rows (`shapes_real`) are of records of as many rows as train has, if there are.
    """
    by_seed: dict[int, dict[str, float]] = {}
    for record in sorted(records, key=lambda record: rows_of(record) == AS_TRAIN):
        if record.values:
            by_seed.setdefault(record.cell.seed, {}).update(record.values)
    return by_seed


def sheets(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """A data set's table in parts that can be read: what a row is, and its scores on one matter or its costs.

    A matter that nothing was scored on has no sheet, and a row without any score on it no line there.
    """
    titles = {name: [score.title for score in scores] for name, scores in SHEETS.items()}
    cost = [cost.title for cost in COSTS]
    known = {*IDENTITY, *cost, *(title for columns in titles.values() for title in columns)}
    titles |= {FURTHER: [name for name in table.columns if name not in known], "cost": cost}
    parts = {}
    for name, columns in titles.items():
        present = [column for column in columns if column in table.columns]
        lines = table[~table[present].isin(["", HOLE]).all(axis=1)] if present else table.iloc[:0]
        if len(lines):
            parts[name] = lines[[*IDENTITY, *present]].reset_index(drop=True)
    return parts


def pages(table: pd.DataFrame, level: str = "") -> str:
    """The sheets as Markdown, each under its name; `level` is the heading's sign."""
    return "\n\n".join(f"{level}{name}\n\n{to_markdown(sheet)}" for name, sheet in sheets(table).items())


def to_markdown(frame: pd.DataFrame) -> str:
    """A Markdown table with aligned columns; a cell may hold Markdown's emphasis, but neither HTML nor a cell's end."""
    rows = [list(map(plain, frame.columns)), *frame.astype(str).map(plain).to_numpy().tolist()]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def plain(text: str) -> str:
    """Text that Markdown takes for neither a cell's end nor HTML."""
    return text.replace("|", r"\|").replace("<", "&lt;")


def summary(records: Sequence[Record]) -> str:
    """The tables of these records, each cell of the grid once, and under them what failed and why.

    A data set that could not be read has no table, just its error.
    """
    distinct = {record.cell: record for record in records}.values()
    readable = [record for record in distinct if not record.error or record.error["stage"] != "data"]
    parts = [f"\n{dataset}\n\n{pages(table)}" for dataset, table in tables(readable).items()]
    errors = [
        f"{record.cell.dataset}/{record.cell.method}/seed{record.cell.seed} failed in {record.error['stage']}: "
        f"{record.error['message']}"
        for record in distinct
        if record.error
    ]
    return "\n".join([*parts, *errors])
