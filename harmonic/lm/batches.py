"""Instructions to batches: the whole run's plan is known from its start, so that it can resume anywhere."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from harmonic.budget import Budget
from harmonic.codec import Instruction
from harmonic.errors import BadInput, check_at_least, check_bool, check_choice, check_count
from harmonic.lm.segments import SegmentEncoder, pad_right
from harmonic.seed import derive_seed

IGNORED = -100
LossOn = Literal["answer", "all"]

STRETCH = 3
"""By how much `Training.reading` raises the limit of steps, at most."""
WINDOW = 32
"""Batches that are drawn together and sorted by length, so that little of a batch is padding."""


@dataclass(frozen=True)
class Training:
    """The recipe of a fine-tuning run."""

    loss_on: LossOn = "answer"
    """answer: as published. all: the examples count too, six rows for one; a model with random weights needs it to learn
    the format in minutes."""
    epochs: int = 1
    min_steps: int = 0
    """On a small table, epochs are repeated until this many optimiser steps are done."""
    max_steps: int | None = None
    """On a large table, training ends after this many optimiser steps, whatever the epochs; null for no such end."""
    batch_size: int = 16
    accumulate: int = 1
    """Batches per optimiser step."""
    learning_rate: float = 3e-4
    warmup: float = 0.01
    """Share of the steps over which the rate rises; it falls to 0 along a cosine after that."""
    weight_decay: float = 1e-5
    clip: float = 1.0
    """Largest norm of the gradient."""
    max_length: int = 2048
    """Tokens of the longest prompt and answer; a longer one is an error, never cut."""
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        check_choice("model.training.loss_on", self.loss_on, LossOn)
        check_bool("model.training.gradient_checkpointing", self.gradient_checkpointing)
        for option in ("epochs", "batch_size", "accumulate", "max_length"):
            check_count(f"model.training.{option}", getattr(self, option), 1)
        check_count("model.training.min_steps", self.min_steps, 0)
        if self.max_steps is not None:
            check_count("model.training.max_steps (with min_steps)", self.max_steps, max(1, self.min_steps))
        for option in ("learning_rate", "warmup", "weight_decay", "clip"):
            check_at_least(f"model.training.{option}", getattr(self, option), 0)

    def within(self, budget: Budget | None) -> "Training":
        """The recipe, cut to ten steps under budget=smoke; any other budget is the model's own affair."""
        return replace(self, epochs=1, min_steps=0, max_steps=10) if budget == "smoke" else self

    def reading(self, share: float, rows: int) -> "Training":
        """The recipe on a table of so many rows: `max_steps` gives way until this share of them has been read, at most to
        `STRETCH` times as many."""
        if self.max_steps is None:
            return self
        wanted = math.ceil(share * rows / (self.batch_size * self.accumulate))
        return replace(self, max_steps=max(self.max_steps, min(wanted, STRETCH * self.max_steps)))

    def for_context(self, model: Any) -> "Training":
        """The recipe, with no text longer than what the model can read."""
        context = getattr(model.config, "max_position_embeddings", None) or self.max_length
        return replace(self, max_length=min(context, self.max_length))


Batch = dict[str, torch.Tensor]


def plan_batches(lengths: np.ndarray, training: Training, seed: int) -> list[tuple[int, np.ndarray]]:
    """Every batch of a run, as (epoch, instruction numbers): known from the start, so that a run can resume anywhere.

    The largest batch, padding counted, changes places with the first: what does not fit in memory fails at once.

    Args:
        lengths: shape (m,), any measure of each instruction's length.
        training: the recipe.
        seed: of the order.
    """
    size = training.batch_size
    per_epoch = -(-len(lengths) // size)
    total = max(training.epochs * per_epoch, training.min_steps * training.accumulate)
    if training.max_steps is not None:
        total = min(total, training.max_steps * training.accumulate)
    batches: list[tuple[int, np.ndarray]] = []
    for epoch in range(-(-total // per_epoch)):
        rng = np.random.default_rng(derive_seed(seed, "epoch", epoch))
        shuffled = rng.permutation(len(lengths))
        windows = [shuffled[start : start + WINDOW * size] for start in range(0, len(shuffled), WINDOW * size)]
        drawn = []
        for window in windows:
            by_length = window[np.argsort(lengths[window], kind="stable")]
            drawn += [by_length[start : start + size] for start in range(0, len(by_length), size)]
        batches += [(epoch, drawn[place]) for place in rng.permutation(len(drawn))]
    batches = batches[:total]
    largest = int(np.argmax([len(rows) * lengths[rows].max() for _, rows in batches]))
    batches[0], batches[largest] = batches[largest], batches[0]
    return batches


def collate(instructions: Sequence[Instruction], encoder: SegmentEncoder, training: Training) -> Batch:
    """Token ids padded behind their end, where nothing that bears a loss sees it: a causal model needs no mask.

    Returns:
        input_ids (b, t); lengths (b,), the tokens of each row, padding left out; places (p,), where the next token bears a
        loss in some row: the answer with its end-of-sequence token, or all of it; labels (b, p), those next tokens, IGNORED
        in the rows where they bear none.
    """
    tokenizer = encoder.tokenizer
    prompts = [encoder.encode(item.prompt) for item in instructions]
    answers = [[*encoder.encode(item.answer), tokenizer.eos_token_id] for item in instructions]
    rows = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
    lengths = torch.tensor([len(row) for row in rows])
    longest = int(lengths.max())
    if longest > training.max_length:
        raise BadInput(
            f"an instruction of {longest} tokens exceeds model.training.max_length={training.max_length}: "
            f"raise it (where the model's context allows), lower method.k, or drop columns with dataset.drop."
        )
    ids = pad_right(rows, tokenizer.pad_token_id)
    starts = torch.tensor([len(prompt) if training.loss_on == "answer" else 1 for prompt in prompts])
    target = torch.arange(1, longest)
    bears_loss = (target >= starts[:, None]) & (target < lengths[:, None])
    places = bears_loss.any(0).nonzero().flatten()
    labels = ids[:, 1:].masked_fill(~bears_loss, IGNORED)[:, places]
    return {"input_ids": ids, "lengths": lengths, "places": places, "labels": labels}
