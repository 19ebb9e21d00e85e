"""Causal attention for training on a processor: plain matrix products over blocks of queries.

torch's fused kernel keeps no scores, which saves memory that a processor has; its own products take two to three times as
long as the library's, forwards and backwards, on the 250 to 450 tokens of an instruction (bfloat16, one thread).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "blocks"
BLOCK = 128
"""Queries of a block: small enough that few scores are made only to be masked, large enough for a product to pay."""


def causal_attention(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float) -> torch.Tensor:
    """Softmax attention of each place to those up to it.

    Args:
        queries: (b, h, t, d).
        keys: (b, g, t, d), g a divisor of h: as many queries' heads share one.
        values: (b, g, t, d).
        scale: of the scores.

    Returns:
        (b, h, t, d), in the queries' precision.
    """
    heads, tokens = queries.shape[1:3]
    shared = heads // keys.shape[1]
    flat = (queries * scale).flatten(0, 1)
    keys, values = (part.repeat_interleave(shared, dim=1).flatten(0, 1) for part in (keys, values))
    mask = torch.full((tokens, tokens), -torch.inf, dtype=queries.dtype).triu(1)
    blocks = []
    for start in range(0, tokens, BLOCK):
        stop = min(start + BLOCK, tokens)
        scores = torch.baddbmm(mask[start:stop, :stop], flat[:, start:stop], keys[:, :stop].transpose(1, 2))
        blocks.append(scores.softmax(-1) @ values[:, :stop])
    return torch.cat(blocks, dim=1).unflatten(0, queries.shape[:2])


def _forward(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """As transformers calls attention: ours where it is causal and nothing else, theirs elsewhere."""
    whole = query.shape[2] == key.shape[2] and others.get("is_causal") is not False
    if attention_mask is not None or dropout or not whole:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **others)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return causal_attention(query, key, value, scale).transpose(1, 2).contiguous(), None


@contextmanager
def block_attention(model: Any, device: torch.device) -> Iterator[None]:
    """Within, a model on a processor whose attention is torch's fused one takes ours."""
    if device.type != "cpu" or model.config._attn_implementation != "sdpa":
        yield
        return
    AttentionInterface.register(NAME, _forward)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation("sdpa")
