"""The benchmark's entry point: `python run.py dataset=adult method=harmonic`, `-m` for sweeps, `--help` for the choices."""

import inspect
import json
import logging
import os
import platform
import shutil
import sys
import time
from concurrent.futures import BrokenExecutor
from pathlib import Path
from types import NoneType
from typing import Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harmonic import env
from harmonic.build import build, target_of
from harmonic.distributed import check_launch, launched, leads
from harmonic.errors import BadInput, check_bool
from harmonic.isolate import Killed, end_with_parent, in_child
from harmonic.record import dumps, loads
from harmonic.store import write_atomically

log = logging.getLogger("harmonic")

LEDGER = "HARMONIC_LEDGER"
"""Names the folder into which the cells of a sweep, in whatever process they ran, put a copy of their records."""

single: list[Any] = []
"""The records of a run that is no sweep."""
results: list[Path] = []
"""The folder they are in."""

OmegaConf.register_new_resolver("workers", env.workers, replace=True)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    """Run one cell, and the references it is read against."""
    end_with_parent()
    env.set_threads(config.threads)
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(plain, dict)
    _check_shapes(plain)
    job = HydraConfig.get()
    in_sweep = job.mode == RunMode.MULTIRUN
    if in_sweep and launched() > 1:
        raise BadInput(f"a sweep must be the work of one process, but torchrun started {launched()}: run single cells.")
    check_launch(plain["trainer"]["strategy"])
    run_cell = _run_isolated if plain["isolate"] or (in_sweep and plain["isolate"] is None) else _run
    if plain["dry_run"]:
        _estimate(_cells(plain, job.runtime.choices))
        return
    tracker = build(plain["logger"]) if plain["logger"] and leads() else None
    cells = _cells(plain, job.runtime.choices)
    if not leads():
        log.setLevel(logging.ERROR)
        cells = cells[:1]  # the references are the work of one process
    records: list[Any] = []
    for cell in cells:
        log.info("%s, seed %s", cell["names"]["method"], plain["seed"])
        record = run_cell(cell, not records)
        records.append(record)
        if record.error:
            log.error("%s failed in %s (%s)", record.cell.method, record.error["stage"], record.error["type"])
        if tracker:
            rows = None if record.error else record.cell.folder(Path(plain["results_dir"])) / "synthetic.csv"
            tracker.show(record, rows)
        if record.error and record.error["stage"] == "data":
            break
    if in_sweep:
        _tell(job.job.num, records)
    elif leads():
        single.extend(records)
        results.append(Path(plain["results_dir"]))


def _check_shapes(plain: dict[str, Any]) -> None:
    """Raise BadInput where the command line put something of another shape in an option's place."""
    for group in ("dataset", "method", "trainer"):
        if not isinstance(plain.get(group), dict):
            raise BadInput(
                f"{group} must be one of its choices, but is {plain.get(group)!r}: python run.py --help shows them."
            )
    for option in ("compute", "sampling", "model"):
        part = plain["method"].get(option, {})
        if not isinstance(part, (dict, str)):
            raise BadInput(f"method.{option} must be a group of options, but is {part!r}: leave it out, or set one in it.")
    if not isinstance(plain["references"], (dict, NoneType)):
        raise BadInput(f"references must be null, or methods by name, but is {plain['references']!r}: correct it.")
    for option in ("data_dir", "cache_dir", "results_dir"):
        if not plain[option] or not isinstance(plain[option], str):
            raise BadInput(f"{option} must be a folder, but is {plain[option]!r}: correct it.")
    check_bool("dry_run", plain["dry_run"])
    if plain["isolate"] is not None:
        check_bool("isolate", plain["isolate"])


def _cells(plain: dict[str, Any], choices: dict[str, str]) -> list[dict[str, Any]]:
    """The cell that was asked for, and those of its references."""
    shared = ("dataset", "metrics", "seed", "n_samples", "threads", "cache_dir", "results_dir")
    method, references = _with_a_budget_it_knows(plain["method"]), plain["references"] or {}
    if plain["label"] in references and method != references[plain["label"]]:
        raise BadInput(f"label must not be a reference's name, but is {plain['label']!r}: give another, or references=null.")
    methods = {plain["label"] or choices["method"]: method}
    methods |= {name: reference for name, reference in references.items() if name not in methods}
    plain = {"metrics": {}, **plain}  # metrics=[] leaves the group out
    return [
        {**{name: plain[name] for name in shared}, "names": {"method": name, "model": choices["model"]}, "method": method}
        for name, method in methods.items()
    ]


