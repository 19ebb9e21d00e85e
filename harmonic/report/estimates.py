"""Estimates as text: a line for each stage of each cell, then what will not fit, then the time of all."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from harmonic.report.tables import to_markdown

NONE = "–"
GB, MINUTE, HOUR = 1e9, 60, 3600


@dataclass(frozen=True)
class Duration:
    """Seconds, and where they come from: a figure without a source is none."""

    low: float | None
    high: float | None
    source: str


@dataclass(frozen=True)
class Stage:
    """A stage of a cell."""

    name: str
    """fit, sample or score."""
    key: str
    """Equal keys, equal work: what two cells share is done once."""
    work: str
    """What there is to do."""
    duration: Duration
    memory: int | None = None
    """Most that a language model holds at once, in bytes, the process itself (Python, torch) left out; None where it is not
    known or there is none."""


@dataclass(frozen=True)
class Estimate:
    """What one cell will take."""

    cell: str
    """Data set, method, model and seed."""
    device: str
    available: int | None
    """Bytes of the device's memory that are free now; None where none can tell."""
    stages: tuple[Stage, ...]
    remarks: tuple[str, ...]
    """What will not fit or cannot be known, a sentence each, with what to do."""


def show(estimates: Sequence[Estimate]) -> str:
    """A table with a line for each cell and stage, what will not fit, and the time of all; what cells share counts once."""
    lines, seen, total = [], set(), []
    for estimate in estimates:
        for stage in estimate.stages:
            is_new = (stage.name, stage.key) not in seen
            seen.add((stage.name, stage.key))
            total += [stage] * is_new
            lines.append(_line(estimate.cell, stage, is_new))
    remarks = dict.fromkeys(f"{estimate.cell}: {remark}" for estimate in estimates for remark in estimate.remarks)
    free = {estimate.device: estimate.available for estimate in estimates if estimate.available is not None}
    sentences = [
        f"{gigabytes(available)} of memory are free on {device}; what a model needs comes on top of the process itself."
        for device, available in free.items()
    ]
    return "\n".join([to_markdown(pd.DataFrame(lines)), "", *remarks, *sentences, _sum(total)])


def _line(cell: str, stage: Stage, is_new: bool) -> dict[str, str]:
    duration = stage.duration
    return {
        "cell": cell,
        "stage": stage.name,
        "work": stage.work,
        "memory": NONE if stage.memory is None else gigabytes(stage.memory),
        "time": _time(duration) if is_new else NONE,
        "source": duration.source if is_new else "shared with a cell above",
    }


def _sum(stages: Sequence[Stage]) -> str:
    known = [stage.duration for stage in stages if stage.duration.low is not None]
    low, high = (sum(getattr(duration, end) for duration in known) for end in ("low", "high"))
    unknown = sum(stage.duration.low is None or "unknown" in stage.duration.source for stage in stages)
    rest = f", and what is unknown ({unknown} of {len(stages)} stages)" if unknown else ""
    return f"In all, one cell after the other: {_time(Duration(low, high, ''))}{rest}."


def _time(duration: Duration) -> str:
    if duration.low is None or duration.high is None:
        return "unknown"
    if 0 < duration.high < 1:
        return "under 1 s"
    unit, size = next(((u, s) for u, s in (("h", HOUR), ("min", MINUTE)) if duration.high >= 2 * s), ("s", 1))
    low, high = (_short(seconds / size) for seconds in (duration.low, duration.high))
    return f"{low} {unit}" if low == high else f"{low}–{high} {unit}"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == 0 else f"{value:.1f}"


def gigabytes(count: int) -> str:
    """Bytes in billions, to three digits."""
    return f"{count / GB:.3g} GB"


def number(value: float) -> str:
    """Whole up to a hundred thousand, in millions beyond."""
    return f"{value:,.0f}".replace(",", " ") if value < 1e5 else f"{value / 1e6:.3g} M"
