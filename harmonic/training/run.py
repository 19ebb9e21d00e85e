"""A training run from its first batch, or from where a kill left it, to its last or to the end of its time."""

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader

from harmonic.distributed import place
from harmonic.training.callbacks import Clock, Finite, Progress
from harmonic.training.compute import Compute
from harmonic.training.resume import Batch, Checkpoints, Resumable, Stream, resume_point
from harmonic.training.sharding import Sharding

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message=".*LeafSpec.*")
warnings.filterwarnings("ignore", message=".*does not have many workers.*")
warnings.filterwarnings("ignore", message="The `srun` command is available.*")


def quiet_trainer(compute: Compute, callbacks: Sequence[Callback], **settings: Any) -> lightning.Trainer:
    """A trainer for one pass over a stream that is all of a run: its callbacks do the talking and the saving."""
    return lightning.Trainer(
        accelerator="gpu" if compute.device.type == "cuda" else compute.device.type,
        **_layout(compute),
        precision=compute.resolved_precision,
        max_epochs=1,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **settings,
    )


def _layout(compute: Compute) -> dict[str, Any]:
    """The trainer's processes: those of the group that is at work, or this one alone."""
    processes = place()[1]
    if processes == 1:  # a job of a cluster is one process here, and its signals are not Lightning's
        return {"devices": 1, "plugins": [LightningEnvironment()]}
    here = int(os.environ["LOCAL_WORLD_SIZE"])
    return {
        "devices": here,
        "num_nodes": processes // here,
        "strategy": Sharding() if compute.strategy == "fsdp" else DDPStrategy(),
        "plugins": [TorchElasticEnvironment()],
    }


def fit_stream(
    trainer: lightning.Trainer, module: lightning.LightningModule, loader: DataLoader, checkpoint: Path | None
) -> None:
    """Train on what is left of a stream, from the checkpoint it stopped at; Ctrl-C is a KeyboardInterrupt."""
    try:
        trainer.fit(module, loader, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as stop:  # what Lightning makes of a Ctrl-C
        raise KeyboardInterrupt from stop


def loss_curve(losses: Sequence[float], points: int = 50) -> list[float]:
    """Losses of a run in at most so many means, for the record."""
    return [float(np.mean(part)) for part in np.array_split(losses, min(points, len(losses)))]


@dataclass(frozen=True)
class Run:
    """How a training run went."""

    batches: int
    """Planned."""
    done: int
    """Of these; fewer where the time was up."""
    minutes: float
    tokens: int
    """Read; 0 for what reads none."""

    def report(self, max_minutes: float | None) -> dict[str, Any]:
        """For the record, where costs stand elsewhere."""
        report = {"batches": self.batches, "batches_done": self.done, "max_minutes": max_minutes}
        return {**report, "tokens_fit": self.tokens} if self.tokens else report


def train(
    module: Resumable,
    make: Callable[[int], Batch],
    sizes: Sequence[int],
    compute: Compute,
    *,
    what: str,
    unit: str = "row",
    work_dir: Path | None,
    max_minutes: float | None,
    **settings: Any,
) -> Run:
    """Train a module in place on the batches of a run, each known by its number.

    Args:
        module: the module; it writes down a loss for each batch.
        make: number to batch.
        sizes: rows of each batch, or whatever the bar counts.
        compute: device, precision and checkpoint interval.
        what: the bar's name.
        unit: what the bar counts.
        work_dir: where checkpoints go, and where a run that was killed is taken up again; none are written without it.
        max_minutes: when to stop, whatever is left; None for never.
        settings: of the Lightning trainer.

    Raises:
        BadInput: a loss is no number.
    """
    checkpoint, start = resume_point(work_dir)
    clock = Clock(max_minutes)
    callbacks: list[Callback] = [Finite(what), Progress(what, unit, sizes, start), clock]
    if work_dir is not None:
        work_dir.mkdir(parents=True, exist_ok=True)
        callbacks.append(Checkpoints(work_dir, compute.checkpoint_minutes))
    trainer = quiet_trainer(compute, callbacks, **settings)
    module.train()
    with torch.random.fork_rng(devices=[compute.device] if compute.device.type == "cuda" else []):  # batches seed it
        fit_stream(trainer, module, DataLoader(Stream(make, start, len(sizes)), batch_size=None), checkpoint)
    module.eval()
    return Run(len(sizes), len(module.losses), clock.minutes, module.tokens)
