"""Fine-tuning on instructions: loss on the answer alone, or on all of it."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers.modeling_layers import GradientCheckpointingLayer

from harmonic.codec import Instruction
from harmonic.distributed import place
from harmonic.errors import BadInput
from harmonic.lm.attention import block_attention
from harmonic.lm.batches import IGNORED, Batch, Training, collate
from harmonic.lm.compiled import compiled_layers
from harmonic.lm.segments import SegmentEncoder
from harmonic.training import Compute, Resumable, Run, train
from harmonic.training.sharding import sharded, take_back

VERSION = 3
"""Raised when fine-tuning computes something else: a part of the key of whatever is fine-tuned, see `harmonic.keys`."""


class FineTuning(Resumable):
    """A causal LM under instruction tuning."""

    def __init__(self, model: Any, training: Training, steps: int, seed: int) -> None:
        super().__init__(seed)
        self.model = model
        self.training_recipe = training
        self.steps = steps
        self.strict_loading = False

    def configure_model(self) -> None:
        """Nothing: a model that is to be cut comes cut (`fine_tune`), and Lightning asks whether it was thought of."""

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Mean cross-entropy, in nats, over the tokens that bear a loss."""
        logits = self.model(input_ids=batch["input_ids"], logits_to_keep=batch["places"], use_cache=False).logits
        if place()[1] > 1 and not (batch["labels"] != IGNORED).any():  # a spare batch: the others have one more
            self.note(None, 0)
            return logits.sum() * 0.0
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), batch["labels"].flatten(), ignore_index=IGNORED
        )
        self.note(float(loss.detach()), int(batch["lengths"].sum()))
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine decay over the whole run."""
        recipe = self.training_recipe
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        schedule = LambdaLR(optimizer, warm_cosine(round(recipe.warmup * self.steps), self.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is trained: under LoRA, a checkpoint is megabytes, not gigabytes."""
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        checkpoint["state_dict"] = {name: value for name, value in checkpoint["state_dict"].items() if name in trained}
        super().on_save_checkpoint(checkpoint)


def warm_cosine(warmup: int, steps: int) -> Callable[[int], float]:
    """The part of its peak that the learning rate has at a step: linear from 0 to 1, then half a cosine down to 0.

    The same numbers as transformers' schedule of this kind, whose import takes seconds where PEFT finds bitsandbytes.

    Args:
        warmup: steps until the peak.
        steps: of the whole run.
    """

    def part(step: int) -> float:
        if step < warmup:
            return step / warmup
        return 0.5 * (1 + math.cos(math.pi * ((step - warmup) / max(1, steps - warmup))))

    return part


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
    max_minutes: float | None = None,
) -> tuple[list[float], Run]:
    """Fine-tune `model` in place.

    The processes of a group that is at work (`harmonic.distributed`) share the batches of every optimiser step: the same
    gradient as of one process, up to the order of its sums, and the same model in each of them afterwards.

    Args:
        model: a causal LM whose trained parameters require gradients.
        encoder: its tokenizer.
        batches: what `plan_batches` made.
        instruct: (epoch, instruction number) to instruction.
        training: the recipe.
        compute: device, precision and checkpoint interval.
        seed: of dropout.
        work_dir: see `harmonic.training.train`.
        max_minutes: see `harmonic.training.train`.

    Returns:
        The loss of every batch, nats per token that bears a loss; how the run went.

    Raises:
        BadInput: the first optimiser step, which has the largest batch, does not fit in the GPU's memory; or the batches of
            a step cannot be shared.
    """
    processes = place()[1]
    if training.accumulate % processes:
        raise BadInput(_cannot_be_shared(training, processes))
    trained = model
    if processes > 1 and compute.strategy == "fsdp":
        if getattr(model, "is_loaded_in_4bit", False):
            raise BadInput("four-bit weights must stay whole, but trainer=fsdp cuts them: use ddp, or no model.quantize.")
        trained = sharded(model, GradientCheckpointingLayer, compute.device)
    if training.gradient_checkpointing:
        trained.gradient_checkpointing_enable()
        trained.enable_input_require_grads()

    def make(number: int) -> Batch:
        epoch, rows = batches[min(number, len(batches) - 1)]
        batch = collate([instruct(epoch, int(row)) for row in rows], encoder, training)
        return batch if number < len(batches) else {**batch, "labels": torch.full_like(batch["labels"], IGNORED)}

    steps = -(-len(batches) // training.accumulate)
    module = FineTuning(trained, training, steps, seed)
    compiled = compute.compiles(trained)
    try:  # blocks of attention would be another program for every length of texts
        with compiled_layers(trained) if compiled else block_attention(trained, compute.device):
            run = train(
                module,
                make,
                [len(rows) for _, rows in batches],
                compute,
                what="fine-tuning",
                work_dir=work_dir,
                max_minutes=max_minutes,
                accumulate_grad_batches=training.accumulate // processes,
                gradient_clip_val=training.clip,
            )
    except torch.OutOfMemoryError as error:
        if len(module.losses) > training.accumulate:
            raise
        raise BadInput(_does_not_fit(training, len(batches[0][1]))) from error
    if trained is not model:
        take_back(model, trained)
    return module.losses, run


def _cannot_be_shared(training: Training, processes: int) -> str:
    """The sentence for an optimiser step whose batches are no multiple of the processes."""
    accumulate = math.lcm(training.accumulate, processes)
    size = -(-training.batch_size * training.accumulate // accumulate)
    return (
        f"model.training.accumulate must be a multiple of the {processes} processes that share the batches of a step, but "
        f"is {training.accumulate}: set model.training.batch_size={size} model.training.accumulate={accumulate}."
    )


def _does_not_fit(training: Training, rows: int) -> str:
    """The sentence for a first optimiser step, which has the largest batch, that the GPU's memory does not hold."""
    size, accumulate = training.batch_size, training.accumulate
    if size > 1:
        cure = f"set model.training.batch_size={-(-size // 2)} model.training.accumulate={2 * accumulate}"
    elif not training.gradient_checkpointing:
        cure = "set model.training.gradient_checkpointing=true"
    else:
        cure = "lower method.k, or take a smaller model"
    return f"the GPU's memory must hold the run's largest batch, of {rows} rows, but is too small for it: {cure}."
