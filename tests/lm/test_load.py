"""Language models from a folder or from nothing. Oracles: equal logits after a round trip, and one-line errors."""

import json
import logging
import pickle
import re
import shutil
import sys
import traceback
from dataclasses import replace
from pathlib import Path

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
from harmonic.lm.segments import SegmentEncoder
from harmonic.lm.vocabulary import EOS, PAD, SLOT, free_slots
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


def test_four_bits(pretrained, quick_harmonic, easy_table, tmp_path):
    """Oracle: QLoRA: frozen projections hold two numbers a byte and err little, adapters learn, and come back from a folder
    that has nothing else."""
    recipe = replace(RECIPE, min_steps=40, learning_rate=1e-2)
    source = Pretrained(str(pretrained), dtype="bfloat16", lora=Lora(r=4), quantize="nf4", training=recipe)
    harmonic = quick_harmonic(model=source).start(easy_table, seed=1)
    weights = dict(harmonic.model.named_parameters())
    packed = [name for name, weight in weights.items() if weight.dtype == torch.uint8]
    assert len(packed) == 7 * harmonic.model.config.num_hidden_layers
    ids = harmonic.encoder.encode(harmonic.prompt(0, 0).text)[:60]
    whole = Pretrained(str(pretrained), dtype="bfloat16").create([], [], 1)[0]
    error, size = (logits(harmonic.model, ids) - logits(whole, ids)).abs().mean(), logits(whole, ids).abs().mean()
    assert 0 < error < 0.2 * size
    before = {name: weight.clone() for name, weight in weights.items()}
    harmonic.fit(easy_table, seed=1)
    assert np.mean(harmonic.report["losses"][-5:]) < 0.95 * np.mean(harmonic.report["losses"][:5])
    for name, weight in harmonic.model.named_parameters():
        if name not in packed:  # whose bytes the library puts into another order on some processors
            assert torch.equal(weight, before[name]) == ("lora_" not in name)
    save(harmonic.model, harmonic.encoder.tokenizer, tmp_path)
    assert "model.safetensors" not in {file.name for file in tmp_path.iterdir()}
    assert torch.equal(logits(source.restore(tmp_path)[0], ids), logits(harmonic.model, ids))


@pytest.mark.parametrize(("option", "value"), [("dtype", "foo"), ("lora", 5), ("training", None)])
def test_options_that_are_of_another_shape(option, value, one_line):
    """Oracle: the rule for what a user can cause."""
    with pytest.raises(BadInput) as error:
        Pretrained("base", **{option: value})
    one_line(error.value, f"model.{option}", repr(value))


def test_four_bits_need_adapters_and_a_library(pretrained, monkeypatch, one_line):
    """Oracle: the rules, each one sentence with its cure."""
    with pytest.raises(BadInput) as error:
        Pretrained(str(pretrained), quantize="nf4")
    one_line(error.value, "model.lora")
    with pytest.raises(BadInput) as error:
        Pretrained(str(pretrained), lora=Lora(), quantize="int3")
    one_line(error.value, "model.quantize", "nf4")
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadInput) as error:
        Pretrained(str(pretrained), lora=Lora(), quantize="nf4").create([], [], 0)
    one_line(error.value, "bitsandbytes", "'.[qlora]'")


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


def test_adapters_of_the_shipped_model(quick_harmonic, easy_table, tmp_path):
    """Oracle: the same object before it was saved; its slots are cut to the table's."""
    model = Pretrained("base", dtype="float32", lora=Lora(r=4), training=RECIPE)
    harmonic = quick_harmonic(model=model).fit(easy_table, seed=1)
    harmonic.save(tmp_path)
    restored = quick_harmonic(model=model).load(tmp_path)
    assert restored.model.get_input_embeddings().weight.shape == harmonic.model.get_input_embeddings().weight.shape
    assert torch.equal(logits(harmonic.model), logits(restored.model))


