"""One cell of the benchmark: data, fit, sample, score, record; each stage cached, a failure a result."""

import json
import logging
import resource
import shutil
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harmonic import env, hygiene
from harmonic.errors import BadInput, SamplingFailed
from harmonic.infer import describe
from harmonic.method import Synthesizer
from harmonic.record import Cell, Record
from harmonic.seed import derive_seed
from harmonic.store import Store, stage_key
from harmonic.table import Split, coerce, digest, load_table, save_table

log = logging.getLogger(__name__)

VERSIONS = {"fit": 1, "sample": 1, "score": 1}
"""Raised when a stage's code changes what it computes, so that older results are not taken for new ones."""

PROMPT_ROWS = "prompt_rows.npy"
"""Which train rows stood in each row's prompt: beside the rows, for methods that tell (`Synthesizer`)."""

_announced: set[str] = set()
"""Digests of the splits that this process has described: references share one with their cell."""

Build = Callable[[Any], Any]
"""Configuration node to the object its `_target_` names."""


@dataclass
class _Run:
    """A cell on its way."""

    config: Mapping[str, Any]
    build: Build
    stage: str = "data"
    split: Split | None = None
    keys: dict[str, str] = field(default_factory=dict)
    costs: dict[str, Any] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return Store(Path(self.config["cache_dir"]))

    def seed(self, stage: str) -> int:
        return derive_seed(self.config["seed"], stage)


def run_cell(config: Mapping[str, Any], build: Build) -> Record:
    """Take one cell through its stages and write its record.

    Args:
        config: the resolved configuration as plain values: names (of method and model), dataset, method, metrics, seed,
            n_samples, cache_dir, results_dir.
        build: makes the object a node with `_target_` describes.

    Returns:
        The record, also of a cell that failed.
    """
    env.commit()  # now: what is loaded, should the checkout move on while this runs
    run = _Run(config, build)
    error = None
    try:
        _check(config)
        split = run.split = _load(run)
        synthesizer = _fit(run, split)
        synthetic = _sample(run, split, synthesizer)
        _score(run, split, synthetic, synthesizer)
    except Exception as failure:
        error = {"stage": run.stage, "type": type(failure).__name__, "message": str(failure)}
        if not isinstance(failure, (BadInput, SamplingFailed)):
            error["trace"] = traceback.format_exc()
    record = _record(run, error)
    path = record.write(Path(config["results_dir"]))
    if record.cell.key != _early_key(config):  # a failure before the rows is over
        shutil.rmtree(replace(record.cell, key=_early_key(config)).folder(Path(config["results_dir"])), ignore_errors=True)
    if error is None:
        shutil.copyfile(run.store.folder("sample", run.keys["sample"]) / "table.csv", path.parent / "synthetic.csv")
    return record


def _check(config: Mapping[str, Any]) -> None:
    n = config["n_samples"]
    if n is not None and (not isinstance(n, int) or n < 1):
        raise BadInput(f"n_samples must be a whole number of at least 1, or null for as many rows as train, but is {n}.")
    if not isinstance(config["seed"], int) or config["seed"] < 0:
        raise BadInput(f"seed must be a whole number of at least 0, but is {config['seed']}.")


def _load(run: _Run) -> Split:
    split = run.build(run.config["dataset"]).load(run.config["seed"])
    run.digests = {"split": split.digest, "train": digest(split.train)}
    if split.digest not in _announced:
        _announced.add(split.digest)
        rows = f"{len(split.train)} train, {len(split.val)} val, {len(split.test)} test rows"
        log.info("%s: %s\n%s", split.name, rows, describe(split.schema))
        for finding in hygiene.summarise(split.hygiene):
            log.warning("  note: %s", finding)
    return split


