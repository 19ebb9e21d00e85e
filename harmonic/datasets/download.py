"""Where the paper's tables can be had. A source's rows are checked by digest before anything is written.

The digest knows no order, so it verifies the rows alone; whether the split is the paper's own depends on the order in which
the source gives them. From files in UCI's, StatLib's and OpenML's usual order, adult, diabetes and california come out as
published, row by row. For german and abalone the published split could not be derived: sizes agree, rows do not.
"""

import hashlib
import http.client
import io
import shutil
import tempfile
import urllib.request
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from harmonic.errors import BadInput
from harmonic.table.plain import plain
from harmonic.table.schema import Task

PARTS = ("train", "val", "test")
TEST_SHARE = 0.2
TIMEOUT_S = 60
CALIFORNIA_COLUMNS = {
    "Longitude": "longitude",
    "Latitude": "latitude",
    "HouseAge": "housing_median_age",
    "AveRooms": "total_rooms",
    "AveBedrms": "total_bedrooms",
    "Population": "population",
    "AveOccup": "households",
    "MedInc": "median_income",
    "MedHouseVal": "median_house_value",
}
"""scikit-learn's names to the published ones, which call averages totals."""


class Unreachable(OSError):
    """A source gave no rows; the message is a clause that says why."""


@dataclass(frozen=True)
class Rows:
    """What a source holds, verified."""

    rest: pd.DataFrame
    """All rows, or the training rows where the source has a test set of its own; the target is the last column."""
    test: pd.DataFrame | None = None
    """The source's own test rows."""
    test_seed: int = 0
    val_seed: int = 0
    val_share: float = 0.2
    """Of the rows that are not for test."""


class Source(Protocol):
    """Something that gives the rows of one data set."""

    def fetch(self) -> Rows:
        """The rows.

        Raises:
            Unreachable: no network, or the source is gone.
            BadInput: the rows are not those of the paper.
        """
        ...


@dataclass(frozen=True)
class OpenML:
    """A table of OpenML, through scikit-learn. Numeric features are stored as floats, as in the published files."""

    data_id: int
    columns: Mapping[str, str]
    """OpenML's column name to ours, in our order, target last."""
    rows_digest: str
    """`rows_digest` of the expected rows."""
    classes: Mapping[Any, int] | None = None
    """OpenML's class label to ours; none for regression."""
    test_seed: int = 0
    val_seed: int = 0

    def fetch(self) -> Rows:
        """The rows, verified."""
        from sklearn import datasets

        what = f"OpenML data set {self.data_id}"
        bunch = _ask(
            what,
            lambda: datasets.fetch_openml(
                data_id=self.data_id, as_frame=True, parser="auto", cache=False, n_retries=1, delay=0.1
            ),
        )
        rows = normalise(_select(bunch.frame, self.columns, what), self.classes, floats=True)
        return Rows(verify(rows, self.rows_digest, what), test_seed=self.test_seed, val_seed=self.val_seed)


@dataclass(frozen=True)
class California:
    """StatLib's California housing through scikit-learn, at the published files' single precision."""

    rows_digest: str
    test_seed: int = 0
    val_seed: int = 0

    def fetch(self) -> Rows:
        """The rows, verified."""
        from sklearn import datasets

        what = "California housing"
        with tempfile.TemporaryDirectory() as cache:
            bunch = _ask(
                what,
                lambda: datasets.fetch_california_housing(data_home=cache, as_frame=True, n_retries=1, delay=0.1),
            )
        rows = _select(bunch.frame, CALIFORNIA_COLUMNS, what).astype("float32").apply(plain)
        return Rows(verify(rows, self.rows_digest, what), test_seed=self.test_seed, val_seed=self.val_seed)


@dataclass(frozen=True)
class UCI:
    """A table of the UCI repository: one file without a header, or a file of training rows and one of test rows."""

    path: str
    """Of the file below `base_url`."""
    columns: Sequence[str]
    """Names of the file's columns, target last."""
    classes: Mapping[Any, int]
    """The file's class label to ours; a full stop behind a label is not part of it."""
    rows_digest: str
    test_path: str | None = None
    test_rows_digest: str = ""
    separator: str = ","
    floats: bool = False
    """Whether the published files store numbers as floats."""
    test_seed: int = 0
    val_seed: int = 0
    val_share: float = 0.2
    base_url: str = "https://archive.ics.uci.edu/ml/machine-learning-databases"

    def fetch(self) -> Rows:
        """The rows, verified."""
        rest = self._fetch_file(self.path, self.rows_digest)
        test = self._fetch_file(self.test_path, self.test_rows_digest) if self.test_path else None
        return Rows(rest, test, self.test_seed, self.val_seed, self.val_share)

    def _fetch_file(self, path: str, expected: str) -> pd.DataFrame:
        url = f"{self.base_url}/{path}"

        def get() -> str:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
                return answer.read().decode()

        text = _ask(url, get)
        try:
            # Adult's test file opens with a line of junk that starts with "|".
            frame = pd.read_csv(
                io.StringIO(text),
                sep=self.separator,
                names=list(self.columns),
                index_col=False,
                dtype=str,
                skipinitialspace=True,
                na_values=["?"],
                comment="|",
            )
        except (pd.errors.ParserError, pd.errors.EmptyDataError):
            raise BadInput(f"{url} must be a table of {len(self.columns)} columns, but is none: try again later.") from None
        return verify(normalise(frame, self.classes, floats=self.floats), expected, url)


