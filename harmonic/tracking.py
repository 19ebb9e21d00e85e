"""Where a record may be shown besides its file: never the source of truth, never the cause of a failure."""

import logging
from dataclasses import asdict
from typing import Literal

from harmonic.record import Record

log = logging.getLogger(__name__)


class Wandb:
    """Weights & Biases: one run per cell, with configuration, loss curve, scores and costs.

    Args:
        project: the W&B project.
        mode: online, or offline (needs no account; `wandb sync` uploads later).
        folder: where W&B keeps its files.
    """

    def __init__(self, project: str, mode: Literal["online", "offline"] = "online", folder: str = "outputs") -> None:
        self.project = project
        self.mode: Literal["online", "offline"] = mode
        self.folder = folder

    def show(self, record: Record) -> None:
        """Send a record; what goes wrong on the way is logged and forgotten."""
        try:
            self._show(record)
        except Exception as error:
            log.warning("W&B did not take the record (%s); it is safe in its file", error)

    def _show(self, record: Record) -> None:
        import wandb

        cell = asdict(record.cell)
        run = wandb.init(
            project=self.project,
            mode=self.mode,
            dir=self.folder,
            name=f"{cell['dataset']}/{cell['method']}/{cell['model']}/seed{cell['seed']}",
            config={"cell": cell, **record.config},
            reinit="finish_previous",
            settings=wandb.Settings(silent=True),
        )
        for place, loss in enumerate(record.fit.get("losses", [])):
            run.log({"fit/loss": loss}, step=place)
        run.summary.update({"status": record.status, **record.values, **record.costs})
        run.finish(exit_code=0 if record.status == "done" else 1)
