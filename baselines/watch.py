"""A bar and a clock for the Hugging Face trainers that other packages make."""

from typing import Any

import datasets
import transformers
from transformers import TrainerCallback

from harmonic.training import Clock, check_loss, progress_bar


class Watch(TrainerCallback):
    """Shows a run's steps, keeps its losses, and ends it when its time is up.

    Args:
        what: the bar's name.
        max_minutes: when to stop, whatever is left; None for never.
    """

    def __init__(self, what: str, max_minutes: float | None) -> None:
        self.what, self.clock = what, Clock(max_minutes)
        self.total = self.done = 0
        self.losses: list[float] = []
        self.bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Open the bar, once where a package trains in several stretches."""
        self.total = state.max_steps
        if self.bar is None:
            self.bar = progress_bar(self.what, state.max_steps, unit="step")
        self.bar.total = state.max_steps

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count, and stop where the time is up."""
        self.bar.update(state.global_step - self.done)
        self.done = state.global_step
        control.should_training_stop = control.should_training_stop or self.clock.is_up

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Keep the loss; BadInput where it is no number, which `logging_nan_inf_filter` must not hide."""
        if logs and "loss" in logs:
            check_loss(self.what, logs["loss"], state.global_step)
            self.losses.append(logs["loss"])

    def close(self) -> dict[str, Any]:
        """End the bar; what goes into the record."""
        if self.bar is not None:
            self.bar.close()
        limit = None if self.clock.limit == float("inf") else self.clock.limit
        return {"steps": self.total, "steps_done": self.done, "max_minutes": limit, "losses": self.losses}


transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
datasets.disable_progress_bars()
