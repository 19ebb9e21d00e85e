"""Memory of a language model in bytes, from its shape alone: weights, what training adds to them, what sampling holds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from harmonic.lm.attention import BLOCK
from harmonic.lm.reader import room_for
from harmonic.training import Compute

FLOAT32, HALF = 4, 2
MEMINFO = Path("/proc/meminfo")
CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Limit and use of this process's control group, versions 2 and 1."""


@dataclass(frozen=True)
class Shape:
    """What the memory of a decoder depends on; widths are numbers per token."""

    parameters: int
    trained: int
    weight_bytes: int
    trained_bytes: int
    layers: int
    hidden: int
    mlp: int
    queries: int
    """Heads times their size."""
    keys: int
    """The same of keys, as of values: fewer heads where several queries share one."""
    vocabulary: int
    stored: int
    """Bytes of a number of the weights, and of what stands between the layers."""
    mixed: bool
    """Whether layers compute in half precision under autocast."""
    adapted: int
    """Numbers per token and layer that LoRA's adapters read; 0 where every weight is trained."""
    scoring: int
    """Heads whose scores training keeps, on a processor (`harmonic.lm.attention`); 0 on a GPU."""

    @classmethod
    def of(cls, model: Any, compute: Compute) -> Self:
        """The shape of a Hugging Face causal LM, with or without PEFT's adapters, on any device, the meta device too."""
        config = model.config
        parameters = list(model.parameters())
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        heads = config.num_attention_heads
        head = getattr(config, "head_dim", None) or config.hidden_size // heads
        adapters = [weight for name, weight in model.named_parameters() if "lora_A" in name]
        stored = max((p.element_size() for p in parameters if not p.requires_grad), default=parameters[0].element_size())
        return cls(
            parameters=sum(parameter.numel() for parameter in parameters),
            trained=sum(parameter.numel() for parameter in trained),
            weight_bytes=sum(parameter.numel() * parameter.element_size() for parameter in parameters),
            trained_bytes=sum(parameter.numel() * parameter.element_size() for parameter in trained),
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            mlp=getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * config.hidden_size,
            queries=heads * head,
            keys=(getattr(config, "num_key_value_heads", None) or heads) * head,
            vocabulary=config.vocab_size,
            stored=stored,
            mixed=not compute.resolved_precision.startswith("32"),
            adapted=sum(weight.shape[1] for weight in adapters) // config.num_hidden_layers,
            scoring=heads if compute.device.type == "cpu" else 0,
        )

    @property
    def computed(self) -> int:
        """Bytes of a number inside a layer."""
        return HALF if self.mixed else self.stored

    @property
    def state_bytes(self) -> int:
        """The weights, and of those that are trained a gradient and AdamW's two moments, in the weights' own precision."""
        return self.weight_bytes + 3 * self.trained_bytes


def fit_bytes(shape: Shape, rows: int, tokens: int, loss_tokens: int, *, gradient_checkpointing: bool) -> int:
    """Most that fine-tuning holds at once: a batch of `rows` texts padded to `tokens`, with logits at `loss_tokens` places.

    State + activations + scores + logits:

    * state: weights, gradients, two moments (`Shape.state_bytes`), and under mixed precision a half-precision copy of the
      weights that autocast keeps until the step ends;
    * activations: what autograd saves of every layer, counted tensor by tensor (`_layer_bytes`), as Korthikanti et al. 2022
      ("Reducing activation recomputation in large transformer models", §4) count GPT's; with gradient checkpointing the
      layers' inputs, and one layer's activations;
    * scores: on a processor, for each head and layer the share of each pair of a token and one up to it, and of the rest
      of its block; with gradient checkpointing those of one layer. A GPU keeps none, and no mask is there to be kept
      (see `harmonic.lm.batches.collate`);
    * logits: of each such place v numbers as computed and, while cross-entropy runs backwards, three times in
      float32 (log-softmax, the gradients before and behind it).

    An allocator that cannot use again what was freed holds more: with batches of changing lengths, glibc's was seen to hold
    up to 1.5 times as much.
    """
    layer = _layer_bytes(shape)
    saved = shape.layers * shape.hidden * shape.stored + layer if gradient_checkpointing else shape.layers * layer
    activations = rows * tokens * saved
    scores = score_bytes(shape, rows, tokens) * (1 if gradient_checkpointing else shape.layers)
    logits = rows * loss_tokens * shape.vocabulary * (shape.computed + 3 * FLOAT32)
    copies = shape.parameters * shape.computed if shape.computed < shape.stored else 0
    return shape.state_bytes + copies + activations + scores + logits


