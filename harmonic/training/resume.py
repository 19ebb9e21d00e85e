"""What makes a run that was killed go on as if it had not been: streams known by number, and checkpoints that are whole."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import IterableDataset, get_worker_info

from harmonic.distributed import agreed, gathered, place
from harmonic.seed import derive_seed

log = logging.getLogger(__name__)

CHECKPOINT = "last.ckpt"
Batch = Any


class Resumable(lightning.LightningModule):
    """A module whose every batch draws from a random stream of its own, so that a resumed run is the unbroken one."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.losses: list[float] = []
        """Of each batch."""
        self.tokens = 0
        """Read so far, padding left out; 0 for what reads none."""

    def note(self, loss: float | None, tokens: int) -> None:
        """Write down a batch's loss, None where this process had none, and its tokens; with those of other processes."""
        for other, read in gathered((loss, tokens)):
            self.tokens += read
            if other is not None:
                self.losses.append(other)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Noise and dropout depend on the batch's number alone."""
        rank, processes = place()
        torch.manual_seed(derive_seed(self.seed, "batch", batch_idx * processes + rank))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the loss curve, the count of tokens, and how many processes share the batches."""
        checkpoint.update(losses=self.losses, tokens=self.tokens, processes=place()[1])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them up where they were left; Lightning's count of batches becomes that of as many processes as there are."""
        self.losses, self.tokens = list(checkpoint["losses"]), checkpoint["tokens"]
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        for counts in (progress["total"], progress["current"]):
            more = counts["ready"] * _processes_of(checkpoint) // place()[1] - counts["ready"]
            counts.update({name: count + more for name, count in counts.items()})


class Stream(IterableDataset):
    """The batches of a run from `start` on, in order, however many worker processes of a loader share them.

    Where several processes share a run, they take turns. All have as many, so the numbers of the last may lie beyond `stop`:
    `make` must know what to do with those.
    """

    def __init__(self, make: Callable[[int], Batch], start: int, stop: int) -> None:
        self.make, self.start, self.stop = make, start, stop
        self.rank, self.processes = place()

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()  # a loader takes one batch from each worker in turn
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        starts = range(self.start, self.stop, self.processes)[first::step]
        return (self.make(number + self.rank) for number in starts)


class Checkpoints(Callback):
    """Every few minutes, one checkpoint, written aside and renamed: a kill leaves the old one or the new one whole."""

    def __init__(self, folder: Path, minutes: float) -> None:
        self.folder, self.seconds = folder, minutes * 60
        self.last = time.monotonic()

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Save where the time has come and an optimiser step is whole."""
        if not step_is_whole(trainer) or not agreed(time.monotonic() - self.last >= self.seconds):
            return
        aside = agreed(self.folder / f"{CHECKPOINT}.{os.getpid()}")
        trainer.save_checkpoint(aside)
        if trainer.is_global_zero:
            with aside.open("rb") as written:
                os.fsync(written.fileno())
            aside.replace(self.folder / CHECKPOINT)
        self.last = time.monotonic()


def step_is_whole(trainer: lightning.Trainer) -> bool:
    """Whether the batch that is done was an optimiser step's last."""
    return (trainer.fit_loop.epoch_loop.batch_idx + 1) % trainer.accumulate_grad_batches == 0


def _processes_of(checkpoint: dict[str, Any]) -> int:
    """Among how many processes the run's batches were shared."""
    return int(checkpoint.get("processes", 1))


def resume_point(work_dir: Path | None) -> tuple[Path | None, int]:
    """The checkpoint that `Checkpoints` left in a folder, and the number of the batch to go on with; None and 0 without.

    One that cannot be read is removed.
    """
    if work_dir is None or not (work_dir / CHECKPOINT).exists():
        return None, 0
    checkpoint = work_dir / CHECKPOINT
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, UnpicklingError):
        log.warning("%s cannot be read, and training begins anew", checkpoint)
        checkpoint.unlink(missing_ok=True)
        return None, 0
    progress = content["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    return checkpoint, progress["current"]["ready"] * _processes_of(content)
