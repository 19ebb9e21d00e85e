"""Language models: any Hugging Face causal LM with PEFT, or a small one made from nothing."""

import hashlib
import importlib.util
import json
import logging
import os
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, Literal, Protocol

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from harmonic.errors import BadInput, check_choice
from harmonic.lm.base import FOLDER as BASE_FOLDER
from harmonic.lm.batches import Training
from harmonic.lm.vocabulary import EOS, PAD, SLOT, bind, free_slots, table_tokenizer
from harmonic.redaction import redact

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Quantize = Literal["nf4"]
SAFE, ADAPTER = (".safetensors", ".safetensors.index.json"), "adapter_model.safetensors"
RESERVED = re.compile(f"{EOS}|{PAD}|{SLOT.format('[0-9]+')}")
"""Texts that no token of a table may have: one that ends a row, or could be bound to something else, stands for nothing."""


class Backbone(Protocol):
    """Where a language model comes from, and the recipe that suits it."""

    @property
    def training(self) -> Training:
        """The recipe."""
        ...

    def digest_inputs(self) -> dict[str, str]:
        """Name and SHA-256 of each local file that training starts from."""
        ...

    def create(self, values: Iterable[str], segments: Sequence[str], seed: int) -> tuple[Any, Any]:
        """A model and a tokenizer ready for fine-tuning.

        Args:
            values: texts of the training table's cells.
            segments: texts that deserve a token each.
            seed: for weights that start at random.
        """
        ...

    def restore(self, folder: Path) -> tuple[Any, Any]:
        """The model and tokenizer that `save` wrote."""
        ...


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Weights (of an adapter, if there is one) as safetensors, and the tokenizer, in Hugging Face form."""
    model.save_pretrained(folder)  # safetensors are the only form that transformers 5 writes, and PEFT's default
    tokenizer.save_pretrained(folder)


def refuse_pickles(path: str | Path) -> None:
    """Raise BadInput where a folder's weights could be had by unpickling alone, which runs what the file says.

    A hub id is no folder and passes: what it names is asked for as safetensors.
    """
    held = {file.name for file in Path(path).glob("*")}
    safe = {name for name in held if name.endswith(SAFE)}
    pickles = {name for name in _named_weights(Path(path)) if not name.endswith(SAFE)}
    if ADAPTER not in safe:
        pickles |= held & {"adapter_model.bin"}
    if not safe - {ADAPTER}:
        pickles |= {name for name in held if name.startswith("pytorch_model")}
    if pickles:
        raise BadInput(
            f"{path} must hold its weights as safetensors, but has {sorted(pickles)[0]}, a pickle, which can run code as it "
            f"is read: write it anew with save_pretrained where you trust it, or take another model."
        )


def _named_weights(folder: Path) -> set[str]:
    """Files of weights that a folder's own JSON points to."""
    named: set[Any] = set()
    for file in ("config.json", "model.safetensors.index.json"):
        try:
            plain = json.loads((folder / file).read_text(encoding="utf-8"))
            named |= {plain.get("transformers_weights"), *plain.get("weight_map", {}).values()}
        except (OSError, ValueError, TypeError, AttributeError):
            continue  # not there, or of another form: whoever loads it says so
    return {str(name) for name in named - {None}}


@dataclass(frozen=True)
class Scratch:
    """A small Llama-architecture model with random weights and a tokenizer trained on the table's own text.

    Each text that the format fixes (keys, quotes, prose) is one token, and so is each named category; digits are single
    tokens, and the rest of a value is byte-level BPE, so that nothing is ever unknown.
    """

    hidden_size: int = 128
    layers: int = 4
    heads: int = 2
    mlp_size: int = 344
    vocab_size: int = 1024
    """Tokens for values, single bytes included; the segments come on top."""
    max_length: int = 4096
    training: Training = field(
        default_factory=lambda: Training(
            loss_on="all", min_steps=800, learning_rate=3e-3, warmup=0.05, weight_decay=0.01, max_length=4096
        )
    )

    def digest_inputs(self) -> dict[str, str]:
        """None: it starts from a seed."""
        return {}

    def create(self, values: Iterable[str], segments: Sequence[str], seed: int) -> tuple[Any, Any]:
        """See `Backbone.create`."""
        segments = [segment for segment in segments if not RESERVED.fullmatch(segment)]
        tokenizer = table_tokenizer(values, segments, self.vocab_size)
        sizes = (self.hidden_size, self.layers, self.heads, self.mlp_size)
        return random_llama(tokenizer, *sizes, context=self.max_length, seed=seed), tokenizer

    def restore(self, folder: Path) -> tuple[Any, Any]:
        """See `Backbone.restore`."""
        refuse_pickles(folder)
        model = LlamaForCausalLM.from_pretrained(folder, use_safetensors=True)
        return model, PreTrainedTokenizerFast.from_pretrained(folder)


