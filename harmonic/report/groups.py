"""Records put together into the rows of a table: one method, one model, one configuration, over seeds."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harmonic.meaning import fit_meaning
from harmonic.record import Record

AS_TRAIN = "as train"
REFERENCES = ("copy", "independent", "holdout")
"""What every table begins with, in this order."""
MODULES = ("baselines.copy.", "baselines.independent.", "baselines.holdout.", "baselines.controls.")
"""Where the methods live that nobody competes with: floor, ceiling, and tables with known faults."""
WORK = (("batches_done", "steps"), ("steps_done", "steps"), ("batches", "steps"), ("epochs_done", "epochs"))
"""How methods tell how long they trained, the finest first; `recipe` has what others were asked for."""


@dataclass(frozen=True)
class Group:
    """The records that make one row."""

    method: str
    """With a hash behind it where two configurations of a data set have the name."""
    model: str
    """Empty for a method without a language model."""
    rows: str
    """How many rows were asked for; `AS_TRAIN` by default."""
    records: tuple[Record, ...]

    @property
    def seeds(self) -> str:
        """How many, and how many of them failed."""
        failed = sum(record.status == "failed" for record in self.records)
        seeds = list(dict.fromkeys(record.cell.seed for record in self.records if self._counts[_trial(record)] > 1))
        notes = [f"{failed} failed"] * bool(failed) + [f"seed {seed} twice" for seed in seeds]
        return f"{len(self.records)} ({', '.join(notes)})" if notes else str(len(self.records))

    @property
    def _counts(self) -> Counter[tuple[int, Any]]:
        return Counter(map(_trial, self.records))

    @property
    def is_reference(self) -> bool:
        """Whether others are read against it rather than compared with it."""
        first = self.records[0]
        target = str(first.config.get("method", {}).get("_target_", ""))
        return target.startswith(MODULES) or first.cell.method in REFERENCES

    @property
    def has_rows(self) -> bool:
        """Whether every seed came as far as a synthetic table."""
        return all(map(wrote_rows, self.records))

    def costs(self, key: str) -> list[float | None]:
        """What a stage cost each seed; none of them where some ran on a GPU and others did not: their mean is of neither."""
        has_gpu = {any("gpu" in name for name in record.costs) for record in self.records}
        return [record.costs.get(key) if len(has_gpu) == 1 else None for record in self.records]

    def values(self, key: str) -> list[float | None]:
        """A score of each record; none where a seed has two, as after a new version: which of them counts is not known."""
        counts = self._counts
        return [record.values.get(key) if counts[_trial(record)] == 1 else None for record in self.records]

    def by_seed(self, key: str) -> dict[int, float]:
        """A score by seed, where it is a number; a seed that has two records has none."""
        pairs = zip((record.cell.seed for record in self.records), self.values(key), strict=True)
        return {seed: value for seed, value in pairs if value is not None and math.isfinite(value)}

    def failed_in(self, key: str, metric: str) -> bool:
        """Whether a seed has no such score because it failed in the metric, or before: what it would have is no hole."""
        return any(record.failed_in(metric) and key not in record.values for record in self.records)

    def budget(self) -> str:
        """What the records say of how long the method trained: the budget's name, steps or epochs done, the limit set."""
        names = [_budget_name(record) for record in self.records]
        limits = [record.config.get("method", {}).get("max_minutes") for record in self.records]
        limited = [f"at most {limit:g} min" for limit in limits if limit is not None]
        return ", ".join(dict.fromkeys(part for part in (*names, _work(self.records), *limited) if part))


