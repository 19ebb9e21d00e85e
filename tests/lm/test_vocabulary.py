"""Tokenizers with slots. Oracles: round trips through text and through a folder."""

import pytest
from transformers import AutoTokenizer

from harmonic.lm.vocabulary import SLOT, base_tokenizer, bind, free_slots, table_tokenizer, unknown

TEXTS = ["the quick fox", "the slow fox", "12 of 34 foxes"] * 20
FORMAT = ('"', "}", "\nGenerate one sample: ")
SEGMENTS = [', "age": "', "slow fox", '"', ', "größe": "']


@pytest.fixture(scope="module")
def tokenizer():
    return base_tokenizer(TEXTS, FORMAT, 320, slots=4)


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_digits_are_single_tokens_and_nothing_is_unknown(tokenizer):
    """Oracle: the text itself."""
    assert len(ids(tokenizer, "20734")) == 5
    for text in ("Köln → 北京 \x00", '{"a": "7.25"}', " the fox "):
        assert tokenizer.decode(ids(tokenizer, text)) == text


def test_a_bound_segment_is_one_token_and_the_same_text(tokenizer):
    """Oracle: the number of tokens, and the text; what is a token already stays the token it is."""
    bound = bind(tokenizer, SEGMENTS)
    for segment in SEGMENTS:
        assert len(ids(bound, segment)) == 1
        assert bound.decode(ids(bound, segment)) == segment
    assert ids(bound, '"') == ids(tokenizer, '"')
    assert [ids(bound, segment)[0] for segment in (SEGMENTS[0], SEGMENTS[1], SEGMENTS[3])] == free_slots(tokenizer)[:3]
    assert len(bound) == len(tokenizer) - 1
    assert max(bound.get_vocab().values()) == len(bound) - 1


def test_slots_run_out(tokenizer):
    """Oracle: counting: the first four get a slot, the fifth is spelled out, and nothing is left to bind."""
    names = [f"name of {place}" for place in "abcde"]
    bound = bind(tokenizer, names)
    assert [len(ids(bound, name)) == 1 for name in names] == [True] * 4 + [False]
    assert free_slots(bound) == []
    assert bind(bound, ["one more"]) is bound


def test_what_is_left_over_is_dropped(tokenizer):
    """Oracle: the vocabulary: one slot bound, three gone from its end; the name of one that is gone is plain text."""
    bound = bind(tokenizer, ["one"])
    assert len(bound) == len(tokenizer) - 3
    assert free_slots(bound) == []
    assert len(ids(bound, SLOT.format(3))) > 1
    assert bound.decode(ids(bound, SLOT.format(3))) == SLOT.format(3)


def test_through_a_folder(tokenizer, tmp_path):
    """Oracle: the tokenizer that was saved."""
    bound = bind(tokenizer, SEGMENTS)
    bound.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    text = 'the, "age": "12", "größe": "slow fox"}'
    assert ids(again, text) == ids(bound, text)
    assert again.eos_token_id == tokenizer.eos_token_id


def test_the_original_is_left_alone(tokenizer):
    """Oracle: its slots, before and after."""
    before = free_slots(tokenizer)
    bind(tokenizer, SEGMENTS)
    assert free_slots(tokenizer) == before
    assert unknown(tokenizer, ["the", '"', "slow fox", "slow fox", ""]) == ["slow fox"]


def test_a_tokenizer_without_slots_is_returned_as_it_is():
    """Oracle: identity."""
    plain = table_tokenizer(TEXTS, FORMAT, 320)
    assert bind(plain, SEGMENTS) is plain
