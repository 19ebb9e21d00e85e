"""What everything that is trained shares: a device, a bar, a clock, and a run that survives a kill bit for bit."""

import logging
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from tqdm import tqdm

from harmonic.distributed import Strategy, agreed, gathered, leads, place
from harmonic.errors import BadInput, check_at_least, check_choice
from harmonic.seed import derive_seed
from harmonic.sharding import Sharding

log = logging.getLogger(__name__)
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message=".*LeafSpec.*")
warnings.filterwarnings("ignore", message=".*does not have many workers.*")
warnings.filterwarnings("ignore", message="The `srun` command is available.*")

CHECKPOINT = "last.ckpt"
LARGE = 1_000_000_000
"""Parameters of a model that is worth compiling."""
Accelerator = Literal["auto", "cpu", "gpu"]
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true"]
Batch = Any


@dataclass(frozen=True)
class Compute:
    """Where and how a language model runs (the `trainer` group)."""

    accelerator: Accelerator = "auto"
    precision: Precision = "auto"
    """Lightning's; auto is bf16-mixed where the device computes in bfloat16, else 32-true."""
    checkpoint_minutes: float = 2.0
    """What a kill costs at most."""
    compile: bool | Literal["auto"] = "auto"
    """Whether fine-tuning compiles a model's layers; auto does on a GPU from a billion parameters on, where a minute once
    takes two fifths off every step, but not with four-bit weights."""

    strategy: Strategy = "single"
    """single: one process. Under torchrun, ddp: each process has the whole model and a share of every optimiser step's
    batches; fsdp: layers are cut among the processes too."""

    def __post_init__(self) -> None:
        check_choice("trainer.strategy", self.strategy, Strategy)
        check_choice("trainer.precision", self.precision, Precision)
        check_choice("trainer.accelerator", self.accelerator, Accelerator)
        check_at_least("trainer.checkpoint_minutes", self.checkpoint_minutes, 0)
        if self.compile not in (True, False, "auto"):
            raise BadInput(f"trainer.compile must be auto, true or false, but is {self.compile}: correct it.")

    @property
    def device(self) -> torch.device:
        """The device tensors live on."""
        if self.accelerator == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self.accelerator == "gpu" and not torch.cuda.is_available():
            raise BadInput("trainer.accelerator=gpu needs a GPU that torch can use, but there is none: use trainer=auto.")
        return torch.device("cuda" if self.accelerator == "gpu" else "cpu")

    @property
    def resolved_precision(self) -> str:
        """The Lightning precision in use."""
        if self.precision != "auto":
            return self.precision
        if self.device.type == "cuda":
            return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
        return "bf16-mixed" if self.device.type == "cpu" and torch.cpu._is_avx512_bf16_supported() else "32-true"

    def compiles(self, model: torch.nn.Module) -> bool:
        """Whether this model's layers are compiled for training."""
        if self.compile != "auto":
            return bool(self.compile)
        large = sum(weight.numel() for weight in model.parameters()) >= LARGE
        return self.device.type == "cuda" and large and not getattr(model, "is_loaded_in_4bit", False)

    def autocast(self) -> torch.autocast:
        """The precision of training, for inference."""
        precision = self.resolved_precision
        dtype = torch.float16 if precision.startswith("16") else torch.bfloat16
        return torch.autocast(self.device.type, dtype, enabled=not precision.startswith("32"))


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
        if not _step_is_whole(trainer) or not agreed(time.monotonic() - self.last >= self.seconds):
            return
        aside = agreed(self.folder / f"{CHECKPOINT}.{os.getpid()}")
        trainer.save_checkpoint(aside)
        if trainer.is_global_zero:
            with aside.open("rb") as written:
                os.fsync(written.fileno())
            aside.replace(self.folder / CHECKPOINT)
        self.last = time.monotonic()


def _step_is_whole(trainer: lightning.Trainer) -> bool:
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


def check_loss(what: str, loss: float, number: int) -> None:
    """BadInput where training has diverged: the loss of this batch or step, counted from 1, is no number."""
    if not math.isfinite(loss):
        raise BadInput(
            f"{what} has diverged: loss {number} is no number; lower the learning rate, or set trainer.precision=32-true."
        )


class _Finite(Callback):
    """Ends a run that has diverged, before a checkpoint keeps it."""

    def __init__(self, what: str) -> None:
        self.what = what

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, *_: Any) -> None:
        check_loss(self.what, module.losses[-1], len(module.losses))


class Clock(Callback):
    """Ends a run when its time is up, at a whole optimiser step; minutes before a kill count."""

    def __init__(self, max_minutes: float | None) -> None:
        self.limit = float("inf") if max_minutes is None else max_minutes
        self.before = 0.0
        self.started = time.monotonic()

    @property
    def minutes(self) -> float:
        """Of training so far."""
        return self.before + (time.monotonic() - self.started) / 60

    @property
    def is_up(self) -> bool:
        """Whether the run must end."""
        return self.minutes >= self.limit

    def on_train_start(self, *_: Any) -> None:
        """Count from here."""
        self.started = time.monotonic()

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Stop where the time is up."""
        if _step_is_whole(trainer) and agreed(self.is_up):
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """The minutes, for a checkpoint."""
        return {"minutes": self.minutes}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the minutes from a checkpoint."""
        self.before = state_dict["minutes"]


class _Progress(Callback):
    """A bar with the loss, the speed and the time left."""

    def __init__(self, what: str, unit: str, sizes: Sequence[int], start: int) -> None:
        self.what, self.unit, self.sizes, self.start = what, unit, sizes, start
        self.bar: tqdm | None = None

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.bar = progress_bar(self.what, sum(self.sizes), sum(self.sizes[: self.start]), self.unit)

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.bar is not None:
            processes = place()[1]
            self.bar.set_postfix(loss=f"{np.mean(module.losses[-50:]):.3f}", refresh=False)
            self.bar.update(sum(self.sizes[batch_idx * processes : (batch_idx + 1) * processes]))

    def teardown(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str) -> None:
        if self.bar is not None:
            self.bar.close()

    def on_exception(self, trainer: lightning.Trainer, module: Any, exception: BaseException) -> None:
        self.teardown(trainer, module, "fit")


def progress_bar(what: str, total: int, done: int = 0, unit: str = "row") -> tqdm:
    """A progress bar on stderr, in rows unless told otherwise; where that is no terminal, a line every half minute."""
    interval = 0.3 if sys.stderr.isatty() else 30.0
    quiet = not leads()
    return tqdm(
        total=total, initial=done, desc=what, unit=unit, mininterval=interval, leave=False, dynamic_ncols=True, disable=quiet
    )


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
    callbacks: list[Callback] = [_Finite(what), _Progress(what, unit, sizes, start), clock]
    if work_dir is not None:
        work_dir.mkdir(parents=True, exist_ok=True)
        callbacks.append(Checkpoints(work_dir, compute.checkpoint_minutes))
    trainer = quiet_trainer(compute, callbacks, **settings)
    module.train()
    fit_stream(trainer, module, DataLoader(Stream(make, start, len(sizes)), batch_size=None), checkpoint)
    module.eval()
    return Run(len(sizes), len(module.losses), clock.minutes, module.tokens)
