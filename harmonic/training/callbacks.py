"""What watches a run: a bar, a clock that ends it, and an end where it has diverged."""

import math
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.callbacks import Callback
from tqdm import tqdm

from harmonic.distributed import agreed, leads, place
from harmonic.errors import BadInput
from harmonic.training.resume import step_is_whole

_BAR_LOCK = threading.RLock()
"""tqdm's own is a semaphore of the machine, which a process that a signal ends leaves behind, with a warning."""


def check_loss(what: str, loss: float, number: int) -> None:
    """BadInput where training has diverged: the loss of this batch or step, counted from 1, is no number."""
    if not math.isfinite(loss):
        raise BadInput(
            f"{what} has diverged: loss {number} is no number; lower the learning rate, or set trainer.precision=32-true."
        )


class Finite(Callback):
    """Ends a run that has diverged, before a checkpoint keeps it."""

    def __init__(self, what: str) -> None:
        self.what = what

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, *_: Any) -> None:
        """Look at the batch's loss."""
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
        if step_is_whole(trainer) and agreed(self.is_up):
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """The minutes, for a checkpoint."""
        return {"minutes": self.minutes}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the minutes from a checkpoint."""
        self.before = state_dict["minutes"]


class Progress(Callback):
    """A bar with the loss, the speed and the time left."""

    def __init__(self, what: str, unit: str, sizes: Sequence[int], start: int) -> None:
        self.what, self.unit, self.sizes, self.start = what, unit, sizes, start
        self.bar: tqdm | None = None

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Draw it, with what an earlier run has done."""
        self.bar = progress_bar(self.what, sum(self.sizes), sum(self.sizes[: self.start]), self.unit)

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """A batch more, and the mean of the last fifty losses."""
        if self.bar is not None:
            processes = place()[1]
            self.bar.set_postfix(loss=f"{np.mean(module.losses[-50:]):.3f}", refresh=False)
            self.bar.update(sum(self.sizes[batch_idx * processes : (batch_idx + 1) * processes]))

    def teardown(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str) -> None:
        """Take it away."""
        if self.bar is not None:
            self.bar.close()

    def on_exception(self, trainer: lightning.Trainer, module: Any, exception: BaseException) -> None:
        """Take it away before an error is shown."""
        self.teardown(trainer, module, "fit")


def progress_bar(what: str, total: int, done: int = 0, unit: str = "row") -> tqdm:
    """A progress bar on stderr, in rows unless told otherwise; where that is no terminal, a line every half minute."""
    interval = 0.3 if sys.stderr.isatty() else 30.0
    quiet = not leads()
    tqdm.set_lock(_BAR_LOCK)
    return tqdm(
        total=total, initial=done, desc=what, unit=unit, mininterval=interval, leave=False, dynamic_ncols=True, disable=quiet
    )