def _fit(run: _Run, split: Split) -> Synthesizer:
    run.stage = "fit"
    config = dict(run.config["method"])
    synthesizer: Synthesizer = run.build(config)
    source = getattr(synthesizer, "learns_from", "train")
    learnt = getattr(split, source)
    key = run.keys["fit"] = stage_key(
        "fit",
        VERSIONS["fit"],
        method=_fit_meaning(config),
        inputs=synthesizer.digest_inputs() if hasattr(synthesizer, "digest_inputs") else {},
        train=run.digests["train"] if source == "train" else digest(learnt),
        schema=split.schema.to_json(),
        seed=run.seed("fit"),
        device=env.device_kind(),
        **({"recipe": asdict(synthesizer.recipe)} if hasattr(synthesizer, "recipe") else {}),
    )
    if run.store.has("fit", key):
        synthesizer.load(run.store.folder("fit", key))
    else:
        started = time.perf_counter()
        synthesizer.fit(learnt, seed=run.seed("fit"), work_dir=run.store.work_dir("fit", key))
        cost = {
            "time_fit_s": time.perf_counter() - started,
            "peak_memory_fit_mb": _peak_memory_mb(),
            "commit_fit": env.commit(),
        }
        report = getattr(synthesizer, "report", {})
        run.store.put("fit", key, lambda folder: _save_stage(folder, cost, report, synthesizer.save))
    _take_up(run, "fit")
    return synthesizer


def _fit_meaning(method: Mapping[str, Any]) -> dict[str, Any]:
    """What of a method's configuration can change what it learns: neither how it samples nor when it saves checkpoints.

    A budget that is not set is as if it were not there: methods came before their budgets.
    """
    unset = {name for name in ("budget", "max_minutes") if method.get(name) is None}
    meaning = {name: value for name, value in method.items() if name not in unset | {"sampling"}}
    if "compute" in meaning:
        meaning["compute"] = {k: v for k, v in meaning["compute"].items() if k != "checkpoint_minutes"}
    return meaning


def _sample(run: _Run, split: Split, synthesizer: Synthesizer) -> pd.DataFrame:
    run.stage = "sample"
    held = getattr(synthesizer, "rows", None)
    n = run.config["n_samples"] or held or len(split.train)
    if held is not None:
        run.report["rows_held"] = held
    sampling = json.dumps(run.config["method"].get("sampling"), sort_keys=True)
    key = run.keys["sample"] = stage_key(
        "sample", VERSIONS["sample"], fit=run.keys["fit"], sampling=sampling, n=n, seed=run.seed("sample")
    )
    if not run.store.has("sample", key):
        started = time.perf_counter()
        rows = synthesizer.sample(n, seed=run.seed("sample"), work_dir=run.store.work_dir("sample", key))
        seconds = time.perf_counter() - started
        if len(rows) != n:
            raise SamplingFailed(f"{n} rows were asked for, but {run.config['names']['method']} gave {len(rows)}.")
        table = coerce(rows, split.schema, "the generated rows")
        cost = {
            "time_sample_s": seconds,
            "sample_rows_per_s": n / seconds,
            "peak_memory_sample_mb": _peak_memory_mb(),
            "commit_sample": env.commit(),
        }
        report = getattr(synthesizer, "report", {})
        run.store.put("sample", key, lambda to: _save_stage(to, cost, report, partial(_save_rows, table, synthesizer)))
    _take_up(run, "sample")
    synthetic = load_table(run.store.folder("sample", key))
    prompt_rows = run.store.folder("sample", key) / PROMPT_ROWS
    if prompt_rows.exists():
        synthesizer.prompt_rows = np.load(prompt_rows)  # type: ignore[attr-defined]  # no part of every method
    run.digests["synthetic"] = digest(synthetic)
    return synthetic


def _save_rows(table: pd.DataFrame, synthesizer: Synthesizer, folder: Path) -> None:
    save_table(table, folder)
    prompt_rows = getattr(synthesizer, "prompt_rows", None)
    if prompt_rows is not None:
        np.save(folder / PROMPT_ROWS, prompt_rows)


