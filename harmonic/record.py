"""A cell's result as one JSON file: what tables, plots and the report are made from."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harmonic.store import write_atomically

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
        """`<root>/<dataset>/<method>/<model>/seed<s>-<key8>`."""
        return root / self.dataset / self.method / self.model / f"seed{self.seed}-{self.key[:8]}"


@dataclass
class Record:
    """What happened in a cell."""

    cell: Cell
    status: str
    """done or failed."""
    error: dict[str, str] | None = None
    """Of a failed cell: stage, type, message, and the trace of what is no user's fault."""
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Metric name to its values, configuration, stage key, seconds and commit."""
    fit: dict[str, Any] = field(default_factory=dict)
    """What the method reports of its training and of the rows it wrote."""
    costs: dict[str, Any] = field(default_factory=dict)
    """Seconds of each stage when it was first run, rows per second, peak memory, commit."""
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

    def _content(self) -> str:
        """What the record says, less what it cost and who computed it."""
        scores = {name: [score["values"], score["key"]] for name, score in self.scores.items()}
        return _json([scores, self.config, self.digests])

    def write(self, root: Path) -> Path:
        """Write record.json into the cell's folder under `root`.

        Scores of other metrics on the same rows are kept, and a record that would say nothing new is left alone: it names
        the commit and the machine that computed it, not those that looked at it last.
        """
        path = self.cell.folder(root) / FILE
        if path.exists() and self.status == "done":
            earlier = read(path)
            if earlier.digests.get("synthetic") == self.digests["synthetic"]:
                self.scores = {**earlier.scores, **self.scores}
            self.scores = dict(sorted(self.scores.items()))
            if earlier.status == "done" and earlier._content() == self._content():
                return path
        self.scores = dict(sorted(self.scores.items()))
        write_atomically(path, _json(asdict(self)) + "\n")
        return path


def _json(plain: Any) -> str:
    return json.dumps(_finite(plain), indent=1, ensure_ascii=False, sort_keys=False, allow_nan=False)


def _finite(plain: Any) -> Any:
    """The same with None for every number that is none: JSON has no NaN."""
    if isinstance(plain, dict):
        return {name: _finite(value) for name, value in plain.items()}
    if isinstance(plain, (list, tuple)):
        return [_finite(value) for value in plain]
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


def read(path: Path) -> Record:
    """The record in a file."""
    plain = json.loads(path.read_text())
    return Record(**{**plain, "cell": Cell(**plain["cell"])})


def read_all(root: Path) -> list[Record]:
    """Every record under a folder, in order of path."""
    return [read(path) for path in sorted(root.rglob(FILE))]
