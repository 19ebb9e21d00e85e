"""Compiled layers. Oracles: the same training without them, the compiler's own counts, and the rule."""

import shutil

import numpy as np
import peft
import pytest
import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from harmonic.errors import BadInput
from harmonic.lm.batches import Training, plan_batches
from harmonic.lm.module import fine_tune
from harmonic.training import LARGE, Compute

RECIPE = Training(batch_size=4, learning_rate=1e-2)
LORA = {"task_type": "CAUSAL_LM", "r": 4, "target_modules": "all-linear"}


def learn(model, encoder, instructions, wanted):
    batches = plan_batches(np.arange(12), RECIPE, seed=3)
    compute = Compute("cpu", "32-true", compile=wanted)
    losses, _ = fine_tune(model, encoder, batches, lambda _, number: instructions[number], RECIPE, compute, seed=5)
    return losses


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a processor")
@pytest.mark.parametrize("checkpointing", [False, True])
def test_they_learn_the_same_and_one_program_serves_all(tiny_model, easy_encoder, easy_instructions, checkpointing):
    """Oracle: training without them, on texts of several lengths; torch counts one graph forwards for all layers."""

    def model():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return peft.get_peft_model(tiny_model("llama", len(easy_encoder.tokenizer)), peft.LoraConfig(**LORA))

    plain = learn(model(), easy_encoder, easy_instructions, False)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = model()
    assert learn(compiled, easy_encoder, easy_instructions, True) == pytest.approx(plain, abs=1e-4)
    assert len(set(plain)) == 3
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    layers = [module for module in compiled.modules() if isinstance(module, GradientCheckpointingLayer)]
    assert len(layers) == 2
    assert not any(layer._compiled_call_impl for layer in layers)
    torch._dynamo.reset()


class _Sized(torch.nn.Module):
    """A model of so many parameters, that takes no memory."""

    def __init__(self, parameters, **attributes):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(parameters, device="meta"))
        vars(self).update(attributes)


@pytest.mark.parametrize(
    ("setting", "device", "model", "wanted"),
    [
        ("auto", "cuda", _Sized(LARGE), True),
        ("auto", "cuda", _Sized(LARGE - 1), False),
        ("auto", "cpu", _Sized(LARGE), False),
        ("auto", "cuda", _Sized(LARGE, is_loaded_in_4bit=True), False),
        (True, "cpu", _Sized(3), True),
        (False, "cuda", _Sized(LARGE), False),
    ],
)
def test_when_layers_are_compiled(setting, device, model, wanted, monkeypatch):
    """Oracle: the rule of `trainer.compile`."""
    monkeypatch.setattr(Compute, "device", property(lambda self: torch.device(device)))
    assert Compute(compile=setting).compiles(model) == wanted


def test_another_setting_is_refused(one_sentence):
    """Oracle: the rule."""
    with pytest.raises(BadInput) as error:
        Compute(compile="always")
    one_sentence(error.value, "trainer.compile", "always")