def _score(run: _Run, split: Split, synthetic: pd.DataFrame, synthesizer: Synthesizer) -> None:
    """Every metric; one that fails takes nothing from the others, and then fails the cell."""
    failures: dict[str, Exception] = {}
    for name, config in run.config["metrics"].items():
        try:
            run.scores[name] = _score_one(run, name, config, split, synthetic, synthesizer)
        except Exception as failure:
            log.error("%s failed: %s", name, failure)
            failures[name] = failure
    run.costs["time_score_s"] = sum(score["time_s"] for score in run.scores.values())
    if failures:
        first = next(iter(failures))
        run.stage = f"score {first}"
        raise failures[first]


def _score_one(
    run: _Run, name: str, config: Any, split: Split, synthetic: pd.DataFrame, synthesizer: Synthesizer
) -> dict[str, Any]:
    metric = run.build(config)
    key = stage_key(
        "score",
        VERSIONS["score"],
        metric=config,
        split=run.digests["split"],
        synthetic=run.digests["synthetic"],
        fit=run.keys["fit"],
        seed=run.seed("score"),
        **({"inputs": metric.digest_inputs(), "device": env.device_kind()} if hasattr(metric, "digest_inputs") else {}),
    )
    if not run.store.has("score", key):
        log.info("scoring %s", name)
        started = time.perf_counter()
        values = metric(split, synthetic, seed=run.seed("score"), synthesizer=synthesizer)
        score = {
            "values": {name: float(value) for name, value in values.items()},
            "config": config,
            "key": key,
            "time_s": time.perf_counter() - started,
            "commit": env.commit(),
        }
        run.store.put("score", key, partial(_write_json, score, "score.json"))
    return dict(json.loads((run.store.folder("score", key) / "score.json").read_text()))


def _save_stage(folder: Path, cost: dict[str, Any], report: dict[str, Any], save: Callable[[Path], None]) -> None:
    save(folder)
    _write_json({"cost": cost, "report": report}, "stage.json", folder)


def _take_up(run: _Run, stage: str) -> None:
    """Costs and reports come from the stage's folder, also right after it ran: a second run writes the same record."""
    kept = json.loads((run.store.folder(stage, run.keys[stage]) / "stage.json").read_text())
    run.costs.update(kept["cost"])
    run.report.update(kept["report"])


def _write_json(plain: Any, name: str, folder: Path) -> None:
    (folder / name).write_text(json.dumps(plain))


def _peak_memory_mb() -> float:
    """Largest resident size of this process so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _early_key(config: Mapping[str, Any]) -> str:
    """The key of a cell that failed before it was known what its rows depend on."""
    identity = {name: config[name] for name in ("names", "dataset", "method", "n_samples", "seed")}
    return stage_key("cell", 1, **identity)


def _record(run: _Run, error: dict[str, str] | None) -> Record:
    config = run.config
    data = {"schema": run.split.schema.to_json(), "hygiene": run.split.hygiene} if run.split else {}
    cell = Cell(
        dataset=run.split.name if run.split else config["dataset"]["name"] or Path(config["dataset"]["path"]).stem,
        method=config["names"]["method"],
        model=config["names"]["model"] if "model" in config["method"] else "none",
        seed=config["seed"],
        key=run.keys.get("sample") or _early_key(config),
    )
    return Record(
        cell=cell,
        status="failed" if error else "done",
        error=error,
        scores=run.scores,
        fit=run.report,
        costs=run.costs,
        digests=run.digests,
        data=data,
        config=_recorded_config(config),
        env=env.describe(),
    )


def _recorded_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without where things lie, and without the metrics, which stand beside their scores."""
    dataset = {name: value for name, value in config["dataset"].items() if name != "data_dir"}
    kept = {name: config[name] for name in ("names", "method", "n_samples", "seed")}
    return {"dataset": dataset, **kept}
