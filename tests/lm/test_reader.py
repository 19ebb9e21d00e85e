"""Reading in chunks. Oracle: one forward pass over each whole text, alone."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GPTNeoConfig, MistralConfig

from harmonic.errors import BadInput
from harmonic.lm import reader as module
from harmonic.lm.reader import Reader

FAMILIES = ("llama", "gpt2", "qwen3")
CPU = torch.device("cpu")
WIDTHS = [(3, 9, 1, 5), (1, 0, 1, 0), (0, 0, 0, 7), (1, 1, 0, 1), (12, 2, 1, 0), (0, 0, 1, 1), (2, 6, 3, 4)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("narrow", "at_once"), [(0, 1), (module.NARROW, 18), (99, 27), (module.NARROW, 8192)])
def test_reading_in_chunks_is_reading_at_once(tiny_model, monkeypatch, family, narrow, at_once):
    """Oracle: one forward pass over each whole text, alone; chunks are uneven, some empty; either kind of attention; rows go
    through the layers one by one, in unequal blocks, or all together."""
    monkeypatch.setattr(module, "NARROW", narrow)
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    monkeypatch.setattr(module, "ROOM", 3)
    rng = np.random.default_rng(0)
    model = tiny_model(family, 300)
    texts = [rng.integers(3, 300, 40).tolist() for _ in range(4)]
    reader = Reader(model, len(texts), pad=0, device=CPU)
    read = [0] * len(texts)
    compared = 0
    for widths in WIDTHS:
        chunks = [text[at : at + width] for text, at, width in zip(texts, read, widths, strict=True)]
        read = [at + width for at, width in zip(read, widths, strict=True)]
        with torch.inference_mode():
            logits = reader.feed(chunks, last=2)
            for row, width in enumerate(widths):
                if width:
                    whole = model(input_ids=torch.tensor([texts[row][: read[row]]])).logits[0, -min(width, 2) :]
                    torch.testing.assert_close(logits[row, -len(whole) :], whole, atol=1e-4, rtol=0)
                    compared += len(whole)
    assert compared == 29
    assert model.config._attn_implementation == "sdpa"


def test_what_is_kept_has_no_holes(tiny_model):
    """Oracle: counting: the longest text and a place for padding, whatever the others read in between."""
    reader = Reader(tiny_model("llama", 300), 4, pad=0, device=CPU)
    with torch.inference_mode():
        for widths in WIDTHS:
            reader.feed([[5] * width for width in widths])
    assert reader.lengths[:, 0].tolist() == np.sum(WIDTHS, axis=0).tolist()
    assert reader.cache.layers[0].keys.shape == (4, 1, np.sum(WIDTHS, axis=0).max() + 1, 16)


def test_a_model_that_forgets_is_refused():
    """Oracle: a sliding window of 8 tokens, which places of the text's own would not respect."""
    config = MistralConfig(
        vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, sliding_window=8
    )
    with pytest.raises(BadInput, match="full attention in every layer"):
        Reader(AutoModelForCausalLM.from_config(config), 1, pad=0, device=CPU)


def test_a_window_that_the_cache_does_not_tell_is_refused():
    """Oracle: GPT-Neo's local attention, which counts places of the batch and not of the text."""
    config = GPTNeoConfig(
        vocab_size=50, hidden_size=16, num_layers=2, num_heads=2, window_size=8, attention_types=[[["global", "local"], 1]]
    )
    with pytest.raises(BadInput, match="full attention in every layer"):
        Reader(AutoModelForCausalLM.from_config(config), 1, pad=0, device=CPU)


def test_a_text_longer_than_the_context(tiny_model):
    """Oracle: GPT-2's table of places, which ends at 1024."""
    reader = Reader(tiny_model("gpt2", 300), 2, pad=0, device=CPU)
    reader.feed([[5] * 1024, [5]])
    with pytest.raises(BadInput, match="no longer than the 1024 tokens of the model, but have come to 1025"):
        reader.feed([[5], [5]])