@dataclass(frozen=True)
class ByHand:
    """A table that only its users may fetch."""

    hint: str
    """Where to get it, as a clause."""

    def fetch(self) -> Rows:
        """Never returns: the hint as `Unreachable`."""
        raise Unreachable(self.hint)


def download_into(source: Source, folder: Path, task: Task | None) -> None:
    """Writes `folder`/{train,val,test}.csv from a source, all three or none.

    A fifth of the rows goes to test, unless the source has a test set, and `val_share` of the others to val: scikit-learn's
    `train_test_split`, stratified for classification. Seeds and shares were found by trying which give the published parts.

    Raises:
        Unreachable: the source gave no rows.
        BadInput: its rows are not those of the paper, or the folder cannot be written.
    """
    from sklearn.model_selection import train_test_split

    rows = source.fetch()

    def cut(frame: pd.DataFrame, share: float, seed: int) -> list[pd.DataFrame]:
        labels = frame.iloc[:, -1] if task in ("binary", "multiclass") else None
        return train_test_split(frame, test_size=share, random_state=seed, stratify=labels)

    rest, test = cut(rows.rest, TEST_SHARE, rows.test_seed) if rows.test is None else (rows.rest, rows.test)
    train, val = cut(rest, rows.val_share, rows.val_seed)
    try:
        _write(folder, dict(zip(PARTS, (train, val, test), strict=True)))
    except OSError as error:
        raise BadInput(
            f"{folder} must be a folder that can be written, but {error.strerror or error}: "
            "set HARMONIC_DATA_DIR or data_dir to another place."
        ) from None


def rows_digest(frame: pd.DataFrame) -> str:
    """SHA-256 of a table's sorted CSV lines under its header: equal for equal rows in whatever order and number type."""
    numbers = {name: "float64" for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name])}
    header, *lines = frame.astype(numbers).to_csv(index=False, lineterminator="\n").splitlines()
    return hashlib.sha256("\n".join([header, *sorted(lines)]).encode()).hexdigest()


def verify(frame: pd.DataFrame, expected: str, what: str) -> pd.DataFrame:
    """The same rows.

    Raises:
        BadInput: they are not the expected ones; shows both digests.
    """
    found = rows_digest(frame)
    if found != expected:
        raise BadInput(
            f"{what} must give rows of digest {expected}, but its {len(frame)} rows have {found}: the source differs from "
            "the paper's tables, so nothing was written and the three CSVs have to come from elsewhere."
        )
    return frame


def normalise(frame: pd.DataFrame, classes: Mapping[Any, int] | None, *, floats: bool) -> pd.DataFrame:
    """Columns of numbers as numbers, the target (last column) by our class codes; an unknown label becomes an empty cell."""
    columns: dict[str, pd.Series] = {}
    for name in frame.columns:
        values = frame[name].astype(object)
        if classes is not None and name == frame.columns[-1]:
            codes = {str(label): code for label, code in classes.items()}
            values = values.map(lambda label, codes=codes: codes.get(str(label).strip().rstrip(".")))
        numbers = pd.to_numeric(values, errors="coerce")
        if not bool((numbers.isna() & values.notna()).any()):
            is_feature = name != frame.columns[-1]
            values = numbers.astype("float64") if floats and is_feature else numbers
        columns[str(name)] = values
    return pd.DataFrame(columns)


def _ask(what: str, request: Callable[[], Any]) -> Any:
    """What a request returns; every way in which a network fails becomes `Unreachable`."""
    try:
        # scikit-learn warns of each retry; the sentence below is enough.
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            return request()
    # ValueError: scikit-learn's own error for an unknown OpenML id, and its checksum's.
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Unreachable(f"{what} cannot be reached ({reason.rstrip('.')})") from error


def _select(frame: pd.DataFrame, columns: Mapping[str, str], what: str) -> pd.DataFrame:
    lacking = [name for name in columns if name not in frame.columns]
    if lacking:
        raise BadInput(
            f"{what} must have the columns {', '.join(columns)}, but lacks {', '.join(lacking)}: the source has changed, so "
            "the three CSVs have to come from elsewhere."
        )
    return frame[list(columns)].rename(columns=dict(columns))


def _write(folder: Path, parts: Mapping[str, pd.DataFrame]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for part, frame in parts.items():
            frame.to_csv(aside / f"{part}.csv", index=False, lineterminator="\n")
        aside.chmod(0o755)
        try:
            aside.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            for part in parts:  # it is there already, with other files or by another process that was faster
                (aside / f"{part}.csv").replace(folder / f"{part}.csv")
    finally:
        shutil.rmtree(aside, ignore_errors=True)