def _with_a_budget_it_knows(method: dict[str, Any]) -> dict[str, Any]:
    """Without `budget` where a method trains nothing, so that `+method.budget=smoke` can be said to a sweep over all."""
    if "budget" in inspect.signature(target_of(method)).parameters:
        return method
    return {name: value for name, value in method.items() if name != "budget"}


def _estimate(cells: list[dict[str, Any]]) -> None:
    """Print what cells would take, and start nothing."""
    from harmonic.estimate.cell import estimate_cell
    from harmonic.report.estimates import show

    print(show([estimate_cell(cell) for cell in cells]))


def _run(cell: dict[str, Any], announce: bool) -> Any:
    """The record of a cell; the first one, which is announced, is the work of all processes that torchrun started."""
    from harmonic.bench import run_cell

    return run_cell(cell, announce, together=announce and launched() > 1)


def _run_isolated(cell: dict[str, Any], announce: bool) -> Any:
    """The record of a cell that runs in a process of its own, also if that is killed."""
    try:
        return in_child("harmonic.bench.run_cell", cell, announce)
    except Killed as death:
        from harmonic.bench import fail_cell

        message = (
            f"The cell's process ended with {death.how}, as when memory runs out: see what it needs with dry_run=true, ask "
            f"for fewer rows or smaller batches, or run fewer cells at a time."
        )
        return fail_cell(cell, death.last_note, "Killed", message)


def _tell(job: int, records: list[Any]) -> None:
    """Put a job's records into the ledger, for the summary of the process that started it."""
    text = json.dumps([dumps(record) for record in records])
    write_atomically(Path(os.environ[LEDGER]) / f"{job}.json", text)


def _told(ledger: Path) -> list[Any]:
    """The records of all jobs, in their order."""
    jobs = sorted(ledger.glob("*.json"), key=lambda path: int(path.stem))
    return [loads(text) for path in jobs for text in json.loads(path.read_text())]


def _reason(error: Exception) -> str | None:
    """One sentence for an error that a user can cause or must know of; None for the project's own defects."""
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        message = " ".join(str(error).partition("Config search path")[0].split())
        return f"{message} (python run.py --help shows the choices)"
    if isinstance(error, BadInput):
        return str(error)
    if type(error) is ValueError and str(error).startswith("Config group override"):  # Hydra's, of metrics=null
        return f"{error} (python run.py --help shows the choices; [] is none)"
    if isinstance(error, yaml.YAMLError):
        return f"a configuration must be YAML, but it cannot be read: {' '.join(str(error).split())}."
    if isinstance(error, OSError) and error.filename:
        return (
            f"{error.filename} must be a place that can be read and written, but {error.strerror}: mend it or go elsewhere."
        )
    if isinstance(error, BrokenExecutor) or type(error).__module__.startswith("submitit."):
        return "a worker of the sweep was lost, killed or out of memory: the same command does what is missing."
    return None


def _where(record: Any, results: Path) -> str:
    """Where a cell's rows are, or the record that says why there are none, if one was written."""
    folder = record.cell.folder(results)
    if not record.error:
        return f"rows: {folder / 'synthetic.csv'}"
    path = folder / "record.json"
    return f"record: {path}" if path.exists() else "an earlier record of this cell stands"


def run() -> int:
    """`main` with every error a user can cause as one line; returns the exit status."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
    os.environ[env.DATA_DIR_VARIABLE] = env.data_dir()  # an empty variable is as none
    ledger = Path("outputs", "sweeps", f"{platform.node()}-{os.getpid()}-{time.time_ns()}").absolute()
    os.environ[LEDGER] = str(ledger)
    status = 0
    try:
        main()
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from the last checkpoint or finished stage", file=sys.stderr)
        status = 130
    except Exception as error:
        reason = _reason(error)
        if reason is None:
            raise
        if leads():
            print(f"run.py: {reason}", file=sys.stderr)
        status = 2
    records = single or _told(ledger)
    shutil.rmtree(ledger, ignore_errors=True)
    if records and status != 130:
        from harmonic.report.tables import summary

        print(summary(records))
        if single:
            print(f"\n{_where(single[0], results[0])}")
    return status or int(any(record.error for record in records))


if __name__ == "__main__":
    sys.exit(run())
