"""Rows from a language model: write in batches, read strictly, reject and count, until there are exactly n."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from transformers import (
    DynamicCache,
    GenerationConfig,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.cache_utils import DynamicLayer

from harmonic.codec import CLOSE, QUOTE, Segments, Unreadable
from harmonic.errors import SamplingFailed, check_at_least, check_choice
from harmonic.lm.module import Compute, progress_bar
from harmonic.lm.segments import SegmentEncoder, pad_left
from harmonic.seed import derive_seed

Form = Literal["given", "free"]

PATIENCE = 256
"""Tries without a single valid row after which sampling gives up."""


@dataclass(frozen=True)
class Decoding:
    """How rows are written."""

    form: Form = "given"
    """given: keys and punctuation are fed to the model, it writes the values; free: it writes everything, as published."""
    temperature: float = 1.0
    top_k: int = 0
    """Draw among the k likeliest tokens; 0 for all."""
    top_p: float = 1.0
    """Draw among the likeliest tokens that together have this probability."""
    batch_size: int = 128
    max_tries: float = 10.0
    """Rows written per row asked for, at most."""

    def __post_init__(self) -> None:
        check_choice("decoding.form", self.form, Form)
        for option, least in (("temperature", 0.01), ("top_k", 0), ("top_p", 0.01), ("batch_size", 1), ("max_tries", 1)):
            check_at_least(f"decoding.{option}", getattr(self, option), least)

    def warpers(self) -> LogitsProcessorList:
        """Temperature, top-k and top-p as Hugging Face defines them."""
        warpers = LogitsProcessorList([TemperatureLogitsWarper(self.temperature)])
        if self.top_k:
            warpers.append(TopKLogitsWarper(self.top_k))
        if self.top_p < 1:
            warpers.append(TopPLogitsWarper(self.top_p))
        return warpers


@dataclass(frozen=True)
class Prompt:
    """What the model is shown for one row."""

    text: Segments
    keys: Segments
    """What stands before each value, in the order of this row's columns."""


@dataclass(frozen=True)
class Limits:
    """Longest texts worth waiting for, in tokens, learnt from train."""

    row: int
    value: int


