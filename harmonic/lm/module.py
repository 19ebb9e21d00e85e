"""Fine-tuning on instructions with Lightning: loss on the answer alone, and a run that survives a kill bit for bit."""

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, IterableDataset
from tqdm import tqdm
from transformers import get_cosine_schedule_with_warmup

from harmonic.codec import Instruction
from harmonic.errors import BadInput, check_at_least, check_choice
from harmonic.lm.batches import IGNORED, Batch, Training, collate
from harmonic.lm.segments import SegmentEncoder
from harmonic.seed import derive_seed

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message=".*LeafSpec.*")
warnings.filterwarnings("ignore", message=".*does not have many workers.*")

CHECKPOINT = "last.ckpt"
Accelerator = Literal["auto", "cpu", "gpu"]


@dataclass(frozen=True)
class Compute:
    """Where and how a language model runs (the `trainer` group)."""

    accelerator: Accelerator = "auto"
    precision: str = "auto"
    """A Lightning precision; auto is bf16-mixed where the device computes in bfloat16, else 32-true."""
    checkpoint_minutes: float = 2.0
    """What a kill costs at most."""

    def __post_init__(self) -> None:
        check_choice("trainer.accelerator", self.accelerator, Accelerator)
        check_at_least("trainer.checkpoint_minutes", self.checkpoint_minutes, 0)

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

    def autocast(self) -> torch.autocast:
        """The precision of training, for inference."""
        precision = self.resolved_precision
        dtype = torch.float16 if precision.startswith("16") else torch.bfloat16
        return torch.autocast(self.device.type, dtype, enabled=not precision.startswith("32"))


class FineTuning(lightning.LightningModule):
    """A causal LM under instruction tuning."""

    def __init__(self, model: Any, training: Training, steps: int, seed: int) -> None:
        super().__init__()
        self.model = model
        self.training_recipe = training
        self.steps = steps
        self.seed = seed
        self.losses: list[float] = []
        """Mean loss of each batch, nats per token that bears a loss."""
        self.strict_loading = False

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Mean cross-entropy over the tokens that bear a loss."""
        labels = batch["labels"]
        output = self.model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            position_ids=batch["position_ids"],
            logits_to_keep=labels.shape[1] + 1,
            use_cache=False,
        )
        loss = torch.nn.functional.cross_entropy(
            output.logits[:, :-1].flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED
        )
        self.losses.append(float(loss.detach()))
        return loss

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Dropout depends on the batch's number alone, so that a resumed run draws what an unbroken one does."""
        torch.manual_seed(derive_seed(self.seed, "batch", batch_idx))

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine decay over the whole run."""
        recipe = self.training_recipe
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        warmup = round(recipe.warmup * self.steps)
        schedule = get_cosine_schedule_with_warmup(optimizer, warmup, self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is trained: under LoRA, a checkpoint is megabytes, not gigabytes."""
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        checkpoint["state_dict"] = {name: value for name, value in checkpoint["state_dict"].items() if name in trained}
        checkpoint["losses"] = self.losses

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the loss curve where it was left."""
        self.losses = list(checkpoint["losses"])


class Stream(IterableDataset):
    """The batches of a run from `start` on."""

    def __init__(self, make: Callable[[int], Batch], start: int, stop: int) -> None:
        self.make, self.start, self.stop = make, start, stop

    def __iter__(self) -> Iterator[Batch]:
        return (self.make(number) for number in range(self.start, self.stop))


class Checkpoints(Callback):
    """Every few minutes, one checkpoint, written aside and renamed: a kill leaves the old one or the new one whole."""

    def __init__(self, folder: Path, minutes: float) -> None:
        self.folder, self.seconds = folder, minutes * 60
        self.last = time.monotonic()

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Save where the time has come and an optimiser step is whole."""
        steps_whole = trainer.fit_loop.epoch_loop.batch_idx + 1
        if time.monotonic() - self.last < self.seconds or steps_whole % trainer.accumulate_grad_batches:
            return
        aside = self.folder / f"{CHECKPOINT}.{os.getpid()}"
        trainer.save_checkpoint(aside)
        aside.replace(self.folder / CHECKPOINT)
        self.last = time.monotonic()


