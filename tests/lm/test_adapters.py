"""Adapters while rows are written. Oracle: PEFT's own forward."""

import peft
import pytest
import torch

from harmonic.lm.adapters import lean_adapters

LORA = {"task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 12, "lora_dropout": 0.5, "target_modules": "all-linear"}
IDS = torch.arange(24).view(2, 12)


@pytest.fixture
def adapted(tiny_model, easy_encoder):
    """A model in bfloat16 under float32 adapters that change what it says."""

    def make(**settings):
        config = peft.LoraConfig(**LORA, init_lora_weights=False, **settings)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return peft.get_peft_model(tiny_model("llama", len(easy_encoder.tokenizer)).bfloat16(), config).eval()

    return make


def test_they_compute_what_peft_computes(adapted):
    """Oracle: PEFT in float32: lean ones are as near to it as PEFT under autocast; afterwards all is as it was."""
    model = adapted()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        plain = model(IDS).logits.float()
        with lean_adapters(model, "cpu"):
            lean = model(IDS).logits.float()
        assert torch.equal(model(IDS).logits.float(), plain)
    with torch.inference_mode():
        exact = adapted().float()(IDS).logits
        bare = model.unload().float()(IDS).logits
    assert not torch.equal(lean, plain)
    assert (bare - exact).abs().mean() > 20 * (plain - exact).abs().mean()
    assert (lean - exact).abs().mean() < 1.2 * (plain - exact).abs().mean()


def test_without_autocast_or_adapters_nothing_changes(adapted, tiny_model, easy_encoder):
    """Oracle: the same model: its numbers, bit for bit."""
    model = adapted().float()
    with torch.inference_mode():
        plain = model(IDS).logits
        with lean_adapters(model, "cpu"):
            assert torch.equal(model(IDS).logits, plain)
    model = tiny_model("llama", len(easy_encoder.tokenizer))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        plain = model(IDS).logits
        with lean_adapters(model, "cpu"):
            assert torch.equal(model(IDS).logits, plain)


@pytest.mark.parametrize("settings", [{"use_dora": True}, {"lora_bias": True}])
def test_other_forms_are_left_to_peft(adapted, settings):
    """Oracle: PEFT's own forward, bit for bit."""
    model = adapted(**settings)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        plain = model(IDS).logits
        with lean_adapters(model, "cpu"):
            assert torch.equal(model(IDS).logits, plain)
