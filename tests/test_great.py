"""Rows as sentences. Oracle: be-great's own writer and reader."""

from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from baselines.great import Great, escape
from harmonic.table import schema_of

TEXTS = [
    "plain",
    "a, b",
    "50 %",
    "None",
    "placeholder",
    " lead",
    "trail ",
    "it is so",
    "is",
    "line\nfeed",
    "%2C",
    "é, ü",
    "12.50",
    *("x <eos> y", "</s>", "<|endoftext|>", "<s>"),
]


@pytest.mark.parametrize("name", ["plain", "size, or so", "it is so", "None"])
def test_sentences_survive_the_reader_of_be_great(name):
    """Oracle: be-great's own writer and reader, and `urllib.parse.unquote`."""
    from urllib.parse import unquote

    from be_great.great_utils import _convert_text_to_tabular_data, _encode_row_partial

    for text in TEXTS:
        row = pd.Series({escape("other"): escape("x"), escape(name): escape(text)})
        for order in (True, False):
            (read,) = _convert_text_to_tabular_data([_encode_row_partial(row, shuffle=order)], list(row.index)).to_dict(
                "records"
            )
            assert {unquote(key): unquote(value) for key, value in read.items()} == {"other": "x", name: text}
    plain = ["plain", "12.50", "is", "Noneone", "<=50K", "a < b", "<-- 3"]
    assert list(map(escape, plain)) == plain


@pytest.mark.parametrize("text", ["x <eos> y", "<eos>", "<pad>"])
def test_no_cell_ends_its_sentence(text, easy_encoder):
    """Oracle: the tokenizer as be-great calls it: the text itself gives a special token, its escaped form none."""
    tokenizer = easy_encoder.tokenizer
    assert set(tokenizer(text)["input_ids"]) & set(tokenizer.all_special_ids)
    assert not set(tokenizer(escape(text))["input_ids"]) & set(tokenizer.all_special_ids)


@pytest.mark.parametrize(("device", "attention"), [("cuda", "eager"), ("cpu", "sdpa")])
def test_a_gpu_trains_with_plain_attention(easy_table, tiny_model, easy_encoder, monkeypatch, device, attention):
    """Oracle: what the package finds when it trains: fused kernels may have no numbers for padding in front of a text."""
    model = tiny_model("llama", len(easy_encoder.tokenizer))
    found = []

    def fit(great, *_, **__):
        found.append(great.model.config._attn_implementation)

    monkeypatch.setattr("be_great.GReaT.fit", fit)
    great = Great("scratch", compute=SimpleNamespace(device=torch.device(device), resolved_precision="32-true"))
    great.schema = schema_of(easy_table)
    great._train(model, easy_encoder.tokenizer, easy_table, "unused", 0)
    assert found == [attention]
    assert model.config._attn_implementation == "sdpa"
