"""A language model as it will be, without its weights: what is known of it before it is loaded, and without a network."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import try_to_load_from_cache
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from harmonic.errors import BadInput
from harmonic.lm.load import Backbone, Pretrained
from harmonic.lm.segments import SegmentEncoder
from harmonic.lm.vocabulary import bind
from harmonic.redaction import redact

CHARACTERS_PER_TOKEN = 4.0
"""Of a text whose tokenizer is not at hand; English prose under BPE has about so many, digits and keys have fewer."""
WEIGHTS = "*.safetensors"
CONFIG = "config.json"


@dataclass(frozen=True)
class Blueprint:
    """What is known of a backbone's model."""

    model: Any | None
    """The model that `Backbone.create` would make, its parameters on the meta device; None without its config.json."""
    encoder: SegmentEncoder | None
    """Its tokenizer; None where that is not on this machine."""
    backbone: Backbone | None
    """What makes the model from files on this machine; None where its weights are elsewhere."""

    @classmethod
    def of(cls, backbone: Backbone, values: Iterable[str], segments: Sequence[str]) -> Self:
        """The blueprint of what `backbone.create(values, segments, seed)` would make; nothing is downloaded or written.

        Of a model that is Python code of its own nothing is known: an estimate does not run it.

        Raises:
            BadInput: a local folder's files are no causal language model.
        """
        with torch.random.fork_rng(devices=[]):
            if not isinstance(backbone, Pretrained):
                with torch.device("meta"):
                    model, tokenizer = backbone.create(values, segments, 0)
                return cls(model, SegmentEncoder(tokenizer), backbone)
            folder = local_folder(backbone)
            if folder is None or backbone.trusted:
                return cls(None, None, None)
            try:
                return cls._of_folder(backbone, folder, segments)
            except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
                reason = redact(str(error)).strip().partition("\n")[0].partition(". ")[0][:160]
                raise BadInput(
                    f"model.path={redact(backbone.path)} must hold a causal language model with its tokenizer, but reading "
                    f"its {CONFIG} and tokenizer failed ({reason}): give a folder that has them, or use model=base."
                ) from None

    @classmethod
    def _of_folder(cls, backbone: Pretrained, folder: Path, segments: Sequence[str]) -> Self:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=backbone.trusted)
        dtype = config.dtype or torch.float32 if backbone.storage == "auto" else getattr(torch, backbone.storage)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=backbone.trusted)
            encoder = None
            if any(folder.glob("tokenizer*")):
                free = AutoTokenizer.from_pretrained(folder, trust_remote_code=backbone.trusted)
                tokenizer = bind(free, segments)
                if tokenizer is not free:
                    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
                encoder = SegmentEncoder(tokenizer)
            model = _with_adapters(model, backbone)
        is_whole = encoder is not None and any(folder.glob(WEIGHTS))
        return cls(model, encoder, replace(backbone, path=str(folder), revision=None) if is_whole else None)

    def tokens(self, text: str) -> float:
        """Tokens of a segment: counted, or its characters by a quarter where there is no tokenizer."""
        return len(text) / CHARACTERS_PER_TOKEN if self.encoder is None else len(self.encoder.encode([text]))


def local_folder(backbone: Pretrained) -> Path | None:
    """Where a model's files are on this machine: its folder, or the hub's cache; None if nowhere."""
    folder = Path(backbone.source)
    if folder.is_dir():
        return folder
    if backbone.source.count("/") > 1 or folder.is_absolute():
        raise BadInput(
            f"model.path={redact(backbone.path)} must be a folder or a hub id, but there is no such folder: correct it."
        )
    cached = try_to_load_from_cache(backbone.source, CONFIG, revision=backbone.revision)
    return Path(cached).parent if isinstance(cached, str) else None


def _with_adapters(model: Any, backbone: Pretrained) -> Any:
    """What of a model is trained: all of it, or LoRA's adapters."""
    if backbone.lora is None:
        return model
    import peft

    targets = backbone.lora.targets if isinstance(backbone.lora.targets, str) else list(backbone.lora.targets)
    adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", r=backbone.lora.r, target_modules=targets))
    if backbone.quantize is not None:
        _pack(adapted)
    return adapted


def _pack(model: Any) -> None:
    """Give the projections weights of the size that bitsandbytes' have: two numbers a byte; adapters and the head stay."""
    head = model.get_output_embeddings()
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and module is not head and "lora_" not in name:
            packed = torch.empty(module.weight.numel() // 2, 1, dtype=torch.uint8, device="meta")
            module.weight = torch.nn.Parameter(packed, requires_grad=False)
