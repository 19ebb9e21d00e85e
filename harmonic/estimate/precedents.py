"""How long a stage took before: records of the same settings, on this table or scaled from others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harmonic.meaning import compute_meaning, metric_meaning, model_meaning
from harmonic.record import FILE, Record, read
from harmonic.report.estimates import Duration

RUN_LENGTH = ("epochs", "min_steps", "max_steps", "learning_rate", "warmup", "weight_decay", "clip", "max_length")
"""Of a language model's recipe, what does not change how long a step takes."""


@dataclass(frozen=True)
class Job:
    """A stage that is to be timed, or one that was."""

    dataset: str
    columns: int
    rows: int | None
    """That are learnt from, written, or scored."""
    device: str
    batches: int | None = None
    """Of a language model's training."""
    tokens: float | None = None
    """That a language model has before it."""
    seconds: float | None = None
    """Measured."""
    tokens_per_s: float | None = None
    """Measured."""

    @property
    def cells(self) -> int | None:
        """Rows times columns."""
        return None if self.rows is None else self.rows * self.columns

    @property
    def units(self) -> int | None:
        """What the stage's time grows with on one table: batches where they are known, else rows."""
        return self.batches if self.batches is not None else self.rows


def forecast(job: Job, precedents: Sequence[Job]) -> Duration | None:
    """How long a stage will take by what others took, the nearest first; None where none can tell.

    The same table and as many batches (rows, where none are known): as measured. Else, where the work of a language model
    is known: the same table, by batches in training and by tokens in writing, which is more than the rows that are asked
    for; other tables, by tokens. Of others: the table of the most similar size, as it was and by cells, since a method whose
    budget is steps does not grow with the rows.
    """
    there = [precedent for precedent in precedents if precedent.dataset == job.dataset]
    same = [p.seconds for p in there if p.units == job.units and p.seconds is not None]
    if same and job.units is not None:
        return Duration(min(same), max(same), f"record of {job.dataset}")
    if job.tokens is not None:
        return _by_batches(job, there) or _by_tokens(job, there) or _by_tokens(job, precedents)
    return _by_cells(job, precedents)


def _by_batches(job: Job, there: Sequence[Job]) -> Duration | None:
    scaled = [p.seconds * job.batches / p.batches for p in there if p.seconds is not None and p.batches and job.batches]
    return Duration(min(scaled), max(scaled), f"record of {job.dataset}, by batches") if scaled else None


def _by_tokens(job: Job, precedents: Sequence[Job]) -> Duration | None:
    known = [p for p in precedents if p.tokens_per_s]
    if not known or job.tokens is None:
        return None
    scaled = [job.tokens / p.tokens_per_s for p in known if p.tokens_per_s]
    return Duration(min(scaled), max(scaled), f"record of {_names(known)}, by tokens")


def _by_cells(job: Job, precedents: Sequence[Job]) -> Duration | None:
    ratios = [(job.cells / p.cells, p) for p in precedents if p.cells and job.cells and p.seconds is not None]
    if not ratios:
        return None
    ratio, nearest = min(ratios, key=lambda pair: max(pair[0], 1 / pair[0]))
    assert nearest.seconds is not None
    low, high = sorted((nearest.seconds, nearest.seconds * ratio))
    return Duration(low, high, f"record of {nearest.dataset}, as is and by cells")


def _names(jobs: Sequence[Job]) -> str:
    return ", ".join(sorted({job.dataset for job in jobs}))


def fit_precedents(records: Sequence[Record], method: Mapping[str, Any]) -> list[Job]:
    """Fits of this method, whatever their table and seed, and of a language model however many batches it had."""
    return [
        _job(
            record,
            "fit",
            record.data["hygiene"]["rows"]["train"],
            batches=record.fit.get("batches_done") if _class(method) == "Harmonic" else None,
        )
        for record in records
        if "time_fit_s" in record.costs and _fit_settings(record.config["method"]) == _fit_settings(method)
    ]


def sample_precedents(records: Sequence[Record], method: Mapping[str, Any]) -> list[Job]:
    """Samples of this method, whatever it was fitted on and however long."""
    return [
        _job(record, "sample", _written_rows(record))
        for record in records
        if "time_sample_s" in record.costs and _sample_settings(record.config["method"]) == _sample_settings(method)
    ]


def score_precedents(records: Sequence[Record], name: str, metric: Any) -> list[Job]:
    """Scores of this metric, whatever the rows were that it scored."""
    found = []
    for record in records:
        score = record.scores.get(name)
        if score is not None and metric_meaning(score["config"]) == metric_meaning(metric):
            device = score.get("device") or record.env["device"]
            rows = _written_rows(record)
            found.append(Job(record.cell.dataset, _columns(record), rows, device, seconds=score["time_s"]))
    return found


def _job(record: Record, stage: str, rows: int | None, batches: int | None = None) -> Job:
    costs = record.costs
    return Job(
        dataset=record.cell.dataset,
        columns=_columns(record),
        rows=rows,
        device=costs.get(f"device_{stage}") or record.env["device"],
        batches=batches,
        seconds=costs[f"time_{stage}_s"],
        tokens_per_s=costs.get(f"{stage}_tokens_per_s"),
    )


def _columns(record: Record) -> int:
    return len(record.data["schema"]["columns"])


def _written_rows(record: Record) -> int:
    return round(record.costs["sample_rows_per_s"] * record.costs["time_sample_s"])


def _fit_settings(method: Mapping[str, Any]) -> dict[str, Any]:
    """What of a method's configuration says how long it learns: all but how it samples and, of a HARMONIC, whose batches
    are counted, for how long."""
    settings = {name: value for name, value in method.items() if value is not None and name != "sampling"}
    if _class(settings) != "Harmonic":
        return _plain(settings)
    kept = {name: value for name, value in settings.items() if name not in ("budget", "max_minutes", "max_instructions")}
    model = dict(kept["model"])
    model["training"] = {name: value for name, value in model.get("training", {}).items() if name not in RUN_LENGTH}
    return _plain({**kept, "model": model})


def _sample_settings(method: Mapping[str, Any]) -> dict[str, Any]:
    """What of a method's configuration says how fast it writes: all but how its language model is trained."""
    settings = {name: value for name, value in method.items() if value is not None}
    if "model" not in settings:
        return _plain(settings)
    kept = {name: value for name, value in settings.items() if name not in ("budget", "max_minutes", "max_instructions")}
    return _plain({**kept, "model": {name: value for name, value in kept["model"].items() if name != "training"}})


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Less what costs no time: when checkpoints are saved, and where in the package a class lies."""
    plain = {**settings, "_target_": _class(settings), "compute": compute_meaning(settings.get("compute", {}))}
    return {**plain, "model": model_meaning(plain["model"])} if "model" in plain else plain


def _class(settings: Mapping[str, Any]) -> str:
    return str(settings["_target_"]).rpartition(".")[2]


def records_under(root: Path) -> list[Record]:
    """The records of a results folder whose cells are done; a file is read again only where it has changed."""
    paths = sorted(root.rglob(FILE))
    records = [_read(path, path.stat().st_mtime_ns) for path in paths]
    return [record for record in records if record.status == "done"]


@cache
def _read(path: Path, changed: int) -> Record:
    return read(path)
