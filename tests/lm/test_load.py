"""Language models from a folder or from nothing. Oracles: equal logits after a round trip, and one-line errors."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from harmonic.codec import frequent_segments
from harmonic.errors import BadInput
from harmonic.lm.base import FOLDER
from harmonic.lm.batches import Training
from harmonic.lm.load import BASE, Lora, Pretrained, Scratch, backbone, save
from harmonic.training import Compute

TINY = Scratch(hidden_size=32, layers=1, heads=2, mlp_size=64, vocab_size=300, max_length=512)


@pytest.fixture(scope="module")
def pretrained(learnt, tmp_path_factory):
    """A folder as the hub would give it: here of a model that already knows the table."""
    folder = tmp_path_factory.mktemp("pretrained")
    save(learnt.model, learnt.encoder.tokenizer, folder)
    return folder


@pytest.fixture
def copied(pretrained, tmp_path):
    """The same folder, to be damaged."""
    return shutil.copytree(pretrained, tmp_path / "model")


@pytest.fixture
def create(easy_codec, easy_table):
    def build(source, seed=0):
        values = [text for row in easy_codec.cells(easy_table) for text in row]
        return source.create(values, frequent_segments(easy_codec, 2), seed)

    return build


@pytest.fixture
def one_line(one_sentence):
    """As `one_sentence`, of an error that quotes a library's words, which may be more than one."""

    def check(error, *words):
        message = str(error)
        one_sentence(re.sub(r"loading failed \(.*\):", "loading failed:", message))
        assert "\n" not in message
        assert all(word in message for word in words), message

    return check


def logits(model, tokens=(5, 9, 17, 33, 6)):
    with torch.inference_mode():
        return model.eval()(input_ids=torch.tensor([tokens])).logits.float()


RECIPE = Training(loss_on="all", min_steps=8, batch_size=8, learning_rate=1e-3, max_length=1024)


@pytest.mark.parametrize("lora", [None, Lora(r=4, alpha=8, dropout=0.1), Lora(r=4, targets=["q_proj", "v_proj"])])
def test_a_folder_end_to_end(pretrained, quick_harmonic, easy_table, easy_schema, tmp_path, lora):
    """Oracle: the same object before it was saved: logits and rows, bit for bit."""
    model = Pretrained(str(pretrained), dtype="float32", lora=lora, training=RECIPE)
    harmonic = quick_harmonic(model=model).fit(easy_table, seed=1)
    report = harmonic.report
    whole = sum(parameter.numel() for parameter in harmonic.model.parameters())
    assert report["parameters"] == whole
    assert (report["trained_parameters"] == whole) == (lora is None)
    rows = harmonic.sample(12, seed=3)
    assert len(rows) == 12
    harmonic.save(tmp_path)
    restored = quick_harmonic(model=model).load(tmp_path)
    assert torch.equal(logits(harmonic.model), logits(restored.model))
    pd.testing.assert_frame_equal(restored.sample(12, seed=3), rows)
    if lora is not None:
        assert (tmp_path / "model" / "adapter_model.safetensors").exists()
        assert not (tmp_path / "model" / "model.safetensors").exists()


def test_an_adapter_changes_what_it_names_and_nothing_before_training(pretrained, create):
    """Oracle: LoRA's definition: B starts at zero, so the logits are the base model's; r·(in + out) weights a layer."""
    base, _ = create(Pretrained(str(pretrained), dtype="float32"))
    adapted, _ = create(Pretrained(str(pretrained), dtype="float32", lora=Lora(r=4, targets=["q_proj"])))
    torch.testing.assert_close(logits(base), logits(adapted))
    trained = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
    assert trained == 2 * 4 * (64 + 64)  # two layers
    adapters = [create(Pretrained(str(pretrained), lora=Lora()), seed)[0].state_dict() for seed in (0, 0, 1)]
    name = next(name for name in adapters[0] if "lora_A" in name)
    assert torch.equal(adapters[0][name], adapters[1][name])
    assert not torch.equal(adapters[0][name], adapters[2][name])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_are_stored_as_asked(pretrained, create, tmp_path, dtype):
    """Oracle: the option; before and after a round trip."""
    source = Pretrained(str(pretrained), dtype=dtype)
    model, tokenizer = create(source)
    assert {parameter.dtype for parameter in model.parameters()} == {getattr(torch, dtype)}
    save(model, tokenizer, tmp_path)
    restored, _ = source.restore(tmp_path)
    assert {parameter.dtype for parameter in restored.parameters()} == {getattr(torch, dtype)}
    assert torch.equal(logits(model), logits(restored))


