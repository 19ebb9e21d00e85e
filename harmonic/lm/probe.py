"""How fast a language model trains and writes on this device: a few real steps, timed and thrown away.

Seconds are the wall clock's, so that a machine that is busy now is taken to stay so.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from harmonic.codec import QUOTE, Instruction, Segments
from harmonic.lm.batches import Training, collate
from harmonic.lm.module import FineTuning
from harmonic.lm.reader import Reader
from harmonic.lm.segments import SegmentEncoder
from harmonic.training import Compute

ENOUGH_S = 3.0
"""What the batches of a probe may take, by the speed of a first row; they are cut to fewer rows beyond."""


@dataclass(frozen=True)
class Script:
    """A row to be written as if it had been drawn: what the probe of sampling reads."""

    prompt: Segments
    keys: Segments
    values: Segments


@contextmanager
def undisturbed(device: torch.device) -> Iterator[None]:
    """Within, torch draws as it likes; the global random state is behind it what it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def training_speed(
    model: Any,
    encoder: SegmentEncoder,
    batches: Sequence[Sequence[Instruction]],
    training: Training,
    compute: Compute,
) -> float:
    """Tokens per second, padding counted, of whole optimiser steps on these batches.

    The weights change and are worth nothing afterwards. Two steps of one row come first: one for what a device does once,
    and one whose time says how many rows can be afforded.
    """
    if training.gradient_checkpointing:
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    module = FineTuning(model.to(compute.device).train(), training, len(batches), seed=0)
    optimizer = module.configure_optimizers()["optimizer"]

    def step(instructions: Sequence[Instruction]) -> tuple[int, float]:
        started = _now(compute)
        batch = {name: value.to(compute.device) for name, value in collate(instructions, encoder, training).items()}
        with compute.autocast():
            loss = module.training_step(batch, 0)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip)
        optimizer.step()
        optimizer.zero_grad()
        return batch["input_ids"].numel(), _now(compute) - started

    with torch.enable_grad():
        _, row_s = [step(batches[0][:1]) for _ in range(2)][-1]
        rows = max(1, int(ENOUGH_S / len(batches) / row_s))
        steps = [step(batch[:rows]) for batch in batches]
    model.eval()
    return sum(tokens for tokens, _ in steps) / sum(seconds for _, seconds in steps)


def writing_speed(model: Any, encoder: SegmentEncoder, scripts: Sequence[Script], compute: Compute) -> float:
    """Rows per second, written together: each prompt read at once, then its values, a token a pass.

    As the sampler does, but every row in step with the others and each token known beforehand.
    """
    model.to(compute.device).eval()
    chunks = [_chunks(script, encoder) for script in scripts]
    with torch.inference_mode(), compute.autocast():
        Reader(model, 1, encoder.tokenizer.pad_token_id, compute.device).feed(chunks[0][:1])
        started = _now(compute)
        reader = Reader(model, len(scripts), encoder.tokenizer.pad_token_id, compute.device)
        for number in range(max(map(len, chunks))):
            logits = reader.feed([row[number] if number < len(row) else [] for row in chunks])
            logits[:, -1].float().softmax(-1).double().cumsum(-1)
        return len(scripts) / (_now(compute) - started)


def _chunks(script: Script, encoder: SegmentEncoder) -> list[list[int]]:
    """What is read in each pass: the prompt with the first key, then a token at a time; a key comes behind its quote."""
    keys = [encoder.encode([key]) for key in script.keys]
    (quote,) = encoder.encode([QUOTE])
    chunks = [[*encoder.encode(script.prompt), *keys[0]]]
    for rank, value in enumerate(script.values):
        chunks += [[token] for token in encoder.encode([value])]
        if rank + 1 < len(keys):
            chunks.append([quote, *keys[rank + 1]])
    return chunks


def _now(compute: Compute) -> float:
    if compute.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
