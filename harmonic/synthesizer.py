"""What a method is, HARMONIC and the baselines alike: a contract to keep, not a class to inherit from."""

import copy
from pathlib import Path
from typing import Any, Protocol, Self

import pandas as pd

from harmonic.seed import derive_seed


class Synthesizer(Protocol):
    """A generator of tables.

    The object holds its configuration and what it learnt; tables, seeds and folders are passed to it. What a method may
    have besides:

    * `report`, a dictionary that goes into the record (losses, generation counts; of language models `tokens_fit` and
      `tokens_sample`, from which the runner makes speeds);
    * `recipe`, a dataclass: what its budget stands for, as part of the result's meaning;
    * `version` and `sampling_version`, raised when its code learns or writes other rows from the same configuration, so that
      older results are not taken for new ones;
    * `digest_inputs()`, names and SHA-256 of files of its own that it reads: other contents are another result;
    * `rows`, how many it holds: all are scored unless n_samples says otherwise;
    * `learns_from = "val"`: it is fitted on validation rows;
    * `shares = True`: the processes of `harmonic.distributed` may call `fit` and `sample` together, and share the work;
    * `prompt_rows`, int64, shape (n, k), once `sample` has returned n rows: numbers of the train rows that the prompt of
      each was made of, none where k is 0; None before. The runner keeps it with the rows. Methods without prompts have none;
    * `prompt_drawn`, bool, of the same shape: those of them of which a cell stood there, where chance alone decided which;
      None where all did, or where it is not known;
    * `log_likelihood(rows, *, seed, own=None)` and `text_log_likelihoods(texts)`, see `harmonic.method.Harmonic`;
    * `start(train, seed)`, everything of `fit` but the training: what pre-training knows of a table.
    """

    def fit(self, train: pd.DataFrame, *, seed: int, work_dir: Path | None = None) -> Self:
        """Learn from train; what must survive a kill is kept in `work_dir`."""
        ...

    def sample(self, n: int, *, seed: int, work_dir: Path | None = None) -> pd.DataFrame:
        """Exactly n valid rows, or an error; what must survive a kill is kept in `work_dir`."""
        ...

    def save(self, folder: Path) -> None:
        """Write what was learnt into an existing empty folder."""
        ...

    def load(self, folder: Path) -> Self:
        """Take up what `save` wrote."""
        ...


def before_learning(synthesizer: Any, train: pd.DataFrame, seed: int) -> Any | None:
    """The same method as it is before it has learnt from train; None for one that has no `start`."""
    if not hasattr(synthesizer, "start"):
        return None
    return copy.copy(synthesizer).start(train, derive_seed(seed, "start"))
