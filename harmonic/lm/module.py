"""Fine-tuning on instructions: loss on the answer alone, or on all of it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import get_cosine_schedule_with_warmup

from harmonic.codec import Instruction
from harmonic.lm.batches import IGNORED, Batch, Training, collate
from harmonic.lm.segments import SegmentEncoder
from harmonic.training import Compute, Resumable, Run, train


class FineTuning(Resumable):
    """A causal LM under instruction tuning."""

    def __init__(self, model: Any, training: Training, steps: int, seed: int) -> None:
        super().__init__(seed)
        self.model = model
        self.training_recipe = training
        self.steps = steps
        self.strict_loading = False

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Mean cross-entropy, in nats, over the tokens that bear a loss."""
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
        self.tokens += int(batch["attention_mask"].sum())
        return loss

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
        super().on_save_checkpoint(checkpoint)


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
    """
    if training.gradient_checkpointing:
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()

    def make(number: int) -> Batch:
        epoch, rows = batches[number]
        return collate([instruct(epoch, int(row)) for row in rows], encoder, training)

    steps = -(-len(batches) // training.accumulate)
    module = FineTuning(model, training, steps, seed)
    run = train(
        module,
        make,
        [len(rows) for _, rows in batches],
        compute,
        what="fine-tuning",
        work_dir=work_dir,
        max_minutes=max_minutes,
        accumulate_grad_batches=training.accumulate,
        gradient_clip_val=training.clip,
    )
    return module.losses, run
