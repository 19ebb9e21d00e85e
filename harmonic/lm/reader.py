"""A model that reads a batch of texts, each at its own pace: keys and values are kept text by text, without holes."""

import sys
from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from harmonic.errors import BadInput
from harmonic.lm.segments import pad_left

ROOM = 64
"""Tokens by which the cache grows, at least."""
NARROW = 4
"""Chunks up to so many tokens wide are read with plain matrix products on a CPU, where torch's fused attention is several
times slower for them (measured with torch 2.13 in bfloat16)."""
AT_ONCE = 8192
"""Tokens that go through the layers together on a CPU: as many as leave the base model's states in its caches. 128 prompts
of 330 tokens are read in three quarters of the time so."""


def room_for(tokens: int) -> int:
    """Places that the cache makes for so many tokens: an eighth more on long texts, since growing copies all of it."""
    return tokens + max(ROOM, tokens // 8)


def check_reads(model: Any) -> None:
    """Raise BadInput for a model that keeps its past in another way than by keys and values of all tokens."""
    windows = getattr(model.config, "attention_layers", [])  # of GPT-Neo, whose cache says nothing of them
    if "local" in windows or any(type(layer) is not DynamicLayer for layer in DynamicCache(config=model.config).layers):
        raise BadInput("the sampler needs a model with full attention in every layer: take another.")


class Reader:
    """Reads on in each text of a batch, any number of tokens at a time."""

    def __init__(self, model: Any, rows: int, pad: int, device: torch.device) -> None:
        """Begin `rows` texts; BadInput as of `check_reads`."""
        check_reads(model)
        self.model, self.pad, self.device = model, pad, device
        self.attention = model.config._attn_implementation
        self.context = getattr(model.config, "max_position_embeddings", None) or sys.maxsize
        self.lengths = torch.zeros(rows, 1, dtype=torch.long)
        self.cache = DynamicCache(config=model.config)
        self.places = _Places(rows)
        self.cache.layers = [_Layer(self.places) for _ in self.cache.layers]

    def feed(self, chunks: Sequence[Sequence[int]], *, last: int = 1) -> torch.Tensor:
        """Logits (b, last, v) behind the last tokens of each row's chunk; those of a token it does not have mean nothing.

        Raises:
            BadInput: a text has come to more tokens than the model can read.
        """
        ids, mask = pad_left(chunks, self.pad)
        positions = self.lengths + mask.cumsum(1) - 1
        self.lengths += mask.sum(1, keepdim=True)
        places = torch.where(mask.bool(), positions + 1, 0)
        self.places.size = int(self.lengths.max()) + 1
        if self.places.size - 1 > self.context:
            raise BadInput(
                f"a prompt and its row must be no longer than the {self.context} tokens of the model, but have come to "
                f"{self.places.size - 1}: take a model of a longer context, or fewer examples (method.k)."
            )
        rows, width = ids.shape
        attention = "eager" if self.device.type == "cpu" and width <= NARROW else self.attention
        self.model.set_attn_implementation(attention)
        many = max(1, AT_ONCE // max(width, 1)) if self.device.type == "cpu" else rows
        blocks = [slice(first, min(first + many, rows)) for first in range(0, rows, many)]
        logits = [self._read(block, ids[block], positions[block], places[block], attention, last) for block in blocks]
        self.model.set_attn_implementation(self.attention)
        return torch.cat(logits)

    def _read(
        self, block: slice, ids: torch.Tensor, positions: torch.Tensor, places: torch.Tensor, attention: str, last: int
    ) -> torch.Tensor:
        """The tokens (r, t) of some rows, as `feed`."""
        places = places.to(self.device)
        self.places.move_to(block, places)
        output = self.model(
            input_ids=ids.to(self.device),
            attention_mask=self._visible(places, attention),
            position_ids=positions.clamp(min=0).to(self.device),
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=last,
        )
        return output.logits

    def _visible(self, places: torch.Tensor, attention: str) -> torch.Tensor:
        """What each token may look at, (b, 1, t, places): its text up to itself; padding looks at place 0, nobody's own."""
        held = torch.arange(self.places.size, device=places.device)
        visible = (held <= places[..., None]) & ((held > 0) | (places == 0)[..., None])
        if attention == "sdpa":
            return visible[:, None]
        return torch.where(visible, 0.0, torch.finfo(self.model.dtype).min).to(self.model.dtype)[:, None]


class _Places:
    """Where the tokens that are being read are kept, the same in every layer."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.size = 0
        """Places of each row that are in use."""

    def move_to(self, block: slice, places: torch.Tensor) -> None:
        """The rows that are read next, and the places (r, t) of their tokens."""
        self.block = block
        self.index = (torch.arange(block.start, block.stop, device=places.device)[:, None], places)


class _Layer(DynamicLayer):
    """A layer's keys and values, (b, heads, places, d); place 0 takes what padding writes."""

    def __init__(self, places: _Places) -> None:
        super().__init__()
        self.places = places

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep states (r, heads, t, d) of some rows; returns views of all these have, (r, heads, places, d)."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.buffers = [self._room(states) for states in (key_states, value_states)]
        elif self.places.size > self.buffers[0].shape[2]:
            grown = [self._room(states) for states in (key_states, value_states)]
            for new, old in zip(grown, self.buffers, strict=True):
                new[:, :, : old.shape[2]] = old
            self.buffers = grown
        rows, places = self.places.index
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[rows, :, places] = states.transpose(1, 2)
        self.keys, self.values = (buffer[self.places.block, :, : self.places.size] for buffer in self.buffers)
        return self.keys, self.values

    def _room(self, states: torch.Tensor) -> torch.Tensor:
        _, heads, _, size = states.shape
        return states.new_zeros(self.places.rows, heads, room_for(self.places.size), size)