@dataclass
class Generation:
    """What sampling did, for the record."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    tried: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """Rejected rows by reason."""
    new_tokens: int = 0
    """Tokens the model drew."""
    failures: list[str] = field(default_factory=list)
    """A few rejected texts, as the model wrote them."""

    def counts(self) -> dict[str, Any]:
        """Rows tried, kept and rejected by reason, most frequent first."""
        return {
            "tried": self.tried,
            "kept": len(self.rows),
            "validity": len(self.rows) / self.tried if self.tried else None,
            "new_tokens": self.new_tokens,
            "rejected": dict(self.rejected.most_common()),
        }


def sample_rows(
    model: Any,
    encoder: SegmentEncoder,
    prompt: Callable[[int], Prompt],
    read: Callable[[str], dict[str, Any]],
    n: int,
    *,
    limits: Limits,
    decoding: Decoding,
    compute: Compute,
    seed: int,
) -> Generation:
    """Exactly n valid rows.

    Args:
        model: a causal LM.
        encoder: its tokenizer.
        prompt: number of the try to prompt.
        read: text to row; raises Unreadable with a reason.
        n: rows wanted.
        limits: longest row and value.
        decoding: how rows are written.
        compute: device and precision.
        seed: of the draws; each batch has its own stream.

    Raises:
        SamplingFailed: n rows were not to be had; the message counts the reasons and shows what the model wrote.
    """
    model.eval().to(compute.device)
    write = _write_values if decoding.form == "given" else _write_freely
    result = Generation()
    limit = max(PATIENCE, int(n * decoding.max_tries))
    with progress_bar("sampling", n) as bar:
        while len(result.rows) < n:
            if result.tried >= limit or (result.tried >= PATIENCE and not result.rows):
                raise SamplingFailed(_failure(result, n, limit))
            rate = len(result.rows) / result.tried if result.rows else 1.0
            wanted = int((n - len(result.rows)) / rate * 1.1) + 1
            size = min(decoding.batch_size, limit - result.tried, wanted)
            prompts = [prompt(number) for number in range(result.tried, result.tried + size)]
            devices = [compute.device] if compute.device.type == "cuda" else []
            with torch.inference_mode(), compute.autocast(), torch.random.fork_rng(devices=devices):
                torch.manual_seed(derive_seed(seed, "tokens", result.tried))
                texts, tokens = write(model, encoder, prompts, limits, decoding, compute.device)
            result.new_tokens += tokens
            before = len(result.rows)
            _keep_readable(texts, read, n, result)
            bar.set_postfix(valid=f"{len(result.rows) / result.tried:.0%}", refresh=False)
            bar.update(len(result.rows) - before)
    return result


def _keep_readable(texts: Sequence[str], read: Callable[[str], dict[str, Any]], n: int, result: Generation) -> None:
    for text in texts:
        if len(result.rows) == n:
            return
        result.tried += 1
        try:
            result.rows.append(read(text))
        except Unreadable as reason:
            result.rejected[str(reason)] += 1
            if len(result.failures) < 3:
                result.failures.append(text)


def _write_freely(
    model: Any, encoder: SegmentEncoder, prompts: Sequence[Prompt], limits: Limits, decoding: Decoding, device: torch.device
) -> tuple[list[str], int]:
    tokenizer = encoder.tokenizer
    ids, mask = pad_left([encoder.encode(prompt.text) for prompt in prompts], tokenizer.pad_token_id)
    settings = GenerationConfig(
        do_sample=True,
        temperature=decoding.temperature,
        top_k=decoding.top_k,
        top_p=decoding.top_p,
        max_new_tokens=limits.row,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    output = model.generate(input_ids=ids.to(device), attention_mask=mask.to(device), generation_config=settings)
    answers = output[:, ids.shape[1] :].cpu()
    tokens = int((answers != tokenizer.pad_token_id).sum())
    return [encoder.decode_value(row.tolist()) for row in answers], tokens


def _write_values(
    model: Any, encoder: SegmentEncoder, prompts: Sequence[Prompt], limits: Limits, decoding: Decoding, device: torch.device
) -> tuple[list[str], int]:
    """Column by column: feed each row its next key in one chunk, then draw value tokens until every row closed its quote.

    A row that is done waits masked: it is fed padding that no later token attends to, and its positions stand still.
    """
    (quote,) = encoder.encode([QUOTE])
    reader = _Reader(model, len(prompts), encoder.tokenizer.pad_token_id, device)
    warpers = decoding.warpers()
    texts = ["" for _ in prompts]
    pending = [encoder.encode(prompt.text) for prompt in prompts]
    tokens = 0
    for rank in range(len(prompts[0].keys)):
        pending = [[*ids, *encoder.encode([prompt.keys[rank]])] for ids, prompt in zip(pending, prompts, strict=True)]
        logits = reader.feed(pending)
        values: list[list[int]] = [[] for _ in prompts]
        pending = [[] for _ in prompts]
        running = set(range(len(prompts)))
        while True:
            drawn = torch.multinomial(warpers(None, logits.float()).softmax(-1), 1)[:, 0].tolist()
            tokens += len(running)
            for row in sorted(running):
                if drawn[row] == quote or len(values[row]) == limits.value:
                    running.discard(row)
                    pending[row] = [quote]
                else:
                    values[row].append(drawn[row])
            if not running:
                break
            logits = reader.feed([[drawn[row]] if row in running else [] for row in range(len(prompts))])
        for row, prompt in enumerate(prompts):
            texts[row] += prompt.keys[rank] + encoder.decode_value(values[row]) + QUOTE
    return [text + CLOSE for text in texts], tokens


class _Buffered(DynamicLayer):
    """A layer's keys and values with room to grow; its base copies all of them for every token."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append states (b, heads, t, d); returns views of all keys and values so far."""
        start = self.get_seq_length()
        stop = start + key_states.shape[-2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.buffers = [self._room(states, stop) for states in (key_states, value_states)]
        elif stop > self.buffers[0].shape[-2]:
            grown = [self._room(states, stop) for states in (key_states, value_states)]
            for new, old in zip(grown, self.buffers, strict=True):
                new[..., :start, :] = old[..., :start, :]
            self.buffers = grown
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[..., start:stop, :] = states
        self.keys, self.values = (buffer[..., :stop, :] for buffer in self.buffers)
        return self.keys, self.values

    @staticmethod
    def _room(states: torch.Tensor, stop: int) -> torch.Tensor:
        *batch, _, size = states.shape
        return states.new_empty(*batch, stop + max(64, stop // 2), size)


class _Reader:
    """A model that has read a batch of texts, each as far as it goes, and reads on."""

    def __init__(self, model: Any, rows: int, pad: int, device: torch.device) -> None:
        self.model, self.pad, self.device = model, pad, device
        self.mask = torch.zeros(rows, 0, dtype=torch.long)
        self.lengths = torch.zeros(rows, 1, dtype=torch.long)
        self.cache = DynamicCache(config=model.config)
        self.cache.layers = [_Buffered() if type(layer) is DynamicLayer else layer for layer in self.cache.layers]

    def feed(self, chunks: Sequence[Sequence[int]]) -> torch.Tensor:
        """Next-token logits (b, v) after each row read its chunk; those of a row with an empty chunk mean nothing."""
        ids, mask = pad_left(chunks, self.pad)
        positions = (self.lengths + mask.cumsum(1) - 1).clamp(min=0)
        self.mask = torch.cat([self.mask, mask], dim=1)
        self.lengths += mask.sum(1, keepdim=True)
        output = self.model(
            input_ids=ids.to(self.device),
            attention_mask=self.mask.to(self.device),
            position_ids=positions.to(self.device),
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1]


def _failure(result: Generation, n: int, limit: int) -> str:
    reasons = ", ".join(f"{reason} ({count})" for reason, count in result.rejected.most_common(3))
    wrote = " | ".join(text[:200].replace("\n", " ") for text in result.failures)
    return (
        f"{len(result.rows)} of {n} rows were valid after {result.tried} tries (limit {limit}): {reasons}; the model wrote: "
        f"{wrote} -- train longer (model.training.epochs, model.training.min_steps), lower "
        f"method.sampling.decoding.temperature, or raise method.sampling.decoding.max_tries."
    )
