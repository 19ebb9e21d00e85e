"""Records checked: rows and scores once more, from the stored table or from the seeds, and what differs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from harmonic.bench import run_cell
from harmonic.build import build
from harmonic.datasets import read_csv
from harmonic.errors import BadInput, SamplingFailed
from harmonic.record import FILE, Record, read
from harmonic.seed import derive_seed
from harmonic.table import Split, coerce, digest

Origin = Literal["rows", "seeds"]
ROUNDING = 1e-9
"""Relative difference that another processor's order of summation explains."""


@dataclass
class Finding:
    """What was found out about a record."""

    name: str
    """The record's folder below the root."""
    rows: str = ""
    """same, or what is wrong."""
    same: int = 0
    """Scores that are equal bit for bit."""
    rounded: int = 0
    """Scores that differ by less than `ROUNDING`."""
    differ: list[str] = field(default_factory=list)
    """What differs, as "key: recorded, found"."""
    unchecked: list[str] = field(default_factory=list)
    """What could not be computed again, and why."""

    @property
    def holds(self) -> bool:
        """Whether nothing that was checked differs."""
        return self.rows == "same" and not self.differ

    def compare(self, metric: str, recorded: dict[str, float | None], found: dict[str, float]) -> None:
        """Take in a metric's values, as recorded and as found.

        A metric may tell more today than it told the record: what a record does not say cannot be wrong.
        """
        if more := len(set(found) - set(recorded)):
            self.unchecked.append(f"{metric}: {more} of its values are new, the record has none of them")
        for key in sorted(recorded):
            before, now = _number(recorded.get(key)), _number(found.get(key))
            if before == now or (math.isnan(before) and math.isnan(now)):
                self.same += 1
            elif math.isclose(before, now, rel_tol=ROUNDING, abs_tol=ROUNDING):
                self.rounded += 1
            else:
                self.differ.append(f"{key}: {before:.6g} recorded, {now:.6g} found")


def _number(value: float | None) -> float:
    """A record's null is a number that is none."""
    return math.nan if value is None else float(value)


class _AsksGenerator(Exception):
    """A metric wanted something of the generator that only a fitted one has."""


class _Unfitted:
    """A method that says what it could do, and refuses to do it: stored rows come without their generator."""

    def __init__(self, method: Any) -> None:
        self._method = method

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(self._method, name):  # a copy has no method yet, and asks for its own state
            raise AttributeError(name)
        raise _AsksGenerator


def verify(
    record: Record, folder: Path, *, origin: Origin, data_dir: str, cache_dir: Path, metrics: Sequence[str] = ()
) -> Finding:
    """Compute a record's rows and scores once more and compare.

    Args:
        record: as it was read.
        folder: where it lies, with synthetic.csv where that was kept.
        origin: rows scores the table beside the record, and leaves out what asks the generator; seeds does all anew.
        data_dir: folder of the published data sets.
        cache_dir: of what is fitted and sampled; scores that lie there already are taken up.
        metrics: names to check; all of the record's without.
    """
    finding = Finding(f"{record.cell.dataset}/{record.cell.method}/{record.cell.model}/{folder.name}")
    wanted = {name: score for name, score in record.scores.items() if not metrics or name in metrics}
    try:
        if origin == "rows":
            found = _from_rows(record, folder, data_dir, wanted)
        else:
            found = _again(record, _configuration(record, data_dir), wanted, cache_dir)
        finding.rows = next(found)
        for name, values in found:
            if isinstance(values, str):
                finding.unchecked.append(f"{name}: {values}")
            else:
                finding.compare(name, wanted[name]["values"], values)
    except (BadInput, SamplingFailed) as error:
        finding.rows = finding.rows or str(error)
    return finding


