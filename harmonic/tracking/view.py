"""What of a record leaves its file: names and numbers, a curve, a few rows; neither paths nor messages."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from harmonic.build import TARGET
from harmonic.record import Cell, Record

REAL_ROWS = ("baselines.copy.", "baselines.holdout.", "baselines.controls.")
"""Where the methods live whose rows are real ones, and some of which run beside every cell: their tables go nowhere."""


def identity(cell: Cell) -> str:
    """What a tracker knows a cell by: equal for equal cells, and of letters that every service takes."""
    return hashlib.sha256(json.dumps(asdict(cell), sort_keys=True).encode()).hexdigest()[:20]


def filled(plain: Any, cell: Cell) -> Any:
    """Options in whose texts {dataset}, {method}, {model}, {seed}, {key} and {id} are replaced by a cell's.

    Raises:
        KeyError, ValueError: there is another word in braces, or a lone brace.
    """
    if isinstance(plain, Mapping):
        return {name: filled(value, cell) for name, value in plain.items()}
    if isinstance(plain, (list, tuple)):
        return [filled(value, cell) for value in plain]
    words = {**asdict(cell), "key": cell.key[:8], "id": identity(cell)}
    return plain.format_map(words) if isinstance(plain, str) else plain


def config(record: Record) -> dict[str, Any]:
    """The cell's place in the grid, what it was made with, and on what."""
    metrics = {name: score.get("config") for name, score in record.scores.items()}
    made = {"config": record.config, "metrics": metrics, "digests": record.digests, "env": record.env}
    return dict(_without_places({**asdict(record.cell), **made}))


def _without_places(plain: Any) -> Any:
    """The same with the last name alone of every absolute path: where things lie concerns this machine only."""
    if isinstance(plain, Mapping):
        return {name: _without_places(value) for name, value in plain.items()}
    if isinstance(plain, (list, tuple)):
        return [_without_places(value) for value in plain]
    if not isinstance(plain, str):
        return plain
    absolute = PurePosixPath(plain).is_absolute() or PureWindowsPath(plain).is_absolute() or plain.startswith("~")
    return PureWindowsPath(plain).name if absolute else plain


def outcome(record: Record) -> dict[str, str | None]:
    """How the cell ended; of an error only where and what kind, because its message may quote paths and rows."""
    error = f"{record.error['stage']}: {record.error['type']}" if record.error else None
    return {"status": record.status, "error": error}


def numbers(record: Record) -> dict[str, float]:
    """All that is a number, as group/name with the record's own names: mle/mle_auc, cost/time_fit_s, fit/batches_done."""
    groups = {name: score["values"] for name, score in record.scores.items()}
    groups |= {
        "cost": {**record.costs, "time_score_s": record.time_score_s},
        "fit": record.fit,
        "generation": record.fit.get("generation", {}),
    }
    return {
        f"{group}/{name}": value
        for group, values in groups.items()
        for name, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }


def loss_curve(record: Record) -> list[tuple[int, float]]:
    """(training step, mean loss of the steps up to there): records hold a curve in a few equal parts."""
    losses = record.fit.get("losses") or []
    counts = (record.fit.get(name) for name in ("batches_done", "steps_done", "batches"))
    steps = next((count for count in counts if count), len(losses))
    curve = [(round((place + 1) * steps / len(losses)), loss) for place, loss in enumerate(losses)]
    return [(step, loss) for step, loss in curve if loss is not None and math.isfinite(loss)]


def first_rows(record: Record, synthetic: Path | None, rows: int) -> Any:
    """The head of a cell's table as a DataFrame, None where a cell is empty; None if it is not shown."""
    method = str(record.config.get("method", {}).get(TARGET, ""))
    if synthetic is None or rows == 0 or method.startswith(REAL_ROWS):
        return None
    import pandas as pd

    frame = pd.read_csv(synthetic, nrows=rows, keep_default_na=False, na_values=[""])
    return frame.astype(object).where(frame.notna(), None)