def resume_point(work_dir: Path | None) -> tuple[Path | None, int]:
    """The checkpoint that `Checkpoints` left in a folder, and the number of the batch to go on with; None and 0 without."""
    if work_dir is None or not (work_dir / CHECKPOINT).exists():
        return None, 0
    checkpoint = work_dir / CHECKPOINT
    loops = torch.load(checkpoint, map_location="cpu", weights_only=True)["loops"]
    return checkpoint, loops["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"]


class _Progress(Callback):
    """A bar in rows, with rows/s and the time left."""

    def __init__(self, sizes: Sequence[int], start: int) -> None:
        self.sizes, self.start = sizes, start
        self.bar: tqdm | None = None

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.bar = progress_bar("fine-tuning", sum(self.sizes), sum(self.sizes[: self.start]))

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.bar is not None:
            self.bar.set_postfix(loss=f"{np.mean(module.losses[-50:]):.3f}", refresh=False)
            self.bar.update(self.sizes[batch_idx])

    def teardown(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str) -> None:
        if self.bar is not None:
            self.bar.close()

    def on_exception(self, trainer: lightning.Trainer, module: Any, exception: BaseException) -> None:
        self.teardown(trainer, module, "fit")


def progress_bar(what: str, total: int, done: int = 0) -> tqdm:
    """A progress bar in rows on stderr; where that is no terminal, a line every half minute."""
    interval = 0.3 if sys.stderr.isatty() else 30.0
    return tqdm(total=total, initial=done, desc=what, unit="row", mininterval=interval, leave=False, dynamic_ncols=True)


def quiet_trainer(compute: Compute, callbacks: Sequence[Callback], **settings: Any) -> lightning.Trainer:
    """A trainer for one pass over a stream that is all of a run: its callbacks do the talking and the saving."""
    return lightning.Trainer(
        accelerator="gpu" if compute.device.type == "cuda" else compute.device.type,
        devices=1,
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


def fit_stream(
    trainer: lightning.Trainer, module: lightning.LightningModule, loader: DataLoader, checkpoint: Path | None
) -> None:
    """Train on what is left of a stream, from the checkpoint it stopped at; Ctrl-C is a KeyboardInterrupt."""
    try:
        trainer.fit(module, loader, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as stop:  # what Lightning makes of a Ctrl-C
        raise KeyboardInterrupt from stop


def fine_tune(
    model: Any,
    encoder: SegmentEncoder,
    batches: Sequence[tuple[int, np.ndarray]],
    instruct: Callable[[int, int], Instruction],
    training: Training,
    compute: Compute,
    *,
    seed: int,
    work_dir: Path | None = None,
) -> list[float]:
    """Fine-tune `model` in place.

    Args:
        model: a causal LM whose trained parameters require gradients.
        encoder: its tokenizer.
        batches: what `plan_batches` made.
        instruct: (epoch, instruction number) to instruction.
        training: the recipe.
        compute: device, precision and checkpoint interval.
        seed: of dropout.
        work_dir: where checkpoints go, and where a run that was killed is taken up again; none are written without it.

    Returns:
        The loss of every batch, nats per token that bears a loss.
    """
    if training.gradient_checkpointing:
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    checkpoint, start = resume_point(work_dir)

    def make(number: int) -> Batch:
        epoch, rows = batches[number]
        return collate([instruct(epoch, int(row)) for row in rows], encoder, training)

    callbacks: list[Callback] = [_Progress([len(rows) for _, rows in batches], start)]
    if work_dir is not None:
        work_dir.mkdir(parents=True, exist_ok=True)
        callbacks.append(Checkpoints(work_dir, compute.checkpoint_minutes))
    steps = -(-len(batches) // training.accumulate)
    module = FineTuning(model, training, steps, seed)
    trainer = quiet_trainer(compute, callbacks, accumulate_grad_batches=training.accumulate, gradient_clip_val=training.clip)
    model.train()
    loader = DataLoader(Stream(make, start, len(batches)), batch_size=None)
    fit_stream(trainer, module, loader, checkpoint)
    model.eval()
    return module.losses
