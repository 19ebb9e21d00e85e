"""Where a record may be shown besides its file: never the source of truth, never the cause of a failure."""

from harmonic.tracking.trackers import Lightning, Wandb

__all__ = ["Lightning", "Wandb"]
