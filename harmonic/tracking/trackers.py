"""The trackers: frozen options with `show(record, synthetic)`, which never raises, and `send`, which works elsewhere."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, Literal

from harmonic.build import TARGET, build, target_of
from harmonic.errors import BadInput, check_at_least, check_choice, check_count
from harmonic.record import Cell, Record
from harmonic.store import check_writable
from harmonic.tracking import apart, view

Mode = Literal["online", "offline"]

LONGEST_TAG = 64
"""Characters; W&B refuses a run with a longer one."""


@dataclass(frozen=True)
class Wandb:
    """Weights & Biases: one run per cell, with configuration, loss curve, scores, costs and the first rows.

    A run's id is made of its cell, so that a cell shown again updates its run. Online, W&B resumes it; offline, every time
    leaves a folder, of which the first alone holds the curve, because `wandb sync` appends curves and replaces the rest. A
    cell that failed before its rows were known has a key of its own, and so a run of its own. A run that was deleted in W&B
    is refused by its server for good.

    W&B is told to leave alone the code, the repository, the console, the packages and the machine; absolute paths are cut
    down to their last name. What it sends all the same: its own version, Python's, the platform, which known libraries are
    loaded, the hour, and the account whose key it finds.
    """

    project: str
    mode: Mode = "online"
    """Offline needs no account; `wandb sync` uploads later."""
    folder: str = "outputs"
    """Where W&B keeps its files, in both modes."""
    entity: str | None = None
    """User or team; None for the account's own."""
    table_rows: int = 200
    """How many synthetic rows are shown, never those of `view.REAL_ROWS`; 0 for none."""
    timeout_s: float = 60.0
    """After how long a cell is given up, start of the process included."""

    def __post_init__(self) -> None:
        check_choice("logger.mode", self.mode, Mode)
        check_count("logger.table_rows", self.table_rows, 0)
        check_at_least("logger.timeout_s", self.timeout_s, 1)
        apart.check_installed("W&B", "wandb")

    def show(self, record: Record, synthetic: Path | None = None) -> None:
        """Send a record and the first rows of its table; what goes wrong on the way is told in one line and forgotten."""
        apart.show("W&B", self, record, synthetic)

    def send(self, record: Record, synthetic: Path | None) -> None:
        """What `show` does in a process of its own; raises whatever goes wrong."""
        check_writable("logger.folder", Path(self.folder))
        Path(self.folder).mkdir(parents=True, exist_ok=True)  # W&B would turn to another one without a word
        for kind in ("DATA", "CACHE"):
            os.environ.setdefault(f"WANDB_{kind}_DIR", str(Path(self.folder, "wandb", kind.lower()).absolute()))
        import wandb

        cell, name = record.cell, view.identity(record.cell)
        resumed = any(Path(self.folder, "wandb").glob(f"offline-run-*-{name}-*")) and self.mode == "offline"
        run = wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,
            dir=self.folder,
            id=name,
            resume="allow" if self.mode == "online" else None,
            name=f"{cell.dataset}/{cell.method}/{cell.model}/seed{cell.seed}",
            group=cell.dataset,
            job_type=cell.method,
            tags=[tag[:LONGEST_TAG] for tag in (cell.method, cell.model, record.status)],
            config=view.config(record),
            settings=self._settings(),
        )
        run.define_metric("fit/loss", step_metric="fit/step")
        summary = {**view.outcome(record), **view.numbers(record)}
        for place, (step, loss) in enumerate(view.loss_curve(record)):
            summary["fit/loss"] = loss
            if not resumed:  # online, W&B itself leaves a place alone that the run has already
                run.log({"fit/step": step, "fit/loss": loss}, step=place)
        rows = view.first_rows(record, synthetic, self.table_rows)
        if rows is not None:
            summary["synthetic"] = wandb.Table(dataframe=rows)
        run.summary.update(summary)
        run.finish(exit_code=0 if record.status == "done" else 1)

    def _settings(self) -> Any:
        """Quiet, discreet, and at an end before the process is ended from outside."""
        import wandb

        return wandb.Settings(
            silent=True,
            console="off",
            symlink=False,
            use_dot_wandb=False,
            program="run.py",
            disable_code=True,
            disable_git=True,
            save_code=False,
            label_disable=True,
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
            x_sync_dir_suffix=str(os.getpid()),  # two processes may show one cell in the same second
            init_timeout=0.4 * self.timeout_s,
            finish_timeout=0.4 * self.timeout_s,
            finish_timeout_raises=True,
        )


@dataclass(frozen=True)
class Lightning:
    """Any logger of Lightning's, made anew for each cell: configuration as hyperparameters, curve and scores as metrics.

    In the texts of `options`, {dataset}, {method}, {model}, {seed} and {key} (eight letters) stand for the cell's, {id} for
    all of them at once. A name that holds them keeps cells apart that run at the same time, which Lightning's own numbering
    of versions does not: two processes that look at a folder together take the same number.
    """

    target: str
    """The class, as lightning.pytorch.loggers.CSVLogger."""
    options: Mapping[str, Any]
    """What its constructor takes."""
    needs: str = "lightning"
    """The package behind it."""
    timeout_s: float = 60.0
    """After how long a cell is given up, start of the process included."""

    def __post_init__(self) -> None:
        check_at_least("logger.timeout_s", self.timeout_s, 1)
        try:
            options = view.filled(self.options, Cell("", "", "", 0, ""))
        except (KeyError, ValueError, IndexError) as error:
            raise BadInput(
                "logger.options may hold {dataset}, {method}, {model}, {seed}, {key} and {id} in braces, but there is "
                f"{error}: correct it."
            ) from None
        target = target_of({TARGET: self.target})
        try:
            signature(target).bind(**options)
        except TypeError as error:
            known = ", ".join(signature(target).parameters)
            raise BadInput(f"logger.options must be {self.target}'s ({known}), but there is {error}: correct it.") from None
        apart.check_installed(self.target, self.needs)

    def show(self, record: Record, synthetic: Path | None = None) -> None:
        """Hand over a record; what goes wrong on the way is told in one line and forgotten."""
        apart.show(self.target, self, record, None)

    def send(self, record: Record, synthetic: Path | None) -> None:
        """What `show` does in a process of its own; raises whatever goes wrong."""
        logger = build({TARGET: self.target, **view.filled(self.options, record.cell)})
        logger.log_hyperparams({**view.config(record), **view.outcome(record)})
        curve = view.loss_curve(record)
        for step, loss in curve:
            logger.log_metrics({"fit/loss": loss}, step=step)
        logger.log_metrics(view.numbers(record), step=curve[-1][0] if curve else 0)
        logger.finalize("success" if record.status == "done" else "failed")
