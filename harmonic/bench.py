"""One cell of the benchmark: data, fit, sample, score, record; each stage cached, a failure a result."""

import json
import logging
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harmonic import env
from harmonic.build import build, build_object, target_of
from harmonic.costs import Cost, measured
from harmonic.datasets import hygiene
from harmonic.distributed import agreed, joined, leads, place
from harmonic.errors import BadInput, SamplingFailed, check_count, check_name
from harmonic.keys import early_key, fit_key, sample_key, score_key
from harmonic.record import FILE, Cell, Record, earlier_record
from harmonic.redaction import redacted
from harmonic.seed import derive_seed
from harmonic.store import Store, check_writable, copy_atomically
from harmonic.synthesizer import Synthesizer
from harmonic.table import Split, coerce, digest, load_table, save_table
from harmonic.table.infer import describe
from harmonic.table.schema import Schema

log = logging.getLogger(__name__)

PROMPTS = ("prompt_rows", "prompt_drawn")
"""Attributes that tell which train rows stood in each row's prompt, kept beside the rows for methods that have them
(`Synthesizer`)."""

GRACE_S = 10.0
"""For the first of several processes to write the record of a failure that they share, before the others end it."""

Note = Callable[[str], None]


@dataclass
class _Run:
    """A cell on its way."""

    config: Mapping[str, Any]
    announce: bool = False
    note: Note = lambda stage: None
    stage: str = "data"
    split: Split | None = None
    keys: dict[str, str] = field(default_factory=dict)
    costs: dict[str, Any] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    also: dict[str, str] = field(default_factory=dict)
    """Metrics that failed after the first one that did, and why."""

    @property
    def store(self) -> Store:
        return Store(Path(self.config["cache_dir"]))

    @property
    def results(self) -> Path:
        return Path(self.config["results_dir"])

    def seed(self, stage: str) -> int:
        return derive_seed(self.config["seed"], stage)

    def enter(self, stage: str) -> None:
        self.stage = stage
        self.note(stage)

    @contextmanager
    def making(self, stage: str, key: str) -> Iterator[bool]:
        """Claims a result; whether it is still to be made. Looks before it waits: what is there needs no claim.

        Processes that share a run make it together, under the claim of the first.
        """
        if agreed(self.store.has(stage, key)):
            yield False
            return
        with self.store.claimed(stage, key) if leads() else nullcontext():
            yield agreed(not self.store.has(stage, key))

    def put(self, stage: str, key: str, write: Callable[[Path], None]) -> None:
        """The first process writes the result; none goes on before it lies there."""
        if leads():
            self.store.put(stage, key, write)
        agreed(None)

    def log_file(self, stage: str, key: str) -> Path:
        """Where this process logs what a stage takes it."""
        path, rank = self.store.log_file(stage, key), place()[0]
        return path.with_suffix(f".{rank}{path.suffix}") if rank else path


def run_cell(
    config: Mapping[str, Any], announce: bool = True, *, note: Note = lambda stage: None, together: bool = False
) -> Record:
    """Take one cell through its stages and write its record.

    Cells may run at the same time on one cache: what they share is made once.

    Args:
        config: the resolved configuration as plain values: names (of method and model), dataset, method, metrics, seed,
            n_samples, threads, cache_dir, results_dir.
        announce: whether to log the data set's rows, schema and hygiene.
        note: is told each stage as it begins.
        together: whether all processes that torchrun started do this call, and share its work (`harmonic.distributed`).

    Returns:
        The record, also of a cell that failed. Of processes that share the work the first alone scores and writes.

    Raises:
        BadInput: the folders cannot be written, a name is no folder's, or the seed or the number of rows is none: of what
            is no cell there is no record.
    """
    env.commit()  # now: what is loaded, should the checkout move on while this runs
    env.set_threads(config["threads"])
    check_cell(config)
    check_name("dataset.name", _dataset_name(config))
    check_name("label", config["names"]["method"])
    check_name("model", config["names"]["model"])
    for option in ("cache_dir", "results_dir"):
        check_writable(option, Path(config[option]))
    run = _Run(config, announce, note)
    error = None
    try:
        with joined(_device(config)) if together else nullcontext():
            split = run.split = _load(run)
            synthesizer = _fit(run, split)
            synthetic = _sample(run, split, synthesizer)
        if leads():
            _score(run, split, synthetic, synthesizer)
    except Exception as failure:
        if not leads():
            time.sleep(GRACE_S)
            raise
        error = {
            "stage": run.stage,
            "type": type(failure).__name__,
            "message": " | ".join([str(failure) or repr(failure), *(": ".join(also) for also in run.also.items())]),
            **({"also": " ".join(run.also)} if run.also else {}),
        }
        if not isinstance(failure, (BadInput, SamplingFailed)):
            error["trace"] = traceback.format_exc()
    return _write(run, error) if leads() else _record(run, error)


