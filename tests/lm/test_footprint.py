"""Memory of a language model from its shape. Oracles: what autograd saves, the model itself, hand counts."""

from contextlib import nullcontext
from dataclasses import replace

import peft
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from harmonic.errors import BadInput
from harmonic.lm import footprint
from harmonic.lm.attention import block_attention
from harmonic.lm.blueprint import Blueprint
from harmonic.lm.footprint import Shape, available_bytes, fit_bytes, sample_bytes
from harmonic.lm.load import BASE, Lora, Pretrained, Scratch
from harmonic.training import Compute

VALUES = ["12", "blue", "3.5"]
SEGMENTS = ['{"size": "', ', "colour": "', "red"]
SHAPE = Shape(
    parameters=1000, trained=1000, weight_bytes=4000, trained_bytes=4000, layers=2, hidden=8, mlp=16, queries=8, keys=4,
    vocabulary=50, stored=4, mixed=False, adapted=0, scoring=2,
)  # fmt: skip


def saved_bytes(model, rows, tokens, compute):
    """Bytes that autograd keeps of a forward pass, each storage once, the parameters' own left out."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # held, so that no other takes its place
        return tensor

    ids = torch.arange(rows * tokens).reshape(rows, tokens) % 90 + 3
    with compute.autocast(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = model(input_ids=ids, logits_to_keep=1, use_cache=False).logits.float()
    assert logits.requires_grad
    return sum(size for size, _ in kept.values())


def kept_in_training(model, rows, tokens, compute, in_blocks):
    """The same, as fine-tuning on a processor attends or as torch does."""
    with block_attention(model, compute.device) if in_blocks else nullcontext():
        return saved_bytes(model, rows, tokens, compute)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize(("dtype", "lora"), [(torch.float32, False), (torch.float32, True), (torch.bfloat16, True)])
@pytest.mark.parametrize("in_blocks", [False, True])
def test_activations_are_what_autograd_saves(precision, dtype, lora, in_blocks):
    """Oracle: the saved tensors of two layers, those of a model of three less those of one; copies of weights apart."""
    compute, rows, tokens = Compute("cpu", precision), 2, 150 if in_blocks else 48

    def model(layers):
        config = LlamaConfig(
            vocab_size=100,
            hidden_size=128,
            intermediate_size=344,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
        )
        plain = LlamaForCausalLM(config).to(dtype)
        adapters = peft.LoraConfig(task_type="CAUSAL_LM", r=4, lora_dropout=0.05, target_modules="all-linear")
        return (peft.get_peft_model(plain, adapters) if lora else plain).train()

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        one, three = model(1), model(3)
        of_three, of_one = (kept_in_training(model, rows, tokens, compute, in_blocks) for model in (three, one))
    saved = of_three - of_one
    shapes = [Shape.of(each, compute) for each in (one, three)]
    copies = 2 * (shapes[1].parameters - shapes[0].parameters) if dtype == torch.float32 and shapes[0].mixed else 0
    said = rows * tokens * 2 * footprint._layer_bytes(shapes[1])
    if in_blocks:
        said += 2 * footprint.score_bytes(shapes[1], rows, tokens)
    assert said == pytest.approx(saved - copies, rel=0.07 if in_blocks else 0.05)


def test_memory_by_hand():
    """Oracle: the sums of the docstrings on small numbers."""
    layer = 2 * 8 * 8 + 2 * 4 * 8 + 2 * 4 * (8 + 4) + 4 * 4 * 16
    masks, logits, scores = 3 * 10**2 * 5, 3 * 6 * 50 * (4 + 12), 3 * (10**2 * 2 + 2 * 10 * 4) * 4
    state = 4000 * 4
    whole = fit_bytes(SHAPE, 3, 10, 6, gradient_checkpointing=False)
    assert whole == state + 3 * 10 * 2 * layer + 2 * scores + logits
    saving = fit_bytes(SHAPE, 3, 10, 6, gradient_checkpointing=True)
    assert saving == state + 3 * 10 * (2 * 8 * 4 + layer) + scores + logits
    blocks = 128 * 128 + 2 * 130  # two blocks of queries and the keys up to their ends
    longer = fit_bytes(replace(SHAPE, scoring=0), 3, 130, 6, gradient_checkpointing=True)
    assert fit_bytes(SHAPE, 3, 130, 6, gradient_checkpointing=True) - longer == 3 * (blocks * 2 + 2 * 130 * 4) * 4
    places = 3 * (10 + 64)
    assert sample_bytes(SHAPE, 3, 10) == 4000 + 2 * 2 * places * 4 * 4 + places * layer + masks + 3 * 50 * 28


@pytest.mark.parametrize(
    "backbone",
    [
        Scratch(64, 2, 2, 128, 300, 512),
        BASE,
        Pretrained("base", lora=Lora(r=4)),
        Pretrained("base", dtype="bfloat16"),
        Pretrained("base", dtype="bfloat16", lora=Lora(r=4), quantize="nf4"),
    ],
    ids=["scratch", "base", "lora", "half", "four bits"],
)
def test_weights_are_counted_without_being_loaded(backbone):
    """Oracle: the model itself; tokens as its tokenizer counts them, and none of the global randomness used."""
    before = torch.get_rng_state()
    blueprint = Blueprint.of(backbone, VALUES, SEGMENTS)
    assert torch.equal(before, torch.get_rng_state())
    assert {parameter.device.type for parameter in blueprint.model.parameters()} == {"meta"}
    model, tokenizer = backbone.create(VALUES, SEGMENTS, 0)
    assert Shape.of(blueprint.model, Compute("cpu", "32-true")) == Shape.of(model, Compute("cpu", "32-true"))
    shape = Shape.of(blueprint.model, Compute("cpu", "32-true"))
    assert shape.weight_bytes == sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    for text in (*SEGMENTS, "blue 12", "\n"):
        assert blueprint.tokens(text) == len(tokenizer(text, add_special_tokens=False)["input_ids"])


def test_a_model_that_is_elsewhere(monkeypatch, tmp_path, one_sentence):
    """Oracle: the rules: a hub id is not asked for, a folder that is not there or holds no model is an error."""
    monkeypatch.setattr("socket.socket.connect", lambda *args: pytest.fail("the network was asked"))
    blueprint = Blueprint.of(Pretrained("nobody/nothing"), VALUES, SEGMENTS)
    assert (blueprint.model, blueprint.encoder, blueprint.backbone) == (None, None, None)
    assert blueprint.tokens("12345678") == 2
    with pytest.raises(BadInput) as missing:
        Blueprint.of(Pretrained(str(tmp_path / "no")), VALUES, SEGMENTS)
    one_sentence(missing.value, "model.path", "no such folder")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadInput) as broken:
        Blueprint.of(Pretrained(str(tmp_path)), VALUES, SEGMENTS)
    one_sentence(broken.value, "model.path", "config.json")


def test_free_memory_is_the_lower_of_machine_and_group(monkeypatch, tmp_path):
    """Oracle: files made by hand; "max" is no limit, and where nothing can be read nothing is said."""
    meminfo, limit, used = (tmp_path / name for name in ("meminfo", "limit", "used"))
    monkeypatch.setattr(footprint, "MEMINFO", meminfo)
    monkeypatch.setattr(footprint, "CGROUPS", ((str(limit), str(used)),))
    cpu = torch.device("cpu")
    assert available_bytes(cpu) is None
    meminfo.write_text("MemTotal:  100 kB\nMemAvailable:   50 kB\n")
    assert available_bytes(cpu) == 51_200
    limit.write_text("max\n")
    assert available_bytes(cpu) == 51_200
    limit.write_text("40000\n")
    used.write_text("10000\n")
    assert available_bytes(cpu) == 30_000
