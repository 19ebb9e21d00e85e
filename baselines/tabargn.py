"""TabularARGN: an autoregressive network over discretised columns (Tiwald et al. 2025), by MOSTLY AI's engine, an extra."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self
from unittest import mock

import pandas as pd

from baselines.exchange import as_numbers_and_texts, as_table, refuse_text
from baselines.quiet import quiet
from harmonic.budget import Budget, check_budget, check_minutes, settle
from harmonic.errors import BadInput
from harmonic.seed import global_seed
from harmonic.table import load_schema, save_schema, schema_of
from harmonic.training import Compute

INSTALL = "pip install -r requirements-tabargn.txt --no-deps"
WORKSPACE = "workspace"
PROGRESS = "ModelStore/model-data/progress-messages.csv"
"""Where the engine writes down how far its training is."""


@dataclass(frozen=True)
class Recipe:
    """How long it is trained; it stops by itself where a validation loss stands still."""

    epochs: float = 100.0


BUDGETS: dict[Budget, Recipe] = {"smoke": Recipe(1.0), "default": Recipe(), "published": Recipe()}
"""The engine's own settings take minutes on two cores, so that default and published are one."""


class TabArgn:
    """TabularARGN as a `Synthesizer`, with the engine's protection of rare values on.

    Args:
        budget: smoke, default or published, see `BUDGETS`.
        epochs: instead of the budget's.
        max_minutes: end training after this long.
        compute: device; a run that was killed starts afresh.
    """

    def __init__(
        self,
        budget: Budget | None = None,
        epochs: float | None = None,
        max_minutes: float | None = None,
        compute: Compute | None = None,
    ) -> None:
        self.budget, self.epochs, self.max_minutes = check_budget(budget), epochs, check_minutes(max_minutes)
        self.recipe = settle(budget, BUDGETS, epochs=epochs)
        self.compute = compute or Compute()
        self.report: dict[str, Any] = {}

    def fit(self, train: pd.DataFrame, *, seed: int, work_dir: Path | None = None) -> Self:
        """Train in a workspace of the engine's."""
        self.schema = schema_of(train)
        refuse_text(self.schema, "tabargn")
        self.folder = tempfile.TemporaryDirectory()
        self.engine = self._engine(Path(self.folder.name), seed)
        with _seeded(seed):
            self.engine.fit(as_numbers_and_texts(train, self.schema))
        last = pd.read_csv(Path(self.folder.name) / PROGRESS).iloc[-1]
        done = {"epochs_done": float(last["epoch"]), "steps_done": int(last["steps"])}
        self.report = {"recipe": asdict(self.recipe), **done, "max_minutes": self.max_minutes}
        return self

    def _engine(self, workspace: Path, seed: int) -> Any:
        try:
            from mostlyai.engine import TabularARGN
        except ImportError as error:
            raise BadInput(f"method=tabargn needs mostlyai-engine, but it cannot be loaded ({error}): {INSTALL}.") from None
        kinds = {
            column.name: "TABULAR_NUMERIC_AUTO" if column.is_numeric else "TABULAR_CATEGORICAL"
            for column in self.schema.columns
        }
        return TabularARGN(
            max_epochs=self.recipe.epochs,
            max_training_time=14_400.0 if self.max_minutes is None else self.max_minutes,
            tgt_encoding_types=kinds,
            device=str(self.compute.device),
            workspace_dir=str(workspace),
            random_state=seed,
        )

    def sample(self, n: int, *, seed: int, work_dir: Path | None = None) -> pd.DataFrame:
        """n rows; a rare category that was protected is another one, drawn."""
        self.engine.random_state = seed
        with _seeded(seed):
            frame = self.engine.sample(n, rare_category_replacement_method="SAMPLE")
        return as_table(frame, self.schema)

    def save(self, folder: Path) -> None:
        """The engine's workspace, which holds train: the folder is as private as train."""
        shutil.copytree(self.folder.name, folder / WORKSPACE)
        save_schema(self.schema, folder)

    def load(self, folder: Path) -> Self:
        """Take up what `save` wrote; sampling works in a copy."""
        self.schema = load_schema(folder)
        self.folder = tempfile.TemporaryDirectory()
        shutil.copytree(folder / WORKSPACE, self.folder.name, dirs_exist_ok=True)
        self.engine = self._engine(Path(self.folder.name), 0)
        self.engine._fitted, self.engine._feature_names = True, self.schema.names
        return self


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seeds the engine, and takes back the environment variable by which it seeds its workers."""
    with mock.patch.dict(os.environ), global_seed(seed), quiet():
        yield
