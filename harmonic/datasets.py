"""Where tables come from: a folder of three CSVs, a set inside a dependency, or the user's own file."""

import csv
import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from harmonic.build import build
from harmonic.bundled import BUNDLED
from harmonic.constraints import Constraint
from harmonic.download import PARTS, Source, Unreachable, download_into
from harmonic.errors import BadInput
from harmonic.hygiene import inspect, summarise
from harmonic.infer import infer_schema
from harmonic.parquet import read_parquet
from harmonic.schema import Schema, Task, attach
from harmonic.seed import derive_seed
from harmonic.table import Split, coerce

log = logging.getLogger(__name__)

CONF = Path(__file__).parent.parent / "conf" / "dataset"
DATA_DIR_VARIABLE = "HARMONIC_DATA_DIR"
TEST_SHARE = 0.2
VAL_SHARE = 0.125
"""Of the rows that are not for test: a tenth of all."""
MIN_ROWS = 10
FOLDS = 5
EMPTY_TEXTS = ["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>"]
EMPTY_TEXTS += ["N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"]
"""What stands for an empty cell in a CSV file, as pandas has it. A category of such a name needs a Parquet file."""
FIRST_ROWS = 1000
"""Rows of a file that are looked at for codes."""
CODE = r"0\d+|\+\d+|\d+[eE]\d+"
"""What a number would lose: a postcode of 01004, a telephone number of +44…, a lot of 4E3."""

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
    """Rules that every row written obeys, see `harmonic.constraints`."""
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
            parts = _of_fold(pd.concat([parts["train"], parts["val"]], ignore_index=True), schema, self.fold, seed)
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
    """Rules that every row written obeys, see `harmonic.constraints`."""

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
    """Rules that every row written obeys, see `harmonic.constraints`."""
    test_path: str | None = None

    def load(self, seed: int) -> Split:
        """The file's rows, split by the seed.

        Raises:
            BadInput: a file is no table or holds too few rows, the target is missing, empty or constant, a column is
                constant, or a test row does not fit the schema.
        """
        path, name = Path(self.path), self.name or Path(self.path).stem
        frame = _arrange(_read_file(path), self.target, self.drop, str(path))
        schema, table = _whole(self, frame, name, str(path))
        if self.test_path is None:
            return _split(table, schema, name, seed)
        test = _arrange(_read_file(Path(self.test_path), schema), schema.target, self.drop, self.test_path)
        train, val = _cut(table, schema, VAL_SHARE, seed)
        return _inspected(Split(name, schema, train, val, coerce(test, schema, self.test_path)))