def test_scratch_round_trip(create, tmp_path):
    """Oracle: equal logits, and equal ids of text; 0 is a seed, and the global random state is left alone."""
    torch.manual_seed(1)
    (model, tokenizer), (again, _), (other, _) = (create(TINY, seed) for seed in (0, 0, 1))
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))
    assert torch.equal(logits(model), logits(again))
    assert not torch.equal(logits(model), logits(other))
    save(model, tokenizer, tmp_path)
    restored, words = TINY.restore(tmp_path)
    assert torch.equal(logits(model), logits(restored))
    text = '{"size": "12", "note": "☕ \\"'
    assert words(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert (words.eos_token_id, words.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)


def test_scratch_takes_its_sizes(create):
    """Oracle: by hand: embeddings (tied), and per layer attention, MLP and two norms, and a norm at the end."""
    model, tokenizer = create(TINY)
    layer = 4 * 32 * 32 + 3 * 32 * 64 + 2 * 32
    assert sum(parameter.numel() for parameter in model.parameters()) == len(tokenizer) * 32 + layer + 32


def test_a_tokenizer_without_padding_pads_with_its_end(copied, create):
    """Oracle: the mask makes padding invisible, so any token serves; GPT-2 and Llama name none."""
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        if (copied / file).exists():
            settings = json.loads((copied / file).read_text())
            settings.pop("pad_token", None)
            (copied / file).write_text(json.dumps(settings))
    _, tokenizer = create(Pretrained(str(copied)))
    assert tokenizer.pad_token_id == tokenizer.eos_token_id is not None


def test_a_folder_without_a_tokenizer(copied, create, one_line):
    """Oracle: the rule for what a user can cause: one sentence, the folder and a cure."""
    for path in copied.iterdir():
        if "token" in path.name:
            path.unlink()
    with pytest.raises(BadInput) as error:
        create(Pretrained(str(copied)))
    one_line(error.value, str(copied), "a tokenizer", "model=base")


def test_a_tokenizer_without_an_end(copied, create, one_line):
    """Oracle: the same rule; a row could never end."""
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        if (copied / file).exists():
            settings = json.loads((copied / file).read_text())
            settings.pop("eos_token", None)
            (copied / file).write_text(json.dumps(settings))
    with pytest.raises(BadInput) as error:
        create(Pretrained(str(copied)))
    one_line(error.value, str(copied), "end-of-sequence")


@pytest.mark.parametrize("path", ["no/such/folder", "./no/such", "nobody/no-model", "gone"])
def test_a_model_that_is_not_there(create, one_line, tmp_path, monkeypatch, path):
    """Oracle: the same rule; the hub is offline in all tests, so the model's name leads nowhere."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput) as error:
        create(Pretrained(path))
    one_line(error.value, path, "model=base", "folder")


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_part_of_the_model(copied, create, one_line, file):
    """Oracle: the same rule."""
    (copied / file).unlink()
    with pytest.raises(BadInput) as error:
        create(Pretrained(str(copied)))
    one_line(error.value, str(copied), "config.json and weights")


def test_broken_weights(copied, create, one_line):
    """Oracle: the same rule; half a download is what a user most often has."""
    whole = (copied / "model.safetensors").read_bytes()
    (copied / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput) as error:
        create(Pretrained(str(copied)))
    one_line(error.value, str(copied))


def test_adapted_modules_that_do_not_exist(pretrained, create, one_line):
    """Oracle: the same rule; names of projections differ between families of models."""
    with pytest.raises(BadInput) as error:
        create(Pretrained(str(pretrained), lora=Lora(targets=["c_attn"])))
    one_line(error.value, "c_attn")


def test_instructions_longer_than_the_models_context(easy_table, quick_harmonic, learnt, tmp_path, one_sentence):
    """Oracle: the same rule. The recipe allows more tokens than the model has positions, as a table may under GPT-2."""
    tokenizer = learnt.encoder.tokenizer
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=32, n_embd=32, n_layer=1, n_head=2)
    save(GPT2LMHeadModel(config), tokenizer, tmp_path)
    with pytest.raises(BadInput) as error:
        quick_harmonic(model=Pretrained(str(tmp_path), training=RECIPE)).fit(easy_table, seed=0)
    one_sentence(error.value, "32")


def test_names_of_backbones():
    """Oracle: the contract of `Harmonic(model=…)`."""
    assert backbone("base") is BASE
    assert BASE.source == str(FOLDER)
    assert backbone("scratch") == Scratch()
    assert backbone("some/model") == Pretrained("some/model")
    assert backbone(TINY) is TINY


def test_vocabulary_of_the_model_may_exceed_the_tokenizers(learnt, quick_harmonic, easy_table, tmp_path):
    """Oracle: rows still parse. Checkpoints pad their embeddings to a multiple of 64; such ids decode to nothing."""
    tokenizer = learnt.encoder.tokenizer
    config = LlamaConfig(**{**learnt.model.config.to_dict(), "vocab_size": len(tokenizer) + 61})
    model = LlamaForCausalLM(config)
    state = learnt.model.state_dict()
    for name, value in model.state_dict().items():
        value.zero_()
        value[tuple(slice(0, size) for size in state[name].shape)] = state[name]
    save(model, tokenizer, tmp_path)
    recipe = Training(loss_on="all", batch_size=8, learning_rate=1e-4, max_length=1024)
    harmonic = quick_harmonic(model=Pretrained(str(tmp_path), training=recipe), compute=Compute("cpu", "32-true"))
    rows = harmonic.fit(easy_table, seed=0).sample(5, seed=0)
    assert len(rows) == 5
    assert np.isfinite(harmonic.report["loss_last"])