def by_dataset(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records by the name of their data set, in order of name; a fold of one is another, since it has other test rows.

    Files of one name, or one file read in two ways, have a hash of path and reading behind it; a data set of which one seed
    was scored on two splits, as after a file was replaced, one of the split.
    """
    found: dict[str, list[Record]] = {}
    for name, some in _by_name(records).items():
        splits = {(record.cell.seed, record.digests["split"]) for record in some if "split" in record.digests}
        is_shared = len(splits) > len({seed for seed, _ in splits})
        for record in some:
            split = record.digests.get("split", "")
            found.setdefault(_suffixed(name, split, is_shared and bool(split)), []).append(record)
    return dict(sorted(found.items()))


def _by_name(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records by data set, fold and file, whatever the split."""
    found: dict[str, list[Record]] = {}
    files = {(record.cell.dataset, _file(record)) for record in records}
    counts = Counter(name for name, _ in files)
    for record in records:
        fold = record.config.get("dataset", {}).get("fold")
        name = _suffixed(record.cell.dataset, _file(record), counts[record.cell.dataset] > 1)
        found.setdefault(name if fold is None else f"{name}, fold {fold}", []).append(record)
    return found


def group(records: Sequence[Record]) -> list[Group]:
    """The rows of one data set's records, as they first appear."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(_meaning(record), []).append(record)
    names = [(some[0].cell.method, _model(some[0]), rows_of(some[0])) for some in found.values()]
    counts = Counter(names)
    return [
        Group(_suffixed(method, meaning, counts[method, model, rows] > 1), model, rows, tuple(some))
        for (method, model, rows), (meaning, some) in zip(names, found.items(), strict=True)
    ]


def usual_rows(groups: Sequence[Group]) -> str:
    """As many rows as most methods have that compete, `AS_TRAIN` if that is as usual; empty where none competes."""
    counts = Counter(row.rows for row in groups if not row.is_reference)
    return min(counts, key=lambda rows: (-counts[rows], rows != AS_TRAIN, rows), default="")


def metrics_of(records: Sequence[Record]) -> dict[str, str]:
    """Which metric each score is of, where any record has it."""
    return {key: name for record in records for name, score in record.scores.items() for key in score["values"]}


def titles(groups: Sequence[Group]) -> list[str]:
    """A short name for each row, all different: method, model, and rows where it takes them or they are not the usual."""
    short = [f"{row.method} ({row.model})" if row.model else row.method for row in groups]
    counts, usual = Counter(short), usual_rows(groups)
    return [
        name
        if counts[name] == 1 and (row.is_reference or row.rows == usual)
        else f"{name}, {row.rows if row.rows == AS_TRAIN else f'{row.rows} rows'}"
        for name, row in zip(short, groups, strict=True)
    ]


def _budget_name(record: Record) -> str:
    """The budget's name where it says all; a language model's recipe, or epochs that were given, speak for themselves."""
    method = record.config.get("method", {})
    is_plain = "budget" in method and "model" not in method and not (method.get("epochs") or method.get("steps"))
    return str(method.get("budget") or ("default" if is_plain else ""))


def _work(records: Sequence[Record]) -> str:
    """Steps or epochs done, least to most."""
    for key, unit in WORK:
        counts = [record.fit[key] for record in records if record.fit.get(key)]
        if counts:
            return f"{_span(counts)} {unit}"
    asked = [record.fit["recipe"]["epochs"] for record in records if record.fit.get("recipe", {}).get("epochs")]
    return f"up to {_span(asked)} epochs" if asked else ""


def _span(counts: Sequence[float]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:g}" if low == high else f"{low:g}–{high:g}"


def _suffixed(name: str, meaning: str, is_shared: bool) -> str:
    """A name, with a hash of what it stands for where that is not all there is of the name."""
    return f"{name} [{hashlib.sha256(meaning.encode()).hexdigest()[:6]}]" if is_shared else name


def _file(record: Record) -> str:
    """What tells two data sets of a name apart that are files of the user's own; empty for others."""
    dataset = record.config.get("dataset", {})
    read = {option: dataset.get(option) for option in ("path", "target", "task", "columns", "drop", "test_path")}
    return json.dumps(_less_names(read), sort_keys=True) if "path" in dataset else ""


def _trial(record: Record) -> tuple[int, Any]:
    """What a row has one record of: a seed, on each fold that it stands for."""
    return record.cell.seed, record.config.get("dataset", {}).get("fold")


def _model(record: Record) -> str:
    return "" if record.cell.model == "none" else record.cell.model


def wrote_rows(record: Record) -> bool:
    """Whether it came as far as a synthetic table."""
    return not record.error or record.error["stage"].startswith("score ")


def rows_of(record: Record) -> str:
    """How many rows were asked for, or `AS_TRAIN`."""
    return str(record.config.get("n_samples") or record.fit.get("rows_held") or AS_TRAIN)


def _meaning(record: Record) -> str:
    """What tells two methods apart: name, model and configuration; not the seed, nor a model it has no use for."""
    config = {name: value for name, value in record.config.items() if name not in ("seed", "names")}
    method = config.get("method", {})
    config["method"] = fit_meaning(method) | {name: method[name] for name in ("sampling",) if name in method}
    return json.dumps([record.cell.method, record.cell.model, _less_names(config)], sort_keys=True)


def _less_names(config: Any) -> Any:
    """The configuration with classes by name alone, wherever they lie, and without what is not set.

    Options come later than records: what is none or empty today was not there before.
    """
    if isinstance(config, list):
        return [_less_names(part) for part in config]
    if not isinstance(config, dict):
        return config
    kept = {name: value for name, value in config.items() if value is not None and value not in ([], {})}
    return {name: value.rpartition(".")[2] if name == "_target_" else _less_names(value) for name, value in kept.items()}