def _dataset_name(config: Mapping[str, Any]) -> Any:
    """The data set's name, which a file has from its path if not given."""
    dataset = config["dataset"]
    path = dataset.get("path", "")
    if path is None:
        raise BadInput("dataset.path must be a file's path, but is null: give one.")
    return dataset.get("name") or Path(str(path)).stem


def _device(config: Mapping[str, Any]) -> Any:
    """Where the processes of a shared run compute."""
    if not getattr(target_of(config["method"]), "shares", False):
        raise BadInput(f"method={config['names']['method']} is the work of one process: leave torchrun.")
    return build(config["method"]["compute"]).device


def fail_cell(config: Mapping[str, Any], stage: str, type_: str, message: str) -> Record:
    """The record of a cell that could not write its own: its process is gone."""
    run = _Run(config, stage=stage or "data")
    return _write(run, {"stage": run.stage, "type": type_, "message": message})


def _write(run: _Run, error: dict[str, str] | None) -> Record:
    """The record, its rows first: where there is a record that says done, there are its rows.

    A cell that is done and now fails before its rows, as where a file is out of reach for a while, stays done.
    """
    record = _record(run, error)
    folder = record.cell.folder(run.results)
    try:
        with run.store.claimed("record", record.cell.key):
            if error is None:
                rows = run.store.folder("sample", run.keys["sample"]) / "table.csv"
                copy_atomically(rows, folder / "synthetic.csv")
            if error is None or run.keys.get("sample") or not _is_done(record, run.results):
                record.write(run.results)
        early = replace(record.cell, key=early_key(run.config))
        if early != record.cell:  # a failure before the rows is over
            shutil.rmtree(early.folder(run.results), ignore_errors=True)
    except OSError as failure:
        raise BadInput(
            f"{folder} must take the record, but {failure.strerror or failure}: free some space or mend its permissions, "
            f"and repeat the command, which goes on from the finished stages."
        ) from failure
    return record


def _is_done(record: Record, results: Path) -> bool:
    """Whether the same cell ended well before; a failure before its rows have a name says nothing against that."""
    of_seed = record.cell.folder(results).parent.glob(f"seed{record.cell.seed}-*/{FILE}")
    others = (earlier for path in of_seed if (earlier := earlier_record(path)))
    return any(other.status == "done" and other.config == record.config for other in others)


def check_cell(config: Mapping[str, Any]) -> None:
    """Raise BadInput for numbers of a cell that are none."""
    if config["n_samples"] is not None:
        check_count("n_samples", config["n_samples"], 1)
    check_count("seed", config["seed"], 0)


def _load(run: _Run) -> Split:
    run.enter("data")
    started = time.perf_counter()
    if not leads():
        agreed(None)  # the first process may have to download it
    split: Split = build_object(run.config["dataset"]).load(run.config["seed"])
    if leads():
        agreed(None)
    run.costs["time_data_s"] = time.perf_counter() - started
    run.digests = {"split": split.digest, "train": digest(split.train)}
    if run.announce:
        rows = f"{len(split.train)} train, {len(split.val)} val, {len(split.test)} test rows"
        log.info("%s: %s\n%s", split.name, rows, describe(split.schema))
        for finding in hygiene.summarise(split.hygiene):
            log.warning("  note: %s", finding)
    return split


def _fit(run: _Run, split: Split) -> Synthesizer:
    run.enter("fit")
    synthesizer: Synthesizer = build_object(run.config["method"])
    key = run.keys["fit"] = fit_key(run.config, synthesizer, split)
    with run.making("fit", key) as is_missing:
        if is_missing:
            learnt = getattr(split, getattr(synthesizer, "learns_from", "train"))
            with measured(run.log_file("fit", key)) as cost:
                synthesizer.fit(learnt, seed=run.seed("fit"), work_dir=run.store.work_dir("fit", key))
            run.put("fit", key, partial(_save_stage, "fit", cost, len(learnt), synthesizer, synthesizer.save))
    if not is_missing:
        synthesizer.load(run.store.folder("fit", key))
    _take_up(run, "fit")
    return synthesizer


