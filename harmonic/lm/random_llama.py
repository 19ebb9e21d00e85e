"""A Llama with random weights: what a run of that size costs and whether it ends, with nothing to download."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from harmonic.lm.batches import Training
from harmonic.lm.load import BASE, Lora, refuse_pickles
from harmonic.lm.vocabulary import bind

CONTEXT = 4096
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class RandomLlama:
    """A `harmonic.lm.load.Backbone` of Llama-2-7B's sizes, frozen in bfloat16 under adapters; its rows are noise.

    Its tokenizer is the shipped base model's, no slot of it bound to anything: Llama's own is not at hand, and this one cuts
    a published instruction of german into 2 660 tokens, of adult 1 700, of buddy 1 100, of diabetes 1 000.
    """

    training: Training = field(
        default_factory=lambda: Training(batch_size=4, accumulate=4, max_length=CONTEXT, gradient_checkpointing=True)
    )
    lora: Lora = field(default_factory=lambda: Lora(targets=PROJECTIONS))
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Of a Llama's configuration, in place of Llama-2-7B's, which are transformers' default."""
    weights_seed: int = 0
    """Of the frozen weights, which are never saved."""
    device: str = "cpu"
    """Where they are made: drawing seven billion numbers takes a processor a minute, a GPU a second."""

    def digest_inputs(self) -> dict[str, str]:
        """None: it starts from seeds."""
        return {}

    def create(self, values: Iterable[str], segments: Sequence[str], seed: int) -> tuple[Any, Any]:
        """See `Backbone.create`; the seed is the adapters'."""
        return self.lora.adapt(self._model(), seed), bind(PreTrainedTokenizerFast.from_pretrained(BASE.source), [])

    def restore(self, folder: Path) -> tuple[Any, Any]:
        """See `Backbone.restore`."""
        import peft

        refuse_pickles(folder)
        return peft.PeftModel.from_pretrained(self._model(), folder), PreTrainedTokenizerFast.from_pretrained(folder)

    def _model(self) -> LlamaForCausalLM:
        config = LlamaConfig(**self.sizes, max_position_embeddings=CONTEXT)
        with torch.device("meta"):
            model = LlamaForCausalLM(config)
        model.to(torch.bfloat16).requires_grad_(False)
        if torch.get_default_device().type == "meta":  # an estimate asks for shapes alone
            return model
        model.to_empty(device=self.device)
        model.model.rotary_emb = type(model.model.rotary_emb)(config).to(self.device)  # computed, not drawn; in float32
        generator = torch.Generator(self.device).manual_seed(self.weights_seed)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter.fill_(1.0)
                else:
                    parameter.normal_(0, 0.02, generator=generator)
        return model