def load_dataset(name_or_path: str | Path, *, seed: int = 0, data_dir: str | Path | None = None) -> Split:
    """A data set by the name of its YAML in conf/dataset, or a CSV or Parquet file whose last column is the target.

    Args:
        name_or_path: e.g. "affairs", "adult", "my.csv" or "my.parquet".
        seed: the run's seed; decides the split where none is published.
        data_dir: where the folders of CSVs are; $HARMONIC_DATA_DIR if not given, else "data".

    Raises:
        BadInput: no such data set, or what its `load` raises.
    """
    if str(name_or_path).lower().endswith((".csv", ".parquet")):
        return File(str(name_or_path)).load(seed)
    return configured(str(name_or_path), data_dir).load(seed)


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

    What is odd about them is logged (`harmonic.hygiene`). A method's `fit` takes a plain DataFrame too, looks for nothing
    odd in it, and takes its last column for the target.

    Raises:
        BadInput: the target is missing, empty or constant, or a column is constant, or a setting fits no column.
    """
    said = File("the DataFrame", None, target, task, description, columns, drop, constraints)
    if frame.columns.nlevels > 1:
        raise BadInput(f"{said.path} must have texts for column names, but has {frame.columns.nlevels} levels: join them.")
    rows = _arrange(frame.rename(columns=str), said.target, said.drop, said.path)
    schema = _schema(said, rows, "", said.path)
    table = attach(coerce(rows, schema, said.path), schema)
    for finding in summarise(inspect(Split(said.path, schema, table, table[:0], table[:0]))):
        log.warning("note: %s", finding)
    return table


def configured(name: str, data_dir: str | Path | None = None) -> Folder | Bundled | File:
    """The data set that conf/dataset/<name>.yaml configures, not loaded yet."""
    known = known_names()
    if name not in known:
        raise BadInput(
            f"A data set must be a path to a .csv or .parquet file or one of {', '.join(known)}, but is {name!r}: "
            f"correct it."
        )
    folder = str(data_dir or os.environ.get(DATA_DIR_VARIABLE) or "data")
    return build(_with_folder(yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8")), folder))


def known_names() -> list[str]:
    """Names of the configured data sets, sorted; `csv` needs a path and is not among them."""
    return sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "csv")


def _read_file(path: Path, schema: Schema | None = None) -> pd.DataFrame:
    return read_parquet(path) if path.suffix.lower() == ".parquet" else read_csv(path, schema)


def read_csv(path: Path, schema: Schema | None = None) -> pd.DataFrame:
    """A CSV file with a header, in UTF-8; empty cells are NaN, and so are those of `EMPTY_TEXTS`.

    Args:
        path: the file.
        schema: what its columns hold, where that is known: texts are then left as they are, digits among them, and a
            category that is one of `EMPTY_TEXTS` is no empty cell. Without it columns are typed by their values, and
            a column with a `CODE` among the first `FIRST_ROWS` is one of texts.

    Raises:
        BadInput: no such file, a folder, an empty file, another encoding, unequal rows, a column name twice, or no rows.
    """
    if not path.is_file():
        fault = "is a folder: give the path of a file in it" if path.is_dir() else "there is none: check the path"
        raise BadInput(f"{path} must be a CSV file, but {fault}.")
    if b"\0" in path.read_bytes():
        raise BadInput(f"{path} must be text, but holds a NUL: save it as UTF-8 text.")
    try:
        header = pd.read_csv(path, header=None, nrows=1, dtype=str, encoding="utf-8", keep_default_na=False).iloc[0]
        header = header[header != ""]
        sign = next((sign for sign in (";", "\t") if sign in header.iloc[0]), None) if len(header) == 1 else None
        if sign:
            raise BadInput(f"{path} must have commas between its cells, but its header has {sign!r}: save it with commas.")
        # round_trip: the default parser may miss a number's last bit, which would show as ten more decimal places.
        frame = pd.read_csv(
            path, encoding="utf-8", float_precision="round_trip", low_memory=False, **_typed(path, header, schema)
        )
    except UnicodeDecodeError as error:
        byte = f"{error.object[error.start]:#04x}"
        raise BadInput(f"{path} must be UTF-8 text, but holds the byte {byte}: save it as UTF-8.") from None
    except pd.errors.EmptyDataError:
        raise BadInput(f"{path} must hold a header and rows, but is empty: check what wrote it.") from None
    except pd.errors.ParserError as error:
        found = re.search(r"Expected .* saw \d+|EOF inside string.*", str(error))
        what = found.group(0).replace("Expected", "expected") if found else "it cannot be parsed"
        raise BadInput(f"{path} must be a CSV file with rows of equal length, but {what}: mend that line.") from None
    except OSError as error:
        raise BadInput(f"{path} must be a file that can be read, but {error.strerror}: check its permissions.") from None
    twice = header[header.duplicated()]
    if len(twice):
        raise BadInput(f"{path} must name each column once, but {twice.iloc[0]!r} stands there twice: rename one.")
    if not isinstance(frame.index, pd.RangeIndex):
        raise BadInput(f"{path} must have a name for each column, but its rows are longer than its header: complete it.")
    if frame.empty:
        raise BadInput(f"{path} must hold rows below its header, but holds none: check what wrote it.")
    _check_lengths(path, len(frame.columns))
    return frame


def _check_lengths(path: Path, columns: int) -> None:
    """Raise BadInput for a row of too few cells, which pandas fills up with empty ones."""
    csv.field_size_limit(sys.maxsize)
    with path.open(newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(row for row in csv.reader(file) if row):
            if len(row) < columns:
                raise BadInput(
                    f"{path} must be a CSV file with rows of equal length, but row {number} has {len(row)} of {columns} "
                    f"cells: complete it."
                )


def _typed(path: Path, header: Sequence[str], schema: Schema | None) -> dict[str, Any]:
    """What pandas is told of a file's columns."""
    if schema is None:
        first = pd.read_csv(path, nrows=FIRST_ROWS, dtype=str, encoding="utf-8", keep_default_na=False)
        codes = [name for name in first if first[name].astype(str).str.fullmatch(CODE).any()]
        return {"dtype": dict.fromkeys(codes, str), "keep_default_na": False, "na_values": EMPTY_TEXTS}
    known = {column.name: column for column in schema.columns}
    categories = {name: known[name].categories if name in known else () for name in header}
    return {
        "dtype": {name: str for name in header if name in known and known[name].dtype == "str"},
        "keep_default_na": False,
        "na_values": {name: [text for text in EMPTY_TEXTS if text not in held] for name, held in categories.items()},
    }


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
        raise BadInput(f"{source} must hold a target and one feature or more, but holds {len(kept)} columns: add some.")
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
    if not isinstance(dataset.columns or {}, Mapping):
        raise BadInput(f"dataset.columns must say a kind for each column it names, but is {dataset.columns!r}: correct it.")
    about = dataset.description or name
    columns = {str(name): fix for name, fix in (dataset.columns or {}).items()}
    schema = infer_schema(frame, target=target, task=dataset.task, description=about, columns=columns, source=source)
    for text in dataset.constraints:
        Constraint.of(text, schema)
    return replace(schema, constraints=tuple(dataset.constraints))


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
    rest, test = _cut(table, schema, TEST_SHARE, seed)
    train, val = _cut(rest, schema, VAL_SHARE, seed)
    return _inspected(Split(name, schema, train, val, test))