def _sample(run: _Run, split: Split, synthesizer: Synthesizer) -> pd.DataFrame:
    run.enter("sample")
    held = getattr(synthesizer, "rows", None)
    n = run.config["n_samples"] or held or len(split.train)
    if held is not None:
        run.report["rows_held"] = held
    key = run.keys["sample"] = sample_key(run.config, synthesizer, run.keys["fit"], n)
    with run.making("sample", key) as is_missing:
        if is_missing:
            with measured(run.log_file("sample", key)) as cost:
                rows = synthesizer.sample(n, seed=run.seed("sample"), work_dir=run.store.work_dir("sample", key))
                if len(rows) != n:
                    method = run.config["names"]["method"]
                    raise SamplingFailed(f"{n} rows were asked for, but {method} gave {len(rows)}.")
                table = coerce(rows, split.schema, "the generated rows")
            save = partial(_save_rows, table, split.schema, synthesizer)
            run.put("sample", key, partial(_save_stage, "sample", cost, n, synthesizer, save))
    _take_up(run, "sample")
    synthetic = load_table(run.store.folder("sample", key))
    for name in PROMPTS:
        file = run.store.folder("sample", key) / f"{name}.npy"
        if file.exists():
            setattr(synthesizer, name, np.load(file))
    run.digests["synthetic"] = digest(synthetic)
    return synthetic


def _save_rows(table: pd.DataFrame, schema: Schema, synthesizer: Synthesizer, folder: Path) -> None:
    save_table(table, folder, schema)  # whatever the rows are like: a table of one class is still of this data set
    for name in PROMPTS:
        prompts = getattr(synthesizer, name, None)
        if prompts is not None:
            np.save(folder / f"{name}.npy", prompts)


def _score(run: _Run, split: Split, synthetic: pd.DataFrame, synthesizer: Synthesizer) -> None:
    """Every metric; one that fails takes nothing from the others, and then fails the cell."""
    failures: dict[str, Exception] = {}
    for name, config in run.config["metrics"].items():
        try:
            run.scores[name] = _score_one(run, name, config, split, synthetic, synthesizer)
        except Exception as failure:
            log.error("%s failed: %s", name, failure)
            failures[name] = failure
    if failures:
        first, *others = failures
        run.stage = f"score {first}"
        run.also = {name: str(failures[name]) for name in others}
        raise failures[first]


def _score_one(
    run: _Run, name: str, config: Any, split: Split, synthetic: pd.DataFrame, synthesizer: Synthesizer
) -> dict[str, Any]:
    run.note(f"score {name}")
    metric = build_object(config)
    key = score_key(run.config, config, metric, run.digests["split"], run.digests["synthetic"], run.keys["fit"])
    with run.making("score", key) as is_missing:
        if is_missing:
            log.info("scoring %s", name)
            with measured(run.store.log_file("score", key)) as cost:
                values = metric(split, synthetic.copy(), seed=run.seed("score"), synthesizer=synthesizer)
            score = {
                "values": {name: float(value) for name, value in values.items()},
                "config": redacted(config),
                "key": key,
                "time_s": cost.seconds,
                "peak_memory_mb": cost.peak_memory_mb,
                "device": cost.device,
                "commit": env.commit(),
            }
            run.store.put("score", key, partial(_write_json, score, "score.json"))
    return dict(json.loads((run.store.folder("score", key) / "score.json").read_text()))


def _save_stage(
    stage: str, cost: Cost, rows: int, synthesizer: Synthesizer, save: Callable[[Path], None], folder: Path
) -> None:
    """A stage's result, and beside it what it took and what the method tells of it."""
    save(folder)
    report = getattr(synthesizer, "report", {})
    costs = {**cost.named(stage), f"{stage}_rows_per_s": rows / cost.seconds, f"commit_{stage}": env.commit()}
    if f"tokens_{stage}" in report:
        costs[f"{stage}_tokens_per_s"] = report[f"tokens_{stage}"] / cost.seconds
    _write_json({"cost": costs, "report": report}, "stage.json", folder)


def _take_up(run: _Run, stage: str) -> None:
    """Costs and reports come from the stage's folder, also right after it ran: a second run writes the same record."""
    kept = json.loads((run.store.folder(stage, run.keys[stage]) / "stage.json").read_text())
    run.costs.update(kept["cost"])
    run.report.update(kept["report"])


def _write_json(plain: Any, name: str, folder: Path) -> None:
    (folder / name).write_text(json.dumps(plain))


def _record(run: _Run, error: dict[str, str] | None) -> Record:
    config = run.config
    split = run.split
    data = {"schema": split.schema.to_json(), "hygiene": hygiene.without_cells(split.hygiene)} if split else {}
    cell = Cell(
        dataset=run.split.name if run.split else _dataset_name(config),
        method=config["names"]["method"],
        model=config["names"]["model"] if "model" in config["method"] else "none",
        seed=config["seed"],
        key=run.keys.get("sample") or early_key(config),
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
    """The configuration without where things lie, credentials, and the metrics, which stand beside their scores."""
    dataset = {name: value for name, value in config["dataset"].items() if name != "data_dir"}
    kept = {name: config[name] for name in ("names", "method", "n_samples", "seed")}
    return dict(redacted({"dataset": dataset, **kept}))
