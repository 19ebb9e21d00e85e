"""What everything that is trained shares: a device, a bar, a clock, and a run that survives a kill bit for bit."""

from harmonic.training.callbacks import Clock, check_loss, progress_bar
from harmonic.training.compute import LARGE, Compute
from harmonic.training.resume import CHECKPOINT, Checkpoints, Resumable, Stream, resume_point
from harmonic.training.run import Run, fit_stream, loss_curve, quiet_trainer, train

__all__ = [
    "CHECKPOINT",
    "LARGE",
    "Checkpoints",
    "Clock",
    "Compute",
    "Resumable",
    "Run",
    "Stream",
    "check_loss",
    "fit_stream",
    "loss_curve",
    "progress_bar",
    "quiet_trainer",
    "resume_point",
    "train",
]
