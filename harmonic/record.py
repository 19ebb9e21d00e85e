"""A cell's result as one JSON file: what tables, plots and the report are made from."""

import json
import logging
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harmonic.errors import BadInput, check_name
from harmonic.store import write_atomically

log = logging.getLogger(__name__)

FILE = "record.json"
VERSION = 1


@dataclass(frozen=True)
class Cell:
    """One point of the grid."""

    dataset: str
    method: str
    model: str
    """The language model's name, "none" for a method that has none."""
    seed: int
    key: str
    """What the synthetic rows depend on, hashed: equal keys, equal rows."""

    def folder(self, root: Path) -> Path:
        """`<root>/<dataset>/<method>/<model>/seed<s>-<key8>`; BadInput for a name that would lead elsewhere."""
        run = f"seed{self.seed}-{self.key[:8]}"
        for part, name in (("dataset", self.dataset), ("method", self.method), ("model", self.model), ("seed and key", run)):
            check_name(f"a cell's {part}", name)
        return root / self.dataset / self.method / self.model / run


@dataclass
class Record:
    """What happened in a cell."""

    cell: Cell
    status: str
    """done or failed."""
    error: dict[str, str] | None = None
    """Of a failed cell: stage, type, message, other metrics that failed, and the trace of what is no user's fault."""
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Metric name to its values, configuration, stage key, seconds, peak memory, device and commit."""
    fit: dict[str, Any] = field(default_factory=dict)
    """What the method reports of its training and of the rows it wrote."""
    costs: dict[str, Any] = field(default_factory=dict)
    """Of each stage when it was first run: seconds, how often it was begun, rows and tokens per second, peak memory, device,
    commit."""
    digests: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the split, of train, and of the synthetic table."""
    data: dict[str, Any] = field(default_factory=dict)
    """Schema and hygiene findings."""
    config: dict[str, Any] = field(default_factory=dict)
    """The resolved configuration of data set and method."""
    env: dict[str, Any] = field(default_factory=dict)
    """Versions, commit, machine of the run that wrote the record."""
    version: int = VERSION

    @property
    def values(self) -> dict[str, float]:
        """All scores in one dictionary; metrics do not share key names."""
        return {name: value for score in self.scores.values() for name, value in score["values"].items()}

    @property
    def time_score_s(self) -> float:
        """Seconds that the scores took, each when it was first computed."""
        return float(sum(score["time_s"] for score in self.scores.values()))

    def failed_in(self, metric: str) -> bool:
        """Whether the cell failed in a metric, or before it came to any."""
        if self.error is None:
            return False
        stage, _, first = self.error["stage"].partition(" ")
        return stage != "score" or metric in (first, *self.error.get("also", "").split())

    def _content(self) -> str:
        """What the record says, less what it cost and who computed it."""
        scores = {name: [score["values"], score["key"]] for name, score in self.scores.items()}
        return _json([scores, self.config, self.digests])

    def write(self, root: Path) -> Path:
        """Write record.json into the cell's folder under `root`; the caller sees to it that nobody else does so now.

        Nothing that was found out is lost: scores of other metrics on the same rows, synthetic and real, are kept, whether
        or not this run ended well, and a run that failed before it had rows leaves a record that has them alone. So does one
        that would say nothing new: a record names the commit and the machine that computed it, not those that looked at it
        last.
        """
        path = self.cell.folder(root) / FILE
        earlier = earlier_record(path)
        rows = self.digests.get("synthetic")
        if earlier and earlier.digests.get("synthetic"):
            if rows is None:
                return path
            same = all(earlier.digests.get(name) == self.digests.get(name) for name in ("synthetic", "split"))
            self.scores = {**(earlier.scores if same else {}), **self.scores}
        self.scores = dict(sorted(self.scores.items()))
        if not (earlier and earlier.status == self.status == "done" and earlier._content() == self._content()):
            write_atomically(path, dumps(self))
        return path


def earlier_record(path: Path) -> Record | None:
    """The record that a cell has already; one that cannot be read is none."""
    try:
        return read(path) if path.exists() else None
    except BadInput as error:
        log.warning("%s", error)
        return None


def _json(plain: Any) -> str:
    return json.dumps(_finite(plain), indent=1, ensure_ascii=False, sort_keys=False, allow_nan=False)


def _finite(plain: Any) -> Any:
    """The same with None for every number that is none: JSON has no NaN."""
    if isinstance(plain, dict):
        return {name: _finite(value) for name, value in plain.items()}
    if isinstance(plain, (list, tuple)):
        return [_finite(value) for value in plain]
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


def dumps(record: Record) -> str:
    """A record as the text of its file."""
    return _json(asdict(record)) + "\n"


def loads(text: str) -> Record:
    """The record in a text; ValueError, or what its parts raise, where it is none of this version."""
    plain = json.loads(text)
    record = Record(**{**plain, "cell": Cell(**plain["cell"])})
    are_numbers = all(isinstance(value, (int, float, type(None))) for value in record.values.values())
    if record.version != VERSION or not are_numbers:
        raise ValueError
    return record


def read(path: Path) -> Record:
    """The record in a file; BadInput where it holds none."""
    try:
        return loads(path.read_text())
    except (ValueError, TypeError, KeyError, AttributeError):
        raise BadInput(
            f"{path} must hold a record of version {VERSION}, but cannot be read as one: remove it, and run its cell again."
        ) from None


def read_all(root: Path) -> list[Record]:
    """Every record under a folder, in order of path."""
    return [read(path) for path in sorted(root.rglob(FILE))]


def found(root: Path) -> list[Path]:
    """Where the records under a folder lie, in order; raises BadInput where there are none."""
    paths = sorted(root.rglob(FILE))
    if not paths:
        raise BadInput(f"{root} must hold record.json files, but holds none: run `python run.py` first.")
    return paths
