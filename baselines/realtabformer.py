"""REaLTabFormer: a GPT-2 with random weights over the digits and categories of rows (Solatorio and Dupriez 2023).

The authors' package. What it trips over on transformers 5 (its thread 103) is avoided from outside: one training argument
that no longer exists is taken out, a folder is given as text, and whole models are not saved while the bootstrap trains.
"""

import contextlib
import io
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch

from baselines.exchange import as_numbers_and_texts, as_table, refuse_text
from baselines.quiet import quiet
from baselines.watch import Watch
from harmonic.budget import Budget, check_budget, check_minutes, settle, total_steps
from harmonic.errors import SamplingFailed
from harmonic.seed import global_seed
from harmonic.table import load_schema, save_schema, schema_of
from harmonic.table.schema import Column, Schema
from harmonic.training import Compute, progress_bar

GONE = "overwrite_output_dir"
"""Training argument that transformers 5 no longer has and the package still passes."""
EMPTY = "k"
"""Stands for an empty cell of a category: under pandas 3 the package sorts its own mark for one among texts, and fails."""
MODEL = "model"
SCORED_ROWS = 256


@dataclass(frozen=True)
class Recipe:
    """Network and training."""

    layers: int = 4
    width: int = 192
    heads: int = 6
    steps: int = 0
    """It trains until both the steps and the epochs are done."""
    epochs: int = 0
    batch_size: int = 32
    accumulate: int = 1
    learning_rate: float = 1e-3


BUDGETS: dict[Budget, Recipe] = {
    "smoke": Recipe(layers=2, width=64, heads=2, steps=150, batch_size=16, learning_rate=3e-3),
    "default": Recipe(steps=400, epochs=2),
    "published": Recipe(layers=6, width=768, heads=12, epochs=1000, batch_size=8, accumulate=4, learning_rate=5e-5),
}
"""Published is the package's own setting, meant to be ended by its bootstrap."""