def test_what_is_trained_is_kept_in_float32(pretrained, create, tmp_path):
    """Oracle: the rule: a checkpoint in bfloat16 is one as long as its weights are frozen."""
    model, tokenizer = create(Pretrained(str(pretrained)))
    save(model.to(torch.bfloat16), tokenizer, tmp_path)
    for lora, dtype in ((None, torch.float32), (Lora(r=2), torch.bfloat16)):
        model = create(Pretrained(str(tmp_path), lora=lora))[0]
        assert model.get_input_embeddings().weight.dtype == dtype


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


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def pickled_weights(folder):
    """The folder's weights as the pickle that older checkpoints are."""
    (folder / "model.safetensors").unlink()
    return folder / "pytorch_model.bin"


def pickled_adapter(folder):
    """Whole safe weights, and beside them an adapter that is a pickle."""
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": str(folder)}))
    return folder / "adapter_model.bin"


def pickle_in_the_index(folder):
    """An index of shards, as safetensors have, one of which is none."""
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {"model.norm.weight": "shard.bin"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder / "shard.bin"


def pickle_in_the_config(folder):
    """A config that names the file of its weights."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "transformers_weights": "adapter_model.bin"}))
    return folder / "adapter_model.bin"


@pytest.mark.parametrize("hide", [pickled_weights, pickled_adapter, pickle_in_the_index, pickle_in_the_config])
def test_weights_that_are_a_pickle_are_refused(copied, create, one_sentence, tmp_path, hide):
    """Oracle: a canary: the file that the pickle makes when it is loaded is not there, and is there once it is loaded."""
    canary = tmp_path / "canary"
    file = hide(copied)
    file.write_bytes(pickle.dumps(Canary(canary)))
    for load in (lambda: create(Pretrained(str(copied))), lambda: Pretrained(str(copied)).restore(copied)):
        with pytest.raises(BadInput) as error:
            load()
        one_sentence(error.value, str(copied), file.name, "safetensors", "save_pretrained")
    with pytest.raises(BadInput):
        TINY.restore(copied)
    assert not canary.exists()
    pickle.loads(file.read_bytes())
    assert canary.exists()


def test_an_adapter_of_ours_that_became_a_pickle_is_refused(pretrained, create, tmp_path, one_sentence):
    """Oracle: the same canary; PEFT would unpickle what stands in the place of our safetensors."""
    source = Pretrained(str(pretrained), lora=Lora(r=2))
    save(*create(source), tmp_path / "fitted")
    (tmp_path / "fitted" / "adapter_model.safetensors").unlink()
    (tmp_path / "fitted" / "adapter_model.bin").write_bytes(pickle.dumps(Canary(tmp_path / "canary")))
    with pytest.raises(BadInput) as error:
        source.restore(tmp_path / "fitted")
    one_sentence(error.value, "adapter_model.bin")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("lora", [None, Lora(r=2)])
def test_what_is_saved_is_safetensors_alone(pretrained, create, tmp_path, lora):
    """Oracle: the names of the files: JSON and text but for one file of weights."""
    save(*create(Pretrained(str(pretrained), lora=lora)), tmp_path)
    others = {path.name for path in tmp_path.iterdir() if path.suffix not in (".json", ".md", ".jinja")}
    assert others == {"adapter_model.safetensors" if lora else "model.safetensors"}


CODE = """
import pathlib
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
pathlib.Path({canary!r}).touch()
class Config(LlamaConfig):
    model_type = {kind!r}
class Model(LlamaForCausalLM):
    config_class = Config
class Words(PreTrainedTokenizerFast):
    pass
"""


@pytest.mark.parametrize("kind", ["llama", "own_model", "own_tokenizer"])
def test_a_models_own_code_runs_only_if_the_user_confirms(copied, create, one_sentence, tmp_path, monkeypatch, kind):
    """Oracle: a canary that the code makes as it is imported: with both options, and with neither alone. Nobody is asked."""
    canary, asked = tmp_path / "canary", []
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr("builtins.input", lambda prompt="": asked.append(prompt) or "y")
    (copied / "code.py").write_text(CODE.format(canary=str(canary), kind=kind))
    if kind == "own_tokenizer":
        change(copied / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "code.Words"]}, tokenizer_class="Words")
    else:
        change(copied / "config.json", auto_map={"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"})
        change(copied / "config.json", model_type=kind)
    for asks, confirms in ((False, False), (False, True), (True, False)):
        if kind == "llama" and not asks:  # transformers has a Llama of its own
            assert type(create(Pretrained(str(copied), confirm_remote_code=confirms))[0]) is LlamaForCausalLM
        else:
            with pytest.raises(BadInput) as error:
                create(Pretrained(str(copied), remote_code=asks, confirm_remote_code=confirms))
            one_sentence(error.value, str(copied), "Python code", "read it", "+model.confirm_remote_code=true")
            assert ("+model.remote_code=true" in str(error.value)) == (not asks)
        assert not canary.exists()
    confirmed = Pretrained(str(copied), remote_code=True, confirm_remote_code=True)
    model, tokenizer = create(confirmed)
    assert canary.exists()
    if kind != "own_tokenizer":  # transformers 5.23 writes a tokenizer's auto_map in a form that it cannot read
        save(model, tokenizer, tmp_path / "fitted")
        restored, _ = confirmed.restore(tmp_path / "fitted")
        assert type(restored).__name__ == type(model).__name__ == "Model"
        assert torch.equal(logits(restored), logits(model))
    assert not asked


def change(file, **settings):
    """Set keys of a JSON file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


def test_no_yaml_confirms_what_only_a_user_can():
    """Oracle: the design: the confirmation is typed; and the options stand in no YAML, whose keys older results know."""
    for path in sorted((Path(__file__).parents[2] / "conf").rglob("*.yaml")):
        assert "remote_code" not in path.read_text(), path


@pytest.mark.parametrize(
    "said",
    [
        "We couldn't connect to 'https://user:s3cret@hub.example/api' to load the files",
        "401 for https://s3cret@hub.example/x",
        "403 for https://hub.example/x?token=s3cret&y=1, check your token",
        "Authorization: Bearer hf_s3cretS3cretS3cret is refused",
    ],
)
def test_an_error_of_the_hub_shows_no_credentials(create, monkeypatch, one_line, said):
    """Oracle: the secret's own text, which neither the sentence nor the traceback holds."""

    def fail(*_, **__):
        raise OSError(said)

    for name in ("AutoModelForCausalLM", "AutoTokenizer"):
        with monkeypatch.context() as patch:
            patch.setattr(f"harmonic.lm.load.{name}.from_pretrained", fail)
            with pytest.raises(BadInput) as error:
                create(BASE)
        one_line(error.value, "model=base", "loading failed (")
        shown = "".join(traceback.format_exception(error.value))
        assert "s3cret" not in shown, shown
    with pytest.raises(BadInput) as error:
        create(Pretrained("https://user:s3cret@hub.example/model"))
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("name", ["huggingface_hub.utils._http", "httpx"])
def test_a_retry_is_logged_without_credentials(caplog, name):
    """Oracle: the same; the hub's client says which address it tries again."""
    with caplog.at_level("WARNING"):
        logging.getLogger(name).addHandler(caplog.handler)
        logging.getLogger(name).warning("HEAD %s, again in %d s", "https://user:s3cret@hub.example/x", 8)
        logging.getLogger(name).removeHandler(caplog.handler)
    assert "HEAD https://***@hub.example/x, again in 8 s" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("text", [EOS, PAD, SLOT.format(0)])
@pytest.mark.parametrize("source", [TINY, BASE], ids=["scratch", "base"])
def test_a_category_that_spells_a_token_with_a_role_gets_none(source, text):
    """Oracle: the text itself; else it would end a row, or be bound to something else when the model is trained on."""
    _, tokenizer = source.create([text, "plain"], ['"', "plain", text], 0)
    ids = SegmentEncoder(tokenizer).encode([text])
    assert len(ids) > 1
    assert not {tokenizer.eos_token_id, tokenizer.pad_token_id} & {*ids}
    assert SegmentEncoder(tokenizer).decode_value(ids) == text
    assert len(SegmentEncoder(tokenizer).encode(["plain"])) == 1
    assert free_slots(tokenizer) == []
