"""Batches that a GPU's memory holds, chosen before the first step."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harmonic.codec import Instruction
from harmonic.distributed import agreed, leads, place
from harmonic.lm.batches import Training, collate
from harmonic.lm.footprint import Shape, available_bytes, fit_bytes
from harmonic.lm.segments import SegmentEncoder
from harmonic.store import write_atomically
from harmonic.training import CHECKPOINT, Compute

log = logging.getLogger(__name__)

SHARE = 0.9
"""Of the memory that is free; an allocator needs some room."""
SIZES = "batches.json"
"""Beside a checkpoint: what was chosen when the run began, whose batches are numbered accordingly."""


def within_memory(
    training: Training,
    model: Any,
    encoder: SegmentEncoder,
    compute: Compute,
    largest: Callable[[Training], Sequence[Instruction]],
    work_dir: Path | None = None,
) -> Training:
    """The recipe, its batches halved and as many more of them a step, until the largest one fits in the GPU's free memory.

    A step has as many rows as before; each batch counts as much, not each token, so that its gradient differs in their
    weights. What does not fit one by one is left for the first step to fail. On a processor the recipe is what it is.

    Args:
        training: the recipe.
        model: what is to be trained.
        encoder: its tokenizer.
        compute: device and precision.
        largest: a recipe to the largest batch of its plan.
        work_dir: where the run keeps its checkpoint; one that is taken up goes on with the batches that it began with.
    """
    if compute.device.type != "cuda":
        return training
    if work_dir and (work_dir / CHECKPOINT).exists() and (work_dir / SIZES).exists():
        sizes = json.loads((work_dir / SIZES).read_text())
        return training if sizes == _sizes(training) else replace(training, **sizes)
    shape, free = Shape.of(model, compute), agreed(available_bytes(compute.device)) or 0
    if next(model.parameters()).device.type == "cuda":  # it is there already, and counted again
        free += shape.weight_bytes
    if compute.strategy == "fsdp":
        share = place()[1]
        shape = replace(shape, weight_bytes=shape.weight_bytes // share, trained_bytes=shape.trained_bytes // share)
    chosen = training
    while chosen.batch_size > 1 and _needed(chosen, shape, encoder, largest(chosen)) > SHARE * free:
        size = -(-chosen.batch_size // 2)
        chosen = replace(chosen, batch_size=size, accumulate=-(-training.batch_size * training.accumulate // size))
    if chosen is not training:
        told = chosen.batch_size, chosen.accumulate, training.batch_size
        log.info("batches of %d, %d to a step: those of %d would not fit in the GPU's free memory", *told)
    if work_dir and leads():
        work_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(work_dir / SIZES, json.dumps(_sizes(chosen)))
    return chosen


def _sizes(training: Training) -> dict[str, int]:
    return {"batch_size": training.batch_size, "accumulate": training.accumulate}


def _needed(training: Training, shape: Shape, encoder: SegmentEncoder, batch: Sequence[Instruction]) -> int:
    content = collate(batch, encoder, training)
    rows, tokens = content["input_ids"].shape
    places = len(content["places"])
    return fit_bytes(shape, rows, tokens, places, gradient_checkpointing=training.gradient_checkpointing)