def choose(root: Path, names: Mapping[str, str]) -> list[tuple[Path, Record]]:
    """The records under a folder that have rows, in order of path, each with where it lies; cells that failed are left out.

    Args:
        root: the folder.
        names: for each of dataset, method, model and seed those that are wanted, with commas between them; all without. Of
            metrics, those that one of the records must have.

    Raises:
        BadInput: a name that no record has, or no record that is left.
    """
    chosen = [(path, read(path)) for path in sorted(root.rglob(FILE))]
    for part in ("dataset", "method", "model", "seed"):
        wanted = [name for name in names.get(part, "").split(",") if name]
        known = sorted({str(getattr(record.cell, part)) for _, record in chosen})
        unknown = set(wanted) - set(known)
        if unknown:
            raise BadInput(f"{part} must be one of {', '.join(known)} under {root}, but is {min(unknown)!r}: correct it.")
        chosen = [(path, record) for path, record in chosen if not wanted or str(getattr(record.cell, part)) in wanted]
    scored = sorted({name for _, record in chosen for name in record.scores})
    unknown = set(filter(None, names.get("metrics", "").split(","))) - set(scored)
    if unknown:
        raise BadInput(f"metrics must be of {', '.join(scored)} under {root}, but has {min(unknown)!r}: correct it.")
    chosen = [(path, record) for path, record in chosen if "synthetic" in record.digests]
    if not chosen:
        raise BadInput(f"{root} must hold records of rows that were scored, but holds none: run `python run.py` first.")
    return chosen


def stored_rows(record: Record, folder: Path, data_dir: str) -> tuple[Split, pd.DataFrame]:
    """The record's data, and the rows that were scored, from the synthetic.csv beside it.

    Raises:
        BadInput: the data are others today, or the rows were not kept or are others.
    """
    split = _split(record, _configuration(record, data_dir))
    path = folder / "synthetic.csv"
    if not path.exists():
        raise BadInput(f"{path} was not kept: sample it anew from its seeds.")
    synthetic = coerce(read_csv(path, split.schema), split.schema, str(path))
    if digest(synthetic) != record.digests["synthetic"]:
        raise BadInput(f"{path} is not the table that was scored.")
    return split, synthetic


def _configuration(record: Record, data_dir: str) -> dict[str, Any]:
    """The cell's configuration with the one thing that a record leaves out: where the data lie."""
    dataset = dict(record.config["dataset"])
    if dataset["_target_"].endswith(".Folder"):
        dataset["data_dir"] = data_dir
    return {**record.config, "dataset": dataset}


def _from_rows(record: Record, folder: Path, data_dir: str, wanted: dict[str, Any]) -> Iterator[Any]:
    """ "same", as the rows are; then each metric's name with its values, or with why it has none."""
    split, synthetic = stored_rows(record, folder, data_dir)
    yield "same"
    generator = _Unfitted(build(record.config["method"]))
    seed = derive_seed(record.cell.seed, "score")
    for name, score in wanted.items():
        try:
            yield name, build(score["config"])(split, synthetic, seed=seed, synthesizer=generator)
        except _AsksGenerator:
            yield name, "it asks the generator: from=seeds"
        except BadInput as error:
            yield name, str(error)
        except Exception as error:  # a defect of this one takes nothing from the others
            yield name, f"it failed ({str(error) or type(error).__name__})"


def _again(record: Record, config: dict[str, Any], wanted: dict[str, Any], cache_dir: Path) -> Iterator[Any]:
    """The same of a cell that is run anew."""
    _split(record, config)
    metrics, refused = {}, {}
    for name, score in wanted.items():
        try:
            build(score["config"])
            metrics[name] = score["config"]
        except BadInput as error:
            refused[name] = str(error)
    cell = {
        **config,
        "metrics": metrics,
        "threads": record.env.get("threads") or 1,
        "cache_dir": str(cache_dir),
        "results_dir": str(cache_dir / "runs"),
    }
    again = run_cell(cell, announce=False)
    if "synthetic" not in again.digests:
        yield again.error["message"] if again.error else "no rows"
        return
    yield "same" if again.digests["synthetic"] == record.digests["synthetic"] else "other rows than those that were scored"
    for name in wanted:
        failed = refused.get(name, "it failed, see above")
        yield name, again.scores[name]["values"] if name in again.scores else failed


def _split(record: Record, config: dict[str, Any]) -> Split:
    """The record's data; raises BadInput where they are others today."""
    split: Split = build(config["dataset"]).load(config["seed"])
    if split.digest != record.digests["split"]:
        raise BadInput(f"the data are not those of the record: {record.cell.dataset} has changed since.")
    return split