def score_bytes(shape: Shape, rows: int, tokens: int) -> int:
    """What `harmonic.lm.attention` adds to a layer on a processor: each block's scores against the keys up to its end, and
    keys and values repeated for every query's head; 0 on a GPU."""
    if not shape.scoring:
        return 0
    ends = [min(start + BLOCK, tokens) for start in range(0, tokens, BLOCK)]
    pairs = sum((end - start) * end for start, end in zip([0, *ends], ends, strict=False))
    repeated = 2 * tokens * (shape.queries - shape.keys)
    return rows * (pairs * shape.scoring + repeated) * shape.computed


def sample_bytes(shape: Shape, rows: int, tokens: int) -> int:
    """Most that sampling holds at once: weights, every layer's keys and values, one layer's work on the prompts, chances.

    Args:
        shape: of the model.
        rows: written together.
        tokens: of the longest prompt and answer.
    """
    places = rows * room_for(tokens)
    cache = 2 * shape.layers * places * shape.keys * shape.stored
    work = places * _layer_bytes(shape)
    mask = rows * tokens**2 * (1 + shape.computed)
    chances = rows * shape.vocabulary * 7 * FLOAT32
    return shape.weight_bytes + cache + work + mask + chances


def _layer_bytes(shape: Shape) -> int:
    """What autograd saves of one Llama layer for each token, in bytes.

    Both norms: their input in float32 and its normalised form. What the five projections q, k, v, gate and up read: a copy
    each where autocast makes one, else one for each norm. Attention: q, its output, and k and v of their own heads. The
    MLP: gate, its SiLU, up, and their product. An adapter of LoRA: what it reads behind its dropout, the mask of
    that, and where the weights are in half precision, its result before it is made half, too.

    A GPU keeps less of frozen layers: not the norms' results nor what projections read, which nobody's gradient needs, and
    of dropout the mask and the half-precision numbers. So counted, Llama-2-7B under LoRA needs 51.4 and 89.6 GiB for 2 and
    4 texts of 2 666 tokens; an H200 took 51.7 and 90.3, and 45.6 and 78.0 with compiled layers.
    """
    attention = 2 * shape.computed * (shape.queries + shape.keys)
    if shape.adapted and not shape.scoring and shape.stored == HALF:
        return 2 * FLOAT32 * shape.hidden + attention + 3 * shape.computed * shape.mlp + shape.adapted * (1 + HALF)
    halved = shape.mixed and shape.stored == FLOAT32
    norms = 2 * (FLOAT32 + shape.stored) * shape.hidden
    projections = (5 * HALF if halved else 2 * shape.stored) * shape.hidden
    mlp = 4 * shape.computed * shape.mlp
    adapters = shape.adapted * (1 + (HALF if shape.mixed else FLOAT32) + (HALF if shape.stored == HALF else 0))
    return norms + projections + attention + mlp + adapters


def available_bytes(device: torch.device) -> int | None:
    """Memory that is free now: the GPU's, or the machine's within the process's control group; None where none can tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info()[0]
    free = []
    if MEMINFO.exists():
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
        free.append(int(lines["MemAvailable"].split()[0]) * 1024)
    for limit, used in (map(Path, pair) for pair in CGROUPS):
        if limit.exists() and limit.read_text().strip().isdecimal():
            free.append(max(0, int(limit.read_text()) - int(used.read_text())))
    return min(free, default=None)
