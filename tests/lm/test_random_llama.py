"""Random weights of a published size. Oracles: transformers' own model, the published count, a saved run."""

from pathlib import Path

import torch
import yaml
from transformers import LlamaConfig, LlamaForCausalLM

from harmonic.build import build
from harmonic.lm import load
from harmonic.lm.load import Lora
from harmonic.lm.random_llama import RandomLlama

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 2000,
}
CONF = Path(__file__).parents[2] / "conf" / "model"


def test_it_is_a_llama():
    """Oracle: transformers' own model of that configuration: the same parameters and, given the weights, the same logits."""
    made = RandomLlama(sizes=SMALL, lora=Lora(targets=["q_proj"])).create([], [], 3)[0].unload()
    assert {parameter.dtype for parameter in made.parameters()} == {torch.bfloat16}
    assert all((p == 1).all() if p.ndim == 1 else 0.018 < p.float().std() < 0.022 for p in made.parameters())
    plain = LlamaForCausalLM(LlamaConfig(**SMALL, max_position_embeddings=4096))
    plain.load_state_dict(made.state_dict())
    ids = torch.arange(40)[None]
    assert torch.allclose(made.float().eval()(ids).logits, plain.eval()(ids).logits, atol=1e-5)


def test_its_default_is_llama_2_7b():
    """Oracle: the sizes that its authors publish (Touvron et al. 2023), and its count of parameters, 6 738 415 616."""
    config = LlamaConfig()
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
    assert [getattr(config, name) for name in names] == [4096, 32, 32, 11008, 32000]
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in LlamaForCausalLM(config).parameters()) == 6_738_415_616


def test_the_yaml_is_the_default_and_the_chat_model_s_recipe():
    """Oracle: conf/model/llama2_7b_chat.yaml, all but the context, which the shipped tokenizer's longer texts need."""
    plain = yaml.safe_load((CONF / "llama2_7b_random.yaml").read_text())
    assert build({**plain, "lora": {**plain["lora"], "targets": tuple(plain["lora"]["targets"])}}) == RandomLlama()
    chat = yaml.safe_load((CONF / "llama2_7b_chat.yaml").read_text())
    assert plain["lora"] == chat["lora"]
    assert plain["training"] == {**chat["training"], "max_length": 4096}


def test_what_is_saved_is_the_adapter(tmp_path):
    """Oracle: the model that was saved: the same logits; its folder holds no frozen weight."""
    backbone = RandomLlama(sizes=SMALL)
    model, tokenizer = backbone.create([], [], 1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(0, 0.1)
    load.save(model, tokenizer, tmp_path)
    again, _ = backbone.restore(tmp_path)
    ids = torch.arange(30)[None]
    assert torch.equal(model.eval()(ids).logits, again.eval()(ids).logits)
    assert (tmp_path / "adapter_model.safetensors").stat().st_size < 4 * sum(
        parameter.numel() for parameter in model.parameters() if parameter.requires_grad
    ) + 20_000
