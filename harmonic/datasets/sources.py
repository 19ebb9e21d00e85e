"""Where tables come from: a folder of three CSVs, a set inside a dependency, or the user's own file."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from harmonic.datasets.bundled import BUNDLED
from harmonic.datasets.download import PARTS, Source, Unreachable, download_into
from harmonic.datasets.files import read_csv, read_file
from harmonic.datasets.hygiene import inspect, summarise
from harmonic.datasets.splits import FOLDS, VAL_SHARE, cut, in_three, of_fold
from harmonic.env import DATA_DIR_VARIABLE
from harmonic.errors import BadInput
from harmonic.table import Split, coerce
from harmonic.table.checks import check_frame
from harmonic.table.constraints import Constraint
from harmonic.table.infer import infer_schema
from harmonic.table.schema import Schema, Task, attach

log = logging.getLogger(__name__)

MIN_ROWS = 10

Corrections = Mapping[str, Any]


@dataclass(frozen=True)
class Folder:
    """A data set with a published split: `<data_dir>/<name>/{train,val,test}.csv`, downloaded where it is not there."""

    name: str
    data_dir: str
    target: str
    task: Task | None = None
    description: str = ""
    columns: Corrections = field(default_factory=dict)
    """Corrections to the inferred schema, as in `infer_schema`."""
    drop: Sequence[str] = ()
    constraints: Sequence[str] = ()
    """Rules that every row written obeys, see `harmonic.table.constraints`."""
    download: Source | None = None
    """Where the rows can be had."""
    fold: int | None = None
    """0 to FOLDS - 1: test rows are left alone, those of train and val are cut into folds, and this one stands for test. For
    choices, which must not be made on the rows that they are judged by."""

    @property
    def path(self) -> Path:
        """The data set's folder."""
        return Path(self.data_dir) / self.name

    def load(self, seed: int) -> Split:
        """The published split, whatever the seed, or a fold of its train and val; the schema is learnt from train alone.

        Raises:
            BadInput: files are missing and cannot be downloaded, a part does not fit train's schema, or it has no such fold.
        """
        if self.fold is not None and self.fold not in range(FOLDS):
            raise BadInput(f"dataset.fold must be null or a number from 0 to {FOLDS - 1}, but is {self.fold}: correct it.")
        self.ensure()
        train = self._read("train")
        schema = _schema(self, train, self.name, f"{self.name}/train.csv")
        val, test = (self._read(part, schema) for part in ("val", "test"))
        tables = {"train": train, "val": val, "test": test}
        parts = {part: coerce(table, schema, f"{self.name}/{part}.csv") for part, table in tables.items()}
        if self.fold is not None:
            parts = of_fold(pd.concat([parts["train"], parts["val"]], ignore_index=True), schema, self.fold, seed)
        return _inspected(Split(self.name, schema, **parts))

    def ensure(self) -> Path:
        """The folder that holds the three files, downloaded first where none of them is there.

        Raises:
            BadInput: they are not there and cannot be had; names the folder, the files and the sets that need no network.
        """
        missing = [f"{part}.csv" for part in PARTS if not (self.path / f"{part}.csv").is_file()]
        if not missing:
            return self.path
        reason = ""
        if self.download is not None and len(missing) == len(PARTS):
            try:
                download_into(self.download, self.path, self.task)
                return self.path
            except Unreachable as error:
                reason = f", and {error}"
        raise BadInput(
            f"{self.path} must hold train.csv, val.csv and test.csv, but {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not there{reason}: put the files there, point {DATA_DIR_VARIABLE} or "
            f"data_dir to the folder that holds {self.name!r}, or take a data set that needs no network "
            f"({', '.join(BUNDLED)})."
        )

    def _read(self, part: str, schema: Schema | None = None) -> pd.DataFrame:
        return _arrange(read_csv(self.path / f"{part}.csv", schema), self.target, self.drop, f"{self.name}/{part}.csv")


@dataclass(frozen=True)
class Bundled:
    """A data set inside a dependency: no network, no files. One table, split .7/.1/.2 by the run's seed.

    Its domain (kinds, categories, ranges, characters of texts, which columns may be empty) is taken from the whole table,
    before the split: the domain counts as public, the rows do not.
    """

    name: str
    """One of `BUNDLED`."""
    target: str
    task: Task | None = None
    description: str = ""
    columns: Corrections = field(default_factory=dict)
    """Corrections to the inferred schema, as in `infer_schema`."""
    drop: Sequence[str] = ()
    constraints: Sequence[str] = ()
    """Rules that every row written obeys, see `harmonic.table.constraints`."""

    def load(self, seed: int) -> Split:
        """The table, split by the seed.

        Raises:
            BadInput: the name is none of the bundled sets, or a correction fits no column.
        """
        if self.name not in BUNDLED:
            raise BadInput(f"dataset.name must be one of {', '.join(BUNDLED)}, but is {self.name!r}: correct it.")
        frame = _arrange(BUNDLED[self.name](), self.target, self.drop, self.name)
        schema, table = _whole(self, frame, self.name, self.name)
        return _split(table, schema, self.name, seed)


