"""Batches that a GPU's memory holds, chosen before the first step."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from harmonic.codec import Instruction
from harmonic.distributed import agreed, place
from harmonic.lm.batches import Training, collate
from harmonic.lm.footprint import Shape, available_bytes, fit_bytes
from harmonic.lm.segments import SegmentEncoder
from harmonic.training import Compute

log = logging.getLogger(__name__)

SHARE = 0.9
"""Of the memory that is free; an allocator needs some room."""


def within_memory(
    training: Training,
    model: Any,
    encoder: SegmentEncoder,
    compute: Compute,
    largest: Callable[[Training], Sequence[Instruction]],
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
    """
    if compute.device.type != "cuda":
        return training
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
        sizes = chosen.batch_size, chosen.accumulate, training.batch_size
        log.info("batches of %d, %d to a step: those of %d would not fit in the GPU's free memory", *sizes)
    return chosen


def _needed(training: Training, shape: Shape, encoder: SegmentEncoder, batch: Sequence[Instruction]) -> int:
    content = collate(batch, encoder, training)
    rows, tokens = content["input_ids"].shape
    places = len(content["places"])
    return fit_bytes(shape, rows, tokens, places, gradient_checkpointing=training.gradient_checkpointing)
