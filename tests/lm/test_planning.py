"""Batches chosen by memory. Oracles: measured peaks, the rule, and that a step keeps its rows."""

from dataclasses import replace

import pytest
import torch

from harmonic.lm import planning
from harmonic.lm.batches import Training, collate
from harmonic.lm.footprint import Shape, fit_bytes
from harmonic.lm.planning import SHARE, within_memory
from harmonic.lm.random_llama import RandomLlama
from harmonic.training import CHECKPOINT, Compute

ON_GPU = {"device": property(lambda self: torch.device("cuda")), "resolved_precision": "bf16-mixed"}
Gpu = type("Gpu", (Compute,), ON_GPU)


@pytest.mark.parametrize(("rows", "measured_gib"), [(2, 51.7), (4, 90.3)])
def test_a_large_model_needs_what_a_gpu_took(rows, measured_gib):
    """Oracle: peaks of Llama-2-7B's sizes under the published adapters on an H200, texts of 2 666 tokens, not compiled."""
    with torch.device("meta"):
        model, _ = RandomLlama().create([], [], 0)
    found = fit_bytes(Shape.of(model, Gpu()), rows, 2666, 430, gradient_checkpointing=False)
    assert found / 2**30 == pytest.approx(measured_gib, rel=0.02)


@pytest.fixture
def needed(tiny_model, easy_encoder, easy_instructions):
    """The model, the largest batch of a recipe, and the bytes that it takes."""
    model = tiny_model("llama", len(easy_encoder.tokenizer))

    def largest(training):
        return sorted(easy_instructions, key=lambda item: len(easy_encoder.encode(item.prompt)))[-training.batch_size :]

    def count(size):
        content = collate(largest(Training(batch_size=size)), easy_encoder, Training())
        rows, tokens = content["input_ids"].shape
        return fit_bytes(Shape.of(model, Gpu()), rows, tokens, len(content["places"]), gradient_checkpointing=False)

    return model, largest, count


@pytest.mark.parametrize(("fits", "size", "accumulate"), [(16, 16, 1), (8, 8, 2), (4, 4, 4), (1, 1, 16)])
def test_batches_are_halved_until_they_fit(needed, easy_encoder, monkeypatch, fits, size, accumulate):
    """Oracle: the rule: the largest size that the memory holds, and as many rows in a step."""
    model, largest, count = needed
    monkeypatch.setattr(planning, "available_bytes", lambda device: int(count(fits) / SHARE) + 1)
    training = Training(batch_size=16)
    chosen = within_memory(training, model, easy_encoder, Gpu(), largest)
    assert chosen == replace(training, batch_size=size, accumulate=accumulate)


def test_a_run_that_is_taken_up_keeps_its_batches(needed, easy_encoder, monkeypatch, tmp_path):
    """Oracle: the rule: a checkpoint's batches are numbered by the sizes of its beginning, whatever is free today."""
    model, largest, count = needed
    free = 8
    monkeypatch.setattr(planning, "available_bytes", lambda device: int(count(free) / SHARE) + 1)
    training = Training(batch_size=16)

    def plan():
        return within_memory(training, model, easy_encoder, Gpu(), largest, tmp_path).batch_size

    assert plan() == 8
    free = 4
    assert plan() == 4  # nothing was trained yet
    (tmp_path / CHECKPOINT).write_bytes(b"")
    free = 16
    assert plan() == 4


def test_what_never_fits_is_left_to_the_first_step(needed, easy_encoder, monkeypatch):
    """Oracle: the rule: one by one, and a step that has no whole number of halves has a few rows more."""
    model, largest, _ = needed
    monkeypatch.setattr(planning, "available_bytes", lambda device: 1)
    chosen = within_memory(Training(batch_size=6, accumulate=2), model, easy_encoder, Gpu(), largest)
    assert (chosen.batch_size, chosen.accumulate) == (1, 12)


def test_a_processor_takes_the_recipe_as_it_is(needed, easy_encoder, monkeypatch):
    """Oracle: the rule: a busy machine must not change what is learnt."""
    model, largest, _ = needed
    monkeypatch.setattr(planning, "available_bytes", lambda device: 1)
    training = Training(batch_size=16)
    assert within_memory(training, model, easy_encoder, Compute("cpu", "32-true"), largest) is training
