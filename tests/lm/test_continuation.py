"""Texts written on. Oracle: transformers' own greedy `generate`, text by text, and probabilities by hand."""

import numpy as np
import pytest
import torch
from transformers import LogitsProcessorList

from harmonic.errors import SamplingFailed
from harmonic.lm.continuation import continue_texts, draw_tokens
from harmonic.lm.decoding import Decoding

CPU = torch.device("cpu")
LENGTHS = (5, 1, 17, 9)


def texts_of(rng):
    return [rng.integers(3, 60, length).tolist() for length in LENGTHS]


def written_on(model, texts, streams, end=1, most=20, **decoding):
    warpers = Decoding(form="free", **decoding).warpers()
    with torch.inference_mode():
        return continue_texts(model, texts, warpers=warpers, streams=streams, most=most, end=end, pad=0, device=CPU)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3"])
def test_the_likeliest_tokens_are_those_of_generate(tiny_model, family):
    """Oracle: `generate` without sampling, each text alone; three end before their time, since their token is the end."""
    model, rng = tiny_model(family, 60), np.random.default_rng(0)
    texts = texts_of(rng)
    plain = [
        model.generate(torch.tensor([text]), do_sample=False, max_new_tokens=20, eos_token_id=None, pad_token_id=0)
        for text in texts
    ]
    whole = [ids[0, len(text) :].tolist() for text, ids in zip(texts, plain, strict=True)]
    end = whole[0][4]
    expected = [answer[: answer.index(end) + 1] if end in answer else answer for answer in whole]
    assert len({len(answer) for answer in expected}) > 1
    streams = [rng.spawn(1)[0] for _ in texts]
    assert written_on(model, texts, streams, end=end, top_k=1) == expected


def test_a_text_depends_on_its_own_stream_alone(tiny_model):
    """Oracle: each text by itself, and in another order; other streams write other texts."""
    model = tiny_model("llama", 60)
    texts = texts_of(np.random.default_rng(0))

    def streams(seed):
        return [np.random.default_rng((seed, row)) for row in range(len(texts))]

    together = written_on(model, texts, streams(0))
    alone = [written_on(model, [text], [stream])[0] for text, stream in zip(texts, streams(0), strict=True)]
    backwards = written_on(model, texts[::-1], streams(0)[::-1])[::-1]
    assert together == alone == backwards
    assert together != written_on(model, texts, streams(1))


def test_nothing_is_written_where_nothing_may_be(tiny_model):
    """Oracle: counting."""
    texts = texts_of(np.random.default_rng(0))
    streams = [np.random.default_rng(row) for row in range(len(texts))]
    assert written_on(tiny_model("llama", 60), texts, streams, most=0) == [[]] * len(texts)
    assert {len(answer) for answer in written_on(tiny_model("llama", 60), texts, streams, end=-1, most=7)} == {7}


def test_a_whole_number_is_a_temperature_too():
    """Oracle: the same warper of a float; transformers refuses the other, and would do so after fine-tuning."""
    scores = torch.randn(3, 5)
    assert torch.equal(Decoding(temperature=2).warpers()(None, scores), Decoding(temperature=2.0).warpers()(None, scores))


def test_tokens_are_drawn_as_often_as_they_are_likely():
    """Oracle: softmax by hand; 20 000 draws, within five standard errors; what a warper forbids is never drawn."""
    scores = torch.log(torch.tensor([[0.5, 0.2, 0.0, 0.3]])).repeat(20_000, 1)
    streams = [np.random.default_rng(row) for row in range(len(scores))]
    shares = np.bincount(draw_tokens(scores, LogitsProcessorList(), streams), minlength=4) / len(scores)
    np.testing.assert_allclose(shares, [0.5, 0.2, 0.0, 0.3], atol=5 * np.sqrt(0.25 / len(scores)))
    assert shares[2] == 0
    forbidden = draw_tokens(scores, Decoding(top_k=2).warpers(), streams)
    assert set(forbidden.tolist()) == {0, 3}


@pytest.mark.parametrize("row", [0, 2])
def test_scores_that_are_no_numbers_are_not_drawn_from(row, one_sentence):
    """Oracle: no token has a probability: one sentence, where an index behind the last token would break a GPU's kernel."""
    scores = torch.zeros(3, 5)
    scores[row] = torch.nan
    with pytest.raises(SamplingFailed, match="no numbers") as caught:
        draw_tokens(scores, LogitsProcessorList(), [np.random.default_rng(seed) for seed in range(3)])
    one_sentence(caught.value)
