"""What a cell will take before it is started: tokens, memory and time of each stage, and what will not fit."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from harmonic import env
from harmonic.bench import check_cell
from harmonic.build import build
from harmonic.datasets import Folder
from harmonic.errors import BadInput
from harmonic.estimate.precedents import (
    Job,
    fit_precedents,
    forecast,
    records_under,
    sample_precedents,
    score_precedents,
)
from harmonic.estimate.workload import PROBE_BYTES, Workload, workload
from harmonic.keys import fit_key, sample_key, score_key
from harmonic.lm.footprint import available_bytes
from harmonic.method import Harmonic
from harmonic.record import Record
from harmonic.redaction import redact
from harmonic.report.estimates import Duration, Estimate, Stage, gigabytes, number
from harmonic.seed import derive_seed
from harmonic.store import Store
from harmonic.table import Split, digest, load_table

CACHED = Duration(0.0, 0.0, "cached")
NO_RECORD = Duration(None, None, "unknown: no record to go by")


def estimate_cell(config: Mapping[str, Any]) -> Estimate:
    """What a cell will take, said without training, writing or downloading anything.

    Times are, in this order: 0 of what is cached; of records of the same method and settings on this device; of a few steps
    tried here (language models of local files); of records of another device, marked so; unknown.

    Args:
        config: as for `harmonic.bench.run_cell`.

    Raises:
        BadInput: as in a run, where data, method or model cannot be had; and where a run would download the data first.
    """
    check_cell(config)
    split = _load(config)
    plan = _Plan.of(config, split)
    stages = (plan.fit(), plan.sample(), plan.score())
    model = f" {config['names']['model']}" if "model" in config["method"] else ""
    cell = f"{split.name} {config['names']['method']}{model} seed {config['seed']}"
    return Estimate(cell, plan.device, plan.available, stages, tuple(plan.remarks(stages[0], stages[1])))


def _load(config: Mapping[str, Any]) -> Split:
    dataset = build(config["dataset"])
    if isinstance(dataset, Folder) and dataset.download is not None:
        if not dataset.path.exists():
            raise BadInput(
                f"dry_run=true downloads nothing, but {dataset.name} is not in {dataset.data_dir} yet: fetch it with "
                f"python scripts/download_data.py {dataset.name}, or run without dry_run, which does so first."
            )
        dataset = replace(dataset, download=None)
    split: Split = dataset.load(config["seed"])
    return split


@dataclass(frozen=True)
class _Plan:
    """A cell with all that its stages are estimated from."""

    config: Mapping[str, Any]
    split: Split
    learnt: pd.DataFrame
    n: int | None
    """Rows to be written; None where only the fitted method knows."""
    keys: dict[str, str]
    cached: dict[str, bool]
    records: list[Record]
    device: str
    available: int | None
    load: Workload | None
    """Of a HARMONIC that is to be fitted or sampled."""
    probed: dict[str, Duration]

    @classmethod
    def of(cls, config: Mapping[str, Any], split: Split) -> "_Plan":
        store, synthesizer = Store(Path(config["cache_dir"])), build(config["method"])
        learnt = getattr(split, getattr(synthesizer, "learns_from", "train"))
        keys = {"fit": fit_key(config, synthesizer, split)}
        cached = {"fit": store.has("fit", keys["fit"])}
        n = config["n_samples"] or len(learnt)
        if hasattr(type(synthesizer), "rows") and config["n_samples"] is None:
            n = synthesizer.load(store.folder("fit", keys["fit"])).rows if cached["fit"] else None
        keys["sample"] = sample_key(config, synthesizer, keys["fit"], n) if n is not None else keys["fit"]
        cached["sample"] = n is not None and store.has("sample", keys["sample"])
        seeds = {f"{stage}_seed": derive_seed(config["seed"], stage) for stage in ("fit", "sample")}
        load, available = None, None
        if isinstance(synthesizer, Harmonic) and not all(cached.values()):
            load = workload(synthesizer, learnt, n or len(learnt), **seeds)
            available = available_bytes(synthesizer.compute.device)
        records = records_under(Path(config["results_dir"]))
        plan = cls(config, split, learnt, n, keys, cached, records, env.device(), available, load, {})
        plan._probe()
        return plan

    def _job(self, stage: str) -> Job:
        name, columns = self.split.name, len(self.split.schema.columns)
        if stage == "fit":
            batches, tokens = (len(self.load.lengths), self.load.fit_tokens) if self.load else (None, None)
            return Job(name, columns, len(self.learnt), self.device, batches, tokens)
        return Job(name, columns, self.n, self.device, None, self.load.sample_tokens if self.load else None)

    def _precedents(self, stage: str) -> list[Job]:
        return (fit_precedents if stage == "fit" else sample_precedents)(self.records, self.config["method"])

    def _here(self, stage: str) -> Duration | None:
        return forecast(self._job(stage), [job for job in self._precedents(stage) if job.device == self.device])

    def _elsewhere(self, stage: str) -> Duration | None:
        return _marked(self._job(stage), self._precedents(stage))

    def _probe(self) -> None:
        """Time what no record of this device tells, where the model is here and fits."""
        load = self.load
        if load is None or load.shape is None or load.blueprint.backbone is None or load.harmonic.sampling.engine != "torch":
            return
        if load.shape.weight_bytes > PROBE_BYTES or load.longest > load.training.max_length:
            return
        fits = {stage: self.available is None or need <= self.available for stage, need in self._needs().items()}
        wanted = {stage: fits[stage] and not self.cached[stage] and self._here(stage) is None for stage in fits}
        if any(wanted.values()):
            seconds = load.probe(fit=wanted["fit"], sample=wanted["sample"])
            for stage, measured in zip(("fit", "sample"), seconds, strict=True):
                if measured is not None:
                    self.probed[stage] = Duration(measured, measured, "measured by a probe")

    def _needs(self) -> dict[str, int]:
        assert self.load is not None and self.load.fit_bytes is not None and self.load.sample_bytes is not None
        return {"fit": self.load.fit_bytes, "sample": self.load.sample_bytes}

    def _duration(self, stage: str) -> Duration:
        if self.cached[stage]:
            return CACHED
        found = self._here(stage) or self.probed.get(stage) or self._elsewhere(stage) or NO_RECORD
        minutes = self.config["method"].get("max_minutes")
        if stage == "fit" and minutes is not None and found.low is not None and found.high is not None:
            most = 60.0 * minutes
            if found.high > most:
                return Duration(min(found.low, most), most, f"{found.source}, ended by max_minutes")
        return found

    def fit(self) -> Stage:
        """Rows for most; instructions, steps and tokens for language models."""
        work = f"{number(len(self.learnt))} rows"
        if self.load is not None:
            load, about = self.load, "" if self.load.is_exact else "≈ "
            instructions = f"{number(len(load.harmonic.groups))} instructions × {load.epochs:.2g} epochs"
            work = f"{instructions}, {number(load.steps)} steps, {about}{number(load.fit_tokens)} tokens"
        memory = self.load.fit_bytes if self.load and not self.cached["fit"] else None
        return Stage("fit", self.keys["fit"], work, self._duration("fit"), memory)

    def sample(self) -> Stage:
        """Rows, and what a language model reads and writes for them."""
        work = "the rows it holds" if self.n is None else f"{number(self.n)} rows"
        if self.load is not None:
            work += f", ≈ {number(self.load.sample_tokens)} tokens"
        memory = self.load.sample_bytes if self.load and not self.cached["sample"] else None
        return Stage("sample", self.keys["sample"], work, self._duration("sample"), memory)

    def score(self) -> Stage:
        """All metrics together."""
        durations = dict(self._scores())
        missing = [name for name, duration in durations.items() if duration.low is None]
        known = [duration for duration in durations.values() if duration.low is not None]
        sources = list(dict.fromkeys(duration.source for duration in known))
        low, high = (sum(getattr(duration, end) for duration in known) for end in ("low", "high"))
        source = "; ".join([*sources, *([f"unknown: {', '.join(missing)}"] if missing else [])])
        duration = Duration(low, high, source) if known or not durations else Duration(None, None, NO_RECORD.source)
        key = f"{self.keys['sample']} {sorted(durations)}"
        return Stage("score", key, f"{len(durations)} metric{'s' * (len(durations) != 1)}", duration)

    def _scores(self) -> Iterator[tuple[str, Duration]]:
        store = Store(Path(self.config["cache_dir"]))
        synthetic = digest(load_table(store.folder("sample", self.keys["sample"]))) if self.cached["sample"] else None
        names, has_model = self.config["names"], "model" in self.config["method"]
        ours = (names["method"], names["model"] if has_model else "none")
        own = [record for record in self.records if (record.cell.method, record.cell.model) == ours]
        for name, metric in self.config["metrics"].items():
            if synthetic is not None:
                key = score_key(self.config, metric, build(metric), self.split.digest, synthetic, self.keys["fit"])
                if store.has("score", key):
                    yield name, CACHED
                    continue
            yield name, self._score(name, metric, own) or self._score_of_others(name, metric) or NO_RECORD

    def _score(self, name: str, metric: Any, records: list[Record]) -> Duration | None:
        job, found = replace(self._job("sample"), tokens=None), score_precedents(records, name, metric)
        return forecast(job, [p for p in found if p.device == self.device]) or _marked(job, found)

    def _score_of_others(self, name: str, metric: Any) -> Duration | None:
        """Marked, since some metrics ask more of a language model than of rows alone."""
        found = self._score(name, metric, self.records)
        return None if found is None else replace(found, source=f"{found.source}, other methods")

    def remarks(self, fit: Stage, sample: Stage) -> Iterator[str]:
        """What will not fit, and what cannot be known."""
        load = self.load
        if load is None:
            return
        path = redact(self.config["method"]["model"].get("path", "scratch"))
        if load.shape is None:
            yield (
                f"model.path={path} is not on this machine, or is code of its own: tokens are estimated from characters "
                f"(≈), and memory is unknown until its config.json is here, since an estimate downloads and runs nothing."
            )
        elif not load.is_exact:
            yield f"model.path={path} has no tokenizer on this machine: tokens are estimated from characters (≈)."
        if load.is_exact and load.longest > load.training.max_length:
            yield (
                f"an instruction of {load.longest} tokens exceeds model.training.max_length={load.training.max_length}: "
                f"raise it (where the model's context allows), lower method.k, or drop columns with dataset.drop."
            )
        for stage, cure in ((fit, self._fit_cure(load)), (sample, "lower method.sampling.decoding.batch_size")):
            if stage.memory is not None and self.available is not None and stage.memory > self.available:
                need, free = gigabytes(stage.memory), gigabytes(self.available)
                yield (
                    f"{stage.name} will not fit: it needs about {need}, but {free} are free on {self.device}: {cure}, or "
                    f"take a smaller model."
                )

    def _fit_cure(self, load: Workload) -> str:
        cures = [f"lower model.training.batch_size (now {load.training.batch_size})"] * (load.training.batch_size > 1)
        cures += ["set model.training.gradient_checkpointing=true"] * (not load.training.gradient_checkpointing)
        if self.config["method"]["model"].get("lora", True) is None:
            cures.append("train adapters alone (model.lora)")
        if load.harmonic.compute.device.type == "cpu":
            cures.append("run it on a GPU (trainer=gpu)")
        return ", ".join(cures) or "take a larger device"


def _marked(job: Job, precedents: Sequence[Job]) -> Duration | None:
    """By records of another device, the first that can tell, with its name."""
    for device in sorted({precedent.device for precedent in precedents} - {job.device}):
        found = forecast(job, [precedent for precedent in precedents if precedent.device == device])
        if found is not None:
            return replace(found, source=f"{found.source}, measured on {device}")
    return None