@dataclass(frozen=True)
class File:
    """The user's own CSV or Parquet file: one file split .7/.1/.2 by the run's seed, or one of train (and val) rows and one
    of test rows.

    The domain is taken from the whole of the first file, before the split, and counts as public; see `Bundled`.
    """

    path: str
    name: str | None = None
    """The file's stem if not given."""
    target: str | None = None
    """The last column if not given."""
    task: Task | None = None
    """From the target's values if not given."""
    description: str = ""
    columns: Corrections | None = None
    """Corrections to the inferred schema, as in `infer_schema`."""
    drop: Sequence[str] = ()
    constraints: Sequence[str] = ()
    """Rules that every row written obeys, see `harmonic.table.constraints`."""
    test_path: str | None = None

    def load(self, seed: int) -> Split:
        """The file's rows, split by the seed.

        Raises:
            BadInput: a file is no table or holds too few rows, the target is missing, empty or constant, a column is
                constant, or a test row does not fit the schema.
        """
        _check_text("path", self.path)
        if self.test_path is not None:
            _check_text("test_path", self.test_path)
        path, name = Path(self.path), self.name or Path(self.path).stem
        frame = _arrange(read_file(path), self.target, self.drop, str(path))
        schema, table = _whole(self, frame, name, str(path))
        if self.test_path is None:
            return _split(table, schema, name, seed)
        test = read_file(Path(self.test_path), schema)
        test = _arrange(test, schema.target, [name for name in self.drop if name in test], self.test_path)
        train, val = cut(table, schema, VAL_SHARE, seed)
        return _inspected(Split(name, schema, train, val, coerce(test, schema, self.test_path)))


def as_table(
    frame: pd.DataFrame,
    *,
    target: str | None = None,
    task: Task | None = None,
    description: str = "",
    columns: Corrections | None = None,
    drop: Sequence[str] = (),
    constraints: Sequence[str] = (),
) -> pd.DataFrame:
    """A DataFrame as rows to fit on, all of them, with what there is to say of them; the settings are those of `File`.

    What is odd about them is logged (`harmonic.datasets.hygiene`). A method's `fit` takes a plain DataFrame too, looks for
    nothing odd in it, and takes its last column for the target.

    Raises:
        BadInput: it is no DataFrame, the target is missing, empty or constant, a column is constant, or a setting fits none.
    """
    said = File("the DataFrame", None, target, task, description, columns, drop, constraints)
    check_frame(frame, "the table")
    if frame.columns.nlevels > 1:
        raise BadInput(f"{said.path} must have texts for column names, but has {frame.columns.nlevels} levels: join them.")
    rows = _arrange(frame.rename(columns=str), said.target, said.drop, said.path)
    schema = _schema(said, rows, "", said.path)
    table = attach(coerce(rows, schema, said.path), schema)
    for finding in summarise(inspect(Split(said.path, schema, table, table[:0], table[:0]))):
        log.warning("note: %s", finding)
    return table


def _arrange(frame: pd.DataFrame, target: str | None, drop: Sequence[str], source: str) -> pd.DataFrame:
    """The frame without the columns to drop, target last."""
    _check_list("drop", drop)
    target, drop = None if target is None else str(target), list(map(str, drop))  # a year is a number on a command line
    unknown = [name for name in drop if name not in frame.columns or name == target]
    if unknown:
        raise BadInput(f"dataset.drop must name features of {source}, but {unknown[0]!r} is none of them: correct it.")
    kept = [name for name in frame.columns if name not in drop]
    if target in kept:
        kept = [name for name in kept if name != target] + [target]
    elif target is not None:
        raise BadInput(
            f"{source} must hold the target column {target!r}, but has {', '.join(map(str, kept[:8]))}"
            f"{', …' if len(kept) > 8 else ''}: set dataset.target to one of them."
        )
    if len(kept) < 2:
        raise BadInput(f"{source} must hold a target and one feature or more, but holds fewer than two columns: add some.")
    return frame[kept]


def _schema(dataset: Folder | Bundled | File, frame: pd.DataFrame, name: str, source: str) -> Schema:
    target = str(frame.columns[-1])
    empty = frame[target].isna()
    if empty.any() and not empty.all():
        raise BadInput(
            f"{source}, target {target!r} must be known in every row, but is empty in {int(empty.sum())} of {len(frame)}, "
            f"first in row {int(empty.to_numpy().argmax()) + 1}: fill them or delete those rows."
        )
    _check_list("constraints", dataset.constraints)
    for text in dataset.constraints:
        _check_text("constraints", text)
    if dataset.description is not None:
        _check_text("description", dataset.description)
    if not isinstance(dataset.columns or {}, Mapping):
        raise BadInput(f"dataset.columns must say a kind for each column it names, but is {dataset.columns!r}: correct it.")
    about = dataset.description or name
    columns = {str(name): fix for name, fix in (dataset.columns or {}).items()}
    schema = infer_schema(frame, target=target, task=dataset.task, description=about, columns=columns, source=source)
    for text in dataset.constraints:
        Constraint.of(text, schema)
    return replace(schema, constraints=tuple(dataset.constraints))


def _check_text(option: str, value: Any) -> None:
    if not isinstance(value, str):
        raise BadInput(f"dataset.{option} must be text, but is {value!r}: put it in quotes, as in '\"{value}\"'.")


def _check_list(option: str, value: Any) -> None:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise BadInput(f"dataset.{option} must be a list, as in dataset.{option}=[…], but is {value!r}: correct it.")


def _whole(dataset: Bundled | File, frame: pd.DataFrame, name: str, source: str) -> tuple[Schema, pd.DataFrame]:
    """The schema of a whole table, and the table under it."""
    schema = _schema(dataset, frame, name, source)
    if len(frame) < MIN_ROWS:
        raise BadInput(f"{source} must hold {MIN_ROWS} rows or more to be split, but holds {len(frame)}: add rows.")
    return schema, coerce(frame, schema, source)


def _split(table: pd.DataFrame, schema: Schema, name: str, seed: int) -> Split:
    return _inspected(Split(name, schema, **in_three(table, schema, seed)))


def _inspected(split: Split) -> Split:
    return split.with_hygiene(inspect(split))