def _cut(table: pd.DataFrame, schema: Schema, share: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two parts, the second of the given share; stratified for classification where every class can be in both."""
    from sklearn.model_selection import train_test_split

    labels = table[schema.target]
    counts = labels.value_counts()
    fits = schema.task != "regression" and counts.min() >= 2 and len(counts) <= share * len(table)
    first, second = train_test_split(
        table, test_size=share, random_state=derive_seed(seed, "split"), stratify=labels if fits else None
    )
    if first[schema.target].nunique() < 2:
        raise BadInput(
            f"Target {schema.target!r} must vary in train, but {counts.iloc[0]} of {len(table)} rows agree: add rows."
        )
    return schema.restore_dtypes(first), schema.restore_dtypes(second)


def _of_fold(table: pd.DataFrame, schema: Schema, fold: int, seed: int) -> dict[str, pd.DataFrame]:
    """The parts of a split whose test rows are one of FOLDS folds of the table, the same whatever the seed."""
    from sklearn.model_selection import KFold, StratifiedKFold

    kind = KFold if schema.task == "regression" else StratifiedKFold
    folds = kind(FOLDS, shuffle=True, random_state=derive_seed(0, "folds")).split(table, table[schema.target])
    rest, test = list(folds)[fold]
    train, val = _cut(schema.restore_dtypes(table.iloc[rest]), schema, VAL_SHARE, seed)
    return {"train": train, "val": val, "test": schema.restore_dtypes(table.iloc[test])}


def _inspected(split: Split) -> Split:
    return split.with_hygiene(inspect(split))


def _with_folder(node: Any, data_dir: str) -> Any:
    """A YAML's content with the data folder in place of its interpolation."""
    if isinstance(node, dict):
        return {key: _with_folder(value, data_dir) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_folder(value, data_dir) for value in node]
    return data_dir if node == "${data_dir}" else node
