"""Data sets by name: each YAML of conf/dataset is one."""

from pathlib import Path
from typing import Any

import yaml

from harmonic import env
from harmonic.build import build
from harmonic.datasets.sources import Bundled, File, Folder
from harmonic.errors import BadInput
from harmonic.table import Split

CONF = Path(__file__).parent.parent.parent / "conf" / "dataset"


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


def configured(name: str, data_dir: str | Path | None = None) -> Folder | Bundled | File:
    """The data set that conf/dataset/<name>.yaml configures, not loaded yet."""
    known = known_names()
    if name not in known:
        raise BadInput(
            f"A data set must be a path to a .csv or .parquet file or one of {', '.join(known)}, but is {name!r}: "
            f"correct it."
        )
    folder = str(data_dir or env.data_dir())
    return build(_with_folder(yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8")), folder))


def known_names() -> list[str]:
    """Names of the configured data sets, sorted; `csv` needs a path and is not among them."""
    return sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "csv")


def _with_folder(node: Any, data_dir: str) -> Any:
    """A YAML's content with the data folder in place of its interpolation."""
    if isinstance(node, dict):
        return {key: _with_folder(value, data_dir) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_folder(value, data_dir) for value in node]
    return data_dir if node == "${data_dir}" else node
