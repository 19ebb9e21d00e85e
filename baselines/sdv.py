"""The Synthetic Data Vault's single-table systems (SDV 2.0): Gaussian copula, CTGAN, TVAE, CopulaGAN.

Metadata comes from our schema, so that no column is taken for something else; SDV fills empty cells in by its own rules
(numbers: at random, in the proportion of train). SDV is under the Business Source License; research use is free.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self
from unittest import mock

import pandas as pd

from baselines.exchange import as_numbers_and_texts, as_table, refuse_text
from baselines.quiet import quiet
from harmonic.budget import Budget, check_budget, check_minutes, settle
from harmonic.seed import global_seed
from harmonic.table import load_schema, save_schema, schema_of
from harmonic.table.schema import Schema
from harmonic.training import Clock, progress_bar

TABLE = "table"


@dataclass(frozen=True)
class Epochs:
    """How long a network is trained: for both the epochs and the steps, counted in whole batches of 500 rows. TVAE takes a
    step for what is left of an epoch, too: nearly twice as many on tables of 501 to 999 rows."""

    epochs: int = 0
    steps: int = 0
    batch_size: int = 500

    def of(self, rows: int) -> int:
        """Epochs on a table of so many rows."""
        return max(self.epochs, -(-self.steps // max(1, rows // self.batch_size)))


GAN_BUDGETS: dict[Budget, Epochs] = {"smoke": Epochs(steps=5), "default": Epochs(steps=4000), "published": Epochs(300)}
VAE_BUDGETS: dict[Budget, Epochs] = {"smoke": Epochs(steps=20), "default": Epochs(300, 3000), "published": Epochs(300)}


class _Sdv:
    """What the four share: metadata, seeds, types, a folder."""

    name: str
    class_name: str
    """Of `sdv.single_table`."""
    synthesizer: Any

    def fit(self, train: pd.DataFrame, *, seed: int, work_dir: Path | None = None) -> Self:
        """Learn from train; a run that was killed starts afresh."""
        self.schema = schema_of(train)
        refuse_text(self.schema, self.name)
        self.report: dict[str, Any] = {}
        with global_seed(seed), quiet():
            self._fit({TABLE: as_numbers_and_texts(train, self.schema)})
        return self

    def _fit(self, data: dict[str, pd.DataFrame]) -> None:
        self.synthesizer = self._new()
        self.synthesizer.fit(data)

    def _new(self, **settings: Any) -> Any:
        """SDV's object under our schema."""
        from sdv import single_table

        return getattr(single_table, self.class_name)(_metadata(self.schema), **settings)

    def sample(self, n: int, *, seed: int, work_dir: Path | None = None) -> pd.DataFrame:
        """n rows. SDV seeds itself with a constant; here the seed is the caller's (its discussion 2022)."""
        with global_seed(seed), quiet():
            self.synthesizer.reset_sampling()
            self.synthesizer._set_random_state(seed)
            frame = self.synthesizer.sample(n)[TABLE]
        return as_table(frame, self.schema)

    def save(self, folder: Path) -> None:
        """SDV's own form, which is a pickle: load it only where you made it."""
        self.synthesizer.save(folder / "synthesizer.pkl")
        save_schema(self.schema, folder)

    def load(self, folder: Path) -> Self:
        """Take up what `save` wrote."""
        from sdv.utils import load_synthesizer

        with quiet():
            self.synthesizer = load_synthesizer(folder / "synthesizer.pkl")
        self.schema = load_schema(folder)
        return self


class GaussianCopula(_Sdv):
    """Marginals and a correlation matrix between them (Patki et al. 2016): a second, no training."""

    name = "gaussian_copula"
    class_name = "GaussianCopulaSynthesizer"


class _Network(_Sdv):
    """A system with a network that is trained for some epochs.

    Args:
        budget: smoke, default or published, see `Epochs`; published is SDV's 300 epochs.
        epochs: instead of the budget's epochs and steps.
        max_minutes: end training after this long, at a whole epoch.
    """

    budgets = GAN_BUDGETS

    def __init__(self, budget: Budget | None = None, epochs: int | None = None, max_minutes: float | None = None) -> None:
        self.budget, self.epochs, self.max_minutes = check_budget(budget), epochs, check_minutes(max_minutes)
        self.recipe = settle(budget, self.budgets, epochs=epochs)

    def _fit(self, data: dict[str, pd.DataFrame]) -> None:
        epochs = self.recipe.of(len(data[TABLE]))
        self.synthesizer = self._new(epochs=epochs, batch_size=self.recipe.batch_size, enable_gpu=True)
        with progress_bar(self.name, epochs, unit="epoch") as bar:
            done = _train(self.synthesizer, data, bar, self.max_minutes)
        self.report = {"recipe": asdict(self.recipe), "epochs": epochs, "epochs_done": done, "max_minutes": self.max_minutes}


class Ctgan(_Network):
    """A conditional GAN with mode-specific normalisation (Xu et al. 2019)."""

    name = "ctgan"
    class_name = "CTGANSynthesizer"


class CopulaGan(_Network):
    """CTGAN on columns made Gaussian by their marginals: SDV's own, not published elsewhere."""

    name = "copulagan"
    class_name = "CopulaGANSynthesizer"


class Tvae(_Network):
    """A variational autoencoder on CTGAN's encoding (Xu et al. 2019)."""

    name = "tvae"
    class_name = "TVAESynthesizer"
    budgets = VAE_BUDGETS


def _metadata(schema: Schema) -> Any:
    from sdv.metadata import Metadata

    columns = {column.name: {"sdtype": "numerical" if column.is_numeric else "categorical"} for column in schema.columns}
    return Metadata.load_from_dict({"tables": {TABLE: {"columns": columns}}})


class _TimeIsUp(Exception):
    """Raised out of SDV's training loop, which knows no other end than its last epoch."""


def _train(synthesizer: Any, data: dict[str, pd.DataFrame], bar: Any, max_minutes: float | None) -> int:
    """Fit, with a bar and a clock that SDV lacks: its networks write down a loss after each epoch, and that is heard here.

    Returns:
        Epochs done.
    """
    from sdv.single_table import ctgan

    clock, done = Clock(max_minutes), 0

    def after_epoch() -> None:
        nonlocal done
        done += 1
        bar.update(1)
        if clock.is_up:
            raise _TimeIsUp

    def heard(network: type) -> type:
        def set_and_tell(self: Any, name: str, value: Any) -> None:
            object.__setattr__(self, name, value)
            if name == "loss_values" and value is not None and len(value):
                after_epoch()

        return type(network.__name__, (network,), {"__setattr__": set_and_tell})

    networks = {name: getattr(ctgan, name) for name in ("CTGAN", "TVAE")}
    listeners: Any = {name: heard(network) for name, network in networks.items()}
    with mock.patch.multiple(ctgan, **listeners):
        try:
            synthesizer.fit(data)
        except _TimeIsUp:
            synthesizer._fitted = True
    model = synthesizer._model
    model.__class__ = networks[type(model).__name__]  # the plain class again, which can be saved
    return done