def random_llama(
    tokenizer: Any,
    hidden_size: int,
    layers: int,
    heads: int,
    mlp_size: int,
    *,
    context: int,
    seed: int,
) -> LlamaForCausalLM:
    """A Llama of these sizes with random weights and tied embeddings; the global random state is left alone."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=mlp_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


@dataclass(frozen=True)
class Lora:
    """Low-rank adaptation (Hu et al. 2021) of a pretrained model's projections."""

    r: int = 16
    alpha: int = 32
    dropout: float = 0.05
    targets: Sequence[str] | str = "all-linear"
    """Names of the adapted modules, or PEFT's "all-linear"."""

    def adapt(self, model: Any, seed: int) -> Any:
        """The model with adapters drawn from a seed; raises ValueError where it has no modules of these names."""
        import peft

        config = peft.LoraConfig(
            task_type="CAUSAL_LM",
            r=self.r,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=self.targets if isinstance(self.targets, str) else list(self.targets),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return peft.get_peft_model(model, config)


@dataclass(frozen=True)
class Pretrained:
    """A Hugging Face causal LM, by hub id or local folder.

    A tokenizer with slots (the shipped base model's, or that of any folder `scripts/pretrain_base.py` wrote) gives them to
    the table's keys and named categories, see `harmonic.lm.vocabulary.bind`.
    """

    path: str = "base"
    """A hub id, a folder, or "base" for the model that comes with the package."""
    revision: str | None = None
    dtype: Dtype = "auto"
    """Storage of the weights: float32, bfloat16, float16, or auto for what the checkpoint says where they are frozen, and
    float32 where they are trained: in bfloat16 small steps are lost."""
    lora: Lora | None = None
    """Without it, every weight is trained."""
    quantize: Quantize | None = None
    """nf4: the frozen weights in four bits each (QLoRA, Dettmers et al. 2023: NormalFloat, its scales quantised too), in
    bfloat16 where they are computed with; needs `lora`, and bitsandbytes, an extra."""
    training: Training = field(default_factory=Training)
    remote_code: bool = False
    """The model is Python code from its own folder or repository: what its YAML says."""
    confirm_remote_code: bool = False
    """The user has read that code and runs it: given on the command line, never in a YAML."""

    def __post_init__(self) -> None:
        check_choice("model.dtype", self.dtype, Dtype)
        for option, value, kind in (("lora", self.lora, (Lora, NoneType)), ("training", self.training, Training)):
            if not isinstance(value, kind):
                raise BadInput(f"model.{option} must be a group of options, but is {value!r}: set one of them in it.")
        if self.quantize is not None:
            check_choice("model.quantize", self.quantize, Quantize)
            if self.lora is None:
                raise BadInput("model.quantize needs adapters to train, but model.lora is null: give one, or no quantize.")
        if self.remote_code and not self.confirm_remote_code:
            raise BadInput(self._wants_code("+model.confirm_remote_code=true"))

    def _wants_code(self, cure: str) -> str:
        return (
            f"model.path={redact(self.path)} must not run Python code that you have not read, but wants to run some from "
            f"its own folder or repository: read it, then add {cure}, or take another model."
        )

    @property
    def trusted(self) -> bool:
        """Whether its code runs; transformers is always told, since it asks on the terminal otherwise."""
        return self.remote_code and self.confirm_remote_code

    @property
    def storage(self) -> Dtype:
        """`dtype`, where what is trained decides it."""
        return "float32" if self.dtype == "auto" and self.lora is None else self.dtype

    @property
    def source(self) -> str:
        """What Hugging Face is to load."""
        return str(BASE_FOLDER) if self.path == "base" else self.path

    def digest_inputs(self) -> dict[str, str]:
        """Of a local folder, every file but prose; of a hub id none, whose content its revision names."""
        digests = {}
        for file in sorted(file for file in Path(self.source).glob("*") if file.is_file() and file.suffix != ".md"):
            with file.open("rb") as content:
                digests[file.name] = hashlib.file_digest(content, "sha256").hexdigest()
        return digests

    def create(self, values: Iterable[str], segments: Sequence[str], seed: int) -> tuple[Any, Any]:
        """See `Backbone.create`; raises BadInput where the model or its tokenizer cannot be had."""
        model, free = self._load_model(), self._load_tokenizer(self.source)
        tokenizer = bind(free, segments)
        if tokenizer is not free:
            model.resize_token_embeddings(len(tokenizer))
        if self.lora is None:
            return model, tokenizer
        try:
            return self.lora.adapt(model, seed), tokenizer
        except ValueError as error:
            raise BadInput(
                f"model.lora.targets must name modules of {redact(self.path)}, but {str(error).split('. ')[0]}: "
                f"use all-linear, or that model's own names."
            ) from None

    def restore(self, folder: Path) -> tuple[Any, Any]:
        """See `Backbone.restore`; an adapter is laid over the original weights."""
        tokenizer = self._load_tokenizer(str(folder))
        refuse_pickles(folder)
        if self.lora is None:
            model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, trust_remote_code=self.trusted)
            return model, tokenizer
        import peft

        model = self._load_model()
        if free_slots(self._load_tokenizer(self.source)):  # which `create` has cut the model to what is left of
            model.resize_token_embeddings(len(tokenizer))
        # PEFT has no switch for safetensors: it takes them where they are, and `refuse_pickles` has seen to it.
        return peft.PeftModel.from_pretrained(model, folder), tokenizer

    def _load_model(self) -> Any:
        refuse_pickles(self.source)
        settings = {"quantization_config": _four_bits()} if self.quantize else {}
        try:
            return AutoModelForCausalLM.from_pretrained(
                self.source,
                revision=self.revision,
                dtype=self.storage,
                use_safetensors=True,
                trust_remote_code=self.trusted,
                **settings,
            )
        except (OSError, ValueError, ImportError, SafetensorError) as error:
            needed = "a causal language model (config.json and weights as safetensors)"
            raise BadInput(self._cannot_load(needed, error)) from None

    def _load_tokenizer(self, path: str) -> Any:
        try:
            revision = self.revision if path == self.source else None
            tokenizer = AutoTokenizer.from_pretrained(path, revision=revision, trust_remote_code=self.trusted)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
            raise BadInput(self._cannot_load("a tokenizer (tokenizer.json)", error)) from None
        if tokenizer.eos_token_id is None:
            path = redact(self.path)
            raise BadInput(f"model.path={path} must have an end-of-sequence token, but its tokenizer names none.")
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    def _cannot_load(self, what: str, error: Exception) -> str:
        """The sentence for an error of Hugging Face's, which may show a hub's credentials and is shown to nobody."""
        if "trust_remote_code" in str(error) and not self.trusted:
            return self._wants_code("+model.remote_code=true +model.confirm_remote_code=true")
        said = redact(str(error).strip()) or type(error).__name__
        reason = said.splitlines()[0].partition(". ")[0][:160].rstrip(".")
        return (
            f"model.path={redact(self.path)} must hold or name {what}, but loading failed ({reason}): give a local folder "
            f"that has it or a hub id that can be reached, or use model=base, which comes with the package."
        )