class RealTabFormer:
    """REaLTabFormer as a `Synthesizer`; columns in table order, a token for each digit and each category.

    Rows are drawn from the 50 likeliest tokens, which transformers does unasked: a column of more categories loses its tail.

    Args:
        budget: smoke, default or published, see `BUDGETS`.
        epochs: instead of the budget's.
        bootstrap: end training where the package's bootstrap of distances says that rows are being copied; None for what
            the budget does (published alone uses it).
        max_minutes: end training after this long; the bootstrap's rounds before it cannot be cut short.
        max_tries: rows written for each one wanted before giving up.
        compute: device; a run that was killed starts afresh.
    """

    version = 2
    """Of training: the second draws batches and dropout from the seed, too, and not the weights alone."""

    def __init__(
        self,
        budget: Budget | None = None,
        epochs: int | None = None,
        bootstrap: bool | None = None,
        max_minutes: float | None = None,
        max_tries: int = 10,
        compute: Compute | None = None,
    ) -> None:
        self.budget, self.epochs, self.max_minutes = check_budget(budget), epochs, check_minutes(max_minutes)
        self.recipe = settle(budget, BUDGETS, epochs=epochs)
        self.bootstrap, self.max_tries = bootstrap, max_tries
        self.compute = compute or Compute()
        self.report: dict[str, Any] = {}

    @property
    def _uses_bootstrap(self) -> bool:
        return self.budget == "published" if self.bootstrap is None else self.bootstrap

    def fit(self, train: pd.DataFrame, *, seed: int, work_dir: Path | None = None) -> Self:
        """Train from random weights."""
        self.schema = schema_of(train)
        refuse_text(self.schema, "realtabformer")
        watch = Watch("realtabformer", self.max_minutes)
        with tempfile.TemporaryDirectory() as folder, global_seed(seed), quiet():
            critics = 5 if self._uses_bootstrap else 0
            settings = (folder, seed, len(train), self._uses_bootstrap)
            self.package = _made(self.recipe, self.schema, watch, self.compute, *settings)
            with contextlib.suppress(_TimeIsUp):
                self.package.fit(
                    self._coded(train), device=self._device, n_critic=critics, gen_kwargs={}, save_full_every_epoch=0
                )
        self._ready()
        self.report = {"recipe": asdict(self.recipe), "bootstrap": self._uses_bootstrap, **watch.close()}
        return self

    @property
    def _device(self) -> str:
        return str(self.compute.device)

    def _coded(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table under names and categories that the package cannot misread."""
        frame = as_numbers_and_texts(table, self.schema)
        coded = {f"c{place}": _coded(frame[column.name], column) for place, column in enumerate(self.schema.columns)}
        return pd.DataFrame(coded)

    def sample(self, n: int, *, seed: int, work_dir: Path | None = None) -> pd.DataFrame:
        """n rows that the schema accepts; SamplingFailed if too few do."""
        rows: list[pd.DataFrame] = []
        kept = tried = 0
        with global_seed(seed), progress_bar("realtabformer sampling", n) as bar:
            while kept < n:
                if tried >= n * self.max_tries:
                    raise SamplingFailed(
                        f"{n} rows were asked for, but of {tried} tried {kept} obey the schema: train for longer "
                        f"(method.budget, method.epochs), or raise method.max_tries."
                    )
                size = min(max(16, n - kept), 256)
                tried += size
                some = self._batch(size)
                rows.append(some)
                kept += len(some)
                bar.update(min(len(some), n - bar.n))
        self.report |= {"generation": {"tried": tried, "kept": n}}
        table = pd.concat(rows).head(n).reset_index(drop=True)
        return as_table(table, self.schema)

    def _batch(self, size: int) -> pd.DataFrame:
        """Of `size` rows that the package finds readable, those within train's ranges, as numbers and texts."""
        from realtabformer.rtf_exceptions import SampleEmptyLimitError

        with quiet(), contextlib.redirect_stderr(io.StringIO()):
            try:
                written = self.package.sample(
                    n_samples=size, gen_batch=size, device=self._device, continuous_empty_limit=1, save_samples=False
                )
            except SampleEmptyLimitError:
                return pd.DataFrame(columns=self.schema.names)
        return self._decoded(written)

    def _decoded(self, written: pd.DataFrame) -> pd.DataFrame:
        columns, fits = {}, np.ones(len(written), dtype=bool)
        for place, column in enumerate(self.schema.columns):
            values = written[f"c{place}"].reset_index(drop=True)
            if column.is_numeric:
                numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
                empty = np.isnan(numbers)
                fits &= np.where(empty, column.nullable, (numbers >= column.low) & (numbers <= column.high))
                columns[column.name] = pd.Series(numbers)
            else:
                known = {f"k{code}": text for code, text in enumerate(column.categories)}
                texts = values.map(known)
                fits &= texts.notna().to_numpy() | column.nullable
                columns[column.name] = texts.astype(object).where(texts.notna(), None)
        return pd.DataFrame(columns)[fits]

    def log_likelihood(self, rows: pd.DataFrame, *, seed: int, own: np.ndarray | None = None) -> np.ndarray:
        """Log-likelihood of every cell in nats, float64, shape (n, c), columns as in the schema.

        A cell is its tokens (one for a category, its digits for a number), given the columns before it. Nothing is drawn
        and nothing of train is shown, so `seed` and `own` are not used. A digit never seen at its place is the package's
        token for the unknown.
        """
        from realtabformer.data_utils import make_dataset, process_data

        with quiet():
            processed, _ = process_data(self._coded(rows), col_transform_data=self.package.col_transform_data)
            columns = self.package.processed_columns
            ids = torch.tensor(make_dataset(processed[columns], self.package.vocab)["input_ids"][:])
        places = [int(name.split("_")[0]) for name in columns]
        model = self.package.model.to(self.compute.device)
        found = np.zeros((len(rows), len(self.schema.columns)))
        with torch.inference_mode():
            for start in range(0, len(rows), SCORED_ROWS):
                some = ids[start : start + SCORED_ROWS].to(self.compute.device)
                scores = model(input_ids=some).logits[:, :-1].float().log_softmax(-1)
                scored = scores.gather(2, some[:, 1:, None])[:, : len(columns), 0].double().cpu().numpy()
                for token, place in enumerate(places):
                    found[start : start + SCORED_ROWS, place] += scored[:, token]
        return found

    def save(self, folder: Path) -> None:
        """The package's own form, and the schema; its vocabulary holds train's categories and digits, no row."""
        with quiet():
            self.package.full_save_dir = str(self.package.full_save_dir)
            self.package.experiment_id = MODEL
            self.package.save(folder)
        save_schema(self.schema, folder)

    def load(self, folder: Path) -> Self:
        """Take up what `save` wrote."""
        from realtabformer import REaLTabFormer

        self.schema = load_schema(folder)
        with quiet():
            self.package = REaLTabFormer.load_from_dir(folder / MODEL)
        self._ready()
        return self

    def _ready(self) -> None:
        """For sampling: the trainer leaves the cache of keys and values off."""
        self.package.model.eval()
        self.package.model.config.use_cache = self.package.model.generation_config.use_cache = True


class _TimeIsUp(Exception):
    """Raised between two stretches of training, of which the package's bootstrap makes many."""


def _made(
    recipe: Recipe, schema: Schema, watch: Watch, compute: Compute, folder: str, seed: int, rows: int, bootstrap: bool
) -> Any:
    """The package's object, watched. Its bootstrap trains in stretches of epochs, each from the last one's checkpoint."""
    from realtabformer import REaLTabFormer
    from transformers import GPT2Config

    class Watched(REaLTabFormer):
        def _build_tabular_trainer(self, *args: Any, **kwargs: Any) -> Any:
            if watch.clock.is_up and watch.done:
                raise _TimeIsUp
            trainer = super()._build_tabular_trainer(*args, **kwargs)
            trainer.add_callback(watch)
            return trainer

    rows_a_step = recipe.batch_size * recipe.accumulate
    steps, per_epoch = total_steps(recipe.steps, recipe.epochs, rows, rows_a_step), max(1, rows // rows_a_step)
    decimals = [column.places for column in schema.columns if column.kind == "decimal"]
    longest = max((len(text) for column in schema.columns for text in _bounds(column)), default=0)
    package = Watched(
        model_type="tabular",
        tabular_config=GPT2Config(n_layer=recipe.layers, n_embd=recipe.width, n_head=recipe.heads),
        checkpoints_dir=str(Path(folder) / "checkpoints"),
        samples_save_dir=str(Path(folder) / "samples"),
        full_save_dir=str(Path(folder) / "full"),
        epochs=-(-steps // per_epoch),
        batch_size=recipe.batch_size,
        random_state=seed,
        seed=seed,
        numeric_precision=max([4, *decimals]),
        numeric_max_len=max(10, longest),
        gradient_accumulation_steps=recipe.accumulate,
        learning_rate=recipe.learning_rate,
        logging_steps=50,
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        use_cpu=compute.device.type == "cpu",
        **({"save_strategy": "steps"} if bootstrap else {"save_strategy": "no", "max_steps": steps}),
    )
    package.training_args_kwargs.pop(GONE)
    return package


def _bounds(column: Column) -> list[str]:
    """Texts of a number column's ends."""
    ends = [end for end in (column.low, column.high) if end is not None]
    return [f"{end:.{max(4, column.places)}f}" for end in ends] if column.is_numeric else []


def _coded(values: pd.Series, column: Column) -> pd.Series:
    if column.is_numeric:
        return values
    codes = {text: f"k{code}" for code, text in enumerate(column.categories)}
    return values.map(codes).astype(object).where(values.notna(), EMPTY)
