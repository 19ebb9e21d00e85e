"""Attention in blocks. Oracle: torch's scaled_dot_product_attention, in double precision."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from harmonic.lm.attention import BLOCK, block_attention, causal_attention

CPU = torch.device("cpu")


def llama():
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 50}
    return LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2))


@pytest.mark.parametrize("tokens", [1, 7, BLOCK, BLOCK + 1, 3 * BLOCK - 5])
@pytest.mark.parametrize("shared", [1, 3])
def test_it_is_causal_attention(tokens, shared):
    """Results and all three gradients."""
    torch.manual_seed(tokens)
    shapes = ((2, 6, tokens, 8), (2, 6 // shared, tokens, 8), (2, 6 // shared, tokens, 8))
    parts = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    found = causal_attention(*parts, 0.3)
    wanted = scaled_dot_product_attention(*parts, is_causal=True, scale=0.3, enable_gqa=True)
    torch.testing.assert_close(found, wanted)
    upstream = torch.randn_like(wanted)
    ours, theirs = (torch.autograd.grad(result, parts, upstream) for result in (found, wanted))
    torch.testing.assert_close(ours, theirs)


def test_a_model_takes_it_and_gives_it_back(monkeypatch):
    """Oracle: the same model outside: the same logits; and a count of calls."""
    model, ids = llama(), torch.randint(50, (2, 9))
    wanted = model(input_ids=ids).logits
    calls = []
    counted = lambda *args: calls.append(1) or causal_attention(*args)  # noqa: E731
    monkeypatch.setattr("harmonic.lm.attention.causal_attention", counted)
    with block_attention(model, CPU):
        torch.testing.assert_close(model(input_ids=ids).logits, wanted)
    assert len(calls) == 2
    assert model.config._attn_implementation == "sdpa"
    model(input_ids=ids)
    assert len(calls) == 2


def test_padding_and_dropout_are_left_to_torch(monkeypatch):
    """Oracle: the library's own results with a mask, and that ours is not called."""
    monkeypatch.setattr("harmonic.lm.attention.causal_attention", None)
    model, ids = llama(), torch.randint(50, (2, 9))
    mask = torch.tensor([[0, 0, *[1] * 7], [1] * 9])
    wanted = model(input_ids=ids, attention_mask=mask).logits
    with block_attention(model, CPU):
        torch.testing.assert_close(model(input_ids=ids, attention_mask=mask).logits[:, 2:], wanted[:, 2:])
    dropping = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=50)).train()
    with block_attention(dropping, CPU):
        dropping(input_ids=ids)


def test_a_gpu_and_other_attentions_keep_their_own():
    """Oracle: the model's own word on what it uses."""
    model = llama()
    with block_attention(model, torch.device("cuda")):
        assert model.config._attn_implementation == "sdpa"
    model.set_attn_implementation("eager")
    with block_attention(model, CPU):
        assert model.config._attn_implementation == "eager"