def _four_bits() -> transformers.BitsAndBytesConfig:
    """QLoRA's settings; raises BadInput without bitsandbytes."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise BadInput("model.quantize=nf4 needs bitsandbytes, which is not installed: pip install -e '.[qlora]'.")
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


BASE = Pretrained(
    "base",
    dtype="float32",
    training=Training(
        epochs=2,
        min_steps=60,
        max_steps=400,
        learning_rate=1e-3,
        warmup=0.05,
        weight_decay=0.01,
        max_length=4096,
    ),
)
"""The shipped model under the recipe of conf/model/base.yaml."""


def backbone(model: "Backbone | str") -> Backbone:
    """A backbone by name: "base", "scratch", or a hub id or folder for a pretrained model trained in full."""
    if not isinstance(model, str):
        return model
    if model == "scratch":
        return Scratch()
    return BASE if model == "base" else Pretrained(model)


def _redacted(record: logging.LogRecord) -> bool:
    """A filter that keeps every record of the hub's client, with its addresses redacted."""
    record.msg, record.args = redact(record.getMessage()), ()
    return True


for client in ("huggingface_hub.utils._http", "httpx"):
    logging.getLogger(client).addFilter(_redacted)
warnings.filterwarnings("ignore", message="Setting `save_embedding_layers`")  # of a base model that was cut to its table
warnings.filterwarnings("ignore", message=".*gradient_checkpointing", category=FutureWarning)  # names that PEFT still uses
os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"  # no weights but those that the repository itself has
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
